/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A channel's inside, shared by channel.c (the event loop's side), channel_worker.c (the thread)
 * and channel_request.c (what it does with a packet).
 */
#ifndef LUNAR_STORVSP_CHANNEL_INTERNAL_H
#define LUNAR_STORVSP_CHANNEL_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "storvsp/channel.h"
#include "storvsp/controller_internal.h"
#include "vmbus/event_signal.h"
#include "vmbus/packet.h"
#include "vmbus/ring.h"

struct storvsp_channel {
	struct storvsp_controller *controller;
	uint32_t sub_index;
	uint32_t connection_id;
	int kick; /* eventfd, the guest's */
	struct gpadl_view *from_guest_view;
	struct gpadl_view *to_guest_view;

	pthread_mutex_t signal_lock; /* guards signal */
	struct event_signal signal;

	/* Wishes of the event loop's thread; each is followed by a wake-up. */
	_Atomic bool started;
	_Atomic bool stopping;
	_Atomic bool enumerate;
	_Atomic bool nudge;
	_Atomic bool woken; /* wake is posted */
	struct io_post wake;
	struct io_post end; /* the last post that there is */

	struct controller_mail opened_mail;
	struct controller_mail drained_mail;
	struct controller_mail first_srb_mail;
	int open_status;
	pthread_t thread;

	/* The worker's alone, from here on. */
	struct io_loop *loop;
	struct io_op kick_op;
	bool kick_armed;
	bool broken; /* the guest broke a ring: until it opens the channel again */
	bool awake;  /* looks at the ring without being signalled */
	bool stuck;  /* no room for one more answer: the guest was asked to signal */
	bool drained;
	bool ended;
	uint64_t last_work_ns;
	uint32_t spin_ns;
	bool may_spin;
	struct ring from_guest;
	struct ring to_guest;

	struct storvsp_request *requests; /* CHANNEL_MAX_REQUESTS */
	struct storvsp_request *free;
	uint32_t fresh;	 /* requests from here on were never used, and cost no memory yet */
	uint32_t in_use; /* answers that are owed */
	uint64_t count;	 /* of requests ever */
	struct storvsp_request *held;
	struct storvsp_request **held_end;
	/* Both in the order in which they were asked for. */
	TAILQ_HEAD(, channel_flush) flushes;  /* that wait for requests */
	TAILQ_HEAD(, channel_flush) finished; /* to be told after the next publishing */
	uint8_t scratch[PACKET_MAX_BYTES];
};

/* channel_worker.c: the thread. */
void *channel_run(void *channel);
void channel_break(struct storvsp_channel *channel, const char *why);

/* channel_request.c */

/* Takes one packet: answers it, or a request is under way afterwards. */
void channel_take(struct storvsp_channel *channel, const struct packet *packet);
/* Executes the held requests whose units take commands again. */
void channel_release_held(struct storvsp_channel *channel);
/* io_post of a flush, of a control request's answer. */
void channel_on_flush(struct io_post *post);
void channel_on_answer(struct io_post *post);
bool channel_has_request(const struct storvsp_channel *channel);
/* What an answer needs of the guest's ring, at most. */
uint32_t channel_answer_bytes(void);

#endif
