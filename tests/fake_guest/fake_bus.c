/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * VMBus messages at the guest's end. The server answers from within vmbus_server_message(), so an
 * answer is in the inbox when the call returns, or never comes. Source: observed, Linux 6.1
 * drivers/hv (connection.c, channel.c, channel_mgmt.c).
 */
#include "tests/fake_guest/fake_bus.h"

#include <errno.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "tests/fake_guest/fake_space.h"
#include "tests/fake_guest/loopback_host.h"
#include "vmbus/gpadl.h"
#include "wire/vmbus.h"

#define MAX_INBOX    256
#define MAX_CHANNELS 64

struct bus_message {
	uint8_t bytes[VMBUS_MESSAGE_MAX_BYTES];
	size_t length;
};

struct bus_channel {
	uint32_t relid; /* 0: not offered */
	uint32_t connection_id;
};

struct fake_bus {
	struct fake_space *space;
	struct loopback_host *host;
	struct vmbus_server *server;
	struct vmbus_device *device;
	struct bus_message inbox[MAX_INBOX];
	size_t inbox_count;
	uint32_t version;
	uint32_t port; /* connection id that the guest posts to */
	struct bus_channel channels[MAX_CHANNELS];
	uint32_t sub_channels;
	bool wrong; /* the server said something that no guest expects */
};

/* ---- host side: the server's device is the loopback host ---- */

static void device_gpadl_created(void *ctx, uint32_t sub_index, const struct gpadl *gpadl)
{
	struct fake_bus *bus = ctx;

	vmbus_server_gpadl_done(bus->device, sub_index, gpadl->id,
				loopback_host_gpadl_add(bus->host, gpadl));
}

static void device_gpadl_teardown(void *ctx, uint32_t sub_index, uint32_t gpadl_id)
{
	struct fake_bus *bus = ctx;

	loopback_transport.gpadl_remove(bus->host, sub_index, gpadl_id);
	vmbus_server_gpadl_teardown_done(bus->device, sub_index, gpadl_id);
}

static void device_channel_open(void *ctx, const struct vmbus_open_request *request)
{
	struct fake_bus *bus = ctx;
	int rc = loopback_transport.channel_open(bus->host, request->sub_index, request->gpadl_id,
						 request->downstream_page_offset,
						 request->target_vp);

	vmbus_server_open_done(bus->device, request->sub_index, rc);
}

static void device_channel_close(void *ctx, uint32_t sub_index)
{
	struct fake_bus *bus = ctx;

	loopback_transport.channel_close(bus->host, sub_index);
	vmbus_server_close_done(bus->device, sub_index);
}

static void device_channel_modify(void *ctx, uint32_t sub_index, uint32_t target_vp)
{
	struct fake_bus *bus = ctx;

	(void)target_vp;
	vmbus_server_modify_done(bus->device, sub_index, 0);
}

static const struct vmbus_device_ops device_ops = {
	.gpadl_created = device_gpadl_created,
	.gpadl_teardown = device_gpadl_teardown,
	.channel_open = device_channel_open,
	.channel_close = device_channel_close,
	.channel_modify = device_channel_modify,
};

static void host_offers(void *ctx, uint32_t count)
{
	struct fake_bus *bus = ctx;

	if (vmbus_device_offer_sub_channels(bus->device, count))
		bus->wrong = true;
}

/* ---- guest side: messages ---- */

static void server_post_message(void *ctx, uint32_t vp, const void *message, size_t length)
{
	struct fake_bus *bus = ctx;
	struct bus_message *slot = &bus->inbox[bus->inbox_count];

	if (bus->inbox_count == MAX_INBOX || length < sizeof(struct vmbus_message_header) ||
	    length > sizeof(slot->bytes) || vp >= bus->space->vp_count) {
		bus->wrong = true;
		return;
	}
	memcpy(slot->bytes, message, length);
	slot->length = length;
	bus->inbox_count++;
}

static const struct vmbus_server_ops server_ops = {.post_message = server_post_message};

