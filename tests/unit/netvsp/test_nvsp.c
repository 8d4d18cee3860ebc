/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The NVSP session: golden bytes as Linux 6.1 sends and expects them, order, limits, and hostile
 * messages.
 */
#include "netvsp/nvsp.h"

#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "tests/unit/test_main.h"

#define RECV_GPADL 0xe1e10
#define SEND_GPADL 0xe1e11

struct trace {
	struct nvsp_session *session;
	uint8_t reply[64];
	size_t reply_bytes;
	uint64_t reply_id;
	int replies;
	uint8_t sent[256];
	size_t sent_bytes;
	int sends;
	bool attached[2];
	int attaches, detaches, changes;
	uint32_t offered;
	bool replied_before_offer;
	size_t recv_bytes;
	int attach_result;
};

static void op_complete(void *ctx, uint64_t transaction_id, const void *reply, size_t length)
{
	struct trace *trace = ctx;

	assert_true(length <= NVSP_MAX_MESSAGE_BYTES);
	memcpy(trace->reply, reply, length);
	trace->reply_bytes = length;
	trace->reply_id = transaction_id;
	trace->replies++;
}

static void op_send(void *ctx, const void *message, size_t length)
{
	struct trace *trace = ctx;

	assert_true(length <= sizeof(trace->sent));
	memcpy(trace->sent, message, length);
	trace->sent_bytes = length;
	trace->sends++;
}

static int op_gpadl_size(void *ctx, uint32_t gpadl_id, size_t *size_bytes)
{
	const struct trace *trace = ctx;

	if (gpadl_id != RECV_GPADL && gpadl_id != SEND_GPADL)
		return -ENOENT;
	*size_bytes = gpadl_id == RECV_GPADL ? trace->recv_bytes : 1u << 20;
	return 0;
}

static int op_attach(void *ctx, enum nvsp_buffer buffer, const struct nvsp_layout *layout)
{
	struct trace *trace = ctx;

	assert_false(trace->attached[buffer]);
	assert_true(layout->section_count > 0);
	if (trace->attach_result)
		return trace->attach_result;
	trace->attached[buffer] = true;
	trace->attaches++;
	return 0;
}

static void op_detach(void *ctx, enum nvsp_buffer buffer)
{
	struct trace *trace = ctx;

	assert_true(trace->attached[buffer]);
	trace->attached[buffer] = false;
	trace->detaches++;
}

static void op_offer(void *ctx, uint32_t count)
{
	struct trace *trace = ctx;

	trace->offered = count;
	trace->replied_before_offer = trace->replies > 0;
}

static void op_changed(void *ctx)
{
	((struct trace *)ctx)->changes++;
}

static const struct nvsp_ops ops = {
	op_complete, op_send, op_gpadl_size, op_attach, op_detach, op_offer, op_changed,
};

static int set_up(void **state)
{
	static struct trace trace;
	const struct nvsp_config config = {.max_channels = 8, .max_mtu = 9000};

	memset(&trace, 0, sizeof(trace));
	trace.recv_bytes = 16u << 20;
	*state = &trace;
	return nvsp_session_create(&config, &ops, &trace, &trace.session);
}

static int tear_down(void **state)
{
	nvsp_session_destroy(((struct trace *)*state)->session);
	return 0;
}

/* Sends bytes, padded to the 40 that Linux 6.1 sends, with completion requested. */
static void say(struct trace *trace, const uint8_t *bytes, size_t length)
{
	uint8_t message[NVSP_MESSAGE_BYTES_61] = {0};

	memcpy(message, bytes, length);
	trace->replies = 0;
	memset(trace->reply, 0xaa, sizeof(trace->reply));
	nvsp_session_message(trace->session, 0x1234, true, message, sizeof(message));
}

static void init(struct trace *trace, uint32_t min, uint32_t max)
{
	uint8_t message[12];

	put_le32(message, NVSP_INIT);
	put_le32(message + 4, min);
	put_le32(message + 8, max);
	say(trace, message, sizeof(message));
}

