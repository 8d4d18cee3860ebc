/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * RNDIS messages, as they travel inside NVSP_RNDIS, and the NDIS objects that OIDs carry.
 * Little-endian. Offsets inside a message count from just after its 8-byte header unless said
 * otherwise.
 *
 * Source: [MS-RNDIS] 2.2 by message; NDIS objects and per-packet info observed in Linux 6.1
 * drivers/net/hyperv/hyperv_net.h, include/linux/rndis.h and DPDK
 * drivers/net/netvsc/{rndis.h,ndis.h}.
 */
#ifndef LUNAR_WIRE_RNDIS_H
#define LUNAR_WIRE_RNDIS_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#define RNDIS_MAJOR_VERSION	    1
#define RNDIS_MINOR_VERSION	    0
#define RNDIS_DEVICE_CONNECTIONLESS 1u
#define RNDIS_MEDIUM_802_3	    0u
#define RNDIS_COMPLETION	    UINT32_C(0x80000000)

enum rndis_type {
	RNDIS_PACKET = 1,
	RNDIS_INITIALIZE = 2,
	RNDIS_HALT = 3,
	RNDIS_QUERY = 4,
	RNDIS_SET = 5,
	RNDIS_RESET = 6,
	RNDIS_INDICATE_STATUS = 7,
	RNDIS_KEEPALIVE = 8,
};

#define RNDIS_STATUS_SUCCESS	       UINT32_C(0x00000000)
#define RNDIS_STATUS_NOT_ACCEPTED      UINT32_C(0x00010003)
#define RNDIS_STATUS_MEDIA_CONNECT     UINT32_C(0x4001000b)
#define RNDIS_STATUS_MEDIA_DISCONNECT  UINT32_C(0x4001000c)
#define RNDIS_STATUS_LINK_SPEED_CHANGE UINT32_C(0x40010013)
#define RNDIS_STATUS_NETWORK_CHANGE    UINT32_C(0x40010018)
#define RNDIS_STATUS_FAILURE	       UINT32_C(0xc0000001)
#define RNDIS_STATUS_NOT_SUPPORTED     UINT32_C(0xc00000bb)
#define RNDIS_STATUS_BAD_VERSION       UINT32_C(0xc0010004)
#define RNDIS_STATUS_MULTICAST_FULL    UINT32_C(0xc0010009)
#define RNDIS_STATUS_ADAPTER_NOT_READY UINT32_C(0xc0010011)
#define RNDIS_STATUS_INVALID_LENGTH    UINT32_C(0xc0010014)
#define RNDIS_STATUS_INVALID_DATA      UINT32_C(0xc0010015)

/* ---- control messages ---- */

struct rndis_header {
	uint32_t type;
	uint32_t length; /* of the whole message, header included */
};
static_assert(sizeof(struct rndis_header) == 8, "rndis header");

/* [MS-RNDIS] 2.2.2 */
struct rndis_initialize {
	struct rndis_header header;
	uint32_t request_id;
	uint32_t major_version;
	uint32_t minor_version;
	uint32_t max_transfer_bytes;
};
static_assert(sizeof(struct rndis_initialize) == 24, "rndis initialize");

/* [MS-RNDIS] 2.2.3 */
struct rndis_initialize_complete {
	struct rndis_header header;
	uint32_t request_id;
	uint32_t status;
	uint32_t major_version;
	uint32_t minor_version;
	uint32_t device_flags;
	uint32_t medium;
	uint32_t max_packets_per_message;
	uint32_t max_transfer_bytes;
	uint32_t packet_alignment_factor; /* packets in one message start at multiples of 1 <<
					     factor */
	uint32_t af_list_offset;
	uint32_t af_list_bytes;
};
static_assert(sizeof(struct rndis_initialize_complete) == 52, "rndis initialize complete");

/* [MS-RNDIS] 2.2.4 (HALT), 2.2.14 (KEEPALIVE); RESET has a reserved word in place of the id: 2.2.12
 */
struct rndis_request {
	struct rndis_header header;
	uint32_t request_id;
};
static_assert(sizeof(struct rndis_request) == 12, "rndis request");

/* [MS-RNDIS] 2.2.5 (QUERY), 2.2.7 (SET) */
struct rndis_oid_request {
	struct rndis_header header;
	uint32_t request_id;
	uint32_t oid;
	uint32_t information_bytes;
	uint32_t information_offset;
	uint32_t device_vc_handle;
};
static_assert(sizeof(struct rndis_oid_request) == 28, "rndis query and set");

