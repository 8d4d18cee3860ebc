/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Packets as bytes: golden ones, and those that are cut or made to deceive.
 */
#include "tests/unit/test_main.h"

#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "nlb/nlb_packet.h"

#define IPV4 0x0800
#define IPV6 0x86dd

/* 192.0.2.7 to 10.0.0.100; length: of all that follows the header. Returns the header's length. */
static size_t put_ipv4(uint8_t *bytes, uint8_t protocol, size_t payload)
{
	static const uint8_t header[] = {0x45, 0, 0,   0, 0x12, 0x34, 0,  0, 64, 0,
					 0,    0, 192, 0, 2,	7,    10, 0, 0,	 100};

	memcpy(bytes, header, sizeof(header));
	put_be16(bytes + 2, (uint16_t)(sizeof(header) + payload));
	bytes[9] = protocol;
	return sizeof(header);
}

static size_t put_ipv6(uint8_t *bytes, uint8_t next, size_t payload)
{
	memset(bytes, 0, 40);
	bytes[0] = 0x60;
	put_be16(bytes + 4, (uint16_t)payload);
	bytes[6] = next;
	bytes[7] = 64;
	bytes[8] = 0x20;
	bytes[23] = 7;
	bytes[24] = 0xfd;
	bytes[39] = 0x64;
	return 40;
}

static size_t put_tcp(uint8_t *bytes, uint16_t from, uint16_t to, uint8_t flags)
{
	memset(bytes, 0, 20);
	put_be16(bytes, from);
	put_be16(bytes + 2, to);
	bytes[12] = 0x50;
	bytes[13] = flags;
	return 20;
}

static void tcp_is_read_behind_ipv4_with_options(void **state)
{
	uint8_t bytes[64] = {0};
	struct nlb_packet packet;
	size_t header = put_ipv4(bytes, NLB_IP_TCP, 24);

	(void)state;
	bytes[0] = 0x46;
	header += 4;
	put_tcp(bytes + header, 40000, 443, NLB_TCP_SYN);
	assert_int_equal(nlb_packet_parse(IPV4, bytes, 44, &packet), 0);
	assert_int_equal(packet.family, 4);
	assert_int_equal(packet.protocol, NLB_IP_TCP);
	assert_int_equal(packet.client_port, 40000);
	assert_int_equal(packet.server_port, 443);
	assert_int_equal(packet.tcp_flags, NLB_TCP_SYN);
	assert_false(packet.is_fragment || packet.is_error);
	assert_memory_equal(packet.client, ((uint8_t[16]){192, 0, 2, 7}), 16);
	assert_memory_equal(packet.server, ((uint8_t[16]){10, 0, 0, 100}), 16);
	/* Left to segmentation; and longer than the piece at hand. */
	put_be16(bytes + 2, 0);
	assert_int_equal(nlb_packet_parse(IPV4, bytes, 44, &packet), 0);
	put_be16(bytes + 2, 62000);
	assert_int_equal(nlb_packet_parse(IPV4, bytes, 44, &packet), 0);
}

static void whatever_is_cut_is_refused(void **state)
{
	uint8_t bytes[128];
	struct nlb_packet packet;

	(void)state;
	put_tcp(bytes + put_ipv4(bytes, NLB_IP_TCP, 20), 1, 2, 0);
	for (size_t length = 0; length < 34; length++)
		assert_int_equal(nlb_packet_parse(IPV4, bytes, length, &packet), -EPROTO);
	assert_int_equal(nlb_packet_parse(IPV4, bytes, 34, &packet), 0);
	put_be16(bytes + 2, 33); /* by its own word */
	assert_int_equal(nlb_packet_parse(IPV4, bytes, 40, &packet), -EPROTO);
	bytes[0] = 0x44;
	assert_int_equal(nlb_packet_parse(IPV4, bytes, 40, &packet), -EPROTO);
	bytes[0] = 0x65;
	assert_int_equal(nlb_packet_parse(IPV4, bytes, 40, &packet), -EPROTO);
	put_tcp(bytes + put_ipv6(bytes, NLB_IP_TCP, 20), 1, 2, 0);
	for (size_t length = 0; length < 54; length++)
		assert_int_equal(nlb_packet_parse(IPV6, bytes, length, &packet), -EPROTO);
	assert_int_equal(nlb_packet_parse(IPV6, bytes, 54, &packet), 0);
	put_ipv4(bytes, NLB_IP_UDP, 7);
	assert_int_equal(nlb_packet_parse(IPV4, bytes, 27, &packet), -EPROTO);
}

