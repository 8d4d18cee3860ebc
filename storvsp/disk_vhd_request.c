/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Requests: each becomes a job that goes through its range, a few segments at a time, and waits
 * where a bitmap has to be read, the file has to grow, or a round has to end.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "storvsp/disk_vhd_internal.h"

#define LOG_COMPONENT "vhd"
#include "base/log.h"

#define BITMAP_ALIGN 512u

static void job_run(struct vhd_job *job);

/* ---- jobs ---- */

static struct vhd_job *job_get(struct vhd_disk *disk)
{
	struct vhd_job *job;

	pthread_mutex_lock(&disk->lock);
	job = disk->free_jobs;
	if (job)
		disk->free_jobs = job->next;
	pthread_mutex_unlock(&disk->lock);
	return job ? job : malloc(sizeof(*job));
}

static void job_init(struct vhd_job *job, struct vhd_disk *disk, struct disk_request *request)
{
	job->disk = disk;
	job->request = request;
	job->next = NULL;
	job->position = 0;
	job->iov_index = 0;
	job->iov_within = 0;
	job->outstanding = 0;
	job->status = 0;
	job->running = job->waiting = false;
	job->committed = job->durable = job->leads = false;
	for (unsigned int i = 0; i < VHD_SEGMENTS; i++)
		job->segments[i].used = false;
}

static void job_end(struct vhd_job *job)
{
	struct disk_request *request = job->request;
	struct vhd_disk *disk = job->disk;
	int status = job->status;

	pthread_mutex_lock(&disk->lock);
	job->next = disk->free_jobs;
	disk->free_jobs = job;
	pthread_mutex_unlock(&disk->lock);
	request->done(request, status);
}

void vhd_job_free_all(struct vhd_disk *disk)
{
	struct vhd_job *job;

	while ((job = disk->free_jobs) != NULL) {
		disk->free_jobs = job->next;
		free(job);
	}
}

static void on_resumed(struct io_post *post)
{
	struct vhd_job *job = (struct vhd_job *)((char *)post - offsetof(struct vhd_job, post));

	job->waiting = false;
	if (job->leads)
		vhd_commit_lead(job);
	else
		job_run(job);
}

void vhd_job_resume(struct vhd_job *job)
{
	job->post.fn = on_resumed;
	io_loop_post(job->request->loop, &job->post);
}

/* ---- the request's memory ---- */

/* The next length bytes of it as a vector: the request's own where that is all of it. */
static int take_iov(struct vhd_job *job, struct vhd_segment *segment, uint64_t length)
{
	const struct disk_request *request = job->request;
	struct iovec *to = segment->one;
	uint32_t count = 0;

	if (length == request->length && job->position == 0) {
		segment->io.iov = request->iov;
		segment->io.iov_count = request->iov_count;
		job->iov_index = request->iov_count;
		return 0;
	}
	if (request->iov_count - job->iov_index > VHD_SEGMENT_IOV) {
		segment->iov = malloc((request->iov_count - job->iov_index) * sizeof(*to));
		if (!segment->iov)
			return -ENOMEM;
		to = segment->iov;
	}
	segment->io.iov = to;
	while (length && job->iov_index < request->iov_count) {
		const struct iovec *from = &request->iov[job->iov_index];
		uint64_t part = from->iov_len - job->iov_within;

		part = part < length ? part : length;
		to[count].iov_base = (uint8_t *)from->iov_base + job->iov_within;
		to[count++].iov_len = part;
		length -= part;
		job->iov_within += part;
		if (job->iov_within == from->iov_len) {
			job->iov_index++;
			job->iov_within = 0;
		}
	}
	segment->io.iov_count = count;
	return length ? -EINVAL : 0;
}

static void fill_zeroes(struct vhd_job *job, uint64_t length)
{
	const struct disk_request *request = job->request;

	while (length && job->iov_index < request->iov_count) {
		const struct iovec *to = &request->iov[job->iov_index];
		uint64_t part = to->iov_len - job->iov_within;

		part = part < length ? part : length;
		memset((uint8_t *)to->iov_base + job->iov_within, 0, part);
		length -= part;
		job->iov_within += part;
		if (job->iov_within == to->iov_len) {
			job->iov_index++;
			job->iov_within = 0;
		}
	}
}

