/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One table says what each command accepts; parsing, checks and help all read it.
 */
#include "cli/options.h"

#include <ctype.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

enum accepts {
	ACCEPTS_FORCE = 1,
	ACCEPTS_ALL = 2,
	ACCEPTS_TIMEOUT = 4,
	ACCEPTS_LINGER = 8,
};

struct command {
	const char *name;
	const char *argument; /* its name in help; NULL: takes none */
	unsigned int accepts;
	const char *summary;
	const char *text;
};

static const struct command commands[COMMAND_COUNT] = {
	[COMMAND_CREATE] =
		{"create", "FILE", 0, "define a VM from its YAML file",
		 "Checks FILE and stores a copy of it. Nothing is started. docs/vm-yaml.md lists "
		 "the keys.\n"},
	[COMMAND_DELETE] = {"delete", "NAME", 0, "remove a VM's definition",
			    "The VM must not run. Its kernel, initrd and console files stay.\n"},
	[COMMAND_START] =
		{"start", "NAME", ACCEPTS_ALL | ACCEPTS_TIMEOUT, "start a VM",
		 "Starts the VM's vmwp in the background and waits until the guest runs. When "
		 "vmwp ends\ninstead, its message and exit code are passed on.\n"},
	[COMMAND_STOP] =
		{"stop", "NAME", ACCEPTS_FORCE | ACCEPTS_ALL | ACCEPTS_TIMEOUT, "stop a VM",
		 "Asks the guest to shut down; when it has not after the time-out, stops it by "
		 "force and says so.\n"},
	[COMMAND_REBOOT] = {"reboot", "NAME", ACCEPTS_TIMEOUT, "reset a VM",
			    "As the reset button would: the guest is not asked.\n"},
	[COMMAND_LIST] = {"list", NULL, 0, "list all VMs", ""},
	[COMMAND_SHOW] = {"show", "NAME", 0, "show one VM, its NICs and counters", ""},
	[COMMAND_CONSOLE] =
		{"console", "NAME", ACCEPTS_LINGER, "connect to a VM's serial console",
		 "Ctrl-] leaves. When standard input is no terminal, what it holds is sent, and "
		 "lunar leaves\nonce the input has ended and the guest has been quiet.\n"},
	[COMMAND_VERSION] = {"version", NULL, 0, "print the version", ""},
};

enum {
	OPTION_JSON = 256,
	OPTION_FORCE,
	OPTION_ALL,
	OPTION_TIMEOUT,
	OPTION_LINGER,
	OPTION_VERSION,
};

static const struct option long_options[] = {
	{"json", no_argument, NULL, OPTION_JSON},
	{"force", no_argument, NULL, OPTION_FORCE},
	{"all", no_argument, NULL, OPTION_ALL},
	{"timeout", required_argument, NULL, OPTION_TIMEOUT},
	{"linger", required_argument, NULL, OPTION_LINGER},
	{"version", no_argument, NULL, OPTION_VERSION},
	{"help", no_argument, NULL, 'h'},
	{NULL, 0, NULL, 0},
};

static const char *option_name(unsigned int accepts)
{
	switch (accepts) {
	case ACCEPTS_FORCE:
		return "--force";
	case ACCEPTS_ALL:
		return "--all";
	case ACCEPTS_TIMEOUT:
		return "--timeout";
	default:
		return "--linger";
	}
}

static enum exit_code read_seconds(const char *option, const char *text, uint32_t least,
				   uint32_t *seconds, struct cli_error *error)
{
	unsigned long value = 0;
	size_t digits = strspn(text, "0123456789");

	if (digits > 0 && digits < 6)
		value = strtoul(text, NULL, 10);
	if (digits == 0 || digits >= 6 || text[digits] || value < least ||
	    value > OPTIONS_TIMEOUT_MAX_S)
		return cli_error_set(error, EXIT_USAGE,
				     "%s: '%.40s' is not a number of seconds from %u to %d", option,
				     text, least, OPTIONS_TIMEOUT_MAX_S);
	*seconds = (uint32_t)value;
	return EXIT_OK;
}

/* The options, wherever they stand. Returns through *given which of them only some commands accept.
 */
static enum exit_code parse_options(int argc, char **argv, struct options *options,
				    unsigned int *given, struct cli_error *error)
{
	enum exit_code code = EXIT_OK;
	int option;

	opterr = 0;
	optind = 0; /* 0: glibc starts afresh */
	while (code == EXIT_OK &&
	       (option = getopt_long(argc, argv, ":h", long_options, NULL)) != -1) {
		switch (option) {
		case OPTION_JSON:
			options->json = true;
			break;
		case OPTION_FORCE:
			options->force = true;
			*given |= ACCEPTS_FORCE;
			break;
		case OPTION_ALL:
			options->all = true;
			*given |= ACCEPTS_ALL;
			break;
		case OPTION_TIMEOUT:
			*given |= ACCEPTS_TIMEOUT;
			code = read_seconds("--timeout", optarg, 1, &options->timeout_s, error);
			break;
		case OPTION_LINGER:
			*given |= ACCEPTS_LINGER;
			code = read_seconds("--linger", optarg, 0, &options->linger_s, error);
			break;
		case OPTION_VERSION:
			options->has_command = true;
			options->command = COMMAND_VERSION;
			break;
		case 'h':
			options->help = true;
			break;
		case ':':
			code = cli_error_set(error, EXIT_USAGE,
					     "%.40s needs a value; see lunar --help",
					     argv[optind - 1]);
			break;
		default:
			code = cli_error_set(error, EXIT_USAGE,
					     "unknown option %.40s; see lunar --help",
					     argv[optind - 1]);
			break;
		}
	}
	return code;
}

