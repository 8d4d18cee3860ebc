/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A VM's disks: the images and LUNs that it has open, a SCSI unit on each, and the controllers that
 * show them to the guest. The disks belong to the VM and stay open over a reboot of the guest; the
 * controllers belong to a partition, between attach and detach. All calls are for the event loop's
 * thread. Some block for as long as a share or a target takes to answer; each says so.
 */
#ifndef LUNAR_HYPERVISOR_VM_STORAGE_H
#define LUNAR_HYPERVISOR_VM_STORAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/state.h"
#include "hypervisor/vm_config.h"
#include "hypervisor/vm_error.h"
#include "storvsp/controller.h"
#include "storvsp/disk.h"

struct engine_ops;
struct engine_partition;
struct event_loop;
struct guest_memory;
struct migration_check;
struct signal_table;
struct vm_storage;
struct vmbus_server;

/* Where a VM comes from. */
enum vm_storage_origin {
	VM_STORAGE_HERE,     /* its disks are opened at once */
	VM_STORAGE_FILE,     /* it was saved: nothing is locked before vm_storage_reopen() */
	VM_STORAGE_RECEIVED, /* likewise; and its images' parents are confined (confine.h) */
};

/*
 * Opens every disk. Blocks. Returns 0, or -errno with *error: EXIT_EXISTS where an image is in
 * use, EXIT_NO_DISK where it cannot be opened.
 */
int vm_storage_create(const struct vm_config *config, struct event_loop *loop,
		      enum vm_storage_origin origin, struct vm_storage **storage,
		      struct vm_error *error);
/* Takes NULL. Everything is on the disks when it returns, but for those that hang: a disk is waited
 * for 10 s at most, and closed when it no longer hangs. What is under way is waited for, however
 * long that takes: see vm_storage_drain(). Blocks. */
void vm_storage_destroy(struct vm_storage *storage);

/* ---- a partition's time ---- */

/* The partition; everything outlives the time until detach. */
struct vm_storage_partition {
	struct guest_memory *memory;
	const struct signal_table *signals;
	struct vmbus_server *server;
	const struct engine_ops *engine;
	struct engine_partition *partition;
	uint32_t vp_count;
};

/* Offers a controller for each that a disk names. Returns 0 or -errno; detach in either case. */
int vm_storage_attach(struct vm_storage *storage, const struct vm_storage_partition *partition);
/*
 * No VP runs, and no message of the guest reaches its bus any more. Waits, deadline_ms at most, for
 * all that the guest has under way; for_good: the storage is to be destroyed, so for a flush of a
 * pause that was given up as well. Takes NULL. Returns 0: detach, or destroy, does not wait; or
 * -ETIMEDOUT with *error, which names the disk that hangs: what it has under way may still write to
 * guest memory. May be called again.
 */
int vm_storage_drain(struct vm_storage *storage, bool for_good, uint32_t deadline_ms,
		     struct vm_error *error);
/* No VP runs. Waits for all that the guest has under way; then nothing touches its memory. May be
 * repeated. Takes NULL. */
void vm_storage_detach(struct vm_storage *storage);

/* ---- changes while the VM lives ---- */

/* Adds a disk. -EINPROGRESS: its storage takes its time to open it, up to 20 s; ask again with the
 * same configuration, within a second, or it is forgotten. *added: as it is now (its LUN may have
 * been chosen). Errors: EXIT_EXISTS (the LUN is taken, or the image is in use), EXIT_CONFIG (no LUN
 * is free), EXIT_NO_DISK. */
#define VM_STORAGE_ANY_LUN UINT32_MAX /* as config's lun: the first free one */
int vm_storage_add(struct vm_storage *storage, const struct vm_disk_config *config,
		   const struct vm_disk_config **added, struct vm_error *error);
/* Begins to take a disk away: the guest is told, commands under way end first; then it is closed
 * and told of no more. EXIT_NOT_FOUND; EXIT_STATE: it is being changed. */
int vm_storage_remove(struct vm_storage *storage, uint32_t controller, uint32_t lun,
		      struct vm_error *error);
/* Another medium for a DVD drive: a path, or NULL: none. -EINPROGRESS as above. EXIT_NOT_FOUND,
 * EXIT_STATE, EXIT_NO_DISK. */
int vm_storage_change_medium(struct vm_storage *storage, uint32_t controller, uint32_t lun,
			     const char *path, struct vm_error *error);
