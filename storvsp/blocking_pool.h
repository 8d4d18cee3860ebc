/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A few threads for system calls that block and have no way through io_uring: BLKDISCARD, SG_IO.
 * A job ends on the loop that it came from. Jobs beyond the threads wait in order.
 */
#ifndef LUNAR_STORVSP_BLOCKING_POOL_H
#define LUNAR_STORVSP_BLOCKING_POOL_H

#include <stdint.h>

#include "storvsp/io_loop.h"

struct blocking_pool;

/* Embedded; untouched by the caller from submit until done. */
struct blocking_job {
	struct io_post post; /* first; the pool's own, as next and status */
	struct blocking_job *next;
	struct io_loop *loop;
	int (*run)(struct blocking_job *job);	/* a thread of the pool */
	void (*done)(struct blocking_job *job); /* the loop's thread */
	int status;				/* of run(), valid in done() */
};

#define BLOCKING_POOL_THREADS_MAX 16u

/* Returns 0 or -errno. */
int blocking_pool_create(uint32_t threads, struct blocking_pool **pool);
/* Takes NULL. No job is under way. */
void blocking_pool_destroy(struct blocking_pool *pool);

/* Any thread. */
void blocking_pool_submit(struct blocking_pool *pool, struct blocking_job *job);

#endif
