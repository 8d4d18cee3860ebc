/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What every command of a SCSI unit passes, and the small ones: unit attentions, INQUIRY and VPD,
 * capacities, REPORT SUPPORTED OPERATION CODES, start and stop, what -errno becomes.
 */
#include "tests/unit/storvsp/scsi_fixture.h"

#include "tests/unit/test_main.h"

#include <errno.h>
#include <string.h>

#include "base/bytes.h"

static void assert_text(const uint8_t *bytes, const char *text)
{
	assert_memory_equal(bytes, text, strlen(text));
}

static void inquiry_answers_golden_bytes(void **state)
{
	struct scsi_fixture *f = *state;
	static const uint8_t head[8] = {0x00, 0x00, 0x06, 0x12, 0x5b, 0x00, 0x00, 0x02};

	memset(f->buffer, 0xee, 256);
	scsi_run_in(f, 255, 0x12, 0, 0, 0, 255, 0);
	scsi_expect_good(f, 96);
	assert_memory_equal(f->buffer, head, sizeof(head));
	assert_text(&f->buffer[8], "LUNAR   DISK            1.0 ");
	assert_int_equal(get_be16(&f->buffer[60]), 0x0460); /* SPC-4 */
	assert_int_equal(get_be16(&f->buffer[62]), 0x04c0); /* SBC-3 */
	assert_int_equal(f->buffer[96], 0xee);
}

static void inquiry_is_cut_by_allocation_and_by_the_buffer(void **state)
{
	struct scsi_fixture *f = *state;

	memset(f->buffer, 0xee, 64);
	scsi_run_in(f, 64, 0x12, 0, 0, 0, 5, 0);
	scsi_expect_good(f, 5);
	assert_int_equal(f->buffer[5], 0xee);
	scsi_run_in(f, 36, 0x12, 0, 0, 1, 0, 0);
	scsi_expect_good(f, 36);
	scsi_run_none(f, 0x12, 0, 0, 0, 36, 0);
	scsi_expect_good(f, 0);
}

static void inquiry_refuses_a_page_without_evpd(void **state)
{
	struct scsi_fixture *f = *state;

	scsi_run_in(f, 255, 0x12, 0, 1, 0, 255, 0);
	scsi_expect_bad_cdb(f, 2);
	scsi_run_in(f, 255, 0x12, 1, 0x42, 0, 255, 0);
	scsi_expect_bad_cdb(f, 2);
}

static void vpd_pages_are_listed_in_order_and_each_can_be_read(void **state)
{
	struct scsi_fixture *f = *state;
	static const uint8_t golden[] = {0x00, 0x00, 0,	   7,	 0x00, 0x80,
					 0x83, 0x86, 0xb0, 0xb1, 0xb2};

	scsi_run_in(f, 255, 0x12, 1, 0, 0, 255, 0);
	scsi_expect_good(f, sizeof(golden));
	assert_memory_equal(f->buffer, golden, sizeof(golden));
	for (size_t i = 4; i < sizeof(golden); i++) {
		scsi_run_in(f, 255, 0x12, 1, golden[i], 0, 255, 0);
		assert_int_equal(f->command.status, 0);
		assert_int_equal(f->buffer[1], golden[i]);
		assert_int_equal(f->command.transferred, 4 + get_be16(&f->buffer[2]));
	}
}

static void vpd_identifies_the_unit_by_its_id(void **state)
{
	struct scsi_fixture *f = *state;
	uint8_t naa[8];

	scsi_run_in(f, 255, 0x12, 1, 0x80, 0, 255, 0);
	scsi_expect_good(f, 36);
	assert_text(&f->buffer[4], "0102030405060708090a0b0c0d0e0f10");
	scsi_run_in(f, 255, 0x12, 1, 0x83, 0, 255, 0);
	scsi_expect_good(f, 4 + 12 + 44);
	assert_int_equal(get_be32(&f->buffer[4]), 0x01030008);
	assert_int_equal(f->buffer[8] >> 4, 3); /* NAA: locally assigned */
	memcpy(naa, &f->buffer[8], 8);
	assert_int_equal(get_be32(&f->buffer[16]), 0x02010028);
	assert_text(&f->buffer[20], "LUNAR   0102030405060708090a0b0c0d0e0f10");
	assert_int_equal(get_be64(naa), 0x37ecfb4f6e006495);
}

