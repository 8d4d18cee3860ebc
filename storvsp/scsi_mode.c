/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * MODE SENSE and MODE SELECT, 6 and 10 (SPC-4), with the pages of a disk (SBC-3:
 * read-write error recovery, caching, control, informational exceptions) and of a DVD drive
 * (MMC-6). A guest may change WCE and SWP, and nothing else; no values are saved.
 */
#include <string.h>

#include "base/bytes.h"
#include "storvsp/scsi_internal.h"

#define PAGE_RECOVERY	  0x01
#define PAGE_CACHING	  0x08
#define PAGE_CONTROL	  0x0a
#define PAGE_EXCEPTIONS	  0x1c
#define PAGE_CAPABILITIES 0x2a
#define PAGE_ALL	  0x3f
#define PAGE_MAX_BYTES	  22
#define CACHING_WCE	  0x04 /* of byte 2 */
#define CONTROL_SWP	  0x08 /* of byte 4 */

enum page_control {
	CURRENT_VALUES,
	CHANGEABLE_VALUES,
	DEFAULT_VALUES,
	SAVED_VALUES,
};

/* Puts a page; how long it is. */
typedef size_t (*page_fn)(const struct scsi_unit *unit, const struct disk_info *info,
			  enum page_control control, uint8_t *page);

static size_t page_recovery(const struct scsi_unit *unit, const struct disk_info *info,
			    enum page_control control, uint8_t *page)
{
	(void)info;
	if (control != CHANGEABLE_VALUES && unit->kind == SCSI_DISK)
		page[2] = 0xc0; /* AWRE, ARRE */
	return 12;
}

static size_t page_caching(const struct scsi_unit *unit, const struct disk_info *info,
			   enum page_control control, uint8_t *page)
{
	bool enabled = control == CURRENT_VALUES ? scsi_write_cache_enabled(unit, info)
						 : info->write_cache;

	page[2] = enabled ? CACHING_WCE : 0;
	return 20;
}

static size_t page_control(const struct scsi_unit *unit, const struct disk_info *info,
			   enum page_control control, uint8_t *page)
{
	(void)info;
	if (control == CHANGEABLE_VALUES) {
		page[4] = CONTROL_SWP;
		return 12;
	}
	page[2] = 0x02; /* GLTSD */
	page[3] = 0x10; /* QUEUE ALGORITHM MODIFIER: any order */
	if (control == CURRENT_VALUES && atomic_load(&unit->software_protect))
		page[4] = CONTROL_SWP;
	put_be16(&page[8], 0xffff); /* BUSY TIMEOUT PERIOD: no limit */
	return 12;
}

static size_t page_exceptions(const struct scsi_unit *unit, const struct disk_info *info,
			      enum page_control control, uint8_t *page)
{
	(void)unit;
	(void)info;
	if (control != CHANGEABLE_VALUES)
		page[2] = 0x08; /* DEXCPT: none are foreseen */
	return 12;
}

/* MMC-6, legacy page: CD/DVD capabilities and mechanical status. */
static size_t page_capabilities(const struct scsi_unit *unit, const struct disk_info *info,
				enum page_control control, uint8_t *page)
{
	(void)info;
	if (control == CHANGEABLE_VALUES)
		return 22;
	page[2] = 0x0b;		      /* reads CD-R, CD-RW, DVD-ROM */
	page[4] = 0x70;		      /* multi-session, mode 2 form 1 and 2 */
	page[6] = 0x20 | 0x08 | 0x01; /* a tray, that ejects, and locks */
	if (atomic_load(&unit->prevented))
		page[6] |= 0x02;
	put_be16(&page[8], 7056); /* KB/s */
	put_be16(&page[12], 512); /* KB of buffer */
	put_be16(&page[14], 7056);
	return 22;
}

static const struct {
	uint8_t code;
	uint16_t kinds;
	page_fn put;
} mode_pages[] = {
	{PAGE_RECOVERY, OP_FOR_DISK | OP_FOR_DVD, page_recovery},
	{PAGE_CACHING, OP_FOR_DISK, page_caching},
	{PAGE_CONTROL, OP_FOR_DISK, page_control},
	{PAGE_EXCEPTIONS, OP_FOR_DISK, page_exceptions},
	{PAGE_CAPABILITIES, OP_FOR_DVD, page_capabilities},
};

/* 0: there is none. page: PAGE_MAX_BYTES. */
static size_t page_put(const struct scsi_unit *unit, const struct disk_info *info, size_t index,
		       enum page_control control, uint8_t *page)
{
	uint16_t kind = unit->kind == SCSI_DISK ? OP_FOR_DISK : OP_FOR_DVD;
	size_t length;

