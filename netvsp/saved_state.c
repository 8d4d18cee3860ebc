/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A vNIC's sections. Each is written and read by a pair of functions that stand together, fields in
 * the same order. What is appended to a section later is read with a fallback, for bytes of an
 * older version.
 */
#include "netvsp/saved_state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/state.h"

#define TAG_NIC	     STATE_TAG('N', 'I', 'C', '_')
#define TAG_NVSP     STATE_TAG('N', 'V', 'S', 'P')
#define TAG_RNDIS    STATE_TAG('R', 'N', 'D', 'S')
#define TAG_HELD     STATE_TAG('H', 'E', 'L', 'D')
#define TAG_MESSAGES STATE_TAG('C', 'T', 'R', 'L')
#define TAG_COUNTERS STATE_TAG('S', 'T', 'A', 'T')
#define TAG_VLANS    STATE_TAG('V', 'L', 'A', 'N')
#define TAG_PORTALS  STATE_TAG('P', 'R', 'T', 'L')

#define VERSION	   1 /* of every section */
#define HELD_BYTES 8

#define OFFLOAD_TX_CHECKSUM 0x01u
#define OFFLOAD_RX_CHECKSUM 0x02u
#define OFFLOAD_LSO4	    0x04u
#define OFFLOAD_LSO6	    0x08u
#define OFFLOAD_RSC4	    0x10u
#define OFFLOAD_RSC6	    0x20u
#define OFFLOAD_ALL	    0x3fu

static bool get_bool(struct state_reader *section)
{
	uint8_t value = state_get_u8(section);

	if (value > 1)
		section->error = -EPROTO;
	return value == 1;
}

static void get_copy(struct state_reader *section, void *to, size_t length)
{
	const void *bytes = state_get_bytes(section, length);

	if (bytes && length)
		memcpy(to, bytes, length);
}

/* ---- the vNIC ---- */

static void write_nic(const struct saved_nic *saved, struct state_writer *writer)
{
	state_begin(writer, TAG_NIC, VERSION, VERSION);
	state_put_bytes(writer, saved->mac, sizeof(saved->mac));
	state_put_u64(writer, saved->open_channels);
	state_end(writer);
}

static int read_nic(struct saved_nic *saved, struct state_reader *section)
{
	get_copy(section, saved->mac, sizeof(saved->mac));
	saved->open_channels = state_get_u64(section);
	/* There is no sub-channel without the primary. */
	return saved->open_channels && !(saved->open_channels & 1) ? -EINVAL : 0;
}

/* ---- NVSP ---- */

static void write_nvsp(const struct saved_nic *saved, struct state_writer *writer)
{
	const struct nvsp_saved *nvsp = &saved->nvsp;

	state_begin(writer, TAG_NVSP, VERSION, VERSION);
	state_put_u32(writer, nvsp->version);
	state_put_u32(writer, nvsp->mtu);
	state_put_u64(writer, nvsp->capabilities);
	state_put_u32(writer, nvsp->granted);
	state_put_u8(writer, nvsp->table_sent);
	for (size_t i = 0; i < ARRAY_LENGTH(nvsp->layouts); i++) {
		const struct nvsp_layout *layout = &nvsp->layouts[i];

		state_put_u8(writer, nvsp->attached[i]);
		if (!nvsp->attached[i])
			continue;
		state_put_u32(writer, layout->gpadl_id);
		state_put_u16(writer, layout->id);
		state_put_u32(writer, layout->section_bytes);
		state_put_u32(writer, layout->section_count);
	}
	state_end(writer);
}

static int read_nvsp(struct saved_nic *saved, struct state_reader *section)
{
	struct nvsp_saved *nvsp = &saved->nvsp;

	nvsp->version = state_get_u32(section);
	nvsp->mtu = state_get_u32(section);
	nvsp->capabilities = state_get_u64(section);
	nvsp->granted = state_get_u32(section);
	nvsp->table_sent = get_bool(section);
	for (size_t i = 0; i < ARRAY_LENGTH(nvsp->layouts); i++) {
		struct nvsp_layout *layout = &nvsp->layouts[i];

		nvsp->attached[i] = get_bool(section);
		if (!nvsp->attached[i])
			continue;
		layout->gpadl_id = state_get_u32(section);
		layout->id = state_get_u16(section);
		layout->section_bytes = state_get_u32(section);
		layout->section_count = state_get_u32(section);
	}
	return nvsp->granted < NVSP_MAX_CHANNELS ? 0 : -EINVAL;
}

