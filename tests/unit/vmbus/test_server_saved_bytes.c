/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The bytes of a saved bus: what they are, and what becomes of those that are cut, newer, or claim
 * what no guest could have brought about. No device may hear of a bus that is refused.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/vmbus/server_expect.h"
#include "vmbus/server_internal.h"

enum {
	OFFERED = SAVED_CHANNEL_OFFERED,
	RESCINDED = SAVED_CHANNEL_RESCINDED,
	OPEN = SAVED_CHANNEL_OPEN,
	LIVE = SAVED_GPADL_LIVE,
	TORN_DOWN = SAVED_GPADL_TORN_DOWN,
};

static void on_done(void *ctx, int status)
{
	*(int *)ctx = status;
}

static void start_afresh(struct setup *s)
{
	fake_guest_fini(&s->guest);
	fake_device_fini(&s->device);
	fake_device_fini(&s->other);
	fake_guest_init(&s->guest);
	fake_device_init(&s->device);
	fake_device_init(&s->other);
	assert_int_equal(fake_device_add(&s->device, &s->guest, 0xaa), 0);
	assert_int_equal(fake_device_add(&s->other, &s->guest, 0xbb), 0);
}

/* Offers the bytes to s's server, which is fresh, and gives it a new one afterwards. Returns what
 * restore said, or what done said where restore took them. */
static int restore_bytes(struct setup *s, const void *bytes, size_t length)
{
	struct state_reader reader, section;
	int status = 1;
	int rc;

	state_reader_init(&reader, bytes, length);
	rc = state_next(&reader, &section);
	if (rc == 1)
		rc = vmbus_server_restore(s->guest.server, &section, on_done, &status);
	if (rc != 0)
		assert_int_equal(s->device.total[FAKE_GPADL_CREATED] + s->device.total[FAKE_OPEN] +
					 s->other.total[FAKE_GPADL_CREATED] +
					 s->other.total[FAKE_OPEN],
				 0);
	if (rc == 0)
		assert_int_not_equal(status, 1);
	assert_int_equal(s->guest.posted, 0);
	assert_int_equal(s->guest.violations + s->device.violations + s->other.violations, 0);
	start_afresh(s);
	return rc != 0 ? rc : status;
}

/* ---- sections made by hand ---- */

struct forged {
	struct setup *s;
	struct state_writer writer;
};

static void forge_begin(struct forged *forged, struct setup *s)
{
	forged->s = s;
	state_writer_init(&forged->writer);
	state_begin(&forged->writer, VMBUS_SERVER_STATE_TAG, 1, 1);
}

static void forge_connection(struct forged *forged, uint32_t version, uint32_t vp, uint8_t sent)
{
	state_begin(&forged->writer, SAVED_CONNECTION, 1, 1);
	state_put_u32(&forged->writer, version);
	state_put_u32(&forged->writer, vp);
	state_put_u8(&forged->writer, sent);
	state_end(&forged->writer);
}

struct forged_channel {
	uint32_t relid;
	uint8_t number;
	uint32_t sub_index;
	uint8_t flags;
	uint32_t ring;
	uint32_t vp;
	uint32_t downstream;
};

static void forge_channel(struct forged *forged, struct forged_channel channel)
{
	struct state_writer *writer = &forged->writer;
	const uint8_t user_data[120] = {0};

	state_begin(writer, SAVED_CHANNEL, 1, 1);
	state_put_u32(writer, channel.relid);
	for (int i = 0; i < 16; i++)
		state_put_u8(writer, channel.number);
	state_put_u32(writer, channel.sub_index);
	state_put_u8(writer, channel.flags);
	state_put_u32(writer, channel.relid); /* open id */
	state_put_u32(writer, channel.ring);
	state_put_u32(writer, channel.vp);
	state_put_u32(writer, channel.downstream);
	state_put_bytes(writer, user_data, sizeof(user_data));
	state_end(writer);
}

struct forged_gpadl {
	uint32_t relid;
	uint32_t id;
	uint8_t flags;
	uint32_t range_count;
	uint32_t expected; /* 0: of that many pages in one range */
	uint32_t pages;
	uint32_t offset; /* of the first byte */
	uint32_t length; /* of the bytes that are here; 0: all */
};

