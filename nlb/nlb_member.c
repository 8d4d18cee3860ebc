/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A member's life: start to stop, heartbeats in and out, and time.
 */
#include "nlb/nlb_member.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "nlb/nlb_member_internal.h"

#define GAPS_AN_INTERVAL    20u
#define SETTLES_AN_INTERVAL 100u

uint8_t nlb_share(const struct nlb_member *member, uint32_t table)
{
	return table < member->cluster.rule_count ? member->config.shares[table]
						  : member->config.id;
}

void nlb_member_init(struct nlb_member *member, const struct nlb_cluster *cluster,
		     const struct nlb_member_config *config,
		     const struct nlb_connections *connections)
{
	memset(member, 0, sizeof(*member));
	member->cluster = *cluster;
	member->config = *config;
	member->cluster_id = nlb_cluster_id(cluster);
	member->digest = nlb_cluster_digest(cluster);
	nlb_filter_init(&member->filter, &member->cluster, connections);
}

/* ---- commands ---- */

static void forget_peer(struct nlb_peer *peer)
{
	memset(peer, 0, sizeof(*peer));
}

static void listen_first(struct nlb_member *member, uint64_t now_ns)
{
	member->is_listening = true;
	member->listens_until_ns = now_ns + nlb_lost_ns(member);
	member->is_agreed = false;
	member->disagrees_since_ns = now_ns;
	member->next_ns = now_ns;
	nlb_hurry(member);
}

int nlb_member_start(struct nlb_member *member, uint64_t instance, uint64_t now_ns)
{
	if (member->mode == NLB_SUSPENDED)
		return -EBUSY;
	if (member->mode == NLB_RUNNING)
		return -EALREADY;
	if (member->mode == NLB_DRAINING) {
		member->mode = NLB_RUNNING;
		member->revision++;
		nlb_settle(member, now_ns);
		return 0;
	}
	member->mode = NLB_RUNNING;
	member->instance = instance;
	member->sequence = 0;
	member->revision = 0;
	member->aside_until_ns = 0;
	member->filter.takes_part = true;
	listen_first(member, now_ns);
	nlb_settle(member, now_ns);
	return 0;
}

static void stop_as(struct nlb_member *member, enum nlb_mode mode)
{
	bool was_there = nlb_takes_part(member) && !member->aside_until_ns;

	member->mode = mode;
	member->filter.takes_part = false;
	nlb_release_all(member);
	nlb_filter_forget(&member->filter);
	memset(member->peers, 0, sizeof(member->peers));
	memset(member->filter.busy_elsewhere, 0, sizeof(member->filter.busy_elsewhere));
	member->counted = 0;
	member->is_listening = false;
	member->is_agreed = false;
	member->is_alone = false;
	member->is_converged = false;
	if (was_there)
		nlb_hurry(member); /* a stopped member's heartbeats say that it leaves */
}

void nlb_member_stop(struct nlb_member *member, uint64_t now_ns)
{
	(void)now_ns;
	if (nlb_takes_part(member))
		stop_as(member, NLB_STOPPED);
}

int nlb_member_drain(struct nlb_member *member, uint64_t now_ns)
{
	if (!nlb_takes_part(member))
		return -ESRCH;
	if (member->mode == NLB_DRAINING)
		return 0;
	member->mode = NLB_DRAINING;
	member->revision++;
	nlb_settle(member, now_ns);
	return 0;
}

void nlb_member_suspend(struct nlb_member *member, uint64_t now_ns)
{
	(void)now_ns;
	stop_as(member, NLB_SUSPENDED);
}

int nlb_member_resume(struct nlb_member *member)
{
	if (member->mode != NLB_SUSPENDED)
		return -EALREADY;
	member->mode = NLB_STOPPED;
	return 0;
}

