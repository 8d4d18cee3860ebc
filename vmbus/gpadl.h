/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A GPADL (guest physical address descriptor list): the guest pages that the guest has lent to a
 * channel, as one or more ranges of {byte count, byte offset, page numbers}. This is the validated,
 * immutable list; vmbus/gpadl_view.h maps it. Source: TLFS "VMBus"; observed in Linux 6.1
 * include/linux/hyperv.h.
 */
#ifndef LUNAR_VMBUS_GPADL_H
#define LUNAR_VMBUS_GPADL_H

#include <stddef.h>
#include <stdint.h>

#define GPADL_MAX_PAGES 8192 /* a u16 byte count of u64 page numbers bounds a GPADL near 32 MiB */

struct gpadl_range {
	uint32_t byte_count;
	uint32_t byte_offset; /* into the first page, < 4096 */
	const uint64_t *gpns; /* ceil((byte_offset + byte_count) / 4096) of them */
	size_t page_count;
};

struct gpadl {
	uint32_t id;	      /* chosen by the guest */
	uint32_t range_count; /* at least 1 */
	struct gpadl_range *ranges;
	uint64_t *gpns; /* all page numbers, range after range */
	size_t page_count;
};

/*
 * Parses range_count ranges, each {u32 byte_count, u32 byte_offset, u64 gpn[]}, little-endian and
 * packed, out of bytes (a private copy, not guest memory). All bytes must be used. Returns 0
 * (caller frees with gpadl_free()); -EINVAL: no range, empty range, byte_offset > 0xfff, too few or
 * left-over page numbers, more than GPADL_MAX_PAGES; -ENOMEM. Whether a page number is guest memory
 * is checked when the view is made.
 */
int gpadl_parse(uint32_t id, uint32_t range_count, const void *bytes, size_t length,
		struct gpadl **gpadl);
/* Takes NULL. */
void gpadl_free(struct gpadl *gpadl);
/* Writes the bytes that gpadl_parse() reads. Returns the length needed; writes only where it is at
 * most size. */
size_t gpadl_encode(const struct gpadl *gpadl, void *bytes, size_t size);

#endif
