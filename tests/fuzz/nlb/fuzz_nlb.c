/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A set-up out of any bytes; then, to a member of one that is sound, heartbeats (as they come, and
 * ones that get past the first checks), packets, commands and time, in any order. What must hold
 * all along is in check().
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "nlb/nlb_saved_state.h"
#include "tests/unit/nlb/plain_connections.h"

#define MS	   UINT64_C(1000000)
#define MAX_RULES  4u
#define RULE_BYTES 8u
#define HEAD_BYTES (8u + MAX_RULES * RULE_BYTES)

struct input {
	const uint8_t *bytes;
	size_t length;
};

static struct nlb_member member;
static struct plain_connections table;
static uint64_t now;
static uint64_t sent_until_ns; /* within this interval, so many */
static uint32_t sent;
static uint64_t sequence;

static uint8_t take_byte(struct input *input)
{
	if (input->length == 0)
		return 0;
	input->length--;
	return *input->bytes++;
}

static void read_cluster(const uint8_t *bytes, struct nlb_cluster *cluster)
{
	nlb_cluster_init(cluster);
	cluster->address_count = bytes[0] % 4;
	cluster->addresses[0] = (struct nlb_address){bytes[1] & 4, {10, 0, 0, bytes[2]}};
	cluster->addresses[1] = (struct nlb_address){6, {0xfd, [15] = bytes[2]}};
	cluster->mac_mode = (enum nlb_mac_mode)(bytes[3] % 4);
	cluster->rule_count = bytes[4] % (MAX_RULES + 1);
	cluster->interval_ms = get_le16(bytes + 5);
	cluster->misses = bytes[7];
	for (uint32_t i = 0; i < cluster->rule_count; i++) {
		const uint8_t *rule = bytes + 8 + i * RULE_BYTES;

		cluster->rules[i] = (struct nlb_rule){(enum nlb_protocol)(rule[0] & 3),
						      get_le16(rule + 1),
						      get_le16(rule + 3),
						      (enum nlb_filtering)(rule[5] & 3),
						      (enum nlb_affinity)(rule[6] & 3),
						      rule[7] & 1};
	}
}

static void start(const struct nlb_cluster *cluster, uint8_t id)
{
	struct nlb_connections connections = plain_connections_init(&table, 16);
	struct nlb_member_config config = {.id = (uint8_t)(1 + id % NLB_MAX_MEMBERS)};
	char message[NLB_MESSAGE_BYTES];
	uint8_t mac[6];

	for (uint32_t i = 0; i < cluster->rule_count; i++)
		if (cluster->rules[i].filtering == NLB_SINGLE || cluster->rules[i].weighted)
			config.shares[i] = 1;
	if (nlb_member_config_check(cluster, &config, message) < 0)
		abort();
	nlb_cluster_mac(cluster, mac);
	nlb_member_init(&member, cluster, &config, &connections);
	now = 1000 * MS;
	sent = 0;
	sent_until_ns = 0;
	sequence = 0;
	nlb_member_start(&member, now, now);
}

static void receive_raw(struct input *input)
{
	size_t length = take_byte(input);
	uint8_t copy[255];

	length = length < input->length ? length : input->length;
	memcpy(copy, input->bytes, length);
	input->bytes += length;
	input->length -= length;
	nlb_member_receive(&member, copy, length, now);
}

static uint64_t take_buckets(struct input *input)
{
	uint8_t first = take_byte(input);

	return first ? (UINT64_C(0x0101010101010101) * take_byte(input) << first % 8) &
			       NLB_ALL_BUCKETS
		     : 0;
}

static void receive_sound(struct input *input)
{
	uint8_t flags = take_byte(input);
	struct nlb_heartbeat heartbeat = {
		.member = (uint8_t)(1 + take_byte(input) % NLB_MAX_MEMBERS),
		.state = (enum nlb_wire_state)(flags % NLB_WIRE_STATE_COUNT),
		.cluster = member.cluster_id,
		.instance = 1000 * MS - 2 + (flags >> 3 & 3),
		.sequence = ++sequence,
		.revision = take_byte(input),
		.digest = member.digest + (flags >> 5 & 1),
		.view = flags & 0x40 ? member.view : 0,
		.hears = flags & 0x80 ? UINT32_MAX : 0,
		.table_count = member.cluster.rule_count + 1,
	};
	uint8_t bytes[NLB_HEARTBEAT_MAX_BYTES];

	for (uint32_t t = 0; t < heartbeat.table_count; t++) {
		heartbeat.tables[t].held = take_buckets(input);
		heartbeat.tables[t].busy = take_buckets(input);
		heartbeat.tables[t].share = take_byte(input) % 101;
	}
	nlb_member_receive(&member, bytes, nlb_heartbeat_write(&heartbeat, bytes), now);
}

static void receive_packet(struct input *input)
{
	uint16_t ether_type = take_byte(input) & 1 ? 0x86dd : 0x0800;
	size_t length = take_byte(input);
	struct nlb_packet packet;
	uint8_t copy[255];

	length = length < input->length ? length : input->length;
	memcpy(copy, input->bytes, length);
	input->bytes += length;
	input->length -= length;
	if (nlb_packet_parse(ether_type, copy, length, &packet) == 0)
		nlb_decide(&member.filter, &packet, now);
}

