/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Ports as a guest uses them: power off, the ways to reset, the clock, and ports where nothing is;
 * and the inbox of posted messages, which the same threads use.
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
#include "base/event_loop.h"
#include "hypervisor/console.h"
#include "hypervisor/message_inbox.h"
#include "hypervisor/platform.h"
#include "hypervisor/rtc.h"

struct bench {
	struct event_loop *loop;
	struct console *console;
	struct platform platform;
	int line;
	int offs;
	int resets;
};

static struct bench bench;

static void on_power(void *ctx, enum platform_power what)
{
	(void)ctx;
	if (what == PLATFORM_POWER_OFF)
		bench.offs++;
	else
		bench.resets++;
}

static int setup(void **state)
{
	struct vm_error error;

	(void)state;
	memset(&bench, 0, sizeof(bench));
	bench.line = eventfd(0, EFD_NONBLOCK);
	if (event_loop_create(&bench.loop) ||
	    console_create(VM_CONSOLE_FILE, "/dev/null", bench.loop, &bench.console, &error))
		return -1;
	platform_init(&bench.platform, bench.console, bench.line, on_power, NULL);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	platform_fini(&bench.platform);
	console_destroy(bench.console);
	event_loop_destroy(bench.loop);
	return close(bench.line);
}

static enum engine_port_result out(uint16_t port, uint8_t value)
{
	return platform_port_io(&bench.platform, port, true, &value, 1);
}

static uint8_t in(uint16_t port)
{
	uint8_t value = 0x77;

	assert_int_equal(platform_port_io(&bench.platform, port, false, &value, 1),
			 ENGINE_PORT_DONE);
	return value;
}

static void s5_powers_off_and_stops_the_vp(void **state)
{
	(void)state;
	assert_int_equal(out(0x600, 5 << 2 | 0x20), ENGINE_PORT_STOP_VP);
	assert_int_equal(bench.offs, 1);
	assert_int_equal(bench.resets, 0);
}

static void other_sleep_states_do_nothing(void **state)
{
	(void)state;
	assert_int_equal(out(0x600, 3 << 2 | 0x20), ENGINE_PORT_DONE);
	assert_int_equal(out(0x600, 5 << 2), ENGINE_PORT_DONE); /* not enabled */
	assert_int_equal(bench.offs, 0);
}

static void each_way_to_reset_resets(void **state)
{
	(void)state;
	assert_int_equal(out(0x602, 0x01), ENGINE_PORT_STOP_VP);
	assert_int_equal(out(0x64, 0xfe), ENGINE_PORT_STOP_VP);
	assert_int_equal(bench.resets, 2);
	assert_int_equal(out(0x602, 0x00), ENGINE_PORT_DONE);
	assert_int_equal(out(0x64, 0x60), ENGINE_PORT_DONE);
	assert_int_equal(bench.resets, 2);
}

static void keyboard_controller_is_always_ready_for_a_reset(void **state)
{
	(void)state;
	assert_int_equal(in(0x64) & 2, 0);
}

static void absent_device_reads_as_ones(void **state)
{
	uint8_t data[4] = {0};

	(void)state;
	assert_int_equal(in(0x2f8), 0xff);
	assert_int_equal(platform_port_io(&bench.platform, 0xcfc, false, data, 4),
			 ENGINE_PORT_DONE);
	assert_memory_equal(data, "\xff\xff\xff\xff", 4);
	assert_int_equal(platform_port_io(&bench.platform, 0xffff, false, data, 4),
			 ENGINE_PORT_DONE); /* wraps, as on the bus */
}

static void uart_is_at_com1_and_raises_its_line(void **state)
{
	uint64_t count = 0;

	(void)state;
	out(0x3ff, 0x42);
	assert_int_equal(in(0x3ff), 0x42);
	out(0x3f9, 0x02);
	assert_int_equal(read(bench.line, &count, sizeof(count)), sizeof(count));
	assert_int_equal(count, 1);
}

static void clock_is_read_by_index(void **state)
{
	(void)state;
	out(0x70, 0x80 | 0x0d); /* bit 7 is the NMI mask, not part of the index */
	assert_int_equal(in(0x71), 0x80);
}

static void clock_tells_utc_in_bcd(void **state)
{
	const time_t moment = 1795383599; /* 2026-11-22 21:39:59, a Sunday */

	(void)state;
	assert_int_equal(rtc_register(0x00, moment), 0x59);
	assert_int_equal(rtc_register(0x02, moment), 0x39);
	assert_int_equal(rtc_register(0x04, moment), 0x21);
	assert_int_equal(rtc_register(0x06, moment), 0x01);
	assert_int_equal(rtc_register(0x07, moment), 0x22);
	assert_int_equal(rtc_register(0x08, moment), 0x11);
	assert_int_equal(rtc_register(0x09, moment), 0x26);
	assert_int_equal(rtc_register(0x32, moment), 0x20);
	assert_int_equal(rtc_register(0x0b, moment), 0x02);
	assert_int_equal(rtc_register(0x0a, moment) & 0x80, 0);
}

static void inbox_keeps_order_and_refuses_when_full(void **state)
{
	static struct message_inbox inbox;
	struct inbox_message message;

	(void)state;
	message_inbox_init(&inbox);
	for (uint32_t round = 0; round < 3; round++) {
		for (uint32_t i = 0; i < MESSAGE_INBOX_SLOTS; i++)
			assert_int_equal(message_inbox_put(&inbox, i, &i, sizeof(i)), 0);
		assert_int_equal(message_inbox_put(&inbox, 0, "x", 1), -ENOBUFS);
		for (uint32_t i = 0; i < MESSAGE_INBOX_SLOTS; i++) {
			assert_true(message_inbox_take(&inbox, &message));
			assert_int_equal(message.connection_id, i);
			assert_int_equal(message.length, sizeof(i));
			assert_memory_equal(message.payload, &i, sizeof(i));
		}
		assert_false(message_inbox_take(&inbox, &message));
	}
	message_inbox_fini(&inbox);
}

