/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Receive-side scaling as the guest sets it: key, indirection table, hash types. The checked object
 * only; hashing is the data path's. Source: wire/rndis.h (struct ndis_rss_parameters).
 */
#ifndef LUNAR_NETVSP_RSS_H
#define LUNAR_NETVSP_RSS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/rndis.h"

struct rss_params {
	bool enabled;	     /* false: everything goes to the primary channel */
	uint32_t hash_types; /* NDIS_HASH_* that are to be hashed, without NDIS_HASH_TOEPLITZ */
	uint8_t key[NDIS_RSS_KEY_BYTES];
	uint16_t table_entries;			/* 1..128 when enabled; not always a power of two */
	uint16_t table[NDIS_RSS_TABLE_ENTRIES]; /* channel by (hash % table_entries); each < the
						   channel count then */
};

/* Disabled, Linux's default hash types, no key, no table. */
void rss_params_init(struct rss_params *params);

/*
 * Applies an OID_GEN_RECEIVE_SCALE_PARAMETERS value (a private copy) to params, which keep what the
 * guest marks as unchanged. channels: entries must be below it. Returns 0, or -EINVAL with params
 * unchanged: short, wrong object type, table or key out of bounds, table size not a multiple of 4
 * or more than 128 entries, empty table where RSS is to be enabled, key not 40 bytes, an entry past
 * the channels, a hash function that is not Toeplitz.
 */
int rss_params_apply(struct rss_params *params, const void *bytes, size_t length,
		     uint32_t channels);

/* The channel for a hash. 0 while disabled. */
static inline uint16_t rss_channel(const struct rss_params *params, uint32_t hash)
{
	if (!params->enabled)
		return 0;
	return params->table[hash % params->table_entries];
}

#endif
