/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * RNDIS data messages: golden bytes of both directions as Linux 6.1 writes and reads them,
 * scattered every way, and bad ones. A malformed header towards the guest makes Linux 6.1 loop for
 * ever: those bytes are pinned down here.
 */
#include "netvsp/rndis_packet.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "tests/unit/test_main.h"

#define FRAME_BYTES 60

/* What Linux 6.1 sends for a TSO segment with a VLAN tag and a hash: 44 + 3 * 16 bytes, then the
 * frame. */
static const uint8_t tso_header[] = {
	1,  0, 0, 0,	152,  0,    0,	  0,		  /* PACKET, 152 bytes */
	84, 0, 0, 0,	60,   0,    0,	  0,		  /* data at 8 + 84, 60 bytes */
	0,  0, 0, 0,	0,    0,    0,	  0, 0,	 0, 0, 0, /* no out-of-band data */
	36, 0, 0, 0,	48,   0,    0,	  0,		  /* per-packet info at 8 + 36, 48 bytes */
	0,  0, 0, 0,	0,    0,    0,	  0, 16, 0, 0, 0, 8,	0,    0,    0,	  12,
	0,  0, 0, 0xef, 0xbe, 0xad, 0xde,				       /* hash */
	16, 0, 0, 0,	6,    0,    0,	  0, 12, 0, 0, 0, 0x3d, 0x12, 0,    0, /* pri 5, cfi 1, id
										  0x123 */
	16, 0, 0, 0,	2,    0,    0,	  0, 12, 0, 0, 0, 0xa8, 0x05, 0x20, 0x42, /* LSOv2, 34, 1448
										   */
};

struct message {
	uint8_t bytes[4096];
	size_t length;
};

static struct message tso_message(void)
{
	struct message message = {.length = sizeof(tso_header) + FRAME_BYTES};

	memcpy(message.bytes, tso_header, sizeof(tso_header));
	for (size_t i = 0; i < FRAME_BYTES; i++)
		message.bytes[sizeof(tso_header) + i] = (uint8_t)(i + 1);
	return message;
}

/* A message with one info element, or none. */
static struct message plain_message(bool has_info, uint32_t type, uint32_t value)
{
	struct message message = {.length = 44 + (has_info ? 16 : 0) + FRAME_BYTES};

	put_le32(message.bytes, RNDIS_PACKET);
	put_le32(message.bytes + 4, (uint32_t)message.length);
	put_le32(message.bytes + 8, has_info ? 52 : 36);
	put_le32(message.bytes + 12, FRAME_BYTES);
	if (!has_info)
		return message;
	put_le32(message.bytes + 28, 36);
	put_le32(message.bytes + 32, 16);
	put_le32(message.bytes + 44, 16);
	put_le32(message.bytes + 48, type);
	put_le32(message.bytes + 52, 12);
	put_le32(message.bytes + 56, value);
	return message;
}

/* Parses a message out of memory of exactly its size, so that a sanitizer sees a read past it. */
static int parse(const struct message *message, struct rndis_tx_packet *packet)
{
	uint8_t *exact = malloc(message->length);
	struct rndis_run run = {exact, (uint32_t)message->length};
	struct rndis_tx_walk walk;
	int rc;

	assert_non_null(exact);
	memcpy(exact, message->bytes, message->length);
	rc = rndis_tx_begin(&walk, &run, 1);
	if (rc == 0)
		rc = rndis_tx_next(&walk, packet);
	if (rc < 0)
		assert_int_equal(rndis_tx_next(&walk, packet), 0);
	free(exact);
	return rc;
}

/* ---- guest to host ---- */

static void tso_packet_of_linux_is_understood(void **state)
{
	struct message message = tso_message();
	struct rndis_tx_packet packet = {0};

	(void)state;
	assert_int_equal(parse(&message, &packet), 1);
	assert_int_equal(packet.payload_offset, sizeof(tso_header));
	assert_int_equal(packet.payload_bytes, FRAME_BYTES);
	assert_int_equal(packet.flags,
			 RNDIS_TX_LSO | RNDIS_TX_IPV4 | RNDIS_TX_VLAN | RNDIS_TX_HASH);
	assert_int_equal(packet.mss, 1448);
	assert_int_equal(packet.l4_offset, 34);
	assert_int_equal(packet.vlan_tci, 5 << 13 | 1 << 12 | 0x123);
	assert_int_equal(packet.hash, 0xdeadbeef);
}

