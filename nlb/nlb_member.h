/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A member of a cluster: who else is there, and which buckets it holds by what all of them agree
 * on. Heartbeats go in and come out as bytes, time is an argument, and the outcome is in the
 * member's filter. docs/networking.md tells it from outside.
 *
 * Heartbeats come every interval, and three in quick succession where something has changed. A
 * member that was not heard for (misses + 1/2) intervals is lost: 5.5 s by default. It counts for
 * the cluster while it hears us, too.
 *
 * Each heartbeat says what the member holds, with a revision that grows with each change, and a
 * view: a hash of the revisions of all that it counts. Where all views are the same, all members
 * know the same, and the cluster *agrees*. Only then a member gives up what it holds too much, and
 * takes what is due to it and held by nobody: first one lets go, then all know it, then the other
 * takes. From that follows:
 *
 *  - As long as fewer than `misses` heartbeats in a row get lost between any two members, and they
 *    agree again within the time below, no bucket ever has two holders. (What the host says of a
 *    member that is lost is taken at its word.)
 *  - Members that did not hear each other (a network that was cut) may hold the same buckets. From
 *    when they do hear each other again, the member with the higher id lets go with the first
 *    heartbeat of the other: within an interval, and one more for each heartbeat that is lost.
 *  - Two members of which only one hears the other: the one that hears lets go, when the other says
 *    that it has lost it, or has not found it for as long as it takes to be lost.
 *  - Members that have not agreed for six times the time to be lost (33 s) go on alone, each by its
 *    own knowledge: so no bucket stays with a dead member where some do not hear all of the others,
 *    or somebody sends what keeps them from agreeing. Two may then hold the same bucket, as after a
 *    cut, until the next heartbeat.
 *
 * A member that starts listens first for as long as it takes to be lost. A bucket that moves has no
 * holder between the two heartbeats: TCP clients repeat their SYN.
 *
 * Members with other rules cannot share buckets. Those of whom more are serving go on (as many: the
 * ones with the lowest id); the others let go of all that they hold, keep their connections, and
 * are named. Where two members bear the same id, the one that started later stands aside.
 *
 * Heartbeats are not authenticated: who can send frames on the cluster's VLAN can claim buckets, as
 * with Windows NLB. What it sends cannot do more than that.
 *
 * Single-threaded, together with the filter. No call allocates.
 */
#ifndef LUNAR_NLB_NLB_MEMBER_H
#define LUNAR_NLB_NLB_MEMBER_H

#include "nlb/nlb_filter.h"
#include "nlb/nlb_heartbeat.h"

#define NLB_TROUBLE_BYTES 320

enum nlb_mode {
	NLB_STOPPED,
	NLB_SUSPENDED, /* stopped, and does not start before it is resumed */
	NLB_RUNNING,
	NLB_DRAINING, /* takes no new connections, and stops when none is left */
};

struct nlb_peer {
	bool is_heard;
	bool has_heard_us;	/* at some time since it is heard */
	uint64_t latest_ns;	/* its latest heartbeat came then */
	uint64_t deaf_since_ns; /* where it does not hear us: since when we know */
	struct nlb_heartbeat latest;
};

struct nlb_member_counters {
	uint64_t sent;
	uint64_t received;
	uint64_t malformed;	/* or of another version of the format */
	uint64_t other_cluster; /* no fault: two clusters on a VLAN */
	uint64_t stale;		/* came twice, or late */
	uint64_t same_id;	/* of another member with an id that is taken */
	uint64_t lost;		/* members that were not heard for too long */
	uint64_t yielded;	/* buckets that another member held, too */
	uint64_t convergences;
};

struct nlb_member {
	struct nlb_cluster cluster;
	struct nlb_member_config config;
	uint64_t cluster_id;
	uint64_t digest;
	struct nlb_filter filter;

	enum nlb_mode mode;
	uint64_t instance;
	uint64_t sequence;
	uint64_t revision;
	uint64_t listens_until_ns;
	uint64_t aside_until_ns; /* another member bears our id */
	bool is_listening;

