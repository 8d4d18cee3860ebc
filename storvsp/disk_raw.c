/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Raw files and block devices. Each request is one transfer, whose state lies in the request.
 */
#include "storvsp/disk_raw.h"

#include <errno.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/bytes.h"
#include "storvsp/blocking_pool.h"
#include "storvsp/disk.h"
#include "storvsp/disk_raw_internal.h"
#include "storvsp/image_file.h"
#include "storvsp/image_io.h"
#include "storvsp/scsi_generic.h"

/* Threads of a block device, for what has no way through io_uring. */
#define POOL_THREADS	     2u
#define PASS_THROUGH_THREADS 8u

struct disk_raw {
	struct disk disk; /* first */
	struct image_file *file;
	struct blocking_pool *pool; /* of a block device that is written or passed through */
	bool pass_through;
	uint32_t block_bytes; /* 0: the file's own */
	const char *kind;
};

/* In the request, while a disk has it. */
struct raw_state {
	union {
		struct image_io io;
		struct blocking_job job;
	};
};

_Static_assert(sizeof(struct raw_state) <= DISK_BACKEND_WORDS * sizeof(uint64_t),
	       "a request has room for a transfer");

static struct raw_state *state_of(struct disk_request *request)
{
	return (struct raw_state *)(void *)request->backend_state;
}

static struct disk_request *request_of(void *state)
{
	return (struct disk_request *)(void *)((char *)state -
					       offsetof(struct disk_request, backend_state));
}

static struct disk_raw *disk_of(const struct disk_request *request)
{
	return request->backend[0];
}

static uint32_t block_bytes_of(const struct disk_raw *raw)
{
	return raw->block_bytes != 0 ? raw->block_bytes : raw->file->block_bytes;
}

/* A file that ends within a block has that block whole: it reads as zeroes there. */
static uint64_t size_of(const struct disk_raw *raw)
{
	uint64_t size = atomic_load(&raw->file->size_bytes);

	return size <= INT64_MAX ? align_up(size, block_bytes_of(raw)) : 0;
}

static void raw_get_info(struct disk *disk, struct disk_info *info)
{
	const struct disk_raw *raw = (struct disk_raw *)disk;
	const struct image_file *file = raw->file;

	*info = (struct disk_info){
		.size_bytes = size_of(raw),
		.block_bytes = block_bytes_of(raw),
		.physical_block_bytes = file->physical_block_bytes,
		.optimal_bytes = file->optimal_bytes,
		.unmap_granularity_bytes = file->discard_bytes,
		.unmap_zeroes = file->discard_bytes > 0 && !file->is_block_device,
		.read_only = file->read_only,
		.write_cache = !file->read_only,
		.rotational = file->rotational,
		.passes_scsi = raw->pass_through,
		.kind = raw->kind,
	};
	if (info->physical_block_bytes < info->block_bytes)
		info->physical_block_bytes = info->block_bytes;
	memcpy(info->id, file->id, sizeof(info->id));
}

static void on_transfer(struct image_io *io, int status)
{
	struct disk_request *request = request_of(io);

	request->done(request, status);
}

/* ---- what only the pool can do ---- */

static void on_job(struct blocking_job *job)
{
	struct disk_request *request = request_of(job);

	request->done(request, job->status);
}

/* Advice: a device that cannot, or will not now, has done what it was asked. */
static int run_discard(struct blocking_job *job)
{
	const struct disk_request *request = request_of(job);
	uint64_t range[2] = {request->offset, request->length};
	int ret = ioctl(disk_of(request)->file->fd, BLKDISCARD, range) < 0 ? -errno : 0;

	return ret == -EOPNOTSUPP || ret == -EINVAL ? 0 : ret;
}

static int run_scsi(struct blocking_job *job)
{
	struct disk_request *request = request_of(job);

	return scsi_generic_run(disk_of(request)->file->fd, request->scsi, request->iov,
				request->iov_count, request->length);
}

static void submit_to_pool(struct disk_raw *raw, struct disk_request *request,
			   int (*run)(struct blocking_job *job))
{
	struct blocking_job *job = &state_of(request)->job;

	job->run = run;
	job->done = on_job;
	job->loop = request->loop;
	blocking_pool_submit(raw->pool, job);
}

static void unmap(struct disk_raw *raw, struct disk_request *request)
{
	struct image_io *io = &state_of(request)->io;

	if (raw->file->discard_bytes == 0)
		request->done(request, 0);
	else if (raw->file->is_block_device)
		submit_to_pool(raw, request, run_discard);
	else
		image_zero(io, raw->file, request->loop, request->offset, request->length, true);
}

/* ---- requests ---- */

