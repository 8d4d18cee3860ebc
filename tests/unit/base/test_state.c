/* SPDX-License-Identifier: BSD-3-Clause */
/* Saved state: what was written is read, and what is cut, newer or absurd is refused. */
#include "base/state.h"

#include <errno.h>
#include <string.h>

#include "tests/unit/test_main.h"

#define TAG_OUTER STATE_TAG('O', 'U', 'T', 'R')
#define TAG_INNER STATE_TAG('I', 'N', 'N', 'R')

static void state_has_these_bytes(void **state)
{
	static const uint8_t golden[] = {
		'O', 'U', 'T', 'R', 3, 0, 2, 0, 19, 0, 0, 0, 0x34, 0x12, 'I',  'N',
		'N', 'R', 1,   0,   0, 0, 5, 0, 0,  0, 1, 0, 0,	   0,	 0xff,
	};
	struct state_writer writer;

	(void)state;
	state_writer_init(&writer);
	state_begin(&writer, TAG_OUTER, 3, 2);
	state_put_u16(&writer, 0x1234);
	state_begin(&writer, TAG_INNER, 1, STATE_SKIPPABLE);
	state_put_blob(&writer, "\xff", 1);
	state_end(&writer);
	state_end(&writer);
	assert_int_equal(state_writer_result(&writer), 0);
	assert_int_equal(writer.length, sizeof(golden));
	assert_memory_equal(writer.bytes, golden, sizeof(golden));
	state_writer_fini(&writer);
}

static void state_reads_what_was_written(void **state)
{
	struct state_writer writer;
	struct state_reader reader, outer, inner;
	const void *blob;
	size_t length;

	(void)state;
	state_writer_init(&writer);
	state_begin(&writer, TAG_OUTER, 1, 1);
	state_put_u8(&writer, 0xab);
	state_put_u16(&writer, 0xabcd);
	state_put_u32(&writer, 0xabcdef01);
	state_put_u64(&writer, UINT64_C(0xabcdef0123456789));
	state_begin(&writer, TAG_INNER, 7, STATE_SKIPPABLE);
	for (uint32_t i = 0; i < 5000; i++)
		state_put_u32(&writer, i);
	state_end(&writer);
	state_put_blob(&writer, "blob", 4);
	state_end(&writer);
	assert_int_equal(state_writer_result(&writer), 0);

	state_reader_init(&reader, writer.bytes, writer.length);
	assert_int_equal(state_next(&reader, &outer), 1);
	assert_int_equal(outer.tag, TAG_OUTER);
	assert_int_equal(state_get_u8(&outer), 0xab);
	assert_int_equal(state_get_u16(&outer), 0xabcd);
	assert_int_equal(state_get_u32(&outer), 0xabcdef01);
	assert_true(state_get_u64(&outer) == UINT64_C(0xabcdef0123456789));
	assert_int_equal(state_next(&outer, &inner), 1);
	assert_int_equal(inner.tag, TAG_INNER);
	assert_int_equal(inner.version, 7);
	for (uint32_t i = 0; i < 5000; i++)
		assert_int_equal(state_get_u32(&inner), i);
	assert_int_equal(state_left(&inner), 0);
	blob = state_get_blob(&outer, 4, &length);
	assert_int_equal(length, 4);
	assert_memory_equal(blob, "blob", 4);
	assert_int_equal(outer.error, 0);
	assert_int_equal(state_next(&reader, &outer), 0);
	state_writer_fini(&writer);
}

static void state_reader_stops_at_its_end_and_keeps_the_error(void **state)
{
	static const uint8_t bytes[] = {1, 2, 3, 4, 5, 6};
	struct state_reader reader;

	(void)state;
	state_reader_init(&reader, bytes, sizeof(bytes));
	assert_int_equal(state_get_u32(&reader), 0x04030201);
	assert_int_equal(state_get_u32(&reader), 0);
	assert_int_equal(reader.error, -EPROTO);
	assert_int_equal(state_get_u16(&reader), 0); /* there are two bytes, but no more trust */
	assert_null(state_get_bytes(&reader, 1));
	assert_int_equal(state_get_u32_or(&reader, 9), 0);
}

static void state_missing_field_has_its_fallback(void **state)
{
	struct state_reader reader;

	(void)state;
	state_reader_init(&reader, "", 0);
	assert_int_equal(state_get_u32_or(&reader, 9), 9);
	assert_int_equal(state_get_u64_or(&reader, 10), 10);
	assert_int_equal(reader.error, 0);
}

static void state_cut_section_is_an_error_at_every_length(void **state)
{
	struct state_writer writer;

	(void)state;
	state_writer_init(&writer);
	state_begin(&writer, TAG_OUTER, 1, 1);
	state_put_u64(&writer, 1);
	state_end(&writer);
	for (size_t length = 1; length < writer.length; length++) {
		struct state_reader reader, section;

		state_reader_init(&reader, writer.bytes, length);
		assert_int_equal(state_next(&reader, &section), -EPROTO);
		assert_int_equal(state_next(&reader, &section), -EPROTO);
	}
	state_writer_fini(&writer);
}

static void state_absurd_lengths_and_counts_are_errors(void **state)
{
	static const uint8_t bytes[] = {0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4};
	struct state_reader reader;
	size_t length;

	(void)state;
	state_reader_init(&reader, bytes, sizeof(bytes));
	assert_null(state_get_blob(&reader, SIZE_MAX, &length));
	assert_int_equal(reader.error, -EPROTO);
	state_reader_init(&reader, bytes, sizeof(bytes));
	assert_int_equal(state_get_bounded(&reader, 64), 0);
	assert_int_equal(reader.error, -EPROTO);
}

static void state_versions_are_refused_only_where_incompatible(void **state)
{
	struct state_reader section = {.version = 5, .readable_by = 4};

	(void)state;
	assert_int_equal(state_check_version(&section, 5), 0);
	assert_int_equal(state_check_version(&section, 4), 0);
	assert_int_equal(state_check_version(&section, 3), -EOPNOTSUPP);
	assert_int_equal(state_check_skippable(&section), -EOPNOTSUPP);
	section.readable_by = STATE_SKIPPABLE;
	assert_int_equal(state_check_skippable(&section), 0);
}

static void state_writer_tells_misuse(void **state)
{
	struct state_writer writer;

	(void)state;
	state_writer_init(&writer);
	state_begin(&writer, TAG_OUTER, 1, 1);
	assert_int_equal(state_writer_result(&writer), -EINVAL);
	state_end(&writer);
	assert_int_equal(state_writer_result(&writer), 0);
	state_end(&writer);
	assert_int_equal(state_writer_result(&writer), -EINVAL);
	state_writer_fini(&writer);
	state_writer_init(&writer);
	for (int i = 0; i <= STATE_MAX_DEPTH; i++)
		state_begin(&writer, TAG_OUTER, 1, 1);
	assert_int_equal(state_writer_result(&writer), -EINVAL);
	state_writer_fini(&writer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(state_has_these_bytes),
		cmocka_unit_test(state_reads_what_was_written),
		cmocka_unit_test(state_reader_stops_at_its_end_and_keeps_the_error),
		cmocka_unit_test(state_missing_field_has_its_fallback),
		cmocka_unit_test(state_cut_section_is_an_error_at_every_length),
		cmocka_unit_test(state_absurd_lengths_and_counts_are_errors),
		cmocka_unit_test(state_versions_are_refused_only_where_incompatible),
		cmocka_unit_test(state_writer_tells_misuse),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
