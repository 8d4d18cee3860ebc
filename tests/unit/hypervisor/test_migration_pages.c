/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Guest memory from a sender to a receiver: over TLS and loopback, with a "guest" that writes
 * meanwhile, and malformed frames straight into the receiver. The verdict is the receiver's memory.
 */
#include "tests/unit/test_main.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "hypervisor/migration/codec.h"
#include "hypervisor/migration/pages.h"
#include "hypervisor/migration/tls.h"
#include "tests/unit/hypervisor/tls_fixture.h"
#include "tests/unit/vmbus/memory_fixture.h"
#include "vmbus/guest_memory.h"

#define PATIENCE_MS 60000
#define PAGES	    2048

/* Two machines with the same memory map: 1536 pages at 0 and 512 at 4 GiB, in one file. */
struct machines {
	int fds[2];
	struct guest_memory *memory[2]; /* source, destination */
	struct migration_tls *tls[2][MIGRATION_MAX_CONNECTIONS];
	size_t connections;
	struct migration_page_sender *sender;
	struct migration_page_receiver *receiver;
};

#define LOW_PAGES  1536
#define HIGH_GPN   (UINT64_C(1) << 20)
#define PAGE_BYTES ((size_t)GUEST_PAGE_SIZE)

static struct guest_memory *memory_make(int fd)
{
	struct guest_memory_region regions[2] = {
		{.gpa = 0, .size_bytes = LOW_PAGES * GUEST_PAGE_SIZE, .fd = fd},
		{.gpa = HIGH_GPN << GUEST_PAGE_SHIFT,
		 .size_bytes = (PAGES - LOW_PAGES) * GUEST_PAGE_SIZE,
		 .fd_offset = LOW_PAGES * GUEST_PAGE_SIZE,
		 .fd = fd},
	};
	struct guest_memory *memory = NULL;

	assert_int_equal(guest_memory_create(regions, 2, -1, &memory), 0);
	return memory;
}

static void machines_make(struct machines *m)
{
	memset(m, 0, sizeof(*m));
	for (int i = 0; i < 2; i++) {
		m->fds[i] = fixture_memfd(PAGES * GUEST_PAGE_SIZE);
		m->memory[i] = memory_make(m->fds[i]);
	}
}

static void machines_connect(struct machines *m, size_t connections,
			     enum migration_compression compression, uint64_t bandwidth)
{
	struct migration_page_sender_options options = {.compression = compression,
							.bandwidth = bandwidth};
	struct migration_channel *channels[MIGRATION_MAX_CONNECTIONS];

	m->connections = connections;
	assert_int_equal(migration_page_receiver_create(m->memory[1], connections, &m->receiver),
			 0);
	for (size_t i = 0; i < connections; i++) {
		tls_fixture_connect(&m->tls[0][i], &m->tls[1][i]);
		channels[i] = migration_tls_channel(m->tls[0][i]);
		assert_int_equal(migration_page_receiver_add(m->receiver,
							     migration_tls_channel(m->tls[1][i])),
				 0);
	}
	assert_int_equal(migration_page_sender_create(m->memory[0], channels, connections, &options,
						      &m->sender),
			 0);
}

static void machines_destroy(struct machines *m)
{
	for (size_t i = 0; i < m->connections; i++) {
		migration_tls_shutdown(m->tls[0][i]);
		migration_tls_shutdown(m->tls[1][i]);
	}
	migration_page_sender_destroy(m->sender);
	migration_page_receiver_destroy(m->receiver);
	for (size_t i = 0; i < m->connections; i++) {
		migration_tls_destroy(m->tls[0][i]);
		migration_tls_destroy(m->tls[1][i]);
	}
	for (int i = 0; i < 2; i++) {
		guest_memory_destroy(m->memory[i]);
		close(m->fds[i]);
	}
}

/* The guest's write, by the file, which shows in the mappings at once; it marks the page after. */
static void guest_write(struct machines *m, uint64_t page, const void *bytes, size_t length)
{
	uint64_t gpn = page < LOW_PAGES ? page : HIGH_GPN + page - LOW_PAGES;

	assert_int_equal(pwrite(m->fds[0], bytes, length, (off_t)(page * PAGE_BYTES)),
			 (ssize_t)length);
	guest_memory_mark_dirty(m->memory[0], gpn << GUEST_PAGE_SHIFT, length);
}

