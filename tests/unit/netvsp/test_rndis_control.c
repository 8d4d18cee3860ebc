/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The RNDIS device: golden bytes of what Linux 6.1 asks and reads, the OIDs, states, and malformed
 * requests.
 */
#include "netvsp/rndis_control.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "netvsp/nvsp.h"
#include "tests/unit/test_main.h"

struct trace {
	struct rndis_control *control;
	uint8_t sent[RNDIS_CONTROL_MAX_RESPONSE_BYTES];
	size_t sent_bytes;
	int sends, changes;
	int address_result;
	uint8_t address[6];
};

static void op_send(void *ctx, const void *message, size_t length)
{
	struct trace *trace = ctx;

	assert_true(length <= sizeof(trace->sent));
	memcpy(trace->sent, message, length);
	trace->sent_bytes = length;
	trace->sends++;
}

static void op_changed(void *ctx)
{
	((struct trace *)ctx)->changes++;
}

static void op_statistics(void *ctx, struct rndis_statistics *statistics)
{
	(void)ctx;
	*statistics = (struct rndis_statistics){
		.tx_packets = UINT64_C(0x100000002),
		.rx_packets = 3,
		.tx_errors = 4,
		.rx_errors = 5,
		.rx_no_buffer = 6,
	};
}

static int op_set_address(void *ctx, const uint8_t mac[6])
{
	struct trace *trace = ctx;

	memcpy(trace->address, mac, 6);
	return trace->address_result;
}

static const struct rndis_control_ops ops = {op_send, op_changed, op_statistics, op_set_address};

static const struct rndis_control_config everything = {
	.mac = {0x00, 0x15, 0x5d, 1, 2, 3},
	.max_channels = 8,
	.offloads = RNDIS_OFFLOAD_CHECKSUM | RNDIS_OFFLOAD_LSO | RNDIS_OFFLOAD_RSC,
	.link_speed_mbps = 40000,
	.link_up = true,
	.friendly_name = "vm/nic0",
};

static void make(struct trace *trace, const struct rndis_control_config *config)
{
	rndis_control_destroy(trace->control);
	memset(trace, 0, sizeof(*trace));
	assert_int_equal(rndis_control_create(config, &ops, trace, &trace->control), 0);
	rndis_control_set_session(trace->control, NVSP_VERSION_61, 1500, 4);
}

static int set_up(void **state)
{
	static struct trace trace;

	memset(&trace, 0, sizeof(trace));
	*state = &trace;
	make(&trace, &everything);
	return 0;
}

static int tear_down(void **state)
{
	rndis_control_destroy(((struct trace *)*state)->control);
	return 0;
}

/* Out of memory of exactly its size, so that a sanitizer sees a read past it. */
static int say(struct trace *trace, const uint8_t *bytes, size_t length)
{
	uint8_t *exact = malloc(length ? length : 1);
	int rc;

	assert_non_null(exact);
	memcpy(exact, bytes, length);
	trace->sends = 0;
	rc = rndis_control_message(trace->control, exact, length);
	free(exact);
	return rc;
}

static void initialize(struct trace *trace)
{
	static const uint8_t message[] = {2, 0, 0, 0, 24, 0, 0, 0, 1, 0,    0, 0,
					  1, 0, 0, 0, 0,  0, 0, 0, 0, 0x40, 0, 0};

	assert_int_equal(say(trace, message, sizeof(message)), 0);
	assert_int_equal(trace->sends, 1);
}

static size_t oid_message(uint8_t *message, uint32_t type, uint32_t oid, const void *information,
			  size_t bytes)
{
	memset(message, 0, 28);
	put_le32(message, type);
	put_le32(message + 4, (uint32_t)(28 + bytes));
	put_le32(message + 8, 0x55);
	put_le32(message + 12, oid);
	put_le32(message + 16, (uint32_t)bytes);
	put_le32(message + 20, 20);
	if (bytes)
		memcpy(message + 28, information, bytes);
	return 28 + bytes;
}

