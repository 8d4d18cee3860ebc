/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Log lines to standard error: time, level, component, text; one write() a line, so that lines of
 * several threads and processes do not mix.
 */
#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/deadline.h"

#define LOG_LINE_BYTES	 1024
#define LIMIT_PER_WINDOW 10
#define LIMIT_WINDOW_NS	 NS_PER_SEC

static _Atomic int current_level = LOG_LEVEL_INFO;

static const char *const level_names[] = {"error", "warn", "info", "debug"};

void log_set_level(enum log_level level)
{
	atomic_store_explicit(&current_level, (int)level, memory_order_relaxed);
}

enum log_level log_get_level(void)
{
	return (enum log_level)atomic_load_explicit(&current_level, memory_order_relaxed);
}

int log_parse_level(const char *name, enum log_level *level)
{
	for (size_t i = 0; i < sizeof(level_names) / sizeof(level_names[0]); i++) {
		if (strcmp(name, level_names[i]) == 0) {
			*level = (enum log_level)i;
			return 0;
		}
	}
	return -EINVAL;
}

/* What a peer sent may be in the text: a line stays one line, and no escape sequence reaches a
 * terminal. */
static void replace_control_characters(char *text, size_t length)
{
	for (size_t i = 0; i < length; i++) {
		if ((unsigned char)text[i] < ' ' || text[i] == 0x7f)
			text[i] = '?';
	}
}

void log_write(enum log_level level, const char *component, const char *format, ...)
{
	if (level > log_get_level())
		return;

	char line[LOG_LINE_BYTES];
	struct timespec now;
	struct tm utc;
	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &utc);
	size_t used = strftime(line, sizeof(line), "%Y-%m-%dT%H:%M:%S", &utc);
	int n = snprintf(line + used, sizeof(line) - used, ".%03ldZ %s %s: ", now.tv_nsec / 1000000,
			 level_names[level], component);
	used += n > 0 ? (size_t)n : 0;
	if (used >= sizeof(line) - 1)
		used = sizeof(line) - 2;

	va_list args;
	va_start(args, format);
	n = vsnprintf(line + used, sizeof(line) - used - 1, format, args);
	va_end(args);
	size_t text = n > 0 ? (size_t)n : 0;
	if (text > sizeof(line) - used - 2)
		text = sizeof(line) - used - 2;
	replace_control_characters(line + used, text);
	used += text;
	line[used++] = '\n';
	/* A log that cannot be written is not worth failing for. */
	ssize_t ignored = write(STDERR_FILENO, line, used);
	(void)ignored;
}

bool log_limit_allow(struct log_limit *limit, const char *component)
{
	uint64_t now = monotonic_ns();
	uint64_t start = atomic_load_explicit(&limit->window_start_ns, memory_order_relaxed);

	if (now - start >= LIMIT_WINDOW_NS &&
	    atomic_compare_exchange_strong_explicit(&limit->window_start_ns, &start, now,
						    memory_order_relaxed, memory_order_relaxed)) {
		atomic_store_explicit(&limit->in_window, 0, memory_order_relaxed);
		uint32_t lost =
			atomic_exchange_explicit(&limit->suppressed, 0, memory_order_relaxed);
		if (lost > 0)
			log_write(LOG_LEVEL_WARN, component,
				  "(%u lines like the next were left out)", lost);
	}
	if (atomic_fetch_add_explicit(&limit->in_window, 1, memory_order_relaxed) <
	    LIMIT_PER_WINDOW)
		return true;
	atomic_fetch_add_explicit(&limit->suppressed, 1, memory_order_relaxed);
	return false;
}
