/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A guest's NIC driver for tests: probes as Linux 6.1's hv_netvsc or as DPDK's netvsc PMD does,
 * sends frames every way that they know, and receives with the checks that they make. What the host
 * does that those drivers would not survive is kept as a violation. Over any transport: a real
 * netvspd's socket (vsp_guest.h), VMBus messages, or plain calls (loopback_host.h). One thread.
 */
#ifndef LUNAR_TESTS_FAKE_GUEST_FAKE_NETVSC_H
#define LUNAR_TESTS_FAKE_GUEST_FAKE_NETVSC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/fake_guest/fake_rndis.h"
#include "wire/nvsp.h"
#include "wire/rndis.h"

struct fake_netvsc;
struct fake_pages;
struct fake_space;
struct packet;

/* The way to the host. All return 0 or -errno, in a bounded time. */
struct fake_transport_ops {
	/* sub_index: the channel that they are for; 0 for the shared buffers. */
	int (*gpadl_add)(void *ctx, uint32_t sub_index, const struct fake_pages *pages);
	int (*gpadl_remove)(void *ctx, uint32_t sub_index, uint32_t gpadl_id);
	int (*channel_open)(void *ctx, uint32_t sub_index, uint32_t gpadl_id,
			    uint32_t downstream_page, uint32_t vp);
	int (*channel_close)(void *ctx, uint32_t sub_index);
	void (*kick)(void *ctx, uint32_t sub_index);
	/* Lets the host run until it signals, at most timeout_ms. -ETIMEDOUT: it did not. */
	int (*wait)(void *ctx, int timeout_ms);
	/* Sub-channels that the host has offered so far. */
	uint32_t (*offered_sub_channels)(void *ctx);
};

enum fake_flavour {
	FAKE_LINUX,
	FAKE_DPDK,
};

struct fake_netvsc_config {
	enum fake_flavour flavour;
	uint32_t version;    /* the only one to try; 0: all, newest first */
	uint32_t mtu;	     /* 0: 1500 */
	uint32_t channels;   /* wanted; 0: 1 */
	uint32_t recv_pages; /* 0: 4096 (16 MiB, Linux's default) */
	uint32_t send_pages; /* 0: 256 (1 MiB) */
	uint32_t ring_pages; /* of each direction, control page included; 0: 32 (Linux's default) */
	int timeout_ms;	     /* for each answer; 0: 20000 */
};

/* What the probe found. */
struct fake_netvsc_info {
	uint32_t version;
	uint8_t mac[6];
	uint32_t host_mtu;
	bool link_up;
	uint32_t link_speed; /* 100 bit/s */
	struct ndis_offload hwcaps;
	uint32_t rss_queues;
	uint32_t channels;
	uint32_t max_packets;
	uint32_t alignment;
	uint32_t recv_section_bytes;
	uint32_t recv_section_count;
	uint32_t send_section_bytes;
	uint32_t send_section_count;
	char friendly_name[64];
};

struct fake_netvsc_counts {
	uint64_t tx_sent;      /* NVSP packets of data */
	uint64_t tx_completed; /* with success */
	uint64_t tx_refused;   /* completed with any other status */
	uint64_t rx_frames;
	uint64_t rx_packets;  /* transfer-page packets */
	uint64_t indications; /* INDICATE_STATUS */
	uint32_t last_indication;
	uint64_t send_tables;
};

/* space and transport must outlive the driver. Returns 0 or -ENOMEM. */
int fake_netvsc_create(struct fake_space *space, const struct fake_transport_ops *ops, void *ctx,
		       const struct fake_netvsc_config *config, struct fake_netvsc **nv);
/* Takes NULL. Tells the host nothing: stop first, or crash on purpose. */
void fake_netvsc_destroy(struct fake_netvsc *nv);

/* Opens the primary channel, negotiates, asks all that the flavour's driver asks, opens
 * sub-channels, sets RSS and the packet filter. Returns 0, -ETIMEDOUT, -EPROTO (see
 * fake_netvsc_violation()) or the transport's -errno. */
