/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The vNIC on a move: put to rest and saved, made anew out of its state, resumed. All of it happens
 * on the worker's thread between two rounds; what can take long (making bytes, reading them) is
 * done by the control thread before or after.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/log.h"
#include "base/state.h"
#include "netvsp/nic_internal.h"
#include "vmbus/gpadl.h"
#include "vmbus/guest_memory.h"

#define LOG_COMPONENT "nic"

static_assert((uint64_t)SAVED_MAX_HELD * NVSP_MIN_RECV_SECTION_BYTES >=
		      (uint64_t)GPADL_MAX_PAGES * GUEST_PAGE_SIZE,
	      "all sections of a receive buffer can be held");

struct move_call {
	struct nic *nic;
	struct saved_nic *saved;
	int err;
};

static int call_worker(struct nic *nic, void (*fn)(void *ctx), struct saved_nic *saved)
{
	struct move_call call = {.nic = nic, .saved = saved};

	worker_call(nic->path->worker, fn, &call);
	return call.err;
}

/* ---- frames that come meanwhile ---- */

uint16_t nic_hold(struct nic *nic, struct rte_mbuf **mbufs, uint16_t count)
{
	uint16_t kept = 0;

	if (!nic->up || nic->phase == NIC_INCOMING) {
		rte_pktmbuf_free_bulk(mbufs, count);
		return 0;
	}
	for (uint16_t i = 0; i < count; i++)
		kept = (uint16_t)(kept + hold_queue_push(&nic->held, mbufs[i]));
	if (nic->phase == NIC_DEPARTED)
		nic_late_notice(nic);
	return kept;
}

static void deliver_held(struct nic *nic)
{
	struct switch_port_counters *counters = switch_port_counters(nic->port);
	struct rte_mbuf *burst[SWITCH_BURST];

	while (nic->held.count > 0) {
		uint16_t count = 0, delivered, refused = 0;
		struct vlan_tag tag;

		while (count < SWITCH_BURST && nic->held.count > 0) {
			burst[count] = hold_queue_pop(&nic->held);
			/* Its VLAN mode may have been changed while it rested. */
			if (switch_port_release(nic->port, burst[count], &tag)) {
				count++;
				continue;
			}
			rte_pktmbuf_free(burst[count]);
			refused++;
		}
		delivered = nic_deliver(nic, burst, count);
		/* They were counted as they came. */
		counters->out_packets -= (uint64_t)(count - delivered) + refused;
		counters->out_dropped += (uint64_t)(count - delivered);
		counters->out_vlan += refused;
	}
}

/* ---- save ---- */

void nic_rest(struct nic *nic)
{
	/* Frames that other ports had for us go to the guest, and what is in our rings is
	 * published. */
	vswitch_flush(nic->path->sw);
	for (size_t i = 0; i < ARRAY_LENGTH(nic->queues); i++) {
		if (nic->queues[i])
			worker_remove_source(nic->path->worker, &nic->queues[i]->source);
	}
	nic->phase = NIC_RESTING;
}

/* One channel's transactions. */
static void gather_chains(const struct nic *nic, uint16_t sub_index, const uint32_t *chains,
			  struct saved_nic *saved)
{
	for (uint16_t id = 0; id < QUEUE_MAX_TRANSACTIONS; id++) {
		for (uint32_t section = chains[id]; section != RX_NO_SECTION;
		     section = nic->rx_buffer.next[section])
			saved->held[saved->held_count++] = (struct held_section){
				.section = section, .sub_index = sub_index, .id = id};
	}
}

static void gather_held(const struct nic *nic, struct saved_nic *saved)
{
	for (uint16_t i = 0; i < NVSP_MAX_CHANNELS; i++) {
		const uint32_t *chains = NULL;

		if (nic->queues[i])
			chains = nic->queues[i]->chains;
		else if (nic->restored_channels[i])
			chains = nic->restored_channels[i]->chains;
		if (chains && nic->rx_buffer.view)
			gather_chains(nic, i, chains, saved);
	}
}

static void gather_messages(const struct nic *nic, struct saved_nic *saved)
{
	const struct control_message *message;

	STAILQ_FOREACH (message, &nic->control, link) {
		struct saved_message *to = &saved->messages[saved->message_count];

		if (saved->message_count == SAVED_MAX_MESSAGES ||
		    message->length > sizeof(to->bytes))
			break; /* cannot be: see CONTROL_MAX_WAITING and their builders */
		to->is_rndis = message->is_rndis;
		to->length = (uint32_t)message->length;
		memcpy(to->bytes, message->bytes, message->length);
		saved->message_count++;
	}
}

