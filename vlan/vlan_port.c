/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * From a mode to the sets that decide.
 */
#include "vlan/vlan_port.h"

#include <string.h>

void vlan_port_set(struct vlan_port *port, const struct vlan_config *config)
{
	memset(port, 0, sizeof(*port));
	port->config = *config;
	port->home = config->id;
	port->pvid = config->id;
	switch (config->mode) {
	case VLAN_TRUNK:
		port->takes_tags = true;
		port->members_in = config->list;
		break;
	case VLAN_ISOLATED:
	case VLAN_COMMUNITY:
		port->pvid = config->secondary;
		break;
	case VLAN_UNTAGGED:
	case VLAN_ACCESS:
	case VLAN_PROMISCUOUS:
		break;
	default:
		port->is_default = true;
		port->takes_tags = true;
		vlan_set_add_range(&port->members_in, 0, VLAN_ID_MAX);
		break;
	}
	vlan_set_add(&port->members_in, port->pvid);
	port->members_out = port->members_in;
	switch (config->mode) {
	case VLAN_ISOLATED:
		memset(&port->members_out, 0, sizeof(port->members_out));
		vlan_set_add(&port->members_out, config->id);
		break;
	case VLAN_COMMUNITY:
		vlan_set_add(&port->members_out, config->id);
		break;
	case VLAN_PROMISCUOUS:
		port->members_out = config->list;
		vlan_set_add(&port->members_out, config->id);
		break;
	default:
		break;
	}
}

void vlan_port_set_uplink(struct vlan_port *port, const struct vlan_set *carried)
{
	memset(port, 0, sizeof(*port));
	port->config = (struct vlan_config){.mode = VLAN_TRUNK, .list = *carried};
	vlan_set_remove(&port->config.list, 0);
	port->takes_tags = true;
	port->members_in = *carried;
	port->members_out = *carried;
}
