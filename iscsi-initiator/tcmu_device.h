/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A SCSI disk in this kernel that we serve: a target_core_user backstore whose commands come to us
 * over a ring, and a loopback (tcm_loop) host of its own with the backstore as LUN 0. Reservations
 * and ALUA are passed through, so that all that the kernel asks (but REPORT LUNS) is answered by
 * the iSCSI target.
 *
 * Objects are named after a disk id, so that what a dead process has left can be found and removed.
 */
#ifndef LUNAR_ISCSI_INITIATOR_TCMU_DEVICE_H
#define LUNAR_ISCSI_INITIATOR_TCMU_DEVICE_H

#include <stddef.h>
#include <stdint.h>

#include "iscsi-initiator/tcmu_ring.h"
#include "iscsi-session/disk_id.h"

struct tcmu_device {
	char id[DISK_ID_LENGTH + 1];
	char backstore[128]; /* configfs folder */
	char host[128];	     /* configfs folder */
	int uio_fd;
	void *map;
	size_t map_bytes;
	struct tcmu_ring ring;
};

struct tcmu_device_config {
	const char *id;
	uint32_t block_bytes;
	uint64_t blocks;
	uint32_t queue_full_s; /* how long the kernel keeps commands that do not fit the ring */
};

/*
 * Makes sure that configfs is there and the modules are loaded. Returns 0, or -errno with a phrase
 * in *why that names what is missing: -ENOENT (a module), -EPERM (not root), others.
 */
int tcmu_support_check(const char **why);

/* Creates and maps the backstore. No command comes before tcmu_device_link(). Returns 0, or -errno
 * and *why. */
int tcmu_device_create(struct tcmu_device *device, const struct tcmu_device_config *config,
		       const char **why);
/*
 * Makes the disk appear. Blocks while the kernel probes the disk, which needs the ring served: call
 * it in another process than the one that serves. Returns 0, or -errno and *why.
 */
int tcmu_device_link(const struct tcmu_device *device, const char **why);
/* Makes the disk disappear. Blocks while the kernel flushes it: as tcmu_device_link(). Returns 0 or
 * -errno. */
int tcmu_device_unlink(const struct tcmu_device *device);
/* Unmaps, closes and removes the backstore. After tcmu_device_unlink(). */
void tcmu_device_destroy(struct tcmu_device *device);

/* Tells the kernel that commands were completed. */
void tcmu_device_notify(const struct tcmu_device *device);

/* The disk's name, "sda", once the kernel has made it. Returns 0 or -ENOENT. */
int tcmu_device_disk_name(const char *id, char *name, size_t size);
/* Sets how long the kernel waits for a command of the disk. Returns 0 or -errno. */
int tcmu_device_set_command_timeout(const char *id, uint32_t seconds);

/* Calls fn for the id of each disk that configfs knows, ours or a dead process's. */
void tcmu_device_each(void (*fn)(void *ctx, const char *id), void *ctx);
/* Removes all that a dead process has left of a disk: commands under way fail, the disk goes.
 * Returns 0 or -errno. */
int tcmu_device_clean_up(const char *id);

#endif