/* Returns the status; the value is then at trace->sent + 24, its length in *length. */
static uint32_t query_with(struct trace *trace, uint32_t oid, const void *information, size_t bytes,
			   size_t *length)
{
	uint8_t message[1024];

	assert_int_equal(
		say(trace, message, oid_message(message, RNDIS_QUERY, oid, information, bytes)), 0);
	assert_int_equal(trace->sends, 1);
	assert_int_equal(get_le32(trace->sent), 0x80000004);
	assert_int_equal(get_le32(trace->sent + 4), trace->sent_bytes);
	assert_int_equal(get_le32(trace->sent + 8), 0x55);
	*length = get_le32(trace->sent + 16);
	assert_int_equal(trace->sent_bytes, 24 + *length);
	assert_int_equal(get_le32(trace->sent + 20), get_le32(trace->sent + 12) ? 0 : 16);
	return get_le32(trace->sent + 12);
}

static uint32_t query(struct trace *trace, uint32_t oid, size_t *length)
{
	return query_with(trace, oid, NULL, 0, length);
}

static uint32_t query_u32(struct trace *trace, uint32_t oid)
{
	size_t length;

	assert_int_equal(query(trace, oid, &length), RNDIS_STATUS_SUCCESS);
	assert_int_equal(length, 4);
	return get_le32(trace->sent + 24);
}

static uint32_t set(struct trace *trace, uint32_t oid, const void *value, size_t bytes)
{
	uint8_t message[1024];

	assert_int_equal(say(trace, message, oid_message(message, RNDIS_SET, oid, value, bytes)),
			 0);
	assert_int_equal(trace->sends, 1);
	assert_int_equal(trace->sent_bytes, 16);
	assert_int_equal(get_le32(trace->sent), 0x80000005);
	assert_int_equal(get_le32(trace->sent + 8), 0x55);
	return get_le32(trace->sent + 12);
}

static uint32_t set_u32(struct trace *trace, uint32_t oid, uint32_t value)
{
	uint8_t bytes[4];

	put_le32(bytes, value);
	return set(trace, oid, bytes, sizeof(bytes));
}

/* ---- messages and states ---- */

static void initialize_is_answered_as_linux_reads_it(void **state)
{
	static const uint8_t golden[52] = {
		2, 0, 0, 0x80, 52, 0, 0, 0, 1, 0, 0, 0, /* type, length, request id */
		0, 0, 0, 0,    1,  0, 0, 0, 0, 0, 0, 0, /* success, version 1.0 */
		1, 0, 0, 0,    0,  0, 0, 0, 8, 0, 0, 0, /* connectionless, 802.3, 8 packets */
		0, 0, 2, 0,    3,  0, 0, 0,		/* 128 KiB, aligned to 8 */
	};
	struct trace *trace = *state;

	assert_int_equal(rndis_control_state(trace->control), RNDIS_STATE_UNINITIALISED);
	initialize(trace);
	assert_int_equal(trace->sent_bytes, sizeof(golden));
	assert_memory_equal(trace->sent, golden, sizeof(golden));
	assert_int_equal(rndis_control_state(trace->control), RNDIS_STATE_INITIALISED);
}

static void other_major_version_is_refused(void **state)
{
	static const uint8_t message[] = {2, 0, 0, 0, 24, 0, 0, 0, 1, 0, 0, 0,
					  2, 0, 0, 0, 0,  0, 0, 0, 0, 0, 0, 0};
	struct trace *trace = *state;

	assert_int_equal(say(trace, message, sizeof(message)), 0);
	assert_int_equal(get_le32(trace->sent + 12), RNDIS_STATUS_BAD_VERSION);
	assert_int_equal(rndis_control_state(trace->control), RNDIS_STATE_UNINITIALISED);
}

static void oids_wait_for_initialize(void **state)
{
	struct trace *trace = *state;
	size_t length;

	assert_int_equal(query(trace, OID_GEN_LINK_SPEED, &length), RNDIS_STATUS_ADAPTER_NOT_READY);
	assert_int_equal(set_u32(trace, OID_GEN_CURRENT_PACKET_FILTER, 1),
			 RNDIS_STATUS_ADAPTER_NOT_READY);
	assert_int_equal(rndis_control_packet_filter(trace->control), 0);
}

