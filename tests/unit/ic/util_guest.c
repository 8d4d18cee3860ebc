/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * See util_guest.h.
 */
#include "tests/unit/ic/util_guest.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/event_loop.h"
#include "base/log.h"
#include "tests/unit/vmbus/memory_fixture.h"
#include "vmbus/gpadl_view.h"
#include "vmbus/guest_memory.h"
#include "wire/ic.h"

#define GUEST_PAGES  32
#define SIEFP_PAGE   1
#define RING_PAGE    8 /* first of 2 * UTIL_RING_PAGES */
#define RING_GPADL   0xe1e10
#define SINT2_OFFSET 512u /* of its event flags */

static void require(bool ok, const char *what)
{
	if (!ok) {
		perror(what);
		abort();
	}
}

/* ---- the bus under the component ---- */

static int on_connect_event(void *ctx, uint32_t connection_id, int eventfd)
{
	struct util_guest *guest = ctx;

	if (guest->refuse_connect)
		return -ENOSPC;
	guest->kick = eventfd;
	guest->kick_id = connection_id;
	return 0;
}

static void on_disconnect_event(void *ctx, uint32_t connection_id)
{
	struct util_guest *guest = ctx;

	require(guest->kick >= 0 && guest->kick_id == connection_id, "disconnect");
	guest->kick = -1;
}

static int on_get_sint_fd(void *ctx, uint32_t vp)
{
	struct util_guest *guest = ctx;

	return vp < 2 ? guest->sint : -EINVAL;
}

static const struct device_bus_ops bus_ops = {
	.connect_event = on_connect_event,
	.disconnect_event = on_disconnect_event,
	.get_sint_fd = on_get_sint_fd,
};

static void on_post_message(void *ctx, uint32_t vp, const void *message, size_t length)
{
	struct util_guest *guest = ctx;
	const uint8_t *bytes = message;

	(void)vp;
	(void)length;
	switch (get_le32(bytes)) {
	case VMBUS_OFFER_CHANNEL:
		memcpy(guest->interface_type, bytes + 8, 16);
		guest->relid = get_le32(bytes + 184);
		break;
	case VMBUS_OPEN_CHANNEL_RESULT:
		guest->last_status = get_le32(bytes + 16);
		break;
	case VMBUS_MODIFY_CHANNEL_RESPONSE:
		guest->last_status = get_le32(bytes + 12);
		break;
	default:
		break;
	}
}

static const struct vmbus_server_ops server_ops = {.post_message = on_post_message};

void util_guest_init(struct util_guest *guest)
{
	log_set_level(LOG_LEVEL_ERROR);
	memset(guest, 0, sizeof(*guest));
	guest->kick = -1;
	guest->sint = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	require(guest->sint >= 0, "eventfd");
	guest->memory = fixture_memory(GUEST_PAGES);
	require(event_loop_create(&guest->loop) == 0, "event_loop_create");
	require(signal_table_init(&guest->signals, -1) == 0, "signal_table_init");
	atomic_store(&guest->signals.siefp[0], SIEFP_PAGE * GUEST_PAGE_SIZE | 1);
	atomic_store(&guest->signals.siefp[1], SIEFP_PAGE * GUEST_PAGE_SIZE | 1);
	require(vmbus_server_create(&server_ops, guest, 2, &guest->server) == 0, "server");
	guest->bus = (struct device_bus){
		.server = guest->server,
		.memory = guest->memory,
		.signals = &guest->signals,
		.loop = guest->loop,
		.ops = &bus_ops,
		.ctx = guest,
	};
}

void util_guest_fini(struct util_guest *guest)
{
	vmbus_server_destroy(guest->server);
	gpadl_view_free(guest->in_view);
	gpadl_view_free(guest->out_view);
	event_loop_destroy(guest->loop);
	signal_table_fini(&guest->signals);
	guest_memory_destroy(guest->memory);
	close(guest->sint);
}

void util_guest_change_host(struct util_guest *guest)
{
	require(guest->kick == -1, "the last host still listens");
	vmbus_server_destroy(guest->server);
	require(vmbus_server_create(&server_ops, guest, 2, &guest->server) == 0, "server");
	guest->bus.server = guest->server;
}

/* ---- the guest's VMBus driver ---- */

static void post(struct util_guest *guest, const void *message, size_t length)
{
	require(vmbus_server_message(guest->server, VMBUS_MESSAGE_PORT_5, message, length) == 0,
		"message");
}

void util_guest_connect(struct util_guest *guest)
{
	struct vmbus_initiate_contact contact = {.version = VMBUS_VERSION_5_3};
	struct vmbus_message_header request = {.type = VMBUS_REQUEST_OFFERS};

	contact.header.type = VMBUS_INITIATE_CONTACT;
	contact.target.sint = VMBUS_SINT;
	post(guest, &contact, sizeof(contact));
	post(guest, &request, sizeof(request));
}

