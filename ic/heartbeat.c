/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * See heartbeat.h. Source: Linux 6.1 drivers/hv/hv_util.c, heartbeat_onchannelcallback().
 */
#include "ic/heartbeat.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/deadline.h"
#include "base/event_loop.h"
#include "base/log.h"
#include "ic/ic_channel.h"

#define LOG_COMPONENT "ic"

#define STATE_VERSION 1 /* the channel's section; u64 sequence, u32 misses, u64 beats, u64 age */

struct ic_heartbeat {
	struct ic_channel *channel;
	struct event_loop *loop;
	struct event_timer *timer; /* the next beat; NULL while the service is closed */
	uint32_t period_ms;
	uint64_t sequence; /* of the last beat */
	uint32_t misses;   /* beats in a row without an answer */
	uint64_t beats;
	uint64_t answered_ns; /* 0: never */
};

static const struct ic_version heartbeat_versions[] = {{1, 0}, {3, 0}};

static void beat(void *ctx);

static void timer_set(struct ic_heartbeat *heartbeat)
{
	if (event_loop_after_ms(heartbeat->loop, heartbeat->period_ms, beat, heartbeat,
				&heartbeat->timer) < 0)
		log_error("heartbeat: out of memory, no more beats");
}

static void beat(void *ctx)
{
	struct ic_heartbeat *heartbeat = ctx;
	struct ic_heartbeat_body body = {0};

	heartbeat->timer = NULL;
	if (++heartbeat->misses == IC_HEARTBEAT_MISSES + 1)
		log_warn_limited("heartbeat: the guest does not answer");
	heartbeat->sequence += 2; /* so that no answer (ours plus one) looks like another beat's */
	body.sequence = heartbeat->sequence;
	/* A ring that is full is a guest that does not read: the miss stands. */
	if (ic_channel_request(heartbeat->channel, &body, sizeof(body)) == -EPROTO)
		return;
	timer_set(heartbeat);
}

static void on_ready(void *ctx)
{
	struct ic_heartbeat *heartbeat = ctx;

	heartbeat->misses = 0;
	heartbeat->beats = 0;
	heartbeat->answered_ns = 0;
	beat(heartbeat);
}

static void on_answered(void *ctx, uint32_t status, const uint8_t *body, size_t body_bytes)
{
	struct ic_heartbeat *heartbeat = ctx;

	(void)status;
	if (body_bytes < sizeof(uint64_t) || get_le64(body) != heartbeat->sequence + 1) {
		log_warn_limited("heartbeat: an answer to another beat");
		return;
	}
	heartbeat->misses = 0;
	heartbeat->beats++;
	heartbeat->answered_ns = monotonic_ns();
}

static void on_closed(void *ctx)
{
	struct ic_heartbeat *heartbeat = ctx;

	event_timer_cancel(heartbeat->timer);
	heartbeat->timer = NULL;
}

static const struct ic_service heartbeat_service = {
	.name = "heartbeat",
	.interface_type = {VMBUS_INTERFACE_HEARTBEAT},
	.interface_id = {IC_HEARTBEAT_INSTANCE},
	.message_type = IC_HEARTBEAT,
	.versions = heartbeat_versions,
	.version_count = ARRAY_LENGTH(heartbeat_versions),
	.ready = on_ready,
	.answered = on_answered,
	.closed = on_closed,
};

int ic_heartbeat_create(const struct device_bus *bus, uint32_t period_ms,
			struct ic_heartbeat **heartbeat)
{
	struct ic_heartbeat *made = calloc(1, sizeof(*made));
	int rc;

	if (!made)
		return -ENOMEM;
	made->loop = bus->loop;
	made->period_ms = period_ms;
	rc = ic_channel_create(bus, &heartbeat_service, made, &made->channel);
	if (rc < 0) {
		free(made);
		return rc;
	}
	*heartbeat = made;
	return 0;
}

void ic_heartbeat_destroy(struct ic_heartbeat *heartbeat)
{
	if (!heartbeat)
		return;
	event_timer_cancel(heartbeat->timer);
	ic_channel_destroy(heartbeat->channel);
	free(heartbeat);
}

static uint64_t answer_age_ms(const struct ic_heartbeat *heartbeat)
{
	if (heartbeat->answered_ns == 0)
		return UINT64_MAX;
	return (monotonic_ns() - heartbeat->answered_ns) / NS_PER_MS;
}

void ic_heartbeat_get(const struct ic_heartbeat *heartbeat, struct ic_heartbeat_state *state)
{
	if (!ic_channel_is_ready(heartbeat->channel))
		state->health = IC_HEARTBEAT_ABSENT;
	else
		state->health = heartbeat->misses > IC_HEARTBEAT_MISSES ? IC_HEARTBEAT_LOST
									: IC_HEARTBEAT_OK;
	state->beats = heartbeat->beats;
	state->last_answer_ms = answer_age_ms(heartbeat);
}

const char *ic_heartbeat_health_name(enum ic_heartbeat_health health)
{
	switch (health) {
	case IC_HEARTBEAT_OK:
		return "ok";
	case IC_HEARTBEAT_LOST:
		return "lost";
	default:
		return "absent";
	}
}

/* ---- saved state ---- */

void ic_heartbeat_pause(struct ic_heartbeat *heartbeat)
{
	ic_channel_pause(heartbeat->channel);
	event_timer_cancel(heartbeat->timer);
	heartbeat->timer = NULL;
}

void ic_heartbeat_resume(struct ic_heartbeat *heartbeat)
{
	ic_channel_resume(heartbeat->channel);
	if (ic_channel_is_ready(heartbeat->channel) && !heartbeat->timer)
		timer_set(heartbeat);
}

void ic_heartbeat_save(const struct ic_heartbeat *heartbeat, struct state_writer *writer)
{
	state_begin(writer, IC_HEARTBEAT_STATE_TAG, STATE_VERSION, STATE_VERSION);
	ic_channel_save(heartbeat->channel, writer);
	state_put_u64(writer, heartbeat->sequence);
	state_put_u32(writer, heartbeat->misses);
	state_put_u64(writer, heartbeat->beats);
	state_put_u64(writer, answer_age_ms(heartbeat));
	state_end(writer);
}

/* A host's clock starts when it boots: an answer may be older than that. */
static uint64_t answered_ns_of_age(uint64_t age_ms)
{
	uint64_t now_ns = monotonic_ns();

	if (age_ms == UINT64_MAX)
		return 0;
	return age_ms < now_ns / NS_PER_MS ? now_ns - age_ms * NS_PER_MS : 1;
}

int ic_heartbeat_restore(struct ic_heartbeat *heartbeat, struct state_reader *section)
{
	uint64_t age_ms;
	int rc = state_check_version(section, STATE_VERSION);

	if (rc == 0)
		rc = ic_channel_restore(heartbeat->channel, section);
	if (rc < 0)
		return rc;
	heartbeat->sequence = state_get_u64(section);
	heartbeat->misses = state_get_u32(section);
	heartbeat->beats = state_get_u64(section);
	age_ms = state_get_u64(section);
	heartbeat->answered_ns = answered_ns_of_age(age_ms);
	return section->error;
}