/* [MS-RNDIS] 2.2.6 */
struct rndis_query_complete {
	struct rndis_header header;
	uint32_t request_id;
	uint32_t status;
	uint32_t information_bytes;
	uint32_t information_offset;
};
static_assert(sizeof(struct rndis_query_complete) == 24, "rndis query complete");

/* [MS-RNDIS] 2.2.8 (SET), 2.2.15 (KEEPALIVE) */
struct rndis_complete {
	struct rndis_header header;
	uint32_t request_id;
	uint32_t status;
};
static_assert(sizeof(struct rndis_complete) == 16, "rndis set and keepalive complete");

/* [MS-RNDIS] 2.2.13 */
struct rndis_reset_complete {
	struct rndis_header header;
	uint32_t status;
	uint32_t addressing_reset; /* 1: the host sends its filter and multicast list again */
};
static_assert(sizeof(struct rndis_reset_complete) == 16, "rndis reset complete");

/* [MS-RNDIS] 2.2.9 */
struct rndis_indicate_status {
	struct rndis_header header;
	uint32_t status;
	uint32_t buffer_bytes;
	uint32_t buffer_offset;
};
static_assert(sizeof(struct rndis_indicate_status) == 20, "rndis indicate status");

/* ---- data message ---- */

/* [MS-RNDIS] 2.2.1 */
struct rndis_packet {
	struct rndis_header header;
	uint32_t data_offset;
	uint32_t data_bytes;
	uint32_t oob_offset;
	uint32_t oob_bytes;
	uint32_t oob_count;
	uint32_t info_offset; /* per-packet info */
	uint32_t info_bytes;
	uint32_t vc_handle;
	uint32_t reserved;
};
static_assert(sizeof(struct rndis_packet) == 44, "rndis packet");
#define RNDIS_PACKET_MIN_OFFSET 36u /* least data_offset and info_offset */

/* One element of the per-packet info; its value is at offset bytes from its start. */
struct rndis_packet_info {
	uint32_t size; /* with this header, a multiple of 4 */
	uint32_t type; /* bit 31: internal */
	uint32_t offset;
};
static_assert(sizeof(struct rndis_packet_info) == 12, "rndis per-packet info");

#define RNDIS_INFO_INTERNAL UINT32_C(0x80000000)
enum rndis_info_type {
	RNDIS_INFO_CHECKSUM = 0,
	RNDIS_INFO_LSO = 2,
	RNDIS_INFO_8021Q = 6,
	RNDIS_INFO_HASH_VALUE = 8,
	RNDIS_INFO_HASH_TYPE = 9,
	RNDIS_INFO_INTERNAL_ID = 1, /* with RNDIS_INFO_INTERNAL: receive coalescing */
};

/* RNDIS_INFO_CHECKSUM, guest to host. */
#define RNDIS_TXCSUM_IPV4      UINT32_C(0x00000001)
#define RNDIS_TXCSUM_IPV6      UINT32_C(0x00000002)
#define RNDIS_TXCSUM_TCP       UINT32_C(0x00000004)
#define RNDIS_TXCSUM_UDP       UINT32_C(0x00000008)
#define RNDIS_TXCSUM_IP_HEADER UINT32_C(0x00000010)
#define RNDIS_TXCSUM_L4_SHIFT  16
#define RNDIS_TXCSUM_L4_MASK   0x3ffu

/* RNDIS_INFO_CHECKSUM, host to guest. */
#define RNDIS_RXCSUM_TCP_FAILED UINT32_C(0x01)
#define RNDIS_RXCSUM_UDP_FAILED UINT32_C(0x02)
#define RNDIS_RXCSUM_IP_FAILED	UINT32_C(0x04)
#define RNDIS_RXCSUM_TCP_OK	UINT32_C(0x08)
#define RNDIS_RXCSUM_UDP_OK	UINT32_C(0x10)
#define RNDIS_RXCSUM_IP_OK	UINT32_C(0x20)

/* RNDIS_INFO_LSO, guest to host. */
#define RNDIS_LSO_MSS_MASK UINT32_C(0x000fffff)
#define RNDIS_LSO_L4_SHIFT 20
#define RNDIS_LSO_L4_MASK  0x3ffu
#define RNDIS_LSO_V2	   UINT32_C(0x40000000)
#define RNDIS_LSO_IPV6	   UINT32_C(0x80000000)

