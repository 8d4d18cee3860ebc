/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Checks of a cluster's and a member's set-up, and what follows from it.
 */
#include "nlb/nlb_config.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "nlb/nlb_internal.h"

void nlb_cluster_init(struct nlb_cluster *cluster)
{
	*cluster = (struct nlb_cluster){.interval_ms = 1000,
					.misses = 5,
					.timeouts = {.opening_seconds = 75,
						     .established_seconds = 7440,
						     .closing_seconds = 240}};
}

/* ---- checks ---- */

__attribute__((format(printf, 2, 3))) static int refuse(char *message, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(message, NLB_MESSAGE_BYTES, format, args);
	va_end(args);
	return -EINVAL;
}

static bool is_zero(const uint8_t *bytes, size_t length)
{
	for (size_t i = 0; i < length; i++)
		if (bytes[i])
			return false;
	return true;
}

/* An address that a client may connect to and a host may have. */
static bool address_is_usable(const struct nlb_address *address)
{
	const uint8_t *b = address->bytes;

	if (address->family == 4)
		return is_zero(b + 4, 12) && b[0] != 0 && b[0] != 127 && b[0] < 224;
	return address->family == 6 && b[0] != 0xff && !is_zero(b, 15);
}

static bool address_is_equal(const struct nlb_address *a, const struct nlb_address *b)
{
	return a->family == b->family && memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

static int check_addresses(const struct nlb_cluster *cluster, char *message)
{
	bool has_ipv4 = false;

	if (cluster->address_count < 1 || cluster->address_count > NLB_MAX_ADDRESSES)
		return refuse(message, "a cluster has 1 to %u virtual addresses; give it as many",
			      NLB_MAX_ADDRESSES);
	for (uint32_t i = 0; i < cluster->address_count; i++) {
		if (!address_is_usable(&cluster->addresses[i]))
			return refuse(message,
				      "virtual address %u is none of a host; give a unicast IPv4 "
				      "or IPv6 address that clients can reach",
				      i + 1);
		for (uint32_t j = 0; j < i; j++)
			if (address_is_equal(&cluster->addresses[i], &cluster->addresses[j]))
				return refuse(message,
					      "virtual addresses %u and %u are the same; leave one "
					      "out",
					      j + 1, i + 1);
		has_ipv4 |= cluster->addresses[i].family == 4;
	}
	if ((uint32_t)cluster->mac_mode >= NLB_MAC_MODE_COUNT)
		return refuse(message, "there is no such mode; give unicast, multicast or igmp");
	if (cluster->mac_mode == NLB_IGMP && !has_ipv4)
		return refuse(message, "mode igmp needs an IPv4 virtual address; add one, or give "
				       "unicast or multicast");
	return 0;
}

static int check_rule(const struct nlb_rule *rule, uint32_t number, char *message)
{
	if (rule->protocol != NLB_TCP && rule->protocol != NLB_UDP && rule->protocol != NLB_BOTH)
		return refuse(message,
			      "port rule %u: there is no such protocol; give tcp, udp or "
			      "both",
			      number);
	if (rule->first_port > rule->last_port)
		return refuse(message,
			      "port rule %u: ports %u-%u end before they begin; give the "
			      "lower one first",
			      number, rule->first_port, rule->last_port);
	if ((uint32_t)rule->filtering >= NLB_FILTERING_COUNT)
		return refuse(message,
			      "port rule %u: there is no such filtering mode; give "
			      "multiple, single or disabled",
			      number);
	if ((uint32_t)rule->affinity >= NLB_AFFINITY_COUNT)
		return refuse(message,
			      "port rule %u: there is no such affinity; give none, single "
			      "or network",
			      number);
	if (rule->filtering != NLB_MULTIPLE && (rule->affinity || rule->weighted))
		return refuse(message,
			      "port rule %u: affinity and load belong to filtering mode "
			      "multiple; leave them out",
			      number);
	return 0;
}

static int check_rules(const struct nlb_cluster *cluster, char *message)
{
	int err = 0;

	if (cluster->rule_count > NLB_MAX_RULES)
		return refuse(message, "a cluster has at most %u port rules; join some of them",
			      NLB_MAX_RULES);
	for (uint32_t i = 0; i < cluster->rule_count && !err; i++) {
		const struct nlb_rule *a = &cluster->rules[i];

		err = check_rule(a, i + 1, message);
		for (uint32_t j = 0; j < i && !err; j++) {
			const struct nlb_rule *b = &cluster->rules[j];

			if ((a->protocol & b->protocol) && a->first_port <= b->last_port &&
			    b->first_port <= a->last_port)
				err = refuse(message,
					     "port rules %u (ports %u-%u) and %u (ports %u-%u) "
					     "cover the same ports; give each port one rule",
					     j + 1, b->first_port, b->last_port, i + 1,
					     a->first_port, a->last_port);
		}
	}
	return err;
}

int nlb_cluster_check(const struct nlb_cluster *cluster, char *message)
{
	const struct nlb_timeouts *timeouts = &cluster->timeouts;
	int err = check_addresses(cluster, message);

	if (!err)
		err = check_rules(cluster, message);
	if (err)
		return err;
	if (cluster->interval_ms < NLB_INTERVAL_MS_MIN ||
	    cluster->interval_ms > NLB_INTERVAL_MS_MAX)
		return refuse(message, "heartbeats come every %u to %u ms; give a number between",
			      NLB_INTERVAL_MS_MIN, NLB_INTERVAL_MS_MAX);
	if (cluster->misses < NLB_MISSES_MIN || cluster->misses > NLB_MISSES_MAX)
		return refuse(message,
			      "a member is lost after %u to %u missing heartbeats; give a "
			      "number between",
			      NLB_MISSES_MIN, NLB_MISSES_MAX);
	if (!timeouts->opening_seconds || !timeouts->established_seconds ||
	    !timeouts->closing_seconds)
		return refuse(message, "a connection's timeouts are 1 s or more; give them");
	return 0;
}

int nlb_member_config_check(const struct nlb_cluster *cluster,
			    const struct nlb_member_config *member, char *message)
{
	if (member->id < 1 || member->id > NLB_MAX_MEMBERS)
		return refuse(message, "a member's id is 1 to %u, another one for each member",
			      NLB_MAX_MEMBERS);
	for (uint32_t i = 0; i < NLB_MAX_RULES; i++) {
		const struct nlb_rule *rule = i < cluster->rule_count ? &cluster->rules[i] : NULL;
		uint8_t share = member->shares[i];

		if (rule && rule->filtering == NLB_SINGLE) {
			if (share < 1 || share > NLB_MAX_MEMBERS)
				return refuse(message,
					      "port rule %u: the handling priority is 1 "
					      "to %u, another one for each member",
					      i + 1, NLB_MAX_MEMBERS);
		} else if (rule && rule->weighted) {
			if (share > NLB_MAX_WEIGHT)
				return refuse(message, "port rule %u: the load weight is 0 to %u",
					      i + 1, NLB_MAX_WEIGHT);
		} else if (share) {
			return refuse(message,
				      "port rule %u takes neither load weight nor "
				      "handling priority; leave it out",
				      i + 1);
		}
	}
	return 0;
}

/* ---- what follows ---- */

static uint64_t mix_address(uint64_t hash, const struct nlb_address *address)
{
	return nlb_mix(nlb_mix_number(hash, address->family), address->bytes,
		       sizeof(address->bytes));
}

uint64_t nlb_cluster_id(const struct nlb_cluster *cluster)
{
	return mix_address(NLB_MIX_START, &cluster->addresses[0]);
}

uint64_t nlb_cluster_digest(const struct nlb_cluster *cluster)
{
	uint64_t hash = nlb_mix_number(NLB_MIX_START, cluster->address_count);

	for (uint32_t i = 0; i < cluster->address_count; i++)
		hash = mix_address(hash, &cluster->addresses[i]);
	hash = nlb_mix_number(hash, cluster->mac_mode);
	hash = nlb_mix_number(hash, cluster->interval_ms);
	hash = nlb_mix_number(hash, cluster->misses);
	hash = nlb_mix_number(hash, cluster->rule_count);
	for (uint32_t i = 0; i < cluster->rule_count; i++) {
		const struct nlb_rule *rule = &cluster->rules[i];

		hash = nlb_mix_number(hash, rule->protocol);
		hash = nlb_mix_number(hash, (uint64_t)rule->first_port << 16 | rule->last_port);
		hash = nlb_mix_number(hash, rule->filtering);
		hash = nlb_mix_number(hash, rule->affinity);
		hash = nlb_mix_number(hash, rule->weighted);
	}
	return hash;
}

/* The four bytes that make a cluster's MAC its own. */
static const uint8_t *mac_bytes(const struct nlb_cluster *cluster)
{
	for (uint32_t i = 0; i < cluster->address_count; i++)
		if (cluster->addresses[i].family == 4)
			return cluster->addresses[i].bytes;
	return cluster->addresses[0].bytes + 12;
}

void nlb_cluster_mac(const struct nlb_cluster *cluster, uint8_t mac[6])
{
	static const uint8_t igmp[] = {0x01, 0x00, 0x5e, 0x7f};
	const uint8_t *own = mac_bytes(cluster);

	if (cluster->mac_mode == NLB_IGMP) {
		memcpy(mac, igmp, sizeof(igmp));
		memcpy(mac + sizeof(igmp), own + 2, 2);
		return;
	}
	mac[0] = cluster->mac_mode == NLB_UNICAST ? 0x02 : 0x03;
	mac[1] = 0xbf;
	memcpy(mac + 2, own, 4);
}

void nlb_member_source_mac(const struct nlb_cluster *cluster, uint8_t id, uint8_t mac[6])
{
	mac[0] = 0x02;
	mac[1] = id;
	memcpy(mac + 2, mac_bytes(cluster), 4);
}

uint32_t nlb_cluster_find_table(const struct nlb_cluster *cluster, enum nlb_protocol protocol,
				uint16_t port)
{
	for (uint32_t i = 0; i < cluster->rule_count; i++) {
		const struct nlb_rule *rule = &cluster->rules[i];

		if ((rule->protocol & protocol) && port >= rule->first_port &&
		    port <= rule->last_port)
			return i;
	}
	return cluster->rule_count;
}

bool nlb_cluster_has_address(const struct nlb_cluster *cluster, uint8_t family,
			     const uint8_t bytes[16])
{
	for (uint32_t i = 0; i < cluster->address_count; i++)
		if (cluster->addresses[i].family == family &&
		    memcmp(cluster->addresses[i].bytes, bytes, 16) == 0)
			return true;
	return false;
}
