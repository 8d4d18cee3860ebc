/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * See shutdown.h. Source: Linux 6.1 drivers/hv/hv_util.c, shutdown_onchannelcallback().
 */
#include "ic/shutdown.h"

#include <errno.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/log.h"
#include "ic/ic_channel.h"

#define LOG_COMPONENT "ic"

#define STATE_VERSION 1 /* the channel's section */

struct ic_shutdown {
	struct ic_channel *channel;
	ic_shutdown_fn answered;
	void *ctx;
};

static const struct ic_version shutdown_versions[] = {{1, 0}, {3, 0}, {3, 1}, {3, 2}};

static void on_ready(void *ctx)
{
	(void)ctx;
}

static void on_answered(void *ctx, uint32_t status, const uint8_t *body, size_t body_bytes)
{
	struct ic_shutdown *shutdown = ctx;

	(void)body;
	(void)body_bytes;
	log_info_limited("shutdown: the guest %s",
			 status == IC_STATUS_OK ? "goes down" : "refuses");
	if (shutdown->answered)
		shutdown->answered(shutdown->ctx, status == IC_STATUS_OK);
}

static void on_closed(void *ctx)
{
	(void)ctx;
}

static const struct ic_service shutdown_service = {
	.name = "shutdown",
	.interface_type = {VMBUS_INTERFACE_SHUTDOWN},
	.interface_id = {IC_SHUTDOWN_INSTANCE},
	.message_type = IC_SHUTDOWN,
	.versions = shutdown_versions,
	.version_count = ARRAY_LENGTH(shutdown_versions),
	.ready = on_ready,
	.answered = on_answered,
	.closed = on_closed,
};

int ic_shutdown_create(const struct device_bus *bus, ic_shutdown_fn answered, void *ctx,
		       struct ic_shutdown **shutdown)
{
	struct ic_shutdown *made = calloc(1, sizeof(*made));
	int rc;

	if (!made)
		return -ENOMEM;
	made->answered = answered;
	made->ctx = ctx;
	rc = ic_channel_create(bus, &shutdown_service, made, &made->channel);
	if (rc < 0) {
		free(made);
		return rc;
	}
	*shutdown = made;
	return 0;
}

void ic_shutdown_destroy(struct ic_shutdown *shutdown)
{
	if (!shutdown)
		return;
	ic_channel_destroy(shutdown->channel);
	free(shutdown);
}

bool ic_shutdown_is_ready(const struct ic_shutdown *shutdown)
{
	return ic_channel_is_ready(shutdown->channel);
}

int ic_shutdown_request(struct ic_shutdown *shutdown, enum ic_shutdown_kind kind,
			uint32_t timeout_seconds)
{
	struct ic_shutdown_body body = {
		.reason = IC_SHUTDOWN_REASON_PLANNED,
		.timeout_seconds = timeout_seconds,
		.flags = kind == IC_RESTART ? IC_SHUTDOWN_RESTART : 0,
	};

	return ic_channel_request(shutdown->channel, &body, sizeof(body));
}

void ic_shutdown_pause(struct ic_shutdown *shutdown)
{
	ic_channel_pause(shutdown->channel);
}

void ic_shutdown_resume(struct ic_shutdown *shutdown)
{
	ic_channel_resume(shutdown->channel);
}

void ic_shutdown_save(const struct ic_shutdown *shutdown, struct state_writer *writer)
{
	state_begin(writer, IC_SHUTDOWN_STATE_TAG, STATE_VERSION, STATE_VERSION);
	ic_channel_save(shutdown->channel, writer);
	state_end(writer);
}

int ic_shutdown_restore(struct ic_shutdown *shutdown, struct state_reader *section)
{
	int rc = state_check_version(section, STATE_VERSION);

	return rc < 0 ? rc : ic_channel_restore(shutdown->channel, section);
}
