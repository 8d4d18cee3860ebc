/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * WRITE SAME and UNMAP (SBC-3). Zeroes go to the disk as such, which may give
 * the blocks back, whether or not the guest asked for that; so what WRITE SAME with UNMAP leaves
 * always reads as what was written.
 */
#include <string.h>

#include "base/bytes.h"
#include "storvsp/scsi_internal.h"

#define PATTERN_BYTES (64u << 10)
#define WS_UNMAP      0x08
#define WS_NDOB	      0x01

static void job_end(struct scsi_job *job)
{
	scsi_end_good(job->command, job->command->transferred);
}

static void job_flush_and_end(struct scsi_job *job)
{
	if (job->flush_last)
		scsi_job_submit_iov(job, DISK_FLUSH, 0, 0, job_end);
	else
		job_end(job);
}

static bool flush_wanted(struct scsi_unit *unit, const struct disk_info *info)
{
	return info->write_cache && !scsi_write_cache_enabled(unit, info);
}

/* ---- WRITE SAME ---- */

static bool is_zero(const uint8_t *bytes, size_t length)
{
	return bytes[0] == 0 && memcmp(bytes, bytes + 1, length - 1) == 0;
}

/* The next piece of the pattern: the buffer, several times over. */
static void pattern_step(struct scsi_job *job)
{
	uint64_t length = 0;

	job->offset += job->chunk;
	job->left -= job->chunk;
	if (job->left == 0) {
		job_flush_and_end(job);
		return;
	}
	for (job->iov_count = 0; job->iov_count < SCSI_JOB_PIECES && length < job->left;
	     job->iov_count++) {
		uint64_t part = job->left - length;

		if (part > PATTERN_BYTES)
			part = PATTERN_BYTES;
		job->iov[job->iov_count] =
			(struct iovec){.iov_base = job->buffer, .iov_len = (size_t)part};
		length += part;
	}
	job->chunk = (uint32_t)length;
	scsi_job_submit_iov(job, DISK_WRITE, job->offset, length, pattern_step);
}

static void write_same_claimed(struct scsi_command *command)
{
	struct scsi_unit *unit = scsi_command_unit(command);
	bool no_data = command->cdb[0] == OP_WRITE_SAME_16 && command->cdb[1] & WS_NDOB;
	struct scsi_job *job = scsi_job_create(command, PATTERN_BYTES);
	struct disk_info info;
	uint32_t block;

	if (!job)
		return;
	disk_get_info(unit->disk, &info);
	block = info.block_bytes;
	job->offset = command->claim.offset;
	job->left = command->claim.length;
	job->flush_last = flush_wanted(unit, &info);
	if (no_data) {
		memset(job->buffer, 0, block);
	} else {
		scsi_copy_from_guest(command, 0, job->buffer, block);
		command->transferred = block;
	}
	if (is_zero(job->buffer, block)) {
		scsi_job_submit_iov(job, DISK_WRITE_ZEROES, job->offset, job->left,
				    job_flush_and_end);
		return;
	}
	for (uint32_t at = block; at < PATTERN_BYTES; at += block)
		memcpy(job->buffer + at, job->buffer, block);
	pattern_step(job);
}

void scsi_write_same(struct scsi_unit *unit, struct scsi_command *command,
		     const struct disk_info *info)
{
	bool is_16 = command->cdb[0] == OP_WRITE_SAME_16;
	bool no_data = is_16 && command->cdb[1] & WS_NDOB;
	uint64_t lba, blocks;

	if (command->cdb[1] & WS_UNMAP && info->unmap_granularity_bytes == 0) {
		scsi_end_bad_cdb(command, 1, 3);
		return;
	}
	scsi_cdb_range(command->cdb, &lba, &blocks);
	if (!scsi_check_range(unit, command, info, lba, blocks))
		return;
	if (blocks == 0) /* WSNZ is 0: all that follows */
		blocks = scsi_capacity_blocks(unit, info) - lba;
	if (blocks > SCSI_MAX_WRITE_SAME_BLOCKS) {
		scsi_end_bad_cdb(command, is_16 ? 10 : 7, -1);
		return;
	}
	if (!no_data && command->data_bytes != info->block_bytes) {
		scsi_end_sense(command, SENSE_ILLEGAL_REQUEST, ASC_INVALID_FIELD_IN_IU);
		return;
	}
	if (blocks == 0) {
		scsi_end_good(command, 0);
		return;
	}
	scsi_claim(command, lba * info->block_bytes, blocks * info->block_bytes, false,
		   write_same_claimed);
}

