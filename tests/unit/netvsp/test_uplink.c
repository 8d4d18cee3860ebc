/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An uplink whose network takes no large frames, beside one that does: a frame that is too long for
 * it does not go there, and is counted; all others go. Its port is memif's, which takes 1518 bytes
 * and waits for a peer that never comes.
 */
#include "tests/unit/test_main.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/deadline.h"
#include "netvsp/switch.h"
#include "netvsp/uplink.h"
#include "netvsp/worker.h"
#include "tests/unit/netvsp/frames.h"
#include "tests/unit/netvsp/netvspd_fixture.h"

#define WAIT_MS 20000
#define HEADERS 66 /* Ethernet, IPv4, TCP with timestamps */

static const struct fake_netvsc_config large_mtu = {.flavour = FAKE_LINUX, .mtu = 9000};
static const uint8_t far_host[6] = {0x02, 0, 0, 0, 0x77, 0x01};
static uint8_t frame[FRAME_MAX];
static uint8_t seen[FRAME_MAX];

/* ---- the small uplink's counters, read where they are written ---- */

struct look {
	struct data_path *path;
	struct switch_port_counters counters;
	bool found;
};

static void look(void *ctx)
{
	struct look *look = ctx;
	struct switch_port *port = NULL;

	while ((port = vswitch_next_port(look->path->sw, port)))
		if (strncmp(switch_port_name(port), "uplink/net_memif", 16) == 0) {
			look->counters = *switch_port_counters(port);
			look->found = true;
		}
}

static struct switch_port_counters counters_of(struct data_path *path)
{
	struct look call = {.path = path};

	worker_call(path->worker, look, &call);
	assert_true(call.found);
	return call.counters;
}

/* Sends a frame of that length to a host that nobody knows; returns once the wire of the large
 * uplink has it, and so the small one's turn was too. */
static void send_far(void **state, struct test_guest *guest, size_t length)
{
	struct frame_spec spec = {.source_port = 1000,
				  .destination_port = 2000,
				  .tcp_flags = 0x18,
				  .payload_bytes = length - HEADERS,
				  .checksums = true};
	struct fake_tx tx = {.frame = frame};

	memcpy(spec.source, test_guest_mac(guest), 6);
	memcpy(spec.destination, far_host, 6);
	tx.length = frame_build(&spec, frame);
	assert_int_equal(tx.length, length);
	assert_int_equal(fake_netvsc_send(test_guest_driver(guest), 0, FAKE_PAGES, &tx, 1), 0);
	assert_true(wire_take(*state, seen, sizeof(seen), WAIT_MS) > 0);
}

static void frame_that_is_too_long_for_its_network_is_counted_and_not_sent(void **state)
{
	struct data_path *path = netvspd_data_path(*state);
	struct switch_port_counters counters;
	struct uplink_info info;
	struct test_guest *guest;
	struct uplink *small;
	char devargs[96], socket[40];

	snprintf(socket, sizeof(socket), "/tmp/lunar-memif-%d", (int)getpid());
	snprintf(devargs, sizeof(devargs), "net_memif0,role=server,socket-abstract=no,socket=%s",
		 socket);
	assert_int_equal(uplink_create(path, devargs, NULL, &small), 0);
	uplink_get_info(small, &info);
	assert_int_equal(info.mtu, 1500);
	guest = test_guest_start(*state, "a/nic0", 1, &large_mtu, 0);
	assert_non_null(guest);

	send_far(state, guest, 1514);
	counters = counters_of(path);
	assert_int_equal(counters.out_too_long, 0);
	send_far(state, guest, 1519);
	send_far(state, guest, 9014);
	counters = counters_of(path);
	assert_int_equal(counters.out_too_long, 2);
	assert_true(counters.out_dropped >= 2);
	send_far(state, guest, 1514);
	assert_int_equal(counters_of(path).out_too_long, 2);

	test_guest_stop(guest);
	uplink_destroy(small);
	unlink(socket);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			frame_that_is_too_long_for_its_network_is_counted_and_not_sent,
			netvspd_setup, netvspd_teardown),
	};

	return cmocka_run_group_tests(tests, eal_group_setup, NULL);
}
