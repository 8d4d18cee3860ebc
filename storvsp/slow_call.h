/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Calls that may hang: open, stat, lock and close of a file on a share that is gone. They run on a
 * thread of their own, and the caller waits no longer than it likes.
 */
#ifndef LUNAR_STORVSP_SLOW_CALL_H
#define LUNAR_STORVSP_SLOW_CALL_H

#include <stdint.h>

/*
 * Calls run(job) on a thread of its own and waits for it. Returns 0 when it is done; -ETIMEDOUT
 * where it was not in deadline_ms: the job is the thread's then, which calls abandoned(job) when
 * run() has returned after all. -errno where there can be no thread: neither was called. Any
 * thread.
 */
int slow_call(void (*run)(void *job), void (*abandoned)(void *job), void *job,
	      uint32_t deadline_ms);

#endif
