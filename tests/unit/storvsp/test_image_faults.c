/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Transfers when the kernel does not do what it is asked: short results, interruptions, errors,
 * file systems that lack things. The loop here is the test's own: it stands in for
 * storvsp/io_loop.c, does the operations one by one on the real file, and does them worse on
 * request.
 */
#include "tests/unit/test_main.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "storvsp/disk_raw.h"
#include "storvsp/image_file.h"
#include "tests/unit/storvsp/disk_fixture.h"

#define SIZE	   (1u << 20)
#define LOG_MAX	   4096
#define VECTOR_MAX 64

enum what {
	READV,
	WRITEV,
	SYNC,
	FALLOCATE,
};

struct logged {
	enum what what;
	uint64_t offset, length;
	uint32_t flags; /* WRITEV: dsync; FALLOCATE: mode */
	int fd;
};

struct io_loop {
	struct io_op *first, **end;
};

/* How the kernel behaves. */
static struct {
	uint64_t most; /* bytes of one operation; 0: all */
	int32_t error; /* of operation error_at, counted from 0, and of error_count more */
	int error_at, error_count;
	uint32_t no_modes;  /* of fallocate() */
	bool no_direct;	    /* what is O_DIRECT gets EINVAL */
	bool write_nothing; /* writes take 0 bytes */
	struct logged log[LOG_MAX];
	int count;
} kernel;

int io_loop_create(uint32_t entries, struct io_loop **out)
{
	struct io_loop *loop = calloc(1, sizeof(*loop));

	(void)entries;
	if (loop == NULL)
		return -ENOMEM;
	loop->end = &loop->first;
	memset(&kernel, 0, sizeof(kernel));
	kernel.error_at = -1;
	*out = loop;
	return 0;
}

void io_loop_destroy(struct io_loop *loop)
{
	free(loop);
}

static void add(struct io_loop *loop, struct io_op *op, enum what what, int fd)
{
	op->kind = (uint8_t)what;
	op->fd = fd;
	op->next = NULL;
	*loop->end = op;
	loop->end = &op->next;
}

void io_loop_readv(struct io_loop *loop, struct io_op *op, int fd, const struct iovec *iov,
		   uint32_t iov_count, uint64_t offset)
{
	op->argument = iov;
	op->length = iov_count;
	op->offset = offset;
	op->flags = 0;
	add(loop, op, READV, fd);
}

void io_loop_writev(struct io_loop *loop, struct io_op *op, int fd, const struct iovec *iov,
		    uint32_t iov_count, uint64_t offset, bool dsync)
{
	op->argument = iov;
	op->length = iov_count;
	op->offset = offset;
	op->flags = dsync;
	add(loop, op, WRITEV, fd);
}

void io_loop_sync(struct io_loop *loop, struct io_op *op, int fd)
{
	op->offset = 0;
	op->length = 0;
	op->flags = 0;
	add(loop, op, SYNC, fd);
}

void io_loop_fallocate(struct io_loop *loop, struct io_op *op, int fd, int mode, uint64_t offset,
		       uint64_t length)
{
	op->flags = (uint32_t)mode;
	op->offset = offset;
	op->length = length;
	add(loop, op, FALLOCATE, fd);
}

void io_loop_poll(struct io_loop *loop, struct io_op *op, int fd, uint32_t events)
{
	(void)loop;
	(void)op;
	(void)fd;
	(void)events;
	fail();
}

void io_loop_poll_cancel(struct io_loop *loop, struct io_op *op)
{
	(void)loop;
	(void)op;
	fail();
}

void io_loop_post(struct io_loop *loop, struct io_post *post)
{
	(void)loop;
	(void)post;
	fail();
}

static bool is_direct(int fd)
{
	return (fcntl(fd, F_GETFL) & O_DIRECT) != 0;
}

/* O_DIRECT would refuse what a short result leaves: it goes by a copy of the descriptor without. */
static int32_t transfer(const struct io_op *op)
{
	const struct iovec *iov = op->argument;
	uint64_t left = kernel.most != 0 ? kernel.most : UINT64_MAX, done = 0;
	int flags = fcntl(op->fd, F_GETFL);

	fcntl(op->fd, F_SETFL, flags & ~O_DIRECT);
	for (uint64_t i = 0; i < op->length && left > 0; i++) {
		size_t part = iov[i].iov_len < left ? iov[i].iov_len : (size_t)left;
		ssize_t n =
			op->kind == READV
				? pread(op->fd, iov[i].iov_base, part, (off_t)(op->offset + done))
				: pwrite(op->fd, iov[i].iov_base, part, (off_t)(op->offset + done));
		if (n < 0) {
			fcntl(op->fd, F_SETFL, flags);
			return -errno;
		}
		done += (uint64_t)n;
		left -= (uint64_t)n;
		if ((size_t)n < part)
			break;
	}
	fcntl(op->fd, F_SETFL, flags);
	return (int32_t)done;
}

