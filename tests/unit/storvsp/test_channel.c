/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A controller's channels under load and under attack: every request is answered exactly once,
 * whatever the guest sends, however small its rings are, and whenever a reset or a close comes.
 */
#include "tests/unit/test_main.h"

#include <time.h>
#include <unistd.h>

#include "tests/unit/storvsp/fake_storvsc.h"
#include "tests/unit/storvsp/fake_unit.h"
#include "tests/unit/vmbus/memory_fixture.h"
#include "vmbus/guest_memory.h"
#include "vmbus/packet.h"

#define RING_PAGES  4
#define TINY_RING   2 /* one page of data: 46 answers */
#define FLOOD_COUNT 2000u

static const uint8_t test_unit_ready[6] = {0};

struct fixture {
	struct fake_storvsc guest;
	struct storvsp_controller *controller;
	struct scsi_unit unit;
};

static struct fixture f;

static int set_up_rings(uint32_t ring_pages)
{
	const struct storvsp_controller_config config = {
		.instance_id.bytes = {1, 2, 3},
		.max_sub_channels = 3,
	};

	memset(&f, 0, sizeof(f));
	storvsc_init(&f.guest);
	fake_unit_init(&f.unit);
	if (fake_controller_create(&f.guest.bus, &config, &f.controller) != 0 ||
	    storvsp_controller_add_unit(f.controller, 0, &f.unit) != 0)
		return -1;
	storvsc_connect(&f.guest);
	return storvsc_open(&f.guest, 0, ring_pages) == 0 &&
			       storvsc_begin_session(&f.guest, VSTOR_VERSION_6_2)
		       ? 0
		       : -1;
}

static int set_up(void **state)
{
	(void)state;
	return set_up_rings(RING_PAGES);
}

static int set_up_tiny(void **state)
{
	(void)state;
	return set_up_rings(TINY_RING);
}

static int tear_down(void **state)
{
	(void)state;
	fake_unit_hold_no_more(&f.unit);
	storvsp_controller_destroy(f.controller);
	storvsc_fini(&f.guest);
	return 0;
}

static uint8_t *guest_at(uint64_t gpa)
{
	return (uint8_t *)guest_memory_region_at(f.guest.memory, 0)->hva + gpa;
}

/* Until the unit has seen count commands. */
static void wait_executed(uint32_t count)
{
	for (int i = 0; i < 30000 && atomic_load(&f.unit.executed) < count; i++)
		storvsc_run(&f.guest, 1);
	assert_int_equal(atomic_load(&f.unit.executed), count);
}

static void assert_answered(uint64_t transaction, uint8_t srb_status)
{
	assert_true(storvsc_answered(&f.guest, transaction));
	assert_int_equal(f.guest.answers[transaction].packet.header.operation, VSTOR_COMPLETE_IO);
	assert_int_equal(f.guest.answers[transaction].packet.srb.srb_status, srb_status);
}

/* A read of one block into a buffer of the channel's own. */
static bool read_block(unsigned channel, uint64_t transaction)
{
	return storvsc_io(&f.guest, channel, transaction, 0, false, (uint32_t)transaction % 256,
			  STORVSC_DATA_GPA + channel * 0x1000, 512);
}

/* ---- data ---- */

static void what_is_written_is_on_the_unit_and_is_read_back(void **state)
{
	const uint64_t from = STORVSC_DATA_GPA + 0x234, to = STORVSC_DATA_GPA + 0x20e00;
	uint32_t random = 1;

	(void)state;
	for (int i = 0; i < 65536; i++)
		guest_at(from)[i] = (uint8_t)fixture_random(&random);
	assert_true(storvsc_io(&f.guest, 0, 10, 0, true, 3, from, 65536));
	assert_answered(10, VSTOR_SRB_SUCCESS);
	assert_int_equal(f.guest.answers[10].packet.srb.transfer_bytes, 65536);
	assert_memory_equal(f.unit.bytes + 3 * (size_t)512, guest_at(from), 65536);
	fixture_take_dirty(f.guest.memory, to >> 12);
	fixture_take_dirty(f.guest.memory, (to >> 12) + 15);
	assert_true(storvsc_io(&f.guest, 0, 11, 0, false, 3, to, 65536));
	assert_answered(11, VSTOR_SRB_SUCCESS);
	assert_memory_equal(guest_at(to), guest_at(from), 65536);
	assert_int_equal(fixture_take_dirty(f.guest.memory, to >> 12), 1);
	assert_int_equal(fixture_take_dirty(f.guest.memory, (to >> 12) + 15), 1);
}

