/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A team of two ports beside the fixture's own uplink. Its members are rings, whose far ends this
 * test holds: what leaves by a member is what is found in its ring.
 */
#include "tests/unit/test_main.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <rte_eth_ring.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <rte_ring.h>

#include "base/deadline.h"
#include "netvsp/data_path.h"
#include "netvsp/team.h"
#include "netvsp/uplink.h"
#include "netvsp/worker.h"
#include "tests/unit/netvsp/frames.h"
#include "tests/unit/netvsp/netvspd_fixture.h"

#define WAIT_MS	      20000
#define RING_ENTRIES  1024
#define SOME_LOOKS_MS 300 /* in which the driver looks at its members' links some times */
#define FLOWS	      64
#define MEMBERS	      2

static const struct fake_netvsc_config driver = {.flavour = FAKE_LINUX, .mtu = 1500};
static const uint8_t far_host[6] = {0x02, 0, 0, 0, 0x77, 0x01};

struct member {
	char name[40]; /* of its port */
	uint16_t port_id;
	struct rte_ring *out; /* of us, to the network */
	struct rte_ring *in;
	unsigned int frames; /* that left by it */
};

static struct member members[MEMBERS];

/* DPDK's libraries are not instrumented: the thread sanitizer does not see how they order what they
 * share between their threads. */
const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void)
{
	return "called_from_lib:librte_net_bond.so\ncalled_from_lib:librte_eal.so\n"
	       "called_from_lib:librte_ethdev.so\n";
}

/* The bonding driver gives its members one address; net_ring refuses any, though it takes every
 * frame. This one stands before DPDK's for the whole process. */
int rte_eth_dev_default_mac_addr_set(uint16_t port_id, struct rte_ether_addr *address)
{
	(void)address;
	return rte_eth_dev_is_valid_port(port_id) ? 0 : -ENODEV;
}

static void members_make(void)
{
	static unsigned int number;

	for (unsigned int i = 0; i < MEMBERS; i++, number++) {
		struct member *member = &members[i];
		char name[24];
		int port_id;

		*member = (struct member){0};
		snprintf(name, sizeof(name), "team_out_%u", number);
		member->out = rte_ring_create(name, RING_ENTRIES, 0, 0);
		snprintf(name, sizeof(name), "team_in_%u", number);
		member->in = rte_ring_create(name, RING_ENTRIES, 0, 0);
		assert_true(member->out && member->in);
		snprintf(name, sizeof(name), "member%u", number);
		port_id = rte_eth_from_rings(name, &member->in, 1, &member->out, 1, 0);
		assert_true(port_id >= 0);
		member->port_id = (uint16_t)port_id;
		snprintf(member->name, sizeof(member->name), "net_ring_%s", name);
	}
}

static void ring_empty(struct rte_ring *ring)
{
	void *mbuf;

	while (rte_ring_dequeue(ring, &mbuf) == 0)
		rte_pktmbuf_free(mbuf);
}

static void members_free(void)
{
	for (unsigned int i = 0; i < MEMBERS; i++) {
		ring_empty(members[i].out);
		ring_empty(members[i].in);
		rte_ring_free(members[i].out);
		rte_ring_free(members[i].in);
	}
}

/* Counts what has left by each member and is the guest's. */
static void members_look(struct test_guest *guest)
{
	for (unsigned int i = 0; i < MEMBERS; i++) {
		void *mbuf;

		while (rte_ring_dequeue(members[i].out, &mbuf) == 0) {
			const uint8_t *bytes = rte_pktmbuf_mtod((struct rte_mbuf *)mbuf, uint8_t *);

			members[i].frames += memcmp(bytes + 6, test_guest_mac(guest), 6) == 0;
			rte_pktmbuf_free(mbuf);
		}
	}
}

static void guest_send(struct test_guest *guest, uint16_t source_port)
{
	uint8_t frame[FRAME_MAX];
	struct frame_spec spec = {.source_port = source_port,
				  .destination_port = 2000,
				  .tcp_flags = 0x18,
				  .payload_bytes = 64,
				  .checksums = true};
	struct fake_tx tx = {.frame = frame};
	int rc = -EAGAIN;

	memcpy(spec.source, test_guest_mac(guest), 6);
	memcpy(spec.destination, far_host, 6);
	tx.length = frame_build(&spec, frame);
	for (int i = 0; i < 1000 && rc == -EAGAIN; i++) {
		rc = fake_netvsc_send(test_guest_driver(guest), 0, FAKE_PAGES, &tx, 1);
		if (rc == -EAGAIN)
			fake_netvsc_poll(test_guest_driver(guest), 10);
	}
	assert_int_equal(rc, 0);
}

