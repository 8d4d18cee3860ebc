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

#include "base/state.h"
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

/* ---- saved state; loop's thread, while no VP runs ---- */

#define PLATFORM_STATE_TAG STATE_TAG('P', 'L', 'A', 'T')

/* One section: the CMOS index, the UART, and the console's scroll-back. */
int platform_save(struct platform *platform, struct state_writer *writer);
/* Returns 0, -EPROTO, -EOPNOTSUPP or -ENOMEM. */
int platform_restore(struct platform *platform, struct state_reader *section);
/* After platform_restore(), and after engine_ops.restore(), since that would undo it: raises the
 * UART's interrupt again where it was up, and asks for input. */
void platform_resume(struct platform *platform);

#endif