static void config(struct trace *trace, uint32_t mtu_with_header)
{
	uint8_t message[20] = {0};

	put_le32(message, NVSP_NDIS_CONFIG);
	put_le32(message + 4, mtu_with_header);
	put_le64(message + 12, NVSP_CAPABILITY_8021Q | NVSP_CAPABILITY_RSC);
	say(trace, message, sizeof(message));
}

static void buffer(struct trace *trace, uint32_t type, uint32_t gpadl, uint16_t id)
{
	uint8_t message[10];

	put_le32(message, type);
	put_le32(message + 4, gpadl);
	put_le16(message + 8, id);
	say(trace, message, sizeof(message));
}

static void revoke(struct trace *trace, uint32_t type, uint16_t id)
{
	uint8_t message[6];

	put_le32(message, type);
	put_le16(message + 4, id);
	say(trace, message, sizeof(message));
}

static void sub_channels(struct trace *trace, uint32_t count)
{
	uint8_t message[12];

	put_le32(message, NVSP_SUB_CHANNEL);
	put_le32(message + 4, NVSP_SUB_CHANNEL_ALLOCATE);
	put_le32(message + 8, count);
	say(trace, message, sizeof(message));
}

static void assert_reply(const struct trace *trace, const uint8_t *golden, size_t length)
{
	uint8_t padded[64] = {0};

	assert_int_equal(trace->replies, 1);
	assert_int_equal(trace->reply_id, 0x1234);
	assert_int_equal(trace->reply_bytes, nvsp_session_reply_bytes(trace->session));
	memcpy(padded, golden, length);
	assert_memory_equal(trace->reply, padded, trace->reply_bytes);
}

static uint32_t status_of(const struct trace *trace)
{
	assert_int_equal(trace->replies, 1);
	assert_true(trace->reply_bytes >= 8);
	return get_le32(trace->reply + 4);
}

/* ---- version ---- */

static void init_6_1_is_answered_as_linux_reads_it(void **state)
{
	/* INIT_COMPLETE, version field unused, MDL chain 34, status 1; padded to 40. */
	static const uint8_t golden[] = {2,  0, 0, 0, 0xff, 0xff, 0xff, 0xff,
					 34, 0, 0, 0, 1,    0,	  0,	0};
	struct trace *trace = *state;

	init(trace, NVSP_VERSION_61, NVSP_VERSION_61);
	assert_reply(trace, golden, sizeof(golden));
	assert_int_equal(trace->reply_bytes, 40);
	assert_int_equal(nvsp_session_version(trace->session), NVSP_VERSION_61);
}

static void every_known_version_is_accepted(void **state)
{
	static const struct {
		uint32_t version;
		size_t reply_bytes;
	} cases[] = {
		{NVSP_VERSION_61, 40}, {NVSP_VERSION_6, 28}, {NVSP_VERSION_5, 28},
		{NVSP_VERSION_4, 28},  {NVSP_VERSION_2, 28}, {NVSP_VERSION_1, 28},
	};
	struct trace *trace = *state;

	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		nvsp_session_reset(trace->session);
		init(trace, cases[i].version, cases[i].version);
		assert_int_equal(get_le32(trace->reply + 12), NVSP_STATUS_SUCCESS);
		assert_int_equal(nvsp_session_version(trace->session), cases[i].version);
		assert_int_equal(trace->reply_bytes, cases[i].reply_bytes);
	}
}

static void unknown_version_is_refused_and_the_next_can_follow(void **state)
{
	struct trace *trace = *state;

	init(trace, 0x70000, 0x70000);
	assert_int_equal(get_le32(trace->reply + 12), NVSP_STATUS_TOO_NEW);
	assert_int_equal(nvsp_session_version(trace->session), 0);
	init(trace, 0x30001, 0x30001);
	assert_int_equal(get_le32(trace->reply + 12), NVSP_STATUS_FAILURE);
	init(trace, NVSP_VERSION_5, NVSP_VERSION_5);
	assert_int_equal(get_le32(trace->reply + 12), NVSP_STATUS_SUCCESS);
}

