/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The host's Ethernet switch between vNICs and uplinks. It learns source addresses per VLAN, floods
 * what it does not know, and never sends a frame back where it came from, nor from one uplink to
 * another: it is an edge switch, and two uplinks on one segment must not become a loop. Each port
 * has a VLAN mode (vlan/vlan_port.h), by which frames are filtered as they enter and as they leave.
 *
 * Between ports a frame is one rte_mbuf (or chain) with
 *  - an 802.1Q tag outside the frame: RTE_MBUF_F_RX_VLAN_STRIPPED and vlan_tci, both ways. In the
 * switch it is the frame's VLAN; a port to which it means something else (an access port's guest
 * knows of no VLAN) asks switch_port_release() for the tag that the far end is to see;
 *  - RTE_MBUF_F_RX_L4_CKSUM_GOOD where the port of entry verified the checksum;
 *  - RTE_MBUF_F_TX_TCP_CKSUM, _UDP_CKSUM, _TCP_SEG (with _IPV4 or _IPV6, l2_len, l3_len, l4_len,
 * tso_segsz) where the sender left work to do: see netvsp/offload.h. A frame that goes to several
 * ports is shared: who changes it copies it first.
 *
 * All calls are for the worker's thread (create and destroy: while it does not run packets).
 */
#ifndef LUNAR_NETVSP_SWITCH_H
#define LUNAR_NETVSP_SWITCH_H

#include <stdbool.h>
#include <stdint.h>

#include <rte_ether.h>
#include <rte_mbuf.h>

#include "vlan/vlan_port.h"

#define SWITCH_BURST	 64
#define SWITCH_MAX_PORTS 1024

struct vswitch;
struct switch_port;

struct switch_port_ops {
	/* Takes all mbufs. Returns how many of them it accepted, the others being dropped and
	 * freed. */
	uint16_t (*transmit)(void *ctx, struct rte_mbuf **mbufs, uint16_t count);
	/* The burst is over: tell the far end. */
	void (*flush)(void *ctx);
	/* Whether a flooded frame is wanted: multicast, broadcast, unicast to an unknown address.
	 * NULL: always. */
	bool (*wants_flooded)(void *ctx, const struct rte_ether_addr *destination);
};

enum switch_port_kind { SWITCH_PORT_VNIC, SWITCH_PORT_UPLINK };

struct switch_port_config {
	enum switch_port_kind kind;
	const char *name;		/* copied, 47 characters at most */
	struct rte_ether_addr mac;	/* a vNIC's own */
	bool spoof_guard;		/* a vNIC's frames must have its own source address */
	const struct vlan_set *carried; /* an uplink's VLANs, 0: none; NULL: all. Copied */
	const struct switch_port_ops *ops;
	void *ctx;
};

/* As the switch sees it: in from the port, out to the port. */
struct switch_port_counters {
	uint64_t in_packets;
	uint64_t in_bytes;
	uint64_t in_spoofed;
	uint64_t in_malformed;
	uint64_t in_dropped; /* no buffer left */
	uint64_t out_packets;
	uint64_t out_bytes;
	uint64_t out_dropped;
	uint64_t out_too_long; /* for the port's network; in out_dropped, too */
	uint64_t in_vlan;      /* dropped by the port's VLAN rules */
	uint64_t out_vlan;     /* were for this port alone, which its VLAN rules do not allow */
};

struct vswitch_config {
	uint32_t mac_entries;	     /* 0: 8192 */
	uint32_t mac_age_seconds;    /* 0: 300 */
	uint32_t mac_entries_a_vnic; /* learned, 0: 1024 */
};

/* name: of its table in DPDK, at most 12 characters. Returns 0 or -ENOMEM. */
int vswitch_create(const char *name, const struct vswitch_config *config, struct vswitch **sw);
/* Takes NULL. All ports have been removed. */
void vswitch_destroy(struct vswitch *sw);

/* Returns 0; -EEXIST: the name or the vNIC's MAC is in use; -ENOSPC; -ENOMEM; -EINVAL: MAC not a
 * unicast address. */
