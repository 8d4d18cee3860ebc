/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Making a VMBus server of its saved state, in two steps. First the bytes become channels and
 * GPADLs, and everything that the guest's messages would have been held to is checked: whatever is
 * wrong shows here, before any device hears of it. Then the devices are walked through their ops,
 * phase after phase; the connection comes up last, so that nothing is sent to the guest on the way.
 */
#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "vmbus/server_internal.h"

#define LOG_COMPONENT "vmbus"

#define GPADL_MAX_BYTES UINT16_MAX /* of its ranges: a u16 on the wire */

/* ---- channels ---- */

struct saved_channel {
	uint32_t relid;
	struct vmbus_guid interface_id;
	uint32_t sub_index;
	bool offered;
	bool rescinded;
	bool open;
	struct vmbus_open_channel request;
};

static struct vmbus_device *device_find(struct vmbus_server *server, const struct vmbus_guid *id)
{
	struct vmbus_device *device = server->devices;

	while (device && memcmp(&device->offer.interface_id, id, sizeof(*id)) != 0)
		device = device->next;
	return device;
}

static void relid_give(struct server_channel *channel, uint32_t relid)
{
	struct vmbus_server *server = channel->server;

	channel->relid = relid;
	server->channels[relid] = channel;
	if (relid > server->max_relid)
		server->max_relid = relid;
}

/* Who has the relid by the order of adding alone makes room for whom the section gives it. */
static int relid_clear(struct vmbus_server *server, uint32_t relid)
{
	struct server_channel *channel = server->channels[relid];
	uint32_t other = channel_free_relid(server);

	if (!channel)
		return 0;
	if (channel->restored || other == 0)
		return -EPROTO;
	server->channels[relid] = NULL;
	relid_give(channel, other);
	return 0;
}

static int primary_claim(struct vmbus_device *device, uint32_t relid,
			 struct server_channel **channel)
{
	struct server_channel *primary = device->channels[0];
	const uint32_t before = primary->relid;
	int rc;

	if (primary->restored)
		return -EPROTO;
	device->server->channels[before] = NULL;
	rc = relid_clear(device->server, relid);
	relid_give(primary, rc == 0 ? relid : before);
	*channel = primary;
	return rc;
}

/* A sub-channel, or the relid that is left of a rescinded channel (device NULL). */
static int channel_add(struct vmbus_server *server, struct vmbus_device *device,
		       const struct saved_channel *saved, struct server_channel **channel)
{
	struct server_channel *made;
	int rc = relid_clear(server, saved->relid);

	if (rc < 0)
		return rc;
	made = channel_make(server, saved->relid, &saved->interface_id, saved->sub_index);
	if (!made)
		return -ENOMEM;
	made->device = device;
	made->rescinded = device == NULL;
	if (device)
		device->channels[saved->sub_index] = made;
	*channel = made;
	return 0;
}

static int rescinded_restore(struct vmbus_server *server, const struct saved_channel *saved,
			     struct server_channel **channel)
{
	if (!saved->offered || saved->open)
		return -EPROTO;
	/* The guest would not survive to be offered it again now: see vmbus_server_add_device().
	 */
	if (saved->sub_index == 0 && device_find(server, &saved->interface_id))
		return -EBUSY;
	return channel_add(server, NULL, saved, channel);
}

static int channel_restore(struct vmbus_server *server, const struct saved_channel *saved)
{
	struct vmbus_device *device = device_find(server, &saved->interface_id);
	struct server_channel *channel;
	int rc;

	if (saved->relid == 0 || (saved->offered && !server->offers_sent) ||
	    (saved->open && !saved->offered))
		return -EPROTO;
	if (saved->rescinded)
		rc = rescinded_restore(server, saved, &channel);
	else if (!device)
		rc = -ENODEV;
	else if (saved->sub_index == 0)
		rc = primary_claim(device, saved->relid, &channel);
	else if (saved->sub_index > device->offer.max_sub_channels ||
		 device->channels[saved->sub_index] || !saved->offered)
		rc = -EPROTO;
	else
		rc = channel_add(server, device, saved, &channel);
	if (rc < 0)
		return rc;
	channel->restored = true;
	channel->offered = saved->offered;
	channel->want_open = saved->open;
	channel->request = saved->request;
	return 0;
}

