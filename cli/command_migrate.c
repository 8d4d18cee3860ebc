/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lunar migrate and lunar save: the VM's own process does the work; these ask it to, watch, and
 * tell how it went.
 */
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "base/deadline.h"
#include "cli/api_client.h"
#include "cli/commands.h"
#include "cli/last_move.h"
#include "cli/migration_follow.h"
#include "cli/migration_output.h"
#include "cli/output.h"
#include "cli/vm_store.h"
#include "hypervisor/migration/report.h"
#include "hypervisor/migration/resolve.h"

#define API_ANSWER_MS  10000 /* vmwp reads the certificates meanwhile */
#define CANCEL_WAIT_MS 15000
#define CANCEL_POLL_US 50000

/* The VM has a process that can be asked. */
static enum exit_code find_running(const char *name, struct cli_error *error)
{
	enum exit_code code = vm_store_check_name(name, error);
	pid_t pid;

	if (code == EXIT_OK)
		code = api_find_process(name, &pid, error);
	return code == EXIT_STATE ? command_explain_not_running(name, error) : code;
}

static void set_number(json_t *body, const char *key, uint64_t value)
{
	if (value)
		json_object_set_new(body, key, json_integer((json_int_t)value));
}

static json_t *move_body(const struct migration_options *move)
{
	json_t *body = json_pack("{ss ss ss sb sb}", "host", move->host, "compression",
				 migration_compression_name(move->compression), "late",
				 move->late == MIGRATION_LATE_FORCE ? "force" : "cancel",
				 "throttle", !move->no_throttle, "check_only", move->check_only);

	set_number(body, "port", move->port);
	set_number(body, "connections", move->connections);
	set_number(body, "bandwidth", move->bandwidth);
	set_number(body, "downtime_ms", move->downtime_ms);
	set_number(body, "timeout_s", move->timeout_seconds);
	return body;
}

/* Asks for it and watches it to its end. */
static enum exit_code run(const struct command_context *context, const char *name, const char *path,
			  const json_t *body, json_t **migration, struct cli_error *error)
{
	int64_t begun_unix_ms = migration_follow_clock();
	enum exit_code code = find_running(name, error);
	json_t *answer = NULL;

	if (code != EXIT_OK)
		return code;
	code = api_put(name, path, body, API_ANSWER_MS, &answer, error);
	json_decref(answer);
	if (code != EXIT_OK)
		return code;
	return migration_follow(context, name, begun_unix_ms, migration, error);
}

static bool has_stopper(const json_t *migration)
{
	const json_t *findings = json_object_get(json_object_get(migration, "check"), "findings");

	for (size_t i = 0; i < json_array_size(findings); i++)
		if (strcmp(output_get_text(json_array_get(findings, i), "severity"), "stops") == 0)
			return true;
	return false;
}

/* A check that found what stops the move is a failure, though nothing went wrong. */
static enum exit_code judge_check(const struct command_context *context, const char *name,
				  const json_t *migration, struct cli_error *error)
{
	if (!context->options->move.check_only || !has_stopper(migration))
		return EXIT_OK;
	return cli_error_set(error, EXIT_CANNOT_MOVE, "%s cannot be moved to %s as things are",
			     name, context->options->move.host);
}

static void print_move(const struct command_context *context, const char *name,
		       const json_t *migration, enum exit_code code)
{
	const char *host = context->options->move.host;

	if (context->options->move.check_only) {
		migration_output_findings(context->out, migration);
		if (code == EXIT_OK)
			fprintf(context->out, "%s can be moved to %s.\n", name, host);
	} else if (code == EXIT_OK) {
		fprintf(context->out, "%s runs on %s now.\n", name, host);
		migration_output_figures(context->out, migration);
	} else if (code == EXIT_CANNOT_MOVE) {
		migration_output_findings(context->err, migration);
	}
}

static enum exit_code move(const struct command_context *context, struct cli_error *error)
{
	const char *name = context->options->argument;
	json_t *body = move_body(&context->options->move);
	json_t *migration = NULL;
	enum exit_code code = run(context, name, "/migrate", body, &migration, error);

	json_decref(body);
	if (code == EXIT_OK)
		code = judge_check(context, name, migration, error);
	if (context->options->json)
		code = migration_follow_print_end(context, name, migration, code, error, error);
	else
		print_move(context, name, migration, code);
	json_decref(migration);
	return code;
}

/* Waits until the move that was cancelled has ended. */
static enum exit_code wait_cancelled(const char *name, const char **phase_name, json_t **migration,
				     struct cli_error *error)
{
	struct deadline deadline = deadline_in_ms(CANCEL_WAIT_MS);

	while (!deadline_passed(deadline)) {
		enum exit_code code = api_get(name, "/migration", API_ANSWER_MS, migration, error);

		if (code == EXIT_STATE) { /* it was too late, and the VM is gone */
			*migration = last_move_read(name);
			*phase_name = output_get_text(*migration, "phase");
			return EXIT_OK;
		}
		if (code != EXIT_OK)
			return code;
		*phase_name = output_get_text(*migration, "phase");
		if (migration_phase_is_final(*phase_name))
			return EXIT_OK;
		json_decref(*migration);
		*migration = NULL;
		usleep(CANCEL_POLL_US);
	}
	return cli_error_set(error, EXIT_TIMEOUT, "%s: the move has not ended yet; lunar show %s",
			     name, name);
}

