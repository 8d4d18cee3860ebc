/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Who is to have which of a table's 60 buckets. No state, any thread.
 *
 * Each member's count follows from all members' weights alone, by the divisor method of Webster:
 * bucket by bucket goes to the member with the largest weight / (2 * count + 1), the lower id where
 * two are equal. So
 *  - no bucket's change of hands would bring two members' shares closer to their weights; with
 * equal weights counts differ by 1 at most;
 *  - when one member comes, goes or changes its weight, the counts of all others change in the
 *    other direction or not at all. Exactly as many buckets move as that member gains or loses.
 * Whatever changes at once, half of the sum of all counts' differences moves, and no bucket more:
 * the least that leads from the old counts to the new ones.
 */
#ifndef LUNAR_NLB_NLB_BUCKETS_H
#define LUNAR_NLB_NLB_BUCKETS_H

#include <stdint.h>

#include "nlb/nlb_config.h"

#define NLB_BUCKETS	60u
#define NLB_ALL_BUCKETS ((UINT64_C(1) << NLB_BUCKETS) - 1)

/* Arrays are by id - 1. A set of buckets is a word, bit 0 the first. */

/* All weights 0: nobody gets any. */
void nlb_buckets_count(const uint8_t weights[NLB_MAX_MEMBERS], uint8_t counts[NLB_MAX_MEMBERS]);

/* What a member that holds more than its count gives up: its last ones. */
uint64_t nlb_buckets_surplus(uint64_t held, uint8_t count);

/* Which of the buckets that nobody holds are for which member: in order, to the first member that
 * has fewer than its count. Members that know the same held and counts agree. */
void nlb_buckets_due(const uint64_t held[NLB_MAX_MEMBERS], const uint8_t counts[NLB_MAX_MEMBERS],
		     uint64_t due[NLB_MAX_MEMBERS]);

#endif
