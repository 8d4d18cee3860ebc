/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A vNIC: the parent's end of one synthetic NIC. It puts the NVSP session, the RNDIS device, the
 * channels (queue.h), the guest's buffers and a port of the switch together.
 *
 * All calls are for the control thread; they return when the worker has taken the change in, so
 * what a caller lets go of afterwards (GPADL, channel, memory) is no longer touched.
 */
#ifndef LUNAR_NETVSP_NIC_H
#define LUNAR_NETVSP_NIC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct data_path;
struct gpadl;
struct guest_memory;
struct nic;
struct signal_table;
struct state_writer;
struct vlan_config;
struct vsp_portal;

#define NIC_MAX_GPADLS 256

struct nic_config {
	char name[48];
	uint8_t mac[6];
	uint16_t mtu; /* largest that the guest may set */
	bool spoof_guard;
	uint32_t max_channels;
	bool incoming; /* it neither sends nor receives until nic_resume() */
};

/* notice: something in nic_state changed; called on the worker's thread, at most once until the
 * next nic_get_state(). Must not block or call the NIC. */
struct nic_ops {
	void (*notice)(void *ctx);
	/* The same for a departed NIC: frames have come, until nic_take_late() has taken them all.
	 */
	void (*late)(void *ctx);
};

/* memory and signals stay the caller's and must outlive the NIC. Returns 0, -EINVAL, -EEXIST (name
 * or MAC in use), -ENOSPC or -ENOMEM. */
int nic_create(struct data_path *path, struct guest_memory *memory,
	       const struct signal_table *signals, const struct nic_config *config,
	       const struct nic_ops *ops, void *ctx, struct nic **nic);
/* Takes NULL. Closes what is open. */
void nic_destroy(struct nic *nic);

/* Takes the GPADL where it returns 0. -EEXIST: the id is in use; -ENOSPC. */
int nic_gpadl_add(struct nic *nic, struct gpadl *gpadl);
/* -ENOENT; -EBUSY: the ring of an open channel. */
int nic_gpadl_remove(struct nic *nic, uint32_t gpadl_id);

struct nic_channel {
	uint32_t sub_index;
	uint32_t gpadl_id;
	uint32_t downstream_page_offset;
	uint32_t target_vp;
	uint32_t event_flag;
	bool restored;
	int kick_fd; /* the NIC's where nic_channel_open() returns 0 */
	int irqfd;   /* same; -1: no interrupts */
};

/* -EINVAL: index or page offset out of range, or a channel that is not what the NIC waits for: one
 * of those that were open after nic_restore(), a new one otherwise; -ENOENT: no such GPADL; -EBUSY:
 * open already; -ENOTCONN: a sub-channel without its primary; -EPROTO: ring indices (a restored
 * channel is opened as broken); -EFAULT: pages that are not guest memory; -ENOMEM. */
int nic_channel_open(struct nic *nic, const struct nic_channel *channel);
/* -ENOENT: not open. */
int nic_channel_close(struct nic *nic, uint32_t sub_index);
/* Takes irqfd (-1: none) where it returns 0. -ENOENT. */
int nic_channel_modify(struct nic *nic, uint32_t sub_index, uint32_t target_vp, int irqfd);

struct nic_state {
	uint32_t nvsp_version;
	uint32_t mtu;
	uint32_t channels_open;
	bool rndis_up;
	uint32_t sub_channels_wanted; /* to be offered by the bus; 0: none asked for since the last
					 look */
};
void nic_get_state(struct nic *nic, struct nic_state *state);

/* Seen from the guest. */
struct nic_stats {
	uint64_t tx_packets;
	uint64_t tx_bytes;
	uint64_t tx_dropped;
	uint64_t rx_packets;
	uint64_t rx_bytes;
	uint64_t rx_dropped;
	uint64_t tx_spoofed;
	uint64_t tx_malformed;
	uint64_t tx_vlan; /* dropped by the VLAN rules */
	uint64_t rx_vlan;
};
void nic_get_stats(struct nic *nic, struct nic_stats *stats);

/* Changes the VLAN mode (checked; VLAN_DEFAULT at first); a NIC that runs is announced to the
 * network, where it may be new. Returns 0, or -EEXIST as switch_port_set_vlan(). */
int nic_set_vlan(struct nic *nic, const struct vlan_config *config);

/* The portals that the guest was seen to talk to, their VLANs as an uplink has them. Returns how
 * many; portals has room for VSP_MAX_PORTALS. */
uint32_t nic_get_portals(struct nic *nic, struct vsp_portal *portals);

/* ---- a move ---- */

/* Puts the NIC to rest: the round that is under way is finished, what was gathered for the guest is
 * published, and from then on nothing of the guest's is touched; frames for it are held. Writes its
 * state. Returns 0; -EINVAL: departed; -ENOMEM (at rest all the same). */
int nic_save(struct nic *nic, struct state_writer *writer);
/* Makes an incoming NIC the one that was saved. bytes are hostile. The GPADLs of its buffers have
 * been added, and no channel opened. Returns 0; -EPROTO, -EOPNOTSUPP: not readable; -EINVAL: not
 * for this NIC, or not one that waits for it; -ENOENT: a GPADL is missing; -EFAULT; -ENOMEM. */
int nic_restore(struct nic *nic, const void *bytes, size_t length);
/* The journal is kept (journal.h) in fd, which stays the caller's. No channel is open. recover: an
 * incoming NIC goes on with what another netvspd has left there, as nic_restore(). Returns 0;
 * -EPERM, -EINVAL, -EBUSY; -ENODATA: nothing was left, and the journal is kept from now on; or as
 * nic_restore(). */
int nic_keep_journal(struct nic *nic, int fd, bool recover);
/* Ends the rest of an incoming or saved NIC: rings are looked at at once, the guest is signalled,
 * and what was held is delivered. Nothing for one that runs. Returns 0, -EINVAL: departed; or
 * -errno from epoll (still at rest). */
int nic_resume(struct nic *nic);
/* The machine of a saved NIC runs elsewhere now. What was held, and what still comes, is there for
 * nic_take_late(). -EINVAL: not saved. */
int nic_depart(struct nic *nic);

bool nic_is_departed(const struct nic *nic);

#define NIC_LATE_BYTES	     524288u
#define NIC_LATE_FRAME_BYTES 262144u /* the most that one frame becomes */
#define NIC_LATE_ALIGN	     8u
/* Takes late frames out of a departed NIC, each a whole struct vsp_frame (VSP_LATE_FRAME) as it
 * would be on the wire, the next one at the next multiple of NIC_LATE_ALIGN. messages has room for
 * NIC_LATE_BYTES. Returns the bytes used; 0: no frame is left. */
size_t nic_take_late(struct nic *nic, void *messages);
/* Gives the guest a late frame as if an uplink had brought it. bytes are hostile. Returns 0;
 * -EINVAL: not a frame for this guest (or its VLAN mode), or the NIC is saved; -EMSGSIZE; -ENOBUFS:
 * dropped. */
int nic_inject(struct nic *nic, const void *bytes, size_t length);
/* Tells the network where the guest is now (once; networks lose frames). */
void nic_announce(struct nic *nic);
/* Tells the guest that its medium is connected: it announces itself then. */
void nic_announce_to_guest(struct nic *nic);

#endif
