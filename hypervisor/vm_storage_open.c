/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Images that are opened while the VM runs. A share or a target may take its time, up to a
 * deadline, and the event loop does not wait with it: each opening has a thread, and who wants the
 * disk asks for it again. One that nobody asks for any more is closed.
 */
#include "hypervisor/vm_storage_internal.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/deadline.h"
#include "base/event_loop.h"
#include "base/log.h"

#define LOG_COMPONENT "storage"

#define QUICK_STEPS   50 /* of a millisecond: most images are there at once */
#define FORGOTTEN_MS  2000
#define OPENINGS_MOST 8

enum opening_state {
	OPENING_RUNS,	   /* the thread's */
	OPENING_DONE,	   /* the loop's */
	OPENING_ABANDONED, /* the thread's, to free */
};

struct storage_opening {
	LIST_ENTRY(storage_opening) link;
	struct vm_storage *storage;
	struct vm_disk_config config;
	pthread_t thread;
	_Atomic(enum opening_state) state;
	struct event_timer *timer;
	uint64_t asked_ns;
	/* what came of it */
	struct disk *disk;
	int result;
	struct vm_error error;
};

static void opening_free(struct storage_opening *opening)
{
	disk_close(opening->disk);
	vm_disk_config_fini(&opening->config);
	free(opening);
}

static void *opening_run(void *ctx)
{
	struct storage_opening *opening = ctx;
	enum opening_state runs = OPENING_RUNS;

	opening->result = storage_open(&opening->config, (struct storage_way){0}, &opening->disk,
				       &opening->error);
	if (!atomic_compare_exchange_strong(&opening->state, &runs, OPENING_DONE))
		opening_free(opening);
	return NULL;
}

/* Nobody wants it. */
static void opening_abandon(struct storage_opening *opening)
{
	enum opening_state runs = OPENING_RUNS;
	pthread_t thread = opening->thread; /* the opening is not ours once it is abandoned */

	LIST_REMOVE(opening, link);
	opening->storage->opening_count--;
	event_timer_cancel(opening->timer);
	if (atomic_compare_exchange_strong(&opening->state, &runs, OPENING_ABANDONED)) {
		pthread_detach(thread);
		return;
	}
	pthread_join(thread, NULL);
	opening_free(opening);
}

static void on_look(void *ctx)
{
	struct storage_opening *opening = ctx;

	opening->timer = NULL;
	if (monotonic_ns() - opening->asked_ns < FORGOTTEN_MS * NS_PER_MS &&
	    !event_loop_after_ms(opening->storage->loop, FORGOTTEN_MS, on_look, opening,
				 &opening->timer))
		return;
	opening_abandon(opening);
}

static int opening_start(struct vm_storage *storage, const struct vm_disk_config *config,
			 struct storage_opening **started)
{
	struct storage_opening *opening;
	int result;

	if (storage->opening_count == OPENINGS_MOST)
		return -EBUSY;
	opening = calloc(1, sizeof(*opening));
	if (!opening || vm_disk_config_copy(config, &opening->config)) {
		free(opening);
		return -ENOMEM;
	}
	opening->storage = storage;
	result =
		event_loop_after_ms(storage->loop, FORGOTTEN_MS, on_look, opening, &opening->timer);
	if (!result)
		result = -pthread_create(&opening->thread, NULL, opening_run, opening);
	if (result) {
		event_timer_cancel(opening->timer);
		opening_free(opening);
		return result;
	}
	LIST_INSERT_HEAD(&storage->openings, opening, link);
	storage->opening_count++;
	*started = opening;
	return 0;
}

static struct storage_opening *opening_find(struct vm_storage *storage,
					    const struct vm_disk_config *config)
{
	struct storage_opening *opening;

	LIST_FOREACH(opening, &storage->openings, link)
	{
		if (vm_disk_config_opens_same(&opening->config, config))
			return opening;
	}
	return NULL;
}

static void await_quickly(const struct storage_opening *opening)
{
	const struct timespec step = {.tv_nsec = (long)NS_PER_MS};

	for (int i = 0; i < QUICK_STEPS && atomic_load(&opening->state) == OPENING_RUNS; i++)
		nanosleep(&step, NULL);
}

int storage_open_later(struct vm_storage *storage, const struct vm_disk_config *config,
		       struct disk **disk, struct vm_error *error)
{
	struct storage_opening *opening = opening_find(storage, config);
	int result;

	*disk = NULL;
	if (!config->path)
		return 0;
	if (!opening) {
		result = opening_start(storage, config, &opening);
		if (result)
			return vm_error_set(error, result == -EBUSY ? EXIT_STATE : EXIT_NO_MEMORY,
					    result, "%s cannot be opened now: %s", config->path,
					    result == -EBUSY ? "others are being opened, and hang"
							     : strerror(-result));
		await_quickly(opening);
	}
	opening->asked_ns = monotonic_ns();
	if (atomic_load(&opening->state) == OPENING_RUNS)
		return vm_error_set(error, EXIT_STATE, -EINPROGRESS, "%s is being opened",
				    config->path);
	result = opening->result;
	if (result)
		*error = opening->error;
	*disk = opening->disk;
	opening->disk = NULL;
	opening_abandon(opening);
	return result;
}

void storage_openings_end(struct vm_storage *storage)
{
	while (!LIST_EMPTY(&storage->openings))
		opening_abandon(LIST_FIRST(&storage->openings));
}
