/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A bus that is saved and made again elsewhere: the guest goes on where it was and hears nothing of
 * it, the devices find everything again. tests/unit/vmbus/test_server_saved_bytes.c has the bytes
 * that lie.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/vmbus/server_expect.h"
#include "vmbus/server_internal.h"

#define RING_GPADL 0xe1e10

/* Where the guest goes: the same devices, another process. */
struct other_side {
	struct fake_guest guest;
	struct fake_device device;
	struct fake_device other;
	struct state_writer writer;
	struct state_reader section;
	unsigned dones;
	int status;
};

static void on_done(void *ctx, int status)
{
	struct other_side *there = ctx;

	there->dones++;
	there->status = status;
}

static void other_side_init(struct other_side *there)
{
	memset(there, 0, sizeof(*there));
	fake_guest_init(&there->guest);
	fake_device_init(&there->device);
	fake_device_init(&there->other);
	state_writer_init(&there->writer);
}

static void other_side_fini(struct other_side *there)
{
	assert_int_equal(there->guest.violations, 0);
	assert_int_equal(there->device.violations, 0);
	assert_int_equal(there->other.violations, 0);
	fake_guest_fini(&there->guest);
	fake_device_fini(&there->device);
	fake_device_fini(&there->other);
	state_writer_fini(&there->writer);
}

static int restore(struct other_side *there, struct fake_guest *from)
{
	struct state_reader reader;

	assert_int_equal(vmbus_server_save(from->server, &there->writer), 0);
	assert_int_equal(state_writer_result(&there->writer), 0);
	state_reader_init(&reader, there->writer.bytes, there->writer.length);
	assert_int_equal(state_next(&reader, &there->section), 1);
	assert_int_equal(there->section.tag, VMBUS_SERVER_STATE_TAG);
	return vmbus_server_restore(there->guest.server, &there->section, on_done, there);
}

/* The whole move, with devices that answer at once. */
static void move(struct other_side *there, struct setup *s)
{
	other_side_init(there);
	assert_int_equal(fake_device_add(&there->device, &there->guest, 0xaa), 0);
	assert_int_equal(fake_device_add(&there->other, &there->guest, 0xbb), 0);
	assert_int_equal(restore(there, &s->guest), 0);
	assert_int_equal(there->dones, 1);
	assert_int_equal(there->status, 0);
	EXPECT_NOTHING(&there->guest);
	assert_int_equal(there->guest.openings, 0);
	assert_int_equal(there->guest.cleanings, 0);
}

static struct vmbus_server_counts counts_of(const struct fake_guest *guest)
{
	struct vmbus_server_counts counts;

	vmbus_server_get_counts(guest->server, &counts);
	return counts;
}

static void bus_without_a_guest_is_restored(void **state)
{
	struct setup *s = *state;
	struct other_side there;

	move(&there, s);
	assert_int_equal(counts_of(&there.guest).version, 0);
	connect_guest(&there.guest, 0x50003);
	other_side_fini(&there);
}

static void bus_before_the_offers_is_restored(void **state)
{
	struct setup *s = *state;
	struct other_side there;

	guest_send_contact(&s->guest, 0x50002, 3);
	move(&there, s);
	guest_send_empty(&there.guest, VMBUS_REQUEST_OFFERS);
	assert_int_equal(expect(&there.guest, VMBUS_OFFER_CHANNEL, 196)->vp, 3);
	expect(&there.guest, VMBUS_OFFER_CHANNEL, 196);
	expect(&there.guest, VMBUS_ALL_OFFERS_DELIVERED, 8);
	other_side_fini(&there);
}

