/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The switch alone, its ports made of counters: learning, ageing, limits, flooding.
 */
#include "tests/unit/test_main.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "netvsp/mbuf_pools.h"
#include "netvsp/switch.h"
#include "tests/unit/netvsp/netvspd_fixture.h"

#define AGE_SECONDS 20
#define PORTS	    5

struct stub_port {
	struct switch_port *port;
	unsigned int frames;
	unsigned int flushes;
	bool deaf; /* wants nothing that is flooded */
	bool full; /* accepts nothing */
};

struct switch_fixture {
	struct mbuf_pools pools;
	struct vswitch *sw;
	struct stub_port ports[PORTS]; /* 0 and 1: uplinks, the others vNICs */
	unsigned int available;
};

static uint16_t stub_transmit(void *ctx, struct rte_mbuf **mbufs, uint16_t count)
{
	struct stub_port *stub = ctx;

	rte_pktmbuf_free_bulk(mbufs, count);
	if (stub->full)
		return 0;
	stub->frames += count;
	return count;
}

static void stub_flush(void *ctx)
{
	struct stub_port *stub = ctx;

	stub->flushes++;
}

static bool stub_wants(void *ctx, const struct rte_ether_addr *destination)
{
	const struct stub_port *stub = ctx;

	(void)destination;
	return !stub->deaf;
}

static const struct switch_port_ops stub_ops = {
	.transmit = stub_transmit, .flush = stub_flush, .wants_flooded = stub_wants};

static struct rte_ether_addr address(uint8_t group, uint8_t last)
{
	return (struct rte_ether_addr){.addr_bytes = {0x02, 0, 0, 0, group, last}};
}

static int add_port(struct switch_fixture *fixture, unsigned int index, const char *name,
		    bool guard)
{
	struct switch_port_config config = {
		.kind = index < 2 ? SWITCH_PORT_UPLINK : SWITCH_PORT_VNIC,
		.name = name,
		.mac = address(1, (uint8_t)index),
		.spoof_guard = guard,
		.ops = &stub_ops,
		.ctx = &fixture->ports[index],
	};

	return vswitch_add_port(fixture->sw, &config, &fixture->ports[index].port);
}

static int setup(void **state)
{
	static struct switch_fixture fixture;
	struct vswitch_config config = {
		.mac_entries = 256, .mac_age_seconds = AGE_SECONDS, .mac_entries_a_vnic = 16};

	memset(&fixture, 0, sizeof(fixture));
	if (mbuf_pools_create("test", MBUF_POOLS_MIN_MEGABYTES, &fixture.pools) < 0 ||
	    vswitch_create("test", &config, &fixture.sw) < 0)
		return -1;
	fixture.available = rte_mempool_avail_count(fixture.pools.small);
	for (unsigned int i = 0; i < PORTS; i++) {
		char name[16];

		snprintf(name, sizeof(name), "port%u", i);
		if (add_port(&fixture, i, name, false) < 0)
			return -1;
	}
	*state = &fixture;
	return 0;
}

static int teardown(void **state)
{
	struct switch_fixture *fixture = *state;
	int missing;

	for (unsigned int i = 0; i < PORTS; i++)
		vswitch_remove_port(fixture->sw, fixture->ports[i].port);
	missing = rte_mempool_avail_count(fixture->pools.small) != fixture->available;
	vswitch_destroy(fixture->sw);
	mbuf_pools_destroy(&fixture->pools);
	return missing;
}

/* A frame of 60 bytes. */
static struct rte_mbuf *make_frame(struct switch_fixture *fixture, struct rte_ether_addr from,
				   struct rte_ether_addr to)
{
	struct rte_mbuf *mbuf = mbuf_pools_alloc(&fixture->pools, 60);
	struct rte_ether_hdr *header;

