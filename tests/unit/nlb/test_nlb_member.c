/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One member, told by the test what the others say; each rule by its name.
 */
#include "tests/unit/test_main.h"

#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "nlb/nlb_member.h"
#include "tests/unit/nlb/plain_connections.h"

#define SECOND UINT64_C(1000000000)
#define MS     UINT64_C(1000000)
#define LOST   (5500 * MS)
#define US     5

enum { WEB, MAIL, OTHERS, TABLES };

static struct nlb_cluster cluster;
static struct nlb_member member;
static struct plain_connections table;
static struct nlb_heartbeat peers[NLB_MAX_MEMBERS + 1]; /* by id */
static uint64_t now;
static uint32_t sent;
static struct nlb_heartbeat last_sent;

static void collect(void)
{
	uint8_t bytes[NLB_HEARTBEAT_MAX_BYTES];
	size_t length;

	while ((length = nlb_member_send(&member, bytes, now)) > 0) {
		assert_int_equal(nlb_heartbeat_read(bytes, length, &last_sent), 0);
		sent++;
	}
}

static void run(uint64_t ns)
{
	for (uint64_t end = now + ns; now < end;) {
		now += 10 * MS;
		if (nlb_member_due(&member) <= now)
			nlb_member_advance(&member, now);
		collect();
		assert_true(nlb_member_due(&member) > now);
	}
}

/* A member with id US that has just been started, at 100 s. */
static void make_member(void)
{
	struct nlb_member_config config = {.id = US, .shares = {[WEB] = 50, [MAIL] = US}};
	struct nlb_connections connections = plain_connections_init(&table, PLAIN_MAX);

	nlb_cluster_init(&cluster);
	cluster.address_count = 1;
	cluster.addresses[0] = (struct nlb_address){4, {10, 0, 0, 100}};
	cluster.rule_count = 2;
	cluster.rules[WEB] =
		(struct nlb_rule){NLB_TCP, 80, 80, NLB_MULTIPLE, NLB_AFFINITY_NONE, true};
	cluster.rules[MAIL] =
		(struct nlb_rule){NLB_TCP, 25, 25, NLB_SINGLE, NLB_AFFINITY_NONE, false};
	nlb_member_init(&member, &cluster, &config, &connections);
	memset(peers, 0, sizeof(peers));
	now = 100 * SECOND;
	sent = 0;
	assert_int_equal(nlb_member_start(&member, now, now), 0);
	collect();
}

/* It listened, and has all buckets. */
static void make_lone_member(void)
{
	make_member();
	run(LOST + 20 * MS);
	assert_true(member.is_converged);
}

static int send_raw(const struct nlb_heartbeat *heartbeat)
{
	uint8_t bytes[NLB_HEARTBEAT_MAX_BYTES];
	size_t length = nlb_heartbeat_write(heartbeat, bytes);

	return nlb_member_receive(&member, bytes, length, now);
}

/* A peer that serves, hears us, and holds nothing yet. */
static struct nlb_heartbeat *make_peer(uint8_t id)
{
	peers[id] = (struct nlb_heartbeat){.member = id,
					   .state = NLB_WIRE_CONVERGING,
					   .cluster = nlb_cluster_id(&cluster),
					   .instance = 1000u + id,
					   .revision = 1,
					   .digest = nlb_cluster_digest(&cluster),
					   .hears = 1u << (US - 1),
					   .table_count = TABLES};
	peers[id].tables[WEB].share = 50;
	peers[id].tables[MAIL].share = id;
	peers[id].tables[OTHERS].share = id;
	return &peers[id];
}

static int say(struct nlb_heartbeat *peer)
{
	int err;

	peer->sequence++;
	err = send_raw(peer);
	collect();
	return err;
}

/* It says that it knows the same as we do. */
static void agree(struct nlb_heartbeat *peer)
{
	say(peer);
	run(20 * MS); /* what has come in is thought about */
	peer->view = member.view;
	assert_int_equal(say(peer), 0);
	run(20 * MS);
}

static uint32_t held(uint32_t t)
{
	return (uint32_t)__builtin_popcountll(member.filter.held[t]);
}

