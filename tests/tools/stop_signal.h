/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How a test ends one of its tools, and gets its report: SIGTERM or SIGINT asks for the end, or the
 * seconds that were given have passed; the report is a line of JSON, written to a file at once or
 * not at all.
 */
#ifndef LUNAR_TESTS_TOOLS_STOP_SIGNAL_H
#define LUNAR_TESTS_TOOLS_STOP_SIGNAL_H

#include <stdbool.h>
#include <stdint.h>

/* Takes over SIGTERM and SIGINT, and counts seconds from now on (0: no limit). */
void stop_signal_init(unsigned int seconds);
bool stop_requested(void);

/* CLOCK_MONOTONIC in nanoseconds. */
uint64_t clock_ns(void);

/* Writes text to path (NULL: to standard output); a reader of path sees the old text or the new.
 * Returns 0 or -errno. */
int report_write(const char *path, const char *text);

/* The number that text is, within limits; or prints what is wrong with option and exits with 2. */
uint64_t option_number(const char *option, const char *text, uint64_t least, uint64_t most);

#endif
