/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A SCSI unit on a disk in memory, and a guest's buffer; commands that end from within.
 */
#ifndef LUNAR_TESTS_UNIT_STORVSP_SCSI_FIXTURE_H
#define LUNAR_TESTS_UNIT_STORVSP_SCSI_FIXTURE_H

#include "storvsp/scsi.h"
#include "tests/unit/storvsp/memory_disk.h"

#define FIXTURE_BLOCKS 4096u
#define FIXTURE_BUFFER (9u << 20)

struct scsi_fixture {
	struct memory_disk *memory;
	struct scsi_unit *unit;
	struct scsi_command command; /* the last one */
	struct iovec iov[3];
	unsigned int ended; /* how often the last one did */
	uint8_t *buffer;    /* FIXTURE_BUFFER bytes */
};

/* A disk of FIXTURE_BLOCKS of 512 bytes whose unit attention has been taken. */
int scsi_fixture_setup(void **state);
/* Likewise a DVD drive; blocks of 2048. */
int scsi_fixture_setup_dvd(void **state);
int scsi_fixture_teardown(void **state);

/* Runs a CDB with `bytes` of the buffer, in iovecs that end at odd places. */
void scsi_run(struct scsi_fixture *f, const uint8_t *cdb, size_t cdb_bytes,
	      enum disk_direction direction, size_t bytes);

#define SCSI_CDB(...)		    (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__})
#define scsi_run_in(f, bytes, ...)  scsi_run(f, SCSI_CDB(__VA_ARGS__), DISK_FROM_DEVICE, bytes)
#define scsi_run_out(f, bytes, ...) scsi_run(f, SCSI_CDB(__VA_ARGS__), DISK_TO_DEVICE, bytes)
#define scsi_run_none(f, ...)	    scsi_run(f, SCSI_CDB(__VA_ARGS__), DISK_NO_DATA, 0)

/* What the last command ended with. */
void scsi_expect_good(const struct scsi_fixture *f, uint64_t transferred);
void scsi_expect_status(const struct scsi_fixture *f, uint8_t status);
/* asc: with its qualifier. */
void scsi_expect_sense(const struct scsi_fixture *f, uint8_t key, uint16_t asc);
/* INVALID FIELD IN CDB, at that byte. */
void scsi_expect_bad_cdb(const struct scsi_fixture *f, uint16_t byte);

#endif
