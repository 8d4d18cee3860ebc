/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Watches a move or a save that is under way to its end, shows where it is, and cancels it on
 * Ctrl-C. The VM's process may end meanwhile, as it does after a move: then what it left behind
 * tells the outcome.
 */
#ifndef LUNAR_CLI_MIGRATION_FOLLOW_H
#define LUNAR_CLI_MIGRATION_FOLLOW_H

#include <jansson.h>

#include "cli/commands.h"

/*
 * Shows progress on context->err: a bar where that is a terminal, else lines; with --json one
 * object a line on context->out. begun_unix_ms: when the caller asked for the move.
 * Returns EXIT_OK with the phase "done" or "checked" in *migration; or the move's exit code with
 * its message, EXIT_CANCELLED where it was cancelled, EXIT_TIMEOUT where vmwp has stopped to
 * answer, EXIT_INTERNAL where it ended and left no word. *migration is the caller's; NULL where
 * nothing was ever told.
 */
enum exit_code migration_follow(const struct command_context *context, const char *name,
				int64_t begun_unix_ms, json_t **migration, struct cli_error *error);

/* Now, as migration_status.started_unix_ms counts. */
int64_t migration_follow_clock(void);

/* {"event": "end", figures..., "exit_code": N, "error": null or {...}} as one line. migration may
 * be NULL. */
enum exit_code migration_follow_print_end(const struct command_context *context, const char *name,
					  json_t *migration, enum exit_code code,
					  const struct cli_error *problem, struct cli_error *error);

#endif
