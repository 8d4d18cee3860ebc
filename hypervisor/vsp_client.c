/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A virtual NIC's connection to netvspd: made, watched, lost, made again. See vsp_client.h.
 *
 * The link goes through HELLO, MEMORY and NIC; then the NIC is offered to the guest as a VMBus
 * device (vsp_device.c). A new link makes a new device.
 */
#include "hypervisor/vsp_client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "base/deadline.h"
#include "base/event_loop.h"
#include "base/fd_passing.h"
#include "base/log.h"
#include "hypervisor/vm_config.h"
#include "hypervisor/vsp_client_internal.h"
#include "hypervisor/vsp_link.h"
#include "vmbus/event_signal.h"
#include "vmbus/guest_memory.h"
#include "vmbus/server.h"

#define LOG_COMPONENT "nic"

#define MADE_COUNT	  3 /* HELLO, MEMORY and NIC; and VLAN, where there is a mode */
#define START_DEADLINE_MS 5000
#define NAME_WAIT_MS	  2000
#define NAME_RETRY_MS	  20
#define VLAN_DEADLINE_MS  2000
#define TICK_MS		  1000 /* between statistics, and between attempts to reconnect */

/* ---- the link ---- */

static void on_notified(void *ctx, const struct vsp_header *message)
{
	struct vsp_client *client = ctx;
	const struct vsp_sub_channels *subs = (const void *)message;
	const struct vsp_nic_state *state = (const void *)message;
	int result;

	if (message->type == VSP_NIC_STATE && message->size_bytes >= sizeof(*state)) {
		client->status.nvsp_version = state->nvsp_version;
		client->status.mtu = state->mtu;
		client->status.channels_open = state->channels_open;
		client->status.rndis_up = state->rndis_up != 0;
	} else if (message->type == VSP_SUB_CHANNELS && message->size_bytes >= sizeof(*subs)) {
		result = client->device ? vmbus_device_offer_sub_channels(client->device->device,
									  subs->count)
					: -ENOTCONN;
		if (result)
			log_warn_limited("%s: %u sub-channels not offered: %s", client->name,
					 subs->count, strerror(-result));
	} else if (message->type == VSP_LATE_FRAME)
		vsp_move_late_frame(client, message);
	/* others are of a newer netvspd, and not meant for us */
}

void vsp_client_disconnect(struct vsp_client *client)
{
	vsp_link_destroy(client->link);
	client->link = NULL;
	client->ready = false;
	client->stats_asked = false;
	client->portals_asked = false;
	client->move.injecting = 0;
	client->status.link = VM_NIC_DISCONNECTED;
	client->status.nvsp_version = 0;
	client->status.mtu = 0;
	client->status.channels_open = 0;
	client->status.rndis_up = false;
}

static void on_lost(void *ctx, const char *why)
{
	struct vsp_client *client = ctx;
	bool was_ready = client->ready;

	vsp_devices_mark_dirty(client);
	vsp_client_disconnect(client);
	if (vsp_recover_begin(client)) {
		if (was_ready)
			log_error("%s: netvspd is lost: %s; the NIC waits until it is back",
				  client->name, why);
		return;
	}
	if (was_ready)
		log_error("%s: netvspd is lost: %s; the guest's NIC is unplugged until it is back",
			  client->name, why);
	vsp_recover_end(client);
	vsp_client_set_timer(client, TICK_MS);
}

static const struct vsp_link_ops link_ops = {.notified = on_notified, .lost = on_lost};

static void on_stats(void *ctx, uint64_t tag, int status, const struct vsp_header *reply)
{
	struct vsp_client *client = ctx;
	const struct vsp_stats *stats = (const void *)reply;

	(void)tag;
	client->stats_asked = false;
	if (status || reply->size_bytes < offsetof(struct vsp_stats, tx_vlan))
		return;
	client->status.stats = (struct vm_nic_stats){
		.tx_packets = stats->tx_packets,
		.tx_bytes = stats->tx_bytes,
		.tx_dropped = stats->tx_dropped,
		.rx_packets = stats->rx_packets,
		.rx_bytes = stats->rx_bytes,
		.rx_dropped = stats->rx_dropped,
		.tx_spoofed = stats->tx_spoofed,
		.tx_malformed = stats->tx_malformed,
	};
	if (reply->size_bytes < sizeof(*stats))
		return; /* an older netvspd */
	client->status.stats.tx_vlan = stats->tx_vlan;
	client->status.stats.rx_vlan = stats->rx_vlan;
}

