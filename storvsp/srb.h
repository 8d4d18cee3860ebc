/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A SCSI request of VSTOR: from the packet's copied bytes to a checked request, its data as iovecs
 * over guest memory, and from a command's end to the answer. Pure but for the guest memory that it
 * looks up. Source: see wire/vstor.h.
 */
#ifndef LUNAR_STORVSP_SRB_H
#define LUNAR_STORVSP_SRB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "storvsp/scsi.h"
#include "storvsp/vstor.h"

struct guest_memory;
struct packet;

/* Pages that the longest transfer touches where it is not aligned. */
#define SRB_MAX_RUNS (VSTOR_MAX_TRANSFER_BYTES / 4096 + 1)

struct srb {
	uint8_t path;
	uint8_t target;
	uint8_t lun;
	uint8_t cdb_bytes; /* 1..16 */
	uint8_t cdb[SCSI_CDB_BYTES];
	enum disk_direction direction;
	uint32_t data_bytes; /* at most VSTOR_MAX_TRANSFER_BYTES; 0 with DISK_NO_DATA */
};

/* The data of a request: runs of guest memory that are contiguous for both, guest and host. */
struct srb_data {
	enum disk_direction direction;
	uint32_t count;
	uint32_t bytes; /* the sum of iov */
	struct iovec iov[SRB_MAX_RUNS];
	uint64_t gpas[SRB_MAX_RUNS];
};

/* Reads an EXECUTE_SRB packet (header included). Returns 0, or -EINVAL: too short, a CDB that is
 * empty or too long, an unknown direction, a length without a direction or too long. */
int srb_parse(const void *packet, size_t length, struct srb *srb);

/* Finds the data of a request in its packet's ranges, which may be longer. Returns 0; -EINVAL: no
 * or too little buffer, malformed ranges; -EFAULT: not guest memory. */
int srb_data_map(struct srb_data *data, struct guest_memory *memory, const struct packet *packet,
		 const struct srb *srb);
/* The device has written: marks the pages dirty. Does nothing for other directions. */
void srb_data_written(const struct srb_data *data, struct guest_memory *memory);
/* Fills the data with zeroes, from offset on. */
void srb_data_zero(const struct srb_data *data, uint64_t offset);
/* Copies to the data's beginning; returns how much of length fitted. */
size_t srb_data_copy_in(const struct srb_data *data, const void *bytes, size_t length);

/* Makes the answer to a request out of it: the status of a command that has ended. */
void srb_reply(const struct scsi_command *command, const struct srb *srb,
	       struct vstor_packet *reply);
/* The answer to one that was refused as malformed. */
void srb_reply_invalid(struct vstor_packet *reply);

/* INQUIRY or MODE SENSE(6): Linux takes their failure for a success, and what is in the buffer for
 * their data. */
bool srb_is_forced_to_succeed(const struct srb *srb);

#endif
