/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The session against a fake target: what the target sees on the wire at login and after losses,
 * and that each command is done exactly once, whatever the target does.
 */
#include "iscsi-session/session.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/deadline.h"
#include "tests/unit/iscsi-session/fake_target.h"
#include "tests/unit/test_main.h"

#define BUFFER_BYTES 65536

struct io {
	struct session_command command; /* first */
	struct iovec iov[2];
	uint8_t buffer[BUFFER_BYTES];
	int done;
};

struct world {
	struct event_loop *loop;
	struct fake_target target;
	struct session *session;
	struct session_config config;
	int opened;
	struct login_result result;
	bool logged_out;
	struct io io[140];
};

static void on_opened(void *ctx, const struct login_result *result)
{
	struct world *w = ctx;

	w->opened++;
	w->result = *result;
}

static const struct session_ops ops = {.opened = on_opened};

static int set_up(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	if (w == NULL || event_loop_create(&w->loop) < 0 ||
	    fake_target_create(w->loop, &w->target) < 0)
		return -1;
	w->config = (struct session_config){
		.login =
			{
				.initiator_name = "iqn.2025-11.test:guest",
				.portal = w->target.portal,
				.target = "iqn.2025-11.test:disk",
				.isid_random = 0x123456,
				.isid_qualifier = 3,
			},
		.timeouts = {.login_s = 2,
			     .nop_interval_s = 1,
			     .nop_timeout_s = 1,
			     .replacement_s = 2,
			     .abort_s = 1},
		.lun = 3,
	};
	*state = w;
	return 0;
}

static int tear_down(void **state)
{
	struct world *w = *state;

	session_destroy(w->session);
	fake_target_destroy(&w->target);
	event_loop_destroy(w->loop);
	free(w);
	return 0;
}

static void run_round(struct world *w, struct deadline deadline, const char *condition)
{
	if (deadline_passed(deadline))
		fail_msg("never: %s", condition);
	event_loop_run_once(w->loop, 100);
}

