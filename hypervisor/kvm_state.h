/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The KVM engine's saved state, read and checked without KVM: what a peer sent is turned into
 * structures here, all of it or nothing, before any of it reaches the kernel.
 *
 * It is a row of sections: 'CPUI' (cpuid_state.h), 'CLCK', 'CHIP' for each interrupt controller,
 * 'VCPU' for each VP, in the order of their indices. Registers stand as the kernel's own structures
 * (linux/kvm.h, little-endian, never changed but by appending), each in a section of its own.
 */
#ifndef LUNAR_HYPERVISOR_KVM_STATE_H
#define LUNAR_HYPERVISOR_KVM_STATE_H

#include <linux/kvm.h>
#include <stddef.h>
#include <stdint.h>

#include "hypervisor/cpuid_state.h"
#include "hypervisor/kvm_msrs.h"

#define KVM_STATE_MAX_VPS 1024
#define KVM_CHIP_COUNT	  3 /* two PICs and the IOAPIC */

/* A part of a VP's state, by what the kernel calls it. */
enum kvm_vp_part {
	KVM_PART_MP_STATE, /* first: the kernel works off INIT and SIPI when it is asked for this */
	KVM_PART_REGS,
	KVM_PART_SREGS, /* one of these two */
	KVM_PART_SREGS2,
	KVM_PART_XSAVE, /* also where the processor has no XSAVE: x87 and SSE alone */
	KVM_PART_XCRS,
	KVM_PART_DEBUGREGS,
	KVM_PART_LAPIC,
	KVM_PART_NESTED,
	KVM_PART_EVENTS,
	KVM_PART_COUNT,
};

struct kvm_part_layout {
	uint32_t tag;
	size_t min_bytes;
	size_t max_bytes;
	const char *name;
};

extern const struct kvm_part_layout kvm_part_layouts[KVM_PART_COUNT];

struct kvm_vp_state {
	uint32_t index;
	uint64_t tsc_ahead;		   /* of VP 0's TSC; wraps */
	const void *parts[KVM_PART_COUNT]; /* in the bytes that were read; NULL: absent */
	size_t part_bytes[KVM_PART_COUNT];
	uint32_t msr_count;
	struct kvm_msr_entry msrs[KVM_MSRS_MAX]; /* in the order of restoring */
};

struct kvm_clock_state {
	uint64_t clock_ns;    /* the partition's reference time */
	uint64_t realtime_ns; /* the wall clock then */
	uint64_t tsc;	      /* VP 0's then */
};

struct kvm_state {
	struct cpuid_state cpuid;
	struct kvm_clock_state clock;
	struct kvm_irqchip chips[KVM_CHIP_COUNT];
	uint32_t vp_count;
	struct kvm_vp_state vps[];
};

void kvm_clock_state_write(const struct kvm_clock_state *clock, struct state_writer *writer);
void kvm_chip_state_write(const struct kvm_irqchip *chip, struct state_writer *writer);
void kvm_vp_state_write(const struct kvm_vp_state *vp, struct state_writer *writer);

/*
 * reader: at the first of the sections; its bytes outlive the result. vp_count: the partition's.
 * Returns 0 with *state (the caller frees); -EPROTO: malformed, or not of a partition of vp_count;
 * -EOPNOTSUPP: of a newer version; -ENOMEM.
 */
int kvm_state_read(struct state_reader *reader, uint32_t vp_count, struct kvm_state **state);

/*
 * Whether a host can keep what the state promised its guest: host, host_capabilities: the CPUID and
 * IA32_ARCH_CAPABILITIES that it offers. Every VP's register counts, not what the state says of it
 * elsewhere. Returns 0, or -EOPNOTSUPP with what is missing in text, as cpuid_check().
 */
int kvm_state_check_promise(const struct kvm_state *state, const struct cpuid_table *host,
			    uint64_t host_capabilities, char *text, size_t size);

#endif
