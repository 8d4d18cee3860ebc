/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lunar's command line: which commands there are, what each accepts, and what the user gave.
 */
#ifndef LUNAR_CLI_OPTIONS_H
#define LUNAR_CLI_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "cli/cli_error.h"

#define OPTIONS_TIMEOUT_DEFAULT_S 30
#define OPTIONS_TIMEOUT_MAX_S	  3600

enum command_id {
	COMMAND_CREATE,
	COMMAND_DELETE,
	COMMAND_START,
	COMMAND_STOP,
	COMMAND_REBOOT,
	COMMAND_LIST,
	COMMAND_SHOW,
	COMMAND_CONSOLE,
	COMMAND_VERSION,
	COMMAND_COUNT,
};

struct options {
	enum command_id command;
	const char *argument; /* the NAME or FILE; NULL where there is none */
	bool help; /* print help (of the command, when has_command) and do nothing else */
	bool has_command;
	bool json;
	bool force;
	bool all;
	uint32_t timeout_s;
	uint32_t linger_s;
};

/*
 * Reads the command line, options and arguments in any order; argv may be permuted. Returns
 * EXIT_OK, or EXIT_USAGE with the message. json is set as soon as --json was seen, so that even a
 * usage error can be told in it.
 */
enum exit_code options_parse(int argc, char **argv, struct options *options,
			     struct cli_error *error);

/* The general help, or that of one command. */
void options_print_help(FILE *out, const struct options *options);

#endif
