/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The 16550A. See uart.h.
 */
#include "hypervisor/uart.h"

#include <errno.h>
#include <string.h>

/* Register offsets. */
enum {
	REG_DATA = 0, /* RBR, THR; divisor low while DLAB */
	REG_IER = 1,  /* divisor high while DLAB */
	REG_IIR = 2,  /* write: FCR */
	REG_LCR = 3,
	REG_MCR = 4,
	REG_LSR = 5,
	REG_MSR = 6,
	REG_SCR = 7,
};

#define IER_RX	 0x01
#define IER_THRE 0x02
#define IER_LINE 0x04
#define IER_MASK 0x0f

#define IIR_NONE      0x01
#define IIR_THRE      0x02
#define IIR_RX	      0x04
#define IIR_LINE      0x06
#define IIR_RX_WAITS  0x0c /* fewer bytes than the trigger level, for a while */
#define IIR_FIFO_MODE 0xc0

#define FCR_ENABLE	  0x01
#define FCR_CLEAR_RX	  0x02
#define FCR_TRIGGER_SHIFT 6
#define FCR_KEPT	  0xc9

#define LCR_DLAB 0x80

#define MCR_LOOP 0x10
#define MCR_MASK 0x1f

#define LSR_DATA_READY 0x01
#define LSR_OVERRUN    0x02
#define LSR_TX_EMPTY   0x60 /* holding register and shifter */

#define MSR_CONNECTED 0xb0 /* CTS, DSR, DCD */

/* Saved state: IER, FCR, LCR, MCR, SCR, divisor (2), thre_pending, overrun; blob of the FIFO,
 * oldest byte first. */
#define STATE_VERSION 1

void uart_init(struct uart *uart, const struct uart_ops *ops, void *ctx)
{
	*uart = (struct uart){
		.ops = ops, .ctx = ctx, .divisor = {12, 0}, /* 9600 baud, as firmware leaves it */
	};
	pthread_mutex_init(&uart->lock, NULL);
}

void uart_fini(struct uart *uart)
{
	pthread_mutex_destroy(&uart->lock);
}

static uint32_t fifo_size(const struct uart *uart)
{
	return uart->fcr & FCR_ENABLE ? UART_FIFO_BYTES : 1;
}

static uint32_t trigger_level(const struct uart *uart)
{
	static const uint8_t levels[] = {1, 4, 8, 14};

	return uart->fcr & FCR_ENABLE ? levels[uart->fcr >> FCR_TRIGGER_SHIFT] : 1;
}

/* The highest pending and enabled interrupt, as the IIR shows it. */
static uint8_t interrupt_id(const struct uart *uart)
{
	if (uart->ier & IER_LINE && uart->overrun)
		return IIR_LINE;
	if (uart->ier & IER_RX && uart->rx_count)
		return uart->rx_count >= trigger_level(uart) ? IIR_RX : IIR_RX_WAITS;
	if (uart->ier & IER_THRE && uart->thre_pending)
		return IIR_THRE;
	return IIR_NONE;
}

static void line_update(struct uart *uart)
{
	bool up = interrupt_id(uart) != IIR_NONE;

	if (up && !uart->line)
		uart->ops->interrupt(uart->ctx);
	uart->line = up;
}

static void rx_clear(struct uart *uart)
{
	uart->rx_head = 0;
	uart->rx_count = 0;
}

static void rx_push(struct uart *uart, uint8_t byte)
{
	uart->rx[(uart->rx_head + uart->rx_count) % UART_FIFO_BYTES] = byte;
	uart->rx_count++;
}

static uint8_t data_read(struct uart *uart)
{
	uint8_t byte;

	if (!uart->rx_count)
		return 0;
	byte = uart->rx[uart->rx_head];
	uart->rx_head = (uart->rx_head + 1) % UART_FIFO_BYTES;
	if (--uart->rx_count == 0)
		uart->ops->want_input(uart->ctx);
	return byte;
}

static void data_write(struct uart *uart, uint8_t byte)
{
	if (!(uart->mcr & MCR_LOOP))
		uart->ops->transmit(uart->ctx, byte);
	else if (uart->rx_count < fifo_size(uart))
		rx_push(uart, byte);
	else
		uart->overrun = true;
	/* Empty again already. Where the guest has not looked at the last edge yet, that one
	 * serves. */
	uart->thre_pending = true;
}

static uint8_t iir_read(struct uart *uart)
{
	uint8_t id = interrupt_id(uart);

	if (id == IIR_THRE)
		uart->thre_pending = false;
	return id | (uart->fcr & FCR_ENABLE ? IIR_FIFO_MODE : 0);
}

static uint8_t lsr_read(struct uart *uart)
{
	uint8_t lsr = LSR_TX_EMPTY;

	if (uart->rx_count)
		lsr |= LSR_DATA_READY;
	if (uart->overrun)
		lsr |= LSR_OVERRUN;
	uart->overrun = false;
	return lsr;
}

/* In loop-back the outputs of the MCR come back as inputs. */
static uint8_t msr_read(const struct uart *uart)
{
	uint8_t mcr = uart->mcr;

	if (!(mcr & MCR_LOOP))
		return MSR_CONNECTED;
	return (uint8_t)((mcr & 0x0c) << 4 | (mcr & 0x02) << 3 | (mcr & 0x01) << 5);
}

static uint8_t register_read(struct uart *uart, uint32_t offset)
{
	bool divisor = uart->lcr & LCR_DLAB;

	switch (offset) {
	case REG_DATA:
		return divisor ? uart->divisor[0] : data_read(uart);
	case REG_IER:
		return divisor ? uart->divisor[1] : uart->ier;
	case REG_IIR:
		return iir_read(uart);
	case REG_LCR:
		return uart->lcr;
	case REG_MCR:
		return uart->mcr;
	case REG_LSR:
		return lsr_read(uart);
	case REG_MSR:
		return msr_read(uart);
	case REG_SCR:
		return uart->scr;
	default:
		return 0xff;
	}
}

