/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A controller that is paused, saved, moved to another host, and destroyed: nothing under way is
 * lost, and nothing goes on that should rest.
 */
#include "tests/unit/test_main.h"

#include <errno.h>
#include <pthread.h>
#include <unistd.h>

#include "tests/unit/storvsp/fake_storvsc.h"
#include "tests/unit/storvsp/fake_unit.h"
#include "vmbus/gpadl_view.h"

#define RING_PAGES 4
#define TAG_BUS	   STATE_TAG('T', 'B', 'U', 'S')

struct fixture {
	struct fake_storvsc guest;
	struct storvsp_controller *controller;
	struct scsi_unit unit, other;
	unsigned paused, restored, removed; /* callbacks */
	int pause_status, restore_status;
};

static struct fixture f;

static const struct storvsp_controller_config config = {
	.instance_id.bytes = {1, 2, 3},
	.max_sub_channels = 3,
};

static int set_up_bare(void **state)
{
	(void)state;
	memset(&f, 0, sizeof(f));
	storvsc_init(&f.guest);
	fake_unit_init(&f.unit);
	fake_unit_init(&f.other);
	if (fake_controller_create(&f.guest.bus, &config, &f.controller) != 0 ||
	    storvsp_controller_add_unit(f.controller, 0, &f.unit) != 0)
		return -1;
	storvsc_connect(&f.guest);
	return 0;
}

