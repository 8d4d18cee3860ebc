/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The UART as Linux's 8250 driver meets it: detection, transmission by interrupt, reception with
 * flow control.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "hypervisor/uart.h"

enum { DATA, IER, IIR, LCR, MCR, LSR, MSR, SCR, FCR = IIR };

struct bench {
	struct uart uart;
	uint8_t sent[64];
	size_t sent_count;
	unsigned int edges;
	unsigned int wants;
};

static void on_transmit(void *ctx, uint8_t byte)
{
	struct bench *bench = ctx;

	bench->sent[bench->sent_count++ % sizeof(bench->sent)] = byte;
}

static void on_want(void *ctx)
{
	((struct bench *)ctx)->wants++;
}

static void on_interrupt(void *ctx)
{
	((struct bench *)ctx)->edges++;
}

static const struct uart_ops ops = {
	.transmit = on_transmit, .want_input = on_want, .interrupt = on_interrupt};

static struct bench bench;

static int setup(void **state)
{
	memset(&bench, 0, sizeof(bench));
	uart_init(&bench.uart, &ops, &bench);
	*state = &bench.uart;
	return 0;
}

static int teardown(void **state)
{
	uart_fini(*state);
	return 0;
}

static void scratch_register_keeps_a_byte(void **state)
{
	uart_write(*state, SCR, 0xa5);
	assert_int_equal(uart_read(*state, SCR), 0xa5);
}

static void divisor_hides_behind_dlab(void **state)
{
	uart_write(*state, LCR, 0x80);
	uart_write(*state, DATA, 0x01);
	uart_write(*state, IER, 0x00);
	assert_int_equal(uart_read(*state, DATA), 0x01);
	uart_write(*state, LCR, 0x03);
	assert_int_equal(uart_read(*state, LCR), 0x03);
	assert_int_equal(bench.sent_count, 0);
	assert_int_equal(uart_read(*state, IER), 0);
}

static void fifo_enable_reads_back_as_a_16550a(void **state)
{
	assert_int_equal(uart_read(*state, IIR), 0x01);
	uart_write(*state, FCR, 0x01);
	assert_int_equal(uart_read(*state, IIR), 0xc1);
	uart_write(*state, FCR, 0x00);
	assert_int_equal(uart_read(*state, IIR), 0x01);
}

static void loop_back_returns_modem_lines_and_bytes(void **state)
{
	/* what the driver's probe does: OUT2 and RTS come back as DCD and CTS */
	uart_write(*state, MCR, 0x1a);
	assert_int_equal(uart_read(*state, MSR) & 0xf0, 0x90);
	uart_write(*state, DATA, 'x');
	assert_int_equal(bench.sent_count, 0);
	assert_int_equal(uart_read(*state, LSR) & 1, 1);
	assert_int_equal(uart_read(*state, DATA), 'x');
	assert_int_equal(uart_receive(*state, (const uint8_t *)"y", 1), 0);
}

static void input_that_came_during_loop_back_is_asked_for_after_it(void **state)
{
	unsigned int wants;

	uart_write(*state, MCR, 0x10);
	assert_int_equal(uart_receive(*state, (const uint8_t *)"y", 1), 0);
	wants = bench.wants;
	uart_write(*state, MCR, 0x08);
	assert_int_equal(bench.wants, wants + 1);
	assert_int_equal(uart_receive(*state, (const uint8_t *)"y", 1), 1);
}

static void transmitted_bytes_leave_in_order_at_once(void **state)
{
	for (const char *c = "hello"; *c; c++) {
		assert_int_equal(uart_read(*state, LSR) & 0x60, 0x60);
		uart_write(*state, DATA, (uint8_t)*c);
	}
	assert_memory_equal(bench.sent, "hello", 5);
}

static void enabling_the_transmit_interrupt_raises_it_once(void **state)
{
	uart_write(*state, IER, 0x02);
	assert_int_equal(bench.edges, 1);
	assert_int_equal(uart_read(*state, IIR) & 0x0f, 0x02);
	assert_int_equal(uart_read(*state, IIR) & 0x0f, 0x01); /* reading it took it away */
	assert_int_equal(bench.edges, 1);
}

static void burst_of_sixteen_bytes_costs_one_edge(void **state)
{
	uart_write(*state, FCR, 0x01);
	uart_write(*state, IER, 0x02);
	(void)uart_read(*state, IIR);
	bench.edges = 0;
	for (int i = 0; i < 16; i++)
		uart_write(*state, DATA, 'a');
	assert_int_equal(bench.edges, 1);
	assert_int_equal(uart_read(*state, IIR) & 0x0f, 0x02);
	uart_write(*state, DATA, 'b'); /* after it was seen, the next byte raises it again */
	assert_int_equal(bench.edges, 2);
}

