/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Convergence: whom a member counts, whether all agree, and which buckets it gives up or takes. The
 * argument why no bucket has two holders is in nlb_member.h; its pillars are here:
 *  - a member's revision grows with each change of what it holds, and of whom it counts;
 *  - buckets are taken at agreed() only, when all that are counted have said that they know the
 *    same revisions, so that nlb_buckets_due() has the same outcome for all;
 *  - nothing is taken while somebody is heard who may not know us yet (is_pending()).
 */
#include <string.h>

#include "nlb/nlb_internal.h"
#include "nlb/nlb_member_internal.h"

#define ALONE_AFTER_LOSSES 6u

static bool has_our_rules(const struct nlb_member *member, const struct nlb_peer *peer)
{
	return peer->latest.digest == member->digest;
}

static bool hears_us(const struct nlb_member *member, const struct nlb_peer *peer)
{
	return peer->latest.hears & nlb_id_bit(member->config.id);
}

static bool is_counted(const struct nlb_member *member, uint32_t index)
{
	return member->counted >> index & 1;
}

/* ---- letting go ---- */

void nlb_release_all(struct nlb_member *member)
{
	bool had = false;

	for (uint32_t t = 0; t < nlb_table_count(member); t++) {
		had |= member->filter.held[t] != 0;
		member->filter.held[t] = 0;
	}
	if (had)
		member->revision++;
}

void nlb_yield(struct nlb_member *member, const struct nlb_peer *peer, uint64_t now_ns)
{
	bool is_deaf = !hears_us(member, peer) &&
		       (peer->has_heard_us || now_ns - peer->deaf_since_ns >= nlb_lost_ns(member));
	uint32_t yielded = 0;

	if (!has_our_rules(member, peer) || (peer->latest.member > member->config.id && !is_deaf))
		return;
	for (uint32_t t = 0; t < nlb_table_count(member); t++) {
		uint64_t both = member->filter.held[t] & peer->latest.tables[t].held;

		yielded += (uint32_t)__builtin_popcountll(both);
		member->filter.held[t] &= ~both;
	}
	if (yielded)
		member->revision++;
	member->counters.yielded += yielded;
}

/* ---- who counts ---- */

static void count_members(struct nlb_member *member)
{
	uint64_t hash = NLB_MIX_START;
	uint32_t counted = nlb_id_bit(member->config.id);

	for (uint32_t i = 0; i < NLB_MAX_MEMBERS; i++) {
		const struct nlb_peer *peer = &member->peers[i];

		if (!peer->is_heard || !hears_us(member, peer))
			continue;
		counted |= UINT32_C(1) << i;
		hash = nlb_mix_number(nlb_mix_number(hash, i), peer->latest.instance);
	}
	if (counted == member->counted && hash == member->counted_hash)
		return;
	member->counted = counted;
	member->counted_hash = hash;
	member->revision++;
}

static uint64_t make_view(const struct nlb_member *member)
{
	uint64_t hash = NLB_MIX_START;

	for (uint32_t i = 0; i < NLB_MAX_MEMBERS; i++) {
		const struct nlb_heartbeat *latest = &member->peers[i].latest;
		bool is_us = i == member->config.id - 1u;

		if (!is_counted(member, i))
			continue;
		hash = nlb_mix_number(hash, i);
		hash = nlb_mix_number(hash, is_us ? member->instance : latest->instance);
		hash = nlb_mix_number(hash, is_us ? member->revision : latest->revision);
	}
	return hash;
}

/* Somebody is there who does not hear us, or not yet. */
static bool is_pending(const struct nlb_member *member, const struct nlb_peer *peer,
		       uint64_t now_ns)
{
	return peer->is_heard && !hears_us(member, peer) &&
	       now_ns - peer->deaf_since_ns < nlb_lost_ns(member);
}

static bool agreed(const struct nlb_member *member, uint64_t now_ns)
{
	for (uint32_t i = 0; i < NLB_MAX_MEMBERS; i++) {
		const struct nlb_peer *peer = &member->peers[i];

		if (!peer->is_heard)
			continue;
		if (is_pending(member, peer, now_ns) ||
		    (is_counted(member, i) && peer->latest.view != member->view))
			return false;
	}
	return true;
}

/* ---- other rules ---- */

