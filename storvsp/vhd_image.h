/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The metadata of one VHD file: footer and its copy, header, block allocation table, where what
 * lies. Read and checked as a whole, since the file may be anybody's.
 *
 *   dynamic, differencing:                              fixed:
 *   | copy of footer | header | table | locators |      | data ... | footer |
 *   | bitmap, block | bitmap, block | ... | footer |
 *
 * The footer at the end counts. Where it is missing (the file was cut, or the power while it grew)
 * the copy counts; a fixed image has none. Source: VHD 1.0.
 */
#ifndef LUNAR_STORVSP_VHD_IMAGE_H
#define LUNAR_STORVSP_VHD_IMAGE_H

#include "storvsp/vhd_file.h"
#include "storvsp/vhd_format.h"

struct vhd_image {
	struct vhd_footer footer;
	uint8_t footer_bytes[VHD_FOOTER_BYTES]; /* the one that counts */
	uint64_t file_bytes;
	uint64_t footer_offset; /* of the footer at the end; file_bytes where it is missing */
	bool tail_missing;
	bool copy_bad;	/* missing, damaged, or not as the one at the end */
	uint64_t slack; /* bytes of the file between the last block and the footer */

	/* dynamic and differencing */
	struct vhd_header header;
	uint8_t header_bytes[VHD_HEADER_BYTES];
	uint32_t blocks; /* that size_bytes needs */
	uint32_t bitmap_bytes;
	uint32_t *table; /* blocks entries: sector of the bitmap, or VHD_UNUSED */
	uint32_t allocated;
	uint64_t data_end; /* where the last of blocks, table, locators ends */
};

enum vhd_severity {
	VHD_NOTE,   /* harmless */
	VHD_DAMAGE, /* opening for writing repairs it; nothing is lost */
	VHD_LOSS,   /* data is lost or in doubt */
};

struct vhd_finding {
	enum vhd_severity severity;
	bool repairable;
	char text[256];
};

#define VHD_FINDINGS 32

/* What a check found. */
struct vhd_findings {
	struct vhd_finding rows[VHD_FINDINGS];
	size_t count;		      /* of rows */
	uint64_t worst[VHD_LOSS + 1]; /* how many of each severity, those without a row included */
	uint64_t unrepairable;
};

void vhd_finding_add(struct vhd_findings *findings, enum vhd_severity severity, bool repairable,
		     const char *format, ...) __attribute__((format(printf, 4, 5)));

/*
 * Reads it. Without findings the first thing that is wrong and that a writer could not mend without
 * loss is the error; with them, what is wrong in the table is noted, and read goes on with such
 * entries as they are. Returns 0 or -errno with a message without the file's name.
 */
int vhd_image_read(struct vhd_file *file, struct vhd_image *image, struct vhd_findings *findings,
		   struct vhd_error *error);
void vhd_image_fini(struct vhd_image *image);

/* Where a block's bitmap is; its data follow. The block is allocated. */
static inline uint64_t vhd_block_offset(const struct vhd_image *image, uint32_t block)
{
	return (uint64_t)image->table[block] * VHD_SECTOR_BYTES;
}

/* Where the next block goes, after offset (the end of a block, or of the footer after it): its data
 * begin at a multiple of 4096. */
uint64_t vhd_next_block(const struct vhd_image *image, uint64_t after);
/* From one such block to the next. */
uint64_t vhd_block_stride(const struct vhd_image *image);

/*
 * Of a file that is open for writing: a footer that is missing is written, a bad copy made good,
 * and space that no block uses (blocks which were never entered in the table) is given back.
 */
int vhd_image_tidy(struct vhd_file *file, struct vhd_image *image, struct vhd_error *error);

/* A "file" that is a differencing image names its parent in these ways, the best first. Returns 0,
 * -ENOENT where there is no further one. Text that is malformed is passed over. */
int vhd_image_parent_path(struct vhd_file *file, const struct vhd_image *image, unsigned int index,
			  const char *child_path, char *path, size_t path_bytes);

#endif
