/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The event loop. Watches that a callback removes are only marked, and freed when the round is
 * over, since epoll may have reported them in the same round. Timers are a list sorted by time: a
 * program has a handful of them.
 */
#include "base/event_loop.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/queue.h>
#include <unistd.h>

#include "base/deadline.h"

#define EVENTS_A_ROUND 32

struct event_watch {
	LIST_ENTRY(event_watch) link;
	struct event_loop *loop;
	event_fd_fn fn;
	void *ctx;
	int fd;
	bool removed;
};

struct event_timer {
	TAILQ_ENTRY(event_timer) link;
	struct event_loop *loop;
	event_timer_fn fn;
	void *ctx;
	struct deadline deadline;
};

struct posted {
	STAILQ_ENTRY(posted) link;
	event_post_fn fn;
	void *ctx;
};

STAILQ_HEAD(posted_list, posted);

struct event_loop {
	int epoll_fd;
	int wake_fd; /* eventfd: work was posted, or the loop shall stop */
	_Atomic bool stopping;
	LIST_HEAD(, event_watch) watches;
	LIST_HEAD(, event_watch) removed;
	TAILQ_HEAD(, event_timer) timers;
	pthread_mutex_t posted_lock; /* guards posted */
	struct posted_list posted;
};

int event_loop_create(struct event_loop **out)
{
	int ret;
	struct event_loop *loop = calloc(1, sizeof(*loop));
	if (loop == NULL)
		return -ENOMEM;
	LIST_INIT(&loop->watches);
	LIST_INIT(&loop->removed);
	TAILQ_INIT(&loop->timers);
	STAILQ_INIT(&loop->posted);
	pthread_mutex_init(&loop->posted_lock, NULL);

	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (loop->epoll_fd < 0) {
		ret = -errno;
		goto err_free;
	}
	loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (loop->wake_fd < 0) {
		ret = -errno;
		goto err_close_epoll;
	}
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
	if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, loop->wake_fd, &event) < 0) {
		ret = -errno;
		goto err_close_wake;
	}
	*out = loop;
	return 0;

err_close_wake:
	close(loop->wake_fd);
err_close_epoll:
	close(loop->epoll_fd);
err_free:
	pthread_mutex_destroy(&loop->posted_lock);
	free(loop);
	return ret;
}

static void free_removed(struct event_loop *loop)
{
	struct event_watch *watch;
	while ((watch = LIST_FIRST(&loop->removed)) != NULL) {
		LIST_REMOVE(watch, link);
		free(watch);
	}
}

void event_loop_destroy(struct event_loop *loop)
{
	struct event_watch *watch;
	struct event_timer *timer;
	struct posted *posted;

	if (loop == NULL)
		return;
	while ((watch = LIST_FIRST(&loop->watches)) != NULL) {
		LIST_REMOVE(watch, link);
		free(watch);
	}
	free_removed(loop);
	while ((timer = TAILQ_FIRST(&loop->timers)) != NULL) {
		TAILQ_REMOVE(&loop->timers, timer, link);
		free(timer);
	}
	while ((posted = STAILQ_FIRST(&loop->posted)) != NULL) {
		STAILQ_REMOVE_HEAD(&loop->posted, link);
		free(posted);
	}
	close(loop->wake_fd);
	close(loop->epoll_fd);
	pthread_mutex_destroy(&loop->posted_lock);
	free(loop);
}

int event_loop_watch(struct event_loop *loop, int fd, uint32_t epoll_events, event_fd_fn fn,
		     void *ctx, struct event_watch **out)
{
	struct event_watch *watch = calloc(1, sizeof(*watch));
	if (watch == NULL)
		return -ENOMEM;
	*watch = (struct event_watch){.loop = loop, .fn = fn, .ctx = ctx, .fd = fd};
	struct epoll_event event = {.events = epoll_events, .data.ptr = watch};
	if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0) {
		int ret = -errno;
		free(watch);
		return ret;
	}
	LIST_INSERT_HEAD(&loop->watches, watch, link);
	*out = watch;
	return 0;
}

int event_watch_modify(struct event_watch *watch, uint32_t epoll_events)
{
	struct epoll_event event = {.events = epoll_events, .data.ptr = watch};
	if (epoll_ctl(watch->loop->epoll_fd, EPOLL_CTL_MOD, watch->fd, &event) < 0)
		return -errno;
	return 0;
}

void event_watch_remove(struct event_watch *watch)
{
	if (watch == NULL || watch->removed)
		return;
	epoll_ctl(watch->loop->epoll_fd, EPOLL_CTL_DEL, watch->fd, NULL);
	watch->removed = true;
	LIST_REMOVE(watch, link);
	LIST_INSERT_HEAD(&watch->loop->removed, watch, link);
}