static bool is_serving(enum nlb_wire_state state)
{
	return state == NLB_WIRE_CONVERGING || state == NLB_WIRE_CONVERGED;
}

static bool we_serve(const struct nlb_member *member)
{
	return member->mode == NLB_RUNNING && !member->is_listening;
}

/* How many members with these rules serve, and the lowest id of them, of those that are counted. */
static uint32_t count_serving(const struct nlb_member *member, uint64_t digest, uint32_t *lowest)
{
	uint32_t count = 0;

	for (uint32_t i = NLB_MAX_MEMBERS; i-- > 0;) {
		const struct nlb_heartbeat *latest = &member->peers[i].latest;
		bool serves = i == member->config.id - 1u
				      ? we_serve(member) && digest == member->digest
				      : is_serving(latest->state) && digest == latest->digest;

		if (!is_counted(member, i) || !serves)
			continue;
		count++;
		*lowest = i;
	}
	return count;
}

/* Whether members with other rules go before us. */
static bool is_outvoted(const struct nlb_member *member)
{
	uint32_t our_lowest = NLB_MAX_MEMBERS, their_lowest = NLB_MAX_MEMBERS;
	uint32_t ours = count_serving(member, member->digest, &our_lowest);

	for (uint32_t i = 0; i < NLB_MAX_MEMBERS; i++) {
		const struct nlb_peer *peer = &member->peers[i];
		uint32_t theirs;

		if (!is_counted(member, i) || !peer->is_heard || has_our_rules(member, peer))
			continue;
		theirs = count_serving(member, peer->latest.digest, &their_lowest);
		if (theirs > ours || (theirs > 0 && theirs == ours && their_lowest < our_lowest))
			return true;
	}
	return false;
}

/* Somebody with other rules holds what we cannot tell from ours. */
static bool is_held_by_others_rules(const struct nlb_member *member)
{
	for (uint32_t i = 0; i < NLB_MAX_MEMBERS; i++) {
		const struct nlb_peer *peer = &member->peers[i];

		if (!peer->is_heard || has_our_rules(member, peer))
			continue;
		for (uint32_t t = 0; t < peer->latest.table_count; t++)
			if (peer->latest.tables[t].held)
				return true;
	}
	return false;
}

static void look_for_connections(struct nlb_member *member)
{
	memset(member->filter.busy_elsewhere, 0, sizeof(member->filter.busy_elsewhere));
	for (uint32_t i = 0; i < NLB_MAX_MEMBERS; i++) {
		const struct nlb_peer *peer = &member->peers[i];
		uint64_t any = 0;

		if (!peer->is_heard)
			continue;
		for (uint32_t t = 0; t < peer->latest.table_count; t++)
			any |= peer->latest.tables[t].busy;
		for (uint32_t t = 0; t < nlb_table_count(member); t++)
			member->filter.busy_elsewhere[t] |= has_our_rules(member, peer)
								    ? peer->latest.tables[t].busy
							    : any ? NLB_ALL_BUCKETS
								  : 0;
	}
}

/* ---- moving buckets ---- */

/* A table as all that agree know it. */
struct table_view {
	uint64_t held[NLB_MAX_MEMBERS];
	uint8_t shares[NLB_MAX_MEMBERS];
	bool serves[NLB_MAX_MEMBERS];
	uint8_t counts[NLB_MAX_MEMBERS]; /* to be had */
};

/* The weights by which a table's buckets are shared out: one member's alone where it is the one
 * that handles all. */
static void weigh(const struct nlb_member *member, uint32_t table, const struct table_view *view,
		  uint8_t weights[NLB_MAX_MEMBERS])
{
	const struct nlb_rule *rule =
		table < member->cluster.rule_count ? &member->cluster.rules[table] : NULL;
	uint32_t best = NLB_MAX_MEMBERS;

	memset(weights, 0, NLB_MAX_MEMBERS);
	if (rule && rule->filtering == NLB_DISABLED)
		return;
	for (uint32_t i = 0; i < NLB_MAX_MEMBERS; i++) {
		if (!view->serves[i])
			continue;
		if (rule && rule->filtering == NLB_MULTIPLE)
			weights[i] = rule->weighted ? view->shares[i] : 1;
		else if (best == NLB_MAX_MEMBERS || view->shares[i] < view->shares[best])
			best = i;
	}
	if (best < NLB_MAX_MEMBERS)
		weights[best] = 1;
}

