/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The second part of a source: the VM is stopped, handed over, and departs; or runs on. Each change
 * of what this side has promised is recorded before it is acted on: see docs/migration.md, "The
 * commit point". While the VM stands still every millisecond counts.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "hypervisor/migration/call.h"
#include "hypervisor/migration/control.h"
#include "hypervisor/migration/definition.h"
#include "hypervisor/migration/lock.h"
#include "hypervisor/migration/pace.h"
#include "hypervisor/migration/pause.h"
#include "hypervisor/migration/resolve.h"
#include "hypervisor/migration/source_internal.h"
#include "hypervisor/migration/tls.h"

#define LOG_COMPONENT "migration"

#define PAUSE_MS	10000
#define LOOP_MS		5000
#define SEND_MS		10000
#define RELEASE_MS	10000
#define DONE_MS		5000
#define FAIL_MS		200
#define QUERY_MS	3000
#define AGAIN_FIRST_MS	100
#define AGAIN_MOST_MS	2000
#define DESTROYED_MS	4000
#define LATE_MS		3000 /* frames are handed on for so long at most, */
#define LATE_QUIET_MS	1000 /* and until none came for so long */
#define LATE_MOST	4096
#define RECORD_AGAIN_MS 1000

static int vm_resume(void *ctx, struct vm_error *error)
{
	struct source *source = ctx;

	(void)error;
	source->ops->resume(source->ctx);
	return 0;
}

static int vm_release(void *ctx, struct vm_error *error)
{
	struct source *source = ctx;

	return source->ops->release ? source->ops->release(source->ctx, error) : 0;
}

/* ---- records ---- */

static int record_say(struct source *source, enum migration_word word, bool on_disk)
{
	source->record.word = word;
	return migration_record_write(MIGRATION_SIDE_OUT, &source->record, on_disk);
}

static int record_leaving(struct source *source, struct vm_error *error)
{
	const char *identity = migration_tls_peer_name(source->tls);
	int rc;

	memcpy(source->record.vm, source->vm_name, sizeof(source->record.vm));
	memcpy(source->record.peer, source->options.host, sizeof(source->record.peer));
	strncpy(source->record.identity, identity && *identity ? identity : "?",
		sizeof(source->record.identity) - 1);
	source->record.port = source->options.port;
	rc = migration_record_prepare_abort(&source->record);
	rc = rc ? rc : record_say(source, MIGRATION_WORD_LEAVING, true);
	source->recorded = true; /* also where only its way to the disk failed */
	return rc ? vm_error_set(error, EXIT_INTERNAL, rc,
				 "cannot write the move's record in %s: %s",
				 "$LUNAR_STATE_DIR/migrations", strerror(-rc))
		  : 0;
}

/* From here on only the target's host says what is. False where the move was cancelled just now. */
static bool source_release(struct source *source)
{
	bool released;

	pthread_mutex_lock(&source->lock);
	released = !source->cancelled;
	if (released) {
		source->released = true;
		source->status.phase = MIGRATION_COMMITTING;
	}
	pthread_mutex_unlock(&source->lock);
	return released;
}

/* ---- the outcome, where it was not heard ---- */

static enum operator_word operator_said(struct source *source)
{
	enum operator_word word;

	pthread_mutex_lock(&source->lock);
	word = source->operator_word;
	pthread_mutex_unlock(&source->lock);
	return word;
}

static enum migration_word outcome_ask(struct source *source)
{
	enum migration_word word = MIGRATION_WORD_UNDECIDED;
	struct vm_error error = {0};

	if (migration_resolve_query(source->credentials, source->options.host, source->options.port,
				    source->options.host, MIGRATION_FRAME_RESOLVE,
				    source->record.id, source->vm_name, -1,
				    deadline_in_ms(QUERY_MS), &word, &error))
		log_warn_limited("%s: what became of its move is not known yet: %s",
				 source->vm_name, error.message);
	return word;
}

