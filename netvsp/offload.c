/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Checksums and segmentation. rte_gso cuts IPv4; DPDK 22.11 has nothing for IPv6, so that is done
 * here, by copying.
 */
#include "netvsp/offload.h"

#include <errno.h>
#include <string.h>

#include <rte_ethdev.h>
#include <rte_gso.h>
#include <rte_hash_crc.h>
#include <rte_ip.h>
#include <rte_tcp.h>
#include <rte_udp.h>

#include "base/bytes.h"

#define ETHER_BYTES    ((uint16_t)sizeof(struct rte_ether_hdr))
#define TX_L4_REQUESTS (RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_L4_MASK)

/* Where the headers of a frame are; lengths in bytes. l4_protocol 0: not IP, a fragment, or too
 * short. */
struct frame_headers {
	uint16_t l2_length;
	uint16_t l3_length;
	uint16_t
		ip_bytes; /* IP packet's own length, header included; 0 in an LSO packet of Linux */
	uint8_t ip_version;
	uint8_t l4_protocol;
};

static void parse_ipv4(const uint8_t *ip, uint32_t left, struct frame_headers *headers)
{
	const struct rte_ipv4_hdr *header = (const void *)ip;

	if (left < sizeof(*header) || (ip[0] >> 4) != 4 ||
	    rte_ipv4_hdr_len(header) < sizeof(*header) || rte_ipv4_hdr_len(header) > left)
		return;
	headers->ip_version = 4;
	headers->l3_length = rte_ipv4_hdr_len(header);
	headers->ip_bytes = get_be16(&header->total_length);
	if ((get_be16(&header->fragment_offset) &
	     (RTE_IPV4_HDR_MF_FLAG | RTE_IPV4_HDR_OFFSET_MASK)) == 0)
		headers->l4_protocol = header->next_proto_id;
}

static void parse_ipv6(const uint8_t *ip, uint32_t left, struct frame_headers *headers)
{
	const struct rte_ipv6_hdr *header = (const void *)ip;
	uint32_t bytes;

	if (left < sizeof(*header) || (ip[0] >> 4) != 6)
		return;
	bytes = get_be16(&header->payload_len) + (uint32_t)sizeof(*header);
	headers->ip_version = 6;
	headers->l3_length = sizeof(*header);
	headers->ip_bytes = header->payload_len == 0 || bytes > UINT16_MAX ? 0 : (uint16_t)bytes;
	/* With an extension header this is no protocol that anybody asks for: guests do those
	 * checksums themselves. */
	headers->l4_protocol = header->proto;
}

static struct frame_headers parse_headers(const struct rte_mbuf *mbuf)
{
	const uint8_t *frame = rte_pktmbuf_mtod(mbuf, const uint8_t *);
	struct frame_headers headers = {.l2_length = ETHER_BYTES};
	uint32_t left;

	if (mbuf->data_len < ETHER_BYTES)
		return headers;
	left = (uint32_t)mbuf->data_len - ETHER_BYTES;
	switch (get_be16(frame + 12)) {
	case RTE_ETHER_TYPE_IPV4:
		parse_ipv4(frame + ETHER_BYTES, left, &headers);
		break;
	case RTE_ETHER_TYPE_IPV6:
		parse_ipv6(frame + ETHER_BYTES, left, &headers);
		break;
	default:
		break;
	}
	return headers;
}

void offload_strip_vlan(struct rte_mbuf *mbuf)
{
	if (mbuf->ol_flags & RTE_MBUF_F_RX_VLAN_STRIPPED ||
	    mbuf->data_len < ETHER_BYTES + RTE_VLAN_HLEN)
		return;
	rte_vlan_strip(mbuf); /* does nothing where there is no tag */
}

static void update_ipv4_checksum(struct rte_ipv4_hdr *header)
{
	header->hdr_checksum = 0;
	header->hdr_checksum = rte_ipv4_cksum(header);
}

