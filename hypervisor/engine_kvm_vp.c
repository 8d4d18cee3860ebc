/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A virtual processor of the KVM engine: its state at reset, and what its exits ask for. The thread
 * that runs it is in engine_kvm_run.c.
 */
#include <errno.h>
#include <inttypes.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "hypervisor/cpuid.h"
#include "hypervisor/engine_kvm_internal.h"
#include "vmbus/guest_memory.h"
#include "wire/tlfs.h"

#define MSR_MTRR_DEF_TYPE      0x2ffu
#define MTRR_ENABLED_WRITEBACK 0xc06u

#define CR0_PE	 0x1u
#define CR0_ET	 0x10u
#define CR0_NE	 0x20u
#define CR0_WP	 0x10000u
#define CR0_PG	 0x80000000u
#define CR4_PAE	 0x20u
#define EFER_LME 0x100u
#define EFER_LMA 0x400u

#define BOOT_CODE_SELECTOR 0x10
#define BOOT_DATA_SELECTOR 0x18

#define CRASH_TEXT_BYTES 4096
#define EXIT_TEXT_BYTES	 400

/* ---- making a VP ---- */

int kvm_vp_set_cpuid(const struct kvm_vp *vp)
{
	struct cpuid_table *table = vp->partition->cpuid;
	struct kvm_cpuid2 *list =
		calloc(1, sizeof(*list) + table->count * sizeof(list->entries[0]));
	int result;

	if (!list)
		return -ENOMEM;
	cpuid_set_vp(table, vp->index, vp->partition->config.vp_count);
	list->nent = (uint32_t)table->count;
	for (size_t i = 0; i < table->count; i++) {
		const struct cpuid_leaf *leaf = &table->leaves[i];

		list->entries[i] = (struct kvm_cpuid_entry2){
			.function = leaf->function,
			.index = leaf->index,
			.flags = leaf->indexed ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0,
			.eax = leaf->eax,
			.ebx = leaf->ebx,
			.ecx = leaf->ecx,
			.edx = leaf->edx,
		};
	}
	result = kvm_ioctl(vp->fd, KVM_SET_CPUID2, list);
	free(list);
	return result;
}

/* One MSR through KVM_SET_MSRS or KVM_GET_MSRS. */
static int msr_access(const struct kvm_vp *vp, unsigned long request, struct kvm_msr_entry *entry)
{
	_Alignas(struct kvm_msrs) uint8_t bytes[sizeof(struct kvm_msrs) + sizeof(*entry)] = {0};
	struct kvm_msrs *msrs = (struct kvm_msrs *)bytes;
	int result;

	msrs->nmsrs = 1;
	msrs->entries[0] = *entry;
	result = kvm_ioctl(vp->fd, request, msrs);
	*entry = msrs->entries[0];
	return result == 1 ? 0 : result < 0 ? result : -EINVAL;
}

int kvm_msr_set(const struct kvm_vp *vp, uint32_t index, uint64_t value)
{
	struct kvm_msr_entry entry = {.index = index, .data = value};

	return msr_access(vp, KVM_SET_MSRS, &entry);
}

int kvm_msr_get(const struct kvm_vp *vp, uint32_t index, uint64_t *value)
{
	struct kvm_msr_entry entry = {.index = index};
	int result = msr_access(vp, KVM_GET_MSRS, &entry);

	if (!result)
		*value = entry.data;
	return result;
}

/* A VP's TSC is the host's, scaled where KVM does that, plus this. Since Linux 5.16. */
static int tsc_offset_access(const struct kvm_vp *vp, unsigned long request, uint64_t address)
{
	struct kvm_device_attr attribute = {
		.group = KVM_VCPU_TSC_CTRL,
		.attr = KVM_VCPU_TSC_OFFSET,
		.addr = address,
	};

	return kvm_ioctl(vp->fd, request, &attribute);
}

int kvm_tsc_offset_get(const struct kvm_vp *vp, uint64_t *offset)
{
	uint64_t value = 0;
	int result = tsc_offset_access(vp, KVM_GET_DEVICE_ATTR, (uint64_t)(uintptr_t)&value);

	if (!result)
		*offset = value;
	return result;
}

