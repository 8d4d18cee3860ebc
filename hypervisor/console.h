/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where the guest's serial console goes: standard input and output, a log file, or a unix socket
 * with several readers. Output passes through one ring that the guest never waits for: a reader
 * that falls behind by more than the ring loses the oldest bytes. A new reader of the socket first
 * gets the last 64 KiB. The program ignores SIGPIPE.
 */
#ifndef LUNAR_HYPERVISOR_CONSOLE_H
#define LUNAR_HYPERVISOR_CONSOLE_H

#include <stddef.h>
#include <stdint.h>

#include "base/state.h"
#include "hypervisor/vm_config.h"
#include "hypervisor/vm_error.h"

struct console;
struct event_loop;

#define CONSOLE_SCROLL_BACK_BYTES 65536
#define CONSOLE_MAX_READERS	  16

/* Offers input to the guest, on the loop's thread; returns how many bytes it took. The rest is
 * offered again after console_want_input(). */
typedef size_t (*console_input_fn)(void *ctx, const uint8_t *bytes, size_t count);

/*
 * path: the file or socket; NULL for stdio. A terminal on standard input is put into raw mode until
 * destroy; Ctrl-] in it sends SIGTERM to this process. Returns 0 or -errno with *error.
 */
int console_create(enum vm_console_kind kind, const char *path, struct event_loop *loop,
		   struct console **console, struct vm_error *error);
/* Takes NULL. Writes out what the readers take without waiting. */
void console_destroy(struct console *console);

/* Who gets the input; fn NULL: nobody, it waits. Loop's thread. */
void console_set_input(struct console *console, console_input_fn fn, void *ctx);

/* Any thread; never waits for a reader. */
void console_write(struct console *console, const uint8_t *bytes, size_t count);
/* Any thread: the guest has room again. */
void console_want_input(struct console *console);

#define CONSOLE_STATE_TAG STATE_TAG('C', 'O', 'N', 'S')

/* One section, which whoever does not know it may skip: the scroll-back. Loop's thread. */
void console_save(struct console *console, struct state_writer *writer);
/* A reader of the socket then sees the past as it would have at the source; stdio and a file get
 * only what is new, since theirs is where the guest ran before. Returns 0, -EPROTO or -EOPNOTSUPP.
 */
int console_restore(struct console *console, struct state_reader *section);

#endif
