/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What disks a VM has, and their controllers. See vm_storage.h.
 */
#include "hypervisor/vm_storage_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/deadline.h"
#include "base/event_loop.h"
#include "base/log.h"
#include "hypervisor/migration/confine.h"

#define LOG_COMPONENT "storage"

const char *vm_disk_state_name(enum vm_disk_state state)
{
	static const char *const names[] = {
		[VM_DISK_READY] = "ready",
		[VM_DISK_REMOVING] = "removing",
		[VM_DISK_CHANGING] = "changing",
		[VM_DISK_RELEASED] = "released",
	};

	return names[state];
}

/* ---- one disk ---- */

static enum exit_code code_of(int result)
{
	switch (result) {
	case -EBUSY:
		return EXIT_EXISTS;
	case -EACCES:
	case -EPERM:
		return EXIT_PERMISSION;
	case -ENOMEM:
		return EXIT_NO_MEMORY;
	default:
		return EXIT_NO_DISK;
	}
}

int storage_explain(const struct vm_disk_config *config, int result, const char *message,
		    struct vm_error *error)
{
	if (*message)
		return vm_error_set(error, code_of(result), result, "disk %u:%u: %s",
				    config->controller, config->lun, message);
	return vm_error_set(error, code_of(result), result, "disk %u:%u (%s): %s",
			    config->controller, config->lun, config->path, strerror(-result));
}

static bool may_be_parent(const char *path)
{
	return confine_path_is_allowed(CONFINE_PARENT, "", path);
}

int storage_open(const struct vm_disk_config *config, struct storage_way way, struct disk **disk,
		 struct vm_error *error)
{
	const struct disk_options options = {
		.path = config->path,
		.format = config->format,
		.cache = config->cache,
		.read_only = config->read_only || way.read_only,
		.pass_through = config->pass_through,
		.deferred = way.deferred,
		.may_be_parent = way.confined ? may_be_parent : NULL,
		.initiator = config->initiator,
		.secret_path = config->secret,
	};
	char message[DISK_MESSAGE_BYTES] = "";
	int result;

	*disk = NULL;
	if (!config->path)
		return 0;
	result = disk_open(&options, disk, message, sizeof(message));
	return result ? storage_explain(config, result, message, error) : 0;
}

/*
 * What the guest knows a disk by (VPD 80h, 83h) goes with the image, not with the LUN: else another
 * image there would be taken for the one before. Copies of a VHD have one unique id, and may be in
 * one VM, so that the path counts too; a block device's is not always the same, but its id is. A
 * drive is the same one whatever medium is in it.
 */
static void unit_id_make(const struct storage_disk *disk, uint8_t id[16])
{
	const char *path = strcmp(disk->info.kind ? disk->info.kind : "", "block") == 0
				   ? ""
				   : disk->config.path;

	if (disk->config.dvd || !disk->disk) {
		memcpy(id, disk->config.unit_id, sizeof(disk->config.unit_id));
		return;
	}
	for (size_t half = 0; half < 2; half++) {
		uint64_t hash = half ? UINT64_C(0x9ae16a3b2f90404f)
				     : UINT64_C(0xcbf29ce484222325); /* FNV-1a */

		for (size_t i = 0; i < sizeof(disk->info.id); i++)
			hash = (hash ^ disk->info.id[i]) * UINT64_C(0x100000001b3);
		for (const char *c = path; *c; c++)
			hash = (hash ^ (uint8_t)*c) * UINT64_C(0x100000001b3);
		put_le64(id + 8 * half, hash);
	}
}

int storage_disk_create(struct vm_storage *storage, const struct vm_disk_config *config,
			struct storage_way way, struct disk *opened, struct storage_disk **disk,
			struct vm_error *error)
{
	struct storage_disk *made = calloc(1, sizeof(*made));
	struct scsi_unit_config unit = {
		.kind = config->dvd ? SCSI_DVD : SCSI_DISK,
		.disk = opened,
	};
	int result;

	if (!made || vm_disk_config_copy(config, &made->config)) {
		free(made);
		disk_close(opened);
		return vm_error_set(error, EXIT_NO_MEMORY, -ENOMEM, "out of memory");
	}
	made->storage = storage;
	made->disk = opened;
	made->held = !way.deferred;
	made->confined = way.confined;
	if (made->disk)
		disk_get_info(made->disk, &made->info);
	unit_id_make(made, unit.id);
	result = scsi_unit_create(&unit, &made->unit);
	if (result) {
		storage_disk_destroy(made);
		return vm_error_set(error, EXIT_NO_DISK, result, "disk %u:%u: %s",
				    config->controller, config->lun, strerror(-result));
	}
	*disk = made;
	return 0;
}

void storage_disk_destroy(struct storage_disk *disk)
{
	if (!disk)
		return;
	scsi_unit_destroy(disk->unit);
	disk_close(disk->next);
	disk_close(disk->disk);
	vm_disk_config_fini(&disk->config);
	free(disk);
}

