/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Interrupting the guest: flag and irqfd as the guest's side sees them.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/vmbus/memory_fixture.h"
#include "vmbus/event_signal.h"
#include "vmbus/guest_memory.h"

#define SIEFP_GPA    UINT64_C(0x3000)
#define SINT2_OFFSET 512u

struct setup {
	struct guest_memory *memory;
	struct signal_table table;
	struct event_signal signal;
};

static int prepare(void **state)
{
	static struct setup s;

	memset(&s, 0, sizeof(s));
	s.memory = fixture_memory(8);
	if (signal_table_init(&s.table, -1) != 0)
		return -1;
	s.signal.memory = s.memory;
	s.signal.table = &s.table;
	s.signal.vp = 3;
	s.signal.flag = 77;
	s.signal.irqfd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	*state = &s;
	return s.signal.irqfd < 0 ? -1 : 0;
}

static int clean_up(void **state)
{
	struct setup *s = *state;

	close(s->signal.irqfd);
	signal_table_fini(&s->table);
	guest_memory_destroy(s->memory);
	return 0;
}

static uint64_t interrupts(const struct setup *s)
{
	uint64_t count = 0;

	return read(s->signal.irqfd, &count, sizeof(count)) == sizeof(count) ? count : 0;
}

static uint8_t *flag_byte(const struct setup *s)
{
	const struct guest_memory_region *region = guest_memory_region_at(s->memory, 0);

	/* SINT2's 256 bytes are the third in the page; flag 77 is bit 5 of byte 9. */
	return (uint8_t *)region->hva + SIEFP_GPA + SINT2_OFFSET + 9;
}

static void nothing_happens_until_the_guest_enables_the_page(void **state)
{
	struct setup *s = *state;

	event_signal_raise(&s->signal);
	assert_int_equal(interrupts(s), 0);
	atomic_store(&s->table.siefp[3], SIEFP_GPA); /* not enabled */
	event_signal_raise(&s->signal);
	assert_int_equal(interrupts(s), 0);
	assert_int_equal(*flag_byte(s), 0);
}

static void the_flag_is_set_and_the_interrupt_raised_once(void **state)
{
	struct setup *s = *state;

	atomic_store(&s->table.siefp[3], SIEFP_GPA | 1);
	event_signal_raise(&s->signal);
	assert_int_equal(*flag_byte(s), 1 << 5);
	assert_int_equal(interrupts(s), 1);
	assert_int_equal(fixture_take_dirty(s->memory, 3), 1);
	event_signal_raise(&s->signal);
	assert_int_equal(interrupts(s), 0);
	*flag_byte(s) = 0;
	event_signal_raise(&s->signal);
	assert_int_equal(interrupts(s), 1);
}

static void pages_outside_guest_memory_are_ignored(void **state)
{
	struct setup *s = *state;
	const uint64_t bad[] = {UINT64_C(0x8000) | 1, UINT64_MAX, UINT64_C(1) << 52 | 1};

	for (size_t i = 0; i < 3; i++) {
		atomic_store(&s->table.siefp[3], bad[i]);
		event_signal_raise(&s->signal);
	}
	assert_int_equal(interrupts(s), 0);
}

static void flags_and_vps_out_of_range_are_ignored(void **state)
{
	struct setup *s = *state;

	atomic_store(&s->table.siefp[3], SIEFP_GPA | 1);
	s->signal.flag = 2048;
	event_signal_raise(&s->signal);
	s->signal.flag = 77;
	s->signal.vp = SIGNAL_TABLE_MAX_VPS;
	event_signal_raise(&s->signal);
	s->signal.vp = UINT32_MAX; /* VMBUS_NO_INTERRUPTS */
	event_signal_raise(&s->signal);
	assert_int_equal(interrupts(s), 0);
	assert_int_equal(*flag_byte(s), 0);
}

static void a_channel_without_irqfd_is_silent(void **state)
{
	struct setup *s = *state;
	struct event_signal silent = s->signal;

	silent.irqfd = -1;
	atomic_store(&s->table.siefp[3], SIEFP_GPA | 1);
	event_signal_raise(&silent);
	assert_int_equal(*flag_byte(s), 0);
}

static void another_process_sees_the_same_table(void **state)
{
	struct setup *s = *state;
	struct signal_table other;
	int small = fixture_memfd(8);

	assert_int_equal(signal_table_init(&other, s->table.fd), 0);
	atomic_store(&s->table.siefp[3], SIEFP_GPA | 1);
	s->signal.table = &other;
	event_signal_raise(&s->signal);
	assert_int_equal(interrupts(s), 1);
	assert_int_equal(ftruncate(other.fd, 0), -1);
	signal_table_fini(&other);
	assert_int_equal(signal_table_init(&other, small), -EINVAL);
	close(small);
	assert_int_equal(signal_table_init(&other, 1000), -EBADF);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, prepare, clean_up)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(nothing_happens_until_the_guest_enables_the_page),
		TEST(the_flag_is_set_and_the_interrupt_raised_once),
		TEST(pages_outside_guest_memory_are_ignored),
		TEST(flags_and_vps_out_of_range_are_ignored),
		TEST(a_channel_without_irqfd_is_silent),
		TEST(another_process_sees_the_same_table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
