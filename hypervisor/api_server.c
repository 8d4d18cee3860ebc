/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * libmicrohttpd in external epoll mode: its epoll fd is watched by the event loop, and its next
 * time-out is kept as a timer there. Each connection carries one request ("Connection: close") and
 * lives for a bounded time, so that a client which sends a byte now and then cannot hold a slot for
 * ever.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/event_loop.h"
#include "base/fd_passing.h"
#include "base/log.h"
#include "hypervisor/api_server_internal.h"
#include "hypervisor/migration/report.h"
#include "hypervisor/vm_report.h"

#define LOG_COMPONENT "api"
#define LATER_MS      20
#define CONNECTION_MEMORY_BYTES                                                                    \
	16384 /* libmicrohttpd's, a connection: request line and headers                           \
	       */

struct api_server {
	struct event_loop *loop;
	struct MHD_Daemon *daemon;
	struct event_watch *watch;
	struct event_timer *timer; /* NULL when none is set */
	bool closed_one;	   /* a connection ended in this run */
	struct api_vm vm;
	struct api_server_limits limits;
	LIST_HEAD(, connection) waiting;
	char *path;
};

/* What one connection has of ours. */
struct connection {
	LIST_ENTRY(connection) waits; /* while its answer is put off */
	struct MHD_Connection *connection;
	struct api_server *server;
	struct event_timer *timer; /* its deadline; or, while its answer is put off, when to ask
				      again */
	int fd;
};

/* Sends text, which is freed by this. NULL text (out of memory) closes the connection. */
static enum MHD_Result reply_text(struct MHD_Connection *connection, unsigned int status,
				  const char *type, char *text, size_t length, const char *allow)
{
	struct MHD_Response *response;
	enum MHD_Result result;

	if (!text)
		return MHD_NO;
	response = MHD_create_response_from_buffer(length, text, MHD_RESPMEM_MUST_FREE);
	if (!response) {
		free(text);
		return MHD_NO;
	}
	MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
	if (allow)
		MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, allow);
	result = MHD_queue_response(connection, status, response);
	MHD_destroy_response(response);
	return result;
}

static enum MHD_Result reply_json(struct MHD_Connection *connection, unsigned int status,
				  json_t *json, const char *allow)
{
	char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;

	json_decref(json);
	return reply_text(connection, status, "application/json", text, text ? strlen(text) : 0,
			  allow);
}

json_t *api_read_object(const struct api_request *request)
{
	json_t *json = json_loadb(request->body, request->length, JSON_REJECT_DUPLICATES, NULL);

	if (json_is_object(json))
		return json;
	json_decref(json);
	return NULL;
}

enum MHD_Result api_reply_json(struct MHD_Connection *connection, unsigned int status, json_t *json)
{
	return reply_json(connection, status, json, NULL);
}

enum MHD_Result api_reply_error(struct MHD_Connection *connection, unsigned int status,
				const char *code, const char *message)
{
	return reply_json(connection, status,
			  json_pack("{s{ss ss}}", "error", "code", code, "message", message), NULL);
}

static enum MHD_Result reply_outcome(struct MHD_Connection *connection, int rc, json_t *accepted)
{
	if (rc == 0)
		return reply_json(connection, MHD_HTTP_ACCEPTED, accepted, NULL);
	json_decref(accepted);
	if (rc == -EINVAL)
		return api_reply_error(connection, MHD_HTTP_CONFLICT, "not_running",
				       "the VM is not running");
	if (rc == -EBUSY)
		return api_reply_error(connection, MHD_HTTP_CONFLICT, "moving",
				       "the VM is being moved or saved; cancel that first, with "
				       "lunar migrate --cancel");
	return api_reply_error(connection, MHD_HTTP_INTERNAL_SERVER_ERROR, "internal",
			       strerror(-rc));
}

/* The state as a user sees it: a VM that has left is told as such also while its process still
 * hands on what comes late. */
static const char *shown_state(const struct vm_status *status,
			       const struct migration_status *migration)
{
	if (migration->phase == MIGRATION_DONE && !migration->incoming)
		return *migration->peer == '/' ? "saved" : "moved";
	return vm_state_name(status->state);
}

