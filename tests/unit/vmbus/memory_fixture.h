/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Guest memory, GPADLs and views for tests and fuzz targets of vmbus/: small memfds, pages in any
 * order. A failure of the system ends the program: it is not what the tests are about.
 */
#ifndef LUNAR_TESTS_VMBUS_MEMORY_FIXTURE_H
#define LUNAR_TESTS_VMBUS_MEMORY_FIXTURE_H

#include <stddef.h>
#include <stdint.h>

struct gpadl;
struct gpadl_view;
struct guest_memory;

/* A memfd of that size. */
int fixture_memfd(uint64_t size_bytes);
/* One region at GPA 0. */
struct guest_memory *fixture_memory(size_t pages);
/* A GPADL of one range over the pages, and its view. */
struct gpadl *fixture_gpadl(const uint64_t *gpns, size_t count);
struct gpadl_view *fixture_view(struct guest_memory *memory, const uint64_t *gpns, size_t count);
/* The dirty bit of a page, which is cleared. */
int fixture_take_dirty(struct guest_memory *memory, uint64_t gpn);
/* The same sequence of numbers on each run. */
uint32_t fixture_random(uint32_t *state);

#endif
