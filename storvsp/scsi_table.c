/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Every command that a unit knows: operation code, service action, length of the CDB, what must
 * hold before it runs, and which bits of the CDB are looked at. REPORT SUPPORTED OPERATION CODES
 * tells the guest this very table (SPC-4). The commands of the data path come first.
 *
 * The GROUP NUMBER is taken and does nothing (GROUP_SUP is 0); RDPROTECT, WRPROTECT, ORPROTECT and
 * VRPROTECT are refused (no protection information); FUA_NV is obsolete and means nothing.
 */
#include <stddef.h>
#include <string.h>

#include "base/bytes.h"
#include "storvsp/scsi_internal.h"

#define BLOCK_READ  (OP_NEEDS_MEDIUM | OP_DATA_IN)
#define BLOCK_WRITE (OP_FOR_DISK | OP_NEEDS_MEDIUM | OP_CHANGES_MEDIUM | OP_DATA_OUT)
#define BOTH	    (OP_FOR_DISK | OP_FOR_DVD)

#define LBA_4	0xff, 0xff, 0xff, 0xff
#define LBA_8	LBA_4, LBA_4
#define COUNT_2 0xff, 0xff
#define COUNT_4 0xff, 0xff, 0xff, 0xff
#define GROUP	0x1f

/* clang-format off */
static const struct scsi_op scsi_ops[] = {
	{OP_READ_10, 0, 10, BOTH | BLOCK_READ, scsi_read,
	 {OP_READ_10, 0x1a, LBA_4, GROUP, COUNT_2}},
	{OP_WRITE_10, 0, 10, BLOCK_WRITE, scsi_write,
	 {OP_WRITE_10, 0x1a, LBA_4, GROUP, COUNT_2}},
	{OP_READ_16, 0, 16, OP_FOR_DISK | BLOCK_READ, scsi_read,
	 {OP_READ_16, 0x1a, LBA_8, COUNT_4, GROUP}},
	{OP_WRITE_16, 0, 16, BLOCK_WRITE, scsi_write,
	 {OP_WRITE_16, 0x1a, LBA_8, COUNT_4, GROUP}},
	{OP_SYNCHRONIZE_CACHE_10, 0, 10, OP_FOR_DISK | OP_NEEDS_MEDIUM, scsi_synchronize_cache,
	 {OP_SYNCHRONIZE_CACHE_10, 0x06, LBA_4, GROUP, COUNT_2}},
	{OP_TEST_UNIT_READY, 0, 6, BOTH | OP_NEEDS_MEDIUM, scsi_test_unit_ready,
	 {OP_TEST_UNIT_READY}},
	{OP_UNMAP, 0, 10, BLOCK_WRITE | OP_NEEDS_UNMAP, scsi_unmap,
	 {OP_UNMAP, 0, 0, 0, 0, 0, GROUP, COUNT_2}},
	{OP_REQUEST_SENSE, 0, 6, BOTH | OP_IGNORES_ATTENTION | OP_DATA_IN, scsi_request_sense,
	 {OP_REQUEST_SENSE, 0x01, 0, 0, 0xff}},
	{OP_READ_6, 0, 6, OP_FOR_DISK | BLOCK_READ, scsi_read,
	 {OP_READ_6, 0x1f, 0xff, 0xff, 0xff}},
	{OP_WRITE_6, 0, 6, BLOCK_WRITE, scsi_write,
	 {OP_WRITE_6, 0x1f, 0xff, 0xff, 0xff}},
	{OP_INQUIRY, 0, 6, BOTH | OP_IGNORES_ATTENTION | OP_DATA_IN, scsi_inquiry,
	 {OP_INQUIRY, 0x01, 0xff, 0xff, 0xff}},
	{OP_MODE_SELECT_6, 0, 6, BOTH | OP_DATA_OUT, scsi_mode_select,
	 {OP_MODE_SELECT_6, 0x11, 0, 0, 0xff}},
	{OP_RESERVE_6, 0, 6, OP_FOR_DISK, scsi_reserve, {OP_RESERVE_6}},
	{OP_RELEASE_6, 0, 6, OP_FOR_DISK, scsi_release, {OP_RELEASE_6}},
	{OP_MODE_SENSE_6, 0, 6, BOTH | OP_DATA_IN, scsi_mode_sense,
	 {OP_MODE_SENSE_6, 0x08, 0xff, 0xff, 0xff}},
	{OP_START_STOP_UNIT, 0, 6, BOTH, scsi_start_stop,
	 {OP_START_STOP_UNIT, 0x01, 0, 0x0f, 0xf7}},
	{OP_SEND_DIAGNOSTIC, 0, 6, BOTH | OP_DATA_OUT, scsi_send_diagnostic,
	 {OP_SEND_DIAGNOSTIC, 0xf7, 0, 0xff, 0xff}},
	{OP_PREVENT_ALLOW, 0, 6, BOTH, scsi_prevent_allow,
	 {OP_PREVENT_ALLOW, 0, 0, 0, 0x03}},
	{OP_READ_CAPACITY_10, 0, 10, BOTH | BLOCK_READ, scsi_read_capacity_10,
	 {OP_READ_CAPACITY_10}},
	{OP_WRITE_AND_VERIFY_10, 0, 10, BLOCK_WRITE, scsi_write_and_verify,
	 {OP_WRITE_AND_VERIFY_10, 0x16, LBA_4, GROUP, COUNT_2}},
	{OP_VERIFY_10, 0, 10, OP_FOR_DISK | OP_NEEDS_MEDIUM | OP_DATA_OUT, scsi_verify,
	 {OP_VERIFY_10, 0x16, LBA_4, GROUP, COUNT_2}},
	{OP_PREFETCH_10, 0, 10, OP_FOR_DISK | OP_NEEDS_MEDIUM, scsi_prefetch,
	 {OP_PREFETCH_10, 0x02, LBA_4, GROUP, COUNT_2}},
	{OP_WRITE_SAME_10, 0, 10, BLOCK_WRITE, scsi_write_same,
	 {OP_WRITE_SAME_10, 0x08, LBA_4, GROUP, COUNT_2}},
	{OP_MODE_SELECT_10, 0, 10, BOTH | OP_DATA_OUT, scsi_mode_select,
	 {OP_MODE_SELECT_10, 0x11, 0, 0, 0, 0, 0, COUNT_2}},
	{OP_RESERVE_10, 0, 10, OP_FOR_DISK, scsi_reserve, {OP_RESERVE_10}},
	{OP_RELEASE_10, 0, 10, OP_FOR_DISK, scsi_release, {OP_RELEASE_10}},
	{OP_MODE_SENSE_10, 0, 10, BOTH | OP_DATA_IN, scsi_mode_sense,
	 {OP_MODE_SENSE_10, 0x18, 0xff, 0xff, 0, 0, 0, COUNT_2}},
	{OP_PERSISTENT_RESERVE_IN, 0, 10, OP_FOR_DISK | OP_HAS_ACTION | OP_DATA_IN,
	 scsi_persistent_in, {OP_PERSISTENT_RESERVE_IN, 0, 0, 0, 0, 0, 0, COUNT_2}},
	{OP_PERSISTENT_RESERVE_IN, 1, 10, OP_FOR_DISK | OP_HAS_ACTION | OP_DATA_IN,
	 scsi_persistent_in, {OP_PERSISTENT_RESERVE_IN, 1, 0, 0, 0, 0, 0, COUNT_2}},
	{OP_PERSISTENT_RESERVE_IN, 2, 10, OP_FOR_DISK | OP_HAS_ACTION | OP_DATA_IN,
	 scsi_persistent_in, {OP_PERSISTENT_RESERVE_IN, 2, 0, 0, 0, 0, 0, COUNT_2}},
	{OP_PERSISTENT_RESERVE_IN, 3, 10, OP_FOR_DISK | OP_HAS_ACTION | OP_DATA_IN,
	 scsi_persistent_in, {OP_PERSISTENT_RESERVE_IN, 3, 0, 0, 0, 0, 0, COUNT_2}},
#define PERSISTENT_OUT(action)                                                                     \
	{OP_PERSISTENT_RESERVE_OUT, action, 10, OP_FOR_DISK | OP_HAS_ACTION | OP_DATA_OUT,         \
	 scsi_persistent_out, {OP_PERSISTENT_RESERVE_OUT, action, 0xff, 0, 0, COUNT_4}}
	PERSISTENT_OUT(0), PERSISTENT_OUT(1), PERSISTENT_OUT(2), PERSISTENT_OUT(3),
	PERSISTENT_OUT(4), PERSISTENT_OUT(5), PERSISTENT_OUT(6),
	{OP_COMPARE_AND_WRITE, 0, 16, BLOCK_WRITE, scsi_compare_and_write,
	 {OP_COMPARE_AND_WRITE, 0x1a, LBA_8, 0, 0, 0, 0xff, GROUP}},
	{OP_ORWRITE_16, 0, 16, BLOCK_WRITE, scsi_orwrite,
	 {OP_ORWRITE_16, 0x1a, LBA_8, COUNT_4, GROUP}},
	{OP_WRITE_AND_VERIFY_16, 0, 16, BLOCK_WRITE, scsi_write_and_verify,
	 {OP_WRITE_AND_VERIFY_16, 0x16, LBA_8, COUNT_4, GROUP}},
	{OP_VERIFY_16, 0, 16, OP_FOR_DISK | OP_NEEDS_MEDIUM | OP_DATA_OUT, scsi_verify,
	 {OP_VERIFY_16, 0x16, LBA_8, COUNT_4, GROUP}},
	{OP_PREFETCH_16, 0, 16, OP_FOR_DISK | OP_NEEDS_MEDIUM, scsi_prefetch,
	 {OP_PREFETCH_16, 0x02, LBA_8, COUNT_4, GROUP}},
	{OP_SYNCHRONIZE_CACHE_16, 0, 16, OP_FOR_DISK | OP_NEEDS_MEDIUM, scsi_synchronize_cache,
	 {OP_SYNCHRONIZE_CACHE_16, 0x06, LBA_8, COUNT_4, GROUP}},
	{OP_WRITE_SAME_16, 0, 16, BLOCK_WRITE, scsi_write_same,
	 {OP_WRITE_SAME_16, 0x09, LBA_8, COUNT_4, GROUP}},
	{OP_SERVICE_ACTION_IN_16, SA_READ_CAPACITY_16, 16,
	 OP_FOR_DISK | OP_HAS_ACTION | BLOCK_READ, scsi_read_capacity_16,
	 {OP_SERVICE_ACTION_IN_16, SA_READ_CAPACITY_16, 0, 0, 0, 0, 0, 0, 0, 0, COUNT_4}},
	{OP_SERVICE_ACTION_IN_16, SA_GET_LBA_STATUS, 16,
	 OP_FOR_DISK | OP_HAS_ACTION | BLOCK_READ, scsi_get_lba_status,
	 {OP_SERVICE_ACTION_IN_16, SA_GET_LBA_STATUS, LBA_8, COUNT_4}},
	{OP_REPORT_LUNS, 0, 12, BOTH | OP_IGNORES_ATTENTION | OP_DATA_IN | OP_OF_CONTROLLER, NULL,
	 {OP_REPORT_LUNS, 0, 0xff, 0, 0, 0, COUNT_4}},
	{OP_MAINTENANCE_IN, SA_REPORT_SUPPORTED_OPCODES, 12, BOTH | OP_HAS_ACTION | OP_DATA_IN,
	 scsi_report_opcodes,
	 {OP_MAINTENANCE_IN, SA_REPORT_SUPPORTED_OPCODES, 0x87, 0xff, 0xff, 0xff, COUNT_4}},
	{OP_MAINTENANCE_IN, SA_REPORT_SUPPORTED_TMFS, 12, BOTH | OP_HAS_ACTION | OP_DATA_IN,
	 scsi_report_tmfs,
	 {OP_MAINTENANCE_IN, SA_REPORT_SUPPORTED_TMFS, 0x80, 0, 0, 0, COUNT_4}},
	{OP_READ_12, 0, 12, BOTH | BLOCK_READ, scsi_read,
	 {OP_READ_12, 0x1a, LBA_4, COUNT_4, GROUP}},
	{OP_WRITE_12, 0, 12, BLOCK_WRITE, scsi_write,
	 {OP_WRITE_12, 0x1a, LBA_4, COUNT_4, GROUP}},
	{OP_WRITE_AND_VERIFY_12, 0, 12, BLOCK_WRITE, scsi_write_and_verify,
	 {OP_WRITE_AND_VERIFY_12, 0x16, LBA_4, COUNT_4, GROUP}},
	{OP_VERIFY_12, 0, 12, OP_FOR_DISK | OP_NEEDS_MEDIUM | OP_DATA_OUT, scsi_verify,
	 {OP_VERIFY_12, 0x16, LBA_4, COUNT_4, GROUP}},
	{OP_READ_TOC, 0, 10, OP_FOR_DVD | BLOCK_READ, scsi_read_toc,
	 {OP_READ_TOC, 0x02, 0x0f, 0, 0, 0, 0xff, COUNT_2, 0xc0}},
	{OP_GET_CONFIGURATION, 0, 10, OP_FOR_DVD | OP_IGNORES_ATTENTION | OP_DATA_IN,
	 scsi_get_configuration,
	 {OP_GET_CONFIGURATION, 0x03, 0xff, 0xff, 0, 0, 0, COUNT_2}},
	{OP_GET_EVENT_STATUS, 0, 10, OP_FOR_DVD | OP_IGNORES_ATTENTION | OP_DATA_IN,
	 scsi_get_event_status,
	 {OP_GET_EVENT_STATUS, 0x01, 0, 0, 0xff, 0, 0, COUNT_2}},
	{OP_READ_DISC_INFORMATION, 0, 10, OP_FOR_DVD | BLOCK_READ, scsi_read_disc_information,
	 {OP_READ_DISC_INFORMATION, 0x07, 0, 0, 0, 0, 0, COUNT_2}},
	{OP_MECHANISM_STATUS, 0, 12, OP_FOR_DVD | OP_DATA_IN, scsi_mechanism_status,
	 {OP_MECHANISM_STATUS, 0, 0, 0, 0, 0, 0, 0, COUNT_2}},
};
/* clang-format on */

