/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The receiving side of guest memory: one thread a channel, which fills pages in, and a barrier at
 * the end of each round. What is sent is hostile: every run is held against the guest's memory map
 * before anything is written, and data passes through a buffer of ours, so that no decompressor
 * writes where it likes.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/bytes.h"
#include "hypervisor/migration/codec.h"
#include "hypervisor/migration/pages.h"
#include "hypervisor/migration/rate.h"
#include "hypervisor/migration/thread.h"
#include "vmbus/guest_memory.h"

/* How long a connection may take is not decided here: on a slow wire one waits for the others as
 * long as it takes. Who wants an end to it looks at migration_page_receiver_idle_ms(). */
#define PATIENT deadline_in_ms(UINT32_MAX)

/* What a thread needs to take pages in. */
struct page_intake {
	struct migration_codec *codec;
	struct migration_run runs[MIGRATION_MAX_RUNS];
	uint8_t data[MIGRATION_BATCH_BYTES];
};

struct page_inlet {
	struct migration_page_receiver *receiver;
	struct migration_channel *channel;
	struct page_intake *intake;
	pthread_t thread;
	bool started;
	uint32_t rounds_passed; /* receiver's lock, as all below */
	uint32_t pages_round;	/* of the last PAGES, counted from 1; 0: none came */
	bool ended;		/* by MEMORY_END */
};

struct migration_page_receiver {
	struct guest_memory *memory;
	/* By region, a bit a page that may hold something: it did at the beginning, or was sent. Of
	 * the others a zero mark asks nothing. */
	_Atomic uint64_t *present[GUEST_MEMORY_MAX_REGIONS];
	size_t region_count;
	struct page_intake *own; /* of migration_page_receiver_apply() */
	pthread_mutex_t own_lock;
	size_t inlet_count;

	pthread_mutex_t lock; /* guards all up to `error` */
	pthread_cond_t changed;
	struct page_inlet inlets[MIGRATION_MAX_CONNECTIONS];
	size_t inlets_added;
	bool cancelled;
	uint32_t last_round; /* UINT32_MAX: not told yet */
	int error;	     /* the first channel's */

	_Atomic uint64_t frame_ns; /* when the last one came, on any channel */

	struct migration_meter wire_meter;
	struct migration_meter memory_meter;
	_Atomic uint64_t bytes_received;
	_Atomic uint64_t bytes_data;
	_Atomic uint64_t bytes_zero;
};

/* ---- one frame ---- */

/* The region that holds all pages of a run, or -1. */
static int run_region(const struct migration_page_receiver *receiver,
		      const struct migration_run *run)
{
	for (size_t i = 0; i < receiver->region_count; i++) {
		const struct guest_memory_region *region =
			guest_memory_region_at(receiver->memory, i);
		uint64_t first = region->gpa >> GUEST_PAGE_SHIFT;

		if (run->gpn >= first && range_fits(run->gpn - first, run->page_count,
						    region->size_bytes >> GUEST_PAGE_SHIFT))
			return (int)i;
	}
	return -1;
}

/* Copies the runs out of a payload and checks them. Returns their number, or -EPROTO; *data_bytes:
 * of page data that must follow. */
static int runs_parse(const struct migration_page_receiver *receiver, const uint8_t *payload,
		      size_t length, struct migration_run *runs, size_t *data_bytes)
{
	const uint8_t *next = payload + sizeof(struct migration_pages_header);
	uint64_t data_pages = 0;
	uint32_t count;

	if (length < sizeof(struct migration_pages_header))
		return -EPROTO;
	count = get_le32(payload + offsetof(struct migration_pages_header, run_count));
	if (count == 0 || count > MIGRATION_MAX_RUNS ||
	    length - sizeof(struct migration_pages_header) < count * sizeof(struct migration_run))
		return -EPROTO;
	for (uint32_t i = 0; i < count; i++, next += sizeof(struct migration_run)) {
		struct migration_run *run = &runs[i];

		run->gpn = get_le64(next + offsetof(struct migration_run, gpn));
		run->page_count = get_le32(next + offsetof(struct migration_run, page_count));
		run->kind = get_le32(next + offsetof(struct migration_run, kind));
		if (run->page_count == 0 || run->kind > MIGRATION_RUN_ZERO ||
		    run_region(receiver, run) < 0)
			return -EPROTO;
		if (run->kind == MIGRATION_RUN_DATA)
			data_pages += run->page_count;
	}
	if (data_pages * GUEST_PAGE_SIZE > MIGRATION_BATCH_BYTES ||
	    data_pages * GUEST_PAGE_SIZE !=
		    get_le32(payload + offsetof(struct migration_pages_header, data_bytes)))
		return -EPROTO;
	*data_bytes = (size_t)(data_pages * GUEST_PAGE_SIZE);
	return (int)count;
}

