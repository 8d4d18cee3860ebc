/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Who takes part in a move on this host, and what a waiting one is told from beside: locks and
 * orders in $LUNAR_RUN_DIR/migrations. Ids are valid ones (migration_id_is_valid()). Any thread.
 */
#ifndef LUNAR_HYPERVISOR_MIGRATION_LOCK_H
#define LUNAR_HYPERVISOR_MIGRATION_LOCK_H

#include <stdbool.h>

#include "hypervisor/migration/migration.h"

enum migration_side {
	MIGRATION_SIDE_OUT, /* of a source */
	MIGRATION_SIDE_IN,  /* of a target */
};

/* Held as long as a process takes part; goes with it. Returns the fd, -EWOULDBLOCK where another
 * process holds it, or another -errno. */
int migration_lock_take(enum migration_side side, const char *id);
/* Takes -1. remove: nobody will ask for it any more. */
void migration_lock_release(enum migration_side side, const char *id, int fd, bool remove);

/* An order to the target that waits for an outcome, from a resolver: the source has released it, as
 * the holder of that certificate says. get: 0 with *identity, or -ENOENT. */
int migration_order_put(const char *id, const char *identity);
int migration_order_get(const char *id, char identity[MIGRATION_HOST_BYTES]);
void migration_order_remove(const char *id);

#endif