	assert_non_null(mbuf);
	header = (struct rte_ether_hdr *)rte_pktmbuf_append(mbuf, 60);
	assert_non_null(header);
	header->src_addr = from;
	header->dst_addr = to;
	header->ether_type = 0;
	return mbuf;
}

static void send_tagged(struct switch_fixture *fixture, unsigned int port,
			struct rte_ether_addr from, struct rte_ether_addr to, uint16_t vlan)
{
	struct rte_mbuf *mbuf = make_frame(fixture, from, to);

	if (vlan) {
		mbuf->ol_flags |= RTE_MBUF_F_RX_VLAN_STRIPPED;
		mbuf->vlan_tci = vlan;
	}
	vswitch_forward(fixture->sw, fixture->ports[port].port, &mbuf, 1);
	vswitch_flush(fixture->sw);
}

static void send_frame(struct switch_fixture *fixture, unsigned int port,
		       struct rte_ether_addr from, struct rte_ether_addr to)
{
	send_tagged(fixture, port, from, to, 0);
}

/* Frames that each port got since the last look. */
static void assert_frames(struct switch_fixture *fixture, unsigned int p0, unsigned int p1,
			  unsigned int p2, unsigned int p3, unsigned int p4)
{
	unsigned int expected[PORTS] = {p0, p1, p2, p3, p4};

	for (unsigned int i = 0; i < PORTS; i++) {
		assert_int_equal(fixture->ports[i].frames, expected[i]);
		fixture->ports[i].frames = 0;
	}
}

static void unknown_address_is_flooded_until_it_is_heard(void **state)
{
	struct switch_fixture *fixture = *state;

	send_frame(fixture, 2, address(2, 2), address(2, 3));
	assert_frames(fixture, 1, 1, 0, 1, 1);
	send_frame(fixture, 3, address(2, 3), address(2, 2));
	assert_frames(fixture, 0, 0, 1, 0, 0);
	send_frame(fixture, 2, address(2, 2), address(2, 3));
	assert_frames(fixture, 0, 0, 0, 1, 0);
}

static void frames_never_go_from_uplink_to_uplink(void **state)
{
	struct switch_fixture *fixture = *state;

	send_frame(fixture, 0, address(2, 10), address(2, 11));
	assert_frames(fixture, 0, 0, 1, 1, 1);
	send_frame(fixture, 1, address(2, 11), address(2, 10));
	assert_frames(fixture, 0, 0, 0, 0, 0);
}

static void frame_is_not_sent_back_where_it_came_from(void **state)
{
	struct switch_fixture *fixture = *state;

	send_frame(fixture, 2, address(2, 2), address(2, 9));
	send_frame(fixture, 2, address(2, 3), address(2, 9));
	assert_frames(fixture, 2, 2, 0, 2, 2);
	send_frame(fixture, 2, address(2, 2), address(2, 3));
	assert_frames(fixture, 0, 0, 0, 0, 0);
}

static void address_that_moves_is_followed(void **state)
{
	struct switch_fixture *fixture = *state;

	send_frame(fixture, 2, address(2, 2), address(2, 9));
	send_frame(fixture, 0, address(2, 2), address(2, 9));
	fixture->ports[0].frames = fixture->ports[1].frames = 0;
	for (unsigned int i = 2; i < PORTS; i++)
		fixture->ports[i].frames = 0;
	send_frame(fixture, 3, address(2, 3), address(2, 2));
	assert_frames(fixture, 1, 0, 0, 0, 0);
}

static void same_address_in_another_vlan_is_another(void **state)
{
	struct switch_fixture *fixture = *state;

	send_tagged(fixture, 2, address(2, 2), address(2, 9), 10);
	assert_frames(fixture, 1, 1, 0, 1, 1);
	send_tagged(fixture, 3, address(2, 3), address(2, 2), 20);
	assert_frames(fixture, 1, 1, 1, 0, 1);
	send_tagged(fixture, 3, address(2, 3), address(2, 2), 0x600a); /* priority 3, VLAN 10 */
	assert_frames(fixture, 0, 0, 1, 0, 0);
}

