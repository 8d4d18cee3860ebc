/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Offers, reports and sets task offloads; tells the RSS capabilities. Linux 6.1 turns on TCP
 * checksums only where the options bits are offered too, TSO only with those, and TSO over IPv6
 * only with both IPv6 option bits.
 */
#include "netvsp/rndis_offload.h"

#include "base/bytes.h"
#include "netvsp/nvsp.h"

#define CSUM4                                                                                      \
	(NDIS_CSUM_IP | NDIS_CSUM_IP_OPTIONS | NDIS_CSUM_TCP | NDIS_CSUM_TCP_OPTIONS |             \
	 NDIS_CSUM_UDP)
#define CSUM6	     (NDIS_CSUM_IP_OPTIONS | NDIS_CSUM_TCP | NDIS_CSUM_TCP_OPTIONS | NDIS_CSUM_UDP)
#define ENCAP	     NDIS_ENCAP_8023
#define MIN_SEGMENTS 2

uint32_t rndis_offloads_offered(const struct rndis_control *control)
{
	uint32_t offered = control->config.offloads;

	if (control->nvsp_version < NVSP_VERSION_61)
		offered &= ~RNDIS_OFFLOAD_RSC;
	return offered;
}

void rndis_offloads_default(struct rndis_control *control)
{
	bool checksum = control->config.offloads & RNDIS_OFFLOAD_CHECKSUM;

	control->offloads = (struct rndis_offload_state){
		.tx_checksum = checksum,
		.rx_checksum = checksum,
	};
}

/* ---- offloads: query ---- */

static struct rndis_offload_state offered_state(const struct rndis_control *control)
{
	uint32_t offered = rndis_offloads_offered(control);
	bool checksum = offered & RNDIS_OFFLOAD_CHECKSUM;
	bool lso = offered & RNDIS_OFFLOAD_LSO;
	bool rsc = offered & RNDIS_OFFLOAD_RSC;

	return (struct rndis_offload_state){checksum, checksum, lso, lso, rsc, rsc};
}

bool rndis_offloads_are_offered(const struct rndis_control *control,
				const struct rndis_offload_state *state)
{
	const struct rndis_offload_state offered = offered_state(control);

	return state->tx_checksum <= offered.tx_checksum &&
	       state->rx_checksum <= offered.rx_checksum && state->lso4 <= offered.lso4 &&
	       state->lso6 <= offered.lso6 && state->rsc4 <= offered.rsc4 &&
	       state->rsc6 <= offered.rsc6;
}

static void offload_fill(struct ndis_offload *offload, const struct rndis_offload_state *state)
{
	if (state->tx_checksum) {
		offload->checksum.ip4_tx_encap = htole32(ENCAP);
		offload->checksum.ip4_tx = htole32(CSUM4);
		offload->checksum.ip6_tx_encap = htole32(ENCAP);
		offload->checksum.ip6_tx = htole32(CSUM6);
	}
	if (state->rx_checksum) {
		offload->checksum.ip4_rx_encap = htole32(ENCAP);
		offload->checksum.ip4_rx = htole32(CSUM4);
		offload->checksum.ip6_rx_encap = htole32(ENCAP);
		offload->checksum.ip6_rx = htole32(CSUM6);
	}
	if (state->lso4) {
		offload->lso_v2.ip4_encap = htole32(ENCAP);
		offload->lso_v2.ip4_max_bytes = htole32(RNDIS_MAX_LSO_BYTES);
		offload->lso_v2.ip4_min_segments = htole32(MIN_SEGMENTS);
	}
	if (state->lso6) {
		offload->lso_v2.ip6_encap = htole32(ENCAP);
		offload->lso_v2.ip6_max_bytes = htole32(RNDIS_MAX_LSO_BYTES);
		offload->lso_v2.ip6_min_segments = htole32(MIN_SEGMENTS);
		offload->lso_v2.ip6_options = htole32(NDIS_LSO6_EXTENSIONS | NDIS_LSO6_TCP_OPTIONS);
	}
	offload->rsc_ip4 = state->rsc4;
	offload->rsc_ip6 = state->rsc6;
}

/* Revision of the object that the guest sent along, or 1 where it sent none. */
static uint8_t asked_revision(const struct rndis_information *request, uint8_t type)
{
	if (request->length < sizeof(struct ndis_object_header) || request->bytes[0] != type)
		return 1;
	return request->bytes[1];
}

uint32_t rndis_offload_query(const struct rndis_control *control, uint32_t oid,
			     const struct rndis_information *request, uint8_t *value,
			     size_t *value_bytes)
{
	uint8_t revision = asked_revision(request, NDIS_OBJECT_OFFLOAD);
	struct ndis_offload offload = {.header.type = NDIS_OBJECT_OFFLOAD};
	struct rndis_offload_state state = control->offloads;
	uint16_t size;

	if (oid == OID_TCP_OFFLOAD_HARDWARE_CAPABILITIES)
		state = offered_state(control);
	if (revision >= 3) {
		revision = 3;
		size = NDIS_OFFLOAD_BYTES_REVISION_3;
	} else if (revision == 2) {
		size = NDIS_OFFLOAD_BYTES_REVISION_2;
	} else {
		revision = 1;
		size = NDIS_OFFLOAD_BYTES_REVISION_1;
	}
	offload.header.revision = revision;
	offload.header.size = htole16(size);
	offload_fill(&offload, &state);
	memcpy(value, &offload, size);
	*value_bytes = size;
	return RNDIS_STATUS_SUCCESS;
}