/* Bits of word `index` of a bitmap that lie in [first, end). */
static uint64_t word_mask(uint64_t index, uint64_t first, uint64_t end)
{
	uint64_t mask = UINT64_MAX;

	if (first > index * 64)
		mask &= UINT64_MAX << (first - index * 64);
	if (end < index * 64 + 64)
		mask &= (UINT64_C(1) << (end - index * 64)) - 1;
	return mask;
}

static void present_set(_Atomic uint64_t *present, uint64_t first, uint64_t end)
{
	for (uint64_t word = first / 64; word * 64 < end; word++)
		atomic_fetch_or_explicit(&present[word], word_mask(word, first, end),
					 memory_order_relaxed);
}

static void page_zero(struct migration_page_receiver *receiver, uint64_t gpn)
{
	const void *page =
		guest_memory_for_read(receiver->memory, gpn << GUEST_PAGE_SHIFT, GUEST_PAGE_SIZE);

	if (migration_page_is_zero(page))
		return;
	memset(guest_memory_for_write(receiver->memory, gpn << GUEST_PAGE_SHIFT, GUEST_PAGE_SIZE),
	       0, GUEST_PAGE_SIZE);
}

/* Zeroes what of the run is not zero, without touching what was never there. */
static void run_zero(struct migration_page_receiver *receiver, size_t region,
		     const struct migration_run *run)
{
	uint64_t base = guest_memory_region_at(receiver->memory, region)->gpa >> GUEST_PAGE_SHIFT;
	uint64_t first = run->gpn - base;
	uint64_t end = first + run->page_count;

	for (uint64_t word = first / 64; word * 64 < end; word++) {
		uint64_t bits = atomic_load_explicit(&receiver->present[region][word],
						     memory_order_relaxed) &
				word_mask(word, first, end);

		for (; bits != 0; bits &= bits - 1)
			page_zero(receiver, base + word * 64 + (uint64_t)__builtin_ctzll(bits));
	}
}

static void run_fill(struct migration_page_receiver *receiver, size_t region,
		     const struct migration_run *run, const uint8_t *data)
{
	uint64_t base = guest_memory_region_at(receiver->memory, region)->gpa >> GUEST_PAGE_SHIFT;
	size_t length = run->page_count * GUEST_PAGE_SIZE;

	/* Before the bytes: a zero mark of a later round must find it. */
	present_set(receiver->present[region], run->gpn - base, run->gpn - base + run->page_count);
	memcpy(guest_memory_for_write(receiver->memory, run->gpn << GUEST_PAGE_SHIFT, length), data,
	       length);
}

static int payload_apply(struct migration_page_receiver *receiver, struct page_intake *intake,
			 const uint8_t *payload, size_t length)
{
	const uint8_t *data = intake->data;
	uint64_t zero_pages = 0;
	size_t data_bytes = 0;
	int count = runs_parse(receiver, payload, length, intake->runs, &data_bytes);
	size_t head;
	int rc;

	if (count < 0)
		return count;
	head = sizeof(struct migration_pages_header) + (size_t)count * sizeof(struct migration_run);
	if (data_bytes == 0 && length != head)
		return -EPROTO;
	if (data_bytes > 0) {
		uint32_t kind =
			get_le32(payload + offsetof(struct migration_pages_header, compression));

		if (kind == MIGRATION_COMPRESSION_NONE && length - head == data_bytes)
			data = payload + head;
		else if ((rc = migration_decompress(intake->codec, kind, payload + head,
						    length - head, intake->data, data_bytes)) < 0)
			return rc;
	}
	for (int i = 0; i < count; i++) {
		const struct migration_run *run = &intake->runs[i];
		size_t region = (size_t)run_region(receiver, run);

		if (run->kind == MIGRATION_RUN_ZERO) {
			run_zero(receiver, region, run);
			zero_pages += run->page_count;
			continue;
		}
		run_fill(receiver, region, run, data);
		data += run->page_count * GUEST_PAGE_SIZE;
	}
	atomic_fetch_add(&receiver->bytes_received, length + sizeof(struct migration_frame));
	atomic_fetch_add(&receiver->bytes_data, data_bytes);
	atomic_fetch_add(&receiver->bytes_zero, zero_pages * GUEST_PAGE_SIZE);
	migration_meter_add(&receiver->wire_meter, length + sizeof(struct migration_frame));
	migration_meter_add(&receiver->memory_meter, data_bytes + zero_pages * GUEST_PAGE_SIZE);
	return 0;
}

