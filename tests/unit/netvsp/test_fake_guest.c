/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Whole probes and traffic: the fake guest as Linux 6.1, as DPDK's driver and as a hostile peer,
 * against the protocol half of netvsp in the same process.
 */
#include "tests/fake_guest/fake_netvsc.h"

#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "tests/fake_guest/fake_bus.h"
#include "tests/fake_guest/fake_space.h"
#include "tests/fake_guest/loopback_host.h"
#include "tests/unit/test_main.h"
#include "vmbus/packet.h"

#define MAX_SEEN 128

struct world {
	struct fake_space *space;
	struct loopback_host *host;
	struct fake_bus *bus; /* NULL: plain calls */
	struct fake_netvsc *nv;
	/* What the host saw of the guest, and the guest of the host. */
	size_t seen;
	struct rndis_tx_packet packets[MAX_SEEN];
	uint32_t channels[MAX_SEEN];
	uint64_t sums[MAX_SEEN];
	size_t got;
	struct fake_rx received[MAX_SEEN];
	uint64_t got_sums[MAX_SEEN];
};

static struct world world;

/* Tells frames apart, order of bytes included. */
static uint64_t sum(const uint8_t *bytes, size_t length)
{
	uint64_t hash = UINT64_C(14695981039346656037);

	for (size_t i = 0; i < length; i++)
		hash = (hash ^ bytes[i]) * UINT64_C(1099511628211);
	return hash;
}

static void fill(uint8_t *frame, size_t length, uint32_t seed)
{
	for (size_t i = 0; i < length; i++) {
		seed = seed * 1664525u + 1013904223u;
		frame[i] = (uint8_t)(seed >> 24);
	}
}

static void host_frame(void *ctx, uint32_t channel, const struct rndis_tx_packet *packet,
		       const uint8_t *payload)
{
	size_t i = world.seen++ % MAX_SEEN;

	(void)ctx;
	world.packets[i] = *packet;
	world.channels[i] = channel;
	world.sums[i] = sum(payload, packet->payload_bytes);
}

static void guest_frame(void *ctx, const struct fake_rx *rx)
{
	size_t i = world.got++ % MAX_SEEN;

	(void)ctx;
	world.received[i] = *rx;
	world.got_sums[i] = sum(rx->frame, rx->length);
}

static void world_make(const struct fake_netvsc_config *config, uint32_t max_channels)
{
	struct loopback_config host = loopback_config_default(max_channels);

	memset(&world, 0, sizeof(world));
	assert_int_equal(fake_space_create(64u << 20, 4, &world.space), 0);
	assert_int_equal(loopback_host_create(world.space, &host, &world.host), 0);
	loopback_host_on_frame(world.host, host_frame, NULL);
	assert_int_equal(
		fake_netvsc_create(world.space, &loopback_transport, world.host, config, &world.nv),
		0);
	fake_netvsc_on_frame(world.nv, guest_frame, NULL);
}

static void start(const struct fake_netvsc_config *config, uint32_t max_channels)
{
	int rc;

	world_make(config, max_channels);
	rc = fake_netvsc_start(world.nv);
	if (rc)
		fail_msg("start: %d, %s", rc, fake_netvsc_violation(world.nv));
	/* Until both ends have nothing more to say. */
	while (fake_netvsc_poll(world.nv, 10) > 0)
		continue;
}

static int tear_down(void **state)
{
	(void)state;
	fake_bus_destroy(world.bus);
	loopback_host_destroy(world.host);
	fake_netvsc_destroy(world.nv);
	fake_space_destroy(world.space);
	memset(&world, 0, sizeof(world));
	return 0;
}

static void assert_good(void)
{
	if (fake_netvsc_violation(world.nv))
		fail_msg("%s", fake_netvsc_violation(world.nv));
	assert_false(loopback_host_broken(world.host));
}

/* ---- probes ---- */

