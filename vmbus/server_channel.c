/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Channels of the VMBus server: devices and their offers, open, close, modify, rescind. A channel
 * has one state of its own and a few wishes (want_close, want_open, want_modify); channel_settle()
 * turns a wish into a device call when the state allows it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "vmbus/event_signal.h"
#include "vmbus/gpadl.h"
#include "vmbus/server_internal.h"

#define LOG_COMPONENT "vmbus"

#define RING_MIN_PAGES 2 /* a control page and one of data */

/* The guest signals this id; it fits 24 bits and cannot be a message port. Observed: OpenVMM
 * ConnectionId. */
static uint32_t connection_id_of(const struct server_channel *channel)
{
	return channel->relid | VMBUS_SINT << 12;
}

struct server_channel *channel_find(struct vmbus_server *server, uint32_t relid)
{
	struct server_channel *channel;

	if (relid == 0 || relid > server->max_relid)
		return NULL;
	channel = server->channels[relid];
	return channel && channel->offered && !channel->rescinded ? channel : NULL;
}

/* ---- offers ---- */

static void post_offer(const struct server_channel *channel)
{
	const struct vmbus_offer *offer = &channel->device->offer;
	struct vmbus_offer_channel message = {0};

	message.header.type = VMBUS_OFFER_CHANNEL;
	memcpy(message.interface_type, offer->interface_type.bytes, 16);
	memcpy(message.interface_id, offer->interface_id.bytes, 16);
	message.flags = offer->channel_flags;
	message.mmio_megabytes = offer->mmio_megabytes;
	memcpy(message.user_defined, offer->user_defined, sizeof(message.user_defined));
	message.sub_channel_index = (uint16_t)channel->sub_index;
	message.relid = channel->relid;
	message.is_dedicated = 1;
	message.connection_id = connection_id_of(channel);
	server_post(channel->server, &message, sizeof(message));
}

static void channel_offer(struct server_channel *channel)
{
	channel->offered = true;
	post_offer(channel);
}

uint32_t channel_free_relid(const struct vmbus_server *server)
{
	for (uint32_t relid = 1; relid <= VMBUS_MAX_CHANNELS; relid++) {
		if (!server->channels[relid])
			return relid;
	}
	return 0;
}

struct server_channel *channel_make(struct vmbus_server *server, uint32_t relid,
				    const struct vmbus_guid *interface_id, uint32_t sub_index)
{
	struct server_channel *made = calloc(1, sizeof(*made));

	if (!made)
		return NULL;
	made->server = server;
	made->interface_id = *interface_id;
	made->relid = relid;
	made->sub_index = sub_index;
	server->channels[relid] = made;
	if (relid > server->max_relid)
		server->max_relid = relid;
	return made;
}

/* Adds a channel to its device. Returns 0, -ENOSPC or -ENOMEM. */
static int channel_add(struct vmbus_device *device, uint32_t sub_index)
{
	uint32_t relid = channel_free_relid(device->server);
	struct server_channel *made;

	if (relid == 0)
		return -ENOSPC;
	made = channel_make(device->server, relid, &device->offer.interface_id, sub_index);
	if (!made)
		return -ENOMEM;
	made->device = device;
	device->channels[sub_index] = made;
	return 0;
}

static bool interface_is_taken(const struct vmbus_server *server, const struct vmbus_guid *id)
{
	for (uint32_t relid = 1; relid <= server->max_relid; relid++) {
		const struct server_channel *channel = server->channels[relid];

		if (channel && memcmp(&channel->interface_id, id, sizeof(*id)) == 0)
			return true;
	}
	return false;
}

int vmbus_server_add_device(struct vmbus_server *server, const struct vmbus_offer *offer,
			    const struct vmbus_device_ops *ops, void *ctx,
			    struct vmbus_device **device)
{
	struct vmbus_device *made;
	int rc;

