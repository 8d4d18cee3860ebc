/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reading and writing blocks, flushing them, and how many there are (SBC-3: READ, WRITE, PRE-FETCH,
 * SYNCHRONIZE CACHE, READ CAPACITY, GET LBA STATUS). The data path: an ordinary READ or WRITE is
 * one request with the guest's own pages.
 */
#include <stdlib.h>

#include "base/bytes.h"
#include "storvsp/scsi_internal.h"

#define FUA 0x08

void scsi_cdb_range(const uint8_t *cdb, uint64_t *lba, uint64_t *blocks)
{
	switch (cdb[0] >> 5) {
	case 0: /* 6 bytes */
		*lba = (uint64_t)(cdb[1] & 0x1f) << 16 | get_be16(&cdb[2]);
		*blocks = cdb[4] ? cdb[4] : 256;
		break;
	case 4: /* 16 */
		*lba = get_be64(&cdb[2]);
		*blocks = get_be32(&cdb[10]);
		break;
	case 5: /* 12 */
		*lba = get_be32(&cdb[2]);
		*blocks = get_be32(&cdb[6]);
		break;
	default: /* 10 */
		*lba = get_be32(&cdb[2]);
		*blocks = get_be16(&cdb[7]);
		break;
	}
}

/* Where a CDB says how many blocks. */
static uint16_t cdb_count_byte(const uint8_t *cdb)
{
	switch (cdb[0] >> 5) {
	case 0:
		return 4;
	case 4:
		return 10;
	case 5:
		return 6;
	default:
		return 7;
	}
}

bool scsi_check_range(struct scsi_unit *unit, struct scsi_command *command,
		      const struct disk_info *info, uint64_t lba, uint64_t blocks)
{
	uint64_t capacity = scsi_capacity_blocks(unit, info);

	if (range_fits(lba, blocks, capacity))
		return true;
	/* The first block that is not there. */
	scsi_end_sense_information(command, SENSE_ILLEGAL_REQUEST, ASC_LBA_OUT_OF_RANGE,
				   lba > capacity ? lba : capacity);
	return false;
}

bool scsi_check_transfer(struct scsi_unit *unit, struct scsi_command *command,
			 const struct disk_info *info, uint64_t blocks)
{
	if (blocks <= SCSI_MAX_TRANSFER_BYTES / scsi_block_bytes(unit, info))
		return true;
	scsi_end_bad_cdb(command, cdb_count_byte(command->cdb), -1);
	return false;
}

/* ---- READ ---- */

static void read_bounced(struct scsi_job *job)
{
	struct scsi_command *command = job->command;

	scsi_end_good(command,
		      scsi_copy_to_guest(command, 0, job->buffer, (size_t)command->data_bytes));
}

/* The guest's buffer is shorter than what it asks for: only the blocks that begin in it are read.
 */
static void read_short(struct scsi_command *command)
{
	struct scsi_unit *unit = scsi_command_unit(command);
	struct disk_info info;
	struct scsi_job *job;
	uint64_t length;

	disk_get_info(unit->disk, &info);
	length = align_up(command->data_bytes, scsi_block_bytes(unit, &info));
	if (length == 0) {
		scsi_end_good(command, 0);
		return;
	}
	job = scsi_job_create(command, (uint32_t)length);
	if (job)
		scsi_job_submit(job, DISK_READ, command->claim.offset, job->buffer, length,
				read_bounced);
}

/* The guest's buffer is longer than length: iovecs of its beginning. */
static bool job_trim(struct scsi_job *job, uint64_t length)
{
	struct scsi_command *command = job->command;
	struct iovec *iov = calloc(command->iov_count, sizeof(*iov));
	uint32_t count = 0;

	if (!iov) {
		scsi_end_status(command, SAM_BUSY);
		return false;
	}
	for (; count < command->iov_count && length; count++) {
		iov[count] = command->iov[count];
		if (iov[count].iov_len > length)
			iov[count].iov_len = (size_t)length;
		length -= iov[count].iov_len;
	}
	job->iov = iov;
	job->iov_count = count;
	return true;
}

static void job_transferred(struct scsi_job *job)
{
	scsi_end_good(job->command, job->command->request.length);
}

static void transfer_run(struct scsi_command *command, enum disk_op op, bool fua)
{
	uint64_t length = command->claim.length;
	struct scsi_job *job;

	if (command->data_bytes == length) {
		scsi_submit(command, op, command->claim.offset, length, command->iov,
			    command->iov_count, fua);
		return;
	}
	job = scsi_job_create(command, 0);
	if (!job || !job_trim(job, length))
		return;
	job->fua = fua;
	scsi_job_submit_iov(job, op, command->claim.offset, length, job_transferred);
}

static void read_claimed(struct scsi_command *command)
{
	if (command->data_bytes < command->claim.length)
		read_short(command);
	else
		transfer_run(command, DISK_READ, false);
}

/* READ with FUA: what the cache holds is on the medium first. The job is of no use after that. */
static void read_flushed(struct scsi_job *job)
{
	struct scsi_command *command = job->command;

	scsi_job_free(command);
	read_claimed(command);
}

static void read_flush(struct scsi_command *command)
{
	struct scsi_job *job = scsi_job_create(command, 0);

	if (job)
		scsi_job_submit_iov(job, DISK_FLUSH, 0, 0, read_flushed);
}

static bool cdb_has_fua(const uint8_t *cdb)
{
	return cdb[0] >> 5 != 0 && cdb[1] & FUA;
}

