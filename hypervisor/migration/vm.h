/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a move needs of the VM, on either side: the line between the migration protocol
 * (migration_*.c), which knows of connections, rounds and commit, and the VM (vm_move.c), which
 * knows of partitions. Tests put another VM behind it.
 *
 * A move has a thread of its own, which may wait; the VM lives on the event loop's thread. Ops
 * marked [loop] are called there; the mover posts to the loop and waits, with a deadline.
 */
#ifndef LUNAR_HYPERVISOR_MIGRATION_VM_H
#define LUNAR_HYPERVISOR_MIGRATION_VM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hypervisor/vm_error.h"

struct guest_memory;
struct migration_check;
struct state_reader;
struct state_writer;

typedef void (*migration_done_fn)(void *ctx, int status, const struct vm_error *error);
typedef void (*migration_late_frame_fn)(void *ctx, uint32_t nic, const void *frame, size_t length);

/* A running VM that is to leave, or to be saved. */
struct migration_source_vm_ops {
	/* Any thread, between begin and end. */
	struct guest_memory *(*get_memory)(void *ctx);
	int (*dirty_start)(void *ctx);
	void (*dirty_stop)(void *ctx);
	int (*dirty_fetch)(void *ctx, size_t region, uint64_t *words, size_t word_count);
	void (*throttle)(void *ctx, uint32_t percent);

	/* [loop] The definition as text, valid between begin and end. */
	const char *(*get_definition)(void *ctx, size_t *length);
	/* [loop] One section about the processor. */
	int (*save_cpu)(void *ctx, struct state_writer *writer);
	/* [loop] One section about the iSCSI portals that its NICs were seen to talk to, for the
	 * other's check(). May be NULL: nothing is known. */
	int (*save_portals)(void *ctx, struct state_writer *writer);
	/* [loop] Likewise sections about its disks, for the other's check_disks(). May be NULL. */
	int (*save_disks)(void *ctx, struct state_writer *writer);
	/* [loop] Flushes what the guest has written to its disks so far, while it runs, so that the
	 * stop has less to flush. begin: begins that; else asks. Returns -EINPROGRESS while it goes
	 * on; 0, or -errno: it is over. May be NULL. */
	int (*flush)(void *ctx, bool begin);
	/* [loop] Asynchronous: stops the VM and writes its state; done from the loop. With status 0
	 * the VM rests until resume() or depart(); otherwise it runs on. */
	int (*pause_and_save)(void *ctx, struct state_writer *writer, migration_done_fn done,
			      void *done_ctx);
	/* [loop] After pause_and_save(), once the destination has everything: lets go of what one
	 * host alone may have, the disks. May be NULL. 0 or -errno with *error: then resume()
	 * follows. */
	int (*release)(void *ctx, struct vm_error *error);
	/* [loop] The move was given up: the VM takes back what it let go of, and runs on. Where
	 * another still has it the VM rests until it can be had. */
	void (*resume)(void *ctx);
	/* [loop] The destination has it: frames that come late go to fn until end. */
	void (*depart)(void *ctx, migration_late_frame_fn fn, void *fn_ctx);
};

/* A VM in the making, at the destination or from a file. */
struct migration_target_vm_ops {
	/* [loop] Makes the VM of a definition, at rest and empty, its NICs known to netvspd. Checks
	 * everything that can be checked: name in use, memory, switch, ... *error says what to do.
	 */
	int (*make)(void *ctx, const char *definition, size_t length, struct vm_error *error);
	/* [loop] Whether this host can be what that section promised the guest. */
	int (*check_cpu)(void *ctx, struct state_reader *section, struct vm_error *error);
	/* [loop] Asynchronous, after make: looks at what only the VM's NICs can tell of this host,
	 * and adds to *findings (migration_check_add() of check.h) what would stop or
	 * harm: no uplink with a link, an MTU too small, a portal that does not answer. portals:
	 * what save_portals() wrote (its section), or NULL; both valid until done. May be NULL. */
	int (*check)(void *ctx, struct state_reader *portals, struct migration_check *findings,
		     migration_done_fn done, void *done_ctx);
	/* [loop] After make: whether the VM's disks here are those of the source, which has them
	 * now; adds to *findings. disks: what save_disks() wrote. May be NULL. */
	void (*check_disks)(void *ctx, struct state_reader *disks,
			    struct migration_check *findings);
	/* Any thread, after make. */
	struct guest_memory *(*get_memory)(void *ctx);
	/* [loop] Asynchronous; all memory is there. With status 0 the VM could run at once. */
	int (*restore)(void *ctx, struct state_reader *reader, migration_done_fn done,
		       void *done_ctx);
	/* [loop] Takes what the source let go of, and runs it. announce: it came from another host.
	 * Where it fails nothing is kept of what was taken. */
	int (*go)(void *ctx, bool announce, struct vm_error *error);
	/* [loop] A late frame from the source. */
	void (*inject)(void *ctx, uint32_t nic, const void *frame, size_t length);
	/* [loop] The move failed: nothing of the VM is left. */
	void (*drop)(void *ctx);
};

#endif
