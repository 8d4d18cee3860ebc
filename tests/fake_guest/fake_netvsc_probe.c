/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a driver says from its first message to its last. Linux's order: drivers/net/hyperv
 * (netvsc_connect_vsp, rndis_filter_device_add, rndis_set_subchannel); DPDK's: drivers/net/netvsc
 * (hn_nvs_attach, hn_dev_configure). They differ in message lengths, in what they ask, and in when
 * they ask it.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "tests/fake_guest/fake_netvsc_internal.h"
#include "vmbus/gpadl.h"
#include "vmbus/gpadl_view.h"
#include "vmbus/guest_memory.h"
#include "vmbus/packet.h"

#define LINUX_FILTER (RNDIS_FILTER_BROADCAST | RNDIS_FILTER_ALL_MULTICAST | RNDIS_FILTER_DIRECTED)

static const uint32_t versions[] = {
	NVSP_VERSION_61, NVSP_VERSION_6, NVSP_VERSION_5,
	NVSP_VERSION_4,	 NVSP_VERSION_2, NVSP_VERSION_1,
};

/* Linux sends the whole union each time, DPDK each structure alone. */
static size_t nvsp_length(const struct fake_netvsc *nv, size_t bytes)
{
	return nv->config.flavour == FAKE_LINUX ? NVSP_MESSAGE_BYTES_61 : bytes;
}

/* A request whose completion must be a message of this type, as long as the driver wants it. */
static int nvsp_exchange(struct fake_netvsc *nv, const uint8_t *message, size_t bytes,
			 uint32_t reply_type, size_t reply_min, uint8_t *reply)
{
	size_t length = 0;
	int rc = fake_netvsc_request(nv, message, nvsp_length(nv, bytes), reply, &length);

	if (rc)
		return rc;
	if (nv->config.flavour == FAKE_LINUX)
		reply_min = NVSP_MESSAGE_BYTES;
	if (length < reply_min || get_le32(reply) != reply_type)
		return fake_violate(nv, "reply of %zu bytes and type %u to NVSP message %u", length,
				    length < 4 ? 0 : get_le32(reply), get_le32(message));
	return 0;
}

/* ---- NVSP ---- */

static int ndis_config_send(struct fake_netvsc *nv, uint32_t version)
{
	uint8_t message[NVSP_MESSAGE_BYTES_61] = {0};
	uint64_t capabilities = NVSP_CAPABILITY_8021Q;

	if (version >= NVSP_VERSION_5)
		capabilities |= NVSP_CAPABILITY_SRIOV;
	if (nv->config.flavour == FAKE_LINUX && version >= NVSP_VERSION_5)
		capabilities |= NVSP_CAPABILITY_TEAMING;
	if (nv->config.flavour == FAKE_LINUX && version >= NVSP_VERSION_61)
		capabilities |= NVSP_CAPABILITY_RSC;
	put_le32(message, NVSP_NDIS_CONFIG);
	put_le32(message + 4, nv->config.mtu + 14);
	put_le64(message + 12, capabilities);
	return fake_nvsp_notify(nv, message, nvsp_length(nv, sizeof(struct nvsp_ndis_config)));
}

/* Returns 0, -EOPNOTSUPP (the host refuses this version), or another -errno. */
static int version_try(struct fake_netvsc *nv, uint32_t version)
{
	uint8_t message[NVSP_MESSAGE_BYTES_61] = {0}, reply[64];
	int rc;

	put_le32(message, NVSP_INIT);
	put_le32(message + 4, version);
	put_le32(message + 8, version);
	rc = nvsp_exchange(nv, message, sizeof(struct nvsp_init), NVSP_INIT_COMPLETE,
			   sizeof(struct nvsp_init_complete), reply);
	if (rc)
		return rc;
	if (get_le32(reply + offsetof(struct nvsp_init_complete, status)) != NVSP_STATUS_SUCCESS)
		return -EOPNOTSUPP;
	nv->info.version = version;
	return version == NVSP_VERSION_1 ? 0 : ndis_config_send(nv, version);
}

