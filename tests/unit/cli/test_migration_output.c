/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A move as people see it, character by character.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "cli/migration_output.h"
#include "cli/output.h"

#define COPYING                                                                                    \
	"{\"vm\": \"vm0\", \"phase\": \"copying\", \"incoming\": false, \"peer\": \"host2\", "     \
	"\"memory_bytes\": 1073741824, \"bytes_sent\": 805306368, \"bytes_left\": 268435456, "     \
	"\"dirty_rate\": 3250586, \"rate\": 123731968, \"rounds\": 1, \"throttle\": 0, "           \
	"\"downtime_estimate_ms\": 240}"

#define DONE                                                                                       \
	"{\"vm\": \"vm0\", \"phase\": \"done\", \"incoming\": false, \"peer\": \"host2\", "        \
	"\"memory_bytes\": 536870912, \"bytes_sent\": 230686720, \"bytes_zero\": 314572800, "      \
	"\"rounds\": 3, \"started_unix_ms\": 1767225600000, \"total_ms\": 4321, "                  \
	"\"downtime_ms\": 182, \"pause_ms\": 21, \"last_ms\": 90, \"restore_ms\": 61, "            \
	"\"late_frames\": 3}"

static void assert_bar(const char *json_text, size_t columns, const char *expected)
{
	json_t *json = json_loads(json_text, 0, NULL);
	char line[512];

	assert_non_null(json);
	migration_output_bar(line, sizeof(line), columns, json);
	assert_string_equal(line, expected);
	assert_true(strlen(line) < columns);
	json_decref(json);
}

typedef void (*line_fn)(char *line, size_t bytes, const json_t *json);

static void assert_line(line_fn render, const char *json_text, const char *expected)
{
	json_t *json = json_loads(json_text, 0, NULL);
	char line[512];

	assert_non_null(json);
	render(line, sizeof(line), json);
	assert_string_equal(line, expected);
	json_decref(json);
}

static void assert_figures(const char *json_text, const char *expected)
{
	json_t *json = json_loads(json_text, 0, NULL);
	char *text = NULL;
	size_t length = 0;
	FILE *out = open_memstream(&text, &length);

	assert_non_null(json);
	migration_output_figures(out, json);
	fclose(out);
	assert_string_equal(text, expected);
	free(text);
	json_decref(json);
}

static void bar_takes_the_width_that_is_left(void **state)
{
	(void)state;
	assert_bar(COPYING, 90,
		   "vm0 [############-----]  75%  768M sent  256M left  118M/s  dirty 3.1M/s  "
		   "round 2  ~240ms");
	assert_bar(COPYING, 200,
		   "vm0 [##############################----------]  75%  768M sent  256M left  "
		   "118M/s  dirty 3.1M/s  round 2  ~240ms");
	assert_bar(COPYING, 80,
		   "vm0 [#####--]  75%  768M sent  256M left  118M/s  dirty 3.1M/s  round 2  "
		   "~240ms");
}

static void narrow_terminal_loses_the_bar_and_then_the_end(void **state)
{
	(void)state;
	assert_bar(COPYING, 78,
		   "vm0  75%  768M sent  256M left  118M/s  dirty 3.1M/s  round 2  ~240ms");
	assert_bar(COPYING, 40, "vm0  75%  768M sent  256M left  118M/s ");
}

static void bar_tells_a_throttled_guest(void **state)
{
	json_t *json = json_loads(COPYING, 0, NULL);
	char line[512];

	(void)state;
	json_object_set_new(json, "throttle", json_integer(30));
	migration_output_bar(line, sizeof(line), 70, json);
	assert_string_equal(line, "vm0  75%  768M sent  256M left  118M/s  dirty 3.1M/s  round 2  "
				  "~240ms");
	migration_output_now(line, sizeof(line), json);
	assert_string_equal(line, "copying memory: 75%, 768M sent, 256M left, 118M/s, dirty "
				  "3.1M/s, round 2, ~240ms, slowed 30%");
	json_decref(json);
}

