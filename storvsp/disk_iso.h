/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A CD or DVD image: blocks of 2048 bytes, read-only. Source: ECMA-119 8.1 (volume descriptors),
 * ECMA-167 2/9.1 (UDF's volume structure descriptors).
 */
#ifndef LUNAR_STORVSP_DISK_ISO_H
#define LUNAR_STORVSP_DISK_ISO_H

#include <stddef.h>

struct disk;
struct disk_options;

/* As disk_open(). Blocks. -EMEDIUMTYPE: neither ISO 9660 nor UDF; message says at which offset. */
int disk_iso_open(const struct disk_options *options, struct disk **disk, char *message,
		  size_t message_bytes);

#endif