/* Length of the TCP or UDP header, 0 where it is not all there. */
static uint16_t l4_header_bytes(const struct rte_mbuf *mbuf, const struct frame_headers *headers)
{
	uint32_t offset = (uint32_t)headers->l2_length + headers->l3_length;
	const uint8_t *l4 = rte_pktmbuf_mtod_offset(mbuf, const uint8_t *, offset);
	uint16_t bytes;

	if (headers->l4_protocol == IPPROTO_UDP)
		return offset + sizeof(struct rte_udp_hdr) <= mbuf->data_len
			       ? sizeof(struct rte_udp_hdr)
			       : 0;
	if (offset + sizeof(struct rte_tcp_hdr) > mbuf->data_len)
		return 0;
	bytes = (uint16_t)((l4[12] >> 4) * 4);
	return bytes >= sizeof(struct rte_tcp_hdr) && offset + bytes <= mbuf->data_len ? bytes : 0;
}

/* The IP header of an LSO packet: the guest leaves its length to the device. */
static int fill_large_lengths(struct rte_mbuf *mbuf, const struct frame_headers *headers)
{
	uint8_t *ip = rte_pktmbuf_mtod_offset(mbuf, uint8_t *, headers->l2_length);
	uint32_t ip_bytes = mbuf->pkt_len - headers->l2_length;

	if (ip_bytes > UINT16_MAX)
		return -EINVAL;
	if (headers->ip_version == 4)
		put_be16(ip + 2, (uint16_t)ip_bytes);
	else
		put_be16(ip + 4, (uint16_t)(ip_bytes - headers->l3_length));
	return 0;
}

static int request_large(struct rte_mbuf *mbuf, const struct frame_headers *headers, uint16_t mss)
{
	uint32_t headers_bytes = (uint32_t)headers->l2_length + headers->l3_length + mbuf->l4_len;

	if (headers->l4_protocol != IPPROTO_TCP || mss < OFFLOAD_MIN_MSS ||
	    fill_large_lengths(mbuf, headers) < 0)
		return -EINVAL;
	mbuf->ol_flags |= RTE_MBUF_F_TX_TCP_CKSUM;
	if (mbuf->pkt_len - headers_bytes > mss) {
		mbuf->ol_flags |= RTE_MBUF_F_TX_TCP_SEG;
		mbuf->tso_segsz = mss;
	}
	return 0;
}

static int request_checksum(struct rte_mbuf *mbuf, const struct frame_headers *headers,
			    uint16_t flags)
{
	uint32_t frame_bytes = (uint32_t)headers->l2_length + headers->ip_bytes;
	uint32_t headers_bytes = (uint32_t)headers->l2_length + headers->l3_length + mbuf->l4_len;

	if (headers->l4_protocol != (flags & RNDIS_TX_CSUM_TCP ? IPPROTO_TCP : IPPROTO_UDP) ||
	    frame_bytes < headers_bytes || frame_bytes > mbuf->pkt_len)
		return -EINVAL;
	if (frame_bytes < mbuf->pkt_len)
		rte_pktmbuf_trim(mbuf, (uint16_t)(mbuf->pkt_len - frame_bytes));
	mbuf->ol_flags |=
		flags & RNDIS_TX_CSUM_TCP ? RTE_MBUF_F_TX_TCP_CKSUM : RTE_MBUF_F_TX_UDP_CKSUM;
	return 0;
}

