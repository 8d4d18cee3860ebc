/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Good files give the values that they name and the defaults that the documentation names; each
 * fault gives the one line that the user reads, word for word.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "hypervisor/vm_config.h"

#define MINIMAL "name: vm0\nmemory: 512M\nkernel: /boot/vmlinuz\n"

struct bad_file {
	const char *text;
	const char *message;
};

static void assert_good(const char *text, struct vm_config **config)
{
	char message[VM_CONFIG_MESSAGE_BYTES] = "what was there before";

	if (vm_config_parse("vm0.yaml", text, strlen(text), config, message, sizeof(message)) != 0)
		fail_msg("refused: %s", message);
	/* vmwp would say it when the VM ends */
	assert_string_equal(message, "");
}

static void assert_all_refused(const struct bad_file *files, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		char message[VM_CONFIG_MESSAGE_BYTES] = "";
		struct vm_config *config = NULL;
		int rc = vm_config_parse("vm0.yaml", files[i].text, strlen(files[i].text), &config,
					 message, sizeof(message));

		assert_string_equal(message, files[i].message);
		assert_int_equal(rc, -EINVAL);
		assert_null(config);
	}
}

static void minimal_file_takes_the_documented_defaults(void **state)
{
	struct vm_config *config = NULL;

	(void)state;
	assert_good(MINIMAL, &config);
	assert_string_equal(config->name, "vm0");
	assert_int_equal(config->vps, 1);
	assert_int_equal(config->memory_bytes, UINT64_C(512) << 20);
	assert_false(config->huge_pages);
	assert_string_equal(config->kernel, "/boot/vmlinuz");
	assert_null(config->initrd);
	assert_string_equal(config->cmdline, "");
	assert_int_equal(config->console, VM_CONSOLE_SOCKET);
	assert_null(config->console_path);
	assert_int_equal(config->nic_count, 0);
	vm_config_free(config);
}

static void full_file_gives_every_value(void **state)
{
	static const uint8_t mac[6] = {0x02, 0, 0, 0, 0xab, 0x01};
	struct vm_config *config = NULL;

	(void)state;
	assert_good("# a comment\n"
		    "name: web-1.example_A\nvps: 64\nmemory: \"64G\"\nhuge_pages: true\n"
		    "kernel: /k\ninitrd: '/i'\ncmdline: \"console=ttyS0 quiet\"\n"
		    "console: file\nconsole_path: /var/log/web-1.console\n"
		    "nics:\n"
		    "  - mac: \"02:00:00:00:AB:01\"\n    mtu: 9216\n    queues: 64\n"
		    "    switch: /run/other.sock\n    spoof_guard: false\n"
		    "  - {}\n",
		    &config);
	assert_string_equal(config->name, "web-1.example_A");
	assert_int_equal(config->vps, 64);
	assert_int_equal(config->memory_bytes, UINT64_C(64) << 30);
	assert_true(config->huge_pages);
	assert_string_equal(config->kernel, "/k");
	assert_string_equal(config->initrd, "/i");
	assert_string_equal(config->cmdline, "console=ttyS0 quiet");
	assert_int_equal(config->console, VM_CONSOLE_FILE);
	assert_string_equal(config->console_path, "/var/log/web-1.console");
	assert_int_equal(config->nic_count, 2);
	assert_memory_equal(config->nics[0].mac, mac, 6);
	assert_int_equal(config->nics[0].mtu, 9216);
	assert_int_equal(config->nics[0].queues, 64);
	assert_string_equal(config->nics[0].vsp_socket, "/run/other.sock");
	assert_false(config->nics[0].spoof_guard);
	assert_int_equal(config->nics[1].mtu, 1500);
	assert_int_equal(config->nics[1].queues, 8);
	assert_string_equal(config->nics[1].vsp_socket, "/run/lunar/netvspd.sock");
	assert_true(config->nics[1].spoof_guard);
	vm_config_free(config);
}

static void empty_list_of_nics_is_no_nic(void **state)
{
	struct vm_config *config = NULL;

	(void)state;
	assert_good(MINIMAL "nics: []\n", &config);
	assert_int_equal(config->nic_count, 0);
	vm_config_free(config);
	assert_good(MINIMAL "nics:\n", &config);
	assert_int_equal(config->nic_count, 0);
	vm_config_free(config);
}

