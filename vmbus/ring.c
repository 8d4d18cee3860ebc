/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One direction of a ring over guest memory. What the peer wrote is loaded once, checked and kept;
 * our own index lives in private memory, so a peer that scribbles over it harms itself only. Dirty
 * pages are marked when an index is published: bytes that are not published mean nothing to
 * anybody.
 *
 * Orders: an index is loaded with acquire (partner: the other side's publishing store, which its
 * data writes precede) and published with sequential consistency, because each side then looks at a
 * word of the other's: index against interrupt_mask, index against pending_send_size. Both sides
 * store first and look second, so one of the two sees the other. Linux puts full barriers in the
 * same places (hv_signal_on_write, hv_pkt_iter_close, hv_end_read).
 */
#include "vmbus/ring.h"

#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>

#include "vmbus/gpadl_view.h"
#include "vmbus/guest_memory.h"
#include "wire/vmbus.h"

#define CONTROL_BYTES  sizeof(struct vmbus_ring_control)
#define RESERVED_BYTES RING_RESERVED_BYTES

enum control_word {
	WRITE_INDEX = offsetof(struct vmbus_ring_control, write_index) / 4,
	READ_INDEX = offsetof(struct vmbus_ring_control, read_index) / 4,
	INTERRUPT_MASK = offsetof(struct vmbus_ring_control, interrupt_mask) / 4,
	PENDING_SEND_SIZE = offsetof(struct vmbus_ring_control, pending_send_size) / 4,
	FEATURE_BITS = offsetof(struct vmbus_ring_control, feature_bits) / 4,
};

static bool index_is_valid(const struct ring *ring, uint32_t index)
{
	return index < ring->data_bytes && index % 8 == 0;
}

static uint32_t index_add(const struct ring *ring, uint32_t index, uint32_t bytes)
{
	uint64_t sum = (uint64_t)index + bytes;

	return (uint32_t)(sum >= ring->data_bytes ? sum - ring->data_bytes : sum);
}

/* Bytes from index from up to index to, going forward. */
static uint32_t index_distance(const struct ring *ring, uint32_t from, uint32_t to)
{
	return to >= from ? to - from : ring->data_bytes - from + to;
}

static void control_mark_dirty(struct ring *ring)
{
	gpadl_view_mark_dirty(ring->view, 0, sizeof(uint32_t));
}

static void control_store(struct ring *ring, enum control_word word, uint32_t value)
{
	atomic_store_explicit(&ring->control[word], value, memory_order_seq_cst);
	control_mark_dirty(ring);
}

/* Whether the data pages are neighbours in host memory, as they are wherever the guest allocated
 * them in one piece. */
static uint8_t *data_contiguous(const struct gpadl_view *view)
{
	size_t data_bytes = view->size_bytes - CONTROL_BYTES;
	uint8_t *hva;

	return gpadl_view_run(view, CONTROL_BYTES, data_bytes, &hva) == data_bytes ? hva : NULL;
}

static int ring_init(struct ring *ring, struct gpadl_view *view, enum control_word own,
		     enum control_word peer)
{
	struct ring made = {0};

	if (view->page_count < 2 || view->size_bytes - CONTROL_BYTES > UINT32_MAX / 2)
		return -EINVAL;
	made.view = view;
	made.control = (_Atomic uint32_t *)view->pages[0];
	made.data = data_contiguous(view);
	made.data_bytes = (uint32_t)(view->size_bytes - CONTROL_BYTES);
	made.local_index = atomic_load_explicit(&made.control[own], memory_order_relaxed);
	made.peer_index = atomic_load_explicit(&made.control[peer], memory_order_acquire);
	if (!index_is_valid(&made, made.local_index) || !index_is_valid(&made, made.peer_index))
		return -EPROTO;
	made.published_index = made.local_index;
	*ring = made;
	return 0;
}

int ring_init_reader(struct ring *ring, struct gpadl_view *view)
{
	return ring_init(ring, view, READ_INDEX, WRITE_INDEX);
}