static void other_phases_are_told_in_words(void **state)
{
	(void)state;
	assert_bar("{\"vm\": \"vm0\", \"phase\": \"connecting\", \"peer\": \"host2\"}", 80,
		   "vm0 connecting to host2");
	assert_bar("{\"vm\": \"vm0\", \"phase\": \"stopped\", \"peer\": \"host2\"}", 80,
		   "vm0 stopped: last pages and state");
	assert_bar("{\"vm\": \"vm0\", \"phase\": \"committing\", \"peer\": \"host2\"}", 80,
		   "vm0 committed: host2 takes over");
	assert_line(migration_output_now,
		    "{\"phase\": \"connecting\", \"incoming\": true, \"peer\": \"host1\"}",
		    "connecting with host1");
	assert_line(migration_output_now,
		    "{\"phase\": \"copying\", \"incoming\": true, \"peer\": \"host1\", "
		    "\"bytes_sent\": 10485760, \"rate\": 2097152}",
		    "receiving memory: 10M, 2M/s");
}

static void bar_stands_nonsense(void **state)
{
	(void)state;
	assert_bar("{}", 80, "- -");
	assert_bar("{\"vm\": \"v\", \"phase\": \"copying\"}", 60,
		   "v   0%  0B sent  0B left  0B/s  dirty 0B/s  round 1  ~0ms");
	assert_bar("{\"vm\": \"v\", \"phase\": \"copying\", \"memory_bytes\": 10, \"bytes_left\": "
		   "9223372036854775807, \"rate\": -1}",
		   25, "v   0%  0B sent  8192.0P");
	assert_bar("{\"vm\": \"v\\u001b[2J\", \"phase\": \"connecting\", \"peer\": \"a\\nb\"}", 80,
		   "v?[2J connecting to a?b");
}

static void figures_tell_where_the_downtime_went(void **state)
{
	(void)state;
	assert_figures(DONE, "total        4.3s, 3 rounds, 220M sent for 512M of memory (300M of "
			     "it zero)\n"
			     "downtime     182ms: 21ms to rest and save, 90ms last pages, 61ms "
			     "loading over there, 10ms on the way\n"
			     "late frames  3, handed on\n");
	assert_figures("{\"phase\": \"done\", \"peer\": \"host2\", \"rounds\": 1, \"total_ms\": "
		       "61000, \"downtime_ms\": 5, \"last_ms\": 5}",
		       "total        1m 1s, 1 round, 0B sent for 0B of memory (0B of it zero)\n"
		       "downtime     5ms: 0ms to rest and save, 5ms last pages, 0ms loading over "
		       "there\n");
	assert_figures("{\"phase\": \"done\", \"peer\": \"/var/tmp/f\", \"total_ms\": 900, "
		       "\"bytes_sent\": 1048576, \"memory_bytes\": 2097152, \"bytes_zero\": "
		       "1048576}",
		       "total        900ms, 1M written for 2M of memory (1M of it zero)\n");
}

static void last_move_is_one_line(void **state)
{
	(void)state;
	assert_line(migration_output_last, DONE,
		    "to host2, 2026-01-01 00:00:04 UTC: 4.3s, downtime 182ms");
	assert_line(migration_output_last,
		    "{\"phase\": \"done\", \"incoming\": true, \"peer\": \"host1\", "
		    "\"started_unix_ms\": 1767225600000, \"total_ms\": 61000, \"downtime_ms\": 7}",
		    "from host1, 2026-01-01 00:01:01 UTC: 1m 1s, downtime 7ms");
	assert_line(migration_output_last,
		    "{\"phase\": \"done\", \"incoming\": true, \"peer\": \"/f\", "
		    "\"started_unix_ms\": 1767225600000, \"total_ms\": 1000}",
		    "restored from /f, 2026-01-01 00:00:01 UTC: 1.0s");
	assert_line(migration_output_last,
		    "{\"phase\": \"failed\", \"incoming\": false, \"peer\": \"host2\", "
		    "\"started_unix_ms\": 1767225600000, \"total_ms\": 0, \"error\": {\"message\": "
		    "\"no\\u0007 memory\"}}",
		    "to host2, 2026-01-01 00:00:00 UTC: failed: no? memory");
	assert_line(migration_output_last, "{}", "to -, 1970-01-01 00:00:00 UTC: -");
}

