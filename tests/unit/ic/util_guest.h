/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A guest with hv_utils, as far as the integration components see one: it speaks to a real VMBus
 * server, lends pages of real guest memory for its rings, and answers as Linux 6.1 does, or worse
 * when told to.
 */
#ifndef LUNAR_TESTS_IC_UTIL_GUEST_H
#define LUNAR_TESTS_IC_UTIL_GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ic/ic_channel.h"
#include "vmbus/event_signal.h"
#include "vmbus/packet.h"
#include "vmbus/ring.h"

#define UTIL_RING_PAGES 4 /* each way: HV_UTIL_RING_SEND_SIZE of Linux */

enum util_manner {
	UTIL_LIKE_LINUX,
	UTIL_SILENT,	  /* reads nothing */
	UTIL_NO_VERSION,  /* speaks none of the versions */
	UTIL_ODD_VERSION, /* chooses one that was not offered */
	UTIL_REFUSES,	  /* answers requests with a failure */
	UTIL_LIES,	  /* heartbeats with a wrong number */
};

struct util_guest {
	struct event_loop *loop;
	struct guest_memory *memory;
	struct signal_table signals;
	struct vmbus_server *server;
	struct device_bus bus;
	int sint; /* raised by the host */
	int kick; /* the host's, while the channel is connected; else -1 */
	uint32_t kick_id;
	bool refuse_connect; /* the engine has no room for another event */
	uint32_t relid;	     /* of the one offer seen */
	uint8_t interface_type[16];
	uint32_t last_status; /* of the last OPEN_CHANNEL_RESULT, MODIFY_CHANNEL_RESPONSE */
	bool closed_by_host;
	enum util_manner manner;
	struct gpadl_view *out_view;
	struct gpadl_view *in_view;
	struct ring out;
	struct ring in;
	uint8_t last[PACKET_MAX_BYTES]; /* the last message from the host */
	size_t last_bytes;
	unsigned received;
	unsigned interrupts;
};

/* Memory, loop, bus: then the test makes its component on guest->bus, and connects. */
void util_guest_init(struct util_guest *guest);
void util_guest_fini(struct util_guest *guest);
/* Another host, after the component of the last one was destroyed: a new bus and no event
 * connected; the guest and its memory are as they were. */
void util_guest_change_host(struct util_guest *guest);
/* INITIATE_CONTACT and REQUEST_OFFERS: fills relid and interface_type. */
void util_guest_connect(struct util_guest *guest);
/* Opens the channel with fresh rings, interrupts to VP 0. */
void util_guest_open(struct util_guest *guest);
void util_guest_close(struct util_guest *guest);
/* Waits at most ms milliseconds for something to do, then lets host and guest work until both are
 * idle. */
void util_guest_run(struct util_guest *guest, int ms);
/* Writes raw bytes as one in-band packet and kicks the host. */
void util_guest_send(struct util_guest *guest, const void *bytes, size_t length);
void util_guest_kick(struct util_guest *guest);

#endif
