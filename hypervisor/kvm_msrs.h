/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The MSRs that belong to a VP's saved state, in the order in which they are restored. Saved state
 * may name these and no others: its bytes are a peer's. Pure data. Source: Linux
 * Documentation/virt/kvm/api.rst and arch/x86/kvm (what KVM keeps for a guest); Intel SDM vol. 4;
 * AMD APM vol. 2 appendix A; TLFS appendix F.
 *
 * Not here: what other parts of the state hold (APIC base, EFER, TSC), what is a command and not
 * state (EOM, EOI, ICR, RESET), and KVM's own interface, which guests are not offered.
 */
#ifndef LUNAR_HYPERVISOR_KVM_MSRS_H
#define LUNAR_HYPERVISOR_KVM_MSRS_H

#include <stddef.h>
#include <stdint.h>

#define KVM_MSRS_MAX 512 /* saved of one VP */

enum kvm_msr_stage {
	KVM_MSR_EARLY, /* before the clock and the LAPIC */
	KVM_MSR_CLOCK, /* once the clock is set */
	KVM_MSR_LATE,  /* once the LAPIC is there: what may raise an interrupt */
};

#define KVM_MSR_PARTITION_WIDE 0x1u /* one for all VPs: VP 0 has it */
#define KVM_MSR_DOWNWARD       0x2u /* restored from last to first */
#define KVM_MSR_UNLISTED       0x4u /* KVM keeps it, and does not list it */

struct kvm_msr_range {
	uint32_t first;
	uint32_t last;
	enum kvm_msr_stage stage;
	uint32_t flags;
};

/* In the order of restoring. */
extern const struct kvm_msr_range kvm_msr_ranges[];
extern const size_t kvm_msr_range_count;

#define KVM_MSR_ARCH_CAPABILITIES 0x10au

/* The range that holds index; NULL: not part of the state. */
const struct kvm_msr_range *kvm_msr_find(uint32_t index);

#endif
