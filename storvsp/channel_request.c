/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a channel's worker does with packets: makes requests of them, executes them on their units,
 * and answers. Everything here runs on the worker's thread.
 */
#include <string.h>

#include "base/bytes.h"
#include "base/log.h"
#include "storvsp/channel_internal.h"

#define LOG_COMPONENT "storvsp"

#define DESCRIPTOR_BYTES 16u

static struct storvsp_request *request_of_command(struct scsi_command *command)
{
	return (struct storvsp_request *)((uint8_t *)command -
					  offsetof(struct storvsp_request, command));
}

static struct storvsp_request *request_of_post(struct io_post *post)
{
	return (struct storvsp_request *)((uint8_t *)post - offsetof(struct storvsp_request, post));
}

static struct storvsp_request *request_of_mail(struct controller_mail *mail)
{
	return (struct storvsp_request *)((uint8_t *)mail - offsetof(struct storvsp_request, mail));
}

static struct channel_flush *flush_of_post(struct io_post *post)
{
	return (struct channel_flush *)((uint8_t *)post - offsetof(struct channel_flush, post));
}

/* ---- requests ---- */

uint32_t channel_answer_bytes(void)
{
	return (uint32_t)packet_ring_bytes(DESCRIPTOR_BYTES, sizeof(struct vstor_packet));
}

bool channel_has_request(const struct storvsp_channel *channel)
{
	return channel->free != NULL || channel->fresh < CHANNEL_MAX_REQUESTS;
}

static struct storvsp_request *request_get(struct storvsp_channel *channel)
{
	struct storvsp_request *request = channel->free;

	if (request)
		channel->free = request->next;
	else
		request = &channel->requests[channel->fresh++];
	request->channel = channel;
	request->taken_at = channel->count++;
	channel->in_use++;
	return request;
}

/* ---- flushes ---- */

static bool flush_concerns(const struct channel_flush *flush, const struct storvsp_request *request)
{
	switch (flush->scope) {
	case FLUSH_UNIT:
		return request->state == REQUEST_EXECUTING &&
		       request->executed_at < flush->before &&
		       controller_lun_of(&request->srb) == flush->lun;
	case FLUSH_COMMANDS:
		return (request->state == REQUEST_EXECUTING || request->state == REQUEST_HELD) &&
		       request->taken_at < flush->before;
	case FLUSH_REQUESTS:
		break;
	}
	return request->state != REQUEST_FREE && request->taken_at < flush->before;
}

static void flush_finish(struct channel_flush *flush)
{
	TAILQ_INSERT_TAIL(&flush->channel->finished, flush, link);
}

void channel_on_flush(struct io_post *post)
{
	struct channel_flush *flush = flush_of_post(post);
	struct storvsp_channel *channel = flush->channel;

	flush->before = channel->count;
	flush->left = 0;
	for (uint32_t i = 0; i < channel->fresh; i++)
		flush->left += flush_concerns(flush, &channel->requests[i]);
	if (flush->left == 0) {
		flush_finish(flush);
		return;
	}
	TAILQ_INSERT_TAIL(&channel->flushes, flush, link);
}

/* The request is about to end. */
static void flushes_note(struct storvsp_channel *channel, const struct storvsp_request *request)
{
	struct channel_flush *flush = TAILQ_FIRST(&channel->flushes);

	while (flush) {
		struct channel_flush *next = TAILQ_NEXT(flush, link);

		if (flush_concerns(flush, request) && --flush->left == 0) {
			TAILQ_REMOVE(&channel->flushes, flush, link);
			flush_finish(flush);
		}
		flush = next;
	}
}

/* ---- answers ---- */

static void request_end(struct storvsp_request *request, const struct vstor_packet *reply)
{
	struct storvsp_channel *channel = request->channel;

	/* There is room, unless the guest has moved its index back. */
	if (request->wants_reply && !channel->broken &&
	    packet_write_completion(&channel->to_guest, request->transaction_id, reply,
				    vstor_reply_bytes(request->packet_bytes)) < 0)
		channel_break(channel, "no room for an answer that had room");
	flushes_note(channel, request);
	request->state = REQUEST_FREE;
	request->next = channel->free;
	channel->free = request;
	channel->in_use--;
}

void channel_on_answer(struct io_post *post)
{
	struct storvsp_request *request = request_of_post(post);

	request_end(request, &request->packet);
}

/* ---- SRBs ---- */

static void counter_add(_Atomic uint64_t *counter, uint64_t value)
{
	atomic_fetch_add_explicit(counter, value, memory_order_relaxed);
}

/* READ and WRITE of 6, 10, 12 and 16 bytes, and WRITE AND VERIFY. */
static bool cdb_reads(uint8_t opcode)
{
	return opcode == 0x08 || opcode == 0x28 || opcode == 0xa8 || opcode == 0x88;
}

static bool cdb_writes(uint8_t opcode)
{
	return opcode == 0x0a || opcode == 0x2a || opcode == 0xaa || opcode == 0x8a ||
	       opcode == 0x2e || opcode == 0xae || opcode == 0x8e;
}

static void command_count(struct unit_counters *counters, const struct srb *srb,
			  const struct scsi_command *command)
{
	if (cdb_reads(srb->cdb[0])) {
		counter_add(&counters->reads, 1);
		counter_add(&counters->read_bytes, command->transferred);
	} else if (cdb_writes(srb->cdb[0])) {
		counter_add(&counters->writes, 1);
		counter_add(&counters->written_bytes, command->transferred);
	} else {
		counter_add(&counters->others, 1);
	}
	if (command->status != 0)
		counter_add(&counters->errors, 1);
}

