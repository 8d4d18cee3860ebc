/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Saved CPUID. See cpuid_state.h.
 *
 * Version 1: u32 vp_count, u32 tsc_khz, u32 leaves, then for each of them u32 function, index,
 * indexed (0 or 1), eax, ebx, ecx, edx; then u64 IA32_ARCH_CAPABILITIES, which the first writers of
 * version 1 left out.
 */
#include "hypervisor/cpuid_state.h"

#include <errno.h>

#define VERSION 1

void cpuid_state_write(const struct cpuid_state *state, struct state_writer *writer)
{
	state_begin(writer, CPUID_STATE_TAG, VERSION, VERSION);
	state_put_u32(writer, state->vp_count);
	state_put_u32(writer, state->tsc_khz);
	state_put_u32(writer, (uint32_t)state->table.count);
	for (size_t i = 0; i < state->table.count; i++) {
		const struct cpuid_leaf *leaf = &state->table.leaves[i];

		state_put_u32(writer, leaf->function);
		state_put_u32(writer, leaf->index);
		state_put_u32(writer, leaf->indexed);
		state_put_u32(writer, leaf->eax);
		state_put_u32(writer, leaf->ebx);
		state_put_u32(writer, leaf->ecx);
		state_put_u32(writer, leaf->edx);
	}
	state_put_u64(writer, state->arch_capabilities);
	state_end(writer);
}

int cpuid_state_read(struct state_reader *section, struct cpuid_state *state)
{
	int result = state_check_version(section, VERSION);

	if (result)
		return result;
	if (section->tag != CPUID_STATE_TAG)
		return -EPROTO;
	state->vp_count = state_get_u32(section);
	state->tsc_khz = state_get_u32(section);
	state->table.count = state_get_bounded(section, CPUID_MAX_LEAVES);
	for (size_t i = 0; i < state->table.count && !section->error; i++) {
		struct cpuid_leaf *leaf = &state->table.leaves[i];

		leaf->function = state_get_u32(section);
		leaf->index = state_get_u32(section);
		leaf->indexed = state_get_bounded(section, 1);
		leaf->eax = state_get_u32(section);
		leaf->ebx = state_get_u32(section);
		leaf->ecx = state_get_u32(section);
		leaf->edx = state_get_u32(section);
	}
	state->arch_capabilities_known = state_left(section) > 0;
	state->arch_capabilities = state_get_u64_or(section, 0);
	if (section->error || state->vp_count == 0 || state->tsc_khz == 0)
		return -EPROTO;
	return 0;
}
