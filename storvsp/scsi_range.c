/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * See scsi_range.h. Two counters let shared claims pass without the lock: one who claims shared
 * counts itself first and then looks for exclusive claims; one who claims exclusively counts itself
 * first and then looks for shared claims. Both orders are sequentially consistent, so at least one
 * of the two sees the other.
 */
#include "storvsp/scsi_range.h"

#include <stddef.h>

static void claim_posted(struct io_post *post)
{
	struct scsi_range_claim *claim =
		(struct scsi_range_claim *)((char *)post - offsetof(struct scsi_range_claim, post));

	claim->granted(claim);
}

static bool claims_collide(const struct scsi_range_claim *a, const struct scsi_range_claim *b)
{
	return (a->exclusive || b->exclusive) && a->offset < b->offset + b->length &&
	       b->offset < a->offset + a->length;
}

static void claim_grant(struct scsi_range_claim *claim)
{
	claim->held = true;
	claim->post.fn = claim_posted;
	io_loop_post(claim->loop, &claim->post);
}

/*
 * Under the lock. Has it wait for the newest that is in its way, from one in the list on to older
 * ones; false: nothing is in its way.
 */
static bool claim_waits(struct scsi_ranges *ranges, struct scsi_range_claim *claim,
			struct scsi_range_claim *from)
{
	while (from && !claims_collide(from, claim))
		from = TAILQ_PREV(from, scsi_range_list, link);
	if (from)
		LIST_INSERT_HEAD(&from->waiters, claim, waits_link);
	else if (claim->exclusive && atomic_load(&ranges->unlisted) > 0)
		LIST_INSERT_HEAD(&ranges->wait_unlisted, claim, waits_link);
	else
		return false;
	return true;
}

/* Under the lock: grants those that waited for claims in no list, where there are none now. */
static void unlisted_gone(struct scsi_ranges *ranges)
{
	struct scsi_range_claim *claim;

	while (atomic_load(&ranges->unlisted) == 0 &&
	       (claim = LIST_FIRST(&ranges->wait_unlisted)) != NULL) {
		LIST_REMOVE(claim, waits_link);
		claim_grant(claim);
	}
}

void scsi_ranges_init(struct scsi_ranges *ranges)
{
	atomic_init(&ranges->unlisted, 0);
	atomic_init(&ranges->exclusives, 0);
	pthread_mutex_init(&ranges->lock, NULL);
	TAILQ_INIT(&ranges->list);
	LIST_INIT(&ranges->wait_unlisted);
}

void scsi_ranges_fini(struct scsi_ranges *ranges)
{
	pthread_mutex_destroy(&ranges->lock);
}

bool scsi_range_claim(struct scsi_ranges *ranges, struct scsi_range_claim *claim)
{
	claim->listed = false;
	claim->held = true;
	if (!claim->exclusive) {
		atomic_fetch_add(&ranges->unlisted, 1);
		if (atomic_load(&ranges->exclusives) == 0)
			return true;
		atomic_fetch_sub(&ranges->unlisted, 1);
	}
	pthread_mutex_lock(&ranges->lock);
	if (claim->exclusive)
		atomic_fetch_add(&ranges->exclusives, 1);
	else
		unlisted_gone(ranges); /* the count just taken back may have kept one waiting */
	claim->listed = true;
	LIST_INIT(&claim->waiters);
	claim->held = !claim_waits(ranges, claim, TAILQ_LAST(&ranges->list, scsi_range_list));
	TAILQ_INSERT_TAIL(&ranges->list, claim, link);
	/* Once it waits and the lock is let go, another thread may grant it. */
	bool held = claim->held;
	pthread_mutex_unlock(&ranges->lock);
	return held;
}

void scsi_range_release(struct scsi_ranges *ranges, struct scsi_range_claim *claim)
{
	struct scsi_range_claim *older, *waiter;

	if (!claim->listed) {
		if (atomic_fetch_sub(&ranges->unlisted, 1) != 1 ||
		    atomic_load(&ranges->exclusives) == 0)
			return;
		pthread_mutex_lock(&ranges->lock);
		unlisted_gone(ranges);
		pthread_mutex_unlock(&ranges->lock);
		return;
	}
	pthread_mutex_lock(&ranges->lock);
	older = TAILQ_PREV(claim, scsi_range_list, link);
	TAILQ_REMOVE(&ranges->list, claim, link);
	if (claim->exclusive)
		atomic_fetch_sub(&ranges->exclusives, 1);
	while ((waiter = LIST_FIRST(&claim->waiters)) != NULL) {
		LIST_REMOVE(waiter, waits_link);
		if (!claim_waits(ranges, waiter, older))
			claim_grant(waiter);
	}
	pthread_mutex_unlock(&ranges->lock);
}
