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

#define MAX_WORDS 24

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
		{"migrate vm0 host2", COMMAND_MIGRATE, "vm0"},
		{"save vm0 file", COMMAND_SAVE, "vm0"},
		{"restore file", COMMAND_RESTORE, "file"},
		{"receive", COMMAND_RECEIVE, NULL},
		{"tls show", COMMAND_TLS, "show"},
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

static const struct {
	const char *words;
	const char *message;
} wrong[] = {
	{"", "which command? see lunar --help"},
	{"--json", "which command? see lunar --help"},
	{"teleport vm0", "unknown command 'teleport'; see lunar --help"},
	{"migrate", "migrate: which one? give its NAME; see lunar migrate --help"},
	{"migrate vm0", "migrate: HOST[:PORT] is missing; see lunar migrate --help"},
	{"migrate vm0 a b", "migrate: 'b' is one argument too many"},
	{"migrate --cancel vm0 host2", "migrate: 'host2' is one argument too many"},
	{"migrate --cancel vm0 --late force",
	 "migrate --cancel goes with no --late; see lunar migrate --help"},
	{"migrate --cancel --resolve vm0 here",
	 "migrate --cancel goes with no --resolve; see lunar migrate --help"},
	{"migrate --resolve vm0", "migrate --resolve: give NAME, and here or there: where it runs"},
	{"migrate --resolve vm0 elsewhere",
	 "migrate --resolve: give NAME, and here or there: where it runs"},
	{"migrate vm0 host2:0", "migrate: 'host2:0': the port is not a number from 1 to 65535"},
	{"migrate vm0 host2:", "migrate: 'host2:': the port is not a number from 1 to 65535"},
	{"migrate vm0 host2:65536",
	 "migrate: 'host2:65536': the port is not a number from 1 to 65535"},
	{"migrate vm0 root@host2",
	 "migrate: 'root@host2' is not a host such as host2, host2:49300, 10.0.0.2 or "
	 "[fe80::2]:49300"},
	{"migrate vm0 [::1",
	 "migrate: '[::1' is not a host such as host2, host2:49300, 10.0.0.2 or "
	 "[fe80::2]:49300"},
	{"migrate vm0 :49200",
	 "migrate: ':49200' is not a host such as host2, host2:49300, 10.0.0.2 or "
	 "[fe80::2]:49300"},
	{"migrate vm0 h --bandwidth 100Q",
	 "--bandwidth: '100Q' is not a rate such as 100M (bytes a second, with K, M, G or "
	 "T), at least 64K; 0 is no limit"},
	{"migrate vm0 h --bandwidth 63K",
	 "--bandwidth: '63K' is not a rate such as 100M (bytes a second, with K, M, G or "
	 "T), at least 64K; 0 is no limit"},
	{"migrate vm0 h --bandwidth 99999999T",
	 "--bandwidth: '99999999T' is not a rate such as 100M (bytes a second, with K, M, "
	 "G or T), at least 64K; 0 is no limit"},
	{"migrate vm0 h --downtime 0",
	 "--downtime: '0' is not a time such as 300ms, 10s, 5m or 1h, up to 600s"},
	{"migrate vm0 h --downtime 601s",
	 "--downtime: '601s' is not a time such as 300ms, 10s, 5m or 1h, up to 600s"},
	{"migrate vm0 h --timeout 25h",
	 "--timeout: '25h' is not a time such as 300ms, 10s, 5m or 1h, up to 24h"},
	{"migrate vm0 h --timeout 5d",
	 "--timeout: '5d' is not a time such as 300ms, 10s, 5m or 1h, up to 24h"},
	{"migrate vm0 h --late maybe", "--late: 'maybe' is not cancel or force"},
	{"migrate vm0 h --compression gzip", "--compression: 'gzip' is not none, lz4 or zstd"},
	{"migrate vm0 h --connections 9", "--connections: '9' is not a number from 1 to 8"},
	{"migrate vm0 h --keep", "migrate takes no --keep; see lunar migrate --help"},
	{"start vm0 --check", "start takes no --check; see lunar start --help"},
	{"save vm0", "save: FILE is missing; see lunar save --help"},
	{"save vm0 f --timeout 3", "save takes no --timeout; see lunar save --help"},
	{"restore", "restore: which one? give its FILE; see lunar restore --help"},
	{"restore a b", "restore: 'b' is one argument too many"},
	{"receive vm0", "receive: 'vm0' is one argument too many"},
	{"receive --max 0", "--max: '0' is not a number from 1 to 256"},
	{"receive --listen 10.0.0.1:x",
	 "--listen: '10.0.0.1:x': the port is not a number from 1 to 65535"},
	{"tls", "tls: lab, install or show? see lunar tls --help"},
	{"tls make", "tls: lab, install or show? see lunar tls --help"},
	{"tls lab", "tls lab: DIR is missing; see lunar tls --help"},
	{"tls lab dir", "tls lab: HOST is missing; see lunar tls --help"},
	{"tls install", "tls install: DIR is missing; see lunar tls --help"},
	{"tls install a b", "tls: 'b' is one argument too many"},
	{"tls show a b", "tls: 'b' is one argument too many"},
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
	{"stop vm0 --timeout 0", "--timeout: '0' is not a number of seconds from 1 to 3600"},
	{"stop vm0 --timeout 3601", "--timeout: '3601' is not a number of seconds from 1 to 3600"},
	{"stop vm0 --timeout 5x", "--timeout: '5x' is not a number of seconds from 1 to 3600"},
	{"stop vm0 --timeout -1", "--timeout: '-1' is not a number of seconds from 1 to 3600"},
	{"stop vm0 --timeout 4294967297",
	 "--timeout: '4294967297' is not a number of seconds from 1 to 3600"},
	{"console vm0 --linger x", "--linger: 'x' is not a number of seconds from 0 to 3600"},
};