static enum MHD_Result answer_get(const struct api_vm *vm, struct MHD_Connection *connection,
				  const struct api_request *request)
{
	const struct vm_config *config = vm->ops->get_config(vm->ctx);
	const struct migration_check *check;
	struct migration_status migration;
	struct vm_status status = {0};
	json_t *json;

	(void)request;
	vm->ops->get_status(vm->ctx, &status);
	api_get_migration(vm, &migration, &check);
	json = vm_report_json(config, &status, shown_state(&status, &migration));
	if (json)
		json_object_set_new(
			json, "migration",
			migration.phase == MIGRATION_IDLE
				? json_null()
				: migration_report_json(config->name, &migration, NULL));
	return api_reply_json(connection, MHD_HTTP_OK, json);
}

static enum MHD_Result answer_metrics(const struct api_vm *vm, struct MHD_Connection *connection,
				      const struct api_request *request)
{
	const struct migration_check *check;
	struct migration_status migration;
	struct vm_status status = {0};
	size_t length = 0;
	char *text;

	(void)request;
	vm->ops->get_status(vm->ctx, &status);
	api_get_migration(vm, &migration, &check);
	text = vm_report_metrics(vm->ops->get_config(vm->ctx), &status, &migration, &length);
	return reply_text(connection, MHD_HTTP_OK, "text/plain; version=0.0.4; charset=utf-8", text,
			  length, NULL);
}

/* Reads {"force": bool, "timeout_ms": integer}; an empty body leaves both as they are. Returns
 * NULL, or what is wrong. */
static const char *read_stop_body(const struct api_request *request, bool *force,
				  uint32_t *timeout_ms)
{
	const char *problem = NULL;
	json_t *json, *value;
	const char *key;

	if (request->length == 0)
		return NULL;
	json = api_read_object(request);
	if (!json)
		problem = "the body is not a JSON object; send {\"force\": false} or nothing";
	json_object_foreach(json, key, value)
	{
		if (strcmp(key, "force") == 0 && json_is_boolean(value))
			*force = json_is_true(value);
		else if (strcmp(key, "timeout_ms") == 0 && json_is_integer(value) &&
			 json_integer_value(value) >= 1 &&
			 json_integer_value(value) <= API_SERVER_MAX_TIMEOUT_MS)
			*timeout_ms = (uint32_t)json_integer_value(value);
		else
			problem = "only \"force\" (true or false) and \"timeout_ms\" (1 to "
				  "3600000) may be "
				  "given";
	}
	json_decref(json);
	return problem;
}

static enum MHD_Result answer_stop(const struct api_vm *vm, struct MHD_Connection *connection,
				   const struct api_request *request)
{
	uint32_t timeout_ms = VM_STOP_DEADLINE_MS;
	bool force = false;
	const char *problem = read_stop_body(request, &force, &timeout_ms);

	if (problem)
		return api_reply_error(connection, MHD_HTTP_BAD_REQUEST, "bad_request", problem);
	return reply_outcome(
		connection, vm->ops->stop(vm->ctx, force, timeout_ms),
		json_pack("{sb sI}", "force", force, "timeout_ms", (json_int_t)timeout_ms));
}

static enum MHD_Result answer_reboot(const struct api_vm *vm, struct MHD_Connection *connection,
				     const struct api_request *request)
{
	if (request->length)
		return api_reply_error(connection, MHD_HTTP_BAD_REQUEST, "bad_request",
				       "reboot takes no body");
	return reply_outcome(connection, vm->ops->reboot(vm->ctx), json_object());
}