static void what_is_no_ip_is_not_looked_at(void **state)
{
	struct nlb_packet packet;

	(void)state;
	assert_int_equal(nlb_packet_parse(0x0806, NULL, 0, &packet), -ENOENT);
	assert_int_equal(nlb_packet_parse(0x88b5, NULL, 0, &packet), -ENOENT);
}

static void fragments_have_no_ports_but_the_first(void **state)
{
	uint8_t bytes[64];
	struct nlb_packet packet;

	(void)state;
	put_tcp(bytes + put_ipv4(bytes, NLB_IP_TCP, 20), 1000, 80, NLB_TCP_ACK);
	put_be16(bytes + 6, 0x2000); /* more follow */
	assert_int_equal(nlb_packet_parse(IPV4, bytes, 40, &packet), 0);
	assert_false(packet.is_fragment);
	assert_int_equal(packet.server_port, 80);
	put_be16(bytes + 6, 0x2000 | 185);
	assert_int_equal(nlb_packet_parse(IPV4, bytes, 40, &packet), 0);
	assert_true(packet.is_fragment);
	assert_int_equal(packet.protocol, NLB_IP_TCP);
	assert_int_equal(packet.server_port, 0);
	assert_int_equal(packet.tcp_flags, 0);
	/* RFC 3128: it would write the flags of the first one anew. */
	put_be16(bytes + 6, 1);
	assert_int_equal(nlb_packet_parse(IPV4, bytes, 40, &packet), -EPROTO);
	bytes[9] = NLB_IP_UDP;
	assert_int_equal(nlb_packet_parse(IPV4, bytes, 40, &packet), 0);
}

static void extension_headers_are_passed_over(void **state)
{
	/* Hop by hop, routing, a first fragment, then TCP. */
	static const uint8_t extensions[] = {43, 0, 1, 4, 0, 0, 0, 0, 44, 0, 4, 0,
					     0,	 0, 0, 0, 6, 0, 0, 1, 0,  0, 0, 9};
	uint8_t bytes[256];
	struct nlb_packet packet;
	size_t at = put_ipv6(bytes, 0, sizeof(extensions) + 20), length;

	(void)state;
	memcpy(bytes + at, extensions, sizeof(extensions));
	length = at + sizeof(extensions);
	length += put_tcp(bytes + length, 1000, 80, NLB_TCP_ACK);
	assert_int_equal(nlb_packet_parse(IPV6, bytes, length, &packet), 0);
	assert_int_equal(packet.family, 6);
	assert_int_equal(packet.server_port, 80);
	assert_int_equal(packet.client[0], 0x20);
	assert_int_equal(packet.server[15], 0x64);
	/* The same as a later fragment: what follows is not a header. */
	put_be16(bytes + at + 18, 8 << 3);
	assert_int_equal(nlb_packet_parse(IPV6, bytes, length, &packet), 0);
	assert_true(packet.is_fragment);
	assert_int_equal(packet.protocol, NLB_IP_TCP);
	assert_int_equal(packet.server_port, 0);
	/* One that says that it is longer than all there is. */
	bytes[at + 1] = 200;
	assert_int_equal(nlb_packet_parse(IPV6, bytes, length, &packet), -EPROTO);
}

static void endless_extension_headers_are_refused(void **state)
{
	uint8_t bytes[40 + 80 + 20] = {0};
	struct nlb_packet packet;

	(void)state;
	put_ipv6(bytes, 60, 100);
	for (uint32_t i = 0; i < 10; i++)
		bytes[40 + 8 * i] = i < 9 ? 60 : 6;
	assert_int_equal(nlb_packet_parse(IPV6, bytes, sizeof(bytes), &packet), -EPROTO);
	bytes[40 + 8 * 7] = 59; /* eight, and nothing after them */
	assert_int_equal(nlb_packet_parse(IPV6, bytes, sizeof(bytes), &packet), 0);
	assert_int_equal(packet.protocol, 59);
}

