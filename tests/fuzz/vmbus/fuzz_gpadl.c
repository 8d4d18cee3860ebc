/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * GPADL lists from a guest: parse, encode back to the same bytes, make a view, read through it.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "tests/unit/vmbus/memory_fixture.h"
#include "vmbus/gpadl.h"
#include "vmbus/gpadl_view.h"
#include "vmbus/guest_memory.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void view_try(struct guest_memory *memory, const struct gpadl *gpadl)
{
	struct gpadl_view *view;
	uint8_t bytes[64];

	if (gpadl_view_create(memory, gpadl, 0, gpadl->ranges[0].page_count, &view) < 0)
		return;
	if (gpadl_view_read(view, view->size_bytes - 64, bytes, 64) < 0 ||
	    gpadl_view_write(view, view->size_bytes - 64, bytes, 64) < 0)
		abort();
	gpadl_view_free(view);
}

/* Two bytes of range count, then the ranges. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct guest_memory *memory;
	struct gpadl *gpadl;
	uint8_t *bytes;

	if (!memory)
		memory = fixture_memory(64);
	if (size < 2)
		return 0;
	if (gpadl_parse(1, get_le16(data), data + 2, size - 2, &gpadl) < 0)
		return 0;
	bytes = malloc(size - 2);
	if (!bytes || gpadl_encode(gpadl, bytes, size - 2) != size - 2 ||
	    memcmp(bytes, data + 2, size - 2) != 0)
		abort();
	free(bytes);
	view_try(memory, gpadl);
	gpadl_free(gpadl);
	return 0;
}