static enum exit_code check_accepted(const struct options *options, unsigned int given,
				     struct cli_error *error)
{
	const struct command *command = &commands[options->command];
	unsigned int wrong = given & ~command->accepts;

	if (wrong)
		return cli_error_set(error, EXIT_USAGE, "%s takes no %s; see lunar %s --help",
				     command->name, option_name(wrong & -wrong), command->name);
	if (options->help)
		return EXIT_OK;
	if (options->all && options->argument)
		return cli_error_set(error, EXIT_USAGE, "give either a NAME or --all, not both");
	if (command->argument && !options->argument && !options->all)
		return cli_error_set(error, EXIT_USAGE,
				     "%s: which one? give its %s; see lunar %s --help",
				     command->name, command->argument, command->name);
	return EXIT_OK;
}

enum exit_code options_parse(int argc, char **argv, struct options *options,
			     struct cli_error *error)
{
	unsigned int given = 0;
	enum exit_code code;

	*options = (struct options){.timeout_s = OPTIONS_TIMEOUT_DEFAULT_S, .linger_s = 1};
	/* Seen first, so that an error before it is told in JSON too. */
	for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
		if (strcmp(argv[i], "--json") == 0)
			options->json = true;
	code = parse_options(argc, argv, options, &given, error);
	if (code != EXIT_OK || (options->has_command && optind == argc))
		return code;
	if (optind == argc) {
		if (options->help)
			return EXIT_OK;
		return cli_error_set(error, EXIT_USAGE, "which command? see lunar --help");
	}
	if (strcmp(argv[optind], "help") == 0 && optind + 1 == argc) {
		options->help = true;
		return EXIT_OK;
	}
	for (size_t i = 0; i < ARRAY_LENGTH(commands); i++)
		if (strcmp(argv[optind], commands[i].name) == 0) {
			options->command = (enum command_id)i;
			options->has_command = true;
			break;
		}
	if (!options->has_command || strcmp(argv[optind], commands[options->command].name) != 0)
		return cli_error_set(error, EXIT_USAGE, "unknown command '%.40s'; see lunar --help",
				     argv[optind]);
	if (argc - optind > (commands[options->command].argument ? 2 : 1))
		return cli_error_set(error, EXIT_USAGE, "%s: '%.40s' is one argument too many",
				     argv[optind], argv[argc - 1]);
	options->argument = optind + 1 < argc ? argv[optind + 1] : NULL;
	return check_accepted(options, given, error);
}

static void print_command_help(FILE *out, const struct command *command)
{
	fprintf(out, "usage: lunar %s%s%s%s%s%s%s [--json]\n%c%s.\n", command->name,
		command->argument ? " " : "", command->argument ? command->argument : "",
		command->accepts & ACCEPTS_ALL ? "|--all" : "",
		command->accepts & ACCEPTS_FORCE ? " [--force]" : "",
		command->accepts & ACCEPTS_TIMEOUT ? " [--timeout SECONDS]" : "",
		command->accepts & ACCEPTS_LINGER ? " [--linger SECONDS]" : "",
		toupper((unsigned char)command->summary[0]), command->summary + 1);
	if (*command->text)
		fprintf(out, "\n%s", command->text);
	fprintf(out, "\nOptions:\n");
	if (command->accepts & ACCEPTS_ALL)
		fprintf(out, "  --all              every VM that is defined, instead of NAME\n");
	if (command->accepts & ACCEPTS_FORCE)
		fprintf(out, "  --force            at once: the guest is not asked, its unwritten "
			     "data is lost\n");
	if (command->accepts & ACCEPTS_TIMEOUT)
		fprintf(out, "  --timeout SECONDS  how long to wait, 1 to 3600 (default 30)\n");
	if (command->accepts & ACCEPTS_LINGER)
		fprintf(out, "  --linger SECONDS   after piped input: how long the guest must be "
			     "quiet, 0 to "
			     "3600\n                     (default 1)\n");
	fprintf(out, "  --json             print one JSON document; errors too\n");
}

void options_print_help(FILE *out, const struct options *options)
{
	if (options->has_command) {
		print_command_help(out, &commands[options->command]);
		return;
	}
	fprintf(out, "usage: lunar COMMAND [ARGUMENT] [OPTIONS]\nRuns virtual machines on KVM that "
		     "speak "
		     "Hyper-V's guest interface.\n\nCommands:\n");
	for (size_t i = 0; i < ARRAY_LENGTH(commands); i++)
		fprintf(out, "  %-8s%-5s %s\n", commands[i].name,
			commands[i].argument ? commands[i].argument : "", commands[i].summary);
	fprintf(out, "\nEvery command takes --json and --help. lunar(1) lists the exit codes.\n"
		     "\nEnvironment:\n"
		     "  LUNAR_STATE_DIR  definitions of VMs (default /var/lib/lunar)\n"
		     "  LUNAR_RUN_DIR    sockets and logs (default /run/lunar)\n"
		     "  LUNAR_VMWP       the vmwp program (default: beside lunar, then PATH)\n");
}
