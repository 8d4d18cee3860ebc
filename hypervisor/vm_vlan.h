/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A NIC's VLAN mode, changed while the VM runs: in the switch, in the VM's configuration, in the
 * definition that travels with the VM, and in the one that is stored. Loop's thread.
 */
#ifndef LUNAR_HYPERVISOR_VM_VLAN_H
#define LUNAR_HYPERVISOR_VM_VLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hypervisor/vm_error.h"

struct vlan_config;
struct vm_config;
struct vm_defined; /* vm_redefine.h */

/*
 * All of it or nothing, but for the stored definition: *stored says whether that was changed as
 * well. config: the VM's. vlan: checked. May block for at most two seconds. Returns 0, or -errno
 * with *error: EXIT_NOT_FOUND (no such NIC), EXIT_STATE (the VM does not run, or is being moved or
 * saved), EXIT_CONFIG (the definition cannot be changed in place), EXIT_EXISTS (other ports of the
 * switch use its VLANs otherwise), EXIT_NO_SWITCH.
 */
int vm_vlan_change(const struct vm_defined *target, struct vm_config *config, uint32_t nic,
		   const struct vlan_config *vlan, bool *stored, struct vm_error *error);

#endif