static void forge_gpadl(struct forged *forged, struct forged_gpadl gpadl)
{
	struct state_writer *writer = &forged->writer;
	static uint8_t ranges[65536];
	uint32_t expected = gpadl.expected ? gpadl.expected : 8 + gpadl.pages * 8;

	memset(ranges, 0, sizeof(ranges));
	put_le32(ranges, gpadl.pages * 4096 - gpadl.offset);
	put_le32(ranges + 4, gpadl.offset);
	state_begin(writer, SAVED_GPADL, 1, 1);
	state_put_u32(writer, gpadl.relid);
	state_put_u32(writer, gpadl.id);
	state_put_u8(writer, gpadl.flags);
	state_put_u32(writer, gpadl.range_count);
	state_put_u32(writer, expected);
	state_put_blob(writer, ranges, gpadl.length ? gpadl.length : expected);
	state_end(writer);
}

static int forge_restore(struct forged *forged)
{
	int rc;

	state_end(&forged->writer);
	assert_int_equal(state_writer_result(&forged->writer), 0);
	rc = restore_bytes(forged->s, forged->writer.bytes, forged->writer.length);
	state_writer_fini(&forged->writer);
	return rc;
}

#define FIRST                                                                                      \
	{                                                                                          \
		1, 0xaa, 0, OFFERED, 0, 0, 0                                                       \
	}
#define SECOND                                                                                     \
	{                                                                                          \
		2, 0xbb, 0, OFFERED, 0, 0, 0                                                       \
	}
#define FIRST_OPEN                                                                                 \
	{                                                                                          \
		1, 0xaa, 0, OFFERED | OPEN, 9, 0, 4                                                \
	}

static const struct forged_channel first = FIRST;
static const struct forged_channel second = SECOND;
static const struct forged_channel first_open = FIRST_OPEN;
static const struct forged_gpadl ring = {.relid = 1, 9, LIVE, 1, .pages = 8};

/* ---- tests ---- */

static void saved_bus_has_these_bytes(void **state)
{
	struct setup *s = *state;
	struct state_writer writer;
	static const uint8_t golden[] = {
		/* VMBS, version 1, readable by 1 */
		'V', 'M', 'B', 'S', 1, 0, 1, 0, 0xd8, 1, 0, 0,
		/* connection: version 5.3, message VP 1, offers sent */
		'C', 'O', 'N', 'N', 1, 0, 1, 0, 9, 0, 0, 0, 3, 0, 5, 0, 1, 0, 0, 0, 1,
		/* channel 1 of device aa..aa, primary, offered and open */
		'C', 'H', 'A', 'N', 1, 0, 1, 0, 161, 0, 0, 0, 1, 0, 0, 0, 0xaa, 0xaa, 0xaa, 0xaa,
		0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0, 0, 0, 0,
		OFFERED | OPEN,
		/* open id 1, ring 0xe1e10, VP 0, downstream page 4, user data */
		1, 0, 0, 0, 0x10, 0x1e, 0x0e, 0, 0, 0, 0, 0, 4, 0, 0, 0, 'u', 's', 'e', 'r', ' ',
		'd', 'a', 't', 'a',
		[12 + 21 + 12 + 161] =
			/* channel 2 of device bb..bb, offered */
		'C',
		'H', 'A', 'N', 1, 0, 1, 0, 161, 0, 0, 0, 2, 0, 0, 0, 0xbb, 0xbb, 0xbb, 0xbb, 0xbb,
		0xbb, 0xbb, 0xbb, 0xbb, 0xbb, 0xbb, 0xbb, 0xbb, 0xbb, 0xbb, 0xbb, 0, 0, 0, 0,
		OFFERED,
		[12 + 21 + 2 * (12 + 161)] =
			/* GPADL 0xe1e10 of channel 1, live, one range of 72 bytes: 8 pages */
		'G',
		'P', 'D', 'L', 1, 0, 1, 0, 93, 0, 0, 0, 1, 0, 0, 0, 0x10, 0x1e, 0x0e, 0, LIVE, 1, 0,
		0, 0, 72, 0, 0, 0, 72, 0, 0, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 100, 0, 0, 0, 0, 0, 0, 0,
		101, 0, 0, 0, 0, 0, 0, 0, 102, 0, 0, 0, 0, 0, 0, 0, 103, 0, 0, 0, 0, 0, 0, 0, 104,
		0, 0, 0, 0, 0, 0, 0, 105, 0, 0, 0, 0, 0, 0, 0, 106, 0, 0, 0, 0, 0, 0, 0, 107, 0, 0,
		0, 0, 0, 0, 0};

	connect_guest(&s->guest, 0x50003);
	open_first(s);
	state_writer_init(&writer);
	assert_int_equal(vmbus_server_save(s->guest.server, &writer), 0);
	assert_int_equal(writer.length, sizeof(golden));
	assert_memory_equal(writer.bytes, golden, sizeof(golden));
	state_writer_fini(&writer);
}

