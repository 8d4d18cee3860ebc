/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * VLAN modes between a guest's driver and the wire: RNDIS per-packet info, tags in band, the vsp
 * socket's requests, announcements, and frames that waited for a vNIC at rest.
 */
#include "tests/unit/test_main.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "tests/unit/netvsp/frames.h"
#include "tests/unit/netvsp/netvspd_fixture.h"
#include "vlan/vlan_config.h"

#define WAIT_MS	 20000
#define QUIET_MS 60
#define NO_TAG	 (-1)
#define DROPPED	 (-2)
#define RARP	 0x8035

static uint8_t frame[FRAME_MAX], seen[FRAME_MAX];
static const uint8_t wire_host[6] = {0x02, 0xaa, 0, 0, 0, 1};
static const struct fake_netvsc_config linux_driver = {.flavour = FAKE_LINUX};

/* Returns the reply's status. */
static int set_vlan(struct test_guest *guest, struct vlan_config config)
{
	struct vsp_vlan message = {
		.mode = config.mode, .id = config.id, .secondary = config.secondary};
	struct vsp_header reply;

	vlan_set_put(&config.list, message.list);
	return vsp_guest_ask(test_guest_vsp(guest), VSP_VLAN, &message.header, sizeof(message),
			     &reply, sizeof(reply));
}

static struct vlan_config trunk(uint16_t allowed, uint16_t native)
{
	struct vlan_config config = {.mode = VLAN_TRUNK, .id = native};

	vlan_set_add(&config.list, allowed);
	return config;
}

/* The next frame on the wire that is no announcement: its length without a tag, 0: none. */
static size_t take_wire(struct netvspd_fixture *fixture, int timeout_ms, int *tci)
{
	size_t length;

	while ((length = wire_take(fixture, seen, sizeof(seen), timeout_ms)) > 0) {
		*tci = NO_TAG;
		if (get_be16(seen + 12) == 0x8100) {
			*tci = get_be16(seen + 14);
			memmove(seen + 12, seen + 16, length - 16);
			length -= 4;
		}
		if (get_be16(seen + 12) != RARP)
			return length;
	}
	return 0;
}

static struct test_guest *start(struct netvspd_fixture *fixture, struct vlan_config config)
{
	struct test_guest *guest = test_guest_start(fixture, "a/nic0", 1, &linux_driver, 0);

	assert_non_null(guest);
	assert_int_equal(set_vlan(guest, config), 0);
	return guest;
}

static size_t make(const uint8_t *from, const uint8_t *to, size_t payload)
{
	struct frame_spec spec = {.source_port = 1000,
				  .destination_port = 2000,
				  .tcp_flags = 0x18,
				  .payload_bytes = payload,
				  .checksums = true};

	memcpy(spec.source, from, 6);
	memcpy(spec.destination, to, 6);
	return frame_build(&spec, frame);
}

static int patience(int expected)
{
	return expected == DROPPED ? QUIET_MS : WAIT_MS;
}

/* The guest sends a frame with that tag beside it; expected: what the wire gets. */
static void assert_out(struct netvspd_fixture *fixture, struct test_guest *guest, int tci,
		       size_t payload, int expected)
{
	struct fake_tx tx = {.frame = frame,
			     .length = make(test_guest_mac(guest), wire_host, payload),
			     .has_vlan = tci >= 0,
			     .vlan_tci = (uint16_t)(tci < 0 ? 0 : tci)};
	enum fake_way way = tx.length > 2000 ? FAKE_PAGES : FAKE_SECTION;
	int got = DROPPED;

	assert_int_equal(fake_netvsc_send(test_guest_driver(guest), 0, way, &tx, 1), 0);
	if (take_wire(fixture, patience(expected), &got) > 0)
		assert_memory_equal(seen, frame, tx.length);
	assert_int_equal(got, expected);
}

/* Puts tags into frame, one in the other. Returns the new length. */
static size_t add_tags(size_t length, const uint16_t *tcis, size_t count)
{
	for (size_t i = count; i > 0; i--) {
		memmove(frame + 16, frame + 12, length - 12);
		put_be16(frame + 12, 0x8100);
		put_be16(frame + 14, tcis[i - 1]);
		length += 4;
	}
	return length;
}

/* A frame comes by the wire; expected: what the guest gets. */
static void assert_in(struct netvspd_fixture *fixture, struct test_guest *guest,
		      const uint16_t *tcis, size_t count, int expected)
{
	const struct test_frame *got;

	wire_put(fixture, frame, add_tags(make(wire_host, test_guest_mac(guest), 64), tcis, count),
		 0);
	got = test_guest_take(guest, patience(expected));
	assert_int_equal(!got ? DROPPED : got->rx.has_vlan ? got->rx.vlan_tci : NO_TAG, expected);
}

