/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The two ends of a move's last frames. Where the VM was: frames that still come for it are taken
 * out as they would be on the wire, to be sent after it. Where it is: it is announced to the
 * network, and such frames are given to it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <rte_arp.h>
#include <rte_ethdev.h>

#include "base/bytes.h"
#include "base/log.h"
#include "netvsp/nic_internal.h"

#define LOG_COMPONENT "nic"

#define RARP_ETHER_TYPE	  0x8035
#define RARP_REVERSE	  3
#define MIN_FRAME_BYTES	  60u
#define MAX_CONTROL_QUEUE 32u

struct late_call {
	struct nic *nic;
	void *bytes;
	size_t length;
	int err;
};

/* ---- where the VM was ---- */

static void depart(void *ctx)
{
	struct late_call *call = ctx;
	struct nic *nic = call->nic;
	struct rte_ether_addr mac;

	if (nic->phase != NIC_RESTING) {
		call->err = -EINVAL;
		return;
	}
	nic->phase = NIC_DEPARTED;
	memcpy(mac.addr_bytes, rndis_control_address(nic->rndis), sizeof(mac.addr_bytes));
	switch_port_set_departed(nic->path->sw, nic->port, &mac);
	nic_late_notice(nic);
}

int nic_depart(struct nic *nic)
{
	struct late_call call = {.nic = nic};

	worker_call(nic->path->worker, depart, &call);
	return call.err;
}

bool nic_is_departed(const struct nic *nic)
{
	/* Only the control thread changes it, through the worker. */
	return nic->phase == NIC_DEPARTED;
}

void nic_late_notice(struct nic *nic)
{
	if (nic->held.count == 0 || nic->late_noticed)
		return;
	nic->late_noticed = true;
	nic->ops->late(nic->ctx);
}

/* Appends one frame as a VSP_LATE_FRAME. */
static void append_message(struct late_call *call, size_t size, const struct rte_mbuf *frame)
{
	struct vsp_frame *message = (void *)((uint8_t *)call->bytes + call->length);
	size_t bytes = sizeof(*message) + frame->pkt_len;
	const void *from;

	if (frame->pkt_len > VSP_MAX_FRAME_BYTES || bytes > size - call->length)
		return; /* cannot be: it came through a switch with smaller buffers */
	memset(message, 0, sizeof(*message));
	message->header.type = VSP_LATE_FRAME;
	message->header.size_bytes = (uint32_t)bytes;
	from = rte_pktmbuf_read(frame, 0, frame->pkt_len, message->bytes);
	if (from != message->bytes)
		memcpy(message->bytes, from, frame->pkt_len);
	call->length += align_up(bytes, NIC_LATE_ALIGN);
}

static void take_late(void *ctx)
{
	struct late_call *call = ctx;
	struct nic *nic = call->nic;
	const struct offload_wire wire = {.pools = &nic->path->pools,
					  .tx_offloads = RTE_ETH_TX_OFFLOAD_MULTI_SEGS};
	struct rte_mbuf *frame;

	while (NIC_LATE_BYTES - call->length >= NIC_LATE_FRAME_BYTES &&
	       (frame = hold_queue_pop(&nic->held))) {
		int count;

		offload_request_unfilled(frame);
		count = offload_to_wire(&wire, frame, nic->segments, OFFLOAD_MAX_SEGMENTS);
		for (int i = 0; i < count; i++) {
			append_message(call, NIC_LATE_BYTES, nic->segments[i]);
			rte_pktmbuf_free(nic->segments[i]);
		}
	}
	if (nic->held.count == 0)
		nic->late_noticed = false;
}

size_t nic_take_late(struct nic *nic, void *messages)
{
	struct late_call call = {.nic = nic, .bytes = messages};

	worker_call(nic->path->worker, take_late, &call);
	return call.length;
}

/* ---- where it is ---- */

/* Whether the guest would get such a frame from an uplink. */
static bool is_for_guest(const struct nic *nic, const struct rte_ether_addr *destination)
{
	uint32_t filter = rndis_control_packet_filter(nic->rndis);

	if (rte_is_broadcast_ether_addr(destination))
		return filter & (RNDIS_FILTER_BROADCAST | RNDIS_FILTER_PROMISCUOUS);
	if (rte_is_multicast_ether_addr(destination))
		return filter & (RNDIS_FILTER_ALL_MULTICAST | RNDIS_FILTER_MULTICAST |
				 RNDIS_FILTER_PROMISCUOUS);
	return memcmp(destination->addr_bytes, rndis_control_address(nic->rndis),
		      RTE_ETHER_ADDR_LEN) == 0 ||
	       (filter & RNDIS_FILTER_PROMISCUOUS);
}

static bool frame_is_sound(const struct nic *nic, const void *bytes, size_t length)
{
	const struct rte_ether_hdr *header = bytes;

	return length >= sizeof(*header) && !rte_is_multicast_ether_addr(&header->src_addr) &&
	       !rte_is_zero_ether_addr(&header->src_addr) && is_for_guest(nic, &header->dst_addr);
}

