/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reads values. Nothing here uses strtoul() on unchecked text: that takes signs, blanks and more.
 */
#include "cli/option_values.h"

#include <stdio.h>
#include <string.h>

/* Digits at the front of text. Returns how many, or 0 where there are none or too many for 2^63. */
static size_t read_digits(const char *text, uint64_t *value)
{
	size_t digits = strspn(text, "0123456789");

	*value = 0;
	if (digits > 18)
		return 0;
	for (size_t i = 0; i < digits; i++)
		*value = *value * 10 + (uint64_t)(text[i] - '0');
	return digits;
}

enum exit_code option_read_number(const char *option, const char *text, uint32_t least,
				  uint32_t most, const char *what, uint32_t *value,
				  struct cli_error *error)
{
	uint64_t number;
	size_t digits = read_digits(text, &number);

	if (digits == 0 || text[digits] || number < least || number > most)
		return cli_error_set(error, EXIT_USAGE,
				     "%s: '%.40s' is not a number%s from %u to %u", option, text,
				     what, least, most);
	*value = (uint32_t)number;
	return EXIT_OK;
}

enum exit_code option_read_time(const char *option, const char *text, uint32_t unit_ms,
				uint32_t most_ms, uint32_t *ms, struct cli_error *error)
{
	static const struct {
		const char *name;
		uint32_t ms;
	} units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}};
	uint64_t number;
	size_t digits = read_digits(text, &number);
	uint64_t factor = text[digits] ? 0 : unit_ms;

	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
		if (strcmp(text + digits, units[i].name) == 0)
			factor = units[i].ms;
	if (digits == 0 || factor == 0 || number == 0 || number > most_ms / factor)
		return cli_error_set(
			error, EXIT_USAGE,
			"%s: '%.40s' is not a time such as 300ms, 10s, 5m or 1h, up to "
			"%u%s",
			option, text, most_ms < 3600000 ? most_ms / 1000 : most_ms / 3600000,
			most_ms < 3600000 ? "s" : "h");
	*ms = (uint32_t)(number * factor);
	return EXIT_OK;
}

/* A number with K, M, G or T behind it. False: something else, or more than most. */
static bool read_bytes(const char *text, uint64_t most, uint64_t *bytes)
{
	static const char units[] = "KMGT";
	uint64_t number, factor = 1;
	size_t digits = read_digits(text, &number);
	const char *rest = text + digits;

	for (size_t i = 0; *rest && units[i]; i++)
		if (*rest == units[i] || *rest == units[i] + ('a' - 'A')) {
			factor = UINT64_C(1) << (10 * (i + 1));
			rest++;
			break;
		}
	if (digits == 0 || *rest || number > most / factor)
		return false;
	*bytes = number * factor;
	return true;
}

enum exit_code option_read_size(const char *option, const char *text, uint64_t most,
				uint64_t *bytes, struct cli_error *error)
{
	uint64_t size;

	if (!read_bytes(text, most, &size) || size == 0 || size % 512)
		return cli_error_set(error, EXIT_USAGE,
				     "%s: '%.40s' is not a size such as 20G or 512M, a multiple of "
				     "512 bytes up to %uG",
				     option, text, (unsigned int)(most >> 30));
	*bytes = size;
	return EXIT_OK;
}

enum exit_code option_read_rate(const char *option, const char *text, uint64_t least, uint64_t most,
				uint64_t *bytes, struct cli_error *error)
{
	uint64_t rate;

	if (!read_bytes(text, most, &rate) || (rate && rate < least))
		return cli_error_set(error, EXIT_USAGE,
				     "%s: '%.40s' is not a rate such as 100M (bytes a second, with "
				     "K, M, G or T), at least %uK; 0 is no limit",
				     option, text, (unsigned int)(least >> 10));
	*bytes = rate;
	return EXIT_OK;
}

enum exit_code option_read_word(const char *option, const char *text, const char *const *names,
				size_t count, unsigned int *index, struct cli_error *error)
{
	char list[128] = "";
	size_t used = 0;

	for (size_t i = 0; i < count; i++)
		if (strcmp(text, names[i]) == 0) {
			*index = (unsigned int)i;
			return EXIT_OK;
		}
	for (size_t i = 0; i < count && used < sizeof(list); i++)
		used += (size_t)snprintf(list + used, sizeof(list) - used, "%s%s",
					 i == 0 ? "" : (i + 1 == count ? " or " : ", "), names[i]);
	return cli_error_set(error, EXIT_USAGE, "%s: '%.40s' is not %s", option, text, list);
}

static bool host_is_clean(const char *host, size_t length)
{
	for (size_t i = 0; i < length; i++)
		if (host[i] <= ' ' || host[i] >= 0x7f || strchr("/[]@", host[i]))
			return false;
	return true;
}

enum exit_code option_read_host(const char *option, const char *text, bool empty_host, char *host,
				size_t host_bytes, uint16_t *port, struct cli_error *error)
{
	const char *begin = text, *colon = strchr(text, ':'), *rest;
	size_t length = strlen(text), digits;
	uint64_t number;

	rest = text + length;
	if (*text == '[') {
		begin = text + 1;
		rest = strchr(begin, ']');
		length = rest ? (size_t)(rest - begin) : 0;
		rest = rest ? rest + 1 : "?";
	} else if (colon && !strchr(colon + 1, ':')) { /* two of them: an IPv6 address */
		length = (size_t)(colon - text);
		rest = colon;
	}
	if (length >= host_bytes || (length == 0 && !empty_host) || !host_is_clean(begin, length) ||
	    (*rest && *rest != ':'))
		return cli_error_set(
			error, EXIT_USAGE,
			"%s: '%.80s' is not a host such as host2, host2:49300, 10.0.0.2 "
			"or [fe80::2]:49300",
			option, text);
	if (*rest) {
		digits = read_digits(rest + 1, &number);
		if (digits == 0 || rest[1 + digits] || number == 0 || number > 65535)
			return cli_error_set(
				error, EXIT_USAGE,
				"%s: '%.80s': the port is not a number from 1 to 65535", option,
				text);
		*port = (uint16_t)number;
	}
	memcpy(host, begin, length);
	host[length] = '\0';
	return EXIT_OK;
}
