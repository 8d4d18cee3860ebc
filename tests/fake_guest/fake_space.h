/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The fake guest's memory: a memfd behind vmbus/guest_memory, a page allocator that hands out
 * scattered pages as a kernel's vmalloc does, GPADLs made of them, and a SIEFP page for each VP
 * with the signal table beside it.
 */
#ifndef LUNAR_TESTS_FAKE_GUEST_FAKE_SPACE_H
#define LUNAR_TESTS_FAKE_GUEST_FAKE_SPACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmbus/event_signal.h"

struct gpadl;
struct gpadl_view;
struct guest_memory;

struct fake_space {
	struct guest_memory *memory;
	struct signal_table signals;
	int fd; /* the memory's memfd, one region from GPA 0 */
	uint64_t size_bytes;
	uint32_t vp_count;
	uint64_t siefp_gpa[SIGNAL_TABLE_MAX_VPS];
	uint64_t *free_gpns; /* a stack */
	size_t free_count;
	uint32_t next_gpadl_id;
};

/* size_bytes: a multiple of 8192. Returns 0 or -errno. */
int fake_space_create(uint64_t size_bytes, uint32_t vp_count, struct fake_space **space);
/* Takes NULL. */
void fake_space_destroy(struct fake_space *space);

/* Pages that the guest lends out as a GPADL, and its own view of them. */
struct fake_pages {
	struct fake_space *space;
	struct gpadl *gpadl;
	struct gpadl_view *view;
};

/* Zeroed. Returns 0, -ENOMEM (no pages left) or -errno. */
int fake_pages_create(struct fake_space *space, size_t count, struct fake_pages **pages);
/* Takes NULL. The pages can be used again: the host must have let go of them. */
void fake_pages_destroy(struct fake_pages *pages);

/* Whether the host set a VP's event flag; clears it, as Linux does before it looks at the ring. */
bool fake_space_take_flag(struct fake_space *space, uint32_t vp, uint32_t flag);

#endif