static void the_longest_transfer_fits_one_packet(void **state)
{
	/* The unit is smaller: only the path is of interest. */
	struct vstor_packet packet =
		storvsc_srb(0, test_unit_ready, 6, VSTOR_DATA_FROM_DEVICE, 1 << 20);

	(void)state;
	assert_true(storvsc_send_data(&f.guest, 0, 10, &packet, sizeof(packet),
				      STORVSC_DATA_GPA + 1, 1 << 20));
	assert_answered(10, VSTOR_SRB_SUCCESS);
	packet.srb.transfer_bytes++;
	assert_true(storvsc_send_data(&f.guest, 0, 11, &packet, sizeof(packet), STORVSC_DATA_GPA,
				      (1 << 20) + 1));
	assert_answered(11, VSTOR_SRB_INVALID_REQUEST);
}

/* ---- load ---- */

/* Sends count reads on the channels in turn, as fast as there is room. */
static void flood(unsigned channels, unsigned count)
{
	unsigned sent = 0;

	for (int patience = 0; sent < count && patience < 30000; patience++) {
		while (sent < count && read_block(sent % channels, 10 + sent))
			sent++;
		storvsc_run(&f.guest, 1);
	}
	assert_int_equal(sent, count);
}

static void assert_all_answered_once(unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		assert_answered(10 + i, VSTOR_SRB_SUCCESS);
	storvsc_run(&f.guest, 10);
	for (unsigned i = 0; i < count; i++)
		assert_int_equal(f.guest.answers[10 + i].count, 1);
}

static void a_flood_on_all_channels_is_answered_once_each(void **state)
{
	(void)state;
	atomic_store(&f.unit.manner, UNIT_MIXED);
	assert_true(storvsc_open_sub_channels(&f.guest, 3, RING_PAGES));
	flood(4, FLOOD_COUNT);
	assert_all_answered_once(FLOOD_COUNT);
	assert_int_equal(atomic_load(&f.unit.executed), FLOOD_COUNT);
}

static void a_flood_through_a_tiny_ring_is_answered_once_each(void **state)
{
	(void)state;
	atomic_store(&f.unit.manner, UNIT_MIXED);
	flood(1, FLOOD_COUNT);
	assert_all_answered_once(FLOOD_COUNT);
}

/* Answers fill the ring; the rest waits until the guest reads, and comes then. */
static void a_guest_that_does_not_read_loses_nothing(void **state)
{
	unsigned sent = 0;

	(void)state;
	f.guest.deaf = true;
	for (int i = 0; i < 30000 && (sent < 60 || atomic_load(&f.unit.executed) < 46); i++) {
		while (sent < 60 && read_block(0, 10 + sent))
			sent++;
		usleep(500);
	}
	assert_int_equal(sent, 60);
	usleep(10000);
	assert_int_equal(atomic_load(&f.unit.executed), 46); /* what the ring holds */
	f.guest.deaf = false;
	assert_all_answered_once(sent);
	assert_int_equal(atomic_load(&f.unit.executed), sent);
	flood(1, 200); /* and it goes on as before */
}

static void held_commands_fill_a_tiny_ring_and_still_end(void **state)
{
	unsigned sent = 0;

	(void)state;
	atomic_store(&f.unit.manner, UNIT_HOLDS);
	for (int i = 0; i < 30000 && (sent < 60 || atomic_load(&f.unit.executed) < 46); i++) {
		while (sent < 60 && read_block(0, 10 + sent))
			sent++;
		storvsc_run(&f.guest, 1);
	}
	assert_int_equal(sent, 60);
	storvsc_run(&f.guest, 10);
	assert_int_equal(atomic_load(&f.unit.executed), 46); /* an answer's room for each */
	fake_unit_hold_no_more(&f.unit);
	assert_all_answered_once(sent);
}

