/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where guest memory lies in the GPA space, and the memfd behind it. Memory fills the space from 0
 * and leaves a hole of 1 GiB below 4 GiB for the interrupt controllers. It is sparse: a page costs
 * host memory once somebody touches it.
 */
#ifndef LUNAR_HYPERVISOR_GPA_SPACE_H
#define LUNAR_HYPERVISOR_GPA_SPACE_H

#include <stdbool.h>
#include <stdint.h>

#include "hypervisor/vm_error.h"

struct guest_memory;

#define GPA_HOLE_START UINT64_C(0xc0000000)
#define GPA_HOLE_END   UINT64_C(0x100000000)

struct gpa_layout {
	uint64_t low_bytes;  /* from 0; at most GPA_HOLE_START */
	uint64_t high_bytes; /* from GPA_HOLE_END; may be 0 */
};

/* memory_bytes: a multiple of 2 MiB, at most 1 TiB less the hole. */
struct gpa_layout gpa_layout_of(uint64_t memory_bytes);

/*
 * Makes the memory. huge_pages: 2 MiB pages out of the host's pool, all of them reserved now, so
 * that the guest cannot run out of them later.
 * Returns 0 (the caller destroys), or -errno with *error (EXIT_NO_MEMORY where the host has too
 * little).
 */
int gpa_space_create(uint64_t memory_bytes, bool huge_pages, struct guest_memory **memory,
		     struct vm_error *error);

#endif
