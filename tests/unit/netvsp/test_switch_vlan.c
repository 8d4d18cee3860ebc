/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The switch and VLANs: no frame ever crosses them. Random ports, random frames, hostile ones among
 * them, against the model; and what the switch adds to the rules of a port: learning, private
 * VLANs' common addresses, changes at run time.
 */
#include "tests/unit/test_main.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "netvsp/mbuf_pools.h"
#include "netvsp/switch.h"
#include "tests/unit/netvsp/netvspd_fixture.h"
#include "tests/unit/vlan/vlan_model.h"

#define PORTS	    8
#define UPLINKS	    2
#define FRAME_BYTES 60

struct seen_port {
	struct switch_port *port;
	struct vlan_config config;
	unsigned int frames;
	struct vlan_tag tag; /* of the last one, as the far end sees it */
};

struct vlan_fixture {
	struct mbuf_pools pools;
	struct vswitch *sw;
	struct seen_port ports[PORTS]; /* the first are uplinks */
};

static uint16_t seen_transmit(void *ctx, struct rte_mbuf **mbufs, uint16_t count)
{
	struct seen_port *seen = ctx;

	for (uint16_t i = 0; i < count; i++) {
		seen->frames++;
		assert_true(switch_port_release(seen->port, mbufs[i], &seen->tag));
	}
	rte_pktmbuf_free_bulk(mbufs, count);
	return count;
}

static void seen_flush(void *ctx)
{
	(void)ctx;
}

static const struct switch_port_ops seen_ops = {.transmit = seen_transmit, .flush = seen_flush};

static struct rte_ether_addr own_address(unsigned int port)
{
	return (struct rte_ether_addr){.addr_bytes = {0x02, 0, 0, 0, 1, (uint8_t)port}};
}

static const struct rte_ether_addr broadcast = {.addr_bytes = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};

static int setup(void **state)
{
	static struct vlan_fixture fixture;
	struct vswitch_config config = {.mac_entries = 1024};

	memset(&fixture, 0, sizeof(fixture));
	if (mbuf_pools_create("vlan", MBUF_POOLS_MIN_MEGABYTES, &fixture.pools) < 0 ||
	    vswitch_create("vlan", &config, &fixture.sw) < 0)
		return -1;
	for (unsigned int i = 0; i < PORTS; i++) {
		char name[16];
		struct switch_port_config port = {
			.kind = i < UPLINKS ? SWITCH_PORT_UPLINK : SWITCH_PORT_VNIC,
			.name = name,
			.mac = own_address(i),
			.spoof_guard = i == PORTS - 1,
			.ops = &seen_ops,
			.ctx = &fixture.ports[i],
		};

		snprintf(name, sizeof(name), "port%u", i);
		if (vswitch_add_port(fixture.sw, &port, &fixture.ports[i].port) < 0)
			return -1;
		if (i >= UPLINKS)
			switch_port_set_up(fixture.sw, fixture.ports[i].port, true);
	}
	*state = &fixture;
	return 0;
}

static int teardown(void **state)
{
	struct vlan_fixture *fixture = *state;

	for (unsigned int i = 0; i < PORTS; i++)
		vswitch_remove_port(fixture->sw, fixture->ports[i].port);
	vswitch_destroy(fixture->sw);
	mbuf_pools_destroy(&fixture->pools);
	return 0;
}

static void set_vlan(struct vlan_fixture *fixture, unsigned int port, struct vlan_config config)
{
	assert_int_equal(switch_port_set_vlan(fixture->sw, fixture->ports[port].port, &config), 0);
	fixture->ports[port].config = config;
}

static void set_private(struct vlan_fixture *fixture, unsigned int port, enum vlan_mode mode,
			uint16_t secondary)
{
	struct vlan_config config = {.mode = mode, .id = 20};

	if (mode == VLAN_PROMISCUOUS)
		vlan_set_add_range(&config.list, 21, 22);
	else
		config.secondary = secondary;
	set_vlan(fixture, port, config);
}

