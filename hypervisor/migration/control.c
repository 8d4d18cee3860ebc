/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A reading thread and a bounded queue of frames.
 */
#include "hypervisor/migration/control.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <time.h>

#include "base/state.h"
#include "hypervisor/migration/thread.h"
#include "hypervisor/migration/tls.h"

#define MAX_QUEUED	 128
#define MAX_QUEUED_BYTES ((size_t)MIGRATION_MAX_PAYLOAD_BYTES)

struct queued {
	STAILQ_ENTRY(queued) link;
	struct migration_message message;
};

STAILQ_HEAD(queue, queued);

struct migration_control {
	struct migration_tls *tls;
	struct migration_channel *channel;
	size_t max_length;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct queue queue; /* lock */
	size_t count;	    /* lock */
	size_t bytes;	    /* lock; of their payloads */
	int error;	    /* lock; the reader has ended */
	bool ending;	    /* lock */
};

static void queued_free(struct queued *queued)
{
	migration_message_fini(&queued->message);
	free(queued);
}

/* Under the lock. A peer may send faster than the mover looks, and each frame be long. */
static bool queue_has_room(const struct migration_control *control, size_t bytes)
{
	return control->count == 0 ||
	       (control->count < MAX_QUEUED && bytes <= MAX_QUEUED_BYTES - control->bytes);
}

/* Waits while the queue is full. False where the connection is being ended. */
static bool queue_put(struct migration_control *control, struct queued *queued)
{
	bool ok;

	pthread_mutex_lock(&control->lock);
	while (!queue_has_room(control, queued->message.length) && !control->ending)
		pthread_cond_wait(&control->changed, &control->lock);
	ok = !control->ending;
	if (ok) {
		STAILQ_INSERT_TAIL(&control->queue, queued, link);
		control->count++;
		control->bytes += queued->message.length;
		pthread_cond_broadcast(&control->changed);
	}
	pthread_mutex_unlock(&control->lock);
	return ok;
}

static int frame_read(struct migration_control *control)
{
	struct queued *queued = calloc(1, sizeof(*queued));
	int rc;

	if (!queued)
		return -ENOMEM;
	/* The wait that matters is the mover's; this one ends when the connection does. */
	rc = migration_message_receive(control->channel, &queued->message, control->max_length,
				       deadline_in_ms(UINT32_MAX));
	if (!rc && queued->message.type != MIGRATION_FRAME_STATE &&
	    queued->message.length > MIGRATION_MAX_CONTROL_BYTES)
		rc = -EPROTO;
	if (!rc && !queue_put(control, queued))
		rc = -ECANCELED;
	if (rc)
		queued_free(queued);
	return rc;
}

static void *reader_run(void *ctx)
{
	struct migration_control *control = ctx;
	int rc;

	do {
		rc = frame_read(control);
	} while (!rc);
	pthread_mutex_lock(&control->lock);
	control->error = rc;
	pthread_cond_broadcast(&control->changed);
	pthread_mutex_unlock(&control->lock);
	return NULL;
}

int migration_control_create(struct migration_tls *tls, size_t max_length,
			     struct migration_control **control)
{
	struct migration_control *made = calloc(1, sizeof(*made));
	pthread_condattr_t attributes;
	int rc;

	if (!made)
		return -ENOMEM;
	made->tls = tls;
	made->channel = migration_tls_channel(tls);
	made->max_length = max_length;
	STAILQ_INIT(&made->queue);
	pthread_mutex_init(&made->lock, NULL);
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&made->changed, &attributes);
	pthread_condattr_destroy(&attributes);
	rc = migration_thread_start("move-control", reader_run, made, &made->thread);
	if (rc) {
		pthread_cond_destroy(&made->changed);
		pthread_mutex_destroy(&made->lock);
		free(made);
		return rc;
	}
	*control = made;
	return 0;
}

void migration_control_destroy(struct migration_control *control)
{
	struct queued *queued;

	if (!control)
		return;
	pthread_mutex_lock(&control->lock);
	control->ending = true;
	pthread_cond_broadcast(&control->changed);
	pthread_mutex_unlock(&control->lock);
	migration_tls_shutdown(control->tls);
	pthread_join(control->thread, NULL);
	while ((queued = STAILQ_FIRST(&control->queue)) != NULL) {
		STAILQ_REMOVE_HEAD(&control->queue, link);
		queued_free(queued);
	}
	pthread_cond_destroy(&control->changed);
	pthread_mutex_destroy(&control->lock);
	free(control);
}

int migration_control_receive(struct migration_control *control, struct migration_message *message,
			      struct deadline deadline)
{
	const struct timespec until = {
		.tv_sec = (time_t)(deadline.at_ns / NS_PER_SEC),
		.tv_nsec = (long)(deadline.at_ns % NS_PER_SEC),
	};
	struct queued *queued;
	int rc = 0;

	pthread_mutex_lock(&control->lock);
	while (STAILQ_EMPTY(&control->queue) && !control->error && !rc)
		rc = pthread_cond_timedwait(&control->changed, &control->lock, &until);
	queued = STAILQ_FIRST(&control->queue);
	if (queued) {
		STAILQ_REMOVE_HEAD(&control->queue, link);
		control->count--;
		control->bytes -= queued->message.length;
		pthread_cond_broadcast(&control->changed);
	}
	rc = queued ? 0 : control->error ? control->error : -ETIMEDOUT;
	pthread_mutex_unlock(&control->lock);
	if (queued) {
		migration_message_fini(message);
		*message = queued->message;
		free(queued);
	}
	return rc;
}

int migration_control_error(struct migration_control *control)
{
	int error;

	pthread_mutex_lock(&control->lock);
	error = control->error;
	pthread_mutex_unlock(&control->lock);
	return error;
}

int migration_control_send(struct migration_control *control, uint32_t type, const void *payload,
			   size_t length, struct deadline deadline)
{
	return migration_message_send(control->channel, type, payload, length, deadline);
}

int migration_control_send_state(struct migration_control *control, uint32_t type,
				 struct state_writer *writer, struct deadline deadline)
{
	int rc = state_writer_result(writer);

	rc = rc ? rc
		: migration_control_send(control, type, writer->bytes, writer->length, deadline);
	state_writer_fini(writer);
	return rc;
}
