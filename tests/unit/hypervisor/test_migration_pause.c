/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Stopping a VM with a deadline: whenever the VM comes to rest, either the mover has it or it runs
 * on; never does it stay stopped with nobody to wake it.
 */
#include "tests/unit/test_main.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "base/deadline.h"
#include "base/event_loop.h"
#include "base/state.h"
#include "hypervisor/migration/call.h"
#include "hypervisor/migration/pause.h"
#include "hypervisor/migration/vm.h"

#define PATIENCE_MS 20000

struct vm {
	struct event_loop *loop;
	struct migration_caller *caller;
	pthread_t thread;
	uint32_t deadline_ms, rest_after_ms;
	int status; /* of the pause, when it is done */
	bool half_written;
	unsigned int rests, resumes;
	migration_done_fn done;
	void *done_ctx;
	struct migration_pause *pause;
	struct vm_error error;
	int rc;
	_Atomic bool over;
};

static void rest(void *ctx)
{
	struct vm *vm = ctx;
	const struct vm_error error = {.code = EXIT_STATE, .message = "not now"};

	vm->rests += vm->status == 0;
	vm->done(vm->done_ctx, vm->status, vm->status ? &error : NULL);
}

static int pause_and_save(void *ctx, struct state_writer *writer, migration_done_fn done,
			  void *done_ctx)
{
	struct vm *vm = ctx;

	vm->done = done;
	vm->done_ctx = done_ctx;
	state_begin(writer, STATE_TAG('T', 'E', 'S', 'T'), 1, 1);
	state_put_u32(writer, 7);
	if (!vm->half_written)
		state_end(writer);
	return event_loop_after_ms(vm->loop, vm->rest_after_ms, rest, vm, NULL);
}

static void resume(void *ctx)
{
	((struct vm *)ctx)->resumes++;
}

static const struct migration_source_vm_ops ops = {
	.pause_and_save = pause_and_save,
	.resume = resume,
};

static void *mover_run(void *arg)
{
	struct vm *vm = arg;

	vm->rc = migration_pause(vm->caller, &ops, vm, deadline_in_ms(vm->deadline_ms), &vm->pause,
				 &vm->error);
	atomic_store(&vm->over, true);
	return NULL;
}

/* Runs it to its end, and the loop for a while more. */
static void vm_pause(struct vm *vm, uint32_t more_ms)
{
	struct deadline deadline = deadline_in_ms(PATIENCE_MS);

	assert_int_equal(event_loop_create(&vm->loop), 0);
	assert_int_equal(migration_caller_create(vm->loop, &vm->caller), 0);
	assert_int_equal(pthread_create(&vm->thread, NULL, mover_run, vm), 0);
	while (!atomic_load(&vm->over) && !deadline_passed(deadline))
		event_loop_run_once(vm->loop, 10);
	assert_true(atomic_load(&vm->over));
	pthread_join(vm->thread, NULL);
	deadline = deadline_in_ms(more_ms);
	while (!deadline_passed(deadline))
		event_loop_run_once(vm->loop, 10);
	migration_caller_destroy(vm->caller);
	event_loop_destroy(vm->loop);
}

static void vm_at_rest_is_the_movers_with_its_state(void **state)
{
	struct vm vm = {.deadline_ms = PATIENCE_MS, .rest_after_ms = 20};
	const uint8_t *bytes;
	size_t length;

	(void)state;
	vm_pause(&vm, 0);
	assert_int_equal(vm.rc, 0);
	bytes = migration_pause_state(vm.pause, &length);
	assert_int_equal(length, STATE_HEADER_BYTES + 4);
	assert_memory_equal(bytes, "TEST", 4);
	assert_int_equal(vm.resumes, 0);
	migration_pause_free(vm.pause);
}

static void vm_that_refuses_runs_on(void **state)
{
	struct vm vm = {.deadline_ms = PATIENCE_MS, .rest_after_ms = 20, .status = -EBUSY};

	(void)state;
	vm_pause(&vm, 0);
	assert_int_equal(vm.rc, -EBUSY);
	assert_string_equal(vm.error.message, "not now");
	assert_int_equal(vm.resumes, 0);
}

static void vm_that_comes_to_rest_too_late_is_woken(void **state)
{
	struct vm vm = {.deadline_ms = 50, .rest_after_ms = 250};

	(void)state;
	vm_pause(&vm, 400);
	assert_int_equal(vm.rc, -ETIMEDOUT);
	assert_int_equal(vm.rests, 1);
	assert_int_equal(vm.resumes, 1);
}

static void vm_that_refuses_too_late_is_left_alone(void **state)
{
	struct vm vm = {.deadline_ms = 50, .rest_after_ms = 250, .status = -EBUSY};

	(void)state;
	vm_pause(&vm, 400);
	assert_int_equal(vm.rc, -ETIMEDOUT);
	assert_int_equal(vm.resumes, 0);
}

static void vm_whose_state_is_not_whole_is_woken(void **state)
{
	struct vm vm = {.deadline_ms = PATIENCE_MS, .rest_after_ms = 20, .half_written = true};

	(void)state;
	vm_pause(&vm, 0);
	assert_int_equal(vm.rc, -EINVAL);
	assert_int_equal(vm.rests, 1);
	assert_int_equal(vm.resumes, 1);
}

/* The VM comes to its end while it is being stopped: the move is taken down, and what it was given
 * goes when the VM says that it will not come to rest. LeakSanitizer looks whether it does. */
static void vm_that_ends_meanwhile_leaves_nothing_behind(void **state)
{
	struct vm vm = {.deadline_ms = PATIENCE_MS, .rest_after_ms = 60000, .status = -ECANCELED};
	struct deadline deadline = deadline_in_ms(PATIENCE_MS);

	(void)state;
	assert_int_equal(event_loop_create(&vm.loop), 0);
	assert_int_equal(migration_caller_create(vm.loop, &vm.caller), 0);
	assert_int_equal(pthread_create(&vm.thread, NULL, mover_run, &vm), 0);
	while (!vm.done && !deadline_passed(deadline))
		event_loop_run_once(vm.loop, 10);
	assert_non_null(vm.done);
	migration_caller_close(vm.caller);
	pthread_join(vm.thread, NULL);
	assert_int_equal(vm.rc, -ECANCELED);
	assert_null(vm.pause);
	migration_caller_destroy(vm.caller);
	rest(&vm);
	assert_int_equal(vm.resumes, 0);
	event_loop_destroy(vm.loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(vm_at_rest_is_the_movers_with_its_state),
		cmocka_unit_test(vm_that_refuses_runs_on),
		cmocka_unit_test(vm_that_comes_to_rest_too_late_is_woken),
		cmocka_unit_test(vm_that_refuses_too_late_is_left_alone),
		cmocka_unit_test(vm_whose_state_is_not_whole_is_woken),
		cmocka_unit_test(vm_that_ends_meanwhile_leaves_nothing_behind),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
