/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An image's file, or a block device: opened as the disk wants it, locked, with what the file
 * system can do found out. Reads and writes are in image_io.h.
 *
 * O_DIRECT is used where it is asked for and the file system can; what is not aligned as that wants
 * it (VHD's data on a disk of 4096-byte blocks) goes by a second descriptor through the page cache,
 * which the kernel keeps coherent with it.
 *
 * All calls may hang with a share: they are for disk.c's helper threads. None runs while I/O does,
 * but refresh and the small getters.
 */
#ifndef LUNAR_STORVSP_IMAGE_FILE_H
#define LUNAR_STORVSP_IMAGE_FILE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct image_file;

struct image_file_options {
	const char *path;
	bool read_only; /* a shared lock; else an exclusive one */
	bool direct;
	bool deferred;	 /* looks at the file, but takes no lock and keeps nothing open: reopen() */
	bool files_only; /* refuses a block device */
};

struct image_file {
	char *path; /* absolute */
	bool read_only, want_direct, files_only;

	int fd;		 /* the one that is locked; O_DIRECT where direct. -1: released */
	int buffered_fd; /* the same file through the page cache; fd where that is not O_DIRECT */
	bool direct;
	bool is_block_device;
	uint32_t memory_align;			    /* for O_DIRECT; powers of two */
	uint32_t offset_align;			    /* likewise, of offset and length */
	uint32_t block_bytes, physical_block_bytes; /* files: 512, 4096 */
	uint32_t optimal_bytes;
	uint32_t discard_bytes; /* granularity of punching holes, or of discarding; 0: cannot */
	bool rotational;
	uint8_t id[16];				/* of the path; of the device where it tells */
	_Atomic uint64_t size_bytes;		/* of the file as it is, not rounded */
	_Atomic bool cannot_punch, cannot_zero; /* as fallocate() told so far */
};

/* Returns 0, or -errno with a line for the user in message. -EBUSY: locked. *file is the caller's,
 * to close. */
int image_file_open(const struct image_file_options *options, struct image_file **file,
		    char *message, size_t message_bytes);
/* Takes NULL. */
void image_file_close(struct image_file *file);
/* Syncs, lets the locks go and closes; 0 or -errno of the sync. Where that fails it stays open. */
int image_file_release(struct image_file *file);
/* After release or a deferred open: opens and locks anew. As open. */
int image_file_reopen(struct image_file *file, char *message, size_t message_bytes);
/* Looks at the size again. 0 or -errno. */
int image_file_refresh(struct image_file *file);

/* Reads all of it at once, blocking, through the page cache: headers and tables at open. A file
 * that ends before gives -ENODATA. */
int image_file_read_now(const struct image_file *file, void *to, size_t bytes, uint64_t offset);
/* Likewise; with sync: fdatasync() after it. */
int image_file_write_now(const struct image_file *file, const void *from, size_t bytes,
			 uint64_t offset, bool sync);

#endif
