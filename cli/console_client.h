/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A person, or a script, at a VM's serial console.
 */
#ifndef LUNAR_CLI_CONSOLE_CLIENT_H
#define LUNAR_CLI_CONSOLE_CLIENT_H

#include <stdint.h>

#include "cli/cli_error.h"

#define CONSOLE_LEAVE_KEY 0x1d /* Ctrl-] */

enum console_end {
	CONSOLE_LEFT,	/* Ctrl-], or a signal */
	CONSOLE_DONE,	/* piped input ended, and the guest has been quiet for linger_ms */
	CONSOLE_CLOSED, /* the VM closed it */
};

/*
 * Carries bytes between the console's socket and input/output until one of the ends above. A
 * terminal as input is put into raw mode meanwhile; Ctrl-] leaves only there, a script may send any
 * byte. The fds stay the caller's. Returns EXIT_OK with *end, or EXIT_INTERNAL.
 */
enum exit_code console_client_run(int socket, int input, int output, uint32_t linger_ms,
				  enum console_end *end, struct cli_error *error);

#endif
