/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Moving a VM, seen from outside: what can be asked for, and what is told of it. The protocol is in
 * docs/migration.md.
 */
#ifndef LUNAR_HYPERVISOR_MIGRATION_H
#define LUNAR_HYPERVISOR_MIGRATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hypervisor/vm_config.h"
#include "hypervisor/vm_error.h"

struct event_loop;
struct migration_source;
struct migration_source_vm_ops;
struct migration_target;
struct migration_target_vm_ops;

#define MIGRATION_PORT		  49200 /* where `lunar receive` listens */
#define MIGRATION_HOST_BYTES	  256
#define MIGRATION_ID_BYTES	  37 /* a UUID as text */
#define MIGRATION_MAX_CONNECTIONS 8
#define MIGRATION_DOWNTIME_MS	  300
#define MIGRATION_TIMEOUT_SECONDS 1800
#define MIGRATION_MAX_CHECK_ITEMS 64
#define MIGRATION_ITEM_BYTES	  32

enum migration_compression {
	MIGRATION_COMPRESSION_NONE,
	MIGRATION_COMPRESSION_LZ4,
	MIGRATION_COMPRESSION_ZSTD,
};

/* Where nobody asked for another: costs twice the CPU of none, and halves what goes over the wire,
 * which pays up to about 5 Gbit/s; pages that do not compress are sent as they are, at no cost. */
#define MIGRATION_COMPRESSION_DEFAULT MIGRATION_COMPRESSION_LZ4

/* What happens when the time-out passes before the VM could be stopped for the rest. */
enum migration_late {
	MIGRATION_LATE_CANCEL, /* the VM stays where it is */
	MIGRATION_LATE_FORCE,  /* it is stopped and moved, however long that takes */
};

struct migration_options {
	char host[MIGRATION_HOST_BYTES]; /* name or address, as its certificate has it */
	uint16_t port;			 /* 0: MIGRATION_PORT */
	uint32_t connections;		 /* for memory; 0: 2 */
	enum migration_compression compression;
	uint64_t bandwidth;	  /* bytes a second, over all connections; 0: no limit */
	uint32_t downtime_ms;	  /* aimed at; 0: MIGRATION_DOWNTIME_MS */
	uint32_t timeout_seconds; /* 0: MIGRATION_TIMEOUT_SECONDS */
	enum migration_late late;
	bool no_throttle; /* a guest that dirties faster than the wire is not slowed down */
	bool check_only;  /* nothing moves: only the report */
};

enum migration_phase {
	MIGRATION_IDLE,	      /* there was none */
	MIGRATION_CONNECTING, /* TLS, hello, checks, the destination's preparation */
	MIGRATION_COPYING,    /* memory, while the VM runs */
	MIGRATION_STOPPED,    /* the VM is stopped: last pages and state */
	MIGRATION_COMMITTING, /* COMMIT was sent: the outcome is the destination's to tell */
	MIGRATION_DONE,	      /* the VM runs at the destination */
	MIGRATION_FAILED,     /* it runs (or, for a target, never was) here; error says why */
	MIGRATION_CANCELLED,
	MIGRATION_CHECKED, /* check_only: the report is there */
};

/* "idle", "connecting", "copying", "stopped", "committing", "done", "failed", "cancelled",
 * "checked". */
const char *migration_phase_name(enum migration_phase phase);

enum migration_severity {
	MIGRATION_STOPS, /* the move would fail */
	MIGRATION_HARMS, /* it would work, and something would be worse afterwards */
	MIGRATION_NOTES, /* could not be told, or good to know */
};

/* One finding of a check. */
struct migration_finding {
	enum migration_severity severity;
	char item[MIGRATION_ITEM_BYTES]; /* "cpu", "memory", "switch", "uplink", "name", "kernel",
					    "portal", ... */
	char text[VM_MESSAGE_BYTES];	 /* what is wrong, and what to do: one line */
};

struct migration_check {
	uint32_t count;
	struct migration_finding findings[MIGRATION_MAX_CHECK_ITEMS];
};

