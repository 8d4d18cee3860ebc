/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Frames to the guest: each into a section of the receive buffer, as many as there are into one
 * transfer-page packet. A large frame goes as one coalesced packet (RSC) where the guest takes
 * that: pieces in consecutive ranges of one ring packet. Other guests get it in segments.
 */
#include "netvsp/nic_internal.h"

/* One transfer-page packet in the making. */
struct rx_batch {
	struct nic *nic;
	struct queue *queue;
	uint32_t chain;
	uint32_t count;
	uint32_t room;
	struct transfer_range ranges[QUEUE_MAX_RANGES];
};

void nic_reclaim(struct nic *nic)
{
	for (size_t i = 0; i < NVSP_MAX_CHANNELS; i++) {
		if (nic->queues[i] && nic->queues[i]->returned_count > 0)
			queue_flush(nic->queues[i]);
	}
}

static void batch_begin(struct rx_batch *batch, struct nic *nic, struct queue *queue)
{
	batch->nic = nic;
	batch->queue = queue;
	batch->chain = RX_NO_SECTION;
	batch->count = 0;
	batch->room = queue_rx_room(queue);
	if (batch->room == 0 && queue->returned_count > 0) {
		queue_flush(queue);
		batch->room = queue_rx_room(queue);
	}
}

static void batch_send(struct rx_batch *batch)
{
	if (batch->count == 0)
		return;
	if (queue_rx_send(batch->queue, NVSP_RNDIS_DATA, batch->ranges, batch->count,
			  batch->chain) < 0)
		rx_buffer_release(&batch->nic->rx_buffer, batch->chain);
	batch_begin(batch, batch->nic, batch->queue);
}

/* Makes room for count ranges that must not be parted. */
static bool batch_reserve(struct rx_batch *batch, uint32_t count)
{
	if (batch->nic->rx_buffer.free_count < count)
		nic_reclaim(batch->nic);
	if (batch->nic->rx_buffer.free_count < count)
		return false;
	if (count <= batch->room - batch->count)
		return true;
	batch_send(batch);
	return count <= batch->room;
}

/* One piece of a frame: a section, a range. Room was reserved. */
static void batch_add(struct rx_batch *batch, const struct rte_mbuf *frame, uint32_t offset,
		      uint32_t length, const struct rndis_rx_info *info)
{
	struct rx_buffer *buffer = &batch->nic->rx_buffer;
	uint8_t header[RNDIS_RX_MAX_HEADER_BYTES];
	uint32_t header_bytes = rndis_rx_build_header(header, length, info);

	rx_buffer_take(buffer, &batch->chain);
	rx_buffer_fill(buffer, batch->chain, header, header_bytes, frame, offset, length);
	batch->ranges[batch->count++] = (struct transfer_range){
		.byte_count = header_bytes + length,
		.byte_offset = batch->chain * buffer->section_bytes,
	};
}

static struct rndis_rx_info frame_info(const struct nic *nic, const struct rte_mbuf *frame)
{
	struct rndis_rx_info info = {0};
	struct vlan_tag tag;

	if (rndis_control_offloads(nic->rndis)->rx_checksum) {
		info.csum = offload_rx_checksum(frame);
		if (info.csum)
			info.flags |= RNDIS_RX_CHECKSUM;
	}
	if (switch_port_release(nic->port, frame, &tag) && tag.present) {
		info.flags |= RNDIS_RX_VLAN;
		info.vlan_tci = tag.tci;
	}
	return info;
}

/* A frame of ordinary size. */
static bool deliver_frame(struct rx_batch *batch, const struct rte_mbuf *frame)
{
	struct rndis_rx_info info = frame_info(batch->nic, frame);

	if (frame->pkt_len > batch->nic->rx_buffer.section_bytes - rndis_rx_header_bytes(&info) ||
	    !batch_reserve(batch, 1))
		return false;
	batch_add(batch, frame, 0, frame->pkt_len, &info);
	return true;
}

