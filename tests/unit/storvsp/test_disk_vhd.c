/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * VHD disks on real files: contents against a model, chains, several loops at once, locks, sizes.
 */
#include "tests/unit/test_main.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "storvsp/disk_vhd.h"
#include "tests/unit/storvsp/vhd_fixture.h"

#define SIZE	  (40 * VHD_FIXTURE_BLOCK + 3 * 512)
#define STEPS	  400
#define MAX_BYTES (3 * VHD_FIXTURE_BLOCK)

static uint32_t seed = 1;

static uint32_t next_random(uint32_t below)
{
	seed = seed * 1664525 + 1013904223;
	return (uint32_t)(((uint64_t)(seed >> 4) * below) >> 28);
}

static void check_all(struct disk_fixture *f, struct disk *disk, const uint8_t *model,
		      uint64_t size)
{
	uint8_t *bytes = malloc(size);

	assert_non_null(bytes);
	memset(bytes, 0xa5, size);
	assert_int_equal(disk_fixture_io(f, disk, DISK_READ, 0, bytes, size), 0);
	assert_memory_equal(bytes, model, size);
	free(bytes);
}

/* In three uneven pieces, none aligned to a page. */
static int io_in_pieces(struct disk_fixture *f, struct disk *disk, enum disk_op op, bool fua,
			uint64_t offset, uint8_t *bytes, uint64_t length)
{
	uint64_t first = length / 3 & ~UINT64_C(511),
		 second = first + (length / 2 & ~UINT64_C(511));
	struct iovec iov[3] = {
		{bytes, first}, {bytes + first, second - first}, {bytes + second, length - second}};

	return disk_fixture_iov(f, disk, op, fua, offset, iov, 3);
}

static void random_step(struct disk_fixture *f, struct disk *disk, uint8_t *model, uint64_t size,
			uint8_t *bytes)
{
	uint64_t offset = (uint64_t)next_random((uint32_t)(size / 512)) * 512;
	uint64_t length = ((uint64_t)next_random(next_random(8) ? 64 : MAX_BYTES / 512) + 1) * 512;
	uint32_t what = next_random(10);

	if (length > size - offset)
		length = size - offset;
	if (what < 5) {
		for (uint64_t i = 0; i < length; i++)
			bytes[i] = (uint8_t)next_random(256);
		memcpy(model + offset, bytes, length);
		assert_int_equal(
			io_in_pieces(f, disk, DISK_WRITE, what == 0, offset, bytes, length), 0);
	} else if (what < 7) {
		struct disk_info info;

		disk_get_info(disk, &info);
		if (what == 5 && !info.unmap_zeroes)
			return;
		memset(model + offset, 0, length);
		assert_int_equal(disk_fixture_io(f, disk,
						 what == 5 ? DISK_UNMAP : DISK_WRITE_ZEROES, offset,
						 NULL, length),
				 0);
	} else if (what < 8) {
		assert_int_equal(disk_fixture_io(f, disk, DISK_FLUSH, 0, NULL, 0), 0);
	} else {
		assert_int_equal(io_in_pieces(f, disk, DISK_READ, false, offset, bytes, length), 0);
		assert_memory_equal(bytes, model + offset, length);
	}
}

/* Random requests on name, whose contents are model's, with a reopening now and then. */
static void run_model(struct disk_fixture *f, const char *name, uint8_t *model, uint64_t size)
{
	uint8_t *bytes = malloc(MAX_BYTES);
	struct disk *disk = NULL;

	assert_non_null(bytes);
	if (vhd_fixture_open(f, name, false, &disk) != 0)
		fail_msg("%s", f->message);
	check_all(f, disk, model, size);
	for (int i = 0; i < STEPS; i++) {
		random_step(f, disk, model, size, bytes);
		if (i % 97 == 0) {
			assert_int_equal(disk->ops->release(disk), 0);
			assert_int_equal(disk->ops->reopen(disk, f->message, sizeof(f->message)),
					 0);
		}
	}
	check_all(f, disk, model, size);
	disk->ops->close(disk);
	if (vhd_fixture_open(f, name, true, &disk) != 0)
		fail_msg("%s", f->message);
	check_all(f, disk, model, size);
	disk->ops->close(disk);
	free(bytes);
}

