/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Messages on their way into a guest that reads its slot, is slow, or turns its SynIC off and on:
 * the test is the guest, in guest memory.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/event_loop.h"
#include "base/state.h"
#include "hypervisor/engine.h"
#include "hypervisor/synic.h"
#include "tests/unit/vmbus/memory_fixture.h"
#include "vmbus/event_signal.h"
#include "vmbus/guest_memory.h"
#include "wire/tlfs.h"

#define VPS	   2
#define SIMP_GPA   UINT64_C(0x3000)
#define SIEFP_GPA  UINT64_C(0x4000)
#define PAGE_COUNT 16

struct bench {
	struct event_loop *loop;
	struct guest_memory *memory;
	struct signal_table signals;
	struct synic *synic;
	struct engine_sint_fds fds[VPS];
};

static struct bench bench;

static int setup(void **state)
{
	(void)state;
	memset(&bench, 0, sizeof(bench));
	bench.memory = fixture_memory(PAGE_COUNT);
	if (event_loop_create(&bench.loop) || signal_table_init(&bench.signals, -1) ||
	    synic_create(bench.memory, &bench.signals, VPS, bench.loop, &bench.synic))
		return -1;
	for (uint32_t vp = 0; vp < VPS; vp++) {
		bench.fds[vp].raise = eventfd(0, EFD_NONBLOCK);
		bench.fds[vp].eom = eventfd(0, EFD_NONBLOCK);
		if (synic_set_fds(bench.synic, vp, &bench.fds[vp]))
			return -1;
	}
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	synic_destroy(bench.synic);
	for (uint32_t vp = 0; vp < VPS; vp++) {
		close(bench.fds[vp].raise);
		close(bench.fds[vp].eom);
	}
	signal_table_fini(&bench.signals);
	event_loop_destroy(bench.loop);
	guest_memory_destroy(bench.memory);
	return 0;
}

static void guest_enables(uint32_t vp)
{
	const struct engine_synic registers = {
		.scontrol = 1, .simp = SIMP_GPA | 1, .siefp = SIEFP_GPA | 1};

	synic_update(bench.synic, vp, &registers);
}

static struct hv_message_slot *slot(void)
{
	return guest_memory_for_write(bench.memory, SIMP_GPA + 0x200, 256);
}

/* How often the interrupt was raised since last asked. */
static uint64_t interrupts(uint32_t vp)
{
	uint64_t count = 0;

	return read(bench.fds[vp].raise, &count, sizeof(count)) < 0 ? 0 : count;
}

static void post(const char *text)
{
	assert_int_equal(synic_post_message(bench.synic, 0, text, strlen(text)), 0);
}

/* The guest takes what the slot holds, then ends it as it must. */
static void guest_takes(const char *expected)
{
	const uint64_t one = 1;
	bool pending;

	assert_int_equal(slot()->message_type, HV_VMBUS_MESSAGE_TYPE);
	assert_int_equal(slot()->payload_size, strlen(expected));
	assert_memory_equal(slot()->payload, expected, strlen(expected));
	slot()->message_type = HV_MESSAGE_NONE;
	pending = slot()->message_flags & HV_MESSAGE_FLAG_PENDING;
	if (pending)
		assert_int_equal(write(bench.fds[0].eom, &one, sizeof(one)), sizeof(one));
	assert_int_equal(event_loop_run_once(bench.loop, 0), 0);
}

static void message_lands_in_the_slot_and_interrupts(void **state)
{
	(void)state;
	guest_enables(0);
	post("hello");
	assert_int_equal(interrupts(0), 1);
	assert_int_equal(slot()->message_flags, 0);
	guest_takes("hello");
	assert_int_equal(slot()->message_type, HV_MESSAGE_NONE);
	assert_int_equal(synic_queued(bench.synic), 0);
}

static void delivery_marks_the_page_dirty(void **state)
{
	(void)state;
	guest_enables(0);
	fixture_take_dirty(bench.memory, SIMP_GPA >> 12);
	post("x");
	assert_int_equal(fixture_take_dirty(bench.memory, SIMP_GPA >> 12), 1);
}

static void messages_wait_for_the_slot_and_keep_their_order(void **state)
{
	(void)state;
	guest_enables(0);
	post("one");
	post("two");
	post("three");
	assert_int_equal(synic_queued(bench.synic), 2);
	assert_int_equal(slot()->message_flags & HV_MESSAGE_FLAG_PENDING, HV_MESSAGE_FLAG_PENDING);
	guest_takes("one");
	guest_takes("two");
	assert_int_equal(slot()->message_flags & HV_MESSAGE_FLAG_PENDING, 0);
	guest_takes("three");
	assert_int_equal(synic_queued(bench.synic), 0);
	assert_int_equal(interrupts(0), 3);
}

