/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The saved state of a SCSI unit, as any peer of a move may send it: it is refused, or what is made
 * of it is saved again as the same bytes.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "storvsp/scsi.h"
#include "tests/unit/storvsp/memory_disk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void save(const struct scsi_unit *unit, struct state_writer *writer)
{
	state_writer_init(writer);
	scsi_unit_save(unit, writer);
	if (state_writer_result(writer) != 0)
		abort();
}

/* Restores a section of these bytes, and then what was saved of that. */
static void restore_twice(struct scsi_unit *unit, struct state_reader *section)
{
	struct state_reader reader, again;
	struct state_writer first, second;

	if (scsi_unit_restore(unit, section) != 0)
		return;
	save(unit, &first);
	state_reader_init(&reader, first.bytes, first.length);
	if (state_next(&reader, &again) != 1 || scsi_unit_restore(unit, &again) != 0)
		abort();
	save(unit, &second);
	if (first.length != second.length || memcmp(first.bytes, second.bytes, first.length) != 0)
		abort();
	state_writer_fini(&first);
	state_writer_fini(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct memory_disk *memory = memory_disk_create(4096, 512);
	struct scsi_unit_config config = {.kind = SCSI_DISK, .disk = &memory->disk};
	struct state_reader reader, section;
	struct scsi_unit *unit;

	if (size && data[0] & 1) /* the tag's first byte is free to choose the kind */
		config.kind = SCSI_DVD;
	if (scsi_unit_create(&config, &unit) != 0)
		abort();
	state_reader_init(&reader, data, size);
	while (state_next(&reader, &section) == 1)
		restore_twice(unit, &section);
	scsi_unit_destroy(unit);
	memory_disk_destroy(memory);
	return 0;
}
