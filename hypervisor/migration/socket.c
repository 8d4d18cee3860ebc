/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sockets of a move. See socket.h.
 */
#include "hypervisor/migration/socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define KEEPALIVE_IDLE_SECONDS	   2
#define KEEPALIVE_INTERVAL_SECONDS 1
#define KEEPALIVE_PROBES	   3
/* Unsent bytes that the kernel holds a connection: what a sender believes gone and is not delays
 * the last round, so it is kept short. */
#define NOT_SENT_BYTES	      (512 * 1024)
#define ACCEPT_BACKLOG	      16
#define CONNECT_ADDRESS_TRIES 8

/* ---- waiting ---- */

/* Waits until fd has one of the events: 0, -ETIMEDOUT, -ECANCELED or -errno. */
static int fd_wait(int fd, short events, int cancel_fd, struct deadline deadline)
{
	struct pollfd fds[2] = {
		{.fd = fd, .events = events},
		{.fd = cancel_fd, .events = POLLIN},
	};

	for (;;) {
		int rc = poll(fds, 2, deadline_left_ms(deadline));

		if (rc < 0 && errno != EINTR)
			return -errno;
		if (rc > 0 && fds[1].revents != 0)
			return -ECANCELED;
		if (rc > 0)
			return 0;
		if (deadline_passed(deadline))
			return -ETIMEDOUT;
	}
}

/* ---- options ---- */

static int option_set(int fd, int level, int name, int value)
{
	return setsockopt(fd, level, name, &value, sizeof(value)) < 0 ? -errno : 0;
}

int migration_socket_prepare(int fd)
{
	static const struct {
		int level;
		int name;
		int value;
	} options[] = {
		{SOL_SOCKET, SO_KEEPALIVE, 1},
		{IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_SECONDS},
		{IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL_SECONDS},
		{IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_PROBES},
		{IPPROTO_TCP, TCP_USER_TIMEOUT, MIGRATION_DEAD_PEER_MS},
		{IPPROTO_TCP, TCP_NODELAY, 1},
		{IPPROTO_TCP, TCP_NOTSENT_LOWAT, NOT_SENT_BYTES},
	};
	int flags = fcntl(fd, F_GETFL);
	int domain = 0;
	socklen_t length = sizeof(domain);

	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return -errno;
	if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
		return -errno;
	if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &length) < 0)
		return -errno;
	if (domain != AF_INET && domain != AF_INET6)
		return 0;
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
		int rc = option_set(fd, options[i].level, options[i].name, options[i].value);

		if (rc < 0)
			return rc;
	}
	return 0;
}

/* ---- names ---- */

/* A look-up on a thread of its own: getaddrinfo() takes as long as the resolver's time-outs do, and
 * cannot be ended. Freed by the last of the two that hold it. */
struct lookup {
	pthread_mutex_t lock; /* guards the rest */
	unsigned int holders;
	char host[NI_MAXHOST];
	char port[8];
	int done_fd; /* eventfd */
	int result;  /* EAI_* */
	struct addrinfo *addresses;
};

static void lookup_put(struct lookup *lookup)
{
	bool last;

	pthread_mutex_lock(&lookup->lock);
	last = --lookup->holders == 0;
	pthread_mutex_unlock(&lookup->lock);
	if (!last)
		return;
	if (lookup->addresses)
		freeaddrinfo(lookup->addresses);
	close(lookup->done_fd);
	pthread_mutex_destroy(&lookup->lock);
	free(lookup);
}

static void *lookup_run(void *arg)
{
	struct lookup *lookup = arg;
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
	struct addrinfo *addresses = NULL;
	int result = getaddrinfo(lookup->host, lookup->port, &hints, &addresses);

	pthread_mutex_lock(&lookup->lock);
	lookup->result = result;
	lookup->addresses = result == 0 ? addresses : NULL;
	pthread_mutex_unlock(&lookup->lock);
	eventfd_write(lookup->done_fd, 1);
	lookup_put(lookup);
	return NULL;
}