static void address_is_forgotten_when_it_has_been_silent(void **state)
{
	struct switch_fixture *fixture = *state;

	send_frame(fixture, 2, address(2, 2), address(2, 9));
	assert_int_equal(vswitch_mac_count(fixture->sw), 1);
	for (unsigned int i = 0; i < AGE_SECONDS; i++)
		vswitch_tick(fixture->sw);
	assert_int_equal(vswitch_mac_count(fixture->sw), 1);
	/* The table is looked through a part at a time. */
	for (unsigned int i = 0; i < 20; i++)
		vswitch_tick(fixture->sw);
	assert_int_equal(vswitch_mac_count(fixture->sw), 0);
}

static void address_that_speaks_is_kept(void **state)
{
	struct switch_fixture *fixture = *state;

	for (unsigned int i = 0; i < 5 * AGE_SECONDS; i++) {
		send_frame(fixture, 2, address(2, 2), address(2, 9));
		vswitch_tick(fixture->sw);
	}
	assert_int_equal(vswitch_mac_count(fixture->sw), 1);
}

static void vnic_that_is_up_is_known_and_cannot_be_moved(void **state)
{
	struct switch_fixture *fixture = *state;

	switch_port_set_up(fixture->sw, fixture->ports[2].port, true);
	send_frame(fixture, 3, address(2, 3), address(1, 2));
	assert_frames(fixture, 0, 0, 1, 0, 0);
	/* From the wire, or from a guest that may spoof: not learned, not sent on. */
	send_frame(fixture, 0, address(1, 2), address(2, 3));
	send_frame(fixture, 4, address(1, 2), address(2, 3));
	assert_frames(fixture, 0, 0, 0, 0, 0);
	assert_int_equal(switch_port_counters(fixture->ports[0].port)->in_spoofed, 1);
	send_frame(fixture, 3, address(2, 3), address(1, 2));
	assert_frames(fixture, 0, 0, 1, 0, 0);
	/* Down, it is anybody's: the guest may have moved to another host. */
	switch_port_set_up(fixture->sw, fixture->ports[2].port, false);
	send_frame(fixture, 0, address(1, 2), address(2, 3));
	assert_frames(fixture, 0, 0, 0, 1, 0);
	send_frame(fixture, 3, address(2, 3), address(1, 2));
	assert_frames(fixture, 1, 0, 0, 0, 0);
}

static void vnic_that_is_up_owns_its_address_in_every_vlan(void **state)
{
	struct switch_fixture *fixture = *state;

	switch_port_set_up(fixture->sw, fixture->ports[2].port, true);
	send_tagged(fixture, 2, address(1, 2), address(2, 9), 10);
	assert_frames(fixture, 1, 1, 0, 1, 1);
	/* An unguarded guest cannot take it over by a tag: neither here nor in a VLAN that the
	 * owner has not used yet. */
	send_tagged(fixture, 4, address(1, 2), address(2, 9), 10);
	send_tagged(fixture, 4, address(1, 2), address(2, 9), 20);
	assert_frames(fixture, 0, 0, 0, 0, 0);
	assert_int_equal(switch_port_counters(fixture->ports[4].port)->in_spoofed, 2);
	send_tagged(fixture, 3, address(2, 3), address(1, 2), 10);
	assert_frames(fixture, 0, 0, 1, 0, 0);
	/* A bridge on the wire that joins two VLANs brings it in by the other one. */
	send_tagged(fixture, 0, address(1, 2), address(2, 9), 30);
	assert_frames(fixture, 0, 0, 1, 1, 1);
}