static void packet_filter_makes_it_operational(void **state)
{
	struct trace *trace = *state;

	initialize(trace);
	assert_int_equal(set_u32(trace, OID_GEN_CURRENT_PACKET_FILTER, 0xd), 0);
	assert_int_equal(rndis_control_state(trace->control), RNDIS_STATE_OPERATIONAL);
	assert_int_equal(rndis_control_packet_filter(trace->control), 0xd);
	assert_int_equal(query_u32(trace, OID_GEN_CURRENT_PACKET_FILTER), 0xd);
	assert_int_equal(set_u32(trace, OID_GEN_CURRENT_PACKET_FILTER, 0), 0);
	assert_int_equal(rndis_control_state(trace->control), RNDIS_STATE_INITIALISED);
}

static void halt_has_no_response_and_ends_it(void **state)
{
	static const uint8_t halt[] = {3, 0, 0, 0, 12, 0, 0, 0, 9, 0, 0, 0};
	struct trace *trace = *state;

	initialize(trace);
	set_u32(trace, OID_GEN_CURRENT_PACKET_FILTER, 0xd);
	assert_int_equal(say(trace, halt, sizeof(halt)), 0);
	assert_int_equal(trace->sends, 0);
	assert_int_equal(rndis_control_state(trace->control), RNDIS_STATE_UNINITIALISED);
	assert_int_equal(rndis_control_packet_filter(trace->control), 0);
}

static void keepalive_and_reset_are_answered(void **state)
{
	static const uint8_t keepalive[] = {8, 0, 0, 0, 12, 0, 0, 0, 7, 0, 0, 0};
	static const uint8_t alive[16] = {8, 0, 0, 0x80, 16, 0, 0, 0, 7, 0, 0, 0};
	static const uint8_t reset[] = {6, 0, 0, 0, 12, 0, 0, 0, 0, 0, 0, 0};
	static const uint8_t done[16] = {6, 0, 0, 0x80, 16, 0, 0, 0, 0, 0, 0, 0};
	struct trace *trace = *state;

	initialize(trace);
	assert_int_equal(say(trace, keepalive, sizeof(keepalive)), 0);
	assert_int_equal(trace->sent_bytes, 16);
	assert_memory_equal(trace->sent, alive, 16);
	assert_int_equal(say(trace, reset, sizeof(reset)), 0);
	assert_int_equal(trace->sent_bytes, 16);
	assert_memory_equal(trace->sent, done, 16);
}

static void malformed_messages_are_told_to_the_caller(void **state)
{
	static const uint8_t unknown[] = {99, 0, 0, 0, 12, 0, 0, 0, 0, 0, 0, 0};
	uint8_t message[12] = {8};
	struct trace *trace = *state;

	assert_int_equal(say(trace, unknown, sizeof(unknown)), -EBADMSG);
	for (size_t length = 0; length < 12; length++)
		assert_int_equal(say(trace, message, length), -EBADMSG);
	for (uint32_t declared = 0; declared < 12; declared++) {
		put_le32(message + 4, declared);
		assert_int_equal(say(trace, message, sizeof(message)), -EBADMSG);
	}
	put_le32(message + 4, 13);
	assert_int_equal(say(trace, message, sizeof(message)), -EBADMSG);
	assert_int_equal(trace->sends, 0);
}

static void information_outside_the_message_is_refused(void **state)
{
	static const struct {
		uint32_t bytes, offset;
	} cases[] = {{1, 24}, {4, 21}, {UINT32_MAX, 20}, {4, UINT32_MAX}, {UINT32_MAX, UINT32_MAX}};
	struct trace *trace = *state;
	uint8_t message[32];

	initialize(trace);
	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++)
		for (uint32_t type = RNDIS_QUERY; type <= RNDIS_SET; type++) {
			oid_message(message, type, OID_GEN_CURRENT_PACKET_FILTER, "\1\0\0\0", 4);
			put_le32(message + 16, cases[i].bytes);
			put_le32(message + 20, cases[i].offset);
			assert_int_equal(say(trace, message, sizeof(message)), 0);
			assert_int_equal(get_le32(trace->sent + 12), RNDIS_STATUS_INVALID_LENGTH);
		}
	/* A request cut off in its header. */
	for (uint32_t length = 12; length < 28; length++) {
		oid_message(message, RNDIS_QUERY, OID_GEN_LINK_SPEED, NULL, 0);
		put_le32(message + 4, length);
		assert_int_equal(say(trace, message, length), 0);
		assert_int_equal(get_le32(trace->sent + 12), RNDIS_STATUS_INVALID_LENGTH);
	}
	assert_int_equal(rndis_control_packet_filter(trace->control), 0);
}

