/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What of a SCSI unit moves with its VM: unit attentions that were not told, what mode pages were
 * set to, reservations, the drive's tray. The medium and the disk are the VM's definition, and not
 * in here. Restore trusts none of it.
 */
#include <errno.h>
#include <string.h>

#include "storvsp/scsi_internal.h"

#define UNIT_VERSION 2 /* 2: the id */

enum {
	FLAG_WRITE_THROUGH = 1 << 0,
	FLAG_SOFTWARE_PROTECT = 1 << 1,
	FLAG_STOPPED = 1 << 2,
	FLAG_PREVENTED = 1 << 3,
	FLAG_TRAY_OPEN = 1 << 4,
	FLAG_WANTS_EJECT = 1 << 5,
	FLAG_RESERVED = 1 << 6,
	FLAGS_KNOWN = (1 << 7) - 1,
};

#define ATTENTIONS_KNOWN (ATTENTION_RESET | ATTENTION_MEDIUM_CHANGED | ATTENTION_CAPACITY_CHANGED)

static uint32_t unit_flags(const struct scsi_unit *unit)
{
	return (atomic_load(&unit->write_through) ? FLAG_WRITE_THROUGH : 0u) |
	       (atomic_load(&unit->software_protect) ? FLAG_SOFTWARE_PROTECT : 0u) |
	       (atomic_load(&unit->stopped) ? FLAG_STOPPED : 0u) |
	       (atomic_load(&unit->prevented) ? FLAG_PREVENTED : 0u) |
	       (atomic_load(&unit->tray_open) ? FLAG_TRAY_OPEN : 0u) |
	       (atomic_load(&unit->wants_eject) ? FLAG_WANTS_EJECT : 0u) |
	       (unit->reservations.reserved ? FLAG_RESERVED : 0u);
}

void scsi_unit_save(const struct scsi_unit *unit, struct state_writer *writer)
{
	state_begin(writer, SCSI_UNIT_STATE_TAG, UNIT_VERSION, 1);
	state_put_u8(writer, (uint8_t)unit->kind);
	state_put_u32(writer, atomic_load(&unit->attentions));
	state_put_u32(writer, atomic_load(&unit->media_event));
	state_put_u32(writer, unit_flags(unit));
	state_put_u32(writer, unit->reservations.generation);
	state_put_u64(writer, unit->reservations.key);
	state_put_u8(writer, unit->reservations.type);
	state_put_bytes(writer, unit->id, sizeof(unit->id));
	state_end(writer);
}

int scsi_unit_restore(struct scsi_unit *unit, struct state_reader *section)
{
	uint32_t attentions, event, flags, generation;
	const uint8_t *id = unit->id;
	uint64_t key;
	uint8_t kind, type;
	int result = state_check_version(section, UNIT_VERSION);

	if (result)
		return result;
	kind = state_get_u8(section);
	attentions = state_get_u32(section);
	event = state_get_bounded(section, MEDIA_EVENT_REMOVED);
	flags = state_get_u32(section);
	generation = state_get_u32(section);
	key = state_get_u64(section);
	type = state_get_u8(section);
	if (section->version >= 2)
		id = state_get_bytes(section, sizeof(unit->id));
	if (section->error || kind != (uint8_t)unit->kind ||
	    attentions & ~(uint32_t)ATTENTIONS_KNOWN || flags & ~(uint32_t)FLAGS_KNOWN ||
	    !scsi_reservation_valid(key, type) || (key && flags & FLAG_RESERVED))
		return -EPROTO;
	memmove(unit->id, id, sizeof(unit->id));
	atomic_store(&unit->attentions, attentions);
	atomic_store(&unit->media_event, event);
	atomic_store(&unit->write_through, (flags & FLAG_WRITE_THROUGH) != 0);
	atomic_store(&unit->software_protect, (flags & FLAG_SOFTWARE_PROTECT) != 0);
	atomic_store(&unit->stopped, (flags & FLAG_STOPPED) != 0);
	atomic_store(&unit->prevented, (flags & FLAG_PREVENTED) != 0);
	atomic_store(&unit->tray_open, (flags & FLAG_TRAY_OPEN) != 0);
	atomic_store(&unit->wants_eject, (flags & FLAG_WANTS_EJECT) != 0);
	unit->reservations.reserved = flags & FLAG_RESERVED;
	unit->reservations.generation = generation;
	unit->reservations.key = key;
	unit->reservations.type = type;
	return 0;
}
