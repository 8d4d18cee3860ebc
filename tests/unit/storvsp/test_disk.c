/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Kinds of disks by name, and calls on disks whose share hangs: the disk here is the test's own.
 */
#include "storvsp/disk.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/deadline.h"
#include "storvsp/blocking_pool.h"
#include "storvsp/slow_call.h"
#include "tests/unit/storvsp/disk_fixture.h"
#include "tests/unit/test_main.h"

static void format_names_go_both_ways(void **state)
{
	enum disk_format format;

	(void)state;
	for (int i = DISK_FORMAT_AUTO; i <= DISK_FORMAT_ISCSI; i++) {
		assert_true(disk_format_parse(disk_format_name((enum disk_format)i), &format));
		assert_int_equal(format, i);
	}
	assert_false(disk_format_parse("qcow2", &format));
	assert_false(disk_format_parse("", &format));
	assert_string_equal(disk_format_name((enum disk_format)99), "?");
}

static const char *kind_of(struct disk_fixture *f, const char *name, uint64_t size)
{
	const struct disk_options options = {.path = f->path, .read_only = true};
	struct disk_info info;
	struct disk *disk;
	int ret;

	snprintf(f->path, sizeof(f->path), "%s/%s", f->directory, name);
	disk_fixture_make_file(f, size);
	ret = disk_open(&options, &disk, f->message, sizeof(f->message));
	if (ret < 0)
		return f->message;
	disk_get_info(disk, &info);
	disk_close(disk);
	return info.kind;
}

/* The contents are the guest's: they decide nothing. */
static void format_is_told_by_the_name_alone(void **state)
{
	struct disk_fixture *f = *state;

	assert_string_equal(kind_of(f, "a.img", 65536), "raw");
	assert_string_equal(kind_of(f, "vhd", 65536), "raw");
	assert_string_equal(kind_of(f, ".vhdx", 65536), "raw");
	assert_non_null(strstr(kind_of(f, "a.iso", 65536), "not an ISO image"));
	assert_non_null(strstr(kind_of(f, "a.ISO", 65536), "not an ISO image"));
	assert_null(strstr(kind_of(f, "a.vhd", 65536), "raw"));
	assert_null(strstr(kind_of(f, "a.avhd", 65536), "raw"));
}

static void iscsi_url_is_no_path(void **state)
{
	const struct disk_options options = {.path = "iscsi://user%secret@h/iqn.2026-01.x:y/0"};
	struct disk_fixture *f = *state;
	struct disk *disk;

	assert_int_equal(disk_open(&options, &disk, f->message, sizeof(f->message)), -EINVAL);
	assert_null(strstr(f->message, "secret@"));
}

/* ---- ISO ---- */

static int open_iso(struct disk_fixture *f, const char *identifier, uint64_t size,
		    struct disk **disk)
{
	const struct disk_options options = {.path = f->path};
	FILE *file;

	snprintf(f->path, sizeof(f->path), "%s/cd.iso", f->directory);
	disk_fixture_make_file(f, size);
	file = fopen(f->path, "r+e");
	assert_int_equal(fseek(file, 32769, SEEK_SET), 0);
	fputs(identifier, file);
	fclose(file);
	return disk_open(&options, disk, f->message, sizeof(f->message));
}

static void iso_image_has_blocks_of_2048_and_takes_no_writes(void **state)
{
	static const char *const identifiers[] = {"CD001", "BEA01"};
	struct disk_fixture *f = *state;
	uint8_t buffer[2048];
	struct disk_info info;
	struct disk *disk;

	for (int i = 0; i < 2; i++) {
		assert_int_equal(open_iso(f, identifiers[i], UINT64_C(40) * 2048 + 100, &disk), 0);
		disk_get_info(disk, &info);
		assert_int_equal(info.block_bytes, 2048);
		assert_int_equal(info.size_bytes, 41 * 2048);
		assert_true(info.read_only);
		assert_string_equal(info.kind, "iso");
		assert_int_equal(disk_fixture_io(f, disk, DISK_READ, 2048, buffer, 2048), 0);
		assert_int_equal(buffer[7], disk_fixture_byte(2055));
		assert_int_equal(disk_fixture_io(f, disk, DISK_READ, 512, buffer, 512), -EINVAL);
		assert_int_equal(
			disk_fixture_io(f, disk, DISK_READ, UINT64_C(40) * 2048, buffer, 2048), 0);
		assert_int_equal(buffer[99], disk_fixture_byte(40 * 2048 + 99));
		assert_int_equal(buffer[100], 0);
		assert_int_equal(disk_fixture_io(f, disk, DISK_WRITE, 0, buffer, 2048), -EROFS);
		disk_close(disk);
	}
}

static void what_is_no_iso_image_is_refused_with_offset_and_field(void **state)
{
	struct disk_fixture *f = *state;
	struct disk *disk;

	assert_int_equal(open_iso(f, "CD002", 65536, &disk), -EMEDIUMTYPE);
	assert_non_null(strstr(f->message, "offset 32769"));
	assert_non_null(strstr(f->message, "standard identifier"));
	assert_non_null(strstr(kind_of(f, "short.iso", 4096), "ends before offset 32768"));
}

