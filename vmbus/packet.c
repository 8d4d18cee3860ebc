/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reads packets out of a ring, with every field of their headers checked on a private copy, and
 * writes them.
 */
#include "vmbus/packet.h"

#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "vmbus/guest_memory.h"
#include "vmbus/ring.h"
#include "wire/vmbus.h"

#define DESCRIPTOR_BYTES   sizeof(struct vmbus_packet_descriptor)
#define EXTRA_HEADER_BYTES 8u /* of transfer-page and GPA-direct packets, before their ranges */
#define RANGE_HEADER_BYTES 8u
#define TRAILER_BYTES	   VMBUS_PACKET_TRAILER_BYTES

static_assert(sizeof(struct vmbus_transfer_page_header) == EXTRA_HEADER_BYTES, "extra header");
static_assert(sizeof(struct vmbus_gpa_direct_header) == EXTRA_HEADER_BYTES, "extra header");
static_assert(sizeof(struct transfer_range) == 8, "transfer ranges are copied as they are");

static int ring_break(struct ring *ring)
{
	ring->broken = true;
	return -EPROTO;
}

/* Bytes readable, with the peer's index loaded only where the last look has been used up. */
static int64_t packet_readable(struct ring *ring)
{
	uint32_t known = ring_readable_known(ring);

	return known > 0 ? (int64_t)known : ring_readable_bytes(ring);
}

/* Fills in what lies between descriptor and payload. scratch holds the whole packet; offset is that
 * of the payload. */
static int packet_parse_header(const uint8_t *scratch, size_t offset, struct packet *packet)
{
	const uint8_t *extra = scratch + DESCRIPTOR_BYTES;

	switch (packet->type) {
	case PACKET_INBAND:
	case PACKET_COMPLETION:
		return 0;
	case PACKET_TRANSFER_PAGES:
	case PACKET_GPA_DIRECT:
		break;
	default:
		return -EPROTO;
	}
	if (offset < DESCRIPTOR_BYTES + EXTRA_HEADER_BYTES)
		return -EPROTO;
	packet->range_count = get_le32(extra + 4);
	packet->ranges = extra + EXTRA_HEADER_BYTES;
	packet->ranges_bytes = offset - DESCRIPTOR_BYTES - EXTRA_HEADER_BYTES;
	if (packet->range_count > packet->ranges_bytes / RANGE_HEADER_BYTES)
		return -EPROTO;
	if (packet->type == PACKET_TRANSFER_PAGES) {
		packet->transfer_set_id = get_le16(extra);
		if (packet->range_count > PACKET_MAX_RANGES)
			return -EPROTO;
	}
	return 0;
}

int packet_read(struct ring *ring, uint8_t *scratch, size_t scratch_bytes, struct packet *packet)
{
	int64_t readable = packet_readable(ring);
	struct vmbus_packet_descriptor descriptor;
	struct packet made = {0};
	uint32_t offset;
	uint32_t length;

	if (readable <= 0)
		return (int)readable;
	if (readable < (int64_t)(DESCRIPTOR_BYTES + TRAILER_BYTES))
		return ring_break(ring);
	ring_peek(ring, 0, &descriptor, DESCRIPTOR_BYTES);
	offset = (uint32_t)descriptor.offset8 * 8;
	length = (uint32_t)descriptor.length8 * 8;
	if (offset < DESCRIPTOR_BYTES || length < offset || length > scratch_bytes ||
	    length > readable - (int64_t)TRAILER_BYTES)
		return ring_break(ring);
	/* The rest is copied behind the descriptor that has been checked: the guest may have
	 * changed the one in the ring since. */
	memcpy(scratch, &descriptor, DESCRIPTOR_BYTES);
	ring_peek(ring, DESCRIPTOR_BYTES, scratch + DESCRIPTOR_BYTES,
		  length - (uint32_t)DESCRIPTOR_BYTES);

	made.type = descriptor.type;
	made.flags = descriptor.flags;
	made.transaction_id = descriptor.transaction_id;
	made.payload = scratch + offset;
	made.payload_bytes = length - offset;
	if (packet_parse_header(scratch, offset, &made) < 0)
		return ring_break(ring);
	ring_skip(ring, length + TRAILER_BYTES);
	*packet = made;
	return 1;
}

