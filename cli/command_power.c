/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lunar start, stop and reboot. Each is one function that acts on one VM and makes a JSON object of
 * what became of it; printing, and going through --all, are common.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/deadline.h"
#include "cli/api_client.h"
#include "cli/commands.h"
#include "cli/migration_output.h"
#include "cli/output.h"
#include "cli/vm_process.h"
#include "cli/vm_store.h"

#define API_ANSWER_MS 5000
#define FORCED_END_MS                                                                              \
	15000 /* from a forced stop to the end of vmwp: freeing 1 TiB takes a while                \
	       */
#define REBOOT_POLL_US 20000

typedef enum exit_code (*power_fn)(const struct options *options, const char *name, json_t **result,
				   struct cli_error *error);

enum exit_code command_explain_not_running(const char *name, struct cli_error *error)
{
	struct vm_config *config = NULL;
	struct cli_error load_error;
	enum exit_code code = vm_store_load(name, &config, &load_error);

	vm_config_free(config);
	if (code == EXIT_NOT_FOUND) {
		*error = load_error;
		return code;
	}
	return cli_error_set(error, EXIT_STATE, "%s is not running; lunar start %s runs it", name,
			     name);
}

static enum exit_code start_one(const struct options *options, const char *name, json_t **result,
				struct cli_error *error)
{
	struct vm_process process = {.pidfd = -1};
	struct vm_config *config = NULL;
	enum exit_code code = vm_store_load(name, &config, error);
	bool ended = false;
	pid_t pid;

	if (code != EXIT_OK)
		return code;
	vm_config_free(config);
	code = api_find_process(name, &pid, error);
	if (code == EXIT_OK)
		return cli_error_set(error, EXIT_STATE, "%s is running already (process %d)", name,
				     (int)pid);
	if (code != EXIT_STATE)
		return code;
	code = vm_process_spawn(name, &process, error);
	if (code != EXIT_OK)
		return code;
	code = vm_process_wait_running(name, &process, deadline_in_ms(options->timeout_s * 1000),
				       &ended, error);
	vm_process_close(&process);
	if (code != EXIT_OK)
		return code;
	if (ended)
		*result = json_pack("{ss ss ss}", "name", name, "state", "stopped", "log",
				    process.log);
	else
		*result = json_pack("{ss ss si ss}", "name", name, "state", "running", "pid",
				    (int)process.pid, "log", process.log);
	return EXIT_OK;
}

/* Whether a refused stop means that the VM is on its way elsewhere. */
static bool is_moving(const char *name)
{
	struct cli_error ignored;
	json_t *migration = NULL;
	bool moving;

	if (api_get(name, "/migration", API_ANSWER_MS, &migration, &ignored) != EXIT_OK)
		return false;
	moving = !migration_phase_is_final(output_get_text(migration, "phase")) &&
		 !json_is_true(json_object_get(migration, "incoming"));
	json_decref(migration);
	return moving;
}

/* Asks vmwp to stop its VM. One that does not answer is killed when the user said --force. */
static enum exit_code request_stop(const struct options *options, const char *name, int pidfd,
				   struct cli_error *error)
{
	json_t *body = json_pack("{sb sI}", "force", options->force, "timeout_ms",
				 (json_int_t)options->timeout_s * 1000);
	json_t *answer = NULL;
	enum exit_code code = api_put(name, "/stop", body, API_ANSWER_MS, &answer, error);

	json_decref(body);
	json_decref(answer);
	if (code == EXIT_TIMEOUT && options->force) {
		vm_process_kill(pidfd);
		return EXIT_OK;
	}
	if (code == EXIT_TIMEOUT)
		return cli_error_set(error, EXIT_TIMEOUT,
				     "%s: vmwp does not answer; lunar stop --force %s ends it",
				     name, name);
	if (code == EXIT_STATE && is_moving(name))
		return code;
	/* It stopped by itself meanwhile, which is what was wanted. */
	if (code == EXIT_STATE || vm_process_wait_end(pidfd, deadline_in_ms(0)))
		return EXIT_OK;
	return code;
}

static enum exit_code stop_one(const struct options *options, const char *name, json_t **result,
			       struct cli_error *error)
{
	uint32_t wait_ms = FORCED_END_MS + (options->force ? 0 : options->timeout_s * 1000);
	enum exit_code code;
	uint64_t begun_ns;
	bool ended, forced;
	pid_t pid = 0;
	int pidfd;

	code = api_find_process(name, &pid, error);
	if (code == EXIT_STATE)
		return command_explain_not_running(name, error);
	if (code != EXIT_OK)
		return code;
	pidfd = pid > 0 ? vm_process_open(pid) : -ESRCH;
	if (pidfd < 0)
		return cli_error_set(error, EXIT_INTERNAL, "%s: cannot watch its process %d: %s",
				     name, (int)pid, strerror(-pidfd));
	begun_ns = monotonic_ns();
	code = request_stop(options, name, pidfd, error);
	if (code != EXIT_OK) {
		close(pidfd);
		return code;
	}
	ended = vm_process_wait_end(pidfd, deadline_in_ms(wait_ms));
	if (!ended && options->force) {
		vm_process_kill(pidfd);
		ended = vm_process_wait_end(pidfd, deadline_in_ms(FORCED_END_MS));
	}
	close(pidfd);
	if (!ended)
		return cli_error_set(error, EXIT_TIMEOUT,
				     "%s has not stopped; lunar stop --force %s ends it", name,
				     name);
	forced = options->force || monotonic_ns() - begun_ns >= options->timeout_s * NS_PER_SEC;
	*result = json_pack("{ss ss sb}", "name", name, "state", "stopped", "forced", forced);
	return EXIT_OK;
}

