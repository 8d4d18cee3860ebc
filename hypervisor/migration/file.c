/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A saved VM's file. Until it is complete it has no name, or a temporary one where the file system
 * cannot do without; so one that was cut short by a crash is never taken for a saved VM. See
 * file.h.
 */
#include "hypervisor/migration/file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"

#define WRITE_BACK_BYTES (8u << 20) /* the disk begins with them while more are made */

static const uint8_t file_magic[MIGRATION_FILE_MAGIC_BYTES] = MIGRATION_FILE_MAGIC;

struct migration_file {
	int fd;
	char *path;
	char *temporary; /* NULL: the file has no name yet, or is read */
	uint64_t position;
	uint64_t written_back;
	uint64_t size; /* of one that is read */
	struct migration_channel channel;
};

/* ---- the channel ---- */

static int file_read(void *ctx, void *to, size_t length, struct deadline deadline)
{
	struct migration_file *file = ctx;
	uint8_t *next = to;
	size_t left = length;

	(void)deadline; /* a disk cannot be waited for with one */
	while (left > 0) {
		ssize_t got = read(file->fd, next, left);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (got == 0)
			return left == length ? -EPIPE : -ECONNRESET;
		next += got;
		left -= (size_t)got;
		file->position += (uint64_t)got;
	}
	return 0;
}

static int file_write(void *ctx, const void *from, size_t length, struct deadline deadline)
{
	struct migration_file *file = ctx;
	const uint8_t *next = from;

	(void)deadline;
	while (length > 0) {
		ssize_t put = write(file->fd, next, length);

		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return -errno;
		next += put;
		length -= (size_t)put;
		file->position += (uint64_t)put;
	}
	if (file->position - file->written_back >= WRITE_BACK_BYTES) {
		sync_file_range(file->fd, (off_t)file->written_back,
				(off_t)(file->position - file->written_back),
				SYNC_FILE_RANGE_WRITE);
		file->written_back = file->position;
	}
	return 0;
}

static const struct migration_channel_ops file_channel_ops = {
	.read = file_read,
	.write = file_write,
};

struct migration_channel *migration_file_channel(struct migration_file *file)
{
	return &file->channel;
}

uint64_t migration_file_position(const struct migration_file *file)
{
	return file->position;
}

uint64_t migration_file_size(const struct migration_file *file)
{
	return file->size;
}

bool migration_file_at_end(struct migration_file *file)
{
	uint8_t byte;

	return file_read(file, &byte, 1, deadline_in_ms(0)) == -EPIPE;
}

/* ---- life ---- */

static struct migration_file *file_new(const char *path)
{
	struct migration_file *file = calloc(1, sizeof(*file));

	if (!file)
		return NULL;
	file->fd = -1;
	file->path = strdup(path);
	if (!file->path) {
		free(file);
		return NULL;
	}
	migration_channel_init(&file->channel, &file_channel_ops, file, true);
	return file;
}

/* A file of the same directory with no name; with a temporary one where that cannot be had. */
static int file_begin(struct migration_file *file)
{
	char directory[PATH_MAX];

	if (strlen(file->path) >= sizeof(directory))
		return -ENAMETOOLONG;
	snprintf(directory, sizeof(directory), "%s", file->path);
	file->fd = open(dirname(directory), O_TMPFILE | O_RDWR | O_CLOEXEC, S_IRUSR | S_IWUSR);
	if (file->fd >= 0)
		return 0;
	if (errno != EOPNOTSUPP && errno != EISDIR)
		return -errno;
	if (asprintf(&file->temporary, "%s.saving-XXXXXX", file->path) < 0) {
		file->temporary = NULL;
		return -ENOMEM;
	}
	file->fd = mkostemp(file->temporary, O_CLOEXEC);
	if (file->fd < 0) {
		int rc = -errno;

		free(file->temporary);
		file->temporary = NULL;
		return rc;
	}
	return 0;
}

static int header_write(struct migration_file *file)
{
	uint8_t header[sizeof(struct migration_file_header)] = {0};

	memcpy(header, file_magic, sizeof(file_magic));
	put_le16(header + offsetof(struct migration_file_header, version), MIGRATION_FILE_VERSION);
	put_le16(header + offsetof(struct migration_file_header, readable_by),
		 MIGRATION_FILE_READABLE_BY);
	return file_write(file, header, sizeof(header), deadline_in_ms(0));
}

int migration_file_create(const char *path, struct migration_file **out, struct vm_error *error)
{
	struct migration_file *file;
	struct stat st;
	int rc;

	if (lstat(path, &st) == 0)
		return vm_error_set(error, EXIT_EXISTS, -EEXIST,
				    "%s exists already: give another name, or remove it", path);
	file = file_new(path);
	if (!file)
		return vm_error_set(error, EXIT_INTERNAL, -ENOMEM, "out of memory");
	rc = file_begin(file);
	if (rc == 0)
		rc = header_write(file);
	if (rc < 0) {
		migration_file_close(file);
		return vm_error_set(error, EXIT_PERMISSION, rc, "cannot write %s: %s", path,
				    strerror(-rc));
	}
	*out = file;
	return 0;
}

