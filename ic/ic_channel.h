/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A small frame for integration components: a device that lives in the VM's own process, on its
 * event loop. It offers one channel, opens the rings, negotiates versions with the guest's driver
 * (Linux: hv_utils), and then carries one service's requests and answers. All calls are for the
 * loop's thread.
 */
#ifndef LUNAR_IC_IC_CHANNEL_H
#define LUNAR_IC_IC_CHANNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/state.h"
#include "ic/ic_message.h"
#include "vmbus/device_bus.h"

struct ic_channel;

struct ic_service {
	const char *name; /* for logs */
	struct vmbus_guid interface_type;
	struct vmbus_guid interface_id;
	uint16_t message_type;
	const struct ic_version *versions; /* offered to the guest */
	size_t version_count;
	/* Versions are agreed: requests can be sent. */
	void (*ready)(void *ctx);
	/* The answer to the last request sent; body is valid during the call. */
	void (*answered)(void *ctx, uint32_t status, const uint8_t *body, size_t body_bytes);
	/* The guest closed the channel, or broke its ring: no answer comes any more. */
	void (*closed)(void *ctx);
};

/* Offers the service. bus is copied; service and ctx outlive the channel. 0, -ENOMEM or what
 * vmbus_server_add_device() says. */
int ic_channel_create(const struct device_bus *bus, const struct ic_service *service, void *ctx,
		      struct ic_channel **channel);
/* Takes NULL. For the end of the partition: no VP runs, and the VMBus server is destroyed next
 * without taking another message. Not from within a callback of the service. */
void ic_channel_destroy(struct ic_channel *channel);

/* The guest's driver has the channel open and versions are agreed. */
bool ic_channel_is_ready(const struct ic_channel *channel);
/* Sends a request; a later one supersedes it: only the last one's answer is passed on. Returns 0;
 * -ENOTCONN: not ready; -EAGAIN: the guest's ring is full, or the channel is paused; -EPROTO: the
 * guest broke the ring; -EMSGSIZE. */
int ic_channel_request(struct ic_channel *channel, const void *body, size_t body_bytes);

/* ---- saved state ---- */

/* The rings are left alone until resume, but for a channel that the guest opens meanwhile. */
void ic_channel_pause(struct ic_channel *channel);
/* Goes on, and looks at both rings, as if either side had just signalled. */
void ic_channel_resume(struct ic_channel *channel);
/* One section: state and versions. The rings and all that is in them are guest memory. Paused. */
void ic_channel_save(const struct ic_channel *channel, struct state_writer *writer);
/* Before the bus is restored, which then opens the channel: it is as it was, without negotiating
 * again, and without a call of ready(). Reads the one section that holder must begin with; leaves
 * the channel paused. Returns 0, -EPROTO or -EOPNOTSUPP. */
int ic_channel_restore(struct ic_channel *channel, struct state_reader *holder);

#endif