static uint64_t length_of(const struct io_op *op)
{
	const struct iovec *iov = op->argument;
	uint64_t length = 0;

	if (op->kind == SYNC || op->kind == FALLOCATE)
		return op->length;
	for (uint64_t i = 0; i < op->length; i++)
		length += iov[i].iov_len;
	return length;
}

static int32_t execute(const struct io_op *op)
{
	int at = kernel.count;

	assert_true(at < LOG_MAX);
	kernel.log[kernel.count++] =
		(struct logged){(enum what)op->kind, op->offset, length_of(op), op->flags, op->fd};
	if (kernel.error_at >= 0 && at >= kernel.error_at &&
	    at <= kernel.error_at + kernel.error_count)
		return kernel.error;
	switch ((enum what)op->kind) {
	case READV:
	case WRITEV:
		if (kernel.no_direct && is_direct(op->fd))
			return -EINVAL;
		if (kernel.write_nothing && op->kind == WRITEV)
			return 0;
		return transfer(op);
	case SYNC:
		return fdatasync(op->fd) < 0 ? -errno : 0;
	case FALLOCATE:
		if ((op->flags & kernel.no_modes) != 0)
			return -EOPNOTSUPP;
		return fallocate(op->fd, (int)op->flags, (off_t)op->offset, (off_t)op->length) < 0
			       ? -errno
			       : 0;
	}
	return -EINVAL;
}

int io_loop_run(struct io_loop *loop, int timeout_ms)
{
	struct io_op *op = loop->first;

	(void)timeout_ms;
	if (op == NULL)
		return 0;
	loop->first = op->next;
	if (loop->first == NULL)
		loop->end = &loop->first;
	op->done(op, execute(op));
	return 1;
}

/* ---- tests ---- */

static struct disk *open_disk(struct disk_fixture *f)
{
	const struct disk_options options = {.path = f->path};
	struct disk *disk;

	disk_fixture_make_file(f, SIZE);
	assert_int_equal(disk_raw_open(&options, &disk, f->message, sizeof(f->message)), 0);
	kernel.count = 0;
	return disk;
}

static int count_of(enum what what)
{
	int count = 0;

	for (int i = 0; i < kernel.count; i++)
		count += kernel.log[i].what == what;
	return count;
}

static void assert_file(const struct disk_fixture *f, uint64_t offset, uint64_t length,
			uint8_t (*expected)(uint64_t))
{
	uint8_t *bytes = malloc(length);
	int fd = open(f->path, O_RDONLY | O_CLOEXEC);

	assert_int_equal(pread(fd, bytes, length, (off_t)offset), (ssize_t)length);
	for (uint64_t i = 0; i < length; i++)
		if (bytes[i] != expected(offset + i))
			fail_msg("byte %llu is wrong", (unsigned long long)(offset + i));
	close(fd);
	free(bytes);
}

static uint8_t zero_byte(uint64_t offset)
{
	(void)offset;
	return 0;
}

static uint8_t other_byte(uint64_t offset)
{
	return (uint8_t)(offset * 13 + 5);
}

/* 1000 bytes at a time: neither aligned nor a whole element. */
static void short_reads_are_continued(void **state)
{
	struct disk_fixture *f = *state;
	uint8_t *buffer = aligned_alloc(4096, 65536);
	const struct iovec iov[] = {
		{buffer, 512}, {buffer + 512, 8192}, {buffer + 8704, 65536 - 8704}};
	struct disk *disk = open_disk(f);

	kernel.most = 1000;
	assert_int_equal(disk_fixture_iov(f, disk, DISK_READ, false, 4096, iov, 3), 0);
	for (uint32_t i = 0; i < 65536; i++)
		assert_int_equal(buffer[i], disk_fixture_byte(4096 + i));
	assert_true(kernel.count > 60);
	disk_close(disk);
	free(buffer);
}

static void short_writes_are_continued_and_each_is_synced(void **state)
{
	struct disk_fixture *f = *state;
	uint8_t *buffer = aligned_alloc(4096, 65536);
	const struct iovec iov[] = {{buffer, 4096}, {buffer + 4096, 65536 - 4096}};
	struct disk *disk = open_disk(f);

	for (uint32_t i = 0; i < 65536; i++)
		buffer[i] = other_byte(8192 + i);
	kernel.most = 1536;
	assert_int_equal(disk_fixture_iov(f, disk, DISK_WRITE, true, 8192, iov, 2), 0);
	assert_file(f, 0, 8192, disk_fixture_byte);
	assert_file(f, 8192, 65536, other_byte);
	assert_file(f, 8192 + 65536, SIZE - 8192 - 65536, disk_fixture_byte);
	for (int i = 0; i < kernel.count; i++)
		assert_int_equal(kernel.log[i].flags, 1);
	disk_close(disk);
	free(buffer);
}

