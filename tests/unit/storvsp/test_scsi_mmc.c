/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The DVD drive: what it answers with a medium and without one, tray, locks, and a change of
 * medium as the guest sees it.
 */
#include "tests/unit/storvsp/scsi_fixture.h"

#include "tests/unit/test_main.h"

#include <string.h>

#include "base/bytes.h"

static void test_ready(struct scsi_fixture *f)
{
	scsi_run_none(f, 0x00, 0, 0, 0, 0, 0);
}

static void get_events(struct scsi_fixture *f)
{
	scsi_run_in(f, 8, 0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8, 0);
	scsi_expect_good(f, 8);
}

static void a_drive_is_a_removable_device_of_type_5(void **state)
{
	struct scsi_fixture *f = *state;
	static const uint8_t head[8] = {0x05, 0x80, 0x06, 0x12, 0x5b, 0, 0, 0x02};

	scsi_run_in(f, 96, 0x12, 0, 0, 0, 96, 0);
	scsi_expect_good(f, 96);
	assert_memory_equal(f->buffer, head, 8);
	assert_memory_equal(&f->buffer[8], "LUNAR   DVD-ROM         ", 24);
	assert_int_equal(get_be16(&f->buffer[62]), 0x04e0); /* MMC-6 */
	scsi_run_in(f, 255, 0x12, 1, 0xb0, 0, 255, 0);
	scsi_expect_bad_cdb(f, 2);
}

static void blocks_are_of_2048_bytes_and_read_only(void **state)
{
	struct scsi_fixture *f = *state;
	static const uint8_t capacity[8] = {0, 0, 0x0f, 0xff, 0, 0, 8, 0};

	memset(&f->memory->bytes[6144], 0x5a, 2048);
	scsi_run_in(f, 8, 0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0);
	scsi_expect_good(f, 8);
	assert_memory_equal(f->buffer, capacity, 8);
	scsi_run_in(f, 4096, 0x28, 0, 0, 0, 0, 2, 0, 0, 2, 0);
	scsi_expect_good(f, 4096);
	assert_int_equal(f->buffer[2047], 0);
	assert_int_equal(f->buffer[2048], 0x5a);
	scsi_run_in(f, 2048, 0xa8, 0, 0, 0, 0, 3, 0, 0, 0, 1, 0, 0);
	assert_int_equal(f->buffer[0], 0x5a);
	scsi_run_in(f, 2048, 0x28, 0, 0, 0, 0x10, 0, 0, 0, 1, 0);
	scsi_expect_sense(f, 0x5, 0x2100);
	scsi_run_out(f, 2048, 0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0);
	scsi_expect_sense(f, 0x5, 0x2000);
	/* An image whose own blocks are smaller. */
	f->memory->info.block_bytes = 512;
	scsi_run_in(f, 2048, 0x28, 0, 0, 0, 0, 3, 0, 0, 1, 0);
	scsi_expect_good(f, 2048);
	assert_int_equal(f->memory->last_offset, 3 * 2048);
	f->memory->info.block_bytes = 4096;
	test_ready(f);
	scsi_expect_sense(f, 0x2, 0x3000);
}

static void the_table_of_contents_has_one_track(void **state)
{
	struct scsi_fixture *f = *state;
	static const uint8_t toc[20] = {0, 18, 1, 1,	0,    0x14, 1, 0, 0,	0,
					0, 0,  0, 0x14, 0xaa, 0,    0, 0, 0x10, 0};
	static const uint8_t msf[20] = {0, 18, 1, 1,	0,    0x14, 1, 0, 0,  0,
					2, 0,  0, 0x14, 0xaa, 0,    0, 0, 56, 46};

	scsi_run_in(f, 64, 0x43, 0, 0, 0, 0, 0, 0, 0, 64, 0);
	scsi_expect_good(f, 20);
	assert_memory_equal(f->buffer, toc, 20);
	scsi_run_in(f, 64, 0x43, 2, 0, 0, 0, 0, 0, 0, 64, 0);
	assert_memory_equal(f->buffer, msf, 20);
	scsi_run_in(f, 64, 0x43, 0, 0, 0, 0, 0, 0xaa, 0, 64, 0);
	scsi_expect_good(f, 12);
	scsi_run_in(f, 64, 0x43, 0, 0, 0, 0, 0, 2, 0, 64, 0);
	scsi_expect_bad_cdb(f, 6);
	scsi_run_in(f, 64, 0x43, 0, 1, 0, 0, 0, 0, 0, 64, 0);
	scsi_expect_good(f, 12);
	assert_int_equal(f->buffer[6], 1);
	scsi_run_in(f, 64, 0x43, 0, 0, 0, 0, 0, 0, 0, 64, 0x40); /* the old place of format 1 */
	scsi_expect_good(f, 12);
	scsi_run_in(f, 64, 0x43, 2, 2, 0, 0, 0, 1, 0, 64, 0);
	scsi_expect_good(f, 4 + 4 * 11);
	assert_int_equal(f->buffer[4 + 3], 0xa0);
	assert_int_equal(f->buffer[4 + 33 + 3], 1);
	scsi_run_in(f, 64, 0x43, 0, 4, 0, 0, 0, 0, 0, 64, 0);
	scsi_expect_bad_cdb(f, 2);
}

