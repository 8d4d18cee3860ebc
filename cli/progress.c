/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The bar: "disk.vhd [########----------]  42%  1.2G of 2.9G  310M/s  6s left".
 */
#include "cli/progress.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/deadline.h"
#include "cli/output.h"

#define SHOW_EVERY_NS (100 * NS_PER_MS)
#define CELLS	      30

static volatile sig_atomic_t interrupts;

static void on_interrupt(int signal)
{
	(void)signal;
	interrupts = 1;
}

void progress_begin(struct progress *progress, const struct command_context *context,
		    const char *what)
{
	const struct sigaction action = {.sa_handler = on_interrupt};

	interrupts = 0;
	*progress = (struct progress){
		.context = context,
		.what = what,
		.terminal = !context->options->json && isatty(fileno(context->err)),
		.began_ns = monotonic_ns(),
	};
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
}

bool progress_step(struct progress *progress, uint64_t done, uint64_t total)
{
	char name[64], done_word[OUTPUT_WORD_BYTES], total_word[OUTPUT_WORD_BYTES];
	char rate_word[OUTPUT_WORD_BYTES], left_word[OUTPUT_WORD_BYTES];
	uint64_t now = monotonic_ns(), spent = (now - progress->began_ns) / NS_PER_MS;
	uint64_t rate, percent;
	int full;

	if (!progress->terminal || now < progress->next_ns || total == 0 || spent == 0)
		return !interrupts;
	progress->next_ns = now + SHOW_EVERY_NS;
	percent = (uint64_t)((double)done * 100 / (double)total);
	full = (int)(percent * CELLS / 100);
	rate = (uint64_t)((double)done * 1000 / (double)spent);
	output_copy_printable(name, sizeof(name), progress->what);
	output_size(done_word, done);
	output_size(total_word, total);
	output_size(rate_word, rate);
	output_duration(left_word, rate ? (total - done) / rate * 1000 : 0);
	fprintf(progress->context->err, "\r%.40s [%.*s%.*s] %3u%%  %s of %s  %s/s  %s left\033[K",
		name, full, "##############################", CELLS - full,
		"------------------------------", (unsigned int)percent, done_word, total_word,
		rate_word, left_word);
	fflush(progress->context->err);
	progress->shown = true;
	return !interrupts;
}

void progress_end(struct progress *progress)
{
	if (progress->shown)
		fputs("\r\033[K", progress->context->err);
	progress->shown = false;
	signal(SIGINT, SIG_DFL);
	signal(SIGTERM, SIG_DFL);
}