static void run_dir_moves_the_default_switch(void **state)
{
	struct vm_config *config = NULL;
	char message[VM_CONFIG_MESSAGE_BYTES];
	char long_dir[256];

	(void)state;
	setenv("LUNAR_RUN_DIR", "/tmp/lunar-run", 1);
	assert_good(MINIMAL "nics: [{}]\n", &config);
	assert_string_equal(config->nics[0].vsp_socket, "/tmp/lunar-run/netvspd.sock");
	vm_config_free(config);
	memset(long_dir, 'a', sizeof(long_dir) - 1);
	long_dir[0] = '/';
	long_dir[sizeof(long_dir) - 1] = '\0';
	setenv("LUNAR_RUN_DIR", long_dir, 1);
	assert_int_equal(vm_config_parse("f", MINIMAL "nics: [{}]\n",
					 strlen(MINIMAL "nics: [{}]\n"), &config, message,
					 sizeof(message)),
			 -EINVAL);
	assert_string_equal(message,
			    "f: nics[0].switch: LUNAR_RUN_DIR is too long for a socket's path; "
			    "shorten it");
	unsetenv("LUNAR_RUN_DIR");
}

static void derived_identity_is_stable_unique_and_well_formed(void **state)
{
	/* Golden: a running guest knows its NIC by these, so a later version must derive the same.
	 */
	static const uint8_t vm0_nic0_mac[6] = {0x02, 0x20, 0x0b, 0x7a, 0x1e, 0xca};
	static const uint8_t vm0_nic0_id[16] = {0x5d, 0x38, 0x2a, 0x2e, 0x7a, 0x29, 0xa7, 0x81,
						0x93, 0xb5, 0x4d, 0x74, 0x5e, 0x21, 0x90, 0xdf};
	struct vm_config *one = NULL;
	struct vm_config *other = NULL;

	(void)state;
	assert_good(MINIMAL "nics: [{}, {}]\n", &one);
	assert_good("name: vm1\nmemory: 64M\nkernel: /k\nnics: [{}]\n", &other);
	assert_memory_equal(one->nics[0].mac, vm0_nic0_mac, 6);
	assert_memory_equal(one->nics[0].instance_id, vm0_nic0_id, 16);
	assert_int_equal(one->nics[0].mac[0] & 3, 2);
	assert_int_equal(one->nics[0].instance_id[7] >> 4, 8);
	assert_int_equal(one->nics[0].instance_id[8] >> 6, 2);
	assert_memory_not_equal(one->nics[0].mac, one->nics[1].mac, 6);
	assert_memory_not_equal(one->nics[0].mac, other->nics[0].mac, 6);
	assert_memory_not_equal(one->nics[0].instance_id, one->nics[1].instance_id, 16);
	assert_memory_not_equal(one->nics[0].instance_id, other->nics[0].instance_id, 16);
	vm_config_free(one);
	vm_config_free(other);
}

static void unknown_missing_and_repeated_keys_are_named(void **state)
{
	static const struct bad_file files[] = {
		{MINIMAL "memmory: 1G\n", "vm0.yaml:4: memmory: unknown key; use one of name, vps, "
					  "memory, huge_pages, kernel, "
					  "initrd, cmdline, console, console_path, nics, disks"},
		{MINIMAL "nics:\n  - mtu: 1500\n  - mtu: 1500\n    vlans: 5\n",
		 "vm0.yaml:7: nics[1].vlans: unknown key; use one of mac, mtu, queues, switch, "
		 "spoof_guard, vlan"},
		{"Name: vm0\n",
		 "vm0.yaml:1: Name: unknown key; use one of name, vps, memory, huge_pages, "
		 "kernel, initrd, cmdline, console, console_path, nics, disks"},
		{MINIMAL "a:b: 1\n",
		 "vm0.yaml:4: a:b: unknown key; use one of name, vps, memory, huge_pages, kernel, "
		 "initrd, cmdline, console, console_path, nics, disks"},
		{"memory: 1G\nkernel: /k\n", "vm0.yaml: name: missing; add this key to the file"},
		{"name: a\nkernel: /k\n", "vm0.yaml: memory: missing; add this key to the file"},
		{"name: a\nmemory: 1G\n", "vm0.yaml: kernel: missing; add this key to the file"},
		{"name: a\nmemory: 1G\nname: b\n",
		 "vm0.yaml:3: this key was given before; keep one of the two"},
		{MINIMAL "nics:\n  - mtu: 1500\n    mtu: 9000\n",
		 "vm0.yaml:6: this key was given before; keep one of the two"},
	};

	(void)state;
	assert_all_refused(files, ARRAY_LENGTH(files));
}

