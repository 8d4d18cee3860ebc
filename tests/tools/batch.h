/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which blocks a batch of writes has follows from its seed and number, so that who knows how many
 * batches were flushed knows what an image must hold.
 */
#ifndef LUNAR_TESTS_TOOLS_BATCH_H
#define LUNAR_TESTS_TOOLS_BATCH_H

#include <stdint.h>

/* The block, of so many, that write number index (0...) of batch number number (1...) goes to. */
static inline uint64_t batch_block(uint64_t seed, uint32_t number, uint32_t index, uint64_t blocks)
{
	uint64_t value = seed ^ ((uint64_t)number << 32 | index);

	value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9ULL;
	value = (value ^ (value >> 27)) * 0x94d049bb133111ebULL;
	return (value ^ (value >> 31)) % blocks;
}

#endif
