/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * GPADLs of the VMBus server: put together from header and bodies, handed to the device, and taken
 * back after the last user has let go. Ids are the guest's and must be unique on the bus, since
 * bodies and TORNDOWN name no channel.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "vmbus/gpadl.h"
#include "vmbus/server_internal.h"

#define LOG_COMPONENT "vmbus"

static struct server_gpadl **bucket_of(struct vmbus_server *server, uint32_t id)
{
	return &server->gpadls[id % SERVER_GPADL_BUCKETS];
}

struct server_gpadl *gpadl_find(struct vmbus_server *server, uint32_t id)
{
	struct server_gpadl *gpadl = *bucket_of(server, id);

	while (gpadl && gpadl->id != id)
		gpadl = gpadl->next;
	return gpadl;
}

struct server_gpadl *gpadl_find_usable(struct server_channel *channel, uint32_t id)
{
	struct server_gpadl *gpadl = gpadl_find(channel->server, id);

	if (!gpadl || gpadl->channel != channel || gpadl->state != GPADL_LIVE ||
	    gpadl->want_teardown)
		return NULL;
	return gpadl;
}

static void post_created(struct vmbus_server *server, uint32_t relid, uint32_t id, int status)
{
	struct vmbus_gpadl_created message = {0};

	message.header.type = VMBUS_GPADL_CREATED;
	message.relid = relid;
	message.gpadl_id = id;
	message.status = status == 0 ? VMBUS_STATUS_SUCCESS : VMBUS_STATUS_UNSUCCESSFUL;
	server_post(server, &message, sizeof(message));
}

static void post_torndown(struct vmbus_server *server, uint32_t id)
{
	struct vmbus_gpadl_torndown message = {0};

	message.header.type = VMBUS_GPADL_TORNDOWN;
	message.gpadl_id = id;
	server_post(server, &message, sizeof(message));
}

static void gpadl_destroy(struct server_gpadl *gpadl)
{
	free(gpadl->bytes);
	gpadl_free(gpadl->gpadl);
	free(gpadl);
}

static int gpadl_add(struct server_channel *channel, uint32_t id, uint16_t range_count,
		     uint16_t ranges_bytes)
{
	struct vmbus_server *server = channel->server;
	struct server_gpadl **end = bucket_of(server, id);
	struct server_gpadl *made;

	for (; *end; end = &(*end)->next) {
		if ((*end)->id == id)
			return -EEXIST;
	}
	/* Each range has a header and one page number at least. */
	if (range_count == 0 || ranges_bytes / 16 < range_count)
		return -EINVAL;
	if (server->gpadl_count >= SERVER_MAX_GPADLS ||
	    server->gpadl_bytes + ranges_bytes > SERVER_MAX_GPADL_BYTES)
		return -ENOSPC;
	made = calloc(1, sizeof(*made));
	if (!made)
		return -ENOMEM;
	made->bytes = malloc(ranges_bytes);
	if (!made->bytes) {
		free(made);
		return -ENOMEM;
	}
	made->channel = channel;
	made->id = id;
	made->range_count = range_count;
	made->expected_bytes = ranges_bytes;
	*end = made;
	server->gpadl_count++;
	server->gpadl_bytes += made->expected_bytes;
	channel->gpadl_count++;
	return 0;
}

/* All bytes are here: check them and hand the list to the device. */
static void gpadl_complete(struct vmbus_server *server, struct server_gpadl *gpadl)
{
	struct server_channel *channel = gpadl->channel;
	struct vmbus_device *device = channel->device;
	int rc = gpadl_parse(gpadl->id, gpadl->range_count, gpadl->bytes, gpadl->expected_bytes,
			     &gpadl->gpadl);

	free(gpadl->bytes);
	gpadl->bytes = NULL;
	if (rc < 0) {
		log_warn_limited("GPADL %#x of channel %u is malformed", gpadl->id, channel->relid);
		gpadl->state = GPADL_GONE;
		post_created(server, channel->relid, gpadl->id, rc);
		return;
	}
	gpadl->state = GPADL_OFFERED;
	device->ops->gpadl_created(device->ctx, channel->sub_index, gpadl->gpadl);
}

/* More bytes than were declared are padding. */
static void gpadl_append(struct vmbus_server *server, struct server_gpadl *gpadl,
			 const uint8_t *bytes, size_t length)
{
	size_t missing = gpadl->expected_bytes - gpadl->received_bytes;

	if (length > missing)
		length = missing;
	memcpy(gpadl->bytes + gpadl->received_bytes, bytes, length);
	gpadl->received_bytes += length;
	if (gpadl->received_bytes == gpadl->expected_bytes)
		gpadl_complete(server, gpadl);
}

