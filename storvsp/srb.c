/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * See srb.h. The length of a transfer is the SRB's; the packet's ranges only say where it is, and
 * must be long enough.
 */
#include "storvsp/srb.h"

#include <errno.h>
#include <string.h>

#include "vmbus/guest_memory.h"
#include "vmbus/packet.h"

#define SAM_GOOD	    0x00
#define SAM_CHECK_CONDITION 0x02

#define CDB_INQUIRY    0x12
#define CDB_MODE_SENSE 0x1a

static_assert(GUEST_PAGE_SIZE == 4096, "SRB_MAX_RUNS");
static_assert(SCSI_SENSE_BYTES == VSTOR_SENSE_BYTES, "sense");
static_assert(SCSI_CDB_BYTES == VSTOR_CDB_BYTES, "CDB");

static int direction_parse(uint8_t data_in, uint32_t bytes, enum disk_direction *direction)
{
	if (bytes == 0) {
		*direction = DISK_NO_DATA;
		return 0;
	}
	if (data_in != VSTOR_DATA_TO_DEVICE && data_in != VSTOR_DATA_FROM_DEVICE)
		return -EINVAL;
	*direction = data_in == VSTOR_DATA_TO_DEVICE ? DISK_TO_DEVICE : DISK_FROM_DEVICE;
	return 0;
}

int srb_parse(const void *packet, size_t length, struct srb *srb)
{
	struct vstor_packet copy = {0};
	struct srb made = {0};

	if (length < sizeof(struct vstor_header) + VSTOR_SRB_MIN_BYTES)
		return -EINVAL;
	memcpy(&copy, packet, length < sizeof(copy) ? length : sizeof(copy));
	if (copy.srb.cdb_bytes == 0 || copy.srb.cdb_bytes > VSTOR_CDB_BYTES ||
	    copy.srb.transfer_bytes > VSTOR_MAX_TRANSFER_BYTES)
		return -EINVAL;
	if (direction_parse(copy.srb.data_in, copy.srb.transfer_bytes, &made.direction) < 0)
		return -EINVAL;
	made.path = copy.srb.path;
	made.target = copy.srb.target;
	made.lun = copy.srb.lun;
	made.data_bytes = copy.srb.transfer_bytes;
	made.cdb_bytes = copy.srb.cdb_bytes;
	memcpy(made.cdb, copy.srb.cdb, made.cdb_bytes);
	*srb = made;
	return 0;
}

/* ---- data ---- */

/* Adds a piece, to the last run where it goes on there. */
static int run_add(struct srb_data *data, struct guest_memory *memory, uint64_t gpa, size_t length)
{
	/* The gate's const pointer is for data that only goes out. */
	union {
		const void *out;
		void *in;
	} at;

	if (data->direction == DISK_FROM_DEVICE)
		at.in = guest_memory_for_write(memory, gpa, length);
	else
		at.out = guest_memory_for_read(memory, gpa, length);
	if (!at.out)
		return -EFAULT;
	if (data->count > 0) {
		struct iovec *last = &data->iov[data->count - 1];

		if ((uint8_t *)last->iov_base + last->iov_len == at.in &&
		    data->gpas[data->count - 1] + last->iov_len == gpa) {
			last->iov_len += length;
			return 0;
		}
	}
	data->iov[data->count] = (struct iovec){.iov_base = at.in, .iov_len = length};
	data->gpas[data->count++] = gpa;
	return 0;
}

int srb_data_map(struct srb_data *data, struct guest_memory *memory, const struct packet *packet,
		 const struct srb *srb)
{
	struct gpa_piece pieces[SRB_MAX_RUNS];
	uint32_t left = srb->data_bytes;
	ssize_t count;

	data->direction = srb->direction;
	data->count = 0;
	data->bytes = srb->data_bytes;
	if (left == 0)
		return 0;
	if (packet->type != PACKET_GPA_DIRECT)
		return -EINVAL;
	count = packet_gpa_pieces(packet, pieces, SRB_MAX_RUNS);
	if (count < 0)
		return -EINVAL;
	for (ssize_t i = 0; i < count && left > 0; i++) {
		uint32_t length = pieces[i].length < left ? pieces[i].length : left;
		int rc = run_add(data, memory, pieces[i].gpa, length);

		if (rc < 0)
			return rc;
		left -= length;
	}
	return left == 0 ? 0 : -EINVAL;
}