static void linux_probes_6_1_with_everything_on(void **state)
{
	static const uint8_t mac[6] = {2, 0, 0, 0, 0, 1};
	const struct rndis_offload_state *offloads;
	const struct fake_netvsc_info *info;

	(void)state;
	start(&(struct fake_netvsc_config){.flavour = FAKE_LINUX, .channels = 4}, 8);
	info = fake_netvsc_info(world.nv);
	assert_int_equal(info->version, NVSP_VERSION_61);
	assert_memory_equal(info->mac, mac, 6);
	assert_int_equal(info->host_mtu, 1500);
	assert_true(info->link_up);
	assert_int_equal(info->link_speed, 100000000);
	assert_int_equal(info->channels, 4);
	assert_int_equal(info->rss_queues, 8);
	assert_int_equal(info->max_packets, 8);
	assert_int_equal(info->alignment, 8);
	assert_string_equal(info->friendly_name, "vm/nic0");
	offloads = rndis_control_offloads(loopback_host_rndis(world.host));
	assert_true(offloads->tx_checksum && offloads->rx_checksum);
	assert_true(offloads->lso4 && offloads->lso6);
	assert_true(offloads->rsc4 && offloads->rsc6);
	assert_true(rndis_control_rss(loopback_host_rndis(world.host))->enabled);
	assert_int_equal(rss_channel(rndis_control_rss(loopback_host_rndis(world.host)), 5), 1);
	assert_int_equal(rndis_control_packet_filter(loopback_host_rndis(world.host)), 0xd);
	assert_int_equal(rndis_control_state(loopback_host_rndis(world.host)),
			 RNDIS_STATE_OPERATIONAL);
	/* The send table comes once all sub-channels are open. */
	fake_netvsc_poll(world.nv, 10);
	assert_int_equal(fake_netvsc_counts(world.nv)->send_tables, 1);
	assert_int_equal(fake_netvsc_send_table(world.nv)[7], 3);
	assert_good();
}

static void every_version_probes(void **state)
{
	static const uint32_t versions[] = {NVSP_VERSION_61, NVSP_VERSION_6, NVSP_VERSION_5,
					    NVSP_VERSION_4,  NVSP_VERSION_2, NVSP_VERSION_1};

	for (size_t i = 0; i < ARRAY_LENGTH(versions); i++)
		for (int flavour = FAKE_LINUX; flavour <= FAKE_DPDK; flavour++) {
			start(&(struct fake_netvsc_config){.flavour = (enum fake_flavour)flavour,
							   .version = versions[i],
							   .channels = 2},
			      2);
			assert_int_equal(fake_netvsc_info(world.nv)->version, versions[i]);
			assert_int_equal(fake_netvsc_info(world.nv)->channels,
					 versions[i] >= NVSP_VERSION_5 ? 2 : 1);
			assert_good();
			tear_down(state);
		}
}

static void stop_leaves_nothing_and_start_works_again(void **state)
{
	(void)state;
	start(&(struct fake_netvsc_config){.flavour = FAKE_LINUX, .channels = 4}, 4);
	for (int i = 0; i < 20; i++) {
		assert_int_equal(fake_netvsc_stop(world.nv), 0);
		assert_int_equal(loopback_host_gpadls(world.host), 0);
		assert_null(nvsp_session_layout(loopback_host_nvsp(world.host), NVSP_BUFFER_RECV));
		assert_int_equal(nvsp_session_version(loopback_host_nvsp(world.host)), 0);
		assert_int_equal(rndis_control_state(loopback_host_rndis(world.host)),
				 RNDIS_STATE_UNINITIALISED);
		fake_netvsc_destroy(world.nv);
		assert_int_equal(fake_netvsc_create(world.space, &loopback_transport, world.host,
						    &(struct fake_netvsc_config){.channels = 4},
						    &world.nv),
				 0);
		assert_int_equal(fake_netvsc_start(world.nv), 0);
	}
	assert_good();
}

static void jumbo_mtu_gets_larger_sections(void **state)
{
	(void)state;
	start(&(struct fake_netvsc_config){.mtu = 9000}, 1);
	assert_int_equal(fake_netvsc_info(world.nv)->host_mtu, 9000);
	assert_true(fake_netvsc_info(world.nv)->recv_section_bytes >= 9014 + 124);
	assert_good();
}