static void open_channel_goes_on_without_a_message(void **state)
{
	struct setup *s = *state;
	struct other_side there;
	const struct vmbus_open_request *open = &there.device.last_open;

	connect_guest(&s->guest, 0x50003);
	open_first(s);
	guest_send_modify(&s->guest, 1, 2);
	move(&there, s);
	assert_int_equal(there.device.total[FAKE_GPADL_CREATED], 1);
	assert_int_equal(there.device.total[FAKE_OPEN], 1);
	assert_int_equal(there.other.total[FAKE_OPEN], 0);
	assert_true(open->restored);
	assert_int_equal(open->relid, 1);
	assert_int_equal(open->connection_id, 1 | 2 << 12);
	assert_int_equal(open->gpadl_id, RING_GPADL);
	assert_int_equal(open->downstream_page_offset, 4);
	assert_int_equal(open->target_vp, 2); /* the last that it was modified to */
	assert_string_equal((const char *)open->user_data, "user data");
	assert_int_equal(counts_of(&there.guest).version, 0x50003);
	assert_int_equal(counts_of(&there.guest).open, 1);
	assert_int_equal(counts_of(&there.guest).offered, 2);

	guest_send_modify(&there.guest, 1, 3);
	expect(&there.guest, VMBUS_MODIFY_CHANNEL_RESPONSE, 16);
	assert_int_equal(there.device.channels[0].target_vp, 3);
	guest_send_relid(&there.guest, VMBUS_CLOSE_CHANNEL, 1);
	guest_send_teardown(&there.guest, 1, RING_GPADL);
	expect(&there.guest, VMBUS_GPADL_TORNDOWN, 12);
	open_first((struct setup *)&there); /* not `restored` any more */
	assert_false(open->restored);
	guest_send_empty(&there.guest, VMBUS_UNLOAD);
	expect(&there.guest, VMBUS_UNLOAD_RESPONSE, 8);
	assert_int_equal(counts_of(&there.guest).gpadls, 0);
	other_side_fini(&there);
}

static void sub_channels_are_offered_and_open_again(void **state)
{
	struct setup *s = *state;
	struct other_side there;

	connect_guest(&s->guest, 0x50003);
	open_first(s);
	assert_int_equal(vmbus_device_offer_sub_channels(s->device.handle, 3), 0);
	for (uint32_t relid = 3; relid <= 4; relid++) { /* the third stays closed */
		guest_send_gpadl(&s->guest, relid, relid, 8, 200);
		guest_send_open(&s->guest, relid, relid, 4, relid - 3);
	}
	move(&there, s);
	assert_int_equal(there.device.total[FAKE_OPEN], 3);
	assert_int_equal(there.device.last_open.sub_index, 2);
	assert_int_equal(there.device.last_open.relid, 4);
	assert_true(there.device.last_open.restored);
	assert_int_equal(counts_of(&there.guest).offered, 5);
	/* They are there already: nothing is offered twice, and what is new gets a new relid. */
	assert_int_equal(vmbus_device_offer_sub_channels(there.device.handle, 4), 0);
	assert_int_equal(get_le32(expect(&there.guest, VMBUS_OFFER_CHANNEL, 196)->bytes + 184), 6);
	EXPECT_NOTHING(&there.guest);
	guest_send_gpadl(&there.guest, 5, 5, 8, 300);
	expect(&there.guest, VMBUS_GPADL_CREATED, 20);
	guest_send_open(&there.guest, 5, 5, 4, 0);
	expect(&there.guest, VMBUS_OPEN_CHANNEL_RESULT, 20);
	/* Closing the primary takes the subs with it, as before. */
	guest_send_relid(&there.guest, VMBUS_CLOSE_CHANNEL, 1);
	assert_int_equal(there.device.total[FAKE_CLOSE], 4);
	for (int i = 0; i < 4; i++)
		expect(&there.guest, VMBUS_RESCIND_CHANNEL_OFFER, 12);
	other_side_fini(&there);
}

static void gpadl_is_assembled_to_its_end_elsewhere(void **state)
{
	struct setup *s = *state;
	struct other_side there;
	/* 24 bytes of ranges, of which the header carries 16: the second page number is missing */
	const uint8_t header[] = {
		8, 0, 0, 0,    0, 0, 0, 0, 2, 0, 0, 0, 0x77, 0, 0, 0, 24, 0,
		1, 0, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 1, 0,    0, 0, 0, 0,  0,
	};
	const uint8_t body[24] = {9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x77, 0, 0, 0, 1, 1};

	connect_guest(&s->guest, 0x50003);
	guest_send(&s->guest, header, sizeof(header));
	move(&there, s);
	assert_int_equal(there.other.total[FAKE_GPADL_CREATED], 0);
	assert_int_equal(counts_of(&there.guest).gpadls, 1);
	guest_send(&there.guest, body, sizeof(body));
	expect(&there.guest, VMBUS_GPADL_CREATED, 20);
	assert_int_equal(there.other.total[FAKE_GPADL_CREATED], 1);
	guest_send_teardown(&there.guest, 2, 0x77);
	expect(&there.guest, VMBUS_GPADL_TORNDOWN, 12);
	other_side_fini(&there);
}

