/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lunar: the command line. Reads the options, runs one command, prints its error, and ends with its
 * exit code.
 */
#include <curl/curl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/options.h"

typedef enum exit_code (*command_fn)(const struct command_context *, struct cli_error *);

static const command_fn commands[COMMAND_COUNT] = {
	[COMMAND_CREATE] = command_create,   [COMMAND_DELETE] = command_delete,
	[COMMAND_START] = command_start,     [COMMAND_STOP] = command_stop,
	[COMMAND_REBOOT] = command_reboot,   [COMMAND_LIST] = command_list,
	[COMMAND_SHOW] = command_show,	     [COMMAND_CONSOLE] = command_console,
	[COMMAND_MIGRATE] = command_migrate, [COMMAND_SAVE] = command_save,
	[COMMAND_RESTORE] = command_restore, [COMMAND_RECEIVE] = command_receive,
	[COMMAND_TLS] = command_tls,	     [COMMAND_VLAN] = command_vlan,
	[COMMAND_DISK] = command_disk,	     [COMMAND_VHD] = command_vhd,
	[COMMAND_VERSION] = command_version,
};

/* Whether a command that has begun to work prints its own failure in JSON. */
static bool prints_failure(const struct options *options)
{
	return options->all || options->command == COMMAND_SAVE ||
	       (options->command == COMMAND_TLS && strcmp(options->argument, "show") == 0) ||
	       (options->command == COMMAND_VHD && strcmp(options->argument, "check") == 0) ||
	       (options->command == COMMAND_MIGRATE && options->migrate_action == MIGRATE_MOVE);
}

/* For people on standard error; with --json also on standard output. */
static void print_error(const struct command_context *context, bool begun, enum exit_code code,
			const struct cli_error *error)
{
	struct cli_error ignored;

	fprintf(stderr, "lunar: %s\n", error->message);
	if (context->options->json && !(begun && prints_failure(context->options)))
		(void)command_print_json(context, command_error_json(code, error), &ignored);
}

int main(int argc, char **argv)
{
	struct command_context context = {.out = stdout, .err = stderr};
	struct cli_error error = {.message = "internal error"};
	struct options options;
	enum exit_code code;
	bool begun = false;

	context.options = &options;
	code = options_parse(argc, argv, &options, &error);
	if (code == EXIT_OK && options.help) {
		options_print_help(stdout, &options);
	} else if (code == EXIT_OK) {
		begun = true;
		signal(SIGPIPE, SIG_IGN);
		curl_global_init(CURL_GLOBAL_NOTHING);
		code = commands[options.command](&context, &error);
		curl_global_cleanup();
	}
	if (code != EXIT_OK)
		print_error(&context, begun, code, &error);
	if (fflush(stdout) != 0 && code == EXIT_OK) {
		perror("lunar: cannot write the result");
		code = EXIT_INTERNAL;
	}
	return (int)code;
}
