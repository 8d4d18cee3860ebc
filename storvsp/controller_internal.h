/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the files of a controller share: the controller itself, the view of it that its workers
 * have, and the operations that wait for commands under way.
 *
 * Who may touch what: the event loop's thread owns the controller; workers read the atomics and
 * post mails. A channel's requests are its worker's, but for a control request between its mail
 * and its answer.
 */
#ifndef LUNAR_STORVSP_CONTROLLER_INTERNAL_H
#define LUNAR_STORVSP_CONTROLLER_INTERNAL_H

#include <stdatomic.h>
#include <sys/queue.h>

#include "storvsp/channel.h"
#include "storvsp/controller.h"
#include "storvsp/controller_mail.h"
#include "storvsp/vstor.h"

#define CONTROLLER_MAX_CHANNELS (STORVSP_MAX_SUB_CHANNELS + 1)
#define CONTROLLER_ALL_LUNS	UINT32_MAX

/* Added to by every worker. */
struct unit_counters {
	_Atomic uint64_t reads, writes, others, errors;
	_Atomic uint64_t read_bytes, written_bytes;
	_Atomic uint32_t in_flight;
};

/* What a controller needs of its units: scsi.h's calls, or a test's. */
struct controller_unit_ops {
	void (*execute)(struct scsi_unit *unit, struct scsi_command *command);
	void (*reset)(struct scsi_unit *unit);
};

struct storvsp_controller {
	struct device_bus bus;
	const struct controller_unit_ops *unit_ops;
	struct vmbus_device *device;
	uint32_t max_sub_channels;

	/* For the workers. */
	_Atomic(struct scsi_unit *) units[STORVSP_MAX_LUNS];
	_Atomic uint64_t held;	/* a bit for each LUN whose commands wait */
	_Atomic bool ready;	/* SRBs are taken */
	_Atomic bool paused;	/* packets are not */
	_Atomic bool first_srb; /* one was taken in this session */
	struct unit_counters counters[STORVSP_MAX_LUNS];
	struct controller_mailbox mailbox;

	/* The event loop's thread alone. */
	struct vstor_session session;
	struct storvsp_channel *channels[CONTROLLER_MAX_CHANNELS];
	LIST_HEAD(, controller_operation) operations;
	uint64_t leaving; /* a bit for each LUN that is being removed */
	uint64_t kept;	  /* likewise: that stays quiet */
	uint64_t resets;
	bool scanning;	    /* the guest's driver is far enough to be told of changes */
	bool rescan_wanted; /* it is to be told once it is */
	bool destroying;
};

/* ---- commands that the controller answers itself: controller_luns.c ---- */

/* REPORT LUNS, and all commands for units that are not there. Worker's thread. True where it has
 * ended the command (without calling done); else *unit is whom it is for. */
bool controller_answer(struct storvsp_controller *controller, const struct srb *srb,
		       const struct srb_data *data, struct scsi_command *command,
		       struct scsi_unit **unit);
/* The LUN where the SRB's address is one that a unit can have, else STORVSP_MAX_LUNS. */
uint32_t controller_lun_of(const struct srb *srb);

/* ---- what a channel tells: controller.c ---- */

void controller_channel_opened(struct storvsp_channel *channel, int status);
void controller_channel_drained(struct storvsp_channel *channel);
void controller_first_srb(struct storvsp_controller *controller);
/* A packet that is no SRB; answered by channel_answer(). */
void controller_control(struct storvsp_request *request);
/* Tells the guest to look at its units, now or as soon as it can be told. */
void controller_enumerate(struct storvsp_controller *controller);
void controller_wake_all(struct storvsp_controller *controller);
/* Packets are taken, or not, from now on. */
void controller_set_paused(struct storvsp_controller *controller, bool paused);

/* ---- operations: controller_operation.c ---- */

/* Waits for commands that are under way on any channel, then calls finished. */
struct controller_operation {
	LIST_ENTRY(controller_operation) link;
	struct storvsp_controller *controller;
	uint32_t lun; /* or CONTROLLER_ALL_LUNS */
	/* Frees nothing: the operation is freed after it. */
	void (*finished)(struct controller_operation *operation);
	struct storvsp_request *reset;		  /* to be answered, or NULL */
	void (*unit_fn)(void *ctx, uint32_t lun); /* the caller's, for a unit */
	void (*pause_fn)(void *ctx, int status);  /* the caller's, for a pause; NULL: given up */
	void *ctx;
	struct event_timer *timer;
	uint32_t waits_for; /* channels, and 1 while it starts */
	struct controller_mail mail;
	struct channel_flush flushes[CONTROLLER_MAX_CHANNELS];
};

/* Returns NULL without memory. */
struct controller_operation *controller_operation_new(struct storvsp_controller *controller,
						      uint32_t lun);
/* finished is called later, never from within. */
void controller_operation_start(struct controller_operation *operation, enum flush_scope scope);

#endif