	if (!(mode_pages[index].kinds & kind))
		return 0;
	memset(page, 0, PAGE_MAX_BYTES);
	length = mode_pages[index].put(unit, info, control, page);
	page[0] = mode_pages[index].code;
	page[1] = (uint8_t)(length - 2);
	return length;
}

/* ---- MODE SENSE ---- */

/* SBC-3, mode parameter block descriptors. */
static size_t put_block_descriptor(const struct scsi_unit *unit, const struct disk_info *info,
				   bool is_long, uint8_t *at)
{
	uint64_t blocks = scsi_capacity_blocks(unit, info);

	if (is_long) {
		put_be64(at, blocks);
		put_be32(&at[12], info->block_bytes);
		return 16;
	}
	put_be32(at, blocks > UINT32_MAX ? UINT32_MAX : (uint32_t)blocks);
	put_be32(&at[4], info->block_bytes); /* byte 4 is reserved: blocks are < 16 MiB */
	return 8;
}

static uint8_t device_specific(const struct scsi_unit *unit, const struct disk_info *info)
{
	if (unit->kind == SCSI_DVD)
		return 0;
	/* WP, DPOFUA */
	return (uint8_t)((info->read_only || atomic_load(&unit->software_protect) ? 0x80 : 0) |
			 0x10);
}

void scsi_mode_sense(struct scsi_unit *unit, struct scsi_command *command,
		     const struct disk_info *info)
{
	const uint8_t *cdb = command->cdb;
	bool is_10 = cdb[0] == OP_MODE_SENSE_10;
	bool is_long = is_10 && cdb[1] & 0x10; /* LLBAA */
	enum page_control control = cdb[2] >> 6;
	uint8_t code = cdb[2] & 0x3f;
	uint8_t data[8 + 16 + ARRAY_LENGTH(mode_pages) * PAGE_MAX_BYTES] = {0};
	size_t header = is_10 ? 8 : 4;
	size_t length = header, descriptor = 0;
	size_t before;

	if (control == SAVED_VALUES) {
		scsi_end_sense(command, SENSE_ILLEGAL_REQUEST, ASC_SAVING_NOT_SUPPORTED);
		return;
	}
	if (cdb[3] != 0 && cdb[3] != 0xff) {
		scsi_end_bad_cdb(command, 3, -1);
		return;
	}
	if (!(cdb[1] & 0x08) && unit->kind == SCSI_DISK)
		descriptor = put_block_descriptor(unit, info, is_long, &data[length]);
	length += descriptor;
	before = length;
	for (size_t i = 0; i < ARRAY_LENGTH(mode_pages); i++) {
		uint8_t page[PAGE_MAX_BYTES];
		size_t page_bytes;

		if (code != PAGE_ALL && code != mode_pages[i].code)
			continue;
		page_bytes = page_put(unit, info, i, control, page);
		memcpy(&data[length], page, page_bytes);
		length += page_bytes;
	}
	if (length == before) {
		scsi_end_bad_cdb(command, 2, 5);
		return;
	}
	if (is_10) {
		put_be16(data, (uint16_t)(length - 2));
		data[3] = device_specific(unit, info);
		data[4] = descriptor == 16 ? 0x01 : 0; /* LONGLBA */
		put_be16(&data[6], (uint16_t)descriptor);
	} else {
		data[0] = (uint8_t)(length - 1);
		data[2] = device_specific(unit, info);
		data[3] = (uint8_t)descriptor;
	}
	scsi_end_data_in(command, data, length, is_10 ? get_be16(&cdb[7]) : cdb[4]);
}

/* ---- MODE SELECT ---- */

struct mode_change {
	bool sets_wce, wce;
	bool sets_swp, swp;
};

/* The block descriptor must be what it is already. */
static bool select_check_descriptor(struct scsi_unit *unit, struct scsi_command *command,
				    const struct disk_info *info, const uint8_t *bytes, size_t at,
				    size_t length)
{
	uint8_t ours[16] = {0};
	bool is_long = length == 16;

	if (length == 0)
		return true;
	if (unit->kind == SCSI_DISK && (length == 8 || length == 16)) {
		size_t count_bytes = is_long ? 8 : 4;
		bool all_zero = true, all_ones = true;

		put_block_descriptor(unit, info, is_long, ours);
		for (size_t i = 0; i < count_bytes; i++) {
			all_zero = all_zero && bytes[at + i] == 0;
			all_ones = all_ones && bytes[at + i] == 0xff;
		}
		/* As many blocks as there are: 0 and all ones mean that too. */
		if ((all_zero || all_ones || memcmp(&bytes[at], ours, count_bytes) == 0) &&
		    memcmp(&bytes[at + count_bytes], &ours[count_bytes], length - count_bytes) == 0)
			return true;
	}
	scsi_end_bad_parameter(command, (uint16_t)at, -1);
	return false;
}