/* ---- sending ---- */

static void frames_arrive_whole_every_way(void **state)
{
	static const size_t lengths[] = {14, 60, 1514, 4000, 5900};
	uint8_t frame[5900];
	size_t expected = 0;

	(void)state;
	start(&(struct fake_netvsc_config){.channels = 2}, 2);
	for (int way = FAKE_SECTION; way <= FAKE_MIXED; way++)
		for (size_t i = 0; i < ARRAY_LENGTH(lengths); i++) {
			struct fake_tx tx = {.frame = frame, .length = lengths[i]};

			fill(frame, lengths[i], (uint32_t)(way * 10 + (int)i));
			assert_int_equal(
				fake_netvsc_send(world.nv, i % 2, (enum fake_way)way, &tx, 1), 0);
			assert_int_equal(fake_netvsc_drain(world.nv, 100), 0);
			assert_int_equal(world.seen, ++expected);
			assert_int_equal(world.channels[expected - 1], i % 2);
			assert_int_equal(world.packets[expected - 1].payload_bytes, lengths[i]);
			assert_int_equal(world.sums[expected - 1], sum(frame, lengths[i]));
		}
	assert_int_equal(fake_netvsc_counts(world.nv)->tx_refused, 0);
	assert_good();
}

static void several_messages_in_one_packet_arrive_in_order(void **state)
{
	uint8_t frames[8][700];
	struct fake_tx tx[8] = {0};

	(void)state;
	start(&(struct fake_netvsc_config){0}, 1);
	for (uint32_t i = 0; i < 8; i++) {
		tx[i] = (struct fake_tx){.frame = frames[i], .length = 100 + 73 * i};
		fill(frames[i], tx[i].length, i);
	}
	assert_int_equal(fake_netvsc_send(world.nv, 0, FAKE_SECTION, tx, 8), 0);
	assert_int_equal(fake_netvsc_send(world.nv, 0, FAKE_MIXED, tx, 8), 0);
	assert_int_equal(fake_netvsc_drain(world.nv, 100), 0);
	assert_int_equal(world.seen, 16);
	for (size_t i = 0; i < 16; i++)
		assert_int_equal(world.sums[i], sum(tx[i % 8].frame, tx[i % 8].length));
	assert_good();
}

static void offload_requests_arrive(void **state)
{
	static uint8_t frame[62000];
	struct fake_tx tx = {
		.frame = frame,
		.length = sizeof(frame),
		.has_lso = true,
		.lso = 1448 | 34u << 20 | RNDIS_LSO_V2,
		.has_vlan = true,
		.vlan_tci = 5 << 13 | 1 << 12 | 0x123,
		.has_hash = true,
		.hash = 0xdeadbeef,
	};

	(void)state;
	start(&(struct fake_netvsc_config){0}, 1);
	fill(frame, sizeof(frame), 7);
	assert_int_equal(fake_netvsc_send(world.nv, 0, FAKE_MIXED, &tx, 1), 0);
	tx = (struct fake_tx){.frame = frame,
			      .length = 1514,
			      .has_csum = true,
			      .csum = RNDIS_TXCSUM_IPV6 | RNDIS_TXCSUM_UDP | 54u << 16};
	assert_int_equal(fake_netvsc_send(world.nv, 0, FAKE_PAGES, &tx, 1), 0);
	assert_int_equal(fake_netvsc_drain(world.nv, 100), 0);
	assert_int_equal(world.seen, 2);
	assert_int_equal(world.packets[0].flags,
			 RNDIS_TX_LSO | RNDIS_TX_IPV4 | RNDIS_TX_VLAN | RNDIS_TX_HASH);
	assert_int_equal(world.packets[0].mss, 1448);
	assert_int_equal(world.packets[0].l4_offset, 34);
	assert_int_equal(world.packets[0].vlan_tci, 5 << 13 | 1 << 12 | 0x123);
	assert_int_equal(world.packets[0].hash, 0xdeadbeef);
	assert_int_equal(world.sums[0], sum(frame, sizeof(frame)));
	assert_int_equal(world.packets[1].flags, RNDIS_TX_CSUM_UDP | RNDIS_TX_IPV6);
	assert_int_equal(world.packets[1].l4_offset, 54);
	assert_good();
}