static void guarded_vnic_sends_with_its_own_address_only(void **state)
{
	struct switch_fixture *fixture = *state;

	vswitch_remove_port(fixture->sw, fixture->ports[4].port);
	assert_int_equal(add_port(fixture, 4, "guarded", true), 0);
	send_frame(fixture, 4, address(2, 4), address(2, 9));
	assert_frames(fixture, 0, 0, 0, 0, 0);
	assert_int_equal(switch_port_counters(fixture->ports[4].port)->in_spoofed, 1);
	send_frame(fixture, 4, address(1, 4), address(2, 9));
	assert_frames(fixture, 1, 1, 1, 1, 0);
}

static void vnic_cannot_fill_the_table(void **state)
{
	struct switch_fixture *fixture = *state;

	for (unsigned int i = 0; i < 200; i++)
		send_frame(fixture, 2, address(7, (uint8_t)i), address(2, 9));
	assert_int_equal(vswitch_mac_count(fixture->sw), 16);
	send_frame(fixture, 3, address(2, 3), address(2, 9));
	assert_int_equal(vswitch_mac_count(fixture->sw), 17);
}

static void full_table_still_switches(void **state)
{
	struct switch_fixture *fixture = *state;

	for (unsigned int i = 0; i < 2000; i++)
		send_frame(fixture, 0, address((uint8_t)(i >> 8), (uint8_t)i), address(0xee, 1));
	assert_true(vswitch_mac_count(fixture->sw) <= 256);
	for (unsigned int i = 0; i < PORTS; i++)
		fixture->ports[i].frames = 0;
	send_frame(fixture, 0, address(0xff, 2), address(0xee, 1));
	assert_frames(fixture, 0, 0, 1, 1, 1);
}

static void port_that_is_removed_is_forgotten(void **state)
{
	struct switch_fixture *fixture = *state;

	switch_port_set_up(fixture->sw, fixture->ports[4].port, true);
	send_frame(fixture, 4, address(2, 4), address(2, 9));
	assert_int_equal(vswitch_mac_count(fixture->sw), 2);
	vswitch_remove_port(fixture->sw, fixture->ports[4].port);
	assert_int_equal(vswitch_mac_count(fixture->sw), 0);
	for (unsigned int i = 0; i < PORTS; i++)
		fixture->ports[i].frames = 0;
	send_frame(fixture, 2, address(2, 2), address(2, 4));
	assert_frames(fixture, 1, 1, 0, 1, 0);
	assert_int_equal(add_port(fixture, 4, "port4", false), 0);
}

static void port_removed_with_frames_staged_frees_them(void **state)
{
	struct switch_fixture *fixture = *state;
	struct rte_mbuf *mbuf = make_frame(fixture, address(2, 2), address(2, 9));

	vswitch_forward(fixture->sw, fixture->ports[2].port, &mbuf, 1);
	vswitch_remove_port(fixture->sw, fixture->ports[4].port);
	vswitch_flush(fixture->sw);
	assert_frames(fixture, 1, 1, 0, 1, 0);
	assert_int_equal(add_port(fixture, 4, "port4", false), 0);
}

static void names_and_addresses_are_taken_once(void **state)
{
	struct switch_fixture *fixture = *state;
	struct switch_port_config config = {
		.kind = SWITCH_PORT_VNIC, .name = "port2", .mac = address(9, 9), .ops = &stub_ops};
	struct switch_port *port;

	assert_int_equal(vswitch_add_port(fixture->sw, &config, &port), -EEXIST);
	config.name = "other";
	config.mac = address(1, 2);
	assert_int_equal(vswitch_add_port(fixture->sw, &config, &port), -EEXIST);
	config.mac.addr_bytes[0] = 0x03; /* multicast */
	assert_int_equal(vswitch_add_port(fixture->sw, &config, &port), -EINVAL);
	memset(&config.mac, 0, sizeof(config.mac));
	assert_int_equal(vswitch_add_port(fixture->sw, &config, &port), -EINVAL);
}

