/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Parses and builds the fixed-size structures of a VHD.
 */
#include "storvsp/vhd_format.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "storvsp/vhd_locator.h"

#define FOOTER_COOKIE	     "conectix"
#define HEADER_COOKIE	     "cxsparse"
#define COOKIE_BYTES	     8
#define FORMAT_VERSION	     0x00010000u
#define FEATURE_RESERVED     2u /* always set */
#define FOOTER_CHECKSUM_AT   64u
#define HEADER_CHECKSUM_AT   36u
#define HEADER_NAME_AT	     64u
#define HEADER_LOCATORS_AT   576u
#define LOCATOR_BYTES	     24u
#define GEOMETRY_MAX_SECTORS (65535u * 16 * 255)

int vhd_fail(struct vhd_error *error, int rc, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(error->message, sizeof(error->message), format, args);
	va_end(args);
	return rc;
}

uint32_t vhd_checksum(const uint8_t *bytes, size_t length, size_t checksum_at)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < length; i++)
		if (i < checksum_at || i >= checksum_at + 4)
			sum += bytes[i];
	return ~sum;
}

void vhd_footer_seal(uint8_t bytes[VHD_FOOTER_BYTES])
{
	put_be32(bytes + FOOTER_CHECKSUM_AT,
		 vhd_checksum(bytes, VHD_FOOTER_BYTES, FOOTER_CHECKSUM_AT));
}

void vhd_header_seal(uint8_t bytes[VHD_HEADER_BYTES])
{
	put_be32(bytes + HEADER_CHECKSUM_AT,
		 vhd_checksum(bytes, VHD_HEADER_BYTES, HEADER_CHECKSUM_AT));
}

bool vhd_footer_has_cookie(const uint8_t bytes[VHD_FOOTER_BYTES])
{
	return memcmp(bytes, FOOTER_COOKIE, COOKIE_BYTES) == 0;
}

static int check_sum(const uint8_t *bytes, size_t length, size_t checksum_at, const char *what,
		     uint64_t at, struct vhd_error *error)
{
	uint32_t said = get_be32(bytes + checksum_at);
	uint32_t is = vhd_checksum(bytes, length, checksum_at);

	if (said != is)
		return vhd_fail(error, -EINVAL,
				"offset %" PRIu64
				", %s checksum: 0x%08x, but its bytes give 0x%08x",
				at + checksum_at, what, said, is);
	return 0;
}

static int check_footer(const struct vhd_footer *footer, uint64_t at, struct vhd_error *error)
{
	if (footer->type != VHD_FIXED && footer->type != VHD_DYNAMIC &&
	    footer->type != VHD_DIFFERENCING)
		return vhd_fail(error, -EINVAL,
				"offset %" PRIu64
				", footer disk type: %u; 2 (fixed), 3 (dynamic) or "
				"4 (differencing) is known",
				at + 60, (unsigned int)footer->type);
	if (footer->size_bytes == 0 || footer->size_bytes % VHD_SECTOR_BYTES != 0)
		return vhd_fail(error, -EINVAL,
				"offset %" PRIu64 ", footer current size: %" PRIu64
				" is no multiple of 512",
				at + VHD_FOOTER_SIZE_AT, footer->size_bytes);
	if (footer->size_bytes > VHD_MAX_BYTES)
		return vhd_fail(error, -EFBIG,
				"offset %" PRIu64 ", footer current size: %" PRIu64
				" bytes; a VHD holds at most 2040 GiB",
				at + VHD_FOOTER_SIZE_AT, footer->size_bytes);
	if (footer->type != VHD_FIXED &&
	    (footer->header_offset % VHD_SECTOR_BYTES != 0 ||
	     footer->header_offset < VHD_FOOTER_BYTES || footer->header_offset > VHD_MAX_BYTES))
		return vhd_fail(error, -EINVAL,
				"offset %" PRIu64 ", footer data offset: 0x%" PRIx64
				" is no place for a header",
				at + 16, footer->header_offset);
	return 0;
}

int vhd_footer_parse(const uint8_t bytes[VHD_FOOTER_BYTES], uint64_t at, struct vhd_footer *out,
		     struct vhd_error *error)
{
	struct vhd_footer footer = {.features = get_be32(bytes + 8)};
	int rc;

