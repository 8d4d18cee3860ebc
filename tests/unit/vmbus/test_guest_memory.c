/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The gate to guest memory: region table, bounds, dirty bitmap.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "tests/unit/vmbus/memory_fixture.h"
#include "vmbus/guest_memory.h"

#define PAGE GUEST_PAGE_SIZE

/* Two regions that touch at 4 pages, a hole of 4 pages, and one more. */
static struct guest_memory *make_three(void)
{
	int fd = fixture_memfd(64 * PAGE);
	struct guest_memory_region regions[] = {
		{.gpa = 12 * PAGE, .size_bytes = 4 * PAGE, .fd_offset = 0, .fd = fd},
		{.gpa = 0, .size_bytes = 4 * PAGE, .fd_offset = 4 * PAGE, .fd = fd},
		{.gpa = 4 * PAGE, .size_bytes = 4 * PAGE, .fd_offset = 60 * PAGE, .fd = fd},
	};
	struct guest_memory *memory;

	assert_int_equal(guest_memory_create(regions, 3, -1, &memory), 0);
	close(fd);
	return memory;
}

static void regions_are_sorted_and_mapped_at_their_offsets(void **state)
{
	struct guest_memory *memory = make_three();
	uint32_t value = 0x11223344;
	const uint8_t *byte;

	(void)state;
	assert_int_equal(guest_memory_region_count(memory), 3);
	assert_int_equal(guest_memory_region_at(memory, 0)->gpa, 0);
	assert_int_equal(guest_memory_region_at(memory, 2)->gpa, 12 * PAGE);
	assert_null(guest_memory_region_at(memory, 3));
	assert_int_equal(guest_memory_limit(memory), 16 * PAGE);
	assert_int_equal(guest_memory_write(memory, 12 * PAGE + 8, &value, sizeof(value)), 0);
	byte = guest_memory_region_at(memory, 2)->hva;
	assert_int_equal(get_le32(byte + 8), value);
	/* The file, read apart from the mapping, agrees. */
	assert_int_equal(pread(guest_memory_region_at(memory, 2)->fd, &value, 4, 8), 4);
	assert_int_equal(value, 0x11223344);
	guest_memory_destroy(memory);
}

static void copies_cross_regions_that_touch(void **state)
{
	struct guest_memory *memory = make_three();
	uint8_t out[64];
	uint8_t in[64];

	(void)state;
	memset(in, 0x5a, sizeof(in));
	assert_int_equal(guest_memory_write(memory, 4 * PAGE - 32, in, sizeof(in)), 0);
	assert_int_equal(guest_memory_read(memory, 4 * PAGE - 32, out, sizeof(out)), 0);
	assert_memory_equal(in, out, sizeof(in));
	assert_null(guest_memory_for_read(memory, 4 * PAGE - 32, 64));
	assert_non_null(guest_memory_for_read(memory, 4 * PAGE - 32, 32));
	guest_memory_destroy(memory);
}

static void a_copy_that_ends_in_a_hole_changes_nothing(void **state)
{
	struct guest_memory *memory = make_three();
	uint8_t bytes[64];
	uint64_t before;

	(void)state;
	memset(bytes, 0xff, sizeof(bytes));
	assert_int_equal(guest_memory_write(memory, 8 * PAGE - 32, bytes, 64), -EFAULT);
	assert_int_equal(guest_memory_read(memory, 8 * PAGE - 8, &before, 8), 0);
	assert_int_equal(before, 0);
	assert_int_equal(fixture_take_dirty(memory, 7), 0);
	assert_int_equal(guest_memory_read(memory, 8 * PAGE - 32, bytes, 64), -EFAULT);
	assert_int_equal(bytes[0], 0xff);
	guest_memory_destroy(memory);
}

static void ranges_that_overflow_are_refused(void **state)
{
	struct guest_memory *memory = make_three();
	uint8_t byte = 0;

	(void)state;
	assert_int_equal(guest_memory_read(memory, UINT64_MAX, &byte, 1), -EFAULT);
	assert_int_equal(guest_memory_write(memory, UINT64_MAX - 3, &byte, 8), -EFAULT);
	assert_null(guest_memory_for_read(memory, UINT64_MAX - 3, 8));
	assert_null(guest_memory_for_write(memory, 0, SIZE_MAX));
	assert_null(guest_memory_for_write(memory, 0, 0));
	guest_memory_mark_dirty(memory, UINT64_MAX - 3, 8);
	guest_memory_mark_dirty(memory, 0, SIZE_MAX);
	assert_int_equal(fixture_take_dirty(memory, 0), 0);
	guest_memory_destroy(memory);
}

