/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Set-ups that make sense and those that do not, and what follows from them.
 */
#include "tests/unit/test_main.h"

#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "nlb/nlb_config.h"

static struct nlb_cluster make_cluster(void)
{
	struct nlb_cluster cluster;

	nlb_cluster_init(&cluster);
	cluster.address_count = 1;
	cluster.addresses[0] = (struct nlb_address){4, {10, 1, 2, 3}};
	cluster.rule_count = 3;
	cluster.rules[0] =
		(struct nlb_rule){NLB_TCP, 80, 80, NLB_MULTIPLE, NLB_AFFINITY_SINGLE, false};
	cluster.rules[1] =
		(struct nlb_rule){NLB_BOTH, 1000, 1999, NLB_MULTIPLE, NLB_AFFINITY_NONE, true};
	cluster.rules[2] = (struct nlb_rule){NLB_UDP, 80, 80, NLB_SINGLE, NLB_AFFINITY_NONE, false};
	return cluster;
}

static void assert_refused(const struct nlb_cluster *cluster, const char *says)
{
	char message[NLB_MESSAGE_BYTES] = "";

	assert_int_equal(nlb_cluster_check(cluster, message), -EINVAL);
	if (!strstr(message, says))
		fail_msg("'%s' does not say '%s'", message, says);
}

static void sound_cluster_is_taken(void **state)
{
	struct nlb_cluster cluster = make_cluster();
	char message[NLB_MESSAGE_BYTES] = "";

	(void)state;
	assert_int_equal(nlb_cluster_check(&cluster, message), 0);
	/* All ports, both protocols, in one rule: as Windows begins. */
	cluster.rule_count = 1;
	cluster.rules[0] =
		(struct nlb_rule){NLB_BOTH, 0, 65535, NLB_MULTIPLE, NLB_AFFINITY_SINGLE, false};
	assert_int_equal(nlb_cluster_check(&cluster, message), 0);
	cluster.rule_count = 0;
	assert_int_equal(nlb_cluster_check(&cluster, message), 0);
}

static void wrong_addresses_are_named(void **state)
{
	static const struct nlb_address bad[] = {
		{4, {0, 0, 0, 1}},
		{4, {127, 0, 0, 1}},
		{4, {224, 0, 0, 1}},
		{4, {255, 255, 255, 255}},
		{4, {10, 0, 0, 1, 1}},
		{5, {10, 0, 0, 1}},
		{6, {0xff, 2, [15] = 1}},
		{6, {[15] = 1}},
		{6, {0}},
		{0, {0}},
	};
	struct nlb_cluster cluster = make_cluster();

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(bad); i++) {
		cluster.addresses[0] = bad[i];
		assert_refused(&cluster, "virtual address 1 is none of a host; give");
	}
	cluster = make_cluster();
	cluster.addresses[1] = cluster.addresses[0];
	cluster.address_count = 2;
	assert_refused(&cluster, "virtual addresses 1 and 2 are the same");
	cluster.address_count = 0;
	assert_refused(&cluster, "1 to 8 virtual addresses");
	cluster.address_count = 9;
	assert_refused(&cluster, "1 to 8 virtual addresses");
	cluster.address_count = 1;
	cluster.mac_mode = NLB_MAC_MODE_COUNT;
	assert_refused(&cluster, "give unicast, multicast or igmp");
	cluster.mac_mode = NLB_IGMP;
	cluster.addresses[0] = (struct nlb_address){6, {0xfd, [15] = 1}};
	assert_refused(&cluster, "igmp needs an IPv4");
}

static void wrong_rules_are_named(void **state)
{
	struct nlb_cluster cluster = make_cluster();

	(void)state;
	cluster.rules[1].protocol = (enum nlb_protocol)0;
	assert_refused(&cluster, "port rule 2: there is no such protocol");
	cluster = make_cluster();
	cluster.rules[1].first_port = 2000;
	assert_refused(&cluster, "port rule 2: ports 2000-1999 end before they begin");
	cluster = make_cluster();
	cluster.rules[0].filtering = NLB_FILTERING_COUNT;
	assert_refused(&cluster, "port rule 1: there is no such filtering mode");
	cluster = make_cluster();
	cluster.rules[0].affinity = NLB_AFFINITY_COUNT;
	assert_refused(&cluster, "port rule 1: there is no such affinity");
	cluster = make_cluster();
	cluster.rules[2].affinity = NLB_AFFINITY_SINGLE;
	assert_refused(&cluster, "port rule 3: affinity and load belong to");
	cluster = make_cluster();
	cluster.rule_count = 33;
	assert_refused(&cluster, "at most 32 port rules");
	cluster = make_cluster();
	cluster.interval_ms = 99;
	assert_refused(&cluster, "every 100 to 10000 ms");
	cluster = make_cluster();
	cluster.misses = 1;
	assert_refused(&cluster, "2 to 20 missing");
	cluster = make_cluster();
	cluster.timeouts.closing_seconds = 0;
	assert_refused(&cluster, "timeouts are 1 s or more");
}

static void ports_with_two_rules_are_named(void **state)
{
	struct nlb_cluster cluster = make_cluster();
	char message[NLB_MESSAGE_BYTES];

	(void)state;
	cluster.rules[2].first_port = 1999;
	cluster.rules[2].last_port = 2100;
	assert_refused(&cluster, "port rules 2 (ports 1000-1999) and 3 (ports 1999-2100) cover");
	cluster.rules[2].protocol = NLB_TCP;
	assert_refused(&cluster, "port rules 2");
	cluster.rules[1].protocol = NLB_UDP;
	assert_int_equal(nlb_cluster_check(&cluster, message), 0);
}

