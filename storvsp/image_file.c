/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Opening an image's file, and finding out what it and its file system can do. Nothing here trusts
 * the file to be the same at a second look: after a reopen everything is found out anew.
 */
#include "storvsp/image_file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "storvsp/block_device.h"
#include "storvsp/image_lock.h"

#define LOG_COMPONENT "disk"
#include "base/log.h"

#define FILE_BLOCK_BYTES	  512u
#define FILE_PHYSICAL_BLOCK_BYTES 4096u
#define ALIGN_MAX		  65536u

static const char *advice(int error, bool read_only)
{
	switch (error) {
	case ENOENT:
		return ": is the share mounted, and the name right?";
	case EACCES:
	case EPERM:
		return read_only ? "" : ": make it writable, or say read_only: true";
	case EROFS:
		return ": say read_only: true";
	default:
		return "";
	}
}

static int fail(const struct image_file *file, int ret, char *message, size_t message_bytes)
{
	snprintf(message, message_bytes, "%s: %s%s", file->path, strerror(-ret),
		 advice(-ret, file->read_only));
	return ret;
}

/* FNV-1a, twice, from two starts. */
static void hash_text(const char *text, uint8_t id[16])
{
	uint64_t a = UINT64_C(0xcbf29ce484222325), b = UINT64_C(0x9ae16a3b2f90404f);

	for (; *text != '\0'; text++) {
		a = (a ^ (uint8_t)*text) * UINT64_C(0x100000001b3);
		b = (b ^ (uint8_t)*text) * UINT64_C(0x100000001b3);
	}
	put_be64(id, a);
	put_be64(id + 8, b);
}

/* With O_DIRECT where that is wanted and can be had. */
static int open_fd(struct image_file *file, int flags)
{
	int fd;

	flags |= O_CLOEXEC | (file->read_only ? O_RDONLY : O_RDWR);
	file->direct = file->want_direct;
	if (file->want_direct) {
		fd = open(file->path, flags | O_DIRECT);
		if (fd >= 0 || errno != EINVAL)
			return fd < 0 ? -errno : fd;
		file->direct = false;
	}
	fd = open(file->path, flags);
	return fd < 0 ? -errno : fd;
}

static bool direct_read_works(int fd, uint32_t bytes)
{
	void *buffer;
	bool works;

	if (posix_memalign(&buffer, ALIGN_MAX, bytes) != 0)
		return false;
	/* Reading at the end of a file tells nothing: a file system may then not look. */
	works = pread(fd, buffer, bytes, 0) > 0;
	free(buffer);
	return works;
}

static bool is_alignment(uint32_t value)
{
	return value > 0 && value <= ALIGN_MAX && (value & (value - 1)) == 0;
}

/* Linux tells since 6.1, not for every file system; else it is tried. */
static void find_alignment(struct image_file *file)
{
	struct statx stx;

	file->memory_align = FILE_PHYSICAL_BLOCK_BYTES;
	file->offset_align = FILE_PHYSICAL_BLOCK_BYTES;
#ifdef STATX_DIOALIGN
	if (statx(file->fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &stx) == 0 &&
	    (stx.stx_mask & STATX_DIOALIGN) != 0) {
		if (!is_alignment(stx.stx_dio_mem_align) ||
		    !is_alignment(stx.stx_dio_offset_align)) {
			file->direct = false; /* zeroes: not for this file */
			return;
		}
		file->memory_align = stx.stx_dio_mem_align;
		file->offset_align = stx.stx_dio_offset_align;
		return;
	}
#else
	(void)stx;
#endif
	if (direct_read_works(file->fd, FILE_BLOCK_BYTES)) {
		file->memory_align = FILE_BLOCK_BYTES;
		file->offset_align = FILE_BLOCK_BYTES;
	}
}

static int find_size(const struct image_file *file, uint64_t *size)
{
	struct stat st;

	if (file->is_block_device)
		return ioctl(file->fd, BLKGETSIZE64, size) < 0 ? -errno : 0;
	if (fstat(file->fd, &st) < 0)
		return -errno;
	*size = (uint64_t)st.st_size;
	return 0;
}