static void message_without_info_is_understood(void **state)
{
	struct message message = plain_message(false, 0, 0);
	struct rndis_tx_packet packet = {0};

	(void)state;
	assert_int_equal(parse(&message, &packet), 1);
	assert_int_equal(packet.flags, 0);
	assert_int_equal(packet.payload_offset, 44);
}

static void checksum_requests_are_understood(void **state)
{
	static const struct {
		uint32_t value;
		uint16_t flags, l4_offset;
	} cases[] = {
		{RNDIS_TXCSUM_IPV4 | RNDIS_TXCSUM_TCP | 34 << 16, RNDIS_TX_IPV4 | RNDIS_TX_CSUM_TCP,
		 34},
		{RNDIS_TXCSUM_IPV6 | RNDIS_TXCSUM_UDP | 54 << 16, RNDIS_TX_IPV6 | RNDIS_TX_CSUM_UDP,
		 54},
		{RNDIS_TXCSUM_IPV4 | RNDIS_TXCSUM_IP_HEADER, RNDIS_TX_IPV4 | RNDIS_TX_CSUM_IP, 0},
		{RNDIS_TXCSUM_IPV6 | RNDIS_TXCSUM_IP_HEADER, RNDIS_TX_IPV6, 0},
		{RNDIS_TXCSUM_TCP | 34 << 16, 0, 0}, /* of no IP version */
	};
	struct rndis_tx_packet packet = {0};

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		struct message message = plain_message(true, RNDIS_INFO_CHECKSUM, cases[i].value);

		assert_int_equal(parse(&message, &packet), 1);
		assert_int_equal(packet.flags, cases[i].flags);
		assert_int_equal(packet.l4_offset, cases[i].l4_offset);
	}
}

static void lso_over_ipv6_is_understood(void **state)
{
	struct message message = plain_message(true, RNDIS_INFO_LSO,
					       1420 | 54u << 20 | RNDIS_LSO_V2 | RNDIS_LSO_IPV6);
	struct rndis_tx_packet packet = {0};

	(void)state;
	assert_int_equal(parse(&message, &packet), 1);
	assert_int_equal(packet.flags, RNDIS_TX_LSO | RNDIS_TX_IPV6);
	assert_int_equal(packet.mss, 1420);
	assert_int_equal(packet.l4_offset, 54);
}

static void bad_lso_is_refused(void **state)
{
	static const uint32_t values[] = {
		1448,						   /* version 1 */
		RNDIS_LSO_V2,					   /* no segment size */
		RNDIS_LSO_V2 | 0x10000,				   /* beyond any packet */
		RNDIS_LSO_V2 | 1448 | (uint32_t)FRAME_BYTES << 20, /* header outside the frame */
	};
	struct rndis_tx_packet packet = {0};

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(values); i++) {
		struct message message = plain_message(true, RNDIS_INFO_LSO, values[i]);

		assert_int_equal(parse(&message, &packet), -EBADMSG);
	}
}

static void unknown_and_internal_info_is_passed_over(void **state)
{
	static const uint32_t types[] = {1,	    3, 5, 7, 9, 11, 200, RNDIS_INFO_INTERNAL | 6,
					 UINT32_MAX};
	struct rndis_tx_packet packet = {0};

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(types); i++) {
		struct message message = plain_message(true, types[i], 0xffffffff);

		assert_int_equal(parse(&message, &packet), 1);
		assert_int_equal(packet.flags, 0);
	}
}

