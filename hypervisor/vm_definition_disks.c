/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Replaces the lines of `disks`, from its key to the next key of the top mapping, and reads the
 * result as a check: a way of writing YAML that this does not foresee ends as a refusal, not as a
 * broken file.
 */
#include "hypervisor/vm_definition_disks.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hypervisor/vm_config.h"
#include "hypervisor/yaml_outline.h"

/* The bytes of the text that go. */
struct block {
	size_t from;
	size_t to;
};

/* ---- where ---- */

/* The offset of a line (from 1); length where there are not so many. */
static size_t line_offset(const char *text, size_t length, size_t line)
{
	size_t at = 0;

	for (; line > 1 && at < length; line--) {
		const char *end = memchr(text + at, '\n', length - at);

		at = end ? (size_t)(end - text) + 1 : length;
	}
	return at;
}

/* Blank, or a comment that is not indented: it belongs to what follows. */
static bool line_is_idle(const char *text, size_t from, size_t to)
{
	if (text[from] == '#')
		return true;
	while (from < to && strchr(" \t\r\n", text[from]))
		from++;
	return from == to;
}

/* The start of the idle lines that end at an offset. */
static size_t idle_start(const char *text, size_t floor, size_t at)
{
	while (at > floor) {
		size_t line = at - 1;

		while (line > floor && text[line - 1] != '\n')
			line--;
		if (!line_is_idle(text, line, at))
			break;
		at = line;
	}
	return at;
}

/* Where the document ends: before a line of "..." alone, or with the text. */
static size_t document_end(const char *text, size_t length)
{
	for (size_t at = 0; at < length;) {
		const char *end = memchr(text + at, '\n', length - at);

		if (length - at >= 3 && memcmp(text + at, "...", 3) == 0)
			return at;
		at = end ? (size_t)(end - text) + 1 : length;
	}
	return length;
}

/* Every key of the top mapping begins a line; where they are in braces there is no place. */
static bool keys_begin_lines(const char *text, size_t length, const struct yaml_outline *outline)
{
	for (size_t i = 0; i < outline->key_count; i++) {
		const struct yaml_outline_key *key = &outline->keys[i];
		size_t at;

		if (key->parent >= 0)
			continue;
		at = line_offset(text, length, key->line);
		if (at < length && (text[at] == '"' || text[at] == '\''))
			at++;
		if (length - at < strlen(key->key) ||
		    memcmp(text + at, key->key, strlen(key->key)) != 0)
			return false;
	}
	return true;
}

static int block_find(const char *text, size_t length, struct block *block, char *message,
		      size_t message_bytes)
{
	struct yaml_outline *outline = malloc(sizeof(*outline));
	size_t line = 0, next = 0, end;
	int rc = outline ? yaml_outline_read(text, length, outline, &line, message, message_bytes)
			 : -ENOMEM;

	if (!rc && !keys_begin_lines(text, length, outline)) {
		snprintf(message, message_bytes,
			 "the definition is written in a way that cannot be changed in place");
		rc = -EINVAL;
	}
	if (rc) {
		free(outline);
		return rc;
	}
	end = document_end(text, length);
	line = yaml_outline_line(outline, NULL, -1, "disks");
	for (size_t i = 0; line && i < outline->key_count; i++)
		if (outline->keys[i].parent < 0 && outline->keys[i].line > line &&
		    (!next || outline->keys[i].line < next))
			next = outline->keys[i].line;
	free(outline);
	block->from = line ? line_offset(text, length, line) : end;
	block->to = next ? line_offset(text, length, next) : end;
	if (line)
		block->to = idle_start(text, line_offset(text, length, line + 1), block->to);
	return 0;
}

/* ---- what ---- */

static void quoted_write(FILE *stream, const char *key, const char *value)
{
	fprintf(stream, "%s: \"", key);
	for (; *value; value++)
		fprintf(stream, "%s%c", *value == '"' || *value == '\\' ? "\\" : "", *value);
	fprintf(stream, "\"\n");
}

static void disk_write(FILE *stream, const struct vm_disk_config *disk)
{
	const char *lead = "  - ";

	if (disk->path) {
		fputs(lead, stream);
		quoted_write(stream, disk->is_url ? "url" : "path", disk->path);
		lead = "    ";
	}
	if (disk->dvd) {
		fprintf(stream, "%stype: dvd\n", lead);
		lead = "    ";
	} else if (disk->format != DISK_FORMAT_AUTO) {
		fprintf(stream, "    format: %s\n", disk_format_name(disk->format));
	}
	if (disk->controller)
		fprintf(stream, "    controller: %u\n", disk->controller);
	fprintf(stream, "    lun: %u\n", disk->lun);
	if (disk->read_only && !disk->dvd)
		fprintf(stream, "    read_only: true\n");
	if (disk->cache == DISK_CACHE_WRITEBACK)
		fprintf(stream, "    cache: writeback\n");
	if (disk->pass_through)
		fprintf(stream, "    passthrough: true\n");
	if (disk->initiator) {
		fputs("    ", stream);
		quoted_write(stream, "initiator", disk->initiator);
	}
	if (disk->secret) {
		fputs("    ", stream);
		quoted_write(stream, "secret", disk->secret);
	}
}

static bool disk_is_equal(const struct vm_disk_config *a, const struct vm_disk_config *b)
{
	return vm_disk_config_opens_same(a, b) && a->controller == b->controller &&
	       a->lun == b->lun;
}

/* The result must be what was meant. */
static int verify(const char *text, size_t length, const struct vm_disk_config *disks, size_t count,
		  char *message, size_t message_bytes)
{
	struct vm_config *config = NULL;
	int rc = vm_config_parse("the changed definition", text, length, &config, message,
				 message_bytes);
	bool equal;

	if (rc)
		return rc;
	equal = config->disk_count == count;
	for (size_t i = 0; equal && i < count; i++)
		equal = disk_is_equal(&config->disks[i], &disks[i]);
	vm_config_free(config);
	if (equal)
		return 0;
	snprintf(message, message_bytes,
		 "the definition is written in a way that cannot be changed in place");
	return -EINVAL;
}

int vm_definition_set_disks(const char *text, size_t length, const struct vm_disk_config *disks,
			    size_t count, char **out, size_t *out_length, char *message,
			    size_t message_bytes)
{
	struct block block = {0};
	char *made = NULL;
	size_t made_length = 0;
	FILE *stream;
	int rc = block_find(text, length, &block, message, message_bytes);

	if (rc)
		return rc;
	stream = open_memstream(&made, &made_length);
	if (!stream)
		return -ENOMEM;
	fwrite(text, 1, block.from, stream);
	if (count && block.from && text[block.from - 1] != '\n')
		fputc('\n', stream);
	if (count)
		fputs("disks:\n", stream);
	for (size_t i = 0; i < count; i++)
		disk_write(stream, &disks[i]);
	fwrite(text + block.to, 1, length - block.to, stream);
	rc = ferror(stream) ? -ENOMEM : 0;
	if (fclose(stream) != 0)
		rc = -ENOMEM;
	rc = rc ? rc : verify(made, made_length, disks, count, message, message_bytes);
	if (rc) {
		free(made);
		return rc;
	}
	*out = made;
	*out_length = made_length;
	return 0;
}