/* ---- offloads: set ---- */

/* Applies one checksum setting to what is asked so far: direction bits of all protocols together.
 */
static bool csum_setting(uint8_t setting, bool *any, bool *tx, bool *rx)
{
	if (setting > NDIS_SET_CSUM_TX_RX)
		return false;
	if (setting == 0)
		return true;
	*any = true;
	*tx |= setting == NDIS_SET_CSUM_TX || setting == NDIS_SET_CSUM_TX_RX;
	*rx |= setting == NDIS_SET_CSUM_RX || setting == NDIS_SET_CSUM_TX_RX;
	return true;
}

static bool on_off_setting(uint8_t setting, bool offered, bool *on)
{
	if (setting > NDIS_SET_ON || (setting == NDIS_SET_ON && !offered))
		return false;
	if (setting)
		*on = setting == NDIS_SET_ON;
	return true;
}

uint32_t rndis_offload_set(struct rndis_control *control, const struct rndis_information *request)
{
	const struct rndis_offload_state offered = offered_state(control);
	struct rndis_offload_state next = control->offloads;
	struct ndis_offload_parameters wire = {0};
	bool any = false, tx = false, rx = false, good;

	if (request->length < NDIS_OFFLOAD_PARAMETERS_MIN_BYTES)
		return RNDIS_STATUS_INVALID_LENGTH;
	memcpy(&wire, request->bytes,
	       request->length < sizeof(wire) ? request->length : sizeof(wire));
	if (wire.header.type != NDIS_OBJECT_DEFAULT)
		return RNDIS_STATUS_INVALID_DATA;
	good = csum_setting(wire.ip4_checksum, &any, &tx, &rx) &&
	       csum_setting(wire.tcp4_checksum, &any, &tx, &rx) &&
	       csum_setting(wire.udp4_checksum, &any, &tx, &rx) &&
	       csum_setting(wire.tcp6_checksum, &any, &tx, &rx) &&
	       csum_setting(wire.udp6_checksum, &any, &tx, &rx) &&
	       on_off_setting(wire.lso_v2_ip4, offered.lso4, &next.lso4) &&
	       on_off_setting(wire.lso_v2_ip6, offered.lso6, &next.lso6) &&
	       on_off_setting(wire.rsc_ip4, offered.rsc4, &next.rsc4) &&
	       on_off_setting(wire.rsc_ip6, offered.rsc6, &next.rsc6);
	if (!good || ((tx || rx) && !offered.tx_checksum))
		return RNDIS_STATUS_INVALID_DATA;
	if (any) {
		next.tx_checksum = tx;
		next.rx_checksum = rx;
	}
	control->offloads = next;
	return RNDIS_STATUS_SUCCESS;
}

/* ---- RSS ---- */

uint32_t rndis_rss_capabilities(const struct rndis_control *control,
				const struct rndis_information *request, uint8_t *value,
				size_t *value_bytes)
{
	struct ndis_rss_capabilities capabilities = {
		.header.type = NDIS_OBJECT_RSS_CAPABILITIES,
		.header.revision = 2,
		.header.size = htole16(NDIS_RSS_CAPABILITIES_BYTES),
		.flags = htole32(NDIS_RSS_CAP_MSI | NDIS_RSS_CAP_CLASSIFY_ISR |
				 NDIS_RSS_CAP_CLASSIFY_DPC | NDIS_RSS_CAP_TCP_IPV4 |
				 NDIS_RSS_CAP_TCP_IPV6 | NDIS_RSS_CAP_TOEPLITZ),
		.interrupt_messages = htole32(control->config.max_channels),
		.receive_queues = htole32(control->config.max_channels),
		.table_entries = htole16(NDIS_RSS_TABLE_ENTRIES),
	};
	size_t size = NDIS_RSS_CAPABILITIES_BYTES;

	/* Sub-channels came with version 5. */
	if (control->nvsp_version < NVSP_VERSION_5)
		return RNDIS_STATUS_NOT_SUPPORTED;
	if (asked_revision(request, NDIS_OBJECT_RSS_CAPABILITIES) < 2) {
		size = NDIS_RSS_CAPABILITIES_BYTES_REVISION_1;
		capabilities.header.revision = 1;
		capabilities.header.size = htole16(NDIS_RSS_CAPABILITIES_BYTES_REVISION_1);
	}
	memcpy(value, &capabilities, size);
	*value_bytes = size;
	return RNDIS_STATUS_SUCCESS;
}
