/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A virtual machine inside vmwp: configuration, partition, bus, devices and console, and the life
 * of it all. This is what the API server and vmwp's main stand on. Every call is for the event
 * loop's thread; the VM's own threads (one a VP) never show here.
 *
 * created ──vm_start()──▶ running ──▶ stopped   guest powered off, or vm_request_stop()
 *    │                     ▲ │ ▲ └──▶ crashed   guest panic, or the engine cannot go on
 *    │                     │ └─┘ reboot: everything is rebuilt, the state stays "running"
 *    │                     ▼
 *    │                   paused ──▶ moved, saved: it is at another host, or in a file
 *    └─vm_receive()─▶ incoming ──vm_go()──▶ running
 * Stopped, crashed, moved and saved are final: the program ends, and a VM starts again in a new
 * process.
 */
#ifndef LUNAR_HYPERVISOR_VM_H
#define LUNAR_HYPERVISOR_VM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/exit_code.h"
#include "hypervisor/migration/vm.h"
#include "hypervisor/vm_config.h"
#include "hypervisor/vm_error.h"
#include "hypervisor/vm_storage.h"

struct engine_ops;
struct event_loop;
struct migration_check;
struct migration_options;
struct migration_status;
struct vm;

/* How long a graceful stop waits for the guest before it is forced, by default. */
#define VM_STOP_DEADLINE_MS 30000

enum vm_state {
	VM_STATE_CREATED,
	VM_STATE_RUNNING,
	VM_STATE_STOPPED,
	VM_STATE_CRASHED,
	VM_STATE_INCOMING, /* its memory and state are on their way here */
	VM_STATE_PAUSED,   /* stands still to be saved, or for the last part of a move */
	VM_STATE_MOVED,	   /* it runs at another host */
	VM_STATE_SAVED,	   /* it is in a file */
};

/* "created", "running", "stopped", "crashed", "incoming", "paused", "moved" or "saved". */
const char *vm_state_name(enum vm_state state);
/* Stopped, crashed, moved or saved. */
bool vm_state_is_final(enum vm_state state);

enum vm_nic_link {
	VM_NIC_DISCONNECTED, /* netvspd is absent or gone; tried again every second */
	VM_NIC_CONNECTED,    /* netvspd has the vNIC; the guest's driver has not opened it */
	VM_NIC_OPEN,	     /* the guest has at least its primary channel open */
};

/* "disconnected", "connected" or "open". */
const char *vm_nic_link_name(enum vm_nic_link link);

struct vm_nic_stats { /* seen from the guest: tx is what it sent */
	uint64_t tx_packets;
	uint64_t tx_bytes;
	uint64_t tx_dropped;
	uint64_t rx_packets;
	uint64_t rx_bytes;
	uint64_t rx_dropped;
	uint64_t tx_spoofed;
	uint64_t tx_malformed;
	uint64_t tx_vlan; /* dropped by the VLAN rules */
	uint64_t rx_vlan;
};

struct vm_nic_status {
	enum vm_nic_link link;
	uint32_t nvsp_version; /* 0: not negotiated; 0x60001 is 6.1 */
	uint32_t mtu;	       /* as the guest set it; 0 before */
	uint32_t channels_open;
	bool rndis_up;		   /* the guest set a packet filter: it can receive */
	struct vm_nic_stats stats; /* at most about a second old */
};

struct vm_status {
	enum vm_state state;
	char reason[VM_MESSAGE_BYTES]; /* why it stopped or crashed; else empty */
	const char *engine;	       /* "kvm"; static */
	pid_t pid;		       /* of vmwp */
	uint32_t vps;
	uint64_t memory_bytes;
	uint64_t uptime_ms;	  /* since the last start or reboot; 0 unless running */
	uint32_t reboots;	  /* since vm_start() */
	uint32_t vmbus_version;	  /* 0: not connected; else major << 16 | minor */
	uint32_t vmbus_offered;	  /* channels offered, sub-channels included */
	uint32_t vmbus_open;	  /* channels open */
	uint32_t vmbus_gpadls;	  /* in progress included */
	const char *heartbeat;	  /* "absent" (no driver), "ok" or "lost"; NULL unless running */
	bool shutdown_ready;	  /* the guest takes requests to shut down over the VMBus */
	const char *console_path; /* file or socket; NULL for stdio; valid as long as the VM */
	size_t nic_count;	  /* in the order of vm_config.nics */
	struct vm_nic_status nics[VM_MAX_NICS];
	size_t controller_count;
	struct vm_controller_status controllers[VM_MAX_CONTROLLERS];
	bool has_storage; /* false: the disks are those of vm_config.disks, none is open */
	size_t disk_count;
	struct vm_disk_status disks[VM_MAX_DISKS]; /* valid until the loop goes on */
};

/*
 * Called on the loop's thread after each change of state, after a reboot, and after a move that
 * came to nothing (then state is "running" again). The VM may not be destroyed from within.
 */
