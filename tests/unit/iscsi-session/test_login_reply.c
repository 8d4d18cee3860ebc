/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the target's login replies settle, read from libiscsi's log lines.
 */
#include "iscsi-session/login_reply.h"

#include <stdio.h>
#include <string.h>

#include "tests/unit/test_main.h"

static void take(struct login_reply *reply, const char *key_value)
{
	char line[256];

	snprintf(line, sizeof(line), "TargetLoginReply: %s [iqn.2025-11.test:x]", key_value);
	assert_true(login_reply_take_log_line(reply, line));
}

static void keys_are_taken(void **state)
{
	struct login_reply r;

	(void)state;
	login_reply_init(&r);
	take(&r, "HeaderDigest=CRC32C");
	take(&r, "DataDigest=None");
	take(&r, "InitialR2T=No");
	take(&r, "ImmediateData=No");
	take(&r, "MaxBurstLength=524288");
	take(&r, "FirstBurstLength=65536");
	take(&r, "MaxRecvDataSegmentLength=131072");
	take(&r, "TargetPortalGroupTag=1");
	assert_true(r.header_digest);
	assert_false(r.data_digest);
	assert_false(r.initial_r2t);
	assert_false(r.immediate_data);
	assert_int_equal(r.max_burst_bytes, 524288);
	assert_int_equal(r.first_burst_bytes, 65536);
	assert_int_equal(r.max_send_segment_bytes, 131072);
	assert_int_equal(r.max_receive_segment_bytes, 262144);
	assert_false(r.target_proved_itself);
	assert_null(login_reply_check(&r));
	take(&r, "CHAP_R=0x00");
	assert_true(r.target_proved_itself);
}

static void a_silent_target_gets_the_standards_defaults(void **state)
{
	struct login_reply r;

	(void)state;
	login_reply_init(&r);
	assert_int_equal(r.max_send_segment_bytes, 8192);
	assert_true(r.initial_r2t);
	assert_true(r.immediate_data);
	assert_null(login_reply_check(&r));
}

static void other_lines_are_not_login_keys(void **state)
{
	struct login_reply r;

	(void)state;
	login_reply_init(&r);
	assert_false(login_reply_take_log_line(&r, "login successful [iqn.2025-11.test:x]"));
	assert_false(login_reply_take_log_line(&r, ""));
	assert_true(login_reply_take_log_line(&r, "TargetLoginReply: "));
	assert_true(login_reply_take_log_line(&r, "TargetLoginReply: NoEquals [x]"));
}

/* libiscsi would loop for ever on a segment length of zero. */
static void lengths_out_of_range_are_refused(void **state)
{
	static const char *const lines[] = {
		"MaxRecvDataSegmentLength=0",
		"MaxRecvDataSegmentLength=511",
		"MaxRecvDataSegmentLength=-1",
		"MaxRecvDataSegmentLength=16777216",
		"MaxRecvDataSegmentLength=4294967808",
		"MaxRecvDataSegmentLength=8192x",
		"MaxRecvDataSegmentLength=",
		"MaxBurstLength=0",
		"MaxBurstLength=1048577",
		"FirstBurstLength=0",
		"FirstBurstLength=262145",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		struct login_reply r;
		login_reply_init(&r);
		take(&r, lines[i]);
		if (login_reply_check(&r) == NULL)
			fail_msg("accepted: %s", lines[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keys_are_taken),
		cmocka_unit_test(a_silent_target_gets_the_standards_defaults),
		cmocka_unit_test(other_lines_are_not_login_keys),
		cmocka_unit_test(lengths_out_of_range_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
