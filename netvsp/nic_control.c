/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The NIC as the NVSP session and the RNDIS device see it: buffers attached and detached, messages
 * to the guest in order, each as soon as there is room.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/log.h"
#include "netvsp/nic_internal.h"
#include "vmbus/gpadl.h"
#include "vmbus/gpadl_view.h"

#define LOG_COMPONENT "nic"

#define CONTROL_MAX_WAITING 32 /* answers that wait for room; more requests are failed */

void nic_notice(struct nic *nic)
{
	if (!atomic_exchange_explicit(&nic->notice_given, true, memory_order_acq_rel))
		nic->ops->notice(nic->ctx);
}

struct gpadl *nic_find_gpadl(const struct nic *nic, uint32_t gpadl_id)
{
	for (size_t i = 0; i < ARRAY_LENGTH(nic->gpadls); i++) {
		if (nic->gpadls[i] && nic->gpadls[i]->id == gpadl_id)
			return nic->gpadls[i];
	}
	return NULL;
}

/* ---- messages to the guest ---- */

void nic_control_queue(struct nic *nic, bool is_rndis, const void *bytes, size_t length)
{
	struct control_message *message = malloc(sizeof(*message) + length);

	if (!message) {
		log_error_limited("%s: no memory for a message to the guest", nic->config.name);
		return;
	}
	message->is_rndis = is_rndis;
	message->length = length;
	memcpy(message->bytes, bytes, length);
	STAILQ_INSERT_TAIL(&nic->control, message, link);
	nic->control_count++;
	nic_control_changed(nic);
	switch_port_touch(nic->path->sw, nic->port);
}

static int control_send_rndis(struct nic *nic, struct queue *primary,
			      const struct control_message *message)
{
	uint32_t chain = RX_NO_SECTION;
	struct transfer_range range;
	int err;

	if (!nic->rx_buffer.view || message->length > nic->rx_buffer.section_bytes)
		return -ENOTCONN;
	if (queue_rx_room(primary) == 0 || !rx_buffer_take(&nic->rx_buffer, &chain))
		return -EAGAIN;
	rx_buffer_fill(&nic->rx_buffer, chain, message->bytes, (uint32_t)message->length, NULL, 0,
		       0);
	range.byte_count = (uint32_t)message->length;
	range.byte_offset = chain * nic->rx_buffer.section_bytes;
	err = queue_rx_send(primary, NVSP_RNDIS_CONTROL, &range, 1, chain);
	if (err)
		rx_buffer_release(&nic->rx_buffer, chain);
	return err;
}

void nic_control_flush(struct nic *nic)
{
	struct queue *primary = nic->queues[0];
	struct control_message *message;
	bool asked = false, sent = false;

	while (primary && (message = STAILQ_FIRST(&nic->control))) {
		int err = message->is_rndis ? control_send_rndis(nic, primary, message)
					    : packet_write_inband(&primary->out, 0, 0,
								  message->bytes, message->length);

		if (err == -EAGAIN) {
			if (asked)
				return;
			/* The guest's completions, or the signal that it has read, bring us back
			 * here. It may have read already. */
			ring_set_pending_send_bytes(&primary->out, primary->out.data_bytes / 4);
			asked = true;
			continue;
		}
		if (err)
			log_warn_limited("%s: a message to the guest was lost: %s",
					 nic->config.name, strerror(-err));
		queue_mark_dirty(primary);
		STAILQ_REMOVE_HEAD(&nic->control, link);
		nic->control_count--;
		free(message);
		nic_control_changed(nic);
		sent = true;
	}
	if (sent && !primary->stuck)
		ring_set_pending_send_bytes(&primary->out, 0);
}

void nic_control_reset(struct nic *nic)
{
	struct control_message *message;

	while ((message = STAILQ_FIRST(&nic->control))) {
		STAILQ_REMOVE_HEAD(&nic->control, link);
		free(message);
	}
	nic->control_count = 0;
	nic->sub_channels_wanted = 0;
	nic_forget_restored(nic);
	nvsp_session_reset(nic->nvsp);
	rndis_control_reset(nic->rndis);
}

enum nvsp_status nic_control_request(struct nic *nic, const struct rndis_run *runs,
				     size_t run_count)
{
	uint8_t request[RNDIS_CONTROL_MAX_REQUEST_BYTES];
	size_t length = 0;

	if (nic->control_count >= CONTROL_MAX_WAITING)
		return NVSP_STATUS_BUSY;
	for (size_t i = 0; i < run_count; i++) {
		if (runs[i].length > sizeof(request) - length)
			return NVSP_STATUS_INVALID_RNDIS_PACKET;
		memcpy(request + length, runs[i].bytes, runs[i].length);
		length += runs[i].length;
	}
	return rndis_control_message(nic->rndis, request, length) < 0
		       ? NVSP_STATUS_INVALID_RNDIS_PACKET
		       : NVSP_STATUS_SUCCESS;
}

/* ---- what the NVSP session wants ---- */

