/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A VM's name on this host, held by the vmwp that runs it: a lock on VM_PATH_LOCK, which goes with
 * the process however that ends. So a VM never runs twice, and whoever asks can tell whether its
 * process lives.
 */
#ifndef LUNAR_HYPERVISOR_VM_LOCK_H
#define LUNAR_HYPERVISOR_VM_LOCK_H

#include <stdbool.h>
#include <stdint.h>

/* Makes the VM's folder and takes the name, waiting at most wait_ms (which blocks) for another
 * process to let it go. Returns an fd to close, or -EEXIST (it is held) or another -errno. */
int vm_lock_take(const char *name, uint32_t wait_ms);
/* Whether a process holds it now. */
bool vm_lock_is_held(const char *name);

#endif
