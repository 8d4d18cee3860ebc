/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * See fake_storvsc.h.
 */
#include "tests/unit/storvsp/fake_storvsc.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/deadline.h"
#include "base/event_loop.h"
#include "base/log.h"
#include "tests/unit/vmbus/memory_fixture.h"
#include "vmbus/gpadl_view.h"
#include "vmbus/guest_memory.h"
#include "vmbus/packet.h"
#include "wire/vmbus.h"

#define SIEFP_PAGE   1 /* and the next ones: one a VP */
#define RING_PAGE    32
#define RING_GPADL   0x5c510
#define SINT2_OFFSET 512u /* of its event flags */

static void require(bool ok, const char *what)
{
	if (!ok) {
		perror(what);
		abort();
	}
}

/* ---- the bus under the controller ---- */

static struct storvsc_channel *channel_of_connection(struct fake_storvsc *guest, uint32_t id)
{
	for (unsigned i = 0; i < STORVSC_CHANNELS; i++) {
		if (guest->channels[i].relid && guest->channels[i].connection_id == id)
			return &guest->channels[i];
	}
	return NULL;
}

static int on_connect_event(void *ctx, uint32_t connection_id, int eventfd)
{
	struct fake_storvsc *guest = ctx;
	struct storvsc_channel *channel = channel_of_connection(guest, connection_id);

	require(channel && channel->kick < 0, "connect");
	if (guest->refuse_connect)
		return -ENOSPC;
	channel->kick = eventfd;
	return 0;
}

static void on_disconnect_event(void *ctx, uint32_t connection_id)
{
	struct storvsc_channel *channel = channel_of_connection(ctx, connection_id);

	require(channel && channel->kick >= 0, "disconnect");
	channel->kick = -1;
}

static int on_get_sint_fd(void *ctx, uint32_t vp)
{
	struct fake_storvsc *guest = ctx;

	return vp < STORVSC_VPS ? guest->sints[vp] : -EINVAL;
}

static const struct device_bus_ops bus_ops = {
	.connect_event = on_connect_event,
	.disconnect_event = on_disconnect_event,
	.get_sint_fd = on_get_sint_fd,
};

static void on_offer(struct fake_storvsc *guest, const uint8_t *bytes)
{
	unsigned index = get_le16(bytes + 180);

	require(index < STORVSC_CHANNELS, "offer");
	memcpy(guest->interface_type, bytes + 8, 16);
	guest->offer_flags = get_le16(bytes + 56);
	guest->channels[index].relid = get_le32(bytes + 184);
	guest->channels[index].connection_id = get_le32(bytes + 192);
}

static void on_open_result(struct fake_storvsc *guest, const uint8_t *bytes)
{
	for (unsigned i = 0; i < STORVSC_CHANNELS; i++) {
		if (guest->channels[i].relid == get_le32(bytes + 8))
			guest->channels[i].open_status = get_le32(bytes + 16);
	}
}

static void on_post_message(void *ctx, uint32_t vp, const void *message, size_t length)
{
	struct fake_storvsc *guest = ctx;
	const uint8_t *bytes = message;

	(void)vp;
	(void)length;
	switch (get_le32(bytes)) {
	case VMBUS_OFFER_CHANNEL:
		on_offer(guest, bytes);
		break;
	case VMBUS_OPEN_CHANNEL_RESULT:
		on_open_result(guest, bytes);
		break;
	case VMBUS_GPADL_TORNDOWN:
		guest->torn_down++;
		break;
	default:
		break;
	}
}

static const struct vmbus_server_ops server_ops = {.post_message = on_post_message};

/* ---- interrupts ---- */

static void answer_note(struct fake_storvsc *guest, const struct packet *packet)
{
	struct storvsc_answer *answer;

	if (packet->type == PACKET_INBAND && packet->transaction_id == 0) {
		if (packet->payload_bytes >= 4 && get_le32(packet->payload) == VSTOR_ENUMERATE_BUS)
			guest->enumerations++;
		return;
	}
	require(packet->type == PACKET_COMPLETION, "packet type");
	require(packet->transaction_id < STORVSC_TRANSACTIONS, "transaction");
	answer = &guest->answers[packet->transaction_id];
	answer->count++;
	answer->order = ++guest->answers_seen;
	answer->bytes = packet->payload_bytes;
	memset(&answer->packet, 0, sizeof(answer->packet));
	memcpy(&answer->packet, packet->payload,
	       packet->payload_bytes < sizeof(answer->packet) ? packet->payload_bytes
							      : sizeof(answer->packet));
}

