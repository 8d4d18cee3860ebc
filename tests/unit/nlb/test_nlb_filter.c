/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Each rule of the filter by its name; then members that share all buckets, and random packets.
 */
#include "tests/unit/test_main.h"

#include <string.h>

#include "base/bytes.h"
#include "nlb/nlb_filter.h"
#include "tests/unit/nlb/plain_connections.h"

#define SECOND UINT64_C(1000000000)
#define NOW    (100 * SECOND)

enum { WEB, SECURE, NETWORKS, HANDLER, CLOSED, OTHERS };

static struct nlb_cluster cluster;
static struct plain_connections table;
static struct nlb_filter filter;

static uint64_t random_value = 42;

static uint32_t random_below(uint32_t below)
{
	random_value = random_value * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)(random_value >> 33) % below;
}

static void make_cluster(void)
{
	static const struct nlb_rule rules[] = {
		[WEB] = {NLB_TCP, 80, 80, NLB_MULTIPLE, NLB_AFFINITY_NONE, false},
		[SECURE] = {NLB_BOTH, 443, 443, NLB_MULTIPLE, NLB_AFFINITY_SINGLE, false},
		[NETWORKS] = {NLB_TCP, 8000, 8999, NLB_MULTIPLE, NLB_AFFINITY_NETWORK, true},
		[HANDLER] = {NLB_BOTH, 25, 25, NLB_SINGLE, NLB_AFFINITY_NONE, false},
		[CLOSED] = {NLB_BOTH, 23, 23, NLB_DISABLED, NLB_AFFINITY_NONE, false},
	};

	nlb_cluster_init(&cluster);
	cluster.address_count = 2;
	cluster.addresses[0] = (struct nlb_address){4, {10, 0, 0, 100}};
	cluster.addresses[1] = (struct nlb_address){6, {0xfd, [15] = 0x64}};
	cluster.rule_count = ARRAY_LENGTH(rules);
	memcpy(cluster.rules, rules, sizeof(rules));
}

/* Takes part, and holds all buckets. */
static void make_filter(uint32_t limit)
{
	struct nlb_connections connections = plain_connections_init(&table, limit);

	make_cluster();
	nlb_filter_init(&filter, &cluster, &connections);
	filter.takes_part = true;
	for (uint32_t t = 0; t <= cluster.rule_count; t++)
		filter.held[t] = NLB_ALL_BUCKETS;
}

static struct nlb_packet make_packet(uint8_t protocol, uint16_t port, uint8_t flags)
{
	return (struct nlb_packet){.family = 4,
				   .protocol = protocol,
				   .tcp_flags = flags,
				   .client = {192, 0, 2, 7},
				   .server = {10, 0, 0, 100},
				   .client_port = 40000,
				   .server_port = port};
}

static enum nlb_verdict decide(const struct nlb_packet *packet)
{
	return nlb_decide(&filter, packet, NOW);
}

static enum nlb_verdict send_tcp(uint16_t port, uint8_t flags, uint64_t now_ns)
{
	struct nlb_packet packet = make_packet(NLB_IP_TCP, port, flags);

	return nlb_decide(&filter, &packet, now_ns);
}

/* Another member has the packet's bucket from now on. */
static void give_away(uint32_t t)
{
	filter.held[t] = 0;
}

static void other_addresses_are_not_ours(void **state)
{
	struct nlb_packet packet = make_packet(NLB_IP_TCP, 80, NLB_TCP_SYN);

	(void)state;
	make_filter(8);
	packet.server[3] = 101;
	assert_int_equal(decide(&packet), NLB_NOT_OURS);
	packet = make_packet(NLB_IP_TCP, 80, NLB_TCP_SYN);
	packet.family = 6;
	assert_int_equal(decide(&packet), NLB_NOT_OURS);
	filter.takes_part = false;
	assert_int_equal(decide(&packet), NLB_NOT_OURS);
	packet.family = 4;
	assert_int_equal(decide(&packet), NLB_DROP);
}

