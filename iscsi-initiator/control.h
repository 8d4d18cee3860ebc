/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The control socket of a daemon, RUN_DIR/ID.sock: SOCK_SEQPACKET, one JSON request a connection,
 * one JSON reply.
 *   {"command":"show"}                     -> {"code":0, ...status}
 *   {"command":"detach","force":bool}      -> {"code":N,"message":"..."}
 * code is an exit code of base/exit_code.h.
 */
#ifndef LUNAR_ISCSI_INITIATOR_CONTROL_H
#define LUNAR_ISCSI_INITIATOR_CONTROL_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "base/event_loop.h"
#include "base/exit_code.h"

#define CONTROL_RUN_DIR "/run/lunar-iscsi"

/* The folder of sockets and logs: CONTROL_RUN_DIR, or what LUNAR_ISCSI_RUN_DIR says. */
const char *control_run_dir(void);
/* Writes the path of a file of disk id, with the suffix (".sock", ".log"). */
void control_path(const char *id, const char *suffix, char *path, size_t size);

struct control_server;
struct control_client;

/*
 * A request came: answer it by control_reply(), now or later, exactly once. request is borrowed for
 * the call.
 */
typedef void (*control_request_fn)(void *ctx, const json_t *request, struct control_client *client);

/* Returns 0, -EADDRINUSE where another process serves this id, or -errno. */
int control_server_create(struct event_loop *loop, const char *id, control_request_fn fn, void *ctx,
			  struct control_server **server);
/* Closes all clients and removes the socket. Takes NULL. */
void control_server_destroy(struct control_server *server);

/* Sends reply (whose reference is taken) and closes the client. */
void control_reply(struct control_client *client, json_t *reply);
json_t *control_result(enum exit_code code, const char *message);

/*
 * The client's side: asks the daemon of disk id. Returns 0 with a reply that the caller releases;
 * -ENOENT or -ECONNREFUSED where no daemon serves the id, -ETIMEDOUT, -EPROTO.
 */
int control_ask(const char *id, const json_t *request, uint32_t timeout_ms, json_t **reply);

#endif
