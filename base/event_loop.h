/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A single-threaded event loop on epoll: file descriptors, one-shot timers, and work posted from
 * other threads. All calls are for the loop's own thread except event_loop_post() and
 * event_loop_stop(), which any thread may make. A callback may remove any watch or timer, its own
 * included.
 */
#ifndef LUNAR_BASE_EVENT_LOOP_H
#define LUNAR_BASE_EVENT_LOOP_H

#include <stdint.h>

struct event_loop;
struct event_watch;
struct event_timer;

typedef void (*event_fd_fn)(void *ctx, int fd, uint32_t epoll_events);
typedef void (*event_timer_fn)(void *ctx);
typedef void (*event_post_fn)(void *ctx);

/* Returns 0, or -errno from epoll_create1/eventfd/timerfd or -ENOMEM. The caller destroys. */
int event_loop_create(struct event_loop **loop);
/* Takes NULL. Watches and timers that are left are freed; their fds are not closed. Posted work not
 * run is dropped. */
void event_loop_destroy(struct event_loop *loop);

/* Calls fn whenever fd has one of the epoll events (level-triggered). fd stays the caller's.
 * Returns 0 or -errno. */
int event_loop_watch(struct event_loop *loop, int fd, uint32_t epoll_events, event_fd_fn fn,
		     void *ctx, struct event_watch **watch);
int event_watch_modify(struct event_watch *watch, uint32_t epoll_events);
/* Takes NULL. Call before the fd is closed. After it, fn is not called again. */
void event_watch_remove(struct event_watch *watch);

/* Calls fn once, delay_ms from now. The timer frees itself after it fires. Returns 0 or -ENOMEM. */
int event_loop_after_ms(struct event_loop *loop, uint32_t delay_ms, event_timer_fn fn, void *ctx,
			struct event_timer **timer);
/* Takes NULL. Only for a timer that has not fired. */
void event_timer_cancel(struct event_timer *timer);

/* Any thread: run fn(ctx) on the loop's thread soon, in order of posting. Returns 0 or -ENOMEM. */
int event_loop_post(struct event_loop *loop, event_post_fn fn, void *ctx);

/* Runs until event_loop_stop(). Returns 0, or -errno where epoll itself fails. */
int event_loop_run(struct event_loop *loop);
/* Runs what is ready, waiting at most timeout_ms (-1: no limit) for the first. Returns 0 or -errno.
 * For tests. */
int event_loop_run_once(struct event_loop *loop, int timeout_ms);
/* Any thread. The loop returns after the callbacks of this round. */
void event_loop_stop(struct event_loop *loop);

#endif