/* ---- the list ---- */

static uint32_t place_of(const struct storage_disk *disk)
{
	return disk->config.controller * VM_MAX_LUNS + disk->config.lun;
}

struct storage_disk *storage_find(const struct vm_storage *storage, uint32_t controller,
				  uint32_t lun)
{
	for (size_t i = 0; i < storage->disk_count; i++)
		if (storage->disks[i]->config.controller == controller &&
		    storage->disks[i]->config.lun == lun)
			return storage->disks[i];
	return NULL;
}

int storage_disk_insert(struct vm_storage *storage, struct storage_disk *disk)
{
	size_t at = 0;

	if (storage->disk_count == VM_MAX_DISKS)
		return -ENOSPC;
	while (at < storage->disk_count && place_of(storage->disks[at]) < place_of(disk))
		at++;
	memmove(&storage->disks[at + 1], &storage->disks[at],
		(storage->disk_count - at) * sizeof(storage->disks[0]));
	storage->disks[at] = disk;
	storage->disk_count++;
	return 0;
}

void storage_disk_forget(struct vm_storage *storage, struct storage_disk *disk)
{
	for (size_t i = 0; i < storage->disk_count; i++) {
		if (storage->disks[i] != disk)
			continue;
		storage->disk_count--;
		memmove(&storage->disks[i], &storage->disks[i + 1],
			(storage->disk_count - i) * sizeof(storage->disks[0]));
		return;
	}
}

int vm_storage_create(const struct vm_config *config, struct event_loop *loop,
		      enum vm_storage_origin origin, struct vm_storage **storage,
		      struct vm_error *error)
{
	const struct storage_way way = {
		.deferred = origin != VM_STORAGE_HERE,
		.confined = origin == VM_STORAGE_RECEIVED,
	};
	struct vm_storage *made = calloc(1, sizeof(*made));
	int result = 0;

	if (!made)
		return vm_error_set(error, EXIT_NO_MEMORY, -ENOMEM, "out of memory");
	made->vm_name = config->name;
	made->loop = loop;
	for (uint32_t i = 0; i < VM_MAX_CONTROLLERS; i++)
		made->controllers[i].storage = made;
	for (size_t i = 0; i < config->disk_count && !result; i++) {
		struct storage_disk *disk;
		struct disk *opened;

		result = storage_open(&config->disks[i], way, &opened, error);
		if (!result)
			result = storage_disk_create(made, &config->disks[i], way, opened, &disk,
						     error);
		if (!result)
			(void)storage_disk_insert(made, disk); /* as many as there is room for */
	}
	if (result) {
		vm_storage_destroy(made);
		return result;
	}
	*storage = made;
	return 0;
}

void vm_storage_destroy(struct vm_storage *storage)
{
	if (!storage)
		return;
	storage_openings_end(storage);
	vm_storage_detach(storage);
	storage_flush_join(storage);
	for (size_t i = 0; i < storage->disk_count; i++)
		storage_disk_destroy(storage->disks[i]);
	free(storage);
}

/* ---- a partition's time ---- */

int storage_controller_make(struct vm_storage *storage, uint32_t index)
{
	struct storage_controller *controller = &storage->controllers[index];
	struct storvsp_controller_config config = {.max_sub_channels = storage->vp_count - 1};

	if (controller->controller)
		return 0;
	if (config.max_sub_channels > STORVSP_MAX_SUB_CHANNELS)
		config.max_sub_channels = STORVSP_MAX_SUB_CHANNELS;
	vm_config_controller_id(storage->vm_name, index, config.instance_id.bytes);
	return storvsp_controller_create(&storage->bus, &config, &controller->controller);
}

int storage_disk_show(struct storage_disk *disk)
{
	struct vm_storage *storage = disk->storage;
	uint32_t index = disk->config.controller;
	int result = storage_controller_make(storage, index);

	return result ? result
		      : storvsp_controller_add_unit(storage->controllers[index].controller,
						    disk->config.lun, disk->unit);
}

int vm_storage_attach(struct vm_storage *storage, const struct vm_storage_partition *partition)
{
	int result = 0;

	storage->engine_bus =
		(struct engine_bus){.engine = partition->engine, .partition = partition->partition};
	storage->bus = (struct device_bus){
		.server = partition->server,
		.memory = partition->memory,
		.signals = partition->signals,
		.loop = storage->loop,
		.ops = &engine_bus_ops,
		.ctx = &storage->engine_bus,
	};
	storage->vp_count = partition->vp_count;
	storage->attached = true;
	for (size_t i = 0; i < storage->disk_count && !result; i++)
		result = storage_disk_show(storage->disks[i]);
	if (!result)
		storage_ejects_watch(storage);
	return result;
}

