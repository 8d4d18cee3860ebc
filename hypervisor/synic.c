/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * SynIC message queues. See synic.h.
 */
#include "hypervisor/synic.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <unistd.h>

#include "base/event_loop.h"
#include "base/log.h"
#include "hypervisor/engine.h"
#include "vmbus/event_signal.h"
#include "vmbus/guest_memory.h"
#include "wire/tlfs.h"

#define LOG_COMPONENT "synic"

/*
 * Saved state: u32 VP count, then a section a VP, in order: u64 SCONTROL, SIMP, SIEFP, u32 count of
 * messages, a blob each. A guest is not listened to while a few thousand messages wait for it; a
 * message of a few bytes in the state takes some hundred here, so their number is bounded over all
 * VPs.
 */
#define STATE_VERSION	   1
#define STATE_VP	   STATE_TAG('S', 'Y', 'V', 'P')
#define STATE_MAX_MESSAGES 65536

struct synic_message {
	STAILQ_ENTRY(synic_message) link;
	size_t length;
	uint8_t payload[HV_MESSAGE_PAYLOAD_BYTES];
};

struct synic_vp {
	struct synic *synic;
	uint32_t index;
	struct engine_sint_fds fds;
	struct event_watch *eom_watch; /* loop's thread */

	pthread_mutex_t lock; /* guards all below */
	struct engine_synic registers;
	STAILQ_HEAD(, synic_message) queue;
	size_t queued;
};

struct synic {
	struct guest_memory *memory;
	struct signal_table *signals;
	struct event_loop *loop;
	bool paused; /* loop's thread */
	uint32_t vp_count;
	struct synic_vp vps[];
};

static void queue_drop(struct synic_vp *vp)
{
	struct synic_message *message;

	while ((message = STAILQ_FIRST(&vp->queue))) {
		STAILQ_REMOVE_HEAD(&vp->queue, link);
		free(message);
	}
	vp->queued = 0;
}

int synic_create(struct guest_memory *memory, struct signal_table *signals, uint32_t vp_count,
		 struct event_loop *loop, struct synic **synic)
{
	struct synic *made = calloc(1, sizeof(*made) + vp_count * sizeof(made->vps[0]));

	if (!made)
		return -ENOMEM;
	made->memory = memory;
	made->signals = signals;
	made->loop = loop;
	made->vp_count = vp_count;
	for (uint32_t i = 0; i < vp_count; i++) {
		struct synic_vp *vp = &made->vps[i];

		vp->synic = made;
		vp->index = i;
		vp->fds = (struct engine_sint_fds){-1, -1};
		STAILQ_INIT(&vp->queue);
		pthread_mutex_init(&vp->lock, NULL);
	}
	*synic = made;
	return 0;
}

void synic_destroy(struct synic *synic)
{
	if (!synic)
		return;
	for (uint32_t i = 0; i < synic->vp_count; i++) {
		event_watch_remove(synic->vps[i].eom_watch);
		queue_drop(&synic->vps[i]);
		pthread_mutex_destroy(&synic->vps[i].lock);
	}
	free(synic);
}

/* The slot in guest memory, or NULL while the SIMP is off or points outside. */
static struct hv_message_slot *slot_find(const struct synic_vp *vp)
{
	uint64_t gpa = (vp->registers.simp & HV_MSR_PAGE_GPA_MASK) +
		       HV_VMBUS_SINT * sizeof(struct hv_message_slot);

	if (!(vp->registers.scontrol & HV_SCONTROL_ENABLE) ||
	    !(vp->registers.simp & HV_MSR_PAGE_ENABLE))
		return NULL;
	return guest_memory_for_write(vp->synic->memory, gpa, sizeof(struct hv_message_slot));
}

/*
 * Whether the slot is free; otherwise the guest is asked for an EOM once it is. The guest clears
 * the type, then looks at the flag; we set the flag, then look at the type: one of the two sees the
 * other (the fence's partner is the guest's barrier between the two).
 */
static bool slot_claim(struct hv_message_slot *slot)
{
	_Atomic uint32_t *type = (_Atomic uint32_t *)&slot->message_type;
	_Atomic uint8_t *flags = (_Atomic uint8_t *)&slot->message_flags;

	if (atomic_load_explicit(type, memory_order_acquire) == HV_MESSAGE_NONE)
		return true;
	atomic_fetch_or_explicit(flags, HV_MESSAGE_FLAG_PENDING, memory_order_seq_cst);
	return atomic_load_explicit(type, memory_order_seq_cst) == HV_MESSAGE_NONE;
}

