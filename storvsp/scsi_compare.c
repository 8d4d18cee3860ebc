/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Commands that look at the data themselves: SBC-3's VERIFY, WRITE AND VERIFY, COMPARE AND WRITE
 * and ORWRITE. They work through a buffer, piece by piece, and each byte of
 * the guest's is copied once. What reads and then writes holds its whole range for itself.
 */
#include <string.h>

#include "storvsp/scsi_internal.h"

#define PIECE_BYTES (128u << 10)
#define FUA	    0x08

static void run_pieces(struct scsi_job *job);

/* The other half of the buffer: what was read, beside what the guest sent. */
static uint8_t *job_read_half(const struct scsi_job *job)
{
	return job->buffer + job->half_bytes;
}

/* Takes the guest's data of this piece; of the one block, where it sent only one. */
static bool job_take_guest_data(struct scsi_job *job)
{
	struct scsi_command *command = job->command;
	uint64_t offset = job->one_block ? 0 : job->done_bytes;
	uint32_t length = job->one_block ? job->block_bytes : job->chunk;

	if (scsi_copy_from_guest(command, offset, job->buffer, length) != length) {
		scsi_end_sense(command, SENSE_ILLEGAL_REQUEST, ASC_INVALID_FIELD_IN_IU);
		return false;
	}
	for (uint32_t at = length; at < job->chunk; at += length)
		memcpy(job->buffer + at, job->buffer, length);
	return true;
}

/* Bytes that are equal, of length. */
static size_t equal_bytes(const uint8_t *a, const uint8_t *b, size_t length)
{
	size_t at = 0;

	if (memcmp(a, b, length) == 0)
		return length;
	while (a[at] == b[at])
		at++;
	return at;
}

/* False: it has ended with MISCOMPARE; INFORMATION says where in the guest's data. */
static bool job_compare(struct scsi_job *job, const uint8_t *a, const uint8_t *b, size_t length)
{
	size_t equal = equal_bytes(a, b, length);
	uint64_t where = job->one_block ? equal % job->block_bytes : job->done_bytes + equal;

	if (equal == length)
		return true;
	scsi_end_sense_information(job->command, SENSE_MISCOMPARE, ASC_MISCOMPARE, where);
	return false;
}

static void job_advance(struct scsi_job *job)
{
	job->offset += job->chunk;
	job->done_bytes += job->chunk;
	job->left -= job->chunk;
	run_pieces(job);
}

/* ---- VERIFY ---- */

static void verify_read(struct scsi_job *job)
{
	if (job->compare) {
		if (!job_take_guest_data(job) ||
		    !job_compare(job, job->buffer, job_read_half(job), job->chunk))
			return;
	}
	job_advance(job);
}

static void verify_piece(struct scsi_job *job)
{
	scsi_job_submit(job, DISK_READ, job->offset, job_read_half(job), job->chunk, verify_read);
}

/* ---- WRITE AND VERIFY ---- */

static void write_verify_read(struct scsi_job *job)
{
	if (!job->compare || job_compare(job, job->buffer, job_read_half(job), job->chunk))
		job_advance(job);
}

static void write_verify_written(struct scsi_job *job)
{
	scsi_job_submit(job, DISK_READ, job->offset, job_read_half(job), job->chunk,
			write_verify_read);
}

static void write_verify_piece(struct scsi_job *job)
{
	if (job_take_guest_data(job))
		scsi_job_submit(job, DISK_WRITE, job->offset, job->buffer, job->chunk,
				write_verify_written);
}

/* ---- ORWRITE ---- */

static void orwrite_read(struct scsi_job *job)
{
	const uint8_t *medium = job_read_half(job);

	if (!job_take_guest_data(job))
		return;
	for (uint32_t i = 0; i < job->chunk; i++)
		job->buffer[i] |= medium[i];
	scsi_job_submit(job, DISK_WRITE, job->offset, job->buffer, job->chunk, job_advance);
}

static void orwrite_piece(struct scsi_job *job)
{
	scsi_job_submit(job, DISK_READ, job->offset, job_read_half(job), job->chunk, orwrite_read);
}

/* ---- what they share ---- */

static void run_pieces(struct scsi_job *job)
{
	struct scsi_command *command = job->command;

	if (job->left == 0) {
		/* VERIFY without BYTCHK takes nothing of the guest's. */
		scsi_end_good(command, job->one_block				  ? job->block_bytes
				       : job->compare || command->claim.exclusive ? job->done_bytes
										  : 0);
		return;
	}
	job->chunk = job->left < job->half_bytes ? (uint32_t)job->left : job->half_bytes;
	switch (command->cdb[0]) {
	case OP_ORWRITE_16:
		orwrite_piece(job);
		break;
	case OP_WRITE_AND_VERIFY_10:
	case OP_WRITE_AND_VERIFY_12:
	case OP_WRITE_AND_VERIFY_16:
		write_verify_piece(job);
		break;
	default:
		verify_piece(job);
		break;
	}
}

/* BYTCHK of VERIFY and WRITE AND VERIFY. */
static uint8_t cdb_byte_check(const uint8_t *cdb)
{
	return (cdb[1] >> 1) & 0x03;
}