/* Waits until somebody knows: COMMITTED or ABORTED; or UNDECIDED where this process has to end. */
static enum migration_word outcome_await(struct source *source)
{
	struct deadline destroyed = {0};
	uint32_t again_ms = AGAIN_FIRST_MS;

	log_warn("%s: the destination was lost after COMMIT; the VM waits until it is heard of",
		 source->vm_name);
	source_disconnect(source); /* so that the target, too, knows that nothing more will come */
	for (;;) {
		enum migration_word word = outcome_ask(source);
		enum operator_word operator_word = operator_said(source);

		if (word == MIGRATION_WORD_COMMITTED || word == MIGRATION_WORD_ABORTED)
			return word;
		if (operator_word != OPERATOR_SILENT)
			return operator_word == OPERATOR_THERE ? MIGRATION_WORD_COMMITTED
							       : MIGRATION_WORD_ABORTED;
		if (atomic_load(&source->destroyed)) {
			if (!destroyed.at_ns)
				destroyed = deadline_in_ms(DESTROYED_MS);
			if (deadline_passed(destroyed))
				return MIGRATION_WORD_UNDECIDED;
		}
		usleep(again_ms * 1000);
		again_ms = again_ms * 2 > AGAIN_MOST_MS ? AGAIN_MOST_MS : again_ms * 2;
	}
}

/* Where this side has let go, and the record of an abort must be on disk before the VM runs. */
static void record_aborted(struct source *source)
{
	int rc;

	while ((rc = record_say(source, MIGRATION_WORD_ABORTED, true)) != 0) {
		log_error("%s: the move's record cannot be written (%s); the VM waits for that",
			  source->vm_name, strerror(-rc));
		if (atomic_load(&source->destroyed))
			return;
		usleep(RECORD_AGAIN_MS * 1000);
	}
}

static int outcome_settle(struct source *source, struct vm_error *error)
{
	enum migration_word word = outcome_await(source);

	switch (word) {
	case MIGRATION_WORD_COMMITTED:
		return 0;
	case MIGRATION_WORD_ABORTED:
		return vm_error_set(error, EXIT_HOST_UNREACHABLE, -ECONNABORTED,
				    "the destination was lost before it had the VM for good");
	default:
		return vm_error_set(error, EXIT_HOST_UNREACHABLE, -EINPROGRESS,
				    "the process ended before the outcome of the move was known");
	}
}

/* ---- to hand it over ---- */

static int expect(struct source *source, uint32_t type, struct deadline deadline, uint32_t *took_ms,
		  struct vm_error *error)
{
	struct migration_message message = {0};
	int rc = migration_control_receive(source->control, &message, deadline);

	if (!rc && message.type == MIGRATION_FRAME_FAIL &&
	    !migration_fail_read(message.payload, message.length, error))
		rc = -EPERM;
	else if (!rc && message.type != type)
		rc = migration_tls_explain(source->tls, -EPROTO, "the destination", error);
	else if (!rc)
		rc = migration_took_read(message.payload, message.length, took_ms);
	else
		migration_tls_explain(source->tls, rc, "the destination", error);
	migration_message_fini(&message);
	return rc;
}

/* One for all that is sent and awaited up to READY: however a peer spreads its slowness over them,
 * it does not hold the VM for longer. */
static struct deadline ready_deadline(struct source *source)
{
	struct migration_page_stats stats;

	migration_page_sender_get_stats(source->sender, &stats);
	return deadline_in_ms(migration_pace_stop_ms(stats.bytes_pending, source->memory_rate));
}

/* For tests; the time that they hold us does not count. */
static void stopped_hold(struct source *source, enum migration_step step, struct deadline *deadline)
{
	uint64_t began_ns = monotonic_ns();

	migration_step_hold(step, &source->cancelled);
	deadline->at_ns += monotonic_ns() - began_ns;
}