static enum exit_code cancel(const struct command_context *context, struct cli_error *error)
{
	const char *name = context->options->argument, *phase = "";
	json_t *answer = NULL, *migration = NULL;
	enum exit_code code = find_running(name, error);

	if (code == EXIT_OK)
		code = api_put(name, "/migration/cancel", NULL, API_ANSWER_MS, &answer, error);
	json_decref(answer);
	if (code == EXIT_OK)
		code = wait_cancelled(name, &phase, &migration, error);
	if (code == EXIT_OK && strcmp(phase, "done") == 0)
		code = cli_error_set(error, EXIT_STATE, "%s: too late: it has moved to %.255s",
				     name, output_get_text(migration, "peer"));
	json_decref(migration);
	if (code != EXIT_OK)
		return code;
	if (context->options->json)
		return command_print_json(
			context, json_pack("{ss ss}", "name", name, "state", "running"), error);
	fprintf(context->out, "%s: the move was cancelled; the VM runs on here\n", name);
	return EXIT_OK;
}

/* An operator's word reaches the process that waits for it, or the records of one that is gone. */
static enum exit_code resolve(const struct command_context *context, struct cli_error *error)
{
	bool there = context->options->migrate_action == MIGRATE_RESOLVE_THERE;
	const char *name = context->options->argument;
	enum exit_code code = vm_store_check_name(name, error);
	struct vm_error problem = {.code = EXIT_INTERNAL};
	json_t *body, *answer = NULL;
	pid_t pid;

	if (code != EXIT_OK)
		return code;
	code = api_find_process(name, &pid, error);
	if (code == EXIT_OK) {
		body = json_pack("{ss}", "outcome", there ? "there" : "here");
		code = api_put(name, "/migration/resolve", body, API_ANSWER_MS, &answer, error);
		json_decref(body);
		json_decref(answer);
	} else if (code == EXIT_STATE) {
		code = EXIT_OK;
		if (migration_resolve_by_operator(name, there, &problem))
			code = cli_error_set(error, problem.code, "%s", problem.message);
	}
	if (code != EXIT_OK)
		return code;
	if (context->options->json)
		return command_print_json(
			context,
			json_pack("{ss ss}", "name", name, "outcome", there ? "there" : "here"),
			error);
	fprintf(context->out, "%s: %s\n", name,
		there ? "it is the other host's now, and gone from here" : "it is this host's");
	return EXIT_OK;
}

enum exit_code command_migrate(const struct command_context *context, struct cli_error *error)
{
	switch (context->options->migrate_action) {
	case MIGRATE_CANCEL:
		return cancel(context, error);
	case MIGRATE_RESOLVE_HERE:
	case MIGRATE_RESOLVE_THERE:
		return resolve(context, error);
	case MIGRATE_MOVE:
		break;
	}
	return move(context, error);
}

/* vmwp runs in another folder. */
static enum exit_code absolute_path(const char *file, char path[PATH_MAX], struct cli_error *error)
{
	char here[PATH_MAX];
	int length;

	if (*file == '/')
		length = snprintf(path, PATH_MAX, "%s", file);
	else if (!getcwd(here, sizeof(here)))
		return cli_error_system(error, EXIT_INTERNAL, -errno, "cannot tell", "the folder");
	else
		length = snprintf(path, PATH_MAX, "%s/%s", here, file);
	if (length < 0 || length >= PATH_MAX)
		return cli_error_set(error, EXIT_USAGE, "save: the path of FILE is too long");
	if (access(path, F_OK) == 0)
		return cli_error_set(error, EXIT_EXISTS,
				     "%.900s exists; give the name of a new file", path);
	return EXIT_OK;
}

static enum exit_code save(const struct command_context *context, json_t **migration,
			   struct cli_error *error)
{
	char path[PATH_MAX];
	enum exit_code code = absolute_path(context->options->arguments[1], path, error);
	json_t *body;

	if (code != EXIT_OK)
		return code;
	body = json_pack("{ss}", "path", path);
	if (!body)
		return cli_error_set(error, EXIT_USAGE, "save: the name of FILE has to be UTF-8");
	code = run(context, context->options->argument, "/save", body, migration, error);
	json_decref(body);
	return code;
}

enum exit_code command_save(const struct command_context *context, struct cli_error *error)
{
	const char *name = context->options->argument;
	json_t *migration = NULL;
	enum exit_code code = save(context, &migration, error);

	if (context->options->json) {
		code = migration_follow_print_end(context, name, migration, code, error, error);
	} else if (code == EXIT_OK) {
		fprintf(context->out, "%s: saved to %s; lunar restore %s continues it\n", name,
			context->options->arguments[1], context->options->arguments[1]);
		migration_output_figures(context->out, migration);
	}
	json_decref(migration);
	return code;
}