static void any_split_of_a_message_reads_the_same(void **state)
{
	struct message message = tso_message();
	struct rndis_tx_packet whole = {0}, packet = {0};
	uint8_t copy[FRAME_BYTES];

	(void)state;
	assert_int_equal(parse(&message, &whole), 1);
	for (uint32_t cut = 0; cut <= message.length; cut++) {
		struct rndis_run runs[4] = {
			{message.bytes, cut / 2},
			{message.bytes + cut / 2, cut - cut / 2},
			{NULL, 0},
			{message.bytes + cut, (uint32_t)message.length - cut},
		};
		struct rndis_run slices[4];
		struct rndis_tx_walk walk;
		ssize_t count;

		assert_int_equal(rndis_tx_begin(&walk, runs, 4), 0);
		assert_int_equal(rndis_tx_next(&walk, &packet), 1);
		assert_memory_equal(&packet, &whole, sizeof(packet));
		assert_int_equal(rndis_tx_next(&walk, &packet), 0);
		assert_int_equal(rndis_runs_copy(runs, 4, whole.payload_offset, copy, FRAME_BYTES),
				 0);
		assert_memory_equal(copy, message.bytes + sizeof(tso_header), FRAME_BYTES);
		count = rndis_runs_slice(runs, 4, whole.payload_offset, FRAME_BYTES, slices, 4);
		assert_in_range(count, 1, 3);
		for (uint32_t i = 0, at = 0; i < count; at += slices[i++].length)
			assert_ptr_equal(slices[i].bytes, message.bytes + sizeof(tso_header) + at);
	}
}

static void several_messages_with_padding_are_walked(void **state)
{
	struct message all = {0};
	struct rndis_run run = {all.bytes, 0};
	struct rndis_tx_walk walk;
	struct rndis_tx_packet packet = {0};

	(void)state;
	for (uint32_t i = 0; i < 8; i++) {
		struct message one = plain_message(false, 0, 0);

		/* Linux counts the padding in the message's length. */
		put_le32(one.bytes + 4, 104 + 8);
		one.bytes[44] = (uint8_t)i;
		memcpy(all.bytes + all.length, one.bytes, 104 + 8);
		all.length += 104 + 8;
	}
	run.length = (uint32_t)all.length;
	assert_int_equal(rndis_tx_begin(&walk, &run, 1), 0);
	for (uint32_t i = 0; i < 8; i++) {
		assert_int_equal(rndis_tx_next(&walk, &packet), 1);
		assert_int_equal(all.bytes[packet.payload_offset], i);
	}
	assert_int_equal(rndis_tx_next(&walk, &packet), 0);
}

static void good_packets_ahead_of_a_bad_one_are_given(void **state)
{
	struct message first = plain_message(false, 0, 0);
	uint8_t junk[8] = {9};
	struct rndis_run runs[] = {{first.bytes, (uint32_t)first.length}, {junk, sizeof(junk)}};
	struct rndis_tx_walk walk;
	struct rndis_tx_packet packet = {0};

	(void)state;
	assert_int_equal(rndis_tx_begin(&walk, runs, 2), 0);
	assert_int_equal(rndis_tx_next(&walk, &packet), 1);
	assert_int_equal(rndis_tx_next(&walk, &packet), -EBADMSG);
	assert_int_equal(rndis_tx_next(&walk, &packet), 0);
	runs[1].length = 7; /* too short for a header: padding */
	assert_int_equal(rndis_tx_begin(&walk, runs, 2), 0);
	assert_int_equal(rndis_tx_next(&walk, &packet), 1);
	assert_int_equal(rndis_tx_next(&walk, &packet), 0);
}

