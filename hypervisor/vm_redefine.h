/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What every change of a running VM has in common: when it may be made, and that the VM's
 * definition follows it. Loop's thread.
 */
#ifndef LUNAR_HYPERVISOR_VM_REDEFINE_H
#define LUNAR_HYPERVISOR_VM_REDEFINE_H

#include <stdbool.h>
#include <stddef.h>

#include "hypervisor/vm_error.h"

struct vm;

/* A running VM with the text of its definition, all of it the caller's. */
struct vm_defined {
	struct vm *vm;
	char **definition; /* allocated: replaced */
	size_t *definition_bytes;
};

/* what: such as "disks", for the message. Returns 0, or -errno with *error (EXIT_STATE): the VM is
 * being moved or saved, or does not run. */
int vm_check_changeable(const struct vm *vm, const char *what, struct vm_error *error);

/* The definition is text (allocated, handed over) now. Returns whether the stored one is as well;
 * else the log says why not. */
bool vm_redefine(const struct vm_defined *defined, char *text, size_t length);

#endif
