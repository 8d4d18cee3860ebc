/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * VMBus channel messages, the ring's control page and packet headers, as they lie in SynIC messages
 * and guest memory. Everything is little-endian and packed: fields need not be aligned. Fields of
 * other structs are read and written through base/bytes.h or by copying a whole struct on a
 * little-endian host (checked below). Source: observed, Linux 6.1 include/linux/hyperv.h, unless a
 * struct says otherwise; versions in which a message exists: OpenVMM vmbus_core/src/protocol.rs.
 */
#ifndef LUNAR_WIRE_VMBUS_H
#define LUNAR_WIRE_VMBUS_H

#include <assert.h>
#include <endian.h>
#include <stddef.h>
#include <stdint.h>

static_assert(__BYTE_ORDER == __LITTLE_ENDIAN,
	      "wire structs are used in place: little-endian hosts only");

#define WIRE_PACKED __attribute__((packed))

#define VMBUS_MESSAGE_MAX_BYTES	 240
#define VMBUS_USER_DEFINED_BYTES 120

/* Message ports: connection ids that a guest posts to. */
#define VMBUS_MESSAGE_PORT   1 /* versions before 5.0 */
#define VMBUS_MESSAGE_PORT_5 4 /* 5.0 and later */

#define VMBUS_VERSION(major, minor) ((uint32_t)(major) << 16 | (uint32_t)(minor))
#define VMBUS_VERSION_WIN8	    VMBUS_VERSION(2, 4)
#define VMBUS_VERSION_WIN8_1	    VMBUS_VERSION(3, 0)
#define VMBUS_VERSION_WIN10	    VMBUS_VERSION(4, 0)
#define VMBUS_VERSION_4_1	    VMBUS_VERSION(4, 1)
#define VMBUS_VERSION_5_0	    VMBUS_VERSION(5, 0)
#define VMBUS_VERSION_5_1	    VMBUS_VERSION(5, 1)
#define VMBUS_VERSION_5_2	    VMBUS_VERSION(5, 2)
#define VMBUS_VERSION_5_3	    VMBUS_VERSION(5, 3)

enum vmbus_message_type {
	VMBUS_OFFER_CHANNEL = 1,
	VMBUS_RESCIND_CHANNEL_OFFER = 2,
	VMBUS_REQUEST_OFFERS = 3,
	VMBUS_ALL_OFFERS_DELIVERED = 4,
	VMBUS_OPEN_CHANNEL = 5,
	VMBUS_OPEN_CHANNEL_RESULT = 6,
	VMBUS_CLOSE_CHANNEL = 7,
	VMBUS_GPADL_HEADER = 8,
	VMBUS_GPADL_BODY = 9,
	VMBUS_GPADL_CREATED = 10,
	VMBUS_GPADL_TEARDOWN = 11,
	VMBUS_GPADL_TORNDOWN = 12,
	VMBUS_RELID_RELEASED = 13,
	VMBUS_INITIATE_CONTACT = 14,
	VMBUS_VERSION_RESPONSE = 15,
	VMBUS_UNLOAD = 16,
	VMBUS_UNLOAD_RESPONSE = 17,
	VMBUS_TL_CONNECT_REQUEST = 21,
	VMBUS_MODIFY_CHANNEL = 22,	    /* 4.1 and later */
	VMBUS_TL_CONNECT_RESULT = 23,	    /* 4.1 and later */
	VMBUS_MODIFY_CHANNEL_RESPONSE = 24, /* 5.3 and later */
};

/* Status fields are NTSTATUS: 0 is success, anything else a failure to every known guest. */
#define VMBUS_STATUS_SUCCESS		UINT32_C(0)
#define VMBUS_STATUS_UNSUCCESSFUL	UINT32_C(0xc0000001)
#define VMBUS_STATUS_CONNECTION_REFUSED UINT32_C(0xc0000236)

struct vmbus_message_header {
	uint32_t type;
	uint32_t padding;
} WIRE_PACKED;
static_assert(sizeof(struct vmbus_message_header) == 8, "message header");

/* REQUEST_OFFERS, ALL_OFFERS_DELIVERED, UNLOAD and UNLOAD_RESPONSE are a header alone. */