static void guest_fill(struct machines *m, uint64_t page, uint32_t *seed, bool compressible)
{
	uint32_t words[PAGE_BYTES / 4];

	for (size_t i = 0; i < PAGE_BYTES / 4; i++)
		words[i] = compressible && i % 64 != 0 ? 0x11111111u : fixture_random(seed);
	guest_write(m, page, words, sizeof(words));
}

static int dirty_fetch(void *ctx, size_t region, uint64_t *words, size_t word_count)
{
	struct machines *m = ctx;
	uint64_t first = guest_memory_region_at(m->memory[0], region)->gpa >> GUEST_PAGE_SHIFT;
	uint64_t *got = calloc(word_count, sizeof(*got));
	int rc = guest_memory_dirty_fetch_and_clear(m->memory[0], first, got, word_count);

	for (size_t i = 0; i < word_count; i++)
		words[i] |= got[i];
	free(got);
	return rc;
}

static void expect_same(struct machines *m)
{
	uint8_t *bytes[2];

	for (int i = 0; i < 2; i++) {
		bytes[i] = malloc(PAGES * PAGE_BYTES);
		assert_int_equal(pread(m->fds[i], bytes[i], PAGES * PAGE_BYTES, 0),
				 (ssize_t)(PAGES * PAGE_BYTES));
	}
	for (size_t page = 0; page < PAGES; page++) {
		if (memcmp(bytes[0] + page * PAGE_BYTES, bytes[1] + page * PAGE_BYTES,
			   PAGE_BYTES) != 0)
			fail_msg("page %zu differs", page);
	}
	free(bytes[0]);
	free(bytes[1]);
}

static uint64_t memfd_pages(int fd)
{
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	return (uint64_t)st.st_blocks * 512 / GUEST_PAGE_SIZE;
}

static void send_round(struct machines *m, uint32_t round)
{
	assert_int_equal(migration_page_sender_round(m->sender, deadline_in_ms(PATIENCE_MS)), 0);
	assert_int_equal(
		migration_page_receiver_wait_round(m->receiver, round, deadline_in_ms(PATIENCE_MS)),
		0);
}

static void untouched_pages_are_neither_read_nor_sent(void **state)
{
	struct migration_page_stats stats;
	struct machines m;
	uint32_t seed = 1;

	(void)state;
	machines_make(&m);
	guest_fill(&m, 3, &seed, false);
	guest_fill(&m, 4, &seed, false);
	guest_fill(&m, LOW_PAGES, &seed, false); /* first page at 4 GiB */
	guest_fill(&m, PAGES - 1, &seed, false); /* the very last */
	machines_connect(&m, 2, MIGRATION_COMPRESSION_NONE, 0);
	assert_int_equal(migration_page_sender_add_all(m.sender), 0);
	migration_page_sender_get_stats(m.sender, &stats);
	assert_int_equal(stats.bytes_pending, 4 * PAGE_BYTES);
	send_round(&m, 0);
	expect_same(&m);
	migration_page_sender_get_stats(m.sender, &stats);
	assert_int_equal(stats.bytes_data, 4 * PAGE_BYTES);
	assert_int_equal(stats.bytes_zero, 0);
	assert_int_equal(stats.bytes_pending, 0);
	assert_int_equal(memfd_pages(m.fds[0]), 4);
	assert_int_equal(memfd_pages(m.fds[1]), 4);
	machines_destroy(&m);
}

static void zero_pages_go_as_marks_and_cost_the_receiver_nothing(void **state)
{
	static const uint8_t zero[PAGE_BYTES];
	struct migration_page_stats stats;
	struct machines m;
	uint32_t seed = 1;

	(void)state;
	machines_make(&m);
	for (uint64_t page = 0; page < 1000; page++)
		guest_write(&m, page, zero, sizeof(zero));
	guest_fill(&m, 500, &seed, false);
	machines_connect(&m, 1, MIGRATION_COMPRESSION_NONE, 0);
	assert_int_equal(migration_page_sender_add_all(m.sender), 0);
	send_round(&m, 0);
	expect_same(&m);
	migration_page_sender_get_stats(m.sender, &stats);
	assert_int_equal(stats.bytes_data, PAGE_BYTES);
	assert_int_equal(stats.bytes_zero, 999 * PAGE_BYTES);
	assert_true(stats.bytes_sent < PAGE_BYTES + 1024);
	assert_int_equal(memfd_pages(m.fds[1]), 1);
	machines_destroy(&m);
}

