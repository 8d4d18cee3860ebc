/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Logging: one macro set, a component name on each line, to standard error (or a file that the
 * program chose). Where a peer can cause a line, use log_*_limited: at most ten lines a second per
 * call site, then one that says how many were left out. Thread-safe.
 */
#ifndef LUNAR_BASE_LOG_H
#define LUNAR_BASE_LOG_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum log_level {
	LOG_LEVEL_ERROR,
	LOG_LEVEL_WARN,
	LOG_LEVEL_INFO,
	LOG_LEVEL_DEBUG,
};

/* State of one rate-limited call site; zero-initialised. */
struct log_limit {
	_Atomic uint64_t window_start_ns;
	_Atomic uint32_t in_window;
	_Atomic uint32_t suppressed;
};

/* Lines above this level are dropped. Default: LOG_LEVEL_INFO. */
void log_set_level(enum log_level level);
enum log_level log_get_level(void);

/* Accepts "error", "warn", "info", "debug". Returns 0 or -EINVAL. */
int log_parse_level(const char *name, enum log_level *level);

void log_write(enum log_level level, const char *component, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* True where the call site may write one more line now. Reports what it left out when a window
 * ends. */
bool log_limit_allow(struct log_limit *limit, const char *component);

/* Each .c file that logs defines LOG_COMPONENT before its first use. */
#define log_error(...) log_write(LOG_LEVEL_ERROR, LOG_COMPONENT, __VA_ARGS__)
#define log_warn(...)  log_write(LOG_LEVEL_WARN, LOG_COMPONENT, __VA_ARGS__)
#define log_info(...)  log_write(LOG_LEVEL_INFO, LOG_COMPONENT, __VA_ARGS__)
#define log_debug(...) log_write(LOG_LEVEL_DEBUG, LOG_COMPONENT, __VA_ARGS__)

#define log_limited(level, ...)                                                                    \
	do {                                                                                       \
		static struct log_limit log_limit_here;                                            \
		if ((level) <= log_get_level() && log_limit_allow(&log_limit_here, LOG_COMPONENT)) \
			log_write(level, LOG_COMPONENT, __VA_ARGS__);                              \
	} while (0)
#define log_error_limited(...) log_limited(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn_limited(...)  log_limited(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info_limited(...)  log_limited(LOG_LEVEL_INFO, __VA_ARGS__)

#endif