	if (!vhd_footer_has_cookie(bytes))
		return vhd_fail(error, -EINVAL,
				"offset %" PRIu64 ", footer cookie: not \"" FOOTER_COOKIE "\"", at);
	rc = check_sum(bytes, VHD_FOOTER_BYTES, FOOTER_CHECKSUM_AT, "footer", at, error);
	if (rc)
		return rc;
	if (get_be16(bytes + 12) != FORMAT_VERSION >> 16)
		return vhd_fail(error, -EINVAL,
				"offset %" PRIu64 ", footer format version: %u.%u; 1.0 is known",
				at + 12, get_be16(bytes + 12), get_be16(bytes + 14));
	footer.header_offset = get_be64(bytes + 16);
	footer.timestamp = get_be32(bytes + 24);
	memcpy(footer.creator, bytes + 28, sizeof(footer.creator));
	footer.creator_version = get_be32(bytes + 32);
	memcpy(footer.creator_os, bytes + 36, sizeof(footer.creator_os));
	footer.original_bytes = get_be64(bytes + 40);
	footer.size_bytes = get_be64(bytes + VHD_FOOTER_SIZE_AT);
	footer.cylinders = get_be16(bytes + 56);
	footer.heads = bytes[58];
	footer.sectors = bytes[59];
	footer.type = (enum vhd_type)get_be32(bytes + 60);
	memcpy(footer.id, bytes + 68, sizeof(footer.id));
	footer.saved_state = bytes[84];
	rc = check_footer(&footer, at, error);
	if (rc)
		return rc;
	*out = footer;
	return 0;
}

void vhd_footer_build(const struct vhd_footer *footer, uint8_t bytes[VHD_FOOTER_BYTES])
{
	memset(bytes, 0, VHD_FOOTER_BYTES);
	memcpy(bytes, FOOTER_COOKIE, COOKIE_BYTES);
	put_be32(bytes + 8, footer->features | FEATURE_RESERVED);
	put_be32(bytes + 12, FORMAT_VERSION);
	put_be64(bytes + 16, footer->header_offset);
	put_be32(bytes + 24, footer->timestamp);
	memcpy(bytes + 28, footer->creator, sizeof(footer->creator));
	put_be32(bytes + 32, footer->creator_version);
	memcpy(bytes + 36, footer->creator_os, sizeof(footer->creator_os));
	put_be64(bytes + 40, footer->original_bytes);
	put_be64(bytes + VHD_FOOTER_SIZE_AT, footer->size_bytes);
	put_be16(bytes + 56, footer->cylinders);
	bytes[58] = footer->heads;
	bytes[59] = footer->sectors;
	put_be32(bytes + 60, footer->type);
	memcpy(bytes + 68, footer->id, sizeof(footer->id));
	bytes[84] = footer->saved_state;
	vhd_footer_seal(bytes);
}

/* ---- header ---- */

/* Some writers give the space in sectors, as the specification has it, some in bytes. */
static uint32_t locator_space(uint32_t said, uint32_t length)
{
	uint64_t space = said;

	if (said < length)
		space = (uint64_t)said * VHD_SECTOR_BYTES;
	if (space < length)
		space = length;
	return space > UINT32_MAX ? UINT32_MAX : (uint32_t)space;
}

static int parse_locators(const uint8_t *bytes, uint64_t at, struct vhd_header *header,
			  struct vhd_error *error)
{
	for (unsigned int i = 0; i < VHD_LOCATORS; i++) {
		const uint8_t *from = bytes + HEADER_LOCATORS_AT + (size_t)i * LOCATOR_BYTES;
		struct vhd_locator *locator = &header->locators[i];

		if (get_be32(from) == 0)
			continue;
		locator->code = get_be32(from);
		locator->length = get_be32(from + 8);
		locator->space = locator_space(get_be32(from + 4), locator->length);
		locator->offset = get_be64(from + 16);
		if (locator->length > VHD_LOCATOR_MAX_BYTES)
			return vhd_fail(error, -EINVAL,
					"offset %" PRIu64
					", header parent locator %u: a path of %u bytes",
					at + HEADER_LOCATORS_AT + i * LOCATOR_BYTES + 8, i,
					locator->length);
		if (locator->offset > UINT64_MAX / 2)
			return vhd_fail(error, -EINVAL,
					"offset %" PRIu64
					", header parent locator %u: data offset 0x%" PRIx64,
					at + HEADER_LOCATORS_AT + i * LOCATOR_BYTES + 16, i,
					locator->offset);
	}
	return 0;
}

