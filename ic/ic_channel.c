/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * See ic_channel.h. The channel's rings are served from the event loop: the guest's signal makes
 * the kick eventfd readable, and what is in the ring is read then, a bounded number of packets a
 * turn.
 */
#include "ic/ic_channel.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/event_loop.h"
#include "base/log.h"
#include "vmbus/event_signal.h"
#include "vmbus/gpadl.h"
#include "vmbus/gpadl_view.h"
#include "vmbus/packet.h"
#include "vmbus/ring.h"

#define LOG_COMPONENT "ic"

#define PACKETS_A_TURN 16

/* The numbers are those of the saved state. */
enum ic_state {
	IC_CLOSED,
	IC_NEGOTIATING,
	IC_READY,
	IC_BROKEN, /* the guest broke the ring or speaks no version of ours; until it closes */
};

#define STATE_VERSION 1
#define STATE_CHANNEL STATE_TAG('I', 'C', 'C', 'H')

struct ic_channel {
	struct device_bus bus;
	const struct ic_service *service;
	void *ctx;
	struct vmbus_device *device;
	enum ic_state state;
	enum ic_state saved_state; /* what a restored opening of the channel finds */
	bool paused;
	struct ic_versions versions;
	uint8_t transaction_id; /* of the last request */
	uint32_t connection_id;
	int kick;
	struct event_watch *watch;
	struct gpadl_view *from_guest_view;
	struct gpadl_view *to_guest_view;
	struct ring from_guest;
	struct ring to_guest;
	struct event_signal signal;
	uint8_t scratch[PACKET_MAX_BYTES];
};

/* ---- messages ---- */

static void channel_break(struct ic_channel *channel, const char *why)
{
	bool was_ready = channel->state == IC_READY;

	log_warn_limited("%s: %s; the service is off until the guest opens it again",
			 channel->service->name, why);
	channel->state = IC_BROKEN;
	event_watch_remove(channel->watch);
	channel->watch = NULL;
	if (was_ready)
		channel->service->closed(channel->ctx);
}

/* Signals whether the ring was empty or not: hv_utils reads one message an interrupt and masks
 * nothing. */
static int message_send(struct ic_channel *channel, const uint8_t *bytes, int length)
{
	int rc;

	if (length < 0)
		return length;
	rc = packet_write_inband(&channel->to_guest, 0, 0, bytes, (size_t)length);
	if (rc == -EPROTO)
		channel_break(channel, "the guest broke the ring");
	if (rc < 0)
		return rc;
	ring_publish_write(&channel->to_guest);
	event_signal_raise(&channel->signal);
	return 0;
}

static void negotiate_begin(struct ic_channel *channel)
{
	uint8_t bytes[IC_MAX_MESSAGE_BYTES];
	int length =
		ic_negotiate_build(bytes, ++channel->transaction_id, channel->service->versions,
				   channel->service->version_count);

	if (message_send(channel, bytes, length) < 0 && channel->state != IC_BROKEN)
		channel_break(channel, "no room for the first message");
}

static void negotiate_finish(struct ic_channel *channel, const struct ic_answer *answer)
{
	int rc = ic_negotiate_parse(answer, channel->service->versions,
				    channel->service->version_count, &channel->versions);

	if (rc < 0) {
		channel_break(channel, rc == -EOPNOTSUPP ? "the guest speaks no version of it"
							 : "versions that were not offered");
		return;
	}
	channel->state = IC_READY;
	log_info_limited("%s: version %u.%u", channel->service->name,
			 channel->versions.message.major, channel->versions.message.minor);
	channel->service->ready(channel->ctx);
}

