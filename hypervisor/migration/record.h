/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a host remembers of a move, so that the outcome can be told when the process that took part
 * is gone: records in $LUNAR_STATE_DIR/migrations. docs/migration.md says who writes what when;
 * this file, decision.h, definition.h, lock.h and figures.h know how.
 *
 * Any thread. Ids are checked by whoever takes them from a peer: migration_id_is_valid().
 */
#ifndef LUNAR_HYPERVISOR_MIGRATION_RECORD_H
#define LUNAR_HYPERVISOR_MIGRATION_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hypervisor/migration/lock.h"
#include "hypervisor/migration/migration.h"

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
/* The id in a file's name "ID.suffix"; false for other files. */
bool migration_id_of_file(const char *file, const char *suffix, char id[MIGRATION_ID_BYTES]);
/* A new random one. Returns 0 or -errno. */
int migration_id_make(char id[MIGRATION_ID_BYTES]);

/* Returns 0, -ENOENT, -EINVAL (not a record) or another -errno. */
int migration_record_read(enum migration_side side, const char *id,
			  struct migration_record *record);
/* Puts the record in place of what was there, at once for every reader; on_disk: returns when it
 * is durable. */
int migration_record_write(enum migration_side side, const struct migration_record *record,
			   bool on_disk);
/* Has a source's record "aborted" lie ready on disk: where there is no room for it later, it is
 * this one that migration_record_write() puts in place. Goes with the record. Returns 0 or -errno.
 */
int migration_record_prepare_abort(const struct migration_record *record);
/* Gone, and no error where it was not there. */
int migration_record_remove(enum migration_side side, const char *id);
/* The record of a VM that nobody has settled (leaving, released). Returns 0 or -ENOENT. */
int migration_record_find_open(const char *vm, struct migration_record *record);

/* The VM has come here: what was open about its leaving is settled by that. */
void migration_record_settle(const char *vm);
/* Whether a process here has just handed that VM over, and has not ended yet. */
bool migration_record_departs(const char *vm);

#endif
