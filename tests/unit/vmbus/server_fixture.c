/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * See server_fixture.h.
 */
#include "tests/unit/vmbus/server_fixture.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "vmbus/gpadl.h"

/* ---- the guest ---- */

static void on_post_message(void *ctx, uint32_t vp, const void *message, size_t length)
{
	struct fake_guest *guest = ctx;
	struct fake_message *slot = &guest->log[guest->posted % FAKE_LOG_MESSAGES];

	if (vp >= FAKE_VPS || length < 8 || length > VMBUS_MESSAGE_MAX_BYTES) {
		guest->violations++;
		return;
	}
	slot->vp = vp;
	slot->length = length;
	memcpy(slot->bytes, message, length);
	guest->posted++;
}

/* The nudge comes after OPEN_RESULT, or the guest would drop it once more. */
static void on_channel_opened(void *ctx, uint32_t relid, uint32_t target_vp)
{
	struct fake_guest *guest = ctx;
	struct vmbus_open_result result;

	guest->openings++;
	guest->opened_vp = target_vp;
	if (guest->posted == 0)
		return;
	memcpy(&result, guest->log[(guest->posted - 1) % FAKE_LOG_MESSAGES].bytes, sizeof(result));
	if (result.header.type != VMBUS_OPEN_CHANNEL_RESULT || result.relid != relid ||
	    result.status != 0)
		guest->violations++;
}

static void on_bus_clean(void *ctx)
{
	struct fake_guest *guest = ctx;
	struct vmbus_server_counts counts;

	guest->cleanings++;
	vmbus_server_get_counts(guest->server, &counts);
	if (counts.version != 0 || counts.offered != 0 || counts.open != 0 || counts.gpadls != 0)
		guest->violations++;
}

static const struct vmbus_server_ops server_ops = {
	.post_message = on_post_message,
	.channel_opened = on_channel_opened,
	.bus_clean = on_bus_clean,
};

void fake_guest_init(struct fake_guest *guest)
{
	memset(guest, 0, sizeof(*guest));
	if (vmbus_server_create(&server_ops, guest, FAKE_VPS, &guest->server) < 0)
		abort();
}

void fake_guest_fini(struct fake_guest *guest)
{
	vmbus_server_destroy(guest->server);
}

const struct fake_message *fake_guest_next(struct fake_guest *guest)
{
	if (guest->taken == guest->posted)
		return NULL;
	if (guest->posted - guest->taken > FAKE_LOG_MESSAGES)
		guest->taken = guest->posted - FAKE_LOG_MESSAGES;
	return &guest->log[guest->taken++ % FAKE_LOG_MESSAGES];
}

void guest_send(struct fake_guest *guest, const void *message, size_t length)
{
	/* A buffer of exactly that length, so that a sanitizer sees any look past it. */
	uint8_t *copy = malloc(length > 0 ? length : 1);

	if (!copy)
		abort();
	memcpy(copy, message, length);
	if (vmbus_server_message(guest->server, VMBUS_MESSAGE_PORT_5, copy, length) != 0)
		guest->violations++;
	free(copy);
}

void guest_send_empty(struct fake_guest *guest, uint32_t type)
{
	struct vmbus_message_header message = {.type = type};

	guest_send(guest, &message, sizeof(message));
}

void guest_send_contact(struct fake_guest *guest, uint32_t version, uint32_t target_vp)
{
	struct vmbus_initiate_contact message = {0};

	message.header.type = VMBUS_INITIATE_CONTACT;
	message.version = version;
	message.target_vp = target_vp;
	if (version >= VMBUS_VERSION_5_0)
		message.target.sint = 2;
	else
		message.interrupt_page = 0x7654000;
	message.monitor_page_to_guest = 0x1000;
	message.monitor_page_to_host = 0x2000;
	guest_send(guest, &message, sizeof(message));
}

void guest_send_gpadl(struct fake_guest *guest, uint32_t relid, uint32_t gpadl_id, uint32_t pages,
		      uint64_t first_gpn)
{
	uint8_t message[VMBUS_MESSAGE_MAX_BYTES] = {0};
	struct vmbus_gpadl_header *header = (struct vmbus_gpadl_header *)message;
	struct vmbus_gpadl_body *body = (struct vmbus_gpadl_body *)message;
	uint32_t done = 0;
	size_t at = sizeof(*header) + 8;

	header->header.type = VMBUS_GPADL_HEADER;
	header->relid = relid;
	header->gpadl_id = gpadl_id;
	header->ranges_bytes = (uint16_t)(8 + pages * 8);
	header->range_count = 1;
	put_le32(message + sizeof(*header), pages * 4096);
	while (done < pages && at + 8 <= sizeof(message)) {
		put_le64(message + at, first_gpn + done++);
		at += 8;
	}
	guest_send(guest, message, at);
	while (done < pages) {
		memset(message, 0, sizeof(message));
		body->header.type = VMBUS_GPADL_BODY;
		body->gpadl_id = gpadl_id;
		at = sizeof(*body);
		while (done < pages && at + 8 <= sizeof(message)) {
			put_le64(message + at, first_gpn + done++);
			at += 8;
		}
		guest_send(guest, message, at);
	}
}

