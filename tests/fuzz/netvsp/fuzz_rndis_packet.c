/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * RNDIS data messages scattered over runs. Input: u8 number of cuts, a u8 for each (in 255ths of
 * the rest), then the bytes. Held: packets lie inside the bytes and after one another, a walk ends,
 * and any scattering reads as the whole does.
 */
#include "netvsp/rndis_packet.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MAX_CUTS 8

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
	if (!holds)
		abort();
}

static size_t scatter(const uint8_t *cuts, size_t cut_count, const uint8_t *bytes, size_t length,
		      struct rndis_run *runs)
{
	size_t count = 0;

	for (size_t i = 0; i < cut_count; i++) {
		size_t here = length * cuts[i] / 255;

		runs[count++] = (struct rndis_run){bytes, (uint32_t)here};
		bytes += here;
		length -= here;
	}
	runs[count++] = (struct rndis_run){bytes, (uint32_t)length};
	return count;
}

static void packet_check(const struct rndis_tx_walk *walk, const struct rndis_tx_packet *packet,
			 uint32_t before)
{
	struct rndis_run slices[MAX_CUTS + 1];
	uint32_t total = 0;
	ssize_t count = rndis_runs_slice(walk->runs, walk->run_count, packet->payload_offset,
					 packet->payload_bytes, slices, MAX_CUTS + 1);

	check(packet->payload_offset >= before + sizeof(struct rndis_packet));
	check(packet->payload_offset + packet->payload_bytes <= walk->offset);
	check(walk->offset <= walk->total_bytes);
	check(packet->payload_bytes >= RNDIS_TX_MIN_FRAME_BYTES);
	check(packet->l4_offset < packet->payload_bytes);
	check(!(packet->flags & RNDIS_TX_LSO) || packet->mss > 0);
	check((packet->flags & (RNDIS_TX_IPV4 | RNDIS_TX_IPV6)) != (RNDIS_TX_IPV4 | RNDIS_TX_IPV6));
	check(count > 0);
	for (ssize_t i = 0; i < count; i++) {
		/* Every byte is there: a sanitizer looks at the ends. */
		check(slices[i].bytes[0] == slices[i].bytes[0]);
		check(slices[i].bytes[slices[i].length - 1] ==
		      slices[i].bytes[slices[i].length - 1]);
		total += slices[i].length;
	}
	check(total == packet->payload_bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rndis_run whole, runs[MAX_CUTS + 1];
	struct rndis_tx_walk walk, scattered;
	size_t cuts = size ? data[0] % (MAX_CUTS + 1) : 0, count;
	uint8_t *exact;
	int rc;

	if (size < 1 + cuts + 1 || size > 100000)
		return 0;
	size -= 1 + cuts;
	exact = malloc(size);
	check(exact != NULL);
	memcpy(exact, data + 1 + cuts, size);
	whole = (struct rndis_run){exact, (uint32_t)size};
	count = scatter(data + 1, cuts, exact, size, runs);
	check(rndis_tx_begin(&walk, &whole, 1) == 0);
	check(rndis_tx_begin(&scattered, runs, count) == 0);
	do {
		struct rndis_tx_packet packet = {0}, again = {0};
		uint32_t before = walk.offset;

		rc = rndis_tx_next(&walk, &packet);
		check(rndis_tx_next(&scattered, &again) == rc);
		if (rc != 1)
			break;
		check(memcmp(&packet, &again, sizeof(packet)) == 0);
		check(walk.offset > before);
		packet_check(&scattered, &packet, before);
	} while (true);
	free(exact);
	return 0;
}