/* State first, then the last pages: the target has all of it when the pages are there. */
static int last_send(struct source *source, struct migration_pause *pause,
		     struct deadline *ready_by, struct vm_error *error)
{
	const struct migration_round_end last = {.round = source->rounds};
	size_t length;
	const uint8_t *state = migration_pause_state(pause, &length);
	uint64_t bytes;
	int rc = migration_page_sender_add_dirty(source->sender, source->ops->dirty_fetch,
						 source->ctx, &bytes);

	if (rc)
		return vm_error_set(error, EXIT_INTERNAL, rc,
				    "cannot read the log of written "
				    "memory: %s",
				    strerror(-rc));
	*ready_by = ready_deadline(source);
	rc = migration_control_send(source->control, MIGRATION_FRAME_LAST_ROUND, &last,
				    sizeof(last), *ready_by);
	rc = rc ? rc
		: migration_control_send(source->control, MIGRATION_FRAME_STATE, state, length,
					 *ready_by);
	if (rc)
		return source_explain(source, rc, error);
	stopped_hold(source, MIGRATION_STEP_SOURCE_PAGES, ready_by);
	source->complete = true;
	rc = migration_page_sender_round(source->sender, *ready_by);
	rc = rc ? rc : migration_page_sender_finish(source->sender, *ready_by);
	return rc ? source_explain(source, rc, error) : 0;
}

static int commit(struct source *source, uint64_t stopped_ns, struct vm_error *error)
{
	uint32_t since_ms = 0;
	int rc;

	if (!source_release(source))
		return -ECANCELED;
	rc = record_say(source, MIGRATION_WORD_RELEASED, false);
	if (rc) /* "leaving" stands, and says the same to who finds it without us */
		log_warn("%s: the move's record was not brought up to date: %s", source->vm_name,
			 strerror(-rc));
	migration_step_hold(MIGRATION_STEP_SOURCE_RELEASED, NULL);
	rc = migration_control_send(source->control, MIGRATION_FRAME_COMMIT, NULL, 0,
				    deadline_in_ms(SEND_MS));
	migration_step_hold(MIGRATION_STEP_SOURCE_COMMIT, NULL);
	rc = rc ? rc
		: expect(source, MIGRATION_FRAME_DONE, deadline_in_ms(DONE_MS), &since_ms, error);
	if (rc)
		rc = outcome_settle(source, error);
	pthread_mutex_lock(&source->lock);
	source->status.downtime_ms = source_ms_since(stopped_ns);
	if (!rc && since_ms < source->status.downtime_ms)
		source->status.downtime_ms -= since_ms;
	pthread_mutex_unlock(&source->lock);
	return rc;
}

static int stopped_run(struct source *source, struct migration_pause *pause, uint64_t stopped_ns,
		       struct vm_error *error)
{
	uint32_t pause_ms = source_ms_since(stopped_ns), restore_ms = 0;
	struct deadline ready_by = {0};
	uint64_t began_ns;
	int rc;

	migration_step_hold(MIGRATION_STEP_SOURCE_PAUSED, &source->cancelled);
	began_ns = monotonic_ns();
	rc = last_send(source, pause, &ready_by, error);
	if (rc)
		return rc;
	pthread_mutex_lock(&source->lock);
	source->status.pause_ms = pause_ms;
	source->status.last_ms = source_ms_since(began_ns);
	pthread_mutex_unlock(&source->lock);
	stopped_hold(source, MIGRATION_STEP_SOURCE_STATE, &ready_by);
	rc = expect(source, MIGRATION_FRAME_READY, ready_by, &restore_ms, error);
	if (rc)
		return rc;
	pthread_mutex_lock(&source->lock);
	source->status.restore_ms = restore_ms;
	pthread_mutex_unlock(&source->lock);
	migration_step_hold(MIGRATION_STEP_SOURCE_READY, &source->cancelled);
	rc = migration_call(source->caller, vm_release, source, error, deadline_in_ms(RELEASE_MS));
	return rc ? rc : commit(source, stopped_ns, error);
}

