/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * CDB properties, sense data, and the answers to INQUIRY and READ CAPACITY(16), against bytes of
 * real devices.
 */
#include <errno.h>
#include <string.h>

#include "iscsi-session/crc32c.h"
#include "iscsi-session/disk_id.h"
#include "iscsi-session/lun_probe.h"
#include "iscsi-session/scsi_cdb.h"
#include "tests/unit/test_main.h"

static void cdb_length_follows_the_group_code(void **state)
{
	static const struct {
		uint8_t opcode;
		size_t length;
	} cases[] = {{0x00, 6},	 {0x12, 6}, {0x28, 10}, {0x5f, 10}, {0x88, 16},
		     {0xa0, 12}, {0x7f, 0}, {0xc0, 10}, {0x9e, 16}, {0xb5, 12}};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(scsi_cdb_length(&cases[i].opcode, 32), cases[i].length);
	assert_int_equal(scsi_cdb_length(&cases[2].opcode, 9), 0);
	assert_int_equal(scsi_cdb_length(&cases[2].opcode, 10), 10);
	assert_int_equal(scsi_cdb_length(&cases[0].opcode, 0), 0);
}

static void cdb_direction_is_out_for_what_sends_data(void **state)
{
	static const uint8_t out[] = {0x0a, 0x2a, 0xaa, 0x8a, 0x41, 0x93,
				      0x42, 0x15, 0x55, 0x5f, 0x89};
	static const uint8_t in[] = {0x12, 0x28, 0x88, 0x1a, 0x5a, 0x5e,
				     0xa0, 0x9e, 0x25, 0xa3, 0x3c};
	uint8_t cdb[16] = {0};

	(void)state;
	for (size_t i = 0; i < sizeof(out); i++) {
		cdb[0] = out[i];
		assert_int_equal(scsi_cdb_data_direction(cdb), CDB_DATA_OUT);
	}
	for (size_t i = 0; i < sizeof(in); i++) {
		cdb[0] = in[i];
		assert_int_equal(scsi_cdb_data_direction(cdb), CDB_DATA_IN);
	}
	cdb[0] = 0x2f;
	cdb[1] = 0x02;
	assert_int_equal(scsi_cdb_data_direction(cdb), CDB_DATA_OUT);
	cdb[1] = 0x00;
	assert_int_equal(scsi_cdb_data_direction(cdb), CDB_DATA_NONE);
}

static void cdb_is_repeatable_only_where_twice_is_once(void **state)
{
	static const uint8_t yes[] = {0x00, 0x28, 0x2a, 0x8a, 0x93, 0x42, 0x12, 0x35, 0x5e};
	static const uint8_t no[] = {0x5f, 0x89, 0x8b, 0x16, 0x04, 0x83, 0x3b, 0xc1, 0x48};

	(void)state;
	for (size_t i = 0; i < sizeof(yes); i++)
		assert_true(scsi_cdb_is_repeatable(&yes[i]));
	for (size_t i = 0; i < sizeof(no); i++)
		assert_false(scsi_cdb_is_repeatable(&no[i]));
}

static void sense_has_the_fixed_format(void **state)
{
	static const uint8_t golden[18] = {0x70, 0, 0x02, 0, 0, 0, 0, 0x0a, 0, 0, 0, 0, 0x08, 0x01};
	uint8_t sense[18];

	(void)state;
	cdb_sense_build(sense, SCSI_SENSE_NOT_READY_KEY, 0x08, 0x01);
	assert_memory_equal(sense, golden, sizeof(golden));
}

/* RFC 7143 appendix A.4: 32 zeroes, 32 ones, 0 to 31, 31 to 0. */
static void crc32c_matches_the_standards_examples(void **state)
{
	static const uint32_t golden[4] = {0x8a9136aa, 0x62a8ab43, 0x46dd794e, 0x113fdb5c};
	uint8_t bytes[4][32];

	(void)state;
	memset(bytes[0], 0, 32);
	memset(bytes[1], 0xff, 32);
	for (uint8_t i = 0; i < 32; i++) {
		bytes[2][i] = i;
		bytes[3][i] = (uint8_t)(31 - i);
	}
	for (int i = 0; i < 4; i++) {
		uint32_t crc = crc32c_update(CRC32C_START, bytes[i], 32);
		assert_int_equal(crc32c_finish(crc), golden[i]);
		/* In odd pieces, the same. */
		crc = crc32c_update(CRC32C_START, bytes[i], 3);
		crc = crc32c_update(crc, bytes[i] + 3, 29);
		assert_int_equal(crc32c_finish(crc), golden[i]);
	}
}

