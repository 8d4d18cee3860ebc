/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A disk whose bytes are a file's or a block device's, one to one.
 */
#ifndef LUNAR_STORVSP_DISK_RAW_H
#define LUNAR_STORVSP_DISK_RAW_H

#include <stddef.h>

struct disk;
struct disk_options;

/* As disk_open(). Blocks. */
int disk_raw_open(const struct disk_options *options, struct disk **disk, char *message,
		  size_t message_bytes);

#endif
