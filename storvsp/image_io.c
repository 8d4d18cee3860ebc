/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A transfer is a chain of operations: each takes what the kernel takes at once from where the last
 * one ended, until nothing is left.
 */
#include "storvsp/image_io.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "storvsp/image_file.h"

#define BOUNCE_BYTES	  262144u
#define BOUNCE_ALIGN	  65536u /* no file system wants more */
#define PAST_END_READABLE 4096u
#define VECTOR_BYTES_MAX  (1u << 30)

enum io_kind {
	IO_READ,
	IO_WRITE,
	IO_SYNC,
	IO_PUNCH,
	IO_ZERO,
	IO_WRITE_ZEROES,
};

static const uint8_t zeroes[BOUNCE_BYTES] __attribute__((aligned(BOUNCE_ALIGN)));

static void step(struct image_io *io);
static void on_done(struct io_op *op, int32_t result);

static void finish(struct image_io *io, int status)
{
	free(io->bounce);
	io->bounce = NULL;
	io->done(io, status);
}

static int translate(int32_t error)
{
	switch (error) {
	case -ENOSPC:
	case -EDQUOT:
	case -EFBIG:
		return -ENOSPC;
	case -ENOMEM:
	case -EROFS:
	case -EOPNOTSUPP:
		return error;
	default:
		return -EIO;
	}
}

/* ---- the vector ---- */

static void advance(struct image_io *io, uint64_t bytes)
{
	io->offset += bytes;
	io->left -= bytes;
	if (io->iov == NULL)
		return;
	io->within += bytes;
	while (io->first < io->iov_count && io->within >= io->iov[io->first].iov_len) {
		io->within -= io->iov[io->first].iov_len;
		io->first++;
	}
}

/* Between the vector, from where the transfer stands, and flat bytes. from NULL: zeroes. */
static void copy_vector(const struct image_io *io, uint8_t *to, const uint8_t *from, size_t bytes,
			bool into_vector)
{
	uint64_t within = io->within;

	for (uint32_t i = io->first; bytes > 0 && i < io->iov_count; i++) {
		uint8_t *base = (uint8_t *)io->iov[i].iov_base + within;
		size_t part = io->iov[i].iov_len - (size_t)within;
		if (part > bytes)
			part = bytes;
		if (!into_vector) {
			memcpy(to, base, part);
			to += part;
		} else if (from != NULL) {
			memcpy(base, from, part);
			from += part;
		} else {
			memset(base, 0, part);
		}
		bytes -= part;
		within = 0;
	}
}

static bool is_aligned(const struct iovec *iov, uint32_t base_align, uint32_t length_align)
{
	return ((uintptr_t)iov->iov_base & (base_align - 1)) == 0 &&
	       (iov->iov_len & (length_align - 1)) == 0;
}

/*
 * What can be handed in as it is, from where the transfer stands: a piece of one element, or
 * several whole ones. Returns their count, 0 where the memory is not aligned.
 */
static uint32_t take_vector(struct image_io *io, uint32_t base_align, uint32_t length_align,
			    const struct iovec **iov)
{
	uint32_t count = 0;
	uint64_t bytes = 0;

	if (io->within > 0) {
		const struct iovec *first = &io->iov[io->first];
		io->piece.iov_base = (uint8_t *)first->iov_base + io->within;
		io->piece.iov_len = first->iov_len - (size_t)io->within;
		*iov = &io->piece;
		return is_aligned(&io->piece, base_align, length_align) ? 1 : 0;
	}
	*iov = &io->iov[io->first];
	while (io->first + count < io->iov_count && count < IOV_MAX && bytes < VECTOR_BYTES_MAX &&
	       is_aligned(&(*iov)[count], base_align, length_align)) {
		bytes += (*iov)[count].iov_len;
		count++;
	}
	return count;
}

/* ---- steps ---- */

static void submit(struct image_io *io, int fd, const struct iovec *iov, uint32_t count)
{
	if (io->kind == IO_READ)
		io_loop_readv(io->loop, &io->op, fd, iov, count, io->offset);
	else
		io_loop_writev(io->loop, &io->op, fd, iov, count, io->offset, io->dsync);
}

