/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The iSCSI portals that a VM's NICs were seen to talk to, as a section of saved state: what the
 * source of a move tells its destination, so that it can try whether they answer there.
 */
#ifndef LUNAR_HYPERVISOR_VM_PORTALS_H
#define LUNAR_HYPERVISOR_VM_PORTALS_H

#include <stddef.h>
#include <stdint.h>

#include "base/state.h"
#include "hypervisor/vm_config.h"
#include "wire/vsp.h"

#define VM_PORTALS_STATE_TAG STATE_TAG('P', 'R', 'T', 'L')
#define VM_MAX_PORTALS	     (VM_MAX_NICS * VSP_MAX_PORTALS)
#define VM_PORTAL_TEXT_BYTES 72

struct vm_portal {
	uint32_t nic; /* index */
	struct vsp_portal portal;
};

/* Writes one section. */
void vm_portals_save(const struct vm_portal *portals, size_t count, struct state_writer *writer);
/* Reads it into portals (VM_MAX_PORTALS of them). Returns 0, -EPROTO or -EOPNOTSUPP. */
int vm_portals_parse(struct state_reader *section, struct vm_portal *portals, size_t *count);
/* "192.0.2.1:3260" or "[2001:db8::1]:3260", and " in VLAN 7" where it is in one. */
void vm_portal_format(const struct vm_portal *portal, char text[VM_PORTAL_TEXT_BYTES]);

#endif
