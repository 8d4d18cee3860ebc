/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A VHD's file on image_file and image_io; or, for a look without a lock, on a plain descriptor.
 */
#include "storvsp/vhd_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "storvsp/image_file.h"

#define ZERO_BYTES (256u << 10)

struct real_file {
	struct vhd_file base;	  /* first */
	struct image_file *image; /* NULL: only fd, unlocked */
	int fd;
};

static struct real_file *real_of(struct vhd_file *file)
{
	return (struct real_file *)file;
}

static int real_read(struct vhd_file *file, void *bytes, size_t length, uint64_t offset)
{
	struct real_file *real = real_of(file);
	uint8_t *to = bytes;

	if (real->image)
		return image_file_read_now(real->image, bytes, length, offset);
	while (length) {
		ssize_t got = pread(real->fd, to, length, (off_t)offset);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return got < 0 ? -errno : -ENODATA;
		to += got;
		offset += (uint64_t)got;
		length -= (size_t)got;
	}
	return 0;
}

/* A write may have made it longer. */
static void note_end(struct image_file *image, uint64_t end)
{
	uint64_t size = atomic_load(&image->size_bytes);

	while (end > size && !atomic_compare_exchange_weak(&image->size_bytes, &size, end))
		;
}

static int real_write(struct vhd_file *file, const void *bytes, size_t length, uint64_t offset)
{
	struct image_file *image = real_of(file)->image;
	int rc = image_file_write_now(image, bytes, length, offset, false);

	if (rc == 0)
		note_end(image, offset + length);
	return rc;
}

static int real_zero(struct vhd_file *file, uint64_t offset, uint64_t length)
{
	static const uint8_t zeroes[ZERO_BYTES];

	if (fallocate(real_of(file)->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset,
		      (off_t)length) == 0)
		return 0;
	while (length) {
		size_t part = length < ZERO_BYTES ? (size_t)length : ZERO_BYTES;
		int rc = real_write(file, zeroes, part, offset);

		if (rc)
			return rc;
		offset += part;
		length -= part;
	}
	return 0;
}

static int real_allocate(struct vhd_file *file, uint64_t offset, uint64_t length)
{
	return fallocate(real_of(file)->fd, FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)length) == 0
		       ? 0
		       : -errno;
}

static int real_sync(struct vhd_file *file)
{
	return fdatasync(real_of(file)->fd) == 0 ? 0 : -errno;
}

static int real_truncate(struct vhd_file *file, uint64_t size)
{
	struct real_file *real = real_of(file);

	if (ftruncate(real->fd, (off_t)size) < 0)
		return -errno;
	return real->image ? image_file_refresh(real->image) : 0;
}

/* The size as it is now: a write may have made it longer. */
static int real_get_size(struct vhd_file *file, uint64_t *size)
{
	off_t end = lseek(real_of(file)->fd, 0, SEEK_END); /* of a block device too */

	if (end < 0)
		return -errno;
	*size = (uint64_t)end;
	return 0;
}

static int real_get_facts(struct vhd_file *file, struct vhd_file_facts *facts)
{
	const struct real_file *real = real_of(file);
	struct stat status;

	if (fstat(real->fd, &status) < 0)
		return -errno;
	*facts = (struct vhd_file_facts){
		.allocated_bytes = (uint64_t)status.st_blocks * 512,
		.modified_unix = status.st_mtime,
	};
	if (real->image) {
		facts->discard_bytes = real->image->discard_bytes;
		facts->optimal_bytes = real->image->optimal_bytes;
		facts->rotational = real->image->rotational;
	}
	return 0;
}

static void on_image_done(struct image_io *image, int status)
{
	struct vhd_io *io = (struct vhd_io *)((char *)image - offsetof(struct vhd_io, image));

	if (status == 0 && io->kind == VHD_IO_WRITE)
		note_end(image->file, io->offset + io->length);
	io->done(io, status);
}

static void real_submit(struct vhd_file *file, struct vhd_io *io, struct io_loop *loop)
{
	struct image_file *image = real_of(file)->image;

	io->image.done = on_image_done;
	switch (io->kind) {
	case VHD_IO_READ:
		image_read(&io->image, image, loop, io->iov, io->iov_count, io->offset, io->length);
		break;
	case VHD_IO_WRITE:
		image_write(&io->image, image, loop, io->iov, io->iov_count, io->offset, io->length,
			    io->dsync);
		break;
	case VHD_IO_SYNC:
		image_sync(&io->image, image, loop);
		break;
	case VHD_IO_ZERO:
		image_zero(&io->image, image, loop, io->offset, io->length, !io->keep_space);
		break;
	}
}

static void real_close(struct vhd_file *file)
{
	struct real_file *real = real_of(file);

	if (real->image)
		image_file_close(real->image);
	else
		close(real->fd);
	free(real);
}

static const struct vhd_file_ops real_ops = {
	.read = real_read,
	.write = real_write,
	.zero = real_zero,
	.allocate = real_allocate,
	.sync = real_sync,
	.truncate = real_truncate,
	.get_size = real_get_size,
	.get_facts = real_get_facts,
	.submit = real_submit,
	.close = real_close,
};

static int open_unlocked(const char *path, struct real_file *real, struct vhd_error *error)
{
	struct stat status;

	/* O_NONBLOCK: a fifo must not hold us. */
	real->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (real->fd < 0)
		return vhd_fail(error, -errno, "%s: %s", path, strerror(errno));
	if (fstat(real->fd, &status) == 0 && (S_ISREG(status.st_mode) || S_ISBLK(status.st_mode)))
		return 0;
	close(real->fd);
	return vhd_fail(error, -EINVAL, "%s: neither a file nor a block device", path);
}

static int open_locked(const char *path, const struct vhd_file_options *options,
		       struct real_file *real, struct vhd_error *error)
{
	const struct image_file_options image = {
		.path = path,
		.read_only = !options->write,
		.direct = options->direct,
		.files_only = options->create,
	};
	int rc, fd;

	if (options->create) {
		fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		if (fd < 0)
			return vhd_fail(error, -errno, "%s: %s", path, strerror(errno));
		close(fd);
	}
	rc = image_file_open(&image, &real->image, error->message, sizeof(error->message));
	if (rc == 0)
		real->fd = real->image->fd;
	else if (options->create)
		unlink(path);
	return rc;
}

int vhd_file_open(const char *path, const struct vhd_file_options *options, struct vhd_file **file,
		  struct vhd_error *error)
{
	struct real_file *real = calloc(1, sizeof(*real));
	int rc;

	if (!real)
		return vhd_fail(error, -ENOMEM, "%s: out of memory", path);
	real->base.ops = &real_ops;
	rc = options->unlocked ? open_unlocked(path, real, error)
			       : open_locked(path, options, real, error);
	if (rc) {
		free(real);
		return rc;
	}
	*file = &real->base;
	return 0;
}

void vhd_file_close(struct vhd_file *file)
{
	if (file)
		file->ops->close(file);
}
