/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Shared by the parts of a VM's storage: what there is (vm_storage.c), changes while the guest runs
 * (vm_storage_change.c, vm_storage_size.c), images that take their time (vm_storage_open.c), saved
 * state and moves (vm_storage_state.c), and the flush that belongs to a pause (vm_storage_flush.c).
 */
#ifndef LUNAR_HYPERVISOR_VM_STORAGE_INTERNAL_H
#define LUNAR_HYPERVISOR_VM_STORAGE_INTERNAL_H

#include <sys/queue.h>

#include "hypervisor/engine_bus.h"
#include "hypervisor/vm_storage.h"
#include "storvsp/scsi.h"

struct storage_flush;
struct storage_growth;
struct storage_opening;

struct storage_disk {
	struct vm_storage *storage;
	struct vm_disk_config config;
	enum vm_disk_state state;
	struct disk *disk;	       /* NULL: an empty DVD drive */
	struct disk_info info;	       /* as of the last look at an open disk */
	bool held;		       /* neither released nor deferred */
	bool confined;		       /* the images' parents are */
	struct disk *next;	       /* VM_DISK_CHANGING: the medium to come */
	uint64_t grow_bytes;	       /* VM_DISK_CHANGING: the size to come, once it is quiet */
	struct storage_growth *growth; /* VM_DISK_CHANGING: under way; NULL: none */
	struct scsi_unit *unit;
	bool restored; /* a state has told of it */
	bool expected; /* a restored VM had one like this */
	uint64_t expected_bytes;
	uint8_t expected_id[16];
};

struct storage_controller {
	struct vm_storage *storage;
	struct storvsp_controller *controller; /* NULL: there is none */
	bool paused;
};

/* A pause under way, or done. */
struct storage_pause {
	void (*done)(void *ctx, int status); /* NULL: nobody waits */
	void *ctx;
	bool wanted;	  /* until resume */
	uint32_t pending; /* controllers that have not said, and one more until all were asked */
	int status;
};

struct vm_storage {
	const char *vm_name;
	struct event_loop *loop;
	struct storage_disk *disks[VM_MAX_DISKS]; /* by controller and LUN */
	size_t disk_count;
	bool attached;
	bool draining; /* the partition's end has begun */
	struct engine_bus engine_bus;
	struct device_bus bus;
	uint32_t vp_count;
	struct storage_controller controllers[VM_MAX_CONTROLLERS];
	struct storage_pause pause;
	struct storage_flush *flush; /* of a pause; NULL: none is under way */
	LIST_HEAD(, storage_opening) openings;
	uint32_t opening_count;
	struct event_timer *eject_timer; /* looks for guests that eject a medium */
};

/* ---- vm_storage.c ---- */

struct storage_disk *storage_find(const struct vm_storage *storage, uint32_t controller,
				  uint32_t lun);
/* How a disk is opened; all false: as its configuration says, at once. */
struct storage_way {
	bool deferred;
	bool read_only;
	bool confined; /* the parents of an image, to what another host may name */
};

/* Opens what a disk's configuration names; *disk is NULL for an empty drive. */
int storage_open(const struct vm_disk_config *config, struct storage_way way, struct disk **disk,
		 struct vm_error *error);
/* Fills *error for a disk whose open or reopen failed with result and message. Returns result. */
int storage_explain(const struct vm_disk_config *config, int result, const char *message,
		    struct vm_error *error);
/* Makes a disk of what storage_open() opened (it is the disk's, also where this fails): with its
 * unit, in no list yet. */
int storage_disk_create(struct vm_storage *storage, const struct vm_disk_config *config,
			struct storage_way way, struct disk *opened, struct storage_disk **disk,
			struct vm_error *error);
/* Takes NULL. No command is under way, no controller has it. */
void storage_disk_destroy(struct storage_disk *disk);
int storage_disk_insert(struct vm_storage *storage, struct storage_disk *disk);
void storage_disk_forget(struct vm_storage *storage, struct storage_disk *disk);
/* Its controller, which is made where there is none. Attached. 0 or -errno. */
int storage_controller_make(struct vm_storage *storage, uint32_t index);
/* Attached: the guest gets to see it. */
int storage_disk_show(struct storage_disk *disk);

/* ---- vm_storage_change.c ---- */

/* A disk that is there, and of which nothing is being changed; NULL with *error. */
struct storage_disk *storage_get(const struct vm_storage *storage, uint32_t controller,
				 uint32_t lun, struct vm_error *error);

/* Ends what waited for commands to end, where no command can be under way: detached. */
void storage_changes_settle(struct vm_storage *storage);
/* Looks for eject wishes from now on, where there is a DVD drive. */
void storage_ejects_watch(struct vm_storage *storage);

/* ---- vm_storage_size.c ---- */

/* Waits for disks that are getting larger, deadline_ms at most; false: *disk still is. */
bool storage_growths_wait(struct vm_storage *storage, uint32_t deadline_ms,
			  const struct storage_disk **disk);
/* Whether a disk is getting larger: it cannot be flushed. */
bool storage_grows(const struct vm_storage *storage);
/* Detached: makes it as large as it is to be. */
void storage_size_settle(struct storage_disk *disk);

/* ---- vm_storage_open.c ---- */

/* As storage_open(), but does not wait long: -EINPROGRESS, ask again with the same configuration,
 * within a second. */
int storage_open_later(struct vm_storage *storage, const struct vm_disk_config *config,
		       struct disk **disk, struct vm_error *error);
/* What is being opened is nobody's. */
void storage_openings_end(struct vm_storage *storage);

/* ---- vm_storage_flush.c ---- */

typedef void (*storage_flush_fn)(struct vm_storage *storage, int status);

/* Flushes every disk that is held, on a thread of its own; fn is called from the loop. ahead: the
 * guest runs; disks of which something is being changed, or that leave, are left out. -EBUSY: an
 * earlier flush still hangs. 0 or -errno. */
int storage_flush_start(struct vm_storage *storage, bool ahead, storage_flush_fn fn);
/* fn is not called any more. */
void storage_flush_abandon(struct vm_storage *storage);
/* Whether a flush under way, perhaps of a pause that was given up, uses that disk. */
bool storage_flush_uses(const struct vm_storage *storage, const struct disk *disk);
/* Waits for a flush under way, deadline_ms at most; false: it goes on, for *disk and others. */
bool storage_flush_wait(struct vm_storage *storage, uint32_t deadline_ms,
			const struct storage_disk **disk);
/* Waits for a flush under way. */
void storage_flush_join(struct vm_storage *storage);

#endif