void gpadl_on_header(struct vmbus_server *server, const void *message, size_t length)
{
	struct vmbus_gpadl_header header;
	struct server_channel *channel;
	int rc;

	memcpy(&header, message, sizeof(header));
	channel = channel_find(server, header.relid);
	rc = channel ? gpadl_add(channel, header.gpadl_id, header.range_count, header.ranges_bytes)
		     : -ENOENT;
	if (rc < 0) {
		log_warn_limited("GPADL %#x for channel %u refused: %s", header.gpadl_id,
				 header.relid, strerror(-rc));
		post_created(server, header.relid, header.gpadl_id, rc);
		return;
	}
	gpadl_append(server, gpadl_find(server, header.gpadl_id),
		     (const uint8_t *)message + sizeof(header), length - sizeof(header));
}

void gpadl_on_body(struct vmbus_server *server, const void *message, size_t length)
{
	struct vmbus_gpadl_body body;
	struct server_gpadl *gpadl;

	memcpy(&body, message, sizeof(body));
	gpadl = gpadl_find(server, body.gpadl_id);
	if (!gpadl || gpadl->state != GPADL_ASSEMBLING) {
		log_warn_limited("body for GPADL %#x, which waits for none", body.gpadl_id);
		return;
	}
	gpadl_append(server, gpadl, (const uint8_t *)message + sizeof(body), length - sizeof(body));
}

void gpadl_on_teardown(struct vmbus_server *server, const void *message, size_t length)
{
	struct vmbus_gpadl_teardown teardown;
	struct server_gpadl *gpadl;

	(void)length;
	memcpy(&teardown, message, sizeof(teardown));
	gpadl = gpadl_find(server, teardown.gpadl_id);
	if (!gpadl || gpadl->channel->relid != teardown.relid || gpadl->state == GPADL_GONE ||
	    gpadl->answer_teardown) {
		log_warn_limited("teardown of GPADL %#x, which channel %u has not",
				 teardown.gpadl_id, teardown.relid);
		return;
	}
	gpadl->want_teardown = true;
	gpadl->answer_teardown = true;
}

void gpadl_abandon(struct vmbus_server *server, const struct server_channel *channel)
{
	for (size_t i = 0; i < SERVER_GPADL_BUCKETS; i++) {
		for (struct server_gpadl *gpadl = server->gpadls[i]; gpadl; gpadl = gpadl->next) {
			if (!channel || gpadl->channel == channel)
				gpadl->want_teardown = true;
		}
	}
}

static bool gpadl_in_use(const struct server_gpadl *gpadl)
{
	return gpadl->channel->ring == gpadl && gpadl->channel->state != CHANNEL_CLOSED;
}

/* Does what the GPADL's time has come for. */
static void gpadl_settle(struct vmbus_server *server, struct server_gpadl *gpadl)
{
	struct server_channel *channel = gpadl->channel;
	struct vmbus_device *device = channel->device;

	if (!gpadl->want_teardown)
		return;
	if (gpadl->state == GPADL_ASSEMBLING) {
		gpadl->state = GPADL_GONE;
		if (gpadl->answer_teardown)
			post_torndown(server, gpadl->id);
	} else if (gpadl->state == GPADL_LIVE && !gpadl_in_use(gpadl)) {
		gpadl->state = GPADL_TEARING_DOWN;
		device->ops->gpadl_teardown(device->ctx, channel->sub_index, gpadl->id);
	}
}

/* Frees the bucket's GPADLs that are gone. No op is on the stack here. */
static void bucket_reap(struct vmbus_server *server, struct server_gpadl **at)
{
	while (*at) {
		struct server_gpadl *gpadl = *at;

		if (gpadl->state != GPADL_GONE) {
			at = &gpadl->next;
			continue;
		}
		*at = gpadl->next;
		server->gpadl_count--;
		server->gpadl_bytes -= gpadl->expected_bytes;
		gpadl->channel->gpadl_count--;
		if (gpadl->channel->ring == gpadl)
			gpadl->channel->ring = NULL;
		gpadl_destroy(gpadl);
		server->unsettled = true;
	}
}

