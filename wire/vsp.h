/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The vsp socket: vmwp (client) ↔ netvspd (server), SOCK_SEQPACKET, one connection a vNIC.
 * Little-endian, fixed layout, fds by SCM_RIGHTS. vmwp sends a request and gets exactly one reply
 * {same type | VSP_REPLY, same sequence, status}; requests may be pipelined and are answered in
 * order, except CHANNEL_CLOSE and GPADL_REMOVE, which are answered when the data path has let go,
 * and PROBE, which is answered when the network has.
 * netvspd sends notifications of its own, never answered. When the connection ends, either way,
 * netvspd drops the vNIC with all its channels, GPADLs and mappings, and vmwp tries again.
 *
 * Order: HELLO, MEMORY, NIC, VLAN where the vNIC has a mode, then GPADL_ADD, CHANNEL_OPEN, ... as
 * the guest drives them. INFO and PROBE need no more than HELLO. Source: docs/architecture.md,
 * docs/migration.md.
 *
 * A move. Source: SAVE; from its reply on the vNIC rests (netvspd touches no guest memory, and
 * holds the frames that come for it); then RESUME where the move was given up, or DEPART where it
 * is committed: what was held and what still comes goes back as LATE_FRAME, until the connection
 * ends. Destination: NIC with VSP_NIC_INCOMING (the vNIC rests from the start), GPADL_ADD, RESTORE,
 * CHANNEL_OPEN with VSP_CHANNEL_RESTORED, then RESUME with VSP_RESUME_ANNOUNCE, and INJECT for each
 * late frame.
 */
#ifndef LUNAR_WIRE_VSP_H
#define LUNAR_WIRE_VSP_H

#include <assert.h>
#include <stdint.h>

#define VSP_VERSION	      3
#define VSP_VERSION_MOVES     2 /* the first with SAVE and all after it */
#define VSP_VERSION_VLANS     3 /* the first with VLAN and VLAN_CHECK */
#define VSP_SOCKET_DEFAULT    "/run/lunar/netvspd.sock"
#define VSP_MAX_MESSAGE_BYTES 98304 /* 96 KiB */
#define VSP_REPLY	      0x80000000u
#define VSP_NOTIFY	      0x40000000u

enum vsp_type {
	VSP_HELLO = 1,
	VSP_MEMORY = 2,
	VSP_NIC = 3,
	VSP_GPADL_ADD = 4,
	VSP_GPADL_REMOVE = 5,
	VSP_CHANNEL_OPEN = 6,
	VSP_CHANNEL_CLOSE = 7,
	VSP_CHANNEL_MODIFY = 8,
	VSP_STATS = 9,
	VSP_SAVE = 10,
	VSP_RESTORE = 11,
	VSP_RESUME = 12,
	VSP_DEPART = 13,
	VSP_INJECT = 14,
	VSP_INFO = 15,
	VSP_PORTALS = 16,
	VSP_PROBE = 17,
	VSP_JOURNAL = 18,
	VSP_VLAN = 19,
	VSP_VLAN_CHECK = 20,
	VSP_SUB_CHANNELS = VSP_NOTIFY | 1, /* netvspd → vmwp: offer this many sub-channels */
	VSP_NIC_STATE = VSP_NOTIFY | 2,	 /* netvspd → vmwp: what the guest negotiated, for show */
	VSP_LATE_FRAME = VSP_NOTIFY | 3, /* netvspd → vmwp, after DEPART: a frame for the guest */
};

struct vsp_header {
	uint32_t type;
	uint32_t size_bytes; /* of the whole message, header included */
	uint32_t sequence;
	int32_t status; /* replies: 0 or -errno; otherwise 0 */
};
static_assert(sizeof(struct vsp_header) == 16, "vsp header");

/* Request and reply. The reply's version is the one in force: the lower of the two. */
struct vsp_hello {
	struct vsp_header header;
	uint32_t version;
	uint32_t reserved;
};

struct vsp_region {
	uint64_t gpa;
	uint64_t size_bytes;
	uint64_t fd_offset;
};

/* fds: dirty bitmap, signal table, then one per region; all memfds sealed against shrinking
 * (F_SEAL_SHRINK), or the reply's status is -EPERM. */
struct vsp_memory {
	struct vsp_header header;
	uint32_t vp_count;
	uint32_t region_count; /* 1..GUEST_MEMORY_MAX_REGIONS */
	struct vsp_region regions[];
};

#define VSP_NIC_SPOOF_GUARD 1u /* frames must leave with the vNIC's own source MAC */
#define VSP_NIC_INCOMING    2u /* at rest until RESUME; until then no frame goes either way */

