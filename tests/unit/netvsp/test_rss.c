/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * RSS parameters as Linux 6.1 sends them, what is kept, and what is refused.
 */
#include "netvsp/rss.h"

#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "tests/unit/test_main.h"

#define CHANNELS 4
#define WHOLE	 (40 + 512 + 40)

/* 40 bytes of header, 128 entries, 40 bytes of key. */
static void linux_message(uint8_t bytes[WHOLE])
{
	static const uint8_t head[40] = {
		0x89, 2,    40, 0, /* object type, revision, size */
		0,    0,    0,	0, /* flags, base CPU */
		1,    0x17, 0,	0, /* Toeplitz, IPv4, TCP/IPv4, IPv6, TCP/IPv6 */
		0,    2,    0,	0, /* table of 512 bytes */
		40,   0,    0,	0, /* at 40 */
		40,   0,    0,	0, /* key of 40 bytes */
		0x28, 2,    0,	0, /* at 552 */
	};

	memcpy(bytes, head, sizeof(head));
	for (uint32_t i = 0; i < 128; i++)
		put_le32(bytes + 40 + 4 * (size_t)i, i % CHANNELS);
	for (uint32_t i = 0; i < 40; i++)
		bytes[552 + i] = (uint8_t)(0x60 + i);
}

static void what_linux_sends_is_taken_over(void **state)
{
	uint8_t bytes[WHOLE];
	struct rss_params params;

	(void)state;
	rss_params_init(&params);
	assert_false(params.enabled);
	assert_int_equal(rss_channel(&params, 3), 0);
	linux_message(bytes);
	assert_int_equal(rss_params_apply(&params, bytes, sizeof(bytes), CHANNELS), 0);
	assert_true(params.enabled);
	assert_int_equal(params.hash_types, 0x1700);
	assert_int_equal(params.table_entries, 128);
	assert_memory_equal(params.key, bytes + 552, 40);
	assert_int_equal(rss_channel(&params, 0x87654321), 0x87654321 % 128 % CHANNELS);
}

static void disable_keeps_key_and_table(void **state)
{
	uint8_t bytes[WHOLE];
	struct rss_params params;

	(void)state;
	rss_params_init(&params);
	linux_message(bytes);
	assert_int_equal(rss_params_apply(&params, bytes, sizeof(bytes), CHANNELS), 0);
	put_le16(bytes + 4, NDIS_RSS_DISABLE);
	assert_int_equal(rss_params_apply(&params, bytes, sizeof(bytes), CHANNELS), 0);
	assert_false(params.enabled);
	put_le16(bytes + 4,
		 NDIS_RSS_TABLE_UNCHANGED | NDIS_RSS_KEY_UNCHANGED | NDIS_RSS_HASH_UNCHANGED);
	assert_int_equal(rss_params_apply(&params, bytes, 28, CHANNELS), 0);
	assert_true(params.enabled);
	assert_int_equal(params.table_entries, 128);
}

static void unchanged_table_needs_one_to_keep(void **state)
{
	uint8_t bytes[WHOLE];
	struct rss_params params;

	(void)state;
	rss_params_init(&params);
	linux_message(bytes);
	put_le16(bytes + 4, NDIS_RSS_TABLE_UNCHANGED);
	assert_int_equal(rss_params_apply(&params, bytes, sizeof(bytes), CHANNELS), -EINVAL);
	assert_false(params.enabled);
}

static void kept_table_past_the_channels_is_refused(void **state)
{
	uint8_t bytes[WHOLE];
	struct rss_params params;

	(void)state;
	rss_params_init(&params);
	linux_message(bytes);
	assert_int_equal(rss_params_apply(&params, bytes, sizeof(bytes), CHANNELS), 0);
	put_le16(bytes + 4, NDIS_RSS_TABLE_UNCHANGED);
	assert_int_equal(rss_params_apply(&params, bytes, sizeof(bytes), CHANNELS - 1), -EINVAL);
}

static void bad_parameters_change_nothing(void **state)
{
	static const struct {
		size_t at;
		uint8_t bytes;
		uint32_t value;
	} cases[] = {
		{0, 1, 0x88},	      {8, 4, 0x1702},	    {12, 2, 0},
		{12, 2, 511},	      {12, 2, 516},	    {12, 2, 0xfffc},
		{16, 4, WHOLE - 511}, {16, 4, UINT32_MAX},  {20, 2, 39},
		{20, 2, 41},	      {20, 2, 0},	    {24, 4, WHOLE - 39},
		{24, 4, UINT32_MAX},  {40 + 4 * 127, 4, 4}, {40, 4, UINT32_MAX},
		{40, 4, 0x10000},
	};
	struct rss_params params, before;
	uint8_t bytes[WHOLE];

	(void)state;
	rss_params_init(&params);
	linux_message(bytes);
	assert_int_equal(rss_params_apply(&params, bytes, sizeof(bytes), CHANNELS), 0);
	before = params;
	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		uint8_t value[4];

		linux_message(bytes);
		bytes[560] ^= 0xff; /* another key, so that a change would show */
		put_le32(value, cases[i].value);
		memcpy(bytes + cases[i].at, value, cases[i].bytes);
		if (rss_params_apply(&params, bytes, sizeof(bytes), CHANNELS) != -EINVAL)
			fail_msg("%#x at %zu passed", cases[i].value, cases[i].at);
		assert_memory_equal(&params, &before, sizeof(params));
	}
}

static void short_parameters_are_refused(void **state)
{
	uint8_t bytes[WHOLE];
	struct rss_params params;

	(void)state;
	rss_params_init(&params);
	linux_message(bytes);
	for (size_t length = 0; length < sizeof(bytes); length++)
		assert_int_equal(rss_params_apply(&params, bytes, length, CHANNELS), -EINVAL);
}

static void odd_table_sizes_steer_in_bounds(void **state)
{
	uint8_t bytes[WHOLE];
	struct rss_params params;

	(void)state;
	rss_params_init(&params);
	linux_message(bytes);
	put_le16(bytes + 12, 3 * 4);
	assert_int_equal(rss_params_apply(&params, bytes, sizeof(bytes), CHANNELS), 0);
	assert_int_equal(params.table_entries, 3);
	assert_int_equal(rss_channel(&params, UINT32_MAX), UINT32_MAX % 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_linux_sends_is_taken_over),
		cmocka_unit_test(disable_keeps_key_and_table),
		cmocka_unit_test(unchanged_table_needs_one_to_keep),
		cmocka_unit_test(kept_table_past_the_channels_is_refused),
		cmocka_unit_test(bad_parameters_change_nothing),
		cmocka_unit_test(short_parameters_are_refused),
		cmocka_unit_test(odd_table_sizes_steer_in_bounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
