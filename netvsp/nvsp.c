/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The NVSP session's state machine. A guest's message is short and comes as a private copy; each
 * handler reads it once into a zeroed structure, checks it, and answers. What can be undone is
 * undone by one path: buffer_drop().
 */
#include "netvsp/nvsp.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/log.h"

#define LOG_COMPONENT "nvsp"

/* What OpenVMM and Hyper-V tell; no guest that we know of uses it. */
#define MAX_MDL_CHAIN_LENGTH 34
/* Room ahead of a frame in a receive section, and for the Ethernet header and one tag. */
#define RECV_HEADROOM_BYTES 128
#define ETHERNET_BYTES	    14
#define VLAN_TAG_BYTES	    4

struct shared_buffer {
	bool attached;
	struct nvsp_layout layout;
};

struct nvsp_session {
	const struct nvsp_ops *ops;
	void *ctx;
	struct nvsp_config config;
	uint32_t version;
	uint32_t mtu;
	uint64_t capabilities;
	struct shared_buffer buffers[2];
	uint32_t granted;	/* sub-channels */
	uint64_t open_channels; /* bit i: sub-channel i is open */
	bool table_sent;
};

/* One message while it is handled. */
struct request {
	uint64_t transaction_id;
	bool wants_completion;
	const uint8_t *bytes;
	size_t length;
};

static const uint32_t supported_versions[] = {
	NVSP_VERSION_61, NVSP_VERSION_6, NVSP_VERSION_5,
	NVSP_VERSION_4,	 NVSP_VERSION_2, NVSP_VERSION_1,
};

static_assert(sizeof(((struct nvsp_session *)0)->open_channels) * 8 >= NVSP_MAX_CHANNELS,
	      "one bit a channel");

int nvsp_session_create(const struct nvsp_config *config, const struct nvsp_ops *ops, void *ctx,
			struct nvsp_session **session)
{
	struct nvsp_session *new;

	if (config->max_channels < 1 || config->max_channels > NVSP_MAX_CHANNELS ||
	    config->max_mtu < NVSP_MIN_MTU || config->max_mtu > NVSP_MAX_MTU)
		return -EINVAL;
	new = calloc(1, sizeof(*new));
	if (!new)
		return -ENOMEM;
	new->ops = ops;
	new->ctx = ctx;
	new->config = *config;
	new->mtu = config->max_mtu < NVSP_DEFAULT_MTU ? config->max_mtu : NVSP_DEFAULT_MTU;
	*session = new;
	return 0;
}

void nvsp_session_destroy(struct nvsp_session *session)
{
	free(session);
}

static void session_changed(struct nvsp_session *session)
{
	if (session->ops->changed)
		session->ops->changed(session->ctx);
}

/* Pads the reply to the version's message size. Nothing goes out unless the guest asked for a
 * completion. */
static void reply_send(struct nvsp_session *session, const struct request *request,
		       const void *reply, size_t length)
{
	uint8_t message[NVSP_MAX_MESSAGE_BYTES] = {0};
	size_t padded = length ? nvsp_session_reply_bytes(session) : 0;

	if (!request->wants_completion)
		return;
	if (length)
		memcpy(message, reply, length);
	session->ops->complete(session->ctx, request->transaction_id, message, padded);
}

static void reply_empty(struct nvsp_session *session, const struct request *request)
{
	reply_send(session, request, NULL, 0);
}

/* ---- version ---- */

static uint32_t version_choose(uint32_t min, uint32_t max)
{
	for (size_t i = 0; i < ARRAY_LENGTH(supported_versions); i++)
		if (supported_versions[i] >= min && supported_versions[i] <= max)
			return supported_versions[i];
	return 0;
}

static void handle_init(struct nvsp_session *session, const struct request *request)
{
	struct nvsp_init_complete reply = {
		.header.type = htole32(NVSP_INIT_COMPLETE),
		.version = htole32(UINT32_MAX),
		.max_mdl_chain_length = htole32(MAX_MDL_CHAIN_LENGTH),
		.status = htole32(NVSP_STATUS_FAILURE),
	};
	uint32_t min, max, chosen = 0;

	if (request->length >= sizeof(struct nvsp_init)) {
		min = get_le32(request->bytes + offsetof(struct nvsp_init, min_version));
		max = get_le32(request->bytes + offsetof(struct nvsp_init, max_version));
		/* Once buffers are in use a new version would change what their contents mean. */
		if (!session->buffers[NVSP_BUFFER_RECV].attached &&
		    !session->buffers[NVSP_BUFFER_SEND].attached)
			chosen = version_choose(min, max);
		if (min > supported_versions[0])
			reply.status = htole32(NVSP_STATUS_TOO_NEW);
	}
	if (chosen) {
		session->version = chosen;
		reply.status = htole32(NVSP_STATUS_SUCCESS);
		/* The field is only meaningful to version 1; later guests know what they asked for.
		 */
		if (chosen == NVSP_VERSION_1)
			reply.version = htole32(NVSP_VERSION_1);
	}
	reply_send(session, request, &reply, sizeof(reply));
	if (chosen)
		session_changed(session);
}

