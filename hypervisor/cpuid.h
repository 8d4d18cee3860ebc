/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a VP's CPUID says: the host's processor as KVM offers it, with the partition's own topology,
 * and Hyper-V's identity, privileges and hints in place of KVM's. Pure functions on lists of
 * leaves. Source: TLFS 2; Intel SDM vol. 2 "CPUID"; AMD APM vol. 3 appendix E.
 */
#ifndef LUNAR_HYPERVISOR_CPUID_H
#define LUNAR_HYPERVISOR_CPUID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CPUID_MAX_LEAVES 256

struct cpuid_leaf {
	uint32_t function;
	uint32_t index;
	bool indexed; /* the sub-leaf matters */
	uint32_t eax, ebx, ecx, edx;
};

struct cpuid_table {
	size_t count;
	struct cpuid_leaf leaves[CPUID_MAX_LEAVES];
};

struct cpuid_leaf *cpuid_find(struct cpuid_table *table, uint32_t function, uint32_t index);

/*
 * Turns what KVM supports into what every VP of a partition of vp_count shows: one package, one
 * thread a core. hyperv is KVM's own list of Hyper-V leaves (KVM_GET_SUPPORTED_HV_CPUID): only what
 * it names is promised. tsc_deadline: the engine serves the TSC deadline timer.
 * Returns 0; -ENOTSUP: KVM lacks something of Hyper-V's interface that Lunar cannot do without;
 * -ENOSPC: too many leaves.
 */
int cpuid_make(struct cpuid_table *table, const struct cpuid_table *hyperv, uint32_t vp_count,
	       bool tsc_deadline);

/* Writes the leaves that tell one VP from another: its APIC id, which is its index. */
void cpuid_set_vp(struct cpuid_table *table, uint32_t vp, uint32_t vp_count);

#endif
