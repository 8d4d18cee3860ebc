/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Packets in a ring: a 16-byte descriptor {type, offset8, len8, flags, transaction id}, then
 * type-specific fields, then the payload, then an 8-byte trailer. Descriptors are copied once and
 * checked; only the copy is used. Source: TLFS; observed in Linux 6.1 include/linux/hyperv.h
 * (struct vmpacket_descriptor).
 */
#ifndef LUNAR_VMBUS_PACKET_H
#define LUNAR_VMBUS_PACKET_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct ring;

enum packet_type {
	PACKET_INBAND = 6,
	PACKET_TRANSFER_PAGES = 7,
	PACKET_GPA_DIRECT = 9,
	PACKET_COMPLETION = 11,
};

#define PACKET_FLAG_COMPLETION_REQUESTED 1
#define PACKET_MAX_BYTES                                                                           \
	32768 /* of one packet that we accept: the rings of Linux's drivers use far less */
#define PACKET_MAX_RANGES 1024 /* of a transfer-page packet */
#define PACKET_MAX_GPNS	  64   /* of a GPA-direct packet, all ranges together */

/* One packet, as checked. Bytes live in the caller's scratch buffer. */
struct packet {
	uint16_t type;
	uint16_t flags;
	uint64_t transaction_id;
	const uint8_t *payload;
	size_t payload_bytes;
	const uint8_t *ranges; /* GPA-direct: range_count of {u32 bytes, u32 offset, u64 gpn[]};
				  transfer pages: {u32, u32} each */
	size_t ranges_bytes;
	uint32_t range_count;
	uint16_t transfer_set_id;
};

/*
 * Reads the next packet into scratch (at least PACKET_MAX_BYTES) and moves the private read
 * position past it. Returns 1 (a packet), 0 (none), -EPROTO (the ring is broken: bad index or
 * descriptor; stop the channel).
 */
int packet_read(struct ring *ring, uint8_t *scratch, size_t scratch_bytes, struct packet *packet);

/* One piece of a GPA-direct packet's buffer: bytes inside one guest page. */
struct gpa_piece {
	uint64_t gpa;
	uint32_t length;
};

/* Splits the ranges of a GPA-direct packet into at most max pieces, each inside one page. Returns
 * their number; -EINVAL: empty range, offset > 0xfff, too few page numbers; -E2BIG: more than max.
 */
ssize_t packet_gpa_pieces(const struct packet *packet, struct gpa_piece *pieces, size_t max);

/* Ring bytes that a packet needs: descriptor and extra header, payload padded to 8, trailer. */
size_t packet_ring_bytes(size_t header_bytes, size_t payload_bytes);

/*
 * Writes a packet; nothing is published until ring_publish_write(). Returns 0, -EAGAIN (no room
 * now), -EMSGSIZE (never fits: longer than PACKET_MAX_BYTES or the ring), -EPROTO.
 * packet_write_inband and _completion: payload after the 16-byte descriptor.
 * packet_write_transfer_pages: ranges of {u32 bytes, u32 offset} after {u16 set id, u8 sender_owns,
 * u8, u32 count}.
 */
int packet_write_inband(struct ring *ring, uint64_t transaction_id, uint16_t flags,
			const void *payload, size_t length);
int packet_write_completion(struct ring *ring, uint64_t transaction_id, const void *payload,
			    size_t length);

struct transfer_range {
	uint32_t byte_count;
	uint32_t byte_offset;
};

int packet_write_transfer_pages(struct ring *ring, uint64_t transaction_id, uint16_t set_id,
				const struct transfer_range *ranges, uint32_t range_count,
				const void *payload, size_t length);
/* For drivers (and tests): GPA-direct; ranges as in gpadl.h, -EINVAL where not a multiple of 8
 * bytes. */
int packet_write_gpa_direct(struct ring *ring, uint64_t transaction_id, const void *ranges,
			    size_t ranges_bytes, uint32_t range_count, const void *payload,
			    size_t length);

#endif
