/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Storage at rest, saved, restored, and handed over between hosts. Who has the images in a move:
 * docs/migration.md, "Disks".
 */
#include "hypervisor/vm_storage_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/deadline.h"
#include "base/event_loop.h"
#include "base/log.h"
#include "hypervisor/migration/check.h"

#define LOG_COMPONENT "storage"

#define STATE_VERSION  1
#define CONTROLLER_TAG STATE_TAG('C', 'T', 'R', 'L')
#define DISK_TAG       STATE_TAG('D', 'I', 'S', 'K')

#define TAKE_STEP_MS 10

/* ---- pause ---- */

static void controllers_resume(struct vm_storage *storage)
{
	for (uint32_t i = 0; i < VM_MAX_CONTROLLERS; i++) {
		struct storage_controller *controller = &storage->controllers[i];

		if (controller->paused)
			storvsp_controller_resume(controller->controller);
		controller->paused = false;
	}
}

static void pause_end(struct vm_storage *storage, int status)
{
	struct storage_pause *pause = &storage->pause;
	void (*done)(void *ctx, int status) = pause->done;

	pause->done = NULL;
	if (status) {
		pause->wanted = false;
		controllers_resume(storage);
	}
	if (done)
		done(pause->ctx, status);
}

static void on_all_flushed(struct vm_storage *storage, int status)
{
	pause_end(storage, status);
}

static void controller_said(struct vm_storage *storage)
{
	struct storage_pause *pause = &storage->pause;
	int status;

	if (--pause->pending || !pause->wanted)
		return;
	status = pause->status ? pause->status : storage_grows(storage) ? -EBUSY : 0;
	status = status ? status : storage_flush_start(storage, false, on_all_flushed);
	if (status)
		pause_end(storage, status);
}

static void on_controller_paused(void *ctx, int status)
{
	struct storage_controller *controller = ctx;
	struct vm_storage *storage = controller->storage;

	controller->paused = !status;
	if (status && !storage->pause.status)
		storage->pause.status = status;
	if (!storage->pause.wanted && controller->paused) { /* it was given up meanwhile */
		storvsp_controller_resume(controller->controller);
		controller->paused = false;
	}
	controller_said(storage);
}

void vm_storage_pause(struct vm_storage *storage, uint32_t deadline_ms,
		      void (*done)(void *ctx, int status), void *ctx)
{
	struct storage_pause *pause = &storage->pause;

	if (pause->pending) { /* of an earlier pause, which was given up */
		done(ctx, -EBUSY);
		return;
	}
	*pause = (struct storage_pause){.done = done, .ctx = ctx, .wanted = true, .pending = 1};
	for (uint32_t i = 0; i < VM_MAX_CONTROLLERS; i++) {
		struct storage_controller *controller = &storage->controllers[i];

		if (!controller->controller)
			continue;
		pause->pending++;
		storvsp_controller_pause(controller->controller, deadline_ms, on_controller_paused,
					 controller);
	}
	controller_said(storage);
}

static void on_flushed_ahead(struct vm_storage *storage, int status)
{
	if (status) /* the pause will say so */
		log_warn("%s: its disks cannot be flushed: %s", storage->vm_name,
			 strerror(-status));
}

int vm_storage_flush_ahead(struct vm_storage *storage, bool begin)
{
	int result = 0;

	if (storage && begin)
		result = storage_flush_start(storage, true, on_flushed_ahead);
	return result ? result : storage && storage->flush ? -EINPROGRESS : 0;
}

void vm_storage_resume(struct vm_storage *storage)
{
	storage->pause.wanted = false;
	storage->pause.done = NULL;
	storage_flush_abandon(storage);
	controllers_resume(storage);
}

/* ---- save ---- */