static void packet_handle(struct ic_channel *channel, const struct packet *packet)
{
	struct ic_answer answer;

	if (packet->type != PACKET_INBAND ||
	    ic_answer_parse(packet->payload, packet->payload_bytes, &answer) < 0) {
		log_warn_limited("%s: a message that is no answer", channel->service->name);
		return;
	}
	if (answer.transaction_id != channel->transaction_id)
		return; /* to a request that was superseded */
	if (channel->state == IC_NEGOTIATING && answer.type == IC_NEGOTIATE)
		negotiate_finish(channel, &answer);
	else if (channel->state == IC_READY && answer.type == channel->service->message_type)
		channel->service->answered(channel->ctx, answer.status, answer.body,
					   answer.body_bytes);
}

/* Reads at most PACKETS_A_TURN packets. Returns 1 where more wait, 0, or -EPROTO. */
static int packets_read(struct ic_channel *channel)
{
	struct packet packet;
	int rc = 1;

	for (int i = 0; i < PACKETS_A_TURN && rc == 1; i++) {
		rc = packet_read(&channel->from_guest, channel->scratch, sizeof(channel->scratch),
				 &packet);
		if (rc == 1)
			packet_handle(channel, &packet);
		if (channel->state == IC_BROKEN)
			return 0;
	}
	return rc;
}

/* The guest has messages left to read. */
static bool guest_is_behind(struct ic_channel *channel)
{
	int64_t writable = ring_writable_bytes(&channel->to_guest);

	return writable >= 0 && writable < channel->to_guest.data_bytes - RING_RESERVED_BYTES;
}

static void on_kick(void *ctx, int fd, uint32_t events)
{
	struct ic_channel *channel = ctx;
	const uint64_t one = 1;
	uint64_t count;
	int rc;

	(void)events;
	if (channel->paused)
		return;
	if (read(fd, &count, sizeof(count)) < 0)
		return;
	ring_mask(&channel->from_guest);
	rc = packets_read(channel);
	if (ring_publish_read(&channel->from_guest) || guest_is_behind(channel))
		event_signal_raise(&channel->signal);
	if (rc < 0) {
		channel_break(channel, "the guest broke the ring");
		return;
	}
	/* What came meanwhile, or was too much for one turn, is read after everybody else's turn.
	 */
	if (ring_unmask(&channel->from_guest) && write(fd, &one, sizeof(one)) < 0)
		log_error_limited("%s: cannot kick itself: %s", channel->service->name,
				  strerror(errno));
}

/* ---- open and close ---- */

static int rings_make(struct ic_channel *channel, const struct vmbus_open_request *request)
{
	const size_t pages = request->gpadl->ranges[0].page_count;
	const size_t split = request->downstream_page_offset;
	int rc;

	rc = gpadl_view_create(channel->bus.memory, request->gpadl, 0, split,
			       &channel->from_guest_view);
	if (rc == 0)
		rc = gpadl_view_create(channel->bus.memory, request->gpadl, split, pages - split,
				       &channel->to_guest_view);
	if (rc == 0)
		rc = ring_init_reader(&channel->from_guest, channel->from_guest_view);
	if (rc == 0)
		rc = ring_init_writer(&channel->to_guest, channel->to_guest_view);
	return rc;
}

static int interrupt_aim(struct ic_channel *channel, uint32_t target_vp)
{
	int irqfd = -1;

	if (target_vp != VMBUS_NO_INTERRUPTS) {
		irqfd = channel->bus.ops->get_sint_fd(channel->bus.ctx, target_vp);
		if (irqfd < 0)
			return irqfd;
	}
	channel->signal.vp = target_vp;
	channel->signal.irqfd = irqfd;
	return 0;
}

static int kick_make(struct ic_channel *channel, uint32_t connection_id)
{
	int rc;

	channel->kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (channel->kick < 0)
		return -errno;
	rc = event_loop_watch(channel->bus.loop, channel->kick, channel->paused ? 0 : EPOLLIN,
			      on_kick, channel, &channel->watch);
	if (rc == 0)
		rc = channel->bus.ops->connect_event(channel->bus.ctx, connection_id,
						     channel->kick);
	if (rc == 0)
		channel->connection_id = connection_id;
	return rc;
}