static void as_many_commands_are_under_way_as_a_channel_has_requests(void **state)
{
	(void)state;
	storvsc_close(&f.guest, 0);
	assert_true(storvsc_wait(&f.guest, &f.guest.torn_down, 1, STORVSC_DEFAULT_PATIENCE));
	assert_int_equal(storvsc_open(&f.guest, 0, STORVSC_MAX_RING_PAGES), 0);
	assert_true(storvsc_begin_session(&f.guest, VSTOR_VERSION_6_2));
	atomic_store(&f.unit.manner, UNIT_HOLDS);
	for (unsigned sent = 0, i = 0; i < 30000 && sent < 700; i++) {
		while (sent < 700 && read_block(0, 10 + sent))
			sent++;
		if (atomic_load(&f.unit.executed) == 512)
			break;
		storvsc_run(&f.guest, 1);
	}
	wait_executed(512);
	storvsc_run(&f.guest, 20);
	assert_int_equal(atomic_load(&f.unit.executed), 512);
	fake_unit_hold_no_more(&f.unit);
	assert_all_answered_once(512);
}

static void an_idle_controller_sleeps(void **state)
{
	struct timespec before, after;
	int64_t used_us;

	(void)state;
	flood(1, 100);
	assert_all_answered_once(100);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
	usleep(200000);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
	used_us =
		(after.tv_sec - before.tv_sec) * 1000000 + (after.tv_nsec - before.tv_nsec) / 1000;
	assert_in_range(used_us, 0, 20000);
}

static void interrupts_follow_the_channel_to_another_vp(void **state)
{
	(void)state;
	storvsc_modify(&f.guest, 0, 3);
	assert_true(read_block(0, 10));
	assert_answered(10, VSTOR_SRB_SUCCESS);
	storvsc_modify(&f.guest, 0, 77);
	assert_true(read_block(0, 11));
	assert_answered(11, VSTOR_SRB_SUCCESS);
}

/* ---- resets ---- */

static void send_reset(uint64_t transaction, uint32_t operation, uint8_t lun)
{
	struct vstor_packet packet = storvsc_packet(operation);

	packet.srb.lun = lun;
	assert_true(storvsc_send(&f.guest, 0, transaction, &packet, sizeof(packet)));
}

static void a_bus_reset_waits_for_what_is_under_way_on_every_channel(void **state)
{
	struct storvsp_status status;

	(void)state;
	assert_true(storvsc_open_sub_channels(&f.guest, 1, RING_PAGES));
	atomic_store(&f.unit.manner, UNIT_HOLDS);
	assert_true(read_block(0, 10));
	assert_true(read_block(1, 11));
	wait_executed(2);
	send_reset(20, VSTOR_RESET_BUS, 0);
	storvsc_run(&f.guest, 30);
	assert_int_equal(f.guest.answers[20].count, 0);
	/* one that came after the reset is not waited for */
	assert_true(read_block(1, 12));
	wait_executed(3);
	fake_unit_let_go(&f.unit);
	assert_answered(20, 0);
	assert_int_equal(f.guest.answers[20].packet.header.status, 0);
	assert_int_equal(f.guest.answers[10].count, 1);
	assert_int_equal(f.guest.answers[11].count, 1);
	assert_true(f.guest.answers[10].order < f.guest.answers[20].order);
	assert_int_equal(atomic_load(&f.unit.resets), 1);
	storvsp_controller_get_status(f.controller, &status);
	assert_int_equal(status.resets, 1);
}

static void a_reset_does_not_wait_for_commands_that_follow_it(void **state)
{
	(void)state;
	atomic_store(&f.unit.manner, UNIT_HOLDS);
	send_reset(20, VSTOR_RESET_ADAPTER, 0);
	assert_answered(20, 0);
	assert_true(read_block(0, 10));
	wait_executed(1);
	send_reset(21, VSTOR_RESET_BUS, 0);
	storvsc_run(&f.guest, 20);
	assert_int_equal(f.guest.answers[21].count, 0);
	fake_unit_let_go(&f.unit);
	assert_answered(21, 0);
}

