/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Guest memory over one or several channels, in rounds. Within a round each page goes over one
 * channel, in any order; ROUND_END on every channel is the barrier between two rounds. Pages are
 * copied while the guest writes to them: those are dirty again, and a later round sends them again.
 *
 * What was never touched (a hole of the memory's file) is neither read nor sent; pages that are
 * zero go as marks. The destination's memory is fresh, so a mark costs it nothing unless the page
 * has been sent before.
 */
#ifndef LUNAR_HYPERVISOR_MIGRATION_PAGES_H
#define LUNAR_HYPERVISOR_MIGRATION_PAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/deadline.h"
#include "hypervisor/migration/message.h"
#include "hypervisor/migration/migration.h"

struct guest_memory;
struct migration_page_sender;
struct migration_page_receiver;

/* ---- sending; one thread (the mover's) calls, except where it says "any thread" ---- */

struct migration_page_sender_options {
	enum migration_compression compression;
	uint64_t bandwidth; /* bytes a second over all channels; 0: no limit */
};

struct migration_page_stats {
	uint64_t bytes_sent;	/* frames with their headers, all channels */
	uint64_t bytes_data;	/* of pages sent with their content, uncompressed */
	uint64_t bytes_zero;	/* of pages sent as a mark */
	uint64_t bytes_pending; /* of pages that wait to be sent */
	uint64_t rate;		/* bytes_sent a second, over the last second or so */
	uint64_t rate_memory;	/* bytes_data + bytes_zero a second, likewise */
};

/* memory and channels (count: 1..MIGRATION_MAX_CONNECTIONS) stay the caller's and outlive the
 * sender, which starts a thread for each. Returns 0, -EINVAL, -ENOMEM, or -errno of the threads. */
int migration_page_sender_create(struct guest_memory *memory,
				 struct migration_channel *const *channels, size_t count,
				 const struct migration_page_sender_options *options,
				 struct migration_page_sender **sender);
/* Takes NULL. Ends the threads: shut the channels down before where they may be blocked. */
void migration_page_sender_destroy(struct migration_page_sender *sender);

/* Makes every page pending that was ever touched. Call it after dirty logging has begun. Returns 0
 * or -errno of lseek(). */
int migration_page_sender_add_all(struct migration_page_sender *sender);
/* Makes what fetch gives pending too, region by region (migration_source_vm_ops.dirty_fetch: ors
 * the log into words). *bytes: of pages that fetch gave, before they were merged. Returns 0 or
 * fetch's -errno. */
typedef int (*migration_dirty_fetch_fn)(void *ctx, size_t region, uint64_t *words,
					size_t word_count);
int migration_page_sender_add_dirty(struct migration_page_sender *sender,
				    migration_dirty_fetch_fn fetch, void *ctx, uint64_t *bytes);

/* Sends all that is pending, and ROUND_END with the round's number (from 0, counted here) on every
 * channel. Returns 0; -ECANCELED after migration_page_sender_cancel(); -ETIMEDOUT; or the first
 * channel's error: then no further round is possible. */
int migration_page_sender_round(struct migration_page_sender *sender, struct deadline deadline);
/* MEMORY_END on every channel. */
int migration_page_sender_finish(struct migration_page_sender *sender, struct deadline deadline);

/* Any thread: */
void migration_page_sender_cancel(struct migration_page_sender *sender);
void migration_page_sender_set_bandwidth(struct migration_page_sender *sender, uint64_t bandwidth);
void migration_page_sender_get_stats(const struct migration_page_sender *sender,
				     struct migration_page_stats *stats);

/* ---- receiving ---- */

/* memory: fresh, or as it will be completed; outlives the receiver. channel_count: how many there
 * will be (0: only migration_page_receiver_apply() is used). Returns 0, -EINVAL, -ENOMEM or -errno
 * of lseek(). */
int migration_page_receiver_create(struct guest_memory *memory, size_t channel_count,
				   struct migration_page_receiver **receiver);
/* Reads a channel (the caller's, outlives the receiver) on a thread of its own, until MEMORY_END or
 * an error. Returns 0 or -errno of the thread. */
int migration_page_receiver_add(struct migration_page_receiver *receiver,
				struct migration_channel *channel);
/* The round that completes the memory, told once, at any time: PAGES of a later one are not taken
 * any more, nor is its end. Returns 0, or -EPROTO: there were some. */
int migration_page_receiver_set_last(struct migration_page_receiver *receiver, uint32_t round);
/* Any thread: waits until every channel has passed the end of that round, all its pages in place.
 * Returns 0, -ETIMEDOUT, -ECANCELED, or the first channel's error; -EPROTO: it sent what it must
 * not. */
int migration_page_receiver_wait_round(struct migration_page_receiver *receiver, uint32_t round,
				       struct deadline deadline);
/* Any thread: for how long no frame has come on any channel. */
uint32_t migration_page_receiver_idle_ms(const struct migration_page_receiver *receiver);
/* Any thread: who waits, a channel's thread at the barrier too, returns now. (A thread that reads
 * ends when its channel is shut down.) */
void migration_page_receiver_cancel(struct migration_page_receiver *receiver);
/* Any thread: bytes received in PAGES frames, and of memory that was filled or marked zero. */
void migration_page_receiver_get_stats(const struct migration_page_receiver *receiver,
				       struct migration_page_stats *stats);
/* Takes NULL. Waits for the threads: shut the channels down before. */
void migration_page_receiver_destroy(struct migration_page_receiver *receiver);

/* One PAGES payload into memory, for streams that carry pages between other frames (the file).
 * Threads may apply at the same time, to pages apart. Returns 0; -EPROTO: malformed, or not within
 * the guest's memory (what came before may have been written); -ENOMEM. */
int migration_page_receiver_apply(struct migration_page_receiver *receiver, const void *payload,
				  size_t length);

#endif
