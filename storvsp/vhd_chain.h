/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A VHD with its parents: the image itself first, the root of the chain last. Parents are opened
 * for reading only, and must be the very ones that the image was made on.
 */
#ifndef LUNAR_STORVSP_VHD_CHAIN_H
#define LUNAR_STORVSP_VHD_CHAIN_H

#include "storvsp/vhd_create.h"
#include "storvsp/vhd_image.h"

#define VHD_CHAIN_MAX 64u
/* In a child's header: the parent changes, because the child is being merged into it. */
#define VHD_ANY_TIME 0u

struct vhd_link {
	char *path;
	struct vhd_file *file;
	struct vhd_image image;
};

struct vhd_chain {
	struct vhd_link *links;
	size_t count;
};

struct vhd_chain_options {
	struct vhd_file_options file; /* of the image itself */
	bool alone;		      /* without parents */
	/* Whether a file (absolute, resolved) may be a parent. NULL: any may. */
	bool (*may_be_parent)(const char *path);
};

/* Returns 0, or -errno with a message: -ENOENT: a parent is missing; -EACCES: it is missing, or may
 * not be one; -ENXIO: it is another one;
 * -ESTALE: it was changed; -EBUSY: somebody writes to one of them. */
int vhd_chain_open(const char *path, const struct vhd_chain_options *options,
		   struct vhd_chain *chain, struct vhd_error *error);

/* Reads the image in file and puts it at the end; file is the chain's from then on, also where this
 * fails. Where there is an image before, this one must be its parent. */
int vhd_chain_add(struct vhd_chain *chain, const char *path, struct vhd_file *file,
		  struct vhd_error *error);

/* Whether parent is the image that child was made on, and unchanged since: 0; -ENXIO: another one;
 * -ESTALE: it was changed. */
int vhd_chain_check_parent(const struct vhd_link *child, const struct vhd_link *parent,
			   struct vhd_error *error);

/* Enters a time of the parent's into the child's header, as that of its last change; the child's
 * file is open for writing. One sector changes. 0 or -errno. */
int vhd_chain_set_parent_time(struct vhd_link *child, uint32_t parent_timestamp);

/* The path at which the image's parent is: absolute, resolved. Returns 0, or -ENOENT with a message
 * that says where it should be. */
int vhd_chain_find_parent(const struct vhd_link *child, char *path, size_t path_bytes,
			  struct vhd_error *error);

/* Fills new for a child of parent at path (absolute, resolved); both strings are borrowed. From
 * then on nobody may write to the parent. Returns 0 or -errno. */
int vhd_new_child(const struct vhd_link *parent, const char *path, struct vhd_new *new);

/* Closes all files. */
void vhd_chain_fini(struct vhd_chain *chain);

#endif