static void on_portals(void *ctx, uint64_t tag, int status, const struct vsp_header *reply)
{
	struct vsp_client *client = ctx;
	const struct vsp_portals *portals = (const void *)reply;

	(void)tag;
	client->portals_asked = false;
	if (status || reply->size_bytes < sizeof(*portals) || portals->count > VSP_MAX_PORTALS)
		return;
	client->portal_count = portals->count;
	memcpy(client->portals, portals->portals, portals->count * sizeof(portals->portals[0]));
}

static void stats_ask(struct vsp_client *client)
{
	struct vsp_header message;

	vsp_header_fill(&message, VSP_STATS, sizeof(message));
	if (!client->stats_asked)
		client->stats_asked =
			!vsp_link_request(client->link, &message, NULL, 0, on_stats, client, 0);
	vsp_header_fill(&message, VSP_PORTALS, sizeof(message));
	if (!client->portals_asked && client->version >= VSP_VERSION_MOVES)
		client->portals_asked =
			!vsp_link_request(client->link, &message, NULL, 0, on_portals, client, 0);
}

/* The answers to HELLO, MEMORY, NIC and VLAN (tag: which). Only all of them make it ready: once the
 * NIC is offered, no refusal may be outstanding. */
static void on_made(void *ctx, uint64_t tag, int status, const struct vsp_header *reply)
{
	struct vsp_client *client = ctx;
	const struct vsp_hello *hello = (const void *)reply;

	if (!reply)
		return; /* on_lost() follows */
	if (!status && tag == VSP_HELLO) {
		if (reply->size_bytes < sizeof(*hello) || hello->version < 1 ||
		    hello->version > VSP_VERSION)
			status = -EPROTO;
		else
			client->version = hello->version;
	}
	if (!status && client->move.incoming && client->version < VSP_VERSION_MOVES)
		status = -EOPNOTSUPP;
	if (status && !client->refusal)
		client->refusal = status;
	if (status || ++client->made_count < client->made_wanted || client->refusal)
		return;
	client->ready = true;
	client->status.link = VM_NIC_CONNECTED;
	if (client->move.recovering)
		vsp_recover_replay(client);
	else if (!client->move.incoming)
		vsp_recover_give_journal(client);
}

static int memory_send(struct vsp_client *client)
{
	const struct guest_memory *memory = client->config.memory;
	size_t count = guest_memory_region_count(memory);
	int fds[2 + GUEST_MEMORY_MAX_REGIONS] = {guest_memory_dirty_fd(memory),
						 client->config.signals->fd};
	size_t size = sizeof(struct vsp_memory) + count * sizeof(struct vsp_region);
	struct vsp_memory *message = calloc(1, size);
	int result;

	if (!message)
		return -ENOMEM;
	message->vp_count = client->config.vp_count;
	message->region_count = (uint32_t)count;
	for (size_t i = 0; i < count; i++) {
		const struct guest_memory_region *region = guest_memory_region_at(memory, i);

		message->regions[i] = (struct vsp_region){
			.gpa = region->gpa,
			.size_bytes = region->size_bytes,
			.fd_offset = region->fd_offset,
		};
		fds[2 + i] = region->fd;
	}
	vsp_header_fill(message, VSP_MEMORY, size);
	result = vsp_link_request(client->link, &message->header, fds, 2 + count, on_made, client,
				  VSP_MEMORY);
	free(message);
	return result;
}

static int nic_send(struct vsp_client *client)
{
	const struct vm_nic_config *config = client->config.nic;
	struct vsp_nic message = {
		.mtu = config->mtu,
		.flags = (config->spoof_guard ? VSP_NIC_SPOOF_GUARD : 0) |
			 (client->move.incoming ? VSP_NIC_INCOMING : 0),
		.max_channels = config->queues,
	};

	vsp_header_fill(&message, VSP_NIC, sizeof(message));
	memcpy(message.name, client->name, sizeof(message.name));
	memcpy(message.mac, config->mac, sizeof(message.mac));
	return vsp_link_request(client->link, &message.header, NULL, 0, on_made, client, VSP_NIC);
}

static void vlan_fill(struct vsp_vlan *message, const struct vlan_config *vlan)
{
	*message =
		(struct vsp_vlan){.mode = vlan->mode, .id = vlan->id, .secondary = vlan->secondary};
	vsp_header_fill(message, VSP_VLAN, sizeof(*message));
	vlan_set_put(&vlan->list, message->list);
}

