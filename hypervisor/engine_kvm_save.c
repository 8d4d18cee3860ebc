/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Fetching a paused partition's state from KVM. What the state consists of and how it is written:
 * kvm_state.h. Source: Linux Documentation/virt/kvm/api.rst.
 */
#include <errno.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

#include "base/deadline.h"
#include "hypervisor/engine_kvm_internal.h"
#include "hypervisor/kvm_state.h"
#include "wire/tlfs.h"

#define MSR_TSC 0x10u

/* Room for every part of one VP. */
struct vp_buffer {
	struct kvm_vp_state state;
	struct kvm_mp_state mp_state;
	struct kvm_regs regs;
	union {
		struct kvm_sregs sregs;
		struct kvm_sregs2 sregs2;
	};
	struct kvm_xcrs xcrs;
	struct kvm_debugregs debugregs;
	struct kvm_lapic_state lapic;
	struct kvm_vcpu_events events;
	void *xsave;
	size_t xsave_bytes;
	struct kvm_nested_state *nested;
	size_t nested_bytes;
};

/* What KVM lists, to tell which MSRs it has. */
struct msr_list {
	struct kvm_msr_list *list; /* NULL: not fetched */
};

static int fail(struct vm_error *error, int result, const char *what, uint32_t vp)
{
	return vm_error_set(error, EXIT_INTERNAL, result, "cannot read the %s of VP %u: %s", what,
			    vp, strerror(-result));
}

/* ---- MSRs ---- */

static int msr_list_fetch(int kvm_fd, struct msr_list *msrs)
{
	struct kvm_msr_list count = {0};
	int result = kvm_ioctl(kvm_fd, KVM_GET_MSR_INDEX_LIST, &count);

	if (result != -E2BIG && result)
		return result;
	msrs->list = calloc(1, sizeof(count) + count.nmsrs * sizeof(msrs->list->indices[0]));
	if (!msrs->list)
		return -ENOMEM;
	msrs->list->nmsrs = count.nmsrs;
	return kvm_ioctl(kvm_fd, KVM_GET_MSR_INDEX_LIST, msrs->list);
}

static bool msr_is_listed(const struct msr_list *msrs, uint32_t index)
{
	for (uint32_t i = 0; i < msrs->list->nmsrs; i++)
		if (msrs->list->indices[i] == index)
			return true;
	return false;
}

/* The MSRs that this VP may have, in the order of restoring. */
static uint32_t msrs_choose(const struct msr_list *msrs, uint32_t vp, struct kvm_msr_entry *entries)
{
	uint32_t count = 0;

	for (size_t i = 0; i < kvm_msr_range_count; i++) {
		const struct kvm_msr_range *range = &kvm_msr_ranges[i];

		if (range->flags & KVM_MSR_PARTITION_WIDE && vp != 0)
			continue;
		for (uint32_t j = 0; j <= range->last - range->first && count < KVM_MSRS_MAX; j++) {
			uint32_t index = range->flags & KVM_MSR_DOWNWARD ? range->last - j
									 : range->first + j;

			if (range->flags & KVM_MSR_UNLISTED || msr_is_listed(msrs, index))
				entries[count++] = (struct kvm_msr_entry){.index = index};
		}
	}
	return count;
}

/* Fills entries; those that this VP turns out not to have are dropped. */
static int msrs_get(const struct kvm_vp *vp, struct kvm_msr_entry *entries, uint32_t *count)
{
	struct kvm_msrs *msrs = calloc(1, sizeof(*msrs) + *count * sizeof(msrs->entries[0]));
	uint32_t kept = 0;
	uint32_t next = 0;
	int result = 0;

	if (!msrs)
		return -ENOMEM;
	while (next < *count) {
		msrs->nmsrs = *count - next < KVM_MSRS_A_CALL ? *count - next : KVM_MSRS_A_CALL;
		memcpy(msrs->entries, &entries[next], msrs->nmsrs * sizeof(entries[0]));
		result = kvm_ioctl(vp->fd, KVM_GET_MSRS, msrs); /* stops at the first that fails */
		if (result < 0 || (uint32_t)result > msrs->nmsrs)
			break;
		memcpy(&entries[kept], msrs->entries, (size_t)result * sizeof(entries[0]));
		kept += (uint32_t)result;
		next += (uint32_t)result + ((uint32_t)result < msrs->nmsrs); /* that one */
	}
	free(msrs);
	if (result < 0)
		return result;
	*count = kept;
	return 0;
}

/* ---- a VP ---- */