static void handle_ndis_config(struct nvsp_session *session, const struct request *request)
{
	uint32_t mtu;

	/* Before the receive buffer is cut: its sections are sized for the MTU. */
	if (request->length >= sizeof(struct nvsp_ndis_config) &&
	    !session->buffers[NVSP_BUFFER_RECV].attached) {
		mtu = get_le32(request->bytes + offsetof(struct nvsp_ndis_config, mtu));
		mtu = mtu < NVSP_MIN_MTU + ETHERNET_BYTES ? NVSP_MIN_MTU : mtu - ETHERNET_BYTES;
		session->mtu = mtu > session->config.max_mtu ? session->config.max_mtu : mtu;
		session->capabilities = get_le64(
			request->bytes + offsetof(struct nvsp_ndis_config, capabilities_low));
		session_changed(session);
	} else {
		log_warn_limited("NDIS_CONFIG ignored: too short, or after the receive buffer");
	}
	reply_empty(session, request);
}

/* ---- buffers ---- */

uint32_t nvsp_recv_section_bytes(uint32_t mtu)
{
	uint32_t bytes = (uint32_t)align_up(
		RECV_HEADROOM_BYTES + ETHERNET_BYTES + VLAN_TAG_BYTES + (uint64_t)mtu, 64);

	return bytes < NVSP_MIN_RECV_SECTION_BYTES ? NVSP_MIN_RECV_SECTION_BYTES : bytes;
}

static void buffer_drop(struct nvsp_session *session, enum nvsp_buffer which)
{
	if (!session->buffers[which].attached)
		return;
	session->ops->buffer_detach(session->ctx, which);
	session->buffers[which].attached = false;
}

/* Returns NVSP_STATUS_*. */
static uint32_t buffer_attach(struct nvsp_session *session, const struct request *request,
			      enum nvsp_buffer which)
{
	struct shared_buffer *buffer = &session->buffers[which];
	struct nvsp_layout layout = {0};
	size_t size_bytes = 0, count;

	if (request->length < NVSP_BUFFER_MIN_BYTES || buffer->attached)
		return NVSP_STATUS_FAILURE;
	layout.gpadl_id = get_le32(request->bytes + offsetof(struct nvsp_buffer_message, gpadl_id));
	layout.id = get_le16(request->bytes + offsetof(struct nvsp_buffer_message, id));
	layout.section_bytes = which == NVSP_BUFFER_RECV ? nvsp_recv_section_bytes(session->mtu)
							 : NVSP_SEND_SECTION_BYTES;
	if (session->ops->gpadl_size(session->ctx, layout.gpadl_id, &size_bytes))
		return NVSP_STATUS_FAILURE;
	count = size_bytes / layout.section_bytes;
	if (count == 0 || count > UINT32_MAX / layout.section_bytes)
		return NVSP_STATUS_FAILURE;
	layout.section_count = (uint32_t)count;
	if (session->ops->buffer_attach(session->ctx, which, &layout))
		return NVSP_STATUS_FAILURE;
	buffer->layout = layout;
	buffer->attached = true;
	return NVSP_STATUS_SUCCESS;
}

static void handle_recv_buf(struct nvsp_session *session, const struct request *request)
{
	const struct nvsp_layout *layout = &session->buffers[NVSP_BUFFER_RECV].layout;
	struct nvsp_recv_buf_complete reply = {
		.header.type = htole32(NVSP_RECV_BUF_COMPLETE),
	};
	uint32_t status = buffer_attach(session, request, NVSP_BUFFER_RECV);

	reply.status = htole32(status);
	if (status == NVSP_STATUS_SUCCESS) {
		reply.section_count = htole32(1);
		reply.section.sub_allocation_size = htole32(layout->section_bytes);
		reply.section.sub_allocation_count = htole32(layout->section_count);
		reply.section.end_offset = htole32(layout->section_bytes * layout->section_count);
	}
	reply_send(session, request, &reply, sizeof(reply));
	if (status == NVSP_STATUS_SUCCESS)
		session_changed(session);
}

