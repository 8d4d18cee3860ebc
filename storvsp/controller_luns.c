/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a controller answers by itself, since no unit can: REPORT LUNS, and commands for a LUN,
 * target or path where there is none. Linux probes LUN 0 of every target with INQUIRY and then asks
 * for the list, so both are answered everywhere. Source: SPC-4 6.6.1 (peripheral qualifier), 6.33
 * (REPORT LUNS), SAM-5 4.7.5 (LUN structure).
 */
#include <string.h>

#include "base/bytes.h"
#include "storvsp/controller_internal.h"

#define CDB_INQUIRY	0x12
#define CDB_REPORT_LUNS 0xa0

#define INQUIRY_BYTES	      36u
#define INQUIRY_EVPD	      0x01
#define INQUIRY_NO_UNIT	      0x7f /* qualifier 3, type 1fh: none, and none can be */
#define INQUIRY_VERSION_SPC_4 0x06
#define INQUIRY_FORMAT_2      0x02

#define LIST_HEADER_BYTES 8u
#define LUN_BYTES	  8u

enum select_report {
	REPORT_ADDRESSABLE = 0,
	REPORT_WELL_KNOWN = 1,
	REPORT_ALL = 2,
};

uint32_t controller_lun_of(const struct srb *srb)
{
	if (srb->path != 0 || srb->target != 0 || srb->lun >= STORVSP_MAX_LUNS)
		return STORVSP_MAX_LUNS;
	return srb->lun;
}

/* ILLEGAL REQUEST, INVALID FIELD IN CDB. */
static void refuse_cdb(struct scsi_command *command)
{
	command->status = 2;
	command->sense_bytes = 18;
	memset(command->sense, 0, sizeof(command->sense));
	command->sense[0] = 0x70;
	command->sense[2] = 0x05;
	command->sense[7] = 10;
	command->sense[12] = 0x24;
}

static void data_return(struct scsi_command *command, const struct srb_data *data,
			const uint8_t *bytes, size_t length, uint32_t allocated)
{
	if (length > allocated)
		length = allocated;
	command->transferred = srb_data_copy_in(data, bytes, length);
}

static void report_luns(struct storvsp_controller *controller, const struct srb *srb,
			const struct srb_data *data, struct scsi_command *command)
{
	uint8_t list[LIST_HEADER_BYTES + STORVSP_MAX_LUNS * LUN_BYTES] = {0};
	uint32_t bytes = 0;

	if (srb->cdb[2] > REPORT_ALL) {
		refuse_cdb(command);
		return;
	}
	for (uint8_t lun = 0; lun < STORVSP_MAX_LUNS; lun++) {
		if (srb->path != 0 || srb->target != 0 || srb->cdb[2] == REPORT_WELL_KNOWN ||
		    !atomic_load_explicit(&controller->units[lun], memory_order_acquire))
			continue;
		list[LIST_HEADER_BYTES + bytes + 1] = lun;
		bytes += LUN_BYTES;
	}
	put_be32(list, bytes);
	data_return(command, data, list, LIST_HEADER_BYTES + bytes, get_be32(srb->cdb + 6));
}

static void inquiry_no_unit(const struct srb *srb, const struct srb_data *data,
			    struct scsi_command *command)
{
	uint8_t bytes[INQUIRY_BYTES] = {
		[0] = INQUIRY_NO_UNIT,
		[2] = INQUIRY_VERSION_SPC_4,
		[3] = INQUIRY_FORMAT_2,
		[4] = INQUIRY_BYTES - 5,
	};

	if (srb->cdb[1] & INQUIRY_EVPD || srb->cdb[2] != 0) {
		refuse_cdb(command);
		return;
	}
	memset(bytes + 8, ' ', sizeof(bytes) - 8);
	data_return(command, data, bytes, sizeof(bytes), get_be16(srb->cdb + 3));
}

bool controller_answer(struct storvsp_controller *controller, const struct srb *srb,
		       const struct srb_data *data, struct scsi_command *command,
		       struct scsi_unit **unit)
{
	const uint32_t lun = controller_lun_of(srb);

	if (srb->cdb[0] == CDB_REPORT_LUNS) {
		report_luns(controller, srb, data, command);
		return true;
	}
	*unit = lun < STORVSP_MAX_LUNS
			? atomic_load_explicit(&controller->units[lun], memory_order_acquire)
			: NULL;
	if (*unit)
		return false;
	if (srb->cdb[0] == CDB_INQUIRY)
		inquiry_no_unit(srb, data, command);
	else
		command->gone = true;
	return true;
}
