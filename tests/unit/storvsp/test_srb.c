/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * SRBs: parsed from the bytes that Linux 6.1's driver sends, their data found in guest memory, and
 * answered such that the driver takes status and sense data for what they are.
 */
#include "tests/unit/test_main.h"

#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "storvsp/srb.h"
#include "tests/unit/vmbus/memory_fixture.h"
#include "vmbus/guest_memory.h"
#include "vmbus/packet.h"

#define PAGES	   600
#define PAGE_BYTES ((size_t)4096)

/* READ(10) of 8 blocks at 0x10 from LUN 2, as hv_storvsc sends it. */
static const uint8_t golden_read[64] = {
	3,    0,  0, 0, 1, 0,	 0,    0,    0,	   0, 0, 0, /* EXECUTE_SRB, completion wanted */
	52,   0,  0, 0, 0, 0,	 0,    2,		    /* length; path, target, LUN */
	10,   20, 1, 0, 0, 0x10, 0,    0,		    /* CDB, sense; in; 4096 bytes */
	0x28, 0,  0, 0, 0, 0x10, 0,    0,    8,	   0, 0, 0, 0,	0, 0, 0, /* CDB */
	0,    0,  0, 0, 0, 0,	 0xff, 0x20, 0x4a, 1, 0, 0, 60, 0, 0, 0, 0, 0, 0, 0,
};

static void a_read_of_linux_is_understood(void **state)
{
	struct srb srb;

	(void)state;
	assert_int_equal(srb_parse(golden_read, sizeof(golden_read), &srb), 0);
	assert_int_equal(srb.lun, 2);
	assert_int_equal(srb.path, 0);
	assert_int_equal(srb.target, 0);
	assert_int_equal(srb.cdb_bytes, 10);
	assert_memory_equal(srb.cdb, golden_read + 28, 10);
	assert_int_equal(srb.direction, DISK_FROM_DEVICE);
	assert_int_equal(srb.data_bytes, 4096);
}

static void an_srb_of_before_5_1_is_shorter(void **state)
{
	struct srb srb;

	(void)state;
	assert_int_equal(srb_parse(golden_read, 48, &srb), 0);
	assert_int_equal(srb.data_bytes, 4096);
	for (size_t length = 0; length < 48; length++)
		assert_int_equal(srb_parse(golden_read, length, &srb), -EINVAL);
}

/* One byte of the golden request is another. */
static int parse_with(size_t at, uint8_t value)
{
	uint8_t bytes[64];
	struct srb srb;

	memcpy(bytes, golden_read, sizeof(bytes));
	bytes[at] = value;
	return srb_parse(bytes, sizeof(bytes), &srb);
}

static void malformed_srbs_are_refused(void **state)
{
	(void)state;
	assert_int_equal(parse_with(20, 0), -EINVAL);  /* no CDB */
	assert_int_equal(parse_with(20, 17), -EINVAL); /* longer than its field */
	assert_int_equal(parse_with(20, 255), -EINVAL);
	assert_int_equal(parse_with(22, 2), -EINVAL); /* bytes, and no direction */
	assert_int_equal(parse_with(22, 255), -EINVAL);
	assert_int_equal(parse_with(26, 0x10), -EINVAL); /* 1 MiB and 4 KiB */
	assert_int_equal(parse_with(27, 0x80), -EINVAL);
	assert_int_equal(parse_with(20, 16), 0);
	assert_int_equal(parse_with(22, 0), 0);
}

static void a_cdb_ends_where_it_says(void **state)
{
	uint8_t bytes[64];
	struct srb srb;

	(void)state;
	memset(bytes, 0xee, sizeof(bytes));
	memcpy(bytes, golden_read, 28);
	bytes[20] = 6;
	assert_int_equal(srb_parse(bytes, sizeof(bytes), &srb), 0);
	assert_memory_equal(srb.cdb, "\xee\xee\xee\xee\xee\xee\0\0\0\0\0\0\0\0\0\0", 16);
}

/* ---- data ---- */

/* A GPA-direct packet of one range. */
struct ranges {
	uint8_t bytes[8 + 8 * PAGES];
	struct packet packet;
};