/* Undoes whatever part of an open was done. */
static void channel_shut(struct ic_channel *channel)
{
	if (channel->connection_id)
		channel->bus.ops->disconnect_event(channel->bus.ctx, channel->connection_id);
	channel->connection_id = 0;
	event_watch_remove(channel->watch);
	channel->watch = NULL;
	if (channel->kick >= 0)
		close(channel->kick);
	channel->kick = -1;
	gpadl_view_free(channel->from_guest_view);
	gpadl_view_free(channel->to_guest_view);
	channel->from_guest_view = NULL;
	channel->to_guest_view = NULL;
	channel->state = IC_CLOSED;
}

/* The rings go on where they are. One that the guest has broken is a service that is off, as it
 * would have been before. */
static int rings_restore(struct ic_channel *channel, const struct vmbus_open_request *request)
{
	int rc;

	if (channel->saved_state == IC_CLOSED)
		return -EPROTO;
	if (channel->saved_state == IC_BROKEN)
		return 0;
	rc = rings_make(channel, request);
	if (rc != -EPROTO)
		return rc;
	channel->saved_state = IC_BROKEN;
	return 0;
}

/* What follows a channel's opening: negotiation, or what went on before the guest was moved. */
static void channel_opened(struct ic_channel *channel, bool restored)
{
	channel->state = restored ? channel->saved_state : IC_NEGOTIATING;
	if (channel->state == IC_BROKEN) {
		event_watch_remove(channel->watch);
		channel->watch = NULL;
	}
	vmbus_server_open_done(channel->device, 0, 0);
	if (!restored)
		negotiate_begin(channel);
}

static void on_channel_open(void *ctx, const struct vmbus_open_request *request)
{
	struct ic_channel *channel = ctx;
	int rc;

	channel->signal.memory = channel->bus.memory;
	channel->signal.table = channel->bus.signals;
	channel->signal.flag = request->relid;
	rc = request->restored ? rings_restore(channel, request) : rings_make(channel, request);
	if (rc == 0)
		rc = interrupt_aim(channel, request->target_vp);
	if (rc == 0)
		rc = kick_make(channel, request->connection_id);
	if (rc < 0) {
		log_warn_limited("%s: open failed: %s", channel->service->name, strerror(-rc));
		channel_shut(channel);
		vmbus_server_open_done(channel->device, 0, rc);
		return;
	}
	channel_opened(channel, request->restored);
}

static void on_channel_close(void *ctx, uint32_t sub_index)
{
	struct ic_channel *channel = ctx;
	bool was_ready = channel->state == IC_READY;

	channel_shut(channel);
	if (was_ready)
		channel->service->closed(channel->ctx);
	vmbus_server_close_done(channel->device, sub_index);
}

static void on_channel_modify(void *ctx, uint32_t sub_index, uint32_t target_vp)
{
	struct ic_channel *channel = ctx;

	vmbus_server_modify_done(channel->device, sub_index, interrupt_aim(channel, target_vp));
}

/* The rings' GPADL is looked at when the channel opens; no service uses another. */
static void on_gpadl_created(void *ctx, uint32_t sub_index, const struct gpadl *gpadl)
{
	struct ic_channel *channel = ctx;

	vmbus_server_gpadl_done(channel->device, sub_index, gpadl->id, 0);
}

static void on_gpadl_teardown(void *ctx, uint32_t sub_index, uint32_t gpadl_id)
{
	struct ic_channel *channel = ctx;

	vmbus_server_gpadl_teardown_done(channel->device, sub_index, gpadl_id);
}

static const struct vmbus_device_ops ic_device_ops = {
	.gpadl_created = on_gpadl_created,
	.gpadl_teardown = on_gpadl_teardown,
	.channel_open = on_channel_open,
	.channel_close = on_channel_close,
	.channel_modify = on_channel_modify,
};

