/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * See output_disk.h.
 */
#include "cli/output_disk.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/output.h"

#define COLUMNS	   6
#define PATH_BYTES 256

/* One row of the table. */
struct row {
	char id[OUTPUT_WORD_BYTES];
	char type[OUTPUT_WORD_BYTES];
	char format[OUTPUT_WORD_BYTES];
	char size[OUTPUT_WORD_BYTES];
	char state[2 * OUTPUT_WORD_BYTES];
	char path[PATH_BYTES];
};

static void place_of(char path[PATH_BYTES], const json_t *disk)
{
	const char *url = json_string_value(json_object_get(disk, "url"));

	output_copy_printable(path, PATH_BYTES, url ? url : output_get_text(disk, "path"));
}

static void row_fill(struct row *row, const json_t *disk)
{
	uint64_t bytes = output_get_number(disk, "size_bytes");
	char state[OUTPUT_WORD_BYTES];

	output_copy_printable(row->id, sizeof(row->id), output_get_text(disk, "id"));
	output_copy_printable(row->type, sizeof(row->type), output_get_text(disk, "type"));
	output_copy_printable(row->format, sizeof(row->format), output_get_text(disk, "format"));
	output_copy_printable(state, sizeof(state), output_get_text(disk, "state"));
	snprintf(row->state, sizeof(row->state), "%s%s", state,
		 json_is_true(json_object_get(disk, "read_only")) ? ", read-only" : "");
	place_of(row->path, disk);
	if (bytes)
		output_size(row->size, bytes);
	else
		snprintf(row->size, sizeof(row->size), "-");
}

void output_disk_list(FILE *out, const json_t *disks)
{
	static const char *const heads[COLUMNS] = {"ID", "TYPE", "FORMAT", "SIZE", "STATE", "PATH"};
	size_t count = json_array_size(disks);
	struct row *rows = calloc(count ? count : 1, sizeof(*rows));
	const char **cells = calloc((count + 1) * COLUMNS, sizeof(*cells));

	if (rows && cells) {
		memcpy(cells, heads, sizeof(heads));
		for (size_t i = 0; i < count; i++) {
			const char **row = cells + (i + 1) * COLUMNS;

			row_fill(&rows[i], json_array_get(disks, i));
			row[0] = rows[i].id;
			row[1] = rows[i].type;
			row[2] = rows[i].format;
			row[3] = rows[i].size;
			row[4] = rows[i].state;
			row[5] = rows[i].path;
		}
		output_table(out, COLUMNS, cells, count + 1);
	}
	free(cells);
	free(rows);
}

static void counters_print(FILE *out, const json_t *stats)
{
	char read_size[OUTPUT_WORD_BYTES], written_size[OUTPUT_WORD_BYTES];
	uint64_t errors = output_get_number(stats, "errors");

	output_size(read_size, output_get_number(stats, "read_bytes"));
	output_size(written_size, output_get_number(stats, "written_bytes"));
	fprintf(out, "%-12s %" PRIu64 " reads, %s; %" PRIu64 " writes, %s", "  done",
		output_get_number(stats, "reads"), read_size, output_get_number(stats, "writes"),
		written_size);
	if (errors)
		fprintf(out, "; %" PRIu64 " errors", errors);
	fprintf(out, "\n");
}

void output_disk_sheet(FILE *out, const json_t *disks, bool running)
{
	const json_t *disk;
	size_t i;

	json_array_foreach(disks, i, disk)
	{
		char label[2 * OUTPUT_WORD_BYTES];
		struct row row;

		row_fill(&row, disk);
		snprintf(label, sizeof(label), "%s %s", row.type, row.id);
		fprintf(out, "%-12s %s\n", label, row.path);
		fprintf(out, "%-12s %s, %s, %s\n", "  image", row.format, row.size, row.state);
		if (running)
			counters_print(out, json_object_get(disk, "stats"));
	}
}
