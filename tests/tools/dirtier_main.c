/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Dirties memory in a guest at a given rate, and checks it: each page holds what the last pass left
 * there, or something lost it. Usage: dirtier --mib N [--rate MIB-PER-SECOND] [--seconds N]
 * [--report FILE]. Until SIGTERM; rate 0 dirties as fast as it goes. The pages do not compress:
 * their content is pseudo-random, and stays so.
 */
#include <getopt.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "tests/tools/block_pattern.h"
#include "tests/tools/stop_signal.h"

#define SLICE_NS     10000000ULL /* how long it works before it looks at the clock again */
#define PAGES_A_MIB  (1024 * 1024 / BLOCK_BYTES)
#define REPORT_EVERY 100 /* slices */

struct dirtier {
	uint8_t *memory;
	uint64_t pages;
	uint64_t rate; /* pages a second, 0: all there are */
	uint64_t next;
	uint64_t passes;
	uint64_t dirtied;
	uint64_t errors;
	uint64_t start_ns;
	uint64_t longest_pause_ns; /* between two slices */
};

/*
 * The first word of a page counts the passes, xor-ed with the page's number; a page in fifty is
 * checked as a whole, with the word put back to what block_fill() made.
 */
static void dirty_page(struct dirtier *dirtier, uint64_t page)
{
	uint64_t *words = (uint64_t *)(void *)(dirtier->memory + page * BLOCK_BYTES);
	uint64_t mark = words[0];

	if (mark != (dirtier->passes ^ (page << 32))) {
		dirtier->errors++;
	} else if (page % 50 == dirtier->passes % 50) {
		uint64_t expected[BLOCK_BYTES / sizeof(uint64_t)];

		block_fill(expected, page, 1);
		if (memcmp(words + 1, expected + 1, BLOCK_BYTES - sizeof(uint64_t)) != 0)
			dirtier->errors++;
	}
	words[0] = (dirtier->passes + 1) ^ (page << 32);
	dirtier->dirtied++;
}

static void dirty_pages(struct dirtier *dirtier, uint64_t count)
{
	while (count--) {
		dirty_page(dirtier, dirtier->next);
		if (++dirtier->next == dirtier->pages) {
			dirtier->next = 0;
			dirtier->passes++;
		}
	}
}

static int fill(struct dirtier *dirtier)
{
	dirtier->memory = mmap(NULL, dirtier->pages * BLOCK_BYTES, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (dirtier->memory == MAP_FAILED)
		return -1;
	for (uint64_t page = 0; page < dirtier->pages; page++) {
		uint64_t *words = (uint64_t *)(void *)(dirtier->memory + page * BLOCK_BYTES);

		block_fill(words, page, 1);
		words[0] = page << 32;
	}
	return 0;
}

static int write_report(const struct dirtier *dirtier, const char *path, bool ended)
{
	char text[512];
	double seconds = (double)(clock_ns() - dirtier->start_ns) / 1e9;

	snprintf(text, sizeof(text),
		 "{\"ended\": %s, \"mib\": %" PRIu64 ", \"passes\": %" PRIu64
		 ", \"mib_per_second\": %.1f, \"errors\": %" PRIu64
		 ", \"longest_pause_ms\": %.1f}\n",
		 ended ? "true" : "false", dirtier->pages / PAGES_A_MIB, dirtier->passes,
		 (double)dirtier->dirtied / PAGES_A_MIB / seconds, dirtier->errors,
		 (double)dirtier->longest_pause_ns / 1e6);
	return report_write(path, text);
}

/* Each slice dirties what the rate allows since the last one; a pause of the whole machine is not
 * made up for. */
static void run(struct dirtier *dirtier, const char *report)
{
	uint64_t last_ns = clock_ns();
	double owed = 0;

	for (unsigned int slice = 0; !stop_requested(); slice++) {
		uint64_t now = clock_ns(), pause = now - last_ns;

		if (pause > dirtier->longest_pause_ns)
			dirtier->longest_pause_ns = pause;
		last_ns = now;
		if (dirtier->rate) {
			struct timespec rest = {.tv_nsec = (long)SLICE_NS};

			owed += (double)dirtier->rate *
				(double)(pause < 10 * SLICE_NS ? pause : SLICE_NS) / 1e9;
			dirty_pages(dirtier, (uint64_t)owed);
			owed -= (double)(uint64_t)owed;
			nanosleep(&rest, NULL);
		} else {
			while (clock_ns() - now < SLICE_NS)
				dirty_pages(dirtier, 64);
		}
		if (report && slice % REPORT_EVERY == 0)
			write_report(dirtier, report, false);
	}
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"mib", required_argument, NULL, 'm'},
						{"rate", required_argument, NULL, 'r'},
						{"seconds", required_argument, NULL, 's'},
						{"report", required_argument, NULL, 'o'},
						{NULL, 0, NULL, 0}};
	struct dirtier dirtier = {.pages = 0};
	const char *report = NULL;
	unsigned int seconds = 0;
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'm')
			dirtier.pages = option_number("--mib", optarg, 1, 1 << 20) * PAGES_A_MIB;
		else if (option == 'r')
			dirtier.rate = option_number("--rate", optarg, 0, 1 << 20) * PAGES_A_MIB;
		else if (option == 's')
			seconds = (unsigned int)option_number("--seconds", optarg, 1, 86400);
		else if (option == 'o')
			report = optarg;
		else
			return 2;
	}
	if (!dirtier.pages || optind != argc) {
		fprintf(stderr, "usage: dirtier --mib N [--rate MIB-PER-SECOND] [--seconds N] "
				"[--report FILE]\n");
		return 2;
	}
	if (fill(&dirtier) < 0) {
		perror("dirtier: mmap");
		return 1;
	}
	stop_signal_init(seconds);
	dirtier.start_ns = clock_ns();
	run(&dirtier, report);
	if (write_report(&dirtier, report, true) < 0)
		return 1;
	return dirtier.errors ? 1 : 0;
}
