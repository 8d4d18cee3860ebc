/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Any bytes as a vNIC's saved state. Held at all times: what is read is in bounds and is written
 * and read back as the same bytes; an NVSP session and an RNDIS device made of it are such as a
 * guest could have made them, and go on; sections are lent once.
 */
#include "netvsp/saved_state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/state.h"

#define MAX_CHANNELS 8
#define MAX_MTU	     9000

struct host {
	struct nvsp_session *nvsp;
	struct rndis_control *rndis;
	bool attached[2];
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
	if (!holds)
		abort();
}

/* ---- a host ---- */

static void op_complete(void *ctx, uint64_t transaction_id, const void *reply, size_t length)
{
	(void)ctx;
	(void)transaction_id;
	(void)reply;
	(void)length;
}

static void op_send(void *ctx, const void *message, size_t length)
{
	(void)ctx;
	(void)message;
	check(length <= RNDIS_CONTROL_MAX_RESPONSE_BYTES);
}

static int op_gpadl_size(void *ctx, uint32_t gpadl_id, size_t *size_bytes)
{
	(void)ctx;
	if (gpadl_id % 4 == 3)
		return -ENOENT;
	*size_bytes = (size_t)(gpadl_id % 4 + 1) << 20;
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
	(void)ctx;
	check(count > 0 && count < MAX_CHANNELS);
}

static const struct nvsp_ops nvsp_ops = {
	op_complete, op_send, op_gpadl_size, op_attach, op_detach, op_offer, NULL,
};

static void op_statistics(void *ctx, struct rndis_statistics *statistics)
{
	(void)ctx;
	*statistics = (struct rndis_statistics){0};
}

static int op_set_address(void *ctx, const uint8_t mac[6])
{
	(void)ctx;
	return mac[5] & 1 ? -EPERM : 0;
}

static const struct rndis_control_ops rndis_ops = {
	.send = op_send, .statistics = op_statistics, .set_address = op_set_address};

/* ---- what is made of the state ---- */

static void check_held(const struct saved_nic *saved, const struct nvsp_layout *layout)
{
	struct rx_buffer buffer = {.section_count = layout->section_count};
	uint32_t chain = RX_NO_SECTION, count = 0;

	buffer.next = calloc(layout->section_count, sizeof(*buffer.next));
	check(buffer.next != NULL);
	if (rx_buffer_take_held(&buffer, saved->held, saved->held_count) == 0) {
		for (uint32_t i = 0; i < saved->held_count; i++)
			rx_buffer_chain(&buffer, saved->held[i].section, &chain);
		rx_buffer_release(&buffer, chain);
		check(buffer.free_count == layout->section_count);
		for (chain = RX_NO_SECTION; rx_buffer_take(&buffer, &chain);)
			count++;
		check(count == layout->section_count);
	}
	free(buffer.next);
}

static void use_rndis(struct host *host)
{
	/* A query of the multicast list: its answer must fit. */
	static const struct rndis_oid_request query = {
		.header = {.type = RNDIS_QUERY, .length = sizeof(query)},
		.request_id = 1,
		.oid = OID_802_3_MULTICAST_LIST,
	};
	const struct rss_params *rss = rndis_control_rss(host->rndis);

	rndis_control_message(host->rndis, &query, sizeof(query));
	for (uint32_t hash = 0; hash < 300; hash++)
		check(rss_channel(rss, hash) < MAX_CHANNELS);
	rndis_control_announce(host->rndis);
}

static void restore(const struct saved_nic *saved)
{
	const struct nvsp_config nvsp = {.max_channels = MAX_CHANNELS, .max_mtu = MAX_MTU};
	const struct rndis_control_config rndis = {
		.max_channels = MAX_CHANNELS,
		.offloads = RNDIS_OFFLOAD_CHECKSUM | RNDIS_OFFLOAD_LSO | RNDIS_OFFLOAD_RSC,
		.mac = {2, 0, 0, 0, 0, 1},
	};
	struct host host = {0};

	check(nvsp_session_create(&nvsp, &nvsp_ops, &host, &host.nvsp) == 0);
	check(rndis_control_create(&rndis, &rndis_ops, &host, &host.rndis) == 0);
	if (nvsp_session_restore(host.nvsp, &saved->nvsp) == 0) {
		check(nvsp_session_channels(host.nvsp) <= MAX_CHANNELS);
		check(nvsp_session_mtu(host.nvsp) <= MAX_MTU);
		if (host.attached[NVSP_BUFFER_RECV])
			check_held(saved, nvsp_session_layout(host.nvsp, NVSP_BUFFER_RECV));
		rndis_control_set_session(host.rndis, nvsp_session_version(host.nvsp),
					  nvsp_session_mtu(host.nvsp),
					  nvsp_session_channels(host.nvsp));
		if (rndis_control_restore(host.rndis, &saved->rndis) == 0)
			use_rndis(&host);
	} else {
		check(!host.attached[0] && !host.attached[1]);
	}
	nvsp_session_reset(host.nvsp);
	check(!host.attached[0] && !host.attached[1]);
	rndis_control_destroy(host.rndis);
	nvsp_session_destroy(host.nvsp);
}

static void check_round_trip(const struct saved_nic *saved)
{
	struct state_writer first, second;
	struct saved_nic again;

	state_writer_init(&first);
	state_writer_init(&second);
	saved_nic_write(saved, &first);
	check(state_writer_result(&first) == 0);
	check(saved_nic_read(&again, first.bytes, first.length) == 0);
	saved_nic_write(&again, &second);
	check(first.length == second.length &&
	      memcmp(first.bytes, second.bytes, first.length) == 0);
	saved_nic_fini(&again);
	state_writer_fini(&first);
	state_writer_fini(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct saved_nic saved;

	log_set_level(LOG_LEVEL_ERROR);
	if (saved_nic_read(&saved, data, size))
		return 0;
	check_round_trip(&saved);
	restore(&saved);
	saved_nic_fini(&saved);
	return 0;
}