typedef void (*vm_state_fn)(void *ctx, struct vm *vm, enum vm_state state);

/* What a VM is made of; all that it points to outlives the VM. */
struct vm_setup {
	const struct vm_config *config;
	const char *definition; /* the text that config was read from, for whom the VM goes to */
	size_t definition_bytes;
	const char *console_path; /* where the console's socket goes when the configuration names
				     none; copied, may be NULL when that asks for stdio or a file */
	const struct engine_ops *engine;
	struct event_loop *loop;
	vm_state_fn state_changed;
	void *ctx;
};

/*
 * Makes a VM in state "created": nothing of it is allocated yet but its name.
 * Returns 0 (the caller destroys) or -errno with *error filled.
 */
int vm_create(const struct vm_setup *setup, struct vm **vm, struct vm_error *error);

/* How long the VM's end waits for disks that hang: less than lunar stop waits for the end. */
#define VM_END_MS 10000

/*
 * Takes NULL. Stops what runs, at once; no callback. Returns when every thread and fd is gone;
 * where a disk hangs for longer than VM_END_MS it is named in the log, and what its I/O may still
 * touch stays as it is until the process ends.
 */
void vm_destroy(struct vm *vm);

/*
 * Checks the host, loads kernel and initrd, reaches netvspd for each NIC, and sets the VPs going.
 * May block, for at most a few seconds. Returns 0, or -errno with *error filled; the VM is then
 * still "created" and may only be destroyed. -EALREADY unless it was "created".
 */
int vm_start(struct vm *vm, struct vm_error *error);

/*
 * Graceful: asks the guest's shutdown service, or presses its ACPI power button where it has none
 * or refuses, and stops it by force when it has not powered off after deadline_ms (0:
 * VM_STOP_DEADLINE_MS). A guest that resets meanwhile is stopped too. Force: stops the VPs now.
 * Either way the end is told by the state callback, never from within this call. A VM that is being
 * moved or saved is not asked (-EBUSY); force gives the move up first, unless it is committed
 * (-EBUSY). The end waits for disks that hang, for VM_END_MS. Returns 0, or -EINVAL unless running.
 * A second call with force overrides a graceful one.
 */
int vm_request_stop(struct vm *vm, bool force, uint32_t deadline_ms);

/* Resets the machine, as its reset button would: memory is lost. Where a disk hangs the guest does
 * not start before that has answered; meanwhile the VM can be stopped by force. Returns 0, or
 * -EINVAL unless running, -EBUSY while it is being moved or saved. The callback says when the guest
 * has started again. */
int vm_request_reboot(struct vm *vm);

void vm_get_status(const struct vm *vm, struct vm_status *status);
const struct vm_config *vm_get_config(const struct vm *vm);

/* ---- moves (vm_move.c) ---- */

/*
 * Begins to move the VM, or (vm_save()) to write it to a file that must not exist. Either way the
 * state callback tells the end: "moved" or "saved"; vm_get_migration() tells all the rest. A guest
 * that powers off, resets or crashes meanwhile ends the move. Returns 0, or -errno with *error
 * (EXIT_STATE: it does not run, or is being moved, saved or stopped already).
 */
int vm_migrate(struct vm *vm, const struct migration_options *options, struct vm_error *error);
int vm_save(struct vm *vm, const char *path, struct vm_error *error);
/* Asks it to end. -EINVAL: there is none. -EBUSY: it is committed. */
int vm_cancel_migration(struct vm *vm, struct vm_error *error);
/* An operator's word for a move that is committed and has no outcome: see
 * migration_source_resolve(). */
int vm_resolve_migration(struct vm *vm, bool there, struct vm_error *error);
/* The move under way, or the last one from here; MIGRATION_IDLE: there was none. *check: NULL, or
 * valid until the loop goes on. */
void vm_get_migration(const struct vm *vm, struct migration_status *status,
		      const struct migration_check **check);

/* Makes a "created" VM one that comes from elsewhere ("incoming"): console, memory, VPs, NICs, at
 * rest and empty. from_file: who gave the file answers for what its images name; else their parents
 * are confined (migration/confine.h). May block for at most a few seconds. Returns 0, or -errno
 * with *error. */
int vm_receive(struct vm *vm, bool from_file, struct vm_error *error);
/* As migration_target_vm_ops has them; the VM is incoming. */
struct guest_memory *vm_get_memory(struct vm *vm);
int vm_restore(struct vm *vm, struct state_reader *reader, migration_done_fn done, void *done_ctx);
int vm_go(struct vm *vm, bool announce, struct vm_error *error);
void vm_check_disks(struct vm *vm, struct state_reader *disks, struct migration_check *findings);
void vm_inject(struct vm *vm, uint32_t nic, const void *frame, size_t length);

/* What the program should exit with: EXIT_OK after a stop, a move or a save, EXIT_GUEST_CRASHED or
 * EXIT_INTERNAL. */
enum exit_code vm_get_exit_code(const struct vm *vm);

#endif