static void bad_region_tables_are_refused(void **state)
{
	int fd = fixture_memfd(16 * PAGE);
	struct guest_memory_region good = {.size_bytes = 4 * PAGE, .fd = fd};
	struct guest_memory_region bad[9];
	struct guest_memory *memory = NULL;

	(void)state;
#define REFUSED(count) assert_int_equal(guest_memory_create(bad, count, -1, &memory), -EINVAL)
	bad[0] = good;
	REFUSED(0);
	for (size_t i = 0; i < 9; i++) {
		bad[i] = good;
		bad[i].gpa = i * 4 * PAGE;
	}
	REFUSED(9);
	bad[0] = good;
	bad[0].gpa = 1;
	REFUSED(1);
	bad[0] = good;
	bad[0].size_bytes = 0;
	REFUSED(1);
	bad[0] = good;
	bad[0].size_bytes = PAGE + 1;
	REFUSED(1);
	bad[0] = good;
	bad[0].fd_offset = 13 * PAGE; /* past the end of the file */
	REFUSED(1);
	bad[0] = good;
	bad[0].gpa = GUEST_MEMORY_MAX_BYTES - PAGE;
	REFUSED(1);
	bad[0] = good;
	bad[0].gpa = UINT64_MAX - PAGE + 1;
	REFUSED(1);
	bad[0] = good;
	bad[1] = good;
	bad[1].gpa = 3 * PAGE; /* overlaps */
	REFUSED(2);
#undef REFUSED
	assert_null(memory);
	bad[0] = good;
	bad[0].fd = 1000;
	assert_int_equal(guest_memory_create(bad, 1, -1, &memory), -EBADF);
	close(fd);
}

static void every_write_marks_its_pages_and_only_those(void **state)
{
	struct guest_memory *memory = fixture_memory(256);
	uint64_t words[4];
	uint8_t bytes[16] = {0};

	(void)state;
	assert_int_equal(guest_memory_write(memory, 64 * PAGE - 8, bytes, 16), 0);
	assert_non_null(guest_memory_for_write(memory, 3 * PAGE, 1));
	assert_non_null(guest_memory_for_read(memory, 9 * PAGE, 1));
	guest_memory_mark_dirty(memory, 100 * PAGE, 100 * PAGE);
	assert_int_equal(guest_memory_dirty_fetch_and_clear(memory, 0, words, 4), 0);
	assert_true(words[0] == (UINT64_C(1) << 63 | UINT64_C(1) << 3));
	assert_true(words[1] == (1 | UINT64_MAX << 36));
	assert_true(words[2] == UINT64_MAX);
	assert_true(words[3] == (UINT64_C(1) << 8) - 1);
	assert_int_equal(guest_memory_dirty_fetch_and_clear(memory, 0, words, 4), 0);
	for (size_t i = 0; i < 4; i++)
		assert_true(words[i] == 0);
	guest_memory_destroy(memory);
}

static void the_bitmap_is_bounded_on_both_ends(void **state)
{
	struct guest_memory *memory = fixture_memory(16);
	uint64_t words[3] = {1, 1, 1};

	(void)state;
	/* One word covers 16 pages; the page past the limit has a bit but no memory. */
	guest_memory_mark_dirty(memory, 200 * PAGE, PAGE);
	assert_int_equal(guest_memory_dirty_fetch_and_clear(memory, 1, words, 1), -EINVAL);
	assert_int_equal(guest_memory_dirty_fetch_and_clear(memory, 64, words, 3), 0);
	assert_true(words[0] == 0 && words[1] == 0 && words[2] == 0);
	assert_int_equal(guest_memory_dirty_fetch_and_clear(memory, ~UINT64_C(63), words, 3), 0);
	assert_true(words[0] == 0 && words[1] == 0 && words[2] == 0);
	guest_memory_destroy(memory);
}

static void two_processes_share_memory_and_bitmap(void **state)
{
	int fd = fixture_memfd(8 * PAGE);
	struct guest_memory_region region = {.size_bytes = 8 * PAGE, .fd = fd};
	struct guest_memory *vmwp;
	struct guest_memory *switchd;
	uint8_t byte = 7;
	int small;

	(void)state;
	assert_int_equal(guest_memory_create(&region, 1, -1, &vmwp), 0);
	assert_int_equal(guest_memory_create(&region, 1, guest_memory_dirty_fd(vmwp), &switchd), 0);
	assert_int_equal(guest_memory_write(switchd, 5 * PAGE, &byte, 1), 0);
	byte = 0;
	assert_int_equal(guest_memory_read(vmwp, 5 * PAGE, &byte, 1), 0);
	assert_int_equal(byte, 7);
	assert_int_equal(fixture_take_dirty(vmwp, 5), 1);
	assert_int_equal(fixture_take_dirty(switchd, 5), 0);
	/* Nobody can shrink the bitmap under the other. */
	assert_int_equal(ftruncate(guest_memory_dirty_fd(switchd), 0), -1);
	guest_memory_destroy(switchd);
	small = fixture_memfd(0);
	assert_int_equal(guest_memory_create(&region, 1, small, &switchd), -EINVAL);
	close(small);
	guest_memory_destroy(vmwp);
	close(fd);
}

