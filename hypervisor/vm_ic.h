/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The integration components of one partition: shutdown and heartbeat (ic/), hooked to its bus and
 * engine. All calls are for the event loop's thread.
 */
#ifndef LUNAR_HYPERVISOR_VM_IC_H
#define LUNAR_HYPERVISOR_VM_IC_H

#include <stdint.h>

#include "base/state.h"

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

/* ---- saved state ---- */

#define VM_IC_STATE_TAG STATE_TAG('I', 'C', '_', '_')

/* No ring is touched until resume, but for a channel that the guest opens or closes. */
void vm_ic_pause(struct vm_ic *ic);
/* Goes on, and looks at every ring: signals of either direction may have been lost. */
void vm_ic_resume(struct vm_ic *ic);
/* One section. Paused. */
int vm_ic_save(const struct vm_ic *ic, struct state_writer *writer);
/* Before vmbus_server_restore(), which then opens the channels; leaves it paused. Returns 0,
 * -EPROTO or -EOPNOTSUPP. */
int vm_ic_restore(struct vm_ic *ic, struct state_reader *section);

#endif
