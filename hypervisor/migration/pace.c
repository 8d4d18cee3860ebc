/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Converged, not yet, or never at this speed.
 */
#include "hypervisor/migration/pace.h"

#define FIXED_MS	20 /* measured: VPs, NICs, state and the destination's restore */
#define STOP_MS		8000
#define STOP_TIMES	4    /* what the last pages should take */
#define STOP_LEAST_RATE 1000 /* bytes a ms */
#define GREW_MOST	2
#define THROTTLE_FIRST	20
#define THROTTLE_STEP	10
#define THROTTLE_MOST	99

void migration_pace_init(struct migration_pace *pace, uint32_t downtime_ms, bool no_throttle)
{
	*pace = (struct migration_pace){
		.downtime_ms = downtime_ms,
		.no_throttle = no_throttle,
		.fixed_ms = downtime_ms > 2 * FIXED_MS ? FIXED_MS : 0,
	};
}

uint32_t migration_pace_estimate_ms(const struct migration_pace *pace, uint64_t left, uint64_t rate)
{
	uint64_t ms;

	if (left == 0)
		return pace->fixed_ms;
	if (rate < 1000)
		return UINT32_MAX;
	ms = left / (rate / 1000) + pace->fixed_ms;
	return ms > UINT32_MAX ? UINT32_MAX : (uint32_t)ms;
}

uint32_t migration_pace_stop_ms(uint64_t left, uint64_t rate)
{
	uint64_t ms = STOP_MS + left / (rate / 1000 / STOP_TIMES + STOP_LEAST_RATE);

	return ms > UINT32_MAX ? UINT32_MAX : (uint32_t)ms;
}

enum migration_pace_verdict migration_pace_round(struct migration_pace *pace, uint64_t left,
						 uint64_t rate)
{
	bool shrank = pace->rounds == 0 || left < pace->last_left - pace->last_left / 16;

	pace->rounds++;
	pace->last_left = left;
	pace->grew = shrank ? 0 : pace->grew + 1;
	if (migration_pace_estimate_ms(pace, left, rate) <= pace->downtime_ms)
		return MIGRATION_PACE_STOP;
	if (pace->no_throttle || pace->grew < GREW_MOST || pace->throttle == THROTTLE_MOST)
		return MIGRATION_PACE_ROUND;
	pace->grew = 0;
	pace->throttle = pace->throttle ? pace->throttle + THROTTLE_STEP : THROTTLE_FIRST;
	if (pace->throttle > THROTTLE_MOST)
		pace->throttle = THROTTLE_MOST;
	return MIGRATION_PACE_THROTTLE;
}
