/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A virtual NIC as the guest's VMBus sees it: what the guest does with its channels and GPADLs goes
 * to netvspd as requests, and their answers back to the bus. When the link to netvspd is lost, the
 * device is rescinded and lives on, apart, until the guest has let go of it; its requests are then
 * answered here.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/log.h"
#include "hypervisor/engine.h"
#include "hypervisor/vm_config.h"
#include "hypervisor/vsp_client_internal.h"
#include "hypervisor/vsp_link.h"
#include "vmbus/event_signal.h"
#include "vmbus/gpadl.h"
#include "vmbus/guest_memory.h"
#include "vmbus/server.h"
#include "wire/vmbus.h"

#define LOG_COMPONENT "nic"

#define GPADL_RANGES_OFFSET offsetof(struct vsp_gpadl_add, ranges)

#define TAG(sub_index, gpadl_id) ((uint64_t)(sub_index) << 32 | (gpadl_id))
#define TAG_SUB(tag)		 ((uint32_t)((tag) >> 32))
#define TAG_GPADL(tag)		 ((uint32_t)(tag))
#define TAG_VP(tag)		 ((uint32_t)(tag))

static const struct vmbus_guid nic_interface = {VMBUS_INTERFACE_NIC};

/* The SINT2 fd of target_vp, behind fds[count]; returns the new count, or -EINVAL. */
static int target_fd_add(const struct vsp_client *client, uint32_t target_vp, int *fds, int count)
{
	struct engine_sint_fds sint;
	int result;

	if (target_vp == VMBUS_NO_INTERRUPTS)
		return count;
	result = client->config.engine->get_sint_fds(client->config.partition, target_vp, &sint);
	if (result)
		return result;
	fds[count] = sint.raise;
	return count + 1;
}

static void channel_disconnect(struct vsp_device *nic, uint32_t sub_index)
{
	const struct vsp_client_config *config = &nic->owner->config;
	struct nic_channel *channel = &nic->channels[sub_index];

	if (channel->kick < 0)
		return;
	config->engine->disconnect_event(config->partition, channel->connection_id);
	close(channel->kick);
	channel->kick = -1;
	channel->open = false;
}

static struct nic_gpadl *gpadl_find(const struct vsp_device *nic, uint32_t gpadl_id)
{
	struct nic_gpadl *at;

	LIST_FOREACH(at, &nic->gpadls, link)
	if (at->gpadl->id == gpadl_id)
		return at;
	return NULL;
}

static void gpadl_forget(struct nic_gpadl *gpadl)
{
	if (!gpadl)
		return;
	LIST_REMOVE(gpadl, link);
	free(gpadl);
}

struct vsp_header *vsp_device_gpadl_message(const struct gpadl *gpadl)
{
	size_t ranges_bytes = gpadl_encode(gpadl, NULL, 0);
	struct vsp_gpadl_add *message = calloc(1, sizeof(*message) + ranges_bytes);

	if (!message)
		return NULL;
	vsp_header_fill(message, VSP_GPADL_ADD, GPADL_RANGES_OFFSET + ranges_bytes);
	message->gpadl_id = gpadl->id;
	message->range_count = gpadl->range_count;
	gpadl_encode(gpadl, message->ranges, ranges_bytes);
	return &message->header;
}

static void on_gpadl_added(void *ctx, uint64_t tag, int status, const struct vsp_header *reply);

static int gpadl_add(struct vsp_device *nic, uint32_t sub_index, const struct gpadl *gpadl)
{
	struct vsp_header *message;
	struct nic_gpadl *kept;
	int result;

	if (!vsp_device_link(nic))
		return -ENOTCONN;
	if (gpadl_encode(gpadl, NULL, 0) > VSP_MAX_MESSAGE_BYTES - GPADL_RANGES_OFFSET)
		return -E2BIG;
	message = vsp_device_gpadl_message(gpadl);
	kept = calloc(1, sizeof(*kept));
	result = message && kept ? vsp_link_request(nic->client->link, message, NULL, 0,
						    on_gpadl_added, nic, TAG(sub_index, gpadl->id))
				 : -ENOMEM;
	free(message);
	if (result) {
		free(kept);
		return result;
	}
	kept->gpadl = gpadl;
	LIST_INSERT_HEAD(&nic->gpadls, kept, link);
	return 0;
}

