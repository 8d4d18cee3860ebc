/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * INQUIRY and its vital product data: SPC-4; SBC-3 (block limits, block device
 * characteristics, logical block provisioning).
 */
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "storvsp/scsi_internal.h"

#define STANDARD_BYTES	96
#define VPD_MAX_BYTES	256
#define VERSION_SPC4	0x06
#define DESCRIPTOR_SAM5 0x00a0
#define DESCRIPTOR_SPC4 0x0460
#define DESCRIPTOR_SBC3 0x04c0
#define DESCRIPTOR_MMC6 0x04e0

static uint8_t device_type(const struct scsi_unit *unit)
{
	return unit->kind == SCSI_DVD ? 0x05 : 0x00;
}

static void inquiry_standard(struct scsi_unit *unit, struct scsi_command *command,
			     uint16_t allocation)
{
	static const uint8_t revision[4] = {'1', '.', '0', ' '};
	uint8_t data[STANDARD_BYTES] = {0};

	data[0] = device_type(unit);
	data[1] = unit->kind == SCSI_DVD ? 0x80 : 0; /* RMB */
	data[2] = VERSION_SPC4;
	data[3] = 0x10 | 0x02; /* HISUP, response data format */
	data[4] = STANDARD_BYTES - 5;
	data[7] = 0x02; /* CMDQUE */
	memcpy(&data[8], unit->vendor, 8);
	memcpy(&data[16], unit->product, 16);
	memcpy(&data[32], revision, sizeof(revision));
	put_be16(&data[58], DESCRIPTOR_SAM5);
	put_be16(&data[60], DESCRIPTOR_SPC4);
	put_be16(&data[62], unit->kind == SCSI_DVD ? DESCRIPTOR_MMC6 : DESCRIPTOR_SBC3);
	scsi_end_data_in(command, data, sizeof(data), allocation);
}

/* ---- VPD pages: each puts what follows its header, and returns how much ---- */

typedef size_t (*vpd_fn)(const struct scsi_unit *unit, const struct disk_info *info, uint8_t *at);

static void unit_id_text(const struct scsi_unit *unit, char text[33])
{
	for (size_t i = 0; i < sizeof(unit->id); i++)
		snprintf(&text[2 * i], 3, "%02x", unit->id[i]);
}

static size_t vpd_serial(const struct scsi_unit *unit, const struct disk_info *info, uint8_t *at)
{
	char text[33];

	(void)info;
	unit_id_text(unit, text);
	memcpy(at, text, 32);
	return 32;
}

/* Locally assigned (NAA 3h, SPC-4): the 16 bytes of the id, folded into 60 bits. */
static uint64_t unit_naa(const struct scsi_unit *unit)
{
	uint64_t hash = 0xcbf29ce484222325ull; /* FNV-1a */

	for (size_t i = 0; i < sizeof(unit->id); i++)
		hash = (hash ^ unit->id[i]) * 0x100000001b3ull;
	return (hash & 0x0fffffffffffffffull) | 0x3000000000000000ull;
}

static size_t vpd_identification(const struct scsi_unit *unit, const struct disk_info *info,
				 uint8_t *at)
{
	char text[33];

	(void)info;
	at[0] = 0x01; /* binary */
	at[1] = 0x03; /* of the logical unit, NAA */
	at[3] = 8;
	put_be64(&at[4], unit_naa(unit));
	at += 12;
	at[0] = 0x02; /* ASCII */
	at[1] = 0x01; /* of the logical unit, T10 vendor identification */
	at[3] = 8 + 32;
	memcpy(&at[4], unit->vendor, 8);
	unit_id_text(unit, text);
	memcpy(&at[12], text, 32);
	return 12 + 4 + 8 + 32;
}

static size_t vpd_extended(const struct scsi_unit *unit, const struct disk_info *info, uint8_t *at)
{
	(void)unit;
	at[1] = 0x01;			      /* SIMPSUP: no other task attribute */
	at[2] = info->write_cache ? 0x01 : 0; /* V_SUP */
	at[3] = 0x01;			      /* LUICLR */
	return 60;
}

/* The optimal transfer length, where it is one that makes sense to a guest; else 0. */
static uint32_t optimal_blocks(const struct disk_info *info)
{
	uint32_t physical =
		info->physical_block_bytes ? info->physical_block_bytes : info->block_bytes;

	if (info->optimal_bytes < 4096 || info->optimal_bytes > SCSI_MAX_TRANSFER_BYTES ||
	    info->optimal_bytes % physical != 0)
		return 0;
	return info->optimal_bytes / info->block_bytes;
}

