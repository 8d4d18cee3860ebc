/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reads and builds RNDIS data messages. Guest memory can change while it is read: a message's
 * header and its per-packet info are copied to the stack once, and everything is decided on that
 * copy.
 */
#include "netvsp/rndis_packet.h"

#include <errno.h>

#include "base/bytes.h"

#define MAX_TOTAL_BYTES	 (1u << 20)
#define HEADER_BYTES	 ((uint32_t)sizeof(struct rndis_header))
#define INFO_VALUE_BYTES 4u

/* ---- runs ---- */

static uint64_t runs_total(const struct rndis_run *runs, size_t run_count)
{
	uint64_t total = 0;

	for (size_t i = 0; i < run_count; i++)
		total += runs[i].length;
	return total;
}

ssize_t rndis_runs_slice(const struct rndis_run *runs, size_t run_count, uint32_t offset,
			 uint32_t length, struct rndis_run *slices, size_t max)
{
	size_t used = 0;

	for (size_t i = 0; i < run_count && length > 0; i++) {
		uint32_t here;

		if (offset >= runs[i].length) {
			offset -= runs[i].length;
			continue;
		}
		here = runs[i].length - offset;
		if (here > length)
			here = length;
		if (used == max)
			return -E2BIG;
		slices[used++] = (struct rndis_run){runs[i].bytes + offset, here};
		length -= here;
		offset = 0;
	}
	return length > 0 ? -EINVAL : (ssize_t)used;
}

int rndis_runs_copy(const struct rndis_run *runs, size_t run_count, uint32_t offset, void *to,
		    uint32_t length)
{
	uint8_t *at = to;

	if (!range_fits(offset, length, runs_total(runs, run_count)))
		return -EINVAL;
	for (size_t i = 0; i < run_count && length > 0; i++) {
		uint32_t here;

		if (offset >= runs[i].length) {
			offset -= runs[i].length;
			continue;
		}
		here = runs[i].length - offset;
		if (here > length)
			here = length;
		memcpy(at, runs[i].bytes + offset, here);
		at += here;
		length -= here;
		offset = 0;
	}
	return 0;
}

/* ---- guest to host ---- */

int rndis_tx_begin(struct rndis_tx_walk *walk, const struct rndis_run *runs, size_t run_count)
{
	uint64_t total = runs_total(runs, run_count);

	if (total == 0 || total > MAX_TOTAL_BYTES)
		return -EBADMSG;
	*walk = (struct rndis_tx_walk){
		.runs = runs,
		.run_count = run_count,
		.total_bytes = (uint32_t)total,
	};
	return 0;
}

static void info_checksum(struct rndis_tx_packet *packet, uint32_t value)
{
	if (value & RNDIS_TXCSUM_IPV4)
		packet->flags |= RNDIS_TX_IPV4;
	else if (value & RNDIS_TXCSUM_IPV6)
		packet->flags |= RNDIS_TX_IPV6;
	else
		return; /* of no known protocol: nothing to fill in */
	if (value & RNDIS_TXCSUM_TCP)
		packet->flags |= RNDIS_TX_CSUM_TCP;
	else if (value & RNDIS_TXCSUM_UDP)
		packet->flags |= RNDIS_TX_CSUM_UDP;
	if ((value & RNDIS_TXCSUM_IP_HEADER) && (value & RNDIS_TXCSUM_IPV4))
		packet->flags |= RNDIS_TX_CSUM_IP;
	packet->l4_offset = (value >> RNDIS_TXCSUM_L4_SHIFT) & RNDIS_TXCSUM_L4_MASK;
}

static int info_lso(struct rndis_tx_packet *packet, uint32_t value)
{
	uint32_t mss = value & RNDIS_LSO_MSS_MASK;

	/* Version 1 was never offered. */
	if (!(value & RNDIS_LSO_V2) || mss == 0 || mss > UINT16_MAX)
		return -EBADMSG;
	packet->flags |= RNDIS_TX_LSO;
	packet->flags |= (value & RNDIS_LSO_IPV6) ? RNDIS_TX_IPV6 : RNDIS_TX_IPV4;
	packet->mss = (uint16_t)mss;
	packet->l4_offset = (value >> RNDIS_LSO_L4_SHIFT) & RNDIS_LSO_L4_MASK;
	return 0;
}

static int info_apply(struct rndis_tx_packet *packet, uint32_t type, uint32_t value)
{
	switch (type) {
	case RNDIS_INFO_CHECKSUM:
		info_checksum(packet, value);
		return 0;
	case RNDIS_INFO_LSO:
		return info_lso(packet, value);
	case RNDIS_INFO_8021Q:
		packet->flags |= RNDIS_TX_VLAN;
		packet->vlan_tci = (uint16_t)((value & 7) << 13 |
					      ((value >> RNDIS_8021Q_CFI_SHIFT) & 1) << 12 |
					      ((value >> RNDIS_8021Q_VID_SHIFT) & 0xfff));
		return 0;
	case RNDIS_INFO_HASH_VALUE:
		packet->flags |= RNDIS_TX_HASH;
		packet->hash = value;
		return 0;
	default:
		return 0;
	}
}

