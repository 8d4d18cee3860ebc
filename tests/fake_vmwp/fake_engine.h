/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An engine without a processor: a thread stands in for the VPs, and the test does what their guest
 * would do. Everything else is as a real engine has it: it can be paused, saved, restored and
 * logged. For whole VMs in one process; several at a time.
 */
#ifndef LUNAR_TESTS_FAKE_VMWP_FAKE_ENGINE_H
#define LUNAR_TESTS_FAKE_VMWP_FAKE_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hypervisor/engine.h"

extern const struct engine_ops fake_engine;

/* What the next call of an op fails with, once; 0: it works. */
struct fake_engine_faults {
	int create;
	int start;
	int pause;
	int save;
	int restore;
	int dirty_start;
	int check_cpu; /* every call */
};
extern struct fake_engine_faults fake_engine_faults;

/* What the VPs run, over and over, on a thread of their own, while they run: partitions that are
 * created from now on. NULL: nothing. */
typedef void (*fake_engine_program)(struct engine_partition *partition);
void fake_engine_set_program(fake_engine_program program);

/* The partition that was created last; NULL once it is destroyed. */
struct engine_partition *fake_engine_newest(void);

#define FAKE_REGISTERS 8 /* saved and restored; the program's to use */
uint64_t *fake_engine_registers(struct engine_partition *partition);
bool fake_engine_runs(struct engine_partition *partition);
uint32_t fake_engine_throttled(struct engine_partition *partition);
bool fake_engine_logs(struct engine_partition *partition);

/* The guest's memory as a VP writes and reads it: written pages go to the engine's log. */
void fake_engine_write(struct engine_partition *partition, uint64_t gpa, const void *bytes,
		       size_t length);
void fake_engine_read(struct engine_partition *partition, uint64_t gpa, void *bytes, size_t length);

/* VP 0 posts a message on VMBus' connection; returns the hypercall's HV_STATUS_*. */
uint16_t fake_engine_post(struct engine_partition *partition, const void *message, size_t length);
/* A VP enables SIMP and SIEFP at those pages. */
void fake_engine_enable_synic(struct engine_partition *partition, uint32_t vp, uint64_t simp_gpa,
			      uint64_t siefp_gpa);
/* Takes the message out of the VP's SINT2 slot and ends it. False: there is none. */
bool fake_engine_take_message(struct engine_partition *partition, uint32_t vp, void *payload,
			      size_t *length);
/* SignalEvent. False: nothing is connected. */
bool fake_engine_signal(struct engine_partition *partition, uint32_t connection_id);
/* How often SINT2 of a VP was raised since the last call. */
uint64_t fake_engine_take_interrupts(struct engine_partition *partition, uint32_t vp);
/* A VP's port access; where the machine goes down by it, the program does not run again. */
void fake_engine_port_io(struct engine_partition *partition, uint16_t port, bool write,
			 uint8_t *data, uint32_t size);
/* Whether a line of the interrupt controller was pulsed since the last call. */
bool fake_engine_take_line(struct engine_partition *partition, uint32_t line);
/* A VP stops for good; the program does not run again. */
void fake_engine_exit(struct engine_partition *partition, enum engine_exit_reason reason,
		      const char *text);

#endif
