/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the VPs of a partition cause, and its way from their threads to the event loop; and what the
 * VMBus server has for the guest.
 *
 * The VMBus server, the NICs and all else that keeps state belong to the loop's thread. A VP's
 * thread leaves a message or the guest's end in a place of its own under a lock, and wakes the loop
 * by an eventfd.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/event_loop.h"
#include "base/log.h"
#include "hypervisor/channel_nudge.h"
#include "hypervisor/partition_internal.h"
#include "hypervisor/synic.h"

#define LOG_COMPONENT "partition"

/* While this many messages wait for a guest that does not read them, its own are not looked at. */
#define OUTBOUND_LIMIT 4096
/* Then the loop's other work has its turn: several VPs can post as fast as one thread reads. */
#define MESSAGES_A_ROUND 64

void partition_wake(struct partition *partition)
{
	const uint64_t one = 1;

	if (write(partition->wake, &one, sizeof(one)) < 0)
		log_error_limited("cannot wake the event loop: %s", strerror(errno));
}

/* ---- from the VPs' threads ---- */

/* The first end counts: what a guest does after it is noise. */
static void end_set(struct partition *partition, enum partition_end end, const char *text)
{
	pthread_mutex_lock(&partition->lock);
	if (!partition->end_set) {
		partition->end_set = true;
		partition->end = end;
		strncpy(partition->end_text, text, sizeof(partition->end_text) - 1);
	}
	pthread_mutex_unlock(&partition->lock);
	partition_wake(partition);
}

static uint16_t on_post_message(void *ctx, uint32_t vp, uint32_t connection_id, const void *payload,
				size_t length)
{
	struct partition *partition = ctx;

	(void)vp;
	if (!vmbus_server_is_message_port(connection_id))
		return HV_STATUS_INVALID_CONNECTION_ID;
	if (message_inbox_put(&partition->inbox, connection_id, payload, length))
		return HV_STATUS_INSUFFICIENT_BUFFERS;
	partition_wake(partition);
	return HV_STATUS_SUCCESS;
}

static void on_synic_changed(void *ctx, uint32_t vp, const struct engine_synic *registers)
{
	struct partition *partition = ctx;

	synic_update(partition->synic, vp, registers);
}

static enum engine_port_result on_port_io(void *ctx, uint16_t port, bool write, uint8_t *data,
					  uint32_t size)
{
	struct partition *partition = ctx;

	return platform_port_io(&partition->platform, port, write, data, size);
}

static void on_exited(void *ctx, uint32_t vp, enum engine_exit_reason reason, const char *text)
{
	static const enum partition_end ends[] = {
		[ENGINE_EXIT_RESET] = PARTITION_RESET,
		[ENGINE_EXIT_FAULT] = PARTITION_FAULTED,
		[ENGINE_EXIT_CRASH] = PARTITION_CRASHED,
		[ENGINE_EXIT_FAILED] = PARTITION_FAILED,
	};

	(void)vp;
	end_set(ctx, ends[reason], text);
}

void partition_on_power(void *ctx, enum platform_power what)
{
	end_set(ctx, what == PLATFORM_POWER_OFF ? PARTITION_POWERED_OFF : PARTITION_RESET, "");
}

const struct engine_events partition_engine_events = {
	.post_message = on_post_message,
	.synic_changed = on_synic_changed,
	.port_io = on_port_io,
	.exited = on_exited,
};

/* ---- on the loop's thread ---- */

static void inbox_run(struct partition *partition);

static void message_handle(struct partition *partition, const struct inbox_message *message)
{
	if (vmbus_server_message(partition->server, message->connection_id, message->payload,
				 message->length))
		log_warn_limited("a message to unknown connection %u was dropped",
				 message->connection_id);
}

void partition_inbox_drain(struct partition *partition)
{
	struct inbox_message message;

	while (message_inbox_take(&partition->inbox, &message))
		message_handle(partition, &message);
}

bool partition_has_ended(struct partition *partition)
{
	bool ended;

	pthread_mutex_lock(&partition->lock);
	ended = partition->end_set;
	pthread_mutex_unlock(&partition->lock);
	return ended;
}

static void on_retry(void *ctx)
{
	struct partition *partition = ctx;

	partition->retry = NULL;
	inbox_run(partition);
}

static void inbox_run(struct partition *partition)
{
	enum { RETRY_MS = 10 };
	struct inbox_message message;

	if (partition->phase != PARTITION_RUNS)
		return; /* see partition_inbox_drain() */
	for (int i = 0; synic_queued(partition->synic) < OUTBOUND_LIMIT; i++) {
		if (i == MESSAGES_A_ROUND) {
			partition_wake(partition);
			return;
		}
		if (!message_inbox_take(&partition->inbox, &message))
			return;
		message_handle(partition, &message);
	}
	if (!partition->retry && event_loop_after_ms(partition->config.loop, RETRY_MS, on_retry,
						     partition, &partition->retry))
		end_set(partition, PARTITION_FAILED, "out of memory");
}

void partition_on_wake(void *ctx, int fd, uint32_t events)
{
	struct partition *partition = ctx;
	uint64_t count;

	(void)events;
	if (read(fd, &count, sizeof(count)) < 0)
		return;
	inbox_run(partition);
	/* while it is paused nothing ends; partition_resume() wakes us again */
	if ((partition->phase != PARTITION_RUNS && partition->phase != PARTITION_PAUSING) ||
	    !partition_has_ended(partition))
		return;

	char text[VM_MESSAGE_BYTES];

	/* nobody writes it any more; copied, for the callback may free it */
	memcpy(text, partition->end_text, sizeof(text));
	event_watch_remove(partition->wake_watch);
	partition->wake_watch = NULL;
	partition->config.ended(partition->config.ctx, partition->end, text);
}

static void post_to_guest(void *ctx, uint32_t vp, const void *message, size_t length)
{
	struct partition *partition = ctx;
	int result = synic_post_message(partition->synic, vp, message, length);

	if (result)
		log_error_limited("a message to VP %u was lost: %s", vp, strerror(-result));
}

static void on_channel_opened(void *ctx, uint32_t relid, uint32_t target_vp)
{
	struct partition *partition = ctx;

	channel_nudge_opened(partition->nudge, relid, target_vp);
}

const struct vmbus_server_ops partition_bus_ops = {
	.post_message = post_to_guest,
	.channel_opened = on_channel_opened,
};
