/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A host in the test's own process. Everything is copied; nothing is fast.
 */
#include "tests/fake_guest/loopback_host.h"

#include <errno.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "tests/fake_guest/fake_space.h"
#include "vmbus/gpadl.h"
#include "vmbus/gpadl_view.h"
#include "vmbus/guest_memory.h"
#include "vmbus/packet.h"
#include "vmbus/ring.h"

#define MAX_GPADLS  80
#define MAX_PENDING 64	 /* messages that wait for ring room or a section */
#define MAX_PACKETS 4096 /* ring packets of the host on their way */
#define MAX_FRAMES  NVSP_MAX_RANGES_RSC
#define MAX_RUNS    (PACKET_MAX_GPNS + 512)
#define NO_CHANNEL  UINT32_MAX

struct host_gpadl {
	uint32_t id;
	const struct gpadl *gpadl; /* the fake guest's own; NULL: free */
};

struct host_channel {
	bool open;
	struct gpadl_view *in_view; /* guest to host */
	struct gpadl_view *out_view;
	struct ring in;
	struct ring out;
};

/* A transfer-page packet that the guest has: which sections come back with it. */
struct host_packet {
	uint32_t channel; /* NO_CHANNEL: free */
	uint32_t count;
	uint32_t *sections;
};

struct pending {
	bool is_response; /* of RNDIS; else an NVSP completion */
	uint64_t transaction_id;
	size_t length;
	uint8_t bytes[RNDIS_CONTROL_MAX_RESPONSE_BYTES];
};

struct loopback_host {
	struct fake_space *space;
	struct nvsp_session *nvsp;
	struct rndis_control *rndis;
	struct host_gpadl gpadls[MAX_GPADLS];
	struct host_channel channels[NVSP_MAX_CHANNELS];
	struct gpadl_view *buffers[2];
	uint8_t *section_out;
	struct host_packet packets[MAX_PACKETS];
	struct pending pending[MAX_PENDING];
	size_t pending_count;
	uint32_t offered;
	bool broken;
	loopback_frame_fn frame_fn;
	void *frame_ctx;
	loopback_offer_fn offer_fn;
	void *offer_ctx;
	uint8_t scratch[PACKET_MAX_BYTES];
	uint8_t copy[256 * 1024];  /* from the guest */
	uint8_t build[256 * 1024]; /* to the guest */
};

static struct host_gpadl *gpadl_find(struct loopback_host *host, uint32_t id)
{
	for (size_t i = 0; i < MAX_GPADLS; i++)
		if (host->gpadls[i].gpadl && host->gpadls[i].id == id)
			return &host->gpadls[i];
	return NULL;
}

/* ---- sending ---- */

static struct host_packet *packet_take(struct loopback_host *host, uint32_t channel, uint32_t count)
{
	for (size_t i = 0; i < MAX_PACKETS; i++) {
		struct host_packet *packet = &host->packets[i];

		if (packet->channel != NO_CHANNEL)
			continue;
		packet->sections = calloc(count, sizeof(*packet->sections));
		if (!packet->sections)
			return NULL;
		packet->channel = channel;
		packet->count = 0;
		return packet;
	}
	return NULL;
}

static void packet_release(struct loopback_host *host, struct host_packet *packet)
{
	for (uint32_t i = 0; i < packet->count; i++)
		host->section_out[packet->sections[i]] = 0;
	free(packet->sections);
	packet->sections = NULL;
	packet->channel = NO_CHANNEL;
}

static uint32_t section_take(struct loopback_host *host, const struct nvsp_layout *layout)
{
	for (uint32_t i = 0; i < layout->section_count; i++)
		if (!host->section_out[i]) {
			host->section_out[i] = 1;
			return i;
		}
	return UINT32_MAX;
}

/* A message into a section: adds its range to the packet. Returns 0, -EAGAIN or -EMSGSIZE. */
static int section_fill(struct loopback_host *host, struct host_packet *packet,
			struct transfer_range *range, const uint8_t *message, size_t length)
{
	const struct nvsp_layout *layout = nvsp_session_layout(host->nvsp, NVSP_BUFFER_RECV);
	uint32_t section;