static void connection_stays_when_its_bucket_goes(void **state)
{
	(void)state;
	make_filter(8);
	assert_int_equal(send_tcp(80, NLB_TCP_SYN, NOW), NLB_ACCEPT);
	assert_int_equal(filter.connection_count, 1);
	assert_int_equal(__builtin_popcountll(filter.busy[WEB]), 1);
	give_away(WEB);
	assert_int_equal(send_tcp(80, NLB_TCP_ACK, NOW), NLB_ACCEPT);
	assert_int_equal(send_tcp(80, NLB_TCP_ACK, NOW + 7000 * SECOND), NLB_ACCEPT);
	/* Its end is remembered for a while, since segments may come again. */
	assert_int_equal(send_tcp(80, NLB_TCP_ACK | NLB_TCP_FIN, NOW + 7000 * SECOND), NLB_ACCEPT);
	assert_int_equal(send_tcp(80, NLB_TCP_ACK, NOW + 7200 * SECOND), NLB_ACCEPT);
	assert_int_equal(send_tcp(80, NLB_TCP_ACK, NOW + 7441 * SECOND), NLB_DROP);
	assert_int_equal(filter.connection_count, 0);
	assert_int_equal(table.count, 0);
	assert_true(filter.busy[WEB] == 0);
}

static void new_connection_goes_to_who_holds_its_bucket(void **state)
{
	(void)state;
	make_filter(8);
	give_away(WEB);
	assert_int_equal(send_tcp(80, NLB_TCP_SYN, NOW), NLB_DROP);
	assert_int_equal(send_tcp(80, NLB_TCP_ACK, NOW), NLB_DROP);
	assert_int_equal(filter.connection_count, 0);
	assert_int_equal(send_tcp(443, NLB_TCP_SYN, NOW), NLB_ACCEPT);
	/* A SYN with an ACK, or with RST, begins nothing. */
	make_filter(8);
	assert_int_equal(send_tcp(80, NLB_TCP_SYN | NLB_TCP_RST, NOW), NLB_ACCEPT);
	assert_int_equal(filter.connection_count, 0);
}

static void client_that_begins_anew_is_forgotten(void **state)
{
	(void)state;
	make_filter(8);
	assert_int_equal(send_tcp(80, NLB_TCP_SYN, NOW), NLB_ACCEPT);
	assert_int_equal(send_tcp(80, NLB_TCP_ACK, NOW), NLB_ACCEPT);
	give_away(WEB);
	assert_int_equal(send_tcp(80, NLB_TCP_SYN, NOW), NLB_DROP);
	assert_int_equal(filter.connection_count, 0);
	assert_int_equal(send_tcp(80, NLB_TCP_ACK, NOW), NLB_DROP);
}

static void stray_is_left_to_who_may_have_its_connection(void **state)
{
	(void)state;
	make_filter(8);
	filter.busy_elsewhere[WEB] = NLB_ALL_BUCKETS;
	assert_int_equal(send_tcp(80, NLB_TCP_ACK, NOW), NLB_DROP);
	assert_int_equal(send_tcp(80, NLB_TCP_SYN, NOW), NLB_ACCEPT);
	assert_int_equal(send_tcp(80, NLB_TCP_ACK, NOW), NLB_ACCEPT);
	/* Nobody else has any: ours, and remembered from then on. */
	make_filter(8);
	assert_int_equal(send_tcp(80, NLB_TCP_ACK | NLB_TCP_RST, NOW), NLB_ACCEPT);
	assert_int_equal(filter.connection_count, 0);
	assert_int_equal(send_tcp(80, NLB_TCP_ACK, NOW), NLB_ACCEPT);
	give_away(WEB);
	assert_int_equal(send_tcp(80, NLB_TCP_ACK, NOW), NLB_ACCEPT);
}

static void half_open_connections_are_forgotten_soon(void **state)
{
	(void)state;
	make_filter(8);
	send_tcp(80, NLB_TCP_SYN, NOW);
	send_tcp(443, NLB_TCP_SYN, NOW);
	send_tcp(443, NLB_TCP_ACK, NOW);
	nlb_filter_expire(&filter, 100, NOW + 74 * SECOND);
	assert_int_equal(filter.connection_count, 2);
	nlb_filter_expire(&filter, 100, NOW + 75 * SECOND);
	assert_int_equal(filter.connection_count, 1);
	nlb_filter_forget(&filter);
	assert_int_equal(filter.connection_count, 0);
	assert_int_equal(table.count, 0);
	assert_true(filter.busy[SECURE] == 0);
}

static void full_table_costs_no_connection(void **state)
{
	(void)state;
	make_filter(1);
	assert_int_equal(send_tcp(80, NLB_TCP_SYN, NOW), NLB_ACCEPT);
	assert_int_equal(send_tcp(443, NLB_TCP_SYN, NOW), NLB_ACCEPT);
	assert_int_equal(send_tcp(443, NLB_TCP_ACK, NOW), NLB_ACCEPT);
	assert_int_equal(filter.connection_count, 1);
	assert_int_equal(filter.counters.connections, 2);
	assert_int_equal(filter.counters.untracked, 2);
	give_away(SECURE);
	assert_int_equal(send_tcp(443, NLB_TCP_ACK, NOW), NLB_DROP);
}

