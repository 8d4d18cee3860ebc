/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * See channel_nudge.h. One timer serves all channels, so that a guest which opens and closes
 * without end costs no more than one that opens once: who opens while the timer runs waits for its
 * next round.
 */
#include "hypervisor/channel_nudge.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/event_loop.h"
#include "base/log.h"
#include "hypervisor/engine.h"
#include "vmbus/event_signal.h"
#include "vmbus/server.h"

#define LOG_COMPONENT "partition"

#define STATE_VERSION 1 /* u32 count, then {u32 relid, u32 VP} each */

enum round {
	ROUND_NONE,
	ROUND_DUE,  /* when the timer fires */
	ROUND_NEXT, /* when it fires once more */
};

struct nudged_channel {
	enum round round;
	uint32_t vp;
};

struct channel_nudge {
	struct channel_nudge_config config;
	struct event_timer *timer;
	bool paused;
	struct nudged_channel channels[VMBUS_MAX_CHANNELS + 1]; /* by relid */
};

static void channel_signal(const struct channel_nudge *nudge, uint32_t relid, uint32_t vp)
{
	const struct channel_nudge_config *config = &nudge->config;
	struct event_signal signal = {
		.memory = config->memory,
		.table = config->signals,
		.vp = vp,
		.flag = relid,
	};
	struct engine_sint_fds fds;

	if (config->engine->get_sint_fds(config->partition, vp, &fds))
		return;
	signal.irqfd = fds.raise;
	event_signal_raise(&signal);
}

static void on_timer(void *ctx);

static void timer_set(struct channel_nudge *nudge)
{
	if (event_loop_after_ms(nudge->config.loop, CHANNEL_NUDGE_MS, on_timer, nudge,
				&nudge->timer))
		log_warn_limited("out of memory: a channel is not signalled once more");
}

static void on_timer(void *ctx)
{
	struct channel_nudge *nudge = ctx;
	bool more = false;

	nudge->timer = NULL;
	for (uint32_t relid = 1; relid <= VMBUS_MAX_CHANNELS; relid++) {
		struct nudged_channel *channel = &nudge->channels[relid];

		if (channel->round == ROUND_DUE) {
			channel->round = ROUND_NONE;
			channel_signal(nudge, relid, channel->vp);
		} else if (channel->round == ROUND_NEXT) {
			channel->round = ROUND_DUE;
			more = true;
		}
	}
	if (more)
		timer_set(nudge);
}

int channel_nudge_create(const struct channel_nudge_config *config, struct channel_nudge **nudge)
{
	struct channel_nudge *made = calloc(1, sizeof(*made));

	if (!made)
		return -ENOMEM;
	made->config = *config;
	*nudge = made;
	return 0;
}

void channel_nudge_destroy(struct channel_nudge *nudge)
{
	if (!nudge)
		return;
	event_timer_cancel(nudge->timer);
	free(nudge);
}

void channel_nudge_opened(struct channel_nudge *nudge, uint32_t relid, uint32_t target_vp)
{
	if (relid > VMBUS_MAX_CHANNELS || target_vp == VMBUS_NO_INTERRUPTS)
		return;
	nudge->channels[relid] = (struct nudged_channel){
		.round = nudge->timer ? ROUND_NEXT : ROUND_DUE,
		.vp = target_vp,
	};
	if (!nudge->timer && !nudge->paused)
		timer_set(nudge);
}

/* ---- saved state ---- */

void channel_nudge_pause(struct channel_nudge *nudge)
{
	nudge->paused = true;
	event_timer_cancel(nudge->timer);
	nudge->timer = NULL;
}

static uint32_t waiting_count(const struct channel_nudge *nudge)
{
	uint32_t count = 0;

	for (uint32_t relid = 1; relid <= VMBUS_MAX_CHANNELS; relid++)
		count += nudge->channels[relid].round != ROUND_NONE;
	return count;
}

void channel_nudge_resume(struct channel_nudge *nudge)
{
	nudge->paused = false;
	if (!nudge->timer && waiting_count(nudge) > 0)
		timer_set(nudge);
}

int channel_nudge_save(const struct channel_nudge *nudge, struct state_writer *writer)
{
	state_begin(writer, CHANNEL_NUDGE_STATE_TAG, STATE_VERSION, STATE_VERSION);
	state_put_u32(writer, waiting_count(nudge));
	for (uint32_t relid = 1; relid <= VMBUS_MAX_CHANNELS; relid++) {
		if (nudge->channels[relid].round == ROUND_NONE)
			continue;
		state_put_u32(writer, relid);
		state_put_u32(writer, nudge->channels[relid].vp);
	}
	state_end(writer);
	return writer->error;
}

int channel_nudge_restore(struct channel_nudge *nudge, struct state_reader *section)
{
	int result = state_check_version(section, STATE_VERSION);
	uint32_t count;

	channel_nudge_pause(nudge);
	if (result)
		return result;
	count = state_get_bounded(section, VMBUS_MAX_CHANNELS);
	for (uint32_t i = 0; i < count && !section->error; i++) {
		uint32_t relid = state_get_bounded(section, VMBUS_MAX_CHANNELS);
		uint32_t vp = state_get_u32(section);

		channel_nudge_opened(nudge, relid, vp);
	}
	return section->error;
}