static int nvsp_negotiate(struct fake_netvsc *nv)
{
	uint8_t message[NVSP_MESSAGE_BYTES_61] = {0};
	int rc = -EOPNOTSUPP;

	if (nv->config.version)
		rc = version_try(nv, nv->config.version);
	for (size_t i = 0; !nv->config.version && rc == -EOPNOTSUPP && i < ARRAY_LENGTH(versions);
	     i++)
		rc = version_try(nv, versions[i]);
	if (rc)
		return rc;
	put_le32(message, NVSP_NDIS_VERSION);
	put_le32(message + 4, 6);
	put_le32(message + 8, nv->info.version <= NVSP_VERSION_4 ? 1 : 30);
	return fake_nvsp_notify(nv, message, nvsp_length(nv, sizeof(struct nvsp_ndis_version)));
}

static int recv_buffer_give(struct fake_netvsc *nv)
{
	uint8_t message[NVSP_MESSAGE_BYTES_61] = {0}, reply[64];
	int rc = fake_pages_create(nv->space, nv->config.recv_pages, &nv->recv);

	if (rc)
		return rc;
	rc = nv->ops->gpadl_add(nv->ctx, 0, nv->recv);
	if (rc)
		return rc;
	put_le32(message, NVSP_RECV_BUF);
	put_le32(message + 4, nv->recv->gpadl->id);
	put_le16(message + 8, NVSP_RECV_BUFFER_ID);
	rc = nvsp_exchange(nv, message, sizeof(struct nvsp_buffer_message), NVSP_RECV_BUF_COMPLETE,
			   sizeof(struct nvsp_recv_buf_complete), reply);
	if (rc)
		return rc;
	if (get_le32(reply + 4) != NVSP_STATUS_SUCCESS)
		return -EIO;
	nv->info.recv_section_bytes = get_le32(reply + 16);
	nv->info.recv_section_count = get_le32(reply + 20);
	if (get_le32(reply + 8) != 1 || get_le32(reply + 12) != 0 ||
	    nv->info.recv_section_bytes < 68 || nv->info.recv_section_count == 0 ||
	    (uint64_t)nv->info.recv_section_bytes * nv->info.recv_section_count >
		    nv->recv->view->size_bytes)
		return fake_violate(nv, "receive buffer: %u sections of %u",
				    nv->info.recv_section_count, nv->info.recv_section_bytes);
	nv->recv_given = true;
	fake_lent_forget(nv);
	return 0;
}

static int send_buffer_give(struct fake_netvsc *nv)
{
	uint8_t message[NVSP_MESSAGE_BYTES_61] = {0}, reply[64];
	int rc = fake_pages_create(nv->space, nv->config.send_pages, &nv->send);

	if (rc)
		return rc;
	rc = nv->ops->gpadl_add(nv->ctx, 0, nv->send);
	if (rc)
		return rc;
	put_le32(message, NVSP_SEND_BUF);
	put_le32(message + 4, nv->send->gpadl->id);
	put_le16(message + 8, NVSP_SEND_BUFFER_ID);
	rc = nvsp_exchange(nv, message, sizeof(struct nvsp_buffer_message), NVSP_SEND_BUF_COMPLETE,
			   sizeof(struct nvsp_send_buf_complete), reply);
	if (rc)
		return rc;
	if (get_le32(reply + 4) != NVSP_STATUS_SUCCESS)
		return -EIO;
	nv->info.send_section_bytes = get_le32(reply + 8);
	if (nv->info.send_section_bytes < 68 || nv->info.send_section_bytes % 4)
		return fake_violate(nv, "send section of %u bytes", nv->info.send_section_bytes);
	nv->info.send_section_count =
		(uint32_t)(nv->send->view->size_bytes / nv->info.send_section_bytes);
	nv->section_busy = calloc(nv->info.send_section_count + 1, 1);
	if (!nv->section_busy)
		return -ENOMEM;
	nv->send_given = true;
	return 0;
}

static int sub_channels_open(struct fake_netvsc *nv, uint32_t wanted)
{
	struct deadline deadline = deadline_in_ms((uint32_t)nv->config.timeout_ms);
	uint8_t message[NVSP_MESSAGE_BYTES_61] = {0}, reply[64];
	uint32_t granted;
	int rc;

	put_le32(message, NVSP_SUB_CHANNEL);
	put_le32(message + 4, NVSP_SUB_CHANNEL_ALLOCATE);
	put_le32(message + 8, wanted);
	rc = nvsp_exchange(nv, message, sizeof(struct nvsp_sub_channel), NVSP_SUB_CHANNEL,
			   sizeof(struct nvsp_sub_channel_complete), reply);
	if (rc)
		return rc;
	granted = get_le32(reply + 8);
	if (get_le32(reply + 4) != NVSP_STATUS_SUCCESS || granted > wanted)
		return fake_violate(nv, "sub-channels: status %u, %u of %u", get_le32(reply + 4),
				    granted, wanted);
	while (nv->ops->offered_sub_channels(nv->ctx) < granted) {
		rc = fake_step(nv, deadline);
		if (rc < 0)
			return rc;
	}
	nv->info.channels = 1 + granted;
	for (uint32_t i = 1; i <= granted; i++) {
		rc = fake_channel_open(nv, i);
		if (rc)
			return rc;
	}
	return 0;
}

