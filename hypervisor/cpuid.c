/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * CPUID of a partition. See cpuid.h.
 */
#include "hypervisor/cpuid.h"

#include <errno.h>

#include "wire/tlfs.h"

#define LEAF_FEATURES	  0x1u
#define LEAF_CACHE	  0x4u
#define LEAF_TOPOLOGY	  0xbu
#define LEAF_TOPOLOGY_V2  0x1fu
#define LEAF_AMD_FEATURES 0x80000001u
#define LEAF_AMD_CAPACITY 0x80000008u
#define LEAF_AMD_CACHE	  0x8000001du
#define LEAF_AMD_TOPOLOGY 0x8000001eu
#define HYPERVISOR_FIRST  0x40000000u
#define HYPERVISOR_LAST	  0x4fffffffu

#define FEATURES_ECX_X2APIC	  (1u << 21)
#define FEATURES_ECX_TSC_DEADLINE (1u << 24)
#define FEATURES_EDX_HTT	  (1u << 28)
#define AMD_ECX_CMP_LEGACY	  (1u << 1)

/* Build 10.0.17763: the first with every enlightenment that is offered here. */
#define HV_BUILD	 17763u
#define HV_VERSION_10_0	 (10u << 16)
#define HV_MAX_LEAF	 ((uint32_t)HV_CPUID_HARDWARE_FEATURES)
#define HV_SPIN_ATTEMPTS 0xfffu /* then HV_CALL_NOTIFY_LONG_SPIN_WAIT */

/* Linux detects Hyper-V by the first two; VMBus stands on the others. */
#define HV_LOW_REQUIRED                                                                            \
	(HV_PRIVILEGE_HYPERCALL | HV_PRIVILEGE_VP_INDEX | HV_PRIVILEGE_SYNIC |                     \
	 HV_PRIVILEGE_SYNTHETIC_TIMERS | HV_PRIVILEGE_TIME_REF_COUNT | HV_PRIVILEGE_REFERENCE_TSC)
#define HV_LOW_WANTED                                                                              \
	(HV_LOW_REQUIRED | HV_PRIVILEGE_VP_RUNTIME | HV_PRIVILEGE_RESET |                          \
	 HV_PRIVILEGE_FREQUENCY_MSRS)
#define HV_HIGH_REQUIRED (HV_PRIVILEGE_POST_MESSAGES | HV_PRIVILEGE_SIGNAL_EVENTS)
#define HV_FEATURES_WANTED                                                                         \
	(HV_FEATURE_XMM_INPUT | HV_FEATURE_FREQUENCY_MSRS | HV_FEATURE_GUEST_CRASH_MSR |           \
	 HV_FEATURE_STIMER_DIRECT)
#define HV_HINTS_WANTED                                                                            \
	(HV_HINT_REMOTE_TLB_FLUSH | HV_HINT_RELAXED_TIMING | HV_HINT_DEPRECATE_AUTO_EOI |          \
	 HV_HINT_CLUSTER_IPI | HV_HINT_EX_PROCESSOR_MASKS | HV_HINT_NO_CORE_SHARING)

struct cpuid_leaf *cpuid_find(struct cpuid_table *table, uint32_t function, uint32_t index)
{
	for (size_t i = 0; i < table->count; i++) {
		struct cpuid_leaf *leaf = &table->leaves[i];

		if (leaf->function == function && (!leaf->indexed || leaf->index == index))
			return leaf;
	}
	return NULL;
}

static const struct cpuid_leaf *find_const(const struct cpuid_table *table, uint32_t function)
{
	for (size_t i = 0; i < table->count; i++)
		if (table->leaves[i].function == function)
			return &table->leaves[i];
	return NULL;
}

static int leaf_add(struct cpuid_table *table, const struct cpuid_leaf *leaf)
{
	if (table->count == CPUID_MAX_LEAVES)
		return -ENOSPC;
	table->leaves[table->count++] = *leaf;
	return 0;
}

/* Drops every leaf of [first, last]. */
static void leaves_remove(struct cpuid_table *table, uint32_t first, uint32_t last)
{
	size_t kept = 0;

	for (size_t i = 0; i < table->count; i++)
		if (table->leaves[i].function < first || table->leaves[i].function > last)
			table->leaves[kept++] = table->leaves[i];
	table->count = kept;
}

/* Bits of an APIC id that tell vp_count VPs apart. */
static uint32_t apic_id_bits(uint32_t vp_count)
{
	uint32_t bits = 0;

	while ((UINT32_C(1) << bits) < vp_count)
		bits++;
	return bits;
}

/* Leaf 4 (Intel) and 0x8000001d (AMD): who shares a cache. One thread a core; the last level is the
 * package's. */
static void cache_leaf_set_sharing(struct cpuid_leaf *leaf, uint32_t vp_count, bool intel)
{
	uint32_t level = (leaf->eax >> 5) & 7;
	uint32_t ids = UINT32_C(1) << apic_id_bits(vp_count);

	if (!(leaf->eax & 0x1f))
		return; /* no more caches */
	leaf->eax &= intel ? UINT32_C(0x3fff) : ~(UINT32_C(0xfff) << 14);
	if (level >= 3)
		leaf->eax |= (ids - 1) << 14;
	if (intel)
		leaf->eax |= (ids - 1) << 26;
}

