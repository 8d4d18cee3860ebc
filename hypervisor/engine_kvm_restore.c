/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Giving a new partition a saved state. The bytes are read and checked as a whole first
 * (kvm_state.c), then they reach KVM in an order that it asks for:
 *
 *   CPUID, since KVM judges registers and MSRs by it; TSC frequency; then per VP the system
 *   registers (the LAPIC's mode is among them), MSRs that nothing waits for, registers; then for
 *   all VPs the TSC, and the clock, which wants the TSCs matched; then the reference TSC page,
 * which is computed of the clock; then LAPICs, before anything that may raise an interrupt: timers,
 * the SynIC, the IOAPIC; and last what is pending, and whether the VP runs at all.
 *
 * None of these writes zeroes a SynIC page: KVM leaves them alone when it is not the guest who
 * writes the MSR. Source: Linux Documentation/virt/kvm/api.rst, arch/x86/kvm.
 */
#include <errno.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

#include "base/deadline.h"
#include "base/log.h"
#include "hypervisor/engine_kvm_internal.h"
#include "hypervisor/kvm_state.h"
#include "wire/tlfs.h"

#define LOG_COMPONENT "engine"

#define MSR_TSC 0x10u

/*
 * A guest's clock goes on by the time that it was away, as long as that was a move. After longer (a
 * saved VM), or by two hosts' clocks that disagree, it goes on where it was.
 */
#define AWAY_MAX_NS (5 * NS_PER_SEC)

static int fail(struct vm_error *error, int result, const char *what, uint32_t vp)
{
	return vm_error_set(error, EXIT_BAD_STATE, result, "cannot restore the %s of VP %u: %s",
			    what, vp, strerror(-result));
}

/* ---- parts ---- */

/* The bytes of a part lie anywhere; the kernel's structures want their alignment. */
static int part_set(const struct kvm_vp *vp, const struct kvm_vp_state *state,
		    enum kvm_vp_part part, unsigned long request, struct vm_error *error)
{
	void *copy;
	int result;

	if (!state->parts[part])
		return 0;
	copy = malloc(state->part_bytes[part]);
	if (!copy)
		return fail(error, -ENOMEM, kvm_part_layouts[part].name, vp->index);
	memcpy(copy, state->parts[part], state->part_bytes[part]);
	result = kvm_ioctl(vp->fd, request, copy);
	free(copy);
	return result ? fail(error, result, kvm_part_layouts[part].name, vp->index) : 0;
}

/* A kernel before 5.14 takes the older structure: the same up to the page directory pointers. */
static int sregs2_set_as_sregs(const struct kvm_vp *vp, const struct kvm_vp_state *state,
			       struct vm_error *error)
{
	const size_t shared = offsetof(struct kvm_sregs, interrupt_bitmap);
	struct kvm_sregs sregs = {0};
	int result;

	_Static_assert(offsetof(struct kvm_sregs, interrupt_bitmap) ==
			       offsetof(struct kvm_sregs2, flags),
		       "system registers begin alike");
	memcpy(&sregs, state->parts[KVM_PART_SREGS2], shared);
	result = kvm_ioctl(vp->fd, KVM_SET_SREGS, &sregs);
	return result ? fail(error, result, "system registers", vp->index) : 0;
}

static int system_registers_set(const struct kvm_vp *vp, const struct kvm_vp_state *state,
				struct vm_error *error)
{
	if (state->parts[KVM_PART_SREGS])
		return part_set(vp, state, KVM_PART_SREGS, KVM_SET_SREGS, error);
	if (!kvm_has(vp->partition->kvm_fd, KVM_CAP_SREGS2))
		return sregs2_set_as_sregs(vp, state, error);
	return part_set(vp, state, KVM_PART_SREGS2, KVM_SET_SREGS2, error);
}

/* The kernel reads as many bytes as its own image has: a shorter one is filled up with zeros. */
static int xsave_set(const struct kvm_vp *vp, const struct kvm_vp_state *state,
		     struct vm_error *error)
{
	int wanted = ioctl(vp->partition->vm_fd, KVM_CHECK_EXTENSION, KVM_CAP_XSAVE2);
	size_t bytes = state->part_bytes[KVM_PART_XSAVE];
	void *image;
	int result;

	if (wanted > 0 && (size_t)wanted > bytes)
		bytes = (size_t)wanted;
	image = calloc(1, bytes);
	if (!image)
		return fail(error, -ENOMEM, "XSAVE image", vp->index);
	memcpy(image, state->parts[KVM_PART_XSAVE], state->part_bytes[KVM_PART_XSAVE]);
	result = kvm_ioctl(vp->fd, KVM_SET_XSAVE, image);
	free(image);
	return result ? fail(error, result, "XSAVE image", vp->index) : 0;
}

/* ---- MSRs ---- */

/* One that KVM refuses is none that the guest could miss, if it has that value already. */
static int msr_forgive(const struct kvm_vp *vp, const struct kvm_msr_entry *entry,
		       struct vm_error *error)
{
	uint64_t value;

	if (entry->data == 0 || (!kvm_msr_get(vp, entry->index, &value) && value == entry->data))
		return 0;
	return vm_error_set(error, EXIT_CANNOT_MOVE, -EOPNOTSUPP,
			    "this host's KVM refuses MSR 0x%x of VP %u", entry->index, vp->index);
}

/* Up to as many as KVM takes at once; it stops at the first that it refuses. Returns how many are
 * done with. */
static int msrs_set_some(const struct kvm_vp *vp, struct kvm_msrs *msrs,
			 const struct kvm_msr_entry *wanted, uint32_t count, struct vm_error *error)
{
	int done;

	msrs->nmsrs = count < KVM_MSRS_A_CALL ? count : KVM_MSRS_A_CALL;
	memcpy(msrs->entries, wanted, msrs->nmsrs * sizeof(wanted[0]));
	done = kvm_ioctl(vp->fd, KVM_SET_MSRS, msrs);
	if (done < 0)
		return fail(error, done, "MSRs", vp->index);
	if ((uint32_t)done < msrs->nmsrs) {
		int result = msr_forgive(vp, &wanted[done], error);

		return result ? result : done + 1;
	}
	return done;
}

static int msrs_set(const struct kvm_vp *vp, const struct kvm_vp_state *state,
		    enum kvm_msr_stage stage, struct vm_error *error)
{
	struct kvm_msr_entry *wanted = calloc(KVM_MSRS_MAX, sizeof(*wanted));
	struct kvm_msrs *msrs =
		calloc(1, sizeof(*msrs) + KVM_MSRS_A_CALL * sizeof(msrs->entries[0]));
	uint32_t count = 0;
	uint32_t next = 0;
	int result = 0;

	if (!msrs || !wanted) {
		result = fail(error, -ENOMEM, "MSRs", vp->index);
		goto out;
	}
	for (uint32_t i = 0; i < state->msr_count; i++)
		if (kvm_msr_find(state->msrs[i].index)->stage == stage)
			wanted[count++] = state->msrs[i];
	while (next < count && result >= 0) {
		result = msrs_set_some(vp, msrs, &wanted[next], count - next, error);
		if (result >= 0)
			next += (uint32_t)result;
	}
out:
	free(msrs);
	free(wanted);
	return result < 0 ? result : 0;
}

/* ---- TSC and clock ---- */

static uint64_t away_ns(const struct kvm_clock_state *clock)
{
	struct timespec now;
	uint64_t now_ns;

	clock_gettime(CLOCK_REALTIME, &now);
	now_ns = (uint64_t)now.tv_sec * NS_PER_SEC + (uint64_t)now.tv_nsec;
	if (clock->realtime_ns == 0 || now_ns < clock->realtime_ns ||
	    now_ns - clock->realtime_ns > AWAY_MAX_NS)
		return 0;
	return now_ns - clock->realtime_ns;
}

/*
 * All TSCs to the same instant. By their offsets: a written TSC is off by the time until the next
 * VP's is written, and KVM may take a value near its own for an attempt to synchronize and ignore
 * it. Kernels before 5.16 have no offsets.
 */
static int tscs_set(const struct engine_partition *partition, const struct kvm_state *state,
		    uint64_t tsc)
{
	const struct kvm_vp *first = &partition->vps[0];
	uint64_t offset;
	uint64_t now;
	int result = 0;

	if (kvm_tsc_offset_get(first, &offset)) {
		for (uint32_t i = 0; i < state->vp_count && !result; i++)
			result = kvm_msr_set(&partition->vps[i], MSR_TSC,
					     tsc + state->vps[i].tsc_ahead);
		return result;
	}
	result = kvm_msr_get(first, MSR_TSC, &now);
	for (uint32_t i = 0; i < state->vp_count && !result; i++) {
		uint64_t own = offset + tsc - now + state->vps[i].tsc_ahead;

		result = kvm_tsc_offset_set(&partition->vps[i], own);
	}
	return result;
}

static int clock_set(const struct engine_partition *partition, const struct kvm_state *state,
		     struct vm_error *error)
{
	uint64_t away = away_ns(&state->clock);
	uint64_t tsc = state->clock.tsc + away * state->cpuid.tsc_khz / NS_PER_MS;
	struct kvm_clock_data data = {.clock = state->clock.clock_ns + away};
	int result = tscs_set(partition, state, tsc);

	if (!result)
		result = kvm_ioctl(partition->vm_fd, KVM_SET_CLOCK, &data);
	return result ? vm_error_set(error, EXIT_BAD_STATE, result,
				     "cannot restore the partition's clock: %s", strerror(-result))
		      : 0;
}

static int tsc_khz_set(const struct kvm_vp *vp, uint32_t khz, struct vm_error *error)
{
	int here = kvm_ioctl_value(vp->fd, KVM_GET_TSC_KHZ, 0);
	int result = 0;

	if (here <= 0 || (uint32_t)here != khz)
		result = kvm_ioctl_value(vp->fd, KVM_SET_TSC_KHZ, khz);
	if (result)
		return fail(error, result, "TSC frequency", vp->index);
	vp->partition->tsc_khz = khz;
	return 0;
}

/* ---- the partition ---- */

static int vp_restore_early(const struct kvm_vp *vp, const struct kvm_state *all,
			    struct vm_error *error)
{
	const struct kvm_vp_state *state = &all->vps[vp->index];
	int result = kvm_vp_set_cpuid(vp);

	if (result)
		return fail(error, result, "CPUID", vp->index);
	result = tsc_khz_set(vp, all->cpuid.tsc_khz, error);
	if (!result)
		result = system_registers_set(vp, state, error);
	if (!result)
		result = msrs_set(vp, state, KVM_MSR_EARLY, error);
	if (!result)
		result = part_set(vp, state, KVM_PART_NESTED, KVM_SET_NESTED_STATE, error);
	if (!result)
		result = part_set(vp, state, KVM_PART_REGS, KVM_SET_REGS, error);
	if (!result)
		result = xsave_set(vp, state, error);
	if (!result)
		result = part_set(vp, state, KVM_PART_XCRS, KVM_SET_XCRS, error);
	if (!result)
		result = part_set(vp, state, KVM_PART_DEBUGREGS, KVM_SET_DEBUGREGS, error);
	return result;
}

static int vp_restore_late(struct kvm_vp *vp, const struct kvm_state *all, struct vm_error *error)
{
	const struct kvm_vp_state *state = &all->vps[vp->index];
	int result = part_set(vp, state, KVM_PART_LAPIC, KVM_SET_LAPIC, error);

	if (!result)
		result = msrs_set(vp, state, KVM_MSR_LATE, error);
	if (!result)
		result = part_set(vp, state, KVM_PART_EVENTS, KVM_SET_VCPU_EVENTS, error);
	if (!result)
		result = part_set(vp, state, KVM_PART_MP_STATE, KVM_SET_MP_STATE, error);
	return result;
}

static int chips_restore(const struct engine_partition *partition, const struct kvm_state *state,
			 struct vm_error *error)
{
	for (uint32_t id = 0; id < KVM_CHIP_COUNT; id++) {
		struct kvm_irqchip chip = state->chips[id];
		int result = kvm_ioctl(partition->vm_fd, KVM_SET_IRQCHIP, &chip);

		if (result)
			return vm_error_set(error, EXIT_BAD_STATE, result,
					    "cannot restore interrupt controller %u: %s", id,
					    strerror(-result));
	}
	return 0;
}

static int state_apply(struct engine_partition *partition, const struct kvm_state *state,
		       struct vm_error *error)
{
	int result = 0;

	*partition->cpuid = state->cpuid.table; /* the source's, to the guest's end */
	for (uint32_t i = 0; i < state->vps[0].msr_count; i++)
		if (state->vps[0].msrs[i].index == KVM_MSR_ARCH_CAPABILITIES)
			partition->arch_capabilities = state->vps[0].msrs[i].data;
	for (uint32_t i = 0; i < state->vp_count && !result; i++)
		result = vp_restore_early(&partition->vps[i], state, error);
	if (!result)
		result = clock_set(partition, state, error);
	if (!result)
		result = msrs_set(&partition->vps[0], &state->vps[0], KVM_MSR_CLOCK, error);
	for (uint32_t i = 0; i < state->vp_count && !result; i++)
		result = vp_restore_late(&partition->vps[i], state, error);
	if (!result)
		result = chips_restore(partition, state, error);
	return result;
}

/* The state's own promise, not the one that was looked at before it: hostile bytes may differ. A
 * new partition's CPUID is what this host offers. */
static int promise_check(const struct engine_partition *partition, const struct kvm_state *state,
			 struct vm_error *error)
{
	char missing[VM_MESSAGE_BYTES / 2];
	int result = kvm_state_check_promise(state, partition->cpuid, partition->arch_capabilities,
					     missing, sizeof(missing));

	return result ? vm_error_set(error, EXIT_CANNOT_MOVE, result,
				     "this host's processor lacks what the guest was promised: %s",
				     missing)
		      : 0;
}

int kvm_partition_restore(struct engine_partition *partition, struct state_reader *reader,
			  struct vm_error *error)
{
	struct kvm_state *state;
	int result = kvm_state_read(reader, partition->config.vp_count, &state);

	if (result == -ENOMEM)
		return vm_error_set(error, EXIT_NO_MEMORY, result, "out of memory");
	if (result)
		return vm_error_set(error, EXIT_BAD_STATE, result,
				    result == -EOPNOTSUPP
					    ? "the VPs' saved state is of a newer version"
					    : "the VPs' saved state is malformed");
	result = promise_check(partition, state, error);
	if (!result)
		result = state_apply(partition, state, error);
	free(state);
	return result;
}