static void teardown_that_waits_for_the_close_is_answered_elsewhere(void **state)
{
	struct setup *s = *state;
	struct other_side there;

	connect_guest(&s->guest, 0x50003);
	open_first(s);
	guest_send_teardown(&s->guest, 1, RING_GPADL);
	EXPECT_NOTHING(&s->guest);
	move(&there, s);
	assert_int_equal(there.device.total[FAKE_GPADL_TEARDOWN], 0);
	guest_send_relid(&there.guest, VMBUS_CLOSE_CHANNEL, 1);
	expect(&there.guest, VMBUS_GPADL_TORNDOWN, 12);
	other_side_fini(&there);
}

static void relid_that_the_guest_has_not_released_stays_taken(void **state)
{
	struct setup *s = *state;
	struct other_side there;
	struct fake_device late;

	connect_guest(&s->guest, 0x50003);
	vmbus_device_rescind(s->device.handle);
	assert_int_equal(s->device.removals, 1);
	other_side_init(&there);
	assert_int_equal(fake_device_add(&there.other, &there.guest, 0xbb), 0);
	assert_int_equal(restore(&there, &s->guest), 0);
	assert_int_equal(there.status, 0);
	fake_device_init(&late);
	assert_int_equal(fake_device_add(&late, &there.guest, 0xaa), -EEXIST);
	EXPECT_NOTHING(&there.guest);
	guest_send_relid(&there.guest, VMBUS_RELID_RELEASED, 1);
	assert_int_equal(fake_device_add(&late, &there.guest, 0xaa), 0);
	assert_int_equal(get_le32(expect(&there.guest, VMBUS_OFFER_CHANNEL, 196)->bytes + 184), 1);
	assert_int_equal(late.violations, 0);
	other_side_fini(&there);
	fake_device_fini(&late);
}

static void former_device_must_be_released_before_it_is_restored_anew(void **state)
{
	struct setup *s = *state;
	struct other_side there;

	connect_guest(&s->guest, 0x50003);
	vmbus_device_rescind(s->device.handle);
	other_side_init(&there);
	assert_int_equal(fake_device_add(&there.device, &there.guest, 0xaa), 0);
	assert_int_equal(fake_device_add(&there.other, &there.guest, 0xbb), 0);
	assert_int_equal(restore(&there, &s->guest), -EBUSY);
	assert_int_equal(there.dones, 0);
	other_side_fini(&there);
}

static void relids_are_those_of_the_source_however_devices_are_added(void **state)
{
	struct setup *s = *state;
	struct other_side there;

	connect_guest(&s->guest, 0x50003);
	open_first(s);
	assert_int_equal(vmbus_device_offer_sub_channels(s->device.handle, 1), 0);
	other_side_init(&there);
	assert_int_equal(fake_device_add(&there.other, &there.guest, 0xbb), 0);
	assert_int_equal(fake_device_add(&there.device, &there.guest, 0xaa), 0);
	assert_int_equal(restore(&there, &s->guest), 0);
	assert_int_equal(there.status, 0);
	assert_int_equal(there.device.last_open.relid, 1);
	guest_send_gpadl(&there.guest, 2, 9, 8, 0);
	expect(&there.guest, VMBUS_GPADL_CREATED, 20);
	guest_send_open(&there.guest, 2, 9, 4, 0);
	expect(&there.guest, VMBUS_OPEN_CHANNEL_RESULT, 20);
	assert_int_equal(there.other.last_open.relid, 2);
	guest_send_gpadl(&there.guest, 3, 10, 8, 0);
	expect(&there.guest, VMBUS_GPADL_CREATED, 20);
	guest_send_open(&there.guest, 3, 10, 4, 0);
	expect(&there.guest, VMBUS_OPEN_CHANNEL_RESULT, 20);
	assert_int_equal(there.device.last_open.sub_index, 1);
	other_side_fini(&there);
}