static void decide(struct input *input)
{
	uint8_t kind = take_byte(input);
	struct nlb_packet packet = {.family = member.cluster.addresses[0].family,
				    .protocol = kind & 1 ? NLB_IP_TCP : NLB_IP_UDP,
				    .is_error = kind & 2,
				    .tcp_flags = take_byte(input),
				    .client = {192, 0, 2, take_byte(input)},
				    .client_port = take_byte(input),
				    .server_port = member.cluster.rules[kind >> 4 & 3].first_port};

	memcpy(packet.server, member.cluster.addresses[0].bytes, sizeof(packet.server));
	nlb_decide(&member.filter, &packet, now);
}

static void command(struct input *input)
{
	struct nlb_member_config config = member.config;
	struct nlb_cluster cluster = member.cluster;
	uint8_t what = take_byte(input);

	switch (what & 7) {
	case 0:
		nlb_member_start(&member, now, now);
		break;
	case 1:
		nlb_member_stop(&member, now);
		break;
	case 2:
		nlb_member_drain(&member, now);
		break;
	case 3:
		nlb_member_suspend(&member, now);
		break;
	case 4:
		nlb_member_resume(&member);
		break;
	case 5:
		nlb_member_lost(&member, (uint8_t)(1 + (what >> 3)), now);
		break;
	case 6:
		nlb_member_announce(&member, now);
		cluster.rules[what >> 6].affinity = NLB_AFFINITY_NONE; /* at least as sound */
		nlb_member_set_rules(&member, &cluster, &config, now);
		break;
	default:
		for (uint32_t i = 0; i < NLB_MAX_RULES; i++)
			if (config.shares[i])
				config.shares[i] = (uint8_t)(1 + (what >> 3));
		nlb_member_set_shares(&member, &config, now);
		break;
	}
}

static void let_time_pass(struct input *input)
{
	uint8_t bytes[NLB_HEARTBEAT_MAX_BYTES];
	struct nlb_heartbeat heartbeat;
	size_t length;

	now += (1u + take_byte(input)) * (1u + take_byte(input)) * MS;
	nlb_member_advance(&member, now);
	if (now >= sent_until_ns) {
		sent_until_ns = now + member.cluster.interval_ms * MS;
		sent = 0;
	}
	while ((length = nlb_member_send(&member, bytes, now)) > 0)
		if (++sent > 40 || nlb_heartbeat_read(bytes, length, &heartbeat) < 0)
			abort();
	if (nlb_member_due(&member) <= now)
		abort();
}

/* What was saved, with some bytes of it made others, or cut; sometimes as it was. */
static void move(struct input *input)
{
	struct nlb_cluster cluster = member.cluster;
	struct nlb_member_config config = member.config;
	struct state_reader reader, section;
	struct nlb_connections connections;
	struct state_writer writer;
	uint32_t position = 0;
	bool is_broken = false;

	state_writer_init(&writer);
	nlb_member_save(&member, now, &writer);
	nlb_connections_save(&member.filter, now, 100, &position, &writer);
	if (state_writer_result(&writer) < 0)
		abort();
	for (uint32_t changes = take_byte(input) % 4; changes > 0; changes--) {
		writer.bytes[take_byte(input) * 256u % writer.length] ^= take_byte(input);
		writer.bytes[take_byte(input) % writer.length] = take_byte(input);
		is_broken = true;
	}
	connections = plain_connections_init(&table, 16);
	nlb_member_init(&member, &cluster, &config, &connections);
	state_reader_init(&reader, writer.bytes, writer.length);
	while (state_next(&reader, &section) == 1) {
		int err = section.tag == NLB_STATE_MEMBER
				  ? nlb_member_restore(&member, &section, now)
				  : nlb_connections_restore(&member.filter, &section, now);

		if (err && !is_broken)
			abort();
	}
	state_writer_fini(&writer);
	/* Who comes back announces itself; not to be counted among what is sent too often. */
	sent_until_ns = 0;
}

static void check(void)
{
	char text[NLB_TROUBLE_BYTES];
	uint32_t connections = 0;

	for (uint32_t t = 0; t < NLB_MAX_TABLES; t++) {
		if ((member.filter.held[t] & ~NLB_ALL_BUCKETS) ||
		    (member.filter.held[t] && t > member.cluster.rule_count) ||
		    (member.filter.held[t] && member.mode != NLB_RUNNING))
			abort();
		for (uint32_t b = 0; b < NLB_BUCKETS; b++) {
			connections += member.filter.counts[t][b];
			if ((member.filter.busy[t] >> b & 1) != (member.filter.counts[t][b] > 0))
				abort();
		}
	}
	if (connections != member.filter.connection_count || connections != table.count)
		abort();
	if (strlen(nlb_member_trouble(&member, now, text)) >= NLB_TROUBLE_BYTES - 1)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = {.bytes = data, .length = size};
	char message[NLB_MESSAGE_BYTES];
	struct nlb_cluster cluster;

	if (size < HEAD_BYTES + 1)
		return 0;
	read_cluster(data, &cluster);
	if (nlb_cluster_check(&cluster, message) < 0)
		return 0;
	input.bytes += HEAD_BYTES;
	input.length -= HEAD_BYTES;
	start(&cluster, take_byte(&input));
	while (input.length > 0) {
		switch (take_byte(&input) % 8) {
		case 0:
			receive_raw(&input);
			break;
		case 1:
		case 2:
			receive_sound(&input);
			break;
		case 3:
			receive_packet(&input);
			break;
		case 4:
			decide(&input);
			break;
		case 5:
			command(&input);
			break;
		case 6:
			move(&input);
			break;
		default:
			let_time_pass(&input);
			break;
		}
		check();
	}
	return 0;
}
