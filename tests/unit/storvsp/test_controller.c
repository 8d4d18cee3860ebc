/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A controller before a guest with storvsc: the session, units that are there and that are not,
 * units that come and go, and a change of medium.
 */
#include "tests/unit/test_main.h"

#include <errno.h>

#include "tests/unit/storvsp/fake_storvsc.h"
#include "tests/unit/storvsp/fake_unit.h"
#include "vmbus/guest_memory.h"
#include "wire/vmbus.h"

#define RING_PAGES 4

static const uint8_t test_unit_ready[6] = {0};

struct fixture {
	struct fake_storvsc guest;
	struct storvsp_controller *controller;
	struct scsi_unit unit, other;
	unsigned done; /* callbacks */
	uint32_t executing_when_done;
};

static struct fixture f;

static int set_up_bare(void **state)
{
	const struct storvsp_controller_config config = {
		.instance_id.bytes = {1, 2, 3},
		.max_sub_channels = 3,
	};

	*state = &f;
	memset(&f, 0, sizeof(f));
	storvsc_init(&f.guest);
	fake_unit_init(&f.unit);
	fake_unit_init(&f.other);
	return fake_controller_create(&f.guest.bus, &config, &f.controller);
}

/* A guest that has its controller open, with one unit as LUN 0. */
static int set_up(void **state)
{
	set_up_bare(state);
	if (storvsp_controller_add_unit(f.controller, 0, &f.unit) != 0)
		return -1;
	storvsc_connect(&f.guest);
	return storvsc_open(&f.guest, 0, RING_PAGES) == 0 &&
			       storvsc_begin_session(&f.guest, VSTOR_VERSION_6_2)
		       ? 0
		       : -1;
}

static int tear_down(void **state)
{
	(void)state;
	fake_unit_hold_no_more(&f.unit);
	storvsp_controller_destroy(f.controller);
	storvsc_fini(&f.guest);
	return 0;
}

static void on_done(void *ctx, uint32_t lun)
{
	(void)ctx;
	assert_true(lun < STORVSP_MAX_LUNS);
	f.executing_when_done = atomic_load(&f.unit.executing);
	f.done++;
}

static const struct vstor_packet *ask(uint8_t lun, const uint8_t *cdb, uint8_t cdb_bytes,
				      uint32_t bytes)
{
	const struct vstor_packet *answer =
		storvsc_command(&f.guest, lun, cdb, cdb_bytes, STORVSC_DATA_GPA, bytes);

	assert_non_null(answer);
	assert_int_equal(answer->header.operation, VSTOR_COMPLETE_IO);
	return answer;
}

static uint8_t srb_status(uint8_t lun)
{
	return ask(lun, test_unit_ready, sizeof(test_unit_ready), 0)->srb.srb_status;
}

static uint8_t *guest_data(void)
{
	return (uint8_t *)guest_memory_region_at(f.guest.memory, 0)->hva + STORVSC_DATA_GPA;
}

/* ---- the session ---- */

static void the_offer_is_that_of_a_scsi_controller(void **state)
{
	static const uint8_t type[16] = VMBUS_INTERFACE_SCSI;

	(void)state;
	storvsc_connect(&f.guest);
	assert_memory_equal(f.guest.interface_type, type, sizeof(type));
	assert_int_equal(f.guest.offer_flags, VMBUS_OFFER_ENUMERATE_DEVICE);
}

static void linux_negotiates_from_6_2_downward(void **state)
{
	struct storvsp_status status;

	(void)state;
	storvsc_connect(&f.guest);
	assert_int_equal(storvsc_open(&f.guest, 0, RING_PAGES), 0);
	assert_true(storvsc_begin_session(&f.guest, VSTOR_VERSION_5_1));
	storvsp_controller_get_status(f.controller, &status);
	assert_int_equal(status.version, 0x501);
	assert_int_equal(status.channels_open, 1);
	assert_int_equal(f.guest.answers[1].bytes, 64);
}

static void a_guest_that_opens_again_begins_again(void **state)
{
	(void)state;
	assert_int_equal(srb_status(0), VSTOR_SRB_SUCCESS);
	storvsc_close(&f.guest, 0);
	assert_true(storvsc_wait(&f.guest, &f.guest.torn_down, 1, STORVSC_DEFAULT_PATIENCE));
	assert_int_equal(storvsc_open(&f.guest, 0, RING_PAGES), 0);
	assert_int_equal(srb_status(0), VSTOR_SRB_INVALID_REQUEST);
	assert_true(storvsc_begin_session(&f.guest, VSTOR_VERSION_6_0));
	assert_int_equal(srb_status(0), VSTOR_SRB_SUCCESS);
}

