/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the pattern of a block must tell apart: old, misplaced, torn, foreign. A test of a move that
 * cannot would pass on lost writes.
 */
#include <string.h>

#include "tests/tools/block_pattern.h"
#include "tests/unit/test_main.h"

static _Alignas(8) uint8_t data[BLOCK_BYTES];
static _Alignas(8) uint8_t other[BLOCK_BYTES];

static void block_tells_its_generation(void **state)
{
	(void)state;
	block_fill(data, 7, 3);
	assert_int_equal(block_generation(data, 7), 3);
	memset(data, 0, sizeof(data));
	assert_int_equal(block_generation(data, 7), GENERATION_NONE);
}

static void block_in_another_place_is_wrong(void **state)
{
	(void)state;
	block_fill(data, 7, 3);
	assert_int_equal(block_generation(data, 8), GENERATION_WRONG);
}

static void block_torn_between_generations_is_wrong(void **state)
{
	(void)state;
	for (size_t sector = 512; sector < BLOCK_BYTES; sector += 512) {
		block_fill(data, 7, 3);
		block_fill(other, 7, 4);
		memcpy(data + sector, other + sector, BLOCK_BYTES - sector);
		assert_int_equal(block_generation(data, 7), GENERATION_WRONG);
	}
}

static void block_with_a_flipped_bit_is_wrong(void **state)
{
	(void)state;
	for (size_t at = 0; at < BLOCK_BYTES; at += 61) {
		block_fill(data, 7, 3);
		data[at] ^= 0x10;
		assert_int_equal(block_generation(data, 7), GENERATION_WRONG);
	}
}

static void block_of_zeros_with_a_stray_byte_is_wrong(void **state)
{
	(void)state;
	memset(data, 0, sizeof(data));
	data[4000] = 1;
	assert_int_equal(block_generation(data, 7), GENERATION_WRONG);
}

static void digests_differ_by_a_generation_and_by_order(void **state)
{
	const uint32_t table[] = {1, 2, 3}, newer[] = {1, 2, 4}, swapped[] = {2, 1, 3};

	(void)state;
	assert_true(block_table_digest(table, 3) == block_table_digest(table, 3));
	assert_true(block_table_digest(table, 3) != block_table_digest(newer, 3));
	assert_true(block_table_digest(table, 3) != block_table_digest(swapped, 3));
	assert_true(block_table_digest(table, 3) != block_table_digest(table, 2));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(block_tells_its_generation),
		cmocka_unit_test(block_in_another_place_is_wrong),
		cmocka_unit_test(block_torn_between_generations_is_wrong),
		cmocka_unit_test(block_with_a_flipped_bit_is_wrong),
		cmocka_unit_test(block_of_zeros_with_a_stray_byte_is_wrong),
		cmocka_unit_test(digests_differ_by_a_generation_and_by_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
