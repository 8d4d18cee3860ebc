/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One connection to a target, from connect() to the end of the login phase, on a fresh libiscsi
 * context. The session layer and discovery start each connection through this. Single-threaded: the
 * event loop's thread.
 */
#ifndef LUNAR_ISCSI_SESSION_LOGIN_H
#define LUNAR_ISCSI_SESSION_LOGIN_H

#include <stdint.h>

#include "base/event_loop.h"
#include "base/exit_code.h"
#include "iscsi-session/login_reply.h"

struct iscsi_context;

enum digest_mode {
	DIGEST_NONE,
	DIGEST_PREFER, /* CRC32C where the target agrees */
	DIGEST_REQUIRE,
};

/* Strings are borrowed, and must outlive the connection. NULL: not given. */
struct login_params {
	const char *initiator_name;
	const char *portal; /* numeric: 192.0.2.1:3260, [2001:db8::1]:3260 */
	const char *target; /* NULL: a discovery session */
	const char *user, *secret;
	const char *mutual_user, *mutual_secret;
	enum digest_mode header_digest, data_digest;
	uint32_t isid_random; /* 24 bits: ISID type 10b, RFC 7143 11.12.5 */
	uint16_t isid_qualifier;
	uint32_t timeout_ms; /* for connect and login together */
};

struct login_result {
	enum exit_code code; /* EXIT_OK: logged in */
	char message[320];   /* for the user; empty where code is EXIT_OK */
	bool redirected;     /* to redirect_portal, which may need resolving */
	char redirect_portal[256];
};

struct connection;

/* The login is over. Not called after connection_close(). Once code is not EXIT_OK the owner must
 * close. */
typedef void (*login_done_fn)(void *ctx, const struct login_result *result);
/* The established connection is lost. Called once; the owner must close. why is for the log. */
typedef void (*connection_lost_fn)(void *ctx, const char *why);

/* Starts to connect. Returns 0, -ENOMEM, or -errno where not even connect() can be started; done
 * comes later. */
int connection_open(struct event_loop *loop, const struct login_params *params, login_done_fn done,
		    connection_lost_fn lost, void *ctx, struct connection **connection);
/* Closes at once, without a logout. Commands still with libiscsi get SCSI_STATUS_CANCELLED. Takes
 * NULL. Not from within a libiscsi callback: the two functions above are called outside of those.
 */
void connection_close(struct connection *connection);

/* fn(ctx) is called after each round of libiscsi callbacks, outside of them: for work that is done
 * once a batch. */
void connection_set_round_end(struct connection *connection, void (*fn)(void *ctx));

struct iscsi_context *connection_iscsi(struct connection *connection);
const struct login_reply *connection_reply(const struct connection *connection);
/* Call after anything was queued on the context, outside of libiscsi's callbacks: sends what can be
 * sent now. */
void connection_kick(struct connection *connection);
/* Monotonic time at which the target was last heard. */
uint64_t connection_last_heard_ns(const struct connection *connection);

#endif