void guest_send_teardown(struct fake_guest *guest, uint32_t relid, uint32_t gpadl_id)
{
	struct vmbus_gpadl_teardown message = {0};

	message.header.type = VMBUS_GPADL_TEARDOWN;
	message.relid = relid;
	message.gpadl_id = gpadl_id;
	guest_send(guest, &message, sizeof(message));
}

void guest_send_open(struct fake_guest *guest, uint32_t relid, uint32_t gpadl_id,
		     uint32_t downstream_page, uint32_t target_vp)
{
	struct vmbus_open_channel message = {0};

	message.header.type = VMBUS_OPEN_CHANNEL;
	message.relid = relid;
	message.open_id = relid;
	message.ring_gpadl_id = gpadl_id;
	message.target_vp = target_vp;
	message.downstream_page_offset = downstream_page;
	memcpy(message.user_data, "user data", 9);
	guest_send(guest, &message, sizeof(message));
}

void guest_send_relid(struct fake_guest *guest, uint32_t type, uint32_t relid)
{
	struct vmbus_relid_message message = {0};

	message.header.type = type;
	message.relid = relid;
	guest_send(guest, &message, sizeof(message));
}

void guest_send_modify(struct fake_guest *guest, uint32_t relid, uint32_t target_vp)
{
	struct vmbus_modify_channel message = {0};

	message.header.type = VMBUS_MODIFY_CHANNEL;
	message.relid = relid;
	message.target_vp = target_vp;
	guest_send(guest, &message, sizeof(message));
}

/* ---- the device ---- */

static void require(struct fake_device *device, bool promise)
{
	if (!promise)
		device->violations++;
}

static struct fake_gpadl *gpadl_of(struct fake_device *device, uint32_t id)
{
	for (size_t i = 0; i < device->gpadl_count; i++) {
		if (device->gpadls[i].id == id)
			return &device->gpadls[i];
	}
	return NULL;
}

static void gpadl_drop(struct fake_device *device, uint32_t id)
{
	struct fake_gpadl *gpadl = gpadl_of(device, id);

	require(device, gpadl != NULL);
	if (gpadl)
		*gpadl = device->gpadls[--device->gpadl_count];
}

static void call_answer(struct fake_device *device, const struct fake_call *call)
{
	struct fake_channel *channel = &device->channels[call->sub_index];
	int status = device->status;

	if (call->kind <= FAKE_MODIFY && call->kind != FAKE_CLOSE &&
	    call->kind != FAKE_GPADL_TEARDOWN)
		device->status = 0;
	switch (call->kind) {
	case FAKE_GPADL_CREATED:
		if (status != 0)
			gpadl_drop(device, call->gpadl_id);
		vmbus_server_gpadl_done(device->handle, call->sub_index, call->gpadl_id, status);
		break;
	case FAKE_GPADL_TEARDOWN:
		gpadl_drop(device, call->gpadl_id);
		vmbus_server_gpadl_teardown_done(device->handle, call->sub_index, call->gpadl_id);
		break;
	case FAKE_OPEN:
		channel->open = status == 0;
		vmbus_server_open_done(device->handle, call->sub_index, status);
		break;
	case FAKE_CLOSE:
		memset(channel, 0, sizeof(*channel));
		vmbus_server_close_done(device->handle, call->sub_index);
		break;
	default:
		vmbus_server_modify_done(device->handle, call->sub_index, status);
		break;
	}
}

static void call_add(struct fake_device *device, enum fake_call_kind kind, uint32_t sub_index,
		     uint32_t gpadl_id)
{
	struct fake_call call = {kind, sub_index, gpadl_id};

	device->total[kind]++;
	if (!device->later) {
		call_answer(device, &call);
		return;
	}
	device->calls = realloc(device->calls, (device->call_count + 1) * sizeof(*device->calls));
	if (!device->calls)
		abort();
	device->calls[device->call_count++] = call;
}

bool fake_device_answer(struct fake_device *device, size_t index)
{
	struct fake_call call;

	if (index >= device->call_count)
		return false;
	call = device->calls[index];
	device->call_count--;
	memmove(&device->calls[index], &device->calls[index + 1],
		(device->call_count - index) * sizeof(call));
	call_answer(device, &call);
	return true;
}

void fake_device_answer_all(struct fake_device *device)
{
	while (fake_device_answer(device, 0))
		;
}