/* ---- queries ---- */

static void mac_query_of_linux_is_answered(void **state)
{
	static const uint8_t ask[28] = {4, 0, 0, 0, 28, 0, 0,  0, 2, 0, 0, 0, 1, 1,
					1, 1, 0, 0, 0,	0, 20, 0, 0, 0, 0, 0, 0, 0};
	static const uint8_t golden[30] = {4,  0, 0, 0x80, 30,	 0,    0,    0, 2, 0,
					   0,  0, 0, 0,	   0,	 0,    6,    0, 0, 0,
					   16, 0, 0, 0,	   0x00, 0x15, 0x5d, 1, 2, 3};
	struct trace *trace = *state;

	initialize(trace);
	assert_int_equal(say(trace, ask, sizeof(ask)), 0);
	assert_int_equal(trace->sent_bytes, sizeof(golden));
	assert_memory_equal(trace->sent, golden, sizeof(golden));
}

static void numbers_are_what_guests_expect(void **state)
{
	struct trace *trace = *state;

	initialize(trace);
	rndis_control_set_session(trace->control, NVSP_VERSION_61, 9000, 4);
	assert_int_equal(query_u32(trace, OID_GEN_MAXIMUM_FRAME_SIZE), 9000);
	assert_int_equal(query_u32(trace, OID_GEN_MAXIMUM_TOTAL_SIZE), 9014);
	assert_int_equal(query_u32(trace, OID_GEN_LINK_SPEED), 400000000);
	assert_int_equal(query_u32(trace, OID_GEN_MEDIA_CONNECT_STATUS), 0);
	assert_int_equal(query_u32(trace, OID_GEN_HARDWARE_STATUS), 0);
	assert_int_equal(query_u32(trace, OID_802_3_MAXIMUM_LIST_SIZE), RNDIS_MAX_MULTICAST);
	rndis_control_set_link(trace->control, false);
	assert_int_equal(query_u32(trace, OID_GEN_MEDIA_CONNECT_STATUS), 1);
}

static void statistics_are_as_wide_as_asked(void **state)
{
	struct trace *trace = *state;
	uint8_t room[8] = {0};
	size_t length;

	initialize(trace);
	assert_int_equal(query_u32(trace, OID_GEN_XMIT_OK), 2);
	assert_int_equal(query_u32(trace, OID_GEN_RCV_NO_BUFFER), 6);
	assert_int_equal(query_with(trace, OID_GEN_XMIT_OK, room, 8, &length), 0);
	assert_int_equal(length, 8);
	assert_true(get_le64(trace->sent + 24) == UINT64_C(0x100000002));
}

static void friendly_name_is_utf_16_with_its_end(void **state)
{
	static const uint8_t golden[] = {'v', 0, 'm', 0, '/', 0, 'n', 0,
					 'i', 0, 'c', 0, '0', 0, 0,   0};
	struct rndis_control_config nameless = everything;
	struct trace *trace = *state;
	size_t length;

	initialize(trace);
	assert_int_equal(query(trace, OID_GEN_FRIENDLY_NAME, &length), 0);
	assert_int_equal(length, sizeof(golden));
	assert_memory_equal(trace->sent + 24, golden, sizeof(golden));
	nameless.friendly_name[0] = '\0';
	make(trace, &nameless);
	initialize(trace);
	assert_int_equal(query(trace, OID_GEN_FRIENDLY_NAME, &length), RNDIS_STATUS_NOT_SUPPORTED);
}

