/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A posted call that can be taken back.
 */
#include "hypervisor/migration/over.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/event_loop.h"

#define AGAIN_US 10000

struct over_post {
	struct event_loop *loop;
	over_fn fn;
	void *owner; /* loop's thread; NULL: taken back */
	_Atomic bool sent;
};

int over_post_create(struct event_loop *loop, over_fn fn, void *owner, struct over_post **post)
{
	struct over_post *made = calloc(1, sizeof(*made));

	if (!made)
		return -ENOMEM;
	made->loop = loop;
	made->fn = fn;
	made->owner = owner;
	*post = made;
	return 0;
}

static void on_over(void *ctx)
{
	struct over_post *post = ctx;
	over_fn fn = post->fn;
	void *owner = post->owner;

	free(post);
	if (owner)
		fn(owner);
}

void over_post_send(struct over_post *post)
{
	atomic_store(&post->sent, true);
	while (event_loop_post(post->loop, on_over, post))
		usleep(AGAIN_US); /* out of memory for a few bytes: it must be said */
}

void over_post_cancel(struct over_post *post)
{
	if (!post)
		return;
	if (atomic_load(&post->sent))
		post->owner = NULL; /* the loop frees it */
	else
		free(post);
}
