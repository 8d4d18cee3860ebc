/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The power goes at every moment of a run of writes, zeroes and flushes, of resizes and merges:
 * what is left must be a VHD without damage that a check would call a loss; each sector holds what
 * the last flush before covered, or something that was written since.
 */
#include "tests/unit/test_main.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#define LOG_COMPONENT "test"
#include "base/log.h"
#include "storvsp/disk.h"
#include "storvsp/disk_vhd.h"
#include "storvsp/vhd_check.h"
#include "storvsp/vhd_merge.h"
#include "storvsp/vhd_resize.h"
#include "tests/unit/storvsp/vhd_log_file.h"

#define BLOCK	4096u
#define SECTORS 200u
#define SIZE	(SECTORS * 512u)
#define AT_ONCE 6u
#define ROUNDS	16u
#define SUBSETS 2u
#define NEVER	SIZE_MAX

static uint32_t seed = 7;

static uint32_t next_random(uint32_t below)
{
	seed = seed * 1664525 + 1013904223;
	return (uint32_t)(((uint64_t)(seed >> 4) * below) >> 28);
}

/* A write of a sector: from begun on it may be there, from covered on it, or a later one, is. */
struct version {
	uint32_t sector;
	uint64_t value; /* 0: zeroes */
	size_t begun, done, covered;
};

struct run {
	struct vhd_log_file *parent, *log;
	struct io_loop *loop;
	struct disk *disk;
	struct version *versions;
	size_t version_count, version_room;
	uint64_t last_value;
};

struct operation {
	struct disk_request request; /* first */
	struct iovec iov;
	uint8_t bytes[16 * 512];
	size_t first_version, version_count;
	size_t begun;
	struct run *run;
	bool ended;
};

/* ---- the run ---- */

static void fill_sector(uint8_t *bytes, uint64_t value)
{
	for (unsigned int i = 0; i < 512; i += 8)
		put_le64(bytes + i, value);
}

static void add_version(struct run *run, struct version version)
{
	if (run->version_count == run->version_room) {
		run->version_room = run->version_room ? 2 * run->version_room : 1024;
		run->versions = realloc(run->versions, run->version_room * sizeof(version));
		assert_non_null(run->versions);
	}
	run->versions[run->version_count++] = version;
}

static void cover(struct run *run, size_t before, size_t now)
{
	for (size_t i = 0; i < run->version_count; i++)
		if (run->versions[i].done <= before && run->versions[i].covered == NEVER)
			run->versions[i].covered = now;
}

static void on_ended(struct disk_request *request, int status)
{
	struct operation *operation = (struct operation *)request;
	struct run *run = operation->run;
	size_t now = vhd_log_file_position(run->log);

	assert_int_equal(status, 0);
	assert_false(operation->ended);
	operation->ended = true;
	for (size_t i = 0; i < operation->version_count; i++) {
		run->versions[operation->first_version + i].done = now;
		if (request->fua)
			run->versions[operation->first_version + i].covered = now;
	}
	if (request->op == DISK_FLUSH)
		cover(run, operation->begun, now);
}

/* Operations that are under way at once do not touch the same sectors: each has a part of the disk
 * of its own. */
static void start(struct run *run, struct operation *operation, unsigned int part)
{
	struct disk_request *request = &operation->request;
	uint32_t first = part * (SECTORS / AT_ONCE), what = next_random(10), count;

	memset(operation, 0, sizeof(*operation));
	operation->run = run;
	operation->begun = vhd_log_file_position(run->log);
	operation->first_version = run->version_count;
	count = 1 + next_random(16);
	first += next_random(SECTORS / AT_ONCE - count);
	request->loop = run->loop;
	request->done = on_ended;
	request->op = what < 6 ? DISK_WRITE : what < 8 ? DISK_WRITE_ZEROES : DISK_FLUSH;
	if (request->op != DISK_FLUSH) {
		request->fua = request->op == DISK_WRITE && what == 0;
		request->offset = (uint64_t)first * 512;
		request->length = (uint64_t)count * 512;
		operation->version_count = count;
	}
	for (uint32_t i = 0; i < operation->version_count; i++) {
		uint64_t value = request->op == DISK_WRITE ? ++run->last_value : 0;

		fill_sector(operation->bytes + (size_t)i * 512, value);
		add_version(run,
			    (struct version){first + i, value, operation->begun, NEVER, NEVER});
	}
	operation->iov = (struct iovec){operation->bytes, request->length};
	if (request->op == DISK_WRITE) {
		request->iov = &operation->iov;
		request->iov_count = 1;
	}
	disk_submit(run->disk, request);
}

