/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Resizes fixed and dynamic images. The footers are the last to tell of a larger size, and the
 * first to tell of a smaller one.
 */
#include "storvsp/vhd_resize.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

#define FILL_BYTES 65536u

/* The footer with the new size, at the end and, where there is one, at the start. */
static void change_footer(struct vhd_image *image, uint64_t size)
{
	uint8_t *bytes = image->footer_bytes;
	uint8_t heads, sectors;
	uint16_t cylinders;

	vhd_geometry(size, &cylinders, &heads, &sectors);
	put_be64(bytes + VHD_FOOTER_SIZE_AT, size);
	put_be16(bytes + 56, cylinders);
	bytes[58] = heads;
	bytes[59] = sectors;
	vhd_footer_seal(bytes);
}

static int write_and_sync(struct vhd_file *file, const void *bytes, size_t length, uint64_t offset)
{
	int rc = vhd_file_write(file, bytes, length, offset);

	return rc ? rc : vhd_file_sync(file);
}

/* ---- fixed ---- */

static int grow_fixed(struct vhd_link *link, uint64_t size)
{
	struct vhd_image *image = &link->image;
	uint64_t old_end = image->footer_offset + VHD_FOOTER_BYTES;
	uint64_t old = image->footer.size_bytes;
	/* Some writers leave room before the footer. */
	uint64_t footer_at = size > image->footer_offset ? size : image->footer_offset;
	struct vhd_file_facts facts = {0};
	int rc = 0;

	(void)link->file->ops->get_facts(link->file, &facts);
	if (image->footer.creator_version != VHD_CREATOR_VERSION_FLEX &&
	    facts.allocated_bytes >= old)
		rc = link->file->ops->allocate(link->file, old_end, size - old);
	if (rc && rc != -EOPNOTSUPP)
		return rc;
	change_footer(image, size);
	rc = write_and_sync(link->file, image->footer_bytes, VHD_FOOTER_BYTES, footer_at);
	/* The old footer is the guest's now, and reads as zeroes. */
	if (rc == 0)
		rc = link->file->ops->zero(link->file, old,
					   (old_end < size ? old_end : size) - old);
	return rc ? rc : vhd_file_sync(link->file);
}

static int shrink_fixed(struct vhd_link *link, uint64_t size)
{
	int rc;

	change_footer(&link->image, size);
	rc = write_and_sync(link->file, link->image.footer_bytes, VHD_FOOTER_BYTES, size);
	if (rc == 0)
		rc = link->file->ops->truncate(link->file, size + VHD_FOOTER_BYTES);
	return rc ? rc : vhd_file_sync(link->file);
}

/* ---- dynamic ---- */

static int write_footers(struct vhd_link *link, uint64_t size)
{
	struct vhd_image *image = &link->image;
	int rc;

	change_footer(image, size);
	rc = write_and_sync(link->file, image->footer_bytes, VHD_FOOTER_BYTES,
			    image->footer_offset);
	return rc ? rc : write_and_sync(link->file, image->footer_bytes, VHD_FOOTER_BYTES, 0);
}

/* Entries from first on, up to limit, are unused. */
static int clear_entries(struct vhd_link *link, uint64_t table_offset, uint32_t first,
			 uint32_t limit)
{
	uint64_t at = table_offset + (uint64_t)first * 4, end = table_offset + (uint64_t)limit * 4;
	uint8_t fill[FILL_BYTES];
	int rc = 0;

	memset(fill, 0xff, sizeof(fill));
	for (; rc == 0 && at < end; at += FILL_BYTES)
		rc = vhd_file_write(link->file, fill,
				    end - at < FILL_BYTES ? (size_t)(end - at) : FILL_BYTES, at);
	return rc;
}

/* Whether the table can have so many entries where it is. */
static bool table_fits(const struct vhd_image *image, uint32_t entries)
{
	uint64_t begin = image->header.table_offset, end = begin + (uint64_t)entries * 4;

	if (entries > image->header.table_entries || end > image->footer_offset)
		return false;
	for (unsigned int i = 0; i < VHD_LOCATORS; i++)
		if (image->header.locators[i].code && image->header.locators[i].offset < end &&
		    image->header.locators[i].offset >= begin)
			return false;
	for (uint32_t i = 0; i < image->blocks; i++)
		if (image->table[i] != VHD_UNUSED && vhd_block_offset(image, i) < end &&
		    vhd_block_offset(image, i) >= begin)
			return false;
	return true;
}

/* A longer table at the end of the file, then the footer behind it, then the header, whose first
 * sector holds all that changes, tells of it. */
