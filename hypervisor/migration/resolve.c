/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Asks and answers what became of a move: see docs/migration.md, "Who answers for a killed
 * process". The order of reading a record and trying a lock matters, and is said where it does.
 */
#include "hypervisor/migration/resolve.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "hypervisor/migration/decision.h"
#include "hypervisor/migration/definition.h"
#include "hypervisor/migration/internal.h"
#include "hypervisor/migration/lock.h"
#include "hypervisor/migration/prune.h"
#include "hypervisor/migration/socket.h"
#include "hypervisor/migration/tls.h"
#include "hypervisor/migration/words.h"

#define LOG_COMPONENT "migration"

#define ANSWER_WAIT_MS	 2000 /* for a live process to decide */
#define ANSWER_POLL_US	 10000
#define SEND_MS		 2000
#define START_SETTLE_MS	 6000
#define START_AGAIN_US	 200000
#define SETTLED_MS	 2000
#define DEFAULT_IDENTITY "?"

/* ---- asking ---- */

static int question_ask(struct migration_tls *tls, uint32_t type, const char *id, const char *vm,
			struct deadline deadline, enum migration_word *word)
{
	struct migration_channel *channel = migration_tls_channel(tls);
	struct migration_message answer = {0};
	struct state_writer writer;
	int rc;

	state_writer_init(&writer);
	migration_question_write(&writer, id, vm);
	rc = state_writer_result(&writer);
	rc = rc ? rc : migration_message_send(channel, type, writer.bytes, writer.length, deadline);
	state_writer_fini(&writer);
	rc = rc ? rc
		: migration_message_receive(channel, &answer, MIGRATION_MAX_CONTROL_BYTES,
					    deadline);
	if (!rc && answer.type != MIGRATION_FRAME_OUTCOME)
		rc = -EPROTO;
	rc = rc ? rc : migration_outcome_read(answer.payload, answer.length, word);
	migration_message_fini(&answer);
	return rc;
}

int migration_resolve_query(const struct migration_tls_credentials *credentials,
			    const char *address, uint16_t port, const char *identity, uint32_t type,
			    const char *id, const char *vm_name, int cancel_fd,
			    struct deadline deadline, enum migration_word *word,
			    struct vm_error *error)
{
	struct migration_tls *tls;
	int rc, fd = migration_dial(address, port, cancel_fd, deadline, error);

	if (fd < 0)
		return fd;
	rc = migration_tls_connect(credentials, fd, identity, deadline, &tls, error);
	if (rc)
		return rc;
	rc = question_ask(tls, type, id, vm_name, deadline, word);
	if (rc)
		migration_tls_explain(tls, rc, "the other host", error);
	else
		migration_tls_close(tls, deadline);
	migration_tls_destroy(tls);
	return rc;
}

/* ---- answering ASK: a source's host ---- */

/* No process holds the lock but us: what the record says now stays so. */
static enum migration_word ask_answer_dead(const char *id)
{
	struct migration_record record;

	if (migration_record_read(MIGRATION_SIDE_OUT, id, &record))
		return MIGRATION_WORD_UNKNOWN;
	switch (record.word) {
	case MIGRATION_WORD_LEAVING:
		record.word = MIGRATION_WORD_RELEASED;
		if (migration_record_write(MIGRATION_SIDE_OUT, &record, true))
			return MIGRATION_WORD_UNDECIDED;
		log_warn("move %s of %s: the source's process is gone; the target may have it", id,
			 record.vm);
		return MIGRATION_WORD_RELEASED;
	case MIGRATION_WORD_COMMITTED:
		return MIGRATION_WORD_RELEASED;
	default:
		return record.word;
	}
}

static enum migration_word ask_answer(const char *id, const char *identity)
{
	struct migration_record record;
	int lock, rc = migration_record_read(MIGRATION_SIDE_OUT, id, &record);
	enum migration_word word;

