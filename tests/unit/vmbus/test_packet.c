/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Packets: golden bytes as Linux 6.1 lays them out, and descriptors that lie.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "tests/unit/vmbus/memory_fixture.h"
#include "vmbus/gpadl_view.h"
#include "vmbus/guest_memory.h"
#include "vmbus/packet.h"
#include "vmbus/ring.h"
#include "wire/vmbus.h"

static const uint64_t gpns[] = {1, 4, 5, 6};
#define DATA_BYTES (3u * 4096)

struct setup {
	struct guest_memory *memory;
	struct gpadl_view *view;
	struct ring reader;
	struct ring writer;
	struct vmbus_ring_control *control;
	uint8_t *data;
	uint8_t scratch[PACKET_MAX_BYTES];
};

static int prepare(void **state)
{
	struct setup *s = calloc(1, sizeof(*s));

	if (!s)
		return -1;
	s->memory = fixture_memory(16);
	s->view = fixture_view(s->memory, gpns, 4);
	s->control = (struct vmbus_ring_control *)s->view->pages[0];
	s->data = s->view->pages[1];
	*state = s;
	return ring_init_reader(&s->reader, s->view) || ring_init_writer(&s->writer, s->view);
}

static int clean_up(void **state)
{
	struct setup *s = *state;

	gpadl_view_free(s->view);
	guest_memory_destroy(s->memory);
	free(s);
	return 0;
}

/* Puts raw bytes into the ring as a guest would, and gives the reader a fresh look at it. */
static void put_raw(struct setup *s, const void *bytes, uint32_t length)
{
	memcpy(s->data, bytes, length);
	s->control->read_index = 0;
	s->control->write_index = length;
	assert_int_equal(ring_init_reader(&s->reader, s->view), 0);
}

static int read_one(struct setup *s, struct packet *packet)
{
	return packet_read(&s->reader, s->scratch, sizeof(s->scratch), packet);
}

/* hv_ringbuffer_write() of an in-band packet with 12 bytes, transaction 0x1122334455667788,
 * completion requested. */
static const uint8_t inband[] = {
	0x06, 0x00, 0x02, 0x00, 0x04, 0x00, 0x01, 0x00, /* type 6, offset 2, length 4, flags 1 */
	0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, 'h', 'e', 'l', 'l',
	'o',  ' ',  'w',  'o',	'r',  'l',  'd',  '!',	0,   0,	  0,   0, /* padded to 8 */
	0,    0,    0,	  0,	0,    0,    0,	  0, /* previous packet start, in the high half */
};

static void an_inband_packet_of_linux_is_read(void **state)
{
	struct setup *s = *state;
	struct packet packet;

	put_raw(s, inband, sizeof(inband));
	assert_int_equal(read_one(s, &packet), 1);
	assert_int_equal(packet.type, PACKET_INBAND);
	assert_int_equal(packet.flags, PACKET_FLAG_COMPLETION_REQUESTED);
	assert_true(packet.transaction_id == UINT64_C(0x1122334455667788));
	assert_int_equal(packet.payload_bytes, 16);
	assert_memory_equal(packet.payload, "hello world!", 12);
	assert_null(packet.ranges);
	assert_int_equal(read_one(s, &packet), 0);
	ring_publish_read(&s->reader);
	assert_int_equal(s->control->read_index, sizeof(inband));
}

static void an_inband_packet_is_written_as_linux_does(void **state)
{
	struct setup *s = *state;

	assert_int_equal(packet_write_inband(&s->writer, UINT64_C(0x1122334455667788), 1,
					     "hello world!", 12),
			 0);
	assert_memory_equal(s->data, inband, sizeof(inband));
	assert_int_equal(s->control->write_index, 0);
	ring_publish_write(&s->writer);
	assert_int_equal(s->control->write_index, sizeof(inband));
	assert_int_equal(packet_ring_bytes(16, 12), sizeof(inband));
	/* The next one's trailer points to where it starts: 40. */
	assert_int_equal(packet_write_completion(&s->writer, 2, "12345678", 8), 0);
	assert_int_equal(get_le16(s->data + 40), PACKET_COMPLETION);
	assert_int_equal(get_le32(s->data + 64), 0);
	assert_int_equal(get_le32(s->data + 68), 40);
}

