/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the parts of the VMBus server share: server.c (connection, messages), server_channel.c
 * (offers, channels), server_gpadl.c (GPADLs), server_save.c and server_restore.c (saved state).
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
	bool restored; /* named by the saved state that the server was made of */
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

/* While it is not RESTORE_NONE, nothing is settled and no message is taken. */
enum restore_phase {
	RESTORE_NONE,
	RESTORE_GPADLS,	   /* the devices are given the GPADLs, all at once */
	RESTORE_PRIMARIES, /* then their open channels */
	RESTORE_SUBS,
	RESTORE_FAILED, /* for good */
};

struct server_restore {
	enum restore_phase phase;
	uint32_t pending;		     /* calls that devices owe an answer to */
	int status;			     /* of the first that failed */
	void (*done)(void *ctx, int status); /* NULL once it was called */
	void *ctx;
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
	struct server_restore restore;
};

/* server.c */
void server_enter(struct vmbus_server *server);
void server_leave(struct vmbus_server *server);
/* Sends where the guest is connected; otherwise nobody is there to read it. */
void server_post(struct vmbus_server *server, const void *message, size_t length);
bool server_knows_version(uint32_t version);

/* server_channel.c */
/* The channel that the guest may use under this relid, or NULL. */
struct server_channel *channel_find(struct vmbus_server *server, uint32_t relid);
/* The lowest relid that is free, or 0. */
uint32_t channel_free_relid(const struct vmbus_server *server);
/* Makes a closed channel of no device under a relid that is free, or NULL. */
struct server_channel *channel_make(struct vmbus_server *server, uint32_t relid,
				    const struct vmbus_guid *interface_id, uint32_t sub_index);
/* Whether the channel's open request can be granted with this GPADL as its ring. */
bool channel_ring_fits(const struct server_channel *channel, const struct server_gpadl *ring);
/* Gives it to the device. */
void channel_open_start(struct server_channel *channel, struct server_gpadl *ring, bool restored);
void channel_offer_all(struct vmbus_server *server);
void channel_disconnect_all(struct vmbus_server *server);
void channel_forget_all(struct vmbus_server *server);
bool channel_all_quiet(const struct vmbus_server *server);
void channel_settle_all(struct vmbus_server *server);
void channel_on_open(struct vmbus_server *server, const void *message, size_t length);
void channel_on_close(struct vmbus_server *server, const void *message, size_t length);
void channel_on_modify(struct vmbus_server *server, const void *message, size_t length);
void channel_on_released(struct vmbus_server *server, const void *message, size_t length);

/* server_restore.c */
/* A device has answered a call of the restore, or is gone (pending 0: it owed none). */
void restore_note(struct vmbus_server *server, uint32_t answered, int status);
void restore_settle(struct vmbus_server *server);
/* Tells the owner, where it is finished. The last thing in a call. */
void restore_report(struct vmbus_server *server);

/* What a saved GPADL is; bytes of its ranges, all of them where it is live. */
struct saved_gpadl {
	uint32_t id;
	bool live;
	bool torn_down; /* by the guest, while it is an open channel's ring */
	uint16_t range_count;
	uint16_t expected_bytes;
	const void *bytes;
	size_t length;
};

/* server_gpadl.c */
struct server_gpadl *gpadl_find(struct vmbus_server *server, uint32_t id);
/* Makes a GPADL of the saved state, not yet known to its device. 0, -EPROTO or -ENOMEM. */
int gpadl_restore(struct server_channel *channel, const struct saved_gpadl *saved);
/* Gives every live GPADL to its device. */
void gpadl_restore_start(struct vmbus_server *server);
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

/*
 * Saved state: sections in VMBUS_SERVER_STATE_TAG, in this order. Fields are only appended.
 *   connection: u32 version (0: none), u32 message VP, u8 offers sent
 *   channel, by relid: u32 relid, interface id, u32 sub_index, u8 flags; u32 open id, u32 ring's
 *     GPADL, u32 target VP, u32 downstream page offset, user data (all 0 unless open)
 *   GPADL: u32 relid, u32 id, u8 flags, u32 range count, u32 bytes of ranges expected, blob of
 * those that are here
 */
#define SAVED_VERSION	 1
#define SAVED_CONNECTION STATE_TAG('C', 'O', 'N', 'N')
#define SAVED_CHANNEL	 STATE_TAG('C', 'H', 'A', 'N')
#define SAVED_GPADL	 STATE_TAG('G', 'P', 'D', 'L')

#define SAVED_CHANNEL_OFFERED	0x01
#define SAVED_CHANNEL_RESCINDED 0x02 /* only its relid is still taken */
#define SAVED_CHANNEL_OPEN	0x04
#define SAVED_GPADL_LIVE	0x01
#define SAVED_GPADL_TORN_DOWN	0x02

#endif
