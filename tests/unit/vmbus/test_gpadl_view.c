/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Views: linear bytes over scattered guest pages.
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
#include "tests/unit/vmbus/memory_fixture.h"
#include "vmbus/gpadl.h"
#include "vmbus/gpadl_view.h"
#include "vmbus/guest_memory.h"

/* 4 and 5 are neighbours; the others are not. */
static const uint64_t scattered[] = {9, 4, 5, 2};

static void writes_land_on_the_guest_pages_in_order(void **state)
{
	struct guest_memory *memory = fixture_memory(16);
	struct gpadl_view *view = fixture_view(memory, scattered, 4);
	uint8_t bytes[4 * 4096];
	uint8_t back[sizeof(bytes)];
	uint8_t page[4096];

	(void)state;
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 7 + i / 4096);
	assert_int_equal(view->size_bytes, sizeof(bytes));
	assert_int_equal(gpadl_view_write(view, 0, bytes, sizeof(bytes)), 0);
	for (size_t i = 0; i < 4; i++) {
		assert_int_equal(guest_memory_read(memory, scattered[i] * 4096, page, 4096), 0);
		assert_memory_equal(page, bytes + i * 4096, 4096);
	}
	for (size_t offset = 0; offset < sizeof(bytes); offset += 1021) {
		size_t length = sizeof(bytes) - offset < 5000 ? sizeof(bytes) - offset : 5000;

		assert_int_equal(gpadl_view_read(view, offset, back, length), 0);
		assert_memory_equal(back, bytes + offset, length);
	}
	gpadl_view_free(view);
	guest_memory_destroy(memory);
}

static void runs_end_where_host_pages_are_not_neighbours(void **state)
{
	struct guest_memory *memory = fixture_memory(16);
	struct gpadl_view *view = fixture_view(memory, scattered, 4);
	uint8_t *hva;

	(void)state;
	assert_int_equal(gpadl_view_run(view, 100, 9000, &hva), 3996);
	assert_ptr_equal(hva, guest_memory_for_read(memory, 9 * 4096 + 100, 1));
	assert_int_equal(gpadl_view_run(view, 4096 + 100, 9000, &hva), 8092);
	assert_int_equal(gpadl_view_run(view, 4096 + 100, 8000, &hva), 8000);
	assert_int_equal(gpadl_view_run(view, 3 * 4096 + 1, 9000, &hva), 4095);
	assert_int_equal(gpadl_view_run(view, view->size_bytes, 1, &hva), 0);
	assert_int_equal(gpadl_view_run(view, SIZE_MAX, 1, &hva), 0);
	assert_int_equal(gpadl_view_run(view, 0, 0, &hva), 0);
	gpadl_view_free(view);
	guest_memory_destroy(memory);
}

static void only_the_pages_written_are_dirty(void **state)
{
	struct guest_memory *memory = fixture_memory(16);
	struct gpadl_view *view = fixture_view(memory, scattered, 4);
	uint64_t dirty;

	(void)state;
	assert_int_equal(gpadl_view_write(view, 4096 + 4090, "12345678901234", 14), 0);
	guest_memory_dirty_fetch_and_clear(memory, 0, &dirty, 1);
	assert_true(dirty == (UINT64_C(1) << 4 | UINT64_C(1) << 5));
	gpadl_view_mark_dirty(view, 4095, 4096 * 2 + 2);
	guest_memory_dirty_fetch_and_clear(memory, 0, &dirty, 1);
	assert_true(dirty == (UINT64_C(1) << 9 | UINT64_C(3) << 4 | UINT64_C(1) << 2));
	gpadl_view_mark_dirty(view, 4095, view->size_bytes);
	guest_memory_dirty_fetch_and_clear(memory, 0, &dirty, 1);
	assert_true(dirty == 0);
	gpadl_view_free(view);
	guest_memory_destroy(memory);
}

static void accesses_past_the_end_copy_nothing(void **state)
{
	struct guest_memory *memory = fixture_memory(16);
	struct gpadl_view *view = fixture_view(memory, scattered, 4);
	uint8_t bytes[2] = {1, 2};

	(void)state;
	assert_int_equal(gpadl_view_write(view, 4 * 4096 - 1, bytes, 2), -EFAULT);
	assert_int_equal(gpadl_view_read(view, 4 * 4096 - 1, bytes, 2), -EFAULT);
	assert_int_equal(gpadl_view_read(view, SIZE_MAX, bytes, 2), -EFAULT);
	assert_int_equal(bytes[0], 1);
	assert_int_equal(gpadl_view_read(view, 4 * 4096 - 1, bytes, 1), 0);
	assert_int_equal(bytes[0], 0);
	assert_int_equal(gpadl_view_read(view, view->size_bytes, bytes, 0), 0);
	gpadl_view_free(view);
	guest_memory_destroy(memory);
}

static void a_view_may_begin_in_the_middle(void **state)
{
	struct guest_memory *memory = fixture_memory(16);
	struct gpadl *gpadl = fixture_gpadl(scattered, 4);
	struct gpadl_view *view = NULL;

	(void)state;
	assert_int_equal(gpadl_view_create(memory, gpadl, 2, 2, &view), 0);
	assert_int_equal(view->gpns[0], 5);
	assert_int_equal(view->gpns[1], 2);
	gpadl_view_free(view);
	view = NULL;
	assert_int_equal(gpadl_view_create(memory, gpadl, 3, 2, &view), -EINVAL);
	assert_int_equal(gpadl_view_create(memory, gpadl, 4, 0, &view), -EINVAL);
	assert_int_equal(gpadl_view_create(memory, gpadl, SIZE_MAX, 2, &view), -EINVAL);
	assert_null(view);
	gpadl_free(gpadl);
	guest_memory_destroy(memory);
}

static void pages_that_are_not_guest_memory_are_refused(void **state)
{
	struct guest_memory *memory = fixture_memory(16);
	const uint64_t bad[] = {16, UINT64_MAX, UINT64_C(1) << 52, UINT64_MAX >> 12,
				UINT64_C(1) << 28};
	struct gpadl_view *view = NULL;
	uint64_t gpns[2] = {1, 0};

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(bad); i++) {
		struct gpadl *gpadl;

		gpns[1] = bad[i];
		gpadl = fixture_gpadl(gpns, 2);
		assert_int_equal(gpadl_view_create(memory, gpadl, 0, 2, &view), -EFAULT);
		gpadl_free(gpadl);
	}
	assert_null(view);
	guest_memory_destroy(memory);
}

static void a_range_that_begins_inside_a_page_has_no_view(void **state)
{
	struct guest_memory *memory = fixture_memory(16);
	uint8_t bytes[24] = {0};
	struct gpadl_view *view = NULL;
	struct gpadl *gpadl;

	(void)state;
	put_le32(bytes, 4096);
	put_le32(bytes + 4, 8);
	assert_int_equal(gpadl_parse(1, 1, bytes, 24, &gpadl), 0);
	assert_int_equal(gpadl_view_create(memory, gpadl, 0, 1, &view), -EINVAL);
	gpadl_free(gpadl);
	guest_memory_destroy(memory);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(writes_land_on_the_guest_pages_in_order),
		cmocka_unit_test(runs_end_where_host_pages_are_not_neighbours),
		cmocka_unit_test(only_the_pages_written_are_dirty),
		cmocka_unit_test(accesses_past_the_end_copy_nothing),
		cmocka_unit_test(a_view_may_begin_in_the_middle),
		cmocka_unit_test(pages_that_are_not_guest_memory_are_refused),
		cmocka_unit_test(a_range_that_begins_inside_a_page_has_no_view),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
