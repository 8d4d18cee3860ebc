/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Channels on the bus: open, close, modify, sub-channels, rescind, with devices that answer at once
 * and ones that take their time.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/vmbus/server_expect.h"

static void expect_result(struct fake_guest *guest, uint32_t relid, bool success)
{
	const struct fake_message *message = expect(guest, VMBUS_OPEN_CHANNEL_RESULT, 20);

	assert_int_equal(get_le32(message->bytes + 8), relid);
	assert_int_equal(get_le32(message->bytes + 12), relid); /* open id */
	assert_int_equal(get_le32(message->bytes + 16) == 0, success);
}

static void expect_relid(struct fake_guest *guest, uint32_t type, uint32_t relid)
{
	assert_int_equal(get_le32(expect(guest, type, 12)->bytes + 8), relid);
}

static void lend(struct fake_guest *guest, uint32_t relid, uint32_t id, uint32_t pages)
{
	guest_send_gpadl(guest, relid, id, pages, 100);
	assert_int_equal(get_le32(expect(guest, VMBUS_GPADL_CREATED, 20)->bytes + 16), 0);
}

static struct vmbus_server_counts counts_of(struct setup *s)
{
	struct vmbus_server_counts counts;

	vmbus_server_get_counts(s->guest.server, &counts);
	return counts;
}

/* Opens relid with a ring GPADL whose id is the relid. */
static void open_relid(struct setup *s, uint32_t relid)
{
	lend(&s->guest, relid, relid, 8);
	guest_send_open(&s->guest, relid, relid, 4, 0);
	expect_result(&s->guest, relid, true);
}

static void an_open_as_linux_sends_it_reaches_the_device(void **state)
{
	struct setup *s = *state;
	uint8_t message[148] = {5,    0,    0,	  0, 0, 0, 0, 0, 1, 0, 0, 0, 1,	  0,   0,   0,
				0x10, 0x1e, 0x0e, 0, 3, 0, 0, 0, 4, 0, 0, 0, 'u', 's', 'e', 'r'};
	const struct vmbus_open_request *request = &s->device.last_open;

	connect_guest(&s->guest, 0x50003);
	lend(&s->guest, 1, 0xe1e10, 8);
	guest_send(&s->guest, message, sizeof(message));
	EXPECT_BYTES(&s->guest, 6, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0);
	assert_int_equal(request->relid, 1);
	assert_int_equal(request->connection_id, 0x2001);
	assert_int_equal(request->sub_index, 0);
	assert_int_equal(request->gpadl_id, 0xe1e10);
	assert_int_equal(request->downstream_page_offset, 4);
	assert_int_equal(request->target_vp, 3);
	assert_memory_equal(request->user_data, "user", 5);
	assert_int_equal(counts_of(s).open, 1);
	assert_int_equal(s->guest.openings, 1);
	assert_int_equal(s->guest.opened_vp, 3);
}

static void a_device_may_refuse_to_open(void **state)
{
	struct setup *s = *state;

	connect_guest(&s->guest, 0x50003);
	lend(&s->guest, 1, 1, 8);
	s->device.status = -ENODEV;
	guest_send_open(&s->guest, 1, 1, 4, 0);
	expect_result(&s->guest, 1, false);
	assert_int_equal(counts_of(s).open, 0);
	assert_int_equal(s->device.total[FAKE_CLOSE], 0);
	assert_int_equal(s->guest.openings, 0);
	/* The ring is free again, and a second try may work. */
	guest_send_open(&s->guest, 1, 1, 4, 0);
	expect_result(&s->guest, 1, true);
}

