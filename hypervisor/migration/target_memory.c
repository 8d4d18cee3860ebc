/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The second part of a target: ACCEPT, the memory connections, memory and state as they arrive, up
 * to the moment when all is there and restored.
 */
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "hypervisor/migration/call.h"
#include "hypervisor/migration/control.h"
#include "hypervisor/migration/decision.h"
#include "hypervisor/migration/definition.h"
#include "hypervisor/migration/socket.h"
#include "hypervisor/migration/target_internal.h"
#include "hypervisor/migration/tls.h"

#define LOOP_MS	     5000
#define SEND_MS	     10000
#define MEMORY_MS    15000 /* for the memory connections to come */
#define MEMORY_TRIES 64
#define IDLE_MS	     120000 /* without a frame on any of them */
#define SLICE_MS     100
#define RESTORE_MS   10000

/* ---- memory connections ---- */

/* Whether both come from the same host: keeps strangers away from the handshake. */
static bool same_peer(int a, int b)
{
	struct sockaddr_storage first = {0}, second = {0};
	socklen_t first_bytes = sizeof(first), second_bytes = sizeof(second);

	if (getpeername(a, (struct sockaddr *)&first, &first_bytes) < 0 ||
	    getpeername(b, (struct sockaddr *)&second, &second_bytes) < 0 ||
	    first.ss_family != second.ss_family)
		return false;
	if (first.ss_family == AF_INET)
		return ((struct sockaddr_in *)&first)->sin_addr.s_addr ==
		       ((struct sockaddr_in *)&second)->sin_addr.s_addr;
	return first.ss_family == AF_INET6 &&
	       memcmp(&((struct sockaddr_in6 *)&first)->sin6_addr,
		      &((struct sockaddr_in6 *)&second)->sin6_addr, sizeof(struct in6_addr)) == 0;
}

/* Takes as long for every token. */
static bool token_is(const uint8_t *a, const uint8_t *b)
{
	unsigned int differ = 0;

	for (size_t i = 0; i < MIGRATION_TOKEN_BYTES; i++)
		differ |= (unsigned int)(a[i] ^ b[i]);
	return differ == 0;
}

/* One connection: whose it is, and which. Returns 0 where it was taken, else it is closed. */
static int memory_join(struct target *target, int fd, const uint8_t *token)
{
	struct deadline deadline = deadline_in_ms(MIGRATION_TLS_HANDSHAKE_MS);
	struct migration_message message = {0};
	struct migration_memory_hello hello = {0};
	struct vm_error error = {0};
	struct migration_tls *tls;
	int rc;

	if (!same_peer(fd, migration_tls_fd(target->tls))) {
		close(fd);
		return -EPERM;
	}
	rc = migration_tls_accept(target->credentials, fd, deadline, &tls, &error);
	if (rc)
		return rc;
	rc = migration_message_receive(migration_tls_channel(tls), &message, sizeof(hello),
				       deadline);
	if (!rc &&
	    (message.type != MIGRATION_FRAME_MEMORY_HELLO || message.length != sizeof(hello)))
		rc = -EPROTO;
	if (!rc)
		memcpy(&hello, message.payload, sizeof(hello));
	migration_message_fini(&message);
	pthread_mutex_lock(&target->lock);
	if (!rc && (!token_is(hello.token, token) || hello.index >= target->hello.connections ||
		    target->memory_tls[hello.index] || target->destroyed))
		rc = -EPERM;
	if (!rc)
		target->memory_tls[hello.index] = tls;
	pthread_mutex_unlock(&target->lock);
	if (rc)
		migration_tls_destroy(tls);
	return rc;
}

static int memory_accept(struct target *target, int listener, const uint8_t *token,
			 struct vm_error *error)
{
	struct deadline deadline = deadline_in_ms(MEMORY_MS);
	uint32_t joined = 0;
	int tries = 0, rc = 0;

	while (!rc && joined < target->hello.connections && tries < MEMORY_TRIES) {
		int fd = migration_accept(listener, target->cancel_fd, deadline_in_ms(SLICE_MS));

		if (fd == -ETIMEDOUT && !deadline_passed(deadline)) {
			rc = migration_control_error(target->control);
			continue;
		}
		if (fd < 0)
			return vm_error_set(error, EXIT_HOST_UNREACHABLE, fd,
					    "the source did not open its memory connections; may "
					    "it reach ports %d to %d?",
					    MIGRATION_PORT_FIRST, MIGRATION_PORT_LAST);
		tries++;
		joined += memory_join(target, fd, token) == 0;
	}
	if (rc)
		return migration_tls_explain(target->tls, rc, "the source", error);
	return joined == target->hello.connections
		       ? 0
		       : vm_error_set(error, EXIT_NOT_TRUSTED, -EPERM,
				      "strangers on the memory connections");
}

