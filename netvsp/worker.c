/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The packet thread's loop. Event fds are registered edge-triggered, so that waking costs no read:
 * each signal is an edge of its own, whatever the counter says.
 */
#include "netvsp/worker.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <rte_lcore.h>

#include "base/deadline.h"
#include "base/log.h"

#define LOG_COMPONENT "worker"

#define SPIN_NS                                                                                    \
	UINT64_C(50000) /* idle for so long before a source is armed: about one wake-up across     \
			   cores */
#define TICK_NS		NS_PER_SEC
#define LOOK_ROUNDS	16u /* while busy, look for wake-ups of armed sources each so many rounds */
#define EVENTS_A_LOOK	32
#define CALL_PATIENCE_S 5

LIST_HEAD(source_list, worker_source);
STAILQ_HEAD(call_list, call);

struct call {
	STAILQ_ENTRY(call) link;
	void (*fn)(void *ctx);
	void *ctx;
	bool done;
};

struct worker {
	struct worker_config config;
	pthread_t thread;
	int epoll_fd;
	int wake_fd;
	bool no_pwait2; /* the kernel lacks epoll_pwait2: whole milliseconds only */

	struct source_list polled; /* armed sources are in none */
	unsigned int timed_count;
	uint64_t last_work_ns;
	uint64_t next_tick_ns;

	pthread_mutex_t lock; /* guards calls, started and call.done */
	pthread_cond_t changed;
	struct call_list calls;
	bool started;
	_Atomic bool calls_waiting;
	_Atomic bool stopping;
	_Atomic uint64_t rounds;
	_Atomic uint64_t sleeps;
	_Atomic uint64_t arms;
};

static void counter_add(_Atomic uint64_t *counter)
{
	/* Only the worker writes them, so no read-modify-write is needed. */
	atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + 1,
			      memory_order_relaxed);
}

static void run_calls(struct worker *worker)
{
	struct call_list calls = STAILQ_HEAD_INITIALIZER(calls);
	struct call *call;

	if (!atomic_exchange_explicit(&worker->calls_waiting, false, memory_order_acquire))
		return;
	pthread_mutex_lock(&worker->lock);
	STAILQ_CONCAT(&calls, &worker->calls);
	pthread_mutex_unlock(&worker->lock);
	while ((call = STAILQ_FIRST(&calls))) {
		STAILQ_REMOVE_HEAD(&calls, link);
		call->fn(call->ctx);
		pthread_mutex_lock(&worker->lock);
		call->done = true; /* its owner frees it from now on */
		pthread_cond_broadcast(&worker->changed);
		pthread_mutex_unlock(&worker->lock);
	}
}

static void wake_source(struct worker *worker, struct worker_source *source, uint64_t now_ns)
{
	if (!source->armed)
		return;
	source->armed = false;
	source->last_work_ns = now_ns;
	LIST_INSERT_HEAD(&worker->polled, source, link);
	source->ops->disarm(source->ctx);
}

/* Arms a source that has been idle; false where it found work after all. */
static bool sleep_source(struct worker *worker, struct worker_source *source)
{
	if (source->ops->arm(source->ctx))
		return false;
	LIST_REMOVE(source, link);
	source->armed = true;
	counter_add(&worker->arms);
	return true;
}

/* One burst from each source. Returns whether a source with an event fd is still being polled. */
static bool poll_sources(struct worker *worker, uint64_t now_ns)
{
	struct worker_source *source = LIST_FIRST(&worker->polled);
	bool worked = false, awake = false;

	while (source) {
		struct worker_source *next = LIST_NEXT(source, link);

		if (source->ops->poll(source->ctx) > 0) {
			source->last_work_ns = now_ns;
			worked = true;
		}
		if (source->event_fd >= 0) {
			if (now_ns - source->last_work_ns < SPIN_NS ||
			    !sleep_source(worker, source))
				awake = true;
		}
		source = next;
	}
	if (worked) {
		worker->last_work_ns = now_ns;
		worker->config.round_end(worker->config.ctx);
	}
	return awake;
}