/* A bus with a bit of everything; its bytes go to *writer. */
static void rich_bus_save(struct setup *s, struct state_writer *writer)
{
	struct fake_device third;

	connect_guest(&s->guest, 0x50003);
	open_first(s);
	fake_device_init(&third);
	assert_int_equal(fake_device_add(&third, &s->guest, 0xcc), 0);
	vmbus_device_rescind(third.handle); /* relid 3 is left */
	assert_int_equal(vmbus_device_offer_sub_channels(s->device.handle, 2), 0);
	guest_send_gpadl(&s->guest, 4, 3, 8, 200);
	guest_send_open(&s->guest, 4, 3, 4, 1);
	guest_send_gpadl(&s->guest, 1, 4, 3, 300);
	guest_send_teardown(&s->guest, 4, 3);
	state_writer_init(writer);
	assert_int_equal(vmbus_server_save(s->guest.server, writer), 0);
	start_afresh(s);
	fake_device_fini(&third);
}

static void section_that_is_cut_is_refused_at_every_length(void **state)
{
	struct setup *s = *state;
	struct state_writer writer;

	rich_bus_save(s, &writer);
	for (size_t length = STATE_HEADER_BYTES; length < writer.length; length++) {
		uint8_t *cut = malloc(length); /* so that a sanitizer sees any look past it */
		int rc;

		assert_non_null(cut);
		memcpy(cut, writer.bytes, length);
		put_le32(cut + 8, (uint32_t)(length - STATE_HEADER_BYTES));
		rc = restore_bytes(s, cut, length);
		/* Between two parts it is a smaller bus, which may stand for itself. */
		assert_true(rc == 0 || rc == -EPROTO);
		free(cut);
	}
	state_writer_fini(&writer);
}

static void byte_that_is_changed_harms_nothing(void **state)
{
	static const uint8_t changes[] = {0x01, 0x80, 0xff};
	struct setup *s = *state;
	struct state_writer writer;

	rich_bus_save(s, &writer);
	for (size_t at = STATE_HEADER_BYTES; at < writer.length; at++) {
		for (size_t i = 0; i < sizeof(changes); i++) {
			writer.bytes[at] ^= changes[i];
			restore_bytes(s, writer.bytes, writer.length); /* checks the fakes */
			writer.bytes[at] ^= changes[i];
		}
	}
	state_writer_fini(&writer);
}

static void forged_bus_that_is_right_is_taken(void **state)
{
	struct forged forged;

	forge_begin(&forged, *state);
	forge_connection(&forged, 0x50003, 3, 1);
	forge_channel(&forged, first_open);
	forge_channel(&forged, second);
	forge_gpadl(&forged, ring);
	assert_int_equal(forge_restore(&forged), 0);
}

static void connection_comes_first_and_once_and_is_one_that_we_speak(void **state)
{
	static const struct {
		uint32_t version, vp;
		uint8_t offers_sent;
	} bad[] = {
		{0x50003, 4, 1}, {0x60000, 0, 1}, {0xd, 0, 0}, {0x50003, UINT32_MAX, 0}, {0, 0, 1},
	};
	struct forged forged;

	for (size_t i = 0; i < ARRAY_LENGTH(bad); i++) {
		forge_begin(&forged, *state);
		forge_connection(&forged, bad[i].version, bad[i].vp, bad[i].offers_sent);
		assert_int_equal(forge_restore(&forged), -EPROTO);
	}
	forge_begin(&forged, *state);
	assert_int_equal(forge_restore(&forged), -EPROTO);
	forge_begin(&forged, *state);
	forge_connection(&forged, 0x50003, 0, 1);
	forge_connection(&forged, 0x50003, 0, 1);
	assert_int_equal(forge_restore(&forged), -EPROTO);
	forge_begin(&forged, *state);
	forge_channel(&forged, first);
	forge_connection(&forged, 0x50003, 0, 1);
	assert_int_equal(forge_restore(&forged), -EPROTO);
}

