/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Walking and completing the TCMU ring. With out-of-order completion (a capability that is required
 * here) the kernel looks at the entries between its own position and cmd_tail, and finds each
 * command by the id that the entry then carries; so a completion is written over whichever entry is
 * at the tail, which is why an entry is copied out whole when it is first seen.
 */
#include "iscsi-initiator/tcmu_ring.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "iscsi-initiator/tcmu_abi.h"

struct entry_head {
	enum tcmu_abi_op op;
	uint32_t length;
};

int tcmu_ring_init(struct tcmu_ring *ring, void *map, size_t map_bytes)
{
	struct tcmu_abi_mailbox mailbox;

	if (map_bytes < sizeof(mailbox))
		return -EPROTO;
	memcpy(&mailbox, map, sizeof(mailbox));
	if (mailbox.version != TCMU_ABI_VERSION ||
	    (mailbox.capabilities & TCMU_CAP_OUT_OF_ORDER) == 0 ||
	    (mailbox.capabilities & TCMU_CAP_READ_LENGTH) == 0)
		return -EPROTO;
	if (mailbox.ring_offset < sizeof(mailbox) || mailbox.ring_offset % TCMU_ABI_ALIGN != 0 ||
	    mailbox.ring_bytes < 4096 || mailbox.ring_bytes % TCMU_ABI_ALIGN != 0 ||
	    !range_fits(mailbox.ring_offset, mailbox.ring_bytes, map_bytes))
		return -EPROTO;
	if (mailbox.tail >= mailbox.ring_bytes || mailbox.tail % TCMU_ABI_ALIGN != 0)
		return -EPROTO;
	*ring = (struct tcmu_ring){
		.map = map,
		.map_bytes = map_bytes,
		.ring_offset = mailbox.ring_offset,
		.ring_bytes = mailbox.ring_bytes,
		.data_offset = (size_t)mailbox.ring_offset + mailbox.ring_bytes,
		.next = mailbox.tail,
		.tail = mailbox.tail,
	};
	return 0;
}

static uint8_t *entry_at(const struct tcmu_ring *ring, uint32_t position)
{
	return ring->map + ring->ring_offset + position;
}

/* Bytes that the kernel has filled beyond position. */
static uint32_t filled(const struct tcmu_ring *ring, uint32_t position, uint32_t head)
{
	return head >= position ? head - position : ring->ring_bytes - position + head;
}

/* Pairs with the kernel's smp_store_release() of cmd_head: entries before it are complete. */
static int load_head(const struct tcmu_ring *ring, uint32_t *head)
{
	_Atomic uint32_t *shared =
		(_Atomic uint32_t *)(void *)(ring->map + offsetof(struct tcmu_abi_mailbox, head));
	uint32_t value = atomic_load_explicit(shared, memory_order_acquire);

	if (value >= ring->ring_bytes || value % TCMU_ABI_ALIGN != 0)
		return -EPROTO;
	*head = value;
	return 0;
}

/* limit: bytes from position that may belong to the entry. */
static int read_head(const struct tcmu_ring *ring, uint32_t position, uint32_t limit,
		     struct entry_head *out)
{
	uint32_t len_op;

	if (limit < sizeof(len_op))
		return -EPROTO;
	memcpy(&len_op, entry_at(ring, position), sizeof(len_op));
	out->op = (enum tcmu_abi_op)(len_op & TCMU_ABI_OP_MASK);
	out->length = len_op & ~TCMU_ABI_OP_MASK;
	if (out->length < TCMU_ABI_ALIGN || out->length % TCMU_ABI_ALIGN != 0 ||
	    out->length > limit || out->length > ring->ring_bytes - position)
		return -EPROTO;
	return 0;
}

static uint32_t advance(const struct tcmu_ring *ring, uint32_t position, uint32_t length)
{
	return (uint32_t)(((uint64_t)position + length) % ring->ring_bytes);
}

static int reserve_iovs(struct tcmu_request *request, uint32_t count)
{
	struct iovec *grown;

	if (count <= request->iov_capacity)
		return 0;
	grown = reallocarray(request->iov, count, sizeof(*grown));
	if (grown == NULL)
		return -ENOMEM;
	request->iov = grown;
	request->iov_capacity = count;
	return 0;
}

/* The iovecs' bases are offsets into the map; all must lie in the data area. */
static int copy_iovs(const struct tcmu_ring *ring, struct tcmu_request *request,
		     const uint8_t *from, uint32_t count)
{
	uint64_t total = 0;
	int ret = reserve_iovs(request, count);

	if (ret < 0)
		return ret;
	for (uint32_t i = 0; i < count; i++) {
		struct tcmu_abi_iovec one;
		memcpy(&one, from + i * sizeof(one), sizeof(one));
		if (one.offset < ring->data_offset || one.length == 0 ||
		    !range_fits(one.offset, one.length, ring->map_bytes))
			return -EPROTO;
		total += one.length;
		if (total > INT32_MAX)
			return -EPROTO;
		request->iov[i].iov_base = ring->map + one.offset;
		request->iov[i].iov_len = one.length;
	}
	request->iov_count = count;
	request->data_bytes = (uint32_t)total;
	return 0;
}

