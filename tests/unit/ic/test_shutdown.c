/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The shutdown component against a guest that answers as hv_utils does.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "ic/shutdown.h"
#include "tests/unit/ic/util_guest.h"
#include "wire/ic.h"

struct setup {
	struct util_guest guest;
	struct ic_shutdown *shutdown;
	unsigned answers;
	bool accepted;
};

static void on_answered(void *ctx, bool accepted)
{
	struct setup *s = ctx;

	s->answers++;
	s->accepted = accepted;
}

static int prepare(void **state)
{
	struct setup *s = calloc(1, sizeof(*s));

	if (!s)
		return -1;
	*state = s;
	util_guest_init(&s->guest);
	if (ic_shutdown_create(&s->guest.bus, on_answered, s, &s->shutdown) != 0)
		return -1;
	util_guest_connect(&s->guest);
	return 0;
}

static int clean_up(void **state)
{
	struct setup *s = *state;

	ic_shutdown_destroy(s->shutdown);
	util_guest_fini(&s->guest);
	free(s);
	return 0;
}

static void the_service_is_offered_under_its_guid(void **state)
{
	struct setup *s = *state;
	static const uint8_t type[] = VMBUS_INTERFACE_SHUTDOWN;
	static const uint8_t wire[] = {0x31, 0x60, 0x0b, 0x0e, 0x13, 0x52, 0x34, 0x49,
				       0x81, 0x8b, 0x38, 0xd9, 0x0c, 0xed, 0x39, 0xdb};

	assert_memory_equal(s->guest.interface_type, type, 16);
	assert_memory_equal(type, wire, 16);
}

static void a_power_off_reaches_the_guest_and_its_answer_comes_back(void **state)
{
	struct setup *s = *state;
	const uint8_t *body = s->guest.last + 28;

	assert_int_equal(ic_shutdown_request(s->shutdown, IC_POWER_OFF, 30), -ENOTCONN);
	util_guest_open(&s->guest);
	assert_int_equal(s->guest.last_status, 0);
	util_guest_run(&s->guest, 0);
	assert_true(ic_shutdown_is_ready(s->shutdown));
	assert_int_equal(ic_shutdown_request(s->shutdown, IC_POWER_OFF, 30), 0);
	util_guest_run(&s->guest, 0);
	/* What hv_util wants: type 3, a whole shutdown_msg_data, flags 0. */
	assert_int_equal(get_le16(s->guest.last + 12), 3);
	assert_true(s->guest.last_bytes >= 28 + 2060);
	assert_int_equal(get_le16(s->guest.last + 14), 3); /* message version 3.2 */
	assert_int_equal(get_le16(s->guest.last + 16), 2);
	assert_true(get_le32(body) == 0x80000000);
	assert_int_equal(get_le32(body + 4), 30);
	assert_int_equal(get_le32(body + 8), 0);
	assert_int_equal(s->answers, 1);
	assert_true(s->accepted);
}

static void a_restart_has_its_own_flag(void **state)
{
	struct setup *s = *state;

	util_guest_open(&s->guest);
	util_guest_run(&s->guest, 0);
	s->guest.manner = UTIL_REFUSES;
	assert_int_equal(ic_shutdown_request(s->shutdown, IC_RESTART, 5), 0);
	util_guest_run(&s->guest, 0);
	assert_int_equal(get_le32(s->guest.last + 28 + 8), 2);
	assert_int_equal(s->answers, 1);
	assert_false(s->accepted);
}

/* hv_util reads one message an interrupt: the second must not be left in the ring. */
static void two_requests_in_a_row_are_both_read(void **state)
{
	struct setup *s = *state;

	util_guest_open(&s->guest);
	util_guest_run(&s->guest, 0);
	s->guest.received = 0;
	assert_int_equal(ic_shutdown_request(s->shutdown, IC_POWER_OFF, 1), 0);
	assert_int_equal(ic_shutdown_request(s->shutdown, IC_RESTART, 2), 0);
	util_guest_run(&s->guest, 0);
	util_guest_run(&s->guest, 0);
	assert_int_equal(s->guest.received, 2);
	/* The first was superseded. */
	assert_int_equal(s->answers, 1);
}

static void a_guest_that_reads_nothing_fills_its_ring_and_no_more(void **state)
{
	struct setup *s = *state;
	int rc;

	util_guest_open(&s->guest);
	util_guest_run(&s->guest, 0);
	s->guest.manner = UTIL_SILENT;
	for (int i = 0; i < 100; i++)
		rc = ic_shutdown_request(s->shutdown, IC_POWER_OFF, 1);
	assert_int_equal(rc, -EAGAIN);
	assert_true(ic_shutdown_is_ready(s->shutdown));
}

