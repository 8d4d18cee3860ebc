/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * When a VM that is being copied is stopped for the rest, and when it is slowed down first. A pure
 * calculation over what the rounds measured.
 */
#ifndef LUNAR_HYPERVISOR_MIGRATION_PACE_H
#define LUNAR_HYPERVISOR_MIGRATION_PACE_H

#include <stdbool.h>
#include <stdint.h>

struct migration_pace {
	uint32_t downtime_ms; /* aimed at */
	bool no_throttle;
	uint32_t fixed_ms; /* of the stop, whatever is left: to pause, save, restore */
	uint64_t last_left;
	uint32_t grew; /* rounds in a row that did not shrink what is left */
	uint32_t throttle;
	uint32_t rounds;
};

enum migration_pace_verdict {
	MIGRATION_PACE_ROUND,	 /* another round */
	MIGRATION_PACE_THROTTLE, /* another, with pace->throttle percent from now on */
	MIGRATION_PACE_STOP,	 /* what is left fits into the downtime */
};

void migration_pace_init(struct migration_pace *pace, uint32_t downtime_ms, bool no_throttle);

/* How long the VM would stand still: left bytes of memory, at rate bytes of memory a second. */
uint32_t migration_pace_estimate_ms(const struct migration_pace *pace, uint64_t left,
				    uint64_t rate);

/* How long a stopped VM may wait until it has arrived, last pages and restore: several times what
 * they should take, and well within what an iSCSI session forgives where little is left. */
uint32_t migration_pace_stop_ms(uint64_t left, uint64_t rate);

/* After each round. left: bytes that are dirty now; rate: of memory, in this round. */
enum migration_pace_verdict migration_pace_round(struct migration_pace *pace, uint64_t left,
						 uint64_t rate);

#endif