static int channel_read(struct vmbus_server *server, struct state_reader *section)
{
	struct saved_channel saved = {0};
	const void *bytes;
	uint8_t flags;

	saved.relid = state_get_bounded(section, VMBUS_MAX_CHANNELS);
	bytes = state_get_bytes(section, sizeof(saved.interface_id));
	if (bytes)
		memcpy(&saved.interface_id, bytes, sizeof(saved.interface_id));
	saved.sub_index = state_get_bounded(section, VMBUS_MAX_CHANNELS);
	flags = state_get_u8(section);
	saved.offered = flags & SAVED_CHANNEL_OFFERED;
	saved.rescinded = flags & SAVED_CHANNEL_RESCINDED;
	saved.open = flags & SAVED_CHANNEL_OPEN;
	saved.request.relid = saved.relid;
	saved.request.open_id = state_get_u32(section);
	saved.request.ring_gpadl_id = state_get_u32(section);
	saved.request.target_vp = state_get_u32(section);
	saved.request.downstream_page_offset = state_get_u32(section);
	bytes = state_get_bytes(section, sizeof(saved.request.user_data));
	if (bytes)
		memcpy(saved.request.user_data, bytes, sizeof(saved.request.user_data));
	return section->error ? section->error : channel_restore(server, &saved);
}

/* ---- connection and GPADLs ---- */

static int connection_read(struct vmbus_server *server, struct state_reader *section)
{
	const uint32_t version = state_get_u32(section);
	const uint32_t message_vp = state_get_u32(section);
	const uint8_t offers_sent = state_get_u8(section);

	if (section->error)
		return section->error;
	if (message_vp >= server->vp_count || (version != 0 && !server_knows_version(version)) ||
	    (version == 0 && offers_sent))
		return -EPROTO;
	server->version = version;
	server->message_vp = message_vp;
	server->offers_sent = offers_sent;
	return 0;
}

static int gpadl_read(struct vmbus_server *server, struct state_reader *section)
{
	const uint32_t relid = state_get_u32(section);
	struct saved_gpadl saved = {.id = state_get_u32(section)};
	struct server_channel *channel;
	uint8_t flags = state_get_u8(section);

	saved.live = flags & SAVED_GPADL_LIVE;
	saved.torn_down = flags & SAVED_GPADL_TORN_DOWN;
	saved.range_count = (uint16_t)state_get_bounded(section, UINT16_MAX);
	saved.expected_bytes = (uint16_t)state_get_bounded(section, GPADL_MAX_BYTES);
	saved.bytes = state_get_blob(section, GPADL_MAX_BYTES, &saved.length);
	if (section->error)
		return section->error;
	channel = channel_find(server, relid);
	if (!channel)
		return -EPROTO;
	/* One that is in nobody's use would have been gone by the time of the save. */
	if (saved.torn_down &&
	    (!saved.live || !channel->want_open || channel->request.ring_gpadl_id != saved.id))
		return -EPROTO;
	return gpadl_restore(channel, &saved);
}

/* ---- the whole section ---- */

static int part_read(struct vmbus_server *server, struct state_reader *part, bool first)
{
	static const struct {
		uint32_t tag;
		int (*read)(struct vmbus_server *server, struct state_reader *section);
	} kinds[] = {
		{SAVED_CONNECTION, connection_read},
		{SAVED_CHANNEL, channel_read},
		{SAVED_GPADL, gpadl_read},
	};

	/* Everything else is checked against the connection: it comes first, and once. */
	if (first != (part->tag == SAVED_CONNECTION))
		return -EPROTO;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		int rc;

		if (part->tag != kinds[i].tag)
			continue;
		rc = state_check_version(part, SAVED_VERSION);
		return rc < 0 ? rc : kinds[i].read(server, part);
	}
	return state_check_skippable(part);
}

