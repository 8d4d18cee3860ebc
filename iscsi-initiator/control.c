/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The daemon's side of the control socket. The socket has mode 0600 in a folder of mode 0700:
 * clients are root. Their requests are still parsed as if they were not, and their number is
 * limited.
 */
#include "iscsi-initiator/control.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd_passing.h"

#define LOG_COMPONENT "control"
#include "base/log.h"

#define REQUEST_BYTES_MAX 4096
#define CLIENTS_MAX	  16

struct control_client {
	LIST_ENTRY(control_client) link;
	struct control_server *server;
	struct event_watch *watch;
	int fd;
	bool asked;
};

struct control_server {
	struct event_loop *loop;
	struct event_watch *watch;
	int fd;
	char path[128];
	control_request_fn fn;
	void *ctx;
	LIST_HEAD(, control_client) clients;
	unsigned int client_count;
};

const char *control_run_dir(void)
{
	const char *folder = secure_getenv("LUNAR_ISCSI_RUN_DIR");

	return folder != NULL ? folder : CONTROL_RUN_DIR;
}

void control_path(const char *id, const char *suffix, char *path, size_t size)
{
	snprintf(path, size, "%s/%s%s", control_run_dir(), id, suffix);
}

static void close_client(struct control_client *client)
{
	LIST_REMOVE(client, link);
	client->server->client_count--;
	event_watch_remove(client->watch);
	close(client->fd);
	free(client);
}

json_t *control_result(enum exit_code code, const char *message)
{
	return json_pack("{s:i, s:s}", "code", (int)code, "message", message);
}

void control_reply(struct control_client *client, json_t *reply)
{
	char *text = reply != NULL ? json_dumps(reply, JSON_COMPACT) : NULL;

	if (text == NULL || fd_passing_send(client->fd, text, strlen(text), NULL, 0) < 0)
		log_warn_limited("cannot answer a client");
	free(text);
	json_decref(reply);
	close_client(client);
}

static void take_request(struct control_client *client)
{
	char text[REQUEST_BYTES_MAX];
	size_t fd_count = 0;
	json_t *request;
	ssize_t length = fd_passing_receive(client->fd, text, sizeof(text), NULL, 0, &fd_count);

	if (length == -EAGAIN)
		return;
	if (length <= 0) {
		close_client(client);
		return;
	}
	client->asked = true;
	request = json_loadb(text, (size_t)length, JSON_REJECT_DUPLICATES, NULL);
	if (request == NULL || !json_is_object(request))
		control_reply(client,
			      control_result(EXIT_USAGE, "the request is not a JSON object"));
	else
		client->server->fn(client->server->ctx, request, client);
	json_decref(request);
}

static void on_client(void *ctx, int fd, uint32_t events)
{
	struct control_client *client = ctx;

	(void)fd;
	if (client->asked) {
		/* It waits for an answer. If it has gone, the answer goes nowhere: stop watching.
		 */
		event_watch_remove(client->watch);
		client->watch = NULL;
		return;
	}
	if ((events & EPOLLIN) != 0)
		take_request(client);
	else
		close_client(client);
}

static void on_connection(void *ctx, int fd, uint32_t events)
{
	struct control_server *server = ctx;
	struct control_client *client;
	int accepted = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)events;
	if (accepted < 0)
		return;
	client = server->client_count < CLIENTS_MAX ? calloc(1, sizeof(*client)) : NULL;
	if (client == NULL) {
		close(accepted);
		return;
	}
	client->server = server;
	client->fd = accepted;
	LIST_INSERT_HEAD(&server->clients, client, link);
	server->client_count++;
	if (event_loop_watch(server->loop, accepted, EPOLLIN, on_client, client, &client->watch) <
	    0)
		close_client(client);
}

int control_server_create(struct event_loop *loop, const char *id, control_request_fn fn, void *ctx,
			  struct control_server **out)
{
	int ret;
	struct control_server *server = calloc(1, sizeof(*server));

	if (server == NULL)
		return -ENOMEM;
	server->loop = loop;
	server->fn = fn;
	server->ctx = ctx;
	LIST_INIT(&server->clients);
	if (mkdir(control_run_dir(), 0700) < 0 && errno != EEXIST) {
		ret = -errno;
		goto err_free;
	}
	control_path(id, ".sock", server->path, sizeof(server->path));
	server->fd = unix_socket_listen(server->path, SOCK_SEQPACKET);
	if (server->fd < 0) {
		ret = server->fd;
		goto err_free;
	}
	ret = event_loop_watch(loop, server->fd, EPOLLIN, on_connection, server, &server->watch);
	if (ret < 0)
		goto err_close;
	*out = server;
	return 0;

err_close:
	unlink(server->path);
	close(server->fd);
err_free:
	free(server);
	return ret;
}

void control_server_destroy(struct control_server *server)
{
	struct control_client *client, *next;

	if (server == NULL)
		return;
	for (client = LIST_FIRST(&server->clients); client != NULL; client = next) {
		next = LIST_NEXT(client, link);
		close_client(client);
	}
	event_watch_remove(server->watch);
	unlink(server->path);
	close(server->fd);
	free(server);
}