static bool op_supported(const struct scsi_op *op, const struct scsi_unit *unit,
			 const struct disk_info *info)
{
	uint16_t kind = unit->kind == SCSI_DISK ? OP_FOR_DISK : OP_FOR_DVD;

	return op->flags & kind &&
	       !(op->flags & OP_NEEDS_UNMAP && info->unmap_granularity_bytes == 0);
}

const struct scsi_op *scsi_op_find(const struct scsi_unit *unit, const struct disk_info *info,
				   const uint8_t *cdb, bool *known)
{
	*known = false;
	for (size_t i = 0; i < ARRAY_LENGTH(scsi_ops); i++) {
		const struct scsi_op *op = &scsi_ops[i];

		if (op->opcode != cdb[0] || !op_supported(op, unit, info))
			continue;
		*known = (op->flags & OP_HAS_ACTION) != 0;
		if (!*known || op->action == (cdb[1] & 0x1f))
			return op;
	}
	return NULL;
}

/* ---- REPORT SUPPORTED OPERATION CODES ---- */

#define TIMEOUTS_BYTES 12

/* SPC-4, command timeouts descriptor: no time is specified. */
static size_t put_timeouts(uint8_t *at)
{
	put_be16(at, TIMEOUTS_BYTES - 2);
	return TIMEOUTS_BYTES;
}

