/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Devices at I/O ports. See platform.h.
 */
#include "hypervisor/platform.h"

#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "hypervisor/acpi_tables.h"
#include "hypervisor/console.h"
#include "hypervisor/rtc.h"

#define LOG_COMPONENT "platform"

#define STATE_VERSION 1 /* sections: CMOS index (u8), UART, console */
#define STATE_CMOS    STATE_TAG('C', 'M', 'O', 'S')

#define PORT_KEYBOARD_COMMAND 0x64
#define KEYBOARD_RESET	      0xfe
#define RTC_INDEX_MASK	      0x7f /* bit 7 disables NMIs on a PC */

static void uart_transmit(void *ctx, uint8_t byte)
{
	struct platform *platform = ctx;

	console_write(platform->console, &byte, 1);
}

static void uart_want_input(void *ctx)
{
	struct platform *platform = ctx;

	console_want_input(platform->console);
}

static void uart_interrupt(void *ctx)
{
	struct platform *platform = ctx;
	const uint64_t one = 1;

	if (write(platform->uart_line, &one, sizeof(one)) < 0)
		log_warn_limited("UART interrupt lost");
}

static const struct uart_ops platform_uart_ops = {
	.transmit = uart_transmit,
	.want_input = uart_want_input,
	.interrupt = uart_interrupt,
};

static size_t console_input(void *ctx, const uint8_t *bytes, size_t count)
{
	struct platform *platform = ctx;

	return uart_receive(&platform->uart, bytes, count);
}

void platform_init(struct platform *platform, struct console *console, int uart_line,
		   platform_power_fn power, void *ctx)
{
	platform->console = console;
	platform->power = power;
	platform->ctx = ctx;
	platform->uart_line = uart_line;
	atomic_init(&platform->rtc_index, 0);
	uart_init(&platform->uart, &platform_uart_ops, platform);
	console_set_input(console, console_input, platform);
}

void platform_fini(struct platform *platform)
{
	console_set_input(platform->console, NULL, NULL);
	uart_fini(&platform->uart);
}

static uint8_t port_read(struct platform *platform, uint16_t port)
{
	if (port >= UART_PORT && port < UART_PORT + UART_PORT_COUNT)
		return uart_read(&platform->uart, (uint32_t)port - UART_PORT);
	switch (port) {
	case RTC_PORT_DATA:
		return rtc_register(atomic_load(&platform->rtc_index), time(NULL));
	case PORT_KEYBOARD_COMMAND: /* status: input buffer empty, so a reset can be sent */
	case ACPI_PORT_SLEEP_CONTROL:
	case ACPI_PORT_SLEEP_STATUS:
		return 0;
	default:
		return 0xff;
	}
}

static enum engine_port_result port_write(struct platform *platform, uint16_t port, uint8_t value)
{
	if (port >= UART_PORT && port < UART_PORT + UART_PORT_COUNT) {
		uart_write(&platform->uart, (uint32_t)port - UART_PORT, value);
		return ENGINE_PORT_DONE;
	}
	if (port == RTC_PORT_INDEX)
		atomic_store(&platform->rtc_index, value & RTC_INDEX_MASK);
	if ((port == PORT_KEYBOARD_COMMAND && value == KEYBOARD_RESET) ||
	    (port == ACPI_PORT_RESET && value == ACPI_RESET_VALUE)) {
		platform->power(platform->ctx, PLATFORM_RESET);
		return ENGINE_PORT_STOP_VP;
	}
	if (port == ACPI_PORT_SLEEP_CONTROL && value & ACPI_SLEEP_ENABLE &&
	    ACPI_SLEEP_TYPE(value) == ACPI_SLEEP_TYPE_S5) {
		platform->power(platform->ctx, PLATFORM_POWER_OFF);
		return ENGINE_PORT_STOP_VP;
	}
	return ENGINE_PORT_DONE;
}

enum engine_port_result platform_port_io(struct platform *platform, uint16_t port, bool write,
					 uint8_t *data, uint32_t size)
{
	enum engine_port_result result = ENGINE_PORT_DONE;

	for (uint32_t i = 0; i < size; i++) {
		uint16_t at = (uint16_t)(port + i);

		if (!write)
			data[i] = port_read(platform, at);
		else if (port_write(platform, at, data[i]) == ENGINE_PORT_STOP_VP)
			result = ENGINE_PORT_STOP_VP;
	}
	return result;
}

/* ---- saved state ---- */

int platform_save(struct platform *platform, struct state_writer *writer)
{
	state_begin(writer, PLATFORM_STATE_TAG, STATE_VERSION, STATE_VERSION);
	state_begin(writer, STATE_CMOS, STATE_VERSION, STATE_VERSION);
	state_put_u8(writer, atomic_load(&platform->rtc_index));
	state_end(writer);
	uart_save(&platform->uart, writer);
	console_save(platform->console, writer);
	state_end(writer);
	return writer->error;
}

static int cmos_restore(struct platform *platform, struct state_reader *section)
{
	int result = state_check_version(section, STATE_VERSION);

	if (result)
		return result;
	atomic_store(&platform->rtc_index, state_get_u8(section) & RTC_INDEX_MASK);
	return section->error;
}

static int part_restore(struct platform *platform, struct state_reader *part)
{
	switch (part->tag) {
	case STATE_CMOS:
		return cmos_restore(platform, part);
	case UART_STATE_TAG:
		return uart_restore(&platform->uart, part);
	case CONSOLE_STATE_TAG:
		return console_restore(platform->console, part);
	default:
		return state_check_skippable(part);
	}
}

int platform_restore(struct platform *platform, struct state_reader *section)
{
	struct state_reader part;
	int result = state_check_version(section, STATE_VERSION);

	while (!result) {
		result = state_next(section, &part);
		if (result == 0)
			return 0;
		if (result > 0)
			result = part_restore(platform, &part);
	}
	return result;
}

void platform_resume(struct platform *platform)
{
	uart_resume(&platform->uart);
}