static void inject(void *ctx)
{
	struct late_call *call = ctx;
	struct nic *nic = call->nic;
	struct switch_port_counters *counters = switch_port_counters(nic->port);
	struct rte_mbuf *frame;
	struct vlan_tag tag;
	bool taken;

	if ((nic->phase != NIC_RUNNING && nic->phase != NIC_INCOMING) ||
	    !frame_is_sound(nic, call->bytes, call->length)) {
		call->err = -EINVAL;
		return;
	}
	frame = mbuf_pools_alloc(&nic->path->pools, call->length);
	if (!frame) {
		call->err = call->length > MBUF_LARGE_ROOM ? -EMSGSIZE : -ENOBUFS;
		return;
	}
	memcpy(rte_pktmbuf_append(frame, (uint16_t)call->length), call->bytes, call->length);
	offload_strip_vlan(frame);
	if (!switch_port_release(nic->port, frame, &tag)) {
		rte_pktmbuf_free(frame);
		counters->out_vlan++;
		call->err = -EINVAL;
		return;
	}
	if (nic->phase == NIC_RUNNING)
		taken = nic_deliver(nic, &frame, 1) == 1;
	else
		taken = hold_queue_push(&nic->held, frame);
	if (taken) {
		counters->out_packets++;
		counters->out_bytes += call->length;
	} else {
		counters->out_dropped++;
		call->err = -ENOBUFS;
	}
	vswitch_flush(nic->path->sw);
}

int nic_inject(struct nic *nic, const void *bytes, size_t length)
{
	/* Only read. */
	struct late_call call = {.nic = nic, .bytes = (void *)(uintptr_t)bytes, .length = length};

	worker_call(nic->path->worker, inject, &call);
	return call.err;
}

/* A reverse ARP request (RFC 903) with our address as its source: nobody answers it, and every
 * bridge on the way learns where we are. */
static struct rte_mbuf *make_rarp(const struct nic *nic, uint16_t vlan)
{
	const uint8_t *mac = rndis_control_address(nic->rndis);
	struct rte_mbuf *frame = mbuf_pools_alloc(&nic->path->pools, MIN_FRAME_BYTES);
	struct rte_ether_hdr *ether;
	struct rte_arp_hdr *arp;

	ether = frame ? (struct rte_ether_hdr *)rte_pktmbuf_append(frame, MIN_FRAME_BYTES) : NULL;
	if (!ether)
		return NULL;
	memset(ether, 0, MIN_FRAME_BYTES);
	arp = (struct rte_arp_hdr *)(ether + 1);
	memset(ether->dst_addr.addr_bytes, 0xff, RTE_ETHER_ADDR_LEN);
	memcpy(ether->src_addr.addr_bytes, mac, RTE_ETHER_ADDR_LEN);
	ether->ether_type = htobe16(RARP_ETHER_TYPE);
	arp->arp_hardware = htobe16(RTE_ARP_HRD_ETHER);
	arp->arp_protocol = htobe16(RTE_ETHER_TYPE_IPV4);
	arp->arp_hlen = RTE_ETHER_ADDR_LEN;
	arp->arp_plen = sizeof(rte_be32_t);
	arp->arp_opcode = htobe16(RARP_REVERSE);
	memcpy(arp->arp_data.arp_sha.addr_bytes, mac, RTE_ETHER_ADDR_LEN);
	memcpy(arp->arp_data.arp_tha.addr_bytes, mac, RTE_ETHER_ADDR_LEN);
	if (vlan) {
		frame->ol_flags |= RTE_MBUF_F_RX_VLAN | RTE_MBUF_F_RX_VLAN_STRIPPED;
		frame->vlan_tci = vlan;
	}
	return frame;
}

static void announce(void *ctx)
{
	struct late_call *call = ctx;
	struct nic *nic = call->nic;
	uint32_t count;

	if (nic->phase != NIC_RUNNING || !nic->up)
		return;
	/* Without a tag first: what that means is the port's to say. */
	count = switch_port_vlan(nic->port)->takes_tags ? nic->vlan_count : 0;
	for (uint32_t i = 0; i <= count; i++) {
		struct rte_mbuf *frame = make_rarp(nic, i == 0 ? 0 : nic->vlans[i - 1]);

		if (frame)
			vswitch_forward_to_uplinks(nic->path->sw, nic->port, frame);
	}
	vswitch_flush(nic->path->sw);
}

void nic_announce(struct nic *nic)
{
	struct late_call call = {.nic = nic};

	worker_call(nic->path->worker, announce, &call);
}

static void announce_to_guest(void *ctx)
{
	struct late_call *call = ctx;
	struct nic *nic = call->nic;

	if (nic->phase != NIC_RUNNING || nic->control_count >= MAX_CONTROL_QUEUE)
		return;
	rndis_control_announce(nic->rndis);
	vswitch_flush(nic->path->sw);
}

void nic_announce_to_guest(struct nic *nic)
{
	struct late_call call = {.nic = nic};

	worker_call(nic->path->worker, announce_to_guest, &call);
}
