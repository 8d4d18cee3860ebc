/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Writes the metadata of a new VHD into an empty file.
 */
#ifndef LUNAR_STORVSP_VHD_CREATE_H
#define LUNAR_STORVSP_VHD_CREATE_H

#include "storvsp/vhd_image.h"

struct vhd_new {
	enum vhd_type type;
	bool flex;	      /* fixed, but the file system gives space as it is written */
	uint64_t size_bytes;  /* a multiple of 512, up to VHD_MAX_BYTES */
	uint32_t block_bytes; /* 0: the default */
	uint32_t timestamp;   /* vhd_time() of now */
	uint8_t id[VHD_ID_BYTES];

	/* differencing: */
	const char *path; /* its own and its parent's: absolute, resolved */
	const char *parent_path;
	const uint8_t *parent_id;
	uint32_t parent_timestamp; /* vhd_time() of the parent's last change */
};

/* A random one. Returns 0 or -errno. */
int vhd_new_id(uint8_t id[VHD_ID_BYTES]);

/* Everything is on the disk when it returns 0; else -errno with a message without the file's name.
 * -EOPNOTSUPP: fixed, and the file system cannot set the space aside. */
int vhd_write_new(struct vhd_file *file, const struct vhd_new *new, struct vhd_error *error);

#endif
