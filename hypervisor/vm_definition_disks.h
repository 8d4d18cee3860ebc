/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The list of disks in the text of a VM's definition, written anew; all else stays as its owner
 * wrote it.
 */
#ifndef LUNAR_HYPERVISOR_VM_DEFINITION_DISKS_H
#define LUNAR_HYPERVISOR_VM_DEFINITION_DISKS_H

#include <stddef.h>

struct vm_disk_config;

/*
 * Gives the definition these disks, each with its LUN. text is a definition that vm_config_parse()
 * takes. Returns 0: *out (allocated, not NUL-terminated) is one too, and says so; -EINVAL with one
 * line in message: it cannot be done without taking the text apart (the user can edit the file); or
 * -ENOMEM.
 */
int vm_definition_set_disks(const char *text, size_t length, const struct vm_disk_config *disks,
			    size_t count, char **out, size_t *out_length, char *message,
			    size_t message_bytes);

#endif
