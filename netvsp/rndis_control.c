/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The RNDIS device's messages and its state. OIDs are in rndis_oid.c.
 */
#include "netvsp/rndis_control.h"

#include <errno.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/log.h"
#include "netvsp/nvsp.h"
#include "netvsp/rndis_control_internal.h"

#define LOG_COMPONENT "rndis"

/* Most bytes of one message from the guest: several LSO packets do not fit one, so a large one and
 * its headers do. */
#define MAX_TRANSFER_BYTES	(128 * 1024)
#define MAX_LINK_SPEED_MBPS	429496 /* in 100 bit/s it still fits 32 bits */
#define MAX_STATUS_BUFFER_BYTES 64

static void device_clear(struct rndis_control *control)
{
	control->state = RNDIS_STATE_UNINITIALISED;
	control->packet_filter = 0;
	control->multicast_count = 0;
	rss_params_init(&control->rss);
	rndis_offloads_default(control);
}

static void device_changed(struct rndis_control *control)
{
	if (control->ops->changed)
		control->ops->changed(control->ctx);
}

int rndis_control_create(const struct rndis_control_config *config,
			 const struct rndis_control_ops *ops, void *ctx,
			 struct rndis_control **control)
{
	struct rndis_control *new;

	if (config->max_channels < 1 || config->max_channels > NVSP_MAX_CHANNELS ||
	    config->link_speed_mbps > MAX_LINK_SPEED_MBPS ||
	    !memchr(config->friendly_name, '\0', sizeof(config->friendly_name)) ||
	    ((config->offloads & RNDIS_OFFLOAD_LSO) &&
	     !(config->offloads & RNDIS_OFFLOAD_CHECKSUM)))
		return -EINVAL;
	new = calloc(1, sizeof(*new));
	if (!new)
		return -ENOMEM;
	new->ops = ops;
	new->ctx = ctx;
	new->config = *config;
	new->mtu = NVSP_DEFAULT_MTU;
	new->channels = 1;
	new->link_up = config->link_up;
	new->link_speed_mbps = config->link_speed_mbps;
	memcpy(new->address, config->mac, sizeof(new->address));
	device_clear(new);
	*control = new;
	return 0;
}

void rndis_control_destroy(struct rndis_control *control)
{
	free(control);
}

void rndis_control_set_session(struct rndis_control *control, uint32_t nvsp_version, uint32_t mtu,
			       uint32_t channels)
{
	control->nvsp_version = nvsp_version;
	control->mtu = mtu;
	control->channels = channels;
	/* A table that names a channel which is no more must not steer anything. */
	for (uint16_t i = 0; control->rss.enabled && i < control->rss.table_entries; i++)
		if (control->rss.table[i] >= channels)
			control->rss.enabled = false;
}

void rndis_control_reset(struct rndis_control *control)
{
	device_clear(control);
	memcpy(control->address, control->config.mac, sizeof(control->address));
	control->nvsp_version = 0;
	control->mtu = NVSP_DEFAULT_MTU;
	control->channels = 1;
	device_changed(control);
}

/* ---- messages ---- */

static void send_complete(struct rndis_control *control, uint32_t type, uint32_t request_id,
			  uint32_t status)
{
	const struct rndis_complete reply = {
		.header.type = htole32(type | RNDIS_COMPLETION),
		.header.length = htole32(sizeof(reply)),
		.request_id = htole32(request_id),
		.status = htole32(status),
	};

	control->ops->send(control->ctx, &reply, sizeof(reply));
}

