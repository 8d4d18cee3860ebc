/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Stopping a VM and taking its state, from a mover's thread, with a deadline: where the VM comes to
 * rest only after the mover has given up, it runs on by itself.
 */
#ifndef LUNAR_HYPERVISOR_MIGRATION_PAUSE_H
#define LUNAR_HYPERVISOR_MIGRATION_PAUSE_H

#include <stddef.h>
#include <stdint.h>

#include "base/deadline.h"
#include "hypervisor/vm_error.h"

struct migration_caller;
struct migration_pause;
struct migration_source_vm_ops;

/* Returns 0 with the VM at rest (until ops->resume() or depart()), or -errno with *error: it runs
 * on, or will as soon as it can. The caller frees *pause; that does not resume the VM. */
int migration_pause(struct migration_caller *caller, const struct migration_source_vm_ops *ops,
		    void *ctx, struct deadline deadline, struct migration_pause **pause,
		    struct vm_error *error);
/* The VM's state, the pause's. */
const uint8_t *migration_pause_state(const struct migration_pause *pause, size_t *length);
/* Takes NULL. */
void migration_pause_free(struct migration_pause *pause);

#endif
