/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lunar's command line: which commands there are, what each accepts, and what the user gave.
 */
#ifndef LUNAR_CLI_OPTIONS_H
#define LUNAR_CLI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "cli/cli_error.h"
#include "hypervisor/migration/migration.h"
#include "storvsp/disk.h"
#include "vlan/vlan_config.h"

#define OPTIONS_TIMEOUT_DEFAULT_S 30
#define OPTIONS_TIMEOUT_MAX_S	  3600
#define OPTIONS_RECEIVE_MAX	  8   /* strangers at once, by default */
#define OPTIONS_RECEIVE_LIMIT	  256 /* that may be asked for */

enum command_id {
	COMMAND_CREATE,
	COMMAND_DELETE,
	COMMAND_START,
	COMMAND_STOP,
	COMMAND_REBOOT,
	COMMAND_LIST,
	COMMAND_SHOW,
	COMMAND_CONSOLE,
	COMMAND_MIGRATE,
	COMMAND_SAVE,
	COMMAND_RESTORE,
	COMMAND_RECEIVE,
	COMMAND_TLS,
	COMMAND_DISK,
	COMMAND_VHD,
	COMMAND_VLAN,
	COMMAND_VERSION,
	COMMAND_COUNT,
};

enum migrate_action {
	MIGRATE_MOVE,
	MIGRATE_CANCEL,
	MIGRATE_RESOLVE_HERE,
	MIGRATE_RESOLVE_THERE,
};

enum disk_action {
	DISK_LIST,
	DISK_ADD,
	DISK_REMOVE,
	DISK_RESIZE,
	DISK_INSERT,
	DISK_EJECT,
};

enum vhd_cli_format {
	VHD_CLI_AUTO,
	VHD_CLI_RAW,
	VHD_CLI_DYNAMIC,
	VHD_CLI_FIXED,
	VHD_CLI_FLEX,
};

struct options {
	enum command_id command;
	const char *argument;	      /* the NAME or FILE; NULL where there is none */
	const char *const *arguments; /* all of them, the first one included */
	size_t argument_count;
	bool help; /* print help (of the command, when has_command) and do nothing else */
	bool has_command;
	bool json;
	bool force;
	bool all;
	bool keep;
	uint32_t timeout_s;
	uint32_t linger_s;
	enum migrate_action migrate_action;
	struct migration_options move; /* host and port as well; MIGRATE_MOVE */
	char listen_host[MIGRATION_HOST_BYTES];
	uint16_t listen_port;
	uint32_t receive_max;
	struct {
		enum vhd_cli_format format;
		enum disk_format from;
		uint32_t block_bytes; /* 0: the default */
		bool repair, shrink;
	} vhd;
	struct {
		enum disk_action action;
		const char *lun; /* as given, NULL: not; likewise all below */
		const char *format;
		const char *cache;
		const char *initiator;
		const char *secret;
		bool dvd, read_only, passthrough;
	} disk;
	uint32_t nic;
	bool has_vlan; /* vlan: a mode was given */
	struct vlan_config vlan;
};

/*
 * Reads the command line, options and arguments in any order; argv may be permuted, and must
 * outlive options. Returns EXIT_OK, or EXIT_USAGE with the message. json is set as soon as --json
 * was seen, so that even a usage error can be told in it.
 */
enum exit_code options_parse(int argc, char **argv, struct options *options,
			     struct cli_error *error);

/* The general help, or that of one command. */
void options_print_help(FILE *out, const struct options *options);

#endif
