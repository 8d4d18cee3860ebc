/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * MODE SENSE and MODE SELECT: golden pages, and what changing WCE and SWP does to writes.
 */
#include "tests/unit/storvsp/scsi_fixture.h"

#include "tests/unit/test_main.h"

#include <string.h>

#include "base/bytes.h"

static void all_pages_are_golden_bytes(void **state)
{
	struct scsi_fixture *f = *state;
	static const uint8_t golden[] =
		{
			67,   0,    0x10, 8,					    /* header */
			0,    0,    0x10, 0, 0,	   0,	 2, 0,			    /* blocks */
			0x01, 0x0a, 0xc0, 0, 0,	   0,	 0, 0, 0,    0,	   0,	 0, /* recovery */
			0x08, 0x12, 0x04, 0, 0,	   0,	 0, 0, 0,    0,	   0,	 0,
			0,    0,    0,	  0, 0,	   0,	 0, 0, 0x0a, 0x0a, 0x02, 0x10,
			0,    0,    0,	  0, 0xff, 0xff, 0, 0,			    /* control */
			0x1c, 0x0a, 0x08, 0, 0,	   0,	 0, 0, 0,    0,	   0,	 0, /* exceptions */
		};

	scsi_run_in(f, 255, 0x1a, 0, 0x3f, 0, 255, 0);
	scsi_expect_good(f, sizeof(golden));
	assert_memory_equal(f->buffer, golden, sizeof(golden));
	scsi_run_in(f, 255, 0x1a, 0, 0x3f, 0, 4, 0);
	scsi_expect_good(f, 4);
	assert_int_equal(f->buffer[0], 67);
	scsi_run_in(f, 255, 0x1a, 0x08, 0x3f, 0xff, 255, 0); /* DBD, all subpages */
	scsi_expect_good(f, sizeof(golden) - 8);
}

static void mode_sense_10_has_long_descriptors(void **state)
{
	struct scsi_fixture *f = *state;
	static const uint8_t golden[] = {
		0,    42, 0, 0x10, 1, 0, 0, 16, 0, 0, 0, 0,    0,    0,
		0x10, 0,  0, 0,	   0, 0, 0, 0,	2, 0, 8, 0x12, 0x04, 0,
	};

	scsi_run_in(f, 255, 0x5a, 0x10, 0x08, 0, 0, 0, 0, 0, 255, 0);
	scsi_expect_good(f, 44);
	assert_memory_equal(f->buffer, golden, sizeof(golden));
	scsi_run_in(f, 255, 0x5a, 0x08, 0x0a, 0, 0, 0, 0, 0, 255, 0);
	scsi_expect_good(f, 20);
	assert_int_equal(get_be16(f->buffer), 18);
	assert_int_equal(get_be16(&f->buffer[6]), 0);
}

static void pages_that_are_not_there_are_refused(void **state)
{
	struct scsi_fixture *f = *state;

	scsi_run_in(f, 255, 0x1a, 0, 0x2a, 0, 255, 0);
	scsi_expect_bad_cdb(f, 2);
	scsi_run_in(f, 255, 0x1a, 0, 0x0a, 1, 255, 0);
	scsi_expect_bad_cdb(f, 3);
	scsi_run_in(f, 255, 0x1a, 0, 0xc8, 0, 255, 0);
	scsi_expect_sense(f, 0x5, 0x3900);
}

static void changeable_values_are_wce_and_swp(void **state)
{
	struct scsi_fixture *f = *state;

	scsi_run_in(f, 255, 0x1a, 0x08, 0x48, 0, 255, 0);
	scsi_expect_good(f, 24);
	assert_int_equal(f->buffer[4 + 2], 0x04);
	scsi_run_in(f, 255, 0x1a, 0x08, 0x4a, 0, 255, 0);
	assert_int_equal(f->buffer[4 + 4], 0x08);
	assert_int_equal(f->buffer[4 + 8], 0);
	f->memory->info.write_cache = false;
	scsi_run_in(f, 255, 0x1a, 0x08, 0x48, 0, 255, 0);
	assert_int_equal(f->buffer[4 + 2], 0);
	scsi_run_in(f, 255, 0x1a, 0x08, 0x08, 0, 255, 0);
	assert_int_equal(f->buffer[4 + 2], 0);
}

static void select_caching(struct scsi_fixture *f, uint8_t flags)
{
	memset(f->buffer, 0, 24);
	f->buffer[4] = 0x08;
	f->buffer[5] = 0x12;
	f->buffer[6] = flags;
	scsi_run_out(f, 24, 0x15, 0x10, 0, 0, 24, 0);
}

static void without_wce_every_write_goes_through(void **state)
{
	struct scsi_fixture *f = *state;

	select_caching(f, 0);
	scsi_expect_good(f, 24);
	assert_int_equal(f->memory->counts[DISK_FLUSH], 1); /* what was cached */
	scsi_run_out(f, 512, 0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0);
	assert_true(f->memory->last_fua);
	memset(f->buffer, 0, 512);
	scsi_run_out(f, 512, 0x41, 0, 0, 0, 0, 0, 0, 0, 1, 0);
	scsi_expect_good(f, 512);
	assert_int_equal(f->memory->last_op, DISK_FLUSH);
	scsi_run_in(f, 255, 0x1a, 0x08, 0x08, 0, 255, 0);
	assert_int_equal(f->buffer[4 + 2], 0);
	scsi_run_in(f, 255, 0x1a, 0x08, 0x88, 0, 255, 0); /* the default */
	assert_int_equal(f->buffer[4 + 2], 0x04);
	select_caching(f, 0x04);
	scsi_expect_good(f, 24);
	scsi_run_out(f, 512, 0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0);
	assert_false(f->memory->last_fua);
	scsi_unit_reset(f->unit);
}