static void handle_initialize(struct rndis_control *control, uint32_t request_id,
			      const uint8_t *bytes, size_t length)
{
	struct rndis_initialize_complete reply = {
		.header.type = htole32(RNDIS_INITIALIZE | RNDIS_COMPLETION),
		.header.length = htole32(sizeof(reply)),
		.request_id = htole32(request_id),
		.status = htole32(RNDIS_STATUS_SUCCESS),
		.major_version = htole32(RNDIS_MAJOR_VERSION),
		.minor_version = htole32(RNDIS_MINOR_VERSION),
		.device_flags = htole32(RNDIS_DEVICE_CONNECTIONLESS),
		.medium = htole32(RNDIS_MEDIUM_802_3),
		.max_packets_per_message = htole32(RNDIS_MAX_PACKETS_PER_MESSAGE),
		.max_transfer_bytes = htole32(MAX_TRANSFER_BYTES),
		.packet_alignment_factor = htole32(RNDIS_PACKET_ALIGNMENT_FACTOR),
	};
	bool good = false;

	if (length < sizeof(struct rndis_initialize))
		reply.status = htole32(RNDIS_STATUS_INVALID_LENGTH);
	else if (get_le32(bytes + offsetof(struct rndis_initialize, major_version)) !=
		 RNDIS_MAJOR_VERSION)
		reply.status = htole32(RNDIS_STATUS_BAD_VERSION);
	else
		good = true;
	if (good) {
		device_clear(control);
		control->state = RNDIS_STATE_INITIALISED;
	}
	control->ops->send(control->ctx, &reply, sizeof(reply));
	if (good)
		device_changed(control);
}

/* Finds the information buffer of a QUERY or SET. Returns RNDIS_STATUS_*. */
static uint32_t information_find(const uint8_t *bytes, size_t length,
				 struct rndis_information *information)
{
	const size_t header_bytes = sizeof(struct rndis_header);
	uint32_t offset, size;

	if (length < sizeof(struct rndis_oid_request))
		return RNDIS_STATUS_INVALID_LENGTH;
	offset = get_le32(bytes + offsetof(struct rndis_oid_request, information_offset));
	size = get_le32(bytes + offsetof(struct rndis_oid_request, information_bytes));
	if (size == 0) {
		*information = (struct rndis_information){.bytes = bytes};
		return RNDIS_STATUS_SUCCESS;
	}
	if (!range_fits(offset, size, length - header_bytes))
		return RNDIS_STATUS_INVALID_LENGTH;
	*information = (struct rndis_information){bytes + header_bytes + offset, size};
	return RNDIS_STATUS_SUCCESS;
}

static void handle_query(struct rndis_control *control, uint32_t request_id, const uint8_t *bytes,
			 size_t length)
{
	uint8_t message[RNDIS_CONTROL_MAX_RESPONSE_BYTES] = {0};
	struct rndis_query_complete reply = {
		.header.type = htole32(RNDIS_QUERY | RNDIS_COMPLETION),
		.request_id = htole32(request_id),
	};
	struct rndis_information information;
	size_t value_bytes = 0;
	uint32_t status = information_find(bytes, length, &information);

	if (status == RNDIS_STATUS_SUCCESS && control->state == RNDIS_STATE_UNINITIALISED)
		status = RNDIS_STATUS_ADAPTER_NOT_READY;
	if (status == RNDIS_STATUS_SUCCESS)
		status = rndis_oid_query(control,
					 get_le32(bytes + offsetof(struct rndis_oid_request, oid)),
					 &information, message + sizeof(reply), &value_bytes);
	reply.status = htole32(status);
	reply.header.length = htole32((uint32_t)(sizeof(reply) + value_bytes));
	if (status == RNDIS_STATUS_SUCCESS) {
		reply.information_bytes = htole32((uint32_t)value_bytes);
		reply.information_offset = htole32(sizeof(reply) - sizeof(struct rndis_header));
	}
	memcpy(message, &reply, sizeof(reply));
	control->ops->send(control->ctx, message, sizeof(reply) + value_bytes);
}

static void handle_set(struct rndis_control *control, uint32_t request_id, const uint8_t *bytes,
		       size_t length)
{
	struct rndis_information information;
	uint32_t status = information_find(bytes, length, &information);

	if (status == RNDIS_STATUS_SUCCESS && control->state == RNDIS_STATE_UNINITIALISED)
		status = RNDIS_STATUS_ADAPTER_NOT_READY;
	if (status == RNDIS_STATUS_SUCCESS)
		status = rndis_oid_set(control,
				       get_le32(bytes + offsetof(struct rndis_oid_request, oid)),
				       &information);
	send_complete(control, RNDIS_SET, request_id, status);
	if (status == RNDIS_STATUS_SUCCESS)
		device_changed(control);
}

