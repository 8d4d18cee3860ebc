/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Connecting and logging in. libiscsi reports through callbacks from inside iscsi_service(), where
 * its context must not be destroyed: results are noted there and delivered when the call has
 * returned.
 */
#include "iscsi-session/login.h"

#include <errno.h>
#include <iscsi/iscsi.h>
#include <iscsi/scsi-lowlevel.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/deadline.h"
#include "iscsi-session/data_digest.h"
#include "iscsi-session/libiscsi_shim.h"

#define LOG_COMPONENT "iscsi"
#include "base/log.h"

/* libiscsi logs the keys of login replies at level 6, and faults at level 1. */
#define LEVEL_LOGIN   6
#define LEVEL_SESSION 1

enum phase {
	PHASE_CONNECTING,
	PHASE_LOGIN,
	PHASE_UP,
	PHASE_DEAD, /* reported: nothing is called any more */
};

struct connection {
	struct event_loop *loop;
	struct iscsi_context *iscsi;
	struct event_watch *watch;
	struct event_timer *timer;
	struct login_params params;
	struct login_reply reply;
	enum phase phase;
	uint32_t events; /* as watched */
	uint64_t last_heard_ns;
	int depth; /* of calls into libiscsi */
	bool login_over;
	int login_status;
	char fault[160];
	login_done_fn done;
	connection_lost_fn lost;
	void (*round_end)(void *ctx);
	void *ctx;
};

/* libiscsi's log function takes no context; a thread serves one connection at a time. */
static _Thread_local struct connection *logging;

/* The last fault is kept: libiscsi's own error text is overwritten by what follows from it. */
static void take_log(int level, const char *line)
{
	static const char consequence[] = "iscsi_service_reconnect_if_loggedin";

	if (logging != NULL && login_reply_take_log_line(&logging->reply, line))
		return;
	log_debug("libiscsi: %s", line);
	if (logging == NULL || level > LEVEL_SESSION ||
	    strncmp(line, consequence, sizeof(consequence) - 1) == 0)
		return;
	snprintf(logging->fault, sizeof(logging->fault), "%.*s", (int)strcspn(line, "["), line);
}

struct iscsi_context *connection_iscsi(struct connection *connection)
{
	return connection->iscsi;
}

const struct login_reply *connection_reply(const struct connection *connection)
{
	return &connection->reply;
}

uint64_t connection_last_heard_ns(const struct connection *connection)
{
	return connection->last_heard_ns;
}

void connection_set_round_end(struct connection *connection, void (*fn)(void *ctx))
{
	connection->round_end = fn;
}

/* "Failed to log in to target. Status: Target not found(515)": the number is RFC 7143 11.13.5. */
static void classify_refusal(const char *error, struct login_result *result)
{
	const char *open = strrchr(error, '(');
	unsigned long status = open != NULL ? strtoul(open + 1, NULL, 10) : 0;

	if (status == 0x0201 || status == 0x0202 || strstr(error, "CHAP") != NULL ||
	    strstr(error, "Authentication failed") != NULL)
		result->code = EXIT_AUTH_FAILED;
	else if (status == 0x0203 || status == 0x0204)
		result->code = EXIT_UNKNOWN_TARGET;
	else
		result->code = EXIT_INTERNAL;
}

static void describe_refusal(const struct connection *c, struct login_result *result)
{
	const char *error = iscsi_get_error(c->iscsi);
	const char *target = c->params.target != NULL ? c->params.target : "(discovery)";

	classify_refusal(error, result);
	switch (result->code) {
	case EXIT_AUTH_FAILED:
		snprintf(result->message, sizeof(result->message),
			 "%s: login to %s refused: check CHAP user and secrets, and the target's "
			 "access "
			 "list for %s",
			 c->params.portal, target, c->params.initiator_name);
		break;
	case EXIT_UNKNOWN_TARGET:
		snprintf(result->message, sizeof(result->message), "%s knows no target %s for %s",
			 c->params.portal, target, c->params.initiator_name);
		break;
	default:
		snprintf(result->message, sizeof(result->message), "%s: login to %s failed: %.120s",
			 c->params.portal, target, error);
	}
}

static void report_login(struct connection *c, struct login_result *result)
{
	if (result->code == EXIT_OK) {
		c->phase = PHASE_UP;
		if (c->reply.data_digest)
			data_digest_start(iscsi_get_fd(c->iscsi), c->reply.header_digest);
		iscsi_set_log_level(c->iscsi, LEVEL_SESSION);
	} else {
		c->phase = PHASE_DEAD;
	}
	event_timer_cancel(c->timer);
	c->timer = NULL;
	c->done(c->ctx, result);
}

