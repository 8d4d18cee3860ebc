/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Learning, lookup and flooding. The MAC table is an rte_hash from {address, VLAN} to an index into
 * entries; the last source of each port and the last destination of all are remembered, since
 * bursts mostly repeat them. A vNIC that is up has two entries of its own: where frames to its
 * address are delivered, and, under an id that no frame can have, that the address is its own in
 * every VLAN.
 *
 * Policy is in two places: admit() sees each frame that enters, may_leave() each that is about to
 * leave.
 */
#include "netvsp/switch.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include <rte_errno.h>
#include <rte_hash.h>
#include <rte_hash_crc.h>

#include "base/bytes.h"
#include "base/log.h"
#include "vlan/vlan_map.h"

#define LOG_COMPONENT "switch"

#define DEFAULT_MAC_ENTRIES	   8192u
#define DEFAULT_AGE_SECONDS	   300u
#define DEFAULT_MAC_ENTRIES_A_VNIC 1024u
#define AGE_SLICE_SHARE		   16u /* a tick looks at this part of the table */
#define NO_KEY			   UINT64_MAX
#define OWNER_VLAN		   4095u /* reserved by 802.1Q: no frame is admitted with it */
#define MAC_MASK		   UINT64_C(0xffffffffffff) /* of a key */

struct mac_entry {
	uint64_t key; /* NO_KEY: free */
	struct switch_port *port;
	uint32_t seen_seconds;
	bool is_static;
};

struct switch_port {
	TAILQ_ENTRY(switch_port) link;
	TAILQ_ENTRY(switch_port) dirty_link;
	char name[48];
	enum switch_port_kind kind;
	struct rte_ether_addr mac;
	bool spoof_guard;
	bool departed;
	bool up;
	bool dirty;
	const struct switch_port_ops *ops;
	void *ctx;
	struct switch_port_counters counters;
	uint32_t learned;
	uint32_t last_source; /* index into entries */
	uint64_t home_key;    /* of a vNIC that is up: where frames for it are found */
	uint16_t staged_count;
	struct rte_mbuf *staged[SWITCH_BURST];
	struct vlan_port vlan;
};

TAILQ_HEAD(port_list, switch_port);

struct vswitch {
	struct rte_hash *hash;
	struct mac_entry *entries;
	uint32_t entry_count;
	uint32_t last_destination; /* index into entries */
	uint32_t now_seconds;
	uint32_t age_position;
	uint32_t age_seconds;
	uint32_t learned_a_vnic;
	uint32_t port_count;
	uint32_t departed_count;
	uint32_t owner_count; /* entries under OWNER_VLAN */
	struct port_list ports;
	struct port_list dirty;
	struct vlan_map vlans;
};

static uint64_t mac_key(const struct rte_ether_addr *mac, uint16_t vlan)
{
	return (uint64_t)vlan << 48 | (uint64_t)get_le16(mac->addr_bytes + 4) << 32 |
	       get_le32(mac->addr_bytes);
}

static struct vlan_tag frame_tag(const struct rte_mbuf *mbuf)
{
	bool present = mbuf->ol_flags & RTE_MBUF_F_RX_VLAN_STRIPPED;

	return (struct vlan_tag){.present = present, .tci = present ? mbuf->vlan_tci : 0};
}

static void frame_set_tag(struct rte_mbuf *mbuf, const struct vlan_tag *tag)
{
	const uint64_t flags = RTE_MBUF_F_RX_VLAN | RTE_MBUF_F_RX_VLAN_STRIPPED;

	mbuf->ol_flags = tag->present ? mbuf->ol_flags | flags : mbuf->ol_flags & ~flags;
	mbuf->vlan_tci = tag->tci;
}

/* What stands in the frame where its tag was. The frame has a whole Ethernet header. */
static uint16_t frame_ether_type(const struct rte_mbuf *mbuf)
{
	return get_be16(rte_pktmbuf_mtod(mbuf, const uint8_t *) + 2 * RTE_ETHER_ADDR_LEN);
}

static uint16_t learned_as(const struct vswitch *sw, const struct rte_mbuf *mbuf)
{
	return vlan_map_learned_as(&sw->vlans, frame_tag(mbuf).tci & VLAN_ID_MASK);
}