/* Guest to host. From 5.0 on the second u64 says which SINT the guest listens on; before, an
 * interrupt page. */
struct vmbus_initiate_contact {
	struct vmbus_message_header header;
	uint32_t version;
	uint32_t target_vp; /* all messages go to this VP */
	union {
		uint64_t interrupt_page;
		struct {
			uint8_t sint;
			uint8_t vtl;
			uint16_t reserved;
			uint32_t feature_flags; /* 6.0 and later: OpenVMM protocol.rs TargetInfo */
		} WIRE_PACKED target;
	};
	uint64_t monitor_page_to_guest;
	uint64_t monitor_page_to_host;
} WIRE_PACKED;
static_assert(sizeof(struct vmbus_initiate_contact) == 40, "initiate contact");
static_assert(offsetof(struct vmbus_initiate_contact, version) == 8, "initiate contact");
static_assert(offsetof(struct vmbus_initiate_contact, target) == 16, "initiate contact");
static_assert(offsetof(struct vmbus_initiate_contact, monitor_page_to_guest) == 24,
	      "initiate contact");

struct vmbus_version_response {
	struct vmbus_message_header header;
	uint8_t supported;
	uint8_t connection_state; /* 0: successful */
	uint16_t padding;
	uint32_t connection_id; /* 5.0 and later: where the guest posts from now on */
} WIRE_PACKED;
static_assert(sizeof(struct vmbus_version_response) == 16, "version response");
static_assert(offsetof(struct vmbus_version_response, connection_id) == 12, "version response");

/* Flags of an offer. */
#define VMBUS_OFFER_ENUMERATE_DEVICE 0x0001u
#define VMBUS_OFFER_NAMED_PIPE_MODE  0x0010u
#define VMBUS_OFFER_TLNPI_PROVIDER   0x2000u /* Hyper-V sockets */

/* First word of user_defined with VMBUS_OFFER_NAMED_PIPE_MODE. */
#define VMBUS_PIPE_TYPE_BYTE	UINT32_C(0)
#define VMBUS_PIPE_TYPE_MESSAGE UINT32_C(4)

struct vmbus_offer_channel {
	struct vmbus_message_header header;
	uint8_t interface_type[16];
	uint8_t interface_id[16];
	uint64_t reserved[2];
	uint16_t flags;
	uint16_t mmio_megabytes;
	uint8_t user_defined[VMBUS_USER_DEFINED_BYTES];
	uint16_t sub_channel_index; /* 0: primary channel */
	uint16_t reserved2;
	uint32_t relid;
	uint8_t monitor_id;
	uint8_t monitor_allocated;
	uint16_t is_dedicated;	/* 1: the guest need not set a bit in an interrupt page before it
				   signals */
	uint32_t connection_id; /* what the guest signals */
} WIRE_PACKED;
static_assert(sizeof(struct vmbus_offer_channel) == 196, "offer channel");
static_assert(offsetof(struct vmbus_offer_channel, flags) == 56, "offer channel");
static_assert(offsetof(struct vmbus_offer_channel, user_defined) == 60, "offer channel");
static_assert(offsetof(struct vmbus_offer_channel, sub_channel_index) == 180, "offer channel");
static_assert(offsetof(struct vmbus_offer_channel, relid) == 184, "offer channel");
static_assert(offsetof(struct vmbus_offer_channel, connection_id) == 192, "offer channel");

/* RESCIND_CHANNEL_OFFER, CLOSE_CHANNEL and RELID_RELEASED. */
struct vmbus_relid_message {
	struct vmbus_message_header header;
	uint32_t relid;
} WIRE_PACKED;
static_assert(sizeof(struct vmbus_relid_message) == 12, "relid message");

struct vmbus_open_channel {
	struct vmbus_message_header header;
	uint32_t relid;
	uint32_t open_id; /* the guest's: returned in the result */
	uint32_t ring_gpadl_id;
	uint32_t target_vp;
	uint32_t downstream_page_offset; /* in 4 KiB pages: where the host to guest ring begins */
	uint8_t user_data[VMBUS_USER_DEFINED_BYTES];
} WIRE_PACKED;
static_assert(sizeof(struct vmbus_open_channel) == 148, "open channel");
static_assert(offsetof(struct vmbus_open_channel, target_vp) == 20, "open channel");
static_assert(offsetof(struct vmbus_open_channel, user_data) == 28, "open channel");

