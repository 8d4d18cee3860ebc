/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The one table of the protocol's steps, and the wait that a test can ask for at each.
 */
#include "hypervisor/migration/step.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/deadline.h"
#include "base/log.h"

#define LOG_COMPONENT "migration"

#define HOLD_VARIABLE "LUNAR_MIGRATION_HOLD"
#define MAX_HOLD_MS   600000ul
#define SLICE_US      5000

static const char *const names[MIGRATION_STEP_COUNT] = {
	[MIGRATION_STEP_SOURCE_CONNECT] = "source-connect",
	[MIGRATION_STEP_SOURCE_HELLO] = "source-hello",
	[MIGRATION_STEP_SOURCE_ACCEPTED] = "source-accepted",
	[MIGRATION_STEP_SOURCE_COPYING] = "source-copying",
	[MIGRATION_STEP_SOURCE_ROUND] = "source-round",
	[MIGRATION_STEP_SOURCE_LEAVING] = "source-leaving",
	[MIGRATION_STEP_SOURCE_PAUSED] = "source-paused",
	[MIGRATION_STEP_SOURCE_PAGES] = "source-pages",
	[MIGRATION_STEP_SOURCE_STATE] = "source-state",
	[MIGRATION_STEP_SOURCE_READY] = "source-ready",
	[MIGRATION_STEP_SOURCE_RELEASED] = "source-released",
	[MIGRATION_STEP_SOURCE_COMMIT] = "source-commit",
	[MIGRATION_STEP_SOURCE_DONE] = "source-done",
	[MIGRATION_STEP_TARGET_HELLO] = "target-hello",
	[MIGRATION_STEP_TARGET_MADE] = "target-made",
	[MIGRATION_STEP_TARGET_ACCEPTED] = "target-accepted",
	[MIGRATION_STEP_TARGET_PAGES] = "target-pages",
	[MIGRATION_STEP_TARGET_STATE] = "target-state",
	[MIGRATION_STEP_TARGET_RESTORED] = "target-restored",
	[MIGRATION_STEP_TARGET_READY] = "target-ready",
	[MIGRATION_STEP_TARGET_COMMIT] = "target-commit",
	[MIGRATION_STEP_TARGET_RUNNING] = "target-running",
	[MIGRATION_STEP_TARGET_DONE] = "target-done",
};

const char *migration_step_name(enum migration_step step)
{
	return step < MIGRATION_STEP_COUNT ? names[step] : "";
}

void migration_step_hold(enum migration_step step, const _Atomic bool *stop)
{
	const char *hold = getenv(HOLD_VARIABLE);
	const char *name = migration_step_name(step);
	size_t length = strlen(name);
	struct deadline deadline;
	unsigned long ms;

	if (!hold || strncmp(hold, name, length) != 0 || hold[length] != ':')
		return;
	ms = strtoul(hold + length + 1, NULL, 10);
	if (ms > MAX_HOLD_MS)
		ms = MAX_HOLD_MS;
	log_warn("held at %s for %lu ms (" HOLD_VARIABLE ")", name, ms);
	deadline = deadline_in_ms((uint32_t)ms);
	while (!deadline_passed(deadline) && !(stop && atomic_load(stop)))
		usleep(SLICE_US);
	log_warn("goes on at %s", name);
}