void nlb_member_set_shares(struct nlb_member *member, const struct nlb_member_config *config,
			   uint64_t now_ns)
{
	memcpy(member->config.shares, config->shares, sizeof(member->config.shares));
	member->revision++;
	nlb_settle(member, now_ns);
}

void nlb_member_set_rules(struct nlb_member *member, const struct nlb_cluster *cluster,
			  const struct nlb_member_config *config, uint64_t now_ns)
{
	uint64_t digest = nlb_cluster_digest(cluster);

	if (digest != member->digest) {
		nlb_release_all(member); /* by the old rules: all tables that they have */
		/* Who said that it has the new rules before we had them was not held to them. */
		for (uint32_t i = 0; i < NLB_MAX_MEMBERS; i++)
			if (member->peers[i].latest.digest == digest &&
			    member->peers[i].latest.table_count != cluster->rule_count + 1)
				forget_peer(&member->peers[i]);
	}
	member->digest = digest;
	member->cluster = *cluster;
	nlb_filter_refile(&member->filter);
	nlb_member_set_shares(member, config, now_ns);
}

/* ---- heartbeats in ---- */

static uint64_t settle_due(const struct nlb_member *member)
{
	return member->is_unsettled
		       ? member->settled_ns + nlb_interval_ns(member) / SETTLES_AN_INTERVAL
		       : UINT64_MAX;
}

/* Two members bear our id: who was there first stays. */
static int receive_own_id(struct nlb_member *member, const struct nlb_heartbeat *heartbeat,
			  uint64_t now_ns)
{
	if (heartbeat->instance == member->instance)
		return -ESTALE; /* came back to us */
	member->counters.same_id++;
	if (heartbeat->instance < member->instance && heartbeat->state != NLB_WIRE_LEAVING) {
		nlb_release_all(member);
		member->is_converged = false;
		member->aside_until_ns = now_ns + nlb_lost_ns(member);
	}
	return -EEXIST;
}

/* Whether it is to be believed: 0, -EEXIST or -ESTALE. */
static int check_origin(struct nlb_member *member, const struct nlb_peer *peer,
			const struct nlb_heartbeat *heartbeat)
{
	if (!peer->is_heard)
		return 0;
	if (heartbeat->instance != peer->latest.instance) {
		member->counters.same_id++;
		return heartbeat->instance < peer->latest.instance ? 0 : -EEXIST;
	}
	if (heartbeat->sequence <= peer->latest.sequence) {
		member->counters.stale++;
		return -ESTALE;
	}
	return 0;
}

static void receive_from_peer(struct nlb_member *member, struct nlb_peer *peer,
			      const struct nlb_heartbeat *heartbeat, uint64_t now_ns)
{
	uint32_t us = nlb_id_bit(member->config.id);
	bool hears_us = heartbeat->hears & us, is_new;

	if (heartbeat->state == NLB_WIRE_LEAVING) {
		forget_peer(peer);
		return;
	}
	is_new = !peer->is_heard || peer->latest.instance != heartbeat->instance;
	if (is_new) {
		forget_peer(peer);
		nlb_hurry(member); /* it shall know that we hear it */
	}
	if (is_new || (!hears_us && peer->latest.hears & us))
		peer->deaf_since_ns = now_ns;
	peer->is_heard = true;
	peer->has_heard_us |= hears_us;
	peer->latest_ns = now_ns;
	peer->latest = *heartbeat;
	nlb_yield(member, peer, now_ns);
}

