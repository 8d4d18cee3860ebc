/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Frames: their bytes, their bounds, their checks, and what the end of a channel is taken for.
 */
#include "tests/unit/test_main.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "hypervisor/migration/message.h"

static const struct deadline never;

/* A channel that keeps what is written, and gives it back. */
struct tape {
	struct migration_channel channel;
	uint8_t bytes[65536];
	size_t written;
	size_t read;
	size_t largest_read;
};

static int tape_write(void *ctx, const void *from, size_t length, struct deadline deadline)
{
	struct tape *tape = ctx;

	(void)deadline;
	assert_true(tape->written + length <= sizeof(tape->bytes));
	memcpy(tape->bytes + tape->written, from, length);
	tape->written += length;
	return 0;
}

static int tape_read(void *ctx, void *to, size_t length, struct deadline deadline)
{
	struct tape *tape = ctx;

	(void)deadline;
	if (length > tape->largest_read)
		tape->largest_read = length;
	if (tape->read == tape->written)
		return -EPIPE;
	if (length > tape->written - tape->read)
		return -ECONNRESET;
	memcpy(to, tape->bytes + tape->read, length);
	tape->read += length;
	return 0;
}

static struct tape *tape_make(bool checked)
{
	static const struct migration_channel_ops ops = {.read = tape_read, .write = tape_write};
	struct tape *tape = calloc(1, sizeof(*tape));

	migration_channel_init(&tape->channel, &ops, tape, checked);
	return tape;
}

static void golden_frame_of_a_connection(void **state)
{
	static const uint8_t golden[] = {2, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0,
					 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0};
	static const uint8_t payload[] = {5, 0, 0, 0, 0, 0, 0, 0};
	struct tape *tape = tape_make(false);

	(void)state;
	assert_int_equal(migration_message_send(&tape->channel, MIGRATION_FRAME_ROUND_END, payload,
						sizeof(payload), never),
			 0);
	assert_int_equal(tape->written, sizeof(golden));
	assert_memory_equal(tape->bytes, golden, sizeof(golden));
	free(tape);
}

static void golden_frames_of_a_file(void **state)
{
	/* SHA-256 of {0 as 8 bytes, 16, 3, "abc"} and of {that check, 64, 0}. */
	static const uint8_t golden[] = {
		16,   0,    0,	  0,	3,    0,    0,	  0,	0xd8, 0x86, 0x17, 0xd4,
		0x4f, 0x88, 0xc4, 0xb3, 'a',  'b',  'c',  64,	0,    0,    0,	  0,
		0,    0,    0,	  0xb8, 0xd8, 0x40, 0xa3, 0x00, 0xe6, 0x41, 0x6f,
	};
	struct tape *tape = tape_make(true);

	(void)state;
	assert_int_equal(
		migration_message_send(&tape->channel, MIGRATION_FRAME_DEFINITION, "abc", 3, never),
		0);
	assert_int_equal(
		migration_message_send(&tape->channel, MIGRATION_FRAME_FILE_END, NULL, 0, never),
		0);
	assert_int_equal(tape->written, sizeof(golden));
	assert_memory_equal(tape->bytes, golden, sizeof(golden));
	free(tape);
}

static void what_is_sent_is_received(void **state)
{
	static const size_t lengths[] = {0, 1, 4095, 4096, 4097, 20000};
	struct migration_message message = {0};
	uint8_t *bytes = malloc(32768);

	(void)state;
	for (int checked = 0; checked < 2; checked++) {
		struct tape *tape = tape_make(checked);

		for (size_t i = 0; i < 32768; i++)
			bytes[i] = (uint8_t)(i * 7);
		for (size_t i = 0; i < ARRAY_LENGTH(lengths); i++)
			assert_int_equal(migration_message_send(&tape->channel, 100 + (uint32_t)i,
								bytes, lengths[i], never),
					 0);
		assert_int_equal(migration_message_send_in_place(&tape->channel, 200, bytes + 16,
								 1000, never),
				 0);
		for (size_t i = 0; i < ARRAY_LENGTH(lengths); i++) {
			assert_int_equal(
				migration_message_receive(&tape->channel, &message, 20000, never),
				0);
			assert_int_equal(message.type, 100 + i);
			assert_int_equal(message.length, lengths[i]);
			for (size_t at = 0; at < lengths[i]; at++)
				assert_int_equal(message.payload[at], (uint8_t)(at * 7));
		}
		assert_int_equal(migration_message_receive(&tape->channel, &message, 20000, never),
				 0);
		assert_int_equal(message.type, 200);
		assert_int_equal(message.length, 1000);
		assert_int_equal(message.payload[0], (uint8_t)(16 * 7));
		assert_int_equal(migration_message_receive(&tape->channel, &message, 20000, never),
				 -EPIPE);
		free(tape);
	}
	migration_message_fini(&message);
	free(bytes);
}