/* Splits one range, its page numbers at gpns, into pieces from *count on. */
static int range_pieces(uint32_t bytes, uint32_t offset, const uint8_t *gpns,
			struct gpa_piece *pieces, size_t max, size_t *count)
{
	while (bytes > 0) {
		uint64_t gpn = get_le64(gpns);
		uint32_t run = (uint32_t)GUEST_PAGE_SIZE - offset;

		if (gpn >= GUEST_MEMORY_MAX_BYTES >> GUEST_PAGE_SHIFT)
			return -EINVAL;
		if (*count == max)
			return -E2BIG;
		if (run > bytes)
			run = bytes;
		pieces[(*count)++] = (struct gpa_piece){
			.gpa = (gpn << GUEST_PAGE_SHIFT) + offset,
			.length = run,
		};
		gpns += sizeof(uint64_t);
		bytes -= run;
		offset = 0;
	}
	return 0;
}

ssize_t packet_gpa_pieces(const struct packet *packet, struct gpa_piece *pieces, size_t max)
{
	const uint8_t *at = packet->ranges;
	size_t left = packet->ranges_bytes;
	size_t count = 0;

	for (uint32_t i = 0; i < packet->range_count; i++) {
		uint32_t bytes;
		uint32_t offset;
		uint64_t pages;
		int rc;

		if (left < RANGE_HEADER_BYTES)
			return -EINVAL;
		bytes = get_le32(at);
		offset = get_le32(at + 4);
		at += RANGE_HEADER_BYTES;
		left -= RANGE_HEADER_BYTES;
		if (bytes == 0 || offset >= GUEST_PAGE_SIZE)
			return -EINVAL;
		pages = align_up((uint64_t)offset + bytes, GUEST_PAGE_SIZE) >> GUEST_PAGE_SHIFT;
		if (pages > left / sizeof(uint64_t))
			return -EINVAL;
		rc = range_pieces(bytes, offset, at, pieces, max, &count);
		if (rc < 0)
			return rc;
		at += pages * sizeof(uint64_t);
		left -= pages * sizeof(uint64_t);
	}
	return (ssize_t)count;
}

size_t packet_ring_bytes(size_t header_bytes, size_t payload_bytes)
{
	return align_up(header_bytes + payload_bytes, 8) + TRAILER_BYTES;
}

/* What a packet is made of: descriptor, then extra header and ranges (if any), then payload. */
struct packet_parts {
	uint16_t type;
	uint16_t flags;
	uint64_t transaction_id;
	const void *extra; /* EXTRA_HEADER_BYTES, or NULL */
	const void *ranges;
	size_t ranges_bytes; /* a multiple of 8 */
	const void *payload;
	size_t payload_bytes;
};

/* Room for a packet of total ring bytes; the peer's index is loaded only where the last look is not
 * enough. */
static int packet_room(struct ring *ring, uint64_t total)
{
	int64_t writable;

	if (total <= ring_writable_known(ring))
		return 0;
	if (total > ring->data_bytes - RING_RESERVED_BYTES)
		return -EMSGSIZE;
	writable = ring_writable_bytes(ring);
	if (writable < 0)
		return (int)writable;
	return total <= (uint64_t)writable ? 0 : -EAGAIN;
}

