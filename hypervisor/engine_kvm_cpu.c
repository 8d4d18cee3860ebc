/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the KVM engine promises a guest of its processor, and whether this host could keep what
 * another one promised.
 */
#include <errno.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "hypervisor/cpuid.h"
#include "hypervisor/cpuid_check.h"
#include "hypervisor/cpuid_state.h"
#include "hypervisor/engine_kvm_internal.h"
#include "hypervisor/kvm_msrs.h"

/* What KVM takes as the same frequency (tsc_tolerance_ppm). */
#define TSC_TOLERANCE_PPM 250
#define MISSING_BYTES	  320

/* KVM's list of leaves in our form. */
static int cpuid_fetch(int kvm_fd, unsigned long request, struct cpuid_table *table)
{
	struct kvm_cpuid2 *list =
		calloc(1, sizeof(*list) + CPUID_MAX_LEAVES * sizeof(list->entries[0]));
	int result;

	if (!list)
		return -ENOMEM;
	list->nent = CPUID_MAX_LEAVES;
	result = kvm_ioctl(kvm_fd, request, list);
	for (uint32_t i = 0; !result && i < list->nent; i++)
		table->leaves[i] = (struct cpuid_leaf){
			.function = list->entries[i].function,
			.index = list->entries[i].index,
			.indexed = list->entries[i].flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
			.eax = list->entries[i].eax,
			.ebx = list->entries[i].ebx,
			.ecx = list->entries[i].ecx,
			.edx = list->entries[i].edx,
		};
	if (!result)
		table->count = list->nent;
	free(list);
	return result;
}

int kvm_cpuid_offer(int kvm_fd, uint32_t vp_count, struct cpuid_table *table,
		    struct vm_error *error)
{
	struct cpuid_table *hyperv = calloc(1, sizeof(*hyperv));
	int result = hyperv ? 0 : -ENOMEM;

	if (!result)
		result = cpuid_fetch(kvm_fd, KVM_GET_SUPPORTED_CPUID, table);
	if (!result)
		result = cpuid_fetch(kvm_fd, KVM_GET_SUPPORTED_HV_CPUID, hyperv);
	if (!result)
		result = cpuid_make(table, hyperv, vp_count,
				    kvm_has(kvm_fd, KVM_CAP_TSC_DEADLINE_TIMER));
	free(hyperv);
	if (result)
		vm_error_set(error, EXIT_NO_KVM, result,
			     "no usable KVM: it does not offer enough of Hyper-V's interface: %s",
			     strerror(-result));
	return result;
}

/* What a new VP has; 0, which promises nothing, where KVM does not tell. */
uint64_t kvm_arch_capabilities_offer(int kvm_fd)
{
	struct kvm_msrs *msrs = calloc(1, sizeof(*msrs) + sizeof(msrs->entries[0]));
	uint64_t value = 0;

	if (msrs && kvm_has(kvm_fd, KVM_CAP_GET_MSR_FEATURES)) {
		msrs->nmsrs = 1;
		msrs->entries[0].index = KVM_MSR_ARCH_CAPABILITIES;
		if (kvm_ioctl_value(kvm_fd, KVM_GET_MSRS, (unsigned long)msrs) == 1)
			value = msrs->entries[0].data;
	}
	free(msrs);
	return value;
}

int kvm_cpu_save(struct engine_partition *partition, struct state_writer *writer)
{
	struct cpuid_state *state = calloc(1, sizeof(*state));

	if (!state)
		return -ENOMEM;
	state->vp_count = partition->config.vp_count;
	state->tsc_khz = partition->tsc_khz;
	state->table = *partition->cpuid;
	state->arch_capabilities = partition->arch_capabilities;
	cpuid_set_vp(&state->table, 0, state->vp_count);
	cpuid_state_write(state, writer);
	free(state);
	return 0;
}

/* The frequency that a guest's TSC has here unless KVM scales it. */
static int tsc_khz_read(int kvm_fd)
{
	int vm = kvm_ioctl_value(kvm_fd, KVM_CREATE_VM, 0);
	int vcpu;
	int khz;

	if (vm < 0)
		return vm;
	vcpu = kvm_ioctl_value(vm, KVM_CREATE_VCPU, 0);
	khz = vcpu < 0 ? vcpu : kvm_ioctl_value(vcpu, KVM_GET_TSC_KHZ, 0);
	if (vcpu >= 0)
		close(vcpu);
	close(vm);
	return khz;
}

static int tsc_check(int kvm_fd, uint32_t khz, struct vm_error *error)
{
	uint64_t tolerance = (uint64_t)khz * TSC_TOLERANCE_PPM / 1000000;
	int here;

	if (kvm_has(kvm_fd, KVM_CAP_TSC_CONTROL))
		return 0;
	here = tsc_khz_read(kvm_fd);
	if (here > 0 && (uint64_t)here + tolerance >= khz && (uint64_t)here <= khz + tolerance)
		return 0;
	return vm_error_set(error, EXIT_CANNOT_MOVE, -EOPNOTSUPP,
			    "the guest's TSC runs at %u kHz, this host's at %d kHz, and its "
			    "processor cannot scale it: use hosts of the same frequency",
			    khz, here);
}

static int promise_check(int kvm_fd, const struct cpuid_state *state, struct cpuid_table *offer,
			 struct vm_error *error)
{
	int limit = ioctl(kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_MAX_VCPUS);
	char missing[MISSING_BYTES];
	int result;

	if (limit < 0 || state->vp_count > (uint32_t)limit)
		return vm_error_set(error, EXIT_CANNOT_MOVE, -EOPNOTSUPP,
				    "the guest has %u VPs; this host's KVM runs at most %d",
				    state->vp_count, limit);
	result = kvm_cpuid_offer(kvm_fd, state->vp_count, offer, error);
	if (result)
		return result;
	result = cpuid_check(&state->table, offer, missing, sizeof(missing));
	if (!result && state->arch_capabilities_known)
		result = cpuid_check_arch_capabilities(&state->table, state->arch_capabilities,
						       kvm_arch_capabilities_offer(kvm_fd), missing,
						       sizeof(missing));
	if (result)
		return vm_error_set(error, EXIT_CANNOT_MOVE, result,
				    "this host's processor lacks what the guest was promised: %s",
				    missing);
	return tsc_check(kvm_fd, state->tsc_khz, error);
}

int kvm_cpu_check(struct state_reader *section, struct vm_error *error)
{
	struct cpuid_state *state = calloc(1, sizeof(*state));
	struct cpuid_table *offer = calloc(1, sizeof(*offer));
	int kvm_fd = -1;
	int result = state && offer ? 0 : -ENOMEM;

	if (result)
		vm_error_set(error, EXIT_NO_MEMORY, result, "out of memory");
	if (!result) {
		result = cpuid_state_read(section, state);
		if (result)
			vm_error_set(error, EXIT_BAD_STATE, result,
				     "what the guest was promised of its processor is unreadable");
	}
	if (!result) {
		kvm_fd = kvm_open(error);
		result = kvm_fd < 0 ? kvm_fd : promise_check(kvm_fd, state, offer, error);
	}
	if (kvm_fd >= 0)
		close(kvm_fd);
	free(offer);
	free(state);
	return result;
}