void scsi_read(struct scsi_unit *unit, struct scsi_command *command, const struct disk_info *info)
{
	uint32_t block_bytes = scsi_block_bytes(unit, info);
	uint64_t lba, blocks;

	scsi_cdb_range(command->cdb, &lba, &blocks);
	if (!scsi_check_range(unit, command, info, lba, blocks) ||
	    !scsi_check_transfer(unit, command, info, blocks))
		return;
	if (blocks == 0) {
		scsi_end_good(command, 0);
		return;
	}
	scsi_claim(command, lba * block_bytes, blocks * block_bytes, false,
		   cdb_has_fua(command->cdb) && info->write_cache ? read_flush : read_claimed);
}

/* ---- WRITE ---- */

static void write_claimed(struct scsi_command *command)
{
	transfer_run(command, DISK_WRITE, false);
}

static void write_claimed_fua(struct scsi_command *command)
{
	transfer_run(command, DISK_WRITE, true);
}

void scsi_write(struct scsi_unit *unit, struct scsi_command *command, const struct disk_info *info)
{
	uint32_t block_bytes = scsi_block_bytes(unit, info);
	bool fua = cdb_has_fua(command->cdb) || !scsi_write_cache_enabled(unit, info);
	uint64_t lba, blocks;

	scsi_cdb_range(command->cdb, &lba, &blocks);
	if (!scsi_check_range(unit, command, info, lba, blocks) ||
	    !scsi_check_transfer(unit, command, info, blocks))
		return;
	if (blocks == 0) {
		scsi_end_good(command, 0);
		return;
	}
	/* Part of a write would be worse than none. */
	if (command->data_bytes < blocks * block_bytes) {
		scsi_end_sense(command, SENSE_ILLEGAL_REQUEST, ASC_INVALID_FIELD_IN_IU);
		return;
	}
	scsi_claim(command, lba * block_bytes, blocks * block_bytes, false,
		   fua && info->write_cache ? write_claimed_fua : write_claimed);
}

/* ---- caches ---- */

void scsi_prefetch(struct scsi_unit *unit, struct scsi_command *command,
		   const struct disk_info *info)
{
	uint64_t lba, blocks;

	/* GOOD, not CONDITION MET: nothing is said about what a cache holds (SBC-3, PRE-FETCH). */
	scsi_cdb_range(command->cdb, &lba, &blocks);
	if (scsi_check_range(unit, command, info, lba, blocks))
		scsi_end_good(command, 0);
}

void scsi_synchronize_cache(struct scsi_unit *unit, struct scsi_command *command,
			    const struct disk_info *info)
{
	uint64_t lba, blocks;

	/* All of the cache, whatever the range; and with IMMED too, the answer is the end of it. */
	scsi_cdb_range(command->cdb, &lba, &blocks);
	if (scsi_check_range(unit, command, info, lba, blocks))
		scsi_submit(command, DISK_FLUSH, 0, 0, NULL, 0, false);
}

/* ---- capacity ---- */

void scsi_read_capacity_10(struct scsi_unit *unit, struct scsi_command *command,
			   const struct disk_info *info)
{
	uint64_t blocks = scsi_capacity_blocks(unit, info);
	uint8_t data[8];

	put_be32(data, blocks > UINT32_MAX ? UINT32_MAX : (uint32_t)(blocks ? blocks - 1 : 0));
	put_be32(&data[4], scsi_block_bytes(unit, info));
	scsi_end_data_in(command, data, sizeof(data), sizeof(data));
}

/* LOGICAL BLOCKS PER PHYSICAL BLOCK EXPONENT */
static uint8_t physical_exponent(const struct disk_info *info)
{
	uint8_t exponent = 0;

	while (exponent < 15 &&
	       (uint64_t)info->block_bytes << (exponent + 1) <= info->physical_block_bytes)
		exponent++;
	return exponent;
}

void scsi_read_capacity_16(struct scsi_unit *unit, struct scsi_command *command,
			   const struct disk_info *info)
{
	uint64_t blocks = scsi_capacity_blocks(unit, info);
	uint8_t data[32] = {0};

	put_be64(data, blocks ? blocks - 1 : 0);
	put_be32(&data[8], scsi_block_bytes(unit, info));
	data[13] = physical_exponent(info);
	if (info->unmap_granularity_bytes) {
		data[14] = 0x80; /* LBPME */
		if (info->unmap_zeroes)
			data[14] |= 0x40; /* LBPRZ */
	}
	scsi_end_data_in(command, data, sizeof(data), get_be32(&command->cdb[10]));
}

void scsi_get_lba_status(struct scsi_unit *unit, struct scsi_command *command,
			 const struct disk_info *info)
{
	uint64_t lba = get_be64(&command->cdb[2]);
	uint8_t data[8 + 16] = {0};
	uint64_t left;

	if (!scsi_check_range(unit, command, info, lba, 1))
		return;
	/* One extent to the end: mapped, or unknown, which is the same number (SBC-3, LBA status
	 * descriptor). */
	left = scsi_capacity_blocks(unit, info) - lba;
	put_be32(data, sizeof(data) - 4);
	put_be64(&data[8], lba);
	put_be32(&data[16], left > UINT32_MAX ? UINT32_MAX : (uint32_t)left);
	scsi_end_data_in(command, data, sizeof(data), get_be32(&command->cdb[10]));
}