/* ---- put off while netvspd is being recovered ---- */

static bool is_recovering(const struct vsp_device *nic)
{
	return nic->client && nic->client->move.recovering;
}

/* Returns false out of memory. */
static bool defer(struct vsp_device *nic, const struct nic_deferred *what)
{
	struct nic_deferred *kept = malloc(sizeof(*kept));

	if (!kept)
		return false;
	*kept = *what;
	STAILQ_INSERT_TAIL(&nic->deferred, kept, link);
	return true;
}

void vsp_device_run_deferred(struct vsp_device *nic)
{
	struct nic_deferred *deferred;

	while (!is_recovering(nic) && (deferred = STAILQ_FIRST(&nic->deferred)) != NULL) {
		STAILQ_REMOVE_HEAD(&nic->deferred, link);
		deferred->run(nic, deferred);
		free(deferred);
	}
}

static void nic_gpadl_created(void *ctx, uint32_t sub_index, const struct gpadl *gpadl);
static void nic_gpadl_teardown(void *ctx, uint32_t sub_index, uint32_t gpadl_id);
static void nic_channel_open(void *ctx, const struct vmbus_open_request *request);
static void nic_channel_close(void *ctx, uint32_t sub_index);
static void nic_channel_modify(void *ctx, uint32_t sub_index, uint32_t target_vp);

static void run_gpadl_created(struct vsp_device *nic, const struct nic_deferred *deferred)
{
	nic_gpadl_created(nic, deferred->sub_index, deferred->gpadl);
}

static void run_gpadl_teardown(struct vsp_device *nic, const struct nic_deferred *deferred)
{
	nic_gpadl_teardown(nic, deferred->sub_index, deferred->number);
}

static void run_channel_open(struct vsp_device *nic, const struct nic_deferred *deferred)
{
	nic_channel_open(nic, &deferred->request);
}

static void run_channel_close(struct vsp_device *nic, const struct nic_deferred *deferred)
{
	nic_channel_close(nic, deferred->sub_index);
}

static void run_channel_modify(struct vsp_device *nic, const struct nic_deferred *deferred)
{
	nic_channel_modify(nic, deferred->sub_index, deferred->number);
}

/* ---- the bus's calls ---- */

/* A request that was lost with the link, while the NIC will be recovered, is made again then. */
static bool retry_later(struct vsp_device *nic, const struct vsp_header *reply,
			const struct nic_deferred *what)
{
	return !reply && nic->client && vsp_recover_is_possible(nic->client) && defer(nic, what);
}

static void on_gpadl_added(void *ctx, uint64_t tag, int status, const struct vsp_header *reply)
{
	struct vsp_device *nic = ctx;
	struct nic_gpadl *gpadl = gpadl_find(nic, TAG_GPADL(tag));
	const struct nic_deferred again = {
		.run = run_gpadl_created,
		.sub_index = TAG_SUB(tag),
		.gpadl = gpadl ? gpadl->gpadl : NULL,
	};
	bool later = gpadl && retry_later(nic, reply, &again);

	if (status)
		gpadl_forget(gpadl);
	if (!later)
		vmbus_server_gpadl_done(nic->device, TAG_SUB(tag), TAG_GPADL(tag), status);
}

static void nic_gpadl_created(void *ctx, uint32_t sub_index, const struct gpadl *gpadl)
{
	const struct nic_deferred later = {
		.run = run_gpadl_created, .sub_index = sub_index, .gpadl = gpadl};
	struct vsp_device *nic = ctx;
	int result;

	if (is_recovering(nic))
		result = defer(nic, &later) ? 0 : -ENOMEM;
	else
		result = gpadl_add(nic, sub_index, gpadl);
	if (result)
		vmbus_server_gpadl_done(nic->device, sub_index, gpadl->id, result);
}

static void on_gpadl_removed(void *ctx, uint64_t tag, int status, const struct vsp_header *reply)
{
	struct vsp_device *nic = ctx;

	(void)status; /* it cannot be refused, and without netvspd nobody uses it */
	(void)reply;
	vmbus_server_gpadl_teardown_done(nic->device, TAG_SUB(tag), TAG_GPADL(tag));
}