int vswitch_create(const char *name, const struct vswitch_config *config, struct vswitch **out)
{
	char table_name[RTE_HASH_NAMESIZE];
	struct rte_hash_parameters parameters = {
		.name = table_name,
		.entries = config->mac_entries ? config->mac_entries : DEFAULT_MAC_ENTRIES,
		.key_len = sizeof(uint64_t),
		.hash_func = rte_hash_crc,
		.socket_id = (int)SOCKET_ID_ANY,
	};
	struct vswitch *sw = calloc(1, sizeof(*sw));

	if (!sw)
		return -ENOMEM;
	snprintf(table_name, sizeof(table_name), "%.12s_mac", name);
	sw->hash = rte_hash_create(&parameters);
	if (!sw->hash)
		goto err_free;
	sw->entry_count = (uint32_t)rte_hash_max_key_id(sw->hash) + 1;
	sw->entries = calloc(sw->entry_count, sizeof(*sw->entries));
	if (!sw->entries)
		goto err_hash;
	for (uint32_t i = 0; i < sw->entry_count; i++)
		sw->entries[i].key = NO_KEY;
	sw->age_seconds = config->mac_age_seconds ? config->mac_age_seconds : DEFAULT_AGE_SECONDS;
	sw->learned_a_vnic = config->mac_entries_a_vnic ? config->mac_entries_a_vnic
							: DEFAULT_MAC_ENTRIES_A_VNIC;
	TAILQ_INIT(&sw->ports);
	TAILQ_INIT(&sw->dirty);
	vlan_map_init(&sw->vlans);
	*out = sw;
	return 0;

err_hash:
	rte_hash_free(sw->hash);
err_free:
	free(sw);
	return -ENOMEM;
}

void vswitch_destroy(struct vswitch *sw)
{
	if (!sw)
		return;
	rte_hash_free(sw->hash);
	free(sw->entries);
	free(sw);
}

/* ---- the MAC table ---- */

static bool is_owner_key(uint64_t key)
{
	return key >> 48 == OWNER_VLAN;
}

static void forget(struct vswitch *sw, struct mac_entry *entry)
{
	rte_hash_del_key(sw->hash, &entry->key);
	sw->owner_count -= is_owner_key(entry->key);
	if (!entry->is_static)
		entry->port->learned--;
	*entry = (struct mac_entry){.key = NO_KEY};
}

/* Returns the entry's index, or -1 where the table or the port's share of it is full. */
static int32_t remember(struct vswitch *sw, struct switch_port *port, uint64_t key, bool is_static)
{
	struct mac_entry *entry;
	int32_t index;

	if (!is_static && port->kind == SWITCH_PORT_VNIC && port->learned >= sw->learned_a_vnic)
		return -1;
	index = rte_hash_add_key(sw->hash, &key);
	if (index < 0)
		return -1;
	entry = &sw->entries[index];
	if (entry->key == key && !entry->is_static)
		entry->port->learned--;
	if (!is_static)
		port->learned++;
	sw->owner_count += is_owner_key(key) && entry->key != key;
	*entry = (struct mac_entry){
		.key = key, .port = port, .seen_seconds = sw->now_seconds, .is_static = is_static};
	return index;
}

/* Whether a frame's source is another vNIC's own address (it looped back, or somebody poses as that
 * vNIC). Among vNICs that holds in every VLAN, whatever tag a guest puts on. On the wire a bridge
 * may join VLANs, and what it carries over is no fraud. */
static bool is_anothers(const struct vswitch *sw, const struct switch_port *from, uint64_t key)
{
	uint64_t owned = from->kind == SWITCH_PORT_VNIC
				 ? (key & MAC_MASK) | (uint64_t)OWNER_VLAN << 48
				 : key;
	int32_t index = rte_hash_lookup(sw->hash, &owned);

	return index >= 0 && sw->entries[index].is_static && sw->entries[index].port != from;
}

/* Learns a frame's source. False: the frame must not go on, since its source is another's. */
static bool learn(struct vswitch *sw, struct switch_port *from, uint64_t key)
{
	struct mac_entry *entry = &sw->entries[from->last_source];
	int32_t index;

	if (entry->key == key && entry->port == from) {
		entry->seen_seconds = sw->now_seconds;
		return true;
	}
	index = rte_hash_lookup(sw->hash, &key);
	if (index >= 0 && sw->entries[index].port == from) {
		sw->entries[index].seen_seconds = sw->now_seconds;
	} else {
		if (is_anothers(sw, from, key))
			return false;
		index = remember(sw, from, key, false);
	}
	if (index >= 0)
		from->last_source = (uint32_t)index;
	return true;
}

