/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The VSTOR session, against the bytes that Linux 6.1's driver sends and expects.
 */
#include "tests/unit/test_main.h"

#include <string.h>

#include "storvsp/vstor.h"

#define SUB_CHANNELS 3

/* What the session says to one packet. */
struct told {
	enum vstor_action action;
	struct vstor_packet reply;
	uint32_t argument;
};

static struct told tell_bytes(struct vstor_session *session, const void *bytes, size_t length,
			      bool primary)
{
	struct told told;

	told.action =
		vstor_session_message(session, bytes, length, primary, &told.reply, &told.argument);
	assert_int_equal(told.reply.header.operation, VSTOR_COMPLETE_IO);
	return told;
}

static struct told tell(struct vstor_session *session, uint32_t operation, uint16_t value)
{
	const struct vstor_packet packet = {.header = {.operation = operation, .flags = 1},
					    .version = value};

	return tell_bytes(session, &packet, sizeof(packet), true);
}

static void begin(struct vstor_session *session, uint16_t version)
{
	vstor_session_reset(session, SUB_CHANNELS);
	assert_int_equal(tell(session, VSTOR_BEGIN_INITIALIZATION, 0).reply.header.status, 0);
	assert_int_equal(tell(session, VSTOR_QUERY_PROTOCOL_VERSION, version).reply.header.status,
			 0);
	assert_int_equal(tell(session, VSTOR_QUERY_PROPERTIES, 0).reply.header.status, 0);
	assert_int_equal(tell(session, VSTOR_END_INITIALIZATION, 0).reply.header.status, 0);
	assert_int_equal(session->state, VSTOR_READY);
	assert_int_equal(session->version, version);
}

static void versions_from_5_1_to_6_2_are_agreed_on(void **state)
{
	struct vstor_session session;

	(void)state;
	begin(&session, 0x0602);
	begin(&session, 0x0600);
	begin(&session, 0x0501);
}

static void an_unknown_version_is_refused_and_another_may_follow(void **state)
{
	static const uint16_t unknown[] = {0x0000, 0x0402, 0x0601, 0x0603, 0x0206, 0xffff};
	struct vstor_session session;

	(void)state;
	vstor_session_reset(&session, SUB_CHANNELS);
	tell(&session, VSTOR_BEGIN_INITIALIZATION, 0);
	for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++) {
		assert_int_not_equal(tell(&session, VSTOR_QUERY_PROTOCOL_VERSION, unknown[i])
					     .reply.header.status,
				     0);
		assert_int_equal(session.version, 0);
	}
	assert_int_equal(tell(&session, VSTOR_QUERY_PROTOCOL_VERSION, 0x0602).reply.header.status,
			 0);
	assert_int_equal(session.version, 0x0602);
}

static void properties_are_these_bytes(void **state)
{
	static const uint8_t golden[64] = {
		1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,		 /* COMPLETE_IO, success */
		0, 0, 0, 0, 3, 0, 0, 0, 1, 0, 0, 0, 0, 0, 16, 0, /* 3 more channels, 1 MiB */
	};
	struct vstor_session session;
	struct told told;

	(void)state;
	vstor_session_reset(&session, SUB_CHANNELS);
	tell(&session, VSTOR_BEGIN_INITIALIZATION, 0);
	tell(&session, VSTOR_QUERY_PROTOCOL_VERSION, 0x0602);
	told = tell(&session, VSTOR_QUERY_PROPERTIES, 0);
	assert_memory_equal(&told.reply, golden, sizeof(golden));
}

static void without_sub_channels_none_are_announced(void **state)
{
	struct vstor_session session;
	struct told told;

	(void)state;
	vstor_session_reset(&session, 0);
	tell(&session, VSTOR_BEGIN_INITIALIZATION, 0);
	tell(&session, VSTOR_QUERY_PROTOCOL_VERSION, 0x0602);
	told = tell(&session, VSTOR_QUERY_PROPERTIES, 0);
	assert_int_equal(told.reply.properties.flags, 0);
	assert_int_equal(told.reply.properties.max_sub_channels, 0);
}

static void a_packet_out_of_turn_is_refused_and_changes_nothing(void **state)
{
	static const uint32_t steps[] = {VSTOR_BEGIN_INITIALIZATION, VSTOR_QUERY_PROTOCOL_VERSION,
					 VSTOR_QUERY_PROPERTIES, VSTOR_END_INITIALIZATION};
	struct vstor_session session;

	(void)state;
	vstor_session_reset(&session, SUB_CHANNELS);
	for (size_t at = 0; at <= 4; at++) {
		const struct vstor_session before = session;

		for (uint32_t operation = 0; operation < 20; operation++) {
			struct told told;

			if (at < 4 && operation == steps[at])
				continue;
			if (at == 4 &&
			    (operation == VSTOR_RESET_BUS || operation == VSTOR_RESET_LUN ||
			     operation == VSTOR_RESET_ADAPTER ||
			     operation == VSTOR_CREATE_SUB_CHANNELS))
				continue;
			told = tell(&session, operation, 0x0602);
			assert_int_equal(told.action, VSTOR_ANSWER);
			assert_int_equal(told.reply.header.status,
					 VSTOR_STATUS_INVALID_DEVICE_STATE);
			assert_memory_equal(&session, &before, sizeof(session));
		}
		if (at < 4)
			assert_int_equal(tell(&session, steps[at], 0x0602).reply.header.status, 0);
	}
}

