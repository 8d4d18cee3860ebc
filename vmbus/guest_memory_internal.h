/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The inside of the gate to guest memory, for vmbus/ alone: an address lookup that marks nothing,
 * for views that keep host addresses and mark what they write themselves.
 */
#ifndef LUNAR_VMBUS_GUEST_MEMORY_INTERNAL_H
#define LUNAR_VMBUS_GUEST_MEMORY_INTERNAL_H

#include "vmbus/guest_memory.h"

/* Host address of [gpa, gpa + length), which must lie inside one region; NULL otherwise. */
uint8_t *guest_memory_hva(const struct guest_memory *memory, uint64_t gpa, uint64_t length);

/* Whether fd can be mapped up to size_bytes without fear: who shrinks a file kills, by SIGBUS,
 * every process that maps it. Returns 0; -EINVAL: too short; -EPERM: not sealed against shrinking;
 * or -errno of fstat(). */
int guest_memory_fd_check(int fd, uint64_t size_bytes);

#endif
