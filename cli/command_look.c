/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lunar list, show and console. A VM that runs is asked itself; one that does not is told from its
 * definition, in the same shape.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd_passing.h"
#include "cli/api_client.h"
#include "cli/commands.h"
#include "cli/console_client.h"
#include "cli/last_move.h"
#include "cli/output.h"
#include "cli/vm_store.h"
#include "hypervisor/vm_report.h"

#define API_ANSWER_MS  3000
#define LIST_ANSWER_MS 1000 /* a VM; one that hangs must not make the list useless */

/* What is known from the definition alone. */
static enum exit_code look_at_definition(const char *name, const char *state, json_t **vm,
					 struct cli_error *error)
{
	const struct vm_status nothing = {.state = VM_STATE_CREATED};
	struct vm_config *config = NULL;
	enum exit_code code = vm_store_load(name, &config, error);

	if (code == EXIT_CONFIG) {
		*vm = json_pack("{ss ss ss}", "name", name, "state", "invalid", "reason",
				error->message);
		return EXIT_OK;
	}
	if (code != EXIT_OK)
		return code;
	*vm = vm_report_json(config, &nothing, state);
	vm_config_free(config);
	return *vm ? EXIT_OK : cli_error_set(error, EXIT_INTERNAL, "out of memory");
}

/* The last move, from what it left behind, where the VM's process has nothing to tell of it. */
static void add_last_move(const char *name, json_t *vm)
{
	json_t *move;

	if (json_is_object(json_object_get(vm, "migration")))
		return;
	move = last_move_read(name);
	json_object_set_new(vm, "migration", move ? move : json_null());
}

/* A VM that is unknown here since it has moved away. EXIT_NOT_FOUND, with the error as it is, where
 * it has not. */
static enum exit_code look_at_departed(const char *name, json_t **vm)
{
	json_t *move = last_move_read(name);

	if (!last_move_is_departure(move)) {
		json_decref(move);
		return EXIT_NOT_FOUND;
	}
	*vm = json_pack("{ss ss so}", "name", name, "state", "moved", "migration", move);
	return EXIT_OK;
}

static enum exit_code look(const char *name, uint32_t timeout_ms, json_t **vm,
			   struct cli_error *error)
{
	enum exit_code code = api_get(name, "", timeout_ms, vm, error);
	struct cli_error load_error;

	if (code ==
	    EXIT_INTERNAL) /* the answer broke off: the process ended, as it does after a move */
		code = api_get(name, "", timeout_ms, vm, error);
	if (code == EXIT_STATE)
		return look_at_definition(name, "stopped", vm, error);
	if (code != EXIT_TIMEOUT)
		return code;
	if (look_at_definition(name, "unresponsive", vm, &load_error) != EXIT_OK)
		*vm = json_pack("{ss ss}", "name", name, "state", "unresponsive");
	return EXIT_OK;
}

enum exit_code command_look_at(const char *name, json_t **vm, struct cli_error *error)
{
	return look(name, API_ANSWER_MS, vm, error);
}

enum exit_code command_list(const struct command_context *context, struct cli_error *error)
{
	struct vm_names names = {0};
	enum exit_code code = vm_store_list(true, &names, error);
	json_t *vms = json_array();

	for (size_t i = 0; code == EXIT_OK && i < names.count; i++) {
		json_t *vm = NULL;

		code = look(names.names[i], LIST_ANSWER_MS, &vm, error);
		if (code == EXIT_NOT_FOUND) { /* it was only in the run folder, and is gone */
			code = EXIT_OK;
			continue;
		}
		if (vm)
			json_array_append_new(vms, vm);
	}
	vm_names_free(&names);
	if (code != EXIT_OK) {
		json_decref(vms);
		return code;
	}
	if (context->options->json)
		return command_print_json(context, vms, error);
	if (json_array_size(vms))
		output_vm_list(context->out, vms);
	else
		fprintf(context->err, "No VM is defined; lunar create FILE adds one.\n");
	json_decref(vms);
	return EXIT_OK;
}

enum exit_code command_show(const struct command_context *context, struct cli_error *error)
{
	const char *name = context->options->argument;
	enum exit_code code = vm_store_check_name(name, error);
	json_t *vm = NULL;

	if (code == EXIT_OK)
		code = look(name, API_ANSWER_MS, &vm, error);
	if (code == EXIT_NOT_FOUND)
		code = look_at_departed(name, &vm);
	if (code != EXIT_OK)
		return code;
	add_last_move(name, vm);
	if (context->options->json)
		return command_print_json(context, vm, error);
	output_vm_sheet(context->out, vm);
	json_decref(vm);
	return EXIT_OK;
}

/* Connects to the console's socket of a running VM. */
static enum exit_code console_connect(const char *name, int *fd, struct cli_error *error)
{
	enum exit_code code;
	const char *kind, *path;
	json_t *console, *vm = NULL;

	code = look(name, API_ANSWER_MS, &vm, error);
	if (code != EXIT_OK)
		return code;
	console = json_object_get(vm, "console");
	kind = json_string_value(json_object_get(console, "kind"));
	path = json_string_value(json_object_get(console, "path"));
	if (!json_is_integer(json_object_get(vm, "pid"))) {
		code = cli_error_set(error, EXIT_STATE, "%s is not running; lunar start %s runs it",
				     name, name);
	} else if (!kind || !path || strcmp(kind, "socket") != 0) {
		code = cli_error_set(error, EXIT_CONFIG,
				     "%s: its console is %.16s%s%.200s; 'console: socket' "
				     "in its definition is what lunar console needs",
				     name, kind ? kind : "nowhere", path ? " " : "",
				     path ? path : "");
	} else {
		*fd = unix_socket_connect(path, SOCK_STREAM);
		if (*fd < 0)
			code = cli_error_system(error, EXIT_INTERNAL, *fd, "cannot connect to",
						path);
	}
	json_decref(vm);
	return code;
}

enum exit_code command_console(const struct command_context *context, struct cli_error *error)
{
	const char *name = context->options->argument;
	enum exit_code code = vm_store_check_name(name, error);
	enum console_end end = CONSOLE_DONE;
	bool person = isatty(STDIN_FILENO);
	int fd = -1;

	if (code == EXIT_OK)
		code = console_connect(name, &fd, error);
	if (code != EXIT_OK)
		return code;
	if (person)
		fprintf(context->err, "Connected to %s; Ctrl-] leaves.\r\n", name);
	fflush(context->out);
	code = console_client_run(fd, STDIN_FILENO, STDOUT_FILENO,
				  context->options->linger_s * 1000, &end, error);
	close(fd);
	if (code == EXIT_OK && person)
		fprintf(context->err, "\n%s\n",
			end == CONSOLE_CLOSED ? "The VM has closed its console." : "Left.");
	return code;
}
