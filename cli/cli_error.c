/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One-line errors with an exit code.
 */
#include "cli/cli_error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum exit_code cli_error_set(struct cli_error *error, enum exit_code code, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(error->message, sizeof(error->message), format, args);
	va_end(args);
	return code;
}

enum exit_code cli_error_of_vm(struct cli_error *error, enum exit_code code, const char *name,
			       const char *message)
{
	size_t length = strlen(name);
	bool named = strncmp(message, name, length) == 0 &&
		     (message[length] == ' ' || message[length] == ':');

	return cli_error_set(error, code, "%.64s%s%.900s", named ? "" : name, named ? "" : ": ",
			     message);
}

enum exit_code cli_error_system(struct cli_error *error, enum exit_code otherwise, int rc,
				const char *what, const char *path)
{
	if (rc == -EACCES || rc == -EPERM)
		return cli_error_set(error, EXIT_PERMISSION,
				     "%s %s: %s; run lunar as root, or set LUNAR_STATE_DIR and "
				     "LUNAR_RUN_DIR to folders of yours",
				     what, path, strerror(-rc));
	return cli_error_set(error, otherwise, "%s %s: %s", what, path, strerror(-rc));
}
