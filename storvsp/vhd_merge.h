/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Writes what a differencing image holds into its parent.
 */
#ifndef LUNAR_STORVSP_VHD_MERGE_H
#define LUNAR_STORVSP_VHD_MERGE_H

#include "storvsp/vhd_chain.h"

struct disk;

struct vhd_merge_progress {
	uint64_t done_bytes, total_bytes;
};

/*
 * Both are locked for writing meanwhile. At every moment the child over the parent has the same
 * contents as before, so that a merge that was cut off can just be done again; the child's header
 * is changed first so that the parent's new time does not count. step is called now and then; false
 * from it ends the merge with -ECANCELED. When 0 is returned the parent holds everything, on the
 * disk; parent_path tells which file that is, and the child is not needed any more. Other children
 * of the parent are worthless then.
 */
int vhd_merge(const char *child_path, bool (*step)(void *ctx, const struct vhd_merge_progress *),
	      void *ctx, char *parent_path, size_t parent_path_bytes, struct vhd_error *error);

/*
 * Its two halves, for files that are open. First the child's header: parent is only looked at, and
 * nothing has been written to it. Then the child's blocks; child stands alone, parent is a disk for
 * writing that nobody else uses, and is released in the end where this succeeds.
 */
int vhd_merge_mark(struct vhd_link *child, const struct vhd_link *parent, struct vhd_error *error);
int vhd_merge_into(struct vhd_link *child, struct disk *parent,
		   bool (*step)(void *ctx, const struct vhd_merge_progress *), void *ctx);

#endif