static void handle_reset(struct rndis_control *control)
{
	/* A soft reset: filter, multicast list and offloads are kept, so the host need not send
	 * them again. */
	const struct rndis_reset_complete reply = {
		.header.type = htole32(RNDIS_RESET | RNDIS_COMPLETION),
		.header.length = htole32(sizeof(reply)),
		.status = htole32(RNDIS_STATUS_SUCCESS),
	};

	control->ops->send(control->ctx, &reply, sizeof(reply));
}

int rndis_control_message(struct rndis_control *control, const void *bytes, size_t length)
{
	const uint8_t *message = bytes;
	uint32_t type, declared, request_id;

	if (length < sizeof(struct rndis_request))
		return -EBADMSG;
	type = get_le32(message + offsetof(struct rndis_header, type));
	declared = get_le32(message + offsetof(struct rndis_header, length));
	request_id = get_le32(message + offsetof(struct rndis_request, request_id));
	if (declared < sizeof(struct rndis_request) || declared > length) {
		log_warn_limited("control message of type %u says %u bytes, has %zu", type,
				 declared, length);
		return -EBADMSG;
	}
	length = declared;
	switch (type) {
	case RNDIS_INITIALIZE:
		handle_initialize(control, request_id, message, length);
		return 0;
	case RNDIS_HALT: /* has no response */
		device_clear(control);
		device_changed(control);
		return 0;
	case RNDIS_QUERY:
		handle_query(control, request_id, message, length);
		return 0;
	case RNDIS_SET:
		handle_set(control, request_id, message, length);
		return 0;
	case RNDIS_RESET:
		handle_reset(control);
		return 0;
	case RNDIS_KEEPALIVE:
		send_complete(control, RNDIS_KEEPALIVE, request_id, RNDIS_STATUS_SUCCESS);
		return 0;
	default:
		log_warn_limited("control message of unknown type %#x", type);
		return -EBADMSG;
	}
}

/* ---- indications ---- */

size_t rndis_build_indicate_status(void *message, uint32_t status, const void *buffer,
				   size_t buffer_bytes)
{
	struct rndis_indicate_status head = {
		.header.type = htole32(RNDIS_INDICATE_STATUS),
		.status = htole32(status),
	};

	if (buffer_bytes > MAX_STATUS_BUFFER_BYTES)
		buffer_bytes = MAX_STATUS_BUFFER_BYTES;
	head.header.length = htole32((uint32_t)(sizeof(head) + buffer_bytes));
	if (buffer_bytes) {
		head.buffer_bytes = htole32((uint32_t)buffer_bytes);
		head.buffer_offset = htole32(sizeof(head) - sizeof(head.header));
		memcpy((uint8_t *)message + sizeof(head), buffer, buffer_bytes);
	}
	memcpy(message, &head, sizeof(head));
	return sizeof(head) + buffer_bytes;
}

static void indicate(struct rndis_control *control, uint32_t status, const void *buffer,
		     size_t buffer_bytes)
{
	uint8_t message[sizeof(struct rndis_indicate_status) + MAX_STATUS_BUFFER_BYTES];
	size_t length;

	if (control->state == RNDIS_STATE_UNINITIALISED)
		return;
	length = rndis_build_indicate_status(message, status, buffer, buffer_bytes);
	control->ops->send(control->ctx, message, length);
}

void rndis_control_set_link(struct rndis_control *control, bool up)
{
	if (control->link_up == up)
		return;
	control->link_up = up;
	indicate(control, up ? RNDIS_STATUS_MEDIA_CONNECT : RNDIS_STATUS_MEDIA_DISCONNECT, NULL, 0);
}