static void send_tcp(uint16_t port, uint8_t flags, enum nlb_verdict expected)
{
	struct nlb_packet packet = {.family = 4,
				    .protocol = NLB_IP_TCP,
				    .tcp_flags = flags,
				    .client = {192, 0, 2, 7},
				    .server = {10, 0, 0, 100},
				    .client_port = 40000,
				    .server_port = port};

	assert_int_equal(nlb_decide(&member.filter, &packet, now), expected);
}

static void lone_member_listens_then_serves(void **state)
{
	(void)state;
	make_member();
	assert_int_equal(last_sent.state, NLB_WIRE_JOINING);
	run(LOST - 10 * MS);
	assert_int_equal(held(WEB) + held(MAIL) + held(OTHERS), 0);
	run(20 * MS);
	assert_int_equal(held(WEB), 60);
	assert_int_equal(held(MAIL), 60);
	assert_int_equal(held(OTHERS), 60);
	run(SECOND);
	assert_int_equal(last_sent.state, NLB_WIRE_CONVERGED);
	assert_int_equal(member.counters.convergences, 1);
}

static void heartbeats_come_at_their_interval(void **state)
{
	uint32_t before;

	(void)state;
	make_lone_member();
	run(SECOND);
	before = sent;
	run(20 * SECOND);
	assert_in_range(sent - before, 19, 21);
	before = sent;
	nlb_member_announce(&member, now);
	collect();
	assert_int_equal(sent - before, 1);
}

static void stopped_member_says_so_and_takes_nothing(void **state)
{
	(void)state;
	make_lone_member();
	send_tcp(80, NLB_TCP_SYN, NLB_ACCEPT);
	run(SECOND);
	sent = 0;
	nlb_member_stop(&member, now);
	send_tcp(80, NLB_TCP_ACK, NLB_DROP);
	run(5 * SECOND);
	assert_int_equal(sent, 3);
	assert_int_equal(last_sent.state, NLB_WIRE_LEAVING);
	assert_true(last_sent.tables[WEB].held == 0 && last_sent.tables[WEB].busy == 0);
	assert_int_equal(table.count, 0);
	assert_true(nlb_member_due(&member) == UINT64_MAX);
	assert_int_equal(nlb_member_drain(&member, now), -ESRCH);
	assert_int_equal(say(make_peer(1)), -ENOTCONN);
	assert_int_equal(nlb_member_start(&member, now, now), 0);
	assert_int_equal(nlb_member_start(&member, now, now), -EALREADY);
	run(LOST + 20 * MS);
	assert_int_equal(held(WEB), 60);
}

static void suspended_member_is_not_started(void **state)
{
	(void)state;
	make_lone_member();
	assert_int_equal(nlb_member_resume(&member), -EALREADY);
	nlb_member_suspend(&member, now);
	assert_int_equal(held(WEB), 0);
	assert_int_equal(nlb_member_start(&member, now, now), -EBUSY);
	assert_int_equal(nlb_member_resume(&member), 0);
	assert_int_equal(nlb_member_start(&member, now, now), 0);
}

static void drained_member_stops_with_its_last_connection(void **state)
{
	(void)state;
	make_lone_member();
	send_tcp(80, NLB_TCP_SYN, NLB_ACCEPT);
	send_tcp(80, NLB_TCP_ACK, NLB_ACCEPT);
	assert_int_equal(nlb_member_drain(&member, now), 0);
	assert_int_equal(held(WEB) + held(MAIL) + held(OTHERS), 0);
	run(3 * SECOND);
	assert_int_equal(last_sent.state, NLB_WIRE_DRAINING);
	assert_int_equal(__builtin_popcountll(last_sent.tables[WEB].busy), 1);
	send_tcp(25, NLB_TCP_SYN, NLB_DROP);
	send_tcp(80, NLB_TCP_ACK | NLB_TCP_FIN, NLB_ACCEPT);
	run(239 * SECOND);
	nlb_filter_expire(&member.filter, 100, now);
	assert_int_equal(member.mode, NLB_DRAINING);
	run(SECOND);
	nlb_filter_expire(&member.filter, 100, now);
	run(SECOND);
	assert_int_equal(member.mode, NLB_STOPPED);
	assert_int_equal(last_sent.state, NLB_WIRE_LEAVING);
}

