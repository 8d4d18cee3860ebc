/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Writing, reading and flushing. See durable.h.
 */
#include "hypervisor/migration/durable.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hypervisor/vm_paths.h"

int durable_path(char path[PATH_MAX], const char *format, ...)
{
	va_list args;
	int length;

	va_start(args, format);
	length = vsnprintf(path, PATH_MAX, format, args);
	va_end(args);
	return length < 0 || length >= PATH_MAX ? -ENAMETOOLONG : 0;
}

int durable_dir_make(const char *parent, const char *name)
{
	char path[PATH_MAX];
	int rc = durable_path(path, "%s/%s", parent, name);

	return rc ? rc : vm_paths_make_dir(path);
}

int durable_dir_sync(const char *parent, const char *name)
{
	char path[PATH_MAX];
	int rc = durable_path(path, "%s/%s", parent, name);
	int fd;

	if (rc)
		return rc;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	rc = fsync(fd) < 0 ? -errno : 0;
	close(fd);
	return rc;
}

static int write_all(int fd, const char *bytes, size_t length)
{
	while (length > 0) {
		ssize_t done = write(fd, bytes, length);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return done < 0 ? -errno : -EIO;
		bytes += done;
		length -= (size_t)done;
	}
	return 0;
}

int durable_write(const char *path, const void *bytes, size_t length, bool on_disk)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	int rc;

	if (fd < 0)
		return -errno;
	rc = write_all(fd, bytes, length);
	if (!rc && on_disk && fsync(fd) < 0)
		rc = -errno;
	if (close(fd) < 0 && !rc)
		rc = -errno;
	if (rc)
		unlink(path);
	return rc;
}

ssize_t durable_read(const char *path, char *text, size_t text_bytes)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	size_t length = 0;
	ssize_t got;

	if (fd < 0)
		return -errno;
	do {
		got = read(fd, text + length, text_bytes - length);
		if (got > 0)
			length += (size_t)got;
	} while ((got > 0 && length < text_bytes) || (got < 0 && errno == EINTR));
	if (got < 0 || length == text_bytes) {
		got = got < 0 ? -errno : -EFBIG;
		close(fd);
		return got;
	}
	close(fd);
	text[length] = '\0';
	return (ssize_t)length;
}
