/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Frames for tests.
 */
#include "tests/unit/netvsp/frames.h"

#include <netinet/in.h>
#include <string.h>

#include "base/bytes.h"

#define ETHER_BYTES 14
#define TCP_BYTES   32 /* with 12 bytes of options, as Linux's time stamps */
#define UDP_BYTES   8

/* One's complement sum of big-endian 16-bit words, one byte at a time. */
static uint32_t sum_bytes(const uint8_t *bytes, size_t length, uint32_t sum)
{
	for (size_t i = 0; i < length; i++)
		sum += i % 2 == 0 ? (uint32_t)bytes[i] << 8 : bytes[i];
	return sum;
}

static uint16_t fold(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

static uint16_t l4_sum(const uint8_t *ip, size_t ip_header, bool ipv6, uint8_t protocol,
		       size_t l4_bytes)
{
	uint32_t sum = ipv6 ? sum_bytes(ip + 8, 32, 0) : sum_bytes(ip + 12, 8, 0);

	sum += protocol;
	sum += (uint32_t)l4_bytes;
	return fold(sum_bytes(ip + ip_header, l4_bytes, fold(sum)));
}

uint8_t frame_payload_byte(const struct frame_spec *spec, size_t i)
{
	return (uint8_t)(spec->seed + i * 7);
}

static void build_ip(const struct frame_spec *spec, uint8_t *ip, size_t l4_bytes)
{
	uint8_t protocol = spec->udp ? IPPROTO_UDP : IPPROTO_TCP;

	if (spec->ipv6) {
		memset(ip, 0, 40);
		ip[0] = 0x60;
		put_be16(ip + 4, spec->large ? 0 : (uint16_t)l4_bytes);
		ip[6] = protocol;
		ip[7] = 64;
		memset(ip + 8, 0xfd, 8);
		ip[23] = spec->source[5];
		memset(ip + 24, 0xfd, 8);
		ip[39] = spec->destination[5];
		return;
	}
	memset(ip, 0, 20);
	ip[0] = 0x45;
	put_be16(ip + 2, spec->large ? 0 : (uint16_t)(20 + l4_bytes));
	put_be16(ip + 4, 0x1234);
	ip[6] = 0x40;
	ip[8] = 64;
	ip[9] = protocol;
	ip[12] = 10;
	ip[15] = spec->source[5];
	ip[16] = 10;
	ip[19] = spec->destination[5];
	if (!spec->large)
		put_be16(ip + 10, (uint16_t)~fold(sum_bytes(ip, 20, 0)));
}

size_t frame_build(const struct frame_spec *spec, uint8_t *frame)
{
	size_t ip_header = spec->ipv6 ? 40 : 20;
	size_t l4_header = spec->udp ? UDP_BYTES : TCP_BYTES;
	uint8_t *ip = frame + ETHER_BYTES;
	uint8_t *l4 = ip + ip_header;
	size_t l4_bytes = l4_header + spec->payload_bytes;
	uint8_t *field = l4 + (spec->udp ? 6 : 16);

	memcpy(frame, spec->destination, 6);
	memcpy(frame + 6, spec->source, 6);
	put_be16(frame + 12, spec->ipv6 ? 0x86dd : 0x0800);
	build_ip(spec, ip, l4_bytes);
	memset(l4, 0, l4_header);
	put_be16(l4, spec->source_port);
	put_be16(l4 + 2, spec->destination_port);
	if (spec->udp) {
		put_be16(l4 + 4, (uint16_t)l4_bytes);
	} else {
		put_be32(l4 + 4, spec->sequence);
		l4[12] = TCP_BYTES / 4 << 4;
		l4[13] = spec->tcp_flags;
		put_be16(l4 + 14, 0x1000);
		memset(l4 + 20, 1, 12); /* no-operation */
	}
	for (size_t i = 0; i < spec->payload_bytes; i++)
		l4[l4_header + i] = frame_payload_byte(spec, i);
	put_be16(field, 0);
	if (spec->checksums) {
		uint16_t sum = (uint16_t)~l4_sum(ip, ip_header, spec->ipv6,
						 spec->udp ? IPPROTO_UDP : IPPROTO_TCP, l4_bytes);

		put_be16(field, sum == 0 && spec->udp ? 0xffff : sum);
	} else {
		put_be16(field, 0xbeef);
	}
	return ETHER_BYTES + ip_header + l4_bytes;
}

bool frame_read(const uint8_t *frame, size_t length, struct frame_seen *seen)
{
	const uint8_t *ip = frame + ETHER_BYTES;
	size_t ip_bytes, ip_header, l4_header, l4_bytes;
	const uint8_t *l4;
	uint8_t protocol;
	bool ipv6;

	if (length < ETHER_BYTES + 20)
		return false;
	memset(seen, 0, sizeof(*seen));
	ipv6 = get_be16(frame + 12) == 0x86dd;
	if (ipv6) {
		ip_header = 40;
		ip_bytes = 40u + get_be16(ip + 4);
		protocol = ip[6];
		seen->ip_checksum_good = true;
	} else if (get_be16(frame + 12) == 0x0800) {
		ip_header = (size_t)(ip[0] & 0xfu) * 4;
		ip_bytes = get_be16(ip + 2);
		protocol = ip[9];
		seen->ip_id = get_be16(ip + 4);
		seen->ip_checksum_good = fold(sum_bytes(ip, ip_header, 0)) == 0xffff;
	} else {
		return false;
	}
	if (ip_bytes != length - ETHER_BYTES)
		return false;
	l4 = ip + ip_header;
	l4_bytes = ip_bytes - ip_header;
	if (protocol == IPPROTO_TCP) {
		l4_header = (size_t)(l4[12] >> 4) * 4;
		seen->sequence = get_be32(l4 + 4);
		seen->tcp_flags = l4[13];
	} else if (protocol == IPPROTO_UDP) {
		l4_header = UDP_BYTES;
	} else {
		return false;
	}
	seen->payload_offset = ETHER_BYTES + ip_header + l4_header;
	seen->payload_bytes = l4_bytes - l4_header;
	seen->l4_checksum_good = l4_sum(ip, ip_header, ipv6, protocol, l4_bytes) == 0xffff;
	return true;
}