static void page_that_becomes_zero_is_zeroed(void **state)
{
	static const uint8_t zero[PAGE_BYTES];
	struct machines m;
	uint32_t seed = 1;
	uint64_t bytes;

	(void)state;
	machines_make(&m);
	for (uint64_t page = 0; page < 200; page++)
		guest_fill(&m, page, &seed, false);
	machines_connect(&m, 2, MIGRATION_COMPRESSION_LZ4, 0);
	assert_int_equal(migration_page_sender_add_all(m.sender), 0);
	assert_int_equal(migration_page_sender_add_dirty(m.sender, dirty_fetch, &m, &bytes), 0);
	send_round(&m, 0);
	expect_same(&m);
	for (uint64_t page = 50; page < 150; page++)
		guest_write(&m, page, zero, sizeof(zero));
	assert_int_equal(migration_page_sender_add_dirty(m.sender, dirty_fetch, &m, &bytes), 0);
	assert_int_equal(bytes, 100 * PAGE_BYTES);
	send_round(&m, 1);
	expect_same(&m);
	machines_destroy(&m);
}

/* A guest that writes until it is stopped. */
struct guest {
	struct machines *m;
	pthread_t thread;
	_Atomic bool stop;
	uint64_t writes;
};

static void *guest_run(void *arg)
{
	static const uint8_t zero[PAGE_BYTES];
	struct guest *guest = arg;
	uint32_t seed = 77;

	while (!atomic_load(&guest->stop)) {
		uint64_t page = fixture_random(&seed) % PAGES;
		uint32_t what = fixture_random(&seed) % 4;

		if (what == 0)
			guest_write(guest->m, page, zero, sizeof(zero));
		else if (what == 1)
			guest_write(guest->m, page, &seed, sizeof(seed));
		else
			guest_fill(guest->m, page, &seed, what == 2);
		guest->writes++;
		if (guest->writes % 16 == 0)
			usleep(200);
	}
	return NULL;
}

/* Rounds while the guest runs, then it is stopped, and a last round. */
static void memory_moves_under_a_writing_guest(enum migration_compression compression,
					       size_t connections)
{
	struct guest guest = {0};
	struct machines m;
	uint32_t seed = 5;
	uint64_t bytes = 0;
	uint32_t round = 0;

	machines_make(&m);
	for (uint64_t page = 0; page < PAGES; page += 1 + fixture_random(&seed) % 3)
		guest_fill(&m, page, &seed, fixture_random(&seed) % 2);
	machines_connect(&m, connections, compression, 0);
	guest.m = &m;
	assert_int_equal(pthread_create(&guest.thread, NULL, guest_run, &guest), 0);
	/* The log begins, then what is there is looked at. */
	assert_int_equal(migration_page_sender_add_dirty(m.sender, dirty_fetch, &m, &bytes), 0);
	assert_int_equal(migration_page_sender_add_all(m.sender), 0);
	for (; round < 10; round++) {
		send_round(&m, round);
		assert_int_equal(migration_page_sender_add_dirty(m.sender, dirty_fetch, &m, &bytes),
				 0);
		usleep(2000);
	}
	atomic_store(&guest.stop, true);
	pthread_join(guest.thread, NULL);
	assert_true(guest.writes > 100);
	assert_int_equal(migration_page_sender_add_dirty(m.sender, dirty_fetch, &m, &bytes), 0);
	send_round(&m, round);
	assert_int_equal(migration_page_sender_finish(m.sender, deadline_in_ms(PATIENCE_MS)), 0);
	expect_same(&m);
	machines_destroy(&m);
}

static void memory_converges_uncompressed(void **state)
{
	(void)state;
	memory_moves_under_a_writing_guest(MIGRATION_COMPRESSION_NONE, 2);
}

static void memory_converges_with_lz4_over_four(void **state)
{
	(void)state;
	memory_moves_under_a_writing_guest(MIGRATION_COMPRESSION_LZ4, 4);
}

static void memory_converges_with_zstd(void **state)
{
	(void)state;
	memory_moves_under_a_writing_guest(MIGRATION_COMPRESSION_ZSTD, 1);
}