/* vmbus_sendpacket_pagebuffer() with two pages: type 9, ranges after {reserved, count}. */
static const uint8_t gpa_direct[] = {
	0x09, 0x00, 0x07, 0x00, 0x08, 0x00, 0x01, 0x00, /* offset 56, length 64 */
	0x05, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, /* transaction 5 */
	0x00, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00, /* reserved, 2 ranges */
	0x10, 0x00, 0x00, 0x00, 0xf0, 0x0f, 0x00, 0x00, /* 16 bytes at 0xff0 */
	0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, /* gpn 8 */
	0x00, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, /* 2048 bytes at 0 */
	0x03, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, /* gpn 3 */
	'p',  'a',  'y',  'l',	'o',  'a',  'd',  0,	/* payload */
	0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
};

static void a_gpa_direct_packet_of_linux_is_read_and_split(void **state)
{
	struct setup *s = *state;
	struct gpa_piece pieces[4];
	struct packet packet;

	put_raw(s, gpa_direct, sizeof(gpa_direct));
	assert_int_equal(read_one(s, &packet), 1);
	assert_int_equal(packet.type, PACKET_GPA_DIRECT);
	assert_int_equal(packet.range_count, 2);
	assert_int_equal(packet.ranges_bytes, 32);
	assert_string_equal((const char *)packet.payload, "payload");
	assert_int_equal(packet_gpa_pieces(&packet, pieces, 4), 2);
	assert_true(pieces[0].gpa == 0x8ff0 && pieces[0].length == 16);
	assert_true(pieces[1].gpa == 0x3000 && pieces[1].length == 2048);
	assert_int_equal(packet_gpa_pieces(&packet, pieces, 1), -E2BIG);
}

static void a_gpa_direct_packet_is_written_as_linux_does(void **state)
{
	struct setup *s = *state;

	assert_int_equal(
		packet_write_gpa_direct(&s->writer, 5, gpa_direct + 24, 32, 2, "payload", 8), 0);
	assert_memory_equal(s->data, gpa_direct, sizeof(gpa_direct));
	assert_int_equal(packet_write_gpa_direct(&s->writer, 5, gpa_direct + 24, 31, 2, "x", 1),
			 -EINVAL);
}

static void a_range_over_many_pages_is_split_at_each(void **state)
{
	uint8_t ranges[8 + 3 * 8];
	struct packet packet = {.ranges = ranges, .ranges_bytes = sizeof(ranges), .range_count = 1};
	struct gpa_piece pieces[3];

	(void)state;
	put_le32(ranges, 4096 + 2);
	put_le32(ranges + 4, 4095);
	put_le64(ranges + 8, 7);
	put_le64(ranges + 16, 9);
	put_le64(ranges + 24, (UINT64_C(1) << 28) - 1); /* the last page below 1 TiB */
	assert_int_equal(packet_gpa_pieces(&packet, pieces, 3), 3);
	assert_true(pieces[0].gpa == 7 * 4096 + 4095 && pieces[0].length == 1);
	assert_true(pieces[1].gpa == UINT64_C(9) * 4096 && pieces[1].length == 4096);
	assert_true(pieces[2].gpa == (UINT64_C(1) << 40) - 4096 && pieces[2].length == 1);
	assert_int_equal(packet_gpa_pieces(&packet, pieces, 2), -E2BIG);
	put_le64(ranges + 24, UINT64_C(1) << 28);
	assert_int_equal(packet_gpa_pieces(&packet, pieces, 3), -EINVAL);
	put_le64(ranges + 24, UINT64_MAX);
	assert_int_equal(packet_gpa_pieces(&packet, pieces, 3), -EINVAL);
}

static void gpa_ranges_that_lie_are_refused(void **state)
{
	uint8_t ranges[16] = {0};
	struct packet packet = {.ranges = ranges, .ranges_bytes = 16, .range_count = 1};
	struct gpa_piece pieces[4];

	(void)state;
	assert_int_equal(packet_gpa_pieces(&packet, pieces, 4), -EINVAL); /* empty */
	put_le32(ranges, 1);
	put_le32(ranges + 4, 4096);
	assert_int_equal(packet_gpa_pieces(&packet, pieces, 4), -EINVAL); /* offset past the page */
	put_le32(ranges + 4, 4095);
	assert_int_equal(packet_gpa_pieces(&packet, pieces, 4), 1);
	put_le32(ranges, 2);
	assert_int_equal(packet_gpa_pieces(&packet, pieces, 4),
			 -EINVAL); /* a page number is missing */
	put_le32(ranges, UINT32_MAX);
	assert_int_equal(packet_gpa_pieces(&packet, pieces, 4), -EINVAL);
	put_le32(ranges, 1);
	packet.range_count = 2;
	assert_int_equal(packet_gpa_pieces(&packet, pieces, 4), -EINVAL); /* a range is missing */
	packet.range_count = 0;
	assert_int_equal(packet_gpa_pieces(&packet, pieces, 4), 0);
}

