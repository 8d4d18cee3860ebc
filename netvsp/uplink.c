/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Uplinks. The port is polled by the worker; where its driver has receive interrupts, the worker
 * sleeps on them, else it comes back by time.
 */
#include "netvsp/uplink.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <rte_ethdev.h>
#include <rte_interrupts.h>

#include "base/deadline.h"
#include "base/log.h"
#include "netvsp/data_path.h"
#include "netvsp/offload.h"
#include "netvsp/port_plug.h"
#include "netvsp/team.h"

#define LOG_COMPONENT "uplink"

#define DESCRIPTORS 1024
#define SEND_BATCH  256
#define MOST_MTU    9216
#define LEAST_MTU   1500
#define MTU_STEP    256 /* by which less is tried where a driver refuses */
#define LARGE_SHARE 4u	/* of the large buffers, for the receive queue of a port that needs them */
#define SCATTER_TAP 8	/* buffers that net_tap chains for a frame; each read names them all */
#define SEND_PATIENCE_NS                                                                           \
	UINT64_C(200000) /* a full transmit ring that does not move for so long: drop */
#define WANTED_RX_OFFLOADS                                                                         \
	(RTE_ETH_RX_OFFLOAD_IPV4_CKSUM | RTE_ETH_RX_OFFLOAD_TCP_CKSUM |                            \
	 RTE_ETH_RX_OFFLOAD_UDP_CKSUM | RTE_ETH_RX_OFFLOAD_VLAN_STRIP)
#define WANTED_TX_OFFLOADS                                                                         \
	(RTE_ETH_TX_OFFLOAD_IPV4_CKSUM | RTE_ETH_TX_OFFLOAD_TCP_CKSUM |                            \
	 RTE_ETH_TX_OFFLOAD_UDP_CKSUM | RTE_ETH_TX_OFFLOAD_TCP_TSO |                               \
	 RTE_ETH_TX_OFFLOAD_MULTI_SEGS | RTE_ETH_TX_OFFLOAD_VLAN_INSERT)

struct uplink {
	struct data_path *path;
	char devargs[192];
	struct plugged_port plugged;
	bool polls_sending;
	bool rides_on_tap;
	struct rte_eth_dev_info info;
	struct offload_wire wire;
	uint32_t most_frame_bytes; /* that its network takes */
	struct vlan_set carried;   /* 0: frames without a VLAN */
	struct switch_port *port;
	struct worker_source source;
	uint16_t pending_count;
	struct rte_mbuf *pending[SEND_BATCH];
	struct rte_mbuf *segments[OFFLOAD_MAX_SEGMENTS];
};

/* ---- packets: worker's thread ---- */

static unsigned int uplink_poll(void *ctx)
{
	struct uplink *uplink = ctx;
	struct rte_mbuf *mbufs[SWITCH_BURST];
	uint16_t count = rte_eth_rx_burst(uplink->plugged.port_id, 0, mbufs, SWITCH_BURST);

	if (uplink->polls_sending)
		rte_eth_tx_burst(uplink->plugged.port_id, 0, NULL, 0);
	if (count == 0)
		return 0;
	for (uint16_t i = 0; i < count; i++) {
		/* Only what is known of a received frame may travel on: the bits of its last
		 * journey must not. */
		mbufs[i]->ol_flags &= RTE_MBUF_F_RX_VLAN | RTE_MBUF_F_RX_VLAN_STRIPPED |
				      RTE_MBUF_F_RX_IP_CKSUM_MASK | RTE_MBUF_F_RX_L4_CKSUM_MASK |
				      RTE_MBUF_F_INDIRECT | RTE_MBUF_F_EXTERNAL;
		offload_strip_vlan(mbufs[i]);
	}
	vswitch_forward(uplink->path->sw, uplink->port, mbufs, count);
	return count;
}