static void drain_can_be_taken_back(void **state)
{
	(void)state;
	make_lone_member();
	send_tcp(80, NLB_TCP_SYN, NLB_ACCEPT);
	nlb_member_drain(&member, now);
	run(SECOND);
	assert_int_equal(nlb_member_start(&member, now, now), 0);
	run(SECOND);
	assert_int_equal(member.mode, NLB_RUNNING);
	assert_int_equal(held(WEB), 60);
	send_tcp(80, NLB_TCP_ACK, NLB_ACCEPT);
}

static void nothing_moves_before_all_agree(void **state)
{
	struct nlb_heartbeat *peer;

	(void)state;
	make_lone_member();
	peer = make_peer(9);
	say(peer);
	run(4 * SECOND);
	assert_int_equal(held(WEB), 60);
	assert_false(member.is_converged);
	agree(peer);
	assert_int_equal(held(WEB), 30);
	/* It has the higher id: the default table stays ours, and so does mail. */
	assert_int_equal(held(MAIL), 60);
	assert_int_equal(held(OTHERS), 60);
	peer->tables[WEB].held = NLB_ALL_BUCKETS & ~member.filter.held[WEB];
	peer->revision++;
	say(peer);
	assert_false(member.is_converged);
	agree(peer);
	assert_true(member.is_converged);
	assert_int_equal(nlb_member_held_by(&member, 9, WEB), 30);
	assert_int_equal(nlb_member_held_by(&member, US, WEB), 30);
}

static void nothing_is_taken_from_who_may_not_know_us_yet(void **state)
{
	struct nlb_heartbeat *peer;

	(void)state;
	make_member();
	run(LOST - SECOND);
	peer = make_peer(9);
	peer->hears = 0;
	for (uint32_t i = 0; i < 5; i++) {
		say(peer);
		run(SECOND);
		assert_int_equal(held(WEB), 0);
	}
	say(peer);
	run(2 * SECOND);
	/* By now it has lost what we sent for as long as it takes: it does not hear us. */
	assert_int_equal(held(WEB), 60);
}

static void what_another_holds_is_not_taken(void **state)
{
	struct nlb_heartbeat *peer;

	(void)state;
	make_member();
	peer = make_peer(9);
	peer->hears = 0;
	peer->tables[WEB].held = 0xff;
	for (uint32_t i = 0; i < 15; i++) {
		say(peer);
		run(SECOND);
	}
	assert_true(member.filter.held[WEB] == (NLB_ALL_BUCKETS & ~UINT64_C(0xff)));
}

static void lower_id_keeps_what_two_hold(void **state)
{
	struct nlb_heartbeat *peer;

	(void)state;
	make_lone_member();
	peer = make_peer(9);
	peer->tables[WEB].held = 0xff;
	say(peer);
	assert_int_equal(held(WEB), 60);
	peer = make_peer(2);
	peer->tables[WEB].held = 0xf0;
	say(peer);
	assert_int_equal(held(WEB), 56);
	assert_int_equal(member.counters.yielded, 4);
}

static void who_does_not_hear_us_goes_before_us(void **state)
{
	struct nlb_heartbeat *peer;

	(void)state;
	make_lone_member();
	peer = make_peer(9);
	say(peer);
	run(SECOND);
	/* It has lost us, and has taken what we hold. */
	peer->hears = 0;
	peer->revision++;
	peer->tables[WEB].held = NLB_ALL_BUCKETS;
	say(peer);
	assert_int_equal(held(WEB), 0);
	/* Another one that has just come up may not have heard us yet. */
	peer = make_peer(8);
	peer->hears = 0;
	peer->tables[MAIL].held = NLB_ALL_BUCKETS;
	say(peer);
	assert_int_equal(held(MAIL), 60);
	for (uint32_t i = 0; i < 6; i++) {
		run(SECOND);
		say(peer);
	}
	assert_int_equal(held(MAIL), 0);
}

