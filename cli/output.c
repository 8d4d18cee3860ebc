/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Renders JSON reports for people. A member that is missing or of another type prints as "-".
 */
#include "cli/output.h"
#include "cli/output_disk.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "cli/migration_output.h"

#define SHEET_LABEL_WIDTH 12
#define LIST_COLUMNS	  6
#define TEXT_BYTES	  256

void output_copy_printable(char *out, size_t out_bytes, const char *text)
{
	size_t n = 0;

	for (; text[n] && n + 1 < out_bytes; n++) {
		unsigned char c = (unsigned char)text[n];
		bool c1 = n > 0 && (unsigned char)text[n - 1] == 0xc2 && c >= 0x80 && c < 0xa0;

		out[n] = (char)(c < 0x20 || c == 0x7f || c1 ? '?' : text[n]);
	}
	out[n] = '\0';
}

const char *output_get_text(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "-";
}

uint64_t output_get_number(const json_t *object, const char *key)
{
	json_int_t value = json_integer_value(json_object_get(object, key));

	return value > 0 ? (uint64_t)value : 0;
}

void output_table(FILE *out, size_t columns, const char *const *cells, size_t rows)
{
	char text[TEXT_BYTES];

	for (size_t row = 0; row < rows; row++) {
		for (size_t column = 0; column < columns; column++) {
			size_t width = 0;

			for (size_t r = 0; r < rows && column + 1 < columns; r++) {
				size_t length = strlen(cells[r * columns + column]);

				width = length > width ? length : width;
			}
			output_copy_printable(text, sizeof(text), cells[row * columns + column]);
			fprintf(out, "%s%-*s", column ? "  " : "",
				(int)(width < TEXT_BYTES ? width : 0), text);
		}
		fputc('\n', out);
	}
}

void output_size(char word[OUTPUT_WORD_BYTES], uint64_t bytes)
{
	static const char units[] = "BKMGTP";
	uint64_t unit = 1;
	size_t i = 0;

	while (bytes / unit >= 1024 && i + 2 < sizeof(units)) {
		unit *= 1024;
		i++;
	}
	if (bytes % unit == 0)
		snprintf(word, OUTPUT_WORD_BYTES, "%" PRIu64 "%c", bytes / unit, units[i]);
	else
		snprintf(word, OUTPUT_WORD_BYTES, "%.1f%c", (double)bytes / (double)unit, units[i]);
}

void output_duration(char word[OUTPUT_WORD_BYTES], uint64_t ms)
{
	uint64_t s = ms / 1000;

	if (s < 60)
		snprintf(word, OUTPUT_WORD_BYTES, "%" PRIu64 "s", s);
	else if (s < 3600)
		snprintf(word, OUTPUT_WORD_BYTES, "%" PRIu64 "m %" PRIu64 "s", s / 60, s % 60);
	else if (s < 86400)
		snprintf(word, OUTPUT_WORD_BYTES, "%" PRIu64 "h %" PRIu64 "m", s / 3600,
			 s / 60 % 60);
	else
		snprintf(word, OUTPUT_WORD_BYTES, "%" PRIu64 "d %" PRIu64 "h", s / 86400,
			 s / 3600 % 24);
}

void output_time(char word[OUTPUT_WORD_BYTES], uint64_t ms)
{
	if (ms < 1000)
		snprintf(word, OUTPUT_WORD_BYTES, "%" PRIu64 "ms", ms);
	else if (ms < 60000)
		snprintf(word, OUTPUT_WORD_BYTES, "%" PRIu64 ".%" PRIu64 "s", ms / 1000,
			 ms % 1000 / 100);
	else
		output_duration(word, ms);
}

void output_vlan(char text[OUTPUT_VLAN_BYTES], const json_t *vlan)
{
	const char *mode = output_get_text(vlan, "mode");
	const json_t *secondary = json_object_get(vlan, "secondary");

	if (json_object_get(vlan, "allowed"))
		snprintf(text, OUTPUT_VLAN_BYTES, "%.32s %.90s native %" PRIu64, mode,
			 output_get_text(vlan, "allowed"), output_get_number(vlan, "native"));
	else if (json_is_string(secondary))
		snprintf(text, OUTPUT_VLAN_BYTES, "%.32s %" PRIu64 ",%.90s", mode,
			 output_get_number(vlan, "primary"), json_string_value(secondary));
	else if (secondary)
		snprintf(text, OUTPUT_VLAN_BYTES, "%.32s %" PRIu64 ",%" PRIu64, mode,
			 output_get_number(vlan, "primary"), output_get_number(vlan, "secondary"));
	else if (json_object_get(vlan, "id"))
		snprintf(text, OUTPUT_VLAN_BYTES, "%.32s %" PRIu64, mode,
			 output_get_number(vlan, "id"));
	else
		snprintf(text, OUTPUT_VLAN_BYTES, "%.32s", mode);
}

