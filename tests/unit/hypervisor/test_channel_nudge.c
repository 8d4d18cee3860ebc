/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A guest that missed the first interrupt of a channel gets another: seen in its event flags page
 * and on the VP's interrupt.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/deadline.h"
#include "base/event_loop.h"
#include "hypervisor/channel_nudge.h"
#include "hypervisor/engine.h"
#include "tests/unit/vmbus/memory_fixture.h"
#include "vmbus/event_signal.h"
#include "vmbus/guest_memory.h"
#include "vmbus/server.h"
#include "wire/tlfs.h"

#define SIEFP_GPA UINT64_C(0x4000)
#define VP	  1

struct engine_partition {
	int raise;
};

static int fake_sint(struct engine_partition *partition, uint32_t vp, struct engine_sint_fds *fds)
{
	if (vp != VP)
		return -EINVAL;
	fds->raise = partition->raise;
	return 0;
}

static const struct engine_ops fake_engine = {.get_sint_fds = fake_sint};

struct bench {
	struct event_loop *loop;
	struct guest_memory *memory;
	struct signal_table signals;
	struct engine_partition partition;
	struct channel_nudge *nudge;
};

static struct bench bench;

static int setup(void **state)
{
	struct channel_nudge_config config;

	(void)state;
	memset(&bench, 0, sizeof(bench));
	bench.memory = fixture_memory(16);
	bench.partition.raise = eventfd(0, EFD_NONBLOCK);
	if (event_loop_create(&bench.loop) || signal_table_init(&bench.signals, -1))
		return -1;
	bench.signals.siefp[VP] = SIEFP_GPA | 1;
	config = (struct channel_nudge_config){
		.loop = bench.loop,
		.memory = bench.memory,
		.signals = &bench.signals,
		.engine = &fake_engine,
		.partition = &bench.partition,
	};
	return channel_nudge_create(&config, &bench.nudge);
}

static int teardown(void **state)
{
	(void)state;
	channel_nudge_destroy(bench.nudge);
	close(bench.partition.raise);
	signal_table_fini(&bench.signals);
	event_loop_destroy(bench.loop);
	guest_memory_destroy(bench.memory);
	return 0;
}

static void run_ms(uint32_t ms)
{
	struct deadline deadline = deadline_in_ms(ms);

	while (!deadline_passed(deadline))
		assert_int_equal(event_loop_run_once(bench.loop, deadline_left_ms(deadline)), 0);
}

static uint64_t interrupts(void)
{
	uint64_t count = 0;

	return read(bench.partition.raise, &count, sizeof(count)) == sizeof(count) ? count : 0;
}

/* The event flags of SINT2 that the guest finds, which it clears. */
static uint64_t flags_take(void)
{
	const uint64_t gpa = SIEFP_GPA + (uint64_t)VMBUS_SINT * HV_EVENT_FLAGS_BYTES;
	const uint64_t zero = 0;
	uint64_t flags;

	assert_int_equal(guest_memory_read(bench.memory, gpa, &flags, sizeof(flags)), 0);
	assert_int_equal(guest_memory_write(bench.memory, gpa, &zero, sizeof(zero)), 0);
	return flags;
}

static void opened_channel_is_signalled_once_more_and_not_again(void **state)
{
	(void)state;
	channel_nudge_opened(bench.nudge, 5, VP);
	assert_int_equal(flags_take(), 0); /* the guest is still busy with OPEN_RESULT */
	run_ms(CHANNEL_NUDGE_MS + 50);
	assert_int_equal(flags_take(), UINT64_C(1) << 5);
	assert_int_equal(interrupts(), 1);
	run_ms(2 * CHANNEL_NUDGE_MS);
	assert_int_equal(flags_take(), 0);
	assert_int_equal(interrupts(), 0);
}

static void channel_that_opens_later_has_its_time_too(void **state)
{
	struct deadline earliest;

	(void)state;
	channel_nudge_opened(bench.nudge, 5, VP);
	run_ms(CHANNEL_NUDGE_MS / 2);
	channel_nudge_opened(bench.nudge, 6, VP);
	earliest = deadline_in_ms(CHANNEL_NUDGE_MS);
	for (uint64_t seen = 0; !(seen & UINT64_C(1) << 6); seen |= flags_take())
		run_ms(10);
	assert_true(deadline_passed(earliest));
	assert_int_equal(interrupts(), 2);
}