static void misaligned_memory_survives_short_results(void **state)
{
	struct disk_fixture *f = *state;
	uint8_t *buffer = malloc(65536 + 1);
	struct disk *disk = open_disk(f);

	kernel.most = UINT64_C(7) * 512;
	assert_int_equal(disk_fixture_io(f, disk, DISK_READ, 1024, buffer + 1, 65536), 0);
	for (uint32_t i = 0; i < 65536; i++)
		assert_int_equal(buffer[i + 1], disk_fixture_byte(1024 + i));
	for (uint32_t i = 0; i < 65536; i++)
		buffer[i + 1] = other_byte(1024 + i);
	assert_int_equal(disk_fixture_io(f, disk, DISK_WRITE, 1024, buffer + 1, 65536), 0);
	assert_file(f, 1024, 65536, other_byte);
	disk_close(disk);
	free(buffer);
}

static void interrupted_operations_are_tried_again(void **state)
{
	static const int32_t errors[] = {-EINTR, -EAGAIN};
	struct disk_fixture *f = *state;
	uint8_t *buffer = aligned_alloc(4096, 4096);
	struct disk *disk = open_disk(f);

	for (int i = 0; i < 2; i++) {
		kernel.error = errors[i];
		kernel.error_at = kernel.count;
		kernel.error_count = 2;
		assert_int_equal(disk_fixture_io(f, disk, DISK_READ, 0, buffer, 4096), 0);
		assert_int_equal(buffer[4095], disk_fixture_byte(4095));
		kernel.error_at = kernel.count;
		assert_int_equal(disk_fixture_io(f, disk, DISK_FLUSH, 0, NULL, 0), 0);
		kernel.error_at = kernel.count;
		assert_int_equal(disk_fixture_io(f, disk, DISK_UNMAP, 0, NULL, 4096), 0);
		disk_fixture_make_file(f, SIZE);
	}
	disk_close(disk);
	free(buffer);
}

static void errors_are_told_apart(void **state)
{
	static const struct {
		int32_t error;
		int status;
	} cases[] = {
		{-ENOSPC, -ENOSPC}, {-EDQUOT, -ENOSPC}, {-EFBIG, -ENOSPC},  {-EIO, -EIO},
		{-ESTALE, -EIO},    {-EROFS, -EROFS},	{-ENOMEM, -ENOMEM}, {-EBADF, -EIO},
	};
	struct disk_fixture *f = *state;
	uint8_t *buffer = aligned_alloc(4096, 4096);
	struct disk *disk = open_disk(f);

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		kernel.error = cases[i].error;
		kernel.error_at = kernel.count;
		assert_int_equal(disk_fixture_io(f, disk, DISK_WRITE, 0, buffer, 4096),
				 cases[i].status);
		kernel.error_at = kernel.count;
		assert_int_equal(disk_fixture_io(f, disk, DISK_FLUSH, 0, NULL, 0), cases[i].status);
	}
	disk_close(disk);
	free(buffer);
}

static void error_in_the_middle_ends_the_request_once(void **state)
{
	struct disk_fixture *f = *state;
	uint8_t *buffer = aligned_alloc(4096, 65536);
	struct disk *disk = open_disk(f);

	memset(buffer, 0xee, 65536);
	kernel.most = 4096;
	kernel.error = -ENOSPC;
	kernel.error_at = 3;
	kernel.error_count = LOG_MAX;
	assert_int_equal(disk_fixture_io(f, disk, DISK_WRITE, 0, buffer, 65536), -ENOSPC);
	assert_int_equal(kernel.count, 4);
	assert_int_equal(io_loop_run(f->loop, 0), 0); /* nothing goes on */
	disk_close(disk);
	free(buffer);
}

static void write_that_takes_nothing_is_an_error_not_a_loop(void **state)
{
	struct disk_fixture *f = *state;
	uint8_t *buffer = aligned_alloc(4096, 4096);
	struct disk *disk = open_disk(f);

	kernel.write_nothing = true;
	assert_int_equal(disk_fixture_io(f, disk, DISK_WRITE, 0, buffer, 4096), -EIO);
	disk_close(disk);
	free(buffer);
}