static void vpd_limits_and_provisioning_say_what_the_disk_can(void **state)
{
	struct scsi_fixture *f = *state;

	scsi_run_in(f, 255, 0x12, 1, 0xb0, 0, 255, 0);
	scsi_expect_good(f, 64);
	assert_int_equal(f->buffer[4], 0); /* WSNZ */
	assert_int_equal(f->buffer[5], 255);
	assert_int_equal(get_be16(&f->buffer[6]), 8);
	assert_int_equal(get_be32(&f->buffer[8]), (8u << 20) / 512);
	assert_int_equal(get_be32(&f->buffer[12]), 2048);
	assert_int_equal(get_be32(&f->buffer[20]), 0x100000);
	assert_int_equal(get_be32(&f->buffer[24]), 256);
	assert_int_equal(get_be32(&f->buffer[28]), 8);
	assert_int_equal(get_be32(&f->buffer[32]), 0x80000000);
	assert_int_equal(get_be64(&f->buffer[36]), 0xffff);
	scsi_run_in(f, 255, 0x12, 1, 0xb2, 0, 255, 0);
	assert_int_equal(get_be32(&f->buffer[4]), 0x00e40200);
	scsi_run_in(f, 255, 0x12, 1, 0xb1, 0, 255, 0);
	assert_int_equal(get_be16(&f->buffer[4]), 1);

	f->memory->info.unmap_granularity_bytes = 0;
	f->memory->info.rotational = true;
	scsi_run_in(f, 255, 0x12, 1, 0xb0, 0, 255, 0);
	assert_int_equal(get_be32(&f->buffer[20]), 0);
	assert_int_equal(get_be32(&f->buffer[24]), 0);
	scsi_run_in(f, 255, 0x12, 1, 0xb2, 0, 255, 0);
	assert_int_equal(get_be32(&f->buffer[4]), 0);
	scsi_run_in(f, 255, 0x12, 1, 0xb1, 0, 255, 0);
	assert_int_equal(get_be16(&f->buffer[4]), 0);
}

static void capacities_agree_with_the_disk(void **state)
{
	struct scsi_fixture *f = *state;
	static const uint8_t golden10[8] = {0, 0, 0x0f, 0xff, 0, 0, 2, 0};
	static const uint8_t golden16[32] = {0, 0, 0, 0, 0, 0, 0x0f, 0xff, 0, 0, 2, 0, 0, 3, 0xc0};

	scsi_run_in(f, 8, 0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0);
	scsi_expect_good(f, 8);
	assert_memory_equal(f->buffer, golden10, 8);
	scsi_run_in(f, 32, 0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0);
	scsi_expect_good(f, 32);
	assert_memory_equal(f->buffer, golden16, 32);
	scsi_run_in(f, 32, 0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 15, 0, 0);
	scsi_expect_good(f, 15);
	f->memory->info.size_bytes = 4ull << 40; /* 2^33 blocks */
	scsi_run_in(f, 8, 0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0);
	assert_int_equal(get_be32(f->buffer), 0xffffffff);
}

static void unknown_commands_and_actions_are_told_apart(void **state)
{
	struct scsi_fixture *f = *state;

	scsi_run_none(f, 0x48, 0, 0, 0, 0, 0, 0, 0, 0, 0); /* SANITIZE */
	scsi_expect_sense(f, 0x5, 0x2000);
	scsi_run_in(f, 8, 0x5e, 0x04, 0, 0, 0, 0, 0, 0, 8, 0);
	scsi_expect_bad_cdb(f, 1);
	scsi_run_in(f, 8, 0x9e, 0x1f, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0);
	scsi_expect_bad_cdb(f, 1);
	f->memory->info.unmap_granularity_bytes = 0;
	scsi_run_none(f, 0x42, 0, 0, 0, 0, 0, 0, 0, 0, 0);
	scsi_expect_sense(f, 0x5, 0x2000);
}

static void reserved_bits_naca_and_short_cdbs_are_refused(void **state)
{
	struct scsi_fixture *f = *state;

	scsi_run_none(f, 0x00, 0, 0, 0, 0, 0x04); /* NACA */
	scsi_expect_bad_cdb(f, 5);
	assert_int_equal(f->command.sense[15], 0xca);
	scsi_run_in(f, 512, 0x28, 0x20, 0, 0, 0, 0, 0, 0, 1, 0); /* RDPROTECT */
	scsi_expect_bad_cdb(f, 1);
	assert_int_equal(f->command.sense[15], 0xcd);
	scsi_run_in(f, 512, 0x28, 0, 0, 0, 0, 0);
	scsi_expect_bad_cdb(f, 6);
}

static void data_of_the_wrong_direction_is_refused(void **state)
{
	struct scsi_fixture *f = *state;

	scsi_run_out(f, 512, 0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0);
	scsi_expect_sense(f, 0x5, 0x0e03);
	scsi_run_in(f, 512, 0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0);
	scsi_expect_sense(f, 0x5, 0x0e03);
	assert_int_equal(f->memory->counts[DISK_READ] + f->memory->counts[DISK_WRITE], 0);
}

