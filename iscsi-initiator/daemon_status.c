/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The daemon's status as JSON: all values are those in force, read from the session when asked.
 */
#include <stdio.h>
#include <unistd.h>

#include "base/deadline.h"
#include "iscsi-initiator/daemon_internal.h"

static json_t *timeouts_json(const struct session_timeouts *t)
{
	return json_pack("{s:i, s:i, s:i, s:i, s:i}", "login", (int)t->login_s, "nop_interval",
			 (int)t->nop_interval_s, "nop_timeout", (int)t->nop_timeout_s,
			 "replacement", (int)t->replacement_s, "abort", (int)t->abort_s);
}

static json_t *negotiated_json(const struct login_reply *n)
{
	return json_pack("{s:s, s:s, s:b, s:b, s:i, s:i, s:i, s:i, s:b}", "header_digest",
			 n->header_digest ? "CRC32C" : "None", "data_digest",
			 n->data_digest ? "CRC32C" : "None", "initial_r2t", (int)n->initial_r2t,
			 "immediate_data", (int)n->immediate_data, "max_burst_bytes",
			 (int)n->max_burst_bytes, "first_burst_bytes", (int)n->first_burst_bytes,
			 "max_send_segment_bytes", (int)n->max_send_segment_bytes,
			 "max_receive_segment_bytes", (int)n->max_receive_segment_bytes,
			 "target_authenticated", (int)n->target_proved_itself);
}

static json_t *counters_json(const struct session_counters *c)
{
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "reads",
			 (json_int_t)c->reads, "read_bytes", (json_int_t)c->read_bytes, "writes",
			 (json_int_t)c->writes, "written_bytes", (json_int_t)c->written_bytes,
			 "other_commands", (json_int_t)c->others, "check_conditions",
			 (json_int_t)c->check_conditions, "errors", (json_int_t)c->errors,
			 "reconnects", (json_int_t)c->reconnects, "resent", (json_int_t)c->resent,
			 "aborts", (json_int_t)c->aborts, "nops", (json_int_t)c->nops);
}

static json_t *session_json(const struct session_status *s)
{
	char isid[13];

	snprintf(isid, sizeof(isid), "%02x%02x%02x%02x%02x%02x", s->isid[0], s->isid[1], s->isid[2],
		 s->isid[3], s->isid[4], s->isid[5]);
	return json_pack("{s:s, s:f, s:f, s:s, s:s, s:i, s:i, s:s, s:b, s:o, s:o, s:o}", "state",
			 session_state_name(s->state), "state_seconds",
			 (double)s->state_for_ms / 1000.0, "away_seconds",
			 (double)s->away_for_ms / 1000.0, "connected_portal", s->portal, "isid",
			 isid, "commands_sent", (int)s->commands_sent, "commands_waiting",
			 (int)s->commands_waiting, "last_error", s->last_error,
			 "name_conflict_suspected", (int)s->name_conflict_suspected, "timeouts",
			 timeouts_json(&s->timeouts), "negotiated", negotiated_json(&s->negotiated),
			 "counters", counters_json(&s->counters));
}

json_t *daemon_status(const struct daemon *d)
{
	static const char *const states[] = {
		[DAEMON_ATTACHING] = "attaching",
		[DAEMON_ATTACHED] = "attached",
		[DAEMON_DETACHING] = "detaching",
	};
	const struct iscsi_address *address = &d->config->options->address;
	struct session_status session;
	char device[40] = "", url[600];
	double attached_s = 0;

	session_get_status(d->session, &session);
	if (d->disk_name[0] != '\0')
		snprintf(device, sizeof(device), "/dev/%s", d->disk_name);
	snprintf(url, sizeof(url), "iscsi://%s/%s/%u", d->config->portal, address->target,
		 address->lun);
	if (d->state != DAEMON_ATTACHING)
		attached_s = (double)(monotonic_ns() - d->attached_at_ns) / (double)NS_PER_SEC;
	return json_pack(
		"{s:i, s:s, s:s, s:s, s:b, s:s, s:s, s:s, s:i, s:s, s:s, s:I, s:i, s:s, s:s, "
		"s:i, s:f, s:o}",
		"code", EXIT_OK, "id", d->id, "device", device, "disk_state", states[d->state],
		"ring_broken", (int)(d->disk != NULL && disk_is_broken(d->disk)), "url", url,
		"target", address->target, "portal", d->config->portal, "lun", (int)address->lun,
		"initiator_name", d->config->initiator_name, "user", address->user, "blocks",
		(json_int_t)d->geometry.blocks, "block_bytes", (int)d->geometry.block_bytes,
		"vendor", d->geometry.vendor, "product", d->geometry.product, "pid", (int)getpid(),
		"attached_seconds", attached_s, "session", session_json(&session));
}
