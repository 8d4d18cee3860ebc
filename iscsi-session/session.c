/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Connections of a session, and time. A lost connection is replaced at once, then once a second: a
 * target that comes back is found within a second, and one that stays away costs one SYN a second.
 * Each login carries the same ISID and TSIH 0, which makes the target reinstate the session (RFC
 * 7143 6.3.5) with its reservations.
 */
#include "iscsi-session/session.h"

#include <errno.h>
#include <iscsi/iscsi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/deadline.h"
#include "iscsi-session/portal_resolve.h"
#include "iscsi-session/session_internal.h"

#define LOG_COMPONENT "session"
#include "base/log.h"

#define TICK_MS	       1000
#define RETRY_FIRST_MS 100u
#define RETRY_MAX_MS   1000u
#define LOGOUT_MS      5000
#define QUICK_LOSS_NS                                                                              \
	(10 * NS_PER_SEC) /* a connection that is lost sooner than this after login                \
			   */
#define QUICK_LOSSES_MANY 3
#define REDIRECTS_MAX	  5

const struct session_timeouts session_timeouts_default = {
	.login_s = 15,
	.nop_interval_s = 5,
	.nop_timeout_s = 5,
	.replacement_s = 120,
	.abort_s = 15,
};

static void on_retry(void *ctx);
static void on_tick(void *ctx);
static void finish_logout(void *ctx);

static void set_state(struct session *s, enum session_state state)
{
	if (s->state == state)
		return;
	s->state = state;
	s->state_since_ns = monotonic_ns();
}

void session_end_round(struct session *s)
{
	if (s->ops->round_end != NULL)
		s->ops->round_end(s->ctx);
}

static void on_round_end(void *ctx)
{
	session_end_round(ctx);
}

static void retry_in_ms(struct session *s, uint32_t delay_ms)
{
	if (s->retry_timer == NULL)
		event_loop_after_ms(s->loop, delay_ms, on_retry, s, &s->retry_timer);
}

static void retry_later(struct session *s)
{
	uint32_t delay_ms = RETRY_FIRST_MS << s->retries;

	if (delay_ms < RETRY_MAX_MS)
		s->retries++;
	retry_in_ms(s, delay_ms < RETRY_MAX_MS ? delay_ms : RETRY_MAX_MS);
}

/* The connection goes, what was sent waits again. */
static void drop_connection(struct session *s)
{
	struct connection *connection = s->connection;

	s->connection = NULL;
	s->logged_in = false;
	s->nop_outstanding = false;
	connection_close(connection);
	session_requeue_sent(s);
}

/* No answer to a logout comes any more. */
static void finish_logout_soon(struct session *s)
{
	if (s->logout_timer == NULL)
		return;
	event_timer_cancel(s->logout_timer);
	s->logout_timer = NULL;
	event_loop_after_ms(s->loop, 0, finish_logout, s, &s->logout_timer);
}

static void lose_connection(struct session *s, const char *why)
{
	uint64_t now = monotonic_ns();
	bool was_up = s->logged_in;

	/* why may belong to the connection. */
	snprintf(s->last_error, sizeof(s->last_error), "%s", why);
	drop_connection(s);
	if (s->state == SESSION_CLOSED) {
		finish_logout_soon(s);
		return;
	}
	if (was_up) {
		bool quick = now - s->up_since_ns < QUICK_LOSS_NS;
		s->quick_losses = quick ? s->quick_losses + 1 : 0;
		s->away_since_ns = now;
		log_warn("connection to %s lost: %s", s->config.login.portal, s->last_error);
		if (s->quick_losses == QUICK_LOSSES_MANY)
			log_warn(
				"lost %u times soon after login: is there another machine with the "
				"initiator name %s?",
				s->quick_losses, s->config.login.initiator_name);
		set_state(s, SESSION_RECONNECTING);
	}
	if (s->no_waiting) {
		set_state(s, SESSION_FAILED);
		session_fail_waiting(s);
	}
	session_end_round(s);
	/* A connection that held for a while is replaced at once; one that does not hold must not
	 * be hammered. */
	if (was_up && s->quick_losses == 0) {
		s->retries = 0;
		retry_in_ms(s, 0);
	} else {
		retry_later(s);
	}
}