static void run_operations(struct run *run)
{
	struct operation operations[AT_ONCE];
	bool left = true;

	for (unsigned int i = 0; i < AT_ONCE; i++)
		start(run, &operations[i], i);
	while (left) {
		vhd_log_file_pump(run->log, next_random);
		if (run->parent)
			vhd_log_file_pump(run->parent, next_random);
		assert_true(io_loop_run(run->loop, 0) >= 0);
		left = false;
		for (unsigned int i = 0; i < AT_ONCE; i++)
			left |= !operations[i].ended;
	}
}

/* ---- what is left ---- */

static int open_chain(struct vhd_log_file *log, struct vhd_log_file *parent, bool read_only,
		      struct disk **disk, struct vhd_error *error)
{
	struct vhd_chain chain = {0};
	int rc = vhd_chain_add(&chain, "child", vhd_log_file_file(log), error);

	if (rc == 0 && parent)
		rc = vhd_chain_add(&chain, "parent", vhd_log_file_file(parent), error);
	if (rc) {
		vhd_chain_fini(&chain);
		return rc;
	}
	return disk_vhd_open_chain(&chain, read_only, disk, error->message, sizeof(error->message));
}

struct reading {
	struct disk_request request; /* first */
	bool ended;
};

static void on_read(struct disk_request *request, int status)
{
	assert_int_equal(status, 0);
	((struct reading *)request)->ended = true;
}

static void read_all(struct run *run, struct vhd_log_file *log, struct disk *disk, uint64_t length,
		     uint8_t *bytes)
{
	struct iovec iov = {bytes, length};
	struct reading reading = {.request = {.op = DISK_READ,
					      .length = length,
					      .iov = &iov,
					      .iov_count = 1,
					      .loop = run->loop,
					      .done = on_read}};

	disk_submit(disk, &reading.request);
	while (!reading.ended) {
		vhd_log_file_pump(log, next_random);
		if (run->parent)
			vhd_log_file_pump(run->parent, next_random);
		assert_true(io_loop_run(run->loop, 0) >= 0);
	}
}

/* Whether a sector may hold value when the power went at position. Versions of a sector are in
 * order, since they never overlap in time. */
static void check_sector(const struct run *run, uint32_t sector, const uint8_t *bytes,
			 size_t position)
{
	uint64_t value = get_le64(bytes);
	bool allowed = false;
	uint8_t whole[512];

	fill_sector(whole, value);
	assert_memory_equal(bytes, whole, sizeof(whole));
	for (size_t i = run->version_count; i-- > 0;) {
		const struct version *version = &run->versions[i];

		if (version->sector != sector ||
		    (version->begun >= position && version->covered > 0))
			continue;
		allowed |= version->value == value;
		if (version->covered <= position)
			break;
	}
	if (!allowed)
		fail_msg("sector %u holds %llu after a cut at %zu", sector,
			 (unsigned long long)value, position);
}

static void check_cut(struct run *run, size_t position, enum vhd_cut how)
{
	struct vhd_log_file *cut = vhd_log_file_cut(run->log, position, how, next_random);
	struct vhd_findings findings = {0};
	struct vhd_error error;
	uint8_t bytes[SIZE];
	struct disk *disk;

	assert_int_equal(vhd_check_file(vhd_log_file_file(cut), false, &findings, &error), 0);
	if (findings.worst[VHD_LOSS])
		fail_msg("cut at %zu: %s", position, findings.rows[0].text);
	/* Half of them are repaired first. */
	if (open_chain(cut, run->parent, next_random(2) == 0, &disk, &error) != 0)
		fail_msg("cut at %zu: %s", position, error.message);
	read_all(run, cut, disk, SIZE, bytes);
	for (uint32_t i = 0; i < SECTORS; i++)
		check_sector(run, i, bytes + (size_t)i * 512, position);
	disk->ops->close(disk);
	vhd_log_file_destroy(cut);
}

