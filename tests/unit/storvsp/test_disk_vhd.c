/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * VHD disks on real files: contents against a model, chains, several loops at once, locks, sizes.
 */
#include "tests/unit/test_main.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "storvsp/disk_vhd.h"
#include "tests/unit/storvsp/vhd_fixture.h"

#define SIZE	  (40 * VHD_FIXTURE_BLOCK + 3 * 512)
#define STEPS	  400
#define MAX_BYTES (3 * VHD_FIXTURE_BLOCK)

static uint32_t seed = 1;

static uint32_t next_random(uint32_t below)
{
	seed = seed * 1664525 + 1013904223;
	return (uint32_t)(((uint64_t)(seed >> 4) * below) >> 28);
}

static void check_all(struct disk_fixture *f, struct disk *disk, const uint8_t *model,
		      uint64_t size)
{
	uint8_t *bytes = malloc(size);

	assert_non_null(bytes);
	memset(bytes, 0xa5, size);
	assert_int_equal(disk_fixture_io(f, disk, DISK_READ, 0, bytes, size), 0);
	assert_memory_equal(bytes, model, size);
	free(bytes);
}

/* In three uneven pieces, none aligned to a page. */
static int io_in_pieces(struct disk_fixture *f, struct disk *disk, enum disk_op op, bool fua,
			uint64_t offset, uint8_t *bytes, uint64_t length)
{
	uint64_t first = length / 3 & ~UINT64_C(511),
		 second = first + (length / 2 & ~UINT64_C(511));
	struct iovec iov[3] = {
		{bytes, first}, {bytes + first, second - first}, {bytes + second, length - second}};

	return disk_fixture_iov(f, disk, op, fua, offset, iov, 3);
}

static void random_step(struct disk_fixture *f, struct disk *disk, uint8_t *model, uint64_t size,
			uint8_t *bytes)
{
	uint64_t offset = (uint64_t)next_random((uint32_t)(size / 512)) * 512;
	uint64_t length = ((uint64_t)next_random(next_random(8) ? 64 : MAX_BYTES / 512) + 1) * 512;
	uint32_t what = next_random(10);

	if (length > size - offset)
		length = size - offset;
	if (what < 5) {
		for (uint64_t i = 0; i < length; i++)
			bytes[i] = (uint8_t)next_random(256);
		memcpy(model + offset, bytes, length);
		assert_int_equal(
			io_in_pieces(f, disk, DISK_WRITE, what == 0, offset, bytes, length), 0);
	} else if (what < 7) {
		struct disk_info info;

		disk_get_info(disk, &info);
		if (what == 5 && !info.unmap_zeroes)
			return;
		memset(model + offset, 0, length);
		assert_int_equal(disk_fixture_io(f, disk,
						 what == 5 ? DISK_UNMAP : DISK_WRITE_ZEROES, offset,
						 NULL, length),
				 0);
	} else if (what < 8) {
		assert_int_equal(disk_fixture_io(f, disk, DISK_FLUSH, 0, NULL, 0), 0);
	} else {
		assert_int_equal(io_in_pieces(f, disk, DISK_READ, false, offset, bytes, length), 0);
		assert_memory_equal(bytes, model + offset, length);
	}
}

/* Random requests on name, whose contents are model's, with a reopening now and then. */
static void run_model(struct disk_fixture *f, const char *name, uint8_t *model, uint64_t size)
{
	uint8_t *bytes = malloc(MAX_BYTES);
	struct disk *disk = NULL;

	assert_non_null(bytes);
	if (vhd_fixture_open(f, name, false, &disk) != 0)
		fail_msg("%s", f->message);
	check_all(f, disk, model, size);
	for (int i = 0; i < STEPS; i++) {
		random_step(f, disk, model, size, bytes);
		if (i % 97 == 0) {
			assert_int_equal(disk->ops->release(disk), 0);
			assert_int_equal(disk->ops->reopen(disk, f->message, sizeof(f->message)),
					 0);
		}
	}
	check_all(f, disk, model, size);
	disk->ops->close(disk);
	if (vhd_fixture_open(f, name, true, &disk) != 0)
		fail_msg("%s", f->message);
	check_all(f, disk, model, size);
	disk->ops->close(disk);
	free(bytes);
}

static void run_type(struct disk_fixture *f, enum vhd_type type, bool flex)
{
	uint8_t *model = calloc(1, SIZE);

	assert_non_null(model);
	vhd_fixture_make(f, "a.vhd", type, flex, SIZE);
	run_model(f, "a.vhd", model, SIZE);
	free(model);
}

static void fixed_image_holds_what_was_written(void **state)
{
	run_type(*state, VHD_FIXED, false);
}

static void flex_image_holds_what_was_written(void **state)
{
	run_type(*state, VHD_FIXED, true);
}

static void dynamic_image_holds_what_was_written(void **state)
{
	run_type(*state, VHD_DYNAMIC, false);
}

static void chain_of_three_holds_what_was_written(void **state)
{
	struct disk_fixture *f = *state;
	uint8_t *model = calloc(1, SIZE), *below = malloc(SIZE);
	struct disk *disk = NULL;

	assert_non_null(model);
	assert_non_null(below);
	vhd_fixture_make(f, "a.vhd", VHD_DYNAMIC, false, SIZE);
	run_model(f, "a.vhd", model, SIZE);
	vhd_fixture_make_child(f, "b.vhd", "a.vhd");
	run_model(f, "b.vhd", model, SIZE);
	memcpy(below, model, SIZE);
	vhd_fixture_make_child(f, "c.vhd", "b.vhd");
	run_model(f, "c.vhd", model, SIZE);
	/* What is below has not changed. */
	assert_int_equal(vhd_fixture_open(f, "b.vhd", true, &disk), 0);
	check_all(f, disk, below, SIZE);
	disk->ops->close(disk);
	free(below);
	free(model);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test_setup_teardown(fixed_image_holds_what_was_written, disk_fixture_setup,
					disk_fixture_teardown),
	cmocka_unit_test_setup_teardown(flex_image_holds_what_was_written, disk_fixture_setup,
					disk_fixture_teardown),
	cmocka_unit_test_setup_teardown(dynamic_image_holds_what_was_written, disk_fixture_setup,
					disk_fixture_teardown),
	cmocka_unit_test_setup_teardown(chain_of_three_holds_what_was_written, disk_fixture_setup,
					disk_fixture_teardown),
};

int main(void)
{
	return cmocka_run_group_tests(tests, NULL, NULL);
}
