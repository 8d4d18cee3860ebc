/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The engine's saved state from a peer: any bytes. What passes is written again and read again, and
 * every byte that the state points at is touched.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "hypervisor/cpuid_check.h"
#include "hypervisor/kvm_state.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void touch(const void *bytes, size_t length)
{
	static volatile uint8_t copy[1 << 16];

	if (length > sizeof(copy))
		abort();
	for (size_t i = 0; i < length; i++)
		copy[i] = ((const uint8_t *)bytes)[i];
}

static void state_use(const struct kvm_state *state, struct state_writer *writer)
{
	char text[64];

	(void)cpuid_check(&state->cpuid.table, &state->cpuid.table, text, sizeof(text));
	cpuid_state_write(&state->cpuid, writer);
	kvm_clock_state_write(&state->clock, writer);
	for (size_t i = 0; i < KVM_CHIP_COUNT; i++)
		kvm_chip_state_write(&state->chips[i], writer);
	for (uint32_t i = 0; i < state->vp_count; i++) {
		const struct kvm_vp_state *vp = &state->vps[i];

		for (size_t part = 0; part < KVM_PART_COUNT; part++)
			if (vp->parts[part])
				touch(vp->parts[part], vp->part_bytes[part]);
		for (uint32_t j = 0; j < vp->msr_count; j++)
			if (!kvm_msr_find(vp->msrs[j].index))
				abort();
		kvm_vp_state_write(vp, writer);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct kvm_state *state;
	struct kvm_state *again;
	struct state_reader reader;
	struct state_writer writer;

	if (size < 1)
		return 0;
	state_reader_init(&reader, data + 1, size - 1);
	if (kvm_state_read(&reader, data[0], &state))
		return 0;
	state_writer_init(&writer);
	state_use(state, &writer);
	state_reader_init(&reader, writer.bytes, writer.length);
	if (state_writer_result(&writer) || kvm_state_read(&reader, state->vp_count, &again))
		abort();
	free(again);
	free(state);
	state_writer_fini(&writer);
	return 0;
}
