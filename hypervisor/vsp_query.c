/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * HELLO, then the question. See vsp_query.h.
 */
#include "hypervisor/vsp_query.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/event_loop.h"
#include "base/fd_passing.h"
#include "hypervisor/vsp_client_internal.h"
#include "hypervisor/vsp_link.h"
#include "vlan/vlan_config.h"

struct vsp_query {
	struct vsp_link *link;
	struct event_timer *deadline;
	vsp_query_fn fn;
	vsp_query_vlan_fn vlan_fn; /* of vsp_query_vlan(), which has no fn */
	void *ctx;
	int refusal; /* of HELLO */
};

void vsp_query_cancel(struct vsp_query *query)
{
	if (!query)
		return;
	event_timer_cancel(query->deadline);
	vsp_link_destroy(query->link);
	free(query);
}

static void query_end_vlan(struct vsp_query *query, int status, const struct vsp_header *reply)
{
	const struct vsp_vlan_missing *message = (const void *)reply;
	vsp_query_vlan_fn fn = query->vlan_fn;
	void *ctx = query->ctx;
	struct vlan_set missing = {0};

	if (!status && reply->size_bytes < sizeof(*message))
		status = -EPROTO;
	if (!status)
		vlan_set_get(&missing, message->list);
	vsp_query_cancel(query);
	fn(ctx, status, status ? NULL : &missing);
}

static void query_end(struct vsp_query *query, int status, const struct vsp_info *info)
{
	vsp_query_fn fn = query->fn;
	void *ctx = query->ctx;
	struct vsp_info copy;

	if (info) { /* it lies in the link's buffer */
		copy = *info;
		for (size_t i = 0; i < VSP_MAX_UPLINKS; i++)
			copy.uplinks[i].name[sizeof(copy.uplinks[i].name) - 1] = '\0';
		info = &copy;
	}
	vsp_query_cancel(query);
	fn(ctx, status, info);
}

static void on_hello(void *ctx, uint64_t tag, int status, const struct vsp_header *reply)
{
	struct vsp_query *query = ctx;
	const struct vsp_hello *hello = (const void *)reply;

	(void)tag;
	if (!status && reply->size_bytes < sizeof(*hello))
		status = -EPROTO;
	else if (!status && hello->version < VSP_VERSION_MOVES)
		status = -EOPNOTSUPP;
	query->refusal = status;
}

static void on_answer(void *ctx, uint64_t tag, int status, const struct vsp_header *reply)
{
	struct vsp_query *query = ctx;
	const struct vsp_info *info = NULL;

	if (!reply)
		status = -ENOTCONN;
	else if (query->refusal)
		status = query->refusal;
	if (query->vlan_fn) {
		query_end_vlan(query, status, reply);
		return;
	}
	if (!status && tag == VSP_INFO) {
		info = (const void *)reply;
		if (reply->size_bytes < sizeof(*info) || info->uplink_count > VSP_MAX_UPLINKS)
			status = -EPROTO;
	}
	query_end(query, status, status ? NULL : info);
}

static void on_deadline(void *ctx)
{
	struct vsp_query *query = ctx;

	query->deadline = NULL;
	if (query->vlan_fn)
		query_end_vlan(query, -ETIMEDOUT, NULL);
	else
		query_end(query, -ETIMEDOUT, NULL);
}

static void on_notified(void *ctx, const struct vsp_header *message)
{
	(void)ctx; /* nothing that a question asks for */
	(void)message;
}

static void on_lost(void *ctx, const char *why)
{
	(void)why; /* on_answer() was called before, and has ended the query */
	(void)ctx;
}

static const struct vsp_link_ops link_ops = {.notified = on_notified, .lost = on_lost};

/* question: type and size filled. */
static int query_start(struct event_loop *loop, const char *path, struct vsp_header *question,
		       uint32_t deadline_ms, vsp_query_fn fn, vsp_query_vlan_fn vlan_fn, void *ctx,
		       struct vsp_query **query)
{
	struct vsp_hello hello = {.version = VSP_VERSION};
	struct vsp_query *made = calloc(1, sizeof(*made));
	int result;

	if (!made)
		return -ENOMEM;
	made->fn = fn;
	made->vlan_fn = vlan_fn;
	made->ctx = ctx;
	result = unix_socket_connect(path, SOCK_SEQPACKET);
	if (result >= 0)
		result = vsp_link_create(loop, result, &link_ops, made, &made->link);
	vsp_header_fill(&hello, VSP_HELLO, sizeof(hello));
	if (!result)
		result = vsp_link_request(made->link, &hello.header, NULL, 0, on_hello, made, 0);
	if (!result)
		result = vsp_link_request(made->link, question, NULL, 0, on_answer, made,
					  question->type);
	if (!result)
		result = event_loop_after_ms(loop, deadline_ms, on_deadline, made, &made->deadline);
	if (result) {
		vsp_query_cancel(made);
		return result;
	}
	*query = made;
	return 0;
}

int vsp_query_info(struct event_loop *loop, const char *path, uint32_t deadline_ms, vsp_query_fn fn,
		   void *ctx, struct vsp_query **query)
{
	struct vsp_header question;

	vsp_header_fill(&question, VSP_INFO, sizeof(question));
	return query_start(loop, path, &question, deadline_ms, fn, NULL, ctx, query);
}

int vsp_query_vlan(struct event_loop *loop, const char *path, const struct vlan_config *vlan,
		   uint32_t deadline_ms, vsp_query_vlan_fn fn, void *ctx, struct vsp_query **query)
{
	struct vsp_vlan question = {
		.mode = vlan->mode, .id = vlan->id, .secondary = vlan->secondary};

	vsp_header_fill(&question, VSP_VLAN_CHECK, sizeof(question));
	vlan_set_put(&vlan->list, question.list);
	return query_start(loop, path, &question.header, deadline_ms, NULL, fn, ctx, query);
}

int vsp_query_probe(struct event_loop *loop, const char *path, const struct vsp_portal *portal,
		    uint32_t deadline_ms, vsp_query_fn fn, void *ctx, struct vsp_query **query)
{
	struct vsp_probe question = {.portal = *portal};

	vsp_header_fill(&question, VSP_PROBE, sizeof(question));
	return query_start(loop, path, &question.header, deadline_ms, fn, NULL, ctx, query);
}