static void handle_send_buf(struct nvsp_session *session, const struct request *request)
{
	struct nvsp_send_buf_complete reply = {
		.header.type = htole32(NVSP_SEND_BUF_COMPLETE),
	};
	uint32_t status = buffer_attach(session, request, NVSP_BUFFER_SEND);

	reply.status = htole32(status);
	if (status == NVSP_STATUS_SUCCESS)
		reply.section_size = htole32(NVSP_SEND_SECTION_BYTES);
	reply_send(session, request, &reply, sizeof(reply));
	if (status == NVSP_STATUS_SUCCESS)
		session_changed(session);
}

static void handle_revoke(struct nvsp_session *session, const struct request *request,
			  enum nvsp_buffer which)
{
	const struct shared_buffer *buffer = &session->buffers[which];

	if (request->length >= NVSP_REVOKE_MIN_BYTES && buffer->attached &&
	    get_le16(request->bytes + offsetof(struct nvsp_revoke, id)) == buffer->layout.id) {
		buffer_drop(session, which);
		session_changed(session);
	}
	reply_empty(session, request);
}

/* ---- sub-channels ---- */

static void handle_sub_channel(struct nvsp_session *session, const struct request *request)
{
	struct nvsp_sub_channel_complete reply = {
		.header.type = htole32(NVSP_SUB_CHANNEL),
		.status = htole32(NVSP_STATUS_FAILURE),
	};
	uint32_t count = 0, most = session->config.max_channels - 1;
	bool granted = false;

	/* Linux waits for ever for what was granted: granting twice could never be kept. */
	if (request->length >= sizeof(struct nvsp_sub_channel) && session->granted == 0 &&
	    request->wants_completion &&
	    get_le32(request->bytes + offsetof(struct nvsp_sub_channel, operation)) ==
		    NVSP_SUB_CHANNEL_ALLOCATE) {
		count = get_le32(request->bytes + offsetof(struct nvsp_sub_channel, count));
		count = count > most ? most : count;
		session->granted = count;
		reply.status = htole32(NVSP_STATUS_SUCCESS);
		reply.count = htole32(count);
		granted = count > 0;
	}
	reply_send(session, request, &reply, sizeof(reply));
	if (granted) {
		session_changed(session);
		session->ops->offer_sub_channels(session->ctx, count);
	}
}

static void send_table_emit(struct nvsp_session *session)
{
	uint8_t message[sizeof(struct nvsp_send_indirection_table) +
			NVSP_SEND_TABLE_ENTRIES * sizeof(uint32_t)] = {0};
	const struct nvsp_send_indirection_table head = {
		.header.type = htole32(NVSP_SEND_INDIRECTION_TABLE),
		.count = htole32(NVSP_SEND_TABLE_ENTRIES),
		.offset = htole32(sizeof(head)),
	};

	memcpy(message, &head, sizeof(head));
	for (uint32_t i = 0; i < NVSP_SEND_TABLE_ENTRIES; i++)
		put_le32(message + sizeof(head) + i * sizeof(uint32_t), i % (session->granted + 1));
	session->ops->send(session->ctx, message, sizeof(message));
}

void nvsp_session_channel_opened(struct nvsp_session *session, uint32_t sub_index)
{
	/* Bits 1..granted; granted is at most NVSP_MAX_CHANNELS - 1. */
	uint64_t all = (session->granted == 63 ? UINT64_MAX
					       : (UINT64_C(1) << (session->granted + 1)) - 1) &
		       ~UINT64_C(1);

	if (sub_index == 0 || sub_index >= NVSP_MAX_CHANNELS)
		return;
	session->open_channels |= UINT64_C(1) << sub_index;
	if (session->granted == 0 || session->table_sent || (session->open_channels & all) != all ||
	    session->version < NVSP_VERSION_5)
		return;
	session->table_sent = true;
	send_table_emit(session);
}

void nvsp_session_channel_closed(struct nvsp_session *session, uint32_t sub_index)
{
	if (sub_index == 0 || sub_index >= NVSP_MAX_CHANNELS)
		return;
	session->open_channels &= ~(UINT64_C(1) << sub_index);
}

/* ---- dispatch ---- */

static void handle_oid_query_ex(struct nvsp_session *session, const struct request *request)
{
	const struct nvsp_oid_query_ex_complete reply = {
		.header.type = htole32(NVSP_OID_QUERY_EX_COMPLETE),
		.status = htole32(NVSP_STATUS_UNSUPPORTED),
	};

	reply_send(session, request, &reply, sizeof(reply));
}

