/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A GPADL's first range seen as one linear buffer of bytes over guest memory: rings, and netvsp's
 * send and receive buffers. Pages need not be contiguous in the guest. Every write marks the dirty
 * bitmap. Lock-free; any thread, as long as two writers do not write the same bytes.
 */
#ifndef LUNAR_VMBUS_GPADL_VIEW_H
#define LUNAR_VMBUS_GPADL_VIEW_H

#include <stddef.h>
#include <stdint.h>

struct gpadl;
struct guest_memory;

struct gpadl_view {
	struct guest_memory *memory;
	size_t page_count;
	size_t size_bytes; /* page_count * 4096; a view starts on a page boundary */
	uint8_t **pages;   /* host address of each page */
	uint64_t *gpns;
};

/* The view of pages [first_page, first_page + page_count) of the GPADL's first range, whose
 * byte_offset must be 0. Returns 0 (caller frees with gpadl_view_free()); -EINVAL: out of range or
 * byte_offset != 0; -EFAULT: a page is not guest memory; -ENOMEM. The GPADL may be freed
 * afterwards; guest memory must outlive the view. */
int gpadl_view_create(struct guest_memory *memory, const struct gpadl *gpadl, size_t first_page,
		      size_t page_count, struct gpadl_view **view);
/* Takes NULL. */
void gpadl_view_free(struct gpadl_view *view);

/* Copies out of or into the view. The caller has checked that [offset, offset + length) lies
 * inside; out of range is -EFAULT and nothing is copied. */
int gpadl_view_read(const struct gpadl_view *view, size_t offset, void *to, size_t length);
int gpadl_view_write(struct gpadl_view *view, size_t offset, const void *from, size_t length);

/* Longest run of bytes from offset that is contiguous in host memory, at most length; its address
 * in *hva. For zero-copy readers and for writers that then call gpadl_view_mark_dirty(). 0 where
 * offset is outside. */
size_t gpadl_view_run(const struct gpadl_view *view, size_t offset, size_t length, uint8_t **hva);
void gpadl_view_mark_dirty(struct gpadl_view *view, size_t offset, size_t length);

#endif
