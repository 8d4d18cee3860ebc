/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a load-balancing cluster is, and what a member of it is: virtual addresses, port rules and
 * the members' shares, with the names and limits of Windows NLB. docs/networking.md has the rules.
 * No state, any thread.
 *
 * A cluster is known by its first virtual address. What is in struct nlb_cluster must be the same
 * for all members, but for the timeouts; nlb_cluster_digest() tells.
 */
#ifndef LUNAR_NLB_NLB_CONFIG_H
#define LUNAR_NLB_NLB_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NLB_MAX_MEMBERS	  32u
#define NLB_MAX_ADDRESSES 8u
#define NLB_MAX_RULES	  32u
#define NLB_MAX_TABLES	  (NLB_MAX_RULES + 1) /* the last one: what no port rule covers */
#define NLB_MAX_WEIGHT	  100u
#define NLB_MESSAGE_BYTES 200

#define NLB_INTERVAL_MS_MIN 100u
#define NLB_INTERVAL_MS_MAX 10000u
#define NLB_MISSES_MIN	    2u
#define NLB_MISSES_MAX	    20u

/* An IPv4 address is in the first four bytes, the others are 0. */
struct nlb_address {
	uint8_t family; /* 4 or 6 */
	uint8_t bytes[16];
};

enum nlb_mac_mode { NLB_UNICAST, NLB_MULTICAST, NLB_IGMP, NLB_MAC_MODE_COUNT };
enum nlb_protocol { NLB_TCP = 1, NLB_UDP = 2, NLB_BOTH = 3 };
enum nlb_filtering {
	NLB_MULTIPLE, /* members share the clients */
	NLB_SINGLE,   /* all goes to the member with the least handling priority that is there */
	NLB_DISABLED, /* nobody gets it */
	NLB_FILTERING_COUNT,
};
enum nlb_affinity {
	NLB_AFFINITY_NONE,    /* each connection by itself: client's address and port */
	NLB_AFFINITY_SINGLE,  /* all of a client to one member: its address */
	NLB_AFFINITY_NETWORK, /* all of a client's /24 (IPv6: /64) to one member */
	NLB_AFFINITY_COUNT,
};

struct nlb_rule {
	enum nlb_protocol protocol;
	uint16_t first_port, last_port; /* both included */
	enum nlb_filtering filtering;
	enum nlb_affinity affinity; /* multiple; else NLB_AFFINITY_NONE */
	bool weighted;		    /* multiple: by the members' weights, else in equal shares */
};

/* How long a TCP connection is remembered after its last packet. */
struct nlb_timeouts {
	uint32_t opening_seconds; /* its second packet has not come yet */
	uint32_t established_seconds;
	uint32_t closing_seconds; /* FIN or RST was seen */
};

struct nlb_cluster {
	uint32_t address_count;
	struct nlb_address addresses[NLB_MAX_ADDRESSES];
	enum nlb_mac_mode mac_mode;
	uint32_t rule_count;
	struct nlb_rule rules[NLB_MAX_RULES];
	uint32_t interval_ms; /* between heartbeats */
	uint32_t misses;      /* heartbeats in a row */
	struct nlb_timeouts timeouts;
};

struct nlb_member_config {
	uint8_t id; /* 1..32, its own in the cluster: also its host priority, 1 is the highest */
	/* By rule. multiple, weighted: load weight 0..100; single: handling priority 1..32, 1 is
	 * the highest; else 0. */
	uint8_t shares[NLB_MAX_RULES];
};

/* Unicast, a heartbeat a second, five misses; timeouts of 75 s (as long as Linux repeats a SYN-ACK,
 * and some), 2 h 4 min and 4 min (RFC 5382 REQ-5). No address and no rule yet. */
void nlb_cluster_init(struct nlb_cluster *cluster);

/* Whether it makes sense. Any bytes. Returns 0, or -EINVAL with what is wrong and what to do in
 * message (NLB_MESSAGE_BYTES). Rules are counted from 1 there. */
int nlb_cluster_check(const struct nlb_cluster *cluster, char *message);
/* The same for a member; cluster: checked. */
int nlb_member_config_check(const struct nlb_cluster *cluster,
			    const struct nlb_member_config *member, char *message);

/* Tells clusters, and set-ups of a cluster, apart. Against mistakes, not against malice: FNV-1a. */
uint64_t nlb_cluster_id(const struct nlb_cluster *cluster);
uint64_t nlb_cluster_digest(const struct nlb_cluster *cluster);

/* The address to which clients' frames go. From w.x.y.z, the first IPv4 address (or the last four
 * bytes of the first IPv6 one): unicast 02-bf-w-x-y-z, multicast 03-bf-w-x-y-z, IGMP
 * 01-00-5e-7f-y-z. */
void nlb_cluster_mac(const struct nlb_cluster *cluster, uint8_t mac[6]);
/* In unicast mode, the source that a member's frames bear on the wire, 02-id-w-x-y-z: physical
 * switches must not learn the cluster's own address, or they would send all to one port. */
void nlb_member_source_mac(const struct nlb_cluster *cluster, uint8_t id, uint8_t mac[6]);

/* Which of the cluster's tables a port is in: a rule's index, or rule_count. protocol: NLB_TCP or
 * NLB_UDP. */
uint32_t nlb_cluster_find_table(const struct nlb_cluster *cluster, enum nlb_protocol protocol,
				uint16_t port);
bool nlb_cluster_has_address(const struct nlb_cluster *cluster, uint8_t family,
			     const uint8_t bytes[16]);

#endif