int kvm_tsc_offset_set(const struct kvm_vp *vp, uint64_t offset)
{
	return tsc_offset_access(vp, KVM_SET_DEVICE_ATTR, (uint64_t)(uintptr_t)&offset);
}

int kvm_vp_create(struct engine_partition *partition)
{
	uint32_t index = (uint32_t)partition->vp_count;
	struct kvm_vp *vp = &partition->vps[index];
	struct kvm_enable_cap synic = {.cap = KVM_CAP_HYPERV_SYNIC2};
	void *run;
	int result;

	*vp = (struct kvm_vp){.partition = partition, .index = index, .sint = {-1, -1}};
	vp->fd = kvm_ioctl_value(partition->vm_fd, KVM_CREATE_VCPU, index);
	if (vp->fd < 0)
		return vp->fd;
	partition->vp_count++; /* from here on partition_destroy() takes care of it */
	run = mmap(NULL, partition->run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, vp->fd, 0);
	if (run == MAP_FAILED)
		return -errno;
	vp->run = run;
	result = kvm_ioctl_value(vp->fd, KVM_GET_TSC_KHZ, 0);
	if (result <= 0)
		return result < 0 ? result : -ENOTSUP;
	partition->tsc_khz = (uint32_t)result;
	result = kvm_vp_set_cpuid(vp);
	if (!result)
		result = kvm_ioctl(vp->fd, KVM_ENABLE_CAP, &synic);
	if (!result)
		result = kvm_msr_set(vp, MSR_MTRR_DEF_TYPE, MTRR_ENABLED_WRITEBACK);
	return result;
}

void kvm_vp_destroy(struct kvm_vp *vp)
{
	if (vp->run)
		munmap(vp->run, vp->partition->run_bytes);
	if (vp->sint.raise >= 0)
		close(vp->sint.raise);
	if (vp->sint.eom >= 0)
		close(vp->sint.eom);
	close(vp->fd);
}

int kvm_vp_set_boot(struct kvm_vp *vp, const struct engine_boot *boot)
{
	const struct kvm_segment code = {
		.limit = UINT32_MAX,
		.selector = BOOT_CODE_SELECTOR,
		.type = 0xb, /* execute, read, accessed */
		.present = 1,
		.s = 1,
		.l = 1,
		.g = 1,
	};
	const struct kvm_segment data = {
		.limit = UINT32_MAX,
		.selector = BOOT_DATA_SELECTOR,
		.type = 0x3, /* read, write, accessed */
		.present = 1,
		.s = 1,
		.db = 1,
		.g = 1,
	};
	struct kvm_regs regs = {
		.rip = boot->entry_gpa,
		.rsi = boot->boot_params_gpa,
		.rflags = 2,
	};
	struct kvm_sregs sregs;
	int result = kvm_ioctl(vp->fd, KVM_GET_SREGS, &sregs);

	if (result)
		return result;
	sregs.cs = code;
	sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = data;
	sregs.gdt.base = boot->gdt_gpa;
	sregs.gdt.limit = (uint16_t)(boot->gdt_bytes - 1);
	sregs.idt.base = 0;
	sregs.idt.limit = 0;
	sregs.cr0 = CR0_PE | CR0_ET | CR0_NE | CR0_WP | CR0_PG;
	sregs.cr3 = boot->page_table_gpa;
	sregs.cr4 = CR4_PAE;
	sregs.efer = EFER_LME | EFER_LMA;
	result = kvm_ioctl(vp->fd, KVM_SET_SREGS, &sregs);
	return result ? result : kvm_ioctl(vp->fd, KVM_SET_REGS, &regs);
}

/* ---- exits ---- */

static enum kvm_vp_next vp_exited(struct kvm_vp *vp, enum engine_exit_reason reason,
				  const char *text)
{
	const struct engine_config *config = &vp->partition->config;

	config->events->exited(config->ctx, vp->index, reason, text);
	return KVM_VP_STOP;
}

enum kvm_vp_next kvm_vp_failed(struct kvm_vp *vp, const char *what, uint64_t detail)
{
	char text[EXIT_TEXT_BYTES];
	struct kvm_regs regs = {0};

