/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The heartbeat component: asks the guest's system for a sign of life every two seconds, so that it
 * can be told whether it answers. Loop's thread only.
 */
#ifndef LUNAR_IC_HEARTBEAT_H
#define LUNAR_IC_HEARTBEAT_H

#include <stdint.h>

#include "base/state.h"

struct device_bus;
struct ic_heartbeat;

#define IC_HEARTBEAT_PERIOD_MS 2000
#define IC_HEARTBEAT_MISSES    3 /* so many beats in a row without an answer: lost */

enum ic_heartbeat_health {
	IC_HEARTBEAT_ABSENT, /* the guest has no driver for it (yet) */
	IC_HEARTBEAT_OK,
	IC_HEARTBEAT_LOST,
};

struct ic_heartbeat_state {
	enum ic_heartbeat_health health;
	uint64_t beats;		 /* answered since the guest's driver opened the service */
	uint64_t last_answer_ms; /* how long ago; UINT64_MAX: never */
};

/* period_ms: IC_HEARTBEAT_PERIOD_MS but in tests. See ic_channel_create(). */
int ic_heartbeat_create(const struct device_bus *bus, uint32_t period_ms,
			struct ic_heartbeat **heartbeat);
/* Takes NULL. See ic_channel_destroy(). */
void ic_heartbeat_destroy(struct ic_heartbeat *heartbeat);

void ic_heartbeat_get(const struct ic_heartbeat *heartbeat, struct ic_heartbeat_state *state);
/* "absent", "ok" or "lost". */
const char *ic_heartbeat_health_name(enum ic_heartbeat_health health);

/* See ic_channel_pause() and those below it. The count goes on; the next beat comes a period after
 * resume. */
#define IC_HEARTBEAT_STATE_TAG STATE_TAG('H', 'B', 'E', 'A')
void ic_heartbeat_pause(struct ic_heartbeat *heartbeat);
void ic_heartbeat_resume(struct ic_heartbeat *heartbeat);
void ic_heartbeat_save(const struct ic_heartbeat *heartbeat, struct state_writer *writer);
int ic_heartbeat_restore(struct ic_heartbeat *heartbeat, struct state_reader *section);

#endif
