/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Private VLANs, counted by the ports that are in them.
 */
#include "vlan/vlan_map.h"

#include <errno.h>
#include <string.h>

void vlan_map_init(struct vlan_map *map)
{
	memset(map, 0, sizeof(*map));
	for (uint32_t vid = 0; vid <= VLAN_ID_MASK; vid++)
		map->learned_as[vid] = (uint16_t)vid;
}

static bool is_private(const struct vlan_config *config)
{
	return config->mode == VLAN_ISOLATED || config->mode == VLAN_COMMUNITY ||
	       config->mode == VLAN_PROMISCUOUS;
}

/* The secondaries of a port of a private VLAN. */
static struct vlan_set secondaries(const struct vlan_config *config)
{
	struct vlan_set set = config->list;

	if (config->secondary)
		vlan_set_add(&set, config->secondary);
	return set;
}

static bool fits(const struct vlan_map_entry *entry, const struct vlan_config *config)
{
	if (entry->primaries)
		return false;
	if (entry->users == 0)
		return true;
	return entry->primary == config->id &&
	       !(config->mode == VLAN_ISOLATED && entry->community) &&
	       !(config->mode == VLAN_COMMUNITY && entry->isolated);
}

int vlan_map_add(struct vlan_map *map, const struct vlan_config *config, uint16_t *vlan)
{
	struct vlan_set set = secondaries(config);

	if (!is_private(config))
		return 0;
	*vlan = config->id;
	if (map->entries[config->id].users)
		return -EEXIST;
	for (uint16_t vid = vlan_set_next(&set, 1); vid <= VLAN_ID_MAX;
	     vid = vlan_set_next(&set, (uint16_t)(vid + 1))) {
		*vlan = vid;
		if (!fits(&map->entries[vid], config))
			return -EEXIST;
	}
	map->entries[config->id].primaries++;
	for (uint16_t vid = vlan_set_next(&set, 1); vid <= VLAN_ID_MAX;
	     vid = vlan_set_next(&set, (uint16_t)(vid + 1))) {
		struct vlan_map_entry *entry = &map->entries[vid];

		entry->primary = config->id;
		entry->users++;
		entry->isolated = (uint16_t)(entry->isolated + (config->mode == VLAN_ISOLATED));
		entry->community = (uint16_t)(entry->community + (config->mode == VLAN_COMMUNITY));
		map->learned_as[vid] = config->id;
	}
	return 0;
}

void vlan_map_remove(struct vlan_map *map, const struct vlan_config *config)
{
	struct vlan_set set = secondaries(config);

	if (!is_private(config))
		return;
	map->entries[config->id].primaries--;
	for (uint16_t vid = vlan_set_next(&set, 1); vid <= VLAN_ID_MAX;
	     vid = vlan_set_next(&set, (uint16_t)(vid + 1))) {
		struct vlan_map_entry *entry = &map->entries[vid];

		entry->users--;
		entry->isolated = (uint16_t)(entry->isolated - (config->mode == VLAN_ISOLATED));
		entry->community = (uint16_t)(entry->community - (config->mode == VLAN_COMMUNITY));
		if (entry->users == 0)
			map->learned_as[vid] = vid;
	}
}
