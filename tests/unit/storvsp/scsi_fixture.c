/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * See scsi_fixture.h.
 */
#include "tests/unit/storvsp/scsi_fixture.h"

#include "tests/unit/test_main.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

static struct scsi_fixture *fixture_create(enum scsi_kind kind, uint32_t block_bytes)
{
	struct scsi_fixture *f = calloc(1, sizeof(*f));
	struct scsi_unit_config config = {.kind = kind};

	assert_non_null(f);
	f->memory = memory_disk_create((uint64_t)FIXTURE_BLOCKS * block_bytes, block_bytes);
	f->memory->info.read_only = kind == SCSI_DVD;
	f->buffer = calloc(1, FIXTURE_BUFFER);
	assert_non_null(f->buffer);
	config.disk = &f->memory->disk;
	for (size_t i = 0; i < sizeof(config.id); i++)
		config.id[i] = (uint8_t)(i + 1);
	assert_int_equal(scsi_unit_create(&config, &f->unit), 0);
	scsi_run_none(f, 0x00, 0, 0, 0, 0, 0);
	scsi_expect_sense(f, 0x6, 0x2900);
	return f;
}

int scsi_fixture_setup(void **state)
{
	*state = fixture_create(SCSI_DISK, 512);
	return 0;
}

int scsi_fixture_setup_dvd(void **state)
{
	*state = fixture_create(SCSI_DVD, 2048);
	return 0;
}

int scsi_fixture_teardown(void **state)
{
	struct scsi_fixture *f = *state;

	scsi_unit_destroy(f->unit);
	memory_disk_destroy(f->memory);
	free(f->buffer);
	free(f);
	return 0;
}

static void fixture_done(struct scsi_command *command)
{
	struct scsi_fixture *f =
		(struct scsi_fixture *)((char *)command - offsetof(struct scsi_fixture, command));

	f->ended++;
}

void scsi_run(struct scsi_fixture *f, const uint8_t *cdb, size_t cdb_bytes,
	      enum disk_direction direction, size_t bytes)
{
	size_t first = bytes > 100 ? 100 : bytes;
	size_t second = bytes - first > 1000 ? 1001 : bytes - first;

	assert_true(bytes <= FIXTURE_BUFFER && cdb_bytes <= SCSI_CDB_BYTES);
	memset(&f->command, 0, sizeof(f->command));
	memcpy(f->command.cdb, cdb, cdb_bytes);
	f->command.cdb_bytes = (uint8_t)cdb_bytes;
	f->command.direction = direction;
	f->iov[0] = (struct iovec){f->buffer, first};
	f->iov[1] = (struct iovec){f->buffer + first, second};
	f->iov[2] = (struct iovec){f->buffer + first + second, bytes - first - second};
	f->command.iov = f->iov;
	f->command.iov_count = bytes ? 3 : 0;
	f->command.data_bytes = bytes;
	f->command.done = fixture_done;
	f->ended = 0;
	scsi_unit_execute(f->unit, &f->command);
	assert_int_equal(f->ended, 1);
}

void scsi_expect_good(const struct scsi_fixture *f, uint64_t transferred)
{
	if (f->command.status == 0x02)
		print_message("sense %x/%02x/%02x\n", f->command.sense[2], f->command.sense[12],
			      f->command.sense[13]);
	assert_int_equal(f->command.status, 0x00);
	assert_int_equal(f->command.transferred, transferred);
}

void scsi_expect_status(const struct scsi_fixture *f, uint8_t status)
{
	assert_int_equal(f->command.status, status);
	assert_int_equal(f->command.sense_bytes, 0);
}

void scsi_expect_sense(const struct scsi_fixture *f, uint8_t key, uint16_t asc)
{
	assert_int_equal(f->command.status, 0x02);
	assert_int_equal(f->command.sense_bytes, 18);
	assert_int_equal(f->command.sense[0] & 0x7f, 0x70);
	assert_int_equal(f->command.sense[2], key);
	assert_int_equal(f->command.sense[7], 10);
	assert_int_equal(get_be16(&f->command.sense[12]), asc);
}

void scsi_expect_bad_cdb(const struct scsi_fixture *f, uint16_t byte)
{
	scsi_expect_sense(f, 0x5, 0x2400);
	assert_int_equal(f->command.sense[15] & 0xc0, 0xc0);
	assert_int_equal(get_be16(&f->command.sense[16]), byte);
}