static void device_that_the_source_had_not_is_offered_when_asked_for(void **state)
{
	struct setup *s = *state;
	struct other_side there;
	struct fake_device extra;

	connect_guest(&s->guest, 0x50003);
	other_side_init(&there);
	fake_device_init(&extra);
	assert_int_equal(fake_device_add(&extra, &there.guest, 0xcc), 0); /* gets relid 1 */
	assert_int_equal(fake_device_add(&there.device, &there.guest, 0xaa), 0);
	assert_int_equal(fake_device_add(&there.other, &there.guest, 0xbb), 0);
	assert_int_equal(restore(&there, &s->guest), 0);
	assert_int_equal(there.status, 0);
	EXPECT_NOTHING(&there.guest);
	assert_int_equal(counts_of(&there.guest).offered, 2);
	guest_send_empty(&there.guest, VMBUS_UNLOAD);
	expect(&there.guest, VMBUS_UNLOAD_RESPONSE, 8);
	guest_send_contact(&there.guest, 0x50003, 1);
	expect(&there.guest, VMBUS_VERSION_RESPONSE, 16);
	guest_send_empty(&there.guest, VMBUS_REQUEST_OFFERS);
	for (int i = 0; i < 3; i++)
		expect(&there.guest, VMBUS_OFFER_CHANNEL, 196);
	other_side_fini(&there);
	fake_device_fini(&extra);
}

static void missing_device_is_refused(void **state)
{
	struct setup *s = *state;
	struct other_side there;

	connect_guest(&s->guest, 0x50003);
	open_first(s);
	other_side_init(&there);
	assert_int_equal(fake_device_add(&there.device, &there.guest, 0xaa), 0);
	assert_int_equal(restore(&there, &s->guest), -ENODEV);
	assert_int_equal(there.dones, 0);
	assert_int_equal(there.device.total[FAKE_GPADL_CREATED], 0);
	other_side_fini(&there);
}

/* ---- devices that take their time, or fail ---- */

/* Primary and one sub-channel of device open, other's primary open, a GPADL of no ring. */
static void busy_guest_prepare(struct setup *s)
{
	connect_guest(&s->guest, 0x50003);
	open_first(s);
	assert_int_equal(vmbus_device_offer_sub_channels(s->device.handle, 1), 0);
	guest_send_gpadl(&s->guest, 3, 3, 8, 200);
	guest_send_open(&s->guest, 3, 3, 4, 0);
	guest_send_gpadl(&s->guest, 2, 2, 8, 300);
	guest_send_open(&s->guest, 2, 2, 4, 0);
	guest_send_gpadl(&s->guest, 1, 4, 500, 400);
}

static void other_side_prepare(struct other_side *there, struct setup *s)
{
	other_side_init(there);
	assert_int_equal(fake_device_add(&there->device, &there->guest, 0xaa), 0);
	assert_int_equal(fake_device_add(&there->other, &there->guest, 0xbb), 0);
	there->device.later = true;
	there->other.later = true;
	assert_int_equal(restore(there, &s->guest), 0);
	assert_int_equal(there->dones, 0);
}

static void slow_devices_are_walked_phase_after_phase(void **state)
{
	struct setup *s = *state;
	struct other_side there;

	busy_guest_prepare(s);
	other_side_prepare(&there, s);
	assert_int_equal(there.device.call_count, 3);
	assert_int_equal(there.other.call_count, 1);
	assert_false(vmbus_server_is_quiet(there.guest.server));
	fake_device_answer_all(&there.device);
	assert_int_equal(there.device.total[FAKE_OPEN], 0); /* the other is not ready yet */
	fake_device_answer(&there.other, 0);
	assert_int_equal(there.device.call_count, 1); /* its primary */
	fake_device_answer(&there.device, 0);
	assert_int_equal(there.device.call_count, 0);
	assert_int_equal(there.other.call_count, 1);
	fake_device_answer(&there.other, 0);
	assert_int_equal(there.device.call_count, 1); /* its sub-channel */
	assert_int_equal(there.device.last_open.sub_index, 1);
	assert_int_equal(there.dones, 0);
	EXPECT_NOTHING(&there.guest);
	fake_device_answer_all(&there.device);
	assert_int_equal(there.dones, 1);
	assert_int_equal(there.status, 0);
	assert_true(vmbus_server_is_quiet(there.guest.server));
	EXPECT_NOTHING(&there.guest);
	other_side_fini(&there);
}

