/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Shared by the parts of a partition: making and ending it (partition.c), what its VPs cause
 * (partition_events.c), and its state (partition_state.c).
 */
#ifndef LUNAR_HYPERVISOR_PARTITION_INTERNAL_H
#define LUNAR_HYPERVISOR_PARTITION_INTERNAL_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "hypervisor/engine.h"
#include "hypervisor/message_inbox.h"
#include "hypervisor/partition.h"
#include "hypervisor/platform.h"
#include "vmbus/event_signal.h"
#include "vmbus/server.h"

enum partition_phase {
	PARTITION_RUNS, /* or is about to be started */
	PARTITION_PAUSING,
	PARTITION_PAUSED,
	PARTITION_DEPARTED, /* paused for ever */
	PARTITION_INCOMING,
	PARTITION_RESTORING,
	PARTITION_RESTORED,
	PARTITION_BROKEN, /* not restored: may only be destroyed */
};

/* The pause or restore under way (partition_state.c). */
struct partition_change {
	partition_done_fn done; /* NULL: there is none */
	void *ctx;
	int status;	       /* the first failure */
	struct vm_error error; /* of status */
	uint32_t pending;      /* NICs, and the storage, that are not done yet */
	bool nics_begun;
	struct event_timer *deadline;
	struct event_timer *step; /* looks again, or tells the end */
};

struct partition {
	struct partition_config config;
	struct guest_memory *memory;
	struct engine_boot boot;
	struct signal_table signals;
	bool signals_made;
	struct synic *synic;
	struct engine_partition *engine;
	struct platform platform;
	bool platform_made;
	struct vmbus_server *server;
	struct vsp_client *nics[VM_MAX_NICS];
	struct vm_ic *ic;
	struct channel_nudge *nudge;
	struct message_inbox inbox;
	int wake;
	struct event_watch *wake_watch;
	struct event_timer *retry; /* inbox put off: see OUTBOUND_LIMIT */
	enum partition_phase phase;
	struct partition_change change;

	pthread_mutex_t lock; /* guards all below */
	bool end_set;
	enum partition_end end;
	char end_text[VM_MESSAGE_BYTES];
};

/* ---- partition_events.c ---- */

extern const struct engine_events partition_engine_events;
extern const struct vmbus_server_ops partition_bus_ops;

/* platform_power_fn */
void partition_on_power(void *ctx, enum platform_power what);
/* event_fd_fn of partition.wake */
void partition_on_wake(void *ctx, int fd, uint32_t events);
/* The loop takes messages, and the guest's end, soon. Any thread. */
void partition_wake(struct partition *partition);
/* Takes all messages in, whatever waits for the guest: it is paused and posts no more. */
void partition_inbox_drain(struct partition *partition);
/* Whether the guest has come to an end that nobody was told of yet. */
bool partition_has_ended(struct partition *partition);

/* ---- partition_state.c ---- */

/* Ends a pause or restore that is under way: done is called with -ECANCELED. */
void partition_change_cancel(struct partition *partition);

#endif
