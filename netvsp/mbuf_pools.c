/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Packet buffers: how many of each kind fit in DPDK's memory.
 */
#include "netvsp/mbuf_pools.h"

#include <errno.h>
#include <stdio.h>

#include <rte_errno.h>
#include <rte_lcore.h>

#define BYTES_A_MEGABYTE (1024u * 1024u)
#define SMALL_BYTES	 2560u /* about what one buffer takes, headers included */
#define LARGE_BYTES	 66048u
#define CACHE_SMALL	 256u
#define CACHE_LARGE	 32u
#define MAX_BUFFERS	 262144u

static struct rte_mempool *create_pool(const char *set, const char *kind, unsigned int count,
				       unsigned int cache, size_t room)
{
	char name[RTE_MEMPOOL_NAMESIZE];

	snprintf(name, sizeof(name), "%.12s_%s", set, kind);
	return rte_pktmbuf_pool_create(name, count, cache, 0,
				       room ? (uint16_t)(room + RTE_PKTMBUF_HEADROOM) : 0,
				       (int)SOCKET_ID_ANY);
}

int mbuf_pools_create(const char *name, unsigned int memory_megabytes, struct mbuf_pools *pools)
{
	unsigned int quarter_bytes;
	unsigned int small, large;

	if (memory_megabytes < MBUF_POOLS_MIN_MEGABYTES)
		return -EINVAL;
	if (memory_megabytes > 4096)
		memory_megabytes = 4096;
	quarter_bytes = memory_megabytes / 4 * BYTES_A_MEGABYTE;
	small = quarter_bytes / SMALL_BYTES;
	large = quarter_bytes / LARGE_BYTES;
	if (small > MAX_BUFFERS)
		small = MAX_BUFFERS;
	*pools = (struct mbuf_pools){0};
	pools->small = create_pool(name, "small", small, CACHE_SMALL, MBUF_SMALL_ROOM);
	if (pools->small)
		pools->large = create_pool(name, "large", large, CACHE_LARGE, MBUF_LARGE_ROOM);
	if (pools->large)
		pools->indirect = create_pool(name, "indirect", small, CACHE_SMALL, 0);
	if (!pools->indirect) {
		int err = rte_errno ? -rte_errno : -ENOMEM;

		mbuf_pools_destroy(pools);
		return err;
	}
	return 0;
}

void mbuf_pools_destroy(struct mbuf_pools *pools)
{
	rte_mempool_free(pools->indirect);
	rte_mempool_free(pools->large);
	rte_mempool_free(pools->small);
	*pools = (struct mbuf_pools){0};
}