int migration_page_receiver_apply(struct migration_page_receiver *receiver, const void *payload,
				  size_t length)
{
	int rc;

	pthread_mutex_lock(&receiver->own_lock);
	rc = payload_apply(receiver, receiver->own, payload, length);
	pthread_mutex_unlock(&receiver->own_lock);
	return rc;
}

/* ---- rounds ---- */

/* Under the lock: 1 where every channel has passed the end of the round, 0 where one has not yet,
 * -EPROTO where one never will. */
static int round_passed(const struct migration_page_receiver *receiver, uint32_t round)
{
	int passed = 1;

	for (size_t i = 0; i < receiver->inlet_count; i++) {
		const struct page_inlet *inlet = &receiver->inlets[i];

		if (inlet->rounds_passed <= round && inlet->ended)
			return -EPROTO;
		if (inlet->rounds_passed <= round)
			passed = 0;
	}
	return passed;
}

/* Under the lock: waits for the round's end on all channels. */
static int round_wait(struct migration_page_receiver *receiver, uint32_t round,
		      struct deadline deadline)
{
	struct timespec until = {
		.tv_sec = (time_t)(deadline.at_ns / NS_PER_SEC),
		.tv_nsec = (long)(deadline.at_ns % NS_PER_SEC),
	};

	for (;;) {
		int rc = round_passed(receiver, round);

		if (rc != 0)
			return rc < 0 ? rc : 0;
		if (receiver->error < 0)
			return receiver->error;
		if (receiver->cancelled)
			return -ECANCELED;
		if (deadline_passed(deadline))
			return -ETIMEDOUT;
		pthread_cond_timedwait(&receiver->changed, &receiver->lock, &until);
	}
}

int migration_page_receiver_wait_round(struct migration_page_receiver *receiver, uint32_t round,
				       struct deadline deadline)
{
	int rc;

	pthread_mutex_lock(&receiver->lock);
	rc = round_wait(receiver, round, deadline);
	pthread_mutex_unlock(&receiver->lock);
	return rc;
}

/* Nothing is written once the last round is over: the memory is about to be the VM's, or is. */
static int inlet_note_pages(struct page_inlet *inlet)
{
	struct migration_page_receiver *receiver = inlet->receiver;
	int rc;

	pthread_mutex_lock(&receiver->lock);
	inlet->pages_round = inlet->rounds_passed + 1;
	rc = receiver->last_round != UINT32_MAX && inlet->rounds_passed > receiver->last_round
		     ? -EPROTO
		     : 0;
	pthread_mutex_unlock(&receiver->lock);
	return rc;
}

int migration_page_receiver_set_last(struct migration_page_receiver *receiver, uint32_t round)
{
	int rc = receiver->last_round == UINT32_MAX && round != UINT32_MAX ? 0 : -EPROTO;

	pthread_mutex_lock(&receiver->lock);
	for (size_t i = 0; rc == 0 && i < receiver->inlet_count; i++)
		if (receiver->inlets[i].pages_round > round + 1)
			rc = -EPROTO;
	if (rc == 0)
		receiver->last_round = round;
	pthread_mutex_unlock(&receiver->lock);
	return rc;
}

/* A channel has come to the end of a round: waits for the others, so that no page of the next round
 * is overtaken by one of this. */