static void compression_saves_bytes(void **state)
{
	static const enum migration_compression kinds[] = {MIGRATION_COMPRESSION_LZ4,
							   MIGRATION_COMPRESSION_ZSTD};
	struct migration_page_stats stats;
	uint32_t seed = 5;

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct machines m;

		machines_make(&m);
		for (uint64_t page = 0; page < 512; page++)
			guest_fill(&m, page, &seed, true);
		machines_connect(&m, 1, kinds[i], 0);
		assert_int_equal(migration_page_sender_add_all(m.sender), 0);
		send_round(&m, 0);
		expect_same(&m);
		migration_page_sender_get_stats(m.sender, &stats);
		assert_int_equal(stats.bytes_data, 512 * PAGE_BYTES);
		assert_true(stats.bytes_sent < stats.bytes_data / 4);
		machines_destroy(&m);
	}
}

static void bandwidth_is_kept_over_all_connections(void **state)
{
	struct migration_page_stats stats;
	struct machines m;
	uint32_t seed = 5;
	uint64_t start, took;

	(void)state;
	machines_make(&m);
	for (uint64_t page = 0; page < 1024; page++) /* 4 MiB */
		guest_fill(&m, page, &seed, false);
	machines_connect(&m, 4, MIGRATION_COMPRESSION_NONE, 8 << 20);
	assert_int_equal(migration_page_sender_add_all(m.sender), 0);
	start = monotonic_ns();
	send_round(&m, 0);
	took = monotonic_ns() - start;
	/* Half a second, less what may be saved up and one frame each. */
	assert_true(took > 350 * NS_PER_MS);
	assert_true(took < 20 * NS_PER_SEC);
	migration_page_sender_get_stats(m.sender, &stats);
	assert_true(stats.rate < 12 << 20);
	expect_same(&m);
	machines_destroy(&m);
}

struct cancelling {
	struct migration_page_sender *sender;
	bool lift;
};

static void *cancel_run(void *arg)
{
	struct cancelling *cancelling = arg;

	usleep(50000);
	if (cancelling->lift)
		migration_page_sender_set_bandwidth(cancelling->sender, 0);
	else
		migration_page_sender_cancel(cancelling->sender);
	return NULL;
}

static void round_ends_at_once_when_cancelled_or_unbound(void **state)
{
	uint32_t seed = 5;

	(void)state;
	for (int lift = 0; lift < 2; lift++) {
		struct cancelling cancelling;
		struct machines m;
		pthread_t thread;
		uint64_t start;
		int rc;

		machines_make(&m);
		for (uint64_t page = 0; page < 1024; page++)
			guest_fill(&m, page, &seed, false);
		machines_connect(&m, 2, MIGRATION_COMPRESSION_NONE, 4096);
		assert_int_equal(migration_page_sender_add_all(m.sender), 0);
		cancelling = (struct cancelling){.sender = m.sender, .lift = lift};
		assert_int_equal(pthread_create(&thread, NULL, cancel_run, &cancelling), 0);
		start = monotonic_ns();
		rc = migration_page_sender_round(m.sender, deadline_in_ms(PATIENCE_MS));
		assert_int_equal(rc, lift ? 0 : -ECANCELED);
		assert_true(monotonic_ns() - start < 20 * NS_PER_SEC);
		pthread_join(thread, NULL);
		/* And there is no further round after one that was lost. */
		if (!lift)
			assert_int_equal(
				migration_page_sender_round(m.sender, deadline_in_ms(PATIENCE_MS)),
				-ECANCELED);
		machines_destroy(&m);
	}
}

static void round_that_is_too_slow_times_out(void **state)
{
	struct machines m;
	uint32_t seed = 5;

	(void)state;
	machines_make(&m);
	for (uint64_t page = 0; page < 64; page++)
		guest_fill(&m, page, &seed, false);
	machines_connect(&m, 1, MIGRATION_COMPRESSION_NONE, 4096);
	assert_int_equal(migration_page_sender_add_all(m.sender), 0);
	assert_int_equal(migration_page_sender_round(m.sender, deadline_in_ms(100)), -ETIMEDOUT);
	machines_destroy(&m);
}

static void cut_connection_ends_both_sides(void **state)
{
	struct machines m;
	uint32_t seed = 5;
	int rc = 0;

	(void)state;
	machines_make(&m);
	machines_connect(&m, 2, MIGRATION_COMPRESSION_NONE, 0);
	for (uint64_t page = 0; page < PAGES; page++)
		guest_fill(&m, page, &seed, false);
	assert_int_equal(migration_page_sender_add_all(m.sender), 0);
	send_round(&m, 0);
	migration_tls_shutdown(m.tls[1][1]);
	assert_int_equal(
		migration_page_receiver_wait_round(m.receiver, 1, deadline_in_ms(PATIENCE_MS)),
		-ECANCELED);
	for (int i = 0; rc == 0 && i < 100; i++) {
		assert_int_equal(migration_page_sender_add_all(m.sender), 0);
		rc = migration_page_sender_round(m.sender, deadline_in_ms(2000));
	}
	assert_true(rc < 0);
	machines_destroy(&m);
}

