/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The sending side of guest memory. The mover's thread gathers pending pages in a bitmap a region;
 * in a round one worker a channel takes pieces of it, copies the pages into its batch, and sends
 * the batch as a frame once it is full. Copied first, since no compressor may see its input change.
 */
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "hypervisor/migration/codec.h"
#include "hypervisor/migration/pages.h"
#include "hypervisor/migration/rate.h"
#include "hypervisor/migration/thread.h"
#include "vmbus/guest_memory.h"

#define CHUNK_WORDS 8 /* of a bitmap, that a worker takes at a time: 2 MiB of memory */
#define BATCH_PAGES (MIGRATION_BATCH_BYTES / (uint32_t)GUEST_PAGE_SIZE)
#define RUNS_BYTES  (MIGRATION_MAX_RUNS * sizeof(struct migration_run))
#define HEAD_BYTES                                                                                 \
	(sizeof(struct migration_frame) + sizeof(struct migration_pages_header) + RUNS_BYTES)
/* A batch that compresses to more than this is sent as it is: the other end is spared the work. */
#define WORTH_IT(bytes) ((bytes) - (bytes) / 8)
/* With a bandwidth limit a frame holds at most 1/20 s of it. */
#define FRAMES_A_SECOND 20

/* Pages on their way: the data lies behind room for the longest head, which is put right before it
 * when the number of runs is known. */
struct page_batch {
	uint8_t raw[HEAD_BYTES + MIGRATION_BATCH_BYTES] __attribute__((aligned(64)));
	uint8_t packed[HEAD_BYTES + MIGRATION_BATCH_BYTES] __attribute__((aligned(64)));
	struct migration_run runs[MIGRATION_MAX_RUNS];
	uint64_t zero_pages;
	uint32_t run_count;
	uint32_t pages; /* with data */
	uint32_t pages_max;
};

struct page_worker {
	struct migration_page_sender *sender;
	struct migration_channel *channel;
	struct migration_codec *codec;
	struct page_batch *batch;
	pthread_t thread;
	bool started;
};

struct page_region {
	uint64_t first_gpn;
	uint64_t pages;
	uint64_t first_chunk; /* number of its first chunk, over all regions */
	uint64_t chunks;
	uint64_t *pending; /* a bit a page; in a round: of the worker that took the chunk */
	size_t words;
};

struct migration_page_sender {
	struct guest_memory *memory;
	enum migration_compression compression;
	struct page_region regions[GUEST_MEMORY_MAX_REGIONS];
	size_t region_count;
	uint64_t chunk_count;
	uint64_t *fetched; /* as many words as the largest region: what add_dirty() was given */

	struct page_worker workers[MIGRATION_MAX_CONNECTIONS];
	size_t worker_count;
	pthread_mutex_t lock;	/* guards all up to `error` */
	pthread_cond_t changed; /* a round began, a worker ended its part, or all shall end */
	uint64_t rounds_begun;
	size_t workers_busy;
	struct deadline round_deadline;
	bool ending;
	int error; /* the first; no round after it */

	_Atomic uint64_t next_chunk;
	_Atomic bool cancelled;
	struct migration_limit limit;
	struct migration_meter wire_meter;
	struct migration_meter memory_meter;
	_Atomic uint64_t bytes_sent;
	_Atomic uint64_t bytes_data;
	_Atomic uint64_t bytes_zero;
	_Atomic uint64_t pages_pending;
};

/* ---- batches ---- */

static void batch_reset(struct page_batch *batch, uint64_t bandwidth)
{
	uint64_t pages = bandwidth / FRAMES_A_SECOND / GUEST_PAGE_SIZE;

	if (bandwidth == 0 || pages > BATCH_PAGES)
		pages = BATCH_PAGES;
	batch->run_count = 0;
	batch->pages = 0;
	batch->pages_max = pages > 0 ? (uint32_t)pages : 1;
	batch->zero_pages = 0;
}

