/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The file that a VHD is in: whole reads and writes at any multiple of 512, at once or on a loop,
 * behind an ops table so that a test can record every write and cut the power.
 */
#ifndef LUNAR_STORVSP_VHD_FILE_H
#define LUNAR_STORVSP_VHD_FILE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "storvsp/image_io.h"
#include "storvsp/io_loop.h"
#include "storvsp/vhd_format.h"

struct vhd_file;
struct vhd_io;

/* status: 0 or -errno; called on the loop's thread, perhaps from within the submission. */
typedef void (*vhd_io_done_fn)(struct vhd_io *io, int status);

enum vhd_io_kind {
	VHD_IO_READ,
	VHD_IO_WRITE,
	VHD_IO_SYNC,
	VHD_IO_ZERO, /* what is read there afterwards is zeroes; inside of the file */
};

/* One operation: the first part is the caller's to fill, and its own again when done is called. */
struct vhd_io {
	enum vhd_io_kind kind;
	bool dsync;		 /* WRITE: on the disk when done */
	bool keep_space;	 /* ZERO: the file system must not take the blocks back */
	const struct iovec *iov; /* stays until done */
	uint32_t iov_count;
	uint64_t offset, length;
	vhd_io_done_fn done;

	struct image_io image; /* the file's own */
};

/* What the system says of the file. */
struct vhd_file_facts {
	uint64_t allocated_bytes; /* on the file system */
	int64_t modified_unix;	  /* seconds */
	uint32_t discard_bytes;	  /* granularity of holes; 0: none */
	uint32_t optimal_bytes;
	bool rotational;
};

struct vhd_file_ops {
	/* All of it, or -errno; -ENODATA where the file ends before. */
	int (*read)(struct vhd_file *file, void *bytes, size_t length, uint64_t offset);
	/* Makes the file longer where it ends before. */
	int (*write)(struct vhd_file *file, const void *bytes, size_t length, uint64_t offset);
	/* As VHD_IO_ZERO. */
	int (*zero)(struct vhd_file *file, uint64_t offset, uint64_t length);
	/* Has the file system set space aside, also past the end; -EOPNOTSUPP where it cannot. */
	int (*allocate)(struct vhd_file *file, uint64_t offset, uint64_t length);
	int (*sync)(struct vhd_file *file);
	int (*truncate)(struct vhd_file *file, uint64_t size);
	int (*get_size)(struct vhd_file *file, uint64_t *size);
	int (*get_facts)(struct vhd_file *file, struct vhd_file_facts *facts);
	void (*submit)(struct vhd_file *file, struct vhd_io *io, struct io_loop *loop);
	/* Lets go of everything. */
	void (*close)(struct vhd_file *file);
};

struct vhd_file {
	const struct vhd_file_ops *ops;
};

struct vhd_file_options {
	bool write;
	bool direct;   /* O_DIRECT, where the file system can */
	bool unlocked; /* only for a look at what may change meanwhile; not with write */
	bool create;   /* must not exist; mode 0600 */
};

/* Opens a regular file, or a block device that is not created, and takes its lock: shared for
 * reading, else exclusive. Returns 0, or -errno with a message that names the path; -EBUSY where it
 * is in use. */
int vhd_file_open(const char *path, const struct vhd_file_options *options, struct vhd_file **file,
		  struct vhd_error *error);

/* ops->close, takes NULL. */
void vhd_file_close(struct vhd_file *file);

static inline int vhd_file_read(struct vhd_file *file, void *bytes, size_t length, uint64_t offset)
{
	return file->ops->read(file, bytes, length, offset);
}

static inline int vhd_file_write(struct vhd_file *file, const void *bytes, size_t length,
				 uint64_t offset)
{
	return file->ops->write(file, bytes, length, offset);
}

static inline int vhd_file_sync(struct vhd_file *file)
{
	return file->ops->sync(file);
}

static inline int vhd_file_size(struct vhd_file *file, uint64_t *size)
{
	return file->ops->get_size(file, size);
}

#endif
