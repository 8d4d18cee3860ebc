/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Lays a new VHD out: copy of the footer, header, table, parent locators, footer.
 */
#include "storvsp/vhd_create.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/random.h>

#include "base/bytes.h"
#include "storvsp/vhd_locator.h"

#define HEADER_OFFSET VHD_FOOTER_BYTES
#define TABLE_OFFSET  (HEADER_OFFSET + VHD_HEADER_BYTES)
#define FILL_BYTES    65536u

int vhd_new_id(uint8_t id[VHD_ID_BYTES])
{
	if (getrandom(id, VHD_ID_BYTES, 0) != VHD_ID_BYTES)
		return -EIO;
	id[6] = (uint8_t)((id[6] & 0x0f) | 0x40); /* RFC 4122 4.4 */
	id[8] = (uint8_t)((id[8] & 0x3f) | 0x80);
	return 0;
}

static void make_footer(const struct vhd_new *new, uint8_t bytes[VHD_FOOTER_BYTES])
{
	struct vhd_footer footer = {
		.header_offset = new->type == VHD_FIXED ? VHD_NO_HEADER : HEADER_OFFSET,
		.timestamp = new->timestamp,
		.creator_version = new->flex ? VHD_CREATOR_VERSION_FLEX : VHD_CREATOR_VERSION,
		.original_bytes = new->size_bytes,
		.size_bytes = new->size_bytes,
		.type = new->type,
	};

	memcpy(footer.creator, VHD_CREATOR, sizeof(footer.creator));
	memcpy(footer.creator_os, VHD_CREATOR_OS, sizeof(footer.creator_os));
	memcpy(footer.id, new->id, sizeof(footer.id));
	vhd_geometry(new->size_bytes, &footer.cylinders, &footer.heads, &footer.sectors);
	vhd_footer_build(&footer, bytes);
}

/* Each in its own sectors from *end on; one that cannot be written so is left out, but for the
 * last. */
static int write_locators(struct vhd_file *file, const struct vhd_new *new,
			  struct vhd_header *header, uint64_t *end)
{
	static const uint32_t codes[] = {VHD_LOCATOR_W2RU, VHD_LOCATOR_W2KU, VHD_LOCATOR_MACX};
	uint8_t data[VHD_LOCATOR_MAX_BYTES];
	char relative[VHD_PATH_BYTES];
	unsigned int count = 0;
	int rc = vhd_relative_path(new->path, new->parent_path, relative);

	for (size_t i = 0; rc == 0 && i < ARRAY_LENGTH(codes); i++) {
		const char *path = codes[i] == VHD_LOCATOR_W2RU ? relative : new->parent_path;
		int length;

		memset(data, 0, sizeof(data));
		length = vhd_locator_encode(codes[i], path, data, sizeof(data));
		if (length <= 0)
			continue;
		header->locators[count++] = (struct vhd_locator){
			.code = codes[i],
			.offset = *end,
			.length = (uint32_t)length,
			.space = (uint32_t)align_up((uint64_t)length, VHD_SECTOR_BYTES),
		};
		rc = vhd_file_write(file, data, header->locators[count - 1].space, *end);
		*end += header->locators[count - 1].space;
	}
	return rc == 0 && count == 0 ? -ENAMETOOLONG : rc;
}

static int write_table(struct vhd_file *file, uint64_t bytes)
{
	uint8_t fill[FILL_BYTES];
	int rc = 0;

	memset(fill, 0xff, sizeof(fill));
	for (uint64_t at = 0; rc == 0 && at < bytes; at += FILL_BYTES)
		rc = vhd_file_write(file, fill,
				    bytes - at < FILL_BYTES ? (size_t)(bytes - at) : FILL_BYTES,
				    TABLE_OFFSET + at);
	return rc;
}

static int write_dynamic(struct vhd_file *file, const struct vhd_new *new,
			 const uint8_t footer[VHD_FOOTER_BYTES])
{
	struct vhd_header header = {
		.table_offset = TABLE_OFFSET,
		.block_bytes = new->block_bytes ? new->block_bytes : VHD_DEFAULT_BLOCK_BYTES,
		.parent_timestamp = new->type == VHD_DIFFERENCING ? new->parent_timestamp : 0,
	};
	uint8_t bytes[VHD_HEADER_BYTES];
	uint64_t table_bytes, end;
	int rc;

	header.table_entries = vhd_block_count(new->size_bytes, header.block_bytes);
	table_bytes = align_up((uint64_t)header.table_entries * 4, VHD_SECTOR_BYTES);
	end = TABLE_OFFSET + table_bytes;
	rc = write_table(file, table_bytes);
	if (rc == 0 && new->type == VHD_DIFFERENCING) {
		const char *slash = strrchr(new->parent_path, '/');
		const char *name = slash ? slash + 1 : new->parent_path;

		memcpy(header.parent_id, new->parent_id, VHD_ID_BYTES);
		if (strlen(name) >= sizeof(header.parent_name))
			return -ENAMETOOLONG;
		memcpy(header.parent_name, name, strlen(name) + 1);
		rc = write_locators(file, new, &header, &end);
	}
	vhd_header_build(&header, bytes);
	if (rc == 0)
		rc = vhd_file_write(file, bytes, VHD_HEADER_BYTES, HEADER_OFFSET);
	if (rc == 0)
		rc = vhd_file_write(file, footer, VHD_FOOTER_BYTES, 0);
	if (rc == 0)
		rc = vhd_file_write(file, footer, VHD_FOOTER_BYTES, end);
	return rc;
}

static int write_fixed(struct vhd_file *file, const struct vhd_new *new,
		       const uint8_t footer[VHD_FOOTER_BYTES])
{
	int rc = 0;

	if (!new->flex)
		rc = file->ops->allocate(file, 0, new->size_bytes + VHD_FOOTER_BYTES);
	if (rc == 0)
		rc = vhd_file_write(file, footer, VHD_FOOTER_BYTES, new->size_bytes);
	return rc;
}

int vhd_write_new(struct vhd_file *file, const struct vhd_new *new, struct vhd_error *error)
{
	uint8_t footer[VHD_FOOTER_BYTES];
	int rc;

	if (new->size_bytes == 0 || new->size_bytes % VHD_SECTOR_BYTES)
		return vhd_fail(error, -EINVAL, "a size of %" PRIu64 " bytes: no multiple of 512",
				new->size_bytes);
	if (new->size_bytes > VHD_MAX_BYTES)
		return vhd_fail(error, -EFBIG,
				"a size of %" PRIu64 " bytes: a VHD holds at most 2040 GiB",
				new->size_bytes);
	make_footer(new, footer);
	rc = new->type == VHD_FIXED ? write_fixed(file, new, footer)
				    : write_dynamic(file, new, footer);
	if (rc == 0)
		rc = vhd_file_sync(file);
	if (rc)
		return vhd_fail(error, rc, "%s", strerror(-rc));
	return 0;
}
