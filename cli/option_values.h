/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the user may write for a value: seconds, times and sizes with units, hosts with ports. Each
 * returns EXIT_OK, or EXIT_USAGE with a message that names the option and quotes what was given.
 */
#ifndef LUNAR_CLI_OPTION_VALUES_H
#define LUNAR_CLI_OPTION_VALUES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli/cli_error.h"

/* Digits alone. */
enum exit_code option_read_number(const char *option, const char *text, uint32_t least,
				  uint32_t most, const char *what, uint32_t *value,
				  struct cli_error *error);

/* "300ms", "10s", "5m", "1h"; without a unit it is unit_ms. In ms, from 1 to most_ms. */
enum exit_code option_read_time(const char *option, const char *text, uint32_t unit_ms,
				uint32_t most_ms, uint32_t *ms, struct cli_error *error);

/* "100M": bytes a second, with K, M, G or T (of 1024); 0 is allowed, else from least. */
enum exit_code option_read_rate(const char *option, const char *text, uint64_t least, uint64_t most,
				uint64_t *bytes, struct cli_error *error);

/* "20G": bytes, with K, M, G or T (of 1024); a multiple of 512, from 512 to most. */
enum exit_code option_read_size(const char *option, const char *text, uint64_t most,
				uint64_t *bytes, struct cli_error *error);

/* One of names (count of them); its index. */
enum exit_code option_read_word(const char *option, const char *text, const char *const *names,
				size_t count, unsigned int *index, struct cli_error *error);

/*
 * "host2", "host2:49300", "10.0.0.2:49300", "fe80::1", "[fe80::1]:49300". *port stays where none is
 * given. The host may be empty where empty_host (":49300").
 */
enum exit_code option_read_host(const char *option, const char *text, bool empty_host, char *host,
				size_t host_bytes, uint16_t *port, struct cli_error *error);

#endif
