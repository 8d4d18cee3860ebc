/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The probe is a short chain of commands, each sent again while the target answers UNIT ATTENTION,
 * as it does to the first commands of a new session.
 */
#include "iscsi-session/lun_probe.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

#define TRIES_MAX      10
#define INQUIRY_BYTES  96
#define CAPACITY_BYTES 32
#define BLOCK_MIN      512u
#define BLOCK_MAX      65536u

struct lun_probe {
	struct session *session;
	struct session_command command;
	struct iovec iov;
	uint8_t data[INQUIRY_BYTES];
	struct lun_geometry geometry;
	int tries;
	lun_probe_fn done;
	void *ctx;
};

static void copy_text(char *to, const uint8_t *from, size_t length)
{
	while (length > 0 && (from[length - 1] == ' ' || from[length - 1] == '\0'))
		length--;
	for (size_t i = 0; i < length; i++)
		to[i] = isprint(from[i]) ? (char)from[i] : '.';
	to[length] = '\0';
}

int lun_parse_inquiry(const uint8_t *data, uint32_t length, struct lun_geometry *geometry)
{
	if (length < 36)
		return -EINVAL;
	if (data[0] >> 5 != 0) /* peripheral qualifier: nothing is connected here */
		return -ENODEV;
	geometry->device_type = data[0] & 0x1f;
	copy_text(geometry->vendor, data + 8, 8);
	copy_text(geometry->product, data + 16, 16);
	return 0;
}

int lun_parse_capacity(const uint8_t *data, uint32_t length, struct lun_geometry *geometry)
{
	uint64_t last;
	uint32_t block;

	if (length < 12)
		return -EINVAL;
	last = get_be64(data);
	block = get_be32(data + 8);
	if (block < BLOCK_MIN || block > BLOCK_MAX || (block & (block - 1)) != 0)
		return -EINVAL;
	if (last >= UINT64_MAX / BLOCK_MAX)
		return -EINVAL;
	geometry->blocks = last + 1;
	geometry->block_bytes = block;
	return 0;
}

static void send(struct lun_probe *probe, const uint8_t *cdb, uint8_t cdb_length, uint32_t bytes)
{
	struct session_command *command = &probe->command;

	memcpy(command->cdb, cdb, cdb_length);
	command->cdb_length = cdb_length;
	command->direction = CDB_DATA_IN;
	command->data_bytes = bytes;
	probe->iov = (struct iovec){.iov_base = probe->data, .iov_len = bytes};
	command->iov = &probe->iov;
	command->iov_count = 1;
	session_submit(probe->session, command);
	session_flush(probe->session);
}

static void fail(struct lun_probe *probe, enum exit_code code, const char *message)
{
	probe->done(probe->ctx, code, NULL, message);
}

/* Returns true where the command was sent again. */
static bool try_again(struct lun_probe *probe)
{
	struct session_command *command = &probe->command;
	uint8_t key = command->sense_length > 2 ? command->sense[2] & 0x0f : 0;

	if (command->status != 0x02 || key != SCSI_SENSE_UNIT_ATTENTION_KEY ||
	    ++probe->tries > TRIES_MAX)
		return false;
	session_submit(probe->session, command);
	return true;
}

static bool lun_is_unsupported(const struct session_command *command)
{
	/* ILLEGAL REQUEST, LOGICAL UNIT NOT SUPPORTED */
	return command->status == 0x02 && command->sense_length >= 13 &&
	       (command->sense[2] & 0x0f) == SCSI_SENSE_ILLEGAL_REQUEST_KEY &&
	       command->sense[12] == 0x25;
}

static void on_capacity(struct session_command *command)
{
	struct lun_probe *probe =
		(struct lun_probe *)((char *)command - offsetof(struct lun_probe, command));

	if (try_again(probe))
		return;
	if (lun_is_unsupported(command))
		fail(probe, EXIT_NO_LUN, "the target has no such LUN");
	else if (command->status != 0 ||
		 lun_parse_capacity(probe->data, command->received_bytes, &probe->geometry) < 0)
		fail(probe, EXIT_NO_LUN, "the LUN does not tell its capacity");
	else
		probe->done(probe->ctx, EXIT_OK, &probe->geometry, "");
}

static void on_inquiry(struct session_command *command)
{
	static const uint8_t read_capacity[16] = {0x9e, 0x10, [13] = CAPACITY_BYTES};
	struct lun_probe *probe =
		(struct lun_probe *)((char *)command - offsetof(struct lun_probe, command));
	int ret = -EINVAL;

	if (try_again(probe))
		return;
	if (command->status == 0)
		ret = lun_parse_inquiry(probe->data, command->received_bytes, &probe->geometry);
	if (ret == -ENODEV || lun_is_unsupported(command)) {
		fail(probe, EXIT_NO_LUN, "the target has no such LUN");
	} else if (ret < 0) {
		fail(probe, EXIT_NO_LUN, "the LUN does not answer INQUIRY");
	} else if (probe->geometry.device_type != 0) {
		fail(probe, EXIT_NO_LUN, "the LUN is not a disk");
	} else {
		command->done = on_capacity;
		send(probe, read_capacity, sizeof(read_capacity), CAPACITY_BYTES);
	}
}

int lun_probe_start(struct session *session, lun_probe_fn done, void *ctx, struct lun_probe **out)
{
	static const uint8_t inquiry[6] = {0x12, [4] = INQUIRY_BYTES};
	struct lun_probe *probe = calloc(1, sizeof(*probe));

	if (probe == NULL)
		return -ENOMEM;
	probe->session = session;
	probe->done = done;
	probe->ctx = ctx;
	probe->command.done = on_inquiry;
	*out = probe;
	send(probe, inquiry, sizeof(inquiry), INQUIRY_BYTES);
	return 0;
}

void lun_probe_destroy(struct lun_probe *probe)
{
	free(probe);
}
