/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A list of visitors, each a connection with its vmwp. While there are as many strangers as may be,
 * nothing is accepted: the kernel's queue holds the others.
 */
#include "cli/receive_service.h"

#include <errno.h>
#include <netdb.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/event_loop.h"
#include "base/log.h"
#include "cli/vm_process.h"

#define LOG_COMPONENT "receive"

#define BACKLOG	      64
#define PAUSE_MS      1000 /* after an accept() that failed for want of something */
#define ADDRESS_BYTES NI_MAXHOST
#define PEER_BYTES    (ADDRESS_BYTES + 16)

struct visitor {
	struct receive_service *service;
	struct visitor *next;
	char address[ADDRESS_BYTES]; /* without the port */
	char peer[PEER_BYTES];
	struct vm_process process;
	int told; /* -1: at its end */
	struct event_watch *told_watch;
	struct event_watch *end_watch;
	struct event_timer *timer;
	bool named;
	char line[VM_PROCESS_NAME_BYTES]; /* its name, or what there is of it */
};

struct receive_service {
	struct event_loop *loop;
	struct receive_options options;
	int listener;
	struct event_watch *listen_watch;
	struct event_timer *pause; /* NULL: none */
	struct visitor *visitors;
	uint32_t strangers;
	char address[PEER_BYTES];
	uint16_t port;
};

/* Listens for more where there is room. */
static void update_listening(struct receive_service *service)
{
	bool open = service->strangers < service->options.max && !service->pause;

	(void)event_watch_modify(service->listen_watch, open ? EPOLLIN : 0);
}

static void visitor_stop_telling(struct visitor *visitor)
{
	if (visitor->told < 0)
		return;
	event_watch_remove(visitor->told_watch);
	close(visitor->told);
	visitor->told = -1;
}

static void visitor_known(struct visitor *visitor)
{
	event_timer_cancel(visitor->timer);
	visitor->timer = NULL;
	visitor->named = true;
	visitor->service->strangers--;
	update_listening(visitor->service);
}

static void visitor_unlink(struct visitor *visitor)
{
	struct visitor **link = &visitor->service->visitors;

	while (*link != visitor)
		link = &(*link)->next;
	*link = visitor->next;
	if (!visitor->named)
		visitor->service->strangers--;
}

/* Forgets one that is in no list; the process lives on where it does. */
static void visitor_free(struct visitor *visitor)
{
	visitor_stop_telling(visitor);
	event_watch_remove(visitor->end_watch);
	event_timer_cancel(visitor->timer);
	vm_process_close(&visitor->process);
	free(visitor);
}

static void on_told(void *ctx, int fd, uint32_t events)
{
	struct visitor *visitor = ctx;
	int rc = vm_process_read_name(fd, visitor->line);

	(void)events;
	if (rc == 0)
		return;
	visitor_stop_telling(visitor);
	if (rc < 0)
		return; /* its end says more */
	visitor_known(visitor);
	log_info("%s: for %s (process %d)", visitor->peer, visitor->line,
		 (int)visitor->process.pid);
}

/* One line for a connection that brought nothing, or for a VM that has ended since. */
static void log_end(const struct visitor *visitor, int status)
{
	const char *who = visitor->named ? visitor->line : visitor->peer;
	enum exit_code code = EXIT_INTERNAL;

	if (WIFSIGNALED(status)) {
		log_warn_limited("%s: process %d was ended by signal %d", who,
				 (int)visitor->process.pid, WTERMSIG(status));
		return;
	}
	code = (enum exit_code)WEXITSTATUS(status);
	if (visitor->named)
		log_info_limited("%s: process %d has ended: %s", who, (int)visitor->process.pid,
				 exit_code_phrase(code));
	else if (code == EXIT_OK)
		log_info_limited("%s: was answered", who);
	else
		log_info_limited("%s: refused: %s", who, exit_code_phrase(code));
}

static void on_end(void *ctx, int fd, uint32_t events)
{
	struct visitor *visitor = ctx;
	struct receive_service *service = visitor->service;
	int status = 0;

	(void)fd;
	(void)events;
	if (visitor->told >= 0) /* a name that came just before the end */
		on_told(visitor, visitor->told, EPOLLIN);
	if (waitpid(visitor->process.pid, &status, WNOHANG) == visitor->process.pid)
		log_end(visitor, status);
	visitor_unlink(visitor);
	visitor_free(visitor);
	update_listening(service);
}