struct vmbus_open_result {
	struct vmbus_message_header header;
	uint32_t relid;
	uint32_t open_id;
	uint32_t status;
} WIRE_PACKED;
static_assert(sizeof(struct vmbus_open_result) == 20, "open result");

/* Followed by the first bytes of the ranges ({u32 byte_count, u32 byte_offset, u64 gpn[]} each). */
struct vmbus_gpadl_header {
	struct vmbus_message_header header;
	uint32_t relid;
	uint32_t gpadl_id;
	uint16_t ranges_bytes; /* of all ranges, what follows in bodies included */
	uint16_t range_count;
} WIRE_PACKED;
static_assert(sizeof(struct vmbus_gpadl_header) == 20, "gpadl header");
static_assert(offsetof(struct vmbus_gpadl_header, ranges_bytes) == 16, "gpadl header");
static_assert(offsetof(struct vmbus_gpadl_header, range_count) == 18, "gpadl header");

/* Followed by more bytes of the ranges. Says nothing about the channel. */
struct vmbus_gpadl_body {
	struct vmbus_message_header header;
	uint32_t message_number; /* Linux leaves it 0 */
	uint32_t gpadl_id;
} WIRE_PACKED;
static_assert(sizeof(struct vmbus_gpadl_body) == 16, "gpadl body");

struct vmbus_gpadl_created {
	struct vmbus_message_header header;
	uint32_t relid;
	uint32_t gpadl_id;
	uint32_t status;
} WIRE_PACKED;
static_assert(sizeof(struct vmbus_gpadl_created) == 20, "gpadl created");

struct vmbus_gpadl_teardown {
	struct vmbus_message_header header;
	uint32_t relid;
	uint32_t gpadl_id;
} WIRE_PACKED;
static_assert(sizeof(struct vmbus_gpadl_teardown) == 16, "gpadl teardown");

struct vmbus_gpadl_torndown {
	struct vmbus_message_header header;
	uint32_t gpadl_id;
} WIRE_PACKED;
static_assert(sizeof(struct vmbus_gpadl_torndown) == 12, "gpadl torndown");

/* Hyper-V socket: the guest connects to a service of the host. 5.2 and later may add a 16-byte silo
 * id. */
struct vmbus_tl_connect_request {
	struct vmbus_message_header header;
	uint8_t endpoint_id[16];
	uint8_t service_id[16];
} WIRE_PACKED;
static_assert(sizeof(struct vmbus_tl_connect_request) == 40, "tl connect request");

/* Source: OpenVMM protocol.rs TlConnectResult; Linux 6.1 ignores it. */
struct vmbus_tl_connect_result {
	struct vmbus_message_header header;
	uint8_t endpoint_id[16];
	uint8_t service_id[16];
	uint32_t status;
} WIRE_PACKED;
static_assert(sizeof(struct vmbus_tl_connect_result) == 44, "tl connect result");

struct vmbus_modify_channel {
	struct vmbus_message_header header;
	uint32_t relid;
	uint32_t target_vp;
} WIRE_PACKED;
static_assert(sizeof(struct vmbus_modify_channel) == 16, "modify channel");

struct vmbus_modify_channel_response {
	struct vmbus_message_header header;
	uint32_t relid;
	uint32_t status;
} WIRE_PACKED;
static_assert(sizeof(struct vmbus_modify_channel_response) == 16, "modify channel response");

/* ---- Rings: struct hv_ring_buffer ---- */

#define VMBUS_RING_FEATURE_PENDING_SEND_SIZE UINT32_C(1)

/* The control page of one direction; the data area begins on the next page. The sender owns
 * write_index and pending_send_size, the receiver read_index and interrupt_mask. */