static bool uplink_arm(void *ctx)
{
	struct uplink *uplink = ctx;

	/* The interrupt first, then the last look: what comes in between rings. */
	rte_eth_dev_rx_intr_enable(uplink->plugged.port_id, 0);
	if (uplink_poll(uplink) == 0)
		return false;
	rte_eth_dev_rx_intr_disable(uplink->plugged.port_id, 0);
	vswitch_flush(uplink->path->sw);
	return true;
}

static void uplink_disarm(void *ctx)
{
	struct uplink *uplink = ctx;

	rte_eth_dev_rx_intr_disable(uplink->plugged.port_id, 0);
}

static const struct worker_source_ops source_ops = {
	.poll = uplink_poll, .arm = uplink_arm, .disarm = uplink_disarm};

/* Sends what is pending. Returns how many frames were dropped. */
static uint16_t send_pending(struct uplink *uplink)
{
	struct rte_mbuf **mbufs = uplink->pending;
	uint16_t count = uplink->pending_count, sent = 0, dropped = 0;
	uint64_t stuck_ns = 0;

	uplink->pending_count = 0;
	while (sent < count) {
		uint16_t ready = rte_eth_tx_prepare(uplink->plugged.port_id, 0, mbufs + sent,
						    (uint16_t)(count - sent));
		uint16_t n = rte_eth_tx_burst(uplink->plugged.port_id, 0, mbufs + sent, ready);
		uint64_t now_ns;

		sent = (uint16_t)(sent + n);
		if (n > 0 || ready == 0) {
			stuck_ns = 0;
			if (ready == 0) { /* the driver refuses this one */
				rte_pktmbuf_free(mbufs[sent++]);
				dropped++;
			}
			continue;
		}
		now_ns = monotonic_ns();
		if (stuck_ns == 0)
			stuck_ns = now_ns;
		if (now_ns - stuck_ns > SEND_PATIENCE_NS) {
			rte_pktmbuf_free_bulk(mbufs + sent, (unsigned int)(count - sent));
			return (uint16_t)(dropped + count - sent);
		}
	}
	return dropped;
}

/* Whether a frame, or each segment that the port will make of it, is short enough. */
static bool fits_network(const struct uplink *uplink, const struct rte_mbuf *frame)
{
	uint32_t bytes = frame->pkt_len;

	if (frame->ol_flags & RTE_MBUF_F_TX_TCP_SEG)
		bytes = (uint32_t)frame->l2_len + frame->l3_len + frame->l4_len + frame->tso_segsz;
	if (frame->ol_flags & RTE_MBUF_F_TX_VLAN) /* the port is to insert it */
		bytes += RTE_VLAN_HLEN;
	return bytes <= uplink->most_frame_bytes;
}

static void drop_too_long(struct uplink *uplink, struct rte_mbuf *frame)
{
	log_warn_limited("%s: a frame of %u bytes is dropped: its network takes %u",
			 uplink->devargs, frame->pkt_len, uplink->most_frame_bytes);
	switch_port_counters(uplink->port)->out_too_long++;
	rte_pktmbuf_free(frame);
}

static uint16_t uplink_transmit(void *ctx, struct rte_mbuf **mbufs, uint16_t count)
{
	struct uplink *uplink = ctx;
	uint32_t dropped = 0;

	for (uint16_t i = 0; i < count; i++) {
		int frames = offload_to_wire(&uplink->wire, mbufs[i], uplink->segments,
					     OFFLOAD_MAX_SEGMENTS);

		if (frames < 0)
			dropped++;
		for (int f = 0; f < frames; f++) {
			if (!fits_network(uplink, uplink->segments[f])) {
				drop_too_long(uplink, uplink->segments[f]);
				dropped++;
				continue;
			}
			uplink->pending[uplink->pending_count++] = uplink->segments[f];
			if (uplink->pending_count == SEND_BATCH)
				dropped += send_pending(uplink);
		}
	}
	dropped += send_pending(uplink);
	return dropped < count ? (uint16_t)(count - dropped) : 0;
}

