/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Whether a host can run a guest that was promised another host's processor: two CPUID tables,
 * compared bit by bit, and what is missing by the name that people know. Pure functions. Source:
 * Intel SDM vol. 2 "CPUID"; AMD APM vol. 3 appendix E; TLFS 2; names as in Linux /proc/cpuinfo.
 */
#ifndef LUNAR_HYPERVISOR_CPUID_CHECK_H
#define LUNAR_HYPERVISOR_CPUID_CHECK_H

#include <stddef.h>
#include <stdint.h>

#include "hypervisor/cpuid.h"

/*
 * guest: what was promised; host: what is offered here, both by cpuid_make(). Returns 0, or
 * -EOPNOTSUPP with what is missing in text, "avx2, xsave" or "leaf 0x7 edx bit 9", cut with "..."
 * where it does not fit. What an operating system or the topology sets does not count.
 */
int cpuid_check(const struct cpuid_table *guest, const struct cpuid_table *host, char *text,
		size_t size);

/*
 * The same for IA32_ARCH_CAPABILITIES, which says what the processor is not vulnerable to: a guest
 * has long chosen by it which of its defences it can do without, and does not look again. guest:
 * the value that it was shown; host: what KVM shows guests here. Nothing is missing to a guest
 * whose CPUID says that there is no such register. Source: Intel SDM vol. 4,
 * IA32_ARCH_CAPABILITIES.
 */
int cpuid_check_arch_capabilities(const struct cpuid_table *table, uint64_t guest, uint64_t host,
				  char *text, size_t size);

#endif
