/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A table of connections as plain as can be: an array, searched from its beginning.
 */
#ifndef LUNAR_TESTS_UNIT_NLB_PLAIN_CONNECTIONS_H
#define LUNAR_TESTS_UNIT_NLB_PLAIN_CONNECTIONS_H

#include "nlb/nlb_connections.h"

#define PLAIN_MAX 256u

struct plain_connections {
	uint32_t limit; /* at most PLAIN_MAX */
	uint32_t count;
	bool used[PLAIN_MAX];
	struct nlb_connection_key keys[PLAIN_MAX];
	struct nlb_connection connections[PLAIN_MAX];
};

/* Empties it. Returns it as the filter wants it. */
struct nlb_connections plain_connections_init(struct plain_connections *plain, uint32_t limit);

#endif
