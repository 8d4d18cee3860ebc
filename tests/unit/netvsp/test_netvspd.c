/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * netvspd as its guests and its wire see it: fake guests on the vsp socket, rings as the uplink.
 * The verdict is always taken at the far end: a frame in another guest or on the wire.
 */
#include "tests/unit/test_main.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/deadline.h"
#include "tests/unit/netvsp/frames.h"
#include "tests/unit/netvsp/netvspd_fixture.h"
#include "vmbus/packet.h"

#define WAIT_MS	 20000 /* for what must come */
#define QUIET_MS 100   /* for what must not */

static const struct fake_netvsc_config linux_driver = {.flavour = FAKE_LINUX};
static const uint8_t broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
static const uint8_t wire_host[6] = {0x02, 0, 0, 0, 0x99, 0x99};

static uint8_t frame[FRAME_MAX];
static uint8_t seen_frame[FRAME_MAX];

static struct frame_spec spec_between(const uint8_t *from, const uint8_t *to, size_t payload_bytes)
{
	struct frame_spec spec = {.source_port = 1000,
				  .destination_port = 2000,
				  .sequence = 0x10000000,
				  .tcp_flags = 0x18,
				  .payload_bytes = payload_bytes,
				  .checksums = true};

	memcpy(spec.source, from, 6);
	memcpy(spec.destination, to, 6);
	return spec;
}

static void send_tx(struct test_guest *guest, enum fake_way way, const struct fake_tx *tx,
		    size_t count)
{
	int rc;

	for (int i = 0; i < 1000; i++) {
		rc = fake_netvsc_send(test_guest_driver(guest), 0, way, tx, count);
		if (rc != -EAGAIN)
			break;
		fake_netvsc_poll(test_guest_driver(guest), 10);
	}
	assert_int_equal(rc, 0);
}

static void send_plain(struct test_guest *guest, enum fake_way way, const uint8_t *bytes,
		       size_t length)
{
	struct fake_tx tx = {.frame = bytes, .length = length};

	send_tx(guest, way, &tx, 1);
}

static void assert_no_violation(struct test_guest *guest)
{
	const char *violation = fake_netvsc_violation(test_guest_driver(guest));

	if (violation)
		fail_msg("%s", violation);
}

static void assert_all_completed(struct test_guest *guest)
{
	const struct fake_netvsc_counts *counts = fake_netvsc_counts(test_guest_driver(guest));

	assert_int_equal(fake_netvsc_drain(test_guest_driver(guest), WAIT_MS), 0);
	assert_int_equal(counts->tx_completed, counts->tx_sent);
	assert_no_violation(guest);
}

static void assert_took(struct test_guest *guest, const uint8_t *bytes, size_t length)
{
	const struct test_frame *got = test_guest_take(guest, WAIT_MS);

	assert_non_null(got);
	assert_int_equal(got->rx.length, length);
	assert_memory_equal(got->bytes, bytes, length);
}

static struct test_guest *start(void **state, const char *name, uint8_t last)
{
	struct test_guest *guest =
		test_guest_start(*state, name, last, &linux_driver, VSP_NIC_SPOOF_GUARD);

	assert_non_null(guest);
	return guest;
}

/* ---- negotiation ---- */

static void linux_driver_gets_nvsp_61_checksum_and_lso(void **state)
{
	struct test_guest *guest = start(state, "vm1/nic0", 1);
	const struct fake_netvsc_info *info = fake_netvsc_info(test_guest_driver(guest));

	assert_int_equal(info->version, NVSP_VERSION_61);
	assert_memory_equal(info->mac, test_guest_mac(guest), 6);
	assert_true(info->link_up);
	assert_int_not_equal(info->hwcaps.checksum.ip4_tx, 0);
	assert_int_not_equal(info->hwcaps.lso_v2.ip4_encap, 0);
	assert_string_equal(info->friendly_name, "vm1/nic0");
	assert_no_violation(guest);
	test_guest_stop(guest);
}

static void second_nic_with_the_same_address_is_refused(void **state)
{
	struct test_guest *guest = start(state, "vm1/nic0", 1);
	struct vsp_guest_config config = {.socket = netvspd_socket(*state), .name = "vm2/nic0"};
	struct vsp_guest *other;

	memcpy(config.mac, test_guest_mac(guest), 6);
	assert_int_equal(vsp_guest_create(&config, &other), -EEXIST);
	config.mac[5] = 2;
	config.name = "vm1/nic0";
	assert_int_equal(vsp_guest_create(&config, &other), -EEXIST);
	test_guest_stop(guest);
}

static void driver_can_stop_and_start_again(void **state)
{
	struct test_guest *guest = start(state, "vm1/nic0", 1);

	for (int i = 0; i < 5; i++) {
		assert_int_equal(fake_netvsc_stop(test_guest_driver(guest)), 0);
		assert_int_equal(fake_netvsc_start(test_guest_driver(guest)), 0);
	}
	assert_no_violation(guest);
	test_guest_stop(guest);
}

/* ---- switching ---- */

static void frames_pass_between_guests_in_every_way_of_sending(void **state)
{
	static const enum fake_way ways[] = {FAKE_SECTION, FAKE_PAGES, FAKE_MIXED};
	static const size_t sizes[] = {0, 1, 100, 1446};
	struct test_guest *a = start(state, "a/nic0", 1), *b = start(state, "b/nic0", 2);

	for (size_t w = 0; w < ARRAY_LENGTH(ways); w++) {
		for (size_t s = 0; s < ARRAY_LENGTH(sizes); s++) {
			struct frame_spec spec =
				spec_between(test_guest_mac(a), test_guest_mac(b), sizes[s]);
			size_t length;

			spec.seed = (uint8_t)(w * 16 + s);
			length = frame_build(&spec, frame);
			send_plain(a, ways[w], frame, length);
			assert_took(b, frame, length);
		}
	}
	assert_all_completed(a);
	/* Both guests are known, so the wire saw nothing. */
	assert_int_equal(wire_take(*state, seen_frame, sizeof(seen_frame), QUIET_MS), 0);
	test_guest_stop(a);
	test_guest_stop(b);
}

