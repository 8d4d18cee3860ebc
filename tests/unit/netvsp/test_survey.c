/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What netvspd tells of the network around it: uplinks, a guest's portals, and probes, whose
 * questions are read and answered on the wire.
 */
#include "tests/unit/test_main.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/deadline.h"
#include "base/fd_passing.h"
#include "tests/unit/netvsp/frames.h"
#include "tests/unit/netvsp/netvspd_fixture.h"

#define WAIT_MS	 20000
#define QUIET_MS 100

static const struct fake_netvsc_config linux_driver = {.flavour = FAKE_LINUX};
static const uint8_t target_mac[6] = {0x02, 0, 0, 0, 0x77, 0x01};
static uint8_t frame[FRAME_MAX];

/* ---- a client that has no vNIC ---- */

static void tell(int fd, uint32_t sequence, uint32_t type, struct vsp_header *message,
		 size_t length)
{
	message->type = type;
	message->size_bytes = (uint32_t)length;
	message->sequence = sequence;
	assert_int_equal(fd_passing_send(fd, message, length, NULL, 0), 0);
}

/* The next reply; its status. -ETIMEDOUT: none came. */
static int hear(int fd, uint32_t type, uint32_t sequence, void *reply, size_t size, int timeout_ms)
{
	struct pollfd ready = {.fd = fd, .events = POLLIN};
	struct vsp_header *header = reply;
	size_t fd_count;

	if (poll(&ready, 1, timeout_ms) != 1)
		return -ETIMEDOUT;
	assert_true(fd_passing_receive(fd, reply, size, NULL, 0, &fd_count) >=
		    (ssize_t)sizeof(*header));
	assert_int_equal(header->type, type | VSP_REPLY);
	assert_int_equal(header->sequence, sequence);
	return header->status;
}

static int connect_client(void **state)
{
	int fd = unix_socket_connect(netvspd_socket(*state), SOCK_SEQPACKET);
	struct vsp_hello hello = {.version = VSP_VERSION};

	assert_true(fd >= 0);
	tell(fd, 1, VSP_HELLO, &hello.header, sizeof(hello));
	assert_int_equal(hear(fd, VSP_HELLO, 1, &hello, sizeof(hello), WAIT_MS), 0);
	return fd;
}

static struct vsp_probe probe_of_ipv4(uint8_t last)
{
	return (struct vsp_probe){
		.portal = {.address = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, last},
			   .port = 3260}};
}

static struct vsp_probe probe_of_ipv6(void)
{
	return (struct vsp_probe){.portal = {.address = {0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0,
							 0, 0, 0, 0x12, 0x34, 0x56},
					     .port = 3260}};
}

static int probe_status(int fd, struct vsp_probe probe)
{
	struct vsp_header reply;

	tell(fd, 5, VSP_PROBE, &probe.header, sizeof(probe));
	return hear(fd, VSP_PROBE, 5, &reply, sizeof(reply), 2000);
}

/* ---- what there is ---- */

static void info_tells_uplinks_and_vnics(void **state)
{
	struct test_guest *guest = test_guest_start(*state, "a/nic0", 1, &linux_driver, 0);
	int fd = connect_client(state);
	struct vsp_header ask = {0};
	struct vsp_info info = {0};

	assert_non_null(guest);
	tell(fd, 2, VSP_INFO, &ask, sizeof(ask));
	assert_int_equal(hear(fd, VSP_INFO, 2, &info, sizeof(info), WAIT_MS), 0);
	assert_int_equal(info.header.size_bytes, sizeof(info));
	assert_int_equal(info.uplink_count, 1);
	assert_int_equal(info.vnic_count, 1);
	assert_int_equal(strncmp(info.uplinks[0].name, "net_ring_", 9), 0);
	assert_int_equal(info.uplinks[0].link_up, 1);
	assert_in_range(info.uplinks[0].mtu, 1500, 9216);
	close(fd);
	test_guest_stop(guest);
}

