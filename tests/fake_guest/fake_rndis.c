/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * RNDIS at the guest's end. Source: observed, Linux 6.1 drivers/net/hyperv/netvsc_drv.c
 * (netvsc_xmit) and rndis_filter.c (rndis_filter_receive_data, rndis_get_ppi).
 */
#include "tests/fake_guest/fake_rndis.h"

#include "base/bytes.h"
#include "wire/rndis.h"

static uint8_t *put_info(uint8_t *at, uint32_t type, uint32_t value)
{
	put_le32(at, 16);
	put_le32(at + 4, type);
	put_le32(at + 8, 12);
	put_le32(at + 12, value);
	return at + 16;
}

size_t fake_rndis_build_packet(uint8_t *header, const struct fake_tx *tx, uint32_t padding)
{
	uint8_t *at = header + 44;
	uint32_t info_bytes;

	memset(header, 0, 44);
	if (tx->has_hash)
		at = put_info(at, RNDIS_INFO_HASH_VALUE, tx->hash);
	if (tx->has_vlan) {
		uint32_t priority = tx->vlan_tci >> 13, cfi = (tx->vlan_tci >> 12) & 1;

		at = put_info(at, RNDIS_INFO_8021Q,
			      priority | cfi << 3 | (tx->vlan_tci & 0xfffu) << 4);
	}
	if (tx->has_lso)
		at = put_info(at, RNDIS_INFO_LSO, tx->lso);
	if (tx->has_csum)
		at = put_info(at, RNDIS_INFO_CHECKSUM, tx->csum);
	info_bytes = (uint32_t)(at - header) - 44;
	put_le32(header, RNDIS_PACKET);
	put_le32(header + 4, 44 + info_bytes + (uint32_t)tx->length + padding);
	put_le32(header + 8, 36 + info_bytes);
	put_le32(header + 12, (uint32_t)tx->length);
	put_le32(header + 28, 36);
	put_le32(header + 32, info_bytes);
	return (size_t)(at - header);
}

static const char *parse_info(const uint8_t *info, uint32_t left, struct fake_rx *rx)
{
	while (left > 0) {
		uint32_t size, type, offset, value;

		/* Linux reads these without looking whether they are there. */
		if (left < 12)
			return "per-packet info: rest shorter than a header";
		size = get_le32(info);
		type = get_le32(info + 4);
		offset = get_le32(info + 8);
		if (size > left || size == 0)
			return "per-packet info: size (Linux 6.1 loops for ever)";
		if (offset >= size || offset < 12)
			return "per-packet info: offset (Linux 6.1 loops for ever)";
		if (size - offset < 4)
			return "per-packet info: value too short (Linux 6.1 loops for ever)";
		value = get_le32(info + offset);
		switch (type) {
		case RNDIS_INFO_CHECKSUM:
			rx->has_csum = true;
			rx->csum = value;
			break;
		case RNDIS_INFO_8021Q:
			rx->has_vlan = true;
			rx->vlan_tci = (uint16_t)((value & 7) << 13 | (value >> 3 & 1) << 12 |
						  (value >> 4 & 0xfff));
			break;
		case RNDIS_INFO_HASH_VALUE:
			rx->has_hash = true;
			rx->hash = value;
			break;
		case RNDIS_INFO_INTERNAL | RNDIS_INFO_INTERNAL_ID:
			rx->has_rsc = (value >> 8) & RNDIS_RSC_FRAGMENT;
			rx->rsc = (uint8_t)(value >> 8);
			break;
		default:
			break;
		}
		info += size;
		left -= size;
	}
	return NULL;
}

const char *fake_rndis_parse_packet(const uint8_t *message, size_t length, struct fake_rx *rx)
{
	uint32_t data_offset, data_bytes, info_offset, info_bytes, body;

	memset(rx, 0, sizeof(*rx));
	if (length < 44)
		return "data message shorter than its header";
	if (get_le32(message) != RNDIS_PACKET)
		return "not a data message";
	if (get_le32(message + 4) < 44 || get_le32(message + 4) > length)
		return "message length";
	body = (uint32_t)length - 8;
	data_offset = get_le32(message + 8);
	data_bytes = get_le32(message + 12);
	info_offset = get_le32(message + 28);
	info_bytes = get_le32(message + 32);
	if (data_offset < 36 || data_offset >= body || data_bytes > body - data_offset)
		return "data outside the message";
	if (data_offset % 4 || info_offset % 4)
		return "offset not aligned (DPDK's driver refuses it)";
	rx->frame = message + 8 + data_offset;
	rx->length = data_bytes;
	rx->fragments = 1;
	if (info_offset == 0)
		return info_bytes ? "per-packet info without an offset" : NULL;
	if (info_offset < 36 || info_offset > body || info_bytes < 12 ||
	    info_bytes > body - info_offset)
		return "per-packet info outside the message";
	if (info_offset < data_offset + data_bytes && data_offset < info_offset + info_bytes)
		return "per-packet info overlaps the frame (DPDK's driver refuses it)";
	return parse_info(message + 8 + info_offset, info_bytes, rx);
}

size_t fake_rndis_build_oid(uint8_t *message, uint32_t type, uint32_t request_id, uint32_t oid,
			    const void *information, size_t information_bytes)
{
	size_t length = sizeof(struct rndis_oid_request) + information_bytes;

	memset(message, 0, sizeof(struct rndis_oid_request));
	put_le32(message, type);
	put_le32(message + 4, (uint32_t)length);
	put_le32(message + 8, request_id);
	put_le32(message + 12, oid);
	put_le32(message + 16, (uint32_t)information_bytes);
	put_le32(message + 20, 20);
	if (information_bytes)
		memcpy(message + sizeof(struct rndis_oid_request), information, information_bytes);
	return length;
}
