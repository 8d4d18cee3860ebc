/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The one gate to guest memory, for every process that maps it (vmwp, netvspd). A region table,
 * bounds checks, and the dirty bitmap: KVM logs only what VPs write, so each write by the host
 * marks its pages here. The bitmap is one bit a 4 KiB guest page over the whole GPA space, in a
 * memfd that all processes of the VM share.
 *
 * The region table is set up before the first access and constant afterwards; accesses are then
 * lock-free and may come from any thread. The guest can change memory under the reader at any time:
 * copy once, check the copy, use the copy.
 */
#ifndef LUNAR_VMBUS_GUEST_MEMORY_H
#define LUNAR_VMBUS_GUEST_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GUEST_PAGE_SHIFT	 12
#define GUEST_PAGE_SIZE		 UINT64_C(4096)
#define GUEST_MEMORY_MAX_REGIONS 8
#define GUEST_MEMORY_MAX_BYTES	 (UINT64_C(1) << 40) /* 1 TiB: the GPA limit */

struct guest_memory;

struct guest_memory_region {
	uint64_t gpa;	     /* page-aligned */
	uint64_t size_bytes; /* page-aligned, nonzero */
	uint64_t fd_offset;  /* page-aligned */
	int fd;		     /* memfd (huge pages or not); the table keeps a duplicate */
	void *hva;	     /* filled by guest_memory_create() */
};

/*
 * Maps the regions (shared, read and write). dirty_fd: the shared bitmap's memfd, or -1 to make one
 * that covers up to the end of the highest region (see guest_memory_dirty_fd()). The fds stay the
 * caller's. Returns 0; -EINVAL: misaligned, empty, overlapping, past GUEST_MEMORY_MAX_BYTES, past
 * the end of its fd, bitmap too small, or too many regions; -EPERM: an fd that is not sealed
 * against shrinking (F_SEAL_SHRINK), so that its owner could kill us by SIGBUS; -ENOMEM or another
 * -errno from mmap.
 */
int guest_memory_create(const struct guest_memory_region *regions, size_t region_count,
			int dirty_fd, struct guest_memory **memory);
/* Takes NULL. Unmaps everything: no pointer from here may be in use. */
void guest_memory_destroy(struct guest_memory *memory);

size_t guest_memory_region_count(const struct guest_memory *memory);
const struct guest_memory_region *guest_memory_region_at(const struct guest_memory *memory,
							 size_t index);
int guest_memory_dirty_fd(const struct guest_memory *memory);
/* One past the highest GPA backed by memory. */
uint64_t guest_memory_limit(const struct guest_memory *memory);

/* Copies; the range may cross regions that touch. Returns 0, or -EFAULT where part of it is not
 * guest memory (then nothing was copied). */
int guest_memory_read(const struct guest_memory *memory, uint64_t gpa, void *to, size_t length);
int guest_memory_write(struct guest_memory *memory, uint64_t gpa, const void *from, size_t length);

/*
 * A host pointer to [gpa, gpa + length), which must lie inside one region; NULL otherwise. Valid
 * until destroy. _for_write marks the pages dirty now: for a pointer that is kept and written
 * later, mark again after each write with guest_memory_mark_dirty().
 */
const void *guest_memory_for_read(const struct guest_memory *memory, uint64_t gpa, size_t length);
void *guest_memory_for_write(struct guest_memory *memory, uint64_t gpa, size_t length);
/* Marks every page that [gpa, gpa + length) touches; pages past the bitmap are ignored. Release
 * order: the bits are set after the bytes are written. */
void guest_memory_mark_dirty(struct guest_memory *memory, uint64_t gpa, size_t length);

/* Takes and clears the bits of pages [first_gpn, first_gpn + 64 * word_count) into words (first_gpn
 * a multiple of 64). Pages past the bitmap read as clean. Returns 0 or -EINVAL. */
int guest_memory_dirty_fetch_and_clear(struct guest_memory *memory, uint64_t first_gpn,
				       uint64_t *words, size_t word_count);

#endif