static void a_lun_reset_resets_that_unit_alone(void **state)
{
	(void)state;
	send_reset(20, VSTOR_RESET_LUN, 5);
	assert_answered(20, 0);
	assert_int_equal(atomic_load(&f.unit.resets), 0);
	send_reset(21, VSTOR_RESET_LUN, 0);
	assert_answered(21, 0);
	assert_int_equal(atomic_load(&f.unit.resets), 1);
	send_reset(22, VSTOR_RESET_LUN, 255);
	assert_answered(22, 0);
}

static void resets_in_a_flood_lose_nothing(void **state)
{
	unsigned sent = 0, resets = 0;

	(void)state;
	atomic_store(&f.unit.manner, UNIT_LATER);
	assert_true(storvsc_open_sub_channels(&f.guest, 1, RING_PAGES));
	for (int i = 0; i < 30000 && sent < 1000; i++) {
		struct vstor_packet packet = storvsc_packet(VSTOR_RESET_BUS);

		for (int burst = 0; burst < 20 && sent < 1000; burst++) {
			if (!read_block(sent % 2, 10 + sent))
				break;
			sent++;
		}
		if (i % 4 == 0 && storvsc_send(&f.guest, 0, 2000 + resets, &packet, 64))
			resets++;
		storvsc_run(&f.guest, 1);
	}
	assert_all_answered_once(1000);
	for (unsigned i = 0; i < resets; i++)
		assert_true(storvsc_answered(&f.guest, 2000 + i));
	assert_int_equal(atomic_load(&f.unit.resets), resets);
}

/* ---- hostile packets ---- */

static void malformed_requests_are_each_answered_with_a_refusal(void **state)
{
	static const size_t lengths[] = {12, 13, 40};
	struct vstor_packet packet = storvsc_srb(0, test_unit_ready, 6, VSTOR_DATA_NONE, 0);
	uint64_t transaction = 100;

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		assert_true(storvsc_send(&f.guest, 0, ++transaction, &packet, lengths[i]));
		assert_true(storvsc_answered(&f.guest, transaction));
		assert_int_equal(f.guest.answers[transaction].bytes, (lengths[i] + 7) & ~7u);
		assert_int_equal(f.guest.answers[transaction].packet.header.status,
				 VSTOR_STATUS_INVALID_PARAMETER);
	}
	packet.srb.cdb_bytes = 17;
	assert_true(storvsc_send(&f.guest, 0, ++transaction, &packet, sizeof(packet)));
	assert_answered(transaction, VSTOR_SRB_INVALID_REQUEST);

	/* data without a buffer, with too small a one, and outside of memory */
	packet = storvsc_srb(0, test_unit_ready, 6, VSTOR_DATA_FROM_DEVICE, 4096);
	assert_true(storvsc_send(&f.guest, 0, ++transaction, &packet, sizeof(packet)));
	assert_answered(transaction, VSTOR_SRB_INVALID_REQUEST);
	assert_true(storvsc_send_data(&f.guest, 0, ++transaction, &packet, sizeof(packet),
				      STORVSC_DATA_GPA, 4095));
	assert_answered(transaction, VSTOR_SRB_INVALID_REQUEST);
	assert_true(storvsc_send_data(&f.guest, 0, ++transaction, &packet, sizeof(packet),
				      STORVSC_MEMORY_BYTES - 4095, 4096));
	assert_answered(transaction, VSTOR_SRB_INVALID_REQUEST);
	assert_true(storvsc_send_data(&f.guest, 0, ++transaction, &packet, sizeof(packet),
				      UINT64_C(1) << 40, 4096));
	assert_answered(transaction, VSTOR_SRB_INVALID_REQUEST);
	assert_int_equal(atomic_load(&f.unit.executed), 0);
}

