/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The packet buffers of the data path: small ones for frames up to about 2 KB, large ones that hold
 * a whole LSO packet in one piece, and empty ones that point into others (segments made by
 * rte_gso).
 */
#ifndef LUNAR_NETVSP_MBUF_POOLS_H
#define LUNAR_NETVSP_MBUF_POOLS_H

#include <stddef.h>

#include <rte_mbuf.h>

#define MBUF_SMALL_ROOM		 2048u /* bytes of data after the headroom */
#define MBUF_LARGE_ROOM		 65280u /* an LSO packet of Linux is at most 62780 bytes and its headers */
#define MBUF_POOLS_MIN_MEGABYTES 64u

struct mbuf_pools {
	struct rte_mempool *small;
	struct rte_mempool *large;
	struct rte_mempool *indirect;
};

/* name: of this set of pools, at most 12 characters. Sizes the pools so that they take about half
 * of memory_megabytes, DPDK's whole. Returns 0, -EINVAL (less than MBUF_POOLS_MIN_MEGABYTES),
 * -ENOMEM or another -errno of rte_mempool. */
int mbuf_pools_create(const char *name, unsigned int memory_megabytes, struct mbuf_pools *pools);
/* All buffers are back. Takes pools whose creation failed. */
void mbuf_pools_destroy(struct mbuf_pools *pools);

/* An empty buffer with room for length bytes in one piece; NULL where there is none left or length
 * is larger than MBUF_LARGE_ROOM. Worker's thread. */
static inline struct rte_mbuf *mbuf_pools_alloc(const struct mbuf_pools *pools, size_t length)
{
	if (length <= MBUF_SMALL_ROOM)
		return rte_pktmbuf_alloc(pools->small);
	return length <= MBUF_LARGE_ROOM ? rte_pktmbuf_alloc(pools->large) : NULL;
}

#endif