void gpadl_settle_all(struct vmbus_server *server)
{
	if (server->gpadl_count == 0)
		return;
	for (size_t i = 0; i < SERVER_GPADL_BUCKETS; i++) {
		for (struct server_gpadl *gpadl = server->gpadls[i]; gpadl; gpadl = gpadl->next)
			gpadl_settle(server, gpadl);
		bucket_reap(server, &server->gpadls[i]);
	}
}

void gpadl_free_all(struct vmbus_server *server)
{
	for (size_t i = 0; i < SERVER_GPADL_BUCKETS; i++) {
		while (server->gpadls[i]) {
			struct server_gpadl *gpadl = server->gpadls[i];

			server->gpadls[i] = gpadl->next;
			gpadl_destroy(gpadl);
		}
	}
	server->gpadl_count = 0;
}

/* ---- restore ---- */

int gpadl_restore(struct server_channel *channel, const struct saved_gpadl *saved)
{
	int rc = gpadl_add(channel, saved->id, saved->range_count, saved->expected_bytes);
	struct server_gpadl *gpadl;

	if (rc < 0)
		return rc == -ENOMEM ? rc : -EPROTO;
	gpadl = gpadl_find(channel->server, saved->id);
	if (!saved->live) {
		if (saved->length >= gpadl->expected_bytes)
			return -EPROTO;
		memcpy(gpadl->bytes, saved->bytes, saved->length);
		gpadl->received_bytes = saved->length;
		return 0;
	}
	free(gpadl->bytes);
	gpadl->bytes = NULL;
	if (saved->length != gpadl->expected_bytes)
		return -EPROTO;
	rc = gpadl_parse(gpadl->id, gpadl->range_count, saved->bytes, saved->length, &gpadl->gpadl);
	if (rc < 0)
		return rc == -ENOMEM ? rc : -EPROTO;
	gpadl->received_bytes = saved->length;
	gpadl->state = GPADL_OFFERED;
	gpadl->want_teardown = saved->torn_down;
	gpadl->answer_teardown = saved->torn_down;
	return 0;
}

void gpadl_restore_start(struct vmbus_server *server)
{
	for (size_t i = 0; i < SERVER_GPADL_BUCKETS; i++) {
		for (struct server_gpadl *gpadl = server->gpadls[i]; gpadl; gpadl = gpadl->next) {
			const struct server_channel *channel = gpadl->channel;
			const struct vmbus_device *device = channel->device;

			if (gpadl->state != GPADL_OFFERED)
				continue;
			server->restore.pending++;
			device->ops->gpadl_created(device->ctx, channel->sub_index, gpadl->gpadl);
		}
	}
}

/* ---- completions ---- */

/* The device's GPADL in the state that its call belongs to, or NULL for a call that we did not wait
 * for. */
static struct server_gpadl *gpadl_of_device(struct vmbus_device *device, uint32_t sub_index,
					    uint32_t id, enum gpadl_state state)
{
	struct server_gpadl *gpadl = gpadl_find(device->server, id);

	if (!gpadl || gpadl->channel->device != device || gpadl->channel->sub_index != sub_index ||
	    gpadl->state != state) {
		log_error_limited("a device finished with GPADL %#x, which it did not have", id);
		return NULL;
	}
	return gpadl;
}

void vmbus_server_gpadl_done(struct vmbus_device *device, uint32_t sub_index, uint32_t gpadl_id,
			     int status)
{
	struct vmbus_server *server = device->server;
	struct server_gpadl *gpadl;

	server_enter(server);
	gpadl = gpadl_of_device(device, sub_index, gpadl_id, GPADL_OFFERED);
	if (gpadl) {
		gpadl->state = status == 0 ? GPADL_LIVE : GPADL_GONE;
		if (server->restore.phase != RESTORE_NONE)
			restore_note(server, 1, status);
		if (!gpadl->channel->rescinded)
			post_created(server, gpadl->channel->relid, gpadl_id, status);
		if (status != 0 && gpadl->answer_teardown)
			post_torndown(server, gpadl_id);
	}
	server_leave(server);
}

void vmbus_server_gpadl_teardown_done(struct vmbus_device *device, uint32_t sub_index,
				      uint32_t gpadl_id)
{
	struct vmbus_server *server = device->server;
	struct server_gpadl *gpadl;

	server_enter(server);
	gpadl = gpadl_of_device(device, sub_index, gpadl_id, GPADL_TEARING_DOWN);
	if (gpadl) {
		gpadl->state = GPADL_GONE;
		if (gpadl->answer_teardown)
			post_torndown(server, gpadl_id);
	}
	server_leave(server);
}
