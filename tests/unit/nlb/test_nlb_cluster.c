/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Whole clusters on a network that loses and is cut: one holder a bucket, few moves, no connection
 * lost.
 */
#include "tests/unit/test_main.h"

#include <stdio.h>
#include <string.h>

#include "tests/unit/nlb/cluster_sim.h"

#define SECONDS(n) ((n)*SIM_SECOND_NS)
#define MS(n)	   ((n)*SIM_SECOND_NS / 1000)

static struct sim sim;

static void start_all(uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		sim_start(&sim, i);
	assert_true(sim_run_until_converged(&sim, SECONDS(60)) != UINT64_MAX);
}

static void assert_one_holder_each(void)
{
	for (uint32_t t = 0; t <= sim.cluster.rule_count; t++)
		for (uint32_t b = 0; b < NLB_BUCKETS; b++)
			assert_int_equal(sim_holders(&sim, t, b), 1);
}

static uint32_t count_held(uint32_t i, uint32_t table)
{
	return (uint32_t)__builtin_popcountll(sim.members[i].member.filter.held[table]);
}

/* Until member i holds so many buckets of the first table. Returns how long that took. */
static uint64_t run_until_held(uint32_t i, uint32_t count, uint64_t limit_ns)
{
	uint64_t start = sim.now_ns;

	while (count_held(i, 0) != count && sim.now_ns - start < limit_ns)
		sim_run(&sim, SIM_STEP_NS);
	return sim.now_ns - start;
}

static void converged_cluster_has_one_holder_a_bucket(void **state)
{
	uint64_t took;

	(void)state;
	sim_init(&sim, 1);
	for (uint32_t i = 0; i < 3; i++)
		sim_start(&sim, i);
	took = sim_run_until_converged(&sim, SECONDS(20));
	print_message("three members start: converged after %llu ms\n",
		      (unsigned long long)(took / 1000000));
	assert_true(took < SECONDS(7));
	assert_one_holder_each();
	for (uint32_t i = 0; i < 3; i++)
		assert_int_equal(count_held(i, 0), 20);
	/* A single handler, and the default table: the first one's. */
	assert_int_equal(count_held(0, 2), 60);
	assert_int_equal(count_held(0, 3), 60);
	assert_int_equal(sim.two_holders_longest_ns, 0);
}

static void share_of_a_killed_member_is_taken_over(void **state)
{
	uint64_t took;

	(void)state;
	sim_init(&sim, 2);
	start_all(3);
	sim_kill(&sim, 0);
	nlb_member_lost(&sim.members[1].member, 1, sim.now_ns);
	nlb_member_lost(&sim.members[2].member, 1, sim.now_ns);
	took = sim_run_until_converged(&sim, SECONDS(20));
	print_message("loss that hosts know: taken over after %llu ms\n",
		      (unsigned long long)(took / 1000000));
	assert_true(took < MS(500));
	assert_one_holder_each();
	sim_kill(&sim, 1);
	sim_run(&sim, SECONDS(2)); /* nobody has noticed yet, and nothing moves */
	assert_int_equal(count_held(2, 0), 30);
	took = run_until_held(2, 60, SECONDS(20));
	print_message("loss that nobody knows: taken over after %llu ms\n",
		      (unsigned long long)(2000 + took / 1000000));
	assert_true(took < SECONDS(4));
	assert_one_holder_each();
	assert_int_equal(sim.two_holders_longest_ns, 0);
}

/* ---- properties ---- */

static void lose_some(uint32_t percent, uint32_t in_a_row)
{
	sim.loss_percent = percent;
	sim.losses_in_a_row = in_a_row;
}

static uint32_t running(void)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < SIM_MEMBERS; i++)
		count += sim.members[i].exists && sim.members[i].member.mode == NLB_RUNNING;
	return count;
}

static void set_weight(uint32_t i, uint32_t weight, uint32_t priority)
{
	struct nlb_member_config config;

	sim_config(&sim, i, &config);
	config.shares[1] = (uint8_t)weight;
	config.shares[2] = (uint8_t)priority;
	nlb_member_set_shares(&sim.members[i].member, &config, sim.now_ns);
}