static void send_to_portal(struct test_guest *guest, uint8_t last, uint16_t port, bool ipv6,
			   uint16_t vlan)
{
	struct frame_spec spec = {.source_port = 40000,
				  .destination_port = port,
				  .ipv6 = ipv6,
				  .payload_bytes = 48,
				  .checksums = true};
	struct fake_tx tx = {.frame = frame, .has_vlan = vlan != 0, .vlan_tci = vlan};

	memcpy(spec.source, test_guest_mac(guest), 6);
	memcpy(spec.destination, target_mac, 6);
	spec.destination[5] = last;
	tx.length = frame_build(&spec, frame);
	assert_int_equal(fake_netvsc_send(test_guest_driver(guest), 0, FAKE_SECTION, &tx, 1), 0);
	assert_int_equal(fake_netvsc_drain(test_guest_driver(guest), WAIT_MS), 0);
}

static struct vsp_portals portals_of(struct test_guest *guest)
{
	struct vsp_header ask = {0};
	struct vsp_portals portals;

	assert_int_equal(vsp_guest_ask(test_guest_vsp(guest), VSP_PORTALS, &ask, sizeof(ask),
				       &portals, sizeof(portals)),
			 0);
	return portals;
}

static void portals_are_noted_the_latest_first(void **state)
{
	/* As frame_build() makes addresses. */
	static const uint8_t v4[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 3};
	static const uint8_t v6[16] = {0xfd, 0xfd, 0xfd, 0xfd, 0xfd, 0xfd, 0xfd, 0xfd,
				       0,    0,	   0,	 0,    0,    0,	   0,	 4};
	struct test_guest *guest = test_guest_start(*state, "a/nic0", 1, &linux_driver, 0);
	struct vsp_portals portals;

	assert_non_null(guest);
	assert_int_equal(portals_of(guest).count, 0);
	send_to_portal(guest, 9, 3261, false, 0);
	send_to_portal(guest, 3, 3260, false, 0);
	send_to_portal(guest, 4, 3260, true, 0x2007);
	send_to_portal(guest, 3, 80, true, 0);
	portals = portals_of(guest);
	assert_int_equal(portals.count, 2);
	assert_memory_equal(portals.portals[0].address, v6, 16);
	assert_int_equal(portals.portals[0].vlan, 7);
	assert_int_equal(portals.portals[0].port, 3260);
	assert_memory_equal(portals.portals[1].address, v4, 16);
	assert_int_equal(portals.portals[1].vlan, 0);
	assert_memory_equal(portals.portals[1].next_hop, target_mac, 5);
	assert_int_equal(portals.portals[1].next_hop[5], 3);
	send_to_portal(guest, 3, 3260, false, 0);
	portals = portals_of(guest);
	assert_int_equal(portals.count, 2);
	assert_memory_equal(portals.portals[0].address, v4, 16);
	/* More than there is room for: the oldest go. */
	for (uint8_t last = 20; last < 40; last++)
		send_to_portal(guest, last, 3260, false, 0);
	portals = portals_of(guest);
	assert_int_equal(portals.count, VSP_MAX_PORTALS);
	for (uint8_t i = 0; i < VSP_MAX_PORTALS; i++)
		assert_int_equal(portals.portals[i].address[15], 39 - i);
	test_guest_stop(guest);
}

/* ---- probes ---- */

