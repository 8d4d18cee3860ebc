/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * GPADLs on the bus: assembled as Linux sends them, refused when they lie, taken back after the
 * last user.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/vmbus/server_expect.h"
#include "vmbus/server_internal.h"

static void expect_created(struct fake_guest *guest, uint32_t relid, uint32_t id, bool success)
{
	const struct fake_message *message = expect(guest, VMBUS_GPADL_CREATED, 20);

	assert_int_equal(get_le32(message->bytes + 8), relid);
	assert_int_equal(get_le32(message->bytes + 12), id);
	assert_int_equal(get_le32(message->bytes + 16) == 0, success);
}

static uint32_t gpadls_alive(struct setup *s)
{
	struct vmbus_server_counts counts;

	vmbus_server_get_counts(s->guest.server, &counts);
	return counts.gpadls;
}

/* create_gpadl_header(): 2 pages at PFN 0x100 and 0x101, all in the header. */
static const uint8_t linux_header[] = {
	8,  0, 0, 0, 0, 0,    0, 0, 1, 0, 0, 0, 0x10, 0x1e, 0x0e, 0,
	24, 0, 1, 0, 0, 0x20, 0, 0, 0, 0, 0, 0, /* 8192 bytes at 0 */
	0,  1, 0, 0, 0, 0,    0, 0, 1, 1, 0, 0, 0,    0,    0,	  0,
};

static void a_gpadl_in_one_header_is_created(void **state)
{
	struct setup *s = *state;

	connect_guest(&s->guest, 0x50003);
	guest_send(&s->guest, linux_header, sizeof(linux_header));
	EXPECT_BYTES(&s->guest, 10, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0x10, 0x1e, 0x0e, 0, 0, 0, 0,
		     0);
	assert_int_equal(gpadls_alive(s), 1);
	assert_int_equal(s->device.gpadl_count, 1);
	guest_send_teardown(&s->guest, 1, 0xe1e10);
	EXPECT_BYTES(&s->guest, 12, 0, 0, 0, 0, 0, 0, 0, 0x10, 0x1e, 0x0e, 0);
	assert_int_equal(gpadls_alive(s), 0);
}

static void gpadls_of_every_length_are_assembled(void **state)
{
	struct setup *s = *state;
	/* 26 page numbers fit a header, 28 a body; 8190 is what a u16 can declare. */
	const uint32_t pages[] = {1, 25, 26, 27, 54, 55, 4096, 8190};

	connect_guest(&s->guest, 0x50003);
	for (uint32_t i = 0; i < ARRAY_LENGTH(pages); i++) {
		guest_send_gpadl(&s->guest, 1, i, pages[i], 0);
		expect_created(&s->guest, 1, i, true);
		EXPECT_NOTHING(&s->guest);
	}
	assert_int_equal(s->device.total[FAKE_GPADL_CREATED], ARRAY_LENGTH(pages));
}

static void two_gpadls_may_be_on_their_way_at_once(void **state)
{
	struct setup *s = *state;
	uint8_t first[44];
	uint8_t body[24] = {9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10, 0x1e, 0x0e, 0, 7};

	connect_guest(&s->guest, 0x50003);
	memcpy(first, linux_header, sizeof(first));
	guest_send(&s->guest, first, sizeof(first) - 8); /* the second page number is missing */
	EXPECT_NOTHING(&s->guest);
	assert_int_equal(gpadls_alive(s), 1);
	guest_send_gpadl(&s->guest, 2, 5, 60, 0);
	expect_created(&s->guest, 2, 5, true);
	guest_send(&s->guest, body, sizeof(body));
	expect_created(&s->guest, 1, 0xe1e10, true);
	guest_send(&s->guest, body, sizeof(body)); /* nobody waits for it */
	EXPECT_NOTHING(&s->guest);
}

static void more_bytes_than_declared_are_cut_off(void **state)
{
	struct setup *s = *state;
	uint8_t message[240];

	connect_guest(&s->guest, 0x50003);
	memset(message, 0xff, sizeof(message));
	memcpy(message, linux_header, sizeof(linux_header));
	guest_send(&s->guest, message, sizeof(message));
	expect_created(&s->guest, 1, 0xe1e10, true);
}

