/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A VHD's file in memory, which writes down what is asked of it, so that the power can be cut at
 * every moment: a disk with a write cache that keeps, of what no sync has covered, any sectors it
 * likes.
 *
 * Operations on a loop end in random order, when the test says so.
 */
#ifndef LUNAR_TESTS_UNIT_STORVSP_VHD_LOG_FILE_H
#define LUNAR_TESTS_UNIT_STORVSP_VHD_LOG_FILE_H

#include "storvsp/vhd_file.h"

struct vhd_log_file;

struct vhd_log_file *vhd_log_file_create(void);
/* The vhd_file; its close leaves the log_file be. */
struct vhd_file *vhd_log_file_file(struct vhd_log_file *log);
void vhd_log_file_destroy(struct vhd_log_file *log);

/* What is there now is on the disk, and the log begins, anew. Before it nothing may be submitted.
 */
void vhd_log_file_begin(struct vhd_log_file *log);
/* So many things have happened. */
size_t vhd_log_file_position(const struct vhd_log_file *log);

/* Ends one operation that is under way. False: none is. */
bool vhd_log_file_pump(struct vhd_log_file *log, uint32_t (*random)(uint32_t below));

/* When it was last changed, in seconds of VHDs; 1000 at first. */
void vhd_log_file_set_modified(struct vhd_log_file *log, uint32_t modified);
/* Operations end by themselves, on their loop, from now on: for who waits for them. */
void vhd_log_file_pump_by_loop(struct vhd_log_file *log, uint32_t (*random)(uint32_t below));

enum vhd_cut {
	VHD_CUT_ALL,  /* all that was written is there */
	VHD_CUT_NONE, /* only what a sync covered */
	VHD_CUT_SOME, /* and some sectors of the rest */
};

/* A file as the power left it, when it went at position. */
struct vhd_log_file *vhd_log_file_cut(const struct vhd_log_file *log, size_t position,
				      enum vhd_cut cut, uint32_t (*random)(uint32_t below));

#endif