static void disk_save(const struct storage_disk *disk, struct state_writer *writer)
{
	state_begin(writer, DISK_TAG, STATE_VERSION, STATE_VERSION);
	state_put_u32(writer, disk->config.controller);
	state_put_u32(writer, disk->config.lun);
	state_put_u8(writer, disk->disk != NULL);
	state_put_u64(writer, disk->info.size_bytes);
	state_put_bytes(writer, disk->info.id, sizeof(disk->info.id));
	scsi_unit_save(disk->unit, writer);
	state_end(writer);
}

int vm_storage_save(const struct vm_storage *storage, struct state_writer *writer)
{
	bool any = false;
	int result = 0;

	for (uint32_t i = 0; i < VM_MAX_CONTROLLERS; i++)
		any = any || storage->controllers[i].controller;
	if (!any)
		return 0;
	state_begin(writer, VM_STORAGE_STATE_TAG, STATE_VERSION, STATE_VERSION);
	for (uint32_t i = 0; i < VM_MAX_CONTROLLERS && !result; i++) {
		if (!storage->controllers[i].controller)
			continue;
		state_begin(writer, CONTROLLER_TAG, STATE_VERSION, STATE_VERSION);
		state_put_u32(writer, i);
		result = storvsp_controller_save(storage->controllers[i].controller, writer);
		state_end(writer);
	}
	for (size_t i = 0; i < storage->disk_count && !result; i++)
		if (storage->disks[i]->state != VM_DISK_REMOVING)
			disk_save(storage->disks[i], writer);
	state_end(writer);
	return result ? result : writer->error;
}

/* ---- restore ---- */

/* The one section that must follow, of that tag. */
static int inner_section(struct state_reader *holder, uint32_t tag, struct state_reader *inner)
{
	int result = state_next(holder, inner);

	return result < 0 ? result : result == 0 || inner->tag != tag ? -EPROTO : 0;
}

static int controller_restore(struct vm_storage *storage, struct state_reader *section)
{
	uint32_t index = state_get_bounded(section, VM_MAX_CONTROLLERS - 1);
	struct state_reader inner;
	int result = section->error ? -EPROTO : state_check_version(section, STATE_VERSION);

	result = result ? result : inner_section(section, STORVSP_STATE_TAG, &inner);
	/* One whose last disk was taken away is still there for the guest. */
	result = result ? result : storage_controller_make(storage, index);
	if (result)
		return result;
	storage->controllers[index].paused = true;
	return storvsp_controller_restore(storage->controllers[index].controller, &inner);
}

static int disk_restore(struct vm_storage *storage, struct state_reader *section)
{
	uint32_t controller = state_get_u32(section), lun = state_get_u32(section);
	struct storage_disk *disk = storage_find(storage, controller, lun);
	bool has_medium = state_get_u8(section) != 0;
	uint64_t size_bytes = state_get_u64(section);
	const uint8_t *id = state_get_bytes(section, sizeof(disk->expected_id));
	struct state_reader inner;
	int result = state_check_version(section, STATE_VERSION);

	if (!id || result)
		return result ? result : -EPROTO;
	if (!disk || (has_medium && !disk->disk))
		return -ENODEV;
	if (disk->restored)
		return -EPROTO;
	disk->restored = true;
	if (!has_medium && !disk->config.dvd) /* the unit would keep what is closed below */
		return -EPROTO;
	result = inner_section(section, SCSI_UNIT_STATE_TAG, &inner);
	if (result)
		return result;
	if (!has_medium && disk->disk) { /* the guest has ejected it */
		scsi_unit_change_medium(disk->unit, NULL);
		disk_close(disk->disk);
		disk->disk = NULL;
		free(disk->config.path);
		disk->config.path = NULL;
	}
	disk->expected = has_medium;
	disk->expected_bytes = size_bytes;
	memcpy(disk->expected_id, id, sizeof(disk->expected_id));
	/* What it was before states told it. */
	scsi_unit_set_id(disk->unit, disk->config.unit_id);
	return scsi_unit_restore(disk->unit, &inner);
}

/* One that does not would execute what lies in its rings, on disks that are another host's still.
 */