static void arp_probe_is_answered_by_the_owner(void **state)
{
	struct test_guest *local = test_guest_start(*state, "a/nic0", 1, &linux_driver, 0);
	int fd = connect_client(state);
	struct vsp_probe probe = probe_of_ipv4(7);
	struct vsp_header reply, info_ask = {0};
	struct vsp_info info;
	uint8_t answer[60] = {0};

	assert_non_null(local);
	tell(fd, 2, VSP_PROBE, &probe.header, sizeof(probe));
	assert_int_equal(wire_take(*state, frame, sizeof(frame), WAIT_MS), 60);
	/* RFC 5227: a request for the address with no sender's address. */
	assert_memory_equal(frame, ((const uint8_t[]){0xff, 0xff, 0xff, 0xff, 0xff, 0xff}), 6);
	assert_int_equal(frame[6] & 3, 2); /* unicast, local */
	assert_memory_equal(frame + 12, ((const uint8_t[]){8, 6, 0, 1, 8, 0, 6, 4, 0, 1}), 10);
	assert_memory_equal(frame + 22, frame + 6, 6);
	assert_int_equal(get_be32(frame + 28), 0);
	assert_int_equal(get_be32(frame + 38), 0xc0000207);
	/* Others are served meanwhile, on the same connection too. */
	tell(fd, 3, VSP_INFO, &info_ask, sizeof(info_ask));
	assert_int_equal(hear(fd, VSP_INFO, 3, &info, sizeof(info), WAIT_MS), 0);
	/* An answer for another address is none. */
	memcpy(answer, frame + 6, 6);
	memcpy(answer + 6, target_mac, 6);
	memcpy(answer + 12, frame + 12, 10);
	answer[21] = 2;
	memcpy(answer + 22, target_mac, 6);
	put_be32(answer + 28, 0xc0000208);
	memcpy(answer + 32, frame + 6, 6);
	wire_put(*state, answer, sizeof(answer), 0);
	assert_int_equal(hear(fd, VSP_PROBE, 2, &reply, sizeof(reply), 50), -ETIMEDOUT);
	put_be32(answer + 28, 0xc0000207);
	wire_put(*state, answer, sizeof(answer), 0);
	assert_int_equal(hear(fd, VSP_PROBE, 2, &reply, sizeof(reply), WAIT_MS), 0);
	close(fd);
	test_guest_stop(local);
}

static void probe_on_a_vlan_asks_and_listens_there(void **state)
{
	int fd = connect_client(state);
	struct vsp_probe probe = probe_of_ipv4(7);
	struct vsp_header reply;
	uint8_t answer[64] = {0};

	probe.portal.vlan = 9;
	tell(fd, 2, VSP_PROBE, &probe.header, sizeof(probe));
	assert_int_equal(wire_take(*state, frame, sizeof(frame), WAIT_MS), 64);
	assert_int_equal(get_be32(frame + 12), 0x81000009);
	memcpy(answer, frame + 6, 6);
	memcpy(answer + 6, target_mac, 6);
	memcpy(answer + 12, frame + 16, 10);
	answer[21] = 2;
	put_be32(answer + 28, 0xc0000207);
	wire_put(*state, answer, 60, 0); /* untagged */
	assert_int_equal(hear(fd, VSP_PROBE, 2, &reply, sizeof(reply), 50), -ETIMEDOUT);
	memmove(answer + 16, answer + 12, 48);
	put_be32(answer + 12, 0x81000009);
	wire_put(*state, answer, 64, 0);
	assert_int_equal(hear(fd, VSP_PROBE, 2, &reply, sizeof(reply), WAIT_MS), 0);
	close(fd);
}

static void ipv6_probe_is_a_solicitation_without_a_sender(void **state)
{
	static const uint8_t expected[] = {0x33, 0x33, 0xff, 0x12, 0x34, 0x56, 0,    0,
					   0,	 0,    0,    0,	   0x86, 0xdd, /* ether */
					   0x60, 0,    0,    0,	   0,	 24,   58,   255, /* IPv6 */
					   0,	 0,    0,    0,	   0,	 0,    0,    0,
					   0,	 0,    0,    0,	   0,	 0,    0,    0, /* from */
					   0xff, 2,    0,    0,	   0,	 0,    0,    0,
					   0,	 0,    0,    1,	   0xff, 0x12, 0x34, 0x56, /* to */
					   135,	 0,    0,    0,	   0,	 0,    0,    0,
					   0x20, 0x01, 0x0d, 0xb8, 0,	 0,    0,    0,
					   0,	 0,    0,    0,	   0,	 0x12, 0x34, 0x56};
	int fd = connect_client(state);
	struct vsp_probe probe = probe_of_ipv6();
	struct vsp_header reply;
	uint8_t answer[78];
	uint32_t sum = 24 + 58;

	tell(fd, 2, VSP_PROBE, &probe.header, sizeof(probe));
	assert_int_equal(wire_take(*state, frame, sizeof(frame), WAIT_MS), sizeof(expected));
	for (size_t i = 22; i < sizeof(expected); i += 2)
		sum += get_be16(frame + i);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	assert_int_equal(sum, 0xffff); /* its checksum is right */
	memcpy(answer, frame, sizeof(answer));
	memset(frame + 6, 0, 6);
	put_be16(frame + 56, 0);
	assert_memory_equal(frame, expected, sizeof(expected));
	/* The owner tells all nodes. */
	memcpy(answer, ((const uint8_t[]){0x33, 0x33, 0, 0, 0, 1}), 6);
	memcpy(answer + 6, target_mac, 6);
	answer[54] = 136;
	wire_put(*state, answer, sizeof(answer), 0);
	assert_int_equal(hear(fd, VSP_PROBE, 2, &reply, sizeof(reply), WAIT_MS), 0);
	close(fd);
}

