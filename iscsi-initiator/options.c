/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Command line parsing with getopt_long(): options may stand anywhere, the command is the first
 * other word.
 */
#include "iscsi-initiator/options.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "iscsi-session/initiator_name.h"

const char options_help[] =
	"usage: lunar-iscsi [--json] COMMAND\n"
	"\n"
	"  discover PORTAL                 list the targets that a portal (host[:port]) offers\n"
	"  attach iscsi://[USER@]HOST[:PORT]/TARGET/LUN\n"
	"                                  log in, and make the LUN a disk of this machine\n"
	"  detach DISK [--force]           flush and remove the disk, log out\n"
	"  list                            attached disks\n"
	"  show [DISK]                     state, time-outs, parameters, counters\n"
	"\n"
	"  DISK is /dev/sdX, the id that list shows, or the URL.\n"
	"\n"
	"attach, instead of a URL: --portal HOST[:PORT] --target IQN --lun N\n"
	"attach and discover:\n"
	"  --user NAME             CHAP user; the secret comes from\n"
	"  --secret-file FILE      (first line: secret, second: mutual secret; mode 600), else "
	"from\n"
	"                          LUNAR_ISCSI_SECRET and LUNAR_ISCSI_MUTUAL_SECRET\n"
	"  --mutual-user NAME      the target's CHAP user: it must prove itself with the mutual "
	"secret\n"
	"  --header-digest none|prefer|require   CRC32C over headers (none)\n"
	"  --data-digest none|prefer|require     CRC32C over data (none)\n"
	"  --login-timeout S       connect and login (15)\n"
	"  --initiator-name-file FILE            (" INITIATOR_NAME_FILE ")\n"
	"attach:\n"
	"  --nop-interval S        silence after which the target is asked for a sign of life (5; "
	"0: never)\n"
	"  --nop-timeout S         for the answer (5)\n"
	"  --replacement-timeout S how long I/O waits for a target that is away (120)\n"
	"  --abort-timeout S       for the answer to an abort (15)\n"
	"  --foreground            do not become a daemon\n"
	"\n"
	"Exit codes: 0 done, 2 usage, 10 portal unreachable, 11 unknown target, 12 no such LUN, 13 "
	"CHAP\n"
	"refused, 14 no such disk, 15 already attached, 16 time-out, 18 kernel support missing, 19 "
	"in use or\n"
	"target away, 20 not root, 1 any other failure.\n";

enum option_code {
	OPTION_PORTAL = 256,
	OPTION_TARGET,
	OPTION_LUN,
	OPTION_USER,
	OPTION_SECRET_FILE,
	OPTION_MUTUAL_USER,
	OPTION_HEADER_DIGEST,
	OPTION_DATA_DIGEST,
	OPTION_NAME_FILE,
	OPTION_LOGIN_TIMEOUT,
	OPTION_NOP_INTERVAL,
	OPTION_NOP_TIMEOUT,
	OPTION_REPLACEMENT_TIMEOUT,
	OPTION_ABORT_TIMEOUT,
	OPTION_FOREGROUND,
	OPTION_FORCE,
	OPTION_JSON,
	OPTION_HELP,
};

static const struct option long_options[] = {
	{"portal", required_argument, NULL, OPTION_PORTAL},
	{"target", required_argument, NULL, OPTION_TARGET},
	{"lun", required_argument, NULL, OPTION_LUN},
	{"user", required_argument, NULL, OPTION_USER},
	{"secret-file", required_argument, NULL, OPTION_SECRET_FILE},
	{"mutual-user", required_argument, NULL, OPTION_MUTUAL_USER},
	{"header-digest", required_argument, NULL, OPTION_HEADER_DIGEST},
	{"data-digest", required_argument, NULL, OPTION_DATA_DIGEST},
	{"initiator-name-file", required_argument, NULL, OPTION_NAME_FILE},
	{"login-timeout", required_argument, NULL, OPTION_LOGIN_TIMEOUT},
	{"nop-interval", required_argument, NULL, OPTION_NOP_INTERVAL},
	{"nop-timeout", required_argument, NULL, OPTION_NOP_TIMEOUT},
	{"replacement-timeout", required_argument, NULL, OPTION_REPLACEMENT_TIMEOUT},
	{"abort-timeout", required_argument, NULL, OPTION_ABORT_TIMEOUT},
	{"foreground", no_argument, NULL, OPTION_FOREGROUND},
	{"force", no_argument, NULL, OPTION_FORCE},
	{"json", no_argument, NULL, OPTION_JSON},
	{"help", no_argument, NULL, OPTION_HELP},
	{NULL, 0, NULL, 0},
};

