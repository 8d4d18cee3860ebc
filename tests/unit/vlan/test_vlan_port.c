/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The rules of one port: each by its name, then all of them against the model.
 */
#include "tests/unit/test_main.h"

#include <string.h>

#include "tests/unit/vlan/vlan_model.h"
#include "vlan/vlan_port.h"

#define IPV4	0x0800
#define DOT1Q	0x8100
#define DOT1AD	0x88a8
#define PRIO(p) ((uint16_t)((p) << 13))

static struct vlan_port make_port(struct vlan_config config)
{
	char message[VLAN_MESSAGE_BYTES] = "";
	struct vlan_port port;

	assert_int_equal(vlan_config_check(&config, message), 0);
	vlan_port_set(&port, &config);
	return port;
}

static struct vlan_set set_of(const char *text)
{
	struct vlan_set set = {0};

	assert_int_equal(vlan_set_parse(text, 0, &set), 0);
	return set;
}

static struct vlan_port access_port(uint16_t vid)
{
	return make_port((struct vlan_config){.mode = VLAN_ACCESS, .id = vid});
}

static struct vlan_port trunk_port(const char *allowed, uint16_t native)
{
	return make_port(
		(struct vlan_config){.mode = VLAN_TRUNK, .id = native, .list = set_of(allowed)});
}

static struct vlan_port private_port(enum vlan_mode mode, uint16_t primary, uint16_t secondary)
{
	return make_port((struct vlan_config){.mode = mode, .id = primary, .secondary = secondary});
}

/* tci -1: no tag. Returns the tag inside, as tci, or -1 none, or -100 less the verdict. */
static int enter(const struct vlan_port *port, int tci, uint16_t ether_type)
{
	struct vlan_tag tag = {.present = tci >= 0, .tci = (uint16_t)(tci < 0 ? 0 : tci)};
	enum vlan_verdict verdict = vlan_port_admit(port, &tag, ether_type);

	if (verdict != VLAN_PASS)
		return -100 - (int)verdict;
	return tag.present ? tag.tci : -1;
}

static int leave(const struct vlan_port *port, int tci, uint16_t ether_type)
{
	struct vlan_tag tag = {.present = tci >= 0, .tci = (uint16_t)(tci < 0 ? 0 : tci)}, out;
	enum vlan_verdict verdict = vlan_port_release(port, &tag, ether_type, &out);

	if (verdict != VLAN_PASS)
		return -100 - (int)verdict;
	return out.present ? out.tci : -1;
}

#define NOT_MEMBER (-100 - VLAN_DROP_NOT_MEMBER)
#define TAG_WITHIN (-100 - VLAN_DROP_TAG_WITHIN)

static void access_port_puts_its_vlan_on_and_takes_it_off(void **state)
{
	struct vlan_port port = access_port(10);

	(void)state;
	assert_int_equal(enter(&port, -1, IPV4), 10);
	assert_int_equal(leave(&port, 10, IPV4), -1);
	assert_int_equal(leave(&port, 11, IPV4), NOT_MEMBER);
	assert_int_equal(leave(&port, -1, IPV4), NOT_MEMBER);
}

static void priority_is_kept_both_ways(void **state)
{
	struct vlan_port port = access_port(10);
	struct vlan_port untagged = make_port((struct vlan_config){.mode = VLAN_UNTAGGED});

	(void)state;
	assert_int_equal(enter(&port, PRIO(5), IPV4), PRIO(5) | 10);
	assert_int_equal(leave(&port, PRIO(5) | 0x1000 | 10, IPV4), PRIO(5) | 0x1000);
	assert_int_equal(enter(&untagged, PRIO(3), IPV4), PRIO(3));
	assert_int_equal(leave(&untagged, PRIO(3), IPV4), PRIO(3));
	/* A tag that says nothing is none. */
	assert_int_equal(enter(&untagged, 0, IPV4), -1);
}

