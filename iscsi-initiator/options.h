/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The command line of lunar-iscsi.
 */
#ifndef LUNAR_ISCSI_INITIATOR_OPTIONS_H
#define LUNAR_ISCSI_INITIATOR_OPTIONS_H

#include <stdbool.h>

#include "base/exit_code.h"
#include "iscsi-session/iscsi_url.h"
#include "iscsi-session/session.h"

enum command {
	COMMAND_HELP,
	COMMAND_DISCOVER,
	COMMAND_ATTACH,
	COMMAND_DETACH,
	COMMAND_LIST,
	COMMAND_SHOW,
};

/* Strings point into argv. */
struct options {
	enum command command;
	struct iscsi_address address; /* discover: host, port, user; attach: all */
	const char *disk;	 /* detach, show: /dev/sdX, sdX, an id or a URL; NULL: none given */
	const char *name_file;	 /* initiator name */
	const char *secret_file; /* NULL: the environment */
	const char *mutual_user; /* NULL: none */
	enum digest_mode header_digest, data_digest;
	struct session_timeouts timeouts;
	bool json, foreground, force;
};

/* Returns EXIT_OK, or EXIT_USAGE with one line in message. */
enum exit_code options_parse(int argc, char **argv, struct options *options, char *message,
			     size_t size);

/* The text of --help. */
extern const char options_help[];

#endif
