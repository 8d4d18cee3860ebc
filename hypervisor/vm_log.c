/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Opens a VM's log, and puts it in place of the standard streams.
 */
#include "hypervisor/vm_log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#include "hypervisor/vm_paths.h"

int vm_log_open(const char *name, char *path, size_t path_bytes)
{
	char old[PATH_MAX];
	int rc = vm_path(VM_PATH_RUN_DIR, name, path, path_bytes);
	int fd;

	rc = rc ? rc : vm_paths_make_dir(path);
	rc = rc ? rc : vm_path(VM_PATH_LOG, name, path, path_bytes);
	if (rc)
		return rc;
	if ((size_t)snprintf(old, sizeof(old), "%s.1", path) >= sizeof(old))
		return -ENAMETOOLONG;
	if (rename(path, old) < 0 && errno != ENOENT)
		return -errno;
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
	return fd < 0 ? -errno : fd;
}

int vm_log_take(const char *name)
{
	char path[PATH_MAX];
	int fd = vm_log_open(name, path, sizeof(path));
	int rc = fd < 0 ? fd : 0;

	dprintf(STDOUT_FILENO, "%s\n", name);
	if (fd < 0)
		fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return rc;
	if (dup2(fd, STDOUT_FILENO) < 0 || (!rc && dup2(fd, STDERR_FILENO) < 0))
		rc = -errno;
	if (fd > STDERR_FILENO)
		close(fd);
	return rc;
}
