/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A vNIC's saved state as bytes (sections of base/state.h; opaque to vmwp), and as a structure
 * between the two. Written by one netvspd, read by another of the same, the last or the next
 * version. What is read is hostile: here its shape and bounds are checked, whether it fits the vNIC
 * is checked by nic_restore(). Control thread or worker, no state of its own.
 *
 * Not in it: ring indices (guest memory has them) and frames (they are held apart).
 */
#ifndef LUNAR_NETVSP_SAVED_STATE_H
#define LUNAR_NETVSP_SAVED_STATE_H

#include "netvsp/nvsp.h"
#include "netvsp/rndis_control.h"
#include "netvsp/rx_buffer.h"
#include "netvsp/switch.h"
#include "wire/vsp.h"

struct state_writer;

/* Sections of the largest receive buffer that there can be. */
#define SAVED_MAX_HELD	   19456u
#define SAVED_MAX_MESSAGES 64u
#define SAVED_MAX_VLANS	   16u

/* A message to the guest that waits for room. */
struct saved_message {
	bool is_rndis; /* else an in-band NVSP message */
	uint32_t length;
	uint8_t bytes[RNDIS_CONTROL_MAX_RESPONSE_BYTES];
};

struct saved_nic {
	uint8_t mac[6]; /* the vNIC's own: another's state is refused */
	struct nvsp_saved nvsp;
	struct rndis_saved rndis;
	uint64_t open_channels; /* a bit each, the primary's included */
	uint32_t held_count;
	struct held_section *held;
	uint32_t message_count;
	struct saved_message *messages;
	struct switch_port_counters counters;
	uint32_t vlan_count; /* that the guest has sent on: announced on, too */
	uint16_t vlans[SAVED_MAX_VLANS];
	uint32_t portal_count;
	struct vsp_portal portals[VSP_MAX_PORTALS];
};

/* Appends the sections; errors stay in the writer. */
void saved_nic_write(const struct saved_nic *saved, struct state_writer *writer);
/* Returns 0 (fini it); -EPROTO: cut or malformed; -EINVAL: out of bounds; -EOPNOTSUPP: of an
 * incompatible version; -ENOMEM. */
int saved_nic_read(struct saved_nic *saved, const void *bytes, size_t length);
/* Frees what it points to. Takes one that is all zero. */
void saved_nic_fini(struct saved_nic *saved);

#endif
