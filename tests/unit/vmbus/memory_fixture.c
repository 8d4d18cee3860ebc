/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * See memory_fixture.h.
 */
#include "tests/unit/vmbus/memory_fixture.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/bytes.h"
#include "vmbus/gpadl.h"
#include "vmbus/gpadl_view.h"
#include "vmbus/guest_memory.h"

static void require(int ok, const char *what)
{
	if (!ok) {
		perror(what);
		abort();
	}
}

int fixture_memfd(uint64_t size_bytes)
{
	int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	require(fd >= 0, "memfd_create");
	require(ftruncate(fd, (off_t)size_bytes) == 0, "ftruncate");
	require(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK) == 0, "F_ADD_SEALS");
	return fd;
}

struct guest_memory *fixture_memory(size_t pages)
{
	struct guest_memory_region region = {.size_bytes = pages * GUEST_PAGE_SIZE};
	struct guest_memory *memory;

	region.fd = fixture_memfd(region.size_bytes);
	require(guest_memory_create(&region, 1, -1, &memory) == 0, "guest_memory_create");
	close(region.fd);
	return memory;
}

struct gpadl *fixture_gpadl(const uint64_t *gpns, size_t count)
{
	size_t length = 8 + count * sizeof(uint64_t);
	uint8_t *bytes = malloc(length);
	struct gpadl *gpadl;

	require(bytes != NULL, "malloc");
	put_le32(bytes, (uint32_t)(count * GUEST_PAGE_SIZE));
	put_le32(bytes + 4, 0);
	for (size_t i = 0; i < count; i++)
		put_le64(bytes + 8 + i * sizeof(uint64_t), gpns[i]);
	require(gpadl_parse(1, 1, bytes, length, &gpadl) == 0, "gpadl_parse");
	free(bytes);
	return gpadl;
}

struct gpadl_view *fixture_view(struct guest_memory *memory, const uint64_t *gpns, size_t count)
{
	struct gpadl *gpadl = fixture_gpadl(gpns, count);
	struct gpadl_view *view;

	require(gpadl_view_create(memory, gpadl, 0, count, &view) == 0, "gpadl_view_create");
	gpadl_free(gpadl);
	return view;
}

int fixture_take_dirty(struct guest_memory *memory, uint64_t gpn)
{
	uint64_t word;

	/* Bits of the same word that the caller does not ask for are put back. */
	require(guest_memory_dirty_fetch_and_clear(memory, gpn & ~UINT64_C(63), &word, 1) == 0,
		"dirty");
	for (uint64_t i = 0; i < 64; i++) {
		if ((word >> i & 1) && i != gpn % 64)
			guest_memory_mark_dirty(memory,
						((gpn & ~UINT64_C(63)) + i) << GUEST_PAGE_SHIFT, 1);
	}
	return (int)(word >> (gpn % 64) & 1);
}

uint32_t fixture_random(uint32_t *state)
{
	*state = *state * 1664525u + 1013904223u;
	return *state >> 8;
}