/* ---- segments ---- */

static struct vhd_segment *segment_get(struct vhd_job *job)
{
	for (unsigned int i = 0; i < VHD_SEGMENTS; i++) {
		struct vhd_segment *segment = &job->segments[i];

		if (segment->used)
			continue;
		segment->used = true;
		segment->job = job;
		segment->block = VHD_NO_BLOCK;
		segment->iov = NULL;
		segment->bitmap = NULL;
		segment->io.dsync = segment->io.keep_space = false;
		return segment;
	}
	return NULL;
}

static void segment_end(struct vhd_segment *segment, int status)
{
	struct vhd_job *job = segment->job;

	if (status && !job->status)
		job->status = status;
	free(segment->iov);
	segment->used = false;
	job->outstanding--;
	if (!job->running)
		job_run(job);
}

static void segment_submit(struct vhd_segment *segment, struct vhd_file *file, vhd_io_done_fn done)
{
	segment->io.done = done;
	segment->job->outstanding++;
	file->ops->submit(file, &segment->io, segment->job->request->loop);
}

static struct vhd_segment *segment_of(struct vhd_io *io)
{
	return (struct vhd_segment *)((char *)io - offsetof(struct vhd_segment, io));
}

static void on_data(struct vhd_io *io, int status)
{
	struct vhd_segment *segment = segment_of(io);
	struct vhd_disk *disk = segment->job->disk;

	if (status == 0 && segment->block != VHD_NO_BLOCK) {
		pthread_mutex_lock(&disk->lock);
		vhd_map_written(disk, segment->block, segment->sector, segment->sectors);
		pthread_mutex_unlock(&disk->lock);
	}
	segment_end(segment, status);
}

static void data_start(struct vhd_job *job, struct vhd_segment *segment,
		       const struct vhd_place *place)
{
	const struct disk_request *request = job->request;
	uint64_t at = request->offset + job->position;
	struct vhd_io *io = &segment->io;
	int rc = 0;

	io->offset = place->offset;
	io->length = place->length;
	io->iov = NULL;
	io->iov_count = 0;
	if (request->op == DISK_READ || request->op == DISK_WRITE) {
		io->kind = request->op == DISK_READ ? VHD_IO_READ : VHD_IO_WRITE;
		io->dsync = request->op == DISK_WRITE && request->fua;
		rc = take_iov(job, segment, place->length);
	} else {
		io->kind = VHD_IO_ZERO;
		io->keep_space = job->disk->keep_space;
	}
	if (place->sets_bits) {
		uint32_t block_bytes = place->layer->link->image.header.block_bytes;

		segment->block = place->block;
		segment->sector = (uint32_t)(at % block_bytes / VHD_SECTOR_BYTES);
		segment->sectors = (uint32_t)(place->length / VHD_SECTOR_BYTES);
	}
	job->position += place->length;
	if (rc) {
		job->status = rc;
		free(segment->iov);
		segment->used = false;
		return;
	}
	segment_submit(segment, place->layer->link->file, on_data);
}

static void on_bitmap(struct vhd_io *io, int status)
{
	struct vhd_segment *segment = segment_of(io);
	struct vhd_disk *disk = segment->job->disk;

	if (status == 0) {
		pthread_mutex_lock(&disk->lock);
		vhd_map_bitmap(segment->layer, segment->block, segment->bitmap);
		pthread_mutex_unlock(&disk->lock);
	} else {
		free(segment->bitmap);
	}
	segment_end(segment, status);
}

