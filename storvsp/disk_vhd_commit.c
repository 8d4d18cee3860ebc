/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Rounds: what was changed of bitmaps and table goes to the disk, in the order that
 * disk_vhd_internal.h gives. One round at a time; flushes that come meanwhile share the next one.
 *
 * A round belongs to a job, its leader, and runs on that job's loop: no loop has an operation in
 * flight for which no request waits.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/deadline.h"
#include "storvsp/disk_vhd_internal.h"

#define LOG_COMPONENT "vhd"
#include "base/log.h"

#define ENTRIES_PER_SECTOR (VHD_SECTOR_BYTES / 4)
#define BITMAP_ALIGN	   512u

bool vhd_commit_is_due(const struct vhd_disk *disk)
{
	if (disk->dirty_count == 0 || disk->leader)
		return false;
	return disk->dirty_count >= VHD_ROUND_BLOCKS ||
	       monotonic_ns() - disk->dirty_since_ns >= VHD_ROUND_MS * NS_PER_MS;
}

/* ---- what a round takes; the lock is held ---- */

static void round_fini(struct vhd_round *round)
{
	free(round->writes);
	free(round->blocks);
	free(round->dirty);
	free(round->bitmaps);
	memset(round, 0, sizeof(*round));
}

static int round_alloc(struct vhd_round *round, size_t blocks, uint32_t bitmap_bytes)
{
	memset(round, 0, sizeof(*round));
	/* Each block has a bitmap, and at most one sector of the table. */
	round->writes = calloc(2 * blocks + 1, sizeof(*round->writes));
	round->blocks = calloc(blocks + 1, sizeof(*round->blocks));
	round->dirty = calloc(blocks + 1, 1);
	round->bitmaps = aligned_alloc(BITMAP_ALIGN, (blocks + 1) * (size_t)bitmap_bytes);
	if (round->writes && round->blocks && round->dirty && round->bitmaps)
		return 0;
	round_fini(round);
	return -ENOMEM;
}

static void take_bitmap(struct vhd_disk *disk, uint32_t block, uint8_t *copy)
{
	const struct vhd_image *image = &disk->layers[0].link->image;
	const struct vhd_block *entry = &disk->layers[0].blocks[block];
	struct vhd_meta_write *write = &disk->round.writes[disk->round.count++];

	write->offset = (uint64_t)entry->entry * VHD_SECTOR_BYTES;
	write->bytes.iov_len = image->bitmap_bytes;
	write->bytes.iov_base = disk->ones;
	if (entry->bitmap == vhd_full)
		return;
	memcpy(copy, entry->bitmap, image->bitmap_bytes);
	write->bytes.iov_base = copy;
}

static bool is_early(const struct vhd_disk *disk, uint8_t dirty)
{
	return disk->layers[0].link->image.footer.type == VHD_DYNAMIC &&
	       (dirty & VHD_DIRTY_ENTRY) && (dirty & VHD_DIRTY_BITMAP);
}

