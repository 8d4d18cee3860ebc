/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A physical port of the switch: any DPDK ethdev, one queue each way. What the port can do is used
 * (checksums, TSO, chains, receive interrupts); what it cannot is done by netvsp/offload.h.
 */
#ifndef LUNAR_NETVSP_UPLINK_H
#define LUNAR_NETVSP_UPLINK_H

#include <stdbool.h>
#include <stdint.h>

struct data_path;
struct uplink;
struct vlan_set;

/*
 * Plugs the device that devargs name, configures and starts it and joins it to the switch. Where
 * devargs name a port that exists already (made by rte_eth_from_rings(), say), that one is used.
 * carried: the VLANs that go over it, 0 for frames without one; NULL: all.
 * Returns 0; -ENODEV: DPDK does not know or not accept it; -ENXIO: a PCI device on a UIO driver,
 * whose DMA needs physical addresses, and there are none without huge pages; -EEXIST: an uplink
 * already; -ENOSPC: too many; or another -errno of the driver. Control thread.
 */
int uplink_create(struct data_path *path, const char *devargs, const struct vlan_set *carried,
		  struct uplink **uplink);
/* Takes NULL. Leaves the switch, stops and unplugs the device. Control thread. */
void uplink_destroy(struct uplink *uplink);

/* One line for a person: what to do about an error of uplink_create(). Never NULL. */
const char *uplink_error_hint(int err);

struct uplink_info {
	char name[32]; /* DPDK's, NUL-terminated */
	bool link_up;
	uint16_t mtu;			/* without the Ethernet header */
	const struct vlan_set *carried; /* the uplink's */
};
/* As of now; does not wait for the port. */
void uplink_get_info(const struct uplink *uplink, struct uplink_info *info);
uint16_t uplink_port_id(const struct uplink *uplink);

#endif
