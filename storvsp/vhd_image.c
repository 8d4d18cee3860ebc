/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reads a VHD's metadata, and trusts none of it.
 */
#include "storvsp/vhd_image.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "storvsp/vhd_locator.h"

#define DATA_ALIGN  4096u
#define OLD_FOOTER  511u /* Virtual PC before 2004 */
#define TABLE_CHUNK (1u << 20)

void vhd_finding_add(struct vhd_findings *findings, enum vhd_severity severity, bool repairable,
		     const char *format, ...)
{
	struct vhd_finding *row;
	va_list args;

	findings->worst[severity]++;
	if (!repairable)
		findings->unrepairable++;
	if (findings->count == VHD_FINDINGS)
		return;
	row = &findings->rows[findings->count++];
	row->severity = severity;
	row->repairable = repairable;
	va_start(args, format);
	vsnprintf(row->text, sizeof(row->text), format, args);
	va_end(args);
}

/* ---- footers ---- */

static int read_at(struct vhd_file *file, void *bytes, size_t length, uint64_t offset,
		   const char *what, struct vhd_error *error)
{
	int rc = vhd_file_read(file, bytes, length, offset);

	if (rc == -ENODATA)
		return vhd_fail(error, -EINVAL, "offset %" PRIu64 ", %s: the file ends before",
				offset, what);
	if (rc)
		return vhd_fail(error, rc, "offset %" PRIu64 ", %s: %s", offset, what,
				strerror(-rc));
	return 0;
}

static int read_tail(struct vhd_file *file, struct vhd_image *image, struct vhd_error *error)
{
	uint64_t size = image->file_bytes;
	uint64_t length = size % VHD_SECTOR_BYTES == OLD_FOOTER ? OLD_FOOTER : VHD_FOOTER_BYTES;
	int rc;

	image->footer_offset = size - length;
	image->footer_bytes[VHD_FOOTER_BYTES - 1] = 0;
	rc = read_at(file, image->footer_bytes, length, image->footer_offset, "footer", error);
	if (rc)
		return rc;
	rc = vhd_footer_parse(image->footer_bytes, image->footer_offset, &image->footer, error);
	if (rc == 0 && image->footer.type == VHD_FIXED &&
	    image->footer.size_bytes > image->footer_offset)
		return vhd_fail(error, -EINVAL,
				"offset %" PRIu64 ", footer current size: %" PRIu64
				" bytes, but only %" PRIu64 " are before it",
				image->footer_offset + VHD_FOOTER_SIZE_AT, image->footer.size_bytes,
				image->footer_offset);
	return rc;
}

/* The copy at the start. The guest of a fixed image can write anything there: only one of the other
 * types is believed. */
static int read_copy(struct vhd_file *file, uint8_t bytes[VHD_FOOTER_BYTES],
		     struct vhd_footer *footer, struct vhd_error *error)
{
	int rc = read_at(file, bytes, VHD_FOOTER_BYTES, 0, "copy of the footer", error);

	if (rc == 0)
		rc = vhd_footer_parse(bytes, 0, footer, error);
	if (rc == 0 && footer->type == VHD_FIXED)
		rc = vhd_fail(
			error, -EINVAL,
			"offset 60, footer disk type: a fixed disk has no copy of its footer");
	return rc;
}

static int read_footers(struct vhd_file *file, struct vhd_image *image, struct vhd_error *error)
{
	struct vhd_error tail_error = {.message = ""};
	uint8_t copy_bytes[VHD_FOOTER_BYTES];
	struct vhd_footer copy;
	int rc, copy_rc;

	rc = vhd_file_size(file, &image->file_bytes);
	if (rc)
		return vhd_fail(error, rc, "%s", strerror(-rc));
	if (image->file_bytes < VHD_FOOTER_BYTES)
		return vhd_fail(error, -EINVAL,
				"%" PRIu64 " bytes are too few for a VHD, which ends with a footer "
				"of 512",
				image->file_bytes);
	rc = read_tail(file, image, &tail_error);
	if (rc == 0 && image->footer.type == VHD_FIXED)
		return 0;
	copy_rc = read_copy(file, copy_bytes, &copy, error);
	if (rc && rc != -EINVAL)
		return vhd_fail(error, rc, "%s", tail_error.message);
	if (rc && copy_rc) {
		bool is_vhd = vhd_footer_has_cookie(image->footer_bytes) ||
			      vhd_footer_has_cookie(copy_bytes);

		return vhd_fail(error, rc, "%s%s", tail_error.message,
				is_vhd ? "; and there is no good copy at offset 0"
				       : "; is it a VHD, and all of it there?");
	}
	if (rc) {
		memcpy(image->footer_bytes, copy_bytes, VHD_FOOTER_BYTES);
		image->footer = copy;
		image->tail_missing = true;
		image->footer_offset = image->file_bytes;
		return 0;
	}
	if (copy_rc == 0 && memcmp(copy.id, image->footer.id, VHD_ID_BYTES) != 0)
		return vhd_fail(error, -EINVAL,
				"offset %" PRIu64 ", footer unique id: not that of its copy at "
				"offset 68; two images seem mixed up",
				image->footer_offset + 68);
	image->copy_bad = copy_rc || memcmp(copy_bytes, image->footer_bytes, VHD_FOOTER_BYTES) != 0;
	return 0;
}