static void run_type(struct disk_fixture *f, enum vhd_type type, bool flex)
{
	uint8_t *model = calloc(1, SIZE);

	assert_non_null(model);
	vhd_fixture_make(f, "a.vhd", type, flex, SIZE);
	run_model(f, "a.vhd", model, SIZE);
	free(model);
}

static void fixed_image_holds_what_was_written(void **state)
{
	run_type(*state, VHD_FIXED, false);
}

static void flex_image_holds_what_was_written(void **state)
{
	run_type(*state, VHD_FIXED, true);
}

static void dynamic_image_holds_what_was_written(void **state)
{
	run_type(*state, VHD_DYNAMIC, false);
}

static void chain_of_three_holds_what_was_written(void **state)
{
	struct disk_fixture *f = *state;
	uint8_t *model = calloc(1, SIZE), *below = malloc(SIZE);
	struct disk *disk = NULL;

	assert_non_null(model);
	assert_non_null(below);
	vhd_fixture_make(f, "a.vhd", VHD_DYNAMIC, false, SIZE);
	run_model(f, "a.vhd", model, SIZE);
	vhd_fixture_make_child(f, "b.vhd", "a.vhd");
	run_model(f, "b.vhd", model, SIZE);
	memcpy(below, model, SIZE);
	vhd_fixture_make_child(f, "c.vhd", "b.vhd");
	run_model(f, "c.vhd", model, SIZE);
	/* What is below has not changed. */
	assert_int_equal(vhd_fixture_open(f, "b.vhd", true, &disk), 0);
	check_all(f, disk, below, SIZE);
	disk->ops->close(disk);
	free(below);
	free(model);
}

/* ---- several loops ---- */

#define WORKERS	     3u
#define WORKER_WRITE 1024u
#define WORKER_STEPS 300u

struct worker {
	pthread_t thread;
	struct disk *disk;
	unsigned int index;
	uint32_t seed;
	bool failed;
};

struct worker_request {
	struct disk_request request; /* first */
	bool done;
	int status;
};

static void on_worker_done(struct disk_request *request, int status)
{
	((struct worker_request *)request)->status = status;
	((struct worker_request *)request)->done = true;
}

static int worker_io(struct worker *worker, struct io_loop *loop, enum disk_op op, uint64_t offset,
		     uint8_t *bytes, bool fua)
{
	const struct iovec iov = {bytes, WORKER_WRITE};
	struct worker_request waited = {.request = {.op = op,
						    .fua = fua,
						    .offset = offset,
						    .length = op == DISK_FLUSH ? 0 : WORKER_WRITE,
						    .iov = &iov,
						    .iov_count = op == DISK_FLUSH ? 0 : 1,
						    .loop = loop,
						    .done = on_worker_done}};

	disk_submit(worker->disk, &waited.request);
	while (!waited.done)
		if (io_loop_run(loop, 1000) < 0)
			return -EIO;
	return waited.status;
}

/* Every third piece of the disk is this worker's, so that all of them share blocks. */
static void *run_worker(void *arg)
{
	struct worker *worker = arg;
	uint8_t bytes[WORKER_WRITE];
	struct io_loop *loop;

	if (io_loop_create(8, &loop) != 0) {
		worker->failed = true;
		return NULL;
	}
	for (unsigned int i = 0; i < WORKER_STEPS; i++) {
		uint64_t piece = (uint64_t)i * 7 % WORKER_STEPS * WORKERS + worker->index;

		memset(bytes, (int)(worker->index * 80 + i % 80 + 1), sizeof(bytes));
		if (worker_io(worker, loop, DISK_WRITE, piece * WORKER_WRITE, bytes, i % 50 == 1))
			worker->failed = true;
		memset(bytes, 0, sizeof(bytes));
		if (worker_io(worker, loop, DISK_READ, piece * WORKER_WRITE, bytes, false) ||
		    bytes[0] != worker->index * 80 + i % 80 + 1)
			worker->failed = true;
		if (i % 40 == 7 && worker_io(worker, loop, DISK_FLUSH, 0, bytes, false))
			worker->failed = true;
	}
	io_loop_destroy(loop);
	return NULL;
}

