/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tables over operation codes. What is not listed is taken as data-in and not repeatable, which is
 * the safe side: a read never changes the medium, and a failed command is reported to the kernel.
 */
#include "iscsi-session/scsi_cdb.h"

#include <string.h>

#include "base/bytes.h"

size_t scsi_cdb_length(const uint8_t *cdb, size_t available)
{
	static const uint8_t lengths[8] = {6, 10, 10, 0, 16, 12, 10, 10};
	size_t length;

	if (available == 0)
		return 0;
	length = lengths[cdb[0] >> 5];
	return length <= available ? length : 0;
}

static bool contains(const uint8_t *list, size_t count, uint8_t opcode)
{
	return memchr(list, opcode, count) != NULL;
}

enum cdb_data scsi_cdb_data_direction(const uint8_t *cdb)
{
	static const uint8_t out[] = {
		0x04, /* FORMAT UNIT */
		0x07, /* REASSIGN BLOCKS */
		0x0a, /* WRITE(6) */
		0x15, /* MODE SELECT(6) */
		0x16, /* RESERVE(6) */
		0x18, /* COPY */
		0x1d, /* SEND DIAGNOSTIC */
		0x2a, /* WRITE(10) */
		0x2e, /* WRITE AND VERIFY(10) */
		0x39, /* COMPARE */
		0x3a, /* COPY AND VERIFY */
		0x3b, /* WRITE BUFFER */
		0x3f, /* WRITE LONG(10) */
		0x41, /* WRITE SAME(10) */
		0x42, /* UNMAP */
		0x48, /* SANITIZE */
		0x4c, /* LOG SELECT */
		0x50, /* XDWRITE(10) */
		0x51, /* XPWRITE(10) */
		0x55, /* MODE SELECT(10) */
		0x56, /* RESERVE(10) */
		0x5f, /* PERSISTENT RESERVE OUT */
		0x83, /* EXTENDED COPY */
		0x86, /* ACCESS CONTROL OUT */
		0x89, /* COMPARE AND WRITE */
		0x8a, /* WRITE(16) */
		0x8b, /* ORWRITE(16) */
		0x8d, /* WRITE ATTRIBUTE */
		0x8e, /* WRITE AND VERIFY(16) */
		0x93, /* WRITE SAME(16) */
		0x9c, /* WRITE ATOMIC(16) */
		0x9f, /* SERVICE ACTION OUT(16) */
		0xa4, /* MAINTENANCE OUT */
		0xa9, /* SERVICE ACTION OUT(12) */
		0xaa, /* WRITE(12) */
		0xae, /* WRITE AND VERIFY(12) */
		0xb5, /* SECURITY PROTOCOL OUT */
	};

	switch (cdb[0]) {
	case 0x2f: /* VERIFY(10), (12), (16) send data where BYTCHK asks for a comparison */
	case 0xaf:
	case 0x8f:
		return (cdb[1] & 0x06) != 0 ? CDB_DATA_OUT : CDB_DATA_NONE;
	default:
		return contains(out, sizeof(out), cdb[0]) ? CDB_DATA_OUT : CDB_DATA_IN;
	}
}

bool scsi_cdb_is_repeatable(const uint8_t *cdb)
{
	static const uint8_t repeatable[] = {
		0x00, /* TEST UNIT READY */
		0x08, 0x28, 0xa8,
		0x88, /* READ */
		0x0a, 0x2a, 0xaa,
		0x8a,		  /* WRITE: no overlapping command is sent before we acknowledge */
		0x2e, 0xae, 0x8e, /* WRITE AND VERIFY */
		0x2f, 0xaf, 0x8f, /* VERIFY */
		0x41, 0x93,	  /* WRITE SAME */
		0x42,		  /* UNMAP */
		0x12,		  /* INQUIRY */
		0x1a, 0x5a,	  /* MODE SENSE */
		0x25,		  /* READ CAPACITY(10) */
		0x34, 0x90,	  /* PRE-FETCH */
		0x35, 0x91,	  /* SYNCHRONIZE CACHE */
		0x37, 0xb7,	  /* READ DEFECT DATA */
		0x4d,		  /* LOG SENSE */
		0x5e,		  /* PERSISTENT RESERVE IN */
		0xa0,		  /* REPORT LUNS */
		0xa3,		  /* MAINTENANCE IN */
		0x9e,		  /* SERVICE ACTION IN(16): READ CAPACITY(16), GET LBA STATUS */
		0x95,		  /* REPORT ZONES */
	};

	return contains(repeatable, sizeof(repeatable), cdb[0]);
}

void cdb_sense_build(uint8_t sense[18], uint8_t key, uint8_t asc, uint8_t ascq)
{
	memset(sense, 0, 18);
	sense[0] = 0x70; /* current error, fixed format */
	sense[2] = key;
	sense[7] = 10; /* additional length */
	sense[12] = asc;
	sense[13] = ascq;
}