static int check(const struct disk_raw *raw, const struct disk_request *request)
{
	uint32_t mask = block_bytes_of(raw) - 1;

	if (raw->file->fd < 0)
		return -ENODEV;
	if (request->op == DISK_FLUSH)
		return 0;
	if (request->op == DISK_SCSI && !raw->pass_through)
		return -EOPNOTSUPP;
	if (raw->file->read_only && disk_request_writes(request))
		return -EROFS;
	if (request->op == DISK_SCSI)
		return 0;
	if (((request->offset | request->length) & mask) != 0 ||
	    !range_fits(request->offset, request->length, size_of(raw)))
		return -EINVAL;
	return 0;
}

static void raw_submit(struct disk *disk, struct disk_request *request)
{
	struct disk_raw *raw = (struct disk_raw *)disk;
	struct image_io *io = &state_of(request)->io;
	int ret = check(raw, request);

	if (ret < 0) {
		request->done(request, ret);
		return;
	}
	request->backend[0] = raw;
	io->done = on_transfer;
	switch (request->op) {
	case DISK_READ:
		image_read(io, raw->file, request->loop, request->iov, request->iov_count,
			   request->offset, request->length);
		break;
	case DISK_WRITE:
		image_write(io, raw->file, request->loop, request->iov, request->iov_count,
			    request->offset, request->length, request->fua);
		break;
	case DISK_FLUSH:
		if (raw->file->read_only)
			request->done(request, 0);
		else
			image_sync(io, raw->file, request->loop);
		break;
	case DISK_WRITE_ZEROES:
		image_zero(io, raw->file, request->loop, request->offset, request->length, false);
		break;
	case DISK_UNMAP:
		unmap(raw, request);
		break;
	case DISK_SCSI:
		submit_to_pool(raw, request, run_scsi);
		break;
	}
}

/* ---- life ---- */

static int raw_release(struct disk *disk)
{
	return image_file_release(((struct disk_raw *)disk)->file);
}

static int raw_reopen(struct disk *disk, char *message, size_t message_bytes)
{
	return image_file_reopen(((struct disk_raw *)disk)->file, message, message_bytes);
}

static int raw_refresh(struct disk *disk)
{
	return image_file_refresh(((struct disk_raw *)disk)->file);
}

static void raw_close(struct disk *disk)
{
	struct disk_raw *raw = (struct disk_raw *)disk;

	blocking_pool_destroy(raw->pool);
	image_file_close(raw->file);
	free(raw);
}

static const struct disk_ops raw_ops = {
	.get_info = raw_get_info,
	.submit = raw_submit,
	.release = raw_release,
	.reopen = raw_reopen,
	.refresh = raw_refresh,
	.close = raw_close,
};

int disk_raw_wrap(struct image_file *file, uint32_t block_bytes, const char *kind,
		  bool pass_through, struct disk **disk)
{
	struct disk_raw *raw = calloc(1, sizeof(*raw));
	int ret = -ENOMEM;

	if (raw == NULL)
		return ret;
	raw->disk.ops = &raw_ops;
	raw->file = file;
	raw->block_bytes = block_bytes;
	raw->kind = kind;
	raw->pass_through = pass_through;
	if (file->is_block_device) {
		ret = blocking_pool_create(pass_through ? PASS_THROUGH_THREADS : POOL_THREADS,
					   &raw->pool);
		if (ret < 0) {
			free(raw);
			return ret;
		}
	}
	*disk = &raw->disk;
	return 0;
}

int disk_raw_open(const struct disk_options *options, struct disk **disk, char *message,
		  size_t message_bytes)
{
	const struct image_file_options file_options = {
		.path = options->path,
		.read_only = options->read_only,
		.direct = options->cache == DISK_CACHE_NONE,
		.deferred = options->deferred,
	};
	struct image_file *file;
	int ret = image_file_open(&file_options, &file, message, message_bytes);

	if (ret < 0)
		return ret;
	if (options->pass_through && !file->is_block_device) {
		snprintf(message, message_bytes,
			 "%s is a file: passthrough is for block devices of SCSI disks",
			 options->path);
		ret = -EINVAL;
		goto err_close;
	}
	if (options->pass_through && !options->deferred && !scsi_generic_is_there(file->fd)) {
		snprintf(message, message_bytes, "%s takes no SCSI commands (SG_IO)",
			 options->path);
		ret = -ENOTTY;
		goto err_close;
	}
	ret = disk_raw_wrap(file, 0, file->is_block_device ? "block" : "raw", options->pass_through,
			    disk);
	if (ret == 0)
		return 0;
	snprintf(message, message_bytes, "%s: %s", options->path, strerror(-ret));
err_close:
	image_file_close(file);
	return ret;
}