int ring_init_writer(struct ring *ring, struct gpadl_view *view)
{
	int rc = ring_init(ring, view, WRITE_INDEX, READ_INDEX);

	if (rc < 0)
		return rc;
	control_store(ring, PENDING_SEND_SIZE, 0);
	control_store(ring, FEATURE_BITS, VMBUS_RING_FEATURE_PENDING_SEND_SIZE);
	return 0;
}

/* Loads the peer's index afresh; what comes after in the program sees the data that it covers. */
static int peer_index_load(struct ring *ring, enum control_word word, memory_order order)
{
	uint32_t index;

	if (ring->broken)
		return -EPROTO;
	index = atomic_load_explicit(&ring->control[word], order);
	if (!index_is_valid(ring, index)) {
		ring->broken = true;
		return -EPROTO;
	}
	ring->peer_index = index;
	return 0;
}

/* Data-area bytes that can be read, as last loaded. */
static uint32_t readable_known(const struct ring *ring)
{
	return index_distance(ring, ring->local_index, ring->peer_index);
}

static uint32_t writable_known(const struct ring *ring)
{
	uint32_t used = index_distance(ring, ring->peer_index, ring->local_index);

	return ring->data_bytes - used - RESERVED_BYTES;
}

static void data_copy_out(const struct ring *ring, uint32_t index, uint8_t *to, uint32_t length)
{
	if (ring->data)
		memcpy(to, ring->data + index, length);
	else
		gpadl_view_read(ring->view, CONTROL_BYTES + index, to, length);
}

static void data_copy_in(struct ring *ring, uint32_t index, const uint8_t *from, uint32_t length)
{
	uint8_t *hva;

	if (ring->data) {
		memcpy(ring->data + index, from, length);
		return;
	}
	while (length > 0) {
		uint32_t run =
			(uint32_t)gpadl_view_run(ring->view, CONTROL_BYTES + index, length, &hva);

		memcpy(hva, from, run);
		from += run;
		index += run;
		length -= run;
	}
}

/* ---- reader ---- */

int64_t ring_readable_bytes(struct ring *ring)
{
	int rc = peer_index_load(ring, WRITE_INDEX, memory_order_acquire);

	return rc < 0 ? rc : (int64_t)readable_known(ring);
}

uint32_t ring_readable_known(const struct ring *ring)
{
	return ring->broken ? 0 : readable_known(ring);
}

int ring_peek(const struct ring *ring, uint32_t offset, void *to, uint32_t length)
{
	uint32_t available = readable_known(ring);
	uint32_t index;
	uint32_t first;

	if (ring->broken || offset > available || length > available - offset)
		return -EPROTO;
	if (length == 0)
		return 0;
	index = index_add(ring, ring->local_index, offset);
	first = ring->data_bytes - index;
	if (length <= first) {
		data_copy_out(ring, index, to, length);
	} else {
		data_copy_out(ring, index, to, first);
		data_copy_out(ring, 0, (uint8_t *)to + first, length - first);
	}
	return 0;
}

int ring_skip(struct ring *ring, uint32_t length)
{
	if (ring->broken || length > readable_known(ring))
		return -EPROTO;
	ring->local_index = index_add(ring, ring->local_index, length);
	return 0;
}

bool ring_publish_read(struct ring *ring)
{
	uint32_t bytes_read = index_distance(ring, ring->published_index, ring->local_index);
	uint32_t pending;
	uint32_t free_before;
	uint32_t free_now;

	if (ring->broken || bytes_read == 0)
		return false;
	/* Store the index, then look at pending_send_size. Partner: the writer stores
	 * pending_send_size, then looks at read_index (ring_set_pending_send_bytes() and the
	 * ring_writable_bytes() after it; Linux: its callers' re-check). The store is also the
	 * release that lets the writer overwrite what we have copied. */
	control_store(ring, READ_INDEX, ring->local_index);
	ring->published_index = ring->local_index;
	pending = atomic_load_explicit(&ring->control[PENDING_SEND_SIZE], memory_order_seq_cst);
	if (pending == 0)
		return false;
	if (peer_index_load(ring, WRITE_INDEX, memory_order_seq_cst) < 0)
		return false;
	/* Signal only on the way from "not more than pending free" to "more": the writer that was
	 * not waiting must not be woken each time. */
	free_now = ring->data_bytes - readable_known(ring);
	free_before = free_now > bytes_read ? free_now - bytes_read : 0;
	return free_before <= pending && free_now > pending;
}

