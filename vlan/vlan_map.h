/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The private VLANs of one switch: which secondary belongs to which primary. All VLANs of a private
 * one learn addresses together, under the primary (IEEE 802.1Q calls it shared learning), since a
 * question goes out in one of them and its answer comes back in another. A secondary has one
 * primary, and is either isolated or a community: ports that disagree are refused.
 */
#ifndef LUNAR_VLAN_VLAN_MAP_H
#define LUNAR_VLAN_VLAN_MAP_H

#include "vlan/vlan_config.h"

struct vlan_map_entry {
	uint16_t primary;
	uint16_t users; /* ports; 0: no secondary */
	uint16_t isolated;
	uint16_t community; /* users that call it that; a promiscuous port does not say */
	uint16_t primaries; /* ports whose primary it is */
};

struct vlan_map {
	uint16_t learned_as[VLAN_ID_MASK + 1];
	struct vlan_map_entry entries[VLAN_ID_MASK + 1];
};

void vlan_map_init(struct vlan_map *map);
/* A port with this configuration (checked) comes, or goes. Nothing for modes that are not of a
 * private VLAN. add: returns 0; -EEXIST: one of its VLANs has another part on this switch; then
 * nothing is changed and *vlan says which. */
int vlan_map_add(struct vlan_map *map, const struct vlan_config *config, uint16_t *vlan);
void vlan_map_remove(struct vlan_map *map, const struct vlan_config *config);

/* The VLAN under which addresses in vid are learned. */
static inline uint16_t vlan_map_learned_as(const struct vlan_map *map, uint16_t vid)
{
	return map->learned_as[vid & VLAN_ID_MASK];
}

#endif
