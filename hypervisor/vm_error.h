/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Why a VM cannot start or go on, on its way to the user: the exit code that vmwp ends with, and
 * one line that says what is wrong and what to do about it.
 */
#ifndef LUNAR_HYPERVISOR_VM_ERROR_H
#define LUNAR_HYPERVISOR_VM_ERROR_H

#include "base/exit_code.h"

#define VM_MESSAGE_BYTES 512

struct vm_error {
	enum exit_code code;
	char message[VM_MESSAGE_BYTES];
};

/* Fills error (one line, cut to fit) and returns result, so that a caller fails in one statement.
 */
int vm_error_set(struct vm_error *error, enum exit_code code, int result, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

#endif
