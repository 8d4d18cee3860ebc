/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The outcome of a move whose two ends lost each other: asking the other host, answering it (also
 * for a process that was killed), an operator's word, and what a start must know. See
 * docs/migration.md.
 */
#ifndef LUNAR_HYPERVISOR_MIGRATION_RESOLVE_H
#define LUNAR_HYPERVISOR_MIGRATION_RESOLVE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/deadline.h"
#include "hypervisor/migration/message.h"
#include "hypervisor/migration/record.h"

struct migration_tls_credentials;

/*
 * Asks another host's `lunar receive` (address and port; identity: what its certificate must name).
 * type: MIGRATION_FRAME_RESOLVE: "we have let go of it: does it run with you?"; _ASK: "have you let
 * go of it?"; or _SETTLED: "we know that it runs with you, have put away what we had of it, and
 * will not ask again" (the answer says nothing). cancel_fd as migration_dial(). Any thread but the
 * loop's. Returns 0 with *word, or -errno with *error: no answer.
 */
int migration_resolve_query(const struct migration_tls_credentials *credentials,
			    const char *address, uint16_t port, const char *identity, uint32_t type,
			    const char *id, const char *vm_name, int cancel_fd,
			    struct deadline deadline, enum migration_word *word,
			    struct vm_error *error);

/* Answers the RESOLVE, ASK or SETTLED that came, from who identity names. Waits for a live process
 * for up to some seconds. Returns 0, or -EPROTO or the channel's -errno. */
int migration_resolve_answer(struct migration_channel *channel,
			     const struct migration_message *question, const char *identity);

/*
 * Before a VM that is defined here starts afresh: where a move of it was never settled since its
 * process was killed, settles it with the other host. Blocks, for at most some seconds. Returns 0:
 * it may start; or -errno with *error (EXIT_STATE): it lives elsewhere (its definition is gone from
 * here now), or nobody knows yet.
 */
int migration_resolve_before_start(const char *vm_name, struct vm_error *error);

/* `lunar migrate --resolve` where no process of the VM is left here: there: its definition goes;
 * else it may be started again. Returns 0, or -errno with *error: EXIT_STATE: no move of it waits
 * for a word, or a process does (ask that: api_server_ops.resolve_migration). */
int migration_resolve_by_operator(const char *vm_name, bool there, struct vm_error *error);

#endif
