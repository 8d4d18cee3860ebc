/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The requests that look around: the host's uplinks, the portals that a guest talks to, and whether
 * the network behind the uplinks has such a portal.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd_passing.h"
#include "base/log.h"
#include "netvsp/data_path.h"
#include "netvsp/nic.h"
#include "netvsp/probe.h"
#include "netvsp/uplink.h"
#include "netvsp/vsp_server_internal.h"

#define LOG_COMPONENT "vsp"

#define PROBES_A_CONNECTION 32

static_assert(sizeof(struct vsp_info) <= VSP_REPLY_MAX_BYTES, "VSP_INFO's reply");
static_assert(sizeof(struct vsp_portals) <= VSP_REPLY_MAX_BYTES, "VSP_PORTALS' reply");
static_assert(DATA_PATH_MAX_UPLINKS <= VSP_MAX_UPLINKS, "all uplinks are told");

int vsp_handle_info(struct connection *connection, struct request *request, struct reply *reply)
{
	struct vsp_info *message = (struct vsp_info *)reply->bytes;
	const struct data_path *data = connection->server->data;
	const struct connection *other;

	(void)request;
	for (uint32_t i = 0; i < data->uplink_count; i++) {
		struct uplink_info info;

		uplink_get_info(data->uplinks[i], &info);
		memcpy(message->uplinks[i].name, info.name, sizeof(info.name));
		message->uplinks[i].link_up = info.link_up;
		message->uplinks[i].mtu = info.mtu;
	}
	message->uplink_count = data->uplink_count;
	LIST_FOREACH(other, &connection->server->connections, link)
	message->vnic_count += other->nic && !nic_is_departed(other->nic);
	reply->length = sizeof(*message);
	return 0;
}

int vsp_handle_portals(struct connection *connection, struct request *request, struct reply *reply)
{
	struct vsp_portals *message = (struct vsp_portals *)reply->bytes;

	(void)request;
	if (!connection->nic)
		return -EBADMSG;
	message->count = nic_get_portals(connection->nic, message->portals);
	reply->length = sizeof(*message);
	return 0;
}

/* ---- probes ---- */

struct pending_probe {
	LIST_ENTRY(pending_probe) link;
	struct connection *connection;
	uint32_t sequence;
	struct probe *probe;
};

static void on_probed(void *ctx, int status)
{
	struct pending_probe *pending = ctx;
	struct connection *connection = pending->connection;
	struct vsp_header reply = {.type = VSP_PROBE | VSP_REPLY,
				   .size_bytes = sizeof(reply),
				   .sequence = pending->sequence,
				   .status = status};

	LIST_REMOVE(pending, link);
	free(pending);
	if (fd_passing_send(connection->fd, &reply, sizeof(reply), NULL, 0) == 0)
		return;
	log_warn_limited("%s: does not read its socket: dropped",
			 connection->name[0] ? connection->name : "a client");
	vsp_drop_connection(connection);
}

int vsp_handle_probe(struct connection *connection, struct request *request, struct reply *reply)
{
	const struct vsp_probe *message = request->bytes;
	struct pending_probe *pending;
	unsigned int count = 0;
	int err;

	(void)reply;
	LIST_FOREACH(pending, &connection->probes, link)
	count++;
	if (count >= PROBES_A_CONNECTION)
		return -EBUSY;
	pending = calloc(1, sizeof(*pending));
	if (!pending)
		return -ENOMEM;
	pending->connection = connection;
	pending->sequence = message->header.sequence;
	err = probe_start(connection->server->prober, &message->portal, on_probed, pending,
			  &pending->probe);
	if (err) {
		free(pending);
		return err;
	}
	LIST_INSERT_HEAD(&connection->probes, pending, link);
	return VSP_REPLY_LATER;
}

void vsp_survey_fini(struct connection *connection)
{
	struct pending_probe *pending;

	while ((pending = LIST_FIRST(&connection->probes))) {
		LIST_REMOVE(pending, link);
		probe_cancel(pending->probe);
		free(pending);
	}
}