/* ---- shares that hang ---- */

struct hanging_disk {
	struct disk disk; /* first */
	pthread_mutex_t mutex;
	pthread_cond_t cond;
	bool hangs;
	_Atomic int closes, reopens;
	_Atomic bool in_call;
};

static void hang(struct hanging_disk *d)
{
	atomic_store(&d->in_call, true);
	pthread_mutex_lock(&d->mutex);
	while (d->hangs)
		pthread_cond_wait(&d->cond, &d->mutex);
	pthread_mutex_unlock(&d->mutex);
	atomic_store(&d->in_call, false);
}

static void set_hangs(struct hanging_disk *d, bool hangs)
{
	pthread_mutex_lock(&d->mutex);
	d->hangs = hangs;
	pthread_cond_broadcast(&d->cond);
	pthread_mutex_unlock(&d->mutex);
}

static int hanging_refresh(struct disk *disk)
{
	hang((struct hanging_disk *)disk);
	return 0;
}

static int hanging_reopen(struct disk *disk, char *message, size_t message_bytes)
{
	struct hanging_disk *d = (struct hanging_disk *)disk;

	snprintf(message, message_bytes, "as the disk says");
	atomic_fetch_add(&d->reopens, 1);
	return -ESTALE;
}

static void hanging_close(struct disk *disk)
{
	atomic_fetch_add(&((struct hanging_disk *)disk)->closes, 1);
}

static const struct disk_ops hanging_ops = {
	.refresh = hanging_refresh,
	.reopen = hanging_reopen,
	.close = hanging_close,
};

static struct hanging_disk *hanging_create(void)
{
	struct hanging_disk *d = calloc(1, sizeof(*d));

	assert_non_null(d);
	d->disk.ops = &hanging_ops;
	pthread_mutex_init(&d->mutex, NULL);
	pthread_cond_init(&d->cond, NULL);
	return d;
}

static void hanging_destroy(struct hanging_disk *d)
{
	pthread_cond_destroy(&d->cond);
	pthread_mutex_destroy(&d->mutex);
	free(d);
}

static void wait_until(const _Atomic int *value, int wanted)
{
	struct deadline deadline = deadline_in_ms(20000);

	while (atomic_load(value) != wanted && !deadline_passed(deadline))
		usleep(1000);
	assert_int_equal(atomic_load(value), wanted);
}

static void *refresh_and_time_out(void *arg)
{
	return (void *)(intptr_t)disk_refresh(arg);
}

/* A refresh has two seconds: they are spent once, for all that can be seen there. */
static void call_on_a_disk_that_hangs_ends_and_the_disk_is_good_afterwards(void **state)
{
	struct hanging_disk *d = hanging_create(), *closed = hanging_create();
	char message[DISK_MESSAGE_BYTES] = "";
	pthread_t threads[2];
	void *ret;

	(void)state;
	set_hangs(d, true);
	set_hangs(closed, true);
	assert_int_equal(pthread_create(&threads[0], NULL, refresh_and_time_out, &d->disk), 0);
	assert_int_equal(pthread_create(&threads[1], NULL, refresh_and_time_out, &closed->disk), 0);
	pthread_join(threads[0], &ret);
	assert_int_equal((intptr_t)ret, -ETIMEDOUT);
	pthread_join(threads[1], &ret);
	assert_int_equal((intptr_t)ret, -ETIMEDOUT);

	/* A second call does not pile up behind the first. */
	assert_int_equal(disk_reopen(&d->disk, message, sizeof(message)), -EBUSY);
	assert_non_null(strstr(message, "hangs"));
	assert_int_equal(atomic_load(&d->reopens), 0);
	/* A close comes back at once, and is carried out when the other call has ended. */
	disk_close(&closed->disk);
	assert_int_equal(atomic_load(&closed->closes), 0);

	set_hangs(closed, false);
	wait_until(&closed->closes, 1);
	set_hangs(d, false);
	struct deadline deadline = deadline_in_ms(20000);
	int again;
	while ((again = disk_reopen(&d->disk, message, sizeof(message))) == -EBUSY &&
	       !deadline_passed(deadline))
		usleep(1000);
	assert_int_equal(again, -ESTALE);
	assert_string_equal(message, "as the disk says");
	disk_close(&d->disk);
	assert_int_equal(atomic_load(&d->closes), 1);
	assert_int_equal(atomic_load(&closed->closes), 1);
	usleep(10000); /* the helper's last words */
	hanging_destroy(d);
	hanging_destroy(closed);
}

struct slow_job {
	int pipe[2];
	_Atomic int runs, abandoned;
};

static void run_slow(void *arg)
{
	struct slow_job *job = arg;
	char byte;

	if (read(job->pipe[0], &byte, 1) == 1)
		atomic_fetch_add(&job->runs, 1);
}

