/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a CD/DVD drive answers besides the commands of a disk: READ TOC/PMA/ATIP, GET
 * CONFIGURATION and its features, GET EVENT STATUS NOTIFICATION, READ DISC INFORMATION, MECHANISM
 * STATUS (MMC-6). A medium has one session of one data track.
 */
#include <string.h>

#include "base/bytes.h"
#include "storvsp/scsi_internal.h"

#define LEAD_OUT	0xaa
#define DATA_TRACK	0x14	  /* ADR 1, control 4: data, copying prohibited */
#define CD_MAX_BLOCKS	(360000u) /* 80 minutes */
#define PROFILE_CD_ROM	0x0008
#define PROFILE_DVD_ROM 0x0010

/* A block's address in minutes, seconds and frames, where the CDB asks for that (MMC-6). */
static void put_address(uint8_t *at, uint32_t lba, bool msf)
{
	if (!msf) {
		put_be32(at, lba);
		return;
	}
	lba += 150;
	at[0] = 0;
	at[1] = lba / 4500 > 0xff ? 0xff : (uint8_t)(lba / 4500);
	at[2] = (uint8_t)(lba / 75 % 60);
	at[3] = (uint8_t)(lba % 75);
}

static uint32_t lead_out_lba(const struct scsi_unit *unit, const struct disk_info *info)
{
	uint64_t blocks = scsi_capacity_blocks(unit, info);

	return blocks > UINT32_MAX ? UINT32_MAX : (uint32_t)blocks;
}

static uint8_t *put_track(uint8_t *at, uint8_t track, uint32_t lba, bool msf)
{
	at[1] = DATA_TRACK;
	at[2] = track;
	put_address(&at[4], lba, msf);
	return at + 8;
}

/* Format 0: the tracks from the one that the CDB names. */
static size_t toc_tracks(const struct scsi_unit *unit, const struct disk_info *info,
			 const uint8_t *cdb, uint8_t *data)
{
	bool msf = cdb[1] & 0x02;
	uint8_t *at = &data[4];

	if (cdb[6] > 1 && cdb[6] != LEAD_OUT)
		return 0;
	if (cdb[6] <= 1)
		at = put_track(at, 1, 0, msf);
	at = put_track(at, LEAD_OUT, lead_out_lba(unit, info), msf);
	return (size_t)(at - data);
}

/* Format 1: the first track of the last session. */
static size_t toc_sessions(const uint8_t *cdb, uint8_t *data)
{
	return (size_t)(put_track(&data[4], 1, 0, cdb[1] & 0x02) - data);
}

/* Format 2: the lead-in's own entries: first and last track, lead-out, the track; always in MSF. */
static size_t toc_full(const struct scsi_unit *unit, const struct disk_info *info, uint8_t *data)
{
	static const uint8_t points[] = {0xa0, 0xa1, 0xa2, 1};
	uint8_t *at = &data[4];

	for (size_t i = 0; i < ARRAY_LENGTH(points); i++, at += 11) {
		uint8_t address[4];

		at[0] = 1; /* session */
		at[1] = DATA_TRACK;
		at[3] = points[i];
		if (points[i] == 0xa0 || points[i] == 0xa1) {
			at[8] = 1;
			continue;
		}
		put_address(address, points[i] == 0xa2 ? lead_out_lba(unit, info) : 0, true);
		memcpy(&at[8], &address[1], 3);
	}
	return (size_t)(at - data);
}

void scsi_read_toc(struct scsi_unit *unit, struct scsi_command *command,
		   const struct disk_info *info)
{
	const uint8_t *cdb = command->cdb;
	/* Where the field is 0, old drivers ask in the control byte. */
	uint8_t format = cdb[2] & 0x0f ? cdb[2] & 0x0f : cdb[9] >> 6;
	uint8_t data[4 + 4 * 11] = {0, 0, 1, 1};
	size_t length = 0;

	if (format == 0)
		length = toc_tracks(unit, info, cdb, data);
	else if (format == 1)
		length = toc_sessions(cdb, data);
	else if (format == 2 && cdb[6] <= 1)
		length = toc_full(unit, info, data);
	if (!length) {
		scsi_end_bad_cdb(command, format > 2 ? 2 : 6, -1);
		return;
	}
	put_be16(data, (uint16_t)(length - 2));
	scsi_end_data_in(command, data, length, get_be16(&cdb[7]));
}

/* ---- GET CONFIGURATION ---- */

static uint16_t current_profile(const struct scsi_unit *unit, const struct disk_info *info)
{
	if (scsi_not_ready(unit, info))
		return 0;
	return scsi_capacity_blocks(unit, info) > CD_MAX_BLOCKS ? PROFILE_DVD_ROM : PROFILE_CD_ROM;
}

