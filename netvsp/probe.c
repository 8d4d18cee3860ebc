/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Probes. The list of what is asked for belongs to the worker, which compares each frame that comes
 * to the port; timers and answers belong to the control thread. A probe that was answered is marked
 * so and the loop is told.
 */
#include "netvsp/probe.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/random.h>

#include <rte_arp.h>
#include <rte_icmp.h>
#include <rte_ip.h>

#include "base/bytes.h"
#include "base/event_loop.h"
#include "base/log.h"
#include "netvsp/data_path.h"
#include "netvsp/uplink.h"

#define LOG_COMPONENT "probe"

#define ARP_FRAME_BYTES	   60u /* padded */
#define ICMP6_SOLICITATION 135
#define ICMP6_ADVERTISE	   136
#define NEIGHBOUR_BYTES	   24u /* of a solicitation without options, or an advertisement */
#define HOP_LIMIT	   255
#define MAX_VLAN	   4095

struct probe {
	unsigned int slot;	       /* control thread */
	LIST_ENTRY(probe) worker_link; /* worker */
	struct prober *prober;
	struct vsp_portal portal;
	bool is_ipv4;
	probe_done_fn fn;
	void *ctx;
	struct event_timer *timer;
	unsigned int sent;
	_Atomic bool answered;
};

LIST_HEAD(probe_list, probe);

struct prober {
	struct event_loop *loop;
	struct data_path *path;
	struct rte_ether_addr mac;
	struct switch_port *port; /* NULL while nothing is asked */
	struct probe *probes[PROBE_MAX];
	unsigned int count;
	struct probe_list asked; /* worker's thread */
	_Atomic bool posted;
};

/* ---- worker's thread ---- */

static struct rte_mbuf *make_arp(const struct prober *prober, const struct probe *probe)
{
	struct rte_mbuf *frame = mbuf_pools_alloc(&prober->path->pools, ARP_FRAME_BYTES);
	struct rte_ether_hdr *ether =
		frame ? (struct rte_ether_hdr *)rte_pktmbuf_append(frame, ARP_FRAME_BYTES) : NULL;
	struct rte_arp_hdr *arp;

	if (!ether)
		return NULL;
	memset(ether, 0, ARP_FRAME_BYTES);
	arp = (struct rte_arp_hdr *)(ether + 1);
	memset(ether->dst_addr.addr_bytes, 0xff, RTE_ETHER_ADDR_LEN);
	ether->src_addr = prober->mac;
	ether->ether_type = htobe16(RTE_ETHER_TYPE_ARP);
	arp->arp_hardware = htobe16(RTE_ARP_HRD_ETHER);
	arp->arp_protocol = htobe16(RTE_ETHER_TYPE_IPV4);
	arp->arp_hlen = RTE_ETHER_ADDR_LEN;
	arp->arp_plen = sizeof(rte_be32_t);
	arp->arp_opcode = htobe16(RTE_ARP_OP_REQUEST);
	arp->arp_data.arp_sha = prober->mac;
	memcpy(&arp->arp_data.arp_tip, probe->portal.address + 12, sizeof(rte_be32_t));
	return frame;
}

static struct rte_mbuf *make_solicitation(const struct prober *prober, const struct probe *probe)
{
	static const uint8_t solicited_node[13] = {0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff};
	const uint16_t length =
		sizeof(struct rte_ether_hdr) + sizeof(struct rte_ipv6_hdr) + NEIGHBOUR_BYTES;
	struct rte_mbuf *frame = mbuf_pools_alloc(&prober->path->pools, length);
	struct rte_ether_hdr *ether =
		frame ? (struct rte_ether_hdr *)rte_pktmbuf_append(frame, length) : NULL;
	struct rte_ipv6_hdr *ip;
	uint8_t *icmp;
	uint16_t checksum;

	if (!ether)
		return NULL;
	memset(ether, 0, length);
	ip = (struct rte_ipv6_hdr *)(ether + 1);
	icmp = (uint8_t *)(ip + 1);
	ip->vtc_flow = htobe32(UINT32_C(6) << 28);
	ip->payload_len = htobe16(NEIGHBOUR_BYTES);
	ip->proto = IPPROTO_ICMPV6;
	ip->hop_limits = HOP_LIMIT;
	memcpy(ip->dst_addr, solicited_node, sizeof(solicited_node));
	memcpy(ip->dst_addr + 13, probe->portal.address + 13, 3);
	ether->dst_addr.addr_bytes[0] = 0x33;
	ether->dst_addr.addr_bytes[1] = 0x33;
	memcpy(ether->dst_addr.addr_bytes + 2, ip->dst_addr + 12, 4);
	ether->src_addr = prober->mac;
	ether->ether_type = htobe16(RTE_ETHER_TYPE_IPV6);
	icmp[0] = ICMP6_SOLICITATION;
	memcpy(icmp + 8, probe->portal.address, sizeof(probe->portal.address));
	checksum = rte_ipv6_udptcp_cksum(ip, icmp);
	memcpy(icmp + 2, &checksum, sizeof(checksum));
	return frame;
}