void rndis_control_set_link_speed(struct rndis_control *control, uint32_t mbps)
{
	uint8_t speed[4];

	if (mbps > MAX_LINK_SPEED_MBPS)
		mbps = MAX_LINK_SPEED_MBPS;
	if (control->link_speed_mbps == mbps)
		return;
	control->link_speed_mbps = mbps;
	put_le32(speed, mbps * 10000);
	indicate(control, RNDIS_STATUS_LINK_SPEED_CHANGE, speed, sizeof(speed));
}

void rndis_control_announce(struct rndis_control *control)
{
	if (control->link_up)
		indicate(control, RNDIS_STATUS_MEDIA_CONNECT, NULL, 0);
}

void rndis_control_network_change(struct rndis_control *control)
{
	if (control->link_up)
		indicate(control, RNDIS_STATUS_NETWORK_CHANGE, NULL, 0);
}

/* ---- a move ---- */

void rndis_control_save(const struct rndis_control *control, struct rndis_saved *saved)
{
	*saved = (struct rndis_saved){
		.state = control->state,
		.packet_filter = control->packet_filter,
		.link_up = control->link_up,
		.link_speed_mbps = control->link_speed_mbps,
		.offloads = control->offloads,
		.rss = control->rss,
		.multicast_count = control->multicast_count,
	};
	memcpy(saved->address, control->address, sizeof(saved->address));
	memcpy(saved->multicast, control->multicast, control->multicast_count * 6);
}

static bool rss_is_sound(const struct rss_params *rss, uint32_t channels)
{
	if (rss->table_entries > NDIS_RSS_TABLE_ENTRIES || (rss->enabled && !rss->table_entries))
		return false;
	/* While it is off the table may name channels of another time: it is checked when RSS is
	 * switched on. */
	for (uint16_t i = 0; i < rss->table_entries; i++)
		if (rss->table[i] >= (rss->enabled ? channels : NVSP_MAX_CHANNELS))
			return false;
	return true;
}

static bool address_is_sound(const struct rndis_control *control, const uint8_t address[6])
{
	static const uint8_t zero[6];

	if (memcmp(address, control->config.mac, sizeof(control->config.mac)) == 0)
		return true;
	return !(address[0] & 1) && memcmp(address, zero, sizeof(zero)) != 0 &&
	       control->ops->set_address && !control->ops->set_address(control->ctx, address);
}

int rndis_control_restore(struct rndis_control *control, const struct rndis_saved *saved)
{
	if (saved->state > RNDIS_STATE_OPERATIONAL ||
	    (saved->packet_filter != 0) != (saved->state == RNDIS_STATE_OPERATIONAL) ||
	    saved->link_speed_mbps > MAX_LINK_SPEED_MBPS ||
	    saved->multicast_count > RNDIS_MAX_MULTICAST ||
	    !rss_is_sound(&saved->rss, control->channels) ||
	    !rndis_offloads_are_offered(control, &saved->offloads) ||
	    !address_is_sound(control, saved->address))
		return -EINVAL;
	control->state = saved->state;
	control->packet_filter = saved->packet_filter;
	control->link_up = saved->link_up;
	control->link_speed_mbps = saved->link_speed_mbps;
	control->offloads = saved->offloads;
	control->rss = saved->rss;
	control->multicast_count = saved->multicast_count;
	memcpy(control->multicast, saved->multicast, saved->multicast_count * 6);
	memcpy(control->address, saved->address, sizeof(control->address));
	return 0;
}

/* ---- getters ---- */

enum rndis_state rndis_control_state(const struct rndis_control *control)
{
	return control->state;
}

uint32_t rndis_control_packet_filter(const struct rndis_control *control)
{
	return control->packet_filter;
}

const struct rndis_offload_state *rndis_control_offloads(const struct rndis_control *control)
{
	return &control->offloads;
}

const struct rss_params *rndis_control_rss(const struct rndis_control *control)
{
	return &control->rss;
}

const uint8_t *rndis_control_address(const struct rndis_control *control)
{
	return control->address;
}

size_t rndis_control_multicast(const struct rndis_control *control, const uint8_t (**addresses)[6])
{
	*addresses = control->multicast;
	return control->multicast_count;
}
