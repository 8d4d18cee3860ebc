/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lunar create, delete and version, and what all commands print with.
 */
#include <limits.h>

#include "base/version.h"
#include "cli/api_client.h"
#include "cli/commands.h"
#include "cli/vm_store.h"
#include "hypervisor/vm_paths.h"

enum exit_code command_print_json(const struct command_context *context, json_t *json,
				  struct cli_error *error)
{
	int rc = json ? json_dumpf(json, context->out, JSON_INDENT(2)) : -1;

	json_decref(json);
	if (rc < 0 || fputc('\n', context->out) == EOF)
		return cli_error_set(error, EXIT_INTERNAL, "cannot print the result");
	return EXIT_OK;
}

json_t *command_error_json(enum exit_code code, const struct cli_error *error)
{
	json_t *message = json_string(error->message);

	/* A message may quote a file's name, and that may be any bytes. */
	if (!message)
		message = json_string("(not UTF-8)");
	return json_pack("{s{si ss so}}", "error", "code", (int)code, "phrase",
			 exit_code_phrase(code), "message", message);
}

enum exit_code command_create(const struct command_context *context, struct cli_error *error)
{
	char name[VM_NAME_MAX + 1], path[PATH_MAX];
	enum exit_code code = vm_store_create(context->options->argument, name, error);

	if (code != EXIT_OK)
		return code;
	if (vm_path(VM_PATH_DEFINITION, name, path, sizeof(path)) < 0)
		path[0] = '\0';
	if (context->options->json)
		return command_print_json(
			context,
			json_pack("{ss ss ss}", "name", name, "state", "stopped", "path", path),
			error);
	fprintf(context->out, "%s: created (%s); lunar start %s runs it\n", name, path, name);
	return EXIT_OK;
}

enum exit_code command_delete(const struct command_context *context, struct cli_error *error)
{
	const char *name = context->options->argument;
	enum exit_code code = vm_store_check_name(name, error);
	pid_t pid;

	if (code != EXIT_OK)
		return code;
	code = api_find_process(name, &pid, error);
	if (code == EXIT_OK)
		return cli_error_set(error, EXIT_STATE, "%s is running; lunar stop %s first", name,
				     name);
	if (code != EXIT_STATE)
		return code;
	code = vm_store_delete(name, error);
	if (code != EXIT_OK)
		return code;
	if (context->options->json)
		return command_print_json(
			context, json_pack("{ss ss}", "name", name, "state", "deleted"), error);
	fprintf(context->out, "%s: deleted\n", name);
	return EXIT_OK;
}

enum exit_code command_version(const struct command_context *context, struct cli_error *error)
{
	if (context->options->json)
		return command_print_json(
			context, json_pack("{ss ss}", "version", LUNAR_VERSION, "api", "v1"),
			error);
	fprintf(context->out, "lunar %s\n", LUNAR_VERSION);
	return EXIT_OK;
}
