/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Shared by the parts of the KVM engine: the partition (engine_kvm.c), its VPs (engine_kvm_vp.c),
 * their threads (engine_kvm_run.c), saved state (engine_kvm_save.c, engine_kvm_restore.c), the
 * processor's promise (engine_kvm_cpu.c), the dirty log (engine_kvm_dirty.c) and the look at the
 * host (engine_kvm_probe.c).
 */
#ifndef LUNAR_HYPERVISOR_ENGINE_KVM_INTERNAL_H
#define LUNAR_HYPERVISOR_ENGINE_KVM_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "hypervisor/engine.h"

struct cpuid_table;
struct kvm_run;

#define KVM_LINE_COUNT	24  /* pins of the in-kernel IOAPIC */
#define KVM_MSRS_A_CALL 128 /* the kernel takes less than 256 */

struct kvm_vp {
	struct engine_partition *partition;
	uint32_t index;
	int fd;
	struct kvm_run *run;
	struct engine_sint_fds sint;
	pthread_t thread;
	bool thread_started; /* guarded by the run control's lock */

	/* VP thread only */
	struct engine_synic synic;
	bool throttled;
	timer_t slice_timer; /* of the thread's processor time; made while throttled */
	uint64_t slice_start_ns;
};

/* What all VP threads are asked to do: engine_kvm_run.c. */
struct kvm_run_control {
	_Atomic uint32_t requests; /* KVM_REQUEST_*; changed under lock */
	_Atomic uint32_t throttle_percent;
	pthread_mutex_t lock;	/* guards running and waits for changed */
	pthread_cond_t changed; /* monotonic clock */
	uint32_t running;	/* VPs that may be in the guest or in a callback */
};

struct kvm_dirty_state {
	bool manual;	      /* the log is cleared by a call of its own */
	bool initially_set;   /* it starts full */
	pthread_mutex_t lock; /* guards all below */
	bool on;
	uint64_t *scratch; /* as long as the largest region's bitmap */
};

struct engine_partition {
	struct engine_config config;
	int kvm_fd;
	int vm_fd;
	size_t run_bytes;
	int line_fds[KVM_LINE_COUNT]; /* -1: not asked for */
	struct kvm_run_control control;
	struct kvm_dirty_state dirty;
	struct cpuid_table *cpuid;  /* what the VPs show, but for their APIC ids */
	uint64_t arch_capabilities; /* IA32_ARCH_CAPABILITIES, as the guest is shown it */
	uint32_t tsc_khz; /* the VPs'; noted, as KVM answers only while a VP does not run */
	size_t vp_count;  /* made so far */
	struct kvm_vp vps[];
};

/* Whether a VP goes on after an exit. */
enum kvm_vp_next {
	KVM_VP_CONTINUE,
	KVM_VP_STOP,
};

/* engine_kvm_probe.c: opens /dev/kvm where it can be used. Returns the fd or -errno with *error. */
int kvm_open(struct vm_error *error);
int kvm_probe(struct vm_error *error);
bool kvm_has(int fd, int capability);

/* engine_kvm.c */
/* Makes the memory regions known to KVM, or changes their flags (KVM_MEM_*). */
int kvm_memory_set(const struct engine_partition *partition, uint32_t flags);

/* engine_kvm_vp.c */
/* Makes the partition's next VP, with its CPUID, SynIC and reset state. */
int kvm_vp_create(struct engine_partition *partition);
void kvm_vp_destroy(struct kvm_vp *vp);
/* Gives the VP the partition's CPUID; before its first run only. */
int kvm_vp_set_cpuid(const struct kvm_vp *vp);
int kvm_vp_set_boot(struct kvm_vp *vp, const struct engine_boot *boot);
/* Does what the exit in vp->run asks for. VP thread. */
enum kvm_vp_next kvm_vp_serve(struct kvm_vp *vp);
/* Reports that the engine cannot go on. VP thread. */
enum kvm_vp_next kvm_vp_failed(struct kvm_vp *vp, const char *what, uint64_t detail);
int kvm_msr_get(const struct kvm_vp *vp, uint32_t index, uint64_t *value);
int kvm_msr_set(const struct kvm_vp *vp, uint32_t index, uint64_t value);
int kvm_tsc_offset_get(const struct kvm_vp *vp, uint64_t *offset);
int kvm_tsc_offset_set(const struct kvm_vp *vp, uint64_t offset);

/* engine_kvm_run.c */
void kvm_run_control_init(struct kvm_run_control *control);
void kvm_run_control_fini(struct kvm_run_control *control);
int kvm_vp_thread_start(struct kvm_vp *vp);
/* Stops and joins the threads of all VPs, paused or not. */
void kvm_vps_stop(struct engine_partition *partition);
int kvm_vps_pause(struct engine_partition *partition);
void kvm_vps_resume(struct engine_partition *partition);
/* Whether no VP runs. Any thread. */
bool kvm_vps_rest(struct engine_partition *partition);
void kvm_vps_throttle(struct engine_partition *partition, uint32_t percent);

/* engine_kvm_save.c, engine_kvm_restore.c */
int kvm_partition_save(struct engine_partition *partition, struct state_writer *writer,
		       struct vm_error *error);
int kvm_partition_restore(struct engine_partition *partition, struct state_reader *reader,
			  struct vm_error *error);

/* engine_kvm_cpu.c */
uint64_t kvm_arch_capabilities_offer(int kvm_fd);
/* What this host offers a partition of vp_count VPs. Returns 0 or -errno with *error. */
int kvm_cpuid_offer(int kvm_fd, uint32_t vp_count, struct cpuid_table *table,
		    struct vm_error *error);
int kvm_cpu_save(struct engine_partition *partition, struct state_writer *writer);
int kvm_cpu_check(struct state_reader *section, struct vm_error *error);

/* engine_kvm_dirty.c */
void kvm_dirty_init(struct kvm_dirty_state *dirty);
void kvm_dirty_fini(struct kvm_dirty_state *dirty);
/* Has KVM keep its log the way that hurts VPs least. Once, for a new VM. */
void kvm_dirty_choose(struct engine_partition *partition);
int kvm_dirty_start(struct engine_partition *partition);
void kvm_dirty_stop(struct engine_partition *partition);
int kvm_dirty_fetch(struct engine_partition *partition, size_t region, uint64_t *words,
		    size_t word_count);

/* ioctl() that returns -errno. */
int kvm_ioctl(int fd, unsigned long request, void *argument);
int kvm_ioctl_value(int fd, unsigned long request, unsigned long argument);

#endif
