/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A source over the network, from outside: start, status, cancel, an operator's word, end. Its
 * mover thread runs the parts in order and undoes them where one fails. See docs/migration.md.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/event_loop.h"
#include "base/log.h"
#include "hypervisor/migration/call.h"
#include "hypervisor/migration/control.h"
#include "hypervisor/migration/figures.h"
#include "hypervisor/migration/lock.h"
#include "hypervisor/migration/over.h"
#include "hypervisor/migration/prune.h"
#include "hypervisor/migration/source_internal.h"
#include "hypervisor/migration/thread.h"
#include "hypervisor/migration/tls.h"

#define LOG_COMPONENT "migration"

#define FAIL_TOLD_MS 200 /* for what the target says of its own failure to arrive */

uint32_t source_ms_since(uint64_t start_ns)
{
	uint64_t ms = (monotonic_ns() - start_ns) / NS_PER_MS;

	return ms > UINT32_MAX ? UINT32_MAX : (uint32_t)ms;
}

void source_set_phase(struct source *source, enum migration_phase phase)
{
	pthread_mutex_lock(&source->lock);
	source->status.phase = phase;
	pthread_mutex_unlock(&source->lock);
}

int source_explain(struct source *source, int rc, struct vm_error *error)
{
	struct migration_message message = {0};
	struct deadline deadline = deadline_in_ms(FAIL_TOLD_MS);
	bool told = false;

	while (source->control && !atomic_load(&source->cancelled) && !told &&
	       migration_control_receive(source->control, &message, deadline) == 0)
		told = message.type == MIGRATION_FRAME_FAIL &&
		       !migration_fail_read(message.payload, message.length, error);
	migration_message_fini(&message);
	return told ? rc : migration_tls_explain(source->tls, rc, "the destination", error);
}

/* Sends what there is still to say, where the connection is good, and ends all of them. */
void source_disconnect(struct source *source)
{
	struct migration_tls *tls, *memory_tls[MIGRATION_MAX_CONNECTIONS];
	struct migration_page_sender *sender;
	struct migration_page_stats stats;

	pthread_mutex_lock(&source->lock);
	tls = source->tls;
	sender = source->sender;
	if (sender) {
		migration_page_sender_get_stats(sender, &stats);
		source->status.bytes_sent = stats.bytes_sent;
		source->status.bytes_zero = stats.bytes_zero;
		source->status.rate = stats.rate;
	}
	memcpy(memory_tls, source->memory_tls, sizeof(memory_tls));
	source->tls = NULL;
	source->sender = NULL;
	memset(source->memory_tls, 0, sizeof(source->memory_tls));
	pthread_mutex_unlock(&source->lock);
	for (size_t i = 0; i < MIGRATION_MAX_CONNECTIONS; i++)
		if (memory_tls[i])
			migration_tls_shutdown(memory_tls[i]);
	migration_page_sender_destroy(sender);
	for (size_t i = 0; i < MIGRATION_MAX_CONNECTIONS; i++)
		migration_tls_destroy(memory_tls[i]);
	migration_control_destroy(source->control);
	source->control = NULL;
	migration_tls_destroy(tls);
}

/* Ends the move's waits, wherever the mover is. Under the lock. */
static void source_interrupt(struct source *source)
{
	const uint64_t one = 1;

	(void)!write(source->cancel_fd, &one, sizeof(one));
	if (source->dial_fd >= 0)
		shutdown(source->dial_fd, SHUT_RDWR);
	if (source->sender)
		migration_page_sender_cancel(source->sender);
	for (size_t i = 0; i < MIGRATION_MAX_CONNECTIONS; i++)
		if (source->memory_tls[i])
			migration_tls_shutdown(source->memory_tls[i]);
	if (source->tls)
		migration_tls_shutdown(source->tls);
}

static int source_cancel(struct migration_source *base)
{
	struct source *source = (struct source *)base;
	int rc = -EBUSY;

	pthread_mutex_lock(&source->lock);
	if (!source->released && source->status.phase < MIGRATION_COMMITTING) {
		source->cancelled = true;
		source_interrupt(source);
		rc = 0;
	}
	pthread_mutex_unlock(&source->lock);
	return rc;
}