/* Anything that may happen to a member. */
static void do_something(bool gently)
{
	uint32_t i = sim_random(&sim, SIM_MEMBERS);
	struct sim_member *member = &sim.members[i];

	if (!member->exists || member->member.mode == NLB_STOPPED) {
		sim_start(&sim, i);
		return;
	}
	switch (sim_random(&sim, gently ? 4 : 6)) {
	case 0:
	case 1:
		set_weight(i, sim_random(&sim, 101), 1 + sim_random(&sim, 32));
		break;
	case 2:
		nlb_member_drain(&member->member, sim.now_ns);
		break;
	case 3:
		nlb_member_start(&member->member, sim.now_ns, sim.now_ns);
		break;
	case 4:
		nlb_member_stop(&member->member, sim.now_ns);
		break;
	default:
		sim_kill(&sim, i);
		break;
	}
}

static void nothing_that_happens_makes_two_holders(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 60; seed++) {
		sim_init(&sim, seed);
		lose_some((uint32_t)(seed % 4) * 15, 4);
		for (uint32_t round = 0; round < 20; round++) {
			do_something(false);
			sim_run(&sim, MS(10) * (1 + sim_random(&sim, 400)));
			assert_int_equal(sim.two_holders_longest_ns, 0);
		}
		sim_start(&sim, 0);
		set_weight(0, 50, 1);
		assert_true(sim_run_until_converged(&sim, SECONDS(60)) != UINT64_MAX);
		sim_run(&sim, SECONDS(1));
		assert_true(running() >= 1);
		assert_one_holder_each();
		assert_int_equal(sim.two_holders_longest_ns, 0);
	}
}

static void split_brain_heals_in_the_stated_time(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 32; seed++) {
		uint32_t losses = (uint32_t)(seed % 4);
		uint32_t set = 1 + (uint32_t)seed % 14;

		sim_init(&sim, seed);
		start_all(4);
		sim_partition(&sim, set, true);
		sim_run(&sim, SECONDS(8));
		/* Each side serves all clients that reach it. */
		assert_true(sim.two_holders_longest_ns > SECONDS(1));
		for (uint32_t b = 0; b < NLB_BUCKETS; b++)
			assert_int_equal(sim_holders(&sim, 0, b), 2);
		sim_partition(&sim, set, false);
		lose_some(40, losses);
		sim_run(&sim, SECONDS(losses + 1) + MS(100));
		memset(sim.two_holders_since_ns, 0, sizeof(sim.two_holders_since_ns));
		sim.two_holders_longest_ns = 0;
		assert_true(sim_run_until_converged(&sim, SECONDS(30)) != UINT64_MAX);
		assert_one_holder_each();
		assert_int_equal(sim.two_holders_longest_ns, 0);
	}
}

/* What each member holds of a table, before and after. */
static void note_holders(uint32_t table, uint32_t who[NLB_BUCKETS])
{
	for (uint32_t b = 0; b < NLB_BUCKETS; b++)
		who[b] = sim_holder(&sim, table, b);
}

static void no_bucket_moves_that_need_not(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 16; seed++) {
		sim_init(&sim, seed);
		lose_some(20, 4);
		start_all(3);
		for (uint32_t round = 0; round < 12; round++) {
			uint32_t before[2][NLB_BUCKETS], held[2];
			uint32_t i = sim_random(&sim, SIM_MEMBERS);

			for (uint32_t t = 0; t < 2; t++) {
				note_holders(t, before[t]);
				held[t] = sim.members[i].exists ? count_held(i, t) : 0;
			}
			if (!sim.members[i].exists || sim.members[i].member.mode != NLB_RUNNING)
				sim_start(&sim, i);
			else if (running() > 1 && sim_random(&sim, 2))
				nlb_member_stop(&sim.members[i].member, sim.now_ns);
			else
				set_weight(i, 1 + sim_random(&sim, 100), i + 1);
			sim_run(&sim, SECONDS(6)); /* all have noticed */
			assert_true(sim_run_until_converged(&sim, SECONDS(60)) != UINT64_MAX);
			assert_one_holder_each();
			for (uint32_t t = 0; t < 2; t++) {
				uint32_t after[NLB_BUCKETS], moved = 0, now = count_held(i, t);

				note_holders(t, after);
				for (uint32_t b = 0; b < NLB_BUCKETS; b++)
					moved += before[t][b] != after[b];
				assert_int_equal(moved,
						 now > held[t] ? now - held[t] : held[t] - now);
			}
		}
	}
}

/* ---- networks that are no good ---- */

