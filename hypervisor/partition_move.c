/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a partition has for who copies it: the log of written pages, KVM's and ours in one; and
 * frames that come after it has left. See partition.h.
 */
#include <errno.h>

#include "hypervisor/partition_internal.h"
#include "hypervisor/vm_portals.h"
#include "hypervisor/vsp_client.h"
#include "vmbus/guest_memory.h"

#define FETCH_WORDS 512 /* of our bitmap at a time: 128 MiB of the guest's memory */

/* Ours has been logging since the partition was made; what it has is of no interest. */
static void own_log_clear(struct partition *partition)
{
	uint64_t words[FETCH_WORDS];
	uint64_t limit = guest_memory_limit(partition->memory) >> GUEST_PAGE_SHIFT;

	for (uint64_t gpn = 0; gpn < limit; gpn += UINT64_C(64) * FETCH_WORDS)
		(void)guest_memory_dirty_fetch_and_clear(partition->memory, gpn, words,
							 FETCH_WORDS);
}

int partition_dirty_start(struct partition *partition)
{
	int result = partition->config.engine->dirty_start(partition->engine);

	if (!result)
		own_log_clear(partition);
	return result;
}

void partition_dirty_stop(struct partition *partition)
{
	partition->config.engine->dirty_stop(partition->engine);
}

/* Ors our log of a region into words. */
static int own_log_fetch(struct partition *partition, uint64_t first_gpn, uint64_t *words,
			 size_t word_count)
{
	uint64_t own[FETCH_WORDS];

	for (size_t at = 0; at < word_count; at += FETCH_WORDS) {
		size_t count = word_count - at < FETCH_WORDS ? word_count - at : FETCH_WORDS;
		int result = guest_memory_dirty_fetch_and_clear(partition->memory,
								first_gpn + at * 64, own, count);

		if (result)
			return result;
		for (size_t i = 0; i < count; i++)
			words[at + i] |= own[i];
	}
	return 0;
}

int partition_dirty_fetch(struct partition *partition, size_t region, uint64_t *words,
			  size_t word_count)
{
	const struct guest_memory_region *found = guest_memory_region_at(partition->memory, region);
	size_t needed;
	int result;

	if (!found)
		return -EINVAL;
	needed = (size_t)(found->size_bytes / GUEST_PAGE_SIZE + 63) / 64;
	if (word_count < needed)
		return -EINVAL;
	result =
		partition->config.engine->dirty_fetch(partition->engine, region, words, word_count);
	return result ? result
		      : own_log_fetch(partition, found->gpa >> GUEST_PAGE_SHIFT, words, needed);
}

void partition_throttle(struct partition *partition, uint32_t percent)
{
	partition->config.engine->throttle(partition->engine, percent);
}

void partition_depart(struct partition *partition, partition_late_frame_fn fn, void *ctx)
{
	if (partition->phase != PARTITION_PAUSED)
		return;
	partition->phase = PARTITION_DEPARTED;
	for (size_t i = 0; i < partition->config.vm->nic_count; i++)
		vsp_client_depart(partition->nics[i], fn, ctx);
}

void partition_inject(struct partition *partition, uint32_t nic, const void *frame, size_t length)
{
	if (partition->phase == PARTITION_RUNS && nic < partition->config.vm->nic_count)
		vsp_client_inject(partition->nics[nic], frame, length);
}

size_t partition_get_portals(const struct partition *partition, struct vm_portal *portals)
{
	struct vsp_portal seen[VSP_MAX_PORTALS];
	size_t count = 0;

	for (uint32_t nic = 0; nic < partition->config.vm->nic_count; nic++) {
		size_t found = vsp_client_get_portals(partition->nics[nic], seen);

		for (size_t i = 0; i < found; i++)
			portals[count++] = (struct vm_portal){.nic = nic, .portal = seen[i]};
	}
	return count;
}