/* Returns NULL where the system has no memory or thread for it. */
static struct lookup *lookup_start(const char *host, uint16_t port)
{
	struct lookup *lookup = calloc(1, sizeof(*lookup));
	pthread_attr_t attr;
	pthread_t thread;
	int rc;

	if (!lookup)
		return NULL;
	lookup->holders = 2;
	snprintf(lookup->host, sizeof(lookup->host), "%s", host);
	snprintf(lookup->port, sizeof(lookup->port), "%u", port);
	lookup->done_fd = eventfd(0, EFD_CLOEXEC);
	if (lookup->done_fd < 0) {
		free(lookup);
		return NULL;
	}
	pthread_mutex_init(&lookup->lock, NULL);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	rc = pthread_create(&thread, &attr, lookup_run, lookup);
	pthread_attr_destroy(&attr);
	if (rc != 0) {
		lookup->holders = 1;
		lookup_put(lookup);
		return NULL;
	}
	return lookup;
}

/* *addresses is the caller's to free. */
static int host_resolve(const char *host, uint16_t port, int cancel_fd, struct deadline deadline,
			struct addrinfo **addresses, struct vm_error *error)
{
	const struct addrinfo numeric = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST};
	struct lookup *lookup;
	char service[8];
	int rc;

	snprintf(service, sizeof(service), "%u", port);
	if (getaddrinfo(host, service, &numeric, addresses) == 0)
		return 0;
	lookup = lookup_start(host, port);
	if (!lookup)
		return vm_error_set(error, EXIT_INTERNAL, -ENOMEM, "cannot look up %s: %s", host,
				    strerror(ENOMEM));
	rc = fd_wait(lookup->done_fd, POLLIN, cancel_fd, deadline);
	if (rc == -ECANCELED) {
		vm_error_set(error, EXIT_CANCELLED, rc, "cancelled");
	} else if (rc < 0) {
		vm_error_set(error, EXIT_HOST_UNREACHABLE, rc,
			     "the name %s was not resolved in time: give an address, or put the "
			     "name into /etc/hosts",
			     host);
	} else {
		pthread_mutex_lock(&lookup->lock);
		if (lookup->result == 0) {
			*addresses = lookup->addresses;
			lookup->addresses = NULL;
		} else {
			rc = vm_error_set(error, EXIT_HOST_UNREACHABLE, -EHOSTUNREACH,
					  "cannot resolve %s: %s", host,
					  gai_strerror(lookup->result));
		}
		pthread_mutex_unlock(&lookup->lock);
	}
	lookup_put(lookup);
	return rc;
}

/* ---- dialling ---- */

static int address_connect(const struct addrinfo *address, int cancel_fd, struct deadline deadline)
{
	int fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int failure = 0;
	socklen_t length = sizeof(failure);
	int rc;

	if (fd < 0)
		return -errno;
	rc = migration_socket_prepare(fd);
	if (rc < 0)
		goto err_close;
	if (connect(fd, address->ai_addr, address->ai_addrlen) < 0 && errno != EINPROGRESS) {
		rc = -errno;
		goto err_close;
	}
	rc = fd_wait(fd, POLLOUT, cancel_fd, deadline);
	if (rc < 0)
		goto err_close;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &failure, &length) < 0)
		failure = errno;
	if (failure != 0) {
		rc = -failure;
		goto err_close;
	}
	return fd;

err_close:
	close(fd);
	return rc;
}

/* An equal share of the time that is left, so that one silent address leaves time for the next. */
static struct deadline deadline_share(struct deadline deadline, unsigned int shares)
{
	uint64_t now = monotonic_ns();

	if (shares > 1 && deadline.at_ns > now)
		deadline.at_ns = now + (deadline.at_ns - now) / shares;
	return deadline;
}

