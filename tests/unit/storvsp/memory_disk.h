/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A disk in memory behind disk_ops, for tests of what is above disks. It answers from within
 * submit(), or, with `posted`, by a call to the request's loop; remembers the last request, and
 * fails as told. Bytes past a request's or the disk's end fail the test by abort().
 */
#ifndef LUNAR_TESTS_UNIT_STORVSP_MEMORY_DISK_H
#define LUNAR_TESTS_UNIT_STORVSP_MEMORY_DISK_H

#include <stdatomic.h>

#include "storvsp/disk.h"

#define MEMORY_DISK_OPS 6

struct memory_disk {
	struct disk disk; /* first */
	struct disk_info info;
	uint8_t *bytes;
	bool posted;
	atomic_uint counts[MEMORY_DISK_OPS]; /* by enum disk_op */
	int fail[MEMORY_DISK_OPS];	     /* -errno, 0: none */
	enum disk_op last_op;
	bool last_fua;
	uint64_t last_offset, last_length;
	struct disk_scsi last_scsi; /* as it was submitted */
	struct disk_scsi answer;    /* to DISK_SCSI: status, sense, transferred */
};

/* Zeroes, with a write cache, that unmaps to zeroes; blocks of block_bytes. */
struct memory_disk *memory_disk_create(uint64_t size_bytes, uint32_t block_bytes);
void memory_disk_destroy(struct memory_disk *memory);

#endif