static void received_byte_interrupts_and_is_read(void **state)
{
	uart_write(*state, IER, 0x01);
	assert_int_equal(uart_receive(*state, (const uint8_t *)"k", 1), 1);
	assert_int_equal(bench.edges, 1);
	assert_int_equal(uart_read(*state, IIR) & 0x0f, 0x04);
	assert_int_equal(uart_read(*state, LSR) & 1, 1);
	assert_int_equal(uart_read(*state, DATA), 'k');
	assert_int_equal(uart_read(*state, IIR) & 0x0f, 0x01);
	assert_int_equal(uart_read(*state, LSR) & 1, 0);
}

static void input_below_the_trigger_level_is_told_as_waiting(void **state)
{
	uart_write(*state, FCR, 0x81); /* 8 bytes */
	uart_write(*state, IER, 0x01);
	assert_int_equal(uart_receive(*state, (const uint8_t *)"abc", 3), 3);
	assert_int_equal(uart_read(*state, IIR) & 0x0f, 0x0c);
	assert_int_equal(uart_receive(*state, (const uint8_t *)"defgh", 5), 5);
	assert_int_equal(uart_read(*state, IIR) & 0x0f, 0x04);
}

static void full_fifo_takes_no_more_and_asks_when_empty(void **state)
{
	uint8_t typed[20];

	for (size_t i = 0; i < sizeof(typed); i++)
		typed[i] = (uint8_t)('a' + i);
	uart_write(*state, FCR, 0x01);
	bench.wants = 0;
	assert_int_equal(uart_receive(*state, typed, sizeof(typed)), 16);
	assert_int_equal(uart_receive(*state, typed + 16, 4), 0);
	for (int i = 0; i < 15; i++)
		assert_int_equal(uart_read(*state, DATA), 'a' + i);
	assert_int_equal(bench.wants, 0);
	assert_int_equal(uart_read(*state, DATA), 'p');
	assert_int_equal(bench.wants, 1);
	assert_int_equal(uart_receive(*state, typed + 16, 4), 4);
	assert_int_equal(uart_read(*state, DATA), 'q');
}

static void without_fifo_one_byte_is_held(void **state)
{
	assert_int_equal(uart_receive(*state, (const uint8_t *)"ab", 2), 1);
	assert_int_equal(uart_read(*state, DATA), 'a');
}

static void clearing_the_fifo_drops_what_it_holds(void **state)
{
	uart_write(*state, FCR, 0x01);
	uart_receive(*state, (const uint8_t *)"abc", 3);
	uart_write(*state, FCR, 0x03);
	assert_int_equal(uart_read(*state, LSR) & 1, 0);
}

static void looped_overrun_is_reported_once(void **state)
{
	uart_write(*state, MCR, 0x10);
	uart_write(*state, DATA, 'a');
	uart_write(*state, DATA, 'b');
	assert_int_equal(uart_read(*state, LSR) & 0x02, 0x02);
	assert_int_equal(uart_read(*state, LSR) & 0x02, 0);
}

/* ---- saved state ---- */

static void save(struct state_writer *writer)
{
	state_writer_init(writer);
	uart_save(&bench.uart, writer);
	assert_int_equal(state_writer_result(writer), 0);
}

/* A new UART on another host. */
static int restore_anew(const void *bytes, size_t length)
{
	struct state_reader reader, section;
	int result;

	uart_fini(&bench.uart);
	uart_init(&bench.uart, &ops, &bench);
	bench.edges = 0;
	bench.wants = 0;
	state_reader_init(&reader, bytes, length);
	result = state_next(&reader, &section);
	result = result == 1 ? uart_restore(&bench.uart, &section) : result;
	assert_int_equal(bench.edges + bench.wants, 0);
	return result;
}

/* Trigger level 4, input and transmitter enabled, "abcd" waits: the line is up. */
static void uart_fill(void)
{
	uart_write(&bench.uart, FCR, 0x41);
	uart_write(&bench.uart, LCR, 0x83);
	uart_write(&bench.uart, DATA, 0x34);
	uart_write(&bench.uart, IER, 0x12);
	uart_write(&bench.uart, LCR, 0x03);
	uart_write(&bench.uart, IER, 0x03);
	uart_write(&bench.uart, MCR, 0x0b);
	uart_write(&bench.uart, SCR, 0xa5);
	uart_receive(&bench.uart, (const uint8_t *)"zabcd", 5);
	assert_int_equal(uart_read(&bench.uart, DATA), 'z');
}

static void saved_uart_has_these_bytes(void **state)
{
	static const uint8_t golden[] = {
		'U', 'A', 'R', 'T', 1, 0, 1, 0, 17, 0, 0, 0,
		/* IER, FCR, LCR, MCR, SCR, divisor, transmitter's interrupt, no overrun, FIFO */
		0x03, 0x41, 0x03, 0x0b, 0xa5, 0x34, 0x12, 1, 0, 4, 0, 0, 0, 'a', 'b', 'c', 'd'};
	struct state_writer writer;

	(void)state;
	uart_fill();
	save(&writer);
	assert_int_equal(writer.length, sizeof(golden));
	assert_memory_equal(writer.bytes, golden, sizeof(golden));
	state_writer_fini(&writer);
}

