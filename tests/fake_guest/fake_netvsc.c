/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The fake driver's channels: rings, received packets, completions, and sending. Source: observed,
 * Linux 6.1 drivers/net/hyperv/netvsc.c (netvsc_receive, netvsc_send_completion, netvsc_send).
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "tests/fake_guest/fake_netvsc_internal.h"
#include "vmbus/gpadl.h"
#include "vmbus/gpadl_view.h"
#include "vmbus/guest_memory.h"
#include "vmbus/packet.h"
#include "wire/vmbus.h"

#define MAX_COALESCED_BYTES ((size_t)80 * 1024)

int fake_violate(struct fake_netvsc *nv, const char *format, ...)
{
	va_list args;

	if (!nv->violation[0]) {
		va_start(args, format);
		vsnprintf(nv->violation, sizeof(nv->violation), format, args);
		va_end(args);
	}
	return -EPROTO;
}

const char *fake_netvsc_violation(const struct fake_netvsc *nv)
{
	return nv->violation[0] ? nv->violation : NULL;
}

const struct fake_netvsc_info *fake_netvsc_info(const struct fake_netvsc *nv)
{
	return &nv->info;
}

const struct fake_netvsc_counts *fake_netvsc_counts(const struct fake_netvsc *nv)
{
	return &nv->counts;
}

const uint32_t *fake_netvsc_send_table(const struct fake_netvsc *nv)
{
	return nv->send_table;
}

void fake_netvsc_on_frame(struct fake_netvsc *nv, fake_frame_fn fn, void *ctx)
{
	nv->frame_fn = fn;
	nv->frame_ctx = ctx;
}

/* ---- channels ---- */

int fake_channel_open(struct fake_netvsc *nv, uint32_t index)
{
	struct fake_channel *channel = &nv->channels[index];
	size_t half = nv->config.ring_pages;
	uint32_t features = htole32(VMBUS_RING_FEATURE_PENDING_SEND_SIZE);
	int rc;

	rc = fake_pages_create(nv->space, 2 * half, &channel->pages);
	if (rc)
		return rc;
	rc = gpadl_view_create(nv->space->memory, channel->pages->gpadl, 0, half,
			       &channel->out_view);
	if (rc)
		return rc;
	rc = gpadl_view_create(nv->space->memory, channel->pages->gpadl, half, half,
			       &channel->in_view);
	if (rc)
		return rc;
	gpadl_view_write(channel->out_view, offsetof(struct vmbus_ring_control, feature_bits),
			 &features, sizeof(features));
	gpadl_view_write(channel->in_view, offsetof(struct vmbus_ring_control, feature_bits),
			 &features, sizeof(features));
	rc = ring_init_writer(&channel->out, channel->out_view);
	if (rc)
		return rc;
	rc = ring_init_reader(&channel->in, channel->in_view);
	if (rc)
		return rc;
	rc = nv->ops->gpadl_add(nv->ctx, index, channel->pages);
	if (rc)
		return rc;
	channel->open = true;
	rc = nv->ops->channel_open(nv->ctx, index, channel->pages->gpadl->id, (uint32_t)half,
				   index % nv->space->vp_count);
	if (rc)
		channel->open = false;
	return rc;
}

static void channel_free(struct fake_channel *channel)
{
	gpadl_view_free(channel->out_view);
	gpadl_view_free(channel->in_view);
	fake_pages_destroy(channel->pages);
	free(channel->coalesced);
	memset(channel, 0, sizeof(*channel));
}

int fake_channel_close(struct fake_netvsc *nv, uint32_t index)
{
	struct fake_channel *channel = &nv->channels[index];
	int rc = 0;

	if (!channel->open)
		return 0;
	channel->open = false;
	rc = nv->ops->channel_close(nv->ctx, index);
	if (rc == 0)
		rc = nv->ops->gpadl_remove(nv->ctx, index, channel->pages->gpadl->id);
	if (rc == 0)
		channel_free(channel);
	return rc;
}

static void publish(struct fake_netvsc *nv, uint32_t index)
{
	if (ring_publish_write(&nv->channels[index].out))
		nv->ops->kick(nv->ctx, index);
}

/* ---- receiving ---- */

