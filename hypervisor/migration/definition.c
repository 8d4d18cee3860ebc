/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Definitions that come and go with VMs. See definition.h.
 */
#include "hypervisor/migration/definition.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hypervisor/migration/durable.h"
#include "hypervisor/vm_paths.h"

static int prepared_path(const char *vm, const char *id, char path[PATH_MAX])
{
	return durable_path(path, "%s/vms/.%s.%s.incoming", vm_paths_state_dir(), vm, id);
}

int migration_definition_prepare(const char *vm, const char *id, const void *text, size_t length)
{
	char path[PATH_MAX];
	int rc = prepared_path(vm, id, path);

	rc = rc ? rc : durable_dir_make(vm_paths_state_dir(), "vms");
	rc = rc ? rc : durable_write(path, text, length, true);
	return rc ? rc : durable_dir_sync(vm_paths_state_dir(), "vms");
}

int migration_definition_place(const char *vm, const char *id)
{
	char prepared[PATH_MAX], path[PATH_MAX];
	int rc = prepared_path(vm, id, prepared);

	rc = rc ? rc : vm_path(VM_PATH_DEFINITION, vm, path, sizeof(path));
	if (rc)
		return rc;
	if (rename(prepared, path) < 0)
		return errno == ENOENT ? 0 : -errno;
	return durable_dir_sync(vm_paths_state_dir(), "vms");
}

void migration_definition_discard(const char *vm, const char *id)
{
	char path[PATH_MAX];

	if (!prepared_path(vm, id, path))
		unlink(path);
}

bool migration_definition_is_prepared(const char *vm, const char *id)
{
	char path[PATH_MAX];

	return !prepared_path(vm, id, path) && access(path, F_OK) == 0;
}

bool migration_definition_exists(const char *vm)
{
	char path[PATH_MAX];

	return !vm_path(VM_PATH_DEFINITION, vm, path, sizeof(path)) && access(path, F_OK) == 0;
}

bool migration_definition_is_stored(const char *vm, const void *text, size_t length)
{
	char path[PATH_MAX];
	char *stored;
	bool same;

	if (vm_path(VM_PATH_DEFINITION, vm, path, sizeof(path)))
		return false;
	stored = malloc(length + 2);
	same = stored && durable_read(path, stored, length + 2) == (ssize_t)length &&
	       memcmp(stored, text, length) == 0;
	free(stored);
	return same;
}

int migration_definition_remove(const char *vm)
{
	char path[PATH_MAX];
	int rc = vm_path(VM_PATH_DEFINITION, vm, path, sizeof(path));

	if (rc)
		return rc;
	if (unlink(path) < 0)
		return errno == ENOENT ? 0 : -errno;
	return durable_dir_sync(vm_paths_state_dir(), "vms");
}