static void look_at_table(const struct nlb_member *member, uint32_t table, struct table_view *view)
{
	uint8_t weights[NLB_MAX_MEMBERS];

	memset(view, 0, sizeof(*view));
	for (uint32_t i = 0; i < NLB_MAX_MEMBERS; i++) {
		const struct nlb_peer *peer = &member->peers[i];

		if (i == member->config.id - 1u) {
			view->held[i] = member->filter.held[table];
			view->shares[i] = nlb_share(member, table);
			view->serves[i] = we_serve(member);
		} else if (is_counted(member, i) && has_our_rules(member, peer)) {
			view->held[i] = peer->latest.tables[table].held;
			view->shares[i] = peer->latest.tables[table].share;
			view->serves[i] = is_serving(peer->latest.state);
		}
	}
	weigh(member, table, view, weights);
	nlb_buckets_count(weights, view->counts);
}

/* What anybody with our rules holds, counted or not. */
static uint64_t held_elsewhere(const struct nlb_member *member, uint32_t table)
{
	uint64_t held = 0;

	for (uint32_t i = 0; i < NLB_MAX_MEMBERS; i++)
		if (member->peers[i].is_heard && has_our_rules(member, &member->peers[i]))
			held |= member->peers[i].latest.tables[table].held;
	return held;
}

/* Gives up and takes what is to move in one table. Returns whether anything did. */
static bool move_in_table(struct nlb_member *member, uint32_t table, bool may_take)
{
	uint32_t us = member->config.id - 1u;
	uint64_t *held = &member->filter.held[table];
	uint64_t before = *held, due[NLB_MAX_MEMBERS];
	struct table_view view;

	look_at_table(member, table, &view);
	*held &= ~nlb_buckets_surplus(*held, view.counts[us]);
	nlb_buckets_due(view.held, view.counts, due);
	if (may_take)
		*held |= due[us] & ~held_elsewhere(member, table);
	return *held != before;
}

static bool is_balanced(const struct nlb_member *member)
{
	struct table_view view;

	for (uint32_t t = 0; t < nlb_table_count(member); t++) {
		look_at_table(member, t, &view);
		for (uint32_t i = 0; i < NLB_MAX_MEMBERS; i++)
			if (__builtin_popcountll(view.held[i]) != view.counts[i])
				return false;
	}
	return true;
}

static void move_buckets(struct nlb_member *member)
{
	bool may_take = !is_held_by_others_rules(member), has_moved = false;

	for (uint32_t t = 0; t < nlb_table_count(member); t++)
		has_moved |= move_in_table(member, t, may_take);
	if (has_moved)
		member->revision++;
}

/* ---- all of it ---- */

static void note_agreement(struct nlb_member *member, uint64_t now_ns)
{
	bool was_agreed = member->is_agreed;

	member->is_agreed = agreed(member, now_ns);
	if (was_agreed && !member->is_agreed)
		member->disagrees_since_ns = now_ns;
	member->is_alone = !member->is_agreed && now_ns - member->disagrees_since_ns >=
							 ALONE_AFTER_LOSSES * nlb_lost_ns(member);
}

static void note_convergence(struct nlb_member *member, uint64_t now_ns)
{
	bool was_converged = member->is_converged;

	member->is_converged = member->is_agreed && we_serve(member) && is_balanced(member);
	if (was_converged == member->is_converged)
		return;
	nlb_hurry(member);
	if (!member->is_converged)
		return;
	member->converged_ns = now_ns;
	member->counters.convergences++;
}

void nlb_settle(struct nlb_member *member, uint64_t now_ns)
{
	uint64_t view = member->view;

	member->is_unsettled = false;
	if (!nlb_takes_part(member) || member->aside_until_ns)
		return;
	member->settled_ns = now_ns;
	count_members(member);
	look_for_connections(member);
	if (member->mode == NLB_DRAINING || is_outvoted(member))
		nlb_release_all(member);
	member->view = make_view(member);
	note_agreement(member, now_ns);
	if ((member->is_agreed || member->is_alone) && !is_outvoted(member)) {
		move_buckets(member);
		member->view = make_view(member);
		note_agreement(member, now_ns);
	}
	note_convergence(member, now_ns);
	if (member->view != view)
		nlb_hurry(member);
}
