/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * `vlan` in a VM's definition: read, each fault told by its key; and put into a text that somebody
 * wrote, whatever way they write YAML, with the rest left as it was.
 */
#include "tests/unit/test_main.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hypervisor/vm_config.h"
#include "hypervisor/vm_definition.h"
#include "hypervisor/vm_paths.h"

#define HEAD "name: vm0\nmemory: 512M\nkernel: /k\n"

static void assert_vlan(const char *nics, const char *phrase)
{
	char message[VM_CONFIG_MESSAGE_BYTES] = "", text[2048], shown[VLAN_TEXT_BYTES];
	struct vm_config *config = NULL;

	snprintf(text, sizeof(text), HEAD "nics:\n%s", nics);
	if (vm_config_parse("vm0.yaml", text, strlen(text), &config, message, sizeof(message)))
		fail_msg("refused: %s", message);
	assert_string_equal(vlan_config_format(&config->nics[0].vlan, shown), phrase);
	vm_config_free(config);
}

static void each_mode_is_read(void **state)
{
	(void)state;
	assert_vlan("  - mtu: 1500\n", "default");
	assert_vlan("  - vlan: {mode: access, id: 10}\n", "access 10");
	assert_vlan("  - vlan:\n      mode: trunk\n      allowed: 10,20-30\n      native: 1\n",
		    "trunk 10,20-30 native 1");
	assert_vlan("  - {vlan: {mode: trunk, allowed: \"10,20\"}}\n", "trunk 10,20 native 0");
	assert_vlan("  - vlan: {mode: untagged}\n", "untagged");
	assert_vlan("  - vlan: {mode: isolated, primary: 100, secondary: 101}\n",
		    "isolated 100,101");
	assert_vlan("  - vlan: {mode: promiscuous, primary: 100, secondary: \"101-102\"}\n",
		    "promiscuous 100,101-102");
}

static void each_fault_is_told_with_its_key(void **state)
{
	static const struct {
		const char *nics, *message;
	} cases[] = {
		{"  - mtu: 1500\n    vlan: {mode: acces}\n",
		 "vm0.yaml:6: nics[0].vlan.mode: 'acces' is not a mode; give untagged, access, "
		 "trunk, isolated, community, promiscuous or default"},
		{"  - vlan:\n      mode: access\n      id: 4095\n",
		 "vm0.yaml:7: nics[0].vlan.id: '4095' is not a whole number from 1 to 4094"},
		{"  - vlan: {mode: access}\n",
		 "vm0.yaml: nics[0].vlan.id: missing; mode access needs it"},
		{"  - vlan: {}\n",
		 "vm0.yaml: nics[0].vlan.mode: missing; give untagged, access, trunk, isolated, "
		 "community, promiscuous or default"},
		{"  - vlan: {mode: access, id: 1, tag: 2}\n",
		 "vm0.yaml:5: nics[0].vlan.tag: unknown key; use one of mode, id, allowed, "
		 "native, primary, secondary"},
		{"  - mtu: 1500\n  - vlan: 10\n",
		 "vm0.yaml:6: nics[1].vlan: must be a mapping, such as {mode: access, id: 10}"},
		{"  - vlan: {mode: [access], id: 1}\n",
		 "vm0.yaml:5: nics[0].vlan.mode: must be one plain value, not a list or a "
		 "mapping"},
		{"  - vlan: {mode: access, id: 1, id: 2}\n",
		 "vm0.yaml:5: this key was given before; keep one of the two"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char message[VM_CONFIG_MESSAGE_BYTES] = "", text[2048];
		struct vm_config *config = NULL;

		snprintf(text, sizeof(text), HEAD "nics:\n%s", cases[i].nics);
		assert_int_equal(vm_config_parse("vm0.yaml", text, strlen(text), &config, message,
						 sizeof(message)),
				 -EINVAL);
		assert_string_equal(message, cases[i].message);
	}
}

/* Two VLANs of the same name in two NICs are no repetition. */
static void keys_of_two_nics_are_two(void **state)
{
	(void)state;
	assert_vlan("  - vlan: {mode: access, id: 1}\n  - vlan: {mode: access, id: 2}\n",
		    "access 1");
}

static void assert_changed(const char *before, size_t nic, const char *after)
{
	const struct vlan_config access = {.mode = VLAN_ACCESS, .id = 10};
	char message[VM_CONFIG_MESSAGE_BYTES] = "", text[2048], expected[2048];
	char *changed = NULL;
	size_t length = 0;

	snprintf(text, sizeof(text), HEAD "%s", before);
	snprintf(expected, sizeof(expected), HEAD "%s", after);
	if (vm_definition_set_vlan(text, strlen(text), nic, &access, &changed, &length, message,
				   sizeof(message)))
		fail_msg("%s: %s", before, message);
	assert_int_equal(length, strlen(expected));
	assert_memory_equal(changed, expected, length);
	free(changed);
}

static void mode_goes_into_any_text(void **state)
{
	(void)state;
	assert_changed("nics:\n  - mtu: 1500 # small\n    queues: 2\n# end\n", 0,
		       "nics:\n  - vlan: {mode: access, id: 10}\n    mtu: 1500 # small\n    "
		       "queues: 2\n# end\n");
	assert_changed("nics:\n- mtu: 1500\n- queues: 2\n", 1,
		       "nics:\n- mtu: 1500\n- vlan: {mode: access, id: 10}\n  queues: 2\n");
	assert_changed("nics: [{mtu: 1500}, {}]\n", 0,
		       "nics: [{vlan: {mode: access, id: 10}, mtu: 1500}, {}]\n");
	assert_changed("nics: [{mtu: 1500}, {}]\n", 1,
		       "nics: [{mtu: 1500}, {vlan: {mode: access, id: 10}}]\n");
	assert_changed("nics:\n  - vlan: {mode: trunk, allowed: \"1,2\"} # was\n    mtu: 1500\n", 0,
		       "nics:\n  - vlan: {mode: access, id: 10} # was\n    mtu: 1500\n");
	assert_changed("nics:\n  - vlan:\n      mode: access\n      id: 7\n    mtu: 1500\n", 0,
		       "nics:\n  - vlan:\n      {mode: access, id: 10}\n    mtu: 1500\n");
	/* libyaml counts characters, not bytes. */
	assert_changed("cmdline: \"n\xc3\xa4\xe2\x82\xac\" # \xc3\xbc\nnics:\n  - mtu: 1500\n", 0,
		       "cmdline: \"n\xc3\xa4\xe2\x82\xac\" # \xc3\xbc\nnics:\n  - vlan: {mode: "
		       "access, id: 10}\n    mtu: 1500\n");
}

static void every_mode_survives_being_written(void **state)
{
	static const struct vlan_words modes[] = {
		{.mode = "default"},
		{.mode = "untagged"},
		{.mode = "access", .id = "4094"},
		{.mode = "trunk", .allowed = "1-4094", .native = "1"},
		{.mode = "trunk", .allowed = "2,4,6-9"},
		{.mode = "isolated", .primary = "1", .secondary = "2"},
		{.mode = "community", .primary = "1", .secondary = "2"},
		{.mode = "promiscuous", .primary = "1", .secondary = "2,4-4000"},
	};
	static const char before[] = HEAD "nics:\n  - mtu: 1500\n";
	char message[VM_CONFIG_MESSAGE_BYTES] = "";
	char *text = strdup(before);
	size_t length = strlen(before);

	(void)state;
	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		struct vm_config *config = NULL;
		struct vlan_config vlan;
		char *changed = NULL;
		const char *key;

		assert_int_equal(vlan_config_parse(&modes[i], &vlan, &key, message), 0);
		assert_int_equal(vm_definition_set_vlan(text, length, 0, &vlan, &changed, &length,
							message, sizeof(message)),
				 0);
		free(text);
		text = changed;
		assert_int_equal(
			vm_config_parse("x", text, length, &config, message, sizeof(message)), 0);
		assert_true(vlan_config_is_equal(&config->nics[0].vlan, &vlan));
		vm_config_free(config);
	}
	free(text);
}

