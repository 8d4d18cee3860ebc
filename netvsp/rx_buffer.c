/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sections of the receive buffer. The free ones are a stack: the section that came back last is
 * still in a cache.
 */
#include "netvsp/rx_buffer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <rte_mbuf.h>

#include "netvsp/nvsp.h"
#include "vmbus/gpadl_view.h"

int rx_buffer_init(struct rx_buffer *buffer, struct gpadl_view *view,
		   const struct nvsp_layout *layout)
{
	uint32_t *next = calloc(layout->section_count, sizeof(*next));

	if (!next)
		return -ENOMEM;
	for (uint32_t i = 0; i < layout->section_count; i++)
		next[i] = i + 1 < layout->section_count ? i + 1 : RX_NO_SECTION;
	*buffer = (struct rx_buffer){
		.view = view,
		.section_bytes = layout->section_bytes,
		.section_count = layout->section_count,
		.set_id = layout->id,
		.next = next,
		.free_head = 0,
		.free_count = layout->section_count,
	};
	return 0;
}

void rx_buffer_fini(struct rx_buffer *buffer)
{
	gpadl_view_free(buffer->view);
	free(buffer->next);
	*buffer = (struct rx_buffer){0};
}

void rx_buffer_release(struct rx_buffer *buffer, uint32_t chain)
{
	while (chain != RX_NO_SECTION) {
		uint32_t next = buffer->next[chain];

		buffer->next[chain] = buffer->free_head;
		buffer->free_head = chain;
		buffer->free_count++;
		chain = next;
	}
}

int rx_buffer_take_held(struct rx_buffer *buffer, const struct held_section *held, uint32_t count)
{
	bool *taken = calloc(buffer->section_count, sizeof(*taken));
	uint32_t last = RX_NO_SECTION;

	if (!taken)
		return -ENOMEM;
	for (uint32_t i = 0; i < count; i++) {
		if (held[i].section >= buffer->section_count || taken[held[i].section]) {
			free(taken);
			return -EINVAL;
		}
		taken[held[i].section] = true;
	}
	for (uint32_t i = buffer->section_count; i > 0; i--) {
		if (taken[i - 1])
			continue;
		buffer->next[i - 1] = last;
		last = i - 1;
	}
	buffer->free_head = last;
	buffer->free_count = buffer->section_count - count;
	free(taken);
	return 0;
}

/* Where writing stands in guest memory: runs that are contiguous here, one after the other. */
struct cursor {
	struct gpadl_view *view;
	size_t offset;
	size_t end;
	uint8_t *hva;
	size_t run;
};

static void cursor_write(struct cursor *cursor, const uint8_t *from, size_t length)
{
	while (length > 0) {
		size_t bytes;

		if (cursor->run == 0) {
			cursor->run = gpadl_view_run(cursor->view, cursor->offset,
						     cursor->end - cursor->offset, &cursor->hva);
			if (cursor->run == 0)
				return; /* cannot be: sections lie inside the view */
		}
		bytes = length < cursor->run ? length : cursor->run;
		memcpy(cursor->hva, from, bytes);
		cursor->hva += bytes;
		cursor->run -= bytes;
		cursor->offset += bytes;
		from += bytes;
		length -= bytes;
	}
}

void rx_buffer_fill(struct rx_buffer *buffer, uint32_t section, const void *header,
		    uint32_t header_bytes, const struct rte_mbuf *frame, uint32_t offset,
		    uint32_t length)
{
	size_t start = (size_t)section * buffer->section_bytes;
	size_t total = (size_t)header_bytes + length;
	struct cursor cursor = {.view = buffer->view, .offset = start, .end = start + total};

	cursor_write(&cursor, header, header_bytes);
	for (; frame && length > 0; frame = frame->next) {
		uint32_t bytes = frame->data_len;

		if (offset >= bytes) {
			offset -= bytes;
			continue;
		}
		bytes -= offset;
		if (bytes > length)
			bytes = length;
		cursor_write(&cursor, rte_pktmbuf_mtod_offset(frame, const uint8_t *, offset),
			     bytes);
		offset = 0;
		length -= bytes;
	}
	gpadl_view_mark_dirty(buffer->view, start, total);
}