static void one_way_network_has_one_holder(void **state)
{
	(void)state;
	for (uint32_t deaf = 0; deaf < 2; deaf++) {
		sim_init(&sim, 7);
		start_all(2);
		sim.cut[1 - deaf][deaf] = true;
		sim_run(&sim, SECONDS(8));
		/* Who does not hear the other must take it for dead; so the other lets go. */
		assert_int_equal(count_held(deaf, 0), 60);
		assert_int_equal(count_held(1 - deaf, 0), 0);
		assert_true(sim.two_holders_longest_ns < MS(100));
		sim.cut[1 - deaf][deaf] = false;
		assert_true(sim_run_until_converged(&sim, SECONDS(10)) != UINT64_MAX);
		sim_run(&sim, SECONDS(2));
		assert_one_holder_each();
		assert_int_equal(count_held(0, 0), 30);
	}
}

static void chain_leaves_no_bucket_with_the_dead(void **state)
{
	char text[NLB_TROUBLE_BYTES];

	(void)state;
	sim_init(&sim, 8);
	start_all(4);
	sim.cut[0][2] = sim.cut[2][0] = true;
	sim_kill(&sim, 3);
	sim_run(&sim, SECONDS(50));
	for (uint32_t b = 0; b < NLB_BUCKETS; b++)
		assert_true(sim_holders(&sim, 0, b) >= 1);
	nlb_member_trouble(&sim.members[1].member, sim.now_ns, text);
	assert_non_null(strstr(text, "do not all hear each other"));
	sim.cut[0][2] = sim.cut[2][0] = false;
	assert_true(sim_run_until_converged(&sim, SECONDS(30)) != UINT64_MAX);
	assert_one_holder_each();
	assert_string_equal(nlb_member_trouble(&sim.members[1].member, sim.now_ns, text), "");
}

static void many_members_with_few_heartbeats_converge(void **state)
{
	(void)state;
	sim_init(&sim, 9);
	sim.cluster.interval_ms = 5000;
	sim.cluster.misses = 2;
	for (uint32_t i = 0; i < SIM_MEMBERS; i++)
		sim_start(&sim, i);
	assert_true(sim_run_until_converged(&sim, SECONDS(20)) != UINT64_MAX);
	assert_one_holder_each();
	sim_kill(&sim, 3);
	sim_run(&sim, SECONDS(14));
	assert_one_holder_each();
}

/* ---- connections ---- */

#define CLIENTS 60u

struct client {
	struct nlb_packet packet;
	bool is_connected;
	uint32_t with;
};

static struct client clients[CLIENTS];

static void connect_client(uint32_t c)
{
	struct client *client = &clients[c];

	client->packet = (struct nlb_packet){
		.family = 4,
		.protocol = NLB_IP_TCP,
		.tcp_flags = NLB_TCP_SYN,
		.client = {192, 168, (uint8_t)sim_random(&sim, 256), (uint8_t)c},
		.server = {10, 0, 0, 100},
		.client_port = (uint16_t)(1024 + sim_random(&sim, 60000)),
		.server_port = (uint16_t[]){80, 443, 5001, 22}[sim_random(&sim, 4)]};
	switch (sim_packet(&sim, &client->packet, &client->with)) {
	case 0:
		break; /* its bucket is on its way: the client tries again */
	case 1:
		client->is_connected = true;
		client->packet.tcp_flags = NLB_TCP_ACK;
		break;
	default:
		fail_msg("two members took a SYN");
	}
}

static void talk(uint32_t c)
{
	struct client *client = &clients[c];
	uint32_t who = SIM_MEMBERS;

	if (!client->is_connected) {
		if (sim_random(&sim, 4) == 0)
			connect_client(c);
		return;
	}
	if (sim_random(&sim, 20) == 0)
		client->packet.tcp_flags = NLB_TCP_ACK | NLB_TCP_FIN;
	assert_int_equal(sim_packet(&sim, &client->packet, &who), 1);
	assert_int_equal(who, client->with);
	client->is_connected = !(client->packet.tcp_flags & NLB_TCP_FIN);
}

