/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Heartbeats on the wire: golden bytes, and what is refused.
 */
#include "tests/unit/test_main.h"

#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "nlb/nlb_buckets.h"
#include "nlb/nlb_heartbeat.h"

static const struct nlb_heartbeat sample = {
	.member = 7,
	.state = NLB_WIRE_CONVERGED,
	.cluster = 0x1122334455667788,
	.instance = 2,
	.sequence = 3,
	.revision = 4,
	.digest = 5,
	.view = 6,
	.hears = 0x80000001,
	.table_count = 2,
	.tables = {{.held = NLB_ALL_BUCKETS, .busy = 1, .share = 100}, {.busy = 2, .share = 7}},
};

static const uint8_t golden[112] = {
	'L',  'N', 'L', 'B', 1,	   7,	 3,    2,    0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22,
	0x11, 2,   0,	0,   0,	   0,	 0,    0,    0,	   3,	 0,    0,    0,	   0,	 0,
	0,    0,   4,	0,   0,	   0,	 0,    0,    0,	   0,	 5,    0,    0,	   0,	 0,
	0,    0,   0,	6,   0,	   0,	 0,    0,    0,	   0,	 0,    1,    0,	   0,	 0x80,
	112,  0,   0,	0,   0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f, 1,	   0,	 0,
	0,    0,   0,	0,   0,	   100,	 0,    0,    0,	   0,	 0,    0,    0,	   0,	 0,
	0,    0,   0,	0,   0,	   0,	 2,    0,    0,	   0,	 0,    0,    0,	   0,	 7,
};

static void heartbeat_has_its_bytes(void **state)
{
	uint8_t bytes[NLB_HEARTBEAT_MAX_BYTES];
	struct nlb_heartbeat back;

	(void)state;
	assert_int_equal(nlb_heartbeat_write(&sample, bytes), sizeof(golden));
	assert_memory_equal(bytes, golden, sizeof(golden));
	assert_int_equal(nlb_heartbeat_read(golden, sizeof(golden), &back), 0);
	assert_int_equal(back.member, 7);
	assert_int_equal(back.state, NLB_WIRE_CONVERGED);
	assert_true(back.cluster == sample.cluster && back.instance == 2 && back.sequence == 3 &&
		    back.revision == 4 && back.digest == 5 && back.view == 6);
	assert_int_equal(back.hears, 0x80000001);
	assert_int_equal(back.table_count, 2);
	assert_true(back.tables[0].held == NLB_ALL_BUCKETS && back.tables[0].busy == 1);
	assert_int_equal(back.tables[1].share, 7);
	assert_int_equal(nlb_heartbeat_write(&back, bytes), sizeof(golden));
	assert_memory_equal(bytes, golden, sizeof(golden));
}

static void padding_is_passed_over(void **state)
{
	uint8_t bytes[sizeof(golden) + 40];
	struct nlb_heartbeat back;

	(void)state;
	memset(bytes, 0xff, sizeof(bytes));
	memcpy(bytes, golden, sizeof(golden));
	assert_int_equal(nlb_heartbeat_read(bytes, sizeof(bytes), &back), 0);
}

static void cut_heartbeats_are_refused(void **state)
{
	struct nlb_heartbeat back;

	(void)state;
	for (size_t length = 0; length < sizeof(golden); length++)
		assert_int_equal(nlb_heartbeat_read(golden, length, &back), -EPROTO);
}

static void what_is_out_of_bounds_is_refused(void **state)
{
	static const struct {
		size_t at;
		uint8_t value;
		int err;
	} cases[] = {
		{0, 'M', -EPROTO},  {4, 2, -EPROTONOSUPPORT}, {4, 0, -EPROTONOSUPPORT},
		{5, 0, -EPROTO},    {5, 33, -EPROTO},	      {6, 5, -EPROTO},
		{7, 0, -EPROTO},    {7, 1, -EPROTO},	      {7, 3, -EPROTO},
		{7, 34, -EPROTO},   {60, 111, -EPROTO},	      {60, 113, -EPROTO},
		{61, 1, -EPROTO},   {71, 0x1f, -EPROTO},      {79, 0x10, -EPROTO},
		{80, 101, -EPROTO}, {95, 0x80, -EPROTO},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		uint8_t bytes[sizeof(golden) + 1] = {0};
		struct nlb_heartbeat back;

		memcpy(bytes, golden, sizeof(golden));
		bytes[cases[i].at] = cases[i].value;
		assert_int_equal(nlb_heartbeat_read(bytes, sizeof(bytes), &back), cases[i].err);
	}
}

static void largest_heartbeat_fits(void **state)
{
	struct nlb_heartbeat large = sample, back;
	uint8_t bytes[NLB_HEARTBEAT_MAX_BYTES];

	(void)state;
	large.table_count = NLB_MAX_TABLES;
	assert_int_equal(nlb_heartbeat_write(&large, bytes), NLB_HEARTBEAT_MAX_BYTES);
	assert_int_equal(nlb_heartbeat_read(bytes, sizeof(bytes), &back), 0);
	assert_int_equal(back.table_count, NLB_MAX_TABLES);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(heartbeat_has_its_bytes),
		cmocka_unit_test(padding_is_passed_over),
		cmocka_unit_test(cut_heartbeats_are_refused),
		cmocka_unit_test(what_is_out_of_bounds_is_refused),
		cmocka_unit_test(largest_heartbeat_fits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