static void uplink_flush(void *ctx)
{
	(void)ctx; /* rte_eth_tx_burst() has told the device */
}

static const struct switch_port_ops port_ops = {.transmit = uplink_transmit, .flush = uplink_flush};

/* ---- set-up: control thread ---- */

static uint32_t frame_bytes(uint16_t mtu)
{
	return (uint32_t)mtu + RTE_ETHER_HDR_LEN + RTE_VLAN_HLEN;
}

/* What a driver says that it takes, by the two ways that it may say so. */
static uint16_t bound_mtu(const struct rte_eth_dev_info *info, uint16_t mtu)
{
	uint32_t overhead = info->max_mtu != UINT16_MAX && info->max_rx_pktlen > info->max_mtu
				    ? info->max_rx_pktlen - info->max_mtu
				    : RTE_ETHER_HDR_LEN + RTE_ETHER_CRC_LEN;

	if (info->max_mtu && mtu > info->max_mtu)
		mtu = info->max_mtu;
	if (info->max_rx_pktlen > overhead && mtu > info->max_rx_pktlen - overhead)
		mtu = (uint16_t)(info->max_rx_pktlen - overhead);
	return mtu;
}

/* The largest MTU that the port takes, at most MOST_MTU, once it is configured for it. */
static uint16_t set_largest_mtu(const struct uplink *uplink, uint16_t most)
{
	uint16_t mtu = most;
	int err = rte_eth_dev_set_mtu(uplink->plugged.port_id, mtu);

	if (err == -ENOTSUP) /* nothing to set: what it was configured for */
		return mtu;
	while (err && mtu > LEAST_MTU) {
		mtu = mtu > LEAST_MTU + MTU_STEP ? (uint16_t)(mtu - MTU_STEP) : LEAST_MTU;
		err = rte_eth_dev_set_mtu(uplink->plugged.port_id, mtu);
	}
	return mtu;
}

/* Where received frames go, and in how many descriptors: a port that cannot chain buffers needs
 * ones that hold a whole frame. */
static struct rte_mempool *choose_pool(const struct uplink *uplink, uint64_t rx_offloads,
				       uint16_t mtu, uint16_t *descriptors)
{
	const struct mbuf_pools *pools = &uplink->path->pools;

	if (uplink->rides_on_tap && (rx_offloads & RTE_ETH_RX_OFFLOAD_SCATTER))
		*descriptors = SCATTER_TAP;
	if ((rx_offloads & RTE_ETH_RX_OFFLOAD_SCATTER) || frame_bytes(mtu) <= MBUF_SMALL_ROOM)
		return pools->small;
	if (*descriptors > pools->large->size / LARGE_SHARE)
		*descriptors = (uint16_t)(pools->large->size / LARGE_SHARE);
	return pools->large;
}

