/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One VMBus channel as a queue of frames. From the guest: bursts of packets are read, their frames
 * copied into mbufs and handed to the switch, each transaction completed exactly once, in the same
 * burst. A packet is read only where its completion has room, so completions never wait. To the
 * guest: nic_rx.c fills sections, here they become transactions.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "netvsp/nic_internal.h"
#include "netvsp/rndis_packet.h"
#include "vmbus/gpadl.h"
#include "vmbus/gpadl_view.h"
#include "vmbus/guest_memory.h"

#define LOG_COMPONENT "queue"

#define POLL_PACKETS	   64u		  /* of the ring in one poll */
#define POLL_BYTES	   (256u * 1024u) /* of frames in one poll: what a cache holds */
#define DESCRIPTOR_BYTES   16u
#define EXTRA_HEADER_BYTES 8u
#define RESERVE_SHARE	   8u /* this part of the ring is kept from received frames, for completions */
#define MAX_RUNS	   (PACKET_MAX_GPNS + 4) /* a send section lies in 3 pages at most */
#define VLAN_TAG_BYTES	   4u

static uint32_t completion_bytes(void)
{
	return (uint32_t)packet_ring_bytes(DESCRIPTOR_BYTES, NVSP_MAX_MESSAGE_BYTES);
}

void queue_mark_dirty(struct queue *queue)
{
	queue->nic->dirty_queues |= UINT64_C(1) << queue->sub_index;
	switch_port_touch(queue->nic->path->sw, queue->nic->port);
}

static struct journal *queue_journal(const struct queue *queue)
{
	return queue_is_broken(queue) ? NULL : queue->nic->journal;
}

static void journal_return_chain(const struct queue *queue, uint32_t chain)
{
	while (queue->nic->journal && chain != RX_NO_SECTION) {
		journal_return(queue->nic->journal, chain);
		chain = queue->nic->rx_buffer.next[chain];
	}
}

/* Returned sections may be lent again. */
static void free_returned(struct queue *queue)
{
	for (uint16_t i = 0; i < queue->returned_count; i++) {
		uint16_t id = queue->returned_ids[i];

		rx_buffer_release(&queue->nic->rx_buffer, queue->chains[id]);
		queue->chains[id] = RX_NO_SECTION;
		queue->free_ids[queue->free_id_count++] = id;
		queue->returned[id / 64] &= ~(UINT64_C(1) << id % 64);
	}
	queue->returned_count = 0;
}

void queue_flush(struct queue *queue)
{
	struct journal *journal = queue_journal(queue);
	bool owed = queue->signal_owed;

	/* The order is the journal's: see journal.h. */
	if (journal) {
		if (queue->sub_index == 0)
			nic_journal_control(queue->nic);
		journal_commit(journal, queue->sub_index, queue->generation++,
			       queue->out.local_index, queue->in.local_index);
	}
	owed |= ring_publish_write(&queue->out);
	for (uint16_t i = 0; i < queue->returned_count; i++)
		journal_return_chain(queue, queue->chains[queue->returned_ids[i]]);
	owed |= ring_publish_read(&queue->in);
	free_returned(queue);
	queue->signal_owed = false;
	if (owed)
		event_signal_raise(&queue->signal);
}

void queue_begin(struct queue *queue)
{
	const struct journal_ring ring = {queue->gpadl_id, queue->downstream_page_offset};
	const struct journal_record record = {
		.generation = queue->generation++,
		.out_index = queue->out.local_index,
		.in_index = queue->in.local_index,
	};

	if (queue->nic->journal)
		journal_begin_channel(queue->nic->journal, queue->sub_index, &ring, &record);
}

/* ---- to the guest ---- */

void queue_reset_transactions(struct queue *queue, bool release)
{
	uint32_t limit = queue->nic->rx_buffer.section_count;

	if (limit > QUEUE_MAX_TRANSACTIONS)
		limit = QUEUE_MAX_TRANSACTIONS;
	for (uint32_t i = 0; i < QUEUE_MAX_TRANSACTIONS; i++) {
		if (release) {
			journal_return_chain(queue, queue->chains[i]);
			rx_buffer_release(&queue->nic->rx_buffer, queue->chains[i]);
		}
		queue->chains[i] = RX_NO_SECTION;
	}
	/* DPDK's driver uses ids as an index below the number of sections. 0 is left out, so that
	 * no guest takes it for the absence of one. */
	queue->returned_count = 0;
	memset(queue->returned, 0, sizeof(queue->returned));
	queue->free_id_count = 0;
	for (uint32_t id = limit; id > 1; id--)
		queue->free_ids[queue->free_id_count++] = (uint16_t)(id - 1);
}