	struct nlb_peer peers[NLB_MAX_MEMBERS]; /* by id - 1; never our own */
	uint32_t counted;			/* set of ids: they hear us and we them; and us */
	uint64_t counted_hash;			/* of these, with their instances */
	uint64_t view;
	bool is_agreed;
	bool is_alone; /* goes on without agreement */
	bool is_converged;
	uint64_t disagrees_since_ns; /* where it is not agreed */
	bool is_unsettled; /* a heartbeat came so soon after another that it has to wait */
	uint64_t settled_ns;
	uint64_t converged_ns; /* when it came to be so the last time */

	uint32_t hurried; /* heartbeats to be sent before their time */
	uint64_t sent_ns;
	uint64_t next_ns;
	struct nlb_member_counters counters;
};

/* cluster and config: checked, copied. connections: an empty table, whose ops and ctx outlive the
 * member. Stopped at first. The member does not move in memory while it is used. */
void nlb_member_init(struct nlb_member *member, const struct nlb_cluster *cluster,
		     const struct nlb_member_config *config,
		     const struct nlb_connections *connections);

/* instance: larger than at any earlier start of a member with this id, such as the time of day in
 * ns. One that drains runs on, as the same instance. Returns 0; -EALREADY: it runs; -EBUSY: it is
 * suspended. */
int nlb_member_start(struct nlb_member *member, uint64_t instance, uint64_t now_ns);
/* At once: its connections are forgotten, too. Three heartbeats tell the others. */
void nlb_member_stop(struct nlb_member *member, uint64_t now_ns);
/* Returns 0; -ESRCH: it does not run. */
int nlb_member_drain(struct nlb_member *member, uint64_t now_ns);
/* Stops it, and keeps it from being started. */
void nlb_member_suspend(struct nlb_member *member, uint64_t now_ns);
/* It may be started again. Returns 0; -EALREADY: it was not suspended. */
int nlb_member_resume(struct nlb_member *member);
/* Changes its load weights and handling priorities; its id stays. config: checked. */
void nlb_member_set_shares(struct nlb_member *member, const struct nlb_member_config *config,
			   uint64_t now_ns);
/* Changes the cluster's rules while it runs, as they are to be changed at each member in turn: it
 * lets go of all that it holds until more members have the new rules than the old ones, and keeps
 * its connections. cluster and config: checked; with the same first address and id as before. */
void nlb_member_set_rules(struct nlb_member *member, const struct nlb_cluster *cluster,
			  const struct nlb_member_config *config, uint64_t now_ns);

/*
 * A heartbeat came in. Returns 0, or why it was left out: -EPROTO, -EPROTONOSUPPORT; -ENOENT: of
 * another cluster; -ESTALE: older than one that was seen, or our own; -EEXIST: of another member
 * with the same id as one that is there, or as ours; -ENOTCONN: we do not take part.
 */
int nlb_member_receive(struct nlb_member *member, const uint8_t *bytes, size_t length,
		       uint64_t now_ns);
/* The host knows that a member is gone, or that its network is. id: 1..32. */
void nlb_member_lost(struct nlb_member *member, uint8_t id, uint64_t now_ns);
/* The host knows that the others should hear of us at once: after a move, or when a link is back.
 */
void nlb_member_announce(struct nlb_member *member, uint64_t now_ns);
/* Time has passed. To be called at nlb_member_due(), or more often. */
void nlb_member_advance(struct nlb_member *member, uint64_t now_ns);
/* When there is something to do next if nothing comes in; UINT64_MAX: never. */
uint64_t nlb_member_due(const struct nlb_member *member);
/* After each of the calls above: a heartbeat that is to be sent now. Returns its length, 0: none;
 * to be called until then. At most 20 an interval. */
size_t nlb_member_send(struct nlb_member *member, uint8_t bytes[NLB_HEARTBEAT_MAX_BYTES],
		       uint64_t now_ns);

/* Sets of ids, bit id - 1. */
uint32_t nlb_member_heard(const struct nlb_member *member);
/* Those whose rules are not ours. */
uint32_t nlb_member_mismatched(const struct nlb_member *member);
/* How many buckets of a table a member (1..32) is known to hold, of those with our rules. */
uint32_t nlb_member_held_by(const struct nlb_member *member, uint8_t id, uint32_t table);
/* What is wrong, and what to do, in one line; "" where nothing is. Returns text, which has
 * NLB_TROUBLE_BYTES. */
char *nlb_member_trouble(const struct nlb_member *member, uint64_t now_ns, char *text);

#endif