struct vmbus_ring_control {
	uint32_t write_index; /* bytes into the data area */
	uint32_t read_index;
	uint32_t interrupt_mask;    /* nonzero: the receiver wants no signal when data arrives */
	uint32_t pending_send_size; /* nonzero: the sender wants a signal when more than this many
				       bytes are free */
	uint32_t reserved[12];
	uint32_t feature_bits;
	uint8_t reserved2[4096 - 68];
};
static_assert(sizeof(struct vmbus_ring_control) == 4096, "ring control page");
static_assert(offsetof(struct vmbus_ring_control, interrupt_mask) == 8, "ring control page");
static_assert(offsetof(struct vmbus_ring_control, pending_send_size) == 12, "ring control page");
static_assert(offsetof(struct vmbus_ring_control, feature_bits) == 64, "ring control page");

/* ---- Packets: struct vmpacket_descriptor and what follows it ---- */

struct vmbus_packet_descriptor {
	uint16_t type;
	uint16_t offset8; /* of the payload, in 8-byte units, from the descriptor */
	uint16_t length8; /* of descriptor and payload, in 8-byte units; the trailer is not counted
			   */
	uint16_t flags;
	uint64_t transaction_id;
} WIRE_PACKED;
static_assert(sizeof(struct vmbus_packet_descriptor) == 16, "packet descriptor");

/* After the descriptor of a transfer-page packet; then range_count of {u32 byte_count, u32
 * byte_offset}. */
struct vmbus_transfer_page_header {
	uint16_t set_id;
	uint8_t sender_owns_set;
	uint8_t reserved;
	uint32_t range_count;
} WIRE_PACKED;
static_assert(sizeof(struct vmbus_transfer_page_header) == 8, "transfer page header");

/* After the descriptor of a GPA-direct packet; then range_count of {u32 byte_count, u32
 * byte_offset, u64 gpn[]}. */
struct vmbus_gpa_direct_header {
	uint32_t reserved;
	uint32_t range_count;
} WIRE_PACKED;
static_assert(sizeof(struct vmbus_gpa_direct_header) == 8, "gpa direct header");

/* After the payload: the packet's own start in the high half, 0 in the low one. */
#define VMBUS_PACKET_TRAILER_BYTES 8

/* ---- Interface types that Lunar offers or knows, in wire order ---- */

#define VMBUS_GUID(a, b, c, d0, d1, d2, d3, d4, d5, d6, d7)                                        \
	{                                                                                          \
		(uint8_t)((a)&0xff), (uint8_t)((a) >> 8 & 0xff), (uint8_t)((a) >> 16 & 0xff),      \
			(uint8_t)((a) >> 24 & 0xff), (uint8_t)((b)&0xff), (uint8_t)((b) >> 8),     \
			(uint8_t)((c)&0xff), (uint8_t)((c) >> 8), d0, d1, d2, d3, d4, d5, d6, d7   \
	}
/* f8615163-df3e-46c5-913f-f2d2f965ed0e */
#define VMBUS_INTERFACE_NIC                                                                        \
	VMBUS_GUID(0xf8615163u, 0xdf3eu, 0x46c5u, 0x91, 0x3f, 0xf2, 0xd2, 0xf9, 0x65, 0xed, 0x0e)
/* ba6163d9-04a1-4d29-b605-72e2ffb1dc7f */
#define VMBUS_INTERFACE_SCSI                                                                       \
	VMBUS_GUID(0xba6163d9u, 0x04a1u, 0x4d29u, 0xb6, 0x05, 0x72, 0xe2, 0xff, 0xb1, 0xdc, 0x7f)
/* 0e0b6031-5213-4934-818b-38d90ced39db */
#define VMBUS_INTERFACE_SHUTDOWN                                                                   \
	VMBUS_GUID(0x0e0b6031u, 0x5213u, 0x4934u, 0x81, 0x8b, 0x38, 0xd9, 0x0c, 0xed, 0x39, 0xdb)
/* 57164f39-9115-4e78-ab55-382f3bd5422d */
#define VMBUS_INTERFACE_HEARTBEAT                                                                  \
	VMBUS_GUID(0x57164f39u, 0x9115u, 0x4e78u, 0xab, 0x55, 0x38, 0x2f, 0x3b, 0xd5, 0x42, 0x2d)

#endif
