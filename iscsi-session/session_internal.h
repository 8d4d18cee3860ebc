/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The session's inside, shared by session.c (connections and time), session_command.c (commands)
 * and session_status.c.
 */
#ifndef LUNAR_ISCSI_SESSION_SESSION_INTERNAL_H
#define LUNAR_ISCSI_SESSION_SESSION_INTERNAL_H

#include "iscsi-session/session.h"

TAILQ_HEAD(command_list, session_command);

struct session_abort {
	LIST_ENTRY(session_abort) link;
	struct session *session;
	struct session_command *command; /* NULL: a LUN reset, or the command was done first */
	uint64_t deadline_ns;
};

struct session {
	struct event_loop *loop;
	struct session_config config;
	const struct session_ops *ops;
	void *ctx;

	enum session_state state;
	uint64_t state_since_ns;
	struct connection *connection; /* NULL between two attempts */
	bool logged_in;
	bool opened_once;
	bool no_waiting;
	bool nop_outstanding;
	uint64_t nop_sent_ns;
	uint64_t up_since_ns, away_since_ns;
	uint32_t quick_losses;
	uint32_t redirects;
	uint32_t retries;	   /* since a connection last held */
	char redirect_portal[300]; /* numeric; empty: the configured portal */
	struct event_timer *retry_timer, *tick_timer, *logout_timer, *fail_timer;
	void (*logout_done)(void *ctx);
	void *logout_ctx;

	struct command_list waiting, sent;
	uint32_t waiting_count, sent_count;
	LIST_HEAD(, session_abort) aborts;
	struct scsi_task *
		*spent; /* tasks that are done, which unsent Data-Out PDUs may still point to */
	uint32_t spent_count;

	struct session_counters counters;
	struct login_reply negotiated;
	char last_error[320];
};

/* session_command.c */
int session_commands_init(struct session *session);
void session_commands_fini(struct session *session);
/* Sends waiting commands as far as the queue depth allows. No-op while the connection is down. */
void session_send_waiting(struct session *session);
/* After the connection has been closed: what was sent waits again, in its old order, or is done. */
void session_requeue_sent(struct session *session);
/* Does every waiting command with LOGICAL UNIT COMMUNICATION FAILURE. */
void session_fail_waiting(struct session *session);
/* Frees tasks that are spent, where libiscsi has nothing left to send. */
void session_reap_spent(struct session *session);
/* True where an abort has gone unanswered for too long. */
bool session_abort_overdue(const struct session *session, uint64_t now_ns);

/* session.c: tells the owner that a round of callbacks is over. */
void session_end_round(struct session *session);

#endif
