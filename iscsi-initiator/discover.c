/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One discovery session, from connect to answer, run to its end on an event loop of its own.
 */
#include "iscsi-initiator/discover.h"

#include <errno.h>
#include <iscsi/iscsi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/deadline.h"

#define LOG_COMPONENT "discover"
#include "base/log.h"

struct discovery {
	const struct login_params *params;
	struct connection *connection;
	struct login_result *result;
	struct discovered *list;
	size_t count;
	bool logged_in, over;
};

static void fail(struct discovery *d, enum exit_code code, const char *why)
{
	d->result->code = code;
	snprintf(d->result->message, sizeof(d->result->message), "%s: %s", d->params->portal, why);
	d->over = true;
}

static void add(struct discovery *d, const char *target, const char *portal)
{
	struct discovered *grown;

	if (d->count == DISCOVERED_MAX) {
		log_warn_limited("more than %d targets: the rest is left out", DISCOVERED_MAX);
		return;
	}
	/* The portal only ever is output of ours or input of the URL parser, which checks it again.
	 */
	if (!iscsi_name_is_valid(target) || strlen(portal) >= sizeof(grown->portal))
		return;
	grown = reallocarray(d->list, d->count + 1, sizeof(*grown));
	if (grown == NULL)
		return;
	d->list = grown;
	snprintf(grown[d->count].target, sizeof(grown->target), "%s", target);
	snprintf(grown[d->count].portal, sizeof(grown->portal), "%s", portal);
	d->count++;
}

static void on_answer(struct iscsi_context *iscsi, int status, void *data, void *ctx)
{
	struct discovery *d = ctx;

	if (d->over)
		return;
	if (status != SCSI_STATUS_GOOD) {
		fail(d, EXIT_INTERNAL, iscsi_get_error(iscsi));
		return;
	}
	for (struct iscsi_discovery_address *t = data; t != NULL; t = t->next)
		for (struct iscsi_target_portal *p = t->portals; p != NULL; p = p->next)
			add(d, t->target_name, p->portal);
	d->over = true;
}

static void on_login(void *ctx, const struct login_result *result)
{
	struct discovery *d = ctx;

	*d->result = *result;
	if (result->code != EXIT_OK) {
		d->over = true;
		return;
	}
	d->logged_in = true;
	if (iscsi_discovery_async(connection_iscsi(d->connection), on_answer, d) != 0) {
		fail(d, EXIT_INTERNAL, "cannot ask for targets");
		return;
	}
	connection_kick(d->connection);
}

static void on_lost(void *ctx, const char *why)
{
	struct discovery *d = ctx;

	if (!d->over)
		fail(d, EXIT_PORTAL_UNREACHABLE, why);
}

static void run(struct event_loop *loop, struct discovery *d)
{
	struct deadline deadline = deadline_in_ms(2 * d->params->timeout_ms);

	while (!d->over) {
		if (deadline_passed(deadline)) {
			fail(d, EXIT_TIMEOUT, "no answer to the discovery request");
			break;
		}
		event_loop_run_once(loop, deadline_left_ms(deadline));
	}
}

enum exit_code discover_targets(const struct login_params *params, struct discovered **list,
				size_t *count, struct login_result *result)
{
	struct discovery d = {.params = params, .result = result};
	struct event_loop *loop;
	int ret;

	*result = (struct login_result){.code = EXIT_OK};
	ret = event_loop_create(&loop);
	if (ret < 0) {
		fail(&d, EXIT_INTERNAL, strerror(-ret));
		return result->code;
	}
	ret = connection_open(loop, params, on_login, on_lost, &d, &d.connection);
	if (ret < 0)
		fail(&d, EXIT_PORTAL_UNREACHABLE, strerror(-ret));
	else
		run(loop, &d);
	d.over = true;
	connection_close(d.connection);
	event_loop_destroy(loop);
	if (result->code != EXIT_OK) {
		free(d.list);
		return result->code;
	}
	*list = d.list;
	*count = d.count;
	return EXIT_OK;
}
