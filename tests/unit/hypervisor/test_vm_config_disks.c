/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The `disks` of a VM's file: what good entries give, and the one line that each fault gives, word
 * for word.
 */
#include "tests/unit/test_main.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "hypervisor/vm_config.h"

#define MINIMAL "name: vm0\nmemory: 512M\nkernel: /boot/vmlinuz\n"

static struct vm_config *parse_good(const char *text)
{
	char message[VM_CONFIG_MESSAGE_BYTES] = "";
	struct vm_config *config = NULL;

	if (vm_config_parse("f", text, strlen(text), &config, message, sizeof(message)) != 0)
		fail_msg("refused: %s", message);
	return config;
}

/* disks: what stands below the key, from line 5 on. */
static void assert_refused(const char *disks, const char *expected)
{
	char message[VM_CONFIG_MESSAGE_BYTES] = "";
	struct vm_config *config = NULL;
	char text[2048];

	snprintf(text, sizeof(text), MINIMAL "disks:\n%s\n", disks);
	assert_int_equal(
		vm_config_parse("f", text, strlen(text), &config, message, sizeof(message)),
		-EINVAL);
	assert_string_equal(message, expected);
	assert_null(config);
}

static void path_alone_is_a_writable_disk_at_its_index(void **state)
{
	struct vm_config *config =
		parse_good(MINIMAL "disks:\n  - path: /a.img\n  - path: /b.vhd\n");

	(void)state;
	assert_int_equal(config->disk_count, 2);
	assert_string_equal(config->disks[0].path, "/a.img");
	assert_false(config->disks[0].dvd);
	assert_false(config->disks[0].is_url);
	assert_false(config->disks[0].read_only);
	assert_false(config->disks[0].pass_through);
	assert_int_equal(config->disks[0].format, DISK_FORMAT_AUTO);
	assert_int_equal(config->disks[0].cache, DISK_CACHE_NONE);
	assert_int_equal(config->disks[0].controller, 0);
	assert_int_equal(config->disks[0].lun, 0);
	assert_int_equal(config->disks[1].lun, 1);
	assert_null(config->disks[0].initiator);
	assert_null(config->disks[0].secret);
	vm_config_free(config);
}

static void every_key_gives_its_value(void **state)
{
	struct vm_config *config = parse_good(
		MINIMAL "disks:\n"
			"  - path: /dev/sdb\n    format: raw\n    type: disk\n    controller: 3\n"
			"    lun: 63\n    read_only: true\n    passthrough: true\n    cache: none\n"
			"  - url: iscsi://bob@10.0.0.1:3260/iqn.2026-01.org.example:t/2\n"
			"    initiator: iqn.2026-01.org.example:vm0\n    secret: /etc/lunar/bob\n"
			"  - path: /cd.ISO\n    type: dvd\n"
			"  - type: dvd\n"
			"  - path: /w\n    cache: writeback\n    format: vhd\n");

	(void)state;
	assert_int_equal(config->disk_count, 5);
	assert_int_equal(config->disks[0].format, DISK_FORMAT_RAW);
	assert_int_equal(config->disks[0].controller, 3);
	assert_int_equal(config->disks[0].lun, 63);
	assert_true(config->disks[0].read_only);
	assert_true(config->disks[0].pass_through);
	assert_true(config->disks[1].is_url);
	assert_string_equal(config->disks[1].path,
			    "iscsi://bob@10.0.0.1:3260/iqn.2026-01.org.example:t/2");
	assert_string_equal(config->disks[1].initiator, "iqn.2026-01.org.example:vm0");
	assert_string_equal(config->disks[1].secret, "/etc/lunar/bob");
	assert_true(config->disks[2].dvd);
	assert_true(config->disks[2].read_only);
	assert_int_equal(config->disks[2].format, DISK_FORMAT_ISO);
	assert_true(config->disks[3].dvd);
	assert_null(config->disks[3].path);
	assert_int_equal(config->disks[3].lun, 3);
	assert_int_equal(config->disks[4].cache, DISK_CACHE_WRITEBACK);
	assert_int_equal(config->disks[4].format, DISK_FORMAT_VHD);
	vm_config_free(config);
}

