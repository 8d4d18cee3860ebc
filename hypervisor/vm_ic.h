/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The integration components of one partition: shutdown and heartbeat (ic/), hooked to its bus and
 * engine. All calls are for the event loop's thread.
 */
#ifndef LUNAR_HYPERVISOR_VM_IC_H
#define LUNAR_HYPERVISOR_VM_IC_H

#include <stdint.h>

struct engine_ops;
struct engine_partition;
struct event_loop;
struct guest_memory;
struct signal_table;
struct vm_ic;
struct vm_status;
struct vmbus_server;

/* The partition that they belong to; everything outlives them. */
struct vm_ic_config {
	struct event_loop *loop;
	struct guest_memory *memory;
	const struct signal_table *signals;
	struct vmbus_server *server;
	const struct engine_ops *engine;
	struct engine_partition *partition;
	/* The guest answered a request to power off with a no. */
	void (*refused)(void *ctx);
	void *ctx;
};

/* Offers both services. Returns 0 or -errno. */
int vm_ic_create(const struct vm_ic_config *config, struct vm_ic **ic);
/* Takes NULL. No VP runs any more, and the VMBus server is destroyed next. */
void vm_ic_destroy(struct vm_ic *ic);

/* Asks the guest's system to power off, telling it how long it has. Returns 0, or -errno where the
 * request does not reach it (-ENOTCONN: it has no driver for it). */
int vm_ic_request_power_off(struct vm_ic *ic, uint32_t timeout_seconds);
/* Fills the heartbeat and the shutdown service in *status. */
void vm_ic_get_status(const struct vm_ic *ic, struct vm_status *status);

#endif
