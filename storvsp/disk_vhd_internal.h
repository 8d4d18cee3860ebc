/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the parts of disk_vhd share.
 *
 * A request becomes a job, which walks its range in segments: a run of sectors that is in one file
 * without a gap. Jobs run on their request's loop; what they share is the disk's, under its lock,
 * which is never held over a call that may wait.
 *
 * The order of writes, so that the power may go at any time. The table and the bitmaps are changed
 * in memory first, and written by rounds (disk_vhd_commit.c):
 *
 *   1. A footer is written where the file shall end, room for some blocks further on: the one write
 *      makes the file longer and ends it properly. What is between reads as zeroes.
 *   2. Data go into a new block, or into sectors whose bit is clear. Nothing on the disk says so.
 *   3. A round takes what has changed, of writes that are done; the bitmaps of new blocks of a
 *      dynamic image, whose bits are all set, are written; then the file is synced;
 *   4. then the other bitmaps and the table are written, sector by sector;
 *   5. then the file is synced again, and only then a guest's flush is done.
 *
 * So nothing on the disk ever points at what may not be there: a power cut before 4 loses blocks
 * that no flush has covered, and leaves space that the next opening gives back (vhd_image_tidy).
 * The header never changes, so that the copy of the footer stays good.
 */
#ifndef LUNAR_STORVSP_DISK_VHD_INTERNAL_H
#define LUNAR_STORVSP_DISK_VHD_INTERNAL_H

#include <pthread.h>

#include "storvsp/disk.h"
#include "storvsp/vhd_chain.h"

#define VHD_SEGMENTS	 4u  /* of a job, under way at once */
#define VHD_SEGMENT_IOV	 16u /* more of them are allocated */
#define VHD_GROW_BLOCKS	 16u
#define VHD_ROUND_BLOCKS 64u /* changed ones after which a write starts a round */
#define VHD_ROUND_MS	 1000u
#define VHD_ROUND_WRITES 8u /* under way at once */
#define VHD_NO_BLOCK	 UINT32_MAX

enum {
	VHD_DIRTY_ENTRY = 1, /* the table's */
	VHD_DIRTY_BITMAP = 2,
};

struct vhd_block {
	uint8_t *bitmap; /* NULL: not read yet; vhd_full: all sectors are there */
	uint32_t entry;	 /* VHD_UNUSED: none */
	uint32_t next_dirty;
	uint8_t dirty; /* to be taken by a round */
};

extern uint8_t vhd_full[1];

struct vhd_layer {
	struct vhd_link *link;
	struct vhd_block *blocks; /* NULL: fixed */
};

struct vhd_job;

struct vhd_segment {
	struct vhd_io io;
	struct vhd_job *job;
	uint32_t block; /* whose bits are set when it is done; VHD_NO_BLOCK: none */
	uint32_t sector, sectors;
	uint8_t *bitmap; /* that is read */
	struct vhd_layer *layer;
	uint64_t grown_end;
	struct iovec *iov; /* allocated, or NULL */
	struct iovec one[VHD_SEGMENT_IOV];
	bool used;
};

struct vhd_job {
	struct vhd_disk *disk;
	struct disk_request *request;
	struct vhd_job *next; /* in a list of those who wait, or are free */
	uint64_t position;    /* of the request's bytes */
	uint32_t iov_index;
	uint64_t iov_within;
	uint32_t outstanding;
	int status;
	bool running, waiting;
	bool committed; /* its round is over */
	bool durable;	/* wants the second sync too */
	bool leads;	/* when it is resumed, the next round is its to run */
	struct io_post post;
	struct vhd_segment segments[VHD_SEGMENTS];
};

struct vhd_meta_write {
	uint64_t offset;
	struct iovec bytes;
};

/* What one round writes. */
struct vhd_round {
	struct vhd_meta_write *writes;
	size_t early; /* so many of them come before the first sync */
	size_t count, next, limit, outstanding;
	uint32_t *blocks; /* taken, with what was dirty: for the case that it fails */
	uint8_t *dirty;
	size_t block_count;
	uint8_t *bitmaps;
};

enum round_stage {
	ROUND_NONE,
	ROUND_EARLY, /* bitmaps of new blocks of a dynamic image */
	ROUND_SYNC_DATA,
	ROUND_WRITE,
	ROUND_SYNC,
};

