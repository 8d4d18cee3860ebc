/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The VMBus server's connection: version negotiation, the message table, UNLOAD, re-contact and
 * reset. What the guest may say when is decided here; what the messages mean for channels and
 * GPADLs, in server_channel.c and server_gpadl.c.
 */
#include "vmbus/server.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/log.h"
#include "vmbus/event_signal.h"
#include "vmbus/server_internal.h"

#define LOG_COMPONENT "vmbus"

static const uint32_t supported_versions[] = {
	VMBUS_VERSION_5_3, VMBUS_VERSION_5_2,	VMBUS_VERSION_5_1,    VMBUS_VERSION_5_0,
	VMBUS_VERSION_4_1, VMBUS_VERSION_WIN10, VMBUS_VERSION_WIN8_1, VMBUS_VERSION_WIN8,
};

int vmbus_server_create(const struct vmbus_server_ops *ops, void *ctx, uint32_t vp_count,
			struct vmbus_server **server)
{
	struct vmbus_server *made = calloc(1, sizeof(*made));

	if (!made)
		return -ENOMEM;
	made->ops = ops;
	made->ctx = ctx;
	made->vp_count = vp_count;
	*server = made;
	return 0;
}

void vmbus_server_destroy(struct vmbus_server *server)
{
	struct vmbus_device *device;

	if (!server)
		return;
	gpadl_free_all(server);
	for (uint32_t relid = 1; relid <= server->max_relid; relid++)
		free(server->channels[relid]);
	while ((device = server->devices) != NULL) {
		server->devices = device->next;
		free(device->channels);
		free(device);
	}
	free(server);
}

void server_post(struct vmbus_server *server, const void *message, size_t length)
{
	if (server->connection == CONNECTION_UP)
		server->ops->post_message(server->ctx, server->message_vp, message, length);
}

bool server_knows_version(uint32_t version)
{
	for (size_t i = 0; i < ARRAY_LENGTH(supported_versions); i++) {
		if (version == supported_versions[i])
			return true;
	}
	return false;
}

static bool version_is_supported(const struct vmbus_initiate_contact *contact)
{
	/* From 5.0 on the guest names the SINT it listens on. We have no other. */
	if (contact->version >= VMBUS_VERSION_5_0 &&
	    (contact->target.sint != VMBUS_SINT || contact->target.vtl != 0))
		return false;
	return server_knows_version(contact->version);
}

/* Answers INITIATE_CONTACT on a clean bus. */
static void contact_answer(struct vmbus_server *server)
{
	const struct vmbus_initiate_contact *contact = &server->contact;
	struct vmbus_version_response response = {0};

	server->contact_waits = false;
	/* Before 8.1 messages went to VP 0 whatever the field held. */
	server->message_vp = 0;
	if (contact->version >= VMBUS_VERSION_WIN8_1 && contact->target_vp < server->vp_count)
		server->message_vp = contact->target_vp;

	response.header.type = VMBUS_VERSION_RESPONSE;
	if (version_is_supported(contact)) {
		server->connection = CONNECTION_UP;
		server->version = contact->version;
		server->offers_sent = false;
		response.supported = 1;
		if (contact->version >= VMBUS_VERSION_5_0)
			response.connection_id = VMBUS_MESSAGE_PORT_5;
		log_info_limited("guest connected, version %u.%u", contact->version >> 16,
				 contact->version & 0xffff);
	}
	server->ops->post_message(server->ctx, server->message_vp, &response, sizeof(response));
}

static void clean_begin(struct vmbus_server *server)
{
	server->connection = CONNECTION_CLEANING;
	channel_disconnect_all(server);
	gpadl_abandon(server, NULL);
	server->unsettled = true;
}

static void clean_finish(struct vmbus_server *server)
{
	const struct vmbus_message_header response = {.type = VMBUS_UNLOAD_RESPONSE};

	if (server->connection != CONNECTION_CLEANING || server->gpadl_count > 0 ||
	    !channel_all_quiet(server))
		return;
	channel_forget_all(server);
	server->connection = CONNECTION_NONE;
	server->version = 0;
	if (server->answer_unload)
		server->ops->post_message(server->ctx, server->message_vp, &response,
					  sizeof(response));
	server->answer_unload = false;
	if (server->ops->bus_clean)
		server->ops->bus_clean(server->ctx);
	if (server->contact_waits)
		contact_answer(server);
	server->unsettled = true;
}

void server_enter(struct vmbus_server *server)
{
	server->depth++;
}

void server_leave(struct vmbus_server *server)
{
	server->unsettled = true;
	if (server->depth > 1) {
		server->depth--;
		return;
	}
	while (server->unsettled) {
		server->unsettled = false;
		if (server->restore.phase != RESTORE_NONE) {
			restore_settle(server);
			continue;
		}
		channel_settle_all(server);
		gpadl_settle_all(server);
		clean_finish(server);
	}
	server->depth--;
	restore_report(server);
}

static void on_initiate_contact(struct vmbus_server *server, const void *message, size_t length)
{
	(void)length;
	memcpy(&server->contact, message, sizeof(server->contact));
	if (server->connection == CONNECTION_NONE) {
		contact_answer(server);
		return;
	}
	/* A crash kernel, or a guest that was reset behind our back: it must find a clean bus. */
	server->contact_waits = true;
	if (server->connection == CONNECTION_UP)
		clean_begin(server);
}

static void on_unload(struct vmbus_server *server, const void *message, size_t length)
{
	(void)message;
	(void)length;
	server->answer_unload = true;
	if (server->connection != CONNECTION_CLEANING)
		clean_begin(server);
}

