/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The SCSI unit: what every command passes on its way to its handler (SAM-5, SPC-4): is it
 * known, are its reserved bits zero, is there a unit attention to tell first, is there a medium,
 * may it be written.
 */
#include "storvsp/scsi.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "storvsp/scsi_internal.h"

/* Padded with blanks; what is not printable ASCII becomes a blank (SPC-4). */
static void text_field(char *field, size_t size, const char *text)
{
	memset(field, ' ', size);
	field[size] = '\0';
	for (size_t i = 0; i < size && text[i]; i++) {
		if (text[i] >= 0x20 && text[i] <= 0x7e)
			field[i] = text[i];
	}
}

int scsi_unit_create(const struct scsi_unit_config *config, struct scsi_unit **unit_out)
{
	struct scsi_unit *unit;

	if (config->kind != SCSI_DISK && config->kind != SCSI_DVD)
		return -EINVAL;
	if (config->kind == SCSI_DISK && !config->disk)
		return -EINVAL;
	unit = calloc(1, sizeof(*unit));
	if (!unit)
		return -ENOMEM;
	unit->kind = config->kind;
	unit->disk = config->disk;
	memcpy(unit->id, config->id, sizeof(unit->id));
	text_field(unit->vendor, sizeof(unit->vendor) - 1,
		   config->vendor ? config->vendor : "LUNAR");
	text_field(unit->product, sizeof(unit->product) - 1,
		   config->product	     ? config->product
		   : unit->kind == SCSI_DISK ? "DISK"
					     : "DVD-ROM");
	atomic_init(&unit->attentions, ATTENTION_RESET);
	atomic_init(&unit->media_event,
		    unit->kind == SCSI_DVD && unit->disk ? MEDIA_EVENT_NEW : MEDIA_EVENT_NONE);
	pthread_mutex_init(&unit->reservations.lock, NULL);
	scsi_ranges_init(&unit->ranges);
	*unit_out = unit;
	return 0;
}

void scsi_unit_destroy(struct scsi_unit *unit)
{
	if (!unit)
		return;
	scsi_ranges_fini(&unit->ranges);
	pthread_mutex_destroy(&unit->reservations.lock);
	free(unit);
}

void scsi_unit_set_id(struct scsi_unit *unit, const uint8_t id[16])
{
	memcpy(unit->id, id, sizeof(unit->id));
}

/* False: a bit is set that is not looked at, and the command has ended. */
static bool command_check_cdb(struct scsi_command *command, const struct scsi_op *op)
{
	for (uint16_t i = 1; i < op->cdb_bytes; i++) {
		uint8_t mask = op->usage[i];
		uint8_t extra;

		if (i == 1 && op->flags & OP_HAS_ACTION)
			mask |= 0x1f;
		extra = command->cdb[i] & (uint8_t)~mask;
		if (extra) {
			scsi_end_bad_cdb(command, i, 31 - __builtin_clz(extra));
			return false;
		}
	}
	return true;
}

static bool command_check_direction(struct scsi_command *command, const struct scsi_op *op)
{
	if (command->data_bytes == 0 || command->direction == DISK_NO_DATA) {
		command->data_bytes = 0;
		return true;
	}
	if ((op->flags & OP_DATA_IN && command->direction != DISK_FROM_DEVICE) ||
	    (op->flags & OP_DATA_OUT && command->direction != DISK_TO_DEVICE)) {
		scsi_end_sense(command, SENSE_ILLEGAL_REQUEST, ASC_INVALID_FIELD_IN_IU);
		return false;
	}
	return true;
}

/* False: the medium is not there or may not be written, and the command has ended. */
static bool command_check_medium(struct scsi_unit *unit, struct scsi_command *command,
				 const struct scsi_op *op, const struct disk_info *info)
{
	uint16_t asc;

	if (op->flags & OP_NEEDS_MEDIUM) {
		asc = scsi_not_ready(unit, info);
		if (asc) {
			scsi_end_sense(command, SENSE_NOT_READY, asc);
			return false;
		}
	}
	if (op->flags & OP_CHANGES_MEDIUM) {
		if (info->read_only) {
			scsi_end_sense(command, SENSE_DATA_PROTECT, ASC_WRITE_PROTECTED);
			return false;
		}
		if (atomic_load(&unit->software_protect)) {
			scsi_end_sense(command, SENSE_DATA_PROTECT, ASC_SOFTWARE_WRITE_PROTECTED);
			return false;
		}
	}
	return true;
}

static void command_execute(struct scsi_unit *unit, struct scsi_command *command,
			    const struct disk_info *info)
{
	bool known = false;
	const struct scsi_op *op = scsi_op_find(unit, info, command->cdb, &known);

	if (!(op && op->flags & OP_IGNORES_ATTENTION) && atomic_load(&unit->attentions)) {
		uint16_t asc = scsi_take_attention(unit);

		if (asc) {
			scsi_end_sense(command, SENSE_UNIT_ATTENTION, asc);
			return;
		}
	}
	if (!op || op->flags & OP_OF_CONTROLLER) {
		if (known)
			scsi_end_bad_cdb(command, 1, 4);
		else
			scsi_end_sense(command, SENSE_ILLEGAL_REQUEST, ASC_INVALID_OPCODE);
		return;
	}
	if (command->cdb_bytes < op->cdb_bytes) {
		scsi_end_bad_cdb(command, command->cdb_bytes, -1);
		return;
	}
	if (command_check_cdb(command, op) && command_check_direction(command, op) &&
	    command_check_medium(unit, command, op, info))
		op->run(unit, command, info);
}

void scsi_unit_execute(struct scsi_unit *unit, struct scsi_command *command)
{
	struct disk_info info = {0};

	command->status = SAM_GOOD;
	command->sense_bytes = 0;
	command->transferred = 0;
	command->gone = false;
	command->claim.held = false;
	command->unit_state[0] = unit;
	command->unit_state[1] = NULL;
	command->request.op = DISK_READ;
	if (unit->disk)
		disk_get_info(unit->disk, &info);
	if (info.passes_scsi)
		scsi_pass(unit, command);
	else
		command_execute(unit, command, &info);
}

void scsi_unit_reset(struct scsi_unit *unit)
{
	pthread_mutex_lock(&unit->reservations.lock);
	unit->reservations.reserved = false;
	pthread_mutex_unlock(&unit->reservations.lock);
	atomic_store(&unit->write_through, false);
	atomic_store(&unit->software_protect, false);
	atomic_store(&unit->stopped, false);
	atomic_store(&unit->prevented, false);
	atomic_fetch_or(&unit->attentions, ATTENTION_RESET);
}

void scsi_unit_capacity_changed(struct scsi_unit *unit)
{
	atomic_fetch_or(&unit->attentions, ATTENTION_CAPACITY_CHANGED);
}

void scsi_unit_change_medium(struct scsi_unit *unit, struct disk *disk)
{
	if (unit->kind != SCSI_DVD)
		return;
	unit->disk = disk;
	atomic_store(&unit->tray_open, false);
	atomic_store(&unit->wants_eject, false);
	atomic_store(&unit->media_event, disk ? MEDIA_EVENT_NEW : MEDIA_EVENT_REMOVED);
	if (disk)
		atomic_fetch_or(&unit->attentions, ATTENTION_MEDIUM_CHANGED);
	else
		atomic_fetch_and(&unit->attentions, ~(unsigned int)ATTENTION_MEDIUM_CHANGED);
}

bool scsi_unit_wants_eject(const struct scsi_unit *unit)
{
	return atomic_load(&unit->wants_eject);
}