/* Walks a private copy of the per-packet info. */
static int info_parse(struct rndis_tx_packet *packet, const uint8_t *info, uint32_t length)
{
	while (length > 0) {
		uint32_t size, type, offset;
		int rc;

		if (length < sizeof(struct rndis_packet_info))
			return -EBADMSG;
		size = get_le32(info + offsetof(struct rndis_packet_info, size));
		type = get_le32(info + offsetof(struct rndis_packet_info, type));
		offset = get_le32(info + offsetof(struct rndis_packet_info, offset));
		if (size < sizeof(struct rndis_packet_info) || size > length ||
		    offset < sizeof(struct rndis_packet_info) || offset > size)
			return -EBADMSG;
		/* What we know has a value of 4 bytes; shorter ones of other types are passed over.
		 */
		if (size - offset >= INFO_VALUE_BYTES) {
			rc = info_apply(packet, type, get_le32(info + offset));
			if (rc)
				return rc;
		}
		info += size;
		length -= size;
	}
	/* LSO says all that there is to say; a checksum block beside it does not matter, but two IP
	 * versions do. */
	if ((packet->flags & RNDIS_TX_IPV4) && (packet->flags & RNDIS_TX_IPV6))
		return -EBADMSG;
	return 0;
}

static int packet_parse(struct rndis_tx_walk *walk, const struct rndis_packet *header,
			uint32_t body_bytes, struct rndis_tx_packet *packet)
{
	uint8_t info[RNDIS_TX_MAX_INFO_BYTES];
	uint32_t data_offset = le32toh(header->data_offset);
	uint32_t data_bytes = le32toh(header->data_bytes);
	uint32_t info_offset = le32toh(header->info_offset);
	uint32_t info_bytes = le32toh(header->info_bytes);
	int rc;

	if (data_offset < RNDIS_PACKET_MIN_OFFSET ||
	    !range_fits(data_offset, data_bytes, body_bytes) ||
	    data_bytes < RNDIS_TX_MIN_FRAME_BYTES || data_bytes > RNDIS_TX_MAX_FRAME_BYTES)
		return -EBADMSG;
	packet->payload_offset = walk->offset + HEADER_BYTES + data_offset;
	packet->payload_bytes = data_bytes;
	if (info_bytes > 0) {
		if (info_bytes > sizeof(info) || info_offset < RNDIS_PACKET_MIN_OFFSET ||
		    !range_fits(info_offset, info_bytes, body_bytes))
			return -EBADMSG;
		rc = rndis_runs_copy(walk->runs, walk->run_count,
				     walk->offset + HEADER_BYTES + info_offset, info, info_bytes);
		if (rc)
			return -EBADMSG;
		rc = info_parse(packet, info, info_bytes);
		if (rc)
			return rc;
	}
	if (packet->l4_offset && packet->l4_offset >= data_bytes)
		return -EBADMSG;
	return 0;
}

int rndis_tx_next(struct rndis_tx_walk *walk, struct rndis_tx_packet *packet)
{
	uint32_t left = walk->total_bytes - walk->offset, length;
	struct rndis_tx_packet found = {0};
	struct rndis_packet header = {0};
	int rc;

	/* Fewer bytes than a header has are padding. */
	if (left < HEADER_BYTES)
		return 0;
	rc = rndis_runs_copy(walk->runs, walk->run_count, walk->offset, &header, sizeof(header));
	if (rc)
		goto bad;
	length = le32toh(header.header.length);
	if (le32toh(header.header.type) != RNDIS_PACKET || length < sizeof(header) || length > left)
		goto bad;
	rc = packet_parse(walk, &header, length - HEADER_BYTES, &found);
	if (rc)
		goto bad;
	walk->offset += length;
	*packet = found;
	return 1;
bad:
	walk->offset = walk->total_bytes;
	return -EBADMSG;
}

/* ---- host to guest ---- */

static uint8_t *info_put(uint8_t *at, uint32_t type, uint32_t value)
{
	put_le32(at, sizeof(struct rndis_packet_info) + INFO_VALUE_BYTES);
	put_le32(at + 4, type);
	put_le32(at + 8, sizeof(struct rndis_packet_info));
	put_le32(at + 12, value);
	return at + 16;
}

uint32_t rndis_rx_build_header(uint8_t *header, uint32_t frame_bytes,
			       const struct rndis_rx_info *info)
{
	uint32_t header_bytes = rndis_rx_header_bytes(info);
	uint32_t info_bytes = header_bytes - (uint32_t)sizeof(struct rndis_packet);
	const struct rndis_packet packet = {
		.header.type = htole32(RNDIS_PACKET),
		.header.length = htole32(header_bytes + frame_bytes),
		.data_offset = htole32(header_bytes - HEADER_BYTES),
		.data_bytes = htole32(frame_bytes),
		.info_offset = info_bytes ? htole32(RNDIS_PACKET_MIN_OFFSET) : 0,
		.info_bytes = htole32(info_bytes),
	};
	uint8_t *at = header + sizeof(packet);

	memcpy(header, &packet, sizeof(packet));
	if (info->flags & RNDIS_RX_CHECKSUM)
		at = info_put(at, RNDIS_INFO_CHECKSUM, info->csum);
	if (info->flags & RNDIS_RX_VLAN)
		at = info_put(at, RNDIS_INFO_8021Q,
			      (uint32_t)(info->vlan_tci >> 13) |
				      ((uint32_t)(info->vlan_tci >> 12) & 1)
					      << RNDIS_8021Q_CFI_SHIFT |
				      ((uint32_t)info->vlan_tci & 0xfff) << RNDIS_8021Q_VID_SHIFT);
	if (info->flags & RNDIS_RX_HASH) {
		at = info_put(at, RNDIS_INFO_HASH_VALUE, info->hash);
		if (info->hash_type)
			at = info_put(at, RNDIS_INFO_HASH_TYPE, info->hash_type);
	}
	if (info->flags & RNDIS_RX_RSC)
		info_put(at, RNDIS_INFO_INTERNAL | RNDIS_INFO_INTERNAL_ID,
			 RNDIS_RSC_VERSION | (uint32_t)(RNDIS_RSC_FRAGMENT | info->rsc) << 8);
	return header_bytes;
}