static void channels_that_no_guest_could_have_are_refused(void **state)
{
	static const struct forged_channel bad[][2] = {
		{FIRST, {1, 0xbb, 0, OFFERED, 0, 0, 0}},    /* relid twice */
		{FIRST, {3, 0xaa, 0, OFFERED, 0, 0, 0}},    /* primary twice */
		{FIRST, {0, 0xbb, 0, OFFERED, 0, 0, 0}},    /* relids begin with 1 */
		{FIRST, {2048, 0xbb, 0, OFFERED, 0, 0, 0}}, /* and end with 2047 */
		{FIRST, {3, 0xaa, 1, OFFERED, 0, 0, 0}},    /* sub of a closed primary */
		{SECOND, {3, 0xaa, 1, OFFERED, 0, 0, 0}},   /* sub without a primary */
		{FIRST, {3, 0xaa, 9, OFFERED, 0, 0, 0}},    /* more subs than it has */
		{FIRST, {2, 0xbb, 0, OPEN, 9, 0, 4}},	    /* open but not offered */
		{FIRST, {2, 0xbb, 0, RESCINDED, 0, 0, 0}},  /* rescinded but not offered */
		{FIRST, {2, 0xdd, 0, RESCINDED | OFFERED | OPEN, 9, 0, 4}},
		{FIRST_OPEN, SECOND}, /* without a ring */
	};
	struct forged forged;

	for (size_t i = 0; i < ARRAY_LENGTH(bad); i++) {
		forge_begin(&forged, *state);
		forge_connection(&forged, 0x50003, 0, 1);
		forge_channel(&forged, bad[i][0]);
		forge_channel(&forged, bad[i][1]);
		assert_int_equal(forge_restore(&forged), -EPROTO);
	}
}

static void sub_channels_are_held_to_what_the_device_has(void **state)
{
	static const struct forged_channel bad[][2] = {
		{{3, 0xaa, 1, OFFERED, 0, 0, 0}, {4, 0xaa, 1, OFFERED, 0, 0, 0}}, /* twice */
		{{3, 0xaa, 9, OFFERED, 0, 0, 0}, SECOND},			  /* of eight */
		{{3, 0xaa, 1, 0, 0, 0, 0}, SECOND},				  /* not offered */
	};
	struct forged forged;

	for (size_t i = 0; i < ARRAY_LENGTH(bad); i++) {
		forge_begin(&forged, *state);
		forge_connection(&forged, 0x50003, 0, 1);
		forge_channel(&forged, first_open);
		forge_channel(&forged, bad[i][0]);
		forge_channel(&forged, bad[i][1]);
		forge_gpadl(&forged, ring);
		assert_int_equal(forge_restore(&forged), -EPROTO);
	}
}

static void offers_before_they_were_asked_for_are_refused(void **state)
{
	struct forged forged;

	forge_begin(&forged, *state);
	forge_connection(&forged, 0x50003, 0, 0);
	forge_channel(&forged, first);
	assert_int_equal(forge_restore(&forged), -EPROTO);
	forge_begin(&forged, *state);
	forge_connection(&forged, 0, 0, 0);
	forge_channel(&forged, first);
	assert_int_equal(forge_restore(&forged), -EPROTO);
}