static void source_get_status(const struct migration_source *base, struct migration_status *status)
{
	struct source *source = (struct source *)(uintptr_t)base;
	struct migration_page_stats stats;

	pthread_mutex_lock(&source->lock);
	*status = source->status;
	if (status->phase < MIGRATION_DONE)
		status->total_ms = source_ms_since(source->started_ns);
	if (source->sender && status->phase < MIGRATION_DONE) {
		migration_page_sender_get_stats(source->sender, &stats);
		status->bytes_sent = stats.bytes_sent;
		status->bytes_zero = stats.bytes_zero;
		status->bytes_left = stats.bytes_pending;
		status->rate = stats.rate;
	}
	pthread_mutex_unlock(&source->lock);
}

static const struct migration_check *source_get_check(const struct migration_source *base)
{
	struct source *source = (struct source *)(uintptr_t)base;
	bool checked;

	/* It is written once, before this is set. */
	pthread_mutex_lock(&source->lock);
	checked = source->checked;
	pthread_mutex_unlock(&source->lock);
	return checked ? &source->check : NULL;
}

static int source_resolve(struct migration_source *base, bool there)
{
	struct source *source = (struct source *)base;
	int rc = -EBUSY;

	pthread_mutex_lock(&source->lock);
	if (source->released && source->status.phase == MIGRATION_COMMITTING) {
		source->operator_word = there ? OPERATOR_THERE : OPERATOR_HERE;
		rc = 0;
	}
	pthread_mutex_unlock(&source->lock);
	return rc;
}

static void source_free(struct source *source)
{
	struct late_frame *frame;

	while ((frame = STAILQ_FIRST(&source->late)) != NULL) {
		STAILQ_REMOVE_HEAD(&source->late, link);
		free(frame);
	}
	migration_caller_destroy(source->caller);
	migration_tls_credentials_free(source->credentials);
	if (source->cancel_fd >= 0)
		close(source->cancel_fd);
	pthread_mutex_destroy(&source->lock);
	free(source);
}

static void source_destroy(struct migration_source *base)
{
	struct source *source = (struct source *)base;

	if (source->over) {
		pthread_mutex_lock(&source->lock);
		source->destroyed = true;
		if (!source->released) {
			source->cancelled = true;
			source_interrupt(source);
		}
		pthread_mutex_unlock(&source->lock);
		migration_caller_close(source->caller);
		pthread_join(source->thread, NULL);
		over_post_cancel(source->over);
	}
	source_free(source);
}

static const struct migration_source_kind source_kind = {
	.cancel = source_cancel,
	.get_status = source_get_status,
	.get_check = source_get_check,
	.resolve = source_resolve,
	.destroy = source_destroy,
};

/* ---- the mover ---- */

static void source_fail(struct source *source, int rc, struct vm_error *error)
{
	bool cancelled = atomic_load(&source->cancelled);

	if (cancelled || rc == -ECANCELED)
		vm_error_set(error, EXIT_CANCELLED, 0, "the move of %s was cancelled",
			     source->vm_name);
	log_warn("%s stays here: %s", source->vm_name, error->message);
	pthread_mutex_lock(&source->lock);
	source->status.total_ms = source_ms_since(source->started_ns);
	source->status.throttle = 0;
	source->status.error = *error;
	source->status.phase = cancelled ? MIGRATION_CANCELLED : MIGRATION_FAILED;
	pthread_mutex_unlock(&source->lock);
}

static void figures_write(struct source *source)
{
	struct migration_status status;
	int rc;

	source_get_status(&source->base, &status);
	rc = migration_figures_write(source->vm_name, &status,
				     source->check.count ? &source->check : NULL);
	if (rc)
		log_warn("the figures of the move of %s were not kept: %s", source->vm_name,
			 strerror(-rc));
}

static void *source_run(void *ctx)
{
	struct source *source = ctx;
	struct vm_error error = {.code = EXIT_INTERNAL};
	int rc;

	migration_records_prune();
	rc = source_connect(source, &error);
	if (!rc && source->options.check_only) {
		source_disconnect(source);
		migration_lock_release(MIGRATION_SIDE_OUT, source->record.id, source->out_lock,
				       true);
		source_set_phase(source, MIGRATION_CHECKED);
		over_post_send(source->over);
		return NULL;
	}
	rc = rc ? rc : source_copy(source, &error);
	rc = rc ? rc : source_hand_over(source, &error);
	if (rc) {
		source_abort(source);
		source_fail(source, rc, &error);
	} else {
		source_depart(source);
	}
	source_disconnect(source);
	migration_lock_release(MIGRATION_SIDE_OUT, source->record.id, source->out_lock, true);
	if (!source->options.check_only)
		figures_write(source);
	over_post_send(source->over);
	return NULL;
}

