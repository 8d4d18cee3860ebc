/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Shared by the parts of a VM: its life (vm.c) and its moves (vm_move.c).
 */
#ifndef LUNAR_HYPERVISOR_VM_INTERNAL_H
#define LUNAR_HYPERVISOR_VM_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hypervisor/migration/migration.h"
#include "hypervisor/vm.h"

struct console;
struct partition;

/* A move or save from here (vm_move.c). */
struct vm_move {
	struct migration_source *source; /* NULL: none is under way */
	bool saves;			 /* to a file */
	bool departed;			 /* it is committed: nothing brings the VM back */
	bool stop_after;		 /* where it does not succeed */
	bool moved;			 /* how it ended, for the loop's next round */
	struct event_timer *over;
	struct event_timer *again; /* takes the disks back, where another still has one */
	/* pause_and_save() under way: */
	struct state_writer *writer; /* NULL: nobody wants it any more */
	migration_done_fn done;
	void *done_ctx;
	/* of the last one: */
	struct migration_status status;
	struct migration_check *check; /* may be NULL */
};

struct vm {
	const struct vm_config *config;
	const char *definition;
	size_t definition_bytes;
	struct event_loop *loop;
	char *console_path;
	vm_state_fn state_changed;
	void *ctx;
	enum vm_state state;
	enum exit_code exit_code;
	char reason[VM_MESSAGE_BYTES];
	const struct engine_ops *engine;
	struct console *console;
	struct vm_storage *storage; /* as long as there is a partition, and over a reboot */
	struct partition *partition;
	uint32_t end_ms; /* VM_END_MS, or less in tests */
	bool left;	 /* a disk hangs: partition and storage stay until the process ends */
	uint64_t started_ns;
	uint64_t uptime_before_ms; /* at other hosts, since its last boot */
	uint32_t reboots;
	uint32_t faults_in_row;
	struct event_timer *stop_deadline; /* of a graceful stop */
	struct event_timer *order;	   /* what was asked for, for the loop's next round */
	bool order_reboot;
	struct event_timer *reboot_again; /* a reboot waits for a disk that hangs */
	struct vm_move move;
};

/* vm.c */
/* Final: the partition goes, and the disks; the console stays for its readers. */
void vm_finish(struct vm *vm, enum vm_state state, enum exit_code code, const char *reason);
void vm_set_state(struct vm *vm, enum vm_state state);
/* Makes the partition; incoming: at rest. */
int vm_make_partition(struct vm *vm, bool incoming, bool must_reach_switch, struct vm_error *error);
/* Since the guest's last boot. */
uint64_t vm_uptime_ms(const struct vm *vm);
/* Stops the VM by force in the loop's next round. */
int vm_order_stop(struct vm *vm);

/* vm_move.c */
/* The guest has come to an end: a move of it ends first. */
void vm_move_abandon(struct vm *vm, const char *why);
void vm_move_fini(struct vm *vm);

#endif
