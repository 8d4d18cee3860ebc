/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * From the guest's rings down to a file and back: controller, channels, the real SCSI unit and real
 * disks, with several workers on one disk at a time. The verdict is the file's bytes.
 */
#include "tests/unit/test_main.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "storvsp/disk.h"
#include "storvsp/scsi.h"
#include "tests/unit/storvsp/fake_storvsc.h"
#include "tests/unit/vmbus/memory_fixture.h"
#include "vmbus/guest_memory.h"

#define RING_PAGES 8
#define CHANNELS   4u
#define DISK_BYTES (4u << 20)
#define BLOCK	   512u
#define PARALLEL   16u /* transactions a channel */

struct fixture {
	struct fake_storvsc guest;
	struct storvsp_controller *controller;
	struct disk *disk;
	struct scsi_unit *unit;
	char path[64];
};

static struct fixture f;

static const struct storvsp_controller_config config = {
	.instance_id.bytes = {1, 2, 3},
	.max_sub_channels = CHANNELS - 1,
};

static uint8_t *guest_at(uint64_t gpa)
{
	return (uint8_t *)guest_memory_region_at(f.guest.memory, 0)->hva + gpa;
}

static uint64_t buffer_of(uint64_t transaction)
{
	return STORVSC_DATA_GPA + transaction % ((uint64_t)CHANNELS * PARALLEL) * 0x4000;
}

static int set_up(void **state)
{
	struct disk_options options = {.path = f.path, .format = DISK_FORMAT_RAW};
	struct scsi_unit_config unit = {.kind = SCSI_DISK, .id = {4, 5, 6}};
	const uint8_t test_unit_ready[6] = {0};
	char message[DISK_MESSAGE_BYTES];
	int fd;

	(void)state;
	memset(&f, 0, sizeof(f));
	snprintf(f.path, sizeof(f.path), "/tmp/storvsp-XXXXXX");
	fd = mkstemp(f.path);
	if (fd < 0 || ftruncate(fd, DISK_BYTES) < 0 || close(fd) < 0 ||
	    disk_open(&options, &f.disk, message, sizeof(message)) != 0)
		return -1;
	unit.disk = f.disk;
	storvsc_init(&f.guest);
	if (scsi_unit_create(&unit, &f.unit) != 0 ||
	    storvsp_controller_create(&f.guest.bus, &config, &f.controller) != 0 ||
	    storvsp_controller_add_unit(f.controller, 0, f.unit) != 0)
		return -1;
	storvsc_connect(&f.guest);
	if (storvsc_open(&f.guest, 0, RING_PAGES) != 0 ||
	    !storvsc_begin_session(&f.guest, VSTOR_VERSION_6_2) ||
	    !storvsc_open_sub_channels(&f.guest, CHANNELS - 1, RING_PAGES))
		return -1;
	/* POWER ON, RESET is told first */
	storvsc_command(&f.guest, 0, test_unit_ready, 6, 0, 0);
	return storvsc_command(&f.guest, 0, test_unit_ready, 6, 0, 0)->srb.srb_status ==
			       VSTOR_SRB_SUCCESS
		       ? 0
		       : -1;
}

static int tear_down(void **state)
{
	(void)state;
	storvsp_controller_destroy(f.controller);
	storvsc_fini(&f.guest);
	scsi_unit_destroy(f.unit);
	disk_close(f.disk);
	unlink(f.path);
	return 0;
}

static void assert_good(uint64_t transaction)
{
	assert_true(storvsc_answered(&f.guest, transaction));
	assert_int_equal(f.guest.answers[transaction].packet.srb.srb_status, VSTOR_SRB_SUCCESS);
	assert_int_equal(f.guest.answers[transaction].packet.srb.scsi_status, 0);
}