static void look_at_block_device(struct image_file *file, dev_t device)
{
	struct block_device_info info;

	block_device_look(file->fd, device, &info);
	file->block_bytes = info.block_bytes;
	file->physical_block_bytes = info.physical_block_bytes;
	file->optimal_bytes = info.optimal_bytes;
	file->discard_bytes = file->read_only ? 0 : info.discard_bytes;
	file->rotational = info.rotational;
	hash_text(info.unique[0] != '\0' ? info.unique : file->path, file->id);
}

/* Past the end nothing changes by it, and a file system that cannot says so. Only under the lock:
 * the end of a file that somebody else writes may have moved by now. */
static bool can_punch(const struct image_file *file, const struct stat *st)
{
	off_t beyond = (off_t)align_up((uint64_t)st->st_size, ALIGN_MAX);

	return fallocate(file->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, beyond,
			 FILE_PHYSICAL_BLOCK_BYTES) == 0;
}

static void look_at_file(struct image_file *file, const struct stat *st, bool locked)
{
	file->block_bytes = FILE_BLOCK_BYTES;
	file->physical_block_bytes = FILE_PHYSICAL_BLOCK_BYTES;
	file->optimal_bytes = 0;
	file->rotational = block_device_is_rotational(st->st_dev);
	hash_text(file->path, file->id);
	atomic_store(&file->cannot_zero, false);
	atomic_store(&file->cannot_punch, file->read_only || (locked && !can_punch(file, st)));
	file->discard_bytes = atomic_load(&file->cannot_punch) ? 0 : FILE_PHYSICAL_BLOCK_BYTES;
}

static int look(struct image_file *file, const struct stat *st, bool locked)
{
	uint64_t size;
	int ret = find_size(file, &size);

	if (ret < 0)
		return ret;
	atomic_store(&file->size_bytes, size);
	if (file->is_block_device)
		look_at_block_device(file, st->st_rdev);
	else
		look_at_file(file, st, locked);
	if (file->direct)
		find_alignment(file);
	return 0;
}

static int check_kind(struct image_file *file, const struct stat *st, char *message,
		      size_t message_bytes)
{
	file->is_block_device = S_ISBLK(st->st_mode);
	if (S_ISREG(st->st_mode) || (file->is_block_device && !file->files_only))
		return 0;
	snprintf(message, message_bytes, "%s is not a file%s", file->path,
		 file->files_only ? "" : " and not a block device");
	return S_ISDIR(st->st_mode) ? -EISDIR : -EINVAL;
}

static int lock(struct image_file *file, char *message, size_t message_bytes)
{
	int ret = image_lock_take(file->fd, file->path, file->read_only, message, message_bytes);

	if (ret < 0 && ret != -EBUSY && file->read_only) {
		log_warn("%s; going on, since it is only read", message);
		ret = 0;
	}
	return ret;
}

/* O_DIRECT does not take everything: a second way to the same file. */
static int open_buffered(struct image_file *file)
{
	char self[32];

	file->buffered_fd = file->fd;
	if (!file->direct) {
		/* Found out too late: the flag can be taken off. */
		int flags = fcntl(file->fd, F_GETFL);
		if (flags >= 0 && (flags & O_DIRECT) != 0)
			fcntl(file->fd, F_SETFL, flags & ~O_DIRECT);
		return 0;
	}
	snprintf(self, sizeof(self), "/proc/self/fd/%d", file->fd);
	file->buffered_fd = open(self, O_CLOEXEC | (file->read_only ? O_RDONLY : O_RDWR));
	return file->buffered_fd < 0 ? -errno : 0;
}

static void close_fds(struct image_file *file)
{
	if (file->buffered_fd >= 0 && file->buffered_fd != file->fd)
		close(file->buffered_fd);
	if (file->fd >= 0)
		close(file->fd);
	file->fd = -1;
	file->buffered_fd = -1;
}

