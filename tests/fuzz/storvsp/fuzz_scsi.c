/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A guest's CDBs and their data, one after the other, on a disk, a drive or a real LUN in memory:
 * each ends once, with a status that there is, and never with more bytes than the guest's buffer
 * has; and what is saved afterwards can be restored. First byte: the kind of unit; then per
 * command: length of the CDB and direction, CDB, u16 bytes of data, data.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "storvsp/scsi.h"
#include "tests/unit/storvsp/memory_disk.h"

#define DISK_BYTES (512u << 10)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
	const uint8_t *data;
	size_t left;
};

static size_t input_take(struct input *input, void *bytes, size_t length)
{
	size_t taken = length < input->left ? length : input->left;

	memcpy(bytes, input->data, taken);
	input->data += taken;
	input->left -= taken;
	return taken;
}

static unsigned int ended;

static void command_done(struct scsi_command *command)
{
	(void)command;
	ended++;
}

static bool status_known(uint8_t status)
{
	return status == 0x00 || status == 0x02 || status == 0x08 || status == 0x18;
}

static void command_check(const struct scsi_command *command, size_t data_bytes)
{
	if (ended != 1 || !status_known(command->status) || command->transferred > data_bytes ||
	    command->sense_bytes > SCSI_SENSE_BYTES || command->gone)
		abort();
	if (command->status == 0x02 &&
	    (command->sense_bytes < 18 || (command->sense[0] & 0x7e) != 0x70))
		abort();
}

static void run_command(struct scsi_unit *unit, struct input *input)
{
	struct scsi_command command = {.done = command_done};
	uint8_t head = 0, length[2] = {0};
	struct iovec iov[2];
	size_t data_bytes, cut;
	uint8_t *buffer;

	input_take(input, &head, 1);
	command.cdb_bytes = (uint8_t)((head & 0x0f) + 1);
	command.direction = (enum disk_direction)((head >> 4) % 3);
	input_take(input, command.cdb, command.cdb_bytes);
	input_take(input, length, sizeof(length));
	data_bytes = get_le16(length);
	buffer = calloc(1, data_bytes ? data_bytes : 1); /* exactly as long */
	if (!buffer)
		abort();
	if (command.direction == DISK_TO_DEVICE)
		input_take(input, buffer, data_bytes);
	cut = data_bytes / 3;
	iov[0] = (struct iovec){buffer, cut};
	iov[1] = (struct iovec){buffer + cut, data_bytes - cut};
	command.iov = iov;
	command.iov_count = 2;
	command.data_bytes = data_bytes;
	ended = 0;
	scsi_unit_execute(unit, &command);
	command_check(&command, data_bytes);
	free(buffer);
}

static void check_saved_state(struct scsi_unit *unit)
{
	struct state_reader reader, section;
	struct state_writer writer;

	state_writer_init(&writer);
	scsi_unit_save(unit, &writer);
	state_reader_init(&reader, writer.bytes, writer.length);
	if (state_writer_result(&writer) != 0 || state_next(&reader, &section) != 1 ||
	    scsi_unit_restore(unit, &section) != 0)
		abort();
	state_writer_fini(&writer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = {data, size};
	struct scsi_unit_config config = {.kind = SCSI_DISK};
	struct memory_disk *memory;
	struct scsi_unit *unit;
	uint8_t kind = 0;

	input_take(&input, &kind, 1);
	memory = memory_disk_create(DISK_BYTES, kind & 0x01 ? 4096 : 512);
	memory->info.read_only = kind & 0x02;
	memory->info.write_cache = !(kind & 0x04);
	memory->info.unmap_granularity_bytes = kind & 0x08 ? 0 : 4096;
	memory->info.passes_scsi = (kind & 0xc0) == 0xc0;
	if (kind & 0x20) {
		config.kind = SCSI_DVD;
		memory->info.block_bytes = 2048;
	}
	/* What a LUN answers is the fuzzer's too. */
	if (memory->info.passes_scsi) {
		memory->answer.status = 0x02;
		memory->answer.sense_bytes = DISK_SENSE_BYTES;
		memory->answer.transferred = UINT64_MAX;
		input_take(&input, memory->answer.sense, DISK_SENSE_BYTES);
		if ((memory->answer.sense[0] & 0x7c) != 0x70)
			memory->answer.sense[0] = 0x70;
	}
	config.disk = kind & 0x20 && kind & 0x10 ? NULL : &memory->disk;
	if (scsi_unit_create(&config, &unit) != 0)
		abort();
	while (input.left)
		run_command(unit, &input);
	check_saved_state(unit);
	scsi_unit_destroy(unit);
	memory_disk_destroy(memory);
	return 0;
}