static void wrong_types_are_named(void **state)
{
	static const struct bad_file files[] = {
		{"name: a\nmemory: 1G\nkernel: /k\nvps: [2]\n",
		 "vm0.yaml:4: vps: must be one plain value, not a list or a mapping"},
		{"name: {a: b}\nmemory: 1G\nkernel: /k\n",
		 "vm0.yaml:1: name: must be one plain value, not a list or a mapping"},
		{MINIMAL "nics: eth0\n",
		 "vm0.yaml:4: nics: must be a list; begin each NIC with '- '"},
		{MINIMAL "nics: {mtu: 1500}\n",
		 "vm0.yaml:4: nics: must be a list; begin each NIC with '- '"},
		{MINIMAL "nics: [eth0]\n",
		 "vm0.yaml:4: nics: each entry must be a mapping of keys, such as '- mtu: 1500'"},
		{MINIMAL "nics:\n  - mtu: {}\n",
		 "vm0.yaml:5: nics[0].mtu: must be one plain value, not a list or a mapping"},
		{"- name\n", "vm0.yaml: not a mapping; write one 'key: value' a line"},
		{"hello\n", "vm0.yaml: not a mapping; write one 'key: value' a line"},
		{"[1]: 2\n", "vm0.yaml:1: a key must be a plain word"},
		{MINIMAL "vps: two\n", "vm0.yaml:4: vps: 'two' is not a whole number from 1 to 64"},
		{MINIMAL "vps: 2abc\n",
		 "vm0.yaml:4: vps: '2abc' is not a whole number from 1 to 64"},
		{MINIMAL "vps: 0x2\n", "vm0.yaml:4: vps: '0x2' is not a whole number from 1 to 64"},
		{MINIMAL "vps: -1\n", "vm0.yaml:4: vps: '-1' is not a whole number from 1 to 64"},
		{MINIMAL "vps:\n", "vm0.yaml:4: vps: '' is not a whole number from 1 to 64"},
		{MINIMAL "vps: 18446744073709551618\n",
		 "vm0.yaml:4: vps: '18446744073709551618' is not a whole number from 1 to 64"},
		{MINIMAL "huge_pages: yes\n",
		 "vm0.yaml:4: huge_pages: 'yes' is neither; give true or false"},
		{MINIMAL "nics:\n  - spoof_guard: 1\n",
		 "vm0.yaml:5: nics[0].spoof_guard: '1' is neither; give true or false"},
	};

	(void)state;
	assert_all_refused(files, ARRAY_LENGTH(files));
}