static void abandon_slow(void *arg)
{
	struct slow_job *job = arg;

	atomic_fetch_add(&job->abandoned, 1);
}

static void slow_call_that_is_in_time_is_not_abandoned(void **state)
{
	struct slow_job job = {0};

	(void)state;
	assert_int_equal(pipe(job.pipe), 0);
	assert_int_equal(write(job.pipe[1], "x", 1), 1);
	assert_int_equal(slow_call(run_slow, abandon_slow, &job, 20000), 0);
	assert_int_equal(atomic_load(&job.runs), 1);
	assert_int_equal(atomic_load(&job.abandoned), 0);
	close(job.pipe[0]);
	close(job.pipe[1]);
}

static void slow_call_that_is_late_is_abandoned_once_it_ends(void **state)
{
	struct slow_job job = {0};

	(void)state;
	assert_int_equal(pipe(job.pipe), 0);
	assert_int_equal(slow_call(run_slow, abandon_slow, &job, 20), -ETIMEDOUT);
	assert_int_equal(atomic_load(&job.abandoned), 0);
	assert_int_equal(write(job.pipe[1], "x", 1), 1);
	wait_until(&job.abandoned, 1);
	assert_int_equal(atomic_load(&job.runs), 1);
	close(job.pipe[0]);
	close(job.pipe[1]);
}

/* ---- the pool ---- */

struct pool_job {
	struct blocking_job job; /* first */
	pthread_t done_on, run_on;
	int calls;
};

static int run_pool_job(struct blocking_job *job)
{
	((struct pool_job *)job)->run_on = pthread_self();
	return -ENOSPC;
}

static void done_pool_job(struct blocking_job *job)
{
	struct pool_job *pool_job = (struct pool_job *)job;

	pool_job->done_on = pthread_self();
	pool_job->calls++;
}

static void job_of_the_pool_ends_on_its_loop(void **state)
{
	struct disk_fixture *f = *state;
	struct blocking_pool *pool;
	static struct pool_job jobs[100];
	struct deadline deadline = deadline_in_ms(20000);
	int done = 0;

	assert_int_equal(blocking_pool_create(3, &pool), 0);
	for (int i = 0; i < 100; i++) {
		jobs[i] = (struct pool_job){
			.job = {.run = run_pool_job, .done = done_pool_job, .loop = f->loop}};
		blocking_pool_submit(pool, &jobs[i].job);
	}
	while (done < 100 && !deadline_passed(deadline))
		done += io_loop_run(f->loop, 1000);
	for (int i = 0; i < 100; i++) {
		assert_int_equal(jobs[i].calls, 1);
		assert_int_equal(jobs[i].job.status, -ENOSPC);
		assert_true(pthread_equal(jobs[i].done_on, pthread_self()));
		assert_false(pthread_equal(jobs[i].run_on, pthread_self()));
	}
	blocking_pool_destroy(pool);
	blocking_pool_destroy(NULL);
}

static void read_only_disks_refuse_what_writes(void **state)
{
	struct disk_scsi scsi = {.cdb = {0x2a}, .direction = DISK_TO_DEVICE};
	struct disk_request request = {.op = DISK_SCSI, .scsi = &scsi};

	(void)state;
	assert_true(disk_request_writes(&request));
	scsi = (struct disk_scsi){.cdb = {0x28}, .direction = DISK_FROM_DEVICE};
	assert_false(disk_request_writes(&request));
	scsi = (struct disk_scsi){.cdb = {0x93}, .direction = DISK_NO_DATA}; /* NDOB */
	assert_true(disk_request_writes(&request));
	scsi = (struct disk_scsi){.cdb = {0x00}, .direction = DISK_NO_DATA};
	assert_false(disk_request_writes(&request));
	scsi = (struct disk_scsi){.cdb = {0x2a}, .direction = DISK_FROM_DEVICE}; /* a lie */
	assert_true(disk_request_writes(&request));
	scsi = (struct disk_scsi){.cdb = {0x3f}, .direction = DISK_NO_DATA}; /* WR_UNCOR */
	assert_true(disk_request_writes(&request));
	request = (struct disk_request){.op = DISK_FLUSH};
	assert_false(disk_request_writes(&request));
	request.op = DISK_UNMAP;
	assert_true(disk_request_writes(&request));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, disk_fixture_setup, disk_fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(format_names_go_both_ways),
		TEST(format_is_told_by_the_name_alone),
		TEST(iscsi_url_is_no_path),
		TEST(iso_image_has_blocks_of_2048_and_takes_no_writes),
		TEST(what_is_no_iso_image_is_refused_with_offset_and_field),
		TEST(call_on_a_disk_that_hangs_ends_and_the_disk_is_good_afterwards),
		TEST(slow_call_that_is_in_time_is_not_abandoned),
		TEST(slow_call_that_is_late_is_abandoned_once_it_ends),
		TEST(job_of_the_pool_ends_on_its_loop),
		TEST(read_only_disks_refuse_what_writes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