int source_hand_over(struct source *source, struct vm_error *error)
{
	struct migration_pause *pause = NULL;
	uint64_t stopped_ns;
	int rc = record_leaving(source, error);

	if (rc)
		return rc;
	migration_step_hold(MIGRATION_STEP_SOURCE_LEAVING, &source->cancelled);
	if (atomic_load(&source->cancelled))
		return -ECANCELED;
	source_set_phase(source, MIGRATION_STOPPED);
	stopped_ns = monotonic_ns();
	rc = migration_pause(source->caller, source->ops, source->ctx, deadline_in_ms(PAUSE_MS),
			     &pause, error);
	if (rc)
		return rc;
	source->paused = true;
	rc = stopped_run(source, pause, stopped_ns, error);
	migration_pause_free(pause);
	return rc;
}

/* ---- it runs on here ---- */

static void fail_tell(struct source *source)
{
	const struct vm_error given_up = {.code = EXIT_CANCELLED,
					  .message = "the source has given the move up"};
	struct state_writer writer;

	if (!source->control || atomic_load(&source->cancelled))
		return;
	state_writer_init(&writer);
	migration_fail_write(&writer, &given_up);
	(void)migration_control_send_state(source->control, MIGRATION_FRAME_FAIL, &writer,
					   deadline_in_ms(FAIL_MS));
}

void source_abort(struct source *source)
{
	bool undecided = source->released && atomic_load(&source->destroyed) &&
			 source->record.word == MIGRATION_WORD_RELEASED;

	if (undecided)
		return; /* the record stays, and says so */
	if (source->logging) {
		source->ops->dirty_stop(source->ctx);
		source->ops->throttle(source->ctx, 0);
	}
	if (source->paused && source->complete)
		record_aborted(source);
	if (source->paused)
		(void)migration_call(source->caller, vm_resume, source, NULL,
				     deadline_in_ms(UINT32_MAX));
	if (source->recorded && !source->complete)
		(void)migration_record_remove(MIGRATION_SIDE_OUT, source->record.id);
	fail_tell(source);
}

/* ---- it departs ---- */

/* On the loop. */
static void on_late_frame(void *ctx, uint32_t nic, const void *frame, size_t length)
{
	struct source *source = ctx;
	struct late_frame *late = malloc(sizeof(*late) + sizeof(nic) + length);

	if (!late)
		return;
	late->length = sizeof(nic) + length;
	memcpy(late->bytes, &nic, sizeof(nic));
	memcpy(late->bytes + sizeof(nic), frame, length);
	pthread_mutex_lock(&source->lock);
	if (source->late_closed || source->late_count >= LATE_MOST) {
		free(late);
	} else {
		STAILQ_INSERT_TAIL(&source->late, late, link);
		source->late_count++;
	}
	pthread_mutex_unlock(&source->lock);
}

static int vm_depart(void *ctx, struct vm_error *error)
{
	struct source *source = ctx;

	(void)error;
	source->ops->depart(source->ctx, on_late_frame, source);
	return 0;
}

static int figures_send(struct source *source)
{
	struct migration_status status;
	struct state_writer writer;

	migration_source_get_status(&source->base, &status);
	state_writer_init(&writer);
	migration_figures_put(&writer, &status);
	return migration_control_send_state(source->control, MIGRATION_FRAME_FIGURES, &writer,
					    deadline_in_ms(SEND_MS));
}

static struct late_frame *late_take(struct source *source)
{
	struct late_frame *late;

	pthread_mutex_lock(&source->lock);
	late = STAILQ_FIRST(&source->late);
	if (late) {
		STAILQ_REMOVE_HEAD(&source->late, link);
		source->late_count--;
	}
	pthread_mutex_unlock(&source->lock);
	return late;
}