/* Each changes one u32 of the TSO message to a value that must not pass. */
static void bad_fields_are_refused(void **state)
{
	static const struct {
		size_t at;
		uint32_t value;
	} cases[] = {
		{0, 2},		  {0, 0},	    {4, 0},	      {4, 43},
		{4, 153},	  {4, UINT32_MAX},  {4, 151},	      {8, 35},
		{8, 85},	  {8, UINT32_MAX},  {12, 61},	      {12, 13},
		{12, UINT32_MAX}, {12, 65550},	    {28, 35},	      {28, UINT32_MAX},
		{28, 145},	  {32, 257},	    {32, UINT32_MAX}, {32, 47},
		{32, 49},	  {44, 0},	    {44, 11},	      {44, 15},
		{44, 17},	  {44, UINT32_MAX}, {44, 52},	      {52, 11},
		{52, 17},	  {52, UINT32_MAX}, {60, 0x80000000}, {76, UINT32_MAX},
	};
	struct rndis_tx_packet packet = {0};

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		struct message message = tso_message();

		put_le32(message.bytes + cases[i].at, cases[i].value);
		if (parse(&message, &packet) != -EBADMSG)
			fail_msg("%#x at %zu passed", cases[i].value, cases[i].at);
	}
}

static void truncated_messages_are_refused(void **state)
{
	struct message message = tso_message();
	size_t whole = message.length;
	struct rndis_tx_packet packet = {0};

	(void)state;
	for (message.length = 8; message.length < whole; message.length++)
		assert_int_equal(parse(&message, &packet), -EBADMSG);
}

static void empty_and_huge_packets_are_refused(void **state)
{
	static uint8_t byte;
	struct rndis_run runs[2] = {{&byte, 1u << 20}, {&byte, 1}};
	struct rndis_tx_walk walk;

	(void)state;
	assert_int_equal(rndis_tx_begin(&walk, runs, 0), -EBADMSG);
	assert_int_equal(rndis_tx_begin(&walk, runs, 2), -EBADMSG);
	runs[0].length = UINT32_MAX;
	runs[1].length = UINT32_MAX;
	assert_int_equal(rndis_tx_begin(&walk, runs, 2), -EBADMSG);
}

static void two_ip_versions_are_refused(void **state)
{
	struct message message = tso_message();
	struct rndis_tx_packet packet = {0};

	(void)state;
	/* The hash becomes a checksum request for IPv6, beside LSO over IPv4. */
	put_le32(message.bytes + 48, RNDIS_INFO_CHECKSUM);
	put_le32(message.bytes + 56, RNDIS_TXCSUM_IPV6 | RNDIS_TXCSUM_TCP);
	assert_int_equal(parse(&message, &packet), -EBADMSG);
}

static void slices_are_bounded(void **state)
{
	uint8_t bytes[4] = {0};
	struct rndis_run runs[2] = {{bytes, 2}, {bytes + 2, 2}}, slices[2];

	(void)state;
	assert_int_equal(rndis_runs_slice(runs, 2, 0, 4, slices, 2), 2);
	assert_int_equal(rndis_runs_slice(runs, 2, 0, 4, slices, 1), -E2BIG);
	assert_int_equal(rndis_runs_slice(runs, 2, 1, 4, slices, 2), -EINVAL);
	assert_int_equal(rndis_runs_slice(runs, 2, UINT32_MAX, 1, slices, 2), -EINVAL);
	assert_int_equal(rndis_runs_copy(runs, 2, 1, bytes, 4), -EINVAL);
	assert_int_equal(rndis_runs_copy(runs, 2, UINT32_MAX, bytes, UINT32_MAX), -EINVAL);
}

/* ---- host to guest ---- */

static void bare_header_is_as_linux_reads_it(void **state)
{
	static const uint8_t golden[44] = {1, 0, 0, 0, 0x16, 6, 0, 0, 36, 0, 0, 0, 0xea, 5};
	const struct rndis_rx_info info = {0};
	uint8_t header[RNDIS_RX_MAX_HEADER_BYTES];

	(void)state;
	assert_int_equal(rndis_rx_build_header(header, 1514, &info), 44);
	assert_memory_equal(header, golden, sizeof(golden));
}