static int compare_blocks(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

/* Blocks in order, so that those which share a sector of the table are neighbours. */
static void take_dirty(struct vhd_disk *disk)
{
	struct vhd_block *blocks = disk->layers[0].blocks;
	struct vhd_round *round = &disk->round;

	for (uint32_t block = disk->first_dirty; block != VHD_NO_BLOCK;
	     block = blocks[block].next_dirty)
		round->blocks[round->block_count++] = block;
	qsort(round->blocks, round->block_count, sizeof(*round->blocks), compare_blocks);
	for (size_t i = 0; i < round->block_count; i++) {
		round->dirty[i] = blocks[round->blocks[i]].dirty;
		blocks[round->blocks[i]].dirty = 0;
	}
	disk->first_dirty = VHD_NO_BLOCK;
	disk->dirty_count = 0;
}

static void take_bitmaps(struct vhd_disk *disk, bool early)
{
	uint32_t bitmap_bytes = disk->layers[0].link->image.bitmap_bytes;
	struct vhd_round *round = &disk->round;

	for (size_t i = 0; i < round->block_count; i++)
		if ((round->dirty[i] & VHD_DIRTY_BITMAP) &&
		    is_early(disk, round->dirty[i]) == early)
			take_bitmap(disk, round->blocks[i], round->bitmaps + i * bitmap_bytes);
}

static void take_entries(struct vhd_disk *disk)
{
	const struct vhd_image *image = &disk->layers[0].link->image;
	struct vhd_round *round = &disk->round;
	uint32_t last = UINT32_MAX;

	for (size_t i = 0; i < round->block_count; i++) {
		uint32_t block = round->blocks[i], sector = block / ENTRIES_PER_SECTOR;
		struct vhd_meta_write *write;

		if (!(round->dirty[i] & VHD_DIRTY_ENTRY))
			continue;
		put_be32(disk->table + (size_t)block * 4, disk->layers[0].blocks[block].entry);
		if (sector == last)
			continue;
		last = sector;
		write = &round->writes[round->count++];
		write->offset = image->header.table_offset + (uint64_t)sector * VHD_SECTOR_BYTES;
		write->bytes.iov_base = disk->table + (size_t)sector * VHD_SECTOR_BYTES;
		write->bytes.iov_len = VHD_SECTOR_BYTES;
	}
}

static int round_take(struct vhd_disk *disk)
{
	int rc = round_alloc(&disk->round, disk->dirty_count,
			     disk->layers[0].link->image.bitmap_bytes);

	if (rc)
		return rc;
	take_dirty(disk);
	take_bitmaps(disk, true);
	disk->round.early = disk->round.count;
	take_bitmaps(disk, false);
	take_entries(disk);
	return 0;
}

/* It failed: all that it took is still to be written. */
static void round_give_back(struct vhd_disk *disk)
{
	const struct vhd_round *round = &disk->round;

	for (size_t i = 0; i < round->block_count; i++)
		vhd_map_mark_dirty(disk, round->blocks[i], round->dirty[i]);
}

/* ---- on a loop ---- */

static void round_go(struct vhd_disk *disk);

bool vhd_commit_join(struct vhd_disk *disk, struct vhd_job *job, bool durable)
{
	job->durable = durable;
	job->next = disk->round_waiters;
	disk->round_waiters = job;
	if (disk->leader)
		return false;
	disk->leader = job;
	return true;
}

static void round_end(struct vhd_disk *disk)
{
	struct vhd_job *jobs, *job, *next_leader = NULL;
	int status;

	pthread_mutex_lock(&disk->lock);
	status = disk->round_status;
	if (status)
		round_give_back(disk);
	else
		disk->meta_unsynced = disk->round.count > 0 && !disk->round_durable;
	round_fini(&disk->round);
	jobs = disk->round_jobs;
	disk->round_jobs = NULL;
	disk->stage = ROUND_NONE;
	disk->leader = disk->round_waiters;
	if (disk->leader) {
		disk->leader->leads = true;
		next_leader = disk->leader;
	}
	pthread_mutex_unlock(&disk->lock);
	if (status)
		log_warn_limited("%s: cannot write its metadata: %s", disk->path,
				 strerror(-status));
	if (next_leader)
		vhd_job_resume(next_leader);
	while ((job = jobs) != NULL) {
		jobs = job->next;
		job->leads = false;
		job->committed = true;
		if (job->durable)
			job->status = status;
		vhd_job_resume(job);
	}
}

static void on_round_io(struct vhd_io *io, int status)
{
	struct vhd_round_io *slot = (struct vhd_round_io *)io; /* its first member */
	struct vhd_disk *disk = slot->disk;

	if (status && !disk->round_status)
		disk->round_status = status;
	slot->disk = NULL;
	disk->round.outstanding--;
	round_go(disk);
}

static struct vhd_io *round_io_get(struct vhd_disk *disk)
{
	for (unsigned int i = 0; i < VHD_ROUND_WRITES; i++)
		if (!disk->round_io[i].disk)
			return &disk->round_io[i].io;
	return NULL;
}

static void round_submit(struct vhd_disk *disk, struct vhd_io *io)
{
	struct vhd_file *file = disk->layers[0].link->file;

	((struct vhd_round_io *)io)->disk = disk;
	io->done = on_round_io;
	disk->round.outstanding++;
	file->ops->submit(file, io, disk->leader->request->loop);
}

static void round_sync(struct vhd_disk *disk)
{
	struct vhd_io *io = round_io_get(disk);

	io->kind = VHD_IO_SYNC;
	round_submit(disk, io);
}

/* Up to limit. */
static void round_write(struct vhd_disk *disk)
{
	struct vhd_round *round = &disk->round;
	struct vhd_io *io;

	while (round->next < round->limit && !disk->round_status &&
	       (io = round_io_get(disk)) != NULL) {
		const struct vhd_meta_write *write = &round->writes[round->next++];

		io->kind = VHD_IO_WRITE;
		io->dsync = false;
		io->iov = &write->bytes;
		io->iov_count = 1;
		io->offset = write->offset;
		io->length = write->bytes.iov_len;
		round_submit(disk, io);
	}
}

/* Begins the stage that follows. False: there is none. */
static bool round_advance(struct vhd_disk *disk)
{
	struct vhd_round *round = &disk->round;

	switch (disk->stage) {
	case ROUND_NONE:
		disk->stage = ROUND_EARLY;
		round->limit = round->early;
		return true;
	case ROUND_EARLY:
		disk->stage = ROUND_SYNC_DATA;
		round_sync(disk);
		return true;
	case ROUND_SYNC_DATA:
		disk->stage = ROUND_WRITE;
		round->limit = round->count;
		return true;
	case ROUND_WRITE:
		if (round->count == 0 || !disk->round_durable)
			return false;
		disk->stage = ROUND_SYNC;
		round_sync(disk);
		return true;
	case ROUND_SYNC:
		return false;
	}
	return false;
}

/* Goes on as far as it can without waiting. Only the leader's thread is here, and an operation that
 * ends from within comes back to the loop below. */
static void round_go(struct vhd_disk *disk)
{
	if (disk->round_runs)
		return;
	disk->round_runs = true;
	for (;;) {
		round_write(disk);
		if (disk->round.outstanding > 0) {
			disk->round_runs = false;
			return;
		}
		if (disk->round_status == 0 && disk->round.next < disk->round.limit)
			continue;
		if (disk->round_status || !round_advance(disk))
			break;
	}
	disk->round_runs = false;
	round_end(disk);
}

void vhd_commit_lead(struct vhd_job *job)
{
	struct vhd_disk *disk = job->disk;
	int rc;

	pthread_mutex_lock(&disk->lock);
	disk->round_jobs = disk->round_waiters;
	disk->round_waiters = NULL;
	disk->round_status = 0;
	disk->round_durable = false;
	for (const struct vhd_job *each = disk->round_jobs; each; each = each->next)
		disk->round_durable |= each->durable;
	rc = round_take(disk);
	if (rc)
		disk->round_status = rc;
	else
		round_advance(disk);
	pthread_mutex_unlock(&disk->lock);
	round_go(disk);
}

/* ---- at once ---- */

static int write_now(struct vhd_disk *disk, size_t from, size_t to)
{
	struct vhd_file *file = disk->layers[0].link->file;
	int rc = 0;

	for (size_t i = from; rc == 0 && i < to; i++)
		rc = vhd_file_write(file, disk->round.writes[i].bytes.iov_base,
				    disk->round.writes[i].bytes.iov_len,
				    disk->round.writes[i].offset);
	return rc;
}

int vhd_commit_now(struct vhd_disk *disk)
{
	struct vhd_file *file = disk->layers[0].link->file;
	int rc;

	if (!disk->layers[0].blocks)
		return vhd_file_sync(file);
	pthread_mutex_lock(&disk->lock);
	rc = round_take(disk);
	pthread_mutex_unlock(&disk->lock);
	if (rc)
		return rc;
	rc = write_now(disk, 0, disk->round.early);
	if (rc == 0)
		rc = vhd_file_sync(file);
	if (rc == 0 && disk->round.count > 0) {
		rc = write_now(disk, disk->round.early, disk->round.count);
		if (rc == 0)
			rc = vhd_file_sync(file);
	}
	pthread_mutex_lock(&disk->lock);
	if (rc)
		round_give_back(disk);
	round_fini(&disk->round);
	pthread_mutex_unlock(&disk->lock);
	return rc;
}
