/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Walks libyaml's events once. libyaml is lazy, so stopping at the first event that is out of
 * bounds also bounds the time and memory that a hostile text takes.
 */
#include "hypervisor/yaml_outline.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <yaml.h>

struct walk {
	struct yaml_outline *outline;
	unsigned int depth;
	bool is_mapping[YAML_OUTLINE_MAX_DEPTH + 1];
	bool value_next[YAML_OUTLINE_MAX_DEPTH + 1]; /* of a mapping: its next node is a value */
	int parent;			    /* the key of the top mapping that we are under */
	char inner[YAML_OUTLINE_KEY_BYTES]; /* the last key of a list's entry */
	int entry;			    /* of the list at depth 2 */
	unsigned int documents;
	size_t line;
	const char *problem;
};

static int walk_fail(struct walk *walk, const char *problem)
{
	walk->problem = problem;
	return -EINVAL;
}

/* A node begins: whoever holds it moves on. */
static void walk_note_node(struct walk *walk)
{
	if (walk->depth == 0)
		return;
	if (walk->is_mapping[walk->depth])
		walk->value_next[walk->depth] = !walk->value_next[walk->depth];
	else if (walk->depth == 2)
		walk->entry++;
}

static bool key_is(const struct yaml_outline_key *key, int parent, int entry, const char *name)
{
	return key->parent == parent && key->entry == entry &&
	       strncmp(key->key, name, sizeof(key->key) - 1) == 0;
}

/* Only the top mapping, the mappings in its lists, and mappings in those hold keys that we know;
 * the schema refuses the others. */
static int walk_key(struct walk *walk, const char *word)
{
	struct yaml_outline *outline = walk->outline;
	int parent = walk->depth == 1 ? -1 : walk->parent;
	int entry = walk->depth == 1 ? -1 : walk->entry;
	struct yaml_outline_key *key = &outline->keys[outline->key_count];
	char name[2 * YAML_OUTLINE_KEY_BYTES];

	if (walk->depth == 2 || walk->depth > 4)
		return 0;
	snprintf(name, sizeof(name), "%.*s", YAML_OUTLINE_KEY_BYTES, word);
	if (walk->depth == 4)
		snprintf(name, sizeof(name), "%s.%.*s", walk->inner, YAML_OUTLINE_KEY_BYTES - 1,
			 word);
	for (size_t i = 0; i < outline->key_count; i++)
		if (key_is(&outline->keys[i], parent, entry, name))
			return walk_fail(walk, "this key was given before; keep one of the two");
	if (outline->key_count == YAML_OUTLINE_MAX_KEYS)
		return walk_fail(walk,
				 "too many keys; this does not look like a VM's configuration");
	snprintf(key->key, sizeof(key->key), "%.*s", YAML_OUTLINE_KEY_BYTES - 1, name);
	if (walk->depth == 3)
		memcpy(walk->inner, key->key, sizeof(walk->inner));
	key->parent = parent;
	key->entry = entry;
	key->line = walk->line;
	if (walk->depth == 1)
		walk->parent = (int)outline->key_count;
	outline->key_count++;
	return 0;
}

static int walk_scalar(struct walk *walk, const yaml_event_t *event)
{
	const unsigned char *value = event->data.scalar.value;
	size_t length = event->data.scalar.length;
	int rc = 0;

	for (size_t i = 0; i < length; i++)
		if (value[i] < 0x20 || value[i] == 0x7f)
			return walk_fail(walk,
					 "a value must not hold control characters or line breaks");
	if (walk->depth > 0 && walk->is_mapping[walk->depth] && !walk->value_next[walk->depth])
		rc = walk_key(walk, (const char *)value);
	walk_note_node(walk);
	return rc;
}

static int walk_open(struct walk *walk, bool is_mapping)
{
	if (walk->depth > 0 && walk->is_mapping[walk->depth] && !walk->value_next[walk->depth])
		return walk_fail(walk, "a key must be a plain word");
	if (walk->depth == YAML_OUTLINE_MAX_DEPTH)
		return walk_fail(walk, "nested too deeply; docs/vm-yaml.md lists the keys");
	walk_note_node(walk);
	walk->depth++;
	walk->is_mapping[walk->depth] = is_mapping;
	walk->value_next[walk->depth] = false;
	if (!is_mapping && walk->depth == 2)
		walk->entry = -1;
	return 0;
}