/* ---- RNDIS ---- */

/* Sends an RNDIS control message in a page. request_id 0: no response is expected. */
static int rndis_send(struct fake_netvsc *nv, const void *message, size_t length,
		      uint32_t request_id)
{
	uint8_t payload[NVSP_MESSAGE_BYTES_61] = {0}, range[16];
	const struct nvsp_rndis head = {
		.header.type = htole32(NVSP_RNDIS),
		.channel_type = htole32(NVSP_RNDIS_CONTROL),
		.section_index = htole32(NVSP_NO_SECTION),
	};
	uint32_t slot = 0;

	if (length > GUEST_PAGE_SIZE)
		return -EMSGSIZE;
	while (nv->tx[slot].busy)
		if (++slot == FAKE_TX_SLOTS)
			return -EAGAIN;
	gpadl_view_write(nv->control->view, 0, message, length);
	put_le32(range, (uint32_t)length);
	put_le32(range + 4, 0);
	put_le64(range + 8, nv->control->gpadl->gpns[0]);
	memcpy(payload, &head, sizeof(head));
	nv->rndis_id = request_id;
	nv->response_here = false;
	nv->tx[slot].busy = true;
	nv->tx[slot].channel = 0;
	nv->tx[slot].section = FAKE_NO_SLOT;
	nv->tx[slot].page_slot = FAKE_NO_SLOT;
	nv->counts.tx_sent++;
	return fake_netvsc_send_raw(
		nv, 0, PACKET_GPA_DIRECT,
		UINT64_C(1) << 48 | (uint64_t)nv->tx[slot].generation << 16 | slot, range,
		sizeof(range), 1, payload, nvsp_length(nv, sizeof(head)));
}

int fake_rndis_request(struct fake_netvsc *nv, const uint8_t *message, size_t length,
		       uint32_t response_type)
{
	uint64_t sent = nv->counts.tx_completed + nv->counts.tx_refused;
	int rc = rndis_send(nv, message, length, response_type ? get_le32(message + 8) : 0);

	if (rc == 0 && response_type)
		rc = fake_wait_for(nv, &nv->response_here);
	/* The request's page is the driver's again only after the completion. */
	if (rc == 0 && nv->counts.tx_completed + nv->counts.tx_refused == sent)
		rc = fake_netvsc_drain(nv, nv->config.timeout_ms);
	nv->rndis_id = 0;
	if (rc)
		return rc;
	if (response_type && get_le32(nv->response) != (response_type | RNDIS_COMPLETION))
		return fake_violate(nv, "response %#x to request %u", get_le32(nv->response),
				    response_type);
	return 0;
}

int fake_netvsc_post_rndis(struct fake_netvsc *nv, const void *message, size_t length)
{
	return rndis_send(nv, message, length, get_le32((const uint8_t *)message + 8));
}

int fake_netvsc_await_rndis(struct fake_netvsc *nv)
{
	int rc = fake_wait_for(nv, &nv->response_here);

	nv->rndis_id = 0;
	return rc;
}

int fake_netvsc_query(struct fake_netvsc *nv, uint32_t oid, const void *information,
		      size_t information_bytes, void *value, size_t *length, uint32_t *status)
{
	uint8_t message[GUEST_PAGE_SIZE];
	size_t bytes = fake_rndis_build_oid(message, RNDIS_QUERY, ++nv->next_rndis_id, oid,
					    information, information_bytes);
	uint32_t size, offset;
	int rc = fake_rndis_request(nv, message, bytes, RNDIS_QUERY);

	if (rc)
		return rc;
	if (nv->response_bytes < sizeof(struct rndis_query_complete))
		return fake_violate(nv, "QUERY response of %zu bytes", nv->response_bytes);
	*status = get_le32(nv->response + 12);
	size = get_le32(nv->response + 16);
	offset = get_le32(nv->response + 20);
	if (*status != RNDIS_STATUS_SUCCESS) {
		*length = 0;
		return 0;
	}
	/* Linux refuses a value longer than it has room for. */
	if (size > *length || offset < 16 || !range_fits(offset, size, nv->response_bytes - 8))
		return fake_violate(nv, "OID %#x: value of %u bytes at %u", oid, size, offset);
	memcpy(value, nv->response + 8 + offset, size);
	*length = size;
	return 0;
}

