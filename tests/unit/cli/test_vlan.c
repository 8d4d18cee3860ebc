/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lunar vlan: its options, and what it does to the definition of a VM that does not run. The same
 * on one that runs: tests/unit/hypervisor/test_vm_vlan.c.
 */
#include "tests/unit/test_main.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "cli/commands.h"
#include "hypervisor/vm_paths.h"

#define MAX_WORDS 16

static enum exit_code parse(const char *words, struct options *options, struct cli_error *error)
{
	static char text[256]; /* options point into both */
	static char *argv[MAX_WORDS + 2];
	int argc = 1;

	memset(argv, 0, sizeof(argv));
	argv[0] = (char *)(uintptr_t) "lunar";
	snprintf(text, sizeof(text), "%s", words);
	for (char *word = strtok(text, " "); word; word = strtok(NULL, " "))
		argv[argc++] = word;
	error->message[0] = '\0';
	return options_parse(argc, argv, options, error);
}

static void each_mode_has_its_option(void **state)
{
	static const struct {
		const char *words, *phrase;
		uint32_t nic;
	} good[] = {
		{"vlan vm0 --access 10", "access 10", 0},
		{"vlan --access 10 --nic 3 vm0", "access 10", 3},
		{"vlan vm0 --trunk 10,20-30 --native 1", "trunk 10,20-30 native 1", 0},
		{"vlan vm0 --trunk 10", "trunk 10 native 0", 0},
		{"vlan vm0 --untagged", "untagged", 0},
		{"vlan vm0 --isolated 100,101", "isolated 100,101", 0},
		{"vlan vm0 --community 100,102", "community 100,102", 0},
		{"vlan vm0 --promiscuous 100,101-103,105", "promiscuous 100,101-103,105", 0},
		{"vlan vm0 --default", "default", 0},
	};
	struct options options;
	struct cli_error error;
	char text[VLAN_TEXT_BYTES];

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(good); i++) {
		assert_int_equal(parse(good[i].words, &options, &error), EXIT_OK);
		assert_true(options.has_vlan);
		assert_string_equal(vlan_config_format(&options.vlan, text), good[i].phrase);
		assert_int_equal(options.nic, good[i].nic);
	}
	assert_int_equal(parse("vlan show", &options, &error), EXIT_OK);
	assert_int_equal(parse("vlan show vm0", &options, &error), EXIT_OK);
	assert_int_equal(parse("vlan vm0", &options, &error), EXIT_OK);
	assert_false(options.has_vlan);
}

static void wrong_usage_is_told(void **state)
{
	static const struct {
		const char *words, *message;
	} wrong[] = {
		{"vlan", "vlan: which one? give its NAME|show; see lunar vlan --help"},
		{"vlan vm0 vm1", "vlan: 'vm1' is one argument too many"},
		{"vlan show vm0 vm1", "vlan: 'vm1' is one argument too many"},
		{"vlan vm0 --access 10 --untagged",
		 "vlan: a NIC has one mode: --untagged or --access, not both"},
		{"vlan vm0 --access 4095",
		 "vlan: --access: '4095' is not a whole number from 1 to 4094"},
		{"vlan vm0 --native 1", "vlan: --native goes with --trunk only"},
		{"vlan vm0 --access 1 --native 1", "vlan: --native goes with --trunk only"},
		{"vlan vm0 --isolated 100",
		 "vlan: --isolated: '100' is not a primary and its secondary VLAN; give them as "
		 "100,101"},
		{"vlan vm0 --isolated 100,100",
		 "vlan: --isolated: VLAN 100 cannot be its own secondary; give it another one"},
		{"vlan vm0 --nic 1",
		 "vlan: which mode? give --access, --trunk, ...; see lunar vlan "
		 "--help"},
		{"vlan show --untagged",
		 "vlan: show takes no mode and no --nic; see lunar vlan --help"},
		{"show vm0 --access 1", "show takes no --access; see lunar show --help"},
	};
	struct options options;
	struct cli_error error;

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(wrong); i++) {
		assert_int_equal(parse(wrong[i].words, &options, &error), EXIT_USAGE);
		assert_string_equal(error.message, wrong[i].message);
	}
}