	if (offer->max_sub_channels >= VMBUS_MAX_CHANNELS)
		return -ENOSPC;
	if (interface_is_taken(server, &offer->interface_id))
		return -EEXIST;
	made = calloc(1, sizeof(*made));
	if (!made)
		return -ENOMEM;
	made->channels = calloc(offer->max_sub_channels + 1, sizeof(struct server_channel *));
	if (!made->channels) {
		rc = -ENOMEM;
		goto err_free;
	}
	made->server = server;
	made->ops = ops;
	made->ctx = ctx;
	made->offer = *offer;
	rc = channel_add(made, 0);
	if (rc < 0)
		goto err_free_channels;
	made->next = server->devices;
	server->devices = made;
	*device = made;
	if (server->connection == CONNECTION_UP && server->offers_sent)
		channel_offer(made->channels[0]);
	return 0;

err_free_channels:
	free(made->channels);
err_free:
	free(made);
	return rc;
}

int vmbus_device_offer_sub_channels(struct vmbus_device *device, uint32_t count)
{
	const struct server_channel *primary = device->channels[0];

	if (count > device->offer.max_sub_channels)
		return -EINVAL;
	if (!primary || primary->state != CHANNEL_OPEN || primary->want_close ||
	    device->server->restore.phase != RESTORE_NONE)
		return -ENOTCONN;
	for (uint32_t i = 1; i <= count; i++) {
		int rc;

		if (device->channels[i])
			continue;
		rc = channel_add(device, i);
		if (rc < 0)
			return rc;
		channel_offer(device->channels[i]);
	}
	return 0;
}

void channel_offer_all(struct vmbus_server *server)
{
	for (uint32_t relid = 1; relid <= server->max_relid; relid++) {
		struct server_channel *channel = server->channels[relid];

		if (channel && channel->device && !channel->rescinded && !channel->offered)
			channel_offer(channel);
	}
}

/* ---- rescind ---- */

static void channel_close_wanted(struct server_channel *channel)
{
	channel->want_close = true;
	channel->want_modify = false;
}

/* The channel is to go: it is closed, its GPADLs are taken back, and the guest is asked to release
 * its relid. */
static void channel_rescind(struct server_channel *channel)
{
	struct vmbus_relid_message message = {0};

	if (channel->rescinded)
		return;
	channel->rescinded = true;
	channel->want_open = false;
	channel_close_wanted(channel);
	gpadl_abandon(channel->server, channel);
	if (!channel->offered)
		return;
	message.header.type = VMBUS_RESCIND_CHANNEL_OFFER;
	message.relid = channel->relid;
	server_post(channel->server, &message, sizeof(message));
}

/* Sub-channels live as long as their primary channel is open: the guest asks for new ones when it
 * opens it again. */
static void sub_channels_rescind(struct vmbus_device *device)
{
	for (uint32_t i = device->offer.max_sub_channels; i > 0; i--) {
		if (device->channels[i])
			channel_rescind(device->channels[i]);
	}
}

void vmbus_device_rescind(struct vmbus_device *device)
{
	struct vmbus_server *server = device->server;

	server_enter(server);
	device->rescinded = true;
	if (server->restore.phase != RESTORE_NONE) {
		restore_note(server, 0, -ENODEV);
	} else {
		sub_channels_rescind(device);
		if (device->channels[0])
			channel_rescind(device->channels[0]);
	}
	server_leave(server);
}

void channel_on_released(struct vmbus_server *server, const void *message, size_t length)
{
	struct vmbus_relid_message released;
	struct server_channel *channel;

	(void)length;
	memcpy(&released, message, sizeof(released));
	channel = released.relid <= server->max_relid ? server->channels[released.relid] : NULL;
	if (!channel || !channel->offered ||
	    (!channel->rescinded && channel->state != CHANNEL_CLOSED)) {
		log_warn_limited("channel %u released, which the guest has not or has open",
				 released.relid);
		return;
	}
	channel->offered = false;
	channel->want_open = false;
	gpadl_abandon(server, channel);
	/* A sub-channel is never offered again: the next one gets a relid of its own. */
	if (channel->sub_index > 0)
		channel->rescinded = true;
}

/* ---- open ---- */