#define RUN_UNTIL(w, condition)                                                                    \
	for (struct deadline run_deadline = deadline_in_ms(8000); !(condition);)                   \
	run_round(w, run_deadline, #condition)

static void run_for_ms(struct world *w, uint32_t ms)
{
	struct deadline deadline = deadline_in_ms(ms);

	while (!deadline_passed(deadline))
		event_loop_run_once(w->loop, deadline_left_ms(deadline));
}

static void open_session(struct world *w)
{
	assert_int_equal(session_create(w->loop, &w->config, &ops, w, &w->session), 0);
	RUN_UNTIL(w, w->opened == 1);
}

static struct session_status status_of(struct world *w)
{
	struct session_status status;

	session_get_status(w->session, &status);
	return status;
}

static void on_done(struct session_command *command)
{
	((struct io *)command)->done++;
}

/* READ(10) or WRITE(10) of bytes at lba, in two iovecs. */
static void submit(struct world *w, int n, uint8_t opcode, uint8_t lba, uint32_t bytes)
{
	struct io *io = &w->io[n];

	io->done = 0;
	memset(io->buffer, opcode == 0x2a ? lba : 0xee, bytes);
	io->iov[0] = (struct iovec){io->buffer, bytes / 4};
	io->iov[1] = (struct iovec){io->buffer + bytes / 4, bytes - bytes / 4};
	io->command = (struct session_command){
		.cdb = {opcode, [5] = lba, [8] = (uint8_t)(bytes / 512)},
		.cdb_length = 10,
		.direction = opcode == 0x2a ? CDB_DATA_OUT : CDB_DATA_IN,
		.data_bytes = bytes,
		.iov = io->iov,
		.iov_count = 2,
		.done = on_done,
	};
	session_submit(w->session, &io->command);
}

static void login_carries_our_isid_and_parameters(void **state)
{
	static const uint8_t isid_and_tsih[8] = {0x80, 0x12, 0x34, 0x56, 0x00, 0x03, 0x00, 0x00};
	struct world *w = *state;
	const char *text = w->target.login_text;

	open_session(w);
	assert_int_equal(w->result.code, EXIT_OK);
	assert_memory_equal(w->target.login_header + 8, isid_and_tsih, sizeof(isid_and_tsih));
	assert_non_null(strstr(text, "InitiatorName=iqn.2025-11.test:guest\n"));
	assert_non_null(strstr(text, "TargetName=iqn.2025-11.test:disk\n"));
	assert_non_null(strstr(text, "MaxBurstLength=1048576\n"));
	assert_non_null(strstr(text, "FirstBurstLength=262144\n"));
	assert_non_null(strstr(text, "MaxRecvDataSegmentLength=262144\n"));
	assert_non_null(strstr(text, "InitialR2T=No\n"));
	assert_non_null(strstr(text, "ImmediateData=Yes\n"));
	assert_non_null(strstr(text, "HeaderDigest=None\n"));
}

static void negotiated_values_are_the_targets(void **state)
{
	struct world *w = *state;
	struct session_status status;

	w->target.login_keys =
		"MaxRecvDataSegmentLength=65536\nInitialR2T=Yes\nMaxBurstLength=16384\n"
		"FirstBurstLength=4096\n";
	open_session(w);
	status = status_of(w);
	assert_int_equal(status.state, SESSION_UP);
	assert_int_equal(status.negotiated.max_send_segment_bytes, 65536);
	assert_int_equal(status.negotiated.max_burst_bytes, 16384);
	assert_int_equal(status.negotiated.first_burst_bytes, 4096);
	assert_true(status.negotiated.initial_r2t);
}

static void login_refusals_have_their_codes(void **state)
{
	static const struct {
		uint16_t status;
		enum exit_code code;
	} cases[] = {{0x0201, EXIT_AUTH_FAILED},
		     {0x0202, EXIT_AUTH_FAILED},
		     {0x0203, EXIT_UNKNOWN_TARGET},
		     {0x0301, EXIT_INTERNAL}};
	struct world *w = *state;

	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		w->opened = 0;
		w->target.login_status = cases[i].status;
		open_session(w);
		assert_int_equal(w->result.code, cases[i].code);
		assert_int_equal(status_of(w).state, SESSION_CLOSED);
		session_destroy(w->session);
		w->session = NULL;
	}
}

static void refusal_with_a_reset_behind_it_is_still_a_refusal(void **state)
{
	struct world *w = *state;

	w->target.login_status = 0x0203;
	w->target.reset_refused = true;
	open_session(w);
	assert_int_equal(w->result.code, EXIT_UNKNOWN_TARGET);
}

static void unreachable_and_silent_portals_end_in_time(void **state)
{
	struct world *w = *state;

	fake_target_listen(&w->target, false);
	open_session(w);
	assert_int_equal(w->result.code, EXIT_PORTAL_UNREACHABLE);
	session_destroy(w->session);
	fake_target_listen(&w->target, true);
	w->opened = 0;
	w->target.mute_login = true;
	open_session(w);
	assert_int_equal(w->result.code, EXIT_PORTAL_UNREACHABLE);
	assert_non_null(strstr(w->result.message, "time-out"));
}

static void zero_segment_length_fails_the_login(void **state)
{
	struct world *w = *state;

	w->target.login_keys = "MaxRecvDataSegmentLength=0\n";
	open_session(w);
	assert_int_equal(w->result.code, EXIT_INTERNAL);
}

static void target_that_skips_its_proof_is_refused(void **state)
{
	struct world *w = *state;

	w->config.login.user = "joe";
	w->config.login.secret = "secretsecret";
	w->config.login.mutual_user = "san";
	w->config.login.mutual_secret = "mutualmutual";
	open_session(w); /* the fake jumps to full feature without a word of CHAP */
	assert_int_equal(w->result.code, EXIT_AUTH_FAILED);
}