static int accept_send(struct target *target, const struct migration_accept *accept,
		       struct vm_error *error)
{
	struct state_writer writer;
	int rc;

	state_writer_init(&writer);
	migration_findings_write(&writer, &target->check);
	migration_accept_write(&writer, accept);
	rc = migration_control_send_state(target->control, MIGRATION_FRAME_ACCEPT, &writer,
					  deadline_in_ms(SEND_MS));
	return rc ? migration_tls_explain(target->tls, rc, "the source", error) : 0;
}

int target_join(struct target *target, struct vm_error *error)
{
	struct migration_accept accept = {0};
	int listener, rc;

	if (getrandom(accept.token, sizeof(accept.token), 0) != (ssize_t)sizeof(accept.token))
		return vm_error_set(error, EXIT_INTERNAL, -errno, "no random numbers");
	listener = migration_listen(migration_tls_fd(target->tls), MIGRATION_PORT_FIRST,
				    MIGRATION_PORT_LAST, &accept.port);
	if (listener < 0)
		return vm_error_set(error, EXIT_INTERNAL, listener,
				    "no port of %d to %d is free on the destination: %s",
				    MIGRATION_PORT_FIRST, MIGRATION_PORT_LAST, strerror(-listener));
	rc = accept_send(target, &accept, error);
	migration_step_hold(MIGRATION_STEP_TARGET_ACCEPTED, &target->destroyed);
	rc = rc ? rc : memory_accept(target, listener, accept.token, error);
	close(listener);
	return rc;
}

/* ---- memory and state ---- */

static int receiver_create(struct target *target)
{
	struct migration_page_receiver *receiver;
	int rc = migration_page_receiver_create(target->ops->get_memory(target->ctx),
						target->hello.connections, &receiver);

	if (rc)
		return rc;
	pthread_mutex_lock(&target->lock);
	target->receiver = receiver;
	if (target->destroyed)
		migration_page_receiver_cancel(receiver);
	pthread_mutex_unlock(&target->lock);
	migration_step_hold(MIGRATION_STEP_TARGET_PAGES, &target->destroyed);
	for (uint32_t i = 0; i < target->hello.connections && !rc; i++)
		rc = migration_page_receiver_add(receiver,
						 migration_tls_channel(target->memory_tls[i]));
	return rc;
}

/* While the first round travels: what makes the commit quick. */
static int decision_prepare(struct target *target, struct vm_error *error)
{
	struct migration_record *record = &target->record;
	int rc;

	record->word = MIGRATION_WORD_COMMITTED;
	record->port = target->hello.receive_port;
	memcpy(record->id, target->hello.id, sizeof(record->id));
	memcpy(record->vm, target->hello.vm, sizeof(record->vm));
	memcpy(record->peer, target->source_address, sizeof(target->source_address));
	snprintf(record->identity, sizeof(record->identity), "%s",
		 *migration_tls_peer_name(target->tls) ? migration_tls_peer_name(target->tls)
						       : "?");
	target->prepared = true;
	rc = migration_decision_prepare(record);
	rc = rc ? rc
		: migration_definition_prepare(record->vm, record->id, target->hello.definition,
					       target->hello.definition_length);
	return rc ? vm_error_set(error, EXIT_INTERNAL, rc,
				 "the destination cannot keep the VM's definition: %s",
				 strerror(-rc))
		  : 0;
}

static int frame_take(struct target *target, struct migration_message *message,
		      struct vm_error *error)
{
	struct migration_round_end last;

	switch (message->type) {
	case MIGRATION_FRAME_LAST_ROUND:
		if (message->length != sizeof(last) || target->last_round != UINT32_MAX)
			break;
		memcpy(&last, message->payload, sizeof(last));
		if (migration_page_receiver_set_last(target->receiver, last.round))
			break;
		target->last_round = last.round;
		return 0;
	case MIGRATION_FRAME_STATE:
		if (target->last_round == UINT32_MAX || target->state.length)
			break;
		migration_message_fini(&target->state);
		target->state = *message;
		*message = (struct migration_message){0};
		return 0;
	case MIGRATION_FRAME_FAIL:
		if (!migration_fail_read(message->payload, message->length, error))
			return -EPERM;
		break;
	default:
		break;
	}
	return migration_tls_explain(target->tls, -EPROTO, "the source", error);
}