int ic_channel_create(const struct device_bus *bus, const struct ic_service *service, void *ctx,
		      struct ic_channel **channel)
{
	struct vmbus_offer offer = {
		.interface_type = service->interface_type,
		.interface_id = service->interface_id,
		.channel_flags = VMBUS_OFFER_ENUMERATE_DEVICE | VMBUS_OFFER_NAMED_PIPE_MODE,
		.user_defined = {VMBUS_PIPE_TYPE_MESSAGE},
	};
	struct ic_channel *made = calloc(1, sizeof(*made));
	int rc;

	if (!made)
		return -ENOMEM;
	made->bus = *bus;
	made->service = service;
	made->ctx = ctx;
	made->kick = -1;
	rc = vmbus_server_add_device(bus->server, &offer, &ic_device_ops, made, &made->device);
	if (rc < 0) {
		free(made);
		return rc;
	}
	*channel = made;
	return 0;
}

void ic_channel_destroy(struct ic_channel *channel)
{
	if (!channel)
		return;
	channel_shut(channel);
	free(channel);
}

bool ic_channel_is_ready(const struct ic_channel *channel)
{
	return channel->state == IC_READY;
}

int ic_channel_request(struct ic_channel *channel, const void *body, size_t body_bytes)
{
	uint8_t bytes[IC_MAX_MESSAGE_BYTES];
	int length;

	if (channel->state != IC_READY)
		return -ENOTCONN;
	if (channel->paused)
		return -EAGAIN;
	length = ic_message_build(bytes, channel->service->message_type, &channel->versions,
				  ++channel->transaction_id, body, body_bytes);
	return message_send(channel, bytes, length);
}

/* ---- saved state ---- */

void ic_channel_pause(struct ic_channel *channel)
{
	channel->paused = true;
	if (channel->watch)
		event_watch_modify(channel->watch, 0);
}

void ic_channel_resume(struct ic_channel *channel)
{
	const uint64_t one = 1;

	channel->paused = false;
	if (!channel->watch)
		return; /* closed or broken */
	event_watch_modify(channel->watch, EPOLLIN);
	if (write(channel->kick, &one, sizeof(one)) < 0)
		log_error_limited("%s: cannot kick itself: %s", channel->service->name,
				  strerror(errno));
	event_signal_raise(&channel->signal);
}

void ic_channel_save(const struct ic_channel *channel, struct state_writer *writer)
{
	state_begin(writer, STATE_CHANNEL, STATE_VERSION, STATE_VERSION);
	state_put_u8(writer, (uint8_t)channel->state);
	state_put_u16(writer, channel->versions.framework.major);
	state_put_u16(writer, channel->versions.framework.minor);
	state_put_u16(writer, channel->versions.message.major);
	state_put_u16(writer, channel->versions.message.minor);
	state_put_u8(writer, channel->transaction_id);
	state_end(writer);
}

int ic_channel_restore(struct ic_channel *channel, struct state_reader *holder)
{
	const struct ic_service *service = channel->service;
	struct state_reader section;
	struct ic_versions versions;
	uint8_t transaction_id;
	uint8_t state;
	int rc;

	if (state_next(holder, &section) != 1 || section.tag != STATE_CHANNEL)
		return -EPROTO;
	rc = state_check_version(&section, STATE_VERSION);
	if (rc < 0)
		return rc;
	state = state_get_u8(&section);
	versions.framework.major = state_get_u16(&section);
	versions.framework.minor = state_get_u16(&section);
	versions.message.major = state_get_u16(&section);
	versions.message.minor = state_get_u16(&section);
	transaction_id = state_get_u8(&section);
	if (section.error || state > IC_BROKEN)
		return -EPROTO;
	if (state == IC_READY &&
	    !ic_versions_are_offered(&versions, service->versions, service->version_count))
		return -EOPNOTSUPP;
	channel->saved_state = state;
	channel->versions = versions;
	channel->transaction_id = transaction_id;
	channel->paused = true;
	return 0;
}
