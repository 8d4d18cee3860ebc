/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Disks that get larger while the guest runs. A share may hang in the middle of that, so each
 * growth has a thread, and the event loop looks now and then whether it has ended. A VHD's unit is
 * kept quiet meanwhile: its tables move.
 */
#include "hypervisor/vm_storage_internal.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/deadline.h"
#include "base/event_loop.h"
#include "base/log.h"
#include "storvsp/disk_vhd.h"

#define LOG_COMPONENT "storage"

#define SIZE_GRANULE UINT64_C(4096)
#define LOOK_MS	     20
#define QUICK_MS     100 /* most are done at once, and who asked is told how it went */

struct storage_growth {
	struct storage_disk *disk;
	bool vhd;
	uint64_t bytes; /* 0: only looks */
	uint64_t before;
	pthread_t thread;
	struct event_timer *timer;
	atomic_bool done; /* what follows is the loop's */
	int result;
	char message[DISK_MESSAGE_BYTES];
};

static struct storvsp_controller *controller_of(const struct storage_disk *disk)
{
	return disk->storage->controllers[disk->config.controller].controller;
}

/* ---- the thread ---- */

/* -EOPNOTSUPP: it is no file */
static int file_grow(const char *path, uint64_t bytes)
{
	struct stat status;

	if (stat(path, &status) < 0 || !S_ISREG(status.st_mode))
		return -EOPNOTSUPP;
	return truncate(path, (off_t)bytes) < 0 ? -errno : 0;
}

static void *growth_run(void *ctx)
{
	struct storage_growth *growth = ctx;
	struct storage_disk *disk = growth->disk;

	if (growth->vhd) {
		growth->result = disk_vhd_resize(disk->disk, growth->bytes, growth->message,
						 sizeof(growth->message));
	} else {
		if (growth->bytes)
			growth->result = file_grow(disk->config.path, growth->bytes);
		if (!growth->result)
			growth->result = disk_refresh(disk->disk);
	}
	atomic_store(&growth->done, true);
	return NULL;
}

/* ---- begin and end ---- */

/* Tells the guest where the size is another one now. */
static void size_tell(struct storage_disk *disk, uint64_t before)
{
	disk_get_info(disk->disk, &disk->info);
	if (disk->info.size_bytes == before)
		return;
	log_info("%s: disk %u:%u has %llu bytes now, had %llu", disk->storage->vm_name,
		 disk->config.controller, disk->config.lun,
		 (unsigned long long)disk->info.size_bytes, (unsigned long long)before);
	scsi_unit_capacity_changed(disk->unit);
	if (controller_of(disk))
		storvsp_controller_rescan(controller_of(disk));
}

static int growth_explain(const struct storage_disk *disk, int result, const char *message,
			  struct vm_error *error)
{
	const struct vm_disk_config *config = &disk->config;

	if (result == -EOPNOTSUPP && !*message)
		return vm_error_set(error, EXIT_CONFIG, result,
				    "disk %u:%u (%s) is not made larger from here; do that where "
				    "it is kept, then give no size",
				    config->controller, config->lun, disk->info.kind);
	return storage_explain(config, result, message, error);
}

/* It is done. Returns its result. */
static int growth_end(struct storage_growth *growth, struct vm_error *error)
{
	struct storage_disk *disk = growth->disk;
	int result;

	pthread_join(growth->thread, NULL);
	event_timer_cancel(growth->timer);
	disk->growth = NULL;
	disk->state = VM_DISK_READY;
	result = growth->result ? growth_explain(disk, growth->result, growth->message, error) : 0;
	size_tell(disk, growth->before);
	if (growth->vhd && controller_of(disk))
		storvsp_controller_go_on(controller_of(disk), disk->config.lun);
	free(growth);
	return result;
}

/* Nobody waits for its outcome. */
static void growth_end_alone(struct storage_growth *growth)
{
	struct storage_disk *disk = growth->disk;
	struct vm_error error;

	if (growth_end(growth, &error))
		log_error("%s: disk %u:%u stays as large as it is: %s", disk->storage->vm_name,
			  disk->config.controller, disk->config.lun, error.message);
}

static void on_look(void *ctx)
{
	struct storage_growth *growth = ctx;

	growth->timer = NULL;
	if (atomic_load(&growth->done))
		growth_end_alone(growth);
	else if (event_loop_after_ms(growth->disk->storage->loop, LOOK_MS, on_look, growth,
				     &growth->timer))
		log_error("out of memory: a disk that grows is not looked at");
}

static int growth_start(struct storage_disk *disk, uint64_t bytes, bool vhd)
{
	struct storage_growth *growth = calloc(1, sizeof(*growth));
	int result;

	if (!growth)
		return -ENOMEM;
	growth->disk = disk;
	growth->vhd = vhd;
	growth->bytes = bytes;
	growth->before = disk->info.size_bytes;
	result = event_loop_after_ms(disk->storage->loop, LOOK_MS, on_look, growth, &growth->timer);
	if (!result)
		result = -pthread_create(&growth->thread, NULL, growth_run, growth);
	if (result) {
		event_timer_cancel(growth->timer);
		free(growth);
		return result;
	}
	disk->state = VM_DISK_CHANGING;
	disk->growth = growth;
	return 0;
}

