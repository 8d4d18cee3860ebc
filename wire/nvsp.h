/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * NVSP, the protocol between a guest's netvsc and the parent's netvsp, in-band on a network
 * channel: version, shared buffers, sub-channels, and the envelope of RNDIS messages.
 * Little-endian. A message is a u32 type, then a body; replies are completions of the same
 * transaction and are padded to the size of the version's message union.
 *
 * Source: observed: Linux 6.1 drivers/net/hyperv/hyperv_net.h (struct nvsp_*), DPDK
 * drivers/net/netvsc/hn_nvs.h.
 */
#ifndef LUNAR_WIRE_NVSP_H
#define LUNAR_WIRE_NVSP_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

/* GUIDs of a NIC offer, in wire order: f8615163-df3e-46c5-913f-f2d2f965ed0e. */
#define NVSP_INTERFACE_TYPE_BYTES                                                                  \
	{                                                                                          \
		0x63, 0x51, 0x61, 0xf8, 0x3e, 0xdf, 0xc5, 0x46, 0x91, 0x3f, 0xf2, 0xd2, 0xf9,      \
			0x65, 0xed, 0x0e                                                           \
	}

/* Versions: major << 16 | minor, but for the first two. */
#define NVSP_VERSION_1	UINT32_C(0x00002)
#define NVSP_VERSION_2	UINT32_C(0x30002)
#define NVSP_VERSION_4	UINT32_C(0x40000)
#define NVSP_VERSION_5	UINT32_C(0x50000)
#define NVSP_VERSION_6	UINT32_C(0x60000)
#define NVSP_VERSION_61 UINT32_C(0x60001)

enum nvsp_type {
	NVSP_INIT = 1,
	NVSP_INIT_COMPLETE = 2,
	/* version 1 */
	NVSP_NDIS_VERSION = 100,
	NVSP_RECV_BUF = 101,
	NVSP_RECV_BUF_COMPLETE = 102,
	NVSP_REVOKE_RECV_BUF = 103,
	NVSP_SEND_BUF = 104,
	NVSP_SEND_BUF_COMPLETE = 105,
	NVSP_REVOKE_SEND_BUF = 106,
	NVSP_RNDIS = 107,
	NVSP_RNDIS_COMPLETE = 108,
	/* version 2 */
	NVSP_NDIS_CONFIG = 125,
	/* version 4 */
	NVSP_VF_ASSOCIATION = 128,
	NVSP_SWITCH_DATA_PATH = 129,
	/* version 5 */
	NVSP_OID_QUERY_EX = 131,
	NVSP_OID_QUERY_EX_COMPLETE = 132,
	NVSP_SUB_CHANNEL = 133, /* request and reply */
	NVSP_SEND_INDIRECTION_TABLE = 134,
	/* version 6 */
	NVSP_PD_API = 135,
};

enum nvsp_status {
	NVSP_STATUS_NONE = 0,
	NVSP_STATUS_SUCCESS = 1,
	NVSP_STATUS_FAILURE = 2,
	NVSP_STATUS_TOO_NEW = 3,
	NVSP_STATUS_TOO_OLD = 4,
	NVSP_STATUS_INVALID_RNDIS_PACKET = 5,
	NVSP_STATUS_BUSY = 6,
	NVSP_STATUS_UNSUPPORTED = 7,
};

/* Size of a whole message: what replies are padded to. Linux drops shorter INIT and buffer replies.
 */
#define NVSP_MESSAGE_BYTES     28 /* up to 6.0 */
#define NVSP_MESSAGE_BYTES_61  40
#define NVSP_MAX_MESSAGE_BYTES 40

#define NVSP_RECV_BUFFER_ID                                                                        \
	0xcafe /* transfer page set of received packets; Linux 6.1 insists on it */
#define NVSP_SEND_BUFFER_ID	  0
#define NVSP_NO_SECTION		  UINT32_MAX /* the RNDIS bytes are not in the send buffer */
#define NVSP_RNDIS_DATA		  0
#define NVSP_RNDIS_CONTROL	  1
#define NVSP_SEND_TABLE_ENTRIES	  16 /* Linux ignores any other size */
#define NVSP_SUB_CHANNEL_ALLOCATE 1
#define NVSP_MAX_RANGES                                                                            \
	375 /* of a transfer-page packet; Linux 6.1 sizes its packet buffer for 562 */
#define NVSP_MAX_RANGES_RSC                                                                        \
	562 /* with receive coalescing; also the most fragments of a coalesced packet */

struct nvsp_header {
	uint32_t type;
};

struct nvsp_init {
	struct nvsp_header header;
	uint32_t min_version;
	uint32_t max_version;
};
static_assert(sizeof(struct nvsp_init) == 12, "nvsp init");