static void frame_deliver(struct fake_netvsc *nv, const struct fake_rx *rx)
{
	nv->counts.rx_frames++;
	if (nv->frame_fn)
		nv->frame_fn(nv->frame_ctx, rx);
}

/* Puts a coalesced packet together, with Linux's rules for a bad order. */
static int fragment_add(struct fake_netvsc *nv, uint32_t index, const struct fake_rx *rx,
			bool last_range)
{
	struct fake_channel *channel = &nv->channels[index];
	struct fake_rx whole;

	if (!channel->coalesced)
		channel->coalesced = malloc(MAX_COALESCED_BYTES);
	if (!channel->coalesced)
		return -ENOMEM;
	if (rx->rsc & RNDIS_RSC_FIRST) {
		channel->coalesced_bytes = 0;
		channel->coalesced_count = 0;
		channel->coalesced_info = *rx;
	} else if (channel->coalesced_count == 0) {
		return fake_violate(nv, "coalesced packet without its first fragment");
	}
	if (channel->coalesced_count >= NVSP_MAX_RANGES_RSC ||
	    rx->length > MAX_COALESCED_BYTES - channel->coalesced_bytes)
		return fake_violate(nv, "coalesced packet too long");
	memcpy(channel->coalesced + channel->coalesced_bytes, rx->frame, rx->length);
	channel->coalesced_bytes += rx->length;
	channel->coalesced_count++;
	if (!(rx->rsc & RNDIS_RSC_LAST))
		return last_range ? fake_violate(nv, "coalesced packet over two ring packets") : 0;
	whole = channel->coalesced_info;
	whole.channel = index;
	whole.frame = channel->coalesced;
	whole.length = channel->coalesced_bytes;
	whole.fragments = channel->coalesced_count;
	channel->coalesced_count = 0;
	frame_deliver(nv, &whole);
	return 0;
}

static int data_received(struct fake_netvsc *nv, uint32_t index, size_t length, bool last_range)
{
	struct fake_rx rx;
	const char *wrong = fake_rndis_parse_packet(nv->message, length, &rx);

	if (wrong)
		return fake_violate(nv, "received: %s", wrong);
	rx.channel = index;
	if (rx.has_rsc)
		return fragment_add(nv, index, &rx, last_range);
	frame_deliver(nv, &rx);
	return 0;
}

static int control_received(struct fake_netvsc *nv, size_t length)
{
	uint32_t type = get_le32(nv->message);
	uint32_t declared = get_le32(nv->message + 4);

	if (declared < 12 || declared > length)
		return fake_violate(nv, "control message of %zu bytes says %u", length, declared);
	if (type == RNDIS_INDICATE_STATUS) {
		if (declared < sizeof(struct rndis_indicate_status))
			return fake_violate(nv, "INDICATE_STATUS of %u bytes", declared);
		nv->counts.indications++;
		nv->counts.last_indication = get_le32(nv->message + 8);
		return 0;
	}
	if (nv->rndis_id == 0 ||
	    (type != (RNDIS_RESET | RNDIS_COMPLETION) && get_le32(nv->message + 8) != nv->rndis_id))
		return fake_violate(nv, "response %#x to no request", type);
	if (declared > sizeof(nv->response))
		return fake_violate(nv, "response of %u bytes", declared);
	memcpy(nv->response, nv->message, declared);
	nv->response_bytes = declared;
	nv->response_here = true;
	return 0;
}

static int range_received(struct fake_netvsc *nv, uint32_t index, uint32_t offset, uint32_t length,
			  bool last_range)
{
	if (!nv->recv || !range_fits(offset, length, nv->recv->view->size_bytes))
		return fake_violate(nv, "range %u+%u outside the receive buffer", offset, length);
	if (length > nv->info.recv_section_bytes)
		return fake_violate(nv, "range of %u bytes, section of %u", length,
				    nv->info.recv_section_bytes);
	if (length < 8)
		return fake_violate(nv, "range of %u bytes", length);
	gpadl_view_read(nv->recv->view, offset, nv->message, length);
	if (get_le32(nv->message) == RNDIS_PACKET)
		return data_received(nv, index, length, last_range);
	if (index != 0)
		return fake_violate(nv, "control message on channel %u", index);
	return control_received(nv, length);
}

