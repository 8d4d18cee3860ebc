/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * See vm_lock.h. The file may be removed with the VM's folder while nobody holds it, so who has
 * locked it looks whether it is still the one that others would find.
 */
#include "hypervisor/vm_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/deadline.h"
#include "hypervisor/vm_paths.h"

#define STEP_MS 20

/* A lock of the open file, not of the process: and one that can be looked at without taking it. */
static const struct flock whole_file = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

static bool is_same_file(int fd, const char *path)
{
	struct stat ours, found;

	return fstat(fd, &ours) == 0 && stat(path, &found) == 0 && ours.st_ino == found.st_ino &&
	       ours.st_dev == found.st_dev;
}

static int lock_try(const char *path)
{
	struct flock lock = whole_file;
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	int result = 0;

	if (fd < 0)
		return -errno;
	if (fcntl(fd, F_OFD_SETLK, &lock) < 0)
		result = errno == EAGAIN || errno == EACCES ? -EEXIST : -errno;
	else if (!is_same_file(fd, path))
		result = -EAGAIN;
	if (!result)
		return fd;
	close(fd);
	return result;
}

int vm_lock_take(const char *name, uint32_t wait_ms)
{
	const struct timespec pause = {.tv_nsec = STEP_MS * (long)NS_PER_MS};
	struct deadline deadline = deadline_in_ms(wait_ms);
	char path[PATH_MAX];
	int result = vm_path(VM_PATH_RUN_DIR, name, path, sizeof(path));

	if (!result)
		result = vm_paths_make_dir(path);
	if (!result)
		result = vm_path(VM_PATH_LOCK, name, path, sizeof(path));
	if (result)
		return result;
	result = lock_try(path);
	while ((result == -EEXIST || result == -EAGAIN) && !deadline_passed(deadline)) {
		nanosleep(&pause, NULL);
		result = lock_try(path);
	}
	return result == -EAGAIN ? -EEXIST : result;
}

bool vm_lock_is_held(const char *name)
{
	char path[PATH_MAX];
	struct flock lock = whole_file;
	bool held;
	int fd;

	if (vm_path(VM_PATH_LOCK, name, path, sizeof(path)))
		return false;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return false;
	held = fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
	close(fd);
	return held;
}
