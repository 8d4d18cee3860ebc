/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Mounts, swap and stacked devices claim a disk exclusively, which an exclusive open of the whole
 * disk meets with EBUSY. Processes that merely hold it open are found by what their file
 * descriptors point to.
 */
#include "iscsi-initiator/disk_in_use.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool is_claimed(const char *name)
{
	char path[PATH_MAX];
	int fd;

	snprintf(path, sizeof(path), "/dev/%s", name);
	fd = open(path, O_RDONLY | O_EXCL | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return errno == EBUSY;
	close(fd);
	return false;
}

/* "/dev/sda" and "/dev/sda1", but not "/dev/sdaa". */
static bool names_disk(const char *target, const char *name)
{
	size_t length = strlen(name);

	if (strncmp(target, "/dev/", 5) != 0 || strncmp(target + 5, name, length) != 0)
		return false;
	for (const char *p = target + 5 + length; *p != '\0'; p++)
		if (!isdigit((unsigned char)*p))
			return false;
	return true;
}

static bool process_has_open(const char *pid, const char *name)
{
	char folder[64], target[PATH_MAX];
	struct dirent *entry;
	bool found = false;
	DIR *fds;

	snprintf(folder, sizeof(folder), "/proc/%.16s/fd", pid);
	fds = opendir(folder);
	if (fds == NULL)
		return false;
	while (!found && (entry = readdir(fds)) != NULL) {
		ssize_t length = readlinkat(dirfd(fds), entry->d_name, target, sizeof(target) - 1);
		if (length <= 0)
			continue;
		target[length] = '\0';
		found = names_disk(target, name);
	}
	closedir(fds);
	return found;
}

bool disk_in_use(const char *name, char *who, size_t size)
{
	struct dirent *entry;
	bool used = false;
	DIR *processes;

	if (is_claimed(name)) {
		snprintf(who, size, "mounted, or claimed by another device");
		return true;
	}
	processes = opendir("/proc");
	if (processes == NULL)
		return false;
	while (!used && (entry = readdir(processes)) != NULL) {
		if (!isdigit((unsigned char)entry->d_name[0]) ||
		    strtol(entry->d_name, NULL, 10) == getpid())
			continue;
		used = process_has_open(entry->d_name, name);
		if (used)
			snprintf(who, size, "open in process %.16s", entry->d_name);
	}
	closedir(processes);
	return used;
}
