/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The first part of a source: connection, HELLO and its answer, and the rounds over the memory of
 * the running VM, up to the moment when what is left fits into the downtime.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "hypervisor/migration/call.h"
#include "hypervisor/migration/check.h"
#include "hypervisor/migration/control.h"
#include "hypervisor/migration/definition.h"
#include "hypervisor/migration/lock.h"
#include "hypervisor/migration/pace.h"
#include "hypervisor/migration/socket.h"
#include "hypervisor/migration/source_internal.h"
#include "hypervisor/migration/tls.h"

#define LOG_COMPONENT "migration"

#define CONNECT_MS	 10000
#define SEND_MS		 10000
#define LOOP_MS		 5000
#define ACCEPT_MS	 60000 /* makes the VM: huge pages, netvspd, portals */
#define FLUSH_LOOK_US	 20000
#define LONG_ROUND_BYTES (8u << 20) /* whose rate means something */

/* So that a handshake with who does not answer can be ended. */
static void dial_fd_set(struct source *source, int fd)
{
	pthread_mutex_lock(&source->lock);
	if (source->dial_fd >= 0)
		close(source->dial_fd);
	source->dial_fd = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (source->cancelled && source->dial_fd >= 0)
		shutdown(source->dial_fd, SHUT_RDWR);
	pthread_mutex_unlock(&source->lock);
}

static int tls_dial(struct source *source, uint16_t port, struct migration_tls **slot,
		    struct vm_error *error)
{
	struct deadline deadline = deadline_in_ms(CONNECT_MS);
	struct migration_tls *tls;
	int rc, fd = migration_dial(source->options.host, port, source->cancel_fd, deadline, error);

	if (fd < 0)
		return fd;
	dial_fd_set(source, fd);
	rc = migration_tls_connect(source->credentials, fd, source->options.host, deadline, &tls,
				   error);
	dial_fd_set(source, -1);
	if (rc)
		return rc;
	pthread_mutex_lock(&source->lock);
	*slot = tls;
	if (source->cancelled)
		migration_tls_shutdown(tls);
	pthread_mutex_unlock(&source->lock);
	return 0;
}

/* ---- HELLO ---- */

struct hello_call {
	struct source *source;
	struct state_writer *writer;
};

static int portals_write(struct source *source, struct state_writer *writer)
{
	int rc;

	if (!source->ops->save_portals)
		return 0;
	state_begin(writer, MIGRATION_TAG_PORTALS, 1, STATE_SKIPPABLE);
	rc = source->ops->save_portals(source->ctx, writer);
	state_end(writer);
	return rc;
}

static int disks_write(struct source *source, struct state_writer *writer)
{
	int rc;

	if (!source->ops->save_disks)
		return 0;
	state_begin(writer, MIGRATION_TAG_DISKS, 1, STATE_SKIPPABLE);
	rc = source->ops->save_disks(source->ctx, writer);
	state_end(writer);
	return rc;
}

/* On the loop. */
static int hello_make(void *ctx, struct vm_error *error)
{
	struct hello_call *call = ctx;
	struct source *source = call->source;
	struct guest_memory *memory = source->ops->get_memory(source->ctx);
	struct migration_hello hello = {
		.receive_port = source->options.port, /* both hosts of a pair use one */
		.connections = source->options.connections,
		.check_only = source->options.check_only,
		.region_count = (uint32_t)guest_memory_region_count(memory),
	};
	int rc;

	memcpy(hello.id, source->record.id, sizeof(hello.id));
	memcpy(hello.vm, source->vm_name, sizeof(hello.vm));
	for (uint32_t i = 0; i < hello.region_count; i++) {
		const struct guest_memory_region *region = guest_memory_region_at(memory, i);

		hello.regions[i].gpa = region->gpa;
		hello.regions[i].size_bytes = region->size_bytes;
		hello.memory_bytes += region->size_bytes;
	}
	hello.definition = source->ops->get_definition(source->ctx, &hello.definition_length);
	if (!hello.definition)
		return vm_error_set(error, EXIT_CONFIG, -ENOENT,
				    "the definition of %s cannot be read", source->vm_name);
	source->record.stored = migration_definition_is_stored(source->vm_name, hello.definition,
							       hello.definition_length);
	/* It would stay here after the move, and start the VM a second time. */
	if (!source->record.stored && migration_definition_exists(source->vm_name))
		return vm_error_set(
			error, EXIT_CANNOT_MOVE, -EEXIST,
			"the definition of %s was changed since the VM started: restart the "
			"VM with it, or put back what it was, then move",
			source->vm_name);
	pthread_mutex_lock(&source->lock);
	source->status.memory_bytes = hello.memory_bytes;
	source->status.bytes_left = hello.memory_bytes;
	pthread_mutex_unlock(&source->lock);
	migration_hello_write(call->writer, &hello);
	state_begin(call->writer, MIGRATION_TAG_CPU, 1, STATE_SKIPPABLE);
	rc = source->ops->save_cpu(source->ctx, call->writer);
	state_end(call->writer);
	rc = rc ? rc : portals_write(source, call->writer);
	rc = rc ? rc : disks_write(source, call->writer);
	rc = rc ? rc : state_writer_result(call->writer);
	return rc ? vm_error_set(error, EXIT_INTERNAL, rc, "cannot describe %s: %s",
				 source->vm_name, strerror(-rc))
		  : 0;
}