static void ranges_make(struct ranges *ranges, uint32_t bytes, uint32_t offset, size_t pages)
{
	put_le32(ranges->bytes, bytes);
	put_le32(ranges->bytes + 4, offset);
	for (size_t i = 0; i < pages; i++)
		put_le64(ranges->bytes + 8 + 8 * i, i);
	ranges->packet = (struct packet){
		.type = PACKET_GPA_DIRECT,
		.ranges = ranges->bytes,
		.ranges_bytes = 8 + 8 * pages,
		.range_count = 1,
	};
}

static struct ranges ranges;
static struct srb_data data;

static void neighbouring_pages_are_one_run(void **state)
{
	struct guest_memory *memory = fixture_memory(PAGES);
	const struct srb srb = {.direction = DISK_TO_DEVICE, .data_bytes = 1 << 20};
	const uint8_t *base = guest_memory_region_at(memory, 0)->hva;

	(void)state;
	ranges_make(&ranges, 1 << 20, 0x200, 257);
	assert_int_equal(srb_data_map(&data, memory, &ranges.packet, &srb), 0);
	assert_int_equal(data.count, 1);
	assert_ptr_equal(data.iov[0].iov_base, base + 0x200);
	assert_int_equal(data.iov[0].iov_len, 1 << 20);
	guest_memory_destroy(memory);
}

static void the_longest_transfer_may_be_scattered_over_every_page(void **state)
{
	struct guest_memory *memory = fixture_memory(PAGES);
	const struct srb srb = {.direction = DISK_FROM_DEVICE, .data_bytes = 1 << 20};
	const uint8_t *base = guest_memory_region_at(memory, 0)->hva;
	size_t sum = 0;

	(void)state;
	ranges_make(&ranges, 1 << 20, 0xffc, 257);
	for (uint64_t i = 0; i < 257; i++)
		put_le64(ranges.bytes + 8 + 8 * i, 2 * (256 - i));
	assert_int_equal(srb_data_map(&data, memory, &ranges.packet, &srb), 0);
	assert_int_equal(data.count, 257);
	assert_ptr_equal(data.iov[0].iov_base, base + 512 * PAGE_BYTES + 0xffc);
	assert_int_equal(data.iov[0].iov_len, 4);
	assert_ptr_equal(data.iov[256].iov_base, base);
	for (uint32_t i = 0; i < data.count; i++)
		sum += data.iov[i].iov_len;
	assert_int_equal(sum, 1 << 20);
	guest_memory_destroy(memory);
}

static void the_length_is_the_srbs_and_not_the_ranges(void **state)
{
	struct guest_memory *memory = fixture_memory(PAGES);
	const struct srb srb = {.direction = DISK_TO_DEVICE, .data_bytes = 5000};

	(void)state;
	ranges_make(&ranges, 8192, 0, 2);
	assert_int_equal(srb_data_map(&data, memory, &ranges.packet, &srb), 0);
	assert_int_equal(data.count, 1);
	assert_int_equal(data.iov[0].iov_len, 5000);
	ranges_make(&ranges, 4999, 0, 2);
	assert_int_equal(srb_data_map(&data, memory, &ranges.packet, &srb), -EINVAL);
	guest_memory_destroy(memory);
}