static void packets_of_any_kind_are_answered_where_they_ask_for_it(void **state)
{
	const struct transfer_range range = {0, 0};
	struct vstor_packet packet = storvsc_packet(VSTOR_EXECUTE_SRB);
	struct ring *out = &f.guest.channels[0].out;
	uint64_t transaction = 100;

	(void)state;
	/* unknown operations, and those of the host */
	for (uint32_t operation = 14; operation < 18; operation++) {
		packet = storvsc_packet(operation);
		assert_true(storvsc_send(&f.guest, 0, ++transaction, &packet, sizeof(packet)));
		assert_true(storvsc_answered(&f.guest, transaction));
		assert_int_not_equal(f.guest.answers[transaction].packet.header.status, 0);
	}
	packet = storvsc_packet(VSTOR_COMPLETE_IO);
	assert_true(storvsc_send(&f.guest, 0, ++transaction, &packet, sizeof(packet)));
	assert_true(storvsc_answered(&f.guest, transaction));
	/* no payload at all */
	assert_true(storvsc_send(&f.guest, 0, ++transaction, &packet, 0));
	assert_true(storvsc_answered(&f.guest, transaction));
	assert_int_equal(f.guest.answers[transaction].bytes, 16); /* a header, padded */
	/* far too much of it */
	assert_true(storvsc_send(&f.guest, 0, ++transaction, f.unit.bytes, 4096));
	assert_true(storvsc_answered(&f.guest, transaction));
	assert_int_equal(f.guest.answers[transaction].bytes, 64);
	/* transfer pages */
	packet = storvsc_packet(VSTOR_EXECUTE_SRB);
	assert_int_equal(packet_write_transfer_pages(out, ++transaction, 0xcafe, &range, 1, &packet,
						     sizeof(packet)),
			 0);
	/* a completion of nothing, and a command that wants no answer */
	assert_int_equal(packet_write_completion(out, transaction + 1, &packet, 64), 0);
	packet = storvsc_srb(0, test_unit_ready, 6, VSTOR_DATA_NONE, 0);
	assert_int_equal(packet_write_inband(out, transaction + 2, 0, &packet, 64), 0);
	ring_publish_write(out);
	storvsc_kick(&f.guest, 0);
	assert_true(storvsc_answered(&f.guest, transaction));
	wait_executed(1);
	storvsc_run(&f.guest, 10);
	assert_int_equal(f.guest.answers[transaction + 1].count, 0);
	assert_int_equal(f.guest.answers[transaction + 2].count, 0);
	/* all the requests are free again */
	flood(1, 1000);
}

static void a_broken_ring_stops_its_channel_until_it_is_opened_again(void **state)
{
	struct ring *out = &f.guest.channels[0].out;
	const uint8_t garbage[16] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

	(void)state;
	atomic_store(&f.unit.manner, UNIT_HOLDS);
	assert_true(read_block(0, 10));
	wait_executed(1);
	assert_int_equal(ring_writable_bytes(out) > 64, 1);
	assert_int_equal(ring_poke(out, 0, garbage, sizeof(garbage)), 0);
	assert_int_equal(ring_advance(out, 64), 0);
	ring_publish_write(out);
	storvsc_kick(&f.guest, 0);
	storvsc_run(&f.guest, 20);
	fake_unit_let_go(&f.unit); /* ends, for nobody */
	storvsc_run(&f.guest, 20);
	storvsc_close(&f.guest, 0);
	assert_true(storvsc_wait(&f.guest, &f.guest.torn_down, 1, STORVSC_DEFAULT_PATIENCE));
	atomic_store(&f.unit.manner, UNIT_AT_ONCE);
	assert_int_equal(storvsc_open(&f.guest, 0, RING_PAGES), 0);
	assert_true(storvsc_begin_session(&f.guest, VSTOR_VERSION_6_2));
	assert_true(read_block(0, 11));
	assert_answered(11, VSTOR_SRB_SUCCESS);
}

static void indices_that_jump_break_the_channel_and_nothing_else(void **state)
{
	_Atomic uint32_t *control;

	(void)state;
	assert_true(storvsc_open_sub_channels(&f.guest, 1, RING_PAGES));
	atomic_store(&f.unit.manner, UNIT_HOLDS);
	for (unsigned i = 0; i < 8; i++)
		assert_true(read_block(0, 10 + i));
	wait_executed(8);
	/* The room that was there for the answers is taken away: the read index goes to just
	 * behind the write index. */
	control = f.guest.channels[0].in.control;
	atomic_store(&control[1],
		     (atomic_load(&control[0]) + 64) % f.guest.channels[0].in.data_bytes);
	fake_unit_let_go(&f.unit);
	storvsc_run(&f.guest, 20);
	atomic_store(&f.unit.manner, UNIT_AT_ONCE);
	assert_true(read_block(1, 50));
	assert_answered(50, VSTOR_SRB_SUCCESS);
	/* an index outside of the ring */
	atomic_store(&f.guest.channels[1].out.control[0], 0xfffffff8);
	storvsc_kick(&f.guest, 1);
	storvsc_run(&f.guest, 20);
}