static void members_share_is_what_the_rule_takes(void **state)
{
	struct nlb_cluster cluster = make_cluster();
	static const struct {
		struct nlb_member_config config;
		const char *says;
	} cases[] = {
		{{1, {0, 100, 1}}, NULL},
		{{32, {0, 0, 32}}, NULL},
		{{0, {0, 50, 1}}, "id is 1 to 32"},
		{{33, {0, 50, 1}}, "id is 1 to 32"},
		{{1, {1, 50, 1}}, "port rule 1 takes neither"},
		{{1, {0, 101, 1}}, "port rule 2: the load weight is 0 to 100"},
		{{1, {0, 50, 0}}, "port rule 3: the handling priority is 1 to 32"},
		{{1, {0, 50, 33}}, "port rule 3: the handling priority is 1 to 32"},
		{{1, {0, 50, 1, 1}}, "port rule 4 takes neither"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		char message[NLB_MESSAGE_BYTES] = "";
		int err = nlb_member_config_check(&cluster, &cases[i].config, message);

		assert_int_equal(err, cases[i].says ? -EINVAL : 0);
		if (cases[i].says)
			assert_non_null(strstr(message, cases[i].says));
	}
}

static void macs_are_those_of_windows(void **state)
{
	struct nlb_cluster cluster = make_cluster();
	uint8_t mac[6];

	(void)state;
	nlb_cluster_mac(&cluster, mac);
	assert_memory_equal(mac, ((uint8_t[]){0x02, 0xbf, 10, 1, 2, 3}), 6);
	nlb_member_source_mac(&cluster, 7, mac);
	assert_memory_equal(mac, ((uint8_t[]){0x02, 7, 10, 1, 2, 3}), 6);
	cluster.mac_mode = NLB_MULTICAST;
	nlb_cluster_mac(&cluster, mac);
	assert_memory_equal(mac, ((uint8_t[]){0x03, 0xbf, 10, 1, 2, 3}), 6);
	cluster.mac_mode = NLB_IGMP;
	nlb_cluster_mac(&cluster, mac);
	assert_memory_equal(mac, ((uint8_t[]){0x01, 0x00, 0x5e, 0x7f, 2, 3}), 6);
	/* The first IPv4 address, wherever it stands; else the end of the IPv6 one. */
	cluster.mac_mode = NLB_UNICAST;
	cluster.addresses[1] = cluster.addresses[0];
	cluster.addresses[0] = (struct nlb_address){6, {0xfd, [12] = 5, 6, 7, 8}};
	cluster.address_count = 2;
	nlb_cluster_mac(&cluster, mac);
	assert_memory_equal(mac, ((uint8_t[]){0x02, 0xbf, 10, 1, 2, 3}), 6);
	cluster.address_count = 1;
	nlb_cluster_mac(&cluster, mac);
	assert_memory_equal(mac, ((uint8_t[]){0x02, 0xbf, 5, 6, 7, 8}), 6);
}

static void digest_tells_what_members_must_have_alike(void **state)
{
	struct nlb_cluster cluster = make_cluster(), other = cluster;
	uint64_t digest = nlb_cluster_digest(&cluster);

	(void)state;
	other.timeouts.closing_seconds++;
	memset(&other.rules[5], 1, sizeof(other.rules[5])); /* not in use */
	assert_true(nlb_cluster_digest(&other) == digest);
#define DIFFERS(change)                                                                            \
	do {                                                                                       \
		other = cluster;                                                                   \
		change;                                                                            \
		assert_true(nlb_cluster_digest(&other) != digest);                                 \
	} while (0)
	DIFFERS(other.rules[0].last_port++);
	DIFFERS(other.rules[0].affinity = NLB_AFFINITY_NETWORK);
	DIFFERS(other.rules[0].weighted = true);
	DIFFERS(other.rules[2].filtering = NLB_DISABLED);
	DIFFERS(other.rules[2].protocol = NLB_TCP);
	DIFFERS(other.rule_count--);
	DIFFERS(other.mac_mode = NLB_IGMP);
	DIFFERS(other.interval_ms++);
	DIFFERS(other.misses++);
	DIFFERS(other.addresses[0].bytes[3]++);
	assert_true(nlb_cluster_id(&other) != nlb_cluster_id(&cluster));
	other = cluster;
	other.rule_count = 0;
	assert_true(nlb_cluster_id(&other) == nlb_cluster_id(&cluster));
}

static void ports_find_their_rule(void **state)
{
	struct nlb_cluster cluster = make_cluster();

	(void)state;
	assert_int_equal(nlb_cluster_find_table(&cluster, NLB_TCP, 80), 0);
	assert_int_equal(nlb_cluster_find_table(&cluster, NLB_UDP, 80), 2);
	assert_int_equal(nlb_cluster_find_table(&cluster, NLB_UDP, 1999), 1);
	assert_int_equal(nlb_cluster_find_table(&cluster, NLB_TCP, 1000), 1);
	assert_int_equal(nlb_cluster_find_table(&cluster, NLB_TCP, 999), 3);
	assert_int_equal(nlb_cluster_find_table(&cluster, NLB_TCP, 2000), 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sound_cluster_is_taken),
		cmocka_unit_test(wrong_addresses_are_named),
		cmocka_unit_test(wrong_rules_are_named),
		cmocka_unit_test(ports_with_two_rules_are_named),
		cmocka_unit_test(members_share_is_what_the_rule_takes),
		cmocka_unit_test(macs_are_those_of_windows),
		cmocka_unit_test(digest_tells_what_members_must_have_alike),
		cmocka_unit_test(ports_find_their_rule),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
