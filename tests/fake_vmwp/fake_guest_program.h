/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a fake VP runs. Each page of a working set holds its own number and how often it was
 * written, all over; registers hold a sum over the pages, so that a page of another time is found.
 * It says its step on COM1 about once a second, and obeys single letters that come in there:
 *
 *   p  power off     r  reset     c  crash     s  say the step now
 *
 * FAKE_GUEST_PAGES (working set; default 4096 pages) and FAKE_GUEST_DIRTY (pages written in a step
 * of about a fifth of a millisecond; default 1) come from the environment; the first is part of
 * the guest's state once it has booted.
 */
#ifndef LUNAR_TESTS_FAKE_VMWP_FAKE_GUEST_PROGRAM_H
#define LUNAR_TESTS_FAKE_VMWP_FAKE_GUEST_PROGRAM_H

struct engine_partition;

/* A fake_engine_program. */
void fake_guest_program(struct engine_partition *partition);

#endif