/* Why no more memory will come, or 0. A source that sends nothing for so long has gone, whatever
 * TCP says. */
static int memory_error(struct target *target)
{
	int rc = migration_page_receiver_wait_round(target->receiver, UINT32_MAX - 1,
						    deadline_in_ms(0));

	if (rc == -ETIMEDOUT)
		rc = migration_page_receiver_idle_ms(target->receiver) > IDLE_MS ? -ETIMEDOUT : 0;
	return rc;
}

/*
 * A source may copy for hours without a word on this connection, as long as its memory connections
 * live. They may end a moment before STATE comes, which was sent first: so they have to be found
 * dead twice.
 */
static int state_await(struct target *target, struct vm_error *error)
{
	struct migration_message message = {0};
	bool dead = false;
	int rc = 0;

	target->last_round = UINT32_MAX;
	while (!rc && !target->state.length) {
		rc = migration_control_receive(target->control, &message, deadline_in_ms(LOOP_MS));
		if (rc == -ETIMEDOUT) {
			rc = memory_error(target);
			if (rc && dead)
				break;
			dead = rc != 0;
			rc = 0;
			continue;
		}
		if (rc)
			break;
		rc = frame_take(target, &message, error);
		if (rc) {
			migration_message_fini(&message);
			return rc;
		}
	}
	if (rc)
		migration_tls_explain(target->tls, rc, "the source", error);
	migration_message_fini(&message);
	return rc;
}

/* With the state here, a cut control connection changes nothing: the rest comes on others. */
static int memory_await(struct target *target, struct vm_error *error)
{
	struct migration_message message = {0};
	int rc;

	do {
		rc = migration_page_receiver_wait_round(target->receiver, target->last_round,
							deadline_in_ms(SLICE_MS));
		if (rc != -ETIMEDOUT || migration_page_receiver_idle_ms(target->receiver) > IDLE_MS)
			break;
		if (migration_control_receive(target->control, &message, deadline_in_ms(0)) == 0) {
			rc = frame_take(target, &message, error);
			migration_message_fini(&message);
			if (rc)
				return rc;
			rc = -ETIMEDOUT;
		}
	} while (!atomic_load(&target->destroyed));
	return rc ? migration_tls_explain(target->tls, rc, "the source", error) : 0;
}

int target_receive(struct target *target, struct vm_error *error)
{
	int rc = receiver_create(target);

	if (rc)
		return vm_error_set(error, EXIT_NO_MEMORY, rc, "cannot take memory: %s",
				    strerror(-rc));
	pthread_mutex_lock(&target->lock);
	target->status.phase = MIGRATION_COPYING;
	pthread_mutex_unlock(&target->lock);
	rc = decision_prepare(target, error);
	rc = rc ? rc : state_await(target, error);
	if (rc)
		return rc;
	pthread_mutex_lock(&target->lock);
	target->status.phase = MIGRATION_STOPPED;
	pthread_mutex_unlock(&target->lock);
	rc = memory_await(target, error);
	migration_step_hold(MIGRATION_STEP_TARGET_STATE, &target->destroyed);
	return rc;
}

/* ---- restored ---- */

static int restore_begin(void *ctx, struct migration_call *call, struct vm_error *error)
{
	struct target *target = ctx;
	int rc =
		target->ops->restore(target->ctx, &target->state_reader, migration_call_done, call);

	return rc ? vm_error_set(error, EXIT_BAD_STATE, rc, "the state could not be restored: %s",
				 strerror(-rc))
		  : 0;
}

int target_restore(struct target *target, struct vm_error *error)
{
	uint64_t began_ns = monotonic_ns();
	int rc;

	state_reader_init(&target->state_reader, target->state.payload, target->state.length);
	rc = migration_call_wait(target->caller, restore_begin, target, NULL, error,
				 deadline_in_ms(RESTORE_MS));
	pthread_mutex_lock(&target->lock);
	target->status.restore_ms = target_ms_since(began_ns);
	pthread_mutex_unlock(&target->lock);
	if (!rc)
		migration_step_hold(MIGRATION_STEP_TARGET_RESTORED, &target->destroyed);
	return rc;
}