static void several_frames_in_one_message_arrive_in_order(void **state)
{
	struct test_guest *a = start(state, "a/nic0", 1), *b = start(state, "b/nic0", 2);
	static uint8_t frames[8][600];
	struct fake_tx tx[8] = {0};

	for (size_t i = 0; i < ARRAY_LENGTH(tx); i++) {
		struct frame_spec spec =
			spec_between(test_guest_mac(a), test_guest_mac(b), 100 + i * 37);

		spec.seed = (uint8_t)i;
		tx[i].frame = frames[i];
		tx[i].length = frame_build(&spec, frames[i]);
	}
	send_tx(a, FAKE_SECTION, tx, ARRAY_LENGTH(tx));
	for (size_t i = 0; i < ARRAY_LENGTH(tx); i++)
		assert_took(b, tx[i].frame, tx[i].length);
	assert_all_completed(a);
	test_guest_stop(a);
	test_guest_stop(b);
}

static void unknown_unicast_goes_to_the_wire_and_not_to_other_guests(void **state)
{
	struct test_guest *a = start(state, "a/nic0", 1), *b = start(state, "b/nic0", 2);
	struct frame_spec spec = spec_between(test_guest_mac(a), wire_host, 64);
	size_t length = frame_build(&spec, frame);

	send_plain(a, FAKE_SECTION, frame, length);
	assert_int_equal(wire_take(*state, seen_frame, sizeof(seen_frame), WAIT_MS), length);
	assert_memory_equal(seen_frame, frame, length);
	assert_null(test_guest_take(b, QUIET_MS));
	test_guest_stop(a);
	test_guest_stop(b);
}

static void broadcast_reaches_the_wire_and_every_guest_but_its_sender(void **state)
{
	struct test_guest *a = start(state, "a/nic0", 1), *b = start(state, "b/nic0", 2),
			  *c = start(state, "c/nic0", 3);
	struct frame_spec spec = spec_between(test_guest_mac(a), broadcast, 64);
	size_t length = frame_build(&spec, frame);

	send_plain(a, FAKE_SECTION, frame, length);
	assert_int_equal(wire_take(*state, seen_frame, sizeof(seen_frame), WAIT_MS), length);
	assert_took(b, frame, length);
	assert_took(c, frame, length);
	assert_null(test_guest_take(a, QUIET_MS));
	test_guest_stop(a);
	test_guest_stop(b);
	test_guest_stop(c);
}

static void frames_from_the_wire_reach_the_guest_they_are_for(void **state)
{
	struct test_guest *a = start(state, "a/nic0", 1), *b = start(state, "b/nic0", 2);
	struct frame_spec spec = spec_between(wire_host, test_guest_mac(b), 1000);
	size_t length = frame_build(&spec, frame);
	const struct test_frame *got;

	wire_put(*state, frame, length, 0);
	got = test_guest_take(b, WAIT_MS);
	assert_non_null(got);
	assert_memory_equal(got->bytes, frame, length);
	/* Nobody has looked at the checksum: the guest is not told that it is good. */
	assert_false(got->rx.has_csum &&
		     got->rx.csum & (RNDIS_RXCSUM_TCP_OK | RNDIS_RXCSUM_TCP_FAILED));
	assert_null(test_guest_take(a, QUIET_MS));

	wire_put(*state, frame, length, RTE_MBUF_F_RX_L4_CKSUM_GOOD);
	got = test_guest_take(b, WAIT_MS);
	assert_non_null(got);
	assert_true(got->rx.has_csum);
	assert_true(got->rx.csum & RNDIS_RXCSUM_TCP_OK);
	test_guest_stop(a);
	test_guest_stop(b);
}

static void frame_with_anothers_source_is_dropped_and_counted(void **state)
{
	struct test_guest *a = start(state, "a/nic0", 1), *b = start(state, "b/nic0", 2);
	struct frame_spec spec = spec_between(wire_host, test_guest_mac(b), 64);
	size_t length = frame_build(&spec, frame);
	struct vsp_stats stats;

	send_plain(a, FAKE_SECTION, frame, length);
	assert_all_completed(a);
	assert_null(test_guest_take(b, QUIET_MS));
	assert_int_equal(vsp_guest_stats(test_guest_vsp(a), &stats), 0);
	assert_int_equal(stats.tx_spoofed, 1);
	test_guest_stop(a);
	test_guest_stop(b);
}

static void wire_cannot_take_a_local_guests_address_over(void **state)
{
	struct test_guest *a = start(state, "a/nic0", 1), *b = start(state, "b/nic0", 2);
	struct frame_spec forged = spec_between(test_guest_mac(b), broadcast, 64);
	struct frame_spec spec = spec_between(test_guest_mac(a), test_guest_mac(b), 64);
	size_t length = frame_build(&forged, frame);

	wire_put(*state, frame, length, 0);
	assert_null(test_guest_take(a, QUIET_MS));
	length = frame_build(&spec, frame);
	send_plain(a, FAKE_SECTION, frame, length);
	assert_took(b, frame, length);
	test_guest_stop(a);
	test_guest_stop(b);
}

/* ---- tags ---- */

static void tag_of_a_guest_is_in_the_frame_on_the_wire(void **state)
{
	struct test_guest *a = start(state, "a/nic0", 1);
	struct frame_spec spec = spec_between(test_guest_mac(a), wire_host, 64);
	size_t length = frame_build(&spec, frame);
	struct fake_tx tx = {
		.frame = frame, .length = length, .has_vlan = true, .vlan_tci = 0x6064};

	send_tx(a, FAKE_SECTION, &tx, 1);
	assert_int_equal(wire_take(*state, seen_frame, sizeof(seen_frame), WAIT_MS), length + 4);
	assert_memory_equal(seen_frame, frame, 12);
	assert_int_equal(get_be16(seen_frame + 12), 0x8100);
	assert_int_equal(get_be16(seen_frame + 14), 0x6064);
	assert_memory_equal(seen_frame + 16, frame + 12, length - 12);
	test_guest_stop(a);
}

