/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What struct migration_source and struct migration_target begin with, so that a move over the
 * network (source.c, target.c) and one through a file (save.c,
 * restore.c) stand behind the same calls of migration.h; migration.c passes them on.
 */
#ifndef LUNAR_HYPERVISOR_MIGRATION_INTERNAL_H
#define LUNAR_HYPERVISOR_MIGRATION_INTERNAL_H

#include "hypervisor/migration/migration.h"

/* As the functions of migration.h; source is the one that the kind made. */
struct migration_source_kind {
	int (*cancel)(struct migration_source *source);
	void (*get_status)(const struct migration_source *source, struct migration_status *status);
	const struct migration_check *(*get_check)(const struct migration_source *source);
	int (*resolve)(struct migration_source *source, bool there); /* NULL: nothing to resolve */
	void (*destroy)(struct migration_source *source);
};

struct migration_target_kind {
	void (*get_status)(const struct migration_target *target, struct migration_status *status);
	int (*resolve)(struct migration_target *target, bool there); /* NULL: nothing to resolve */
	void (*destroy)(struct migration_target *target);
};

/* Embedded as the first member of a kind's own struct. */
struct migration_source {
	const struct migration_source_kind *kind;
};

struct migration_target {
	const struct migration_target_kind *kind;
};

#endif
