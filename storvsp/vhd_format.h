/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The bytes of a VHD: footer, header of dynamic and differencing images, geometry, checksums. Pure
 * functions on bytes, which may be anybody's: what is refused is told with its offset and field.
 * All fields are big-endian. Source: Virtual Hard Disk Image Format Specification 1.0.
 */
#ifndef LUNAR_STORVSP_VHD_FORMAT_H
#define LUNAR_STORVSP_VHD_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VHD_SECTOR_BYTES	512u
#define VHD_FOOTER_BYTES	512u
#define VHD_HEADER_BYTES	1024u
#define VHD_ID_BYTES		16u
#define VHD_LOCATORS		8u
#define VHD_MAX_BYTES		(UINT64_C(2040) << 30)
#define VHD_DEFAULT_BLOCK_BYTES (2u << 20)
#define VHD_MIN_BLOCK_BYTES	4096u
#define VHD_MAX_BLOCK_BYTES	(256u << 20)
#define VHD_MAX_TABLE_ENTRIES	(64u << 20) /* 256 MiB of table */
#define VHD_UNUSED		UINT32_MAX  /* in the table: no block */
#define VHD_NO_HEADER		UINT64_MAX
#define VHD_NAME_UNITS		256u /* UTF-16 units of the parent's name */
#define VHD_NAME_BYTES		(VHD_NAME_UNITS * 3 + 1)
#define VHD_EPOCH_UNIX		946684800 /* 2000-01-01 UTC */
#define VHD_MESSAGE_BYTES	512

/* Field offsets that are written in place. */
#define VHD_FOOTER_SIZE_AT	  48u
#define VHD_HEADER_TABLE_AT	  16u
#define VHD_HEADER_ENTRIES_AT	  28u
#define VHD_HEADER_PARENT_TIME_AT 56u

enum vhd_type {
	VHD_FIXED = 2,
	VHD_DYNAMIC = 3,
	VHD_DIFFERENCING = 4,
};

/* One line for the user. */
struct vhd_error {
	char message[VHD_MESSAGE_BYTES];
};

/* Fills the message and returns rc, so that callers write return vhd_fail(...). */
int vhd_fail(struct vhd_error *error, int rc, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

struct vhd_footer {
	uint32_t features;
	uint64_t header_offset; /* VHD_NO_HEADER: fixed */
	uint32_t timestamp;	/* seconds since 2000 */
	char creator[4];
	uint32_t creator_version;
	char creator_os[4];
	uint64_t original_bytes;
	uint64_t size_bytes; /* what the guest sees; the geometry may say less */
	uint16_t cylinders;
	uint8_t heads;
	uint8_t sectors;
	enum vhd_type type;
	uint8_t id[VHD_ID_BYTES];
	uint8_t saved_state;
};

struct vhd_locator {
	uint32_t code; /* VHD_LOCATOR_*, 0: none */
	uint64_t offset;
	uint32_t length;
	uint32_t space; /* bytes in the file */
};

#define VHD_LOCATOR_W2RU 0x57327275u /* relative path, UTF-16LE */
#define VHD_LOCATOR_W2KU 0x57326b75u /* absolute path, UTF-16LE */
#define VHD_LOCATOR_MACX 0x4d616358u /* file URL, UTF-8 */

struct vhd_header {
	uint64_t table_offset;
	uint32_t table_entries;
	uint32_t block_bytes;
	uint8_t parent_id[VHD_ID_BYTES];
	uint32_t parent_timestamp;
	char parent_name[VHD_NAME_BYTES]; /* UTF-8 */
	struct vhd_locator locators[VHD_LOCATORS];
};

/*
 * "win ", as Hyper-V writes it: QEMU then believes size_bytes; of creators that it does not know it
 * takes the geometry's size, which is smaller. The version tells our flex images from fixed ones.
 */
#define VHD_CREATOR		 "win "
#define VHD_CREATOR_VERSION	 0x000a0000u
#define VHD_CREATOR_VERSION_FLEX 0x000a4c46u
#define VHD_CREATOR_OS		 "Wi2k"

/* One's complement of the sum of all bytes but the four at checksum_at. */
uint32_t vhd_checksum(const uint8_t *bytes, size_t length, size_t checksum_at);
/* Writes the checksum of a footer or header whose fields were changed in place. */
void vhd_footer_seal(uint8_t bytes[VHD_FOOTER_BYTES]);
void vhd_header_seal(uint8_t bytes[VHD_HEADER_BYTES]);

/* Whether it begins as a footer does. */
bool vhd_footer_has_cookie(const uint8_t bytes[VHD_FOOTER_BYTES]);

/* at: where in the file it was read, for the message. Returns 0, -EINVAL, or -EFBIG (larger than
 * VHD_MAX_BYTES). */
int vhd_footer_parse(const uint8_t bytes[VHD_FOOTER_BYTES], uint64_t at, struct vhd_footer *footer,
		     struct vhd_error *error);
void vhd_footer_build(const struct vhd_footer *footer, uint8_t bytes[VHD_FOOTER_BYTES]);

/* size_bytes: of the footer; the table must be long enough for it. Returns 0 or -EINVAL. */
int vhd_header_parse(const uint8_t bytes[VHD_HEADER_BYTES], uint64_t at, uint64_t size_bytes,
		     struct vhd_header *header, struct vhd_error *error);
void vhd_header_build(const struct vhd_header *header, uint8_t bytes[VHD_HEADER_BYTES]);

/* The geometry of a size, by the specification's appendix; and how many bytes a geometry holds. */
void vhd_geometry(uint64_t size_bytes, uint16_t *cylinders, uint8_t *heads, uint8_t *sectors);
uint64_t vhd_geometry_bytes(const struct vhd_footer *footer);

/* Blocks that size_bytes needs. */
uint32_t vhd_block_count(uint64_t size_bytes, uint32_t block_bytes);
/* Of the bitmap before each block, rounded up to sectors. */
uint32_t vhd_bitmap_bytes(uint32_t block_bytes);

/* Bits of a bitmap: bit 7 of the first byte is the first sector. */
bool vhd_bitmap_get(const uint8_t *bitmap, uint32_t sector);
/* Returns whether a bit was clear before. */
bool vhd_bitmap_set(uint8_t *bitmap, uint32_t sector, uint32_t count);
/* How many sectors from sector on, at most count, have the same bit as the first. */
uint32_t vhd_bitmap_run(const uint8_t *bitmap, uint32_t sector, uint32_t count);
/* Whether the first count bits are all set. */
bool vhd_bitmap_is_full(const uint8_t *bitmap, uint32_t count);

uint32_t vhd_time(int64_t unix_seconds);
const char *vhd_type_name(enum vhd_type type);

#endif
