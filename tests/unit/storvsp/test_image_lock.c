/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Image locks between processes: each holder here is a process of its own.
 */
#include "tests/unit/test_main.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "storvsp/disk_raw.h"
#include "storvsp/image_lock.h"
#include "tests/unit/storvsp/disk_fixture.h"

struct holder {
	pid_t pid;
	int go; /* a byte: it closes and ends */
};

/* Another process that has the disk open. Returns what disk_raw_open() said there. */
static int start_holder(struct disk_fixture *f, bool read_only, struct holder *holder)
{
	const struct disk_options options = {.path = f->path, .read_only = read_only};
	int up[2], down[2], ret = 1;
	struct disk *disk;
	char byte;

	assert_int_equal(pipe(up), 0);
	assert_int_equal(pipe(down), 0);
	holder->pid = fork();
	assert_true(holder->pid >= 0);
	if (holder->pid == 0) {
		close(up[0]);
		close(down[1]);
		ret = disk_raw_open(&options, &disk, f->message, sizeof(f->message));
		if (write(up[1], &ret, sizeof(ret)) == sizeof(ret) && ret == 0 &&
		    read(down[0], &byte, 1) == 1)
			disk->ops->close(disk);
		_exit(0);
	}
	close(up[1]);
	close(down[0]);
	assert_int_equal(read(up[0], &ret, sizeof(ret)), sizeof(ret));
	close(up[0]);
	holder->go = down[1];
	return ret;
}

static void end_holder(struct holder *holder, bool kill_it)
{
	if (kill_it)
		kill(holder->pid, SIGKILL);
	else if (write(holder->go, "x", 1) != 1)
		kill(holder->pid, SIGTERM); /* it has ended already */
	close(holder->go);
	assert_int_equal(waitpid(holder->pid, NULL, 0), holder->pid);
}

static int try_open(struct disk_fixture *f, bool read_only)
{
	const struct disk_options options = {.path = f->path, .read_only = read_only};
	struct disk *disk;
	int ret = disk_raw_open(&options, &disk, f->message, sizeof(f->message));

	if (ret == 0)
		disk_close(disk);
	return ret;
}

static void second_writer_is_refused_and_told_who_has_it(void **state)
{
	struct disk_fixture *f = *state;
	struct holder holder;
	char number[16];

	disk_fixture_make_file(f, 8192);
	assert_int_equal(start_holder(f, false, &holder), 0);
	snprintf(number, sizeof(number), "%d", holder.pid);
	assert_int_equal(try_open(f, false), -EBUSY);
	assert_non_null(strstr(f->message, f->path));
	assert_non_null(strstr(f->message, number));
	assert_non_null(strstr(f->message, "test_image_lock"));
	end_holder(&holder, false);
	assert_int_equal(try_open(f, false), 0);
}

static void reader_and_writer_exclude_each_other(void **state)
{
	struct disk_fixture *f = *state;
	struct holder writer, reader;

	disk_fixture_make_file(f, 8192);
	assert_int_equal(start_holder(f, false, &writer), 0);
	assert_int_equal(try_open(f, true), -EBUSY);
	assert_non_null(strstr(f->message, "being written"));
	end_holder(&writer, false);
	assert_int_equal(start_holder(f, true, &reader), 0);
	assert_int_equal(try_open(f, false), -EBUSY);
	end_holder(&reader, false);
}

static void readers_share(void **state)
{
	struct disk_fixture *f = *state;
	struct holder one, two;

	disk_fixture_make_file(f, 8192);
	assert_int_equal(start_holder(f, true, &one), 0);
	assert_int_equal(start_holder(f, true, &two), 0);
	assert_int_equal(try_open(f, true), 0);
	end_holder(&one, false);
	assert_int_equal(try_open(f, false), -EBUSY); /* the other one is there still */
	end_holder(&two, false);
	assert_int_equal(try_open(f, false), 0);
}

static void killed_holder_leaves_no_lock(void **state)
{
	struct disk_fixture *f = *state;
	struct holder holder;

	disk_fixture_make_file(f, 8192);
	assert_int_equal(start_holder(f, false, &holder), 0);
	assert_int_equal(try_open(f, false), -EBUSY);
	end_holder(&holder, true);
	assert_int_equal(try_open(f, false), 0);
}

static void one_process_cannot_write_an_image_twice(void **state)
{
	struct disk_fixture *f = *state;
	const struct disk_options options = {.path = f->path};
	struct disk *disk;

	disk_fixture_make_file(f, 8192);
	assert_int_equal(disk_raw_open(&options, &disk, f->message, sizeof(f->message)), 0);
	assert_int_equal(try_open(f, false), -EBUSY);
	assert_non_null(strstr(f->message, "this VM"));
	disk_close(disk);
	assert_int_equal(try_open(f, false), 0);
}

/* Two hosts of a move, as two processes: at no moment do both have it. */
static void released_image_is_the_others_until_it_ends(void **state)
{
	struct disk_fixture *f = *state;
	const struct disk_options options = {.path = f->path};
	struct holder other;
	struct disk *disk;

	disk_fixture_make_file(f, 8192);
	assert_int_equal(disk_raw_open(&options, &disk, f->message, sizeof(f->message)), 0);
	assert_int_equal(start_holder(f, false, &other), -EBUSY);
	end_holder(&other, false);
	assert_int_equal(disk->ops->release(disk), 0);
	assert_int_equal(start_holder(f, false, &other), 0);
	assert_int_equal(disk->ops->reopen(disk, f->message, sizeof(f->message)), -EBUSY);
	end_holder(&other, true);
	assert_int_equal(disk->ops->reopen(disk, f->message, sizeof(f->message)), 0);
	disk_close(disk);
}

/* QEMU locks single bytes above 100 of an image that it has open for writing. */
static void image_that_qemu_writes_is_refused(void **state)
{
	struct disk_fixture *f = *state;
	struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 101, .l_len = 1};
	int fd;

	disk_fixture_make_file(f, 8192);
	fd = open(f->path, O_RDWR | O_CLOEXEC);
	assert_int_equal(fcntl(fd, F_OFD_SETLK, &lock), 0);
	assert_int_equal(try_open(f, false), -EBUSY);
	close(fd);
	assert_int_equal(try_open(f, false), 0);
}

static void dropped_lock_can_be_taken(void **state)
{
	struct disk_fixture *f = *state;
	int one, two;

	disk_fixture_make_file(f, 8192);
	one = open(f->path, O_RDWR | O_CLOEXEC);
	two = open(f->path, O_RDWR | O_CLOEXEC);
	assert_int_equal(image_lock_take(one, f->path, false, f->message, sizeof(f->message)), 0);
	assert_int_equal(image_lock_take(two, f->path, true, f->message, sizeof(f->message)),
			 -EBUSY);
	image_lock_drop(one);
	assert_int_equal(image_lock_take(two, f->path, true, f->message, sizeof(f->message)), 0);
	close(one);
	close(two);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, disk_fixture_setup, disk_fixture_teardown)

int main(void)
{
	signal(SIGPIPE, SIG_IGN);
	const struct CMUnitTest tests[] = {
		TEST(second_writer_is_refused_and_told_who_has_it),
		TEST(reader_and_writer_exclude_each_other),
		TEST(readers_share),
		TEST(killed_holder_leaves_no_lock),
		TEST(one_process_cannot_write_an_image_twice),
		TEST(released_image_is_the_others_until_it_ends),
		TEST(image_that_qemu_writes_is_refused),
		TEST(dropped_lock_can_be_taken),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