static void check_cuts(struct run *run)
{
	for (size_t position = 0; position <= vhd_log_file_position(run->log); position++) {
		check_cut(run, position, VHD_CUT_ALL);
		check_cut(run, position, VHD_CUT_NONE);
		for (unsigned int i = 0; i < SUBSETS; i++)
			check_cut(run, position, VHD_CUT_SOME);
	}
}

/* ---- tests ---- */

static void make(struct vhd_log_file *log, enum vhd_type type, const uint8_t *parent_id)
{
	struct vhd_new new = {
		.type = type,
		.size_bytes = SIZE,
		.block_bytes = BLOCK,
		.timestamp = 1,
		.id = {(uint8_t)type},
		.path = "/v/child.vhd",
		.parent_path = "/v/parent.vhd",
		.parent_id = parent_id,
		.parent_timestamp = 1000,
	};
	struct vhd_error error;

	assert_int_equal(vhd_write_new(vhd_log_file_file(log), &new, &error), 0);
}

/* A parent with something in every third sector. */
static void make_parent(struct run *run)
{
	struct vhd_file *file;
	uint8_t bytes[512];

	run->parent = vhd_log_file_create();
	file = vhd_log_file_file(run->parent);
	make(run->parent, VHD_FIXED, NULL);
	for (uint32_t i = 0; i < SECTORS; i += 3) {
		fill_sector(bytes, ++run->last_value);
		assert_int_equal(vhd_file_write(file, bytes, 512, (uint64_t)i * 512), 0);
		add_version(run, (struct version){i, run->last_value, 0, 0, 0});
	}
	vhd_log_file_begin(run->parent);
}

static void run_type(enum vhd_type type)
{
	static const uint8_t parent_id[VHD_ID_BYTES] = {VHD_FIXED};
	struct run run = {.log = vhd_log_file_create()};
	struct vhd_error error;

	assert_int_equal(io_loop_create(8, &run.loop), 0);
	for (uint32_t i = 0; i < SECTORS; i++)
		add_version(&run, (struct version){i, 0, 0, 0, 0});
	if (type == VHD_DIFFERENCING)
		make_parent(&run);
	make(run.log, type, parent_id);
	vhd_log_file_begin(run.log);
	for (size_t i = 0; i < run.version_count; i++)
		run.versions[i].begun = 0;
	assert_int_equal(open_chain(run.log, run.parent, false, &run.disk, &error), 0);
	for (unsigned int i = 0; i < ROUNDS; i++) {
		run_operations(&run);
		if (i == ROUNDS / 2) {
			size_t before = vhd_log_file_position(run.log);

			run.disk->ops->close(run.disk);
			cover(&run, before, vhd_log_file_position(run.log));
			assert_int_equal(open_chain(run.log, run.parent, false, &run.disk, &error),
					 0);
		}
	}
	run.disk->ops->close(run.disk);
	check_cuts(&run);
	io_loop_destroy(run.loop);
	if (run.parent)
		vhd_log_file_destroy(run.parent);
	vhd_log_file_destroy(run.log);
	free(run.versions);
}

static void dynamic_image_survives_a_cut_at_any_write(void **state)
{
	(void)state;
	run_type(VHD_DYNAMIC);
}

static void differencing_image_survives_a_cut_at_any_write(void **state)
{
	(void)state;
	run_type(VHD_DIFFERENCING);
}

static void fixed_image_survives_a_cut_at_any_write(void **state)
{
	(void)state;
	run_type(VHD_FIXED);
}

/* ---- sizes ---- */

static void fill_image(struct run *run)
{
	struct vhd_error error;

	assert_int_equal(open_chain(run->log, NULL, false, &run->disk, &error), 0);
	for (unsigned int i = 0; i < 4; i++)
		run_operations(run);
	run->disk->ops->close(run->disk);
}

static void read_image(struct run *run, struct vhd_log_file *log, uint8_t *bytes, uint64_t *size)
{
	struct vhd_findings findings = {0};
	struct vhd_error error;
	struct disk_info info;
	struct disk *disk;

	assert_int_equal(vhd_check_file(vhd_log_file_file(log), false, &findings, &error), 0);
	assert_int_equal(findings.worst[VHD_LOSS], 0);
	assert_int_equal(open_chain(log, NULL, false, &disk, &error), 0);
	disk_get_info(disk, &info);
	*size = info.size_bytes;
	read_all(run, log, disk, info.size_bytes < SIZE ? info.size_bytes : SIZE, bytes);
	disk->ops->close(disk);
}

