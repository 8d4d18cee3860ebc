/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The one decision about an incoming move, of which there can be no two: its record (record.h) gets
 * its name by link(2). Any thread.
 */
#ifndef LUNAR_HYPERVISOR_MIGRATION_DECISION_H
#define LUNAR_HYPERVISOR_MIGRATION_DECISION_H

#include "hypervisor/migration/record.h"

/*
 * prepare puts a record on disk under another name; decide
 * gives it its own by link(2), so that the first one stands for ever. decide returns 0 (durable:
 * ours), or -EEXIST with what was decided before in *decided, or another -errno (nothing was
 * decided).
 */
int migration_decision_prepare(const struct migration_record *record);
int migration_decision_make(const struct migration_record *record,
			    struct migration_record *decided);
void migration_decision_discard(const struct migration_record *record);
/* One that lies prepared. Returns 0 or -errno. */
int migration_decision_read(const char *id, enum migration_word word,
			    struct migration_record *record);

#endif