static void loss_that_the_host_knows_needs_no_waiting(void **state)
{
	struct nlb_heartbeat *peer;

	(void)state;
	make_lone_member();
	peer = make_peer(9);
	agree(peer);
	assert_int_equal(held(WEB), 30);
	nlb_member_lost(&member, 9, now);
	assert_int_equal(held(WEB), 60);
	assert_int_equal(member.counters.lost, 1);
	nlb_member_lost(&member, 9, now);
	assert_int_equal(member.counters.lost, 1);
}

static void member_that_leaves_is_gone_at_once(void **state)
{
	struct nlb_heartbeat *peer;

	(void)state;
	make_lone_member();
	peer = make_peer(1);
	agree(peer);
	assert_int_equal(held(OTHERS), 0);
	peer->state = NLB_WIRE_LEAVING;
	say(peer);
	run(20 * MS);
	assert_int_equal(held(OTHERS), 60);
	assert_int_equal(nlb_member_heard(&member), 0);
}

static void silent_member_is_lost_after_five_misses(void **state)
{
	struct nlb_heartbeat *peer;

	(void)state;
	make_lone_member();
	peer = make_peer(1);
	agree(peer);
	run(LOST - 100 * MS);
	assert_int_equal(nlb_member_heard(&member), 1);
	assert_int_equal(held(OTHERS), 0);
	run(200 * MS);
	assert_int_equal(held(OTHERS), 60);
}

static void weights_and_priorities_change_while_it_runs(void **state)
{
	struct nlb_member_config config = {.id = US, .shares = {[WEB] = 100, [MAIL] = 1}};
	struct nlb_heartbeat *peer;

	(void)state;
	make_lone_member();
	peer = make_peer(2);
	agree(peer);
	assert_int_equal(held(WEB), 30);
	assert_int_equal(held(MAIL), 0);
	nlb_member_set_shares(&member, &config, now);
	agree(peer);
	assert_int_equal(held(WEB), 40);
	assert_int_equal(held(MAIL), 60);
	config.shares[WEB] = 0;
	nlb_member_set_shares(&member, &config, now);
	agree(peer);
	assert_int_equal(held(WEB), 0);
}

static void members_with_other_rules_are_named_and_outvoted(void **state)
{
	char text[NLB_TROUBLE_BYTES];
	struct nlb_heartbeat *peer;

	(void)state;
	make_lone_member();
	send_tcp(80, NLB_TCP_SYN, NLB_ACCEPT);
	assert_string_equal(nlb_member_trouble(&member, now, text), "");
	peer = make_peer(9);
	peer->digest++;
	say(peer);
	run(20 * MS);
	/* One against one: the lower id. */
	assert_int_equal(held(WEB), 60);
	assert_int_equal(nlb_member_mismatched(&member), 1u << 8);
	assert_string_equal(nlb_member_trouble(&member, now, text),
			    "member 9 has other virtual addresses, port rules or heartbeats than "
			    "this one (5); give all members of the cluster the same");
	peer = make_peer(12);
	peer->digest = peers[9].digest;
	say(peer);
	run(20 * MS);
	/* One against two. Connections stay. */
	assert_int_equal(held(WEB) + held(MAIL) + held(OTHERS), 0);
	assert_non_null(strstr(nlb_member_trouble(&member, now, text), "members 9 and 12 have"));
	send_tcp(80, NLB_TCP_ACK, NLB_ACCEPT);
	/* Two against two: one of ours has the lowest id, but who holds what stays to be let go. */
	peers[9].tables[0].held = 1;
	say(&peers[9]);
	peer = make_peer(4);
	say(peer);
	agree(peer);
	assert_int_equal(held(WEB), 0);
	peers[9].tables[0].held = 0;
	say(&peers[9]);
	say(&peers[12]);
	/* All four have to know the same. */
	run(20 * MS);
	peers[9].view = peers[12].view = member.view;
	say(&peers[9]);
	say(&peers[12]);
	agree(peer);
	assert_int_equal(held(WEB), 30);
}

