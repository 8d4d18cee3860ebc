/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a host remembers of a move, so that the outcome can be told when the process that took part
 * is gone: records and prepared definitions in $LUNAR_STATE_DIR, locks and orders in
 * $LUNAR_RUN_DIR. docs/migration.md says who writes what when; this file knows how.
 *
 * Any thread. Ids are checked by whoever takes them from a peer: migration_id_is_valid().
 */
#ifndef LUNAR_HYPERVISOR_MIGRATION_RECORD_H
#define LUNAR_HYPERVISOR_MIGRATION_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "hypervisor/migration/migration.h"

enum migration_side {
	MIGRATION_SIDE_OUT, /* of a source */
	MIGRATION_SIDE_IN,  /* of a target */
};

/* What is known of a move's outcome; as OUTCOME has it on the wire. */
enum migration_word {
	MIGRATION_WORD_UNKNOWN = 0,   /* never heard of it */
	MIGRATION_WORD_UNDECIDED = 1, /* a process is at it: ask again */
	MIGRATION_WORD_LEAVING = 2,   /* out: the VM may be stopped, and the process may still keep
					 it; not on the wire */
	MIGRATION_WORD_RELEASED = 3,  /* out: never runs there again, unless the target's host says
					 aborted */
	MIGRATION_WORD_ABORTED = 4, /* out: it ran on there. in: it never ran here, and will not */
	MIGRATION_WORD_COMMITTED = 5, /* in: it is the target's. out: an operator says so */
};

const char *migration_word_name(enum migration_word word);

struct migration_record {
	enum migration_word word;
	char id[MIGRATION_ID_BYTES];
	char vm[VM_NAME_MAX + 1];
	char peer[MIGRATION_HOST_BYTES];     /* out: the host as it was dialled; in: its address */
	char identity[MIGRATION_HOST_BYTES]; /* whom the peer's certificate names */
	uint16_t port;			     /* of the peer's `lunar receive` */
	bool stored; /* out: $LUNAR_STATE_DIR/vms/NAME.yaml is this VM's definition, and goes with
			it */
};

/* A UUID as text, lower case. */
bool migration_id_is_valid(const char *id);
/* A new random one. Returns 0 or -errno. */
int migration_id_make(char id[MIGRATION_ID_BYTES]);

/* Returns 0, -ENOENT, -EINVAL (not a record) or another -errno. */
int migration_record_read(enum migration_side side, const char *id,
			  struct migration_record *record);
/* Puts the record in place of what was there, at once for every reader; on_disk: returns when it
 * is durable. */
int migration_record_write(enum migration_side side, const struct migration_record *record,
			   bool on_disk);
/* Gone, and no error where it was not there. */
int migration_record_remove(enum migration_side side, const char *id);
/* The record of a VM that nobody has settled (leaving, released). Returns 0 or -ENOENT. */
int migration_record_find_open(const char *vm, struct migration_record *record);

/* The VM has come here: what was open about its leaving is settled by that. */
void migration_record_settle(const char *vm);
/* Whether a process here has just handed that VM over, and has not ended yet. */
bool migration_record_departs(const char *vm);

/*
 * The one decision about an incoming move. prepare puts a record on disk under another name; decide
 * gives it its own by link(2), so that the first one stands for ever. decide returns 0 (durable:
 * ours), or -EEXIST with what was decided before in *decided, or another -errno (nothing was
 * decided).
 */
int migration_decision_prepare(const struct migration_record *record);
int migration_decision_make(const struct migration_record *record,
			    struct migration_record *decided);
void migration_decision_discard(const struct migration_record *record);

/* The definition of a VM that comes, on disk beside the others but not yet one of them. */
int migration_definition_prepare(const char *vm, const char *id, const void *text, size_t length);
/* Makes it one; durable. 0 also where that was done before. */
int migration_definition_place(const char *vm, const char *id);
void migration_definition_discard(const char *vm, const char *id);
bool migration_definition_is_prepared(const char *vm, const char *id);
/* Whether a VM of this name is defined on this host, and whether its definition is this text. */
bool migration_definition_exists(const char *vm);
bool migration_definition_is_stored(const char *vm, const void *text, size_t length);
/* The stored definition goes; durable. No error where there is none. */
int migration_definition_remove(const char *vm);

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

/* The final figures, for `lunar show`: migration_report_json() in VM_PATH_MIGRATION. check may be
 * NULL. */
int migration_figures_write(const char *vm, const struct migration_status *status,
			    const struct migration_check *check);
/* Whether any were written after that moment (CLOCK_REALTIME_COARSE, as files have it): those of a
 * later move, which the end of an earlier one must not replace. */
bool migration_figures_written_since(const char *vm, struct timespec when);

/* Removes what nobody can ask for any more: aborted moves of a month ago. */
void migration_records_prune(void);

#endif
