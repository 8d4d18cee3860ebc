/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The two tables behind the command line: parsing, checks and help all read them.
 */
#ifndef LUNAR_CLI_OPTIONS_INTERNAL_H
#define LUNAR_CLI_OPTIONS_INTERNAL_H

#include "cli/options.h"

enum option_id {
	OPTION_FORCE,
	OPTION_ALL,
	OPTION_TIMEOUT,
	OPTION_LINGER,
	OPTION_CHECK,
	OPTION_BANDWIDTH,
	OPTION_DOWNTIME,
	OPTION_LATE,
	OPTION_CONNECTIONS,
	OPTION_COMPRESSION,
	OPTION_NO_THROTTLE,
	OPTION_CANCEL,
	OPTION_RESOLVE,
	OPTION_KEEP,
	OPTION_LISTEN,
	OPTION_MAX,
	OPTION_FORMAT,
	OPTION_FROM,
	OPTION_BLOCK_SIZE,
	OPTION_REPAIR,
	OPTION_SHRINK,
	OPTION_NIC,
	OPTION_UNTAGGED,
	OPTION_ACCESS,
	OPTION_TRUNK,
	OPTION_NATIVE,
	OPTION_ISOLATED,
	OPTION_COMMUNITY,
	OPTION_PROMISCUOUS,
	OPTION_DEFAULT,
	OPTION_LUN,
	OPTION_DVD,
	OPTION_READ_ONLY,
	OPTION_CACHE,
	OPTION_PASSTHROUGH,
	OPTION_INITIATOR,
	OPTION_SECRET,
	OPTION_COUNT,
};

struct option_row {
	const char *name;  /* without the dashes */
	const char *value; /* its name in help; NULL: takes none */
	const char *help;  /* one line */
};

#define COMMAND_ARGUMENTS 2

struct command_row {
	const char *name;
	const char *arguments[COMMAND_ARGUMENTS]; /* their names */
	size_t arguments_max;
	uint64_t accepts;  /* bits 1 << option_id */
	const char *usage; /* after the name; further lines begin anew */
	const char *summary;
	const char *text;
};

extern const struct option_row option_table[OPTION_COUNT];
extern const struct command_row command_table[COMMAND_COUNT];

#endif