static void occupied_slot_is_never_overwritten(void **state)
{
	(void)state;
	guest_enables(0);
	slot()->message_type = HV_MESSAGE_TIMER_EXPIRED;
	post("later");
	assert_int_equal(slot()->message_type, HV_MESSAGE_TIMER_EXPIRED);
	assert_int_equal(slot()->message_flags & HV_MESSAGE_FLAG_PENDING, HV_MESSAGE_FLAG_PENDING);
	assert_int_equal(interrupts(0), 0);
}

static void end_of_interrupt_without_a_queue_wakes_nobody(void **state)
{
	const uint64_t one = 1;
	uint64_t count = 0;

	(void)state;
	guest_enables(0);
	post("alone");
	guest_takes("alone");
	assert_int_equal(write(bench.fds[0].eom, &one, sizeof(one)), sizeof(one));
	assert_int_equal(event_loop_run_once(bench.loop, 0), 0);
	/* nobody read it: the loop does not even look */
	assert_int_equal(read(bench.fds[0].eom, &count, sizeof(count)), sizeof(count));
}

static void message_waits_until_the_simp_is_enabled(void **state)
{
	(void)state;
	post("early");
	assert_int_equal(interrupts(0), 0);
	guest_enables(0);
	assert_int_equal(event_loop_run_once(bench.loop, 0), 0);
	assert_int_equal(interrupts(0), 1);
	guest_takes("early");
}

static void enabling_zeroes_both_pages(void **state)
{
	uint8_t zeros[4096] = {0};
	uint8_t *simp = guest_memory_for_write(bench.memory, SIMP_GPA, 4096);
	uint8_t *siefp = guest_memory_for_write(bench.memory, SIEFP_GPA, 4096);

	(void)state;
	memset(simp, 0xff, 4096);
	memset(siefp, 0xff, 4096);
	guest_enables(0);
	assert_memory_equal(simp, zeros, 4096);
	assert_memory_equal(siefp, zeros, 4096);
}

static void writing_the_same_register_again_zeroes_nothing(void **state)
{
	(void)state;
	guest_enables(0);
	post("keep");
	guest_enables(0);
	guest_takes("keep");
}

static void siefp_is_made_known_in_the_table(void **state)
{
	(void)state;
	guest_enables(1);
	assert_int_equal(bench.signals.siefp[1], SIEFP_GPA | 1);
	assert_int_equal(bench.signals.siefp[0], 0);
}

static void disabling_the_simp_drops_what_waits(void **state)
{
	const struct engine_synic off = {0};

	(void)state;
	guest_enables(0);
	post("one");
	post("for the last kernel");
	synic_update(bench.synic, 0, &off);
	assert_int_equal(synic_queued(bench.synic), 0);
	guest_enables(0);
	assert_int_equal(event_loop_run_once(bench.loop, 0), 0);
	assert_int_equal(slot()->message_type, HV_MESSAGE_NONE);
}

static void simp_outside_memory_harms_nothing(void **state)
{
	const struct engine_synic registers = {
		.scontrol = 1, .simp = UINT64_C(0xfffffffff000) | 1, .siefp = UINT64_MAX};

	(void)state;
	synic_update(bench.synic, 0, &registers);
	post("nowhere");
	assert_int_equal(synic_queued(bench.synic), 1);
	assert_int_equal(interrupts(0), 0);
}

static void oversized_message_and_unknown_vp_are_refused(void **state)
{
	uint8_t bytes[HV_MESSAGE_PAYLOAD_BYTES + 1] = {0};

	(void)state;
	assert_int_equal(synic_post_message(bench.synic, 0, bytes, sizeof(bytes)), -EINVAL);
	assert_int_equal(synic_post_message(bench.synic, VPS, bytes, 1), -EINVAL);
	assert_int_equal(synic_post_message(bench.synic, 0, bytes, HV_MESSAGE_PAYLOAD_BYTES), 0);
}

/* ---- saved state ---- */

