/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the files of the SCSI unit share: the unit, how a command ends, how data and parameters are
 * moved, and the jobs of commands that need more than one request to the disk.
 *
 * A command ends exactly once, by one of the scsi_end_*() calls, after which it is its owner's.
 */
#ifndef LUNAR_STORVSP_SCSI_INTERNAL_H
#define LUNAR_STORVSP_SCSI_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "storvsp/scsi.h"
#include "storvsp/scsi_codes.h"

#define SCSI_DVD_BLOCK_BYTES	   2048
#define SCSI_MAX_COMPARE_BLOCKS	   255 /* of COMPARE AND WRITE: its field's size */
#define SCSI_MAX_WRITE_SAME_BLOCKS 0xffff
#define SCSI_MAX_UNMAP_BLOCKS	   0x100000
#define SCSI_MAX_UNMAP_DESCRIPTORS 256
#define SCSI_MAX_JOB_BYTES	   (64u << 20) /* of a unit: a guest cannot make us take more */

/* Unit attention conditions, by priority: the lowest bit is reported first. */
enum {
	ATTENTION_RESET = 1 << 0,
	ATTENTION_MEDIUM_CHANGED = 1 << 1,
	ATTENTION_CAPACITY_CHANGED = 1 << 2,
};

/* MMC-6, media event codes. */
enum {
	MEDIA_EVENT_NONE = 0,
	MEDIA_EVENT_EJECT_REQUEST = 1,
	MEDIA_EVENT_NEW = 2,
	MEDIA_EVENT_REMOVED = 3,
};

/* Guarded by its lock. The one I_T nexus is the VM's. */
struct scsi_reservations {
	pthread_mutex_t lock;
	uint32_t generation;
	uint64_t key;  /* 0: not registered */
	uint8_t type;  /* of the persistent reservation that the VM holds; 0: none */
	bool reserved; /* by RESERVE of SPC-2 */
};

struct scsi_unit {
	enum scsi_kind kind;
	struct disk *disk; /* changes only while no command is under way */
	uint8_t id[16];
	char vendor[9]; /* padded with blanks */
	char product[17];
	atomic_uint attentions;
	atomic_uint media_event;   /* the latest that GET EVENT STATUS NOTIFICATION has not told */
	atomic_bool write_through; /* the guest cleared WCE */
	atomic_bool software_protect; /* the guest set SWP */
	atomic_bool stopped;
	atomic_bool prevented;
	atomic_bool tray_open;
	atomic_bool wants_eject;
	atomic_size_t job_bytes; /* of all jobs' buffers */
	struct scsi_reservations reservations;
	struct scsi_ranges ranges;
};

static inline struct scsi_unit *scsi_command_unit(const struct scsi_command *command)
{
	return command->unit_state[0];
}

/* ---- geometry ---- */

static inline uint32_t scsi_block_bytes(const struct scsi_unit *unit, const struct disk_info *info)
{
	return unit->kind == SCSI_DVD ? SCSI_DVD_BLOCK_BYTES : info->block_bytes;
}

static inline uint64_t scsi_capacity_blocks(const struct scsi_unit *unit,
					    const struct disk_info *info)
{
	return info->size_bytes / scsi_block_bytes(unit, info);
}

static inline bool scsi_write_cache_enabled(const struct scsi_unit *unit,
					    const struct disk_info *info)
{
	return info->write_cache && !atomic_load(&unit->write_through);
}

/* ---- scsi_end.c: the end of a command, and its data ---- */

void scsi_end_good(struct scsi_command *command, uint64_t transferred);
void scsi_end_status(struct scsi_command *command, uint8_t status);
/* CHECK CONDITION; asc: one of ASC_*. */
void scsi_end_sense(struct scsi_command *command, uint8_t key, uint16_t asc);
/* With an INFORMATION field, where the value fits its 32 bits. */
void scsi_end_sense_information(struct scsi_command *command, uint8_t key, uint16_t asc,
				uint64_t information);
/* ILLEGAL REQUEST with a field pointer (SPC-4, sense key specific data). bit: of the byte, or -1.
 */
void scsi_end_bad_cdb(struct scsi_command *command, uint16_t byte, int bit);
void scsi_end_bad_parameter(struct scsi_command *command, uint16_t byte, int bit);
/* Of a request to the disk that failed with -errno. */
void scsi_end_errno(struct scsi_command *command, int error);
/* Fixed format sense of 18 bytes. */
void scsi_sense_build(uint8_t sense[SCSI_SENSE_BYTES], uint8_t key, uint16_t asc);

/* GOOD with as much of the bytes as fits the allocation length and the guest's buffer. */
void scsi_end_data_in(struct scsi_command *command, const void *bytes, size_t length,
		      size_t allocation);