static size_t vpd_block_limits(const struct scsi_unit *unit, const struct disk_info *info,
			       uint8_t *at)
{
	uint32_t block = info->block_bytes;
	uint32_t physical = info->physical_block_bytes / block;

	(void)unit;
	/* Offsets as in the standard, which count the page's header of 4 bytes. */
	at -= 4;
	at[5] = SCSI_MAX_COMPARE_BLOCKS;
	put_be16(&at[6], physical ? (uint16_t)physical : 1);
	put_be32(&at[8], SCSI_MAX_TRANSFER_BYTES / block);
	put_be32(&at[12], optimal_blocks(info));
	if (info->unmap_granularity_bytes) {
		uint32_t granularity = info->unmap_granularity_bytes / block;

		put_be32(&at[20], SCSI_MAX_UNMAP_BLOCKS);
		put_be32(&at[24], SCSI_MAX_UNMAP_DESCRIPTORS);
		put_be32(&at[28], granularity ? granularity : 1);
		put_be32(&at[32], 0x80000000); /* UGAVALID: aligned at LBA 0 */
	}
	put_be64(&at[36], SCSI_MAX_WRITE_SAME_BLOCKS);
	return 60;
}

static size_t vpd_characteristics(const struct scsi_unit *unit, const struct disk_info *info,
				  uint8_t *at)
{
	(void)unit;
	put_be16(at, info->rotational ? 0 : 1); /* no word of the speed, or not rotating */
	return 60;
}

static size_t vpd_provisioning(const struct scsi_unit *unit, const struct disk_info *info,
			       uint8_t *at)
{
	(void)unit;
	if (info->unmap_granularity_bytes) {
		at[1] = 0x80 | 0x40 | 0x20; /* LBPU, LBPWS, LBPWS10 */
		if (info->unmap_zeroes)
			at[1] |= 0x04; /* LBPRZ */
		at[2] = 0x02;	       /* thin provisioned */
	}
	return 4;
}

static const struct {
	uint8_t page;
	bool for_dvd;
	vpd_fn put;
} vpd_pages[] = {
	{0x80, true, vpd_serial},	    {0x83, true, vpd_identification},
	{0x86, false, vpd_extended},	    {0xb0, false, vpd_block_limits},
	{0xb1, false, vpd_characteristics}, {0xb2, false, vpd_provisioning},
};

static bool vpd_has(const struct scsi_unit *unit, size_t index)
{
	return unit->kind == SCSI_DISK || vpd_pages[index].for_dvd;
}

/* The list of pages, itself the first. */
static size_t vpd_supported(const struct scsi_unit *unit, uint8_t *at)
{
	size_t count = 1;

	for (size_t i = 0; i < ARRAY_LENGTH(vpd_pages); i++) {
		if (vpd_has(unit, i))
			at[count++] = vpd_pages[i].page;
	}
	return count;
}

static void inquiry_vpd(struct scsi_unit *unit, struct scsi_command *command,
			const struct disk_info *info, uint16_t allocation)
{
	uint8_t data[VPD_MAX_BYTES] = {device_type(unit), command->cdb[2]};
	size_t length = 0;

	if (command->cdb[2] == 0)
		length = vpd_supported(unit, &data[4]);
	for (size_t i = 0; i < ARRAY_LENGTH(vpd_pages) && !length; i++) {
		if (vpd_pages[i].page == command->cdb[2] && vpd_has(unit, i))
			length = vpd_pages[i].put(unit, info, &data[4]);
	}
	if (!length) {
		scsi_end_bad_cdb(command, 2, -1);
		return;
	}
	put_be16(&data[2], (uint16_t)length);
	scsi_end_data_in(command, data, 4 + length, allocation);
}

void scsi_inquiry(struct scsi_unit *unit, struct scsi_command *command,
		  const struct disk_info *info)
{
	uint16_t allocation = get_be16(&command->cdb[3]);

	if (command->cdb[1] & 0x01)
		inquiry_vpd(unit, command, info, allocation);
	else if (command->cdb[2] != 0)
		scsi_end_bad_cdb(command, 2, -1);
	else
		inquiry_standard(unit, command, allocation);
}