static void transfer_pages_are_written_as_netvsc_reads_them(void **state)
{
	struct setup *s = *state;
	const struct transfer_range ranges[] = {{60, 0}, {1514, 2048}};
	static const uint8_t head[] = {
		0x07, 0x00, 0x05, 0x00, 0x06, 0x00, 0x01, 0x00, /* offset 40, length 48 */
		0x09, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xfe, 0xca,
		0x00, 0x00, 0x02, 0x00, 0x00, 0x00, /* set 0xcafe, 2 ranges */
		0x3c, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xea, 0x05,
		0x00, 0x00, 0x00, 0x08, 0x00, 0x00, 'n',  'v',	's',  'p',
	};
	struct packet packet;

	assert_int_equal(packet_write_transfer_pages(&s->writer, 9, 0xcafe, ranges, 2, "nvsp", 4),
			 0);
	assert_memory_equal(s->data, head, sizeof(head));
	ring_publish_write(&s->writer);
	assert_int_equal(read_one(s, &packet), 1);
	assert_int_equal(packet.transfer_set_id, 0xcafe);
	assert_int_equal(packet.range_count, 2);
	assert_memory_equal(packet.ranges, ranges, sizeof(ranges));
	assert_int_equal(packet_write_transfer_pages(&s->writer, 9, 1, ranges, 1025, "", 0),
			 -EMSGSIZE);
}

static void every_broken_descriptor_breaks_the_ring(void **state)
{
	struct setup *s = *state;
	static const struct {
		uint16_t type, offset8, length8;
	} bad[] = {
		{6, 1, 4},		   /* payload inside the descriptor */
		{6, 0, 4},	{6, 5, 4}, /* payload past the end */
		{6, 2, 5},		   /* longer than what is there */
		{6, 2, 0xffff}, {6, 0xffff, 0xffff}, {6, 2, 1}, {6, 0, 0},
		{0, 2, 4},	{1, 2, 4},	     {8, 2, 4}, {12, 2, 4},
		{0xffff, 2, 4}, {7, 2, 4}, /* no room for the extra header */
		{9, 2, 4},
	};
	struct packet packet;

	for (size_t i = 0; i < ARRAY_LENGTH(bad); i++) {
		uint8_t bytes[sizeof(inband)];

		memcpy(bytes, inband, sizeof(bytes));
		put_le16(bytes, bad[i].type);
		put_le16(bytes + 2, bad[i].offset8);
		put_le16(bytes + 4, bad[i].length8);
		put_raw(s, bytes, sizeof(bytes));
		assert_int_equal(read_one(s, &packet), -EPROTO);
		assert_int_equal(read_one(s, &packet), -EPROTO);
		assert_true(s->reader.broken);
		assert_false(ring_publish_read(&s->reader));
		assert_int_equal(s->control->read_index, 0);
	}
}

static void range_counts_that_do_not_fit_break_the_ring(void **state)
{
	struct setup *s = *state;
	const uint32_t bad[] = {5, 0x20000000, UINT32_MAX};
	uint8_t bytes[sizeof(gpa_direct)];
	struct packet packet;

	for (size_t type = PACKET_TRANSFER_PAGES; type <= PACKET_GPA_DIRECT; type += 2) {
		for (size_t i = 0; i < ARRAY_LENGTH(bad); i++) {
			memcpy(bytes, gpa_direct, sizeof(bytes));
			bytes[0] = (uint8_t)type;
			put_le32(bytes + 20, bad[i]);
			put_raw(s, bytes, sizeof(bytes));
			assert_int_equal(read_one(s, &packet), -EPROTO);
		}
	}
}