/* ---- receiving ---- */

static void batches_are_received_with_their_info(void **state)
{
	static uint8_t frames[60][1514];
	static struct loopback_frame batch[60];

	(void)state;
	start(&(struct fake_netvsc_config){.channels = 2}, 2);
	for (uint32_t i = 0; i < 60; i++) {
		size_t length = 60 + 24 * i;

		fill(frames[i], length, i);
		batch[i] = (struct loopback_frame){
			.bytes = frames[i],
			.length = length,
			.info = {.flags = (uint16_t)(i % 8),
				 .csum = RNDIS_RXCSUM_TCP_OK,
				 .vlan_tci = (uint16_t)(0x6000 + i),
				 .hash = 1000 + i,
				 .hash_type = i & 8 ? NDIS_HASH_TCP_IPV4 : 0},
		};
	}
	assert_int_equal(loopback_host_send(world.host, 1, batch, 60), 0);
	assert_true(fake_netvsc_poll(world.nv, 10) > 0);
	assert_int_equal(world.got, 60);
	for (uint32_t i = 0; i < 60; i++) {
		assert_int_equal(world.received[i].channel, 1);
		assert_int_equal(world.got_sums[i], sum(frames[i], batch[i].length));
		assert_int_equal(world.received[i].has_csum, (i & RNDIS_RX_CHECKSUM) != 0);
		assert_int_equal(world.received[i].has_vlan, (i & RNDIS_RX_VLAN) != 0);
		assert_int_equal(world.received[i].has_hash, (i & RNDIS_RX_HASH) != 0);
		if (i & RNDIS_RX_CHECKSUM)
			assert_int_equal(world.received[i].csum, RNDIS_RXCSUM_TCP_OK);
		if (i & RNDIS_RX_VLAN)
			assert_int_equal(world.received[i].vlan_tci, 0x6000 + i);
		if (i & RNDIS_RX_HASH)
			assert_int_equal(world.received[i].hash, 1000 + i);
	}
	assert_int_equal(loopback_host_sections_out(world.host), 60);
	assert_int_equal(loopback_transport.wait(world.host, 0), 0);
	assert_int_equal(loopback_host_sections_out(world.host), 0);
	assert_good();
}

static void coalesced_packet_is_put_together(void **state)
{
	static uint8_t whole[40 * 1460];
	static struct loopback_frame parts[40];

	(void)state;
	start(&(struct fake_netvsc_config){0}, 1);
	fill(whole, sizeof(whole), 3);
	for (size_t i = 0; i < 40; i++)
		parts[i] = (struct loopback_frame){
			.bytes = whole + 1460 * i,
			.length = 1460,
			.info = {.flags = RNDIS_RX_RSC | (i ? 0 : RNDIS_RX_CHECKSUM),
				 .csum = RNDIS_RXCSUM_TCP_OK,
				 .rsc = i == 0	  ? RNDIS_RSC_FIRST
					: i == 39 ? RNDIS_RSC_LAST
						  : 0},
		};
	assert_int_equal(loopback_host_send(world.host, 0, parts, 40), 0);
	fake_netvsc_poll(world.nv, 10);
	assert_int_equal(world.got, 1);
	assert_int_equal(world.received[0].fragments, 40);
	assert_int_equal(world.received[0].length, sizeof(whole));
	assert_int_equal(world.got_sums[0], sum(whole, sizeof(whole)));
	assert_true(world.received[0].has_csum);
	assert_good();
}