static void a_request_before_the_end_of_initialization_is_refused(void **state)
{
	(void)state;
	storvsc_connect(&f.guest);
	assert_int_equal(storvsc_open(&f.guest, 0, RING_PAGES), 0);
	assert_int_equal(srb_status(0), VSTOR_SRB_INVALID_REQUEST);
	assert_int_equal(atomic_load(&f.unit.executed), 0);
}

static void sub_channels_carry_commands_too(void **state)
{
	struct storvsp_status status;

	(void)state;
	assert_true(storvsc_open_sub_channels(&f.guest, 3, RING_PAGES));
	storvsp_controller_get_status(f.controller, &status);
	assert_int_equal(status.channels_open, 4);
	for (unsigned i = 0; i < 4; i++) {
		assert_true(storvsc_io(&f.guest, i, 100 + i, 0, false, 0, STORVSC_DATA_GPA, 512));
		assert_true(storvsc_answered(&f.guest, 100 + i));
		assert_int_equal(f.guest.answers[100 + i].packet.srb.srb_status, VSTOR_SRB_SUCCESS);
	}
}

static void more_sub_channels_than_promised_are_refused(void **state)
{
	struct vstor_packet packet = storvsc_packet(VSTOR_CREATE_SUB_CHANNELS);
	const struct vstor_packet *answer;

	(void)state;
	packet.sub_channel_count = 4;
	answer = storvsc_ask(&f.guest, 1, &packet);
	assert_non_null(answer);
	assert_int_equal(answer->header.operation, VSTOR_COMPLETE_IO);
	assert_int_not_equal(answer->header.status, 0);
	assert_int_equal(f.guest.channels[1].relid, 0);
}

static void an_open_that_fails_leaves_nothing_behind(void **state)
{
	(void)state;
	storvsc_connect(&f.guest);
	f.guest.refuse_connect = true;
	assert_int_not_equal(storvsc_open(&f.guest, 0, RING_PAGES), 0);
	f.guest.refuse_connect = false;
	storvsc_close(&f.guest, 0);
	assert_int_equal(storvsc_open(&f.guest, 0, RING_PAGES), 0);
}

/* ---- units ---- */

static void a_lun_without_unit_is_type_7f_to_inquiry(void **state)
{
	static const uint8_t inquiry[6] = {0x12, 0, 0, 0, 36};
	struct vstor_packet packet;
	const struct vstor_packet *answer;

	(void)state;
	answer = ask(5, inquiry, sizeof(inquiry), 36);
	assert_int_equal(answer->srb.srb_status, VSTOR_SRB_SUCCESS);
	assert_int_equal(answer->srb.scsi_status, 0);
	assert_int_equal(answer->srb.transfer_bytes, 36);
	assert_int_equal(guest_data()[0], 0x7f);
	assert_int_equal(guest_data()[2], 6);
	/* another target, another path */
	for (int i = 0; i < 2; i++) {
		guest_data()[0] = 0xaa;
		packet = storvsc_srb(0, inquiry, sizeof(inquiry), VSTOR_DATA_FROM_DEVICE, 36);
		packet.srb.path = i == 0;
		packet.srb.target = i == 1;
		assert_true(storvsc_send_data(&f.guest, 0, 50 + (unsigned)i, &packet,
					      sizeof(packet), STORVSC_DATA_GPA, 36));
		assert_true(storvsc_answered(&f.guest, 50 + (unsigned)i));
		assert_int_equal(guest_data()[0], 0x7f);
	}
	assert_int_equal(atomic_load(&f.unit.executed), 0);
}

static void other_commands_to_it_have_the_guest_remove_it(void **state)
{
	(void)state;
	assert_int_equal(srb_status(5), VSTOR_SRB_INVALID_LUN);
	assert_int_equal(srb_status(63), VSTOR_SRB_INVALID_LUN);
	assert_int_equal(srb_status(64), VSTOR_SRB_INVALID_LUN);
	assert_int_equal(srb_status(255), VSTOR_SRB_INVALID_LUN);
	assert_int_equal(srb_status(0), VSTOR_SRB_SUCCESS);
}