static enum exit_code reboot_one(const struct options *options, const char *name, json_t **result,
				 struct cli_error *error)
{
	struct deadline deadline = deadline_in_ms(options->timeout_s * 1000);
	json_t *vm = NULL, *answer = NULL;
	json_int_t before, now;
	enum exit_code code;

	code = api_get(name, "", API_ANSWER_MS, &vm, error);
	if (code == EXIT_STATE)
		return command_explain_not_running(name, error);
	if (code != EXIT_OK)
		return code;
	before = json_integer_value(json_object_get(vm, "reboots"));
	json_decref(vm);
	code = api_put(name, "/reboot", NULL, API_ANSWER_MS, &answer, error);
	json_decref(answer);
	while (code == EXIT_OK) {
		code = api_get(name, "", API_ANSWER_MS, &vm, error);
		if (code != EXIT_OK)
			break;
		now = json_integer_value(json_object_get(vm, "reboots"));
		json_decref(vm);
		if (now > before) {
			*result = json_pack("{ss ss sI}", "name", name, "state", "running",
					    "reboots", now);
			return EXIT_OK;
		}
		if (deadline_passed(deadline))
			return cli_error_set(error, EXIT_TIMEOUT, "%s has not rebooted within %u s",
					     name, options->timeout_s);
		usleep(REBOOT_POLL_US);
	}
	return code;
}

static void print_outcome(const struct command_context *context, const json_t *result)
{
	const char *name = json_string_value(json_object_get(result, "name"));
	const char *state = json_string_value(json_object_get(result, "state"));

	if (context->options->command == COMMAND_STOP && !context->options->force &&
	    json_is_true(json_object_get(result, "forced")))
		fprintf(context->out,
			"%s: stopped by force, since the guest did not shut down within %u s\n",
			name, context->options->timeout_s);
	else if (context->options->command == COMMAND_REBOOT)
		fprintf(context->out, "%s: rebooted\n", name);
	else
		fprintf(context->out, "%s: %s\n", name, state);
}

/* Whether --all leaves this VM as it is: it is in the state that was asked for already. */
static bool is_skipped(const struct command_context *context, const char *name)
{
	struct cli_error ignored;
	pid_t pid;
	bool running = api_find_process(name, &pid, &ignored) != EXIT_STATE;

	return running == (context->options->command == COMMAND_START);
}

/* Acts on each VM in turn; a failure does not keep the others from it. Returns the first failure.
 */
static enum exit_code power_all(const struct command_context *context, power_fn act,
				struct cli_error *error)
{
	enum exit_code first = EXIT_OK;
	json_t *results = json_array();
	struct vm_names names = {0};
	struct cli_error problem;
	enum exit_code code =
		vm_store_list(context->options->command == COMMAND_STOP, &names, error);

	for (size_t i = 0; code == EXIT_OK && i < names.count; i++) {
		json_t *result = NULL;
		enum exit_code one;

		if (is_skipped(context, names.names[i]))
			continue;
		one = act(context->options, names.names[i], &result, &problem);
		if (one != EXIT_OK) {
			result = command_error_json(one, &problem);
			json_object_set_new(result, "name", json_string(names.names[i]));
			fprintf(context->err, "lunar: %s: %s\n", names.names[i], problem.message);
		} else if (!context->options->json) {
			print_outcome(context, result);
		}
		if (first == EXIT_OK && one != EXIT_OK) {
			first = one;
			cli_error_set(error, one, "not every VM could be acted on");
		}
		json_array_append_new(results, result);
	}
	vm_names_free(&names);
	if (code != EXIT_OK) {
		first = code;
		json_array_append_new(results, command_error_json(code, error));
	}
	if (context->options->json)
		code = command_print_json(context, results, error);
	else
		json_decref(results);
	return first != EXIT_OK ? first : code;
}

static enum exit_code power_command(const struct command_context *context, power_fn act,
				    struct cli_error *error)
{
	json_t *result = NULL;
	enum exit_code code;

	if (context->options->all)
		return power_all(context, act, error);
	code = vm_store_check_name(context->options->argument, error);
	if (code == EXIT_OK)
		code = act(context->options, context->options->argument, &result, error);
	if (code != EXIT_OK)
		return code;
	if (context->options->json)
		return command_print_json(context, result, error);
	print_outcome(context, result);
	json_decref(result);
	return EXIT_OK;
}

enum exit_code command_start(const struct command_context *context, struct cli_error *error)
{
	return power_command(context, start_one, error);
}

enum exit_code command_stop(const struct command_context *context, struct cli_error *error)
{
	return power_command(context, stop_one, error);
}

enum exit_code command_reboot(const struct command_context *context, struct cli_error *error)
{
	return power_command(context, reboot_one, error);
}
