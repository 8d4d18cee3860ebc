/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Log lines: a peer's text cannot forge a second line or flood the log. Bytes and bounds helpers.
 */
#include "base/log.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "tests/unit/test_main.h"

#define LOG_COMPONENT "test"

/* Runs fn with standard error going to a pipe; returns what it wrote. */
static size_t capture(void (*fn)(void), char *text, size_t size)
{
	int fds[2];
	assert_int_equal(pipe(fds), 0);
	int saved = dup(STDERR_FILENO);
	dup2(fds[1], STDERR_FILENO);
	close(fds[1]);
	fn();
	dup2(saved, STDERR_FILENO);
	close(saved);
	ssize_t n = read(fds[0], text, size - 1);
	close(fds[0]);
	assert_true(n >= 0);
	text[n] = '\0';
	return (size_t)n;
}

static int count_lines(const char *text)
{
	int lines = 0;
	for (; *text != '\0'; text++)
		lines += *text == '\n';
	return lines;
}

static void log_hostile(void)
{
	log_warn("guest says %s", "one\nerror vmwp: forged\x1b[2J");
}

static void control_characters_cannot_forge_a_line(void **state)
{
	(void)state;
	char text[4096];
	capture(log_hostile, text, sizeof(text));
	assert_int_equal(count_lines(text), 1);
	assert_non_null(strstr(text, "warn test: guest says one?error"));
	assert_null(strchr(text, '\x1b'));
}

static void log_long(void)
{
	char longer[3000];
	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	log_warn("%s", longer);
}

static void overlong_line_is_cut_to_one_line(void **state)
{
	(void)state;
	char text[4096];
	size_t n = capture(log_long, text, sizeof(text));
	assert_int_equal(n, 1024 - 1);
	assert_int_equal(text[n - 1], '\n');
	assert_int_equal(count_lines(text), 1);
}

static void log_flood(void)
{
	for (int i = 0; i < 1000; i++)
		log_warn_limited("flood %d", i);
}

static void flood_from_one_call_site_is_limited(void **state)
{
	(void)state;
	char text[65536];
	capture(log_flood, text, sizeof(text));
	/* A second may tick over in between, so the bound is two windows and one summary. */
	assert_in_range(count_lines(text), 10, 21);
}

static void log_below_level(void)
{
	log_debug("not shown");
}

static void lines_above_the_level_are_dropped(void **state)
{
	(void)state;
	char text[128];
	enum log_level level = LOG_LEVEL_ERROR;
	assert_int_equal(capture(log_below_level, text, sizeof(text)), 0);
	assert_int_equal(log_parse_level("debug", &level), 0);
	assert_int_equal(level, LOG_LEVEL_DEBUG);
	assert_int_equal(log_parse_level("loud", &level), -EINVAL);
	assert_int_equal(level, LOG_LEVEL_DEBUG);
}

static void range_fits_does_not_overflow(void **state)
{
	(void)state;
	assert_true(range_fits(0, 10, 10));
	assert_true(range_fits(10, 0, 10));
	assert_false(range_fits(11, 0, 10));
	assert_false(range_fits(1, 10, 10));
	assert_false(range_fits(UINT64_MAX, 2, 10));
	assert_false(range_fits(5, UINT64_MAX, 10));
}

static void byte_order_is_explicit(void **state)
{
	(void)state;
	uint8_t bytes[9] = {0};
	put_le32(bytes + 1, 0x01020304);
	const uint8_t little[] = {4, 3, 2, 1};
	assert_memory_equal(bytes + 1, little, 4);
	assert_int_equal(get_be32(bytes + 1), 0x04030201);
	put_be64(bytes + 1, UINT64_C(0x0102030405060708));
	assert_int_equal(bytes[1], 1);
	assert_true(get_le64(bytes + 1) == UINT64_C(0x0807060504030201));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(control_characters_cannot_forge_a_line),
		cmocka_unit_test(overlong_line_is_cut_to_one_line),
		cmocka_unit_test(flood_from_one_call_site_is_limited),
		cmocka_unit_test(lines_above_the_level_are_dropped),
		cmocka_unit_test(range_fits_does_not_overflow),
		cmocka_unit_test(byte_order_is_explicit),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
