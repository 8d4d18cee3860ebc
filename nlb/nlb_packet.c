/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Headers of IPv4, IPv6, TCP, UDP, and of the packets that ICMP errors quote.
 */
#include "nlb/nlb_packet.h"

#include <errno.h>
#include <string.h>

#include "base/bytes.h"

#define ETHER_IPV4 0x0800u
#define ETHER_IPV6 0x86ddu

#define IPV4_BYTES	    20u
#define IPV6_BYTES	    40u
#define TCP_FLAGS_END	    14u /* bytes up to and with the flags */
#define UDP_BYTES	    8u
#define PORTS_BYTES	    4u
#define ICMP_BYTES	    8u
#define MAX_EXTENSIONS	    8u
#define FRAGMENT_BYTES	    8u
#define FRAGMENT_OFFSET	    0x1fffu /* IPv4, in units of eight bytes */
#define IPV6_OPTIONS	    0u
#define IPV6_ROUTING	    43u
#define IPV6_FRAGMENT	    44u
#define IPV6_AUTHENTICATION 51u
#define IPV6_DESTINATION    60u

/* An IP header, and what follows it; pointers into the bytes. */
struct ip {
	uint8_t family;
	uint8_t protocol;
	uint16_t fragment_offset; /* in units of eight bytes */
	const uint8_t *source, *destination;
	const uint8_t *payload;
	size_t length; /* of what there is of it */
};

/* What is told of a packet beside its addresses. */
struct ports {
	uint8_t protocol;
	bool is_error;
	uint8_t tcp_flags;
	uint16_t client_port, server_port;
	const uint8_t *client;
};

static size_t address_bytes(const struct ip *ip)
{
	return ip->family == 4 ? 4 : 16;
}

static int read_ipv4(const uint8_t *bytes, size_t length, struct ip *ip)
{
	size_t header, total;

	if (length < IPV4_BYTES || bytes[0] >> 4 != 4)
		return -EPROTO;
	header = (size_t)(bytes[0] & 15) * 4;
	total = get_be16(bytes + 2);
	if (total == 0 || total > length)
		total = length;
	if (header < IPV4_BYTES || header > total)
		return -EPROTO;
	*ip = (struct ip){.family = 4,
			  .protocol = bytes[9],
			  .fragment_offset = get_be16(bytes + 6) & FRAGMENT_OFFSET,
			  .source = bytes + 12,
			  .destination = bytes + 16,
			  .payload = bytes + header,
			  .length = total - header};
	return 0;
}

static bool is_extension(uint8_t protocol)
{
	return protocol == IPV6_OPTIONS || protocol == IPV6_ROUTING || protocol == IPV6_FRAGMENT ||
	       protocol == IPV6_AUTHENTICATION || protocol == IPV6_DESTINATION;
}

/* Goes behind the extension headers; stops at a fragment that is not the first, whose bytes may be
 * anything. */
static int skip_extensions(struct ip *ip)
{
	for (uint32_t i = 0; is_extension(ip->protocol) && ip->fragment_offset == 0; i++) {
		const uint8_t *bytes = ip->payload;
		size_t header;

		if (i == MAX_EXTENSIONS || ip->length < FRAGMENT_BYTES)
			return -EPROTO;
		if (ip->protocol == IPV6_FRAGMENT) {
			header = FRAGMENT_BYTES;
			ip->fragment_offset = get_be16(bytes + 2) >> 3;
		} else if (ip->protocol == IPV6_AUTHENTICATION) {
			header = ((size_t)bytes[1] + 2) * 4;
		} else {
			header = ((size_t)bytes[1] + 1) * 8;
		}
		if (header > ip->length)
			return -EPROTO;
		ip->protocol = bytes[0];
		ip->payload += header;
		ip->length -= header;
	}
	return 0;
}

static int read_ipv6(const uint8_t *bytes, size_t length, struct ip *ip)
{
	size_t payload;

	if (length < IPV6_BYTES || bytes[0] >> 4 != 6)
		return -EPROTO;
	payload = get_be16(bytes + 4);
	if (payload == 0 || payload > length - IPV6_BYTES)
		payload = length - IPV6_BYTES;
	*ip = (struct ip){.family = 6,
			  .protocol = bytes[6],
			  .source = bytes + 8,
			  .destination = bytes + 24,
			  .payload = bytes + IPV6_BYTES,
			  .length = payload};
	return skip_extensions(ip);
}