static void rules_change_while_it_runs(void **state)
{
	struct nlb_member_config config = {.id = US, .shares = {[0] = US}};
	struct nlb_heartbeat *peer;
	uint64_t busy;

	(void)state;
	make_lone_member();
	send_tcp(80, NLB_TCP_SYN, NLB_ACCEPT);
	send_tcp(25, NLB_TCP_SYN, NLB_ACCEPT);
	busy = member.filter.busy[MAIL];
	peer = make_peer(1);
	agree(peer);
	assert_int_equal(held(WEB), 30);
	/* Without the rule for port 80, which is the default table's then. */
	cluster.rules[0] = cluster.rules[1];
	cluster.rule_count = 1;
	nlb_member_set_rules(&member, &cluster, &config, now);
	assert_int_equal(held(0) + held(1) + held(2), 0);
	assert_int_equal(member.filter.connection_count, 2);
	assert_true(member.filter.busy[0] == busy);
	assert_int_equal(__builtin_popcountll(member.filter.busy[1]), 1);
	assert_true(member.filter.busy[2] == 0);
	send_tcp(80, NLB_TCP_ACK, NLB_ACCEPT);
	run(SECOND);
	assert_int_equal(nlb_member_mismatched(&member), 1);
	/* The other one has them now, too. */
	peer->revision++;
	peer->digest = nlb_cluster_digest(&cluster);
	peer->table_count = 2;
	peer->tables[0].share = 9;
	agree(peer);
	assert_int_equal(held(0), 60);
	assert_int_equal(held(1), 0);
	assert_int_equal(nlb_member_mismatched(&member), 0);
}

static void newcomers_with_other_rules_do_not_outvote(void **state)
{
	struct nlb_heartbeat *peer;

	(void)state;
	make_lone_member();
	for (uint8_t id = 1; id < 4; id++) {
		peer = make_peer(id);
		peer->state = NLB_WIRE_JOINING;
		peer->digest++;
		say(peer);
	}
	run(SECOND);
	assert_int_equal(held(WEB), 60);
}

static void later_one_of_two_with_one_id_stands_aside(void **state)
{
	char text[NLB_TROUBLE_BYTES];
	struct nlb_heartbeat *twin;

	(void)state;
	make_lone_member();
	twin = make_peer(US);
	twin->instance = member.instance + 1;
	assert_int_equal(say(twin), -EEXIST);
	assert_int_equal(held(WEB), 60);
	twin->instance = member.instance - 1;
	assert_int_equal(say(twin), -EEXIST);
	assert_int_equal(held(WEB), 0);
	assert_int_equal(member.counters.same_id, 2);
	assert_non_null(strstr(nlb_member_trouble(&member, now, text),
			       "another member with id 5 was there before this one"));
	sent = 0;
	run(LOST - 100 * MS);
	assert_int_equal(sent, 0);
	say(twin);
	run(LOST - 100 * MS);
	assert_int_equal(held(WEB), 0);
	/* It has gone: listen, then serve. */
	run(LOST + 200 * MS);
	assert_int_equal(held(WEB), 60);
	assert_string_equal(nlb_member_trouble(&member, now, text), "");
}

static void second_instance_of_a_peer_waits_for_the_first_to_go(void **state)
{
	struct nlb_heartbeat *peer, again;

	(void)state;
	make_lone_member();
	peer = make_peer(9);
	agree(peer);
	again = *peer;
	again.instance++;
	assert_int_equal(say(&again), -EEXIST);
	assert_true(member.peers[8].latest.instance == peer->instance);
	run(LOST);
	assert_int_equal(say(&again), 0);
	assert_true(member.peers[8].latest.instance == again.instance);
	/* One that was there earlier goes before it. */
	peer->sequence = 0;
	assert_int_equal(say(peer), 0);
}

