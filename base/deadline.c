/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Deadlines on the monotonic clock.
 */
#include "base/deadline.h"

#include <limits.h>
#include <time.h>

uint64_t monotonic_ns(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * NS_PER_SEC + (uint64_t)now.tv_nsec;
}

struct deadline deadline_in_ms(uint32_t ms)
{
	return (struct deadline){.at_ns = monotonic_ns() + ms * NS_PER_MS};
}

bool deadline_passed(struct deadline deadline)
{
	return monotonic_ns() >= deadline.at_ns;
}

int deadline_left_ms(struct deadline deadline)
{
	uint64_t now = monotonic_ns();
	if (now >= deadline.at_ns)
		return 0;
	uint64_t left = (deadline.at_ns - now + NS_PER_MS - 1) / NS_PER_MS;
	return left > INT_MAX ? INT_MAX : (int)left;
}
