/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The VLAN rules of one port, worked out once so that a frame costs a few instructions: which VLAN
 * a frame that comes in belongs to, whether one may leave, and with which tag. Pure: metadata in,
 * verdict out. Source: IEEE 802.1Q 6.9 and 8.6; the modes are Hyper-V's; docs/networking.md.
 *
 * Inside the switch a frame carries its VLAN as a tag beside it (struct vlan_tag): absent, or VLAN
 * id 0 with a priority, for frames without a VLAN. An uplink sends what it carries there as it is.
 */
#ifndef LUNAR_VLAN_VLAN_PORT_H
#define LUNAR_VLAN_VLAN_PORT_H

#include "vlan/vlan_config.h"

#define VLAN_PRIORITY_MASK 0xf000u /* of a TCI: priority, and the drop-eligible bit */

struct vlan_tag {
	bool present;
	uint16_t tci; /* priority 3 bits, drop eligible 1, VLAN id 12; 0 where absent */
};

enum vlan_verdict {
	VLAN_PASS,
	VLAN_DROP_NOT_MEMBER, /* the port has nothing to do with that VLAN, or takes no tags */
	VLAN_DROP_TAG_WITHIN, /* another tag would come to light, or takes the place of ours */
};

struct vlan_port {
	struct vlan_config config;
	bool is_default;
	bool takes_tags; /* frames may come with a VLAN id */
	uint16_t pvid;	 /* VLAN of frames that come without */
	uint16_t home;	 /* where the port's own address belongs, as the switch learns it */
	struct vlan_set members_in;
	struct vlan_set members_out;
};

/* config: checked. */
void vlan_port_set(struct vlan_port *port, const struct vlan_config *config);
/* An uplink that carries these VLANs; 0 in the set: frames without one. */
void vlan_port_set_uplink(struct vlan_port *port, const struct vlan_set *carried);

/* EtherTypes that announce a tag: 802.1Q, 802.1ad, and three that were in use before it. */
static inline bool vlan_is_tag_type(uint16_t ether_type)
{
	return ether_type == 0x8100 || ether_type == 0x88a8 || ether_type == 0x9100 ||
	       ether_type == 0x9200 || ether_type == 0x9300;
}

/*
 * A frame comes in by the port, with this tag (its outer 802.1Q tag, taken out of the frame or
 * given beside it); ether_type: what stands in the frame behind it. On VLAN_PASS *tag is the one it
 * has in the switch.
 */
static inline enum vlan_verdict vlan_port_admit(const struct vlan_port *port, struct vlan_tag *tag,
						uint16_t ether_type)
{
	uint16_t vid = tag->tci & VLAN_ID_MASK;

	if (port->is_default)
		return vlan_set_has(&port->members_in, vid) ? VLAN_PASS : VLAN_DROP_NOT_MEMBER;
	if (vid == 0) {
		/* The tag within would be the frame's outer one as soon as ours is taken off. */
		if (vlan_is_tag_type(ether_type))
			return VLAN_DROP_TAG_WITHIN;
		vid = port->pvid;
		tag->tci = (uint16_t)((tag->tci & VLAN_PRIORITY_MASK) | vid);
		tag->present = tag->tci != 0;
	} else if (!port->takes_tags) {
		return VLAN_DROP_NOT_MEMBER;
	}
	return vlan_set_has(&port->members_in, vid) ? VLAN_PASS : VLAN_DROP_NOT_MEMBER;
}

/*
 * A frame of the switch is to leave by the port. On VLAN_PASS *out is the tag that it leaves with:
 * none; VLAN id 0, which only keeps a priority; or its VLAN's.
 */
static inline enum vlan_verdict vlan_port_release(const struct vlan_port *port,
						  const struct vlan_tag *tag, uint16_t ether_type,
						  struct vlan_tag *out)
{
	uint16_t vid = tag->tci & VLAN_ID_MASK;

	if (!vlan_set_has(&port->members_out, vid))
		return VLAN_DROP_NOT_MEMBER;
	*out = *tag;
	if (port->is_default || (port->takes_tags && vid != port->pvid))
		return VLAN_PASS;
	if (vlan_is_tag_type(ether_type))
		return VLAN_DROP_TAG_WITHIN;
	out->tci &= VLAN_PRIORITY_MASK;
	out->present = out->tci != 0;
	return VLAN_PASS;
}

#endif