static int part_get(const struct kvm_vp *vp, struct kvm_vp_state *state, enum kvm_vp_part part,
		    unsigned long request, void *to, size_t bytes, struct vm_error *error)
{
	int result = kvm_ioctl(vp->fd, request, to);

	if (result)
		return fail(error, result, kvm_part_layouts[part].name, vp->index);
	state->parts[part] = to;
	state->part_bytes[part] = bytes;
	return 0;
}

#define PART_GET(part, request, field)                                                             \
	part_get(vp, state, part, request, &buffer->field, sizeof(buffer->field), error)

static int system_registers_get(const struct kvm_vp *vp, struct vp_buffer *buffer,
				struct vm_error *error)
{
	struct kvm_vp_state *state = &buffer->state;

	if (kvm_has(vp->partition->kvm_fd, KVM_CAP_SREGS2))
		return PART_GET(KVM_PART_SREGS2, KVM_GET_SREGS2, sregs2);
	return PART_GET(KVM_PART_SREGS, KVM_GET_SREGS, sregs);
}

static int floating_point_get(const struct kvm_vp *vp, struct vp_buffer *buffer,
			      struct vm_error *error)
{
	struct kvm_vp_state *state = &buffer->state;
	int result;

	result = part_get(vp, state, KVM_PART_XSAVE,
			  buffer->xsave_bytes > sizeof(struct kvm_xsave) ? KVM_GET_XSAVE2
									 : KVM_GET_XSAVE,
			  buffer->xsave, buffer->xsave_bytes, error);
	if (result || !kvm_has(vp->partition->kvm_fd, KVM_CAP_XCRS))
		return result;
	return PART_GET(KVM_PART_XCRS, KVM_GET_XCRS, xcrs);
}

/* Whether a VP uses nested virtualization at all; most do not, and need nothing saved. */
static bool nested_matters(const struct kvm_nested_state *nested)
{
	switch (nested->format) {
	case KVM_STATE_NESTED_FORMAT_SVM:
		return nested->flags != KVM_STATE_NESTED_GIF_SET;
	case KVM_STATE_NESTED_FORMAT_VMX:
		return nested->hdr.vmx.vmxon_pa != UINT64_MAX;
	default:
		return true;
	}
}

static int nested_get(const struct kvm_vp *vp, struct vp_buffer *buffer, struct vm_error *error)
{
	struct kvm_vp_state *state = &buffer->state;
	int result;

	if (!buffer->nested)
		return 0;
	buffer->nested->size = (uint32_t)buffer->nested_bytes;
	result = part_get(vp, state, KVM_PART_NESTED, KVM_GET_NESTED_STATE, buffer->nested,
			  buffer->nested_bytes, error);
	if (result)
		return result;
	state->part_bytes[KVM_PART_NESTED] = buffer->nested->size;
	if (!nested_matters(buffer->nested))
		state->parts[KVM_PART_NESTED] = NULL;
	return 0;
}

/* How far this VP's TSC is ahead of VP 0's; 0 where KVM does not tell. */
static uint64_t tsc_ahead_get(const struct kvm_vp *vp)
{
	uint64_t first;
	uint64_t own;

	if (kvm_tsc_offset_get(&vp->partition->vps[0], &first) || kvm_tsc_offset_get(vp, &own))
		return 0;
	return own - first;
}

static int vp_get(const struct kvm_vp *vp, const struct msr_list *msrs, struct vp_buffer *buffer,
		  struct vm_error *error)
{
	struct kvm_vp_state *state = &buffer->state;
	int result;

	memset(state, 0, sizeof(*state));
	state->index = vp->index;
	state->tsc_ahead = tsc_ahead_get(vp);
	/* first: KVM works off a pending INIT or SIPI when it is asked for this */
	result = PART_GET(KVM_PART_MP_STATE, KVM_GET_MP_STATE, mp_state);
	if (!result)
		result = PART_GET(KVM_PART_REGS, KVM_GET_REGS, regs);
	if (!result)
		result = system_registers_get(vp, buffer, error);
	if (!result)
		result = floating_point_get(vp, buffer, error);
	if (!result)
		result = PART_GET(KVM_PART_DEBUGREGS, KVM_GET_DEBUGREGS, debugregs);
	if (!result)
		result = PART_GET(KVM_PART_LAPIC, KVM_GET_LAPIC, lapic);
	if (!result)
		result = nested_get(vp, buffer, error);
	if (!result)
		result = PART_GET(KVM_PART_EVENTS, KVM_GET_VCPU_EVENTS, events);
	if (result)
		return result;
	if (!buffer->events.triple_fault.pending) /* then an older kernel can take it too */
		buffer->events.flags &= ~(uint32_t)KVM_VCPUEVENT_VALID_TRIPLE_FAULT;
	state->msr_count = msrs_choose(msrs, vp->index, state->msrs);
	result = msrs_get(vp, state->msrs, &state->msr_count);
	return result ? fail(error, result, "MSRs", vp->index) : 0;
}

