/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The requests of a move: a vNIC saved into a memfd, made out of one, resumed and announced; the
 * frames that come for it where it no longer is.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/event_loop.h"
#include "base/fd_passing.h"
#include "base/log.h"
#include "base/state.h"
#include "netvsp/nic.h"
#include "netvsp/vsp_server_internal.h"

#define LOG_COMPONENT "vsp"

#define LATE_A_ROUND 256u /* frames, before others get their turn */
#define STATE_SEALS  (F_SEAL_SHRINK | F_SEAL_WRITE)

/* ---- save ---- */

/* A sealed memfd with the bytes, or -errno. */
static int make_state_fd(const void *bytes, size_t length)
{
	int fd = memfd_create("lunar-nic-state", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	ssize_t written;
	int err;

	if (fd < 0)
		return -errno;
	written = write(fd, bytes, length);
	if (written == (ssize_t)length &&
	    fcntl(fd, F_ADD_SEALS, STATE_SEALS | F_SEAL_GROW | F_SEAL_SEAL) == 0)
		return fd;
	err = written < 0 || written == (ssize_t)length ? -errno : -ENOSPC;
	close(fd);
	return err;
}

int vsp_handle_save(struct connection *connection, struct request *request, struct reply *reply)
{
	struct vsp_state *message = (struct vsp_state *)reply->bytes;
	struct state_writer writer;
	int err;

	(void)request;
	if (!connection->nic)
		return -EBADMSG;
	state_writer_init(&writer);
	err = nic_save(connection->nic, &writer);
	if (!err && writer.length > VSP_MAX_STATE_BYTES)
		err = -EFBIG;
	if (!err) {
		reply->fd = make_state_fd(writer.bytes, writer.length);
		err = reply->fd < 0 ? reply->fd : 0;
	}
	message->size_bytes = writer.length;
	reply->length = sizeof(*message);
	state_writer_fini(&writer);
	/* The vNIC rests, so these are its last words; they belong ahead of the reply. */
	if (vsp_send_last_notices(connection) < 0)
		return -EBADMSG;
	return err;
}

/* ---- restore ---- */

/* Copies the state out of the fd: whoever made it may still change what is not sealed. Returns 0
 * (the caller frees *bytes) or -errno. */
static int copy_state(int fd, size_t size, void **bytes)
{
	int seals = fcntl(fd, F_GET_SEALS);
	struct stat stat;
	void *copy;

	if (seals < 0 || (seals & STATE_SEALS) != STATE_SEALS)
		return -EPERM;
	if (fstat(fd, &stat) < 0 || stat.st_size < 0 || (size_t)stat.st_size < size)
		return -EINVAL;
	copy = malloc(size);
	if (!copy)
		return -ENOMEM;
	if (pread(fd, copy, size, 0) != (ssize_t)size) {
		free(copy);
		return -EIO;
	}
	*bytes = copy;
	return 0;
}

int vsp_handle_restore(struct connection *connection, struct request *request, struct reply *reply)
{
	const struct vsp_state *message = request->bytes;
	void *bytes;
	int err;

	(void)reply;
	if (!connection->nic)
		return -EBADMSG;
	if (message->size_bytes == 0 || message->size_bytes > VSP_MAX_STATE_BYTES)
		return -EINVAL;
	err = copy_state(request->fds[0], (size_t)message->size_bytes, &bytes);
	if (err)
		return err;
	err = nic_restore(connection->nic, bytes, (size_t)message->size_bytes);
	free(bytes);
	if (err)
		log_warn_limited("%s: its saved state is refused: %s", connection->name,
				 strerror(-err));
	return err;
}

int vsp_handle_journal(struct connection *connection, struct request *request, struct reply *reply)
{
	const struct vsp_journal *message = request->bytes;
	int err;

	(void)reply;
	if (!connection->nic)
		return -EBADMSG;
	if (message->flags & ~VSP_JOURNAL_RECOVER)
		return -EINVAL;
	err = nic_keep_journal(connection->nic, request->fds[0],
			       message->flags & VSP_JOURNAL_RECOVER);
	if (err && err != -ENODATA)
		log_warn_limited("%s: its journal is refused: %s", connection->name,
				 strerror(-err));
	return err;
}

/* ---- resume ---- */

/* The next announcement, and a timer for the one after it. */
static void announce(void *ctx)
{
	static const uint32_t pauses_ms[] = {50, 100, 150, 300};
	struct connection *connection = ctx;

	connection->announce_timer = NULL;
	nic_announce(connection->nic);
	if (connection->announcement >= ARRAY_LENGTH(pauses_ms))
		return;
	if (event_loop_after_ms(connection->server->loop, pauses_ms[connection->announcement],
				announce, connection, &connection->announce_timer) < 0)
		connection->announce_timer = NULL;
	connection->announcement++;
}

void vsp_announce(struct connection *connection)
{
	event_timer_cancel(connection->announce_timer);
	connection->announcement = 0;
	announce(connection);
}

int vsp_handle_resume(struct connection *connection, struct request *request, struct reply *reply)
{
	const struct vsp_resume *message = request->bytes;
	int err;

	(void)reply;
	if (!connection->nic)
		return -EBADMSG;
	if (message->flags & ~VSP_RESUME_ANNOUNCE)
		return -EINVAL;
	err = nic_resume(connection->nic);
	if (err || !(message->flags & VSP_RESUME_ANNOUNCE))
		return err;
	nic_announce_to_guest(connection->nic);
	vsp_announce(connection);
	return 0;
}

/* ---- late frames ---- */

int vsp_handle_depart(struct connection *connection, struct request *request, struct reply *reply)
{
	(void)request;
	(void)reply;
	if (!connection->nic)
		return -EBADMSG;
	if (!connection->late_messages)
		connection->late_messages = malloc(NIC_LATE_BYTES);
	return connection->late_messages ? nic_depart(connection->nic) : -ENOMEM;
}

/* The next message to send, or NULL: there is none. */
static const struct vsp_header *next_late(struct connection *connection)
{
	if (connection->late_sent >= connection->late_length) {
		connection->late_sent = 0;
		connection->late_length = nic_take_late(connection->nic, connection->late_messages);
	}
	return connection->late_length > 0
		       ? (const void *)(connection->late_messages + connection->late_sent)
		       : NULL;
}

/* Late frames leave half of the socket's buffer alone: replies must not find it full. A unix socket
 * is writable while less than a quarter is used, and no frame takes another one. */
static bool has_room(const struct connection *connection)
{
	struct pollfd pollfd = {.fd = connection->fd, .events = POLLOUT};

	return poll(&pollfd, 1, 0) == 1 && (pollfd.revents & POLLOUT);
}

int vsp_send_late(struct connection *connection)
{
	const struct vsp_header *message;
	unsigned int left = LATE_A_ROUND;
	int err = 0;

	while (left-- > 0 && !err && (message = next_late(connection))) {
		if (!has_room(connection))
			break;
		err = fd_passing_send(connection->fd, message, message->size_bytes, NULL, 0);
		if (!err)
			connection->late_sent += align_up(message->size_bytes, NIC_LATE_ALIGN);
	}
	if (err && err != -EAGAIN)
		return err;
	/* The frames that come meanwhile wait in the NIC, or are dropped there. */
	return event_watch_modify(connection->watch,
				  EPOLLIN | (connection->late_length > 0 ? EPOLLOUT : 0));
}

int vsp_handle_inject(struct connection *connection, struct request *request, struct reply *reply)
{
	const struct vsp_frame *message = request->bytes;
	size_t length = request->length - sizeof(*message);

	(void)reply;
	if (!connection->nic)
		return -EBADMSG;
	if (length > VSP_MAX_FRAME_BYTES)
		return -EMSGSIZE;
	return nic_inject(connection->nic, message->bytes, length);
}

void vsp_move_fini(struct connection *connection)
{
	event_timer_cancel(connection->announce_timer);
	free(connection->late_messages);
}
