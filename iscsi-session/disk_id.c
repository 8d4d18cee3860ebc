/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * FNV-1a (64 bit) over names: well spread, and not meant to resist anybody, since names are public.
 */
#include "iscsi-session/disk_id.h"

#include <stdio.h>

#define FNV_BASIS UINT64_C(0xcbf29ce484222325)
#define FNV_PRIME UINT64_C(0x100000001b3)

/* The final zero is hashed too: it keeps "ab" + "c" apart from "a" + "bc". */
static uint64_t hash_text(uint64_t hash, const char *text)
{
	do {
		hash = (hash ^ (uint8_t)*text) * FNV_PRIME;
	} while (*text++ != '\0');
	return hash;
}

void disk_id_make(const char *target, uint16_t lun, char id[DISK_ID_LENGTH + 1])
{
	char number[8];
	uint64_t hash;

	snprintf(number, sizeof(number), "%u", lun);
	hash = hash_text(hash_text(FNV_BASIS, target), number);
	hash ^= hash >> 48;
	snprintf(id, DISK_ID_LENGTH + 1, "%012llx",
		 (unsigned long long)(hash & UINT64_C(0xffffffffffff)));
}

uint32_t disk_isid_random(const char *initiator_name, const char *target)
{
	uint64_t hash = hash_text(hash_text(FNV_BASIS, initiator_name), target);

	hash ^= hash >> 48 ^ hash >> 24;
	return (uint32_t)(hash & 0xffffff);
}