/* ---- with a definition ---- */

static char dir[] = "/tmp/lunar-cli-vlan-XXXXXX";

static int setup(void **state)
{
	char path[256];
	FILE *file;

	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/lunar-cli-vlan-XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	setenv("LUNAR_STATE_DIR", dir, 1);
	setenv("LUNAR_RUN_DIR", dir, 1);
	snprintf(path, sizeof(path), "%s/vms", dir);
	if (mkdir(path, 0755) || vm_path(VM_PATH_DEFINITION, "vm0", path, sizeof(path)))
		return -1;
	file = fopen(path, "w");
	fputs("name: vm0\nmemory: 512M\nkernel: /k\nnics:\n  - mtu: 1500 # as it was\n  - {}\n",
	      file);
	return fclose(file);
}

static int teardown(void **state)
{
	char command[64];

	(void)state;
	snprintf(command, sizeof(command), "rm -r %s", dir);
	return system(command);
}

/* Runs it; what it prints is in output, what is wrong in error. */
static enum exit_code run(const char *words, char *output, size_t size, struct cli_error *error)
{
	struct command_context context = {.err = stderr};
	struct options options;
	enum exit_code code = parse(words, &options, error);
	char *text = NULL;
	size_t length = 0;

	context.options = &options;
	context.out = open_memstream(&text, &length);
	if (code == EXIT_OK)
		code = command_vlan(&context, error);
	fclose(context.out);
	snprintf(output, size, "%s", text);
	free(text);
	return code;
}

static void stopped_vm_gets_the_mode_in_its_definition(void **state)
{
	char output[4096], path[256], text[1024] = "";
	struct cli_error error;
	FILE *file;

	(void)state;
	assert_int_equal(run("vlan vm0 --access 10", output, sizeof(output), &error), EXIT_OK);
	assert_string_equal(output, "vm0: nic 0: access 10, from its next start on\n");
	assert_int_equal(run("vlan vm0 --nic 1 --isolated 100,101", output, sizeof(output), &error),
			 EXIT_OK);
	vm_path(VM_PATH_DEFINITION, "vm0", path, sizeof(path));
	file = fopen(path, "r");
	text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
	fclose(file);
	assert_string_equal(text, "name: vm0\nmemory: 512M\nkernel: /k\nnics:\n  - vlan: {mode: "
				  "access, id: 10}\n    mtu: 1500 # as it was\n  - {vlan: {mode: "
				  "isolated, primary: 100, secondary: 101}}\n");
	assert_int_equal(run("vlan show", output, sizeof(output), &error), EXIT_OK);
	assert_non_null(strstr(output, "access 10"));
	assert_non_null(strstr(output, "isolated 100,101"));
	assert_int_equal(run("vlan show vm0 --json", output, sizeof(output), &error), EXIT_OK);
	assert_non_null(strstr(output, "\"mode\": \"isolated\""));
	assert_int_equal(run("vlan vm0 --nic 0 --trunk 10 --json", output, sizeof(output), &error),
			 EXIT_OK);
	assert_non_null(strstr(output, "\"vlan\": \"trunk 10 native 0\""));
	assert_non_null(strstr(output, "\"running\": false"));
}

static void what_is_not_there_is_told(void **state)
{
	struct cli_error error;
	char output[4096];

	(void)state;
	assert_int_equal(run("vlan vm0 --nic 2 --untagged", output, sizeof(output), &error),
			 EXIT_NOT_FOUND);
	assert_string_equal(error.message, "vm0 has no NIC 2");
	assert_int_equal(run("vlan vm1 --untagged", output, sizeof(output), &error),
			 EXIT_NOT_FOUND);
	assert_int_equal(run("vlan show vm1", output, sizeof(output), &error), EXIT_NOT_FOUND);
	assert_int_equal(run("vlan ../vm1 --untagged", output, sizeof(output), &error), EXIT_USAGE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_mode_has_its_option),
		cmocka_unit_test(wrong_usage_is_told),
		cmocka_unit_test_setup_teardown(stopped_vm_gets_the_mode_in_its_definition, setup,
						teardown),
		cmocka_unit_test_setup_teardown(what_is_not_there_is_told, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