/* vmbus_on_event() of a batched channel. */
static void channel_serve(struct storvsc_channel *channel)
{
	static uint8_t scratch[PACKET_MAX_BYTES];
	struct packet packet;

	do {
		ring_mask(&channel->in);
		while (packet_read(&channel->in, scratch, sizeof(scratch), &packet) == 1)
			answer_note(channel->guest, &packet);
		if (ring_publish_read(&channel->in))
			storvsc_kick(channel->guest,
				     (unsigned)(channel - channel->guest->channels));
	} while (ring_unmask(&channel->in));
}

static void on_sint(void *ctx, int fd, uint32_t events)
{
	struct fake_storvsc *guest = ctx;
	uint8_t *memory = guest_memory_region_at(guest->memory, 0)->hva;
	uint64_t count;
	uint32_t vp = 0;

	(void)events;
	if (guest->deaf || read(fd, &count, sizeof(count)) < 0)
		return;
	while (guest->sints[vp] != fd)
		vp++;
	guest->interrupts++;
	for (unsigned i = 0; i < STORVSC_CHANNELS; i++) {
		struct storvsc_channel *channel = &guest->channels[i];
		_Atomic uint64_t *flags =
			(_Atomic uint64_t *)(memory + (SIEFP_PAGE + vp) * GUEST_PAGE_SIZE +
					     SINT2_OFFSET);
		uint64_t bit = UINT64_C(1) << channel->relid % 64;

		if (channel->relid && atomic_fetch_and(&flags[channel->relid / 64], ~bit) & bit &&
		    channel->open)
			channel_serve(channel);
	}
}

/* ---- set-up ---- */

static void server_make(struct fake_storvsc *guest)
{
	require(vmbus_server_create(&server_ops, guest, STORVSC_VPS, &guest->server) == 0,
		"server");
	guest->bus.server = guest->server;
}

void storvsc_init(struct fake_storvsc *guest)
{
	log_set_level(LOG_LEVEL_ERROR);
	memset(guest, 0, sizeof(*guest));
	guest->memory = fixture_memory(STORVSC_MEMORY_BYTES / GUEST_PAGE_SIZE);
	require(event_loop_create(&guest->loop) == 0, "event_loop_create");
	require(signal_table_init(&guest->signals, -1) == 0, "signal_table_init");
	for (uint32_t vp = 0; vp < STORVSC_VPS; vp++) {
		atomic_store(&guest->signals.siefp[vp],
			     (SIEFP_PAGE + (uint64_t)vp) * GUEST_PAGE_SIZE | 1);
		guest->sints[vp] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
		require(guest->sints[vp] >= 0, "eventfd");
		require(event_loop_watch(guest->loop, guest->sints[vp], EPOLLIN, on_sint, guest,
					 &guest->watches[vp]) == 0,
			"watch");
	}
	for (unsigned i = 0; i < STORVSC_CHANNELS; i++) {
		guest->channels[i].guest = guest;
		guest->channels[i].kick = -1;
	}
	guest->bus = (struct device_bus){
		.memory = guest->memory,
		.signals = &guest->signals,
		.loop = guest->loop,
		.ops = &bus_ops,
		.ctx = guest,
	};
	server_make(guest);
}

void storvsc_fini(struct fake_storvsc *guest)
{
	vmbus_server_destroy(guest->server);
	for (unsigned i = 0; i < STORVSC_CHANNELS; i++) {
		require(guest->channels[i].kick < 0, "the host still listens");
		gpadl_view_free(guest->channels[i].in_view);
		gpadl_view_free(guest->channels[i].out_view);
	}
	event_loop_destroy(guest->loop);
	signal_table_fini(&guest->signals);
	guest_memory_destroy(guest->memory);
	for (uint32_t vp = 0; vp < STORVSC_VPS; vp++)
		close(guest->sints[vp]);
}

