/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Rings: both ends over the same guest pages, checked against the control page as the guest sees
 * it.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "tests/unit/vmbus/memory_fixture.h"
#include "vmbus/gpadl_view.h"
#include "vmbus/guest_memory.h"
#include "vmbus/ring.h"
#include "wire/vmbus.h"

/* A control page and three data pages; in the second kind no two data pages are neighbours. */
static const uint64_t contiguous[] = {1, 8, 9, 10};
static const uint64_t scattered[] = {7, 12, 3, 5};
#define DATA_BYTES 12288u

struct setup {
	struct guest_memory *memory;
	struct gpadl_view *view;
	const uint64_t *gpns;
	struct ring reader;
	struct ring writer;
	struct vmbus_ring_control *control;
};

static int prepare(void **state, const uint64_t *gpns)
{
	struct setup *s = calloc(1, sizeof(*s));

	if (!s)
		return -1;
	s->gpns = gpns;
	s->memory = fixture_memory(16);
	s->view = fixture_view(s->memory, gpns, 4);
	s->control = (struct vmbus_ring_control *)s->view->pages[0];
	*state = s;
	return ring_init_reader(&s->reader, s->view) || ring_init_writer(&s->writer, s->view);
}

static int prepare_contiguous(void **state)
{
	return prepare(state, contiguous);
}

static int prepare_scattered(void **state)
{
	return prepare(state, scattered);
}

static int clean_up(void **state)
{
	struct setup *s = *state;

	gpadl_view_free(s->view);
	guest_memory_destroy(s->memory);
	free(s);
	return 0;
}

/* Moves both ends to an index, as after much traffic. */
static void move_to(struct setup *s, uint32_t index)
{
	s->control->write_index = index;
	s->control->read_index = index;
	assert_int_equal(ring_init_reader(&s->reader, s->view), 0);
	assert_int_equal(ring_init_writer(&s->writer, s->view), 0);
}

static bool put(struct setup *s, const void *bytes, uint32_t length)
{
	assert_true(ring_writable_bytes(&s->writer) >= length);
	assert_int_equal(ring_poke(&s->writer, 0, bytes, length), 0);
	assert_int_equal(ring_advance(&s->writer, length), 0);
	return ring_publish_write(&s->writer);
}

static void the_writer_says_that_it_honours_pending_send_size(void **state)
{
	struct setup *s = *state;
	const uint8_t *page = s->view->pages[0];

	assert_int_equal(page[64], 1);
	assert_int_equal(get_le32(page + 12), 0);
	assert_int_equal(s->writer.data_bytes, DATA_BYTES);
	assert_int_equal(s->writer.data != NULL, s->gpns == contiguous);
}

static void indices_lie_where_linux_has_them(void **state)
{
	struct setup *s = *state;
	const uint8_t *page = s->view->pages[0];

	put(s, "0123456789abcdef", 16);
	assert_int_equal(get_le32(page), 16);
	assert_int_equal(get_le32(page + 4), 0);
	assert_int_equal(ring_readable_bytes(&s->reader), 16);
	assert_int_equal(ring_skip(&s->reader, 8), 0);
	assert_int_equal(get_le32(page + 4), 0);
	ring_publish_read(&s->reader);
	assert_int_equal(get_le32(page + 4), 8);
	ring_mask(&s->reader);
	assert_int_equal(get_le32(page + 8), 1);
	ring_unmask(&s->reader);
	assert_int_equal(get_le32(page + 8), 0);
	assert_memory_equal(s->view->pages[1], "0123456789abcdef", 16);
}

static void nothing_is_visible_before_it_is_published(void **state)
{
	struct setup *s = *state;

	assert_int_equal(ring_poke(&s->writer, 0, "12345678", 8), 0);
	assert_int_equal(ring_advance(&s->writer, 8), 0);
	assert_int_equal(ring_readable_bytes(&s->reader), 0);
	ring_publish_write(&s->writer);
	assert_int_equal(ring_readable_bytes(&s->reader), 8);
}