/* A port sends one frame; from then on ports[].frames tell who got it. */
static void send(struct vlan_fixture *fixture, unsigned int port, struct rte_ether_addr source,
		 struct rte_ether_addr destination, const struct model_frame *frame)
{
	struct rte_mbuf *mbuf = mbuf_pools_alloc(&fixture->pools, FRAME_BYTES);
	uint8_t *bytes;

	assert_non_null(mbuf);
	bytes = (uint8_t *)rte_pktmbuf_append(mbuf, FRAME_BYTES);
	memset(bytes, 0, FRAME_BYTES);
	memcpy(bytes, &destination, sizeof(destination));
	memcpy(bytes + 6, &source, sizeof(source));
	bytes[12] = frame->tag_after ? 0x81 : 0x08;
	if (frame->vid >= 0) {
		mbuf->ol_flags |= RTE_MBUF_F_RX_VLAN | RTE_MBUF_F_RX_VLAN_STRIPPED;
		mbuf->vlan_tci = (uint16_t)(frame->vid | frame->priority << 12);
	}
	for (unsigned int i = 0; i < PORTS; i++)
		fixture->ports[i].frames = 0;
	vswitch_forward(fixture->sw, fixture->ports[port].port, &mbuf, 1);
	vswitch_flush(fixture->sw);
}

static void send_plain(struct vlan_fixture *fixture, unsigned int from, unsigned int to, int vid)
{
	const struct model_frame frame = {.vid = vid};

	send(fixture, from, own_address(from), own_address(to), &frame);
}

static unsigned int receivers(const struct vlan_fixture *fixture)
{
	unsigned int bits = 0;

	for (unsigned int i = 0; i < PORTS; i++)
		bits |= fixture->ports[i].frames ? 1u << i : 0;
	return bits;
}

/* Who may get the frame at all, by the model. */
static unsigned int model_receivers(const struct vlan_fixture *fixture, unsigned int from, int vlan,
				    bool tag_after)
{
	unsigned int bits = 0;
	int vid;

	for (unsigned int i = 0; vlan >= 0 && i < PORTS; i++) {
		if (i != from && !(i < UPLINKS && from < UPLINKS) &&
		    model_leave(&fixture->ports[i].config, vlan, tag_after, &vid))
			bits |= 1u << i;
	}
	return bits;
}

static void check_tags(const struct vlan_fixture *fixture, int vlan,
		       const struct model_frame *frame)
{
	for (unsigned int i = 0; i < PORTS; i++) {
		const struct seen_port *seen = &fixture->ports[i];
		int vid;

		if (!seen->frames)
			continue;
		assert_int_equal(seen->frames, 1);
		assert_true(model_leave(&seen->config, vlan, frame->tag_after, &vid));
		assert_int_equal(seen->tag.tci & 0xfff, vid < 0 ? 0 : vid);
		assert_int_equal(seen->tag.tci >> 12, frame->priority);
	}
}

static void no_frame_ever_crosses_vlans(void **state)
{
	struct vlan_fixture *fixture = *state;
	struct random_state random = {.value = 77};
	unsigned int delivered = 0;

	for (unsigned int round = 0; round < 60000; round++) {
		unsigned int from = random_below(&random, PORTS), to = random_below(&random, PORTS);
		bool flood = random_below(&random, 3) == 0 || to < UPLINKS;
		bool spoof = from >= UPLINKS && random_below(&random, 16) == 0;
		struct rte_ether_addr source = own_address(spoof ? UPLINKS : from);
		struct model_frame frame;
		unsigned int may, got;
		int vlan;

		if (round % 40 == 0) {
			struct vlan_config config;

			random_config(&random, &config);
			set_vlan(fixture, UPLINKS + random_below(&random, PORTS - UPLINKS), config);
		}
		random_frame(&random, &frame);
		vlan = model_enter(&fixture->ports[from].config, &frame);
		send(fixture, from, source, flood ? broadcast : own_address(to), &frame);
		may = model_receivers(fixture, from, vlan, frame.tag_after);
		if (spoof && from != UPLINKS)
			may = 0; /* the address is another vNIC's */
		got = receivers(fixture);
		assert_int_equal(got & ~may, 0);
		if (flood)
			assert_int_equal(got, may);
		else
			assert_int_equal(got >> to & 1, to == from ? 0 : may >> to & 1);
		check_tags(fixture, vlan, &frame);
		delivered += got != 0;
	}
	assert_true(delivered > 10000);
}

