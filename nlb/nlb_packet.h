/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the filter has to know of an IP packet that came for a cluster: who wants what of whom. Read
 * out of the bytes behind the Ethernet header; all of them are hostile. No state, any thread.
 * Sources: RFC 791, 792, 8200, 4443, 9293, 768.
 */
#ifndef LUNAR_NLB_NLB_PACKET_H
#define LUNAR_NLB_NLB_PACKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NLB_IP_TCP    6u
#define NLB_IP_UDP    17u
#define NLB_IP_ICMP   1u
#define NLB_IP_ICMPV6 58u

#define NLB_TCP_FIN 0x01u
#define NLB_TCP_SYN 0x02u
#define NLB_TCP_RST 0x04u
#define NLB_TCP_ACK 0x10u

struct nlb_packet {
	uint8_t family; /* 4 or 6 */
	/* Of the packet, or of the one that an ICMP error quotes. IPv6: behind the extension
	 * headers; of a fragment as its header says. */
	uint8_t protocol;
	bool is_fragment; /* not the first one: it has no ports */
	bool is_error;	  /* an ICMP error about a TCP or UDP packet of the cluster's: client and
			   * ports are those of that connection, flags are none */
	uint8_t tcp_flags;
	uint16_t client_port, server_port; /* TCP and UDP; else 0 */
	uint8_t client[16], server[16];	   /* IPv4: the first four bytes, the others are 0 */
};

/*
 * bytes: from the IP header on, as far as they lie in one piece; what comes after the TCP or UDP
 * header is not looked at (of an ICMP error: after the quoted one's ports). A total length of 0 is
 * left to segmentation. Returns 0; -ENOENT: neither IPv4 nor IPv6 by ether_type; -EPROTO: cut,
 * malformed, more than eight extension headers, or a fragment made to hide the TCP flags (RFC
 * 3128).
 */
int nlb_packet_parse(uint16_t ether_type, const uint8_t *bytes, size_t length,
		     struct nlb_packet *packet);

#endif