/* Ahead of all that could bring the guest a frame. A netvspd that knows no VLANs refuses it. */
static int vlan_send(struct vsp_client *client)
{
	const struct vlan_config *vlan = &client->config.nic->vlan;
	struct vsp_vlan message;

	if (vlan->mode == VLAN_DEFAULT)
		return 0;
	client->made_wanted++;
	vlan_fill(&message, vlan);
	return vsp_link_request(client->link, &message.header, NULL, 0, on_made, client, VSP_VLAN);
}

int vsp_client_connect(struct vsp_client *client)
{
	struct vsp_hello hello = {.version = VSP_VERSION};
	int socket = unix_socket_connect(client->config.nic->vsp_socket, SOCK_SEQPACKET);
	int result;

	if (socket < 0)
		return socket;
	client->refusal = 0;
	client->made_count = 0;
	client->made_wanted = MADE_COUNT;
	result = vsp_link_create(client->config.loop, socket, &link_ops, client, &client->link);
	if (result)
		return result;
	vsp_header_fill(&hello, VSP_HELLO, sizeof(hello));
	result = vsp_link_request(client->link, &hello.header, NULL, 0, on_made, client, VSP_HELLO);
	if (!result)
		result = memory_send(client);
	if (!result)
		result = nic_send(client);
	if (!result)
		result = vlan_send(client);
	if (result)
		vsp_client_disconnect(client);
	return result;
}

/* Runs the link alone until the vNIC is made. Returns 0 or -errno: what netvspd refused with,
 * -ECONNRESET or -ETIMEDOUT. */
static int link_start_and_wait(struct vsp_client *client)
{
	struct deadline deadline = deadline_in_ms(START_DEADLINE_MS);
	int result = vsp_client_connect(client);

	while (!result && !client->ready) {
		if (client->refusal)
			result = client->refusal;
		else if (!client->link) /* on_lost() was here */
			result = -ECONNRESET;
		else if (deadline_passed(deadline))
			result = -ETIMEDOUT;
		else
			vsp_link_pump(client->link, deadline_left_ms(deadline));
	}
	if (result)
		vsp_client_disconnect(client);
	event_timer_cancel(client->timer); /* a reconnect that on_lost() asked for */
	client->timer = NULL;
	return result;
}

/* ---- life ---- */

/* Reconnects, offers again, asks for statistics: whatever is next. */
static void on_timer(void *ctx)
{
	struct vsp_client *client = ctx;
	int result;

	client->timer = NULL;
	if (client->move.recovering) {
		vsp_recover_step(client);
		return;
	}
	if (client->move.rests && !client->link)
		return; /* until vsp_client_resume() */
	if (client->link && client->refusal) {
		log_warn_limited("%s: netvspd refuses the vNIC: %s", client->name,
				 strerror(-client->refusal));
		vsp_client_disconnect(client);
	} else if (!client->link) {
		(void)vsp_client_connect(client);
	} else if (client->ready && !client->device) {
		/* -EEXIST: the guest has not let go of the last one yet */
		result = vsp_device_offer(client);
		if (!result)
			log_info("%s: plugged in again", client->name);
		else if (result != -EEXIST)
			log_warn_limited("%s: not offered: %s", client->name, strerror(-result));
	} else if (client->ready) {
		stats_ask(client);
	}
	vsp_client_set_timer(client, TICK_MS);
}

void vsp_client_set_timer(struct vsp_client *client, uint32_t delay_ms)
{
	event_timer_cancel(client->timer);
	client->timer = NULL;
	if (event_loop_after_ms(client->config.loop, delay_ms, on_timer, client, &client->timer))
		log_error("%s: out of memory: no reconnecting", client->name);
}

static int failure_report(const struct vsp_client *client, int result, struct vm_error *error)
{
	const char *path = client->config.nic->vsp_socket;
	char vlan[VLAN_TEXT_BYTES];

	switch (result) {
	case -ENOENT:
	case -ECONNREFUSED:
		return vm_error_set(error, EXIT_NO_SWITCH, result,
				    "netvspd is not running (nobody listens on %s): start it, or "
				    "take the NICs out of the VM's definition",
				    path);
	case -EEXIST:
		return vm_error_set(error, EXIT_NO_SWITCH, result,
				    "netvspd refuses %s: its MAC or name is in use on this switch",
				    client->name);
	case -EOPNOTSUPP:
		return vm_error_set(
			error, EXIT_NO_SWITCH, result,
			"netvspd on %s is of a version that %s: update it", path,
			client->config.nic->vlan.mode == VLAN_DEFAULT
				? "cannot take a VM that moves"
				: "knows no VLAN modes, or cannot take a VM that moves");
	case -ENOTUNIQ:
		return vm_error_set(error, EXIT_NO_SWITCH, result,
				    "netvspd refuses the VLAN mode of %s (%s): another port of "
				    "that switch uses one of its VLANs as another part of a "
				    "private VLAN",
				    client->name,
				    vlan_config_format(&client->config.nic->vlan, vlan));
	default:
		return vm_error_set(error, EXIT_NO_SWITCH, result,
				    "netvspd on %s does not serve %s: %s", path, client->name,
				    strerror(-result));
	}
}