static void an_empty_and_a_full_ring_differ(void **state)
{
	struct setup *s = *state;
	uint8_t *bytes = calloc(1, DATA_BYTES);

	assert_int_equal(ring_readable_bytes(&s->reader), 0);
	assert_int_equal(ring_writable_bytes(&s->writer), DATA_BYTES - 8);
	put(s, bytes, DATA_BYTES - 8);
	assert_int_equal(ring_writable_bytes(&s->writer), 0);
	assert_int_equal(ring_readable_bytes(&s->reader), DATA_BYTES - 8);
	assert_int_equal(ring_poke(&s->writer, 0, bytes, 8), -EPROTO);
	assert_int_equal(ring_advance(&s->writer, 8), -EPROTO);
	free(bytes);
}

static void bytes_survive_every_wrap(void **state)
{
	struct setup *s = *state;
	uint8_t in[512];
	uint8_t out[512];
	uint32_t seed = 1;

	for (uint32_t index = DATA_BYTES - 512; index < DATA_BYTES; index += 8) {
		for (size_t i = 0; i < sizeof(in); i++)
			in[i] = (uint8_t)fixture_random(&seed);
		move_to(s, index);
		put(s, in, sizeof(in));
		assert_int_equal(ring_readable_bytes(&s->reader), sizeof(in));
		assert_int_equal(ring_peek(&s->reader, 0, out, sizeof(out)), 0);
		assert_memory_equal(in, out, sizeof(in));
		assert_int_equal(ring_peek(&s->reader, 100, out, 300), 0);
		assert_memory_equal(in + 100, out, 300);
		/* The guest's pages hold them at the right places. */
		for (uint32_t i = 0; i < sizeof(in); i += 61) {
			uint32_t at = (index + i) % DATA_BYTES;

			assert_int_equal(s->view->pages[1 + at / 4096][at % 4096], in[i]);
		}
	}
}

/* Any sequence of writes and reads gives back the same stream. */
static void a_long_random_stream_comes_out_as_it_went_in(void **state)
{
	struct setup *s = *state;
	uint32_t seed = 42;
	uint32_t in_seed = 7;
	uint32_t out_seed = 7;
	uint64_t total = 0;
	uint8_t bytes[2048];

	while (total < 4u << 20) {
		uint32_t length = fixture_random(&seed) % 256 * 8;
		int64_t room = ring_writable_bytes(&s->writer);

		if (length <= room) {
			for (uint32_t i = 0; i < length; i++)
				bytes[i] = (uint8_t)fixture_random(&in_seed);
			put(s, bytes, length);
		}
		length = fixture_random(&seed) % 256 * 8;
		if (length > ring_readable_bytes(&s->reader))
			continue;
		assert_int_equal(ring_peek(&s->reader, 0, bytes, length), 0);
		assert_int_equal(ring_skip(&s->reader, length), 0);
		ring_publish_read(&s->reader);
		for (uint32_t i = 0; i < length; i++)
			assert_int_equal(bytes[i], (uint8_t)fixture_random(&out_seed));
		total += length;
	}
}

static void reads_past_what_was_published_are_refused(void **state)
{
	struct setup *s = *state;
	uint8_t bytes[64];

	put(s, "0123456789abcdef", 16);
	ring_readable_bytes(&s->reader);
	assert_int_equal(ring_peek(&s->reader, 0, bytes, 17), -EPROTO);
	assert_int_equal(ring_peek(&s->reader, 16, bytes, 1), -EPROTO);
	assert_int_equal(ring_peek(&s->reader, UINT32_MAX, bytes, 8), -EPROTO);
	assert_int_equal(ring_skip(&s->reader, 17), -EPROTO);
	assert_int_equal(ring_peek(&s->reader, 8, bytes, 8), 0);
	assert_memory_equal(bytes, "89abcdef", 8);
}

