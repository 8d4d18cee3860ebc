/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Any sequence of RNDIS control messages and host events. Input: records of {u8 event, u16 length,
 * bytes}. Held: at most one response for each, whole and of its declared length; RSS never names a
 * channel that is not there.
 */
#include "netvsp/rndis_control.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/log.h"
#include "netvsp/nvsp.h"

struct host {
	struct rndis_control *control;
	int sends;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
	if (!holds)
		abort();
}

static void op_send(void *ctx, const void *message, size_t length)
{
	uint8_t copy[RNDIS_CONTROL_MAX_RESPONSE_BYTES];

	check(length >= 12 && length <= sizeof(copy));
	memcpy(copy, message, length);
	check(get_le32(copy + 4) == length);
	((struct host *)ctx)->sends++;
}

static void op_statistics(void *ctx, struct rndis_statistics *statistics)
{
	(void)ctx;
	memset(statistics, 0xff, sizeof(*statistics));
}

static int op_set_address(void *ctx, const uint8_t mac[6])
{
	(void)ctx;
	check(!(mac[0] & 1));
	return mac[5] & 1 ? -EPERM : 0;
}

static const struct rndis_control_ops ops = {
	.send = op_send,
	.statistics = op_statistics,
	.set_address = op_set_address,
};

static void event(struct host *host, uint8_t kind, const uint8_t *bytes, size_t length)
{
	uint8_t number = length ? bytes[0] : 0;
	uint8_t *exact;
	int rc;

	host->sends = 0;
	switch (kind) {
	case 1:
		rndis_control_set_session(host->control,
					  number & 1 ? NVSP_VERSION_61 : NVSP_VERSION_4,
					  NVSP_MIN_MTU + number, 1 + number % 8);
		break;
	case 2:
		rndis_control_set_link(host->control, number & 1);
		break;
	case 3:
		rndis_control_set_link_speed(host->control, number * 40000u);
		break;
	case 4:
		rndis_control_announce(host->control);
		break;
	case 5:
		rndis_control_network_change(host->control);
		break;
	case 6:
		rndis_control_reset(host->control);
		break;
	default:
		exact = malloc(length ? length : 1);
		check(exact != NULL);
		if (length)
			memcpy(exact, bytes, length);
		rc = rndis_control_message(host->control, exact, length);
		check(rc == 0 || (rc == -EBADMSG && host->sends == 0));
		free(exact);
		break;
	}
	check(host->sends <= 1);
}

static void invariants(const struct rndis_control *control, uint32_t channels)
{
	const struct rss_params *rss = rndis_control_rss(control);
	const uint8_t(*list)[6];

	check(!rss->enabled ||
	      (rss->table_entries > 0 && rss->table_entries <= NDIS_RSS_TABLE_ENTRIES));
	for (uint32_t hash = 0; hash < NDIS_RSS_TABLE_ENTRIES; hash++)
		check(rss_channel(rss, hash) < channels);
	check(rndis_control_multicast(control, &list) <= RNDIS_MAX_MULTICAST);
	check((rndis_control_packet_filter(control) != 0) ==
	      (rndis_control_state(control) == RNDIS_STATE_OPERATIONAL));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct rndis_control_config config = {
		.mac = {2},
		.max_channels = 8,
		.offloads = RNDIS_OFFLOAD_CHECKSUM | RNDIS_OFFLOAD_LSO | RNDIS_OFFLOAD_RSC,
		.link_speed_mbps = 10000,
		.link_up = true,
		.friendly_name = "vm/nic0",
	};
	uint32_t channels = 4;
	struct host host = {0};

	log_set_level(LOG_LEVEL_ERROR);
	check(rndis_control_create(&config, &ops, &host, &host.control) == 0);
	rndis_control_set_session(host.control, NVSP_VERSION_61, 1500, channels);
	while (size >= 3) {
		size_t length = get_le16(data + 1);

		if (length > size - 3)
			length = size - 3;
		if (data[0] == 1)
			channels = 1 + (length ? data[3] : 0) % 8;
		if (data[0] == 6)
			channels = 1;
		event(&host, data[0], data + 3, length);
		invariants(host.control, channels);
		data += 3 + length;
		size -= 3 + length;
	}
	rndis_control_destroy(host.control);
	return 0;
}