/* ---- UNMAP ---- */

#define UNMAP_HEADER_BYTES     8
#define UNMAP_DESCRIPTOR_BYTES 16

static const uint8_t *unmap_descriptor(const struct scsi_job *job, uint32_t index)
{
	return job->buffer + UNMAP_HEADER_BYTES + (size_t)index * UNMAP_DESCRIPTOR_BYTES;
}

static void unmap_step(struct scsi_job *job)
{
	while (job->index < job->count) {
		const uint8_t *descriptor = unmap_descriptor(job, job->index++);
		uint64_t lba = get_be64(descriptor);
		uint64_t blocks = get_be32(descriptor + 8);

		if (blocks == 0)
			continue;
		scsi_job_submit_iov(job, DISK_UNMAP, lba * job->block_bytes,
				    blocks * job->block_bytes, unmap_step);
		return;
	}
	job_flush_and_end(job);
}

static void unmap_claimed(struct scsi_command *command)
{
	unmap_step(command->unit_state[1]);
}

/* Looks at every descriptor before the first is carried out. False: the command has ended. */
static bool unmap_check(struct scsi_unit *unit, struct scsi_job *job, const struct disk_info *info,
			uint64_t *first, uint64_t *last)
{
	uint64_t total = 0;

	*first = UINT64_MAX;
	*last = 0;
	for (uint32_t i = 0; i < job->count; i++) {
		const uint8_t *descriptor = unmap_descriptor(job, i);
		uint64_t lba = get_be64(descriptor);
		uint32_t blocks = get_be32(descriptor + 8);

		if (!scsi_check_range(unit, job->command, info, lba, blocks))
			return false;
		total += blocks;
		if (total > SCSI_MAX_UNMAP_BLOCKS) {
			scsi_end_bad_parameter(
				job->command,
				(uint16_t)(UNMAP_HEADER_BYTES + i * UNMAP_DESCRIPTOR_BYTES + 8),
				-1);
			return false;
		}
		if (blocks && lba < *first)
			*first = lba;
		if (blocks && lba + blocks > *last)
			*last = lba + blocks;
	}
	return true;
}

void scsi_unmap(struct scsi_unit *unit, struct scsi_command *command, const struct disk_info *info)
{
	uint32_t list_bytes = get_be16(&command->cdb[7]);
	uint32_t descriptor_bytes;
	struct scsi_job *job;
	uint64_t first, last;

	if (list_bytes == 0) {
		scsi_end_good(command, 0);
		return;
	}
	if (list_bytes < UNMAP_HEADER_BYTES) {
		scsi_end_sense(command, SENSE_ILLEGAL_REQUEST, ASC_PARAMETER_LIST_LENGTH);
		return;
	}
	job = scsi_job_create(command, list_bytes);
	if (!job || !scsi_get_parameters(command, list_bytes, job->buffer))
		return;
	/* A descriptor that is cut does not count (SBC-3). */
	descriptor_bytes = get_be16(&job->buffer[2]);
	if (descriptor_bytes > list_bytes - UNMAP_HEADER_BYTES)
		descriptor_bytes = list_bytes - UNMAP_HEADER_BYTES;
	job->count = descriptor_bytes / UNMAP_DESCRIPTOR_BYTES;
	job->block_bytes = info->block_bytes;
	job->flush_last = flush_wanted(unit, info);
	if (job->count > SCSI_MAX_UNMAP_DESCRIPTORS) {
		scsi_end_bad_parameter(command, 2, -1);
		return;
	}
	if (!unmap_check(unit, job, info, &first, &last))
		return;
	if (last == 0) {
		scsi_end_good(command, list_bytes);
		return;
	}
	scsi_claim(command, first * info->block_bytes, (last - first) * info->block_bytes, false,
		   unmap_claimed);
}