static void newest_of_a_range_is_chosen(void **state)
{
	struct trace *trace = *state;

	init(trace, NVSP_VERSION_2, NVSP_VERSION_6);
	assert_int_equal(nvsp_session_version(trace->session), NVSP_VERSION_6);
}

static void nothing_works_before_init(void **state)
{
	struct trace *trace = *state;

	buffer(trace, NVSP_RECV_BUF, RECV_GPADL, NVSP_RECV_BUFFER_ID);
	assert_int_equal(get_le32(trace->reply), NVSP_RECV_BUF_COMPLETE);
	assert_int_equal(status_of(trace), NVSP_STATUS_FAILURE);
	sub_channels(trace, 1);
	assert_int_equal(status_of(trace), NVSP_STATUS_FAILURE);
	assert_int_equal(trace->attaches, 0);
	assert_int_equal(trace->offered, 0);
}

/* ---- NDIS_CONFIG ---- */

static void ndis_config_sets_mtu_less_the_ethernet_header(void **state)
{
	struct trace *trace = *state;

	init(trace, NVSP_VERSION_61, NVSP_VERSION_61);
	config(trace, 9000 + 14);
	assert_int_equal(nvsp_session_mtu(trace->session), 9000);
	assert_int_equal(nvsp_session_capabilities(trace->session),
			 NVSP_CAPABILITY_8021Q | NVSP_CAPABILITY_RSC);
	/* Linux asks for no completion; a guest that does gets an empty one. */
	assert_int_equal(trace->reply_bytes, 0);
	assert_int_equal(trace->replies, 1);
}

static void mtu_is_bounded_both_ways(void **state)
{
	struct trace *trace = *state;

	init(trace, NVSP_VERSION_61, NVSP_VERSION_61);
	config(trace, UINT32_MAX);
	assert_int_equal(nvsp_session_mtu(trace->session), 9000);
	config(trace, 0);
	assert_int_equal(nvsp_session_mtu(trace->session), NVSP_MIN_MTU);
	config(trace, 13);
	assert_int_equal(nvsp_session_mtu(trace->session), NVSP_MIN_MTU);
}

/* ---- buffers ---- */

static void receive_buffer_is_one_section_that_fits(void **state)
{
	/* 16 MiB in sections of 1728: 9709 of them, end at 9709 * 1728 = 16777152. */
	static const uint8_t golden[] = {102,  0,    0, 0, 1,	 0,    0,    0, 1, 0,
					 0,    0,    0, 0, 0,	 0,    0xc0, 6, 0, 0,
					 0xed, 0x25, 0, 0, 0xc0, 0xff, 0xff, 0};
	struct trace *trace = *state;

	init(trace, NVSP_VERSION_61, NVSP_VERSION_61);
	config(trace, 1514);
	buffer(trace, NVSP_RECV_BUF, RECV_GPADL, NVSP_RECV_BUFFER_ID);
	assert_reply(trace, golden, sizeof(golden));
	assert_int_equal(nvsp_session_layout(trace->session, NVSP_BUFFER_RECV)->id,
			 NVSP_RECV_BUFFER_ID);
	assert_int_equal(nvsp_session_layout(trace->session, NVSP_BUFFER_RECV)->section_count,
			 9709);
}

static void send_buffer_is_cut_into_6144_bytes(void **state)
{
	static const uint8_t golden[] = {105, 0, 0, 0, 1, 0, 0, 0, 0, 0x18, 0, 0};
	struct trace *trace = *state;

	init(trace, NVSP_VERSION_5, NVSP_VERSION_5);
	buffer(trace, NVSP_SEND_BUF, SEND_GPADL, NVSP_SEND_BUFFER_ID);
	assert_reply(trace, golden, sizeof(golden));
	assert_int_equal(nvsp_session_layout(trace->session, NVSP_BUFFER_SEND)->section_count,
			 (1u << 20) / 6144);
}

