/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vmwp's end of the vsp socket (wire/vsp.h): one connection for one virtual NIC. It offers the NIC
 * on the VMBus and hands everything that the guest does with its channels on to netvspd, which does
 * the work. All calls are for the event loop's thread.
 *
 * When netvspd goes away the guest keeps its NIC, and the next netvspd goes on with it
 * (vsp_recover.c). Where that cannot be, or not within some seconds, the NIC is taken off the bus,
 * as if unplugged, and is offered anew after netvspd is back.
 */
#ifndef LUNAR_HYPERVISOR_VSP_CLIENT_H
#define LUNAR_HYPERVISOR_VSP_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
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
struct vsp_portal;

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
	bool incoming; /* at rest until vsp_client_resume(); a lost link is final until then */
};

/*
 * Reaches netvspd, has it make the vNIC and offers the NIC, waiting for at most a few seconds.
 * must_reach: that it cannot be reached is an error (a VM's start); otherwise it is tried again
 * from the loop. Then, and for an incoming NIC, "name in use" is waited out: after a reboot, or a
 * move there and back, netvspd may not have seen the end of the last connection yet.
 * Returns 0, or -errno with *error (EXIT_NO_SWITCH).
 */
int vsp_client_create(const struct vsp_client_config *config, bool must_reach,
		      struct vsp_client **client, struct vm_error *error);
/* Takes NULL. netvspd lets go of everything when the connection ends. */
void vsp_client_destroy(struct vsp_client *client);

void vsp_client_get_status(const struct vsp_client *client, struct vm_nic_status *status);

/* config.nic->vlan has been changed: tells netvspd, and waits for its answer, for at most two
 * seconds. Returns 0 (also where there is no connection: the next one brings it); -ENOTUNIQ: it
 * does not go with the other ports of that switch; -EOPNOTSUPP: netvspd is too old; or another
 * -errno. Where it is not 0 the caller puts the old mode back. */
int vsp_client_change_vlan(struct vsp_client *client);

/* ---- moves (vsp_move.c) ---- */

/* status: 0 or -errno. From the loop. */
typedef void (*vsp_client_done_fn)(void *ctx, int status);

/*
 * Brings the NIC to rest and fetches its state from netvspd; from done with 0 on netvspd touches no
 * guest memory, until vsp_client_resume(), which is due in any case where this returned 0. At rest
 * the guest is told nothing, not even that netvspd is lost. No request of the bus is unanswered.
 * Returns 0 (done follows), -ENOTCONN (netvspd is not there, or the guest still holds on to the
 * NIC of a former connection), -EOPNOTSUPP (netvspd is too old), -EBUSY or another -errno.
 */
int vsp_client_save(struct vsp_client *client, vsp_client_done_fn done, void *ctx);
/* The state that was saved; opaque. NULL: there is none. */
const void *vsp_client_get_state(const struct vsp_client *client, size_t *length);

/* Of an incoming NIC, before its channels are restored: the state, which is copied. Returns 0,
 * -EPROTO (too long, or none) or -ENOMEM. */
int vsp_client_set_state(struct vsp_client *client, const void *state, size_t length);
/* After its channels are restored: done follows, from within the call or later, when netvspd has
 * taken the state. Returns 0 or -errno. */
int vsp_client_restore(struct vsp_client *client, vsp_client_done_fn done, void *ctx);

/* Goes on after a save, or starts to after a restore. announce: see VSP_RESUME_ANNOUNCE. Both ends
 * of every ring are kicked. */
void vsp_client_resume(struct vsp_client *client, bool announce);

typedef void (*vsp_client_frame_fn)(void *ctx, uint32_t nic, const void *frame, size_t length);
/* The guest is elsewhere: what still comes for it goes to fn, as long as the client lives. */
void vsp_client_depart(struct vsp_client *client, vsp_client_frame_fn fn, void *ctx);
/* Gives a late frame to the guest, or drops it. */
void vsp_client_inject(struct vsp_client *client, const void *frame, size_t length);

/* The iSCSI portals that the guest was seen to talk to, at most about a second ago. Returns their
 * number, at most VSP_MAX_PORTALS. */
size_t vsp_client_get_portals(const struct vsp_client *client, struct vsp_portal *portals);

#endif