static void on_lost(void *ctx, const char *why)
{
	lose_connection(ctx, why);
}

static void on_up(struct session *s)
{
	const struct login_reply *reply = connection_reply(s->connection);

	s->negotiated = *reply;
	connection_set_round_end(s->connection, on_round_end);
	s->logged_in = true;
	s->up_since_ns = monotonic_ns();
	s->redirects = 0;
	if (s->opened_once) {
		s->counters.reconnects++;
		log_info("logged in again to %s after %.1f s", s->config.login.portal,
			 (double)(s->up_since_ns - s->away_since_ns) / (double)NS_PER_SEC);
	}
	set_state(s, SESSION_UP);
}

/* The first login fails: the caller is told, and nothing is tried again. */
static void fail_open(struct session *s, const struct login_result *result)
{
	set_state(s, SESSION_CLOSED);
	s->ops->opened(s->ctx, result);
}

static bool follow_redirect(struct session *s, const struct login_result *result)
{
	if (s->redirects++ >= REDIRECTS_MAX)
		return false;
	if (portal_resolve_text(result->redirect_portal, s->redirect_portal,
				sizeof(s->redirect_portal)) < 0)
		return false;
	log_info("%s", result->message);
	retry_in_ms(s, 0);
	return true;
}

static void on_login(void *ctx, const struct login_result *result)
{
	struct session *s = ctx;
	bool first = !s->opened_once;

	if (result->code == EXIT_OK) {
		on_up(s);
		s->opened_once = true;
		if (first)
			s->ops->opened(s->ctx, result);
		session_flush(s);
		return;
	}
	drop_connection(s);
	if (result->redirected && follow_redirect(s, result))
		return;
	s->redirect_portal[0] = '\0'; /* next time ask the portal that we know again */
	snprintf(s->last_error, sizeof(s->last_error), "%s", result->message);
	if (first) {
		fail_open(s, result);
		return;
	}
	log_warn_limited("%s", result->message);
	retry_later(s);
}

static int start_connection(struct session *s)
{
	struct login_params params = s->config.login;

	if (s->redirect_portal[0] != '\0')
		params.portal = s->redirect_portal;
	params.timeout_ms = s->config.timeouts.login_s * 1000;
	return connection_open(s->loop, &params, on_login, on_lost, s, &s->connection);
}

static void on_retry(void *ctx)
{
	struct session *s = ctx;
	int ret;

	s->retry_timer = NULL;
	if (s->state == SESSION_CLOSED)
		return;
	ret = start_connection(s);
	if (ret == 0)
		return;
	snprintf(s->last_error, sizeof(s->last_error), "connect: %s", strerror(-ret));
	if (!s->opened_once) {
		struct login_result result = {.code = EXIT_PORTAL_UNREACHABLE};
		snprintf(result.message, sizeof(result.message), "cannot reach portal %s: %s",
			 s->config.login.portal, strerror(-ret));
		fail_open(s, &result);
		return;
	}
	retry_later(s);
}

static void on_nop_answer(struct iscsi_context *iscsi, int status, void *data, void *ctx)
{
	struct session *s = ctx;

	(void)iscsi;
	(void)data;
	if (status == SCSI_STATUS_GOOD)
		s->nop_outstanding = false;
}

/* Returns false where the connection is found dead. */
static bool check_alive(struct session *s, uint64_t now)
{
	const struct session_timeouts *t = &s->config.timeouts;
	uint64_t heard = connection_last_heard_ns(s->connection);

	if (s->nop_outstanding) {
		uint64_t since = heard > s->nop_sent_ns ? heard : s->nop_sent_ns;
		return now - since < t->nop_timeout_s * NS_PER_SEC;
	}
	if (t->nop_interval_s == 0 || now - heard < t->nop_interval_s * NS_PER_SEC)
		return true;
	if (iscsi_nop_out_async(connection_iscsi(s->connection), on_nop_answer, NULL, 0, s) == 0) {
		s->nop_outstanding = true;
		s->nop_sent_ns = now;
		s->counters.nops++;
		session_flush(s);
	}
	return true;
}

