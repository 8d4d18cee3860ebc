/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * RNDIS data messages. From the guest: one or several in one NVSP packet, scattered over a
 * send-buffer section and pages; each header is copied out once and checked, the payload is
 * described, not copied. To the guest: the header ahead of a frame, with per-packet info.
 * Stateless; any thread. Source: [MS-RNDIS] 2.2.1; wire/rndis.h.
 */
#ifndef LUNAR_NETVSP_RNDIS_PACKET_H
#define LUNAR_NETVSP_RNDIS_PACKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "wire/rndis.h"

/* A run of bytes that the guest can still change. */
struct rndis_run {
	const uint8_t *bytes;
	uint32_t length;
};

/* ---- guest to host ---- */

#define RNDIS_TX_MIN_FRAME_BYTES 14
#define RNDIS_TX_MAX_FRAME_BYTES                                                                   \
	65549			    /* an IP packet of 64 KiB less one, and the Ethernet header */
#define RNDIS_TX_MAX_INFO_BYTES 256 /* of per-packet info; Linux sends at most 64 */

#define RNDIS_TX_CSUM_IP  0x01u /* fill in the IPv4 header checksum */
#define RNDIS_TX_CSUM_TCP 0x02u /* the checksum field holds the pseudo-header's sum */
#define RNDIS_TX_CSUM_UDP 0x04u
#define RNDIS_TX_IPV4	  0x08u /* with CSUM_TCP, CSUM_UDP or LSO: which IP it is */
#define RNDIS_TX_IPV6	  0x10u
#define RNDIS_TX_LSO                                                                               \
	0x20u /* TCP, to be cut into segments of mss; IPv4 total length and checksum are not set   \
	       */
#define RNDIS_TX_VLAN 0x40u
#define RNDIS_TX_HASH 0x80u

struct rndis_tx_packet {
	uint32_t payload_offset; /* of the frame, from the start of the runs */
	uint32_t payload_bytes;	 /* RNDIS_TX_MIN_FRAME_BYTES..RNDIS_TX_MAX_FRAME_BYTES */
	uint16_t flags;		 /* RNDIS_TX_* */
	uint16_t l4_offset;	 /* from the start of the frame; 0: not given. Inside the frame, but
				    nothing more is checked */
	uint16_t mss;		 /* with LSO; at least 1 */
	uint16_t vlan_tci;	 /* as in an 802.1Q tag: priority 3, CFI 1, VLAN id 12 */
	uint32_t hash;
};

/* Where a walk over one NVSP packet's messages stands. */
struct rndis_tx_walk {
	const struct rndis_run *runs;
	size_t run_count;
	uint32_t total_bytes;
	uint32_t offset; /* of the next message */
};

/* Starts a walk. The runs stay the caller's. Returns 0, or -EBADMSG: nothing at all, or more than 1
 * MiB in all. */
int rndis_tx_begin(struct rndis_tx_walk *walk, const struct rndis_run *runs, size_t run_count);
/*
 * The next packet. Returns 1, 0 at the end, -EBADMSG: this message is malformed; what follows
 * cannot be found, the walk is over (packets already given stay good; complete the NVSP packet with
 * NVSP_STATUS_INVALID_RNDIS_PACKET).
 */
int rndis_tx_next(struct rndis_tx_walk *walk, struct rndis_tx_packet *packet);

/* Copies [offset, offset + length) out of runs. Returns 0 or -EINVAL (out of range; nothing
 * copied). */
int rndis_runs_copy(const struct rndis_run *runs, size_t run_count, uint32_t offset, void *to,
		    uint32_t length);
/* Describes [offset, offset + length) of runs as at most max slices. Returns their number, -EINVAL
 * (out of range) or -E2BIG. */
ssize_t rndis_runs_slice(const struct rndis_run *runs, size_t run_count, uint32_t offset,
			 uint32_t length, struct rndis_run *slices, size_t max);

/* ---- host to guest ---- */

#define RNDIS_RX_MAX_HEADER_BYTES 124 /* all per-packet info present */

#define RNDIS_RX_CHECKSUM 0x01u /* checksum results are given: csum */
#define RNDIS_RX_VLAN	  0x02u
#define RNDIS_RX_HASH	  0x04u
#define RNDIS_RX_RSC                                                                               \
	0x08u /* a fragment of a coalesced packet: rsc. The other info counts on the first only */

struct rndis_rx_info {
	uint16_t flags;	   /* RNDIS_RX_* */
	uint16_t vlan_tci; /* as in an 802.1Q tag */
	uint32_t csum;	   /* RNDIS_RXCSUM_* */
	uint32_t hash;
	uint32_t hash_type; /* one NDIS_HASH_*, or NDIS_HASH_TOEPLITZ with it; 0: the type is not
			       told */
	uint8_t rsc;	    /* RNDIS_RSC_FIRST, RNDIS_RSC_LAST or 0 */
};

/* Length of the header for this info: 44, and 16 for each piece of info (32 for a hash with its
 * type). A multiple of 4. */
static inline uint32_t rndis_rx_header_bytes(const struct rndis_rx_info *info)
{
	uint32_t pieces = 0;

	pieces += (info->flags & RNDIS_RX_CHECKSUM) != 0;
	pieces += (info->flags & RNDIS_RX_VLAN) != 0;
	pieces += (info->flags & RNDIS_RX_HASH) != 0;
	pieces += (info->flags & RNDIS_RX_HASH) != 0 && info->hash_type != 0;
	pieces += (info->flags & RNDIS_RX_RSC) != 0;
	return 44 + 16 * pieces;
}

/*
 * Writes the header of a frame of frame_bytes that follows it directly: the range of the
 * transfer-page packet is header and frame. header has room for RNDIS_RX_MAX_HEADER_BYTES. Returns
 * rndis_rx_header_bytes(info).
 */
uint32_t rndis_rx_build_header(uint8_t *header, uint32_t frame_bytes,
			       const struct rndis_rx_info *info);

#endif