static void report_luns_names_the_units(void **state)
{
	static const uint8_t golden[24] = {[3] = 16, [17] = 7};
	uint8_t report[12] = {0xa0};
	const struct vstor_packet *answer;

	(void)state;
	report[9] = 255;
	assert_int_equal(storvsp_controller_add_unit(f.controller, 7, &f.other), 0);
	answer = ask(3, report, sizeof(report), 255); /* asked of any LUN */
	assert_int_equal(answer->srb.srb_status, VSTOR_SRB_SUCCESS);
	assert_int_equal(answer->srb.transfer_bytes, sizeof(golden));
	assert_memory_equal(guest_data(), golden, sizeof(golden));

	report[9] = 16; /* what is allocated is all that is written */
	guest_data()[16] = 0xee;
	answer = ask(0, report, sizeof(report), 255);
	assert_int_equal(answer->srb.transfer_bytes, 16);
	assert_int_equal(guest_data()[3], 16);
	assert_int_equal(guest_data()[16], 0xee);

	report[2] = 1; /* well-known LUNs: none */
	answer = ask(0, report, sizeof(report), 255);
	assert_int_equal(answer->srb.transfer_bytes, 8);
	assert_int_equal(guest_data()[3], 0);

	report[2] = 3;
	answer = ask(0, report, sizeof(report), 255);
	assert_int_equal(answer->srb.srb_status, 0x84);
	assert_int_equal(answer->srb.sense[2], 5);
	assert_int_equal(answer->srb.sense[12], 0x24);
}

static void another_target_has_no_units(void **state)
{
	uint8_t report[12] = {0xa0, [9] = 255};
	struct vstor_packet packet =
		storvsc_srb(0, report, sizeof(report), VSTOR_DATA_FROM_DEVICE, 255);

	(void)state;
	packet.srb.target = 1;
	assert_true(
		storvsc_send_data(&f.guest, 0, 50, &packet, sizeof(packet), STORVSC_DATA_GPA, 255));
	assert_true(storvsc_answered(&f.guest, 50));
	assert_int_equal(f.guest.answers[50].packet.srb.srb_status, VSTOR_SRB_SUCCESS);
	assert_int_equal(guest_data()[3], 0);
}

static void a_failed_inquiry_leaves_zeroes_since_linux_takes_it_for_good(void **state)
{
	static const uint8_t inquiry[6] = {0x12, 1, 0xb0, 0, 36};
	static const uint8_t mode_sense[6] = {0x1a, 0, 0x1c, 0, 36};
	static const uint8_t zeroes[36];
	const struct vstor_packet *answer;

	(void)state;
	f.unit.status = 2;
	f.unit.sense_bytes = 18;
	memset(guest_data(), 0xaa, 37);
	answer = ask(0, inquiry, sizeof(inquiry), 36);
	assert_int_equal(answer->srb.srb_status, 0x84);
	assert_int_equal(answer->srb.sense[0], 0x70);
	assert_memory_equal(guest_data(), zeroes, 36);
	assert_int_equal(guest_data()[36], 0xaa);
	memset(guest_data(), 0xaa, 37);
	ask(0, mode_sense, sizeof(mode_sense), 36);
	assert_memory_equal(guest_data(), zeroes, 36);
}

static void figures_count_commands_and_bytes(void **state)
{
	struct storvsp_unit_stats stats;

	(void)state;
	assert_true(storvsc_io(&f.guest, 0, 10, 0, false, 0, STORVSC_DATA_GPA, 4096));
	assert_true(storvsc_io(&f.guest, 0, 11, 0, true, 0, STORVSC_DATA_GPA, 1024));
	assert_true(storvsc_answered(&f.guest, 10));
	assert_true(storvsc_answered(&f.guest, 11));
	srb_status(0);
	f.unit.status = 2;
	srb_status(0);
	assert_int_equal(storvsp_controller_get_stats(f.controller, 0, &stats), 0);
	assert_int_equal(stats.reads, 1);
	assert_int_equal(stats.read_bytes, 4096);
	assert_int_equal(stats.writes, 1);
	assert_int_equal(stats.written_bytes, 1024);
	assert_int_equal(stats.others, 2);
	assert_int_equal(stats.errors, 1);
	assert_int_equal(stats.in_flight, 0);
	assert_int_equal(storvsp_controller_get_stats(f.controller, 1, &stats), -ENOENT);
	assert_int_equal(storvsp_controller_get_stats(f.controller, 64, &stats), -ENOENT);
}