int fake_netvsc_start(struct fake_netvsc *nv);
/* Filter off, halt, revoke, close, tear down, as the driver's removal does. After it, start may be
 * called again. */
int fake_netvsc_stop(struct fake_netvsc *nv);

/* For the next start: as `ethtool -L` and `ip link set mtu` do it. */
void fake_netvsc_set_wanted(struct fake_netvsc *nv, uint32_t channels, uint32_t mtu);

/* Only opens the primary channel: for tests that speak NVSP themselves. */
int fake_netvsc_open_primary(struct fake_netvsc *nv);

enum fake_way {
	FAKE_SECTION, /* all in one send-buffer section; several frames as several messages */
	FAKE_PAGES,   /* all in pages; one frame */
	FAKE_MIXED,   /* headers (and all frames but the last) in a section, the last frame in pages
		       */
};

/* Sends frames in one NVSP packet. Returns 0, -EAGAIN (no ring room, section or page slot now:
 * poll), -EMSGSIZE. */
int fake_netvsc_send(struct fake_netvsc *nv, uint32_t channel, enum fake_way way,
		     const struct fake_tx *frames, size_t count);

typedef void (*fake_frame_fn)(void *ctx, const struct fake_rx *rx);
/* Called for each received frame, in order; the bytes are good until it returns. */
void fake_netvsc_on_frame(struct fake_netvsc *nv, fake_frame_fn fn, void *ctx);
/* While held, received packets are not given back: the host runs out of sections. Released all at
 * once. */
void fake_netvsc_hold(struct fake_netvsc *nv, bool hold);
/* Handles what is there, or what comes within timeout_ms. Returns the number of ring packets
 * handled, -ETIMEDOUT or -EPROTO. */
int fake_netvsc_poll(struct fake_netvsc *nv, int timeout_ms);
/* Polls until all that was sent has been completed. */
int fake_netvsc_drain(struct fake_netvsc *nv, int timeout_ms);

/* QUERY: *length is the room in value, then the length. *status is RNDIS_STATUS_*. */
int fake_netvsc_query(struct fake_netvsc *nv, uint32_t oid, const void *information,
		      size_t information_bytes, void *value, size_t *length, uint32_t *status);
int fake_netvsc_set(struct fake_netvsc *nv, uint32_t oid, const void *information,
		    size_t information_bytes, uint32_t *status);
/* A request of any kind, its id at offset 8, and the wait for its response apart: in between the
 * driver reads nothing. */
int fake_netvsc_post_rndis(struct fake_netvsc *nv, const void *message, size_t length);
int fake_netvsc_await_rndis(struct fake_netvsc *nv);
/* RSS table and key; table entries are the low 16 bits. */
int fake_netvsc_set_rss(struct fake_netvsc *nv, const uint8_t key[40], const uint16_t *table,
			size_t entries, uint32_t *status);

/* An NVSP message as it is, in-band on the primary channel; its completion in reply (room 64),
 * *reply_bytes its length. */
int fake_netvsc_request(struct fake_netvsc *nv, const void *message, size_t length, uint8_t *reply,
			size_t *reply_bytes);
/* For hostile tests: a ring packet of any content, nothing expected. type: PACKET_INBAND,
 * PACKET_GPA_DIRECT or PACKET_COMPLETION. */
int fake_netvsc_send_raw(struct fake_netvsc *nv, uint32_t channel, uint16_t type,
			 uint64_t transaction_id, const void *ranges, size_t ranges_bytes,
			 uint32_t range_count, const void *payload, size_t length);
/* Publishes any write index in a channel's outgoing ring. */
void fake_netvsc_break_ring(struct fake_netvsc *nv, uint32_t channel, uint32_t write_index);

const struct fake_netvsc_info *fake_netvsc_info(const struct fake_netvsc *nv);
const struct fake_netvsc_counts *fake_netvsc_counts(const struct fake_netvsc *nv);
const uint32_t *fake_netvsc_send_table(const struct fake_netvsc *nv); /* 16 entries */
/* The first thing that the host did wrong, or NULL. */
const char *fake_netvsc_violation(const struct fake_netvsc *nv);

#endif
