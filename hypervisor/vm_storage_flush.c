/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The flush that ends a pause, and the one ahead of it: before the VM's state leaves this host, all
 * that the guest wrote has to be on its disks, for the host might be lost in the middle of the
 * move, and the guest would go on elsewhere without it. Disks take requests on an I/O loop; this
 * one has a thread of its own, which may hang with a share without holding anybody.
 */
#include "hypervisor/vm_storage_internal.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/event_loop.h"
#include "base/log.h"
#include "storvsp/io_loop.h"

#define LOG_COMPONENT "storage"

#define RING_ENTRIES 64

struct flush_item {
	struct disk_request request; /* first: on_flushed() gets this */
	struct storage_flush *flush;
	const struct storage_disk *owner;
	struct disk *disk;
	atomic_bool flushed;
};

struct storage_flush {
	struct vm_storage *storage;
	storage_flush_fn fn; /* NULL: nobody waits any more */
	pthread_t thread;
	int ended; /* an eventfd */
	struct event_watch *watch;
	/* the thread's, until it has ended: */
	struct io_loop *loop;
	size_t pending;
	int status;
	bool lost; /* it has ended, but its requests have not */
	struct storage_flush *next_lost;
	size_t count;
	struct flush_item items[];
};

/* Those whose loop failed under them, with their loops: what they asked for may still end, and then
 * writes to them. Main thread. */
static struct storage_flush *lost_flushes;

static void on_flushed(struct disk_request *request, int status)
{
	struct flush_item *item = (struct flush_item *)(void *)request;

	item->flush->pending--;
	atomic_store(&item->flushed, true);
	if (status && !item->flush->status)
		item->flush->status = status;
}

static void *flush_run(void *ctx)
{
	struct storage_flush *flush = ctx;
	const uint64_t one = 1;
	int result;

	flush->status = io_loop_create(RING_ENTRIES, &flush->loop);
	flush->pending = flush->status ? 0 : flush->count;
	for (size_t i = 0; flush->loop && i < flush->count; i++) {
		flush->items[i].request.loop = flush->loop;
		disk_submit(flush->items[i].disk, &flush->items[i].request);
	}
	while (flush->pending && !flush->lost) {
		result = io_loop_run(flush->loop, -1);
		if (result < 0) {
			log_error("a flush cannot be waited for: %s", strerror(-result));
			flush->status = result;
			flush->lost = true;
		}
	}
	if (!flush->lost)
		io_loop_destroy(flush->loop);
	if (write(flush->ended, &one, sizeof(one)) < 0)
		log_error("the end of a flush cannot be told: %s", strerror(errno));
	return NULL;
}

static void flush_free(struct storage_flush *flush)
{
	event_watch_remove(flush->watch);
	if (flush->ended >= 0)
		close(flush->ended);
	if (flush->lost) {
		flush->next_lost = lost_flushes;
		lost_flushes = flush;
	} else {
		free(flush);
	}
}

static void on_flush_ended(void *ctx, int fd, uint32_t events)
{
	struct storage_flush *flush = ctx;
	struct vm_storage *storage = flush->storage;
	storage_flush_fn fn = flush->fn;
	int status;

	(void)fd;
	(void)events;
	pthread_join(flush->thread, NULL);
	status = flush->status;
	storage->flush = NULL;
	flush_free(flush);
	if (fn)
		fn(storage, status);
}

static void items_fill(struct storage_flush *flush, bool ahead)
{
	const struct vm_storage *storage = flush->storage;

	for (size_t i = 0; i < storage->disk_count; i++) {
		struct storage_disk *disk = storage->disks[i];
		struct flush_item *item = &flush->items[flush->count];

		if (!disk->disk || !disk->held || disk->config.read_only ||
		    (ahead && disk->state != VM_DISK_READY))
			continue;
		item->request.op = DISK_FLUSH;
		item->request.done = on_flushed;
		item->flush = flush;
		item->owner = disk;
		item->disk = disk->disk;
		flush->count++;
	}
}

int storage_flush_start(struct vm_storage *storage, bool ahead, storage_flush_fn fn)
{
	struct storage_flush *flush;
	int result;

	if (storage->flush)
		return -EBUSY;
	flush = calloc(1, sizeof(*flush) + storage->disk_count * sizeof(flush->items[0]));
	if (!flush)
		return -ENOMEM;
	flush->storage = storage;
	flush->fn = fn;
	flush->ended = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	result = flush->ended < 0 ? -errno
				  : event_loop_watch(storage->loop, flush->ended, EPOLLIN,
						     on_flush_ended, flush, &flush->watch);
	if (!result)
		items_fill(flush, ahead);
	if (!result && !flush->count) {
		flush_free(flush);
		fn(storage, 0);
		return 0;
	}
	if (!result)
		result = -pthread_create(&flush->thread, NULL, flush_run, flush);
	if (result) {
		flush_free(flush);
		return result;
	}
	storage->flush = flush;
	return 0;
}

void storage_flush_abandon(struct vm_storage *storage)
{
	if (storage->flush)
		storage->flush->fn = NULL;
}

bool storage_flush_uses(const struct vm_storage *storage, const struct disk *disk)
{
	const struct storage_flush *flush = storage->flush;

	for (size_t i = 0; flush && disk && i < flush->count; i++)
		if (flush->items[i].disk == disk)
			return true;
	return false;
}

bool storage_flush_wait(struct vm_storage *storage, uint32_t deadline_ms,
			const struct storage_disk **disk)
{
	const struct storage_flush *flush = storage->flush;
	struct pollfd wait = {.events = POLLIN};

	if (!flush)
		return true;
	wait.fd = flush->ended;
	if (poll(&wait, 1, (int)deadline_ms) > 0)
		return true;
	*disk = NULL;
	for (size_t i = 0; i < flush->count && !*disk; i++)
		if (!atomic_load(&flush->items[i].flushed))
			*disk = flush->items[i].owner;
	return false;
}

void storage_flush_join(struct vm_storage *storage)
{
	struct storage_flush *flush = storage->flush;

	if (!flush)
		return;
	pthread_join(flush->thread, NULL);
	storage->flush = NULL;
	flush_free(flush);
}