static void swp_protects_until_it_is_cleared_or_a_reset(void **state)
{
	struct scsi_fixture *f = *state;
	uint8_t page[20] = {0};

	scsi_run_in(f, 255, 0x5a, 0x08, 0x0a, 0, 0, 0, 0, 0, 255, 0);
	memcpy(page, f->buffer, sizeof(page));
	put_be16(page, 0);
	page[8 + 4] |= 0x08;
	memcpy(f->buffer, page, sizeof(page));
	scsi_run_out(f, 20, 0x55, 0x10, 0, 0, 0, 0, 0, 0, 20, 0);
	scsi_expect_good(f, 20);
	scsi_run_out(f, 512, 0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0);
	scsi_expect_sense(f, 0x7, 0x2702);
	scsi_run_in(f, 4, 0x1a, 0x08, 0x0a, 0, 4, 0);
	assert_int_equal(f->buffer[2], 0x90); /* WP, DPOFUA */
	scsi_unit_reset(f->unit);
	scsi_run_none(f, 0x00, 0, 0, 0, 0, 0);
	scsi_run_out(f, 512, 0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0);
	scsi_expect_good(f, 512);
}

static void mode_select_changes_all_or_nothing(void **state)
{
	struct scsi_fixture *f = *state;

	/* A good page, then one with a bit that cannot change. */
	memset(f->buffer, 0, 36);
	f->buffer[4] = 0x08;
	f->buffer[5] = 0x12;
	f->buffer[24] = 0x0a;
	f->buffer[25] = 0x0a;
	f->buffer[26] = 0x04; /* D_SENSE */
	scsi_run_out(f, 36, 0x15, 0x10, 0, 0, 36, 0);
	scsi_expect_sense(f, 0x5, 0x2600);
	assert_int_equal(get_be16(&f->command.sense[16]), 26);
	scsi_run_in(f, 255, 0x1a, 0x08, 0x08, 0, 255, 0);
	assert_int_equal(f->buffer[4 + 2], 0x04); /* WCE is as it was */
}

static void malformed_parameter_lists_are_refused(void **state)
{
	struct scsi_fixture *f = *state;

	scsi_run_out(f, 24, 0x15, 0x11, 0, 0, 24, 0); /* SP */
	scsi_expect_bad_cdb(f, 1);
	memset(f->buffer, 0, 24);
	scsi_run_out(f, 24, 0x15, 0x10, 0, 0, 3, 0);
	scsi_expect_sense(f, 0x5, 0x1a00);
	f->buffer[3] = 8;
	scsi_run_out(f, 24, 0x15, 0x10, 0, 0, 8, 0); /* half a descriptor */
	scsi_expect_sense(f, 0x5, 0x1a00);
	scsi_run_out(f, 12, 0x15, 0x10, 0, 0, 12, 0); /* blocks of 0 bytes */
	scsi_expect_sense(f, 0x5, 0x2600);
	put_be32(&f->buffer[8], 512);
	scsi_run_out(f, 12, 0x15, 0x10, 0, 0, 12, 0);
	scsi_expect_good(f, 12);
	put_be32(&f->buffer[4], 77); /* other blocks than there are */
	scsi_run_out(f, 12, 0x15, 0x10, 0, 0, 12, 0);
	scsi_expect_sense(f, 0x5, 0x2600);
	memset(f->buffer, 0, 24);
	f->buffer[4] = 0x08;
	f->buffer[5] = 0x0a; /* its length is 12h */
	scsi_run_out(f, 24, 0x15, 0x10, 0, 0, 24, 0);
	scsi_expect_sense(f, 0x5, 0x2600);
	f->buffer[5] = 0x12;
	scsi_run_out(f, 20, 0x15, 0x10, 0, 0, 20, 0); /* cut */
	scsi_expect_sense(f, 0x5, 0x1a00);
	scsi_run_out(f, 5, 0x15, 0x10, 0, 0, 5, 0);
	scsi_expect_sense(f, 0x5, 0x1a00);
	f->buffer[4] = 0x19;
	scsi_run_out(f, 24, 0x15, 0x10, 0, 0, 24, 0);
	scsi_expect_sense(f, 0x5, 0x2600);
	scsi_run_none(f, 0x15, 0x10, 0, 0, 0, 0);
	scsi_expect_good(f, 0);
	scsi_run_out(f, 600, 0x55, 0x10, 0, 0, 0, 0, 0, 2, 0x58, 0);
	scsi_expect_sense(f, 0x5, 0x1a00);
}

#define WITH_UNIT(test)                                                                            \
	cmocka_unit_test_setup_teardown(test, scsi_fixture_setup, scsi_fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_UNIT(all_pages_are_golden_bytes),
		WITH_UNIT(mode_sense_10_has_long_descriptors),
		WITH_UNIT(pages_that_are_not_there_are_refused),
		WITH_UNIT(changeable_values_are_wce_and_swp),
		WITH_UNIT(without_wce_every_write_goes_through),
		WITH_UNIT(swp_protects_until_it_is_cleared_or_a_reset),
		WITH_UNIT(mode_select_changes_all_or_nothing),
		WITH_UNIT(malformed_parameter_lists_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