static void fcr_write(struct uart *uart, uint8_t value)
{
	/* changing between FIFO and single-byte mode clears the FIFO too */
	if (value & FCR_CLEAR_RX || (value ^ uart->fcr) & FCR_ENABLE)
		rx_clear(uart);
	uart->fcr = value & FCR_ENABLE ? value & FCR_KEPT : 0;
	if (!uart->rx_count)
		uart->ops->want_input(uart->ctx);
}

static void mcr_write(struct uart *uart, uint8_t value)
{
	bool was_looped = uart->mcr & MCR_LOOP;

	uart->mcr = value & MCR_MASK;
	/* input that came during loop-back still waits outside */
	if (was_looped && !(uart->mcr & MCR_LOOP) && !uart->rx_count)
		uart->ops->want_input(uart->ctx);
}

static void ier_write(struct uart *uart, uint8_t value)
{
	/* enabling the transmitter's interrupt while it is empty raises it */
	if (value & ~uart->ier & IER_THRE)
		uart->thre_pending = true;
	uart->ier = value & IER_MASK;
}

static void register_write(struct uart *uart, uint32_t offset, uint8_t value)
{
	bool divisor = uart->lcr & LCR_DLAB;

	switch (offset) {
	case REG_DATA:
		if (divisor)
			uart->divisor[0] = value;
		else
			data_write(uart, value);
		break;
	case REG_IER:
		if (divisor)
			uart->divisor[1] = value;
		else
			ier_write(uart, value);
		break;
	case REG_IIR:
		fcr_write(uart, value);
		break;
	case REG_LCR:
		uart->lcr = value;
		break;
	case REG_MCR:
		mcr_write(uart, value);
		break;
	case REG_SCR:
		uart->scr = value;
		break;
	default: /* LSR and MSR are read-only */
		break;
	}
}

uint8_t uart_read(struct uart *uart, uint32_t offset)
{
	uint8_t value;

	pthread_mutex_lock(&uart->lock);
	value = register_read(uart, offset);
	line_update(uart);
	pthread_mutex_unlock(&uart->lock);
	return value;
}

void uart_write(struct uart *uart, uint32_t offset, uint8_t value)
{
	pthread_mutex_lock(&uart->lock);
	register_write(uart, offset, value);
	line_update(uart);
	pthread_mutex_unlock(&uart->lock);
}

size_t uart_receive(struct uart *uart, const uint8_t *bytes, size_t count)
{
	size_t taken = 0;

	pthread_mutex_lock(&uart->lock);
	/* looped back, the receiver hears only the transmitter */
	while (!(uart->mcr & MCR_LOOP) && taken < count && uart->rx_count < fifo_size(uart))
		rx_push(uart, bytes[taken++]);
	line_update(uart);
	pthread_mutex_unlock(&uart->lock);
	return taken;
}

/* ---- saved state ---- */

void uart_save(struct uart *uart, struct state_writer *writer)
{
	uint8_t fifo[UART_FIFO_BYTES];

	state_begin(writer, UART_STATE_TAG, STATE_VERSION, STATE_VERSION);
	pthread_mutex_lock(&uart->lock);
	for (uint32_t i = 0; i < uart->rx_count; i++)
		fifo[i] = uart->rx[(uart->rx_head + i) % UART_FIFO_BYTES];
	state_put_u8(writer, uart->ier);
	state_put_u8(writer, uart->fcr);
	state_put_u8(writer, uart->lcr);
	state_put_u8(writer, uart->mcr);
	state_put_u8(writer, uart->scr);
	state_put_bytes(writer, uart->divisor, sizeof(uart->divisor));
	state_put_u8(writer, uart->thre_pending);
	state_put_u8(writer, uart->overrun);
	state_put_blob(writer, fifo, uart->rx_count);
	pthread_mutex_unlock(&uart->lock);
	state_end(writer);
}

/* Registers that hold only what a guest's write leaves in them. */
static void registers_restore(struct uart *uart, struct state_reader *section)
{
	uart->ier = state_get_u8(section) & IER_MASK;
	uart->fcr = state_get_u8(section) & FCR_KEPT;
	uart->lcr = state_get_u8(section);
	uart->mcr = state_get_u8(section) & MCR_MASK;
	uart->scr = state_get_u8(section);
	uart->divisor[0] = state_get_u8(section);
	uart->divisor[1] = state_get_u8(section);
	uart->thre_pending = state_get_u8(section);
	uart->overrun = state_get_u8(section);
}

int uart_restore(struct uart *uart, struct state_reader *section)
{
	int result = state_check_version(section, STATE_VERSION);
	const uint8_t *fifo;
	size_t count;

	if (result)
		return result;
	pthread_mutex_lock(&uart->lock);
	registers_restore(uart, section);
	fifo = state_get_blob(section, fifo_size(uart), &count);
	rx_clear(uart);
	for (size_t i = 0; fifo && i < count; i++)
		rx_push(uart, fifo[i]);
	pthread_mutex_unlock(&uart->lock);
	return section->error;
}

void uart_resume(struct uart *uart)
{
	pthread_mutex_lock(&uart->lock);
	uart->line = false; /* so that an interrupt that is still pending is an edge */
	line_update(uart);
	if (!uart->rx_count)
		uart->ops->want_input(uart->ctx);
	pthread_mutex_unlock(&uart->lock);
}
