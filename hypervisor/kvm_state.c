/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Writing, reading and checking the KVM engine's saved state. See kvm_state.h.
 */
#include "hypervisor/kvm_state.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "hypervisor/cpuid_check.h"

#define TAG_CLOCK STATE_TAG('C', 'L', 'C', 'K')
#define TAG_CHIP  STATE_TAG('C', 'H', 'I', 'P')
#define TAG_VP	  STATE_TAG('V', 'C', 'P', 'U')
#define TAG_MSRS  STATE_TAG('M', 'S', 'R', 'S')

#define VERSION 1

/* An image of the largest processor that is known is below 12 KiB. */
#define XSAVE_MAX_BYTES	 ((size_t)64 * 1024)
#define NESTED_MAX_BYTES ((size_t)64 * 1024)

#define EVENTS_FLAGS                                                                               \
	(KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SIPI_VECTOR |                       \
	 KVM_VCPUEVENT_VALID_SHADOW | KVM_VCPUEVENT_VALID_SMM | KVM_VCPUEVENT_VALID_PAYLOAD |      \
	 KVM_VCPUEVENT_VALID_TRIPLE_FAULT)
#define EXCEPTION_LAST 31

#define LAYOUT(a, b, c, d, type, name)                                                             \
	{                                                                                          \
		STATE_TAG(a, b, c, d), sizeof(type), sizeof(type), name                            \
	}

const struct kvm_part_layout kvm_part_layouts[KVM_PART_COUNT] = {
	[KVM_PART_MP_STATE] = LAYOUT('M', 'P', 'S', 'T', struct kvm_mp_state, "activity"),
	[KVM_PART_REGS] = LAYOUT('R', 'E', 'G', 'S', struct kvm_regs, "registers"),
	[KVM_PART_SREGS] = LAYOUT('S', 'R', 'E', 'G', struct kvm_sregs, "system registers"),
	[KVM_PART_SREGS2] = LAYOUT('S', 'R', 'G', '2', struct kvm_sregs2, "system registers"),
	[KVM_PART_XSAVE] = {STATE_TAG('X', 'S', 'A', 'V'), sizeof(struct kvm_xsave),
			    XSAVE_MAX_BYTES, "XSAVE image"},
	[KVM_PART_XCRS] = LAYOUT('X', 'C', 'R', 'S', struct kvm_xcrs, "XCRs"),
	[KVM_PART_DEBUGREGS] = LAYOUT('D', 'R', 'E', 'G', struct kvm_debugregs, "debug registers"),
	[KVM_PART_LAPIC] = LAYOUT('L', 'A', 'P', 'C', struct kvm_lapic_state, "LAPIC"),
	[KVM_PART_NESTED] = {STATE_TAG('N', 'E', 'S', 'T'), sizeof(struct kvm_nested_state),
			     NESTED_MAX_BYTES, "nested state"},
	[KVM_PART_EVENTS] = LAYOUT('E', 'V', 'N', 'T', struct kvm_vcpu_events, "events"),
};

/* ---- writing ---- */

void kvm_clock_state_write(const struct kvm_clock_state *clock, struct state_writer *writer)
{
	state_begin(writer, TAG_CLOCK, VERSION, VERSION);
	state_put_u64(writer, clock->clock_ns);
	state_put_u64(writer, clock->realtime_ns);
	state_put_u64(writer, clock->tsc);
	state_end(writer);
}

void kvm_chip_state_write(const struct kvm_irqchip *chip, struct state_writer *writer)
{
	state_begin(writer, TAG_CHIP, VERSION, VERSION);
	state_put_u32(writer, chip->chip_id);
	state_put_bytes(writer, &chip->chip, sizeof(chip->chip));
	state_end(writer);
}

void kvm_vp_state_write(const struct kvm_vp_state *vp, struct state_writer *writer)
{
	state_begin(writer, TAG_VP, VERSION, VERSION);
	state_put_u32(writer, vp->index);
	state_put_u64(writer, vp->tsc_ahead);
	for (size_t i = 0; i < KVM_PART_COUNT; i++) {
		if (!vp->parts[i])
			continue;
		state_begin(writer, kvm_part_layouts[i].tag, VERSION, VERSION);
		state_put_bytes(writer, vp->parts[i], vp->part_bytes[i]);
		state_end(writer);
	}
	state_begin(writer, TAG_MSRS, VERSION, VERSION);
	state_put_u32(writer, vp->msr_count);
	for (uint32_t i = 0; i < vp->msr_count; i++) {
		state_put_u32(writer, vp->msrs[i].index);
		state_put_u64(writer, vp->msrs[i].data);
	}
	state_end(writer);
	state_end(writer);
}

/* ---- reading ---- */

