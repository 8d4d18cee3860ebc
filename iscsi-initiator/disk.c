/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The disk's data path. Command objects are kept for reuse with their iovec arrays, so that in the
 * steady state nothing is allocated here.
 */
#include "iscsi-initiator/disk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "iscsi-initiator/tcmu_abi.h"

#define LOG_COMPONENT "disk"
#include "base/log.h"

#define STATUS_GOOD	       0x00
#define STATUS_CHECK_CONDITION 0x02

struct disk_command {
	struct session_command command; /* first: done() gets its address */
	struct disk *disk;
	uint16_t id;
	struct iovec *iov;
	uint32_t iov_capacity;
	TAILQ_ENTRY(disk_command) link;
};

TAILQ_HEAD(disk_commands, disk_command);

struct disk {
	struct event_loop *loop;
	struct tcmu_device *device;
	struct session *session;
	struct event_watch *watch;
	struct disk_commands idle, active;
	struct tcmu_request request;
	bool to_notify;
	bool broken;
};

static void give_up(struct disk *disk, const char *why)
{
	if (!disk->broken)
		log_error("%s: the disk serves no more commands; detach it with --force", why);
	disk->broken = true;
}

static void complete(struct disk *disk, const struct tcmu_completion *completion)
{
	if (tcmu_ring_complete(&disk->device->ring, completion) < 0)
		give_up(disk, "the kernel's ring is damaged");
	disk->to_notify = true;
}

static void refuse(struct disk *disk, uint16_t id, uint8_t key, uint8_t asc, uint8_t ascq)
{
	uint8_t sense[18];
	struct tcmu_completion completion = {
		.id = id,
		.status = STATUS_CHECK_CONDITION,
		.sense = sense,
		.sense_length = sizeof(sense),
	};

	cdb_sense_build(sense, key, asc, ascq);
	complete(disk, &completion);
}

/* A read length of zero means "all" to the kernel: what the target did not send must not be old
 * data then. */
static void clear_data(const struct session_command *command)
{
	for (int i = 0; i < command->iov_count; i++)
		memset(command->iov[i].iov_base, 0, command->iov[i].iov_len);
}

static void on_done(struct session_command *command)
{
	struct disk_command *dc = (struct disk_command *)command;
	struct disk *disk = dc->disk;
	struct tcmu_completion completion = {
		.id = dc->id,
		.status = command->status,
		.sense = command->sense,
		.sense_length = command->sense_length,
	};

	if (command->direction == CDB_DATA_IN && command->status == STATUS_GOOD &&
	    command->received_bytes < command->data_bytes) {
		if (command->received_bytes == 0)
			clear_data(command);
		completion.read_bytes = command->received_bytes;
	}
	TAILQ_REMOVE(&disk->active, dc, link);
	TAILQ_INSERT_HEAD(&disk->idle, dc, link);
	complete(disk, &completion);
}

static struct disk_command *take_command(struct disk *disk)
{
	struct disk_command *dc = TAILQ_FIRST(&disk->idle);

	if (dc != NULL) {
		TAILQ_REMOVE(&disk->idle, dc, link);
	} else {
		dc = calloc(1, sizeof(*dc));
		if (dc == NULL)
			return NULL;
		dc->disk = disk;
	}
	TAILQ_INSERT_TAIL(&disk->active, dc, link);
	return dc;
}

/* The request's iovecs change hands: the command keeps them, the request takes the command's old
 * array. */
static void swap_iovs(struct disk_command *dc, struct tcmu_request *request)
{
	struct iovec *iov = dc->iov;
	uint32_t capacity = dc->iov_capacity;

	dc->iov = request->iov;
	dc->iov_capacity = request->iov_capacity;
	request->iov = iov;
	request->iov_capacity = capacity;
}

