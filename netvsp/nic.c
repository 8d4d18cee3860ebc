/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The vNIC's life: made, channels opened and closed, unmade. Each change is prepared here, on the
 * control thread, then taken in by the worker between two rounds.
 */
#include "netvsp/nic.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "netvsp/nic_internal.h"
#include "vmbus/gpadl.h"

#define LINK_SPEED_MBPS 10000

/* One change for the worker. */
struct nic_call {
	struct nic *nic;
	struct queue *queue;
	struct gpadl *gpadl;
	uint32_t number; /* sub_index, gpadl_id or target_vp */
	int fd;
	bool restored;
	void *result;
	int err;
};

static int call_worker(struct nic *nic, void (*fn)(void *ctx), struct nic_call *call)
{
	call->nic = nic;
	call->err = 0;
	worker_call(nic->path->worker, fn, call);
	return call->err;
}

/* ---- as a port of the switch ---- */

static void port_flush(void *ctx)
{
	struct nic *nic = ctx;

	if (nic->phase != NIC_RUNNING)
		return;
	if (nic->control_count > 0)
		nic_reclaim(nic); /* they may wait for a section */
	nic_control_flush(nic);
	while (nic->dirty_queues) {
		unsigned int index = (unsigned int)__builtin_ctzll(nic->dirty_queues);

		nic->dirty_queues &= nic->dirty_queues - 1;
		if (nic->queues[index])
			queue_flush(nic->queues[index]);
	}
}

static bool port_wants_flooded(void *ctx, const struct rte_ether_addr *destination)
{
	const struct nic *nic = ctx;
	uint32_t filter;

	if (!nic->up || nic->phase == NIC_DEPARTED)
		return false;
	filter = rndis_control_packet_filter(nic->rndis);
	if (filter & RNDIS_FILTER_PROMISCUOUS)
		return true;
	if (rte_is_broadcast_ether_addr(destination))
		return filter & RNDIS_FILTER_BROADCAST;
	if (rte_is_multicast_ether_addr(destination))
		return filter & (RNDIS_FILTER_ALL_MULTICAST | RNDIS_FILTER_MULTICAST);
	return memcmp(destination->addr_bytes, rndis_control_address(nic->rndis),
		      RTE_ETHER_ADDR_LEN) == 0;
}

static const struct switch_port_ops port_ops = {
	.transmit = nic_transmit, .flush = port_flush, .wants_flooded = port_wants_flooded};

/* ---- life ---- */

static int create_sessions(struct nic *nic)
{
	struct nvsp_config nvsp = {.max_channels = nic->config.max_channels,
				   .max_mtu = nic->config.mtu};
	struct rndis_control_config rndis = {
		.max_channels = nic->config.max_channels,
		.offloads = RNDIS_OFFLOAD_CHECKSUM | RNDIS_OFFLOAD_LSO | RNDIS_OFFLOAD_RSC,
		.link_speed_mbps = LINK_SPEED_MBPS,
		.link_up = true,
	};
	int err;

	memcpy(rndis.mac, nic->config.mac, sizeof(rndis.mac));
	memcpy(rndis.friendly_name, nic->config.name, sizeof(nic->config.name));
	err = nvsp_session_create(&nvsp, &nic_nvsp_ops, nic, &nic->nvsp);
	if (!err)
		err = rndis_control_create(&rndis, &nic_rndis_ops, nic, &nic->rndis);
	return err;
}

int nic_create(struct data_path *path, struct guest_memory *memory,
	       const struct signal_table *signals, const struct nic_config *config,
	       const struct nic_ops *ops, void *ctx, struct nic **out)
{
	struct switch_port_config port = {
		.kind = SWITCH_PORT_VNIC, .spoof_guard = config->spoof_guard, .ops = &port_ops};
	struct nic *nic = calloc(1, sizeof(*nic));
	int err;

	if (!nic)
		return -ENOMEM;
	nic->path = path;
	nic->memory = memory;
	nic->signals = signals;
	nic->config = *config;
	nic->ops = ops;
	nic->ctx = ctx;
	nic->phase = config->incoming ? NIC_INCOMING : NIC_RUNNING;
	hold_queue_init(&nic->held, path);
	STAILQ_INIT(&nic->control);
	err = create_sessions(nic);
	if (err)
		goto err_sessions;
	port.name = nic->config.name;
	port.ctx = nic;
	memcpy(port.mac.addr_bytes, config->mac, sizeof(config->mac));
	err = data_path_add_port(path, &port, &nic->port);
	if (err)
		goto err_sessions;
	*out = nic;
	return 0;

err_sessions:
	rndis_control_destroy(nic->rndis);
	nvsp_session_destroy(nic->nvsp);
	free(nic);
	return err;
}

static void reset(void *ctx)
{
	struct nic_call *call = ctx;

	nic_control_reset(call->nic);
	hold_queue_clear(&call->nic->held);
}

static void leave_journal(void *ctx)
{
	struct nic_call *call = ctx;

	if (call->nic->phase == NIC_RUNNING)
		nic_rest(call->nic); /* after the last step that is entered there is no other */
	call->result = call->nic->journal;
	call->nic->journal = NULL;
}

