/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The figures' file, replaced as a whole. See figures.h.
 */
#include "hypervisor/migration/figures.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jansson.h>

#include "hypervisor/migration/durable.h"
#include "hypervisor/migration/report.h"
#include "hypervisor/vm_paths.h"

int migration_figures_write(const char *vm, const struct migration_status *status,
			    const struct migration_check *check)
{
	char path[PATH_MAX], temporary[PATH_MAX];
	json_t *json = migration_report_json(vm, status, check);
	char *text = json ? json_dumps(json, JSON_INDENT(1)) : NULL;
	int rc = vm_path(VM_PATH_MIGRATION, vm, path, sizeof(path));

	json_decref(json);
	if (!text)
		return -ENOMEM;
	rc = rc ? rc : durable_path(temporary, "%s.new", path);
	rc = rc ? rc : durable_dir_make(vm_paths_state_dir(), "migrations");
	rc = rc ? rc : durable_write(temporary, text, strlen(text), true);
	free(text);
	if (!rc && rename(temporary, path) < 0)
		rc = -errno;
	return rc;
}

bool migration_figures_written_since(const char *vm, struct timespec when)
{
	struct stat status;
	char path[PATH_MAX];

	if (vm_path(VM_PATH_MIGRATION, vm, path, sizeof(path)) || stat(path, &status) < 0)
		return false;
	return status.st_mtim.tv_sec > when.tv_sec ||
	       (status.st_mtim.tv_sec == when.tv_sec && status.st_mtim.tv_nsec > when.tv_nsec);
}