/* Reply status: -EEXIST (MAC or name in use on this switch), -EINVAL. */
struct vsp_nic {
	struct vsp_header header;
	char name[48]; /* "vm/nic0", NUL-terminated */
	uint8_t mac[6];
	uint16_t mtu; /* largest that the guest may set: 576..9216, without the 14-byte header */
	uint32_t flags;
	uint32_t max_channels; /* 1..64, primary included */
};
static_assert(sizeof(struct vsp_nic) == 16 + 48 + 16, "vsp nic");

/* Ranges as gpadl_parse() reads them. */
struct vsp_gpadl_add {
	struct vsp_header header;
	uint32_t gpadl_id;
	uint32_t range_count;
	uint8_t ranges[];
};

struct vsp_gpadl_remove {
	struct vsp_header header;
	uint32_t gpadl_id;
	uint32_t reserved;
};

/* After RESTORE, for a channel that was open when the vNIC was saved: the rings go on where they
 * are. Where the guest has broken them the channel opens all the same, and stays broken. */
#define VSP_CHANNEL_RESTORED 1u

/* fds: kick (eventfd that KVM signals on the guest's SignalEvent), then the target VP's SINT irqfd
 * unless target_vp is VMBUS_NO_INTERRUPTS. */
struct vsp_channel_open {
	struct vsp_header header;
	uint32_t sub_index;
	uint32_t gpadl_id;
	uint32_t downstream_page_offset;
	uint32_t target_vp;
	uint32_t event_flag;
	uint32_t flags; /* VSP_CHANNEL_* */
	uint8_t user_data[120];
};
static_assert(sizeof(struct vsp_channel_open) == 16 + 24 + 120, "vsp channel open");

struct vsp_channel_close {
	struct vsp_header header;
	uint32_t sub_index;
	uint32_t reserved;
};

/* fds: the new target VP's SINT irqfd, unless VMBUS_NO_INTERRUPTS. */
struct vsp_channel_modify {
	struct vsp_header header;
	uint32_t sub_index;
	uint32_t target_vp;
};

/* Reply to VSP_STATS (request: header only). Seen from the guest: tx is what it sent. */
struct vsp_stats {
	struct vsp_header header;
	uint64_t tx_packets;
	uint64_t tx_bytes;
	uint64_t tx_dropped;
	uint64_t rx_packets;
	uint64_t rx_bytes;
	uint64_t rx_dropped;
	uint64_t tx_spoofed; /* dropped by the MAC-spoof guard */
	uint64_t tx_malformed;
	/* From VSP_VERSION_VLANS on: dropped by the VLAN rules. */
	uint64_t tx_vlan;
	uint64_t rx_vlan;
};

#define VSP_MAX_STATE_BYTES (4u << 20)

/* Reply to VSP_SAVE (request: header only), and the request VSP_RESTORE. fds: a memfd, sealed
 * against shrinking and writing, with that many bytes of state from its start: sections as
 * base/state.h has them, opaque to vmwp. Notifications that were due come before SAVE's reply: the
 * VM's other state must have taken them in. SAVE of a vNIC at rest gives its state again. RESTORE's
 * status: -EPERM (not sealed), -EPROTO and -EOPNOTSUPP (not readable, too new), -EINVAL (does not
 * fit this vNIC: MAC, channels, MTU, GPADLs; or not INCOMING, or restored already), -ENOENT (a
 * GPADL is missing). */
struct vsp_state {
	struct vsp_header header;
	uint64_t size_bytes; /* 1..VSP_MAX_STATE_BYTES */
};

#define VSP_JOURNAL_BYTES   524288u
#define VSP_JOURNAL_RECOVER 1u

/*
 * A netvspd that dies must not cost the guest its NIC. fds: a memfd of at least VSP_JOURNAL_BYTES,
 * zeroed, sealed against shrinking, that vmwp keeps; opaque to it. Given once, before the first
 * channel is opened, netvspd keeps in it what a successor needs. When the connection is lost, vmwp
 * gives the successor the same journal with VSP_JOURNAL_RECOVER, in the place of RESTORE: NIC with
 * VSP_NIC_INCOMING, GPADL_ADD for each GPADL that is still lent, JOURNAL, CHANNEL_OPEN with
 * VSP_CHANNEL_RESTORED for each channel that is still open, RESUME. The guest runs all the while.
 * Status: -EPERM, -EINVAL; -EBUSY: a channel is open; -ENODATA: there is nothing to go on with
 * (the guest had not begun, or was in the middle of it: the journal is taken all the same, and the
 * vNIC is new); RESTORE's. After another refusal the connection is of no use.
 */
struct vsp_journal {
	struct vsp_header header;
	uint32_t flags; /* VSP_JOURNAL_* */
	uint32_t reserved;
};

/* The guest has a new place: announce it to the network (RARP, repeated) and tell the guest that
 * its medium is connected, so that it announces itself. Only where a move is complete. */