static void finish_login(struct connection *c)
{
	struct login_result result = {.code = EXIT_OK};
	const char *fault;

	c->login_over = false;
	if (c->login_status == SCSI_STATUS_REDIRECT) {
		result.code = EXIT_PORTAL_UNREACHABLE;
		result.redirected = true;
		snprintf(result.redirect_portal, sizeof(result.redirect_portal), "%s",
			 iscsi_get_target_address(c->iscsi));
		snprintf(result.message, sizeof(result.message), "%s redirects to %s",
			 c->params.portal, result.redirect_portal);
	} else if (c->login_status != SCSI_STATUS_GOOD) {
		describe_refusal(c, &result);
	} else if ((fault = login_reply_check(&c->reply)) != NULL) {
		result.code = EXIT_INTERNAL;
		snprintf(result.message, sizeof(result.message), "%s: %s", c->params.portal, fault);
	} else if (c->params.mutual_secret != NULL && !c->reply.target_proved_itself) {
		/* A target can skip the security stage; libiscsi would let it. */
		result.code = EXIT_AUTH_FAILED;
		snprintf(result.message, sizeof(result.message),
			 "%s: the target did not prove that it knows the mutual secret",
			 c->params.portal);
	} else if (c->params.header_digest == DIGEST_REQUIRE && !c->reply.header_digest) {
		result.code = EXIT_INTERNAL;
		snprintf(result.message, sizeof(result.message),
			 "%s: the target does not agree to header digests", c->params.portal);
	} else if (c->params.data_digest == DIGEST_REQUIRE && !c->reply.data_digest) {
		result.code = EXIT_INTERNAL;
		snprintf(result.message, sizeof(result.message),
			 "%s: the target does not agree to data digests", c->params.portal);
	}
	report_login(c, &result);
}

static void fail_connect(struct connection *c, const char *why)
{
	struct login_result result = {.code = EXIT_PORTAL_UNREACHABLE};

	snprintf(result.message, sizeof(result.message), "cannot reach portal %s: %s",
		 c->params.portal, why);
	report_login(c, &result);
}

/* "iscsi_service: socket error Connection refused(111) while connecting." */
static void fail_connecting(struct connection *c)
{
	static const char mark[] = "socket error ";
	const char *detail = strstr(c->fault, mark);
	char why[80] = "no connection";

	if (detail != NULL) {
		detail += sizeof(mark) - 1;
		snprintf(why, sizeof(why), "%.*s", (int)strcspn(detail, "(."), detail);
	}
	fail_connect(c, why);
}

static void fail_connection(struct connection *c)
{
	if (c->phase == PHASE_CONNECTING) {
		fail_connecting(c);
		return;
	}
	if (c->phase == PHASE_LOGIN) {
		fail_connect(c, "the target closed the connection during login");
		return;
	}
	c->phase = PHASE_DEAD;
	c->lost(c->ctx, c->fault[0] != '\0' ? c->fault : "the target closed the connection");
}

static void update_watch(struct connection *c)
{
	uint32_t events = (uint32_t)shim_which_events(c->iscsi);

	if (events != c->events && event_watch_modify(c->watch, events) == 0)
		c->events = events;
}

static void end_round(struct connection *c)
{
	update_watch(c);
	if (c->round_end != NULL)
		c->round_end(c->ctx);
}

static void serve(struct connection *c, int events)
{
	struct connection *outer = logging;
	int ret;

	logging = c;
	c->fault[0] = '\0';
	c->depth++;
	ret = shim_service(c->iscsi, events);
	c->depth--;
	logging = outer;
	if (c->phase == PHASE_DEAD)
		return;
	if (c->login_over)
		finish_login(c);
	else if (ret < 0)
		fail_connection(c);
	else
		end_round(c);
}

static void on_socket(void *ctx, int fd, uint32_t events)
{
	struct connection *c = ctx;

	(void)fd;
	if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0)
		c->last_heard_ns = monotonic_ns();
	/* What the target said before it hung up is read first: libiscsi would not look at it, and
	 * a refusal would seem to be a broken line. The end then shows as the next read's result.
	 */
	if (c->phase != PHASE_CONNECTING && (events & EPOLLIN) != 0)
		events &= ~(uint32_t)(EPOLLHUP | EPOLLERR);
	serve(c, (int)(events & (EPOLLIN | EPOLLOUT | EPOLLHUP | EPOLLERR)));
}

