/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a session tells about itself.
 */
#include <stdio.h>
#include <string.h>

#include "base/deadline.h"
#include "iscsi-session/session_internal.h"

const char *session_state_name(enum session_state state)
{
	static const char *const names[] = {
		[SESSION_CONNECTING] = "connecting",
		[SESSION_UP] = "up",
		[SESSION_RECONNECTING] = "reconnecting",
		[SESSION_FAILED] = "failed",
		[SESSION_CLOSED] = "closed",
	};

	return names[state];
}

void session_get_status(const struct session *s, struct session_status *status)
{
	uint64_t now = monotonic_ns();
	uint32_t random = s->config.login.isid_random;
	uint16_t qualifier = s->config.login.isid_qualifier;

	memset(status, 0, sizeof(*status));
	status->state = s->state;
	status->timeouts = s->config.timeouts;
	status->counters = s->counters;
	status->negotiated = s->negotiated;
	status->isid[0] = 0x80; /* type 10b: random */
	status->isid[1] = (uint8_t)(random >> 16);
	status->isid[2] = (uint8_t)(random >> 8);
	status->isid[3] = (uint8_t)random;
	status->isid[4] = (uint8_t)(qualifier >> 8);
	status->isid[5] = (uint8_t)qualifier;
	status->commands_sent = s->sent_count;
	status->commands_waiting = s->waiting_count;
	status->state_for_ms = (now - s->state_since_ns) / NS_PER_MS;
	if (s->opened_once && !s->logged_in && s->state != SESSION_CLOSED)
		status->away_for_ms = (now - s->away_since_ns) / NS_PER_MS;
	snprintf(status->portal, sizeof(status->portal), "%s",
		 s->redirect_portal[0] != '\0' ? s->redirect_portal : s->config.login.portal);
	snprintf(status->last_error, sizeof(status->last_error), "%s", s->last_error);
	status->name_conflict_suspected = s->quick_losses >= 3;
}