static void on_gpadl_created(void *ctx, uint32_t sub_index, const struct gpadl *gpadl)
{
	struct fake_device *device = ctx;

	require(device, device->handle && sub_index <= FAKE_MAX_SUBS);
	require(device, gpadl->page_count > 0 && !gpadl_of(device, gpadl->id));
	device->gpadls =
		realloc(device->gpadls, (device->gpadl_count + 1) * sizeof(*device->gpadls));
	if (!device->gpadls)
		abort();
	device->gpadls[device->gpadl_count++] = (struct fake_gpadl){.id = gpadl->id};
	call_add(device, FAKE_GPADL_CREATED, sub_index, gpadl->id);
}

static void on_gpadl_teardown(void *ctx, uint32_t sub_index, uint32_t gpadl_id)
{
	struct fake_device *device = ctx;
	struct fake_gpadl *gpadl = gpadl_of(device, gpadl_id);

	require(device, gpadl && !gpadl->tearing_down);
	for (size_t i = 0; i <= FAKE_MAX_SUBS; i++)
		require(device, !device->channels[i].open || device->channels[i].ring != gpadl_id);
	if (gpadl)
		gpadl->tearing_down = true;
	call_add(device, FAKE_GPADL_TEARDOWN, sub_index, gpadl_id);
}

static void on_channel_open(void *ctx, const struct vmbus_open_request *request)
{
	struct fake_device *device = ctx;
	struct fake_channel *channel = &device->channels[request->sub_index];
	struct fake_gpadl *gpadl = gpadl_of(device, request->gpadl_id);

	require(device, request->sub_index <= FAKE_MAX_SUBS && !channel->open);
	require(device, gpadl && !gpadl->tearing_down);
	require(device, request->gpadl->range_count == 1 &&
				request->gpadl->ranges[0].byte_offset == 0 &&
				request->downstream_page_offset >= 2 &&
				request->downstream_page_offset + UINT64_C(2) <=
					request->gpadl->page_count);
	require(device, request->target_vp < FAKE_VPS || request->target_vp == VMBUS_NO_INTERRUPTS);
	require(device, request->sub_index == 0 || device->channels[0].open);
	channel->open = true;
	channel->ring = request->gpadl_id;
	device->last_open = *request;
	call_add(device, FAKE_OPEN, request->sub_index, request->gpadl_id);
}

static void on_channel_close(void *ctx, uint32_t sub_index)
{
	struct fake_device *device = ctx;
	struct fake_channel *channel = &device->channels[sub_index];

	require(device, channel->open && !channel->closing);
	for (size_t i = 0; i < device->call_count; i++)
		require(device, device->calls[i].sub_index != sub_index ||
					device->calls[i].kind < FAKE_OPEN);
	for (size_t i = 1; i <= FAKE_MAX_SUBS; i++)
		require(device, sub_index != 0 || !device->channels[i].open);
	channel->closing = true;
	call_add(device, FAKE_CLOSE, sub_index, 0);
}

static void on_channel_modify(void *ctx, uint32_t sub_index, uint32_t target_vp)
{
	struct fake_device *device = ctx;
	struct fake_channel *channel = &device->channels[sub_index];

	require(device, channel->open && !channel->closing && target_vp < FAKE_VPS);
	channel->target_vp = target_vp;
	call_add(device, FAKE_MODIFY, sub_index, 0);
}

static void on_removed(void *ctx)
{
	struct fake_device *device = ctx;

	require(device, device->gpadl_count == 0 && device->call_count == 0);
	for (size_t i = 0; i <= FAKE_MAX_SUBS; i++)
		require(device, !device->channels[i].open);
	device->handle = NULL;
	device->removals++;
}

static const struct vmbus_device_ops device_ops = {
	.gpadl_created = on_gpadl_created,
	.gpadl_teardown = on_gpadl_teardown,
	.channel_open = on_channel_open,
	.channel_close = on_channel_close,
	.channel_modify = on_channel_modify,
	.removed = on_removed,
};

void fake_device_init(struct fake_device *device)
{
	memset(device, 0, sizeof(*device));
}

void fake_device_fini(struct fake_device *device)
{
	free(device->calls);
	free(device->gpadls);
}

int fake_device_add(struct fake_device *device, struct fake_guest *guest, uint8_t number)
{
	struct vmbus_offer offer = {
		.interface_type = {VMBUS_INTERFACE_NIC},
		.channel_flags = VMBUS_OFFER_ENUMERATE_DEVICE,
		.mmio_megabytes = 3,
		.max_sub_channels = FAKE_MAX_SUBS,
	};

	memset(offer.interface_id.bytes, number, sizeof(offer.interface_id.bytes));
	memcpy(offer.user_defined, "offer", 5);
	return vmbus_server_add_device(guest->server, &offer, &device_ops, device, &device->handle);
}