static void configuration_names_the_profile_of_the_medium(void **state)
{
	struct scsi_fixture *f = *state;
	uint32_t length;

	scsi_run_in(f, 256, 0x46, 0, 0, 0, 0, 0, 0, 1, 0, 0);
	assert_int_equal(f->command.status, 0);
	length = get_be32(f->buffer) + 4;
	assert_int_equal(f->command.transferred, length);
	assert_int_equal(get_be16(&f->buffer[6]), 0x0008);
	for (uint32_t at = 8; at < length; at += 4u + f->buffer[at + 3])
		assert_int_equal(f->buffer[at + 3] % 4, 0);
	f->memory->info.size_bytes = 4ull << 30;
	scsi_run_in(f, 256, 0x46, 2, 0, 0x1f, 0, 0, 0, 1, 0, 0);
	scsi_expect_good(f, 16);
	assert_int_equal(get_be16(&f->buffer[6]), 0x0010);
	assert_int_equal(f->buffer[10] & 1, 1);
	scsi_run_in(f, 256, 0x46, 2, 0x01, 0x23, 0, 0, 0, 1, 0, 0);
	scsi_expect_good(f, 8);
	scsi_run_in(f, 256, 0x46, 3, 0, 0, 0, 0, 0, 1, 0, 0);
	scsi_expect_bad_cdb(f, 1);
	scsi_unit_change_medium(f->unit, NULL);
	scsi_run_in(f, 256, 0x46, 1, 0, 0, 0, 0, 0, 1, 0, 0); /* what is current */
	assert_int_equal(get_be16(&f->buffer[6]), 0);
	assert_int_equal(f->command.transferred, 8 + 12 + 12 + 8 + 8);
}

static void an_ejected_medium_is_gone_and_comes_back(void **state)
{
	struct scsi_fixture *f = *state;

	get_events(f);
	assert_int_equal(f->buffer[4], 2); /* new medium */
	assert_int_equal(f->buffer[5], 2); /* present */
	get_events(f);
	assert_int_equal(f->buffer[4], 0);
	scsi_run_none(f, 0x1b, 0, 0, 0, 2, 0);
	scsi_expect_good(f, 0);
	assert_true(scsi_unit_wants_eject(f->unit));
	test_ready(f);
	scsi_expect_sense(f, 0x2, 0x3a02);
	get_events(f);
	assert_int_equal(f->buffer[4], 3);
	assert_int_equal(f->buffer[5], 1); /* the tray is open */
	scsi_run_in(f, 8, 0xbd, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0);
	scsi_expect_good(f, 8);
	assert_int_equal(f->buffer[1], 0x10);
	scsi_run_none(f, 0x1b, 0, 0, 0, 3, 0);
	scsi_expect_good(f, 0);
	assert_false(scsi_unit_wants_eject(f->unit));
	test_ready(f);
	scsi_expect_sense(f, 0x6, 0x2800);
	test_ready(f);
	scsi_expect_good(f, 0);
}

static void a_locked_medium_is_not_ejected(void **state)
{
	struct scsi_fixture *f = *state;

	scsi_run_none(f, 0x1e, 0, 0, 0, 1, 0);
	scsi_expect_good(f, 0);
	scsi_run_none(f, 0x1b, 0, 0, 0, 2, 0);
	scsi_expect_sense(f, 0x5, 0x5302);
	assert_false(scsi_unit_wants_eject(f->unit));
	scsi_run_in(f, 64, 0x5a, 0, 0x2a, 0, 0, 0, 0, 0, 64, 0);
	scsi_expect_good(f, 30);
	assert_int_equal(f->buffer[8 + 6], 0x2b); /* tray, eject, locked, lock */
	scsi_run_none(f, 0x1e, 0, 0, 0, 0, 0);
	scsi_run_none(f, 0x1b, 1, 0, 0, 2, 0);
	scsi_expect_good(f, 0);
	assert_true(scsi_unit_wants_eject(f->unit));
}