/* ---- RNDIS ---- */

static uint8_t offload_bits(const struct rndis_offload_state *offloads)
{
	return (uint8_t)((offloads->tx_checksum ? OFFLOAD_TX_CHECKSUM : 0) |
			 (offloads->rx_checksum ? OFFLOAD_RX_CHECKSUM : 0) |
			 (offloads->lso4 ? OFFLOAD_LSO4 : 0) | (offloads->lso6 ? OFFLOAD_LSO6 : 0) |
			 (offloads->rsc4 ? OFFLOAD_RSC4 : 0) | (offloads->rsc6 ? OFFLOAD_RSC6 : 0));
}

static void write_rndis(const struct saved_nic *saved, struct state_writer *writer)
{
	const struct rndis_saved *rndis = &saved->rndis;

	state_begin(writer, TAG_RNDIS, VERSION, VERSION);
	state_put_u8(writer, (uint8_t)rndis->state);
	state_put_u32(writer, rndis->packet_filter);
	state_put_bytes(writer, rndis->address, sizeof(rndis->address));
	state_put_u8(writer, rndis->link_up);
	state_put_u32(writer, rndis->link_speed_mbps);
	state_put_u8(writer, offload_bits(&rndis->offloads));
	state_put_u8(writer, rndis->rss.enabled);
	state_put_u32(writer, rndis->rss.hash_types);
	state_put_bytes(writer, rndis->rss.key, sizeof(rndis->rss.key));
	state_put_u16(writer, rndis->rss.table_entries);
	for (uint16_t i = 0; i < rndis->rss.table_entries; i++)
		state_put_u16(writer, rndis->rss.table[i]);
	state_put_u32(writer, (uint32_t)rndis->multicast_count);
	state_put_bytes(writer, rndis->multicast, rndis->multicast_count * 6);
	state_end(writer);
}

static int read_rndis(struct saved_nic *saved, struct state_reader *section)
{
	struct rndis_saved *rndis = &saved->rndis;
	uint8_t state = state_get_u8(section);
	uint8_t bits;

	rndis->packet_filter = state_get_u32(section);
	get_copy(section, rndis->address, sizeof(rndis->address));
	rndis->link_up = get_bool(section);
	rndis->link_speed_mbps = state_get_u32(section);
	bits = state_get_u8(section);
	rndis->rss.enabled = get_bool(section);
	rndis->rss.hash_types = state_get_u32(section);
	get_copy(section, rndis->rss.key, sizeof(rndis->rss.key));
	rndis->rss.table_entries = state_get_u16(section);
	if (state > RNDIS_STATE_OPERATIONAL || (bits & ~OFFLOAD_ALL) ||
	    rndis->rss.table_entries > NDIS_RSS_TABLE_ENTRIES)
		return -EINVAL;
	for (uint16_t i = 0; i < rndis->rss.table_entries; i++)
		rndis->rss.table[i] = state_get_u16(section);
	rndis->multicast_count = state_get_bounded(section, RNDIS_MAX_MULTICAST);
	get_copy(section, rndis->multicast, rndis->multicast_count * 6);
	rndis->state = (enum rndis_state)state;
	rndis->offloads = (struct rndis_offload_state){
		.tx_checksum = bits & OFFLOAD_TX_CHECKSUM,
		.rx_checksum = bits & OFFLOAD_RX_CHECKSUM,
		.lso4 = bits & OFFLOAD_LSO4,
		.lso6 = bits & OFFLOAD_LSO6,
		.rsc4 = bits & OFFLOAD_RSC4,
		.rsc6 = bits & OFFLOAD_RSC6,
	};
	return 0;
}

/* ---- what the guest holds of the receive buffer ---- */