static void offer_take(struct fake_bus *bus, const struct bus_message *message)
{
	static const uint8_t nic[16] = VMBUS_INTERFACE_NIC;
	const struct vmbus_offer_channel *offer = (const void *)message->bytes;

	if (message->length != sizeof(*offer) || offer->relid == 0 || offer->is_dedicated != 1 ||
	    offer->sub_channel_index >= MAX_CHANNELS) {
		bus->wrong = true;
		return;
	}
	if (memcmp(offer->interface_type, nic, sizeof(nic)) != 0)
		return;
	bus->channels[offer->sub_channel_index] =
		(struct bus_channel){offer->relid, offer->connection_id};
	if (offer->sub_channel_index > 0)
		bus->sub_channels++;
}

/* Gives a channel up that the server took back, as Linux does: sub-channels go with their primary.
 */
static void rescind_answer(struct fake_bus *bus, uint32_t relid)
{
	const struct vmbus_relid_message released = {
		.header.type = VMBUS_RELID_RELEASED,
		.relid = relid,
	};

	for (uint32_t i = 1; i < MAX_CHANNELS; i++) {
		if (bus->channels[i].relid != relid)
			continue;
		bus->channels[i].relid = 0;
		bus->sub_channels--;
	}
	vmbus_server_message(bus->server, bus->port, &released, sizeof(released));
}

/* Takes the inbox in. Returns whether a message of this type was there; the first is copied to
 * found. */
static bool inbox_read(struct fake_bus *bus, uint32_t type, struct bus_message *found)
{
	uint32_t rescinded[MAX_CHANNELS];
	size_t rescinded_count = 0;
	bool there = false;

	for (size_t i = 0; i < bus->inbox_count; i++) {
		const struct bus_message *message = &bus->inbox[i];
		uint32_t this = get_le32(message->bytes);

		if (this == VMBUS_OFFER_CHANNEL)
			offer_take(bus, message);
		if (this == VMBUS_RESCIND_CHANNEL_OFFER && rescinded_count < MAX_CHANNELS)
			rescinded[rescinded_count++] = get_le32(message->bytes + 8);
		if (!there && this == type) {
			*found = *message;
			there = true;
		}
	}
	bus->inbox_count = 0;
	for (size_t i = 0; i < rescinded_count; i++)
		rescind_answer(bus, rescinded[i]);
	return there;
}

/* Posts a message and takes the answer of a type, at least so long. Returns 0 or -EPROTO. */
static int exchange(struct fake_bus *bus, const void *message, size_t length, uint32_t type,
		    size_t answer_bytes, struct bus_message *answer)
{
	if (vmbus_server_message(bus->server, bus->port, message, length))
		return -EPROTO;
	if (!inbox_read(bus, type, answer) || answer->length < answer_bytes || bus->wrong)
		return -EPROTO;
	return 0;
}

/* ---- connecting ---- */

static int version_try(struct fake_bus *bus, uint32_t version)
{
	struct vmbus_initiate_contact contact = {
		.header.type = VMBUS_INITIATE_CONTACT,
		.version = version,
	};
	const struct vmbus_version_response *response;
	struct bus_message answer = {0};
	int rc;

	bus->port = VMBUS_MESSAGE_PORT;
	if (version >= VMBUS_VERSION_5_0) {
		bus->port = VMBUS_MESSAGE_PORT_5;
		contact.target.sint = VMBUS_SINT;
	}
	rc = exchange(bus, &contact, sizeof(contact), VMBUS_VERSION_RESPONSE,
		      version >= VMBUS_VERSION_5_0 ? sizeof(*response) : 10, &answer);
	if (rc)
		return rc;
	response = (const void *)answer.bytes;
	if (!response->supported)
		return -EOPNOTSUPP;
	if (version >= VMBUS_VERSION_5_0)
		bus->port = response->connection_id;
	bus->version = version;
	return 0;
}

