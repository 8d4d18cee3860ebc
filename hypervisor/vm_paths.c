/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The one place that knows where a VM's files and sockets are.
 */
#include "hypervisor/vm_paths.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>

#define SOCKET_PATH_BYTES sizeof(((struct sockaddr_un *)NULL)->sun_path)

static const char *directory_from(const char *variable, const char *otherwise)
{
	const char *value = getenv(variable);

	return value && *value ? value : otherwise;
}

const char *vm_paths_run_dir(void)
{
	return directory_from("LUNAR_RUN_DIR", "/run/lunar");
}

const char *vm_paths_state_dir(void)
{
	return directory_from("LUNAR_STATE_DIR", "/var/lib/lunar");
}

const char *vm_paths_console_dir(void)
{
	return directory_from("LUNAR_CONSOLE_DIR", "/var/log/lunar");
}

int vm_path(enum vm_path which, const char *name, char *path, size_t path_bytes)
{
	static const char *const run_suffix[] = {
		[VM_PATH_RUN_DIR] = "",
		[VM_PATH_API] = "/api.sock",
		[VM_PATH_CONSOLE] = "/console.sock",
		[VM_PATH_LOG] = "/vmwp.log",
		[VM_PATH_LOCK] = "/lock",
	};
	size_t limit = path_bytes;
	int length;

	if (which == VM_PATH_DEFINITION)
		length = snprintf(path, path_bytes, "%s/vms/%s.yaml", vm_paths_state_dir(), name);
	else if (which == VM_PATH_MIGRATION)
		length = snprintf(path, path_bytes, "%s/migrations/%s.json", vm_paths_state_dir(),
				  name);
	else
		length = snprintf(path, path_bytes, "%s/vm/%s%s", vm_paths_run_dir(), name,
				  run_suffix[which]);
	if ((which == VM_PATH_API || which == VM_PATH_CONSOLE) && limit > SOCKET_PATH_BYTES)
		limit = SOCKET_PATH_BYTES;
	return length < 0 || (size_t)length >= limit ? -ENAMETOOLONG : 0;
}

int vm_paths_switch_socket(char *path, size_t path_bytes)
{
	int length = snprintf(path, path_bytes, "%s/netvspd.sock", vm_paths_run_dir());

	return length < 0 || (size_t)length >= path_bytes || (size_t)length >= SOCKET_PATH_BYTES
		       ? -ENAMETOOLONG
		       : 0;
}

int vm_paths_make_dir(const char *path)
{
	char prefix[PATH_MAX];
	size_t length = strlen(path);

	if (length == 0 || length >= sizeof(prefix))
		return length ? -ENAMETOOLONG : -EINVAL;
	memcpy(prefix, path, length + 1);
	for (char *slash = strchr(prefix + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (mkdir(prefix, 0755) < 0 && errno != EEXIST)
			return -errno;
		*slash = '/';
	}
	if (mkdir(prefix, 0700) < 0 && errno != EEXIST)
		return -errno;
	return 0;
}