static void resize(struct run *run, uint64_t size)
{
	struct vhd_chain chain = {0};
	struct vhd_error error;

	assert_int_equal(vhd_chain_add(&chain, "a", vhd_log_file_file(run->log), &error), 0);
	if (vhd_resize(&chain.links[0], size, true, &error) != 0)
		fail_msg("%s", error.message);
	vhd_chain_fini(&chain);
}

/* To size, and cut everywhere: the old size or the new one, and what both have is untouched. */
static void run_resize(enum vhd_type type, uint64_t size)
{
	struct run run = {.log = vhd_log_file_create()};
	struct vhd_log_file *before;
	uint8_t bytes[SIZE], cut_bytes[SIZE];
	uint64_t was, is;

	assert_int_equal(io_loop_create(8, &run.loop), 0);
	make(run.log, type, NULL);
	vhd_log_file_begin(run.log);
	fill_image(&run);
	vhd_log_file_begin(run.log);
	before = vhd_log_file_cut(run.log, 0, VHD_CUT_NONE, next_random);
	read_image(&run, before, bytes, &was);
	vhd_log_file_destroy(before);
	resize(&run, size);
	for (size_t at = 0; at <= vhd_log_file_position(run.log); at++)
		for (unsigned int how = 0; how < 6; how++) {
			struct vhd_log_file *cut = vhd_log_file_cut(
				run.log, at, how < VHD_CUT_SOME ? (enum vhd_cut)how : VHD_CUT_SOME,
				next_random);

			read_image(&run, cut, cut_bytes, &is);
			assert_true(is == was || is == size);
			assert_true(is == size || at < vhd_log_file_position(run.log));
			assert_memory_equal(bytes, cut_bytes, size < was ? size : was);
			vhd_log_file_destroy(cut);
		}
	io_loop_destroy(run.loop);
	vhd_log_file_destroy(run.log);
	free(run.versions);
}

static void resize_survives_a_cut_at_any_write(void **state)
{
	(void)state;
	run_resize(VHD_FIXED, SIZE + 5 * 512);
	run_resize(VHD_FIXED, SIZE - 5 * 512);
	run_resize(VHD_DYNAMIC, SIZE + 512);	     /* within the last block */
	run_resize(VHD_DYNAMIC, SIZE + 400 * BLOCK); /* the table moves */
	run_resize(VHD_DYNAMIC, SIZE / 2 - 512);
}

/* ---- merges ---- */

static bool on_step(void *ctx, const struct vhd_merge_progress *progress)
{
	(void)ctx;
	return progress->done_bytes <= progress->total_bytes;
}

/* The child over this parent, as a guest would read it. */
static void assert_chain_holds(struct run *run, struct vhd_log_file *child,
			       struct vhd_log_file *parent, const uint8_t *expected)
{
	struct vhd_log_file *whole = run->parent;
	uint8_t bytes[SIZE];
	struct vhd_error error;
	struct disk *disk;

	run->parent = parent;
	if (open_chain(child, parent, true, &disk, &error) != 0)
		fail_msg("%s", error.message);
	read_all(run, child, disk, SIZE, bytes);
	assert_memory_equal(bytes, expected, SIZE);
	disk->ops->close(disk);
	run->parent = whole;
}

static void mark(struct run *run, const uint8_t *expected)
{
	struct vhd_chain child = {0}, parent = {0};
	struct vhd_error error;

	assert_int_equal(vhd_chain_add(&child, "child", vhd_log_file_file(run->log), &error), 0);
	assert_int_equal(vhd_chain_add(&parent, "parent", vhd_log_file_file(run->parent), &error),
			 0);
	if (vhd_merge_mark(&child.links[0], &parent.links[0], &error) != 0)
		fail_msg("%s", error.message);
	vhd_chain_fini(&child);
	vhd_chain_fini(&parent);
	assert_int_equal(vhd_log_file_position(run->parent), 0);
	for (size_t at = 0; at <= vhd_log_file_position(run->log); at++)
		for (unsigned int how = 0; how <= VHD_CUT_SOME; how++) {
			struct vhd_log_file *cut =
				vhd_log_file_cut(run->log, at, (enum vhd_cut)how, next_random);

			assert_chain_holds(run, cut, run->parent, expected);
			vhd_log_file_destroy(cut);
		}
}