/* ---- the end ---- */

static void a_close_waits_for_what_is_under_way(void **state)
{
	(void)state;
	atomic_store(&f.unit.manner, UNIT_HOLDS);
	assert_true(read_block(0, 10));
	wait_executed(1);
	storvsc_close(&f.guest, 0);
	storvsc_run(&f.guest, 30);
	assert_int_equal(f.guest.torn_down, 0); /* the rings are still used */
	assert_int_equal(atomic_load(&f.unit.executing), 1);
	fake_unit_let_go(&f.unit);
	assert_true(storvsc_wait(&f.guest, &f.guest.torn_down, 1, STORVSC_DEFAULT_PATIENCE));
	assert_int_equal(atomic_load(&f.unit.executing), 0);
}

static void a_close_waits_for_a_reset_too(void **state)
{
	(void)state;
	assert_true(storvsc_open_sub_channels(&f.guest, 1, RING_PAGES));
	atomic_store(&f.unit.manner, UNIT_HOLDS);
	assert_true(read_block(1, 10));
	wait_executed(1);
	send_reset(20, VSTOR_RESET_BUS, 0);
	storvsc_run(&f.guest, 20);
	storvsc_close(&f.guest, 1);
	storvsc_close(&f.guest, 0);
	storvsc_run(&f.guest, 20);
	assert_int_equal(f.guest.torn_down, 0);
	fake_unit_let_go(&f.unit);
	assert_true(storvsc_wait(&f.guest, &f.guest.torn_down, 2, STORVSC_DEFAULT_PATIENCE));
	assert_int_equal(atomic_load(&f.unit.resets), 1);
}

static void channels_open_and_close_in_a_flood(void **state)
{
	(void)state;
	atomic_store(&f.unit.manner, UNIT_LATER);
	for (unsigned round = 0; round < 20; round++) {
		for (unsigned i = 0; i < 20; i++)
			assert_true(read_block(0, 10 + i));
		storvsc_close(&f.guest, 0);
		assert_true(storvsc_wait(&f.guest, &f.guest.torn_down, round + 1,
					 STORVSC_DEFAULT_PATIENCE));
		assert_int_equal(atomic_load(&f.unit.executing), 0);
		assert_int_equal(storvsc_open(&f.guest, 0, RING_PAGES), 0);
		assert_true(storvsc_begin_session(&f.guest, VSTOR_VERSION_6_2));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name)	cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define TEST_TINY(name) cmocka_unit_test_setup_teardown(name, set_up_tiny, tear_down)
		TEST(what_is_written_is_on_the_unit_and_is_read_back),
		TEST(the_longest_transfer_fits_one_packet),
		TEST(a_flood_on_all_channels_is_answered_once_each),
		TEST_TINY(a_flood_through_a_tiny_ring_is_answered_once_each),
		TEST_TINY(a_guest_that_does_not_read_loses_nothing),
		TEST_TINY(held_commands_fill_a_tiny_ring_and_still_end),
		TEST(as_many_commands_are_under_way_as_a_channel_has_requests),
		TEST(an_idle_controller_sleeps),
		TEST(interrupts_follow_the_channel_to_another_vp),
		TEST(a_bus_reset_waits_for_what_is_under_way_on_every_channel),
		TEST(a_reset_does_not_wait_for_commands_that_follow_it),
		TEST(a_lun_reset_resets_that_unit_alone),
		TEST(resets_in_a_flood_lose_nothing),
		TEST(malformed_requests_are_each_answered_with_a_refusal),
		TEST(packets_of_any_kind_are_answered_where_they_ask_for_it),
		TEST(a_broken_ring_stops_its_channel_until_it_is_opened_again),
		TEST(indices_that_jump_break_the_channel_and_nothing_else),
		TEST(a_close_waits_for_what_is_under_way),
		TEST(a_close_waits_for_a_reset_too),
		TEST(channels_open_and_close_in_a_flood),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
