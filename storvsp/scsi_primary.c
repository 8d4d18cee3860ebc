/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Small commands of every unit: TEST UNIT READY, REQUEST SENSE, SEND DIAGNOSTIC, REPORT
 * SUPPORTED TASK MANAGEMENT FUNCTIONS (SPC-4), START STOP UNIT (SBC-3, MMC-6) and PREVENT ALLOW
 * MEDIUM REMOVAL (SPC-4, MMC-6).
 */
#include "base/bytes.h"
#include "storvsp/scsi_internal.h"

uint16_t scsi_take_attention(struct scsi_unit *unit)
{
	static const struct {
		unsigned int attention;
		uint16_t asc;
	} order[] = {
		{ATTENTION_RESET, ASC_RESET},
		{ATTENTION_MEDIUM_CHANGED, ASC_MEDIUM_CHANGED},
		{ATTENTION_CAPACITY_CHANGED, ASC_CAPACITY_CHANGED},
	};

	for (size_t i = 0; i < ARRAY_LENGTH(order); i++) {
		unsigned int before = atomic_fetch_and(&unit->attentions, ~order[i].attention);

		if (before & order[i].attention)
			return order[i].asc;
	}
	return 0;
}

uint16_t scsi_not_ready(const struct scsi_unit *unit, const struct disk_info *info)
{
	if (unit->kind == SCSI_DISK)
		return atomic_load(&unit->stopped) ? ASC_NEEDS_START : 0;
	if (atomic_load(&unit->tray_open))
		return ASC_NO_MEDIUM_TRAY_OPEN;
	if (!unit->disk)
		return ASC_NO_MEDIUM_TRAY_CLOSED;
	if (info->block_bytes == 0 || SCSI_DVD_BLOCK_BYTES % info->block_bytes != 0)
		return ASC_INCOMPATIBLE_MEDIUM;
	return 0;
}

void scsi_test_unit_ready(struct scsi_unit *unit, struct scsi_command *command,
			  const struct disk_info *info)
{
	(void)unit;
	(void)info;
	scsi_end_good(command, 0);
}

void scsi_request_sense(struct scsi_unit *unit, struct scsi_command *command,
			const struct disk_info *info)
{
	uint8_t sense[SCSI_SENSE_BYTES];
	uint16_t asc;

	if (command->cdb[1] & 0x01) { /* DESC: only the fixed format */
		scsi_end_bad_cdb(command, 1, 0);
		return;
	}
	asc = scsi_take_attention(unit);
	if (asc) {
		scsi_sense_build(sense, SENSE_UNIT_ATTENTION, asc);
	} else {
		asc = scsi_not_ready(unit, info);
		scsi_sense_build(sense, asc ? SENSE_NOT_READY : SENSE_NO_SENSE, asc);
	}
	scsi_end_data_in(command, sense, 18, command->cdb[4]);
}

void scsi_send_diagnostic(struct scsi_unit *unit, struct scsi_command *command,
			  const struct disk_info *info)
{
	(void)unit;
	(void)info;
	/* The default self-test, which there is nothing to do for; no other, and no pages. */
	if (command->cdb[1] & 0xe0)
		scsi_end_bad_cdb(command, 1, 7);
	else if (get_be16(&command->cdb[3]) != 0)
		scsi_end_bad_cdb(command, 3, -1);
	else
		scsi_end_good(command, 0);
}

void scsi_report_tmfs(struct scsi_unit *unit, struct scsi_command *command,
		      const struct disk_info *info)
{
	/* LOGICAL UNIT RESET and TARGET RESET; extended: no timeouts are specified. */
	uint8_t data[16] = {0x0a};
	size_t length = command->cdb[2] & 0x80 ? sizeof(data) : 4;

	(void)unit;
	(void)info;
	data[3] = (uint8_t)(length - 4);
	scsi_end_data_in(command, data, length, get_be32(&command->cdb[6]));
}

static void disk_stopped(struct scsi_job *job)
{
	atomic_store(&scsi_command_unit(job->command)->stopped, true);
	scsi_end_good(job->command, 0);
}

static void disk_start_stop(struct scsi_unit *unit, struct scsi_command *command)
{
	const uint8_t *cdb = command->cdb;
	struct scsi_job *job;

	if (cdb[4] & 0xf0) { /* no power conditions */
		scsi_end_bad_cdb(command, 4, 7);
	} else if (cdb[4] & 0x02) { /* a fixed disk does not eject */
		scsi_end_bad_cdb(command, 4, 1);
	} else if (cdb[4] & 0x01) {
		atomic_store(&unit->stopped, false);
		scsi_end_good(command, 0);
	} else if (cdb[4] & 0x04) { /* NO_FLUSH */
		atomic_store(&unit->stopped, true);
		scsi_end_good(command, 0);
	} else {
		job = scsi_job_create(command, 0);
		if (job)
			scsi_job_submit_iov(job, DISK_FLUSH, 0, 0, disk_stopped);
	}
}

static void dvd_start_stop(struct scsi_unit *unit, struct scsi_command *command)
{
	const uint8_t *cdb = command->cdb;
	bool start = cdb[4] & 0x01;

	/* Power conditions are the drive's own affair; start and stop alone move no tray. */
	if ((cdb[4] & 0xf0) || !(cdb[4] & 0x02)) {
		scsi_end_good(command, 0);
		return;
	}
	if (atomic_load(&unit->prevented)) {
		scsi_end_sense(command, SENSE_ILLEGAL_REQUEST, ASC_REMOVAL_PREVENTED);
		return;
	}
	if (start) {
		if (atomic_exchange(&unit->tray_open, false) && unit->disk) {
			atomic_store(&unit->media_event, MEDIA_EVENT_NEW);
			atomic_fetch_or(&unit->attentions, ATTENTION_MEDIUM_CHANGED);
		}
		atomic_store(&unit->wants_eject, false);
	} else {
		if (!atomic_exchange(&unit->tray_open, true) && unit->disk)
			atomic_store(&unit->media_event, MEDIA_EVENT_REMOVED);
		atomic_store(&unit->wants_eject, unit->disk != NULL);
	}
	scsi_end_good(command, 0);
}

void scsi_start_stop(struct scsi_unit *unit, struct scsi_command *command,
		     const struct disk_info *info)
{
	(void)info;
	if (unit->kind == SCSI_DVD)
		dvd_start_stop(unit, command);
	else
		disk_start_stop(unit, command);
}

void scsi_prevent_allow(struct scsi_unit *unit, struct scsi_command *command,
			const struct disk_info *info)
{
	(void)info;
	/* Bit 1, persistent prevention of MMC, is taken as the plain one. */
	atomic_store(&unit->prevented, (command->cdb[4] & 0x01) != 0);
	scsi_end_good(command, 0);
}
