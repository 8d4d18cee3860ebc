/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The few PC devices that a guest finds at I/O ports: COM1, the CMOS clock, ACPI's sleep and reset
 * registers, and the keyboard controller's reset. All other ports read as ones, as on an ISA bus.
 */
#ifndef LUNAR_HYPERVISOR_PLATFORM_H
#define LUNAR_HYPERVISOR_PLATFORM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "hypervisor/engine.h"
#include "hypervisor/uart.h"

struct console;

enum platform_power {
	PLATFORM_POWER_OFF,
	PLATFORM_RESET,
};

typedef void (*platform_power_fn)(void *ctx, enum platform_power what);

struct platform {
	struct console *console;
	platform_power_fn power; /* called on the VP's thread */
	void *ctx;
	int uart_line;
	struct uart uart;
	_Atomic uint8_t rtc_index;
};

/* console's input goes to the UART until platform_fini(). uart_line: eventfd of its interrupt. */
void platform_init(struct platform *platform, struct console *console, int uart_line,
		   platform_power_fn power, void *ctx);
void platform_fini(struct platform *platform);

/* engine_events.port_io. Any VP's thread. */
enum engine_port_result platform_port_io(struct platform *platform, uint16_t port, bool write,
					 uint8_t *data, uint32_t size);

#endif
