/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Frames for tests: built field by field and checked field by field, with a checksum routine of
 * their own, so that a mistake of DPDK's or ours is not made twice.
 */
#ifndef LUNAR_TESTS_UNIT_NETVSP_FRAMES_H
#define LUNAR_TESTS_UNIT_NETVSP_FRAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FRAME_MAX 66000

struct frame_spec {
	uint8_t destination[6];
	uint8_t source[6];
	bool ipv6;
	bool udp; /* else TCP */
	uint16_t source_port;
	uint16_t destination_port;
	uint32_t sequence;
	uint8_t tcp_flags;
	size_t payload_bytes; /* payload byte i is (uint8_t)(seed + i * 7) */
	uint8_t seed;
	bool checksums; /* filled in; else the L4 field holds junk, and for LSO the lengths are zero
			 */
	bool large;	/* as Linux hands LSO packets over: lengths and IPv4 checksum are zero */
};

/* Returns the frame's length. */
size_t frame_build(const struct frame_spec *spec, uint8_t *frame);
/* Byte i of the payload that frame_build() made. */
uint8_t frame_payload_byte(const struct frame_spec *spec, size_t i);

struct frame_seen {
	size_t payload_offset;
	size_t payload_bytes;
	uint32_t sequence;
	uint8_t tcp_flags;
	uint16_t ip_id;
	bool ip_checksum_good; /* IPv6: true */
	bool l4_checksum_good;
};
/* Takes an untagged frame apart. False: it is not TCP or UDP over IP, or lengths do not fit. */
bool frame_read(const uint8_t *frame, size_t length, struct frame_seen *seen);

#endif
