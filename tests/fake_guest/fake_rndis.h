/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * RNDIS as a guest's driver writes and reads it, with the checks of Linux 6.1's rndis_filter.c.
 * Written apart from netvsp/rndis_packet.c on purpose, from the guest's sources: the two ends check
 * each other.
 */
#ifndef LUNAR_TESTS_FAKE_GUEST_FAKE_RNDIS_H
#define LUNAR_TESTS_FAKE_GUEST_FAKE_RNDIS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A frame to send, with what the driver asks of the host. */
struct fake_tx {
	const uint8_t *frame;
	size_t length;
	bool has_csum;
	uint32_t csum; /* RNDIS_TXCSUM_* and the layer 4 offset, as on the wire */
	bool has_lso;
	uint32_t lso; /* as on the wire */
	bool has_vlan;
	uint16_t vlan_tci;
	bool has_hash;
	uint32_t hash;
};

#define FAKE_TX_MAX_HEADER 108

/* Header and per-packet info ahead of the frame, in Linux's order (hash, VLAN, LSO or checksum).
 * Returns its length. padding: bytes after the frame that the message counts. */
size_t fake_rndis_build_packet(uint8_t *header, const struct fake_tx *tx, uint32_t padding);

/* A received frame. */
struct fake_rx {
	uint32_t channel; /* filled by the driver */
	const uint8_t *frame;
	size_t length;
	bool has_csum;
	uint32_t csum;
	bool has_vlan;
	uint16_t vlan_tci;
	bool has_hash;
	uint32_t hash;
	bool has_rsc;
	uint8_t rsc;	    /* RNDIS_RSC_* */
	uint32_t fragments; /* it was coalesced from; 1: not coalesced */
};

/* Reads a data message. Returns NULL, or what Linux 6.1 would not accept (or would loop on for
 * ever). */
const char *fake_rndis_parse_packet(const uint8_t *message, size_t length, struct fake_rx *rx);

/* QUERY or SET (type). Returns the message's length; message has room for 28 + information_bytes.
 */
size_t fake_rndis_build_oid(uint8_t *message, uint32_t type, uint32_t request_id, uint32_t oid,
			    const void *information, size_t information_bytes);

#endif