static void read_file(uint8_t *bytes)
{
	int fd = open(f.path, O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(pread(fd, bytes, DISK_BYTES, 0), DISK_BYTES);
	close(fd);
}

/* Fills a transaction's buffer with bytes of its own. */
static void fill(uint64_t transaction, uint32_t bytes)
{
	uint32_t random = (uint32_t)transaction + 1;

	for (uint32_t i = 0; i < bytes; i++)
		guest_at(buffer_of(transaction))[i] = (uint8_t)fixture_random(&random);
}

static void what_is_written_on_all_channels_is_in_the_file(void **state)
{
	static uint8_t expected[DISK_BYTES], found[DISK_BYTES];
	const unsigned count = CHANNELS * PARALLEL;
	const uint32_t bytes = 0x3000; /* at odd blocks, on pages shifted by some bytes */
	const uint8_t synchronize_cache[10] = {0x35};

	(void)state;
	memset(expected, 0, sizeof(expected));
	for (unsigned i = 0; i < count; i++) {
		const uint32_t block = i * 97;

		fill(i, bytes);
		memcpy(expected + (size_t)block * BLOCK, guest_at(buffer_of(i)), bytes);
		assert_true(storvsc_io(&f.guest, i % CHANNELS, 10 + i, 0, true, block, buffer_of(i),
				       bytes));
	}
	for (unsigned i = 0; i < count; i++)
		assert_good(10 + i);
	assert_int_equal(storvsc_command(&f.guest, 0, synchronize_cache, 10, 0, 0)->srb.srb_status,
			 VSTOR_SRB_SUCCESS);
	read_file(found);
	assert_memory_equal(found, expected, DISK_BYTES);
	for (unsigned i = 0; i < count; i++) {
		memset(guest_at(buffer_of(i)), 0, bytes);
		assert_true(storvsc_io(&f.guest, i % CHANNELS, 1000 + i, 0, false, i * 97,
				       buffer_of(i), bytes));
	}
	for (unsigned i = 0; i < count; i++) {
		assert_good(1000 + i);
		assert_memory_equal(guest_at(buffer_of(i)), expected + (size_t)i * 97 * BLOCK,
				    bytes);
	}
}

/* COMPARE AND WRITE of block 7: adds one to the number that is there, as far as is known. */
static void send_increment(unsigned channel, uint64_t transaction, uint32_t known)
{
	const uint8_t cdb[16] = {0x89, [9] = 7, [13] = 1};
	const struct vstor_packet packet =
		storvsc_srb(0, cdb, sizeof(cdb), VSTOR_DATA_TO_DEVICE, 2 * BLOCK);
	uint8_t *data = guest_at(buffer_of(transaction));

	memset(data, 0, 2 * (size_t)BLOCK);
	put_le32(data, known);
	put_le32(data + BLOCK, known + 1);
	assert_true(storvsc_send_data(&f.guest, channel, transaction, &packet, sizeof(packet),
				      buffer_of(transaction), 2 * BLOCK));
}

static uint32_t number_in_file(void)
{
	static uint8_t bytes[DISK_BYTES];

	read_file(bytes);
	return get_le32(bytes + 7 * (size_t)BLOCK);
}

/* Of the increments that go out together, on all channels, exactly one finds what it knows. */
static void of_racing_compare_and_writes_one_wins(void **state)
{
	(void)state;
	for (uint32_t round = 0; round < 50; round++) {
		unsigned won = 0;

		for (unsigned i = 0; i < 2 * CHANNELS; i++) {
			f.guest.answers[10 + i].count = 0;
			send_increment(i % CHANNELS, 10 + i, round);
		}
		for (unsigned i = 0; i < 2 * CHANNELS; i++) {
			const struct vstor_srb *srb = &f.guest.answers[10 + i].packet.srb;

			assert_true(storvsc_answered(&f.guest, 10 + i));
			if (srb->scsi_status == 0) {
				won++;
				continue;
			}
			assert_int_equal(srb->srb_status, 0x84);
			assert_int_equal(srb->sense[2] & 0x0f, 0x0e); /* MISCOMPARE */
		}
		assert_int_equal(won, 1);
		assert_int_equal(number_in_file(), round + 1);
	}
}

/* Writes, reads, flushes and resets from everywhere, all at once. */
static void a_storm_is_answered_once_each(void **state)
{
	const uint8_t synchronize_cache[10] = {0x35};
	unsigned sent = 0;

	(void)state;
	for (int patience = 0; sent < 1500 && patience < 30000; patience++) {
		for (int burst = 0; burst < 40 && sent < 1500; burst++) {
			const unsigned channel = sent % CHANNELS;
			struct vstor_packet packet;
			bool fits;

			if (sent % 31 == 30) {
				packet = storvsc_srb(0, synchronize_cache, 10, VSTOR_DATA_NONE, 0);
				fits = storvsc_send(&f.guest, channel, 10 + sent, &packet, 64);
			} else if (sent % 97 == 96) {
				packet = storvsc_packet(VSTOR_RESET_BUS);
				fits = storvsc_send(&f.guest, 0, 10 + sent, &packet, 64);
			} else {
				fits = storvsc_io(&f.guest, channel, 10 + sent, 0, sent % 3 == 0,
						  sent * 37 % 7000, buffer_of(channel), 8192);
			}
			if (!fits)
				break;
			sent++;
		}
		storvsc_run(&f.guest, 1);
	}
	assert_int_equal(sent, 1500);
	for (unsigned i = 0; i < sent; i++) {
		assert_true(storvsc_answered(&f.guest, 10 + i));
		/* the unit attention of a reset is the only error there is */
		if (f.guest.answers[10 + i].packet.srb.scsi_status != 0)
			assert_int_equal(f.guest.answers[10 + i].packet.srb.sense[12], 0x29);
	}
	storvsc_run(&f.guest, 10);
	for (unsigned i = 0; i < sent; i++)
		assert_int_equal(f.guest.answers[10 + i].count, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
		TEST(what_is_written_on_all_channels_is_in_the_file),
		TEST(of_racing_compare_and_writes_one_wins),
		TEST(a_storm_is_answered_once_each),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
