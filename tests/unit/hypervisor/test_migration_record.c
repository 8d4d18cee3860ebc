/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a host remembers of a move: replaced as a whole, decided once, found by name, and not
 * believed where it is malformed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/bytes.h"
#include "hypervisor/migration/decision.h"
#include "hypervisor/migration/definition.h"
#include "hypervisor/migration/figures.h"
#include "hypervisor/migration/prune.h"
#include "hypervisor/migration/record.h"
#include "hypervisor/migration/resolve.h"

#define ID "01234567-89ab-4def-8123-456789abcdef"

static char root[64];

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static int setup(void **state)
{
	char path[96];

	(void)state;
	snprintf(root, sizeof(root), "/tmp/lunar-record-XXXXXX");
	assert_non_null(mkdtemp(root));
	snprintf(path, sizeof(path), "%s/state", root);
	setenv("LUNAR_STATE_DIR", path, 1);
	snprintf(path, sizeof(path), "%s/run", root);
	setenv("LUNAR_RUN_DIR", path, 1);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	return nftw(root, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static struct migration_record record_of(enum migration_word word)
{
	struct migration_record record = {.word = word,
					  .id = ID,
					  .vm = "vm0",
					  .peer = "host2",
					  .port = 49200,
					  .stored = true};

	snprintf(record.identity, sizeof(record.identity), "host2.lab");
	return record;
}

static void file_put(const char *name, const char *text)
{
	char path[PATH_MAX];
	FILE *file;

	snprintf(path, sizeof(path), "%s/state/migrations/%s", root, name);
	file = fopen(path, "w");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

static void id_is_a_uuid_and_nothing_else(void **state)
{
	static const char *const bad[] = {
		"",
		"0123",
		"01234567-89ab-4def-8123-456789abcdeF",
		"01234567-89ab-4def-8123-456789abcde/",
		"01234567x89ab-4def-8123-456789abcdef",
		"01234567-89ab-4def-8123-456789abcdef0",
	};
	char id[MIGRATION_ID_BYTES];

	(void)state;
	assert_int_equal(migration_id_make(id), 0);
	assert_true(migration_id_is_valid(id));
	for (size_t i = 0; i < ARRAY_LENGTH(bad); i++) {
		char text[64] = "";

		snprintf(text, sizeof(text), "%s", bad[i]);
		assert_false(migration_id_is_valid(text));
	}
}

static void record_comes_back_as_it_was_written(void **state)
{
	struct migration_record record = record_of(MIGRATION_WORD_LEAVING), read;

	(void)state;
	assert_int_equal(migration_record_read(MIGRATION_SIDE_OUT, ID, &read), -ENOENT);
	assert_int_equal(migration_record_write(MIGRATION_SIDE_OUT, &record, true), 0);
	assert_int_equal(migration_record_read(MIGRATION_SIDE_OUT, ID, &read), 0);
	assert_int_equal(read.word, MIGRATION_WORD_LEAVING);
	assert_string_equal(read.vm, "vm0");
	assert_string_equal(read.peer, "host2");
	assert_string_equal(read.identity, "host2.lab");
	assert_int_equal(read.port, 49200);
	assert_true(read.stored);
	record.word = MIGRATION_WORD_RELEASED;
	assert_int_equal(migration_record_write(MIGRATION_SIDE_OUT, &record, false), 0);
	assert_int_equal(migration_record_read(MIGRATION_SIDE_OUT, ID, &read), 0);
	assert_int_equal(read.word, MIGRATION_WORD_RELEASED);
	assert_int_equal(migration_record_read(MIGRATION_SIDE_IN, ID, &read), -ENOENT);
	assert_int_equal(migration_record_remove(MIGRATION_SIDE_OUT, ID), 0);
	assert_int_equal(migration_record_remove(MIGRATION_SIDE_OUT, ID), 0);
	assert_int_equal(migration_record_read(MIGRATION_SIDE_OUT, ID, &read), -ENOENT);
}

static void malformed_record_is_not_believed(void **state)
{
	static const char *const bad[] = {
		"",
		"{",
		"[]",
		"{\"word\": \"committed\"}",
		"{\"word\": \"perhaps\", \"id\": \"" ID "\", \"vm\": \"vm0\", \"peer\": \"h\", "
		"\"identity\": \"h\", \"port\": 1}",
		"{\"word\": \"committed\", \"id\": \"" ID
		"\", \"vm\": \"../vm0\", \"peer\": \"h\", "
		"\"identity\": \"h\", \"port\": 1}",
		"{\"word\": \"committed\", \"id\": \"" ID "\", \"vm\": \"vm0\", \"peer\": \"h\", "
		"\"identity\": \"h\", \"port\": 65536}",
	};
	struct migration_record record = record_of(MIGRATION_WORD_ABORTED);

	(void)state;
	assert_int_equal(migration_record_write(MIGRATION_SIDE_IN, &record, false), 0);
	for (size_t i = 0; i < ARRAY_LENGTH(bad); i++) {
		file_put(ID ".in", bad[i]);
		assert_int_equal(migration_record_read(MIGRATION_SIDE_IN, ID, &record), -EINVAL);
	}
}

static void incoming_move_is_decided_once(void **state)
{
	struct migration_record committed = record_of(MIGRATION_WORD_COMMITTED);
	struct migration_record aborted = record_of(MIGRATION_WORD_ABORTED), decided;

	(void)state;
	assert_int_equal(migration_decision_prepare(&committed), 0);
	assert_int_equal(migration_record_read(MIGRATION_SIDE_IN, ID, &decided), -ENOENT);
	assert_int_equal(migration_decision_prepare(&aborted), 0);
	assert_int_equal(migration_decision_make(&aborted, &decided), 0);
	assert_int_equal(migration_decision_make(&committed, &decided), -EEXIST);
	assert_int_equal(decided.word, MIGRATION_WORD_ABORTED);
	migration_decision_discard(&committed);
	assert_int_equal(migration_decision_make(&committed, &decided), -ENOENT);
	assert_int_equal(migration_record_read(MIGRATION_SIDE_IN, ID, &decided), 0);
	assert_int_equal(decided.word, MIGRATION_WORD_ABORTED);
}

static void definition_is_no_vm_until_it_is_placed(void **state)
{
	(void)state;
	assert_int_equal(migration_definition_prepare("vm0", ID, "name: vm0\n", 10), 0);
	assert_true(migration_definition_is_prepared("vm0", ID));
	assert_false(migration_definition_is_stored("vm0", "name: vm0\n", 10));
	assert_false(migration_definition_exists("vm0"));
	assert_int_equal(migration_definition_place("vm0", ID), 0);
	assert_true(migration_definition_exists("vm0"));
	assert_int_equal(migration_definition_place("vm0", ID), 0);
	assert_false(migration_definition_is_prepared("vm0", ID));
	assert_true(migration_definition_is_stored("vm0", "name: vm0\n", 10));
	assert_false(migration_definition_is_stored("vm0", "name: vm0", 9));
	assert_false(migration_definition_is_stored("vm0", "name: vm0\n\n", 11));
	assert_int_equal(migration_definition_remove("vm0"), 0);
	assert_int_equal(migration_definition_remove("vm0"), 0);
	assert_false(migration_definition_is_stored("vm0", "name: vm0\n", 10));
}

static void open_record_is_found_by_name_and_settled_by_coming_home(void **state)
{
	struct migration_record record = record_of(MIGRATION_WORD_RELEASED), found;

	(void)state;
	assert_int_equal(migration_record_find_open("vm0", &found), -ENOENT);
	assert_int_equal(migration_record_write(MIGRATION_SIDE_OUT, &record, false), 0);
	assert_int_equal(migration_record_find_open("vm1", &found), -ENOENT);
	assert_int_equal(migration_record_find_open("vm0", &found), 0);
	assert_string_equal(found.id, ID);
	migration_record_settle("vm0");
	assert_int_equal(migration_record_find_open("vm0", &found), -ENOENT);
	record.word = MIGRATION_WORD_ABORTED;
	assert_int_equal(migration_record_write(MIGRATION_SIDE_OUT, &record, false), 0);
	assert_int_equal(migration_record_find_open("vm0", &found), -ENOENT);
}

static void vm_that_departs_does_so_as_long_as_its_process_lives(void **state)
{
	struct migration_record record = record_of(MIGRATION_WORD_COMMITTED);
	int lock, second;

	(void)state;
	assert_int_equal(migration_record_write(MIGRATION_SIDE_OUT, &record, false), 0);
	assert_false(migration_record_departs("vm0"));
	lock = migration_lock_take(MIGRATION_SIDE_OUT, ID);
	assert_true(lock >= 0);
	assert_true(migration_record_departs("vm0"));
	second = migration_lock_take(MIGRATION_SIDE_OUT, ID);
	assert_int_equal(second, -EWOULDBLOCK);
	second = migration_lock_take(MIGRATION_SIDE_IN, ID);
	assert_true(second >= 0);
	migration_lock_release(MIGRATION_SIDE_IN, ID, second, true);
	migration_lock_release(MIGRATION_SIDE_OUT, ID, lock, true);
	assert_false(migration_record_departs("vm0"));
}

static void figures_of_a_later_move_are_known_as_such(void **state)
{
	const struct migration_status status = {.phase = MIGRATION_DONE};
	struct timespec before, after;

	(void)state;
	clock_gettime(CLOCK_REALTIME_COARSE, &before);
	assert_false(migration_figures_written_since("vm0", before));
	usleep(20000);
	assert_int_equal(migration_figures_write("vm0", &status, NULL), 0);
	usleep(20000);
	clock_gettime(CLOCK_REALTIME_COARSE, &after);
	assert_true(migration_figures_written_since("vm0", before));
	assert_false(migration_figures_written_since("vm0", after));
}

static void order_tells_who_gave_it(void **state)
{
	char identity[MIGRATION_HOST_BYTES];

	(void)state;
	assert_int_equal(migration_order_get(ID, identity), -ENOENT);
	assert_int_equal(migration_order_put(ID, "host1"), 0);
	assert_int_equal(migration_order_get(ID, identity), 0);
	assert_string_equal(identity, "host1");
	migration_order_remove(ID);
	assert_int_equal(migration_order_get(ID, identity), -ENOENT);
}

/* Old moves that came to nothing are forgotten; what somebody may still ask about is not. */
static void only_what_nobody_asks_about_is_forgotten(void **state)
{
	static const enum migration_word words[] = {MIGRATION_WORD_ABORTED,
						    MIGRATION_WORD_RELEASED};
	const struct timespec old[2] = {{.tv_sec = time(NULL) - 40L * 24 * 3600},
					{.tv_sec = time(NULL) - 40L * 24 * 3600}};
	struct migration_record record;
	char path[PATH_MAX];

	(void)state;
	snprintf(path, sizeof(path), "%s/state/migrations/" ID ".out", root);
	for (size_t i = 0; i < ARRAY_LENGTH(words); i++) {
		record = record_of(words[i]);
		assert_int_equal(migration_record_write(MIGRATION_SIDE_OUT, &record, false), 0);
		migration_records_prune();
		assert_int_equal(access(path, F_OK), 0);
		assert_int_equal(utimensat(AT_FDCWD, path, old, 0), 0);
		migration_records_prune();
		assert_int_equal(access(path, F_OK) < 0, words[i] == MIGRATION_WORD_ABORTED);
	}
}

/* A full disk does not keep a VM at rest: what has to be written then is there already. */
static void abort_that_lies_prepared_needs_no_room(void **state)
{
	struct migration_record record = record_of(MIGRATION_WORD_LEAVING), read;
	char path[PATH_MAX];

	(void)state;
	assert_int_equal(migration_record_prepare_abort(&record), 0);
	assert_int_equal(migration_record_write(MIGRATION_SIDE_OUT, &record, true), 0);
	/* Nothing can be written under the temporary name, as on a full disk. */
	snprintf(path, sizeof(path), "%s/state/migrations/" ID ".out.new", root);
	assert_int_equal(mkdir(path, 0700), 0);
	record.word = MIGRATION_WORD_RELEASED;
	assert_true(migration_record_write(MIGRATION_SIDE_OUT, &record, true) < 0);
	record.word = MIGRATION_WORD_ABORTED;
	assert_int_equal(migration_record_write(MIGRATION_SIDE_OUT, &record, true), 0);
	assert_int_equal(migration_record_read(MIGRATION_SIDE_OUT, ID, &read), 0);
	assert_int_equal(read.word, MIGRATION_WORD_ABORTED);
	assert_int_equal(rmdir(path), 0);
	/* It goes with the record. */
	assert_int_equal(migration_record_prepare_abort(&record), 0);
	assert_int_equal(migration_record_remove(MIGRATION_SIDE_OUT, ID), 0);
	snprintf(path, sizeof(path), "%s/state/migrations/" ID ".out.aborted", root);
	assert_true(access(path, F_OK) < 0);
}

static void aborted_put(uint32_t number, time_t age_s, char id[MIGRATION_ID_BYTES])
{
	const struct timespec when[2] = {{.tv_sec = time(NULL) - age_s},
					 {.tv_sec = time(NULL) - age_s}};
	struct migration_record record = record_of(MIGRATION_WORD_ABORTED), decided;
	char path[PATH_MAX];

	snprintf(id, MIGRATION_ID_BYTES, "%08x-89ab-4def-8123-456789abcdef", number);
	memcpy(record.id, id, sizeof(record.id));
	assert_int_equal(migration_decision_prepare(&record), 0);
	assert_int_equal(migration_decision_make(&record, &decided), 0);
	snprintf(path, sizeof(path), "%s/state/migrations/%s.in", root, id);
	assert_int_equal(utimensat(AT_FDCWD, path, when, 0), 0);
}

/* Who may ask can make ids up: what that leaves here is bounded, and the oldest go. */
static void questions_about_moves_that_never_were_leave_little(void **state)
{
	struct migration_record committed = record_of(MIGRATION_WORD_COMMITTED), read;
	char id[MIGRATION_ID_BYTES];
	uint32_t left = 0;

	(void)state;
	assert_int_equal(migration_record_write(MIGRATION_SIDE_IN, &committed, false), 0);
	for (uint32_t i = 0; i < PRUNE_ABORTED_KEPT + 20; i++)
		aborted_put(i, 10000 - (time_t)i, id);
	migration_records_prune();
	for (uint32_t i = 0; i < PRUNE_ABORTED_KEPT + 20; i++) {
		snprintf(id, sizeof(id), "%08x-89ab-4def-8123-456789abcdef", i);
		if (migration_record_read(MIGRATION_SIDE_IN, id, &read))
			assert_true(i < 20);
		else
			left++;
	}
	assert_int_equal(left, PRUNE_ABORTED_KEPT);
	assert_int_equal(migration_record_read(MIGRATION_SIDE_IN, ID, &read), 0);
}

/* What a killed process had prepared goes, once it is old and nobody holds its lock. */
static void what_was_prepared_for_nothing_is_forgotten(void **state)
{
	const struct timespec old[2] = {{.tv_sec = time(NULL) - 40L * 24 * 3600},
					{.tv_sec = time(NULL) - 40L * 24 * 3600}};
	struct migration_record record = record_of(MIGRATION_WORD_COMMITTED);
	char path[PATH_MAX];
	int lock;

	(void)state;
	snprintf(path, sizeof(path), "%s/state/migrations/" ID ".in.committed", root);
	assert_int_equal(migration_decision_prepare(&record), 0);
	assert_int_equal(migration_definition_prepare("vm0", ID, "name: vm0\n", 10), 0);
	migration_records_prune();
	assert_int_equal(access(path, F_OK), 0);
	assert_int_equal(utimensat(AT_FDCWD, path, old, 0), 0);
	lock = migration_lock_take(MIGRATION_SIDE_IN, ID);
	assert_true(lock >= 0);
	migration_records_prune();
	assert_int_equal(access(path, F_OK), 0);
	assert_true(migration_definition_is_prepared("vm0", ID));
	migration_lock_release(MIGRATION_SIDE_IN, ID, lock, true);
	migration_records_prune();
	assert_true(access(path, F_OK) < 0);
	assert_false(migration_definition_is_prepared("vm0", ID));
	assert_false(migration_definition_exists("vm0"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(id_is_a_uuid_and_nothing_else),
		cmocka_unit_test_setup_teardown(record_comes_back_as_it_was_written, setup,
						teardown),
		cmocka_unit_test_setup_teardown(malformed_record_is_not_believed, setup, teardown),
		cmocka_unit_test_setup_teardown(incoming_move_is_decided_once, setup, teardown),
		cmocka_unit_test_setup_teardown(definition_is_no_vm_until_it_is_placed, setup,
						teardown),
		cmocka_unit_test_setup_teardown(
			open_record_is_found_by_name_and_settled_by_coming_home, setup, teardown),
		cmocka_unit_test_setup_teardown(
			vm_that_departs_does_so_as_long_as_its_process_lives, setup, teardown),
		cmocka_unit_test_setup_teardown(figures_of_a_later_move_are_known_as_such, setup,
						teardown),
		cmocka_unit_test_setup_teardown(order_tells_who_gave_it, setup, teardown),
		cmocka_unit_test_setup_teardown(only_what_nobody_asks_about_is_forgotten, setup,
						teardown),
		cmocka_unit_test_setup_teardown(abort_that_lies_prepared_needs_no_room, setup,
						teardown),
		cmocka_unit_test_setup_teardown(questions_about_moves_that_never_were_leave_little,
						setup, teardown),
		cmocka_unit_test_setup_teardown(what_was_prepared_for_nothing_is_forgotten, setup,
						teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
