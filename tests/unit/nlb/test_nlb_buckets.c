/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Counts and moves as properties over random memberships.
 */
#include "tests/unit/test_main.h"

#include <string.h>

#include "nlb/nlb_buckets.h"

static uint64_t random_value = 20261123;

static uint32_t random_below(uint32_t below)
{
	random_value = random_value * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)(random_value >> 33) % below;
}

static void random_weights(uint8_t weights[NLB_MAX_MEMBERS])
{
	uint32_t kind = random_below(3), members = 1 + random_below(NLB_MAX_MEMBERS);

	memset(weights, 0, NLB_MAX_MEMBERS);
	for (uint32_t i = 0; i < members; i++)
		weights[random_below(NLB_MAX_MEMBERS)] =
			(uint8_t)(kind == 0 ? 1 : random_below(kind == 1 ? 4 : 101));
}

static uint32_t sum(const uint8_t counts[NLB_MAX_MEMBERS])
{
	uint32_t all = 0;

	for (uint32_t i = 0; i < NLB_MAX_MEMBERS; i++)
		all += counts[i];
	return all;
}

static void all_buckets_are_shared_out_as_fairly_as_can_be(void **state)
{
	(void)state;
	for (uint32_t round = 0; round < 5000; round++) {
		uint8_t weights[NLB_MAX_MEMBERS], counts[NLB_MAX_MEMBERS];
		uint32_t most = 0, least = NLB_BUCKETS;
		bool equal = true;

		random_weights(weights);
		nlb_buckets_count(weights, counts);
		assert_int_equal(sum(counts), sum(weights) ? NLB_BUCKETS : 0);
		for (uint32_t i = 0; i < NLB_MAX_MEMBERS; i++) {
			assert_true(weights[i] || !counts[i]);
			equal &= weights[i] <= 1;
			if (weights[i]) {
				most = counts[i] > most ? counts[i] : most;
				least = counts[i] < least ? counts[i] : least;
			}
			/* No bucket of i's would bring shares closer at j's. */
			for (uint32_t j = 0; j < NLB_MAX_MEMBERS && counts[i]; j++)
				assert_true(weights[j] * (2u * counts[i] - 1) <=
					    weights[i] * (2u * counts[j] + 1));
		}
		if (equal && sum(weights))
			assert_true(most - least <= 1);
	}
}

static void others_change_one_way_only_when_one_member_changes(void **state)
{
	(void)state;
	for (uint32_t round = 0; round < 5000; round++) {
		uint8_t weights[NLB_MAX_MEMBERS], before[NLB_MAX_MEMBERS], after[NLB_MAX_MEMBERS];
		uint32_t who = random_below(NLB_MAX_MEMBERS);
		uint8_t old;

		random_weights(weights);
		old = weights[who];
		nlb_buckets_count(weights, before);
		/* Comes, goes, or changes its weight. */
		weights[who] = (uint8_t)random_below(101);
		nlb_buckets_count(weights, after);
		for (uint32_t i = 0; i < NLB_MAX_MEMBERS; i++) {
			bool grows = i == who ? weights[who] >= old : weights[who] <= old;

			assert_true(grows ? after[i] >= before[i] : after[i] <= before[i]);
		}
	}
}

/* What members do by themselves once they know the same: give up, then take. */
static uint32_t move(uint64_t held[NLB_MAX_MEMBERS], const uint8_t counts[NLB_MAX_MEMBERS])
{
	uint64_t due[NLB_MAX_MEMBERS];
	uint32_t moved = 0;

	for (uint32_t i = 0; i < NLB_MAX_MEMBERS; i++)
		held[i] &= ~nlb_buckets_surplus(held[i], counts[i]);
	nlb_buckets_due(held, counts, due);
	for (uint32_t i = 0; i < NLB_MAX_MEMBERS; i++) {
		assert_false(held[i] & due[i]);
		held[i] |= due[i];
		moved += (uint32_t)__builtin_popcountll(due[i]);
	}
	return moved;
}

static void least_number_of_buckets_moves(void **state)
{
	uint64_t held[NLB_MAX_MEMBERS] = {0};
	uint8_t before[NLB_MAX_MEMBERS] = {0};

	(void)state;
	for (uint32_t round = 0; round < 5000; round++) {
		uint8_t weights[NLB_MAX_MEMBERS], after[NLB_MAX_MEMBERS];
		uint64_t all = 0;
		uint32_t gained = 0;

		random_weights(weights);
		nlb_buckets_count(weights, after);
		for (uint32_t i = 0; i < NLB_MAX_MEMBERS; i++)
			gained += after[i] > before[i] ? (uint32_t)(after[i] - before[i]) : 0;
		assert_int_equal(move(held, after), gained);
		for (uint32_t i = 0; i < NLB_MAX_MEMBERS; i++) {
			assert_int_equal(__builtin_popcountll(held[i]), after[i]);
			assert_false(all & held[i]);
			all |= held[i];
		}
		assert_true(all == (sum(weights) ? NLB_ALL_BUCKETS : 0));
		assert_int_equal(move(held, after), 0);
		memcpy(before, after, sizeof(before));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_buckets_are_shared_out_as_fairly_as_can_be),
		cmocka_unit_test(others_change_one_way_only_when_one_member_changes),
		cmocka_unit_test(least_number_of_buckets_moves),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