static int read_tcp(const struct ip *ip, struct ports *ports)
{
	/* The second fragment of one that was cut within the header would write the flags anew. */
	if (ip->fragment_offset == 1)
		return -EPROTO;
	if (ip->fragment_offset)
		return 0;
	if (ip->length < TCP_FLAGS_END)
		return -EPROTO;
	ports->client_port = get_be16(ip->payload);
	ports->server_port = get_be16(ip->payload + 2);
	ports->tcp_flags = ip->payload[13];
	return 0;
}

static int read_udp(const struct ip *ip, struct ports *ports)
{
	if (ip->fragment_offset)
		return 0;
	if (ip->length < UDP_BYTES)
		return -EPROTO;
	ports->client_port = get_be16(ip->payload);
	ports->server_port = get_be16(ip->payload + 2);
	return 0;
}

static bool is_icmp_error(const struct ip *ip)
{
	uint8_t type;

	if (ip->fragment_offset || ip->length < ICMP_BYTES)
		return false;
	type = ip->payload[0];
	if (ip->family == 4 && ip->protocol == NLB_IP_ICMP)
		return type == 3 || type == 4 || type == 11 || type == 12;
	return ip->family == 6 && ip->protocol == NLB_IP_ICMPV6 && type >= 1 && type <= 4;
}

/* The connection that an error is about; nothing where it quotes none that the cluster can have. */
static void read_quoted(const struct ip *error, struct ports *ports)
{
	const uint8_t *bytes = error->payload + ICMP_BYTES;
	size_t length = error->length - ICMP_BYTES;
	struct ip quoted;
	int err = error->family == 4 ? read_ipv4(bytes, length, &quoted)
				     : read_ipv6(bytes, length, &quoted);

	if (err || quoted.fragment_offset || quoted.length < PORTS_BYTES ||
	    (quoted.protocol != NLB_IP_TCP && quoted.protocol != NLB_IP_UDP) ||
	    memcmp(quoted.source, error->destination, address_bytes(error)) != 0)
		return;
	*ports = (struct ports){.protocol = quoted.protocol,
				.is_error = true,
				.client = quoted.destination,
				.server_port = get_be16(quoted.payload),
				.client_port = get_be16(quoted.payload + 2)};
}

/* In two whole words, as it is read again at once. */
static void put_address(uint8_t to[16], const uint8_t *from, uint8_t family)
{
	uint64_t words[2] = {0};

	memcpy(words, from, family == 4 ? 4 : 8);
	if (family == 6)
		memcpy(words + 1, from + 8, 8);
	memcpy(to, words, sizeof(words));
}

int nlb_packet_parse(uint16_t ether_type, const uint8_t *bytes, size_t length,
		     struct nlb_packet *packet)
{
	struct ports ports;
	struct ip ip;
	int err;

	if (ether_type == ETHER_IPV4)
		err = read_ipv4(bytes, length, &ip);
	else if (ether_type == ETHER_IPV6)
		err = read_ipv6(bytes, length, &ip);
	else
		return -ENOENT;
	if (err)
		return err;
	ports = (struct ports){.protocol = ip.protocol, .client = ip.source};
	if (ip.protocol == NLB_IP_TCP)
		err = read_tcp(&ip, &ports);
	else if (ip.protocol == NLB_IP_UDP)
		err = read_udp(&ip, &ports);
	else if (is_icmp_error(&ip))
		read_quoted(&ip, &ports);
	if (err)
		return err;
	packet->family = ip.family;
	packet->protocol = ports.protocol;
	packet->is_fragment = ip.fragment_offset != 0;
	packet->is_error = ports.is_error;
	packet->tcp_flags = ports.tcp_flags;
	packet->client_port = ports.client_port;
	packet->server_port = ports.server_port;
	put_address(packet->client, ports.client, ip.family);
	put_address(packet->server, ip.destination, ip.family);
	return 0;
}