static void findings_are_listed_and_the_stoppers_counted(void **state)
{
	static const char text[] =
		"{\"check\": {\"findings\": [{\"severity\": \"notes\", \"item\": \"kernel\", "
		"\"text\": \"another\"}, {\"severity\": \"stops\", \"item\": \"cpu\", \"text\": "
		"\"no AVX2\"}, {\"severity\": \"harms\", \"item\": \"a\\u0001\", \"text\": "
		"\"\\u0002\"}, {\"severity\": \"stops\", \"item\": \"memory\", \"text\": \"1G "
		"missing\"}, 7]}}";
	json_t *json = json_loads(text, 0, NULL), *nothing = json_object();
	char *printed = NULL;
	size_t length = 0;
	FILE *out = open_memstream(&printed, &length);

	(void)state;
	assert_int_equal(migration_output_findings(out, json), 2);
	assert_int_equal(migration_output_findings(out, nothing), 0);
	fclose(out);
	assert_string_equal(printed, "STOPS  cpu         no AVX2\n"
				     "STOPS  memory      1G missing\n"
				     "harms  a?          ?\n"
				     "note   kernel      another\n");
	free(printed);
	json_decref(json);
	json_decref(nothing);
}

static void final_phases_are_those_that_nothing_follows(void **state)
{
	(void)state;
	assert_true(migration_phase_is_final("done"));
	assert_true(migration_phase_is_final("failed"));
	assert_true(migration_phase_is_final("cancelled"));
	assert_true(migration_phase_is_final("checked"));
	assert_true(migration_phase_is_final("idle"));
	assert_false(migration_phase_is_final("connecting"));
	assert_false(migration_phase_is_final("copying"));
	assert_false(migration_phase_is_final("stopped"));
	assert_false(migration_phase_is_final("committing"));
}

static void sheet_tells_a_vm_that_has_moved(void **state)
{
	json_t *vm = json_pack("{ss ss so}", "name", "vm0", "state", "moved", "migration",
			       json_loads(DONE, 0, NULL));
	char *text = NULL;
	size_t length = 0;
	FILE *out = open_memstream(&text, &length);

	(void)state;
	output_vm_sheet(out, vm);
	json_object_set_new(vm, "state", json_string("running"));
	json_object_set_new(vm, "migration", json_loads(COPYING, 0, NULL));
	output_vm_sheet(out, vm);
	fclose(out);
	assert_string_equal(text, "name         vm0\n"
				  "state        moved\n"
				  "last move    to host2, 2026-01-01 00:00:04 UTC: 4.3s, downtime "
				  "182ms\n"
				  "name         vm0\n"
				  "state        running\n"
				  "moving       to host2: copying memory: 75%, 768M sent, 256M "
				  "left, 118M/s, dirty 3.1M/s, round 2, ~240ms\n");
	free(text);
	json_decref(vm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bar_takes_the_width_that_is_left),
		cmocka_unit_test(narrow_terminal_loses_the_bar_and_then_the_end),
		cmocka_unit_test(bar_tells_a_throttled_guest),
		cmocka_unit_test(other_phases_are_told_in_words),
		cmocka_unit_test(bar_stands_nonsense),
		cmocka_unit_test(figures_tell_where_the_downtime_went),
		cmocka_unit_test(last_move_is_one_line),
		cmocka_unit_test(findings_are_listed_and_the_stoppers_counted),
		cmocka_unit_test(final_phases_are_those_that_nothing_follows),
		cmocka_unit_test(sheet_tells_a_vm_that_has_moved),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
