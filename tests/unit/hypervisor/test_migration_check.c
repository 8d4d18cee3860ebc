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

#include "hypervisor/migration/check.h"

static struct migration_check found;

static int setup(void **state)
{
	(void)state;
	setenv("LUNAR_RUN_DIR", "/tmp/lunar-check/run", 1);
	setenv("LUNAR_STATE_DIR", "/tmp/lunar-check/state", 1);
	unsetenv("LUNAR_CONSOLE_DIR");
	return 0;
}

static bool check(const char *name, const char *more)
{
	char text[512];

	snprintf(text, sizeof(text), "name: vm0\nmemory: 64M\nkernel: /bin/sh\n%s", more);
	memset(&found, 0, sizeof(found));
	return migration_check_definition(&found, name, text, strlen(text));
}

static void assert_console_stops(const char *more)
{
	assert_false(check("vm0", more));
	assert_int_equal(found.count, 1);
	assert_int_equal(found.findings[0].severity, MIGRATION_STOPS);
	assert_string_equal(found.findings[0].item, "console");
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(ordinary_definition_is_fine, setup),
		cmocka_unit_test_setup(definition_of_another_name_or_none_is_not_made, setup),
		cmocka_unit_test_setup(console_may_be_in_the_consoles_folder_or_the_vms_own, setup),
		cmocka_unit_test_setup(console_elsewhere_stops, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