void nic_destroy(struct nic *nic)
{
	struct nic_call call = {0};

	if (!nic)
		return;
	/* First: the next netvspd must not find what is undone here. */
	call_worker(nic, leave_journal, &call);
	journal_close(call.result);
	for (uint32_t i = NVSP_MAX_CHANNELS; i > 0; i--)
		nic_channel_close(nic, i - 1);
	call_worker(nic, reset, &call); /* what was restored without a channel */
	data_path_remove_port(nic->path, nic->port);
	for (size_t i = 0; i < ARRAY_LENGTH(nic->gpadls); i++)
		gpadl_free(nic->gpadls[i]);
	rndis_control_destroy(nic->rndis);
	nvsp_session_destroy(nic->nvsp);
	free(nic);
}

/* ---- GPADLs ---- */

static void add_gpadl(void *ctx)
{
	struct nic_call *call = ctx;
	struct nic *nic = call->nic;

	if (nic_find_gpadl(nic, call->gpadl->id)) {
		call->err = -EEXIST;
		return;
	}
	for (size_t i = 0; i < ARRAY_LENGTH(nic->gpadls); i++) {
		if (!nic->gpadls[i]) {
			nic->gpadls[i] = call->gpadl;
			return;
		}
	}
	call->err = -ENOSPC;
}

int nic_gpadl_add(struct nic *nic, struct gpadl *gpadl)
{
	struct nic_call call = {.gpadl = gpadl};

	return call_worker(nic, add_gpadl, &call);
}

static void remove_gpadl(void *ctx)
{
	struct nic_call *call = ctx;
	struct nic *nic = call->nic;

	for (size_t i = 0; i < ARRAY_LENGTH(nic->queues); i++) {
		if (nic->queues[i] && nic->queues[i]->gpadl_id == call->number) {
			call->err = -EBUSY;
			return;
		}
	}
	for (size_t i = 0; i < ARRAY_LENGTH(nic->gpadls); i++) {
		if (nic->gpadls[i] && nic->gpadls[i]->id == call->number) {
			nvsp_session_gpadl_removed(nic->nvsp, call->number);
			call->gpadl = nic->gpadls[i];
			nic->gpadls[i] = NULL;
			vswitch_flush(nic->path->sw);
			return;
		}
	}
	call->err = -ENOENT;
}

int nic_gpadl_remove(struct nic *nic, uint32_t gpadl_id)
{
	struct nic_call call = {.number = gpadl_id};
	int err = call_worker(nic, remove_gpadl, &call);

	if (!err)
		gpadl_free(call.gpadl);
	return err;
}

/* ---- channels ---- */

static void open_channel(void *ctx)
{
	struct nic_call *call = ctx;
	struct nic *nic = call->nic;
	struct queue *queue = call->queue;

	if (call->restored) {
		call->err = nic_adopt_channel(nic, queue);
	} else {
		queue_reset_transactions(queue, false);
		ring_mask(&queue->in); /* it is polled until it has been idle for a while */
		call->err = worker_add_source(nic->path->worker, &queue->source);
	}
	if (call->err)
		return;
	nic->queues[queue->sub_index] = queue;
	queue_begin(queue);
	if (queue->sub_index > 0)
		nvsp_session_channel_opened(nic->nvsp, queue->sub_index);
	nic_control_changed(nic);
	nic_notice(nic);
	vswitch_flush(nic->path->sw);
}

int nic_channel_open(struct nic *nic, const struct nic_channel *channel)
{
	struct nic_call call = {.restored = channel->restored};
	const struct gpadl *gpadl;
	int err;

	/* Only this thread changes the phase (through the worker), so it may look. */
	if (channel->sub_index >= nic->config.max_channels ||
	    channel->restored != (nic->phase != NIC_RUNNING))
		return -EINVAL;
	/* The same holds for queues and gpadls. */
	if (nic->queues[channel->sub_index])
		return -EBUSY;
	if (channel->sub_index > 0 && !nic->queues[0])
		return -ENOTCONN;
	gpadl = nic_find_gpadl(nic, channel->gpadl_id);
	if (!gpadl)
		return -ENOENT;
	err = queue_create(nic, gpadl, channel, &call.queue);
	if (err)
		return err;
	err = call_worker(nic, open_channel, &call);
	if (err) {
		call.queue->kick_fd = -1; /* still the caller's, both */
		call.queue->signal.irqfd = -1;
		queue_destroy(call.queue);
	}
	return err;
}

