/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The network, and the clock.
 */
#include "tests/unit/nlb/cluster_sim.h"

#include <stdlib.h>
#include <string.h>

#include "nlb/nlb_saved_state.h"

uint32_t sim_random(struct sim *sim, uint32_t below)
{
	sim->random = sim->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)(sim->random >> 33) % below;
}

void sim_init(struct sim *sim, uint64_t seed)
{
	static const struct nlb_rule rules[] = {
		{NLB_TCP, 80, 80, NLB_MULTIPLE, NLB_AFFINITY_NONE, false},
		{NLB_TCP, 443, 443, NLB_MULTIPLE, NLB_AFFINITY_SINGLE, true},
		{NLB_BOTH, 5000, 5999, NLB_SINGLE, NLB_AFFINITY_NONE, false},
	};

	memset(sim, 0, sizeof(*sim));
	sim->random = seed;
	sim->now_ns = SIM_SECOND_NS;
	sim->delay_steps = 3;
	nlb_cluster_init(&sim->cluster);
	sim->cluster.address_count = 1;
	sim->cluster.addresses[0] = (struct nlb_address){4, {10, 0, 0, 100}};
	sim->cluster.rule_count = 3;
	memcpy(sim->cluster.rules, rules, sizeof(rules));
}

void sim_config(const struct sim *sim, uint32_t i, struct nlb_member_config *config)
{
	(void)sim;
	*config = (struct nlb_member_config){.id = (uint8_t)(i + 1),
					     .shares = {0, 50, (uint8_t)(i + 1)}};
}

void sim_start(struct sim *sim, uint32_t i)
{
	struct sim_member *member = &sim->members[i];
	struct nlb_member_config config;
	struct nlb_connections connections;

	if (!member->exists) {
		sim_config(sim, i, &config);
		connections = plain_connections_init(&member->table, PLAIN_MAX);
		nlb_member_init(&member->member, &sim->cluster, &config, &connections);
		member->exists = true;
	}
	nlb_member_start(&member->member, sim->now_ns, sim->now_ns);
}

void sim_kill(struct sim *sim, uint32_t i)
{
	sim->members[i].exists = false;
}

void sim_partition(struct sim *sim, uint32_t set, bool is_cut)
{
	for (uint32_t i = 0; i < SIM_MEMBERS; i++)
		for (uint32_t j = 0; j < SIM_MEMBERS; j++)
			if ((set >> i & 1) != (set >> j & 1))
				sim->cut[i][j] = is_cut;
}

static bool is_lost(struct sim *sim, uint32_t from, uint32_t to)
{
	uint32_t *in_a_row = &sim->lost_in_a_row[from][to];

	if (sim->cut[from][to])
		return true;
	if (sim_random(sim, 100) >= sim->loss_percent || *in_a_row >= sim->losses_in_a_row) {
		*in_a_row = 0;
		return false;
	}
	++*in_a_row;
	return true;
}

static void send_to_all(struct sim *sim, uint32_t from, const uint8_t *bytes, size_t length)
{
	sim->frames_sent++;
	for (uint32_t to = 0; to < SIM_MEMBERS; to++) {
		struct sim_frame *frame;

		if (to == from || is_lost(sim, from, to))
			continue;
		if (sim->frame_count == SIM_MAX_FRAMES)
			abort();
		frame = &sim->frames[sim->frame_count++];
		frame->due_ns = sim->now_ns + SIM_STEP_NS * sim_random(sim, sim->delay_steps + 1);
		frame->to = to;
		frame->length = (uint32_t)length;
		memcpy(frame->bytes, bytes, length);
	}
}

static void deliver(struct sim *sim)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < sim->frame_count; i++) {
		struct sim_frame *frame = &sim->frames[i];
		struct sim_member *to = &sim->members[frame->to];

		if (frame->due_ns > sim->now_ns) {
			if (kept != i)
				sim->frames[kept] = *frame;
			kept++;
		} else if (to->exists) {
			nlb_member_receive(&to->member, frame->bytes, frame->length, sim->now_ns);
		}
	}
	sim->frame_count = kept;
}

uint32_t sim_holders(const struct sim *sim, uint32_t table, uint32_t bucket)
{
	uint32_t holders = 0;

	for (uint32_t i = 0; i < SIM_MEMBERS; i++)
		holders += sim->members[i].exists &&
			   (sim->members[i].member.filter.held[table] >> bucket & 1);
	return holders;
}

uint32_t sim_holder(const struct sim *sim, uint32_t table, uint32_t bucket)
{
	for (uint32_t i = 0; i < SIM_MEMBERS; i++)
		if (sim->members[i].exists &&
		    (sim->members[i].member.filter.held[table] >> bucket & 1))
			return i;
	return SIM_MEMBERS;
}