/* ---- table ---- */

static int read_table(struct vhd_file *file, struct vhd_image *image, struct vhd_error *error)
{
	uint64_t bytes = (uint64_t)image->blocks * 4;
	int rc;

	if (!range_fits(image->header.table_offset, bytes, image->file_bytes))
		return vhd_fail(error, -EINVAL,
				"offset %" PRIu64 ", header table offset: the table of %" PRIu64
				" bytes at %" PRIu64 " goes past the file's end (%" PRIu64 ")",
				image->footer.header_offset + VHD_HEADER_TABLE_AT, bytes,
				image->header.table_offset, image->file_bytes);
	image->table = malloc(bytes ? bytes : 1);
	if (!image->table)
		return vhd_fail(error, -ENOMEM, "out of memory for the block allocation table");
	for (uint64_t at = 0; at < bytes; at += TABLE_CHUNK) {
		size_t part = bytes - at < TABLE_CHUNK ? (size_t)(bytes - at) : TABLE_CHUNK;

		rc = read_at(file, (uint8_t *)image->table + at, part,
			     image->header.table_offset + at, "block allocation table", error);
		if (rc)
			return rc;
	}
	for (uint32_t i = 0; i < image->blocks; i++)
		image->table[i] = get_be32(&image->table[i]);
	return 0;
}

static uint64_t entry_offset(const struct vhd_image *image, uint32_t block)
{
	return image->header.table_offset + (uint64_t)block * 4;
}

/* Bytes of a block that the disk has: the last one may be cut. */
static uint64_t block_used(const struct vhd_image *image, uint32_t block)
{
	uint64_t begin = (uint64_t)block * image->header.block_bytes;
	uint64_t left = image->footer.size_bytes - begin;

	return left < image->header.block_bytes ? left : image->header.block_bytes;
}

static bool overlaps(uint64_t a, uint64_t a_bytes, uint64_t b, uint64_t b_bytes)
{
	return a < b + b_bytes && b < a + a_bytes;
}

static int note(struct vhd_findings *findings, struct vhd_error *error, bool repairable,
		const char *text)
{
	if (!findings)
		return vhd_fail(error, -EINVAL, "%s", text);
	vhd_finding_add(findings, VHD_LOSS, repairable, "%s", text);
	return 0;
}

static int check_entry(const struct vhd_image *image, uint32_t block, struct vhd_findings *findings,
		       struct vhd_error *error)
{
	uint64_t at = vhd_block_offset(image, block);
	uint64_t length = image->bitmap_bytes + image->header.block_bytes;
	uint64_t limit = image->tail_missing ? image->file_bytes : image->footer_offset;
	const char *what = NULL;
	char text[224];

	if (overlaps(at, length, 0, VHD_FOOTER_BYTES))
		what = "the copy of the footer";
	else if (overlaps(at, length, image->footer.header_offset, VHD_HEADER_BYTES))
		what = "the header";
	else if (overlaps(at, length, image->header.table_offset, (uint64_t)image->blocks * 4))
		what = "the table";
	if (what) {
		snprintf(text, sizeof(text),
			 "offset %" PRIu64 ", table entry %u: its block at %" PRIu64
			 " lies over %s",
			 entry_offset(image, block), block, at, what);
		return note(findings, error, false, text);
	}
	if (!range_fits(at, image->bitmap_bytes + block_used(image, block), limit)) {
		snprintf(text, sizeof(text),
			 "offset %" PRIu64 ", table entry %u: its block at %" PRIu64
			 " goes past the file's end (%" PRIu64 "); the file was cut",
			 entry_offset(image, block), block, at, limit);
		return note(findings, error, true, text);
	}
	return 0;
}