static void post_open_result(struct server_channel *channel, int status)
{
	struct vmbus_open_result message = {0};

	if (channel->rescinded)
		return;
	message.header.type = VMBUS_OPEN_CHANNEL_RESULT;
	message.relid = channel->relid;
	message.open_id = channel->request.open_id;
	message.status = status == 0 ? VMBUS_STATUS_SUCCESS : VMBUS_STATUS_UNSUCCESSFUL;
	server_post(channel->server, &message, sizeof(message));
}

void channel_on_open(struct vmbus_server *server, const void *message, size_t length)
{
	struct vmbus_open_channel request;
	struct server_channel *channel;

	(void)length;
	memcpy(&request, message, sizeof(request));
	channel = channel_find(server, request.relid);
	/* While the last close is on its way the guest may open already: CLOSE has no answer. */
	if (!channel || channel->want_open || channel->state == CHANNEL_OPENING ||
	    (channel->state == CHANNEL_OPEN && !channel->want_close)) {
		log_warn_limited("open of channel %u, which is open or not offered", request.relid);
		return;
	}
	channel->request = request;
	channel->want_open = true;
}

bool channel_ring_fits(const struct server_channel *channel, const struct server_gpadl *ring)
{
	const struct vmbus_open_channel *request = &channel->request;
	const struct gpadl_range *range = &ring->gpadl->ranges[0];

	if (ring->gpadl->range_count != 1 || range->byte_offset != 0 ||
	    request->downstream_page_offset < RING_MIN_PAGES ||
	    range->page_count < RING_MIN_PAGES ||
	    request->downstream_page_offset > range->page_count - RING_MIN_PAGES)
		return false;
	return request->target_vp == VMBUS_NO_INTERRUPTS ||
	       request->target_vp < channel->server->vp_count;
}

/* The ring's GPADL if the request can be granted, else NULL. */
static struct server_gpadl *open_check(struct server_channel *channel)
{
	struct server_gpadl *ring = gpadl_find_usable(channel, channel->request.ring_gpadl_id);

	if (!ring || !channel_ring_fits(channel, ring))
		return NULL;
	if (channel->sub_index > 0 && channel->device->channels[0]->state != CHANNEL_OPEN)
		return NULL;
	return ring;
}

static void channel_open_begin(struct server_channel *channel)
{
	struct server_gpadl *ring = open_check(channel);

	channel->want_open = false;
	if (!ring) {
		log_warn_limited("open of channel %u refused: bad ring or VP", channel->relid);
		post_open_result(channel, -EINVAL);
		return;
	}
	channel_open_start(channel, ring, false);
}

void channel_open_start(struct server_channel *channel, struct server_gpadl *ring, bool restored)
{
	const struct vmbus_device *device = channel->device;
	struct vmbus_open_request request = {0};

	channel->ring = ring;
	channel->state = CHANNEL_OPENING;
	request.relid = channel->relid;
	request.connection_id = connection_id_of(channel);
	request.sub_index = channel->sub_index;
	request.gpadl_id = ring->id;
	request.gpadl = ring->gpadl;
	request.downstream_page_offset = channel->request.downstream_page_offset;
	request.target_vp = channel->request.target_vp;
	request.restored = restored;
	memcpy(request.user_data, channel->request.user_data, sizeof(request.user_data));
	device->ops->channel_open(device->ctx, &request);
}

/* ---- close and modify ---- */

void channel_on_close(struct vmbus_server *server, const void *message, size_t length)
{
	struct vmbus_relid_message close;
	struct server_channel *channel;

	(void)length;
	memcpy(&close, message, sizeof(close));
	channel = channel_find(server, close.relid);
	if (!channel) {
		log_warn_limited("close of channel %u, which is not offered", close.relid);
		return;
	}
	if (channel->want_open) {
		channel->want_open = false;
		post_open_result(channel, -ECANCELED);
		return;
	}
	if (channel->state != CHANNEL_OPENING && channel->state != CHANNEL_OPEN) {
		log_warn_limited("close of channel %u, which is not open", close.relid);
		return;
	}
	if (channel->sub_index == 0)
		sub_channels_rescind(channel->device);
	channel_close_wanted(channel);
}

