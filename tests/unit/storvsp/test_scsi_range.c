/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * COMPARE AND WRITE from several threads at once, on a disk that answers later: a counter in a
 * block, which every thread reads and counts on, loses nothing. And the order in which claims on
 * ranges are granted.
 */
#include "tests/unit/test_main.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/deadline.h"
#include "storvsp/io_loop.h"
#include "storvsp/scsi.h"
#include "tests/unit/storvsp/memory_disk.h"

#define THREADS	  3
#define ROUNDS	  100
#define BLOCK	  ((size_t)512)
#define WAIT_MS	  10000
#define COUNTER	  5 /* block */
#define NEIGHBOUR 6 /* first of the threads' own blocks */

struct worker {
	struct scsi_unit *unit;
	struct io_loop *loop;
	uint8_t index;
	pthread_t thread;
	struct scsi_command command;
	struct iovec iov;
	bool ended;
	unsigned int retries;
	uint8_t buffer[2 * BLOCK];
};

static void worker_done(struct scsi_command *command)
{
	struct worker *worker =
		(struct worker *)((char *)command - offsetof(struct worker, command));

	worker->ended = true;
}

static void worker_run(struct worker *worker, const uint8_t *cdb, size_t cdb_bytes,
		       enum disk_direction direction, size_t bytes)
{
	struct scsi_command *command = &worker->command;

	memset(command, 0, sizeof(*command));
	memcpy(command->cdb, cdb, cdb_bytes);
	command->cdb_bytes = (uint8_t)cdb_bytes;
	command->direction = direction;
	worker->iov = (struct iovec){worker->buffer, bytes};
	command->iov = &worker->iov;
	command->iov_count = 1;
	command->data_bytes = bytes;
	command->loop = worker->loop;
	command->done = worker_done;
	worker->ended = false;
	scsi_unit_execute(worker->unit, command);
	while (!worker->ended) {
		if (io_loop_run(worker->loop, WAIT_MS) <= 0)
			abort();
	}
}

/* One more: reads the counter, and writes the next number if it is still the same. */
static void worker_count(struct worker *worker)
{
	static const uint8_t read_10[10] = {0x28, 0, 0, 0, 0, COUNTER, 0, 0, 1, 0};
	static const uint8_t caw[16] = {0x89, 0, 0, 0, 0, 0, 0, 0, 0, COUNTER, 0, 0, 0, 1};

	for (;;) {
		worker_run(worker, read_10, sizeof(read_10), DISK_FROM_DEVICE, BLOCK);
		if (worker->command.status != 0)
			abort();
		memcpy(&worker->buffer[BLOCK], worker->buffer, BLOCK);
		put_be32(&worker->buffer[BLOCK], get_be32(worker->buffer) + 1);
		worker_run(worker, caw, sizeof(caw), DISK_TO_DEVICE, 2 * BLOCK);
		if (worker->command.status == 0)
			return;
		if (worker->command.sense[2] != 0xe)
			abort();
		worker->retries++;
	}
}

/* Writes beside the counter go on meanwhile. */
static void worker_write(struct worker *worker, uint8_t value)
{
	const uint8_t write_10[10] = {0x2a, 0, 0, 0, 0, (uint8_t)(NEIGHBOUR + worker->index),
				      0,    0, 1, 0};

	memset(worker->buffer, value, BLOCK);
	worker_run(worker, write_10, sizeof(write_10), DISK_TO_DEVICE, BLOCK);
	if (worker->command.status != 0)
		abort();
}

static void *worker_main(void *argument)
{
	struct worker *worker = argument;

	for (unsigned int i = 0; i < ROUNDS; i++) {
		worker_count(worker);
		worker_write(worker, (uint8_t)(i + 1));
	}
	return NULL;
}

static void no_count_is_lost_between_threads(void **state)
{
	struct memory_disk *memory = memory_disk_create(64 * BLOCK, BLOCK);
	struct scsi_unit_config config = {.kind = SCSI_DISK, .disk = &memory->disk};
	struct worker *workers = calloc(THREADS, sizeof(*workers));
	static const uint8_t ready[6] = {0};
	struct scsi_unit *unit;

	(void)state;
	assert_non_null(workers);
	memory->posted = true;
	assert_int_equal(scsi_unit_create(&config, &unit), 0);
	for (uint8_t i = 0; i < THREADS; i++) {
		workers[i].unit = unit;
		workers[i].index = i;
		assert_int_equal(io_loop_create(32, &workers[i].loop), 0);
	}
	worker_run(&workers[0], ready, sizeof(ready), DISK_NO_DATA, 0);
	for (uint8_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&workers[i].thread, NULL, worker_main, &workers[i]),
				 0);
	for (uint8_t i = 0; i < THREADS; i++)
		pthread_join(workers[i].thread, NULL);
	assert_int_equal(get_be32(&memory->bytes[COUNTER * BLOCK]), THREADS * ROUNDS);
	for (uint8_t i = 0; i < THREADS; i++) {
		assert_int_equal(memory->bytes[(NEIGHBOUR + i) * BLOCK + 77], ROUNDS);
		io_loop_destroy(workers[i].loop);
	}
	scsi_unit_destroy(unit);
	memory_disk_destroy(memory);
	free(workers);
}

