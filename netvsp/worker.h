/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The thread that moves packets. It polls its sources (channels, uplinks) while there is work; a
 * source that has been idle for a while is armed, that is, its peer is told to wake us, and dropped
 * from the polling. With nothing left to poll the thread sleeps. A source that cannot wake us is
 * polled at growing intervals.
 *
 * All state of the data path belongs to this thread. Others change it by worker_call() only, which
 * runs between two rounds: so there are no locks on the way of a packet.
 */
#ifndef LUNAR_NETVSP_WORKER_H
#define LUNAR_NETVSP_WORKER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

struct worker;

#define WORKER_TIMED_MIN_NS UINT64_C(50000) /* first and */
#define WORKER_TIMED_MAX_NS                                                                        \
	UINT64_C(1000000) /* longest interval of polling for sources without an event fd */

struct worker_source_ops {
	/* Does at most a burst of work. Returns how many packets or messages there were, 0 for
	 * none. */
	unsigned int (*poll)(void *ctx);
	/* Asks for a wake-up by the event fd. True: there is work already, poll again instead (the
	 * source is then not armed). NULL where event_fd is -1. */
	bool (*arm)(void *ctx);
	/* Polling begins again: no more wake-ups needed. */
	void (*disarm)(void *ctx);
};

/* Embedded in its owner, who fills the first group and zeroes the rest. */
struct worker_source {
	const struct worker_source_ops *ops;
	void *ctx;
	int event_fd; /* an eventfd or interrupt fd, edge-triggered and never read here; -1: poll by
			 time */

	LIST_ENTRY(worker_source) link;
	uint64_t last_work_ns;
	bool armed;
	bool added;
};

struct worker_config {
	int cpu; /* run only there; -1: anywhere */
	/* After each round in which a source had work: hand on what was gathered. */
	void (*round_end)(void *ctx);
	/* Once a second. */
	void (*tick)(void *ctx);
	void *ctx;
};

/* Needs a running EAL (the thread registers as an lcore). Returns 0, -ENOMEM or an -errno of the
 * system. */
int worker_create(const struct worker_config *config, struct worker **worker);
/* Takes NULL. All sources have been removed. */
void worker_destroy(struct worker *worker);

/* Runs fn(ctx) on the worker's thread between two rounds and returns when it is done; called on
 * that thread itself, at once. Any thread. fn must not block. */
void worker_call(struct worker *worker, void (*fn)(void *ctx), void *ctx);

/* Only on the worker's thread (from within worker_call). Returns 0 or -errno from epoll. */
int worker_add_source(struct worker *worker, struct worker_source *source);
/* Does nothing for a source that was not added. */
void worker_remove_source(struct worker *worker, struct worker_source *source);

struct worker_counters {
	uint64_t rounds;
	uint64_t sleeps;
	uint64_t armed; /* sources put to sleep */
};
/* Any thread. */
void worker_get_counters(struct worker *worker, struct worker_counters *counters);

#endif