static void receive_sections_hold_the_largest_frame(void **state)
{
	(void)state;
	assert_int_equal(nvsp_recv_section_bytes(1500), 1728);
	for (uint32_t mtu = NVSP_MIN_MTU; mtu <= NVSP_MAX_MTU; mtu++) {
		/* 124 bytes of RNDIS header, Ethernet, one tag. */
		assert_true(nvsp_recv_section_bytes(mtu) >= 124 + 14 + 4 + mtu);
		assert_int_equal(nvsp_recv_section_bytes(mtu) % 8, 0);
	}
}

static void buffer_smaller_than_a_section_is_refused(void **state)
{
	struct trace *trace = *state;

	trace->recv_bytes = 1727;
	init(trace, NVSP_VERSION_61, NVSP_VERSION_61);
	buffer(trace, NVSP_RECV_BUF, RECV_GPADL, NVSP_RECV_BUFFER_ID);
	assert_int_equal(status_of(trace), NVSP_STATUS_FAILURE);
	assert_null(nvsp_session_layout(trace->session, NVSP_BUFFER_RECV));
}

static void unknown_gpadl_and_failed_attach_are_refused(void **state)
{
	struct trace *trace = *state;

	init(trace, NVSP_VERSION_61, NVSP_VERSION_61);
	buffer(trace, NVSP_SEND_BUF, 0x999, 0);
	assert_int_equal(status_of(trace), NVSP_STATUS_FAILURE);
	trace->attach_result = -EFAULT;
	buffer(trace, NVSP_SEND_BUF, SEND_GPADL, 0);
	assert_int_equal(status_of(trace), NVSP_STATUS_FAILURE);
	trace->attach_result = 0;
	buffer(trace, NVSP_SEND_BUF, SEND_GPADL, 0);
	assert_int_equal(status_of(trace), NVSP_STATUS_SUCCESS);
}

static void second_buffer_needs_a_revoke_first(void **state)
{
	struct trace *trace = *state;

	init(trace, NVSP_VERSION_61, NVSP_VERSION_61);
	buffer(trace, NVSP_RECV_BUF, RECV_GPADL, NVSP_RECV_BUFFER_ID);
	buffer(trace, NVSP_RECV_BUF, RECV_GPADL, NVSP_RECV_BUFFER_ID);
	assert_int_equal(status_of(trace), NVSP_STATUS_FAILURE);
	revoke(trace, NVSP_REVOKE_RECV_BUF, 0xbeef); /* another id: nothing */
	assert_true(trace->attached[NVSP_BUFFER_RECV]);
	revoke(trace, NVSP_REVOKE_RECV_BUF, NVSP_RECV_BUFFER_ID);
	assert_false(trace->attached[NVSP_BUFFER_RECV]);
	buffer(trace, NVSP_RECV_BUF, RECV_GPADL, NVSP_RECV_BUFFER_ID);
	assert_int_equal(status_of(trace), NVSP_STATUS_SUCCESS);
}

static void neither_version_nor_mtu_changes_under_a_buffer(void **state)
{
	struct trace *trace = *state;

	init(trace, NVSP_VERSION_61, NVSP_VERSION_61);
	config(trace, 1514);
	buffer(trace, NVSP_RECV_BUF, RECV_GPADL, NVSP_RECV_BUFFER_ID);
	config(trace, 9014);
	assert_int_equal(nvsp_session_mtu(trace->session), 1500);
	init(trace, NVSP_VERSION_5, NVSP_VERSION_5);
	assert_int_equal(get_le32(trace->reply + 12), NVSP_STATUS_FAILURE);
	assert_int_equal(nvsp_session_version(trace->session), NVSP_VERSION_61);
}

static void torn_down_gpadl_takes_its_buffer_along(void **state)
{
	struct trace *trace = *state;

	init(trace, NVSP_VERSION_61, NVSP_VERSION_61);
	buffer(trace, NVSP_RECV_BUF, RECV_GPADL, NVSP_RECV_BUFFER_ID);
	buffer(trace, NVSP_SEND_BUF, SEND_GPADL, 0);
	nvsp_session_gpadl_removed(trace->session, 0x777);
	assert_int_equal(trace->detaches, 0);
	nvsp_session_gpadl_removed(trace->session, RECV_GPADL);
	assert_false(trace->attached[NVSP_BUFFER_RECV]);
	assert_true(trace->attached[NVSP_BUFFER_SEND]);
}

