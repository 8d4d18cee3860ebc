/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Disks for a program that waits: single requests, and the copy of a whole disk.
 */
#ifndef LUNAR_STORVSP_DISK_COPY_H
#define LUNAR_STORVSP_DISK_COPY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct disk;
struct disk_caller;

/* A loop for it. Returns 0 or -errno. */
int disk_caller_create(struct disk_caller **caller);
/* Takes NULL. */
void disk_caller_destroy(struct disk_caller *caller);

/* Each waits; 0 or -errno. */
int disk_caller_write(struct disk_caller *caller, struct disk *disk, uint64_t offset,
		      const void *bytes, size_t length);
int disk_caller_read(struct disk_caller *caller, struct disk *disk, uint64_t offset, void *bytes,
		     size_t length);
int disk_caller_flush(struct disk_caller *caller, struct disk *disk);

/*
 * Copies all of from to a disk that reads as zeroes and is at least as large; what is zero is left
 * out. next_data, where it is not NULL: the first part at or after offset that may be other than
 * zero, false where there is none. step as in vhd_merge(): bytes of the disk that are dealt with.
 * Flushed at the end. Returns 0, -ECANCELED or -errno.
 */
struct disk_copy {
	struct disk *from, *to;
	bool (*next_data)(void *ctx, uint64_t offset, uint64_t *begin, uint64_t *end);
	bool (*step)(void *ctx, uint64_t done_bytes, uint64_t total_bytes);
	void *ctx;
};
int disk_copy_run(struct disk_caller *caller, const struct disk_copy *copy);

#endif
