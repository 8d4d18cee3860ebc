/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a definition of another host may ask for here.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hypervisor/migration/check.h"
#include "hypervisor/migration/confine.h"

static struct migration_check found;

static int setup(void **state)
{
	(void)state;
	setenv("LUNAR_RUN_DIR", "/tmp/lunar-check/run", 1);
	setenv("LUNAR_STATE_DIR", "/tmp/lunar-check/state", 1);
	setenv("LUNAR_INCOMING_DIRS", "/bin", 1);
	unsetenv("LUNAR_CONSOLE_DIR");
	return 0;
}

static bool check(const char *name, const char *more)
{
	char text[512];

	snprintf(text, sizeof(text), "name: vm0\nmemory: 64M\n%s%s",
		 strstr(more, "kernel:") ? "" : "kernel: /bin/sh\n", more);
	memset(&found, 0, sizeof(found));
	return migration_check_definition(&found, name, text, strlen(text));
}

static void assert_stops(const char *item, const char *more)
{
	assert_false(check("vm0", more));
	assert_int_equal(found.count, 1);
	assert_int_equal(found.findings[0].severity, MIGRATION_STOPS);
	assert_string_equal(found.findings[0].item, item);
}

static void assert_console_stops(const char *more)
{
	assert_stops("console", more);
}

static void ordinary_definition_is_fine(void **state)
{
	(void)state;
	assert_true(check("vm0", ""));
	assert_int_equal(found.count, 0);
	assert_true(check("vm0", "console: stdio\n"));
	assert_int_equal(found.count, 0);
}

static void definition_of_another_name_or_none_is_not_made(void **state)
{
	(void)state;
	assert_false(check("vm1", ""));
	assert_non_null(migration_check_stopper(&found));
	assert_false(check("vm0", "speed: high\n"));
	assert_non_null(migration_check_stopper(&found));
}

static void console_may_be_in_the_consoles_folder_or_the_vms_own(void **state)
{
	(void)state;
	assert_true(check("vm0", "console: file\nconsole_path: /var/log/lunar/web/vm0.log\n"));
	assert_true(check("vm0", "console: file\n"
				 "console_path: /tmp/lunar-check/run/vm/vm0/console.log\n"));
	assert_true(check("vm0", "console_path: /tmp/lunar-check/run/vm/vm0/c.sock\n"));
	setenv("LUNAR_CONSOLE_DIR", "/srv/consoles/", 1);
	assert_true(check("vm0", "console: file\nconsole_path: /srv/consoles/vm0\n"));
	assert_int_equal(found.count, 0);
	assert_console_stops("console: file\nconsole_path: /var/log/lunar/vm0.log\n");
}

static void console_elsewhere_stops(void **state)
{
	static const char *const paths[] = {
		"/etc/cron.d/vm0",
		"/var/log/lunar",
		"/var/log/lunarx/vm0",
		"/var/log/lunar/../../../etc/passwd",
		"/tmp/lunar-check/run/vm/vm1/console.log",
		"/tmp/lunar-check/run/vm/vm0/../vm1/lock",
		"/tmp/lunar-check/state/vms/vm1.yaml",
	};
	char more[256];

	(void)state;
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		snprintf(more, sizeof(more), "console: file\nconsole_path: %s\n", paths[i]);
		assert_console_stops(more);
		snprintf(more, sizeof(more), "console_path: %s\n", paths[i]);
		assert_console_stops(more);
	}
}

/* A guest could read after a reboot what its definition calls a kernel or an initrd. */
static void kernel_and_initrd_of_the_hosts_own_files_stop(void **state)
{
	static const char *const paths[] = {
		"/etc/shadow",
		"/boot/../etc/shadow",
		"/boot/./../etc/shadow",
		"/boot/..",
		"/bootx/vmlinuz",
		"/boot",
		"/boot/",
		"/tmp/lunar-check/state/vms/vm1.yaml",
		"/tmp/lunar-check/state/bootx",
		"/proc/self/environ",
	};
	char more[256];

	(void)state;
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		snprintf(more, sizeof(more), "kernel: %s\n", paths[i]);
		assert_stops("kernel", more);
		snprintf(more, sizeof(more), "initrd: %s\n", paths[i]);
		assert_stops("initrd", more);
	}
}

/* What is not there yet harms: it may be copied there before the VM reboots. */
static void kernel_may_be_where_kernels_are(void **state)
{
	(void)state;
	assert_true(check("vm0", "kernel: /boot/lunar-no-such-kernel\n"));
	assert_true(check("vm0", "kernel: /tmp/lunar-check/state/boot/web/vmlinuz\n"));
	assert_int_equal(found.count, 1);
	assert_int_equal(found.findings[0].severity, MIGRATION_HARMS);
	setenv("LUNAR_INCOMING_DIRS", "/nowhere:/srv/kernels/:relative", 1);
	assert_true(check("vm0", "kernel: /srv/kernels/vmlinuz\n"));
	assert_stops("kernel", "");
}

