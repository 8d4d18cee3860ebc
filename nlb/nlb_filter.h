/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which packets for the cluster a member takes. Every member's port gets every packet; each lets
 * through its own and drops the others, and nothing is relayed. The set of buckets that it holds
 * comes from its convergence (nlb_member.h); the connections that it has are its own.
 *
 *  1. A packet for none of the cluster's addresses, or no IP packet (ARP, say), is not the
 * filter's.
 *  2. TCP and UDP go by the port rule of the server's port, else by the default table, all of whose
 *     buckets one member holds, as those of a rule with a single handler.
 *  3. A TCP connection begins (SYN without ACK) where its bucket is held, and stays there: the
 *     member remembers it, whoever holds the bucket later. Who gets the SYN of a connection that it
 *     remembers, but no longer holds the bucket, forgets it: the client begins anew, elsewhere.
 *  4. What belongs to no connection that is remembered is taken by who holds the bucket, unless
 *     another member has connections in it: it is most likely one of those, and a reset would end
 * it.
 *  5. UDP has no connections: each datagram goes to who holds its bucket at that time.
 *  6. A fragment other than the first has no ports. Every member takes it; those that did not get
 *     the first one throw it away.
 *  7. An ICMP error goes where the packet that it is about came from. All else (echo requests,
 * other protocols) is the default table's.
 *
 * A member that does not take part drops all that is for the cluster. A table that is full costs
 * rule 3, not the connection. Single-threaded: packets, and what convergence changes.
 */
#ifndef LUNAR_NLB_NLB_FILTER_H
#define LUNAR_NLB_NLB_FILTER_H

#include "nlb/nlb_buckets.h"
#include "nlb/nlb_config.h"
#include "nlb/nlb_connections.h"
#include "nlb/nlb_packet.h"
#include "nlb/nlb_toeplitz.h"

enum nlb_verdict { NLB_NOT_OURS, NLB_ACCEPT, NLB_DROP };

struct nlb_filter_counters {
	uint64_t accepted;
	uint64_t dropped;
	uint64_t connections; /* begun here */
	uint64_t untracked;   /* begun here, and not remembered: the table was full */
};

struct nlb_filter {
	const struct nlb_cluster *cluster;
	struct nlb_connections connections;
	bool takes_part;
	/* By table; sets of buckets. */
	uint64_t held[NLB_MAX_TABLES];
	uint64_t busy_elsewhere[NLB_MAX_TABLES]; /* others have connections there */
	uint64_t busy[NLB_MAX_TABLES];		 /* this one has */
	uint32_t counts[NLB_MAX_TABLES][NLB_BUCKETS];
	uint32_t connection_count;
	uint32_t expire_position;
	struct nlb_filter_counters counters;
	struct nlb_toeplitz toeplitz;
};

/* cluster (checked) and the connections' table, which is empty, outlive the filter. */
void nlb_filter_init(struct nlb_filter *filter, const struct nlb_cluster *cluster,
		     const struct nlb_connections *connections);

/* now_ns: of a monotonic clock. */
enum nlb_verdict nlb_decide(struct nlb_filter *filter, const struct nlb_packet *packet,
			    uint64_t now_ns);

/* Looks at the next count connections, and forgets those whose time is over. */
void nlb_filter_expire(struct nlb_filter *filter, uint32_t count, uint64_t now_ns);
/* A connection that came from another host with its member: packet says whose it is, left_ns how
 * long it is to be remembered without a packet; no longer than a new one in its phase. */
void nlb_filter_adopt(struct nlb_filter *filter, const struct nlb_packet *packet,
		      enum nlb_phase phase, uint64_t left_ns, uint64_t now_ns);
/* The cluster's rules have changed: files each connection anew. */
void nlb_filter_refile(struct nlb_filter *filter);
/* Forgets all. */
void nlb_filter_forget(struct nlb_filter *filter);

/* The table and the bucket of a packet that is no fragment. */
uint32_t nlb_filter_bucket(const struct nlb_filter *filter, const struct nlb_packet *packet,
			   uint32_t *table);

#endif
