/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vmwp's end of the vsp socket (wire/vsp.h): one connection for one virtual NIC. It offers the NIC
 * on the VMBus and hands everything that the guest does with its channels on to netvspd, which does
 * the work. All calls are for the event loop's thread.
 *
 * When netvspd goes away the NIC is taken off the bus, as if unplugged, and is offered anew some
 * seconds after netvspd is back.
 */
#ifndef LUNAR_HYPERVISOR_VSP_CLIENT_H
#define LUNAR_HYPERVISOR_VSP_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "hypervisor/vm.h"

struct engine_ops;
struct engine_partition;
struct event_loop;
struct guest_memory;
struct signal_table;
struct vm_nic_config;
struct vmbus_server;
struct vsp_client;

/* The partition that the NIC belongs to; everything outlives the client. */
struct vsp_client_config {
	const char *vm_name;
	uint32_t nic_index;
	const struct vm_nic_config *nic;
	struct event_loop *loop;
	struct guest_memory *memory;
	const struct signal_table *signals;
	uint32_t vp_count;
	struct vmbus_server *server;
	const struct engine_ops *engine;
	struct engine_partition *partition;
};

/*
 * Reaches netvspd, has it make the vNIC and offers the NIC, waiting for at most a few seconds.
 * must_reach: that it cannot be reached is an error (a VM's start); otherwise it is tried again
 * from the loop, and "name in use" is waited out: after a reboot netvspd may not have seen the end
 * of the last connection yet.
 * Returns 0, or -errno with *error (EXIT_NO_SWITCH).
 */
int vsp_client_create(const struct vsp_client_config *config, bool must_reach,
		      struct vsp_client **client, struct vm_error *error);
/* Takes NULL. netvspd lets go of everything when the connection ends. */
void vsp_client_destroy(struct vsp_client *client);

void vsp_client_get_status(const struct vsp_client *client, struct vm_nic_status *status);

#endif
