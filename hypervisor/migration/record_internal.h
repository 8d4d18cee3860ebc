/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A record as a file, under whatever name: shared by record.c and decision.c.
 */
#ifndef LUNAR_HYPERVISOR_MIGRATION_RECORD_INTERNAL_H
#define LUNAR_HYPERVISOR_MIGRATION_RECORD_INTERNAL_H

#include <limits.h>
#include <stdbool.h>

#include "hypervisor/migration/record.h"

/* suffix: "" for the record itself. Returns 0 or -ENAMETOOLONG. */
int record_path(enum migration_side side, const char *id, const char *suffix, char path[PATH_MAX]);
/* Returns 0, -EINVAL (not that move's record) or another -errno. */
int record_get(const char *path, const char *id, struct migration_record *record);
int record_put(const struct migration_record *record, const char *path, bool on_disk);

#endif