static void held_buffers_stop_the_host_and_control_goes_on_after(void **state)
{
	uint8_t frame[60];
	struct loopback_frame one = {.bytes = frame, .length = sizeof(frame)};
	uint32_t status = 1;
	uint8_t value[4];
	size_t length = sizeof(value);
	int rc;

	(void)state;
	fill(frame, sizeof(frame), 1);
	start(&(struct fake_netvsc_config){.recv_pages = 16, .timeout_ms = 50}, 1);
	fake_netvsc_hold(world.nv, true);
	while ((rc = loopback_host_send(world.host, 0, &one, 1)) == 0)
		fake_netvsc_poll(world.nv, 1);
	assert_int_equal(rc, -EAGAIN);
	assert_int_equal(world.got, fake_netvsc_info(world.nv)->recv_section_count);
	fake_netvsc_hold(world.nv, false);
	assert_int_equal(
		fake_netvsc_query(world.nv, OID_GEN_LINK_SPEED, NULL, 0, value, &length, &status),
		0);
	assert_int_equal(status, RNDIS_STATUS_SUCCESS);
	assert_good();
}

static void link_changes_reach_the_guest(void **state)
{
	struct rndis_control *rndis;

	(void)state;
	start(&(struct fake_netvsc_config){0}, 1);
	rndis = loopback_host_rndis(world.host);
	rndis_control_set_link(rndis, true); /* it is */
	rndis_control_announce(rndis);
	fake_netvsc_poll(world.nv, 10);
	assert_int_equal(fake_netvsc_counts(world.nv)->indications, 1);
	assert_int_equal(fake_netvsc_counts(world.nv)->last_indication, RNDIS_STATUS_MEDIA_CONNECT);
	rndis_control_set_link(rndis, false);
	fake_netvsc_poll(world.nv, 10);
	assert_int_equal(fake_netvsc_counts(world.nv)->last_indication,
			 RNDIS_STATUS_MEDIA_DISCONNECT);
	rndis_control_announce(rndis); /* not while down */
	rndis_control_set_link_speed(rndis, 25000);
	fake_netvsc_poll(world.nv, 10);
	assert_int_equal(fake_netvsc_counts(world.nv)->indications, 3);
	assert_int_equal(fake_netvsc_counts(world.nv)->last_indication,
			 RNDIS_STATUS_LINK_SPEED_CHANGE);
	assert_good();
}

/* ---- hostile ---- */

static void malformed_rndis_is_refused_and_the_channel_lives(void **state)
{
	uint8_t head[16] = {107}, range[16], frame[60];
	struct fake_tx tx = {.frame = frame, .length = sizeof(frame)};
	/* Section past the end; section too long; page that is no memory; empty range; unknown
	 * channel type. */
	static const struct {
		uint32_t channel_type, index, bytes, range_bytes, range_offset;
		uint32_t gpn;
		uint32_t type;
	} cases[] = {
		{0, 1u << 30, 60, 0, 0, 0, PACKET_INBAND},
		{0, 0, 6145, 0, 0, 0, PACKET_INBAND},
		{0, NVSP_NO_SECTION, 0, 0, 0, 0, PACKET_INBAND},
		{7, NVSP_NO_SECTION, 0, 0, 0, 0, PACKET_INBAND},
		{0, NVSP_NO_SECTION, 0, 100, 0, 1u << 27, PACKET_GPA_DIRECT},
		{0, NVSP_NO_SECTION, 0, 100, 4095, 4, PACKET_GPA_DIRECT},
		{0, NVSP_NO_SECTION, 0, 100, 4096, 4, PACKET_GPA_DIRECT},
		{0, NVSP_NO_SECTION, 0, 0, 0, 4, PACKET_GPA_DIRECT},
		{1, NVSP_NO_SECTION, 0, 4096, 0, 4, PACKET_GPA_DIRECT},
	};

	(void)state;
	start(&(struct fake_netvsc_config){0}, 1);
	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		put_le32(head + 4, cases[i].channel_type);
		put_le32(head + 8, cases[i].index);
		put_le32(head + 12, cases[i].bytes);
		put_le32(range, cases[i].range_bytes);
		put_le32(range + 4, cases[i].range_offset);
		put_le64(range + 8, cases[i].gpn);
		/* The completion comes for an id that the driver never gave out: it says so. */
		assert_int_equal(fake_netvsc_send_raw(world.nv, 0, (uint16_t)cases[i].type,
						      1u << 20, range, sizeof(range), 1, head,
						      sizeof(head)),
				 0);
		assert_int_equal(fake_netvsc_poll(world.nv, 10), -EPROTO);
		assert_non_null(strstr(fake_netvsc_violation(world.nv), "completion of 1048576"));
	}
	assert_int_equal(world.seen, 0);
	fill(frame, sizeof(frame), 1);
	assert_int_equal(fake_netvsc_send(world.nv, 0, FAKE_SECTION, &tx, 1), 0);
	assert_int_equal(fake_netvsc_drain(world.nv, 100), 0);
	assert_int_equal(fake_netvsc_counts(world.nv)->tx_refused, 0);
	assert_int_equal(world.seen, 1);
}