/* One frame of each flow; returns once the fixture's own uplink, which gets them too, has had all:
 * then the team has had its turn. */
static void send_flows(void **state, struct test_guest *guest, unsigned int flows)
{
	uint8_t seen[FRAME_MAX];

	for (unsigned int i = 0; i < flows; i++) {
		guest_send(guest, (uint16_t)(1000 + i));
		assert_true(wire_take(*state, seen, sizeof(seen), WAIT_MS) > 0);
	}
	members_look(guest);
}

struct bench {
	struct team *team;
	struct uplink *uplink;
	struct test_guest *guest;
};

static struct bench bench_start(void **state, enum team_mode mode)
{
	struct team_config config = {.mode = mode, .count = MEMBERS};
	struct deadline deadline = deadline_in_ms(WAIT_MS);
	struct team_info info;
	struct bench bench;
	const char *bad;

	members_make();
	for (unsigned int i = 0; i < MEMBERS; i++)
		config.members[i] = members[i].name;
	assert_int_equal(team_create(0, &config, &bench.team, &bad), 0);
	assert_null(bad);
	assert_int_equal(uplink_create(netvspd_data_path(*state), team_port_name(bench.team), NULL,
				       &bench.uplink),
			 0);
	do /* links are looked at every now and then */
		team_get_info(bench.team, &info);
	while ((!info.members[0].link_up || !info.members[1].link_up ||
		!(info.members[0].carries || info.members[1].carries)) &&
	       !deadline_passed(deadline));
	assert_true(info.members[0].carries || info.members[1].carries);
	team_has_changed(bench.team);
	bench.guest = test_guest_start(*state, "a/nic0", 1, &driver, 0);
	assert_non_null(bench.guest);
	return bench;
}

static void bench_stop(struct bench *bench)
{
	test_guest_stop(bench->guest);
	uplink_destroy(bench->uplink);
	team_destroy(bench->team);
	members_free();
}

/* The link of the member that carries is lost; returns when the other carries. */
static void cut(struct bench *bench, unsigned int active)
{
	struct deadline deadline = deadline_in_ms(WAIT_MS);
	struct team_info info;
	bool changed = false;

	assert_int_equal(rte_eth_dev_set_link_down(members[active].port_id), 0);
	do {
		changed = team_has_changed(bench->team) || changed;
		team_get_info(bench->team, &info);
		assert_false(deadline_passed(deadline));
	} while (!info.members[!active].carries);
	assert_true(changed || team_has_changed(bench->team));
	team_has_changed(bench->team);
	assert_false(info.members[active].link_up);
	assert_false(info.members[active].carries);
}

static void another_member_takes_over_when_the_link_is_lost(void **state)
{
	struct bench bench = bench_start(state, TEAM_ACTIVE_BACKUP);
	struct team_info info;
	unsigned int active;

	team_get_info(bench.team, &info);
	assert_int_equal(info.count, MEMBERS);
	assert_int_equal(info.members[0].carries + info.members[1].carries, 1);
	active = info.members[0].carries ? 0 : 1;
	send_flows(state, bench.guest, FLOWS);
	assert_int_equal(members[active].frames, FLOWS);
	assert_int_equal(members[!active].frames, 0);
	assert_false(team_has_changed(bench.team));

	cut(&bench, active);
	send_flows(state, bench.guest, FLOWS);
	assert_int_equal(members[active].frames, FLOWS);
	assert_int_equal(members[!active].frames, FLOWS);

	/* What comes back does not take over by itself, since each change costs frames; but it is
	 * there when it is needed. */
	assert_int_equal(rte_eth_dev_set_link_up(members[active].port_id), 0);
	for (struct deadline look = deadline_in_ms(SOME_LOOKS_MS); !deadline_passed(look);)
		assert_false(team_has_changed(bench.team));
	cut(&bench, !active);
	send_flows(state, bench.guest, FLOWS);
	assert_int_equal(members[active].frames, 2 * FLOWS);
	bench_stop(&bench);
}