static int wait_events(struct worker *worker, struct epoll_event *events, uint64_t timeout_ns)
{
	struct timespec timeout = {.tv_sec = (time_t)(timeout_ns / NS_PER_SEC),
				   .tv_nsec = (long)(timeout_ns % NS_PER_SEC)};
	int n;

	if (!worker->no_pwait2) {
		n = epoll_pwait2(worker->epoll_fd, events, EVENTS_A_LOOK, &timeout, NULL);
		if (n >= 0 || errno != ENOSYS)
			return n;
		worker->no_pwait2 = true;
	}
	return epoll_wait(worker->epoll_fd, events, EVENTS_A_LOOK,
			  (int)((timeout_ns + NS_PER_MS - 1) / NS_PER_MS));
}

/* Waits (0: only looks) and puts the sources that were signalled back into the polling. */
static void look_for_events(struct worker *worker, uint64_t timeout_ns)
{
	struct epoll_event events[EVENTS_A_LOOK];
	int n = wait_events(worker, events, timeout_ns);
	uint64_t now_ns = monotonic_ns();

	for (int i = 0; i < n; i++) {
		if (events[i].data.ptr != worker)
			wake_source(worker, events[i].data.ptr, now_ns);
	}
}

static uint64_t sleep_limit_ns(const struct worker *worker, uint64_t now_ns)
{
	uint64_t limit = worker->next_tick_ns > now_ns ? worker->next_tick_ns - now_ns : 0;
	uint64_t interval;

	if (worker->timed_count == 0)
		return limit;
	/* The longer nothing came, the more a wake-up costs in vain and the less a little delay
	 * matters. */
	interval = (now_ns - worker->last_work_ns) / 8;
	if (interval < WORKER_TIMED_MIN_NS)
		interval = WORKER_TIMED_MIN_NS;
	if (interval > WORKER_TIMED_MAX_NS)
		interval = WORKER_TIMED_MAX_NS;
	return interval < limit ? interval : limit;
}

static void run_rounds(struct worker *worker)
{
	uint64_t now_ns = monotonic_ns();
	unsigned int since_look = 0;

	worker->next_tick_ns = now_ns + TICK_NS;
	while (!atomic_load_explicit(&worker->stopping, memory_order_acquire)) {
		bool awake;

		run_calls(worker);
		now_ns = monotonic_ns();
		if (now_ns >= worker->next_tick_ns) {
			worker->next_tick_ns = now_ns + TICK_NS;
			worker->config.tick(worker->config.ctx);
		}
		awake = poll_sources(worker, now_ns);
		counter_add(&worker->rounds);
		if (awake || (worker->timed_count > 0 && now_ns - worker->last_work_ns < SPIN_NS)) {
			if (++since_look >= LOOK_ROUNDS) {
				since_look = 0;
				look_for_events(worker, 0);
			}
			continue;
		}
		counter_add(&worker->sleeps);
		look_for_events(worker, sleep_limit_ns(worker, now_ns));
	}
	run_calls(worker);
}

static void *worker_main(void *arg)
{
	struct worker *worker = arg;

	pthread_setname_np(pthread_self(), "netvspd-worker");
	/* An lcore id gives this thread mempool caches. Without one (too many threads) it works,
	 * but slower. */
	if (rte_thread_register() < 0)
		log_warn("no lcore id left for the worker");
	if (worker->config.cpu >= 0) {
		cpu_set_t cpus;

		CPU_ZERO(&cpus);
		CPU_SET((size_t)worker->config.cpu, &cpus);
		if (pthread_setaffinity_np(pthread_self(), sizeof(cpus), &cpus) != 0)
			log_warn("cannot run on CPU %d only", worker->config.cpu);
	}
	pthread_mutex_lock(&worker->lock);
	worker->started = true;
	pthread_cond_broadcast(&worker->changed);
	pthread_mutex_unlock(&worker->lock);
	run_rounds(worker);
	if (rte_lcore_id() != LCORE_ID_ANY)
		rte_thread_unregister();
	return NULL;
}

static void wake(struct worker *worker)
{
	uint64_t one = 1;

	/* Fails only when the counter is full, and then the worker is awake anyway. */
	if (write(worker->wake_fd, &one, sizeof(one)) < 0 && errno != EAGAIN)
		log_error_limited("cannot wake the worker: errno %d", errno);
}