static int hello_send(struct source *source, struct vm_error *error)
{
	struct state_writer writer;
	struct hello_call call = {.source = source, .writer = &writer};
	int rc;

	state_writer_init(&writer);
	rc = migration_call(source->caller, hello_make, &call, error, deadline_in_ms(LOOP_MS));
	if (rc) {
		state_writer_fini(&writer);
		return rc;
	}
	rc = migration_control_send_state(source->control, MIGRATION_FRAME_HELLO, &writer,
					  deadline_in_ms(SEND_MS));
	return rc ? source_explain(source, rc, error) : 0;
}

/* ---- the answer ---- */

/* Refused, or a check's report. */
static int answer_refused(struct source *source, struct vm_error *error)
{
	const struct migration_finding *stopper = migration_check_stopper(&source->check);

	if (source->options.check_only)
		return 0;
	return vm_error_set(error, EXIT_CANNOT_MOVE, -EPERM, "%s",
			    stopper ? stopper->text
				    : "the destination refused, and did not say why");
}

static int answer_take(struct source *source, const struct migration_message *message,
		       struct migration_accept *accept, struct vm_error *error)
{
	bool accepted = message->type == MIGRATION_FRAME_ACCEPT;
	struct migration_check check;
	int rc;

	if (message->type == MIGRATION_FRAME_FAIL &&
	    !migration_fail_read(message->payload, message->length, error))
		return -EPERM;
	if (!accepted && message->type != MIGRATION_FRAME_REFUSE)
		rc = -EPROTO;
	else
		rc = migration_answer_read(message->payload, message->length, &check,
					   accepted ? accept : NULL);
	if (!rc && accepted && source->options.check_only)
		rc = -EPROTO;
	if (rc)
		return migration_tls_explain(source->tls, rc, "the destination", error);
	pthread_mutex_lock(&source->lock);
	source->check = check;
	source->checked = true;
	pthread_mutex_unlock(&source->lock);
	return accepted ? 0 : answer_refused(source, error);
}

static int memory_connect(struct source *source, const struct migration_accept *accept,
			  struct vm_error *error)
{
	struct migration_memory_hello hello = {0};
	int rc = 0;

	memcpy(hello.token, accept->token, sizeof(hello.token));
	for (uint32_t i = 0; i < source->options.connections && !rc; i++) {
		hello.index = i; /* little-endian, as every host that has KVM for x86 */
		rc = tls_dial(source, accept->port, &source->memory_tls[i], error);
		if (rc)
			return rc;
		rc = migration_message_send(migration_tls_channel(source->memory_tls[i]),
					    MIGRATION_FRAME_MEMORY_HELLO, &hello, sizeof(hello),
					    deadline_in_ms(SEND_MS));
	}
	return rc ? source_explain(source, rc, error) : 0;
}

int source_connect(struct source *source, struct vm_error *error)
{
	struct migration_message message = {0};
	struct migration_accept accept = {0};
	int rc;

	source->out_lock = migration_lock_take(MIGRATION_SIDE_OUT, source->record.id);
	if (source->out_lock < 0)
		return vm_error_set(error, EXIT_INTERNAL, source->out_lock,
				    "cannot lock the move's record: %s",
				    strerror(-source->out_lock));
	migration_step_hold(MIGRATION_STEP_SOURCE_CONNECT, &source->cancelled);
	rc = tls_dial(source, source->options.port, &source->tls, error);
	if (rc)
		return rc;
	rc = migration_control_create(source->tls, MIGRATION_MAX_CONTROL_BYTES, &source->control);
	if (rc)
		return vm_error_set(error, EXIT_NO_MEMORY, rc, "cannot read from the destination");
	rc = hello_send(source, error);
	if (rc)
		return rc;
	migration_step_hold(MIGRATION_STEP_SOURCE_HELLO, &source->cancelled);
	rc = migration_control_receive(source->control, &message, deadline_in_ms(ACCEPT_MS));
	if (rc)
		rc = migration_tls_explain(source->tls, rc, "the destination", error);
	else
		rc = answer_take(source, &message, &accept, error);
	migration_message_fini(&message);
	if (!rc && !source->options.check_only)
		rc = memory_connect(source, &accept, error);
	return rc;
}

