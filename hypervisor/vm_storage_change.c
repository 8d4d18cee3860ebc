/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Disks that come, go, and change their medium while the guest runs. What the guest has under way
 * on a disk ends first; until then the disk's state says what it waits for.
 */
#include "hypervisor/vm_storage_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/event_loop.h"
#include "base/log.h"

#define LOG_COMPONENT "storage"

#define EJECT_LOOK_MS 500
#define ENDING	      "the guest has come to an end, and its disks are waited for"

static struct storage_controller *controller_of(const struct storage_disk *disk)
{
	return &disk->storage->controllers[disk->config.controller];
}

struct storage_disk *storage_get(const struct vm_storage *storage, uint32_t controller,
				 uint32_t lun, struct vm_error *error)
{
	struct storage_disk *disk = storage_find(storage, controller, lun);

	if (storage->draining) {
		vm_error_set(error, EXIT_STATE, 0, ENDING);
		return NULL;
	}
	if (!disk) {
		vm_error_set(error, EXIT_NOT_FOUND, 0,
			     "there is no disk %u:%u; lunar disk list "
			     "shows those there are",
			     controller, lun);
		return NULL;
	}
	if (storage_flush_uses(storage, disk->disk)) {
		vm_error_set(error, EXIT_STATE, 0,
			     "disk %u:%u is still being flushed for a move that was given up; wait "
			     "until its storage answers",
			     controller, lun);
		return NULL;
	}
	if (disk->state == VM_DISK_READY)
		return disk;
	vm_error_set(error, EXIT_STATE, 0, "disk %u:%u is %s; wait until that has ended",
		     controller, lun, vm_disk_state_name(disk->state));
	return NULL;
}

/* ---- add ---- */

static int lun_choose(const struct vm_storage *storage, struct vm_disk_config *config,
		      struct vm_error *error)
{
	if (config->lun != VM_STORAGE_ANY_LUN) {
		if (!storage_find(storage, config->controller, config->lun))
			return 0;
		return vm_error_set(error, EXIT_EXISTS, -EEXIST,
				    "%u:%u is taken by another disk; choose another LUN, or leave "
				    "the choice to lunar",
				    config->controller, config->lun);
	}
	for (config->lun = 0; config->lun < VM_MAX_LUNS; config->lun++)
		if (!storage_find(storage, config->controller, config->lun))
			return 0;
	return vm_error_set(error, EXIT_CONFIG, -ENOSPC,
			    "controller %u has %d disks, which is the most; choose another",
			    config->controller, VM_MAX_LUNS);
}

static int image_check_unused(const struct vm_storage *storage, const struct vm_disk_config *config,
			      struct vm_error *error)
{
	for (size_t i = 0; i < storage->disk_count; i++) {
		const struct vm_disk_config *other = &storage->disks[i]->config;

		if (vm_disk_config_shares(other, config))
			return vm_error_set(error, EXIT_EXISTS, -EBUSY,
					    "%s is disk %u:%u of this VM already, and both would "
					    "write it",
					    config->path, other->controller, other->lun);
	}
	return 0;
}

int vm_storage_add(struct vm_storage *storage, const struct vm_disk_config *config,
		   const struct vm_disk_config **added, struct vm_error *error)
{
	struct vm_disk_config chosen = *config; /* its texts stay the caller's */
	struct storage_disk *disk;
	struct disk *opened;
	int result = storage->draining ? vm_error_set(error, EXIT_STATE, -EBUSY, ENDING) : 0;

	result = result ? result : lun_choose(storage, &chosen, error);
	result = result ? result : image_check_unused(storage, &chosen, error);
	if (result)
		return result;
	vm_config_unit_id(storage->vm_name, chosen.controller, chosen.lun, chosen.unit_id);
	result = storage_open_later(storage, &chosen, &opened, error);
	if (!result)
		result = storage_disk_create(storage, &chosen, (struct storage_way){0}, opened,
					     &disk, error);
	if (result)
		return result;
	result = storage_disk_insert(storage, disk);
	if (!result && storage->attached) {
		result = storage_disk_show(disk);
		if (result)
			storage_disk_forget(storage, disk);
	}
	if (result) {
		storage_disk_destroy(disk);
		return vm_error_set(error, result == -ENOSPC ? EXIT_CONFIG : EXIT_INTERNAL, result,
				    "disk %u:%u cannot be shown to the guest: %s",
				    chosen.controller, chosen.lun, strerror(-result));
	}
	storage_ejects_watch(storage);
	log_info("%s: disk %u:%u added: %s", storage->vm_name, chosen.controller, chosen.lun,
		 chosen.path ? chosen.path : "an empty DVD drive");
	*added = &disk->config;
	return 0;
}

/* ---- remove ---- */

static void disk_leave(struct storage_disk *disk)
{
	struct vm_storage *storage = disk->storage;

	log_info("%s: disk %u:%u removed", storage->vm_name, disk->config.controller,
		 disk->config.lun);
	storage_disk_forget(storage, disk);
	storage_disk_destroy(disk);
}

static void on_removed(void *ctx, uint32_t lun)
{
	(void)lun;
	disk_leave(ctx);
}