static void the_writer_signals_an_idle_reader_only(void **state)
{
	struct setup *s = *state;

	assert_true(put(s, "12345678", 8));
	/* It has not read the first one: it is awake, or will see both. */
	assert_false(put(s, "12345678", 8));
	ring_readable_bytes(&s->reader);
	ring_skip(&s->reader, 16);
	ring_publish_read(&s->reader);
	ring_mask(&s->reader);
	assert_false(put(s, "12345678", 8));
	assert_true(ring_unmask(&s->reader));
	assert_int_equal(s->reader.peer_index, 24);
	ring_skip(&s->reader, 8);
	ring_publish_read(&s->reader);
	assert_false(ring_unmask(&s->reader));
	assert_true(put(s, "12345678", 8));
	/* Nothing new, nothing to say. */
	assert_false(ring_publish_write(&s->writer));
}

static void a_batch_is_one_signal(void **state)
{
	struct setup *s = *state;
	unsigned signals = 0;

	for (int i = 0; i < 10; i++) {
		ring_poke(&s->writer, 0, "12345678", 8);
		ring_advance(&s->writer, 8);
	}
	signals += ring_publish_write(&s->writer);
	assert_int_equal(signals, 1);
}

static void the_reader_signals_when_enough_has_become_free(void **state)
{
	struct setup *s = *state;
	uint8_t *bytes = calloc(1, DATA_BYTES);

	put(s, bytes, DATA_BYTES - 8);
	ring_set_pending_send_bytes(&s->writer, 1000);
	assert_int_equal(s->control->pending_send_size, 1000);
	assert_int_equal(ring_writable_bytes(&s->writer), 0);
	ring_readable_bytes(&s->reader);
	ring_skip(&s->reader, 992);
	assert_false(ring_publish_read(&s->reader)); /* 1000 are free, 992 writable */
	ring_skip(&s->reader, 8);
	assert_true(ring_publish_read(&s->reader));
	assert_int_equal(ring_writable_bytes(&s->writer), 1000);
	ring_skip(&s->reader, 8);
	assert_false(ring_publish_read(&s->reader)); /* it was told already */
	ring_set_pending_send_bytes(&s->writer, 0);
	ring_skip(&s->reader, 4000);
	assert_false(ring_publish_read(&s->reader));
	free(bytes);
}

static void no_pending_size_wakes_the_writer_by_mistake(void **state)
{
	struct setup *s = *state;

	/* Larger than the ring: can never be met; and the ring size less one, which some guests use
	 * for "empty". */
	put(s, "12345678", 8);
	ring_readable_bytes(&s->reader);
	s->control->pending_send_size = UINT32_MAX;
	ring_skip(&s->reader, 8);
	assert_false(ring_publish_read(&s->reader));
	put(s, "12345678", 8);
	ring_readable_bytes(&s->reader);
	s->control->pending_send_size = DATA_BYTES - 1;
	ring_skip(&s->reader, 8);
	assert_true(ring_publish_read(&s->reader));
}

static void ring_rejects_index_past_end(void **state)
{
	struct setup *s = *state;
	const uint32_t bad[] = {DATA_BYTES, DATA_BYTES + 8, UINT32_MAX, UINT32_MAX - 7, 4, 1};
	uint8_t byte;

	for (size_t i = 0; i < ARRAY_LENGTH(bad); i++) {
		move_to(s, 64);
		s->control->write_index = bad[i];
		assert_int_equal(ring_readable_bytes(&s->reader), -EPROTO);
		assert_true(s->reader.broken);
		/* It stays broken, whatever the guest writes then. */
		s->control->write_index = 72;
		assert_int_equal(ring_readable_bytes(&s->reader), -EPROTO);
		assert_int_equal(ring_peek(&s->reader, 0, &byte, 1), -EPROTO);
		assert_int_equal(ring_skip(&s->reader, 0), -EPROTO);
		assert_int_equal(ring_readable_known(&s->reader), 0);

		s->control->read_index = bad[i];
		assert_int_equal(ring_writable_bytes(&s->writer), -EPROTO);
		assert_int_equal(ring_poke(&s->writer, 0, &byte, 1), -EPROTO);
		assert_false(ring_publish_write(&s->writer));
		assert_int_equal(ring_init_writer(&s->writer, s->view), -EPROTO);
	}
}