static bool is_running(const json_t *vm)
{
	return strcmp(output_get_text(vm, "state"), "running") == 0;
}

struct list_row {
	char vps[OUTPUT_WORD_BYTES];
	char memory[OUTPUT_WORD_BYTES];
	char nics[OUTPUT_WORD_BYTES];
	char uptime[OUTPUT_WORD_BYTES];
};

static void fill_row(const json_t *vm, struct list_row *row, const char **cells)
{
	bool known = json_object_get(vm, "vps") != NULL;

	snprintf(row->vps, sizeof(row->vps), "%" PRIu64, output_get_number(vm, "vps"));
	output_size(row->memory, output_get_number(vm, "memory_bytes"));
	snprintf(row->nics, sizeof(row->nics), "%zu", json_array_size(json_object_get(vm, "nics")));
	output_duration(row->uptime, output_get_number(vm, "uptime_ms"));
	cells[0] = output_get_text(vm, "name");
	cells[1] = output_get_text(vm, "state");
	cells[2] = known ? row->vps : "-";
	cells[3] = known ? row->memory : "-";
	cells[4] = known ? row->nics : "-";
	cells[5] = is_running(vm) ? row->uptime : "-";
}

void output_vm_list(FILE *out, const json_t *vms)
{
	static const char *const heads[LIST_COLUMNS] = {"NAME",	  "STATE", "VPS",
							"MEMORY", "NICS",  "UPTIME"};
	size_t count = json_array_size(vms);
	const char **cells = calloc((count + 1) * LIST_COLUMNS, sizeof(*cells));
	struct list_row *rows = calloc(count + 1, sizeof(*rows));

	if (cells && rows) {
		memcpy(cells, heads, sizeof(heads));
		for (size_t i = 0; i < count; i++)
			fill_row(json_array_get(vms, i), &rows[i], cells + (i + 1) * LIST_COLUMNS);
		output_table(out, LIST_COLUMNS, cells, count + 1);
	}
	free(rows);
	free(cells);
}

__attribute__((format(printf, 3, 4))) static void sheet_line(FILE *out, const char *label,
							     const char *format, ...)
{
	char text[4200]; /* a path or a guest's command line fits */
	char shown[sizeof(text)];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	output_copy_printable(shown, sizeof(shown), text);
	fprintf(out, "%-*s %s\n", SHEET_LABEL_WIDTH, label, shown);
}

static void sheet_counters(FILE *out, const char *label, const json_t *stats, bool sent)
{
	static const char *const names[] = {"dropped", "spoofed", "malformed", "vlan"};
	const char *prefix = sent ? "tx" : "rx";
	char key[32], bytes[OUTPUT_WORD_BYTES], trouble[128] = "";
	uint64_t packets;
	size_t used = 0;

	for (size_t i = 0; i < ARRAY_LENGTH(names); i++) {
		snprintf(key, sizeof(key), "%s_%s", prefix, names[i]);
		if (output_get_number(stats, key) && used < sizeof(trouble))
			used += (size_t)snprintf(trouble + used, sizeof(trouble) - used,
						 ", %" PRIu64 " %s", output_get_number(stats, key),
						 names[i]);
	}
	snprintf(key, sizeof(key), "%s_bytes", prefix);
	output_size(bytes, output_get_number(stats, key));
	snprintf(key, sizeof(key), "%s_packets", prefix);
	packets = output_get_number(stats, key);
	sheet_line(out, label, "%" PRIu64 " packets, %s%s", packets, bytes, trouble);
}

static void sheet_vlan(FILE *out, const json_t *vlan)
{
	char text[OUTPUT_VLAN_BYTES];

	if (strcmp(output_get_text(vlan, "mode"), "default") == 0 || !vlan)
		return;
	output_vlan(text, vlan);
	sheet_line(out, "  vlan", "%s", text);
}