static void channel_without_interrupts_or_with_a_wrong_vp_is_left_alone(void **state)
{
	(void)state;
	channel_nudge_opened(bench.nudge, 5, VMBUS_NO_INTERRUPTS);
	channel_nudge_opened(bench.nudge, VMBUS_MAX_CHANNELS + 1, VP);
	channel_nudge_opened(bench.nudge, 7, VP + 1);
	run_ms(CHANNEL_NUDGE_MS + 50);
	assert_int_equal(flags_take(), 0);
	assert_int_equal(interrupts(), 0);
}

static void save(struct state_writer *writer)
{
	state_writer_init(writer);
	channel_nudge_pause(bench.nudge);
	assert_int_equal(channel_nudge_save(bench.nudge, writer), 0);
}

static int restore_anew(const void *bytes, size_t length)
{
	const struct channel_nudge_config config = {
		.loop = bench.loop,
		.memory = bench.memory,
		.signals = &bench.signals,
		.engine = &fake_engine,
		.partition = &bench.partition,
	};
	struct state_reader reader, section;
	int result;

	channel_nudge_destroy(bench.nudge);
	assert_int_equal(channel_nudge_create(&config, &bench.nudge), 0);
	state_reader_init(&reader, bytes, length);
	result = state_next(&reader, &section);
	return result == 1 ? channel_nudge_restore(bench.nudge, &section) : result;
}

static void channels_that_wait_are_signalled_elsewhere(void **state)
{
	static const uint8_t golden[] = {'N', 'U', 'D', 'G', 1,	 0, 1, 0, 20, 0, 0, 0, 2,  0, 0, 0,
					 5,   0,   0,	0,   VP, 0, 0, 0, 6,  0, 0, 0, VP, 0, 0, 0};
	struct state_writer writer;

	(void)state;
	channel_nudge_opened(bench.nudge, 5, VP);
	save(&writer);
	channel_nudge_opened(bench.nudge, 6, VP); /* a device was still at work */
	state_writer_fini(&writer);
	save(&writer);
	assert_int_equal(writer.length, sizeof(golden));
	assert_memory_equal(writer.bytes, golden, sizeof(golden));
	run_ms(CHANNEL_NUDGE_MS + 50);
	assert_int_equal(flags_take(), 0); /* paused */
	assert_int_equal(restore_anew(writer.bytes, writer.length), 0);
	run_ms(CHANNEL_NUDGE_MS + 50);
	assert_int_equal(flags_take(), 0); /* still */
	channel_nudge_resume(bench.nudge);
	run_ms(CHANNEL_NUDGE_MS + 50);
	assert_int_equal(flags_take(), UINT64_C(3) << 5);
	state_writer_fini(&writer);
}

static void cut_newer_or_absurd_section_is_refused(void **state)
{
	struct state_writer writer;

	(void)state;
	channel_nudge_opened(bench.nudge, 5, VP);
	save(&writer);
	for (size_t cut = 1; cut < writer.length; cut++) {
		uint8_t bytes[64];

		memcpy(bytes, writer.bytes, cut);
		if (cut >= STATE_HEADER_BYTES)
			put_le32(bytes + 8, (uint32_t)(cut - STATE_HEADER_BYTES));
		assert_int_equal(restore_anew(bytes, cut), -EPROTO);
	}
	put_le32(writer.bytes + 16, VMBUS_MAX_CHANNELS + 1);
	assert_int_equal(restore_anew(writer.bytes, writer.length), -EPROTO);
	put_le32(writer.bytes + 16, 5);
	put_le32(writer.bytes + 20, UINT32_MAX); /* a VP that is not: nobody is signalled */
	assert_int_equal(restore_anew(writer.bytes, writer.length), 0);
	put_le32(writer.bytes + 20, VP + 1);
	assert_int_equal(restore_anew(writer.bytes, writer.length), 0);
	channel_nudge_resume(bench.nudge);
	run_ms(CHANNEL_NUDGE_MS + 50);
	assert_int_equal(flags_take(), 0);
	put_le32(writer.bytes + 12, VMBUS_MAX_CHANNELS + 1);
	assert_int_equal(restore_anew(writer.bytes, writer.length), -EPROTO);
	put_le16(writer.bytes + 6, 2);
	assert_int_equal(restore_anew(writer.bytes, writer.length), -EOPNOTSUPP);
	state_writer_fini(&writer);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(opened_channel_is_signalled_once_more_and_not_again),
		TEST(channel_that_opens_later_has_its_time_too),
		TEST(channel_without_interrupts_or_with_a_wrong_vp_is_left_alone),
		TEST(channels_that_wait_are_signalled_elsewhere),
		TEST(cut_newer_or_absurd_section_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
