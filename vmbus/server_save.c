/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Saving the VMBus server. It is saved only while no device owes it an answer; then no wish is left
 * that it could fulfil (see server_internal.h), and what is left to write is plain: closed and open
 * channels, relids that the guest has yet to release, and GPADLs that are live or lack bodies. The
 * layout is in server_internal.h.
 */
#include <errno.h>

#include "vmbus/gpadl.h"
#include "vmbus/server_internal.h"

static bool channel_is_at_rest(const struct server_channel *channel)
{
	return (channel->state == CHANNEL_CLOSED || channel->state == CHANNEL_OPEN) &&
	       !channel->modifying;
}

static bool gpadl_is_at_rest(const struct server_gpadl *gpadl)
{
	return gpadl->state == GPADL_ASSEMBLING || gpadl->state == GPADL_LIVE;
}

bool vmbus_server_is_quiet(const struct vmbus_server *server)
{
	if (server->depth > 0 || server->restore.phase != RESTORE_NONE)
		return false;
	for (uint32_t relid = 1; relid <= server->max_relid; relid++) {
		if (server->channels[relid] && !channel_is_at_rest(server->channels[relid]))
			return false;
	}
	for (size_t i = 0; i < SERVER_GPADL_BUCKETS; i++) {
		for (const struct server_gpadl *at = server->gpadls[i]; at; at = at->next) {
			if (!gpadl_is_at_rest(at))
				return false;
		}
	}
	return true;
}

static void connection_save(const struct vmbus_server *server, struct state_writer *writer)
{
	const bool up = server->connection == CONNECTION_UP;

	state_begin(writer, SAVED_CONNECTION, SAVED_VERSION, SAVED_VERSION);
	state_put_u32(writer, up ? server->version : 0);
	state_put_u32(writer, server->message_vp);
	state_put_u8(writer, up && server->offers_sent);
	state_end(writer);
}

static void channel_save(const struct server_channel *channel, struct state_writer *writer)
{
	static const struct vmbus_open_channel none;
	const bool open = channel->state == CHANNEL_OPEN;
	const struct vmbus_open_channel *request = open ? &channel->request : &none;
	unsigned int flags = 0;

	flags |= channel->offered ? SAVED_CHANNEL_OFFERED : 0;
	flags |= channel->device ? 0 : SAVED_CHANNEL_RESCINDED;
	flags |= open ? SAVED_CHANNEL_OPEN : 0;
	state_begin(writer, SAVED_CHANNEL, SAVED_VERSION, SAVED_VERSION);
	state_put_u32(writer, channel->relid);
	state_put_bytes(writer, channel->interface_id.bytes, sizeof(channel->interface_id.bytes));
	state_put_u32(writer, channel->sub_index);
	state_put_u8(writer, (uint8_t)flags);
	state_put_u32(writer, request->open_id);
	state_put_u32(writer, request->ring_gpadl_id);
	state_put_u32(writer, request->target_vp);
	state_put_u32(writer, request->downstream_page_offset);
	state_put_bytes(writer, request->user_data, sizeof(request->user_data));
	state_end(writer);
}

/* As gpadl_encode() would, but without the detour of a buffer. */
static void ranges_save(const struct gpadl *gpadl, struct state_writer *writer)
{
	for (uint32_t i = 0; i < gpadl->range_count; i++) {
		const struct gpadl_range *range = &gpadl->ranges[i];

		state_put_u32(writer, range->byte_count);
		state_put_u32(writer, range->byte_offset);
		for (size_t page = 0; page < range->page_count; page++)
			state_put_u64(writer, range->gpns[page]);
	}
}

static void gpadl_save(const struct server_gpadl *gpadl, struct state_writer *writer)
{
	const bool live = gpadl->state == GPADL_LIVE;
	unsigned int flags = 0;

	flags |= live ? SAVED_GPADL_LIVE : 0;
	flags |= gpadl->want_teardown ? SAVED_GPADL_TORN_DOWN : 0;
	state_begin(writer, SAVED_GPADL, SAVED_VERSION, SAVED_VERSION);
	state_put_u32(writer, gpadl->channel->relid);
	state_put_u32(writer, gpadl->id);
	state_put_u8(writer, (uint8_t)flags);
	state_put_u32(writer, gpadl->range_count);
	state_put_u32(writer, (uint32_t)gpadl->expected_bytes);
	if (live) {
		state_put_u32(writer, (uint32_t)gpadl->expected_bytes);
		ranges_save(gpadl->gpadl, writer);
	} else {
		state_put_blob(writer, gpadl->bytes, gpadl->received_bytes);
	}
	state_end(writer);
}

int vmbus_server_save(const struct vmbus_server *server, struct state_writer *writer)
{
	if (!vmbus_server_is_quiet(server))
		return -EBUSY;
	state_begin(writer, VMBUS_SERVER_STATE_TAG, SAVED_VERSION, SAVED_VERSION);
	connection_save(server, writer);
	for (uint32_t relid = 1; relid <= server->max_relid; relid++) {
		if (server->channels[relid])
			channel_save(server->channels[relid], writer);
	}
	for (size_t i = 0; i < SERVER_GPADL_BUCKETS; i++) {
		for (const struct server_gpadl *at = server->gpadls[i]; at; at = at->next)
			gpadl_save(at, writer);
	}
	state_end(writer);
	return writer->error;
}
