/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Members of a cluster on a network that loses, delays and cuts, with a clock that tests turn. All
 * of it follows from a seed. It watches how long a bucket has two holders.
 */
#ifndef LUNAR_TESTS_UNIT_NLB_CLUSTER_SIM_H
#define LUNAR_TESTS_UNIT_NLB_CLUSTER_SIM_H

#include "nlb/nlb_member.h"
#include "tests/unit/nlb/plain_connections.h"

#define SIM_MEMBERS    6u
#define SIM_STEP_NS    UINT64_C(10000000)
#define SIM_SECOND_NS  UINT64_C(1000000000)
#define SIM_MAX_FRAMES 2048u

struct sim_frame {
	uint64_t due_ns;
	uint32_t to;
	uint32_t length;
	uint8_t bytes[NLB_HEARTBEAT_MAX_BYTES];
};

struct sim_member {
	bool exists; /* false: its host is dead, or it has not been made yet */
	struct nlb_member member;
	struct plain_connections table;
};

struct sim {
	uint64_t random;
	uint64_t now_ns;
	struct nlb_cluster cluster;
	struct sim_member members[SIM_MEMBERS]; /* member i has id i + 1 */
	uint32_t loss_percent;
	uint32_t losses_in_a_row; /* at most, by link; 0: none */
	uint32_t delay_steps;	  /* at most */
	uint32_t lost_in_a_row[SIM_MEMBERS][SIM_MEMBERS];
	bool cut[SIM_MEMBERS][SIM_MEMBERS]; /* from, to */
	uint32_t frame_count;
	struct sim_frame frames[SIM_MAX_FRAMES];
	/* What was seen. */
	uint64_t two_holders_since_ns[NLB_MAX_TABLES][NLB_BUCKETS];
	uint64_t two_holders_longest_ns;
	uint64_t frames_sent;
};

uint32_t sim_random(struct sim *sim, uint32_t below);
/* Three rules: tcp 80 affinity none, equal; tcp 443 affinity single, weighted; both 5000-5999, a
 * single handler; and the default table. */
void sim_init(struct sim *sim, uint64_t seed);
/* The set-up of member i: weight 50, handling priority i + 1. */
void sim_config(const struct sim *sim, uint32_t i, struct nlb_member_config *config);
/* Makes member i, and starts it. */
void sim_start(struct sim *sim, uint32_t i);
/* Its host is gone, with what was on its way from there. */
void sim_kill(struct sim *sim, uint32_t i);
/* The members in the set (bit i) go to other hosts, with their connections, and rest meanwhile.
 * Returns whether all of them could be restored. */
bool sim_move(struct sim *sim, uint32_t set, uint64_t rest_ns);
/* Cuts, or joins, both ways between the members in the set (bit i) and the others. */
void sim_partition(struct sim *sim, uint32_t set, bool is_cut);
void sim_run(struct sim *sim, uint64_t ns);
/* Runs until all that exist and run are converged, and agree. Returns how long that took, or
 * UINT64_MAX: not within limit_ns. */
uint64_t sim_run_until_converged(struct sim *sim, uint64_t limit_ns);

/* How many existing members hold a bucket. */
uint32_t sim_holders(const struct sim *sim, uint32_t table, uint32_t bucket);
/* Who does, or SIM_MEMBERS. */
uint32_t sim_holder(const struct sim *sim, uint32_t table, uint32_t bucket);
/* A packet for the cluster: how many members take it; *who: one of them. */
uint32_t sim_packet(struct sim *sim, const struct nlb_packet *packet, uint32_t *who);

#endif