struct parser {
	struct options *options;
	const char *portal, *target, *lun, *user;
	char *message;
	size_t size;
};

__attribute__((format(printf, 2, 3))) static int refuse(struct parser *p, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(p->message, p->size, format, arguments);
	va_end(arguments);
	return -EINVAL;
}

static int parse_seconds(struct parser *p, const char *name, uint32_t min, uint32_t *out)
{
	char *end;
	unsigned long value;

	errno = 0;
	value = strtoul(optarg, &end, 10);
	if (*optarg < '0' || *optarg > '9' || *end != '\0' || errno != 0 || value < min ||
	    value > 86400)
		return refuse(p, "--%s takes a number of seconds from %u to 86400", name, min);
	*out = (uint32_t)value;
	return 0;
}

static int parse_digest(struct parser *p, const char *name, enum digest_mode *mode)
{
	static const struct {
		const char *word;
		enum digest_mode value;
	} words[] = {
		{"none", DIGEST_NONE},
		{"prefer", DIGEST_PREFER},
		{"require", DIGEST_REQUIRE},
	};

	for (size_t i = 0; i < ARRAY_LENGTH(words); i++) {
		if (strcmp(optarg, words[i].word) == 0) {
			*mode = words[i].value;
			return 0;
		}
	}
	return refuse(p, "--%s takes none, prefer or require", name);
}

static int take_option(struct parser *p, int code, char **argv)
{
	struct options *o = p->options;

	switch ((enum option_code)code) {
	case OPTION_PORTAL:
		p->portal = optarg;
		return 0;
	case OPTION_TARGET:
		p->target = optarg;
		return 0;
	case OPTION_LUN:
		p->lun = optarg;
		return 0;
	case OPTION_USER:
		p->user = optarg;
		return 0;
	case OPTION_SECRET_FILE:
		o->secret_file = optarg;
		return 0;
	case OPTION_MUTUAL_USER:
		o->mutual_user = optarg;
		return 0;
	case OPTION_HEADER_DIGEST:
		return parse_digest(p, "header-digest", &o->header_digest);
	case OPTION_DATA_DIGEST:
		return parse_digest(p, "data-digest", &o->data_digest);
	case OPTION_NAME_FILE:
		o->name_file = optarg;
		return 0;
	case OPTION_LOGIN_TIMEOUT:
		return parse_seconds(p, "login-timeout", 1, &o->timeouts.login_s);
	case OPTION_NOP_INTERVAL:
		return parse_seconds(p, "nop-interval", 0, &o->timeouts.nop_interval_s);
	case OPTION_NOP_TIMEOUT:
		return parse_seconds(p, "nop-timeout", 1, &o->timeouts.nop_timeout_s);
	case OPTION_REPLACEMENT_TIMEOUT:
		return parse_seconds(p, "replacement-timeout", 1, &o->timeouts.replacement_s);
	case OPTION_ABORT_TIMEOUT:
		return parse_seconds(p, "abort-timeout", 1, &o->timeouts.abort_s);
	case OPTION_FOREGROUND:
		o->foreground = true;
		return 0;
	case OPTION_FORCE:
		o->force = true;
		return 0;
	case OPTION_JSON:
		o->json = true;
		return 0;
	case OPTION_HELP:
		o->command = COMMAND_HELP;
		return 0;
	}
	return refuse(p, "%s: unknown option, or its value is missing; see lunar-iscsi --help",
		      argv[optind - 1]);
}

static int parse_user(struct parser *p)
{
	struct iscsi_address *address = &p->options->address;

	if (p->user == NULL)
		return 0;
	if (p->user[0] == '\0' || strlen(p->user) >= sizeof(address->user))
		return refuse(p, "--user is empty or too long");
	if (address->user[0] != '\0' && strcmp(address->user, p->user) != 0)
		return refuse(p, "--user and the URL name different users");
	snprintf(address->user, sizeof(address->user), "%s", p->user);
	return 0;
}

