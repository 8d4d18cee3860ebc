/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * See vstor.h. A packet that comes out of turn is refused and changes nothing. The path and target
 * of a reset are not looked at: a controller is one bus with one target.
 */
#include "storvsp/vstor.h"

#include <string.h>

static const uint16_t versions[] = {VSTOR_VERSION_6_2, VSTOR_VERSION_6_0, VSTOR_VERSION_5_1};

bool vstor_version_is_known(uint16_t version)
{
	for (size_t i = 0; i < sizeof(versions) / sizeof(versions[0]); i++) {
		if (versions[i] == version)
			return true;
	}
	return false;
}

size_t vstor_reply_bytes(size_t request_bytes)
{
	if (request_bytes < sizeof(struct vstor_header))
		return sizeof(struct vstor_header);
	return request_bytes < sizeof(struct vstor_packet) ? request_bytes
							   : sizeof(struct vstor_packet);
}

void vstor_session_reset(struct vstor_session *session, uint16_t max_sub_channels)
{
	*session = (struct vstor_session){.max_sub_channels = max_sub_channels};
}

/* The refused version may be followed by another. */
static uint32_t version_query(struct vstor_session *session, uint16_t version)
{
	if (!vstor_version_is_known(version))
		return VSTOR_STATUS_REVISION_MISMATCH;
	session->version = version;
	session->state = VSTOR_EXPECTS_PROPERTIES;
	return VSTOR_STATUS_SUCCESS;
}

static uint32_t properties_query(struct vstor_session *session, struct vstor_packet *reply)
{
	reply->properties.max_sub_channels = session->max_sub_channels;
	reply->properties.flags = session->max_sub_channels > 0 ? VSTOR_PROPERTY_MULTI_CHANNEL : 0;
	reply->properties.max_transfer_bytes = VSTOR_MAX_TRANSFER_BYTES;
	session->state = VSTOR_EXPECTS_END;
	return VSTOR_STATUS_SUCCESS;
}

/* The steps before SRBs are taken, in their one order. */
static uint32_t session_step(struct vstor_session *session, const struct vstor_packet *request,
			     struct vstor_packet *reply)
{
	const enum vstor_state state = session->state;

	switch (request->header.operation) {
	case VSTOR_BEGIN_INITIALIZATION:
		if (state != VSTOR_EXPECTS_BEGIN)
			break;
		session->state = VSTOR_EXPECTS_VERSION;
		return VSTOR_STATUS_SUCCESS;
	case VSTOR_QUERY_PROTOCOL_VERSION:
		if (state != VSTOR_EXPECTS_VERSION)
			break;
		return version_query(session, request->version);
	case VSTOR_QUERY_PROPERTIES:
		if (state != VSTOR_EXPECTS_PROPERTIES)
			break;
		return properties_query(session, reply);
	case VSTOR_END_INITIALIZATION:
		if (state != VSTOR_EXPECTS_END)
			break;
		session->state = VSTOR_READY;
		return VSTOR_STATUS_SUCCESS;
	default:
		break;
	}
	return VSTOR_STATUS_INVALID_DEVICE_STATE;
}

enum vstor_action vstor_session_message(struct vstor_session *session, const void *request,
					size_t length, bool primary, struct vstor_packet *reply,
					uint32_t *argument)
{
	struct vstor_packet copy = {0};

	memset(reply, 0, sizeof(*reply));
	reply->header.operation = VSTOR_COMPLETE_IO;
	*argument = 0;
	if (length < sizeof(struct vstor_header)) {
		reply->header.status = VSTOR_STATUS_INVALID_PARAMETER;
		return VSTOR_ANSWER;
	}
	/* What a short packet leaves out reads as 0. */
	memcpy(&copy, request, length < sizeof(copy) ? length : sizeof(copy));
	if (session->state == VSTOR_READY) {
		switch (copy.header.operation) {
		case VSTOR_RESET_BUS:
		case VSTOR_RESET_ADAPTER:
			return VSTOR_FLUSH_AND_RESET_ALL;
		case VSTOR_RESET_LUN:
			*argument = copy.srb.lun;
			return VSTOR_FLUSH_AND_RESET_UNIT;
		case VSTOR_CREATE_SUB_CHANNELS:
			if (!primary)
				break;
			if (copy.sub_channel_count > session->max_sub_channels) {
				reply->header.status = VSTOR_STATUS_INVALID_PARAMETER;
				return VSTOR_ANSWER;
			}
			*argument = copy.sub_channel_count;
			return VSTOR_OFFER_SUB_CHANNELS;
		default:
			break;
		}
	}
	reply->header.status =
		primary ? session_step(session, &copy, reply) : VSTOR_STATUS_INVALID_DEVICE_STATE;
	return VSTOR_ANSWER;
}
