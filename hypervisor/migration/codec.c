/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lz4, and zstd at its fastest ordinary level: a host that moves VMs has better things to do than
 * to compress well. See codec.h.
 */
#include "hypervisor/migration/codec.h"

#include <errno.h>
#include <lz4.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "vmbus/guest_memory.h"

#define ZSTD_LEVEL 1
#define LZ4_EFFORT 1 /* 1 is its default; larger is faster and worse */

/* The parts are made when they are first needed: most moves use one of them. */
struct migration_codec {
	void *lz4;
	ZSTD_CCtx *zstd_out;
	ZSTD_DCtx *zstd_in;
};

int migration_codec_create(struct migration_codec **codec)
{
	*codec = calloc(1, sizeof(**codec));
	return *codec ? 0 : -ENOMEM;
}

void migration_codec_destroy(struct migration_codec *codec)
{
	if (!codec)
		return;
	free(codec->lz4);
	ZSTD_freeCCtx(codec->zstd_out);
	ZSTD_freeDCtx(codec->zstd_in);
	free(codec);
}

static size_t lz4_compress(struct migration_codec *codec, const void *from, size_t length, void *to,
			   size_t capacity)
{
	int made;

	if (!codec->lz4)
		codec->lz4 = malloc((size_t)LZ4_sizeofState());
	if (!codec->lz4 || length > LZ4_MAX_INPUT_SIZE || capacity > LZ4_MAX_INPUT_SIZE)
		return 0;
	made = LZ4_compress_fast_extState(codec->lz4, from, to, (int)length, (int)capacity,
					  LZ4_EFFORT);
	return made > 0 ? (size_t)made : 0;
}

static size_t zstd_compress(struct migration_codec *codec, const void *from, size_t length,
			    void *to, size_t capacity)
{
	size_t made;

	if (!codec->zstd_out)
		codec->zstd_out = ZSTD_createCCtx();
	if (!codec->zstd_out)
		return 0;
	made = ZSTD_compressCCtx(codec->zstd_out, to, capacity, from, length, ZSTD_LEVEL);
	return ZSTD_isError(made) ? 0 : made;
}

size_t migration_compress(struct migration_codec *codec, enum migration_compression compression,
			  const void *from, size_t length, void *to, size_t capacity)
{
	switch (compression) {
	case MIGRATION_COMPRESSION_LZ4:
		return lz4_compress(codec, from, length, to, capacity);
	case MIGRATION_COMPRESSION_ZSTD:
		return zstd_compress(codec, from, length, to, capacity);
	case MIGRATION_COMPRESSION_NONE:
	default:
		return 0;
	}
}

static int zstd_decompress(struct migration_codec *codec, const void *from, size_t length, void *to,
			   size_t to_length)
{
	size_t made;

	if (!codec->zstd_in)
		codec->zstd_in = ZSTD_createDCtx();
	if (!codec->zstd_in)
		return -ENOMEM;
	made = ZSTD_decompressDCtx(codec->zstd_in, to, to_length, from, length);
	return !ZSTD_isError(made) && made == to_length ? 0 : -EPROTO;
}

int migration_decompress(struct migration_codec *codec, enum migration_compression compression,
			 const void *from, size_t length, void *to, size_t to_length)
{
	switch (compression) {
	case MIGRATION_COMPRESSION_NONE:
		if (length != to_length)
			return -EPROTO;
		memcpy(to, from, length);
		return 0;
	case MIGRATION_COMPRESSION_LZ4:
		if (length > LZ4_MAX_INPUT_SIZE || to_length > LZ4_MAX_INPUT_SIZE)
			return -EPROTO;
		return LZ4_decompress_safe(from, to, (int)length, (int)to_length) == (int)to_length
			       ? 0
			       : -EPROTO;
	case MIGRATION_COMPRESSION_ZSTD:
		return zstd_decompress(codec, from, length, to, to_length);
	default:
		return -EPROTO;
	}
}

/* A page that is not zero mostly shows within its first bytes; one that is zero has to be read
 * whole, in pieces that the compiler turns into vector loads. */
bool migration_page_is_zero(const void *page)
{
	const uint64_t *words = page;

	for (size_t i = 0; i < GUEST_PAGE_SIZE / sizeof(uint64_t); i += 16) {
		uint64_t any = 0;

		for (size_t j = 0; j < 16; j++)
			any |= words[i + j];
		if (any)
			return false;
	}
	return true;
}
