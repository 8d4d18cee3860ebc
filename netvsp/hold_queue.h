/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Frames for a vNIC at rest, in the order they came. Bounded three ways: frames a vNIC, and small
 * and large buffers of all vNICs together, so that what rests never starves what runs. The newest
 * frame is the one that is dropped. Worker's thread.
 */
#ifndef LUNAR_NETVSP_HOLD_QUEUE_H
#define LUNAR_NETVSP_HOLD_QUEUE_H

#include <stdbool.h>
#include <stdint.h>

struct data_path;
struct rte_mbuf;

#define HOLD_MAX_FRAMES 1024u
#define HOLD_POOL_SHARE 4u /* this part of each pool may be held */

/* Buffers that are held, by all queues of a data path. */
struct hold_share {
	uint32_t small;
	uint32_t large;
};

struct hold_queue {
	struct data_path *path;
	uint32_t head;
	uint32_t count;
	uint64_t dropped; /* for want of room, since the beginning */
	struct rte_mbuf *frames[HOLD_MAX_FRAMES];
};

void hold_queue_init(struct hold_queue *queue, struct data_path *path);
/* Takes the frame. False: no room, and it was freed. */
bool hold_queue_push(struct hold_queue *queue, struct rte_mbuf *frame);
/* The oldest, now the caller's; NULL: none left. */
struct rte_mbuf *hold_queue_pop(struct hold_queue *queue);
/* Frees all frames. */
void hold_queue_clear(struct hold_queue *queue);

#endif