static void data_that_is_not_there_is_refused(void **state)
{
	struct guest_memory *memory = fixture_memory(PAGES);
	const struct srb srb = {.direction = DISK_FROM_DEVICE, .data_bytes = 8192};

	(void)state;
	ranges_make(&ranges, 8192, 0, 2);
	put_le64(ranges.bytes + 16, PAGES); /* one past the end */
	assert_int_equal(srb_data_map(&data, memory, &ranges.packet, &srb), -EFAULT);
	put_le64(ranges.bytes + 16, UINT64_MAX);
	assert_int_equal(srb_data_map(&data, memory, &ranges.packet, &srb), -EINVAL);
	ranges_make(&ranges, 8192, 0, 1); /* too few page numbers */
	assert_int_equal(srb_data_map(&data, memory, &ranges.packet, &srb), -EINVAL);
	ranges_make(&ranges, 8192, 4096, 3); /* offset past the page */
	assert_int_equal(srb_data_map(&data, memory, &ranges.packet, &srb), -EINVAL);
	ranges_make(&ranges, 4096 * 258, 0, 258); /* more pages than a transfer can have */
	assert_int_equal(srb_data_map(&data, memory, &ranges.packet, &srb), -EINVAL);
	ranges_make(&ranges, 8192, 0, 2);
	ranges.packet.range_count = 0;
	assert_int_equal(srb_data_map(&data, memory, &ranges.packet, &srb), -EINVAL);
	ranges_make(&ranges, 8192, 0, 2);
	ranges.packet.type = PACKET_INBAND;
	assert_int_equal(srb_data_map(&data, memory, &ranges.packet, &srb), -EINVAL);
	guest_memory_destroy(memory);
}

static void without_data_no_range_is_looked_at(void **state)
{
	struct guest_memory *memory = fixture_memory(PAGES);
	const struct srb srb = {.direction = DISK_NO_DATA};
	const struct packet packet = {.type = PACKET_INBAND};

	(void)state;
	assert_int_equal(srb_data_map(&data, memory, &packet, &srb), 0);
	assert_int_equal(data.count, 0);
	guest_memory_destroy(memory);
}

static void what_the_device_wrote_is_dirty_when_it_has_written(void **state)
{
	struct guest_memory *memory = fixture_memory(PAGES);
	const struct srb in = {.direction = DISK_FROM_DEVICE, .data_bytes = 8192};
	const struct srb out = {.direction = DISK_TO_DEVICE, .data_bytes = 8192};

	(void)state;
	ranges_make(&ranges, 8192, 0, 2);
	assert_int_equal(srb_data_map(&data, memory, &ranges.packet, &in), 0);
	fixture_take_dirty(memory, 0);
	fixture_take_dirty(memory, 1);
	srb_data_written(&data, memory);
	assert_int_equal(fixture_take_dirty(memory, 0), 1);
	assert_int_equal(fixture_take_dirty(memory, 1), 1);
	assert_int_equal(fixture_take_dirty(memory, 2), 0);
	assert_int_equal(srb_data_map(&data, memory, &ranges.packet, &out), 0);
	srb_data_written(&data, memory);
	assert_int_equal(fixture_take_dirty(memory, 0), 0);
	guest_memory_destroy(memory);
}

static void zeroes_and_bytes_cross_runs(void **state)
{
	struct guest_memory *memory = fixture_memory(PAGES);
	const struct srb srb = {.direction = DISK_FROM_DEVICE, .data_bytes = 16};
	uint8_t *base = guest_memory_region_at(memory, 0)->hva;

	(void)state;
	ranges_make(&ranges, 16, 0xff8, 2);
	put_le64(ranges.bytes + 8, 4); /* bytes 0xff8.. of page 4, then the start of page 2 */
	put_le64(ranges.bytes + 16, 2);
	memset(base, 0xaa, 6 * PAGE_BYTES);
	assert_int_equal(srb_data_map(&data, memory, &ranges.packet, &srb), 0);
	assert_int_equal(srb_data_copy_in(&data, "0123456789abcdefXYZ", 19), 16);
	assert_memory_equal(base + 4 * PAGE_BYTES + 0xff8, "01234567", 8);
	assert_memory_equal(base + 2 * PAGE_BYTES, "89abcdef\xaa", 9);
	srb_data_zero(&data, 10);
	assert_memory_equal(base + 4 * PAGE_BYTES + 0xff8, "01234567", 8);
	assert_memory_equal(base + 2 * PAGE_BYTES, "89\0\0\0\0\0\0\xaa", 9);
	guest_memory_destroy(memory);
}

/* ---- answers ---- */

static const struct srb a_read = {
	.lun = 2, .cdb_bytes = 10, .direction = DISK_FROM_DEVICE, .data_bytes = 4096};

static struct vstor_packet reply_to(const struct scsi_command *command)
{
	struct vstor_packet reply;