/* The oldest version in which a message exists; 0: we know no such message. */
static uint32_t message_since(uint32_t type)
{
	switch (type) {
	case NVSP_NDIS_VERSION:
	case NVSP_RECV_BUF:
	case NVSP_REVOKE_RECV_BUF:
	case NVSP_SEND_BUF:
	case NVSP_REVOKE_SEND_BUF:
		return NVSP_VERSION_1;
	case NVSP_NDIS_CONFIG:
		return NVSP_VERSION_2;
	case NVSP_SWITCH_DATA_PATH:
		return NVSP_VERSION_4;
	case NVSP_OID_QUERY_EX:
	case NVSP_SUB_CHANNEL:
		return NVSP_VERSION_5;
	default:
		return 0;
	}
}

/* What a message gets whose version was not negotiated, or that nobody knows: a refusal where there
 * is one to give. */
static void refuse(struct nvsp_session *session, const struct request *request, uint32_t type)
{
	struct nvsp_rndis_complete reply = {.status = htole32(NVSP_STATUS_FAILURE)};

	log_warn_limited("message type %u refused at version %#x", type, session->version);
	switch (type) {
	case NVSP_RECV_BUF:
		reply.header.type = htole32(NVSP_RECV_BUF_COMPLETE);
		break;
	case NVSP_SEND_BUF:
		reply.header.type = htole32(NVSP_SEND_BUF_COMPLETE);
		break;
	case NVSP_SUB_CHANNEL:
		reply.header.type = htole32(NVSP_SUB_CHANNEL);
		break;
	case NVSP_OID_QUERY_EX:
		reply.header.type = htole32(NVSP_OID_QUERY_EX_COMPLETE);
		break;
	case NVSP_RNDIS:
		reply.header.type = htole32(NVSP_RNDIS_COMPLETE);
		break;
	default:
		reply_empty(session, request);
		return;
	}
	reply_send(session, request, &reply, sizeof(reply));
}

void nvsp_session_message(struct nvsp_session *session, uint64_t transaction_id,
			  bool wants_completion, const void *bytes, size_t length)
{
	const struct request request = {
		.transaction_id = transaction_id,
		.wants_completion = wants_completion,
		.bytes = bytes,
		.length = length,
	};
	uint32_t type = nvsp_message_type(bytes, length);

	if (type == NVSP_INIT) {
		handle_init(session, &request);
		return;
	}
	if (message_since(type) == 0 || session->version < message_since(type)) {
		refuse(session, &request, type);
		return;
	}
	switch (type) {
	case NVSP_NDIS_CONFIG:
		handle_ndis_config(session, &request);
		break;
	case NVSP_RECV_BUF:
		handle_recv_buf(session, &request);
		break;
	case NVSP_SEND_BUF:
		handle_send_buf(session, &request);
		break;
	case NVSP_REVOKE_RECV_BUF:
		handle_revoke(session, &request, NVSP_BUFFER_RECV);
		break;
	case NVSP_REVOKE_SEND_BUF:
		handle_revoke(session, &request, NVSP_BUFFER_SEND);
		break;
	case NVSP_SUB_CHANNEL:
		handle_sub_channel(session, &request);
		break;
	case NVSP_OID_QUERY_EX:
		handle_oid_query_ex(session, &request);
		break;
	default:
		/* NDIS_VERSION tells us nothing that we use; SWITCH_DATA_PATH always finds the
		 * synthetic path, since no VF is ever associated. Linux waits for the empty
		 * completion of the latter. */
		reply_empty(session, &request);
		break;
	}
}

void nvsp_session_gpadl_removed(struct nvsp_session *session, uint32_t gpadl_id)
{
	for (int i = NVSP_BUFFER_RECV; i <= NVSP_BUFFER_SEND; i++) {
		if (!session->buffers[i].attached ||
		    session->buffers[i].layout.gpadl_id != gpadl_id)
			continue;
		buffer_drop(session, (enum nvsp_buffer)i);
		session_changed(session);
	}
}

void nvsp_session_reset(struct nvsp_session *session)
{
	buffer_drop(session, NVSP_BUFFER_RECV);
	buffer_drop(session, NVSP_BUFFER_SEND);
	session->version = 0;
	session->mtu = session->config.max_mtu < NVSP_DEFAULT_MTU ? session->config.max_mtu
								  : NVSP_DEFAULT_MTU;
	session->capabilities = 0;
	session->granted = 0;
	session->open_channels = 0;
	session->table_sent = false;
	session_changed(session);
}