uint32_t queue_rx_room(struct queue *queue)
{
	uint32_t fixed = (uint32_t)packet_ring_bytes(DESCRIPTOR_BYTES + EXTRA_HEADER_BYTES,
						     NVSP_MAX_MESSAGE_BYTES);
	int64_t room =
		ring_writable_bytes(&queue->out) - queue->out.data_bytes / RESERVE_SHARE - fixed;

	if (queue->free_id_count == 0 || room < (int64_t)sizeof(struct transfer_range))
		return 0;
	room /= (int64_t)sizeof(struct transfer_range);
	return room < QUEUE_MAX_RANGES ? (uint32_t)room : QUEUE_MAX_RANGES;
}

int queue_rx_send(struct queue *queue, uint32_t channel_type, const struct transfer_range *ranges,
		  uint32_t count, uint32_t chain)
{
	const struct nic *nic = queue->nic;
	size_t length = nvsp_session_reply_bytes(nic->nvsp);
	uint8_t message[NVSP_MAX_MESSAGE_BYTES];
	uint16_t id;
	int err;

	if (queue->free_id_count == 0)
		return -EAGAIN;
	id = queue->free_ids[queue->free_id_count - 1];
	nvsp_build_rndis(message, length, channel_type);
	err = packet_write_transfer_pages(&queue->out, id, nic->rx_buffer.set_id, ranges, count,
					  message, length);
	if (err)
		return err;
	queue->free_id_count--;
	queue->chains[id] = chain;
	for (; queue->nic->journal && chain != RX_NO_SECTION; chain = nic->rx_buffer.next[chain])
		journal_lend(queue->nic->journal,
			     &(struct held_section){chain, (uint16_t)queue->sub_index, id},
			     queue->generation);
	queue_mark_dirty(queue);
	return 0;
}

/* The guest gives sections back. */
static void take_completion(struct queue *queue, uint64_t id)
{
	if (id >= QUEUE_MAX_TRANSACTIONS || queue->chains[id] == RX_NO_SECTION) {
		log_warn_limited("%s: the guest completed transaction %llu, which it does not hold",
				 queue->nic->config.name, (unsigned long long)id);
		return;
	}
	if (queue->returned[id / 64] & UINT64_C(1) << id % 64)
		return; /* twice in one round: the first one counts */
	if (queue->returned_count == QUEUE_MAX_RETURNED)
		queue_flush(queue); /* cannot be: a poll reads fewer packets */
	queue->returned[id / 64] |= UINT64_C(1) << id % 64;
	queue->returned_ids[queue->returned_count++] = (uint16_t)id;
}

/* Goes on behind packets that another netvspd has answered, and whose sections it may not have
 * taken back. */
static void skip_answered(struct queue *queue, uint32_t in_index)
{
	int64_t readable = ring_readable_bytes(&queue->in);
	struct packet packet;
	uint32_t distance;

	if (in_index >= queue->in.data_bytes || readable < 0)
		return;
	distance = in_index >= queue->in.local_index
			   ? in_index - queue->in.local_index
			   : queue->in.data_bytes - queue->in.local_index + in_index;
	if (distance > readable)
		return; /* it was published, and the guest has gone on */
	while (queue->in.local_index != in_index &&
	       packet_read(&queue->in, queue->nic->scratch, sizeof(queue->nic->scratch), &packet) >
		       0) {
		if (packet.type == PACKET_COMPLETION &&
		    packet.transaction_id < QUEUE_MAX_TRANSACTIONS &&
		    queue->chains[packet.transaction_id] != RX_NO_SECTION)
			take_completion(queue, packet.transaction_id);
		if (queue->returned_count == QUEUE_MAX_RETURNED)
			free_returned(queue);
	}
	free_returned(queue);
}

void queue_adopt_transactions(struct queue *queue, const struct restored_channel *restored)
{
	uint16_t free_ids = 0;

	queue_reset_transactions(queue, false);
	memcpy(queue->chains, restored->chains, sizeof(queue->chains));
	for (uint16_t i = 0; i < queue->free_id_count; i++) {
		if (queue->chains[queue->free_ids[i]] == RX_NO_SECTION)
			queue->free_ids[free_ids++] = queue->free_ids[i];
	}
	queue->free_id_count = free_ids;
	queue->generation = restored->generation + 1;
	if (restored->has_in_index && !queue_is_broken(queue))
		skip_answered(queue, restored->in_index);
}