static void header_digest_can_be_required(void **state)
{
	struct world *w = *state;

	w->config.login.header_digest = DIGEST_REQUIRE;
	open_session(w);
	assert_non_null(strstr(w->target.login_text, "HeaderDigest=CRC32C\n"));
	assert_int_equal(w->result.code, EXIT_INTERNAL);
}

static void read_scatters_into_the_buffers(void **state)
{
	struct world *w = *state;

	open_session(w);
	submit(w, 0, 0x28, 0x5a, 8192);
	session_flush(w->session);
	RUN_UNTIL(w, w->io[0].done == 1);
	assert_int_equal(w->io[0].command.status, 0);
	assert_int_equal(w->io[0].command.received_bytes, 8192);
	for (int i = 0; i < 8192; i++)
		assert_int_equal(w->io[0].buffer[i], 0x5a);
	assert_int_equal(get_be16(w->target.commands[0].header + 8),
			 3); /* LUN, peripheral addressing */
}

static void write_sends_all_its_bytes(void **state)
{
	struct world *w = *state;

	open_session(w);
	submit(w, 0, 0x2a, 7, 65536); /* immediate data, then Data-Out in 8 KiB segments */
	session_flush(w->session);
	RUN_UNTIL(w, w->io[0].done == 1);
	assert_int_equal(w->io[0].command.status, 0);
	assert_int_equal(w->target.commands[0].data_bytes, 65536);
	assert_int_equal(w->target.commands[0].data_sum, 65536 * 7);
}

static void underflow_tells_what_came(void **state)
{
	struct world *w = *state;

	open_session(w);
	w->target.underflow_bytes = 100;
	submit(w, 0, 0x28, 1, 512);
	session_flush(w->session);
	RUN_UNTIL(w, w->io[0].done == 1);
	assert_int_equal(w->io[0].command.received_bytes, 412);
}

static void sense_is_the_targets_own(void **state)
{
	struct world *w = *state;

	open_session(w);
	w->target.check_condition = true;
	submit(w, 0, 0x28, 1, 512);
	session_flush(w->session);
	RUN_UNTIL(w, w->io[0].done == 1);
	assert_int_equal(w->io[0].command.status, 2);
	assert_int_equal(w->io[0].command.sense_length, 18);
	assert_int_equal(w->io[0].command.sense[0], 0x70);
	assert_int_equal(w->io[0].command.sense[12], 0x29);
}

static void check_condition_without_sense_does_no_harm(void **state)
{
	struct world *w = *state;

	open_session(w);
	w->target.check_condition = true;
	for (int i = 0; i < 4; i++) {
		w->target.sense_bytes = (size_t)i;
		submit(w, i, 0x28, 1, 512);
		session_flush(w->session);
		RUN_UNTIL(w, w->io[i].done == 1);
		assert_int_equal(w->io[i].command.status, 2);
		assert_true(w->io[i].command.sense_length > 0);
	}
}

static void commands_wait_above_the_queue_depth(void **state)
{
	struct world *w = *state;

	open_session(w);
	w->target.hold_commands = true;
	for (int i = 0; i < 140; i++)
		submit(w, i, 0x28, 1, 512);
	session_flush(w->session);
	RUN_UNTIL(w, w->target.command_count == SESSION_COMMANDS_MAX);
	run_for_ms(w, 50);
	assert_int_equal(w->target.command_count, SESSION_COMMANDS_MAX);
	assert_int_equal(status_of(w).commands_waiting, 140 - SESSION_COMMANDS_MAX);
	w->target.hold_commands = false;
	fake_target_answer_all(&w->target);
	RUN_UNTIL(w, w->io[139].done == 1);
	for (int i = 0; i < 140; i++)
		assert_int_equal(w->io[i].done, 1);
}

