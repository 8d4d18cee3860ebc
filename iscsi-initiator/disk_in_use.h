/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Whether anybody uses a disk of this kernel.
 */
#ifndef LUNAR_ISCSI_INITIATOR_DISK_IN_USE_H
#define LUNAR_ISCSI_INITIATOR_DISK_IN_USE_H

#include <stdbool.h>
#include <stddef.h>

/*
 * True where the disk (name: "sda") or a partition of it is mounted, swapped to, held by another
 * device, or held open by a process other than this one. who gets a short description.
 */
bool disk_in_use(const char *name, char *who, size_t size);

#endif
