/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Polls the VM's API. A signal only sets a flag; the poll's pause is what it interrupts.
 */
#include "cli/migration_follow.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "base/deadline.h"
#include "cli/api_client.h"
#include "cli/last_move.h"
#include "cli/migration_output.h"
#include "cli/output.h"
#include "hypervisor/migration/record.h"
#include "hypervisor/vm_paths.h"

#define POLL_MS	       200
#define API_ANSWER_MS  5000
#define SILENT_MS      60000 /* vmwp may be busy; longer than this it hangs */
#define EVENT_EVERY_MS 500
#define LINE_EVERY_MS  5000
#define COLUMNS	       80
#define LINE_BYTES     512

struct follow {
	const struct command_context *context;
	const char *name;
	int64_t begun_unix_ms;
	bool terminal;
	bool bar_shown;
	bool warned;   /* findings that do not stop the move were shown */
	int cancelled; /* signals that were acted on */
	json_t *last;
	char phase[32]; /* that was shown last */
	struct deadline next_show;
};

static volatile sig_atomic_t interrupts;

static void on_interrupt(int signal)
{
	(void)signal;
	interrupts++;
}

int64_t migration_follow_clock(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static size_t terminal_columns(FILE *out)
{
	struct winsize size;

	if (ioctl(fileno(out), TIOCGWINSZ, &size) < 0 || size.ws_col < 20)
		return COLUMNS;
	return size.ws_col;
}

/* Takes the bar off the terminal, so that a line can be printed. */
static void hide_bar(struct follow *follow)
{
	if (follow->bar_shown)
		fputs("\r\033[K", follow->context->err);
	follow->bar_shown = false;
}

static void print_event(const struct follow *follow)
{
	json_t *event = json_pack("{ss}", "event", "progress");

	json_object_update(event, follow->last);
	json_object_del(event, "check");
	json_object_del(event, "error");
	json_dumpf(event, follow->context->out, JSON_COMPACT);
	fputc('\n', follow->context->out);
	fflush(follow->context->out);
	json_decref(event);
}

static void show(struct follow *follow)
{
	const char *phase = output_get_text(follow->last, "phase");
	bool changed = strcmp(phase, follow->phase) != 0;
	char line[LINE_BYTES];

	if (migration_phase_is_final(phase))
		return;
	if (!changed && !follow->terminal && !deadline_passed(follow->next_show))
		return;
	snprintf(follow->phase, sizeof(follow->phase), "%s", phase);
	follow->next_show =
		deadline_in_ms(follow->context->options->json ? EVENT_EVERY_MS : LINE_EVERY_MS);
	if (follow->context->options->json) {
		print_event(follow);
	} else if (follow->terminal) {
		migration_output_bar(line, sizeof(line), terminal_columns(follow->context->err),
				     follow->last);
		fprintf(follow->context->err, "\r%s\033[K", line);
		follow->bar_shown = true;
	} else {
		migration_output_now(line, sizeof(line), follow->last);
		fprintf(follow->context->err, "%s: %s\n", follow->name, line);
	}
	fflush(follow->context->err);
}

/* What the checks found, once they are through; a check is for its findings alone and has them
 * printed as its result. */
static void warn(struct follow *follow)
{
	const struct options *options = follow->context->options;

	if (follow->warned || options->json || options->move.check_only ||
	    !json_is_object(json_object_get(follow->last, "check")))
		return;
	follow->warned = true;
	hide_bar(follow);
	migration_output_findings(follow->context->err, follow->last);
}

static void say(struct follow *follow, const char *text)
{
	hide_bar(follow);
	if (!follow->context->options->json)
		fprintf(follow->context->err, "%s: %s\n", follow->name, text);
	fflush(follow->context->err);
}

/* The first Ctrl-C cancels. Returns false at the second one: the user wants to go. */
static bool handle_interrupts(struct follow *follow)
{
	struct cli_error error;
	json_t *answer = NULL;
	enum exit_code code;

	if (interrupts == follow->cancelled)
		return true;
	if (follow->cancelled)
		return false;
	follow->cancelled = interrupts;
	say(follow, "cancelling; the VM runs on here");
	code = api_put(follow->name, "/migration/cancel", NULL, API_ANSWER_MS, &answer, &error);
	json_decref(answer);
	if (code != EXIT_OK) {
		say(follow, "it cannot be cancelled any more");
	}
	return true;
}

/* Whether a status is of the move that is followed, not of one before or after it. */
static bool is_ours(const struct follow *follow, const json_t *migration)
{
	const char *id = output_get_text(migration, "id");
	const char *ours = output_get_text(follow->last, "id");

	if (*ours != '-')
		return strcmp(id, ours) == 0;
	return !json_is_true(json_object_get(migration, "incoming")) &&
	       json_integer_value(json_object_get(migration, "started_unix_ms")) >=
		       follow->begun_unix_ms - 1000;
}

/* What the final status means for the one who asked. */
static enum exit_code conclude(const json_t *migration, struct cli_error *error)
{
	const json_t *problem = json_object_get(migration, "error");
	const char *phase = output_get_text(migration, "phase");
	uint64_t code = output_get_number(problem, "code");
	char message[sizeof(error->message) - 1];

	if (strcmp(phase, "done") == 0 || strcmp(phase, "checked") == 0)
		return EXIT_OK;
	if (strcmp(phase, "cancelled") == 0)
		return cli_error_set(error, EXIT_CANCELLED, "%.64s: cancelled; the VM runs on here",
				     output_get_text(migration, "vm"));
	output_copy_printable(message, sizeof(message),
			      json_is_object(problem) ? output_get_text(problem, "message")
						      : "the move ended without a word why");
	return cli_error_of_vm(error, code && code < 256 ? (enum exit_code)code : EXIT_INTERNAL,
			       output_get_text(migration, "vm"), message);
}

/* The process has ended. What it left behind tells whether that was the end of a move. */
static enum exit_code conclude_without_process(struct follow *follow, struct cli_error *error)
{
	json_t *left = last_move_read(follow->name);
	struct migration_record record;
	char log[256] = "";

	if (left && is_ours(follow, left) &&
	    migration_phase_is_final(output_get_text(left, "phase"))) {
		json_decref(follow->last);
		follow->last = left;
		return conclude(left, error);
	}
	json_decref(left);
	(void)vm_path(VM_PATH_LOG, follow->name, log, sizeof(log));
	if (migration_record_find_open(follow->name, &record) == 0)
		return cli_error_set(error, EXIT_INTERNAL,
				     "%s: vmwp ended during the move (see %s) and it is not known "
				     "here whether %.255s runs the VM; lunar start %s asks there",
				     follow->name, log, record.peer, follow->name);
	return cli_error_set(error, EXIT_INTERNAL,
			     "%s: vmwp ended during the move, and with it the VM; see %s",
			     follow->name, log);
}

static enum exit_code follow_to_end(struct follow *follow, struct cli_error *error)
{
	struct deadline silence = deadline_in_ms(SILENT_MS);
	const struct timespec pause = {.tv_nsec = POLL_MS * 1000000L};

	for (;; nanosleep(&pause, NULL)) {
		json_t *migration = NULL;
		enum exit_code code;
		pid_t pid;

		if (!handle_interrupts(follow))
			return cli_error_set(error, EXIT_CANCELLED,
					     "%s: left while the move goes on; lunar show %s tells "
					     "how it ends",
					     follow->name, follow->name);
		code = api_get(follow->name, "/migration", API_ANSWER_MS, &migration, error);
		if (code == EXIT_TIMEOUT && !deadline_passed(silence))
			continue;
		if (code == EXIT_OK && !is_ours(follow, migration)) {
			json_decref(migration); /* another process of the name by now */
			migration = NULL;
			code = EXIT_STATE;
		}
		if (code == EXIT_INTERNAL && !deadline_passed(silence)) /* an answer broke off */
			code = api_find_process(follow->name, &pid, error);
		if (code == EXIT_STATE)
			return conclude_without_process(follow, error);
		if (code == EXIT_OK && !migration)
			continue;
		if (code != EXIT_OK)
			return code;
		silence = deadline_in_ms(SILENT_MS);
		json_decref(follow->last);
		follow->last = migration;
		warn(follow);
		show(follow);
		if (migration_phase_is_final(output_get_text(migration, "phase")))
			return conclude(migration, error);
	}
}

enum exit_code migration_follow(const struct command_context *context, const char *name,
				int64_t begun_unix_ms, json_t **migration, struct cli_error *error)
{
	const struct sigaction action = {.sa_handler = on_interrupt}; /* without SA_RESTART */
	struct sigaction old_int, old_term;
	struct follow follow = {.context = context, .name = name, .begun_unix_ms = begun_unix_ms};
	enum exit_code code;

	follow.terminal = !context->options->json && isatty(fileno(context->err));
	interrupts = 0;
	sigaction(SIGINT, &action, &old_int);
	sigaction(SIGTERM, &action, &old_term);
	code = follow_to_end(&follow, error);
	sigaction(SIGINT, &old_int, NULL);
	sigaction(SIGTERM, &old_term, NULL);
	hide_bar(&follow);
	*migration = follow.last;
	return code;
}

enum exit_code migration_follow_print_end(const struct command_context *context, const char *name,
					  json_t *migration, enum exit_code code,
					  const struct cli_error *problem, struct cli_error *error)
{
	json_t *event = json_pack("{ss ss}", "event", "end", "vm", name);
	json_t *told = code == EXIT_OK ? json_object() : command_error_json(code, problem);
	int rc;

	if (migration)
		json_object_update(event, migration);
	json_object_set_new(event, "exit_code", json_integer((json_int_t)code));
	json_object_set_new(event, "error", json_null());
	json_object_update(event, told);
	json_decref(told);
	rc = event ? json_dumpf(event, context->out, JSON_COMPACT) : -1;
	json_decref(event);
	if (rc < 0 || fputc('\n', context->out) == EOF)
		return cli_error_set(error, EXIT_INTERNAL, "cannot print the result");
	return code;
}
