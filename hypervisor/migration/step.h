/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The named steps of the migration protocol, at which a test can hold either side to cut or kill
 * there: LUNAR_MIGRATION_HOLD=STEP:MILLISECONDS in the environment. docs/migration.md lists them.
 */
#ifndef LUNAR_HYPERVISOR_MIGRATION_STEP_H
#define LUNAR_HYPERVISOR_MIGRATION_STEP_H

#include <stdatomic.h>
#include <stdbool.h>

enum migration_step {
	MIGRATION_STEP_SOURCE_CONNECT,
	MIGRATION_STEP_SOURCE_HELLO,
	MIGRATION_STEP_SOURCE_ACCEPTED,
	MIGRATION_STEP_SOURCE_COPYING,
	MIGRATION_STEP_SOURCE_ROUND,
	MIGRATION_STEP_SOURCE_LEAVING,
	MIGRATION_STEP_SOURCE_PAUSED,
	MIGRATION_STEP_SOURCE_PAGES,
	MIGRATION_STEP_SOURCE_STATE,
	MIGRATION_STEP_SOURCE_READY,
	MIGRATION_STEP_SOURCE_RELEASED,
	MIGRATION_STEP_SOURCE_COMMIT,
	MIGRATION_STEP_SOURCE_DONE,
	MIGRATION_STEP_TARGET_HELLO,
	MIGRATION_STEP_TARGET_MADE,
	MIGRATION_STEP_TARGET_ACCEPTED,
	MIGRATION_STEP_TARGET_PAGES,
	MIGRATION_STEP_TARGET_STATE,
	MIGRATION_STEP_TARGET_RESTORED,
	MIGRATION_STEP_TARGET_READY,
	MIGRATION_STEP_TARGET_COMMIT,
	MIGRATION_STEP_TARGET_RUNNING,
	MIGRATION_STEP_TARGET_DONE,
	MIGRATION_STEP_COUNT,
};

/* "source-connect", ... */
const char *migration_step_name(enum migration_step step);

/* Waits where the environment says so for this step; returns early where *stop becomes true (may be
 * NULL). Any thread but the event loop's. */
void migration_step_hold(enum migration_step step, const _Atomic bool *stop);

#endif
