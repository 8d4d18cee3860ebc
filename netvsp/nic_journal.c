/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The vNIC's side of its journal: what is entered, and how a NIC is made out of what another
 * netvspd has left. See journal.h.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/log.h"
#include "base/state.h"
#include "netvsp/nic_internal.h"
#include "vmbus/gpadl.h"
#include "vmbus/gpadl_view.h"
#include "vmbus/guest_memory.h"

#define LOG_COMPONENT "nic"

#define MAX_CONTROL_BYTES 131072u

/* ---- entering ---- */

void nic_control_changed(struct nic *nic)
{
	nic->control_changed = true;
	if (nic->journal && nic->queues[0] && nic->phase == NIC_RUNNING)
		queue_mark_dirty(nic->queues[0]);
}

void nic_journal_control(struct nic *nic)
{
	struct saved_nic saved = {0};
	struct state_writer writer;

	if (!nic->control_changed)
		return;
	nic->control_changed = false;
	state_writer_init(&writer);
	saved.messages = calloc(SAVED_MAX_MESSAGES, sizeof(*saved.messages));
	if (saved.messages) {
		nic_gather(nic, &saved);
		saved_nic_write(&saved, &writer);
	}
	if (!saved.messages || state_writer_result(&writer))
		log_error_limited("%s: no memory for its journal", nic->config.name);
	/* None is better than the last one: that would not fit the rings any more. */
	journal_write_control(nic->journal, writer.bytes,
			      saved.messages && !state_writer_result(&writer) ? writer.length : 0);
	state_writer_fini(&writer);
	saved_nic_fini(&saved);
}

void nic_journal_restored(struct nic *nic)
{
	for (uint16_t i = 0; i < NVSP_MAX_CHANNELS; i++) {
		const struct restored_channel *channel = nic->restored_channels[i];

		for (uint16_t id = 0; channel && id < QUEUE_MAX_TRANSACTIONS; id++) {
			for (uint32_t section = channel->chains[id]; section != RX_NO_SECTION;
			     section = nic->rx_buffer.next[section])
				journal_lend(nic->journal, &(struct held_section){section, i, id},
					     channel->generation);
		}
	}
}

/* ---- going on ---- */

struct journal_call {
	struct nic *nic;
	struct journal *journal;
	bool recover;
	struct saved_nic saved;
	uint8_t *bytes; /* of the control state */
	int err;
};

/* The write index of a channel's outgoing ring, as the guest sees it. */
static int read_out_index(const struct nic *nic, const struct journal_ring *ring, uint32_t *index)
{
	const struct gpadl *gpadl = nic_find_gpadl(nic, ring->gpadl_id);
	struct gpadl_view *view;
	uint8_t bytes[4];
	int err;

	if (!gpadl)
		return -ENOENT;
	if (ring->downstream_page_offset >= gpadl->ranges[0].byte_count / GUEST_PAGE_SIZE)
		return -EINVAL;
	err = gpadl_view_create(nic->memory, gpadl, ring->downstream_page_offset, 1, &view);
	if (err)
		return err;
	err = gpadl_view_read(view, 0, bytes, sizeof(bytes));
	gpadl_view_free(view);
	if (!err)
		*index = get_le32(bytes);
	return err;
}

/* The last step of a channel that was taken. *last_generation: of all, taken or not. */
static int find_committed(const struct journal_call *call, uint32_t sub_index,
			  struct journal_record *committed, uint32_t *last_generation)
{
	struct journal_record records[2];
	struct journal_ring ring;
	uint32_t index;
	int err;

	journal_read_records(call->journal, sub_index, records);
	journal_read_ring(call->journal, sub_index, &ring);
	err = read_out_index(call->nic, &ring, &index);
	if (err)
		return err;
	*committed = records[records[0].out_index == index ? 0 : 1];
	*last_generation = records[0].generation;
	return 0;
}

static bool is_later(uint32_t generation, uint32_t than)
{
	return (int32_t)(generation - than) > 0;
}