/* RNDIS_INFO_8021Q: priority 3 bits, CFI 1, VLAN id 12, from bit 0 up (802.1Q's TCI has them the
 * other way round). */
#define RNDIS_8021Q_CFI_SHIFT 3
#define RNDIS_8021Q_VID_SHIFT 4

/* RNDIS_INFO_INTERNAL_ID: u8 version, u8 flags, u16 id. */
#define RNDIS_RSC_VERSION  1u
#define RNDIS_RSC_FRAGMENT 0x01u
#define RNDIS_RSC_FIRST	   0x02u
#define RNDIS_RSC_LAST	   0x04u

/* ---- OIDs ---- */

enum rndis_oid {
	OID_GEN_SUPPORTED_LIST = 0x00010101,
	OID_GEN_HARDWARE_STATUS = 0x00010102,
	OID_GEN_MEDIA_SUPPORTED = 0x00010103,
	OID_GEN_MEDIA_IN_USE = 0x00010104,
	OID_GEN_MAXIMUM_LOOKAHEAD = 0x00010105,
	OID_GEN_MAXIMUM_FRAME_SIZE = 0x00010106,
	OID_GEN_LINK_SPEED = 0x00010107,
	OID_GEN_TRANSMIT_BUFFER_SPACE = 0x00010108,
	OID_GEN_RECEIVE_BUFFER_SPACE = 0x00010109,
	OID_GEN_TRANSMIT_BLOCK_SIZE = 0x0001010a,
	OID_GEN_RECEIVE_BLOCK_SIZE = 0x0001010b,
	OID_GEN_VENDOR_ID = 0x0001010c,
	OID_GEN_VENDOR_DESCRIPTION = 0x0001010d,
	OID_GEN_CURRENT_PACKET_FILTER = 0x0001010e,
	OID_GEN_CURRENT_LOOKAHEAD = 0x0001010f,
	OID_GEN_DRIVER_VERSION = 0x00010110,
	OID_GEN_MAXIMUM_TOTAL_SIZE = 0x00010111,
	OID_GEN_PROTOCOL_OPTIONS = 0x00010112,
	OID_GEN_MAC_OPTIONS = 0x00010113,
	OID_GEN_MEDIA_CONNECT_STATUS = 0x00010114,
	OID_GEN_MAXIMUM_SEND_PACKETS = 0x00010115,
	OID_GEN_VENDOR_DRIVER_VERSION = 0x00010116,
	OID_GEN_PHYSICAL_MEDIUM = 0x00010202,
	OID_GEN_RECEIVE_SCALE_CAPABILITIES = 0x00010203,
	OID_GEN_RECEIVE_SCALE_PARAMETERS = 0x00010204,
	OID_GEN_RNDIS_CONFIG_PARAMETER = 0x0001021b,
	OID_GEN_XMIT_OK = 0x00020101,
	OID_GEN_RCV_OK = 0x00020102,
	OID_GEN_XMIT_ERROR = 0x00020103,
	OID_GEN_RCV_ERROR = 0x00020104,
	OID_GEN_RCV_NO_BUFFER = 0x00020105,
	OID_GEN_FRIENDLY_NAME = 0x00020216,
	OID_802_3_PERMANENT_ADDRESS = 0x01010101,
	OID_802_3_CURRENT_ADDRESS = 0x01010102,
	OID_802_3_MULTICAST_LIST = 0x01010103,
	OID_802_3_MAXIMUM_LIST_SIZE = 0x01010104,
	OID_802_3_RCV_ERROR_ALIGNMENT = 0x01020101,
	OID_802_3_XMIT_ONE_COLLISION = 0x01020102,
	OID_802_3_XMIT_MORE_COLLISIONS = 0x01020103,
};
/* These do not fit an int, which is what an enum is. */
#define OID_TCP_OFFLOAD_CURRENT_CONFIG	      UINT32_C(0xfc01020b)
#define OID_TCP_OFFLOAD_PARAMETERS	      UINT32_C(0xfc01020c)
#define OID_TCP_OFFLOAD_HARDWARE_CAPABILITIES UINT32_C(0xfc01020d)