/* ---- the partition ---- */

static int chips_save(const struct engine_partition *partition, struct state_writer *writer,
		      struct vm_error *error)
{
	for (uint32_t id = 0; id < KVM_CHIP_COUNT; id++) {
		struct kvm_irqchip chip = {.chip_id = id};
		int result = kvm_ioctl(partition->vm_fd, KVM_GET_IRQCHIP, &chip);

		if (result)
			return vm_error_set(error, EXIT_INTERNAL, result,
					    "cannot read interrupt controller %u: %s", id,
					    strerror(-result));
		kvm_chip_state_write(&chip, writer);
	}
	return 0;
}

static uint64_t realtime_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * NS_PER_SEC + (uint64_t)now.tv_nsec;
}

/* The reference time is never behind what the guest could have read last: from the reference TSC
 * page, whose arithmetic is not quite the clock's. */
static int clock_get(const struct engine_partition *partition, struct kvm_clock_state *clock)
{
	const struct kvm_vp *first = &partition->vps[0];
	struct kvm_clock_data data = {0};
	uint64_t reference_100ns = 0;
	int result = kvm_msr_get(first, HV_MSR_TIME_REF_COUNT, &reference_100ns);

	if (!result)
		result = kvm_msr_get(first, MSR_TSC, &clock->tsc);
	if (!result)
		result = kvm_ioctl(partition->vm_fd, KVM_GET_CLOCK, &data);
	if (result)
		return result;
	clock->clock_ns = data.clock;
	if (clock->clock_ns / 100 <= reference_100ns)
		clock->clock_ns = (reference_100ns + 1) * 100;
	clock->realtime_ns = data.flags & KVM_CLOCK_REALTIME ? data.realtime : realtime_ns();
	return 0;
}

static int buffer_make(const struct engine_partition *partition, struct vp_buffer *buffer)
{
	int nested = ioctl(partition->kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_NESTED_STATE);
	int xsave2 = ioctl(partition->vm_fd, KVM_CHECK_EXTENSION, KVM_CAP_XSAVE2);

	/* not KVM_GET_FPU where there is no XSAVE: it leaves out MXCSR */
	buffer->xsave_bytes = sizeof(struct kvm_xsave);
	if (xsave2 > (int)sizeof(struct kvm_xsave))
		buffer->xsave_bytes = (size_t)xsave2;
	buffer->xsave = calloc(1, buffer->xsave_bytes);
	if (!buffer->xsave)
		return -ENOMEM;
	if (nested >= (int)sizeof(struct kvm_nested_state)) {
		buffer->nested_bytes = (size_t)nested;
		buffer->nested = calloc(1, buffer->nested_bytes);
		if (!buffer->nested)
			return -ENOMEM;
	}
	return 0;
}

static int vps_save(struct engine_partition *partition, struct state_writer *writer,
		    struct vm_error *error)
{
	struct vp_buffer *buffer = calloc(1, sizeof(*buffer));
	struct msr_list msrs = {0};
	int result = buffer ? buffer_make(partition, buffer) : -ENOMEM;

	if (!result)
		result = msr_list_fetch(partition->kvm_fd, &msrs);
	if (result)
		vm_error_set(error, EXIT_INTERNAL, result, "cannot save the VPs: %s",
			     strerror(-result));
	for (size_t i = 0; i < partition->vp_count && !result; i++) {
		result = vp_get(&partition->vps[i], &msrs, buffer, error);
		if (!result)
			kvm_vp_state_write(&buffer->state, writer);
	}
	free(msrs.list);
	if (buffer) {
		free(buffer->xsave);
		free(buffer->nested);
	}
	free(buffer);
	return result;
}

int kvm_partition_save(struct engine_partition *partition, struct state_writer *writer,
		       struct vm_error *error)
{
	struct kvm_clock_state clock = {0};
	int result;

	result = kvm_cpu_save(partition, writer);
	if (!result)
		result = clock_get(partition, &clock);
	if (result)
		return vm_error_set(error, EXIT_INTERNAL, result,
				    "cannot read the partition's clock: %s", strerror(-result));
	kvm_clock_state_write(&clock, writer);
	result = chips_save(partition, writer, error);
	return result ? result : vps_save(partition, writer, error);
}
