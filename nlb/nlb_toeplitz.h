/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The Toeplitz hash, by a table of half bytes: 4.5 KiB, two lookups a byte. One of our own, since
 * rte_thash's comes with DPDK's headers, which this folder does without, and takes a step for each
 * bit that is set. Checked with the values that Microsoft publishes ("Verifying the RSS Hash
 * Calculation"), with which every NIC is. A table does not change once made: any thread.
 */
#ifndef LUNAR_NLB_NLB_TOEPLITZ_H
#define LUNAR_NLB_NLB_TOEPLITZ_H

#include <stddef.h>
#include <stdint.h>

#define NLB_TOEPLITZ_KEY_BYTES	 40u
#define NLB_TOEPLITZ_INPUT_BYTES 36u

struct nlb_toeplitz {
	uint32_t nibbles[2 * NLB_TOEPLITZ_INPUT_BYTES][16];
};

/* The key of Microsoft's verification suite, which all members use. */
extern const uint8_t nlb_toeplitz_default_key[NLB_TOEPLITZ_KEY_BYTES];

void nlb_toeplitz_init(struct nlb_toeplitz *toeplitz, const uint8_t key[NLB_TOEPLITZ_KEY_BYTES]);

/* length: at most NLB_TOEPLITZ_INPUT_BYTES. */
static inline uint32_t nlb_toeplitz_hash(const struct nlb_toeplitz *toeplitz, const uint8_t *input,
					 size_t length)
{
	uint32_t hash = 0;

	for (size_t i = 0; i < length; i++)
		hash ^= toeplitz->nibbles[2 * i][input[i] >> 4] ^
			toeplitz->nibbles[2 * i + 1][input[i] & 15];
	return hash;
}

#endif