	(void)kvm_ioctl(vp->fd, KVM_GET_REGS, &regs);
	snprintf(text, sizeof(text), "VP %u: %s (0x%" PRIx64 ") at rip 0x%llx, rsp 0x%llx",
		 vp->index, what, detail, regs.rip, regs.rsp);
	return vp_exited(vp, ENGINE_EXIT_FAILED, text);
}

static enum kvm_vp_next exit_io(struct kvm_vp *vp)
{
	const struct engine_config *config = &vp->partition->config;
	struct kvm_run *run = vp->run;
	uint8_t *data = (uint8_t *)run + run->io.data_offset;
	enum kvm_vp_next next = KVM_VP_CONTINUE;

	for (uint32_t i = 0; i < run->io.count; i++) {
		if (config->events->port_io(config->ctx, run->io.port,
					    run->io.direction == KVM_EXIT_IO_OUT, data,
					    run->io.size) == ENGINE_PORT_STOP_VP)
			next = KVM_VP_STOP;
		data += run->io.size;
	}
	return next;
}

static enum kvm_vp_next exit_mmio(struct kvm_vp *vp)
{
	if (!vp->run->mmio.is_write) /* nobody answers: a bus reads as ones */
		memset(vp->run->mmio.data, 0xff, sizeof(vp->run->mmio.data));
	return KVM_VP_CONTINUE;
}

static uint64_t post_message(struct kvm_vp *vp, uint64_t input, uint64_t gpa)
{
	const struct engine_config *config = &vp->partition->config;
	struct hv_post_message_input message;

	if (input & HV_HYPERCALL_FAST)
		return HV_STATUS_INVALID_HYPERCALL_INPUT;
	if (gpa & 7 || (gpa & (GUEST_PAGE_SIZE - 1)) > GUEST_PAGE_SIZE - sizeof(message))
		return HV_STATUS_INVALID_ALIGNMENT;
	if (guest_memory_read(config->memory, gpa, &message, sizeof(message)))
		return HV_STATUS_INVALID_PARAMETER;
	if (message.payload_size > sizeof(message.payload))
		return HV_STATUS_INVALID_PARAMETER;
	return config->events->post_message(config->ctx, vp->index, message.connection_id,
					    message.payload, message.payload_size);
}

static enum kvm_vp_next exit_hyperv(struct kvm_vp *vp)
{
	const struct engine_config *config = &vp->partition->config;
	struct kvm_hyperv_exit *hyperv = &vp->run->hyperv;

	switch (hyperv->type) {
	case KVM_EXIT_HYPERV_SYNIC:
		vp->synic = (struct engine_synic){
			.scontrol = hyperv->u.synic.control,
			.simp = hyperv->u.synic.msg_page,
			.siefp = hyperv->u.synic.evt_page,
		};
		config->events->synic_changed(config->ctx, vp->index, &vp->synic);
		return KVM_VP_CONTINUE;
	case KVM_EXIT_HYPERV_HCALL:
		switch (hyperv->u.hcall.input & HV_HYPERCALL_CODE_MASK) {
		case HV_CALL_POST_MESSAGE:
			hyperv->u.hcall.result =
				post_message(vp, hyperv->u.hcall.input, hyperv->u.hcall.params[0]);
			break;
		case HV_CALL_SIGNAL_EVENT: /* KVM knows every id that is connected */
			hyperv->u.hcall.result = HV_STATUS_INVALID_CONNECTION_ID;
			break;
		default:
			hyperv->u.hcall.result = HV_STATUS_INVALID_HYPERCALL_CODE;
			break;
		}
		return KVM_VP_CONTINUE;
	default:
		return KVM_VP_CONTINUE;
	}
}

/* A line that starts at from, without what is not for people's eyes, behind text. */
static void line_append(char *text, size_t size, const char *from)
{
	size_t used = strlen(text);

	for (; *from && *from != '\n' && used + 1 < size; from++)
		text[used++] = (char)(*from < ' ' || *from > '~' ? '?' : *from);
	text[used] = '\0';
}

/* A guest that crashes hands over its last kernel messages: the line that names the panic, or else
 * the last one, goes to text, behind what is there. */
