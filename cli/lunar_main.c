/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lunar: the command line. Reads the options, runs one command, prints its error, and ends with its
 * exit code.
 */
#include <curl/curl.h>
#include <signal.h>
#include <stdio.h>

#include "cli/commands.h"
#include "cli/options.h"

typedef enum exit_code (*command_fn)(const struct command_context *, struct cli_error *);

static const command_fn commands[COMMAND_COUNT] = {
	[COMMAND_CREATE] = command_create,   [COMMAND_DELETE] = command_delete,
	[COMMAND_START] = command_start,     [COMMAND_STOP] = command_stop,
	[COMMAND_REBOOT] = command_reboot,   [COMMAND_LIST] = command_list,
	[COMMAND_SHOW] = command_show,	     [COMMAND_CONSOLE] = command_console,
	[COMMAND_VERSION] = command_version,
};

/* For people on standard error; with --json also as the one document on standard output. */
static void print_error(const struct command_context *context, enum exit_code code,
			const struct cli_error *error)
{
	struct cli_error ignored;

	fprintf(stderr, "lunar: %s\n", error->message);
	/* --all has printed its array already. */
	if (context->options->json && !context->options->all)
		(void)command_print_json(context, command_error_json(code, error), &ignored);
}

int main(int argc, char **argv)
{
	struct command_context context = {.out = stdout, .err = stderr};
	struct cli_error error = {.message = "internal error"};
	struct options options;
	enum exit_code code;

	context.options = &options;
	code = options_parse(argc, argv, &options, &error);
	if (code == EXIT_OK && options.help) {
		options_print_help(stdout, &options);
	} else if (code == EXIT_OK) {
		signal(SIGPIPE, SIG_IGN);
		curl_global_init(CURL_GLOBAL_NOTHING);
		code = commands[options.command](&context, &error);
		curl_global_cleanup();
	}
	if (code != EXIT_OK)
		print_error(&context, code, &error);
	if (fflush(stdout) != 0 && code == EXIT_OK) {
		perror("lunar: cannot write the result");
		code = EXIT_INTERNAL;
	}
	return (int)code;
}