/* Puts the first message into the slot where it is free. Returns whether it did. Lock held. */
static bool queue_deliver(struct synic_vp *vp)
{
	const struct synic_message *message = STAILQ_FIRST(&vp->queue);
	struct hv_message_slot *slot = slot_find(vp);
	const uint64_t one = 1;

	if (!slot || !message || !slot_claim(slot))
		return false;
	memcpy(slot->payload, message->payload, message->length);
	slot->payload_size = (uint8_t)message->length;
	slot->message_flags = vp->queued > 1 ? HV_MESSAGE_FLAG_PENDING : 0;
	slot->reserved = 0;
	slot->sender = 0;
	/* release: the guest reads the type first and trusts the rest */
	atomic_store_explicit((_Atomic uint32_t *)&slot->message_type, HV_VMBUS_MESSAGE_TYPE,
			      memory_order_release);
	guest_memory_mark_dirty(vp->synic->memory, vp->registers.simp & HV_MSR_PAGE_GPA_MASK,
				GUEST_PAGE_SIZE);
	if (write(vp->fds.raise, &one, sizeof(one)) < 0)
		log_warn_limited("VP %u: interrupt not raised", vp->index);
	return true;
}

/* Delivers what fits, and listens for EOM as long as something waits: each EOI of SINT2 signals
 * that eventfd, and nobody should wake up for those. */
static void queue_run(struct synic_vp *vp)
{
	bool waits;

	if (vp->synic->paused)
		return;
	pthread_mutex_lock(&vp->lock);
	while (queue_deliver(vp)) {
		struct synic_message *message = STAILQ_FIRST(&vp->queue);

		STAILQ_REMOVE_HEAD(&vp->queue, link);
		vp->queued--;
		free(message);
	}
	waits = vp->queued > 0;
	pthread_mutex_unlock(&vp->lock);
	event_watch_modify(vp->eom_watch, waits ? EPOLLIN : 0);
}

static void eom_ready(void *ctx, int fd, uint32_t events)
{
	uint64_t count;

	(void)events;
	if (read(fd, &count, sizeof(count)) < 0)
		return;
	queue_run(ctx);
}

int synic_set_fds(struct synic *synic, uint32_t vp, const struct engine_sint_fds *fds)
{
	synic->vps[vp].fds = *fds;
	return event_loop_watch(synic->loop, fds->eom, 0, eom_ready, &synic->vps[vp],
				&synic->vps[vp].eom_watch);
}

/* Whether now points at a page that before did not. */
static bool page_enabled(uint64_t before, uint64_t now)
{
	return now & HV_MSR_PAGE_ENABLE &&
	       (!(before & HV_MSR_PAGE_ENABLE) || (before ^ now) & HV_MSR_PAGE_GPA_MASK);
}

static void page_zero(struct guest_memory *memory, uint64_t msr)
{
	static const uint8_t zeros[GUEST_PAGE_SIZE];

	if (guest_memory_write(memory, msr & HV_MSR_PAGE_GPA_MASK, zeros, sizeof(zeros)))
		log_warn_limited("the guest put a SynIC page outside its memory");
}

void synic_update(struct synic *synic, uint32_t index, const struct engine_synic *registers)
{
	struct synic_vp *vp = &synic->vps[index];
	const uint64_t one = 1;
	bool retry;

	pthread_mutex_lock(&vp->lock);
	if (page_enabled(vp->registers.simp, registers->simp))
		page_zero(synic->memory, registers->simp);
	if (page_enabled(vp->registers.siefp, registers->siefp))
		page_zero(synic->memory, registers->siefp);
	vp->registers = *registers;
	if (!(registers->simp & HV_MSR_PAGE_ENABLE))
		queue_drop(vp);
	retry = vp->queued > 0;
	pthread_mutex_unlock(&vp->lock);

	/* release: whoever sees the page sees it zeroed (partner: event_signal_raise()) */
	atomic_store_explicit(&synic->signals->siefp[index], registers->siefp,
			      memory_order_release);
	/* what waited for this page goes the way of a message that ended */
	if (retry && write(vp->fds.eom, &one, sizeof(one)) < 0)
		log_warn_limited("VP %u: messages wait longer than they should", index);
}

static int queue_add(struct synic_vp *vp, const void *message, size_t length)
{
	struct synic_message *made = calloc(1, sizeof(*made));

	if (!made)
		return -ENOMEM;
	made->length = length;
	memcpy(made->payload, message, length);
	pthread_mutex_lock(&vp->lock);
	STAILQ_INSERT_TAIL(&vp->queue, made, link);
	vp->queued++;
	pthread_mutex_unlock(&vp->lock);
	return 0;
}