static void first_failure_ends_the_restore_when_all_have_answered(void **state)
{
	struct setup *s = *state;
	struct other_side there;

	busy_guest_prepare(s);
	other_side_prepare(&there, s);
	there.device.status = -ENOMEM;
	fake_device_answer(&there.device, 1);
	there.device.status = -EIO;
	fake_device_answer(&there.device, 0);
	assert_int_equal(there.dones, 0);
	fake_device_answer_all(&there.device);
	fake_device_answer_all(&there.other);
	assert_int_equal(there.dones, 1);
	assert_int_equal(there.status, -ENOMEM);
	assert_int_equal(there.device.total[FAKE_OPEN], 0);
	assert_false(vmbus_server_is_quiet(there.guest.server));
	EXPECT_NOTHING(&there.guest);
	other_side_fini(&there);
}

static void channel_that_does_not_open_again_fails_the_restore(void **state)
{
	struct setup *s = *state;
	struct other_side there;

	busy_guest_prepare(s);
	other_side_prepare(&there, s);
	fake_device_answer_all(&there.device);
	fake_device_answer(&there.other, 0);
	there.other.status = -EIO;
	fake_device_answer(&there.other, 0);
	assert_int_equal(there.dones, 0);
	fake_device_answer(&there.device, 0);
	assert_int_equal(there.dones, 1);
	assert_int_equal(there.status, -EIO);
	assert_int_equal(there.device.total[FAKE_OPEN], 1); /* no sub-channel any more */
	EXPECT_NOTHING(&there.guest);
	other_side_fini(&there);
}

static void device_that_is_lost_on_the_way_fails_the_restore(void **state)
{
	struct setup *s = *state;
	struct other_side there;

	busy_guest_prepare(s);
	other_side_prepare(&there, s);
	fake_device_answer_all(&there.device);
	vmbus_device_rescind(there.device.handle);
	assert_int_equal(there.dones, 0);
	fake_device_answer_all(&there.other);
	assert_int_equal(there.dones, 1);
	assert_int_equal(there.status, -ENODEV);
	EXPECT_NOTHING(&there.guest);
	other_side_fini(&there);
}

static void device_that_is_lost_afterwards_is_rescinded(void **state)
{
	struct setup *s = *state;
	struct other_side there;

	busy_guest_prepare(s);
	move(&there, s);
	vmbus_device_rescind(there.device.handle);
	expect(&there.guest, VMBUS_RESCIND_CHANNEL_OFFER, 12);
	expect(&there.guest, VMBUS_RESCIND_CHANNEL_OFFER, 12);
	assert_int_equal(there.device.removals, 1);
	assert_int_equal(there.device.total[FAKE_CLOSE], 2);
	other_side_fini(&there);
}

static void messages_during_the_restore_are_dropped(void **state)
{
	struct setup *s = *state;
	struct other_side there;

	busy_guest_prepare(s);
	log_set_level(LOG_LEVEL_ERROR);
	other_side_prepare(&there, s);
	guest_send_contact(&there.guest, 0x50003, 0);
	guest_send_empty(&there.guest, VMBUS_UNLOAD);
	assert_int_equal(vmbus_device_offer_sub_channels(there.device.handle, 2), -ENOTCONN);
	for (int i = 0; i < 3; i++) {
		fake_device_answer_all(&there.device);
		fake_device_answer_all(&there.other);
	}
	assert_int_equal(there.dones, 1);
	assert_int_equal(there.status, 0);
	EXPECT_NOTHING(&there.guest);
	other_side_fini(&there);
}

/* ---- when it can be saved and restored ---- */

