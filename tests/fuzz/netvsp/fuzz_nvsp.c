/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Any sequence of NVSP messages and channel events. Input: records of {u8 event, u8 length, bytes}.
 * Held at all times: one completion for each message that asked for one, attach and detach in
 * pairs, a layout inside its GPADL, what was granted within the limit.
 */
#include "netvsp/nvsp.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

#define MAX_CHANNELS 8

struct host {
	struct nvsp_session *session;
	int replies, sends;
	bool attached[2];
	uint32_t offered;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
	if (!holds)
		abort();
}

static void op_complete(void *ctx, uint64_t transaction_id, const void *reply, size_t length)
{
	uint8_t copy[NVSP_MAX_MESSAGE_BYTES];

	(void)transaction_id;
	check(length <= sizeof(copy));
	memcpy(copy, reply, length);
	((struct host *)ctx)->replies++;
}

static void op_send(void *ctx, const void *message, size_t length)
{
	(void)message;
	(void)length;
	((struct host *)ctx)->sends++;
}

/* Ids 0..3 are lent, of sizes from less than a section to 16 MiB. */
static int op_gpadl_size(void *ctx, uint32_t gpadl_id, size_t *size_bytes)
{
	static const size_t sizes[] = {1024, 4096, 1 << 20, 16 << 20};

	(void)ctx;
	if (gpadl_id >= 4)
		return -ENOENT;
	*size_bytes = sizes[gpadl_id];
	return 0;
}

static int op_attach(void *ctx, enum nvsp_buffer buffer, const struct nvsp_layout *layout)
{
	struct host *host = ctx;
	size_t size = 0;

	check(!host->attached[buffer]);
	check(op_gpadl_size(ctx, layout->gpadl_id, &size) == 0);
	check(layout->section_count > 0 && layout->section_bytes > 0);
	check((uint64_t)layout->section_count * layout->section_bytes <= size);
	if (layout->id == 0xffff)
		return -ENOMEM;
	host->attached[buffer] = true;
	return 0;
}

static void op_detach(void *ctx, enum nvsp_buffer buffer)
{
	struct host *host = ctx;

	check(host->attached[buffer]);
	host->attached[buffer] = false;
}

static void op_offer(void *ctx, uint32_t count)
{
	struct host *host = ctx;

	check(count > 0 && count < MAX_CHANNELS && host->offered == 0);
	host->offered = count;
}

static const struct nvsp_ops ops = {
	op_complete, op_send, op_gpadl_size, op_attach, op_detach, op_offer, NULL,
};

static void message(struct host *host, bool wants_completion, const uint8_t *bytes, size_t length)
{
	uint8_t *exact = malloc(length ? length : 1);
	struct nvsp_rndis rndis;
	size_t at, run;

	check(exact != NULL);
	if (length)
		memcpy(exact, bytes, length);
	host->replies = 0;
	nvsp_session_message(host->session, 7, wants_completion, exact, length);
	check(host->replies == (wants_completion ? 1 : 0));
	nvsp_parse_rndis_complete(exact, length);
	if (nvsp_parse_rndis(exact, length, &rndis) == 0 &&
	    nvsp_rndis_section(&rndis, nvsp_session_layout(host->session, NVSP_BUFFER_SEND), &at,
			       &run) == 0 &&
	    run > 0) {
		const struct nvsp_layout *layout =
			nvsp_session_layout(host->session, NVSP_BUFFER_SEND);

		check(at + run <= (size_t)layout->section_bytes * layout->section_count);
	}
	free(exact);
}

static void event(struct host *host, uint8_t kind, const uint8_t *bytes, size_t length)
{
	uint32_t number = length ? bytes[0] : 0;

	host->sends = 0;
	switch (kind % 8) {
	case 3:
		nvsp_session_channel_opened(host->session, number);
		break;
	case 4:
		nvsp_session_channel_closed(host->session, number);
		break;
	case 5:
		nvsp_session_gpadl_removed(host->session, number);
		break;
	case 6:
		nvsp_session_reset(host->session);
		check(!host->attached[0] && !host->attached[1]);
		host->offered = 0;
		break;
	default:
		message(host, kind & 0x80, bytes, length);
		break;
	}
	check(host->sends <= 1);
	check(host->attached[0] == (nvsp_session_layout(host->session, 0) != NULL));
	check(host->attached[1] == (nvsp_session_layout(host->session, 1) != NULL));
	check(nvsp_session_channels(host->session) <= MAX_CHANNELS);
	check(nvsp_session_mtu(host->session) >= NVSP_MIN_MTU &&
	      nvsp_session_mtu(host->session) <= 9000);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct nvsp_config config = {.max_channels = MAX_CHANNELS, .max_mtu = 9000};
	struct host host = {0};

	log_set_level(LOG_LEVEL_ERROR);
	check(nvsp_session_create(&config, &ops, &host, &host.session) == 0);
	while (size >= 2) {
		size_t length = data[1];

		if (length > size - 2)
			length = size - 2;
		event(&host, data[0], data + 2, length);
		data += 2 + length;
		size -= 2 + length;
	}
	nvsp_session_reset(host.session);
	check(!host.attached[0] && !host.attached[1]);
	nvsp_session_destroy(host.session);
	return 0;
}
