/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * configfs and sysfs access, and modprobe.
 */
#include "iscsi-initiator/configfs.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static int open_attribute(const char *folder, const char *name, int flags)
{
	char path[PATH_MAX];
	int fd;

	if (snprintf(path, sizeof(path), "%s/%s", folder, name) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	fd = open(path, flags | O_CLOEXEC);
	return fd >= 0 ? fd : -errno;
}

int attribute_write(const char *folder, const char *name, const char *value)
{
	size_t length = strlen(value);
	ssize_t written;
	int ret = 0;
	int fd = open_attribute(folder, name, O_WRONLY);

	if (fd < 0)
		return fd;
	written = write(fd, value, length);
	if (written < 0)
		ret = -errno;
	else if ((size_t)written != length)
		ret = -EIO;
	close(fd);
	return ret;
}

int attribute_read(const char *folder, const char *name, char *value, size_t size)
{
	ssize_t length;
	int ret = 0;
	int fd = open_attribute(folder, name, O_RDONLY);

	if (fd < 0)
		return fd;
	length = read(fd, value, size - 1);
	if (length < 0)
		ret = -errno;
	else if ((size_t)length == size - 1)
		ret = -E2BIG;
	close(fd);
	if (ret < 0)
		return ret;
	value[length] = '\0';
	value[strcspn(value, "\n")] = '\0';
	return 0;
}

int folder_make(const char *path)
{
	return mkdir(path, 0755) == 0 || errno == EEXIST ? 0 : -errno;
}

int folder_remove(const char *path)
{
	return rmdir(path) == 0 || errno == ENOENT ? 0 : -errno;
}

int kernel_module_load(const char *module)
{
	char *const arguments[] = {"modprobe", "-q", (char *)(uintptr_t)module, NULL};
	char *const environment[] = {"PATH=/usr/sbin:/sbin:/usr/bin:/bin", NULL};
	posix_spawnattr_t attributes;
	sigset_t none;
	pid_t child;
	int status, ret;

	/* The daemon blocks the signals that it takes by signalfd; modprobe shall not inherit that.
	 */
	sigemptyset(&none);
	posix_spawnattr_init(&attributes);
	posix_spawnattr_setsigmask(&attributes, &none);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
	ret = posix_spawnp(&child, "modprobe", NULL, &attributes, arguments, environment);
	posix_spawnattr_destroy(&attributes);
	if (ret != 0)
		return -ENOENT;
	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -ENOENT;
}

int configfs_mount(void)
{
	struct stat root, parent;

	if (stat(CONFIGFS_ROOT, &root) == 0 && stat("/sys/kernel", &parent) == 0 &&
	    root.st_dev != parent.st_dev)
		return 0;
	if (access(CONFIGFS_ROOT, F_OK) < 0)
		kernel_module_load("configfs");
	if (mount("configfs", CONFIGFS_ROOT, "configfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) ==
		    0 ||
	    errno == EBUSY)
		return 0;
	return -errno;
}