/* SPC-4, all commands parameter data. */
static void report_all(struct scsi_unit *unit, struct scsi_command *command,
		       const struct disk_info *info, bool timeouts, uint32_t allocation)
{
	uint8_t data[4 + ARRAY_LENGTH(scsi_ops) * (8 + TIMEOUTS_BYTES)] = {0};
	size_t length = 4;

	for (size_t i = 0; i < ARRAY_LENGTH(scsi_ops); i++) {
		const struct scsi_op *op = &scsi_ops[i];
		uint8_t *at = &data[length];

		if (!op_supported(op, unit, info))
			continue;
		at[0] = op->opcode;
		put_be16(&at[2], op->action);
		at[5] = (uint8_t)((timeouts ? 0x02 : 0) | (op->flags & OP_HAS_ACTION ? 0x01 : 0));
		put_be16(&at[6], op->cdb_bytes);
		length += 8;
		if (timeouts)
			length += put_timeouts(&data[length]);
	}
	put_be32(data, (uint32_t)(length - 4));
	scsi_end_data_in(command, data, length, allocation);
}

/* SPC-4, one command parameter data; op: NULL where it is not supported. */
static void report_one(struct scsi_command *command, const struct scsi_op *op, bool timeouts,
		       uint32_t allocation)
{
	uint8_t data[4 + SCSI_CDB_BYTES + TIMEOUTS_BYTES] = {0};
	size_t length = 4;

	data[1] = op ? 0x03 : 0x01;
	if (op) {
		data[1] |= timeouts ? 0x80 : 0;
		put_be16(&data[2], op->cdb_bytes);
		memcpy(&data[4], op->usage, op->cdb_bytes);
		length += op->cdb_bytes;
		if (timeouts)
			length += put_timeouts(&data[length]);
	}
	scsi_end_data_in(command, data, length, allocation);
}

