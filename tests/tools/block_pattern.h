/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a test writes into a block of a disk: a header that names the block and how often it was
 * written, and a payload that only that block in that generation has. So each block tells by itself
 * whether it is whole, whether it is where it belongs, and how old it is.
 */
#ifndef LUNAR_TESTS_TOOLS_BLOCK_PATTERN_H
#define LUNAR_TESTS_TOOLS_BLOCK_PATTERN_H

#include <stddef.h>
#include <stdint.h>

#define BLOCK_BYTES 4096

/* How often a block was written; 0 stands for a block of zeros, never written. */
#define GENERATION_NONE	 0
#define GENERATION_WRONG UINT32_MAX /* neither zeros nor what block_fill() makes for this block */

/* Makes the content of a block in a generation (1...). data: BLOCK_BYTES, aligned to 8. */
void block_fill(void *data, uint64_t block, uint32_t generation);
/* The generation that data has as the content of block, or GENERATION_WRONG. */
uint32_t block_generation(const void *data, uint64_t block);
/* What stands for a whole table of generations: equal for equal tables. */
uint64_t block_table_digest(const uint32_t *generations, size_t count);

#endif