static void receiver_waits_no_longer_than_asked(void **state)
{
	struct machines m;

	(void)state;
	machines_make(&m);
	machines_connect(&m, 1, MIGRATION_COMPRESSION_NONE, 0);
	assert_int_equal(migration_page_receiver_wait_round(m.receiver, 0, deadline_in_ms(50)),
			 -ETIMEDOUT);
	migration_page_receiver_cancel(m.receiver);
	assert_int_equal(
		migration_page_receiver_wait_round(m.receiver, 0, deadline_in_ms(PATIENCE_MS)),
		-ECANCELED);
	machines_destroy(&m);
}

/* A channel whose reads are noted and go nowhere. */
struct noting {
	struct migration_channel channel;
	_Atomic uint64_t patience_ms; /* that the last read had */
};

static int noting_read(void *ctx, void *to, size_t length, struct deadline deadline)
{
	struct noting *noting = ctx;

	(void)to;
	(void)length;
	atomic_store(&noting->patience_ms, (deadline.at_ns - monotonic_ns()) / NS_PER_MS);
	return -ECONNRESET;
}

/* On a slow wire, or below a low limit, one of eight connections has its turn after minutes: that
 * is no end. Whether anything comes at all is asked for elsewhere. */
static void connection_waits_for_its_turn_for_hours(void **state)
{
	static const struct migration_channel_ops ops = {.read = noting_read};
	struct noting noting = {.patience_ms = 0};
	struct machines m;

	(void)state;
	machines_make(&m);
	migration_channel_init(&noting.channel, &ops, &noting, false);
	assert_int_equal(migration_page_receiver_create(m.memory[1], 1, &m.receiver), 0);
	assert_int_equal(migration_page_receiver_add(m.receiver, &noting.channel), 0);
	assert_int_equal(
		migration_page_receiver_wait_round(m.receiver, 0, deadline_in_ms(PATIENCE_MS)),
		-ECONNRESET);
	assert_true(atomic_load(&noting.patience_ms) > 3600 * 1000);
	machines_destroy(&m);
}

static void receiver_tells_for_how_long_nothing_came(void **state)
{
	struct machines m;

	(void)state;
	machines_make(&m);
	machines_connect(&m, 2, MIGRATION_COMPRESSION_NONE, 0);
	usleep(60000);
	assert_true(migration_page_receiver_idle_ms(m.receiver) >= 50);
	assert_int_equal(migration_page_sender_add_all(m.sender), 0);
	send_round(&m, 0);
	assert_int_equal(
		migration_page_receiver_wait_round(m.receiver, 0, deadline_in_ms(PATIENCE_MS)), 0);
	assert_true(migration_page_receiver_idle_ms(m.receiver) < PATIENCE_MS);
	machines_destroy(&m);
}

static int page_say(struct machines *m, size_t connection, uint64_t gpn)
{
	uint8_t payload[16 + 16 + PAGE_BYTES] = {0};

	put_le32(payload + 4, 1);
	put_le32(payload + 8, PAGE_BYTES);
	put_le64(payload + 16, gpn);
	put_le32(payload + 24, 1);
	memset(payload + 32, 0xee, PAGE_BYTES);
	return migration_message_send(migration_tls_channel(m->tls[0][connection]),
				      MIGRATION_FRAME_PAGES, payload, sizeof(payload),
				      deadline_in_ms(PATIENCE_MS));
}

static void round_end_say(struct machines *m, size_t connection, uint32_t round)
{
	uint8_t end[sizeof(struct migration_round_end)] = {0};

	put_le32(end, round);
	assert_int_equal(migration_message_send(migration_tls_channel(m->tls[0][connection]),
						MIGRATION_FRAME_ROUND_END, end, sizeof(end),
						deadline_in_ms(PATIENCE_MS)),
			 0);
}

static bool page_is_filled(struct machines *m, uint64_t page)
{
	uint8_t byte = 0;

	assert_int_equal(pread(m->fds[1], &byte, 1, (off_t)(page * PAGE_BYTES)), 1);
	return byte == 0xee;
}