/* Waits for netvspd, in steps while it still knows the name. */
static int switch_reach(struct vsp_client *client, bool must_reach)
{
	const struct timespec pause = {.tv_nsec = NAME_RETRY_MS * (long)NS_PER_MS};
	struct deadline deadline = deadline_in_ms(NAME_WAIT_MS);
	int result = link_start_and_wait(client);

	while (result == -EEXIST && (!must_reach || client->config.incoming) &&
	       !deadline_passed(deadline)) {
		nanosleep(&pause, NULL);
		result = link_start_and_wait(client);
	}
	return result;
}

int vsp_client_create(const struct vsp_client_config *config, bool must_reach,
		      struct vsp_client **client, struct vm_error *error)
{
	struct vsp_client *made = calloc(1, sizeof(*made));
	int result;

	if (!made)
		return vm_error_set(error, EXIT_NO_MEMORY, -ENOMEM, "out of memory");
	made->config = *config;
	made->move.incoming = config->incoming;
	made->move.rests = config->incoming;
	made->move.journal = -1;
	LIST_INIT(&made->devices);
	snprintf(made->name, sizeof(made->name), "%s/nic%u", config->vm_name, config->nic_index);
	result = switch_reach(made, must_reach);
	if (result && must_reach) {
		failure_report(made, result, error);
		goto err_destroy;
	}
	if (result)
		log_warn("%s: netvspd is not there: %s; trying again", made->name,
			 strerror(-result));
	result = made->ready ? vsp_device_offer(made) : 0;
	if (result) {
		vm_error_set(error, EXIT_INTERNAL, result, "%s cannot be offered: %s", made->name,
			     strerror(-result));
		goto err_destroy;
	}
	vsp_client_set_timer(made, TICK_MS);
	*client = made;
	return 0;

err_destroy:
	vsp_client_destroy(made);
	return result;
}

void vsp_client_destroy(struct vsp_client *client)
{
	if (!client)
		return;
	event_timer_cancel(client->timer);
	vsp_link_destroy(client->link);
	vsp_devices_free(client);
	vsp_move_free_state(client);
	vsp_recover_fini(client);
	free(client);
}

/* ---- VLANs ---- */

static void on_vlan(void *ctx, uint64_t tag, int status, const struct vsp_header *reply)
{
	struct vsp_client *client = ctx;

	(void)reply;
	if (tag != client->vlan_asked)
		return; /* nobody waits for it any more */
	client->vlan_answered = true;
	client->vlan_status = status;
}

int vsp_client_change_vlan(struct vsp_client *client)
{
	struct deadline deadline = deadline_in_ms(VLAN_DEADLINE_MS);
	struct vsp_vlan message;
	int result;

	if (!client->link || !client->ready)
		return 0; /* the next connection brings it */
	if (client->version < VSP_VERSION_VLANS)
		return -EOPNOTSUPP;
	client->vlan_answered = false;
	client->vlan_asked++;
	vlan_fill(&message, &client->config.nic->vlan);
	result = vsp_link_request(client->link, &message.header, NULL, 0, on_vlan, client,
				  client->vlan_asked);
	while (!result && !client->vlan_answered && client->link && !deadline_passed(deadline))
		vsp_link_pump(client->link, deadline_left_ms(deadline));
	if (result)
		return result;
	if (client->vlan_answered)
		return client->vlan_status == -ENOTCONN ? 0 : client->vlan_status;
	client->vlan_asked++;
	/* Nobody knows what it has made of it: the next connection begins anew. */
	if (client->link)
		vsp_link_lose(client->link, "it does not answer");
	return -ETIMEDOUT;
}

void vsp_client_get_status(const struct vsp_client *client, struct vm_nic_status *status)
{
	*status = client->status;
}