	if (length > layout->section_bytes)
		return -EMSGSIZE;
	section = section_take(host, layout);
	if (section == UINT32_MAX)
		return -EAGAIN;
	packet->sections[packet->count++] = section;
	range->byte_count = (uint32_t)length;
	range->byte_offset = section * layout->section_bytes;
	return gpadl_view_write(host->buffers[NVSP_BUFFER_RECV], range->byte_offset, message,
				length);
}

static int transfer_send(struct loopback_host *host, struct host_packet *packet,
			 const struct transfer_range *ranges, uint32_t channel_type)
{
	uint8_t payload[NVSP_MAX_MESSAGE_BYTES];
	size_t length = nvsp_session_reply_bytes(host->nvsp);
	struct host_channel *channel = &host->channels[packet->channel];
	int rc;

	nvsp_build_rndis(payload, length, channel_type);
	/* Ids of transfer packets: their index, above what completions of the guest's packets echo.
	 */
	rc = packet_write_transfer_pages(&channel->out, (uint64_t)(packet - host->packets),
					 nvsp_session_layout(host->nvsp, NVSP_BUFFER_RECV)->id,
					 ranges, packet->count, payload, length);
	if (rc == 0)
		ring_publish_write(&channel->out);
	return rc;
}

int loopback_host_send(struct loopback_host *host, uint32_t channel,
		       const struct loopback_frame *frames, size_t count)
{
	struct transfer_range ranges[MAX_FRAMES];
	struct host_packet *packet;
	int rc = 0;

	if (!host->channels[channel].open || !host->buffers[NVSP_BUFFER_RECV])
		return -ENOTCONN;
	if (count > MAX_FRAMES)
		return -EMSGSIZE;
	packet = packet_take(host, channel, (uint32_t)count);
	if (!packet)
		return -EAGAIN;
	for (size_t i = 0; rc == 0 && i < count; i++) {
		uint32_t header = rndis_rx_build_header(host->build, (uint32_t)frames[i].length,
							&frames[i].info);

		if (frames[i].length > sizeof(host->build) - header)
			rc = -EMSGSIZE;
		else
			memcpy(host->build + header, frames[i].bytes, frames[i].length);
		if (rc == 0)
			rc = section_fill(host, packet, &ranges[i], host->build,
					  header + frames[i].length);
	}
	if (rc == 0)
		rc = transfer_send(host, packet, ranges, NVSP_RNDIS_DATA);
	if (rc)
		packet_release(host, packet);
	return rc;
}

static int response_send(struct loopback_host *host, const uint8_t *message, size_t length)
{
	struct transfer_range range;
	struct host_packet *packet;
	int rc;

	if (!host->buffers[NVSP_BUFFER_RECV])
		return -EAGAIN;
	packet = packet_take(host, 0, 1);
	if (!packet)
		return -EAGAIN;
	rc = section_fill(host, packet, &range, message, length);
	if (rc == 0)
		rc = transfer_send(host, packet, &range, NVSP_RNDIS_CONTROL);
	if (rc)
		packet_release(host, packet);
	return rc;
}

static int completion_send(struct loopback_host *host, uint32_t channel, uint64_t transaction_id,
			   const uint8_t *message, size_t length)
{
	struct ring *ring = &host->channels[channel].out;
	int rc = packet_write_completion(ring, transaction_id, message, length);

	if (rc == 0)
		ring_publish_write(ring);
	return rc;
}

/* What found no room before. */
static void pending_send(struct loopback_host *host)
{
	size_t sent = 0;

	while (sent < host->pending_count) {
		struct pending *first = &host->pending[sent];
		int rc = first->is_response ? response_send(host, first->bytes, first->length)
					    : completion_send(host, 0, first->transaction_id,
							      first->bytes, first->length);

		if (rc)
			break;
		sent++;
	}
	host->pending_count -= sent;
	memmove(host->pending, host->pending + sent, host->pending_count * sizeof(*host->pending));
}

