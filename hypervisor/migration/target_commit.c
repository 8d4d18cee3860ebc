/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The second part of a target: the VM is restored and could run. READY, the source's word, the
 * record that commits the move, and the end of it. See docs/migration.md, "The commit point".
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "hypervisor/migration/call.h"
#include "hypervisor/migration/control.h"
#include "hypervisor/migration/decision.h"
#include "hypervisor/migration/definition.h"
#include "hypervisor/migration/resolve.h"
#include "hypervisor/migration/target_internal.h"
#include "hypervisor/migration/tls.h"

#define LOG_COMPONENT "migration"

#define SEND_MS	       10000
#define COMMIT_MS      10000
#define SLICE_MS       20
#define QUERY_MS       3000
#define AGAIN_FIRST_MS 100
#define AGAIN_MOST_MS  2000
#define GO_MS	       10000
#define LATE_MS	       15000 /* the source hands frames on for 3 s */
#define LATE_HEADER    sizeof(uint32_t)

/* What a restored VM waits for. */
enum verdict {
	VERDICT_WAIT,
	VERDICT_RUN,  /* the source has let go of it */
	VERDICT_DROP, /* it runs on there */
	VERDICT_LOST, /* the connection is gone: who knows? */
};

/* ---- the source's word, over its connection or past it ---- */

static enum verdict frame_verdict(struct target *target, struct vm_error *error)
{
	struct migration_message message = {0};
	enum verdict verdict = VERDICT_LOST;
	int rc = migration_control_receive(target->control, &message, deadline_in_ms(SLICE_MS));

	if (rc == -ETIMEDOUT)
		verdict = VERDICT_WAIT;
	else if (!rc && message.type == MIGRATION_FRAME_COMMIT && message.length == 0)
		verdict = VERDICT_RUN;
	else if (!rc && message.type == MIGRATION_FRAME_FAIL &&
		 !migration_fail_read(message.payload, message.length, error))
		verdict = VERDICT_DROP;
	else if (!rc)
		log_warn("%s: frame %u where COMMIT should come", target->hello.vm, message.type);
	migration_message_fini(&message);
	return verdict;
}

/* An operator's word, or a resolver's: the source's host came to us. */
static enum verdict order_verdict(struct target *target)
{
	char identity[MIGRATION_HOST_BYTES];
	enum verdict verdict = VERDICT_WAIT;

	pthread_mutex_lock(&target->lock);
	if (target->word_said)
		verdict = target->word_there ? VERDICT_DROP : VERDICT_RUN;
	pthread_mutex_unlock(&target->lock);
	if (verdict == VERDICT_WAIT && !migration_order_get(target->hello.id, identity) &&
	    strcmp(identity, target->record.identity) == 0)
		verdict = VERDICT_RUN;
	return verdict;
}

static enum verdict word_verdict(enum migration_word word)
{
	if (word == MIGRATION_WORD_RELEASED)
		return VERDICT_RUN;
	return word == MIGRATION_WORD_ABORTED ? VERDICT_DROP : VERDICT_WAIT;
}

static enum verdict source_ask(struct target *target)
{
	enum migration_word word = MIGRATION_WORD_UNDECIDED;
	struct vm_error error = {0};

	if (migration_resolve_query(target->credentials, target->record.peer, target->record.port,
				    target->record.identity, MIGRATION_FRAME_ASK, target->hello.id,
				    target->hello.vm, target->cancel_fd, deadline_in_ms(QUERY_MS),
				    &word, &error))
		log_warn_limited("%s: whether the source still has it is not known yet: %s",
				 target->hello.vm, error.message);
	return word_verdict(word);
}

/* The connection is lost, the VM restored: until the source's host, or an operator, says. */
static enum verdict verdict_seek(struct target *target)
{
	uint32_t again_ms = AGAIN_FIRST_MS;
	enum verdict verdict;

	log_warn("%s: the source was lost; the VM waits until it is known who has it",
		 target->hello.vm);
	target_disconnect(target);
	for (;;) {
		struct deadline again = deadline_in_ms(again_ms);

		verdict = order_verdict(target);
		if (verdict == VERDICT_WAIT)
			verdict = source_ask(target);
		while (verdict == VERDICT_WAIT && !deadline_passed(again) &&
		       !atomic_load(&target->destroyed)) {
			usleep(SLICE_MS * 1000);
			verdict = order_verdict(target);
		}
		if (verdict != VERDICT_WAIT || atomic_load(&target->destroyed))
			return verdict;
		again_ms = again_ms * 2 > AGAIN_MOST_MS ? AGAIN_MOST_MS : again_ms * 2;
	}
}

static enum verdict verdict_await(struct target *target, struct vm_error *error)
{
	struct deadline deadline = deadline_in_ms(COMMIT_MS);
	enum verdict verdict;

	do {
		verdict = frame_verdict(target, error);
		if (verdict == VERDICT_WAIT)
			verdict = order_verdict(target);
		if (atomic_load(&target->destroyed))
			return VERDICT_WAIT;
	} while (verdict == VERDICT_WAIT && !deadline_passed(deadline));
	return verdict == VERDICT_WAIT || verdict == VERDICT_LOST ? verdict_seek(target) : verdict;
}

/* ---- commit ---- */

static int vm_go(void *ctx, struct vm_error *error)
{
	struct target *target = ctx;

	return target->ops->go(target->ctx, true, error);
}

/* Recorded, but it could not be set going: nobody has been told yet (a resolver does not, as long
 * as the definition is only prepared), so the record is changed and the source may have it back. */