struct nvsp_init_complete {
	struct nvsp_header header;
	uint32_t version;
	uint32_t max_mdl_chain_length;
	uint32_t status;
};
static_assert(sizeof(struct nvsp_init_complete) == 16, "nvsp init complete");

struct nvsp_ndis_version {
	struct nvsp_header header;
	uint32_t major;
	uint32_t minor;
};
static_assert(sizeof(struct nvsp_ndis_version) == 12, "nvsp ndis version");

/* NVSP_RECV_BUF, NVSP_SEND_BUF; 10 bytes on the wire without the padding. */
struct nvsp_buffer_message {
	struct nvsp_header header;
	uint32_t gpadl_id;
	uint16_t id;
	uint16_t padding;
};
#define NVSP_BUFFER_MIN_BYTES 10
static_assert(offsetof(struct nvsp_buffer_message, id) == 8, "nvsp buffer");

struct nvsp_recv_section {
	uint32_t offset;
	uint32_t sub_allocation_size;
	uint32_t sub_allocation_count;
	uint32_t end_offset;
};

struct nvsp_recv_buf_complete {
	struct nvsp_header header;
	uint32_t status;
	uint32_t section_count; /* must be 1 */
	struct nvsp_recv_section section;
};
static_assert(sizeof(struct nvsp_recv_buf_complete) == 28, "nvsp receive buffer complete");

struct nvsp_send_buf_complete {
	struct nvsp_header header;
	uint32_t status;
	uint32_t section_size;
};
static_assert(sizeof(struct nvsp_send_buf_complete) == 12, "nvsp send buffer complete");

/* NVSP_REVOKE_RECV_BUF, NVSP_REVOKE_SEND_BUF; 6 bytes on the wire without the padding. */
struct nvsp_revoke {
	struct nvsp_header header;
	uint16_t id;
	uint16_t padding;
};
#define NVSP_REVOKE_MIN_BYTES 6
static_assert(offsetof(struct nvsp_revoke, id) == 4, "nvsp revoke");

/* Both ways. A guest's RNDIS bytes are: section_bytes of the send-buffer section (if any), then the
 * packet's pages. */
struct nvsp_rndis {
	struct nvsp_header header;
	uint32_t channel_type; /* NVSP_RNDIS_DATA or NVSP_RNDIS_CONTROL */
	uint32_t section_index;
	uint32_t section_bytes;
};
static_assert(sizeof(struct nvsp_rndis) == 16, "nvsp rndis");

struct nvsp_rndis_complete {
	struct nvsp_header header;
	uint32_t status;
};
static_assert(sizeof(struct nvsp_rndis_complete) == 8, "nvsp rndis complete");

#define NVSP_CAPABILITY_VMQ	UINT64_C(0x01)
#define NVSP_CAPABILITY_SRIOV	UINT64_C(0x04)
#define NVSP_CAPABILITY_8021Q	UINT64_C(0x08)
#define NVSP_CAPABILITY_TEAMING UINT64_C(0x20)
#define NVSP_CAPABILITY_RSC	UINT64_C(0x80)

struct nvsp_ndis_config {
	struct nvsp_header header;
	uint32_t mtu; /* with the 14-byte Ethernet header */
	uint32_t reserved;
	uint32_t capabilities_low; /* a u64, 4-byte aligned on the wire */
	uint32_t capabilities_high;
};
static_assert(sizeof(struct nvsp_ndis_config) == 20, "nvsp ndis config");

struct nvsp_sub_channel {
	struct nvsp_header header;
	uint32_t operation;
	uint32_t count;
};
static_assert(sizeof(struct nvsp_sub_channel) == 12, "nvsp sub-channel");

struct nvsp_sub_channel_complete {
	struct nvsp_header header;
	uint32_t status;
	uint32_t count; /* Linux waits without time-out until exactly so many have opened */
};
static_assert(sizeof(struct nvsp_sub_channel_complete) == 12, "nvsp sub-channel complete");

struct nvsp_send_indirection_table {
	struct nvsp_header header;
	uint32_t count; /* 16 */
	uint32_t
		offset; /* of the entries (u32 channel index each), from the start of the message */
};
static_assert(sizeof(struct nvsp_send_indirection_table) == 12, "nvsp send table");

/* Status of NVSP_OID_QUERY_EX_COMPLETE. */
struct nvsp_oid_query_ex_complete {
	struct nvsp_header header;
	uint32_t status;
	uint32_t length;
};
static_assert(sizeof(struct nvsp_oid_query_ex_complete) == 12, "nvsp oid query complete");

#endif