static int set_up(void **state)
{
	set_up_bare(state);
	return storvsc_open(&f.guest, 0, RING_PAGES) == 0 &&
			       storvsc_begin_session(&f.guest, VSTOR_VERSION_6_2) &&
			       storvsc_open_sub_channels(&f.guest, 1, RING_PAGES)
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

static void on_paused(void *ctx, int status)
{
	(void)ctx;
	f.pause_status = status;
	f.paused++;
}

static void on_restored(void *ctx, int status)
{
	(void)ctx;
	f.restore_status = status;
	f.restored++;
}

static void on_removed(void *ctx, uint32_t lun)
{
	(void)ctx;
	(void)lun;
	f.removed++;
}

static bool read_block(unsigned channel, uint64_t transaction)
{
	return storvsc_io(&f.guest, channel, transaction, 0, false, 0,
			  STORVSC_DATA_GPA + channel * 0x1000, 512);
}

static void wait_executed(uint32_t count)
{
	for (int i = 0; i < 30000 && atomic_load(&f.unit.executed) < count; i++)
		storvsc_run(&f.guest, 1);
	assert_int_equal(atomic_load(&f.unit.executed), count);
}

static void pause_now(void)
{
	storvsp_controller_pause(f.controller, STORVSC_DEFAULT_PATIENCE, on_paused, NULL);
	assert_true(storvsc_wait(&f.guest, &f.paused, 1, STORVSC_DEFAULT_PATIENCE));
	assert_int_equal(f.pause_status, 0);
	f.paused = 0;
}

/* ---- pause ---- */

static void a_pause_waits_for_what_is_under_way_and_takes_nothing_more(void **state)
{
	(void)state;
	atomic_store(&f.unit.manner, UNIT_HOLDS);
	assert_true(read_block(0, 10));
	assert_true(read_block(1, 11));
	wait_executed(2);
	storvsp_controller_pause(f.controller, STORVSC_DEFAULT_PATIENCE, on_paused, NULL);
	storvsc_run(&f.guest, 20);
	assert_int_equal(f.paused, 0);
	assert_true(read_block(0, 12)); /* stays in the ring */
	storvsc_run(&f.guest, 20);
	assert_int_equal(atomic_load(&f.unit.executed), 2);
	atomic_store(&f.unit.manner, UNIT_AT_ONCE);
	f.guest.deaf = true;
	fake_unit_let_go(&f.unit);
	assert_true(storvsc_wait(&f.guest, &f.paused, 1, STORVSC_DEFAULT_PATIENCE));
	assert_int_equal(f.pause_status, 0);
	/* the answers are in the rings by now: one reads them without the host's help */
	assert_int_equal(ring_readable_bytes(&f.guest.channels[0].in), 16 + 64 + 8);
	assert_int_equal(ring_readable_bytes(&f.guest.channels[1].in), 16 + 64 + 8);
	f.guest.deaf = false;
	storvsc_run(&f.guest, 20);
	assert_int_equal(f.guest.answers[12].count, 0);
	storvsp_controller_resume(f.controller);
	for (unsigned i = 10; i < 13; i++)
		assert_true(storvsc_answered(&f.guest, i));
}

static void a_pause_over_its_deadline_is_none(void **state)
{
	(void)state;
	atomic_store(&f.unit.manner, UNIT_HOLDS);
	assert_true(read_block(0, 10));
	wait_executed(1);
	storvsp_controller_pause(f.controller, 20, on_paused, NULL);
	assert_true(storvsc_wait(&f.guest, &f.paused, 1, STORVSC_DEFAULT_PATIENCE));
	assert_int_equal(f.pause_status, -ETIMEDOUT);
	atomic_store(&f.unit.manner, UNIT_AT_ONCE);
	assert_true(read_block(0, 11)); /* all goes on */
	assert_true(storvsc_answered(&f.guest, 11));
	fake_unit_let_go(&f.unit);
	assert_true(storvsc_answered(&f.guest, 10));
	storvsc_run(&f.guest, 20);
	assert_int_equal(f.paused, 1);
	f.paused = 0;
	pause_now(); /* and it can be paused again */
	storvsp_controller_resume(f.controller);
}

static void a_pause_given_up_by_a_resume_calls_nobody(void **state)
{
	(void)state;
	atomic_store(&f.unit.manner, UNIT_HOLDS);
	assert_true(read_block(0, 10));
	wait_executed(1);
	storvsp_controller_pause(f.controller, 10, on_paused, NULL);
	storvsp_controller_resume(f.controller);
	fake_unit_let_go(&f.unit);
	assert_true(storvsc_answered(&f.guest, 10));
	storvsc_run(&f.guest, 30);
	assert_int_equal(f.paused, 0);
}

static void pauses_in_a_flood_lose_nothing(void **state)
{
	unsigned sent = 0;

	(void)state;
	atomic_store(&f.unit.manner, UNIT_MIXED);
	for (unsigned round = 0; round < 40; round++) {
		for (unsigned i = 0; i < 25; i++)
			if (read_block(sent % 2, 10 + sent))
				sent++;
		pause_now();
		assert_int_equal(atomic_load(&f.unit.executing), 0);
		storvsp_controller_resume(f.controller);
	}
	assert_true(sent > 50); /* as many as there was time for */
	for (unsigned i = 0; i < sent; i++)
		assert_true(storvsc_answered(&f.guest, 10 + i));
}

static void a_channel_that_opens_in_a_pause_rests_until_resume(void **state)
{
	const struct vstor_packet begin = storvsc_packet(VSTOR_BEGIN_INITIALIZATION);

	(void)state;
	pause_now();
	assert_int_equal(storvsc_open(&f.guest, 0, RING_PAGES), 0);
	assert_true(storvsc_send(&f.guest, 0, 10, &begin, sizeof(begin)));
	storvsc_run(&f.guest, 20);
	assert_int_equal(f.guest.answers[10].count, 0);
	storvsp_controller_resume(f.controller);
	assert_true(storvsc_answered(&f.guest, 10));
}

/* ---- saved state ---- */

/* Saves the paused controller and its bus, and makes both anew. The guest notices nothing. */
static void move(struct storvsp_controller_config there, int expected)
{
	struct state_writer writer;
	struct state_reader reader, section;
	int rc;

	state_writer_init(&writer);
	assert_int_equal(storvsp_controller_save(f.controller, &writer), 0);
	assert_int_equal(vmbus_server_save(f.guest.server, &writer), 0);
	assert_int_equal(state_writer_result(&writer), 0);
	storvsp_controller_destroy(f.controller);
	storvsc_change_host(&f.guest);
	assert_int_equal(fake_controller_create(&f.guest.bus, &there, &f.controller), 0);
	assert_int_equal(storvsp_controller_add_unit(f.controller, 0, &f.unit), 0);
	state_reader_init(&reader, writer.bytes, writer.length);
	assert_int_equal(state_next(&reader, &section), 1);
	assert_int_equal(section.tag, STORVSP_STATE_TAG);
	rc = storvsp_controller_restore(f.controller, &section);
	assert_int_equal(rc, expected);
	if (rc == 0) {
		assert_int_equal(state_next(&reader, &section), 1);
		assert_int_equal(vmbus_server_restore(f.guest.server, &section, on_restored, NULL),
				 0);
		assert_true(storvsc_wait(&f.guest, &f.restored, 1, STORVSC_DEFAULT_PATIENCE));
		assert_int_equal(f.restore_status, 0);
	}
	state_writer_fini(&writer);
}

static void a_moved_controller_goes_on_where_it_was(void **state)
{
	struct storvsp_status status;

	(void)state;
	pause_now();
	assert_true(read_block(0, 10)); /* wait in the rings */
	assert_true(read_block(1, 11));
	move(config, 0);
	storvsc_run(&f.guest, 20);
	assert_int_equal(f.guest.answers[10].count, 0);
	storvsp_controller_resume(f.controller);
	assert_true(storvsc_answered(&f.guest, 10));
	assert_true(storvsc_answered(&f.guest, 11));
	assert_int_equal(f.guest.answers[10].packet.srb.srb_status, VSTOR_SRB_SUCCESS);
	storvsp_controller_get_status(f.controller, &status);
	assert_int_equal(status.version, 0x602);
	assert_int_equal(status.channels_open, 2);
	assert_true(read_block(1, 12));
	assert_true(storvsc_answered(&f.guest, 12));
}

static void a_guest_in_the_middle_of_initialization_goes_on_there(void **state)
{
	struct vstor_packet packet = storvsc_packet(VSTOR_BEGIN_INITIALIZATION);

	(void)state;
	assert_int_equal(storvsc_open(&f.guest, 0, RING_PAGES), 0);
	assert_non_null(storvsc_ask(&f.guest, 1, &packet));
	pause_now();
	move(config, 0);
	storvsp_controller_resume(f.controller);
	packet = storvsc_packet(VSTOR_QUERY_PROTOCOL_VERSION);
	packet.version = VSTOR_VERSION_6_2;
	assert_int_equal(storvsc_ask(&f.guest, 1, &packet)->header.status, 0);
}

static void a_closed_controller_moves_too(void **state)
{
	(void)state;
	pause_now();
	move(config, 0);
	storvsp_controller_resume(f.controller);
	assert_int_equal(storvsc_open(&f.guest, 0, RING_PAGES), 0);
	assert_true(storvsc_begin_session(&f.guest, VSTOR_VERSION_6_2));
}

static void answers_in_a_ring_that_nobody_reads_move_with_it(void **state)
{
	unsigned sent = 0;

	(void)state;
	f.guest.deaf = true;
	while (read_block(0, 10 + sent))
		sent++;
	wait_executed(sent); /* all that the ring holds */
	while (read_block(0, 10 + sent))
		sent++;
	pause_now();
	move(config, 0);
	storvsp_controller_resume(f.controller);
	f.guest.deaf = false;
	for (unsigned i = 0; i < sent; i++)
		assert_true(storvsc_answered(&f.guest, 10 + i));
}

static void a_notice_that_was_not_sent_is_sent_by_the_other_host(void **state)
{
	(void)state;
	assert_true(read_block(0, 10));
	assert_true(storvsc_answered(&f.guest, 10));
	pause_now();
	storvsp_controller_rescan(f.controller);
	storvsc_run(&f.guest, 20);
	assert_int_equal(f.guest.enumerations, 0);
	move(config, 0);
	storvsp_controller_resume(f.controller);
	assert_true(storvsc_wait(&f.guest, &f.guest.enumerations, 1, STORVSC_DEFAULT_PATIENCE));
}

static void a_broken_ring_does_not_keep_a_vm_from_moving(void **state)
{
	(void)state;
	atomic_store(&f.guest.channels[1].out.control[0], 0xfffffff8);
	storvsc_kick(&f.guest, 1);
	storvsc_run(&f.guest, 20);
	pause_now();
	move(config, 0);
	storvsp_controller_resume(f.controller);
	assert_true(read_block(0, 10));
	assert_true(storvsc_answered(&f.guest, 10));
}

static void fewer_channels_than_the_guest_was_promised_are_refused(void **state)
{
	struct storvsp_controller_config fewer = config;

	(void)state;
	fewer.max_sub_channels = 2;
	pause_now();
	move(fewer, -EOPNOTSUPP);
}

/* The section's bytes are: state, version, sub-channels, scanning, rescan, resets. */
static int restore_bytes(const uint8_t *bytes, size_t length, uint16_t version)
{
	struct state_writer writer;
	struct state_reader reader, section;
	int rc;

	state_writer_init(&writer);
	state_begin(&writer, STORVSP_STATE_TAG, version, version);
	state_put_bytes(&writer, bytes, length);
	state_end(&writer);
	state_reader_init(&reader, writer.bytes, writer.length);
	assert_int_equal(state_next(&reader, &section), 1);
	rc = storvsp_controller_restore(f.controller, &section);
	state_writer_fini(&writer);
	return rc;
}

static void malformed_state_is_refused(void **state)
{
	static const uint8_t good[15] = {4, 0x02, 0x06, 3, 0, 1, 0, 5};
	uint8_t bad[15];

	(void)state;
	for (size_t length = 0; length < sizeof(good); length++)
		assert_int_equal(restore_bytes(good, length, 1), -EPROTO);
	memcpy(bad, good, sizeof(bad));
	bad[0] = 5; /* a state that there is not */
	assert_int_equal(restore_bytes(bad, sizeof(bad), 1), -EPROTO);
	bad[0] = 1; /* a version too early */
	assert_int_equal(restore_bytes(bad, sizeof(bad), 1), -EPROTO);
	bad[0] = 4;
	bad[1] = 3; /* a version that nobody speaks */
	assert_int_equal(restore_bytes(bad, sizeof(bad), 1), -EPROTO);
	assert_int_equal(restore_bytes(good, sizeof(good), 2), -EOPNOTSUPP);
	assert_int_equal(restore_bytes(good, sizeof(good), 1), 0);
}

static void saved_bytes_are_these(void **state)
{
	static const uint8_t golden[] = {'S', 'T', 'O', 'R', 1, 0, 1, 0, 15, 0, 0, 0, 4, 2,
					 6,   3,   0,	0,   0, 1, 0, 0, 0,  0, 0, 0, 0};
	const struct vstor_packet packet = storvsc_packet(VSTOR_RESET_BUS);
	struct state_writer writer;

	(void)state;
	assert_non_null(storvsc_ask(&f.guest, 10, &packet));
	pause_now();
	state_writer_init(&writer);
	assert_int_equal(storvsp_controller_save(f.controller, &writer), 0);
	assert_int_equal(writer.length, sizeof(golden));
	assert_memory_equal(writer.bytes, golden, sizeof(golden));
	state_writer_fini(&writer);
}

/* ---- the end ---- */

static void *let_go_later(void *ctx)
{
	(void)ctx;
	usleep(50000);
	assert_int_equal(atomic_load(&f.unit.executing), 2);
	fake_unit_let_go(&f.unit);
	return NULL;
}

/* With a removal, a quiescing, a reset and a pause that wait, too. */
static void the_end_waits_for_what_is_under_way(void **state)
{
	const struct vstor_packet reset = storvsc_packet(VSTOR_RESET_BUS);
	pthread_t thread;

	(void)state;
	assert_int_equal(storvsp_controller_add_unit(f.controller, 1, &f.other), 0);
	atomic_store(&f.unit.manner, UNIT_HOLDS);
	assert_true(read_block(0, 10));
	assert_true(read_block(1, 11));
	wait_executed(2);
	assert_true(storvsc_send(&f.guest, 0, 12, &reset, sizeof(reset)));
	storvsc_run(&f.guest, 10);
	assert_int_equal(storvsp_controller_quiesce_unit(f.controller, 0, on_removed, NULL), 0);
	assert_true(read_block(0, 13)); /* held */
	storvsc_run(&f.guest, 10);
	assert_int_equal(storvsp_controller_remove_unit(f.controller, 0, on_removed, NULL), 0);
	storvsp_controller_pause(f.controller, 60000, on_paused, NULL);
	assert_int_equal(pthread_create(&thread, NULL, let_go_later, NULL), 0);
	storvsp_controller_destroy(f.controller);
	f.controller = NULL;
	assert_int_equal(atomic_load(&f.unit.executing), 0);
	assert_int_equal(atomic_load(&f.unit.executed), 2);
	assert_int_equal(f.removed, 0);
	assert_int_equal(f.paused, 0);
	pthread_join(thread, NULL);
}

static void the_end_while_a_channel_opens_or_closes(void **state)
{
	(void)state;
	storvsc_close(&f.guest, 1);
	storvsc_close(&f.guest, 0);
	storvsp_controller_destroy(f.controller);
	f.controller = NULL;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name)	cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define TEST_BARE(name) cmocka_unit_test_setup_teardown(name, set_up_bare, tear_down)
		TEST(a_pause_waits_for_what_is_under_way_and_takes_nothing_more),
		TEST(a_pause_over_its_deadline_is_none),
		TEST(a_pause_given_up_by_a_resume_calls_nobody),
		TEST(pauses_in_a_flood_lose_nothing),
		TEST_BARE(a_channel_that_opens_in_a_pause_rests_until_resume),
		TEST(a_moved_controller_goes_on_where_it_was),
		TEST_BARE(a_guest_in_the_middle_of_initialization_goes_on_there),
		TEST_BARE(a_closed_controller_moves_too),
		TEST(answers_in_a_ring_that_nobody_reads_move_with_it),
		TEST(a_notice_that_was_not_sent_is_sent_by_the_other_host),
		TEST(a_broken_ring_does_not_keep_a_vm_from_moving),
		TEST(fewer_channels_than_the_guest_was_promised_are_refused),
		TEST_BARE(malformed_state_is_refused),
		TEST(saved_bytes_are_these),
		TEST(the_end_waits_for_what_is_under_way),
		TEST(the_end_while_a_channel_opens_or_closes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
