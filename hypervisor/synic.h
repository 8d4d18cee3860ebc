/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The host's side of the SynIC's messages: a queue a VP in front of its one SINT2 slot in the SIMP
 * page, and the table of SIEFP pages for those who set event flags. A message waits while the slot
 * is taken; the guest then ends its message with EOM, which an eventfd tells. Source: TLFS 11.
 */
#ifndef LUNAR_HYPERVISOR_SYNIC_H
#define LUNAR_HYPERVISOR_SYNIC_H

#include <stddef.h>
#include <stdint.h>

#include "base/state.h"

struct engine_sint_fds;
struct engine_synic;
struct event_loop;
struct guest_memory;
struct signal_table;
struct synic;

/* All arguments outlive the SynIC. Returns 0 or -errno. */
int synic_create(struct guest_memory *memory, struct signal_table *signals, uint32_t vp_count,
		 struct event_loop *loop, struct synic **synic);
/* Takes NULL. No VP runs any more. */
void synic_destroy(struct synic *synic);

/* The VP's eventfds, before it runs; they stay the caller's. Returns 0 or -errno. */
int synic_set_fds(struct synic *synic, uint32_t vp, const struct engine_sint_fds *fds);

/*
 * The guest wrote a SynIC register: pages that it just enabled are zeroed (KVM_CAP_HYPERV_SYNIC2
 * leaves that to us: stale bytes would look like a message), and then made known. Messages still
 * queued for a SIMP that it disabled are dropped: they were for whoever ran there before.
 * VP's thread, while the VP waits.
 */
void synic_update(struct synic *synic, uint32_t vp, const struct engine_synic *registers);

/*
 * Queues a message of length bytes (at most 240) for the VP and delivers what can be delivered.
 * Loop's thread. Returns 0, -EINVAL or -ENOMEM.
 */
int synic_post_message(struct synic *synic, uint32_t vp, const void *message, size_t length);

/* Messages that wait, over all VPs. */
size_t synic_queued(struct synic *synic);

/* ---- saved state; loop's thread, while no VP runs ---- */

#define SYNIC_STATE_TAG STATE_TAG('S', 'Y', 'N', 'C')

/* From now on messages are only queued, and guest memory is left alone. */
void synic_pause(struct synic *synic);
/* Delivers what waits, and raises each VP's SINT2 once, for an interrupt that was under way when
 * the VPs stopped: a guest that finds nothing is not harmed. After engine_ops.restore(), since that
 * would undo it. */
void synic_resume(struct synic *synic);
/* Writes one section: registers and queued messages. Paused. */
int synic_save(struct synic *synic, struct state_writer *writer);
/* Of a SynIC that has done nothing yet; leaves it paused. Pages are not zeroed, and the signal
 * table is filled. Returns 0, -EPROTO, -EOPNOTSUPP or -ENOMEM. */
int synic_restore(struct synic *synic, struct state_reader *section);

#endif
