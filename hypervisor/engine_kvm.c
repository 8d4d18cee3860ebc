/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The KVM engine: a partition is a KVM VM with interrupt controllers, timers and SynIC in the
 * kernel. A guest's kick reaches an eventfd, and an eventfd the guest's SINT, without an exit to
 * this process. Source: Linux Documentation/virt/kvm/api.rst.
 */
#include <errno.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "hypervisor/cpuid.h"
#include "hypervisor/engine_kvm_internal.h"
#include "vmbus/guest_memory.h"
#include "wire/tlfs.h"

/* Three pages for the TSS that VT-x wants for real mode, one for its identity map: inside the hole.
 */
#define TSS_GPA	     0xfffbd000u
#define IDENTITY_GPA UINT64_C(0xfffbc000)

#define SINT_GSI(vp) (KVM_LINE_COUNT + (vp))

int kvm_memory_set(const struct engine_partition *partition, uint32_t flags)
{
	const struct guest_memory *memory = partition->config.memory;
	int result = 0;

	for (size_t i = 0; i < guest_memory_region_count(memory) && !result; i++) {
		const struct guest_memory_region *region = guest_memory_region_at(memory, i);
		struct kvm_userspace_memory_region slot = {
			.slot = (uint32_t)i,
			.flags = flags,
			.guest_phys_addr = region->gpa,
			.memory_size = region->size_bytes,
			.userspace_addr = (uint64_t)(uintptr_t)region->hva,
		};

		result = kvm_ioctl(partition->vm_fd, KVM_SET_USER_MEMORY_REGION, &slot);
	}
	return result;
}

/* IOAPIC pins as they are, then one GSI for each VP's SINT2. After SYNIC2: KVM drops the routes of
 * a SynIC that is off. */
static int routes_set(const struct engine_partition *partition)
{
	size_t count = KVM_LINE_COUNT + partition->vp_count;
	struct kvm_irq_routing *routing =
		calloc(1, sizeof(*routing) + count * sizeof(routing->entries[0]));
	int result;

	if (!routing)
		return -ENOMEM;
	routing->nr = (uint32_t)count;
	for (uint32_t i = 0; i < count; i++) {
		struct kvm_irq_routing_entry *entry = &routing->entries[i];

		entry->gsi = i;
		if (i < KVM_LINE_COUNT) {
			entry->type = KVM_IRQ_ROUTING_IRQCHIP;
			entry->u.irqchip.irqchip = KVM_IRQCHIP_IOAPIC;
			entry->u.irqchip.pin = i;
		} else {
			entry->type = KVM_IRQ_ROUTING_HV_SINT;
			entry->u.hv_sint.vcpu = i - KVM_LINE_COUNT;
			entry->u.hv_sint.sint = HV_VMBUS_SINT;
		}
	}
	result = kvm_ioctl(partition->vm_fd, KVM_SET_GSI_ROUTING, routing);
	free(routing);
	return result;
}

static int irqfd_assign(const struct engine_partition *partition, uint32_t gsi, int fd,
			int resample_fd)
{
	struct kvm_irqfd irqfd = {.fd = (uint32_t)fd, .gsi = gsi};

	if (resample_fd >= 0) {
		irqfd.flags = KVM_IRQFD_FLAG_RESAMPLE;
		irqfd.resamplefd = (uint32_t)resample_fd;
	}
	return kvm_ioctl(partition->vm_fd, KVM_IRQFD, &irqfd);
}

static int sint_fds_make(struct engine_partition *partition)
{
	int result = 0;

	for (uint32_t i = 0; i < partition->vp_count && !result; i++) {
		struct engine_sint_fds *fds = &partition->vps[i].sint;

		fds->raise = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		fds->eom = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (fds->raise < 0 || fds->eom < 0)
			return -errno;
		result = irqfd_assign(partition, SINT_GSI(i), fds->raise, fds->eom);
	}
	return result;
}