/* The memory is the VM's by then: it may be running. */
static void pages_after_the_last_round_are_not_taken(void **state)
{
	struct machines m;
	int rc = 0;

	(void)state;
	machines_make(&m);
	machines_connect(&m, 1, MIGRATION_COMPRESSION_NONE, 0);
	assert_int_equal(migration_page_receiver_set_last(m.receiver, 0), 0);
	assert_int_equal(migration_page_receiver_set_last(m.receiver, 1), -EPROTO);
	assert_int_equal(page_say(&m, 0, 3), 0);
	round_end_say(&m, 0, 0);
	assert_int_equal(
		migration_page_receiver_wait_round(m.receiver, 0, deadline_in_ms(PATIENCE_MS)), 0);
	assert_true(page_is_filled(&m, 3));
	for (int i = 0; i < 20; i++) {
		(void)page_say(&m, 0, 5);
		usleep(1000);
	}
	rc = migration_page_receiver_wait_round(m.receiver, 1, deadline_in_ms(PATIENCE_MS));
	assert_int_equal(rc, -EPROTO);
	assert_false(page_is_filled(&m, 5));
	machines_destroy(&m);
}

/* The word about the last round travels on another connection, and may be overtaken. */
static void pages_that_overtook_the_word_of_the_last_round_are_noticed(void **state)
{
	struct machines m;

	(void)state;
	machines_make(&m);
	machines_connect(&m, 1, MIGRATION_COMPRESSION_NONE, 0);
	round_end_say(&m, 0, 0);
	assert_int_equal(page_say(&m, 0, 5), 0);
	round_end_say(&m, 0, 1);
	assert_int_equal(
		migration_page_receiver_wait_round(m.receiver, 1, deadline_in_ms(PATIENCE_MS)), 0);
	assert_int_equal(migration_page_receiver_set_last(m.receiver, 0), -EPROTO);
	assert_int_equal(migration_page_receiver_set_last(m.receiver, 1), 0);
	machines_destroy(&m);
}

/* ---- frames made by hand ---- */

struct frame {
	uint8_t bytes[MIGRATION_MAX_PAGES_BYTES];
	size_t length;
};

static void frame_begin(struct frame *frame, uint32_t compression, uint32_t runs, uint32_t data)
{
	put_le32(frame->bytes, compression);
	put_le32(frame->bytes + 4, runs);
	put_le32(frame->bytes + 8, data);
	put_le32(frame->bytes + 12, 0);
	frame->length = 16;
}

static void frame_run(struct frame *frame, uint64_t gpn, uint32_t count, uint32_t kind)
{
	put_le64(frame->bytes + frame->length, gpn);
	put_le32(frame->bytes + frame->length + 8, count);
	put_le32(frame->bytes + frame->length + 12, kind);
	frame->length += 16;
}

static void frame_data(struct frame *frame, const void *bytes, size_t length)
{
	memcpy(frame->bytes + frame->length, bytes, length);
	frame->length += length;
}

static int frame_apply(struct machines *m, const struct frame *frame)
{
	/* As long as it is and no longer, so that a sanitizer sees who reads on. */
	uint8_t *exact = malloc(frame->length);
	int rc;

	memcpy(exact, frame->bytes, frame->length);
	rc = migration_page_receiver_apply(m->receiver, exact, frame->length);
	free(exact);
	return rc;
}

static void golden_frame_fills_and_zeroes(void **state)
{
	static const uint8_t head[] = {
		0,    0, 0, 0, 2, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0, /* one page of data */
		7,    0, 0, 0, 0, 0, 0, 0, 1, 0,    0, 0, 0, 0, 0, 0, /* page 7 */
		0xff, 5, 0, 0, 0, 0, 0, 0, 1, 0,    0, 0, 1, 0, 0, 0, /* page 1535 is zero */
	};
	static struct frame frame;
	uint8_t page[PAGE_BYTES];
	struct machines m;

	(void)state;
	machines_make(&m);
	memset(page, 0xa5, sizeof(page));
	assert_int_equal(pwrite(m.fds[1], page, sizeof(page), 1535 * PAGE_BYTES), PAGE_BYTES);
	assert_int_equal(migration_page_receiver_create(m.memory[1], 0, &m.receiver), 0);
	memcpy(frame.bytes, head, sizeof(head));
	frame.length = sizeof(head);
	frame_data(&frame, page, sizeof(page));
	assert_int_equal(frame_apply(&m, &frame), 0);
	guest_write(&m, 7, page, sizeof(page));
	expect_same(&m);
	machines_destroy(&m);
}