static int compare_sectors(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static uint32_t find_entry(const struct vhd_image *image, uint32_t sector, uint32_t after)
{
	for (uint32_t i = after; i < image->blocks; i++)
		if (image->table[i] == sector)
			return i;
	return after;
}

/* No two blocks share a sector. */
static int check_overlaps(const struct vhd_image *image, struct vhd_findings *findings,
			  struct vhd_error *error)
{
	uint32_t stride = (image->bitmap_bytes + image->header.block_bytes) / VHD_SECTOR_BYTES;
	uint32_t *sorted = malloc((size_t)image->allocated * 4 + 1);
	uint32_t count = 0;
	int rc = 0;

	if (!sorted)
		return vhd_fail(error, -ENOMEM, "out of memory for the block allocation table");
	for (uint32_t i = 0; i < image->blocks; i++)
		if (image->table[i] != VHD_UNUSED)
			sorted[count++] = image->table[i];
	qsort(sorted, count, sizeof(*sorted), compare_sectors);
	for (uint32_t i = 1; rc == 0 && i < count; i++) {
		uint32_t first, second;
		char text[160];

		if (sorted[i] - sorted[i - 1] >= stride)
			continue;
		first = find_entry(image, sorted[i - 1], 0);
		second = find_entry(image, sorted[i], sorted[i] == sorted[i - 1] ? first + 1 : 0);
		snprintf(text, sizeof(text),
			 "offset %" PRIu64 ", table entry %u: its block lies over that of entry %u",
			 entry_offset(image, second), second, first);
		rc = note(findings, error, false, text);
	}
	free(sorted);
	return rc;
}

static void find_end(struct vhd_image *image)
{
	const struct vhd_header *header = &image->header;
	uint64_t end = VHD_FOOTER_BYTES, part;

#define EXTEND(offset, length)                                                                     \
	do {                                                                                       \
		part = (offset) + (length);                                                        \
		end = part > end ? part : end;                                                     \
	} while (0)
	EXTEND(image->footer.header_offset, VHD_HEADER_BYTES);
	EXTEND(header->table_offset, (uint64_t)header->table_entries * 4);
	for (unsigned int i = 0; i < VHD_LOCATORS; i++)
		if (header->locators[i].code && header->locators[i].offset < image->file_bytes)
			EXTEND(header->locators[i].offset, header->locators[i].space);
	for (uint32_t i = 0; i < image->blocks; i++)
		if (image->table[i] != VHD_UNUSED)
			EXTEND(vhd_block_offset(image, i),
			       (uint64_t)image->bitmap_bytes + header->block_bytes);
#undef EXTEND
	image->data_end = align_up(end, VHD_SECTOR_BYTES);
	image->slack =
		image->footer_offset > image->data_end ? image->footer_offset - image->data_end : 0;
}

static int read_dynamic(struct vhd_file *file, struct vhd_image *image,
			struct vhd_findings *findings, struct vhd_error *error)
{
	uint64_t at = image->footer.header_offset;
	int rc = read_at(file, image->header_bytes, VHD_HEADER_BYTES, at, "header", error);

	if (rc == 0)
		rc = vhd_header_parse(image->header_bytes, at, image->footer.size_bytes,
				      &image->header, error);
	if (rc)
		return rc;
	image->blocks = vhd_block_count(image->footer.size_bytes, image->header.block_bytes);
	image->bitmap_bytes = vhd_bitmap_bytes(image->header.block_bytes);
	rc = read_table(file, image, error);
	for (uint32_t i = 0; rc == 0 && i < image->blocks; i++) {
		if (image->table[i] == VHD_UNUSED)
			continue;
		image->allocated++;
		rc = check_entry(image, i, findings, error);
	}
	if (rc == 0)
		rc = check_overlaps(image, findings, error);
	if (rc == 0)
		find_end(image);
	return rc;
}

int vhd_image_read(struct vhd_file *file, struct vhd_image *image, struct vhd_findings *findings,
		   struct vhd_error *error)
{
	int rc;

	memset(image, 0, sizeof(*image));
	rc = read_footers(file, image, error);
	if (rc == 0 && image->footer.type != VHD_FIXED)
		rc = read_dynamic(file, image, findings, error);
	if (rc)
		vhd_image_fini(image);
	return rc;
}

void vhd_image_fini(struct vhd_image *image)
{
	free(image->table);
	image->table = NULL;
}

/* ---- where blocks go ---- */

uint64_t vhd_next_block(const struct vhd_image *image, uint64_t after)
{
	return align_up(after + image->bitmap_bytes, DATA_ALIGN) - image->bitmap_bytes;
}

uint64_t vhd_block_stride(const struct vhd_image *image)
{
	return align_up((uint64_t)image->bitmap_bytes + image->header.block_bytes, DATA_ALIGN);
}

/*
 * The order: a footer where the file shall end, then the file is cut there. Whatever is cut off is
 * in no table; where the power goes in between, the file still ends with a footer, or with none and
 * the copy is good.
 */
int vhd_image_tidy(struct vhd_file *file, struct vhd_image *image, struct vhd_error *error)
{
	bool move = image->tail_missing || image->slack >= DATA_ALIGN;
	int rc = 0;

	if (image->footer.type == VHD_FIXED || (!move && !image->copy_bad))
		return 0;
	if (image->copy_bad) {
		rc = vhd_file_write(file, image->footer_bytes, VHD_FOOTER_BYTES, 0);
		if (rc == 0)
			rc = vhd_file_sync(file);
	}
	if (rc == 0 && move) {
		rc = vhd_file_write(file, image->footer_bytes, VHD_FOOTER_BYTES, image->data_end);
		if (rc == 0)
			rc = vhd_file_sync(file);
		if (rc == 0)
			rc = file->ops->truncate(file, image->data_end + VHD_FOOTER_BYTES);
		if (rc == 0)
			rc = vhd_file_sync(file);
	}
	if (rc)
		return vhd_fail(error, rc, "cannot write its footer: %s", strerror(-rc));
	if (move) {
		image->footer_offset = image->data_end;
		image->file_bytes = image->data_end + VHD_FOOTER_BYTES;
	}
	image->tail_missing = image->copy_bad = false;
	image->slack = 0;
	return 0;
}

/* ---- the parent ---- */

static bool read_locator(struct vhd_file *file, const struct vhd_image *image, uint32_t code,
			 char path[VHD_PATH_BYTES])
{
	uint8_t data[VHD_LOCATOR_MAX_BYTES];

	for (unsigned int i = 0; i < VHD_LOCATORS; i++) {
		const struct vhd_locator *locator = &image->header.locators[i];

		if (locator->code == code && locator->length <= sizeof(data) &&
		    vhd_file_read(file, data, locator->length, locator->offset) == 0 &&
		    vhd_locator_decode(code, data, locator->length, path) == 0)
			return true;
	}
	return false;
}

/* Beside the child, or as it is where it is absolute. */
static bool join(const char *child_path, const char *path, char *out, size_t out_bytes)
{
	const char *slash = strrchr(child_path, '/');
	int folder = *path != '/' && slash ? (int)(slash - child_path) + 1 : 0;
	int length = snprintf(out, out_bytes, "%.*s%s", folder, child_path, path);

	return length > 0 && (size_t)length < out_bytes;
}

/* The last part of a path of either system. */
static const char *base_name(const char *path)
{
	for (const char *c = path; *c; c++)
		if (*c == '/' || *c == '\\' || *c == ':')
			path = c + 1;
	return path;
}

int vhd_image_parent_path(struct vhd_file *file, const struct vhd_image *image, unsigned int index,
			  const char *child_path, char *out, size_t out_bytes)
{
	static const uint32_t codes[] = {VHD_LOCATOR_W2RU, VHD_LOCATOR_MACX, VHD_LOCATOR_W2KU};
	char path[VHD_PATH_BYTES];
	const char *name;

	for (unsigned int i = 0; i < ARRAY_LENGTH(codes); i++)
		if (read_locator(file, image, codes[i], path) &&
		    join(child_path, path, out, out_bytes) && index-- == 0)
			return 0;
	name = base_name(image->header.parent_name);
	if (*name && join(child_path, name, out, out_bytes) && index == 0)
		return 0;
	return -ENOENT;
}