/* ---- rounds ---- */

/* What one round measured. */
struct round {
	uint64_t started_ns;
	uint64_t fetched_ns; /* the dirty log before */
	struct migration_page_stats before;
	struct migration_page_stats after;
	uint64_t dirty_bytes;
	uint64_t dirty_ns;
};

static uint64_t per_second(uint64_t bytes, uint64_t ns)
{
	return ns < NS_PER_MS ? bytes * 1000 : (uint64_t)((double)bytes * 1e9 / (double)ns);
}

static int round_send(struct source *source, struct round *round, struct deadline deadline,
		      struct vm_error *error)
{
	uint64_t fetched_ns;
	int rc;

	round->started_ns = monotonic_ns();
	migration_page_sender_get_stats(source->sender, &round->before);
	rc = migration_page_sender_round(source->sender, deadline);
	if (rc)
		return source_explain(source, rc, error);
	source->rounds++;
	migration_page_sender_get_stats(source->sender, &round->after);
	round->after.rate_memory = per_second(round->after.bytes_data - round->before.bytes_data,
					      monotonic_ns() - round->started_ns);
	fetched_ns = monotonic_ns();
	rc = migration_page_sender_add_dirty(source->sender, source->ops->dirty_fetch, source->ctx,
					     &round->dirty_bytes);
	if (rc)
		return vm_error_set(error, EXIT_INTERNAL, rc,
				    "cannot read the log of written "
				    "memory: %s",
				    strerror(-rc));
	round->dirty_ns = fetched_ns - round->fetched_ns;
	round->fetched_ns = fetched_ns;
	return 0;
}

/* The rate of memory that the wire takes: of the last round that was long enough to tell. */
static uint64_t round_rate(struct source *source, const struct round *round)
{
	uint64_t rate = round->after.rate_memory;

	if (round->after.bytes_data - round->before.bytes_data >= LONG_ROUND_BYTES)
		source->memory_rate = rate;
	return rate > source->memory_rate ? rate : source->memory_rate;
}

static void round_report(struct source *source, const struct round *round,
			 const struct migration_pace *pace, uint64_t left, uint64_t rate)
{
	pthread_mutex_lock(&source->lock);
	source->status.rounds = source->rounds;
	source->status.bytes_left = left;
	source->status.dirty_rate = per_second(round->dirty_bytes, round->dirty_ns);
	source->status.throttle = pace->throttle;
	source->status.downtime_estimate_ms = migration_pace_estimate_ms(pace, left, rate);
	pthread_mutex_unlock(&source->lock);
	log_info("%s: round %u: %" PRIu64 " KiB sent, %" PRIu64 " KiB left, %" PRIu64
		 " KiB/s dirtied, %" PRIu64 " KiB/s sent, throttle %u %%",
		 source->vm_name, source->rounds,
		 (round->after.bytes_sent - round->before.bytes_sent) >> 10, left >> 10,
		 source->status.dirty_rate >> 10, rate >> 10, pace->throttle);
}

/* Returns 1 where the VM may be stopped now. */
static int round_run(struct source *source, struct round *round, struct migration_pace *pace,
		     struct deadline late, struct vm_error *error)
{
	bool force = source->options.late == MIGRATION_LATE_FORCE;
	enum migration_pace_verdict verdict;
	struct migration_page_stats stats;
	uint64_t rate;
	int rc = round_send(source, round, force ? deadline_in_ms(UINT32_MAX) : late, error);

