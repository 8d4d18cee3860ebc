/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A channel's thread. Awake, it looks at the ring each round with the guest's signals masked; with
 * nothing to do for a while it asks to be signalled and sleeps in its loop. How long a while is
 * depends on whether looking longer would have saved the last sleeps. On one CPU it is none: the
 * guest could not run meanwhile.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/deadline.h"
#include "base/log.h"
#include "storvsp/channel_internal.h"

#define LOG_COMPONENT "storvsp"

#define LOOP_ENTRIES	 256u
#define PACKETS_A_ROUND	 64u
#define SPIN_FIRST_NS	 5000u
#define SPIN_MAX_NS	 40000u
#define BROKEN_LOOP_WAIT 10000000L /* ns between tries of a loop that fails */

void channel_break(struct storvsp_channel *channel, const char *why)
{
	if (!channel->broken)
		log_warn_limited("channel %u: %s; nothing more is read until the guest opens it "
				 "again",
				 channel->sub_index, why);
	channel->broken = true;
}

/* ---- reading ---- */

static bool takes_packets(const struct storvsp_channel *channel)
{
	return atomic_load_explicit(&channel->started, memory_order_acquire) &&
	       !atomic_load_explicit(&channel->stopping, memory_order_acquire) &&
	       !atomic_load_explicit(&channel->controller->paused, memory_order_acquire) &&
	       !channel->broken;
}

/* How many packets can be read so that each answer has room. */
static uint32_t answer_room(struct storvsp_channel *channel)
{
	int64_t room = ring_writable_bytes(&channel->to_guest) / channel_answer_bytes();

	room -= channel->in_use;
	if (room <= 0)
		return 0;
	return room < PACKETS_A_ROUND ? (uint32_t)room : PACKETS_A_ROUND;
}

/* Returns how many were taken. */
static uint32_t packets_take(struct storvsp_channel *channel)
{
	struct packet packet;
	uint32_t room;
	uint32_t taken = 0;
	int rc = 1;

	if (!takes_packets(channel))
		return 0;
	room = answer_room(channel);
	if (room > 0 && channel->stuck) {
		channel->stuck = false;
		ring_set_pending_send_bytes(&channel->to_guest, 0);
	}
	while (taken < room && channel_has_request(channel)) {
		rc = packet_read(&channel->from_guest, channel->scratch, sizeof(channel->scratch),
				 &packet);
		if (rc <= 0)
			break;
		channel_take(channel, &packet);
		taken++;
	}
	if (rc < 0 || channel->to_guest.broken)
		channel_break(channel, "the guest broke its ring");
	return taken;
}

/* ---- writing ---- */

static void enumerate_bus(struct storvsp_channel *channel)
{
	const struct vstor_packet packet = {.header.operation = VSTOR_ENUMERATE_BUS};

	if (!atomic_load_explicit(&channel->enumerate, memory_order_relaxed) ||
	    !takes_packets(channel) || answer_room(channel) == 0)
		return;
	atomic_store_explicit(&channel->enumerate, false, memory_order_relaxed);
	if (packet_write_inband(&channel->to_guest, 0, 0, &packet, sizeof(packet)) < 0)
		channel_break(channel, "no room for a notice");
}

static void signal_guest(struct storvsp_channel *channel)
{
	pthread_mutex_lock(&channel->signal_lock);
	event_signal_raise(&channel->signal);
	pthread_mutex_unlock(&channel->signal_lock);
}

/* What was written and read in this round, with one signal; then the flushes that it ended. */
static void channel_publish(struct storvsp_channel *channel)
{
	bool owed = atomic_exchange_explicit(&channel->nudge, false, memory_order_relaxed);
	struct channel_flush *flush;

	if (!channel->broken) {
		enumerate_bus(channel);
		owed |= ring_publish_write(&channel->to_guest);
		owed |= ring_publish_read(&channel->from_guest);
	}
	if (owed)
		signal_guest(channel);
	while ((flush = TAILQ_FIRST(&channel->finished)) != NULL) {
		TAILQ_REMOVE(&channel->finished, flush, link);
		controller_mail_post(&channel->controller->mailbox, &flush->mail);
	}
	if (channel->in_use == 0 && !channel->drained &&
	    atomic_load_explicit(&channel->stopping, memory_order_acquire)) {
		channel->drained = true;
		controller_mail_post(&channel->controller->mailbox, &channel->drained_mail);
	}
}