static void after_a_close_the_guest_can_open_again(void **state)
{
	struct setup *s = *state;
	struct vmbus_server_counts counts;

	for (int i = 0; i < 3; i++) {
		util_guest_open(&s->guest);
		assert_int_equal(s->guest.last_status, 0);
		util_guest_run(&s->guest, 0);
		assert_true(ic_shutdown_is_ready(s->shutdown));
		util_guest_close(&s->guest);
		assert_false(ic_shutdown_is_ready(s->shutdown));
		assert_int_equal(s->guest.kick, -1);
		vmbus_server_get_counts(s->guest.server, &counts);
		assert_int_equal(counts.open + counts.gpadls, 0);
	}
}

static void versions_that_nobody_shares_switch_the_service_off(void **state)
{
	struct setup *s = *state;
	const enum util_manner manners[] = {UTIL_NO_VERSION, UTIL_ODD_VERSION};

	for (size_t i = 0; i < 2; i++) {
		s->guest.manner = manners[i];
		util_guest_open(&s->guest);
		util_guest_run(&s->guest, 0);
		assert_false(ic_shutdown_is_ready(s->shutdown));
		assert_int_equal(ic_shutdown_request(s->shutdown, IC_POWER_OFF, 1), -ENOTCONN);
		util_guest_kick(&s->guest);
		util_guest_run(&s->guest, 0);
		util_guest_close(&s->guest);
	}
	s->guest.manner = UTIL_LIKE_LINUX;
	util_guest_open(&s->guest);
	util_guest_run(&s->guest, 0);
	assert_true(ic_shutdown_is_ready(s->shutdown));
}

static void a_broken_ring_switches_the_service_off_until_the_next_open(void **state)
{
	struct setup *s = *state;

	util_guest_open(&s->guest);
	util_guest_run(&s->guest, 0);
	atomic_store(&s->guest.out.control[0], 3); /* write index */
	util_guest_kick(&s->guest);
	util_guest_run(&s->guest, 0);
	assert_false(ic_shutdown_is_ready(s->shutdown));
	util_guest_kick(&s->guest);
	util_guest_run(&s->guest, 0);
	util_guest_close(&s->guest);

	util_guest_open(&s->guest);
	util_guest_run(&s->guest, 0);
	assert_true(ic_shutdown_is_ready(s->shutdown));
	atomic_store(&s->guest.in.control[1], 0x7fffffff); /* read index */
	for (int i = 0; i < 100 && ic_shutdown_is_ready(s->shutdown); i++)
		ic_shutdown_request(s->shutdown, IC_POWER_OFF, 1);
	assert_false(ic_shutdown_is_ready(s->shutdown));
}

static void messages_that_are_no_answers_are_ignored(void **state)
{
	struct setup *s = *state;
	uint8_t junk[64];

	util_guest_open(&s->guest);
	util_guest_run(&s->guest, 0);
	memset(junk, 0xff, sizeof(junk));
	for (size_t length = 0; length <= sizeof(junk); length += 4)
		util_guest_send(&s->guest, junk, length);
	/* More than one turn of the loop takes. */
	for (int i = 0; i < 100; i++)
		util_guest_send(&s->guest, junk, 8);
	for (int i = 0; i < 20; i++)
		util_guest_run(&s->guest, 0);
	assert_int_equal(ring_writable_bytes(&s->guest.out), 3 * 4096 - 8);
	assert_int_equal(s->answers, 0);
	assert_true(ic_shutdown_is_ready(s->shutdown));
}

static void an_open_that_the_engine_cannot_serve_fails(void **state)
{
	struct setup *s = *state;

	s->guest.refuse_connect = true;
	util_guest_open(&s->guest);
	assert_int_not_equal(s->guest.last_status, 0);
	assert_false(ic_shutdown_is_ready(s->shutdown));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, prepare, clean_up)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_service_is_offered_under_its_guid),
		TEST(a_power_off_reaches_the_guest_and_its_answer_comes_back),
		TEST(a_restart_has_its_own_flag),
		TEST(two_requests_in_a_row_are_both_read),
		TEST(a_guest_that_reads_nothing_fills_its_ring_and_no_more),
		TEST(after_a_close_the_guest_can_open_again),
		TEST(versions_that_nobody_shares_switch_the_service_off),
		TEST(a_broken_ring_switches_the_service_off_until_the_next_open),
		TEST(messages_that_are_no_answers_are_ignored),
		TEST(an_open_that_the_engine_cannot_serve_fails),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