static bool controllers_rest(const struct vm_storage *storage)
{
	for (uint32_t i = 0; i < VM_MAX_CONTROLLERS; i++)
		if (storage->controllers[i].controller && !storage->controllers[i].paused)
			return false;
	return true;
}

/* One that is left out would be taken as it is found: nobody would look whether it is the one that
 * the VM had, and the guest's reservations would be gone. */
static bool disks_are_told_of(const struct vm_storage *storage)
{
	for (size_t i = 0; i < storage->disk_count; i++)
		if (!storage->disks[i]->restored)
			return false;
	return true;
}

int vm_storage_restore(struct vm_storage *storage, struct state_reader *section)
{
	struct state_reader part;
	int result = section ? state_check_version(section, STATE_VERSION) : 0;

	storage->pause = (struct storage_pause){.wanted = true};
	for (size_t i = 0; i < storage->disk_count; i++)
		storage->disks[i]->restored = false;
	while (section && !result && (result = state_next(section, &part)) > 0) {
		if (part.tag == CONTROLLER_TAG)
			result = controller_restore(storage, &part);
		else if (part.tag == DISK_TAG)
			result = disk_restore(storage, &part);
		else
			result = state_check_skippable(&part);
	}
	if (result)
		return result;
	return controllers_rest(storage) && disks_are_told_of(storage) ? 0 : -EPROTO;
}

/* ---- to let go, and to take back ---- */

int vm_storage_release(struct vm_storage *storage, struct vm_error *error)
{
	for (size_t i = 0; i < storage->disk_count; i++) {
		struct storage_disk *disk = storage->disks[i];
		int result;

		if (!disk->disk || !disk->held)
			continue;
		disk_get_info(disk->disk, &disk->info);
		disk->held = false; /* also where it fails: what is left of it is unknown */
		disk->state = VM_DISK_RELEASED;
		result = disk_release(disk->disk);
		if (result)
			return storage_explain(&disk->config, result, "", error);
	}
	return 0;
}

static bool id_is_known(const uint8_t id[16])
{
	static const uint8_t unknown[16];

	return memcmp(id, unknown, sizeof(unknown)) != 0;
}

/* Whether an image is the one of a saved state, or of another host. */
static bool is_same(const struct disk_info *info, uint64_t size_bytes, const uint8_t id[16])
{
	if (info->size_bytes != size_bytes)
		return false;
	return !id_is_known(info->id) || !id_is_known(id) || memcmp(info->id, id, 16) == 0;
}

/* For a moment, where another still has it. */
static int disk_take(struct storage_disk *disk, uint32_t patience_ms, struct vm_error *error)
{
	const struct timespec step = {.tv_nsec = TAKE_STEP_MS * (long)NS_PER_MS};
	struct deadline deadline = deadline_in_ms(patience_ms);
	char message[DISK_MESSAGE_BYTES];
	int result;

	for (;;) {
		*message = '\0';
		result = disk_reopen(disk->disk, message, sizeof(message));
		if (result != -EBUSY || deadline_passed(deadline))
			break;
		nanosleep(&step, NULL);
	}
	return result ? storage_explain(&disk->config, result, message, error) : 0;
}

int vm_storage_reopen(struct vm_storage *storage, uint32_t patience_ms, struct vm_error *error)
{
	for (size_t i = 0; storage && i < storage->disk_count; i++) {
		struct storage_disk *disk = storage->disks[i];
		int result;

		if (!disk->disk || disk->held)
			continue;
		result = disk_take(disk, patience_ms, error);
		if (result)
			return result;
		disk->held = true;
		disk_get_info(disk->disk, &disk->info);
		if (disk->expected &&
		    !is_same(&disk->info, disk->expected_bytes, disk->expected_id))
			return vm_error_set(error, EXIT_NO_DISK, -ESTALE,
					    "disk %u:%u (%s) is not the one that the VM had: it "
					    "was %llu bytes, this one is %llu, or is another image",
					    disk->config.controller, disk->config.lun,
					    disk->config.path,
					    (unsigned long long)disk->expected_bytes,
					    (unsigned long long)disk->info.size_bytes);
		disk->expected = false;
		if (disk->state == VM_DISK_RELEASED)
			disk->state = VM_DISK_READY;
	}
	return 0;
}

