/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The commands of lunar-iscsi. Each prints its result to standard output (JSON with --json) and,
 * where it fails, one line to standard error (with --json an object with code and message to
 * standard output too).
 */
#ifndef LUNAR_ISCSI_INITIATOR_COMMANDS_H
#define LUNAR_ISCSI_INITIATOR_COMMANDS_H

#include "iscsi-initiator/options.h"

enum exit_code command_discover(const struct options *options);
enum exit_code command_attach(const struct options *options);
enum exit_code command_detach(const struct options *options);
enum exit_code command_list(const struct options *options);
enum exit_code command_show(const struct options *options);

/* Reports a failure as said above; returns code. */
enum exit_code command_fail(const struct options *options, enum exit_code code,
			    const char *message);

#endif