static void answers_in_a_private_vlan_find_their_way(void **state)
{
	struct vlan_fixture *fixture = *state;

	set_private(fixture, 2, VLAN_ISOLATED, 21);
	set_private(fixture, 3, VLAN_ISOLATED, 21);
	set_private(fixture, 4, VLAN_PROMISCUOUS, 0);
	/* The question goes out in 21; the answer, in 20, is not flooded to anybody else. */
	send_plain(fixture, 2, 4, -1);
	assert_int_equal(receivers(fixture), 1u << 4);
	send_plain(fixture, 4, 2, -1);
	assert_int_equal(receivers(fixture), 1u << 2);
	/* Isolated ports do not reach each other, though the address is known. */
	send_plain(fixture, 2, 3, -1);
	assert_int_equal(receivers(fixture), 0);
	assert_int_equal(switch_port_counters(fixture->ports[3].port)->out_vlan, 1);
	/* A promiscuous one at another host: what it asks comes in in 20, the answer goes there. */
	send_plain(fixture, 0, 2, 20);
	assert_int_equal(receivers(fixture), 1u << 2);
	send_plain(fixture, 2, 0, -1);
	assert_int_equal(receivers(fixture), 1u << 0);
	assert_int_equal(fixture->ports[0].tag.tci, 21);
}

static void address_is_learned_in_its_vlan_alone(void **state)
{
	struct vlan_fixture *fixture = *state;

	set_vlan(fixture, 2, (struct vlan_config){.mode = VLAN_ACCESS, .id = 10});
	set_vlan(fixture, 3, (struct vlan_config){.mode = VLAN_ACCESS, .id = 10});
	set_vlan(fixture, 4, (struct vlan_config){.mode = VLAN_ACCESS, .id = 11});
	for (unsigned int i = 5; i < PORTS; i++)
		set_vlan(fixture, i, (struct vlan_config){.mode = VLAN_UNTAGGED});
	send_plain(fixture, 2, 3, -1);
	assert_int_equal(receivers(fixture), 1u << 3);
	/* In 11 nobody knows that address: it is asked for at the uplinks. */
	send_plain(fixture, 4, 3, -1);
	assert_int_equal(receivers(fixture), 3);
	assert_int_equal(fixture->ports[0].tag.tci, 11);
	/* The far end of VLAN 11 has the same address in use as one of VLAN 10 here. */
	send_plain(fixture, 0, 4, 11);
	assert_int_equal(receivers(fixture), 1u << 4);
	assert_true(vswitch_is_at_uplink(fixture->sw, &(struct rte_ether_addr){{2, 0, 0, 0, 1, 0}},
					 11));
	assert_false(vswitch_is_at_uplink(fixture->sw, &(struct rte_ether_addr){{2, 0, 0, 0, 1, 0}},
					  10));
}

static void mode_changes_while_it_runs(void **state)
{
	struct vlan_fixture *fixture = *state;
	struct vlan_config conflicting = {.mode = VLAN_COMMUNITY, .id = 20, .secondary = 21};

	set_vlan(fixture, 2, (struct vlan_config){.mode = VLAN_ACCESS, .id = 10});
	set_vlan(fixture, 3, (struct vlan_config){.mode = VLAN_ACCESS, .id = 10});
	send_plain(fixture, 2, 3, -1);
	assert_int_equal(receivers(fixture), 1u << 3);
	set_vlan(fixture, 3, (struct vlan_config){.mode = VLAN_ACCESS, .id = 11});
	send_plain(fixture, 2, 3, -1);
	assert_int_equal(receivers(fixture) & 1u << 3, 0);
	send_plain(fixture, 0, 3, 11);
	assert_int_equal(receivers(fixture), 1u << 3);
	/* What cannot be is refused, and changes nothing. */
	set_private(fixture, 4, VLAN_ISOLATED, 21);
	assert_int_equal(switch_port_set_vlan(fixture->sw, fixture->ports[3].port, &conflicting),
			 -EEXIST);
	send_plain(fixture, 0, 3, 11);
	assert_int_equal(receivers(fixture), 1u << 3);
	/* An access port in a VLAN that becomes a secondary is found under its new name. */
	set_vlan(fixture, 4, (struct vlan_config){.mode = VLAN_DEFAULT});
	set_vlan(fixture, 3, (struct vlan_config){.mode = VLAN_ACCESS, .id = 21});
	set_private(fixture, 4, VLAN_ISOLATED, 21);
	send_plain(fixture, 0, 3, 21);
	assert_int_equal(receivers(fixture), 1u << 3);
}

