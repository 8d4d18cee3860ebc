/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Locks and orders, files in $LUNAR_RUN_DIR/migrations. See lock.h.
 */
#include "hypervisor/migration/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hypervisor/migration/durable.h"
#include "hypervisor/vm_paths.h"

static int run_path(const char *id, const char *suffix, char path[PATH_MAX])
{
	return durable_path(path, "%s/migrations/%s.%s", vm_paths_run_dir(), id, suffix);
}

static int lock_path(enum migration_side side, const char *id, char path[PATH_MAX])
{
	return run_path(id, side == MIGRATION_SIDE_OUT ? "out.lock" : "in.lock", path);
}

int migration_lock_take(enum migration_side side, const char *id)
{
	struct stat held, named;
	char path[PATH_MAX];
	int rc = lock_path(side, id, path);
	int fd;

	rc = rc ? rc : durable_dir_make(vm_paths_run_dir(), "migrations");
	if (rc)
		return rc;
	for (;;) {
		fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
		if (fd < 0)
			return -errno;
		if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
			rc = -errno;
			close(fd);
			return rc;
		}
		/* Its last holder may have removed it while we opened it. */
		if (fstat(fd, &held) == 0 && stat(path, &named) == 0 &&
		    held.st_ino == named.st_ino && held.st_dev == named.st_dev)
			return fd;
		close(fd);
	}
}

void migration_lock_release(enum migration_side side, const char *id, int fd, bool remove)
{
	char path[PATH_MAX];

	if (fd < 0)
		return;
	if (remove && !lock_path(side, id, path))
		unlink(path);
	close(fd);
}

int migration_order_put(const char *id, const char *identity)
{
	char path[PATH_MAX], temporary[PATH_MAX];
	int rc = run_path(id, "order", path);

	rc = rc ? rc : run_path(id, "order.new", temporary);
	rc = rc ? rc : durable_dir_make(vm_paths_run_dir(), "migrations");
	rc = rc ? rc : durable_write(temporary, identity, strlen(identity), false);
	if (!rc && rename(temporary, path) < 0)
		rc = -errno;
	return rc;
}

int migration_order_get(const char *id, char identity[MIGRATION_HOST_BYTES])
{
	char path[PATH_MAX];
	ssize_t length;
	int rc = run_path(id, "order", path);

	if (rc)
		return rc;
	length = durable_read(path, identity, MIGRATION_HOST_BYTES);
	return length < 0 ? (int)length : 0;
}

void migration_order_remove(const char *id)
{
	char path[PATH_MAX];

	if (!run_path(id, "order", path))
		unlink(path);
}