/* ---- from the guest ---- */

static void forward_batch(struct queue *queue)
{
	if (queue->batch_count == 0)
		return;
	vswitch_forward(queue->nic->path->sw, queue->nic->port, queue->batch, queue->batch_count);
	queue->batch_count = 0;
}

static bool size_is_allowed(const struct nic *nic, const struct rndis_tx_packet *packet)
{
	if (packet->flags & RNDIS_TX_LSO)
		return packet->mss <= nic->config.mtu;
	return packet->payload_bytes <= nic->config.mtu + RTE_ETHER_HDR_LEN + VLAN_TAG_BYTES;
}

static void receive_frame(struct queue *queue, const struct rndis_run *runs, size_t run_count,
			  const struct rndis_tx_packet *packet)
{
	struct nic *nic = queue->nic;
	struct switch_port_counters *counters = switch_port_counters(nic->port);
	struct rte_mbuf *mbuf;
	void *frame;

	if (!size_is_allowed(nic, packet)) {
		counters->in_malformed++;
		return;
	}
	mbuf = mbuf_pools_alloc(&nic->path->pools, packet->payload_bytes);
	if (!mbuf) {
		counters->in_dropped++;
		return;
	}
	frame = rte_pktmbuf_append(mbuf, (uint16_t)packet->payload_bytes);
	if (!frame ||
	    rndis_runs_copy(runs, run_count, packet->payload_offset, frame, packet->payload_bytes) <
		    0 ||
	    offload_from_guest(mbuf, packet) < 0) {
		rte_pktmbuf_free(mbuf);
		counters->in_malformed++;
		return;
	}
	portals_note(&nic->portals, mbuf);
	queue->batch[queue->batch_count++] = mbuf;
	if (queue->batch_count == SWITCH_BURST)
		forward_batch(queue);
}

/* All frames of one NVSP packet. */
static enum nvsp_status receive_frames(struct queue *queue, const struct rndis_run *runs,
				       size_t run_count, uint32_t *bytes)
{
	struct rndis_tx_packet packet;
	struct rndis_tx_walk walk;

	if (rndis_control_state(queue->nic->rndis) == RNDIS_STATE_UNINITIALISED)
		return NVSP_STATUS_FAILURE;
	if (rndis_tx_begin(&walk, runs, run_count) < 0)
		return NVSP_STATUS_INVALID_RNDIS_PACKET;
	for (unsigned int i = 0; i <= RNDIS_MAX_PACKETS_PER_MESSAGE; i++) {
		int rc = rndis_tx_next(&walk, &packet);

		if (rc == 0)
			return NVSP_STATUS_SUCCESS;
		if (rc < 0 || i == RNDIS_MAX_PACKETS_PER_MESSAGE)
			break;
		*bytes += packet.payload_bytes;
		receive_frame(queue, runs, run_count, &packet);
	}
	switch_port_counters(queue->nic->port)->in_malformed++;
	return NVSP_STATUS_INVALID_RNDIS_PACKET;
}

/* Where the RNDIS bytes of a packet are. Returns the number of runs, or -EINVAL. */
static ssize_t find_runs(struct queue *queue, const struct packet *packet,
			 const struct nvsp_rndis *rndis, struct rndis_run *runs)
{
	struct nic *nic = queue->nic;
	struct gpa_piece pieces[PACKET_MAX_GPNS];
	size_t offset, length, count = 0;
	ssize_t piece_count;

	if (nvsp_rndis_section(rndis, nvsp_session_layout(nic->nvsp, NVSP_BUFFER_SEND), &offset,
			       &length) < 0)
		return -EINVAL;
	while (length > 0) {
		uint8_t *hva;
		size_t run = gpadl_view_run(nic->send_view, offset, length, &hva);

		if (run == 0 || count == MAX_RUNS)
			return -EINVAL;
		runs[count++] = (struct rndis_run){.bytes = hva, .length = (uint32_t)run};
		offset += run;
		length -= run;
	}
	if (packet->type != PACKET_GPA_DIRECT)
		return (ssize_t)count;
	piece_count = packet_gpa_pieces(packet, pieces, PACKET_MAX_GPNS);
	if (piece_count < 0 || count + (size_t)piece_count > MAX_RUNS)
		return -EINVAL;
	for (ssize_t i = 0; i < piece_count; i++) {
		const void *hva =
			guest_memory_for_read(nic->memory, pieces[i].gpa, pieces[i].length);

		if (!hva)
			return -EINVAL;
		runs[count++] = (struct rndis_run){.bytes = hva, .length = pieces[i].length};
	}
	return (ssize_t)count;
}