static void stopping_and_power_conditions_move_no_tray(void **state)
{
	struct scsi_fixture *f = *state;

	for (uint8_t condition = 0; condition < 16; condition++) {
		scsi_run_none(f, 0x1b, 1, 0, 0, (uint8_t)(condition << 4 | (condition ? 2 : 0)), 0);
		scsi_expect_good(f, 0);
		test_ready(f);
		scsi_expect_good(f, 0);
	}
}

static void another_medium_is_told_as_such(void **state)
{
	struct scsi_fixture *f = *state;
	struct memory_disk *other = memory_disk_create(204800, 2048);

	scsi_unit_change_medium(f->unit, NULL);
	test_ready(f);
	scsi_expect_sense(f, 0x2, 0x3a01);
	scsi_run_in(f, 2048, 0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0);
	scsi_expect_sense(f, 0x2, 0x3a01);
	scsi_run_in(f, 64, 0x43, 0, 0, 0, 0, 0, 0, 0, 64, 0);
	scsi_expect_sense(f, 0x2, 0x3a01);
	scsi_run_in(f, 18, 0x03, 0, 0, 0, 18, 0);
	scsi_expect_good(f, 18);
	assert_int_equal(f->buffer[2], 2);
	assert_int_equal(get_be16(&f->buffer[12]), 0x3a01);
	scsi_run_in(f, 96, 0x12, 0, 0, 0, 96, 0);
	scsi_expect_good(f, 96);
	get_events(f);
	assert_int_equal(f->buffer[4], 3);
	assert_int_equal(f->buffer[5], 0);
	scsi_unit_change_medium(f->unit, &other->disk);
	get_events(f); /* is no medium access: the attention stays */
	assert_int_equal(f->buffer[4], 2);
	test_ready(f);
	scsi_expect_sense(f, 0x6, 0x2800);
	scsi_run_in(f, 8, 0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0);
	scsi_expect_good(f, 8);
	assert_int_equal(get_be32(f->buffer), 99);
	scsi_unit_change_medium(f->unit, NULL);
	memory_disk_destroy(other);
}

static void events_are_polled_and_only_of_the_medium(void **state)
{
	struct scsi_fixture *f = *state;
	static const uint8_t none[4] = {0, 2, 0x80, 0x10};

	scsi_run_in(f, 8, 0x4a, 0, 0, 0, 0x10, 0, 0, 0, 8, 0);
	scsi_expect_bad_cdb(f, 1);
	scsi_run_in(f, 8, 0x4a, 1, 0, 0, 0x40, 0, 0, 0, 8, 0);
	scsi_expect_good(f, 4);
	assert_memory_equal(f->buffer, none, 4);
	scsi_run_in(f, 8, 0x4a, 1, 0, 0, 0x10, 0, 0, 0, 4, 0); /* no room: it is kept */
	scsi_expect_good(f, 4);
	get_events(f);
	assert_int_equal(f->buffer[4], 2);
}

static void disc_information_says_a_finished_disc(void **state)
{
	struct scsi_fixture *f = *state;
	static const uint8_t head[8] = {0, 32, 0x0e, 1, 1, 1, 1, 0x20};

	scsi_run_in(f, 34, 0x51, 0, 0, 0, 0, 0, 0, 0, 34, 0);
	scsi_expect_good(f, 34);
	assert_memory_equal(f->buffer, head, 8);
	scsi_run_in(f, 34, 0x51, 1, 0, 0, 0, 0, 0, 0, 34, 0);
	scsi_expect_bad_cdb(f, 1);
}

#define WITH_DRIVE(test)                                                                           \
	cmocka_unit_test_setup_teardown(test, scsi_fixture_setup_dvd, scsi_fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_DRIVE(a_drive_is_a_removable_device_of_type_5),
		WITH_DRIVE(blocks_are_of_2048_bytes_and_read_only),
		WITH_DRIVE(the_table_of_contents_has_one_track),
		WITH_DRIVE(configuration_names_the_profile_of_the_medium),
		WITH_DRIVE(an_ejected_medium_is_gone_and_comes_back),
		WITH_DRIVE(a_locked_medium_is_not_ejected),
		WITH_DRIVE(stopping_and_power_conditions_move_no_tray),
		WITH_DRIVE(another_medium_is_told_as_such),
		WITH_DRIVE(events_are_polled_and_only_of_the_medium),
		WITH_DRIVE(disc_information_says_a_finished_disc),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