static const struct api_route routes[] = {
	{"/api/v1/vm", MHD_HTTP_METHOD_GET, answer_get},
	{"/api/v1/vm/metrics", MHD_HTTP_METHOD_GET, answer_metrics},
	{"/api/v1/vm/stop", MHD_HTTP_METHOD_PUT, answer_stop},
	{"/api/v1/vm/reboot", MHD_HTTP_METHOD_PUT, answer_reboot},
	{"/api/v1/vm/migrate", MHD_HTTP_METHOD_PUT, api_answer_migrate},
	{"/api/v1/vm/migration", MHD_HTTP_METHOD_GET, api_answer_migration},
	{"/api/v1/vm/migration/cancel", MHD_HTTP_METHOD_PUT, api_answer_migration_cancel},
	{"/api/v1/vm/migration/resolve", MHD_HTTP_METHOD_PUT, api_answer_migration_resolve},
	{"/api/v1/vm/save", MHD_HTTP_METHOD_PUT, api_answer_save},
	{"/api/v1/vm/vlan", MHD_HTTP_METHOD_PUT, api_answer_vlan},
	{"/api/v1/vm/disks", MHD_HTTP_METHOD_GET, api_answer_disks},
	{"/api/v1/vm/disks", MHD_HTTP_METHOD_PUT, api_answer_disk_add},
	{"/api/v1/vm/disks/*", MHD_HTTP_METHOD_DELETE, api_answer_disk_remove},
	{"/api/v1/vm/disks/*/medium", MHD_HTTP_METHOD_PUT, api_answer_disk_insert},
	{"/api/v1/vm/disks/*/medium", MHD_HTTP_METHOD_DELETE, api_answer_disk_eject},
	{"/api/v1/vm/disks/*/size", MHD_HTTP_METHOD_PUT, api_answer_disk_resize},
};

/* Whether a URL is the route's, whose "*" goes to item. */
static bool url_matches(const char *url, const char *pattern, char item[API_ITEM_BYTES])
{
	const char *star = strchr(pattern, '*');
	size_t head = star ? (size_t)(star - pattern) : 0, length;

	if (!star)
		return strcmp(url, pattern) == 0;
	if (strncmp(url, pattern, head) != 0)
		return false;
	length = strcspn(url + head, "/");
	if (length == 0 || length >= API_ITEM_BYTES || strcmp(url + head + length, star + 1) != 0)
		return false;
	memcpy(item, url + head, length);
	item[length] = '\0';
	return true;
}

/* Finds the route; NULL after an error was queued, with its result. */
static const struct api_route *find_route(struct MHD_Connection *connection, const char *url,
					  const char *method, char item[API_ITEM_BYTES],
					  enum MHD_Result *result)
{
	char allow[32] = "";
	size_t used = 0;

	for (size_t i = 0; i < ARRAY_LENGTH(routes); i++) {
		if (!url_matches(url, routes[i].url, item))
			continue;
		if (strcmp(method, routes[i].method) == 0)
			return &routes[i];
		used += (size_t)snprintf(allow + used, sizeof(allow) - used, "%s%s",
					 used ? ", " : "", routes[i].method);
	}
	if (used) {
		*result = reply_json(connection, MHD_HTTP_METHOD_NOT_ALLOWED,
				     json_pack("{s{ss ss+}}", "error", "code", "method_not_allowed",
					       "message", "use the method ", allow),
				     allow);
		return NULL;
	}
	*result = api_reply_error(connection, MHD_HTTP_NOT_FOUND, "not_found",
				  "no such path; the API begins at /api/v1/vm");
	return NULL;
}

/* The headers are there. Refuses what is too large before its body is read. */
static enum MHD_Result begin_request(struct MHD_Connection *connection, const char *url,
				     const char *method, void **request_state)
{
	const char *length = MHD_lookup_connection_value(connection, MHD_HEADER_KIND,
							 MHD_HTTP_HEADER_CONTENT_LENGTH);
	enum MHD_Result result = MHD_NO;
	char item[API_ITEM_BYTES] = "";
	const struct api_route *route = find_route(connection, url, method, item, &result);
	struct api_request *request;

	if (!route)
		return result;
	if (MHD_lookup_connection_value(connection, MHD_HEADER_KIND,
					MHD_HTTP_HEADER_TRANSFER_ENCODING))
		return api_reply_error(connection, MHD_HTTP_LENGTH_REQUIRED, "length_required",
				       "send the body with a Content-Length");
	if (length && strtoull(length, NULL, 10) > API_SERVER_MAX_BODY_BYTES)
		return api_reply_error(connection, MHD_HTTP_CONTENT_TOO_LARGE, "too_large",
				       "the body is larger than 4096 bytes");
	request = calloc(1, sizeof(*request));
	if (!request)
		return MHD_NO;
	request->route = route;
	memcpy(request->item, item, sizeof(item));
	*request_state = request;
	return MHD_YES;
}

