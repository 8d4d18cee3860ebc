/* SPDX-License-Identifier: BSD-3-Clause */
/* Ends and reports of the tools, see stop_signal.h. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/tools/stop_signal.h"

#define EXIT_USAGE 2

static volatile sig_atomic_t stopped;
static uint64_t stop_at_ns = UINT64_MAX;

static void on_signal(int number)
{
	(void)number;
	stopped = 1;
}

void stop_signal_init(unsigned int seconds)
{
	struct sigaction action = {.sa_handler = on_signal};

	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	if (seconds)
		stop_at_ns = clock_ns() + seconds * 1000000000ULL;
}

bool stop_requested(void)
{
	return stopped || (stop_at_ns != UINT64_MAX && clock_ns() >= stop_at_ns);
}

uint64_t clock_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000ULL + (uint64_t)now.tv_nsec;
}

int report_write(const char *path, const char *text)
{
	char temporary[512];
	FILE *file = stdout;

	if (path) {
		snprintf(temporary, sizeof(temporary), "%s.new", path);
		file = fopen(temporary, "w");
		if (!file)
			return -errno;
	}
	if (fputs(text, file) == EOF || fflush(file) != 0)
		return -errno;
	if (!path)
		return 0;
	if (fclose(file) != 0 || rename(temporary, path) != 0)
		return -errno;
	return 0;
}

uint64_t option_number(const char *option, const char *text, uint64_t least, uint64_t most)
{
	char *end = NULL;
	unsigned long long value;

	errno = 0;
	value = strtoull(text, &end, 10);
	if (errno || end == text || *end || value < least || value > most) {
		fprintf(stderr, "%s: %s is not a number from %" PRIu64 " to %" PRIu64 "\n", option,
			text, least, most);
		exit(EXIT_USAGE);
	}
	return value;
}
