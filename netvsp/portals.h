/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The iSCSI portals that a guest was seen to talk to, noted from the frames that it sends: whether
 * another host reaches them is asked before the guest moves there. Worker's thread.
 */
#ifndef LUNAR_NETVSP_PORTALS_H
#define LUNAR_NETVSP_PORTALS_H

#include <stdint.h>

#include <rte_ether.h>
#include <rte_mbuf.h>

#include "base/bytes.h"
#include "wire/vsp.h"

#define PORTALS_PORT 3260

struct portal_list {
	uint32_t count;
	struct vsp_portal portals[VSP_MAX_PORTALS]; /* the latest first */
};

/* A TCP segment of a guest to PORTALS_PORT, its TCP header at l4_offset. */
void portals_note_segment(struct portal_list *list, const struct rte_mbuf *frame,
			  uint32_t l4_offset);

/* Any frame of a guest, its tag outside: a few comparisons for one that is not for a portal. */
static inline void portals_note(struct portal_list *list, const struct rte_mbuf *frame)
{
	const uint8_t *bytes = rte_pktmbuf_mtod(frame, const uint8_t *);
	uint32_t l4_offset;
	uint8_t protocol;

	if (frame->data_len < 54) /* no TCP segment is shorter */
		return;
	switch (get_be16(bytes + 12)) {
	case RTE_ETHER_TYPE_IPV4:
		l4_offset = 14 + (bytes[14] & 0xfu) * 4;
		protocol = bytes[23];
		break;
	case RTE_ETHER_TYPE_IPV6:
		l4_offset = 54;
		protocol = bytes[20];
		break;
	default:
		return;
	}
	if (protocol == 6 && l4_offset + 4 <= frame->data_len &&
	    get_be16(bytes + l4_offset + 2) == PORTALS_PORT)
		portals_note_segment(list, frame, l4_offset);
}

#endif