static int parts_read(struct vmbus_server *server, struct state_reader *section)
{
	struct state_reader part;
	bool first = true;
	int rc = state_check_version(section, SAVED_VERSION);

	while (rc == 0) {
		rc = state_next(section, &part);
		if (rc == 0)
			return first ? -EPROTO : 0;
		if (rc > 0)
			rc = part_read(server, &part, first);
		first = false;
	}
	return rc;
}

/* What can only be told when all parts have been read. */
static int channels_check(struct vmbus_server *server)
{
	for (uint32_t relid = 1; relid <= server->max_relid; relid++) {
		const struct server_channel *channel = server->channels[relid];
		const struct server_gpadl *ring;

		if (!channel || !channel->device || !channel->restored)
			continue;
		/* Sub-channels are rescinded when their primary channel closes. */
		if (channel->sub_index > 0 && !channel->device->channels[0]->want_open)
			return -EPROTO;
		if (!channel->want_open)
			continue;
		ring = gpadl_find(server, channel->request.ring_gpadl_id);
		if (!ring || ring->channel != channel || !ring->gpadl ||
		    !channel_ring_fits(channel, ring))
			return -EPROTO;
	}
	return 0;
}

static bool server_is_fresh(const struct vmbus_server *server)
{
	if (server->connection != CONNECTION_NONE || server->depth > 0 ||
	    server->restore.phase != RESTORE_NONE || server->gpadl_count > 0)
		return false;
	for (uint32_t relid = 1; relid <= server->max_relid; relid++) {
		const struct server_channel *channel = server->channels[relid];

		if (channel && (!channel->device || channel->sub_index > 0 || channel->rescinded ||
				channel->restored))
			return false;
	}
	return true;
}

/* ---- the walk ---- */

static void channels_open(struct vmbus_server *server, bool subs)
{
	for (uint32_t relid = 1; relid <= server->max_relid; relid++) {
		struct server_channel *channel = server->channels[relid];

		if (!channel || !channel->want_open || (channel->sub_index > 0) != subs)
			continue;
		channel->want_open = false;
		server->restore.pending++;
		channel_open_start(channel, gpadl_find(server, channel->request.ring_gpadl_id),
				   true);
	}
}

static void phase_start(struct vmbus_server *server)
{
	switch (server->restore.phase) {
	case RESTORE_GPADLS:
		gpadl_restore_start(server);
		break;
	case RESTORE_PRIMARIES:
		channels_open(server, false);
		break;
	default:
		channels_open(server, true);
		break;
	}
}

void restore_note(struct vmbus_server *server, uint32_t answered, int status)
{
	server->restore.pending -= answered;
	if (status < 0 && server->restore.status == 0)
		server->restore.status = status;
}

void restore_settle(struct vmbus_server *server)
{
	struct server_restore *restore = &server->restore;

	if (restore->phase == RESTORE_FAILED || restore->pending > 0)
		return;
	if (restore->status < 0) {
		restore->phase = RESTORE_FAILED;
		return;
	}
	if (restore->phase == RESTORE_SUBS) {
		restore->phase = RESTORE_NONE;
		if (server->version != 0)
			server->connection = CONNECTION_UP;
	} else {
		restore->phase++;
		phase_start(server);
	}
	server->unsettled = true;
}

void restore_report(struct vmbus_server *server)
{
	struct server_restore *restore = &server->restore;
	void (*done)(void *ctx, int status) = restore->done;

	if (!done || (restore->phase != RESTORE_NONE && restore->phase != RESTORE_FAILED))
		return;
	restore->done = NULL;
	done(restore->ctx, restore->status);
}

int vmbus_server_restore(struct vmbus_server *server, struct state_reader *section,
			 void (*done)(void *ctx, int status), void *ctx)
{
	int rc;

	if (!server_is_fresh(server))
		return -EINVAL;
	rc = parts_read(server, section);
	if (rc == 0)
		rc = channels_check(server);
	if (rc < 0) {
		log_warn_limited("the saved state of the bus is refused: %s", strerror(-rc));
		server->restore.phase = RESTORE_FAILED;
		return rc;
	}
	server_enter(server);
	server->restore.done = done;
	server->restore.ctx = ctx;
	server->restore.phase = RESTORE_GPADLS;
	phase_start(server);
	server_leave(server);
	return 0;
}
