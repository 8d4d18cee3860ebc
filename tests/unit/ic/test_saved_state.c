/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Integration components that move to another host with their guest: what was agreed stays agreed,
 * what waits in a ring is found there, and paused nobody touches the ring.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/state.h"
#include "ic/heartbeat.h"
#include "ic/shutdown.h"
#include "tests/unit/ic/util_guest.h"
#include "tests/unit/vmbus/memory_fixture.h"
#include "vmbus/guest_memory.h"
#include "wire/ic.h"

#define PERIOD_MS 5
#define SINT_PAGE 1 /* the guest's event flags: util_guest.c */
#define RING_PAGE 8

struct setup {
	struct util_guest guest;
	struct ic_shutdown *shutdown;
	struct ic_heartbeat *heartbeat;
	struct state_writer writer; /* the component's section, then the bus's */
	unsigned answers;
	bool accepted;
	int bus_status;
};

static void on_answered(void *ctx, bool accepted)
{
	struct setup *s = ctx;

	s->answers++;
	s->accepted = accepted;
}

static void component_make(struct setup *s, bool heartbeat)
{
	if (heartbeat)
		assert_int_equal(ic_heartbeat_create(&s->guest.bus, PERIOD_MS, &s->heartbeat), 0);
	else
		assert_int_equal(ic_shutdown_create(&s->guest.bus, on_answered, s, &s->shutdown),
				 0);
}

static int prepare(void **state)
{
	struct setup *s = calloc(1, sizeof(*s));

	if (!s)
		return -1;
	*state = s;
	util_guest_init(&s->guest);
	state_writer_init(&s->writer);
	return 0;
}

static int clean_up(void **state)
{
	struct setup *s = *state;

	ic_shutdown_destroy(s->shutdown);
	ic_heartbeat_destroy(s->heartbeat);
	util_guest_fini(&s->guest);
	state_writer_fini(&s->writer);
	free(s);
	return 0;
}

/* The guest of one component, with its driver's channel open; runs until versions are agreed. */
static void start(struct setup *s, bool heartbeat)
{
	component_make(s, heartbeat);
	util_guest_connect(&s->guest);
	util_guest_open(&s->guest);
	util_guest_run(&s->guest, 0);
}

static void pause_and_save(struct setup *s)
{
	if (s->heartbeat) {
		ic_heartbeat_pause(s->heartbeat);
		ic_heartbeat_save(s->heartbeat, &s->writer);
	} else {
		ic_shutdown_pause(s->shutdown);
		ic_shutdown_save(s->shutdown, &s->writer);
	}
	assert_int_equal(vmbus_server_save(s->guest.server, &s->writer), 0);
	assert_int_equal(state_writer_result(&s->writer), 0);
}

static void on_bus_restored(void *ctx, int status)
{
	((struct setup *)ctx)->bus_status = status;
}

/* Leaves the host, finds another, and makes the component there anew out of what was saved. Returns
 * what the restore of component and bus say. */
static int change_host(struct setup *s)
{
	bool heartbeat = s->heartbeat != NULL;
	struct state_reader reader, section;
	int rc;

	ic_shutdown_destroy(s->shutdown);
	ic_heartbeat_destroy(s->heartbeat);
	s->shutdown = NULL;
	s->heartbeat = NULL;
	util_guest_change_host(&s->guest);
	component_make(s, heartbeat);
	state_reader_init(&reader, s->writer.bytes, s->writer.length);
	assert_int_equal(state_next(&reader, &section), 1);
	if (heartbeat)
		rc = ic_heartbeat_restore(s->heartbeat, &section);
	else
		rc = ic_shutdown_restore(s->shutdown, &section);
	if (rc < 0)
		return rc;
	assert_int_equal(state_next(&reader, &section), 1);
	s->bus_status = 1;
	rc = vmbus_server_restore(s->guest.server, &section, on_bus_restored, s);
	if (rc < 0)
		return rc;
	assert_int_not_equal(s->bus_status, 1);
	return s->bus_status;
}

static void move(struct setup *s)
{
	pause_and_save(s);
	assert_int_equal(change_host(s), 0);
	if (s->heartbeat)
		ic_heartbeat_resume(s->heartbeat);
	else
		ic_shutdown_resume(s->shutdown);
}

static void saved_shutdown_has_these_bytes(void **state)
{
	struct setup *s = *state;
	static const uint8_t golden[] = {
		'S', 'H', 'U', 'T', 1, 0, 1, 0, 22, 0, 0, 0,
		/* channel: ready, framework 3.0, message 3.2, transaction 1 */
		'I', 'C', 'C', 'H', 1, 0, 1, 0, 10, 0, 0, 0, 2, 3, 0, 0, 0, 3, 0, 2, 0, 1};

	start(s, false);
	ic_shutdown_save(s->shutdown, &s->writer);
	assert_int_equal(s->writer.length, sizeof(golden));
	assert_memory_equal(s->writer.bytes, golden, sizeof(golden));
}