static int inlet_pass(struct page_inlet *inlet, const struct migration_message *message)
{
	struct migration_page_receiver *receiver = inlet->receiver;
	uint32_t round;
	int rc;

	if (message->length != sizeof(struct migration_round_end))
		return -EPROTO;
	round = get_le32(message->payload + offsetof(struct migration_round_end, round));
	pthread_mutex_lock(&receiver->lock);
	if (round != inlet->rounds_passed || round >= UINT32_MAX - 1 ||
	    (receiver->last_round != UINT32_MAX && round > receiver->last_round)) {
		rc = -EPROTO;
	} else {
		inlet->rounds_passed++;
		pthread_cond_broadcast(&receiver->changed);
		rc = round_wait(receiver, round, PATIENT);
	}
	pthread_mutex_unlock(&receiver->lock);
	return rc;
}

/* Reads a channel to its end. Returns 0 after MEMORY_END. */
static int inlet_read(struct page_inlet *inlet)
{
	struct migration_message message = {0};
	int rc;

	do {
		rc = migration_message_receive(inlet->channel, &message, MIGRATION_MAX_PAGES_BYTES,
					       PATIENT);
		if (rc < 0)
			break;
		atomic_store(&inlet->receiver->frame_ns, monotonic_ns());
		switch (message.type) {
		case MIGRATION_FRAME_PAGES:
			rc = inlet_note_pages(inlet);
			if (rc == 0)
				rc = payload_apply(inlet->receiver, inlet->intake, message.payload,
						   message.length);
			break;
		case MIGRATION_FRAME_ROUND_END:
			rc = inlet_pass(inlet, &message);
			break;
		case MIGRATION_FRAME_MEMORY_END:
			rc = message.length == 0 ? 1 : -EPROTO;
			break;
		default:
			rc = -EPROTO;
			break;
		}
	} while (rc == 0);
	migration_message_fini(&message);
	return rc < 0 ? rc : 0;
}

static void *inlet_run(void *arg)
{
	struct page_inlet *inlet = arg;
	struct migration_page_receiver *receiver = inlet->receiver;
	int rc = inlet_read(inlet);

	pthread_mutex_lock(&receiver->lock);
	if (rc == 0)
		inlet->ended = true;
	else if (receiver->error == 0)
		receiver->error = rc;
	pthread_cond_broadcast(&receiver->changed);
	pthread_mutex_unlock(&receiver->lock);
	return NULL;
}

/* ---- life ---- */

static int intake_create(struct page_intake **out)
{
	struct page_intake *intake = calloc(1, sizeof(*intake));

	if (!intake)
		return -ENOMEM;
	if (migration_codec_create(&intake->codec) < 0) {
		free(intake);
		return -ENOMEM;
	}
	*out = intake;
	return 0;
}

static void intake_destroy(struct page_intake *intake)
{
	if (!intake)
		return;
	migration_codec_destroy(intake->codec);
	free(intake);
}

/* Notes which pages there are already. */
static int present_init(struct migration_page_receiver *receiver, size_t index)
{
	const struct guest_memory_region *region = guest_memory_region_at(receiver->memory, index);
	uint64_t words = ((region->size_bytes >> GUEST_PAGE_SHIFT) + 63) / 64;
	uint64_t end = region->fd_offset + region->size_bytes;
	uint64_t at = region->fd_offset;

	receiver->present[index] = calloc(words, sizeof(*receiver->present[index]));
	if (!receiver->present[index])
		return -ENOMEM;
	while (at < end) {
		off_t data = lseek(region->fd, (off_t)at, SEEK_DATA);
		off_t hole;

		if ((data < 0 && errno == ENXIO) || (data >= 0 && (uint64_t)data >= end))
			return 0;
		if (data < 0)
			return -errno;
		hole = lseek(region->fd, data, SEEK_HOLE);
		if (hole < 0)
			return -errno;
		at = (uint64_t)hole < end ? (uint64_t)hole : end;
		present_set(receiver->present[index],
			    ((uint64_t)data - region->fd_offset) >> GUEST_PAGE_SHIFT,
			    (at - region->fd_offset + GUEST_PAGE_SIZE - 1) >> GUEST_PAGE_SHIFT);
	}
	return 0;
}