int fake_netvsc_set(struct fake_netvsc *nv, uint32_t oid, const void *information,
		    size_t information_bytes, uint32_t *status)
{
	uint8_t message[GUEST_PAGE_SIZE];
	size_t bytes;
	int rc;

	if (information_bytes > sizeof(message) - sizeof(struct rndis_oid_request))
		return -EMSGSIZE;
	bytes = fake_rndis_build_oid(message, RNDIS_SET, ++nv->next_rndis_id, oid, information,
				     information_bytes);
	rc = fake_rndis_request(nv, message, bytes, RNDIS_SET);
	if (rc)
		return rc;
	if (nv->response_bytes < sizeof(struct rndis_complete))
		return fake_violate(nv, "SET response of %zu bytes", nv->response_bytes);
	*status = get_le32(nv->response + 12);
	return 0;
}

static int query_exact(struct fake_netvsc *nv, uint32_t oid, void *value, size_t length)
{
	size_t got = length;
	uint32_t status = RNDIS_STATUS_FAILURE;
	int rc = fake_netvsc_query(nv, oid, NULL, 0, value, &got, &status);

	if (rc)
		return rc;
	if (status != RNDIS_STATUS_SUCCESS || got != length)
		return fake_violate(nv, "OID %#x: status %#x, %zu bytes", oid, status, got);
	return 0;
}

static int query_u32(struct fake_netvsc *nv, uint32_t oid, uint32_t *value)
{
	uint8_t bytes[4];
	int rc = query_exact(nv, oid, bytes, sizeof(bytes));

	if (rc == 0)
		*value = get_le32(bytes);
	return rc;
}

static int set_or_fail(struct fake_netvsc *nv, uint32_t oid, const void *value, size_t length)
{
	uint32_t status = RNDIS_STATUS_FAILURE;
	int rc = fake_netvsc_set(nv, oid, value, length, &status);

	if (rc)
		return rc;
	return status == RNDIS_STATUS_SUCCESS
		       ? 0
		       : fake_violate(nv, "set %#x: status %#x", oid, status);
}

static int rndis_initialize(struct fake_netvsc *nv)
{
	uint8_t message[sizeof(struct rndis_initialize)];
	int rc;

	put_le32(message, RNDIS_INITIALIZE);
	put_le32(message + 4, sizeof(message));
	put_le32(message + 8, ++nv->next_rndis_id);
	put_le32(message + 12, RNDIS_MAJOR_VERSION);
	put_le32(message + 16, RNDIS_MINOR_VERSION);
	put_le32(message + 20, 0x4000);
	rc = fake_rndis_request(nv, message, sizeof(message), RNDIS_INITIALIZE);
	if (rc)
		return rc;
	if (nv->response_bytes < sizeof(struct rndis_initialize_complete) ||
	    get_le32(nv->response + 12) != RNDIS_STATUS_SUCCESS)
		return fake_violate(nv, "INITIALIZE: %zu bytes, status %#x", nv->response_bytes,
				    get_le32(nv->response + 12));
	nv->info.max_packets = get_le32(nv->response + 32);
	nv->info.alignment = 1u << (get_le32(nv->response + 40) & 31);
	return 0;
}