/* A guest's write to the crash control MSR comes to us whole; KVM would keep one bit of it. */
static int crash_msr_intercept(const struct engine_partition *partition)
{
	struct kvm_enable_cap cap = {.cap = KVM_CAP_X86_USER_SPACE_MSR,
				     .args = {KVM_MSR_EXIT_REASON_FILTER}};
	uint8_t denied = 0;
	struct kvm_msr_filter filter = {
		.flags = KVM_MSR_FILTER_DEFAULT_ALLOW,
		.ranges[0] = {.flags = KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE,
			      .nmsrs = 1,
			      .base = HV_MSR_CRASH_CTL,
			      .bitmap = &denied},
	};
	int result;

	if (!kvm_has(partition->kvm_fd, KVM_CAP_X86_MSR_FILTER))
		return 0; /* crashes are then reported without the guest's text */
	result = kvm_ioctl(partition->vm_fd, KVM_ENABLE_CAP, &cap);
	return result ? result : kvm_ioctl(partition->vm_fd, KVM_X86_SET_MSR_FILTER, &filter);
}

/* So that an exception or a triple fault on its way is part of the saved state. Older kernels do
 * without. */
static void events_enable(const struct engine_partition *partition)
{
	static const uint32_t wanted[] = {KVM_CAP_EXCEPTION_PAYLOAD,
					  KVM_CAP_X86_TRIPLE_FAULT_EVENT};

	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
		struct kvm_enable_cap cap = {.cap = wanted[i], .args = {1}};

		if (kvm_has(partition->kvm_fd, (int)wanted[i]))
			(void)kvm_ioctl(partition->vm_fd, KVM_ENABLE_CAP, &cap);
	}
}

