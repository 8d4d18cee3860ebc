/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One channel of a controller: a pair of rings, a thread of its own with an I/O loop, and the
 * requests that the guest has under way on it. Private to the controller's files. The functions are
 * for the event loop's thread unless they say otherwise.
 *
 * A packet is read only where a request is free and its answer has room in the guest's ring beside
 * the answers that are still owed: an answer never waits, and none is lost.
 */
#ifndef LUNAR_STORVSP_CHANNEL_H
#define LUNAR_STORVSP_CHANNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "storvsp/controller_mail.h"
#include "storvsp/io_loop.h"
#include "storvsp/scsi.h"
#include "storvsp/srb.h"
#include "storvsp/vstor.h"
#include "vmbus/server.h"

struct storvsp_channel;
struct storvsp_controller;

/* More than the default ring of Linux's driver can hold. */
#define CHANNEL_MAX_REQUESTS 512u

enum request_state {
	REQUEST_FREE,
	REQUEST_CONTROL, /* at the event loop's thread */
	REQUEST_HELD,	 /* its unit takes no command now */
	REQUEST_EXECUTING,
};

struct storvsp_request {
	struct scsi_command command;
	struct storvsp_channel *channel;
	struct storvsp_request *next; /* free or held */
	enum request_state state;
	bool wants_reply;
	size_t packet_bytes; /* of the guest's packet; also says how long the answer is */
	uint64_t transaction_id;
	uint64_t taken_at; /* the channel's count of requests when it was taken */
	uint64_t executed_at;
	struct srb srb;
	struct vstor_packet packet; /* control: the guest's, then the answer */
	struct controller_mail mail;
	struct io_post post;
	struct srb_data data;
};

enum flush_scope {
	FLUSH_UNIT,	/* commands that a unit executes */
	FLUSH_COMMANDS, /* every SRB */
	FLUSH_REQUESTS, /* control packets too */
};

/* Waits for the requests that are under way now, not for later ones. mail.fn is called on the event
 * loop's thread once their answers are published in the guest's ring; of two flushes the one that
 * was asked for later is not told earlier, unless it waits for less. */
struct channel_flush {
	struct controller_mail mail; /* .fn is set by the caller */
	enum flush_scope scope;
	uint32_t lun;			 /* FLUSH_UNIT */
	void *ctx;			 /* the caller's */
	struct storvsp_channel *channel; /* the channel's own, as all below */
	struct io_post post;
	TAILQ_ENTRY(channel_flush) link;
	uint64_t before;
	uint32_t left;
};

/* Makes a channel and starts its thread, which tells controller_channel_opened(); packets are taken
 * after channel_start() only. Returns 0 or -errno. */
int channel_create(struct storvsp_controller *controller, const struct vmbus_open_request *request,
		   struct storvsp_channel **channel);
void channel_start(struct storvsp_channel *channel);
/* No packet is taken any more; controller_channel_drained() follows when all are answered. Once. */
void channel_stop(struct storvsp_channel *channel);
/* Ends the thread of a channel that is drained, or that could not be opened. */
void channel_destroy(struct storvsp_channel *channel);

/* Has the worker look at what the controller says. */
void channel_wake(struct storvsp_channel *channel);
/* Once it is started, until it is destroyed. */
void channel_flush(struct storvsp_channel *channel, struct channel_flush *flush);
/* A control request's packet holds its answer. */
void channel_answer(struct storvsp_request *request);
/* Sends ENUMERATE_BUS when there is room. */
void channel_enumerate(struct storvsp_channel *channel);
/* Whether one was asked for and not sent. Only of a paused channel does that stay true. */
bool channel_is_enumerating(const struct storvsp_channel *channel);
/* Interrupts go to that VP from now on, or nowhere (VMBUS_NO_INTERRUPTS). Returns 0 or -errno. */
int channel_aim(struct storvsp_channel *channel, uint32_t vp);
/* Interrupts the guest once, whatever it has masked: after a pause. */
void channel_nudge(struct storvsp_channel *channel);

struct storvsp_controller *channel_controller(const struct storvsp_channel *channel);
uint32_t channel_sub_index(const struct storvsp_channel *channel);
/* Since channel_start(): it can be asked and flushed. */
bool channel_is_started(const struct storvsp_channel *channel);
/* Started, and not stopped. */
bool channel_is_open(const struct storvsp_channel *channel);

#endif