int fake_bus_connect(struct fake_bus *bus, uint32_t version)
{
	static const uint32_t versions[] = {
		VMBUS_VERSION_5_3, VMBUS_VERSION_5_2,	VMBUS_VERSION_5_1,    VMBUS_VERSION_5_0,
		VMBUS_VERSION_4_1, VMBUS_VERSION_WIN10, VMBUS_VERSION_WIN8_1, VMBUS_VERSION_WIN8,
	};
	const struct vmbus_message_header request = {.type = VMBUS_REQUEST_OFFERS};
	struct bus_message answer = {0};
	int rc = -EOPNOTSUPP;

	if (version)
		rc = version_try(bus, version);
	for (size_t i = 0; !version && rc == -EOPNOTSUPP && i < ARRAY_LENGTH(versions); i++)
		rc = version_try(bus, versions[i]);
	if (rc)
		return rc;
	memset(bus->channels, 0, sizeof(bus->channels));
	bus->sub_channels = 0;
	rc = exchange(bus, &request, sizeof(request), VMBUS_ALL_OFFERS_DELIVERED, sizeof(request),
		      &answer);
	if (rc)
		return rc;
	return bus->channels[0].relid ? 0 : -ENODEV;
}

int fake_bus_unload(struct fake_bus *bus)
{
	const struct vmbus_message_header unload = {.type = VMBUS_UNLOAD};
	struct bus_message answer = {0};

	return exchange(bus, &unload, sizeof(unload), VMBUS_UNLOAD_RESPONSE, sizeof(unload),
			&answer);
}

/* ---- transport ---- */

/* Ranges go out in pieces: as many page numbers as fit a header, then bodies. */
static int transport_gpadl_add(void *ctx, uint32_t sub_index, const struct fake_pages *pages)
{
	struct fake_bus *bus = ctx;
	size_t total = gpadl_encode(pages->gpadl, NULL, 0), at = 0;
	uint8_t *ranges = malloc(total), message[VMBUS_MESSAGE_MAX_BYTES];
	const struct vmbus_gpadl_header head = {
		.header.type = VMBUS_GPADL_HEADER,
		.relid = bus->channels[sub_index].relid,
		.gpadl_id = pages->gpadl->id,
		.ranges_bytes = (uint16_t)total,
		.range_count = (uint16_t)pages->gpadl->range_count,
	};
	const struct vmbus_gpadl_body body = {
		.header.type = VMBUS_GPADL_BODY,
		.gpadl_id = pages->gpadl->id,
	};
	struct bus_message answer = {0};
	int rc = 0;

	if (!ranges)
		return -ENOMEM;
	gpadl_encode(pages->gpadl, ranges, total);
	while (rc == 0 && at < total) {
		size_t header = at ? sizeof(body) : sizeof(head);
		/* Linux: whole page numbers only, 26 after the range's own 8 bytes, 28 in a body.
		 */
		size_t here = at ? 28 * 8 : 8 + 26 * 8;

		if (here > total - at)
			here = total - at;
		memcpy(message, at ? (const void *)&body : (const void *)&head, header);
		memcpy(message + header, ranges + at, here);
		at += here;
		rc = vmbus_server_message(bus->server, bus->port, message, header + here);
	}
	free(ranges);
	if (rc)
		return rc;
	if (!inbox_read(bus, VMBUS_GPADL_CREATED, &answer) ||
	    answer.length < sizeof(struct vmbus_gpadl_created))
		return -EPROTO;
	if (get_le32(answer.bytes + offsetof(struct vmbus_gpadl_created, gpadl_id)) !=
	    head.gpadl_id)
		return -EPROTO;
	return get_le32(answer.bytes + offsetof(struct vmbus_gpadl_created, status)) ? -EIO : 0;
}

static int transport_gpadl_remove(void *ctx, uint32_t sub_index, uint32_t gpadl_id)
{
	struct fake_bus *bus = ctx;
	const struct vmbus_gpadl_teardown teardown = {
		.header.type = VMBUS_GPADL_TEARDOWN,
		.relid = bus->channels[sub_index].relid,
		.gpadl_id = gpadl_id,
	};
	struct bus_message answer = {0};
	int rc = exchange(bus, &teardown, sizeof(teardown), VMBUS_GPADL_TORNDOWN,
			  sizeof(struct vmbus_gpadl_torndown), &answer);

	if (rc)
		return rc;
	return get_le32(answer.bytes + offsetof(struct vmbus_gpadl_torndown, gpadl_id)) == gpadl_id
		       ? 0
		       : -EPROTO;
}

