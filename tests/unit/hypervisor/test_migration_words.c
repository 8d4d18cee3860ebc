/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the two ends of a move tell each other comes out as it went in; what is malformed is
 * refused; text of a peer drives no terminal. And: when a move converges.
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

#include "base/bytes.h"
#include "hypervisor/migration/check.h"
#include "hypervisor/migration/pace.h"
#include "hypervisor/migration/words.h"

#define ID "01234567-89ab-4def-8123-456789abcdef"

static const struct migration_hello good_hello = {
	.id = ID,
	.vm = "vm0",
	.receive_port = 49200,
	.connections = 2,
	.memory_bytes = 1 << 20,
	.region_count = 1,
	.regions = {{0, 1 << 20}},
	.definition = "name: vm0\n",
	.definition_length = 10,
};

/* Writes the payload where MOVE_SEEDS says, as a seed of the fuzzer. */
static void seed_keep(uint8_t reader, const char *name, const struct state_writer *writer)
{
	const char *folder = getenv("MOVE_SEEDS");
	char path[256];
	FILE *file;

	if (!folder)
		return;
	snprintf(path, sizeof(path), "%s/%s", folder, name);
	file = fopen(path, "w");
	assert_non_null(file);
	fputc(reader, file);
	fwrite(writer->bytes, 1, writer->length, file);
	fclose(file);
}

static void hello_write(struct state_writer *writer, const struct migration_hello *hello)
{
	state_writer_init(writer);
	migration_hello_write(writer, hello);
	state_begin(writer, MIGRATION_TAG_CPU, 1, STATE_SKIPPABLE);
	state_begin(writer, STATE_TAG('C', 'P', 'U', 'I'), 1, 1);
	state_put_u32(writer, 42);
	state_end(writer);
	state_end(writer);
	assert_int_equal(state_writer_result(writer), 0);
}

static void hello_comes_out_as_it_went_in(void **state)
{
	struct migration_hello hello;
	struct state_reader section;
	struct state_writer writer;

	(void)state;
	hello_write(&writer, &good_hello);
	seed_keep(0, "hello", &writer);
	assert_int_equal(migration_hello_read(writer.bytes, writer.length, &hello), 0);
	assert_string_equal(hello.id, ID);
	assert_string_equal(hello.vm, "vm0");
	assert_int_equal(hello.connections, 2);
	assert_int_equal(hello.receive_port, 49200);
	assert_int_equal(hello.regions[0].size_bytes, 1 << 20);
	assert_int_equal(hello.definition_length, 10);
	assert_memory_equal(hello.definition, "name: vm0\n", 10);
	assert_false(hello.check_only);
	assert_int_equal(state_next(&hello.cpu, &section), 1);
	assert_int_equal(state_get_u32(&section), 42);
	assert_int_equal(state_next(&hello.portals, &section), 0);
	state_writer_fini(&writer);
}

static void hello_that_is_cut_anywhere_is_refused(void **state)
{
	struct migration_hello hello;
	struct state_writer writer;
	size_t whole;

	(void)state;
	hello_write(&writer, &good_hello);
	whole = writer.length -
		28; /* what the processor is may be missing: it is asked for later */
	for (size_t length = 0; length < whole; length++)
		assert_true(migration_hello_read(writer.bytes, length, &hello) < 0);
	state_writer_fini(&writer);
}

static void hello_with_a_bad_field_is_refused(void **state)
{
	struct migration_hello bad[6];
	struct migration_hello hello;

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(bad); i++)
		bad[i] = good_hello;
	memcpy(bad[0].id, "../../etc/passwd", 17);
	bad[1].id[5] = 'G';
	snprintf(bad[2].vm, sizeof(bad[2].vm), "../vm0");
	bad[3].connections = 0;
	bad[4].connections = MIGRATION_MAX_CONNECTIONS + 1;
	bad[5].region_count = 0;
	for (size_t i = 0; i < ARRAY_LENGTH(bad); i++) {
		struct state_writer writer;

		hello_write(&writer, &bad[i]);
		assert_int_equal(migration_hello_read(writer.bytes, writer.length, &hello),
				 -EPROTO);
		state_writer_fini(&writer);
	}
}

