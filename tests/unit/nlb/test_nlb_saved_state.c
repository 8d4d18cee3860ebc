/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A member as bytes: what comes back, and what is refused. That clusters survive moves is
 * test_nlb_cluster.c's.
 */
#include "tests/unit/test_main.h"

#include <errno.h>
#include <string.h>

#include "nlb/nlb_saved_state.h"
#include "tests/unit/nlb/plain_connections.h"

#define SECOND UINT64_C(1000000000)

static struct nlb_cluster cluster;
static struct nlb_member member, arrived;
static struct plain_connections table, arrived_table;

static void init_member(struct nlb_member *to, struct plain_connections *plain, uint8_t id)
{
	struct nlb_member_config config = {.id = id};
	struct nlb_connections connections = plain_connections_init(plain, 8);

	nlb_member_init(to, &cluster, &config, &connections);
}

static struct nlb_packet make_packet(uint16_t client_port, uint8_t flags)
{
	return (struct nlb_packet){.family = 4,
				   .protocol = NLB_IP_TCP,
				   .tcp_flags = flags,
				   .client = {192, 0, 2, 7},
				   .server = {10, 0, 0, 100},
				   .client_port = client_port,
				   .server_port = 80};
}

/* Three connections: opening, established, closing; at 20 s. */
static void make_member(void)
{
	static const uint8_t flags[] = {NLB_TCP_SYN, NLB_TCP_ACK, NLB_TCP_ACK | NLB_TCP_FIN};

	nlb_cluster_init(&cluster);
	cluster.address_count = 1;
	cluster.addresses[0] = (struct nlb_address){4, {10, 0, 0, 100}};
	cluster.rule_count = 1;
	cluster.rules[0] =
		(struct nlb_rule){NLB_TCP, 80, 80, NLB_MULTIPLE, NLB_AFFINITY_NONE, false};
	init_member(&member, &table, 3);
	nlb_member_start(&member, 77, 10 * SECOND);
	nlb_member_advance(&member, 20 * SECOND);
	for (uint16_t c = 0; c < 3; c++)
		for (uint16_t f = 0; f <= c; f++) {
			struct nlb_packet packet = make_packet(c, flags[f]);

			assert_int_equal(nlb_decide(&member.filter, &packet, 20 * SECOND),
					 NLB_ACCEPT);
		}
}

static void save_all(struct state_writer *writer)
{
	uint32_t position = 0;

	state_writer_init(writer);
	nlb_member_save(&member, 20 * SECOND, writer);
	assert_int_equal(nlb_connections_save(&member.filter, 20 * SECOND, 100, &position, writer),
			 3);
	assert_int_equal(position, 0);
	assert_int_equal(state_writer_result(writer), 0);
}

static int restore_all(const void *bytes, size_t length, uint64_t now_ns)
{
	struct state_reader reader, section;
	int err = 0, more;

	state_reader_init(&reader, bytes, length);
	while (!err && (more = state_next(&reader, &section)) != 0) {
		if (more < 0)
			return more;
		err = section.tag == NLB_STATE_MEMBER
			      ? nlb_member_restore(&arrived, &section, now_ns)
			      : nlb_connections_restore(&arrived.filter, &section, now_ns);
	}
	return err;
}

static void member_arrives_as_it_was(void **state)
{
	uint8_t bytes[NLB_HEARTBEAT_MAX_BYTES];
	struct nlb_heartbeat heartbeat;
	struct state_writer writer;

	(void)state;
	make_member();
	assert_true(member.filter.held[0] == NLB_ALL_BUCKETS);
	save_all(&writer);
	init_member(&arrived, &arrived_table, 3);
	assert_int_equal(restore_all(writer.bytes, writer.length, 5 * SECOND), 0);
	assert_int_equal(arrived.mode, NLB_RUNNING);
	assert_false(arrived.is_listening);
	assert_true(arrived.filter.held[0] == NLB_ALL_BUCKETS);
	assert_true(arrived.filter.held[1] == NLB_ALL_BUCKETS);
	assert_int_equal(arrived.filter.connection_count, 3);
	assert_true(arrived.filter.busy[0] == member.filter.busy[0]);
	for (uint16_t c = 0; c < 3; c++) {
		static const uint64_t left[] = {75, 7440, 240};
		struct nlb_packet packet = make_packet(c, NLB_TCP_ACK);

		assert_int_equal(arrived_table.connections[c].phase, c);
		assert_in_range(arrived_table.connections[c].expires_ns, (4 + left[c]) * SECOND,
				(5 + left[c]) * SECOND);
		assert_int_equal(nlb_decide(&arrived.filter, &packet, 5 * SECOND), NLB_ACCEPT);
	}
	/* It goes on as the same one, and says so at once. */
	assert_true(nlb_member_send(&arrived, bytes, 5 * SECOND) > 0);
	assert_int_equal(nlb_heartbeat_read(bytes, sizeof(bytes), &heartbeat), 0);
	assert_true(heartbeat.instance == 77);
	assert_true(heartbeat.sequence > member.sequence);
	state_writer_fini(&writer);
}

static void other_members_state_is_refused(void **state)
{
	struct state_writer writer;

	(void)state;
	make_member();
	save_all(&writer);
	init_member(&arrived, &arrived_table, 4);
	assert_int_equal(restore_all(writer.bytes, writer.length, 5 * SECOND), -EINVAL);
	cluster.rules[0].last_port++;
	init_member(&arrived, &arrived_table, 3);
	assert_int_equal(restore_all(writer.bytes, writer.length, 5 * SECOND), -EINVAL);
	assert_int_equal(arrived.mode, NLB_STOPPED);
	assert_true(arrived.filter.held[0] == 0);
	/* It can still be started. */
	assert_int_equal(nlb_member_start(&arrived, 78, 5 * SECOND), 0);
	state_writer_fini(&writer);
}

/* Each byte in turn is made another one, and the end is cut off: it is refused, or sound. */
static void broken_state_is_refused_or_sound(void **state)
{
	uint32_t refused = 0;
	struct state_writer writer;

	(void)state;
	make_member();
	save_all(&writer);
	for (size_t at = 0; at < 2 * writer.length; at++) {
		uint8_t *byte = &writer.bytes[at % writer.length];
		bool is_cut = at >= writer.length;
		uint32_t connections = 0;

		init_member(&arrived, &arrived_table, 3);
		*byte ^= is_cut ? 0 : 0xff;
		refused += restore_all(writer.bytes, is_cut ? at - writer.length : writer.length,
				       5 * SECOND) != 0;
		*byte ^= is_cut ? 0 : 0xff;
		assert_false(arrived.filter.held[0] & ~NLB_ALL_BUCKETS);
		assert_true(arrived.mode <= NLB_DRAINING);
		for (uint32_t b = 0; b < NLB_BUCKETS; b++)
			connections += arrived.filter.counts[0][b] + arrived.filter.counts[1][b];
		assert_int_equal(connections, arrived_table.count);
		assert_int_equal(connections, arrived.filter.connection_count);
	}
	assert_true(refused > writer.length);
	state_writer_fini(&writer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(member_arrives_as_it_was),
		cmocka_unit_test(other_members_state_is_refused),
		cmocka_unit_test(broken_state_is_refused_or_sound),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