int offload_from_guest(struct rte_mbuf *mbuf, const struct rndis_tx_packet *request)
{
	uint16_t l4_wishes =
		request->flags & (RNDIS_TX_CSUM_TCP | RNDIS_TX_CSUM_UDP | RNDIS_TX_LSO);
	struct frame_headers headers;
	int err = 0;

	if (request->flags & RNDIS_TX_VLAN) {
		mbuf->ol_flags |= RTE_MBUF_F_RX_VLAN | RTE_MBUF_F_RX_VLAN_STRIPPED;
		mbuf->vlan_tci = request->vlan_tci;
	} else {
		offload_strip_vlan(mbuf);
	}
	if (!l4_wishes && !(request->flags & RNDIS_TX_CSUM_IP))
		return 0;

	headers = parse_headers(mbuf);
	if (l4_wishes) {
		if (headers.l4_protocol != IPPROTO_TCP && headers.l4_protocol != IPPROTO_UDP)
			return -EINVAL;
		mbuf->tx_offload = rte_mbuf_tx_offload(headers.l2_length, headers.l3_length,
						       l4_header_bytes(mbuf, &headers), 0, 0, 0, 0);
		if (mbuf->l4_len == 0)
			return -EINVAL;
		mbuf->ol_flags |= headers.ip_version == 4 ? RTE_MBUF_F_TX_IPV4 : RTE_MBUF_F_TX_IPV6;
		if (l4_wishes & RNDIS_TX_LSO)
			err = request_large(mbuf, &headers, request->mss);
		else
			err = request_checksum(mbuf, &headers, request->flags);
	}
	if (!err && headers.ip_version == 4)
		update_ipv4_checksum(
			rte_pktmbuf_mtod_offset(mbuf, struct rte_ipv4_hdr *, headers.l2_length));
	return err;
}

/* ---- segmentation ---- */

static int segment_ipv4(const struct mbuf_pools *pools, struct rte_mbuf *mbuf,
			struct rte_mbuf **segments, uint16_t max)
{
	uint32_t headers_bytes = (uint32_t)mbuf->l2_len + mbuf->l3_len + mbuf->l4_len;
	struct rte_gso_ctx ctx = {
		.direct_pool = pools->small,
		.indirect_pool = pools->indirect,
		.gso_types = RTE_ETH_TX_OFFLOAD_TCP_TSO,
		.gso_size = (uint16_t)(headers_bytes + mbuf->tso_segsz),
	};
	uint64_t ol_flags = mbuf->ol_flags;
	int count = rte_gso_segment(mbuf, &ctx, segments, max);

	/* It takes the request out of the frame, which other ports may still be about to see. */
	mbuf->ol_flags = ol_flags;
	for (int i = 0; i < count; i++)
		update_ipv4_checksum(
			rte_pktmbuf_mtod_offset(segments[i], struct rte_ipv4_hdr *, mbuf->l2_len));
	return count;
}

/* One segment: the headers, then payload_bytes of payload from payload_offset on. */
static struct rte_mbuf *copy_segment(const struct mbuf_pools *pools, const struct rte_mbuf *mbuf,
				     uint32_t headers_bytes, uint32_t payload_offset,
				     uint32_t payload_bytes)
{
	struct rte_mbuf *segment = mbuf_pools_alloc(pools, headers_bytes + payload_bytes);
	const void *payload;
	uint8_t *to;

	if (!segment)
		return NULL;
	to = (uint8_t *)rte_pktmbuf_append(segment, (uint16_t)(headers_bytes + payload_bytes));
	memcpy(to, rte_pktmbuf_mtod(mbuf, const void *), headers_bytes);
	payload = rte_pktmbuf_read(mbuf, payload_offset, payload_bytes, to + headers_bytes);
	if (payload != to + headers_bytes)
		memcpy(to + headers_bytes, payload, payload_bytes);
	segment->ol_flags = mbuf->ol_flags & ~RTE_MBUF_F_TX_TCP_SEG;
	segment->tx_offload = mbuf->tx_offload;
	return segment;
}

static int segment_ipv6(const struct mbuf_pools *pools, const struct rte_mbuf *mbuf,
			struct rte_mbuf **segments, uint16_t max)
{
	uint32_t headers_bytes = (uint32_t)mbuf->l2_len + mbuf->l3_len + mbuf->l4_len;
	uint32_t l4_offset = (uint32_t)mbuf->l2_len + mbuf->l3_len;
	const struct rte_tcp_hdr *original =
		rte_pktmbuf_mtod_offset(mbuf, const struct rte_tcp_hdr *, l4_offset);
	uint32_t sequence = get_be32(&original->sent_seq);
	uint16_t count = 0;

