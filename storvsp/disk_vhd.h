/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A disk in a VHD image: fixed, flex, dynamic, or differencing with its parents.
 *
 * Requests may come from several loops at once. A write is on the disk after a flush, or with fua;
 * metadata that no flush asked for are written after a second at the next write.
 */
#ifndef LUNAR_STORVSP_DISK_VHD_H
#define LUNAR_STORVSP_DISK_VHD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct disk;
struct disk_options;
struct vhd_chain;

/* As disk_open(). Blocks. Where it is opened for writing, a footer that is missing at its end is
 * written anew. Parents are opened for reading, with a shared lock. -ESTALE: a parent is not the
 * one that the image was made on, or was changed since. */
int disk_vhd_open(const struct disk_options *options, struct disk **disk, char *message,
		  size_t message_bytes);

/*
 * The same on files that are open already: the chain is the disk's then, also where this fails. It
 * cannot be reopened. read_only: nothing is repaired either.
 */
int disk_vhd_open_chain(struct vhd_chain *chain, bool read_only, struct disk **disk, char *message,
			size_t message_bytes);

/* Another size, of a disk that disk_vhd_open() made; no request is in flight, and a disk may not
 * get smaller here. Blocks. Returns 0 or -errno with a message; the size is the old one then. */
int disk_vhd_resize(struct disk *disk, uint64_t size_bytes, char *message, size_t message_bytes);

/* The first part at or after offset that one of the images has blocks for; false: there is none,
 * the rest reads as zeroes. No write is in flight. */
bool disk_vhd_next_data(struct disk *disk, uint64_t offset, uint64_t *begin, uint64_t *end);

#endif