static void tag_on_the_wire_reaches_the_guest_beside_the_frame(void **state)
{
	struct test_guest *a = start(state, "a/nic0", 1);
	struct frame_spec spec = spec_between(wire_host, test_guest_mac(a), 64);
	size_t length = frame_build(&spec, frame);
	const struct test_frame *got;
	uint8_t tagged[200];

	memcpy(tagged, frame, 12);
	put_be16(tagged + 12, 0x8100);
	put_be16(tagged + 14, 0xa00c);
	memcpy(tagged + 16, frame + 12, length - 12);
	wire_put(*state, tagged, length + 4, 0);
	got = test_guest_take(a, WAIT_MS);
	assert_non_null(got);
	assert_true(got->rx.has_vlan);
	assert_int_equal(got->rx.vlan_tci, 0xa00c);
	assert_int_equal(got->rx.length, length);
	assert_memory_equal(got->bytes, frame, length);
	assert_no_violation(a);
	test_guest_stop(a);
}

static void tagged_broadcast_is_whole_for_guest_and_wire_alike(void **state)
{
	struct test_guest *a = start(state, "a/nic0", 1), *b = start(state, "b/nic0", 2);
	struct frame_spec spec = spec_between(test_guest_mac(a), broadcast, 64);
	size_t length = frame_build(&spec, frame);
	struct fake_tx tx = {.frame = frame, .length = length, .has_vlan = true, .vlan_tci = 7};
	const struct test_frame *got;

	send_tx(a, FAKE_SECTION, &tx, 1);
	got = test_guest_take(b, WAIT_MS);
	assert_non_null(got);
	assert_true(got->rx.has_vlan);
	assert_int_equal(got->rx.vlan_tci, 7);
	assert_memory_equal(got->bytes, frame, length);
	assert_int_equal(wire_take(*state, seen_frame, sizeof(seen_frame), WAIT_MS), length + 4);
	assert_int_equal(get_be16(seen_frame + 14), 7);
	test_guest_stop(a);
	test_guest_stop(b);
}

/* ---- checksums and segments ---- */

static uint32_t checksum_request(const struct frame_spec *spec)
{
	uint32_t l4 = 14u + (spec->ipv6 ? 40u : 20u);

	return (spec->ipv6 ? RNDIS_TXCSUM_IPV6 : RNDIS_TXCSUM_IPV4) |
	       (spec->udp ? RNDIS_TXCSUM_UDP : RNDIS_TXCSUM_TCP) | l4 << RNDIS_TXCSUM_L4_SHIFT;
}

static uint32_t lso_request(const struct frame_spec *spec, uint32_t mss)
{
	uint32_t l4 = 14u + (spec->ipv6 ? 40u : 20u);

	return mss | l4 << RNDIS_LSO_L4_SHIFT | RNDIS_LSO_V2 | (spec->ipv6 ? RNDIS_LSO_IPV6 : 0);
}

static void checksums_left_to_us_are_right_on_the_wire(void **state)
{
	struct test_guest *a = start(state, "a/nic0", 1);

	for (unsigned int i = 0; i < 4; i++) {
		/* An odd length: the last byte counts as a word of its own. */
		struct frame_spec spec = spec_between(test_guest_mac(a), wire_host, 333);
		struct frame_seen seen;
		struct fake_tx tx;
		size_t length;

		spec.ipv6 = i & 1;
		spec.udp = i & 2;
		spec.checksums = false;
		length = frame_build(&spec, frame);
		tx = (struct fake_tx){.frame = frame,
				      .length = length,
				      .has_csum = true,
				      .csum = checksum_request(&spec)};
		send_tx(a, FAKE_MIXED, &tx, 1);
		assert_int_equal(wire_take(*state, seen_frame, sizeof(seen_frame), WAIT_MS),
				 length);
		assert_true(frame_read(seen_frame, length, &seen));
		assert_true(seen.ip_checksum_good);
		assert_true(seen.l4_checksum_good);
		assert_memory_equal(seen_frame + seen.payload_offset, frame + seen.payload_offset,
				    333);
	}
	assert_all_completed(a);
	test_guest_stop(a);
}

static void checksum_left_to_us_is_called_good_by_a_local_receiver(void **state)
{
	struct test_guest *a = start(state, "a/nic0", 1), *b = start(state, "b/nic0", 2);
	struct frame_spec spec = spec_between(test_guest_mac(a), test_guest_mac(b), 200);
	const struct test_frame *got;
	struct fake_tx tx;

	spec.checksums = false;
	tx = (struct fake_tx){.frame = frame,
			      .length = frame_build(&spec, frame),
			      .has_csum = true,
			      .csum = checksum_request(&spec)};
	send_tx(a, FAKE_SECTION, &tx, 1);
	got = test_guest_take(b, WAIT_MS);
	assert_non_null(got);
	assert_true(got->rx.has_csum);
	assert_true(got->rx.csum & RNDIS_RXCSUM_TCP_OK);
	test_guest_stop(a);
	test_guest_stop(b);
}

/* Sends a large packet and leaves it in frame. Returns its length. */
static size_t send_large(struct test_guest *guest, struct frame_spec *spec, uint32_t mss)
{
	struct fake_tx tx = {.frame = frame, .has_lso = true, .lso = lso_request(spec, mss)};

	spec->checksums = false;
	spec->large = true;
	tx.length = frame_build(spec, frame);
	send_tx(guest, FAKE_MIXED, &tx, 1);
	return tx.length;
}

/* One segment: checksums, sequence, flags, payload. */
static void check_segment(const struct frame_spec *spec, const uint8_t *bytes, size_t length,
			  size_t mss, size_t *done, bool l4_checksum)
{
	struct frame_seen seen;

	assert_true(frame_read(bytes, length, &seen));
	assert_true(seen.ip_checksum_good);
	if (l4_checksum)
		assert_true(seen.l4_checksum_good);
	assert_int_equal(seen.sequence, spec->sequence + *done);
	assert_in_range(seen.payload_bytes, 1, mss);
	for (size_t i = 0; i < seen.payload_bytes; i++)
		assert_int_equal(bytes[seen.payload_offset + i],
				 frame_payload_byte(spec, *done + i));
	*done += seen.payload_bytes;
	/* PSH and FIN belong to the last segment alone. */
	assert_int_equal(seen.tcp_flags & 0x09,
			 *done == spec->payload_bytes ? spec->tcp_flags & 0x09 : 0);
	assert_int_equal(seen.tcp_flags & 0x10, 0x10);
}

