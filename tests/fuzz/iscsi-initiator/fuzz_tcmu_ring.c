/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The TCMU ring with a mailbox and entries of any bytes: requests point into the data area only,
 * and completing what was taken never leaves the ring.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "iscsi-initiator/tcmu_ring.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MAP_BYTES    32768u
#define REQUESTS_MAX 64

static void check(const struct tcmu_ring *ring, const struct tcmu_request *request)
{
	uint64_t total = 0;

	for (uint32_t i = 0; i < request->iov_count; i++) {
		const uint8_t *start = request->iov[i].iov_base;
		size_t length = request->iov[i].iov_len;
		if (start < ring->map + ring->data_offset || length > ring->map_bytes ||
		    start + length > ring->map + ring->map_bytes)
			abort();
		total += length;
	}
	if (total != request->data_bytes)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *map = calloc(1, MAP_BYTES);
	struct tcmu_request request = {0};
	struct tcmu_ring ring;

	memcpy(map, data, size < MAP_BYTES ? size : MAP_BYTES);
	if (tcmu_ring_init(&ring, map, MAP_BYTES) == 0) {
		for (int i = 0; i < REQUESTS_MAX; i++) {
			struct tcmu_completion completion = {.status = 2};
			int ret = tcmu_ring_next(&ring, &request);
			if (ret == -EOPNOTSUPP || ret == 1) {
				if (ret == 1 && request.kind == TCMU_REQUEST_COMMAND)
					check(&ring, &request);
				completion.id = request.id;
				tcmu_ring_complete(&ring, &completion);
			} else if (ret <= 0) {
				break;
			}
		}
	}
	free(request.iov);
	free(map);
	return 0;
}