static void rings_that_the_live_bus_would_refuse_are_refused(void **state)
{
	static const struct {
		uint32_t vp, downstream;
		struct forged_gpadl gpadl;
	} bad[] = {
		{4, 4, {1, 9, LIVE, 1, .pages = 8}},		  /* no such VP */
		{0, 1, {1, 9, LIVE, 1, .pages = 8}},		  /* no page of data */
		{0, 7, {1, 9, LIVE, 1, .pages = 8}},		  /* none downstream */
		{0, UINT32_MAX, {1, 9, LIVE, 1, .pages = 8}},	  /* outside */
		{0, 4, {1, 9, LIVE, 1, .pages = 8, .offset = 8}}, /* not at a page's start */
		{0, 4, {1, 8, LIVE, 1, .pages = 8}},		  /* another GPADL */
		{0, 4, {2, 9, LIVE, 1, .pages = 8}},		  /* another channel's */
		{0, 4, {1, 9, 0, 1, .pages = 8, .length = 16}},	  /* not complete */
		{0, 2, {1, 9, LIVE, 1, .pages = 1}},
	};
	struct forged forged;

	for (size_t i = 0; i < ARRAY_LENGTH(bad); i++) {
		struct forged_channel open = first_open;

		open.vp = bad[i].vp;
		open.downstream = bad[i].downstream;
		forge_begin(&forged, *state);
		forge_connection(&forged, 0x50003, 0, 1);
		forge_channel(&forged, open);
		forge_channel(&forged, second);
		forge_gpadl(&forged, bad[i].gpadl);
		assert_int_equal(forge_restore(&forged), -EPROTO);
	}
}

static void gpadls_that_no_guest_could_have_are_refused(void **state)
{
	static const struct forged_gpadl bad[] = {
		{3, 9, LIVE, 1, .pages = 2},		     /* no such channel */
		{0, 9, LIVE, 1, .pages = 2},		     /* no channel at all */
		{2, 9, LIVE, 1, .pages = 2},		     /* not offered */
		{1, 9, LIVE, 0, .pages = 2},		     /* no range */
		{1, 9, LIVE, 2, .pages = 2},		     /* two, in room for one */
		{1, 9, LIVE, 65536, .pages = 2},	     /* not a u16 */
		{1, 9, LIVE, 1, .pages = 2, .expected = 32}, /* more than they need */
		{1, 9, LIVE, 1, .pages = 2, .length = 16},   /* less */
		{1, 9, LIVE, 1, .pages = 8191},		     /* longer than a u16 says */
		{1, 9, 0, 1, .pages = 2},		     /* all there, and not live */
		{1, 9, 0, 1, .pages = 2, .length = 25},	     /* more than all */
		{1, 9, LIVE | TORN_DOWN, 1, .pages = 2},     /* would be gone already */
		{1, 9, TORN_DOWN, 1, .pages = 2, .length = 16},
	};
	struct forged forged;

	for (size_t i = 0; i < ARRAY_LENGTH(bad); i++) {
		forge_begin(&forged, *state);
		forge_connection(&forged, 0x50003, 0, 1);
		forge_channel(&forged, first);
		forge_channel(&forged, (struct forged_channel){2, 0xbb, 0, 0, 0, 0, 0});
		forge_gpadl(&forged, bad[i]);
		assert_int_equal(forge_restore(&forged), -EPROTO);
	}
	forge_begin(&forged, *state); /* an id twice */
	forge_connection(&forged, 0x50003, 0, 1);
	forge_channel(&forged, first);
	forge_channel(&forged, second);
	forge_gpadl(&forged, (struct forged_gpadl){1, 9, LIVE, 1, .pages = 2});
	forge_gpadl(&forged, (struct forged_gpadl){2, 9, LIVE, 1, .pages = 2});
	assert_int_equal(forge_restore(&forged), -EPROTO);
}

static int many_gpadls_restore(struct setup *s, uint32_t count, uint32_t pages)
{
	struct forged forged;

	forge_begin(&forged, s);
	forge_connection(&forged, 0x50003, 0, 1);
	forge_channel(&forged, first);
	for (uint32_t id = 0; id < count; id++)
		forge_gpadl(&forged, (struct forged_gpadl){1, id, LIVE, 1, .pages = pages});
	return forge_restore(&forged);
}

static void a_section_is_held_to_what_a_guest_may_make_us_keep(void **state)
{
	const uint32_t of_4096_pages = (uint32_t)(SERVER_MAX_GPADL_BYTES / (8 + 4096 * 8));

	assert_int_equal(many_gpadls_restore(*state, SERVER_MAX_GPADLS, 1), 0);
	assert_int_equal(many_gpadls_restore(*state, SERVER_MAX_GPADLS + 1, 1), -EPROTO);
	assert_int_equal(many_gpadls_restore(*state, of_4096_pages, 4096), 0);
	assert_int_equal(many_gpadls_restore(*state, of_4096_pages + 1, 4096), -EPROTO);
}

