/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Deadlines on the monotonic clock. Every wait in Lunar takes one.
 */
#ifndef LUNAR_BASE_DEADLINE_H
#define LUNAR_BASE_DEADLINE_H

#include <stdbool.h>
#include <stdint.h>

#define NS_PER_MS  UINT64_C(1000000)
#define NS_PER_SEC UINT64_C(1000000000)

struct deadline {
	uint64_t at_ns; /* CLOCK_MONOTONIC */
};

uint64_t monotonic_ns(void);
struct deadline deadline_in_ms(uint32_t ms);
bool deadline_passed(struct deadline deadline);

/* Milliseconds left, rounded up, 0 when passed: what poll() and epoll_wait() take. */
int deadline_left_ms(struct deadline deadline);

#endif