void srb_data_written(const struct srb_data *data, struct guest_memory *memory)
{
	if (data->direction != DISK_FROM_DEVICE)
		return;
	for (uint32_t i = 0; i < data->count; i++)
		guest_memory_mark_dirty(memory, data->gpas[i], data->iov[i].iov_len);
}

void srb_data_zero(const struct srb_data *data, uint64_t offset)
{
	if (data->direction != DISK_FROM_DEVICE)
		return;
	for (uint32_t i = 0; i < data->count; i++) {
		size_t length = data->iov[i].iov_len;
		size_t skip = offset < length ? (size_t)offset : length;

		memset((uint8_t *)data->iov[i].iov_base + skip, 0, length - skip);
		offset -= skip;
	}
}

size_t srb_data_copy_in(const struct srb_data *data, const void *bytes, size_t length)
{
	const uint8_t *from = bytes;
	size_t done = 0;

	if (data->direction != DISK_FROM_DEVICE)
		return 0;
	for (uint32_t i = 0; i < data->count && done < length; i++) {
		size_t run = data->iov[i].iov_len;

		if (run > length - done)
			run = length - done;
		memcpy(data->iov[i].iov_base, from + done, run);
		done += run;
	}
	return done;
}

/* ---- answers ---- */

bool srb_is_forced_to_succeed(const struct srb *srb)
{
	return srb->cdb[0] == CDB_INQUIRY || srb->cdb[0] == CDB_MODE_SENSE;
}

/*
 * Linux looks at sense data only where ERROR and AUTOSENSE_VALID come with CHECK CONDITION, and
 * makes ERROR without sense data a failure of the transport. For the other statuses (BUSY,
 * RESERVATION CONFLICT, ...) BUSY lets it act on the SCSI status alone.
 */
static uint8_t srb_status_of(const struct scsi_command *command, uint8_t sense_bytes)
{
	const uint8_t autosense = sense_bytes > 0 ? VSTOR_SRB_AUTOSENSE_VALID : 0;

	if (command->gone)
		return VSTOR_SRB_INVALID_LUN;
	if (command->status == SAM_GOOD)
		return VSTOR_SRB_SUCCESS;
	if (command->status == SAM_CHECK_CONDITION)
		return VSTOR_SRB_ERROR | autosense;
	return VSTOR_SRB_BUSY;
}

static uint32_t packet_status_of(uint8_t srb_status)
{
	switch (srb_status) {
	case VSTOR_SRB_SUCCESS:
		return VSTOR_STATUS_SUCCESS;
	case VSTOR_SRB_BUSY:
		return VSTOR_STATUS_DEVICE_BUSY;
	case VSTOR_SRB_INVALID_LUN:
		return VSTOR_STATUS_DEVICE_DOES_NOT_EXIST;
	default:
		return VSTOR_STATUS_IO_DEVICE_ERROR;
	}
}

void srb_reply(const struct scsi_command *command, const struct srb *srb,
	       struct vstor_packet *reply)
{
	uint8_t sense_bytes = 0;

	if (command->status == SAM_CHECK_CONDITION && !command->gone)
		sense_bytes = command->sense_bytes < VSTOR_SENSE_BYTES ? command->sense_bytes
								       : VSTOR_SENSE_BYTES;
	memset(reply, 0, sizeof(*reply));
	reply->header.operation = VSTOR_COMPLETE_IO;
	reply->srb.length = sizeof(reply->srb);
	reply->srb.srb_status = srb_status_of(command, sense_bytes);
	reply->srb.scsi_status = command->gone ? SAM_CHECK_CONDITION : command->status;
	reply->srb.path = srb->path;
	reply->srb.target = srb->target;
	reply->srb.lun = srb->lun;
	reply->srb.cdb_bytes = srb->cdb_bytes;
	reply->srb.sense_bytes = sense_bytes;
	memcpy(reply->srb.sense, command->sense, sense_bytes);
	if (!command->gone)
		reply->srb.transfer_bytes = command->transferred < srb->data_bytes
						    ? (uint32_t)command->transferred
						    : srb->data_bytes;
	reply->header.status = packet_status_of(reply->srb.srb_status);
}

void srb_reply_invalid(struct vstor_packet *reply)
{
	memset(reply, 0, sizeof(*reply));
	reply->header.operation = VSTOR_COMPLETE_IO;
	reply->header.status = VSTOR_STATUS_INVALID_PARAMETER;
	reply->srb.length = sizeof(reply->srb);
	reply->srb.srb_status = VSTOR_SRB_INVALID_REQUEST;
}
