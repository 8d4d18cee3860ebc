/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Phrases for the exit codes, kept beside their numbers.
 */
#include "base/exit_code.h"

#include <stddef.h>

static const char *const phrases[] = {
	[EXIT_OK] = "success",
	[EXIT_INTERNAL] = "internal error",
	[EXIT_USAGE] = "wrong usage",
	[EXIT_CONFIG] = "invalid configuration",
	[EXIT_NO_KERNEL] = "kernel or initrd missing",
	[EXIT_BAD_KERNEL] = "not a bootable kernel",
	[EXIT_NO_KVM] = "no usable KVM",
	[EXIT_NO_MEMORY] = "not enough memory",
	[EXIT_NO_SWITCH] = "virtual switch unavailable",
	[EXIT_BAD_DEVARGS] = "uplink not accepted",
	[EXIT_PORTAL_UNREACHABLE] = "portal unreachable",
	[EXIT_UNKNOWN_TARGET] = "unknown target",
	[EXIT_NO_LUN] = "no such LUN",
	[EXIT_AUTH_FAILED] = "authentication failed",
	[EXIT_NOT_FOUND] = "not found",
	[EXIT_EXISTS] = "already in use",
	[EXIT_TIMEOUT] = "timed out",
	[EXIT_GUEST_CRASHED] = "guest crashed",
	[EXIT_NO_KERNEL_SUPPORT] = "missing kernel support",
	[EXIT_STATE] = "not possible in this state",
	[EXIT_PERMISSION] = "permission denied",
	[EXIT_HOST_UNREACHABLE] = "other host unreachable",
	[EXIT_NOT_TRUSTED] = "other host not trusted",
	[EXIT_CANNOT_MOVE] = "cannot be moved",
	[EXIT_CANCELLED] = "cancelled",
	[EXIT_BAD_STATE] = "unusable saved state",
	[EXIT_NO_DISK] = "disk unavailable",
};

const char *exit_code_phrase(enum exit_code code)
{
	size_t index = (size_t)code;
	if (index >= sizeof(phrases) / sizeof(phrases[0]) || phrases[index] == NULL)
		return "unknown";
	return phrases[index];
}