static void on_request_offers(struct vmbus_server *server, const void *message, size_t length)
{
	const struct vmbus_message_header delivered = {.type = VMBUS_ALL_OFFERS_DELIVERED};

	(void)message;
	(void)length;
	if (server->offers_sent) {
		log_warn_limited("offers requested twice");
		return;
	}
	server->offers_sent = true;
	channel_offer_all(server);
	server_post(server, &delivered, sizeof(delivered));
}

/* No service of the host listens on Hyper-V sockets: refuse. Before 4.1 there is no such answer. */
static void on_tl_connect(struct vmbus_server *server, const void *message, size_t length)
{
	struct vmbus_tl_connect_request request;
	struct vmbus_tl_connect_result result = {0};

	(void)length;
	if (server->version < VMBUS_VERSION_4_1)
		return;
	memcpy(&request, message, sizeof(request));
	result.header.type = VMBUS_TL_CONNECT_RESULT;
	memcpy(result.endpoint_id, request.endpoint_id, sizeof(result.endpoint_id));
	memcpy(result.service_id, request.service_id, sizeof(result.service_id));
	result.status = VMBUS_STATUS_CONNECTION_REFUSED;
	server_post(server, &result, sizeof(result));
}

struct message_kind {
	void (*handle)(struct vmbus_server *server, const void *message, size_t length);
	size_t min_bytes;
	uint32_t since; /* the version that has it; 0: also taken where nobody is connected */
};

static const struct message_kind message_kinds[] = {
	[VMBUS_REQUEST_OFFERS] = {on_request_offers, sizeof(struct vmbus_message_header),
				  VMBUS_VERSION_WIN8},
	[VMBUS_OPEN_CHANNEL] = {channel_on_open, sizeof(struct vmbus_open_channel),
				VMBUS_VERSION_WIN8},
	[VMBUS_CLOSE_CHANNEL] = {channel_on_close, sizeof(struct vmbus_relid_message),
				 VMBUS_VERSION_WIN8},
	[VMBUS_GPADL_HEADER] = {gpadl_on_header, sizeof(struct vmbus_gpadl_header),
				VMBUS_VERSION_WIN8},
	[VMBUS_GPADL_BODY] = {gpadl_on_body, sizeof(struct vmbus_gpadl_body), VMBUS_VERSION_WIN8},
	[VMBUS_GPADL_TEARDOWN] = {gpadl_on_teardown, sizeof(struct vmbus_gpadl_teardown),
				  VMBUS_VERSION_WIN8},
	[VMBUS_RELID_RELEASED] = {channel_on_released, sizeof(struct vmbus_relid_message),
				  VMBUS_VERSION_WIN8},
	[VMBUS_INITIATE_CONTACT] = {on_initiate_contact, sizeof(struct vmbus_initiate_contact), 0},
	[VMBUS_UNLOAD] = {on_unload, sizeof(struct vmbus_message_header), 0},
	[VMBUS_TL_CONNECT_REQUEST] = {on_tl_connect, sizeof(struct vmbus_tl_connect_request),
				      VMBUS_VERSION_WIN8},
	[VMBUS_MODIFY_CHANNEL] = {channel_on_modify, sizeof(struct vmbus_modify_channel),
				  VMBUS_VERSION_4_1},
};

static void message_dispatch(struct vmbus_server *server, const void *payload, size_t length)
{
	const struct message_kind *kind;
	uint32_t type;

	if (length < sizeof(struct vmbus_message_header) || length > VMBUS_MESSAGE_MAX_BYTES) {
		log_warn_limited("message of %zu bytes dropped", length);
		return;
	}
	if (server->restore.phase != RESTORE_NONE) {
		log_error_limited("message dropped: the bus is being restored");
		return;
	}
	type = get_le32(payload);
	kind = type < ARRAY_LENGTH(message_kinds) ? &message_kinds[type] : NULL;
	if (!kind || !kind->handle || length < kind->min_bytes) {
		log_warn_limited("message of type %u, %zu bytes: unknown or too short", type,
				 length);
		return;
	}
	if (kind->since > 0 &&
	    (server->connection != CONNECTION_UP || server->version < kind->since)) {
		log_warn_limited("message of type %u dropped: not in this version or state", type);
		return;
	}
	kind->handle(server, payload, length);
}

bool vmbus_server_is_message_port(uint32_t connection_id)
{
	return connection_id == VMBUS_MESSAGE_PORT || connection_id == VMBUS_MESSAGE_PORT_5;
}

int vmbus_server_message(struct vmbus_server *server, uint32_t connection_id, const void *payload,
			 size_t length)
{
	if (!vmbus_server_is_message_port(connection_id))
		return -EINVAL;
	server_enter(server);
	message_dispatch(server, payload, length);
	server_leave(server);
	return 0;
}

void vmbus_server_reset(struct vmbus_server *server)
{
	server_enter(server);
	server->answer_unload = false;
	server->contact_waits = false;
	if (server->connection != CONNECTION_CLEANING)
		clean_begin(server);
	server_leave(server);
}

void vmbus_server_get_counts(const struct vmbus_server *server, struct vmbus_server_counts *counts)
{
	struct vmbus_server_counts made = {.version = server->version,
					   .gpadls = server->gpadl_count};

	for (uint32_t relid = 1; relid <= server->max_relid; relid++) {
		const struct server_channel *channel = server->channels[relid];

		if (!channel)
			continue;
		made.offered += channel->offered && !channel->rescinded;
		made.open += channel->state != CHANNEL_CLOSED;
	}
	*counts = made;
}
