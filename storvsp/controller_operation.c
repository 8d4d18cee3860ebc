/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Operations that wait until the commands under way have ended: the removal of a unit, a change of
 * medium, a reset of the bus, a pause. Each channel is asked, and the operation is finished when
 * the last one has answered. Commands that come later are not waited for, so that a guest that goes
 * on cannot hold an operation up.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/event_loop.h"
#include "storvsp/controller_internal.h"

static struct controller_operation *operation_of_mail(struct controller_mail *mail)
{
	return (struct controller_operation *)((uint8_t *)mail -
					       offsetof(struct controller_operation, mail));
}

struct controller_operation *controller_operation_new(struct storvsp_controller *controller,
						      uint32_t lun)
{
	struct controller_operation *made = calloc(1, sizeof(*made));

	if (!made)
		return NULL;
	made->controller = controller;
	made->lun = lun;
	return made;
}

static void operation_step(struct controller_operation *operation)
{
	if (--operation->waits_for > 0)
		return;
	LIST_REMOVE(operation, link);
	operation->finished(operation);
	free(operation);
}

static void on_flushed(struct controller_mail *mail)
{
	struct channel_flush *flush =
		(struct channel_flush *)((uint8_t *)mail - offsetof(struct channel_flush, mail));

	operation_step(flush->ctx);
}

static void on_started(struct controller_mail *mail)
{
	operation_step(operation_of_mail(mail));
}

void controller_operation_start(struct controller_operation *operation, enum flush_scope scope)
{
	struct storvsp_controller *controller = operation->controller;

	LIST_INSERT_HEAD(&controller->operations, operation, link);
	operation->waits_for = 1;
	for (uint32_t i = 0; i < CONTROLLER_MAX_CHANNELS; i++) {
		struct storvsp_channel *channel = controller->channels[i];
		struct channel_flush *flush = &operation->flushes[i];

		if (!channel || !channel_is_started(channel))
			continue;
		flush->mail.fn = on_flushed;
		flush->scope = scope;
		flush->lun = operation->lun;
		flush->ctx = operation;
		operation->waits_for++;
		channel_flush(channel, flush);
	}
	operation->mail.fn = on_started;
	controller_mail_post(&controller->mailbox, &operation->mail);
}

/* ---- units ---- */

static uint64_t lun_bit(uint32_t lun)
{
	return UINT64_C(1) << lun;
}

static void remove_finished(struct controller_operation *operation)
{
	struct storvsp_controller *controller = operation->controller;

	controller->leaving &= ~lun_bit(operation->lun);
	if (!controller->destroying && operation->unit_fn)
		operation->unit_fn(operation->ctx, operation->lun);
}

int storvsp_controller_remove_unit(struct storvsp_controller *controller, uint32_t lun,
				   void (*done)(void *ctx, uint32_t lun), void *ctx)
{
	struct controller_operation *operation;

	if (lun >= STORVSP_MAX_LUNS || !atomic_load(&controller->units[lun]))
		return -ENOENT;
	operation = controller_operation_new(controller, lun);
	if (!operation)
		return -ENOMEM;
	operation->finished = remove_finished;
	operation->unit_fn = done;
	operation->ctx = ctx;
	controller->leaving |= lun_bit(lun);
	/* A worker that is asked to flush has seen this. */
	atomic_store_explicit(&controller->units[lun], NULL, memory_order_release);
	controller_operation_start(operation, FLUSH_UNIT);
	controller_enumerate(controller);
	return 0;
}

void storvsp_controller_keep_quiet(struct storvsp_controller *controller, uint32_t lun)
{
	controller->kept |= lun_bit(lun);
}

void storvsp_controller_go_on(struct storvsp_controller *controller, uint32_t lun)
{
	controller->kept &= ~lun_bit(lun);
	atomic_fetch_and_explicit(&controller->held, ~lun_bit(lun), memory_order_release);
	controller_wake_all(controller);
}

static void quiesce_finished(struct controller_operation *operation)
{
	struct storvsp_controller *controller = operation->controller;

	if (!controller->destroying)
		operation->unit_fn(operation->ctx, operation->lun);
	if (!(controller->kept & lun_bit(operation->lun)))
		storvsp_controller_go_on(controller, operation->lun);
}

int storvsp_controller_quiesce_unit(struct storvsp_controller *controller, uint32_t lun,
				    void (*fn)(void *ctx, uint32_t lun), void *ctx)
{
	struct controller_operation *operation;

	if (lun >= STORVSP_MAX_LUNS || !atomic_load(&controller->units[lun]))
		return -ENOENT;
	if (atomic_load(&controller->held) & lun_bit(lun))
		return -EBUSY;
	operation = controller_operation_new(controller, lun);
	if (!operation)
		return -ENOMEM;
	operation->finished = quiesce_finished;
	operation->unit_fn = fn;
	operation->ctx = ctx;
	atomic_fetch_or_explicit(&controller->held, lun_bit(lun), memory_order_release);
	controller_operation_start(operation, FLUSH_UNIT);
	return 0;
}

/* ---- pause ---- */

static void pause_told(struct controller_operation *operation, int status)
{
	void (*fn)(void *ctx, int status) = operation->pause_fn;

	operation->pause_fn = NULL;
	if (fn && !operation->controller->destroying)
		fn(operation->ctx, status);
}

static void pause_finished(struct controller_operation *operation)
{
	event_timer_cancel(operation->timer);
	operation->timer = NULL;
	pause_told(operation, 0);
}

/* The operation goes on waiting, for nobody. */
static void on_pause_late(void *ctx)
{
	struct controller_operation *operation = ctx;

	operation->timer = NULL;
	controller_set_paused(operation->controller, false);
	pause_told(operation, -ETIMEDOUT);
}

/* A pause that waits still is given up by a resume. */
static void pauses_forget(struct storvsp_controller *controller)
{
	struct controller_operation *operation;

	LIST_FOREACH(operation, &controller->operations, link)
	{
		event_timer_cancel(operation->timer);
		operation->timer = NULL;
		operation->pause_fn = NULL;
	}
}

void storvsp_controller_pause(struct storvsp_controller *controller, uint32_t deadline_ms,
			      void (*done)(void *ctx, int status), void *ctx)
{
	struct controller_operation *operation =
		controller_operation_new(controller, CONTROLLER_ALL_LUNS);
	int rc;

	if (!operation) {
		done(ctx, -ENOMEM);
		return;
	}
	operation->finished = pause_finished;
	operation->pause_fn = done;
	operation->ctx = ctx;
	rc = event_loop_after_ms(controller->bus.loop, deadline_ms, on_pause_late, operation,
				 &operation->timer);
	if (rc < 0) {
		free(operation);
		done(ctx, rc);
		return;
	}
	controller_set_paused(controller, true);
	controller_operation_start(operation, FLUSH_REQUESTS);
}

void storvsp_controller_resume(struct storvsp_controller *controller)
{
	pauses_forget(controller);
	controller_set_paused(controller, false);
	for (uint32_t i = 0; i < CONTROLLER_MAX_CHANNELS; i++) {
		if (controller->channels[i] && channel_is_started(controller->channels[i]))
			channel_nudge(controller->channels[i]);
	}
}