static enum nvsp_status receive_rndis(struct queue *queue, const struct packet *packet,
				      uint32_t *bytes)
{
	struct rndis_run runs[MAX_RUNS];
	struct nvsp_rndis rndis;
	ssize_t count;

	if (nvsp_parse_rndis(packet->payload, packet->payload_bytes, &rndis) < 0)
		return NVSP_STATUS_INVALID_RNDIS_PACKET;
	count = find_runs(queue, packet, &rndis, runs);
	if (count < 0) {
		switch_port_counters(queue->nic->port)->in_malformed++;
		return NVSP_STATUS_INVALID_RNDIS_PACKET;
	}
	if (rndis.channel_type == NVSP_RNDIS_DATA)
		return receive_frames(queue, runs, (size_t)count, bytes);
	if (queue->sub_index != 0)
		return NVSP_STATUS_FAILURE;
	return nic_control_request(queue->nic, runs, (size_t)count);
}

static void complete(struct queue *queue, uint64_t transaction_id, const void *reply, size_t length)
{
	int err = packet_write_completion(&queue->out, transaction_id, reply, length);

	if (err) /* the ring is broken: there was room */
		log_warn_limited("%s: a completion was lost: %s", queue->nic->config.name,
				 strerror(-err));
	queue_mark_dirty(queue);
}

static void take_packet(struct queue *queue, const struct packet *packet, uint32_t *bytes)
{
	bool wants_completion = packet->flags & PACKET_FLAG_COMPLETION_REQUESTED;
	size_t length = nvsp_session_reply_bytes(queue->nic->nvsp);
	uint8_t reply[NVSP_MAX_MESSAGE_BYTES];
	enum nvsp_status status;

	if (packet->type == PACKET_COMPLETION) {
		take_completion(queue, packet->transaction_id);
		return;
	}
	if (packet->type != PACKET_TRANSFER_PAGES &&
	    nvsp_message_type(packet->payload, packet->payload_bytes) == NVSP_RNDIS) {
		status = receive_rndis(queue, packet, bytes);
		if (!wants_completion)
			return;
		nvsp_build_rndis_complete(reply, length, status);
		complete(queue, packet->transaction_id, reply, length);
	} else if (packet->type != PACKET_TRANSFER_PAGES && queue->sub_index == 0) {
		nvsp_session_message(queue->nic->nvsp, packet->transaction_id, wants_completion,
				     packet->payload, packet->payload_bytes);
	} else if (wants_completion) {
		complete(queue, packet->transaction_id, NULL, 0);
	}
}

/* How many packets may be read now, so that each can be completed. */
static uint32_t completion_room(struct queue *queue)
{
	int64_t room = ring_writable_bytes(&queue->out) / completion_bytes();

	if (room > 0) {
		if (queue->stuck)
			ring_set_pending_send_bytes(&queue->out, 0);
		queue->stuck = false;
		return room < POLL_PACKETS ? (uint32_t)room : POLL_PACKETS;
	}
	if (room == 0 && !queue->stuck) {
		queue->stuck = true;
		ring_set_pending_send_bytes(&queue->out, queue->out.data_bytes / RESERVE_SHARE);
	}
	return 0;
}

static void report_broken(const struct queue *queue)
{
	log_warn_limited(
		"%s: channel %u: the guest broke its ring; nothing more is read until it opens "
		"the channel again",
		queue->nic->config.name, queue->sub_index);
}

static unsigned int queue_poll(void *ctx)
{
	struct queue *queue = ctx;
	uint32_t room, done = 0, bytes = 0;
	struct packet packet;

	if (queue_is_broken(queue))
		return 0;
	room = completion_room(queue);
	while (done < room && bytes < POLL_BYTES &&
	       packet_read(&queue->in, queue->nic->scratch, sizeof(queue->nic->scratch), &packet) >
		       0) {
		take_packet(queue, &packet, &bytes);
		done++;
	}
	if (queue_is_broken(queue))
		report_broken(queue);
	forward_batch(queue);
	if (done > 0)
		queue_mark_dirty(queue); /* what was read is published by the flush */
	return done;
}

