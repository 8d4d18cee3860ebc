/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The VMBus server of one partition: offers, version negotiation, GPADLs, channels. A pure state
 * machine: it takes the messages that the guest posted and emits messages and device calls through
 * ops. It does no I/O, takes no lock and is called from one thread only. Source: TLFS; observed in
 * Linux 6.1 drivers/hv (channel_mgmt.c, connection.c).
 *
 * Devices (VSPs) are asynchronous: an op starts the work, and the device calls
 * vmbus_server_*_done() when it is finished, from within the op or later.
 */
#ifndef LUNAR_VMBUS_SERVER_H
#define LUNAR_VMBUS_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/state.h"

struct gpadl;
struct vmbus_server;
struct vmbus_device; /* one offered device: its primary channel and its sub-channels */

#define VMBUS_MAX_CHANNELS	   2047 /* relid 1..2047 */
#define VMBUS_OPEN_USER_DATA_BYTES 120
#define VMBUS_NO_INTERRUPTS	   UINT32_MAX /* target_vp of a channel that wants no interrupts */

struct vmbus_guid {
	uint8_t bytes[16]; /* in wire order (first three fields little-endian) */
};

struct vmbus_server_ops {
	/* Queue a message (8-byte header and body, at most 240 bytes) for the VP's SINT2 slot, in
	 * order, never refused. To bound that queue against a guest that posts and never reads,
	 * take no further guest messages (vmbus_server_message()) while more than a few thousand
	 * wait: one guest message causes one reply at most, REQUEST_OFFERS one per channel. */
	void (*post_message)(void *ctx, uint32_t vp, const void *message, size_t length);
	/* The guest was just sent an OPEN_RESULT of success. Some guests drop interrupts that
	 * arrive before they have read it: signal target_vp (or VMBUS_NO_INTERRUPTS) once more a
	 * moment later. May be NULL. */
	void (*channel_opened)(void *ctx, uint32_t relid, uint32_t target_vp);
	/* All channels closed, all GPADLs gone after UNLOAD, a new INITIATE_CONTACT or
	 * vmbus_server_reset(). Informational. May be NULL. */
	void (*bus_clean)(void *ctx);
};

struct vmbus_open_request {
	uint32_t relid;		/* also the event flag number towards the guest */
	uint32_t connection_id; /* of the guest's SignalEvent, 24 bits */
	uint32_t sub_index;	/* 0: primary channel */
	uint32_t gpadl_id;	/* the ring's */
	const struct gpadl *gpadl;
	uint32_t downstream_page_offset; /* pages before it: guest to host ring; from it on: host to
					    guest */
	uint32_t target_vp;		 /* or VMBUS_NO_INTERRUPTS */
	bool restored; /* the guest has it open: its rings hold packets, its device has state */
	uint8_t user_data[VMBUS_OPEN_USER_DATA_BYTES];
};

struct vmbus_device_ops {
	/* The guest lent pages to this device. The GPADL lives until gpadl_teardown is done. No
	 * completion: the message to the guest is sent when vmbus_server_gpadl_done() is called
	 * with 0 (accepted) or -errno. */
	void (*gpadl_created)(void *ctx, uint32_t sub_index, const struct gpadl *gpadl);
	/* Let go of it, then call vmbus_server_gpadl_teardown_done(). */
	void (*gpadl_teardown)(void *ctx, uint32_t sub_index, uint32_t gpadl_id);
	/* → vmbus_server_open_done(status 0 or -errno) */
	void (*channel_open)(void *ctx, const struct vmbus_open_request *request);
	/* → vmbus_server_close_done(). Called once for each channel_open that was done with status
	 * 0, never before its open_done. A primary channel is closed after its sub-channels. */
	void (*channel_close)(void *ctx, uint32_t sub_index);
	/* MODIFYCHANNEL: interrupts go to target_vp from now on. → vmbus_server_modify_done() */
	void (*channel_modify)(void *ctx, uint32_t sub_index, uint32_t target_vp);
	/* After vmbus_device_rescind(): every channel is closed and every GPADL gone. The last call
	 * with this ctx; the struct vmbus_device is freed. May be NULL. */
	void (*removed)(void *ctx);
};

struct vmbus_offer {
	struct vmbus_guid interface_type;
	struct vmbus_guid
		interface_id; /* instance: stays the same for the VM's life, migration included */
	uint16_t mmio_megabytes;
	uint16_t channel_flags; /* CHANNEL_FLAG_* of the offer */
	uint32_t max_sub_channels;
	uint8_t user_defined[120];
};

/* vp_count bounds target VPs. ops and ctx must outlive the server. Returns 0 or -ENOMEM. */
int vmbus_server_create(const struct vmbus_server_ops *ops, void *ctx, uint32_t vp_count,
			struct vmbus_server **server);
/* Takes NULL. The devices' owners have stopped their data paths; no op is called from here. */
void vmbus_server_destroy(struct vmbus_server *server);