/* A large frame in pieces of one coalesced packet. */
static bool deliver_coalesced(struct rx_batch *batch, const struct rte_mbuf *frame)
{
	struct rndis_rx_info first = frame_info(batch->nic, frame);
	uint32_t piece_bytes = batch->nic->rx_buffer.section_bytes - RNDIS_RX_MAX_HEADER_BYTES;
	uint32_t pieces = (frame->pkt_len + piece_bytes - 1) / piece_bytes;

	if (!batch_reserve(batch, pieces))
		return false;
	first.flags |= RNDIS_RX_RSC;
	for (uint32_t i = 0; i < pieces; i++) {
		uint32_t offset = i * piece_bytes;
		uint32_t length = i + 1 < pieces ? piece_bytes : frame->pkt_len - offset;
		struct rndis_rx_info info =
			i == 0 ? first : (struct rndis_rx_info){.flags = RNDIS_RX_RSC};

		info.rsc = (uint8_t)((i == 0 ? RNDIS_RSC_FIRST : 0) |
				     (i + 1 == pieces ? RNDIS_RSC_LAST : 0));
		batch_add(batch, frame, offset, length, &info);
	}
	return true;
}

static bool takes_coalesced(const struct nic *nic, const struct rte_mbuf *frame)
{
	const struct rndis_offload_state *offloads = rndis_control_offloads(nic->rndis);

	return nvsp_session_version(nic->nvsp) >= NVSP_VERSION_61 && offloads->rx_checksum &&
	       (frame->ol_flags & RTE_MBUF_F_TX_IPV6 ? offloads->rsc6 : offloads->rsc4);
}

/* A frame of ordinary size, its checksum filled in. Takes the mbuf. */
static bool deliver_complete(struct rx_batch *batch, struct rte_mbuf *mbuf)
{
	bool delivered;

	mbuf = offload_fill_checksum(&batch->nic->path->pools, mbuf);
	if (!mbuf)
		return false;
	delivered = deliver_frame(batch, mbuf);
	rte_pktmbuf_free(mbuf);
	return delivered;
}

static bool deliver_segments(struct rx_batch *batch, struct rte_mbuf *frame)
{
	struct nic *nic = batch->nic;
	int count = offload_segment(&nic->path->pools, frame, nic->segments, OFFLOAD_MAX_SEGMENTS);
	bool all = count > 0;

	for (int i = 0; i < count; i++)
		all &= deliver_complete(batch, nic->segments[i]);
	return all;
}

/* Takes the mbuf. */
static bool deliver(struct rx_batch *batch, struct rte_mbuf *mbuf)
{
	bool delivered;

	if (!takes_coalesced(batch->nic, mbuf))
		return offload_is_large(mbuf) ? deliver_segments(batch, mbuf)
					      : deliver_complete(batch, mbuf);
	delivered = offload_is_large(mbuf) ? deliver_coalesced(batch, mbuf)
					   : deliver_frame(batch, mbuf);
	rte_pktmbuf_free(mbuf);
	return delivered;
}

static struct queue *choose_queue(const struct nic *nic, const struct rte_mbuf *mbuf)
{
	const struct rss_params *rss = rndis_control_rss(nic->rndis);
	uint16_t channel;

	if (!rss->enabled)
		return nic->queues[0];
	/* The guest is told no hash values, so it is ours to choose which: any that keeps a flow
	 * together. */
	channel = rss_channel(rss, offload_flow_hash(mbuf));
	return channel < NVSP_MAX_CHANNELS && nic->queues[channel] ? nic->queues[channel]
								   : nic->queues[0];
}

uint16_t nic_deliver(struct nic *nic, struct rte_mbuf **mbufs, uint16_t count)
{
	struct queue *queues[SWITCH_BURST];
	struct rx_batch batch;
	uint16_t delivered = 0;

	if (!nic->up || !nic->rx_buffer.view || !nic->queues[0]) {
		rte_pktmbuf_free_bulk(mbufs, count);
		return 0;
	}
	for (uint16_t i = 0; i < count; i++)
		queues[i] = choose_queue(nic, mbufs[i]);
	/* Queue after queue, so that each gets its frames in one packet. */
	for (uint16_t first = 0; first < count; first++) {
		struct queue *queue = queues[first];

		if (!queue)
			continue;
		batch_begin(&batch, nic, queue);
		for (uint16_t i = first; i < count; i++) {
			if (queues[i] != queue)
				continue;
			queues[i] = NULL;
			delivered = (uint16_t)(delivered + deliver(&batch, mbufs[i]));
		}
		batch_send(&batch);
	}
	return delivered;
}

uint16_t nic_transmit(void *ctx, struct rte_mbuf **mbufs, uint16_t count)
{
	struct nic *nic = ctx;

	return nic->phase == NIC_RUNNING ? nic_deliver(nic, mbufs, count)
					 : nic_hold(nic, mbufs, count);
}