static void less_than_a_descriptor_breaks_the_ring(void **state)
{
	struct setup *s = *state;
	struct packet packet;

	for (uint32_t length = 8; length < 24; length += 8) {
		put_raw(s, inband, length);
		assert_int_equal(read_one(s, &packet), -EPROTO);
	}
}

static void a_packet_longer_than_the_scratch_buffer_breaks_the_ring(void **state)
{
	struct setup *s = *state;
	struct packet packet;

	put_raw(s, inband, sizeof(inband));
	assert_int_equal(packet_read(&s->reader, s->scratch, 31, &packet), -EPROTO);
}

static void a_full_ring_refuses_and_keeps_what_it_has(void **state)
{
	struct setup *s = *state;
	uint8_t payload[1000] = {0};
	struct packet packet;
	unsigned written = 0;
	unsigned read = 0;

	while (packet_write_inband(&s->writer, written, 0, payload, sizeof(payload)) == 0)
		written++;
	assert_int_equal(written, DATA_BYTES / 1024 - 1); /* one unit stays free */
	assert_int_equal(packet_write_inband(&s->writer, 0, 0, payload, 1000), -EAGAIN);
	assert_int_equal(packet_write_inband(&s->writer, 0, 0, payload, 992), 0);
	ring_publish_write(&s->writer);
	while (read_one(s, &packet) == 1)
		assert_true(read++ == packet.transaction_id || packet.payload_bytes == 992);
	assert_int_equal(read, written + 1);
}

static void packets_that_can_never_fit_are_told_apart(void **state)
{
	struct setup *s = *state;
	uint8_t *payload = calloc(1, PACKET_MAX_BYTES);

	assert_int_equal(packet_write_inband(&s->writer, 0, 0, payload, DATA_BYTES - 8 - 24 + 1),
			 -EMSGSIZE);
	assert_int_equal(packet_write_inband(&s->writer, 0, 0, payload, PACKET_MAX_BYTES),
			 -EMSGSIZE);
	assert_int_equal(packet_write_inband(&s->writer, 0, 0, payload, SIZE_MAX), -EMSGSIZE);
	assert_int_equal(packet_write_inband(&s->writer, 0, 0, payload, DATA_BYTES - 8 - 24), 0);
	free(payload);
}

static void random_packets_come_out_as_they_went_in(void **state)
{
	struct setup *s = *state;
	uint32_t seed = 3;
	uint8_t payload[3000];
	uint32_t lengths[512] = {0};
	struct packet packet;
	uint64_t in = 0;
	uint64_t out = 0;

	while (out < 20000) {
		uint32_t length = fixture_random(&seed) % sizeof(payload);

		memset(payload, (int)(in & 0xff), length);
		if (packet_write_inband(&s->writer, in, 0, payload, length) == 0) {
			lengths[in++ % 512] = length;
			ring_publish_write(&s->writer);
			continue;
		}
		for (uint32_t n = fixture_random(&seed) % 8; n > 0 && read_one(s, &packet) == 1;
		     n--) {
			assert_true(packet.transaction_id == out);
			length = lengths[out % 512];
			assert_int_equal(packet.payload_bytes, (length + 7) / 8 * 8);
			memset(payload, (int)(out & 0xff), length);
			assert_memory_equal(packet.payload, payload, length);
			out++;
		}
		ring_publish_read(&s->reader);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, prepare, clean_up)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(an_inband_packet_of_linux_is_read),
		TEST(an_inband_packet_is_written_as_linux_does),
		TEST(a_gpa_direct_packet_of_linux_is_read_and_split),
		TEST(a_gpa_direct_packet_is_written_as_linux_does),
		TEST(a_range_over_many_pages_is_split_at_each),
		TEST(gpa_ranges_that_lie_are_refused),
		TEST(transfer_pages_are_written_as_netvsc_reads_them),
		TEST(every_broken_descriptor_breaks_the_ring),
		TEST(range_counts_that_do_not_fit_break_the_ring),
		TEST(less_than_a_descriptor_breaks_the_ring),
		TEST(a_packet_longer_than_the_scratch_buffer_breaks_the_ring),
		TEST(a_full_ring_refuses_and_keeps_what_it_has),
		TEST(packets_that_can_never_fit_are_told_apart),
		TEST(random_packets_come_out_as_they_went_in),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
