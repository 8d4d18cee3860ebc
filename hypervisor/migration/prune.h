/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Forgetting moves: what nobody can ask for any more, and what would be answered the same way
 * without a record. What a host has promised is never forgotten.
 */
#ifndef LUNAR_HYPERVISOR_MIGRATION_PRUNE_H
#define LUNAR_HYPERVISOR_MIGRATION_PRUNE_H

/* Of incoming moves that came to nothing so many are kept, the newest: whoever has a certificate
 * can ask about ids that it makes up, and each leaves one. */
#define PRUNE_ABORTED_KEPT 256

/*
 * Removes records of aborted moves that are a month old, or (of incoming ones) older than the
 * newest PRUNE_ABORTED_KEPT: who asks about such a move is told that it was aborted, record or not.
 * And what processes that were killed have prepared a month ago, and never decided. Any thread; any
 * process, as often as it likes.
 */
void migration_records_prune(void);

#endif