static void pieces_claimed(struct scsi_command *command)
{
	struct scsi_unit *unit = scsi_command_unit(command);
	uint32_t half =
		command->claim.length < PIECE_BYTES ? (uint32_t)command->claim.length : PIECE_BYTES;
	struct scsi_job *job = scsi_job_create(command, 2 * half);
	bool is_orwrite = command->cdb[0] == OP_ORWRITE_16;
	struct disk_info info;

	if (!job)
		return;
	disk_get_info(unit->disk, &info);
	job->half_bytes = half;
	job->offset = command->claim.offset;
	job->left = command->claim.length;
	job->block_bytes = info.block_bytes;
	job->compare = !is_orwrite && cdb_byte_check(command->cdb) != 0;
	job->one_block = !is_orwrite && cdb_byte_check(command->cdb) == 3;
	/* WRITE AND VERIFY verifies what is on the medium. */
	job->fua = info.write_cache &&
		   (!is_orwrite || command->cdb[1] & FUA || !scsi_write_cache_enabled(unit, &info));
	run_pieces(job);
}

/* needed: bytes that the guest must have sent. */
static void pieces_start(struct scsi_unit *unit, struct scsi_command *command,
			 const struct disk_info *info, bool exclusive, bool needs_data)
{
	uint64_t lba, blocks, needed;

	scsi_cdb_range(command->cdb, &lba, &blocks);
	if (!scsi_check_range(unit, command, info, lba, blocks) ||
	    !scsi_check_transfer(unit, command, info, blocks))
		return;
	if (blocks == 0) {
		scsi_end_good(command, 0);
		return;
	}
	needed = command->cdb[0] != OP_ORWRITE_16 && cdb_byte_check(command->cdb) == 3
			 ? info->block_bytes
			 : blocks * info->block_bytes;
	if (needs_data && command->data_bytes < needed) {
		scsi_end_sense(command, SENSE_ILLEGAL_REQUEST, ASC_INVALID_FIELD_IN_IU);
		return;
	}
	scsi_claim(command, lba * info->block_bytes, blocks * info->block_bytes, exclusive,
		   pieces_claimed);
}

void scsi_verify(struct scsi_unit *unit, struct scsi_command *command, const struct disk_info *info)
{
	uint8_t check = cdb_byte_check(command->cdb);

	if (check == 2)
		scsi_end_bad_cdb(command, 1, 2);
	else
		pieces_start(unit, command, info, false, check != 0);
}

void scsi_write_and_verify(struct scsi_unit *unit, struct scsi_command *command,
			   const struct disk_info *info)
{
	if (cdb_byte_check(command->cdb) > 1)
		scsi_end_bad_cdb(command, 1, 2);
	else
		pieces_start(unit, command, info, true, true);
}

void scsi_orwrite(struct scsi_unit *unit, struct scsi_command *command,
		  const struct disk_info *info)
{
	pieces_start(unit, command, info, true, true);
}

/* ---- COMPARE AND WRITE ---- */

static void caw_written(struct scsi_job *job)
{
	scsi_end_good(job->command, 2 * job->left);
}

static void caw_read(struct scsi_job *job)
{
	struct scsi_command *command = job->command;
	size_t length = (size_t)job->left;

	if (scsi_copy_from_guest(command, 0, job->buffer, length) != length ||
	    !job_compare(job, job->buffer, job->buffer + length, length))
		return;
	scsi_copy_from_guest(command, length, job->buffer, length);
	scsi_job_submit(job, DISK_WRITE, job->offset, job->buffer, length, caw_written);
}

static void caw_claimed(struct scsi_command *command)
{
	struct scsi_unit *unit = scsi_command_unit(command);
	uint32_t length = (uint32_t)command->claim.length;
	struct scsi_job *job = scsi_job_create(command, 2 * length);
	struct disk_info info;

	if (!job)
		return;
	disk_get_info(unit->disk, &info);
	job->offset = command->claim.offset;
	job->left = length;
	job->fua = info.write_cache &&
		   (command->cdb[1] & FUA || !scsi_write_cache_enabled(unit, &info));
	scsi_job_submit(job, DISK_READ, job->offset, job->buffer + length, length, caw_read);
}

void scsi_compare_and_write(struct scsi_unit *unit, struct scsi_command *command,
			    const struct disk_info *info)
{
	uint64_t lba, ignored;
	uint32_t blocks = command->cdb[13];

	scsi_cdb_range(command->cdb, &lba, &ignored);
	if (!scsi_check_range(unit, command, info, lba, blocks))
		return;
	/* Both halves, and nothing else: which half would the rest belong to? */
	if (command->data_bytes != 2ull * blocks * info->block_bytes) {
		scsi_end_bad_cdb(command, 13, -1);
		return;
	}
	if (blocks == 0) {
		scsi_end_good(command, 0);
		return;
	}
	scsi_claim(command, lba * info->block_bytes, (uint64_t)blocks * info->block_bytes, true,
		   caw_claimed);
}
