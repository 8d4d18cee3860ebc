/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * See memory_disk.h.
 */
#include "tests/unit/storvsp/memory_disk.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "storvsp/io_loop.h"

struct posted_request {
	struct io_post post;
	struct memory_disk *memory;
	struct disk_request *request;
};

static void memory_get_info(struct disk *disk, struct disk_info *info)
{
	*info = ((struct memory_disk *)disk)->info;
}

static void request_check(const struct memory_disk *memory, const struct disk_request *request)
{
	bool has_data = request->op == DISK_READ || request->op == DISK_WRITE;
	uint64_t sum = 0;

	if (request->op == DISK_FLUSH || request->op == DISK_SCSI)
		return;
	if (request->offset % memory->info.block_bytes || request->length == 0 ||
	    request->length % memory->info.block_bytes ||
	    request->offset > memory->info.size_bytes ||
	    request->length > memory->info.size_bytes - request->offset)
		abort();
	for (uint32_t i = 0; i < request->iov_count; i++)
		sum += request->iov[i].iov_len;
	if (has_data && sum != request->length)
		abort();
}

static void request_move(struct memory_disk *memory, const struct disk_request *request)
{
	uint8_t *at = memory->bytes + request->offset;

	for (uint32_t i = 0; i < request->iov_count; i++) {
		if (request->op == DISK_READ)
			memcpy(request->iov[i].iov_base, at, request->iov[i].iov_len);
		else
			memcpy(at, request->iov[i].iov_base, request->iov[i].iov_len);
		at += request->iov[i].iov_len;
	}
}

static void request_carry_out(struct memory_disk *memory, struct disk_request *request)
{
	int status = memory->fail[request->op];

	if (!status) {
		switch (request->op) {
		case DISK_READ:
		case DISK_WRITE:
			request_move(memory, request);
			break;
		case DISK_WRITE_ZEROES:
		case DISK_UNMAP:
			memset(memory->bytes + request->offset, 0, request->length);
			break;
		case DISK_FLUSH:
			break;
		case DISK_SCSI:
			request->scsi->status = memory->answer.status;
			request->scsi->sense_bytes = memory->answer.sense_bytes;
			memcpy(request->scsi->sense, memory->answer.sense, DISK_SENSE_BYTES);
			request->scsi->transferred = memory->answer.transferred;
			break;
		}
	}
	if (memory->posted) /* long enough for another thread to come between two requests */
		nanosleep(&(struct timespec){.tv_nsec = 50000}, NULL);
	request->done(request, status);
}

static void request_posted(struct io_post *post)
{
	struct posted_request *posted = (struct posted_request *)post;
	struct memory_disk *memory = posted->memory;
	struct disk_request *request = posted->request;

	free(posted);
	request_carry_out(memory, request);
}

static void memory_submit(struct disk *disk, struct disk_request *request)
{
	struct memory_disk *memory = (struct memory_disk *)disk;
	struct posted_request *posted;

	request_check(memory, request);
	atomic_fetch_add(&memory->counts[request->op], 1);
	if (!memory->posted) {
		memory->last_op = request->op;
		memory->last_fua = request->fua;
		memory->last_offset = request->offset;
		memory->last_length = request->length;
		if (request->op == DISK_SCSI)
			memory->last_scsi = *request->scsi;
		request_carry_out(memory, request);
		return;
	}
	posted = calloc(1, sizeof(*posted));
	if (!posted)
		abort();
	posted->post.fn = request_posted;
	posted->memory = memory;
	posted->request = request;
	io_loop_post(request->loop, &posted->post);
}

static const struct disk_ops memory_ops = {
	.get_info = memory_get_info,
	.submit = memory_submit,
};

struct memory_disk *memory_disk_create(uint64_t size_bytes, uint32_t block_bytes)
{
	struct memory_disk *memory = calloc(1, sizeof(*memory));

	if (!memory)
		abort();
	memory->disk.ops = &memory_ops;
	memory->bytes = calloc(1, size_bytes);
	if (!memory->bytes)
		abort();
	memory->info = (struct disk_info){
		.size_bytes = size_bytes,
		.block_bytes = block_bytes,
		.physical_block_bytes = 4096,
		.optimal_bytes = 1u << 20,
		.unmap_granularity_bytes = 4096,
		.unmap_zeroes = true,
		.write_cache = true,
		.kind = "memory",
	};
	return memory;
}

void memory_disk_destroy(struct memory_disk *memory)
{
	if (!memory)
		return;
	free(memory->bytes);
	free(memory);
}
