/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Content of blocks, see block_pattern.h. The payload is what splitmix64 gives, seeded by block and
 * generation; its sum in the header is redundant, and tells a torn block from one that is merely
 * old.
 */
#include <string.h>

#include "tests/tools/block_pattern.h"

#define MAGIC	    0x796669726576316cULL
#define WORDS	    (BLOCK_BYTES / sizeof(uint64_t))
#define HEAD_WORDS  4
#define FNV_OFFSET  0xcbf29ce484222325ULL
#define FNV_PRIME   0x100000001b3ULL
#define GOLDEN_STEP 0x9e3779b97f4a7c15ULL

static uint64_t mix(uint64_t value)
{
	value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9ULL;
	value = (value ^ (value >> 27)) * 0x94d049bb133111ebULL;
	return value ^ (value >> 31);
}

void block_fill(void *data, uint64_t block, uint32_t generation)
{
	uint64_t *words = data;
	uint64_t state = mix(block * GOLDEN_STEP + generation);
	uint64_t sum = 0;

	for (size_t i = HEAD_WORDS; i < WORDS; i++) {
		state += GOLDEN_STEP;
		words[i] = mix(state);
		sum = sum * FNV_PRIME + words[i];
	}
	words[0] = MAGIC;
	words[1] = block;
	words[2] = generation;
	words[3] = sum;
}

uint32_t block_generation(const void *data, uint64_t block)
{
	static const uint64_t zeros[WORDS];
	uint64_t expected[WORDS];
	const uint64_t *words = data;

	if (words[0] == 0 && memcmp(data, zeros, BLOCK_BYTES) == 0)
		return GENERATION_NONE;
	if (words[0] != MAGIC || words[1] != block || words[2] == GENERATION_NONE ||
	    words[2] >= GENERATION_WRONG)
		return GENERATION_WRONG;
	block_fill(expected, block, (uint32_t)words[2]);
	if (memcmp(data, expected, BLOCK_BYTES) != 0)
		return GENERATION_WRONG;
	return (uint32_t)words[2];
}

uint64_t block_table_digest(const uint32_t *generations, size_t count)
{
	uint64_t digest = FNV_OFFSET;

	for (size_t i = 0; i < count; i++)
		digest = (digest ^ generations[i]) * FNV_PRIME;
	return mix(digest);
}
