/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The fixture of the disks' tests.
 */
#include "tests/unit/storvsp/disk_fixture.h"

#include "tests/unit/test_main.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/deadline.h"

#define WAIT_MS 60000u

int disk_fixture_setup(void **state)
{
	struct disk_fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	snprintf(f->directory, sizeof(f->directory), "/tmp/lunar-disk-XXXXXX");
	assert_non_null(mkdtemp(f->directory));
	snprintf(f->path, sizeof(f->path), "%s/disk", f->directory);
	assert_int_equal(io_loop_create(32, &f->loop), 0);
	*state = f;
	return 0;
}

int disk_fixture_teardown(void **state)
{
	struct disk_fixture *f = *state;
	const struct dirent *entry;
	DIR *directory = opendir(f->directory);

	assert_non_null(directory);
	while ((entry = readdir(directory)) != NULL)
		unlinkat(dirfd(directory), entry->d_name, 0);
	closedir(directory);
	rmdir(f->directory);
	io_loop_destroy(f->loop);
	free(f);
	return 0;
}

uint8_t disk_fixture_byte(uint64_t offset)
{
	return (uint8_t)(offset * 7 + (offset >> 9) * 31 + (offset >> 17));
}

void disk_fixture_make_file(struct disk_fixture *f, uint64_t size)
{
	uint8_t *bytes = malloc(size + 1);
	int fd = open(f->path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);

	assert_non_null(bytes);
	assert_true(fd >= 0);
	for (uint64_t i = 0; i < size; i++)
		bytes[i] = disk_fixture_byte(i);
	assert_int_equal(write(fd, bytes, size), (ssize_t)size);
	close(fd);
	free(bytes);
}

static void on_done(struct disk_request *request, int status)
{
	struct waited_request *waited = (struct waited_request *)request;

	waited->status = status;
	waited->calls++;
}

bool disk_fixture_wait(struct disk_fixture *f, const struct waited_request *waited,
		       uint32_t deadline_ms)
{
	struct deadline deadline = deadline_in_ms(deadline_ms);

	while (waited->calls == 0 && !deadline_passed(deadline))
		assert_true(io_loop_run(f->loop, deadline_left_ms(deadline)) >= 0);
	assert_true(waited->calls <= 1);
	return waited->calls == 1;
}

void disk_fixture_start(struct disk_fixture *f, struct disk *disk, enum disk_op op, uint64_t offset,
			void *bytes, uint64_t length, struct waited_request *waited)
{
	*waited = (struct waited_request){
		.request = {.op = op, .offset = offset, .length = length, .loop = f->loop},
		.iov = {bytes, length},
	};
	waited->request.done = on_done;
	if (bytes != NULL) {
		waited->request.iov = &waited->iov;
		waited->request.iov_count = 1;
	}
	disk_submit(disk, &waited->request);
}

int disk_fixture_io(struct disk_fixture *f, struct disk *disk, enum disk_op op, uint64_t offset,
		    void *bytes, uint64_t length)
{
	struct waited_request waited;

	disk_fixture_start(f, disk, op, offset, bytes, length, &waited);
	assert_true(disk_fixture_wait(f, &waited, WAIT_MS));
	return waited.status;
}

int disk_fixture_iov(struct disk_fixture *f, struct disk *disk, enum disk_op op, bool fua,
		     uint64_t offset, const struct iovec *iov, uint32_t iov_count)
{
	struct waited_request waited = {
		.request = {.op = op,
			    .fua = fua,
			    .offset = offset,
			    .iov = iov,
			    .iov_count = iov_count,
			    .loop = f->loop,
			    .done = on_done},
	};

	for (uint32_t i = 0; i < iov_count; i++)
		waited.request.length += iov[i].iov_len;
	disk_submit(disk, &waited.request);
	assert_true(disk_fixture_wait(f, &waited, WAIT_MS));
	return waited.status;
}

int disk_fixture_scsi(struct disk_fixture *f, struct disk *disk, struct disk_scsi *scsi,
		      void *bytes, uint64_t length)
{
	struct waited_request waited = {
		.request = {.op = DISK_SCSI,
			    .scsi = scsi,
			    .length = length,
			    .loop = f->loop,
			    .done = on_done},
		.iov = {bytes, length},
	};

	if (length > 0) {
		waited.request.iov = &waited.iov;
		waited.request.iov_count = 1;
	}
	disk_submit(disk, &waited.request);
	assert_true(disk_fixture_wait(f, &waited, WAIT_MS));
	return waited.status;
}