/* Whether an ARP message says who has the address. */
static bool arp_answers(const struct probe *probe, const uint8_t *bytes, uint32_t length)
{
	const struct rte_arp_hdr *arp = (const void *)(bytes + sizeof(struct rte_ether_hdr));

	return probe->is_ipv4 && length >= sizeof(struct rte_ether_hdr) + sizeof(*arp) &&
	       get_be16(bytes + 12) == RTE_ETHER_TYPE_ARP &&
	       arp->arp_protocol == htobe16(RTE_ETHER_TYPE_IPV4) &&
	       arp->arp_hlen == RTE_ETHER_ADDR_LEN && arp->arp_plen == sizeof(rte_be32_t) &&
	       memcmp(&arp->arp_data.arp_sip, probe->portal.address + 12, sizeof(rte_be32_t)) == 0;
}

static bool advertisement_answers(const struct probe *probe, const uint8_t *bytes, uint32_t length)
{
	const struct rte_ipv6_hdr *ip = (const void *)(bytes + sizeof(struct rte_ether_hdr));
	const uint8_t *icmp = (const uint8_t *)(ip + 1);

	return !probe->is_ipv4 &&
	       length >= sizeof(struct rte_ether_hdr) + sizeof(*ip) + NEIGHBOUR_BYTES &&
	       get_be16(bytes + 12) == RTE_ETHER_TYPE_IPV6 && ip->proto == IPPROTO_ICMPV6 &&
	       ip->hop_limits == HOP_LIMIT && icmp[0] == ICMP6_ADVERTISE &&
	       memcmp(icmp + 8, probe->portal.address, sizeof(probe->portal.address)) == 0;
}

static void handle_answers(void *ctx);

static void look_at(struct prober *prober, const struct rte_mbuf *frame)
{
	const uint8_t *bytes = rte_pktmbuf_mtod(frame, const uint8_t *);
	const struct vswitch *sw = prober->path->sw;
	uint16_t vlan =
		frame->ol_flags & RTE_MBUF_F_RX_VLAN_STRIPPED ? frame->vlan_tci & MAX_VLAN : 0;
	bool any = false;
	struct probe *probe;

	LIST_FOREACH(probe, &prober->asked, worker_link)
	{
		/* In a private VLAN the answer comes by the primary. */
		if (vswitch_learned_as(sw, probe->portal.vlan) != vswitch_learned_as(sw, vlan) ||
		    (!arp_answers(probe, bytes, frame->data_len) &&
		     !advertisement_answers(probe, bytes, frame->data_len)))
			continue;
		atomic_store_explicit(&probe->answered, true, memory_order_release);
		any = true;
	}
	if (!any || atomic_exchange_explicit(&prober->posted, true, memory_order_acq_rel))
		return;
	/* Without memory the timer finds the answer. */
	if (event_loop_post(prober->loop, handle_answers, prober) < 0)
		atomic_store_explicit(&prober->posted, false, memory_order_release);
}

static uint16_t port_transmit(void *ctx, struct rte_mbuf **mbufs, uint16_t count)
{
	for (uint16_t i = 0; i < count; i++)
		look_at(ctx, mbufs[i]);
	rte_pktmbuf_free_bulk(mbufs, count);
	return count;
}

static void port_flush(void *ctx)
{
	(void)ctx;
}

static bool port_wants_flooded(void *ctx, const struct rte_ether_addr *destination)
{
	(void)ctx;
	return rte_is_multicast_ether_addr(destination);
}

static const struct switch_port_ops port_ops = {
	.transmit = port_transmit, .flush = port_flush, .wants_flooded = port_wants_flooded};

static void set_port_up(void *ctx)
{
	struct prober *prober = ctx;

	switch_port_set_up(prober->path->sw, prober->port, true);
}

static void ask(void *ctx)
{
	struct probe *probe = ctx;
	struct prober *prober = probe->prober;
	struct rte_mbuf *frame =
		probe->is_ipv4 ? make_arp(prober, probe) : make_solicitation(prober, probe);

	if (probe->sent == 0)
		LIST_INSERT_HEAD(&prober->asked, probe, worker_link);
	if (!frame)
		return;
	if (probe->portal.vlan) {
		frame->ol_flags |= RTE_MBUF_F_RX_VLAN | RTE_MBUF_F_RX_VLAN_STRIPPED;
		frame->vlan_tci = probe->portal.vlan;
	}
	vswitch_forward(prober->path->sw, prober->port, &frame, 1);
	vswitch_flush(prober->path->sw);
}

static void forget(void *ctx)
{
	struct probe *probe = ctx;

	LIST_REMOVE(probe, worker_link);
}

struct hop_call {
	const struct probe *probe;
	bool seen;
};

static void look_for_hop(void *ctx)
{
	struct hop_call *call = ctx;
	const struct vsp_portal *portal = &call->probe->portal;
	struct rte_ether_addr mac;

	memcpy(mac.addr_bytes, portal->next_hop, sizeof(mac.addr_bytes));
	call->seen = vswitch_is_at_uplink(call->probe->prober->path->sw, &mac, portal->vlan);
}

/* ---- control thread ---- */