int synic_post_message(struct synic *synic, uint32_t index, const void *message, size_t length)
{
	int result;

	if (index >= synic->vp_count || length > HV_MESSAGE_PAYLOAD_BYTES)
		return -EINVAL;
	result = queue_add(&synic->vps[index], message, length);
	if (!result)
		queue_run(&synic->vps[index]);
	return result;
}

size_t synic_queued(struct synic *synic)
{
	size_t queued = 0;

	for (uint32_t i = 0; i < synic->vp_count; i++) {
		pthread_mutex_lock(&synic->vps[i].lock);
		queued += synic->vps[i].queued;
		pthread_mutex_unlock(&synic->vps[i].lock);
	}
	return queued;
}

/* ---- saved state ---- */

void synic_pause(struct synic *synic)
{
	synic->paused = true;
	for (uint32_t i = 0; i < synic->vp_count; i++)
		event_watch_modify(synic->vps[i].eom_watch, 0);
}

static void sint_raise(struct synic_vp *vp)
{
	const struct engine_synic *registers = &vp->registers;
	const uint64_t one = 1;
	bool listens;

	pthread_mutex_lock(&vp->lock);
	listens = registers->scontrol & HV_SCONTROL_ENABLE &&
		  (registers->simp | registers->siefp) & HV_MSR_PAGE_ENABLE;
	pthread_mutex_unlock(&vp->lock);
	if (listens && write(vp->fds.raise, &one, sizeof(one)) < 0)
		log_warn_limited("VP %u: interrupt not raised", vp->index);
}

void synic_resume(struct synic *synic)
{
	synic->paused = false;
	for (uint32_t i = 0; i < synic->vp_count; i++) {
		sint_raise(&synic->vps[i]);
		queue_run(&synic->vps[i]);
	}
}

static void vp_save(struct synic_vp *vp, struct state_writer *writer)
{
	const struct synic_message *message;

	state_begin(writer, STATE_VP, STATE_VERSION, STATE_VERSION);
	pthread_mutex_lock(&vp->lock);
	state_put_u64(writer, vp->registers.scontrol);
	state_put_u64(writer, vp->registers.simp);
	state_put_u64(writer, vp->registers.siefp);
	state_put_u32(writer, (uint32_t)vp->queued);
	STAILQ_FOREACH (message, &vp->queue, link)
		state_put_blob(writer, message->payload, message->length);
	pthread_mutex_unlock(&vp->lock);
	state_end(writer);
}

int synic_save(struct synic *synic, struct state_writer *writer)
{
	state_begin(writer, SYNIC_STATE_TAG, STATE_VERSION, STATE_VERSION);
	state_put_u32(writer, synic->vp_count);
	for (uint32_t i = 0; i < synic->vp_count; i++)
		vp_save(&synic->vps[i], writer);
	state_end(writer);
	return writer->error;
}

/* room: how many messages all VPs together may still have. */
static int queue_restore(struct synic_vp *vp, struct state_reader *section, uint32_t *room)
{
	uint32_t count = state_get_bounded(section, *room);

	*room -= count;
	for (uint32_t i = 0; i < count; i++) {
		size_t length;
		const void *bytes = state_get_blob(section, HV_MESSAGE_PAYLOAD_BYTES, &length);
		int result = bytes ? queue_add(vp, bytes, length) : -EPROTO;

		if (result)
			return result;
	}
	return section->error;
}

/* The registers are set with no eye to what was before: the pages hold what the guest left there.
 */
static int vp_restore(struct synic_vp *vp, struct state_reader *section, uint32_t *room)
{
	struct engine_synic registers;
	int result = state_check_version(section, STATE_VERSION);

	if (result)
		return result;
	if (section->tag != STATE_VP)
		return -EPROTO;
	registers.scontrol = state_get_u64(section);
	registers.simp = state_get_u64(section);
	registers.siefp = state_get_u64(section);
	result = queue_restore(vp, section, room);
	if (result)
		return result;
	pthread_mutex_lock(&vp->lock);
	vp->registers = registers;
	pthread_mutex_unlock(&vp->lock);
	atomic_store_explicit(&vp->synic->signals->siefp[vp->index], registers.siefp,
			      memory_order_release);
	return 0;
}

int synic_restore(struct synic *synic, struct state_reader *section)
{
	uint32_t room = STATE_MAX_MESSAGES;
	struct state_reader part;
	int result = state_check_version(section, STATE_VERSION);

	synic_pause(synic);
	if (!result && state_get_u32(section) != synic->vp_count)
		result = -EPROTO;
	for (uint32_t i = 0; i < synic->vp_count && !result; i++)
		result = state_next(section, &part) == 1 ? vp_restore(&synic->vps[i], &part, &room)
							 : -EPROTO;
	return result;
}
