/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a LUN says of itself, by a target that lies: no answer makes the disk's facts impossible.
 * First byte: how many bytes the capacity's answer has, next the limits', and so on; then they.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "storvsp/iscsi_facts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A copy of its own, so that a read beyond it shows. */
static uint8_t *take(const uint8_t **data, size_t *size, uint32_t *length)
{
	uint8_t *part;

	*length = *size > 0 ? **data : 0;
	if (*size > 0) {
		(*data)++;
		(*size)--;
	}
	if (*length > *size)
		*length = (uint32_t)*size;
	part = malloc(*length > 0 ? *length : 1);
	if (part == NULL)
		abort();
	memcpy(part, *data, *length);
	*data += *length;
	*size -= *length;
	return part;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct disk_info info = {
		.size_bytes = 1 << 20, .block_bytes = 512, .physical_block_bytes = 512};
	bool has_id = false;
	uint32_t length;
	uint8_t *part;

	part = take(&data, &size, &length);
	iscsi_facts_take_capacity(part, length, &info);
	free(part);
	part = take(&data, &size, &length);
	iscsi_facts_take_id(part, length, &info, &has_id);
	free(part);
	part = take(&data, &size, &length);
	iscsi_facts_take_limits(part, length, &info);
	free(part);
	part = take(&data, &size, &length);
	iscsi_facts_take_rotation(part, length, &info);
	free(part);
	part = take(&data, &size, &length);
	iscsi_facts_take_caching(part, length, &info);
	free(part);
	if (info.block_bytes != 512 || info.physical_block_bytes < 512 ||
	    (info.physical_block_bytes & (info.physical_block_bytes - 1)) != 0 ||
	    info.physical_block_bytes > 65536 || info.unmap_granularity_bytes % 512 != 0 ||
	    info.optimal_bytes % 512 != 0)
		abort();
	return 0;
}
