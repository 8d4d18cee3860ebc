/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * TCP below a move's TLS: dial with a deadline, listen on a free port of a range, accept with a
 * deadline. Every socket is non-blocking, close-on-exec, and notices a dead peer or a cut network
 * within MIGRATION_DEAD_PEER_MS. That includes a peer that does not read for so long while bytes
 * wait for it: who receives must go on reading.
 */
#ifndef LUNAR_HYPERVISOR_MIGRATION_SOCKET_H
#define LUNAR_HYPERVISOR_MIGRATION_SOCKET_H

#include <stdint.h>

#include "base/deadline.h"
#include "hypervisor/vm_error.h"

#define MIGRATION_DEAD_PEER_MS 5000

/*
 * Connects to host (a name, or an address) and port. Names are looked up with the system's resolver
 * on a thread that is left behind where it has not answered by the deadline. cancel_fd: an fd that
 * becomes readable where the caller shall give up, or -1. Returns the fd, or -errno with *error
 * (EXIT_HOST_UNREACHABLE; EXIT_CANCELLED with -ECANCELED).
 */
int migration_dial(const char *host, uint16_t port, int cancel_fd, struct deadline deadline,
		   struct vm_error *error);

/* Sets the options above on an accepted or inherited socket. Returns 0 or -errno. */
int migration_socket_prepare(int fd);

/* Listens on the local address of socket (where its peer reached us), on the first free port of
 * first..last; port 0..0: any. Returns the fd with *port, or -errno (-EADDRINUSE). */
int migration_listen(int socket, uint16_t first, uint16_t last, uint16_t *port);
/* Returns a prepared fd; -ETIMEDOUT, -ECANCELED (cancel_fd, as above), or -errno. */
int migration_accept(int listener, int cancel_fd, struct deadline deadline);

#endif
