/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * SendTargets discovery (RFC 7143 appendix C): what a portal offers to this initiator.
 */
#ifndef LUNAR_ISCSI_INITIATOR_DISCOVER_H
#define LUNAR_ISCSI_INITIATOR_DISCOVER_H

#include <stddef.h>

#include "iscsi-session/iscsi_url.h"
#include "iscsi-session/login.h"

#define DISCOVERED_MAX 1024 /* of pairs target and portal; more are left out, with a warning */

struct discovered {
	char target[ISCSI_NAME_MAX + 1];
	char portal[ISCSI_HOST_MAX + 16]; /* host:port,tag as the target says it */
};

/*
 * Asks params->portal (target must be NULL) and waits, at most params->timeout_ms for the login and
 * again as long for the answer. On EXIT_OK *list holds *count entries, which the caller frees; else
 * result->message says why.
 */
enum exit_code discover_targets(const struct login_params *params, struct discovered **list,
				size_t *count, struct login_result *result);

#endif