static void values_out_of_range_are_named(void **state)
{
	static const struct bad_file files[] = {
		{MINIMAL "vps: 0\n", "vm0.yaml:4: vps: '0' is not a whole number from 1 to 64"},
		{MINIMAL "vps: 65\n", "vm0.yaml:4: vps: '65' is not a whole number from 1 to 64"},
		{"name: a\nkernel: /k\nmemory: 512\n",
		 "vm0.yaml:3: memory: '512' is not a size; give a "
		 "whole number with M, G or T, such as 512M"},
		{"name: a\nkernel: /k\nmemory: 1.5G\n",
		 "vm0.yaml:3: memory: '1.5G' is not a size; give a "
		 "whole number with M, G or T, such as 512M"},
		{"name: a\nkernel: /k\nmemory: 512MB\n",
		 "vm0.yaml:3: memory: '512MB' is not a size; give "
		 "a whole number with M, G or T, such as 512M"},
		{"name: a\nkernel: /k\nmemory: 62M\n",
		 "vm0.yaml:3: memory: '62M' is out of range; give 64M to 1023G"},
		{"name: a\nkernel: /k\nmemory: 1T\n",
		 "vm0.yaml:3: memory: '1T' is out of range; give 64M to 1023G"},
		{"name: a\nkernel: /k\nmemory: 99999999999999T\n",
		 "vm0.yaml:3: memory: '99999999999999T' is out of range; give 64M to 1023G"},
		{"name: a\nkernel: /k\nmemory: 65M\n",
		 "vm0.yaml:3: memory: '65M' is not a multiple of 2M; round it up to 66M"},
		{MINIMAL "nics: [{mtu: 575}]\n",
		 "vm0.yaml:4: nics[0].mtu: '575' is not a whole number from 576 to 9216"},
		{MINIMAL "nics: [{mtu: 9217}]\n",
		 "vm0.yaml:4: nics[0].mtu: '9217' is not a whole number from 576 to 9216"},
		{MINIMAL "nics: [{queues: 65}]\n",
		 "vm0.yaml:4: nics[0].queues: '65' is not a whole number from 1 to 64"},
		{MINIMAL "nics: [{},{},{},{},{},{},{},{},{}]\n",
		 "vm0.yaml:4: nics: too many; a VM has at most 8 NICs"},
	};

	(void)state;
	assert_all_refused(files, ARRAY_LENGTH(files));
}

static void bad_names_paths_and_addresses_are_named(void **state)
{
	static const char name_rule[] = "is not a name; use 1 to 32 letters, digits, '-', '_', "
					"'.', beginning with a letter or digit";
	char long_name[128];
	char dots[192];
	const struct bad_file files[] = {
		{long_name, dots},
		{"name: a\nmemory: 1G\nkernel: vmlinuz\n",
		 "vm0.yaml:3: kernel: 'vmlinuz' is not an absolute path; begin it with /"},
		{"name: a\nmemory: 1G\nkernel: \"\"\n",
		 "vm0.yaml:3: kernel: '' is not an absolute path; begin it with /"},
		{MINIMAL "initrd: \"/a\\e[31mred\"\n",
		 "vm0.yaml:4: a value must not hold control characters or line breaks"},
		{MINIMAL "initrd: \"./\\u009b31m\"\n",
		 "vm0.yaml:4: initrd: './??31m' is not an absolute path; begin it with /"},
		{MINIMAL "console: tty\n",
		 "vm0.yaml:4: console: 'tty' is not a console; give socket, stdio or file"},
		{MINIMAL "console: file\n",
		 "vm0.yaml: console_path: missing; 'console: file' needs the file's path here"},
		{MINIMAL "console: stdio\nconsole_path: /c\n",
		 "vm0.yaml:5: console_path: not used with 'console: stdio'; take one of the two "
		 "out"},
		{MINIMAL "nics: [{mac: 02-00-00-00-00-01}]\n",
		 "vm0.yaml:4: nics[0].mac: '02-00-00-00-00-01' is not a MAC; write it as "
		 "\"02:00:00:00:00:01\""},
		{MINIMAL "nics: [{mac: \"03:00:00:00:00:01\"}]\n",
		 "vm0.yaml:4: nics[0].mac: '03:00:00:00:00:01' is a multicast address; make its "
		 "first "
		 "byte even"},
		{MINIMAL "nics: [{mac: \"00:00:00:00:00:00\"}]\n",
		 "vm0.yaml:4: nics[0].mac: '00:00:00:00:00:00' is no address; leave the key out to "
		 "have "
		 "one derived"},
		{MINIMAL "nics:\n - mac: \"02:00:00:00:00:01\"\n - mtu: 1500\n"
			 " - mac: \"02:00:00:00:00:01\"\n",
		 "vm0.yaml:7: nics[2].mac: the same as that of nics[0]; give each NIC its own"},
		{MINIMAL "nics: [{switch: netvspd.sock}]\n",
		 "vm0.yaml:4: nics[0].switch: 'netvspd.sock' is not an absolute path; begin it "
		 "with /"},
	};

	(void)state;
	snprintf(long_name, sizeof(long_name), "name: a%032d\nmemory: 1G\nkernel: /k\n", 0);
	snprintf(dots, sizeof(dots), "vm0.yaml:1: name: 'a%032d' %s", 0, name_rule);
	assert_all_refused(files, ARRAY_LENGTH(files));
	assert_false(vm_name_is_valid(""));
	assert_false(vm_name_is_valid("../etc"));
	assert_false(vm_name_is_valid(".hidden"));
	assert_false(vm_name_is_valid("a/b"));
	assert_true(vm_name_is_valid("0.a-b_C"));
}