static void malformed_frames_are_refused(void **state)
{
	static const uint8_t page[2 * PAGE_BYTES] = {1};
	static struct frame frame;
	struct machines m;

	(void)state;
	machines_make(&m);
	assert_int_equal(migration_page_receiver_create(m.memory[1], 0, &m.receiver), 0);
	static const struct {
		uint32_t runs, data;
		uint64_t gpn;
		uint32_t count, kind;
		size_t bytes;
	} cases[] = {
		{1, 4096, LOW_PAGES, 1, 0, 4096},     /* in the hole */
		{1, 8192, LOW_PAGES - 1, 2, 0, 8192}, /* across its edge */
		{1, 4096, HIGH_GPN + 512, 1, 0, 4096},
		{1, 4096, UINT64_MAX, 1, 0, 4096},
		{1, 4096, UINT64_MAX >> 12, 1, 0, 4096},
		{1, 0, 0, UINT32_MAX, 1, 0},
		{1, 0, HIGH_GPN, 513, 1, 0},
		{1, 0, 0, 0, 1, 0},	  /* empty run */
		{1, 4096, 0, 1, 2, 4096}, /* unknown kind */
		{1, 4096, 0, 2, 0, 4096}, /* fewer bytes than pages */
		{1, 4096, 0, 1, 0, 4095}, /* cut */
		{1, 4096, 0, 1, 0, 4097}, /* too long */
		{1, 4096, 0, 1, 1, 4096}, /* data, though all is zero */
		{1, 0, 0, 1, 1, 1},	  /* bytes after the runs */
		{0, 0, 0, 1, 1, 0},	  /* no runs */
		{257, 0, 0, 1, 1, 0},	  /* too many */
		{2, 4096, 0, 1, 0, 0},	  /* fewer runs than said */
		{UINT32_MAX, 0, 0, 1, 1, 0},
		{1, 0xfffff000u, 0, 0xfffff, 0, 4096},
	};
	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		frame_begin(&frame, 0, cases[i].runs, cases[i].data);
		frame_run(&frame, cases[i].gpn, cases[i].count, cases[i].kind);
		frame_data(&frame, page, cases[i].bytes);
		if (frame_apply(&m, &frame) != -EPROTO)
			fail_msg("case %zu was not refused", i);
	}
	for (size_t length = 0; length < 16; length++) {
		frame.length = length;
		assert_int_equal(frame_apply(&m, &frame), -EPROTO);
	}
	assert_int_equal(memfd_pages(m.fds[1]), 0); /* nothing was written by any of them */
	machines_destroy(&m);
}

static void compressed_data_that_lies_is_refused(void **state)
{
	static const enum migration_compression kinds[] = {MIGRATION_COMPRESSION_LZ4,
							   MIGRATION_COMPRESSION_ZSTD};
	static const uint8_t pages[2 * PAGE_BYTES];
	static struct frame frame;
	uint8_t packed[PAGE_BYTES];
	struct migration_codec *codec;
	struct machines m;

	(void)state;
	machines_make(&m);
	assert_int_equal(migration_page_receiver_create(m.memory[1], 0, &m.receiver), 0);
	assert_int_equal(migration_codec_create(&codec), 0);
	for (size_t i = 0; i < 2; i++) {
		size_t two = migration_compress(codec, kinds[i], pages, sizeof(pages), packed,
						sizeof(packed));

		assert_true(two > 0);
		for (uint32_t count = 1; count < 4; count++) { /* 2 is what it really holds */
			frame_begin(&frame, kinds[i], 1, count * 4096);
			frame_run(&frame, 0, count, 0);
			frame_data(&frame, packed, two);
			assert_int_equal(frame_apply(&m, &frame), count == 2 ? 0 : -EPROTO);
		}
		frame_begin(&frame, kinds[i], 1, 2 * 4096);
		frame_run(&frame, 0, 2, 0);
		frame_data(&frame, packed, two - 1);
		assert_int_equal(frame_apply(&m, &frame), -EPROTO);
	}
	frame_begin(&frame, 3, 1, 4096); /* no such compression */
	frame_run(&frame, 0, 1, 0);
	frame_data(&frame, pages, 4095);
	assert_int_equal(frame_apply(&m, &frame), -EPROTO);
	migration_codec_destroy(codec);
	machines_destroy(&m);
}