/* A command has its status. */
static void srb_end(struct storvsp_request *request)
{
	struct vstor_packet reply;

	if (request->command.transferred > request->srb.data_bytes)
		request->command.transferred = request->srb.data_bytes;
	if ((request->command.status != 0 || request->command.gone) &&
	    srb_is_forced_to_succeed(&request->srb))
		srb_data_zero(&request->data, 0);
	srb_data_written(&request->data, request->channel->controller->bus.memory);
	srb_reply(&request->command, &request->srb, &reply);
	request_end(request, &reply);
}

static void on_command_done(struct scsi_command *command)
{
	struct storvsp_request *request = request_of_command(command);
	struct unit_counters *counters =
		&request->channel->controller->counters[controller_lun_of(&request->srb)];

	command_count(counters, &request->srb, command);
	atomic_fetch_sub_explicit(&counters->in_flight, 1, memory_order_relaxed);
	srb_end(request);
}

static bool unit_is_held(struct storvsp_controller *controller, const struct srb *srb)
{
	uint32_t lun = controller_lun_of(srb);

	return lun < STORVSP_MAX_LUNS &&
	       (atomic_load_explicit(&controller->held, memory_order_acquire) & UINT64_C(1) << lun);
}

static void srb_execute(struct storvsp_request *request)
{
	struct storvsp_channel *channel = request->channel;
	struct storvsp_controller *controller = channel->controller;
	struct scsi_command *command = &request->command;
	struct scsi_unit *unit;

	if (unit_is_held(controller, &request->srb)) {
		request->state = REQUEST_HELD;
		request->next = NULL;
		*channel->held_end = request;
		channel->held_end = &request->next;
		return;
	}
	request->state = REQUEST_EXECUTING;
	request->executed_at = channel->count++;
	memset(command, 0, sizeof(*command));
	memcpy(command->cdb, request->srb.cdb, sizeof(command->cdb));
	command->cdb_bytes = request->srb.cdb_bytes;
	command->direction = request->srb.direction;
	command->iov = request->data.iov;
	command->iov_count = request->data.count;
	command->data_bytes = request->srb.data_bytes;
	command->loop = channel->loop;
	command->done = on_command_done;
	if (controller_answer(controller, &request->srb, &request->data, command, &unit)) {
		srb_end(request);
		return;
	}
	atomic_fetch_add_explicit(&controller->counters[controller_lun_of(&request->srb)].in_flight,
				  1, memory_order_relaxed);
	controller->unit_ops->execute(unit, command);
}

void channel_release_held(struct storvsp_channel *channel)
{
	struct storvsp_request *request = channel->held;

	channel->held = NULL;
	channel->held_end = &channel->held;
	while (request) {
		struct storvsp_request *next = request->next;

		srb_execute(request);
		request = next;
	}
}

static void srb_take(struct storvsp_request *request, const struct packet *packet)
{
	struct storvsp_channel *channel = request->channel;
	struct storvsp_controller *controller = channel->controller;
	struct vstor_packet reply;
	int rc;

	if (!atomic_load_explicit(&controller->ready, memory_order_acquire)) {
		srb_reply_invalid(&reply);
		reply.header.status = VSTOR_STATUS_INVALID_DEVICE_STATE;
		request_end(request, &reply);
		return;
	}
	if (!atomic_load_explicit(&controller->first_srb, memory_order_relaxed) &&
	    !atomic_exchange_explicit(&controller->first_srb, true, memory_order_relaxed))
		controller_mail_post(&controller->mailbox, &channel->first_srb_mail);
	rc = srb_parse(packet->payload, packet->payload_bytes, &request->srb);
	if (rc == 0)
		rc = srb_data_map(&request->data, controller->bus.memory, packet, &request->srb);
	if (rc < 0) {
		log_warn_limited("channel %u: a malformed SCSI request", channel->sub_index);
		srb_reply_invalid(&reply);
		request_end(request, &reply);
		return;
	}
	srb_execute(request);
}

/* ---- packets ---- */

static void on_control_mail(struct controller_mail *mail)
{
	controller_control(request_of_mail(mail));
}

static void control_take(struct storvsp_request *request, const struct packet *packet)
{
	size_t bytes = packet->payload_bytes;

	memset(&request->packet, 0, sizeof(request->packet));
	memcpy(&request->packet, packet->payload,
	       bytes < sizeof(request->packet) ? bytes : sizeof(request->packet));
	request->state = REQUEST_CONTROL;
	request->mail.fn = on_control_mail;
	request->post.fn = channel_on_answer;
	controller_mail_post(&request->channel->controller->mailbox, &request->mail);
}

void channel_take(struct storvsp_channel *channel, const struct packet *packet)
{
	struct storvsp_request *request;

	if (packet->type == PACKET_COMPLETION)
		return; /* nothing that we send asks for one */
	request = request_get(channel);
	request->transaction_id = packet->transaction_id;
	request->wants_reply = packet->flags & PACKET_FLAG_COMPLETION_REQUESTED;
	request->packet_bytes = packet->payload_bytes;
	request->state = REQUEST_FREE; /* no flush counts it before it has begun */
	if (packet->type != PACKET_TRANSFER_PAGES &&
	    packet->payload_bytes >= sizeof(struct vstor_header) &&
	    get_le32(packet->payload) == VSTOR_EXECUTE_SRB)
		srb_take(request, packet);
	else
		control_take(request, packet);
}