static void longer_than_allowed_is_neither_read_nor_sent(void **state)
{
	struct migration_message message = {0};
	struct tape *tape = tape_make(false);
	uint8_t bytes[100] = {0};

	(void)state;
	assert_int_equal(migration_message_send(&tape->channel, 1, bytes, 100, never), 0);
	assert_int_equal(migration_message_receive(&tape->channel, &message, 99, never), -EPROTO);
	assert_int_equal(tape->read, sizeof(struct migration_frame));
	assert_null(message.payload);
	assert_int_equal(migration_message_send(&tape->channel, 1, bytes,
						MIGRATION_MAX_PAYLOAD_BYTES + 1, never),
			 -EMSGSIZE);
	free(tape);
}

static void length_that_is_a_lie_costs_little_memory(void **state)
{
	struct migration_message message = {0};
	struct tape *tape = tape_make(false);

	(void)state;
	put_le32(tape->bytes, MIGRATION_FRAME_STATE);
	put_le32(tape->bytes + 4, MIGRATION_MAX_PAYLOAD_BYTES);
	tape->written = sizeof(struct migration_frame) + 100;
	assert_int_equal(migration_message_receive(&tape->channel, &message,
						   MIGRATION_MAX_PAYLOAD_BYTES, never),
			 -ECONNRESET);
	assert_true(message.capacity <= 65536);
	assert_true(tape->largest_read <= 65536);
	migration_message_fini(&message);
	free(tape);
}

static void end_within_a_frame_is_a_cut(void **state)
{
	(void)state;
	for (size_t length = 0; length <= sizeof(struct migration_frame) + 8; length++) {
		struct migration_message message = {0};
		struct tape *tape = tape_make(false);
		int rc;

		migration_message_send(&tape->channel, 1, "12345678", 8, never);
		tape->written = length;
		rc = migration_message_receive(&tape->channel, &message, 100, never);
		if (length == 0)
			assert_int_equal(rc, -EPIPE);
		else
			assert_int_equal(rc, length == 24 ? 0 : -ECONNRESET);
		migration_message_fini(&message);
		free(tape);
	}
}

static void altered_lost_and_swapped_frames_show_in_their_check(void **state)
{
	(void)state;
	for (size_t at = 0; at < 48; at++) {
		struct migration_message message = {0};
		struct tape *tape = tape_make(true);
		int rc = 0;

		migration_message_send(&tape->channel, 1, "12345678", 8, never);
		migration_message_send(&tape->channel, 1, "abcdefgh", 8, never);
		tape->bytes[at] ^= 1;
		for (int i = 0; i < 2 && rc == 0; i++)
			rc = migration_message_receive(&tape->channel, &message, 8, never);
		assert_true(rc == -EPROTO || rc == -ECONNRESET);
		migration_message_fini(&message);
		free(tape);
	}
	for (int swap = 0; swap < 2; swap++) {
		struct migration_message message = {0};
		struct tape *tape = tape_make(true);
		uint8_t first[24];

		migration_message_send(&tape->channel, 1, "12345678", 8, never);
		migration_message_send(&tape->channel, 1, "abcdefgh", 8, never);
		memcpy(first, tape->bytes, 24);
		memcpy(tape->bytes, tape->bytes + 24, 24);
		if (swap)
			memcpy(tape->bytes + 24, first, 24);
		else
			tape->written = 24;
		assert_int_equal(migration_message_receive(&tape->channel, &message, 8, never),
				 -EPROTO);
		migration_message_fini(&message);
		free(tape);
	}
}

static void buffer_ends_as_a_channel_does(void **state)
{
	struct migration_buffer buffer;
	uint8_t byte;
	uint8_t two[2];

	(void)state;
	migration_buffer_init(&buffer, "abc", 3);
	assert_int_equal(buffer.channel.ops->read(&buffer, &byte, 1, never), 0);
	assert_int_equal(byte, 'a');
	assert_int_equal(buffer.channel.ops->read(&buffer, two, 2, never), 0);
	assert_int_equal(buffer.channel.ops->read(&buffer, &byte, 1, never), -EPIPE);
	migration_buffer_init(&buffer, "a", 1);
	assert_int_equal(buffer.channel.ops->read(&buffer, two, 2, never), -ECONNRESET);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(golden_frame_of_a_connection),
		cmocka_unit_test(golden_frames_of_a_file),
		cmocka_unit_test(what_is_sent_is_received),
		cmocka_unit_test(longer_than_allowed_is_neither_read_nor_sent),
		cmocka_unit_test(length_that_is_a_lie_costs_little_memory),
		cmocka_unit_test(end_within_a_frame_is_a_cut),
		cmocka_unit_test(altered_lost_and_swapped_frames_show_in_their_check),
		cmocka_unit_test(buffer_ends_as_a_channel_does),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