static int move_table(struct vhd_link *link, uint32_t entries)
{
	struct vhd_image *image = &link->image;
	uint64_t bytes = align_up((uint64_t)entries * 4, VHD_SECTOR_BYTES);
	uint64_t table = align_up(image->footer_offset + VHD_FOOTER_BYTES, VHD_SECTOR_BYTES);
	uint8_t *copy = malloc(bytes);
	int rc;

	if (!copy)
		return -ENOMEM;
	memset(copy, 0xff, bytes);
	for (uint32_t i = 0; i < image->blocks; i++)
		put_be32(copy + (size_t)i * 4, image->table[i]);
	rc = vhd_file_write(link->file, image->footer_bytes, VHD_FOOTER_BYTES, table + bytes);
	if (rc == 0)
		rc = write_and_sync(link->file, copy, bytes, table);
	free(copy);
	if (rc)
		return rc;
	put_be64(image->header_bytes + VHD_HEADER_TABLE_AT, table);
	put_be32(image->header_bytes + VHD_HEADER_ENTRIES_AT, entries);
	vhd_header_seal(image->header_bytes);
	image->footer_offset = table + bytes;
	return write_and_sync(link->file, image->header_bytes, VHD_SECTOR_BYTES,
			      image->footer.header_offset);
}

/* What the last block has beyond the disk's end reads as zeroes when that end moves. */
static int clear_last_block(struct vhd_link *link, uint64_t size)
{
	const struct vhd_image *image = &link->image;
	uint32_t block_bytes = image->header.block_bytes;
	uint32_t block = (uint32_t)(size / block_bytes), within = (uint32_t)(size % block_bytes);

	if (within == 0 || block >= image->blocks || image->table[block] == VHD_UNUSED)
		return 0;
	return link->file->ops->zero(link->file,
				     vhd_block_offset(image, block) + image->bitmap_bytes + within,
				     block_bytes - within);
}

static int grow_dynamic(struct vhd_link *link, uint64_t size)
{
	struct vhd_image *image = &link->image;
	uint32_t entries = vhd_block_count(size, image->header.block_bytes);
	int rc = clear_last_block(link, image->footer.size_bytes);

	if (rc == 0 && entries > image->blocks) {
		if (table_fits(image, entries))
			rc = clear_entries(link, image->header.table_offset, image->blocks,
					   entries);
		else
			rc = move_table(link, entries);
	}
	if (rc == 0)
		rc = vhd_file_sync(link->file);
	return rc ? rc : write_footers(link, size);
}

/* Blocks that are cut off leave a hole in the file. */
static int shrink_dynamic(struct vhd_link *link, uint64_t size)
{
	struct vhd_image *image = &link->image;
	uint32_t entries = vhd_block_count(size, image->header.block_bytes);
	int rc = write_footers(link, size);

	if (rc == 0)
		rc = clear_last_block(link, size);
	if (rc == 0)
		rc = clear_entries(link, image->header.table_offset, entries, image->blocks);
	if (rc == 0)
		rc = vhd_file_sync(link->file);
	for (uint32_t i = entries; rc == 0 && i < image->blocks; i++)
		if (image->table[i] != VHD_UNUSED)
			rc = link->file->ops->zero(link->file, vhd_block_offset(image, i),
						   (uint64_t)image->bitmap_bytes +
							   image->header.block_bytes);
	return rc;
}

/* ---- all ---- */

static int check_size(const struct vhd_image *image, uint64_t size, bool shrink,
		      struct vhd_error *error)
{
	if (size == 0 || size % VHD_SECTOR_BYTES)
		return vhd_fail(error, -EINVAL, "a size of %" PRIu64 " bytes: no multiple of 512",
				size);
	if (size > VHD_MAX_BYTES)
		return vhd_fail(error, -EFBIG,
				"a size of %" PRIu64 " bytes: a VHD holds at most 2040 GiB", size);
	if (image->footer.type == VHD_DIFFERENCING)
		return vhd_fail(error, -EOPNOTSUPP,
				"a differencing image has its parent's size; merge it into that, "
				"or convert it to a dynamic one");
	if (size < image->footer.size_bytes && !shrink)
		return vhd_fail(error, -EINVAL,
				"%" PRIu64 " bytes are less than it has (%" PRIu64
				"): what is cut off is lost; say --shrink if that is meant",
				size, image->footer.size_bytes);
	return 0;
}

int vhd_resize(struct vhd_link *link, uint64_t size, bool shrink, struct vhd_error *error)
{
	struct vhd_image *image = &link->image, fresh;
	bool grows = size > image->footer.size_bytes;
	int rc = check_size(image, size, shrink, error);

	if (rc || size == image->footer.size_bytes)
		return rc;
	if (image->footer.type == VHD_FIXED)
		rc = grows ? grow_fixed(link, size) : shrink_fixed(link, size);
	else
		rc = grows ? grow_dynamic(link, size) : shrink_dynamic(link, size);
	if (rc)
		return vhd_fail(error, rc, "cannot resize it: %s", strerror(-rc));
	rc = vhd_image_read(link->file, &fresh, NULL, error);
	if (rc)
		return rc;
	vhd_image_fini(image);
	*image = fresh;
	return 0;
}