static void what_is_no_news_changes_nothing(void **state)
{
	uint8_t bytes[NLB_HEARTBEAT_MAX_BYTES];
	struct nlb_heartbeat *peer, other;

	(void)state;
	make_lone_member();
	peer = make_peer(1);
	say(peer);
	run(100 * MS);
	peer->tables[WEB].held = NLB_ALL_BUCKETS;
	assert_int_equal(send_raw(peer), -ESTALE);
	other = *peer;
	other.cluster++;
	other.sequence++;
	assert_int_equal(send_raw(&other), -ENOENT);
	other = *peer;
	other.table_count = TABLES + 1; /* with our rules? */
	other.sequence++;
	assert_int_equal(send_raw(&other), -EPROTO);
	memset(bytes, 0xee, sizeof(bytes));
	assert_int_equal(nlb_member_receive(&member, bytes, sizeof(bytes), now), -EPROTO);
	other = last_sent;
	assert_int_equal(send_raw(&other), -ESTALE);
	assert_int_equal(held(WEB), 60);
	assert_int_equal(member.counters.stale, 1);
	assert_int_equal(member.counters.other_cluster, 1);
	assert_int_equal(member.counters.malformed, 2);
}

static void flood_of_heartbeats_is_answered_by_few(void **state)
{
	uint32_t before;

	(void)state;
	make_lone_member();
	before = sent;
	for (uint32_t i = 0; i < 20000; i++) {
		struct nlb_heartbeat *peer = &peers[1 + i % 4];

		if (i < 4)
			make_peer((uint8_t)(1 + i % 4));
		peer->revision++;
		peer->hears = i % 3 ? 1u << (US - 1) : 0;
		peer->view = i;
		peer->instance = 1000000u - i;
		now += 100000; /* 10,000 a second */
		say(peer);
		if (nlb_member_due(&member) <= now)
			nlb_member_advance(&member, now);
		collect();
	}
	assert_true(sent - before <= 45);
}

static void strays_are_left_to_who_is_busy(void **state)
{
	struct nlb_heartbeat *peer;

	(void)state;
	make_lone_member();
	peer = make_peer(9);
	peer->tables[WEB].busy = NLB_ALL_BUCKETS;
	say(peer);
	run(20 * MS);
	send_tcp(80, NLB_TCP_ACK, NLB_DROP);
	send_tcp(25, NLB_TCP_ACK, NLB_ACCEPT);
	/* Of one with other rules we do not know which buckets. */
	peer->digest++;
	say(peer);
	run(20 * MS);
	send_tcp(25, NLB_TCP_ACK | NLB_TCP_RST, NLB_ACCEPT); /* remembered before */
	send_tcp(22, NLB_TCP_ACK, NLB_DROP);
	nlb_member_lost(&member, 9, now);
	send_tcp(22, NLB_TCP_ACK, NLB_ACCEPT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lone_member_listens_then_serves),
		cmocka_unit_test(heartbeats_come_at_their_interval),
		cmocka_unit_test(stopped_member_says_so_and_takes_nothing),
		cmocka_unit_test(suspended_member_is_not_started),
		cmocka_unit_test(drained_member_stops_with_its_last_connection),
		cmocka_unit_test(drain_can_be_taken_back),
		cmocka_unit_test(nothing_moves_before_all_agree),
		cmocka_unit_test(nothing_is_taken_from_who_may_not_know_us_yet),
		cmocka_unit_test(what_another_holds_is_not_taken),
		cmocka_unit_test(lower_id_keeps_what_two_hold),
		cmocka_unit_test(who_does_not_hear_us_goes_before_us),
		cmocka_unit_test(loss_that_the_host_knows_needs_no_waiting),
		cmocka_unit_test(member_that_leaves_is_gone_at_once),
		cmocka_unit_test(silent_member_is_lost_after_five_misses),
		cmocka_unit_test(weights_and_priorities_change_while_it_runs),
		cmocka_unit_test(members_with_other_rules_are_named_and_outvoted),
		cmocka_unit_test(rules_change_while_it_runs),
		cmocka_unit_test(newcomers_with_other_rules_do_not_outvote),
		cmocka_unit_test(later_one_of_two_with_one_id_stands_aside),
		cmocka_unit_test(second_instance_of_a_peer_waits_for_the_first_to_go),
		cmocka_unit_test(what_is_no_news_changes_nothing),
		cmocka_unit_test(flood_of_heartbeats_is_answered_by_few),
		cmocka_unit_test(strays_are_left_to_who_is_busy),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