static void a_reset_is_told_once_and_not_to_inquiry(void **state)
{
	struct scsi_fixture *f = *state;

	scsi_unit_reset(f->unit);
	scsi_unit_capacity_changed(f->unit);
	scsi_run_in(f, 36, 0x12, 0, 0, 0, 36, 0);
	scsi_expect_good(f, 36);
	scsi_run_in(f, 512, 0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0);
	scsi_expect_sense(f, 0x6, 0x2900);
	scsi_run_none(f, 0x00, 0, 0, 0, 0, 0);
	scsi_expect_sense(f, 0x6, 0x2a09);
	scsi_run_none(f, 0x00, 0, 0, 0, 0, 0);
	scsi_expect_good(f, 0);
}

static void request_sense_takes_the_attention(void **state)
{
	struct scsi_fixture *f = *state;
	static const uint8_t golden[18] = {0x70, 0, 6, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x2a, 0x09};

	scsi_unit_capacity_changed(f->unit);
	scsi_run_in(f, 18, 0x03, 0, 0, 0, 18, 0);
	scsi_expect_good(f, 18);
	assert_memory_equal(f->buffer, golden, 18);
	scsi_run_in(f, 18, 0x03, 0, 0, 0, 18, 0);
	assert_int_equal(f->buffer[2], 0);
	scsi_run_in(f, 18, 0x03, 1, 0, 0, 18, 0); /* descriptor format */
	scsi_expect_bad_cdb(f, 1);
}

static void a_stopped_disk_wants_a_start(void **state)
{
	struct scsi_fixture *f = *state;

	scsi_run_none(f, 0x1b, 0, 0, 0, 0, 0);
	scsi_expect_good(f, 0);
	assert_int_equal(f->memory->counts[DISK_FLUSH], 1);
	scsi_run_in(f, 512, 0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0);
	scsi_expect_sense(f, 0x2, 0x0402);
	scsi_run_none(f, 0x1b, 0, 0, 0, 1, 0);
	scsi_expect_good(f, 0);
	scsi_run_in(f, 512, 0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0);
	scsi_expect_good(f, 512);
	scsi_run_none(f, 0x1b, 0, 0, 0, 2, 0); /* eject */
	scsi_expect_bad_cdb(f, 4);
}

static void every_error_of_a_disk_has_its_sense(void **state)
{
	struct scsi_fixture *f = *state;
	static const struct {
		int error;
		uint8_t key;
		uint16_t asc;
	} golden[] = {
		{-ENOSPC, 0x7, 0x2707}, {-EROFS, 0x7, 0x2700},	   {-EIO, 0x3, 0x0c00},
		{-ENODEV, 0x4, 0x0800}, {-ETIMEDOUT, 0xb, 0x2e02}, {-EINVAL, 0x4, 0x4400},
	};

	for (size_t i = 0; i < ARRAY_LENGTH(golden); i++) {
		f->memory->fail[DISK_WRITE] = golden[i].error;
		scsi_run_out(f, 512, 0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0);
		scsi_expect_sense(f, golden[i].key, golden[i].asc);
		assert_int_equal(f->command.transferred, 0);
	}
	f->memory->fail[DISK_READ] = -EIO;
	scsi_run_in(f, 512, 0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0);
	scsi_expect_sense(f, 0x3, 0x1100);
	f->memory->fail[DISK_READ] = -ENOMEM;
	scsi_run_in(f, 512, 0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0);
	scsi_expect_status(f, 0x08);
	f->memory->fail[DISK_FLUSH] = -EIO;
	scsi_run_none(f, 0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0);
	scsi_expect_sense(f, 0x3, 0x0c00);
}

/* ---- REPORT SUPPORTED OPERATION CODES ---- */

static void report_opcodes(struct scsi_fixture *f, uint8_t options, uint8_t opcode, uint16_t action)
{
	scsi_run_in(f, 4096, 0xa3, 0x0c, options, opcode, (uint8_t)(action >> 8), (uint8_t)action,
		    0, 0, 0x10, 0, 0, 0);
}

static void all_opcodes_can_each_be_asked_for(void **state)
{
	struct scsi_fixture *f = *state;
	uint8_t all[4096];
	uint32_t length;

	report_opcodes(f, 0x80, 0, 0);
	assert_int_equal(f->command.status, 0);
	length = get_be32(f->buffer);
	assert_int_equal(f->command.transferred, length + 4);
	assert_int_equal(length % 20, 0);
	memcpy(all, f->buffer, length + 4);
	for (uint32_t at = 4; at < length + 4; at += 20) {
		bool has_action = all[at + 5] & 1;
		uint16_t action = get_be16(&all[at + 2]);

		assert_int_equal(all[at + 5] & 2, 2);
		assert_int_equal(get_be16(&all[at + 8]), 10);
		report_opcodes(f, has_action ? 2 : 1, all[at], action);
		scsi_expect_good(f, 4u + get_be16(&all[at + 6]));
		assert_int_equal(f->buffer[1], 3);
		assert_int_equal(f->buffer[4], all[at]);
		assert_int_equal(get_be16(&f->buffer[2]), get_be16(&all[at + 6]));
		if (has_action)
			assert_int_equal(f->buffer[5] & 0x1f, action);
		report_opcodes(f, has_action ? 1 : 2, all[at], action);
		scsi_expect_bad_cdb(f, 2);
		report_opcodes(f, 3, all[at], action);
		assert_int_equal(f->buffer[1], 3);
	}
}

