/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * DPDK's Ethernet ports as people name them: found where they are, plugged where they are not.
 */
#ifndef LUNAR_NETVSP_PORT_PLUG_H
#define LUNAR_NETVSP_PORT_PLUG_H

#include <stdbool.h>
#include <stdint.h>

struct plugged_port {
	uint16_t port_id;
	bool plugged; /* by us: to be unplugged */
};

/* Returns 0; -ENODEV: DPDK does not know or not accept it; -ENXIO: a PCI device on a UIO driver,
 * whose DMA needs physical addresses, and there are none without huge pages. Control thread. */
int port_plug(const char *devargs, struct plugged_port *port);
/* Closes the port, which is stopped, and removes its device if it was plugged. */
void port_unplug(const struct plugged_port *port);

#endif
