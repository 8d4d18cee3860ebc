/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Errors for the user. See vm_error.h.
 */
#include "hypervisor/vm_error.h"

#include <stdarg.h>
#include <stdio.h>

int vm_error_set(struct vm_error *error, enum exit_code code, int result, const char *format, ...)
{
	va_list args;

	error->code = code;
	va_start(args, format);
	vsnprintf(error->message, sizeof(error->message), format, args);
	va_end(args);
	return result;
}