/* Sends what netvspd must hear and cannot refuse. Without it the two would not agree any more on
 * what the guest has lent, so the link is given up instead: then netvspd lets go of everything.
 * Returns false where nothing was sent. */
static bool request_firmly(struct vsp_device *nic, struct vsp_header *message, vsp_reply_fn fn,
			   uint64_t tag)
{
	if (!vsp_device_link(nic))
		return false;
	if (!vsp_link_request(nic->client->link, message, NULL, 0, fn, nic, tag))
		return true;
	vsp_link_lose(nic->client->link, "a request could not be sent");
	return false;
}

static void nic_gpadl_teardown(void *ctx, uint32_t sub_index, uint32_t gpadl_id)
{
	const struct nic_deferred later = {
		.run = run_gpadl_teardown, .sub_index = sub_index, .number = gpadl_id};
	struct vsp_device *nic = ctx;
	struct vsp_gpadl_remove message = {.gpadl_id = gpadl_id};

	if (is_recovering(nic) && defer(nic, &later))
		return;
	gpadl_forget(gpadl_find(nic, gpadl_id));
	vsp_header_fill(&message, VSP_GPADL_REMOVE, sizeof(message));
	if (!request_firmly(nic, &message.header, on_gpadl_removed, TAG(sub_index, gpadl_id)))
		vmbus_server_gpadl_teardown_done(nic->device, sub_index, gpadl_id);
}

/* What the guest asked for when it opened the channel. */
static struct vmbus_open_request open_request_of(const struct nic_channel *channel,
						 uint32_t sub_index)
{
	struct vmbus_open_request request = {
		.relid = channel->relid,
		.connection_id = channel->connection_id,
		.sub_index = sub_index,
		.gpadl_id = channel->gpadl_id,
		.downstream_page_offset = channel->downstream_page_offset,
		.target_vp = channel->target_vp,
	};

	memcpy(request.user_data, channel->user_data, sizeof(request.user_data));
	return request;
}

static void on_channel_opened(void *ctx, uint64_t tag, int status, const struct vsp_header *reply)
{
	struct vsp_device *nic = ctx;
	uint32_t sub_index = TAG_SUB(tag);
	const struct nic_deferred again = {
		.run = run_channel_open,
		.request = open_request_of(&nic->channels[sub_index], sub_index),
	};
	bool later = retry_later(nic, reply, &again);

	nic->channels[sub_index].open = !status;
	if (status)
		channel_disconnect(nic, sub_index);
	if (later)
		return;
	if (!status && sub_index == 0 && nic->client)
		nic->client->status.link = VM_NIC_OPEN;
	vmbus_server_open_done(nic->device, sub_index, status);
}

/* The event port first: a guest may kick as soon as the channel is open. */
static int channel_connect(struct vsp_device *nic, const struct vmbus_open_request *request)
{
	const struct vsp_client_config *config = &nic->owner->config;
	struct nic_channel *channel = &nic->channels[request->sub_index];
	int result;

	channel->kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (channel->kick < 0)
		return -errno;
	channel->connection_id = request->connection_id;
	channel->relid = request->relid;
	channel->target_vp = request->target_vp;
	channel->gpadl_id = request->gpadl_id;
	channel->downstream_page_offset = request->downstream_page_offset;
	memcpy(channel->user_data, request->user_data, sizeof(channel->user_data));
	result = config->engine->connect_event(config->partition, request->connection_id,
					       channel->kick);
	if (result) {
		close(channel->kick);
		channel->kick = -1;
	}
	return result;
}

int vsp_device_open_message(const struct vsp_device *nic, uint32_t sub_index,
			    struct vsp_channel_open *message, int fds[2])
{
	const struct nic_channel *channel = &nic->channels[sub_index];

	*message = (struct vsp_channel_open){
		.sub_index = sub_index,
		.gpadl_id = channel->gpadl_id,
		.downstream_page_offset = channel->downstream_page_offset,
		.target_vp = channel->target_vp,
		.event_flag = channel->relid,
	};
	vsp_header_fill(message, VSP_CHANNEL_OPEN, sizeof(*message));
	memcpy(message->user_data, channel->user_data, sizeof(message->user_data));
	fds[0] = channel->kick;
	return target_fd_add(nic->client, channel->target_vp, fds, 1);
}