/* ---- sleeping ---- */

static void on_kick(struct io_op *op, int32_t result)
{
	struct storvsp_channel *channel =
		(struct storvsp_channel *)((uint8_t *)op -
					   offsetof(struct storvsp_channel, kick_op));
	uint64_t count;

	channel->kick_armed = false;
	if (result < 0 && result != -ECANCELED) {
		log_error_limited("channel %u: poll: %s", channel->sub_index, strerror(-result));
		channel_break(channel, "its event is lost");
	}
	if (read(channel->kick, &count, sizeof(count)) < 0)
		return; /* signalled already, and read */
}

/* Asks the guest to signal. False where there is something to do already. */
static bool ring_arm(struct storvsp_channel *channel)
{
	if (!channel_has_request(channel))
		return true; /* one that ends wakes us */
	if (answer_room(channel) == 0 && !channel->to_guest.broken) {
		channel->stuck = true;
		ring_set_pending_send_bytes(&channel->to_guest,
					    (channel->in_use + 1) * channel_answer_bytes());
		return answer_room(channel) == 0;
	}
	if (!ring_unmask(&channel->from_guest))
		return true;
	ring_mask(&channel->from_guest);
	return false;
}

static void kick_arm(struct storvsp_channel *channel)
{
	if (channel->kick_armed || channel->broken)
		return;
	channel->kick_armed = true;
	channel->kick_op.done = on_kick;
	io_loop_poll(channel->loop, &channel->kick_op, channel->kick, POLLIN);
}

/* -1: sleep; 0: look on. */
static int sleep_or_spin(struct storvsp_channel *channel)
{
	if (channel->awake) {
		if (channel->spin_ns > 0 &&
		    monotonic_ns() - channel->last_work_ns < channel->spin_ns)
			return 0;
		if (takes_packets(channel) && !ring_arm(channel)) {
			if (channel->from_guest.broken)
				channel_break(channel, "the guest broke its ring");
			return 0;
		}
		channel->awake = false;
	}
	kick_arm(channel);
	return -1;
}

/* A sleep that was shorter than we can spin would have been better spun. */
static void spin_adapt(struct storvsp_channel *channel, uint64_t slept_ns)
{
	if (!channel->may_spin)
		return;
	if (slept_ns < SPIN_MAX_NS) {
		channel->spin_ns = channel->spin_ns == 0 ? SPIN_FIRST_NS : channel->spin_ns * 2;
		if (channel->spin_ns > SPIN_MAX_NS)
			channel->spin_ns = SPIN_MAX_NS;
	} else {
		channel->spin_ns /= 2;
		if (channel->spin_ns < SPIN_FIRST_NS)
			channel->spin_ns = 0;
	}
}

static void wake_up(struct storvsp_channel *channel)
{
	if (!channel->awake && takes_packets(channel))
		ring_mask(&channel->from_guest);
	channel->awake = true;
	channel->last_work_ns = monotonic_ns();
}

/* ---- the thread ---- */

static void channel_round(struct storvsp_channel *channel)
{
	int timeout = sleep_or_spin(channel);
	uint64_t before = timeout < 0 ? monotonic_ns() : 0;
	int made = io_loop_run(channel->loop, timeout);

	if (made < 0) {
		const struct timespec wait = {.tv_nsec = BROKEN_LOOP_WAIT};

		log_error_limited("channel %u: I/O loop: %s", channel->sub_index, strerror(-made));
		nanosleep(&wait, NULL);
		return;
	}
	if (made > 0) {
		wake_up(channel);
		if (timeout < 0)
			spin_adapt(channel, channel->last_work_ns - before);
	}
	if (channel->awake && packets_take(channel) > 0)
		channel->last_work_ns = monotonic_ns();
	channel_publish(channel);
}

void *channel_run(void *context)
{
	struct storvsp_channel *channel = context;
	int rc = io_loop_create(LOOP_ENTRIES, &channel->loop);

	channel->may_spin = sysconf(_SC_NPROCESSORS_ONLN) > 1;
	channel->open_status = rc;
	controller_mail_post(&channel->controller->mailbox, &channel->opened_mail);
	if (rc < 0)
		return NULL;
	while (!channel->ended)
		channel_round(channel);
	if (channel->kick_armed)
		io_loop_poll_cancel(channel->loop, &channel->kick_op);
	while (channel->kick_armed)
		io_loop_run(channel->loop, -1);
	return NULL;
}