void ring_mask(struct ring *ring)
{
	control_store(ring, INTERRUPT_MASK, 1);
}

bool ring_unmask(struct ring *ring)
{
	/* Store the mask, then look at write_index. Partner: ring_publish_write() stores
	 * write_index, then looks at the mask (Linux: hv_signal_on_write()). */
	control_store(ring, INTERRUPT_MASK, 0);
	if (peer_index_load(ring, WRITE_INDEX, memory_order_seq_cst) < 0)
		return true; /* the next read reports it */
	return readable_known(ring) != 0;
}

/* ---- writer ---- */

int64_t ring_writable_bytes(struct ring *ring)
{
	/* Acquire: what we write must not overtake the reader's copying. Sequentially consistent
	 * for the look after ring_set_pending_send_bytes(); it costs a plain load. */
	int rc = peer_index_load(ring, READ_INDEX, memory_order_seq_cst);

	return rc < 0 ? rc : (int64_t)writable_known(ring);
}

uint32_t ring_writable_known(const struct ring *ring)
{
	return ring->broken ? 0 : writable_known(ring);
}

int ring_poke(struct ring *ring, uint32_t offset, const void *from, uint32_t length)
{
	uint32_t available = writable_known(ring);
	uint32_t index;
	uint32_t first;

	if (ring->broken || offset > available || length > available - offset)
		return -EPROTO;
	if (length == 0)
		return 0;
	index = index_add(ring, ring->local_index, offset);
	first = ring->data_bytes - index;
	if (length <= first) {
		data_copy_in(ring, index, from, length);
	} else {
		data_copy_in(ring, index, from, first);
		data_copy_in(ring, 0, (const uint8_t *)from + first, length - first);
	}
	return 0;
}

int ring_advance(struct ring *ring, uint32_t length)
{
	if (ring->broken || length > writable_known(ring))
		return -EPROTO;
	ring->local_index = index_add(ring, ring->local_index, length);
	return 0;
}

/* Marks the data bytes between the published position and the private one. */
static void data_mark_dirty(struct ring *ring, uint32_t length)
{
	uint32_t first = ring->data_bytes - ring->published_index;

	if (first > length)
		first = length;
	gpadl_view_mark_dirty(ring->view, CONTROL_BYTES + ring->published_index, first);
	gpadl_view_mark_dirty(ring->view, CONTROL_BYTES, length - first);
}

bool ring_publish_write(struct ring *ring)
{
	uint32_t before = ring->published_index;
	uint32_t length = index_distance(ring, before, ring->local_index);

	if (ring->broken || length == 0)
		return false;
	/* Store the index, then look at the mask, then at read_index. Partner: the reader stores
	 * the mask, then looks at write_index (ring_unmask(); Linux: hv_end_read()). */
	atomic_store_explicit(&ring->control[WRITE_INDEX], ring->local_index, memory_order_seq_cst);
	data_mark_dirty(ring, length);
	control_mark_dirty(ring);
	ring->published_index = ring->local_index;
	if (atomic_load_explicit(&ring->control[INTERRUPT_MASK], memory_order_seq_cst) != 0)
		return false;
	return atomic_load_explicit(&ring->control[READ_INDEX], memory_order_seq_cst) == before;
}

void ring_set_pending_send_bytes(struct ring *ring, uint32_t needed_bytes)
{
	/* The reader signals when more than this is free, the unit that stays free included. */
	control_store(ring, PENDING_SEND_SIZE, (needed_bytes + 7) & ~7u);
}