static void headers_that_lie_are_refused(void **state)
{
	struct setup *s = *state;
	static const struct {
		uint16_t ranges_bytes, range_count;
	} bad[] = {
		{0, 1},	 {24, 0},      {8, 1}, {24, 2}, {16, 1} /* a page too few */,
		{23, 1}, {24, 0xffff},
	};

	connect_guest(&s->guest, 0x50003);
	for (size_t i = 0; i < ARRAY_LENGTH(bad); i++) {
		uint8_t message[sizeof(linux_header)];

		memcpy(message, linux_header, sizeof(message));
		put_le16(message + 16, bad[i].ranges_bytes);
		put_le16(message + 18, bad[i].range_count);
		guest_send(&s->guest, message, sizeof(message));
		expect_created(&s->guest, 1, 0xe1e10, false);
		assert_int_equal(gpadls_alive(s), 0);
	}
	assert_int_equal(s->device.total[FAKE_GPADL_CREATED], 0);
}

static void a_gpadl_for_a_channel_that_is_not_offered_is_refused(void **state)
{
	struct setup *s = *state;
	const uint32_t relids[] = {0, 3, 2047, 2048, UINT32_MAX};

	connect_guest(&s->guest, 0x50003);
	for (size_t i = 0; i < ARRAY_LENGTH(relids); i++) {
		guest_send_gpadl(&s->guest, relids[i], 9, 2, 0);
		expect_created(&s->guest, relids[i], 9, false);
	}
}

static void an_id_in_use_is_refused_on_every_channel(void **state)
{
	struct setup *s = *state;

	connect_guest(&s->guest, 0x50003);
	guest_send_gpadl(&s->guest, 1, 9, 2, 0);
	expect_created(&s->guest, 1, 9, true);
	guest_send_gpadl(&s->guest, 1, 9, 2, 0);
	expect_created(&s->guest, 1, 9, false);
	guest_send_gpadl(&s->guest, 2, 9, 2, 0);
	expect_created(&s->guest, 2, 9, false);
	assert_int_equal(gpadls_alive(s), 1);
	guest_send_teardown(&s->guest, 1, 9);
	expect(&s->guest, VMBUS_GPADL_TORNDOWN, 12);
	guest_send_gpadl(&s->guest, 2, 9, 2, 0);
	expect_created(&s->guest, 2, 9, true);
}

static void an_id_stays_taken_until_the_device_lets_go(void **state)
{
	struct setup *s = *state;

	connect_guest(&s->guest, 0x50003);
	guest_send_gpadl(&s->guest, 1, 9, 2, 0);
	expect_created(&s->guest, 1, 9, true);
	s->device.later = true;
	guest_send_teardown(&s->guest, 1, 9);
	EXPECT_NOTHING(&s->guest);
	guest_send_gpadl(&s->guest, 1, 9, 2, 0);
	expect_created(&s->guest, 1, 9, false);
	guest_send_teardown(&s->guest, 1, 9); /* twice: one answer */
	fake_device_answer_all(&s->device);
	expect(&s->guest, VMBUS_GPADL_TORNDOWN, 12);
	EXPECT_NOTHING(&s->guest);
}

static void a_device_may_refuse_a_gpadl(void **state)
{
	struct setup *s = *state;

	connect_guest(&s->guest, 0x50003);
	s->device.status = -EFAULT;
	guest_send_gpadl(&s->guest, 1, 9, 2, UINT64_MAX >> 1);
	expect_created(&s->guest, 1, 9, false);
	assert_int_equal(gpadls_alive(s), 0);
	assert_int_equal(s->device.total[FAKE_GPADL_TEARDOWN], 0);
}

static void teardown_may_overtake_creation(void **state)
{
	struct setup *s = *state;

	connect_guest(&s->guest, 0x50003);
	s->device.later = true;
	guest_send_gpadl(&s->guest, 1, 9, 2, 0);
	guest_send_teardown(&s->guest, 1, 9);
	EXPECT_NOTHING(&s->guest);
	fake_device_answer(&s->device, 0);
	expect_created(&s->guest, 1, 9, true);
	EXPECT_NOTHING(&s->guest);
	fake_device_answer(&s->device, 0);
	expect(&s->guest, VMBUS_GPADL_TORNDOWN, 12);
	/* And where the device refuses it, there is nothing left to tear down. */
	guest_send_gpadl(&s->guest, 1, 9, 2, 0);
	guest_send_teardown(&s->guest, 1, 9);
	s->device.status = -EFAULT;
	fake_device_answer_all(&s->device);
	expect_created(&s->guest, 1, 9, false);
	expect(&s->guest, VMBUS_GPADL_TORNDOWN, 12);
	assert_int_equal(gpadls_alive(s), 0);
}