void connection_kick(struct connection *c)
{
	if (c->phase == PHASE_DEAD || c->depth > 0)
		return;
	if ((shim_which_events(c->iscsi) & POLLOUT) != 0)
		serve(c, POLLOUT);
}

static void on_login(struct iscsi_context *iscsi, int status, void *data, void *ctx)
{
	struct connection *c = ctx;

	(void)iscsi;
	(void)data;
	c->login_over = true;
	c->login_status = status;
}

static void on_connected(struct iscsi_context *iscsi, int status, void *data, void *ctx)
{
	struct connection *c = ctx;

	(void)data;
	if (status != SCSI_STATUS_GOOD)
		return; /* iscsi_service() returns the error too */
	c->phase = PHASE_LOGIN;
	if (iscsi_login_async(iscsi, on_login, c) != 0) {
		c->login_over = true;
		c->login_status = SCSI_STATUS_ERROR;
	}
}

static void on_timeout(void *ctx)
{
	struct connection *c = ctx;

	c->timer = NULL;
	fail_connect(c, c->phase == PHASE_CONNECTING
				? "no answer to connect before the login time-out"
				: "no answer to login before the login time-out");
}

static int configure(struct iscsi_context *iscsi, const struct login_params *p)
{
	static const char *const data_digests[] = {
		[DIGEST_NONE] = "None",
		[DIGEST_PREFER] = "CRC32C,None",
		[DIGEST_REQUIRE] = "CRC32C",
	};
	static const enum iscsi_header_digest digests[] = {
		[DIGEST_NONE] = ISCSI_HEADER_DIGEST_NONE,
		[DIGEST_PREFER] = ISCSI_HEADER_DIGEST_CRC32C_NONE,
		[DIGEST_REQUIRE] = ISCSI_HEADER_DIGEST_CRC32C,
	};

	iscsi_set_log_level(iscsi, LEVEL_LOGIN);
	shim_set_log_fn(iscsi, take_log);
	iscsi_set_isid_random(iscsi, p->isid_random, p->isid_qualifier);
	iscsi_set_session_type(iscsi,
			       p->target != NULL ? ISCSI_SESSION_NORMAL : ISCSI_SESSION_DISCOVERY);
	iscsi_set_header_digest(iscsi, digests[p->header_digest]);
	shim_ask_data_digest(data_digests[p->data_digest]);
	iscsi_set_timeout(iscsi, 0); /* the session layer keeps time */
	if (p->target != NULL && iscsi_set_targetname(iscsi, p->target) != 0)
		return -EINVAL;
	if (p->secret != NULL && iscsi_set_initiator_username_pwd(iscsi, p->user, p->secret) != 0)
		return -EINVAL;
	if (p->mutual_secret != NULL &&
	    iscsi_set_target_username_pwd(iscsi, p->mutual_user, p->mutual_secret) != 0)
		return -EINVAL;
	return 0;
}

int connection_open(struct event_loop *loop, const struct login_params *params, login_done_fn done,
		    connection_lost_fn lost, void *ctx, struct connection **out)
{
	int ret = -ENOMEM;
	struct connection *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return -ENOMEM;
	*c = (struct connection){.loop = loop,
				 .params = *params,
				 .done = done,
				 .lost = lost,
				 .ctx = ctx,
				 .last_heard_ns = monotonic_ns()};
	login_reply_init(&c->reply);
	c->iscsi = iscsi_create_context(params->initiator_name);
	if (c->iscsi == NULL)
		goto err_free;
	ret = configure(c->iscsi, params);
	if (ret < 0)
		goto err_destroy;
	if (iscsi_connect_async(c->iscsi, params->portal, on_connected, c) != 0) {
		ret = -ECONNREFUSED;
		goto err_destroy;
	}
	c->events = (uint32_t)shim_which_events(c->iscsi);
	ret = event_loop_watch(loop, iscsi_get_fd(c->iscsi), c->events, on_socket, c, &c->watch);
	if (ret < 0)
		goto err_destroy;
	ret = event_loop_after_ms(loop, params->timeout_ms, on_timeout, c, &c->timer);
	if (ret < 0)
		goto err_unwatch;
	*out = c;
	return 0;

err_unwatch:
	event_watch_remove(c->watch);
err_destroy:
	shim_destroy_context(c->iscsi);
err_free:
	free(c);
	return ret;
}

void connection_close(struct connection *c)
{
	if (c == NULL)
		return;
	c->phase = PHASE_DEAD;
	data_digest_stop();
	event_timer_cancel(c->timer);
	event_watch_remove(c->watch);
	shim_destroy_context(c->iscsi);
	free(c);
}