static struct switch_port *look_up(struct vswitch *sw, uint64_t key)
{
	struct mac_entry *entry = &sw->entries[sw->last_destination];
	int32_t index;

	if (entry->key == key)
		return entry->port;
	index = rte_hash_lookup(sw->hash, &key);
	if (index < 0)
		return NULL;
	sw->last_destination = (uint32_t)index;
	return sw->entries[index].port;
}

void vswitch_tick(struct vswitch *sw)
{
	uint32_t count = sw->entry_count / AGE_SLICE_SHARE + 1;

	sw->now_seconds++;
	for (uint32_t i = 0; i < count; i++) {
		struct mac_entry *entry = &sw->entries[sw->age_position];

		if (entry->key != NO_KEY && !entry->is_static &&
		    sw->now_seconds - entry->seen_seconds > sw->age_seconds)
			forget(sw, entry);
		sw->age_position = (sw->age_position + 1) % sw->entry_count;
	}
}

/* ---- ports ---- */

int vswitch_add_port(struct vswitch *sw, const struct switch_port_config *config,
		     struct switch_port **out)
{
	struct switch_port *port;

	if (config->kind == SWITCH_PORT_VNIC && !rte_is_valid_assigned_ether_addr(&config->mac))
		return -EINVAL;
	TAILQ_FOREACH (port, &sw->ports, link) {
		if (port->departed)
			continue;
		if (strncmp(port->name, config->name, sizeof(port->name) - 1) == 0)
			return -EEXIST;
		if (config->kind == SWITCH_PORT_VNIC && port->kind == SWITCH_PORT_VNIC &&
		    rte_is_same_ether_addr(&port->mac, &config->mac))
			return -EEXIST;
	}
	if (sw->port_count >= SWITCH_MAX_PORTS)
		return -ENOSPC;
	port = calloc(1, sizeof(*port));
	if (!port)
		return -ENOMEM;
	strncpy(port->name, config->name, sizeof(port->name) - 1);
	port->kind = config->kind;
	port->mac = config->mac;
	port->spoof_guard = config->spoof_guard;
	port->ops = config->ops;
	port->ctx = config->ctx;
	if (config->carried)
		vlan_port_set_uplink(&port->vlan, config->carried);
	else
		vlan_port_set(&port->vlan, &(struct vlan_config){.mode = VLAN_DEFAULT});
	TAILQ_INSERT_TAIL(&sw->ports, port, link);
	sw->port_count++;
	*out = port;
	return 0;
}

static void forget_port(struct vswitch *sw, const struct switch_port *port)
{
	for (uint32_t i = 0; i < sw->entry_count; i++) {
		if (sw->entries[i].key != NO_KEY && sw->entries[i].port == port)
			forget(sw, &sw->entries[i]);
	}
}

void vswitch_remove_port(struct vswitch *sw, struct switch_port *port)
{
	if (!port)
		return;
	rte_pktmbuf_free_bulk(port->staged, port->staged_count);
	if (port->dirty)
		TAILQ_REMOVE(&sw->dirty, port, dirty_link);
	forget_port(sw, port);
	if (port->departed)
		sw->departed_count--;
	vlan_map_remove(&sw->vlans, &port->vlan.config);
	TAILQ_REMOVE(&sw->ports, port, link);
	sw->port_count--;
	free(port);
}

static struct switch_port *find_departed(const struct vswitch *sw, const struct rte_ether_addr *mac)
{
	struct switch_port *port;

	TAILQ_FOREACH (port, &sw->ports, link) {
		if (port->departed && rte_is_same_ether_addr(&port->mac, mac))
			return port;
	}
	return NULL;
}

/* Its machine has come back, as another port. */
static void retire_departed(struct vswitch *sw, const struct rte_ether_addr *mac)
{
	struct switch_port *port;

	while (sw->departed_count > 0 && (port = find_departed(sw, mac))) {
		port->departed = false;
		sw->departed_count--;
		forget_port(sw, port);
	}
}

void switch_port_set_departed(struct vswitch *sw, struct switch_port *port,
			      const struct rte_ether_addr *mac)
{
	switch_port_set_up(sw, port, false);
	if (port->departed)
		return;
	port->mac = *mac;
	port->departed = true;
	sw->departed_count++;
}