/* ---- memory ---- */

#define HUNGRY	     10
#define HUNGRY_BYTES (8u << 20)

static unsigned int hungry_good, hungry_busy;

static void hungry_done(struct scsi_command *command)
{
	if (command->status == 0)
		hungry_good++;
	else if (command->status == 0x08)
		hungry_busy++;
}

/* Reads that need a buffer of 8 MiB each, of a disk that does not answer yet. */
static void jobs_take_no_more_memory_than_a_unit_may(void **state)
{
	static const uint8_t cdb[16] = {0x88, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x40, 0, 0, 0};
	struct memory_disk *memory = memory_disk_create(HUNGRY_BYTES, BLOCK);
	struct scsi_unit_config config = {.kind = SCSI_DISK, .disk = &memory->disk};
	struct scsi_command *commands = calloc(HUNGRY, sizeof(*commands));
	struct iovec iov = {calloc(1, HUNGRY_BYTES), HUNGRY_BYTES - 1};
	struct scsi_command ready = {.cdb_bytes = 6, .done = hungry_done};
	struct scsi_unit *unit;
	struct io_loop *loop;

	(void)state;
	assert_non_null(commands);
	assert_non_null(iov.iov_base);
	memory->posted = true;
	assert_int_equal(scsi_unit_create(&config, &unit), 0);
	assert_int_equal(io_loop_create(32, &loop), 0);
	scsi_unit_execute(unit, &ready);
	hungry_good = 0;
	hungry_busy = 0;
	for (size_t i = 0; i < HUNGRY; i++) {
		memcpy(commands[i].cdb, cdb, sizeof(cdb));
		commands[i].cdb_bytes = sizeof(cdb);
		commands[i].direction = DISK_FROM_DEVICE;
		commands[i].iov = &iov;
		commands[i].iov_count = 1;
		commands[i].data_bytes = iov.iov_len;
		commands[i].loop = loop;
		commands[i].done = hungry_done;
		scsi_unit_execute(unit, &commands[i]);
	}
	assert_int_equal(hungry_busy, 2);
	while (hungry_good + hungry_busy < HUNGRY)
		assert_true(io_loop_run(loop, WAIT_MS) > 0);
	assert_int_equal(hungry_good, 8);
	/* All of it was given back. */
	scsi_unit_execute(unit, &commands[0]);
	while (hungry_good + hungry_busy < HUNGRY + 1)
		assert_true(io_loop_run(loop, WAIT_MS) > 0);
	assert_int_equal(hungry_good, 9);
	io_loop_destroy(loop);
	scsi_unit_destroy(unit);
	memory_disk_destroy(memory);
	free(iov.iov_base);
	free(commands);
}

/* ---- claims ---- */

struct claim_fixture {
	struct scsi_ranges ranges;
	struct io_loop *loop;
};

static unsigned int granted_count;
static const struct scsi_range_claim *granted_last;

static void claim_granted(struct scsi_range_claim *claim)
{
	granted_count++;
	granted_last = claim;
}

static int claim_setup(void **state)
{
	struct claim_fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	scsi_ranges_init(&f->ranges);
	assert_int_equal(io_loop_create(32, &f->loop), 0);
	granted_count = 0;
	granted_last = NULL;
	*state = f;
	return 0;
}

static int claim_teardown(void **state)
{
	struct claim_fixture *f = *state;

	assert_true(TAILQ_EMPTY(&f->ranges.list));
	assert_true(LIST_EMPTY(&f->ranges.wait_unlisted));
	assert_int_equal(atomic_load(&f->ranges.unlisted), 0);
	assert_int_equal(atomic_load(&f->ranges.exclusives), 0);
	scsi_ranges_fini(&f->ranges);
	io_loop_destroy(f->loop);
	free(f);
	return 0;
}

