/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Transfers to and from an image's file on a worker's loop, each of any size and alignment: short
 * results are continued, memory that O_DIRECT cannot take is bounced, long vectors are cut. A
 * transfer ends once, on the loop's thread, perhaps from within the call that started it.
 */
#ifndef LUNAR_STORVSP_IMAGE_IO_H
#define LUNAR_STORVSP_IMAGE_IO_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "storvsp/io_loop.h"

struct image_file;
struct image_io;

/* status: 0, or -errno: -ENOSPC, -EDQUOT and -EFBIG are told as -ENOSPC; what else the file system
 * says as -EIO, but for -ENOMEM, -EROFS and -EOPNOTSUPP. */
typedef void (*image_done_fn)(struct image_io *io, int status);

/* One transfer; embedded in what it belongs to. done is the caller's to set, the rest is private.
 */
struct image_io {
	struct io_op op; /* first */
	image_done_fn done;
	struct image_file *file;
	struct io_loop *loop;
	const struct iovec *iov;
	uint32_t iov_count;
	uint32_t first;	 /* of iov, that is not done */
	uint64_t within; /* bytes of it that are */
	uint64_t offset, left;
	struct iovec piece;
	uint8_t *bounce;
	uint8_t kind;
	bool dsync, bounced, was_direct, avoid_direct;
};

/* length: the sum of iov. What lies past the end of the file is read as zeroes up to the next
 * 4096 bytes; further it is -EIO. */
void image_read(struct image_io *io, struct image_file *file, struct io_loop *loop,
		const struct iovec *iov, uint32_t iov_count, uint64_t offset, uint64_t length);
/* dsync: on the disk when it is done. A write past the end makes the file longer. */
void image_write(struct image_io *io, struct image_file *file, struct io_loop *loop,
		 const struct iovec *iov, uint32_t iov_count, uint64_t offset, uint64_t length,
		 bool dsync);
/* All that is done is on the disk. */
void image_sync(struct image_io *io, struct image_file *file, struct io_loop *loop);
/* Reads as zeroes afterwards. deallocate: gives the room back where the file system can; else it is
 * kept. Where it can do neither zeroes are written. The file does not get longer by it. */
void image_zero(struct image_io *io, struct image_file *file, struct io_loop *loop, uint64_t offset,
		uint64_t length, bool deallocate);

#endif