/* Every relid is taken, and the devices were added in another order than at the source. */
static void bus_that_is_full_is_restored(void **state)
{
	struct forged forged;

	forge_begin(&forged, *state);
	forge_connection(&forged, 0x50003, 0, 1);
	for (uint32_t relid = 1; relid <= VMBUS_MAX_CHANNELS - 2; relid++)
		forge_channel(&forged, (struct forged_channel){relid, 0xdd, relid,
							       RESCINDED | OFFERED, 0, 0, 0});
	forge_channel(&forged, (struct forged_channel){2046, 0xbb, 0, OFFERED, 0, 0, 0});
	forge_channel(&forged, (struct forged_channel){2047, 0xaa, 0, OFFERED, 0, 0, 0});
	assert_int_equal(forge_restore(&forged), 0);
	forge_begin(&forged, *state); /* and one too many: a device has no place left */
	forge_connection(&forged, 0x50003, 0, 1);
	for (uint32_t relid = 1; relid <= VMBUS_MAX_CHANNELS - 1; relid++)
		forge_channel(&forged, (struct forged_channel){relid, 0xdd, relid,
							       RESCINDED | OFFERED, 0, 0, 0});
	assert_int_equal(forge_restore(&forged), -EPROTO);
}

static void section_of_a_newer_version_is_read_where_it_says_so(void **state)
{
	struct setup *s = *state;
	struct state_writer writer;
	const uint32_t newer_tag = STATE_TAG('N', 'E', 'W', ' ');

	for (uint16_t readable_by = 1; readable_by <= 2; readable_by++) {
		const int expected = readable_by == 1 ? 0 : -EOPNOTSUPP;

		state_writer_init(&writer);
		state_begin(&writer, VMBUS_SERVER_STATE_TAG, 2, readable_by);
		state_begin(&writer, SAVED_CONNECTION, 1, 1);
		state_put_bytes(&writer, "\3\0\5\0\0\0\0\0\1", 9);
		state_end(&writer);
		state_end(&writer);
		assert_int_equal(restore_bytes(s, writer.bytes, writer.length), expected);
		state_writer_fini(&writer);

		state_writer_init(&writer);
		state_begin(&writer, VMBUS_SERVER_STATE_TAG, 1, 1);
		state_begin(&writer, SAVED_CONNECTION, 2, readable_by);
		state_put_bytes(&writer, "\3\0\5\0\0\0\0\0\1 more", 14);
		state_end(&writer);
		state_begin(&writer, newer_tag, 1, readable_by == 1 ? STATE_SKIPPABLE : 1);
		state_end(&writer);
		state_end(&writer);
		assert_int_equal(restore_bytes(s, writer.bytes, writer.length), expected);
		state_writer_fini(&writer);
	}
}

static void unknown_part_that_matters_is_refused(void **state)
{
	struct forged forged;

	forge_begin(&forged, *state);
	forge_connection(&forged, 0x50003, 0, 1);
	state_begin(&forged.writer, STATE_TAG('N', 'E', 'W', ' '), 1, 1);
	state_end(&forged.writer);
	assert_int_equal(forge_restore(&forged), -EOPNOTSUPP);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(saved_bus_has_these_bytes),
		TEST(section_that_is_cut_is_refused_at_every_length),
		TEST(byte_that_is_changed_harms_nothing),
		TEST(forged_bus_that_is_right_is_taken),
		TEST(connection_comes_first_and_once_and_is_one_that_we_speak),
		TEST(channels_that_no_guest_could_have_are_refused),
		TEST(sub_channels_are_held_to_what_the_device_has),
		TEST(offers_before_they_were_asked_for_are_refused),
		TEST(rings_that_the_live_bus_would_refuse_are_refused),
		TEST(gpadls_that_no_guest_could_have_are_refused),
		TEST(a_section_is_held_to_what_a_guest_may_make_us_keep),
		TEST(bus_that_is_full_is_restored),
		TEST(section_of_a_newer_version_is_read_where_it_says_so),
		TEST(unknown_part_that_matters_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