static void post_modify_response(struct server_channel *channel, uint32_t relid, int status)
{
	struct vmbus_modify_channel_response message = {0};

	if (channel->server->version < VMBUS_VERSION_5_3)
		return;
	message.header.type = VMBUS_MODIFY_CHANNEL_RESPONSE;
	message.relid = relid;
	message.status = status == 0 ? VMBUS_STATUS_SUCCESS : VMBUS_STATUS_UNSUCCESSFUL;
	server_post(channel->server, &message, sizeof(message));
}

/* Whether the guest may aim this channel's interrupts at that VP now. */
static bool modify_check(const struct server_channel *channel, uint32_t target_vp)
{
	return channel->state == CHANNEL_OPEN && !channel->want_close &&
	       channel->request.target_vp != VMBUS_NO_INTERRUPTS &&
	       target_vp < channel->server->vp_count;
}

void channel_on_modify(struct vmbus_server *server, const void *message, size_t length)
{
	struct vmbus_modify_channel modify;
	struct server_channel *channel;

	(void)length;
	memcpy(&modify, message, sizeof(modify));
	channel = channel_find(server, modify.relid);
	if (!channel) {
		log_warn_limited("modify of channel %u, which is not offered", modify.relid);
		return;
	}
	/* From 5.3 on the guest waits for the answer before it asks again; before, the last
	 * target asked for counts. */
	if (!modify_check(channel, modify.target_vp) ||
	    (channel->modifying && server->version >= VMBUS_VERSION_5_3)) {
		log_warn_limited("modify of channel %u refused", modify.relid);
		post_modify_response(channel, modify.relid, -EINVAL);
		return;
	}
	channel->want_modify = true;
	channel->modify_target = modify.target_vp;
}

/* ---- settling ---- */

static bool channel_is_quiet(const struct server_channel *channel)
{
	return channel->state == CHANNEL_CLOSED && !channel->modifying;
}

/* Whether a primary channel must wait for its sub-channels: all closed before it closes, all gone
 * before it opens. */
static bool subs_in_the_way(const struct server_channel *channel)
{
	const struct vmbus_device *device = channel->device;

	if (channel->sub_index > 0)
		return false;
	for (uint32_t i = 1; i <= device->offer.max_sub_channels; i++) {
		const struct server_channel *sub = device->channels[i];

		if (sub && (channel->state == CHANNEL_CLOSED || !channel_is_quiet(sub)))
			return true;
	}
	return false;
}

/* The device has nothing to do with a rescinded channel any more. */
static void channel_let_go(struct server_channel *channel)
{
	channel->device->channels[channel->sub_index] = NULL;
	channel->device = NULL;
	channel->server->unsettled = true;
}

static void channel_settle(struct server_channel *channel)
{
	const struct vmbus_device *device = channel->device;

	if (channel->state == CHANNEL_OPEN && channel->want_close && !channel->modifying) {
		if (subs_in_the_way(channel))
			return;
		channel->want_close = false;
		channel->state = CHANNEL_CLOSING;
		device->ops->channel_close(device->ctx, channel->sub_index);
	} else if (channel->state == CHANNEL_OPEN && channel->want_modify && !channel->modifying) {
		channel->want_modify = false;
		channel->modifying = true;
		channel->request.target_vp = channel->modify_target;
		device->ops->channel_modify(device->ctx, channel->sub_index,
					    channel->modify_target);
	} else if (channel->state == CHANNEL_CLOSED && channel->rescinded) {
		if (channel->gpadl_count == 0)
			channel_let_go(channel);
	} else if (channel->state == CHANNEL_CLOSED && channel->want_open) {
		if (!subs_in_the_way(channel))
			channel_open_begin(channel);
	}
}

static void channel_free(struct server_channel *channel)
{
	channel->server->channels[channel->relid] = NULL;
	free(channel);
}