static void uncommit(struct target *target)
{
	struct migration_record aborted = target->record;
	int rc;

	aborted.word = MIGRATION_WORD_ABORTED;
	rc = migration_record_write(MIGRATION_SIDE_IN, &aborted, true);
	if (rc) /* a full disk: no record says nothing yet, which is as true */
		rc = migration_record_remove(MIGRATION_SIDE_IN, aborted.id);
	if (rc)
		log_error("%s: the record of its move is wrong now (%s): it says that the VM runs "
			  "here, and it does not",
			  target->hello.vm, strerror(-rc));
}

static int commit(struct target *target, struct vm_error *error)
{
	struct migration_record decided;
	int rc = migration_decision_make(&target->record, &decided);

	if (rc == -EEXIST && decided.word == MIGRATION_WORD_COMMITTED)
		rc = 0;
	if (rc)
		return vm_error_set(error, EXIT_INTERNAL, rc, "the move was not recorded: %s",
				    rc == -EEXIST ? "it was given up meanwhile" : strerror(-rc));
	rc = migration_call(target->caller, vm_go, target, error, deadline_in_ms(GO_MS));
	if (rc) {
		uncommit(target);
		return rc;
	}
	target->moved = true;
	return 0;
}

static void done_tell(struct target *target, uint64_t running_ns)
{
	struct state_writer writer;
	int rc;

	migration_step_hold(MIGRATION_STEP_TARGET_RUNNING, &target->destroyed);
	rc = migration_definition_place(target->hello.vm, target->hello.id);
	if (rc)
		log_error("%s runs here, but its definition could not be stored: %s",
			  target->hello.vm, strerror(-rc));
	migration_record_settle(target->hello.vm);
	if (!target->control || rc)
		return; /* where it is not stored here, the source must keep it */
	state_writer_init(&writer);
	migration_took_write(&writer, target_ms_since(running_ns));
	(void)migration_control_send_state(target->control, MIGRATION_FRAME_DONE, &writer,
					   deadline_in_ms(SEND_MS));
}

static void waiting_set(struct target *target, bool waiting)
{
	pthread_mutex_lock(&target->lock);
	target->waiting = waiting;
	if (waiting)
		target->status.phase = MIGRATION_COMMITTING;
	pthread_mutex_unlock(&target->lock);
}

static void ready_tell(struct target *target)
{
	struct state_writer writer;

	state_writer_init(&writer);
	migration_took_write(&writer, target->status.restore_ms);
	/* Where it cannot be said, the wait for COMMIT finds out. */
	(void)migration_control_send_state(target->control, MIGRATION_FRAME_READY, &writer,
					   deadline_in_ms(SEND_MS));
}

int target_decide(struct target *target, struct vm_error *error)
{
	enum verdict verdict;
	uint64_t running_ns;
	int rc;

	waiting_set(target, true);
	ready_tell(target);
	migration_step_hold(MIGRATION_STEP_TARGET_READY, &target->destroyed);
	verdict = verdict_await(target, error);
	waiting_set(target, false);
	if (verdict == VERDICT_DROP)
		return *error->message ? -ECANCELED
				       : vm_error_set(error, EXIT_CANCELLED, -ECANCELED,
						      "it runs on at the source");
	if (verdict != VERDICT_RUN)
		return vm_error_set(error, EXIT_CANCELLED, -ECANCELED,
				    "the process was ended before the source had its say");
	migration_step_hold(MIGRATION_STEP_TARGET_COMMIT, &target->destroyed);
	rc = commit(target, error);
	if (rc)
		return rc;
	running_ns = monotonic_ns();
	done_tell(target, running_ns);
	migration_step_hold(MIGRATION_STEP_TARGET_DONE, &target->destroyed);
	return 0;
}

/* ---- afterwards ---- */

struct late_call {
	struct target *target;
	const struct migration_message *message;
};

static int vm_inject(void *ctx, struct vm_error *error)
{
	struct late_call *call = ctx;
	uint32_t nic;

	(void)error;
	memcpy(&nic, call->message->payload, LATE_HEADER);
	call->target->ops->inject(call->target->ctx, nic, call->message->payload + LATE_HEADER,
				  call->message->length - LATE_HEADER);
	return 0;
}

/* False where nothing more is to be expected. */
static bool late_take(struct target *target, const struct migration_message *message)
{
	struct late_call call = {.target = target, .message = message};
	bool ok = false;

	if (message->type == MIGRATION_FRAME_LATE && message->length > LATE_HEADER) {
		ok = migration_call(target->caller, vm_inject, &call, NULL,
				    deadline_in_ms(GO_MS)) == 0;
		pthread_mutex_lock(&target->lock);
		target->status.late_frames++;
		pthread_mutex_unlock(&target->lock);
	} else if (message->type == MIGRATION_FRAME_FIGURES) {
		pthread_mutex_lock(&target->lock);
		ok = !migration_figures_get(message->payload, message->length, &target->status);
		pthread_mutex_unlock(&target->lock);
		/* It knows that the VM is ours, and will not ask. */
		if (ok)
			(void)migration_record_remove(MIGRATION_SIDE_IN, target->hello.id);
	}
	return ok;
}

void target_settle(struct target *target)
{
	struct deadline deadline = deadline_in_ms(LATE_MS);
	struct migration_message message = {0};
	bool more = target->control != NULL;

	clock_gettime(CLOCK_REALTIME_COARSE, &target->runs_since);
	pthread_mutex_lock(&target->lock);
	target->status.phase = MIGRATION_DONE;
	target->status.bytes_left = 0;
	target->status.total_ms = target_ms_since(target->started_ns);
	pthread_mutex_unlock(&target->lock);
	log_info("%s runs here; it came from %s", target->hello.vm, target->status.peer);
	while (more && migration_control_receive(target->control, &message, deadline) == 0)
		more = late_take(target, &message);
	migration_message_fini(&message);
}