static void a_gpadl_that_is_not_complete_can_be_torn_down(void **state)
{
	struct setup *s = *state;

	connect_guest(&s->guest, 0x50003);
	guest_send(&s->guest, linux_header, 20);
	assert_int_equal(gpadls_alive(s), 1);
	guest_send_teardown(&s->guest, 1, 0xe1e10);
	expect(&s->guest, VMBUS_GPADL_TORNDOWN, 12);
	assert_int_equal(gpadls_alive(s), 0);
	assert_int_equal(s->device.total[FAKE_GPADL_TEARDOWN], 0);
}

static void teardown_through_a_foreign_channel_is_dropped(void **state)
{
	struct setup *s = *state;

	connect_guest(&s->guest, 0x50003);
	guest_send_gpadl(&s->guest, 1, 9, 2, 0);
	expect_created(&s->guest, 1, 9, true);
	guest_send_teardown(&s->guest, 2, 9);
	guest_send_teardown(&s->guest, 1, 10);
	EXPECT_NOTHING(&s->guest);
	assert_int_equal(gpadls_alive(s), 1);
}

static void the_ring_of_an_open_channel_is_torn_down_after_the_close(void **state)
{
	struct setup *s = *state;

	connect_guest(&s->guest, 0x50003);
	open_first(s);
	guest_send_teardown(&s->guest, 1, 0xe1e10);
	EXPECT_NOTHING(&s->guest);
	assert_int_equal(s->device.total[FAKE_GPADL_TEARDOWN], 0);
	s->device.later = true;
	guest_send_relid(&s->guest, VMBUS_CLOSE_CHANNEL, 1);
	EXPECT_NOTHING(&s->guest);
	fake_device_answer(&s->device, 0); /* the close */
	EXPECT_NOTHING(&s->guest);
	assert_int_equal(s->device.total[FAKE_GPADL_TEARDOWN], 1);
	fake_device_answer(&s->device, 0);
	expect(&s->guest, VMBUS_GPADL_TORNDOWN, 12);
}

static void the_number_of_gpadls_is_bounded(void **state)
{
	struct setup *s = *state;

	connect_guest(&s->guest, 0x50003);
	for (uint32_t id = 0; id < SERVER_MAX_GPADLS; id++) {
		uint8_t message[20];

		memcpy(message, linux_header, sizeof(message));
		put_le32(message + 12, id);
		guest_send(&s->guest, message, sizeof(message)); /* left incomplete */
	}
	EXPECT_NOTHING(&s->guest);
	guest_send_gpadl(&s->guest, 1, 0xfffff, 1, 0);
	expect_created(&s->guest, 1, 0xfffff, false);
	assert_int_equal(gpadls_alive(s), SERVER_MAX_GPADLS);
	guest_send_empty(&s->guest, VMBUS_UNLOAD);
	expect(&s->guest, VMBUS_UNLOAD_RESPONSE, 8);
	assert_int_equal(gpadls_alive(s), 0);
}

static void the_memory_for_page_lists_is_bounded(void **state)
{
	struct setup *s = *state;
	uint64_t bytes = 0;
	uint32_t id = 0;

	connect_guest(&s->guest, 0x50003);
	for (; bytes + 65528 <= SERVER_MAX_GPADL_BYTES; id++, bytes += 65528) {
		uint8_t message[20];

		memcpy(message, linux_header, sizeof(message));
		put_le32(message + 12, id);
		put_le16(message + 16, 65528);
		guest_send(&s->guest, message, sizeof(message));
	}
	EXPECT_NOTHING(&s->guest);
	guest_send_gpadl(&s->guest, 1, id, 8190, 0);
	expect_created(&s->guest, 1, id, false);
	EXPECT_NOTHING(&s->guest); /* its bodies had no header */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_gpadl_in_one_header_is_created),
		TEST(gpadls_of_every_length_are_assembled),
		TEST(two_gpadls_may_be_on_their_way_at_once),
		TEST(more_bytes_than_declared_are_cut_off),
		TEST(headers_that_lie_are_refused),
		TEST(a_gpadl_for_a_channel_that_is_not_offered_is_refused),
		TEST(an_id_in_use_is_refused_on_every_channel),
		TEST(an_id_stays_taken_until_the_device_lets_go),
		TEST(a_device_may_refuse_a_gpadl),
		TEST(teardown_may_overtake_creation),
		TEST(a_gpadl_that_is_not_complete_can_be_torn_down),
		TEST(teardown_through_a_foreign_channel_is_dropped),
		TEST(the_ring_of_an_open_channel_is_torn_down_after_the_close),
		TEST(the_number_of_gpadls_is_bounded),
		TEST(the_memory_for_page_lists_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
