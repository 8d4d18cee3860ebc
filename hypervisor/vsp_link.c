/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The vsp connection. See vsp_link.h.
 */
#include "hypervisor/vsp_link.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <unistd.h>

#include "base/deadline.h"
#include "base/event_loop.h"
#include "base/fd_passing.h"

struct vsp_request {
	TAILQ_ENTRY(vsp_request) link;
	vsp_reply_fn fn;
	void *ctx;
	uint64_t tag;
	uint32_t type;
	uint32_t sequence;
	struct deadline deadline;
	/* until it is sent: */
	struct vsp_header *message;
	size_t length;
	int fds[VSP_LINK_MAX_FDS];
	size_t fd_count;
};

TAILQ_HEAD(request_queue, vsp_request);

struct vsp_link {
	struct event_loop *loop;
	const struct vsp_link_ops *ops;
	void *ctx;
	int socket;
	struct event_watch *watch;
	struct event_timer *timer; /* of the oldest request's deadline, or of the loss to report */
	const char *lost;	   /* why; NULL while it stands */
	uint32_t callbacks;	   /* that we are within */
	bool destroyed;		   /* from within one: it frees us when it returns */
	uint32_t next_sequence;
	size_t request_count;
	struct request_queue unsent;
	struct request_queue waiting; /* for a reply, oldest first */
	int received_fd;	      /* that came with the message in hand; -1: none */
	_Alignas(uint64_t) uint8_t buffer[VSP_MAX_MESSAGE_BYTES];
};

static void request_free_message(struct vsp_request *request)
{
	for (size_t i = 0; i < request->fd_count; i++)
		close(request->fds[i]);
	request->fd_count = 0;
	free(request->message);
	request->message = NULL;
}

static void queue_free(struct request_queue *queue)
{
	struct vsp_request *request;

	while ((request = TAILQ_FIRST(queue))) {
		TAILQ_REMOVE(queue, request, link);
		request_free_message(request);
		free(request);
	}
}

static void received_fd_close(struct vsp_link *link)
{
	if (link->received_fd >= 0)
		close(link->received_fd);
	link->received_fd = -1;
}

int vsp_link_take_fd(struct vsp_link *link)
{
	int fd = link->received_fd;

	link->received_fd = -1;
	return fd;
}

void vsp_link_destroy(struct vsp_link *link)
{
	if (!link)
		return;
	event_timer_cancel(link->timer);
	event_watch_remove(link->watch);
	close(link->socket);
	received_fd_close(link);
	queue_free(&link->unsent);
	queue_free(&link->waiting);
	if (link->callbacks)
		link->destroyed = true;
	else
		free(link);
}

/* Returns false where the callback destroyed us. */
static bool callback_left(struct vsp_link *link)
{
	link->callbacks--;
	if (!link->destroyed)
		return true;
	if (!link->callbacks)
		free(link);
	return false;
}

static bool request_answer(struct vsp_link *link, struct vsp_request *request, int status,
			   const struct vsp_header *reply)
{
	link->request_count--;
	request_free_message(request);
	link->callbacks++;
	request->fn(request->ctx, request->tag, status, reply);
	free(request);
	return callback_left(link);
}

/* Answers every request of a queue with -ENOTCONN. Returns false where a callback destroyed us. */
static bool queue_fail(struct vsp_link *link, struct request_queue *queue)
{
	struct vsp_request *request;

	while ((request = TAILQ_FIRST(queue))) {
		TAILQ_REMOVE(queue, request, link);
		if (!request_answer(link, request, -ENOTCONN, NULL))
			return false;
	}
	return true;
}

static void on_lost(void *ctx)
{
	struct vsp_link *link = ctx;

	link->timer = NULL;
	if (queue_fail(link, &link->waiting) && queue_fail(link, &link->unsent))
		link->ops->lost(link->ctx, link->lost);
}

/* Nothing goes in or out any more; told from the loop, for the caller may be in the middle of
 * something. */
