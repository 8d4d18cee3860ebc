/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The heartbeat's layout, both ways.
 */
#include "nlb/nlb_heartbeat.h"

#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "nlb/nlb_buckets.h"

static_assert(NLB_HEARTBEAT_MAX_TABLES == NLB_MAX_TABLES, "all tables of a cluster");

size_t nlb_heartbeat_write(const struct nlb_heartbeat *heartbeat,
			   uint8_t bytes[NLB_HEARTBEAT_MAX_BYTES])
{
	size_t length = sizeof(struct nlb_wire_heartbeat) +
			heartbeat->table_count * sizeof(struct nlb_wire_table);
	struct nlb_wire_heartbeat wire = {
		.magic = htole32(NLB_HEARTBEAT_MAGIC),
		.version = NLB_HEARTBEAT_VERSION,
		.member = heartbeat->member,
		.state = (uint8_t)heartbeat->state,
		.table_count = (uint8_t)heartbeat->table_count,
		.cluster = htole64(heartbeat->cluster),
		.instance = htole64(heartbeat->instance),
		.sequence = htole64(heartbeat->sequence),
		.revision = htole64(heartbeat->revision),
		.digest = htole64(heartbeat->digest),
		.view = htole64(heartbeat->view),
		.hears = htole32(heartbeat->hears),
		.length = htole16((uint16_t)length),
	};

	memcpy(bytes, &wire, sizeof(wire));
	bytes += sizeof(wire);
	for (uint32_t i = 0; i < heartbeat->table_count; i++) {
		struct nlb_wire_table table = {.held = htole64(heartbeat->tables[i].held),
					       .busy = htole64(heartbeat->tables[i].busy),
					       .share = heartbeat->tables[i].share};

		memcpy(bytes, &table, sizeof(table));
		bytes += sizeof(table);
	}
	return length;
}

static int read_tables(const uint8_t *bytes, struct nlb_heartbeat *heartbeat)
{
	for (uint32_t i = 0; i < heartbeat->table_count; i++) {
		struct nlb_wire_table table;

		memcpy(&table, bytes + i * sizeof(table), sizeof(table));
		heartbeat->tables[i] = (struct nlb_heartbeat_table){.held = le64toh(table.held),
								    .busy = le64toh(table.busy),
								    .share = table.share};
		if (((heartbeat->tables[i].held | heartbeat->tables[i].busy) & ~NLB_ALL_BUCKETS) ||
		    table.share > NLB_MAX_WEIGHT)
			return -EPROTO;
	}
	return 0;
}

int nlb_heartbeat_read(const uint8_t *bytes, size_t length, struct nlb_heartbeat *out)
{
	struct nlb_heartbeat heartbeat = {0};
	struct nlb_wire_heartbeat wire;
	int err;

	if (length < sizeof(wire))
		return -EPROTO;
	memcpy(&wire, bytes, sizeof(wire));
	if (le32toh(wire.magic) != NLB_HEARTBEAT_MAGIC)
		return -EPROTO;
	if (wire.version != NLB_HEARTBEAT_VERSION)
		return -EPROTONOSUPPORT;
	if (wire.member < 1 || wire.member > NLB_MAX_MEMBERS ||
	    wire.state >= NLB_WIRE_STATE_COUNT || wire.table_count < 1 ||
	    wire.table_count > NLB_MAX_TABLES || le16toh(wire.length) > length ||
	    le16toh(wire.length) != sizeof(wire) + wire.table_count * sizeof(struct nlb_wire_table))
		return -EPROTO;
	heartbeat.member = wire.member;
	heartbeat.state = (enum nlb_wire_state)wire.state;
	heartbeat.cluster = le64toh(wire.cluster);
	heartbeat.instance = le64toh(wire.instance);
	heartbeat.sequence = le64toh(wire.sequence);
	heartbeat.revision = le64toh(wire.revision);
	heartbeat.digest = le64toh(wire.digest);
	heartbeat.view = le64toh(wire.view);
	heartbeat.hears = le32toh(wire.hears);
	heartbeat.table_count = wire.table_count;
	err = read_tables(bytes + sizeof(wire), &heartbeat);
	if (!err)
		*out = heartbeat;
	return err;
}
