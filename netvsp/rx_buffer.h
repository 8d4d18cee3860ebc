/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A vNIC's receive buffer: guest memory cut into sections, each lent to the guest with one received
 * frame (or piece of one) and given back by the guest's completion. The sections of one transaction
 * form a chain. Worker's thread.
 */
#ifndef LUNAR_NETVSP_RX_BUFFER_H
#define LUNAR_NETVSP_RX_BUFFER_H

#include <stdbool.h>
#include <stdint.h>

struct gpadl_view;
struct nvsp_layout;
struct rte_mbuf;

#define RX_NO_SECTION UINT32_MAX

struct rx_buffer {
	struct gpadl_view *view; /* NULL: the guest has given none */
	uint32_t section_bytes;
	uint32_t section_count;
	uint16_t set_id;
	uint32_t *next; /* of each section: its chain, the free ones' included */
	uint32_t free_head;
	uint32_t free_count;
};

/* Owns the view from then on. Returns 0 or -ENOMEM (the view stays the caller's). */
int rx_buffer_init(struct rx_buffer *buffer, struct gpadl_view *view,
		   const struct nvsp_layout *layout);
/* Takes one that was never initialised (all zero). */
void rx_buffer_fini(struct rx_buffer *buffer);

/* Takes a section and puts it ahead of *chain (RX_NO_SECTION: empty). False where there is none. */
static inline bool rx_buffer_take(struct rx_buffer *buffer, uint32_t *chain)
{
	uint32_t section = buffer->free_head;

	if (section == RX_NO_SECTION)
		return false;
	buffer->free_head = buffer->next[section];
	buffer->free_count--;
	buffer->next[section] = *chain;
	*chain = section;
	return true;
}

/* Gives a chain back. */
void rx_buffer_release(struct rx_buffer *buffer, uint32_t chain);

/* A section that the guest holds, and by which transaction of which channel. */
struct held_section {
	uint32_t section;
	uint16_t sub_index;
	uint16_t id;
};

/* Takes the sections that a guest holds out of a buffer that is all free. held is hostile. Returns
 * 0; -EINVAL: no such section, or one twice; -ENOMEM. Where it fails nothing has been taken. Chains
 * are the caller's to build, with rx_buffer_chain(). */
int rx_buffer_take_held(struct rx_buffer *buffer, const struct held_section *held, uint32_t count);

/* Puts a section that is not free ahead of *chain. */
static inline void rx_buffer_chain(struct rx_buffer *buffer, uint32_t section, uint32_t *chain)
{
	buffer->next[section] = *chain;
	*chain = section;
}

/* Fills a section: header, then length bytes of the frame from offset on (NULL: no frame). They
 * fit. */
void rx_buffer_fill(struct rx_buffer *buffer, uint32_t section, const void *header,
		    uint32_t header_bytes, const struct rte_mbuf *frame, uint32_t offset,
		    uint32_t length);

#endif
