/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The outside of a move: hands each call to the kind of move that it is, over the network or
 * through a file. See internal.h.
 */
#include "hypervisor/migration/migration.h"

#include "base/bytes.h"
#include "hypervisor/migration/internal.h"

const char *migration_phase_name(enum migration_phase phase)
{
	static const char *const names[] = {
		[MIGRATION_IDLE] = "idle",
		[MIGRATION_CONNECTING] = "connecting",
		[MIGRATION_COPYING] = "copying",
		[MIGRATION_STOPPED] = "stopped",
		[MIGRATION_COMMITTING] = "committing",
		[MIGRATION_DONE] = "done",
		[MIGRATION_FAILED] = "failed",
		[MIGRATION_CANCELLED] = "cancelled",
		[MIGRATION_CHECKED] = "checked",
	};

	return (size_t)phase < ARRAY_LENGTH(names) ? names[phase] : "unknown";
}

int migration_source_cancel(struct migration_source *source)
{
	return source->kind->cancel(source);
}

void migration_source_get_status(const struct migration_source *source,
				 struct migration_status *status)
{
	source->kind->get_status(source, status);
}

const struct migration_check *migration_source_get_check(const struct migration_source *source)
{
	return source->kind->get_check(source);
}

void migration_source_destroy(struct migration_source *source)
{
	if (source)
		source->kind->destroy(source);
}

void migration_target_get_status(const struct migration_target *target,
				 struct migration_status *status)
{
	target->kind->get_status(target, status);
}

void migration_target_destroy(struct migration_target *target)
{
	if (target)
		target->kind->destroy(target);
}
