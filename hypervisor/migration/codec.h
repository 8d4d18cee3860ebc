/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Compression of a batch of pages, and the look whether a page is zero. A codec belongs to one
 * thread.
 */
#ifndef LUNAR_HYPERVISOR_MIGRATION_CODEC_H
#define LUNAR_HYPERVISOR_MIGRATION_CODEC_H

#include <stdbool.h>
#include <stddef.h>

#include "hypervisor/migration/migration.h"

struct migration_codec;

/* Returns 0 or -ENOMEM. */
int migration_codec_create(struct migration_codec **codec);
/* Takes NULL. */
void migration_codec_destroy(struct migration_codec *codec);

/* Compresses from into to. Returns the length, or 0 where it would not fit into capacity (so that
 * capacity says what it must save to be worth it). Nobody changes from meanwhile. */
size_t migration_compress(struct migration_codec *codec, enum migration_compression compression,
			  const void *from, size_t length, void *to, size_t capacity);

/* Decompresses hostile bytes, which must make exactly to_length. Returns 0 or -EPROTO. */
int migration_decompress(struct migration_codec *codec, enum migration_compression compression,
			 const void *from, size_t length, void *to, size_t to_length);

/* Whether all 4096 bytes at page (aligned to 64) are zero. The guest may write meanwhile. */
bool migration_page_is_zero(const void *page);

#endif