static void write_held(const struct saved_nic *saved, struct state_writer *writer)
{
	state_begin(writer, TAG_HELD, VERSION, VERSION);
	state_put_u32(writer, saved->held_count);
	for (uint32_t i = 0; i < saved->held_count; i++) {
		state_put_u32(writer, saved->held[i].section);
		state_put_u16(writer, saved->held[i].sub_index);
		state_put_u16(writer, saved->held[i].id);
	}
	state_end(writer);
}

static int read_held(struct saved_nic *saved, struct state_reader *section)
{
	uint32_t count = state_get_bounded(section, SAVED_MAX_HELD);

	if (saved->held || state_left(section) / HELD_BYTES < count)
		return -EPROTO;
	saved->held = calloc(count ? count : 1, sizeof(*saved->held));
	if (!saved->held)
		return -ENOMEM;
	for (; saved->held_count < count; saved->held_count++) {
		struct held_section *held = &saved->held[saved->held_count];

		held->section = state_get_u32(section);
		held->sub_index = state_get_u16(section);
		held->id = state_get_u16(section);
		if (held->sub_index >= NVSP_MAX_CHANNELS)
			return -EINVAL;
	}
	return 0;
}

/* ---- messages that wait for room ---- */

static void write_messages(const struct saved_nic *saved, struct state_writer *writer)
{
	state_begin(writer, TAG_MESSAGES, VERSION, VERSION);
	state_put_u32(writer, saved->message_count);
	for (uint32_t i = 0; i < saved->message_count; i++) {
		state_put_u8(writer, saved->messages[i].is_rndis);
		state_put_blob(writer, saved->messages[i].bytes, saved->messages[i].length);
	}
	state_end(writer);
}

static int read_messages(struct saved_nic *saved, struct state_reader *section)
{
	uint32_t count = state_get_bounded(section, SAVED_MAX_MESSAGES);

	if (saved->messages)
		return -EPROTO;
	saved->messages = calloc(count ? count : 1, sizeof(*saved->messages));
	if (!saved->messages)
		return -ENOMEM;
	for (; saved->message_count < count && !section->error; saved->message_count++) {
		struct saved_message *message = &saved->messages[saved->message_count];
		const void *bytes;
		size_t length = 0;

		message->is_rndis = get_bool(section);
		bytes = state_get_blob(section, sizeof(message->bytes), &length);
		if (!bytes)
			return section->error ? section->error : -EPROTO;
		memcpy(message->bytes, bytes, length);
		message->length = (uint32_t)length;
	}
	return 0;
}

/* ---- what can be left out ---- */

static void write_counters(const struct saved_nic *saved, struct state_writer *writer)
{
	const struct switch_port_counters *counters = &saved->counters;

	state_begin(writer, TAG_COUNTERS, VERSION, STATE_SKIPPABLE);
	state_put_u64(writer, counters->in_packets);
	state_put_u64(writer, counters->in_bytes);
	state_put_u64(writer, counters->in_spoofed);
	state_put_u64(writer, counters->in_malformed);
	state_put_u64(writer, counters->in_dropped);
	state_put_u64(writer, counters->out_packets);
	state_put_u64(writer, counters->out_bytes);
	state_put_u64(writer, counters->out_dropped);
	state_end(writer);
}

static int read_counters(struct saved_nic *saved, struct state_reader *section)
{
	struct switch_port_counters *counters = &saved->counters;

	counters->in_packets = state_get_u64(section);
	counters->in_bytes = state_get_u64(section);
	counters->in_spoofed = state_get_u64(section);
	counters->in_malformed = state_get_u64(section);
	counters->in_dropped = state_get_u64(section);
	counters->out_packets = state_get_u64(section);
	counters->out_bytes = state_get_u64(section);
	counters->out_dropped = state_get_u64(section);
	return 0;
}

static void write_vlans(const struct saved_nic *saved, struct state_writer *writer)
{
	state_begin(writer, TAG_VLANS, VERSION, STATE_SKIPPABLE);
	state_put_u32(writer, saved->vlan_count);
	for (uint32_t i = 0; i < saved->vlan_count; i++)
		state_put_u16(writer, saved->vlans[i]);
	state_end(writer);
}