/* Makes the SynIC anew, as another process would, over the guest's memory; pages as they are. */
static void synic_renew(void)
{
	const uint64_t none = 0;

	synic_destroy(bench.synic);
	assert_int_equal(synic_create(bench.memory, &bench.signals, VPS, bench.loop, &bench.synic),
			 0);
	for (uint32_t vp = 0; vp < VPS; vp++) {
		interrupts(vp);
		bench.signals.siefp[vp] = none;
		assert_int_equal(synic_set_fds(bench.synic, vp, &bench.fds[vp]), 0);
	}
}

static int restore_bytes(const void *bytes, size_t length)
{
	struct state_reader reader, section;
	int result;

	state_reader_init(&reader, bytes, length);
	result = state_next(&reader, &section);
	return result == 1 ? synic_restore(bench.synic, &section) : result;
}

static void synic_moves(void)
{
	struct state_writer writer;

	state_writer_init(&writer);
	synic_pause(bench.synic);
	assert_int_equal(synic_save(bench.synic, &writer), 0);
	synic_renew();
	assert_int_equal(restore_bytes(writer.bytes, writer.length), 0);
	state_writer_fini(&writer);
}

static void saved_synic_has_these_bytes(void **state)
{
	static const uint8_t golden[] = {
		'S', 'Y', 'N', 'C', 1, 0, 1, 0, 91, 0, 0, 0, 2, 0, 0, 0,
		/* VP 0: SCONTROL, SIMP, SIEFP, one message "two" */
		'S', 'Y', 'V', 'P', 1, 0, 1, 0, 35, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0x30, 0, 0,
		0, 0, 0, 0, 1, 0x40, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 3, 0, 0, 0, 't', 'w', 'o',
		/* VP 1: off, nothing waits */
		'S', 'Y', 'V', 'P', 1, 0, 1, 0, 28, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
		0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
	struct state_writer writer;

	(void)state;
	state_writer_init(&writer);
	guest_enables(0);
	post("one");
	post("two");
	assert_int_equal(synic_save(bench.synic, &writer), 0);
	assert_int_equal(writer.length, sizeof(golden));
	assert_memory_equal(writer.bytes, golden, sizeof(golden));
	state_writer_fini(&writer);
}

static void messages_go_on_elsewhere_in_their_order(void **state)
{
	(void)state;
	guest_enables(0);
	post("one");
	post("two");
	post("three");
	synic_moves();
	assert_int_equal(synic_queued(bench.synic), 2);
	assert_int_equal(bench.signals.siefp[0], SIEFP_GPA | 1);
	assert_int_equal(interrupts(0), 0); /* not before resume */
	synic_resume(bench.synic);
	assert_int_equal(interrupts(0), 1); /* for the one that lies in the slot */
	assert_int_equal(interrupts(1), 0); /* is off */
	guest_takes("one");
	guest_takes("two");
	guest_takes("three");
	assert_int_equal(synic_queued(bench.synic), 0);
}

static void restore_zeroes_no_page(void **state)
{
	uint8_t *siefp = guest_memory_for_write(bench.memory, SIEFP_GPA, 4096);

	(void)state;
	guest_enables(0);
	siefp[512] = 0x20; /* a channel's flag that the guest has not seen */
	post("keep");
	synic_moves();
	synic_resume(bench.synic);
	assert_int_equal(siefp[512], 0x20);
	guest_takes("keep");
}

static void end_of_message_that_nobody_saw_is_made_up_for(void **state)
{
	(void)state;
	guest_enables(0);
	post("one");
	post("two");
	synic_pause(bench.synic);
	guest_takes("one"); /* and says so, to a host that no longer listens */
	assert_int_equal(slot()->message_type, HV_MESSAGE_NONE);
	synic_moves();
	synic_resume(bench.synic);
	guest_takes("two");
}

static void paused_synic_leaves_guest_memory_alone(void **state)
{
	(void)state;
	guest_enables(0);
	synic_pause(bench.synic);
	fixture_take_dirty(bench.memory, SIMP_GPA >> 12);
	post("one");
	assert_int_equal(fixture_take_dirty(bench.memory, SIMP_GPA >> 12), 0);
	assert_int_equal(slot()->message_type, HV_MESSAGE_NONE);
	assert_int_equal(interrupts(0), 0);
	synic_resume(bench.synic);
	guest_takes("one");
}

static void cut_or_newer_section_is_refused(void **state)
{
	struct state_writer writer;

	(void)state;
	state_writer_init(&writer);
	guest_enables(0);
	post("one");
	post("two");
	post("three");
	assert_int_equal(synic_save(bench.synic, &writer), 0);
	for (size_t cut = 1; cut < writer.length; cut++) {
		uint8_t *bytes = malloc(cut);

		assert_non_null(bytes);
		memcpy(bytes, writer.bytes, cut);
		if (cut >= STATE_HEADER_BYTES)
			put_le32(bytes + 8, (uint32_t)(cut - STATE_HEADER_BYTES));
		synic_renew();
		assert_int_equal(restore_bytes(bytes, cut), -EPROTO);
		free(bytes);
	}
	for (size_t at = STATE_HEADER_BYTES; at < writer.length; at++) {
		writer.bytes[at] ^= 0xff;
		synic_renew();
		if (restore_bytes(writer.bytes, writer.length) == 0)
			synic_resume(bench.synic);
		writer.bytes[at] ^= 0xff;
	}
	put_le16(writer.bytes + 6, 2);
	synic_renew();
	assert_int_equal(restore_bytes(writer.bytes, writer.length), -EOPNOTSUPP);
	put_le16(writer.bytes + 6, 1);
	put_le16(writer.bytes + 16 + 6, 2);
	assert_int_equal(restore_bytes(writer.bytes, writer.length), -EOPNOTSUPP);
	state_writer_fini(&writer);
}

static void other_count_of_vps_or_endless_messages_are_refused(void **state)
{
	struct state_writer writer;

	(void)state;
	state_writer_init(&writer);
	assert_int_equal(synic_save(bench.synic, &writer), 0);
	writer.bytes[12] = 1;
	assert_int_equal(restore_bytes(writer.bytes, writer.length), -EPROTO);
	writer.bytes[12] = 3;
	assert_int_equal(restore_bytes(writer.bytes, writer.length), -EPROTO);
	writer.bytes[12] = 2;
	put_le32(writer.bytes + 16 + 12 + 24, 65537);
	assert_int_equal(restore_bytes(writer.bytes, writer.length), -EPROTO);
	put_le32(writer.bytes + 16 + 12 + 24, 1); /* the next section's bytes are not its own */
	assert_int_equal(restore_bytes(writer.bytes, writer.length), -EPROTO);
	state_writer_fini(&writer);
}

/* Few bytes each, and some hundred of memory: what each VP could have, all together cannot. */
static void messages_of_all_vps_are_bounded_together(void **state)
{
	const uint32_t counts[][2] = {{40000, 25536}, {40000, 25537}, {65536, 0}, {65536, 1}};

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		struct state_writer writer;
		bool fits = counts[i][0] + counts[i][1] <= 65536;

		state_writer_init(&writer);
		state_begin(&writer, SYNIC_STATE_TAG, 1, 1);
		state_put_u32(&writer, VPS);
		for (uint32_t vp = 0; vp < VPS; vp++) {
			state_begin(&writer, STATE_TAG('S', 'Y', 'V', 'P'), 1, 1);
			for (int n = 0; n < 3; n++)
				state_put_u64(&writer, 0);
			state_put_u32(&writer, counts[i][vp]);
			for (uint32_t n = 0; n < counts[i][vp]; n++)
				state_put_blob(&writer, "", 0);
			state_end(&writer);
		}
		state_end(&writer);
		assert_int_equal(state_writer_result(&writer), 0);
		synic_renew();
		assert_int_equal(restore_bytes(writer.bytes, writer.length), fits ? 0 : -EPROTO);
		state_writer_fini(&writer);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(message_lands_in_the_slot_and_interrupts),
		TEST(delivery_marks_the_page_dirty),
		TEST(messages_wait_for_the_slot_and_keep_their_order),
		TEST(occupied_slot_is_never_overwritten),
		TEST(end_of_interrupt_without_a_queue_wakes_nobody),
		TEST(message_waits_until_the_simp_is_enabled),
		TEST(enabling_zeroes_both_pages),
		TEST(writing_the_same_register_again_zeroes_nothing),
		TEST(siefp_is_made_known_in_the_table),
		TEST(disabling_the_simp_drops_what_waits),
		TEST(simp_outside_memory_harms_nothing),
		TEST(oversized_message_and_unknown_vp_are_refused),
		TEST(saved_synic_has_these_bytes),
		TEST(messages_go_on_elsewhere_in_their_order),
		TEST(restore_zeroes_no_page),
		TEST(end_of_message_that_nobody_saw_is_made_up_for),
		TEST(paused_synic_leaves_guest_memory_alone),
		TEST(cut_or_newer_section_is_refused),
		TEST(other_count_of_vps_or_endless_messages_are_refused),
		TEST(messages_of_all_vps_are_bounded_together),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
