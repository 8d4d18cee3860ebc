/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A target over the network, from outside: start, status, an operator's word, end. Its mover thread
 * authenticates the peer, hears what it wants, and runs the parts in order. See docs/migration.md.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/event_loop.h"
#include "base/log.h"
#include "hypervisor/migration/call.h"
#include "hypervisor/migration/control.h"
#include "hypervisor/migration/decision.h"
#include "hypervisor/migration/definition.h"
#include "hypervisor/migration/figures.h"
#include "hypervisor/migration/lock.h"
#include "hypervisor/migration/over.h"
#include "hypervisor/migration/resolve.h"
#include "hypervisor/migration/socket.h"
#include "hypervisor/migration/target_internal.h"
#include "hypervisor/migration/thread.h"
#include "hypervisor/migration/tls.h"

#define LOG_COMPONENT "migration"

#define HELLO_MS 5000
#define FAIL_MS	 500
#define LOOP_MS	 30000

uint32_t target_ms_since(uint64_t start_ns)
{
	uint64_t ms = (monotonic_ns() - start_ns) / NS_PER_MS;

	return ms > UINT32_MAX ? UINT32_MAX : (uint32_t)ms;
}

void target_fail_tell(struct target *target, const struct vm_error *error)
{
	struct state_writer writer;

	if (!target->control)
		return;
	state_writer_init(&writer);
	migration_fail_write(&writer, error);
	(void)migration_control_send_state(target->control, MIGRATION_FRAME_FAIL, &writer,
					   deadline_in_ms(FAIL_MS));
	(void)migration_tls_close(target->tls, deadline_in_ms(FAIL_MS));
}

void target_disconnect(struct target *target)
{
	struct migration_tls *tls, *memory_tls[MIGRATION_MAX_CONNECTIONS];
	struct migration_page_receiver *receiver;

	pthread_mutex_lock(&target->lock);
	tls = target->tls;
	receiver = target->receiver;
	memcpy(memory_tls, target->memory_tls, sizeof(memory_tls));
	target->tls = NULL;
	target->receiver = NULL;
	memset(target->memory_tls, 0, sizeof(target->memory_tls));
	pthread_mutex_unlock(&target->lock);
	for (size_t i = 0; i < MIGRATION_MAX_CONNECTIONS; i++)
		if (memory_tls[i])
			migration_tls_shutdown(memory_tls[i]);
	if (receiver)
		migration_page_receiver_cancel(receiver);
	migration_page_receiver_destroy(receiver);
	for (size_t i = 0; i < MIGRATION_MAX_CONNECTIONS; i++)
		migration_tls_destroy(memory_tls[i]);
	migration_control_destroy(target->control);
	target->control = NULL;
	migration_tls_destroy(tls);
}

static void target_get_status(const struct migration_target *base, struct migration_status *status)
{
	struct target *target = (struct target *)(uintptr_t)base;
	struct migration_page_stats stats;

	pthread_mutex_lock(&target->lock);
	*status = target->status;
	if (status->phase < MIGRATION_DONE && status->phase != MIGRATION_IDLE)
		status->total_ms = target_ms_since(target->started_ns);
	if (target->receiver && status->phase < MIGRATION_DONE) {
		migration_page_receiver_get_stats(target->receiver, &stats);
		status->bytes_sent = stats.bytes_sent;
		status->bytes_zero = stats.bytes_zero;
		status->rate = stats.rate;
	}
	pthread_mutex_unlock(&target->lock);
}

static int target_resolve(struct migration_target *base, bool there)
{
	struct target *target = (struct target *)base;
	int rc = -EBUSY;

	pthread_mutex_lock(&target->lock);
	if (target->waiting) {
		target->word_said = true;
		target->word_there = there;
		rc = 0;
	}
	pthread_mutex_unlock(&target->lock);
	return rc;
}

