/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Changes one setting in the text of a VM's definition and leaves the rest as its owner wrote it,
 * comments and order included: the text is what a VM is restarted from, and what travels with it.
 */
#ifndef LUNAR_HYPERVISOR_VM_DEFINITION_H
#define LUNAR_HYPERVISOR_VM_DEFINITION_H

#include <stddef.h>
#include <stdint.h>

#include "vlan/vlan_config.h"

#define VM_DEFINITION_VLAN_BYTES 512

/* The value of a NIC's key `vlan`, in one line: "{mode: access, id: 10}". Returns text. */
char *vm_definition_vlan_text(const struct vlan_config *vlan, char text[VM_DEFINITION_VLAN_BYTES]);

/*
 * Gives nics[nic] that VLAN mode. text is a definition that vm_config_parse() takes. Returns 0:
 * *out (allocated, not NUL-terminated) is one too, and says so; -EINVAL with one line in message:
 * it cannot be done without taking the text apart (the user can edit the file); or -ENOMEM.
 */
int vm_definition_set_vlan(const char *text, size_t length, size_t nic,
			   const struct vlan_config *vlan, char **out, size_t *out_length,
			   char *message, size_t message_bytes);

/* Puts the new text in the place of the stored definition, if that is the old one; durable. Returns
 * 0, -ENOENT: there is none, or it is another one; or another -errno. */
int vm_definition_store(const char *vm, const char *old, size_t old_length, const char *text,
			size_t length);

#endif