/* A link leads out of the folder that it is in. */
static void link_out_of_the_folder_stops(void **state)
{
	char folder[] = "/tmp/lunar-links-XXXXXX", path[64], more[128];

	(void)state;
	assert_non_null(mkdtemp(folder));
	setenv("LUNAR_INCOMING_DIRS", folder, 1);
	snprintf(path, sizeof(path), "%s/initrd", folder);
	snprintf(more, sizeof(more), "kernel: %s\n", path);
	assert_int_equal(symlink("/etc/passwd", path), 0);
	assert_stops("kernel", more);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(symlink("other", path), 0); /* dangling, and in it */
	assert_true(check("vm0", more));
	assert_int_equal(unlink(path), 0);
	assert_int_equal(rmdir(folder), 0);
}

static void switch_elsewhere_stops(void **state)
{
	(void)state;
	assert_true(check("vm0", "nics: [{switch: /tmp/lunar-check/run/netvspd.sock}]\n"));
	assert_true(check("vm0", "nics: [{switch: /run/lunar/other.sock}]\n"));
	assert_int_equal(found.count, 0);
	assert_stops("switch", "nics: [{switch: /run/docker.sock}]\n");
	assert_stops("switch", "nics: [{}, {switch: /tmp/lunar-check/run/vm/vm1/api.sock}]\n");
	assert_stops("switch", "nics: [{switch: /run/lunar/../docker.sock}]\n");
}

static void disk_elsewhere_stops(void **state)
{
	(void)state;
	assert_true(check("vm0", "disks: [{path: /tmp/lunar-check/state/disks/vm0.vhd}]\n"));
	assert_int_equal(found.count, 0);
	assert_stops("disk", "disks: [{path: /dev/sda}]\n");
	assert_stops("disk", "disks: [{path: /tmp/lunar-check/state/disks/../vms/vm1.yaml}]\n");
}

/* An image names its parent, and the other host wrote the image. */
static void parent_may_be_in_a_folder_for_disks_wherever_that_is(void **state)
{
	char folder[] = "/tmp/lunar-parents-XXXXXX", link[64], path[64];

	(void)state;
	assert_non_null(mkdtemp(folder));
	snprintf(link, sizeof(link), "%s-link", folder);
	assert_int_equal(symlink(folder, link), 0);
	setenv("LUNAR_INCOMING_DIRS", link, 1);
	snprintf(path, sizeof(path), "%s/base.vhd", folder);
	assert_true(confine_path_is_allowed(CONFINE_PARENT, "", path));
	assert_false(confine_path_is_allowed(CONFINE_PARENT, "", "/etc/base.vhd"));
	assert_false(confine_path_is_allowed(CONFINE_PARENT, "", folder));
	assert_int_equal(unlink(link), 0);
	assert_int_equal(rmdir(folder), 0);
}

static void targets_are_those_that_are_set_where_any_are(void **state)
{
	(void)state;
	unsetenv("LUNAR_INCOMING_TARGETS");
	assert_true(check("vm0", "disks: [{url: 'iscsi://192.0.2.9/iqn.2026-01.x:a/1'}]\n"));
	setenv("LUNAR_INCOMING_TARGETS", " iscsi://192.0.2.1  iscsi://san/iqn.2026-01.x:b", 1);
	assert_true(check("vm0", "disks: [{url: 'iscsi://192.0.2.1/iqn.2026-01.x:a/1'}]\n"));
	assert_true(check("vm0", "disks: [{url: 'iscsi://san/iqn.2026-01.x:b/1'}]\n"));
	assert_int_equal(found.count, 0);
	assert_stops("disk", "disks: [{url: 'iscsi://192.0.2.11/iqn.2026-01.x:a/1'}]\n");
	assert_stops("disk", "disks: [{url: 'iscsi://san/iqn.2026-01.x:bc/1'}]\n");
	setenv("LUNAR_INCOMING_TARGETS", "", 1);
	assert_stops("disk", "disks: [{url: 'iscsi://san/iqn.2026-01.x:b/1'}]\n");
	unsetenv("LUNAR_INCOMING_TARGETS");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(ordinary_definition_is_fine, setup),
		cmocka_unit_test_setup(definition_of_another_name_or_none_is_not_made, setup),
		cmocka_unit_test_setup(console_may_be_in_the_consoles_folder_or_the_vms_own, setup),
		cmocka_unit_test_setup(console_elsewhere_stops, setup),
		cmocka_unit_test_setup(kernel_and_initrd_of_the_hosts_own_files_stop, setup),
		cmocka_unit_test_setup(kernel_may_be_where_kernels_are, setup),
		cmocka_unit_test_setup(link_out_of_the_folder_stops, setup),
		cmocka_unit_test_setup(switch_elsewhere_stops, setup),
		cmocka_unit_test_setup(disk_elsewhere_stops, setup),
		cmocka_unit_test_setup(parent_may_be_in_a_folder_for_disks_wherever_that_is, setup),
		cmocka_unit_test_setup(targets_are_those_that_are_set_where_any_are, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