void scsi_report_opcodes(struct scsi_unit *unit, struct scsi_command *command,
			 const struct disk_info *info)
{
	const uint8_t *cdb = command->cdb;
	const uint8_t wanted[2] = {cdb[3], cdb[5] & 0x1f};
	uint16_t action = get_be16(&cdb[4]);
	uint32_t allocation = get_be32(&cdb[6]);
	bool timeouts = cdb[2] & 0x80;
	uint8_t option = cdb[2] & 0x07;
	const struct scsi_op *op;
	bool has_actions;

	if (option == 0) {
		report_all(unit, command, info, timeouts, allocation);
		return;
	}
	if (option > 3) {
		scsi_end_bad_cdb(command, 2, 2);
		return;
	}
	op = scsi_op_find(unit, info, wanted, &has_actions);
	if (has_actions && action > 0x1f)
		op = NULL;
	/* 1: the code alone; 2: with its action; 3: as the code itself is. */
	if (option == 1 && has_actions) {
		scsi_end_bad_cdb(command, 2, 2);
		return;
	}
	if (option == 2 && op && !has_actions) {
		scsi_end_bad_cdb(command, 2, 2);
		return;
	}
	if (option == 3 && op && !has_actions && action != 0)
		op = NULL;
	report_one(command, op, timeouts, allocation);
}