int vm_storage_remove(struct vm_storage *storage, uint32_t controller, uint32_t lun,
		      struct vm_error *error)
{
	struct storage_disk *disk = storage_get(storage, controller, lun, error);
	int result;

	if (!disk)
		return -ENOENT;
	if (!storage->attached) {
		disk_leave(disk);
		return 0;
	}
	disk->state = VM_DISK_REMOVING;
	result = storvsp_controller_remove_unit(controller_of(disk)->controller, lun, on_removed,
						disk);
	if (!result)
		return 0;
	disk->state = VM_DISK_READY;
	return vm_error_set(error, EXIT_INTERNAL, result, "disk %u:%u cannot be removed: %s",
			    controller, lun, strerror(-result));
}

/* ---- another medium ---- */

/* No command is under way. */
static void medium_swap(struct storage_disk *disk)
{
	struct disk *old = disk->disk;

	disk->disk = disk->next;
	disk->next = NULL;
	disk->state = VM_DISK_READY;
	disk->info = (struct disk_info){0};
	if (disk->disk)
		disk_get_info(disk->disk, &disk->info);
	scsi_unit_change_medium(disk->unit, disk->disk);
	disk_close(old);
	log_info("%s: disk %u:%u: %s", disk->storage->vm_name, disk->config.controller,
		 disk->config.lun, disk->disk ? disk->config.path : "no medium");
}

static void on_quiet(void *ctx, uint32_t lun)
{
	(void)lun;
	medium_swap(ctx);
}

static int medium_begin(struct storage_disk *disk, struct disk *next, char *path)
{
	struct vm_storage *storage = disk->storage;
	struct disk *former_next = disk->next;
	char *old_path = disk->config.path;
	int result;

	disk->next = next;
	disk->config.path = path;
	disk->state = VM_DISK_CHANGING;
	if (!storage->attached) {
		medium_swap(disk);
		free(old_path);
		return 0;
	}
	result = storvsp_controller_quiesce_unit(controller_of(disk)->controller, disk->config.lun,
						 on_quiet, disk);
	if (result) {
		disk->next = former_next;
		disk->config.path = old_path;
		disk->state = VM_DISK_READY;
		return result;
	}
	free(old_path);
	return 0;
}

int vm_storage_change_medium(struct vm_storage *storage, uint32_t controller, uint32_t lun,
			     const char *path, struct vm_error *error)
{
	struct storage_disk *disk = storage_get(storage, controller, lun, error);
	struct vm_disk_config config;
	struct disk *next = NULL;
	char *copy = NULL;
	int result;

	if (!disk)
		return -ENOENT;
	if (!disk->config.dvd)
		return vm_error_set(error, EXIT_CONFIG, -EINVAL,
				    "disk %u:%u is no DVD drive; lunar disk remove takes it away",
				    controller, lun);
	if (path) {
		config = disk->config;
		copy = strdup(path);
		if (!copy)
			return vm_error_set(error, EXIT_NO_MEMORY, -ENOMEM, "out of memory");
		config.path = copy;
		result = storage_open_later(storage, &config, &next, error);
		if (result) {
			free(copy);
			return result;
		}
	}
	result = medium_begin(disk, next, copy);
	if (!result)
		return 0;
	disk_close(next);
	free(copy);
	return vm_error_set(error, EXIT_INTERNAL, result, "the medium of %u:%u stays: %s",
			    controller, lun, strerror(-result));
}

/* ---- the guest's own wish ---- */

static void on_eject_look(void *ctx)
{
	struct vm_storage *storage = ctx;

	storage->eject_timer = NULL;
	for (size_t i = 0; i < storage->disk_count && !storage->pause.wanted; i++) {
		struct storage_disk *disk = storage->disks[i];

		if (disk->config.dvd && disk->disk && disk->state == VM_DISK_READY &&
		    scsi_unit_wants_eject(disk->unit) && medium_begin(disk, NULL, NULL))
			log_warn_limited("%s: disk %u:%u: the guest's eject fails",
					 storage->vm_name, disk->config.controller,
					 disk->config.lun);
	}
	storage_ejects_watch(storage);
}

void storage_ejects_watch(struct vm_storage *storage)
{
	bool dvd = false;

	for (size_t i = 0; i < storage->disk_count; i++)
		dvd = dvd || storage->disks[i]->config.dvd;
	if (!dvd || !storage->attached || storage->eject_timer)
		return;
	if (event_loop_after_ms(storage->loop, EJECT_LOOK_MS, on_eject_look, storage,
				&storage->eject_timer))
		storage->eject_timer = NULL; /* short of memory: no eject from within the guest */
}

void storage_changes_settle(struct vm_storage *storage)
{
	for (size_t i = storage->disk_count; i-- > 0;) {
		struct storage_disk *disk = storage->disks[i];

		if (disk->state == VM_DISK_CHANGING && disk->grow_bytes)
			storage_size_settle(disk);
		else if (disk->state == VM_DISK_CHANGING)
			medium_swap(disk);
		else if (disk->state == VM_DISK_REMOVING)
			disk_leave(disk);
	}
}
