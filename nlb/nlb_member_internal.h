/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the parts of a member share: its life and its heartbeats (nlb_member.c), and what it makes
 * of those of the others (nlb_converge.c).
 */
#ifndef LUNAR_NLB_NLB_MEMBER_INTERNAL_H
#define LUNAR_NLB_NLB_MEMBER_INTERNAL_H

#include "nlb/nlb_member.h"

#define NLB_HURRIED_HEARTBEATS 3u

static inline uint64_t nlb_interval_ns(const struct nlb_member *member)
{
	return member->cluster.interval_ms * UINT64_C(1000000);
}

/* Who was not heard for so long is lost. */
static inline uint64_t nlb_lost_ns(const struct nlb_member *member)
{
	return member->cluster.misses * nlb_interval_ns(member) + nlb_interval_ns(member) / 2;
}

static inline uint32_t nlb_table_count(const struct nlb_member *member)
{
	return member->cluster.rule_count + 1;
}

static inline uint32_t nlb_id_bit(uint8_t id)
{
	return UINT32_C(1) << (id - 1);
}

static inline bool nlb_takes_part(const struct nlb_member *member)
{
	return member->mode == NLB_RUNNING || member->mode == NLB_DRAINING;
}

/* Weight or priority of a table as heartbeats have it; the default table's is the id. */
uint8_t nlb_share(const struct nlb_member *member, uint32_t table);
/* Tells the others soon. */
static inline void nlb_hurry(struct nlb_member *member)
{
	member->hurried = NLB_HURRIED_HEARTBEATS;
}

/* A heartbeat of this peer has just come: lets go of what both hold, where that is ours to do. */
void nlb_yield(struct nlb_member *member, const struct nlb_peer *peer, uint64_t now_ns);
/* Lets go of everything. */
void nlb_release_all(struct nlb_member *member);
/* Something has changed, or may have: whom to count, whether all agree, what to move. */
void nlb_settle(struct nlb_member *member, uint64_t now_ns);

#endif