static void reset_detaches_and_forgets(void **state)
{
	struct trace *trace = *state;

	init(trace, NVSP_VERSION_61, NVSP_VERSION_61);
	config(trace, 9014);
	buffer(trace, NVSP_RECV_BUF, RECV_GPADL, NVSP_RECV_BUFFER_ID);
	buffer(trace, NVSP_SEND_BUF, SEND_GPADL, 0);
	sub_channels(trace, 3);
	nvsp_session_reset(trace->session);
	assert_int_equal(trace->detaches, 2);
	assert_int_equal(nvsp_session_version(trace->session), 0);
	assert_int_equal(nvsp_session_mtu(trace->session), 1500);
	assert_int_equal(nvsp_session_channels(trace->session), 1);
	nvsp_session_reset(trace->session);
	assert_int_equal(trace->detaches, 2);
}

/* ---- sub-channels ---- */

static void sub_channels_are_granted_up_to_the_limit(void **state)
{
	static const uint8_t golden[] = {133, 0, 0, 0, 1, 0, 0, 0, 7, 0, 0, 0};
	struct trace *trace = *state;

	init(trace, NVSP_VERSION_61, NVSP_VERSION_61);
	sub_channels(trace, 63);
	assert_reply(trace, golden, sizeof(golden));
	assert_int_equal(trace->offered, 7);
	assert_true(trace->replied_before_offer);
	assert_int_equal(nvsp_session_channels(trace->session), 8);
}

static void sub_channels_are_granted_once(void **state)
{
	struct trace *trace = *state;

	init(trace, NVSP_VERSION_61, NVSP_VERSION_61);
	sub_channels(trace, 2);
	trace->offered = 0;
	sub_channels(trace, 2);
	assert_int_equal(status_of(trace), NVSP_STATUS_FAILURE);
	assert_int_equal(trace->offered, 0);
	assert_int_equal(nvsp_session_channels(trace->session), 3);
}

static void sub_channels_came_with_version_5(void **state)
{
	struct trace *trace = *state;

	init(trace, NVSP_VERSION_4, NVSP_VERSION_4);
	sub_channels(trace, 2);
	assert_int_equal(get_le32(trace->reply), NVSP_SUB_CHANNEL);
	assert_int_equal(status_of(trace), NVSP_STATUS_FAILURE);
	assert_int_equal(trace->offered, 0);
}

static void unknown_sub_channel_operation_is_refused(void **state)
{
	static const uint8_t message[] = {133, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0};
	struct trace *trace = *state;

	init(trace, NVSP_VERSION_61, NVSP_VERSION_61);
	say(trace, message, sizeof(message));
	assert_int_equal(status_of(trace), NVSP_STATUS_FAILURE);
	assert_int_equal(trace->offered, 0);
}

static void send_table_follows_the_last_open(void **state)
{
	/* 16 entries at offset 12: channels 0, 1, 2, 0, ... */
	static const uint8_t golden[] = {134, 0, 0, 0, 16, 0, 0, 0, 12, 0, 0, 0, 0, 0, 0, 0,
					 1,   0, 0, 0, 2,  0, 0, 0, 0,	0, 0, 0, 1, 0, 0, 0};
	struct trace *trace = *state;

	init(trace, NVSP_VERSION_61, NVSP_VERSION_61);
	sub_channels(trace, 2);
	nvsp_session_channel_opened(trace->session, 2);
	assert_int_equal(trace->sends, 0);
	nvsp_session_channel_opened(trace->session, 1);
	assert_int_equal(trace->sends, 1);
	assert_int_equal(trace->sent_bytes, 12 + 64);
	assert_memory_equal(trace->sent, golden, sizeof(golden));
	nvsp_session_channel_closed(trace->session, 1);
	nvsp_session_channel_opened(trace->session, 1);
	assert_int_equal(trace->sends, 1);
}