static int copy_command(const struct tcmu_ring *ring, struct tcmu_request *request,
			const uint8_t *entry, uint32_t position, uint32_t length)
{
	struct tcmu_abi_request fixed;
	uint64_t cdb_offset;
	size_t available;
	uint64_t start = (uint64_t)ring->ring_offset + position;

	if (length < sizeof(struct tcmu_abi_response))
		return -EPROTO;
	memcpy(&fixed, entry, sizeof(fixed));
	request->kind = TCMU_REQUEST_COMMAND;
	request->id = fixed.head.id;
	request->iov_count = 0;
	request->data_bytes = 0;
	if (fixed.iov_bidi_count != 0 || fixed.iov_dif_count != 0)
		return -EOPNOTSUPP;
	if (fixed.iov_count > TCMU_RING_IOVS_MAX ||
	    !range_fits(TCMU_ABI_IOV_OFFSET,
			(uint64_t)fixed.iov_count * sizeof(struct tcmu_abi_iovec), length))
		return -EPROTO;
	cdb_offset = fixed.cdb_offset;
	if (cdb_offset < start || cdb_offset >= start + length)
		return -EPROTO;
	available = (size_t)(start + length - cdb_offset);
	if (available > sizeof(request->cdb))
		available = sizeof(request->cdb);
	memcpy(request->cdb, ring->map + cdb_offset, available);
	request->cdb_available = available;
	return copy_iovs(ring, request, entry + TCMU_ABI_IOV_OFFSET, fixed.iov_count);
}

static int copy_task_management(struct tcmu_request *request, const uint8_t *entry, uint32_t length)
{
	struct tcmu_abi_task_management fixed;
	uint32_t count;

	if (length < sizeof(fixed))
		return -EPROTO;
	memcpy(&fixed, entry, sizeof(fixed));
	count = fixed.id_count;
	if (!range_fits(sizeof(fixed), (uint64_t)count * sizeof(uint16_t), length))
		return -EPROTO;
	request->kind = TCMU_REQUEST_TASK_MANAGEMENT;
	request->function = fixed.function;
	/* More than fit here cannot be under way: ids beyond are not known to us either. */
	request->id_count = count < TCMU_RING_ABORTS_MAX ? count : TCMU_RING_ABORTS_MAX;
	memcpy(request->ids, entry + sizeof(fixed), request->id_count * sizeof(uint16_t));
	return 0;
}

int tcmu_ring_next(struct tcmu_ring *ring, struct tcmu_request *request)
{
	uint32_t head;
	int ret = load_head(ring, &head);

	if (ret < 0)
		return ret;
	while (ring->next != head) {
		struct entry_head entry;
		uint32_t position = ring->next;

		ret = read_head(ring, position, filled(ring, position, head), &entry);
		if (ret < 0)
			return ret;
		switch (entry.op) {
		case TCMU_ABI_PAD:
			ring->next = advance(ring, position, entry.length);
			continue;
		case TCMU_ABI_COMMAND:
			ret = copy_command(ring, request, entry_at(ring, position), position,
					   entry.length);
			break;
		case TCMU_ABI_TASK_MANAGEMENT:
			ret = copy_task_management(request, entry_at(ring, position), entry.length);
			break;
		default:
			return -EPROTO;
		}
		if (ret == 0 || ret == -EOPNOTSUPP)
			ring->next = advance(ring, position, entry.length);
		return ret == 0 ? 1 : ret;
	}
	return 0;
}

/* Pairs with the kernel's READ_ONCE() of cmd_tail: what we wrote to the entry is visible first. */
static void store_tail(struct tcmu_ring *ring, uint32_t tail)
{
	_Atomic uint32_t *shared =
		(_Atomic uint32_t *)(void *)(ring->map + offsetof(struct tcmu_abi_mailbox, tail));

	ring->tail = tail;
	atomic_store_explicit(shared, tail, memory_order_release);
}

static void write_completion(uint8_t *to, const struct tcmu_completion *completion)
{
	struct tcmu_abi_response entry = {0};
	size_t sense_length = completion->sense_length;

	if (sense_length > sizeof(entry.sense))
		sense_length = sizeof(entry.sense);
	memcpy(&entry.head, to, sizeof(entry.head));
	entry.head.id = completion->id;
	entry.head.user_flags = completion->read_bytes != 0 ? TCMU_ABI_FLAG_READ_LENGTH : 0;
	entry.status = completion->status;
	entry.read_bytes = completion->read_bytes;
	if (sense_length > 0)
		memcpy(entry.sense, completion->sense, sense_length);
	memcpy(to, &entry, sizeof(entry));
}

int tcmu_ring_complete(struct tcmu_ring *ring, const struct tcmu_completion *completion)
{
	uint32_t tail = ring->tail;

	/* Between tail and next there are only entries that were checked when they were taken. */
	while (tail != ring->next) {
		struct entry_head entry;
		int ret = read_head(ring, tail, filled(ring, tail, ring->next), &entry);

		if (ret < 0)
			return ret;
		if (entry.op == TCMU_ABI_COMMAND) {
			if (entry.length < sizeof(struct tcmu_abi_response))
				return -EPROTO;
			write_completion(entry_at(ring, tail), completion);
			store_tail(ring, advance(ring, tail, entry.length));
			return 0;
		}
		tail = advance(ring, tail, entry.length);
	}
	return -EPROTO;
}
