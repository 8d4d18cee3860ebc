/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A vNIC's journal: memory of vmwp's that outlives netvspd. Whatever moment netvspd is killed at,
 * its successor finds there what guest memory does not tell: the control state, which receive
 * sections the guest holds, and how far each ring was dealt with. So the guest keeps its NIC: no
 * section is lost or lent twice, and no completion is lost or given twice. A frame that a guest
 * sent may be sent twice, and frames that were on their way inside netvspd are lost.
 *
 * Each flush of a channel is one step, in this order (each store is visible before the next):
 *   1. sections lent in this batch are entered, with the batch's generation;
 *   2. a record {generation, both rings' positions, control state} is written beside the last one,
 *      and selected;
 *   3. the outgoing ring's write index is published: this commits the step;
 *   4. sections that the guest has returned are entered as free;
 *   5. the incoming ring's read index is published; only now may 4's sections be lent again.
 * Who comes after compares the ring's published write index with the selected record: equal, the
 * step was taken; else the record before it holds, sections of the uncommitted generation are free,
 * and what was read in that step is read again. Packets between the published read index and the
 * record's have been answered: of them only the sections that they return are looked at.
 *
 * What is found in a journal is hostile, like saved state. Worker's thread, but for open and close.
 */
#ifndef LUNAR_NETVSP_JOURNAL_H
#define LUNAR_NETVSP_JOURNAL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "netvsp/rx_buffer.h"

struct journal;

/* Where a channel's rings are. */
struct journal_ring {
	uint32_t gpadl_id;
	uint32_t downstream_page_offset;
};

/* Where a channel stands. */
struct journal_record {
	uint32_t generation; /* of the batch that this record commits */
	uint32_t out_index;  /* write index that commits it */
	uint32_t in_index;   /* read index once it is committed */
	uint32_t control_slot;
	uint32_t control_bytes; /* the primary's: 0: there is no state to go on with */
};

/* Maps fd, which must be sealed against shrinking and have VSP_JOURNAL_BYTES; it stays the
 * caller's. Returns 0, -EPERM, -EINVAL or -errno. */
int journal_open(int fd, struct journal **journal);
/* Takes NULL. What is in the journal stays. */
void journal_close(struct journal *journal);

/* ---- writing ---- */

/* Forgets everything: nothing to go on with. */
void journal_clear(struct journal *journal);
/* A channel begins (or goes on) at this record's indices; no batch is under way. */
void journal_begin_channel(struct journal *journal, uint32_t sub_index,
			   const struct journal_ring *ring, const struct journal_record *record);
void journal_lend(struct journal *journal, const struct held_section *held, uint32_t generation);
void journal_return(struct journal *journal, uint32_t section);
/* Selects a new record. The control slot is kept unless control was written since the last time. */
void journal_commit(struct journal *journal, uint32_t sub_index, uint32_t generation,
		    uint32_t out_index, uint32_t in_index);
/* The control state that the primary's next record refers to; length 0, or too long: none. */
void journal_write_control(struct journal *journal, const void *bytes, size_t length);

/* ---- reading what another process has left ---- */

/* The selected record of a channel, and the one before it. */
void journal_read_records(const struct journal *journal, uint32_t sub_index,
			  struct journal_record records[2]);
void journal_read_ring(const struct journal *journal, uint32_t sub_index,
		       struct journal_ring *ring);
/* Copies the control state of a record: its length (0: none), at most size. */
size_t journal_read_control(const struct journal *journal, const struct journal_record *record,
			    void *bytes, size_t size);
/* The control state of this record is what the next ones refer to, until another is written. */
void journal_keep_control(struct journal *journal, const struct journal_record *record);
/* Whether a section is lent; by whom, and in which batch. */
bool journal_read_section(const struct journal *journal, uint32_t section,
			  struct held_section *held, uint32_t *generation);

#endif
