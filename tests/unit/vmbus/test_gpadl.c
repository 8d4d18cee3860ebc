/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * GPADL lists: what Linux sends, and what a hostile guest may send.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "vmbus/gpadl.h"

/* Two pages from the start of the first, then 0x10 bytes across a page boundary. */
static const uint8_t two_ranges[] = {
	0x00, 0x20, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, /* 8192 bytes at 0 */
	0x34, 0x12, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, /* gpn 0x1234 */
	0x78, 0x56, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, /* gpn 0x100005678 */
	0x10, 0x00, 0x00, 0x00, 0xf8, 0x0f, 0x00, 0x00, /* 16 bytes at 0xff8 */
	0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, /* gpn 1 */
	0x09, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, /* gpn 9 */
};

static void ranges_are_parsed(void **state)
{
	struct gpadl *gpadl;

	(void)state;
	assert_int_equal(gpadl_parse(7, 2, two_ranges, sizeof(two_ranges), &gpadl), 0);
	assert_int_equal(gpadl->id, 7);
	assert_int_equal(gpadl->range_count, 2);
	assert_int_equal(gpadl->page_count, 4);
	assert_int_equal(gpadl->ranges[0].byte_count, 8192);
	assert_int_equal(gpadl->ranges[0].page_count, 2);
	assert_true(gpadl->ranges[0].gpns[1] == UINT64_C(0x100005678));
	assert_int_equal(gpadl->ranges[1].byte_offset, 0xff8);
	assert_int_equal(gpadl->ranges[1].page_count, 2);
	assert_int_equal(gpadl->ranges[1].gpns[1], 9);
	assert_ptr_equal(gpadl->ranges[1].gpns, &gpadl->gpns[2]);
	gpadl_free(gpadl);
}

static void encoding_gives_the_parsed_bytes_back(void **state)
{
	uint8_t bytes[sizeof(two_ranges)];
	struct gpadl *gpadl;

	(void)state;
	assert_int_equal(gpadl_parse(7, 2, two_ranges, sizeof(two_ranges), &gpadl), 0);
	memset(bytes, 0xee, sizeof(bytes));
	assert_int_equal(gpadl_encode(gpadl, bytes, sizeof(bytes) - 1), sizeof(two_ranges));
	assert_int_equal(bytes[0], 0xee);
	assert_int_equal(gpadl_encode(gpadl, bytes, sizeof(bytes)), sizeof(two_ranges));
	assert_memory_equal(bytes, two_ranges, sizeof(bytes));
	gpadl_free(gpadl);
}

static void every_shorter_or_longer_list_is_refused(void **state)
{
	uint8_t longer[sizeof(two_ranges) + 8] = {0};
	struct gpadl *gpadl = NULL;

	(void)state;
	memcpy(longer, two_ranges, sizeof(two_ranges));
	for (size_t length = 0; length < sizeof(longer); length++) {
		if (length != sizeof(two_ranges))
			assert_int_equal(gpadl_parse(1, 2, longer, length, &gpadl), -EINVAL);
	}
	assert_int_equal(gpadl_parse(1, 1, two_ranges, sizeof(two_ranges), &gpadl), -EINVAL);
	assert_int_equal(gpadl_parse(1, 3, two_ranges, sizeof(two_ranges), &gpadl), -EINVAL);
	assert_int_equal(gpadl_parse(1, 0, two_ranges, 0, &gpadl), -EINVAL);
	assert_int_equal(gpadl_parse(1, UINT32_MAX, two_ranges, sizeof(two_ranges), &gpadl),
			 -EINVAL);
	assert_null(gpadl);
	gpadl_free(NULL);
}

static void empty_ranges_and_offsets_past_the_page_are_refused(void **state)
{
	uint8_t bytes[16] = {0};
	struct gpadl *gpadl = NULL;

	(void)state;
	assert_int_equal(gpadl_parse(1, 1, bytes, 8, &gpadl), -EINVAL);
	put_le32(bytes, 1);
	put_le32(bytes + 4, 0x1000);
	assert_int_equal(gpadl_parse(1, 1, bytes, 16, &gpadl), -EINVAL);
	put_le32(bytes + 4, 0xffffffff);
	assert_int_equal(gpadl_parse(1, 1, bytes, 16, &gpadl), -EINVAL);
	put_le32(bytes, 0xffffffff);
	put_le32(bytes + 4, 0xfff);
	assert_int_equal(gpadl_parse(1, 1, bytes, 16, &gpadl), -EINVAL);
	assert_null(gpadl);
}

static void more_pages_than_the_limit_are_refused(void **state)
{
	size_t pages = GPADL_MAX_PAGES + 1;
	uint8_t *bytes = calloc(1, 8 + pages * 8);
	struct gpadl *gpadl = NULL;

	(void)state;
	assert_non_null(bytes);
	put_le32(bytes, (uint32_t)(pages * 4096));
	assert_int_equal(gpadl_parse(1, 1, bytes, 8 + pages * 8, &gpadl), -EINVAL);
	put_le32(bytes, GPADL_MAX_PAGES * 4096);
	assert_int_equal(gpadl_parse(1, 1, bytes, 8 + GPADL_MAX_PAGES * 8, &gpadl), 0);
	assert_int_equal(gpadl->page_count, GPADL_MAX_PAGES);
	gpadl_free(gpadl);
	free(bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ranges_are_parsed),
		cmocka_unit_test(encoding_gives_the_parsed_bytes_back),
		cmocka_unit_test(every_shorter_or_longer_list_is_refused),
		cmocka_unit_test(empty_ranges_and_offsets_past_the_page_are_refused),
		cmocka_unit_test(more_pages_than_the_limit_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