static void lost_commands_are_sent_again_in_order_under_the_same_isid(void **state)
{
	static const uint8_t isid_and_tsih[8] = {0x80, 0x12, 0x34, 0x56, 0x00, 0x03, 0x00, 0x00};
	struct world *w = *state;

	open_session(w);
	w->target.hold_commands = true;
	for (int i = 0; i < 40; i++)
		submit(w, i, 0x2a, (uint8_t)i, 16384);
	session_flush(w->session);
	RUN_UNTIL(w, w->target.command_count == 40);
	fake_target_drop(&w->target);
	w->target.command_count = 0;
	w->target.hold_commands = false;
	RUN_UNTIL(w, w->io[39].done == 1);
	assert_int_equal(w->target.logins, 2);
	assert_memory_equal(w->target.login_header + 8, isid_and_tsih, sizeof(isid_and_tsih));
	assert_int_equal(w->target.command_count, 40);
	for (int i = 0; i < 40; i++) {
		assert_int_equal(w->target.commands[i].header[32 + 5], i);
		assert_int_equal(w->target.commands[i].data_sum, 16384 * i);
		assert_int_equal(w->io[i].done, 1);
		assert_int_equal(w->io[i].command.status, 0);
	}
	assert_int_equal(status_of(w).counters.reconnects, 1);
	assert_int_equal(status_of(w).counters.resent, 40);
}

static void connection_cut_in_the_middle_of_a_pdu_is_replaced(void **state)
{
	struct world *w = *state;
	uint8_t half[20] = {0x25, 0x81};

	open_session(w);
	w->target.hold_commands = true;
	submit(w, 0, 0x28, 9, 4096);
	session_flush(w->session);
	RUN_UNTIL(w, w->target.command_count == 1);
	fake_target_send(&w->target, half, sizeof(half));
	run_for_ms(w, 20);
	fake_target_drop(&w->target);
	w->target.hold_commands = false;
	RUN_UNTIL(w, w->io[0].done == 1);
	assert_int_equal(w->io[0].command.status, 0);
	assert_int_equal(w->io[0].buffer[4095], 9);
}

static void a_command_that_must_not_run_twice_is_given_back(void **state)
{
	struct world *w = *state;

	open_session(w);
	w->target.hold_commands = true;
	submit(w, 0, 0x2a, 1, 512);
	w->io[0].command.cdb[0] = 0x5f; /* PERSISTENT RESERVE OUT */
	session_flush(w->session);
	RUN_UNTIL(w, w->target.command_count == 1);
	fake_target_drop(&w->target);
	RUN_UNTIL(w, w->io[0].done == 1);
	assert_int_equal(w->io[0].command.status, 2);
	assert_int_equal(w->io[0].command.sense[2], 6); /* UNIT ATTENTION */
	assert_int_equal(w->io[0].command.sense[12], 0x29);
	assert_int_equal(w->io[0].command.sense[13], 0x07);
	run_for_ms(w, 100);
	assert_int_equal(w->target.command_count, 1);
}

static void loss_during_the_next_login_is_survived(void **state)
{
	struct world *w = *state;

	w->config.timeouts.replacement_s = 60;
	open_session(w);
	w->target.hold_commands = true;
	submit(w, 0, 0x2a, 1, 512);
	session_flush(w->session);
	RUN_UNTIL(w, w->target.command_count == 1);
	w->target.mute_login = true;
	fake_target_drop(&w->target);
	RUN_UNTIL(w, w->target.connections == 2);
	run_for_ms(w, 20);
	fake_target_drop(&w->target); /* the second fault, while recovering from the first */
	w->target.mute_login = false;
	w->target.hold_commands = false;
	RUN_UNTIL(w, w->io[0].done == 1);
	assert_int_equal(w->io[0].command.status, 0);
}

