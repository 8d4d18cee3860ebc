/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * For LD_PRELOAD: every SG_IO of a program goes to a SCSI unit of ours, so that the suites that
 * judge a disk in a guest judge the unit in a second, without a guest. The path that the program
 * opens is any character device, say /dev/null. Environment: SCSI_SHIM_IMAGE (a file, raw or VHD as
 * its name says), or, for a disk in memory, SCSI_SHIM_KIND (disk or dvd),
 * SCSI_SHIM_BLOCK and SCSI_SHIM_PHYSICAL (bytes), SCSI_SHIM_FLAGS (thick, read-only,
 * write-through).
 */
#include <dlfcn.h>
#include <errno.h>
#include <linux/fs.h>
#include <scsi/sg.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "storvsp/disk_iscsi.h"
#include "storvsp/io_loop.h"
#include "storvsp/scsi.h"
#include "tests/unit/storvsp/memory_disk.h"

#define DISK_BYTES	(64u << 20)
#define SG_VERSION	30536
#define MAX_SECTORS	8192
#define DRIVER_SENSE	0x08
#define CHECK_CONDITION 0x02
#define LOOP_ENTRIES	64

static struct scsi_unit *unit;
static struct io_loop *loop;
static bool busy;

static void command_done(struct scsi_command *command)
{
	(void)command;
	busy = false;
}

/* Until the command has ended. */
static void execute(struct scsi_command *command)
{
	command->loop = loop;
	busy = true;
	scsi_unit_execute(unit, command);
	while (busy)
		if (!loop || io_loop_run(loop, -1) < 0)
			abort();
}

static uint32_t setting(const char *name, uint32_t fallback)
{
	const char *value = getenv(name);

	return value ? (uint32_t)strtoul(value, NULL, 10) : fallback;
}

static bool flag(const char *name)
{
	const char *flags = getenv("SCSI_SHIM_FLAGS");

	return flags && strstr(flags, name);
}

/* libiscsi is a static library, which no shared object can have in it. */
int disk_iscsi_open(const struct disk_options *options, struct disk **disk, char *message,
		    size_t message_bytes)
{
	(void)options;
	(void)disk;
	snprintf(message, message_bytes, "not here");
	return -EOPNOTSUPP;
}

static struct disk *image_open(const char *path)
{
	struct disk_options options = {.path = path};
	char message[DISK_MESSAGE_BYTES];
	struct disk *disk;

	if (io_loop_create(LOOP_ENTRIES, &loop) != 0 ||
	    disk_open(&options, &disk, message, sizeof(message)) != 0) {
		fprintf(stderr, "%s: %s\n", path, loop ? message : "no io_uring");
		abort();
	}
	return disk;
}

static struct disk *memory_open(bool is_dvd)
{
	uint32_t block = setting("SCSI_SHIM_BLOCK", is_dvd ? 2048 : 512);
	struct memory_disk *memory = memory_disk_create(DISK_BYTES, block);

	memory->info.physical_block_bytes = setting("SCSI_SHIM_PHYSICAL", block);
	memory->info.unmap_granularity_bytes =
		flag("thick") ? 0 : memory->info.physical_block_bytes;
	memory->info.read_only = is_dvd || flag("read-only");
	memory->info.write_cache = !flag("write-through");
	return &memory->disk;
}

/* A unit whose power-on attention has been told, as a guest's kernel leaves it. */
static void unit_open(void)
{
	const char *kind = getenv("SCSI_SHIM_KIND"), *image = getenv("SCSI_SHIM_IMAGE");
	bool is_dvd = kind && strcmp(kind, "dvd") == 0;
	struct scsi_unit_config config = {.kind = is_dvd ? SCSI_DVD : SCSI_DISK, .id = {1, 2, 3}};
	struct scsi_command ready = {.cdb_bytes = 6, .done = command_done};

	config.disk = image ? image_open(image) : memory_open(is_dvd);
	if (scsi_unit_create(&config, &unit) != 0)
		abort();
	execute(&ready);
}

static void sg_run(struct sg_io_hdr *header)
{
	struct iovec whole = {header->dxferp, header->dxfer_len};
	struct scsi_command command = {.cdb_bytes = header->cmd_len, .done = command_done};
	size_t sense;

	if (!unit)
		unit_open();
	memcpy(command.cdb, header->cmdp,
	       header->cmd_len < SCSI_CDB_BYTES ? header->cmd_len : SCSI_CDB_BYTES);
	if (header->dxfer_direction == SG_DXFER_TO_DEV)
		command.direction = DISK_TO_DEVICE;
	else if (header->dxfer_direction == SG_DXFER_FROM_DEV)
		command.direction = DISK_FROM_DEVICE;
	command.data_bytes = command.direction == DISK_NO_DATA ? 0 : header->dxfer_len;
	command.iov = header->iovec_count ? header->dxferp : &whole;
	command.iov_count = header->iovec_count ? header->iovec_count : 1;
	execute(&command);
	header->status = command.status;
	header->masked_status = (command.status >> 1) & 0x1f;
	header->host_status = 0;
	header->driver_status = command.status == CHECK_CONDITION ? DRIVER_SENSE : 0;
	header->resid = (int)(header->dxfer_len - (uint32_t)command.transferred);
	header->info = command.status ? SG_INFO_CHECK : 0;
	sense = command.sense_bytes < header->mx_sb_len ? command.sense_bytes : header->mx_sb_len;
	memcpy(header->sbp, command.sense, sense);
	header->sb_len_wr = (unsigned char)sense;
}

__attribute__((visibility("default"))) int ioctl(int fd, unsigned long request, ...)
{
	int (*next)(int fd, unsigned long request, ...);
	va_list arguments;
	void *argument;

	va_start(arguments, request);
	argument = va_arg(arguments, void *);
	va_end(arguments);
	switch (request) {
	case SG_IO:
		sg_run(argument);
		return 0;
	case SG_GET_VERSION_NUM:
		*(int *)argument = SG_VERSION;
		return 0;
	case BLKSECTGET:
		*(unsigned short *)argument = MAX_SECTORS;
		return 0;
	default:
		*(void **)&next = dlsym(RTLD_NEXT, "ioctl");
		if (!next) {
			errno = ENOSYS;
			return -1;
		}
		return next(fd, request, argument);
	}
}
