/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The table: what each half byte of the input adds to the hash.
 */
#include "nlb/nlb_toeplitz.h"

#include <string.h>

#include "base/bytes.h"

const uint8_t nlb_toeplitz_default_key[NLB_TOEPLITZ_KEY_BYTES] = {
	0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3,
	0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3,
	0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa};

/* The 32 bits of the key that begin at a bit; bit: at most 8 * INPUT_BYTES - 1. */
static uint32_t key_window(const uint8_t *key, uint32_t bit)
{
	uint64_t window = (uint64_t)get_be32(key + bit / 8) << 8 | key[bit / 8 + 4];

	return (uint32_t)(window >> (8 - bit % 8));
}

void nlb_toeplitz_init(struct nlb_toeplitz *toeplitz, const uint8_t key[NLB_TOEPLITZ_KEY_BYTES])
{
	memset(toeplitz, 0, sizeof(*toeplitz));
	for (uint32_t nibble = 0; nibble < 2 * NLB_TOEPLITZ_INPUT_BYTES; nibble++)
		for (uint32_t value = 0; value < 16; value++)
			for (uint32_t bit = 0; bit < 4; bit++)
				if (value & 8u >> bit)
					toeplitz->nibbles[nibble][value] ^=
						key_window(key, 4 * nibble + bit);
}