static void over_long_values_are_refused(void **state)
{
	char message[VM_CONFIG_MESSAGE_BYTES];
	struct vm_config *config = NULL;
	char text[8192];
	int length;

	(void)state;
	length = snprintf(text, sizeof(text), MINIMAL "cmdline: a%02047d\n", 0);
	assert_int_equal(
		vm_config_parse("f", text, (size_t)length, &config, message, sizeof(message)),
		-EINVAL);
	assert_string_equal(message,
			    "f:4: cmdline: longer than 2047 bytes, which is all that Linux keeps; "
			    "shorten it");
	length = snprintf(text, sizeof(text), MINIMAL "initrd: /%04095d\n", 0);
	assert_int_equal(
		vm_config_parse("f", text, (size_t)length, &config, message, sizeof(message)),
		-EINVAL);
	assert_string_equal(message, "f:4: initrd: the path is longer than 4095 bytes; shorten it");
	length = snprintf(text, sizeof(text), MINIMAL "console_path: /%0107d\n", 0);
	assert_int_equal(
		vm_config_parse("f", text, (size_t)length, &config, message, sizeof(message)),
		-EINVAL);
	assert_string_equal(message,
			    "f:4: console_path: the path is longer than 107 bytes; shorten it");
	length = snprintf(text, sizeof(text), MINIMAL "cmdline: a%02046d\n", 0);
	assert_int_equal(
		vm_config_parse("f", text, (size_t)length, &config, message, sizeof(message)), 0);
	assert_int_equal(strlen(config->cmdline), VM_CMDLINE_MAX);
	vm_config_free(config);
}

static void syntax_errors_give_the_line(void **state)
{
	static const struct bad_file files[] = {
		{"name: a\nmemory: [1\nkernel: /k\n",
		 "vm0.yaml:3: not valid YAML: while parsing a flow sequence: did not find expected "
		 "',' or ']'"},
		{"name: a\nvps: @\n",
		 "vm0.yaml:2: not valid YAML: while scanning for the next token: "
		 "found character that cannot start any token"},
		{"", "vm0.yaml:1: the file is empty; it needs at least name, memory and kernel"},
		{"# nothing\n",
		 "vm0.yaml:2: the file is empty; it needs at least name, memory and kernel"},
		{MINIMAL "---\nname: b\n",
		 "vm0.yaml:4: a second document begins here; one file holds one VM"},
		{"name: &a vm0\n",
		 "vm0.yaml:1: anchors (&name) are not supported; write the value out"},
		{"name: *a\n",
		 "vm0.yaml:1: aliases (*name) are not supported; write the value out"},
		{"name: !!str vm0\n",
		 "vm0.yaml:1: tags (!name) are not supported; leave the tag out"},
		{MINIMAL "cmdline: |\n  a\n  b\n",
		 "vm0.yaml:4: a value must not hold control characters or line breaks"},
		{"a: {b: {c: {d: {e: {f: 1}}}}}\n",
		 "vm0.yaml:1: nested too deeply; docs/vm-yaml.md lists the keys"},
	};

	(void)state;
	assert_all_refused(files, ARRAY_LENGTH(files));
}

