/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A child partition, put together: memory, engine, SynIC, VMBus server, devices. It lives from one
 * boot of the guest to the next: a reboot destroys it and makes another.
 */
#ifndef LUNAR_HYPERVISOR_PARTITION_H
#define LUNAR_HYPERVISOR_PARTITION_H

#include <stdbool.h>
#include <stdint.h>

#include "hypervisor/vm.h"

struct console;
struct engine_ops;
struct event_loop;
struct partition;

enum partition_end {
	PARTITION_POWERED_OFF,
	PARTITION_RESET,
	PARTITION_FAULTED, /* triple fault: resets, as a PC does */
	PARTITION_CRASHED, /* the guest reported it */
	PARTITION_FAILED,  /* the engine or we cannot go on */
};

/* Once, on the loop's thread, when the guest has come to an end. The partition may be destroyed
 * from within. text is for people, "" for none. */
typedef void (*partition_end_fn)(void *ctx, enum partition_end end, const char *text);

struct partition_config {
	const struct vm_config *vm;
	struct event_loop *loop;
	struct console *console;
	const struct engine_ops *engine;
	bool must_reach_switch; /* a first start, not a reboot: see vsp_client_create() */
	partition_end_fn ended;
	void *ctx;
};

/* What config points to outlives the partition. Returns 0, or -errno with *error. */
int partition_create(const struct partition_config *config, struct partition **partition,
		     struct vm_error *error);
/* Takes NULL. Returns when no thread, fd or mapping of it is left. */
void partition_destroy(struct partition *partition);

/* Sets the VPs going; once. */
int partition_start(struct partition *partition, struct vm_error *error);
/* Asks the guest to power off: its shutdown service, or its power button where there is none. */
void partition_request_power_off(struct partition *partition, uint32_t timeout_seconds);
/* Fills the parts of *status that are the partition's: VMBus, integration components and NICs. */
void partition_get_status(const struct partition *partition, struct vm_status *status);

#endif
