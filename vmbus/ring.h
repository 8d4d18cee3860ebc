/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One direction of a channel's ring: a control page, then data pages, both in guest memory lent by
 * a GPADL. The two indices are bytes into the data area. The host reads the guest's out-ring and
 * writes its in-ring; the tests' guest side and our own drivers use the same code the other way
 * round. Source: TLFS; observed in Linux 6.1 drivers/hv/ring_buffer.c, include/linux/hyperv.h
 * (struct hv_ring_buffer).
 *
 * One reader and one writer thread at a time. Every index loaded from guest memory is checked on
 * every load.
 */
#ifndef LUNAR_VMBUS_RING_H
#define LUNAR_VMBUS_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct gpadl_view;

#define RING_RESERVED_BYTES 8u /* never filled: an empty ring and a full one must differ */

/* Control page (4 KiB): u32 write_index, u32 read_index, u32 interrupt_mask, u32 pending_send_size,
 * ..., u32 feature_bits at 64 (bit 0: pending_send_size is honoured). */
struct ring {
	struct gpadl_view *view; /* control page first; the ring does not own it */
	_Atomic uint32_t *control;
	uint8_t *data;	      /* the data area where it is contiguous in host memory, else NULL */
	uint32_t data_bytes;  /* a multiple of 4096, at least one page */
	uint32_t local_index; /* reader: next byte to read; writer: next to write; private */
	uint32_t published_index; /* local_index as the peer was last told */
	uint32_t peer_index;	  /* last good value of the other side's index */
	bool broken; /* the peer published a bad index: every call fails from then on */
};

/* The view must have at least two pages. Starts from the indices in memory. Returns 0, -EINVAL,
 * -EPROTO (bad index). */
int ring_init_reader(struct ring *ring, struct gpadl_view *view);
int ring_init_writer(struct ring *ring, struct gpadl_view *view);

/* ---- reader ---- */

/* Bytes that can be read now, with the peer's index freshly loaded; -EPROTO: bad index, the ring is
 * broken. */
int64_t ring_readable_bytes(struct ring *ring);
/* The same as last loaded: no look at the peer's index, so a batch costs one look. 0 when broken.
 */
uint32_t ring_readable_known(const struct ring *ring);
/* Copies length bytes from offset bytes past the read position; they must be readable (as last
 * loaded). 0 or -EPROTO. */
int ring_peek(const struct ring *ring, uint32_t offset, void *to, uint32_t length);
/* Moves the private read position on; nothing is published. */
int ring_skip(struct ring *ring, uint32_t length);
/* Publishes the read position. True where the writer waits for room (pending_send_size) and must be
 * signalled. */
bool ring_publish_read(struct ring *ring);
/* interrupt_mask, as the reader sets it: true asks the writer not to signal. ring_unmask re-checks
 * and returns true where data arrived meanwhile (read on instead of sleeping). */
void ring_mask(struct ring *ring);
bool ring_unmask(struct ring *ring);

/* ---- writer ---- */

/* Bytes that can be written now (one 8-byte unit is always kept free); -EPROTO as above. */
int64_t ring_writable_bytes(struct ring *ring);
/* The same as last loaded. 0 when broken. */
uint32_t ring_writable_known(const struct ring *ring);
/* Copies length bytes to offset bytes past the private write position, which does not move; they
 * must be writable (as last loaded). 0 or -EPROTO. */
int ring_poke(struct ring *ring, uint32_t offset, const void *from, uint32_t length);
/* Moves the private write position on; nothing is published. */
int ring_advance(struct ring *ring, uint32_t length);
/* Publishes the write position. True where the reader was idle (ring empty before, mask clear) and
 * must be signalled. */
bool ring_publish_write(struct ring *ring);
/* Asks the reader to signal once needed_bytes are writable; 0 withdraws. Look at
 * ring_writable_bytes() once more afterwards, before sleeping: room may have come meanwhile. */
void ring_set_pending_send_bytes(struct ring *ring, uint32_t needed_bytes);

#endif