/* Where a move is, or how the last one went; times in ms. */
struct migration_status {
	enum migration_phase phase;
	bool incoming; /* seen from the destination */
	char id[MIGRATION_ID_BYTES];
	char peer[MIGRATION_HOST_BYTES];
	uint64_t memory_bytes; /* of the guest */
	uint64_t bytes_sent;   /* on the wire, all connections */
	uint64_t bytes_left;   /* of memory, uncompressed */
	uint64_t bytes_zero;   /* pages that were sent as a mark only */
	uint64_t dirty_rate;   /* bytes a second, in the last round */
	uint64_t rate;	       /* bytes a second on the wire, in the last second */
	uint32_t rounds;
	uint32_t throttle; /* percent */
	uint32_t downtime_estimate_ms;
	int64_t started_unix_ms;
	uint32_t total_ms; /* so far, or of all of it */
	/* Of the last part, 0 before: the VM stood still for downtime_ms, from its last instruction
	 * here to its first there, as the source could see it: */
	uint32_t downtime_ms;
	uint32_t pause_ms;     /* VPs, devices and NICs to rest, and saved */
	uint32_t last_ms;      /* last pages */
	uint32_t restore_ms;   /* the destination's loading of the state */
	uint32_t late_frames;  /* handed on to the destination */
	struct vm_error error; /* of MIGRATION_FAILED and _CANCELLED */
};

/* ---- the source; loop's thread ---- */

/* The move has ended, one way or the other; from the loop. moved: the VM runs at the destination
 * (or, with check_only, false). */
typedef void (*migration_ended_fn)(void *ctx, bool moved);

/* Begins a move. Everything given outlives the source. Returns 0, or -errno with *error (a
 * malformed option, TLS files missing). */
int migration_source_start(struct event_loop *loop, const struct migration_options *options,
			   const char *vm_name, const struct migration_source_vm_ops *ops,
			   void *ctx, migration_ended_fn ended, void *ended_ctx,
			   struct migration_source **source, struct vm_error *error);
/* Asks it to end: ended follows, with moved where it was too late. -EBUSY: COMMIT was sent. */
int migration_source_cancel(struct migration_source *source);
void migration_source_get_status(const struct migration_source *source,
				 struct migration_status *status);
/* An operator's word for a move that is committed and waits for its outcome: the VM runs there (and
 * goes here), or it does not and never will, and runs on here. -EBUSY: it waits for no word. */
int migration_source_resolve(struct migration_source *source, bool there);
/* What the destination found; NULL until it has said so. Constant then, until destroy. */
const struct migration_check *migration_source_get_check(const struct migration_source *source);
/* Takes NULL. A move that is under way ends now where it is not committed (ended is not called; ops
 * are not called afterwards); where it is, waits for the outcome, for at most some seconds. */
void migration_source_destroy(struct migration_source *source);

/* ---- the target; loop's thread ---- */

/*
 * Serves one connection of a source (socket: accepted TCP, taken over): a move, a check, or a
 * question about an earlier move. ended: the VM runs here (moved), or there is nothing to be done
 * any more.
 */
int migration_target_start(struct event_loop *loop, int socket,
			   const struct migration_target_vm_ops *ops, void *ctx,
			   migration_ended_fn ended, void *ended_ctx,
			   struct migration_target **target, struct vm_error *error);
void migration_target_get_status(const struct migration_target *target,
				 struct migration_status *status);
/* As migration_source_resolve(), where a restored VM waits for the source's word; there: it runs on
 * at the source, and is dropped here. */
int migration_target_resolve(struct migration_target *target, bool there);
void migration_target_destroy(struct migration_target *target);

/* ---- a file instead of a connection: `lunar save`, `lunar restore` ---- */

/* As migration_source_start(), to a file that must not exist; the VM is stopped for all of it, and
 * with moved it is in the file, complete and on disk. */
int migration_save_start(struct event_loop *loop, const char *path, const char *vm_name,
			 const struct migration_source_vm_ops *ops, void *ctx,
			 migration_ended_fn ended, void *ended_ctx,
			 struct migration_source **source, struct vm_error *error);
/* As migration_target_start(). */
int migration_restore_start(struct event_loop *loop, const char *path,
			    const struct migration_target_vm_ops *ops, void *ctx,
			    migration_ended_fn ended, void *ended_ctx,
			    struct migration_target **target, struct vm_error *error);

#endif