static void run_workers(struct disk_fixture *f, const char *name)
{
	struct worker workers[WORKERS];
	uint8_t bytes[WORKER_WRITE];
	struct disk *disk;

	if (vhd_fixture_open(f, name, false, &disk) != 0)
		fail_msg("%s", f->message);
	for (unsigned int i = 0; i < WORKERS; i++) {
		workers[i] = (struct worker){.disk = disk, .index = i};
		assert_int_equal(pthread_create(&workers[i].thread, NULL, run_worker, &workers[i]),
				 0);
	}
	for (unsigned int i = 0; i < WORKERS; i++) {
		pthread_join(workers[i].thread, NULL);
		assert_false(workers[i].failed);
	}
	disk->ops->close(disk);
	assert_int_equal(vhd_fixture_open(f, name, true, &disk), 0);
	for (uint64_t i = 0; i < WORKERS * WORKER_STEPS; i++) {
		/* The step in which the piece was written: 7 * step = piece / WORKERS. */
		uint64_t step = i / WORKERS * 43 % WORKER_STEPS;

		assert_int_equal(
			disk_fixture_io(f, disk, DISK_READ, i * WORKER_WRITE, bytes, WORKER_WRITE),
			0);
		assert_int_equal(bytes[0], i % WORKERS * 80 + step % 80 + 1);
		assert_int_equal(bytes[WORKER_WRITE - 1], bytes[0]);
	}
	disk->ops->close(disk);
}

static void several_loops_share_blocks_of_a_dynamic_image(void **state)
{
	vhd_fixture_make(*state, "a.vhd", VHD_DYNAMIC, false, SIZE);
	run_workers(*state, "a.vhd");
}

static void several_loops_share_blocks_of_a_differencing_image(void **state)
{
	vhd_fixture_make(*state, "a.vhd", VHD_DYNAMIC, false, SIZE);
	vhd_fixture_make_child(*state, "b.vhd", "a.vhd");
	run_workers(*state, "b.vhd");
}

/* ---- who may have it ---- */

static void image_in_use_is_refused_by_name(void **state)
{
	struct disk_fixture *f = *state;
	struct disk *disk, *other;

	vhd_fixture_make(f, "a.vhd", VHD_DYNAMIC, false, SIZE);
	vhd_fixture_make_child(f, "b.vhd", "a.vhd");
	vhd_fixture_make_child(f, "c.vhd", "a.vhd");
	assert_int_equal(vhd_fixture_open(f, "b.vhd", false, &disk), 0);
	assert_int_equal(vhd_fixture_open(f, "b.vhd", false, &other), -EBUSY);
	assert_non_null(strstr(f->message, "b.vhd"));
	/* A parent that is in use by a child cannot be written, but has other children. */
	assert_int_equal(vhd_fixture_open(f, "a.vhd", false, &other), -EBUSY);
	assert_int_equal(vhd_fixture_open(f, "c.vhd", false, &other), 0);
	other->ops->close(other);
	assert_int_equal(disk->ops->release(disk), 0);
	assert_int_equal(vhd_fixture_open(f, "b.vhd", false, &other), 0);
	assert_int_equal(disk->ops->reopen(disk, f->message, sizeof(f->message)), -EBUSY);
	other->ops->close(other);
	assert_int_equal(disk->ops->reopen(disk, f->message, sizeof(f->message)), 0);
	disk->ops->close(disk);
}