static void drain_begin(struct vm_storage *storage)
{
	/* Nothing is resumed: what is left in the guest's rings is another host's, or that of a
	 * saved VM, to execute. */
	storage->pause = (struct storage_pause){0};
	storage->draining = true;
	storage_flush_abandon(storage);
	event_timer_cancel(storage->eject_timer);
	storage->eject_timer = NULL;
}

/* One of a controller's disks that has a command under way; NULL: one that is being taken away. */
static const struct storage_disk *disk_under_way(const struct vm_storage *storage, uint32_t index)
{
	struct storvsp_unit_stats stats;

	for (size_t i = 0; i < storage->disk_count; i++) {
		const struct storage_disk *disk = storage->disks[i];

		if (disk->config.controller == index &&
		    !storvsp_controller_get_stats(storage->controllers[index].controller,
						  disk->config.lun, &stats) &&
		    stats.in_flight)
			return disk;
	}
	return NULL;
}

static int drain_fail(const struct storage_disk *disk, struct vm_error *error)
{
	if (!disk)
		return vm_error_set(error, EXIT_NO_DISK, -ETIMEDOUT,
				    "a disk that is being taken away does not answer");
	return vm_error_set(error, EXIT_NO_DISK, -ETIMEDOUT, "disk %u:%u (%s) does not answer",
			    disk->config.controller, disk->config.lun,
			    disk->config.path ? disk->config.path : "no medium");
}

int vm_storage_drain(struct vm_storage *storage, bool for_good, uint32_t deadline_ms,
		     struct vm_error *error)
{
	struct deadline deadline = deadline_in_ms(deadline_ms);
	const struct storage_disk *disk;

	if (!storage)
		return 0;
	drain_begin(storage);
	if (!storage_growths_wait(storage, deadline_ms, &disk))
		return drain_fail(disk, error);
	for (uint32_t i = 0; i < VM_MAX_CONTROLLERS; i++) {
		struct storvsp_controller *controller = storage->controllers[i].controller;

		if (controller &&
		    storvsp_controller_drain(controller, (uint32_t)deadline_left_ms(deadline)))
			return drain_fail(disk_under_way(storage, i), error);
	}
	if (for_good && !storage_flush_wait(storage, (uint32_t)deadline_left_ms(deadline), &disk))
		return drain_fail(disk, error);
	return 0;
}

void vm_storage_detach(struct vm_storage *storage)
{
	const struct storage_disk *disk;

	if (!storage || !storage->attached)
		return;
	drain_begin(storage);
	(void)storage_growths_wait(storage, UINT32_MAX, &disk);
	for (uint32_t i = 0; i < VM_MAX_CONTROLLERS; i++) {
		storvsp_controller_destroy(storage->controllers[i].controller);
		storage->controllers[i].controller = NULL;
		storage->controllers[i].paused = false;
	}
	storage->attached = false;
	storage->draining = false;
	storage_changes_settle(storage);
	/* The next partition's guest finds them as after a power cycle. */
	for (size_t i = 0; i < storage->disk_count; i++)
		scsi_unit_reset(storage->disks[i]->unit);
}

/* ---- what there is ---- */

static void status_fill(const struct vm_storage *storage, struct storage_disk *disk,
			struct vm_disk_status *status)
{
	const struct storvsp_controller *controller =
		storage->controllers[disk->config.controller].controller;

	*status = (struct vm_disk_status){.config = &disk->config, .state = disk->state};
	status->has_medium = disk->config.path != NULL;
	if (disk->disk && disk->held)
		disk_get_info(disk->disk, &disk->info);
	if (status->has_medium)
		status->info = disk->info;
	if (controller)
		(void)storvsp_controller_get_stats(controller, disk->config.lun, &status->stats);
}

size_t vm_storage_get_disks(const struct vm_storage *storage, struct vm_disk_status *disks)
{
	size_t count = storage ? storage->disk_count : 0;

	for (size_t i = 0; i < count; i++)
		status_fill(storage, storage->disks[i], &disks[i]);
	return count;
}

size_t vm_storage_get_controllers(const struct vm_storage *storage,
				  struct vm_controller_status *controllers)
{
	size_t count = 0;

	for (uint32_t i = 0; storage && i < VM_MAX_CONTROLLERS; i++) {
		if (!storage->controllers[i].controller)
			continue;
		controllers[count] = (struct vm_controller_status){.index = i};
		storvsp_controller_get_status(storage->controllers[i].controller,
					      &controllers[count++].status);
	}
	return count;
}

size_t vm_storage_get_configs(const struct vm_storage *storage, struct vm_disk_config *configs)
{
	size_t count = 0;

	for (size_t i = 0; storage && i < storage->disk_count; i++)
		if (storage->disks[i]->state != VM_DISK_REMOVING)
			configs[count++] = storage->disks[i]->config;
	return count;
}