static void submit_bounced(struct image_io *io, int fd)
{
	size_t bytes = io->left < BOUNCE_BYTES ? (size_t)io->left : BOUNCE_BYTES;

	if (io->bounce == NULL)
		io->bounce = aligned_alloc(BOUNCE_ALIGN, BOUNCE_BYTES);
	if (io->bounce == NULL) {
		finish(io, -ENOMEM);
		return;
	}
	if (io->kind == IO_WRITE)
		copy_vector(io, io->bounce, NULL, bytes, false);
	io->piece = (struct iovec){io->bounce, bytes};
	io->bounced = true;
	submit(io, fd, &io->piece, 1);
}

static void step_zeroes(struct image_io *io, bool direct)
{
	size_t bytes = io->left < sizeof(zeroes) ? (size_t)io->left : sizeof(zeroes);

	io->piece = (struct iovec){(void *)(uintptr_t)zeroes, bytes};
	submit(io, direct ? io->file->fd : io->file->buffered_fd, &io->piece, 1);
}

static void step_transfer(struct image_io *io)
{
	const struct image_file *file = io->file;
	bool direct = file->direct && !io->avoid_direct &&
		      ((io->offset | io->left) & (file->offset_align - 1)) == 0;
	const struct iovec *iov;
	uint32_t count;

	io->bounced = false;
	io->was_direct = direct;
	if (io->kind == IO_WRITE_ZEROES) {
		step_zeroes(io, direct);
		return;
	}
	count = direct ? take_vector(io, file->memory_align, file->offset_align, &iov)
		       : take_vector(io, 1, 1, &iov);
	if (count > 0)
		submit(io, direct ? file->fd : file->buffered_fd, iov, count);
	else if (direct)
		submit_bounced(io, file->fd);
	else
		finish(io, -EINVAL); /* the vector is shorter than it was said to be */
}

/* Reads as zeroes by itself past the end: the part before it is all that there is to do. */
static bool clip_to_end(struct image_io *io)
{
	uint64_t size = atomic_load(&io->file->size_bytes);

	if (io->offset >= size)
		return false;
	if (io->left > size - io->offset)
		io->left = size - io->offset;
	return true;
}

static void step_deallocate(struct image_io *io)
{
	struct image_file *file = io->file;

	if (io->kind == IO_PUNCH && atomic_load(&file->cannot_punch))
		io->kind = IO_ZERO;
	if (io->kind == IO_ZERO && atomic_load(&file->cannot_zero))
		io->kind = IO_WRITE_ZEROES;
	if (io->kind == IO_WRITE_ZEROES)
		step_transfer(io);
	else
		io_loop_fallocate(io->loop, &io->op, file->fd,
				  FALLOC_FL_KEEP_SIZE |
					  (io->kind == IO_PUNCH ? FALLOC_FL_PUNCH_HOLE
								: FALLOC_FL_ZERO_RANGE),
				  io->offset, io->left);
}

static void step(struct image_io *io)
{
	switch ((enum io_kind)io->kind) {
	case IO_SYNC:
		io_loop_sync(io->loop, &io->op, io->file->fd);
		break;
	case IO_PUNCH:
	case IO_ZERO:
		step_deallocate(io);
		break;
	default:
		if (io->left == 0)
			finish(io, 0);
		else
			step_transfer(io);
	}
}

/* ---- results ---- */

static void end_of_file(struct image_io *io)
{
	uint64_t size = atomic_load(&io->file->size_bytes);

	if (io->kind != IO_READ || io->offset < size ||
	    io->offset + io->left > align_up(size, PAST_END_READABLE)) {
		finish(io, -EIO);
		return;
	}
	copy_vector(io, NULL, NULL, (size_t)io->left, true);
	finish(io, 0);
}

/* A write past the end made the file longer. */
static void note_end(struct image_file *file, uint64_t end)
{
	uint64_t size = atomic_load(&file->size_bytes);

	while (end > size && !atomic_compare_exchange_weak(&file->size_bytes, &size, end))
		;
}

