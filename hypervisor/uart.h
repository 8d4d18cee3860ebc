/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A 16550A UART at a PC's COM1, as far as a guest's driver can tell: FIFOs, interrupts, loop-back,
 * scratch and divisor registers. A transmitted byte leaves at once, so the transmitter is always
 * empty. Received bytes wait outside until the FIFO has room (flow control, never a lost byte).
 * Source: National Semiconductor PC16550D data sheet.
 */
#ifndef LUNAR_HYPERVISOR_UART_H
#define LUNAR_HYPERVISOR_UART_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/state.h"

#define UART_PORT	0x3f8
#define UART_PORT_COUNT 8
#define UART_FIFO_BYTES 16

struct uart_ops {
	void (*transmit)(void *ctx, uint8_t byte);
	/* The receiver can take input (again): give more, if there is some. */
	void (*want_input)(void *ctx);
	/* The interrupt line went up (an edge). */
	void (*interrupt)(void *ctx);
};

/* Ops are called with the lock held, from the thread that called into the UART. */
struct uart {
	const struct uart_ops *ops;
	void *ctx;
	pthread_mutex_t lock; /* guards all below */
	uint8_t ier, fcr, lcr, mcr, scr;
	uint8_t divisor[2];
	uint8_t rx[UART_FIFO_BYTES];
	uint32_t rx_head;
	uint32_t rx_count;
	bool thre_pending; /* "transmitter empty" has not been seen in the IIR */
	bool overrun;
	bool line; /* interrupt line */
};

void uart_init(struct uart *uart, const struct uart_ops *ops, void *ctx);
void uart_fini(struct uart *uart);

/* A guest's access to register offset 0..7. Any thread. */
uint8_t uart_read(struct uart *uart, uint32_t offset);
void uart_write(struct uart *uart, uint32_t offset, uint8_t value);

/* Puts bytes into the receive FIFO; returns how many fitted. Any thread. */
size_t uart_receive(struct uart *uart, const uint8_t *bytes, size_t count);

#define UART_STATE_TAG STATE_TAG('U', 'A', 'R', 'T')

/* One section: registers and FIFO. Any thread. */
void uart_save(struct uart *uart, struct state_writer *writer);
/* No op is called. Returns 0, -EPROTO or -EOPNOTSUPP. */
int uart_restore(struct uart *uart, struct state_reader *section);
/* Interrupts again where the line was up, and asks for input where there is room. */
void uart_resume(struct uart *uart);

#endif