	if (rc || strcmp(record.identity, identity) != 0)
		return MIGRATION_WORD_UNKNOWN;
	if (record.word == MIGRATION_WORD_COMMITTED)
		return MIGRATION_WORD_RELEASED;
	if (record.word != MIGRATION_WORD_LEAVING)
		return record.word;
	lock = migration_lock_take(MIGRATION_SIDE_OUT, id);
	if (lock < 0)
		return MIGRATION_WORD_UNDECIDED;
	/* The process may have written its last word between our reading and its end. */
	word = ask_answer_dead(id);
	migration_lock_release(MIGRATION_SIDE_OUT, id, lock, true);
	return word;
}

/* ---- answering RESOLVE: a target's host ---- */

static enum migration_word decision_abort(const char *id, const char *vm, const char *identity)
{
	struct migration_record aborted = {.word = MIGRATION_WORD_ABORTED};
	struct migration_record decided = {.word = MIGRATION_WORD_UNDECIDED};
	int rc;

	snprintf(aborted.id, sizeof(aborted.id), "%s", id);
	snprintf(aborted.vm, sizeof(aborted.vm), "%s", vm);
	snprintf(aborted.identity, sizeof(aborted.identity), "%s", identity);
	migration_records_prune(); /* ids cost nothing to make up */
	rc = migration_decision_prepare(&aborted);
	rc = rc ? rc : migration_decision_make(&aborted, &decided);
	if (rc == -EEXIST)
		return decided.word;
	if (rc) {
		log_error("cannot record that move %s of %s never came: %s", id, vm, strerror(-rc));
		return MIGRATION_WORD_UNDECIDED;
	}
	log_warn("move %s of %s: no process has it, and none will", id, vm);
	return MIGRATION_WORD_ABORTED;
}

/* No process holds the lock but us: what is not decided is decided now. */
static enum migration_word resolve_answer_dead(const char *id, const char *vm, const char *identity)
{
	struct migration_record record;
	struct migration_record prepared = {.word = MIGRATION_WORD_COMMITTED};
	int rc = migration_record_read(MIGRATION_SIDE_IN, id, &record);
	enum migration_word word;

	if (rc && rc != -ENOENT)
		return MIGRATION_WORD_UNDECIDED;
	word = rc ? decision_abort(id, vm, identity) : record.word;
	/* What a killed process left half done. */
	if (word == MIGRATION_WORD_COMMITTED) {
		rc = migration_definition_place(vm, id);
		if (rc)
			log_error("the definition of %s could not be stored: %s", vm,
				  strerror(-rc));
		return rc ? MIGRATION_WORD_UNDECIDED : word;
	}
	if (word == MIGRATION_WORD_ABORTED) {
		snprintf(prepared.id, sizeof(prepared.id), "%s", id);
		migration_decision_discard(&prepared);
		migration_definition_discard(vm, id);
		migration_order_remove(id);
	}
	return word;
}

/* One look. UNDECIDED: a process has it. */
static enum migration_word resolve_look(const char *id, const char *vm, const char *identity)
{
	struct migration_record record;
	int lock, rc = migration_record_read(MIGRATION_SIDE_IN, id, &record);
	enum migration_word word;

	if (!rc && (strcmp(record.identity, identity) != 0 || strcmp(record.vm, vm) != 0))
		return MIGRATION_WORD_UNKNOWN;
	if (!rc && record.word == MIGRATION_WORD_ABORTED)
		return record.word;
	lock = migration_lock_take(MIGRATION_SIDE_IN, id);
	if (lock >= 0) {
		word = resolve_answer_dead(id, vm, identity);
		migration_lock_release(MIGRATION_SIDE_IN, id, lock, true);
		return word;
	}
	if (lock != -EWOULDBLOCK)
		return MIGRATION_WORD_UNDECIDED;
	/* Between its record and its first instruction a target may still find that it cannot. */
	return !rc && !migration_definition_is_prepared(vm, id) ? record.word
								: MIGRATION_WORD_UNDECIDED;
}

static enum migration_word resolve_answer(const char *id, const char *vm, const char *identity)
{
	struct deadline deadline = deadline_in_ms(ANSWER_WAIT_MS);
	enum migration_word word = resolve_look(id, vm, identity);

