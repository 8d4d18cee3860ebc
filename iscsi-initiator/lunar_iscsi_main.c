/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lunar-iscsi: the guest's own iSCSI initiator. It logs in to a target and makes a LUN a SCSI disk
 * of this machine's kernel.
 */
#include <nss.h>
#include <stdio.h>

#include "iscsi-initiator/commands.h"

int main(int argc, char **argv)
{
	struct options options;
	char message[400];
	enum exit_code code;

	/* A static program has only the built-in sources of host names. */
	__nss_configure_lookup("hosts", "files dns");
	code = options_parse(argc, argv, &options, message, sizeof(message));

	if (code != EXIT_OK)
		return (int)command_fail(&options, code, message);
	switch (options.command) {
	case COMMAND_HELP:
		fputs(options_help, stdout);
		return EXIT_OK;
	case COMMAND_DISCOVER:
		return (int)command_discover(&options);
	case COMMAND_ATTACH:
		return (int)command_attach(&options);
	case COMMAND_DETACH:
		return (int)command_detach(&options);
	case COMMAND_LIST:
		return (int)command_list(&options);
	case COMMAND_SHOW:
		return (int)command_show(&options);
	}
	return EXIT_INTERNAL;
}
