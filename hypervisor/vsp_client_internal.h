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
	uint32_t relid;
	uint32_t target_vp;
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

/* What a NIC keeps for a move (vsp_move.c). */
struct vsp_move {
	bool incoming; /* netvspd has the vNIC as VSP_NIC_INCOMING */
	bool rests;    /* saved, or incoming: the guest is told nothing */
	uint8_t *state;
	size_t state_bytes;
	bool restore_sent;
	bool restore_answered;
	int restore_status;
	uint32_t injecting;	 /* frames that netvspd has not answered yet */
	vsp_client_done_fn done; /* of the save or restore under way; else NULL */
	void *done_ctx;
	vsp_client_frame_fn late_frame;
	void *late_frame_ctx;
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
	uint32_t version;	   /* of the protocol, as agreed */
	bool stats_asked;
	struct vm_nic_status status;
	bool portals_asked;
	uint32_t portal_count;
	struct vsp_portal portals[VSP_MAX_PORTALS];
	struct vsp_move move;
};

/* Fills the head of a message of size_bytes. */
static inline void vsp_header_fill(void *message, enum vsp_type type, size_t size_bytes)
{
	struct vsp_header *header = message;

	header->type = type;
	header->size_bytes = (uint32_t)size_bytes;
}

/* The connection that the device stands on; NULL: it is gone. */
static inline struct vsp_link *vsp_device_link(const struct vsp_device *nic)
{
	return nic->client ? nic->client->link : NULL;
}

/* vsp_client.c: connects again, or does what else is next, after that time. */
void vsp_client_set_timer(struct vsp_client *client, uint32_t delay_ms);

/* vsp_move.c: before the first restored channel opens, netvspd gets the state. Returns 0 or
 * -errno. */
int vsp_move_send_state(struct vsp_client *client);
/* VSP_LATE_FRAME. */
void vsp_move_late_frame(struct vsp_client *client, const struct vsp_header *message);
void vsp_move_fini(struct vsp_client *client);

/* Signals guest and netvspd on every open channel: what is in the rings is found. */
void vsp_device_kick(struct vsp_device *nic);
/* Offers the NIC to the guest. Returns 0 or -errno as vmbus_server_add_device(). */
int vsp_device_offer(struct vsp_client *client);
/* Unplugs the client's device: it goes its own way until the guest has let go of it. */
void vsp_device_orphan(struct vsp_client *client);
/* Frees every device, without the guest's consent: the VMBus server is about to go. */
void vsp_devices_free(struct vsp_client *client);

#endif
