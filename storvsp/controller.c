/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * See controller.h. The VMBus device, the VSTOR session and the table of units, all on the event
 * loop's thread; the channels' workers do the rest.
 */
#include "storvsp/controller.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/deadline.h"
#include "base/log.h"
#include "storvsp/controller_internal.h"
#include "vmbus/gpadl.h"
#include "wire/vmbus.h"

#define LOG_COMPONENT "storvsp"

#define DESTROY_PATIENCE_MS 10000 /* between two lines of complaint */

static_assert(CONTROLLER_MAX_CHANNELS <= 32, "a controller's channels");

/* ---- what the workers look at ---- */

void controller_wake_all(struct storvsp_controller *controller)
{
	for (uint32_t i = 0; i < CONTROLLER_MAX_CHANNELS; i++) {
		if (controller->channels[i] && channel_is_started(controller->channels[i]))
			channel_wake(controller->channels[i]);
	}
}

void controller_set_paused(struct storvsp_controller *controller, bool paused)
{
	atomic_store_explicit(&controller->paused, paused, memory_order_release);
	if (!paused)
		controller_wake_all(controller);
}

/*
 * Linux's driver has no place for the notice before it begins to scan: it would crash. So it is
 * kept until the first SRB.
 */
void controller_enumerate(struct storvsp_controller *controller)
{
	struct storvsp_channel *primary = controller->channels[0];

	if (controller->session.state != VSTOR_READY || !controller->scanning || !primary ||
	    !channel_is_open(primary)) {
		controller->rescan_wanted = true;
		return;
	}
	controller->rescan_wanted = false;
	channel_enumerate(primary);
}

void controller_first_srb(struct storvsp_controller *controller)
{
	controller->scanning = true;
	if (controller->rescan_wanted)
		controller_enumerate(controller);
}

/* ---- control packets ---- */

static void reset_unit(struct storvsp_controller *controller, uint32_t lun)
{
	struct scsi_unit *unit = atomic_load(&controller->units[lun]);

	if (unit)
		controller->unit_ops->reset(unit);
}

static void reset_finished(struct controller_operation *operation)
{
	struct storvsp_controller *controller = operation->controller;

	if (operation->lun < STORVSP_MAX_LUNS)
		reset_unit(controller, operation->lun);
	for (uint32_t i = 0; operation->lun == CONTROLLER_ALL_LUNS && i < STORVSP_MAX_LUNS; i++)
		reset_unit(controller, i);
	channel_answer(operation->reset);
}

/* Commands are waited for, not given up: what has been written must not be in doubt. */
static void reset_begin(struct storvsp_request *request, uint32_t lun)
{
	struct storvsp_controller *controller = channel_controller(request->channel);
	struct controller_operation *operation = controller_operation_new(controller, lun);

	if (!operation) {
		request->packet.header.status = VSTOR_STATUS_UNSUCCESSFUL;
		channel_answer(request);
		return;
	}
	controller->resets++;
	operation->finished = reset_finished;
	operation->reset = request;
	controller_operation_start(operation, FLUSH_COMMANDS);
}

static void sub_channels_offer(struct storvsp_request *request, uint32_t count)
{
	struct storvsp_controller *controller = channel_controller(request->channel);
	int rc = vmbus_device_offer_sub_channels(controller->device, count);

	if (rc < 0) {
		log_warn_limited("%u sub-channels: %s", count, strerror(-rc));
		request->packet.header.status = VSTOR_STATUS_UNSUCCESSFUL;
	}
	channel_answer(request);
}

void controller_control(struct storvsp_request *request)
{
	struct storvsp_controller *controller = channel_controller(request->channel);
	const struct vstor_packet packet = request->packet;
	const size_t length =
		request->packet_bytes < sizeof(packet) ? request->packet_bytes : sizeof(packet);
	uint32_t argument;

	switch (vstor_session_message(&controller->session, &packet, length,
				      channel_sub_index(request->channel) == 0, &request->packet,
				      &argument)) {
	case VSTOR_OFFER_SUB_CHANNELS:
		if (!controller->destroying) {
			sub_channels_offer(request, argument);
			return;
		}
		break;
	case VSTOR_FLUSH_AND_RESET_ALL:
		reset_begin(request, CONTROLLER_ALL_LUNS);
		return;
	case VSTOR_FLUSH_AND_RESET_UNIT:
		reset_begin(request, argument);
		return;
	case VSTOR_ANSWER:
		break;
	}
	atomic_store_explicit(&controller->ready, controller->session.state == VSTOR_READY,
			      memory_order_release);
	channel_answer(request);
}