static void datagrams_go_with_their_bucket(void **state)
{
	struct nlb_packet packet = make_packet(NLB_IP_UDP, 443, 0);

	(void)state;
	make_filter(8);
	assert_int_equal(decide(&packet), NLB_ACCEPT);
	give_away(SECURE);
	assert_int_equal(decide(&packet), NLB_DROP);
	assert_int_equal(filter.connection_count, 0);
	/* Port 80 has a rule for TCP alone: the default table's. */
	packet.server_port = 80;
	assert_int_equal(decide(&packet), NLB_ACCEPT);
	give_away(OTHERS);
	assert_int_equal(decide(&packet), NLB_DROP);
}

static void fragments_are_taken_by_all(void **state)
{
	struct nlb_packet packet = make_packet(NLB_IP_TCP, 0, 0);

	(void)state;
	make_filter(8);
	memset(filter.held, 0, sizeof(filter.held));
	packet.is_fragment = true;
	assert_int_equal(decide(&packet), NLB_ACCEPT);
	filter.takes_part = false;
	assert_int_equal(decide(&packet), NLB_DROP);
}

static void icmp_error_finds_its_connection(void **state)
{
	struct nlb_packet error = make_packet(NLB_IP_TCP, 80, 0);
	struct nlb_packet echo = make_packet(NLB_IP_ICMP, 0, 0);
	uint64_t expires;

	(void)state;
	make_filter(8);
	error.is_error = true;
	send_tcp(80, NLB_TCP_SYN, NOW);
	expires = table.connections[0].expires_ns;
	give_away(WEB);
	assert_int_equal(nlb_decide(&filter, &error, NOW + SECOND), NLB_ACCEPT);
	assert_true(table.connections[0].expires_ns == expires); /* who is not the client */
	error.client_port++;
	assert_int_equal(decide(&error), NLB_DROP);
	assert_int_equal(decide(&echo), NLB_ACCEPT);
	give_away(OTHERS);
	assert_int_equal(decide(&echo), NLB_DROP);
	error.protocol = NLB_IP_UDP;
	error.server_port = 443;
	assert_int_equal(decide(&error), NLB_ACCEPT);
}

static uint32_t bucket_of(const struct nlb_packet *packet)
{
	uint32_t t;

	return nlb_filter_bucket(&filter, packet, &t);
}

static void affinity_keeps_clients_together(void **state)
{
	(void)state;
	make_filter(8);
	for (uint32_t round = 0; round < 2000; round++) {
		struct nlb_packet a = make_packet(NLB_IP_TCP, 443, 0), b;

		a.family = random_below(2) ? 4 : 6;
		for (uint32_t i = 0; i < (a.family == 4 ? 4u : 16u); i++)
			a.client[i] = (uint8_t)random_below(256);
		b = a;
		b.client_port = (uint16_t)random_below(65536);
		assert_int_equal(bucket_of(&a), bucket_of(&b));
		/* Same /24, or /64. */
		a.server_port = 8000;
		b.server_port = 8999;
		memset(b.client + (a.family == 4 ? 3 : 8), (int)random_below(256),
		       a.family == 4 ? 1 : 8);
		assert_int_equal(bucket_of(&a), bucket_of(&b));
	}
}

/* The share of each bucket for many clients, who differ as clients do. */
static void assert_even_spread(uint16_t port, uint32_t clients, uint32_t ports_each, uint32_t step)
{
	uint32_t seen[NLB_BUCKETS] = {0}, all = clients * ports_each;

	for (uint32_t i = 0; i < clients; i++) {
		struct nlb_packet packet = make_packet(NLB_IP_TCP, port, 0);

		put_be32(packet.client, 0x0a010000 + i * step);
		for (uint32_t p = 0; p < ports_each; p++) {
			packet.client_port = (uint16_t)(32768 + p);
			seen[bucket_of(&packet)]++;
		}
	}
	for (uint32_t b = 0; b < NLB_BUCKETS; b++) {
		assert_true(seen[b] * NLB_BUCKETS > all / 2);
		assert_true(seen[b] * NLB_BUCKETS < all * 3 / 2);
	}
}