/* The guest is gone (reset, triple fault): closes every channel, lets every GPADL go and forgets
 * the connection. Nothing is sent to the guest for it. bus_clean is called when the devices have
 * finished, from within this call or later; until then messages of the new guest are taken and
 * answered afterwards. */
void vmbus_server_reset(struct vmbus_server *server);

/* Adds a device; offered to the guest at the next REQUEST_OFFERS, or at once where offers were
 * already sent. Relids are given in order of adding. Returns 0, -ENOSPC, -ENOMEM, or -EEXIST
 * where a device with this interface_id exists, or was rescinded and the guest has not released it
 * (Linux does not survive a quick re-offer). */
int vmbus_server_add_device(struct vmbus_server *server, const struct vmbus_offer *offer,
			    const struct vmbus_device_ops *ops, void *ctx,
			    struct vmbus_device **device);
/* Offers sub-channels 1..count (those not yet offered) of a device whose primary channel is open.
 * Returns 0, -EINVAL past max_sub_channels, -ENOTCONN when the primary is not open, -ENOSPC. */
int vmbus_device_offer_sub_channels(struct vmbus_device *device, uint32_t count);
/* Rescinds all channels of a device (hot remove, or its VSP is gone). The device is freed once its
 * channels are closed and its GPADLs gone, see ops->removed; do not use it after this call but for
 * the _done() calls. Its relids and its interface_id stay taken until the guest releases them. */
void vmbus_device_rescind(struct vmbus_device *device);

/*
 * A message that the guest posted: connection_id as the guest gave it; payload after the
 * hypercall's own header. Returns 0, or -EINVAL: an unknown connection id (the hypercall fails with
 * INVALID_CONNECTION_ID, nothing happened). A malformed or unexpected message is dropped with a
 * rate-limited log and returns 0.
 */
int vmbus_server_message(struct vmbus_server *server, uint32_t connection_id, const void *payload,
			 size_t length);
/* Whether a connection id is one of the bus's message ports (1 and 4): what the VP thread asks
 * before it queues. Thread-safe. */
bool vmbus_server_is_message_port(uint32_t connection_id);

void vmbus_server_gpadl_done(struct vmbus_device *device, uint32_t sub_index, uint32_t gpadl_id,
			     int status);
void vmbus_server_gpadl_teardown_done(struct vmbus_device *device, uint32_t sub_index,
				      uint32_t gpadl_id);
void vmbus_server_open_done(struct vmbus_device *device, uint32_t sub_index, int status);
void vmbus_server_close_done(struct vmbus_device *device, uint32_t sub_index);
void vmbus_server_modify_done(struct vmbus_device *device, uint32_t sub_index, int status);

/* ---- saved state ---- */

#define VMBUS_SERVER_STATE_TAG STATE_TAG('V', 'M', 'B', 'S')

/* Whether no device owes a completion: only then can the server be saved. Once no VP runs, that
 * comes by itself as devices finish. False from within an op. */
bool vmbus_server_is_quiet(const struct vmbus_server *server);
/* Writes one section: connection, offers, channels, every GPADL, those in progress too. The
 * devices' own state is theirs to save. Returns 0, -EBUSY (not quiet) or -ENOMEM. */
int vmbus_server_save(const struct vmbus_server *server, struct state_writer *writer);
/*
 * Makes a server, to which the same devices (by interface_id) have been added and on which no
 * message was taken, what the section says. The devices are walked through their ops as a guest
 * would: gpadl_created for every GPADL, and when all of them are done channel_open with `restored`
 * for every open channel, a primary before its sub-channels; nothing is sent to the guest for it.
 * done is called once, from within this call or later, with 0 or the -errno of the first that
 * failed (-ENODEV: a device was rescinded meanwhile); it must not destroy the server. Until then
 * only completions and rescinds may come. Relids are those of the section, however the devices were
 * added; a device that the section does not know stays, and is offered when the guest next asks for
 * offers. Returns 0; -EPROTO: malformed or contradicting itself; -ENODEV: a device of the section
 * is missing; -EBUSY: the guest has not yet released a rescinded device with the interface_id of
 * one that was added; -EOPNOTSUPP: of an incompatible version; -EINVAL: not a fresh server;
 * -ENOMEM. Where it does not return 0, done is not called. After a failure of either kind the
 * server may only be destroyed.
 */
int vmbus_server_restore(struct vmbus_server *server, struct state_reader *section,
			 void (*done)(void *ctx, int status), void *ctx);

/* What is alive now, for `show` and for leak checks. */
struct vmbus_server_counts {
	uint32_t version; /* 0: not connected; else major << 16 | minor */
	uint32_t offered; /* channels, sub-channels included */
	uint32_t open;
	uint32_t gpadls; /* in progress included */
};
void vmbus_server_get_counts(const struct vmbus_server *server, struct vmbus_server_counts *counts);

#endif