/* Copies a parameter list, once. True with the bytes; false: the command has ended. */
bool scsi_get_parameters(struct scsi_command *command, uint32_t list_bytes, uint8_t *bytes);
/* From or to the guest's buffer at an offset; how much was there, at most length. */
size_t scsi_copy_from_guest(const struct scsi_command *command, uint64_t offset, void *bytes,
			    size_t length);
size_t scsi_copy_to_guest(const struct scsi_command *command, uint64_t offset, const void *bytes,
			  size_t length);

/* ---- scsi_job.c: commands that need memory, or more than one request ---- */

struct scsi_job;
typedef void (*scsi_job_fn)(struct scsi_job *job);

#define SCSI_JOB_PIECES 16

/* One command's; ends with it. The buffer is page-aligned. */
struct scsi_job {
	struct scsi_command *command;
	scsi_job_fn next;    /* called when the disk has answered well */
	uint64_t offset;     /* bytes, of the disk, of the request under way */
	uint64_t left;	     /* bytes from there */
	uint64_t done_bytes; /* before it */
	uint32_t chunk;	     /* bytes of the request under way */
	uint32_t block_bytes;
	bool fua;
	bool compare;	       /* what the guest sent is compared with what is read */
	bool one_block;	       /* the guest sent one block, which is repeated */
	bool flush_last;       /* a flush ends it */
	uint32_t index, count; /* of UNMAP's descriptors */
	uint8_t *buffer;
	uint32_t buffer_bytes;
	uint32_t half_bytes; /* of a buffer of two halves: what the guest sent, what was read */
	uint32_t iov_count;
	struct iovec *iov; /* of iov_count, or pieces */
	struct iovec pieces[SCSI_JOB_PIECES];
};

/* NULL: no memory, or the unit's jobs have all that they may have; the command has ended with BUSY.
 */
struct scsi_job *scsi_job_create(struct scsi_command *command, uint32_t buffer_bytes);
/* To the disk, a read or write with `length` bytes at data; then next. */
void scsi_job_submit(struct scsi_job *job, enum disk_op op, uint64_t offset, void *data,
		     uint64_t length, scsi_job_fn next);
/* Likewise with job->iov. */
void scsi_job_submit_iov(struct scsi_job *job, enum disk_op op, uint64_t offset, uint64_t length,
			 scsi_job_fn next);
void scsi_job_free(struct scsi_command *command);

/* Sends the command's one request to the disk, which ends the command: GOOD with length bytes
 * transferred where there is data. */
void scsi_submit(struct scsi_command *command, enum disk_op op, uint64_t offset, uint64_t length,
		 const struct iovec *iov, uint32_t iov_count, bool fua);

/* Claims the range and then calls run. The end of the command gives it back. */
void scsi_claim(struct scsi_command *command, uint64_t offset, uint64_t length, bool exclusive,
		void (*run)(struct scsi_command *command));

/* ---- scsi_table.c ---- */

enum {
	OP_FOR_DISK = 1 << 0,
	OP_FOR_DVD = 1 << 1,
	OP_IGNORES_ATTENTION = 1 << 2,
	OP_NEEDS_MEDIUM = 1 << 3,
	OP_CHANGES_MEDIUM = 1 << 4, /* refused where the disk is read-only */
	OP_NEEDS_UNMAP = 1 << 5,
	OP_DATA_IN = 1 << 6,
	OP_DATA_OUT = 1 << 7,
	OP_HAS_ACTION = 1 << 8,
	OP_OF_CONTROLLER = 1 << 9, /* answered before it comes to the unit */
};

typedef void (*scsi_handler_fn)(struct scsi_unit *unit, struct scsi_command *command,
				const struct disk_info *info);

struct scsi_op {
	uint8_t opcode;
	uint8_t action;
	uint8_t cdb_bytes;
	uint16_t flags;
	scsi_handler_fn run;
	uint8_t usage[SCSI_CDB_BYTES]; /* which bits are looked at (SPC-4, CDB usage data) */
};

/* NULL: none. *known: the operation code is known, only its service action is not. */
const struct scsi_op *scsi_op_find(const struct scsi_unit *unit, const struct disk_info *info,
				   const uint8_t *cdb, bool *known);

/* ---- handlers, by file ---- */

/* scsi_primary.c */
void scsi_test_unit_ready(struct scsi_unit *unit, struct scsi_command *command,
			  const struct disk_info *info);
void scsi_request_sense(struct scsi_unit *unit, struct scsi_command *command,
			const struct disk_info *info);
void scsi_start_stop(struct scsi_unit *unit, struct scsi_command *command,
		     const struct disk_info *info);