static void opens_that_cannot_be_granted_are_refused(void **state)
{
	struct setup *s = *state;
	static const struct {
		uint32_t gpadl, downstream, vp;
	} bad[] = {
		{99, 4, 0},
		{2, 4, 0}, /* unknown; the other device's */
		{1, 0, 0},
		{1, 1, 0},
		{1, 7, 0},
		{1, 8, 0},
		{1, UINT32_MAX, 0},
		{1, 4, FAKE_VPS},
		{1, 4, UINT32_MAX - 1},
		{3, 2, 0}, /* too few pages for two rings */
	};

	connect_guest(&s->guest, 0x50003);
	lend(&s->guest, 1, 1, 8);
	lend(&s->guest, 2, 2, 8);
	lend(&s->guest, 1, 3, 3);
	for (size_t i = 0; i < ARRAY_LENGTH(bad); i++) {
		guest_send_open(&s->guest, 1, bad[i].gpadl, bad[i].downstream, bad[i].vp);
		expect_result(&s->guest, 1, false);
	}
	assert_int_equal(s->device.total[FAKE_OPEN], 0);
	guest_send_open(&s->guest, 1, 1, 6, VMBUS_NO_INTERRUPTS);
	expect_result(&s->guest, 1, true);
	/* Open already, or never offered: no second answer can be told from the first. */
	guest_send_open(&s->guest, 1, 1, 4, 0);
	guest_send_open(&s->guest, 3, 1, 4, 0);
	guest_send_open(&s->guest, 0, 1, 4, 0);
	EXPECT_NOTHING(&s->guest);
}

static void a_ring_must_be_one_range_from_a_page_boundary(void **state)
{
	struct setup *s = *state;
	uint8_t two[68] = {8, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 5, 0, 0, 0, 48, 0, 2, 0};
	uint8_t shifted[60] = {8, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 6, 0, 0, 0, 40, 0, 1, 0};

	connect_guest(&s->guest, 0x50003);
	put_le32(two + 20, 8192);
	put_le32(two + 44, 8192);
	guest_send(&s->guest, two, sizeof(two));
	assert_int_equal(get_le32(expect(&s->guest, VMBUS_GPADL_CREATED, 20)->bytes + 16), 0);
	guest_send_open(&s->guest, 1, 5, 2, 0);
	expect_result(&s->guest, 1, false);
	put_le32(shifted + 20, 4 * 4096 - 8);
	put_le32(shifted + 24, 8);
	guest_send(&s->guest, shifted, sizeof(shifted));
	assert_int_equal(get_le32(expect(&s->guest, VMBUS_GPADL_CREATED, 20)->bytes + 16), 0);
	guest_send_open(&s->guest, 1, 6, 2, 0);
	expect_result(&s->guest, 1, false);
}

static void a_reopen_may_race_the_close(void **state)
{
	struct setup *s = *state;

	connect_guest(&s->guest, 0x50003);
	open_relid(s, 1);
	lend(&s->guest, 1, 50, 8);
	s->device.later = true;
	guest_send_relid(&s->guest, VMBUS_CLOSE_CHANNEL, 1);
	guest_send_open(&s->guest, 1, 50, 3, 2);
	EXPECT_NOTHING(&s->guest);
	assert_int_equal(s->device.total[FAKE_OPEN], 1);
	fake_device_answer(&s->device, 0); /* the close */
	assert_int_equal(s->device.total[FAKE_OPEN], 2);
	assert_int_equal(s->device.last_open.gpadl_id, 50);
	EXPECT_NOTHING(&s->guest);
	fake_device_answer(&s->device, 0);
	expect_result(&s->guest, 1, true);
}

static void a_reopen_that_is_closed_again_is_never_begun(void **state)
{
	struct setup *s = *state;

	connect_guest(&s->guest, 0x50003);
	open_relid(s, 1);
	s->device.later = true;
	guest_send_relid(&s->guest, VMBUS_CLOSE_CHANNEL, 1);
	guest_send_open(&s->guest, 1, 1, 3, 2);
	guest_send_relid(&s->guest, VMBUS_CLOSE_CHANNEL, 1);
	expect_result(&s->guest, 1, false);
	fake_device_answer_all(&s->device);
	assert_int_equal(s->device.total[FAKE_OPEN], 1);
	assert_int_equal(counts_of(s).open, 0);
}