void storvsc_change_host(struct fake_storvsc *guest)
{
	vmbus_server_destroy(guest->server);
	server_make(guest);
}

/* ---- the guest's VMBus driver ---- */

static void post(struct fake_storvsc *guest, const void *message, size_t length)
{
	require(vmbus_server_message(guest->server, VMBUS_MESSAGE_PORT_5, message, length) == 0,
		"message");
}

void storvsc_connect(struct fake_storvsc *guest)
{
	struct vmbus_initiate_contact contact = {.version = VMBUS_VERSION_5_3};
	struct vmbus_message_header request = {.type = VMBUS_REQUEST_OFFERS};
	uint8_t *memory = guest_memory_region_at(guest->memory, 0)->hva;

	/* A kernel that begins has fresh pages: what was signalled to the one before is forgotten.
	 */
	memset(memory + SIEFP_PAGE * GUEST_PAGE_SIZE, 0, STORVSC_VPS * GUEST_PAGE_SIZE);
	contact.header.type = VMBUS_INITIATE_CONTACT;
	contact.target.sint = VMBUS_SINT;
	post(guest, &contact, sizeof(contact));
	post(guest, &request, sizeof(request));
}

static void rings_lend(struct storvsc_channel *channel, unsigned index)
{
	struct fake_storvsc *guest = channel->guest;
	const uint32_t pages = channel->ring_pages;
	uint64_t gpns[2 * STORVSC_MAX_RING_PAGES];
	uint8_t message[VMBUS_MESSAGE_MAX_BYTES] = {0};
	struct vmbus_gpadl_header *header = (struct vmbus_gpadl_header *)message;
	struct vmbus_gpadl_body *body = (struct vmbus_gpadl_body *)message;
	const uint8_t zero[GUEST_PAGE_SIZE] = {0};
	size_t sent = 2 * pages < 26 ? 2 * pages : 26;

	for (size_t i = 0; i < 2 * pages; i++) {
		gpns[i] = RING_PAGE + index * 2 * STORVSC_MAX_RING_PAGES + i;
		guest_memory_write(guest->memory, gpns[i] * GUEST_PAGE_SIZE, zero, sizeof(zero));
	}
	gpadl_view_free(channel->out_view);
	gpadl_view_free(channel->in_view);
	channel->out_view = fixture_view(guest->memory, gpns, pages);
	channel->in_view = fixture_view(guest->memory, gpns + pages, pages);
	require(ring_init_writer(&channel->out, channel->out_view) == 0, "ring");
	require(ring_init_reader(&channel->in, channel->in_view) == 0, "ring");
	header->header.type = VMBUS_GPADL_HEADER;
	header->relid = channel->relid;
	header->gpadl_id = RING_GPADL + index;
	header->ranges_bytes = (uint16_t)(8 + 2 * pages * 8);
	header->range_count = 1;
	put_le32(message + sizeof(*header), 2 * pages * (uint32_t)GUEST_PAGE_SIZE);
	memcpy(message + sizeof(*header) + 8, gpns, sent * 8);
	post(guest, message, sizeof(*header) + 8 + sent * 8);
	if (sent == 2 * pages)
		return;
	memset(message, 0, sizeof(message));
	body->header.type = VMBUS_GPADL_BODY;
	body->gpadl_id = RING_GPADL + index;
	memcpy(message + sizeof(*body), gpns + sent, (2 * pages - sent) * 8);
	post(guest, message, sizeof(*body) + (2 * pages - sent) * 8);
}

uint32_t storvsc_open(struct fake_storvsc *guest, unsigned index, uint32_t ring_pages)
{
	struct storvsc_channel *channel = &guest->channels[index];
	struct vmbus_open_channel open = {0};

	channel->ring_pages = ring_pages;
	rings_lend(channel, index);
	open.header.type = VMBUS_OPEN_CHANNEL;
	open.relid = channel->relid;
	open.open_id = channel->relid;
	open.ring_gpadl_id = RING_GPADL + index;
	open.target_vp = channel->vp;
	open.downstream_page_offset = ring_pages;
	channel->open_status = UINT32_MAX;
	channel->open = true;
	post(guest, &open, sizeof(open));
	for (int i = 0; i < STORVSC_DEFAULT_PATIENCE && channel->open_status == UINT32_MAX; i++)
		event_loop_run_once(guest->loop, 1);
	channel->open = channel->open_status == 0;
	return channel->open_status;
}

