/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An iSCSI session to one target that outlives its connections: it logs in again with the same
 * ISID, sends again what was under way, and keeps time as open-iscsi does. It knows nothing of
 * where commands come from.
 *
 * While the target is away commands wait, up to the replacement time-out; from then on they fail at
 * once until the target is back. A command is done exactly once. All functions belong to the event
 * loop's thread.
 */
#ifndef LUNAR_ISCSI_SESSION_SESSION_H
#define LUNAR_ISCSI_SESSION_SESSION_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/uio.h>

#include "base/event_loop.h"
#include "iscsi-session/login.h"
#include "iscsi-session/scsi_cdb.h"

#define SESSION_COMMANDS_MAX 128 /* with the target at one time; the rest waits here */
#define SESSION_SENSE_MAX    96

/* Seconds. open-iscsi's names and defaults. */
struct session_timeouts {
	uint32_t login_s;	 /* connect and login together: 15 */
	uint32_t nop_interval_s; /* silence after which a NOP-Out is sent: 5; 0: none */
	uint32_t nop_timeout_s;	 /* for the answer: 5 */
	uint32_t replacement_s;	 /* for which commands wait for the target: 120 */
	uint32_t abort_s;	 /* for the answer to an abort: 15 */
};

extern const struct session_timeouts session_timeouts_default;

struct session;
struct session_abort;

enum command_state {
	COMMAND_WAITING, /* for the target, or for a place in the queue */
	COMMAND_SENT,
};

/* The submitter owns the memory, iov and the buffers, until done() is called. */
struct session_command {
	uint8_t cdb[SCSI_CDB_BYTES];
	uint8_t cdb_length;
	enum cdb_data direction;
	uint32_t data_bytes; /* the sum of iov */
	struct iovec *iov;
	int iov_count;
	void (*done)(struct session_command *command);

	/* Valid in done(). */
	uint8_t status; /* SAM status */
	uint8_t sense_length;
	uint8_t sense[SESSION_SENSE_MAX];
	uint32_t received_bytes; /* of data-in */

	/* The session's own. */
	TAILQ_ENTRY(session_command) link;
	struct session *session;
	struct scsi_task *task;
	struct session_abort *abort;
	enum command_state state;
};

enum session_state {
	SESSION_CONNECTING, /* for the first time */
	SESSION_UP,
	SESSION_RECONNECTING, /* commands wait */
	SESSION_FAILED,	      /* the replacement time-out has passed: commands fail; still trying to
				 reconnect */
	SESSION_CLOSED,
};

struct session_counters {
	uint64_t reads, writes, others; /* commands done */
	uint64_t read_bytes, written_bytes;
	uint64_t check_conditions, errors; /* errors: failed by us, not by the target */
	uint64_t reconnects, resent, aborts, nops;
};

struct session_ops {
	/* The first login is over; result->code tells how. On failure the session does not try
	 * again. */
	void (*opened)(void *ctx, const struct login_result *result);
	/* Optional: commands may have been done since the last call; more are not coming in this
	 * round. */
	void (*round_end)(void *ctx);
};

struct session_config {
	struct login_params login; /* strings are borrowed for the session's life; timeout_ms is set
				      from below */
	struct session_timeouts timeouts;
	uint16_t lun;
};

/* Creates a session and starts to connect; opened() follows. Returns 0 or -errno. */
int session_create(struct event_loop *loop, const struct session_config *config,
		   const struct session_ops *ops, void *ctx, struct session **session);
/* Closes without a logout. Commands that are left are done with an error first. Takes NULL. */
void session_destroy(struct session *session);

/*
 * Hands a command over; command->done() follows, never from within this call. Call session_flush()
 * after the last of a batch.
 */
void session_submit(struct session *session, struct session_command *command);
void session_flush(struct session *session);

/* Asks the target to abort; done() follows with TASK ABORTED, or with the result where that was
 * quicker. */
void session_abort_command(struct session *session, struct session_command *command);
/* Asks the target to reset the LUN. */
void session_reset_lun(struct session *session);

/* From now on nothing waits for the target: commands fail at once while it is away. For a forced
 * detach. */
void session_stop_waiting(struct session *session);

/* Logs out where logged in, then calls done (at most five seconds later, never from within this
 * call). */
void session_logout(struct session *session, void (*done)(void *ctx), void *ctx);

struct session_status {
	enum session_state state;
	struct session_timeouts timeouts;
	struct session_counters counters;
	struct login_reply negotiated; /* of the last login */
	uint8_t isid[6];
	uint32_t commands_sent, commands_waiting;
	uint64_t state_for_ms, away_for_ms;
	char portal[300];
	char last_error[320]; /* why the connection was last lost; may be empty */
	bool name_conflict_suspected;
};

void session_get_status(const struct session *session, struct session_status *status);
const char *session_state_name(enum session_state state);

#endif