#define RNDIS_FILTER_DIRECTED	   0x01u
#define RNDIS_FILTER_MULTICAST	   0x02u
#define RNDIS_FILTER_ALL_MULTICAST 0x04u
#define RNDIS_FILTER_BROADCAST	   0x08u
#define RNDIS_FILTER_PROMISCUOUS   0x20u

#define RNDIS_MEDIA_CONNECTED	 0u
#define RNDIS_MEDIA_DISCONNECTED 1u

/* Value of OID_GEN_RNDIS_CONFIG_PARAMETER: offsets from the start of this structure.
 * [MS-RNDIS] 2.2.7.1 */
struct rndis_config_parameter {
	uint32_t name_offset;
	uint32_t name_bytes; /* UTF-16 */
	uint32_t type;
	uint32_t value_offset;
	uint32_t value_bytes;
};
static_assert(sizeof(struct rndis_config_parameter) == 20, "rndis config parameter");
#define RNDIS_CONFIG_INTEGER 0u
#define RNDIS_CONFIG_STRING  2u

/* ---- NDIS objects ---- */

#define NDIS_OBJECT_DEFAULT	     0x80
#define NDIS_OBJECT_RSS_CAPABILITIES 0x88
#define NDIS_OBJECT_RSS_PARAMETERS   0x89
#define NDIS_OBJECT_OFFLOAD	     0xa7

struct ndis_object_header {
	uint8_t type;
	uint8_t revision;
	uint16_t size; /* of the whole object */
};
static_assert(sizeof(struct ndis_object_header) == 4, "ndis object header");

#define NDIS_ENCAP_8023 0x0002u

#define NDIS_CSUM_IP_OPTIONS  0x001u /* ip6: extension headers */
#define NDIS_CSUM_TCP_OPTIONS 0x004u
#define NDIS_CSUM_TCP	      0x010u
#define NDIS_CSUM_UDP	      0x040u
#define NDIS_CSUM_IP	      0x100u /* ip4 only */

struct ndis_checksum_offload {
	uint32_t ip4_tx_encap;
	uint32_t ip4_tx;
	uint32_t ip4_rx_encap;
	uint32_t ip4_rx;
	uint32_t ip6_tx_encap;
	uint32_t ip6_tx;
	uint32_t ip6_rx_encap;
	uint32_t ip6_rx;
};

#define NDIS_LSO6_EXTENSIONS  0x001u
#define NDIS_LSO6_TCP_OPTIONS 0x004u

struct ndis_lso_v2_offload {
	uint32_t ip4_encap;
	uint32_t ip4_max_bytes;
	uint32_t ip4_min_segments;
	uint32_t ip6_encap;
	uint32_t ip6_max_bytes;
	uint32_t ip6_min_segments;
	uint32_t ip6_options;
};

/* OID_TCP_OFFLOAD_HARDWARE_CAPABILITIES and _CURRENT_CONFIG. Revision 1 ends before ipsec_v2, 2
 * before rsc, 3 is whole. */
struct ndis_offload {
	struct ndis_object_header header;
	struct ndis_checksum_offload checksum;
	uint32_t lso_v1[4];
	uint32_t ipsec_v1[7];
	struct ndis_lso_v2_offload lso_v2;
	uint32_t flags;
	uint8_t ipsec_v2[32];
	uint8_t rsc_ip4;
	uint8_t rsc_ip6;
	uint8_t padding[2];
	uint32_t gre_flags;
	uint32_t gre_max_header;
};
static_assert(offsetof(struct ndis_offload, lso_v2) == 80, "ndis offload lso v2");
static_assert(offsetof(struct ndis_offload, ipsec_v2) == 112, "ndis offload revision 1");
static_assert(offsetof(struct ndis_offload, rsc_ip4) == 144, "ndis offload revision 2");
static_assert(sizeof(struct ndis_offload) == 156, "ndis offload revision 3");
#define NDIS_OFFLOAD_BYTES_REVISION_1 112
#define NDIS_OFFLOAD_BYTES_REVISION_2 144
#define NDIS_OFFLOAD_BYTES_REVISION_3 156

/* Values of the one-byte settings below; 0 is no change. */
#define NDIS_SET_CSUM_OFF   1
#define NDIS_SET_CSUM_TX    2
#define NDIS_SET_CSUM_RX    3
#define NDIS_SET_CSUM_TX_RX 4
#define NDIS_SET_OFF	    1 /* LSO, RSC */
#define NDIS_SET_ON	    2

