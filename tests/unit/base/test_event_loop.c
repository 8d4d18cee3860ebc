/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The event loop: order of timers, removal from inside callbacks, posting from another thread.
 */
#include "base/event_loop.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "tests/unit/test_main.h"

struct trace {
	struct event_loop *loop;
	struct event_watch *watch;
	struct event_watch *other;
	struct event_timer *timer;
	char order[16];
	int calls;
};

static int set_up(void **state)
{
	static struct trace trace;
	memset(&trace, 0, sizeof(trace));
	*state = &trace;
	return event_loop_create(&trace.loop);
}

static int tear_down(void **state)
{
	struct trace *trace = *state;
	event_loop_destroy(trace->loop);
	return 0;
}

static void note_a(void *ctx)
{
	strcat(((struct trace *)ctx)->order, "a");
}

static void note_b(void *ctx)
{
	strcat(((struct trace *)ctx)->order, "b");
}

static void note_c_and_stop(void *ctx)
{
	struct trace *trace = ctx;
	strcat(trace->order, "c");
	event_loop_stop(trace->loop);
}

static void timers_fire_in_order_of_time(void **state)
{
	struct trace *trace = *state;
	assert_int_equal(event_loop_after_ms(trace->loop, 30, note_c_and_stop, trace, NULL), 0);
	assert_int_equal(event_loop_after_ms(trace->loop, 20, note_b, trace, NULL), 0);
	assert_int_equal(event_loop_after_ms(trace->loop, 0, note_a, trace, NULL), 0);
	assert_int_equal(event_loop_run(trace->loop), 0);
	assert_string_equal(trace->order, "abc");
}

static void cancelled_timer_does_not_fire(void **state)
{
	struct trace *trace = *state;
	assert_int_equal(event_loop_after_ms(trace->loop, 5, note_a, trace, &trace->timer), 0);
	assert_int_equal(event_loop_after_ms(trace->loop, 20, note_c_and_stop, trace, NULL), 0);
	event_timer_cancel(trace->timer);
	assert_int_equal(event_loop_run(trace->loop), 0);
	assert_string_equal(trace->order, "c");
}

static void remove_both(void *ctx, int fd, uint32_t events)
{
	struct trace *trace = ctx;
	(void)fd;
	(void)events;
	trace->calls++;
	event_watch_remove(trace->watch);
	event_watch_remove(trace->other);
}

static void watch_removed_in_the_same_round_is_not_called(void **state)
{
	struct trace *trace = *state;
	int a = eventfd(1, EFD_CLOEXEC);
	int b = eventfd(1, EFD_CLOEXEC);
	assert_int_equal(
		event_loop_watch(trace->loop, a, EPOLLIN, remove_both, trace, &trace->watch), 0);
	assert_int_equal(
		event_loop_watch(trace->loop, b, EPOLLIN, remove_both, trace, &trace->other), 0);
	assert_int_equal(event_loop_run_once(trace->loop, 100), 0);
	assert_int_equal(trace->calls, 1);
	assert_int_equal(event_loop_run_once(trace->loop, 0), 0);
	assert_int_equal(trace->calls, 1);
	close(a);
	close(b);
}

static void *post_many(void *ctx)
{
	struct trace *trace = ctx;
	event_loop_post(trace->loop, note_a, trace);
	event_loop_post(trace->loop, note_b, trace);
	event_loop_post(trace->loop, note_c_and_stop, trace);
	return NULL;
}

static void posted_work_runs_in_order_of_posting(void **state)
{
	struct trace *trace = *state;
	pthread_t thread;
	assert_int_equal(pthread_create(&thread, NULL, post_many, trace), 0);
	assert_int_equal(event_loop_run(trace->loop), 0);
	pthread_join(thread, NULL);
	assert_string_equal(trace->order, "abc");
}

static void watching_a_closed_fd_fails(void **state)
{
	struct trace *trace = *state;
	assert_int_equal(
		event_loop_watch(trace->loop, 1000, EPOLLIN, remove_both, trace, &trace->watch),
		-EBADF);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(timers_fire_in_order_of_time, set_up, tear_down),
		cmocka_unit_test_setup_teardown(cancelled_timer_does_not_fire, set_up, tear_down),
		cmocka_unit_test_setup_teardown(watch_removed_in_the_same_round_is_not_called,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(posted_work_runs_in_order_of_posting, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(watching_a_closed_fd_fails, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
