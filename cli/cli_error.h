/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How the parts of lunar tell what went wrong: they return the exit code, and leave one line for
 * the user that says what to do.
 */
#ifndef LUNAR_CLI_CLI_ERROR_H
#define LUNAR_CLI_CLI_ERROR_H

#include "base/exit_code.h"

struct cli_error {
	char message[1024];
};

/* Fills the message and returns code, so that callers write return cli_error_set(...). */
enum exit_code cli_error_set(struct cli_error *error, enum exit_code code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* The same for what a VM, or its process, says: "NAME: ..." unless it names itself. */
enum exit_code cli_error_of_vm(struct cli_error *error, enum exit_code code, const char *name,
			       const char *message);

/* The same for a file that the system refused: rc is -errno. EXIT_PERMISSION, or otherwise. */
enum exit_code cli_error_system(struct cli_error *error, enum exit_code otherwise, int rc,
				const char *what, const char *path);

#endif