void storvsc_close(struct fake_storvsc *guest, unsigned index)
{
	struct storvsc_channel *channel = &guest->channels[index];
	struct vmbus_relid_message close_message = {.relid = channel->relid};
	struct vmbus_gpadl_teardown teardown = {.relid = channel->relid,
						.gpadl_id = RING_GPADL + index};

	channel->open = false;
	close_message.header.type = VMBUS_CLOSE_CHANNEL;
	teardown.header.type = VMBUS_GPADL_TEARDOWN;
	post(guest, &close_message, sizeof(close_message));
	post(guest, &teardown, sizeof(teardown));
}

void storvsc_modify(struct fake_storvsc *guest, unsigned index, uint32_t vp)
{
	struct vmbus_modify_channel modify = {.relid = guest->channels[index].relid,
					      .target_vp = vp};

	modify.header.type = VMBUS_MODIFY_CHANNEL;
	post(guest, &modify, sizeof(modify));
}

/* ---- waiting ---- */

bool storvsc_wait(struct fake_storvsc *guest, const unsigned *value, unsigned wanted, int ms)
{
	struct deadline deadline = deadline_in_ms((uint32_t)ms);

	while (*value != wanted && !deadline_passed(deadline))
		require(event_loop_run_once(guest->loop, 1) == 0, "loop");
	return *value == wanted;
}

bool storvsc_answered(struct fake_storvsc *guest, uint64_t transaction)
{
	return storvsc_wait(guest, &guest->answers[transaction].count, 1, STORVSC_DEFAULT_PATIENCE);
}

void storvsc_run(struct fake_storvsc *guest, int ms)
{
	const unsigned never = 0;

	storvsc_wait(guest, &never, 1, ms);
}

/* ---- packets ---- */

void storvsc_kick(struct fake_storvsc *guest, unsigned channel)
{
	const uint64_t one = 1;

	if (guest->channels[channel].kick >= 0)
		require(write(guest->channels[channel].kick, &one, sizeof(one)) == sizeof(one),
			"kick");
}

static bool sent(struct fake_storvsc *guest, unsigned channel, int rc)
{
	if (rc == -EAGAIN)
		return false;
	require(rc == 0, "guest's ring");
	if (ring_publish_write(&guest->channels[channel].out))
		storvsc_kick(guest, channel);
	return true;
}

bool storvsc_send(struct fake_storvsc *guest, unsigned channel, uint64_t transaction,
		  const void *bytes, size_t length)
{
	return sent(guest, channel,
		    packet_write_inband(&guest->channels[channel].out, transaction,
					PACKET_FLAG_COMPLETION_REQUESTED, bytes, length));
}

bool storvsc_send_data(struct fake_storvsc *guest, unsigned channel, uint64_t transaction,
		       const void *bytes, size_t length, uint64_t gpa, uint32_t data_bytes)
{
	uint8_t range[8 + 8 * 258];
	const uint32_t offset = gpa % GUEST_PAGE_SIZE;
	const size_t pages = (offset + data_bytes + GUEST_PAGE_SIZE - 1) / GUEST_PAGE_SIZE;

	require(pages <= 258, "range");
	put_le32(range, data_bytes);
	put_le32(range + 4, offset);
	for (size_t i = 0; i < pages; i++)
		put_le64(range + 8 + i * 8, gpa / GUEST_PAGE_SIZE + i);
	return sent(guest, channel,
		    packet_write_gpa_direct(&guest->channels[channel].out, transaction, range,
					    8 + pages * 8, 1, bytes, length));
}

struct vstor_packet storvsc_packet(uint32_t operation)
{
	return (struct vstor_packet){.header = {.operation = operation, .flags = 1}};
}