static void pending_add(struct loopback_host *host, bool is_response, uint64_t transaction_id,
			const void *bytes, size_t length)
{
	struct pending *last = &host->pending[host->pending_count];

	/* Reading stops while as many wait; see channel_poll(). */
	if (host->pending_count == MAX_PENDING || length > sizeof(last->bytes))
		abort();
	host->pending_count++;
	last->is_response = is_response;
	last->transaction_id = transaction_id;
	last->length = length;
	if (length)
		memcpy(last->bytes, bytes, length);
	pending_send(host);
}

/* ---- ops of the NVSP session and the RNDIS device ---- */

static void op_complete(void *ctx, uint64_t transaction_id, const void *reply, size_t length)
{
	pending_add(ctx, false, transaction_id, reply, length);
}

static void op_send(void *ctx, const void *message, size_t length)
{
	struct loopback_host *host = ctx;
	struct ring *ring = &host->channels[0].out;

	if (packet_write_inband(ring, 0, 0, message, length) == 0)
		ring_publish_write(ring);
}

static int op_gpadl_size(void *ctx, uint32_t gpadl_id, size_t *size_bytes)
{
	const struct host_gpadl *found = gpadl_find(ctx, gpadl_id);

	if (!found)
		return -ENOENT;
	*size_bytes = found->gpadl->ranges[0].page_count * GUEST_PAGE_SIZE;
	return 0;
}

static int op_buffer_attach(void *ctx, enum nvsp_buffer buffer, const struct nvsp_layout *layout)
{
	struct loopback_host *host = ctx;
	const struct gpadl *gpadl = gpadl_find(host, layout->gpadl_id)->gpadl;

	if (buffer == NVSP_BUFFER_RECV) {
		host->section_out = calloc(layout->section_count, 1);
		if (!host->section_out)
			return -ENOMEM;
	}
	return gpadl_view_create(host->space->memory, gpadl, 0, gpadl->ranges[0].page_count,
				 &host->buffers[buffer]);
}

static void op_buffer_detach(void *ctx, enum nvsp_buffer buffer)
{
	struct loopback_host *host = ctx;

	if (buffer == NVSP_BUFFER_RECV) {
		for (size_t i = 0; i < MAX_PACKETS; i++)
			if (host->packets[i].channel != NO_CHANNEL)
				packet_release(host, &host->packets[i]);
		free(host->section_out);
		host->section_out = NULL;
	}
	gpadl_view_free(host->buffers[buffer]);
	host->buffers[buffer] = NULL;
}

static void op_offer(void *ctx, uint32_t count)
{
	struct loopback_host *host = ctx;

	host->offered = count;
	if (host->offer_fn)
		host->offer_fn(host->offer_ctx, count);
}

static void op_nvsp_changed(void *ctx)
{
	struct loopback_host *host = ctx;

	rndis_control_set_session(host->rndis, nvsp_session_version(host->nvsp),
				  nvsp_session_mtu(host->nvsp), nvsp_session_channels(host->nvsp));
}

static void op_rndis_send(void *ctx, const void *message, size_t length)
{
	pending_add(ctx, true, 0, message, length);
}

static void op_statistics(void *ctx, struct rndis_statistics *statistics)
{
	(void)ctx;
	*statistics = (struct rndis_statistics){1, 2, 3, 4, 5};
}

static int op_set_address(void *ctx, const uint8_t mac[6])
{
	(void)ctx;
	return mac[0] & 2 ? 0 : -EPERM;
}

static const struct nvsp_ops nvsp_ops = {
	.complete = op_complete,
	.send = op_send,
	.gpadl_size = op_gpadl_size,
	.buffer_attach = op_buffer_attach,
	.buffer_detach = op_buffer_detach,
	.offer_sub_channels = op_offer,
	.changed = op_nvsp_changed,
};

static const struct rndis_control_ops rndis_ops = {
	.send = op_rndis_send,
	.statistics = op_statistics,
	.set_address = op_set_address,
};

/* ---- receiving ---- */