static void hostile_guest_gets_nowhere(void **state)
{
	struct vlan_fixture *fixture = *state;
	struct switch_port_counters *counters = switch_port_counters(fixture->ports[2].port);
	const struct model_frame frames[] = {
		{.vid = 11},			/* another VLAN's tag */
		{.vid = 10},			/* even its own */
		{.vid = 4095},			/* reserved */
		{.vid = 0, .tag_after = true},	/* the tag behind a priority is to be found */
		{.vid = -1, .tag_after = true}, /* and one that nobody took out */
		{.vid = 10, .tag_after = true}, /* two of them */
		{.vid = 11, .priority = 15},
	};

	for (unsigned int i = 2; i < PORTS; i++)
		set_vlan(fixture, i,
			 (struct vlan_config){.mode = VLAN_ACCESS, .id = (uint16_t)(8 + i)});
	for (size_t i = 0; i < sizeof(frames) / sizeof(frames[0]); i++) {
		send(fixture, 2, own_address(2), broadcast, &frames[i]);
		assert_int_equal(receivers(fixture), 0);
		send(fixture, 2, own_address(2), own_address(3), &frames[i]);
		assert_int_equal(receivers(fixture), 0);
	}
	assert_int_equal(counters->in_vlan, 2 * sizeof(frames) / sizeof(frames[0]));
	/* Another's address: not in another VLAN either. */
	send(fixture, 2, own_address(3), broadcast, &(struct model_frame){.vid = -1});
	assert_int_equal(receivers(fixture), 0);
	assert_int_equal(counters->in_spoofed, 1);
	/* A table full of made-up addresses leaves the others' alone. */
	for (unsigned int i = 0; i < 5000; i++) {
		struct rte_ether_addr made_up = {{0x06, 0, 0, 0, (uint8_t)(i >> 8), (uint8_t)i}};

		send(fixture, 2, made_up, broadcast, &(struct model_frame){.vid = -1});
	}
	send_plain(fixture, 0, 3, 11);
	assert_int_equal(receivers(fixture), 1u << 3);
}

static void addresses_are_listed_by_vlan(void **state)
{
	struct vlan_fixture *fixture = *state;
	struct vswitch_mac mac;
	uint32_t position = 0;
	bool found = false;

	set_private(fixture, 2, VLAN_ISOLATED, 21);
	while (vswitch_next_mac(fixture->sw, &position, &mac)) {
		assert_in_range(mac.vlan, 0, VLAN_ID_MAX);
		if (mac.port == fixture->ports[2].port) {
			assert_false(found);
			assert_int_equal(mac.vlan, 20);
			found = true;
		}
	}
	assert_true(found);
	assert_int_equal(vswitch_mac_count(fixture->sw), PORTS - UPLINKS);
}

#define vlan_test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		vlan_test(no_frame_ever_crosses_vlans),
		vlan_test(answers_in_a_private_vlan_find_their_way),
		vlan_test(address_is_learned_in_its_vlan_alone),
		vlan_test(mode_changes_while_it_runs),
		vlan_test(hostile_guest_gets_nowhere),
		vlan_test(addresses_are_listed_by_vlan),
	};

	return cmocka_run_group_tests(tests, eal_group_setup, NULL);
}
