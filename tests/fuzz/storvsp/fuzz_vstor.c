/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a guest may write into a SCSI controller's ring, a row of packets {u8 type, u8 ranges in
 * units of 8 bytes, u8 payload bytes} ranges payload: the session's messages and SRBs with their
 * data in guest memory. A request that is taken must lie inside guest memory and be as long as it
 * says.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "storvsp/srb.h"
#include "storvsp/vstor.h"
#include "tests/unit/vmbus/memory_fixture.h"
#include "vmbus/guest_memory.h"
#include "vmbus/packet.h"

#define PAGES	     64u
#define HEADER_BYTES 3u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool ok)
{
	if (!ok)
		abort();
}

static void check_data(const struct srb_data *data, struct guest_memory *memory,
		       const struct srb *srb)
{
	const uint8_t *base = guest_memory_region_at(memory, 0)->hva;
	uint64_t sum = 0;

	require(data->count <= SRB_MAX_RUNS);
	for (uint32_t i = 0; i < data->count; i++) {
		const uint8_t *at = data->iov[i].iov_base;

		require(data->iov[i].iov_len > 0 && at >= base &&
			at + data->iov[i].iov_len <= base + PAGES * GUEST_PAGE_SIZE);
		require(at == base + data->gpas[i]);
		sum += data->iov[i].iov_len;
	}
	require(sum == srb->data_bytes && sum == data->bytes);
	require((sum == 0) == (srb->direction == DISK_NO_DATA));
}

/* The command ends as the packet's first bytes have it. */
static void answer(const struct srb *srb, const struct packet *packet)
{
	struct scsi_command command = {
		.status = packet->payload[4],
		.sense_bytes = packet->payload[5],
		.gone = packet->payload[6] == 1,
		.transferred = get_le32(packet->payload + 8),
	};
	struct vstor_packet reply;

	srb_reply(&command, srb, &reply);
	require(reply.header.operation == VSTOR_COMPLETE_IO);
	require(reply.srb.transfer_bytes <= srb->data_bytes);
	require(reply.srb.sense_bytes <= VSTOR_SENSE_BYTES);
	require((reply.srb.srb_status == VSTOR_SRB_SUCCESS) ==
		(command.status == 0 && !command.gone));
}

static void take_srb(struct guest_memory *memory, const struct packet *packet)
{
	static struct srb_data data;
	uint8_t bytes[32];
	struct srb srb;

	if (srb_parse(packet->payload, packet->payload_bytes, &srb) < 0)
		return;
	require(srb.cdb_bytes > 0 && srb.cdb_bytes <= SCSI_CDB_BYTES);
	if (srb_data_map(&data, memory, packet, &srb) < 0)
		return;
	check_data(&data, memory, &srb);
	memset(bytes, 0xa5, sizeof(bytes));
	require(srb_data_copy_in(&data, bytes, sizeof(bytes)) <= sizeof(bytes));
	srb_data_zero(&data, srb.cdb[1]);
	srb_data_written(&data, memory);
	answer(&srb, packet);
}

static void take_message(struct vstor_session *session, const struct packet *packet, bool primary)
{
	struct vstor_packet reply;
	uint32_t argument;
	enum vstor_action action = vstor_session_message(
		session, packet->payload, packet->payload_bytes, primary, &reply, &argument);

	require(reply.header.operation == VSTOR_COMPLETE_IO);
	require(session->state <= VSTOR_READY);
	require((session->version != 0) == (session->state > VSTOR_EXPECTS_VERSION));
	require(action == VSTOR_ANSWER || session->state == VSTOR_READY);
	require(action != VSTOR_OFFER_SUB_CHANNELS ||
		(primary && argument <= session->max_sub_channels));
	require(action == VSTOR_ANSWER || reply.header.status == VSTOR_STATUS_SUCCESS);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct guest_memory *memory;
	struct vstor_session session;

	if (!memory)
		memory = fixture_memory(PAGES);
	vstor_session_reset(&session, 3);
	while (size >= HEADER_BYTES) {
		size_t ranges_bytes = (size_t)data[1] * 8, payload_bytes = data[2];
		struct packet packet = {
			.type = data[0] & 1 ? PACKET_GPA_DIRECT : PACKET_INBAND,
			.range_count = data[0] >> 2,
			.ranges = data + HEADER_BYTES,
			.ranges_bytes = ranges_bytes,
			.payload = data + HEADER_BYTES + ranges_bytes,
			.payload_bytes = payload_bytes,
		};

		if (size - HEADER_BYTES < ranges_bytes + payload_bytes)
			break;
		if (payload_bytes >= 4 && get_le32(packet.payload) == VSTOR_EXECUTE_SRB)
			take_srb(memory, &packet);
		else
			take_message(&session, &packet, !(data[0] & 2));
		data += HEADER_BYTES + ranges_bytes + payload_bytes;
		size -= HEADER_BYTES + ranges_bytes + payload_bytes;
	}
	return 0;
}
