/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The processor that a guest was promised, as saved state: its CPUID, the frequency of its TSC, and
 * what IA32_ARCH_CAPABILITIES says.
 */
#ifndef LUNAR_HYPERVISOR_CPUID_STATE_H
#define LUNAR_HYPERVISOR_CPUID_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/state.h"
#include "hypervisor/cpuid.h"

#define CPUID_STATE_TAG STATE_TAG('C', 'P', 'U', 'I')

struct cpuid_state {
	uint32_t vp_count;
	uint32_t tsc_khz;
	struct cpuid_table table;     /* cpuid_set_vp() makes a VP's of it */
	bool arch_capabilities_known; /* not told by an older version */
	uint64_t arch_capabilities;
};

/* Writes one section. */
void cpuid_state_write(const struct cpuid_state *state, struct state_writer *writer);
/* section: of tag CPUID_STATE_TAG. Returns 0, -EPROTO: malformed, -EOPNOTSUPP: too new. */
int cpuid_state_read(struct state_reader *section, struct cpuid_state *state);

#endif