void nic_gather(const struct nic *nic, struct saved_nic *saved)
{
	memcpy(saved->mac, nic->config.mac, sizeof(saved->mac));
	nvsp_session_save(nic->nvsp, &saved->nvsp);
	rndis_control_save(nic->rndis, &saved->rndis);
	for (size_t i = 0; i < ARRAY_LENGTH(nic->queues); i++) {
		if (nic->queues[i] || nic->restored_channels[i])
			saved->open_channels |= UINT64_C(1) << i;
	}
	gather_messages(nic, saved);
	saved->counters = *switch_port_counters(nic->port);
	saved->portal_count = nic->portals.count;
	memcpy(saved->portals, nic->portals.portals, sizeof(saved->portals));
}

static void rest_and_gather(void *ctx)
{
	struct move_call *call = ctx;
	struct nic *nic = call->nic;
	struct saved_nic *saved = call->saved;

	if (nic->phase == NIC_DEPARTED) {
		call->err = -EINVAL;
		return;
	}
	if (nic->phase == NIC_RUNNING)
		nic_rest(nic);
	nic_gather(nic, saved);
	gather_held(nic, saved);
	saved->vlan_count =
		vswitch_port_vlans(nic->path->sw, nic->port, rndis_control_address(nic->rndis),
				   saved->vlans, SAVED_MAX_VLANS);
}

int nic_save(struct nic *nic, struct state_writer *writer)
{
	struct saved_nic saved = {
		.held = calloc(SAVED_MAX_HELD, sizeof(*saved.held)),
		.messages = calloc(SAVED_MAX_MESSAGES, sizeof(*saved.messages)),
	};
	int err = saved.held && saved.messages ? 0 : -ENOMEM;

	if (!err)
		err = call_worker(nic, rest_and_gather, &saved);
	if (!err) {
		saved_nic_write(&saved, writer);
		err = state_writer_result(writer);
	}
	saved_nic_fini(&saved);
	return err;
}

/* ---- restore ---- */

void nic_forget_restored(struct nic *nic)
{
	for (size_t i = 0; i < ARRAY_LENGTH(nic->restored_channels); i++) {
		struct restored_channel *channel = nic->restored_channels[i];

		for (size_t id = 0; channel && nic->rx_buffer.view && id < QUEUE_MAX_TRANSACTIONS;
		     id++)
			rx_buffer_release(&nic->rx_buffer, channel->chains[id]);
		free(channel);
		nic->restored_channels[i] = NULL;
	}
}

static int make_channels(struct nic *nic, uint64_t open_channels)
{
	if (nic->config.max_channels < NVSP_MAX_CHANNELS &&
	    open_channels >> nic->config.max_channels)
		return -EINVAL;
	for (size_t i = 0; i < ARRAY_LENGTH(nic->restored_channels); i++) {
		if (!(open_channels & UINT64_C(1) << i))
			continue;
		nic->restored_channels[i] = malloc(sizeof(*nic->restored_channels[i]));
		if (!nic->restored_channels[i])
			return -ENOMEM;
		nic->restored_channels[i]->has_in_index = false;
		nic->restored_channels[i]->generation = 0;
		for (size_t id = 0; id < QUEUE_MAX_TRANSACTIONS; id++)
			nic->restored_channels[i]->chains[id] = RX_NO_SECTION;
	}
	return 0;
}

static int restore_held(struct nic *nic, const struct saved_nic *saved)
{
	uint32_t ids = nic->rx_buffer.section_count;
	int err;

	if (saved->held_count == 0)
		return 0;
	if (ids > QUEUE_MAX_TRANSACTIONS)
		ids = QUEUE_MAX_TRANSACTIONS;
	for (uint32_t i = 0; i < saved->held_count; i++) {
		const struct held_section *held = &saved->held[i];

		/* As queue_reset_transactions() gives them out. */
		if (held->id == 0 || held->id >= ids || !nic->restored_channels[held->sub_index])
			return -EINVAL;
	}
	err = rx_buffer_take_held(&nic->rx_buffer, saved->held, saved->held_count);
	for (uint32_t i = 0; !err && i < saved->held_count; i++) {
		const struct held_section *held = &saved->held[i];

		rx_buffer_chain(&nic->rx_buffer, held->section,
				&nic->restored_channels[held->sub_index]->chains[held->id]);
	}
	return err;
}

