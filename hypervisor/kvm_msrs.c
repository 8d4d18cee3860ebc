/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The MSRs of a VP's saved state. See kvm_msrs.h.
 */
#include "hypervisor/kvm_msrs.h"

#include "wire/tlfs.h"

#define PARTITION_WIDE KVM_MSR_PARTITION_WIDE
#define DOWNWARD       KVM_MSR_DOWNWARD
#define UNLISTED       KVM_MSR_UNLISTED

#define PERF_COUNTERS_AMD 12 /* six control and counter pairs */

/* clang-format off: a table */
const struct kvm_msr_range kvm_msr_ranges[] = {
	{0x34, 0x34, KVM_MSR_EARLY, 0},		 /* SMI count */
	{0x3a, 0x3b, KVM_MSR_EARLY, 0},		 /* feature control, TSC adjust */
	{0x48, 0x48, KVM_MSR_EARLY, 0},		 /* speculation control */
	{0x8b, 0x8b, KVM_MSR_EARLY, 0},		 /* microcode revision */
	{0x9e, 0x9e, KVM_MSR_EARLY, 0},		 /* SMBASE */
	{0xc1, 0xc8, KVM_MSR_EARLY, 0},		 /* performance counters */
	{0xce, 0xce, KVM_MSR_EARLY, 0},		 /* platform info */
	{0xe1, 0xe1, KVM_MSR_EARLY, 0},		 /* umwait control */
	{0x10a, 0x10a, KVM_MSR_EARLY, 0},	 /* architecture capabilities */
	{0x122, 0x122, KVM_MSR_EARLY, 0},	 /* TSX control */
	{0x140, 0x140, KVM_MSR_EARLY, 0},	 /* misc feature enables */
	{0x174, 0x176, KVM_MSR_EARLY, 0},	 /* sysenter */
	{0x17a, 0x17b, KVM_MSR_EARLY, 0},	 /* machine check status, control */
	{0x186, 0x18d, KVM_MSR_EARLY, 0},	 /* performance event selectors */
	{0x1a0, 0x1a0, KVM_MSR_EARLY, 0},	 /* misc enable */
	{0x1c4, 0x1c5, KVM_MSR_EARLY, 0},	 /* XFD, XFD error */
	{0x1d9, 0x1d9, KVM_MSR_EARLY, 0},	 /* debug control */
	{0x1fc, 0x1fc, KVM_MSR_EARLY, 0},	 /* power control */
	{0x200, 0x20f, KVM_MSR_EARLY, UNLISTED}, /* variable MTRRs */
	{0x250, 0x250, KVM_MSR_EARLY, UNLISTED}, /* fixed MTRRs */
	{0x258, 0x259, KVM_MSR_EARLY, UNLISTED},
	{0x268, 0x26f, KVM_MSR_EARLY, UNLISTED},
	{0x277, 0x277, KVM_MSR_EARLY, UNLISTED},    /* PAT */
	{0x280, 0x29f, KVM_MSR_EARLY, UNLISTED},    /* machine check control 2 */
	{0x2ff, 0x2ff, KVM_MSR_EARLY, UNLISTED},    /* MTRR default type, enable */
	{0x309, 0x30b, KVM_MSR_EARLY, 0},	    /* fixed performance counters */
	{0x345, 0x345, KVM_MSR_EARLY, 0},	    /* performance capabilities */
	{0x38d, 0x38d, KVM_MSR_EARLY, 0},	    /* fixed counter control */
	{0x38f, 0x38f, KVM_MSR_EARLY, 0},	    /* counters' global control */
	{0x400, 0x47f, KVM_MSR_EARLY, UNLISTED},    /* machine check banks */
	{0x4d0, 0x4d0, KVM_MSR_EARLY, 0},	    /* extended machine check control */
	{0x6a0, 0x6a8, KVM_MSR_EARLY, 0},	    /* control flow enforcement */
	{0xd90, 0xd90, KVM_MSR_EARLY, 0},	    /* MPX bounds */
	{0xda0, 0xda0, KVM_MSR_EARLY, 0},	    /* XSS */
	{0xc0000081, 0xc0000084, KVM_MSR_EARLY, 0}, /* syscall */
	{0xc0000102, 0xc0000104, KVM_MSR_EARLY, 0}, /* kernel GS, TSC aux, TSC ratio */
	{0xc0010000, 0xc0010007, KVM_MSR_EARLY, 0}, /* performance counters (AMD) */
	{0xc0010015, 0xc0010015, KVM_MSR_EARLY, 0}, /* hardware configuration */
	{0xc0010117, 0xc0010117, KVM_MSR_EARLY, 0}, /* SVM host save area */
	{0xc001011f, 0xc001011f, KVM_MSR_EARLY, 0}, /* virtual speculation control */
	{0xc0010200, 0xc0010200 + PERF_COUNTERS_AMD - 1, KVM_MSR_EARLY, 0},

	/* the id first: without it KVM takes no hypercall page */
	{HV_MSR_GUEST_OS_ID, HV_MSR_HYPERCALL, KVM_MSR_EARLY, PARTITION_WIDE},
	{HV_MSR_CRASH_P0, HV_MSR_CRASH_P4, KVM_MSR_EARLY, PARTITION_WIDE},
	{HV_MSR_VP_RUNTIME, HV_MSR_VP_RUNTIME, KVM_MSR_EARLY, 0},
	{HV_MSR_REENLIGHTENMENT_CONTROL, HV_MSR_TSC_EMULATION_STATUS, KVM_MSR_EARLY,
	 PARTITION_WIDE},
	{HV_MSR_TSC_INVARIANT_CONTROL, HV_MSR_TSC_INVARIANT_CONTROL, KVM_MSR_EARLY, PARTITION_WIDE},
	/* KVM computes the page anew, from the clock */
	{HV_MSR_REFERENCE_TSC, HV_MSR_REFERENCE_TSC, KVM_MSR_CLOCK, PARTITION_WIDE},

	{HV_MSR_VP_ASSIST_PAGE, HV_MSR_VP_ASSIST_PAGE, KVM_MSR_LATE, 0},
	{0x6e0, 0x6e0, KVM_MSR_LATE, 0}, /* TSC deadline */
	{HV_MSR_SCONTROL, HV_MSR_SCONTROL, KVM_MSR_LATE, 0},
	{HV_MSR_SIEFP, HV_MSR_SIMP, KVM_MSR_LATE, UNLISTED},
	{HV_MSR_SINT0, HV_MSR_SINT0 + HV_SINT_COUNT - 1, KVM_MSR_LATE, UNLISTED},
	/* a timer's count before its configuration: a count enables a timer with auto-enable, also
	 * one that had expired */
	{HV_MSR_STIMER0_CONFIG, HV_MSR_STIMER0_CONFIG + 2 * HV_STIMER_COUNT - 1, KVM_MSR_LATE,
	 DOWNWARD | UNLISTED},
};
/* clang-format on */
const size_t kvm_msr_range_count = sizeof(kvm_msr_ranges) / sizeof(kvm_msr_ranges[0]);

const struct kvm_msr_range *kvm_msr_find(uint32_t index)
{
	for (size_t i = 0; i < kvm_msr_range_count; i++)
		if (index >= kvm_msr_ranges[i].first && index <= kvm_msr_ranges[i].last)
			return &kvm_msr_ranges[i];
	return NULL;
}
