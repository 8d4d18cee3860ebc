/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A connection to netvspd (wire/vsp.h): requests and their replies, notifications, deadlines. It
 * knows nothing of what the messages mean. Loop's thread only.
 */
#ifndef LUNAR_HYPERVISOR_VSP_LINK_H
#define LUNAR_HYPERVISOR_VSP_LINK_H

#include <stddef.h>
#include <stdint.h>

#include "wire/vsp.h"

struct event_loop;
struct vsp_link;

#define VSP_LINK_REPLY_MS 10000 /* netvspd is lost when a reply takes longer */
/* Unanswered; a guest cannot make us hoard more. The VMBus server bounds it lower: one request for
 * each of its 4096 GPADLs, two for each of 64 channels, and four of our own. */
#define VSP_LINK_MAX_REQUESTS 4352
#define VSP_LINK_MAX_FDS      16

/*
 * The answer to a request: status 0 or -errno as the peer gave it, reply the whole message (its
 * size_bytes checked against what came). Where the link was lost: -ENOTCONN and NULL.
 */
typedef void (*vsp_reply_fn)(void *ctx, uint64_t tag, int status, const struct vsp_header *reply);

struct vsp_link_ops {
	/* A notification, whole. The link may be destroyed from within. */
	void (*notified)(void *ctx, const struct vsp_header *message);
	/* Once, from the loop, never from within a call: the peer is gone, late, or broke the
	 * protocol. Every request has been answered before. The link may be destroyed from within.
	 */
	void (*lost)(void *ctx, const char *why);
};

/* Takes over the connected non-blocking socket, also where it fails. Returns 0 or -errno. */
int vsp_link_create(struct event_loop *loop, int socket, const struct vsp_link_ops *ops, void *ctx,
		    struct vsp_link **link);
/* Takes NULL. Requests without an answer get none. */
void vsp_link_destroy(struct vsp_link *link);

/*
 * Sends message (type and size_bytes filled; the sequence is ours) with fds, which stay the
 * caller's. fn is called once, from the loop, never from within this call. tag is for the caller.
 * Returns 0, or -EINVAL, -ENOMEM, -ENOBUFS (too many unanswered): then fn is not called.
 */
int vsp_link_request(struct vsp_link *link, struct vsp_header *message, const int *fds,
		     size_t fd_count, vsp_reply_fn fn, void *ctx, uint64_t tag);

/* From within a vsp_reply_fn or ops->notified: the fd that came with the message, now the caller's;
 * -1: none came. */
int vsp_link_take_fd(struct vsp_link *link);

/* Gives the link up: ops->lost follows from the loop, with this reason (static). */
void vsp_link_lose(struct vsp_link *link, const char *why);

/* Waits at most timeout_ms for something to happen on this link alone, and lets it happen. For a
 * caller that cannot go back to the loop. */
void vsp_link_pump(struct vsp_link *link, int timeout_ms);

#endif