/* Only MSRs of kvm_msr_ranges, in its order, each once: the position in that order must grow. */
static uint64_t msr_position(uint32_t index, const struct kvm_msr_range **range)
{
	*range = kvm_msr_find(index);
	if (!*range)
		return 0;
	return (uint64_t)(*range - kvm_msr_ranges + 1) << 32 |
	       ((*range)->flags & KVM_MSR_DOWNWARD ? (*range)->last - index
						   : index - (*range)->first);
}

static int msrs_read(struct state_reader *section, struct kvm_vp_state *vp)
{
	uint64_t before = 0;
	uint32_t count = state_get_bounded(section, KVM_MSRS_MAX);

	for (uint32_t i = 0; i < count && !section->error; i++) {
		struct kvm_msr_entry *entry = &vp->msrs[i];
		const struct kvm_msr_range *range;
		uint64_t position;

		entry->index = state_get_u32(section);
		entry->data = state_get_u64(section);
		position = msr_position(entry->index, &range);
		if (!range || position <= before ||
		    (range->flags & KVM_MSR_PARTITION_WIDE && vp->index != 0))
			return -EPROTO;
		before = position;
	}
	vp->msr_count = count;
	return section->error;
}

static int part_read(struct state_reader *section, struct kvm_vp_state *vp)
{
	for (size_t i = 0; i < KVM_PART_COUNT; i++) {
		const struct kvm_part_layout *layout = &kvm_part_layouts[i];
		size_t length = state_left(section);

		if (section->tag != layout->tag)
			continue;
		if (vp->parts[i] || length < layout->min_bytes || length > layout->max_bytes)
			return -EPROTO;
		vp->parts[i] = state_get_bytes(section, length);
		vp->part_bytes[i] = length;
		return 0;
	}
	return state_check_skippable(section);
}

static int mp_state_check(const struct kvm_vp_state *vp)
{
	struct kvm_mp_state state;

	memcpy(&state, vp->parts[KVM_PART_MP_STATE], sizeof(state));
	switch (state.mp_state) {
	case KVM_MP_STATE_RUNNABLE:
	case KVM_MP_STATE_UNINITIALIZED:
	case KVM_MP_STATE_INIT_RECEIVED:
	case KVM_MP_STATE_HALTED:
	case KVM_MP_STATE_SIPI_RECEIVED:
		return 0;
	default:
		return -EPROTO;
	}
}

static int events_check(const struct kvm_vp_state *vp)
{
	struct kvm_vcpu_events events;

	memcpy(&events, vp->parts[KVM_PART_EVENTS], sizeof(events));
	if (events.flags & ~(uint32_t)EVENTS_FLAGS)
		return -EPROTO;
	if ((events.exception.injected || events.exception.pending) &&
	    events.exception.nr > EXCEPTION_LAST)
		return -EPROTO;
	return 0;
}

static int xcrs_check(const struct kvm_vp_state *vp)
{
	struct kvm_xcrs xcrs;

	if (!vp->parts[KVM_PART_XCRS])
		return 0;
	memcpy(&xcrs, vp->parts[KVM_PART_XCRS], sizeof(xcrs));
	return xcrs.nr_xcrs > KVM_MAX_XCRS || xcrs.flags ? -EPROTO : 0;
}

/* The size that a nested state tells of itself is within its bytes. */
static int nested_check(const struct kvm_vp_state *vp)
{
	struct kvm_nested_state nested;

	if (!vp->parts[KVM_PART_NESTED])
		return 0;
	memcpy(&nested, vp->parts[KVM_PART_NESTED], sizeof(nested));
	return nested.size < sizeof(nested) || nested.size > vp->part_bytes[KVM_PART_NESTED]
		       ? -EPROTO
		       : 0;
}

static int vp_check(const struct kvm_vp_state *vp)
{
	const void *const *parts = vp->parts;
	int result;

	if (!parts[KVM_PART_MP_STATE] || !parts[KVM_PART_REGS] || !parts[KVM_PART_LAPIC] ||
	    !parts[KVM_PART_EVENTS] || !parts[KVM_PART_DEBUGREGS] ||
	    !parts[KVM_PART_SREGS] == !parts[KVM_PART_SREGS2] || !parts[KVM_PART_XSAVE])
		return -EPROTO;
	result = mp_state_check(vp);
	if (!result)
		result = events_check(vp);
	if (!result)
		result = xcrs_check(vp);
	return result ? result : nested_check(vp);
}