static void deaf_port_gets_what_is_its_own_but_no_flood(void **state)
{
	struct switch_fixture *fixture = *state;

	fixture->ports[3].deaf = true;
	send_frame(fixture, 3, address(2, 3), address(2, 9));
	assert_frames(fixture, 1, 1, 1, 0, 1);
	send_frame(fixture, 2, address(2, 2), address(2, 8));
	assert_frames(fixture, 1, 1, 0, 0, 1);
	send_frame(fixture, 2, address(2, 2), address(2, 3));
	assert_frames(fixture, 0, 0, 0, 1, 0);
}

static void multicast_source_and_runt_are_malformed(void **state)
{
	struct switch_fixture *fixture = *state;
	struct rte_ether_addr group = {.addr_bytes = {0x01, 0, 0x5e, 0, 0, 1}}, none = {0};
	struct rte_mbuf *mbuf = make_frame(fixture, address(2, 2), address(2, 9));

	send_frame(fixture, 2, group, address(2, 9));
	send_frame(fixture, 2, none, address(2, 9));
	rte_pktmbuf_trim(mbuf, 47);
	vswitch_forward(fixture->sw, fixture->ports[2].port, &mbuf, 1);
	vswitch_flush(fixture->sw);
	assert_frames(fixture, 0, 0, 0, 0, 0);
	assert_int_equal(switch_port_counters(fixture->ports[2].port)->in_malformed, 3);
}

static void frames_that_a_port_does_not_take_are_counted(void **state)
{
	struct switch_fixture *fixture = *state;
	const struct switch_port_counters *counters = switch_port_counters(fixture->ports[3].port);

	send_frame(fixture, 3, address(2, 3), address(2, 9));
	fixture->ports[3].full = true;
	for (unsigned int i = 0; i < 10; i++)
		send_frame(fixture, 2, address(2, 2), address(2, 3));
	assert_int_equal(counters->out_dropped, 10);
	assert_int_equal(counters->out_packets, 0);
	fixture->ports[3].full = false;
	send_frame(fixture, 2, address(2, 2), address(2, 3));
	assert_int_equal(counters->out_packets, 1);
	assert_int_equal(counters->out_bytes, 60);
}

static void burst_is_flushed_once(void **state)
{
	struct switch_fixture *fixture = *state;
	struct rte_mbuf *mbufs[200];

	for (unsigned int i = 0; i < 200; i++)
		mbufs[i] = make_frame(fixture, address(2, 2), address(2, 9));
	vswitch_forward(fixture->sw, fixture->ports[2].port, mbufs, 200);
	vswitch_flush(fixture->sw);
	assert_frames(fixture, 200, 200, 0, 200, 200);
	assert_int_equal(fixture->ports[3].flushes, 1);
}

#define switch_test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		switch_test(unknown_address_is_flooded_until_it_is_heard),
		switch_test(frames_never_go_from_uplink_to_uplink),
		switch_test(frame_is_not_sent_back_where_it_came_from),
		switch_test(address_that_moves_is_followed),
		switch_test(same_address_in_another_vlan_is_another),
		switch_test(address_is_forgotten_when_it_has_been_silent),
		switch_test(address_that_speaks_is_kept),
		switch_test(vnic_that_is_up_is_known_and_cannot_be_moved),
		switch_test(vnic_that_is_up_owns_its_address_in_every_vlan),
		switch_test(guarded_vnic_sends_with_its_own_address_only),
		switch_test(vnic_cannot_fill_the_table),
		switch_test(full_table_still_switches),
		switch_test(port_that_is_removed_is_forgotten),
		switch_test(port_removed_with_frames_staged_frees_them),
		switch_test(names_and_addresses_are_taken_once),
		switch_test(deaf_port_gets_what_is_its_own_but_no_flood),
		switch_test(multicast_source_and_runt_are_malformed),
		switch_test(frames_that_a_port_does_not_take_are_counted),
		switch_test(burst_is_flushed_once),
	};

	return cmocka_run_group_tests(tests, eal_group_setup, NULL);
}