static void an_index_that_turns_bad_during_unmask_is_found_by_the_next_read(void **state)
{
	struct setup *s = *state;

	s->control->write_index = 3;
	assert_true(ring_unmask(&s->reader));
	assert_int_equal(ring_readable_bytes(&s->reader), -EPROTO);
}

static void our_own_index_is_not_taken_from_guest_memory(void **state)
{
	struct setup *s = *state;

	s->control->write_index = 4096; /* scribbled over: it is the writer's */
	put(s, "12345678", 8);
	assert_int_equal(s->control->write_index, 8);
	s->control->read_index = 4096;
	assert_int_equal(ring_readable_bytes(&s->reader), 8);
}

static void published_pages_are_dirty_and_the_control_page_too(void **state)
{
	struct setup *s = *state;
	uint8_t bytes[16] = {0};
	uint64_t dirty;

	move_to(s, 4096 - 8);
	guest_memory_dirty_fetch_and_clear(s->memory, 0, &dirty, 1);
	ring_poke(&s->writer, 0, bytes, 16);
	ring_advance(&s->writer, 16);
	ring_publish_write(&s->writer);
	guest_memory_dirty_fetch_and_clear(s->memory, 0, &dirty, 1);
	assert_true(dirty == (UINT64_C(1) << s->gpns[0] | UINT64_C(1) << s->gpns[1] |
			      UINT64_C(1) << s->gpns[2]));
	move_to(s, DATA_BYTES - 8);
	guest_memory_dirty_fetch_and_clear(s->memory, 0, &dirty, 1);
	put(s, bytes, 16);
	guest_memory_dirty_fetch_and_clear(s->memory, 0, &dirty, 1);
	assert_true(dirty == (UINT64_C(1) << s->gpns[0] | UINT64_C(1) << s->gpns[1] |
			      UINT64_C(1) << s->gpns[3]));
	ring_readable_bytes(&s->reader);
	ring_skip(&s->reader, 16);
	ring_publish_read(&s->reader);
	guest_memory_dirty_fetch_and_clear(s->memory, 0, &dirty, 1);
	assert_true(dirty == UINT64_C(1) << s->gpns[0]);
}

static void a_ring_without_data_pages_is_refused(void **state)
{
	struct guest_memory *memory = fixture_memory(4);
	const uint64_t one = 2;
	struct gpadl_view *view = fixture_view(memory, &one, 1);
	struct ring ring;

	(void)state;
	assert_int_equal(ring_init_reader(&ring, view), -EINVAL);
	assert_int_equal(ring_init_writer(&ring, view), -EINVAL);
	gpadl_view_free(view);
	guest_memory_destroy(memory);
}

/* ---- two threads: no signal may be lost, no byte torn ---- */

#define STREAM_UNITS 200000u

struct doorbell {
	pthread_mutex_t lock;
	pthread_cond_t rung;
	bool ring;
};

static void doorbell_ring(struct doorbell *bell)
{
	pthread_mutex_lock(&bell->lock);
	bell->ring = true;
	pthread_cond_signal(&bell->rung);
	pthread_mutex_unlock(&bell->lock);
}

/* False where nobody rang in ten seconds: the signal was lost. */
static bool doorbell_wait(struct doorbell *bell)
{
	struct timespec until;
	int rc = 0;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += 10;
	pthread_mutex_lock(&bell->lock);
	while (!bell->ring && rc == 0)
		rc = pthread_cond_timedwait(&bell->rung, &bell->lock, &until);
	bell->ring = false;
	pthread_mutex_unlock(&bell->lock);
	return rc == 0;
}

