/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * For tests of VHD disks: small images in the fixture's folder.
 */
#ifndef LUNAR_TESTS_UNIT_STORVSP_VHD_FIXTURE_H
#define LUNAR_TESTS_UNIT_STORVSP_VHD_FIXTURE_H

#include "storvsp/vhd_chain.h"
#include "tests/unit/storvsp/disk_fixture.h"

#define VHD_FIXTURE_BLOCK 65536u

/* The path of a file in the folder; good until the next but one call. */
const char *vhd_fixture_path(const struct disk_fixture *f, const char *name);
/* Makes name there: blocks of VHD_FIXTURE_BLOCK. */
void vhd_fixture_make(const struct disk_fixture *f, const char *name, enum vhd_type type, bool flex,
		      uint64_t size);
/* name as a child of parent. */
void vhd_fixture_make_child(const struct disk_fixture *f, const char *name, const char *parent);
/* Opens it; message of f holds what went wrong. */
int vhd_fixture_open(struct disk_fixture *f, const char *name, bool read_only, struct disk **disk);

#endif
