/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The gate to guest memory: maps the VM's memory files, checks every access against the region
 * table, and keeps the dirty bitmap of what the host wrote. The table never changes after creation,
 * so lookups take no lock.
 */
#include "vmbus/guest_memory.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/bytes.h"
#include "vmbus/guest_memory_internal.h"

struct guest_memory {
	struct guest_memory_region regions[GUEST_MEMORY_MAX_REGIONS]; /* by ascending GPA */
	size_t region_count;
	uint64_t limit;
	int dirty_fd;
	_Atomic uint64_t *dirty; /* bit n of word n / 64: page n */
	uint64_t dirty_words;
};

static bool page_aligned(uint64_t value)
{
	return (value & (GUEST_PAGE_SIZE - 1)) == 0;
}

int guest_memory_fd_check(int fd, uint64_t size_bytes)
{
	struct stat st;
	int seals;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (st.st_size < 0 || (uint64_t)st.st_size < size_bytes)
		return -EINVAL;
	seals = fcntl(fd, F_GET_SEALS);
	return seals >= 0 && seals & F_SEAL_SHRINK ? 0 : -EPERM;
}

static int region_check(const struct guest_memory_region *region)
{
	if (!page_aligned(region->gpa) || !page_aligned(region->size_bytes) ||
	    !page_aligned(region->fd_offset) || region->size_bytes == 0)
		return -EINVAL;
	if (!range_fits(region->gpa, region->size_bytes, GUEST_MEMORY_MAX_BYTES) ||
	    region->fd_offset > UINT64_MAX - region->size_bytes)
		return -EINVAL;
	return guest_memory_fd_check(region->fd, region->fd_offset + region->size_bytes);
}

static int region_compare(const void *a, const void *b)
{
	const struct guest_memory_region *ra = a;
	const struct guest_memory_region *rb = b;

	return ra->gpa < rb->gpa ? -1 : ra->gpa > rb->gpa;
}

static int regions_check(const struct guest_memory_region *regions, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		int rc = region_check(&regions[i]);

		if (rc < 0)
			return rc;
		if (i > 0 && regions[i - 1].gpa + regions[i - 1].size_bytes > regions[i].gpa)
			return -EINVAL;
	}
	return 0;
}

/*
 * Huge pages are reserved now, so that a host with too few says so here and not with a SIGBUS
 * later. Ordinary memory is not reserved: a guest far larger than the host maps, and pays for what
 * it touches.
 */
static int region_map(struct guest_memory_region *region)
{
	struct statfs fs;
	int flags = MAP_SHARED;
	void *hva;

	if (fstatfs(region->fd, &fs) < 0)
		return -errno;
	if (fs.f_type != HUGETLBFS_MAGIC)
		flags |= MAP_NORESERVE;
	hva = mmap(NULL, region->size_bytes, PROT_READ | PROT_WRITE, flags, region->fd,
		   (off_t)region->fd_offset);
	if (hva == MAP_FAILED)
		return -errno;
	region->hva = hva;
	return 0;
}

static int dirty_map(struct guest_memory *memory, int dirty_fd)
{
	uint64_t words = (memory->limit / GUEST_PAGE_SIZE + 63) / 64;
	size_t bytes = words * sizeof(uint64_t);
	void *map;
	int fd;
	int rc;

	if (dirty_fd < 0) {
		fd = memfd_create("lunar-dirty", MFD_CLOEXEC | MFD_ALLOW_SEALING);
		if (fd < 0)
			return -errno;
		if (ftruncate(fd, (off_t)bytes) < 0 ||
		    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) < 0) {
			rc = -errno;
			goto err_close;
		}
	} else {
		fd = fcntl(dirty_fd, F_DUPFD_CLOEXEC, 0);
		if (fd < 0)
			return -errno;
		rc = guest_memory_fd_check(fd, bytes);
		if (rc < 0)
			goto err_close;
	}
	map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
	if (map == MAP_FAILED) {
		rc = -errno;
		goto err_close;
	}
	memory->dirty_fd = fd;
	memory->dirty = map;
	memory->dirty_words = words;
	return 0;