int migration_dial(const char *host, uint16_t port, int cancel_fd, struct deadline deadline,
		   struct vm_error *error)
{
	struct addrinfo *addresses = NULL;
	unsigned int left = 0;
	int rc = host_resolve(host, port, cancel_fd, deadline, &addresses, error);

	if (rc < 0)
		return rc;
	for (const struct addrinfo *a = addresses; a && left < CONNECT_ADDRESS_TRIES;
	     a = a->ai_next)
		left++;
	rc = -EHOSTUNREACH;
	for (const struct addrinfo *a = addresses; a && left > 0; a = a->ai_next, left--) {
		rc = address_connect(a, cancel_fd, deadline_share(deadline, left));
		if (rc >= 0 || rc == -ECANCELED)
			break;
	}
	freeaddrinfo(addresses);
	if (rc >= 0)
		return rc;
	if (rc == -ECANCELED)
		return vm_error_set(error, EXIT_CANCELLED, rc, "cancelled");
	if (rc == -ECONNREFUSED)
		return vm_error_set(error, EXIT_HOST_UNREACHABLE, rc,
				    "nobody listens at %s port %u: run `lunar receive` there", host,
				    port);
	return vm_error_set(error, EXIT_HOST_UNREACHABLE, rc,
			    "cannot reach %s port %u: %s: check the network and the firewall", host,
			    port, strerror(-rc));
}

/* ---- listening ---- */

static void port_set(struct sockaddr_storage *address, uint16_t port)
{
	if (address->ss_family == AF_INET6)
		((struct sockaddr_in6 *)address)->sin6_port = htons(port);
	else
		((struct sockaddr_in *)address)->sin_port = htons(port);
}

static uint16_t port_get(const struct sockaddr_storage *address)
{
	if (address->ss_family == AF_INET6)
		return ntohs(((const struct sockaddr_in6 *)address)->sin6_port);
	return ntohs(((const struct sockaddr_in *)address)->sin_port);
}

/* SO_REUSEADDR lets two bind the same port, but only one listen: -EADDRINUSE comes from either. */
static int listen_on(struct sockaddr_storage *address, socklen_t length, uint16_t port)
{
	int fd = socket(address->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int rc;

	if (fd < 0)
		return -errno;
	port_set(address, port);
	rc = option_set(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	if (rc == 0 && bind(fd, (struct sockaddr *)address, length) < 0)
		rc = -errno;
	if (rc == 0 && listen(fd, ACCEPT_BACKLOG) < 0)
		rc = -errno;
	if (rc < 0) {
		close(fd);
		return rc;
	}
	return fd;
}

int migration_listen(int socket, uint16_t first, uint16_t last, uint16_t *port)
{
	struct sockaddr_storage address = {0};
	socklen_t length = sizeof(address);
	int fd = -EADDRINUSE;

	if (getsockname(socket, (struct sockaddr *)&address, &length) < 0)
		return -errno;
	if (address.ss_family != AF_INET && address.ss_family != AF_INET6)
		return -EAFNOSUPPORT;
	for (uint32_t candidate = first; candidate <= last; candidate++) {
		fd = listen_on(&address, length, (uint16_t)candidate);
		if (fd != -EADDRINUSE)
			break;
	}
	if (fd < 0)
		return fd;
	length = sizeof(address);
	if (getsockname(fd, (struct sockaddr *)&address, &length) < 0) {
		int rc = -errno;

		close(fd);
		return rc;
	}
	*port = port_get(&address);
	return fd;
}

int migration_accept(int listener, int cancel_fd, struct deadline deadline)
{
	for (;;) {
		int rc = fd_wait(listener, POLLIN, cancel_fd, deadline);
		int fd;

		if (rc < 0)
			return rc;
		fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd < 0) {
			/* Whoever it was has gone again. */
			if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED)
				continue;
			return -errno;
		}
		rc = migration_socket_prepare(fd);
		if (rc < 0) {
			close(fd);
			return rc;
		}
		return fd;
	}
}