static void every_supported_oid_is_known(void **state)
{
	uint32_t oids[256];
	struct trace *trace = *state;
	size_t length, count;

	initialize(trace);
	assert_int_equal(query(trace, OID_GEN_SUPPORTED_LIST, &length), 0);
	count = length / 4;
	assert_true(count > 30 && count <= ARRAY_LENGTH(oids));
	for (size_t i = 0; i < count; i++)
		oids[i] = get_le32(trace->sent + 24 + 4 * i);
	for (size_t i = 0; i < count; i++) {
		uint32_t status = query(trace, oids[i], &length);

		/* These can only be set. */
		if (oids[i] == OID_GEN_RECEIVE_SCALE_PARAMETERS ||
		    oids[i] == OID_GEN_RNDIS_CONFIG_PARAMETER ||
		    oids[i] == OID_TCP_OFFLOAD_PARAMETERS)
			assert_int_not_equal(set(trace, oids[i], NULL, 0),
					     RNDIS_STATUS_NOT_SUPPORTED);
		else
			assert_int_equal(status, RNDIS_STATUS_SUCCESS);
	}
	assert_int_equal(query(trace, 0x12345678, &length), RNDIS_STATUS_NOT_SUPPORTED);
	assert_int_equal(length, 0);
}

/* ---- offloads ---- */

static void hardware_capabilities_turn_everything_on_in_linux(void **state)
{
	static const uint8_t ask[156] = {0xa7, 3, 156, 0};
	static const uint8_t golden[156] = {
		0xa7,	   3, 156, 0,			/* type, revision 3, size */
		2,	   0, 0,   0, 0x55, 1,	  0, 0, /* IPv4 TX: 802.3, IP, options, TCP,
							   options, UDP */
		2,	   0, 0,   0, 0x55, 1,	  0, 0, /* IPv4 RX */
		2,	   0, 0,   0, 0x55, 0,	  0, 0, /* IPv6 TX: extensions, TCP, options, UDP */
		2,	   0, 0,   0, 0x55, 0,	  0, 0, /* IPv6 RX */
		[80] = 2,  0, 0,   0, 0x3c, 0xf5, 0, 0, 2, 0, 0, 0, /* LSOv2 IPv4: most bytes, least
								       segments */
		2,	   0, 0,   0, 0x3c, 0xf5, 0, 0, 2, 0, 0, 0, 5,
		0,	   0, 0, /* IPv6, with both options */
		[144] = 1, 1,	 /* RSC */
	};
	struct trace *trace = *state;
	size_t length;

	initialize(trace);
	assert_int_equal(
		query_with(trace, OID_TCP_OFFLOAD_HARDWARE_CAPABILITIES, ask, sizeof(ask), &length),
		0);
	assert_int_equal(length, sizeof(golden));
	assert_memory_equal(trace->sent + 24, golden, sizeof(golden));
}

static void older_guests_get_older_revisions(void **state)
{
	static const struct {
		uint8_t revision;
		uint8_t size;
		uint8_t answered;
	} cases[] = {{0, 112, 1}, {1, 112, 1}, {2, 144, 2}, {3, 156, 3}, {9, 156, 3}};
	struct trace *trace = *state;
	size_t length;

	initialize(trace);
	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		uint8_t ask[4] = {0xa7, cases[i].revision};

		assert_int_equal(
			query_with(trace, OID_TCP_OFFLOAD_HARDWARE_CAPABILITIES, ask, 4, &length),
			0);
		assert_int_equal(length, cases[i].size);
		assert_int_equal(trace->sent[25], cases[i].answered);
		assert_int_equal(get_le16(trace->sent + 26), cases[i].size);
	}
}

static void coalescing_is_offered_from_6_1_on(void **state)
{
	static const uint8_t ask[4] = {0xa7, 3};
	struct trace *trace = *state;
	size_t length;

	initialize(trace);
	rndis_control_set_session(trace->control, NVSP_VERSION_6, 1500, 1);
	query_with(trace, OID_TCP_OFFLOAD_HARDWARE_CAPABILITIES, ask, 4, &length);
	assert_int_equal(trace->sent[24 + 144], 0);
	assert_int_equal(trace->sent[24 + 145], 0);
}