/* most_mtu: what to try for. */
static int configure(struct uplink *uplink, uint16_t most_mtu)
{
	struct rte_eth_conf conf = {0};
	struct rte_eth_txconf tx_conf = uplink->info.default_txconf;
	struct rte_eth_rxconf rx_conf = uplink->info.default_rxconf;
	uint16_t rx_descriptors = DESCRIPTORS, tx_descriptors = DESCRIPTORS;
	int socket = (int)SOCKET_ID_ANY;
	struct rte_mempool *pool;
	uint16_t mtu;
	int err;

	conf.rxmode.mtu = bound_mtu(&uplink->info, most_mtu);
	conf.rxmode.offloads = uplink->info.rx_offload_capa & WANTED_RX_OFFLOADS;
	if (frame_bytes((uint16_t)conf.rxmode.mtu) > MBUF_SMALL_ROOM)
		conf.rxmode.offloads |= uplink->info.rx_offload_capa & RTE_ETH_RX_OFFLOAD_SCATTER;
	conf.txmode.offloads = uplink->info.tx_offload_capa & WANTED_TX_OFFLOADS;
	/* net_tap's TSO is rte_gso, which lets IPv6 through unsegmented: ours does both. */
	if (uplink->rides_on_tap)
		conf.txmode.offloads &= ~RTE_ETH_TX_OFFLOAD_TCP_TSO;
	conf.intr_conf.rxq = 1;
	err = rte_eth_dev_configure(uplink->plugged.port_id, 1, 1, &conf);
	if (err) { /* most likely for want of interrupts */
		conf.intr_conf.rxq = 0;
		err = rte_eth_dev_configure(uplink->plugged.port_id, 1, 1, &conf);
	}
	if (err)
		return err;
	mtu = set_largest_mtu(uplink, (uint16_t)conf.rxmode.mtu);
	uplink->most_frame_bytes = frame_bytes(mtu);
	pool = choose_pool(uplink, conf.rxmode.offloads, mtu, &rx_descriptors);
	if (!err)
		err = rte_eth_dev_adjust_nb_rx_tx_desc(uplink->plugged.port_id, &rx_descriptors,
						       &tx_descriptors);
	rx_conf.offloads = conf.rxmode.offloads;
	tx_conf.offloads = conf.txmode.offloads;
	if (!err)
		err = rte_eth_rx_queue_setup(uplink->plugged.port_id, 0, rx_descriptors,
					     (unsigned int)socket, &rx_conf, pool);
	if (!err)
		err = rte_eth_tx_queue_setup(uplink->plugged.port_id, 0, tx_descriptors,
					     (unsigned int)socket, &tx_conf);
	uplink->wire = (struct offload_wire){.pools = &uplink->path->pools,
					     .tx_offloads = conf.txmode.offloads};
	uplink->source.event_fd = conf.intr_conf.rxq ? 0 : -1;
	return err;
}

static int start(struct uplink *uplink)
{
	int err = rte_eth_dev_start(uplink->plugged.port_id);

	if (err)
		return err;
	/* Guests have addresses of their own. A port that cannot be promiscuous receives everything
	 * anyway (rings). */
	err = rte_eth_promiscuous_enable(uplink->plugged.port_id);
	if (err && err != -ENOTSUP)
		log_warn("%s: not promiscuous: %s", uplink->devargs, strerror(-err));
	rte_eth_allmulticast_enable(uplink->plugged.port_id);
	uplink->source.ops = &source_ops;
	uplink->source.ctx = uplink;
	if (uplink->source.event_fd >= 0) {
		/* -ENOTSUP: nothing to switch on; a port of this kind (tap) that has an fd all the
		 * same always rings. */
		int err_intr = rte_eth_dev_rx_intr_enable(uplink->plugged.port_id, 0);

		uplink->source.event_fd =
			err_intr == 0 || err_intr == -ENOTSUP
				? rte_eth_dev_rx_intr_ctl_q_get_fd(uplink->plugged.port_id, 0)
				: -1;
	}
	return 0;
}

/* For large frames where the port takes them. */
static int configure_and_start(struct uplink *uplink)
{
	int err = configure(uplink, MOST_MTU);

	if (!err)
		err = start(uplink);
	if (!err)
		return 0;
	err = configure(uplink, LEAST_MTU);
	return err ? err : start(uplink);
}

int uplink_create(struct data_path *path, const char *devargs, const struct vlan_set *carried,
		  struct uplink **out)
{
	struct switch_port_config port = {.kind = SWITCH_PORT_UPLINK, .ops = &port_ops};
	struct uplink *uplink = calloc(1, sizeof(*uplink));
	char name[48];
	int err;