static int topology_leaves_make(struct cpuid_table *table, uint32_t function, uint32_t vp_count)
{
	const struct cpuid_leaf levels[] = {
		/* ecx bits 8..15: 1 is threads, 2 is cores */
		{.function = function, .index = 0, .indexed = true, .ebx = 1, .ecx = 0x100},
		{.function = function,
		 .index = 1,
		 .indexed = true,
		 .eax = apic_id_bits(vp_count),
		 .ebx = vp_count,
		 .ecx = 0x201},
		{.function = function, .index = 2, .indexed = true, .ecx = 2},
	};

	if (!cpuid_find(table, function, 0))
		return 0;
	leaves_remove(table, function, function);
	for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
		int result = leaf_add(table, &levels[i]);

		if (result)
			return result;
	}
	return 0;
}

static int topology_make(struct cpuid_table *table, uint32_t vp_count)
{
	struct cpuid_leaf *leaf = cpuid_find(table, LEAF_FEATURES, 0);
	int result;

	if (leaf) {
		leaf->edx &= ~FEATURES_EDX_HTT;
		if (vp_count > 1)
			leaf->edx |= FEATURES_EDX_HTT;
	}
	leaf = cpuid_find(table, LEAF_AMD_FEATURES, 0);
	if (leaf) {
		leaf->ecx &= ~AMD_ECX_CMP_LEGACY;
		if (vp_count > 1 && cpuid_find(table, LEAF_AMD_TOPOLOGY, 0))
			leaf->ecx |= AMD_ECX_CMP_LEGACY;
	}
	leaf = cpuid_find(table, LEAF_AMD_CAPACITY, 0);
	if (leaf) /* cores less one, and the width of the core's part of an APIC id */
		leaf->ecx = vp_count > 1 ? (vp_count - 1) | apic_id_bits(vp_count) << 12 : 0;
	for (size_t i = 0; i < table->count; i++)
		if (table->leaves[i].function == LEAF_CACHE ||
		    table->leaves[i].function == LEAF_AMD_CACHE)
			cache_leaf_set_sharing(&table->leaves[i], vp_count,
					       table->leaves[i].function == LEAF_CACHE);
	result = topology_leaves_make(table, LEAF_TOPOLOGY, vp_count);
	if (result)
		return result;
	leaves_remove(table, LEAF_TOPOLOGY_V2, LEAF_TOPOLOGY_V2); /* 0xb says it all */
	return 0;
}

static int hyperv_leaves_make(struct cpuid_table *table, const struct cpuid_table *hyperv,
			      uint32_t vp_count)
{
	const struct cpuid_leaf *features = find_const(hyperv, HV_CPUID_FEATURES);
	const struct cpuid_leaf *hints = find_const(hyperv, HV_CPUID_HINTS);
	int result = 0;

	if (!features || !hints || (features->eax & HV_LOW_REQUIRED) != HV_LOW_REQUIRED ||
	    (features->ebx & HV_HIGH_REQUIRED) != HV_HIGH_REQUIRED ||
	    !(features->edx & HV_FEATURE_STIMER_DIRECT))
		return -ENOTSUP;

	const struct cpuid_leaf leaves[] = {
		{.function = HV_CPUID_VENDOR_AND_MAX,
		 .eax = HV_MAX_LEAF,
		 .ebx = HV_CPUID_VENDOR_EBX,
		 .ecx = HV_CPUID_VENDOR_ECX,
		 .edx = HV_CPUID_VENDOR_EDX},
		{.function = HV_CPUID_INTERFACE, .eax = HV_CPUID_INTERFACE_HV1},
		{.function = HV_CPUID_VERSION, .eax = HV_BUILD, .ebx = HV_VERSION_10_0},
		{.function = HV_CPUID_FEATURES,
		 .eax = features->eax & HV_LOW_WANTED,
		 .ebx = HV_HIGH_REQUIRED,
		 .edx = features->edx & HV_FEATURES_WANTED},
		{.function = HV_CPUID_HINTS,
		 .eax = hints->eax & HV_HINTS_WANTED,
		 .ebx = HV_SPIN_ATTEMPTS},
		{.function = HV_CPUID_LIMITS, .eax = vp_count, .ebx = vp_count},
		{.function = HV_CPUID_HARDWARE_FEATURES},
	};
	for (size_t i = 0; i < sizeof(leaves) / sizeof(leaves[0]) && !result; i++)
		result = leaf_add(table, &leaves[i]);
	return result;
}

int cpuid_make(struct cpuid_table *table, const struct cpuid_table *hyperv, uint32_t vp_count,
	       bool tsc_deadline)
{
	struct cpuid_leaf *leaf = cpuid_find(table, LEAF_FEATURES, 0);
	int result;

	if (!leaf)
		return -ENOTSUP;
	leaf->ecx |= HV_CPUID_1_ECX_HYPERVISOR_PRESENT | FEATURES_ECX_X2APIC;
	if (tsc_deadline)
		leaf->ecx |= FEATURES_ECX_TSC_DEADLINE;
	leaves_remove(table, HYPERVISOR_FIRST, HYPERVISOR_LAST);
	result = topology_make(table, vp_count);
	if (result)
		return result;
	return hyperv_leaves_make(table, hyperv, vp_count);
}

void cpuid_set_vp(struct cpuid_table *table, uint32_t vp, uint32_t vp_count)
{
	for (size_t i = 0; i < table->count; i++) {
		struct cpuid_leaf *leaf = &table->leaves[i];

		switch (leaf->function) {
		case LEAF_FEATURES:
			leaf->ebx = (leaf->ebx & 0xffff) | (vp_count & 0xff) << 16 | vp << 24;
			break;
		case LEAF_TOPOLOGY:
			leaf->edx = vp;
			break;
		case LEAF_AMD_TOPOLOGY:
			leaf->eax = vp;
			leaf->ebx = vp & 0xff; /* core id; one thread a core */
			leaf->ecx = 0;	       /* one node */
			break;
		default:
			break;
		}
	}
}
