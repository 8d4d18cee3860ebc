/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Another size for a VHD that nobody uses. The power may go at any time: the image then has the old
 * size or the new one, and is whole.
 */
#ifndef LUNAR_STORVSP_VHD_RESIZE_H
#define LUNAR_STORVSP_VHD_RESIZE_H

#include "storvsp/vhd_chain.h"

/*
 * The link's file is open for writing, its image tidy. shrink: it may get smaller, what is cut off
 * is lost. Returns 0, with the image read anew, or -errno with a message: -EOPNOTSUPP for a
 * differencing image; -EINVAL, -EFBIG: the size.
 */
int vhd_resize(struct vhd_link *link, uint64_t size_bytes, bool shrink, struct vhd_error *error);

#endif
