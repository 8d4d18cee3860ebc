/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The call is shared by caller and thread; under its lock they agree who of them is the last, and
 * that one frees it.
 */
#include "storvsp/slow_call.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

#include "base/deadline.h"

struct call {
	void (*run)(void *job);
	void (*abandoned)(void *job);
	void *job;
	pthread_mutex_t mutex; /* guards done and given_up */
	pthread_cond_t cond;
	bool done, given_up;
};

static void call_free(struct call *call)
{
	pthread_cond_destroy(&call->cond);
	pthread_mutex_destroy(&call->mutex);
	free(call);
}

static void *run_call(void *arg)
{
	struct call *call = arg;
	bool given_up;

	call->run(call->job);
	pthread_mutex_lock(&call->mutex);
	call->done = true;
	given_up = call->given_up;
	if (!given_up)
		pthread_cond_signal(&call->cond);
	pthread_mutex_unlock(&call->mutex);
	if (given_up) {
		call->abandoned(call->job);
		call_free(call);
	}
	return NULL;
}

static struct call *call_create(void (*run)(void *job), void (*abandoned)(void *job), void *job)
{
	pthread_condattr_t attributes;
	struct call *call = calloc(1, sizeof(*call));

	if (call == NULL)
		return NULL;
	call->run = run;
	call->abandoned = abandoned;
	call->job = job;
	pthread_mutex_init(&call->mutex, NULL);
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&call->cond, &attributes);
	pthread_condattr_destroy(&attributes);
	return call;
}

int slow_call(void (*run)(void *job), void (*abandoned)(void *job), void *job, uint32_t deadline_ms)
{
	uint64_t at_ns = deadline_in_ms(deadline_ms).at_ns;
	struct timespec at = {.tv_sec = (time_t)(at_ns / NS_PER_SEC),
			      .tv_nsec = (long)(at_ns % NS_PER_SEC)};
	struct call *call = call_create(run, abandoned, job);
	pthread_t thread;
	bool done;
	int ret;

	if (call == NULL)
		return -ENOMEM;
	ret = pthread_create(&thread, NULL, run_call, call);
	if (ret != 0) {
		call_free(call);
		return -ret;
	}
	pthread_mutex_lock(&call->mutex);
	while (!call->done && pthread_cond_timedwait(&call->cond, &call->mutex, &at) != ETIMEDOUT)
		;
	done = call->done;
	call->given_up = !done;
	pthread_mutex_unlock(&call->mutex);
	if (!done) {
		pthread_detach(thread);
		return -ETIMEDOUT;
	}
	pthread_join(thread, NULL);
	call_free(call);
	return 0;
}