#define VSP_RESUME_ANNOUNCE 1u

/* RESUME of a vNIC that runs does no more than announce it, where that is asked. -EINVAL after
 * DEPART (request: header only; -EINVAL for a vNIC that was not saved). */
struct vsp_resume {
	struct vsp_header header;
	uint32_t flags;
	uint32_t reserved;
};

#define VSP_MAX_FRAME_BYTES 65536u

/* VSP_LATE_FRAME and the request VSP_INJECT: one frame as it is on the wire, without FCS, checksums
 * complete, an 802.1Q tag in place. header.size_bytes tells its length. */
struct vsp_frame {
	struct vsp_header header;
	uint8_t bytes[];
};

#define VSP_MAX_UPLINKS 8

/* Reply to VSP_INFO (request: header only). */
struct vsp_info {
	struct vsp_header header;
	uint32_t uplink_count;
	uint32_t vnic_count;
	struct {
		char name[32];	  /* DPDK's, NUL-terminated */
		uint32_t link_up; /* 0 or 1 */
		uint32_t mtu;
	} uplinks[VSP_MAX_UPLINKS];
};

#define VSP_MAX_PORTALS 16

/* An iSCSI portal that the guest was seen to talk to, and where its frames went. */
struct vsp_portal {
	uint8_t address[16]; /* IPv6, or IPv4 mapped into it (::ffff:a.b.c.d) */
	uint8_t next_hop[6];
	uint16_t port; /* 3260 */
	uint16_t vlan; /* 0: untagged */
	uint8_t reserved[6];
};
static_assert(sizeof(struct vsp_portal) == 32, "vsp portal");

/* Reply to VSP_PORTALS (request: header only): the vNIC's, the latest first. */
struct vsp_portals {
	struct vsp_header header;
	uint32_t count;
	uint32_t reserved;
	struct vsp_portal portals[VSP_MAX_PORTALS];
};

/* Asks the network behind the uplinks for that address, or where it is not on the link for its next
 * hop. Reply, header only, within 2 s: 0 (somebody answers), -EHOSTUNREACH, -ENETDOWN (no uplink
 * has a link), -EAFNOSUPPORT (cannot be asked for without an address of one's own). */
struct vsp_probe {
	struct vsp_header header;
	struct vsp_portal portal;
};

/* VLAN modes: see docs/networking.md. */
#define VSP_VLAN_DEFAULT     0 /* every VLAN, tags as their sender gave them */
#define VSP_VLAN_UNTAGGED    1
#define VSP_VLAN_ACCESS	     2
#define VSP_VLAN_TRUNK	     3
#define VSP_VLAN_ISOLATED    4
#define VSP_VLAN_COMMUNITY   5
#define VSP_VLAN_PROMISCUOUS 6
#define VSP_VLAN_SET_BYTES   512

/*
 * VSP_VLAN: the vNIC's VLAN mode, VSP_VLAN_DEFAULT before the first. At any time after NIC; frames
 * are filtered by it from the reply on. A vNIC that is to have a mode gets it before it can receive
 * anything, that is, before CHANNEL_OPEN and RESUME. Status: -EINVAL (no such configuration),
 * -ENOTUNIQ (one of its VLANs has another part in a private VLAN of this switch; the mode stays as
 * it was).
 *
 * VSP_VLAN_CHECK needs no more than HELLO. Reply: struct vsp_vlan_missing.
 */
struct vsp_vlan {
	struct vsp_header header;
	uint32_t mode;	    /* VSP_VLAN_* */
	uint16_t id;	    /* access: the VLAN; trunk: native, 0: none; private: primary; else 0 */
	uint16_t secondary; /* isolated and community; else 0 */
	uint8_t list[VSP_VLAN_SET_BYTES]; /* trunk: allowed; promiscuous: secondaries; else empty.
					     VLAN v is bit v % 8 of byte v / 8 */
};
static_assert(sizeof(struct vsp_vlan) == 16 + 8 + 512, "vsp vlan");

/* Those VLANs of the configuration that no uplink of the switch carries, of the uplinks that have a
 * link where any has; 0 stands for frames without a VLAN. */
struct vsp_vlan_missing {
	struct vsp_header header;
	uint8_t list[VSP_VLAN_SET_BYTES];
};

struct vsp_sub_channels {
	struct vsp_header header;
	uint32_t count;
	uint32_t reserved;
};

struct vsp_nic_state {
	struct vsp_header header;
	uint32_t nvsp_version; /* 0: not negotiated; 0x60001 is 6.1 */
	uint32_t mtu;
	uint32_t channels_open;
	uint32_t rndis_up; /* 1: the guest set a packet filter, so it can receive */
};

#endif