static void hostile_text_is_refused(void **state)
{
	char message[VM_CONFIG_MESSAGE_BYTES];
	struct vm_config *config = NULL;
	char *text = malloc(VM_CONFIG_MAX_BYTES + 1);

	(void)state;
	assert_non_null(text);
	memset(text, '[', VM_CONFIG_MAX_BYTES);
	assert_int_equal(
		vm_config_parse("f", text, VM_CONFIG_MAX_BYTES, &config, message, sizeof(message)),
		-EINVAL);
	assert_string_equal(message, "f:1: nested too deeply; docs/vm-yaml.md lists the keys");
	memset(text, 0x01, VM_CONFIG_MAX_BYTES);
	assert_int_equal(
		vm_config_parse("f", text, VM_CONFIG_MAX_BYTES, &config, message, sizeof(message)),
		-EINVAL);
	assert_string_equal(
		message, "f:1: not a text in UTF-8 (control characters are not allowed at byte 0)");
	for (size_t i = 0; i + 6 <= VM_CONFIG_MAX_BYTES; i += 6) {
		char key[16];

		snprintf(key, sizeof(key), "%04zx:\n", i / 6);
		memcpy(text + i, key, 6);
	}
	assert_int_equal(vm_config_parse("f", text, (size_t)VM_CONFIG_MAX_BYTES / 6 * 6, &config,
					 message, sizeof(message)),
			 -EINVAL);
	assert_string_equal(message,
			    "f:1025: too many keys; this does not look like a VM's configuration");
	assert_int_equal(vm_config_parse("f", text, VM_CONFIG_MAX_BYTES + 1, &config, message,
					 sizeof(message)),
			 -EINVAL);
	assert_string_equal(message,
			    "f: larger than 65536 bytes; this is not a VM's configuration");
	free(text);
}

static void files_that_cannot_be_read_say_why(void **state)
{
	char message[VM_CONFIG_MESSAGE_BYTES];
	char fifo[] = "/tmp/test-vm-config-XXXXXX";
	struct vm_config *config = NULL;
	char expected[256];

	(void)state;
	assert_int_equal(vm_config_load("/nonexistent.yaml", &config, message, sizeof(message)),
			 -ENOENT);
	assert_string_equal(message,
			    "/nonexistent.yaml: cannot be read (No such file or directory); give "
			    "the path of a VM's YAML file");
	assert_int_equal(vm_config_load("/", &config, message, sizeof(message)), -EINVAL);
	assert_string_equal(message, "/: not a regular file; give the path of a VM's YAML file");
	assert_int_equal(vm_config_load("/dev/zero", &config, message, sizeof(message)), -EINVAL);
	assert_non_null(mkdtemp(fifo));
	assert_int_equal(rmdir(fifo), 0);
	assert_int_equal(mkfifo(fifo, 0600), 0);
	assert_int_equal(vm_config_load(fifo, &config, message, sizeof(message)), -EINVAL);
	snprintf(expected, sizeof(expected),
		 "%s: not a regular file; give the path of a VM's YAML file", fifo);
	assert_string_equal(message, expected);
	unlink(fifo);
}

static void file_is_loaded_and_a_huge_one_refused(void **state)
{
	char path[] = "/tmp/test-vm-config-XXXXXX";
	char message[VM_CONFIG_MESSAGE_BYTES];
	struct vm_config *config = NULL;
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(write(fd, MINIMAL, strlen(MINIMAL)), strlen(MINIMAL));
	assert_int_equal(vm_config_load(path, &config, message, sizeof(message)), 0);
	assert_string_equal(config->name, "vm0");
	vm_config_free(config);
	assert_int_equal(ftruncate(fd, INT64_C(1) << 40), 0);
	assert_int_equal(vm_config_load(path, &config, message, sizeof(message)), -EFBIG);
	assert_non_null(strstr(message, "larger than 65536 bytes"));
	close(fd);
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(minimal_file_takes_the_documented_defaults),
		cmocka_unit_test(full_file_gives_every_value),
		cmocka_unit_test(empty_list_of_nics_is_no_nic),
		cmocka_unit_test(run_dir_moves_the_default_switch),
		cmocka_unit_test(derived_identity_is_stable_unique_and_well_formed),
		cmocka_unit_test(unknown_missing_and_repeated_keys_are_named),
		cmocka_unit_test(wrong_types_are_named),
		cmocka_unit_test(values_out_of_range_are_named),
		cmocka_unit_test(bad_names_paths_and_addresses_are_named),
		cmocka_unit_test(over_long_values_are_refused),
		cmocka_unit_test(syntax_errors_give_the_line),
		cmocka_unit_test(hostile_text_is_refused),
		cmocka_unit_test(files_that_cannot_be_read_say_why),
		cmocka_unit_test(file_is_loaded_and_a_huge_one_refused),
	};

	unsetenv("LUNAR_RUN_DIR");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