/* Describes the RNDIS bytes of a packet. Returns the number of runs, or -EINVAL. */
static ssize_t runs_gather(struct loopback_host *host, const struct packet *packet,
			   const struct nvsp_rndis *rndis, struct rndis_run *runs)
{
	struct gpa_piece pieces[PACKET_MAX_GPNS];
	size_t offset, length, count = 0;
	ssize_t piece_count = 0;

	if (nvsp_rndis_section(rndis, nvsp_session_layout(host->nvsp, NVSP_BUFFER_SEND), &offset,
			       &length))
		return -EINVAL;
	while (length > 0) {
		uint8_t *hva;
		size_t here = gpadl_view_run(host->buffers[NVSP_BUFFER_SEND], offset, length, &hva);

		runs[count++] = (struct rndis_run){hva, (uint32_t)here};
		offset += here;
		length -= here;
	}
	if (packet->type == PACKET_GPA_DIRECT)
		piece_count = packet_gpa_pieces(packet, pieces, ARRAY_LENGTH(pieces));
	if (piece_count < 0)
		return -EINVAL;
	for (ssize_t i = 0; i < piece_count; i++) {
		const void *hva =
			guest_memory_for_read(host->space->memory, pieces[i].gpa, pieces[i].length);

		if (!hva)
			return -EINVAL;
		runs[count++] = (struct rndis_run){hva, pieces[i].length};
	}
	return (ssize_t)count;
}

static enum nvsp_status data_handle(struct loopback_host *host, uint32_t channel,
				    const struct rndis_run *runs, size_t run_count)
{
	struct rndis_tx_walk walk;
	struct rndis_tx_packet packet;
	int rc = rndis_tx_begin(&walk, runs, run_count);

	if (rc)
		return NVSP_STATUS_INVALID_RNDIS_PACKET;
	while ((rc = rndis_tx_next(&walk, &packet)) > 0) {
		if (rndis_runs_copy(runs, run_count, packet.payload_offset, host->copy,
				    packet.payload_bytes))
			return NVSP_STATUS_INVALID_RNDIS_PACKET;
		if (host->frame_fn)
			host->frame_fn(host->frame_ctx, channel, &packet, host->copy);
	}
	return rc ? NVSP_STATUS_INVALID_RNDIS_PACKET : NVSP_STATUS_SUCCESS;
}

static enum nvsp_status control_handle(struct loopback_host *host, uint32_t channel,
				       const struct rndis_run *runs, size_t run_count)
{
	uint8_t message[RNDIS_CONTROL_MAX_REQUEST_BYTES];
	uint32_t length = 0;

	for (size_t i = 0; i < run_count; i++)
		length += runs[i].length;
	if (channel != 0 || length > sizeof(message) ||
	    rndis_runs_copy(runs, run_count, 0, message, length) ||
	    rndis_control_message(host->rndis, message, length))
		return NVSP_STATUS_INVALID_RNDIS_PACKET;
	return NVSP_STATUS_SUCCESS;
}

static void rndis_handle(struct loopback_host *host, uint32_t channel, const struct packet *packet)
{
	struct rndis_run runs[MAX_RUNS];
	uint8_t reply[NVSP_MAX_MESSAGE_BYTES];
	enum nvsp_status status = NVSP_STATUS_INVALID_RNDIS_PACKET;
	struct nvsp_rndis rndis;
	ssize_t count = -EINVAL;

	if (nvsp_parse_rndis(packet->payload, packet->payload_bytes, &rndis) == 0)
		count = runs_gather(host, packet, &rndis, runs);
	if (count >= 0 && rndis.channel_type == NVSP_RNDIS_CONTROL)
		status = control_handle(host, channel, runs, (size_t)count);
	else if (count >= 0)
		status = data_handle(host, channel, runs, (size_t)count);
	nvsp_build_rndis_complete(reply, nvsp_session_reply_bytes(host->nvsp), status);
	if (packet->flags & PACKET_FLAG_COMPLETION_REQUESTED)
		completion_send(host, channel, packet->transaction_id, reply,
				nvsp_session_reply_bytes(host->nvsp));
}

static void packet_handle(struct loopback_host *host, uint32_t channel, const struct packet *packet)
{
	if (packet->type == PACKET_COMPLETION) {
		if (packet->transaction_id < MAX_PACKETS &&
		    host->packets[packet->transaction_id].channel == channel)
			packet_release(host, &host->packets[packet->transaction_id]);
		return;
	}
	if (packet->type == PACKET_TRANSFER_PAGES)
		return;
	if (nvsp_message_type(packet->payload, packet->payload_bytes) == NVSP_RNDIS)
		rndis_handle(host, channel, packet);
	else if (channel == 0)
		nvsp_session_message(host->nvsp, packet->transaction_id,
				     packet->flags & PACKET_FLAG_COMPLETION_REQUESTED,
				     packet->payload, packet->payload_bytes);
}