void scsi_prevent_allow(struct scsi_unit *unit, struct scsi_command *command,
			const struct disk_info *info);
void scsi_send_diagnostic(struct scsi_unit *unit, struct scsi_command *command,
			  const struct disk_info *info);
void scsi_report_opcodes(struct scsi_unit *unit, struct scsi_command *command,
			 const struct disk_info *info);
void scsi_report_tmfs(struct scsi_unit *unit, struct scsi_command *command,
		      const struct disk_info *info);
/* Takes the most important unit attention there is: its ASC, or 0. */
uint16_t scsi_take_attention(struct scsi_unit *unit);
/* 0, or the ASC of NOT READY. */
uint16_t scsi_not_ready(const struct scsi_unit *unit, const struct disk_info *info);

/* scsi_inquiry.c */
void scsi_inquiry(struct scsi_unit *unit, struct scsi_command *command,
		  const struct disk_info *info);

/* scsi_mode.c */
void scsi_mode_sense(struct scsi_unit *unit, struct scsi_command *command,
		     const struct disk_info *info);
void scsi_mode_select(struct scsi_unit *unit, struct scsi_command *command,
		      const struct disk_info *info);

/* scsi_block.c */
void scsi_read(struct scsi_unit *unit, struct scsi_command *command, const struct disk_info *info);
void scsi_write(struct scsi_unit *unit, struct scsi_command *command, const struct disk_info *info);
void scsi_prefetch(struct scsi_unit *unit, struct scsi_command *command,
		   const struct disk_info *info);
void scsi_synchronize_cache(struct scsi_unit *unit, struct scsi_command *command,
			    const struct disk_info *info);
void scsi_read_capacity_10(struct scsi_unit *unit, struct scsi_command *command,
			   const struct disk_info *info);
void scsi_read_capacity_16(struct scsi_unit *unit, struct scsi_command *command,
			   const struct disk_info *info);
void scsi_get_lba_status(struct scsi_unit *unit, struct scsi_command *command,
			 const struct disk_info *info);
/* LBA and number of blocks of a CDB, by its length. */
void scsi_cdb_range(const uint8_t *cdb, uint64_t *lba, uint64_t *blocks);
/* False: out of range, and the command has ended. */
bool scsi_check_range(struct scsi_unit *unit, struct scsi_command *command,
		      const struct disk_info *info, uint64_t lba, uint64_t blocks);
/* False: more than a command may transfer, and it has ended. */
bool scsi_check_transfer(struct scsi_unit *unit, struct scsi_command *command,
			 const struct disk_info *info, uint64_t blocks);

/* scsi_compare.c */
void scsi_verify(struct scsi_unit *unit, struct scsi_command *command,
		 const struct disk_info *info);
void scsi_write_and_verify(struct scsi_unit *unit, struct scsi_command *command,
			   const struct disk_info *info);
void scsi_compare_and_write(struct scsi_unit *unit, struct scsi_command *command,
			    const struct disk_info *info);
void scsi_orwrite(struct scsi_unit *unit, struct scsi_command *command,
		  const struct disk_info *info);

/* scsi_unmap.c */
void scsi_write_same(struct scsi_unit *unit, struct scsi_command *command,
		     const struct disk_info *info);
void scsi_unmap(struct scsi_unit *unit, struct scsi_command *command, const struct disk_info *info);

/* scsi_reserve.c */
void scsi_reserve(struct scsi_unit *unit, struct scsi_command *command,
		  const struct disk_info *info);
void scsi_release(struct scsi_unit *unit, struct scsi_command *command,
		  const struct disk_info *info);
void scsi_persistent_in(struct scsi_unit *unit, struct scsi_command *command,
			const struct disk_info *info);
void scsi_persistent_out(struct scsi_unit *unit, struct scsi_command *command,
			 const struct disk_info *info);
/* Whether saved values are such as the commands could have made. */
bool scsi_reservation_valid(uint64_t key, uint8_t type);

/* scsi_mmc.c */
void scsi_read_toc(struct scsi_unit *unit, struct scsi_command *command,
		   const struct disk_info *info);
void scsi_get_configuration(struct scsi_unit *unit, struct scsi_command *command,
			    const struct disk_info *info);
void scsi_get_event_status(struct scsi_unit *unit, struct scsi_command *command,
			   const struct disk_info *info);
void scsi_read_disc_information(struct scsi_unit *unit, struct scsi_command *command,
				const struct disk_info *info);
void scsi_mechanism_status(struct scsi_unit *unit, struct scsi_command *command,
			   const struct disk_info *info);

/* scsi_pass.c */
void scsi_pass(struct scsi_unit *unit, struct scsi_command *command);

#endif