int worker_create(const struct worker_config *config, struct worker **out)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLET};
	struct worker *worker = calloc(1, sizeof(*worker));
	pthread_condattr_t attr;
	int err;

	if (!worker)
		return -ENOMEM;
	worker->config = *config;
	LIST_INIT(&worker->polled);
	STAILQ_INIT(&worker->calls);
	pthread_mutex_init(&worker->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&worker->changed, &attr);
	pthread_condattr_destroy(&attr);
	worker->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (worker->epoll_fd < 0) {
		err = -errno;
		goto err_free;
	}
	worker->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (worker->wake_fd < 0) {
		err = -errno;
		goto err_close_epoll;
	}
	event.data.ptr = worker;
	if (epoll_ctl(worker->epoll_fd, EPOLL_CTL_ADD, worker->wake_fd, &event) < 0) {
		err = -errno;
		goto err_close_wake;
	}
	err = -pthread_create(&worker->thread, NULL, worker_main, worker);
	if (err)
		goto err_close_wake;
	pthread_mutex_lock(&worker->lock);
	while (!worker->started)
		pthread_cond_wait(&worker->changed, &worker->lock);
	pthread_mutex_unlock(&worker->lock);
	*out = worker;
	return 0;

err_close_wake:
	close(worker->wake_fd);
err_close_epoll:
	close(worker->epoll_fd);
err_free:
	pthread_cond_destroy(&worker->changed);
	pthread_mutex_destroy(&worker->lock);
	free(worker);
	return err;
}

void worker_destroy(struct worker *worker)
{
	if (!worker)
		return;
	atomic_store_explicit(&worker->stopping, true, memory_order_release);
	wake(worker);
	pthread_join(worker->thread, NULL);
	close(worker->wake_fd);
	close(worker->epoll_fd);
	pthread_cond_destroy(&worker->changed);
	pthread_mutex_destroy(&worker->lock);
	free(worker);
}

void worker_call(struct worker *worker, void (*fn)(void *ctx), void *ctx)
{
	struct call call = {.fn = fn, .ctx = ctx};
	struct timespec until;

	if (pthread_equal(pthread_self(), worker->thread)) {
		fn(ctx);
		return;
	}
	pthread_mutex_lock(&worker->lock);
	STAILQ_INSERT_TAIL(&worker->calls, &call, link);
	pthread_mutex_unlock(&worker->lock);
	atomic_store_explicit(&worker->calls_waiting, true, memory_order_release);
	wake(worker);

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += CALL_PATIENCE_S;
	pthread_mutex_lock(&worker->lock);
	while (!call.done) {
		/* The worker uses what its callers would free, so there is no giving up: only a
		 * word to the log. */
		if (pthread_cond_timedwait(&worker->changed, &worker->lock, &until) == ETIMEDOUT) {
			log_error("the worker has not answered for %d seconds", CALL_PATIENCE_S);
			until.tv_sec += CALL_PATIENCE_S;
		}
	}
	pthread_mutex_unlock(&worker->lock);
}

int worker_add_source(struct worker *worker, struct worker_source *source)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.ptr = source};

	if (source->event_fd >= 0) {
		if (epoll_ctl(worker->epoll_fd, EPOLL_CTL_ADD, source->event_fd, &event) < 0)
			return -errno;
	} else {
		worker->timed_count++;
	}
	source->armed = false;
	source->added = true;
	source->last_work_ns = monotonic_ns();
	LIST_INSERT_HEAD(&worker->polled, source, link);
	return 0;
}

void worker_remove_source(struct worker *worker, struct worker_source *source)
{
	if (!source->added)
		return;
	source->added = false;
	if (!source->armed)
		LIST_REMOVE(source, link);
	if (source->event_fd < 0)
		worker->timed_count--;
	else if (epoll_ctl(worker->epoll_fd, EPOLL_CTL_DEL, source->event_fd, NULL) < 0)
		log_warn("cannot forget an event fd: errno %d", errno);
}

void worker_get_counters(struct worker *worker, struct worker_counters *counters)
{
	counters->rounds = atomic_load_explicit(&worker->rounds, memory_order_relaxed);
	counters->sleeps = atomic_load_explicit(&worker->sleeps, memory_order_relaxed);
	counters->armed = atomic_load_explicit(&worker->arms, memory_order_relaxed);
}