void vsp_link_lose(struct vsp_link *link, const char *why)
{
	if (link->lost)
		return;
	link->lost = why;
	event_watch_remove(link->watch);
	link->watch = NULL;
	event_timer_cancel(link->timer);
	link->timer = NULL;
	/* without memory for a timer there is no way to tell: the requests' owners keep waiting,
	 * and the VM goes on without this NIC */
	(void)event_loop_after_ms(link->loop, 0, on_lost, link, &link->timer);
}

static void on_deadline(void *ctx);

/* Keeps the timer at the oldest unanswered request. */
static void timer_update(struct vsp_link *link)
{
	const struct vsp_request *oldest = TAILQ_FIRST(&link->waiting);

	if (link->lost)
		return;
	if (!oldest)
		oldest = TAILQ_FIRST(&link->unsent);
	event_timer_cancel(link->timer);
	link->timer = NULL;
	if (oldest && event_loop_after_ms(link->loop, (uint32_t)deadline_left_ms(oldest->deadline),
					  on_deadline, link, &link->timer))
		vsp_link_lose(link, "out of memory");
}

static void on_deadline(void *ctx)
{
	struct vsp_link *link = ctx;
	const struct vsp_request *oldest = TAILQ_FIRST(&link->waiting);

	link->timer = NULL;
	if (!oldest)
		oldest = TAILQ_FIRST(&link->unsent);
	if (oldest && deadline_passed(oldest->deadline))
		vsp_link_lose(link, "it does not answer");
	else
		timer_update(link);
}

/* Sends what the socket takes. */
static void unsent_flush(struct vsp_link *link)
{
	struct vsp_request *request;

	while (!link->lost && (request = TAILQ_FIRST(&link->unsent))) {
		int result = fd_passing_send(link->socket, request->message, request->length,
					     request->fds, request->fd_count);

		if (result == -EAGAIN)
			break;
		if (result) {
			vsp_link_lose(link, "it closed the connection");
			return;
		}
		TAILQ_REMOVE(&link->unsent, request, link);
		request_free_message(request);
		TAILQ_INSERT_TAIL(&link->waiting, request, link);
	}
	if (!link->lost)
		event_watch_modify(link->watch,
				   EPOLLIN | (TAILQ_EMPTY(&link->unsent) ? 0 : EPOLLOUT));
}

/* Returns false where a callback destroyed us. */
static bool reply_handle(struct vsp_link *link, const struct vsp_header *reply)
{
	struct vsp_request *request;

	TAILQ_FOREACH (request, &link->waiting, link)
		if (request->sequence == reply->sequence)
			break;
	if (!request || reply->type != (request->type | VSP_REPLY) || reply->status > 0) {
		vsp_link_lose(link, "it broke the protocol: an answer to nothing");
		return true;
	}
	TAILQ_REMOVE(&link->waiting, request, link);
	timer_update(link);
	return request_answer(link, request, reply->status, reply);
}

static bool message_handle(struct vsp_link *link, size_t length)
{
	const struct vsp_header *message = (const struct vsp_header *)link->buffer;

	if (length < sizeof(*message) || message->size_bytes != length) {
		vsp_link_lose(link, "it broke the protocol: a message of the wrong length");
		return true;
	}
	if (message->type & VSP_REPLY)
		return reply_handle(link, message);
	if (!(message->type & VSP_NOTIFY)) {
		vsp_link_lose(link, "it broke the protocol: an unknown message");
		return true;
	}
	link->callbacks++;
	link->ops->notified(link->ctx, message);
	return callback_left(link);
}

/* Takes messages until there are none, a bounded number of them. */
static void messages_receive(struct vsp_link *link)
{
	enum { ROUND = 64 };

	for (int i = 0; i < ROUND && !link->lost; i++) {
		size_t fd_count = 0;
		int fd;
		ssize_t length = fd_passing_receive(link->socket, link->buffer,
						    sizeof(link->buffer), &fd, 1, &fd_count);

		if (length == -EAGAIN)
			return;
		if (length <= 0) {
			vsp_link_lose(link, length == -EMSGSIZE
						    ? "it broke the protocol: a message too large"
						    : "it closed the connection");
			return;
		}
		if (fd_count)
			link->received_fd = fd;
		if (!message_handle(link, (size_t)length))
			return;
		received_fd_close(link); /* that nobody took */
	}
}