static void bitmap_start(struct vhd_job *job, struct vhd_segment *segment,
			 const struct vhd_place *place)
{
	const struct vhd_image *image = &place->layer->link->image;
	struct vhd_io *io = &segment->io;

	segment->layer = place->layer;
	segment->block = place->block;
	segment->bitmap = aligned_alloc(BITMAP_ALIGN, image->bitmap_bytes);
	if (!segment->bitmap) {
		job->status = -ENOMEM;
		segment->used = false;
		return;
	}
	segment->one[0].iov_base = segment->bitmap;
	segment->one[0].iov_len = image->bitmap_bytes;
	io->kind = VHD_IO_READ;
	io->iov = segment->one;
	io->iov_count = 1;
	io->offset = (uint64_t)place->layer->blocks[place->block].entry * VHD_SECTOR_BYTES;
	io->length = image->bitmap_bytes;
	segment_submit(segment, place->layer->link->file, on_bitmap);
}

/* ---- growth ---- */

static void on_grown(struct vhd_io *io, int status)
{
	struct vhd_segment *segment = segment_of(io);
	struct vhd_disk *disk = segment->job->disk;
	struct vhd_job *waiters, *job;

	pthread_mutex_lock(&disk->lock);
	if (status == 0)
		disk->grown_end = segment->grown_end;
	disk->growing = false;
	waiters = disk->growth_waiters;
	disk->growth_waiters = NULL;
	pthread_mutex_unlock(&disk->lock);
	if (status)
		log_warn_limited("%s: cannot grow to %" PRIu64 " bytes: %s", disk->path,
				 segment->grown_end + VHD_FOOTER_BYTES, strerror(-status));
	while ((job = waiters) != NULL) {
		waiters = job->next;
		job->status = status;
		vhd_job_resume(job);
	}
	segment_end(segment, status);
}

/* The lock is held. Room for a few blocks more, and the footer after them; false: there is another
 * job that does it, which resumes this one. */
static bool growth_begin(struct vhd_job *job, struct vhd_segment *segment)
{
	struct vhd_disk *disk = job->disk;
	const struct vhd_image *image = &disk->layers[0].link->image;
	uint64_t stride = vhd_block_stride(image);

	if (disk->growing) {
		segment->used = false;
		job->next = disk->growth_waiters;
		disk->growth_waiters = job;
		job->waiting = true;
		return false;
	}
	/* Past the footer that is there: it stays good until the new one is. */
	disk->next_block = vhd_next_block(image, disk->grown_end + VHD_FOOTER_BYTES);
	segment->grown_end = disk->next_block + (VHD_GROW_BLOCKS - 1) * stride +
			     image->bitmap_bytes + image->header.block_bytes;
	disk->growing = true;
	return true;
}

static void growth_start(struct vhd_segment *segment)
{
	struct vhd_link *link = segment->job->disk->layers[0].link;
	struct vhd_io *io = &segment->io;

	segment->one[0].iov_base = link->image.footer_bytes;
	segment->one[0].iov_len = VHD_FOOTER_BYTES;
	io->kind = VHD_IO_WRITE;
	io->iov = segment->one;
	io->iov_count = 1;
	io->offset = segment->grown_end;
	io->length = VHD_FOOTER_BYTES;
	segment_submit(segment, link->file, on_grown);
}

/* ---- going on ---- */

static int map(struct vhd_job *job, struct vhd_place *place)
{
	const struct disk_request *request = job->request;
	uint64_t offset = request->offset + job->position;
	uint64_t left = request->length - job->position;

	switch (request->op) {
	case DISK_READ:
		vhd_map_read(job->disk, offset, left, place);
		return 0;
	case DISK_WRITE:
		return vhd_map_write(job->disk, offset, left, place);
	default:
		return vhd_map_zero(job->disk, offset, left, place);
	}
}