	for (uint32_t offset = headers_bytes; offset < mbuf->pkt_len; offset += mbuf->tso_segsz) {
		uint32_t bytes = RTE_MIN((uint32_t)mbuf->tso_segsz, mbuf->pkt_len - offset);
		struct rte_mbuf *segment =
			count < max ? copy_segment(pools, mbuf, headers_bytes, offset, bytes)
				    : NULL;
		struct rte_tcp_hdr *tcp;

		if (!segment) {
			rte_pktmbuf_free_bulk(segments, count);
			return -ENOMEM;
		}
		put_be16(rte_pktmbuf_mtod_offset(segment, uint8_t *, mbuf->l2_len + 4u),
			 (uint16_t)(mbuf->l4_len + bytes));
		tcp = rte_pktmbuf_mtod_offset(segment, struct rte_tcp_hdr *, l4_offset);
		put_be32(&tcp->sent_seq, sequence + (offset - headers_bytes));
		if (offset + bytes < mbuf->pkt_len)
			tcp->tcp_flags &= (uint8_t) ~(RTE_TCP_FIN_FLAG | RTE_TCP_PSH_FLAG);
		if (offset > headers_bytes)
			tcp->tcp_flags &= (uint8_t)~RTE_TCP_CWR_FLAG;
		segments[count++] = segment;
	}
	return count;
}

int offload_segment(const struct mbuf_pools *pools, struct rte_mbuf *mbuf,
		    struct rte_mbuf **segments, uint16_t max)
{
	int count = mbuf->ol_flags & RTE_MBUF_F_TX_IPV6 ? segment_ipv6(pools, mbuf, segments, max)
							: segment_ipv4(pools, mbuf, segments, max);

	for (int i = 0; i < count; i++)
		segments[i]->vlan_tci = mbuf->vlan_tci;
	rte_pktmbuf_free(mbuf);
	if (count == 0)
		return -EINVAL;
	return count;
}

/* ---- to the wire ---- */

static void compute_checksum(struct rte_mbuf *mbuf)
{
	uint16_t l4_offset = (uint16_t)(mbuf->l2_len + mbuf->l3_len);
	const void *ip = rte_pktmbuf_mtod_offset(mbuf, const void *, mbuf->l2_len);
	bool is_tcp = (mbuf->ol_flags & RTE_MBUF_F_TX_L4_MASK) == RTE_MBUF_F_TX_TCP_CKSUM;
	uint8_t *field = rte_pktmbuf_mtod_offset(
		mbuf, uint8_t *,
		l4_offset + (is_tcp ? offsetof(struct rte_tcp_hdr, cksum)
				    : offsetof(struct rte_udp_hdr, dgram_cksum)));
	uint16_t bytes = (uint16_t)(mbuf->pkt_len - l4_offset);
	uint16_t raw = 0;
	uint32_t sum;

	memset(field, 0, sizeof(raw));
	if (rte_raw_cksum_mbuf(mbuf, l4_offset, bytes, &raw) < 0)
		return;
	sum = (uint32_t)raw + (mbuf->ol_flags & RTE_MBUF_F_TX_IPV4 ? rte_ipv4_phdr_cksum(ip, 0)
								   : rte_ipv6_phdr_cksum(ip, 0));
	sum = (sum >> 16) + (sum & 0xffff);
	raw = (uint16_t) ~((sum >> 16) + sum);
	if (raw == 0 && !is_tcp)
		raw = 0xffff;		  /* RFC 768: zero would mean no checksum */
	memcpy(field, &raw, sizeof(raw)); /* already in network order */
}

