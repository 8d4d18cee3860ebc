/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * See engine_bus.h.
 */
#include "hypervisor/engine_bus.h"

#include "hypervisor/engine.h"

static int on_connect_event(void *ctx, uint32_t connection_id, int eventfd)
{
	const struct engine_bus *bus = ctx;

	return bus->engine->connect_event(bus->partition, connection_id, eventfd);
}

static void on_disconnect_event(void *ctx, uint32_t connection_id)
{
	const struct engine_bus *bus = ctx;

	bus->engine->disconnect_event(bus->partition, connection_id);
}

static int on_get_sint_fd(void *ctx, uint32_t vp)
{
	const struct engine_bus *bus = ctx;
	struct engine_sint_fds fds;
	int rc = bus->engine->get_sint_fds(bus->partition, vp, &fds);

	return rc < 0 ? rc : fds.raise;
}

const struct device_bus_ops engine_bus_ops = {
	.connect_event = on_connect_event,
	.disconnect_event = on_disconnect_event,
	.get_sint_fd = on_get_sint_fd,
};