static void source_over(void *owner)
{
	struct source *source = owner;
	bool moved = source->moved;

	source->over = NULL;
	pthread_join(source->thread, NULL);
	source->ended(source->ended_ctx, moved);
}

/* ---- start ---- */

static int options_check(struct migration_options *options, struct vm_error *error)
{
	if (!options->port)
		options->port = MIGRATION_PORT;
	if (!options->connections)
		options->connections = 2;
	if (!options->downtime_ms)
		options->downtime_ms = MIGRATION_DOWNTIME_MS;
	if (!options->timeout_seconds)
		options->timeout_seconds = MIGRATION_TIMEOUT_SECONDS;
	options->host[sizeof(options->host) - 1] = '\0';
	if (!*options->host)
		return vm_error_set(error, EXIT_USAGE, -EINVAL, "no destination is given");
	if (options->connections > MIGRATION_MAX_CONNECTIONS)
		return vm_error_set(error, EXIT_USAGE, -EINVAL, "at most %d connections",
				    MIGRATION_MAX_CONNECTIONS);
	if ((unsigned int)options->compression > MIGRATION_COMPRESSION_ZSTD)
		return vm_error_set(error, EXIT_USAGE, -EINVAL, "no such compression");
	return 0;
}

static int64_t unix_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int source_init(struct source *source, const char *vm_name, struct vm_error *error)
{
	int rc;

	snprintf(source->vm_name, sizeof(source->vm_name), "%s", vm_name);
	source->base.kind = &source_kind;
	source->started_ns = monotonic_ns();
	source->status.phase = MIGRATION_CONNECTING;
	source->status.started_unix_ms = unix_ms();
	snprintf(source->status.peer, sizeof(source->status.peer), "%s", source->options.host);
	rc = migration_id_make(source->record.id);
	memcpy(source->status.id, source->record.id, sizeof(source->status.id));
	source->cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (!rc && source->cancel_fd < 0)
		rc = -errno;
	rc = rc ? rc : migration_caller_create(source->loop, &source->caller);
	return rc ? vm_error_set(error, EXIT_INTERNAL, rc, "cannot begin a move: %s", strerror(-rc))
		  : 0;
}

int migration_source_start(struct event_loop *loop, const struct migration_options *options,
			   const char *vm_name, const struct migration_source_vm_ops *ops,
			   void *ctx, migration_ended_fn ended, void *ended_ctx,
			   struct migration_source **source, struct vm_error *error)
{
	struct source *made = calloc(1, sizeof(*made));
	int rc;

	if (!made)
		return vm_error_set(error, EXIT_NO_MEMORY, -ENOMEM, "out of memory");
	made->loop = loop;
	made->options = *options;
	made->ops = ops;
	made->ctx = ctx;
	made->ended = ended;
	made->ended_ctx = ended_ctx;
	made->cancel_fd = -1;
	made->dial_fd = -1;
	made->out_lock = -1;
	pthread_mutex_init(&made->lock, NULL);
	STAILQ_INIT(&made->late);
	rc = options_check(&made->options, error);
	rc = rc ? rc : source_init(made, vm_name, error);
	rc = rc ? rc : migration_tls_credentials_load(NULL, &made->credentials, error);
	if (rc)
		goto err_free;
	rc = over_post_create(loop, source_over, made, &made->over);
	if (!rc) {
		rc = migration_thread_start("mover", source_run, made, &made->thread);
		if (rc) {
			over_post_cancel(made->over);
			made->over = NULL;
		}
	}
	if (rc) {
		vm_error_set(error, EXIT_INTERNAL, rc, "cannot begin a move: %s", strerror(-rc));
		goto err_free;
	}
	*source = &made->base;
	return 0;

err_free:
	source_free(made);
	return rc;
}
