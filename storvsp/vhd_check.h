/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Looks a VHD over, and repairs what can be repaired.
 */
#ifndef LUNAR_STORVSP_VHD_CHECK_H
#define LUNAR_STORVSP_VHD_CHECK_H

#include "storvsp/vhd_chain.h"

/*
 * Fills findings with what is wrong, without a row where nothing is. With repair the file is opened
 * for writing, and what is repairable is repaired: a missing footer is written, its copy made good,
 * table entries whose blocks are cut off are cleared, space in no block is given back, a parent
 * that is the right one but has another time is accepted. Returns 0, or -errno with a message where
 * it cannot be looked at (-EBUSY: in use) or a repair failed; what is wrong with it is no error.
 */
int vhd_check(const char *path, bool repair, struct vhd_findings *findings,
	      struct vhd_error *error);

/* The same without the parents, on an open file; it stays the caller's. */
int vhd_check_file(struct vhd_file *file, bool repair, struct vhd_findings *findings,
		   struct vhd_error *error);

#endif