void probe_cancel(struct probe *probe)
{
	struct prober *prober;

	if (!probe)
		return;
	prober = probe->prober;
	event_timer_cancel(probe->timer);
	if (probe->sent > 0)
		worker_call(prober->path->worker, forget, probe);
	prober->probes[probe->slot] = NULL;
	free(probe);
	if (--prober->count > 0)
		return;
	data_path_remove_port(prober->path, prober->port);
	prober->port = NULL;
}

static void finish(struct probe *probe, int status)
{
	probe_done_fn fn = probe->fn;
	void *ctx = probe->ctx;

	probe_cancel(probe);
	fn(ctx, status);
}

static void handle_answers(void *ctx)
{
	struct prober *prober = ctx;

	atomic_store_explicit(&prober->posted, false, memory_order_release);
	/* An owner may cancel others meanwhile: their places are empty then. */
	for (unsigned int i = 0; i < PROBE_MAX; i++) {
		struct probe *probe = prober->probes[i];

		if (probe && atomic_load_explicit(&probe->answered, memory_order_acquire))
			finish(probe, 0);
	}
}

static void on_timer(void *ctx)
{
	static const uint32_t pauses_ms[] = {0, 200, 400, 500, 600}; /* 1.7 s in all */
	struct probe *probe = ctx;
	struct hop_call call = {.probe = probe};

	probe->timer = NULL;
	if (atomic_load_explicit(&probe->answered, memory_order_acquire)) {
		finish(probe, 0);
		return;
	}
	if (probe->sent + 1 == ARRAY_LENGTH(pauses_ms)) {
		worker_call(probe->prober->path->worker, look_for_hop, &call);
		finish(probe, call.seen ? 0 : -EHOSTUNREACH);
		return;
	}
	worker_call(probe->prober->path->worker, ask, probe);
	probe->sent++;
	if (event_loop_after_ms(probe->prober->loop, pauses_ms[probe->sent], on_timer, probe,
				&probe->timer) < 0)
		finish(probe, -ENOMEM);
}

/* An address that one machine can have. */
static bool address_is_askable(const uint8_t address[16], bool is_ipv4)
{
	static const uint8_t zero[16];

	if (is_ipv4)
		return address[12] != 0 && address[12] != 127 && address[12] < 224;
	return address[0] != 0xff && memcmp(address, zero, 15) != 0;
}

static bool is_any_link_up(const struct data_path *path)
{
	for (uint32_t i = 0; i < path->uplink_count; i++) {
		struct uplink_info info;

		uplink_get_info(path->uplinks[i], &info);
		if (info.link_up)
			return true;
	}
	return false;
}

static int add_port(struct prober *prober)
{
	struct switch_port_config config = {.kind = SWITCH_PORT_VNIC,
					    .name = "netvspd/probe",
					    .mac = prober->mac,
					    .ops = &port_ops,
					    .ctx = prober};
	int err = data_path_add_port(prober->path, &config, &prober->port);

	if (!err)
		worker_call(prober->path->worker, set_port_up, prober);
	return err;
}

int probe_start(struct prober *prober, const struct vsp_portal *portal, probe_done_fn fn, void *ctx,
		struct probe **out)
{
	static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
	bool is_ipv4 = memcmp(portal->address, mapped, sizeof(mapped)) == 0;
	struct probe *probe;
	int err;

	if (!address_is_askable(portal->address, is_ipv4))
		return -EAFNOSUPPORT;
	if (portal->vlan > MAX_VLAN)
		return -EINVAL;
	if (!is_any_link_up(prober->path))
		return -ENETDOWN;
	if (prober->count >= PROBE_MAX)
		return -EBUSY;
	probe = calloc(1, sizeof(*probe));
	if (!probe)
		return -ENOMEM;
	probe->prober = prober;
	probe->portal = *portal;
	probe->is_ipv4 = is_ipv4;
	probe->fn = fn;
	probe->ctx = ctx;
	err = event_loop_after_ms(prober->loop, 0, on_timer, probe, &probe->timer);
	if (!err && prober->count == 0)
		err = add_port(prober);
	if (err) {
		event_timer_cancel(probe->timer);
		free(probe);
		return err;
	}
	while (prober->probes[probe->slot]) /* there is a free one: count says so */
		probe->slot++;
	prober->probes[probe->slot] = probe;
	prober->count++;
	*out = probe;
	return 0;
}

int prober_create(struct event_loop *loop, struct data_path *path, struct prober **out)
{
	struct prober *prober = calloc(1, sizeof(*prober));

	if (!prober)
		return -ENOMEM;
	prober->loop = loop;
	prober->path = path;
	LIST_INIT(&prober->asked);
	if (getrandom(prober->mac.addr_bytes, sizeof(prober->mac.addr_bytes), 0) !=
	    (ssize_t)sizeof(prober->mac.addr_bytes)) {
		free(prober);
		return -EIO;
	}
	/* Unicast, administered locally. */
	prober->mac.addr_bytes[0] = (uint8_t)((prober->mac.addr_bytes[0] & 0xfc) | 2);
	*out = prober;
	return 0;
}

void prober_destroy(struct prober *prober)
{
	free(prober);
}