static void transferred(struct image_io *io, uint32_t bytes)
{
	if (bytes > io->left) {
		finish(io, -EIO);
		return;
	}
	if (io->bounced && io->kind == IO_READ)
		copy_vector(io, NULL, io->bounce, bytes, true);
	if (io->kind != IO_READ)
		note_end(io->file, io->offset + bytes);
	advance(io, bytes);
	step(io);
}

static bool is_unsupported(int32_t error)
{
	return error == -EOPNOTSUPP || error == -ENOSYS || error == -EINVAL || error == -ENODEV ||
	       error == -EPERM;
}

static void deallocated(struct image_io *io, int32_t result)
{
	bool punched = io->kind == IO_PUNCH;

	if (!is_unsupported(result)) {
		finish(io, result < 0 ? translate(result) : 0);
		return;
	}
	if (result == -EOPNOTSUPP)
		atomic_store(punched ? &io->file->cannot_punch : &io->file->cannot_zero, true);
	io->kind = punched ? IO_ZERO : IO_WRITE_ZEROES;
	step(io);
}

static void on_done(struct io_op *op, int32_t result)
{
	struct image_io *io = (struct image_io *)op;

	if (result == -EINTR || result == -EAGAIN) {
		step(io);
	} else if (io->kind == IO_PUNCH || io->kind == IO_ZERO) {
		deallocated(io, result);
	} else if (io->kind == IO_SYNC) {
		finish(io, result < 0 ? translate(result) : 0);
	} else if (result == -EINVAL && io->was_direct) {
		/* It wants it otherwise than it says. */
		io->avoid_direct = true;
		step(io);
	} else if (result < 0) {
		finish(io, translate(result));
	} else if (result == 0) {
		end_of_file(io);
	} else {
		transferred(io, (uint32_t)result);
	}
}

/* ---- starts ---- */

static void start(struct image_io *io, struct image_file *file, struct io_loop *loop,
		  enum io_kind kind)
{
	io->op.done = on_done;
	io->file = file;
	io->loop = loop;
	io->kind = (uint8_t)kind;
	io->iov = NULL;
	io->iov_count = 0;
	io->first = 0;
	io->within = 0;
	io->bounce = NULL;
	io->dsync = false;
	io->bounced = false;
	io->avoid_direct = false;
}

static void start_transfer(struct image_io *io, const struct iovec *iov, uint32_t iov_count,
			   uint64_t offset, uint64_t length)
{
	io->iov = iov;
	io->iov_count = iov_count;
	io->offset = offset;
	io->left = length;
	if (!range_fits(offset, length, INT64_MAX)) {
		finish(io, -EINVAL);
		return;
	}
	advance(io, 0); /* skips empty elements */
	step(io);
}

void image_read(struct image_io *io, struct image_file *file, struct io_loop *loop,
		const struct iovec *iov, uint32_t iov_count, uint64_t offset, uint64_t length)
{
	start(io, file, loop, IO_READ);
	start_transfer(io, iov, iov_count, offset, length);
}

void image_write(struct image_io *io, struct image_file *file, struct io_loop *loop,
		 const struct iovec *iov, uint32_t iov_count, uint64_t offset, uint64_t length,
		 bool dsync)
{
	start(io, file, loop, IO_WRITE);
	io->dsync = dsync;
	start_transfer(io, iov, iov_count, offset, length);
}

void image_sync(struct image_io *io, struct image_file *file, struct io_loop *loop)
{
	start(io, file, loop, IO_SYNC);
	step(io);
}

void image_zero(struct image_io *io, struct image_file *file, struct io_loop *loop, uint64_t offset,
		uint64_t length, bool deallocate)
{
	start(io, file, loop, deallocate ? IO_PUNCH : IO_ZERO);
	io->offset = offset;
	io->left = length;
	if (length == 0 || !clip_to_end(io))
		finish(io, 0);
	else
		step(io);
}