static int vp_read(struct state_reader *section, uint32_t index, struct kvm_vp_state *vp)
{
	struct state_reader part;
	bool msrs = false;
	int result = state_check_version(section, VERSION);
	int more = 0;

	if (result)
		return result;
	vp->index = state_get_u32(section);
	vp->tsc_ahead = state_get_u64(section);
	if (section->error || vp->index != index)
		return -EPROTO;
	while (!result && (more = state_next(section, &part)) > 0) {
		result = state_check_version(&part, VERSION);
		if (result)
			continue;
		if (part.tag != TAG_MSRS)
			result = part_read(&part, vp);
		else
			result = msrs ? -EPROTO : msrs_read(&part, vp);
		msrs |= part.tag == TAG_MSRS;
	}
	if (result || more < 0)
		return result ? result : more;
	return msrs ? vp_check(vp) : -EPROTO;
}

static int clock_read(struct state_reader *section, struct kvm_clock_state *clock)
{
	clock->clock_ns = state_get_u64(section);
	clock->realtime_ns = state_get_u64(section);
	clock->tsc = state_get_u64(section);
	/* half of the range: what is added to it later cannot wrap */
	return section->error || clock->clock_ns > INT64_MAX || clock->realtime_ns > INT64_MAX
		       ? -EPROTO
		       : 0;
}

static int chip_read(struct state_reader *section, struct kvm_state *state, uint32_t *seen)
{
	uint32_t id = state_get_bounded(section, KVM_CHIP_COUNT - 1);
	const void *bytes = state_get_bytes(section, sizeof(state->chips[0].chip));

	if (!bytes || section->error || *seen & 1u << id)
		return -EPROTO;
	*seen |= 1u << id;
	state->chips[id].chip_id = id;
	memcpy(&state->chips[id].chip, bytes, sizeof(state->chips[id].chip));
	return 0;
}

#define SEEN_ALL_CHIPS ((1u << KVM_CHIP_COUNT) - 1)

/* What was read so far, to tell what is missing. */
struct reading {
	bool cpuid;
	bool clock;
	uint32_t chips;
	uint32_t vps;
};

static int section_read(struct state_reader *section, struct kvm_state *state,
			struct reading *reading)
{
	int result;

	switch (section->tag) {
	case CPUID_STATE_TAG:
		result = reading->cpuid ? -EPROTO : cpuid_state_read(section, &state->cpuid);
		reading->cpuid = true;
		return result;
	case TAG_CLOCK:
		result = state_check_version(section, VERSION);
		if (result)
			return result;
		result = reading->clock ? -EPROTO : clock_read(section, &state->clock);
		reading->clock = true;
		return result;
	case TAG_CHIP:
		result = state_check_version(section, VERSION);
		return result ? result : chip_read(section, state, &reading->chips);
	case TAG_VP:
		if (reading->vps == state->vp_count)
			return -EPROTO;
		result = vp_read(section, reading->vps, &state->vps[reading->vps]);
		reading->vps++;
		return result;
	default:
		return state_check_skippable(section);
	}
}

int kvm_state_read(struct state_reader *reader, uint32_t vp_count, struct kvm_state **state)
{
	struct reading reading = {0};
	struct state_reader part;
	struct kvm_state *made;
	int result = 0;
	int more = 0;

	if (vp_count == 0 || vp_count > KVM_STATE_MAX_VPS)
		return -EPROTO;
	made = calloc(1, sizeof(*made) + vp_count * sizeof(made->vps[0]));
	if (!made)
		return -ENOMEM;
	made->vp_count = vp_count;
	while (!result && (more = state_next(reader, &part)) > 0)
		result = section_read(&part, made, &reading);
	if (!result)
		result = more;
	if (!result && (!reading.cpuid || !reading.clock || reading.chips != SEEN_ALL_CHIPS ||
			reading.vps != vp_count || made->cpuid.vp_count != vp_count))
		result = -EPROTO;
	if (result) {
		free(made);
		return result;
	}
	*state = made;
	return 0;
}

/* ---- what was promised ---- */

static int vp_check_promise(const struct kvm_vp_state *vp, const struct cpuid_table *promised,
			    uint64_t host_capabilities, char *text, size_t size)
{
	for (uint32_t i = 0; i < vp->msr_count; i++)
		if (vp->msrs[i].index == KVM_MSR_ARCH_CAPABILITIES)
			return cpuid_check_arch_capabilities(promised, vp->msrs[i].data,
							     host_capabilities, text, size);
	return 0;
}

int kvm_state_check_promise(const struct kvm_state *state, const struct cpuid_table *host,
			    uint64_t host_capabilities, char *text, size_t size)
{
	const struct cpuid_table *promised = &state->cpuid.table;
	int result = cpuid_check(promised, host, text, size);

	for (uint32_t i = 0; i < state->vp_count && !result; i++)
		result = vp_check_promise(&state->vps[i], promised, host_capabilities, text, size);
	return result;
}
