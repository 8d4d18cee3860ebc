/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * FNV-1a over what must be the same at two ends, number by number, so that no padding takes part.
 */
#ifndef LUNAR_NLB_NLB_INTERNAL_H
#define LUNAR_NLB_NLB_INTERNAL_H

#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

#define NLB_MIX_START UINT64_C(0xcbf29ce484222325)

static inline uint64_t nlb_mix(uint64_t hash, const uint8_t *bytes, size_t length)
{
	for (size_t i = 0; i < length; i++)
		hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3);
	return hash;
}

static inline uint64_t nlb_mix_number(uint64_t hash, uint64_t number)
{
	uint8_t bytes[8];

	put_le64(bytes, number);
	return nlb_mix(hash, bytes, sizeof(bytes));
}

#endif