static void findings_and_token_come_out_as_they_went_in(void **state)
{
	struct migration_check check = {0}, read;
	struct migration_accept accept = {.port = 49201, .token = {1, 2, 3}}, got;
	struct state_writer writer;

	(void)state;
	migration_check_add(&check, MIGRATION_HARMS, "kernel",
			    "it is\nnot \x1b[2J or \xc2\x9b"
			    "2J there, \xc3\xa9t\xc3\xa9");
	migration_check_add(&check, MIGRATION_STOPS, "cpu", "no %s", "AVX2");
	state_writer_init(&writer);
	migration_findings_write(&writer, &check);
	seed_keep(2, "refuse", &writer);
	assert_int_equal(migration_answer_read(writer.bytes, writer.length, &read, &got), -EPROTO);
	migration_accept_write(&writer, &accept);
	seed_keep(1, "accept", &writer);
	assert_int_equal(migration_answer_read(writer.bytes, writer.length, &read, &got), 0);
	assert_int_equal(got.port, 49201);
	assert_memory_equal(got.token, accept.token, sizeof(got.token));
	assert_int_equal(read.count, 2);
	assert_string_equal(read.findings[0].text,
			    "it is?not ?[2J or ??2J there, \xc3\xa9t\xc3\xa9");
	assert_string_equal(migration_check_stopper(&read)->text, "no AVX2");
	state_writer_fini(&writer);
}

static void short_payloads_come_out_as_they_went_in(void **state)
{
	const struct migration_status status = {
		.downtime_ms = 42, .late_frames = 7, .throttle = 30};
	const struct vm_error error = {EXIT_NO_MEMORY, "too little"};
	struct migration_status status_read = {0};
	char id[MIGRATION_ID_BYTES], vm[VM_NAME_MAX + 1];
	struct state_writer writers[5];
	enum migration_word word;
	struct vm_error error_read;
	uint32_t ms;

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(writers); i++)
		state_writer_init(&writers[i]);
	migration_took_write(&writers[0], 17);
	migration_figures_put(&writers[1], &status);
	migration_fail_write(&writers[2], &error);
	migration_question_write(&writers[3], ID, "vm0");
	migration_outcome_write(&writers[4], MIGRATION_WORD_RELEASED);
	assert_int_equal(migration_took_read(writers[0].bytes, writers[0].length, &ms), 0);
	assert_int_equal(ms, 17);
	assert_int_equal(migration_figures_get(writers[1].bytes, writers[1].length, &status_read),
			 0);
	assert_int_equal(status_read.downtime_ms, 42);
	assert_int_equal(status_read.late_frames, 7);
	assert_int_equal(migration_fail_read(writers[2].bytes, writers[2].length, &error_read), 0);
	assert_int_equal(error_read.code, EXIT_NO_MEMORY);
	assert_string_equal(error_read.message, "too little");
	assert_int_equal(migration_question_read(writers[3].bytes, writers[3].length, id, vm), 0);
	assert_string_equal(id, ID);
	assert_int_equal(migration_outcome_read(writers[4].bytes, writers[4].length, &word), 0);
	assert_int_equal(word, MIGRATION_WORD_RELEASED);
	for (size_t i = 0; i < ARRAY_LENGTH(writers); i++) {
		char name[16];

		snprintf(name, sizeof(name), "short%zu", i);
		seed_keep((uint8_t)(3 + i), name, &writers[i]);
		state_writer_fini(&writers[i]);
	}
}

/* The source's own word for "may still have it" is never an answer. */
static void outcome_that_is_none_is_refused(void **state)
{
	static const uint32_t bad[] = {MIGRATION_WORD_LEAVING, MIGRATION_WORD_COMMITTED + 1,
				       UINT32_MAX};
	enum migration_word word;

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(bad); i++) {
		struct state_writer writer;

		state_writer_init(&writer);
		migration_outcome_write(&writer, (enum migration_word)bad[i]);
		assert_int_equal(migration_outcome_read(writer.bytes, writer.length, &word),
				 -EPROTO);
		state_writer_fini(&writer);
	}
}

