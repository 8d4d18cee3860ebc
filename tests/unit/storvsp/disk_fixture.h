/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * For tests of disks: a loop, requests that are waited for, files that go away with the test.
 */
#ifndef LUNAR_TESTS_UNIT_STORVSP_DISK_FIXTURE_H
#define LUNAR_TESTS_UNIT_STORVSP_DISK_FIXTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "storvsp/disk.h"
#include "storvsp/io_loop.h"

struct disk_fixture {
	struct io_loop *loop;
	char directory[64];
	char path[96]; /* directory/disk, not made yet */
	char message[DISK_MESSAGE_BYTES];
};

struct waited_request {
	struct disk_request request; /* first */
	struct iovec iov;
	int status, calls;
};

/* For cmocka. */
int disk_fixture_setup(void **state);
int disk_fixture_teardown(void **state);

/* Makes f->path, of size bytes: byte i is disk_fixture_byte(i). */
void disk_fixture_make_file(struct disk_fixture *f, uint64_t size);
uint8_t disk_fixture_byte(uint64_t offset);

/* One operation, waited for. Returns its status. */
int disk_fixture_io(struct disk_fixture *f, struct disk *disk, enum disk_op op, uint64_t offset,
		    void *bytes, uint64_t length);
int disk_fixture_iov(struct disk_fixture *f, struct disk *disk, enum disk_op op, bool fua,
		     uint64_t offset, const struct iovec *iov, uint32_t iov_count);
/* Passes a command. Returns the request's status; the target's is in scsi. */
int disk_fixture_scsi(struct disk_fixture *f, struct disk *disk, struct disk_scsi *scsi,
		      void *bytes, uint64_t length);
/* Submits, and comes back at once. */
void disk_fixture_start(struct disk_fixture *f, struct disk *disk, enum disk_op op, uint64_t offset,
			void *bytes, uint64_t length, struct waited_request *waited);
/* False where it is not done in time. */
bool disk_fixture_wait(struct disk_fixture *f, const struct waited_request *waited,
		       uint32_t deadline_ms);

#endif
