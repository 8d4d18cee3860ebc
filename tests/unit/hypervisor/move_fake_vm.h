/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The two sides of a move as processes, around a fake VM: what vmwp does, without a partition.
 */
#ifndef LUNAR_TESTS_HYPERVISOR_MOVE_FAKE_VM_H
#define LUNAR_TESTS_HYPERVISOR_MOVE_FAKE_VM_H

#include "tests/unit/hypervisor/move_fixture.h"

/* Boots the VM and keeps it until it has moved or SIGTERM comes. Returns the exit code:
 * EXIT_STATE where it may not be started here. */
int fake_source_run(struct move_world *world, enum move_host host, bool move);
/* Serves one accepted connection; where a VM came, keeps it as above. */
int fake_target_run(struct move_world *world, enum move_host host, int fd);

#endif
