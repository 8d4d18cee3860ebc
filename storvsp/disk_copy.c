/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Copies a disk: a few pieces at once, each read, looked at, and written.
 */
#include "storvsp/disk_copy.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "storvsp/disk.h"
#include "storvsp/io_loop.h"

#define PIECE_BYTES (1u << 20)
#define PIECES	    8u
#define ENTRIES	    64u
#define WAIT_MS	    1000

struct disk_caller {
	struct io_loop *loop;
};

/* ---- one request ---- */

struct call {
	struct disk_request request; /* first */
	bool done;
	int status;
};

static void on_call(struct disk_request *request, int status)
{
	struct call *call = (struct call *)request;

	call->status = status;
	call->done = true;
}

static int wait_for(struct disk_caller *caller, struct disk *disk, struct call *call)
{
	call->request.loop = caller->loop;
	call->request.done = on_call;
	disk_submit(disk, &call->request);
	/* As disk.h has it, it always ends. */
	while (!call->done) {
		int rc = io_loop_run(caller->loop, WAIT_MS);

		if (rc < 0)
			return rc;
	}
	return call->status;
}

int disk_caller_create(struct disk_caller **out)
{
	struct disk_caller *caller = calloc(1, sizeof(*caller));
	int rc;

	if (!caller)
		return -ENOMEM;
	rc = io_loop_create(ENTRIES, &caller->loop);
	if (rc) {
		free(caller);
		return rc;
	}
	*out = caller;
	return 0;
}

void disk_caller_destroy(struct disk_caller *caller)
{
	if (!caller)
		return;
	io_loop_destroy(caller->loop);
	free(caller);
}

static int transfer(struct disk_caller *caller, struct disk *disk, enum disk_op op, uint64_t offset,
		    void *bytes, size_t length)
{
	const struct iovec iov = {bytes, length};
	struct call call = {
		.request =
			{.op = op, .offset = offset, .length = length, .iov = &iov, .iov_count = 1},
	};

	return wait_for(caller, disk, &call);
}

int disk_caller_write(struct disk_caller *caller, struct disk *disk, uint64_t offset,
		      const void *bytes, size_t length)
{
	return transfer(caller, disk, DISK_WRITE, offset, (void *)(uintptr_t)bytes, length);
}

int disk_caller_read(struct disk_caller *caller, struct disk *disk, uint64_t offset, void *bytes,
		     size_t length)
{
	return transfer(caller, disk, DISK_READ, offset, bytes, length);
}

int disk_caller_flush(struct disk_caller *caller, struct disk *disk)
{
	struct call call = {.request = {.op = DISK_FLUSH}};

	return wait_for(caller, disk, &call);
}

/* ---- a whole disk ---- */

struct piece {
	struct disk_request request; /* first */
	struct copy_state *state;
	struct iovec iov;
	uint8_t *bytes;
	bool busy;
};

struct copy_state {
	const struct disk_copy *copy;
	struct io_loop *loop;
	uint64_t position, size; /* up to here it is asked for */
	uint64_t data_end;	 /* of the part that position is in */
	unsigned int busy;
	int status;
	struct piece pieces[PIECES];
};

static bool is_zero(const uint8_t *bytes, size_t length)
{
	return bytes[0] == 0 && memcmp(bytes, bytes + 1, length - 1) == 0;
}

static void piece_end(struct piece *piece, int status)
{
	struct copy_state *state = piece->state;

	if (status && !state->status)
		state->status = status;
	piece->busy = false;
	state->busy--;
}

static void on_written(struct disk_request *request, int status)
{
	piece_end((struct piece *)request, status);
}

static void on_read(struct disk_request *request, int status)
{
	struct piece *piece = (struct piece *)request;

	if (status || is_zero(piece->bytes, (size_t)request->length)) {
		piece_end(piece, status);
		return;
	}
	request->op = DISK_WRITE;
	request->done = on_written;
	disk_submit(piece->state->copy->to, request);
}

/* The next part with data. False: no more. */
static bool find_data(struct copy_state *state)
{
	const struct disk_copy *copy = state->copy;
	uint64_t begin, end;

	if (state->position < state->data_end)
		return true;
	if (!copy->next_data) {
		state->data_end = state->size;
	} else if (state->position >= state->size ||
		   !copy->next_data(copy->ctx, state->position, &begin, &end)) {
		state->position = state->size;
	} else {
		state->position = begin;
		state->data_end = end < state->size ? end : state->size;
	}
	return state->position < state->data_end;
}

static void start_pieces(struct copy_state *state)
{
	for (unsigned int i = 0; i < PIECES && !state->status; i++) {
		struct piece *piece = &state->pieces[i];
		uint64_t length;

		if (piece->busy)
			continue;
		if (!find_data(state))
			return;
		length = state->data_end - state->position;
		length = length < PIECE_BYTES ? length : PIECE_BYTES;
		piece->busy = true;
		piece->state = state;
		piece->iov = (struct iovec){piece->bytes, length};
		memset(&piece->request, 0, sizeof(piece->request));
		piece->request.op = DISK_READ;
		piece->request.offset = state->position;
		piece->request.length = length;
		piece->request.iov = &piece->iov;
		piece->request.iov_count = 1;
		piece->request.loop = state->loop;
		piece->request.done = on_read;
		state->busy++;
		state->position += length;
		disk_submit(state->copy->from, &piece->request);
	}
}

static int run(struct copy_state *state)
{
	const struct disk_copy *copy = state->copy;

	for (;;) {
		int rc;

		start_pieces(state);
		if (!state->busy && (state->status || !find_data(state)))
			return state->status;
		if (!state->busy)
			continue;
		rc = io_loop_run(state->loop, WAIT_MS);
		if (rc < 0)
			return rc;
		if (!state->status && !copy->step(copy->ctx, state->position, state->size))
			state->status = -ECANCELED;
	}
}

int disk_copy_run(struct disk_caller *caller, const struct disk_copy *copy)
{
	struct copy_state *state = calloc(1, sizeof(*state));
	struct disk_info info;
	int rc = state ? 0 : -ENOMEM;

	for (unsigned int i = 0; rc == 0 && i < PIECES; i++) {
		state->pieces[i].bytes = aligned_alloc(4096, PIECE_BYTES);
		if (!state->pieces[i].bytes)
			rc = -ENOMEM;
	}
	if (rc == 0) {
		disk_get_info(copy->from, &info);
		state->copy = copy;
		state->loop = caller->loop;
		state->size = info.size_bytes;
		rc = run(state);
	}
	for (unsigned int i = 0; state && i < PIECES; i++)
		free(state->pieces[i].bytes);
	free(state);
	return rc ? rc : disk_caller_flush(caller, copy->to);
}
