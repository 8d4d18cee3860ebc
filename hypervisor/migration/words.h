/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The payloads of the control connection's frames, written and read: sections of base/state.h, so
 * that the version before and after understands them. What is read is hostile: text is cut to fit
 * and made printable, counts are bounded, ids and names are checked.
 */
#ifndef LUNAR_HYPERVISOR_MIGRATION_WORDS_H
#define LUNAR_HYPERVISOR_MIGRATION_WORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/state.h"
#include "hypervisor/migration/record.h"
#include "vmbus/guest_memory.h"
#include "wire/migration.h"

#define MIGRATION_PROTOCOL	   1
#define MIGRATION_MAX_DEFINITION   ((size_t)256 * 1024)
#define MIGRATION_PROGRAM_BYTES	   32
#define MIGRATION_HELLO_CHECK_ONLY 1u

struct migration_hello {
	char id[MIGRATION_ID_BYTES];
	char vm[VM_NAME_MAX + 1];
	char program[MIGRATION_PROGRAM_BYTES]; /* "0.3.0": the source's, for the log */
	uint16_t receive_port;		       /* where the source's host answers ASK */
	uint32_t connections;		       /* for memory; 1..MIGRATION_MAX_CONNECTIONS */
	bool check_only;
	uint64_t memory_bytes;
	uint32_t region_count;
	struct migration_region regions[GUEST_MEMORY_MAX_REGIONS];
	/* In the payload that was read: */
	const char *definition;
	size_t definition_length;
	struct state_reader cpu;     /* what save_cpu() wrote */
	struct state_reader portals; /* what save_portals() wrote; empty where nothing */
	struct state_reader disks;   /* what save_disks() wrote; empty where nothing */
};

/* Begins HELLO: everything but what follows it. Then state_begin(MIGRATION_TAG_CPU), save_cpu(),
 * state_end(), and the same for portals and disks. */
void migration_hello_write(struct state_writer *writer, const struct migration_hello *hello);
/* Returns 0; -EPROTO: malformed; -EOPNOTSUPP: of a protocol that is not spoken here. hello points
 * into the payload. */
int migration_hello_read(const void *payload, size_t length, struct migration_hello *hello);

#define MIGRATION_TAG_CPU     STATE_TAG('C', 'P', 'U', '_')
#define MIGRATION_TAG_PORTALS STATE_TAG('P', 'R', 'T', '_')
#define MIGRATION_TAG_DISKS   STATE_TAG('D', 'S', 'K', '_')

/* Findings, as a payload (REFUSE) or the first part of one (ACCEPT). */
void migration_findings_write(struct state_writer *writer, const struct migration_check *check);

struct migration_accept {
	uint16_t port; /* for memory connections */
	uint8_t token[MIGRATION_TOKEN_BYTES];
};

/* ACCEPT: findings, then this. REFUSE: findings alone (accept NULL). *check is filled in both
 * cases. Returns 0 or -EPROTO. */
void migration_accept_write(struct state_writer *writer, const struct migration_accept *accept);
int migration_answer_read(const void *payload, size_t length, struct migration_check *check,
			  struct migration_accept *accept);

/* READY and DONE: how long it took. */
void migration_took_write(struct state_writer *writer, uint32_t ms);
int migration_took_read(const void *payload, size_t length, uint32_t *ms);

void migration_figures_put(struct state_writer *writer, const struct migration_status *status);
/* Overwrites in *status what the other side knows better. */
int migration_figures_get(const void *payload, size_t length, struct migration_status *status);

void migration_fail_write(struct state_writer *writer, const struct vm_error *error);
int migration_fail_read(const void *payload, size_t length, struct vm_error *error);

/* RESOLVE and ASK. */
void migration_question_write(struct state_writer *writer, const char *id, const char *vm);
int migration_question_read(const void *payload, size_t length, char id[MIGRATION_ID_BYTES],
			    char vm[VM_NAME_MAX + 1]);
void migration_outcome_write(struct state_writer *writer, enum migration_word word);
int migration_outcome_read(const void *payload, size_t length, enum migration_word *word);

#endif