static void on_socket(void *ctx, int fd, uint32_t events)
{
	struct vsp_link *link = ctx;

	(void)fd;
	if (events & EPOLLOUT)
		unsent_flush(link);
	if (events & ~(uint32_t)EPOLLOUT)
		messages_receive(link);
}

int vsp_link_create(struct event_loop *loop, int socket, const struct vsp_link_ops *ops, void *ctx,
		    struct vsp_link **link)
{
	struct vsp_link *made = calloc(1, sizeof(*made));
	int result = -ENOMEM;

	if (!made)
		goto err_close;
	made->loop = loop;
	made->ops = ops;
	made->ctx = ctx;
	made->socket = socket;
	made->received_fd = -1;
	TAILQ_INIT(&made->unsent);
	TAILQ_INIT(&made->waiting);
	result = event_loop_watch(loop, socket, EPOLLIN, on_socket, made, &made->watch);
	if (result)
		goto err_close;
	*link = made;
	return 0;

err_close:
	free(made);
	close(socket);
	return result;
}

static int request_fill(struct vsp_request *request, const struct vsp_header *message,
			const int *fds, size_t fd_count)
{
	request->message = malloc(message->size_bytes);
	if (!request->message)
		return -ENOMEM;
	request->length = message->size_bytes;
	memcpy(request->message, message, request->length);
	for (; request->fd_count < fd_count; request->fd_count++) {
		int own = fcntl(fds[request->fd_count], F_DUPFD_CLOEXEC, 0);

		if (own < 0)
			return -errno;
		request->fds[request->fd_count] = own;
	}
	return 0;
}

int vsp_link_request(struct vsp_link *link, struct vsp_header *message, const int *fds,
		     size_t fd_count, vsp_reply_fn fn, void *ctx, uint64_t tag)
{
	struct vsp_request *request;
	int result;

	if (message->size_bytes < sizeof(*message) || message->size_bytes > VSP_MAX_MESSAGE_BYTES ||
	    fd_count > VSP_LINK_MAX_FDS)
		return -EINVAL;
	if (link->request_count == VSP_LINK_MAX_REQUESTS)
		return -ENOBUFS;
	request = calloc(1, sizeof(*request));
	if (!request)
		return -ENOMEM;
	message->sequence = link->next_sequence++;
	message->status = 0;
	request->fn = fn;
	request->ctx = ctx;
	request->tag = tag;
	request->type = message->type;
	request->sequence = message->sequence;
	request->deadline = deadline_in_ms(VSP_LINK_REPLY_MS);
	result = request_fill(request, message, fds, fd_count);
	if (result) {
		request_free_message(request);
		free(request);
		return result;
	}
	TAILQ_INSERT_TAIL(&link->unsent, request, link);
	link->request_count++;
	unsent_flush(link); /* a loss that this finds is told from the loop, with fn's call */
	if (!link->timer)
		timer_update(link);
	return 0;
}

void vsp_link_pump(struct vsp_link *link, int timeout_ms)
{
	struct pollfd poll_fd = {.fd = link->socket, .events = POLLIN};
	uint32_t events = 0;

	if (link->lost) {
		event_timer_cancel(link->timer);
		on_lost(link);
		return;
	}
	if (!TAILQ_EMPTY(&link->unsent))
		poll_fd.events |= POLLOUT;
	if (poll(&poll_fd, 1, timeout_ms) <= 0)
		return;
	if (poll_fd.revents & POLLOUT)
		events |= EPOLLOUT;
	if (poll_fd.revents & ~POLLOUT)
		events |= EPOLLIN;
	on_socket(link, link->socket, events);
}