/* Forgets what was lent before, if the buffer is another one. */
static int lent_prepare(struct fake_netvsc *nv)
{
	if (nv->lent_next && nv->lent_count == nv->info.recv_section_count)
		return 0;
	free(nv->lent_next);
	nv->lent_count = nv->info.recv_section_count;
	nv->lent_next = calloc(nv->lent_count ? nv->lent_count : 1, sizeof(*nv->lent_next));
	if (!nv->lent_next)
		return -ENOMEM;
	for (uint32_t i = 0; i < nv->lent_count; i++)
		nv->lent_next[i] = FAKE_NOT_LENT;
	for (size_t i = 0; i < FAKE_MAX_CHANNELS; i++)
		for (size_t id = 0; id < FAKE_MAX_TRANSACTIONS; id++)
			nv->lent_head[i][id] = FAKE_NO_SLOT;
	return 0;
}

static int lent_take(struct fake_netvsc *nv, uint32_t index, uint64_t transaction_id,
		     uint32_t offset)
{
	uint32_t section = offset / nv->info.recv_section_bytes;

	if (transaction_id >= FAKE_MAX_TRANSACTIONS || section >= nv->lent_count)
		return fake_violate(nv, "transaction %llu of section %u",
				    (unsigned long long)transaction_id, section);
	if (nv->lent_next[section] != FAKE_NOT_LENT)
		return fake_violate(nv, "section %u is lent twice", section);
	nv->lent_next[section] = nv->lent_head[index][transaction_id];
	nv->lent_head[index][transaction_id] = section;
	return 0;
}

static void lent_give(struct fake_netvsc *nv, uint32_t index, uint64_t transaction_id)
{
	uint32_t section;

	if (!nv->lent_next || transaction_id >= FAKE_MAX_TRANSACTIONS)
		return;
	section = nv->lent_head[index][transaction_id];
	while (section != FAKE_NO_SLOT) {
		uint32_t next = nv->lent_next[section];

		nv->lent_next[section] = FAKE_NOT_LENT;
		section = next;
	}
	nv->lent_head[index][transaction_id] = FAKE_NO_SLOT;
}

void fake_lent_forget(struct fake_netvsc *nv)
{
	free(nv->lent_next);
	nv->lent_next = NULL;
}

static void give_back(struct fake_netvsc *nv, uint32_t index, uint64_t transaction_id)
{
	struct nvsp_rndis_complete done = {
		.header.type = htole32(NVSP_RNDIS_COMPLETE),
		.status = htole32(NVSP_STATUS_SUCCESS),
	};

	lent_give(nv, index, transaction_id);
	/* The ring has room: it is sized for more than all that can be on its way. */
	if (packet_write_completion(&nv->channels[index].out, transaction_id, &done, sizeof(done)))
		fake_violate(nv, "no room to give a receive buffer back");
}

static void hold_back(struct fake_netvsc *nv, uint32_t index, uint64_t transaction_id)
{
	if (nv->held_count == nv->held_room) {
		size_t room = nv->held_room ? 2 * nv->held_room : 64;
		struct fake_held *more = realloc(nv->held, room * sizeof(*more));

		if (!more) {
			fake_violate(nv, "out of memory");
			return;
		}
		nv->held = more;
		nv->held_room = room;
	}
	nv->held[nv->held_count++] = (struct fake_held){index, transaction_id};
}

void fake_netvsc_hold(struct fake_netvsc *nv, bool hold)
{
	nv->hold = hold;
	if (hold)
		return;
	for (size_t i = 0; i < nv->held_count; i++) {
		give_back(nv, nv->held[i].channel, nv->held[i].transaction_id);
		publish(nv, nv->held[i].channel);
	}
	nv->held_count = 0;
}

