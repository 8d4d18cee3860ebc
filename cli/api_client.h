/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The client's end of a running VM's API (hypervisor/api_server.h). Every call has a deadline, and
 * what comes back is bounded and only taken as JSON.
 */
#ifndef LUNAR_CLI_API_CLIENT_H
#define LUNAR_CLI_API_CLIENT_H

#include <stdint.h>
#include <sys/types.h>

#include <jansson.h>

#include "cli/cli_error.h"

/*
 * Whether a process serves the VM's API, and its pid (0 where another pid namespace hides it).
 * EXIT_OK, EXIT_STATE when there is none, EXIT_PERMISSION, or EXIT_TIMEOUT when it exists but takes
 * no connection.
 */
enum exit_code api_find_process(const char *name, pid_t *pid, struct cli_error *error);

/*
 * GET and PUT of /api/v1/vm + path ("" for the VM itself). body: may be NULL. On EXIT_OK *answer is
 * the caller's. EXIT_STATE: no process, or the VM's state forbids it; EXIT_TIMEOUT: no answer
 * within timeout_ms. Where the answer names an exit code ("exit_code"), that one.
 */
enum exit_code api_get(const char *name, const char *path, uint32_t timeout_ms, json_t **answer,
		       struct cli_error *error);
enum exit_code api_put(const char *name, const char *path, const json_t *body, uint32_t timeout_ms,
		       json_t **answer, struct cli_error *error);
/* DELETE, likewise. */
enum exit_code api_delete(const char *name, const char *path, uint32_t timeout_ms, json_t **answer,
			  struct cli_error *error);

#endif