/* Messages that waited for room: true where some could go. The guest's signal that it has read
 * comes without a packet, so no round of work would send them. */
static bool send_waiting_control(struct queue *queue)
{
	struct nic *nic = queue->nic;
	unsigned int waiting = nic->control_count;

	if (queue->sub_index != 0 || waiting == 0)
		return false;
	nic_control_flush(nic);
	if (nic->control_count == waiting)
		return false;
	vswitch_flush(nic->path->sw);
	return true;
}

static bool queue_arm(void *ctx)
{
	struct queue *queue = ctx;

	if (queue_is_broken(queue))
		return false;
	if (queue->stuck) /* the guest signals when it has read; look once more, since it may have
			     already */
		return ring_writable_bytes(&queue->out) >= completion_bytes();
	if (send_waiting_control(queue))
		return true;
	if (!ring_unmask(&queue->in))
		return false;
	ring_mask(&queue->in);
	return !queue->in.broken;
}

static void queue_disarm(void *ctx)
{
	struct queue *queue = ctx;

	if (!queue_is_broken(queue))
		ring_mask(&queue->in);
}

static const struct worker_source_ops source_ops = {
	.poll = queue_poll, .arm = queue_arm, .disarm = queue_disarm};

/* ---- set-up ---- */

/* A ring that the guest had broken before its NIC was restored: it stays so until the guest opens
 * the channel anew. That must not keep the VM from moving. */
static void ring_init_broken(struct ring *ring, struct gpadl_view *view)
{
	*ring = (struct ring){
		.view = view, .control = (_Atomic uint32_t *)view->pages[0], .broken = true};
}

static int init_rings(struct queue *queue, bool restored)
{
	int err = ring_init_reader(&queue->in, queue->in_view);

	if (!err)
		err = ring_init_writer(&queue->out, queue->out_view);
	if (err != -EPROTO || !restored)
		return err;
	ring_init_broken(&queue->in, queue->in_view);
	ring_init_broken(&queue->out, queue->out_view);
	report_broken(queue);
	return 0;
}

int queue_create(struct nic *nic, const struct gpadl *gpadl, const struct nic_channel *channel,
		 struct queue **out)
{
	size_t page_count = gpadl->ranges[0].byte_count / GUEST_PAGE_SIZE;
	struct queue *queue;
	int err;

	if (channel->downstream_page_offset >= page_count)
		return -EINVAL;
	queue = calloc(1, sizeof(*queue));
	if (!queue)
		return -ENOMEM;
	queue->nic = nic;
	queue->sub_index = channel->sub_index;
	queue->gpadl_id = channel->gpadl_id;
	queue->downstream_page_offset = channel->downstream_page_offset;
	err = gpadl_view_create(nic->memory, gpadl, 0, channel->downstream_page_offset,
				&queue->in_view);
	if (!err)
		err = gpadl_view_create(nic->memory, gpadl, channel->downstream_page_offset,
					page_count - channel->downstream_page_offset,
					&queue->out_view);
	if (!err)
		err = init_rings(queue, channel->restored);
	if (err) {
		gpadl_view_free(queue->out_view);
		gpadl_view_free(queue->in_view);
		free(queue);
		return err;
	}
	for (uint32_t i = 0; i < QUEUE_MAX_TRANSACTIONS; i++)
		queue->chains[i] = RX_NO_SECTION;
	queue->kick_fd = channel->kick_fd;
	queue->signal = (struct event_signal){
		.memory = nic->memory,
		.table = nic->signals,
		.vp = channel->target_vp,
		.flag = channel->event_flag,
		.irqfd = channel->irqfd,
	};
	queue->source.ops = &source_ops;
	queue->source.ctx = queue;
	queue->source.event_fd = queue->kick_fd;
	*out = queue;
	return 0;
}

void queue_destroy(struct queue *queue)
{
	if (!queue)
		return;
	close(queue->kick_fd);
	if (queue->signal.irqfd >= 0)
		close(queue->signal.irqfd);
	gpadl_view_free(queue->out_view);
	gpadl_view_free(queue->in_view);
	free(queue);
}