/* Takes a page in. The caller sees to it that there is room. */
static void batch_add(struct page_batch *batch, uint64_t gpn, const void *page)
{
	bool zero = migration_page_is_zero(page);
	uint32_t kind = zero ? MIGRATION_RUN_ZERO : MIGRATION_RUN_DATA;
	struct migration_run *run =
		batch->run_count > 0 ? &batch->runs[batch->run_count - 1] : NULL;

	if (zero) {
		batch->zero_pages++;
	} else {
		memcpy(batch->raw + HEAD_BYTES + batch->pages * GUEST_PAGE_SIZE, page,
		       GUEST_PAGE_SIZE);
		batch->pages++;
	}
	if (run && run->kind == kind && run->gpn + run->page_count == gpn &&
	    run->page_count < UINT32_MAX) {
		run->page_count++;
		return;
	}
	batch->runs[batch->run_count++] =
		(struct migration_run){.gpn = gpn, .page_count = 1, .kind = kind};
}

static bool batch_full(const struct page_batch *batch)
{
	return batch->pages == batch->pages_max || batch->run_count == MIGRATION_MAX_RUNS;
}

/* Puts header and runs right before the data at data_at. Returns the payload's start. */
static uint8_t *batch_head(const struct page_batch *batch, uint32_t compression, uint8_t *data_at)
{
	size_t head = sizeof(struct migration_pages_header) +
		      batch->run_count * sizeof(struct migration_run);
	uint8_t *payload = data_at - head;
	uint8_t *next = payload + sizeof(struct migration_pages_header);

	put_le32(payload + offsetof(struct migration_pages_header, compression), compression);
	put_le32(payload + offsetof(struct migration_pages_header, run_count), batch->run_count);
	put_le32(payload + offsetof(struct migration_pages_header, data_bytes),
		 batch->pages * (uint32_t)GUEST_PAGE_SIZE);
	put_le32(payload + offsetof(struct migration_pages_header, reserved), 0);
	for (uint32_t i = 0; i < batch->run_count; i++, next += sizeof(struct migration_run)) {
		put_le64(next + offsetof(struct migration_run, gpn), batch->runs[i].gpn);
		put_le32(next + offsetof(struct migration_run, page_count),
			 batch->runs[i].page_count);
		put_le32(next + offsetof(struct migration_run, kind), batch->runs[i].kind);
	}
	return payload;
}

static int batch_send(struct page_worker *worker, struct deadline deadline)
{
	struct migration_page_sender *sender = worker->sender;
	struct page_batch *batch = worker->batch;
	size_t bytes = batch->pages * GUEST_PAGE_SIZE;
	uint32_t compression = sender->compression;
	uint8_t *data_at = batch->raw + HEAD_BYTES;
	uint8_t *payload;
	size_t packed = 0;
	size_t length;
	int rc;

	if (batch->run_count == 0)
		return 0;
	if (bytes > 0)
		packed = migration_compress(worker->codec, sender->compression, data_at, bytes,
					    batch->packed + HEAD_BYTES, WORTH_IT(bytes));
	if (packed > 0) {
		data_at = batch->packed + HEAD_BYTES;
		bytes = packed;
	} else {
		compression = MIGRATION_COMPRESSION_NONE;
	}
	payload = batch_head(batch, compression, data_at);
	length = (size_t)(data_at + bytes - payload);
	rc = migration_limit_take(&sender->limit, length + sizeof(struct migration_frame),
				  deadline);
	if (rc < 0)
		return rc;
	rc = migration_message_send_in_place(worker->channel, MIGRATION_FRAME_PAGES, payload,
					     length, deadline);
	if (rc < 0)
		return rc;
	atomic_fetch_add(&sender->bytes_sent, length + sizeof(struct migration_frame));
	atomic_fetch_add(&sender->bytes_data, batch->pages * GUEST_PAGE_SIZE);
	atomic_fetch_add(&sender->bytes_zero, batch->zero_pages * GUEST_PAGE_SIZE);
	atomic_fetch_sub(&sender->pages_pending, batch->pages + batch->zero_pages);
	migration_meter_add(&sender->wire_meter, length + sizeof(struct migration_frame));
	migration_meter_add(&sender->memory_meter,
			    (batch->pages + batch->zero_pages) * GUEST_PAGE_SIZE);
	batch_reset(batch, migration_limit_get(&sender->limit));
	return 0;
}

/* ---- workers ---- */

static struct page_region *chunk_region(struct migration_page_sender *sender, uint64_t chunk)
{
	size_t i = 0;