	if (word == MIGRATION_WORD_UNDECIDED)
		(void)migration_order_put(id, identity);
	while (word == MIGRATION_WORD_UNDECIDED && !deadline_passed(deadline)) {
		usleep(ANSWER_POLL_US);
		word = resolve_look(id, vm, identity);
	}
	return word;
}

/* ---- answering SETTLED: a target's host ---- */

static void settled_take(const char *id, const char *vm, const char *identity)
{
	struct migration_record record;

	if (!migration_record_read(MIGRATION_SIDE_IN, id, &record) &&
	    record.word == MIGRATION_WORD_COMMITTED && strcmp(record.identity, identity) == 0 &&
	    strcmp(record.vm, vm) == 0 && !migration_definition_is_prepared(vm, id))
		(void)migration_record_remove(MIGRATION_SIDE_IN, id);
}

static enum migration_word question_answer(uint32_t type, const char *id, const char *vm,
					   const char *identity)
{
	switch (type) {
	case MIGRATION_FRAME_ASK:
		return ask_answer(id, identity);
	case MIGRATION_FRAME_RESOLVE:
		return resolve_answer(id, vm, identity);
	default:
		settled_take(id, vm, identity);
		return MIGRATION_WORD_UNKNOWN;
	}
}

int migration_resolve_answer(struct migration_channel *channel,
			     const struct migration_message *question, const char *identity)
{
	char id[MIGRATION_ID_BYTES], vm[VM_NAME_MAX + 1];
	struct state_writer writer;
	enum migration_word word;
	int rc = migration_question_read(question->payload, question->length, id, vm);

	if (rc)
		return rc;
	if (!*identity)
		identity = DEFAULT_IDENTITY;
	word = question_answer(question->type, id, vm, identity);
	if (question->type == MIGRATION_FRAME_SETTLED)
		log_info_limited("%s has put away what it had of move %s of %s", identity, id, vm);
	else
		log_info_limited("%s asks %s move %s of %s: %s", identity,
				 question->type == MIGRATION_FRAME_ASK ? "whether we have let go in"
								       : "what became of",
				 id, vm, migration_word_name(word));
	state_writer_init(&writer);
	migration_outcome_write(&writer, word);
	rc = state_writer_result(&writer);
	rc = rc ? rc
		: migration_message_send(channel, MIGRATION_FRAME_OUTCOME, writer.bytes,
					 writer.length, deadline_in_ms(SEND_MS));
	state_writer_fini(&writer);
	return rc;
}

/* ---- a VM that is to start afresh ---- */

/* So that the other host need not remember either. It is told once: what it keeps else is small. */
static void settled_tell(const struct migration_tls_credentials *credentials,
			 const struct migration_record *record)
{
	enum migration_word ignored;
	struct vm_error why;

	(void)migration_resolve_query(credentials, record->peer, record->port, record->peer,
				      MIGRATION_FRAME_SETTLED, record->id, record->vm, -1,
				      deadline_in_ms(SETTLED_MS), &ignored, &why);
}

static int start_settled(const struct migration_tls_credentials *credentials,
			 const struct migration_record *record, enum migration_word word,
			 struct vm_error *error)
{
	int rc;

	if (word == MIGRATION_WORD_ABORTED) {
		log_info("%s: its move to %s never came to anything", record->vm, record->peer);
		return migration_record_remove(MIGRATION_SIDE_OUT, record->id);
	}
	rc = record->stored ? migration_definition_remove(record->vm) : 0;
	rc = rc ? rc : migration_record_remove(MIGRATION_SIDE_OUT, record->id);
	if (rc)
		log_error("%s: cannot clean up after its move: %s", record->vm, strerror(-rc));
	else
		settled_tell(credentials, record);
	return vm_error_set(error, EXIT_STATE, -EEXIST,
			    "%s was moved to %s before its process here was killed; it is %s's now",
			    record->vm, record->peer, record->peer);
}

