/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the command line means, and the line that a user reads when it means nothing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "cli/options.h"

#define MAX_WORDS 8

/* Splits words at blanks and parses them as lunar's arguments. */
static enum exit_code parse(const char *words, struct options *options, struct cli_error *error)
{
	static char text[256]; /* options point into it */
	char *argv[MAX_WORDS + 2] = {(char *)"lunar"};
	int argc = 1;

	snprintf(text, sizeof(text), "%s", words);
	for (char *word = strtok(text, " "); word; word = strtok(NULL, " "))
		argv[argc++] = word;
	error->message[0] = '\0';
	return options_parse(argc, argv, options, error);
}

static void each_command_is_known(void **state)
{
	static const struct {
		const char *words;
		enum command_id command;
		const char *argument;
	} good[] = {
		{"create vm.yaml", COMMAND_CREATE, "vm.yaml"},
		{"delete vm0", COMMAND_DELETE, "vm0"},
		{"start vm0", COMMAND_START, "vm0"},
		{"stop vm0", COMMAND_STOP, "vm0"},
		{"reboot vm0", COMMAND_REBOOT, "vm0"},
		{"list", COMMAND_LIST, NULL},
		{"show vm0", COMMAND_SHOW, "vm0"},
		{"console vm0", COMMAND_CONSOLE, "vm0"},
		{"version", COMMAND_VERSION, NULL},
		{"--version", COMMAND_VERSION, NULL},
	};
	struct cli_error error;
	struct options options;

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(good); i++) {
		assert_int_equal(parse(good[i].words, &options, &error), EXIT_OK);
		assert_int_equal(options.command, good[i].command);
		assert_true(options.has_command);
		assert_false(options.json || options.force || options.all || options.help);
		assert_int_equal(options.timeout_s, 30);
		if (good[i].argument)
			assert_string_equal(options.argument, good[i].argument);
		else
			assert_null(options.argument);
	}
}

static void options_may_stand_anywhere(void **state)
{
	static const char *const orders[] = {
		"--json --force --timeout 5 stop vm0",
		"stop --json vm0 --timeout=5 --force",
		"stop vm0 --force --timeout 5 --json",
	};
	struct cli_error error;
	struct options options;

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(orders); i++) {
		assert_int_equal(parse(orders[i], &options, &error), EXIT_OK);
		assert_int_equal(options.command, COMMAND_STOP);
		assert_string_equal(options.argument, "vm0");
		assert_true(options.json && options.force);
		assert_int_equal(options.timeout_s, 5);
	}
}

static void names_after_two_dashes_may_begin_with_one(void **state)
{
	struct cli_error error;
	struct options options;

	(void)state;
	assert_int_equal(parse("show -- --json", &options, &error), EXIT_OK);
	assert_string_equal(options.argument, "--json");
	assert_false(options.json);
}

static void wrong_usage_is_told_in_one_line(void **state)
{
	static const struct {
		const char *words;
		const char *message;
	} bad[] = {
		{"", "which command? see lunar --help"},
		{"--json", "which command? see lunar --help"},
		{"migrate vm0", "unknown command 'migrate'; see lunar --help"},
		{"start", "start: which one? give its NAME; see lunar start --help"},
		{"create", "create: which one? give its FILE; see lunar create --help"},
		{"start vm0 vm1", "start: 'vm1' is one argument too many"},
		{"list vm0", "list: 'vm0' is one argument too many"},
		{"start --all vm0", "give either a NAME or --all, not both"},
		{"start vm0 --force", "start takes no --force; see lunar start --help"},
		{"reboot --all", "reboot takes no --all; see lunar reboot --help"},
		{"list --timeout 3", "list takes no --timeout; see lunar list --help"},
		{"stop vm0 --linger 3", "stop takes no --linger; see lunar stop --help"},
		{"stop vm0 --nope", "unknown option --nope; see lunar --help"},
		{"stop vm0 --timeout", "--timeout needs a value; see lunar --help"},
		{"stop vm0 --timeout 0",
		 "--timeout: '0' is not a number of seconds from 1 to 3600"},
		{"stop vm0 --timeout 3601",
		 "--timeout: '3601' is not a number of seconds from 1 to 3600"},
		{"stop vm0 --timeout 5x",
		 "--timeout: '5x' is not a number of seconds from 1 to 3600"},
		{"stop vm0 --timeout -1",
		 "--timeout: '-1' is not a number of seconds from 1 to 3600"},
		{"stop vm0 --timeout 4294967297",
		 "--timeout: '4294967297' is not a number of seconds from 1 to 3600"},
		{"console vm0 --linger x",
		 "--linger: 'x' is not a number of seconds from 0 to 3600"},
	};
	struct cli_error error;
	struct options options;

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(bad); i++) {
		assert_int_equal(parse(bad[i].words, &options, &error), EXIT_USAGE);
		assert_string_equal(error.message, bad[i].message);
	}
}

static void json_is_known_even_when_the_rest_is_wrong(void **state)
{
	struct cli_error error;
	struct options options;

	(void)state;
	assert_int_equal(parse("--nope stop --json", &options, &error), EXIT_USAGE);
	assert_true(options.json);
	assert_int_equal(parse("--nope stop -- --json", &options, &error), EXIT_USAGE);
	assert_false(options.json);
}

static void help_needs_no_argument_and_names_every_option(void **state)
{
	static const char *const words[] = {"create", "delete", "start",   "stop",   "reboot",
					    "list",   "show",	"console", "version"};
	struct cli_error error;
	struct options options;
	char line[64];

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(words); i++) {
		char *text = NULL;
		size_t length = 0;
		FILE *out = open_memstream(&text, &length);

		snprintf(line, sizeof(line), "%s --help", words[i]);
		assert_int_equal(parse(line, &options, &error), EXIT_OK);
		assert_true(options.help);
		options_print_help(out, &options);
		fclose(out);
		snprintf(line, sizeof(line), "usage: lunar %s", words[i]);
		assert_non_null(strstr(text, line));
		assert_non_null(strstr(text, "--json"));
		assert_int_equal(strstr(text, "--force") != NULL, strcmp(words[i], "stop") == 0);
		free(text);
	}
	assert_int_equal(parse("--help", &options, &error), EXIT_OK);
	assert_true(options.help && !options.has_command);
	assert_int_equal(parse("help", &options, &error), EXIT_OK);
	assert_true(options.help && !options.has_command);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_command_is_known),
		cmocka_unit_test(options_may_stand_anywhere),
		cmocka_unit_test(names_after_two_dashes_may_begin_with_one),
		cmocka_unit_test(wrong_usage_is_told_in_one_line),
		cmocka_unit_test(json_is_known_even_when_the_rest_is_wrong),
		cmocka_unit_test(help_needs_no_argument_and_names_every_option),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