/* Feature descriptors (MMC-6), by number; byte 2: version << 2 | persistent << 1 | current. */
static const struct {
	uint16_t feature;
	uint16_t profile; /* current with this profile; 0: always; 1: with any medium */
	uint8_t flags;	  /* without the current bit */
	uint8_t length;
	uint8_t bytes[8];
} features[] = {
	{0x0001, 0, 0x02 << 2 | 0x02, 8, {0, 0, 0, 1, 0x03}}, /* core: SCSI; INQ2, DBE */
	{0x0002, 0, 0x01 << 2 | 0x02, 4, {0x02}},	      /* morphing: OCEvent */
	{0x0003, 0, 0x01 << 2 | 0x02, 4, {0x29}},	      /* removable: tray, eject, lock */
	{0x0010, 1, 0, 8, {0, 0, 8, 0, 0, 1}},		      /* random readable: 2048, 1 */
	{0x001e, PROFILE_CD_ROM, 0x02 << 2, 4, {0}},	      /* CD read */
	{0x001f, PROFILE_DVD_ROM, 0x01 << 2, 4, {0}},	      /* DVD read */
};

static bool feature_current(size_t index, uint16_t profile)
{
	return features[index].profile == 0 ||
	       (features[index].profile == 1 ? profile != 0 : features[index].profile == profile);
}

/* RT: 0 all, 1 those that are current, 2 the one named. */
static bool feature_wanted(uint16_t feature, bool current, uint8_t rt, uint16_t start)
{
	if (rt == 2)
		return feature == start;
	return feature >= start && (rt == 0 || current);
}

static size_t put_profiles(uint8_t *at, uint16_t profile)
{
	at[2] = 0x03; /* persistent, current */
	at[3] = 8;
	put_be16(&at[4], PROFILE_DVD_ROM);
	at[6] = profile == PROFILE_DVD_ROM;
	put_be16(&at[8], PROFILE_CD_ROM);
	at[10] = profile == PROFILE_CD_ROM;
	return 12;
}

void scsi_get_configuration(struct scsi_unit *unit, struct scsi_command *command,
			    const struct disk_info *info)
{
	const uint8_t *cdb = command->cdb;
	uint8_t data[8 + 12 + ARRAY_LENGTH(features) * 12] = {0};
	uint16_t profile = current_profile(unit, info);
	uint16_t start = get_be16(&cdb[2]);
	uint8_t rt = cdb[1] & 0x03;
	size_t length = 8;

	if (rt == 3) {
		scsi_end_bad_cdb(command, 1, 1);
		return;
	}
	if (feature_wanted(0, true, rt, start))
		length += put_profiles(&data[length], profile);
	for (size_t i = 0; i < ARRAY_LENGTH(features); i++) {
		bool current = feature_current(i, profile);
		uint8_t *at = &data[length];

		if (!feature_wanted(features[i].feature, current, rt, start))
			continue;
		put_be16(at, features[i].feature);
		at[2] = (uint8_t)(features[i].flags | (current ? 0x01 : 0));
		at[3] = features[i].length;
		memcpy(&at[4], features[i].bytes, features[i].length);
		length += 4u + features[i].length;
	}
	put_be32(data, (uint32_t)(length - 4));
	put_be16(&data[6], profile);
	scsi_end_data_in(command, data, length, get_be16(&cdb[7]));
}

/* ---- events and states ---- */

void scsi_get_event_status(struct scsi_unit *unit, struct scsi_command *command,
			   const struct disk_info *info)
{
	const uint8_t *cdb = command->cdb;
	uint8_t data[8] = {0, 2, 0x80, 0x10}; /* NEA; of all classes there is the media's */
	size_t length = 4;

	(void)info;
	if (!(cdb[1] & 0x01)) { /* asynchronous: not supported */
		scsi_end_bad_cdb(command, 1, 0);
		return;
	}
	if (cdb[4] & 0x10) {
		data[1] = 6;
		data[2] = 0x04;
		/* An answer that does not fit tells no event, so it is not taken. */
		if (get_be16(&cdb[7]) > 4)
			data[4] = (uint8_t)atomic_exchange(&unit->media_event, MEDIA_EVENT_NONE);
		if (atomic_load(&unit->tray_open))
			data[5] = 0x01;
		else if (unit->disk)
			data[5] = 0x02;
		length = 8;
	}
	scsi_end_data_in(command, data, length, get_be16(&cdb[7]));
}

void scsi_read_disc_information(struct scsi_unit *unit, struct scsi_command *command,
				const struct disk_info *info)
{
	uint8_t data[34] = {0};

	(void)unit;
	(void)info;
	if (command->cdb[1] & 0x07) { /* only the standard one */
		scsi_end_bad_cdb(command, 1, 2);
		return;
	}
	put_be16(data, sizeof(data) - 2);
	data[2] = 0x0e; /* complete, and so is its last session */
	data[3] = 1;	/* first track */
	data[4] = 1;	/* sessions */
	data[5] = 1;	/* first and last track of the last session */
	data[6] = 1;
	data[7] = 0x20;		    /* URU */
	memset(&data[16], 0xff, 8); /* no lead-in, no further lead-out */
	scsi_end_data_in(command, data, sizeof(data), get_be16(&command->cdb[7]));
}

void scsi_mechanism_status(struct scsi_unit *unit, struct scsi_command *command,
			   const struct disk_info *info)
{
	uint8_t data[8] = {0};

	(void)info;
	data[1] = atomic_load(&unit->tray_open) ? 0x10 : 0; /* door open */
	scsi_end_data_in(command, data, sizeof(data), get_be16(&command->cdb[8]));
}
