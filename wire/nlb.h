/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The heartbeat of a load-balancing member, as the payload of an Ethernet frame on the cluster's
 * VLAN. Little-endian. A format of Lunar's own: Windows' hosts do not take part. Source:
 * nlb/nlb_member.h, docs/networking.md.
 *
 * The header, then table_count tables: the port rules in their order, then the default one. length
 * counts both; what follows (an Ethernet frame's padding) is ignored. Reserved bytes are sent as 0
 * and not looked at.
 */
#ifndef LUNAR_WIRE_NLB_H
#define LUNAR_WIRE_NLB_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#define NLB_HEARTBEAT_ETHER_TYPE   0x88b5 /* IEEE 802 local experimental: not NLB's own 0x886f */
#define NLB_HEARTBEAT_MAGIC	   0x424c4e4cu /* "LNLB" */
#define NLB_HEARTBEAT_VERSION	   1
#define NLB_HEARTBEAT_MAX_TABLES   33
#define NLB_HEARTBEAT_MAX_BYTES	   856
#define NLB_HEARTBEAT_HEADER_BYTES 64
#define NLB_HEARTBEAT_TABLE_BYTES  24

enum nlb_wire_state {
	NLB_WIRE_LEAVING = 0, /* holds nothing, and sends no more after this */
	NLB_WIRE_JOINING = 1, /* listens, and is to get nothing yet */
	NLB_WIRE_CONVERGING = 2,
	NLB_WIRE_CONVERGED = 3,
	NLB_WIRE_DRAINING = 4, /* is to get nothing any more */
	NLB_WIRE_STATE_COUNT,
};

struct nlb_wire_heartbeat {
	uint32_t magic;
	uint8_t version;
	uint8_t member; /* 1..32 */
	uint8_t state;	/* enum nlb_wire_state */
	uint8_t table_count;
	uint64_t cluster;  /* which one: of its first virtual address */
	uint64_t instance; /* of the member: another one each time that it starts, larger ones later
			    */
	uint64_t sequence; /* grows with each heartbeat of an instance */
	uint64_t revision; /* grows when its part, holdings or shares change, or whom it counts */
	uint64_t digest;   /* of the cluster's rules */
	uint64_t view;	/* of instance and revision of all members that it hears and that hear it */
	uint32_t hears; /* bit id - 1: heartbeats of that member get through to it */
	uint16_t length;
	uint16_t reserved;
};
static_assert(sizeof(struct nlb_wire_heartbeat) == NLB_HEARTBEAT_HEADER_BYTES, "on the wire");
static_assert(offsetof(struct nlb_wire_heartbeat, cluster) == 8, "on the wire");
static_assert(offsetof(struct nlb_wire_heartbeat, hears) == 56, "on the wire");

struct nlb_wire_table {
	uint64_t held; /* buckets, bit 0 the first; below bit 60 */
	uint64_t busy; /* buckets in which it has connections, held or not */
	uint8_t share; /* load weight, handling priority, or 0 */
	uint8_t reserved[7];
};
static_assert(sizeof(struct nlb_wire_table) == NLB_HEARTBEAT_TABLE_BYTES, "on the wire");
static_assert(NLB_HEARTBEAT_HEADER_BYTES + NLB_HEARTBEAT_MAX_TABLES * NLB_HEARTBEAT_TABLE_BYTES ==
		      NLB_HEARTBEAT_MAX_BYTES,
	      "fits into a frame of any network");

#endif
