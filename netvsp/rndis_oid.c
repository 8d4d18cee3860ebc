/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The objects (OIDs) of the RNDIS device that are plain values, and the SETs. NDIS structures
 * (offloads, RSS capabilities) are built in rndis_offload.c. A SET changes nothing unless all of it
 * is good.
 */
#include <errno.h>

#include "base/bytes.h"
#include "netvsp/nvsp.h"
#include "netvsp/rndis_control_internal.h"
#include "netvsp/rndis_offload.h"

#define ETHERNET_BYTES	    14
#define VENDOR_ID	    0xffffffu /* none registered */
#define VENDOR_DESCRIPTION  "Lunar virtual network adapter"
#define NDIS_DRIVER_VERSION 0x061e
/* Copies lookahead data, transfers do not pend, no loopback, 802.1p priority, 802.1Q VLAN. */
#define MAC_OPTIONS 0x0000024du

/* In the order of the OID's number. All of these can be queried. */
static const uint32_t supported_oids[] = {
	OID_GEN_SUPPORTED_LIST,
	OID_GEN_HARDWARE_STATUS,
	OID_GEN_MEDIA_SUPPORTED,
	OID_GEN_MEDIA_IN_USE,
	OID_GEN_MAXIMUM_LOOKAHEAD,
	OID_GEN_MAXIMUM_FRAME_SIZE,
	OID_GEN_LINK_SPEED,
	OID_GEN_TRANSMIT_BUFFER_SPACE,
	OID_GEN_RECEIVE_BUFFER_SPACE,
	OID_GEN_TRANSMIT_BLOCK_SIZE,
	OID_GEN_RECEIVE_BLOCK_SIZE,
	OID_GEN_VENDOR_ID,
	OID_GEN_VENDOR_DESCRIPTION,
	OID_GEN_CURRENT_PACKET_FILTER,
	OID_GEN_CURRENT_LOOKAHEAD,
	OID_GEN_DRIVER_VERSION,
	OID_GEN_MAXIMUM_TOTAL_SIZE,
	OID_GEN_MAC_OPTIONS,
	OID_GEN_MEDIA_CONNECT_STATUS,
	OID_GEN_MAXIMUM_SEND_PACKETS,
	OID_GEN_VENDOR_DRIVER_VERSION,
	OID_GEN_PHYSICAL_MEDIUM,
	OID_GEN_RECEIVE_SCALE_CAPABILITIES,
	OID_GEN_RECEIVE_SCALE_PARAMETERS,
	OID_GEN_RNDIS_CONFIG_PARAMETER,
	OID_GEN_XMIT_OK,
	OID_GEN_RCV_OK,
	OID_GEN_XMIT_ERROR,
	OID_GEN_RCV_ERROR,
	OID_GEN_RCV_NO_BUFFER,
	OID_GEN_FRIENDLY_NAME,
	OID_802_3_PERMANENT_ADDRESS,
	OID_802_3_CURRENT_ADDRESS,
	OID_802_3_MULTICAST_LIST,
	OID_802_3_MAXIMUM_LIST_SIZE,
	OID_802_3_RCV_ERROR_ALIGNMENT,
	OID_802_3_XMIT_ONE_COLLISION,
	OID_802_3_XMIT_MORE_COLLISIONS,
	OID_TCP_OFFLOAD_CURRENT_CONFIG,
	OID_TCP_OFFLOAD_PARAMETERS,
	OID_TCP_OFFLOAD_HARDWARE_CAPABILITIES,
};
static_assert(sizeof(supported_oids) <= RNDIS_MAX_INFORMATION_BYTES, "the list fits a response");

/* ---- query ---- */

/* Objects whose value is one u32. Returns false where the OID is none of them. */
static bool query_u32(const struct rndis_control *control, uint32_t oid, uint32_t *value)
{
	switch (oid) {
	case OID_GEN_HARDWARE_STATUS: /* ready */
	case OID_GEN_MEDIA_SUPPORTED:
	case OID_GEN_MEDIA_IN_USE:
	case OID_GEN_PHYSICAL_MEDIUM:
	case OID_802_3_RCV_ERROR_ALIGNMENT:
	case OID_802_3_XMIT_ONE_COLLISION:
	case OID_802_3_XMIT_MORE_COLLISIONS:
		*value = 0;
		return true;
	case OID_GEN_MAXIMUM_LOOKAHEAD:
	case OID_GEN_CURRENT_LOOKAHEAD:
	case OID_GEN_MAXIMUM_FRAME_SIZE:
		*value = control->mtu;
		return true;
	case OID_GEN_MAXIMUM_TOTAL_SIZE:
	case OID_GEN_TRANSMIT_BLOCK_SIZE:
	case OID_GEN_RECEIVE_BLOCK_SIZE:
		*value = control->mtu + ETHERNET_BYTES;
		return true;
	case OID_GEN_TRANSMIT_BUFFER_SPACE:
	case OID_GEN_RECEIVE_BUFFER_SPACE:
		*value = (control->mtu + ETHERNET_BYTES) * 256;
		return true;
	case OID_GEN_LINK_SPEED:
		*value = control->link_speed_mbps * 10000;
		return true;
	case OID_GEN_VENDOR_ID:
		*value = VENDOR_ID;
		return true;
	case OID_GEN_VENDOR_DRIVER_VERSION:
		*value = 1;
		return true;
	case OID_GEN_CURRENT_PACKET_FILTER:
		*value = control->packet_filter;
		return true;
	case OID_GEN_MAC_OPTIONS:
		*value = MAC_OPTIONS;
		return true;
	case OID_GEN_MEDIA_CONNECT_STATUS:
		*value = control->link_up ? RNDIS_MEDIA_CONNECTED : RNDIS_MEDIA_DISCONNECTED;
		return true;
	case OID_GEN_MAXIMUM_SEND_PACKETS:
		*value = RNDIS_MAX_PACKETS_PER_MESSAGE;
		return true;
	case OID_802_3_MAXIMUM_LIST_SIZE:
		*value = RNDIS_MAX_MULTICAST;
		return true;
	default:
		return false;
	}
}

