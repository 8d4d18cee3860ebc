/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Renders moves.
 */
#include "cli/migration_output.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "base/bytes.h"
#include "cli/output.h"

#define LINE_BYTES 512
#define BAR_MIN	   6 /* cells; a shorter one tells nothing */
#define BAR_MAX	   40

bool migration_phase_is_final(const char *phase)
{
	static const char *const finals[] = {"idle", "done", "failed", "cancelled", "checked"};

	for (size_t i = 0; i < ARRAY_LENGTH(finals); i++)
		if (strcmp(phase, finals[i]) == 0)
			return true;
	return false;
}

static bool is_phase(const json_t *migration, const char *phase)
{
	return strcmp(output_get_text(migration, "phase"), phase) == 0;
}

static bool is_to_file(const json_t *migration)
{
	return *output_get_text(migration, "peer") == '/';
}

/* How much of the memory is there, in percent. */
static unsigned int get_percent(const json_t *migration)
{
	uint64_t memory = output_get_number(migration, "memory_bytes");
	uint64_t left = output_get_number(migration, "bytes_left");

	if (memory == 0)
		return 0;
	if (left > memory)
		left = memory;
	return (unsigned int)((double)(memory - left) * 100.0 / (double)memory);
}

/* "1.2G sent  412M left  118M/s  dirty 3.1M/s  round 2  ~240ms", with gap between the parts. */
static void copying_words(char *words, size_t bytes, const char *gap, const json_t *migration)
{
	char sent[OUTPUT_WORD_BYTES], left[OUTPUT_WORD_BYTES], rate[OUTPUT_WORD_BYTES];
	char dirty[OUTPUT_WORD_BYTES], stop[OUTPUT_WORD_BYTES], throttle[OUTPUT_WORD_BYTES] = "";
	uint64_t percent = output_get_number(migration, "throttle");

	output_size(sent, output_get_number(migration, "bytes_sent"));
	output_size(left, output_get_number(migration, "bytes_left"));
	output_size(rate, output_get_number(migration, "rate"));
	output_size(dirty, output_get_number(migration, "dirty_rate"));
	output_time(stop, output_get_number(migration, "downtime_estimate_ms"));
	if (percent)
		snprintf(throttle, sizeof(throttle), "%sslowed %" PRIu64 "%%", gap, percent);
	snprintf(words, bytes, "%s sent%s%s left%s%s/s%sdirty %s/s%sround %" PRIu64 "%s~%s%s", sent,
		 gap, left, gap, rate, gap, dirty, gap, output_get_number(migration, "rounds") + 1,
		 gap, stop, throttle);
}

/* What is going on in the other phases. */
static void phase_words(char *words, size_t bytes, const json_t *migration)
{
	const char *peer = output_get_text(migration, "peer");
	bool incoming = json_is_true(json_object_get(migration, "incoming"));

	if (is_phase(migration, "connecting"))
		snprintf(words, bytes, "connecting %s %.200s", incoming ? "with" : "to", peer);
	else if (is_phase(migration, "stopped"))
		snprintf(words, bytes, "stopped: last pages and state");
	else if (is_phase(migration, "committing"))
		snprintf(words, bytes, "committed: %.200s takes over", peer);
	else
		snprintf(words, bytes, "%.40s", output_get_text(migration, "phase"));
}

void migration_output_bar(char *line, size_t line_bytes, size_t columns, const json_t *migration)
{
	char raw[LINE_BYTES], words[LINE_BYTES], bar[2 * BAR_MAX + 4] = "";
	const char *name = output_get_text(migration, "vm");
	unsigned int percent = get_percent(migration);
	size_t used, cells, full;

	if (!is_phase(migration, "copying")) {
		phase_words(words, sizeof(words), migration);
		snprintf(raw, sizeof(raw), "%.40s %s", name, words);
	} else {
		copying_words(words, sizeof(words), "  ", migration);
		used = strlen(name) + strlen(" [] 100%  ") + strlen(words) + 1;
		cells = columns > used ? columns - used : 0;
		cells = cells > BAR_MAX ? BAR_MAX : cells;
		full = cells * percent / 100;
		if (cells >= BAR_MIN)
			snprintf(bar, sizeof(bar), "[%.*s%.*s] ", (int)full,
				 "########################################", (int)(cells - full),
				 "----------------------------------------");
		snprintf(raw, sizeof(raw), "%.40s %s%3u%%  %s", name, bar, percent, words);
	}
	output_copy_printable(line, columns < line_bytes ? columns : line_bytes, raw);
}

void migration_output_now(char *line, size_t line_bytes, const json_t *migration)
{
	char words[LINE_BYTES], more[LINE_BYTES];
	char got[OUTPUT_WORD_BYTES], rate[OUTPUT_WORD_BYTES];

	if (is_phase(migration, "copying") &&
	    json_is_true(json_object_get(migration, "incoming"))) {
		/* What is left is the source's to know. */
		output_size(got, output_get_number(migration, "bytes_sent"));
		output_size(rate, output_get_number(migration, "rate"));
		snprintf(words, sizeof(words), "receiving memory: %s, %s/s", got, rate);
	} else if (is_phase(migration, "copying")) {
		copying_words(more, sizeof(more), ", ", migration);
		snprintf(words, sizeof(words), "copying memory: %u%%, %.400s",
			 get_percent(migration), more);
	} else {
		phase_words(words, sizeof(words), migration);
	}
	output_copy_printable(line, line_bytes, words);
}