/* Frees rescinded devices that have no channel left. */
static void devices_reap(struct vmbus_server *server)
{
	struct vmbus_device **at = &server->devices;

	while (*at) {
		struct vmbus_device *device = *at;
		bool busy = !device->rescinded;

		for (uint32_t i = 0; i <= device->offer.max_sub_channels; i++)
			busy |= device->channels[i] != NULL;
		if (busy) {
			at = &device->next;
			continue;
		}
		*at = device->next;
		if (device->ops->removed)
			device->ops->removed(device->ctx);
		free(device->channels);
		free(device);
		/* The op may have added a device: start again. */
		at = &server->devices;
	}
}

void channel_settle_all(struct vmbus_server *server)
{
	for (uint32_t relid = 1; relid <= server->max_relid; relid++) {
		struct server_channel *channel = server->channels[relid];

		if (!channel)
			continue;
		if (channel->device)
			channel_settle(channel);
		if (!channel->device && !channel->offered)
			channel_free(channel);
	}
	devices_reap(server);
}

/* ---- the connection ends ---- */

void channel_disconnect_all(struct vmbus_server *server)
{
	for (uint32_t relid = 1; relid <= server->max_relid; relid++) {
		struct server_channel *channel = server->channels[relid];

		if (!channel)
			continue;
		channel->want_open = false;
		if (channel->state == CHANNEL_OPENING || channel->state == CHANNEL_OPEN)
			channel_close_wanted(channel);
	}
}

bool channel_all_quiet(const struct vmbus_server *server)
{
	for (uint32_t relid = 1; relid <= server->max_relid; relid++) {
		if (server->channels[relid] && !channel_is_quiet(server->channels[relid]))
			return false;
	}
	return true;
}

/* Nothing is open: the guest's claim to every relid ends. Sub-channels belong to the connection and
 * go with it. */
void channel_forget_all(struct vmbus_server *server)
{
	for (uint32_t relid = 1; relid <= server->max_relid; relid++) {
		struct server_channel *channel = server->channels[relid];

		if (!channel)
			continue;
		channel->offered = false;
		if (channel->sub_index > 0)
			channel->rescinded = true;
	}
	channel_settle_all(server);
}

/* ---- completions ---- */

/* The device's channel in the state that its call belongs to, or NULL for a call that we did not
 * wait for. */
static struct server_channel *channel_of_device(struct vmbus_device *device, uint32_t sub_index,
						enum channel_state state)
{
	struct server_channel *channel =
		sub_index <= device->offer.max_sub_channels ? device->channels[sub_index] : NULL;

	if (!channel || channel->state != state) {
		log_error_limited("a device finished what sub-channel %u did not ask for",
				  sub_index);
		return NULL;
	}
	return channel;
}

void vmbus_server_open_done(struct vmbus_device *device, uint32_t sub_index, int status)
{
	struct vmbus_server *server = device->server;
	struct server_channel *channel;

	server_enter(server);
	channel = channel_of_device(device, sub_index, CHANNEL_OPENING);
	if (channel) {
		channel->state = status == 0 ? CHANNEL_OPEN : CHANNEL_CLOSED;
		if (status != 0)
			channel->want_close = false;
		if (server->restore.phase != RESTORE_NONE)
			restore_note(server, 1, status);
		post_open_result(channel, status);
		if (status == 0 && !channel->rescinded && server->connection == CONNECTION_UP &&
		    server->ops->channel_opened)
			server->ops->channel_opened(server->ctx, channel->relid,
						    channel->request.target_vp);
	}
	server_leave(server);
}

void vmbus_server_close_done(struct vmbus_device *device, uint32_t sub_index)
{
	struct vmbus_server *server = device->server;
	struct server_channel *channel;

	server_enter(server);
	channel = channel_of_device(device, sub_index, CHANNEL_CLOSING);
	if (channel)
		channel->state = CHANNEL_CLOSED;
	server_leave(server);
}

void vmbus_server_modify_done(struct vmbus_device *device, uint32_t sub_index, int status)
{
	struct vmbus_server *server = device->server;
	struct server_channel *channel;

	server_enter(server);
	channel = channel_of_device(device, sub_index, CHANNEL_OPEN);
	if (channel && channel->modifying) {
		channel->modifying = false;
		if (!channel->rescinded)
			post_modify_response(channel, channel->relid, status);
	}
	server_leave(server);
}