static void commands_fail_after_the_replacement_timeout_and_work_again_later(void **state)
{
	struct world *w = *state;
	uint64_t start = monotonic_ns();

	open_session(w);
	fake_target_listen(&w->target, false);
	fake_target_drop(&w->target);
	run_for_ms(w, 50);
	submit(w, 0, 0x2a, 1, 512);
	session_flush(w->session);
	RUN_UNTIL(w, w->io[0].done == 1);
	assert_true(monotonic_ns() - start >= 2 * NS_PER_SEC);
	assert_int_equal(w->io[0].command.status, 2);
	assert_int_equal(w->io[0].command.sense[2], 2); /* NOT READY */
	assert_int_equal(w->io[0].command.sense[12], 8);
	assert_int_equal(status_of(w).state, SESSION_FAILED);
	submit(w, 1, 0x2a, 1, 512);
	assert_int_equal(w->io[1].done, 0); /* not from within the call */
	session_flush(w->session);
	RUN_UNTIL(w, w->io[1].done == 1);
	assert_int_equal(w->io[1].command.status, 2);
	fake_target_listen(&w->target, true);
	RUN_UNTIL(w, status_of(w).state == SESSION_UP);
	submit(w, 2, 0x2a, 1, 512);
	session_flush(w->session);
	RUN_UNTIL(w, w->io[2].done == 1);
	assert_int_equal(w->io[2].command.status, 0);
}

/* The clock of the replacement time-out must not start before the loss: it once failed everything
 * at once. */
static void silent_target_is_found_by_nop_and_commands_wait(void **state)
{
	struct world *w = *state;

	w->config.timeouts.replacement_s = 60;
	open_session(w);
	w->target.mute_nop = true;
	w->target.hold_commands = true;
	submit(w, 0, 0x2a, 1, 512);
	session_flush(w->session);
	RUN_UNTIL(w, w->target.nops > 0);
	RUN_UNTIL(w, w->target.logins == 2);
	assert_int_equal(w->io[0].done, 0);
	fake_target_answer_all(&w->target);
	w->target.hold_commands = false;
	w->target.mute_nop = false;
	RUN_UNTIL(w, w->target.command_count == 2);
	fake_target_answer_all(&w->target);
	RUN_UNTIL(w, w->io[0].done == 1);
	assert_int_equal(w->io[0].command.status, 0);
}

static void answered_nops_keep_the_connection(void **state)
{
	struct world *w = *state;

	open_session(w);
	run_for_ms(w, 3500);
	assert_true(w->target.nops >= 2);
	assert_int_equal(w->target.logins, 1);
	assert_int_equal(status_of(w).state, SESSION_UP);
}

static void abort_reaches_the_target_and_ends_the_command(void **state)
{
	struct world *w = *state;

	open_session(w);
	w->target.hold_commands = true;
	submit(w, 0, 0x2a, 1, 512);
	submit(w, 1, 0x28, 1, 512);
	session_flush(w->session);
	RUN_UNTIL(w, w->target.command_count == 2);
	session_abort_command(w->session, &w->io[0].command);
	session_reset_lun(w->session);
	session_flush(w->session);
	RUN_UNTIL(w, w->io[0].done == 1);
	assert_int_equal(w->io[0].command.status, 0x40); /* TASK ABORTED */
	assert_int_equal(w->target.aborts, 1);
	assert_int_equal(w->io[1].done, 0);
	/* Its late answer goes nowhere. */
	fake_target_answer_all(&w->target);
	RUN_UNTIL(w, w->io[1].done == 1);
	assert_int_equal(w->target.lun_resets, 1);
	assert_int_equal(w->io[0].done, 1);
}

static void unanswered_abort_costs_the_connection(void **state)
{
	struct world *w = *state;

	w->config.timeouts.nop_interval_s = 0;
	open_session(w);
	w->target.hold_commands = true;
	w->target.mute_abort = true;
	submit(w, 0, 0x2a, 1, 512);
	session_flush(w->session);
	RUN_UNTIL(w, w->target.command_count == 1);
	session_abort_command(w->session, &w->io[0].command);
	session_flush(w->session);
	RUN_UNTIL(w, w->io[0].done == 1);
	assert_int_equal(w->io[0].command.status, 0x40);
	RUN_UNTIL(w, w->target.logins == 2);
	assert_int_equal(w->target.command_count, 1);
}

