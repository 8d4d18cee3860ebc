/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Limit and meter. See rate.h.
 */
#include "hypervisor/migration/rate.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#define BURST_NS     (50 * NS_PER_MS) /* what an idle connection may save up */
#define WINDOW_SLOTS (1000 / MIGRATION_METER_SLOT_MS)
#define SLOT_NS	     (MIGRATION_METER_SLOT_MS * NS_PER_MS)

void migration_limit_init(struct migration_limit *limit, uint64_t bandwidth)
{
	pthread_condattr_t attr;

	memset(limit, 0, sizeof(*limit));
	pthread_mutex_init(&limit->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&limit->changed, &attr);
	pthread_condattr_destroy(&attr);
	limit->bandwidth = bandwidth;
}

void migration_limit_fini(struct migration_limit *limit)
{
	pthread_cond_destroy(&limit->changed);
	pthread_mutex_destroy(&limit->lock);
}

void migration_limit_set(struct migration_limit *limit, uint64_t bandwidth)
{
	pthread_mutex_lock(&limit->lock);
	limit->bandwidth = bandwidth;
	limit->free_at_ns = 0; /* a debt at the old price is forgiven */
	pthread_cond_broadcast(&limit->changed);
	pthread_mutex_unlock(&limit->lock);
}

uint64_t migration_limit_get(struct migration_limit *limit)
{
	uint64_t bandwidth;

	pthread_mutex_lock(&limit->lock);
	bandwidth = limit->bandwidth;
	pthread_mutex_unlock(&limit->lock);
	return bandwidth;
}

void migration_limit_cancel(struct migration_limit *limit)
{
	pthread_mutex_lock(&limit->lock);
	limit->cancelled = true;
	pthread_cond_broadcast(&limit->changed);
	pthread_mutex_unlock(&limit->lock);
}

static void wait_until(struct migration_limit *limit, uint64_t at_ns)
{
	struct timespec until = {
		.tv_sec = (time_t)(at_ns / NS_PER_SEC),
		.tv_nsec = (long)(at_ns % NS_PER_SEC),
	};

	pthread_cond_timedwait(&limit->changed, &limit->lock, &until);
}

int migration_limit_take(struct migration_limit *limit, uint64_t bytes, struct deadline deadline)
{
	int rc = 0;

	pthread_mutex_lock(&limit->lock);
	for (;;) {
		uint64_t now = monotonic_ns();

		if (limit->cancelled) {
			rc = -ECANCELED;
			break;
		}
		if (limit->bandwidth == 0 || limit->free_at_ns <= now) {
			uint64_t earliest = now > BURST_NS ? now - BURST_NS : 0;

			if (limit->free_at_ns < earliest)
				limit->free_at_ns = earliest;
			if (limit->bandwidth > 0)
				limit->free_at_ns += (uint64_t)((double)bytes * (double)NS_PER_SEC /
								(double)limit->bandwidth);
			break;
		}
		if (deadline_passed(deadline)) {
			rc = -ETIMEDOUT;
			break;
		}
		wait_until(limit,
			   limit->free_at_ns < deadline.at_ns ? limit->free_at_ns : deadline.at_ns);
	}
	pthread_mutex_unlock(&limit->lock);
	return rc;
}

void migration_meter_init(struct migration_meter *meter)
{
	memset(meter, 0, sizeof(*meter));
	pthread_mutex_init(&meter->lock, NULL);
}

void migration_meter_fini(struct migration_meter *meter)
{
	pthread_mutex_destroy(&meter->lock);
}

/* Under the lock: empties the slots between the newest and now's. */
static void meter_turn(struct migration_meter *meter, uint64_t now)
{
	uint64_t slot = now / SLOT_NS;

	if (slot - meter->slot >= MIGRATION_METER_SLOTS)
		memset(meter->bytes, 0, sizeof(meter->bytes));
	else
		for (uint64_t s = meter->slot + 1; s <= slot; s++)
			meter->bytes[s % MIGRATION_METER_SLOTS] = 0;
	meter->slot = slot;
}

void migration_meter_add(struct migration_meter *meter, uint64_t bytes)
{
	uint64_t now = monotonic_ns();

	pthread_mutex_lock(&meter->lock);
	if (meter->started_ns == 0)
		meter->started_ns = now;
	meter_turn(meter, now);
	meter->bytes[meter->slot % MIGRATION_METER_SLOTS] += bytes;
	pthread_mutex_unlock(&meter->lock);
}

uint64_t migration_meter_rate(struct migration_meter *meter)
{
	uint64_t now = monotonic_ns();
	uint64_t sum = 0;
	uint64_t span;
	uint64_t rate = 0;

	pthread_mutex_lock(&meter->lock);
	if (meter->started_ns != 0) {
		meter_turn(meter, now);
		for (uint64_t i = 0; i <= WINDOW_SLOTS && i <= meter->slot; i++)
			sum += meter->bytes[(meter->slot - i) % MIGRATION_METER_SLOTS];
		span = WINDOW_SLOTS * SLOT_NS + now % SLOT_NS;
		if (now - meter->started_ns < span)
			span = now - meter->started_ns;
		if (span < SLOT_NS / 10)
			span = SLOT_NS / 10;
		rate = (uint64_t)((double)sum * (double)NS_PER_SEC / (double)span);
	}
	pthread_mutex_unlock(&meter->lock);
	return rate;
}
