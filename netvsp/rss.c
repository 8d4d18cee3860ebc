/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Checks a guest's RSS parameters. All or nothing: the new set is built aside and takes effect only
 * when all of it is good.
 */
#include "netvsp/rss.h"

#include <errno.h>

#include "base/bytes.h"

#define DEFAULT_HASH_TYPES                                                                         \
	(NDIS_HASH_IPV4 | NDIS_HASH_TCP_IPV4 | NDIS_HASH_IPV6 | NDIS_HASH_TCP_IPV6)
#define HASH_FUNCTION_MASK 0xffu

void rss_params_init(struct rss_params *params)
{
	*params = (struct rss_params){.hash_types = DEFAULT_HASH_TYPES};
}

static int table_read(struct rss_params *params, const uint8_t *bytes, size_t length,
		      const struct ndis_rss_parameters *wire, uint32_t channels)
{
	uint16_t table_bytes = le16toh(wire->table_bytes);
	uint32_t offset = le32toh(wire->table_offset);

	if (table_bytes == 0 || table_bytes % 4 || table_bytes > NDIS_RSS_TABLE_ENTRIES * 4 ||
	    !range_fits(offset, table_bytes, length))
		return -EINVAL;
	params->table_entries = table_bytes / 4;
	for (uint16_t i = 0; i < params->table_entries; i++) {
		uint32_t entry = get_le32(bytes + offset + (size_t)i * 4);

		if (entry >= channels)
			return -EINVAL;
		params->table[i] = (uint16_t)entry;
	}
	return 0;
}

static int key_read(struct rss_params *params, const uint8_t *bytes, size_t length,
		    const struct ndis_rss_parameters *wire)
{
	uint32_t offset = le32toh(wire->key_offset);

	if (le16toh(wire->key_bytes) != NDIS_RSS_KEY_BYTES ||
	    !range_fits(offset, NDIS_RSS_KEY_BYTES, length))
		return -EINVAL;
	memcpy(params->key, bytes + offset, NDIS_RSS_KEY_BYTES);
	return 0;
}

int rss_params_apply(struct rss_params *params, const void *bytes, size_t length, uint32_t channels)
{
	struct ndis_rss_parameters wire = {0};
	struct rss_params next = *params;
	uint32_t hash;
	uint16_t flags;
	int rc;

	if (length < NDIS_RSS_PARAMETERS_MIN_BYTES || channels > UINT16_MAX)
		return -EINVAL;
	memcpy(&wire, bytes, length < sizeof(wire) ? length : sizeof(wire));
	if (wire.header.type != NDIS_OBJECT_RSS_PARAMETERS)
		return -EINVAL;
	flags = le16toh(wire.flags);
	if (flags & NDIS_RSS_DISABLE) {
		params->enabled = false;
		return 0;
	}
	if (!(flags & NDIS_RSS_HASH_UNCHANGED)) {
		hash = le32toh(wire.hash);
		/* No hash function and no type is the other way to switch RSS off. */
		if (hash == 0) {
			params->enabled = false;
			return 0;
		}
		if ((hash & HASH_FUNCTION_MASK) != NDIS_HASH_TOEPLITZ)
			return -EINVAL;
		next.hash_types = hash & ~HASH_FUNCTION_MASK;
	}
	if (!(flags & NDIS_RSS_TABLE_UNCHANGED)) {
		rc = table_read(&next, bytes, length, &wire, channels);
		if (rc)
			return rc;
	}
	if (!(flags & NDIS_RSS_KEY_UNCHANGED)) {
		rc = key_read(&next, bytes, length, &wire);
		if (rc)
			return rc;
	}
	if (next.table_entries == 0)
		return -EINVAL;
	/* A kept table may come from a time with more channels. */
	for (uint16_t i = 0; i < next.table_entries; i++)
		if (next.table[i] >= channels)
			return -EINVAL;
	next.enabled = true;
	*params = next;
	return 0;
}
