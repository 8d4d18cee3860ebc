/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * KVM's log of the pages that VPs write.
 *
 * Where KVM lets us, the log is read first and cleared after, a stretch at a time: clearing makes
 * pages read-only under KVM's lock, and VPs that fault wait for that lock. Turned on, such a log
 * starts with all pages dirty and none read-only; clearing it in stretches, too, takes as long as
 * KVM would, but lets VPs run in between.
 */
#include <errno.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "hypervisor/engine_kvm_internal.h"
#include "vmbus/guest_memory.h"

#define WORD_BITS 64

#define STRETCH_WORDS 64 /* 16 MiB */

void kvm_dirty_init(struct kvm_dirty_state *dirty)
{
	pthread_mutex_init(&dirty->lock, NULL);
}

void kvm_dirty_choose(struct engine_partition *partition)
{
	int offered =
		ioctl(partition->kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2);
	uint64_t wanted = KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE | KVM_DIRTY_LOG_INITIALLY_SET;
	struct kvm_enable_cap cap = {.cap = KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2};

	if (offered <= 0)
		return;
	cap.args[0] = wanted & (uint32_t)offered;
	if (kvm_ioctl(partition->vm_fd, KVM_ENABLE_CAP, &cap))
		return;
	partition->dirty.manual = cap.args[0] & KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE;
	partition->dirty.initially_set = cap.args[0] & KVM_DIRTY_LOG_INITIALLY_SET;
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
	size_t most = 1;

	for (size_t i = 0; i < guest_memory_region_count(memory); i++) {
		size_t words = region_words(guest_memory_region_at(memory, i));

		most = words > most ? words : most;
	}
	return most;
}

/* Clears the pages of a region whose bits are set in scratch. */
static int region_clear(const struct engine_partition *partition, size_t region)
{
	const struct guest_memory_region *memory =
		guest_memory_region_at(partition->config.memory, region);
	const uint64_t pages = memory->size_bytes >> GUEST_PAGE_SHIFT;
	const size_t words = region_words(memory);
	uint64_t *bits = partition->dirty.scratch;
	int result = 0;

	for (size_t first = 0; first < words && !result; first += STRETCH_WORDS) {
		size_t count = words - first < STRETCH_WORDS ? words - first : STRETCH_WORDS;
		uint64_t left = pages - first * WORD_BITS;
		struct kvm_clear_dirty_log request = {
			.slot = (uint32_t)region,
			.first_page = first * WORD_BITS,
			.num_pages =
				(uint32_t)(left < count * WORD_BITS ? left : count * WORD_BITS),
			.dirty_bitmap = &bits[first],
		};
		uint64_t any = 0;

		for (size_t i = 0; i < count; i++)
			any |= bits[first + i];
		if (any)
			result = kvm_ioctl(partition->vm_fd, KVM_CLEAR_DIRTY_LOG, &request);
	}
	return result;
}

/* Makes an initially full log an empty one. */
static int all_clear(const struct engine_partition *partition)
{
	const struct guest_memory *memory = partition->config.memory;
	int result = 0;

	for (size_t i = 0; i < guest_memory_region_count(memory) && !result; i++) {
		size_t words = region_words(guest_memory_region_at(memory, i));

		memset(partition->dirty.scratch, 0xff, words * sizeof(uint64_t));
		result = region_clear(partition, i);
	}
	return result;
}

int kvm_dirty_start(struct engine_partition *partition)
{
	struct kvm_dirty_state *dirty = &partition->dirty;
	int result = 0;

	pthread_mutex_lock(&dirty->lock);
	if (!dirty->scratch)
		dirty->scratch = malloc(largest_region_words(partition->config.memory) *
					sizeof(dirty->scratch[0]));
	if (!dirty->scratch)
		result = -ENOMEM;
	if (!result && dirty->on) /* off and on: the log starts empty */
		result = kvm_memory_set(partition, 0);
	if (!result)
		result = kvm_memory_set(partition, KVM_MEM_LOG_DIRTY_PAGES);
	if (!result && dirty->initially_set)
		result = all_clear(partition);
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
		/* while nobody writes, clearing is time for nothing: it is downtime */
		if (!result && dirty->manual && !kvm_vps_rest(partition))
			result = region_clear(partition, region);
		for (size_t i = 0; !result && i < needed; i++)
			words[i] |= dirty->scratch[i];
	}
	pthread_mutex_unlock(&dirty->lock);
	return result;
}