static void server_with_a_device_at_work_is_not_quiet(void **state)
{
	struct setup *s = *state;
	struct state_writer writer;

	state_writer_init(&writer);
	connect_guest(&s->guest, 0x50003);
	assert_true(vmbus_server_is_quiet(s->guest.server));
	s->device.later = true;
	guest_send_gpadl(&s->guest, 1, RING_GPADL, 8, 100);
	assert_false(vmbus_server_is_quiet(s->guest.server));
	assert_int_equal(vmbus_server_save(s->guest.server, &writer), -EBUSY);
	assert_int_equal(writer.length, 0);
	fake_device_answer_all(&s->device);
	assert_true(vmbus_server_is_quiet(s->guest.server));
	guest_send_open(&s->guest, 1, RING_GPADL, 4, 0);
	assert_false(vmbus_server_is_quiet(s->guest.server));
	fake_device_answer_all(&s->device);
	assert_true(vmbus_server_is_quiet(s->guest.server));
	guest_send_modify(&s->guest, 1, 1);
	assert_false(vmbus_server_is_quiet(s->guest.server));
	fake_device_answer_all(&s->device);
	guest_send_relid(&s->guest, VMBUS_CLOSE_CHANNEL, 1);
	assert_false(vmbus_server_is_quiet(s->guest.server));
	fake_device_answer_all(&s->device);
	guest_send_teardown(&s->guest, 1, RING_GPADL);
	assert_false(vmbus_server_is_quiet(s->guest.server));
	fake_device_answer_all(&s->device);
	assert_true(vmbus_server_is_quiet(s->guest.server));
	state_writer_fini(&writer);
}

static void only_a_fresh_server_is_restored(void **state)
{
	struct setup *s = *state;
	struct other_side there;

	other_side_init(&there);
	guest_send_contact(&there.guest, 0x50003, 1);
	assert_int_equal(restore(&there, &s->guest), -EINVAL);
	other_side_fini(&there);
}

static void what_is_restored_is_saved_as_the_same_bytes(void **state)
{
	struct setup *s = *state;
	struct other_side there, further;

	busy_guest_prepare(s);
	guest_send_gpadl(&s->guest, 1, 4 + 256, 5, 0); /* two in a bucket */
	vmbus_device_offer_sub_channels(s->device.handle, 4);
	guest_send_relid(&s->guest, VMBUS_CLOSE_CHANNEL, 2);
	move(&there, s);
	other_side_init(&further);
	assert_int_equal(fake_device_add(&further.other, &further.guest, 0xbb), 0);
	assert_int_equal(fake_device_add(&further.device, &further.guest, 0xaa), 0);
	assert_int_equal(restore(&further, &there.guest), 0);
	assert_int_equal(further.status, 0);
	assert_int_equal(there.writer.length, further.writer.length);
	assert_memory_equal(there.writer.bytes, further.writer.bytes, there.writer.length);
	other_side_fini(&further);
	other_side_fini(&there);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(bus_without_a_guest_is_restored),
		TEST(bus_before_the_offers_is_restored),
		TEST(open_channel_goes_on_without_a_message),
		TEST(sub_channels_are_offered_and_open_again),
		TEST(gpadl_is_assembled_to_its_end_elsewhere),
		TEST(teardown_that_waits_for_the_close_is_answered_elsewhere),
		TEST(relid_that_the_guest_has_not_released_stays_taken),
		TEST(former_device_must_be_released_before_it_is_restored_anew),
		TEST(relids_are_those_of_the_source_however_devices_are_added),
		TEST(device_that_the_source_had_not_is_offered_when_asked_for),
		TEST(missing_device_is_refused),
		TEST(slow_devices_are_walked_phase_after_phase),
		TEST(first_failure_ends_the_restore_when_all_have_answered),
		TEST(channel_that_does_not_open_again_fails_the_restore),
		TEST(device_that_is_lost_on_the_way_fails_the_restore),
		TEST(device_that_is_lost_afterwards_is_rescinded),
		TEST(messages_during_the_restore_are_dropped),
		TEST(server_with_a_device_at_work_is_not_quiet),
		TEST(only_a_fresh_server_is_restored),
		TEST(what_is_restored_is_saved_as_the_same_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
