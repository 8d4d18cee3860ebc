/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A member as bytes:
 *   NLBM 1: u8 id, u8 mode, u64 digest, instance, sequence, revision, u32 ms still to listen,
 *           u32 tables, u64 held each; u32 peers, for each u8 has heard us, blob heartbeat
 *   NLBC 1: u32 count; for each u8 family, u8 phase, client, server (16 bytes each), u16 ports,
 *           u32 ms left
 */
#include "nlb/nlb_saved_state.h"

#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "nlb/nlb_member_internal.h"

#define MEMBER_VERSION	    1
#define CONNECTIONS_VERSION 1
#define NS_PER_MS	    UINT64_C(1000000)

static uint32_t ms_left(uint64_t until_ns, uint64_t now_ns)
{
	uint64_t ms = until_ns > now_ns ? (until_ns - now_ns) / NS_PER_MS + 1 : 0;

	return ms < UINT32_MAX ? (uint32_t)ms : UINT32_MAX;
}

/* ---- the member ---- */

static void save_peers(const struct nlb_member *member, struct state_writer *writer)
{
	state_put_u32(writer, (uint32_t)__builtin_popcount(nlb_member_heard(member)));
	for (uint32_t i = 0; i < NLB_MAX_MEMBERS; i++) {
		const struct nlb_peer *peer = &member->peers[i];
		uint8_t bytes[NLB_HEARTBEAT_MAX_BYTES];

		if (!peer->is_heard)
			continue;
		state_put_u8(writer, peer->has_heard_us);
		state_put_blob(writer, bytes, nlb_heartbeat_write(&peer->latest, bytes));
	}
}

void nlb_member_save(const struct nlb_member *member, uint64_t now_ns, struct state_writer *writer)
{
	/* Who stands aside listens first when it has arrived. */
	uint64_t listens_until_ns = member->aside_until_ns ? now_ns + nlb_lost_ns(member)
				    : member->is_listening ? member->listens_until_ns
							   : 0;

	state_begin(writer, NLB_STATE_MEMBER, MEMBER_VERSION, MEMBER_VERSION);
	state_put_u8(writer, member->config.id);
	state_put_u8(writer, (uint8_t)member->mode);
	state_put_u64(writer, member->digest);
	state_put_u64(writer, member->instance);
	state_put_u64(writer, member->sequence);
	state_put_u64(writer, member->revision);
	state_put_u32(writer, ms_left(listens_until_ns, now_ns));
	state_put_u32(writer, nlb_table_count(member));
	for (uint32_t t = 0; t < nlb_table_count(member); t++)
		state_put_u64(writer, member->filter.held[t]);
	save_peers(member, writer);
	state_end(writer);
}

static int restore_peer(struct nlb_member *member, struct state_reader *section, uint64_t now_ns)
{
	struct nlb_heartbeat heartbeat;
	struct nlb_peer *peer;
	bool has_heard_us = state_get_u8(section);
	size_t length = 0;
	const void *bytes = state_get_blob(section, NLB_HEARTBEAT_MAX_BYTES, &length);

	if (!bytes || nlb_heartbeat_read(bytes, length, &heartbeat) < 0 ||
	    heartbeat.cluster != member->cluster_id || heartbeat.member == member->config.id ||
	    heartbeat.state == NLB_WIRE_LEAVING ||
	    (heartbeat.digest == member->digest &&
	     heartbeat.table_count != nlb_table_count(member)))
		return -EPROTO;
	peer = &member->peers[heartbeat.member - 1];
	*peer = (struct nlb_peer){.is_heard = true,
				  .has_heard_us = has_heard_us,
				  .latest_ns = now_ns,
				  .deaf_since_ns = now_ns,
				  .latest = heartbeat};
	return 0;
}

static int restore_held(struct nlb_member *member, struct state_reader *section)
{
	for (uint32_t t = 0; t < nlb_table_count(member); t++) {
		member->filter.held[t] = state_get_u64(section);
		if ((member->filter.held[t] & ~NLB_ALL_BUCKETS) ||
		    (member->filter.held[t] && member->mode != NLB_RUNNING))
			return -EPROTO;
	}
	return 0;
}

