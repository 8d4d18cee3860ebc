/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A session with a target on a thread of its own, for commands of many threads. It holds commands
 * while the target is away, as iscsi-session/session.h tells.
 */
#ifndef LUNAR_STORVSP_ISCSI_WORKER_H
#define LUNAR_STORVSP_ISCSI_WORKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "iscsi-session/session.h"
#include "storvsp/disk.h"

struct iscsi_worker;

/* Embedded in what it belongs to; the worker's from submit until command.done, which is called on
 * the worker's thread. iov is written while it is sent, and put right again. */
struct iscsi_item {
	struct iscsi_item *next;
	struct session_command command;
};

struct iscsi_lun_facts {
	struct disk_info info; /* but kind; id only where has_id */
	bool has_id;
};

/* Logs in and looks at the LUN; blocks, at most deadline_ms. config is copied, its strings are not.
 * Returns 0; -ETIMEDOUT, -EACCES (refused), -ENOENT (no such target), -ENXIO (no such LUN),
 * -EHOSTUNREACH or another -errno, with a line in message. */
int iscsi_worker_start(const struct session_config *config, uint32_t deadline_ms,
		       struct iscsi_worker **worker, struct iscsi_lun_facts *facts, char *message,
		       size_t message_bytes);
/* No command is under way. Has the target write its cache where flush, logs out, ends the thread.
 * Blocks, with flush for as long as commands wait for a target that is away. Returns 0 or -errno of
 * the flush: then nothing was ended. Takes NULL. */
int iscsi_worker_stop(struct iscsi_worker *worker, bool flush);

/* Looks again. As start. */
int iscsi_worker_look(struct iscsi_worker *worker, uint32_t deadline_ms,
		      struct iscsi_lun_facts *facts);

/* Any thread. */
void iscsi_worker_submit(struct iscsi_worker *worker, struct iscsi_item *item);

#endif
