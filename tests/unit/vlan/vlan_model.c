/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The model, and random ports and frames.
 */
#include "tests/unit/vlan/vlan_model.h"

#include <string.h>

int model_enter(const struct vlan_config *port, const struct model_frame *frame)
{
	bool says_vlan = frame->vid > 0;

	if (frame->vid == 4095)
		return -1;
	if (port->mode == VLAN_DEFAULT)
		return says_vlan ? frame->vid : 0;
	if (says_vlan && port->mode != VLAN_TRUNK)
		return -1;
	if (says_vlan)
		return frame->vid == port->id || vlan_set_has(&port->list, (uint16_t)frame->vid)
			       ? frame->vid
			       : -1;
	if (frame->tag_after)
		return -1;
	if (port->mode == VLAN_ISOLATED || port->mode == VLAN_COMMUNITY)
		return port->secondary;
	return port->mode == VLAN_UNTAGGED ? 0 : port->id;
}

bool model_leave(const struct vlan_config *port, int vlan, bool tag_after, int *vid)
{
	*vid = -1;
	if (port->mode == VLAN_DEFAULT || (port->mode == VLAN_TRUNK && vlan != port->id)) {
		*vid = vlan;
		return port->mode == VLAN_DEFAULT ||
		       (vlan > 0 && vlan_set_has(&port->list, (uint16_t)vlan));
	}
	if (tag_after)
		return false;
	if (vlan == (port->mode == VLAN_UNTAGGED ? 0 : port->id))
		return true;
	if (port->mode == VLAN_COMMUNITY)
		return vlan == port->secondary;
	return port->mode == VLAN_PROMISCUOUS && vlan > 0 &&
	       vlan_set_has(&port->list, (uint16_t)vlan);
}

uint32_t random_below(struct random_state *state, uint32_t below)
{
	state->value = state->value * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)(state->value >> 33) % below;
}

static uint16_t random_id(struct random_state *state)
{
	static const uint16_t ids[] = {10, 11, 12, 20, 21, 22};

	return ids[random_below(state, 6)];
}

void random_config(struct random_state *state, struct vlan_config *config)
{
	*config =
		(struct vlan_config){.mode = (enum vlan_mode)random_below(state, VLAN_MODE_COUNT)};
	switch (config->mode) {
	case VLAN_ACCESS:
		config->id = random_id(state);
		break;
	case VLAN_TRUNK:
		config->id = random_below(state, 2) ? random_id(state) : 0;
		for (uint32_t i = random_below(state, 4) + 1; i > 0; i--)
			vlan_set_add(&config->list, random_id(state));
		break;
	case VLAN_ISOLATED:
	case VLAN_COMMUNITY:
		config->id = 20;
		config->secondary = config->mode == VLAN_ISOLATED ? 21 : 22;
		break;
	case VLAN_PROMISCUOUS:
		config->id = 20;
		vlan_set_add(&config->list, 21);
		if (random_below(state, 2))
			vlan_set_add(&config->list, 22);
		break;
	default:
		break;
	}
}

void random_frame(struct random_state *state, struct model_frame *frame)
{
	switch (random_below(state, 8)) {
	case 0:
	case 1:
		frame->vid = -1;
		break;
	case 2:
		frame->vid = 0;
		break;
	case 3:
		frame->vid = (int)random_below(state, 4096);
		break;
	default:
		frame->vid = random_id(state);
		break;
	}
	frame->priority =
		frame->vid >= 0 && random_below(state, 2) ? (int)random_below(state, 16) : 0;
	frame->tag_after = random_below(state, 5) == 0;
}