/* ---- units come and go ---- */

static void a_place_that_is_taken_or_is_none_is_refused(void **state)
{
	(void)state;
	assert_int_equal(storvsp_controller_add_unit(f.controller, 0, &f.other), -EEXIST);
	assert_int_equal(storvsp_controller_add_unit(f.controller, 64, &f.other), -EINVAL);
	assert_int_equal(storvsp_controller_add_unit(f.controller, 1, NULL), -EINVAL);
	assert_int_equal(storvsp_controller_remove_unit(f.controller, 1, on_done, NULL), -ENOENT);
	assert_int_equal(storvsp_controller_remove_unit(f.controller, 64, on_done, NULL), -ENOENT);
}

/* Linux would crash: its queue for the notice is made after the session. */
static void the_guest_is_told_of_a_new_unit_once_it_has_begun_to_scan(void **state)
{
	(void)state;
	assert_int_equal(storvsp_controller_add_unit(f.controller, 1, &f.other), 0);
	storvsc_run(&f.guest, 30);
	assert_int_equal(f.guest.enumerations, 0);
	assert_int_equal(srb_status(0), VSTOR_SRB_SUCCESS);
	assert_true(storvsc_wait(&f.guest, &f.guest.enumerations, 1, STORVSC_DEFAULT_PATIENCE));
	assert_int_equal(srb_status(1), VSTOR_SRB_SUCCESS);
	assert_int_equal(atomic_load(&f.other.executed), 1);
	storvsp_controller_rescan(f.controller);
	assert_true(storvsc_wait(&f.guest, &f.guest.enumerations, 2, STORVSC_DEFAULT_PATIENCE));
}

static void units_that_were_there_before_the_guest_need_no_notice(void **state)
{
	(void)state;
	assert_int_equal(srb_status(0), VSTOR_SRB_SUCCESS);
	storvsc_run(&f.guest, 30);
	assert_int_equal(f.guest.enumerations, 0);
}

static void a_unit_is_removed_when_its_last_command_has_ended(void **state)
{
	(void)state;
	atomic_store(&f.unit.manner, UNIT_HOLDS);
	assert_true(storvsc_io(&f.guest, 0, 10, 0, false, 0, STORVSC_DATA_GPA, 512));
	while (atomic_load(&f.unit.executed) == 0)
		storvsc_run(&f.guest, 1);
	assert_int_equal(storvsp_controller_remove_unit(f.controller, 0, on_done, NULL), 0);
	assert_int_equal(storvsp_controller_add_unit(f.controller, 0, &f.other), -EEXIST);
	assert_true(storvsc_wait(&f.guest, &f.guest.enumerations, 1, STORVSC_DEFAULT_PATIENCE));
	assert_int_equal(srb_status(0), VSTOR_SRB_INVALID_LUN);
	storvsc_run(&f.guest, 30);
	assert_int_equal(f.done, 0);
	fake_unit_let_go(&f.unit);
	assert_true(storvsc_wait(&f.guest, &f.done, 1, STORVSC_DEFAULT_PATIENCE));
	assert_int_equal(f.executing_when_done, 0);
	assert_true(storvsc_answered(&f.guest, 10));
	assert_int_equal(f.guest.answers[10].packet.srb.srb_status, VSTOR_SRB_SUCCESS);
	assert_int_equal(storvsp_controller_add_unit(f.controller, 0, &f.other), 0);
	assert_int_equal(srb_status(0), VSTOR_SRB_SUCCESS);
	assert_int_equal(atomic_load(&f.other.executed), 1);
}

static void a_unit_is_removed_without_a_guest_too(void **state)
{
	(void)state;
	assert_int_equal(storvsp_controller_add_unit(f.controller, 3, &f.unit), 0);
	assert_int_equal(storvsp_controller_remove_unit(f.controller, 3, on_done, NULL), 0);
	assert_int_equal(f.done, 0); /* from the loop, not from within */
	assert_true(storvsc_wait(&f.guest, &f.done, 1, STORVSC_DEFAULT_PATIENCE));
}

static void a_unit_that_says_it_is_gone_is_removed_by_the_guest(void **state)
{
	(void)state;
	f.unit.gone = true;
	assert_int_equal(srb_status(0), VSTOR_SRB_INVALID_LUN);
}