static void receiver_refuses_rounds_out_of_order_and_other_frames(void **state)
{
	static const struct {
		uint32_t type;
		uint32_t first; /* word of the payload */
		size_t length;
	} cases[] = {
		{MIGRATION_FRAME_ROUND_END, 1, 8}, {MIGRATION_FRAME_ROUND_END, UINT32_MAX, 8},
		{MIGRATION_FRAME_ROUND_END, 0, 4}, {MIGRATION_FRAME_MEMORY_END, 0, 4},
		{MIGRATION_FRAME_COMMIT, 0, 0},	   {0, 0, 0},
		{MIGRATION_FRAME_PAGES, 0, 0},	   {MIGRATION_FRAME_STATE, 0, 8},
	};
	uint8_t payload[8] = {0};

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		struct machines m;

		machines_make(&m);
		machines_connect(&m, 1, MIGRATION_COMPRESSION_NONE, 0);
		put_le32(payload, cases[i].first);
		assert_int_equal(migration_message_send(migration_tls_channel(m.tls[0][0]),
							cases[i].type, payload, cases[i].length,
							deadline_in_ms(PATIENCE_MS)),
				 0);
		assert_int_equal(migration_page_receiver_wait_round(m.receiver, 0,
								    deadline_in_ms(PATIENCE_MS)),
				 -EPROTO);
		machines_destroy(&m);
	}
}

static void channel_that_ends_early_fails_the_round(void **state)
{
	struct machines m;

	(void)state;
	machines_make(&m);
	machines_connect(&m, 2, MIGRATION_COMPRESSION_NONE, 0);
	assert_int_equal(migration_message_send(migration_tls_channel(m.tls[0][1]),
						MIGRATION_FRAME_MEMORY_END, NULL, 0,
						deadline_in_ms(PATIENCE_MS)),
			 0);
	assert_int_equal(
		migration_page_receiver_wait_round(m.receiver, 0, deadline_in_ms(PATIENCE_MS)),
		-EPROTO);
	machines_destroy(&m);
}

static void zero_check_sees_every_byte(void **state)
{
	uint8_t *page = aligned_alloc(4096, 4096);

	(void)state;
	memset(page, 0, 4096);
	assert_true(migration_page_is_zero(page));
	for (size_t i = 0; i < 4096; i++) {
		page[i] = 1;
		assert_false(migration_page_is_zero(page));
		page[i] = 0;
	}
	free(page);
}

static int group_setup(void **state)
{
	(void)state;
	tls_fixture_make();
	return 0;
}

static int group_teardown(void **state)
{
	(void)state;
	tls_fixture_remove();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(untouched_pages_are_neither_read_nor_sent),
		cmocka_unit_test(zero_pages_go_as_marks_and_cost_the_receiver_nothing),
		cmocka_unit_test(page_that_becomes_zero_is_zeroed),
		cmocka_unit_test(memory_converges_uncompressed),
		cmocka_unit_test(memory_converges_with_lz4_over_four),
		cmocka_unit_test(memory_converges_with_zstd),
		cmocka_unit_test(compression_saves_bytes),
		cmocka_unit_test(bandwidth_is_kept_over_all_connections),
		cmocka_unit_test(round_ends_at_once_when_cancelled_or_unbound),
		cmocka_unit_test(round_that_is_too_slow_times_out),
		cmocka_unit_test(cut_connection_ends_both_sides),
		cmocka_unit_test(receiver_waits_no_longer_than_asked),
		cmocka_unit_test(connection_waits_for_its_turn_for_hours),
		cmocka_unit_test(receiver_tells_for_how_long_nothing_came),
		cmocka_unit_test(pages_after_the_last_round_are_not_taken),
		cmocka_unit_test(pages_that_overtook_the_word_of_the_last_round_are_noticed),
		cmocka_unit_test(golden_frame_fills_and_zeroes),
		cmocka_unit_test(malformed_frames_are_refused),
		cmocka_unit_test(compressed_data_that_lies_is_refused),
		cmocka_unit_test(receiver_refuses_rounds_out_of_order_and_other_frames),
		cmocka_unit_test(channel_that_ends_early_fails_the_round),
		cmocka_unit_test(zero_check_sees_every_byte),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