struct vhd_disk {
	struct disk base; /* first */
	struct disk_options options;
	char *path;

	pthread_mutex_t
		lock; /* guards all below, but for what only changes while no job is there */
	struct vhd_chain chain;
	struct vhd_layer *layers; /* of the chain; the image itself first */
	size_t layer_count;
	bool open;
	struct disk_info info;
	bool keep_space; /* fixed: zeroes keep their room */
	uint8_t *table;	 /* as it is on the disk, whole sectors; only rounds change it */
	size_t table_bytes;
	uint8_t *ones; /* a full bitmap */

	uint64_t next_block; /* where the next bitmap goes */
	uint64_t grown_end;  /* the footer at the file's end */
	bool growing;
	struct vhd_job *growth_waiters;
	struct vhd_job *free_jobs;

	uint32_t first_dirty; /* VHD_NO_BLOCK: none */
	uint32_t dirty_count;
	uint64_t dirty_since_ns;
	bool meta_unsynced;	       /* the last round had no second sync */
	struct vhd_job *leader;	       /* of the round that is under way; NULL: none is */
	struct vhd_job *round_waiters; /* for the next round */

	/* the leader's */
	enum round_stage stage;
	struct vhd_round round;
	struct vhd_round_io {
		struct vhd_io io;
		struct vhd_disk *disk; /* NULL: free */
	} round_io[VHD_ROUND_WRITES];
	bool round_runs, round_durable;
	int round_status;
	struct vhd_job *round_jobs; /* that it is for */
};

/* ---- disk_vhd_map.c: what is where; the lock is held ---- */

enum vhd_where {
	VHD_AT_FILE,	  /* in a layer's file */
	VHD_ZEROES,	  /* nowhere: reads as zeroes */
	VHD_NEEDS_BITMAP, /* layer and block: to be read first */
	VHD_NEEDS_ROOM,	  /* the file must grow first */
};

struct vhd_place {
	enum vhd_where where;
	struct vhd_layer *layer;
	uint32_t block;
	uint64_t offset; /* in the file */
	uint64_t length;
	bool sets_bits;
};

/* Where the first of length bytes at offset of the disk are read from, and how many of them. */
void vhd_map_read(struct vhd_disk *disk, uint64_t offset, uint64_t length, struct vhd_place *place);
/* Where they are written to; a new block is given where there is none. 0 or -ENOMEM. */
int vhd_map_write(struct vhd_disk *disk, uint64_t offset, uint64_t length, struct vhd_place *place);
/* Likewise for zeroes: VHD_ZEROES where nothing needs to be done. */
int vhd_map_zero(struct vhd_disk *disk, uint64_t offset, uint64_t length, struct vhd_place *place);
/* A write that sets bits is done. */
void vhd_map_written(struct vhd_disk *disk, uint32_t block, uint32_t sector, uint32_t sectors);
/* A bitmap was read: bitmap is the map's then. */
void vhd_map_bitmap(struct vhd_layer *layer, uint32_t block, uint8_t *bitmap);
void vhd_map_mark_dirty(struct vhd_disk *disk, uint32_t block, uint8_t dirty);

/* ---- disk_vhd_request.c ---- */

void vhd_disk_submit(struct disk *base, struct disk_request *request);
/* Any thread: the job goes on, on its loop. */
void vhd_job_resume(struct vhd_job *job);
void vhd_job_free_all(struct vhd_disk *disk);

/* ---- disk_vhd_commit.c ---- */

/* The lock is held, and the job waits: its round comes. True: it leads it, and calls
 * vhd_commit_lead() when it has let the lock go. */
bool vhd_commit_join(struct vhd_disk *disk, struct vhd_job *job, bool durable);
/* On the loop of the job that vhd_commit_join(), or the end of a round, made the leader. */
void vhd_commit_lead(struct vhd_job *job);
/* No job is there: everything is written and synced. 0 or -errno. */
int vhd_commit_now(struct vhd_disk *disk);
/* The lock is held: whether a write should see to a round before it ends. */
bool vhd_commit_is_due(const struct vhd_disk *disk);

#endif
