/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Integration components: the messages that host and guest exchange on the channels of the shutdown
 * and heartbeat services. Each is one in-band packet: pipe header, message header, body. Packed,
 * little-endian. Source: observed, Linux 6.1 include/linux/hyperv.h and drivers/hv/hv_util.c; what
 * the host sends: OpenVMM hyperv_ic_protocol.
 */
#ifndef LUNAR_WIRE_IC_H
#define LUNAR_WIRE_IC_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/vmbus.h"

#define IC_PIPE_DATA 1 /* pipe header's type of a whole message */

struct ic_version {
	uint16_t major;
	uint16_t minor;
};
static_assert(sizeof(struct ic_version) == 4, "ic version");

enum ic_message_type {
	IC_NEGOTIATE = 0,
	IC_HEARTBEAT = 1,
	IC_SHUTDOWN = 3,
};

#define IC_FLAG_TRANSACTION 1
#define IC_FLAG_REQUEST	    2
#define IC_FLAG_RESPONSE    4

#define IC_STATUS_OK   UINT32_C(0)
#define IC_STATUS_FAIL UINT32_C(0x80004005)

/* struct vmbuspipe_hdr and struct icmsg_hdr. */
struct ic_header {
	uint32_t pipe_type;
	uint32_t pipe_bytes; /* of what follows */
	struct ic_version framework;
	uint16_t type;
	struct ic_version message;
	uint16_t body_bytes;
	uint32_t status;
	uint8_t transaction_id;
	uint8_t flags;
	uint8_t reserved[2];
} WIRE_PACKED;
static_assert(sizeof(struct ic_header) == 28, "ic header");
static_assert(offsetof(struct ic_header, type) == 12, "ic header");
static_assert(offsetof(struct ic_header, body_bytes) == 18, "ic header");
static_assert(offsetof(struct ic_header, flags) == 25, "ic header");

/* Followed by framework_count and message_count versions; an answer names one of each, or none. */
struct ic_negotiate {
	uint16_t framework_count;
	uint16_t message_count;
	uint32_t reserved;
} WIRE_PACKED;
static_assert(sizeof(struct ic_negotiate) == 8, "ic negotiate");

/* The guest answers with the sequence number plus one. */
struct ic_heartbeat_body {
	uint64_t sequence;
	uint32_t reserved[8];
} WIRE_PACKED;
static_assert(sizeof(struct ic_heartbeat_body) == 40, "heartbeat");

#define IC_SHUTDOWN_FORCE	   1u
#define IC_SHUTDOWN_RESTART	   2u
#define IC_SHUTDOWN_REASON_PLANNED UINT32_C(0x80000000)

struct ic_shutdown_body {
	uint32_t reason;
	uint32_t timeout_seconds;
	uint32_t flags;
	uint8_t text[2048];
} WIRE_PACKED;
static_assert(sizeof(struct ic_shutdown_body) == 2060, "shutdown");

/* Instances, as Hyper-V has them: one of each a machine. */
/* b6650ff7-33bc-4840-8048-e0676786f393 */
#define IC_SHUTDOWN_INSTANCE                                                                       \
	VMBUS_GUID(0xb6650ff7u, 0x33bcu, 0x4840u, 0x80, 0x48, 0xe0, 0x67, 0x67, 0x86, 0xf3, 0x93)
/* fd149e91-82e0-4a7d-afa6-2a4166cbd7c0 */
#define IC_HEARTBEAT_INSTANCE                                                                      \
	VMBUS_GUID(0xfd149e91u, 0x82e0u, 0x4a7du, 0xaf, 0xa6, 0x2a, 0x41, 0x66, 0xcb, 0xd7, 0xc0)

#endif
