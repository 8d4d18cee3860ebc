/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A partition for engine tests: memory with a small guest in it, and the host's side of its ports.
 * The memory outlives the partition, so that another can be made over it.
 */
#ifndef LUNAR_TESTS_KVM_MACHINE_H
#define LUNAR_TESTS_KVM_MACHINE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/state.h"
#include "hypervisor/engine.h"
#include "tests/kvm/guest_code.h"

struct guest_memory;

#define MACHINE_TABLE_PAGES UINT64_C(0x1c) /* bits of the pages that hold page tables */

struct machine {
	struct guest_memory *memory;
	struct engine_partition *partition;
	uint32_t vp_count;
	uint64_t memory_bytes;
	volatile struct guest_mail *mail;

	/* written by VP threads */
	_Atomic uint32_t out_next; /* the number that the guest has to write next */
	_Atomic uint32_t out_wrong;
	_Atomic uint32_t in_next;
	_Atomic uint32_t callbacks;
	_Atomic uint32_t synic_changes;
	_Atomic bool exited;
	enum engine_exit_reason exit_reason;
	char exit_text[512];
};

/* Memory with page tables, a GDT and the program for the boot VP; and a partition over it. Fails
 * the test where that is not possible. */
void machine_make(struct machine *machine, uint32_t vp_count, uint64_t memory_bytes,
		  const uint8_t *program, const uint8_t *program_end);
void machine_end(struct machine *machine);

/* The partition alone. */
void machine_create(struct machine *machine);
void machine_destroy(struct machine *machine);
/* From the boot program. */
void machine_start(struct machine *machine);

/* Copies a real-mode program to a page, which a SIPI with vector page names. */
void machine_load(struct machine *machine, uint32_t page, const uint8_t *program,
		  const uint8_t *program_end);
/* The u32 at a page's start. */
volatile uint32_t *machine_counter(const struct machine *machine, uint32_t page);

/* Has the boot VP (guest_checker) send an INIT, a SIPI for page, or an NMI. */
void machine_send_init(struct machine *machine, uint32_t vp);
void machine_send_sipi(struct machine *machine, uint32_t vp, uint32_t page);
void machine_send_nmi(struct machine *machine, uint32_t vp);

/* Pauses, saves, destroys the partition, makes a new one and restores; it is not started. */
void machine_move(struct machine *machine);
/* The state of a paused machine. The caller finishes the writer. */
void machine_save(struct machine *machine, struct state_writer *writer);
void machine_restore(struct machine *machine, const struct state_writer *writer);

void sleep_ms(uint32_t ms);
/* Waits up to seconds until *value is at least that; fails the test otherwise. */
void wait_for(const volatile uint64_t *value, uint64_t least, uint32_t seconds, const char *what);
void wait_for_u32(const volatile uint32_t *value, uint32_t least, uint32_t seconds,
		  const char *what);

#endif
