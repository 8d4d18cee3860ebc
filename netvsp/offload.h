/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Checksums and segmentation that a sender left to us. A guest's wishes become mbuf metadata once
 * its headers have been checked; from there a frame goes
 *  - to another guest as it is: nobody computes what nobody could have damaged, and the receiver is
 * told that the checksum is good (not so where the sender computed it by itself: then the receiver
 * checks it). But where the receiver has coalescing off the checksum is filled in: that is how
 * Linux sets up a NIC whose frames it forwards, and nothing in a forwarded frame says any more that
 * its checksum is not there;
 *  - to the wire: done by the port where it offers that, in software otherwise.
 *
 * A frame from the wire is called good only where the port has checked it. Otherwise the guest
 * does: it has the bytes in its cache next, and the work is paid by the one who gets the frame.
 */
#ifndef LUNAR_NETVSP_OFFLOAD_H
#define LUNAR_NETVSP_OFFLOAD_H

#include <stdbool.h>
#include <stdint.h>

#include <rte_mbuf.h>

#include "netvsp/mbuf_pools.h"
#include "netvsp/rndis_packet.h"

#define OFFLOAD_MIN_MSS	     48u /* Linux's default for the least that it sends */
#define OFFLOAD_MAX_SEGMENTS 1408

/*
 * Takes the 802.1Q tag out of the frame into vlan_tci, if there is one. Any frame. The mbuf is not
 * shared and its first 18 bytes are in one piece.
 */
void offload_strip_vlan(struct rte_mbuf *mbuf);

/*
 * Notes what a guest asked for: checks the headers of the frame (all of it in the first segment)
 * and sets ol_flags, lengths and the tag. The IPv4 header checksum is computed here, lengths that
 * LSO leaves to the device are filled in, padding behind the IP packet is cut off. Returns 0, or
 * -EINVAL: the frame is not what the request says.
 */
int offload_from_guest(struct rte_mbuf *mbuf, const struct rndis_tx_packet *request);

/* Whether the frame is to be cut into segments. */
static inline bool offload_is_large(const struct rte_mbuf *mbuf)
{
	return mbuf->ol_flags & RTE_MBUF_F_TX_TCP_SEG;
}

/*
 * Cuts a large frame. The segments carry the frame's tag and checksum request (not computed yet),
 * IPv4 header checksums are computed. Frees mbuf. Returns the number of segments, or -EINVAL,
 * -ENOMEM (mbuf freed, none made).
 */
int offload_segment(const struct mbuf_pools *pools, struct rte_mbuf *mbuf,
		    struct rte_mbuf **segments, uint16_t max);

/* RNDIS_RXCSUM_* for the guest that receives this frame; 0: nothing is known. */
uint32_t offload_rx_checksum(const struct rte_mbuf *mbuf);

/* Hash over addresses and ports, the same for all frames of a flow; 0 for what is not IP. */
uint32_t offload_flow_hash(const struct rte_mbuf *mbuf);

/*
 * Fills in the checksum that a sender left to us, if it did; what is noted of the frame stays. Not
 * for large frames. Takes mbuf; returns it or its own copy of a shared one, NULL where there is no
 * room for that.
 */
struct rte_mbuf *offload_fill_checksum(const struct mbuf_pools *pools, struct rte_mbuf *mbuf);

/*
 * A frame whose port vouched for it though its checksum is not filled in (virtio between local
 * ends): makes that a request, as a sender's. Before a frame leaves for where nobody knows that.
 */
void offload_request_unfilled(struct rte_mbuf *mbuf);

/* What an uplink does by itself: RTE_ETH_TX_OFFLOAD_* in force. */
struct offload_wire {
	const struct mbuf_pools *pools;
	uint64_t tx_offloads;
};

/*
 * Makes a frame ready for rte_eth_tx_prepare(): tag inserted, checksums and segments, each done
 * here where the port does not do it, one piece where the port takes no chains. Takes mbuf. Returns
 * the number of frames in out, or -EINVAL, -ENOMEM (nothing left).
 */
int offload_to_wire(const struct offload_wire *wire, struct rte_mbuf *mbuf, struct rte_mbuf **out,
		    uint16_t max);

#endif
