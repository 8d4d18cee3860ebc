/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The RNDIS device of one vNIC: INITIALIZE, HALT, QUERY, SET, RESET, KEEPALIVE and all OIDs that
 * guests use, and the indications that the device sends by itself. A pure state machine like
 * nvsp.h; all calls on one device come from one thread at a time. Source: [MS-RNDIS]; wire/rndis.h.
 *
 * Control messages arrive as NVSP_RNDIS of channel type NVSP_RNDIS_CONTROL on the primary channel,
 * in the send buffer or in pages: the data path copies them out (at most
 * RNDIS_CONTROL_MAX_REQUEST_BYTES; longer ones are failed). Responses leave the way received frames
 * do: in a receive section, as a transfer-page packet whose NVSP_RNDIS says NVSP_RNDIS_CONTROL.
 */
#ifndef LUNAR_NETVSP_RNDIS_CONTROL_H
#define LUNAR_NETVSP_RNDIS_CONTROL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "netvsp/rss.h"
#include "wire/rndis.h"

struct rndis_control;

#define RNDIS_CONTROL_MAX_REQUEST_BYTES	 4096
#define RNDIS_CONTROL_MAX_RESPONSE_BYTES 1024 /* fits any receive section */
#define RNDIS_MAX_PACKETS_PER_MESSAGE	 8
#define RNDIS_PACKET_ALIGNMENT_FACTOR	 3
#define RNDIS_MAX_MULTICAST		 32
#define RNDIS_MAX_LSO_BYTES		 0xf53c
#define RNDIS_FRIENDLY_NAME_MAX		 64

/* Which offloads the device offers; all off is a valid NIC. */
#define RNDIS_OFFLOAD_CHECKSUM                                                                     \
	1u		     /* TCP, UDP over IPv4 and IPv6, and IPv4 headers; both directions */
#define RNDIS_OFFLOAD_LSO 2u /* LSOv2 over IPv4 and IPv6; needs CHECKSUM */
#define RNDIS_OFFLOAD_RSC                                                                          \
	4u /* receive coalescing, both IPs; only shown to guests with NVSP 6.1                     \
	    */

struct rndis_control_config {
	uint8_t mac[6];
	uint32_t max_channels;	  /* receive queues that RSS capabilities show */
	uint32_t offloads;	  /* RNDIS_OFFLOAD_* */
	uint32_t link_speed_mbps; /* up to 429496 */
	bool link_up;
	char friendly_name[RNDIS_FRIENDLY_NAME_MAX]; /* the guest's ifalias, ASCII; "" for none */
};

/* What OID_TCP_OFFLOAD_PARAMETERS has switched on. Before the guest sets it: all that is offered
 * for checksums, no LSO, no RSC. */
struct rndis_offload_state {
	bool tx_checksum; /* the guest may ask for it by packet in any case; informational */
	bool rx_checksum; /* received frames may carry checksum results */
	bool lso4;
	bool lso6;
	bool rsc4; /* received frames may be coalesced */
	bool rsc6;
};

/* Seen from the guest. */
struct rndis_statistics {
	uint64_t tx_packets;
	uint64_t rx_packets;
	uint64_t tx_errors;
	uint64_t rx_errors;
	uint64_t rx_no_buffer;
};

enum rndis_state {
	RNDIS_STATE_UNINITIALISED, /* before INITIALIZE, after HALT */
	RNDIS_STATE_INITIALISED,
	RNDIS_STATE_OPERATIONAL, /* packet filter set: received frames may be delivered */
};

struct rndis_control_ops {
	/* Send a response or an indication, in order. At most one for each rndis_control_message()
	 * or rndis_control_set_*() call: who passes no further message on while responses wait for
	 * room bounds the queue. Never refused. */
	void (*send)(void *ctx, const void *message, size_t length);
	/* State, filter, offloads, RSS or multicast list changed: read them with the getters. May
	 * be NULL. */
	void (*changed)(void *ctx);
	void (*statistics)(void *ctx, struct rndis_statistics *statistics);
	/* The guest wants another address. Returns 0 or -errno (refused). NULL: always refused. */
	int (*set_address)(void *ctx, const uint8_t mac[6]);
};

/* ops and ctx must outlive the device. Returns 0, -EINVAL or -ENOMEM. */
int rndis_control_create(const struct rndis_control_config *config,
			 const struct rndis_control_ops *ops, void *ctx,
			 struct rndis_control **control);
/* Takes NULL. Calls no op. */
void rndis_control_destroy(struct rndis_control *control);

/*
 * What NVSP negotiated, told before the first message and on each change: NVSP version, MTU
 * (without the Ethernet header), channels in use (RSS table entries must be below it).
 */
void rndis_control_set_session(struct rndis_control *control, uint32_t nvsp_version, uint32_t mtu,
			       uint32_t channels);
/*
 * One control message (a private copy). Returns 0; -EBADMSG: so malformed that there is no one to
 * answer (no header, no request id, unknown type): the caller completes the packet with
 * NVSP_STATUS_INVALID_RNDIS_PACKET. Everything else is answered by RNDIS status.
 */
int rndis_control_message(struct rndis_control *control, const void *bytes, size_t length);
/* The primary channel was closed. */
void rndis_control_reset(struct rndis_control *control);

/* Link changes: indicated when the state changes and the guest has initialised. */
void rndis_control_set_link(struct rndis_control *control, bool up);
void rndis_control_set_link_speed(struct rndis_control *control, uint32_t mbps);
/* MEDIA_CONNECT while the link is up: Linux announces itself (gratuitous ARP), with no flap. After
 * a move. */
void rndis_control_announce(struct rndis_control *control);
/* Linux drops its carrier for 2 s, so that DHCP asks again. */
void rndis_control_network_change(struct rndis_control *control);

/* ---- a move ---- */

/* What the guest has set and was told, as another device goes on with it. */
struct rndis_saved {
	enum rndis_state state;
	uint32_t packet_filter;
	uint8_t address[6];
	bool link_up;
	uint32_t link_speed_mbps;
	struct rndis_offload_state offloads;
	struct rss_params rss;
	size_t multicast_count;
	uint8_t multicast[RNDIS_MAX_MULTICAST][6];
};

void rndis_control_save(const struct rndis_control *control, struct rndis_saved *saved);
/* On a device that has had no message yet, after rndis_control_set_session(). saved is hostile; the
 * changed op is not called. Returns 0, or -EINVAL with nothing changed: not what this device could
 * have become, an offload that it does not offer or an address that set_address refuses included.
 */
int rndis_control_restore(struct rndis_control *control, const struct rndis_saved *saved);

/* ---- what the guest has set ---- */

enum rndis_state rndis_control_state(const struct rndis_control *control);
uint32_t rndis_control_packet_filter(
	const struct rndis_control *control); /* RNDIS_FILTER_*, 0 unless operational */
const struct rndis_offload_state *rndis_control_offloads(const struct rndis_control *control);
const struct rss_params *rndis_control_rss(const struct rndis_control *control);
const uint8_t *
rndis_control_address(const struct rndis_control *control); /* current MAC, 6 bytes */
/* Multicast list: count of 6-byte addresses. Linux never sets one; it asks for ALL_MULTICAST. */
size_t rndis_control_multicast(const struct rndis_control *control, const uint8_t (**addresses)[6]);

/* ---- builders ---- */

/* INDICATE_STATUS with an optional status buffer (at most 64 bytes). Returns the length; message
 * has room for 128 bytes. */
size_t rndis_build_indicate_status(void *message, uint32_t status, const void *buffer,
				   size_t buffer_bytes);

#endif
