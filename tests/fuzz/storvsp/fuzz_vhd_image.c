/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A VHD file of any bytes: read, checked, repaired, opened and used. What opens must be readable
 * everywhere, and after a repair that claims to have mended everything there is nothing to find.
 * The input is the head of the file, with the last 512 bytes moved to the end; the first byte says
 * how much is between them, so that a small input is a large file. Checksums are put right, or
 * nothing would ever get past them.
 */
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "storvsp/vhd_check.h"
#include "storvsp/vhd_resize.h"

#define LOG_COMPONENT "fuzz"
#include "base/log.h"

#define MAX_BYTES  (1u << 20)
#define ROOM_BYTES (128u << 10) /* it may grow by that */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct fuzz_file {
	struct vhd_file file; /* first */
	uint8_t *bytes;
	uint64_t size, room;
};

static struct fuzz_file *fuzz_of(struct vhd_file *file)
{
	return (struct fuzz_file *)file;
}

static int fuzz_read(struct vhd_file *file, void *bytes, size_t length, uint64_t offset)
{
	const struct fuzz_file *fuzz = fuzz_of(file);

	if (!range_fits(offset, length, fuzz->size))
		return -ENODATA;
	memcpy(bytes, fuzz->bytes + offset, length);
	return 0;
}

static int fuzz_truncate(struct vhd_file *file, uint64_t size)
{
	struct fuzz_file *fuzz = fuzz_of(file);

	if (size > fuzz->room)
		return -ENOSPC;
	if (size < fuzz->size)
		memset(fuzz->bytes + size, 0, fuzz->size - size);
	fuzz->size = size;
	return 0;
}

static int fuzz_write(struct vhd_file *file, const void *bytes, size_t length, uint64_t offset)
{
	struct fuzz_file *fuzz = fuzz_of(file);

	if (!range_fits(offset, length, fuzz->room))
		return -ENOSPC;
	memcpy(fuzz->bytes + offset, bytes, length);
	if (offset + length > fuzz->size)
		fuzz->size = offset + length;
	return 0;
}

static int fuzz_zero(struct vhd_file *file, uint64_t offset, uint64_t length)
{
	struct fuzz_file *fuzz = fuzz_of(file);

	if (!range_fits(offset, length, fuzz->room))
		return -ENOSPC;
	memset(fuzz->bytes + offset, 0, length);
	return 0;
}

static int fuzz_allocate(struct vhd_file *file, uint64_t offset, uint64_t length)
{
	(void)file;
	(void)offset;
	(void)length;
	return -EOPNOTSUPP;
}

static int fuzz_sync(struct vhd_file *file)
{
	(void)file;
	return 0;
}

static int fuzz_get_size(struct vhd_file *file, uint64_t *size)
{
	*size = fuzz_of(file)->size;
	return 0;
}

static int fuzz_get_facts(struct vhd_file *file, struct vhd_file_facts *facts)
{
	(void)file;
	*facts = (struct vhd_file_facts){0};
	return 0;
}

static void fuzz_submit(struct vhd_file *file, struct vhd_io *io, struct io_loop *loop)
{
	(void)file;
	(void)io;
	(void)loop;
	abort();
}

static void fuzz_close(struct vhd_file *file)
{
	(void)file;
}

static const struct vhd_file_ops fuzz_ops = {
	.read = fuzz_read,
	.write = fuzz_write,
	.zero = fuzz_zero,
	.allocate = fuzz_allocate,
	.sync = fuzz_sync,
	.truncate = fuzz_truncate,
	.get_size = fuzz_get_size,
	.get_facts = fuzz_get_facts,
	.submit = fuzz_submit,
	.close = fuzz_close,
};

static void seal(uint8_t *bytes, size_t size)
{
	if (size >= VHD_FOOTER_BYTES && vhd_footer_has_cookie(bytes))
		vhd_footer_seal(bytes);
}