static void inbox_refuses_what_is_no_message(void **state)
{
	static struct message_inbox inbox;
	uint8_t bytes[HV_MESSAGE_PAYLOAD_BYTES + 1] = {0};

	(void)state;
	message_inbox_init(&inbox);
	assert_int_equal(message_inbox_put(&inbox, 1, bytes, sizeof(bytes)), -ENOBUFS);
	message_inbox_fini(&inbox);
}

/* ---- saved state ---- */

static int restore_bytes(const void *bytes, size_t length)
{
	struct state_reader reader, section;
	int result;

	platform_fini(&bench.platform);
	platform_init(&bench.platform, bench.console, bench.line, on_power, NULL);
	state_reader_init(&reader, bytes, length);
	result = state_next(&reader, &section);
	return result == 1 ? platform_restore(&bench.platform, &section) : result;
}

static void saved_platform_has_these_bytes(void **state)
{
	static const uint8_t golden[] = {
		'P', 'L', 'A', 'T', 1, 0, 1, 0,	   54,	0,   0,	  0,   'C', 'M', 'O', 'S', 1,
		0,   1,	  0,   1,   0, 0, 0, 0x0d, 'U', 'A', 'R', 'T', 1,   0,	 1,   0,   13,
		0,   0,	  0,   0,   0, 0, 0, 0x42, 12,	0,   0,	  0,   0,   0,	 0,   0,   'C',
		'O', 'N', 'S', 1,   0, 0, 0, 4,	   0,	0,   0,	  0,   0,   0,	 0,
	};
	struct state_writer writer;

	(void)state;
	out(0x70, 0x0d);
	out(0x3ff, 0x42);
	state_writer_init(&writer);
	assert_int_equal(platform_save(&bench.platform, &writer), 0);
	assert_int_equal(writer.length, sizeof(golden));
	assert_memory_equal(writer.bytes, golden, sizeof(golden));
	state_writer_fini(&writer);
}

static void ports_go_on_elsewhere(void **state)
{
	struct state_writer writer;
	uint64_t count = 0;

	(void)state;
	out(0x70, 0x0d);
	out(0x3f9, 0x02); /* the transmitter's interrupt is up */
	state_writer_init(&writer);
	assert_int_equal(platform_save(&bench.platform, &writer), 0);
	assert_int_equal(read(bench.line, &count, sizeof(count)), sizeof(count));
	assert_int_equal(restore_bytes(writer.bytes, writer.length), 0);
	assert_int_equal(in(0x71), 0x80);
	assert_int_equal(read(bench.line, &count, sizeof(count)), -1);
	platform_resume(&bench.platform);
	assert_int_equal(read(bench.line, &count, sizeof(count)), sizeof(count));
	assert_int_equal(in(0x3fa) & 0x0f, 0x02);
	state_writer_fini(&writer);
}

static void cut_newer_or_unknown_part_is_refused(void **state)
{
	struct state_writer writer;

	(void)state;
	state_writer_init(&writer);
	assert_int_equal(platform_save(&bench.platform, &writer), 0);
	for (size_t cut = 1; cut < writer.length; cut++) {
		uint8_t bytes[128];
		int result;

		memcpy(bytes, writer.bytes, cut);
		if (cut >= STATE_HEADER_BYTES)
			put_le32(bytes + 8, (uint32_t)(cut - STATE_HEADER_BYTES));
		result = restore_bytes(bytes, cut);
		/* between two parts the rest is as a new machine has it */
		if (cut == 12 || cut == 25 || cut == 50)
			assert_int_equal(result, 0);
		else
			assert_int_equal(result, -EPROTO);
	}
	put_le16(writer.bytes + 12 + 6, 2);
	assert_int_equal(restore_bytes(writer.bytes, writer.length), -EOPNOTSUPP);
	writer.bytes[12] = 'X'; /* unknown, and it matters */
	put_le16(writer.bytes + 12 + 6, 1);
	assert_int_equal(restore_bytes(writer.bytes, writer.length), -EOPNOTSUPP);
	put_le16(writer.bytes + 12 + 6, STATE_SKIPPABLE);
	assert_int_equal(restore_bytes(writer.bytes, writer.length), 0);
	put_le16(writer.bytes + 6, 2);
	assert_int_equal(restore_bytes(writer.bytes, writer.length), -EOPNOTSUPP);
	state_writer_fini(&writer);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(s5_powers_off_and_stops_the_vp),
		TEST(other_sleep_states_do_nothing),
		TEST(each_way_to_reset_resets),
		TEST(keyboard_controller_is_always_ready_for_a_reset),
		TEST(absent_device_reads_as_ones),
		TEST(uart_is_at_com1_and_raises_its_line),
		TEST(clock_is_read_by_index),
		TEST(saved_platform_has_these_bytes),
		TEST(ports_go_on_elsewhere),
		TEST(cut_newer_or_unknown_part_is_refused),
		cmocka_unit_test(clock_tells_utc_in_bcd),
		cmocka_unit_test(inbox_keeps_order_and_refuses_when_full),
		cmocka_unit_test(inbox_refuses_what_is_no_message),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
