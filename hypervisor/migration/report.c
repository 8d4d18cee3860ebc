/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Renders a move's status and findings. What a peer wrote (an error, a finding) may be any bytes;
 * JSON must be UTF-8.
 */
#include "hypervisor/migration/report.h"

#include <inttypes.h>

#include "base/bytes.h"

static json_t *utf8_text(const char *text)
{
	json_t *value = json_string(text);

	return value ? value : json_string("(not UTF-8)");
}

static json_t *text_or_null(const char *text)
{
	return *text ? utf8_text(text) : json_null();
}

static json_int_t count(uint64_t value)
{
	return value > INT64_MAX ? INT64_MAX : (json_int_t)value;
}

const char *migration_severity_name(enum migration_severity severity)
{
	switch (severity) {
	case MIGRATION_STOPS:
		return "stops";
	case MIGRATION_HARMS:
		return "harms";
	case MIGRATION_NOTES:
		break;
	}
	return "notes";
}

const char *migration_compression_name(enum migration_compression compression)
{
	switch (compression) {
	case MIGRATION_COMPRESSION_LZ4:
		return "lz4";
	case MIGRATION_COMPRESSION_ZSTD:
		return "zstd";
	case MIGRATION_COMPRESSION_NONE:
		break;
	}
	return "none";
}

/* The findings, the worst first. */
static json_t *findings_json(const struct migration_check *check)
{
	json_t *findings = json_array();

	for (int severity = MIGRATION_STOPS; severity <= MIGRATION_NOTES; severity++)
		for (size_t i = 0; i < check->count && i < ARRAY_LENGTH(check->findings); i++) {
			const struct migration_finding *finding = &check->findings[i];

			if ((int)finding->severity == severity)
				json_array_append_new(
					findings,
					json_pack("{ss so so}", "severity",
						  migration_severity_name(finding->severity),
						  "item", utf8_text(finding->item), "text",
						  utf8_text(finding->text)));
		}
	return findings;
}

static json_t *error_json(const struct migration_status *status)
{
	if (status->phase != MIGRATION_FAILED && status->phase != MIGRATION_CANCELLED)
		return json_null();
	return json_pack("{si ss so}", "code", (int)status->error.code, "phrase",
			 exit_code_phrase(status->error.code), "message",
			 utf8_text(status->error.message));
}

json_t *migration_report_json(const char *vm_name, const struct migration_status *status,
			      const struct migration_check *check)
{
	return json_pack(
		"{ss ss sb so so sI sI sI sI sI sI sI sI sI sI sI sI sI sI sI sI so so}", "vm",
		vm_name, "phase", migration_phase_name(status->phase), "incoming", status->incoming,
		"id", text_or_null(status->id), "peer", text_or_null(status->peer), "memory_bytes",
		count(status->memory_bytes), "bytes_sent", count(status->bytes_sent), "bytes_left",
		count(status->bytes_left), "bytes_zero", count(status->bytes_zero), "dirty_rate",
		count(status->dirty_rate), "rate", count(status->rate), "rounds",
		(json_int_t)status->rounds, "throttle", (json_int_t)status->throttle,
		"downtime_estimate_ms", (json_int_t)status->downtime_estimate_ms, "started_unix_ms",
		(json_int_t)status->started_unix_ms, "total_ms", (json_int_t)status->total_ms,
		"downtime_ms", (json_int_t)status->downtime_ms, "pause_ms",
		(json_int_t)status->pause_ms, "last_ms", (json_int_t)status->last_ms, "restore_ms",
		(json_int_t)status->restore_ms, "late_frames", (json_int_t)status->late_frames,
		"error", error_json(status), "check",
		check ? json_pack("{so}", "findings", findings_json(check)) : json_null());
}

struct metric {
	const char *name;
	const char *help;
	uint64_t value;
};

static void write_metric(FILE *out, const char *vm_name, const struct metric *metric)
{
	fprintf(out,
		"# HELP lunar_migration_%s %s\n# TYPE lunar_migration_%s gauge\n"
		"lunar_migration_%s{vm=\"%s\"} %" PRIu64 "\n",
		metric->name, metric->help, metric->name, metric->name, vm_name, metric->value);
}

static void write_seconds(FILE *out, const char *vm_name, const char *name, const char *help,
			  uint32_t ms)
{
	fprintf(out,
		"# HELP lunar_migration_%s_seconds %s\n# TYPE lunar_migration_%s_seconds gauge\n"
		"lunar_migration_%s_seconds{vm=\"%s\"} %u.%03u\n",
		name, help, name, name, vm_name, ms / 1000, ms % 1000);
}

/* One series a phase, of which one is 1: a name cannot be a value. */
static void write_phases(FILE *out, const char *vm_name, const struct migration_status *status)
{
	fprintf(out, "# HELP lunar_migration_phase 1 for the phase of the move that is under way "
		     "or was the last.\n# TYPE lunar_migration_phase gauge\n");
	for (int phase = MIGRATION_CONNECTING; phase <= MIGRATION_CHECKED; phase++)
		fprintf(out, "lunar_migration_phase{vm=\"%s\",direction=\"%s\",phase=\"%s\"} %d\n",
			vm_name, status->incoming ? "in" : "out",
			migration_phase_name((enum migration_phase)phase),
			(int)status->phase == phase);
}

void migration_report_metrics(FILE *out, const char *vm_name, const struct migration_status *status)
{
	const struct metric metrics[] = {
		{"start_time_ms", "When the move began, Unix time in ms.",
		 status->started_unix_ms > 0 ? (uint64_t)status->started_unix_ms : 0},
		{"sent_bytes", "Bytes on the wire.", status->bytes_sent},
		{"left_bytes", "Bytes of memory that are still to go.", status->bytes_left},
		{"zero_bytes", "Bytes of memory that went as a mark, being zero.",
		 status->bytes_zero},
		{"dirty_bytes_per_second", "What the guest dirtied in the last round.",
		 status->dirty_rate},
		{"bytes_per_second", "Rate on the wire in the last second.", status->rate},
		{"rounds", "Rounds over memory.", status->rounds},
		{"throttle_percent", "How much the guest was slowed down.", status->throttle},
		{"late_frames", "Frames that came late and were handed on.", status->late_frames},
	};

	if (status->phase == MIGRATION_IDLE)
		return;
	write_phases(out, vm_name, status);
	for (size_t i = 0; i < ARRAY_LENGTH(metrics); i++)
		write_metric(out, vm_name, &metrics[i]);
	write_seconds(out, vm_name, "total", "From the start to the end, or to now.",
		      status->total_ms);
	write_seconds(out, vm_name, "downtime", "How long the VM stood still.",
		      status->downtime_ms);
	write_seconds(out, vm_name, "pause", "Of that: to rest, and to save the state.",
		      status->pause_ms);
	write_seconds(out, vm_name, "last", "Of that: the last pages.", status->last_ms);
	write_seconds(out, vm_name, "restore", "Of that: loading the state over there.",
		      status->restore_ms);
}
