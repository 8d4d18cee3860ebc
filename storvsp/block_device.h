/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the kernel tells of a block device: by ioctl() and in sysfs, where partitions share the
 * queue of their disk.
 */
#ifndef LUNAR_STORVSP_BLOCK_DEVICE_H
#define LUNAR_STORVSP_BLOCK_DEVICE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct block_device_info {
	uint32_t block_bytes, physical_block_bytes;
	uint32_t optimal_bytes; /* 0: it has no opinion */
	uint32_t discard_bytes; /* granularity; 0: cannot */
	bool rotational;
	char unique[128]; /* what the device is known by, anywhere; empty: it does not tell */
};

/* What cannot be found out is set to what does no harm. */
void block_device_look(int fd, dev_t device, struct block_device_info *info);
/* Of the device that a file lies on. False where that is not known. */
bool block_device_is_rotational(dev_t device);

#endif