static void a_reopen_fails_where_its_ring_went_meanwhile(void **state)
{
	struct setup *s = *state;

	connect_guest(&s->guest, 0x50003);
	open_relid(s, 1);
	s->device.later = true;
	guest_send_relid(&s->guest, VMBUS_CLOSE_CHANNEL, 1);
	guest_send_open(&s->guest, 1, 1, 3, 2);
	guest_send_teardown(&s->guest, 1, 1);
	fake_device_answer_all(&s->device);
	expect_result(&s->guest, 1, false);
	expect(&s->guest, VMBUS_GPADL_TORNDOWN, 12);
}

static void a_close_during_the_open_comes_after_it(void **state)
{
	struct setup *s = *state;

	connect_guest(&s->guest, 0x50003);
	lend(&s->guest, 1, 1, 8);
	s->device.later = true;
	guest_send_open(&s->guest, 1, 1, 4, 0);
	guest_send_relid(&s->guest, VMBUS_CLOSE_CHANNEL, 1);
	assert_int_equal(s->device.total[FAKE_CLOSE], 0);
	fake_device_answer(&s->device, 0);
	expect_result(&s->guest, 1, true);
	assert_int_equal(s->device.total[FAKE_CLOSE], 1);
	fake_device_answer(&s->device, 0);
	assert_int_equal(counts_of(s).open, 0);
	guest_send_relid(&s->guest, VMBUS_CLOSE_CHANNEL, 1);
	guest_send_relid(&s->guest, VMBUS_CLOSE_CHANNEL, 77);
	EXPECT_NOTHING(&s->guest);
	assert_int_equal(s->device.total[FAKE_CLOSE], 1);
}

static void unload_waits_for_an_open_on_its_way(void **state)
{
	struct setup *s = *state;

	connect_guest(&s->guest, 0x50003);
	lend(&s->guest, 1, 1, 8);
	s->device.later = true;
	guest_send_open(&s->guest, 1, 1, 4, 0);
	guest_send_empty(&s->guest, VMBUS_UNLOAD);
	fake_device_answer_all(&s->device);
	expect(&s->guest, VMBUS_UNLOAD_RESPONSE, 8);
	EXPECT_NOTHING(&s->guest);
	assert_int_equal(s->device.total[FAKE_CLOSE], 1);
}

/* ---- modify ---- */

static void modify_is_answered_from_5_3_on(void **state)
{
	struct setup *s = *state;

	connect_guest(&s->guest, 0x50003);
	open_relid(s, 1);
	s->device.later = true;
	guest_send_modify(&s->guest, 1, 3);
	EXPECT_NOTHING(&s->guest);
	assert_int_equal(s->device.channels[0].target_vp, 3);
	fake_device_answer(&s->device, 0);
	EXPECT_BYTES(&s->guest, 24, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0);
	s->device.later = false;
	s->device.status = -EIO;
	guest_send_modify(&s->guest, 1, 2);
	assert_int_not_equal(
		get_le32(expect(&s->guest, VMBUS_MODIFY_CHANNEL_RESPONSE, 16)->bytes + 12), 0);
}

static void modify_before_5_3_has_no_answer_and_the_last_target_counts(void **state)
{
	struct setup *s = *state;

	connect_guest(&s->guest, 0x40001);
	open_relid(s, 1);
	s->device.later = true;
	guest_send_modify(&s->guest, 1, 1);
	guest_send_modify(&s->guest, 1, 2);
	guest_send_modify(&s->guest, 1, 3);
	fake_device_answer_all(&s->device);
	assert_int_equal(s->device.total[FAKE_MODIFY], 2);
	assert_int_equal(s->device.channels[0].target_vp, 3);
	EXPECT_NOTHING(&s->guest);
	s->device.later = false;
	connect_guest(&s->guest, 0x40000); /* has no such message */
	open_relid(s, 1);
	guest_send_modify(&s->guest, 1, 1);
	assert_int_equal(s->device.total[FAKE_MODIFY], 2);
	EXPECT_NOTHING(&s->guest);
}