static void offload_parameters_of_linux_are_taken_over(void **state)
{
	/* 6.1: no IP checksum, TCP and UDP both ways, LSOv2 on, RSC on. */
	uint8_t bytes[28] = {0x80, 3, 28, 0, 1, 4, 4, 4, 4, 0, 0, 2, 2, [22] = 2, 2};
	const struct rndis_offload_state *offloads;
	struct trace *trace = *state;

	initialize(trace);
	offloads = rndis_control_offloads(trace->control);
	assert_true(offloads->rx_checksum && !offloads->lso4 && !offloads->rsc4);
	assert_int_equal(set(trace, OID_TCP_OFFLOAD_PARAMETERS, bytes, sizeof(bytes)), 0);
	assert_true(offloads->tx_checksum && offloads->rx_checksum && offloads->lso4 &&
		    offloads->lso6 && offloads->rsc4 && offloads->rsc6);
	/* ethtool -K rx off lro off: receive checksums off, the rest as it is. */
	memcpy(bytes + 4, (const uint8_t[9]){1, 2, 2, 2, 2}, 9);
	bytes[22] = 1;
	bytes[23] = 1;
	assert_int_equal(set(trace, OID_TCP_OFFLOAD_PARAMETERS, bytes, sizeof(bytes)), 0);
	assert_true(offloads->tx_checksum && !offloads->rx_checksum && offloads->lso4);
	assert_false(offloads->rsc4 || offloads->rsc6);
}

static void short_offload_parameters_of_old_guests_work(void **state)
{
	static const uint8_t bytes[22] = {0x80, 3, 22, 0, 1, 4, 0, 4, 0, 0, 0, 2, 2};
	struct trace *trace = *state;

	initialize(trace);
	assert_int_equal(set(trace, OID_TCP_OFFLOAD_PARAMETERS, bytes, 22), 0);
	assert_true(rndis_control_offloads(trace->control)->lso6);
	assert_int_equal(set(trace, OID_TCP_OFFLOAD_PARAMETERS, bytes, 21),
			 RNDIS_STATUS_INVALID_LENGTH);
}

static void what_was_not_offered_cannot_be_set(void **state)
{
	struct rndis_control_config none = everything;
	struct trace *trace = *state;
	uint8_t bytes[28];

	none.offloads = 0;
	make(trace, &none);
	initialize(trace);
	for (size_t at = 4; at < 28; at++) {
		bool known = at <= 8 || at == 11 || at == 12 || at == 22 || at == 23;

		memset(bytes, 0, sizeof(bytes));
		bytes[0] = 0x80;
		bytes[at] = 2;
		assert_int_equal(set(trace, OID_TCP_OFFLOAD_PARAMETERS, bytes, sizeof(bytes)),
				 known ? RNDIS_STATUS_INVALID_DATA : RNDIS_STATUS_SUCCESS);
		bytes[at] = 1; /* off is always right */
		assert_int_equal(set(trace, OID_TCP_OFFLOAD_PARAMETERS, bytes, sizeof(bytes)), 0);
	}
	memset(bytes, 0, sizeof(bytes)); /* not an object of ours */
	assert_int_equal(set(trace, OID_TCP_OFFLOAD_PARAMETERS, bytes, sizeof(bytes)),
			 RNDIS_STATUS_INVALID_DATA);
}

static void lso_needs_checksums(void **state)
{
	struct rndis_control_config config = everything;
	struct rndis_control *control;
	struct trace *trace = *state;

	config.offloads = RNDIS_OFFLOAD_LSO;
	assert_int_equal(rndis_control_create(&config, &ops, trace, &control), -EINVAL);
}

/* ---- RSS ---- */

static void rss_capabilities_are_as_linux_reads_them(void **state)
{
	static const uint8_t ask[18] = {0x88, 2, 18};
	static const uint8_t golden[18] = {0x88, 2, 18, 0, 1, 3, 0, 7,	 8,
					   0,	 0, 0,	8, 0, 0, 0, 128, 0};
	struct trace *trace = *state;
	size_t length;

	initialize(trace);
	assert_int_equal(query_with(trace, OID_GEN_RECEIVE_SCALE_CAPABILITIES, ask, 18, &length),
			 0);
	assert_int_equal(length, 18);
	assert_memory_equal(trace->sent + 24, golden, 18);
	rndis_control_set_session(trace->control, NVSP_VERSION_4, 1500, 1);
	assert_int_equal(query_with(trace, OID_GEN_RECEIVE_SCALE_CAPABILITIES, ask, 18, &length),
			 RNDIS_STATUS_NOT_SUPPORTED);
}

