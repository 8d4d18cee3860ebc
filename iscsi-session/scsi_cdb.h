/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a command block alone tells (SPC-4, SBC-3): its length, which way its data goes, and whether
 * it may be sent again when nobody knows if the target has already carried it out.
 */
#ifndef LUNAR_ISCSI_SESSION_SCSI_CDB_H
#define LUNAR_ISCSI_SESSION_SCSI_CDB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SCSI_CDB_BYTES                                                                             \
	16 /* the longest that we pass on: what a SCSI Command PDU holds without an AHS */

enum cdb_data {
	CDB_DATA_NONE,
	CDB_DATA_IN, /* from the target */
	CDB_DATA_OUT,
};

/* Length of the CDB by its group code, 6 to 16; 0 for variable-length (7Fh) and for cdb shorter
 * than that. */
size_t scsi_cdb_length(const uint8_t *cdb, size_t available);

/* Direction of the data of a command that has some. cdb: at least scsi_cdb_length() bytes. */
enum cdb_data scsi_cdb_data_direction(const uint8_t *cdb);

/*
 * True where carrying the command out twice is the same as once: reads, plain writes, and what only
 * asks. Not so, for example, PERSISTENT RESERVE OUT and COMPARE AND WRITE.
 */
bool scsi_cdb_is_repeatable(const uint8_t *cdb);

/* Writes 18 bytes of fixed-format sense data (SPC-4 4.5.3). */
void cdb_sense_build(uint8_t sense[18], uint8_t key, uint8_t asc, uint8_t ascq);

#define SCSI_SENSE_NOT_READY_KEY       0x02
#define SCSI_SENSE_ILLEGAL_REQUEST_KEY 0x05
#define SCSI_SENSE_UNIT_ATTENTION_KEY  0x06
#define SCSI_SENSE_ABORTED_COMMAND_KEY 0x0b

#endif