static void sixty_four_channels_are_counted_right(void **state)
{
	const struct nvsp_config most = {.max_channels = 64, .max_mtu = 1500};
	struct trace *trace = *state;

	nvsp_session_destroy(trace->session);
	assert_int_equal(nvsp_session_create(&most, &ops, trace, &trace->session), 0);
	init(trace, NVSP_VERSION_61, NVSP_VERSION_61);
	sub_channels(trace, UINT32_MAX);
	assert_int_equal(trace->offered, 63);
	for (uint32_t i = 0; i < 63; i++)
		nvsp_session_channel_opened(trace->session, i);
	assert_int_equal(trace->sends, 0);
	nvsp_session_channel_opened(trace->session, 64); /* no such channel */
	assert_int_equal(trace->sends, 0);
	nvsp_session_channel_opened(trace->session, 63);
	assert_int_equal(trace->sends, 1);
}

/* ---- the rest ---- */

static void switch_data_path_gets_the_empty_completion_that_linux_waits_for(void **state)
{
	static const uint8_t message[] = {129, 0, 0, 0, 0, 0, 0, 0};
	struct trace *trace = *state;

	init(trace, NVSP_VERSION_61, NVSP_VERSION_61);
	say(trace, message, sizeof(message));
	assert_int_equal(trace->replies, 1);
	assert_int_equal(trace->reply_bytes, 0);
}

static void messages_without_completion_get_none(void **state)
{
	uint8_t message[40] = {NVSP_INIT};
	struct trace *trace = *state;

	put_le32(message + 4, NVSP_VERSION_61);
	put_le32(message + 8, NVSP_VERSION_61);
	nvsp_session_message(trace->session, 1, false, message, sizeof(message));
	put_le32(message, NVSP_SUB_CHANNEL);
	put_le32(message + 4, NVSP_SUB_CHANNEL_ALLOCATE);
	put_le32(message + 8, 4);
	nvsp_session_message(trace->session, 1, false, message, sizeof(message));
	assert_int_equal(trace->replies, 0);
	/* Nobody would know what was granted. */
	assert_int_equal(trace->offered, 0);
}

static void every_message_is_completed_once_at_any_length(void **state)
{
	struct trace *trace = *state;
	uint8_t message[40];

	init(trace, NVSP_VERSION_61, NVSP_VERSION_61);
	memset(message, 0xff, sizeof(message));
	for (uint32_t type = 0; type < 140; type++)
		for (size_t length = 0; length <= sizeof(message); length++) {
			put_le32(message, type);
			trace->replies = 0;
			nvsp_session_message(trace->session, 9, true, message, length);
			assert_int_equal(trace->replies, 1);
		}
	assert_int_equal(trace->attaches, 0);
}

static void config_out_of_range_is_refused(void **state)
{
	struct nvsp_session *session;
	struct trace *trace = *state;

	assert_int_equal(nvsp_session_create(&(struct nvsp_config){0, 1500}, &ops, trace, &session),
			 -EINVAL);
	assert_int_equal(
		nvsp_session_create(&(struct nvsp_config){65, 1500}, &ops, trace, &session),
		-EINVAL);
	assert_int_equal(nvsp_session_create(&(struct nvsp_config){1, 9217}, &ops, trace, &session),
			 -EINVAL);
}

/* ---- NVSP_RNDIS ---- */