static void large_packets_are_cut_into_right_segments_on_the_wire(void **state)
{
	struct test_guest *a = start(state, "a/nic0", 1);

	for (unsigned int i = 0; i < 2; i++) {
		struct frame_spec spec = spec_between(test_guest_mac(a), wire_host, 61000);
		size_t done = 0;

		spec.ipv6 = i & 1;
		spec.tcp_flags = 0x19;
		send_large(a, &spec, 1400);
		while (done < spec.payload_bytes) {
			size_t length = wire_take(*state, seen_frame, sizeof(seen_frame), WAIT_MS);

			assert_int_not_equal(length, 0);
			check_segment(&spec, seen_frame, length, 1400, &done, true);
		}
		assert_int_equal(done, spec.payload_bytes);
	}
	assert_int_equal(wire_take(*state, seen_frame, sizeof(seen_frame), QUIET_MS), 0);
	assert_all_completed(a);
	test_guest_stop(a);
}

static void tagged_large_packets_have_the_tag_in_every_segment(void **state)
{
	struct test_guest *a = start(state, "a/nic0", 1);

	for (unsigned int i = 0; i < 2; i++) {
		struct frame_spec spec = spec_between(test_guest_mac(a), wire_host, 5000);
		struct fake_tx tx = {
			.frame = frame, .has_lso = true, .has_vlan = true, .vlan_tci = 42};
		size_t done = 0;

		spec.ipv6 = i & 1;
		spec.large = true;
		spec.checksums = false;
		tx.lso = lso_request(&spec, 1000);
		tx.length = frame_build(&spec, frame);
		send_tx(a, FAKE_PAGES, &tx, 1);
		while (done < spec.payload_bytes) {
			size_t length = wire_take(*state, seen_frame, sizeof(seen_frame), WAIT_MS);

			assert_int_not_equal(length, 0);
			assert_int_equal(get_be16(seen_frame + 12), 0x8100);
			assert_int_equal(get_be16(seen_frame + 14), 42);
			memmove(seen_frame + 4, seen_frame, 12);
			check_segment(&spec, seen_frame + 4, length - 4, 1000, &done, true);
		}
	}
	test_guest_stop(a);
}

static void large_packets_reach_a_linux_guest_in_one_piece(void **state)
{
	struct test_guest *a = start(state, "a/nic0", 1), *b = start(state, "b/nic0", 2);

	for (unsigned int i = 0; i < 2; i++) {
		struct frame_spec spec = spec_between(test_guest_mac(a), test_guest_mac(b), 61000);
		const struct test_frame *got;
		size_t done = 0, length;

		spec.ipv6 = i & 1;
		length = send_large(a, &spec, 1400);
		got = test_guest_take(b, WAIT_MS);
		assert_non_null(got);
		assert_int_equal(got->rx.length, length);
		assert_in_range(got->rx.fragments, 2, 562);
		assert_true(got->rx.csum & RNDIS_RXCSUM_TCP_OK);
		check_segment(&spec, got->bytes, got->rx.length, 61000, &done, false);
		assert_int_equal(done, 61000);
	}
	assert_no_violation(b);
	test_guest_stop(a);
	test_guest_stop(b);
}

static void large_packets_reach_a_guest_without_coalescing_in_segments(void **state)
{
	struct fake_netvsc_config dpdk_driver = {.flavour = FAKE_DPDK};
	struct test_guest *a = start(state, "a/nic0", 1);
	struct test_guest *b = test_guest_start(*state, "b/nic0", 2, &dpdk_driver, 0);

	assert_non_null(b);
	for (unsigned int i = 0; i < 2; i++) {
		struct frame_spec spec = spec_between(test_guest_mac(a), test_guest_mac(b), 20000);
		size_t done = 0;

		spec.ipv6 = i & 1;
		send_large(a, &spec, 1400);
		while (done < spec.payload_bytes) {
			const struct test_frame *got = test_guest_take(b, WAIT_MS);

			assert_non_null(got);
			check_segment(&spec, got->bytes, got->rx.length, 1400, &done, true);
		}
	}
	assert_no_violation(b);
	test_guest_stop(a);
	test_guest_stop(b);
}

/* A guest without coalescing may be a router: what it passes on must be a good frame. */
static void checksum_is_filled_in_for_a_guest_without_coalescing(void **state)
{
	struct fake_netvsc_config dpdk_driver = {.flavour = FAKE_DPDK};
	struct test_guest *a = start(state, "a/nic0", 1), *c = start(state, "c/nic0", 3);
	struct test_guest *b = test_guest_start(*state, "b/nic0", 2, &dpdk_driver, 0);

	assert_non_null(b);
	for (unsigned int i = 0; i < 8; i++) {
		struct frame_spec spec =
			spec_between(test_guest_mac(a), i & 4 ? broadcast : test_guest_mac(b), 333);
		const struct test_frame *got;
		struct frame_seen seen;
		struct fake_tx tx;

		spec.ipv6 = i & 1;
		spec.udp = i & 2;
		spec.checksums = false;
		tx = (struct fake_tx){.frame = frame,
				      .length = frame_build(&spec, frame),
				      .has_csum = true,
				      .csum = checksum_request(&spec)};
		send_tx(a, FAKE_SECTION, &tx, 1);
		got = test_guest_take(b, WAIT_MS);
		assert_non_null(got);
		assert_int_equal(got->rx.length, tx.length);
		assert_true(frame_read(got->bytes, got->rx.length, &seen));
		assert_true(seen.ip_checksum_good);
		assert_true(seen.l4_checksum_good);
		assert_true(got->rx.csum & (spec.udp ? RNDIS_RXCSUM_UDP_OK : RNDIS_RXCSUM_TCP_OK));
	}
	test_guest_stop(a);
	test_guest_stop(b);
	test_guest_stop(c);
}