static bool claim(struct claim_fixture *f, struct scsi_range_claim *claim, uint64_t offset,
		  uint64_t length, bool exclusive)
{
	*claim = (struct scsi_range_claim){.offset = offset,
					   .length = length,
					   .exclusive = exclusive,
					   .granted = claim_granted,
					   .loop = f->loop};
	return scsi_range_claim(&f->ranges, claim);
}

static void claim_release(struct claim_fixture *f, struct scsi_range_claim *claim)
{
	scsi_range_release(&f->ranges, claim);
	io_loop_run(f->loop, 0);
}

static void shared_claims_overlap_and_exclusive_ones_wait_for_all_before(void **state)
{
	struct claim_fixture *f = *state;
	struct scsi_range_claim a, b, exclusive, later, beside;

	assert_true(claim(f, &a, 0, 100, false));
	assert_true(claim(f, &b, 50, 100, false));
	assert_false(claim(f, &exclusive, 60, 10, true));
	assert_false(claim(f, &later, 0, 61, false)); /* behind the exclusive one */
	assert_true(claim(f, &beside, 70, 10, false));
	claim_release(f, &a);
	assert_int_equal(granted_count, 0);
	claim_release(f, &b);
	assert_int_equal(granted_count, 1);
	assert_ptr_equal(granted_last, &exclusive);
	claim_release(f, &exclusive);
	assert_int_equal(granted_count, 2);
	assert_ptr_equal(granted_last, &later);
	claim_release(f, &later);
	claim_release(f, &beside);
}

static void exclusive_claims_that_touch_nothing_run_beside_each_other(void **state)
{
	struct claim_fixture *f = *state;
	struct scsi_range_claim a, b, c;

	assert_true(claim(f, &a, 0, 512, true));
	assert_true(claim(f, &b, 512, 512, true));
	assert_false(claim(f, &c, 511, 2, true));
	claim_release(f, &a);
	assert_int_equal(granted_count, 0);
	claim_release(f, &b);
	assert_ptr_equal(granted_last, &c);
	claim_release(f, &c);
}

/* What a guest can have under way on all its channels, were there 8 of them. */
#define MANY	    4096u
#define MANY_NS	    (5 * NS_PER_SEC)
#define MANY_BLOCKS 16u

static void many_claims_are_granted_in_order_and_soon(void **state)
{
	struct claim_fixture *f = *state;
	struct scsi_range_claim *claims = calloc(MANY, sizeof(*claims));
	uint64_t began_ns = monotonic_ns();
	unsigned int held = 0;

	assert_non_null(claims);
	for (unsigned int i = 0; i < MANY; i++)
		held += claim(f, &claims[i], i % MANY_BLOCKS * BLOCK, BLOCK, i % 7 != 6);
	assert_int_equal(held, MANY_BLOCKS);
	for (unsigned int i = 0; i < MANY; i++) {
		assert_true(claims[i].held);
		claim_release(f, &claims[i]);
	}
	assert_int_equal(granted_count, MANY - held);
	assert_true(monotonic_ns() - began_ns < MANY_NS);
	free(claims);
}

/* It waits for all that are in its way, also for those that are older than the newest. */
static void a_claim_over_others_waits_for_each_of_them(void **state)
{
	struct claim_fixture *f = *state;
	struct scsi_range_claim parts[3], whole, behind;

	for (unsigned int i = 0; i < 3; i++)
		assert_true(claim(f, &parts[i], i * BLOCK, BLOCK, true));
	assert_false(claim(f, &whole, 0, 3 * BLOCK, false));
	assert_false(claim(f, &behind, BLOCK, BLOCK, true));
	claim_release(f, &parts[2]);
	claim_release(f, &parts[0]);
	assert_int_equal(granted_count, 0);
	claim_release(f, &parts[1]);
	assert_int_equal(granted_count, 1);
	assert_ptr_equal(granted_last, &whole);
	claim_release(f, &whole);
	assert_ptr_equal(granted_last, &behind);
	claim_release(f, &behind);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_count_is_lost_between_threads),
		cmocka_unit_test(jobs_take_no_more_memory_than_a_unit_may),
		cmocka_unit_test_setup_teardown(
			shared_claims_overlap_and_exclusive_ones_wait_for_all_before, claim_setup,
			claim_teardown),
		cmocka_unit_test_setup_teardown(
			exclusive_claims_that_touch_nothing_run_beside_each_other, claim_setup,
			claim_teardown),
		cmocka_unit_test_setup_teardown(many_claims_are_granted_in_order_and_soon,
						claim_setup, claim_teardown),
		cmocka_unit_test_setup_teardown(a_claim_over_others_waits_for_each_of_them,
						claim_setup, claim_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
