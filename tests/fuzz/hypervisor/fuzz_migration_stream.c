/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a source may send over a memory connection: bytes are read as frames, and pages go into a
 * small guest's memory, by the receiver's own thread and barrier. Memory that is not the guest's
 * lies right behind it and must stay as it is.
 */
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "hypervisor/migration/pages.h"
#include "tests/unit/vmbus/memory_fixture.h"
#include "vmbus/guest_memory.h"

#define PAGES	    64
#define GUARD_PAGES 16
#define PATIENCE_MS 20000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Two regions in one file, the guard between them. */
static struct guest_memory *memory_make(const uint8_t **guard)
{
	const size_t bytes = (2 * PAGES + GUARD_PAGES) * GUEST_PAGE_SIZE;
	int fd = fixture_memfd(bytes);
	const struct guest_memory_region regions[] = {
		{.gpa = 0, .size_bytes = PAGES * GUEST_PAGE_SIZE, .fd = fd},
		{.gpa = UINT64_C(1) << 32,
		 .size_bytes = PAGES * GUEST_PAGE_SIZE,
		 .fd_offset = (PAGES + GUARD_PAGES) * GUEST_PAGE_SIZE,
		 .fd = fd},
	};
	struct guest_memory *memory;
	uint8_t *file = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (file == MAP_FAILED || guest_memory_create(regions, 2, -1, &memory) < 0)
		abort();
	memset(file + PAGES * GUEST_PAGE_SIZE, 0x5a, GUARD_PAGES * GUEST_PAGE_SIZE);
	*guard = file + PAGES * GUEST_PAGE_SIZE;
	close(fd);
	return memory;
}

static void guard_check(const uint8_t *guard)
{
	for (size_t i = 0; i < GUARD_PAGES * GUEST_PAGE_SIZE; i++) {
		if (guard[i] != 0x5a)
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct guest_memory *memory;
	static const uint8_t *guard;
	struct migration_page_receiver *receiver;
	struct migration_buffer buffer;
	int rc;

	if (!memory)
		memory = memory_make(&guard);
	if (migration_page_receiver_create(memory, 1, &receiver) < 0)
		abort();
	migration_buffer_init(&buffer, data, size);
	if (migration_page_receiver_add(receiver, &buffer.channel) < 0)
		abort();
	/* Round 7 comes, or the stream ends before it: either way, soon. */
	rc = migration_page_receiver_wait_round(receiver, 7, deadline_in_ms(PATIENCE_MS));
	if (rc == -ETIMEDOUT)
		abort();
	migration_page_receiver_destroy(receiver);
	guard_check(guard);
	return 0;
}
