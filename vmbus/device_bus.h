/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a device that lives in the VM's own process stands on: the bus that offers it, guest memory,
 * signals of both directions, and the event loop. Everything outlives the device.
 */
#ifndef LUNAR_VMBUS_DEVICE_BUS_H
#define LUNAR_VMBUS_DEVICE_BUS_H

#include <stdint.h>

#include "vmbus/server.h"

struct event_loop;
struct guest_memory;
struct signal_table;

struct device_bus_ops {
	/* The guest's SignalEvent on connection_id writes to eventfd from now on. 0 or -errno. */
	int (*connect_event)(void *ctx, uint32_t connection_id, int eventfd);
	void (*disconnect_event)(void *ctx, uint32_t connection_id);
	/* The eventfd that raises a VP's SINT2; stays the bus's. -errno where there is none. */
	int (*get_sint_fd)(void *ctx, uint32_t vp);
};

struct device_bus {
	struct vmbus_server *server;
	struct guest_memory *memory;
	const struct signal_table *signals;
	struct event_loop *loop;
	const struct device_bus_ops *ops;
	void *ctx;
};

#endif