static void access_port_tags_on_the_wire_and_the_guest_sees_none(void **state)
{
	struct test_guest *guest =
		start(*state, (struct vlan_config){.mode = VLAN_ACCESS, .id = 10});

	assert_out(*state, guest, NO_TAG, 64, 10);
	assert_out(*state, guest, 0xa000, 64, 0xa00a); /* priority 5 */
	assert_out(*state, guest, 10, 64, DROPPED);
	assert_out(*state, guest, 20, 64, DROPPED);
	assert_in(*state, guest, (uint16_t[]){10}, 1, NO_TAG);
	assert_in(*state, guest, (uint16_t[]){0x600a}, 1, 0x6000);
	assert_in(*state, guest, (uint16_t[]){20}, 1, DROPPED);
	assert_in(*state, guest, NULL, 0, DROPPED);
	assert_in(*state, guest, (uint16_t[]){10, 20}, 2, DROPPED);
	assert_in(*state, guest, (uint16_t[]){0, 10}, 2, DROPPED);
	test_guest_stop(guest);
}

static void trunk_passes_what_is_allowed(void **state)
{
	struct test_guest *guest = start(*state, trunk(20, 10));

	assert_out(*state, guest, NO_TAG, 64, 10);
	assert_out(*state, guest, 20, 64, 20);
	assert_out(*state, guest, 30, 64, DROPPED);
	assert_in(*state, guest, (uint16_t[]){10}, 1, NO_TAG);
	assert_in(*state, guest, (uint16_t[]){20}, 1, 20);
	assert_in(*state, guest, (uint16_t[]){30}, 1, DROPPED);
	assert_in(*state, guest, (uint16_t[]){20, 30}, 2, 20);
	test_guest_stop(guest);
}

static void private_ports_send_in_one_vlan_and_hear_in_another(void **state)
{
	struct test_guest *guest = start(
		*state, (struct vlan_config){.mode = VLAN_ISOLATED, .id = 100, .secondary = 101});

	assert_out(*state, guest, NO_TAG, 64, 101);
	assert_in(*state, guest, (uint16_t[]){100}, 1, NO_TAG);
	assert_in(*state, guest, (uint16_t[]){101}, 1, DROPPED);
	assert_int_equal(
		set_vlan(guest,
			 (struct vlan_config){.mode = VLAN_COMMUNITY, .id = 100, .secondary = 101}),
		0);
	assert_in(*state, guest, (uint16_t[]){101}, 1, NO_TAG);
	test_guest_stop(guest);
}

/* The guest's own tags in band, one in the other: none of them gets past an access port. */
static void tags_in_band_are_tags(void **state)
{
	static const uint16_t tags[][2] = {{10, 20}, {0, 20}, {0, 10}, {20, 10}};
	struct test_guest *guest =
		start(*state, (struct vlan_config){.mode = VLAN_ACCESS, .id = 10});
	struct vsp_stats stats;

	for (size_t i = 0; i < 2 * ARRAY_LENGTH(tags); i++) {
		struct fake_tx tx = {.frame = frame, .has_vlan = i & 1, .vlan_tci = 0};
		int tci;

		tx.length = add_tags(make(test_guest_mac(guest), wire_host, 64), tags[i / 2], 2);
		assert_int_equal(
			fake_netvsc_send(test_guest_driver(guest), 0, FAKE_SECTION, &tx, 1), 0);
		assert_int_equal(take_wire(*state, QUIET_MS, &tci), 0);
	}
	assert_int_equal(vsp_guest_stats(test_guest_vsp(guest), &stats), 0);
	assert_int_equal(stats.tx_vlan, 2 * ARRAY_LENGTH(tags));
	test_guest_stop(guest);
}

/* A frame without a tag is as long as the MTU allows, and 4 bytes longer with one. */
static void frames_over_the_mtu_do_not_leave(void **state)
{
	struct test_guest *guest =
		start(*state, (struct vlan_config){.mode = VLAN_ACCESS, .id = 10});

	assert_out(*state, guest, NO_TAG, 9000 - 40, 10);
	assert_out(*state, guest, NO_TAG, 9000 - 40 + 5, DROPPED);
	test_guest_stop(guest);
}

static void change_of_mode_is_announced_in_the_new_vlan(void **state)
{
	struct test_guest *guest = test_guest_start(*state, "a/nic0", 1, &linux_driver, 0);
	size_t length;

	assert_non_null(guest);
	assert_int_equal(set_vlan(guest, (struct vlan_config){.mode = VLAN_ACCESS, .id = 33}), 0);
	length = wire_take(*state, seen, sizeof(seen), WAIT_MS);
	assert_int_equal(length, 64);
	assert_int_equal(get_be16(seen + 12), 0x8100);
	assert_int_equal(get_be16(seen + 14), 33);
	assert_int_equal(get_be16(seen + 16), RARP);
	test_guest_stop(guest);
}