static int channel_open(struct vsp_device *nic, const struct vmbus_open_request *request)
{
	struct vsp_channel_open message;
	int fds[2];
	int count;
	int result;

	if (!vsp_device_link(nic))
		return -ENOTCONN;
	if (request->sub_index >= nic->channel_count || nic->channels[request->sub_index].kick >= 0)
		return -EINVAL;
	result = request->restored ? vsp_move_send_state(nic->client) : 0;
	if (!result)
		result = channel_connect(nic, request);
	if (result)
		return result;
	count = vsp_device_open_message(nic, request->sub_index, &message, fds);
	message.flags = request->restored ? VSP_CHANNEL_RESTORED : 0;
	result = count < 0
			 ? count
			 : vsp_link_request(nic->client->link, &message.header, fds, (size_t)count,
					    on_channel_opened, nic, TAG(request->sub_index, 0));
	if (result)
		channel_disconnect(nic, request->sub_index);
	return result;
}

static void nic_channel_open(void *ctx, const struct vmbus_open_request *request)
{
	const struct nic_deferred later = {.run = run_channel_open, .request = *request};
	struct vsp_device *nic = ctx;
	int result;

	if (is_recovering(nic))
		result = defer(nic, &later) ? 0 : -ENOMEM;
	else
		result = channel_open(nic, request);
	if (result) {
		log_warn_limited("%s: channel %u not opened: %s", nic->owner->name,
				 request->sub_index, strerror(-result));
		vmbus_server_open_done(nic->device, request->sub_index, result);
	}
}

static void on_channel_closed(void *ctx, uint64_t tag, int status, const struct vsp_header *reply)
{
	struct vsp_device *nic = ctx;
	uint32_t sub_index = TAG_SUB(tag);

	(void)status;
	(void)reply;
	if (sub_index == 0 && nic->client)
		nic->client->status.link = VM_NIC_CONNECTED;
	vmbus_server_close_done(nic->device, sub_index);
}

static void nic_channel_close(void *ctx, uint32_t sub_index)
{
	const struct nic_deferred later = {.run = run_channel_close, .sub_index = sub_index};
	struct vsp_device *nic = ctx;
	struct vsp_channel_close message = {.sub_index = sub_index};

	if (is_recovering(nic) && defer(nic, &later))
		return;
	vsp_header_fill(&message, VSP_CHANNEL_CLOSE, sizeof(message));
	channel_disconnect(nic, sub_index);
	if (!request_firmly(nic, &message.header, on_channel_closed, TAG(sub_index, 0)))
		vmbus_server_close_done(nic->device, sub_index);
}

static void on_channel_modified(void *ctx, uint64_t tag, int status, const struct vsp_header *reply)
{
	struct vsp_device *nic = ctx;
	const struct nic_deferred again = {
		.run = run_channel_modify, .sub_index = TAG_SUB(tag), .number = TAG_VP(tag)};

	if (retry_later(nic, reply, &again))
		return;
	if (!status)
		nic->channels[TAG_SUB(tag)].target_vp = TAG_VP(tag);
	vmbus_server_modify_done(nic->device, TAG_SUB(tag), status);
}

static void nic_channel_modify(void *ctx, uint32_t sub_index, uint32_t target_vp)
{
	const struct nic_deferred later = {
		.run = run_channel_modify, .sub_index = sub_index, .number = target_vp};
	struct vsp_device *nic = ctx;
	struct vsp_channel_modify message = {.sub_index = sub_index, .target_vp = target_vp};
	int result = -ENOTCONN;
	int fds[1];

	if (is_recovering(nic) && defer(nic, &later))
		return;
	vsp_header_fill(&message, VSP_CHANNEL_MODIFY, sizeof(message));
	if (vsp_device_link(nic))
		result = target_fd_add(nic->client, target_vp, fds, 0);
	if (result >= 0)
		result = vsp_link_request(nic->client->link, &message.header, fds, (size_t)result,
					  on_channel_modified, nic, TAG(sub_index, target_vp));
	if (result)
		vmbus_server_modify_done(nic->device, sub_index, result);
}

