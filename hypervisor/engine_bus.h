/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The engine's part of a device_bus, for devices that live in the VM's own process: signals of both
 * directions.
 */
#ifndef LUNAR_HYPERVISOR_ENGINE_BUS_H
#define LUNAR_HYPERVISOR_ENGINE_BUS_H

#include "vmbus/device_bus.h"

struct engine_ops;
struct engine_partition;

/* The ctx of engine_bus_ops; outlives the devices. */
struct engine_bus {
	const struct engine_ops *engine;
	struct engine_partition *partition;
};

extern const struct device_bus_ops engine_bus_ops;

#endif