static void opcodes_that_are_not_there_are_reported_so(void **state)
{
	struct scsi_fixture *f = *state;
	static const uint8_t golden[14] = {0,	 3,    0,    10,   0x28, 0x1a, 0xff,
					   0xff, 0xff, 0xff, 0x1f, 0xff, 0xff, 0};

	report_opcodes(f, 1, 0x28, 0);
	scsi_expect_good(f, 14);
	assert_memory_equal(f->buffer, golden, 14);
	report_opcodes(f, 1, 0x04, 0);
	scsi_expect_good(f, 4);
	assert_int_equal(f->buffer[1], 1);
	report_opcodes(f, 2, 0x5e, 9);
	scsi_expect_good(f, 4);
	assert_int_equal(f->buffer[1], 1);
	report_opcodes(f, 2, 0x5e, 0x0100);
	assert_int_equal(f->buffer[1], 1);
	report_opcodes(f, 4, 0x28, 0);
	scsi_expect_bad_cdb(f, 2);
	f->memory->info.unmap_granularity_bytes = 0;
	report_opcodes(f, 1, 0x42, 0);
	assert_int_equal(f->buffer[1], 1);
}

static void task_management_functions_are_reported(void **state)
{
	struct scsi_fixture *f = *state;
	static const uint8_t golden[4] = {0x0a, 0, 0, 0};

	scsi_run_in(f, 16, 0xa3, 0x0d, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0);
	scsi_expect_good(f, 4);
	assert_memory_equal(f->buffer, golden, 4);
	scsi_run_in(f, 16, 0xa3, 0x0d, 0x80, 0, 0, 0, 0, 0, 0, 16, 0, 0);
	scsi_expect_good(f, 16);
	assert_int_equal(f->buffer[3], 12);
}

static void a_self_test_passes_and_others_are_refused(void **state)
{
	struct scsi_fixture *f = *state;

	scsi_run_none(f, 0x1d, 0x04, 0, 0, 0, 0);
	scsi_expect_good(f, 0);
	scsi_run_none(f, 0x1d, 0x20, 0, 0, 0, 0);
	scsi_expect_bad_cdb(f, 1);
	scsi_run_out(f, 8, 0x1d, 0x10, 0, 0, 8, 0);
	scsi_expect_bad_cdb(f, 3);
}

static void a_unit_needs_a_disk_unless_it_is_a_drive(void **state)
{
	struct scsi_unit_config config = {.kind = SCSI_DISK};
	struct scsi_unit *unit = NULL;

	(void)state;
	assert_int_equal(scsi_unit_create(&config, &unit), -EINVAL);
	config.kind = SCSI_DVD;
	assert_int_equal(scsi_unit_create(&config, &unit), 0);
	scsi_unit_destroy(unit);
	scsi_unit_destroy(NULL);
}

#define WITH_UNIT(test)                                                                            \
	cmocka_unit_test_setup_teardown(test, scsi_fixture_setup, scsi_fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_UNIT(inquiry_answers_golden_bytes),
		WITH_UNIT(inquiry_is_cut_by_allocation_and_by_the_buffer),
		WITH_UNIT(inquiry_refuses_a_page_without_evpd),
		WITH_UNIT(vpd_pages_are_listed_in_order_and_each_can_be_read),
		WITH_UNIT(vpd_identifies_the_unit_by_its_id),
		WITH_UNIT(vpd_limits_and_provisioning_say_what_the_disk_can),
		WITH_UNIT(capacities_agree_with_the_disk),
		WITH_UNIT(unknown_commands_and_actions_are_told_apart),
		WITH_UNIT(reserved_bits_naca_and_short_cdbs_are_refused),
		WITH_UNIT(data_of_the_wrong_direction_is_refused),
		WITH_UNIT(a_reset_is_told_once_and_not_to_inquiry),
		WITH_UNIT(request_sense_takes_the_attention),
		WITH_UNIT(a_stopped_disk_wants_a_start),
		WITH_UNIT(every_error_of_a_disk_has_its_sense),
		WITH_UNIT(all_opcodes_can_each_be_asked_for),
		WITH_UNIT(opcodes_that_are_not_there_are_reported_so),
		WITH_UNIT(task_management_functions_are_reported),
		WITH_UNIT(a_self_test_passes_and_others_are_refused),
		cmocka_unit_test(a_unit_needs_a_disk_unless_it_is_a_drive),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
