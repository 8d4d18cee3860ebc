/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A worker thread's I/O: one io_uring, and calls posted by other threads. Everything but
 * io_loop_post() is for the thread that runs the loop. No call blocks but io_loop_run(). Where the
 * ring is full an operation waits in a queue of the loop's own and is never refused.
 */
#ifndef LUNAR_STORVSP_IO_LOOP_H
#define LUNAR_STORVSP_IO_LOOP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

struct io_loop;
struct io_op;

/* result: bytes, or -errno, as the operation's system call would tell. The op is the caller's again
 * when it is called. */
typedef void (*io_done_fn)(struct io_op *op, int32_t result);

/* One operation; embedded in what it belongs to, untouched by the caller until done. */
struct io_op {
	io_done_fn done;
	struct io_op *next; /* the loop's own, as all below */
	uint8_t kind;
	int fd;
	uint32_t flags;
	const void *argument;
	uint64_t offset;
	uint64_t length;
};

/* A call from another thread; embedded, untouched by the caller until fn is called. */
struct io_post {
	void (*fn)(struct io_post *post);
	struct io_post *next;
};

/* entries: of the submission ring, a power of two. Returns 0, -ENOSYS or -EPERM where this kernel
 * has or allows no io_uring, or -errno. */
int io_loop_create(uint32_t entries, struct io_loop **loop);
/* Takes NULL. No operation is in flight, and no post is to come. */
void io_loop_destroy(struct io_loop *loop);

/* iov must stay until done. dsync: the bytes are on the disk when it is done (RWF_DSYNC). A short
 * result is possible, as with preadv2(). */
void io_loop_readv(struct io_loop *loop, struct io_op *op, int fd, const struct iovec *iov,
		   uint32_t iov_count, uint64_t offset);
void io_loop_writev(struct io_loop *loop, struct io_op *op, int fd, const struct iovec *iov,
		    uint32_t iov_count, uint64_t offset, bool dsync);
/* fdatasync() */
void io_loop_sync(struct io_loop *loop, struct io_op *op, int fd);
/* fallocate(); mode: FALLOC_FL_* */
void io_loop_fallocate(struct io_loop *loop, struct io_op *op, int fd, int mode, uint64_t offset,
		       uint64_t length);
/* Once: done with the poll events that are there. */
void io_loop_poll(struct io_loop *loop, struct io_op *op, int fd, uint32_t events);
/* Asks a poll to end at once; its done is called with -ECANCELED unless it was ready. */
void io_loop_poll_cancel(struct io_loop *loop, struct io_op *op);

/* Calls post->fn on the loop's thread, soon. Any thread. */
void io_loop_post(struct io_loop *loop, struct io_post *post);

/* Hands in what was queued, waits until something is done or posted or timeout_ms (-1: for ever;
 * 0: only looks) is over, and makes the calls. Returns how many were made, or -errno. */
int io_loop_run(struct io_loop *loop, int timeout_ms);

#endif
