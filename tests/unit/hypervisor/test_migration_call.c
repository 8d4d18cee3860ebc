/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Calls from a thread into the loop: their outcome, their deadline, what was begun and comes late,
 * and the loop that ends while somebody waits.
 */
#include "tests/unit/test_main.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "base/deadline.h"
#include "base/event_loop.h"
#include "hypervisor/migration/call.h"

#define PATIENCE_MS 20000

struct world {
	struct event_loop *loop;
	struct migration_caller *caller;
	pthread_t loop_thread;
	/* what the mover does, and what came of it */
	pthread_t thread;
	migration_call_fn fn;
	migration_call_begin_fn begin;
	uint32_t ms;
	int rc;
	bool begun;
	struct vm_error error;
	_Atomic bool over;
	/* what the loop saw */
	pthread_t called_on;
	unsigned int calls;
	struct migration_call *call;
	unsigned int sleep_us;
};

static void world_make(struct world *w)
{
	*w = (struct world){.ms = PATIENCE_MS};
	assert_int_equal(event_loop_create(&w->loop), 0);
	assert_int_equal(migration_caller_create(w->loop, &w->caller), 0);
	w->loop_thread = pthread_self();
}

static void world_destroy(struct world *w)
{
	migration_caller_destroy(w->caller);
	event_loop_destroy(w->loop);
}

static void *mover_run(void *arg)
{
	struct world *w = arg;
	struct deadline deadline = deadline_in_ms(w->ms);

	w->rc = w->begin ? migration_call_wait(w->caller, w->begin, w, &w->begun, &w->error,
					       deadline)
			 : migration_call(w->caller, w->fn, w, &w->error, deadline);
	atomic_store(&w->over, true);
	return NULL;
}

static void mover_start(struct world *w)
{
	assert_int_equal(pthread_create(&w->thread, NULL, mover_run, w), 0);
}

static void loop_until_over(struct world *w)
{
	struct deadline deadline = deadline_in_ms(PATIENCE_MS);

	while (!atomic_load(&w->over) && !deadline_passed(deadline))
		event_loop_run_once(w->loop, 10);
	assert_true(atomic_load(&w->over));
	pthread_join(w->thread, NULL);
}

static int refuse(void *ctx, struct vm_error *error)
{
	struct world *w = ctx;

	w->calls++;
	w->called_on = pthread_self();
	usleep(w->sleep_us);
	return vm_error_set(error, EXIT_NO_SWITCH, -ENODEV, "no switch");
}

static void result_and_error_come_back_from_the_loops_thread(void **state)
{
	struct world w;

	(void)state;
	world_make(&w);
	w.fn = refuse;
	mover_start(&w);
	loop_until_over(&w);
	assert_int_equal(w.rc, -ENODEV);
	assert_int_equal(w.error.code, EXIT_NO_SWITCH);
	assert_string_equal(w.error.message, "no switch");
	assert_true(pthread_equal(w.called_on, w.loop_thread));
	world_destroy(&w);
}

static void call_that_did_not_begin_in_time_never_does(void **state)
{
	struct world w;

	(void)state;
	world_make(&w);
	w.fn = refuse;
	w.ms = 50;
	mover_start(&w);
	pthread_join(w.thread, NULL); /* the loop does not run */
	assert_int_equal(w.rc, -ETIMEDOUT);
	assert_int_equal(w.error.code, EXIT_TIMEOUT);
	event_loop_run_once(w.loop, 10);
	assert_int_equal(w.calls, 0);
	world_destroy(&w);
}

static void call_that_runs_is_waited_for_past_its_deadline(void **state)
{
	struct world w;

	(void)state;
	world_make(&w);
	w.fn = refuse;
	w.ms = 100;
	w.sleep_us = 300000;
	mover_start(&w);
	loop_until_over(&w);
	assert_int_equal(w.calls, 1);
	assert_int_equal(w.rc, -ENODEV);
	world_destroy(&w);
}