int migration_page_receiver_create(struct guest_memory *memory, size_t channel_count,
				   struct migration_page_receiver **out)
{
	struct migration_page_receiver *receiver;
	pthread_condattr_t attr;
	int rc;

	if (channel_count > MIGRATION_MAX_CONNECTIONS)
		return -EINVAL;
	receiver = calloc(1, sizeof(*receiver));
	if (!receiver)
		return -ENOMEM;
	receiver->memory = memory;
	receiver->last_round = UINT32_MAX;
	atomic_init(&receiver->frame_ns, monotonic_ns());
	receiver->inlet_count = channel_count;
	pthread_mutex_init(&receiver->own_lock, NULL);
	pthread_mutex_init(&receiver->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&receiver->changed, &attr);
	pthread_condattr_destroy(&attr);
	migration_meter_init(&receiver->wire_meter);
	migration_meter_init(&receiver->memory_meter);
	rc = intake_create(&receiver->own);
	receiver->region_count = guest_memory_region_count(memory);
	for (size_t i = 0; rc == 0 && i < receiver->region_count; i++)
		rc = present_init(receiver, i);
	if (rc < 0) {
		migration_page_receiver_destroy(receiver);
		return rc;
	}
	*out = receiver;
	return 0;
}

int migration_page_receiver_add(struct migration_page_receiver *receiver,
				struct migration_channel *channel)
{
	struct page_inlet *inlet;
	int rc;

	if (receiver->inlets_added == receiver->inlet_count)
		return -EINVAL;
	inlet = &receiver->inlets[receiver->inlets_added];
	inlet->receiver = receiver;
	inlet->channel = channel;
	rc = intake_create(&inlet->intake);
	if (rc < 0)
		return rc;
	rc = migration_thread_start("move-receive", inlet_run, inlet, &inlet->thread);
	if (rc < 0) {
		intake_destroy(inlet->intake);
		inlet->intake = NULL;
		return rc;
	}
	inlet->started = true;
	receiver->inlets_added++;
	return 0;
}

uint32_t migration_page_receiver_idle_ms(const struct migration_page_receiver *receiver)
{
	uint64_t last = atomic_load(&receiver->frame_ns), now = monotonic_ns();
	uint64_t ms = now > last ? (now - last) / NS_PER_MS : 0;

	return ms > UINT32_MAX ? UINT32_MAX : (uint32_t)ms;
}

void migration_page_receiver_cancel(struct migration_page_receiver *receiver)
{
	pthread_mutex_lock(&receiver->lock);
	receiver->cancelled = true;
	pthread_cond_broadcast(&receiver->changed);
	pthread_mutex_unlock(&receiver->lock);
}

void migration_page_receiver_get_stats(const struct migration_page_receiver *receiver,
				       struct migration_page_stats *stats)
{
	struct migration_page_receiver *meters =
		(struct migration_page_receiver *)(uintptr_t)receiver;

	*stats = (struct migration_page_stats){
		.bytes_sent = atomic_load(&receiver->bytes_received),
		.bytes_data = atomic_load(&receiver->bytes_data),
		.bytes_zero = atomic_load(&receiver->bytes_zero),
		.rate = migration_meter_rate(&meters->wire_meter),
		.rate_memory = migration_meter_rate(&meters->memory_meter),
	};
}

void migration_page_receiver_destroy(struct migration_page_receiver *receiver)
{
	if (!receiver)
		return;
	migration_page_receiver_cancel(receiver);
	for (size_t i = 0; i < MIGRATION_MAX_CONNECTIONS; i++) {
		if (receiver->inlets[i].started)
			pthread_join(receiver->inlets[i].thread, NULL);
		intake_destroy(receiver->inlets[i].intake);
	}
	for (size_t i = 0; i < receiver->region_count; i++)
		free((void *)receiver->present[i]);
	intake_destroy(receiver->own);
	migration_meter_fini(&receiver->memory_meter);
	migration_meter_fini(&receiver->wire_meter);
	pthread_cond_destroy(&receiver->changed);
	pthread_mutex_destroy(&receiver->lock);
	pthread_mutex_destroy(&receiver->own_lock);
	free(receiver);
}
