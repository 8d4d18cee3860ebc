/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * KVM's log of the pages that VPs write.
 */
#include <errno.h>
#include <linux/kvm.h>
#include <stdlib.h>

#include "hypervisor/engine_kvm_internal.h"
#include "vmbus/guest_memory.h"

#define WORD_BITS 64

void kvm_dirty_init(struct kvm_dirty_state *dirty)
{
	pthread_mutex_init(&dirty->lock, NULL);
}

void kvm_dirty_fini(struct kvm_dirty_state *dirty)
{
	free(dirty->scratch);
	pthread_mutex_destroy(&dirty->lock);
}

static size_t region_words(const struct guest_memory_region *region)
{
	uint64_t pages = region->size_bytes >> GUEST_PAGE_SHIFT;

	return (size_t)((pages + WORD_BITS - 1) / WORD_BITS);
}

static size_t largest_region_words(const struct guest_memory *memory)
{
	size_t most = 0;

	for (size_t i = 0; i < guest_memory_region_count(memory); i++) {
		size_t words = region_words(guest_memory_region_at(memory, i));

		most = words > most ? words : most;
	}
	return most;
}

int kvm_dirty_start(struct engine_partition *partition)
{
	struct kvm_dirty_state *dirty = &partition->dirty;
	int result = 0;

	pthread_mutex_lock(&dirty->lock);
	if (!dirty->scratch)
		dirty->scratch = calloc(largest_region_words(partition->config.memory),
					sizeof(dirty->scratch[0]));
	if (!dirty->scratch)
		result = -ENOMEM;
	if (!result && dirty->on) /* off and on: the log starts empty */
		result = kvm_memory_set(partition, 0);
	if (!result)
		result = kvm_memory_set(partition, KVM_MEM_LOG_DIRTY_PAGES);
	if (result)
		(void)kvm_memory_set(partition, 0);
	dirty->on = !result;
	pthread_mutex_unlock(&dirty->lock);
	return result;
}

void kvm_dirty_stop(struct engine_partition *partition)
{
	struct kvm_dirty_state *dirty = &partition->dirty;

	pthread_mutex_lock(&dirty->lock);
	if (dirty->on)
		(void)kvm_memory_set(partition, 0);
	dirty->on = false;
	pthread_mutex_unlock(&dirty->lock);
}

int kvm_dirty_fetch(struct engine_partition *partition, size_t region, uint64_t *words,
		    size_t word_count)
{
	struct kvm_dirty_state *dirty = &partition->dirty;
	const struct guest_memory *memory = partition->config.memory;
	size_t needed;
	int result = -EINVAL;

	if (region >= guest_memory_region_count(memory))
		return -EINVAL;
	needed = region_words(guest_memory_region_at(memory, region));
	if (word_count < needed)
		return -EINVAL;
	pthread_mutex_lock(&dirty->lock);
	if (dirty->on) {
		struct kvm_dirty_log request = {.slot = (uint32_t)region,
						.dirty_bitmap = dirty->scratch};

		result = kvm_ioctl(partition->vm_fd, KVM_GET_DIRTY_LOG, &request);
		for (size_t i = 0; !result && i < needed; i++)
			words[i] |= dirty->scratch[i];
	}
	pthread_mutex_unlock(&dirty->lock);
	return result;
}