err_close:
	close(fd);
	return rc;
}

/* Adds one region to the table, with an fd of its own. */
static int region_add(struct guest_memory *memory, const struct guest_memory_region *wanted)
{
	struct guest_memory_region region = *wanted;
	int rc;

	region.fd = fcntl(wanted->fd, F_DUPFD_CLOEXEC, 0);
	if (region.fd < 0)
		return -errno;
	rc = region_map(&region);
	if (rc < 0) {
		close(region.fd);
		return rc;
	}
	memory->regions[memory->region_count++] = region;
	memory->limit = region.gpa + region.size_bytes;
	return 0;
}

int guest_memory_create(const struct guest_memory_region *regions, size_t region_count,
			int dirty_fd, struct guest_memory **memory)
{
	struct guest_memory_region sorted[GUEST_MEMORY_MAX_REGIONS];
	struct guest_memory *made;
	int rc;

	if (region_count == 0 || region_count > GUEST_MEMORY_MAX_REGIONS)
		return -EINVAL;
	memcpy(sorted, regions, region_count * sizeof(*regions));
	qsort(sorted, region_count, sizeof(sorted[0]), region_compare);
	rc = regions_check(sorted, region_count);
	if (rc < 0)
		return rc;

	made = calloc(1, sizeof(*made));
	if (!made)
		return -ENOMEM;
	made->dirty_fd = -1;
	for (size_t i = 0; i < region_count; i++) {
		rc = region_add(made, &sorted[i]);
		if (rc < 0)
			goto err_destroy;
	}
	rc = dirty_map(made, dirty_fd);
	if (rc < 0)
		goto err_destroy;
	*memory = made;
	return 0;

err_destroy:
	guest_memory_destroy(made);
	return rc;
}

void guest_memory_destroy(struct guest_memory *memory)
{
	if (!memory)
		return;
	for (size_t i = 0; i < memory->region_count; i++) {
		munmap(memory->regions[i].hva, memory->regions[i].size_bytes);
		close(memory->regions[i].fd);
	}
	if (memory->dirty) {
		munmap((void *)memory->dirty, memory->dirty_words * sizeof(uint64_t));
		close(memory->dirty_fd);
	}
	free(memory);
}

size_t guest_memory_region_count(const struct guest_memory *memory)
{
	return memory->region_count;
}

const struct guest_memory_region *guest_memory_region_at(const struct guest_memory *memory,
							 size_t index)
{
	return index < memory->region_count ? &memory->regions[index] : NULL;
}

int guest_memory_dirty_fd(const struct guest_memory *memory)
{
	return memory->dirty_fd;
}

uint64_t guest_memory_limit(const struct guest_memory *memory)
{
	return memory->limit;
}

/* The region that holds gpa, or NULL. */
static const struct guest_memory_region *region_find(const struct guest_memory *memory,
						     uint64_t gpa)
{
	for (size_t i = 0; i < memory->region_count; i++) {
		const struct guest_memory_region *region = &memory->regions[i];

		if (gpa >= region->gpa && gpa - region->gpa < region->size_bytes)
			return region;
	}
	return NULL;
}

/* Bytes from gpa to the end of its region, at most length, and their address; 0 where gpa is not
 * guest memory or length is 0. */
static uint64_t region_run(const struct guest_memory *memory, uint64_t gpa, uint64_t length,
			   uint8_t **hva)
{
	const struct guest_memory_region *region = region_find(memory, gpa);
	uint64_t left;

	if (!region)
		return 0;
	left = region->size_bytes - (gpa - region->gpa);
	*hva = (uint8_t *)region->hva + (gpa - region->gpa);
	return length < left ? length : left;
}

/* Whether every byte of the range is guest memory; regions that touch may be crossed. */
static bool range_is_memory(const struct guest_memory *memory, uint64_t gpa, uint64_t length)
{
	uint8_t *hva;

	if (!range_fits(gpa, length, GUEST_MEMORY_MAX_BYTES))
		return false;
	while (length > 0) {
		uint64_t run = region_run(memory, gpa, length, &hva);

		if (run == 0)
			return false;
		gpa += run;
		length -= run;
	}
	return true;
}