static void nobody_there_is_told_within_two_seconds(void **state)
{
	int fd = connect_client(state);
	unsigned int asked = 0;

	assert_int_equal(probe_status(fd, probe_of_ipv4(7)), -EHOSTUNREACH);
	while (wire_take(*state, frame, sizeof(frame), 0) > 0)
		asked++;
	assert_in_range(asked, 3, 5);
	close(fd);
}

static void router_that_was_seen_is_as_good_as_an_answer(void **state)
{
	int fd = connect_client(state);
	struct vsp_probe probe = probe_of_ipv4(7);
	struct frame_spec spec = {.payload_bytes = 10, .checksums = true};

	memcpy(spec.source, target_mac, 6);
	memset(spec.destination, 0xff, 6);
	wire_put(*state, frame, frame_build(&spec, frame), 0);
	usleep(50000);
	memcpy(probe.portal.next_hop, target_mac, 6);
	assert_int_equal(probe_status(fd, probe), 0);
	probe.portal.next_hop[5] ^= 1;
	assert_int_equal(probe_status(fd, probe), -EHOSTUNREACH);
	close(fd);
}

static void addresses_that_no_machine_has_are_refused(void **state)
{
	int fd = connect_client(state);
	struct vsp_probe probe = probe_of_ipv4(7);

	probe.portal.address[12] = 127;
	assert_int_equal(probe_status(fd, probe), -EAFNOSUPPORT);
	probe.portal.address[12] = 239;
	assert_int_equal(probe_status(fd, probe), -EAFNOSUPPORT);
	probe.portal.address[12] = 0;
	assert_int_equal(probe_status(fd, probe), -EAFNOSUPPORT);
	memset(&probe.portal.address, 0, 16);
	assert_int_equal(probe_status(fd, probe), -EAFNOSUPPORT);
	probe.portal.address[15] = 1;
	assert_int_equal(probe_status(fd, probe), -EAFNOSUPPORT);
	probe.portal.address[0] = 0xff;
	assert_int_equal(probe_status(fd, probe), -EAFNOSUPPORT);
	probe = probe_of_ipv4(7);
	probe.portal.vlan = 4096;
	assert_int_equal(probe_status(fd, probe), -EINVAL);
	close(fd);
}

static void client_that_goes_away_takes_its_probes_along(void **state)
{
	for (int i = 0; i < 10; i++) {
		int fd = connect_client(state);
		struct vsp_header reply;

		for (uint32_t n = 0; n < 40; n++) {
			struct vsp_probe probe = probe_of_ipv4((uint8_t)(n + 1));

			tell(fd, n + 10, VSP_PROBE, &probe.header, sizeof(probe));
		}
		/* More than one client may have. */
		assert_int_equal(hear(fd, VSP_PROBE, 42, &reply, sizeof(reply), WAIT_MS), -EBUSY);
		close(fd);
	}
	usleep(100000);
}

#define survey_test(name) cmocka_unit_test_setup_teardown(name, netvspd_setup, netvspd_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		survey_test(info_tells_uplinks_and_vnics),
		survey_test(portals_are_noted_the_latest_first),
		survey_test(arp_probe_is_answered_by_the_owner),
		survey_test(probe_on_a_vlan_asks_and_listens_there),
		survey_test(ipv6_probe_is_a_solicitation_without_a_sender),
		survey_test(nobody_there_is_told_within_two_seconds),
		survey_test(router_that_was_seen_is_as_good_as_an_answer),
		survey_test(addresses_that_no_machine_has_are_refused),
		survey_test(client_that_goes_away_takes_its_probes_along),
	};

	return cmocka_run_group_tests(tests, eal_group_setup, NULL);
}