static void target_free(struct target *target)
{
	migration_message_fini(&target->first);
	migration_message_fini(&target->state);
	migration_caller_destroy(target->caller);
	migration_tls_credentials_free(target->credentials);
	if (target->cancel_fd >= 0)
		close(target->cancel_fd);
	if (target->socket >= 0)
		close(target->socket);
	if (target->handshake_fd >= 0)
		close(target->handshake_fd);
	pthread_mutex_destroy(&target->lock);
	free(target);
}

static void target_destroy(struct migration_target *base)
{
	struct target *target = (struct target *)base;
	const uint64_t one = 1;

	if (target->over) {
		pthread_mutex_lock(&target->lock);
		target->destroyed = true;
		(void)!write(target->cancel_fd, &one, sizeof(one));
		if (target->handshake_fd >= 0)
			shutdown(target->handshake_fd, SHUT_RDWR);
		if (target->receiver)
			migration_page_receiver_cancel(target->receiver);
		for (size_t i = 0; i < MIGRATION_MAX_CONNECTIONS; i++)
			if (target->memory_tls[i])
				migration_tls_shutdown(target->memory_tls[i]);
		if (target->tls)
			migration_tls_shutdown(target->tls);
		pthread_mutex_unlock(&target->lock);
		migration_caller_close(target->caller);
		pthread_join(target->thread, NULL);
		over_post_cancel(target->over);
	}
	target_free(target);
}

static const struct migration_target_kind target_kind = {
	.get_status = target_get_status,
	.resolve = target_resolve,
	.destroy = target_destroy,
};

/* ---- the mover ---- */

static int vm_drop(void *ctx, struct vm_error *error)
{
	struct target *target = ctx;

	(void)error;
	target->ops->drop(target->ctx);
	return 0;
}

/* Nothing is left of the VM; only then may another process answer for this move. */
static void target_drop(struct target *target)
{
	if (target->prepared) {
		migration_decision_discard(&target->record);
		migration_definition_discard(target->hello.vm, target->hello.id);
	}
	if (target->made)
		(void)migration_call(target->caller, vm_drop, target, NULL,
				     deadline_in_ms(LOOP_MS));
}

static int move_in(struct target *target, struct vm_error *error)
{
	int rc = target_greet(target, error);

	if (rc)
		return rc;
	rc = target_join(target, error);
	rc = rc ? rc : target_receive(target, error);
	rc = rc ? rc : target_restore(target, error);
	rc = rc ? rc : target_decide(target, error);
	return rc;
}

static void target_report(struct target *target, const struct vm_error *error)
{
	struct migration_status status;

	if (error)
		log_warn("%s does not come: %s", *target->hello.vm ? target->hello.vm : "the VM",
			 error->message);
	pthread_mutex_lock(&target->lock);
	if (error) {
		target->status.error = *error;
		target->status.phase = MIGRATION_FAILED;
		target->status.total_ms = target_ms_since(target->started_ns);
	}
	status = target->status;
	pthread_mutex_unlock(&target->lock);
	/* It may have been saved, or moved on, while late frames still came. */
	if (!error && migration_figures_written_since(target->hello.vm, target->runs_since))
		return;
	/* What never had the name has no say about the VM of that name. */
	if (target->made && !target->hello.check_only)
		(void)migration_figures_write(target->hello.vm, &status,
					      target->check.count ? &target->check : NULL);
}

static void move_run(struct target *target)
{
	struct vm_error error = {.code = EXIT_INTERNAL};
	int rc = move_in(target, &error);

	if (rc) {
		if (rc < 0)
			target_fail_tell(target, &error);
		target_disconnect(target);		       /* who fills its memory ends first */
		target_report(target, rc < 0 ? &error : NULL); /* while it has the name */
		target_drop(target);
	} else {
		target_settle(target);
		target_disconnect(target);
		target_report(target, NULL);
	}
	if (*target->hello.id) {
		migration_order_remove(target->hello.id);
		migration_lock_release(MIGRATION_SIDE_IN, target->hello.id, target->in_lock, true);
	}
}