static int hwcaps_query(struct fake_netvsc *nv)
{
	uint8_t asked[sizeof(struct ndis_offload)] = {NDIS_OBJECT_OFFLOAD};
	size_t size = NDIS_OFFLOAD_BYTES_REVISION_3, length = sizeof(nv->info.hwcaps);
	uint32_t status = RNDIS_STATUS_FAILURE;
	int rc;

	asked[1] = 3;
	if (nv->info.version < NVSP_VERSION_5) {
		asked[1] = 2;
		size = NDIS_OFFLOAD_BYTES_REVISION_2;
	}
	if (nv->info.version < NVSP_VERSION_4) {
		asked[1] = 1;
		size = NDIS_OFFLOAD_BYTES_REVISION_1;
	}
	put_le16(asked + 2, (uint16_t)size);
	rc = fake_netvsc_query(nv, OID_TCP_OFFLOAD_HARDWARE_CAPABILITIES, asked, size,
			       &nv->info.hwcaps, &length, &status);
	if (rc)
		return rc;
	if (status != RNDIS_STATUS_SUCCESS || nv->info.hwcaps.header.type != NDIS_OBJECT_OFFLOAD ||
	    nv->info.hwcaps.header.revision < 1 || le16toh(nv->info.hwcaps.header.size) > length ||
	    le16toh(nv->info.hwcaps.header.size) < NDIS_OFFLOAD_BYTES_REVISION_1)
		return fake_violate(nv, "hardware capabilities: status %#x, type %#x, %zu bytes",
				    status, nv->info.hwcaps.header.type, length);
	return 0;
}

/* Turns on what the capabilities allow, by the rules of rndis_netdev_set_hwcaps(). */
static int offloads_set(struct fake_netvsc *nv)
{
	const struct ndis_offload *caps = &nv->info.hwcaps;
	const uint32_t tcp4 = NDIS_CSUM_TCP | NDIS_CSUM_TCP_OPTIONS;
	const uint32_t tcp6 = tcp4 | NDIS_CSUM_IP_OPTIONS;
	struct ndis_offload_parameters params = {
		.header = {NDIS_OBJECT_DEFAULT, 3, htole16(sizeof(params))},
		.ip4_checksum = NDIS_SET_OFF,
	};
	size_t length = sizeof(params);

	if ((le32toh(caps->checksum.ip4_tx) & tcp4) == tcp4) {
		params.tcp4_checksum = NDIS_SET_CSUM_TX_RX;
		if (le32toh(caps->lso_v2.ip4_encap) & NDIS_ENCAP_8023)
			params.lso_v2_ip4 = NDIS_SET_ON;
		if (le32toh(caps->checksum.ip4_tx) & NDIS_CSUM_UDP)
			params.udp4_checksum = NDIS_SET_CSUM_TX_RX;
	}
	if ((le32toh(caps->checksum.ip6_tx) & tcp6) == tcp6) {
		params.tcp6_checksum = NDIS_SET_CSUM_TX_RX;
		if ((le32toh(caps->lso_v2.ip6_encap) & NDIS_ENCAP_8023) &&
		    (le32toh(caps->lso_v2.ip6_options) & 5) == 5)
			params.lso_v2_ip6 = NDIS_SET_ON;
		if (le32toh(caps->checksum.ip6_tx) & NDIS_CSUM_UDP)
			params.udp6_checksum = NDIS_SET_CSUM_TX_RX;
	}
	if (caps->rsc_ip4 && caps->rsc_ip6 && nv->config.flavour == FAKE_LINUX) {
		params.rsc_ip4 = NDIS_SET_ON;
		params.rsc_ip6 = NDIS_SET_ON;
	}
	if (nv->info.version <= NVSP_VERSION_4) {
		params.udp4_checksum = 0;
		params.udp6_checksum = 0;
		length = NDIS_OFFLOAD_PARAMETERS_MIN_BYTES;
		params.header.size = htole16(NDIS_OFFLOAD_PARAMETERS_MIN_BYTES);
	}
	return set_or_fail(nv, OID_TCP_OFFLOAD_PARAMETERS, &params, length);
}

static int rss_capabilities_query(struct fake_netvsc *nv)
{
	uint8_t asked[NDIS_RSS_CAPABILITIES_BYTES] = {NDIS_OBJECT_RSS_CAPABILITIES, 2,
						      NDIS_RSS_CAPABILITIES_BYTES};
	uint8_t value[NDIS_RSS_CAPABILITIES_BYTES] = {0};
	size_t length = sizeof(value);
	uint32_t status = RNDIS_STATUS_FAILURE;
	int rc = fake_netvsc_query(nv, OID_GEN_RECEIVE_SCALE_CAPABILITIES, asked, sizeof(asked),
				   value, &length, &status);

	if (rc)
		return rc;
	if (status != RNDIS_STATUS_SUCCESS || length != sizeof(value) ||
	    value[0] != NDIS_OBJECT_RSS_CAPABILITIES || value[1] < 1 ||
	    get_le16(value + 2) != length)
		return fake_violate(nv, "RSS capabilities: status %#x, %zu bytes", status, length);
	nv->info.rss_queues = get_le32(value + 12);
	if (nv->info.rss_queues == 0 || get_le16(value + 16) != NDIS_RSS_TABLE_ENTRIES)
		return fake_violate(nv, "RSS capabilities: %u queues, %u entries",
				    nv->info.rss_queues, get_le16(value + 16));
	return 0;
}