static bool growth_await(const struct storage_growth *growth, struct deadline deadline)
{
	const struct timespec step = {.tv_nsec = (long)NS_PER_MS};

	while (!atomic_load(&growth->done)) {
		if (deadline_passed(deadline))
			return false;
		nanosleep(&step, NULL);
	}
	return true;
}

/* ---- at the end of a partition, in a pause ---- */

bool storage_growths_wait(struct vm_storage *storage, uint32_t deadline_ms,
			  const struct storage_disk **disk)
{
	struct deadline deadline = deadline_in_ms(deadline_ms);

	for (size_t i = 0; i < storage->disk_count; i++) {
		struct storage_growth *growth = storage->disks[i]->growth;

		*disk = storage->disks[i];
		if (growth && !growth_await(growth, deadline))
			return false;
		if (growth)
			growth_end_alone(growth);
	}
	return true;
}

bool storage_grows(const struct vm_storage *storage)
{
	for (size_t i = 0; i < storage->disk_count; i++)
		if (storage->disks[i]->growth)
			return true;
	return false;
}

/* ---- VHDs ---- */

/* No command is under way. */
static int vhd_grow(struct storage_disk *disk)
{
	uint64_t bytes = disk->grow_bytes;
	int result;

	disk->grow_bytes = 0;
	disk->state = VM_DISK_READY;
	result = growth_start(disk, bytes, true);
	if (result)
		log_error("%s: disk %u:%u stays as large as it is: %s", disk->storage->vm_name,
			  disk->config.controller, disk->config.lun, strerror(-result));
	return result;
}

void storage_size_settle(struct storage_disk *disk)
{
	if (!vhd_grow(disk) && growth_await(disk->growth, deadline_in_ms(UINT32_MAX)))
		growth_end_alone(disk->growth);
}

static void on_quiet_to_grow(void *ctx, uint32_t lun)
{
	struct storage_disk *disk = ctx;

	if (!vhd_grow(disk))
		storvsp_controller_keep_quiet(controller_of(disk), lun);
}

static int vhd_grow_begin(struct storage_disk *disk, uint64_t bytes, struct vm_error *error)
{
	int result;

	if (disk->config.read_only || bytes < disk->info.size_bytes || bytes % SIZE_GRANULE)
		return vm_error_set(error, EXIT_CONFIG, -EINVAL,
				    "disk %u:%u can only be made larger, to a multiple of 4096 "
				    "bytes, where it is not read-only",
				    disk->config.controller, disk->config.lun);
	disk->grow_bytes = bytes;
	disk->state = VM_DISK_CHANGING;
	if (!disk->storage->attached) {
		storage_size_settle(disk);
		return 0;
	}
	result = storvsp_controller_quiesce_unit(controller_of(disk), disk->config.lun,
						 on_quiet_to_grow, disk);
	if (!result)
		return 0;
	disk->grow_bytes = 0;
	disk->state = VM_DISK_READY;
	return storage_explain(&disk->config, result, "", error);
}

/* ---- the others ---- */

static int file_check(const struct storage_disk *disk, uint64_t bytes, struct vm_error *error)
{
	const struct vm_disk_config *config = &disk->config;

	if (bytes % SIZE_GRANULE)
		return vm_error_set(error, EXIT_CONFIG, -EINVAL,
				    "a size has to be a multiple of 4096 bytes");
	if (bytes < disk->info.size_bytes)
		return vm_error_set(error, EXIT_CONFIG, -EINVAL,
				    "disk %u:%u has %llu bytes already; it can only grow",
				    config->controller, config->lun,
				    (unsigned long long)disk->info.size_bytes);
	if (config->read_only || strcmp(disk->info.kind, "raw") != 0)
		return growth_explain(disk, -EOPNOTSUPP, "", error);
	return 0;
}

int vm_storage_resize(struct vm_storage *storage, uint32_t controller, uint32_t lun, uint64_t bytes,
		      uint64_t *size_bytes, struct vm_error *error)
{
	struct storage_disk *disk = storage_get(storage, controller, lun, error);
	int result;

	if (!disk)
		return -ENOENT;
	if (!disk->disk)
		return vm_error_set(error, EXIT_STATE, -ENOMEDIUM, "disk %u:%u has no medium",
				    controller, lun);
	disk_get_info(disk->disk, &disk->info);
	*size_bytes = disk->info.size_bytes;
	if (bytes && bytes != disk->info.size_bytes && strncmp(disk->info.kind, "vhd", 3) == 0)
		return vhd_grow_begin(disk, bytes, error);
	result = bytes ? file_check(disk, bytes, error) : 0;
	if (result)
		return result;
	result = growth_start(disk, bytes, false);
	if (result)
		return storage_explain(&disk->config, result, "", error);
	if (!growth_await(disk->growth, deadline_in_ms(QUICK_MS)))
		return 0;
	result = growth_end(disk->growth, error);
	if (!result)
		*size_bytes = disk->info.size_bytes;
	return result;
}
