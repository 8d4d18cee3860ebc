/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A unit on a real LUN: what goes there, what may not, and how its answers come back.
 */
#include "tests/unit/storvsp/scsi_fixture.h"

#include "tests/unit/test_main.h"

#include <errno.h>
#include <string.h>

#include "base/bytes.h"

static int setup(void **state)
{
	struct scsi_fixture *f;

	scsi_fixture_setup(state);
	f = *state;
	f->memory->info.passes_scsi = true;
	return 0;
}

static void cdbs_go_to_the_lun_as_they_are(void **state)
{
	struct scsi_fixture *f = *state;
	static const uint8_t cdb[16] = {0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0};

	f->memory->answer.transferred = 32;
	scsi_run(f, cdb, sizeof(cdb), DISK_FROM_DEVICE, 4096);
	scsi_expect_good(f, 32);
	assert_int_equal(f->memory->last_op, DISK_SCSI);
	assert_int_equal(f->memory->last_length, 4096);
	assert_int_equal(f->memory->last_scsi.cdb_bytes, 16);
	assert_int_equal(f->memory->last_scsi.direction, DISK_FROM_DEVICE);
	assert_memory_equal(f->memory->last_scsi.cdb, cdb, 16);
	scsi_run_none(f, 0x00, 0, 0, 0, 0, 0);
	assert_int_equal(f->memory->last_scsi.cdb_bytes, 6);
	assert_int_equal(f->memory->last_scsi.direction, DISK_NO_DATA);
	assert_int_equal(f->memory->last_length, 0);
	/* Nothing that the LUN says makes more bytes than there is room for. */
	f->memory->answer.transferred = 1 << 20;
	scsi_run_out(f, 512, 0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0);
	scsi_expect_good(f, 512);
}

static void what_reaches_beyond_the_lun_does_not_pass(void **state)
{
	struct scsi_fixture *f = *state;
	static const uint8_t refused[] = {0x18, 0x39, 0x3a, 0x3b, 0x60, 0x7e, 0x7f, 0x83, 0x84,
					  0x85, 0xa0, 0xa1, 0xa2, 0xa4, 0xb5, 0xc0, 0xe9, 0xff};

	for (size_t i = 0; i < sizeof(refused); i++) {
		uint8_t cdb[16] = {refused[i]};

		scsi_run(f, cdb, sizeof(cdb), DISK_NO_DATA, 0);
		scsi_expect_sense(f, 0x5, 0x2000);
	}
	scsi_run_none(f, 0x00, 0, 0, 0, 0, 0x04); /* NACA */
	scsi_expect_bad_cdb(f, 5);
	scsi_run_none(f, 0x28, 0, 0, 0, 0, 0); /* cut */
	scsi_expect_bad_cdb(f, 6);
	assert_int_equal(f->memory->counts[DISK_SCSI], 0);
}

static void fixed_sense_comes_back_cut_to_20_bytes(void **state)
{
	struct scsi_fixture *f = *state;
	struct disk_scsi *answer = &f->memory->answer;

	answer->status = 0x02;
	answer->sense_bytes = 32;
	memset(answer->sense, 0x11, 32);
	answer->sense[0] = 0xf0;
	answer->sense[7] = 24;
	scsi_run_in(f, 512, 0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0);
	assert_int_equal(f->command.status, 0x02);
	assert_int_equal(f->command.sense_bytes, 20);
	assert_int_equal(f->command.sense[7], 12);
	assert_memory_equal(&f->command.sense[8], &answer->sense[8], 12);
}

static void descriptor_sense_becomes_fixed_sense(void **state)
{
	struct scsi_fixture *f = *state;
	struct disk_scsi *answer = &f->memory->answer;
	static const uint8_t sense[] = {0x72, 0x0e, 0x1d, 0x00, 0,    0, 0, 20, 0x00, 0x0a,
					0x80, 0,    0,	  0,	0,    0, 0, 0,	1,    7,
					2,    6,    0,	  0,	0xc0, 0, 2, 0};
	static const uint8_t fixed[18] = {0xf0, 0, 0xe, 0,    0, 1, 7,	  10, 0,
					  0,	0, 0,	0x1d, 0, 0, 0xc0, 0,  2};

	answer->status = 0x02;
	answer->sense_bytes = sizeof(sense);
	memcpy(answer->sense, sense, sizeof(sense));
	scsi_run_in(f, 512, 0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0);
	assert_int_equal(f->command.sense_bytes, 18);
	assert_memory_equal(f->command.sense, fixed, 18);
	answer->sense[7] = 255; /* longer than it is */
	answer->sense[9] = 255;
	scsi_run_in(f, 512, 0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0);
	scsi_expect_sense(f, 0xe, 0x1d00);
}

static void statuses_and_errors_come_back(void **state)
{
	struct scsi_fixture *f = *state;

	f->memory->answer.status = 0x18;
	scsi_run_in(f, 512, 0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0);
	scsi_expect_status(f, 0x18);
	f->memory->answer.status = 0x28; /* TASK SET FULL */
	scsi_run_in(f, 512, 0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0);
	scsi_expect_status(f, 0x28);
	f->memory->fail[DISK_SCSI] = -ENOTCONN;
	scsi_run_in(f, 512, 0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0);
	scsi_expect_sense(f, 0x4, 0x0800);
}

static void a_reset_is_told_before_anything_passes(void **state)
{
	struct scsi_fixture *f = *state;

	scsi_unit_reset(f->unit);
	scsi_run_in(f, 36, 0x12, 0, 0, 0, 36, 0);
	assert_int_equal(f->memory->counts[DISK_SCSI], 1);
	scsi_run_none(f, 0x00, 0, 0, 0, 0, 0);
	scsi_expect_sense(f, 0x6, 0x2900);
	assert_int_equal(f->memory->counts[DISK_SCSI], 1);
}

#define WITH_LUN(test) cmocka_unit_test_setup_teardown(test, setup, scsi_fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_LUN(cdbs_go_to_the_lun_as_they_are),
		WITH_LUN(what_reaches_beyond_the_lun_does_not_pass),
		WITH_LUN(fixed_sense_comes_back_cut_to_20_bytes),
		WITH_LUN(descriptor_sense_becomes_fixed_sense),
		WITH_LUN(statuses_and_errors_come_back),
		WITH_LUN(a_reset_is_told_before_anything_passes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