static void modify_of_what_cannot_be_modified_is_refused(void **state)
{
	struct setup *s = *state;

	connect_guest(&s->guest, 0x50003);
#define REFUSED(relid, vp)                                                                         \
	do {                                                                                       \
		guest_send_modify(&s->guest, relid, vp);                                           \
		assert_int_not_equal(                                                              \
			get_le32(expect(&s->guest, VMBUS_MODIFY_CHANNEL_RESPONSE, 16)->bytes +     \
				 12),                                                              \
			0);                                                                        \
	} while (0)
	REFUSED(1, 0); /* not open */
	open_relid(s, 1);
	REFUSED(1, FAKE_VPS);
	REFUSED(1, VMBUS_NO_INTERRUPTS);
	guest_send_modify(&s->guest, 3, 0);
	guest_send_modify(&s->guest, UINT32_MAX, 0);
	EXPECT_NOTHING(&s->guest);
	s->device.later = true;
	guest_send_modify(&s->guest, 1, 2);
	REFUSED(1, 3); /* one at a time */
	fake_device_answer_all(&s->device);
	assert_int_equal(get_le32(expect(&s->guest, VMBUS_MODIFY_CHANNEL_RESPONSE, 16)->bytes + 12),
			 0);
#undef REFUSED
	assert_int_equal(s->device.total[FAKE_MODIFY], 1);
}

static void a_close_waits_for_the_modify(void **state)
{
	struct setup *s = *state;

	connect_guest(&s->guest, 0x50003);
	open_relid(s, 1);
	s->device.later = true;
	guest_send_modify(&s->guest, 1, 2);
	guest_send_relid(&s->guest, VMBUS_CLOSE_CHANNEL, 1);
	assert_int_equal(s->device.total[FAKE_CLOSE], 0);
	fake_device_answer_all(&s->device);
	assert_int_equal(s->device.total[FAKE_CLOSE], 1);
	assert_int_equal(counts_of(s).open, 0);
}

/* ---- sub-channels ---- */

static void sub_channels_are_new_offers_of_the_same_device(void **state)
{
	struct setup *s = *state;
	const struct fake_message *message;

	connect_guest(&s->guest, 0x50003);
	assert_int_equal(vmbus_device_offer_sub_channels(s->device.handle, 2), -ENOTCONN);
	open_relid(s, 1);
	assert_int_equal(vmbus_device_offer_sub_channels(s->device.handle, FAKE_MAX_SUBS + 1),
			 -EINVAL);
	assert_int_equal(vmbus_device_offer_sub_channels(s->device.handle, 2), 0);
	for (uint32_t i = 1; i <= 2; i++) {
		message = expect(&s->guest, VMBUS_OFFER_CHANNEL, 196);
		assert_int_equal(get_le16(message->bytes + 180), i);
		assert_int_equal(get_le32(message->bytes + 184), 2 + i);
		assert_int_equal(message->bytes[24], 0xaa);
	}
	/* Those that exist are not offered again. */
	assert_int_equal(vmbus_device_offer_sub_channels(s->device.handle, 3), 0);
	assert_int_equal(get_le16(expect(&s->guest, VMBUS_OFFER_CHANNEL, 196)->bytes + 180), 3);
	EXPECT_NOTHING(&s->guest);
	open_relid(s, 4);
	assert_int_equal(s->device.last_open.sub_index, 2);
	assert_int_equal(counts_of(s).offered, 5);
	assert_int_equal(counts_of(s).open, 2);
}