static uint64_t find_home(const struct vswitch *sw, const struct switch_port *port)
{
	return mac_key(&port->mac, vlan_map_learned_as(&sw->vlans, port->vlan.home));
}

/* The vNIC's two entries. */
static void remember_own(struct vswitch *sw, struct switch_port *port)
{
	port->home_key = find_home(sw, port);
	if (remember(sw, port, mac_key(&port->mac, OWNER_VLAN), true) < 0 ||
	    remember(sw, port, port->home_key, true) < 0)
		log_warn("%s: no room for its address in the MAC table: frames to it are flooded",
			 port->name);
}

static void forget_static(struct vswitch *sw, const struct switch_port *port, uint64_t key)
{
	int32_t index = rte_hash_lookup(sw->hash, &key);

	if (index >= 0 && sw->entries[index].port == port && sw->entries[index].is_static)
		forget(sw, &sw->entries[index]);
}

static void forget_own(struct vswitch *sw, const struct switch_port *port)
{
	forget_static(sw, port, mac_key(&port->mac, OWNER_VLAN));
	forget_static(sw, port, port->home_key);
}

void switch_port_set_up(struct vswitch *sw, struct switch_port *port, bool up)
{
	if (up) {
		retire_departed(sw, &port->mac);
		remember_own(sw, port);
	} else if (port->up) {
		forget_own(sw, port);
	}
	port->up = up;
}

/* ---- VLANs ---- */

/* The addresses that were learned in the VLANs of a private one: they belong elsewhere now. */
static void forget_private(struct vswitch *sw, const struct vlan_config *config)
{
	struct vlan_set vlans;

	if (config->mode != VLAN_ISOLATED && config->mode != VLAN_COMMUNITY &&
	    config->mode != VLAN_PROMISCUOUS)
		return;
	vlan_config_needs(config, &vlans);
	for (uint32_t i = 0; i < sw->entry_count; i++) {
		struct mac_entry *entry = &sw->entries[i];

		if (entry->key != NO_KEY && !is_owner_key(entry->key) && !entry->is_static &&
		    vlan_set_has(&vlans, (uint16_t)(entry->key >> 48)))
			forget(sw, entry);
	}
}

int switch_port_set_vlan(struct vswitch *sw, struct switch_port *port,
			 const struct vlan_config *config)
{
	const struct vlan_config old = port->vlan.config;
	struct switch_port *other;
	uint16_t vlan = 0;
	int err;

	if (vlan_config_is_equal(&old, config))
		return 0;
	vlan_map_remove(&sw->vlans, &old);
	err = vlan_map_add(&sw->vlans, config, &vlan);
	if (err) {
		log_warn("%s: VLAN %u has another part in a private VLAN of this switch",
			 port->name, vlan);
		vlan_map_add(&sw->vlans, &old, &vlan); /* as it was before */
		return err;
	}
	vswitch_flush(sw); /* what was let through by the old rules leaves by them */
	forget_port(sw, port);
	forget_private(sw, &old);
	forget_private(sw, config);
	vlan_port_set(&port->vlan, config);
	if (port->up)
		remember_own(sw, port);
	/* Homes of others may have another name now: an access port's in a secondary VLAN has. */
	TAILQ_FOREACH (other, &sw->ports, link) {
		if (!other->up || other->home_key == find_home(sw, other))
			continue;
		forget_own(sw, other);
		remember_own(sw, other);
	}
	return 0;
}

const struct vlan_port *switch_port_vlan(const struct switch_port *port)
{
	return &port->vlan;
}

bool switch_port_release(const struct switch_port *port, const struct rte_mbuf *mbuf,
			 struct vlan_tag *tag)
{
	struct vlan_tag inside = frame_tag(mbuf);

	return vlan_port_release(&port->vlan, &inside, frame_ether_type(mbuf), tag) == VLAN_PASS;
}

uint16_t vswitch_learned_as(const struct vswitch *sw, uint16_t vlan)
{
	return vlan_map_learned_as(&sw->vlans, vlan);
}

struct switch_port_counters *switch_port_counters(struct switch_port *port)
{
	return &port->counters;
}

const char *switch_port_name(const struct switch_port *port)
{
	return port->name;
}

enum switch_port_kind switch_port_kind(const struct switch_port *port)
{
	return port->kind;
}