static int check_header(const struct vhd_header *header, uint64_t at, uint64_t size_bytes,
			struct vhd_error *error)
{
	uint32_t block = header->block_bytes;

	if (block < VHD_MIN_BLOCK_BYTES || block > VHD_MAX_BLOCK_BYTES || (block & (block - 1)))
		return vhd_fail(error, -EINVAL,
				"offset %" PRIu64 ", header block size: %u is no power of two from "
				"4 KiB to 256 MiB",
				at + 32, block);
	if (header->table_entries > VHD_MAX_TABLE_ENTRIES)
		return vhd_fail(error, -EINVAL,
				"offset %" PRIu64 ", header max table entries: %u is absurd",
				at + VHD_HEADER_ENTRIES_AT, header->table_entries);
	if (header->table_entries < vhd_block_count(size_bytes, block))
		return vhd_fail(error, -EINVAL,
				"offset %" PRIu64 ", header max table entries: %u blocks of %u "
				"bytes are less than the disk's %" PRIu64 " bytes",
				at + VHD_HEADER_ENTRIES_AT, header->table_entries, block,
				size_bytes);
	if (header->table_offset % VHD_SECTOR_BYTES != 0 ||
	    header->table_offset < VHD_FOOTER_BYTES || header->table_offset > UINT64_MAX / 2)
		return vhd_fail(error, -EINVAL,
				"offset %" PRIu64 ", header table offset: 0x%" PRIx64
				" is no place for the block allocation table",
				at + VHD_HEADER_TABLE_AT, header->table_offset);
	return 0;
}

int vhd_header_parse(const uint8_t bytes[VHD_HEADER_BYTES], uint64_t at, uint64_t size_bytes,
		     struct vhd_header *out, struct vhd_error *error)
{
	struct vhd_header header = {.table_offset = get_be64(bytes + VHD_HEADER_TABLE_AT)};
	int rc;

	if (memcmp(bytes, HEADER_COOKIE, COOKIE_BYTES) != 0)
		return vhd_fail(error, -EINVAL,
				"offset %" PRIu64 ", header cookie: not \"" HEADER_COOKIE "\"", at);
	rc = check_sum(bytes, VHD_HEADER_BYTES, HEADER_CHECKSUM_AT, "header", at, error);
	if (rc)
		return rc;
	if (get_be16(bytes + 24) != FORMAT_VERSION >> 16)
		return vhd_fail(error, -EINVAL,
				"offset %" PRIu64 ", header version: %u.%u; 1.0 is known", at + 24,
				get_be16(bytes + 24), get_be16(bytes + 26));
	header.table_entries = get_be32(bytes + VHD_HEADER_ENTRIES_AT);
	header.block_bytes = get_be32(bytes + 32);
	memcpy(header.parent_id, bytes + 40, sizeof(header.parent_id));
	header.parent_timestamp = get_be32(bytes + VHD_HEADER_PARENT_TIME_AT);
	vhd_utf16be_to_utf8(bytes + HEADER_NAME_AT, VHD_NAME_UNITS, header.parent_name,
			    sizeof(header.parent_name));
	rc = parse_locators(bytes, at, &header, error);
	if (rc == 0)
		rc = check_header(&header, at, size_bytes, error);
	if (rc)
		return rc;
	*out = header;
	return 0;
}

void vhd_header_build(const struct vhd_header *header, uint8_t bytes[VHD_HEADER_BYTES])
{
	memset(bytes, 0, VHD_HEADER_BYTES);
	memcpy(bytes, HEADER_COOKIE, COOKIE_BYTES);
	put_be64(bytes + 8, UINT64_MAX);
	put_be64(bytes + VHD_HEADER_TABLE_AT, header->table_offset);
	put_be32(bytes + 24, FORMAT_VERSION);
	put_be32(bytes + VHD_HEADER_ENTRIES_AT, header->table_entries);
	put_be32(bytes + 32, header->block_bytes);
	memcpy(bytes + 40, header->parent_id, sizeof(header->parent_id));
	put_be32(bytes + VHD_HEADER_PARENT_TIME_AT, header->parent_timestamp);
	vhd_utf8_to_utf16be(header->parent_name, bytes + HEADER_NAME_AT, VHD_NAME_UNITS);
	for (unsigned int i = 0; i < VHD_LOCATORS; i++) {
		uint8_t *to = bytes + HEADER_LOCATORS_AT + (size_t)i * LOCATOR_BYTES;
		const struct vhd_locator *locator = &header->locators[i];

		put_be32(to, locator->code);
		put_be32(to + 4, locator->space);
		put_be32(to + 8, locator->length);
		put_be64(to + 16, locator->offset);
	}
	vhd_header_seal(bytes);
}