void offload_request_unfilled(struct rte_mbuf *mbuf)
{
	struct frame_headers headers;
	uint16_t l4_bytes;

	if ((mbuf->ol_flags & RTE_MBUF_F_TX_L4_MASK) ||
	    (mbuf->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK) != RTE_MBUF_F_RX_L4_CKSUM_NONE)
		return;
	headers = parse_headers(mbuf);
	if (headers.l4_protocol != IPPROTO_TCP && headers.l4_protocol != IPPROTO_UDP)
		return;
	l4_bytes = l4_header_bytes(mbuf, &headers);
	if (l4_bytes == 0)
		return;
	mbuf->tx_offload =
		rte_mbuf_tx_offload(headers.l2_length, headers.l3_length, l4_bytes, 0, 0, 0, 0);
	mbuf->ol_flags |= headers.ip_version == 4 ? RTE_MBUF_F_TX_IPV4 : RTE_MBUF_F_TX_IPV6;
	mbuf->ol_flags |= headers.l4_protocol == IPPROTO_TCP ? RTE_MBUF_F_TX_TCP_CKSUM
							     : RTE_MBUF_F_TX_UDP_CKSUM;
}

static bool port_checksums(const struct offload_wire *wire, const struct rte_mbuf *mbuf)
{
	if ((mbuf->ol_flags & RTE_MBUF_F_TX_L4_MASK) == RTE_MBUF_F_TX_UDP_CKSUM)
		return wire->tx_offloads & RTE_ETH_TX_OFFLOAD_UDP_CKSUM;
	return wire->tx_offloads & RTE_ETH_TX_OFFLOAD_TCP_CKSUM;
}

static struct rte_mbuf *copy_whole(const struct mbuf_pools *pools, struct rte_mbuf *mbuf)
{
	struct rte_mempool *pool = mbuf->pkt_len <= MBUF_SMALL_ROOM ? pools->small : pools->large;
	struct rte_mbuf *copy = rte_pktmbuf_copy(mbuf, pool, 0, UINT32_MAX);

	rte_pktmbuf_free(mbuf);
	return copy;
}

/* One frame, segmented already or not to be. Takes mbuf; NULL where there is no room. */
static struct rte_mbuf *finish_for_wire(const struct offload_wire *wire, struct rte_mbuf *mbuf)
{
	if ((mbuf->ol_flags & RTE_MBUF_F_TX_L4_MASK) && !port_checksums(wire, mbuf) &&
	    !offload_is_large(mbuf)) {
		compute_checksum(mbuf);
		mbuf->ol_flags &=
			~(RTE_MBUF_F_TX_L4_MASK | RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_IPV6);
	} else if (mbuf->ol_flags & RTE_MBUF_F_TX_IPV4 &&
		   wire->tx_offloads & RTE_ETH_TX_OFFLOAD_IPV4_CKSUM) {
		mbuf->ol_flags |= RTE_MBUF_F_TX_IP_CKSUM; /* some ports want it with TSO */
	}
	if (mbuf->ol_flags & RTE_MBUF_F_RX_VLAN_STRIPPED) {
		mbuf->ol_flags &= ~(RTE_MBUF_F_RX_VLAN | RTE_MBUF_F_RX_VLAN_STRIPPED);
		if (wire->tx_offloads & RTE_ETH_TX_OFFLOAD_VLAN_INSERT) {
			mbuf->ol_flags |= RTE_MBUF_F_TX_VLAN;
		} else if (rte_vlan_insert(&mbuf) < 0) {
			rte_pktmbuf_free(mbuf);
			return NULL;
		}
	}
	if (mbuf->nb_segs > 1 && !(wire->tx_offloads & RTE_ETH_TX_OFFLOAD_MULTI_SEGS))
		mbuf = copy_whole(wire->pools, mbuf);
	return mbuf;
}