int vswitch_add_port(struct vswitch *sw, const struct switch_port_config *config,
		     struct switch_port **port);
/* Forgets what was learned there; staged frames are dropped. Takes NULL. */
void vswitch_remove_port(struct vswitch *sw, struct switch_port *port);

/* A vNIC is ready to receive: its own address belongs to this port until it is down, whoever else
 * claims it. */
void switch_port_set_up(struct vswitch *sw, struct switch_port *port, bool up);

/*
 * The machine behind a vNIC has gone to another host, where its address goes with it. From then on
 * the port takes what comes in by an uplink for that address, and what a local vNIC sends to it
 * until the address has been seen on an uplink; nothing that is flooded. Its name and address are
 * free for another port, which takes over when it is set up.
 */
void switch_port_set_departed(struct vswitch *sw, struct switch_port *port,
			      const struct rte_ether_addr *mac);

/* Changes a vNIC's VLAN mode (VLAN_DEFAULT at first). What was learned of the port, and in private
 * VLANs that change with it, is forgotten. Returns 0; -EEXIST: one of its VLANs has another part in
 * a private VLAN of this switch (vlan_map.h); nothing is changed then. config: checked. */
int switch_port_set_vlan(struct vswitch *sw, struct switch_port *port,
			 const struct vlan_config *config);
const struct vlan_port *switch_port_vlan(const struct switch_port *port);
/* Whether the port's VLAN rules let a frame of the switch leave by it, and with which tag. */
bool switch_port_release(const struct switch_port *port, const struct rte_mbuf *mbuf,
			 struct vlan_tag *tag);
/* The VLAN under which addresses in vlan are learned: a private VLAN's primary, or vlan itself. */
uint16_t vswitch_learned_as(const struct vswitch *sw, uint16_t vlan);

/* Takes count frames that came in on a port. They go out at vswitch_flush(), or before that where a
 * port has gathered a burst. */
void vswitch_forward(struct vswitch *sw, struct switch_port *from, struct rte_mbuf **mbufs,
		     uint16_t count);
/* Takes a frame that a port sends to all uplinks and to no vNIC; its source is learned. */
void vswitch_forward_to_uplinks(struct vswitch *sw, struct switch_port *from,
				struct rte_mbuf *mbuf);
/* Marks a port so that its flush op is called by the next vswitch_flush(). */
void switch_port_touch(struct vswitch *sw, struct switch_port *port);
/* Hands gathered frames to their ports, then lets each port touched flush. */
void vswitch_flush(struct vswitch *sw);
/* One second has passed: forgets addresses that are too old. */
void vswitch_tick(struct vswitch *sw);

struct switch_port_counters *switch_port_counters(struct switch_port *port);
const char *switch_port_name(const struct switch_port *port);
enum switch_port_kind switch_port_kind(const struct switch_port *port);
struct switch_port *vswitch_next_port(const struct vswitch *sw, const struct switch_port *after);

struct vswitch_mac {
	struct rte_ether_addr mac;
	uint16_t vlan; /* 0: none; of a private VLAN: its primary */
	bool is_static;
	uint32_t age_seconds;
	const struct switch_port *port;
};
/* Goes through the table: *position starts at 0. False at the end. */
bool vswitch_next_mac(const struct vswitch *sw, uint32_t *position, struct vswitch_mac *mac);
uint32_t vswitch_mac_count(const struct vswitch *sw);
/* Whether an address was seen at an uplink (and not too long ago). */
bool vswitch_is_at_uplink(const struct vswitch *sw, const struct rte_ether_addr *mac,
			  uint16_t vlan);
/* The VLANs, at most max of them, on which a port was seen to use an address by its own tags.
 * Returns how many. */
uint32_t vswitch_port_vlans(const struct vswitch *sw, const struct switch_port *port,
			    const uint8_t mac[RTE_ETHER_ADDR_LEN], uint16_t *vlans, uint32_t max);

#endif
