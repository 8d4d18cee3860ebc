/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The bzImage header. See bzimage.h.
 */
#include "hypervisor/bzimage.h"

#include <errno.h>
#include <string.h>

#include "base/bytes.h"

/* Offsets in the file; names are those of the boot protocol. */
#define SETUP_SECTS	 0x1f1
#define SYSSIZE		 0x1f4
#define BOOT_FLAG	 0x1fe
#define JUMP_LENGTH	 0x201 /* the setup header ends at 0x202 + this byte */
#define HEADER_MAGIC	 0x202
#define VERSION		 0x206
#define LOADFLAGS	 0x211
#define INITRD_ADDR_MAX	 0x22c
#define XLOADFLAGS	 0x236
#define CMDLINE_SIZE	 0x238
#define PREF_ADDRESS	 0x258
#define INIT_SIZE	 0x260
#define HEADER_MIN_BYTES 0x264

#define BOOT_FLAG_VALUE	   0xaa55
#define HEADER_MAGIC_VALUE 0x53726448u /* "HdrS" */
#define VERSION_MIN	   0x020c      /* the first with XLOADFLAGS */
#define LOADED_HIGH	   1
#define XLF_KERNEL_64	   1
#define ENTRY_64_OFFSET	   0x200
#define SECTOR_BYTES	   512u
#define LOAD_GPA_MIN	   0x100000u
#define LOAD_GPA_LIMIT	   UINT64_C(0x100000000) /* the boot page tables map this much */

static int refuse(const char **why, const char *phrase)
{
	*why = phrase;
	return -ENOEXEC;
}

static int placement_parse(const uint8_t *head, struct bzimage *image, const char **why)
{
	uint64_t pref_address = get_le64(head + PREF_ADDRESS);
	uint32_t init_size = get_le32(head + INIT_SIZE);

	if (pref_address < LOAD_GPA_MIN || pref_address >= LOAD_GPA_LIMIT || pref_address & 0xfff)
		return refuse(why, "it asks for an impossible load address");
	if (init_size < image->code_bytes)
		return refuse(why, "its header says that it needs less memory than it has code");
	image->load_gpa = pref_address;
	image->init_bytes = init_size;
	image->entry_gpa = pref_address + ENTRY_64_OFFSET;
	return 0;
}

int bzimage_parse(const uint8_t *head, size_t length, uint64_t file_bytes, struct bzimage *image,
		  const char **why)
{
	struct bzimage found = {0};
	uint32_t setup_sectors;
	uint64_t end;
	int result;

	if (length < HEADER_MIN_BYTES || get_le16(head + BOOT_FLAG) != BOOT_FLAG_VALUE ||
	    get_le32(head + HEADER_MAGIC) != HEADER_MAGIC_VALUE)
		return refuse(why, "it is not a bzImage");
	if (get_le16(head + VERSION) < VERSION_MIN)
		return refuse(why, "its boot protocol is older than 2.12 (Linux 3.8)");
	if (!(head[LOADFLAGS] & LOADED_HIGH))
		return refuse(why, "it is a zImage, not a bzImage");
	if (!(get_le16(head + XLOADFLAGS) & XLF_KERNEL_64))
		return refuse(why, "it has no 64-bit entry point");

	setup_sectors = head[SETUP_SECTS] ? head[SETUP_SECTS] : 4;
	found.code_offset = (uint64_t)(setup_sectors + 1) * SECTOR_BYTES;
	found.code_bytes = (uint64_t)get_le32(head + SYSSIZE) * 16;
	if (found.code_bytes <= ENTRY_64_OFFSET ||
	    !range_fits(found.code_offset, found.code_bytes, file_bytes))
		return refuse(why, "it is truncated");
	result = placement_parse(head, &found, why);
	if (result)
		return result;

	found.initrd_max = get_le32(head + INITRD_ADDR_MAX);
	found.cmdline_max = get_le32(head + CMDLINE_SIZE);
	end = HEADER_MAGIC + (uint64_t)head[JUMP_LENGTH];
	if (end < HEADER_MIN_BYTES)
		return refuse(why, "its setup header is too short");
	if (end > BZIMAGE_HEAD_BYTES || end > length)
		end = length < BZIMAGE_HEAD_BYTES ? length : BZIMAGE_HEAD_BYTES;
	found.header_bytes = (size_t)end - BZIMAGE_HEADER_START;
	*image = found;
	return 0;
}
