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

#include "base/deadline.h"
#include "hypervisor/vsp_client.h"
#include "vmbus/server.h"
#include "wire/vsp.h"

struct gpadl;
struct vsp_device;
struct vsp_link;

/* How long a guest waits for a netvspd that was lost, before its NIC is unplugged. */
#define VSP_RECOVER_MS 10000

/* As the guest has it open. */
struct nic_channel {
	int kick;  /* -1: closed */
	bool open; /* netvspd has said so */
	uint32_t connection_id;
	uint32_t relid;
	uint32_t target_vp;
	uint32_t gpadl_id; /* its ring's */
	uint32_t downstream_page_offset;
	uint8_t user_data[VMBUS_OPEN_USER_DATA_BYTES];
};

/* What the guest has lent and netvspd has taken, or is asked to. */
struct nic_gpadl {
	LIST_ENTRY(nic_gpadl) link;
	const struct gpadl *gpadl; /* the bus's, until its teardown is done */
};

/* What the guest did while netvspd was being recovered. */
struct nic_deferred {
	STAILQ_ENTRY(nic_deferred) link;
	void (*run)(struct vsp_device *nic, const struct nic_deferred *deferred);
	uint32_t sub_index;
	uint32_t number; /* a GPADL's id, or a VP */
	const struct gpadl *gpadl;
	struct vmbus_open_request request;
};

/* One offer of the NIC to the guest, from offer to release. */
struct vsp_device {
	LIST_ENTRY(vsp_device) link;
	struct vsp_client *client; /* NULL once the link that it stood on is lost */
	struct vsp_client *owner;
	struct vmbus_device *device;
	LIST_HEAD(, nic_gpadl) gpadls;
	STAILQ_HEAD(, nic_deferred) deferred;
	uint32_t channel_count;
	struct nic_channel channels[];
};

/* What a NIC keeps for a move (vsp_move.c). */
struct vsp_move {
	bool incoming;	/* netvspd has the vNIC as VSP_NIC_INCOMING */
	bool rests;	/* saved, or incoming: the guest is told nothing */
	uint32_t saves; /* asked for: a late answer to an earlier one is nobody's */
	uint8_t *state;
	size_t state_bytes;
	bool complete;	   /* the state is of all that the guest has: it can be made again of it */
	int journal;	   /* memfd; -1: none */
	bool journal_kept; /* netvspd keeps it: another one can go on with it */
	bool recovering;   /* netvspd was lost: see vsp_recover.c */
	bool hopeless;	   /* and no other can go on */
	bool resume_waits; /* until it is recovered */
	bool announce;	   /* that resume's */
	struct deadline recover_deadline; /* of resume_waits */
	uint32_t replaying;		  /* answers that are to come */
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
	unsigned int made_count;   /* of the first requests: answered with success */
	unsigned int made_wanted;  /* of them in all */
	int refusal;		   /* -errno that netvspd answered to one of them */
	struct vsp_device *device; /* NULL while not offered */
	LIST_HEAD(, vsp_device) devices;
	struct event_timer *timer; /* reconnect, offer again, or statistics */
	uint32_t version;	   /* of the protocol, as agreed */
	uint32_t vlan_asked;	   /* changes of the VLAN mode so far */
	bool vlan_answered;	   /* the last of them */
	int vlan_status;
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
/* Connects and sends the first three requests. Returns 0 or -errno. */
int vsp_client_connect(struct vsp_client *client);
/* Ends the connection, without a word to the guest. */
void vsp_client_disconnect(struct vsp_client *client);

/* vsp_move.c: before the first restored channel opens, netvspd gets the state. Returns 0 or
 * -errno. */
int vsp_move_send_state(struct vsp_client *client);
/* VSP_LATE_FRAME. */
void vsp_move_late_frame(struct vsp_client *client, const struct vsp_header *message);

/* A memfd with the NIC's state. Returns the fd or -errno. */
int vsp_move_state_fd(const struct vsp_client *client);
void vsp_move_send_resume(struct vsp_client *client, bool announce);
void vsp_move_free_state(struct vsp_client *client);

/* vsp_recover.c */
/* The link was lost. Returns whether the NIC is being recovered: then the guest is told nothing. */
bool vsp_recover_begin(struct vsp_client *client);
/* It is not, or not any more: the NIC is unplugged, at once or when it goes on. */
void vsp_recover_end(struct vsp_client *client);
/* While it is being recovered: the timer's turn. */
void vsp_recover_step(struct vsp_client *client);
/* netvspd has made the vNIC anew. */
void vsp_recover_replay(struct vsp_client *client);
/* Whether the NIC would be recovered if the link were lost now. */
bool vsp_recover_is_possible(const struct vsp_client *client);
/* Gives netvspd an empty journal, before the first channel opens. Without one it all works, but
 * that a lost netvspd costs the guest its NIC. */
void vsp_recover_give_journal(struct vsp_client *client);
void vsp_recover_fini(struct vsp_client *client);

/* vsp_device.c */
/* Fills the message of a GPADL or an open channel of the device as it was told before. Returns the
 * message (to be freed) or NULL; the number of fds in *count, or -errno. */
struct vsp_header *vsp_device_gpadl_message(const struct gpadl *gpadl);
int vsp_device_open_message(const struct vsp_device *nic, uint32_t sub_index,
			    struct vsp_channel_open *message, int fds[2]);
/* Does what was put off. */
void vsp_device_run_deferred(struct vsp_device *nic);

/* Signals guest and netvspd on every open channel: what is in the rings is found. */
void vsp_device_kick(struct vsp_device *nic);
/* Offers the NIC to the guest. Returns 0 or -errno as vmbus_server_add_device(). */
int vsp_device_offer(struct vsp_client *client);
/* Unplugs the client's device: it goes its own way until the guest has let go of it. */
void vsp_device_orphan(struct vsp_client *client);
/* netvspd is gone, and may have been killed between a write to what the guest has lent to it and
 * the mark of that: all of it counts as written. */
void vsp_devices_mark_dirty(const struct vsp_client *client);
/* Frees every device, without the guest's consent: the VMBus server is about to go. */
void vsp_devices_free(struct vsp_client *client);

#endif