static void close_wakes_who_waits_and_stops_what_is_queued(void **state)
{
	struct world w;

	(void)state;
	world_make(&w);
	w.fn = refuse;
	mover_start(&w);
	usleep(20000);
	migration_caller_close(w.caller);
	pthread_join(w.thread, NULL);
	assert_int_equal(w.rc, -ECANCELED);
	event_loop_run_once(w.loop, 10);
	assert_int_equal(w.calls, 0);
	atomic_store(&w.over, false);
	mover_start(&w); /* and so does every call after it */
	pthread_join(w.thread, NULL);
	assert_int_equal(w.rc, -ECANCELED);
	event_loop_run_once(w.loop, 10);
	assert_int_equal(w.calls, 0);
	world_destroy(&w);
}

static void caller_may_go_before_the_loop_runs_what_was_queued(void **state)
{
	struct world w;

	(void)state;
	world_make(&w);
	w.fn = refuse;
	w.ms = 20;
	mover_start(&w);
	pthread_join(w.thread, NULL);
	migration_caller_destroy(w.caller);
	event_loop_run_once(w.loop, 10);
	assert_int_equal(w.calls, 0);
	event_loop_destroy(w.loop);
}

static void finish_later(void *ctx)
{
	struct world *w = ctx;
	struct vm_error error = {.code = EXIT_NO_KVM, .message = "later"};

	migration_call_done(w->call, -EIO, &error);
}

static int begin(void *ctx, struct migration_call *call, struct vm_error *error)
{
	struct world *w = ctx;

	(void)error;
	w->call = call;
	w->calls++;
	return 0;
}

static int begin_and_finish_later(void *ctx, struct migration_call *call, struct vm_error *error)
{
	struct world *w = ctx;

	begin(ctx, call, error);
	return event_loop_after_ms(w->loop, 30, finish_later, w, NULL);
}

static int begin_and_finish(void *ctx, struct migration_call *call, struct vm_error *error)
{
	begin(ctx, call, error);
	migration_call_done(call, 0, NULL);
	usleep(20000); /* who waits must not return while this still uses ctx */
	((struct world *)ctx)->calls++;
	return 0;
}

static int begin_refused(void *ctx, struct migration_call *call, struct vm_error *error)
{
	(void)call;
	((struct world *)ctx)->calls++;
	return vm_error_set(error, EXIT_STATE, -EBUSY, "busy");
}

static void what_was_begun_is_waited_for(void **state)
{
	struct world w;

	(void)state;
	world_make(&w);
	w.begin = begin_and_finish_later;
	mover_start(&w);
	loop_until_over(&w);
	assert_int_equal(w.rc, -EIO);
	assert_false(w.begun);
	assert_int_equal(w.error.code, EXIT_NO_KVM);
	assert_string_equal(w.error.message, "later");
	world_destroy(&w);
}

static void what_ends_while_it_begins_is_over_when_its_function_has_returned(void **state)
{
	struct world w;

	(void)state;
	world_make(&w);
	w.begin = begin_and_finish;
	mover_start(&w);
	loop_until_over(&w);
	assert_int_equal(w.rc, 0);
	assert_int_equal(w.calls, 2);
	world_destroy(&w);
}

static void what_did_not_begin_is_told(void **state)
{
	struct world w;

	(void)state;
	world_make(&w);
	w.begin = begin_refused;
	mover_start(&w);
	loop_until_over(&w);
	assert_int_equal(w.rc, -EBUSY);
	assert_false(w.begun);
	assert_string_equal(w.error.message, "busy");
	world_destroy(&w);
}

static void what_comes_late_harms_nobody(void **state)
{
	struct world w;

	(void)state;
	world_make(&w);
	w.begin = begin;
	w.ms = 100;
	mover_start(&w);
	loop_until_over(&w);
	assert_int_equal(w.rc, -ETIMEDOUT);
	assert_true(w.begun);
	migration_caller_destroy(w.caller);
	finish_later(&w);
	event_loop_destroy(w.loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(result_and_error_come_back_from_the_loops_thread),
		cmocka_unit_test(call_that_did_not_begin_in_time_never_does),
		cmocka_unit_test(call_that_runs_is_waited_for_past_its_deadline),
		cmocka_unit_test(close_wakes_who_waits_and_stops_what_is_queued),
		cmocka_unit_test(caller_may_go_before_the_loop_runs_what_was_queued),
		cmocka_unit_test(what_was_begun_is_waited_for),
		cmocka_unit_test(what_ends_while_it_begins_is_over_when_its_function_has_returned),
		cmocka_unit_test(what_did_not_begin_is_told),
		cmocka_unit_test(what_comes_late_harms_nobody),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