static enum MHD_Result handle_request(void *ctx, struct MHD_Connection *connection, const char *url,
				      const char *method, const char *version, const char *data,
				      size_t *data_length, void **request_state)
{
	struct api_request *request = *request_state;

	(void)version;
	if (!request)
		return begin_request(connection, url, method, request_state);
	if (*data_length) {
		if (!range_fits(request->length, *data_length, sizeof(request->body)))
			return MHD_NO;
		memcpy(request->body + request->length, data, *data_length);
		request->length += *data_length;
		*data_length = 0;
		return MHD_YES;
	}
	return request->route->answer(&((struct api_server *)ctx)->vm, connection, request);
}

static void request_completed(void *ctx, struct MHD_Connection *connection, void **request_state,
			      enum MHD_RequestTerminationCode code)
{
	(void)ctx;
	(void)connection;
	(void)code;
	free(*request_state);
	*request_state = NULL;
}

/* libmicrohttpd sees the end of the stream, and closes. */
static void connection_expired(void *ctx)
{
	struct connection *state = ctx;

	state->timer = NULL;
	shutdown(state->fd, SHUT_RDWR);
}

static void connection_changed(void *ctx, struct MHD_Connection *connection,
			       void **connection_state, enum MHD_ConnectionNotificationCode code)
{
	const union MHD_ConnectionInfo *info;
	struct api_server *server = ctx;
	struct connection *state = *connection_state;

	if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
		if (state)
			event_timer_cancel(state->timer);
		free(state);
		*connection_state = NULL;
		server->closed_one = true;
		return;
	}
	info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
	state = info ? calloc(1, sizeof(*state)) : NULL;
	if (!state)
		return; /* short of memory: the idle time-out still holds */
	state->connection = connection;
	state->server = server;
	state->fd = info->connect_fd;
	if (event_loop_after_ms(server->loop, server->limits.lifetime_ms, connection_expired, state,
				&state->timer) < 0)
		state->timer = NULL;
	*connection_state = state;
}

__attribute__((format(printf, 2, 0))) static void log_http(void *ctx, const char *format,
							   va_list args)
{
	char text[256];

	(void)ctx;
	vsnprintf(text, sizeof(text), format, args);
	text[strcspn(text, "\r\n")] = '\0';
	log_info_limited("%s", text);
}

static void server_run(struct api_server *server);

static void server_timer_fired(void *ctx)
{
	struct api_server *server = ctx;

	server->timer = NULL;
	server_run(server);
}

static void server_readable(void *ctx, int fd, uint32_t events)
{
	(void)fd;
	(void)events;
	server_run(ctx);
}

/*
 * Lets libmicrohttpd do what is ready, and wakes it again when it next wants to look. At its limit
 * of connections it stops listening, and listens again only in the run after the one that closed a
 * connection, which it does not ask for.
 */
static void server_run(struct api_server *server)
{
	MHD_UNSIGNED_LONG_LONG idle_ms = server->limits.idle_seconds * 1000ULL;
	MHD_UNSIGNED_LONG_LONG timeout_ms;

	server->closed_one = false;
	MHD_run(server->daemon);
	event_timer_cancel(server->timer);
	server->timer = NULL;
	if (server->closed_one)
		timeout_ms = 0;
	else if (MHD_get_timeout(server->daemon, &timeout_ms) != MHD_YES)
		return;
	if (timeout_ms > idle_ms)
		timeout_ms = idle_ms;
	if (event_loop_after_ms(server->loop, (uint32_t)timeout_ms, server_timer_fired, server,
				&server->timer) < 0)
		server->timer = NULL;
}

/* ---- answers that are put off ---- */

/* libmicrohttpd asks the route once more. The deadline begins anew: the time that the VM takes is
 * not the client's. */