struct switch_port *vswitch_next_port(const struct vswitch *sw, const struct switch_port *after)
{
	return after ? TAILQ_NEXT(after, link) : TAILQ_FIRST(&sw->ports);
}

bool vswitch_next_mac(const struct vswitch *sw, uint32_t *position, struct vswitch_mac *mac)
{
	while (*position < sw->entry_count) {
		const struct mac_entry *entry = &sw->entries[(*position)++];

		if (entry->key == NO_KEY || is_owner_key(entry->key))
			continue;
		put_le32(mac->mac.addr_bytes, (uint32_t)entry->key);
		put_le16(mac->mac.addr_bytes + 4, (uint16_t)(entry->key >> 32));
		mac->vlan = (uint16_t)(entry->key >> 48);
		mac->is_static = entry->is_static;
		mac->age_seconds = entry->is_static ? 0 : sw->now_seconds - entry->seen_seconds;
		mac->port = entry->port;
		return true;
	}
	return false;
}

uint32_t vswitch_mac_count(const struct vswitch *sw)
{
	return (uint32_t)rte_hash_count(sw->hash) - sw->owner_count;
}

bool vswitch_is_at_uplink(const struct vswitch *sw, const struct rte_ether_addr *mac, uint16_t vlan)
{
	uint64_t key = mac_key(mac, vlan_map_learned_as(&sw->vlans, vlan));
	int32_t index = rte_hash_lookup(sw->hash, &key);

	return index >= 0 && sw->entries[index].port->kind == SWITCH_PORT_UPLINK;
}

uint32_t vswitch_port_vlans(const struct vswitch *sw, const struct switch_port *port,
			    const uint8_t mac[RTE_ETHER_ADDR_LEN], uint16_t *vlans, uint32_t max)
{
	const uint64_t wanted = mac_key((const struct rte_ether_addr *)mac, 0);
	uint32_t count = 0;

	if (!port->vlan.takes_tags)
		return 0;
	for (uint32_t i = 0; i < sw->entry_count && count < max; i++) {
		const struct mac_entry *entry = &sw->entries[i];

		if (entry->key != NO_KEY && entry->port == port && !entry->is_static &&
		    (entry->key & MAC_MASK) == wanted && entry->key >> 48)
			vlans[count++] = (uint16_t)(entry->key >> 48);
	}
	return count;
}

/* ---- frames ---- */

void switch_port_touch(struct vswitch *sw, struct switch_port *port)
{
	if (port->dirty)
		return;
	port->dirty = true;
	TAILQ_INSERT_TAIL(&sw->dirty, port, dirty_link);
}

static void transmit_staged(struct switch_port *port)
{
	uint64_t bytes = 0;
	uint16_t count = port->staged_count;
	uint16_t accepted;

	for (uint16_t i = 0; i < count; i++)
		bytes += port->staged[i]->pkt_len;
	port->staged_count = 0;
	accepted = port->ops->transmit(port->ctx, port->staged, count);
	port->counters.out_packets += accepted;
	port->counters.out_dropped += (uint64_t)(count - accepted);
	port->counters.out_bytes += accepted == count ? bytes : bytes * accepted / count;
}

/* Whether the port's VLAN rules let a frame leave by it. */
static bool may_leave(const struct switch_port *port, const struct rte_mbuf *mbuf)
{
	struct vlan_tag tag;

	return switch_port_release(port, mbuf, &tag);
}

static void stage(struct vswitch *sw, struct switch_port *port, struct rte_mbuf *mbuf)
{
	port->staged[port->staged_count++] = mbuf;
	switch_port_touch(sw, port);
	if (port->staged_count == SWITCH_BURST)
		transmit_staged(port);
}

static void flood(struct vswitch *sw, struct switch_port *from, struct rte_mbuf *mbuf,
		  const struct rte_ether_addr *destination)
{
	struct switch_port *port;

	TAILQ_FOREACH (port, &sw->ports, link) {
		if (port == from ||
		    (port->kind == SWITCH_PORT_UPLINK && from->kind == SWITCH_PORT_UPLINK) ||
		    !may_leave(port, mbuf))
			continue;
		if (port->ops->wants_flooded && !port->ops->wants_flooded(port->ctx, destination))
			continue;
		rte_pktmbuf_refcnt_update(mbuf, 1);
		stage(sw, port, mbuf);
	}
	rte_pktmbuf_free(mbuf);
}