static void wrong_usage_is_told_in_one_line(void **state)
{
	struct cli_error error;
	struct options options;

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(wrong); i++) {
		assert_int_equal(parse(wrong[i].words, &options, &error), EXIT_USAGE);
		assert_string_equal(error.message, wrong[i].message);
	}
}

static void migrate_takes_every_option(void **state)
{
	struct cli_error error;
	struct options options;

	(void)state;
	assert_int_equal(parse("migrate vm0 host2", &options, &error), EXIT_OK);
	assert_int_equal(options.migrate_action, MIGRATE_MOVE);
	assert_string_equal(options.move.host, "host2");
	assert_int_equal(options.move.port, 0);
	assert_int_equal(options.move.bandwidth, 0);
	assert_int_equal(options.move.downtime_ms, 0);
	assert_int_equal(options.move.timeout_seconds, 0);
	assert_false(options.move.check_only || options.move.no_throttle);
	assert_int_equal(parse("--late force migrate --check vm0 --bandwidth 100M --downtime 50ms "
			       "--timeout=10m 10.0.0.2:49300 --connections 4 --compression zstd "
			       "--no-throttle --json",
			       &options, &error),
			 EXIT_OK);
	assert_string_equal(options.argument, "vm0");
	assert_string_equal(options.move.host, "10.0.0.2");
	assert_int_equal(options.move.port, 49300);
	assert_int_equal(options.move.late, MIGRATION_LATE_FORCE);
	assert_int_equal(options.move.bandwidth, 100 << 20);
	assert_int_equal(options.move.downtime_ms, 50);
	assert_int_equal(options.move.timeout_seconds, 600);
	assert_int_equal(options.move.connections, 4);
	assert_int_equal(options.move.compression, MIGRATION_COMPRESSION_ZSTD);
	assert_true(options.move.check_only && options.move.no_throttle && options.json);
	assert_int_equal(parse("migrate vm0 h --downtime 250 --timeout 90 --bandwidth 0 --late "
			       "cancel --compression none",
			       &options, &error),
			 EXIT_OK);
	assert_int_equal(options.move.downtime_ms, 250);
	assert_int_equal(options.move.timeout_seconds, 90);
	assert_int_equal(options.move.late, MIGRATION_LATE_CANCEL);
	assert_int_equal(parse("migrate vm0 h --timeout 1500ms --bandwidth 1g", &options, &error),
			 EXIT_OK);
	assert_int_equal(options.move.timeout_seconds, 2);
	assert_int_equal(options.move.bandwidth, 1 << 30);
}