static int read_vlans(struct saved_nic *saved, struct state_reader *section)
{
	saved->vlan_count = state_get_bounded(section, SAVED_MAX_VLANS);
	for (uint32_t i = 0; i < saved->vlan_count; i++) {
		saved->vlans[i] = state_get_u16(section);
		if (saved->vlans[i] == 0 || saved->vlans[i] > 4095)
			return -EINVAL;
	}
	return 0;
}

static void write_portals(const struct saved_nic *saved, struct state_writer *writer)
{
	state_begin(writer, TAG_PORTALS, VERSION, STATE_SKIPPABLE);
	state_put_u32(writer, saved->portal_count);
	for (uint32_t i = 0; i < saved->portal_count; i++) {
		const struct vsp_portal *portal = &saved->portals[i];

		state_put_bytes(writer, portal->address, sizeof(portal->address));
		state_put_bytes(writer, portal->next_hop, sizeof(portal->next_hop));
		state_put_u16(writer, portal->port);
		state_put_u16(writer, portal->vlan);
	}
	state_end(writer);
}

static int read_portals(struct saved_nic *saved, struct state_reader *section)
{
	saved->portal_count = state_get_bounded(section, VSP_MAX_PORTALS);
	for (uint32_t i = 0; i < saved->portal_count; i++) {
		struct vsp_portal *portal = &saved->portals[i];

		get_copy(section, portal->address, sizeof(portal->address));
		get_copy(section, portal->next_hop, sizeof(portal->next_hop));
		portal->port = state_get_u16(section);
		portal->vlan = state_get_u16(section);
	}
	return 0;
}

/* ---- all of them ---- */

void saved_nic_write(const struct saved_nic *saved, struct state_writer *writer)
{
	write_nic(saved, writer);
	write_nvsp(saved, writer);
	write_rndis(saved, writer);
	write_held(saved, writer);
	write_messages(saved, writer);
	write_counters(saved, writer);
	write_vlans(saved, writer);
	write_portals(saved, writer);
}

struct section_kind {
	uint32_t tag;
	bool required;
	int (*read)(struct saved_nic *saved, struct state_reader *section);
};

static const struct section_kind section_kinds[] = {
	{TAG_NIC, true, read_nic},	     {TAG_NVSP, true, read_nvsp},
	{TAG_RNDIS, true, read_rndis},	     {TAG_HELD, true, read_held},
	{TAG_MESSAGES, true, read_messages}, {TAG_COUNTERS, false, read_counters},
	{TAG_VLANS, false, read_vlans},	     {TAG_PORTALS, false, read_portals},
};

/* One section into saved; its bit into *seen. */
static int read_section(struct saved_nic *saved, struct state_reader *section, unsigned int *seen)
{
	int err;

	for (unsigned int i = 0; i < ARRAY_LENGTH(section_kinds); i++) {
		if (section_kinds[i].tag != section->tag)
			continue;
		err = state_check_version(section, VERSION);
		if (!err && (*seen & 1u << i))
			err = -EPROTO;
		if (!err)
			err = section_kinds[i].read(saved, section);
		*seen |= 1u << i;
		return section->error ? section->error : err;
	}
	return state_check_skippable(section);
}

int saved_nic_read(struct saved_nic *saved, const void *bytes, size_t length)
{
	struct state_reader reader, section;
	struct saved_nic made = {0};
	unsigned int seen = 0;
	int err = 0, rc = 0;

	state_reader_init(&reader, bytes, length);
	while (!err && (rc = state_next(&reader, &section)) > 0)
		err = read_section(&made, &section, &seen);
	if (!err)
		err = rc;
	for (unsigned int i = 0; !err && i < ARRAY_LENGTH(section_kinds); i++)
		if (section_kinds[i].required && !(seen & 1u << i))
			err = -EPROTO;
	if (err) {
		saved_nic_fini(&made);
		return err;
	}
	*saved = made;
	return 0;
}

void saved_nic_fini(struct saved_nic *saved)
{
	free(saved->held);
	free(saved->messages);
	*saved = (struct saved_nic){0};
}