/* Each receiver of a flooded frame works on the same buffer. */
static void flooded_large_packet_reaches_every_guest_whole(void **state)
{
	struct fake_netvsc_config dpdk_driver = {.flavour = FAKE_DPDK};
	struct test_guest *a = start(state, "a/nic0", 1), *receivers[3];

	receivers[0] = test_guest_start(*state, "b/nic0", 2, &dpdk_driver, 0);
	receivers[1] = test_guest_start(*state, "c/nic0", 3, &dpdk_driver, 0);
	receivers[2] = start(state, "d/nic0", 4);
	for (unsigned int i = 0; i < 2; i++) {
		struct frame_spec spec = spec_between(test_guest_mac(a), broadcast, 20000);

		spec.ipv6 = i & 1;
		send_large(a, &spec, 1400);
		for (unsigned int r = 0; r < 3; r++) {
			size_t done = 0;

			while (done < spec.payload_bytes) {
				const struct test_frame *got =
					test_guest_take(receivers[r], WAIT_MS);

				assert_non_null(got);
				check_segment(&spec, got->bytes, got->rx.length,
					      r < 2 ? 1400 : 20000, &done, r < 2);
			}
		}
	}
	test_guest_stop(a);
	for (unsigned int r = 0; r < 3; r++)
		test_guest_stop(receivers[r]);
}

static void requests_that_do_not_fit_the_frame_are_counted_not_sent(void **state)
{
	struct test_guest *a = start(state, "a/nic0", 1);
	struct frame_spec spec = spec_between(test_guest_mac(a), wire_host, 3000);
	struct fake_tx tx = {.frame = frame, .has_lso = true};
	struct vsp_stats stats;

	/* Segments of one byte would make thousands out of one. */
	spec.large = true;
	tx.length = frame_build(&spec, frame);
	tx.lso = lso_request(&spec, 1);
	send_tx(a, FAKE_PAGES, &tx, 1);
	/* LSO of a UDP packet. */
	spec.udp = true;
	tx.length = frame_build(&spec, frame);
	tx.lso = lso_request(&spec, 1000);
	send_tx(a, FAKE_PAGES, &tx, 1);
	/* A TCP checksum in a UDP packet. */
	spec.large = false;
	spec.payload_bytes = 100;
	tx = (struct fake_tx){
		.frame = frame, .length = frame_build(&spec, frame), .has_csum = true};
	spec.udp = false;
	tx.csum = checksum_request(&spec);
	send_tx(a, FAKE_SECTION, &tx, 1);
	assert_int_equal(wire_take(*state, seen_frame, sizeof(seen_frame), QUIET_MS), 0);
	fake_netvsc_drain(test_guest_driver(a), WAIT_MS);
	assert_no_violation(a);
	assert_int_equal(vsp_guest_stats(test_guest_vsp(a), &stats), 0);
	assert_int_equal(stats.tx_malformed, 3);
	test_guest_stop(a);
}

/* ---- many frames, many queues ---- */

/* Sends numbered frames, at most 1000 ahead, and checks that each arrives once and in order. */
static void storm(struct test_guest *a, struct test_guest *b, uint32_t count)
{
	struct frame_spec spec = spec_between(test_guest_mac(a), test_guest_mac(b), 32);
	size_t length = frame_build(&spec, frame);
	struct fake_tx tx = {.frame = frame, .length = length};
	uint32_t sent = 0, received = 0;

	while (received < count) {
		const struct test_frame *got;

		while (sent < count && sent - received < 1000) {
			put_be32(frame + length - 4, sent);
			if (fake_netvsc_send(test_guest_driver(a), 0, FAKE_SECTION, &tx, 1) != 0)
				break;
			sent++;
		}
		/* With nothing on its way the sender waits for its completions. */
		fake_netvsc_poll(test_guest_driver(a), sent == received ? WAIT_MS : 0);
		if (sent == received)
			continue;
		got = test_guest_take(b, WAIT_MS);
		assert_non_null(got);
		while (got) {
			assert_int_equal(get_be32(got->bytes + length - 4), received);
			received++;
			got = received < sent ? test_guest_take(b, 0) : NULL;
		}
	}
}

static void every_frame_of_a_storm_arrives_once_and_in_order(void **state)
{
	struct test_guest *a = start(state, "a/nic0", 1), *b = start(state, "b/nic0", 2);

	storm(a, b, 20000);
	assert_all_completed(a);
	assert_no_violation(b);
	test_guest_stop(a);
	test_guest_stop(b);
}

static void flows_spread_over_the_channels_that_rss_names(void **state)
{
	struct fake_netvsc_config driver = {.flavour = FAKE_LINUX, .channels = 4};
	struct test_guest *a = start(state, "a/nic0", 1);
	struct test_guest *b = test_guest_start(*state, "b/nic0", 2, &driver, 0);
	unsigned int by_channel[4] = {0};
	uint32_t channel_of[64];

	assert_non_null(b);
	assert_int_equal(fake_netvsc_info(test_guest_driver(b))->channels, 4);
	for (unsigned int i = 0; i < 128; i++) {
		struct frame_spec spec = spec_between(test_guest_mac(a), test_guest_mac(b), 64);
		const struct test_frame *got;

		spec.source_port = (uint16_t)(3000 + i % 64);
		send_plain(a, FAKE_SECTION, frame, frame_build(&spec, frame));
		got = test_guest_take(b, WAIT_MS);
		assert_non_null(got);
		assert_in_range(got->rx.channel, 0, 3);
		by_channel[got->rx.channel]++;
		if (i < 64)
			channel_of[i] = got->rx.channel;
		else /* a flow stays where it is */
			assert_int_equal(got->rx.channel, channel_of[i - 64]);
	}
	for (unsigned int c = 0; c < 4; c++)
		assert_in_range(by_channel[c], 8, 80);
	assert_no_violation(b);
	test_guest_stop(a);
	test_guest_stop(b);
}