static void sub_channels_go_when_their_primary_channel_closes(void **state)
{
	struct setup *s = *state;

	connect_guest(&s->guest, 0x50003);
	open_relid(s, 1);
	vmbus_device_offer_sub_channels(s->device.handle, 2);
	expect(&s->guest, VMBUS_OFFER_CHANNEL, 196);
	expect(&s->guest, VMBUS_OFFER_CHANNEL, 196);
	open_relid(s, 3);
	s->device.later = true;
	guest_send_relid(&s->guest, VMBUS_CLOSE_CHANNEL, 1);
	expect_relid(&s->guest, VMBUS_RESCIND_CHANNEL_OFFER, 4);
	expect_relid(&s->guest, VMBUS_RESCIND_CHANNEL_OFFER, 3);
	/* The fake device counts a violation where its primary channel is closed first. */
	lend(&s->guest, 2, 60, 4);
	guest_send_open(&s->guest, 1, 1, 4, 0);
	fake_device_answer_all(&s->device);
	expect_result(&s->guest, 1, true);
	assert_int_equal(s->device.total[FAKE_CLOSE], 2);
	/* The relids stay taken until the guest gives them back. */
	assert_int_equal(vmbus_device_offer_sub_channels(s->device.handle, 1), 0);
	assert_int_equal(get_le32(expect(&s->guest, VMBUS_OFFER_CHANNEL, 196)->bytes + 184), 5);
	guest_send_relid(&s->guest, VMBUS_RELID_RELEASED, 3);
	assert_int_equal(vmbus_device_offer_sub_channels(s->device.handle, 2), 0);
	assert_int_equal(get_le32(expect(&s->guest, VMBUS_OFFER_CHANNEL, 196)->bytes + 184), 3);
}

static void a_sub_channel_opens_only_while_its_primary_is_open(void **state)
{
	struct setup *s = *state;

	connect_guest(&s->guest, 0x50003);
	open_relid(s, 1);
	vmbus_device_offer_sub_channels(s->device.handle, 1);
	expect(&s->guest, VMBUS_OFFER_CHANNEL, 196);
	lend(&s->guest, 3, 3, 8);
	guest_send_relid(&s->guest, VMBUS_CLOSE_CHANNEL, 1);
	expect_relid(&s->guest, VMBUS_RESCIND_CHANNEL_OFFER, 3);
	guest_send_open(&s->guest, 3, 3, 4, 0);
	EXPECT_NOTHING(&s->guest);
	assert_int_equal(counts_of(s).gpadls, 1); /* the sub-channel's went with it */
}

static void unload_with_sub_channels_leaves_nothing(void **state)
{
	struct setup *s = *state;
	struct vmbus_server_counts counts;

	connect_guest(&s->guest, 0x50003);
	open_relid(s, 1);
	vmbus_device_offer_sub_channels(s->device.handle, FAKE_MAX_SUBS);
	for (uint32_t i = 1; i <= FAKE_MAX_SUBS; i++)
		expect(&s->guest, VMBUS_OFFER_CHANNEL, 196);
	for (uint32_t i = 1; i <= FAKE_MAX_SUBS; i++)
		open_relid(s, 2 + i);
	s->device.later = true;
	guest_send_contact(&s->guest, 0x50003, 0);
	fake_device_answer_all(&s->device);
	expect(&s->guest, VMBUS_VERSION_RESPONSE, 16);
	EXPECT_NOTHING(&s->guest);
	counts = counts_of(s);
	assert_int_equal(counts.open + counts.gpadls + counts.offered, 0);
	s->device.later = false;
	guest_send_empty(&s->guest, VMBUS_REQUEST_OFFERS);
	expect(&s->guest, VMBUS_OFFER_CHANNEL, 196);
	expect(&s->guest, VMBUS_OFFER_CHANNEL, 196);
	expect(&s->guest, VMBUS_ALL_OFFERS_DELIVERED, 8);
	open_relid(s, 1);
	vmbus_device_offer_sub_channels(s->device.handle, 1);
	assert_int_equal(get_le32(expect(&s->guest, VMBUS_OFFER_CHANNEL, 196)->bytes + 184), 3);
}