static void parent_that_was_changed_is_refused(void **state)
{
	const struct timespec times[2] = {{.tv_sec = 1900000000}, {.tv_sec = 1900000000}};
	struct disk_fixture *f = *state;
	struct disk *disk;

	vhd_fixture_make(f, "a.vhd", VHD_DYNAMIC, false, SIZE);
	vhd_fixture_make_child(f, "b.vhd", "a.vhd");
	assert_int_equal(utimensat(AT_FDCWD, vhd_fixture_path(f, "a.vhd"), times, 0), 0);
	assert_int_equal(vhd_fixture_open(f, "b.vhd", true, &disk), -ESTALE);
	assert_non_null(strstr(f->message, "lunar vhd check --repair"));
	unlink(vhd_fixture_path(f, "a.vhd"));
	assert_int_equal(vhd_fixture_open(f, "b.vhd", true, &disk), -ENOENT);
	vhd_fixture_make(f, "a.vhd", VHD_DYNAMIC, false, SIZE);
	assert_int_equal(vhd_fixture_open(f, "b.vhd", true, &disk), -ENXIO);
	assert_non_null(strstr(f->message, "unique id"));
}

static void deferred_disk_tells_its_size_and_opens_later(void **state)
{
	struct disk_fixture *f = *state;
	struct disk_options options = {.format = DISK_FORMAT_VHD, .deferred = true};
	struct disk *holder, *disk;
	struct disk_info info;
	uint8_t bytes[512];

	vhd_fixture_make(f, "a.vhd", VHD_DYNAMIC, false, SIZE);
	assert_int_equal(vhd_fixture_open(f, "a.vhd", false, &holder), 0);
	options.path = vhd_fixture_path(f, "a.vhd");
	assert_int_equal(disk_vhd_open(&options, &disk, f->message, sizeof(f->message)), 0);
	disk_get_info(disk, &info);
	assert_int_equal(info.size_bytes, SIZE);
	assert_false(info.read_only);
	assert_true(info.unmap_zeroes);
	assert_int_equal(disk_fixture_io(f, disk, DISK_READ, 0, bytes, 512), -ENODEV);
	memset(bytes, 0x77, sizeof(bytes));
	assert_int_equal(disk_fixture_io(f, holder, DISK_WRITE, 512, bytes, 512), 0);
	holder->ops->close(holder);
	assert_int_equal(disk->ops->reopen(disk, f->message, sizeof(f->message)), 0);
	memset(bytes, 0, sizeof(bytes));
	assert_int_equal(disk_fixture_io(f, disk, DISK_READ, 512, bytes, 512), 0);
	assert_int_equal(bytes[0], 0x77);
	disk->ops->close(disk);
}

static bool no_file(const char *path)
{
	assert_int_equal(path[0], '/');
	return false;
}

static bool any_file(const char *path)
{
	assert_int_equal(path[0], '/');
	return true;
}

/* Of a disk that was to be taken over, too: its header may be another one by then. */
static void parent_that_may_not_be_one_is_refused(void **state)
{
	struct disk_fixture *f = *state;
	struct disk_options options = {.deferred = true, .may_be_parent = any_file};
	struct disk *disk;

	vhd_fixture_make(f, "p.vhd", VHD_DYNAMIC, false, SIZE);
	vhd_fixture_make_child(f, "c.vhd", "p.vhd");
	options.path = vhd_fixture_path(f, "c.vhd");
	assert_int_equal(disk_vhd_open(&options, &disk, f->message, sizeof(f->message)), 0);
	assert_int_equal(disk->ops->reopen(disk, f->message, sizeof(f->message)), 0);
	disk->ops->close(disk);
	options.may_be_parent = no_file;
	assert_int_equal(disk_vhd_open(&options, &disk, f->message, sizeof(f->message)), -EACCES);
	assert_non_null(strstr(f->message, "p.vhd"));
	assert_int_equal(unlink(options.path), 0);
	vhd_fixture_make(f, "c.vhd", VHD_DYNAMIC, false, SIZE); /* no parent yet */
	options.path = vhd_fixture_path(f, "c.vhd");
	assert_int_equal(disk_vhd_open(&options, &disk, f->message, sizeof(f->message)), 0);
	assert_int_equal(unlink(options.path), 0);
	vhd_fixture_make_child(f, "c.vhd", "p.vhd");
	assert_int_equal(disk->ops->reopen(disk, f->message, sizeof(f->message)), -EACCES);
	disk->ops->close(disk);
}

