/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The requests of a move: a vNIC saved into a memfd, made out of one, resumed.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/state.h"
#include "netvsp/nic.h"
#include "netvsp/vsp_server_internal.h"

#define LOG_COMPONENT "vsp"

#define STATE_SEALS (F_SEAL_SHRINK | F_SEAL_WRITE)

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
	if (vsp_send_notices(connection) < 0)
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

/* ---- resume ---- */

int vsp_handle_resume(struct connection *connection, struct request *request, struct reply *reply)
{
	const struct vsp_resume *message = request->bytes;

	(void)reply;
	if (!connection->nic)
		return -EBADMSG;
	if (message->flags & ~VSP_RESUME_ANNOUNCE)
		return -EINVAL;
	return nic_resume(connection->nic);
}

void vsp_move_fini(struct connection *connection)
{
	(void)connection;
}
