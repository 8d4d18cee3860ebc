/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Disks written into the text of a definition: what is around them stays byte for byte, what cannot
 * be changed in place is refused; and single disks as the API takes them.
 */
#include "tests/unit/test_main.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "hypervisor/vm_config.h"
#include "hypervisor/vm_definition_disks.h"

#define HEAD "# mine\nname: vm0 # a name\nmemory: 512M\n"
#define TAIL "\n# the kernel\nkernel: /k\n"

static const struct vm_disk_config first = {.path = (char *)"/a.img", .lun = 0};
static const struct vm_disk_config second = {
	.path = (char *)"/b \"x\".vhd",
	.format = DISK_FORMAT_VHD,
	.cache = DISK_CACHE_WRITEBACK,
	.controller = 1,
	.lun = 7,
};
static const struct vm_disk_config lun = {
	.path = (char *)"iscsi://h/iqn.t/1",
	.is_url = true,
	.lun = 2,
	.read_only = true,
	.initiator = (char *)"iqn.a",
	.secret = (char *)"/s",
};
static const struct vm_disk_config drive = {
	.dvd = true,
	.format = DISK_FORMAT_ISO,
	.read_only = true,
	.lun = 3,
};
static const struct vm_disk_config device = {
	.path = (char *)"/dev/sdb",
	.pass_through = true,
	.lun = 4,
};

static void assert_text(const char *text, const struct vm_disk_config *disks, size_t count,
			const char *expected)
{
	char message[VM_CONFIG_MESSAGE_BYTES] = "";
	char *out = NULL;
	size_t length = 0;

	if (vm_definition_set_disks(text, strlen(text), disks, count, &out, &length, message,
				    sizeof(message)) != 0)
		fail_msg("refused: %s", message);
	assert_int_equal(length, strlen(expected));
	assert_memory_equal(out, expected, length);
	free(out);
}

static void disks_are_added_where_there_were_none(void **state)
{
	(void)state;
	assert_text(HEAD TAIL, &first, 1, HEAD TAIL "disks:\n  - path: \"/a.img\"\n    lun: 0\n");
	assert_text("name: a\nmemory: 64M\nkernel: /k", &first, 1,
		    "name: a\nmemory: 64M\nkernel: /k\ndisks:\n  - path: \"/a.img\"\n    lun: 0\n");
	assert_text("name: a\nmemory: 64M\nkernel: /k\n...\n", &first, 1,
		    "name: a\nmemory: 64M\nkernel: /k\ndisks:\n  - path: \"/a.img\"\n    lun: "
		    "0\n...\n");
}

static void disks_are_replaced_and_all_else_stays(void **state)
{
	static const char *const befores[] = {
		"disks:\n  - path: /old\n  # a comment within\n  - path: /older\n",
		"disks:\n- path: /old\n",
		"disks: [{path: /old}, {path: /older}]\n",
		"disks: [{path: /old},\n  {path: /older}]\n",
		"\"disks\":\n",
	};
	char text[512];

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(befores); i++) {
		snprintf(text, sizeof(text), HEAD "%s" TAIL, befores[i]);
		assert_text(text, &first, 1,
			    HEAD "disks:\n  - path: \"/a.img\"\n    lun: 0\n" TAIL);
	}
}

static void last_disk_takes_the_key_along(void **state)
{
	(void)state;
	assert_text(HEAD "disks:\n  - path: /old\n" TAIL, NULL, 0, HEAD TAIL);
	assert_text(HEAD TAIL "disks:\n  - path: /old\n", NULL, 0, HEAD TAIL);
	assert_text(HEAD TAIL, NULL, 0, HEAD TAIL);
}

static void every_setting_is_written(void **state)
{
	const struct vm_disk_config all[] = {first, second, lun, drive, device};

	(void)state;
	assert_text(HEAD TAIL, all, ARRAY_LENGTH(all),
		    HEAD TAIL "disks:\n"
			      "  - path: \"/a.img\"\n    lun: 0\n"
			      "  - path: \"/b \\\"x\\\".vhd\"\n    format: vhd\n    controller: 1\n"
			      "    lun: 7\n    cache: writeback\n"
			      "  - url: \"iscsi://h/iqn.t/1\"\n    lun: 2\n    read_only: true\n"
			      "    initiator: \"iqn.a\"\n    secret: \"/s\"\n"
			      "  - type: dvd\n    lun: 3\n"
			      "  - path: \"/dev/sdb\"\n    lun: 4\n    passthrough: true\n");
}

static void text_in_braces_is_refused(void **state)
{
	static const char *const texts[] = {
		"{name: a, memory: 64M, kernel: /k}\n",
		"{name: a,\n memory: 64M,\n kernel: /k}\n",
	};
	char message[VM_CONFIG_MESSAGE_BYTES];
	size_t length;
	char *out;

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(texts); i++) {
		assert_int_equal(vm_definition_set_disks(texts[i], strlen(texts[i]), &first, 1,
							 &out, &length, message, sizeof(message)),
				 -EINVAL);
		assert_string_equal(
			message,
			"the definition is written in a way that cannot be changed in place");
	}
}

static void single_disk_is_checked_as_in_a_definition(void **state)
{
	char message[VM_CONFIG_MESSAGE_BYTES] = "";
	struct vm_disk_config disk;

	(void)state;
	assert_int_equal(vm_disk_config_parse("{\"path\": \"/a\\u0062\", \"lun\": 5, "
					      "\"read_only\": true}",
					      &disk, message, sizeof(message)),
			 0);
	assert_string_equal(disk.path, "/ab");
	assert_int_equal(disk.lun, 5);
	assert_true(disk.read_only);
	vm_disk_config_fini(&disk);
	assert_int_equal(vm_disk_config_parse("{\"path\": \"a\"}", &disk, message, sizeof(message)),
			 -EINVAL);
	assert_string_equal(message, "path: 'a' is not an absolute path; begin it with /");
	assert_int_equal(vm_disk_config_parse("{}", &disk, message, sizeof(message)), -EINVAL);
	assert_string_equal(message, "path: missing; give the image's path, or a url");
	assert_int_equal(vm_disk_config_parse("", &disk, message, sizeof(message)), -EINVAL);
	assert_string_equal(message, "give one disk");
	assert_int_equal(vm_disk_config_parse("{\"path\": \"/a\"}, {\"path\": \"/b\"}", &disk,
					      message, sizeof(message)),
			 -EINVAL);
	assert_string_equal(message, "give one disk");
	assert_int_equal(
		vm_disk_config_parse("{\"path\": \"/a\\n\"}", &disk, message, sizeof(message)),
		-EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(disks_are_added_where_there_were_none),
		cmocka_unit_test(disks_are_replaced_and_all_else_stays),
		cmocka_unit_test(last_disk_takes_the_key_along),
		cmocka_unit_test(every_setting_is_written),
		cmocka_unit_test(text_in_braces_is_refused),
		cmocka_unit_test(single_disk_is_checked_as_in_a_definition),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