static void relids_run_out_gracefully(void **state)
{
	struct setup *s = *state;
	unsigned rounds = 0;
	int rc;

	connect_guest(&s->guest, 0x50003);
	lend(&s->guest, 1, 1, 8);
	/* The guest reopens and never releases what was rescinded. */
	do {
		guest_send_open(&s->guest, 1, 1, 4, 0);
		rc = vmbus_device_offer_sub_channels(s->device.handle, FAKE_MAX_SUBS);
		guest_send_relid(&s->guest, VMBUS_CLOSE_CHANNEL, 1);
	} while (rc == 0 && ++rounds < 1000);
	assert_int_equal(rc, -ENOSPC);
	assert_int_equal(rounds, (VMBUS_MAX_CHANNELS - 2) / FAKE_MAX_SUBS);
	guest_send_empty(&s->guest, VMBUS_UNLOAD);
	while (fake_guest_next(&s->guest))
		;
	connect_guest(&s->guest, 0x50003);
}

/* ---- rescind and release ---- */

static void a_rescinded_device_is_closed_and_removed(void **state)
{
	struct setup *s = *state;

	connect_guest(&s->guest, 0x50003);
	open_relid(s, 1);
	vmbus_device_offer_sub_channels(s->device.handle, 1);
	expect(&s->guest, VMBUS_OFFER_CHANNEL, 196);
	open_relid(s, 3);
	s->device.later = true;
	vmbus_device_rescind(s->device.handle);
	expect_relid(&s->guest, VMBUS_RESCIND_CHANNEL_OFFER, 3);
	expect_relid(&s->guest, VMBUS_RESCIND_CHANNEL_OFFER, 1);
	/* What the guest still says about it is answered with failure, or not at all. */
	guest_send_relid(&s->guest, VMBUS_CLOSE_CHANNEL, 1);
	guest_send_modify(&s->guest, 1, 0);
	EXPECT_NOTHING(&s->guest);
	assert_int_equal(s->device.removals, 0);
	fake_device_answer_all(&s->device);
	assert_int_equal(s->device.removals, 1);
	assert_int_equal(counts_of(s).gpadls, 0);
	assert_int_equal(counts_of(s).open, 0);
	EXPECT_NOTHING(&s->guest);
	/* Not before the guest has let go of the old one: Linux would not survive it. */
	s->device.later = false;
	assert_int_equal(fake_device_add(&s->device, &s->guest, 0xaa), -EEXIST);
	guest_send_relid(&s->guest, VMBUS_RELID_RELEASED, 3);
	guest_send_relid(&s->guest, VMBUS_RELID_RELEASED, 1);
	assert_int_equal(fake_device_add(&s->device, &s->guest, 0xaa), 0);
	expect(&s->guest, VMBUS_OFFER_CHANNEL, 196);
	open_relid(s, 1);
}

static void a_device_nobody_was_offered_is_removed_at_once(void **state)
{
	struct setup *s = *state;

	vmbus_device_rescind(s->device.handle);
	assert_int_equal(s->device.removals, 1);
	EXPECT_NOTHING(&s->guest);
	assert_int_equal(fake_device_add(&s->device, &s->guest, 0xaa), 0);
}

static void a_relid_released_early_waits_for_the_device(void **state)
{
	struct setup *s = *state;

	connect_guest(&s->guest, 0x50003);
	open_relid(s, 1);
	s->device.later = true;
	vmbus_device_rescind(s->device.handle);
	expect_relid(&s->guest, VMBUS_RESCIND_CHANNEL_OFFER, 1);
	guest_send_relid(&s->guest, VMBUS_RELID_RELEASED, 1);
	guest_send_relid(&s->guest, VMBUS_RELID_RELEASED, 1);
	assert_int_equal(s->device.removals, 0);
	fake_device_answer_all(&s->device);
	assert_int_equal(s->device.removals, 1);
}