/* ---- geometry, bitmaps ---- */

/* Appendix "CHS Calculation". */
void vhd_geometry(uint64_t size_bytes, uint16_t *cylinders, uint8_t *heads, uint8_t *sectors)
{
	uint64_t wanted = size_bytes / VHD_SECTOR_BYTES;
	uint32_t total = wanted > GEOMETRY_MAX_SECTORS ? GEOMETRY_MAX_SECTORS : (uint32_t)wanted;
	uint32_t per_track = 255, tracks, head_count = 16;

	if (total >= 65535u * 16 * 63) {
		tracks = total / per_track;
	} else {
		per_track = 17;
		tracks = total / per_track;
		head_count = (tracks + 1023) / 1024;
		if (head_count < 4)
			head_count = 4;
		if (tracks >= head_count * 1024 || head_count > 16) {
			per_track = 31;
			head_count = 16;
			tracks = total / per_track;
		}
		if (tracks >= head_count * 1024) {
			per_track = 63;
			head_count = 16;
			tracks = total / per_track;
		}
	}
	*cylinders = (uint16_t)(tracks / head_count);
	*heads = (uint8_t)head_count;
	*sectors = (uint8_t)per_track;
}

uint64_t vhd_geometry_bytes(const struct vhd_footer *footer)
{
	return (uint64_t)footer->cylinders * footer->heads * footer->sectors * VHD_SECTOR_BYTES;
}

uint32_t vhd_block_count(uint64_t size_bytes, uint32_t block_bytes)
{
	return (uint32_t)((size_bytes + block_bytes - 1) / block_bytes);
}

uint32_t vhd_bitmap_bytes(uint32_t block_bytes)
{
	return (uint32_t)align_up(block_bytes / VHD_SECTOR_BYTES / 8, VHD_SECTOR_BYTES);
}

bool vhd_bitmap_get(const uint8_t *bitmap, uint32_t sector)
{
	return (bitmap[sector / 8] & 0x80u >> sector % 8) != 0;
}

bool vhd_bitmap_set(uint8_t *bitmap, uint32_t sector, uint32_t count)
{
	bool changed = false;

	for (uint32_t i = sector; i < sector + count; i++) {
		if (i % 8 == 0 && sector + count - i >= 8) {
			changed |= bitmap[i / 8] != 0xff;
			bitmap[i / 8] = 0xff;
			i += 7;
			continue;
		}
		changed |= !vhd_bitmap_get(bitmap, i);
		bitmap[i / 8] = (uint8_t)(bitmap[i / 8] | 0x80u >> i % 8);
	}
	return changed;
}

uint32_t vhd_bitmap_run(const uint8_t *bitmap, uint32_t sector, uint32_t count)
{
	bool bit = vhd_bitmap_get(bitmap, sector);
	uint8_t whole = bit ? 0xff : 0;
	uint32_t i = sector;

	while (i < sector + count) {
		if (i % 8 == 0 && sector + count - i >= 8 && bitmap[i / 8] == whole)
			i += 8;
		else if (vhd_bitmap_get(bitmap, i) == bit)
			i++;
		else
			break;
	}
	return i - sector;
}

bool vhd_bitmap_is_full(const uint8_t *bitmap, uint32_t count)
{
	return vhd_bitmap_get(bitmap, 0) && vhd_bitmap_run(bitmap, 0, count) == count;
}

uint32_t vhd_time(int64_t unix_seconds)
{
	int64_t time = unix_seconds - VHD_EPOCH_UNIX;

	return time < 0 ? 0 : time > UINT32_MAX ? UINT32_MAX : (uint32_t)time;
}

const char *vhd_type_name(enum vhd_type type)
{
	switch (type) {
	case VHD_FIXED:
		return "fixed";
	case VHD_DYNAMIC:
		return "dynamic";
	case VHD_DIFFERENCING:
		return "differencing";
	}
	return "unknown";
}