static int rss_send(struct fake_netvsc *nv, uint16_t flags, const uint8_t key[40],
		    const uint16_t *table, size_t entries, uint32_t *status)
{
	uint8_t message[sizeof(struct ndis_rss_parameters) + (size_t)4 * 256 + NDIS_RSS_KEY_BYTES] =
		{0};
	struct ndis_rss_parameters params = {
		.header = {NDIS_OBJECT_RSS_PARAMETERS, 2, htole16(sizeof(params))},
		.flags = htole16(flags),
		.hash = htole32(NDIS_HASH_TOEPLITZ | NDIS_HASH_IPV4 | NDIS_HASH_TCP_IPV4 |
				NDIS_HASH_IPV6 | NDIS_HASH_TCP_IPV6),
		.table_bytes = htole16((uint16_t)(4 * entries)),
		.table_offset = htole32(sizeof(params)),
		.key_bytes = htole16(NDIS_RSS_KEY_BYTES),
		.key_offset = htole32((uint32_t)(sizeof(params) + 4 * entries)),
	};

	if (entries > 256)
		return -EMSGSIZE;
	memcpy(message, &params, sizeof(params));
	for (size_t i = 0; i < entries; i++)
		put_le32(message + sizeof(params) + 4 * i, table[i]);
	memcpy(message + sizeof(params) + 4 * entries, key, NDIS_RSS_KEY_BYTES);
	return fake_netvsc_set(nv, OID_GEN_RECEIVE_SCALE_PARAMETERS, message,
			       sizeof(params) + 4 * entries + NDIS_RSS_KEY_BYTES, status);
}

int fake_netvsc_set_rss(struct fake_netvsc *nv, const uint8_t key[40], const uint16_t *table,
			size_t entries, uint32_t *status)
{
	/* Linux switches RSS off before each change. */
	int rc = rss_send(nv, NDIS_RSS_DISABLE, key, table, entries, status);

	return rc ? rc : rss_send(nv, 0, key, table, entries, status);
}

static int rss_default(struct fake_netvsc *nv)
{
	/* The key that Microsoft's RSS verification suite uses. */
	static const uint8_t key[40] = {0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67,
					0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb,
					0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30,
					0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa};
	uint16_t table[NDIS_RSS_TABLE_ENTRIES];
	uint32_t status = RNDIS_STATUS_FAILURE;
	int rc;

	for (uint32_t i = 0; i < NDIS_RSS_TABLE_ENTRIES; i++)
		table[i] = (uint16_t)(i % nv->info.channels);
	rc = fake_netvsc_set_rss(nv, key, table, ARRAY_LENGTH(table), &status);
	if (rc)
		return rc;
	return status == RNDIS_STATUS_SUCCESS ? 0 : fake_violate(nv, "RSS: status %#x", status);
}

static int friendly_name_query(struct fake_netvsc *nv)
{
	uint8_t name[512];
	size_t length = sizeof(name);
	uint32_t status = RNDIS_STATUS_FAILURE;
	int rc = fake_netvsc_query(nv, OID_GEN_FRIENDLY_NAME, NULL, 0, name, &length, &status);

	for (size_t i = 0; rc == 0 && 2 * i + 1 < length && i + 1 < sizeof(nv->info.friendly_name);
	     i++)
		nv->info.friendly_name[i] = (char)get_le16(name + 2 * i);
	return rc; /* Linux does without */
}

static int link_query(struct fake_netvsc *nv)
{
	uint32_t state = 0;
	int rc = query_u32(nv, OID_GEN_MEDIA_CONNECT_STATUS, &state);

	nv->info.link_up = state == RNDIS_MEDIA_CONNECTED;
	if (rc == 0 && nv->info.version >= NVSP_VERSION_5)
		rc = query_u32(nv, OID_GEN_LINK_SPEED, &nv->info.link_speed);
	return rc;
}