	if (rc == -ETIMEDOUT || (!rc && !force && deadline_passed(late)))
		return vm_error_set(error, EXIT_CANNOT_MOVE, -ETIMEDOUT,
				    "%s dirties its memory too fast to be moved within %u s; give "
				    "it more time, or --late force",
				    source->vm_name, source->options.timeout_seconds);
	if (rc)
		return rc;
	migration_page_sender_get_stats(source->sender, &stats);
	rate = round_rate(source, round);
	verdict = migration_pace_round(pace, stats.bytes_pending, rate);
	round_report(source, round, pace, stats.bytes_pending, rate);
	if (verdict == MIGRATION_PACE_THROTTLE)
		source->ops->throttle(source->ctx, pace->throttle);
	return verdict == MIGRATION_PACE_STOP || (force && deadline_passed(late));
}

static int sender_create(struct source *source)
{
	const struct migration_page_sender_options options = {
		.compression = source->options.compression,
		.bandwidth = source->options.bandwidth,
	};
	struct migration_channel *channels[MIGRATION_MAX_CONNECTIONS];
	struct migration_page_sender *sender;
	int rc;

	for (uint32_t i = 0; i < source->options.connections; i++)
		channels[i] = migration_tls_channel(source->memory_tls[i]);
	rc = migration_page_sender_create(source->ops->get_memory(source->ctx), channels,
					  source->options.connections, &options, &sender);
	if (rc)
		return rc;
	pthread_mutex_lock(&source->lock);
	source->sender = sender;
	if (source->cancelled)
		migration_page_sender_cancel(sender);
	pthread_mutex_unlock(&source->lock);
	return 0;
}

/* ---- disks ---- */

struct flush_call {
	struct source *source;
	bool begin;
};

/* On the loop. */
static int vm_flush(void *ctx, struct vm_error *error)
{
	const struct flush_call *call = ctx;

	(void)error;
	return call->source->ops->flush(call->source->ctx, call->begin);
}

/*
 * While the guest runs: what a page cache or a VHD has gathered would else be written in the stop.
 * A disk that cannot be flushed is the stop's to tell of. Returns 0: a round follows, since memory
 * was written meanwhile; 1: there was nothing to wait for.
 */
static int disks_flush(struct source *source, struct deadline late, struct vm_error *error)
{
	struct flush_call call = {.source = source, .begin = true};
	int rc;

	if (!source->ops->flush || deadline_passed(late))
		return 1;
	rc = migration_call(source->caller, vm_flush, &call, error, deadline_in_ms(LOOP_MS));
	if (rc != -EINPROGRESS)
		return 1;
	call.begin = false;
	while (rc == -EINPROGRESS && !atomic_load(&source->cancelled)) {
		if (deadline_passed(late))
			return vm_error_set(error, EXIT_CANNOT_MOVE, -ETIMEDOUT,
					    "a disk of %s has not taken in time what the guest "
					    "wrote: its storage is slow, or does not answer",
					    source->vm_name);
		usleep(FLUSH_LOOK_US);
		rc = migration_call(source->caller, vm_flush, &call, error,
				    deadline_in_ms(LOOP_MS));
	}
	return atomic_load(&source->cancelled) ? -ECANCELED : 0;
}

int source_copy(struct source *source, struct vm_error *error)
{
	uint64_t timeout_ms = (uint64_t)source->options.timeout_seconds * 1000;
	struct deadline late =
		deadline_in_ms(timeout_ms > UINT32_MAX ? UINT32_MAX : (uint32_t)timeout_ms);
	struct migration_pace pace;
	struct round round = {0};
	bool flushed = false;
	int rc;

	migration_step_hold(MIGRATION_STEP_SOURCE_ACCEPTED, &source->cancelled);
	rc = source->ops->dirty_start(source->ctx);
	source->logging = rc == 0;
	rc = rc ? rc : sender_create(source);
	rc = rc ? rc : migration_page_sender_add_all(source->sender);
	if (rc)
		return vm_error_set(error, EXIT_INTERNAL, rc, "cannot begin to copy memory: %s",
				    strerror(-rc));
	source_set_phase(source, MIGRATION_COPYING);
	migration_step_hold(MIGRATION_STEP_SOURCE_COPYING, &source->cancelled);
	migration_pace_init(&pace, source->options.downtime_ms, source->options.no_throttle);
	round.fetched_ns = monotonic_ns();
	do {
		rc = round_run(source, &round, &pace, late, error);
		if (source->rounds == 1)
			migration_step_hold(MIGRATION_STEP_SOURCE_ROUND, &source->cancelled);
		if (rc == 1 && !flushed) {
			flushed = true;
			rc = disks_flush(source, late, error);
		}
	} while (rc == 0);
	return rc < 0 ? rc : 0;
}