static void sheet_nic(FILE *out, const json_t *nic, size_t index, bool running)
{
	const json_t *stats = json_object_get(nic, "stats");
	uint64_t mtu = output_get_number(nic, "mtu");
	char label[32];

	snprintf(label, sizeof(label), "nic %zu", index);
	sheet_line(out, label, "%s", output_get_text(nic, "mac"));
	sheet_line(out, "  switch", "%s%s", output_get_text(nic, "switch"),
		   json_is_false(json_object_get(nic, "spoof_guard")) ? " (spoof guard off)" : "");
	sheet_vlan(out, json_object_get(nic, "vlan"));
	if (!running)
		return;
	sheet_line(out, "  link", "%s%s", output_get_text(nic, "link"),
		   json_is_true(json_object_get(nic, "rndis_up")) ? ", receiving" : "");
	sheet_line(out, "  nvsp", "%s, %" PRIu64 " of %" PRIu64 " channels, MTU %" PRIu64,
		   output_get_text(nic, "nvsp_version"), output_get_number(nic, "channels_open"),
		   output_get_number(nic, "queues_max"),
		   mtu ? mtu : output_get_number(nic, "mtu_max"));
	sheet_counters(out, "  sent", stats, true);
	sheet_counters(out, "  received", stats, false);
}

/* One that is under way, or the last one. */
static void sheet_move(FILE *out, const json_t *move)
{
	char line[512];

	if (!json_is_object(move))
		return;
	if (migration_phase_is_final(output_get_text(move, "phase"))) {
		migration_output_last(line, sizeof(line), move);
		sheet_line(out, "last move", "%s", line);
	} else {
		migration_output_now(line, sizeof(line), move);
		sheet_line(out, "moving", "%s %s: %s",
			   json_is_true(json_object_get(move, "incoming")) ? "from" : "to",
			   output_get_text(move, "peer"), line);
	}
}

void output_vm_sheet(FILE *out, const json_t *vm)
{
	const json_t *console = json_object_get(vm, "console");
	const json_t *vmbus = json_object_get(vm, "vmbus");
	const json_t *guest = json_object_get(vm, "guest");
	const json_t *nics = json_object_get(vm, "nics");
	bool running = is_running(vm);
	char word[OUTPUT_WORD_BYTES];

	sheet_line(out, "name", "%s", output_get_text(vm, "name"));
	sheet_line(out, "state", "%s", output_get_text(vm, "state"));
	if (json_is_string(json_object_get(vm, "reason")))
		sheet_line(out, "reason", "%s", output_get_text(vm, "reason"));
	sheet_move(out, json_object_get(vm, "migration"));
	if (!json_object_get(vm, "vps"))
		return;
	if (running) {
		output_duration(word, output_get_number(vm, "uptime_ms"));
		sheet_line(out, "uptime", "%s (%" PRIu64 " reboots)", word,
			   output_get_number(vm, "reboots"));
		sheet_line(out, "process", "%" PRIu64 " on %s", output_get_number(vm, "pid"),
			   output_get_text(vm, "engine"));
	}
	output_size(word, output_get_number(vm, "memory_bytes"));
	sheet_line(out, "vps", "%" PRIu64, output_get_number(vm, "vps"));
	sheet_line(out, "memory", "%s%s", word,
		   json_is_true(json_object_get(vm, "huge_pages")) ? " (huge pages)" : "");
	sheet_line(out, "kernel", "%s", output_get_text(vm, "kernel"));
	sheet_line(out, "initrd", "%s", output_get_text(vm, "initrd"));
	sheet_line(out, "cmdline", "%s", output_get_text(vm, "cmdline"));
	sheet_line(out, "console", "%s %s", output_get_text(console, "kind"),
		   output_get_text(console, "path"));
	if (running)
		sheet_line(out, "vmbus",
			   "%s, %" PRIu64 " of %" PRIu64 " channels open, %" PRIu64 " GPADLs",
			   output_get_text(vmbus, "version"),
			   output_get_number(vmbus, "channels_open"),
			   output_get_number(vmbus, "channels_offered"),
			   output_get_number(vmbus, "gpadls"));
	if (running)
		sheet_line(out, "guest", "heartbeat %s%s", output_get_text(guest, "heartbeat"),
			   json_is_true(json_object_get(guest, "shutdown_ready"))
				   ? ", takes shutdown requests"
				   : "");
	for (size_t i = 0; i < json_array_size(nics); i++)
		sheet_nic(out, json_array_get(nics, i), i, running);
	output_disk_sheet(out, json_object_get(vm, "disks"), running);
}