static int packet_write(struct ring *ring, const struct packet_parts *parts)
{
	uint8_t header[DESCRIPTOR_BYTES + EXTRA_HEADER_BYTES];
	uint8_t tail[7 + TRAILER_BYTES] = {0};
	struct vmbus_packet_descriptor *descriptor = (struct vmbus_packet_descriptor *)header;
	size_t header_bytes = DESCRIPTOR_BYTES + (parts->extra ? EXTRA_HEADER_BYTES : 0);
	size_t offset = header_bytes + parts->ranges_bytes;
	size_t padding = (8 - parts->payload_bytes % 8) % 8;
	uint64_t total;
	int rc;

	if (parts->payload_bytes > PACKET_MAX_BYTES || offset > PACKET_MAX_BYTES ||
	    offset + parts->payload_bytes + padding > PACKET_MAX_BYTES)
		return -EMSGSIZE;
	total = packet_ring_bytes(offset, parts->payload_bytes);
	rc = packet_room(ring, total);
	if (rc < 0)
		return rc;

	descriptor->type = parts->type;
	descriptor->offset8 = (uint16_t)(offset / 8);
	descriptor->length8 = (uint16_t)((total - TRAILER_BYTES) / 8);
	descriptor->flags = parts->flags;
	descriptor->transaction_id = parts->transaction_id;
	if (parts->extra)
		memcpy(header + DESCRIPTOR_BYTES, parts->extra, EXTRA_HEADER_BYTES);
	put_le32(tail + padding + 4, ring->local_index);

	ring_poke(ring, 0, header, (uint32_t)header_bytes);
	ring_poke(ring, (uint32_t)header_bytes, parts->ranges, (uint32_t)parts->ranges_bytes);
	ring_poke(ring, (uint32_t)offset, parts->payload, (uint32_t)parts->payload_bytes);
	ring_poke(ring, (uint32_t)(offset + parts->payload_bytes), tail,
		  (uint32_t)(padding + TRAILER_BYTES));
	return ring_advance(ring, (uint32_t)total);
}

int packet_write_inband(struct ring *ring, uint64_t transaction_id, uint16_t flags,
			const void *payload, size_t length)
{
	struct packet_parts parts = {
		.type = PACKET_INBAND,
		.flags = flags,
		.transaction_id = transaction_id,
		.payload = payload,
		.payload_bytes = length,
	};

	return packet_write(ring, &parts);
}

int packet_write_completion(struct ring *ring, uint64_t transaction_id, const void *payload,
			    size_t length)
{
	struct packet_parts parts = {
		.type = PACKET_COMPLETION,
		.transaction_id = transaction_id,
		.payload = payload,
		.payload_bytes = length,
	};

	return packet_write(ring, &parts);
}

int packet_write_transfer_pages(struct ring *ring, uint64_t transaction_id, uint16_t set_id,
				const struct transfer_range *ranges, uint32_t range_count,
				const void *payload, size_t length)
{
	struct vmbus_transfer_page_header extra = {
		.set_id = set_id,
		.range_count = range_count,
	};
	struct packet_parts parts = {
		.type = PACKET_TRANSFER_PAGES,
		.flags = PACKET_FLAG_COMPLETION_REQUESTED,
		.transaction_id = transaction_id,
		.extra = &extra,
		.ranges = ranges,
		.ranges_bytes = range_count * sizeof(*ranges),
		.payload = payload,
		.payload_bytes = length,
	};

	if (range_count > PACKET_MAX_RANGES)
		return -EMSGSIZE;
	return packet_write(ring, &parts);
}

int packet_write_gpa_direct(struct ring *ring, uint64_t transaction_id, const void *ranges,
			    size_t ranges_bytes, uint32_t range_count, const void *payload,
			    size_t length)
{
	struct vmbus_gpa_direct_header extra = {.range_count = range_count};
	struct packet_parts parts = {
		.type = PACKET_GPA_DIRECT,
		.flags = PACKET_FLAG_COMPLETION_REQUESTED,
		.transaction_id = transaction_id,
		.extra = &extra,
		.ranges = ranges,
		.ranges_bytes = ranges_bytes,
		.payload = payload,
		.payload_bytes = length,
	};

	if (ranges_bytes % 8 != 0)
		return -EINVAL;
	return packet_write(ring, &parts);
}
