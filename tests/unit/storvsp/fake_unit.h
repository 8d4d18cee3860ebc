/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A SCSI unit whose every command a test controls, behind the controller's table of calls. It has a
 * memory of its own, answers READ(10), WRITE(10) and INQUIRY, and ends everything else with the
 * status that it was told. It ends commands from within, or from its loop, or when it is let go.
 */
#ifndef LUNAR_TESTS_STORVSP_FAKE_UNIT_H
#define LUNAR_TESTS_STORVSP_FAKE_UNIT_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "storvsp/controller_internal.h"
#include "storvsp/io_loop.h"
#include "storvsp/scsi.h"

#define FAKE_UNIT_BYTES	      (256u << 10)
#define FAKE_UNIT_BLOCK_BYTES 512u

enum fake_unit_manner {
	UNIT_AT_ONCE,
	UNIT_LATER, /* from the worker's loop */
	UNIT_HOLDS, /* until fake_unit_let_go() */
	UNIT_MIXED, /* now at once, now later */
};

struct fake_command {
	struct io_post post;
	struct scsi_unit *unit;
	struct scsi_command *command;
	struct fake_command *next;
};

struct scsi_unit {
	_Atomic enum fake_unit_manner manner;
	uint8_t status; /* of the next commands, with sense_bytes of sense */
	uint8_t sense_bytes;
	bool gone;
	_Atomic uint32_t executed;
	_Atomic uint32_t executing;
	_Atomic uint32_t most_executing;
	_Atomic uint32_t resets;
	pthread_mutex_t lock; /* guards held */
	struct fake_command *held;
	uint8_t bytes[FAKE_UNIT_BYTES];
};

static inline void fake_unit_init(struct scsi_unit *unit)
{
	memset(unit, 0, sizeof(*unit));
	pthread_mutex_init(&unit->lock, NULL);
}

static inline void fake_unit_move(struct scsi_unit *unit, struct scsi_command *command, bool in)
{
	uint64_t at = (uint64_t)get_be32(command->cdb + 2) * FAKE_UNIT_BLOCK_BYTES;

	for (uint32_t i = 0; i < command->iov_count; i++) {
		size_t run = command->iov[i].iov_len;

		if (at + run > FAKE_UNIT_BYTES)
			abort(); /* a test's own mistake */
		if (in)
			memcpy(unit->bytes + at, command->iov[i].iov_base, run);
		else
			memcpy(command->iov[i].iov_base, unit->bytes + at, run);
		at += run;
	}
	command->transferred = command->data_bytes;
}

static inline void fake_unit_end(struct scsi_unit *unit, struct scsi_command *command)
{
	command->status = unit->status;
	command->sense_bytes = unit->sense_bytes;
	for (uint8_t i = 0; i < unit->sense_bytes; i++)
		command->sense[i] = (uint8_t)(0x70 + i);
	command->gone = unit->gone;
	if (command->status == 0 && !command->gone) {
		switch (command->cdb[0]) {
		case 0x28:
			fake_unit_move(unit, command, false);
			break;
		case 0x2a:
			fake_unit_move(unit, command, true);
			break;
		case 0x12:
			memcpy(command->iov[0].iov_base, "\0\0\6\2\37", 5);
			command->transferred = 5;
			break;
		default:
			break;
		}
	}
	atomic_fetch_sub(&unit->executing, 1);
	command->done(command);
}

static inline void fake_unit_on_post(struct io_post *post)
{
	struct fake_command *fake = (struct fake_command *)post;
	struct scsi_unit *unit = fake->unit;
	struct scsi_command *command = fake->command;

	free(fake);
	fake_unit_end(unit, command);
}

static inline void fake_unit_let_go_locked(struct scsi_unit *unit)
{
	struct fake_command *fake = unit->held;

	unit->held = NULL;
	while (fake) {
		struct fake_command *next = fake->next;

		io_loop_post(fake->command->loop, &fake->post);
		fake = next;
	}
}

/* Any thread: every command that is held ends. */
static inline void fake_unit_let_go(struct scsi_unit *unit)
{
	pthread_mutex_lock(&unit->lock);
	fake_unit_let_go_locked(unit);
	pthread_mutex_unlock(&unit->lock);
}

/* The same, and none is held from now on. */
static inline void fake_unit_hold_no_more(struct scsi_unit *unit)
{
	pthread_mutex_lock(&unit->lock);
	atomic_store(&unit->manner, UNIT_LATER);
	fake_unit_let_go_locked(unit);
	pthread_mutex_unlock(&unit->lock);
}

static void fake_unit_execute(struct scsi_unit *unit, struct scsi_command *command)
{
	uint32_t count = atomic_fetch_add(&unit->executed, 1);
	uint32_t executing = atomic_fetch_add(&unit->executing, 1) + 1;
	enum fake_unit_manner manner = atomic_load(&unit->manner);
	struct fake_command *fake;

	if (executing > atomic_load(&unit->most_executing))
		atomic_store(&unit->most_executing, executing);
	if (manner == UNIT_MIXED)
		manner = count % 3 == 0 ? UNIT_AT_ONCE : UNIT_LATER;
	if (manner == UNIT_AT_ONCE) {
		fake_unit_end(unit, command);
		return;
	}
	fake = calloc(1, sizeof(*fake));
	if (!fake)
		abort();
	fake->post.fn = fake_unit_on_post;
	fake->unit = unit;
	fake->command = command;
	pthread_mutex_lock(&unit->lock);
	if (manner == UNIT_HOLDS && atomic_load(&unit->manner) == UNIT_HOLDS) {
		fake->next = unit->held;
		unit->held = fake;
	} else {
		io_loop_post(command->loop, &fake->post);
	}
	pthread_mutex_unlock(&unit->lock);
}

static void fake_unit_reset(struct scsi_unit *unit)
{
	atomic_fetch_add(&unit->resets, 1);
}

static const struct controller_unit_ops fake_unit_ops = {
	.execute = fake_unit_execute,
	.reset = fake_unit_reset,
};

/* A controller whose units are all fake ones. */
static inline int fake_controller_create(const struct device_bus *bus,
					 const struct storvsp_controller_config *config,
					 struct storvsp_controller **controller)
{
	int rc = storvsp_controller_create(bus, config, controller);

	if (rc == 0)
		(*controller)->unit_ops = &fake_unit_ops;
	return rc;
}

#endif
