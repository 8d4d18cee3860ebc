/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Calls from a mover's thread into the loop's thread. A call is counted by who holds it: the thread
 * that waits, the entry in the loop's queue, and what was begun and has not reported back. The last
 * one frees it, so nobody needs to outlive anybody.
 */
#include "hypervisor/migration/call.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "base/event_loop.h"

/* Shared by a caller and all its calls: a call may be queued, or done late, after the caller. */
struct call_gate {
	atomic_uint holders;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool closed; /* under lock, as the calls' state */
};

struct migration_caller {
	struct event_loop *loop;
	struct call_gate *gate;
};

enum call_state {
	CALL_QUEUED,
	CALL_BEGUN, /* its function was called */
	CALL_OVER,
};

struct migration_call {
	struct call_gate *gate;
	atomic_uint holders;
	enum call_state state; /* gate's lock, as all below */
	bool running;	       /* its function is on the loop's stack, and uses ctx */
	bool abandoned;	       /* nobody waits any more */
	migration_call_fn fn;
	migration_call_begin_fn begin;
	void *ctx;
	int result;
	struct vm_error error;
};

static struct call_gate *gate_create(void)
{
	struct call_gate *gate = calloc(1, sizeof(*gate));
	pthread_condattr_t attr;

	if (!gate)
		return NULL;
	atomic_init(&gate->holders, 1);
	pthread_mutex_init(&gate->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&gate->changed, &attr);
	pthread_condattr_destroy(&attr);
	return gate;
}

static void gate_put(struct call_gate *gate)
{
	if (atomic_fetch_sub(&gate->holders, 1) != 1)
		return;
	pthread_cond_destroy(&gate->changed);
	pthread_mutex_destroy(&gate->lock);
	free(gate);
}

static void call_put(struct migration_call *call)
{
	if (atomic_fetch_sub(&call->holders, 1) != 1)
		return;
	gate_put(call->gate);
	free(call);
}

int migration_caller_create(struct event_loop *loop, struct migration_caller **caller)
{
	struct migration_caller *made = calloc(1, sizeof(*made));

	if (!made)
		return -ENOMEM;
	made->loop = loop;
	made->gate = gate_create();
	if (!made->gate) {
		free(made);
		return -ENOMEM;
	}
	*caller = made;
	return 0;
}

void migration_caller_close(struct migration_caller *caller)
{
	pthread_mutex_lock(&caller->gate->lock);
	caller->gate->closed = true;
	pthread_cond_broadcast(&caller->gate->changed);
	pthread_mutex_unlock(&caller->gate->lock);
}

void migration_caller_destroy(struct migration_caller *caller)
{
	if (!caller)
		return;
	migration_caller_close(caller);
	gate_put(caller->gate);
	free(caller);
}

/* Under the gate's lock. */
static void call_finish(struct migration_call *call, int result, const struct vm_error *error)
{
	call->result = result;
	if (error)
		call->error = *error;
	call->state = CALL_OVER;
	pthread_cond_broadcast(&call->gate->changed);
}

/* From the loop's queue. */
static void call_run(void *ctx)
{
	struct migration_call *call = ctx;
	struct call_gate *gate = call->gate;
	struct vm_error error = {0};
	int result;

	pthread_mutex_lock(&gate->lock);
	if (call->abandoned || gate->closed) {
		pthread_mutex_unlock(&gate->lock);
		call_put(call);
		return;
	}
	call->state = CALL_BEGUN;
	call->running = true;
	if (call->begin)
		atomic_fetch_add(&call->holders, 1); /* migration_call_done()'s */
	pthread_mutex_unlock(&gate->lock);

	result = call->begin ? call->begin(call->ctx, call, &error) : call->fn(call->ctx, &error);

	pthread_mutex_lock(&gate->lock);
	if (!call->begin || result < 0) {
		call_finish(call, result, &error);
		if (call->begin)
			atomic_fetch_sub(&call->holders, 1); /* it will not come */
	}
	call->running = false;
	pthread_cond_broadcast(&gate->changed);
	pthread_mutex_unlock(&gate->lock);
	call_put(call);
}

