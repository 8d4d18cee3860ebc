/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The table in which a member's filter remembers TCP connections, so that they stay with the member
 * when their bucket goes to another one. The table itself is handed in, since a data path wants a
 * hash of its own, and tests a plain array. One table a member; the filter's thread makes all
 * calls.
 */
#ifndef LUNAR_NLB_NLB_CONNECTIONS_H
#define LUNAR_NLB_NLB_CONNECTIONS_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Compared as bytes: what is not used is 0. */
struct nlb_connection_key {
	uint8_t client[16];
	uint8_t server[16];
	uint16_t client_port;
	uint16_t server_port;
	uint8_t family;
	uint8_t reserved[3];
};
static_assert(sizeof(struct nlb_connection_key) == 40, "has no padding");

enum nlb_phase { NLB_OPENING, NLB_ESTABLISHED, NLB_CLOSING };

struct nlb_connection {
	uint64_t expires_ns;
	uint8_t phase; /* enum nlb_phase */
	uint8_t table; /* of the cluster, and the bucket in it */
	uint8_t bucket;
};

struct nlb_connection_ops {
	/* NULL: none. What is returned stays where it is until the next add or remove. */
	struct nlb_connection *(*find)(void *ctx, const struct nlb_connection_key *key);
	/* A new one, zeroed; NULL: the table is full. */
	struct nlb_connection *(*add)(void *ctx, const struct nlb_connection_key *key);
	void (*remove)(void *ctx, const struct nlb_connection_key *key);
	/* Goes round: the first one at *position or after it, with *position then behind it. NULL
	 * at the end, with *position 0. Removing what was returned disturbs nothing. */
	struct nlb_connection *(*next)(void *ctx, uint32_t *position,
				       struct nlb_connection_key *key);
};

struct nlb_connections {
	const struct nlb_connection_ops *ops;
	void *ctx;
};

#endif