static void finding_that_stops_has_a_place_when_the_list_is_full(void **state)
{
	struct migration_check check = {0};

	(void)state;
	for (int i = 0; i < 2 * MIGRATION_MAX_CHECK_ITEMS; i++)
		migration_check_add(&check, MIGRATION_NOTES, "note", "%d", i);
	migration_check_add(&check, MIGRATION_STOPS, "cpu", "this one");
	assert_int_equal(check.count, MIGRATION_MAX_CHECK_ITEMS);
	assert_string_equal(migration_check_stopper(&check)->text, "this one");
}

/* ---- pace ---- */

#define MIB (UINT64_C(1) << 20)

static void vm_stops_when_the_rest_fits_into_the_downtime(void **state)
{
	struct migration_pace pace;

	(void)state;
	migration_pace_init(&pace, 300, false);
	assert_int_equal(migration_pace_round(&pace, 100 * MIB, 100 * MIB), MIGRATION_PACE_ROUND);
	assert_int_equal(migration_pace_round(&pace, 25 * MIB, 100 * MIB), MIGRATION_PACE_STOP);
	assert_true(migration_pace_estimate_ms(&pace, 25 * MIB, 100 * MIB) <= 300);
	assert_int_equal(migration_pace_estimate_ms(&pace, 25 * MIB, 0), UINT32_MAX);
}

static void guest_is_throttled_after_two_rounds_that_did_not_shrink(void **state)
{
	struct migration_pace pace;
	uint32_t expected = 20;

	(void)state;
	migration_pace_init(&pace, 300, false);
	assert_int_equal(migration_pace_round(&pace, 90 * MIB, 100 * MIB), MIGRATION_PACE_ROUND);
	while (expected < 99) {
		assert_int_equal(migration_pace_round(&pace, 90 * MIB, 100 * MIB),
				 MIGRATION_PACE_ROUND);
		assert_int_equal(migration_pace_round(&pace, 90 * MIB, 100 * MIB),
				 MIGRATION_PACE_THROTTLE);
		assert_int_equal(pace.throttle, expected);
		expected += 10;
	}
	assert_int_equal(migration_pace_round(&pace, 90 * MIB, 100 * MIB), MIGRATION_PACE_ROUND);
	assert_int_equal(migration_pace_round(&pace, 90 * MIB, 100 * MIB), MIGRATION_PACE_THROTTLE);
	assert_int_equal(pace.throttle, 99);
	assert_int_equal(migration_pace_round(&pace, 90 * MIB, 100 * MIB), MIGRATION_PACE_ROUND);
	assert_int_equal(migration_pace_round(&pace, 90 * MIB, 100 * MIB), MIGRATION_PACE_ROUND);
}

static void guest_that_may_not_be_throttled_is_not(void **state)
{
	struct migration_pace pace;

	(void)state;
	migration_pace_init(&pace, 300, true);
	for (int i = 0; i < 20; i++)
		assert_int_equal(migration_pace_round(&pace, 90 * MIB, 100 * MIB),
				 MIGRATION_PACE_ROUND);
	assert_int_equal(pace.throttle, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hello_comes_out_as_it_went_in),
		cmocka_unit_test(hello_that_is_cut_anywhere_is_refused),
		cmocka_unit_test(hello_with_a_bad_field_is_refused),
		cmocka_unit_test(findings_and_token_come_out_as_they_went_in),
		cmocka_unit_test(short_payloads_come_out_as_they_went_in),
		cmocka_unit_test(outcome_that_is_none_is_refused),
		cmocka_unit_test(finding_that_stops_has_a_place_when_the_list_is_full),
		cmocka_unit_test(vm_stops_when_the_rest_fits_into_the_downtime),
		cmocka_unit_test(guest_is_throttled_after_two_rounds_that_did_not_shrink),
		cmocka_unit_test(guest_that_may_not_be_throttled_is_not),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