static void zeroes_on_nothing_take_no_block(void **state)
{
	struct disk_fixture *f = *state;
	struct disk *disk;
	struct stat before, after;

	vhd_fixture_make(f, "a.vhd", VHD_DYNAMIC, false, SIZE);
	assert_int_equal(stat(vhd_fixture_path(f, "a.vhd"), &before), 0);
	assert_int_equal(vhd_fixture_open(f, "a.vhd", false, &disk), 0);
	assert_int_equal(disk_fixture_io(f, disk, DISK_WRITE_ZEROES, 0, NULL, SIZE), 0);
	assert_int_equal(disk_fixture_io(f, disk, DISK_UNMAP, 0, NULL, SIZE), 0);
	disk->ops->close(disk);
	assert_int_equal(stat(vhd_fixture_path(f, "a.vhd"), &after), 0);
	assert_int_equal(before.st_size, after.st_size);
}

static void disk_in_use_grows(void **state)
{
	struct disk_fixture *f = *state;
	uint64_t size = SIZE + 2000 * (uint64_t)VHD_FIXTURE_BLOCK;
	struct disk *disk;
	struct disk_info info;
	uint8_t bytes[512];

	vhd_fixture_make(f, "a.vhd", VHD_DYNAMIC, false, SIZE);
	assert_int_equal(vhd_fixture_open(f, "a.vhd", false, &disk), 0);
	memset(bytes, 1, sizeof(bytes));
	assert_int_equal(disk_fixture_io(f, disk, DISK_WRITE, SIZE - 512, bytes, 512), 0);
	assert_int_equal(disk_fixture_io(f, disk, DISK_READ, SIZE, bytes, 512), -EINVAL);
	assert_int_equal(disk_vhd_resize(disk, SIZE - 512, f->message, sizeof(f->message)),
			 -EINVAL);
	assert_int_equal(disk_vhd_resize(disk, size, f->message, sizeof(f->message)), 0);
	disk_get_info(disk, &info);
	assert_int_equal(info.size_bytes, size);
	memset(bytes, 2, sizeof(bytes));
	assert_int_equal(disk_fixture_io(f, disk, DISK_WRITE, size - 512, bytes, 512), 0);
	disk->ops->close(disk);
	assert_int_equal(vhd_fixture_open(f, "a.vhd", true, &disk), 0);
	assert_int_equal(disk_fixture_io(f, disk, DISK_READ, SIZE - 512, bytes, 512), 0);
	assert_int_equal(bytes[511], 1);
	assert_int_equal(disk_fixture_io(f, disk, DISK_READ, SIZE, bytes, 512), 0);
	assert_int_equal(bytes[0], 0);
	assert_int_equal(disk_fixture_io(f, disk, DISK_READ, size - 512, bytes, 512), 0);
	assert_int_equal(bytes[0], 2);
	disk->ops->close(disk);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, disk_fixture_setup, disk_fixture_teardown)

static const struct CMUnitTest tests[] = {
	TEST(fixed_image_holds_what_was_written),
	TEST(flex_image_holds_what_was_written),
	TEST(dynamic_image_holds_what_was_written),
	TEST(chain_of_three_holds_what_was_written),
	TEST(several_loops_share_blocks_of_a_dynamic_image),
	TEST(several_loops_share_blocks_of_a_differencing_image),
	TEST(image_in_use_is_refused_by_name),
	TEST(parent_that_was_changed_is_refused),
	TEST(deferred_disk_tells_its_size_and_opens_later),
	TEST(parent_that_may_not_be_one_is_refused),
	TEST(zeroes_on_nothing_take_no_block),
	TEST(disk_in_use_grows),
};

int main(void)
{
	return cmocka_run_group_tests(tests, NULL, NULL);
}
