/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Shared by the two halves of a virtual NIC: the connection to netvspd (vsp_client.c) and the
 * device on the VMBus (vsp_device.c).
 */
#ifndef LUNAR_HYPERVISOR_VSP_CLIENT_INTERNAL_H
#define LUNAR_HYPERVISOR_VSP_CLIENT_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "hypervisor/vsp_client.h"
#include "wire/vsp.h"

struct vmbus_device;
struct vsp_link;

struct nic_channel {
	int kick; /* -1: closed */
	uint32_t connection_id;
};

/* One offer of the NIC to the guest, from offer to release. */
struct vsp_device {
	LIST_ENTRY(vsp_device) link;
	struct vsp_client *client; /* NULL once the link that it stood on is lost */
	struct vsp_client *owner;
	struct vmbus_device *device;
	uint32_t channel_count;
	struct nic_channel channels[];
};

struct vsp_client {
	struct vsp_client_config config;
	char name[sizeof(((struct vsp_nic *)0)->name)];
	struct vsp_link *link;	   /* NULL while there is none */
	bool ready;		   /* netvspd has made the vNIC */
	unsigned int made_count;   /* of the first three requests: answered with success */
	int refusal;		   /* -errno that netvspd answered to one of the first three */
	struct vsp_device *device; /* NULL while not offered */
	LIST_HEAD(, vsp_device) devices;
	struct event_timer *timer; /* reconnect, offer again, or statistics */
	bool stats_asked;
	struct vm_nic_status status;
};

/* Fills the head of a message of size_bytes. */
static inline void vsp_header_fill(void *message, enum vsp_type type, size_t size_bytes)
{
	struct vsp_header *header = message;

	header->type = type;
	header->size_bytes = (uint32_t)size_bytes;
}

/* Offers the NIC to the guest. Returns 0 or -errno as vmbus_server_add_device(). */
int vsp_device_offer(struct vsp_client *client);
/* Unplugs the client's device: it goes its own way until the guest has let go of it. */
void vsp_device_orphan(struct vsp_client *client);
/* Frees every device, without the guest's consent: the VMBus server is about to go. */
void vsp_devices_free(struct vsp_client *client);

#endif