	srb_reply(command, &a_read, &reply);
	assert_int_equal(reply.header.operation, VSTOR_COMPLETE_IO);
	return reply;
}

static void a_good_command_is_these_bytes(void **state)
{
	static const uint8_t golden[64] = {
		1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 52, 0, 1, 0, 0, 0, 0, 2, 10, 0, 0, 0, 0, 2,
	};
	const struct scsi_command command = {.transferred = 512};
	struct vstor_packet reply = reply_to(&command);

	(void)state;
	assert_memory_equal(&reply, golden, sizeof(golden));
}

static void sense_data_comes_with_error_and_autosense(void **state)
{
	struct scsi_command command = {.status = 2, .sense_bytes = 18};
	struct vstor_packet reply;

	(void)state;
	for (uint8_t i = 0; i < 18; i++)
		command.sense[i] = (uint8_t)(0x70 + i);
	reply = reply_to(&command);
	assert_int_equal(reply.srb.srb_status, 0x84);
	assert_int_equal(reply.srb.scsi_status, 2);
	assert_int_equal(reply.srb.sense_bytes, 18);
	assert_memory_equal(reply.srb.sense, command.sense, 18);
	assert_int_equal(reply.header.status, VSTOR_STATUS_IO_DEVICE_ERROR);
	command.sense_bytes = 0;
	assert_int_equal(reply_to(&command).srb.srb_status, 0x04);
	command.sense_bytes = 255;
	assert_int_equal(reply_to(&command).srb.sense_bytes, 20);
}

static void other_statuses_are_no_failure_of_the_transport(void **state)
{
	static const uint8_t statuses[] = {0x08, 0x18, 0x28, 0x30, 0x40};

	(void)state;
	for (size_t i = 0; i < sizeof(statuses); i++) {
		const struct scsi_command command = {.status = statuses[i], .sense_bytes = 18};
		struct vstor_packet reply = reply_to(&command);

		assert_int_equal(reply.srb.scsi_status, statuses[i]);
		assert_int_equal(reply.srb.srb_status, VSTOR_SRB_BUSY);
		assert_int_equal(reply.srb.sense_bytes, 0);
	}
}

static void a_unit_that_is_gone_is_removed_by_the_guest(void **state)
{
	const struct scsi_command command = {
		.gone = true, .status = 2, .sense_bytes = 18, .transferred = 4096};
	struct vstor_packet reply = reply_to(&command);

	(void)state;
	assert_int_equal(reply.srb.srb_status, VSTOR_SRB_INVALID_LUN);
	assert_int_equal(reply.srb.transfer_bytes, 0);
	assert_int_equal(reply.header.status, VSTOR_STATUS_DEVICE_DOES_NOT_EXIST);
}

static void no_more_is_transferred_than_was_asked_for(void **state)
{
	const struct scsi_command command = {.transferred = UINT64_MAX};

	(void)state;
	assert_int_equal(reply_to(&command).srb.transfer_bytes, 4096);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_read_of_linux_is_understood),
		cmocka_unit_test(an_srb_of_before_5_1_is_shorter),
		cmocka_unit_test(malformed_srbs_are_refused),
		cmocka_unit_test(a_cdb_ends_where_it_says),
		cmocka_unit_test(neighbouring_pages_are_one_run),
		cmocka_unit_test(the_longest_transfer_may_be_scattered_over_every_page),
		cmocka_unit_test(the_length_is_the_srbs_and_not_the_ranges),
		cmocka_unit_test(data_that_is_not_there_is_refused),
		cmocka_unit_test(without_data_no_range_is_looked_at),
		cmocka_unit_test(what_the_device_wrote_is_dirty_when_it_has_written),
		cmocka_unit_test(zeroes_and_bytes_cross_runs),
		cmocka_unit_test(a_good_command_is_these_bytes),
		cmocka_unit_test(sense_data_comes_with_error_and_autosense),
		cmocka_unit_test(other_statuses_are_no_failure_of_the_transport),
		cmocka_unit_test(a_unit_that_is_gone_is_removed_by_the_guest),
		cmocka_unit_test(no_more_is_transferred_than_was_asked_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