static void make_file(struct fuzz_file *fuzz, const uint8_t *data, size_t size)
{
	size_t tail = size >= VHD_FOOTER_BYTES ? VHD_FOOTER_BYTES : size;
	size_t gap = (size_t)data[-1] * 1024;

	fuzz->file.ops = &fuzz_ops;
	fuzz->size = size + gap;
	fuzz->room = fuzz->size + ROOM_BYTES;
	fuzz->bytes = calloc(1, fuzz->room);
	if (!fuzz->bytes)
		abort();
	memcpy(fuzz->bytes, data, size - tail);
	memcpy(fuzz->bytes + size - tail + gap, data + size - tail, tail);
	seal(fuzz->bytes, fuzz->size);
	if (fuzz->size >= VHD_FOOTER_BYTES)
		seal(fuzz->bytes + fuzz->size - VHD_FOOTER_BYTES, VHD_FOOTER_BYTES);
	if (fuzz->size >= VHD_FOOTER_BYTES + VHD_HEADER_BYTES)
		vhd_header_seal(fuzz->bytes + VHD_FOOTER_BYTES);
}

/* All that the metadata point at is in the file. */
static void use(struct fuzz_file *fuzz, const struct vhd_image *image)
{
	uint8_t *block;
	char path[4096];

	for (unsigned int i = 0; i < 8; i++)
		(void)vhd_image_parent_path(&fuzz->file, image, i, "/v/child.vhd", path,
					    sizeof(path));
	if (image->footer.type == VHD_FIXED) {
		if (image->footer.size_bytes > fuzz->size)
			abort();
		return;
	}
	block = malloc(image->header.block_bytes + (size_t)image->bitmap_bytes);
	if (!block)
		abort();
	for (uint32_t i = 0; i < image->blocks; i++) {
		uint64_t left = image->footer.size_bytes - (uint64_t)i * image->header.block_bytes;
		uint32_t used = left < image->header.block_bytes ? (uint32_t)left
								 : image->header.block_bytes;

		if (image->table[i] != VHD_UNUSED &&
		    fuzz_read(&fuzz->file, block, image->bitmap_bytes + used,
			      vhd_block_offset(image, i)))
			abort();
	}
	free(block);
}

static void resize(struct fuzz_file *fuzz)
{
	char path[] = "/v/child.vhd";
	struct vhd_link link = {.path = path, .file = &fuzz->file};
	struct vhd_error error;
	uint64_t size;

	if (vhd_image_read(&fuzz->file, &link.image, NULL, &error))
		return;
	size = link.image.footer.size_bytes;
	if (vhd_image_tidy(&fuzz->file, &link.image, &error) == 0 && size < MAX_BYTES &&
	    vhd_resize(&link, size + 3 * 4096, false, &error) == 0 &&
	    link.image.footer.size_bytes != size + 3 * 4096)
		abort();
	vhd_image_fini(&link.image);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_file fuzz;
	struct vhd_findings findings = {0}, again = {0};
	struct vhd_image image;
	struct vhd_error error;
	int rc;

	if (size < 2 || size > MAX_BYTES)
		return 0;
	log_set_level(LOG_LEVEL_ERROR);
	make_file(&fuzz, data + 1, size - 1);
	error.message[0] = '\0';
	rc = vhd_image_read(&fuzz.file, &image, NULL, &error);
	if (rc == 0) {
		use(&fuzz, &image);
		vhd_image_fini(&image);
	} else if (!error.message[0]) {
		abort();
	}
	rc = vhd_check_file(&fuzz.file, true, &findings, &error);
	if (rc == 0 && findings.unrepairable == 0) {
		rc = vhd_check_file(&fuzz.file, false, &again, &error);
		if (rc || again.worst[VHD_DAMAGE] || again.worst[VHD_LOSS])
			abort();
	}
	resize(&fuzz);
	free(fuzz.bytes);
	return 0;
}