static void on_late(void *ctx)
{
	struct visitor *visitor = ctx;

	visitor->timer = NULL;
	log_warn_limited("%s: has not shown within %u s who it is; process %d is ended",
			 visitor->peer, visitor->service->options.stranger_ms / 1000,
			 (int)visitor->process.pid);
	vm_process_kill(visitor->process.pidfd);
}

/* The process runs; from now on it is watched. Returns 0 or -errno. */
static int visitor_watch(struct visitor *visitor)
{
	struct event_loop *loop = visitor->service->loop;
	int rc;

	rc = event_loop_after_ms(loop, visitor->service->options.stranger_ms, on_late, visitor,
				 &visitor->timer);
	if (rc < 0)
		return rc;
	rc = event_loop_watch(loop, visitor->told, EPOLLIN, on_told, visitor, &visitor->told_watch);
	if (rc < 0)
		goto err_timer;
	rc = event_loop_watch(loop, visitor->process.pidfd, EPOLLIN, on_end, visitor,
			      &visitor->end_watch);
	if (rc < 0)
		goto err_told;
	return 0;

err_told:
	event_watch_remove(visitor->told_watch);
err_timer:
	event_timer_cancel(visitor->timer);
	return rc;
}

static enum exit_code visitor_start(struct visitor *visitor, int connection,
				    struct cli_error *error)
{
	struct receive_service *service = visitor->service;
	enum exit_code code;
	int rc;

	code = vm_process_spawn_incoming(connection, service->options.errors, &visitor->process,
					 &visitor->told, error);
	if (code != EXIT_OK)
		return code;
	rc = visitor_watch(visitor);
	if (rc == 0)
		return EXIT_OK;
	vm_process_kill(visitor->process.pidfd);
	(void)waitpid(visitor->process.pid, NULL, 0);
	vm_process_close(&visitor->process);
	close(visitor->told);
	return cli_error_set(error, EXIT_INTERNAL, "cannot watch vmwp: %s", strerror(-rc));
}

static uint32_t count_strangers_of(const struct receive_service *service, const char *address)
{
	uint32_t count = 0;

	for (const struct visitor *v = service->visitors; v; v = v->next)
		count += !v->named && strcmp(v->address, address) == 0;
	return count;
}

/* "10.0.0.1", "10.0.0.1:4711" or "[fe80::1]:4711"; an IPv4 peer of an IPv6 socket as IPv4. */
static void name_address(const struct sockaddr *address, socklen_t length, char host[ADDRESS_BYTES],
			 char peer[PEER_BYTES])
{
	char port[16] = "?";

	if (getnameinfo(address, length, host, ADDRESS_BYTES, port, sizeof(port),
			NI_NUMERICHOST | NI_NUMERICSERV) != 0)
		snprintf(host, ADDRESS_BYTES, "?");
	if (strncmp(host, "::ffff:", 7) == 0 && strchr(host, '.'))
		memmove(host, host + 7, strlen(host + 7) + 1);
	snprintf(peer, PEER_BYTES, strchr(host, ':') ? "[%s]:%s" : "%s:%s", host, port);
}

static void visitor_accept(struct receive_service *service, int connection,
			   const struct sockaddr *address, socklen_t length)
{
	struct visitor *visitor = calloc(1, sizeof(*visitor));
	uint32_t most = service->options.max > 1 ? service->options.max - 1 : 1;
	struct cli_error error;

	if (!visitor)
		return;
	*visitor = (struct visitor){.service = service, .told = -1};
	name_address(address, length, visitor->address, visitor->peer);
	if (count_strangers_of(service, visitor->address) >= most) {
		log_warn_limited("%s: refused: %u connections of %s have not shown who they are",
				 visitor->peer, most, visitor->address);
		free(visitor);
		return;
	}
	if (visitor_start(visitor, connection, &error) != EXIT_OK) {
		log_error("%s: %s", visitor->peer, error.message);
		free(visitor);
		return;
	}
	visitor->next = service->visitors;
	service->visitors = visitor;
	service->strangers++;
}

static void on_pause_over(void *ctx)
{
	struct receive_service *service = ctx;

	service->pause = NULL;
	update_listening(service);
}

static void on_connection(void *ctx, int fd, uint32_t events)
{
	struct receive_service *service = ctx;
	struct sockaddr_storage address = {0};
	socklen_t length = sizeof(address);
	int connection = accept4(fd, (struct sockaddr *)&address, &length, SOCK_CLOEXEC);

	(void)events;
	if (connection >= 0) {
		visitor_accept(service, connection, (struct sockaddr *)&address, length);
		close(connection); /* vmwp has it */
	} else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
		log_error_limited("cannot accept: %s", strerror(errno));
		if (event_loop_after_ms(service->loop, PAUSE_MS, on_pause_over, service,
					&service->pause) < 0)
			service->pause = NULL;
	}
	update_listening(service);
}

