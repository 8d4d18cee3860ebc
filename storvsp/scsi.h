/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A SCSI logical unit on a disk: takes CDBs, answers with status, data and sense. Direct-access
 * (SBC-3) or CD/DVD drive (MMC-6, read-only). Where the disk is itself a LUN, its CDBs go there and
 * its answers come back. Source: SPC-4, SBC-3, MMC-6; each file names its commands.
 *
 * Commands come from several threads (a channel's worker each), and end on the thread that they
 * came from. The unit knows nothing of VSTOR.
 */
#ifndef LUNAR_STORVSP_SCSI_H
#define LUNAR_STORVSP_SCSI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/state.h"
#include "storvsp/disk.h"
#include "storvsp/scsi_range.h"

struct scsi_command;
struct scsi_unit;

#define SCSI_CDB_BYTES		16
#define SCSI_SENSE_BYTES	20 /* what VSTOR can carry */
#define SCSI_MAX_TRANSFER_BYTES (8u << 20)

enum scsi_kind {
	SCSI_DISK,
	SCSI_DVD, /* without a disk: an empty drive */
};

struct scsi_unit_config {
	enum scsi_kind kind;
	struct disk *disk; /* the caller's; outlives the unit. NULL: an empty DVD drive */
	uint8_t id[16]; /* of the unit, stable over its life and its moves: VPD 83h (NAA) and 80h */
	const char *vendor;  /* NULL: "LUNAR" */
	const char *product; /* NULL: "DISK" or "DVD-ROM" */
};

/* done is called once, on the thread that executed it, perhaps from within. */
typedef void (*scsi_done_fn)(struct scsi_command *command);

struct scsi_command {
	uint8_t cdb[SCSI_CDB_BYTES];
	uint8_t cdb_bytes;
	enum disk_direction direction;
	const struct iovec *iov; /* guest memory: anything read from it is copied once */
	uint32_t iov_count;
	uint64_t data_bytes; /* the sum of iov */
	struct io_loop *loop;
	scsi_done_fn done;

	uint8_t status; /* SAM: 0 GOOD, 2 CHECK CONDITION, 8 BUSY, 0x18 RESERVATION CONFLICT, ... */
	uint8_t sense_bytes;
	uint8_t sense[SCSI_SENSE_BYTES]; /* fixed format */
	uint64_t transferred;
	bool gone; /* the unit is there no more: neither status nor sense mean anything */

	struct disk_request request; /* the unit's own, as all below */
	struct disk_scsi scsi;
	struct scsi_range_claim claim;
	void *unit_state[4];
	struct scsi_command *next;
};

/* Returns 0, -EINVAL or -ENOMEM. */
int scsi_unit_create(const struct scsi_unit_config *config, struct scsi_unit **unit);
/* Takes NULL. No command is under way. */
void scsi_unit_destroy(struct scsi_unit *unit);

void scsi_unit_execute(struct scsi_unit *unit, struct scsi_command *command);

/* Any thread. A bus or target reset: reservations made by RESERVE are gone (persistent ones stay),
 * the next command of the guest gets POWER ON, RESET (29h). The commands under way end by
 * themselves. */
void scsi_unit_reset(struct scsi_unit *unit);
/* Any thread: the disk's size was looked at again; CAPACITY DATA HAS CHANGED (2Ah/09h) follows. */
void scsi_unit_capacity_changed(struct scsi_unit *unit);
/* DVD: another medium (NULL: none). No command is under way (the controller sees to it). NOT READY
 * TO READY CHANGE (28h) or MEDIUM NOT PRESENT (3Ah) follow. */
void scsi_unit_change_medium(struct scsi_unit *unit, struct disk *disk);
/* DVD: the guest asked for the medium to be ejected and has not prevented it. */
bool scsi_unit_wants_eject(const struct scsi_unit *unit);

/* Another id: of a unit that is about to be restored. No command is under way. */
void scsi_unit_set_id(struct scsi_unit *unit, const uint8_t id[16]);

/* One section: id, mode pages, unit attentions, reservations. No command is under way. */
#define SCSI_UNIT_STATE_TAG STATE_TAG('L', 'U', 'N', '_')
void scsi_unit_save(const struct scsi_unit *unit, struct state_writer *writer);
/* Returns 0, -EPROTO or -EOPNOTSUPP. A state of version 1 has no id: the unit keeps its own. */
int scsi_unit_restore(struct scsi_unit *unit, struct state_reader *section);

#endif