static void migrate_knows_addresses_of_either_kind(void **state)
{
	static const struct {
		const char *text, *host;
		uint16_t port;
	} good[] = {
		{"host2", "host2", 0},	       {"host2.lab:1", "host2.lab", 1},
		{"fe80::2", "fe80::2", 0},     {"[fe80::2]", "fe80::2", 0},
		{"[::1]:65535", "::1", 65535}, {"::ffff:10.0.0.1", "::ffff:10.0.0.1", 0},
	};
	struct cli_error error;
	struct options options;
	char words[64];

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(good); i++) {
		snprintf(words, sizeof(words), "migrate vm0 %s", good[i].text);
		assert_int_equal(parse(words, &options, &error), EXIT_OK);
		assert_string_equal(options.move.host, good[i].host);
		assert_int_equal(options.move.port, good[i].port);
	}
}

static void migrate_cancels_and_resolves(void **state)
{
	struct cli_error error;
	struct options options;

	(void)state;
	assert_int_equal(parse("migrate --cancel vm0", &options, &error), EXIT_OK);
	assert_int_equal(options.migrate_action, MIGRATE_CANCEL);
	assert_string_equal(options.argument, "vm0");
	assert_int_equal(parse("migrate --resolve vm0 here", &options, &error), EXIT_OK);
	assert_int_equal(options.migrate_action, MIGRATE_RESOLVE_HERE);
	assert_int_equal(parse("migrate vm0 there --resolve", &options, &error), EXIT_OK);
	assert_int_equal(options.migrate_action, MIGRATE_RESOLVE_THERE);
}

static void other_options_of_moves_are_taken(void **state)
{
	struct cli_error error;
	struct options options;

	(void)state;
	assert_int_equal(parse("receive", &options, &error), EXIT_OK);
	assert_string_equal(options.listen_host, "");
	assert_int_equal(options.listen_port, 49200);
	assert_int_equal(options.receive_max, 8);
	assert_int_equal(parse("receive --listen [::1]:5 --max 256", &options, &error), EXIT_OK);
	assert_string_equal(options.listen_host, "::1");
	assert_int_equal(options.listen_port, 5);
	assert_int_equal(options.receive_max, 256);
	assert_int_equal(parse("receive --listen :7", &options, &error), EXIT_OK);
	assert_string_equal(options.listen_host, "");
	assert_int_equal(options.listen_port, 7);
	assert_int_equal(parse("receive --listen 10.0.0.1", &options, &error), EXIT_OK);
	assert_int_equal(options.listen_port, 49200);
	assert_int_equal(parse("restore f --keep --timeout 5", &options, &error), EXIT_OK);
	assert_true(options.keep);
	assert_int_equal(options.timeout_s, 5);
	assert_int_equal(parse("tls lab dir a b,c d", &options, &error), EXIT_OK);
	assert_int_equal(options.argument_count, 5);
	assert_string_equal(options.arguments[3], "b,c");
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
	static const char *const words[] = {"create",  "delete",  "start",   "stop",	"reboot",
					    "list",    "show",	  "console", "migrate", "save",
					    "restore", "receive", "tls",     "version"};
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
		cmocka_unit_test(migrate_takes_every_option),
		cmocka_unit_test(migrate_knows_addresses_of_either_kind),
		cmocka_unit_test(migrate_cancels_and_resolves),
		cmocka_unit_test(other_options_of_moves_are_taken),
		cmocka_unit_test(json_is_known_even_when_the_rest_is_wrong),
		cmocka_unit_test(help_needs_no_argument_and_names_every_option),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
