/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What runs a child partition: the ops table behind which KVM sits, and beside it whatever else can
 * run a child that maps the same guest memory, posts messages and is kicked by eventfds. Nothing
 * here knows of VMBus, devices or the life of a VM.
 *
 * An engine owns its threads. Its callbacks (engine_events) come from any of them, several at once;
 * its ops are called from the event loop's thread only.
 */
#ifndef LUNAR_HYPERVISOR_ENGINE_H
#define LUNAR_HYPERVISOR_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hypervisor/vm_error.h"

struct engine_partition; /* each engine has its own */
struct guest_memory;
struct state_reader;
struct state_writer;

/* Where the boot VP starts: 64-bit mode, paging on, interrupts off. All others wait for INIT/SIPI.
 */
struct engine_boot {
	uint64_t entry_gpa;
	uint64_t page_table_gpa; /* identity map */
	uint64_t gdt_gpa;	 /* entry 2: 64-bit code, entry 3: data */
	uint16_t gdt_bytes;
	uint64_t boot_params_gpa; /* first argument of the entry point */
};

/* A VP's SynIC registers as the guest last wrote them. */
struct engine_synic {
	uint64_t scontrol;
	uint64_t simp;
	uint64_t siefp;
};

enum engine_exit_reason {
	ENGINE_EXIT_RESET,  /* the guest asked for a reset */
	ENGINE_EXIT_FAULT,  /* triple fault: a PC resets */
	ENGINE_EXIT_CRASH,  /* the guest reported its own crash; text says what it told */
	ENGINE_EXIT_FAILED, /* the engine cannot go on; text says why */
};

/* What a port access asks of the VP that made it. */
enum engine_port_result {
	ENGINE_PORT_DONE,
	ENGINE_PORT_STOP_VP, /* the machine is going down: do not enter the guest again */
};

struct engine_events {
	/* A posted message. Returns an HV_STATUS_* for the guest. */
	uint16_t (*post_message)(void *ctx, uint32_t vp, uint32_t connection_id,
				 const void *payload, size_t length);
	/* The guest wrote SCONTROL, SIMP or SIEFP; the VP goes on when this returns. */
	void (*synic_changed)(void *ctx, uint32_t vp, const struct engine_synic *synic);
	/* Port I/O of 1, 2 or 4 bytes; a read fills data. */
	enum engine_port_result (*port_io)(void *ctx, uint16_t port, bool write, uint8_t *data,
					   uint32_t size);
	/* The VP has stopped for good. text is for people, "" for none, valid during the call. */
	void (*exited)(void *ctx, uint32_t vp, enum engine_exit_reason reason, const char *text);
};

/* The pair of eventfds of a VP's SINT2, owned by the partition. */
struct engine_sint_fds {
	int raise; /* write 1: interrupt */
	int eom;   /* readable once the guest ended a message (or an interrupt) */
};

struct engine_config {
	uint32_t vp_count;
	struct guest_memory *memory; /* outlives the partition */
	const struct engine_events *events;
	void *ctx;
};

struct engine_ops {
	const char *name;
	/* Whether this host can run the engine at all. Returns 0 or -errno with *error. */
	int (*probe)(struct vm_error *error);
	/* A partition with its memory, VPs and interrupt controllers, nothing running. */
	int (*create)(const struct engine_config *config, struct engine_partition **partition,
		      struct vm_error *error);
	/* Takes NULL. Stops first where needed. */
	void (*destroy)(struct engine_partition *partition);
	/* Sets the VPs going. Once. boot NULL: from the state that restore() gave them. */
	int (*start)(struct engine_partition *partition, const struct engine_boot *boot,
		     struct vm_error *error);
	/* Returns when no VP runs and no callback will come any more. May be repeated. */
	void (*stop)(struct engine_partition *partition);
	/* The guest's SignalEvent on connection_id writes to eventfd, without an exit where the
	 * engine can. -EEXIST: in use. */
	int (*connect_event)(struct engine_partition *partition, uint32_t connection_id,
			     int eventfd);
	void (*disconnect_event)(struct engine_partition *partition, uint32_t connection_id);
	/* The VP's SINT2. -EINVAL: no such VP. */
	int (*get_sint_fds)(struct engine_partition *partition, uint32_t vp,
			    struct engine_sint_fds *fds);
	/* An eventfd that pulses a line of the interrupt controller (edge); the partition's.
	 * Returns the fd or -errno. */
	int (*get_line_fd)(struct engine_partition *partition, uint32_t line);

	/* ---- saved state and moves ---- */

	/* Takes every VP out of the guest, its last exit completed. When it returns 0 no guest code
	 * runs and no callback is under way or will come until resume(). -ETIMEDOUT: a VP did not
	 * come out in time; all go on. */
	int (*pause)(struct engine_partition *partition);
	void (*resume)(struct engine_partition *partition);
	/* Writes sections of processor, clock, interrupt controllers and VPs. Paused. */
	int (*save)(struct engine_partition *partition, struct state_writer *writer,
		    struct vm_error *error);
	/* Gives a partition that was created, and not started, that state. reader: at the first of
	 * those sections, and nothing follows them. All memory is there: KVM writes to pages that
	 * it shares with the guest. Returns 0 or -errno with *error; a partition that failed can
	 * only be destroyed. */
	int (*restore)(struct engine_partition *partition, struct state_reader *reader,
		       struct vm_error *error);
	/* What the guest sees of the processor (one section), and whether this host can run a
	 * guest that was promised that: 0, or -EOPNOTSUPP with what is missing, by name, in *error.
	 * check_cpu() needs no partition; section: what state_next() found. */
	int (*save_cpu)(struct engine_partition *partition, struct state_writer *writer);
	int (*check_cpu)(struct state_reader *section, struct vm_error *error);

	/* Any thread, as long as the partition lives: */

	/* From now on the pages that VPs write are logged; the log starts empty. */
	int (*dirty_start)(struct engine_partition *partition);
	void (*dirty_stop)(struct engine_partition *partition);
	/* Ors the log of a memory region into words (a bit a page, word_count >= pages / 64) and
	 * clears it; a paused partition's may be left as it is, to be told again. */
	int (*dirty_fetch)(struct engine_partition *partition, size_t region, uint64_t *words,
			   size_t word_count);
	/* Lets each VP run for at most 100 - percent of the time (0: freely; at most 99). */
	void (*throttle)(struct engine_partition *partition, uint32_t percent);
};

extern const struct engine_ops engine_kvm;

#endif