static void rings_lend(struct util_guest *guest)
{
	uint64_t gpns[2 * UTIL_RING_PAGES];
	uint8_t message[sizeof(struct vmbus_gpadl_header) + 8 + sizeof(gpns)] = {0};
	struct vmbus_gpadl_header *header = (struct vmbus_gpadl_header *)message;

	for (size_t i = 0; i < ARRAY_LENGTH(gpns); i++) {
		const uint8_t zero[GUEST_PAGE_SIZE] = {0};

		gpns[i] = RING_PAGE + i;
		guest_memory_write(guest->memory, gpns[i] * GUEST_PAGE_SIZE, zero, sizeof(zero));
	}
	gpadl_view_free(guest->out_view);
	gpadl_view_free(guest->in_view);
	guest->out_view = fixture_view(guest->memory, gpns, UTIL_RING_PAGES);
	guest->in_view = fixture_view(guest->memory, gpns + UTIL_RING_PAGES, UTIL_RING_PAGES);
	require(ring_init_writer(&guest->out, guest->out_view) == 0, "ring");
	require(ring_init_reader(&guest->in, guest->in_view) == 0, "ring");
	header->header.type = VMBUS_GPADL_HEADER;
	header->relid = guest->relid;
	header->gpadl_id = RING_GPADL;
	header->ranges_bytes = 8 + sizeof(gpns);
	header->range_count = 1;
	put_le32(message + sizeof(*header), sizeof(gpns) / 8 * GUEST_PAGE_SIZE);
	memcpy(message + sizeof(*header) + 8, gpns, sizeof(gpns));
	post(guest, message, sizeof(message));
}

void util_guest_open(struct util_guest *guest)
{
	struct vmbus_open_channel open = {0};

	rings_lend(guest);
	open.header.type = VMBUS_OPEN_CHANNEL;
	open.relid = guest->relid;
	open.open_id = guest->relid;
	open.ring_gpadl_id = RING_GPADL;
	open.downstream_page_offset = UTIL_RING_PAGES;
	guest->last_status = UINT32_MAX;
	post(guest, &open, sizeof(open));
}

void util_guest_close(struct util_guest *guest)
{
	struct vmbus_relid_message close_message = {.relid = guest->relid};
	struct vmbus_gpadl_teardown teardown = {.relid = guest->relid, .gpadl_id = RING_GPADL};

	close_message.header.type = VMBUS_CLOSE_CHANNEL;
	teardown.header.type = VMBUS_GPADL_TEARDOWN;
	post(guest, &close_message, sizeof(close_message));
	post(guest, &teardown, sizeof(teardown));
}

void util_guest_kick(struct util_guest *guest)
{
	const uint64_t one = 1;

	if (guest->kick >= 0)
		require(write(guest->kick, &one, sizeof(one)) == sizeof(one), "kick");
}

void util_guest_send(struct util_guest *guest, const void *bytes, size_t length)
{
	require(packet_write_inband(&guest->out, 0, 0, bytes, length) == 0, "guest's ring");
	ring_publish_write(&guest->out);
	util_guest_kick(guest);
}

/* ---- hv_utils ---- */

/* vmbus_prep_negotiate_resp(): the last version offered is the one it likes best. */
static void answer_negotiate(struct util_guest *guest, uint8_t *message)
{
	uint8_t *body = message + sizeof(struct ic_header);
	size_t framework_count = get_le16(body);
	size_t message_count = get_le16(body + 2);
	const uint8_t *framework = body + 8 + (framework_count - 1) * sizeof(struct ic_version);
	const uint8_t *version =
		body + 8 + (framework_count + message_count - 1) * sizeof(struct ic_version);
	uint8_t chosen[8];

	memcpy(chosen, framework, 4);
	memcpy(chosen + 4, version, 4);
	if (guest->manner == UTIL_ODD_VERSION)
		chosen[4] = 99;
	put_le16(body, guest->manner != UTIL_NO_VERSION);
	put_le16(body + 2, guest->manner != UTIL_NO_VERSION);
	memcpy(body + 8, chosen, sizeof(chosen));
	put_le16(message + 18, 0x10);
}

static void answer_request(struct util_guest *guest, uint8_t *message)
{
	uint8_t *body = message + sizeof(struct ic_header);

	if (get_le16(message + 12) == IC_HEARTBEAT)
		put_le64(body, get_le64(body) + (guest->manner == UTIL_LIES ? 3 : 1));
	put_le32(message + 20, guest->manner == UTIL_REFUSES ? IC_STATUS_FAIL : IC_STATUS_OK);
}

/* One message an interrupt, as shutdown_onchannelcallback() does. */
static bool guest_serve_one(struct util_guest *guest)
{
	static uint8_t scratch[PACKET_MAX_BYTES];
	static uint8_t message[PACKET_MAX_BYTES];
	struct packet packet;

	if (guest->manner == UTIL_SILENT || !guest->in_view ||
	    packet_read(&guest->in, scratch, sizeof(scratch), &packet) != 1)
		return false;
	ring_publish_read(&guest->in);
	memcpy(guest->last, packet.payload, packet.payload_bytes);
	memcpy(message, packet.payload, packet.payload_bytes);
	guest->last_bytes = packet.payload_bytes;
	guest->received++;
	if (get_le16(message + 12) == IC_NEGOTIATE)
		answer_negotiate(guest, message);
	else
		answer_request(guest, message);
	message[25] = IC_FLAG_TRANSACTION | IC_FLAG_RESPONSE;
	util_guest_send(guest, message, packet.payload_bytes);
	return true;
}

/* The interrupt handler: clears the channel's event flag, and serves the channel if it was set. */
static bool guest_interrupted(struct util_guest *guest)
{
	const struct guest_memory_region *region = guest_memory_region_at(guest->memory, 0);
	uint8_t *flags = (uint8_t *)region->hva + SIEFP_PAGE * GUEST_PAGE_SIZE + SINT2_OFFSET;
	uint64_t count;

	if (read(guest->sint, &count, sizeof(count)) < 0)
		return false;
	guest->interrupts++;
	if (!(flags[guest->relid / 8] & 1 << guest->relid % 8))
		return false;
	flags[guest->relid / 8] = 0;
	guest_serve_one(guest);
	return true;
}

void util_guest_run(struct util_guest *guest, int ms)
{
	do {
		require(event_loop_run_once(guest->loop, ms) == 0, "loop");
		ms = 0;
	} while (guest_interrupted(guest));
}
