/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A unit whose disk is a real LUN: its CDBs go there, and its answers come back. What does not pass
 * is what would reach beyond the LUN, or outlast the guest in a way that nobody can take back:
 *
 *   EXTENDED COPY, RECEIVE COPY RESULTS, the target would copy with the parent's rights, from and
 *   COPY, COMPARE, COPY AND VERIFY       to LUNs that are not this guest's
 *   WRITE BUFFER                         downloads firmware into the target
 *   SECURITY PROTOCOL IN/OUT             can lock a drive for good
 *   ATA PASS-THROUGH                     does all of that in another language
 *   MAINTENANCE OUT                      changes paths and priorities of other initiators
 *   variable length CDBs                 do not fit into VSTOR's 16 bytes
 *   vendor specific and reserved codes   do who knows what; many drives take firmware by them
 *   REPORT LUNS                          is about the controller's units, and answered there
 *   NACA in the control byte             an ACA condition would hold up the parent's nexus
 *
 * Sense data in descriptor format becomes fixed format, which is what 20 bytes can carry.
 */
#include <string.h>

#include "base/bytes.h"
#include "storvsp/scsi_internal.h"

static bool opcode_passes(uint8_t opcode)
{
	switch (opcode) {
	case OP_WRITE_BUFFER:
	case OP_COPY:
	case OP_COMPARE:
	case OP_COPY_AND_VERIFY:
	case OP_THIRD_PARTY_COPY_OUT:
	case OP_THIRD_PARTY_COPY_IN:
	case OP_ATA_PASS_THROUGH_16:
	case OP_ATA_PASS_THROUGH_12:
	case OP_REPORT_LUNS:
	case OP_SECURITY_PROTOCOL_IN:
	case OP_SECURITY_PROTOCOL_OUT:
	case OP_MAINTENANCE_OUT:
		return false;
	default:
		return true;
	}
}

/* By the group of the operation code (SPC-4); 0: variable length, reserved, or vendor specific. */
static uint8_t cdb_length(uint8_t opcode)
{
	static const uint8_t lengths[8] = {6, 10, 10, 0, 16, 12, 0, 0};

	return lengths[opcode >> 5];
}

/* SPC-4, descriptor format: the information descriptor, as far as 32 bits go, becomes the
 * INFORMATION field. */
static void sense_from_descriptors(struct scsi_command *command, const uint8_t *sense, size_t bytes)
{
	size_t end = 8u + sense[7];

	scsi_sense_build(command->sense, sense[1] & 0x0f, get_be16(&sense[2]));
	command->sense[0] = (uint8_t)(0x70 | (sense[0] & 0x01)); /* 73h is deferred, as 71h is */
	command->sense_bytes = 18;
	if (end > bytes)
		end = bytes;
	for (size_t at = 8; at + 2 <= end; at += 2u + sense[at + 1]) {
		const uint8_t *descriptor = &sense[at];

		if (at + 2 + descriptor[1] > end)
			break;
		if (descriptor[0] == 0x00 && descriptor[1] >= 10 && descriptor[2] & 0x80 &&
		    get_be64(&descriptor[4]) <= UINT32_MAX) {
			command->sense[0] |= 0x80;
			put_be32(&command->sense[3], (uint32_t)get_be64(&descriptor[4]));
		} else if (descriptor[0] == 0x02 && descriptor[1] >= 6) {
			memcpy(&command->sense[15], &descriptor[4], 3);
		}
	}
}

static void pass_take_sense(struct scsi_command *command)
{
	const struct disk_scsi *scsi = &command->scsi;
	uint8_t response = scsi->sense[0] & 0x7f;
	size_t bytes = scsi->sense_bytes;

	if (bytes > sizeof(scsi->sense))
		bytes = sizeof(scsi->sense);
	if (bytes >= 8 && (response == 0x72 || response == 0x73)) {
		sense_from_descriptors(command, scsi->sense, bytes);
		return;
	}
	command->sense_bytes = (uint8_t)(bytes < SCSI_SENSE_BYTES ? bytes : SCSI_SENSE_BYTES);
	memcpy(command->sense, scsi->sense, command->sense_bytes);
	/* What was cut off is not announced. */
	if (command->sense_bytes > 7 && command->sense[7] > command->sense_bytes - 8)
		command->sense[7] = (uint8_t)(command->sense_bytes - 8);
}

static void pass_done(struct disk_request *request, int status)
{
	struct scsi_command *command =
		(struct scsi_command *)((char *)request - offsetof(struct scsi_command, request));
	const struct disk_scsi *scsi = &command->scsi;

	if (status) {
		scsi_end_errno(command, status);
		return;
	}
	command->transferred =
		scsi->transferred < command->data_bytes ? scsi->transferred : command->data_bytes;
	if (scsi->status == SAM_CHECK_CONDITION)
		pass_take_sense(command);
	scsi_end_status(command, scsi->status);
}

void scsi_pass(struct scsi_unit *unit, struct scsi_command *command)
{
	uint8_t length = cdb_length(command->cdb[0]);
	uint16_t asc;

	if (command->cdb[0] != OP_INQUIRY && command->cdb[0] != OP_REQUEST_SENSE &&
	    atomic_load(&unit->attentions)) {
		asc = scsi_take_attention(unit);
		if (asc) {
			scsi_end_sense(command, SENSE_UNIT_ATTENTION, asc);
			return;
		}
	}
	if (length == 0 || !opcode_passes(command->cdb[0])) {
		scsi_end_sense(command, SENSE_ILLEGAL_REQUEST, ASC_INVALID_OPCODE);
		return;
	}
	if (length > command->cdb_bytes) {
		scsi_end_bad_cdb(command, command->cdb_bytes, -1);
		return;
	}
	if (command->cdb[length - 1] & 0x04) { /* NACA */
		scsi_end_bad_cdb(command, length - 1, 2);
		return;
	}
	if (command->direction == DISK_NO_DATA || command->data_bytes == 0) {
		command->direction = DISK_NO_DATA;
		command->data_bytes = 0;
	}
	command->scsi = (struct disk_scsi){.cdb_bytes = length, .direction = command->direction};
	memcpy(command->scsi.cdb, command->cdb, length);
	command->request = (struct disk_request){
		.op = DISK_SCSI,
		.length = command->data_bytes,
		.iov = command->data_bytes ? command->iov : NULL,
		.iov_count = command->data_bytes ? command->iov_count : 0,
		.scsi = &command->scsi,
		.loop = command->loop,
		.done = pass_done,
	};
	disk_submit(unit->disk, &command->request);
}