static void full_header_is_as_linux_reads_it(void **state)
{
	static const uint8_t golden[RNDIS_RX_MAX_HEADER_BYTES] = {
		1,   0, 0, 0,	 0x66, 6, 0, 0, /* PACKET, 124 + 1514 */
		116, 0, 0, 0,	 0xea, 5, 0, 0, /* data at 8 + 116, 1514 bytes */
		0,   0, 0, 0,	 0,    0, 0, 0,	   0,  0, 0, 0, 36,   0,    0,	  0,	80,
		0,   0, 0, /* per-packet info at 8 + 36, 80 bytes */
		0,   0, 0, 0,	 0,    0, 0, 0,	   16, 0, 0, 0, 0,    0,    0,	  0,	12,
		0,   0, 0, 0x28, 0,    0, 0, /* checksum: TCP and IP good */
		16,  0, 0, 0,	 6,    0, 0, 0,	   12, 0, 0, 0, 0x3d, 0x12, 0,	  0, /* pri 5, cfi
											1, id 0x123
										      */
		16,  0, 0, 0,	 8,    0, 0, 0,	   12, 0, 0, 0, 0x78, 0x56, 0x34, 0x12, /* hash */
		16,  0, 0, 0,	 9,    0, 0, 0,	   12, 0, 0, 0, 0,    2,    0,	  0, /* of TCP over
											IPv4 */
		16,  0, 0, 0,	 1,    0, 0, 0x80, 12, 0, 0, 0, 1,    3,    0,	  0, /* first
											fragment */
	};
	const struct rndis_rx_info info = {
		.flags = RNDIS_RX_CHECKSUM | RNDIS_RX_VLAN | RNDIS_RX_HASH | RNDIS_RX_RSC,
		.vlan_tci = 5 << 13 | 1 << 12 | 0x123,
		.csum = RNDIS_RXCSUM_TCP_OK | RNDIS_RXCSUM_IP_OK,
		.hash = 0x12345678,
		.hash_type = NDIS_HASH_TCP_IPV4,
		.rsc = RNDIS_RSC_FIRST,
	};
	uint8_t header[RNDIS_RX_MAX_HEADER_BYTES];

	(void)state;
	assert_int_equal(rndis_rx_header_bytes(&info), RNDIS_RX_MAX_HEADER_BYTES);
	assert_int_equal(rndis_rx_build_header(header, 1514, &info), RNDIS_RX_MAX_HEADER_BYTES);
	assert_memory_equal(header, golden, sizeof(golden));
}

static void headers_hold_their_own_length(void **state)
{
	(void)state;
	for (uint16_t flags = 0; flags < 16; flags++)
		for (uint32_t type = 0; type < 2; type++) {
			struct rndis_rx_info info = {.flags = flags, .hash_type = type};
			uint8_t header[RNDIS_RX_MAX_HEADER_BYTES + 1];
			uint32_t length;

			memset(header, 0xee, sizeof(header));
			length = rndis_rx_build_header(header, 60, &info);
			assert_int_equal(length, rndis_rx_header_bytes(&info));
			assert_int_equal(header[length], 0xee); /* nothing written past it */
			assert_int_equal(get_le32(header + 4), length + 60);
			assert_int_equal(get_le32(header + 8) + 8, length);
			assert_int_equal(get_le32(header + 32), length - 44);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tso_packet_of_linux_is_understood),
		cmocka_unit_test(message_without_info_is_understood),
		cmocka_unit_test(checksum_requests_are_understood),
		cmocka_unit_test(lso_over_ipv6_is_understood),
		cmocka_unit_test(bad_lso_is_refused),
		cmocka_unit_test(unknown_and_internal_info_is_passed_over),
		cmocka_unit_test(any_split_of_a_message_reads_the_same),
		cmocka_unit_test(several_messages_with_padding_are_walked),
		cmocka_unit_test(good_packets_ahead_of_a_bad_one_are_given),
		cmocka_unit_test(bad_fields_are_refused),
		cmocka_unit_test(truncated_messages_are_refused),
		cmocka_unit_test(empty_and_huge_packets_are_refused),
		cmocka_unit_test(two_ip_versions_are_refused),
		cmocka_unit_test(slices_are_bounded),
		cmocka_unit_test(bare_header_is_as_linux_reads_it),
		cmocka_unit_test(full_header_is_as_linux_reads_it),
		cmocka_unit_test(headers_hold_their_own_length),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
