/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Counts, and the few moves that lead to them.
 */
#include "nlb/nlb_buckets.h"

#include <string.h>

void nlb_buckets_count(const uint8_t weights[NLB_MAX_MEMBERS], uint8_t counts[NLB_MAX_MEMBERS])
{
	uint8_t bidders[NLB_MAX_MEMBERS];
	uint32_t bidder_count = 0;

	memset(counts, 0, NLB_MAX_MEMBERS);
	for (uint8_t i = 0; i < NLB_MAX_MEMBERS; i++)
		if (weights[i])
			bidders[bidder_count++] = i;
	for (uint32_t bucket = 0; bucket < NLB_BUCKETS && bidder_count > 0; bucket++) {
		uint32_t best = bidders[0];

		for (uint32_t k = 1; k < bidder_count; k++) {
			uint32_t i = bidders[k];

			if (weights[i] * (2u * counts[best] + 1) >
			    weights[best] * (2u * counts[i] + 1))
				best = i;
		}
		counts[best]++;
	}
}

uint64_t nlb_buckets_surplus(uint64_t held, uint8_t count)
{
	for (; count > 0 && held; count--)
		held &= held - 1;
	return held;
}

void nlb_buckets_due(const uint64_t held[NLB_MAX_MEMBERS], const uint8_t counts[NLB_MAX_MEMBERS],
		     uint64_t due[NLB_MAX_MEMBERS])
{
	uint64_t free_buckets = NLB_ALL_BUCKETS;

	for (uint32_t i = 0; i < NLB_MAX_MEMBERS; i++)
		free_buckets &= ~held[i];
	for (uint32_t i = 0; i < NLB_MAX_MEMBERS; i++) {
		int lacking = counts[i] - __builtin_popcountll(held[i]);

		due[i] = 0;
		for (; lacking > 0 && free_buckets; lacking--) {
			due[i] |= free_buckets & -free_buckets;
			free_buckets &= free_buckets - 1;
		}
	}
}