size_t migration_output_findings(FILE *out, const json_t *migration)
{
	static const struct {
		const char *name, *shown;
	} severities[] = {{"stops", "STOPS"}, {"harms", "harms"}, {"notes", "note"}};
	const json_t *findings = json_object_get(json_object_get(migration, "check"), "findings");
	char item[LINE_BYTES], text[LINE_BYTES * 2];
	size_t stops = 0;

	for (size_t s = 0; s < ARRAY_LENGTH(severities); s++)
		for (size_t i = 0; i < json_array_size(findings); i++) {
			const json_t *finding = json_array_get(findings, i);

			if (strcmp(output_get_text(finding, "severity"), severities[s].name) != 0)
				continue;
			stops += s == 0;
			output_copy_printable(item, sizeof(item), output_get_text(finding, "item"));
			output_copy_printable(text, sizeof(text), output_get_text(finding, "text"));
			fprintf(out, "%-5s  %-10s  %s\n", severities[s].shown, item, text);
		}
	return stops;
}

/* "downtime    182ms: 21ms to rest and save, 90ms last pages, 61ms loading over there, 10ms else".
 */
static void downtime_words(char *words, size_t bytes, const json_t *migration)
{
	static const struct {
		const char *key, *shown;
	} parts[] = {{"pause_ms", "to rest and save"},
		     {"last_ms", "last pages"},
		     {"restore_ms", "loading over there"}};
	uint64_t total = output_get_number(migration, "downtime_ms"), known = 0;
	char word[OUTPUT_WORD_BYTES];
	size_t used;

	output_time(word, total);
	used = (size_t)snprintf(words, bytes, "%s", word);
	for (size_t i = 0; i < ARRAY_LENGTH(parts) && used < bytes; i++) {
		uint64_t ms = output_get_number(migration, parts[i].key);

		known += ms;
		output_time(word, ms);
		used += (size_t)snprintf(words + used, bytes - used, "%s%s %s", i ? ", " : ": ",
					 word, parts[i].shown);
	}
	if (total > known && used < bytes) {
		output_time(word, total - known);
		snprintf(words + used, bytes - used, ", %s on the way", word);
	}
}

void migration_output_figures(FILE *out, const json_t *migration)
{
	char total[OUTPUT_WORD_BYTES], sent[OUTPUT_WORD_BYTES], memory[OUTPUT_WORD_BYTES];
	char zero[OUTPUT_WORD_BYTES], words[LINE_BYTES];
	uint64_t rounds = output_get_number(migration, "rounds");
	uint64_t late = output_get_number(migration, "late_frames");

	output_time(total, output_get_number(migration, "total_ms"));
	output_size(sent, output_get_number(migration, "bytes_sent"));
	output_size(memory, output_get_number(migration, "memory_bytes"));
	output_size(zero, output_get_number(migration, "bytes_zero"));
	if (is_to_file(migration)) {
		fprintf(out, "total        %s, %s written for %s of memory (%s of it zero)\n",
			total, sent, memory, zero);
		return;
	}
	fprintf(out,
		"total        %s, %" PRIu64 " round%s, %s sent for %s of memory (%s of it zero)\n",
		total, rounds, rounds == 1 ? "" : "s", sent, memory, zero);
	downtime_words(words, sizeof(words), migration);
	fprintf(out, "downtime     %s\n", words);
	if (late)
		fprintf(out, "late frames  %" PRIu64 ", handed on\n", late);
}

static void time_words(char *words, size_t bytes, uint64_t unix_ms)
{
	time_t seconds = (time_t)(unix_ms / 1000);
	struct tm parts;

	if (!gmtime_r(&seconds, &parts) ||
	    strftime(words, bytes, "%Y-%m-%d %H:%M:%S UTC", &parts) == 0)
		snprintf(words, bytes, "-");
}

void migration_output_last(char *line, size_t line_bytes, const json_t *migration)
{
	bool incoming = json_is_true(json_object_get(migration, "incoming"));
	const char *phase = output_get_text(migration, "phase");
	const char *message = output_get_text(json_object_get(migration, "error"), "message");
	char total[OUTPUT_WORD_BYTES], down[OUTPUT_WORD_BYTES], raw[LINE_BYTES * 2], when[64];
	uint64_t started = output_get_number(migration, "started_unix_ms");

	output_time(total, output_get_number(migration, "total_ms"));
	output_time(down, output_get_number(migration, "downtime_ms"));
	time_words(when, sizeof(when), started + output_get_number(migration, "total_ms"));
	if (is_phase(migration, "done") && is_to_file(migration))
		snprintf(raw, sizeof(raw), "%s %.200s, %s: %s",
			 incoming ? "restored from" : "saved to",
			 output_get_text(migration, "peer"), when, total);
	else if (is_phase(migration, "done"))
		snprintf(raw, sizeof(raw), "%s %.200s, %s: %s, downtime %s",
			 incoming ? "from" : "to", output_get_text(migration, "peer"), when, total,
			 down);
	else
		snprintf(raw, sizeof(raw), "%s %.200s, %s: %.20s%s%.300s", incoming ? "from" : "to",
			 output_get_text(migration, "peer"), when, phase,
			 *message == '-' ? "" : ": ", *message == '-' ? "" : message);
	output_copy_printable(line, line_bytes, raw);
}
