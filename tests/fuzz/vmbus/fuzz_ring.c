/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A ring whose other end is hostile: the input is the data area, then a list of changes to the
 * control page and to the data, between which packets are read and written.
 */
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "tests/unit/vmbus/memory_fixture.h"
#include "vmbus/gpadl_view.h"
#include "vmbus/packet.h"
#include "vmbus/ring.h"
#include "wire/vmbus.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int ok)
{
	if (!ok)
		abort();
}

static void packet_check(const struct packet *packet, const uint8_t *scratch)
{
	static struct gpa_piece pieces[PACKET_MAX_GPNS];
	volatile uint8_t sum = 0;
	ssize_t count;

	require(packet->payload >= scratch &&
		packet->payload + packet->payload_bytes <= scratch + PACKET_MAX_BYTES);
	for (size_t i = 0; i < packet->payload_bytes; i++)
		sum = (uint8_t)(sum + packet->payload[i]);
	for (size_t i = 0; i < packet->ranges_bytes; i++)
		sum = (uint8_t)(sum + packet->ranges[i]);
	if (packet->type != PACKET_GPA_DIRECT)
		return;
	count = packet_gpa_pieces(packet, pieces, PACKET_MAX_GPNS);
	for (ssize_t i = 0; i < count; i++)
		require(pieces[i].length > 0 && pieces[i].gpa % 4096 + pieces[i].length <= 4096);
}

static void ring_use(struct ring *reader, struct ring *writer)
{
	static uint8_t scratch[PACKET_MAX_BYTES];
	const struct transfer_range range = {60, 0};
	struct packet packet;
	unsigned packets = 0;
	int rc;

	/* A ring of 2 pages holds no more than this of the smallest packets. */
	while ((rc = packet_read(reader, scratch, sizeof(scratch), &packet)) == 1) {
		packet_check(&packet, scratch);
		require(++packets <= 2 * 4096 / 24);
	}
	require(rc == 0 || rc == -EPROTO);
	ring_publish_read(reader);
	ring_unmask(reader);
	rc = packet_write_inband(writer, 1, 0, "payload", 7);
	require(rc == 0 || rc == -EAGAIN || rc == -EPROTO);
	rc = packet_write_transfer_pages(writer, 1, 1, &range, 1, "nvsp", 4);
	require(rc == 0 || rc == -EAGAIN || rc == -EPROTO);
	ring_set_pending_send_bytes(writer, 4000);
	ring_publish_write(writer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint64_t in_gpns[] = {1, 2, 3};
	static const uint64_t out_gpns[] = {5, 9, 7}; /* not neighbours */
	static struct guest_memory *memory;
	static struct gpadl_view *in;
	static struct gpadl_view *out;
	struct ring reader;
	struct ring writer;
	size_t head;

	if (!memory) {
		memory = fixture_memory(16);
		in = fixture_view(memory, in_gpns, 3);
		out = fixture_view(memory, out_gpns, 3);
	}
	memset(in->pages[0], 0, 4096);
	memset(out->pages[0], 0, 4096);
	head = size < 2 * 4096 ? size & ~(size_t)7 : 2 * 4096 - 8;
	memcpy(in->pages[1], data, head);
	put_le32(in->pages[0], (uint32_t)head);
	data += head;
	size -= head;
	if (ring_init_reader(&reader, in) < 0 || ring_init_writer(&writer, out) < 0)
		return 0;
	ring_use(&reader, &writer);
	/* Each change: which word of which control page, and its value. */
	for (; size >= 5; data += 5, size -= 5) {
		uint8_t *page = data[0] & 0x80 ? out->pages[0] : in->pages[0];

		put_le32(page + (data[0] & 3) * 4, get_le32(data + 1));
		ring_use(&reader, &writer);
	}
	return 0;
}
