/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * For the kinds of disks that are raw but for what they check and how they call themselves.
 */
#ifndef LUNAR_STORVSP_DISK_RAW_INTERNAL_H
#define LUNAR_STORVSP_DISK_RAW_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>

struct disk;
struct image_file;

/* A disk over a file, which is the disk's from then on. block_bytes: 0: the file's own. kind is
 * static. Returns 0 or -errno: the file is the caller's still. */
int disk_raw_wrap(struct image_file *file, uint32_t block_bytes, const char *kind,
		  bool pass_through, struct disk **disk);

#endif