/* Looks at a disk's size again, and tells the guest where it has changed; bytes: makes it so large
 * first (0: only looks). Where that takes its time, and of a VHD, it goes on by itself, the disk's
 * state being VM_DISK_CHANGING; what goes wrong then is in the log. A VHD's commands wait
 * meanwhile. EXIT_NOT_FOUND, EXIT_CONFIG (it would shrink), EXIT_NO_DISK. */
int vm_storage_resize(struct vm_storage *storage, uint32_t controller, uint32_t lun, uint64_t bytes,
		      uint64_t *size_bytes, struct vm_error *error);

/* ---- what there is ---- */

enum vm_disk_state {
	VM_DISK_READY,
	VM_DISK_REMOVING, /* waits for commands under way */
	VM_DISK_CHANGING, /* likewise, for another medium */
	VM_DISK_RELEASED, /* another host may have it: a move is about to be committed */
};

/* "ready", "removing", "changing" or "released". */
const char *vm_disk_state_name(enum vm_disk_state state);

struct vm_disk_status {
	const struct vm_disk_config *config; /* valid until the loop goes on */
	enum vm_disk_state state;
	bool has_medium; /* false: an empty DVD drive; info is zero then */
	struct disk_info info;
	struct storvsp_unit_stats stats;
};

struct vm_controller_status {
	uint32_t index;
	struct storvsp_status status;
};

/* In the order of controller and LUN, into VM_MAX_DISKS and VM_MAX_CONTROLLERS entries. Return
 * their number. NULL: none. */
size_t vm_storage_get_disks(const struct vm_storage *storage, struct vm_disk_status *disks);
size_t vm_storage_get_controllers(const struct vm_storage *storage,
				  struct vm_controller_status *controllers);
/* The same as a definition would have them, into VM_MAX_DISKS entries; the texts stay the
 * storage's. Without those that are being removed. */
size_t vm_storage_get_configs(const struct vm_storage *storage, struct vm_disk_config *configs);

/* ---- saved state and moves: see docs/migration.md ---- */

#define VM_STORAGE_STATE_TAG STATE_TAG('S', 'T', 'O', 'R')

/* Flushes every disk while the guest runs, so that a pause has less to flush. begin: begins that;
 * else asks. Returns -EINPROGRESS while it goes on (a pause is refused then), else 0 or -errno. */
int vm_storage_flush_ahead(struct vm_storage *storage, bool begin);
/* Drains: no VP runs; done is called from the loop when no command is under way and everything that
 * was written is on the disks, with 0, or with -ETIMEDOUT or -EIO: then all goes on. */
void vm_storage_pause(struct vm_storage *storage, uint32_t deadline_ms,
		      void (*done)(void *ctx, int status), void *ctx);
/* Also ends a pause that is under way: its done is not called. */
void vm_storage_resume(struct vm_storage *storage);
/* One section, where there is a controller; else nothing. Paused. */
int vm_storage_save(const struct vm_storage *storage, struct state_writer *writer);
/* Before the bus is restored; attached. section: NULL where the state has none, which is right for
 * a VM without disks. Leaves every controller paused. Returns 0, -EPROTO (also where a controller
 * or a disk is left out), -EOPNOTSUPP, or -ENODEV: a disk of the section is not there. */
int vm_storage_restore(struct vm_storage *storage, struct state_reader *section);

/* Paused: lets go of every disk, so that another host may have them; each is on the disk then.
 * Blocks. Where it fails some are let go of: vm_storage_reopen(). */
int vm_storage_release(struct vm_storage *storage, struct vm_error *error);
/* Takes every disk that was released, or opened deferred; of a restored VM checks that they are the
 * ones that it had. Where it fails (-EBUSY: another has one of them) those that were taken stay
 * so: it may be called again. patience_ms: how long another may still have each. Blocks. NULL: 0.
 */
#define VM_STORAGE_PATIENCE_MS                                                                     \
	1000 /* a host, or a process that has just ended, may need a moment */
int vm_storage_reopen(struct vm_storage *storage, uint32_t patience_ms, struct vm_error *error);

/* Describes the disks for the destination's check; one section, if any. */
int vm_storage_describe(const struct vm_storage *storage, struct state_writer *writer);
/* At the destination, deferred: whether these are the disks that the source has. section: of
 * vm_storage_describe(). Blocks. */
void vm_storage_check(struct vm_storage *storage, struct state_reader *section,
		      struct migration_check *findings);

#endif