int nlb_member_receive(struct nlb_member *member, const uint8_t *bytes, size_t length,
		       uint64_t now_ns)
{
	struct nlb_heartbeat heartbeat;
	struct nlb_peer *peer;
	int err;

	if (!nlb_takes_part(member))
		return -ENOTCONN;
	member->counters.received++;
	err = nlb_heartbeat_read(bytes, length, &heartbeat);
	if (!err && heartbeat.cluster != member->cluster_id) {
		member->counters.other_cluster++;
		return -ENOENT;
	}
	if (!err && heartbeat.digest == member->digest &&
	    heartbeat.table_count != nlb_table_count(member))
		err = -EPROTO;
	if (err) {
		member->counters.malformed++;
		return err;
	}
	if (heartbeat.member == member->config.id)
		return receive_own_id(member, &heartbeat, now_ns);
	peer = &member->peers[heartbeat.member - 1];
	err = check_origin(member, peer, &heartbeat);
	if (err)
		return err;
	receive_from_peer(member, peer, &heartbeat, now_ns);
	/* A flood of them costs little: only some are thought about. */
	member->is_unsettled = true;
	if (now_ns >= settle_due(member))
		nlb_settle(member, now_ns);
	return 0;
}

/* ---- what the host knows ---- */

void nlb_member_lost(struct nlb_member *member, uint8_t id, uint64_t now_ns)
{
	if (!member->peers[id - 1].is_heard)
		return;
	forget_peer(&member->peers[id - 1]);
	member->counters.lost++;
	nlb_settle(member, now_ns);
}

void nlb_member_announce(struct nlb_member *member, uint64_t now_ns)
{
	if (!nlb_takes_part(member))
		return;
	member->next_ns = now_ns;
	nlb_hurry(member);
}

/* ---- time ---- */

static void lose_silent_peers(struct nlb_member *member, uint64_t now_ns)
{
	for (uint32_t i = 0; i < NLB_MAX_MEMBERS; i++) {
		struct nlb_peer *peer = &member->peers[i];

		if (!peer->is_heard || now_ns - peer->latest_ns < nlb_lost_ns(member))
			continue;
		forget_peer(peer);
		member->counters.lost++;
	}
}

