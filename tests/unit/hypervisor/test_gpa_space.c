/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where memory lies in the GPA space, seen through the gate that everybody uses.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "hypervisor/gpa_space.h"
#include "vmbus/guest_memory.h"

#define MIB UINT64_C(0x100000)
#define GIB UINT64_C(0x40000000)

static void memory_up_to_the_hole_is_one_piece(void **state)
{
	struct gpa_layout layout = gpa_layout_of(3 * GIB);

	(void)state;
	assert_int_equal(layout.low_bytes, 3 * GIB);
	assert_int_equal(layout.high_bytes, 0);
}

static void memory_past_the_hole_goes_on_at_4_gib(void **state)
{
	struct gpa_layout layout = gpa_layout_of(3 * GIB + 2 * MIB);

	(void)state;
	assert_int_equal(layout.low_bytes, 3 * GIB);
	assert_int_equal(layout.high_bytes, 2 * MIB);
}

static void hole_is_not_memory_and_both_sides_of_it_are(void **state)
{
	struct guest_memory *memory;
	struct vm_error error;
	uint8_t byte = 0x5a;

	(void)state;
	assert_int_equal(gpa_space_create(4 * GIB, false, &memory, &error), 0);
	assert_int_equal(guest_memory_write(memory, 3 * GIB - 1, &byte, 1), 0);
	assert_int_equal(guest_memory_write(memory, 3 * GIB, &byte, 1), -EFAULT);
	assert_int_equal(guest_memory_write(memory, 4 * GIB - 1, &byte, 1), -EFAULT);
	assert_int_equal(guest_memory_write(memory, 4 * GIB, &byte, 1), 0);
	assert_int_equal(guest_memory_write(memory, 5 * GIB - 1, &byte, 1), 0);
	assert_int_equal(guest_memory_write(memory, 5 * GIB, &byte, 1), -EFAULT);
	guest_memory_destroy(memory);
}

static void memory_cannot_be_shrunk_under_those_who_map_it(void **state)
{
	struct guest_memory *memory;
	struct vm_error error;

	(void)state;
	assert_int_equal(gpa_space_create(64 * MIB, false, &memory, &error), 0);
	assert_int_equal(ftruncate(guest_memory_region_at(memory, 0)->fd, 0), -1);
	assert_int_equal(errno, EPERM);
	guest_memory_destroy(memory);
}

static void two_sides_of_the_hole_are_different_memory(void **state)
{
	struct guest_memory *memory;
	struct vm_error error;
	uint8_t low = 1;
	uint8_t high = 2;
	uint8_t seen = 0;

	(void)state;
	assert_int_equal(gpa_space_create(6 * GIB, false, &memory, &error), 0);
	assert_int_equal(guest_memory_write(memory, 0, &low, 1), 0);
	assert_int_equal(guest_memory_write(memory, 4 * GIB, &high, 1), 0);
	assert_int_equal(guest_memory_read(memory, 0, &seen, 1), 0);
	assert_int_equal(seen, low);
	guest_memory_destroy(memory);
}

static void largest_guest_is_sparse(void **state)
{
	const uint64_t size = GUEST_MEMORY_MAX_BYTES - GIB;
	struct guest_memory *memory;
	struct vm_error error;
	uint8_t byte = 7;

	(void)state;
	assert_int_equal(gpa_space_create(size, false, &memory, &error), 0);
	assert_int_equal(guest_memory_limit(memory), GUEST_MEMORY_MAX_BYTES);
	assert_int_equal(guest_memory_write(memory, GUEST_MEMORY_MAX_BYTES - 1, &byte, 1), 0);
	guest_memory_destroy(memory);
}

static void too_few_huge_pages_is_said_before_anything_runs(void **state)
{
	struct guest_memory *memory = NULL;
	struct vm_error error;

	(void)state;
	/* no host has half a million huge pages free */
	assert_int_equal(gpa_space_create(1000 * GIB, true, &memory, &error), -ENOMEM);
	assert_int_equal(error.code, EXIT_NO_MEMORY);
	assert_non_null(strstr(error.message, "too few huge pages: the guest needs 512000"));
	assert_null(memory);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(memory_up_to_the_hole_is_one_piece),
		cmocka_unit_test(memory_past_the_hole_goes_on_at_4_gib),
		cmocka_unit_test(hole_is_not_memory_and_both_sides_of_it_are),
		cmocka_unit_test(memory_cannot_be_shrunk_under_those_who_map_it),
		cmocka_unit_test(two_sides_of_the_hole_are_different_memory),
		cmocka_unit_test(largest_guest_is_sparse),
		cmocka_unit_test(too_few_huge_pages_is_said_before_anything_runs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