static int start_ask(struct migration_record *record, struct vm_error *error)
{
	enum migration_word word = MIGRATION_WORD_UNDECIDED;
	struct migration_tls_credentials *credentials = NULL;
	struct vm_error why = {0};
	struct deadline deadline;
	int rc;

	/* No process keeps a copy any more: who ASKs meanwhile may know. */
	record->word = MIGRATION_WORD_RELEASED;
	rc = migration_record_write(MIGRATION_SIDE_OUT, record, true);
	if (rc)
		return vm_error_set(error, EXIT_INTERNAL, rc,
				    "cannot write the record of a move: %s", strerror(-rc));
	rc = migration_tls_credentials_load(NULL, &credentials, &why);
	deadline = deadline_in_ms(START_SETTLE_MS); /* a slow disk takes nothing from it */
	while (!rc && !deadline_passed(deadline)) {
		rc = migration_resolve_query(credentials, record->peer, record->port, record->peer,
					     MIGRATION_FRAME_RESOLVE, record->id, record->vm, -1,
					     deadline, &word, &why);
		if (rc || word == MIGRATION_WORD_COMMITTED || word == MIGRATION_WORD_ABORTED)
			break;
		usleep(START_AGAIN_US);
	}
	if (!rc && (word == MIGRATION_WORD_COMMITTED || word == MIGRATION_WORD_ABORTED))
		rc = start_settled(credentials, record, word, error);
	else
		rc = vm_error_set(error, EXIT_STATE, -EBUSY,
				  "whether %s was moved to %s is not known (%s); %s, or where that "
				  "host will not come back: lunar migrate --resolve %s here",
				  record->vm, record->peer, rc ? why.message : "it cannot tell yet",
				  rc ? "start `lunar receive` there" : "try again in a moment",
				  record->vm);
	migration_tls_credentials_free(credentials);
	return rc;
}

int migration_resolve_before_start(const char *vm_name, struct vm_error *error)
{
	struct migration_record record;
	int lock, rc;

	if (migration_record_find_open(vm_name, &record))
		return 0;
	lock = migration_lock_take(MIGRATION_SIDE_OUT, record.id);
	if (lock < 0)
		return vm_error_set(error, EXIT_STATE, -EBUSY, "%s is being moved to %s", vm_name,
				    record.peer);
	rc = start_ask(&record, error);
	migration_lock_release(MIGRATION_SIDE_OUT, record.id, lock, true);
	return rc;
}

/* ---- an operator's word ---- */

int migration_resolve_by_operator(const char *vm_name, bool there, struct vm_error *error)
{
	struct migration_record record;
	int lock, rc;

	if (migration_record_find_open(vm_name, &record))
		return vm_error_set(error, EXIT_STATE, -ENOENT,
				    "no move of %s waits for its outcome here", vm_name);
	lock = migration_lock_take(MIGRATION_SIDE_OUT, record.id);
	if (lock < 0)
		return vm_error_set(error, EXIT_STATE, -EBUSY,
				    "the process that moves %s is there: it must be asked",
				    vm_name);
	record.word = there ? MIGRATION_WORD_COMMITTED : MIGRATION_WORD_ABORTED;
	rc = migration_record_write(MIGRATION_SIDE_OUT, &record, true);
	if (!rc && there && record.stored)
		rc = migration_definition_remove(vm_name);
	migration_lock_release(MIGRATION_SIDE_OUT, record.id, lock, true);
	if (rc)
		return vm_error_set(error, EXIT_INTERNAL, rc, "cannot write the record: %s",
				    strerror(-rc));
	log_warn("%s: an operator says that it is %s", vm_name, there ? record.peer : "here");
	return 0;
}

int migration_source_resolve(struct migration_source *source, bool there)
{
	return source->kind->resolve ? source->kind->resolve(source, there) : -EBUSY;
}

int migration_target_resolve(struct migration_target *target, bool there)
{
	return target->kind->resolve ? target->kind->resolve(target, there) : -EBUSY;
}
