/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How a SCSI command ends: status, sense data in fixed format (SPC-4), what -errno of a disk
 * means to a guest; and the copies from and to the guest's buffer, each byte of which is read once.
 */
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "storvsp/scsi_internal.h"

#define FIXED_SENSE_BYTES 18

static void command_end(struct scsi_command *command, uint8_t status)
{
	struct scsi_unit *unit = scsi_command_unit(command);

	command->status = status;
	scsi_job_free(command);
	if (command->claim.held)
		scsi_range_release(&unit->ranges, &command->claim);
	command->claim.held = false;
	command->done(command);
}

void scsi_end_good(struct scsi_command *command, uint64_t transferred)
{
	command->transferred = transferred;
	command_end(command, SAM_GOOD);
}

void scsi_end_status(struct scsi_command *command, uint8_t status)
{
	command_end(command, status);
}

void scsi_sense_build(uint8_t sense[SCSI_SENSE_BYTES], uint8_t key, uint16_t asc)
{
	memset(sense, 0, SCSI_SENSE_BYTES);
	sense[0] = 0x70; /* current error, fixed format */
	sense[2] = key;
	sense[7] = FIXED_SENSE_BYTES - 8;
	put_be16(&sense[12], asc);
}

static void command_end_sense(struct scsi_command *command)
{
	command->sense_bytes = FIXED_SENSE_BYTES;
	command_end(command, SAM_CHECK_CONDITION);
}

void scsi_end_sense(struct scsi_command *command, uint8_t key, uint16_t asc)
{
	scsi_sense_build(command->sense, key, asc);
	command_end_sense(command);
}

void scsi_end_sense_information(struct scsi_command *command, uint8_t key, uint16_t asc,
				uint64_t information)
{
	scsi_sense_build(command->sense, key, asc);
	if (information <= UINT32_MAX) {
		command->sense[0] |= 0x80; /* VALID */
		put_be32(&command->sense[3], (uint32_t)information);
	}
	command_end_sense(command);
}

static void end_bad_field(struct scsi_command *command, uint16_t asc, uint8_t in_cdb, uint16_t byte,
			  int bit)
{
	scsi_sense_build(command->sense, SENSE_ILLEGAL_REQUEST, asc);
	command->sense[15] = (uint8_t)(0x80 | in_cdb); /* SKSV */
	if (bit >= 0)
		command->sense[15] |= (uint8_t)(0x08 | bit); /* BPV */
	put_be16(&command->sense[16], byte);
	command_end_sense(command);
}

void scsi_end_bad_cdb(struct scsi_command *command, uint16_t byte, int bit)
{
	end_bad_field(command, ASC_INVALID_FIELD_IN_CDB, 0x40, byte, bit);
}

void scsi_end_bad_parameter(struct scsi_command *command, uint16_t byte, int bit)
{
	end_bad_field(command, ASC_INVALID_FIELD_IN_PARAMETERS, 0, byte, bit);
}

void scsi_end_errno(struct scsi_command *command, int error)
{
	bool writes = command->direction == DISK_TO_DEVICE || command->request.op != DISK_READ;

	command->transferred = 0;
	switch (error < 0 ? -error : error) {
	case ENOSPC:
	case EDQUOT:
	case EFBIG:
		scsi_end_sense(command, SENSE_DATA_PROTECT, ASC_NO_SPACE);
		break;
	case EROFS:
	case EACCES:
	case EPERM:
		scsi_end_sense(command, SENSE_DATA_PROTECT, ASC_WRITE_PROTECTED);
		break;
	case ETIMEDOUT:
		scsi_end_sense(command, SENSE_ABORTED_COMMAND, ASC_TIMEOUT);
		break;
	case ENODEV:
	case ENXIO:
	case ENOTCONN:
	case ECONNRESET:
	case EHOSTUNREACH:
	case ENETUNREACH:
		scsi_end_sense(command, SENSE_HARDWARE_ERROR, ASC_NO_COMMUNICATION);
		break;
	case EAGAIN:
	case EBUSY:
	case ENOMEM:
		scsi_end_status(command, SAM_BUSY);
		break;
	case EIO:
	case EILSEQ:
	case EBADMSG:
		scsi_end_sense(command, SENSE_MEDIUM_ERROR,
			       writes ? ASC_WRITE_ERROR : ASC_READ_ERROR);
		break;
	default:
		scsi_end_sense(command, SENSE_HARDWARE_ERROR, ASC_INTERNAL_FAILURE);
		break;
	}
}

static size_t guest_copy(const struct scsi_command *command, uint64_t offset, uint8_t *bytes,
			 size_t length, bool to_guest)
{
	size_t copied = 0;

	for (uint32_t i = 0; i < command->iov_count && copied < length; i++) {
		const struct iovec *iov = &command->iov[i];
		size_t part;

		if (offset >= iov->iov_len) {
			offset -= iov->iov_len;
			continue;
		}
		part = iov->iov_len - (size_t)offset;
		if (part > length - copied)
			part = length - copied;
		if (to_guest)
			memcpy((uint8_t *)iov->iov_base + offset, bytes + copied, part);
		else
			memcpy(bytes + copied, (const uint8_t *)iov->iov_base + offset, part);
		copied += part;
		offset = 0;
	}
	return copied;
}

size_t scsi_copy_from_guest(const struct scsi_command *command, uint64_t offset, void *bytes,
			    size_t length)
{
	return guest_copy(command, offset, bytes, length, false);
}

size_t scsi_copy_to_guest(const struct scsi_command *command, uint64_t offset, const void *bytes,
			  size_t length)
{
	/* guest_copy() only reads them. */
	return guest_copy(command, offset, (uint8_t *)(uintptr_t)bytes, length, true);
}

void scsi_end_data_in(struct scsi_command *command, const void *bytes, size_t length,
		      size_t allocation)
{
	size_t count = length < allocation ? length : allocation;

	if (count > command->data_bytes)
		count = (size_t)command->data_bytes;
	scsi_end_good(command, scsi_copy_to_guest(command, 0, bytes, count));
}

bool scsi_get_parameters(struct scsi_command *command, uint32_t list_bytes, uint8_t *bytes)
{
	if (command->data_bytes < list_bytes ||
	    scsi_copy_from_guest(command, 0, bytes, list_bytes) != list_bytes) {
		scsi_end_sense(command, SENSE_ILLEGAL_REQUEST, ASC_PARAMETER_LIST_LENGTH);
		return false;
	}
	command->transferred = list_bytes;
	return true;
}