int guest_memory_read(const struct guest_memory *memory, uint64_t gpa, void *to, size_t length)
{
	uint8_t *bytes = to;
	uint8_t *hva;
	size_t run;

	if (!range_is_memory(memory, gpa, length))
		return -EFAULT;
	while ((run = region_run(memory, gpa, length, &hva)) > 0) {
		memcpy(bytes, hva, run);
		bytes += run;
		gpa += run;
		length -= run;
	}
	return 0;
}

int guest_memory_write(struct guest_memory *memory, uint64_t gpa, const void *from, size_t length)
{
	const uint8_t *bytes = from;
	uint8_t *hva;
	size_t run;

	if (!range_is_memory(memory, gpa, length))
		return -EFAULT;
	while ((run = region_run(memory, gpa, length, &hva)) > 0) {
		memcpy(hva, bytes, run);
		guest_memory_mark_dirty(memory, gpa, run);
		bytes += run;
		gpa += run;
		length -= run;
	}
	return 0;
}

uint8_t *guest_memory_hva(const struct guest_memory *memory, uint64_t gpa, uint64_t length)
{
	uint8_t *hva;

	if (region_run(memory, gpa, length, &hva) != length || length == 0)
		return NULL;
	return hva;
}

const void *guest_memory_for_read(const struct guest_memory *memory, uint64_t gpa, size_t length)
{
	return guest_memory_hva(memory, gpa, length);
}

void *guest_memory_for_write(struct guest_memory *memory, uint64_t gpa, size_t length)
{
	uint8_t *hva = guest_memory_hva(memory, gpa, length);

	if (hva)
		guest_memory_mark_dirty(memory, gpa, length);
	return hva;
}

/*
 * Sequentially consistent read-modify-write, and never "skip it, the bit is set already": the bytes
 * written before must be visible before the bit is looked at. Else the other side could clear the
 * bit and read the old bytes between our look and our bytes' arrival. Partner: the exchange in
 * guest_memory_dirty_fetch_and_clear().
 */
void guest_memory_mark_dirty(struct guest_memory *memory, uint64_t gpa, size_t length)
{
	uint64_t first = gpa >> GUEST_PAGE_SHIFT;
	uint64_t last;

	if (length == 0 || !range_fits(gpa, length, GUEST_MEMORY_MAX_BYTES))
		return;
	last = (gpa + length - 1) >> GUEST_PAGE_SHIFT;
	if (last >= memory->dirty_words * 64)
		last = memory->dirty_words * 64 - 1;
	while (first <= last) {
		uint64_t word = first / 64;
		uint64_t from = first % 64;
		uint64_t to = last / 64 == word ? last % 64 : 63;
		uint64_t mask = (UINT64_MAX << from) & (UINT64_MAX >> (63 - to));

		atomic_fetch_or_explicit(&memory->dirty[word], mask, memory_order_seq_cst);
		first += to - from + 1;
	}
}

int guest_memory_dirty_fetch_and_clear(struct guest_memory *memory, uint64_t first_gpn,
				       uint64_t *words, size_t word_count)
{
	uint64_t first_word = first_gpn / 64;

	if (first_gpn % 64 != 0)
		return -EINVAL;
	for (size_t i = 0; i < word_count; i++) {
		_Atomic uint64_t *word;

		words[i] = 0;
		if (i >= memory->dirty_words || first_word >= memory->dirty_words - i)
			continue;
		word = &memory->dirty[first_word + i];
		/* A plain look first: most words are clean, and a look does not make the bitmap's
		 * untouched pages real. Partner: guest_memory_mark_dirty(). */
		if (atomic_load_explicit(word, memory_order_relaxed) != 0)
			words[i] = atomic_exchange_explicit(word, 0, memory_order_seq_cst);
	}
	return 0;
}
