/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The heartbeat component against a guest that answers as hv_utils does, and one that stops.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/deadline.h"
#include "ic/heartbeat.h"
#include "tests/unit/ic/util_guest.h"

#define PERIOD_MS 5

struct setup {
	struct util_guest guest;
	struct ic_heartbeat *heartbeat;
};

static int prepare(void **state)
{
	struct setup *s = calloc(1, sizeof(*s));

	if (!s)
		return -1;
	*state = s;
	util_guest_init(&s->guest);
	if (ic_heartbeat_create(&s->guest.bus, PERIOD_MS, &s->heartbeat) != 0)
		return -1;
	util_guest_connect(&s->guest);
	return 0;
}

static int clean_up(void **state)
{
	struct setup *s = *state;

	ic_heartbeat_destroy(s->heartbeat);
	util_guest_fini(&s->guest);
	free(s);
	return 0;
}

static enum ic_heartbeat_health health(struct setup *s)
{
	struct ic_heartbeat_state now;

	ic_heartbeat_get(s->heartbeat, &now);
	return now.health;
}

/* Lets both work until the guest's health is as wanted; false after ten seconds. */
static bool wait_for(struct setup *s, enum ic_heartbeat_health wanted)
{
	struct deadline deadline = deadline_in_ms(10000);

	while (health(s) != wanted) {
		if (deadline_passed(deadline))
			return false;
		util_guest_run(&s->guest, PERIOD_MS);
	}
	return true;
}

static bool wait_for_beats(struct setup *s, uint64_t beats)
{
	struct deadline deadline = deadline_in_ms(10000);
	struct ic_heartbeat_state now;

	for (;;) {
		ic_heartbeat_get(s->heartbeat, &now);
		if (now.beats >= beats)
			return true;
		if (deadline_passed(deadline))
			return false;
		util_guest_run(&s->guest, PERIOD_MS);
	}
}

static void a_guest_without_the_driver_is_absent(void **state)
{
	struct setup *s = *state;
	struct ic_heartbeat_state now;

	util_guest_run(&s->guest, PERIOD_MS);
	ic_heartbeat_get(s->heartbeat, &now);
	assert_int_equal(now.health, IC_HEARTBEAT_ABSENT);
	assert_true(now.beats == 0 && now.last_answer_ms == UINT64_MAX);
	assert_string_equal(ic_heartbeat_health_name(now.health), "absent");
}

static void a_guest_that_answers_is_well(void **state)
{
	struct setup *s = *state;
	struct ic_heartbeat_state now;

	util_guest_open(&s->guest);
	assert_true(wait_for_beats(s, 5));
	ic_heartbeat_get(s->heartbeat, &now);
	assert_int_equal(now.health, IC_HEARTBEAT_OK);
	assert_true(now.last_answer_ms < 10000);
	assert_int_equal(get_le16(s->guest.last + 12), 1);
	assert_true(s->guest.last_bytes >= 28 + 40);
}

static void a_guest_that_stops_answering_is_lost_and_comes_back(void **state)
{
	struct setup *s = *state;

	util_guest_open(&s->guest);
	assert_true(wait_for_beats(s, 1));
	s->guest.manner = UTIL_SILENT;
	assert_true(wait_for(s, IC_HEARTBEAT_LOST));
	assert_string_equal(ic_heartbeat_health_name(IC_HEARTBEAT_LOST), "lost");
	s->guest.manner = UTIL_LIKE_LINUX;
	assert_true(wait_for(s, IC_HEARTBEAT_OK));
}

static void answers_to_other_beats_do_not_count(void **state)
{
	struct setup *s = *state;
	struct ic_heartbeat_state now;

	s->guest.manner = UTIL_LIES;
	util_guest_open(&s->guest);
	assert_true(wait_for(s, IC_HEARTBEAT_LOST));
	ic_heartbeat_get(s->heartbeat, &now);
	assert_true(now.beats == 0);
}

static void a_closed_service_beats_no_more(void **state)
{
	struct setup *s = *state;
	unsigned received;

	util_guest_open(&s->guest);
	assert_true(wait_for_beats(s, 2));
	util_guest_close(&s->guest);
	assert_int_equal(health(s), IC_HEARTBEAT_ABSENT);
	received = s->guest.received;
	for (int i = 0; i < 5; i++)
		util_guest_run(&s->guest, PERIOD_MS);
	assert_int_equal(s->guest.received, received);
	util_guest_open(&s->guest);
	assert_true(wait_for_beats(s, 2));
}

static void a_broken_ring_ends_the_beats(void **state)
{
	struct setup *s = *state;

	util_guest_open(&s->guest);
	assert_true(wait_for_beats(s, 1));
	s->guest.manner = UTIL_SILENT;
	atomic_store(&s->guest.in.control[1], 0x7fffffff); /* read index */
	assert_true(wait_for(s, IC_HEARTBEAT_ABSENT));
	for (int i = 0; i < 5; i++)
		util_guest_run(&s->guest, PERIOD_MS);
	assert_int_equal(health(s), IC_HEARTBEAT_ABSENT);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, prepare, clean_up)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_guest_without_the_driver_is_absent),
		TEST(a_guest_that_answers_is_well),
		TEST(a_guest_that_stops_answering_is_lost_and_comes_back),
		TEST(answers_to_other_beats_do_not_count),
		TEST(a_closed_service_beats_no_more),
		TEST(a_broken_ring_ends_the_beats),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