static void hostile_pdus_cost_the_connection_only(void **state)
{
	/* Header only: an R2T for 4 GiB, Data-In past the buffer, an unknown opcode, a segment of
	 * 16 MiB. */
	static const struct {
		uint8_t bytes[48];
		bool takes_itt;
	} pdus[] = {
		{{0x31, 0x80, [44] = 0xff, 0xff, 0xff, 0xff}, true},
		{{0x31, 0x80, [40] = 0xff, 0xff, 0xff, 0xf0, 0, 0, 0x02, 0}, true},
		{{0x25, 0x80, [7] = 4, [40] = 0xff, 0xff, 0xff, 0xff}, true},
		{{0x3e, 0x80}, true},
		{{0x20, 0x80, [5] = 0xff, 0xff, 0xff}, false},
		{{0x3f, 0x80, 0x04}, false},
		{{0x32, 0x80, [36] = 0x77}, false},
		{{0x21, 0x80, [4] = 0x10}, true},
	};
	struct world *w = *state;

	w->config.timeouts.replacement_s = 60;
	open_session(w);
	for (size_t i = 0; i < ARRAY_LENGTH(pdus); i++) {
		uint8_t pdu[64] = {0};
		w->target.hold_commands = true;
		w->target.command_count = 0;
		submit(w, (int)i, i % 2 == 0 ? 0x2a : 0x28, 3, 4096);
		session_flush(w->session);
		RUN_UNTIL(w, w->target.command_count == 1);
		memcpy(pdu, pdus[i].bytes, 48);
		if (pdus[i].takes_itt)
			memcpy(pdu + 16, w->target.commands[0].header + 16, 4);
		else
			memset(pdu + 16, 0xff, 4);
		put_be32(pdu + 24, w->target.stat_sn);
		put_be32(pdu + 28, get_be32(w->target.commands[0].header + 24) + 1);
		put_be32(pdu + 32, get_be32(w->target.commands[0].header + 24) + 64);
		fake_target_send(&w->target, pdu, 52);
		run_for_ms(w, 50);
		fake_target_drop(&w->target);
		w->target.hold_commands = false;
		RUN_UNTIL(w, w->io[i].done == 1);
	}
}

static void use_digests(struct world *w, bool header, bool data)
{
	static char keys[256];

	snprintf(keys, sizeof(keys),
		 "MaxRecvDataSegmentLength=8192\nInitialR2T=No\nHeaderDigest=%s\nDataDigest=%s\n",
		 header ? "CRC32C" : "None", data ? "CRC32C" : "None");
	w->target.login_keys = keys;
	w->target.header_digest = header;
	w->target.data_digest = data;
	w->config.login.header_digest = header ? DIGEST_REQUIRE : DIGEST_NONE;
	w->config.login.data_digest = data ? DIGEST_REQUIRE : DIGEST_NONE;
}

static void read_and_write_some(struct world *w, int count)
{
	for (int i = 0; i < count; i++)
		submit(w, i, i % 2 == 0 ? 0x2a : 0x28, (uint8_t)(i + 1),
		       (uint32_t)(i % 8 + 1) * 512);
	session_flush(w->session);
	for (int i = 0; i < count; i++) {
		RUN_UNTIL(w, w->io[i].done == 1);
		assert_int_equal(w->io[i].command.status, 0);
		for (uint32_t k = 0; k < w->io[i].command.data_bytes; k++)
			if (w->io[i].buffer[k] != (uint8_t)(i + 1))
				fail_msg("command %d, byte %u", i, k);
	}
}