	if (!uplink)
		return -ENOMEM;
	if (path->uplink_count == DATA_PATH_MAX_UPLINKS) {
		free(uplink);
		return -ENOSPC;
	}
	uplink->path = path;
	if (carried)
		uplink->carried = *carried;
	else
		vlan_set_add_range(&uplink->carried, 0, VLAN_ID_MAX);
	strncpy(uplink->devargs, devargs, sizeof(uplink->devargs) - 1);
	err = port_plug(devargs, &uplink->plugged);
	if (err)
		goto err_free;
	uplink->polls_sending = team_port_needs_send_polls(uplink->plugged.port_id);
	err = rte_eth_dev_info_get(uplink->plugged.port_id, &uplink->info);
	if (!err) {
		uplink->rides_on_tap = strcmp(uplink->info.driver_name, "net_tap") == 0 ||
				       team_port_has_driver(uplink->plugged.port_id, "net_tap");
		err = configure_and_start(uplink);
	}
	if (err)
		goto err_unplug;

	snprintf(name, sizeof(name), "uplink/%.*s", (int)strcspn(devargs, ","), devargs);
	port.name = name;
	port.carried = carried;
	port.ctx = uplink;
	err = data_path_add_port(path, &port, &uplink->port);
	if (err)
		goto err_stop;
	err = data_path_add_source(path, &uplink->source);
	if (err)
		goto err_port;
	log_info("%s: %s, frames up to %u bytes, offloads rx %#llx tx %#llx, %s", name,
		 uplink->info.driver_name, uplink->most_frame_bytes,
		 (unsigned long long)(uplink->info.rx_offload_capa & WANTED_RX_OFFLOADS),
		 (unsigned long long)uplink->wire.tx_offloads,
		 uplink->source.event_fd >= 0 ? "receive interrupts" : "polled by time");
	path->uplinks[path->uplink_count++] = uplink;
	*out = uplink;
	return 0;

err_port:
	data_path_remove_port(path, uplink->port);
err_stop:
	rte_eth_dev_stop(uplink->plugged.port_id);
err_unplug:
	port_unplug(&uplink->plugged);
err_free:
	free(uplink);
	return err;
}

void uplink_destroy(struct uplink *uplink)
{
	if (!uplink)
		return;
	for (uint32_t i = 0; i < uplink->path->uplink_count; i++) {
		if (uplink->path->uplinks[i] == uplink)
			uplink->path->uplinks[i] =
				uplink->path->uplinks[--uplink->path->uplink_count];
	}
	data_path_remove_source(uplink->path, &uplink->source);
	data_path_remove_port(uplink->path, uplink->port);
	rte_eth_dev_stop(uplink->plugged.port_id);
	port_unplug(&uplink->plugged);
	free(uplink);
}

const char *uplink_error_hint(int err)
{
	switch (err) {
	case -ENXIO:
		return "a PCI device on a UIO driver needs physical addresses: give netvspd huge "
		       "pages (--huge-pages) "
		       "and run it as root";
	case -ENODEV:
		return "no DPDK driver accepts it: look at the spelling, and at the device's "
		       "kernel driver "
		       "(uio_pci_generic or vfio-pci)";
	case -EEXIST:
		return "it is an uplink already";
	default:
		return strerror(-err);
	}
}

void uplink_get_info(const struct uplink *uplink, struct uplink_info *info)
{
	struct rte_eth_link link = {0};
	char name[RTE_ETH_NAME_MAX_LEN] = "";

	*info = (struct uplink_info){0};
	rte_eth_dev_get_name_by_port(uplink->plugged.port_id, name);
	snprintf(info->name, sizeof(info->name), "%.31s", name);
	if (rte_eth_link_get_nowait(uplink->plugged.port_id, &link) == 0)
		info->link_up = link.link_status == RTE_ETH_LINK_UP;
	if (rte_eth_dev_get_mtu(uplink->plugged.port_id, &info->mtu) != 0)
		info->mtu = 0;
	info->carried = &uplink->carried;
}

uint16_t uplink_port_id(const struct uplink *uplink)
{
	return uplink->plugged.port_id;
}