static int parse_portal_option(struct parser *p, const char *portal)
{
	const char *why;

	if (iscsi_portal_parse(portal, &p->options->address, &why) < 0)
		return refuse(p, "%s: %s", portal, why);
	return 0;
}

static int parse_attach(struct parser *p, const char *url)
{
	struct iscsi_address *address = &p->options->address;
	const char *why;

	if (url != NULL) {
		if (p->portal != NULL || p->target != NULL || p->lun != NULL)
			return refuse(p, "give a URL, or --portal, --target and --lun, not both");
		/* The URL is not repeated: it may hold a password. */
		if (iscsi_url_parse(url, address, &why) < 0)
			return refuse(p, "bad URL: %s", why);
		return parse_user(p);
	}
	if (p->portal == NULL || p->target == NULL || p->lun == NULL)
		return refuse(p, "attach needs a URL, or --portal, --target and --lun");
	if (parse_portal_option(p, p->portal) < 0)
		return -EINVAL;
	if (!iscsi_name_is_valid(p->target))
		return refuse(p, "--target: not an iSCSI name (iqn., eui. or naa.)");
	snprintf(address->target, sizeof(address->target), "%s", p->target);
	if (iscsi_lun_parse(p->lun, &address->lun) < 0)
		return refuse(p, "--lun takes a number from 0 to %d", ISCSI_LUN_MAX);
	return parse_user(p);
}

static int parse_command(struct parser *p, char **words, int count)
{
	static const struct {
		const char *word;
		enum command command;
		int arguments_max;
	} commands[] = {
		{"discover", COMMAND_DISCOVER, 1}, {"attach", COMMAND_ATTACH, 1},
		{"detach", COMMAND_DETACH, 1},	   {"list", COMMAND_LIST, 0},
		{"show", COMMAND_SHOW, 1},	   {"help", COMMAND_HELP, 0},
	};
	struct options *o = p->options;
	const char *argument = count > 1 ? words[1] : NULL;
	size_t i;

	if (count == 0)
		return refuse(p, "a command is missing; see lunar-iscsi --help");
	for (i = 0; i < ARRAY_LENGTH(commands); i++)
		if (strcmp(words[0], commands[i].word) == 0)
			break;
	if (i == ARRAY_LENGTH(commands))
		return refuse(p, "unknown command %s; see lunar-iscsi --help", words[0]);
	if (count - 1 > commands[i].arguments_max)
		return refuse(p, "%s: too many arguments", words[0]);
	o->command = commands[i].command;
	if (o->force && o->command != COMMAND_DETACH)
		return refuse(p, "--force is for detach");
	switch (o->command) {
	case COMMAND_DISCOVER:
		if (argument == NULL)
			argument = p->portal;
		if (argument == NULL)
			return refuse(p, "discover needs a portal");
		return parse_portal_option(p, argument) < 0 ? -EINVAL : parse_user(p);
	case COMMAND_ATTACH:
		return parse_attach(p, argument);
	case COMMAND_DETACH:
		if (argument == NULL)
			return refuse(p, "detach needs a disk");
		o->disk = argument;
		return 0;
	case COMMAND_SHOW:
		o->disk = argument;
		return 0;
	case COMMAND_LIST:
	case COMMAND_HELP:
		return 0;
	}
	return 0;
}

/* NOLINTNEXTLINE(readability-non-const-parameter): message is written through the parser */
enum exit_code options_parse(int argc, char **argv, struct options *options, char *message,
			     size_t size)
{
	struct parser parser = {.options = options, .message = message, .size = size};
	int code;

	*options = (struct options){
		.command = COMMAND_LIST,
		.name_file = INITIATOR_NAME_FILE,
		.timeouts = session_timeouts_default,
	};
	optind = 0;
	opterr = 0;
	while ((code = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
		if (take_option(&parser, code, argv) < 0)
			return EXIT_USAGE;
		if (options->command == COMMAND_HELP)
			return EXIT_OK;
	}
	return parse_command(&parser, argv + optind, argc - optind) < 0 ? EXIT_USAGE : EXIT_OK;
}