static int header_read(struct migration_file *file, struct vm_error *error)
{
	uint8_t header[sizeof(struct migration_file_header)];
	int rc = file_read(file, header, sizeof(header), deadline_in_ms(0));
	uint16_t readable_by;

	if (rc < 0 && rc != -EPIPE && rc != -ECONNRESET)
		return migration_file_explain(file, rc, error);
	if (rc < 0 || memcmp(header, file_magic, sizeof(file_magic)) != 0)
		return vm_error_set(error, EXIT_BAD_STATE, -EPROTO, "%s is not a saved VM",
				    file->path);
	readable_by = get_le16(header + offsetof(struct migration_file_header, readable_by));
	if (readable_by > MIGRATION_FILE_VERSION)
		return vm_error_set(error, EXIT_BAD_STATE, -EPROTO,
				    "%s was saved by a newer version of Lunar (format %u, this one "
				    "reads up to %u)",
				    file->path, readable_by, MIGRATION_FILE_VERSION);
	return 0;
}

int migration_file_open(const char *path, struct migration_file **out, struct vm_error *error)
{
	struct migration_file *file = file_new(path);
	struct stat st;
	int rc;

	if (!file)
		return vm_error_set(error, EXIT_INTERNAL, -ENOMEM, "out of memory");
	file->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* no waiting for a FIFO */
	if (file->fd < 0 || fstat(file->fd, &st) < 0) {
		rc = -errno;
		vm_error_set(error, rc == -ENOENT ? EXIT_NOT_FOUND : EXIT_PERMISSION, rc,
			     "cannot read %s: %s", path, strerror(-rc));
		goto err_close;
	}
	if (!S_ISREG(st.st_mode)) {
		rc = vm_error_set(error, EXIT_BAD_STATE, -EPROTO, "%s is not a saved VM", path);
		goto err_close;
	}
	file->size = (uint64_t)st.st_size;
	posix_fadvise(file->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
	rc = header_read(file, error);
	if (rc < 0)
		goto err_close;
	*out = file;
	return 0;

err_close:
	migration_file_close(file);
	return rc;
}

static int directory_sync(const char *path)
{
	char directory[PATH_MAX];
	int rc = 0;
	int fd;

	snprintf(directory, sizeof(directory), "%s", path);
	fd = open(dirname(directory), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (fsync(fd) < 0)
		rc = -errno;
	close(fd);
	return rc;
}

/* Gives the file its name; never another's. */
static int file_name(struct migration_file *file)
{
	char descriptor[32];

	if (file->temporary) {
		if (link(file->temporary, file->path) < 0)
			return -errno;
		unlink(file->temporary);
		return 0;
	}
	snprintf(descriptor, sizeof(descriptor), "/proc/self/fd/%d", file->fd);
	if (linkat(AT_FDCWD, descriptor, AT_FDCWD, file->path, AT_SYMLINK_FOLLOW) < 0)
		return -errno;
	return 0;
}

int migration_file_commit(struct migration_file *file, struct vm_error *error)
{
	int rc = migration_message_send(&file->channel, MIGRATION_FRAME_FILE_END, NULL, 0,
					deadline_in_ms(0));

	if (rc == 0 && fsync(file->fd) < 0)
		rc = -errno;
	if (rc < 0)
		return migration_file_explain(file, rc, error);
	rc = file_name(file);
	if (rc == -EEXIST)
		return vm_error_set(error, EXIT_EXISTS, rc,
				    "%s was made by somebody else meanwhile: give another name",
				    file->path);
	if (rc < 0)
		return migration_file_explain(file, rc, error);
	free(file->temporary);
	file->temporary = NULL;
	rc = directory_sync(file->path);
	if (rc < 0) {
		unlink(file->path); /* or the VM would be there and here */
		return migration_file_explain(file, rc, error);
	}
	return 0;
}

void migration_file_close(struct migration_file *file)
{
	if (!file)
		return;
	if (file->temporary)
		unlink(file->temporary);
	if (file->fd >= 0)
		close(file->fd);
	free(file->temporary);
	free(file->path);
	free(file);
}

int migration_file_explain(const struct migration_file *file, int rc, struct vm_error *error)
{
	switch (rc) {
	case -EPIPE:
	case -ECONNRESET:
		return vm_error_set(error, EXIT_BAD_STATE, rc,
				    "%s is cut off at byte %" PRIu64 ": it was not saved or copied "
				    "to its end",
				    file->path, file->position);
	case -EPROTO:
		return vm_error_set(error, EXIT_BAD_STATE, rc,
				    "%s is damaged: what it holds before byte %" PRIu64
				    " is not what was saved",
				    file->path, file->position);
	case -ENOSPC:
	case -EDQUOT:
	case -EFBIG:
		return vm_error_set(error, EXIT_INTERNAL, rc,
				    "no room for %s (%" PRIu64 " MiB were written): the VM runs on",
				    file->path, file->position >> 20);
	case -ECANCELED:
		return vm_error_set(error, EXIT_CANCELLED, rc, "cancelled");
	default:
		return vm_error_set(error, EXIT_INTERNAL, rc, "%s: %s", file->path, strerror(-rc));
	}
}
