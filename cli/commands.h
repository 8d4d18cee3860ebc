/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lunar's commands. Each prints its result on out, for people or (--json) as one JSON document, and
 * returns the exit code; where that is not EXIT_OK, the error is the caller's to print and nothing
 * was printed on out, but for --all, which prints what became of each VM, and for migrate, save,
 * tls show and vhd check, whose --json tells the error itself (the first two: in the last of their
 * lines).
 */
#ifndef LUNAR_CLI_COMMANDS_H
#define LUNAR_CLI_COMMANDS_H

#include <stdio.h>

#include <jansson.h>

#include "cli/cli_error.h"
#include "cli/options.h"

struct command_context {
	const struct options *options;
	FILE *out;
	FILE *err; /* notices for people */
};

enum exit_code command_create(const struct command_context *context, struct cli_error *error);
enum exit_code command_delete(const struct command_context *context, struct cli_error *error);
enum exit_code command_start(const struct command_context *context, struct cli_error *error);
enum exit_code command_stop(const struct command_context *context, struct cli_error *error);
enum exit_code command_reboot(const struct command_context *context, struct cli_error *error);
enum exit_code command_list(const struct command_context *context, struct cli_error *error);
enum exit_code command_show(const struct command_context *context, struct cli_error *error);
enum exit_code command_console(const struct command_context *context, struct cli_error *error);
enum exit_code command_migrate(const struct command_context *context, struct cli_error *error);
enum exit_code command_save(const struct command_context *context, struct cli_error *error);
enum exit_code command_restore(const struct command_context *context, struct cli_error *error);
enum exit_code command_receive(const struct command_context *context, struct cli_error *error);
enum exit_code command_tls(const struct command_context *context, struct cli_error *error);
enum exit_code command_vlan(const struct command_context *context, struct cli_error *error);
enum exit_code command_disk(const struct command_context *context, struct cli_error *error);
enum exit_code command_vhd(const struct command_context *context, struct cli_error *error);
enum exit_code command_version(const struct command_context *context, struct cli_error *error);

/* Prints a JSON document and a newline, and releases it. EXIT_INTERNAL where it is NULL or cannot
 * be written. */
enum exit_code command_print_json(const struct command_context *context, json_t *json,
				  struct cli_error *error);

/* What is known of one VM, in the shape of vm_report_json(): from its process, or its definition.
 * EXIT_NOT_FOUND, EXIT_PERMISSION, ... */
enum exit_code command_look_at(const char *name, json_t **vm, struct cli_error *error);

/* Says that a VM is not running: that it is not even defined, or has moved away, comes first.
 * EXIT_NOT_FOUND or EXIT_STATE. */
enum exit_code command_explain_not_running(const char *name, struct cli_error *error);

/* {"error": {"code": 14, "phrase": "not found", "message": "..."}} */
json_t *command_error_json(enum exit_code code, const struct cli_error *error);

#endif