/* OID_TCP_OFFLOAD_PARAMETERS. NVSP 4 and older send 22 bytes, later 28. */
struct ndis_offload_parameters {
	struct ndis_object_header header;
	uint8_t ip4_checksum;
	uint8_t tcp4_checksum;
	uint8_t udp4_checksum;
	uint8_t tcp6_checksum;
	uint8_t udp6_checksum;
	uint8_t lso_v1;
	uint8_t ipsec_v1;
	uint8_t lso_v2_ip4;
	uint8_t lso_v2_ip6;
	uint8_t tcp4_connection;
	uint8_t tcp6_connection;
	uint8_t padding;
	uint32_t flags;
	uint8_t ipsec_v2;
	uint8_t ipsec_v2_ip4;
	uint8_t rsc_ip4;
	uint8_t rsc_ip6;
	uint8_t encapsulated;
	uint8_t encapsulation_types;
	uint8_t padding_end[2];
};
static_assert(offsetof(struct ndis_offload_parameters, flags) == 16,
	      "ndis offload parameters flags");
static_assert(offsetof(struct ndis_offload_parameters, rsc_ip4) == 22,
	      "ndis offload parameters rsc");
static_assert(sizeof(struct ndis_offload_parameters) == 28, "ndis offload parameters");
#define NDIS_OFFLOAD_PARAMETERS_MIN_BYTES 22

#define NDIS_RSS_CAP_MSI	  UINT32_C(0x01000000)
#define NDIS_RSS_CAP_CLASSIFY_ISR UINT32_C(0x02000000)
#define NDIS_RSS_CAP_CLASSIFY_DPC UINT32_C(0x04000000)
#define NDIS_RSS_CAP_TCP_IPV4	  UINT32_C(0x00000100)
#define NDIS_RSS_CAP_TCP_IPV6	  UINT32_C(0x00000200)
#define NDIS_RSS_CAP_TOEPLITZ	  UINT32_C(0x00000001)

/* OID_GEN_RECEIVE_SCALE_CAPABILITIES: 18 bytes, of which revision 1 has 16. */
struct ndis_rss_capabilities {
	struct ndis_object_header header;
	uint32_t flags;
	uint32_t interrupt_messages;
	uint32_t receive_queues;
	uint16_t table_entries;
	uint16_t padding; /* not on the wire */
};
#define NDIS_RSS_CAPABILITIES_BYTES	       18
#define NDIS_RSS_CAPABILITIES_BYTES_REVISION_1 16
static_assert(offsetof(struct ndis_rss_capabilities, padding) == 18, "ndis rss capabilities");

#define NDIS_HASH_TOEPLITZ 0x00000001u
#define NDIS_HASH_IPV4	   0x00000100u
#define NDIS_HASH_TCP_IPV4 0x00000200u
#define NDIS_HASH_IPV6	   0x00000400u
#define NDIS_HASH_TCP_IPV6 0x00001000u

#define NDIS_RSS_BASE_CPU_UNCHANGED 0x0001u
#define NDIS_RSS_HASH_UNCHANGED	    0x0002u
#define NDIS_RSS_TABLE_UNCHANGED    0x0004u
#define NDIS_RSS_KEY_UNCHANGED	    0x0008u
#define NDIS_RSS_DISABLE	    0x0010u
#define NDIS_RSS_KEY_BYTES	    40
#define NDIS_RSS_TABLE_ENTRIES	    128

/* OID_GEN_RECEIVE_SCALE_PARAMETERS: offsets from the start of this structure. Revision 1 ends
 * before mask_offset. */
struct ndis_rss_parameters {
	struct ndis_object_header header;
	uint16_t flags;
	uint16_t base_cpu;
	uint32_t hash;
	uint16_t table_bytes; /* u32 entries */
	uint16_t padding1;
	uint32_t table_offset;
	uint16_t key_bytes;
	uint16_t padding2;
	uint32_t key_offset;
	uint32_t mask_offset;
	uint32_t mask_count;
	uint32_t mask_entry_bytes;
};
static_assert(offsetof(struct ndis_rss_parameters, table_offset) == 16, "ndis rss table offset");
static_assert(offsetof(struct ndis_rss_parameters, key_offset) == 24, "ndis rss key offset");
static_assert(sizeof(struct ndis_rss_parameters) == 40, "ndis rss parameters");
#define NDIS_RSS_PARAMETERS_MIN_BYTES 28

#endif