/* ---- the destination's check ---- */

int vm_storage_describe(const struct vm_storage *storage, struct state_writer *writer)
{
	for (size_t i = 0; storage && i < storage->disk_count; i++) {
		struct storage_disk *disk = storage->disks[i];

		if (disk->disk && disk->held)
			disk_get_info(disk->disk, &disk->info);
		state_begin(writer, DISK_TAG, STATE_VERSION, STATE_SKIPPABLE);
		state_put_u32(writer, disk->config.controller);
		state_put_u32(writer, disk->config.lun);
		state_put_u8(writer, disk->disk != NULL);
		state_put_u8(writer, disk->config.read_only);
		state_put_u64(writer, disk->info.size_bytes);
		state_put_bytes(writer, disk->info.id, sizeof(disk->info.id));
		state_end(writer);
	}
	return writer->error;
}

static void say_other(struct migration_check *findings, const struct storage_disk *disk,
		      const char *why)
{
	migration_check_add(findings, MIGRATION_STOPS, "disk",
			    "disk %u:%u: %s on the destination %s: keep it on storage that both "
			    "hosts share, at the same path",
			    disk->config.controller, disk->config.lun, disk->config.path, why);
}

/*
 * Tries to read the image as a stranger would. A file that the source writes is locked by it, here
 * too, or it is another file, or its share carries no locks. A block device's lock ends at its
 * host: there size and identity have to do.
 */
static void image_check(struct storage_disk *disk, bool source_writes, uint64_t size_bytes,
			const uint8_t id[16], struct migration_check *findings)
{
	struct vm_error error = {0};
	struct disk *probe = NULL;
	struct disk_info info;
	const struct storage_way way = {.read_only = true, .confined = disk->confined};
	int result = storage_open(&disk->config, way, &probe, &error);

	if (result == -EBUSY && source_writes)
		return;
	if (result) {
		migration_check_add(findings, MIGRATION_STOPS, "disk", "%s", error.message);
		return;
	}
	disk_get_info(probe, &info);
	disk_close(probe);
	if (!is_same(&info, size_bytes, id))
		say_other(findings, disk, "is another one");
	else if (source_writes && strcmp(info.kind, "block") != 0)
		say_other(findings, disk,
			  "is not locked by the source, so that it is another "
			  "file, or its share carries no locks");
}

static void disk_check(struct vm_storage *storage, struct state_reader *section,
		       struct migration_check *findings)
{
	uint32_t controller = state_get_u32(section), lun = state_get_u32(section);
	bool has_medium = state_get_u8(section) != 0, read_only = state_get_u8(section) != 0;
	uint64_t size_bytes = state_get_u64(section);
	const uint8_t *id = state_get_bytes(section, 16);
	struct storage_disk *disk = storage_find(storage, controller, lun);

	if (!id || state_check_version(section, STATE_VERSION)) {
		migration_check_add(findings, MIGRATION_NOTES, "disk",
				    "what the source tells of a disk cannot be read");
		return;
	}
	if (!disk)
		migration_check_add(findings, MIGRATION_STOPS, "disk",
				    "disk %u:%u is not in the definition that came", controller,
				    lun);
	else if (has_medium && disk->disk && !disk->config.is_url) /* a login could end another's */
		image_check(disk, !read_only, size_bytes, id, findings);
}

void vm_storage_check(struct vm_storage *storage, struct state_reader *section,
		      struct migration_check *findings)
{
	struct state_reader part;
	int result = 0;

	while (storage && (result = state_next(section, &part)) > 0)
		if (part.tag == DISK_TAG)
			disk_check(storage, &part, findings);
	if (result)
		migration_check_add(findings, MIGRATION_NOTES, "disk",
				    "what the source tells of its disks is cut");
}
