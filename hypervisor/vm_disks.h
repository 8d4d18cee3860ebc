/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A VM's disks, changed while it runs: for the guest, in the definition that travels with the VM,
 * and in the one that is stored. Loop's thread.
 */
#ifndef LUNAR_HYPERVISOR_VM_DISKS_H
#define LUNAR_HYPERVISOR_VM_DISKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hypervisor/vm_error.h"

struct vm_defined; /* vm_redefine.h */
struct vm_disk_config;

/* What came of a change. */
struct vm_disks_result {
	uint32_t controller;
	uint32_t lun;
	uint64_t size_bytes; /* 0: no medium */
	bool stored;	     /* in the stored definition as well */
};

/*
 * All of it or nothing, but for the stored definition. Return 0; -EINPROGRESS, where a share or a
 * target takes its time: ask again with the same arguments, within a second; or -errno with *error:
 * EXIT_STATE (the VM does not run, or is being moved or saved), EXIT_CONFIG (the definition cannot
 * be changed in place), and what vm_storage.h says of each.
 */

/* config->lun may be VM_STORAGE_ANY_LUN. */
int vm_disks_add(const struct vm_defined *target, const struct vm_disk_config *config,
		 struct vm_disks_result *result, struct vm_error *error);
/* Begins it; the disk is told of until the guest's commands have ended. */
int vm_disks_remove(const struct vm_defined *target, uint32_t controller, uint32_t lun,
		    struct vm_disks_result *result, struct vm_error *error);
/* path: NULL ejects. */
int vm_disks_change_medium(const struct vm_defined *target, uint32_t controller, uint32_t lun,
			   const char *path, struct vm_disks_result *result,
			   struct vm_error *error);
/* bytes: 0 only looks. The definition has no sizes: stored is true. */
int vm_disks_resize(const struct vm_defined *target, uint32_t controller, uint32_t lun,
		    uint64_t bytes, struct vm_disks_result *result, struct vm_error *error);

#endif