static void start_command(struct disk *disk, struct tcmu_request *request)
{
	size_t cdb_length = scsi_cdb_length(request->cdb, request->cdb_available);
	struct disk_command *dc;
	struct session_command *command;

	if (cdb_length == 0) {
		refuse(disk, request->id, SCSI_SENSE_ILLEGAL_REQUEST_KEY, 0x20, 0x00);
		return;
	}
	dc = take_command(disk);
	if (dc == NULL) {
		refuse(disk, request->id, SCSI_SENSE_ABORTED_COMMAND_KEY, 0x55, 0x03);
		return;
	}
	swap_iovs(dc, request);
	dc->id = request->id;
	command = &dc->command;
	memcpy(command->cdb, request->cdb, cdb_length);
	command->cdb_length = (uint8_t)cdb_length;
	command->direction =
		request->data_bytes > 0 ? scsi_cdb_data_direction(command->cdb) : CDB_DATA_NONE;
	command->data_bytes = request->data_bytes;
	command->iov = dc->iov;
	command->iov_count = (int)request->iov_count;
	command->done = on_done;
	session_submit(disk->session, command);
}

static void manage_tasks(struct disk *disk, const struct tcmu_request *request)
{
	struct disk_command *dc, *next;

	log_warn_limited("the kernel aborts %u command(s), function %u", request->id_count,
			 request->function);
	for (dc = TAILQ_FIRST(&disk->active); dc != NULL; dc = next) {
		next = TAILQ_NEXT(dc, link);
		for (uint32_t i = 0; i < request->id_count; i++) {
			if (request->ids[i] == dc->id) {
				session_abort_command(disk->session, &dc->command);
				break;
			}
		}
	}
	if (request->function == TCMU_ABI_LUN_RESET)
		session_reset_lun(disk->session);
}

static void take_requests(struct disk *disk)
{
	struct tcmu_request *request = &disk->request;

	while (!disk->broken) {
		int ret = tcmu_ring_next(&disk->device->ring, request);

		if (ret == 0)
			break;
		if (ret == -EOPNOTSUPP)
			refuse(disk, request->id, SCSI_SENSE_ILLEGAL_REQUEST_KEY, 0x20, 0x00);
		else if (ret == -ENOMEM)
			break; /* the entry stays; the next event tries again */
		else if (ret < 0)
			give_up(disk, "the kernel's ring is damaged");
		else if (request->kind == TCMU_REQUEST_COMMAND)
			start_command(disk, request);
		else
			manage_tasks(disk, request);
	}
}

static void on_ring(void *ctx, int fd, uint32_t events)
{
	struct disk *disk = ctx;
	uint32_t count;

	if ((events & (EPOLLERR | EPOLLHUP)) != 0 ||
	    (read(fd, &count, sizeof(count)) < 0 && errno != EAGAIN)) {
		give_up(disk, "the kernel has closed the ring");
		event_watch_remove(disk->watch);
		disk->watch = NULL;
		return;
	}
	take_requests(disk);
	session_flush(disk->session);
}

void disk_round_end(struct disk *disk)
{
	if (disk == NULL || !disk->to_notify)
		return;
	disk->to_notify = false;
	tcmu_device_notify(disk->device);
}

bool disk_is_broken(const struct disk *disk)
{
	return disk->broken;
}

int disk_start(struct event_loop *loop, struct tcmu_device *device, struct session *session,
	       struct disk **out)
{
	int ret;
	struct disk *disk = calloc(1, sizeof(*disk));

	if (disk == NULL)
		return -ENOMEM;
	disk->loop = loop;
	disk->device = device;
	disk->session = session;
	TAILQ_INIT(&disk->idle);
	TAILQ_INIT(&disk->active);
	ret = event_loop_watch(loop, device->uio_fd, EPOLLIN, on_ring, disk, &disk->watch);
	if (ret < 0) {
		free(disk);
		return ret;
	}
	*out = disk;
	return 0;
}

void disk_stop(struct disk *disk)
{
	struct disk_command *dc;

	if (disk == NULL)
		return;
	event_watch_remove(disk->watch);
	TAILQ_CONCAT(&disk->idle, &disk->active, link);
	while ((dc = TAILQ_FIRST(&disk->idle)) != NULL) {
		TAILQ_REMOVE(&disk->idle, dc, link);
		free(dc->iov);
		free(dc);
	}
	free(disk->request.iov);
	free(disk);
}
