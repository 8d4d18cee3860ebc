/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Shared by fake_netvsc.c (channels, sending, receiving) and fake_netvsc_probe.c (what a driver
 * does to start and stop).
 */
#ifndef LUNAR_TESTS_FAKE_GUEST_FAKE_NETVSC_INTERNAL_H
#define LUNAR_TESTS_FAKE_GUEST_FAKE_NETVSC_INTERNAL_H

#include "base/deadline.h"
#include "tests/fake_guest/fake_netvsc.h"
#include "tests/fake_guest/fake_space.h"
#include "vmbus/ring.h"

#define FAKE_MAX_CHANNELS     64
#define FAKE_TX_SLOTS	      512
#define FAKE_PAGE_SLOTS	      32
#define FAKE_SLOT_PAGES	      18 /* 64 KiB and a header */
#define FAKE_NO_SLOT	      UINT32_MAX
#define FAKE_NOT_LENT	      (UINT32_MAX - 1)
#define FAKE_MAX_TRANSACTIONS 4096

struct fake_channel {
	bool open;
	struct fake_pages *pages; /* guest to host ring, then host to guest */
	struct gpadl_view *out_view;
	struct gpadl_view *in_view;
	struct ring out;
	struct ring in;
	uint8_t *coalesced; /* receive coalescing in progress */
	size_t coalesced_bytes;
	uint32_t coalesced_count;
	struct fake_rx coalesced_info;
};

/* A data packet on its way; its transaction id is its index and its generation. */
struct fake_tx_slot {
	bool busy;
	uint32_t generation;
	uint32_t channel;
	uint32_t section;   /* or FAKE_NO_SLOT */
	uint32_t page_slot; /* or FAKE_NO_SLOT */
};

struct fake_held {
	uint32_t channel;
	uint64_t transaction_id;
};

struct fake_netvsc {
	struct fake_space *space;
	const struct fake_transport_ops *ops;
	void *ctx;
	struct fake_netvsc_config config;
	struct fake_netvsc_info info;
	struct fake_netvsc_counts counts;
	uint32_t send_table[NVSP_SEND_TABLE_ENTRIES];
	char violation[128];

	struct fake_channel channels[FAKE_MAX_CHANNELS];
	struct fake_pages *recv;
	struct fake_pages *send;
	struct fake_pages *control; /* the page that RNDIS requests are in */
	struct fake_pages *slots[FAKE_PAGE_SLOTS];
	bool slot_busy[FAKE_PAGE_SLOTS];
	uint8_t *section_busy;
	struct fake_tx_slot tx[FAKE_TX_SLOTS];
	bool recv_given, send_given;

	/* The one NVSP request, and the one RNDIS request, that wait for an answer. */
	uint64_t request_id; /* 0: none */
	uint64_t next_request_id;
	uint8_t reply[64];
	size_t reply_bytes;
	bool reply_here;
	uint32_t rndis_id; /* 0: none */
	uint32_t next_rndis_id;
	uint8_t response[2048];
	size_t response_bytes;
	bool response_here;

	/* Receive sections that the host has lent: chains by channel and transaction. */
	uint32_t *lent_next; /* by section; FAKE_NOT_LENT, or the next one */
	uint32_t lent_count;
	uint32_t lent_head[FAKE_MAX_CHANNELS][FAKE_MAX_TRANSACTIONS];

	bool hold;
	struct fake_held *held;
	size_t held_count, held_room;
	fake_frame_fn frame_fn;
	void *frame_ctx;
	uint8_t scratch[32768];
	uint8_t message[128 * 1024];
};

int fake_violate(struct fake_netvsc *nv, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* A new receive buffer: nothing of it is lent. */
void fake_lent_forget(struct fake_netvsc *nv);
int fake_channel_open(struct fake_netvsc *nv, uint32_t index);
/* Closes it and tears its ring down. */
int fake_channel_close(struct fake_netvsc *nv, uint32_t index);
/* Sends an RNDIS control message in a page. Waits for its response unless response_type is 0. */
int fake_rndis_request(struct fake_netvsc *nv, const uint8_t *message, size_t length,
		       uint32_t response_type);
/* In-band, no completion asked. */
int fake_nvsp_notify(struct fake_netvsc *nv, const void *message, size_t length);
/* Handles what is there; where nothing is, waits once for a sign of the host. Returns >= 0 or
 * -errno. */
int fake_step(struct fake_netvsc *nv, struct deadline deadline);
/* Steps until *flag, or the configured time-out. */
int fake_wait_for(struct fake_netvsc *nv, const bool *flag);

#endif