static void broken_ring_index_stops_the_host(void **state)
{
	(void)state;
	start(&(struct fake_netvsc_config){0}, 1);
	fake_netvsc_break_ring(world.nv, 0, 0xfffffff0);
	assert_int_equal(fake_netvsc_poll(world.nv, 10), -ETIMEDOUT);
	assert_true(loopback_host_broken(world.host));
}

static void gpadl_torn_down_under_the_host_is_survived(void **state)
{
	uint8_t frame[60] = {0};
	struct fake_tx tx = {.frame = frame, .length = sizeof(frame)};
	uint32_t id;

	(void)state;
	start(&(struct fake_netvsc_config){0}, 1);
	id = nvsp_session_layout(loopback_host_nvsp(world.host), NVSP_BUFFER_SEND)->gpadl_id;
	assert_int_equal(loopback_transport.gpadl_remove(world.host, 0, id), 0);
	assert_int_equal(fake_netvsc_send(world.nv, 0, FAKE_SECTION, &tx, 1), 0);
	assert_int_equal(fake_netvsc_drain(world.nv, 100), 0);
	assert_int_equal(fake_netvsc_counts(world.nv)->tx_refused, 1);
	assert_int_equal(world.seen, 0);
}

static void rss_with_entries_past_the_channels_is_refused(void **state)
{
	static const uint8_t key[40];
	uint16_t table[129] = {0};
	uint32_t status;

	(void)state;
	start(&(struct fake_netvsc_config){.channels = 2}, 4);
	table[127] = 2;
	assert_int_equal(fake_netvsc_set_rss(world.nv, key, table, 128, &status), 0);
	assert_int_equal(status, RNDIS_STATUS_INVALID_DATA);
	table[127] = 1;
	assert_int_equal(fake_netvsc_set_rss(world.nv, key, table, 129, &status), 0);
	assert_int_equal(status, RNDIS_STATUS_INVALID_DATA);
	assert_int_equal(fake_netvsc_set_rss(world.nv, key, table, 0, &status), 0);
	assert_int_equal(status, RNDIS_STATUS_INVALID_DATA);
	assert_int_equal(fake_netvsc_set_rss(world.nv, key, table, 128, &status), 0);
	assert_int_equal(status, RNDIS_STATUS_SUCCESS);
	assert_int_equal(rss_channel(rndis_control_rss(loopback_host_rndis(world.host)), 127), 1);
	assert_good();
}

/* ---- the whole bus ---- */

static void bus_start(uint32_t version, uint32_t channels)
{
	const struct fake_netvsc_config config = {.channels = channels};
	int rc;

	world_make(&config, 4);
	fake_netvsc_destroy(world.nv);
	world.nv = NULL;
	assert_int_equal(fake_bus_create(world.space, world.host, 4, &world.bus), 0);
	assert_int_equal(fake_bus_connect(world.bus, version), 0);
	assert_int_equal(
		fake_netvsc_create(world.space, &fake_bus_transport, world.bus, &config, &world.nv),
		0);
	rc = fake_netvsc_start(world.nv);
	if (rc)
		fail_msg("start: %d, %s", rc, fake_netvsc_violation(world.nv));
}

