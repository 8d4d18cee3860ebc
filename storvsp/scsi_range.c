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

/* Under the lock. Whether an older one in the list, or one in no list, keeps it waiting. */
static bool claim_must_wait(struct scsi_ranges *ranges, const struct scsi_range_claim *claim)
{
	for (const struct scsi_range_claim *older = ranges->first; older && older != claim;
	     older = older->next) {
		if (claims_collide(older, claim))
			return true;
	}
	return claim->exclusive && atomic_load(&ranges->unlisted) > 0;
}

/* Under the lock: grants what can be granted now; the threads that wait for it are told. */
static void ranges_grant(struct scsi_ranges *ranges)
{
	for (struct scsi_range_claim *claim = ranges->first; claim; claim = claim->next) {
		if (claim->held || claim_must_wait(ranges, claim))
			continue;
		claim->held = true;
		claim->post.fn = claim_posted;
		io_loop_post(claim->loop, &claim->post);
	}
}

void scsi_ranges_init(struct scsi_ranges *ranges)
{
	atomic_init(&ranges->unlisted, 0);
	atomic_init(&ranges->exclusives, 0);
	pthread_mutex_init(&ranges->lock, NULL);
	ranges->first = NULL;
}

void scsi_ranges_fini(struct scsi_ranges *ranges)
{
	pthread_mutex_destroy(&ranges->lock);
}

static void claim_append(struct scsi_ranges *ranges, struct scsi_range_claim *claim)
{
	struct scsi_range_claim **end = &ranges->first;

	while (*end)
		end = &(*end)->next;
	claim->next = NULL;
	*end = claim;
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
		ranges_grant(ranges); /* the count just taken back may have kept one waiting */
	claim->listed = true;
	claim_append(ranges, claim);
	claim->held = !claim_must_wait(ranges, claim);
	/* Once it waits and the lock is let go, another thread may grant it. */
	bool held = claim->held;
	pthread_mutex_unlock(&ranges->lock);
	return held;
}

void scsi_range_release(struct scsi_ranges *ranges, struct scsi_range_claim *claim)
{
	if (!claim->listed) {
		if (atomic_fetch_sub(&ranges->unlisted, 1) != 1 ||
		    atomic_load(&ranges->exclusives) == 0)
			return;
		pthread_mutex_lock(&ranges->lock);
		ranges_grant(ranges);
		pthread_mutex_unlock(&ranges->lock);
		return;
	}
	pthread_mutex_lock(&ranges->lock);
	for (struct scsi_range_claim **at = &ranges->first; *at; at = &(*at)->next) {
		if (*at == claim) {
			*at = claim->next;
			break;
		}
	}
	if (claim->exclusive)
		atomic_fetch_sub(&ranges->exclusives, 1);
	ranges_grant(ranges);
	pthread_mutex_unlock(&ranges->lock);
}
