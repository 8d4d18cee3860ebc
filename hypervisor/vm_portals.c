/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * See vm_portals.h.
 */
#include "hypervisor/vm_portals.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

void vm_portals_save(const struct vm_portal *portals, size_t count, struct state_writer *writer)
{
	state_begin(writer, VM_PORTALS_STATE_TAG, 1, STATE_SKIPPABLE);
	state_put_u32(writer, (uint32_t)count);
	for (size_t i = 0; i < count; i++) {
		const struct vsp_portal *portal = &portals[i].portal;

		state_put_u32(writer, portals[i].nic);
		state_put_bytes(writer, portal->address, sizeof(portal->address));
		state_put_bytes(writer, portal->next_hop, sizeof(portal->next_hop));
		state_put_u16(writer, portal->port);
		state_put_u16(writer, portal->vlan);
	}
	state_end(writer);
}

static int portal_parse(struct state_reader *section, struct vm_portal *portal)
{
	const void *address, *next_hop;

	portal->nic = state_get_bounded(section, VM_MAX_NICS - 1);
	address = state_get_bytes(section, sizeof(portal->portal.address));
	next_hop = state_get_bytes(section, sizeof(portal->portal.next_hop));
	portal->portal.port = state_get_u16(section);
	portal->portal.vlan = state_get_u16(section);
	if (section->error || portal->portal.vlan > 4095)
		return -EPROTO;
	memcpy(portal->portal.address, address, sizeof(portal->portal.address));
	memcpy(portal->portal.next_hop, next_hop, sizeof(portal->portal.next_hop));
	return 0;
}

int vm_portals_parse(struct state_reader *section, struct vm_portal *portals, size_t *count)
{
	struct vm_portal read[VM_MAX_PORTALS] = {0};
	uint32_t wanted;
	int result;

	if (section->tag != VM_PORTALS_STATE_TAG)
		return -EPROTO;
	result = state_check_version(section, 1);
	if (result)
		return result;
	wanted = state_get_bounded(section, VM_MAX_PORTALS);
	if (section->error)
		return -EPROTO;
	for (uint32_t i = 0; i < wanted; i++) {
		result = portal_parse(section, &read[i]);
		if (result)
			return result;
	}
	memcpy(portals, read, wanted * sizeof(read[0]));
	*count = wanted;
	return 0;
}

void vm_portal_format(const struct vm_portal *portal, char text[VM_PORTAL_TEXT_BYTES])
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
	const uint8_t *bytes = portal->portal.address;
	char address[INET6_ADDRSTRLEN] = "?";
	char vlan[24] = "";

	if (portal->portal.vlan)
		snprintf(vlan, sizeof(vlan), " in VLAN %u", portal->portal.vlan);
	if (memcmp(bytes, mapped, sizeof(mapped)) == 0) {
		inet_ntop(AF_INET, bytes + sizeof(mapped), address, sizeof(address));
		snprintf(text, VM_PORTAL_TEXT_BYTES, "%s:%u%s", address, portal->portal.port, vlan);
	} else {
		inet_ntop(AF_INET6, bytes, address, sizeof(address));
		snprintf(text, VM_PORTAL_TEXT_BYTES, "[%s]:%u%s", address, portal->portal.port,
			 vlan);
	}
}