static void a_guest_that_releases_a_relid_gets_it_back_next_time(void **state)
{
	struct setup *s = *state;

	connect_guest(&s->guest, 0x50003);
	lend(&s->guest, 1, 1, 8);
	guest_send_open(&s->guest, 1, 1, 4, 0);
	expect_result(&s->guest, 1, true);
	guest_send_relid(&s->guest, VMBUS_RELID_RELEASED, 1); /* open: nonsense */
	assert_int_equal(counts_of(s).offered, 2);
	guest_send_relid(&s->guest, VMBUS_CLOSE_CHANNEL, 1);
	guest_send_relid(&s->guest, VMBUS_RELID_RELEASED, 1); /* as Linux does on rmmod */
	assert_int_equal(counts_of(s).offered, 1);
	assert_int_equal(counts_of(s).gpadls, 0);
	guest_send_open(&s->guest, 1, 1, 4, 0);
	guest_send_relid(&s->guest, VMBUS_RELID_RELEASED, 0);
	guest_send_relid(&s->guest, VMBUS_RELID_RELEASED, UINT32_MAX);
	EXPECT_NOTHING(&s->guest);
	guest_send_empty(&s->guest, VMBUS_UNLOAD);
	expect(&s->guest, VMBUS_UNLOAD_RESPONSE, 8);
	connect_guest(&s->guest, 0x50003);
	open_relid(s, 1);
}

static void a_device_that_finishes_what_it_was_not_asked_is_ignored(void **state)
{
	struct setup *s = *state;

	connect_guest(&s->guest, 0x50003);
	vmbus_server_open_done(s->device.handle, 0, 0);
	vmbus_server_open_done(s->device.handle, 9999, 0);
	vmbus_server_close_done(s->device.handle, 0);
	vmbus_server_modify_done(s->device.handle, 0, 0);
	vmbus_server_gpadl_done(s->device.handle, 0, 7, 0);
	vmbus_server_gpadl_teardown_done(s->device.handle, 0, 7);
	lend(&s->guest, 1, 7, 4);
	vmbus_server_gpadl_teardown_done(s->device.handle, 0, 7);
	vmbus_server_gpadl_teardown_done(s->other.handle, 0, 7);
	EXPECT_NOTHING(&s->guest);
	assert_int_equal(counts_of(s).gpadls, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(an_open_as_linux_sends_it_reaches_the_device),
		TEST(a_device_may_refuse_to_open),
		TEST(opens_that_cannot_be_granted_are_refused),
		TEST(a_ring_must_be_one_range_from_a_page_boundary),
		TEST(a_reopen_may_race_the_close),
		TEST(a_reopen_that_is_closed_again_is_never_begun),
		TEST(a_reopen_fails_where_its_ring_went_meanwhile),
		TEST(a_close_during_the_open_comes_after_it),
		TEST(unload_waits_for_an_open_on_its_way),
		TEST(modify_is_answered_from_5_3_on),
		TEST(modify_before_5_3_has_no_answer_and_the_last_target_counts),
		TEST(modify_of_what_cannot_be_modified_is_refused),
		TEST(a_close_waits_for_the_modify),
		TEST(sub_channels_are_new_offers_of_the_same_device),
		TEST(sub_channels_go_when_their_primary_channel_closes),
		TEST(a_sub_channel_opens_only_while_its_primary_is_open),
		TEST(unload_with_sub_channels_leaves_nothing),
		TEST(relids_run_out_gracefully),
		TEST(a_rescinded_device_is_closed_and_removed),
		TEST(a_device_nobody_was_offered_is_removed_at_once),
		TEST(a_relid_released_early_waits_for_the_device),
		TEST(a_guest_that_releases_a_relid_gets_it_back_next_time),
		TEST(a_device_that_finishes_what_it_was_not_asked_is_ignored),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
