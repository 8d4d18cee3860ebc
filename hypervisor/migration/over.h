/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The last word of a mover's thread to the event loop: "I am done". It may be taken back by the
 * loop's thread as long as it has not been delivered.
 */
#ifndef LUNAR_HYPERVISOR_MIGRATION_OVER_H
#define LUNAR_HYPERVISOR_MIGRATION_OVER_H

struct event_loop;
struct over_post;

typedef void (*over_fn)(void *owner);

/* Made before the thread starts, so that it cannot fail later. Returns 0 or -ENOMEM. */
int over_post_create(struct event_loop *loop, over_fn fn, void *owner, struct over_post **post);
/* The mover's thread, once: fn(owner) runs on the loop's thread. post is then the loop's. */
void over_post_send(struct over_post *post);
/* The loop's thread, with the mover's thread joined: fn will not be called. Takes NULL. */
void over_post_cancel(struct over_post *post);

#endif
