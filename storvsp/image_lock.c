/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The lock, and who holds it. An open file description lock has no owner's process id (F_OFD_GETLK
 * says -1); but /proc shows each descriptor's locks in its fdinfo. Only names are compared there,
 * since a stat() of somebody else's file may hang with its share.
 */
#include "storvsp/image_lock.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool has_lock(pid_t pid, const char *fd_name)
{
	char path[300], line[256];
	FILE *info;
	bool found = false;

	snprintf(path, sizeof(path), "/proc/%d/fdinfo/%s", pid, fd_name);
	info = fopen(path, "re");
	if (info == NULL)
		return false;
	while (!found && fgets(line, sizeof(line), info) != NULL)
		found = strncmp(line, "lock:", 5) == 0;
	fclose(info);
	return found;
}

static bool process_holds(pid_t pid, const char *real_path)
{
	char path[64], link[PATH_MAX];
	const struct dirent *entry;
	bool found = false;
	ssize_t length;
	DIR *fds;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	fds = opendir(path);
	if (fds == NULL)
		return false;
	while (!found && (entry = readdir(fds)) != NULL) {
		length = readlinkat(dirfd(fds), entry->d_name, link, sizeof(link) - 1);
		if (length <= 0)
			continue;
		link[length] = '\0';
		found = strcmp(link, real_path) == 0 && has_lock(pid, entry->d_name);
	}
	closedir(fds);
	return found;
}

/* The command line, spaces between its words; else empty. */
static void read_command(pid_t pid, char *command, size_t size)
{
	char path[64];
	size_t length;
	FILE *file;

	command[0] = '\0';
	snprintf(path, sizeof(path), "/proc/%d/cmdline", pid);
	file = fopen(path, "re");
	if (file == NULL)
		return;
	length = fread(command, 1, size - 1, file);
	fclose(file);
	while (length > 0 && command[length - 1] == '\0')
		length--;
	command[length] = '\0';
	for (size_t i = 0; i < length; i++)
		if (!isprint((unsigned char)command[i]))
			command[i] = ' ';
}

/* 0 where no process that we can see has it. */
static pid_t find_holder(int fd)
{
	char self[32], real_path[PATH_MAX];
	const struct dirent *entry;
	pid_t pid = 0;
	ssize_t length;
	DIR *processes;

	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	length = readlink(self, real_path, sizeof(real_path) - 1);
	if (length <= 0)
		return 0;
	real_path[length] = '\0';
	processes = opendir("/proc");
	if (processes == NULL)
		return 0;
	while (pid == 0 && (entry = readdir(processes)) != NULL) {
		pid_t candidate = (pid_t)strtol(entry->d_name, NULL, 10);
		if (candidate > 0 && process_holds(candidate, real_path))
			pid = candidate;
	}
	closedir(processes);
	return pid;
}

static void describe_holder(int fd, const char *path, bool shared, char *message,
			    size_t message_bytes)
{
	const char *what = shared ? "being written" : "in use";
	pid_t pid = find_holder(fd);
	char command[120];

	if (pid == 0) {
		snprintf(message, message_bytes,
			 "%s is %s by another host, or by a process that cannot be seen from here",
			 path, what);
	} else if (pid == getpid()) {
		snprintf(message, message_bytes, "%s is %s by this VM already", path, what);
	} else {
		read_command(pid, command, sizeof(command));
		snprintf(message, message_bytes, "%s is %s by process %d (%s)", path, what, pid,
			 command);
	}
}

int image_lock_take(int fd, const char *path, bool shared, char *message, size_t message_bytes)
{
	struct flock lock = {
		.l_type = shared ? F_RDLCK : F_WRLCK,
		.l_whence = SEEK_SET,
		.l_len = 0, /* to the end, wherever it moves */
	};
	int ret;

	do
		ret = fcntl(fd, F_OFD_SETLK, &lock) < 0 ? -errno : 0;
	while (ret == -EINTR);
	if (ret == -EAGAIN || ret == -EACCES) {
		describe_holder(fd, path, shared, message, message_bytes);
		return -EBUSY;
	}
	if (ret < 0)
		snprintf(message, message_bytes,
			 "%s cannot be locked: %s; mount the share so that it has locks (NFS 4, or "
			 "NFS 3 with lockd)",
			 path, strerror(-ret));
	return ret;
}

void image_lock_drop(int fd)
{
	struct flock lock = {.l_type = F_UNLCK, .l_whence = SEEK_SET};

	fcntl(fd, F_OFD_SETLK, &lock);
}
