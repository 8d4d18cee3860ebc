/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * New files by a temporary name and a rename.
 */
#include "cli/new_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum exit_code new_file_begin(const char *path, struct new_file *file, struct cli_error *error)
{
	const char *slash = strrchr(path, '/');
	const char *name = slash ? slash + 1 : path;
	char folder[PATH_MAX], resolved[PATH_MAX];
	struct stat status;
	int length, temp_length;

	length = snprintf(folder, sizeof(folder), "%.*s", slash ? (int)(slash - path) + 1 : 1,
			  slash ? path : ".");
	if (length < 0 || (size_t)length >= sizeof(folder) || !*name)
		return cli_error_set(error, EXIT_USAGE, "'%.200s' is no name for a file", path);
	if (!realpath(folder, resolved))
		return cli_error_system(error, EXIT_NOT_FOUND, -errno, "cannot use the folder",
					folder);
	if (strcmp(resolved, "/") == 0)
		resolved[0] = '\0';
	length = snprintf(file->path, sizeof(file->path), "%s/%s", resolved, name);
	temp_length = snprintf(file->temp, sizeof(file->temp), "%s/.%s.%d.part", resolved, name,
			       (int)getpid());
	if (length < 0 || (size_t)length >= sizeof(file->path) || temp_length < 0 ||
	    (size_t)temp_length >= sizeof(file->temp))
		return cli_error_set(error, EXIT_USAGE, "'%.200s' is too long a name", path);
	if (lstat(file->path, &status) == 0)
		return cli_error_set(error, EXIT_EXISTS, "%s exists already", path);
	return EXIT_OK;
}

/* Some file systems cannot rename without replacing. */
static int rename_new(const char *from, const char *to)
{
	if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0)
		return 0;
	if (errno != EINVAL && errno != ENOSYS)
		return -errno;
	if (link(from, to) < 0)
		return -errno;
	unlink(from);
	return 0;
}

static void sync_folder(const char *path)
{
	char folder[PATH_MAX];
	const char *slash = strrchr(path, '/');
	int fd;

	snprintf(folder, sizeof(folder), "%.*s", (int)(slash - path) + 1, path);
	fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return;
	fsync(fd);
	close(fd);
}

enum exit_code new_file_publish(const struct new_file *file, struct cli_error *error)
{
	int rc = rename_new(file->temp, file->path);

	if (rc == -EEXIST)
		return cli_error_set(error, EXIT_EXISTS, "%s exists already", file->path);
	if (rc)
		return cli_error_system(error, EXIT_INTERNAL, rc, "cannot make", file->path);
	sync_folder(file->path);
	return EXIT_OK;
}

void new_file_abandon(const struct new_file *file)
{
	unlink(file->temp);
}
