/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the VPs of an engine test run: small programs in assembler, and where they and the test
 * leave things for each other in guest memory.
 */
#ifndef LUNAR_TESTS_KVM_GUEST_CODE_H
#define LUNAR_TESTS_KVM_GUEST_CODE_H

#include <stddef.h>
#include <stdint.h>

#define GUEST_CODE_GPA	 0x100000
#define GUEST_MAIL_GPA	 0x10000
#define GUEST_SIMP_GPA	 0x22000
#define GUEST_SIEFP_GPA	 0x23000
#define GUEST_TSC_GPA	 0x21000
#define GUEST_LIST_GPA	 0x40000 /* dirtier: page numbers, u64 */
#define GUEST_PORT_OUT	 0x99
#define GUEST_PORT_IN	 0x9a
#define GUEST_PORT_PAUSE 0x9b /* reads as 1: the test waits for it */

/* The boot VP's side of the mail page; offsets are in the assembler. */
struct guest_mail {
	uint64_t loops;
	uint64_t tsc_last;
	uint64_t tsc_backwards;
	uint64_t reference_last; /* by MSR and by the reference TSC page in turn */
	uint64_t reference_backwards;
	uint64_t sse_wrong;
	uint64_t registers_wrong;
	uint64_t in_wrong;
	uint64_t ticks;	   /* 10 ms, direct */
	uint64_t messages; /* one-shot by a message, 1.5 s after the start */
	uint64_t expired;  /* one-shot, direct, 10 ms after the start */
	uint64_t icr;	   /* from the test: to be written to the ICR, then 0 */
	uint64_t out_next;
	uint64_t in_last;
	uint64_t debug_wrong;
	uint64_t page_reads; /* of a valid reference TSC page */
	uint64_t list_count; /* from the test: pages of the list to be written, then 0 */
};

/* The boot VP: checks its own state for ever; sends what icr says. */
extern const uint8_t guest_checker[], guest_checker_end[];
/* The boot VP: writes the pages of the list whenever list_count is set. */
extern const uint8_t guest_dirtier[], guest_dirtier_end[];
/* Real mode, at any page: counts in the u32 at the start of the page after it. */
extern const uint8_t guest_counter[], guest_counter_end[];
/* Real mode: halts; counts each time that something wakes it. */
extern const uint8_t guest_sleeper[], guest_sleeper_end[];
/* Real mode: an NMI handler: counts in the u32 at the start of the page after it. */
extern const uint8_t guest_nmi[], guest_nmi_end[];

#endif
