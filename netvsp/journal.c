/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The journal's memory. Stores are released in the order that journal.h gives; the only reader is a
 * process that comes after, so nothing needs to be stronger.
 */
#include "netvsp/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "netvsp/nvsp.h"
#include "netvsp/saved_state.h"
#include "wire/vsp.h"

#define JOURNAL_MAGIC UINT64_C(0x314c4e524a4c4e56) /* another layout has another one */
#define CONTROL_BYTES 131072u
#define SECTION_LENT  (UINT64_C(1) << 63)

struct journal_channel {
	_Atomic uint32_t selected; /* 0 or 1 */
	struct journal_ring ring;
	struct journal_record records[2];
};

/* As it lies in memory. */
struct journal_memory {
	_Atomic uint64_t magic;
	struct journal_channel channels[NVSP_MAX_CHANNELS];
	_Atomic uint64_t sections[SAVED_MAX_HELD]; /* lent, channel, transaction, generation */
	uint8_t control[2][CONTROL_BYTES];
};
static_assert(sizeof(struct journal_memory) <= VSP_JOURNAL_BYTES, "it fits");

struct journal {
	struct journal_memory *memory;
	/* For the primary's next record. */
	uint32_t control_slot;
	uint32_t control_bytes;
};

int journal_open(int fd, struct journal **out)
{
	int seals = fcntl(fd, F_GET_SEALS);
	struct journal *journal;
	struct stat stat;
	void *memory;

	if (seals < 0 || !(seals & F_SEAL_SHRINK))
		return -EPERM;
	if (fstat(fd, &stat) < 0 || stat.st_size < (off_t)VSP_JOURNAL_BYTES)
		return -EINVAL;
	journal = calloc(1, sizeof(*journal));
	if (!journal)
		return -ENOMEM;
	memory = mmap(NULL, VSP_JOURNAL_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE,
		      fd, 0);
	if (memory == MAP_FAILED) {
		free(journal);
		return -errno;
	}
	journal->memory = memory;
	*out = journal;
	return 0;
}

void journal_close(struct journal *journal)
{
	if (!journal)
		return;
	munmap(journal->memory, VSP_JOURNAL_BYTES);
	free(journal);
}

/* ---- writing ---- */

void journal_clear(struct journal *journal)
{
	struct journal_memory *memory = journal->memory;

	atomic_store_explicit(&memory->magic, 0, memory_order_release);
	for (uint32_t i = 0; i < NVSP_MAX_CHANNELS; i++) {
		memset(memory->channels[i].records, 0, sizeof(memory->channels[i].records));
		atomic_store_explicit(&memory->channels[i].selected, 0, memory_order_relaxed);
	}
	for (uint32_t i = 0; i < SAVED_MAX_HELD; i++)
		atomic_store_explicit(&memory->sections[i], 0, memory_order_relaxed);
	journal->control_slot = 0;
	journal->control_bytes = 0;
	atomic_store_explicit(&memory->magic, JOURNAL_MAGIC, memory_order_release);
}

void journal_begin_channel(struct journal *journal, uint32_t sub_index,
			   const struct journal_ring *ring, const struct journal_record *record)
{
	struct journal_channel *channel = &journal->memory->channels[sub_index];

	channel->ring = *ring;
	journal_commit(journal, sub_index, record->generation, record->out_index, record->in_index);
	/* Both say the same: there is no step before this one. */
	channel->records[1 - atomic_load_explicit(&channel->selected, memory_order_relaxed)] =
		channel->records[atomic_load_explicit(&channel->selected, memory_order_relaxed)];
}

void journal_lend(struct journal *journal, const struct held_section *held, uint32_t generation)
{
	if (held->section >= SAVED_MAX_HELD)
		return;
	atomic_store_explicit(&journal->memory->sections[held->section],
			      SECTION_LENT | (uint64_t)held->sub_index << 48 |
				      (uint64_t)held->id << 32 | generation,
			      memory_order_release);
}

void journal_return(struct journal *journal, uint32_t section)
{
	if (section < SAVED_MAX_HELD)
		atomic_store_explicit(&journal->memory->sections[section], 0, memory_order_release);
}

void journal_commit(struct journal *journal, uint32_t sub_index, uint32_t generation,
		    uint32_t out_index, uint32_t in_index)
{
	struct journal_channel *channel = &journal->memory->channels[sub_index];
	uint32_t next = 1 - (atomic_load_explicit(&channel->selected, memory_order_relaxed) & 1);

	channel->records[next] = (struct journal_record){
		.generation = generation,
		.out_index = out_index,
		.in_index = in_index,
		.control_slot = sub_index == 0 ? journal->control_slot : 0,
		.control_bytes = sub_index == 0 ? journal->control_bytes : 0,
	};
	atomic_store_explicit(&channel->selected, next, memory_order_release);
}

void journal_write_control(struct journal *journal, const void *bytes, size_t length)
{
	const struct journal_channel *primary = &journal->memory->channels[0];
	uint32_t selected = atomic_load_explicit(&primary->selected, memory_order_relaxed) & 1;
	/* Not the one that a successor would read now. */
	uint32_t slot = 1 - (primary->records[selected].control_slot & 1);

	journal->control_slot = slot;
	journal->control_bytes = 0;
	if (length == 0 || length > CONTROL_BYTES)
		return;
	memcpy(journal->memory->control[slot], bytes, length);
	journal->control_bytes = (uint32_t)length;
}

/* ---- reading ---- */

void journal_read_records(const struct journal *journal, uint32_t sub_index,
			  struct journal_record records[2])
{
	const struct journal_memory *memory = journal->memory;
	const struct journal_channel *channel = &memory->channels[sub_index];
	uint32_t selected = atomic_load_explicit(&channel->selected, memory_order_acquire) & 1;

	memset(records, 0, 2 * sizeof(records[0]));
	if (atomic_load_explicit(&memory->magic, memory_order_acquire) != JOURNAL_MAGIC)
		return;
	records[0] = channel->records[selected];
	records[1] = channel->records[1 - selected];
}

void journal_read_ring(const struct journal *journal, uint32_t sub_index, struct journal_ring *ring)
{
	*ring = journal->memory->channels[sub_index].ring;
}

void journal_keep_control(struct journal *journal, const struct journal_record *record)
{
	journal->control_slot = record->control_slot & 1;
	journal->control_bytes = record->control_bytes;
}

size_t journal_read_control(const struct journal *journal, const struct journal_record *record,
			    void *bytes, size_t size)
{
	size_t length = record->control_bytes;

	if (record->control_slot > 1 || length > CONTROL_BYTES || length > size)
		return 0;
	memcpy(bytes, journal->memory->control[record->control_slot], length);
	return length;
}

bool journal_read_section(const struct journal *journal, uint32_t section,
			  struct held_section *held, uint32_t *generation)
{
	uint64_t entry =
		atomic_load_explicit(&journal->memory->sections[section], memory_order_acquire);

	if (!(entry & SECTION_LENT))
		return false;
	*held = (struct held_section){
		.section = section,
		.sub_index = (uint16_t)((entry & ~SECTION_LENT) >> 48),
		.id = (uint16_t)(entry >> 32),
	};
	*generation = (uint32_t)entry;
	return true;
}