static void rss_is_off_once_its_channels_are_gone(void **state)
{
	uint8_t bytes[40 + 16 + 40] = {0x89, 2, 40, 0, 0, 0, 0,	 0, 1, 2, 0,  0, 16, 0,
				       0,    0, 40, 0, 0, 0, 40, 0, 0, 0, 56, 0, 0,  0};
	struct trace *trace = *state;

	initialize(trace);
	bytes[40 + 12] = 3;
	assert_int_equal(set(trace, OID_GEN_RECEIVE_SCALE_PARAMETERS, bytes, sizeof(bytes)), 0);
	assert_int_equal(rss_channel(rndis_control_rss(trace->control), 3), 3);
	rndis_control_set_session(trace->control, NVSP_VERSION_61, 1500, 3);
	assert_int_equal(rss_channel(rndis_control_rss(trace->control), 3), 0);
}

/* ---- address and multicast ---- */

static size_t address_message(uint8_t *bytes, const char *digits)
{
	static const char name[] = "NetworkAddress";

	memset(bytes, 0, 128);
	put_le32(bytes, 20);
	put_le32(bytes + 4, 28);
	put_le32(bytes + 8, RNDIS_CONFIG_STRING);
	put_le32(bytes + 12, 48);
	put_le32(bytes + 16, (uint32_t)(2 * strlen(digits)));
	for (size_t i = 0; i < 14; i++)
		put_le16(bytes + 20 + 2 * i, (uint8_t)name[i]);
	for (size_t i = 0; i < strlen(digits); i++)
		put_le16(bytes + 48 + 2 * i, (uint8_t)digits[i]);
	return 48 + 2 * strlen(digits);
}

static void address_change_of_linux_is_asked_and_kept(void **state)
{
	static const uint8_t mac[6] = {0x02, 0xab, 0xcd, 0xef, 0x01, 0x23};
	struct trace *trace = *state;
	uint8_t bytes[128];
	size_t length = address_message(bytes, "02abcdEF0123");

	initialize(trace);
	trace->address_result = -EPERM;
	assert_int_equal(set(trace, OID_GEN_RNDIS_CONFIG_PARAMETER, bytes, length),
			 RNDIS_STATUS_NOT_ACCEPTED);
	assert_memory_equal(rndis_control_address(trace->control), everything.mac, 6);
	trace->address_result = 0;
	assert_int_equal(set(trace, OID_GEN_RNDIS_CONFIG_PARAMETER, bytes, length), 0);
	assert_memory_equal(trace->address, mac, 6);
	assert_memory_equal(rndis_control_address(trace->control), mac, 6);
	assert_int_equal(query(trace, OID_802_3_CURRENT_ADDRESS, &length), 0);
	assert_memory_equal(trace->sent + 24, mac, 6);
	assert_int_equal(query(trace, OID_802_3_PERMANENT_ADDRESS, &length), 0);
	assert_memory_equal(trace->sent + 24, everything.mac, 6);
	rndis_control_reset(trace->control);
	assert_memory_equal(rndis_control_address(trace->control), everything.mac, 6);
}

static void bad_addresses_are_refused(void **state)
{
	static const char *const digits[] = {"010000000001", "000000000000", "02abcdef01",
					     "02abcdefg123", ""};
	struct trace *trace = *state;
	uint8_t bytes[128];
	size_t length;

	initialize(trace);
	for (size_t i = 0; i < ARRAY_LENGTH(digits); i++) {
		length = address_message(bytes, digits[i]);
		assert_int_equal(set(trace, OID_GEN_RNDIS_CONFIG_PARAMETER, bytes, length),
				 RNDIS_STATUS_INVALID_DATA);
	}
	length = address_message(bytes, "02abcdef0123");
	for (size_t cut = 0; cut < length; cut++)
		assert_int_equal(set(trace, OID_GEN_RNDIS_CONFIG_PARAMETER, bytes, cut),
				 RNDIS_STATUS_INVALID_LENGTH);
	put_le32(bytes + 12, UINT32_MAX);
	assert_int_equal(set(trace, OID_GEN_RNDIS_CONFIG_PARAMETER, bytes, length),
			 RNDIS_STATUS_INVALID_LENGTH);
	assert_memory_equal(rndis_control_address(trace->control), everything.mac, 6);
}