static void faults_are_named_with_line_and_key(void **state)
{
	(void)state;
	assert_refused("  - format: raw", "f: disks[0].path: missing; give the image's path, or a "
					  "url");
	assert_refused("  - path: /a\n    url: iscsi://h/t/1",
		       "f:6: disks[0].url: there is a path as well; keep one of the two");
	assert_refused("  - path: a.img",
		       "f:5: disks[0].path: 'a.img' is not an absolute path; begin it with /");
	assert_refused("  - url: nbd://h", "f:5: disks[0].url: 'nbd://h' is not a URL that is "
					   "known; give iscsi://HOST[:PORT]/IQN/LUN");
	assert_refused("  - url: iscsi://bob%pw@h/t/1",
		       "f:5: disks[0].url: holds a password; put it in a file of its own, and that "
		       "file's path in secret");
	assert_refused("  - path: /a\n    format: qcow2",
		       "f:6: disks[0].format: 'qcow2' is not a format; give auto, raw, vhd, iso or "
		       "iscsi");
	assert_refused("  - path: /a\n    format: iscsi",
		       "f:6: disks[0].format: needs a url; give that in the place of the path");
	assert_refused("  - url: iscsi://h/t/1\n    format: raw",
		       "f:6: disks[0].format: a url is of the format iscsi; leave this key out");
	assert_refused("  - path: /a.iso",
		       "f: disks[0].format: an ISO image goes into a DVD drive; add 'type: dvd'");
	assert_refused("  - path: /a\n    type: floppy",
		       "f:6: disks[0].type: 'floppy' is not a type; give disk or dvd");
	assert_refused("  - type: dvd\n    read_only: false",
		       "f:6: disks[0].read_only: a DVD drive only reads; leave this key out");
	assert_refused("  - type: dvd\n    url: iscsi://h/t/1",
		       "f:6: disks[0].url: a DVD drive takes the path of an ISO image");
	assert_refused("  - path: /a\n    controller: 4",
		       "f:6: disks[0].controller: '4' is not a whole number from 0 to 3");
	assert_refused("  - path: /a\n    lun: 64",
		       "f:6: disks[0].lun: '64' is not a whole number from 0 to 63");
	assert_refused("  - path: /a\n    cache: fast",
		       "f:6: disks[0].cache: 'fast' is not a cache; give none or writeback");
	assert_refused("  - path: /a\n    secret: /s",
		       "f:6: disks[0].secret: goes with a url only; leave this key out");
	assert_refused("  - url: iscsi://h/t/1\n    initiator: vm0",
		       "f:6: disks[0].initiator: 'vm0' is not an iSCSI name; write it as "
		       "iqn.2026-01.com.example:vm0");
	assert_refused("  - path: /a\n    size: 3G",
		       "f:6: disks[0].size: unknown key; use one of path, url, format, type, "
		       "controller, lun, read_only, cache, passthrough, initiator, secret");
	assert_refused("  - /a", "f:4: disks: each entry must be a mapping of keys, such as '- "
				 "path: /disk.img'");
	assert_refused("  path: /a", "f:4: disks: must be a list; begin each disk with '- '");
	assert_refused("  - path: [/a]",
		       "f:5: disks[0].path: must be one plain value, not a list or a mapping");
}

static void two_disks_share_neither_place_nor_image(void **state)
{
	struct vm_config *config;

	(void)state;
	assert_refused("  - path: /a\n    lun: 1\n  - path: /b",
		       "f: disks[1].lun: 1 of controller 0 is that of disks[0]; give each disk its "
		       "own");
	assert_refused("  - path: /a\n  - path: /a\n    read_only: true",
		       "f:6: disks[1].path: the same as that of disks[0], which both would write; "
		       "take one out, or make both read_only");
	config = parse_good(MINIMAL "disks: [{path: /a, read_only: true}, {path: /a, read_only: "
				    "true}]\n");
	assert_int_equal(config->disk_count, 2);
	vm_config_free(config);
	config = parse_good(MINIMAL "disks:\n- {path: /a, lun: 0}\n- {path: /b, controller: 1, "
				    "lun: 0}\n");
	assert_int_equal(config->disk_count, 2);
	vm_config_free(config);
}

static void a_vm_has_a_bounded_number_of_disks(void **state)
{
	char text[8192] = MINIMAL "disks:\n";
	char message[VM_CONFIG_MESSAGE_BYTES] = "";
	struct vm_config *config = NULL;
	size_t used = strlen(text);

	(void)state;
	for (int i = 0; i < VM_MAX_DISKS; i++)
		used += (size_t)snprintf(text + used, sizeof(text) - used, "  - path: /%d\n", i);
	config = parse_good(text);
	assert_int_equal(config->disk_count, VM_MAX_DISKS);
	vm_config_free(config);
	config = NULL;
	snprintf(text + used, sizeof(text) - used, "  - path: /one-more\n");
	assert_int_equal(
		vm_config_parse("f", text, strlen(text), &config, message, sizeof(message)),
		-EINVAL);
	assert_string_equal(message, "f:4: disks: too many; a VM has at most 64 disks");
}

static void identities_are_stable_and_differ(void **state)
{
	static const uint8_t controller0[16] = {0x64, 0x2d, 0x97, 0x29, 0x89, 0xc1, 0x3e, 0x83,
						0x8e, 0x42, 0xc7, 0x77, 0xac, 0xa7, 0x78, 0x71};
	struct vm_config *config = parse_good(MINIMAL "disks:\n- path: /a\n- path: /b\n");
	uint8_t id[16], other[16];

	(void)state;
	vm_config_controller_id("vm0", 0, id);
	assert_memory_equal(id, controller0, 16);
	vm_config_controller_id("vm0", 1, other);
	assert_memory_not_equal(id, other, 16);
	vm_config_controller_id("vm1", 0, other);
	assert_memory_not_equal(id, other, 16);
	assert_memory_not_equal(config->disks[0].unit_id, config->disks[1].unit_id, 16);
	vm_config_unit_id("vm0", 0, 1, id);
	assert_memory_equal(config->disks[1].unit_id, id, 16);
	vm_config_free(config);
}

static void a_copy_shares_no_text(void **state)
{
	struct vm_config *config = parse_good(
		MINIMAL "disks:\n- {url: 'iscsi://h/t/1', initiator: iqn.a, secret: /s}\n");
	struct vm_disk_config copy;

	(void)state;
	assert_int_equal(vm_disk_config_copy(&config->disks[0], &copy), 0);
	vm_config_free(config);
	assert_string_equal(copy.path, "iscsi://h/t/1");
	assert_string_equal(copy.initiator, "iqn.a");
	assert_string_equal(copy.secret, "/s");
	vm_disk_config_fini(&copy);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(path_alone_is_a_writable_disk_at_its_index),
		cmocka_unit_test(every_key_gives_its_value),
		cmocka_unit_test(faults_are_named_with_line_and_key),
		cmocka_unit_test(two_disks_share_neither_place_nor_image),
		cmocka_unit_test(a_vm_has_a_bounded_number_of_disks),
		cmocka_unit_test(identities_are_stable_and_differ),
		cmocka_unit_test(a_copy_shares_no_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