static int walk_event(struct walk *walk, const yaml_event_t *event)
{
	walk->line = event->start_mark.line + 1;
	switch (event->type) {
	case YAML_DOCUMENT_START_EVENT:
		if (++walk->documents > 1)
			return walk_fail(walk,
					 "a second document begins here; one file holds one VM");
		return 0;
	case YAML_ALIAS_EVENT:
		return walk_fail(walk, "aliases (*name) are not supported; write the value out");
	case YAML_SCALAR_EVENT:
		if (event->data.scalar.anchor)
			return walk_fail(walk,
					 "anchors (&name) are not supported; write the value out");
		if (event->data.scalar.tag)
			return walk_fail(walk, "tags (!name) are not supported; leave the tag out");
		return walk_scalar(walk, event);
	case YAML_SEQUENCE_START_EVENT:
		if (event->data.sequence_start.anchor || event->data.sequence_start.tag)
			return walk_fail(walk,
					 "anchors and tags are not supported; leave them out");
		return walk_open(walk, false);
	case YAML_MAPPING_START_EVENT:
		if (event->data.mapping_start.anchor || event->data.mapping_start.tag)
			return walk_fail(walk,
					 "anchors and tags are not supported; leave them out");
		return walk_open(walk, true);
	case YAML_SEQUENCE_END_EVENT:
	case YAML_MAPPING_END_EVENT:
		walk->depth--;
		return 0;
	case YAML_STREAM_END_EVENT:
		if (walk->documents == 0)
			return walk_fail(
				walk,
				"the file is empty; it needs at least name, memory and kernel");
		return 0;
	case YAML_NO_EVENT:
	case YAML_STREAM_START_EVENT:
	case YAML_DOCUMENT_END_EVENT:
		return 0;
	}
	return walk_fail(walk, "not understood");
}

static int walk_parser_error(const yaml_parser_t *parser, size_t *line, char *message,
			     size_t message_bytes)
{
	if (parser->error == YAML_MEMORY_ERROR)
		return -ENOMEM;
	if (parser->error == YAML_READER_ERROR) {
		*line = parser->mark.line + 1;
		snprintf(message, message_bytes, "not a text in UTF-8 (%s at byte %zu)",
			 parser->problem ? parser->problem : "unreadable", parser->problem_offset);
		return -EINVAL;
	}
	*line = parser->problem_mark.line + 1;
	snprintf(message, message_bytes, "not valid YAML: %s%s%s",
		 parser->context ? parser->context : "", parser->context ? ": " : "",
		 parser->problem ? parser->problem : "syntax error");
	return -EINVAL;
}

int yaml_outline_read(const char *text, size_t length, struct yaml_outline *outline, size_t *line,
		      char *message, size_t message_bytes)
{
	struct walk walk = {.outline = outline, .parent = -1, .entry = -1};
	yaml_event_type_t type;
	yaml_parser_t parser;
	yaml_event_t event;
	int rc = 0;

	outline->key_count = 0;
	if (!yaml_parser_initialize(&parser))
		return -ENOMEM;
	yaml_parser_set_input_string(&parser, (const unsigned char *)text, length);
	do {
		if (!yaml_parser_parse(&parser, &event)) {
			rc = walk_parser_error(&parser, line, message, message_bytes);
			break;
		}
		type = event.type;
		rc = walk_event(&walk, &event);
		yaml_event_delete(&event);
		if (rc < 0) {
			*line = walk.line;
			snprintf(message, message_bytes, "%s", walk.problem);
		}
	} while (rc == 0 && type != YAML_STREAM_END_EVENT);
	yaml_parser_delete(&parser);
	return rc;
}

size_t yaml_outline_line(const struct yaml_outline *outline, const char *list, int entry,
			 const char *key)
{
	int parent = -1;

	for (size_t i = 0; list && i < outline->key_count; i++)
		if (key_is(&outline->keys[i], -1, -1, list))
			parent = (int)i;
	for (size_t i = 0; i < outline->key_count; i++)
		if (key_is(&outline->keys[i], parent, list ? entry : -1, key))
			return outline->keys[i].line;
	return 0;
}