static int transfer_received(struct fake_netvsc *nv, uint32_t index, const struct packet *packet)
{
	int rc = 0;

	if (packet->payload_bytes < 4 || get_le32(packet->payload) != NVSP_RNDIS)
		return fake_violate(nv, "transfer pages that carry no NVSP_RNDIS");
	if (packet->transfer_set_id != NVSP_RECV_BUFFER_ID)
		return fake_violate(nv, "transfer page set %#x", packet->transfer_set_id);
	if (packet->range_count > NVSP_MAX_RANGES_RSC)
		return fake_violate(nv, "%u ranges in a packet", packet->range_count);
	nv->counts.rx_packets++;
	rc = lent_prepare(nv);
	if (rc == 0 && packet->transaction_id < FAKE_MAX_TRANSACTIONS &&
	    nv->lent_head[index][packet->transaction_id] != FAKE_NO_SLOT)
		rc = fake_violate(nv, "transaction %llu is given twice",
				  (unsigned long long)packet->transaction_id);
	for (uint32_t i = 0; i < packet->range_count && rc == 0; i++)
		rc = lent_take(nv, index, packet->transaction_id,
			       get_le32(packet->ranges + 8 * (size_t)i + 4));
	for (uint32_t i = 0; i < packet->range_count && rc == 0; i++)
		rc = range_received(nv, index, get_le32(packet->ranges + 8 * (size_t)i + 4),
				    get_le32(packet->ranges + 8 * (size_t)i),
				    i == packet->range_count - 1);
	if (nv->hold)
		hold_back(nv, index, packet->transaction_id);
	else
		give_back(nv, index, packet->transaction_id);
	return rc;
}

static int tx_completed(struct fake_netvsc *nv, uint32_t index, const struct packet *packet)
{
	uint32_t slot = (uint32_t)(packet->transaction_id & (FAKE_TX_SLOTS - 1));
	struct fake_tx_slot *tx = &nv->tx[slot];

	if (!tx->busy || tx->channel != index ||
	    packet->transaction_id >> 16 != (UINT64_C(1) << 32 | tx->generation))
		return fake_violate(nv, "completion of %#llx, which is not on its way",
				    (unsigned long long)packet->transaction_id);
	if (packet->payload_bytes < sizeof(struct nvsp_rndis_complete) ||
	    get_le32(packet->payload) != NVSP_RNDIS_COMPLETE)
		return fake_violate(nv, "completion of a data packet that is no RNDIS_COMPLETE");
	if (get_le32(packet->payload + 4) == NVSP_STATUS_SUCCESS)
		nv->counts.tx_completed++;
	else
		nv->counts.tx_refused++;
	if (tx->section != FAKE_NO_SLOT)
		nv->section_busy[tx->section] = 0;
	if (tx->page_slot != FAKE_NO_SLOT)
		nv->slot_busy[tx->page_slot] = false;
	tx->busy = false;
	tx->generation++;
	return 0;
}

static int completion_received(struct fake_netvsc *nv, uint32_t index, const struct packet *packet)
{
	/* Data packets have ids above 32 bits; requests count up from 1. */
	if (packet->transaction_id >> 32)
		return tx_completed(nv, index, packet);
	if (index != 0 || packet->transaction_id != nv->request_id || nv->reply_here)
		return fake_violate(nv, "completion of %llu, which was not asked",
				    (unsigned long long)packet->transaction_id);
	nv->reply_bytes = packet->payload_bytes < sizeof(nv->reply) ? packet->payload_bytes
								    : sizeof(nv->reply);
	memcpy(nv->reply, packet->payload, nv->reply_bytes);
	nv->reply_here = true;
	return 0;
}

static int inband_received(struct fake_netvsc *nv, const struct packet *packet)
{
	uint32_t count, offset;

	if (packet->payload_bytes < 12)
		return fake_violate(nv, "in-band message of %zu bytes", packet->payload_bytes);
	if (get_le32(packet->payload) != NVSP_SEND_INDIRECTION_TABLE)
		return 0;
	count = get_le32(packet->payload + 4);
	offset = get_le32(packet->payload + 8);
	if (count != NVSP_SEND_TABLE_ENTRIES ||
	    !range_fits(offset, 4 * (uint64_t)count, packet->payload_bytes))
		return fake_violate(nv, "send table of %u at %u", count, offset);
	for (uint32_t i = 0; i < count; i++) {
		nv->send_table[i] = get_le32(packet->payload + offset + 4 * (size_t)i);
		if (nv->send_table[i] >= nv->info.channels)
			return fake_violate(nv, "send table names channel %u", nv->send_table[i]);
	}
	nv->counts.send_tables++;
	return 0;
}