struct vstor_packet storvsc_srb(uint8_t lun, const uint8_t *cdb, uint8_t cdb_bytes,
				uint8_t direction, uint32_t data_bytes)
{
	struct vstor_packet packet = storvsc_packet(VSTOR_EXECUTE_SRB);

	packet.srb.length = sizeof(packet.srb);
	packet.srb.lun = lun;
	packet.srb.cdb_bytes = cdb_bytes;
	packet.srb.sense_bytes = VSTOR_SENSE_BYTES;
	packet.srb.data_in = direction;
	packet.srb.transfer_bytes = data_bytes;
	memcpy(packet.srb.cdb, cdb, cdb_bytes);
	return packet;
}

bool storvsc_io(struct fake_storvsc *guest, unsigned channel, uint64_t transaction, uint8_t lun,
		bool write, uint32_t block, uint64_t gpa, uint32_t bytes)
{
	uint8_t cdb[10] = {write ? 0x2a : 0x28};
	struct vstor_packet packet;

	put_be32(cdb + 2, block);
	put_be16(cdb + 7, (uint16_t)(bytes / 512));
	packet = storvsc_srb(lun, cdb, sizeof(cdb),
			     write ? VSTOR_DATA_TO_DEVICE : VSTOR_DATA_FROM_DEVICE, bytes);
	return storvsc_send_data(guest, channel, transaction, &packet, sizeof(packet), gpa, bytes);
}

const struct vstor_packet *storvsc_command(struct fake_storvsc *guest, uint8_t lun,
					   const uint8_t *cdb, uint8_t cdb_bytes, uint64_t gpa,
					   uint32_t bytes)
{
	struct vstor_packet packet = storvsc_srb(
		lun, cdb, cdb_bytes, bytes > 0 ? VSTOR_DATA_FROM_DEVICE : VSTOR_DATA_NONE, bytes);
	const uint64_t transaction = STORVSC_TRANSACTIONS - 1;

	guest->answers[transaction].count = 0;
	if (bytes > 0)
		storvsc_send_data(guest, 0, transaction, &packet, sizeof(packet), gpa, bytes);
	else
		storvsc_send(guest, 0, transaction, &packet, sizeof(packet));
	return storvsc_answered(guest, transaction) ? &guest->answers[transaction].packet : NULL;
}

const struct vstor_packet *storvsc_ask(struct fake_storvsc *guest, uint64_t transaction,
				       const struct vstor_packet *packet)
{
	guest->answers[transaction].count = 0;
	if (!storvsc_send(guest, 0, transaction, packet, sizeof(*packet)) ||
	    !storvsc_answered(guest, transaction))
		return NULL;
	return &guest->answers[transaction].packet;
}

static bool succeeded(const struct vstor_packet *answer)
{
	return answer && answer->header.operation == VSTOR_COMPLETE_IO &&
	       answer->header.status == VSTOR_STATUS_SUCCESS;
}

bool storvsc_begin_session(struct fake_storvsc *guest, uint16_t version)
{
	struct vstor_packet packet = storvsc_packet(VSTOR_BEGIN_INITIALIZATION);

	if (!succeeded(storvsc_ask(guest, 1, &packet)))
		return false;
	packet = storvsc_packet(VSTOR_QUERY_PROTOCOL_VERSION);
	packet.version = version;
	if (!succeeded(storvsc_ask(guest, 1, &packet)))
		return false;
	packet = storvsc_packet(VSTOR_QUERY_PROPERTIES);
	if (!succeeded(storvsc_ask(guest, 1, &packet)))
		return false;
	packet = storvsc_packet(VSTOR_END_INITIALIZATION);
	return succeeded(storvsc_ask(guest, 1, &packet));
}

bool storvsc_open_sub_channels(struct fake_storvsc *guest, unsigned count, uint32_t ring_pages)
{
	struct vstor_packet packet = storvsc_packet(VSTOR_CREATE_SUB_CHANNELS);

	packet.sub_channel_count = (uint16_t)count;
	if (!succeeded(storvsc_ask(guest, 1, &packet)))
		return false;
	for (unsigned i = 1; i <= count; i++) {
		guest->channels[i].vp = i % STORVSC_VPS;
		if (!guest->channels[i].relid || storvsc_open(guest, i, ring_pages) != 0)
			return false;
	}
	return true;
}
