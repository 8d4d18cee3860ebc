/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * CRC32C eight bytes at a time with SSE 4.2, else a byte at a time by table.
 */
#include "iscsi-session/crc32c.h"

#include <stdbool.h>
#include <string.h>

#define POLYNOMIAL 0x82f63b78u /* reflected */

static uint32_t update_by_table(uint32_t crc, const uint8_t *bytes, size_t length)
{
	static _Thread_local uint32_t table[256];

	if (table[1] == 0) {
		for (uint32_t i = 0; i < 256; i++) {
			uint32_t value = i;
			for (int bit = 0; bit < 8; bit++)
				value = (value & 1) != 0 ? value >> 1 ^ POLYNOMIAL : value >> 1;
			table[i] = value;
		}
	}
	while (length-- > 0)
		crc = crc >> 8 ^ table[(crc ^ *bytes++) & 0xff];
	return crc;
}

#ifdef __x86_64__
__attribute__((target("sse4.2"))) static uint32_t
update_by_instruction(uint32_t crc, const uint8_t *bytes, size_t length)
{
	uint64_t wide = crc;

	for (; length >= 8; length -= 8, bytes += 8) {
		uint64_t word;
		memcpy(&word, bytes, sizeof(word));
		wide = __builtin_ia32_crc32di(wide, word);
	}
	crc = (uint32_t)wide;
	while (length-- > 0)
		crc = __builtin_ia32_crc32qi(crc, *bytes++);
	return crc;
}
#endif

uint32_t crc32c_update(uint32_t crc, const void *bytes, size_t length)
{
#ifdef __x86_64__
	if (__builtin_cpu_supports("sse4.2"))
		return update_by_instruction(crc, bytes, length);
#endif
	return update_by_table(crc, bytes, length);
}
