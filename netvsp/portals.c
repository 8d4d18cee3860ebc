/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The list of portals: short, the one that was talked to last in front.
 */
#include "netvsp/portals.h"

#include <string.h>

#define IPV4_FRAGMENT_OFFSET 0x1fff

/* Address, next hop and VLAN of a segment. False: it is none after all. */
static bool portal_read(const struct rte_mbuf *frame, uint32_t l4_offset, struct vsp_portal *portal)
{
	const uint8_t *bytes = rte_pktmbuf_mtod(frame, const uint8_t *);

	*portal = (struct vsp_portal){.port = PORTALS_PORT};
	if (get_be16(bytes + 12) == RTE_ETHER_TYPE_IPV4) {
		if (l4_offset < 34 || (get_be16(bytes + 20) & IPV4_FRAGMENT_OFFSET) != 0)
			return false;
		portal->address[10] = 0xff;
		portal->address[11] = 0xff;
		memcpy(portal->address + 12, bytes + 30, 4);
	} else {
		memcpy(portal->address, bytes + 38, sizeof(portal->address));
	}
	memcpy(portal->next_hop, bytes, sizeof(portal->next_hop));
	if (frame->ol_flags & RTE_MBUF_F_RX_VLAN_STRIPPED)
		portal->vlan = frame->vlan_tci & 0xfff;
	return !(portal->next_hop[0] & 1);
}

void portals_note_segment(struct portal_list *list, const struct rte_mbuf *frame,
			  uint32_t l4_offset)
{
	struct vsp_portal portal;
	uint32_t at = 0;

	if (!portal_read(frame, l4_offset, &portal))
		return;
	/* The same address by another way is the same portal. */
	while (at < list->count &&
	       memcmp(list->portals[at].address, portal.address, sizeof(portal.address)) != 0)
		at++;
	if (at == list->count) {
		if (list->count < VSP_MAX_PORTALS)
			list->count++;
		at = list->count - 1;
	}
	if (at > 0)
		memmove(&list->portals[1], &list->portals[0], at * sizeof(list->portals[0]));
	list->portals[0] = portal;
}