static int channel_poll(struct loopback_host *host, uint32_t index)
{
	struct host_channel *channel = &host->channels[index];
	struct packet packet;
	int handled = 0;

	while (channel->open && host->pending_count < MAX_PENDING - 2) {
		int rc = packet_read(&channel->in, host->scratch, sizeof(host->scratch), &packet);

		if (rc < 0)
			host->broken = true;
		if (rc <= 0)
			break;
		packet_handle(host, index, &packet);
		ring_publish_read(&channel->in);
		handled++;
	}
	return handled;
}

/* ---- transport ---- */

int loopback_host_gpadl_add(struct loopback_host *host, const struct gpadl *gpadl)
{
	if (gpadl_find(host, gpadl->id))
		return -EEXIST;
	for (size_t i = 0; i < MAX_GPADLS; i++) {
		if (host->gpadls[i].gpadl)
			continue;
		host->gpadls[i] = (struct host_gpadl){gpadl->id, gpadl};
		return 0;
	}
	return -ENOSPC;
}

static int transport_gpadl_add(void *ctx, uint32_t sub_index, const struct fake_pages *pages)
{
	(void)sub_index;
	return loopback_host_gpadl_add(ctx, pages->gpadl);
}

static int transport_gpadl_remove(void *ctx, uint32_t sub_index, uint32_t gpadl_id)
{
	struct loopback_host *host = ctx;
	struct host_gpadl *found = gpadl_find(host, gpadl_id);

	(void)sub_index;
	if (!found)
		return -ENOENT;
	nvsp_session_gpadl_removed(host->nvsp, gpadl_id);
	found->gpadl = NULL;
	return 0;
}

static void channel_free(struct host_channel *channel)
{
	gpadl_view_free(channel->in_view);
	gpadl_view_free(channel->out_view);
	memset(channel, 0, sizeof(*channel));
}

static int transport_channel_open(void *ctx, uint32_t sub_index, uint32_t gpadl_id,
				  uint32_t downstream_page, uint32_t vp)
{
	struct loopback_host *host = ctx;
	struct host_channel *channel = &host->channels[sub_index];
	const struct host_gpadl *found = gpadl_find(host, gpadl_id);
	int rc;

	(void)vp;
	if (!found || sub_index > host->offered)
		return -EINVAL;
	rc = gpadl_view_create(host->space->memory, found->gpadl, 0, downstream_page,
			       &channel->in_view);
	if (rc == 0)
		rc = gpadl_view_create(host->space->memory, found->gpadl, downstream_page,
				       found->gpadl->page_count - downstream_page,
				       &channel->out_view);
	if (rc == 0)
		rc = ring_init_reader(&channel->in, channel->in_view);
	if (rc == 0)
		rc = ring_init_writer(&channel->out, channel->out_view);
	if (rc) {
		channel_free(channel);
		return rc;
	}
	channel->open = true;
	nvsp_session_channel_opened(host->nvsp, sub_index);
	return 0;
}

static int transport_channel_close(void *ctx, uint32_t sub_index)
{
	struct loopback_host *host = ctx;

	channel_poll(host, sub_index);
	for (size_t i = 0; i < MAX_PACKETS; i++)
		if (host->packets[i].channel == sub_index)
			packet_release(host, &host->packets[i]);
	channel_free(&host->channels[sub_index]);
	nvsp_session_channel_closed(host->nvsp, sub_index);
	if (sub_index == 0) {
		nvsp_session_reset(host->nvsp);
		rndis_control_reset(host->rndis);
		host->pending_count = 0;
		host->offered = 0;
	}
	return 0;
}

static void transport_kick(void *ctx, uint32_t sub_index)
{
	/* The host looks at every ring in wait(). */
	(void)ctx;
	(void)sub_index;
}