static void sub_channels_send_too(void **state)
{
	struct fake_netvsc_config driver = {.flavour = FAKE_LINUX, .channels = 4};
	struct test_guest *a = test_guest_start(*state, "a/nic0", 1, &driver, 0),
			  *b = start(state, "b/nic0", 2);
	struct frame_spec spec = spec_between(test_guest_mac(a), test_guest_mac(b), 64);
	size_t length = frame_build(&spec, frame);

	assert_non_null(a);
	for (uint32_t channel = 0; channel < 4; channel++) {
		struct fake_tx tx = {.frame = frame, .length = length};

		assert_int_equal(
			fake_netvsc_send(test_guest_driver(a), channel, FAKE_SECTION, &tx, 1), 0);
		assert_took(b, frame, length);
	}
	assert_all_completed(a);
	test_guest_stop(a);
	test_guest_stop(b);
}

/* What `ethtool -L`, `ip link set mtu` and suspending do: all is closed and revoked, then opened
 * anew, while others go on sending. */
static void driver_comes_back_with_other_channels_and_mtu_under_load(void **state)
{
	static const struct {
		uint32_t channels;
		uint32_t mtu;
	} wanted[] = {{4, 1500}, {1, 1500}, {3, 9000}, {2, 1400}, {4, 9000}, {4, 1500}};
	struct fake_netvsc_config driver = {.flavour = FAKE_LINUX, .channels = 4, .mtu = 9000};
	struct test_guest *a = test_guest_start(*state, "a/nic0", 1, &driver, 0);
	struct test_guest *b = test_guest_start(*state, "b/nic0", 2, &driver, 0);

	assert_non_null(a);
	assert_non_null(b);
	for (size_t round = 0; round < ARRAY_LENGTH(wanted); round++) {
		struct frame_spec spec = spec_between(test_guest_mac(a), test_guest_mac(b), 1000);
		size_t length = frame_build(&spec, frame);
		const struct test_frame *got;

		for (unsigned int i = 0; i < 200; i++)
			send_plain(a, FAKE_SECTION, frame, length);
		assert_int_equal(fake_netvsc_stop(test_guest_driver(b)), 0);
		assert_all_completed(a);
		while (test_guest_take(b, 0))
			;
		fake_netvsc_set_wanted(test_guest_driver(b), wanted[round].channels,
				       wanted[round].mtu);
		for (unsigned int i = 0; i < 200; i++)
			send_plain(a, FAKE_SECTION, frame, length);
		assert_int_equal(fake_netvsc_start(test_guest_driver(b)), 0);
		assert_int_equal(fake_netvsc_info(test_guest_driver(b))->channels,
				 wanted[round].channels);
		assert_all_completed(a);
		while (test_guest_take(b, QUIET_MS))
			;
		/* As large as the new MTU allows: IPv4 and TCP headers, with time stamps, take 52.
		 */
		for (unsigned int i = 0; i < 32; i++) {
			spec.payload_bytes = wanted[round].mtu - 52;
			spec.source_port = (uint16_t)(4000 + i);
			length = frame_build(&spec, frame);
			send_plain(a, FAKE_PAGES, frame, length);
			got = test_guest_take(b, WAIT_MS);
			assert_non_null(got);
			assert_in_range(got->rx.channel, 0, wanted[round].channels - 1);
			assert_memory_equal(got->bytes, frame, length);
		}
		spec = spec_between(test_guest_mac(b), test_guest_mac(a), 1000);
		length = frame_build(&spec, frame);
		for (uint32_t channel = 0; channel < wanted[round].channels; channel++) {
			struct fake_tx tx = {.frame = frame, .length = length};

			assert_int_equal(fake_netvsc_send(test_guest_driver(b), channel,
							  FAKE_SECTION, &tx, 1),
					 0);
			assert_took(a, frame, length);
		}
		assert_no_violation(b);
	}
	test_guest_stop(a);
	test_guest_stop(b);
}

/* ---- trouble ---- */

static void guest_that_keeps_its_buffers_loses_frames_and_recovers(void **state)
{
	struct fake_netvsc_config driver = {
		.flavour = FAKE_LINUX, .recv_pages = 64, .send_pages = 256};
	struct test_guest *a = start(state, "a/nic0", 1);
	struct test_guest *b = test_guest_start(*state, "b/nic0", 2, &driver, 0);
	struct frame_spec spec;
	struct vsp_stats stats;
	size_t length;

	assert_non_null(b);
	spec = spec_between(test_guest_mac(a), test_guest_mac(b), 64);
	length = frame_build(&spec, frame);
	fake_netvsc_hold(test_guest_driver(b), true);
	for (int i = 0; i < 1000; i++)
		send_plain(a, FAKE_SECTION, frame, length);
	assert_all_completed(a);
	while (test_guest_take(b, QUIET_MS))
		;
	assert_int_equal(vsp_guest_stats(test_guest_vsp(b), &stats), 0);
	assert_true(stats.rx_dropped > 0);
	assert_int_equal(stats.rx_dropped + stats.rx_packets, 1000);
	fake_netvsc_hold(test_guest_driver(b), false);
	send_plain(a, FAKE_SECTION, frame, length);
	send_plain(a, FAKE_SECTION, frame, length);
	assert_took(b, frame, length);
	assert_no_violation(b);
	test_guest_stop(a);
	test_guest_stop(b);
}