static void access_port_drops_tags_even_its_own(void **state)
{
	struct vlan_port port = access_port(10);

	(void)state;
	assert_int_equal(enter(&port, 10, IPV4), NOT_MEMBER);
	assert_int_equal(enter(&port, 11, IPV4), NOT_MEMBER);
	assert_int_equal(enter(&port, 4095, IPV4), NOT_MEMBER);
}

static void no_second_tag_takes_the_place_of_the_first(void **state)
{
	struct vlan_port access = access_port(10), trunk = trunk_port("10,20", 10);

	(void)state;
	/* VLAN hopping: a tag without a VLAN, and behind it one that is meant to be found. */
	assert_int_equal(enter(&access, PRIO(1), DOT1Q), TAG_WITHIN);
	assert_int_equal(enter(&access, -1, DOT1AD), TAG_WITHIN);
	assert_int_equal(enter(&trunk, -1, DOT1AD), TAG_WITHIN);
	/* And where it was let in elsewhere, with a tag around it that would be taken off. */
	assert_int_equal(leave(&access, 10, DOT1Q), TAG_WITHIN);
	assert_int_equal(leave(&trunk, 10, DOT1Q), TAG_WITHIN);
	/* Its own tag stays around it on a trunk. */
	assert_int_equal(enter(&trunk, 20, DOT1Q), 20);
	assert_int_equal(leave(&trunk, 20, DOT1AD), 20);
}

static void trunk_takes_what_is_allowed_and_its_native_vlan(void **state)
{
	struct vlan_port port = trunk_port("20-30", 1), no_native = trunk_port("20", 0);

	(void)state;
	assert_int_equal(enter(&port, PRIO(2) | 25, IPV4), PRIO(2) | 25);
	assert_int_equal(enter(&port, 31, IPV4), NOT_MEMBER);
	assert_int_equal(enter(&port, -1, IPV4), 1);
	assert_int_equal(enter(&port, 1, IPV4), 1);
	assert_int_equal(leave(&port, 1, IPV4), -1);
	assert_int_equal(leave(&port, 25, IPV4), 25);
	assert_int_equal(leave(&port, -1, IPV4), NOT_MEMBER);
	assert_int_equal(enter(&no_native, -1, IPV4), -1);
	assert_int_equal(leave(&no_native, -1, IPV4), -1);
}

static void isolated_reaches_promiscuous_alone(void **state)
{
	struct vlan_port one = private_port(VLAN_ISOLATED, 100, 101);
	struct vlan_port community = private_port(VLAN_COMMUNITY, 100, 102);
	struct vlan_port promiscuous = make_port((struct vlan_config){
		.mode = VLAN_PROMISCUOUS, .id = 100, .list = set_of("101,102")});
	int inside = enter(&one, -1, IPV4);

	(void)state;
	assert_int_equal(inside, 101);
	assert_int_equal(leave(&one, inside, IPV4), NOT_MEMBER);
	assert_int_equal(leave(&community, inside, IPV4), NOT_MEMBER);
	assert_int_equal(leave(&promiscuous, inside, IPV4), -1);
	inside = enter(&promiscuous, -1, IPV4);
	assert_int_equal(inside, 100);
	assert_int_equal(leave(&one, inside, IPV4), -1);
	assert_int_equal(leave(&community, inside, IPV4), -1);
}

static void community_reaches_its_own_and_promiscuous(void **state)
{
	struct vlan_port one = private_port(VLAN_COMMUNITY, 100, 102);
	struct vlan_port other = private_port(VLAN_COMMUNITY, 100, 103);
	int inside = enter(&one, -1, IPV4);

	(void)state;
	assert_int_equal(inside, 102);
	assert_int_equal(leave(&one, inside, IPV4), -1);
	assert_int_equal(leave(&other, inside, IPV4), NOT_MEMBER);
}