/* Into a member that is thrown away if this fails. */
static int restore_member(struct nlb_member *member, struct state_reader *section, uint64_t now_ns)
{
	uint8_t id = state_get_u8(section), mode = state_get_u8(section);
	uint64_t digest = state_get_u64(section);
	uint32_t listens_ms, count;
	int err;

	if (section->error || mode > NLB_DRAINING)
		return -EPROTO;
	if (id != member->config.id || digest != member->digest)
		return -EINVAL;
	member->mode = (enum nlb_mode)mode;
	member->instance = state_get_u64(section);
	member->sequence = state_get_u64(section);
	member->revision = state_get_u64(section);
	listens_ms = state_get_u32(section);
	if (state_get_u32(section) != nlb_table_count(member))
		return -EPROTO;
	err = restore_held(member, section);
	count = state_get_bounded(section, NLB_MAX_MEMBERS - 1);
	for (uint32_t i = 0; i < count && !err; i++)
		err = restore_peer(member, section, now_ns);
	if (err || section->error)
		return -EPROTO;
	member->filter.takes_part = nlb_takes_part(member);
	member->is_listening = listens_ms > 0;
	member->listens_until_ns = now_ns + listens_ms * NS_PER_MS;
	member->disagrees_since_ns = now_ns;
	return 0;
}

static void undo_restore(struct nlb_member *member)
{
	member->mode = NLB_STOPPED;
	member->is_listening = false;
	member->filter.takes_part = false;
	memset(member->peers, 0, sizeof(member->peers));
	memset(member->filter.held, 0, sizeof(member->filter.held));
}

int nlb_member_restore(struct nlb_member *member, struct state_reader *section, uint64_t now_ns)
{
	int err = state_check_version(section, MEMBER_VERSION);

	if (err)
		return err;
	err = restore_member(member, section, now_ns);
	if (err) {
		undo_restore(member);
		return err;
	}
	nlb_settle(member, now_ns);
	nlb_member_announce(member, now_ns);
	return 0;
}

/* ---- its connections ---- */

uint32_t nlb_connections_save(const struct nlb_filter *filter, uint64_t now_ns, uint32_t max,
			      uint32_t *position, struct state_writer *writer)
{
	const struct nlb_connections *connections = &filter->connections;
	const struct nlb_connection *connection = NULL;
	struct nlb_connection_key key;
	uint32_t count = 0;
	size_t count_at;

	state_begin(writer, NLB_STATE_CONNECTIONS, CONNECTIONS_VERSION, CONNECTIONS_VERSION);
	count_at = writer->length;
	state_put_u32(writer, 0);
	while (count < max &&
	       (connection = connections->ops->next(connections->ctx, position, &key))) {
		state_put_u8(writer, key.family);
		state_put_u8(writer, connection->phase);
		state_put_bytes(writer, key.client, sizeof(key.client));
		state_put_bytes(writer, key.server, sizeof(key.server));
		state_put_u16(writer, key.client_port);
		state_put_u16(writer, key.server_port);
		state_put_u32(writer, ms_left(connection->expires_ns, now_ns));
		count++;
	}
	if (!writer->error)
		put_le32(writer->bytes + count_at, count);
	state_end(writer);
	return count;
}

static int restore_connection(struct nlb_filter *filter, struct state_reader *section,
			      uint64_t now_ns)
{
	struct nlb_packet packet = {.protocol = NLB_IP_TCP, .family = state_get_u8(section)};
	uint8_t phase = state_get_u8(section);
	const uint8_t *client = state_get_bytes(section, sizeof(packet.client));
	const uint8_t *server = state_get_bytes(section, sizeof(packet.server));
	uint32_t left_ms;

	packet.client_port = state_get_u16(section);
	packet.server_port = state_get_u16(section);
	left_ms = state_get_u32(section);
	if (section->error || phase > NLB_CLOSING)
		return -EPROTO;
	memcpy(packet.client, client, sizeof(packet.client));
	memcpy(packet.server, server, sizeof(packet.server));
	if (!nlb_cluster_has_address(filter->cluster, packet.family, packet.server))
		return -EPROTO;
	nlb_filter_adopt(filter, &packet, (enum nlb_phase)phase, left_ms * NS_PER_MS, now_ns);
	return 0;
}

int nlb_connections_restore(struct nlb_filter *filter, struct state_reader *section,
			    uint64_t now_ns)
{
	int err = state_check_version(section, CONNECTIONS_VERSION);
	uint32_t count = err ? 0 : state_get_u32(section);

	for (uint32_t i = 0; i < count && !err; i++)
		err = restore_connection(filter, section, now_ns);
	return err ? err : section->error;
}