static void linux_probes_over_vmbus_and_leaves_nothing(void **state)
{
	struct vmbus_server_counts counts;
	uint8_t frame[1514];
	struct fake_tx tx = {.frame = frame, .length = sizeof(frame)};

	(void)state;
	bus_start(0, 4);
	assert_int_equal(fake_bus_version(world.bus), 5 << 16 | 3);
	fill(frame, sizeof(frame), 9);
	for (int i = 0; i < 20; i++) {
		fake_bus_counts(world.bus, &counts);
		assert_int_equal(counts.open, 4);
		assert_int_equal(counts.gpadls, 6); /* four rings, two buffers */
		assert_int_equal(fake_netvsc_send(world.nv, 3, FAKE_MIXED, &tx, 1), 0);
		assert_int_equal(fake_netvsc_drain(world.nv, 100), 0);
		assert_int_equal(world.seen, i + 1);
		assert_int_equal(world.sums[i], sum(frame, sizeof(frame)));
		assert_int_equal(fake_netvsc_stop(world.nv), 0);
		fake_bus_counts(world.bus, &counts);
		assert_int_equal(counts.open, 0);
		assert_int_equal(counts.gpadls, 0);
		assert_int_equal(loopback_host_gpadls(world.host), 0);
		assert_int_equal(fake_netvsc_start(world.nv), 0);
	}
	assert_good();
}

static void kexec_finds_a_clean_bus(void **state)
{
	struct vmbus_server_counts counts;

	(void)state;
	bus_start(0, 4);
	for (int i = 0; i < 5; i++) {
		/* The old kernel closes nothing; half of the time it does not even unload. */
		if (i % 2)
			assert_int_equal(fake_bus_unload(world.bus), 0);
		fake_netvsc_destroy(world.nv);
		world.nv = NULL;
		assert_int_equal(fake_bus_connect(world.bus, 0), 0);
		fake_bus_counts(world.bus, &counts);
		assert_int_equal(counts.open, 0);
		assert_int_equal(counts.gpadls, 0);
		assert_int_equal(loopback_host_gpadls(world.host), 0);
		assert_int_equal(nvsp_session_version(loopback_host_nvsp(world.host)), 0);
		assert_int_equal(fake_netvsc_create(world.space, &fake_bus_transport, world.bus,
						    &(struct fake_netvsc_config){.channels = 4},
						    &world.nv),
				 0);
		assert_int_equal(fake_netvsc_start(world.nv), 0);
	}
	assert_good();
}

static void older_buses_carry_the_nic_too(void **state)
{
	static const uint32_t versions[] = {5 << 16 | 2, 5 << 16 | 1, 5 << 16,	  4 << 16 | 1,
					    4 << 16,	 3 << 16,     2 << 16 | 4};

	for (size_t i = 0; i < ARRAY_LENGTH(versions); i++) {
		bus_start(versions[i], 2);
		assert_int_equal(fake_netvsc_stop(world.nv), 0);
		assert_good();
		tear_down(state);
	}
}

#define TEST(name) cmocka_unit_test_teardown(name, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(linux_probes_6_1_with_everything_on),
		TEST(every_version_probes),
		TEST(stop_leaves_nothing_and_start_works_again),
		TEST(jumbo_mtu_gets_larger_sections),
		TEST(frames_arrive_whole_every_way),
		TEST(several_messages_in_one_packet_arrive_in_order),
		TEST(offload_requests_arrive),
		TEST(batches_are_received_with_their_info),
		TEST(coalesced_packet_is_put_together),
		TEST(held_buffers_stop_the_host_and_control_goes_on_after),
		TEST(link_changes_reach_the_guest),
		TEST(malformed_rndis_is_refused_and_the_channel_lives),
		TEST(broken_ring_index_stops_the_host),
		TEST(gpadl_torn_down_under_the_host_is_survived),
		TEST(rss_with_entries_past_the_channels_is_refused),
		TEST(linux_probes_over_vmbus_and_leaves_nothing),
		TEST(kexec_finds_a_clean_bus),
		TEST(older_buses_carry_the_nic_too),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