static void driver_finds_its_uart_elsewhere(void **state)
{
	struct state_writer writer;

	(void)state;
	uart_fill();
	save(&writer);
	assert_int_equal(restore_anew(writer.bytes, writer.length), 0);
	uart_resume(&bench.uart);
	assert_int_equal(bench.edges, 1); /* the edge before may be lost */
	assert_int_equal(bench.wants, 0); /* the FIFO is not empty */
	assert_int_equal(uart_read(&bench.uart, IIR), 0xc4);
	for (int i = 0; i < 4; i++)
		assert_int_equal(uart_read(&bench.uart, DATA), 'a' + i);
	assert_int_equal(bench.wants, 1);
	assert_int_equal(uart_read(&bench.uart, IIR), 0xc2);
	assert_int_equal(uart_read(&bench.uart, IIR), 0xc1);
	assert_int_equal(uart_read(&bench.uart, SCR), 0xa5);
	assert_int_equal(uart_read(&bench.uart, MCR), 0x0b);
	uart_write(&bench.uart, LCR, 0x80);
	assert_int_equal(uart_read(&bench.uart, DATA), 0x34);
	assert_int_equal(uart_read(&bench.uart, IER), 0x12);
	state_writer_fini(&writer);
}

static void idle_uart_asks_for_input_and_raises_nothing(void **state)
{
	struct state_writer writer;

	(void)state;
	save(&writer);
	assert_int_equal(restore_anew(writer.bytes, writer.length), 0);
	uart_resume(&bench.uart);
	assert_int_equal(bench.edges, 0);
	assert_int_equal(bench.wants, 1);
	state_writer_fini(&writer);
}

static void edge_before_the_resume_does_not_stand_for_the_one_after(void **state)
{
	(void)state;
	uart_fill();
	bench.edges = 0;
	uart_resume(&bench.uart);
	assert_int_equal(bench.edges, 1);
}

static void cut_newer_or_overfull_section_is_refused(void **state)
{
	struct state_writer writer;

	(void)state;
	uart_fill();
	save(&writer);
	for (size_t cut = 1; cut < writer.length; cut++) {
		uint8_t bytes[64];

		memcpy(bytes, writer.bytes, cut);
		if (cut >= STATE_HEADER_BYTES)
			put_le32(bytes + 8, (uint32_t)(cut - STATE_HEADER_BYTES));
		assert_int_equal(restore_anew(bytes, cut), -EPROTO);
	}
	writer.bytes[13] = 0; /* no FIFO, and yet four bytes in it */
	assert_int_equal(restore_anew(writer.bytes, writer.length), -EPROTO);
	put_le16(writer.bytes + 4, 2);
	put_le16(writer.bytes + 6, 2);
	assert_int_equal(restore_anew(writer.bytes, writer.length), -EOPNOTSUPP);
	state_writer_fini(&writer);
}

static void registers_keep_only_what_they_can_hold(void **state)
{
	struct state_writer writer;

	(void)state;
	save(&writer);
	memset(writer.bytes + 12, 0xff, 9);
	assert_int_equal(restore_anew(writer.bytes, writer.length), 0);
	uart_resume(&bench.uart);
	assert_int_equal(bench.uart.ier, 0x0f);
	assert_int_equal(bench.uart.fcr, 0xc9);
	assert_int_equal(bench.uart.mcr, 0x1f);
	state_writer_fini(&writer);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(scratch_register_keeps_a_byte),
		TEST(divisor_hides_behind_dlab),
		TEST(fifo_enable_reads_back_as_a_16550a),
		TEST(loop_back_returns_modem_lines_and_bytes),
		TEST(input_that_came_during_loop_back_is_asked_for_after_it),
		TEST(transmitted_bytes_leave_in_order_at_once),
		TEST(enabling_the_transmit_interrupt_raises_it_once),
		TEST(burst_of_sixteen_bytes_costs_one_edge),
		TEST(received_byte_interrupts_and_is_read),
		TEST(input_below_the_trigger_level_is_told_as_waiting),
		TEST(full_fifo_takes_no_more_and_asks_when_empty),
		TEST(without_fifo_one_byte_is_held),
		TEST(clearing_the_fifo_drops_what_it_holds),
		TEST(looped_overrun_is_reported_once),
		TEST(saved_uart_has_these_bytes),
		TEST(driver_finds_its_uart_elsewhere),
		TEST(idle_uart_asks_for_input_and_raises_nothing),
		TEST(edge_before_the_resume_does_not_stand_for_the_one_after),
		TEST(cut_newer_or_overfull_section_is_refused),
		TEST(registers_keep_only_what_they_can_hold),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