static void a_guest_far_larger_than_the_host_maps(void **state)
{
	uint64_t size = UINT64_C(64) << 30;
	int fd = fixture_memfd(size);
	struct guest_memory_region region = {.size_bytes = size, .fd = fd};
	struct guest_memory *memory;
	uint64_t value = 42;

	(void)state;
	assert_int_equal(guest_memory_create(&region, 1, -1, &memory), 0);
	assert_int_equal(guest_memory_write(memory, size - 8, &value, 8), 0);
	assert_int_equal(fixture_take_dirty(memory, (size >> GUEST_PAGE_SHIFT) - 1), 1);
	guest_memory_destroy(memory);
	close(fd);
}

static void huge_pages_that_the_host_lacks_are_an_error(void **state)
{
	/* 1 TiB of huge pages: no host has them, so the mapping itself must fail. */
	struct guest_memory_region region = {.size_bytes = GUEST_MEMORY_MAX_BYTES};
	struct guest_memory *memory = NULL;

	(void)state;
	region.fd = memfd_create("huge", MFD_CLOEXEC | MFD_HUGETLB | MFD_ALLOW_SEALING);
	if (region.fd < 0) {
		skip();
		return;
	}
	assert_int_equal(fcntl(region.fd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
	if (ftruncate(region.fd, (off_t)region.size_bytes) == 0)
		assert_int_equal(guest_memory_create(&region, 1, -1, &memory), -ENOMEM);
	assert_null(memory);
	close(region.fd);
}

static void memory_that_could_shrink_is_refused(void **state)
{
	int sealed = fixture_memfd(PAGE);
	struct guest_memory_region region = {.size_bytes = PAGE};
	struct guest_memory *memory = NULL;

	(void)state;
	region.fd = memfd_create("unsealed", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	assert_int_equal(ftruncate(region.fd, (off_t)PAGE), 0);
	assert_int_equal(guest_memory_create(&region, 1, -1, &memory), -EPERM);
	/* the same for the bitmap */
	assert_int_equal(
		guest_memory_create(&(struct guest_memory_region){.size_bytes = PAGE, .fd = sealed},
				    1, region.fd, &memory),
		-EPERM);
	assert_null(memory);
	close(region.fd);
	close(sealed);
}

static void create_and_destroy_leave_no_fd_behind(void **state)
{
	int fd = fixture_memfd(4 * PAGE);
	struct guest_memory_region regions[2] = {
		{.size_bytes = 2 * PAGE, .fd = fd},
		{.gpa = 2 * PAGE, .size_bytes = 2 * PAGE, .fd = fd},
	};
	struct guest_memory *memory;
	int before = dup(fd);
	int after;

	(void)state;
	close(before);
	assert_int_equal(guest_memory_create(regions, 2, -1, &memory), 0);
	guest_memory_destroy(memory);
	assert_int_equal(guest_memory_create(regions, 2, 1000, &memory), -EBADF);
	guest_memory_destroy(NULL);
	after = dup(fd);
	assert_int_equal(before, after);
	close(after);
	close(fd);
}

#define MARKED_PAGES 65536u

static void *mark_odd_pages(void *arg)
{
	for (uint64_t gpn = 1; gpn < MARKED_PAGES; gpn += 2)
		guest_memory_mark_dirty(arg, gpn * PAGE, 1);
	return NULL;
}

/* Each page is marked once: a mark that is lost to the other thread's or to the fetcher is missed
 * at the end. */
static void marks_of_two_threads_and_a_fetcher_are_not_lost(void **state)
{
	struct guest_memory *memory = fixture_memory(MARKED_PAGES);
	uint64_t seen[MARKED_PAGES / 64] = {0};
	uint64_t word;
	pthread_t thread;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, mark_odd_pages, memory), 0);
	for (uint64_t gpn = 0; gpn < MARKED_PAGES; gpn += 2) {
		guest_memory_mark_dirty(memory, gpn * PAGE, 1);
		guest_memory_dirty_fetch_and_clear(memory, gpn & ~UINT64_C(63), &word, 1);
		seen[gpn / 64] |= word;
	}
	pthread_join(thread, NULL);
	for (uint64_t i = 0; i < MARKED_PAGES / 64; i++) {
		guest_memory_dirty_fetch_and_clear(memory, i * 64, &word, 1);
		assert_true((seen[i] | word) == UINT64_MAX);
	}
	guest_memory_destroy(memory);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(regions_are_sorted_and_mapped_at_their_offsets),
		cmocka_unit_test(copies_cross_regions_that_touch),
		cmocka_unit_test(a_copy_that_ends_in_a_hole_changes_nothing),
		cmocka_unit_test(ranges_that_overflow_are_refused),
		cmocka_unit_test(bad_region_tables_are_refused),
		cmocka_unit_test(every_write_marks_its_pages_and_only_those),
		cmocka_unit_test(the_bitmap_is_bounded_on_both_ends),
		cmocka_unit_test(two_processes_share_memory_and_bitmap),
		cmocka_unit_test(a_guest_far_larger_than_the_host_maps),
		cmocka_unit_test(huge_pages_that_the_host_lacks_are_an_error),
		cmocka_unit_test(memory_that_could_shrink_is_refused),
		cmocka_unit_test(create_and_destroy_leave_no_fd_behind),
		cmocka_unit_test(marks_of_two_threads_and_a_fetcher_are_not_lost),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
