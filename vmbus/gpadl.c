/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Parses and encodes GPADL ranges: {u32 byte_count, u32 byte_offset, u64 gpn[]} one after the
 * other, packed. One allocation holds the list, its ranges and its page numbers.
 */
#include "vmbus/gpadl.h"

#include <errno.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "vmbus/guest_memory.h"

#define RANGE_HEADER_BYTES 8

/* Reads one range's header; returns its page count, or -EINVAL where the range is bad or longer
 * than left_bytes. */
static int64_t range_page_count(const uint8_t *bytes, size_t left_bytes)
{
	uint32_t byte_count;
	uint32_t byte_offset;
	uint64_t pages;

	if (left_bytes < RANGE_HEADER_BYTES)
		return -EINVAL;
	byte_count = get_le32(bytes);
	byte_offset = get_le32(bytes + 4);
	if (byte_count == 0 || byte_offset >= GUEST_PAGE_SIZE)
		return -EINVAL;
	pages = align_up((uint64_t)byte_offset + byte_count, GUEST_PAGE_SIZE) >> GUEST_PAGE_SHIFT;
	if (pages > GPADL_MAX_PAGES || pages > (left_bytes - RANGE_HEADER_BYTES) / sizeof(uint64_t))
		return -EINVAL;
	return (int64_t)pages;
}

/* Total page count of a well-formed list, or -EINVAL. */
static int64_t ranges_page_count(uint32_t range_count, const uint8_t *bytes, size_t length)
{
	size_t used = 0;
	int64_t total = 0;

	if (range_count == 0)
		return -EINVAL;
	for (uint32_t i = 0; i < range_count; i++) {
		int64_t pages = range_page_count(bytes + used, length - used);

		if (pages < 0)
			return pages;
		total += pages;
		if (total > GPADL_MAX_PAGES)
			return -EINVAL;
		used += RANGE_HEADER_BYTES + (size_t)pages * sizeof(uint64_t);
	}
	return used == length ? total : -EINVAL;
}

int gpadl_parse(uint32_t id, uint32_t range_count, const void *bytes, size_t length,
		struct gpadl **gpadl)
{
	int64_t pages = ranges_page_count(range_count, bytes, length);
	const uint8_t *from = bytes;
	struct gpadl *made;
	uint64_t *gpn;

	if (pages < 0)
		return (int)pages;
	made = calloc(1, sizeof(*made) + range_count * sizeof(*made->ranges) +
				 (size_t)pages * sizeof(*made->gpns));
	if (!made)
		return -ENOMEM;
	made->id = id;
	made->range_count = range_count;
	made->ranges = (struct gpadl_range *)(made + 1);
	made->gpns = (uint64_t *)(made->ranges + range_count);
	made->page_count = (size_t)pages;

	gpn = made->gpns;
	for (uint32_t i = 0; i < range_count; i++) {
		struct gpadl_range *range = &made->ranges[i];

		range->byte_count = get_le32(from);
		range->byte_offset = get_le32(from + 4);
		range->gpns = gpn;
		range->page_count =
			(range->byte_offset + (uint64_t)range->byte_count + GUEST_PAGE_SIZE - 1) >>
			GUEST_PAGE_SHIFT;
		from += RANGE_HEADER_BYTES;
		for (size_t page = 0; page < range->page_count; page++, from += sizeof(uint64_t))
			*gpn++ = get_le64(from);
	}
	*gpadl = made;
	return 0;
}

void gpadl_free(struct gpadl *gpadl)
{
	free(gpadl);
}

size_t gpadl_encode(const struct gpadl *gpadl, void *bytes, size_t size)
{
	size_t needed = gpadl->range_count * (size_t)RANGE_HEADER_BYTES +
			gpadl->page_count * sizeof(uint64_t);
	uint8_t *to = bytes;

	if (needed > size)
		return needed;
	for (uint32_t i = 0; i < gpadl->range_count; i++) {
		const struct gpadl_range *range = &gpadl->ranges[i];

		put_le32(to, range->byte_count);
		put_le32(to + 4, range->byte_offset);
		to += RANGE_HEADER_BYTES;
		for (size_t page = 0; page < range->page_count; page++, to += sizeof(uint64_t))
			put_le64(to, range->gpns[page]);
	}
	return needed;
}
