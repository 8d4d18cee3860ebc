/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A child partition, put together: memory, engine, SynIC, VMBus server, devices. It lives from one
 * boot of the guest to the next: a reboot destroys it and makes another.
 */
#ifndef LUNAR_HYPERVISOR_PARTITION_H
#define LUNAR_HYPERVISOR_PARTITION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hypervisor/vm.h"

struct console;
struct engine_ops;
struct event_loop;
struct guest_memory;
struct partition;
struct state_reader;
struct state_writer;
struct vm_portal;
struct vm_storage;

enum partition_end {
	PARTITION_POWERED_OFF,
	PARTITION_RESET,
	PARTITION_FAULTED, /* triple fault: resets, as a PC does */
	PARTITION_CRASHED, /* the guest reported it */
	PARTITION_FAILED,  /* the engine or we cannot go on */
};

/* Once, on the loop's thread, when the guest has come to an end. The partition may be destroyed
 * from within. text is for people, "" for none. */
typedef void (*partition_end_fn)(void *ctx, enum partition_end end, const char *text);

struct partition_config {
	const struct vm_config *vm;
	struct event_loop *loop;
	struct console *console;
	const struct engine_ops *engine;
	struct vm_storage *storage; /* NULL: a VM without disks */
	bool must_reach_switch;	    /* a first start, not a reboot: see vsp_client_create() */
	bool incoming; /* memory and state come from elsewhere: partition_restore(), then
			  partition_go(), instead of partition_start() */
	partition_end_fn ended;
	void *ctx;
};

/* What config points to outlives the partition. Returns 0, or -errno with *error. */
int partition_create(const struct partition_config *config, struct partition **partition,
		     struct vm_error *error);
/*
 * The end of the guest: no VP runs any more and nothing of the guest's is listened to, and what its
 * disks have under way is waited for, deadline_ms at most. for_good: the storage goes too. Returns
 * 0: partition_destroy() will not wait; or -ETIMEDOUT with *error, which names the disk: it may
 * still write to the guest's memory, so the partition stays. May be called again.
 */
int partition_halt(struct partition *partition, bool for_good, uint32_t deadline_ms,
		   struct vm_error *error);
/* Takes NULL. Returns when no thread, fd or mapping of it is left. */
void partition_destroy(struct partition *partition);

/* Sets the VPs going; once. */
int partition_start(struct partition *partition, struct vm_error *error);
/* Asks the guest to power off: its shutdown service, or its power button where there is none. */
void partition_request_power_off(struct partition *partition, uint32_t timeout_seconds);

/* ---- saved state and moves: see docs/migration.md ---- */

/* status: 0 or -errno with *error filled. From the loop, or from within the call that was given it;
 * exactly once: with -ECANCELED where the partition is destroyed before. */
typedef void (*partition_done_fn)(void *ctx, int status, const struct vm_error *error);

/*
 * Brings everything to rest: VPs out of the guest, guest messages taken in, devices finished, and
 * the NICs' state fetched from netvspd, which then touches no guest memory. It takes milliseconds,
 * and at most a second or two, after which it is given up and all goes on. Returns 0 (done
 * follows), -EBUSY or -ENOMEM.
 */
int partition_pause(struct partition *partition, partition_done_fn done, void *ctx);
/* Everything goes on where it was. After partition_pause() is done with status 0. */
void partition_resume(struct partition *partition);
/* Writes the sections of everything but memory. Paused. Returns 0 or -errno with *error. */
int partition_save(struct partition *partition, struct state_writer *writer,
		   struct vm_error *error);
/* Of an incoming partition, once: all sections that partition_save() wrote; memory may follow until
 * partition_go(), but the pages that hold rings and SynIC pages must be there. Asynchronous, as
 * partition_pause(). */
int partition_restore(struct partition *partition, struct state_reader *reader,
		      partition_done_fn done, void *ctx);
/* Sets a restored partition going. announce: it has moved, tell network and guest. Returns 0 or
 * -errno with *error; it can only fail for want of resources. */
int partition_go(struct partition *partition, bool announce, struct vm_error *error);

/* The guest lives elsewhere now: its VPs never run again here. Frames that still come for it are
 * handed to fn (loop's thread; bytes are valid during the call) until the partition is destroyed.
 */
typedef void (*partition_late_frame_fn)(void *ctx, uint32_t nic, const void *frame, size_t length);
void partition_depart(struct partition *partition, partition_late_frame_fn fn, void *ctx);
/* A late frame from the source, for a guest that arrived here. Dropped where it cannot be taken. */
void partition_inject(struct partition *partition, uint32_t nic, const void *frame, size_t length);

/* For who copies the memory, any thread, until the partition is destroyed. The log is KVM's and
 * ours merged; words as engine_ops.dirty_fetch(). */
struct guest_memory *partition_get_memory(struct partition *partition);
int partition_dirty_start(struct partition *partition);
void partition_dirty_stop(struct partition *partition);
int partition_dirty_fetch(struct partition *partition, size_t region, uint64_t *words,
			  size_t word_count);
void partition_throttle(struct partition *partition, uint32_t percent);
/* Loop's thread from here on. One section: what the guest sees of the processor. */
int partition_save_cpu(struct partition *partition, struct state_writer *writer);
/* The iSCSI portals that the NICs were seen to talk to, into VM_MAX_PORTALS entries. Returns their
 * number. */
size_t partition_get_portals(const struct partition *partition, struct vm_portal *portals);

/* The VLAN mode of a NIC in the VM's configuration has been changed: as vsp_client_change_vlan().
 */
int partition_change_vlan(struct partition *partition, uint32_t nic);

/* Fills the parts of *status that are the partition's: VMBus, integration components and NICs. */
void partition_get_status(const struct partition *partition, struct vm_status *status);

#endif