static void guest_that_reads_nothing_holds_up_itself_only(void **state)
{
	struct fake_netvsc_config small_rings = {.flavour = FAKE_LINUX, .ring_pages = 3};
	struct test_guest *a = start(state, "a/nic0", 1), *c = start(state, "c/nic0", 3);
	struct test_guest *b = test_guest_start(*state, "b/nic0", 2, &small_rings, 0);
	struct frame_spec spec = spec_between(test_guest_mac(b), test_guest_mac(a), 64);
	size_t length = frame_build(&spec, frame);
	unsigned int sent = 0;

	/* b sends without ever reading its completions: its ring fills with them, then it is not
	 * read any more. */
	while (sent < 100000) {
		struct fake_tx tx = {.frame = frame, .length = length};

		if (fake_netvsc_send(test_guest_driver(b), 0, FAKE_SECTION, &tx, 1) != 0)
			break;
		sent++;
	}
	spec = spec_between(test_guest_mac(c), test_guest_mac(a), 100);
	length = frame_build(&spec, frame);
	while (test_guest_take(a, QUIET_MS))
		;
	send_plain(c, FAKE_SECTION, frame, length);
	assert_took(a, frame, length);
	/* It reads again: everything that it sent is completed. */
	assert_all_completed(b);
	spec = spec_between(test_guest_mac(b), test_guest_mac(a), 64);
	length = frame_build(&spec, frame);
	send_plain(b, FAKE_SECTION, frame, length);
	assert_took(a, frame, length);
	assert_all_completed(b);
	assert_all_completed(c);
	test_guest_stop(a);
	test_guest_stop(b);
	test_guest_stop(c);
}

/* Sends n packets without taking a completion in, and waits until all were read. */
static void send_unread(struct test_guest *guest, unsigned int n, const uint8_t *bytes,
			size_t length)
{
	struct fake_tx tx = {.frame = bytes, .length = length};
	struct deadline deadline = deadline_in_ms(WAIT_MS);
	struct vsp_stats stats = {0};

	for (unsigned int i = 0; i < n; i++)
		assert_int_equal(
			fake_netvsc_send(test_guest_driver(guest), 0, FAKE_SECTION, &tx, 1), 0);
	while (stats.tx_packets < n) {
		assert_false(deadline_passed(deadline));
		assert_int_equal(vsp_guest_stats(test_guest_vsp(guest), &stats), 0);
	}
}

/* An answer found no room, and all that the guest does after that is to read: its signal comes
 * without a packet. */
static void answer_that_waited_for_room_is_sent_when_the_guest_has_read(void **state)
{
	struct fake_netvsc_config small_rings = {.flavour = FAKE_LINUX, .ring_pages = 3};
	struct test_guest *a = start(state, "a/nic0", 1);
	struct test_guest *b = test_guest_start(*state, "b/nic0", 2, &small_rings, 0);
	struct rndis_request keepalive = {
		.header = {.type = RNDIS_KEEPALIVE, .length = sizeof(keepalive)}, .request_id = 77};
	/* Room for completions, none for anything else. */
	unsigned int fill = 7168 / (unsigned int)packet_ring_bytes(16, NVSP_MESSAGE_BYTES_61) + 1;
	struct frame_spec spec;

	assert_non_null(b);
	spec = spec_between(test_guest_mac(b), test_guest_mac(a), 64);
	send_unread(b, fill, frame, frame_build(&spec, frame));
	assert_int_equal(
		fake_netvsc_post_rndis(test_guest_driver(b), &keepalive, sizeof(keepalive)), 0);
	usleep(20000);
	assert_int_equal(fake_netvsc_await_rndis(test_guest_driver(b)), 0);
	assert_all_completed(b);
	test_guest_stop(a);
	test_guest_stop(b);
}

static void broken_ring_stops_its_channel_only(void **state)
{
	struct test_guest *a = start(state, "a/nic0", 1), *b = start(state, "b/nic0", 2),
			  *c = start(state, "c/nic0", 3);
	struct frame_spec spec = spec_between(test_guest_mac(b), test_guest_mac(c), 64);
	size_t length = frame_build(&spec, frame);

	fake_netvsc_break_ring(test_guest_driver(a), 0, 0xfffffff3);
	usleep(20000);
	send_plain(b, FAKE_SECTION, frame, length);
	assert_took(c, frame, length);
	test_guest_kill(a);
	a = start(state, "a/nic0", 1);
	spec = spec_between(test_guest_mac(a), test_guest_mac(c), 64);
	length = frame_build(&spec, frame);
	send_plain(a, FAKE_SECTION, frame, length);
	assert_took(c, frame, length);
	test_guest_stop(a);
	test_guest_stop(b);
	test_guest_stop(c);
}

/* A GPA-direct packet whose NVSP message says: data, all in pages. */
static void send_pages_raw(struct test_guest *guest, uint64_t id, uint32_t bytes, uint32_t offset,
			   uint64_t gpn)
{
	struct nvsp_rndis message = {.header.type = NVSP_RNDIS,
				     .channel_type = NVSP_RNDIS_DATA,
				     .section_index = NVSP_NO_SECTION};
	uint8_t range[16];

	put_le32(range, bytes);
	put_le32(range + 4, offset);
	put_le64(range + 8, gpn);
	fake_netvsc_send_raw(test_guest_driver(guest), 0, PACKET_GPA_DIRECT, id, range,
			     sizeof(range), 1, &message, sizeof(message));
}

static void hostile_packets_are_refused_and_the_channel_lives(void **state)
{
	struct test_guest *a = start(state, "a/nic0", 1), *b = start(state, "b/nic0", 2);
	struct fake_netvsc *driver = test_guest_driver(a);
	struct nvsp_rndis message = {.header.type = NVSP_RNDIS,
				     .channel_type = NVSP_RNDIS_DATA,
				     .section_index = 5,
				     .section_bytes = UINT32_MAX};
	struct frame_spec spec = spec_between(test_guest_mac(a), test_guest_mac(b), 64);
	size_t length = frame_build(&spec, frame);

	send_pages_raw(a, 1, 100, 0, UINT64_MAX);  /* no such page */
	send_pages_raw(a, 2, 100, 0, 1u << 30);	   /* past the guest's memory */
	send_pages_raw(a, 3, UINT32_MAX, 4095, 1); /* more than its page numbers */
	send_pages_raw(a, 4, 0, 0, 1);		   /* nothing */
	send_pages_raw(a, 5, 4096, 0, 1);	   /* a page of zeros: no RNDIS message */
	fake_netvsc_send_raw(driver, 0, PACKET_INBAND, 6, NULL, 0, 0, &message,
			     sizeof(message)); /* section too long */
	message.section_index = UINT32_MAX - 1;
	message.section_bytes = 100;
	fake_netvsc_send_raw(driver, 0, PACKET_INBAND, 7, NULL, 0, 0, &message,
			     sizeof(message)); /* no such section */
	message.channel_type = 77;
	fake_netvsc_send_raw(driver, 0, PACKET_INBAND, 8, NULL, 0, 0, &message, sizeof(message));
	fake_netvsc_send_raw(driver, 0, PACKET_INBAND, 9, NULL, 0, 0, &message,
			     3); /* no whole type */
	fake_netvsc_send_raw(driver, 0, PACKET_COMPLETION, 12345678, NULL, 0, 0, &message,
			     8); /* completes what it does not hold */
	fake_netvsc_send_raw(driver, 0, PACKET_COMPLETION, 1, NULL, 0, 0, &message, 8);
	usleep(20000);
	send_plain(a, FAKE_SECTION, frame, length);
	assert_took(b, frame, length);
	test_guest_kill(a);
	test_guest_stop(b);
}