static int multi_queue_start(struct fake_netvsc *nv)
{
	uint32_t wanted = nv->config.channels;
	int rc;

	if (nv->info.version < NVSP_VERSION_5)
		return 0;
	rc = rss_capabilities_query(nv);
	if (rc || nv->info.rss_queues < 2)
		return rc;
	if (wanted > nv->info.rss_queues)
		wanted = nv->info.rss_queues;
	if (wanted < 2)
		return 0;
	rc = sub_channels_open(nv, wanted - 1);
	return rc ? rc : rss_default(nv);
}

/* ---- start and stop ---- */

int fake_netvsc_open_primary(struct fake_netvsc *nv)
{
	int rc = fake_pages_create(nv->space, 1, &nv->control);

	return rc ? rc : fake_channel_open(nv, 0);
}

int fake_netvsc_start(struct fake_netvsc *nv)
{
	static int (*const linux_steps[])(struct fake_netvsc *) = {
		fake_netvsc_open_primary, nvsp_negotiate,   recv_buffer_give,
		send_buffer_give,	  rndis_initialize,
	};
	uint8_t filter[4];
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < ARRAY_LENGTH(linux_steps); i++)
		rc = linux_steps[i](nv);
	if (rc == 0)
		rc = query_u32(nv, OID_GEN_MAXIMUM_FRAME_SIZE, &nv->info.host_mtu);
	if (rc == 0)
		rc = query_exact(nv, OID_802_3_PERMANENT_ADDRESS, nv->info.mac, 6);
	if (rc == 0 && nv->config.flavour == FAKE_LINUX)
		rc = friendly_name_query(nv);
	if (rc == 0)
		rc = hwcaps_query(nv);
	if (rc == 0)
		rc = offloads_set(nv);
	if (rc == 0)
		rc = link_query(nv);
	if (rc == 0)
		rc = multi_queue_start(nv);
	put_le32(filter, LINUX_FILTER);
	if (rc == 0)
		rc = set_or_fail(nv, OID_GEN_CURRENT_PACKET_FILTER, filter, sizeof(filter));
	return rc;
}

static int revoke(struct fake_netvsc *nv, uint32_t type, uint16_t id)
{
	uint8_t message[NVSP_MESSAGE_BYTES_61] = {0};

	put_le32(message, type);
	put_le16(message + 4, id);
	return fake_nvsp_notify(nv, message, nvsp_length(nv, NVSP_REVOKE_MIN_BYTES + 2));
}

static int buffer_take_back(struct fake_netvsc *nv, struct fake_pages **pages)
{
	int rc = *pages ? nv->ops->gpadl_remove(nv->ctx, 0, (*pages)->gpadl->id) : 0;

	if (rc == 0) {
		fake_pages_destroy(*pages);
		*pages = NULL;
	}
	return rc;
}

int fake_netvsc_stop(struct fake_netvsc *nv)
{
	uint8_t halt[sizeof(struct rndis_request)], filter[4] = {0};
	int rc = set_or_fail(nv, OID_GEN_CURRENT_PACKET_FILTER, filter, sizeof(filter));

	put_le32(halt, RNDIS_HALT);
	put_le32(halt + 4, sizeof(halt));
	put_le32(halt + 8, ++nv->next_rndis_id);
	if (rc == 0)
		rc = fake_rndis_request(nv, halt, sizeof(halt), 0);
	if (rc == 0)
		rc = fake_netvsc_drain(nv, nv->config.timeout_ms);
	if (rc == 0 && nv->recv_given)
		rc = revoke(nv, NVSP_REVOKE_RECV_BUF, NVSP_RECV_BUFFER_ID);
	if (rc == 0 && nv->send_given)
		rc = revoke(nv, NVSP_REVOKE_SEND_BUF, NVSP_SEND_BUFFER_ID);
	for (uint32_t i = FAKE_MAX_CHANNELS; rc == 0 && i-- > 0;)
		rc = fake_channel_close(nv, i);
	if (rc == 0)
		rc = buffer_take_back(nv, &nv->recv);
	if (rc == 0)
		rc = buffer_take_back(nv, &nv->send);
	if (rc)
		return rc;
	fake_pages_destroy(nv->control);
	free(nv->section_busy);
	nv->control = NULL;
	nv->section_busy = NULL;
	nv->recv_given = false;
	nv->send_given = false;
	nv->held_count = 0;
	nv->info = (struct fake_netvsc_info){.channels = 1};
	return 0;
}

void fake_netvsc_set_wanted(struct fake_netvsc *nv, uint32_t channels, uint32_t mtu)
{
	nv->config.channels = channels;
	nv->config.mtu = mtu;
}