int event_loop_after_ms(struct event_loop *loop, uint32_t delay_ms, event_timer_fn fn, void *ctx,
			struct event_timer **out)
{
	struct event_timer *timer = calloc(1, sizeof(*timer));
	if (timer == NULL)
		return -ENOMEM;
	*timer = (struct event_timer){
		.loop = loop, .fn = fn, .ctx = ctx, .deadline = deadline_in_ms(delay_ms)};

	struct event_timer *next;
	TAILQ_FOREACH (next, &loop->timers, link) {
		if (next->deadline.at_ns > timer->deadline.at_ns)
			break;
	}
	if (next != NULL)
		TAILQ_INSERT_BEFORE(next, timer, link);
	else
		TAILQ_INSERT_TAIL(&loop->timers, timer, link);
	if (out != NULL)
		*out = timer;
	return 0;
}

void event_timer_cancel(struct event_timer *timer)
{
	if (timer == NULL)
		return;
	TAILQ_REMOVE(&timer->loop->timers, timer, link);
	free(timer);
}

static void wake(struct event_loop *loop)
{
	uint64_t one = 1;
	/* Fails only when the counter is full, and then the loop is awake anyway. */
	ssize_t ignored = write(loop->wake_fd, &one, sizeof(one));
	(void)ignored;
}

int event_loop_post(struct event_loop *loop, event_post_fn fn, void *ctx)
{
	struct posted *posted = calloc(1, sizeof(*posted));
	if (posted == NULL)
		return -ENOMEM;
	posted->fn = fn;
	posted->ctx = ctx;
	pthread_mutex_lock(&loop->posted_lock);
	STAILQ_INSERT_TAIL(&loop->posted, posted, link);
	pthread_mutex_unlock(&loop->posted_lock);
	wake(loop);
	return 0;
}

void event_loop_stop(struct event_loop *loop)
{
	atomic_store(&loop->stopping, true);
	wake(loop);
}

static void run_posted(struct event_loop *loop)
{
	struct posted_list list = STAILQ_HEAD_INITIALIZER(list);
	struct posted *posted;
	uint64_t count;

	ssize_t ignored = read(loop->wake_fd, &count, sizeof(count));
	(void)ignored;
	pthread_mutex_lock(&loop->posted_lock);
	STAILQ_CONCAT(&list, &loop->posted);
	pthread_mutex_unlock(&loop->posted_lock);
	while ((posted = STAILQ_FIRST(&list)) != NULL) {
		STAILQ_REMOVE_HEAD(&list, link);
		posted->fn(posted->ctx);
		free(posted);
	}
}

/* Runs the timers that were due when the call began; what they add waits for the next round, so a
 * timer that re-arms itself at 0 ms cannot starve the rest. */
static void run_timers(struct event_loop *loop)
{
	uint64_t now = monotonic_ns();
	struct event_timer *timer;

	while ((timer = TAILQ_FIRST(&loop->timers)) != NULL && timer->deadline.at_ns <= now) {
		event_timer_fn fn = timer->fn;
		void *ctx = timer->ctx;
		TAILQ_REMOVE(&loop->timers, timer, link);
		free(timer);
		fn(ctx);
	}
}

static int wait_ms(struct event_loop *loop, int timeout_ms)
{
	struct event_timer *first = TAILQ_FIRST(&loop->timers);
	if (first == NULL)
		return timeout_ms;
	int left = deadline_left_ms(first->deadline);
	return timeout_ms >= 0 && timeout_ms < left ? timeout_ms : left;
}

int event_loop_run_once(struct event_loop *loop, int timeout_ms)
{
	struct epoll_event events[EVENTS_A_ROUND];
	int count = epoll_wait(loop->epoll_fd, events, EVENTS_A_ROUND, wait_ms(loop, timeout_ms));

	if (count < 0) {
		if (errno != EINTR)
			return -errno;
		count = 0;
	}
	for (int i = 0; i < count; i++) {
		struct event_watch *watch = events[i].data.ptr;
		if (watch == NULL)
			run_posted(loop);
		else if (!watch->removed)
			watch->fn(watch->ctx, watch->fd, events[i].events);
	}
	run_timers(loop);
	free_removed(loop);
	return 0;
}

int event_loop_run(struct event_loop *loop)
{
	int ret = 0;
	while (ret == 0 && !atomic_load(&loop->stopping))
		ret = event_loop_run_once(loop, -1);
	atomic_store(&loop->stopping, false);
	return ret;
}
