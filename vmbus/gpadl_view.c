/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A linear view over the pages of a GPADL's first range: an array of host addresses, one a page, so
 * that an offset is found by a shift; neighbouring pages are copied as one run where they are
 * neighbours in host memory too.
 */
#include "vmbus/gpadl_view.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "vmbus/gpadl.h"
#include "vmbus/guest_memory_internal.h"

#define PAGE_MASK (GUEST_PAGE_SIZE - 1)

int gpadl_view_create(struct guest_memory *memory, const struct gpadl *gpadl, size_t first_page,
		      size_t page_count, struct gpadl_view **view)
{
	const struct gpadl_range *range = &gpadl->ranges[0];
	struct gpadl_view *made;

	if (page_count == 0 || range->byte_offset != 0 ||
	    !range_fits(first_page, page_count, range->page_count))
		return -EINVAL;
	made = calloc(1, sizeof(*made) + page_count * (sizeof(*made->pages) + sizeof(*made->gpns)));
	if (!made)
		return -ENOMEM;
	made->memory = memory;
	made->page_count = page_count;
	made->size_bytes = page_count * GUEST_PAGE_SIZE;
	made->pages = (uint8_t **)(made + 1);
	made->gpns = (uint64_t *)(made->pages + page_count);
	for (size_t i = 0; i < page_count; i++) {
		uint64_t gpn = range->gpns[first_page + i];

		if (gpn < GUEST_MEMORY_MAX_BYTES >> GUEST_PAGE_SHIFT)
			made->pages[i] =
				guest_memory_hva(memory, gpn << GUEST_PAGE_SHIFT, GUEST_PAGE_SIZE);
		if (!made->pages[i]) {
			free(made);
			return -EFAULT;
		}
		made->gpns[i] = gpn;
	}
	*view = made;
	return 0;
}

void gpadl_view_free(struct gpadl_view *view)
{
	free(view);
}

size_t gpadl_view_run(const struct gpadl_view *view, size_t offset, size_t length, uint8_t **hva)
{
	size_t page = offset >> GUEST_PAGE_SHIFT;
	size_t run = GUEST_PAGE_SIZE - (offset & PAGE_MASK);

	if (offset >= view->size_bytes || length == 0)
		return 0;
	if (length > view->size_bytes - offset)
		length = view->size_bytes - offset;
	*hva = view->pages[page] + (offset & PAGE_MASK);
	while (run < length && view->pages[page + 1] == view->pages[page] + GUEST_PAGE_SIZE) {
		run += GUEST_PAGE_SIZE;
		page++;
	}
	return run < length ? run : length;
}

int gpadl_view_read(const struct gpadl_view *view, size_t offset, void *to, size_t length)
{
	uint8_t *bytes = to;
	uint8_t *hva;
	size_t run;

	if (!range_fits(offset, length, view->size_bytes))
		return -EFAULT;
	while ((run = gpadl_view_run(view, offset, length, &hva)) > 0) {
		memcpy(bytes, hva, run);
		bytes += run;
		offset += run;
		length -= run;
	}
	return 0;
}

int gpadl_view_write(struct gpadl_view *view, size_t offset, const void *from, size_t length)
{
	const uint8_t *bytes = from;
	size_t first = offset;
	size_t total = length;
	uint8_t *hva;
	size_t run;

	if (!range_fits(offset, length, view->size_bytes))
		return -EFAULT;
	while ((run = gpadl_view_run(view, offset, length, &hva)) > 0) {
		memcpy(hva, bytes, run);
		bytes += run;
		offset += run;
		length -= run;
	}
	gpadl_view_mark_dirty(view, first, total);
	return 0;
}

void gpadl_view_mark_dirty(struct gpadl_view *view, size_t offset, size_t length)
{
	if (length == 0 || !range_fits(offset, length, view->size_bytes))
		return;
	for (size_t page = offset >> GUEST_PAGE_SHIFT; length > 0;) {
		size_t within = offset & PAGE_MASK;
		uint64_t gpa = (view->gpns[page] << GUEST_PAGE_SHIFT) + within;
		size_t run = GUEST_PAGE_SIZE - within;

		while (run < length && view->gpns[page + 1] == view->gpns[page] + 1) {
			run += GUEST_PAGE_SIZE;
			page++;
		}
		if (run > length)
			run = length;
		guest_memory_mark_dirty(view->memory, gpa, run);
		offset += run;
		length -= run;
		page++;
	}
}