static void clients_spread_over_all_buckets(void **state)
{
	(void)state;
	make_filter(8);
	assert_even_spread(80, 1, 28000, 1); /* one client, many connections */
	assert_even_spread(80, 500, 20, 1);
	assert_even_spread(443, 20000, 1, 1);	 /* neighbours */
	assert_even_spread(8000, 20000, 1, 256); /* networks side by side */
}

/* ---- members that share all buckets ---- */

#define MEMBERS 4u

static struct plain_connections tables[MEMBERS];
static struct nlb_filter filters[MEMBERS];

static void share_out(void)
{
	for (uint32_t t = 0; t <= cluster.rule_count; t++) {
		bool one = t == HANDLER || t == OTHERS;
		uint32_t handler = random_below(MEMBERS);

		for (uint32_t m = 0; m < MEMBERS; m++)
			filters[m].held[t] = 0;
		for (uint32_t b = 0; b < NLB_BUCKETS && t != CLOSED; b++)
			filters[one ? handler : random_below(MEMBERS)].held[t] |= UINT64_C(1) << b;
	}
}

static void tell_who_is_busy(void)
{
	for (uint32_t m = 0; m < MEMBERS; m++)
		for (uint32_t t = 0; t <= cluster.rule_count; t++) {
			filters[m].busy_elsewhere[t] = 0;
			for (uint32_t o = 0; o < MEMBERS; o++)
				filters[m].busy_elsewhere[t] |= o == m ? 0 : filters[o].busy[t];
		}
}

static void random_packet(struct nlb_packet *packet)
{
	static const uint16_t ports[] = {80, 443, 8080, 25, 23, 9999};
	static const uint8_t flags[] = {
		NLB_TCP_SYN, NLB_TCP_SYN, NLB_TCP_ACK, NLB_TCP_ACK, NLB_TCP_ACK | NLB_TCP_FIN,
		NLB_TCP_RST};

	*packet = make_packet(random_below(4) ? NLB_IP_TCP : NLB_IP_UDP, 0, 0);
	packet->server_port = ports[random_below(ARRAY_LENGTH(ports))];
	packet->client[3] = (uint8_t)random_below(40);
	packet->client_port = (uint16_t)(1000 + random_below(3));
	if (packet->protocol == NLB_IP_TCP)
		packet->tcp_flags = flags[random_below(ARRAY_LENGTH(flags))];
}

/* Whatever holds what, and whatever moves: one member at most takes a packet, exactly one a new
 * connection or a datagram, none what is disabled. */
static void every_packet_has_one_taker(void **state)
{
	uint32_t taken_in_all = 0;

	(void)state;
	make_cluster();
	for (uint32_t m = 0; m < MEMBERS; m++) {
		struct nlb_connections connections = plain_connections_init(&tables[m], PLAIN_MAX);

		nlb_filter_init(&filters[m], &cluster, &connections);
		filters[m].takes_part = true;
	}
	for (uint32_t round = 0; round < 20000; round++) {
		struct nlb_packet packet;
		uint32_t taken = 0;

		if (round % 500 == 0) {
			share_out();
			tell_who_is_busy();
		}
		random_packet(&packet);
		for (uint32_t m = 0; m < MEMBERS; m++)
			taken += nlb_decide(&filters[m], &packet, NOW + round) == NLB_ACCEPT;
		tell_who_is_busy();
		assert_true(taken <= 1);
		if (packet.server_port == 23)
			assert_int_equal(taken, 0);
		else if (packet.protocol == NLB_IP_UDP || packet.tcp_flags == NLB_TCP_SYN)
			assert_int_equal(taken, 1);
		taken_in_all += taken;
	}
	assert_true(taken_in_all > 10000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(other_addresses_are_not_ours),
		cmocka_unit_test(connection_stays_when_its_bucket_goes),
		cmocka_unit_test(new_connection_goes_to_who_holds_its_bucket),
		cmocka_unit_test(client_that_begins_anew_is_forgotten),
		cmocka_unit_test(stray_is_left_to_who_may_have_its_connection),
		cmocka_unit_test(half_open_connections_are_forgotten_soon),
		cmocka_unit_test(full_table_costs_no_connection),
		cmocka_unit_test(datagrams_go_with_their_bucket),
		cmocka_unit_test(fragments_are_taken_by_all),
		cmocka_unit_test(icmp_error_finds_its_connection),
		cmocka_unit_test(affinity_keeps_clients_together),
		cmocka_unit_test(clients_spread_over_all_buckets),
		cmocka_unit_test(every_packet_has_one_taker),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