static void merge(struct run *run)
{
	struct vhd_chain child = {0}, parent = {0};
	size_t before = vhd_log_file_position(run->log);
	struct vhd_error error;
	struct disk *disk;

	assert_int_equal(vhd_chain_add(&child, "child", vhd_log_file_file(run->log), &error), 0);
	assert_int_equal(vhd_chain_add(&parent, "parent", vhd_log_file_file(run->parent), &error),
			 0);
	assert_int_equal(
		disk_vhd_open_chain(&parent, false, &disk, error.message, sizeof(error.message)),
		0);
	vhd_log_file_pump_by_loop(run->parent, next_random);
	assert_int_equal(vhd_merge_into(&child.links[0], disk, on_step, NULL), 0);
	disk->ops->close(disk);
	vhd_log_file_pump_by_loop(run->parent, NULL);
	vhd_chain_fini(&child);
	assert_int_equal(vhd_log_file_position(run->log), before);
}

/* At every moment the child over its parent holds what it held; in the end the parent does. */
static void run_merge(enum vhd_type type)
{
	const uint8_t parent_id[VHD_ID_BYTES] = {(uint8_t)type};
	struct run run = {.log = vhd_log_file_create()};
	uint8_t expected[SIZE], bytes[SIZE];
	struct vhd_log_file *marked;
	struct vhd_error error;
	uint64_t size;

	assert_int_equal(io_loop_create(8, &run.loop), 0);
	make(run.log, type, NULL);
	vhd_log_file_begin(run.log);
	fill_image(&run);
	run.parent = run.log;
	run.log = vhd_log_file_create();
	make(run.log, VHD_DIFFERENCING, parent_id);
	vhd_log_file_begin(run.log);
	assert_int_equal(open_chain(run.log, run.parent, false, &run.disk, &error), 0);
	for (unsigned int i = 0; i < 4; i++)
		run_operations(&run);
	read_all(&run, run.log, run.disk, SIZE, expected);
	run.disk->ops->close(run.disk);
	vhd_log_file_begin(run.log);
	vhd_log_file_begin(run.parent);

	mark(&run, expected);
	marked = vhd_log_file_cut(run.log, vhd_log_file_position(run.log), VHD_CUT_NONE,
				  next_random);
	vhd_log_file_destroy(run.log);
	run.log = marked;
	merge(&run);
	for (size_t at = 0; at <= vhd_log_file_position(run.parent); at++)
		for (unsigned int how = 0; how < VHD_CUT_SOME + SUBSETS; how++) {
			struct vhd_log_file *cut = vhd_log_file_cut(
				run.parent, at,
				how < VHD_CUT_SOME ? (enum vhd_cut)how : VHD_CUT_SOME, next_random);
			struct vhd_findings findings = {0};

			vhd_log_file_set_modified(cut, 5000);
			assert_int_equal(
				vhd_check_file(vhd_log_file_file(cut), false, &findings, &error),
				0);
			assert_int_equal(findings.worst[VHD_LOSS], 0);
			assert_chain_holds(&run, run.log, cut, expected);
			vhd_log_file_destroy(cut);
		}
	marked = vhd_log_file_cut(run.parent, vhd_log_file_position(run.parent), VHD_CUT_NONE,
				  next_random);
	vhd_log_file_destroy(run.log);
	vhd_log_file_destroy(run.parent);
	run.parent = NULL;
	read_image(&run, marked, bytes, &size);
	assert_int_equal(size, SIZE);
	assert_memory_equal(bytes, expected, SIZE);
	vhd_log_file_destroy(marked);
	io_loop_destroy(run.loop);
	free(run.versions);
}

static void merge_survives_a_cut_at_any_write(void **state)
{
	(void)state;
	run_merge(VHD_FIXED);
	run_merge(VHD_DYNAMIC);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(dynamic_image_survives_a_cut_at_any_write),
	cmocka_unit_test(differencing_image_survives_a_cut_at_any_write),
	cmocka_unit_test(fixed_image_survives_a_cut_at_any_write),
	cmocka_unit_test(resize_survives_a_cut_at_any_write),
	cmocka_unit_test(merge_survives_a_cut_at_any_write),
};

int main(void)
{
	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