void migration_call_done(void *ctx, int status, const struct vm_error *error)
{
	struct migration_call *call = ctx;

	pthread_mutex_lock(&call->gate->lock);
	call_finish(call, status, error);
	pthread_mutex_unlock(&call->gate->lock);
	call_put(call);
}

/* Under the gate's lock: waits for the call's end, or why not. One whose function runs right now is
 * always waited for: it uses what lies on our stack. */
static int call_await(struct migration_call *call, struct deadline deadline)
{
	struct timespec until = {
		.tv_sec = (time_t)(deadline.at_ns / NS_PER_SEC),
		.tv_nsec = (long)(deadline.at_ns % NS_PER_SEC),
	};
	int rc = 0;

	while (call->running || call->state != CALL_OVER) {
		if (call->running)
			pthread_cond_wait(&call->gate->changed, &call->gate->lock);
		else if (call->gate->closed)
			return -ECANCELED;
		else if (rc == ETIMEDOUT)
			return -ETIMEDOUT;
		else
			rc = pthread_cond_timedwait(&call->gate->changed, &call->gate->lock,
						    &until);
	}
	return 0;
}

static bool gate_is_closed(struct call_gate *gate)
{
	bool closed;

	pthread_mutex_lock(&gate->lock);
	closed = gate->closed;
	pthread_mutex_unlock(&gate->lock);
	return closed;
}

static int call_make(struct migration_caller *caller, migration_call_fn fn,
		     migration_call_begin_fn begin, void *ctx, bool *begun, struct vm_error *error,
		     struct deadline deadline)
{
	struct call_gate *gate = caller->gate;
	struct migration_call *call;
	struct vm_error ignored;
	int rc;

	if (!error)
		error = &ignored;
	if (begun)
		*begun = false;
	if (gate_is_closed(gate)) /* nor does the loop need to see it: it may not turn again */
		return vm_error_set(error, EXIT_CANCELLED, -ECANCELED, "cancelled");
	call = calloc(1, sizeof(*call));
	if (!call)
		return vm_error_set(error, EXIT_INTERNAL, -ENOMEM, "out of memory");
	atomic_fetch_add(&gate->holders, 1);
	call->gate = gate;
	atomic_init(&call->holders, 2); /* ours, the queue's */
	call->fn = fn;
	call->begin = begin;
	call->ctx = ctx;
	rc = event_loop_post(caller->loop, call_run, call);
	if (rc < 0) {
		atomic_store(&call->holders, 1); /* the queue has none */
		call_put(call);
		return vm_error_set(error, EXIT_INTERNAL, rc, "out of memory");
	}
	pthread_mutex_lock(&gate->lock);
	rc = call_await(call, deadline);
	if (begun)
		*begun = call->state == CALL_BEGUN;
	if (rc == 0) {
		rc = call->result;
		*error = call->error;
	} else {
		call->abandoned = true;
		vm_error_set(error, rc == -ETIMEDOUT ? EXIT_TIMEOUT : EXIT_CANCELLED, rc,
			     rc == -ETIMEDOUT ? "the VM's process did not answer in time"
					      : "cancelled");
	}
	pthread_mutex_unlock(&gate->lock);
	call_put(call);
	return rc;
}

int migration_call(struct migration_caller *caller, migration_call_fn fn, void *ctx,
		   struct vm_error *error, struct deadline deadline)
{
	return call_make(caller, fn, NULL, ctx, NULL, error, deadline);
}

int migration_call_wait(struct migration_caller *caller, migration_call_begin_fn fn, void *ctx,
			bool *begun, struct vm_error *error, struct deadline deadline)
{
	return call_make(caller, NULL, fn, ctx, begun, error, deadline);
}