static void digests_are_right_both_ways(void **state)
{
	struct world *w = *state;

	for (int mode = 0; mode < 4; mode++) {
		w->opened = 0;
		use_digests(w, (mode & 1) != 0, (mode & 2) != 0);
		open_session(w);
		assert_int_equal(w->result.code, EXIT_OK);
		assert_int_equal(status_of(w).negotiated.header_digest, mode & 1);
		assert_int_equal(status_of(w).negotiated.data_digest, (mode & 2) >> 1);
		read_and_write_some(w, 40);
		assert_int_equal(w->target.bad_digests, 0);
		assert_int_equal(w->target.connections, mode + 1);
		session_destroy(w->session);
		w->session = NULL;
	}
}

/* Every way of cutting a segment and its digest into pieces comes up. */
static void digests_survive_a_trickle(void **state)
{
	static const size_t pieces[] = {7, 53, 101};
	struct world *w = *state;

	w->config.timeouts.replacement_s = 60;
	w->config.timeouts.nop_interval_s = 0;
	for (size_t i = 0; i < ARRAY_LENGTH(pieces); i++) {
		w->opened = 0;
		w->target.trickle_bytes = 0;
		use_digests(w, i % 2 != 0, true);
		open_session(w);
		w->target.trickle_bytes = pieces[i];
		w->target.underflow_bytes = 3; /* so that there is padding */
		submit(w, 0, 0x28, 0x21, 512);
		submit(w, 1, 0x28, 0x22, 1024);
		session_flush(w->session);
		for (int n = 0; n < 2; n++) {
			RUN_UNTIL(w, w->io[n].done == 1);
			assert_int_equal(w->io[n].command.status, 0);
			assert_int_equal(w->io[n].command.received_bytes,
					 w->io[n].command.data_bytes - 3);
			for (uint32_t k = 0; k < w->io[n].command.received_bytes; k++)
				assert_int_equal(w->io[n].buffer[k], 0x21 + n);
		}
		assert_int_equal(status_of(w).counters.reconnects, 0);
		session_destroy(w->session);
		w->session = NULL;
	}
}

static void digests_survive_a_full_socket(void **state)
{
	struct world *w = *state;

	w->config.timeouts.replacement_s = 60;
	w->config.timeouts.nop_interval_s = 0;
	fake_target_narrow(&w->target);
	use_digests(w, true, true);
	open_session(w);
	for (int i = 0; i < 100; i++)
		submit(w, i, 0x2a, (uint8_t)i, 65536);
	session_flush(w->session);
	RUN_UNTIL(w, w->io[99].done == 1);
	assert_int_equal(w->target.bad_digests, 0);
	for (int i = 0; i < 100; i++) {
		assert_int_equal(w->target.commands[i].data_sum, 65536 * i);
		assert_int_equal(w->io[i].done, 1);
	}
	assert_int_equal(status_of(w).counters.reconnects, 0);
}

static void corrupt_data_is_never_handed_over(void **state)
{
	struct world *w = *state;

	w->config.timeouts.replacement_s = 60;
	use_digests(w, false, true);
	open_session(w);
	w->target.corrupt_data = true;
	submit(w, 0, 0x28, 0x33, 4096);
	session_flush(w->session);
	RUN_UNTIL(w, w->target.logins == 2);
	assert_int_equal(w->io[0].done, 0);
	w->target.corrupt_data = false;
	RUN_UNTIL(w, w->io[0].done == 1);
	assert_int_equal(w->io[0].command.status, 0);
	for (int k = 0; k < 4096; k++)
		assert_int_equal(w->io[0].buffer[k], 0x33);
}

static void data_digest_can_be_required(void **state)
{
	struct world *w = *state;

	w->config.login.data_digest = DIGEST_REQUIRE;
	open_session(w);
	assert_non_null(strstr(w->target.login_text, "DataDigest=CRC32C\n"));
	assert_int_equal(w->result.code, EXIT_INTERNAL);
	session_destroy(w->session);
	w->opened = 0;
	w->config.login.data_digest = DIGEST_PREFER;
	w->session = NULL;
	open_session(w);
	assert_non_null(strstr(w->target.login_text, "DataDigest=CRC32C,None\n"));
	assert_int_equal(w->result.code, EXIT_OK);
}

