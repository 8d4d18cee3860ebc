/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * SOCK_SEQPACKET unix sockets that carry messages with file descriptors (SCM_RIGHTS).
 */
#ifndef LUNAR_BASE_FD_PASSING_H
#define LUNAR_BASE_FD_PASSING_H

#include <stddef.h>
#include <sys/types.h>

#define FD_PASSING_MAX 32

/*
 * Sends one message with fd_count fds (at most FD_PASSING_MAX). The fds stay the caller's.
 * Returns 0, -EAGAIN (non-blocking socket full), -EPIPE (peer gone) or another -errno.
 */
int fd_passing_send(int socket, const void *message, size_t length, const int *fds,
		    size_t fd_count);

/*
 * Receives one message of at most size bytes. On success returns its length (0: peer closed) and
 * stores the received fds (close-on-exec, now the caller's) and their number, at most max_fds; more
 * than that, a message that does not fit, or an empty one with fds, is -EMSGSIZE with every fd
 * closed and the message dropped. -EAGAIN when there is none.
 */
ssize_t fd_passing_receive(int socket, void *message, size_t size, int *fds, size_t max_fds,
			   size_t *fd_count);

/* Connects to, or listens on, a SOCK_SEQPACKET (type) socket path; close-on-exec, non-blocking.
 * Returns the fd or -errno. */
int unix_socket_connect(const char *path, int type);
/* Replaces a stale socket file (one that nobody listens on); -EADDRINUSE where somebody does. Mode
 * 0600. */
int unix_socket_listen(const char *path, int type);

#endif