static void close_channel(void *ctx)
{
	struct nic_call *call = ctx;
	struct nic *nic = call->nic;
	struct queue *queue = nic->queues[call->number];

	if (!queue) {
		call->err = -ENOENT;
		return;
	}
	worker_remove_source(nic->path->worker, &queue->source);
	if (call->number > 0)
		nvsp_session_channel_closed(nic->nvsp, call->number);
	else
		nic_control_reset(nic);
	vswitch_flush(nic->path->sw);
	/* What the guest still holds is ours again, unless the buffer itself has gone with the
	 * session. */
	if (nic->rx_buffer.view)
		queue_reset_transactions(queue, true);
	nic->queues[call->number] = NULL;
	nic->dirty_queues &= ~(UINT64_C(1) << call->number);
	if (call->number == 0 && nic->journal)
		journal_clear(nic->journal); /* nothing to go on with */
	nic_control_changed(nic);
	vswitch_flush(nic->path->sw);
	call->queue = queue;
	nic_notice(nic);
}

int nic_channel_close(struct nic *nic, uint32_t sub_index)
{
	struct nic_call call = {.number = sub_index};
	int err;

	if (sub_index >= NVSP_MAX_CHANNELS)
		return -ENOENT;
	err = call_worker(nic, close_channel, &call);
	if (!err)
		queue_destroy(call.queue);
	return err;
}

static void modify_channel(void *ctx)
{
	struct nic_call *call = ctx;
	int old_fd = call->queue->signal.irqfd;

	call->queue->signal.vp = call->number;
	call->queue->signal.irqfd = call->fd;
	call->fd = old_fd;
	/* What was signalled to the old VP may be lost there: the new one shall look. */
	if (call->nic->phase == NIC_RUNNING)
		event_signal_raise(&call->queue->signal);
}

int nic_channel_modify(struct nic *nic, uint32_t sub_index, uint32_t target_vp, int irqfd)
{
	struct nic_call call = {.number = target_vp, .fd = irqfd};
	int err;

	if (sub_index >= NVSP_MAX_CHANNELS || !nic->queues[sub_index])
		return -ENOENT;
	call.queue = nic->queues[sub_index];
	err = call_worker(nic, modify_channel, &call);
	if (call.fd >= 0)
		close(call.fd);
	return err;
}

/* ---- VLANs ---- */

static void set_vlan(void *ctx)
{
	struct nic_call *call = ctx;

	call->err = switch_port_set_vlan(call->nic->path->sw, call->nic->port, call->result);
}

int nic_set_vlan(struct nic *nic, const struct vlan_config *config)
{
	struct vlan_config wanted = *config;
	struct nic_call call = {.result = &wanted};
	int err = call_worker(nic, set_vlan, &call);

	if (!err)
		nic_announce(nic);
	return err;
}

/* ---- looking ---- */

static void get_state(void *ctx)
{
	struct nic_call *call = ctx;
	struct nic *nic = call->nic;
	struct nic_state *state = call->result;

	atomic_store_explicit(&nic->notice_given, false, memory_order_release);
	*state = (struct nic_state){
		.nvsp_version = nvsp_session_version(nic->nvsp),
		.mtu = nvsp_session_mtu(nic->nvsp),
		.rndis_up = nic->up,
		.sub_channels_wanted = nic->sub_channels_wanted,
	};
	nic->sub_channels_wanted = 0;
	for (size_t i = 0; i < ARRAY_LENGTH(nic->queues); i++)
		state->channels_open += nic->queues[i] != NULL;
}

void nic_get_state(struct nic *nic, struct nic_state *state)
{
	struct nic_call call = {.result = state};

	call_worker(nic, get_state, &call);
}

static void get_stats(void *ctx)
{
	struct nic_call *call = ctx;
	const struct switch_port_counters *counters = switch_port_counters(call->nic->port);

	*(struct nic_stats *)call->result = (struct nic_stats){
		.tx_packets = counters->in_packets,
		.tx_bytes = counters->in_bytes,
		.tx_dropped = counters->in_dropped,
		.rx_packets = counters->out_packets,
		.rx_bytes = counters->out_bytes,
		.rx_dropped = counters->out_dropped,
		.tx_spoofed = counters->in_spoofed,
		.tx_malformed = counters->in_malformed,
		.tx_vlan = counters->in_vlan,
		.rx_vlan = counters->out_vlan,
	};
}

void nic_get_stats(struct nic *nic, struct nic_stats *stats)
{
	struct nic_call call = {.result = stats};

	call_worker(nic, get_stats, &call);
}

static void get_portals(void *ctx)
{
	struct nic_call *call = ctx;
	const struct portal_list *list = &call->nic->portals;
	struct vsp_portal *portals = call->result;

	for (uint32_t i = 0; i < list->count; i++) {
		struct vsp_portal *portal = &portals[call->number];
		struct vlan_tag tag = {.present = list->portals[i].vlan,
				       .tci = list->portals[i].vlan};

		/* The list has the guest's tags, whatever they mean by now. */
		if (vlan_port_admit(switch_port_vlan(call->nic->port), &tag, 0) != VLAN_PASS)
			continue;
		*portal = list->portals[i];
		portal->vlan = tag.tci & VLAN_ID_MASK;
		call->number++;
	}
}

uint32_t nic_get_portals(struct nic *nic, struct vsp_portal *portals)
{
	struct nic_call call = {.result = portals};

	call_worker(nic, get_portals, &call);
	return call.number;
}
