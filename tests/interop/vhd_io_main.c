/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vhd-io FILE: writes to an image as a VM would, by commands on standard input, a line each, with
 * several of them under way at once:
 *
 *   write OFFSET LENGTH SEED    bytes that only SEED determines: byte i is (SEED + i / 512 + i) %
 * 256 zero OFFSET LENGTH flush                       waits for all before it, and says "flushed N"
 * for N lines
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "storvsp/disk.h"
#include "storvsp/io_loop.h"

#define AT_ONCE 8u
#define WAIT_MS 1000

struct command {
	struct disk_request request; /* first */
	struct iovec iov;
	bool busy;
};

static struct command commands[AT_ONCE];
static struct io_loop *loop;
static int failed;

static void on_done(struct disk_request *request, int status)
{
	struct command *command = (struct command *)request;

	if (status && !failed)
		failed = status;
	free(command->iov.iov_base);
	command->busy = false;
}

static bool is_busy(unsigned int most)
{
	unsigned int busy = 0;

	for (unsigned int i = 0; i < AT_ONCE; i++)
		busy += commands[i].busy;
	return busy > most;
}

static void wait_until(unsigned int most)
{
	while (is_busy(most))
		if (io_loop_run(loop, WAIT_MS) < 0)
			return;
}

static void start(struct disk *disk, enum disk_op op, uint64_t offset, uint64_t length,
		  uint8_t seed)
{
	struct command *command = commands;
	uint8_t *bytes = NULL;

	wait_until(AT_ONCE - 1);
	while (command->busy)
		command++;
	memset(command, 0, sizeof(*command));
	if (op == DISK_WRITE)
		bytes = malloc(length);
	if (op == DISK_WRITE && !bytes) {
		failed = -ENOMEM;
		return;
	}
	for (uint64_t i = 0; bytes && i < length; i++)
		bytes[i] = (uint8_t)(seed + i / 512 + i);
	command->iov = (struct iovec){bytes, length};
	command->request.op = op;
	command->request.offset = offset;
	command->request.length = length;
	command->request.iov = &command->iov;
	command->request.iov_count = bytes ? 1 : 0;
	command->request.loop = loop;
	command->request.done = on_done;
	command->busy = true;
	disk_submit(disk, &command->request);
}

static int run(struct disk *disk)
{
	unsigned int lines = 0;
	char line[128];

	while (!failed && fgets(line, sizeof(line), stdin)) {
		uint64_t offset, length;
		unsigned int seed;

		lines++;
		if (sscanf(line, "write %" SCNu64 " %" SCNu64 " %u", &offset, &length, &seed) == 3)
			start(disk, DISK_WRITE, offset, length, (uint8_t)seed);
		else if (sscanf(line, "zero %" SCNu64 " %" SCNu64, &offset, &length) == 2)
			start(disk, DISK_WRITE_ZEROES, offset, length, 0);
		else if (strcmp(line, "flush\n") == 0) {
			wait_until(0);
			start(disk, DISK_FLUSH, 0, 0, 0);
			wait_until(0);
			if (!failed)
				printf("flushed %u\n", lines);
			fflush(stdout);
		} else {
			failed = -EINVAL;
		}
	}
	wait_until(0);
	return failed;
}

int main(int argc, char **argv)
{
	struct disk_options options = {.path = argc == 2 ? argv[1] : ""};
	char message[DISK_MESSAGE_BYTES];
	struct disk *disk;
	int rc;

	if (argc != 2) {
		fprintf(stderr, "usage: vhd-io FILE < COMMANDS\n");
		return 2;
	}
	if (disk_open(&options, &disk, message, sizeof(message)) != 0) {
		fprintf(stderr, "vhd-io: %s\n", message);
		return 1;
	}
	rc = io_loop_create(32, &loop);
	if (rc == 0)
		rc = run(disk);
	if (rc)
		fprintf(stderr, "vhd-io: %s\n", strerror(-rc));
	disk_close(disk);
	io_loop_destroy(loop);
	return rc ? 1 : 0;
}