static void on_later(void *ctx)
{
	struct connection *state = ctx;
	struct api_server *server = state->server;

	LIST_REMOVE(state, waits);
	if (event_loop_after_ms(server->loop, server->limits.lifetime_ms, connection_expired, state,
				&state->timer) < 0)
		state->timer = NULL;
	MHD_resume_connection(state->connection);
	server_run(server); /* its epoll fd does not tell of that */
}

enum MHD_Result api_answer_later(struct MHD_Connection *connection)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
	struct connection *state = info ? info->socket_context : NULL;
	struct event_timer *timer;

	if (!state || event_loop_after_ms(state->server->loop, LATER_MS, on_later, state, &timer))
		return MHD_NO; /* short of memory */
	event_timer_cancel(state->timer);
	state->timer = timer;
	LIST_INSERT_HEAD(&state->server->waiting, state, waits);
	MHD_suspend_connection(connection);
	return MHD_YES;
}

static struct MHD_Daemon *daemon_start(struct api_server *server, int listen_fd)
{
	return MHD_start_daemon(
		MHD_USE_EPOLL | MHD_USE_ERROR_LOG | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL,
		handle_request, server, MHD_OPTION_EXTERNAL_LOGGER, log_http, NULL,
		MHD_OPTION_LISTEN_SOCKET, listen_fd, MHD_OPTION_CONNECTION_LIMIT,
		(unsigned int)API_SERVER_MAX_CONNECTIONS, MHD_OPTION_CONNECTION_TIMEOUT,
		server->limits.idle_seconds, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
		(size_t)CONNECTION_MEMORY_BYTES, MHD_OPTION_NOTIFY_COMPLETED, request_completed,
		NULL, MHD_OPTION_NOTIFY_CONNECTION, connection_changed, server, MHD_OPTION_END);
}

int api_server_create(struct event_loop *loop, const char *path, const struct api_server_ops *ops,
		      void *ctx, const struct api_server_limits *limits, struct api_server **server)
{
	const union MHD_DaemonInfo *info;
	struct api_server *made;
	int listen_fd;
	int rc;

	made = calloc(1, sizeof(*made));
	if (!made)
		return -ENOMEM;
	*made = (struct api_server){
		.loop = loop, .vm = {.ops = ops, .ctx = ctx}, .path = strdup(path)};
	made->limits.idle_seconds = limits ? limits->idle_seconds : API_SERVER_IDLE_SECONDS;
	made->limits.lifetime_ms = limits ? limits->lifetime_ms : API_SERVER_LIFETIME_MS;
	if (!made->path) {
		rc = -ENOMEM;
		goto err_free;
	}
	listen_fd = unix_socket_listen(path, SOCK_STREAM);
	if (listen_fd < 0) {
		rc = listen_fd;
		goto err_free;
	}
	made->daemon = daemon_start(made, listen_fd);
	if (!made->daemon) {
		rc = -ENOMEM; /* the fd is libmicrohttpd's by now, whatever became of it */
		goto err_unlink;
	}
	info = MHD_get_daemon_info(made->daemon, MHD_DAEMON_INFO_EPOLL_FD);
	rc = info ? event_loop_watch(loop, info->epoll_fd, EPOLLIN, server_readable, made,
				     &made->watch)
		  : -ENOTSUP;
	if (rc < 0)
		goto err_stop;
	*server = made;
	return 0;

err_stop:
	MHD_stop_daemon(made->daemon);
err_unlink:
	unlink(path);
err_free:
	free(made->path);
	free(made);
	return rc;
}

void api_server_destroy(struct api_server *server)
{
	struct connection *state;

	if (!server)
		return;
	/* Unlink first: who connects to a socket that still has its name must be answered. */
	unlink(server->path);
	event_watch_remove(server->watch);
	event_timer_cancel(server->timer);
	LIST_FOREACH(state, &server->waiting, waits)
	{
		event_timer_cancel(state->timer);
		state->timer = NULL;
		MHD_resume_connection(state->connection);
	}
	MHD_stop_daemon(server->daemon);
	free(server->path);
	free(server);
}