/* Returns 0 where the target was told all, FIGURES first and last. */
static int late_forward(struct source *source)
{
	struct deadline end = deadline_in_ms(LATE_MS), quiet = deadline_in_ms(LATE_QUIET_MS);
	int rc = figures_send(source);

	while (!rc && !deadline_passed(end) && !deadline_passed(quiet) &&
	       !atomic_load(&source->destroyed)) {
		struct late_frame *late = late_take(source);

		if (!late) {
			usleep(1000);
			continue;
		}
		rc = migration_control_send(source->control, MIGRATION_FRAME_LATE, late->bytes,
					    late->length, end);
		free(late);
		pthread_mutex_lock(&source->lock);
		source->status.late_frames++;
		pthread_mutex_unlock(&source->lock);
		quiet = deadline_in_ms(LATE_QUIET_MS);
	}
	rc = rc ? rc : figures_send(source);
	if (!rc)
		(void)migration_tls_close(source->tls, deadline_in_ms(SEND_MS));
	return rc;
}

/* Where FIGURES did not tell the target that nobody will ask any more. */
static void settled_tell(struct source *source)
{
	enum migration_word ignored;
	struct vm_error why;

	(void)migration_resolve_query(source->credentials, source->options.host,
				      source->options.port, source->options.host,
				      MIGRATION_FRAME_SETTLED, source->record.id, source->vm_name,
				      -1, deadline_in_ms(QUERY_MS), &ignored, &why);
}

/* The definition goes before the record of the move, each for good: a host that goes down between
 * them still knows that the VM is not its own. */
static int belongings_remove(struct source *source)
{
	int rc = source->record.stored ? migration_definition_remove(source->vm_name) : 0;

	rc = rc ? rc : record_say(source, MIGRATION_WORD_COMMITTED, true);
	if (rc)
		log_error("%s has moved, but what it had here could not be put away: %s",
			  source->vm_name, strerror(-rc));
	return rc;
}

static void departed_report(struct source *source)
{
	struct migration_page_stats stats = {0};
	struct migration_status *status = &source->status;

	if (source->sender)
		migration_page_sender_get_stats(source->sender, &stats);
	pthread_mutex_lock(&source->lock);
	if (source->sender) {
		status->bytes_sent = stats.bytes_sent;
		status->bytes_zero = stats.bytes_zero;
		status->rate = stats.rate;
	}
	status->bytes_left = 0;
	status->rounds = source->rounds + 1;
	status->total_ms = source_ms_since(source->started_ns);
	status->phase = MIGRATION_DONE;
	pthread_mutex_unlock(&source->lock);
	log_info("%s runs on %s: %u ms in all, %u rounds, %" PRIu64
		 " KiB sent; it stood still for %u ms: pause %u, last pages %u, restore %u",
		 source->vm_name, source->options.host, status->total_ms, status->rounds,
		 status->bytes_sent >> 10, status->downtime_ms, status->pause_ms, status->last_ms,
		 status->restore_ms);
}

void source_depart(struct source *source)
{
	bool told = false;
	int rc;

	source->moved = true;
	(void)migration_call(source->caller, vm_depart, source, NULL, deadline_in_ms(LOOP_MS));
	departed_report(source);
	migration_step_hold(MIGRATION_STEP_SOURCE_DONE, &source->destroyed);
	rc = belongings_remove(source);
	if (source->control && !rc)
		told = late_forward(source) == 0;
	pthread_mutex_lock(&source->lock);
	source->late_closed = true;
	pthread_mutex_unlock(&source->lock);
	migration_lock_release(MIGRATION_SIDE_OUT, source->record.id, source->out_lock, true);
	source->out_lock = -1;
	if (!rc)
		(void)migration_record_remove(MIGRATION_SIDE_OUT, source->record.id);
	if (!rc && !told && !atomic_load(&source->destroyed))
		settled_tell(source);
}