/* One segment more. False: the job has to wait for something that is under way. */
static bool step(struct vhd_job *job)
{
	struct vhd_segment *segment = segment_get(job);
	struct vhd_disk *disk = job->disk;
	bool grows = false, blocked = false;
	struct vhd_place place;
	int rc;

	if (!segment)
		return false;
	pthread_mutex_lock(&disk->lock);
	rc = map(job, &place);
	if (rc == 0 && place.where == VHD_NEEDS_ROOM) {
		/* One wait at a time, so that one call resumes the job. */
		blocked = job->outstanding > 0;
		if (blocked)
			segment->used = false;
		else
			grows = growth_begin(job, segment);
	}
	pthread_mutex_unlock(&disk->lock);
	if (rc) {
		job->status = rc;
		segment->used = false;
		return true;
	}
	switch (place.where) {
	case VHD_AT_FILE:
		data_start(job, segment, &place);
		return true;
	case VHD_ZEROES:
		if (job->request->op == DISK_READ)
			fill_zeroes(job, place.length);
		job->position += place.length;
		segment->used = false;
		return true;
	case VHD_NEEDS_BITMAP:
		if (job->outstanding > 0)
			segment->used = false;
		else
			bitmap_start(job, segment, &place);
		return false;
	case VHD_NEEDS_ROOM:
		if (grows)
			growth_start(segment);
		return false;
	}
	return false;
}

/* The data are where they belong. Whether a round has to end first. */
static bool needs_round(struct vhd_job *job, bool *leads)
{
	const struct disk_request *request = job->request;
	struct vhd_disk *disk = job->disk;
	bool changed, needs;

	if (job->committed || job->status || !disk->layers[0].blocks || request->op == DISK_READ)
		return false;
	pthread_mutex_lock(&disk->lock);
	changed = disk->dirty_count > 0 || disk->meta_unsynced || disk->leader;
	job->durable = request->op == DISK_FLUSH || (request->op == DISK_WRITE && request->fua);
	needs = request->op == DISK_FLUSH || (job->durable && changed) || vhd_commit_is_due(disk);
	if (needs)
		*leads = vhd_commit_join(disk, job, job->durable);
	pthread_mutex_unlock(&disk->lock);
	return needs;
}

static void job_run(struct vhd_job *job)
{
	uint64_t length = job->request->op == DISK_FLUSH ? 0 : job->request->length;
	bool leads = false;

	for (;;) {
		job->running = true;
		while (!job->status && !job->waiting && job->position < length)
			if (!step(job))
				break;
		job->running = false;
		if (job->waiting || job->outstanding > 0)
			return;
		/* What it waited for may have ended from within. */
		if (job->status || job->position >= length)
			break;
	}
	if (!needs_round(job, &leads))
		job_end(job);
	else if (leads)
		vhd_commit_lead(job);
}

static void on_flushed(struct vhd_io *io, int status)
{
	segment_end(segment_of(io), status);
}

/* A fixed image's flush is one of its file. */
static void flush_fixed(struct vhd_job *job)
{
	struct vhd_segment *segment = segment_get(job);

	segment->io.kind = VHD_IO_SYNC;
	segment_submit(segment, job->disk->layers[0].link->file, on_flushed);
}

void vhd_disk_submit(struct disk *base, struct disk_request *request)
{
	struct vhd_disk *disk = (struct vhd_disk *)base;
	bool writes = request->op == DISK_WRITE || request->op == DISK_WRITE_ZEROES ||
		      request->op == DISK_UNMAP;
	uint64_t size = disk->info.size_bytes;
	struct vhd_job *job;
	int rc = 0;

	if (!disk->open)
		rc = -ENODEV;
	else if (request->op == DISK_SCSI)
		rc = -EOPNOTSUPP;
	else if (writes && disk->info.read_only)
		rc = -EROFS;
	else if (request->op != DISK_FLUSH &&
		 (!range_fits(request->offset, request->length, size) ||
		  (request->offset | request->length) % VHD_SECTOR_BYTES != 0))
		rc = -EINVAL;
	/* Nothing to flush; space that is kept is not given back. */
	if (rc || (request->op == DISK_FLUSH && disk->info.read_only) ||
	    (request->op == DISK_UNMAP && disk->keep_space)) {
		request->done(request, rc);
		return;
	}
	job = job_get(disk);
	if (!job) {
		request->done(request, -ENOMEM);
		return;
	}
	job_init(job, disk, request);
	if (request->op == DISK_FLUSH && !disk->layers[0].blocks)
		flush_fixed(job);
	else
		job_run(job);
}