/* Statistics are 32 bits wide, or 64 where the guest has made room for that. */
static bool query_statistics(const struct rndis_control *control, uint32_t oid,
			     const struct rndis_information *request, uint8_t *value,
			     size_t *value_bytes)
{
	struct rndis_statistics statistics = {0};
	uint64_t count;

	if (oid < OID_GEN_XMIT_OK || oid > OID_GEN_RCV_NO_BUFFER)
		return false;
	control->ops->statistics(control->ctx, &statistics);
	switch (oid) {
	case OID_GEN_XMIT_OK:
		count = statistics.tx_packets;
		break;
	case OID_GEN_RCV_OK:
		count = statistics.rx_packets;
		break;
	case OID_GEN_XMIT_ERROR:
		count = statistics.tx_errors;
		break;
	case OID_GEN_RCV_ERROR:
		count = statistics.rx_errors;
		break;
	default:
		count = statistics.rx_no_buffer;
		break;
	}
	if (request->length >= sizeof(uint64_t)) {
		put_le64(value, count);
		*value_bytes = sizeof(uint64_t);
	} else {
		put_le32(value, (uint32_t)count);
		*value_bytes = sizeof(uint32_t);
	}
	return true;
}

static size_t query_supported(uint8_t *value)
{
	for (size_t i = 0; i < ARRAY_LENGTH(supported_oids); i++)
		put_le32(value + i * sizeof(uint32_t), supported_oids[i]);
	return sizeof(supported_oids);
}

/* UTF-16 with its terminator: Linux converts up to a NUL, and its buffer is not cleared. */
static size_t query_friendly_name(const struct rndis_control *control, uint8_t *value)
{
	size_t length = strlen(control->config.friendly_name);

	for (size_t i = 0; i <= length; i++)
		put_le16(value + 2 * i, (uint8_t)control->config.friendly_name[i]);
	return 2 * (length + 1);
}

uint32_t rndis_oid_query(const struct rndis_control *control, uint32_t oid,
			 const struct rndis_information *request, uint8_t *value,
			 size_t *value_bytes)
{
	uint32_t number;

	if (query_u32(control, oid, &number)) {
		put_le32(value, number);
		*value_bytes = sizeof(number);
		return RNDIS_STATUS_SUCCESS;
	}
	if (query_statistics(control, oid, request, value, value_bytes))
		return RNDIS_STATUS_SUCCESS;
	switch (oid) {
	case OID_GEN_SUPPORTED_LIST:
		*value_bytes = query_supported(value);
		return RNDIS_STATUS_SUCCESS;
	case OID_GEN_VENDOR_DESCRIPTION:
		memcpy(value, VENDOR_DESCRIPTION, sizeof(VENDOR_DESCRIPTION));
		*value_bytes = sizeof(VENDOR_DESCRIPTION);
		return RNDIS_STATUS_SUCCESS;
	case OID_GEN_DRIVER_VERSION:
		put_le16(value, NDIS_DRIVER_VERSION);
		*value_bytes = sizeof(uint16_t);
		return RNDIS_STATUS_SUCCESS;
	case OID_GEN_FRIENDLY_NAME:
		if (!control->config.friendly_name[0])
			return RNDIS_STATUS_NOT_SUPPORTED;
		*value_bytes = query_friendly_name(control, value);
		return RNDIS_STATUS_SUCCESS;
	case OID_802_3_PERMANENT_ADDRESS:
		memcpy(value, control->config.mac, sizeof(control->config.mac));
		*value_bytes = sizeof(control->config.mac);
		return RNDIS_STATUS_SUCCESS;
	case OID_802_3_CURRENT_ADDRESS:
		memcpy(value, control->address, sizeof(control->address));
		*value_bytes = sizeof(control->address);
		return RNDIS_STATUS_SUCCESS;
	case OID_802_3_MULTICAST_LIST:
		memcpy(value, control->multicast, control->multicast_count * 6);
		*value_bytes = control->multicast_count * 6;
		return RNDIS_STATUS_SUCCESS;
	case OID_TCP_OFFLOAD_HARDWARE_CAPABILITIES:
	case OID_TCP_OFFLOAD_CURRENT_CONFIG:
		return rndis_offload_query(control, oid, request, value, value_bytes);
	case OID_GEN_RECEIVE_SCALE_CAPABILITIES:
		return rndis_rss_capabilities(control, request, value, value_bytes);
	default:
		return RNDIS_STATUS_NOT_SUPPORTED;
	}
}