static void rndis_envelope_is_read_and_bounded(void **state)
{
	static const uint8_t wire[] = {107, 0, 0, 0, 1, 0, 0, 0, 3, 0, 0, 0, 0, 0x18, 0, 0};
	const struct nvsp_layout layout = {.section_bytes = 6144, .section_count = 4};
	struct nvsp_rndis rndis;
	size_t offset, length;

	(void)state;
	assert_int_equal(nvsp_parse_rndis(wire, sizeof(wire), &rndis), 0);
	assert_int_equal(rndis.channel_type, NVSP_RNDIS_CONTROL);
	assert_int_equal(nvsp_rndis_section(&rndis, &layout, &offset, &length), 0);
	assert_int_equal(offset, 3 * 6144);
	assert_int_equal(length, 6144);
	rndis.section_bytes = 6145;
	assert_int_equal(nvsp_rndis_section(&rndis, &layout, &offset, &length), -EINVAL);
	rndis.section_bytes = 1;
	rndis.section_index = 4;
	assert_int_equal(nvsp_rndis_section(&rndis, &layout, &offset, &length), -EINVAL);
	rndis.section_index = 0;
	assert_int_equal(nvsp_rndis_section(&rndis, NULL, &offset, &length), -EINVAL);
	rndis.section_index = NVSP_NO_SECTION;
	assert_int_equal(nvsp_rndis_section(&rndis, NULL, &offset, &length), 0);
	assert_int_equal(length, 0);
	assert_int_equal(nvsp_parse_rndis(wire, 15, &rndis), -EINVAL);
}

static void rndis_envelope_with_another_channel_type_is_refused(void **state)
{
	static const uint8_t wire[] = {107,  0,	   0,	 0,    2, 0, 0, 0,
				       0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0};
	struct nvsp_rndis rndis;

	(void)state;
	assert_int_equal(nvsp_parse_rndis(wire, sizeof(wire), &rndis), -EINVAL);
}

static void rndis_messages_are_built_as_linux_reads_them(void **state)
{
	static const uint8_t complete[28] = {108, 0, 0, 0, 5};
	static const uint8_t data[28] = {107, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff};
	uint8_t message[NVSP_MAX_MESSAGE_BYTES];

	(void)state;
	nvsp_build_rndis_complete(message, 28, NVSP_STATUS_INVALID_RNDIS_PACKET);
	assert_memory_equal(message, complete, 28);
	nvsp_build_rndis(message, 28, NVSP_RNDIS_DATA);
	assert_memory_equal(message, data, 28);
	assert_int_equal(nvsp_parse_rndis_complete(complete, 28), NVSP_STATUS_INVALID_RNDIS_PACKET);
	assert_int_equal(nvsp_parse_rndis_complete(complete, 8), NVSP_STATUS_INVALID_RNDIS_PACKET);
	assert_int_equal(nvsp_parse_rndis_complete(complete, 7), NVSP_STATUS_NONE);
	assert_int_equal(nvsp_parse_rndis_complete(data, 28), NVSP_STATUS_NONE);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(init_6_1_is_answered_as_linux_reads_it),
		TEST(every_known_version_is_accepted),
		TEST(unknown_version_is_refused_and_the_next_can_follow),
		TEST(newest_of_a_range_is_chosen),
		TEST(nothing_works_before_init),
		TEST(ndis_config_sets_mtu_less_the_ethernet_header),
		TEST(mtu_is_bounded_both_ways),
		TEST(receive_buffer_is_one_section_that_fits),
		TEST(send_buffer_is_cut_into_6144_bytes),
		TEST(receive_sections_hold_the_largest_frame),
		TEST(buffer_smaller_than_a_section_is_refused),
		TEST(unknown_gpadl_and_failed_attach_are_refused),
		TEST(second_buffer_needs_a_revoke_first),
		TEST(neither_version_nor_mtu_changes_under_a_buffer),
		TEST(torn_down_gpadl_takes_its_buffer_along),
		TEST(reset_detaches_and_forgets),
		TEST(sub_channels_are_granted_up_to_the_limit),
		TEST(sub_channels_are_granted_once),
		TEST(sub_channels_came_with_version_5),
		TEST(unknown_sub_channel_operation_is_refused),
		TEST(send_table_follows_the_last_open),
		TEST(sixty_four_channels_are_counted_right),
		TEST(switch_data_path_gets_the_empty_completion_that_linux_waits_for),
		TEST(messages_without_completion_get_none),
		TEST(every_message_is_completed_once_at_any_length),
		TEST(config_out_of_range_is_refused),
		TEST(rndis_envelope_is_read_and_bounded),
		TEST(rndis_envelope_with_another_channel_type_is_refused),
		TEST(rndis_messages_are_built_as_linux_reads_them),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
