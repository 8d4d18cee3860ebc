/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A disk in a VHD image: fixed, dynamic, or differencing with its parents.
 */
#ifndef LUNAR_STORVSP_DISK_VHD_H
#define LUNAR_STORVSP_DISK_VHD_H

#include <stddef.h>

struct disk;
struct disk_options;

/* As disk_open(). Blocks. */
int disk_vhd_open(const struct disk_options *options, struct disk **disk, char *message,
		  size_t message_bytes);

#endif
