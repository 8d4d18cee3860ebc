/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * See vm_ic.h.
 */
#include "hypervisor/vm_ic.h"

#include <errno.h>
#include <stdlib.h>

#include "hypervisor/engine_bus.h"
#include "hypervisor/vm.h"
#include "ic/heartbeat.h"
#include "ic/ic_channel.h"
#include "ic/shutdown.h"

#define STATE_VERSION 1 /* a section of each component */

struct vm_ic {
	struct vm_ic_config config;
	struct engine_bus engine_bus;
	struct ic_shutdown *shutdown;
	struct ic_heartbeat *heartbeat;
};

static void on_shutdown_answered(void *ctx, bool accepted)
{
	struct vm_ic *ic = ctx;

	if (!accepted)
		ic->config.refused(ic->config.ctx);
}

int vm_ic_create(const struct vm_ic_config *config, struct vm_ic **ic)
{
	struct vm_ic *made = calloc(1, sizeof(*made));
	const struct device_bus bus = {
		.server = config->server,
		.memory = config->memory,
		.signals = config->signals,
		.loop = config->loop,
		.ops = &engine_bus_ops,
		.ctx = made ? &made->engine_bus : NULL,
	};
	int rc;

	if (!made)
		return -ENOMEM;
	made->config = *config;
	made->engine_bus =
		(struct engine_bus){.engine = config->engine, .partition = config->partition};
	rc = ic_shutdown_create(&bus, on_shutdown_answered, made, &made->shutdown);
	if (rc == 0)
		rc = ic_heartbeat_create(&bus, IC_HEARTBEAT_PERIOD_MS, &made->heartbeat);
	if (rc < 0) {
		vm_ic_destroy(made);
		return rc;
	}
	*ic = made;
	return 0;
}

void vm_ic_destroy(struct vm_ic *ic)
{
	if (!ic)
		return;
	ic_heartbeat_destroy(ic->heartbeat);
	ic_shutdown_destroy(ic->shutdown);
	free(ic);
}

int vm_ic_request_power_off(struct vm_ic *ic, uint32_t timeout_seconds)
{
	return ic_shutdown_request(ic->shutdown, IC_POWER_OFF, timeout_seconds);
}

void vm_ic_get_status(const struct vm_ic *ic, struct vm_status *status)
{
	struct ic_heartbeat_state heartbeat;

	ic_heartbeat_get(ic->heartbeat, &heartbeat);
	status->heartbeat = ic_heartbeat_health_name(heartbeat.health);
	status->shutdown_ready = ic_shutdown_is_ready(ic->shutdown);
}

/* ---- saved state ---- */

void vm_ic_pause(struct vm_ic *ic)
{
	ic_shutdown_pause(ic->shutdown);
	ic_heartbeat_pause(ic->heartbeat);
}

void vm_ic_resume(struct vm_ic *ic)
{
	ic_shutdown_resume(ic->shutdown);
	ic_heartbeat_resume(ic->heartbeat);
}

int vm_ic_save(const struct vm_ic *ic, struct state_writer *writer)
{
	state_begin(writer, VM_IC_STATE_TAG, STATE_VERSION, STATE_VERSION);
	ic_shutdown_save(ic->shutdown, writer);
	ic_heartbeat_save(ic->heartbeat, writer);
	state_end(writer);
	return writer->error;
}

static int part_restore(struct vm_ic *ic, struct state_reader *part)
{
	switch (part->tag) {
	case IC_SHUTDOWN_STATE_TAG:
		return ic_shutdown_restore(ic->shutdown, part);
	case IC_HEARTBEAT_STATE_TAG:
		return ic_heartbeat_restore(ic->heartbeat, part);
	default:
		return state_check_skippable(part);
	}
}

/* A component that has no section is one that the guest had not: the bus then has it closed. */
int vm_ic_restore(struct vm_ic *ic, struct state_reader *section)
{
	struct state_reader part;
	int rc = state_check_version(section, STATE_VERSION);

	vm_ic_pause(ic);
	while (rc == 0) {
		rc = state_next(section, &part);
		if (rc == 0)
			return 0;
		if (rc > 0)
			rc = part_restore(ic, &part);
	}
	return rc;
}
