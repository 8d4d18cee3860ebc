/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Who may touch which bytes of a unit while others do: shared claims (reads and writes) overlap
 * each other freely, an exclusive one (COMPARE AND WRITE, ORWRITE, WRITE AND VERIFY) overlaps
 * nothing. While nobody wants an exclusive claim, which is nearly always, a shared one costs two
 * atomic operations and takes no lock. Claims that overlap are granted in the order in which they
 * were made. Any thread.
 *
 * One that is made while there are exclusive ones is compared at most once with each claim that is
 * older, over all its life: as many as a guest can have under way, which is bounded.
 */
#ifndef LUNAR_STORVSP_SCSI_RANGE_H
#define LUNAR_STORVSP_SCSI_RANGE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "storvsp/io_loop.h"

struct scsi_range_claim;

TAILQ_HEAD(scsi_range_list, scsi_range_claim);
LIST_HEAD(scsi_range_waiters, scsi_range_claim);

typedef void (*scsi_range_granted_fn)(struct scsi_range_claim *claim);

/* Embedded in what it belongs to. The caller fills the first five before it claims. */
struct scsi_range_claim {
	uint64_t offset; /* bytes */
	uint64_t length;
	bool exclusive;
	scsi_range_granted_fn granted;
	struct io_loop *loop; /* of the thread that claims, on which granted is called */
	bool held;	      /* the ranges' own, as all below */
	bool listed;
	TAILQ_ENTRY(scsi_range_claim) link;
	struct scsi_range_waiters waiters;	 /* for this one, the newest that is in their way */
	LIST_ENTRY(scsi_range_claim) waits_link; /* while it waits */
	struct io_post post;
};

struct scsi_ranges {
	atomic_uint unlisted;	     /* shared claims that are held and in no list */
	atomic_uint exclusives;	     /* exclusive claims in the list, held or waiting */
	pthread_mutex_t lock;	     /* guards the lists, and held, of what is in them */
	struct scsi_range_list list; /* oldest first */
	struct scsi_range_waiters wait_unlisted; /* exclusive ones that wait for no other */
};

void scsi_ranges_init(struct scsi_ranges *ranges);
/* No claim is left. */
void scsi_ranges_fini(struct scsi_ranges *ranges);

/* True: it is granted, and granted() is not called. False: granted() is called later, on the loop's
 * thread. */
bool scsi_range_claim(struct scsi_ranges *ranges, struct scsi_range_claim *claim);
/* Of a claim that was granted. */
void scsi_range_release(struct scsi_ranges *ranges, struct scsi_range_claim *claim);

#endif