static void on_logged_out(void *ctx)
{
	((struct world *)ctx)->logged_out = true;
}

static void logout_is_said_to_the_target(void **state)
{
	struct world *w = *state;

	open_session(w);
	session_logout(w->session, on_logged_out, w);
	RUN_UNTIL(w, w->logged_out);
	assert_int_equal(w->target.logouts, 1);
	run_for_ms(w, 1500);
	assert_int_equal(w->target.logins, 1);
}

static void destroy_ends_what_is_under_way(void **state)
{
	struct world *w = *state;

	open_session(w);
	w->target.hold_commands = true;
	for (int i = 0; i < 140; i++)
		submit(w, i, i % 2 == 0 ? 0x2a : 0x28, 1, 32768);
	session_flush(w->session);
	session_destroy(w->session);
	w->session = NULL;
	for (int i = 0; i < 140; i++)
		assert_int_equal(w->io[i].done, 1);
}

static void name_conflict_is_suspected_after_quick_losses(void **state)
{
	struct world *w = *state;

	open_session(w);
	for (int i = 0; i < 3; i++) {
		assert_false(status_of(w).name_conflict_suspected);
		fake_target_drop(&w->target);
		RUN_UNTIL(w, status_of(w).state != SESSION_UP);
		RUN_UNTIL(w, status_of(w).state == SESSION_UP);
	}
	assert_true(status_of(w).name_conflict_suspected);
}

#define SESSION_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		SESSION_TEST(login_carries_our_isid_and_parameters),
		SESSION_TEST(negotiated_values_are_the_targets),
		SESSION_TEST(login_refusals_have_their_codes),
		SESSION_TEST(refusal_with_a_reset_behind_it_is_still_a_refusal),
		SESSION_TEST(unreachable_and_silent_portals_end_in_time),
		SESSION_TEST(zero_segment_length_fails_the_login),
		SESSION_TEST(target_that_skips_its_proof_is_refused),
		SESSION_TEST(header_digest_can_be_required),
		SESSION_TEST(read_scatters_into_the_buffers),
		SESSION_TEST(write_sends_all_its_bytes),
		SESSION_TEST(underflow_tells_what_came),
		SESSION_TEST(sense_is_the_targets_own),
		SESSION_TEST(check_condition_without_sense_does_no_harm),
		SESSION_TEST(commands_wait_above_the_queue_depth),
		SESSION_TEST(lost_commands_are_sent_again_in_order_under_the_same_isid),
		SESSION_TEST(connection_cut_in_the_middle_of_a_pdu_is_replaced),
		SESSION_TEST(a_command_that_must_not_run_twice_is_given_back),
		SESSION_TEST(loss_during_the_next_login_is_survived),
		SESSION_TEST(commands_fail_after_the_replacement_timeout_and_work_again_later),
		SESSION_TEST(silent_target_is_found_by_nop_and_commands_wait),
		SESSION_TEST(answered_nops_keep_the_connection),
		SESSION_TEST(abort_reaches_the_target_and_ends_the_command),
		SESSION_TEST(unanswered_abort_costs_the_connection),
		SESSION_TEST(hostile_pdus_cost_the_connection_only),
		SESSION_TEST(digests_are_right_both_ways),
		SESSION_TEST(digests_survive_a_trickle),
		SESSION_TEST(digests_survive_a_full_socket),
		SESSION_TEST(corrupt_data_is_never_handed_over),
		SESSION_TEST(data_digest_can_be_required),
		SESSION_TEST(logout_is_said_to_the_target),
		SESSION_TEST(destroy_ends_what_is_under_way),
		SESSION_TEST(name_conflict_is_suspected_after_quick_losses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