static void buffers_given_back_twice_are_lent_once(void **state)
{
	struct test_guest *a = start(state, "a/nic0", 1), *b = start(state, "b/nic0", 2);
	struct nvsp_rndis_complete done = {.header.type = NVSP_RNDIS_COMPLETE,
					   .status = NVSP_STATUS_SUCCESS};
	uint32_t speed, status;
	size_t speed_bytes = sizeof(speed);

	storm(a, b, 100);
	for (int round = 0; round < 2; round++) {
		for (uint64_t id = 0; id < 200; id++)
			fake_netvsc_send_raw(test_guest_driver(b), 0, PACKET_COMPLETION, id, NULL,
					     0, 0, &done, sizeof(done));
	}
	/* Those were in the ring before this query, so they are dealt with when it is answered. */
	assert_int_equal(fake_netvsc_query(test_guest_driver(b), OID_GEN_LINK_SPEED, NULL, 0,
					   &speed, &speed_bytes, &status),
			 0);
	storm(a, b, 3000);
	assert_no_violation(b);
	test_guest_kill(b);
	test_guest_stop(a);
}

static void guest_that_dies_under_load_leaves_nothing_behind(void **state)
{
	struct test_guest *b = start(state, "b/nic0", 2);

	for (int round = 0; round < 10; round++) {
		struct test_guest *a = start(state, "a/nic0", 1);
		struct frame_spec spec = spec_between(test_guest_mac(a), test_guest_mac(b), 1400);
		size_t length = frame_build(&spec, frame);
		struct fake_tx tx = {.frame = frame, .length = length};

		while (fake_netvsc_send(test_guest_driver(a), 0, FAKE_SECTION, &tx, 1) == 0)
			;
		test_guest_kill(a);
	}
	while (test_guest_take(b, 0))
		;
	assert_no_violation(b);
	test_guest_stop(b); /* the tear-down counts the buffers */
}

static void idle_worker_sleeps(void **state)
{
	struct test_guest *a = start(state, "a/nic0", 1);
	struct worker_counters before, after;

	usleep(50000);
	worker_get_counters(netvspd_data_path(*state)->worker, &before);
	usleep(300000);
	worker_get_counters(netvspd_data_path(*state)->worker, &after);
	/* The ring port has no interrupts: a look each millisecond, and no more. */
	assert_in_range(after.rounds - before.rounds, 1, 1000);
	test_guest_stop(a);
}

#define netvspd_test(name) cmocka_unit_test_setup_teardown(name, netvspd_setup, netvspd_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		netvspd_test(linux_driver_gets_nvsp_61_checksum_and_lso),
		netvspd_test(second_nic_with_the_same_address_is_refused),
		netvspd_test(driver_can_stop_and_start_again),
		netvspd_test(frames_pass_between_guests_in_every_way_of_sending),
		netvspd_test(several_frames_in_one_message_arrive_in_order),
		netvspd_test(unknown_unicast_goes_to_the_wire_and_not_to_other_guests),
		netvspd_test(broadcast_reaches_the_wire_and_every_guest_but_its_sender),
		netvspd_test(frames_from_the_wire_reach_the_guest_they_are_for),
		netvspd_test(frame_with_anothers_source_is_dropped_and_counted),
		netvspd_test(wire_cannot_take_a_local_guests_address_over),
		netvspd_test(tag_of_a_guest_is_in_the_frame_on_the_wire),
		netvspd_test(tag_on_the_wire_reaches_the_guest_beside_the_frame),
		netvspd_test(tagged_broadcast_is_whole_for_guest_and_wire_alike),
		netvspd_test(checksums_left_to_us_are_right_on_the_wire),
		netvspd_test(checksum_left_to_us_is_called_good_by_a_local_receiver),
		netvspd_test(large_packets_are_cut_into_right_segments_on_the_wire),
		netvspd_test(tagged_large_packets_have_the_tag_in_every_segment),
		netvspd_test(large_packets_reach_a_linux_guest_in_one_piece),
		netvspd_test(large_packets_reach_a_guest_without_coalescing_in_segments),
		netvspd_test(checksum_is_filled_in_for_a_guest_without_coalescing),
		netvspd_test(flooded_large_packet_reaches_every_guest_whole),
		netvspd_test(requests_that_do_not_fit_the_frame_are_counted_not_sent),
		netvspd_test(every_frame_of_a_storm_arrives_once_and_in_order),
		netvspd_test(flows_spread_over_the_channels_that_rss_names),
		netvspd_test(sub_channels_send_too),
		netvspd_test(driver_comes_back_with_other_channels_and_mtu_under_load),
		netvspd_test(guest_that_keeps_its_buffers_loses_frames_and_recovers),
		netvspd_test(guest_that_reads_nothing_holds_up_itself_only),
		netvspd_test(answer_that_waited_for_room_is_sent_when_the_guest_has_read),
		netvspd_test(broken_ring_stops_its_channel_only),
		netvspd_test(hostile_packets_are_refused_and_the_channel_lives),
		netvspd_test(buffers_given_back_twice_are_lent_once),
		netvspd_test(guest_that_dies_under_load_leaves_nothing_behind),
		netvspd_test(idle_worker_sleeps),
	};

	return cmocka_run_group_tests(tests, eal_group_setup, NULL);
}