void nlb_member_advance(struct nlb_member *member, uint64_t now_ns)
{
	if (!nlb_takes_part(member))
		return;
	lose_silent_peers(member, now_ns);
	if (member->mode == NLB_DRAINING && member->filter.connection_count == 0) {
		stop_as(member, NLB_STOPPED);
		return;
	}
	if (member->aside_until_ns && now_ns >= member->aside_until_ns) {
		member->aside_until_ns = 0;
		listen_first(member, now_ns);
	}
	if (member->is_listening && now_ns >= member->listens_until_ns) {
		member->is_listening = false;
		member->revision++;
	}
	nlb_settle(member, now_ns);
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t send_due(const struct nlb_member *member)
{
	uint64_t hurried = member->hurried
				   ? member->sent_ns + nlb_interval_ns(member) / GAPS_AN_INTERVAL
				   : UINT64_MAX;

	if (!nlb_takes_part(member))
		return hurried;
	return member->aside_until_ns ? UINT64_MAX : earlier(hurried, member->next_ns);
}

uint64_t nlb_member_due(const struct nlb_member *member)
{
	uint64_t due = send_due(member);

	if (!nlb_takes_part(member))
		return due;
	due = earlier(due, settle_due(member));
	if (member->is_listening)
		due = earlier(due, member->listens_until_ns);
	if (member->aside_until_ns)
		due = earlier(due, member->aside_until_ns);
	for (uint32_t i = 0; i < NLB_MAX_MEMBERS; i++)
		if (member->peers[i].is_heard)
			due = earlier(due, member->peers[i].latest_ns + nlb_lost_ns(member));
	return due;
}

/* ---- heartbeats out ---- */

static enum nlb_wire_state wire_state(const struct nlb_member *member)
{
	if (!nlb_takes_part(member))
		return NLB_WIRE_LEAVING;
	if (member->mode == NLB_DRAINING)
		return NLB_WIRE_DRAINING;
	if (member->is_listening)
		return NLB_WIRE_JOINING;
	return member->is_converged ? NLB_WIRE_CONVERGED : NLB_WIRE_CONVERGING;
}

size_t nlb_member_send(struct nlb_member *member, uint8_t bytes[NLB_HEARTBEAT_MAX_BYTES],
		       uint64_t now_ns)
{
	struct nlb_heartbeat heartbeat = {.member = member->config.id,
					  .state = wire_state(member),
					  .cluster = member->cluster_id,
					  .instance = member->instance,
					  .revision = member->revision,
					  .digest = member->digest,
					  .view = member->view,
					  .hears = nlb_member_heard(member),
					  .table_count = nlb_table_count(member)};

	if (now_ns < send_due(member))
		return 0;
	for (uint32_t t = 0; t < heartbeat.table_count; t++)
		heartbeat.tables[t] = (struct nlb_heartbeat_table){.held = member->filter.held[t],
								   .busy = member->filter.busy[t],
								   .share = nlb_share(member, t)};
	heartbeat.sequence = ++member->sequence;
	member->sent_ns = now_ns;
	member->next_ns = now_ns + nlb_interval_ns(member);
	if (member->hurried)
		member->hurried--;
	member->counters.sent++;
	return nlb_heartbeat_write(&heartbeat, bytes);
}

/* ---- what there is to see ---- */

uint32_t nlb_member_heard(const struct nlb_member *member)
{
	uint32_t heard = 0;

	for (uint32_t i = 0; i < NLB_MAX_MEMBERS; i++)
		heard |= (uint32_t)member->peers[i].is_heard << i;
	return heard;
}

uint32_t nlb_member_mismatched(const struct nlb_member *member)
{
	uint32_t mismatched = 0;

	for (uint32_t i = 0; i < NLB_MAX_MEMBERS; i++)
		mismatched |= (uint32_t)(member->peers[i].is_heard &&
					 member->peers[i].latest.digest != member->digest)
			      << i;
	return mismatched;
}

uint32_t nlb_member_held_by(const struct nlb_member *member, uint8_t id, uint32_t table)
{
	const struct nlb_peer *peer = &member->peers[id - 1];

	if (id == member->config.id)
		return (uint32_t)__builtin_popcountll(member->filter.held[table]);
	if (!peer->is_heard || peer->latest.digest != member->digest)
		return 0;
	return (uint32_t)__builtin_popcountll(peer->latest.tables[table].held);
}

/* "2, 5 and 7" */
static char *list_members(uint32_t set, char *text, size_t size)
{
	size_t used = 0;

	text[0] = '\0';
	for (uint32_t id = 1; id <= NLB_MAX_MEMBERS; id++) {
		uint32_t rest = id < NLB_MAX_MEMBERS ? set >> id : 0;

		if (set >> (id - 1) & 1)
			used += (size_t)snprintf(text + used, size - used, "%s%u",
						 used == 0 ? ""
						 : rest	   ? ", "
							   : " and ",
						 id);
	}
	return text;
}

char *nlb_member_trouble(const struct nlb_member *member, uint64_t now_ns, char *text)
{
	uint32_t mismatched = nlb_member_mismatched(member);
	char list[160];

	text[0] = '\0';
	if (!nlb_takes_part(member))
		return text;
	if (member->aside_until_ns > now_ns)
		snprintf(text, NLB_TROUBLE_BYTES,
			 "another member with id %u was there before this one, which stands aside; "
			 "give one of them another id",
			 member->config.id);
	else if (mismatched)
		snprintf(text, NLB_TROUBLE_BYTES,
			 "member%s %s ha%s other virtual addresses, port rules or heartbeats than "
			 "this one (%u); give all members of the cluster the same",
			 mismatched & (mismatched - 1) ? "s" : "",
			 list_members(mismatched, list, sizeof(list)),
			 mismatched & (mismatched - 1) ? "ve" : "s", member->config.id);
	else if (member->is_alone)
		snprintf(text, NLB_TROUBLE_BYTES,
			 "the members do not all hear each other; see to it that heartbeats get "
			 "through on the cluster's VLAN");
	return text;
}