static void on_tick(void *ctx)
{
	struct session *s = ctx;
	uint64_t now = monotonic_ns();

	s->tick_timer = NULL;
	if (event_loop_after_ms(s->loop, TICK_MS, on_tick, s, &s->tick_timer) < 0)
		log_error_limited("no memory for a timer");
	if (s->logged_in) {
		if (session_abort_overdue(s, now))
			lose_connection(s, "no answer to an abort before the abort time-out");
		else if (!check_alive(s, now))
			lose_connection(s, "no answer to NOP-Out before the NOP time-out");
		else
			session_reap_spent(s);
	}
	/* The clock is read again: away_since_ns may be later than now. */
	if (s->state == SESSION_RECONNECTING &&
	    monotonic_ns() - s->away_since_ns >= s->config.timeouts.replacement_s * NS_PER_SEC) {
		log_error("%s has been away for %u s: commands fail from now on",
			  s->config.login.portal, s->config.timeouts.replacement_s);
		set_state(s, SESSION_FAILED);
	}
	if (s->state == SESSION_FAILED)
		session_fail_waiting(s);
	session_end_round(s);
}

int session_create(struct event_loop *loop, const struct session_config *config,
		   const struct session_ops *ops, void *ctx, struct session **out)
{
	int ret;
	struct session *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return -ENOMEM;
	*s = (struct session){.loop = loop, .config = *config, .ops = ops, .ctx = ctx};
	s->state_since_ns = monotonic_ns();
	login_reply_init(&s->negotiated);
	ret = session_commands_init(s);
	if (ret < 0)
		goto err_free;
	ret = event_loop_after_ms(loop, TICK_MS, on_tick, s, &s->tick_timer);
	if (ret < 0)
		goto err_commands;
	ret = event_loop_after_ms(loop, 0, on_retry, s, &s->retry_timer);
	if (ret < 0)
		goto err_tick;
	*out = s;
	return 0;

err_tick:
	event_timer_cancel(s->tick_timer);
err_commands:
	session_commands_fini(s);
err_free:
	free(s);
	return ret;
}

void session_destroy(struct session *s)
{
	if (s == NULL)
		return;
	s->state = SESSION_CLOSED;
	drop_connection(s);
	session_fail_waiting(s);
	session_end_round(s);
	event_timer_cancel(s->tick_timer);
	event_timer_cancel(s->retry_timer);
	event_timer_cancel(s->logout_timer);
	event_timer_cancel(s->fail_timer);
	session_commands_fini(s);
	free(s);
}

void session_stop_waiting(struct session *s)
{
	s->no_waiting = true;
	if (!s->logged_in) {
		set_state(s, SESSION_FAILED);
		session_fail_waiting(s);
		session_end_round(s);
	}
}

static void finish_logout(void *ctx)
{
	struct session *s = ctx;

	s->logout_timer = NULL;
	drop_connection(s);
	session_fail_waiting(s);
	session_end_round(s);
	s->logout_done(s->logout_ctx);
}

static void on_logout_answer(struct iscsi_context *iscsi, int status, void *data, void *ctx)
{
	struct session *s = ctx;

	(void)iscsi;
	(void)data;
	if (status == SCSI_STATUS_CANCELLED)
		return;
	/* The connection must not be closed inside this callback. */
	finish_logout_soon(s);
}

void session_logout(struct session *s, void (*done)(void *ctx), void *ctx)
{
	bool asked = false;

	s->logout_done = done;
	s->logout_ctx = ctx;
	set_state(s, SESSION_CLOSED);
	if (s->logged_in)
		asked = iscsi_logout_async(connection_iscsi(s->connection), on_logout_answer, s) ==
			0;
	event_loop_after_ms(s->loop, asked ? LOGOUT_MS : 0, finish_logout, s, &s->logout_timer);
	if (asked)
		connection_kick(s->connection);
}
