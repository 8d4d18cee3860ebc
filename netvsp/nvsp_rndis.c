/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The NVSP_RNDIS envelope, both ways: what the data path reads and writes for each packet.
 * Stateless.
 */
#include <errno.h>

#include "base/bytes.h"
#include "netvsp/nvsp.h"

uint32_t nvsp_message_type(const void *bytes, size_t length)
{
	return length < sizeof(struct nvsp_header) ? 0 : get_le32(bytes);
}

int nvsp_parse_rndis(const void *bytes, size_t length, struct nvsp_rndis *rndis)
{
	struct nvsp_rndis wire;

	if (length < sizeof(wire))
		return -EINVAL;
	memcpy(&wire, bytes, sizeof(wire));
	wire.header.type = le32toh(wire.header.type);
	wire.channel_type = le32toh(wire.channel_type);
	wire.section_index = le32toh(wire.section_index);
	wire.section_bytes = le32toh(wire.section_bytes);
	if (wire.header.type != NVSP_RNDIS || wire.channel_type > NVSP_RNDIS_CONTROL)
		return -EINVAL;
	*rndis = wire;
	return 0;
}

int nvsp_rndis_section(const struct nvsp_rndis *rndis, const struct nvsp_layout *layout,
		       size_t *offset, size_t *length)
{
	if (rndis->section_index == NVSP_NO_SECTION) {
		*offset = 0;
		*length = 0;
		return 0;
	}
	if (!layout || rndis->section_index >= layout->section_count ||
	    rndis->section_bytes > layout->section_bytes)
		return -EINVAL;
	*offset = (size_t)rndis->section_index * layout->section_bytes;
	*length = rndis->section_bytes;
	return 0;
}

void nvsp_build_rndis_complete(void *message, size_t reply_bytes, enum nvsp_status status)
{
	const struct nvsp_rndis_complete head = {
		.header.type = htole32(NVSP_RNDIS_COMPLETE),
		.status = htole32(status),
	};

	memset(message, 0, reply_bytes);
	memcpy(message, &head, sizeof(head));
}

void nvsp_build_rndis(void *message, size_t reply_bytes, uint32_t channel_type)
{
	const struct nvsp_rndis head = {
		.header.type = htole32(NVSP_RNDIS),
		.channel_type = htole32(channel_type),
		.section_index = htole32(NVSP_NO_SECTION),
	};

	memset(message, 0, reply_bytes);
	memcpy(message, &head, sizeof(head));
}

uint32_t nvsp_parse_rndis_complete(const void *bytes, size_t length)
{
	if (length < sizeof(struct nvsp_rndis_complete) ||
	    nvsp_message_type(bytes, length) != NVSP_RNDIS_COMPLETE)
		return NVSP_STATUS_NONE;
	return get_le32((const uint8_t *)bytes + offsetof(struct nvsp_rndis_complete, status));
}