static void a_quiesced_unit_takes_its_commands_afterwards(void **state)
{
	(void)state;
	assert_int_equal(storvsp_controller_add_unit(f.controller, 1, &f.other), 0);
	atomic_store(&f.unit.manner, UNIT_HOLDS);
	assert_true(storvsc_io(&f.guest, 0, 10, 0, false, 0, STORVSC_DATA_GPA, 512));
	while (atomic_load(&f.unit.executed) == 0)
		storvsc_run(&f.guest, 1);
	assert_int_equal(storvsp_controller_quiesce_unit(f.controller, 0, on_done, NULL), 0);
	assert_int_equal(storvsp_controller_quiesce_unit(f.controller, 0, on_done, NULL), -EBUSY);
	assert_true(storvsc_io(&f.guest, 0, 11, 0, false, 0, STORVSC_DATA_GPA, 512));
	assert_int_equal(srb_status(1), VSTOR_SRB_SUCCESS); /* others go on */
	storvsc_run(&f.guest, 30);
	assert_int_equal(atomic_load(&f.unit.executed), 1);
	assert_int_equal(f.done, 0);
	atomic_store(&f.unit.manner, UNIT_AT_ONCE);
	fake_unit_let_go(&f.unit);
	assert_true(storvsc_wait(&f.guest, &f.done, 1, STORVSC_DEFAULT_PATIENCE));
	assert_int_equal(f.executing_when_done, 0);
	assert_true(storvsc_answered(&f.guest, 10));
	assert_true(storvsc_answered(&f.guest, 11));
	assert_int_equal(atomic_load(&f.unit.executed), 2);
	assert_int_equal(storvsp_controller_quiesce_unit(f.controller, 9, on_done, NULL), -ENOENT);
}

static void a_held_command_of_a_unit_that_was_removed_finds_none(void **state)
{
	(void)state;
	atomic_store(&f.unit.manner, UNIT_HOLDS);
	assert_true(storvsc_io(&f.guest, 0, 10, 0, false, 0, STORVSC_DATA_GPA, 512));
	while (atomic_load(&f.unit.executed) == 0)
		storvsc_run(&f.guest, 1);
	assert_int_equal(storvsp_controller_quiesce_unit(f.controller, 0, on_done, NULL), 0);
	assert_true(storvsc_io(&f.guest, 0, 11, 0, false, 0, STORVSC_DATA_GPA, 512));
	storvsc_run(&f.guest, 20);
	assert_int_equal(storvsp_controller_remove_unit(f.controller, 0, on_done, NULL), 0);
	fake_unit_let_go(&f.unit);
	assert_true(storvsc_wait(&f.guest, &f.done, 2, STORVSC_DEFAULT_PATIENCE));
	assert_true(storvsc_answered(&f.guest, 10));
	assert_true(storvsc_answered(&f.guest, 11));
	assert_int_equal(f.guest.answers[11].packet.srb.srb_status, VSTOR_SRB_INVALID_LUN);
	assert_int_equal(atomic_load(&f.unit.executed), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name)	cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define TEST_BARE(name) cmocka_unit_test_setup_teardown(name, set_up_bare, tear_down)
		TEST_BARE(the_offer_is_that_of_a_scsi_controller),
		TEST_BARE(linux_negotiates_from_6_2_downward),
		TEST(a_guest_that_opens_again_begins_again),
		TEST_BARE(a_request_before_the_end_of_initialization_is_refused),
		TEST(sub_channels_carry_commands_too),
		TEST(more_sub_channels_than_promised_are_refused),
		TEST_BARE(an_open_that_fails_leaves_nothing_behind),
		TEST(a_lun_without_unit_is_type_7f_to_inquiry),
		TEST(other_commands_to_it_have_the_guest_remove_it),
		TEST(report_luns_names_the_units),
		TEST(another_target_has_no_units),
		TEST(a_failed_inquiry_leaves_zeroes_since_linux_takes_it_for_good),
		TEST(figures_count_commands_and_bytes),
		TEST(a_place_that_is_taken_or_is_none_is_refused),
		TEST(the_guest_is_told_of_a_new_unit_once_it_has_begun_to_scan),
		TEST(units_that_were_there_before_the_guest_need_no_notice),
		TEST(a_unit_is_removed_when_its_last_command_has_ended),
		TEST_BARE(a_unit_is_removed_without_a_guest_too),
		TEST(a_unit_that_says_it_is_gone_is_removed_by_the_guest),
		TEST(a_quiesced_unit_takes_its_commands_afterwards),
		TEST(a_held_command_of_a_unit_that_was_removed_finds_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