static void flush_is_a_sync_and_a_write_alone_is_none(void **state)
{
	struct disk_fixture *f = *state;
	uint8_t *buffer = aligned_alloc(4096, 4096);
	struct disk *disk = open_disk(f);

	assert_int_equal(disk_fixture_io(f, disk, DISK_WRITE, 0, buffer, 4096), 0);
	assert_int_equal(count_of(SYNC), 0);
	assert_int_equal(kernel.log[0].flags, 0);
	assert_int_equal(disk_fixture_io(f, disk, DISK_FLUSH, 0, NULL, 0), 0);
	assert_int_equal(count_of(SYNC), 1);
	disk_close(disk);
	free(buffer);
}

static void file_system_that_lies_about_o_direct_is_served_by_the_page_cache(void **state)
{
	struct disk_fixture *f = *state;
	uint8_t *buffer = aligned_alloc(4096, 4096);
	struct disk *disk = open_disk(f);

	kernel.no_direct = true;
	assert_int_equal(disk_fixture_io(f, disk, DISK_READ, 4096, buffer, 4096), 0);
	assert_int_equal(buffer[1], disk_fixture_byte(4097));
	assert_int_equal(disk_fixture_io(f, disk, DISK_WRITE, 8192, buffer, 4096), 0);
	assert_file(f, 0, 8192, disk_fixture_byte);
	disk_close(disk);
	free(buffer);
}

static void zeroes_are_written_where_the_file_system_cannot_make_them(void **state)
{
	struct disk_fixture *f = *state;
	struct disk *disk = open_disk(f);

	kernel.no_modes = FALLOC_FL_ZERO_RANGE | FALLOC_FL_PUNCH_HOLE;
	assert_int_equal(
		disk_fixture_io(f, disk, DISK_WRITE_ZEROES, 512, NULL, UINT64_C(700) * 512), 0);
	assert_file(f, 0, 512, disk_fixture_byte);
	assert_file(f, 512, UINT64_C(700) * 512, zero_byte);
	assert_file(f, UINT64_C(701) * 512, SIZE - UINT64_C(701) * 512, disk_fixture_byte);
	assert_int_equal(count_of(FALLOCATE), 1);
	assert_int_equal(disk_fixture_io(f, disk, DISK_WRITE_ZEROES, 0, NULL, 4096), 0);
	assert_int_equal(count_of(FALLOCATE), 1); /* it does not ask again */
	disk_close(disk);
}

static void zeroing_for_good_does_not_punch_holes(void **state)
{
	struct disk_fixture *f = *state;
	struct disk *disk = open_disk(f);

	assert_int_equal(disk_fixture_io(f, disk, DISK_WRITE_ZEROES, 0, NULL, 65536), 0);
	for (int i = 0; i < kernel.count; i++)
		assert_int_equal(kernel.log[i].flags & FALLOC_FL_PUNCH_HOLE, 0);
	assert_file(f, 0, 65536, zero_byte);
	disk_close(disk);
}

static void unmap_falls_back_to_zeroes_since_it_promised_them(void **state)
{
	struct disk_fixture *f = *state;
	struct disk *disk = open_disk(f);
	struct disk_info info;

	disk_get_info(disk, &info);
	if (!info.unmap_zeroes) {
		disk_close(disk);
		skip();
	}
	kernel.no_modes = FALLOC_FL_PUNCH_HOLE; /* the image is on another share now */
	assert_int_equal(disk_fixture_io(f, disk, DISK_UNMAP, 4096, NULL, 65536), 0);
	assert_file(f, 4096, 65536, zero_byte);
	disk_close(disk);
}

static void failing_fallocate_is_told(void **state)
{
	struct disk_fixture *f = *state;
	struct disk *disk = open_disk(f);

	kernel.error = -ENOSPC;
	kernel.error_at = 0;
	assert_int_equal(disk_fixture_io(f, disk, DISK_WRITE_ZEROES, 0, NULL, 4096), -ENOSPC);
	kernel.error = -EIO;
	kernel.error_at = kernel.count;
	assert_int_equal(disk_fixture_io(f, disk, DISK_UNMAP, 0, NULL, 4096), -EIO);
	disk_close(disk);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, disk_fixture_setup, disk_fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(short_reads_are_continued),
		TEST(short_writes_are_continued_and_each_is_synced),
		TEST(misaligned_memory_survives_short_results),
		TEST(interrupted_operations_are_tried_again),
		TEST(errors_are_told_apart),
		TEST(error_in_the_middle_ends_the_request_once),
		TEST(write_that_takes_nothing_is_an_error_not_a_loop),
		TEST(flush_is_a_sync_and_a_write_alone_is_none),
		TEST(file_system_that_lies_about_o_direct_is_served_by_the_page_cache),
		TEST(zeroes_are_written_where_the_file_system_cannot_make_them),
		TEST(zeroing_for_good_does_not_punch_holes),
		TEST(unmap_falls_back_to_zeroes_since_it_promised_them),
		TEST(failing_fallocate_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