/* Whether a frame may enter; its tag is its VLAN from then on. */
static bool admit(struct vswitch *sw, struct switch_port *from, struct rte_mbuf *mbuf)
{
	const struct rte_ether_hdr *header = rte_pktmbuf_mtod(mbuf, const struct rte_ether_hdr *);
	struct vlan_tag tag = frame_tag(mbuf);

	if (mbuf->data_len < sizeof(*header) || rte_is_multicast_ether_addr(&header->src_addr) ||
	    rte_is_zero_ether_addr(&header->src_addr)) {
		from->counters.in_malformed++;
		return false;
	}
	if (from->spoof_guard && !rte_is_same_ether_addr(&header->src_addr, &from->mac)) {
		from->counters.in_spoofed++;
		return false;
	}
	if (vlan_port_admit(&from->vlan, &tag, frame_ether_type(mbuf)) != VLAN_PASS) {
		from->counters.in_vlan++;
		return false;
	}
	frame_set_tag(mbuf, &tag);
	if (!learn(sw, from, mac_key(&header->src_addr, learned_as(sw, mbuf)))) {
		from->counters.in_spoofed++;
		return false;
	}
	return true;
}

/* Where a frame goes while some machines have left this host: to is what the table says. */
static struct switch_port *find_after_departure(const struct vswitch *sw,
						const struct switch_port *from,
						const struct rte_ether_addr *destination,
						struct switch_port *to)
{
	struct switch_port *departed;

	/* A local sender's frame goes where the address has been seen since. On an uplink the same
	 * would be sending it back. */
	if (to && (to->kind != SWITCH_PORT_UPLINK || from->kind != SWITCH_PORT_UPLINK))
		return to;
	departed = find_departed(sw, destination);
	return departed ? departed : to;
}

/* A frame for a port that is not in its VLAN. Not to be flooded: the address is known. */
static void refuse(struct switch_port *to, struct rte_mbuf *mbuf)
{
	to->counters.out_vlan++;
	rte_pktmbuf_free(mbuf);
}

void vswitch_forward(struct vswitch *sw, struct switch_port *from, struct rte_mbuf **mbufs,
		     uint16_t count)
{
	for (uint16_t i = 0; i < count; i++) {
		struct rte_mbuf *mbuf = mbufs[i];
		const struct rte_ether_hdr *header =
			rte_pktmbuf_mtod(mbuf, const struct rte_ether_hdr *);
		struct switch_port *to;

		from->counters.in_packets++;
		from->counters.in_bytes += mbuf->pkt_len;
		if (!admit(sw, from, mbuf)) {
			rte_pktmbuf_free(mbuf);
			continue;
		}
		to = rte_is_multicast_ether_addr(&header->dst_addr)
			     ? NULL
			     : look_up(sw, mac_key(&header->dst_addr, learned_as(sw, mbuf)));
		if (sw->departed_count > 0)
			to = find_after_departure(sw, from, &header->dst_addr, to);
		if (!to)
			flood(sw, from, mbuf, &header->dst_addr);
		else if (to == from ||
			 (to->kind == SWITCH_PORT_UPLINK && from->kind == SWITCH_PORT_UPLINK))
			rte_pktmbuf_free(mbuf); /* the far side has it already */
		else if (may_leave(to, mbuf))
			stage(sw, to, mbuf);
		else
			refuse(to, mbuf);
	}
}

void vswitch_forward_to_uplinks(struct vswitch *sw, struct switch_port *from, struct rte_mbuf *mbuf)
{
	struct switch_port *port;

	if (admit(sw, from, mbuf)) {
		TAILQ_FOREACH (port, &sw->ports, link) {
			if (port->kind != SWITCH_PORT_UPLINK || !may_leave(port, mbuf))
				continue;
			rte_pktmbuf_refcnt_update(mbuf, 1);
			stage(sw, port, mbuf);
		}
	}
	rte_pktmbuf_free(mbuf);
}

void vswitch_flush(struct vswitch *sw)
{
	struct switch_port *port;

	while ((port = TAILQ_FIRST(&sw->dirty))) {
		TAILQ_REMOVE(&sw->dirty, port, dirty_link);
		port->dirty = false;
		if (port->staged_count > 0)
			transmit_staged(port);
		port->ops->flush(port->ctx);
	}
}
