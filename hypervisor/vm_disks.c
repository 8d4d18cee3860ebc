/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * See vm_disks.h. Whether the definition can be changed is tried before anything is done.
 */
#include "hypervisor/vm_disks.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "hypervisor/vm_definition.h"
#include "hypervisor/vm_definition_disks.h"
#include "hypervisor/vm_internal.h"
#include "hypervisor/vm_redefine.h"

#define LOG_COMPONENT "vm"

/* The definition with the disks that there are now. */
static int definition_make(const struct vm_defined *target, char **text, size_t *length,
			   struct vm_error *error)
{
	struct vm_disk_config disks[VM_MAX_DISKS];
	size_t count = vm_storage_get_configs(target->vm->storage, disks);
	int result = vm_definition_set_disks(*target->definition, *target->definition_bytes, disks,
					     count, text, length, error->message,
					     sizeof(error->message));

	if (result)
		error->code = result == -ENOMEM ? EXIT_NO_MEMORY : EXIT_CONFIG;
	return result;
}

static int begin(const struct vm_defined *target, struct vm_error *error)
{
	char *text = NULL;
	size_t length;
	int result = vm_check_changeable(target->vm, "disks", error);

	result = result ? result : definition_make(target, &text, &length, error);
	free(text);
	return result;
}

static void definition_follow(const struct vm_defined *target, struct vm_disks_result *result)
{
	struct vm *vm = target->vm;
	struct vm_error error;
	char *text = NULL;
	size_t length = 0;

	result->stored = false;
	if (definition_make(target, &text, &length, &error)) {
		log_error("%s: its definition does not say what disks it has: %s", vm->config->name,
			  error.message);
		return;
	}
	result->stored = vm_redefine(target, text, length);
}

static void result_fill(const struct vm *vm, uint32_t controller, uint32_t lun,
			struct vm_disks_result *result)
{
	struct vm_disk_status disks[VM_MAX_DISKS];
	size_t count = vm_storage_get_disks(vm->storage, disks);

	*result = (struct vm_disks_result){.controller = controller, .lun = lun};
	for (size_t i = 0; i < count; i++)
		if (disks[i].config->controller == controller && disks[i].config->lun == lun)
			result->size_bytes = disks[i].info.size_bytes;
}

int vm_disks_add(const struct vm_defined *target, const struct vm_disk_config *config,
		 struct vm_disks_result *result, struct vm_error *error)
{
	const struct vm_disk_config *added;
	int rc = begin(target, error);

	rc = rc ? rc : vm_storage_add(target->vm->storage, config, &added, error);
	if (rc)
		return rc;
	result_fill(target->vm, added->controller, added->lun, result);
	definition_follow(target, result);
	return 0;
}

int vm_disks_remove(const struct vm_defined *target, uint32_t controller, uint32_t lun,
		    struct vm_disks_result *result, struct vm_error *error)
{
	int rc = begin(target, error);

	rc = rc ? rc : vm_storage_remove(target->vm->storage, controller, lun, error);
	if (rc)
		return rc;
	result_fill(target->vm, controller, lun, result);
	definition_follow(target, result);
	return 0;
}

int vm_disks_change_medium(const struct vm_defined *target, uint32_t controller, uint32_t lun,
			   const char *path, struct vm_disks_result *result, struct vm_error *error)
{
	int rc = begin(target, error);

	rc = rc ? rc : vm_storage_change_medium(target->vm->storage, controller, lun, path, error);
	if (rc)
		return rc;
	result_fill(target->vm, controller, lun, result);
	definition_follow(target, result);
	return 0;
}

int vm_disks_resize(const struct vm_defined *target, uint32_t controller, uint32_t lun,
		    uint64_t bytes, struct vm_disks_result *result, struct vm_error *error)
{
	uint64_t size_bytes;
	int rc = vm_check_changeable(target->vm, "disks", error);

	rc = rc ? rc
		: vm_storage_resize(target->vm->storage, controller, lun, bytes, &size_bytes,
				    error);
	if (rc)
		return rc;
	result_fill(target->vm, controller, lun, result);
	result->stored = true;
	return 0;
}
