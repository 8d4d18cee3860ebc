/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A call from a mover's thread into the event loop's thread, waited for with a deadline: how the
 * migration protocol, which may wait, reaches the VM, which lives on the loop (the [loop] ops of
 * vm.h).
 *
 * Whoever waits is woken by migration_caller_close(), so that the loop's thread may end a mover at
 * any time: close, join the thread, destroy.
 */
#ifndef LUNAR_HYPERVISOR_MIGRATION_CALL_H
#define LUNAR_HYPERVISOR_MIGRATION_CALL_H

#include <stdbool.h>

#include "base/deadline.h"
#include "hypervisor/vm_error.h"

struct event_loop;
struct migration_call;
struct migration_caller;

/* Returns 0, or -ENOMEM. */
int migration_caller_create(struct event_loop *loop, struct migration_caller **caller);
/* Any thread: nothing more is called; who waits returns -ECANCELED now. A function that is running
 * on the loop at this moment ends first (where another thread closes). May be repeated. */
void migration_caller_close(struct migration_caller *caller);
/* Takes NULL. Closes where needed. No thread is in a call any more. */
void migration_caller_destroy(struct migration_caller *caller);

/* On the loop's thread. error: the caller's, zeroed. */
typedef int (*migration_call_fn)(void *ctx, struct vm_error *error);

/*
 * Runs fn(ctx, error) on the loop's thread and returns what it returned. -ETIMEDOUT (with *error):
 * it had not begun by the deadline, and never will; one that has begun is waited for, since it uses
 * ctx. -ECANCELED: closed; the same holds. error may be NULL.
 */
int migration_call(struct migration_caller *caller, migration_call_fn fn, void *ctx,
		   struct vm_error *error, struct deadline deadline);

/*
 * On the loop's thread: begins something. Returns 0 where migration_call_done(call, ...) follows,
 * exactly once, from the loop (now, later, or after everybody has stopped waiting); -errno where it
 * does not.
 */
typedef int (*migration_call_begin_fn)(void *ctx, struct migration_call *call,
				       struct vm_error *error);

/* As migration_call(), and waits for migration_call_done(): returns its status, with its error.
 * -ETIMEDOUT or -ECANCELED with *begun: what was begun goes on and may still use what it was given;
 * its outcome is lost. begun may be NULL. */
int migration_call_wait(struct migration_caller *caller, migration_call_begin_fn fn, void *ctx,
			bool *begun, struct vm_error *error, struct deadline deadline);

/* A migration_done_fn: give it as done, with the call as its ctx. */
void migration_call_done(void *call, int status, const struct vm_error *error);

#endif