void vsp_device_kick(struct vsp_device *nic)
{
	const struct vsp_client_config *config = &nic->owner->config;
	const uint64_t one = 1;

	for (uint32_t i = 0; i < nic->channel_count; i++) {
		const struct nic_channel *channel = &nic->channels[i];
		struct engine_sint_fds sint;
		struct event_signal signal = {
			.memory = config->memory,
			.table = config->signals,
			.vp = channel->target_vp,
			.flag = channel->relid,
		};

		if (channel->kick < 0)
			continue;
		if (write(channel->kick, &one, sizeof(one)) < 0)
			log_warn_limited("%s: channel %u not kicked", nic->owner->name, i);
		if (channel->target_vp == VMBUS_NO_INTERRUPTS ||
		    config->engine->get_sint_fds(config->partition, channel->target_vp, &sint))
			continue;
		signal.irqfd = sint.raise;
		event_signal_raise(&signal);
	}
}

static void nic_free(struct vsp_device *nic)
{
	struct nic_deferred *deferred = STAILQ_FIRST(&nic->deferred);
	struct nic_gpadl *gpadl = LIST_FIRST(&nic->gpadls);

	for (uint32_t i = 0; i < nic->channel_count; i++)
		channel_disconnect(nic, i);
	while (gpadl) {
		struct nic_gpadl *next = LIST_NEXT(gpadl, link);

		free(gpadl);
		gpadl = next;
	}
	while (deferred) {
		struct nic_deferred *next = STAILQ_NEXT(deferred, link);

		free(deferred);
		deferred = next;
	}
	LIST_REMOVE(nic, link);
	free(nic);
}

static void nic_removed(void *ctx)
{
	nic_free(ctx);
}

static const struct vmbus_device_ops nic_ops = {
	.gpadl_created = nic_gpadl_created,
	.gpadl_teardown = nic_gpadl_teardown,
	.channel_open = nic_channel_open,
	.channel_close = nic_channel_close,
	.channel_modify = nic_channel_modify,
	.removed = nic_removed,
};

int vsp_device_offer(struct vsp_client *client)
{
	const struct vm_nic_config *config = client->config.nic;
	struct vmbus_offer offer = {
		.interface_type = nic_interface,
		.channel_flags = VMBUS_OFFER_ENUMERATE_DEVICE,
		.max_sub_channels = config->queues - 1,
	};
	struct vsp_device *nic =
		calloc(1, sizeof(*nic) + config->queues * sizeof(nic->channels[0]));
	int result;

	if (!nic)
		return -ENOMEM;
	memcpy(offer.interface_id.bytes, config->instance_id, sizeof(offer.interface_id.bytes));
	nic->client = client;
	nic->owner = client;
	LIST_INIT(&nic->gpadls);
	STAILQ_INIT(&nic->deferred);
	nic->channel_count = config->queues;
	for (uint32_t i = 0; i < nic->channel_count; i++)
		nic->channels[i].kick = -1;
	result =
		vmbus_server_add_device(client->config.server, &offer, &nic_ops, nic, &nic->device);
	if (result) {
		free(nic);
		return result;
	}
	LIST_INSERT_HEAD(&client->devices, nic, link);
	client->device = nic;
	return 0;
}

void vsp_device_orphan(struct vsp_client *client)
{
	struct vsp_device *nic = client->device;

	client->device = NULL;
	if (!nic)
		return;
	nic->client = NULL;
	vsp_device_run_deferred(nic);
	vmbus_device_rescind(nic->device); /* may free it */
}

void vsp_devices_mark_dirty(const struct vsp_client *client)
{
	const struct vsp_device *nic;
	const struct nic_gpadl *lent;

	LIST_FOREACH(nic, &client->devices, link)
	{
		LIST_FOREACH(lent, &nic->gpadls, link)
		{
			for (size_t i = 0; i < lent->gpadl->page_count; i++)
				guest_memory_mark_dirty(client->config.memory,
							lent->gpadl->gpns[i] << GUEST_PAGE_SHIFT,
							GUEST_PAGE_SIZE);
		}
	}
}

void vsp_devices_free(struct vsp_client *client)
{
	struct vsp_device *nic = LIST_FIRST(&client->devices);

	while (nic) {
		struct vsp_device *next = LIST_NEXT(nic, link);

		nic_free(nic);
		nic = next;
	}
}
