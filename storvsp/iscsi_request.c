/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Building the commands. DISK_SCSI passes as it is; the other operations are there so that this
 * disk is a disk like any other.
 */
#include "storvsp/iscsi_request.h"

#include <errno.h>
#include <string.h>

#include "base/bytes.h"

#define STATUS_GOOD	     0x00
#define STATUS_CHECK	     0x02
#define STATUS_BUSY	     0x08
#define STATUS_TASK_SET_FULL 0x28
#define KEY_NOT_READY	     0x02
#define KEY_ILLEGAL_REQUEST  0x05
#define KEY_UNIT_ATTENTION   0x06
#define KEY_DATA_PROTECT     0x07
#define ASC_NO_SPACE	     0x27
#define ASCQ_NO_SPACE	     0x07
#define FUA		     0x08
#define BLOCK_MAX	     4096u
#define PASSED_BYTES_MAX     (64u << 20)

static const uint8_t zero_block[BLOCK_MAX];

/* A CDB of 16 bytes with LBA and count of blocks. */
static int put_range(const struct disk_request *request, uint32_t block_bytes, uint8_t opcode,
		     struct session_command *command)
{
	uint64_t blocks = request->length / block_bytes;

	if (blocks > UINT32_MAX)
		return -EINVAL;
	command->cdb[0] = opcode;
	put_be64(command->cdb + 2, request->offset / block_bytes);
	put_be32(command->cdb + 10, (uint32_t)blocks);
	command->cdb_length = 16;
	return 0;
}

/* libiscsi steps through the vector in place, and puts it right again. */
static int put_data(const struct disk_request *request, enum cdb_data direction, uint64_t max,
		    struct session_command *command)
{
	if (request->length > max || request->iov_count > INT32_MAX)
		return -EINVAL;
	command->direction = direction;
	command->data_bytes = (uint32_t)request->length;
	command->iov = (struct iovec *)(uintptr_t)request->iov;
	command->iov_count = (int)request->iov_count;
	return 0;
}

static int put_scsi(const struct disk_request *request, struct session_command *command)
{
	static const enum cdb_data directions[] = {
		[DISK_NO_DATA] = CDB_DATA_NONE,
		[DISK_TO_DEVICE] = CDB_DATA_OUT,
		[DISK_FROM_DEVICE] = CDB_DATA_IN,
	};
	const struct disk_scsi *scsi = request->scsi;

	if (scsi->cdb_bytes == 0 || scsi->cdb_bytes > sizeof(command->cdb))
		return -EINVAL;
	memcpy(command->cdb, scsi->cdb, scsi->cdb_bytes);
	command->cdb_length = scsi->cdb_bytes;
	if (scsi->direction == DISK_NO_DATA || request->length == 0)
		return 0;
	return put_data(request, directions[scsi->direction], PASSED_BYTES_MAX, command);
}

static void put_own_data(void *bytes, uint32_t length, struct iovec *iov,
			 struct session_command *command)
{
	*iov = (struct iovec){bytes, length};
	command->direction = CDB_DATA_OUT;
	command->data_bytes = length;
	command->iov = iov;
	command->iov_count = 1;
}

static int put_unmap(const struct disk_request *request, uint32_t block_bytes,
		     uint8_t parameter[ISCSI_PARAMETER_BYTES], struct iovec *iov,
		     struct session_command *command)
{
	uint64_t blocks = request->length / block_bytes;

	if (blocks > UINT32_MAX)
		return -EINVAL;
	memset(parameter, 0, ISCSI_PARAMETER_BYTES);
	put_be16(parameter, ISCSI_PARAMETER_BYTES - 2);
	put_be16(parameter + 2, 16);
	put_be64(parameter + 8, request->offset / block_bytes);
	put_be32(parameter + 16, (uint32_t)blocks);
	command->cdb[0] = 0x42;
	put_be16(command->cdb + 7, ISCSI_PARAMETER_BYTES);
	command->cdb_length = 10;
	put_own_data(parameter, ISCSI_PARAMETER_BYTES, iov, command);
	return 0;
}