static void crash_message_read(const struct kvm_vp *vp, uint64_t gpa, uint64_t length, char *text,
			       size_t size)
{
	char message[CRASH_TEXT_BYTES + 1] = {0};
	char *line;

	if (length > CRASH_TEXT_BYTES ||
	    guest_memory_read(vp->partition->config.memory, gpa, message, (size_t)length))
		return;
	line = strstr(message, "Kernel panic");
	if (!line) {
		size_t end = strlen(message);

		while (end > 0 && message[end - 1] == '\n')
			message[--end] = '\0';
		line = strrchr(message, '\n');
		line = line ? line + 1 : message;
	}
	line_append(text, size, ": ");
	line_append(text, size, line);
}

static enum kvm_vp_next guest_crashed(struct kvm_vp *vp, uint64_t control)
{
	char text[EXIT_TEXT_BYTES];
	uint64_t p[HV_CRASH_PARAMETER_COUNT] = {0};

	for (uint32_t i = 0; i < HV_CRASH_PARAMETER_COUNT; i++)
		(void)kvm_msr_get(vp, HV_MSR_CRASH_P0 + i, &p[i]);
	if (control & HV_CRASH_CTL_NOTIFY_MESSAGE) {
		snprintf(text, sizeof(text), "the guest reported a crash");
		crash_message_read(vp, p[3], p[4], text, sizeof(text));
	} else {
		snprintf(text, sizeof(text),
			 "the guest reported a crash: 0x%" PRIx64 " 0x%" PRIx64 " 0x%" PRIx64
			 " 0x%" PRIx64 " 0x%" PRIx64,
			 p[0], p[1], p[2], p[3], p[4]);
	}
	return vp_exited(vp, ENGINE_EXIT_CRASH, text);
}

static enum kvm_vp_next exit_wrmsr(struct kvm_vp *vp)
{
	vp->run->msr.error = vp->run->msr.index != HV_MSR_CRASH_CTL;
	if (!vp->run->msr.error && vp->run->msr.data & HV_CRASH_CTL_NOTIFY)
		return guest_crashed(vp, vp->run->msr.data);
	return KVM_VP_CONTINUE;
}

static enum kvm_vp_next exit_rdmsr(struct kvm_vp *vp)
{
	vp->run->msr.error = vp->run->msr.index != HV_MSR_CRASH_CTL;
	vp->run->msr.data = HV_CRASH_CTL_NOTIFY | HV_CRASH_CTL_NOTIFY_MESSAGE;
	return KVM_VP_CONTINUE;
}

static enum kvm_vp_next exit_system_event(struct kvm_vp *vp)
{
	switch (vp->run->system_event.type) {
	case KVM_SYSTEM_EVENT_RESET:
		return vp_exited(vp, ENGINE_EXIT_RESET, "");
	case KVM_SYSTEM_EVENT_CRASH:
		return guest_crashed(vp, 0);
	default:
		return kvm_vp_failed(vp, "unknown system event", vp->run->system_event.type);
	}
}

enum kvm_vp_next kvm_vp_serve(struct kvm_vp *vp)
{
	struct kvm_run *run = vp->run;

	switch (run->exit_reason) {
	case KVM_EXIT_IO:
		return exit_io(vp);
	case KVM_EXIT_MMIO:
		return exit_mmio(vp);
	case KVM_EXIT_HYPERV:
		return exit_hyperv(vp);
	case KVM_EXIT_X86_WRMSR:
		return exit_wrmsr(vp);
	case KVM_EXIT_X86_RDMSR:
		return exit_rdmsr(vp);
	case KVM_EXIT_SYSTEM_EVENT:
		return exit_system_event(vp);
	case KVM_EXIT_INTR:
	case KVM_EXIT_IRQ_WINDOW_OPEN:
		return KVM_VP_CONTINUE;
	case KVM_EXIT_SHUTDOWN:
		return vp_exited(vp, ENGINE_EXIT_FAULT, "triple fault");
	case KVM_EXIT_FAIL_ENTRY:
		return kvm_vp_failed(vp, "the processor refused to enter the guest",
				     run->fail_entry.hardware_entry_failure_reason);
	case KVM_EXIT_INTERNAL_ERROR:
		return kvm_vp_failed(vp, "KVM gave up on an instruction or event",
				     run->internal.suberror);
	default:
		return kvm_vp_failed(vp, "unexpected exit", run->exit_reason);
	}
}