static void default_port_changes_nothing(void **state)
{
	struct vlan_port port = make_port((struct vlan_config){.mode = VLAN_DEFAULT});

	(void)state;
	for (int vid = 0; vid < 4095; vid++) {
		assert_int_equal(enter(&port, PRIO(6) | vid, DOT1Q), PRIO(6) | vid);
		assert_int_equal(leave(&port, PRIO(6) | vid, DOT1Q), PRIO(6) | vid);
	}
	assert_int_equal(enter(&port, -1, DOT1AD), -1);
	assert_int_equal(leave(&port, -1, DOT1AD), -1);
	assert_int_equal(enter(&port, 4095, IPV4), NOT_MEMBER); /* reserved by 802.1Q */
}

static void uplink_carries_its_vlans_and_no_other(void **state)
{
	struct vlan_set carried = set_of("10,20-30");
	struct vlan_port port;

	(void)state;
	vlan_port_set_uplink(&port, &carried);
	assert_int_equal(enter(&port, 10, IPV4), 10);
	assert_int_equal(leave(&port, 30, IPV4), 30);
	assert_int_equal(enter(&port, 31, IPV4), NOT_MEMBER);
	assert_int_equal(enter(&port, -1, IPV4), NOT_MEMBER);
	assert_int_equal(leave(&port, -1, IPV4), NOT_MEMBER);
	vlan_set_add(&carried, 0);
	vlan_port_set_uplink(&port, &carried);
	assert_int_equal(enter(&port, -1, IPV4), -1);
	assert_int_equal(leave(&port, PRIO(4), IPV4), PRIO(4));
}

/* Random ports, random frames: what the port says is what the model says, both ways. */
static void every_verdict_is_the_models(void **state)
{
	struct random_state random = {.value = 20261123};
	unsigned int passed = 0;

	(void)state;
	for (unsigned int round = 0; round < 200000; round++) {
		struct vlan_config from_config, to_config;
		struct vlan_port from, to;
		struct model_frame frame;
		int tci, inside, expected, vid, out;
		uint16_t ether_type;
		bool leaves;

		random_config(&random, &from_config);
		random_config(&random, &to_config);
		random_frame(&random, &frame);
		from = make_port(from_config);
		to = make_port(to_config);
		tci = frame.vid < 0 ? -1 : frame.vid | frame.priority << 12;
		ether_type = frame.tag_after ? (round & 1 ? DOT1Q : DOT1AD) : IPV4;
		inside = enter(&from, tci, ether_type);
		expected = model_enter(&from_config, &frame);
		if (expected < 0) {
			assert_true(inside <= -100);
			continue;
		}
		assert_true(inside > -100);
		assert_int_equal(inside < 0 ? 0 : inside & 0xfff, expected);
		assert_int_equal(inside < 0 ? 0 : inside >> 12, frame.priority);
		leaves = model_leave(&to_config, expected, frame.tag_after, &vid);
		out = leave(&to, inside, ether_type);
		assert_int_equal(out > -100, leaves);
		if (!leaves)
			continue;
		passed++;
		assert_int_equal(out < 0 ? 0 : out & 0xfff, vid < 0 ? 0 : vid);
		assert_int_equal(out < 0 ? 0 : out >> 12, frame.priority);
	}
	assert_true(passed > 20000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(access_port_puts_its_vlan_on_and_takes_it_off),
		cmocka_unit_test(priority_is_kept_both_ways),
		cmocka_unit_test(access_port_drops_tags_even_its_own),
		cmocka_unit_test(no_second_tag_takes_the_place_of_the_first),
		cmocka_unit_test(trunk_takes_what_is_allowed_and_its_native_vlan),
		cmocka_unit_test(isolated_reaches_promiscuous_alone),
		cmocka_unit_test(community_reaches_its_own_and_promiscuous),
		cmocka_unit_test(default_port_changes_nothing),
		cmocka_unit_test(uplink_carries_its_vlans_and_no_other),
		cmocka_unit_test(every_verdict_is_the_models),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
