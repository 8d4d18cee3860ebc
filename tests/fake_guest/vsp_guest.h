/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A fake guest on netvspd's vsp socket: plays vmwp and the guest behind it in one process, without
 * KVM. Makes guest memory and the signal table, connects, and carries the fake driver's GPADLs and
 * channels over wire/vsp.h.
 */
#ifndef LUNAR_TESTS_FAKE_GUEST_VSP_GUEST_H
#define LUNAR_TESTS_FAKE_GUEST_VSP_GUEST_H

#include <stdint.h>

#include "tests/fake_guest/fake_netvsc.h"
#include "wire/vsp.h"

struct vsp_guest;

struct vsp_guest_config {
	const char *socket; /* path */
	const char *name;   /* of the vNIC, "vm/nic0" */
	uint8_t mac[6];
	uint16_t mtu;	       /* largest; 0: 9000 */
	uint32_t flags;	       /* VSP_NIC_* */
	uint32_t max_channels; /* 0: 1 */
	uint32_t vp_count;     /* 0: as many as channels */
	uint64_t memory_bytes; /* 0: 64 MiB */
	int timeout_ms;	       /* for each answer of the socket; 0: 20000 */
};

/* Connects, and says HELLO, MEMORY and NIC. Returns 0, -EPROTO (an answer against wire/vsp.h),
 * -ETIMEDOUT, the reply's own -errno (-EEXIST: MAC or name in use), or another -errno. */
int vsp_guest_create(const struct vsp_guest_config *config, struct vsp_guest **guest);
/* Takes NULL. Ends the connection first: netvspd drops all that is left. */
void vsp_guest_destroy(struct vsp_guest *guest);

/* Makes a driver on this vNIC; at most one at a time. The caller destroys it before the guest. */
int vsp_guest_driver(struct vsp_guest *guest, const struct fake_netvsc_config *config,
		     struct fake_netvsc **nv);

int vsp_guest_stats(struct vsp_guest *guest, struct vsp_stats *stats);
/* The last VSP_NIC_STATE, all zero before the first. Reads what is waiting on the socket. */
const struct vsp_nic_state *vsp_guest_nic_state(struct vsp_guest *guest);
/* Sends a channel's interrupts to another VP (MODIFYCHANNEL). */
int vsp_guest_channel_modify(struct vsp_guest *guest, uint32_t sub_index, uint32_t vp);

/* ---- a move: the guest's memory and driver stay, the vNIC goes from one netvspd to another ----
 */

/* SAVE. The state's fd is the caller's. */
int vsp_guest_save(struct vsp_guest *guest, int *state_fd, uint64_t *size_bytes);
/* On a new connection to (another) netvspd: all that comes before RESUME. The vNIC is this one from
 * then on; the old connection is parked. Where it fails the guest stays where it is. */
int vsp_guest_arrive(struct vsp_guest *guest, const char *socket, int state_fd,
		     uint64_t size_bytes);
int vsp_guest_resume(struct vsp_guest *guest, uint32_t flags);
/* DEPART, on the parked connection. */
int vsp_guest_depart(struct vsp_guest *guest);
/* The next VSP_LATE_FRAME of the parked connection; its length, or 0 after timeout_ms. */
size_t vsp_guest_take_late(struct vsp_guest *guest, uint8_t *frame, size_t size, int timeout_ms);
int vsp_guest_inject(struct vsp_guest *guest, const void *frame, size_t length);
/* Ends the parked connection. */
void vsp_guest_forget_old(struct vsp_guest *guest);

/* Gives netvspd a journal: before the driver starts. */
int vsp_guest_keep_journal(struct vsp_guest *guest);
/* Its fd, which stays the guest's; -1: none. */
int vsp_guest_journal(const struct vsp_guest *guest);
/* netvspd has died: a new one, on any path, goes on from the journal. */
int vsp_guest_recover(struct vsp_guest *guest, const char *socket);

/* Any request without fds; its reply into reply, at least reply_bytes of it where the status is 0.
 */
int vsp_guest_ask(struct vsp_guest *guest, uint32_t type, struct vsp_header *message, size_t length,
		  void *reply, size_t reply_bytes);
struct fake_space *vsp_guest_space(struct vsp_guest *guest);
/* For hostile tests. The socket stays the guest's. */
int vsp_guest_socket(const struct vsp_guest *guest);

#endif
