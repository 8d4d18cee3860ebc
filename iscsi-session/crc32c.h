/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * CRC32C (RFC 7143 13.1, Castagnoli), by the processor's instruction where it has one.
 */
#ifndef LUNAR_ISCSI_SESSION_CRC32C_H
#define LUNAR_ISCSI_SESSION_CRC32C_H

#include <stddef.h>
#include <stdint.h>

#define CRC32C_START 0xffffffffu

/* Continues a CRC that began as CRC32C_START. */
uint32_t crc32c_update(uint32_t crc, const void *bytes, size_t length);

/* The value to send, little-endian. */
static inline uint32_t crc32c_finish(uint32_t crc)
{
	return ~crc;
}

#endif