int nic_apply(struct nic *nic, const struct saved_nic *saved)
{
	int err;

	/* An incoming NIC has no queue before it was restored. */
	if (nic->phase != NIC_INCOMING || nic->restored ||
	    memcmp(saved->mac, nic->config.mac, sizeof(saved->mac)) != 0)
		return -EINVAL;
	err = nvsp_session_restore(nic->nvsp, &saved->nvsp);
	if (!err)
		err = rndis_control_restore(nic->rndis, &saved->rndis);
	if (!err)
		err = make_channels(nic, saved->open_channels);
	if (!err)
		err = restore_held(nic, saved);
	if (err) {
		nic_control_reset(nic);
		return err;
	}
	for (uint32_t i = 0; i < saved->message_count; i++)
		nic_control_queue(nic, saved->messages[i].is_rndis, saved->messages[i].bytes,
				  saved->messages[i].length);
	*switch_port_counters(nic->port) = saved->counters;
	nic->vlan_count = saved->vlan_count;
	memcpy(nic->vlans, saved->vlans, sizeof(nic->vlans));
	nic->portals.count = saved->portal_count;
	memcpy(nic->portals.portals, saved->portals, sizeof(saved->portals));
	nic->restored = true;
	nic_notice(nic);
	return 0;
}

static void restore(void *ctx)
{
	struct move_call *call = ctx;

	call->err = nic_apply(call->nic, call->saved);
	if (call->err == 0 && call->nic->journal)
		nic_journal_restored(call->nic);
}

int nic_restore(struct nic *nic, const void *bytes, size_t length)
{
	struct saved_nic saved;
	int err = saved_nic_read(&saved, bytes, length);

	if (err)
		return err;
	err = call_worker(nic, restore, &saved);
	saved_nic_fini(&saved);
	return err;
}

int nic_adopt_channel(struct nic *nic, struct queue *queue)
{
	struct restored_channel *restored = nic->restored_channels[queue->sub_index];

	if (nic->phase != NIC_INCOMING || !restored)
		return -EINVAL;
	queue_adopt_transactions(queue, restored);
	nic->restored_channels[queue->sub_index] = NULL;
	free(restored);
	return 0;
}

/* ---- resume ---- */

/* All of them or none. */
static int add_sources(struct nic *nic)
{
	for (size_t i = 0; i < ARRAY_LENGTH(nic->queues); i++) {
		struct queue *queue = nic->queues[i];
		int err = queue ? worker_add_source(nic->path->worker, &queue->source) : 0;

		if (!err)
			continue;
		while (i-- > 0) {
			if (nic->queues[i])
				worker_remove_source(nic->path->worker, &nic->queues[i]->source);
		}
		return err;
	}
	return 0;
}

/* What was signalled to a VP before may be lost, with the flag still set: the guest shall look. */
static void signal_anew(const struct event_signal *signal)
{
	const uint64_t one = 1;

	event_signal_raise(signal);
	if (signal->irqfd >= 0 && write(signal->irqfd, &one, sizeof(one)) < 0)
		log_warn_limited("a channel is not signalled: %s", strerror(errno));
}

/* The guest has closed its channel while nobody was there to see. */
static void reset_closed(struct nic *nic)
{
	nic_control_reset(nic);
	if (nic->journal)
		journal_clear(nic->journal);
}

static void resume(void *ctx)
{
	struct move_call *call = ctx;
	struct nic *nic = call->nic;
	bool up;

	if (nic->phase == NIC_DEPARTED)
		call->err = -EINVAL;
	else if (nic->phase != NIC_RUNNING)
		call->err = add_sources(nic);
	if (call->err || nic->phase == NIC_RUNNING)
		return;
	nic->phase = NIC_RUNNING;
	nic_forget_restored(nic); /* of channels that nobody opened */
	if (nic->restored && !nic->queues[0] && nvsp_session_version(nic->nvsp))
		reset_closed(nic);
	nic_control_changed(nic);
	up = rndis_control_packet_filter(nic->rndis) != 0;
	if (up && !nic->up)
		switch_port_set_up(nic->path->sw, nic->port, true);
	nic->up = up;
	for (size_t i = 0; i < ARRAY_LENGTH(nic->queues); i++) {
		if (nic->queues[i] && !queue_is_broken(nic->queues[i]))
			ring_mask(&nic->queues[i]->in); /* it is being polled */
	}
	deliver_held(nic);
	for (size_t i = 0; i < ARRAY_LENGTH(nic->queues); i++) {
		if (nic->queues[i])
			queue_mark_dirty(nic->queues[i]); /* packets may have been skipped */
	}
	vswitch_flush(nic->path->sw);
	for (size_t i = 0; i < ARRAY_LENGTH(nic->queues); i++) {
		if (nic->queues[i])
			signal_anew(&nic->queues[i]->signal);
	}
	nic_notice(nic);
}

int nic_resume(struct nic *nic)
{
	return call_worker(nic, resume, NULL);
}
