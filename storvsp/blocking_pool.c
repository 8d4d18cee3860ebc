/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One queue, its threads.
 */
#include "storvsp/blocking_pool.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

struct blocking_pool {
	pthread_mutex_t mutex; /* guards the queue and stop */
	pthread_cond_t cond;
	struct blocking_job *first, **end;
	bool stop;
	uint32_t threads;
	pthread_t thread[BLOCKING_POOL_THREADS_MAX];
};

static struct blocking_job *take_job(struct blocking_pool *pool)
{
	struct blocking_job *job;

	pthread_mutex_lock(&pool->mutex);
	while (pool->first == NULL && !pool->stop)
		pthread_cond_wait(&pool->cond, &pool->mutex);
	job = pool->first;
	if (job != NULL) {
		pool->first = job->next;
		if (pool->first == NULL)
			pool->end = &pool->first;
	}
	pthread_mutex_unlock(&pool->mutex);
	return job;
}

static void on_post(struct io_post *post)
{
	struct blocking_job *job = (struct blocking_job *)post;

	job->done(job);
}

static void *work(void *arg)
{
	struct blocking_pool *pool = arg;
	struct blocking_job *job;

	while ((job = take_job(pool)) != NULL) {
		job->status = job->run(job);
		job->post.fn = on_post;
		io_loop_post(job->loop, &job->post);
	}
	return NULL;
}

int blocking_pool_create(uint32_t threads, struct blocking_pool **out)
{
	struct blocking_pool *pool = calloc(1, sizeof(*pool));
	int ret;

	if (pool == NULL)
		return -ENOMEM;
	pthread_mutex_init(&pool->mutex, NULL);
	pthread_cond_init(&pool->cond, NULL);
	pool->end = &pool->first;
	while (pool->threads < threads && pool->threads < BLOCKING_POOL_THREADS_MAX) {
		ret = pthread_create(&pool->thread[pool->threads], NULL, work, pool);
		if (ret != 0) {
			blocking_pool_destroy(pool);
			return -ret;
		}
		pool->threads++;
	}
	*out = pool;
	return 0;
}

void blocking_pool_destroy(struct blocking_pool *pool)
{
	if (pool == NULL)
		return;
	pthread_mutex_lock(&pool->mutex);
	pool->stop = true;
	pthread_cond_broadcast(&pool->cond);
	pthread_mutex_unlock(&pool->mutex);
	for (uint32_t i = 0; i < pool->threads; i++)
		pthread_join(pool->thread[i], NULL);
	pthread_cond_destroy(&pool->cond);
	pthread_mutex_destroy(&pool->mutex);
	free(pool);
}

void blocking_pool_submit(struct blocking_pool *pool, struct blocking_job *job)
{
	job->next = NULL;
	pthread_mutex_lock(&pool->mutex);
	*pool->end = job;
	pool->end = &job->next;
	pthread_cond_signal(&pool->cond);
	pthread_mutex_unlock(&pool->mutex);
}