static int transport_channel_open(void *ctx, uint32_t sub_index, uint32_t gpadl_id,
				  uint32_t downstream_page, uint32_t vp)
{
	struct fake_bus *bus = ctx;
	const struct vmbus_open_channel open = {
		.header.type = VMBUS_OPEN_CHANNEL,
		.relid = bus->channels[sub_index].relid,
		.open_id = bus->channels[sub_index].relid,
		.ring_gpadl_id = gpadl_id,
		.target_vp = vp,
		.downstream_page_offset = downstream_page,
	};
	struct bus_message answer = {0};
	int rc = exchange(bus, &open, sizeof(open), VMBUS_OPEN_CHANNEL_RESULT,
			  sizeof(struct vmbus_open_result), &answer);

	if (rc)
		return rc;
	if (get_le32(answer.bytes + offsetof(struct vmbus_open_result, open_id)) != open.open_id)
		return -EPROTO;
	return get_le32(answer.bytes + offsetof(struct vmbus_open_result, status)) ? -EIO : 0;
}

static int transport_channel_close(void *ctx, uint32_t sub_index)
{
	struct fake_bus *bus = ctx;
	struct vmbus_relid_message message = {
		.header.type = VMBUS_CLOSE_CHANNEL,
		.relid = bus->channels[sub_index].relid,
	};

	return vmbus_server_message(bus->server, bus->port, &message, sizeof(message));
}

static void transport_kick(void *ctx, uint32_t sub_index)
{
	/* The host looks at every ring in wait(). */
	(void)ctx;
	(void)sub_index;
}

static int transport_wait(void *ctx, int timeout_ms)
{
	struct fake_bus *bus = ctx;
	struct bus_message none;
	int rc = loopback_transport.wait(bus->host, timeout_ms);

	inbox_read(bus, 0, &none);
	return bus->wrong ? -EPROTO : rc;
}

static uint32_t transport_offered(void *ctx)
{
	struct fake_bus *bus = ctx;
	struct bus_message none;

	inbox_read(bus, 0, &none);
	return bus->sub_channels;
}

const struct fake_transport_ops fake_bus_transport = {
	.gpadl_add = transport_gpadl_add,
	.gpadl_remove = transport_gpadl_remove,
	.channel_open = transport_channel_open,
	.channel_close = transport_channel_close,
	.kick = transport_kick,
	.wait = transport_wait,
	.offered_sub_channels = transport_offered,
};

/* ---- life ---- */

int fake_bus_create(struct fake_space *space, struct loopback_host *host, uint32_t max_channels,
		    struct fake_bus **bus)
{
	struct fake_bus *new = calloc(1, sizeof(*new));
	struct vmbus_offer offer = {
		.interface_type = {VMBUS_INTERFACE_NIC},
		.interface_id = {{1, 2, 3}},
		.channel_flags = VMBUS_OFFER_ENUMERATE_DEVICE,
		.max_sub_channels = max_channels - 1,
	};
	int rc;

	if (!new)
		return -ENOMEM;
	new->space = space;
	new->host = host;
	rc = vmbus_server_create(&server_ops, new, space->vp_count, &new->server);
	if (rc == 0)
		rc = vmbus_server_add_device(new->server, &offer, &device_ops, new, &new->device);
	if (rc) {
		fake_bus_destroy(new);
		return rc;
	}
	loopback_host_on_offer(host, host_offers, new);
	*bus = new;
	return 0;
}

void fake_bus_destroy(struct fake_bus *bus)
{
	if (!bus)
		return;
	vmbus_server_destroy(bus->server);
	free(bus);
}

uint32_t fake_bus_version(const struct fake_bus *bus)
{
	return bus->version;
}

void fake_bus_counts(const struct fake_bus *bus, struct vmbus_server_counts *counts)
{
	vmbus_server_get_counts(bus->server, counts);
}
