/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The queue of held frames: a ring of pointers.
 */
#include "netvsp/hold_queue.h"

#include "netvsp/data_path.h"

void hold_queue_init(struct hold_queue *queue, struct data_path *path)
{
	queue->path = path;
	queue->head = 0;
	queue->count = 0;
	queue->dropped = 0;
}

/* The buffers that a frame is made of. */
static struct hold_share frame_share(const struct data_path *path, const struct rte_mbuf *frame)
{
	struct hold_share share = {0};

	for (; frame; frame = frame->next) {
		if (frame->pool == path->pools.large)
			share.large++;
		else
			share.small++;
	}
	return share;
}

bool hold_queue_push(struct hold_queue *queue, struct rte_mbuf *frame)
{
	struct hold_share *held = &queue->path->held;
	struct hold_share share = frame_share(queue->path, frame);

	if (queue->count == HOLD_MAX_FRAMES ||
	    held->small + share.small > queue->path->pools.small->size / HOLD_POOL_SHARE ||
	    held->large + share.large > queue->path->pools.large->size / HOLD_POOL_SHARE) {
		rte_pktmbuf_free(frame);
		queue->dropped++;
		return false;
	}
	held->small += share.small;
	held->large += share.large;
	queue->frames[(queue->head + queue->count++) % HOLD_MAX_FRAMES] = frame;
	return true;
}

struct rte_mbuf *hold_queue_pop(struct hold_queue *queue)
{
	struct rte_mbuf *frame;
	struct hold_share share;

	if (queue->count == 0)
		return NULL;
	frame = queue->frames[queue->head];
	queue->head = (queue->head + 1) % HOLD_MAX_FRAMES;
	queue->count--;
	share = frame_share(queue->path, frame);
	queue->path->held.small -= share.small;
	queue->path->held.large -= share.large;
	return frame;
}

void hold_queue_clear(struct hold_queue *queue)
{
	struct rte_mbuf *frame;

	while ((frame = hold_queue_pop(queue)))
		rte_pktmbuf_free(frame);
}
