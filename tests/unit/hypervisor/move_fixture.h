/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Two hosts on loopback with a VM that moves between them, for tests of the migration protocol: a
 * receiver on each, a process for each side of a move as vmwp is one, and a fake VM behind
 * migration/vm.h. The VM keeps a clock that all processes see: each tick must follow the one before
 * it, so a VM that runs twice, or from an old state, shows at once. Its memory is compared when it
 * is restored.
 *
 * A world is used by one process; its processes are children of that.
 */
#ifndef LUNAR_TESTS_HYPERVISOR_MOVE_FIXTURE_H
#define LUNAR_TESTS_HYPERVISOR_MOVE_FIXTURE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "hypervisor/migration/migration.h"

#define MOVE_VM "vm0"

enum move_host {
	HOST_A, /* 127.0.0.1 */
	HOST_B, /* 127.0.0.2 */
};

/* Shared by all processes of a world. */
struct move_witness {
	_Atomic uint64_t clock;	      /* of the VM's one life */
	_Atomic uint32_t violations;  /* a tick that did not follow the one before it */
	_Atomic uint32_t differences; /* memory that was not what it had been */
	_Atomic pid_t vm_pid[2];      /* the process that has it or is to have it, 0: none */
	_Atomic pid_t served_pid[2];  /* the first process that a receiver made */
	_Atomic uint32_t late_sent;
	_Atomic uint32_t late_injected;
	_Atomic uint32_t ended; /* moves of sources that have ended */
	_Atomic uint32_t moved; /* of those */
	_Atomic int32_t phase;	/* of the last that ended */
	_Atomic int32_t code;	/* its error */
	_Atomic int32_t cancel_result;
	_Atomic uint32_t findings;
	_Atomic bool checked; /* the destination has said what it found */
	_Atomic uint32_t throttle_most;
	_Atomic bool fail_restore; /* orders to the fake VM */
	_Atomic bool fail_go;
	_Atomic bool fail_make;
	_Atomic uint32_t dirty_pages; /* a tick */
	_Atomic int32_t flush_looks;  /* after so many the disks are flushed; -1: never */
	_Atomic bool flushed;
	_Atomic bool flushed_at_stop; /* before the VM was */
};

struct move_world {
	char root[64];
	uint16_t port;
	struct move_witness *witness;
	pid_t receiver[2];
	struct migration_options options;
	const char *source_hold; /* STEP:MS, or NULL */
	const char *target_hold; /* of the first connection to a receiver */
};

/* Makes the certificates, for who makes worlds in processes of their own. */
void world_prepare(void);
/* Options are set for quick moves; receivers do not run yet. */
void world_make(struct move_world *world);
/* Everything ends, nothing is left. */
void world_remove(struct move_world *world);
/* Ends and starts the receiver of a host; start: with target_hold in force. */
void receiver_stop(struct move_world *world, enum move_host host);
void receiver_start(struct move_world *world, enum move_host host);

/* Boots the VM on a host, and moves it to the other at once where move says so. Returns the pid. */
pid_t vm_boot(struct move_world *world, enum move_host host, bool move);
enum move_order {
	ORDER_MOVE,   /* to the other host */
	ORDER_CANCEL, /* its move */
	ORDER_HERE,   /* an operator's word */
	ORDER_THERE,
	ORDER_END, /* as SIGTERM ends vmwp */
	ORDER_COUNT,
};

/* To a VM's process. */
void vm_order(pid_t pid, enum move_order order);
/* All of its connections are cut, now. */
void vm_cut(pid_t pid);
/* Waits for a child's end; its exit code, or minus its signal. */
int vm_wait(pid_t pid, uint32_t timeout_ms);

/* Waits until a process of that host says that it is held at a step. */
bool world_wait_held(struct move_world *world, enum move_host host, const char *step,
		     uint32_t timeout_ms);
/* Whether the VM's clock goes on within that time. */
bool world_vm_runs(struct move_world *world, uint32_t timeout_ms);
/* Waits until that many moves of sources have ended. */
bool world_wait_ended(struct move_world *world, uint32_t ended, uint32_t timeout_ms);
/* Whether a VM is defined on a host. */
bool world_is_defined(const struct move_world *world, enum move_host host);
const char *world_address(enum move_host host);
/* Connects to a host's receiver; the fd, which blocks. */
int world_dial(const struct move_world *world, enum move_host host);
/* Sets the environment of a host in this process. */
void world_enter(const struct move_world *world, enum move_host host);
/* What a host's processes have written, for failures. */
void world_print_logs(const struct move_world *world);

#endif