static int machine_make(struct engine_partition *partition)
{
	uint64_t identity = IDENTITY_GPA;
	int result;

	partition->vm_fd = kvm_ioctl_value(partition->kvm_fd, KVM_CREATE_VM, 0);
	if (partition->vm_fd < 0)
		return partition->vm_fd;
	result = kvm_ioctl_value(partition->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (result < 0)
		return result;
	partition->run_bytes = (size_t)result;
	result = kvm_ioctl(partition->vm_fd, KVM_SET_IDENTITY_MAP_ADDR, &identity);
	if (!result)
		result = kvm_ioctl_value(partition->vm_fd, KVM_SET_TSS_ADDR, TSS_GPA);
	if (!result)
		result = kvm_ioctl_value(partition->vm_fd, KVM_CREATE_IRQCHIP, 0);
	if (!result)
		result = kvm_memory_set(partition, 0);
	events_enable(partition);
	kvm_dirty_choose(partition);
	return result;
}

static int vps_make(struct engine_partition *partition)
{
	int result = 0;

	for (uint32_t i = 0; i < partition->config.vp_count && !result; i++)
		result = kvm_vp_create(partition);
	if (!result)
		result = routes_set(partition);
	if (!result)
		result = sint_fds_make(partition);
	if (!result)
		result = crash_msr_intercept(partition);
	return result;
}

static void partition_destroy(struct engine_partition *partition)
{
	if (!partition)
		return;
	kvm_vps_stop(partition);
	for (size_t i = 0; i < partition->vp_count; i++)
		kvm_vp_destroy(&partition->vps[i]);
	for (size_t i = 0; i < KVM_LINE_COUNT; i++)
		if (partition->line_fds[i] >= 0)
			close(partition->line_fds[i]);
	if (partition->vm_fd >= 0)
		close(partition->vm_fd);
	if (partition->kvm_fd >= 0)
		close(partition->kvm_fd);
	kvm_dirty_fini(&partition->dirty);
	kvm_run_control_fini(&partition->control);
	free(partition->cpuid);
	free(partition);
}

static int partition_create(const struct engine_config *config, struct engine_partition **partition,
			    struct vm_error *error)
{
	struct engine_partition *made =
		calloc(1, sizeof(*made) + config->vp_count * sizeof(made->vps[0]));
	int result = -ENOMEM;

	if (!made)
		return vm_error_set(error, EXIT_NO_MEMORY, result, "no memory for a partition");
	made->config = *config;
	made->kvm_fd = -1;
	made->vm_fd = -1;
	for (size_t i = 0; i < KVM_LINE_COUNT; i++)
		made->line_fds[i] = -1;
	kvm_run_control_init(&made->control);
	kvm_dirty_init(&made->dirty);
	made->cpuid = calloc(1, sizeof(*made->cpuid));
	if (!made->cpuid) {
		vm_error_set(error, EXIT_NO_MEMORY, result, "no memory for a partition");
		goto err_destroy;
	}
	made->kvm_fd = kvm_open(error);
	result = made->kvm_fd < 0
			 ? made->kvm_fd
			 : kvm_cpuid_offer(made->kvm_fd, config->vp_count, made->cpuid, error);
	if (result)
		goto err_destroy;
	made->arch_capabilities = kvm_arch_capabilities_offer(made->kvm_fd);
	result = machine_make(made);
	if (!result)
		result = vps_make(made);
	if (result) {
		vm_error_set(error, result == -ENOMEM ? EXIT_NO_MEMORY : EXIT_INTERNAL, result,
			     "KVM cannot make a partition of %u VPs: %s", config->vp_count,
			     strerror(-result));
		goto err_destroy;
	}
	*partition = made;
	return 0;

err_destroy:
	partition_destroy(made);
	return result;
}

static int partition_start(struct engine_partition *partition, const struct engine_boot *boot,
			   struct vm_error *error)
{
	int result = boot ? kvm_vp_set_boot(&partition->vps[0], boot) : 0;

	for (size_t i = 0; i < partition->vp_count && !result; i++)
		result = kvm_vp_thread_start(&partition->vps[i]);
	if (result) {
		kvm_vps_stop(partition);
		vm_error_set(error, EXIT_INTERNAL, result, "cannot start the VPs: %s",
			     strerror(-result));
	}
	return result;
}

static int event_connect(struct engine_partition *partition, uint32_t connection_id, int fd)
{
	struct kvm_hyperv_eventfd event = {.conn_id = connection_id, .fd = fd};

	return kvm_ioctl(partition->vm_fd, KVM_HYPERV_EVENTFD, &event);
}

static void event_disconnect(struct engine_partition *partition, uint32_t connection_id)
{
	struct kvm_hyperv_eventfd event = {
		.conn_id = connection_id, .fd = -1, .flags = KVM_HYPERV_EVENTFD_DEASSIGN};

	(void)kvm_ioctl(partition->vm_fd, KVM_HYPERV_EVENTFD, &event);
}

static int sint_fds_get(struct engine_partition *partition, uint32_t vp,
			struct engine_sint_fds *fds)
{
	if (vp >= partition->vp_count)
		return -EINVAL;
	*fds = partition->vps[vp].sint;
	return 0;
}

static int line_fd_get(struct engine_partition *partition, uint32_t line)
{
	int result;
	int fd;

	if (line >= KVM_LINE_COUNT)
		return -EINVAL;
	if (partition->line_fds[line] >= 0)
		return partition->line_fds[line];
	fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (fd < 0)
		return -errno;
	result = irqfd_assign(partition, line, fd, -1);
	if (result) {
		close(fd);
		return result;
	}
	partition->line_fds[line] = fd;
	return fd;
}

const struct engine_ops engine_kvm = {
	.name = "kvm",
	.probe = kvm_probe,
	.create = partition_create,
	.destroy = partition_destroy,
	.start = partition_start,
	.stop = kvm_vps_stop,
	.connect_event = event_connect,
	.disconnect_event = event_disconnect,
	.get_sint_fds = sint_fds_get,
	.get_line_fd = line_fd_get,
	.pause = kvm_vps_pause,
	.resume = kvm_vps_resume,
	.save = kvm_partition_save,
	.restore = kvm_partition_restore,
	.save_cpu = kvm_cpu_save,
	.check_cpu = kvm_cpu_check,
	.dirty_start = kvm_dirty_start,
	.dirty_stop = kvm_dirty_stop,
	.dirty_fetch = kvm_dirty_fetch,
	.throttle = kvm_vps_throttle,
};