static void saved_heartbeat_has_these_bytes(void **state)
{
	struct setup *s = *state;
	static const uint8_t golden[] = {'H', 'B', 'E', 'A', 1, 0, 1, 0, 50, 0, 0, 0,
					 /* channel: negotiating, no versions yet, transaction 1 */
					 'I', 'C', 'C', 'H', 1, 0, 1, 0, 10, 0, 0, 0, 1, 0, 0, 0, 0,
					 0, 0, 0, 0, 1,
					 /* no beat yet, none answered ever */
					 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
					 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

	s->guest.manner = UTIL_SILENT;
	start(s, true);
	ic_heartbeat_save(s->heartbeat, &s->writer);
	assert_int_equal(s->writer.length, sizeof(golden));
	assert_memory_equal(s->writer.bytes, golden, sizeof(golden));
}

static void service_that_was_ready_is_ready_without_negotiating(void **state)
{
	struct setup *s = *state;

	start(s, false);
	s->guest.received = 0;
	s->guest.interrupts = 0;
	move(s);
	assert_true(ic_shutdown_is_ready(s->shutdown));
	util_guest_run(&s->guest, 0);
	assert_int_equal(s->guest.received, 0);
	assert_int_equal(s->guest.interrupts,
			 1); /* it may wait for room, of which it was not told */
	assert_int_equal(ic_shutdown_request(s->shutdown, IC_POWER_OFF, 30), 0);
	util_guest_run(&s->guest, 0);
	assert_int_equal(s->guest.received, 1);
	assert_int_equal(get_le16(s->guest.last + 14), 3); /* message version 3.2 still */
	assert_int_equal(get_le16(s->guest.last + 16), 2);
	assert_int_equal(s->answers, 1);
	assert_true(s->accepted);
	/* and the channel is as good as any */
	util_guest_close(&s->guest);
	assert_false(ic_shutdown_is_ready(s->shutdown));
	util_guest_open(&s->guest);
	util_guest_run(&s->guest, 0);
	assert_true(ic_shutdown_is_ready(s->shutdown));
}

static void answer_that_lies_in_the_ring_is_read_elsewhere(void **state)
{
	struct setup *s = *state;

	start(s, false);
	s->guest.manner = UTIL_REFUSES;
	assert_int_equal(ic_shutdown_request(s->shutdown, IC_POWER_OFF, 30), 0);
	ic_shutdown_pause(s->shutdown);
	util_guest_run(&s->guest, 0); /* the guest answers, the host looks away */
	assert_int_equal(s->answers, 0);
	move(s);
	util_guest_run(&s->guest, 0);
	assert_int_equal(s->answers, 1);
	assert_false(s->accepted);
}

static void request_whose_interrupt_was_lost_is_signalled_again(void **state)
{
	struct setup *s = *state;
	uint64_t count;

	start(s, false);
	assert_int_equal(ic_shutdown_request(s->shutdown, IC_POWER_OFF, 30), 0);
	assert_int_equal(read(s->guest.sint, &count, sizeof(count)), sizeof(count));
	/* the flag is taken, the interrupt gone, the message not read */
	memset((uint8_t *)guest_memory_for_write(s->guest.memory, SINT_PAGE * 4096 + 512, 256), 0,
	       256);
	move(s);
	util_guest_run(&s->guest, 0);
	assert_int_equal(s->answers, 1);
}

static void negotiation_is_finished_elsewhere(void **state)
{
	struct setup *s = *state;

	s->guest.manner = UTIL_SILENT;
	start(s, false);
	assert_false(ic_shutdown_is_ready(s->shutdown));
	s->guest.manner = UTIL_LIKE_LINUX;
	move(s);
	util_guest_run(&s->guest, 0);
	assert_true(ic_shutdown_is_ready(s->shutdown));
}

static void broken_service_stays_off_until_it_is_opened_again(void **state)
{
	struct setup *s = *state;

	start(s, false);
	atomic_store(&s->guest.out.control[0], 3); /* write index */
	util_guest_kick(&s->guest);
	util_guest_run(&s->guest, 0);
	assert_false(ic_shutdown_is_ready(s->shutdown));
	move(s);
	assert_false(ic_shutdown_is_ready(s->shutdown));
	util_guest_kick(&s->guest);
	util_guest_run(&s->guest, 0);
	util_guest_close(&s->guest);
	util_guest_open(&s->guest);
	util_guest_run(&s->guest, 0);
	assert_true(ic_shutdown_is_ready(s->shutdown));
}

static void ring_that_the_guest_has_just_broken_stops_no_move(void **state)
{
	struct setup *s = *state;

	start(s, false);
	atomic_store(&s->guest.out.control[0], 3);
	move(s);
	assert_false(ic_shutdown_is_ready(s->shutdown));
	util_guest_kick(&s->guest);
	util_guest_run(&s->guest, 0);
	util_guest_close(&s->guest);
	util_guest_open(&s->guest);
	util_guest_run(&s->guest, 0);
	assert_true(ic_shutdown_is_ready(s->shutdown));
}

static void service_that_no_guest_has_open_is_restored(void **state)
{
	struct setup *s = *state;

	component_make(s, false);
	util_guest_connect(&s->guest);
	move(s);
	assert_false(ic_shutdown_is_ready(s->shutdown));
	util_guest_open(&s->guest);
	util_guest_run(&s->guest, 0);
	assert_true(ic_shutdown_is_ready(s->shutdown));
}

static int rings_dirty(struct setup *s)
{
	int dirty = fixture_take_dirty(s->guest.memory, SINT_PAGE);

	for (uint64_t page = RING_PAGE; page < RING_PAGE + 2 * UTIL_RING_PAGES; page++)
		dirty += fixture_take_dirty(s->guest.memory, page);
	return dirty;
}

static void paused_component_leaves_the_guest_alone(void **state)
{
	struct setup *s = *state;
	const uint8_t junk[8] = {0};

	start(s, false);
	ic_shutdown_pause(s->shutdown);
	rings_dirty(s);
	util_guest_kick(&s->guest);
	util_guest_run(&s->guest, 0);
	assert_int_equal(ic_shutdown_request(s->shutdown, IC_POWER_OFF, 1), -EAGAIN);
	assert_int_equal(rings_dirty(s), 0);
	util_guest_send(&s->guest, junk, sizeof(junk));
	util_guest_run(&s->guest, 0);
	assert_int_equal(ring_writable_bytes(&s->guest.out), 3 * 4096 - 8 - 32);
	ic_shutdown_resume(s->shutdown); /* the move was given up */
	util_guest_run(&s->guest, 0);
	assert_int_equal(ring_writable_bytes(&s->guest.out), 3 * 4096 - 8);
	assert_int_equal(ic_shutdown_request(s->shutdown, IC_POWER_OFF, 1), 0);
	util_guest_run(&s->guest, 0);
	assert_int_equal(s->answers, 1);
}

static void channel_that_opens_while_paused_negotiates_after_it(void **state)
{
	struct setup *s = *state;

	component_make(s, false);
	util_guest_connect(&s->guest);
	ic_shutdown_pause(s->shutdown);
	util_guest_open(&s->guest);
	util_guest_run(&s->guest, 0);
	assert_false(ic_shutdown_is_ready(s->shutdown));
	ic_shutdown_resume(s->shutdown);
	util_guest_run(&s->guest, 0);
	assert_true(ic_shutdown_is_ready(s->shutdown));
}

static void paused_heart_does_not_beat_and_counts_on_elsewhere(void **state)
{
	struct setup *s = *state;
	struct ic_heartbeat_state before, after;
	unsigned received;

	start(s, true);
	for (int i = 0; i < 2000; i++) {
		ic_heartbeat_get(s->heartbeat, &before);
		if (before.beats >= 3)
			break;
		util_guest_run(&s->guest, PERIOD_MS);
	}
	assert_true(before.beats >= 3);
	pause_and_save(s);
	received = s->guest.received;
	for (int i = 0; i < 5; i++)
		util_guest_run(&s->guest, PERIOD_MS);
	assert_int_equal(s->guest.received, received);
	assert_int_equal(change_host(s), 0);
	ic_heartbeat_get(s->heartbeat, &after);
	assert_int_equal(after.health, IC_HEARTBEAT_OK);
	assert_int_equal(after.beats, before.beats);
	assert_true(after.last_answer_ms < 60000);
	ic_heartbeat_resume(s->heartbeat);
	for (int i = 0; i < 2000 && after.beats < before.beats + 2; i++) {
		util_guest_run(&s->guest, PERIOD_MS);
		ic_heartbeat_get(s->heartbeat, &after);
	}
	assert_true(after.beats >= before.beats + 2);
	assert_int_equal(after.health, IC_HEARTBEAT_OK);
}

static void age_that_is_older_than_the_host_is_no_wonder(void **state)
{
	struct setup *s = *state;
	struct ic_heartbeat_state now;
	const uint64_t ages[] = {0, 1000, UINT64_MAX / 1000, UINT64_MAX - 1};

	start(s, true);
	pause_and_save(s);
	for (size_t i = 0; i < ARRAY_LENGTH(ages); i++) {
		put_le64(s->writer.bytes + 12 + 50 - 8, ages[i]);
		assert_int_equal(change_host(s), 0);
		ic_heartbeat_get(s->heartbeat, &now);
		assert_true(now.last_answer_ms != UINT64_MAX);
		ic_heartbeat_pause(s->heartbeat);
	}
}

static void state_that_the_bus_contradicts_is_refused(void **state)
{
	struct setup *s = *state;

	start(s, false);
	pause_and_save(s);
	s->writer.bytes[12 + 12] = 0; /* closed, says the component */
	assert_int_equal(change_host(s), -EPROTO);
}

static void host_that_cannot_connect_the_event_fails_the_restore(void **state)
{
	struct setup *s = *state;

	start(s, false);
	pause_and_save(s);
	s->guest.refuse_connect = true;
	assert_int_equal(change_host(s), -ENOSPC);
}

static void version_that_is_not_offered_here_is_refused(void **state)
{
	struct setup *s = *state;

	start(s, false);
	pause_and_save(s);
	put_le16(s->writer.bytes + 12 + 12 + 5, 9); /* the message version's major */
	assert_int_equal(change_host(s), -EOPNOTSUPP);
}

static int restore_bytes(struct setup *s, const uint8_t *bytes, size_t length)
{
	struct state_reader reader, section;
	int rc;

	state_reader_init(&reader, bytes, length);
	rc = state_next(&reader, &section);
	if (rc < 0)
		return rc;
	return s->heartbeat ? ic_heartbeat_restore(s->heartbeat, &section)
			    : ic_shutdown_restore(s->shutdown, &section);
}

static void sections_that_are_cut_or_newer_are_refused(void **state)
{
	struct setup *s = *state;
	uint8_t bytes[128];
	size_t length;

	for (int heartbeat = 0; heartbeat <= 1; heartbeat++) {
		component_make(s, heartbeat);
		state_writer_fini(&s->writer);
		if (heartbeat)
			ic_heartbeat_save(s->heartbeat, &s->writer);
		else
			ic_shutdown_save(s->shutdown, &s->writer);
		length = s->writer.length;
		memcpy(bytes, s->writer.bytes, length);
		assert_int_equal(restore_bytes(s, bytes, length), 0);
		for (size_t cut = 1; cut < length; cut++) {
			if (cut >= STATE_HEADER_BYTES)
				put_le32(bytes + 8, (uint32_t)(cut - STATE_HEADER_BYTES));
			assert_int_equal(restore_bytes(s, bytes, cut), -EPROTO);
		}
		memcpy(bytes, s->writer.bytes, length);
		put_le16(bytes + 4, 2); /* newer, readable by 1 */
		put_le32(bytes + length, 0x12345678);
		put_le32(bytes + 8, (uint32_t)(length + 4 - STATE_HEADER_BYTES));
		assert_int_equal(restore_bytes(s, bytes, length + 4), 0);
		put_le16(bytes + 6, 2); /* no longer */
		assert_int_equal(restore_bytes(s, bytes, length + 4), -EOPNOTSUPP);
		put_le16(bytes + 6, 1);
		put_le16(bytes + 12 + 6, 2); /* the channel's */
		assert_int_equal(restore_bytes(s, bytes, length + 4), -EOPNOTSUPP);
		put_le16(bytes + 12 + 6, 1);
		bytes[12 + 12] = 4; /* a state that is none */
		assert_int_equal(restore_bytes(s, bytes, length + 4), -EPROTO);
		ic_shutdown_destroy(s->shutdown);
		ic_heartbeat_destroy(s->heartbeat);
		s->shutdown = NULL;
		s->heartbeat = NULL;
		util_guest_change_host(&s->guest);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, prepare, clean_up)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(saved_shutdown_has_these_bytes),
		TEST(saved_heartbeat_has_these_bytes),
		TEST(service_that_was_ready_is_ready_without_negotiating),
		TEST(answer_that_lies_in_the_ring_is_read_elsewhere),
		TEST(request_whose_interrupt_was_lost_is_signalled_again),
		TEST(negotiation_is_finished_elsewhere),
		TEST(broken_service_stays_off_until_it_is_opened_again),
		TEST(ring_that_the_guest_has_just_broken_stops_no_move),
		TEST(service_that_no_guest_has_open_is_restored),
		TEST(paused_component_leaves_the_guest_alone),
		TEST(channel_that_opens_while_paused_negotiates_after_it),
		TEST(paused_heart_does_not_beat_and_counts_on_elsewhere),
		TEST(age_that_is_older_than_the_host_is_no_wonder),
		TEST(state_that_the_bus_contradicts_is_refused),
		TEST(host_that_cannot_connect_the_event_fails_the_restore),
		TEST(version_that_is_not_offered_here_is_refused),
		TEST(sections_that_are_cut_or_newer_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