/* All that is in one channel's ring. Returns the number of packets or -EPROTO. */
static int channel_poll(struct fake_netvsc *nv, uint32_t index)
{
	struct fake_channel *channel = &nv->channels[index];
	struct packet packet;
	int handled = 0, rc;

	while (channel->open) {
		rc = packet_read(&channel->in, nv->scratch, sizeof(nv->scratch), &packet);
		if (rc == 0)
			break;
		if (rc < 0)
			return fake_violate(nv, "ring %u is broken", index);
		handled++;
		if (packet.type == PACKET_TRANSFER_PAGES)
			rc = transfer_received(nv, index, &packet);
		else if (packet.type == PACKET_COMPLETION)
			rc = completion_received(nv, index, &packet);
		else
			rc = inband_received(nv, &packet);
		if (rc < 0)
			return rc;
	}
	if (!handled)
		return 0;
	if (ring_publish_read(&channel->in))
		nv->ops->kick(nv->ctx, index);
	publish(nv, index);
	return handled;
}

static int poll_all(struct fake_netvsc *nv)
{
	int handled = 0;

	for (uint32_t i = 0; i < FAKE_MAX_CHANNELS; i++) {
		int rc = nv->channels[i].open ? channel_poll(nv, i) : 0;

		if (rc < 0)
			return rc;
		handled += rc;
	}
	return handled;
}

int fake_netvsc_poll(struct fake_netvsc *nv, int timeout_ms)
{
	struct deadline deadline = deadline_in_ms((uint32_t)timeout_ms);
	int rc;

	for (;;) {
		rc = poll_all(nv);
		if (rc != 0)
			return rc;
		/* The transport fails with -ETIMEDOUT by itself once nothing is left of the time.
		 */
		rc = nv->ops->wait(nv->ctx, deadline_left_ms(deadline));
		if (rc < 0)
			return rc;
	}
}

int fake_step(struct fake_netvsc *nv, struct deadline deadline)
{
	int rc = poll_all(nv);

	return rc ? rc : nv->ops->wait(nv->ctx, deadline_left_ms(deadline));
}

int fake_wait_for(struct fake_netvsc *nv, const bool *flag)
{
	struct deadline deadline = deadline_in_ms((uint32_t)nv->config.timeout_ms);
	int rc;

	while (!*flag) {
		rc = fake_step(nv, deadline);
		if (rc < 0)
			return rc;
	}
	return 0;
}