static int transport_wait(void *ctx, int timeout_ms)
{
	struct loopback_host *host = ctx;
	size_t waiting = host->pending_count;
	int handled = 0;

	/* Nothing comes later: if there is nothing to do now, no time brings it. */
	(void)timeout_ms;
	pending_send(host);
	handled += waiting != host->pending_count;
	for (uint32_t i = 0; i < NVSP_MAX_CHANNELS; i++)
		handled += host->channels[i].open ? channel_poll(host, i) : 0;
	return handled ? 0 : -ETIMEDOUT;
}

static uint32_t transport_offered(void *ctx)
{
	return ((const struct loopback_host *)ctx)->offered;
}

const struct fake_transport_ops loopback_transport = {
	.gpadl_add = transport_gpadl_add,
	.gpadl_remove = transport_gpadl_remove,
	.channel_open = transport_channel_open,
	.channel_close = transport_channel_close,
	.kick = transport_kick,
	.wait = transport_wait,
	.offered_sub_channels = transport_offered,
};

/* ---- life ---- */

struct loopback_config loopback_config_default(uint32_t max_channels)
{
	return (struct loopback_config){
		.nvsp = {.max_channels = max_channels, .max_mtu = 9000},
		.rndis =
			{
				.mac = {2, 0, 0, 0, 0, 1},
				.max_channels = max_channels,
				.offloads = RNDIS_OFFLOAD_CHECKSUM | RNDIS_OFFLOAD_LSO |
					    RNDIS_OFFLOAD_RSC,
				.link_speed_mbps = 10000,
				.link_up = true,
				.friendly_name = "vm/nic0",
			},
	};
}

int loopback_host_create(struct fake_space *space, const struct loopback_config *config,
			 struct loopback_host **host)
{
	struct loopback_host *new = calloc(1, sizeof(*new));
	int rc;

	if (!new)
		return -ENOMEM;
	new->space = space;
	for (size_t i = 0; i < MAX_PACKETS; i++)
		new->packets[i].channel = NO_CHANNEL;
	rc = nvsp_session_create(&config->nvsp, &nvsp_ops, new, &new->nvsp);
	if (rc == 0)
		rc = rndis_control_create(&config->rndis, &rndis_ops, new, &new->rndis);
	if (rc) {
		loopback_host_destroy(new);
		return rc;
	}
	*host = new;
	return 0;
}

void loopback_host_destroy(struct loopback_host *host)
{
	if (!host)
		return;
	for (uint32_t i = 0; i < NVSP_MAX_CHANNELS; i++)
		channel_free(&host->channels[i]);
	for (size_t i = 0; i < MAX_PACKETS; i++)
		free(host->packets[i].sections);
	for (int i = 0; i < 2; i++)
		gpadl_view_free(host->buffers[i]);
	free(host->section_out);
	rndis_control_destroy(host->rndis);
	nvsp_session_destroy(host->nvsp);
	free(host);
}

void loopback_host_on_frame(struct loopback_host *host, loopback_frame_fn fn, void *ctx)
{
	host->frame_fn = fn;
	host->frame_ctx = ctx;
}

void loopback_host_on_offer(struct loopback_host *host, loopback_offer_fn fn, void *ctx)
{
	host->offer_fn = fn;
	host->offer_ctx = ctx;
}

struct nvsp_session *loopback_host_nvsp(struct loopback_host *host)
{
	return host->nvsp;
}

struct rndis_control *loopback_host_rndis(struct loopback_host *host)
{
	return host->rndis;
}

uint32_t loopback_host_sections_out(const struct loopback_host *host)
{
	const struct nvsp_layout *layout = nvsp_session_layout(host->nvsp, NVSP_BUFFER_RECV);
	uint32_t out = 0;

	for (uint32_t i = 0; layout && i < layout->section_count; i++)
		out += host->section_out[i];
	return out;
}

bool loopback_host_broken(const struct loopback_host *host)
{
	return host->broken;
}

size_t loopback_host_gpadls(const struct loopback_host *host)
{
	size_t count = 0;

	for (size_t i = 0; i < MAX_GPADLS; i++)
		count += host->gpadls[i].gpadl != NULL;
	return count;
}
