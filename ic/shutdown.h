/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The shutdown component: asks the guest's system to power off or restart cleanly. Loop's thread
 * only.
 */
#ifndef LUNAR_IC_SHUTDOWN_H
#define LUNAR_IC_SHUTDOWN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/state.h"

struct device_bus;
struct ic_shutdown;

enum ic_shutdown_kind {
	IC_POWER_OFF,
	IC_RESTART,
};

/* What the guest said to a request: it will do it, or it refused. That it has done it is seen
 * elsewhere: the machine powers off or resets. Not called where the guest closes the service first.
 */
typedef void (*ic_shutdown_fn)(void *ctx, bool accepted);

/* See ic_channel_create(). answered may be NULL. */
int ic_shutdown_create(const struct device_bus *bus, ic_shutdown_fn answered, void *ctx,
		       struct ic_shutdown **shutdown);
/* Takes NULL. See ic_channel_destroy(). */
void ic_shutdown_destroy(struct ic_shutdown *shutdown);

/* The guest's driver is there: a request will reach it. */
bool ic_shutdown_is_ready(const struct ic_shutdown *shutdown);
/*
 * Asks the guest. timeout_seconds is what it is told that it has. Returns 0; -ENOTCONN: the guest
 * has no driver for it (use the power button); -EAGAIN: its ring is full; -EPROTO: it broke the
 * ring.
 */
int ic_shutdown_request(struct ic_shutdown *shutdown, enum ic_shutdown_kind kind,
			uint32_t timeout_seconds);

/* See ic_channel_pause() and those below it. A request that waits for its answer waits on. */
#define IC_SHUTDOWN_STATE_TAG STATE_TAG('S', 'H', 'U', 'T')
void ic_shutdown_pause(struct ic_shutdown *shutdown);
void ic_shutdown_resume(struct ic_shutdown *shutdown);
void ic_shutdown_save(const struct ic_shutdown *shutdown, struct state_writer *writer);
int ic_shutdown_restore(struct ic_shutdown *shutdown, struct state_reader *section);

#endif