static void resets_ask_for_a_flush(void **state)
{
	struct vstor_packet packet = {.header = {.operation = VSTOR_RESET_LUN, .flags = 1}};
	struct vstor_session session;
	struct told told;

	(void)state;
	begin(&session, 0x0602);
	assert_int_equal(tell(&session, VSTOR_RESET_BUS, 0).action, VSTOR_FLUSH_AND_RESET_ALL);
	assert_int_equal(tell(&session, VSTOR_RESET_ADAPTER, 0).action, VSTOR_FLUSH_AND_RESET_ALL);
	packet.srb.lun = 9;
	told = tell_bytes(&session, &packet, sizeof(packet), true);
	assert_int_equal(told.action, VSTOR_FLUSH_AND_RESET_UNIT);
	assert_int_equal(told.argument, 9);
}

static void sub_channels_are_granted_up_to_the_limit(void **state)
{
	struct vstor_session session;
	struct told told;

	(void)state;
	begin(&session, 0x0602);
	told = tell(&session, VSTOR_CREATE_SUB_CHANNELS, SUB_CHANNELS);
	assert_int_equal(told.action, VSTOR_OFFER_SUB_CHANNELS);
	assert_int_equal(told.argument, SUB_CHANNELS);
	assert_int_equal(told.reply.header.status, 0);
	told = tell(&session, VSTOR_CREATE_SUB_CHANNELS, SUB_CHANNELS + 1);
	assert_int_equal(told.action, VSTOR_ANSWER);
	assert_int_equal(told.reply.header.status, VSTOR_STATUS_INVALID_PARAMETER);
}

static void a_sub_channel_has_no_say_in_the_session(void **state)
{
	const struct vstor_packet packet = {.header = {.operation = VSTOR_BEGIN_INITIALIZATION}};
	const struct vstor_packet create = {.header = {.operation = VSTOR_CREATE_SUB_CHANNELS},
					    .sub_channel_count = 1};
	struct vstor_session session;

	(void)state;
	vstor_session_reset(&session, SUB_CHANNELS);
	assert_int_equal(tell_bytes(&session, &packet, sizeof(packet), false).reply.header.status,
			 VSTOR_STATUS_INVALID_DEVICE_STATE);
	assert_int_equal(session.state, VSTOR_EXPECTS_BEGIN);
	begin(&session, 0x0602);
	assert_int_equal(tell_bytes(&session, &create, sizeof(create), false).action, VSTOR_ANSWER);
}

static void a_packet_that_is_cut_is_refused(void **state)
{
	const struct vstor_packet packet = {.header = {.operation = VSTOR_BEGIN_INITIALIZATION}};
	struct vstor_session session;

	(void)state;
	vstor_session_reset(&session, SUB_CHANNELS);
	for (size_t length = 0; length < sizeof(struct vstor_header); length++)
		assert_int_equal(tell_bytes(&session, &packet, length, true).reply.header.status,
				 VSTOR_STATUS_INVALID_PARAMETER);
	assert_int_equal(session.state, VSTOR_EXPECTS_BEGIN);
}

static void an_answer_is_as_long_as_its_request(void **state)
{
	(void)state;
	assert_int_equal(vstor_reply_bytes(0), 12);
	assert_int_equal(vstor_reply_bytes(12), 12);
	assert_int_equal(vstor_reply_bytes(48), 48);
	assert_int_equal(vstor_reply_bytes(64), 64);
	assert_int_equal(vstor_reply_bytes(32768), 64);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(versions_from_5_1_to_6_2_are_agreed_on),
		cmocka_unit_test(an_unknown_version_is_refused_and_another_may_follow),
		cmocka_unit_test(properties_are_these_bytes),
		cmocka_unit_test(without_sub_channels_none_are_announced),
		cmocka_unit_test(a_packet_out_of_turn_is_refused_and_changes_nothing),
		cmocka_unit_test(resets_ask_for_a_flush),
		cmocka_unit_test(sub_channels_are_granted_up_to_the_limit),
		cmocka_unit_test(a_sub_channel_has_no_say_in_the_session),
		cmocka_unit_test(a_packet_that_is_cut_is_refused),
		cmocka_unit_test(an_answer_is_as_long_as_its_request),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