static void bad_and_conflicting_modes_are_refused(void **state)
{
	struct test_guest *a = start(
		*state, (struct vlan_config){.mode = VLAN_ISOLATED, .id = 100, .secondary = 101});
	struct test_guest *b = test_guest_start(*state, "b/nic0", 2, &linux_driver, 0);
	struct vlan_config config = {.mode = VLAN_COMMUNITY, .id = 100, .secondary = 101};

	assert_non_null(b);
	assert_int_equal(set_vlan(b, config), -ENOTUNIQ);
	config.id = 102;
	assert_int_equal(set_vlan(b, config), -ENOTUNIQ);
	assert_int_equal(set_vlan(b, (struct vlan_config){.mode = VLAN_ACCESS, .id = 4095}),
			 -EINVAL);
	assert_int_equal(set_vlan(b, (struct vlan_config){.mode = VLAN_MODE_COUNT}), -EINVAL);
	assert_int_equal(set_vlan(b, (struct vlan_config){.mode = VLAN_TRUNK}), -EINVAL);
	/* When the other has gone, its VLANs are free. */
	test_guest_stop(a);
	config.id = 102;
	assert_int_equal(set_vlan(b, config), 0);
	test_guest_stop(b);
}

static void uplinks_that_carry_all_miss_nothing(void **state)
{
	struct test_guest *guest = test_guest_start(*state, "a/nic0", 1, &linux_driver, 0);
	struct vsp_vlan question = {.mode = VSP_VLAN_ACCESS, .id = 10};
	struct vsp_vlan_missing reply;
	static const uint8_t none[VSP_VLAN_SET_BYTES];

	assert_non_null(guest);
	assert_int_equal(vsp_guest_ask(test_guest_vsp(guest), VSP_VLAN_CHECK, &question.header,
				       sizeof(question), &reply, sizeof(reply)),
			 0);
	assert_memory_equal(reply.list, none, sizeof(none));
	test_guest_stop(guest);
}

static void frames_that_waited_are_filtered_by_the_new_mode(void **state)
{
	struct test_guest *guest =
		start(*state, (struct vlan_config){.mode = VLAN_ACCESS, .id = 10});
	uint64_t size;
	int fd;

	assert_in(*state, guest, (uint16_t[]){10}, 1, NO_TAG);
	assert_int_equal(vsp_guest_save(test_guest_vsp(guest), &fd, &size), 0);
	close(fd);
	assert_in(*state, guest, (uint16_t[]){10}, 1, DROPPED); /* it is held */
	assert_int_equal(set_vlan(guest, (struct vlan_config){.mode = VLAN_ACCESS, .id = 11}), 0);
	assert_int_equal(vsp_guest_resume(test_guest_vsp(guest), 0), 0);
	assert_null(test_guest_take(guest, QUIET_MS));
	assert_in(*state, guest, (uint16_t[]){11}, 1, NO_TAG);
	test_guest_stop(guest);
}

static void late_frames_are_filtered_too(void **state)
{
	struct test_guest *guest =
		start(*state, (struct vlan_config){.mode = VLAN_ACCESS, .id = 10});
	size_t length = add_tags(make(wire_host, test_guest_mac(guest), 64), (uint16_t[]){10}, 1);
	const struct test_frame *got;

	assert_int_equal(vsp_guest_inject(test_guest_vsp(guest), frame, length), 0);
	got = test_guest_take(guest, WAIT_MS);
	assert_non_null(got);
	assert_false(got->rx.has_vlan);
	length = add_tags(make(wire_host, test_guest_mac(guest), 64), (uint16_t[]){11}, 1);
	assert_int_equal(vsp_guest_inject(test_guest_vsp(guest), frame, length), -EINVAL);
	assert_null(test_guest_take(guest, QUIET_MS));
	test_guest_stop(guest);
}

#define vlan_test(name) cmocka_unit_test_setup_teardown(name, netvspd_setup, netvspd_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		vlan_test(access_port_tags_on_the_wire_and_the_guest_sees_none),
		vlan_test(trunk_passes_what_is_allowed),
		vlan_test(private_ports_send_in_one_vlan_and_hear_in_another),
		vlan_test(tags_in_band_are_tags),
		vlan_test(frames_over_the_mtu_do_not_leave),
		vlan_test(change_of_mode_is_announced_in_the_new_vlan),
		vlan_test(bad_and_conflicting_modes_are_refused),
		vlan_test(uplinks_that_carry_all_miss_nothing),
		vlan_test(frames_that_waited_are_filtered_by_the_new_mode),
		vlan_test(late_frames_are_filtered_too),
	};

	return cmocka_run_group_tests(tests, eal_group_setup, NULL);
}