int offload_to_wire(const struct offload_wire *wire, struct rte_mbuf *mbuf, struct rte_mbuf **out,
		    uint16_t max)
{
	int count = 1, ready = 0;

	/* A flooded frame is shared with other ports: what changes it needs its own copy. */
	if (mbuf->ol_flags & (TX_L4_REQUESTS | RTE_MBUF_F_RX_VLAN_STRIPPED) &&
	    rte_mbuf_refcnt_read(mbuf) > 1) {
		mbuf = copy_whole(wire->pools, mbuf);
		if (!mbuf)
			return -ENOMEM;
	}
	if (offload_is_large(mbuf) && !(wire->tx_offloads & RTE_ETH_TX_OFFLOAD_TCP_TSO)) {
		count = offload_segment(wire->pools, mbuf, out, max);
		if (count < 0)
			return count;
	} else {
		out[0] = mbuf;
	}
	for (int i = 0; i < count; i++) {
		struct rte_mbuf *frame = finish_for_wire(wire, out[i]);

		if (frame)
			out[ready++] = frame;
	}
	return ready > 0 ? ready : -ENOMEM;
}

/* ---- to a guest ---- */

struct rte_mbuf *offload_fill_checksum(const struct mbuf_pools *pools, struct rte_mbuf *mbuf)
{
	if (!(mbuf->ol_flags & RTE_MBUF_F_TX_L4_MASK))
		return mbuf;
	if (rte_mbuf_refcnt_read(mbuf) > 1)
		mbuf = copy_whole(pools, mbuf);
	if (mbuf)
		compute_checksum(mbuf);
	return mbuf;
}

uint32_t offload_rx_checksum(const struct rte_mbuf *mbuf)
{
	uint64_t received = mbuf->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK;
	struct frame_headers headers;
	uint32_t ip;

	switch (mbuf->ol_flags & RTE_MBUF_F_TX_L4_MASK) {
	case RTE_MBUF_F_TX_TCP_CKSUM:
		return RNDIS_RXCSUM_TCP_OK |
		       (mbuf->ol_flags & RTE_MBUF_F_TX_IPV4 ? RNDIS_RXCSUM_IP_OK : 0);
	case RTE_MBUF_F_TX_UDP_CKSUM:
		return RNDIS_RXCSUM_UDP_OK |
		       (mbuf->ol_flags & RTE_MBUF_F_TX_IPV4 ? RNDIS_RXCSUM_IP_OK : 0);
	default:
		break;
	}
	/* NONE: the port vouches for the data though the field is not filled in (virtio between
	 * local ends). */
	if (received != RTE_MBUF_F_RX_L4_CKSUM_GOOD && received != RTE_MBUF_F_RX_L4_CKSUM_NONE)
		return 0;
	headers = parse_headers(mbuf);
	ip = headers.ip_version == 4 && (mbuf->ol_flags & RTE_MBUF_F_RX_IP_CKSUM_MASK) ==
						RTE_MBUF_F_RX_IP_CKSUM_GOOD
		     ? RNDIS_RXCSUM_IP_OK
		     : 0;
	if (headers.l4_protocol == IPPROTO_TCP)
		return ip | RNDIS_RXCSUM_TCP_OK;
	if (headers.l4_protocol == IPPROTO_UDP)
		return ip | RNDIS_RXCSUM_UDP_OK;
	return ip;
}

uint32_t offload_flow_hash(const struct rte_mbuf *mbuf)
{
	struct frame_headers headers = parse_headers(mbuf);
	const uint8_t *ip = rte_pktmbuf_mtod_offset(mbuf, const uint8_t *, headers.l2_length);
	uint32_t l4_offset = (uint32_t)headers.l2_length + headers.l3_length;
	uint64_t addresses[4] = {0};
	uint32_t hash;

	if (headers.ip_version == 4)
		memcpy(addresses, ip + 12, 8);
	else if (headers.ip_version == 6)
		memcpy(addresses, ip + 8, 32);
	else
		return 0;
	hash = rte_hash_crc(addresses, headers.ip_version == 4 ? 8 : 32, 0);
	if ((headers.l4_protocol == IPPROTO_TCP || headers.l4_protocol == IPPROTO_UDP) &&
	    l4_offset + 4 <= mbuf->data_len)
		hash = rte_hash_crc_4byte(get_le32(ip + headers.l3_length), hash);
	return hash;
}
