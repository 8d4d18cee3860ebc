/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Raw disks on real files; what the file has is looked at by other means than the disk.
 */
#include "tests/unit/test_main.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "storvsp/disk_raw.h"
#include "tests/unit/storvsp/disk_fixture.h"

#define SIZE	  (4u << 20)
#define MANY_IOVS ((size_t)3000)
#define IOV_BYTES ((size_t)512)

static struct disk *open_disk(struct disk_fixture *f, bool read_only, enum disk_cache cache)
{
	const struct disk_options options = {
		.path = f->path, .read_only = read_only, .cache = cache};
	struct disk *disk = NULL;
	int ret = disk_raw_open(&options, &disk, f->message, sizeof(f->message));

	if (ret != 0)
		fail_msg("%d: %s", ret, f->message);
	return disk;
}

static void read_file(const struct disk_fixture *f, void *bytes, size_t length, uint64_t offset)
{
	int fd = open(f->path, O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(pread(fd, bytes, length, (off_t)offset), (ssize_t)length);
	close(fd);
}

static void assert_pattern(const uint8_t *bytes, uint64_t length, uint64_t offset)
{
	for (uint64_t i = 0; i < length; i++)
		if (bytes[i] != disk_fixture_byte(offset + i))
			fail_msg("byte %llu is wrong", (unsigned long long)(offset + i));
}

static void info_tells_size_and_blocks(void **state)
{
	struct disk_fixture *f = *state;
	struct disk_info info;
	struct disk *disk;

	disk_fixture_make_file(f, 10000); /* 19 blocks and a part of one */
	disk = open_disk(f, false, DISK_CACHE_NONE);
	disk_get_info(disk, &info);
	assert_int_equal(info.size_bytes, 20 * 512);
	assert_int_equal(info.block_bytes, 512);
	assert_int_equal(info.physical_block_bytes, 4096);
	assert_false(info.read_only);
	assert_true(info.write_cache);
	assert_false(info.passes_scsi);
	assert_string_equal(info.kind, "raw");
	disk_close(disk);
}

static void aligned_reads_and_writes_reach_the_file(void **state)
{
	struct disk_fixture *f = *state;
	struct disk *disk;
	uint8_t *buffer = aligned_alloc(4096, 65536), *got = malloc(65536);

	disk_fixture_make_file(f, SIZE);
	disk = open_disk(f, false, DISK_CACHE_NONE);
	assert_int_equal(disk_fixture_io(f, disk, DISK_READ, 8192, buffer, 65536), 0);
	assert_pattern(buffer, 65536, 8192);
	memset(buffer, 0xa5, 65536);
	assert_int_equal(disk_fixture_io(f, disk, DISK_WRITE, 4096, buffer, 65536), 0);
	assert_int_equal(disk_fixture_io(f, disk, DISK_FLUSH, 0, NULL, 0), 0);
	read_file(f, got, 65536, 4096);
	assert_memory_equal(got, buffer, 65536);
	read_file(f, got, 4096, 0);
	assert_pattern(got, 4096, 0);
	read_file(f, got, 4096, 4096 + 65536);
	assert_pattern(got, 4096, 4096 + 65536);
	disk_close(disk);
	free(buffer);
	free(got);
}

/* Memory at odd addresses, in odd pieces: O_DIRECT cannot take it, and nobody notices. */
static void misaligned_memory_is_bounced(void **state)
{
	static const size_t lengths[] = {1, 511, 700, 4096, 3, 70000, 513, 600000};
	struct disk_fixture *f = *state;
	uint8_t *memory = malloc(2u << 20), *got = malloc(1u << 20);
	struct iovec iov[9];
	size_t total = 0, at = 3;
	struct disk *disk;

	for (uint32_t i = 0; i < 8; i++) {
		iov[i] = (struct iovec){memory + at, lengths[i]};
		at += lengths[i] + 13;
		total += lengths[i];
	}
	iov[8] = (struct iovec){memory + at, 4096 - total % 4096};
	total += iov[8].iov_len;
	disk_fixture_make_file(f, SIZE);
	disk = open_disk(f, false, DISK_CACHE_NONE);
	memset(memory, 0x11, 2u << 20);
	assert_int_equal(disk_fixture_iov(f, disk, DISK_READ, false, 512, iov, 9), 0);
	at = 0;
	for (uint32_t i = 0; i < 9; i++) {
		assert_pattern(iov[i].iov_base, iov[i].iov_len, 512 + at);
		/* What lies between the pieces is not touched. */
		assert_int_equal(((uint8_t *)iov[i].iov_base)[iov[i].iov_len], 0x11);
		at += iov[i].iov_len;
	}
	assert_int_equal(disk_fixture_iov(f, disk, DISK_WRITE, true, 1024, iov, 9), 0);
	read_file(f, got, total, 1024);
	assert_pattern(got, total, 512);
	disk_close(disk);
	free(memory);
	free(got);
}

static void vectors_longer_than_the_kernel_takes_are_cut(void **state)
{
	struct disk_fixture *f = *state;
	static struct iovec iov[MANY_IOVS];
	uint8_t *memory = aligned_alloc(4096, MANY_IOVS * IOV_BYTES * 2);
	uint8_t *got = malloc(MANY_IOVS * IOV_BYTES);
	struct disk *disk;

	assert_true(MANY_IOVS > IOV_MAX);
	for (uint32_t i = 0; i < MANY_IOVS; i++) {
		iov[i] = (struct iovec){memory + (size_t)i * IOV_BYTES * 2, IOV_BYTES};
		memset(iov[i].iov_base, (int)(i % 251), IOV_BYTES);
	}
	disk_fixture_make_file(f, SIZE);
	disk = open_disk(f, false, DISK_CACHE_NONE);
	assert_int_equal(disk_fixture_iov(f, disk, DISK_WRITE, false, 0, iov, (uint32_t)MANY_IOVS),
			 0);
	read_file(f, got, MANY_IOVS * IOV_BYTES, 0);
	for (uint32_t i = 0; i < MANY_IOVS * IOV_BYTES; i++)
		assert_int_equal(got[i], i / IOV_BYTES % 251);
	memset(memory, 0, MANY_IOVS * IOV_BYTES * 2);
	assert_int_equal(disk_fixture_iov(f, disk, DISK_READ, false, 0, iov, (uint32_t)MANY_IOVS),
			 0);
	for (uint32_t i = 0; i < MANY_IOVS; i++)
		assert_int_equal(((uint8_t *)iov[i].iov_base)[100], i % 251);
	disk_close(disk);
	free(memory);
	free(got);
}

static void part_of_a_block_at_the_end_reads_as_zeroes(void **state)
{
	struct disk_fixture *f = *state;
	uint8_t *buffer = aligned_alloc(4096, 4096);
	struct disk *disk;

	disk_fixture_make_file(f, 8192 + 700);
	disk = open_disk(f, false, DISK_CACHE_NONE);
	memset(buffer, 0xff, 4096);
	assert_int_equal(disk_fixture_io(f, disk, DISK_READ, 8192, buffer, 1024), 0);
	assert_pattern(buffer, 700, 8192);
	for (int i = 700; i < 1024; i++)
		assert_int_equal(buffer[i], 0);
	/* Once it is written it is there. */
	memset(buffer, 0x77, 1024);
	assert_int_equal(disk_fixture_io(f, disk, DISK_WRITE, 8192, buffer, 1024), 0);
	memset(buffer, 0, 1024);
	read_file(f, buffer, 1024, 8192);
	assert_int_equal(buffer[1023], 0x77);
	disk_close(disk);
	free(buffer);
}

static void requests_past_the_end_or_between_blocks_are_refused(void **state)
{
	struct disk_fixture *f = *state;
	uint8_t buffer[1024];
	struct disk *disk;

	disk_fixture_make_file(f, 8192);
	disk = open_disk(f, false, DISK_CACHE_NONE);
	assert_int_equal(disk_fixture_io(f, disk, DISK_READ, 8192, buffer, 512), -EINVAL);
	assert_int_equal(disk_fixture_io(f, disk, DISK_WRITE, 7680, buffer, 1024), -EINVAL);
	assert_int_equal(disk_fixture_io(f, disk, DISK_READ, 100, buffer, 512), -EINVAL);
	assert_int_equal(disk_fixture_io(f, disk, DISK_READ, 0, buffer, 100), -EINVAL);
	assert_int_equal(disk_fixture_io(f, disk, DISK_UNMAP, UINT64_MAX - 511, NULL, 1024),
			 -EINVAL);
	assert_int_equal(disk_fixture_io(f, disk, DISK_SCSI, 0, NULL, 0), -EOPNOTSUPP);
	disk_close(disk);
}

static void read_only_disk_takes_no_writes(void **state)
{
	struct disk_fixture *f = *state;
	uint8_t buffer[512];
	struct disk_info info;
	struct disk *disk;

	disk_fixture_make_file(f, 8192);
	assert_int_equal(chmod(f->path, 0400), 0);
	disk = open_disk(f, true, DISK_CACHE_NONE);
	disk_get_info(disk, &info);
	assert_true(info.read_only);
	assert_false(info.write_cache);
	assert_int_equal(disk_fixture_io(f, disk, DISK_WRITE, 0, buffer, 512), -EROFS);
	assert_int_equal(disk_fixture_io(f, disk, DISK_UNMAP, 0, NULL, 512), -EROFS);
	assert_int_equal(disk_fixture_io(f, disk, DISK_WRITE_ZEROES, 0, NULL, 512), -EROFS);
	assert_int_equal(disk_fixture_io(f, disk, DISK_FLUSH, 0, NULL, 0), 0);
	assert_int_equal(disk_fixture_io(f, disk, DISK_READ, 0, buffer, 512), 0);
	assert_pattern(buffer, 512, 0);
	disk_close(disk);
}

static void file_truncated_by_somebody_is_an_error_not_zeroes(void **state)
{
	struct disk_fixture *f = *state;
	uint8_t *buffer = aligned_alloc(4096, 8192);
	struct disk *disk;

	disk_fixture_make_file(f, 65536);
	disk = open_disk(f, false, DISK_CACHE_NONE);
	assert_int_equal(truncate(f->path, 4096), 0);
	assert_int_equal(disk_fixture_io(f, disk, DISK_READ, 0, buffer, 8192), -EIO);
	disk_close(disk);
	free(buffer);
}

static void zeroed_range_reads_as_zeroes_and_keeps_its_room(void **state)
{
	struct disk_fixture *f = *state;
	uint8_t *got = malloc(SIZE);
	struct stat before, after;
	struct disk *disk;

	disk_fixture_make_file(f, SIZE);
	disk = open_disk(f, false, DISK_CACHE_NONE);
	assert_int_equal(disk_fixture_io(f, disk, DISK_FLUSH, 0, NULL, 0), 0);
	assert_int_equal(stat(f->path, &before), 0);
	/* Neither end is on a boundary of the file system's blocks. */
	assert_int_equal(disk_fixture_io(f, disk, DISK_WRITE_ZEROES, 512, NULL, 1u << 20), 0);
	assert_int_equal(disk_fixture_io(f, disk, DISK_FLUSH, 0, NULL, 0), 0);
	read_file(f, got, SIZE, 0);
	assert_pattern(got, 512, 0);
	for (uint32_t i = 512; i < 512 + (1u << 20); i++)
		assert_int_equal(got[i], 0);
	assert_pattern(got + 512 + (1u << 20), 4096, 512 + (1u << 20));
	assert_int_equal(stat(f->path, &after), 0);
	assert_int_equal(after.st_size, before.st_size);
	assert_true(after.st_blocks >= before.st_blocks);
	disk_close(disk);
	free(got);
}

static void unmapped_range_gives_its_room_back(void **state)
{
	struct disk_fixture *f = *state;
	uint8_t *got = malloc(SIZE);
	struct stat before, after;
	struct disk_info info;
	struct disk *disk;

	disk_fixture_make_file(f, SIZE);
	disk = open_disk(f, false, DISK_CACHE_NONE);
	disk_get_info(disk, &info);
	if (info.unmap_granularity_bytes == 0) {
		disk_close(disk);
		free(got);
		skip(); /* this file system makes no holes */
		return;
	}
	assert_int_equal(disk_fixture_io(f, disk, DISK_FLUSH, 0, NULL, 0), 0);
	assert_int_equal(stat(f->path, &before), 0);
	assert_int_equal(disk_fixture_io(f, disk, DISK_UNMAP, 1u << 20, NULL, 2u << 20), 0);
	assert_int_equal(stat(f->path, &after), 0);
	assert_int_equal(after.st_size, before.st_size);
	assert_true(before.st_blocks - after.st_blocks >= (2 << 20) / 512);
	assert_true(info.unmap_zeroes);
	read_file(f, got, SIZE, 0);
	assert_pattern(got, 1u << 20, 0);
	for (uint32_t i = 1u << 20; i < 3u << 20; i++)
		assert_int_equal(got[i], 0);
	assert_pattern(got + (3u << 20), 1u << 20, 3u << 20);
	disk_close(disk);
	free(got);
}

static void refresh_sees_a_file_that_grew(void **state)
{
	struct disk_fixture *f = *state;
	uint8_t buffer[512];
	struct disk_info info;
	struct disk *disk;

	disk_fixture_make_file(f, 8192);
	disk = open_disk(f, false, DISK_CACHE_WRITEBACK);
	assert_int_equal(truncate(f->path, 16384), 0);
	assert_int_equal(disk_fixture_io(f, disk, DISK_READ, 8192, buffer, 512), -EINVAL);
	assert_int_equal(disk->ops->refresh(disk), 0);
	disk_get_info(disk, &info);
	assert_int_equal(info.size_bytes, 16384);
	assert_int_equal(disk_fixture_io(f, disk, DISK_READ, 8192, buffer, 512), 0);
	disk_close(disk);
}

/* A move's two hosts: the target looks, the source lets go, the target takes. */
static void deferred_disk_is_taken_when_the_other_lets_go(void **state)
{
	struct disk_fixture *f = *state;
	const struct disk_options deferred = {.path = f->path, .deferred = true};
	uint8_t buffer[512] = {0};
	struct disk *source, *target;
	struct disk_info info;

	disk_fixture_make_file(f, 8192);
	source = open_disk(f, false, DISK_CACHE_NONE);
	assert_int_equal(disk_raw_open(&deferred, &target, f->message, sizeof(f->message)), 0);
	assert_int_equal(disk_fixture_io(f, target, DISK_READ, 0, buffer, 512), -ENODEV);
	assert_int_equal(target->ops->reopen(target, f->message, sizeof(f->message)), -EBUSY);
	memset(buffer, 0x3c, sizeof(buffer));
	assert_int_equal(disk_fixture_io(f, source, DISK_WRITE, 0, buffer, 512), 0);
	assert_int_equal(truncate(f->path, 12288), 0);
	assert_int_equal(source->ops->release(source), 0);
	assert_int_equal(disk_fixture_io(f, source, DISK_WRITE, 0, buffer, 512), -ENODEV);
	assert_int_equal(target->ops->reopen(target, f->message, sizeof(f->message)), 0);
	disk_get_info(target, &info);
	assert_int_equal(info.size_bytes, 12288); /* as it is now, not as it was */
	memset(buffer, 0, sizeof(buffer));
	assert_int_equal(disk_fixture_io(f, target, DISK_READ, 0, buffer, 512), 0);
	assert_int_equal(buffer[511], 0x3c);
	/* It is the target's: the source does not get it back. */
	assert_int_equal(source->ops->reopen(source, f->message, sizeof(f->message)), -EBUSY);
	disk_close(source);
	disk_close(target);
}

static void source_of_a_failed_move_takes_its_disk_back(void **state)
{
	struct disk_fixture *f = *state;
	uint8_t buffer[512];
	struct disk *disk;

	disk_fixture_make_file(f, 8192);
	disk = open_disk(f, false, DISK_CACHE_NONE);
	assert_int_equal(disk->ops->release(disk), 0);
	assert_int_equal(disk->ops->reopen(disk, f->message, sizeof(f->message)), 0);
	assert_int_equal(disk_fixture_io(f, disk, DISK_READ, 512, buffer, 512), 0);
	assert_pattern(buffer, 512, 512);
	disk_close(disk);
}

static void what_is_no_file_is_refused_with_its_name(void **state)
{
	struct disk_fixture *f = *state;
	const struct disk_options missing = {.path = f->path};
	const struct disk_options directory = {.path = f->directory};
	struct disk_options fifo = {.path = f->path};
	struct disk *disk;

	assert_int_equal(disk_raw_open(&missing, &disk, f->message, sizeof(f->message)), -ENOENT);
	assert_non_null(strstr(f->message, f->path));
	assert_int_equal(disk_raw_open(&directory, &disk, f->message, sizeof(f->message)), -EISDIR);
	assert_int_equal(mkfifo(f->path, 0600), 0);
	assert_int_equal(disk_raw_open(&fifo, &disk, f->message, sizeof(f->message)), -EINVAL);
	assert_non_null(strstr(f->message, "not a file"));
}

static void pass_through_of_a_file_is_refused(void **state)
{
	struct disk_fixture *f = *state;
	const struct disk_options options = {.path = f->path, .pass_through = true};
	struct disk *disk;

	disk_fixture_make_file(f, 8192);
	assert_int_equal(disk_raw_open(&options, &disk, f->message, sizeof(f->message)), -EINVAL);
	assert_non_null(strstr(f->message, "passthrough"));
}

static void many_requests_at_once_each_end_once(void **state)
{
	struct disk_fixture *f = *state;
	static struct waited_request waited[256];
	uint8_t *buffers = aligned_alloc(4096, (size_t)256 * 4096);
	struct disk *disk;

	disk_fixture_make_file(f, SIZE);
	disk = open_disk(f, false, DISK_CACHE_NONE);
	for (uint32_t i = 0; i < 256; i++)
		disk_fixture_start(f, disk, DISK_READ, i * UINT64_C(4096),
				   buffers + (size_t)i * 4096, 4096, &waited[i]);
	for (uint32_t i = 0; i < 256; i++) {
		assert_true(disk_fixture_wait(f, &waited[i], 20000));
		assert_int_equal(waited[i].status, 0);
	}
	assert_pattern(buffers, UINT64_C(256) * 4096, 0);
	disk_close(disk);
	free(buffers);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, disk_fixture_setup, disk_fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(info_tells_size_and_blocks),
		TEST(aligned_reads_and_writes_reach_the_file),
		TEST(misaligned_memory_is_bounced),
		TEST(vectors_longer_than_the_kernel_takes_are_cut),
		TEST(part_of_a_block_at_the_end_reads_as_zeroes),
		TEST(requests_past_the_end_or_between_blocks_are_refused),
		TEST(read_only_disk_takes_no_writes),
		TEST(file_truncated_by_somebody_is_an_error_not_zeroes),
		TEST(zeroed_range_reads_as_zeroes_and_keeps_its_room),
		TEST(unmapped_range_gives_its_room_back),
		TEST(refresh_sees_a_file_that_grew),
		TEST(deferred_disk_is_taken_when_the_other_lets_go),
		TEST(source_of_a_failed_move_takes_its_disk_back),
		TEST(what_is_no_file_is_refused_with_its_name),
		TEST(pass_through_of_a_file_is_refused),
		TEST(many_requests_at_once_each_end_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