struct arrival {
	struct data_path *path;
	struct rte_ring *ring;
	const uint8_t *frame;
	size_t length;
	bool done;
};

/* On the worker's thread, whose buffers these are. */
static void arrive(void *ctx)
{
	struct arrival *arrival = ctx;
	struct rte_mbuf *mbuf = rte_pktmbuf_alloc(arrival->path->pools.small);
	char *room = mbuf ? rte_pktmbuf_append(mbuf, (uint16_t)arrival->length) : NULL;

	if (room)
		memcpy(room, arrival->frame, arrival->length);
	arrival->done = room && rte_ring_enqueue(arrival->ring, mbuf) == 0;
}

static void frames_come_in_by_the_member_that_carries(void **state)
{
	struct bench bench = bench_start(state, TEAM_ACTIVE_BACKUP);
	const struct test_frame *got;
	struct frame_spec spec = {
		.source_port = 1, .destination_port = 2, .payload_bytes = 20, .checksums = true};
	uint8_t frame[FRAME_MAX];
	struct arrival arrival = {.path = netvspd_data_path(*state), .frame = frame};
	struct team_info info;
	size_t length;

	team_get_info(bench.team, &info);
	memcpy(spec.source, far_host, 6);
	memcpy(spec.destination, test_guest_mac(bench.guest), 6);
	length = frame_build(&spec, frame);
	arrival.length = length;
	arrival.ring = members[info.members[0].carries ? 0 : 1].in;
	worker_call(arrival.path->worker, arrive, &arrival);
	assert_true(arrival.done);
	got = test_guest_take(bench.guest, WAIT_MS);
	assert_non_null(got);
	assert_memory_equal(got->bytes, frame, length);
	bench_stop(&bench);
}

static void balanced_flows_spread_and_each_keeps_to_its_member(void **state)
{
	struct bench bench = bench_start(state, TEAM_BALANCE_L34);
	unsigned int first;

	send_flows(state, bench.guest, FLOWS);
	assert_int_equal(members[0].frames + members[1].frames, FLOWS);
	assert_true(members[0].frames >= FLOWS / 4 && members[1].frames >= FLOWS / 4);
	first = members[0].frames;
	send_flows(state, bench.guest, FLOWS);
	assert_int_equal(members[0].frames, 2 * first);

	/* One flow by addresses alone, whatever its ports. */
	bench_stop(&bench);
	bench = bench_start(state, TEAM_BALANCE_L23);
	send_flows(state, bench.guest, FLOWS);
	assert_int_equal(members[0].frames + members[1].frames, FLOWS);
	assert_true(members[0].frames == 0 || members[1].frames == 0);
	bench_stop(&bench);
}

static void bad_members_are_named_and_leave_nothing(void **state)
{
	struct team_config config = {.mode = TEAM_ACTIVE_BACKUP, .count = 1};
	uint16_t ports = rte_eth_dev_count_avail();
	struct team *team;
	const char *bad;

	(void)state;
	config.members[0] = "net_nonsense0";
	config.members[1] = "net_nonsense1";
	assert_int_equal(team_create(0, &config, &team, &bad), -EINVAL);
	config.count = 2;
	assert_int_equal(team_create(0, &config, &team, &bad), -ENODEV);
	assert_string_equal(bad, "net_nonsense0");
	assert_int_equal(rte_eth_dev_count_avail(), ports);
}

static void modes_have_names(void **state)
{
	enum team_mode mode;

	(void)state;
	for (int i = TEAM_ACTIVE_BACKUP; i <= TEAM_802_3AD; i++) {
		assert_int_equal(team_mode_parse(team_mode_name((enum team_mode)i), &mode), 0);
		assert_int_equal(mode, i);
	}
	assert_int_equal(team_mode_parse("lacp?", &mode), -EINVAL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, netvspd_setup, netvspd_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(another_member_takes_over_when_the_link_is_lost),
		TEST(frames_come_in_by_the_member_that_carries),
		TEST(balanced_flows_spread_and_each_keeps_to_its_member),
		TEST(bad_members_are_named_and_leave_nothing),
		cmocka_unit_test(modes_have_names),
	};

	return cmocka_run_group_tests(tests, eal_group_setup, NULL);
}