/* One page: it may differ from ours in changeable bits alone. Its length, or 0: the command has
 * ended. */
static size_t select_check_page(struct scsi_unit *unit, struct scsi_command *command,
				const struct disk_info *info, const uint8_t *bytes, size_t at,
				size_t left, struct mode_change *change)
{
	uint8_t current[PAGE_MAX_BYTES] = {0}, changeable[PAGE_MAX_BYTES] = {0};
	uint8_t code = bytes[at] & 0x3f;
	size_t length = 0;

	for (size_t i = 0; i < ARRAY_LENGTH(mode_pages) && !length; i++) {
		if (mode_pages[i].code != code || bytes[at] & 0x40)
			continue;
		length = page_put(unit, info, i, CURRENT_VALUES, current);
		page_put(unit, info, i, CHANGEABLE_VALUES, changeable);
	}
	if (!length) {
		scsi_end_bad_parameter(command, (uint16_t)at, 5);
		return 0;
	}
	if (left < length) {
		scsi_end_sense(command, SENSE_ILLEGAL_REQUEST, ASC_PARAMETER_LIST_LENGTH);
		return 0;
	}
	if (bytes[at + 1] != length - 2) {
		scsi_end_bad_parameter(command, (uint16_t)(at + 1), -1);
		return 0;
	}
	for (size_t i = 2; i < length; i++) {
		if ((bytes[at + i] ^ current[i]) & (uint8_t)~changeable[i]) {
			scsi_end_bad_parameter(command, (uint16_t)(at + i), -1);
			return 0;
		}
	}
	if (code == PAGE_CACHING) {
		change->sets_wce = true;
		change->wce = bytes[at + 2] & CACHING_WCE;
	} else if (code == PAGE_CONTROL) {
		change->sets_swp = true;
		change->swp = bytes[at + 4] & CONTROL_SWP;
	}
	return length;
}

static void select_apply(struct scsi_unit *unit, struct scsi_command *command,
			 const struct disk_info *info, const struct mode_change *change)
{
	bool was_cached = scsi_write_cache_enabled(unit, info);

	if (change->sets_swp)
		atomic_store(&unit->software_protect, change->swp);
	if (change->sets_wce)
		atomic_store(&unit->write_through, !change->wce);
	/* What the cache holds would never be flushed otherwise. */
	if (was_cached && !scsi_write_cache_enabled(unit, info))
		scsi_submit(command, DISK_FLUSH, 0, 0, NULL, 0, false);
	else
		scsi_end_good(command, command->transferred);
}

static void mode_select_list(struct scsi_unit *unit, struct scsi_command *command,
			     const struct disk_info *info, const uint8_t *bytes, size_t length)
{
	bool is_10 = command->cdb[0] == OP_MODE_SELECT_10;
	size_t header = is_10 ? 8 : 4;
	struct mode_change change = {0};
	size_t descriptor, at;

	if (length < header) {
		scsi_end_sense(command, SENSE_ILLEGAL_REQUEST, ASC_PARAMETER_LIST_LENGTH);
		return;
	}
	descriptor = is_10 ? get_be16(&bytes[6]) : bytes[3];
	if (descriptor > length - header) {
		scsi_end_sense(command, SENSE_ILLEGAL_REQUEST, ASC_PARAMETER_LIST_LENGTH);
		return;
	}
	if (!select_check_descriptor(unit, command, info, bytes, header, descriptor))
		return;
	for (at = header + descriptor; at < length;) {
		size_t page = 0;

		if (length - at < 2) {
			scsi_end_sense(command, SENSE_ILLEGAL_REQUEST, ASC_PARAMETER_LIST_LENGTH);
			return;
		}
		page = select_check_page(unit, command, info, bytes, at, length - at, &change);
		if (!page)
			return;
		at += page;
	}
	select_apply(unit, command, info, &change);
}

void scsi_mode_select(struct scsi_unit *unit, struct scsi_command *command,
		      const struct disk_info *info)
{
	const uint8_t *cdb = command->cdb;
	uint8_t bytes[512];
	uint32_t length = cdb[0] == OP_MODE_SELECT_10 ? get_be16(&cdb[7]) : cdb[4];

	if (cdb[1] & 0x01) { /* SP */
		scsi_end_bad_cdb(command, 1, 0);
	} else if (length == 0) {
		scsi_end_good(command, 0);
	} else if (length > sizeof(bytes)) {
		scsi_end_sense(command, SENSE_ILLEGAL_REQUEST, ASC_PARAMETER_LIST_LENGTH);
	} else if (scsi_get_parameters(command, length, bytes)) {
		mode_select_list(unit, command, info, bytes, length);
	}
}
