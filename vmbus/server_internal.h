/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the parts of the VMBus server share: server.c (connection, messages), server_channel.c
 * (offers, channels) and server_gpadl.c (GPADLs).
 *
 * How it works: messages and device completions only note what happened and what is wanted.
 * server_leave(), at the end of each outermost call, then settles the server: it starts every
 * operation whose time has come (close after the modify, teardown after the close, the answer to
 * UNLOAD after everything) and frees what nobody refers to, until nothing more changes. So a device
 * may complete from within its op, and nothing is freed under a caller's feet.
 */
#ifndef LUNAR_VMBUS_SERVER_INTERNAL_H
#define LUNAR_VMBUS_SERVER_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmbus/server.h"
#include "wire/vmbus.h"

/* What one guest may make us keep: a 64-VP guest with 8 NICs of 64 channels lends about 1,100
 * GPADLs and 2 MiB of page numbers. */
#define SERVER_MAX_GPADLS      4096
#define SERVER_MAX_GPADL_BYTES (UINT64_C(16) << 20)
#define SERVER_GPADL_BUCKETS   256

enum channel_state {
	CHANNEL_CLOSED,
	CHANNEL_OPENING, /* the device has channel_open */
	CHANNEL_OPEN,
	CHANNEL_CLOSING, /* the device has channel_close */
};

struct server_channel {
	struct vmbus_server *server;
	struct vmbus_device *device; /* NULL: rescinded and let go; only the relid is still taken */
	struct vmbus_guid interface_id;
	uint32_t relid;
	uint32_t sub_index;
	enum channel_state state;
	bool offered;	/* in this connection; until the guest releases the relid */
	bool rescinded; /* no longer to be used; goes away when closed and empty */
	bool want_close;
	bool want_open;	  /* request holds an OPEN_CHANNEL not yet begun */
	bool modifying;	  /* the device has channel_modify */
	bool want_modify; /* another target was asked for meanwhile (before 5.3) */
	uint32_t modify_target;
	struct vmbus_open_channel request;
	struct server_gpadl *ring; /* in use unless CHANNEL_CLOSED */
	uint32_t gpadl_count;
};

enum gpadl_state {
	GPADL_ASSEMBLING, /* bodies are missing */
	GPADL_OFFERED,	  /* the device has gpadl_created */
	GPADL_LIVE,
	GPADL_TEARING_DOWN, /* the device has gpadl_teardown */
	GPADL_GONE,
};

struct server_gpadl {
	struct server_gpadl *next; /* in its bucket */
	struct server_channel *channel;
	uint32_t id;
	enum gpadl_state state;
	bool want_teardown;
	bool answer_teardown; /* the guest waits for TORNDOWN */
	uint32_t range_count;
	uint8_t *bytes; /* while assembling */
	size_t expected_bytes;
	size_t received_bytes;
	struct gpadl *gpadl;
};

struct vmbus_device {
	struct vmbus_device *next;
	struct vmbus_server *server;
	const struct vmbus_device_ops *ops;
	void *ctx;
	struct vmbus_offer offer;
	bool rescinded;
	struct server_channel **channels; /* max_sub_channels + 1; [0] is the primary */
};

enum connection_state {
	CONNECTION_NONE,
	CONNECTION_UP,
	CONNECTION_CLEANING, /* everything is being closed */
};

struct vmbus_server {
	const struct vmbus_server_ops *ops;
	void *ctx;
	uint32_t vp_count;
	uint32_t depth; /* of public calls */
	bool unsettled;
	enum connection_state connection;
	uint32_t version;
	uint32_t message_vp;
	bool offers_sent;
	bool answer_unload;
	bool contact_waits; /* until the bus is clean */
	struct vmbus_initiate_contact contact;
	struct vmbus_device *devices;
	struct server_channel *channels[VMBUS_MAX_CHANNELS + 1]; /* by relid */
	uint32_t max_relid;					 /* the highest ever given */
	struct server_gpadl *gpadls[SERVER_GPADL_BUCKETS];
	uint32_t gpadl_count;
	uint64_t gpadl_bytes;
};

/* server.c */
void server_enter(struct vmbus_server *server);
void server_leave(struct vmbus_server *server);
/* Sends where the guest is connected; otherwise nobody is there to read it. */
void server_post(struct vmbus_server *server, const void *message, size_t length);

/* server_channel.c */
/* The channel that the guest may use under this relid, or NULL. */
struct server_channel *channel_find(struct vmbus_server *server, uint32_t relid);
void channel_offer_all(struct vmbus_server *server);
void channel_disconnect_all(struct vmbus_server *server);
void channel_forget_all(struct vmbus_server *server);
bool channel_all_quiet(const struct vmbus_server *server);
void channel_settle_all(struct vmbus_server *server);
void channel_on_open(struct vmbus_server *server, const void *message, size_t length);
void channel_on_close(struct vmbus_server *server, const void *message, size_t length);
void channel_on_modify(struct vmbus_server *server, const void *message, size_t length);
void channel_on_released(struct vmbus_server *server, const void *message, size_t length);

/* server_gpadl.c */
/* The channel's GPADL of this id that can be used as a ring now, or NULL. */
struct server_gpadl *gpadl_find_usable(struct server_channel *channel, uint32_t id);
/* The guest has lost its claim to the channel's GPADLs (NULL: to all): they go without an answer.
 */
void gpadl_abandon(struct vmbus_server *server, const struct server_channel *channel);
void gpadl_settle_all(struct vmbus_server *server);
void gpadl_free_all(struct vmbus_server *server);
void gpadl_on_header(struct vmbus_server *server, const void *message, size_t length);
void gpadl_on_body(struct vmbus_server *server, const void *message, size_t length);
void gpadl_on_teardown(struct vmbus_server *server, const void *message, size_t length);

#endif