/* What the guest holds; sections of steps that were not taken are free. */
static void recover_sections(struct journal_call *call, const struct journal_record *committed)
{
	struct saved_nic *saved = &call->saved;

	for (uint32_t i = 0; i < SAVED_MAX_HELD; i++) {
		struct held_section held;
		uint32_t generation;

		if (!journal_read_section(call->journal, i, &held, &generation))
			continue;
		if (held.sub_index >= NVSP_MAX_CHANNELS ||
		    !(saved->open_channels & UINT64_C(1) << held.sub_index) ||
		    is_later(generation, committed[held.sub_index].generation)) {
			journal_return(call->journal, i);
			continue;
		}
		saved->held[saved->held_count++] = held;
	}
}

static int recover(struct journal_call *call)
{
	struct journal_record committed[NVSP_MAX_CHANNELS];
	uint32_t generations[NVSP_MAX_CHANNELS];
	struct nic *nic = call->nic;
	struct held_section *held = call->saved.held;
	size_t length;
	int err;

	if (find_committed(call, 0, &committed[0], &generations[0]))
		return -ENODATA; /* the ring is not lent any more, if it ever was */
	length = journal_read_control(call->journal, &committed[0], call->bytes, MAX_CONTROL_BYTES);
	if (length == 0)
		return -ENODATA;
	call->saved.held = NULL;
	err = saved_nic_read(&call->saved, call->bytes, length);
	free(call->saved.held);
	call->saved.held = held;
	call->saved.held_count = 0;
	for (uint32_t i = 1; !err && i < NVSP_MAX_CHANNELS; i++) {
		/* A channel whose ring has gone is not opened either. */
		if ((call->saved.open_channels & UINT64_C(1) << i) &&
		    find_committed(call, i, &committed[i], &generations[i]))
			call->saved.open_channels &= ~(UINT64_C(1) << i);
	}
	if (err)
		return err;
	recover_sections(call, committed);
	err = nic_apply(nic, &call->saved);
	for (uint32_t i = 0; !err && i < NVSP_MAX_CHANNELS; i++) {
		if (!nic->restored_channels[i])
			continue;
		nic->restored_channels[i]->has_in_index = true;
		nic->restored_channels[i]->in_index = committed[i].in_index;
		nic->restored_channels[i]->generation = generations[i];
	}
	if (!err)
		journal_keep_control(call->journal, &committed[0]);
	/* The guest may have been granted what nobody has offered yet. */
	if (!err && call->saved.nvsp.granted > (uint32_t)__builtin_popcountll(
						       call->saved.open_channels & ~UINT64_C(1)))
		nic->sub_channels_wanted = call->saved.nvsp.granted;
	return err;
}

static void keep_journal(void *ctx)
{
	struct journal_call *call = ctx;
	struct nic *nic = call->nic;

	for (size_t i = 0; i < ARRAY_LENGTH(nic->queues); i++) {
		if (nic->queues[i])
			call->err = -EBUSY;
	}
	if (nic->journal)
		call->err = -EBUSY;
	if (!call->err && call->recover)
		call->err = nic->phase == NIC_INCOMING ? recover(call) : -EINVAL;
	if (call->err && call->err != -ENODATA)
		return;
	if (!call->recover || call->err == -ENODATA)
		journal_clear(call->journal);
	nic->journal = call->journal;
	nic->control_changed = true;
	if (!call->recover)
		nic_journal_restored(nic);
}

int nic_keep_journal(struct nic *nic, int fd, bool recover)
{
	struct journal_call call = {.nic = nic, .recover = recover};
	int err = journal_open(fd, &call.journal);

	if (err)
		return err;
	call.saved.held = calloc(SAVED_MAX_HELD, sizeof(*call.saved.held));
	call.bytes = malloc(MAX_CONTROL_BYTES);
	if (call.saved.held && call.bytes)
		worker_call(nic->path->worker, keep_journal, &call);
	else
		call.err = -ENOMEM;
	saved_nic_fini(&call.saved);
	free(call.bytes);
	if (call.err && call.err != -ENODATA)
		journal_close(call.journal);
	return call.err;
}
