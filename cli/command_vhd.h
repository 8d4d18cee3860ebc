/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The verbs of lunar vhd, one function each, and what they share.
 */
#ifndef LUNAR_CLI_COMMAND_VHD_H
#define LUNAR_CLI_COMMAND_VHD_H

#include "cli/commands.h"
#include "storvsp/vhd_chain.h"

/* The exit code of what the image functions return; message is what they say. */
enum exit_code vhd_cli_error(int rc, const char *message, struct cli_error *error);

#define VHD_ID_TEXT_BYTES 37
/* "01234567-89ab-cdef-0123-456789abcdef" */
void vhd_cli_id(const uint8_t id[VHD_ID_BYTES], char text[VHD_ID_TEXT_BYTES]);

enum exit_code command_vhd_info(const struct command_context *context, struct cli_error *error);
/* Prints its result in every case, as lunar tls show does. */
enum exit_code command_vhd_check(const struct command_context *context, struct cli_error *error);
enum exit_code command_vhd_convert(const struct command_context *context, struct cli_error *error);
enum exit_code command_vhd_merge(const struct command_context *context, struct cli_error *error);

#endif