/* ---- a move ---- */

void nvsp_session_save(const struct nvsp_session *session, struct nvsp_saved *saved)
{
	*saved = (struct nvsp_saved){
		.version = session->version,
		.mtu = session->mtu,
		.capabilities = session->capabilities,
		.granted = session->granted,
		.table_sent = session->table_sent,
	};
	for (int i = NVSP_BUFFER_RECV; i <= NVSP_BUFFER_SEND; i++) {
		saved->attached[i] = session->buffers[i].attached;
		if (saved->attached[i])
			saved->layouts[i] = session->buffers[i].layout;
	}
}

static bool version_is_supported(uint32_t version)
{
	for (size_t i = 0; i < ARRAY_LENGTH(supported_versions); i++)
		if (supported_versions[i] == version)
			return true;
	return false;
}

static int layout_check(const struct nvsp_session *session, enum nvsp_buffer which,
			const struct nvsp_layout *layout)
{
	uint32_t least = which == NVSP_BUFFER_RECV ? NVSP_MIN_RECV_SECTION_BYTES : 1;
	size_t size_bytes = 0;
	int err;

	if (layout->section_count == 0 || layout->section_bytes < least)
		return -EINVAL;
	err = session->ops->gpadl_size(session->ctx, layout->gpadl_id, &size_bytes);
	if (err)
		return err;
	return (uint64_t)layout->section_bytes * layout->section_count <= size_bytes ? 0 : -EINVAL;
}

static int saved_check(const struct nvsp_session *session, const struct nvsp_saved *saved)
{
	if (saved->version == 0)
		return saved->granted || saved->table_sent || saved->attached[NVSP_BUFFER_RECV] ||
				       saved->attached[NVSP_BUFFER_SEND]
			       ? -EINVAL
			       : 0;
	if (!version_is_supported(saved->version) || saved->mtu < NVSP_MIN_MTU ||
	    saved->mtu > session->config.max_mtu ||
	    saved->granted > session->config.max_channels - 1)
		return -EINVAL;
	for (int i = NVSP_BUFFER_RECV; i <= NVSP_BUFFER_SEND; i++) {
		int err = saved->attached[i]
				  ? layout_check(session, (enum nvsp_buffer)i, &saved->layouts[i])
				  : 0;

		if (err)
			return err;
	}
	return 0;
}

int nvsp_session_restore(struct nvsp_session *session, const struct nvsp_saved *saved)
{
	int err = saved_check(session, saved);

	for (int i = NVSP_BUFFER_RECV; !err && i <= NVSP_BUFFER_SEND; i++) {
		if (!saved->attached[i])
			continue;
		err = session->ops->buffer_attach(session->ctx, (enum nvsp_buffer)i,
						  &saved->layouts[i]);
		if (err)
			continue;
		session->buffers[i].layout = saved->layouts[i];
		session->buffers[i].attached = true;
	}
	if (err) {
		buffer_drop(session, NVSP_BUFFER_RECV);
		buffer_drop(session, NVSP_BUFFER_SEND);
		return err;
	}
	if (saved->version) {
		session->version = saved->version;
		session->mtu = saved->mtu;
		session->capabilities = saved->capabilities;
		session->granted = saved->granted;
		session->table_sent = saved->table_sent;
	}
	session_changed(session);
	return 0;
}

/* ---- getters ---- */

uint32_t nvsp_session_version(const struct nvsp_session *session)
{
	return session->version;
}

uint32_t nvsp_session_mtu(const struct nvsp_session *session)
{
	return session->mtu;
}

uint64_t nvsp_session_capabilities(const struct nvsp_session *session)
{
	return session->capabilities;
}

uint32_t nvsp_session_channels(const struct nvsp_session *session)
{
	return 1 + session->granted;
}

const struct nvsp_layout *nvsp_session_layout(const struct nvsp_session *session,
					      enum nvsp_buffer buffer)
{
	return session->buffers[buffer].attached ? &session->buffers[buffer].layout : NULL;
}

size_t nvsp_session_reply_bytes(const struct nvsp_session *session)
{
	/* A refused INIT is answered at the full length too: the guest that asked may be of any
	 * version. */
	if (session->version == 0 || session->version >= NVSP_VERSION_61)
		return NVSP_MESSAGE_BYTES_61;
	return NVSP_MESSAGE_BYTES;
}
