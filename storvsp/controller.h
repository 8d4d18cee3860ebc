/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A synthetic SCSI controller: one VMBus device, its primary channel and sub-channels, each with a
 * worker thread, and up to 64 units behind it. Speaks VSTOR 5.1 to 6.2. All calls here are for the
 * event loop's thread. Source: Linux 6.1 drivers/scsi/storvsc_drv.c.
 */
#ifndef LUNAR_STORVSP_CONTROLLER_H
#define LUNAR_STORVSP_CONTROLLER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/state.h"
#include "vmbus/device_bus.h"

struct scsi_unit;
struct storvsp_controller;

#define STORVSP_MAX_LUNS	 64
#define STORVSP_MAX_SUB_CHANNELS 31

struct storvsp_controller_config {
	struct vmbus_guid instance_id; /* stable across moves */
	uint32_t max_sub_channels; /* at most STORVSP_MAX_SUB_CHANNELS; the VPs less one is a good
				      number */
};

/* Offers it. bus is copied. Returns 0 or -errno. */
int storvsp_controller_create(const struct device_bus *bus,
			      const struct storvsp_controller_config *config,
			      struct storvsp_controller **controller);
/* For the end of the partition: no VP runs. Takes no packet any more, and waits for the commands
 * under way, deadline_ms at most. Removals, quiescings and pauses that are still waited for are
 * forgotten: their functions are not called. Returns 0, or -ETIMEDOUT: a disk hangs, and its I/O
 * may still write to guest memory; may be called again, also after other work of the loop. */
int storvsp_controller_drain(struct storvsp_controller *controller, uint32_t deadline_ms);
/* Takes NULL. Drains it, however long that takes: the disks are idle afterwards. Units stay the
 * caller's. */
void storvsp_controller_destroy(struct storvsp_controller *controller);

/* Units come and go while the guest runs: it is told by ENUMERATE_BUS. The unit stays the caller's.
 * Returns 0, -EINVAL, or -EEXIST. */
int storvsp_controller_add_unit(struct storvsp_controller *controller, uint32_t lun,
				struct scsi_unit *unit);
/* No new command reaches the unit from now on; done is called from the loop when none is under way
 * any more: then it may be destroyed. Returns 0, -ENOENT or -ENOMEM. */
int storvsp_controller_remove_unit(struct storvsp_controller *controller, uint32_t lun,
				   void (*done)(void *ctx, uint32_t lun), void *ctx);
/* The guest looks at its units again (a size has changed); as with units that come and go, one
 * whose driver has not begun yet is not told, since it looks anyway. */
void storvsp_controller_rescan(struct storvsp_controller *controller);
/* Runs fn, from the loop, with no command of that unit under way and none starting: for a change of
 * medium. Returns 0, -ENOENT, -EBUSY: one is waited for already, or -ENOMEM. */
int storvsp_controller_quiesce_unit(struct storvsp_controller *controller, uint32_t lun,
				    void (*fn)(void *ctx, uint32_t lun), void *ctx);

/* From within that fn, for a change that goes on: the unit stays quiet after it, until
 * storvsp_controller_go_on(). The caller sees to that before the controller is drained. */
void storvsp_controller_keep_quiet(struct storvsp_controller *controller, uint32_t lun);
void storvsp_controller_go_on(struct storvsp_controller *controller, uint32_t lun);

struct storvsp_unit_stats {
	uint64_t reads, writes, others, errors;
	uint64_t read_bytes, written_bytes;
	uint32_t in_flight;
};

struct storvsp_status {
	uint32_t version; /* VSTOR as negotiated, 0: not; 0x602 is 6.2 */
	uint32_t channels_open;
	uint64_t resets; /* bus resets that the guest asked for */
};

void storvsp_controller_get_status(const struct storvsp_controller *controller,
				   struct storvsp_status *status);
/* -ENOENT: no such unit. */
int storvsp_controller_get_stats(const struct storvsp_controller *controller, uint32_t lun,
				 struct storvsp_unit_stats *stats);

/* ---- saved state ---- */

/* No new packet is taken; done is called from the loop once no command is under way and every
 * answer is in the guest's ring: with 0, or (deadline_ms is over: a disk hangs) -ETIMEDOUT, and all
 * goes on. Called from within with -ENOMEM. A resume before then gives it up without a call. */
void storvsp_controller_pause(struct storvsp_controller *controller, uint32_t deadline_ms,
			      void (*done)(void *ctx, int status), void *ctx);
void storvsp_controller_resume(struct storvsp_controller *controller);
/* One section: protocol state, channels; units save themselves. Paused. */
#define STORVSP_STATE_TAG STATE_TAG('S', 'T', 'O', 'R')
int storvsp_controller_save(const struct storvsp_controller *controller,
			    struct state_writer *writer);
/* Before the bus is restored, which then opens the channels; leaves it paused. Returns 0, -EPROTO
 * or -EOPNOTSUPP. */
int storvsp_controller_restore(struct storvsp_controller *controller, struct state_reader *section);

#endif