/* Returns a listening socket or -errno. */
static int listen_on(const struct addrinfo *info)
{
	int fd = socket(info->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int on = 1, off = 0, rc;

	if (fd < 0)
		return -errno;
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (info->ai_family == AF_INET6)
		(void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	if (bind(fd, info->ai_addr, info->ai_addrlen) < 0 || listen(fd, BACKLOG) < 0) {
		rc = -errno;
		close(fd);
		return rc;
	}
	return fd;
}

/* Every address: one socket of IPv6 takes IPv4 too; a host without IPv6 has the other. */
static int listen_on_first(const char *host, uint16_t port, const char **problem)
{
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
	struct addrinfo *found = NULL;
	int fd = -EADDRNOTAVAIL, rc;
	char service[16];

	snprintf(service, sizeof(service), "%u", port);
	rc = getaddrinfo(*host ? host : NULL, service, &hints, &found);
	if (rc) {
		*problem = gai_strerror(rc);
		return -EINVAL;
	}
	for (int pass = 0; pass < 2 && fd < 0 && fd != -EADDRINUSE; pass++)
		for (const struct addrinfo *info = found; info && fd < 0; info = info->ai_next)
			if ((info->ai_family == AF_INET6) == (pass == 0))
				fd = listen_on(info);
	freeaddrinfo(found);
	if (fd < 0)
		*problem = strerror(-fd);
	return fd;
}

static enum exit_code listen_failed(const struct receive_options *options, int rc,
				    const char *problem, struct cli_error *error)
{
	const char *host = *options->host ? options->host : "every address";

	if (rc == -EADDRINUSE)
		return cli_error_set(error, EXIT_EXISTS,
				     "port %u of %s is in use; does lunar receive run already?",
				     options->port, host);
	if (rc == -EINVAL || rc == -EADDRNOTAVAIL)
		return cli_error_set(error, EXIT_USAGE,
				     "--listen: %s is no address of this host: %s", host, problem);
	return cli_error_set(error, rc == -EACCES ? EXIT_PERMISSION : EXIT_INTERNAL,
			     "cannot listen on port %u of %s: %s", options->port, host, problem);
}

static void name_listener(struct receive_service *service)
{
	struct sockaddr_storage address = {0};
	socklen_t length = sizeof(address);
	char host[ADDRESS_BYTES] = "";
	const char *colon;

	(void)getsockname(service->listener, (struct sockaddr *)&address, &length);
	name_address((struct sockaddr *)&address, length, host, service->address);
	colon = strrchr(service->address, ':');
	service->port = (uint16_t)(colon ? strtoul(colon + 1, NULL, 10) : 0);
}

enum exit_code receive_service_create(struct event_loop *loop,
				      const struct receive_options *options,
				      struct receive_service **service, struct cli_error *error)
{
	struct receive_service *made = calloc(1, sizeof(*made));
	const char *problem = "";
	enum exit_code code;
	int rc;

	if (!made)
		return cli_error_set(error, EXIT_INTERNAL, "out of memory");
	*made = (struct receive_service){.loop = loop, .options = *options};
	made->listener = listen_on_first(options->host, options->port, &problem);
	if (made->listener < 0) {
		code = listen_failed(options, made->listener, problem, error);
		free(made);
		return code;
	}
	name_listener(made);
	rc = event_loop_watch(loop, made->listener, EPOLLIN, on_connection, made,
			      &made->listen_watch);
	if (rc < 0) {
		close(made->listener);
		free(made);
		return cli_error_set(error, EXIT_INTERNAL, "cannot watch the socket: %s",
				     strerror(-rc));
	}
	*service = made;
	return EXIT_OK;
}

void receive_service_destroy(struct receive_service *service)
{
	struct visitor *visitor, *next;

	if (!service)
		return;
	for (visitor = service->visitors; visitor; visitor = next) {
		next = visitor->next;
		visitor_free(visitor);
	}
	event_timer_cancel(service->pause);
	event_watch_remove(service->listen_watch);
	close(service->listener);
	free(service);
}

const char *receive_service_address(const struct receive_service *service)
{
	return service->address;
}

uint16_t receive_service_port(const struct receive_service *service)
{
	return service->port;
}