static void what_is_not_there_is_refused(void **state)
{
	static const char text[] = HEAD "nics:\n  - mtu: 1500\n";
	const struct vlan_config access = {.mode = VLAN_ACCESS, .id = 10};
	char message[VM_CONFIG_MESSAGE_BYTES] = "";
	char *changed = NULL;
	size_t length = 0;

	(void)state;
	assert_int_equal(vm_definition_set_vlan(text, strlen(text), 1, &access, &changed, &length,
						message, sizeof(message)),
			 -EINVAL);
	assert_non_null(strstr(message, "nics[1] is not found"));
	assert_int_equal(vm_definition_set_vlan(HEAD, strlen(HEAD), 0, &access, &changed, &length,
						message, sizeof(message)),
			 -EINVAL);
	assert_null(changed);
}

static void stored_definition_is_replaced_only_where_it_is_the_old_one(void **state)
{
	char dir[] = "/tmp/lunar-definition-XXXXXX", path[256], command[300];
	char *text = NULL;
	size_t length = 0;
	FILE *file;

	(void)state;
	assert_non_null(mkdtemp(dir));
	setenv("LUNAR_STATE_DIR", dir, 1);
	assert_int_equal(vm_definition_store("vm0", "old", 3, "new", 3), -ENOENT);
	snprintf(path, sizeof(path), "%s/vms", dir);
	assert_int_equal(mkdir(path, 0755), 0);
	assert_int_equal(vm_path(VM_PATH_DEFINITION, "vm0", path, sizeof(path)), 0);
	file = fopen(path, "w");
	fputs("old", file);
	fclose(file);
	assert_int_equal(vm_definition_store("vm0", "other", 5, "new", 3), -ENOENT);
	assert_int_equal(vm_definition_store("vm0", "old", 3, "newer", 5), 0);
	assert_int_equal(vm_config_read(path, &text, &length, command, sizeof(command)), 0);
	assert_int_equal(length, 5);
	assert_memory_equal(text, "newer", 5);
	free(text);
	unsetenv("LUNAR_STATE_DIR");
	snprintf(command, sizeof(command), "rm -r %s", dir);
	assert_int_equal(system(command), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_mode_is_read),
		cmocka_unit_test(each_fault_is_told_with_its_key),
		cmocka_unit_test(keys_of_two_nics_are_two),
		cmocka_unit_test(mode_goes_into_any_text),
		cmocka_unit_test(every_mode_survives_being_written),
		cmocka_unit_test(what_is_not_there_is_refused),
		cmocka_unit_test(stored_definition_is_replaced_only_where_it_is_the_old_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