/* tgt 1.0.85, a disk. */
static const uint8_t inquiry[36] = {0x00, 0x00, 0x05, 0x12, 0x3d, 0x00, 0x00, 0x02, 'I',
				    'E',  'T',	' ',  ' ',  ' ',  ' ',	' ',  'V',  'I',
				    'R',  'T',	'U',  'A',  'L',  '-',	'D',  'I',  'S',
				    'K',  ' ',	' ',  ' ',  ' ',  '0',	'0',  '0',  '1'};

static void inquiry_names_the_device(void **state)
{
	struct lun_geometry g = {0};

	(void)state;
	assert_int_equal(lun_parse_inquiry(inquiry, sizeof(inquiry), &g), 0);
	assert_int_equal(g.device_type, 0);
	assert_string_equal(g.vendor, "IET");
	assert_string_equal(g.product, "VIRTUAL-DISK");
}

static void inquiry_of_an_absent_lun_is_seen(void **state)
{
	uint8_t absent[36];
	struct lun_geometry g;

	(void)state;
	memcpy(absent, inquiry, sizeof(absent));
	absent[0] = 0x7f;
	assert_int_equal(lun_parse_inquiry(absent, sizeof(absent), &g), -ENODEV);
	assert_int_equal(lun_parse_inquiry(inquiry, 35, &g), -EINVAL);
}

static void inquiry_text_is_made_printable(void **state)
{
	uint8_t odd[36];
	struct lun_geometry g;

	(void)state;
	memcpy(odd, inquiry, sizeof(odd));
	odd[8] = 0x1b;
	odd[9] = '\n';
	assert_int_equal(lun_parse_inquiry(odd, sizeof(odd), &g), 0);
	assert_string_equal(g.vendor, "..T");
}

static void capacity_is_last_block_plus_one(void **state)
{
	static const uint8_t golden[32] = {0,	 0, 0, 0,    0,	   0x0f, 0xff,
					   0xff, 0, 0, 0x02, 0x00, 0,	 0x03};
	struct lun_geometry g;

	(void)state;
	assert_int_equal(lun_parse_capacity(golden, sizeof(golden), &g), 0);
	assert_int_equal(g.blocks, 1048576);
	assert_int_equal(g.block_bytes, 512);
	assert_int_equal(lun_parse_capacity(golden, 11, &g), -EINVAL);
}

static void odd_capacities_are_refused(void **state)
{
	uint8_t data[12] = {0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 2, 0};
	struct lun_geometry g;

	(void)state;
	data[10] = 3; /* 768 bytes a block */
	assert_int_equal(lun_parse_capacity(data, sizeof(data), &g), -EINVAL);
	data[10] = 0; /* none */
	assert_int_equal(lun_parse_capacity(data, sizeof(data), &g), -EINVAL);
	data[10] = 2;
	memset(data, 0xff, 8); /* capacity does not fit READ CAPACITY */
	assert_int_equal(lun_parse_capacity(data, sizeof(data), &g), -EINVAL);
}

/* Changing these breaks reservations and configuration of every attached guest. */
static void identities_never_change(void **state)
{
	char id[DISK_ID_LENGTH + 1];

	(void)state;
	disk_id_make("iqn.2025-11.test:plain", 1, id);
	assert_string_equal(id, "3da99f3a3788");
	disk_id_make("iqn.2025-11.test:plain", 2, id);
	assert_string_not_equal(id, "3da99f3a3788");
	assert_int_equal(disk_isid_random("iqn.1993-08.org.debian:01:e69c734a179a",
					  "iqn.2025-11.test:plain"),
			 0x382796);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cdb_length_follows_the_group_code),
		cmocka_unit_test(cdb_direction_is_out_for_what_sends_data),
		cmocka_unit_test(cdb_is_repeatable_only_where_twice_is_once),
		cmocka_unit_test(sense_has_the_fixed_format),
		cmocka_unit_test(crc32c_matches_the_standards_examples),
		cmocka_unit_test(inquiry_names_the_device),
		cmocka_unit_test(inquiry_of_an_absent_lun_is_seen),
		cmocka_unit_test(inquiry_text_is_made_printable),
		cmocka_unit_test(capacity_is_last_block_plus_one),
		cmocka_unit_test(odd_capacities_are_refused),
		cmocka_unit_test(identities_never_change),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
