/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A file that appears under its name only when all of it is there.
 */
#ifndef LUNAR_CLI_NEW_FILE_H
#define LUNAR_CLI_NEW_FILE_H

#include <limits.h>

#include "cli/cli_error.h"

struct new_file {
	char path[PATH_MAX]; /* as it will be: absolute, its folder resolved */
	char temp[PATH_MAX]; /* beside it; the caller's to create */
};

/* EXIT_EXISTS where there is such a file already. */
enum exit_code new_file_begin(const char *path, struct new_file *file, struct cli_error *error);
/* What is in temp, synced by the caller, is at path from then on, also after a power cut. */
enum exit_code new_file_publish(const struct new_file *file, struct cli_error *error);
void new_file_abandon(const struct new_file *file);

#endif