int fake_netvsc_drain(struct fake_netvsc *nv, int timeout_ms)
{
	struct deadline deadline = deadline_in_ms((uint32_t)timeout_ms);
	int rc;

	while (nv->counts.tx_completed + nv->counts.tx_refused < nv->counts.tx_sent) {
		rc = fake_step(nv, deadline);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* ---- requests ---- */

int fake_netvsc_request(struct fake_netvsc *nv, const void *message, size_t length, uint8_t *reply,
			size_t *reply_bytes)
{
	int rc;

	nv->request_id = ++nv->next_request_id;
	nv->reply_here = false;
	rc = packet_write_inband(&nv->channels[0].out, nv->request_id,
				 PACKET_FLAG_COMPLETION_REQUESTED, message, length);
	if (rc)
		return rc;
	publish(nv, 0);
	rc = fake_wait_for(nv, &nv->reply_here);
	nv->request_id = 0;
	if (rc)
		return rc;
	memcpy(reply, nv->reply, nv->reply_bytes);
	*reply_bytes = nv->reply_bytes;
	return 0;
}

int fake_nvsp_notify(struct fake_netvsc *nv, const void *message, size_t length)
{
	int rc = packet_write_inband(&nv->channels[0].out, 0, 0, message, length);

	if (rc == 0)
		publish(nv, 0);
	return rc;
}

int fake_netvsc_send_raw(struct fake_netvsc *nv, uint32_t channel, uint16_t type,
			 uint64_t transaction_id, const void *ranges, size_t ranges_bytes,
			 uint32_t range_count, const void *payload, size_t length)
{
	struct ring *ring = &nv->channels[channel].out;
	int rc;

	if (type == PACKET_GPA_DIRECT)
		rc = packet_write_gpa_direct(ring, transaction_id, ranges, ranges_bytes,
					     range_count, payload, length);
	else if (type == PACKET_COMPLETION)
		rc = packet_write_completion(ring, transaction_id, payload, length);
	else
		rc = packet_write_inband(ring, transaction_id, PACKET_FLAG_COMPLETION_REQUESTED,
					 payload, length);
	if (rc == 0)
		publish(nv, channel);
	return rc;
}

void fake_netvsc_break_ring(struct fake_netvsc *nv, uint32_t channel, uint32_t write_index)
{
	uint32_t value = htole32(write_index);

	gpadl_view_write(nv->channels[channel].out_view, 0, &value, sizeof(value));
	nv->ops->kick(nv->ctx, channel);
}

/* ---- sending ---- */

static struct fake_tx_slot *tx_slot_take(struct fake_netvsc *nv, uint32_t channel, uint64_t *id)
{
	for (uint32_t i = 0; i < FAKE_TX_SLOTS; i++) {
		struct fake_tx_slot *tx = &nv->tx[i];

		if (tx->busy)
			continue;
		tx->channel = channel;
		tx->section = FAKE_NO_SLOT;
		tx->page_slot = FAKE_NO_SLOT;
		*id = UINT64_C(1) << 48 | (uint64_t)tx->generation << 16 | i;
		return tx;
	}
	return NULL;
}

static uint32_t section_take(const struct fake_netvsc *nv)
{
	for (uint32_t i = 0; i < nv->info.send_section_count; i++)
		if (!nv->section_busy[i])
			return i;
	return FAKE_NO_SLOT;
}

static uint32_t page_slot_take(struct fake_netvsc *nv)
{
	for (uint32_t i = 0; i < FAKE_PAGE_SLOTS; i++) {
		if (nv->slot_busy[i])
			continue;
		if (!nv->slots[i] && fake_pages_create(nv->space, FAKE_SLOT_PAGES, &nv->slots[i]))
			return FAKE_NO_SLOT;
		return i;
	}
	return FAKE_NO_SLOT;
}

/* Lays messages out in nv->message: those of frames [0, count). Returns the length; *split is where
 * the last frame's own bytes begin. Every message but the last is padded to the host's alignment.
 */
static size_t messages_lay(struct fake_netvsc *nv, const struct fake_tx *frames, size_t count,
			   size_t *split)
{
	uint32_t align = nv->info.alignment ? nv->info.alignment : 1;
	size_t at = 0;

	for (size_t i = 0; i < count; i++) {
		uint8_t header[FAKE_TX_MAX_HEADER];
		size_t bytes = fake_rndis_build_packet(header, &frames[i], 0);
		uint32_t padding = 0;

		if (i + 1 < count)
			padding = (align - (uint32_t)(bytes + frames[i].length) % align) % align;
		if (at + bytes + frames[i].length + padding > sizeof(nv->message))
			return 0;
		bytes = fake_rndis_build_packet(nv->message + at, &frames[i], padding);
		*split = at + bytes;
		memcpy(nv->message + at + bytes, frames[i].frame, frames[i].length);
		memset(nv->message + at + bytes + frames[i].length, 0, padding);
		at += bytes + frames[i].length + padding;
	}
	return at;
}

/* One range a page, as Linux describes an skb: {bytes, offset, one page number} each. */
static uint32_t ranges_lay(const struct fake_pages *pages, size_t length, uint8_t *ranges)
{
	uint32_t count = 0;

	for (size_t at = 0; at < length; at += GUEST_PAGE_SIZE, count++) {
		size_t here = length - at < GUEST_PAGE_SIZE ? length - at : GUEST_PAGE_SIZE;

		put_le32(ranges + 16 * (size_t)count, (uint32_t)here);
		put_le32(ranges + 16 * (size_t)count + 4, 0);
		put_le64(ranges + 16 * (size_t)count + 8, pages->gpadl->gpns[count]);
	}
	return count;
}

/* Takes what the packet needs and copies the messages there. Returns 0 or -EAGAIN. */
static int message_place(struct fake_netvsc *nv, struct fake_tx_slot *tx, size_t section_bytes,
			 size_t total)
{
	if (section_bytes) {
		tx->section = section_take(nv);
		if (tx->section == FAKE_NO_SLOT)
			return -EAGAIN;
		gpadl_view_write(nv->send->view, (size_t)tx->section * nv->info.send_section_bytes,
				 nv->message, section_bytes);
	}
	if (total > section_bytes) {
		tx->page_slot = page_slot_take(nv);
		if (tx->page_slot == FAKE_NO_SLOT)
			return -EAGAIN;
		gpadl_view_write(nv->slots[tx->page_slot]->view, 0, nv->message + section_bytes,
				 total - section_bytes);
	}
	return 0;
}

static int message_post(struct fake_netvsc *nv, uint32_t channel, uint64_t id,
			const struct fake_tx_slot *tx, size_t section_bytes, size_t total)
{
	const struct nvsp_rndis head = {
		.header.type = htole32(NVSP_RNDIS),
		.channel_type = htole32(NVSP_RNDIS_DATA),
		.section_index = htole32(tx->section),
		.section_bytes = htole32((uint32_t)section_bytes),
	};
	uint8_t payload[NVSP_MESSAGE_BYTES_61] = {0}, ranges[16 * FAKE_SLOT_PAGES];
	struct ring *ring = &nv->channels[channel].out;
	uint32_t count;

	memcpy(payload, &head, sizeof(head));
	if (tx->page_slot == FAKE_NO_SLOT)
		return packet_write_inband(ring, id, PACKET_FLAG_COMPLETION_REQUESTED, payload,
					   sizeof(payload));
	count = ranges_lay(nv->slots[tx->page_slot], total - section_bytes, ranges);
	return packet_write_gpa_direct(ring, id, ranges, 16 * (size_t)count, count, payload,
				       sizeof(payload));
}

int fake_netvsc_send(struct fake_netvsc *nv, uint32_t channel, enum fake_way way,
		     const struct fake_tx *frames, size_t count)
{
	size_t split = 0, total = messages_lay(nv, frames, count, &split), section_bytes;
	uint64_t id = 0;
	struct fake_tx_slot *tx = tx_slot_take(nv, channel, &id);
	int rc;

	section_bytes = way == FAKE_SECTION ? total : way == FAKE_MIXED ? split : 0;
	if (total == 0 || section_bytes > nv->info.send_section_bytes ||
	    total - section_bytes > FAKE_SLOT_PAGES * GUEST_PAGE_SIZE)
		return -EMSGSIZE;
	if (!tx)
		return -EAGAIN;
	rc = message_place(nv, tx, section_bytes, total);
	if (rc == 0)
		rc = message_post(nv, channel, id, tx, section_bytes, total);
	if (rc)
		return rc;
	tx->busy = true;
	if (tx->section != FAKE_NO_SLOT)
		nv->section_busy[tx->section] = 1;
	if (tx->page_slot != FAKE_NO_SLOT)
		nv->slot_busy[tx->page_slot] = true;
	nv->counts.tx_sent++;
	publish(nv, channel);
	return 0;
}

/* ---- life ---- */

int fake_netvsc_create(struct fake_space *space, const struct fake_transport_ops *ops, void *ctx,
		       const struct fake_netvsc_config *config, struct fake_netvsc **nv)
{
	struct fake_netvsc *new = calloc(1, sizeof(*new));

	if (!new)
		return -ENOMEM;
	new->space = space;
	new->ops = ops;
	new->ctx = ctx;
	new->config = *config;
	new->config.mtu = config->mtu ? config->mtu : 1500;
	new->config.channels = config->channels ? config->channels : 1;
	new->config.recv_pages = config->recv_pages ? config->recv_pages : 4096;
	new->config.send_pages = config->send_pages ? config->send_pages : 256;
	new->config.ring_pages = config->ring_pages ? config->ring_pages : 32;
	new->config.timeout_ms = config->timeout_ms ? config->timeout_ms : 20000;
	new->info.channels = 1;
	*nv = new;
	return 0;
}

void fake_netvsc_destroy(struct fake_netvsc *nv)
{
	if (!nv)
		return;
	for (uint32_t i = 0; i < FAKE_MAX_CHANNELS; i++)
		channel_free(&nv->channels[i]);
	for (uint32_t i = 0; i < FAKE_PAGE_SLOTS; i++)
		fake_pages_destroy(nv->slots[i]);
	fake_pages_destroy(nv->recv);
	fake_pages_destroy(nv->send);
	fake_pages_destroy(nv->control);
	free(nv->section_busy);
	free(nv->held);
	free(nv->lent_next);
	free(nv);
}