static void connections_stay_where_they_are_and_drains_end(void **state)
{
	uint32_t drained = 0, begun = 0;

	(void)state;
	for (uint64_t seed = 1; seed <= 16; seed++) {
		memset(clients, 0, sizeof(clients));
		sim_init(&sim, seed);
		sim.cluster.timeouts.closing_seconds = 3;
		lose_some(25, 4);
		start_all(3);
		for (uint32_t round = 0; round < 300; round++) {
			uint32_t were_draining = 0;

			if (round % 30 == 0)
				do_something(true);
			for (uint32_t c = 0; c < CLIENTS; c++)
				talk(c);
			for (uint32_t i = 0; i < SIM_MEMBERS; i++) {
				if (!sim.members[i].exists)
					continue;
				nlb_filter_expire(&sim.members[i].member.filter, 10, sim.now_ns);
				were_draining += sim.members[i].member.mode == NLB_DRAINING;
			}
			sim_run(&sim, MS(200));
			for (uint32_t i = 0; i < SIM_MEMBERS; i++)
				were_draining -= sim.members[i].exists &&
						 sim.members[i].member.mode == NLB_DRAINING;
			drained += were_draining;
		}
		for (uint32_t i = 0; i < SIM_MEMBERS; i++)
			begun += (uint32_t)sim.members[i].member.filter.counters.connections;
		assert_int_equal(sim.two_holders_longest_ns, 0);
	}
	print_message("%u connections, %u drains to their end\n", begun, drained);
	assert_true(begun > 1000);
	assert_true(drained > 10);
}

/* One after the other, then all at once; loss and all. */
static void connections_survive_live_moves(void **state)
{
	uint32_t begun = 0;

	(void)state;
	for (uint64_t seed = 1; seed <= 8; seed++) {
		memset(clients, 0, sizeof(clients));
		sim_init(&sim, seed);
		lose_some(20, 3);
		start_all(3);
		for (uint32_t round = 0; round < 100; round++) {
			for (uint32_t c = 0; c < CLIENTS; c++)
				talk(c);
			sim_run(&sim, MS(100));
			if (round % 10 == 9)
				assert_true(sim_move(&sim,
						     round % 20 == 9 ? 7 : 1u << round / 20 % 3,
						     MS(10) * (1 + sim_random(&sim, 50))));
		}
		assert_true(sim_run_until_converged(&sim, SECONDS(30)) != UINT64_MAX);
		assert_one_holder_each();
		for (uint32_t i = 0; i < 3; i++) {
			assert_int_equal(count_held(i, 0), 20);
			begun += sim.members[i].table.count;
		}
		assert_int_equal(sim.two_holders_longest_ns, 0);
	}
	assert_true(begun > 100);
}

/* Affinity and load of both shared rules, at one member after the other. */
static void connections_survive_a_change_of_rules(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 8; seed++) {
		memset(clients, 0, sizeof(clients));
		sim_init(&sim, seed);
		lose_some(20, 3);
		start_all(3);
		for (uint32_t round = 0; round < 160; round++) {
			uint32_t i = round / 40 - 1;
			struct nlb_member_config config;

			for (uint32_t c = 0; c < CLIENTS; c++)
				talk(c);
			sim_run(&sim, MS(100));
			if (round % 40 || !round)
				continue;
			sim_config(&sim, i, &config);
			sim.cluster.rules[0].affinity = NLB_AFFINITY_NETWORK;
			sim.cluster.rules[1].weighted = false;
			config.shares[1] = 0;
			nlb_member_set_rules(&sim.members[i].member, &sim.cluster, &config,
					     sim.now_ns);
		}
		assert_true(sim_run_until_converged(&sim, SECONDS(30)) != UINT64_MAX);
		assert_one_holder_each();
		for (uint32_t i = 0; i < 3; i++) {
			assert_int_equal(count_held(i, 1), 20);
			assert_true(sim.members[i].member.filter.connection_count > 3);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(converged_cluster_has_one_holder_a_bucket),
		cmocka_unit_test(share_of_a_killed_member_is_taken_over),
		cmocka_unit_test(nothing_that_happens_makes_two_holders),
		cmocka_unit_test(split_brain_heals_in_the_stated_time),
		cmocka_unit_test(no_bucket_moves_that_need_not),
		cmocka_unit_test(one_way_network_has_one_holder),
		cmocka_unit_test(chain_leaves_no_bucket_with_the_dead),
		cmocka_unit_test(many_members_with_few_heartbeats_converge),
		cmocka_unit_test(connections_stay_where_they_are_and_drains_end),
		cmocka_unit_test(connections_survive_live_moves),
		cmocka_unit_test(connections_survive_a_change_of_rules),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
