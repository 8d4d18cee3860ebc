/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A bar for work that takes a while, and Ctrl-C, which ends that work in order.
 */
#ifndef LUNAR_CLI_PROGRESS_H
#define LUNAR_CLI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

#include "cli/commands.h"

struct progress {
	const struct command_context *context;
	const char *what; /* stands before the bar */
	bool terminal, shown;
	uint64_t began_ns, next_ns;
};

/* SIGINT and SIGTERM are asked for from here on. */
void progress_begin(struct progress *progress, const struct command_context *context,
		    const char *what);
/* Shows it, on a terminal's standard error, where it is time to; false: the user wants to end. */
bool progress_step(struct progress *progress, uint64_t done_bytes, uint64_t total_bytes);
/* Takes the bar away. */
void progress_end(struct progress *progress);

#endif