struct stream {
	struct setup *setup;
	struct doorbell to_reader;
	struct doorbell to_writer;
	_Atomic bool failed;
};

static void *stream_write(void *arg)
{
	struct stream *stream = arg;
	struct ring *ring = &stream->setup->writer;
	uint64_t next = 0;

	while (next < STREAM_UNITS && !atomic_load(&stream->failed)) {
		uint32_t units = 1 + (uint32_t)(next % 5);

		if (ring_writable_bytes(ring) < (int64_t)units * 8) {
			ring_set_pending_send_bytes(ring, units * 8);
			if (ring_writable_bytes(ring) < (int64_t)units * 8 &&
			    !doorbell_wait(&stream->to_writer))
				atomic_store(&stream->failed, true);
			ring_set_pending_send_bytes(ring, 0);
			continue;
		}
		for (uint32_t i = 0; i < units; i++, next++)
			ring_poke(ring, i * 8, &next, 8);
		ring_advance(ring, units * 8);
		if (ring_publish_write(ring))
			doorbell_ring(&stream->to_reader);
	}
	return NULL;
}

static void stream_read(struct stream *stream)
{
	struct ring *ring = &stream->setup->reader;
	uint64_t expected = 0;

	ring_mask(ring);
	while (expected < STREAM_UNITS && !atomic_load(&stream->failed)) {
		int64_t readable = ring_readable_bytes(ring);

		for (int64_t i = 0; i < readable; i += 8, expected++) {
			uint64_t value = 0;

			ring_peek(ring, (uint32_t)i, &value, 8);
			if (value != expected)
				atomic_store(&stream->failed, true);
		}
		ring_skip(ring, (uint32_t)readable);
		if (ring_publish_read(ring))
			doorbell_ring(&stream->to_writer);
		if (readable == 0 && !ring_unmask(ring)) {
			if (!doorbell_wait(&stream->to_reader))
				atomic_store(&stream->failed, true);
			ring_mask(ring);
		}
	}
}

static void two_threads_lose_neither_bytes_nor_signals(void **state)
{
	struct stream stream = {
		.setup = *state,
		.to_reader = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false},
		.to_writer = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false},
	};
	pthread_t writer;

	assert_int_equal(pthread_create(&writer, NULL, stream_write, &stream), 0);
	stream_read(&stream);
	pthread_join(writer, NULL);
	assert_false(stream.failed);
}

#define BOTH(name)                                                                                 \
	cmocka_unit_test_setup_teardown(name, prepare_contiguous, clean_up),                       \
		cmocka_unit_test_setup_teardown(name, prepare_scattered, clean_up)

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH(the_writer_says_that_it_honours_pending_send_size),
		BOTH(indices_lie_where_linux_has_them),
		BOTH(nothing_is_visible_before_it_is_published),
		BOTH(an_empty_and_a_full_ring_differ),
		BOTH(bytes_survive_every_wrap),
		BOTH(a_long_random_stream_comes_out_as_it_went_in),
		BOTH(reads_past_what_was_published_are_refused),
		BOTH(the_writer_signals_an_idle_reader_only),
		BOTH(a_batch_is_one_signal),
		BOTH(the_reader_signals_when_enough_has_become_free),
		BOTH(no_pending_size_wakes_the_writer_by_mistake),
		BOTH(ring_rejects_index_past_end),
		BOTH(an_index_that_turns_bad_during_unmask_is_found_by_the_next_read),
		BOTH(our_own_index_is_not_taken_from_guest_memory),
		BOTH(published_pages_are_dirty_and_the_control_page_too),
		cmocka_unit_test(a_ring_without_data_pages_is_refused),
		BOTH(two_threads_lose_neither_bytes_nor_signals),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