/* An ICMP error from a router at 192.0.2.7 about a segment of the cluster's to 198.51.100.9. */
static size_t put_error(uint8_t *bytes, uint8_t type)
{
	uint8_t *quoted = bytes + 28;

	put_ipv4(bytes, NLB_IP_ICMP, 8 + 28);
	memset(bytes + 20, 0, 8);
	bytes[20] = type;
	put_ipv4(quoted, NLB_IP_TCP, 20);
	memcpy(quoted + 12, (uint8_t[]){10, 0, 0, 100, 198, 51, 100, 9}, 8);
	put_be16(quoted + 20, 443);
	put_be16(quoted + 22, 51000);
	return 28 + 28;
}

static void icmp_error_is_about_a_connection(void **state)
{
	uint8_t bytes[128] = {0};
	struct nlb_packet packet;
	size_t length = put_error(bytes, 3);

	(void)state;
	assert_int_equal(nlb_packet_parse(IPV4, bytes, length, &packet), 0);
	assert_true(packet.is_error);
	assert_int_equal(packet.protocol, NLB_IP_TCP);
	assert_int_equal(packet.client_port, 51000);
	assert_int_equal(packet.server_port, 443);
	assert_int_equal(packet.tcp_flags, 0);
	assert_memory_equal(packet.client, ((uint8_t[16]){198, 51, 100, 9}), 16);
	assert_memory_equal(packet.server, ((uint8_t[16]){10, 0, 0, 100}), 16);
	/* An echo request quotes nothing, nor does what is not of the cluster. */
	put_error(bytes, 8);
	assert_int_equal(nlb_packet_parse(IPV4, bytes, length, &packet), 0);
	assert_false(packet.is_error);
	assert_int_equal(packet.protocol, NLB_IP_ICMP);
	put_error(bytes, 11);
	bytes[28 + 15] = 101;
	assert_int_equal(nlb_packet_parse(IPV4, bytes, length, &packet), 0);
	assert_false(packet.is_error);
	put_error(bytes, 12);
	assert_int_equal(nlb_packet_parse(IPV4, bytes, 28 + 23, &packet), 0);
	assert_false(packet.is_error);
}

static void icmpv6_error_is_about_a_connection(void **state)
{
	uint8_t bytes[160] = {0};
	struct nlb_packet packet;
	uint8_t *quoted = bytes + 48;

	(void)state;
	put_ipv6(bytes, NLB_IP_ICMPV6, 8 + 60);
	bytes[40] = 2; /* packet too big */
	put_ipv6(quoted, NLB_IP_UDP, 1000);
	memcpy(quoted + 8, bytes + 24, 16);
	memset(quoted + 24, 0x99, 16);
	put_be16(quoted + 40, 53);
	put_be16(quoted + 42, 5353);
	assert_int_equal(nlb_packet_parse(IPV6, bytes, 48 + 60, &packet), 0);
	assert_true(packet.is_error);
	assert_int_equal(packet.protocol, NLB_IP_UDP);
	assert_int_equal(packet.client_port, 5353);
	assert_int_equal(packet.client[3], 0x99);
	bytes[40] = 135; /* neighbour solicitation */
	assert_int_equal(nlb_packet_parse(IPV6, bytes, 48 + 60, &packet), 0);
	assert_false(packet.is_error);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tcp_is_read_behind_ipv4_with_options),
		cmocka_unit_test(whatever_is_cut_is_refused),
		cmocka_unit_test(what_is_no_ip_is_not_looked_at),
		cmocka_unit_test(fragments_have_no_ports_but_the_first),
		cmocka_unit_test(extension_headers_are_passed_over),
		cmocka_unit_test(endless_extension_headers_are_refused),
		cmocka_unit_test(icmp_error_is_about_a_connection),
		cmocka_unit_test(icmpv6_error_is_about_a_connection),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