/* ---- channels ---- */

/* A guest's driver begins anew. */
static void session_begin(struct storvsp_controller *controller)
{
	vstor_session_reset(&controller->session, (uint16_t)controller->max_sub_channels);
	atomic_store_explicit(&controller->ready, false, memory_order_release);
	atomic_store_explicit(&controller->first_srb, false, memory_order_relaxed);
	controller->scanning = false;
	controller->rescan_wanted = false;
}

static void on_channel_open(void *ctx, const struct vmbus_open_request *request)
{
	struct storvsp_controller *controller = ctx;
	const uint32_t index = request->sub_index;
	int rc;

	if (index == 0 && !request->restored)
		session_begin(controller);
	rc = channel_create(controller, request, &controller->channels[index]);
	if (rc < 0) {
		log_warn_limited("channel %u: open failed: %s", index, strerror(-rc));
		vmbus_server_open_done(controller->device, index, rc);
	}
}

void controller_channel_opened(struct storvsp_channel *channel, int status)
{
	struct storvsp_controller *controller = channel_controller(channel);
	const uint32_t index = channel_sub_index(channel);

	if (status < 0) {
		log_warn_limited("channel %u: I/O loop: %s", index, strerror(-status));
		controller->channels[index] = NULL;
		channel_destroy(channel);
	} else if (controller->destroying) {
		channel_start(channel);
		channel_stop(channel);
		return;
	} else {
		channel_start(channel);
	}
	if (!controller->destroying)
		vmbus_server_open_done(controller->device, index, status);
	if (status == 0 && index == 0 && controller->rescan_wanted)
		controller_enumerate(controller);
}

static void on_channel_close(void *ctx, uint32_t sub_index)
{
	struct storvsp_controller *controller = ctx;

	channel_stop(controller->channels[sub_index]);
}

void controller_channel_drained(struct storvsp_channel *channel)
{
	struct storvsp_controller *controller = channel_controller(channel);
	const uint32_t index = channel_sub_index(channel);

	controller->channels[index] = NULL;
	channel_destroy(channel);
	if (controller->destroying)
		return;
	if (index == 0)
		session_begin(controller);
	vmbus_server_close_done(controller->device, index);
}

static void on_channel_modify(void *ctx, uint32_t sub_index, uint32_t target_vp)
{
	struct storvsp_controller *controller = ctx;

	vmbus_server_modify_done(controller->device, sub_index,
				 channel_aim(controller->channels[sub_index], target_vp));
}

/* The rings' GPADLs are looked at when a channel opens; there are no others. */
static void on_gpadl_created(void *ctx, uint32_t sub_index, const struct gpadl *gpadl)
{
	struct storvsp_controller *controller = ctx;

	vmbus_server_gpadl_done(controller->device, sub_index, gpadl->id, 0);
}

static void on_gpadl_teardown(void *ctx, uint32_t sub_index, uint32_t gpadl_id)
{
	struct storvsp_controller *controller = ctx;

	vmbus_server_gpadl_teardown_done(controller->device, sub_index, gpadl_id);
}

static const struct vmbus_device_ops device_ops = {
	.gpadl_created = on_gpadl_created,
	.gpadl_teardown = on_gpadl_teardown,
	.channel_open = on_channel_open,
	.channel_close = on_channel_close,
	.channel_modify = on_channel_modify,
};

/* ---- the controller ---- */

static const struct controller_unit_ops unit_ops = {
	.execute = scsi_unit_execute,
	.reset = scsi_unit_reset,
};

int storvsp_controller_create(const struct device_bus *bus,
			      const struct storvsp_controller_config *config,
			      struct storvsp_controller **controller)
{
	const struct vmbus_offer offer = {
		.interface_type.bytes = VMBUS_INTERFACE_SCSI,
		.interface_id = config->instance_id,
		.channel_flags = VMBUS_OFFER_ENUMERATE_DEVICE,
		.max_sub_channels = config->max_sub_channels,
	};
	struct storvsp_controller *made;
	int rc;

