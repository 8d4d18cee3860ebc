/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * See vm_redefine.h. The stored definition is changed only where it is the one that the VM runs by:
 * what its owner has written there since is for the next start.
 */
#include "hypervisor/vm_redefine.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/exit_code.h"
#include "base/log.h"
#include "hypervisor/vm_definition.h"
#include "hypervisor/vm_internal.h"

#define LOG_COMPONENT "vm"

int vm_check_changeable(const struct vm *vm, const char *what, struct vm_error *error)
{
	if (vm->move.source)
		return vm_error_set(error, EXIT_STATE, -EBUSY,
				    "%s is being moved or saved; change its %s before or after",
				    vm->config->name, what);
	if (vm->state != VM_STATE_RUNNING || !vm->partition)
		return vm_error_set(error, EXIT_STATE, -EINVAL, "%s is %s, not running",
				    vm->config->name, vm_state_name(vm->state));
	return 0;
}

bool vm_redefine(const struct vm_defined *defined, char *text, size_t length)
{
	struct vm *vm = defined->vm;
	int result = vm_definition_store(vm->config->name, *defined->definition,
					 *defined->definition_bytes, text, length);

	if (result)
		log_warn("%s: its stored definition is not changed: %s", vm->config->name,
			 result == -ENOENT ? "there is none, or another one" : strerror(-result));
	free(*defined->definition);
	*defined->definition = text;
	*defined->definition_bytes = length;
	vm->definition = text;
	vm->definition_bytes = length;
	return result == 0;
}