static void multicast_list_is_kept_and_bounded(void **state)
{
	const uint8_t(*list)[6];
	struct trace *trace = *state;
	uint8_t bytes[33 * 6];

	initialize(trace);
	memset(bytes, 0x33, sizeof(bytes));
	assert_int_equal(set(trace, OID_802_3_MULTICAST_LIST, bytes, (size_t)32 * 6), 0);
	assert_int_equal(rndis_control_multicast(trace->control, &list), 32);
	assert_memory_equal(list[31], bytes, 6);
	assert_int_equal(set(trace, OID_802_3_MULTICAST_LIST, bytes, (size_t)33 * 6),
			 RNDIS_STATUS_MULTICAST_FULL);
	assert_int_equal(set(trace, OID_802_3_MULTICAST_LIST, bytes, 7),
			 RNDIS_STATUS_INVALID_LENGTH);
	assert_int_equal(rndis_control_multicast(trace->control, &list), 32);
	assert_int_equal(set(trace, OID_802_3_MULTICAST_LIST, NULL, 0), 0);
	assert_int_equal(rndis_control_multicast(trace->control, &list), 0);
}

/* ---- indications ---- */

static void indications_are_as_linux_reads_them(void **state)
{
	static const uint8_t connect[20] = {7, 0, 0, 0, 20, 0, 0, 0, 0x0b, 0, 1, 0x40};
	static const uint8_t speed[24] = {7, 0, 0, 0, 24, 0, 0, 0, 0x13, 0,    1,    0x40,
					  4, 0, 0, 0, 12, 0, 0, 0, 0x80, 0xb2, 0xe6, 0x0e};
	struct trace *trace = *state;

	rndis_control_announce(trace->control); /* nobody listens yet */
	assert_int_equal(trace->sends, 0);
	initialize(trace);
	rndis_control_announce(trace->control);
	assert_int_equal(trace->sent_bytes, sizeof(connect));
	assert_memory_equal(trace->sent, connect, sizeof(connect));
	rndis_control_set_link_speed(trace->control, 25000); /* 250,000,000 * 100 bit/s */
	assert_int_equal(trace->sent_bytes, sizeof(speed));
	assert_memory_equal(trace->sent, speed, sizeof(speed));
	rndis_control_network_change(trace->control);
	assert_int_equal(get_le32(trace->sent + 8), RNDIS_STATUS_NETWORK_CHANGE);
	rndis_control_set_link(trace->control, false);
	assert_int_equal(get_le32(trace->sent + 8), RNDIS_STATUS_MEDIA_DISCONNECT);
	trace->sends = 0;
	rndis_control_network_change(trace->control);
	rndis_control_announce(trace->control);
	rndis_control_set_link(trace->control, false);
	assert_int_equal(trace->sends, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(initialize_is_answered_as_linux_reads_it),
		TEST(other_major_version_is_refused),
		TEST(oids_wait_for_initialize),
		TEST(packet_filter_makes_it_operational),
		TEST(halt_has_no_response_and_ends_it),
		TEST(keepalive_and_reset_are_answered),
		TEST(malformed_messages_are_told_to_the_caller),
		TEST(information_outside_the_message_is_refused),
		TEST(mac_query_of_linux_is_answered),
		TEST(numbers_are_what_guests_expect),
		TEST(statistics_are_as_wide_as_asked),
		TEST(friendly_name_is_utf_16_with_its_end),
		TEST(every_supported_oid_is_known),
		TEST(hardware_capabilities_turn_everything_on_in_linux),
		TEST(older_guests_get_older_revisions),
		TEST(coalescing_is_offered_from_6_1_on),
		TEST(offload_parameters_of_linux_are_taken_over),
		TEST(short_offload_parameters_of_old_guests_work),
		TEST(what_was_not_offered_cannot_be_set),
		TEST(lso_needs_checksums),
		TEST(rss_capabilities_are_as_linux_reads_them),
		TEST(rss_is_off_once_its_channels_are_gone),
		TEST(address_change_of_linux_is_asked_and_kept),
		TEST(bad_addresses_are_refused),
		TEST(multicast_list_is_kept_and_bounded),
		TEST(indications_are_as_linux_reads_them),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
