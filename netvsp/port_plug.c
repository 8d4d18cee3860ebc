/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * See port_plug.h. DPDK does not say which ports a device brought: those that were not there
 * before.
 */
#include "netvsp/port_plug.h"

#include <errno.h>
#include <string.h>

#include <rte_dev.h>
#include <rte_eal.h>
#include <rte_ethdev.h>
#include <rte_pci.h>

static bool is_pci_address(const char *devargs)
{
	struct rte_pci_addr address;
	char name[sizeof("00000000:00:00.00")];
	size_t length;

	if (strncmp(devargs, "pci:", 4) == 0)
		devargs += 4;
	length = strcspn(devargs, ",");
	if (length >= sizeof(name))
		return false;
	memcpy(name, devargs, length);
	name[length] = '\0';
	return rte_pci_addr_parse(name, &address) == 0;
}

int port_plug(const char *devargs, struct plugged_port *port)
{
	bool known[RTE_MAX_ETHPORTS] = {false};
	uint16_t port_id;

	*port = (struct plugged_port){0};
	if (rte_eth_dev_get_port_by_name(devargs, &port_id) == 0) {
		port->port_id = port_id;
		return 0;
	}
	for (port_id = 0; port_id < RTE_MAX_ETHPORTS; port_id++)
		known[port_id] = rte_eth_dev_is_valid_port(port_id);
	if (rte_dev_probe(devargs) < 0) {
		bool physical = rte_eal_has_hugepages() && rte_eal_iova_mode() == RTE_IOVA_PA;

		return is_pci_address(devargs) && !physical ? -ENXIO : -ENODEV;
	}
	for (port_id = 0; port_id < RTE_MAX_ETHPORTS; port_id++) {
		if (rte_eth_dev_is_valid_port(port_id) && !known[port_id]) {
			*port = (struct plugged_port){.port_id = port_id, .plugged = true};
			return 0;
		}
	}
	return -ENODEV; /* a device, but no Ethernet port */
}

void port_unplug(const struct plugged_port *port)
{
	struct rte_eth_dev_info info = {0};
	int err = rte_eth_dev_info_get(port->port_id, &info);

	rte_eth_dev_close(port->port_id);
	if (port->plugged && !err && info.device)
		rte_dev_remove(info.device);
}
