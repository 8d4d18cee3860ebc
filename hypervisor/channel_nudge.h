/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One more signal to the guest, a moment after each channel has opened: some guests drop the
 * interrupts that arrive before they have read OPEN_RESULT, and would then wait for ever for what
 * is in their ring already. A signal too many costs the guest one look at an empty ring. Loop's
 * thread only.
 */
#ifndef LUNAR_HYPERVISOR_CHANNEL_NUDGE_H
#define LUNAR_HYPERVISOR_CHANNEL_NUDGE_H

#include <stdint.h>

#include "base/state.h"

struct channel_nudge;
struct engine_ops;
struct engine_partition;
struct event_loop;
struct guest_memory;
struct signal_table;

#define CHANNEL_NUDGE_MS 100 /* at least so long after the opening, at most twice that */

/* The partition that it belongs to; everything outlives it. */
struct channel_nudge_config {
	struct event_loop *loop;
	struct guest_memory *memory;
	const struct signal_table *signals;
	const struct engine_ops *engine;
	struct engine_partition *partition;
};

/* Returns 0 or -ENOMEM. */
int channel_nudge_create(const struct channel_nudge_config *config, struct channel_nudge **nudge);
/* Takes NULL. */
void channel_nudge_destroy(struct channel_nudge *nudge);

/* The guest was just told that the channel is open; target_vp may be VMBUS_NO_INTERRUPTS. */
void channel_nudge_opened(struct channel_nudge *nudge, uint32_t relid, uint32_t target_vp);

/* ---- saved state ---- */

#define CHANNEL_NUDGE_STATE_TAG STATE_TAG('N', 'U', 'D', 'G')

/* Signals nobody until resume. */
void channel_nudge_pause(struct channel_nudge *nudge);
void channel_nudge_resume(struct channel_nudge *nudge);
/* One section: who is still to be signalled. Paused. */
int channel_nudge_save(const struct channel_nudge *nudge, struct state_writer *writer);
/* Of a new one; leaves it paused. Returns 0, -EPROTO or -EOPNOTSUPP. */
int channel_nudge_restore(struct channel_nudge *nudge, struct state_reader *section);

#endif
