/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How fast bytes go: a limit that all connections of a move share, and a meter of the last second.
 * Thread-safe.
 */
#ifndef LUNAR_HYPERVISOR_MIGRATION_RATE_H
#define LUNAR_HYPERVISOR_MIGRATION_RATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/deadline.h"

/* Those who take run into debt, and the next one waits until it is paid: a frame is never split. */
struct migration_limit {
	pthread_mutex_t lock; /* guards the rest */
	pthread_cond_t changed;
	uint64_t bandwidth;  /* bytes a second; 0: no limit */
	uint64_t free_at_ns; /* when all that was taken so far will have been paid */
	bool cancelled;
};

void migration_limit_init(struct migration_limit *limit, uint64_t bandwidth);
void migration_limit_fini(struct migration_limit *limit);
void migration_limit_set(struct migration_limit *limit, uint64_t bandwidth);
uint64_t migration_limit_get(struct migration_limit *limit);
/* Who waits, and who comes later, gets -ECANCELED. */
void migration_limit_cancel(struct migration_limit *limit);
/* Waits until these bytes may go. Returns 0, -ETIMEDOUT or -ECANCELED. */
int migration_limit_take(struct migration_limit *limit, uint64_t bytes, struct deadline deadline);

#define MIGRATION_METER_SLOTS	16
#define MIGRATION_METER_SLOT_MS 100

struct migration_meter {
	pthread_mutex_t lock; /* guards the rest */
	uint64_t started_ns;  /* first bytes; 0: none yet */
	uint64_t slot;	      /* number of the newest: time / MIGRATION_METER_SLOT_MS */
	uint64_t bytes[MIGRATION_METER_SLOTS];
};

void migration_meter_init(struct migration_meter *meter);
void migration_meter_fini(struct migration_meter *meter);
void migration_meter_add(struct migration_meter *meter, uint64_t bytes);
/* Bytes a second, over the last second, or as long as there were any. */
uint64_t migration_meter_rate(struct migration_meter *meter);

#endif