static int open_file(struct image_file *file, bool locked, char *message, size_t message_bytes)
{
	struct stat st;
	bool exclusive;
	int ret;

	/* Before it is opened: opening a FIFO would wait. */
	if (stat(file->path, &st) < 0)
		return fail(file, -errno, message, message_bytes);
	ret = check_kind(file, &st, message, message_bytes);
	if (ret < 0)
		return ret;
	exclusive = file->is_block_device && !file->read_only && locked;
	ret = open_fd(file, exclusive ? O_EXCL : 0);
	if (ret == -EBUSY) {
		snprintf(message, message_bytes, "%s is mounted or in use by another program",
			 file->path);
		return ret;
	}
	if (ret < 0)
		return fail(file, ret, message, message_bytes);
	file->fd = ret;
	ret = fstat(file->fd, &st) < 0 ? fail(file, -errno, message, message_bytes)
				       : check_kind(file, &st, message, message_bytes);
	if (ret == 0 && locked)
		ret = lock(file, message, message_bytes);
	if (ret < 0)
		goto err_close;
	ret = look(file, &st, locked);
	if (ret == 0)
		ret = open_buffered(file);
	if (ret < 0) {
		fail(file, ret, message, message_bytes);
		goto err_close;
	}
	return 0;

err_close:
	close_fds(file);
	return ret;
}

static char *absolute_path(const char *path)
{
	char *here, *joined = NULL;

	if (path[0] == '/')
		return strdup(path);
	here = getcwd(NULL, 0);
	if (here == NULL)
		return NULL;
	if (asprintf(&joined, "%s/%s", here, path) < 0)
		joined = NULL;
	free(here);
	return joined;
}

int image_file_open(const struct image_file_options *options, struct image_file **out,
		    char *message, size_t message_bytes)
{
	struct image_file *file = calloc(1, sizeof(*file));
	int ret = -ENOMEM;

	if (file == NULL)
		goto err_message;
	file->read_only = options->read_only;
	file->want_direct = options->direct;
	file->files_only = options->files_only;
	file->fd = -1;
	file->buffered_fd = -1;
	file->path = absolute_path(options->path);
	if (file->path == NULL)
		goto err_free;
	ret = open_file(file, !options->deferred, message, message_bytes);
	if (ret < 0) {
		image_file_close(file);
		return ret;
	}
	if (options->deferred)
		close_fds(file);
	*out = file;
	return 0;

err_free:
	free(file);
err_message:
	snprintf(message, message_bytes, "%s: no memory", options->path);
	return ret;
}

void image_file_close(struct image_file *file)
{
	if (file == NULL)
		return;
	close_fds(file);
	free(file->path);
	free(file);
}

int image_file_release(struct image_file *file)
{
	if (file->fd < 0)
		return 0;
	if (!file->read_only && fdatasync(file->fd) < 0)
		return -errno;
	image_lock_drop(file->fd);
	close_fds(file);
	return 0;
}

int image_file_reopen(struct image_file *file, char *message, size_t message_bytes)
{
	if (file->fd >= 0)
		return 0;
	return open_file(file, true, message, message_bytes);
}

int image_file_refresh(struct image_file *file)
{
	uint64_t size;
	int ret;

	if (file->fd < 0)
		return -EBADF;
	ret = find_size(file, &size);
	if (ret == 0)
		atomic_store(&file->size_bytes, size);
	return ret;
}

int image_file_read_now(const struct image_file *file, void *to, size_t bytes, uint64_t offset)
{
	for (size_t done = 0; done < bytes;) {
		ssize_t n = pread(file->buffered_fd, (char *)to + done, bytes - done,
				  (off_t)(offset + done));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -ENODATA;
		done += (size_t)n;
	}
	return 0;
}

int image_file_write_now(const struct image_file *file, const void *from, size_t bytes,
			 uint64_t offset, bool sync)
{
	for (size_t done = 0; done < bytes;) {
		ssize_t n = pwrite(file->buffered_fd, (const char *)from + done, bytes - done,
				   (off_t)(offset + done));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		done += (size_t)n;
	}
	return sync && fdatasync(file->buffered_fd) < 0 ? -errno : 0;
}