static void op_complete(void *ctx, uint64_t transaction_id, const void *reply, size_t length)
{
	struct nic *nic = ctx;
	int err;

	if (!nic->queues[0])
		return;
	/* The queue reads a packet only where there is room for its completion. */
	err = packet_write_completion(&nic->queues[0]->out, transaction_id, reply, length);
	if (err)
		log_warn_limited("%s: a completion was lost: %s", nic->config.name, strerror(-err));
	queue_mark_dirty(nic->queues[0]);
}

static void op_send(void *ctx, const void *message, size_t length)
{
	nic_control_queue(ctx, false, message, length);
}

static int op_gpadl_size(void *ctx, uint32_t gpadl_id, size_t *size_bytes)
{
	const struct gpadl *gpadl = nic_find_gpadl(ctx, gpadl_id);

	if (!gpadl)
		return -ENOENT;
	/* Whole pages only: the view has no other bytes. */
	*size_bytes = gpadl->ranges[0].byte_count / 4096 * (size_t)4096;
	return 0;
}

static int op_buffer_attach(void *ctx, enum nvsp_buffer buffer, const struct nvsp_layout *layout)
{
	struct nic *nic = ctx;
	const struct gpadl *gpadl = nic_find_gpadl(nic, layout->gpadl_id);
	struct gpadl_view *view;
	int err;

	if (!gpadl)
		return -ENOENT;
	if (buffer == NVSP_BUFFER_RECV ? nic->rx_buffer.view != NULL : nic->send_view != NULL)
		return -EBUSY;
	err = gpadl_view_create(nic->memory, gpadl, 0, gpadl->ranges[0].byte_count / 4096, &view);
	if (err)
		return err;
	if ((uint64_t)layout->section_bytes * layout->section_count > view->size_bytes) {
		gpadl_view_free(view);
		return -EINVAL;
	}
	if (buffer == NVSP_BUFFER_SEND) {
		nic->send_view = view;
		return 0;
	}
	err = rx_buffer_init(&nic->rx_buffer, view, layout);
	if (err) {
		gpadl_view_free(view);
		return err;
	}
	for (size_t i = 0; i < ARRAY_LENGTH(nic->queues); i++) {
		if (nic->queues[i])
			queue_reset_transactions(nic->queues[i], false);
	}
	return 0;
}

static void op_buffer_detach(void *ctx, enum nvsp_buffer buffer)
{
	struct nic *nic = ctx;

	if (buffer == NVSP_BUFFER_SEND) {
		gpadl_view_free(nic->send_view);
		nic->send_view = NULL;
		return;
	}
	rx_buffer_fini(&nic->rx_buffer);
	for (size_t i = 0; i < ARRAY_LENGTH(nic->queues); i++) {
		if (nic->queues[i])
			queue_reset_transactions(nic->queues[i], false);
	}
}

static void op_offer_sub_channels(void *ctx, uint32_t count)
{
	struct nic *nic = ctx;

	nic->sub_channels_wanted = count;
	nic_notice(nic);
}

static void op_nvsp_changed(void *ctx)
{
	struct nic *nic = ctx;

	rndis_control_set_session(nic->rndis, nvsp_session_version(nic->nvsp),
				  nvsp_session_mtu(nic->nvsp), nvsp_session_channels(nic->nvsp));
	nic_control_changed(nic);
	nic_notice(nic);
}

const struct nvsp_ops nic_nvsp_ops = {
	.complete = op_complete,
	.send = op_send,
	.gpadl_size = op_gpadl_size,
	.buffer_attach = op_buffer_attach,
	.buffer_detach = op_buffer_detach,
	.offer_sub_channels = op_offer_sub_channels,
	.changed = op_nvsp_changed,
};

/* ---- what the RNDIS device wants ---- */

static void op_rndis_send(void *ctx, const void *message, size_t length)
{
	nic_control_queue(ctx, true, message, length);
}

static void op_rndis_changed(void *ctx)
{
	struct nic *nic = ctx;
	bool up = rndis_control_packet_filter(nic->rndis) != 0;

	nic_control_changed(nic);
	if (up == nic->up || nic->phase == NIC_INCOMING)
		return;
	nic->up = up;
	switch_port_set_up(nic->path->sw, nic->port, up);
	nic_notice(nic);
}

static void op_rndis_statistics(void *ctx, struct rndis_statistics *statistics)
{
	struct nic *nic = ctx;
	const struct switch_port_counters *counters = switch_port_counters(nic->port);

	*statistics = (struct rndis_statistics){
		.tx_packets = counters->in_packets,
		.rx_packets = counters->out_packets,
		.tx_errors = counters->in_malformed + counters->in_spoofed,
		.rx_no_buffer = counters->out_dropped,
	};
}

static int op_rndis_set_address(void *ctx, const uint8_t mac[6])
{
	const struct nic *nic = ctx;

	if (memcmp(mac, nic->config.mac, sizeof(nic->config.mac)) == 0)
		return 0;
	return nic->config.spoof_guard ? -EPERM : 0;
}

const struct rndis_control_ops nic_rndis_ops = {
	.send = op_rndis_send,
	.changed = op_rndis_changed,
	.statistics = op_rndis_statistics,
	.set_address = op_rndis_set_address,
};
