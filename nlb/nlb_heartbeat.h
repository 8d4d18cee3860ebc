/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Heartbeats as bytes (wire/nlb.h), and their checked copy. The bytes that come are hostile. No
 * state, any thread.
 */
#ifndef LUNAR_NLB_NLB_HEARTBEAT_H
#define LUNAR_NLB_NLB_HEARTBEAT_H

#include <stddef.h>
#include <stdint.h>

#include "nlb/nlb_config.h"
#include "wire/nlb.h"

struct nlb_heartbeat_table {
	uint64_t held;
	uint64_t busy;
	uint8_t share;
};

struct nlb_heartbeat {
	uint8_t member;
	enum nlb_wire_state state;
	uint64_t cluster;
	uint64_t instance;
	uint64_t sequence;
	uint64_t revision;
	uint64_t digest;
	uint64_t view;
	uint32_t hears;
	uint32_t table_count;
	struct nlb_heartbeat_table tables[NLB_MAX_TABLES];
};

/* Returns the length, at most NLB_HEARTBEAT_MAX_BYTES. */
size_t nlb_heartbeat_write(const struct nlb_heartbeat *heartbeat,
			   uint8_t bytes[NLB_HEARTBEAT_MAX_BYTES]);

/* Returns 0 with all numbers within their bounds; -EPROTO: cut, or malformed; -EPROTONOSUPPORT: of
 * another version. */
int nlb_heartbeat_read(const uint8_t *bytes, size_t length, struct nlb_heartbeat *heartbeat);

#endif