/* ---- set ---- */

static uint32_t set_packet_filter(struct rndis_control *control,
				  const struct rndis_information *request)
{
	if (request->length < sizeof(uint32_t))
		return RNDIS_STATUS_INVALID_LENGTH;
	control->packet_filter = get_le32(request->bytes);
	control->state = control->packet_filter ? RNDIS_STATE_OPERATIONAL : RNDIS_STATE_INITIALISED;
	return RNDIS_STATUS_SUCCESS;
}

static uint32_t set_multicast(struct rndis_control *control,
			      const struct rndis_information *request)
{
	if (request->length % 6)
		return RNDIS_STATUS_INVALID_LENGTH;
	if (request->length > sizeof(control->multicast))
		return RNDIS_STATUS_MULTICAST_FULL;
	if (request->length)
		memcpy(control->multicast, request->bytes, request->length);
	control->multicast_count = request->length / 6;
	return RNDIS_STATUS_SUCCESS;
}

static int hex_digit(uint16_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* Twelve hexadecimal digits in UTF-16. Returns 0 or -EINVAL. */
static int address_parse(const uint8_t *utf16, uint8_t mac[6])
{
	static const uint8_t zero[6];

	for (size_t i = 0; i < 6; i++) {
		int high = hex_digit(get_le16(utf16 + 4 * i));
		int low = hex_digit(get_le16(utf16 + 4 * i + 2));

		if (high < 0 || low < 0)
			return -EINVAL;
		mac[i] = (uint8_t)(high << 4 | low);
	}
	return (mac[0] & 1) || memcmp(mac, zero, sizeof(zero)) == 0 ? -EINVAL : 0;
}

/* Of the configuration parameters only the address is known: what Linux's `ip link set address`
 * sends. */
static uint32_t set_config_parameter(struct rndis_control *control,
				     const struct rndis_information *request)
{
	static const char name[] = "NetworkAddress";
	const uint32_t name_bytes = 2 * (sizeof(name) - 1), value_bytes = 2 * 12;
	struct rndis_config_parameter wire;
	const uint8_t *utf16;
	uint8_t mac[6];

	if (request->length < sizeof(wire))
		return RNDIS_STATUS_INVALID_LENGTH;
	memcpy(&wire, request->bytes, sizeof(wire));
	if (!range_fits(le32toh(wire.name_offset), le32toh(wire.name_bytes), request->length) ||
	    !range_fits(le32toh(wire.value_offset), le32toh(wire.value_bytes), request->length))
		return RNDIS_STATUS_INVALID_LENGTH;
	if (le32toh(wire.name_bytes) != name_bytes)
		return RNDIS_STATUS_NOT_SUPPORTED;
	utf16 = request->bytes + le32toh(wire.name_offset);
	for (size_t i = 0; i < sizeof(name) - 1; i++)
		if (get_le16(utf16 + 2 * i) != (uint8_t)name[i])
			return RNDIS_STATUS_NOT_SUPPORTED;
	if (le32toh(wire.type) != RNDIS_CONFIG_STRING || le32toh(wire.value_bytes) < value_bytes ||
	    address_parse(request->bytes + le32toh(wire.value_offset), mac))
		return RNDIS_STATUS_INVALID_DATA;
	if (!control->ops->set_address || control->ops->set_address(control->ctx, mac))
		return RNDIS_STATUS_NOT_ACCEPTED;
	memcpy(control->address, mac, sizeof(mac));
	return RNDIS_STATUS_SUCCESS;
}

uint32_t rndis_oid_set(struct rndis_control *control, uint32_t oid,
		       const struct rndis_information *request)
{
	switch (oid) {
	case OID_GEN_CURRENT_PACKET_FILTER:
		return set_packet_filter(control, request);
	case OID_GEN_CURRENT_LOOKAHEAD: /* every frame is handed over whole */
	case OID_GEN_PROTOCOL_OPTIONS:
		return request->length < sizeof(uint32_t) ? RNDIS_STATUS_INVALID_LENGTH
							  : RNDIS_STATUS_SUCCESS;
	case OID_802_3_MULTICAST_LIST:
		return set_multicast(control, request);
	case OID_GEN_RNDIS_CONFIG_PARAMETER:
		return set_config_parameter(control, request);
	case OID_GEN_RECEIVE_SCALE_PARAMETERS:
		return rss_params_apply(&control->rss, request->bytes, request->length,
					control->channels)
			       ? RNDIS_STATUS_INVALID_DATA
			       : RNDIS_STATUS_SUCCESS;
	case OID_TCP_OFFLOAD_PARAMETERS:
		return rndis_offload_set(control, request);
	default:
		return RNDIS_STATUS_NOT_SUPPORTED;
	}
}