static void watch(struct sim *sim)
{
	for (uint32_t t = 0; t <= sim->cluster.rule_count; t++) {
		uint64_t one = 0, two = 0;

		for (uint32_t i = 0; i < SIM_MEMBERS; i++) {
			if (!sim->members[i].exists)
				continue;
			two |= one & sim->members[i].member.filter.held[t];
			one |= sim->members[i].member.filter.held[t];
		}
		for (uint32_t b = 0; b < NLB_BUCKETS; b++) {
			uint64_t *since = &sim->two_holders_since_ns[t][b];
			uint64_t lasted;

			if (!(two >> b & 1)) {
				*since = 0;
				continue;
			}
			if (!*since)
				*since = sim->now_ns;
			lasted = sim->now_ns - *since + SIM_STEP_NS;
			if (lasted > sim->two_holders_longest_ns)
				sim->two_holders_longest_ns = lasted;
		}
	}
}

static void step(struct sim *sim)
{
	uint8_t bytes[NLB_HEARTBEAT_MAX_BYTES];
	size_t length;

	sim->now_ns += SIM_STEP_NS;
	deliver(sim);
	for (uint32_t i = 0; i < SIM_MEMBERS; i++) {
		struct nlb_member *member = &sim->members[i].member;

		if (!sim->members[i].exists)
			continue;
		if (nlb_member_due(member) <= sim->now_ns)
			nlb_member_advance(member, sim->now_ns);
		while ((length = nlb_member_send(member, bytes, sim->now_ns)) > 0)
			send_to_all(sim, i, bytes, length);
		if (nlb_member_due(member) <= sim->now_ns)
			abort(); /* who waits for what is due would never sleep */
	}
	watch(sim);
}

void sim_run(struct sim *sim, uint64_t ns)
{
	for (uint64_t end = sim->now_ns + ns; sim->now_ns < end;)
		step(sim);
}

static bool is_converged(const struct sim *sim)
{
	uint64_t view = 0;

	for (uint32_t i = 0; i < SIM_MEMBERS; i++) {
		const struct nlb_member *member = &sim->members[i].member;

		if (!sim->members[i].exists || member->mode != NLB_RUNNING)
			continue;
		if (!member->is_converged || (view && member->view != view))
			return false;
		view = member->view;
	}
	return true;
}

uint64_t sim_run_until_converged(struct sim *sim, uint64_t limit_ns)
{
	uint64_t start = sim->now_ns;

	do {
		step(sim);
		if (is_converged(sim))
			return sim->now_ns - start;
	} while (sim->now_ns - start < limit_ns);
	return UINT64_MAX;
}

static void save(struct sim *sim, uint32_t i, struct state_writer *writer)
{
	struct sim_member *member = &sim->members[i];
	uint32_t position = 0;

	state_writer_init(writer);
	nlb_member_save(&member->member, sim->now_ns, writer);
	do
		nlb_connections_save(&member->member.filter, sim->now_ns, 7, &position, writer);
	while (position);
	member->exists = false;
}

static bool restore(struct sim *sim, uint32_t i, const struct state_writer *writer)
{
	struct sim_member *member = &sim->members[i];
	struct nlb_member_config config = member->member.config;
	struct nlb_connections connections = plain_connections_init(&member->table, PLAIN_MAX);
	struct state_reader reader, section;
	bool is_good = state_writer_result(writer) == 0;

	nlb_member_init(&member->member, &sim->cluster, &config, &connections);
	state_reader_init(&reader, writer->bytes, writer->length);
	while (is_good && state_next(&reader, &section) == 1)
		is_good = section.tag == NLB_STATE_MEMBER
				  ? nlb_member_restore(&member->member, &section, sim->now_ns) == 0
				  : nlb_connections_restore(&member->member.filter, &section,
							    sim->now_ns) == 0;
	member->exists = true;
	return is_good && reader.error == 0;
}

bool sim_move(struct sim *sim, uint32_t set, uint64_t rest_ns)
{
	struct state_writer writers[SIM_MEMBERS];
	bool is_good = true;

	for (uint32_t i = 0; i < SIM_MEMBERS; i++) {
		if (!sim->members[i].exists)
			set &= ~(UINT32_C(1) << i);
		if (set >> i & 1)
			save(sim, i, &writers[i]);
	}
	sim_run(sim, rest_ns);
	for (uint32_t i = 0; i < SIM_MEMBERS; i++) {
		if (!(set >> i & 1))
			continue;
		is_good &= restore(sim, i, &writers[i]);
		state_writer_fini(&writers[i]);
	}
	return is_good;
}

uint32_t sim_packet(struct sim *sim, const struct nlb_packet *packet, uint32_t *who)
{
	uint32_t taken = 0;

	for (uint32_t i = 0; i < SIM_MEMBERS; i++) {
		if (!sim->members[i].exists ||
		    nlb_decide(&sim->members[i].member.filter, packet, sim->now_ns) != NLB_ACCEPT)
			continue;
		taken++;
		*who = i;
	}
	return taken;
}