	while (chunk >= sender->regions[i].first_chunk + sender->regions[i].chunks)
		i++;
	return &sender->regions[i];
}

/* Sends the pending pages of a word of a region's bitmap. */
static int word_send(struct page_worker *worker, struct page_region *region, size_t word,
		     struct deadline deadline)
{
	uint64_t bits = region->pending[word];

	region->pending[word] = 0;
	while (bits != 0) {
		uint64_t gpn = region->first_gpn + word * 64 + (uint64_t)__builtin_ctzll(bits);
		const void *page = guest_memory_for_read(worker->sender->memory,
							 gpn << GUEST_PAGE_SHIFT, GUEST_PAGE_SIZE);
		int rc = 0;

		bits &= bits - 1;
		batch_add(worker->batch, gpn, page);
		if (batch_full(worker->batch))
			rc = batch_send(worker, deadline);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int chunks_send(struct page_worker *worker, struct deadline deadline)
{
	struct migration_page_sender *sender = worker->sender;
	uint64_t chunk;

	while ((chunk = atomic_fetch_add(&sender->next_chunk, 1)) < sender->chunk_count) {
		struct page_region *region = chunk_region(sender, chunk);
		size_t first = (size_t)(chunk - region->first_chunk) * CHUNK_WORDS;

		for (size_t i = first; i < first + CHUNK_WORDS && i < region->words; i++) {
			int rc = 0;

			if (atomic_load(&sender->cancelled))
				return -ECANCELED;
			if (region->pending[i] != 0)
				rc = word_send(worker, region, i, deadline);
			if (rc < 0)
				return rc;
		}
	}
	return batch_send(worker, deadline);
}

static int worker_round(struct page_worker *worker, uint64_t round, struct deadline deadline)
{
	uint8_t end[sizeof(struct migration_round_end)] = {0};
	int rc;

	batch_reset(worker->batch, migration_limit_get(&worker->sender->limit));
	rc = chunks_send(worker, deadline);
	if (rc < 0)
		return rc;
	put_le32(end + offsetof(struct migration_round_end, round), (uint32_t)round);
	rc = migration_message_send(worker->channel, MIGRATION_FRAME_ROUND_END, end, sizeof(end),
				    deadline);
	if (rc == 0)
		atomic_fetch_add(&worker->sender->bytes_sent,
				 sizeof(end) + sizeof(struct migration_frame));
	return rc;
}

static void *worker_run(void *arg)
{
	struct page_worker *worker = arg;
	struct migration_page_sender *sender = worker->sender;
	uint64_t rounds_done = 0;

	pthread_mutex_lock(&sender->lock);
	for (;;) {
		struct deadline deadline;
		int rc;

		while (sender->rounds_begun == rounds_done && !sender->ending)
			pthread_cond_wait(&sender->changed, &sender->lock);
		if (sender->ending)
			break;
		deadline = sender->round_deadline;
		pthread_mutex_unlock(&sender->lock);
		rc = worker_round(worker, rounds_done, deadline);
		rounds_done++;
		pthread_mutex_lock(&sender->lock);
		if (rc < 0 && sender->error == 0) {
			sender->error = rc;
			/* The others need not go on: the round is lost. */
			atomic_store(&sender->cancelled, true);
			migration_limit_cancel(&sender->limit);
		}
		if (--sender->workers_busy == 0)
			pthread_cond_broadcast(&sender->changed);
	}
	pthread_mutex_unlock(&sender->lock);
	return NULL;
}

/* ---- life ---- */

static int regions_init(struct migration_page_sender *sender)
{
	size_t most = 1;

	sender->region_count = guest_memory_region_count(sender->memory);
	for (size_t i = 0; i < sender->region_count; i++) {
		const struct guest_memory_region *from = guest_memory_region_at(sender->memory, i);
		struct page_region *region = &sender->regions[i];

		region->first_gpn = from->gpa >> GUEST_PAGE_SHIFT;
		region->pages = from->size_bytes >> GUEST_PAGE_SHIFT;
		region->words = (size_t)((region->pages + 63) / 64);
		region->first_chunk = sender->chunk_count;
		region->chunks = (region->words + CHUNK_WORDS - 1) / CHUNK_WORDS;
		sender->chunk_count += region->chunks;
		region->pending = calloc(region->words, sizeof(uint64_t));
		if (!region->pending)
			return -ENOMEM;
		if (region->words > most)
			most = region->words;
	}
	sender->fetched = calloc(most, sizeof(uint64_t));
	return sender->fetched ? 0 : -ENOMEM;
}

static int worker_start(struct migration_page_sender *sender, struct migration_channel *channel)
{
	struct page_worker *worker = &sender->workers[sender->worker_count++];
	int rc;

	worker->sender = sender;
	worker->channel = channel;
	rc = migration_codec_create(&worker->codec);
	if (rc < 0)
		return rc;
	worker->batch = aligned_alloc(64, align_up(sizeof(*worker->batch), 64));
	if (!worker->batch)
		return -ENOMEM;
	rc = migration_thread_start("move-send", worker_run, worker, &worker->thread);
	worker->started = rc == 0;
	return rc;
}

int migration_page_sender_create(struct guest_memory *memory,
				 struct migration_channel *const *channels, size_t count,
				 const struct migration_page_sender_options *options,
				 struct migration_page_sender **out)
{
	struct migration_page_sender *sender;
	int rc;

	if (count == 0 || count > MIGRATION_MAX_CONNECTIONS)
		return -EINVAL;
	sender = calloc(1, sizeof(*sender));
	if (!sender)
		return -ENOMEM;
	sender->memory = memory;
	sender->compression = options->compression;
	pthread_mutex_init(&sender->lock, NULL);
	pthread_cond_init(&sender->changed, NULL);
	migration_limit_init(&sender->limit, options->bandwidth);
	migration_meter_init(&sender->wire_meter);
	migration_meter_init(&sender->memory_meter);
	rc = regions_init(sender);
	for (size_t i = 0; rc == 0 && i < count; i++)
		rc = worker_start(sender, channels[i]);
	if (rc < 0) {
		migration_page_sender_destroy(sender);
		return rc;
	}
	*out = sender;
	return 0;
}

void migration_page_sender_destroy(struct migration_page_sender *sender)
{
	if (!sender)
		return;
	migration_page_sender_cancel(sender);
	pthread_mutex_lock(&sender->lock);
	sender->ending = true;
	pthread_cond_broadcast(&sender->changed);
	pthread_mutex_unlock(&sender->lock);
	for (size_t i = 0; i < sender->worker_count; i++) {
		if (sender->workers[i].started)
			pthread_join(sender->workers[i].thread, NULL);
		migration_codec_destroy(sender->workers[i].codec);
		free(sender->workers[i].batch);
	}
	for (size_t i = 0; i < sender->region_count; i++)
		free(sender->regions[i].pending);
	free(sender->fetched);
	migration_meter_fini(&sender->memory_meter);
	migration_meter_fini(&sender->wire_meter);
	migration_limit_fini(&sender->limit);
	pthread_cond_destroy(&sender->changed);
	pthread_mutex_destroy(&sender->lock);
	free(sender);
}

/* ---- what is pending ---- */

/* Merges bits into a word of a region's bitmap; bits past its end do not count. Returns how many
 * bits came. */
static uint64_t word_merge(struct migration_page_sender *sender, struct page_region *region,
			   size_t word, uint64_t bits)
{
	uint64_t left = region->pages - word * 64;
	uint64_t before = region->pending[word];

	if (left < 64)
		bits &= (UINT64_C(1) << left) - 1;
	region->pending[word] = before | bits;
	atomic_fetch_add(&sender->pages_pending, (uint64_t)__builtin_popcountll(bits & ~before));
	return (uint64_t)__builtin_popcountll(bits);
}

static void pages_merge(struct migration_page_sender *sender, struct page_region *region,
			uint64_t first, uint64_t end)
{
	while (first < end) {
		uint64_t bit = first % 64;
		uint64_t count = 64 - bit < end - first ? 64 - bit : end - first;
		uint64_t bits = count == 64 ? UINT64_MAX : ((UINT64_C(1) << count) - 1) << bit;

		word_merge(sender, region, (size_t)(first / 64), bits);
		first += count;
	}
}

int migration_page_sender_add_all(struct migration_page_sender *sender)
{
	for (size_t i = 0; i < sender->region_count; i++) {
		const struct guest_memory_region *from = guest_memory_region_at(sender->memory, i);
		uint64_t begin = from->fd_offset;
		uint64_t end = from->fd_offset + from->size_bytes;
		uint64_t at = begin;

		while (at < end) {
			off_t data = lseek(from->fd, (off_t)at, SEEK_DATA);
			off_t hole;

			if (data < 0 && errno == ENXIO)
				break; /* nothing more up to the end of the file */
			if (data < 0)
				return -errno;
			if ((uint64_t)data >= end)
				break;
			hole = lseek(from->fd, data, SEEK_HOLE);
			if (hole < 0)
				return -errno;
			at = (uint64_t)hole < end ? (uint64_t)hole : end;
			pages_merge(sender, &sender->regions[i],
				    ((uint64_t)data - begin) >> GUEST_PAGE_SHIFT,
				    (at - begin + GUEST_PAGE_SIZE - 1) >> GUEST_PAGE_SHIFT);
		}
	}
	return 0;
}

int migration_page_sender_add_dirty(struct migration_page_sender *sender,
				    migration_dirty_fetch_fn fetch, void *ctx, uint64_t *bytes)
{
	uint64_t pages = 0;

	for (size_t i = 0; i < sender->region_count; i++) {
		struct page_region *region = &sender->regions[i];
		int rc;

		memset(sender->fetched, 0, region->words * sizeof(uint64_t));
		rc = fetch(ctx, i, sender->fetched, region->words);
		if (rc < 0)
			return rc;
		for (size_t word = 0; word < region->words; word++) {
			if (sender->fetched[word] != 0)
				pages += word_merge(sender, region, word, sender->fetched[word]);
		}
	}
	*bytes = pages * GUEST_PAGE_SIZE;
	return 0;
}

/* ---- rounds ---- */

int migration_page_sender_round(struct migration_page_sender *sender, struct deadline deadline)
{
	int rc;

	pthread_mutex_lock(&sender->lock);
	rc = sender->error;
	if (rc == 0) {
		atomic_store(&sender->next_chunk, 0);
		sender->round_deadline = deadline;
		sender->workers_busy = sender->worker_count;
		sender->rounds_begun++;
		pthread_cond_broadcast(&sender->changed);
		/* Each worker keeps to the deadline itself. */
		while (sender->workers_busy > 0)
			pthread_cond_wait(&sender->changed, &sender->lock);
		rc = sender->error;
	}
	pthread_mutex_unlock(&sender->lock);
	return rc;
}

int migration_page_sender_finish(struct migration_page_sender *sender, struct deadline deadline)
{
	if (sender->error < 0)
		return sender->error;
	for (size_t i = 0; i < sender->worker_count; i++) {
		int rc = migration_message_send(sender->workers[i].channel,
						MIGRATION_FRAME_MEMORY_END, NULL, 0, deadline);

		if (rc < 0)
			return rc;
		atomic_fetch_add(&sender->bytes_sent, sizeof(struct migration_frame));
	}
	return 0;
}

/* ---- any thread ---- */

void migration_page_sender_cancel(struct migration_page_sender *sender)
{
	atomic_store(&sender->cancelled, true);
	migration_limit_cancel(&sender->limit);
}

void migration_page_sender_set_bandwidth(struct migration_page_sender *sender, uint64_t bandwidth)
{
	migration_limit_set(&sender->limit, bandwidth);
}

void migration_page_sender_get_stats(const struct migration_page_sender *sender,
				     struct migration_page_stats *stats)
{
	struct migration_page_sender *meters = (struct migration_page_sender *)(uintptr_t)sender;

	*stats = (struct migration_page_stats){
		.bytes_sent = atomic_load(&sender->bytes_sent),
		.bytes_data = atomic_load(&sender->bytes_data),
		.bytes_zero = atomic_load(&sender->bytes_zero),
		.bytes_pending = atomic_load(&sender->pages_pending) * GUEST_PAGE_SIZE,
		.rate = migration_meter_rate(&meters->wire_meter),
		.rate_memory = migration_meter_rate(&meters->memory_meter),
	};
}