/* The peer is who it says, and has said what it wants. */
static int target_open(struct target *target, struct vm_error *error)
{
	struct deadline deadline = deadline_in_ms(MIGRATION_TLS_HANDSHAKE_MS);
	int rc = migration_tls_credentials_load(NULL, &target->credentials, error);
	struct migration_tls *tls;
	int fd = target->socket;

	if (rc)
		return rc;
	rc = migration_socket_prepare(fd);
	if (rc)
		return vm_error_set(error, EXIT_INTERNAL, rc, "not a connection: %s",
				    strerror(-rc));
	target->socket = -1;
	rc = migration_tls_accept(target->credentials, fd, deadline, &tls, error);
	pthread_mutex_lock(&target->lock);
	if (target->handshake_fd >= 0)
		close(target->handshake_fd);
	target->handshake_fd = -1;
	if (!rc)
		target->tls = tls;
	if (!rc && target->destroyed)
		migration_tls_shutdown(tls);
	pthread_mutex_unlock(&target->lock);
	if (rc)
		return rc;
	rc = migration_control_create(tls, MIGRATION_MAX_PAYLOAD_BYTES, &target->control);
	if (rc)
		return vm_error_set(error, EXIT_NO_MEMORY, rc, "cannot read from the source");
	rc = migration_control_receive(target->control, &target->first, deadline_in_ms(HELLO_MS));
	return rc ? migration_tls_explain(tls, rc, "the source", error) : 0;
}

static void *target_run(void *ctx)
{
	struct target *target = ctx;
	struct vm_error error = {.code = EXIT_INTERNAL};
	int rc = target_open(target, &error);

	if (rc) {
		log_warn_limited("a connection came to nothing: %s", error.message);
	} else if (target->first.type == MIGRATION_FRAME_RESOLVE ||
		   target->first.type == MIGRATION_FRAME_ASK ||
		   target->first.type == MIGRATION_FRAME_SETTLED) {
		(void)migration_resolve_answer(migration_tls_channel(target->tls), &target->first,
					       migration_tls_peer_name(target->tls));
		(void)migration_tls_close(target->tls, deadline_in_ms(FAIL_MS));
	} else if (target->first.type == MIGRATION_FRAME_HELLO) {
		move_run(target);
	} else {
		log_warn_limited("%s began with frame %u: ended",
				 migration_tls_peer_name(target->tls), target->first.type);
	}
	target_disconnect(target);
	over_post_send(target->over);
	return NULL;
}

static void target_over(void *owner)
{
	struct target *target = owner;
	bool moved = target->moved;

	target->over = NULL;
	pthread_join(target->thread, NULL);
	target->ended(target->ended_ctx, moved);
}

int migration_target_start(struct event_loop *loop, int socket,
			   const struct migration_target_vm_ops *ops, void *ctx,
			   migration_ended_fn ended, void *ended_ctx,
			   struct migration_target **target, struct vm_error *error)
{
	struct target *made = calloc(1, sizeof(*made));
	int rc;

	if (!made) {
		close(socket);
		return vm_error_set(error, EXIT_NO_MEMORY, -ENOMEM, "out of memory");
	}
	made->base.kind = &target_kind;
	made->loop = loop;
	made->socket = socket;
	made->handshake_fd = fcntl(socket, F_DUPFD_CLOEXEC, 0);
	made->ops = ops;
	made->ctx = ctx;
	made->ended = ended;
	made->ended_ctx = ended_ctx;
	made->in_lock = -1;
	made->started_ns = monotonic_ns();
	made->status.incoming = true;
	pthread_mutex_init(&made->lock, NULL);
	made->cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	rc = made->cancel_fd < 0 ? -errno : migration_caller_create(loop, &made->caller);
	rc = rc ? rc : over_post_create(loop, target_over, made, &made->over);
	if (!rc) {
		rc = migration_thread_start("mover", target_run, made, &made->thread);
		if (rc) {
			over_post_cancel(made->over);
			made->over = NULL;
		}
	}
	if (rc) {
		target_free(made);
		return vm_error_set(error, EXIT_INTERNAL, rc, "cannot serve the connection: %s",
				    strerror(-rc));
	}
	*target = &made->base;
	return 0;
}