	if (config->max_sub_channels > STORVSP_MAX_SUB_CHANNELS)
		return -EINVAL;
	made = calloc(1, sizeof(*made));
	if (!made)
		return -ENOMEM;
	made->bus = *bus;
	made->unit_ops = &unit_ops;
	made->max_sub_channels = config->max_sub_channels;
	LIST_INIT(&made->operations);
	session_begin(made);
	rc = controller_mailbox_init(&made->mailbox, bus->loop);
	if (rc < 0)
		goto err_free;
	rc = vmbus_server_add_device(bus->server, &offer, &device_ops, made, &made->device);
	if (rc < 0)
		goto err_mailbox;
	*controller = made;
	return 0;

err_mailbox:
	controller_mailbox_fini(&made->mailbox);
err_free:
	free(made);
	return rc;
}

static bool controller_is_idle(const struct storvsp_controller *controller)
{
	for (uint32_t i = 0; i < CONTROLLER_MAX_CHANNELS; i++) {
		if (controller->channels[i])
			return false;
	}
	return LIST_EMPTY(&controller->operations);
}

int storvsp_controller_drain(struct storvsp_controller *controller, uint32_t deadline_ms)
{
	struct deadline deadline = deadline_in_ms(deadline_ms);

	controller->destroying = true;
	for (uint32_t i = 0; i < CONTROLLER_MAX_CHANNELS; i++) {
		if (controller->channels[i] && channel_is_open(controller->channels[i]))
			channel_stop(controller->channels[i]);
	}
	while (!controller_is_idle(controller)) {
		int left_ms = deadline_left_ms(deadline);

		controller_mailbox_run(&controller->mailbox, left_ms);
		if (left_ms == 0 && !controller_is_idle(controller))
			return -ETIMEDOUT;
	}
	return 0;
}

void storvsp_controller_destroy(struct storvsp_controller *controller)
{
	if (!controller)
		return;
	/* A disk that hangs keeps us: its I/O may still write into guest memory. */
	while (storvsp_controller_drain(controller, DESTROY_PATIENCE_MS))
		log_warn("a controller's end waits for a disk that does not answer");
	controller_mailbox_fini(&controller->mailbox);
	free(controller);
}

int storvsp_controller_add_unit(struct storvsp_controller *controller, uint32_t lun,
				struct scsi_unit *unit)
{
	if (lun >= STORVSP_MAX_LUNS || !unit)
		return -EINVAL;
	if (atomic_load(&controller->units[lun]) || controller->leaving & UINT64_C(1) << lun)
		return -EEXIST;
	memset(&controller->counters[lun], 0, sizeof(controller->counters[lun]));
	atomic_store_explicit(&controller->units[lun], unit, memory_order_release);
	controller_enumerate(controller);
	return 0;
}

void storvsp_controller_rescan(struct storvsp_controller *controller)
{
	controller_enumerate(controller);
}

/* ---- figures ---- */

void storvsp_controller_get_status(const struct storvsp_controller *controller,
				   struct storvsp_status *status)
{
	*status = (struct storvsp_status){
		.version = controller->session.version,
		.resets = controller->resets,
	};
	for (uint32_t i = 0; i < CONTROLLER_MAX_CHANNELS; i++) {
		if (controller->channels[i] && channel_is_open(controller->channels[i]))
			status->channels_open++;
	}
}

int storvsp_controller_get_stats(const struct storvsp_controller *controller, uint32_t lun,
				 struct storvsp_unit_stats *stats)
{
	const struct unit_counters *counters;

	if (lun >= STORVSP_MAX_LUNS || !atomic_load(&controller->units[lun]))
		return -ENOENT;
	counters = &controller->counters[lun];
	*stats = (struct storvsp_unit_stats){
		.reads = atomic_load_explicit(&counters->reads, memory_order_relaxed),
		.writes = atomic_load_explicit(&counters->writes, memory_order_relaxed),
		.others = atomic_load_explicit(&counters->others, memory_order_relaxed),
		.errors = atomic_load_explicit(&counters->errors, memory_order_relaxed),
		.read_bytes = atomic_load_explicit(&counters->read_bytes, memory_order_relaxed),
		.written_bytes =
			atomic_load_explicit(&counters->written_bytes, memory_order_relaxed),
		.in_flight = atomic_load_explicit(&counters->in_flight, memory_order_relaxed),
	};
	return 0;
}
