/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Shared by the parts of the KVM engine: the partition (engine_kvm.c), its VPs (engine_kvm_vp.c)
 * and the look at the host (engine_kvm_probe.c).
 */
#ifndef LUNAR_HYPERVISOR_ENGINE_KVM_INTERNAL_H
#define LUNAR_HYPERVISOR_ENGINE_KVM_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hypervisor/engine.h"

struct cpuid_table;
struct kvm_run;

#define KVM_LINE_COUNT 24 /* pins of the in-kernel IOAPIC */

struct kvm_vp {
	struct engine_partition *partition;
	uint32_t index;
	int fd;
	struct kvm_run *run;
	struct engine_sint_fds sint;
	struct engine_synic synic; /* VP thread only */
	pthread_t thread;
	bool thread_started;
};

struct engine_partition {
	struct engine_config config;
	int kvm_fd;
	int vm_fd;
	size_t run_bytes;
	int line_fds[KVM_LINE_COUNT]; /* -1: not asked for */
	_Atomic bool stopping;
	size_t vp_count; /* made so far */
	struct kvm_vp vps[];
};

/* engine_kvm_probe.c: opens /dev/kvm where it can be used. Returns the fd or -errno with *error. */
int kvm_open(struct vm_error *error);
int kvm_probe(struct vm_error *error);

/* engine_kvm_vp.c */
/* Makes the partition's next VP, with its CPUID, SynIC and reset state. */
int kvm_vp_create(struct engine_partition *partition, struct cpuid_table *cpuid);
void kvm_vp_destroy(struct kvm_vp *vp);
int kvm_vp_set_boot(struct kvm_vp *vp, const struct engine_boot *boot);
int kvm_vp_thread_start(struct kvm_vp *vp);
/* Stops and joins the threads of all VPs. */
void kvm_vps_stop(struct engine_partition *partition);

/* ioctl() that returns -errno. */
int kvm_ioctl(int fd, unsigned long request, void *argument);
int kvm_ioctl_value(int fd, unsigned long request, unsigned long argument);

#endif
