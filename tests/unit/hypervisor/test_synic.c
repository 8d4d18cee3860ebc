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

#include "base/event_loop.h"
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
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