int iscsi_request_to_command(const struct disk_request *request, uint32_t block_bytes,
			     uint8_t parameter[ISCSI_PARAMETER_BYTES], struct iovec *iov,
			     struct session_command *command)
{
	int ret;

	memset(command, 0, sizeof(*command));
	switch (request->op) {
	case DISK_READ:
		ret = put_range(request, block_bytes, 0x88, command);
		return ret < 0 ? ret : put_data(request, CDB_DATA_IN, PASSED_BYTES_MAX, command);
	case DISK_WRITE:
		ret = put_range(request, block_bytes, 0x8a, command);
		if (request->fua)
			command->cdb[1] = FUA;
		return ret < 0 ? ret : put_data(request, CDB_DATA_OUT, PASSED_BYTES_MAX, command);
	case DISK_FLUSH:
		command->cdb[0] = 0x35;
		command->cdb_length = 10;
		return 0;
	case DISK_WRITE_ZEROES:
		ret = put_range(request, block_bytes, 0x93, command);
		put_own_data((void *)(uintptr_t)zero_block, block_bytes, iov, command);
		return ret;
	case DISK_UNMAP:
		return put_unmap(request, block_bytes, parameter, iov, command);
	case DISK_SCSI:
		return put_scsi(request, command);
	}
	return -EINVAL;
}

static uint8_t key_of(const struct session_command *command)
{
	bool descriptors = (command->sense[0] & 0x7e) == 0x72;

	if (command->status != STATUS_CHECK || command->sense_length < 8)
		return 0;
	return command->sense[descriptors ? 1 : 2] & 0x0f;
}

static int status_of_check(const struct disk_request *request,
			   const struct session_command *command)
{
	bool fixed = (command->sense[0] & 0x7e) == 0x70 && command->sense_length >= 14;

	switch (key_of(command)) {
	case KEY_NOT_READY:
		return -ENODEV;
	case KEY_DATA_PROTECT:
		return fixed && command->sense[12] == ASC_NO_SPACE &&
				       command->sense[13] == ASCQ_NO_SPACE
			       ? -ENOSPC
			       : -EROFS;
	case KEY_ILLEGAL_REQUEST:
		/* No cache to flush, no blocks to give back. */
		return request->op == DISK_FLUSH || request->op == DISK_UNMAP ? 0 : -EIO;
	default:
		return -EIO;
	}
}

bool iscsi_request_is_to_repeat(const struct disk_request *request,
				const struct session_command *command)
{
	return request->op != DISK_SCSI && key_of(command) == KEY_UNIT_ATTENTION;
}

int iscsi_request_status(const struct disk_request *request, const struct session_command *command)
{
	struct disk_scsi *scsi = request->scsi;

	if (request->op == DISK_SCSI) {
		scsi->status = command->status;
		scsi->sense_bytes = command->sense_length < DISK_SENSE_BYTES ? command->sense_length
									     : DISK_SENSE_BYTES;
		memcpy(scsi->sense, command->sense, scsi->sense_bytes);
		scsi->transferred = 0;
		if (command->direction == CDB_DATA_IN)
			scsi->transferred = command->received_bytes;
		else if (command->direction == CDB_DATA_OUT && command->status == STATUS_GOOD)
			scsi->transferred = command->data_bytes;
		return 0;
	}
	switch (command->status) {
	case STATUS_GOOD:
		/* A read that the target cut short is none. */
		return request->op == DISK_READ && command->received_bytes != command->data_bytes
			       ? -EIO
			       : 0;
	case STATUS_CHECK:
		return status_of_check(request, command);
	case STATUS_BUSY:
	case STATUS_TASK_SET_FULL:
		return -EAGAIN;
	default:
		return -EIO;
	}
}
