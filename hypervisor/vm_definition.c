/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Finds the place by libyaml's marks, puts the new value there, and reads the result as a check: a
 * way of writing YAML that this does not foresee ends as a refusal, not as a broken file.
 */
#include "hypervisor/vm_definition.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <yaml.h>

#include "hypervisor/vm_config.h"
#include "hypervisor/vm_paths.h"

#define LIST_TEXT_BYTES 400 /* more ranges than that do not fit a line */

/* Where the value goes. */
struct place {
	bool found;
	bool replaces; /* a value that is there already */
	bool in_flow;  /* of a mapping in braces; empty: one without a key */
	bool empty;
	size_t from; /* bytes of the text */
	size_t to;
	size_t column; /* of the first key of a mapping that is not in braces */
};

char *vm_definition_vlan_text(const struct vlan_config *vlan, char text[VM_DEFINITION_VLAN_BYTES])
{
	const char *mode = vlan_mode_name(vlan->mode);
	char list[LIST_TEXT_BYTES];

	vlan_set_format(&vlan->list, list, sizeof(list));
	switch (vlan->mode) {
	case VLAN_ACCESS:
		snprintf(text, VM_DEFINITION_VLAN_BYTES, "{mode: %s, id: %u}", mode, vlan->id);
		break;
	case VLAN_TRUNK:
		snprintf(text, VM_DEFINITION_VLAN_BYTES, "{mode: %s, allowed: \"%s\", native: %u}",
			 mode, list, vlan->id);
		break;
	case VLAN_ISOLATED:
	case VLAN_COMMUNITY:
		snprintf(text, VM_DEFINITION_VLAN_BYTES, "{mode: %s, primary: %u, secondary: %u}",
			 mode, vlan->id, vlan->secondary);
		break;
	case VLAN_PROMISCUOUS:
		snprintf(text, VM_DEFINITION_VLAN_BYTES,
			 "{mode: %s, primary: %u, secondary: \"%s\"}", mode, vlan->id, list);
		break;
	default:
		snprintf(text, VM_DEFINITION_VLAN_BYTES, "{mode: %s}", mode);
		break;
	}
	return text;
}

/* ---- a text as libyaml's tree of nodes ---- */

static const char *node_text(const yaml_node_t *node)
{
	return node && node->type == YAML_SCALAR_NODE ? (const char *)node->data.scalar.value : "";
}

/* The value of a mapping's key, or NULL. */
static yaml_node_t *find_value(yaml_document_t *document, const yaml_node_t *mapping,
			       const char *key)
{
	if (!mapping || mapping->type != YAML_MAPPING_NODE)
		return NULL;
	for (const yaml_node_pair_t *pair = mapping->data.mapping.pairs.start;
	     pair < mapping->data.mapping.pairs.top; pair++) {
		if (strcmp(node_text(yaml_document_get_node(document, pair->key)), key) == 0)
			return yaml_document_get_node(document, pair->value);
	}
	return NULL;
}

static yaml_node_t *find_nic(yaml_document_t *document, size_t nic)
{
	const yaml_node_t *nics =
		find_value(document, yaml_document_get_root_node(document), "nics");
	const yaml_node_item_t *item;

	if (!nics || nics->type != YAML_SEQUENCE_NODE)
		return NULL;
	item = nics->data.sequence.items.start + nic;
	return item < nics->data.sequence.items.top ? yaml_document_get_node(document, *item)
						    : NULL;
}

/* The end of a mapping without braces is told as where the next thing begins. Its own end is that
 * of its last value. */
static size_t value_end(yaml_document_t *document, const yaml_node_t *node)
{
	const yaml_node_pair_t *last;

	if (node->type != YAML_MAPPING_NODE ||
	    node->data.mapping.style == YAML_FLOW_MAPPING_STYLE ||
	    node->data.mapping.pairs.top == node->data.mapping.pairs.start)
		return node->end_mark.index;
	last = node->data.mapping.pairs.top - 1;
	return yaml_document_get_node(document, last->value)->end_mark.index;
}

static void find_place(yaml_document_t *document, size_t nic, struct place *place)
{
	const yaml_node_t *mapping = find_nic(document, nic);
	const yaml_node_t *value = find_value(document, mapping, "vlan");
	const yaml_node_t *first;

	if (!mapping || mapping->type != YAML_MAPPING_NODE)
		return;
	place->found = true;
	place->in_flow = mapping->data.mapping.style == YAML_FLOW_MAPPING_STYLE;
	if (value) {
		place->replaces = true;
		place->from = value->start_mark.index;
		place->to = value_end(document, value);
		return;
	}
	place->empty = mapping->data.mapping.pairs.top == mapping->data.mapping.pairs.start;
	place->from = mapping->start_mark.index + place->in_flow; /* behind the brace */
	if (!place->empty && !place->in_flow) {
		first = yaml_document_get_node(document, mapping->data.mapping.pairs.start->key);
		place->from = first->start_mark.index;
		place->column = first->start_mark.column;
	}
	place->to = place->from;
}

/* libyaml counts characters, the text has bytes. Returns length where there are not so many. */
static size_t byte_offset(const char *text, size_t length, size_t characters)
{
	size_t at = 0;

	while (at < length && characters > 0) {
		at++;
		while (at < length && ((unsigned char)text[at] & 0xc0) == 0x80)
			at++;
		characters--;
	}
	return at;
}

static int load_place(const char *text, size_t length, size_t nic, struct place *place)
{
	yaml_document_t document;
	yaml_parser_t parser;
	int rc = 0;

	if (!yaml_parser_initialize(&parser))
		return -ENOMEM;
	yaml_parser_set_input_string(&parser, (const unsigned char *)text, length);
	if (yaml_parser_load(&parser, &document)) {
		find_place(&document, nic, place);
		yaml_document_delete(&document);
	}
	if (!place->found)
		rc = parser.error == YAML_MEMORY_ERROR ? -ENOMEM : -EINVAL;
	yaml_parser_delete(&parser);
	place->from = byte_offset(text, length, place->from);
	place->to = byte_offset(text, length, place->to);
	return rc;
}

/* ---- */

/* The result must be what was meant. */
static int verify(const char *text, size_t length, size_t nic, const struct vlan_config *vlan,
		  char *message, size_t message_bytes)
{
	struct vm_config *config = NULL;
	int rc = vm_config_parse("the changed definition", text, length, &config, message,
				 message_bytes);

	if (rc)
		return rc;
	if (nic >= config->nic_count || !vlan_config_is_equal(&config->nics[nic].vlan, vlan)) {
		snprintf(message, message_bytes,
			 "the definition is written in a way that cannot be changed in place");
		rc = -EINVAL;
	}
	vm_config_free(config);
	return rc;
}

int vm_definition_set_vlan(const char *text, size_t length, size_t nic,
			   const struct vlan_config *vlan, char **out, size_t *out_length,
			   char *message, size_t message_bytes)
{
	char value[VM_DEFINITION_VLAN_BYTES];
	struct place place = {0};
	char *made = NULL;
	size_t made_length = 0;
	FILE *stream;
	int rc = load_place(text, length, nic, &place);

	snprintf(message, message_bytes, "nics[%zu] is not found in the definition", nic);
	if (rc)
		return rc;
	vm_definition_vlan_text(vlan, value);
	stream = open_memstream(&made, &made_length);
	if (!stream)
		return -ENOMEM;
	fwrite(text, 1, place.from, stream);
	if (place.replaces)
		/* A key without a value ends with its colon. */
		fprintf(stream, "%s%s", place.to == place.from ? " " : "", value);
	else if (place.in_flow)
		fprintf(stream, "vlan: %s%s", value, place.empty ? "" : ", ");
	else
		fprintf(stream, "vlan: %s\n%*s", value, (int)place.column, "");
	fwrite(text + place.to, 1, length - place.to, stream);
	rc = ferror(stream) ? -ENOMEM : 0;
	if (fclose(stream) != 0)
		rc = -ENOMEM;
	rc = rc ? rc : verify(made, made_length, nic, vlan, message, message_bytes);
	if (rc) {
		free(made);
		return rc;
	}
	*out = made;
	*out_length = made_length;
	return 0;
}

/* ---- the stored one ---- */

static bool is_stored(const char *path, const char *text, size_t length)
{
	char message[VM_CONFIG_MESSAGE_BYTES];
	size_t stored_length = 0;
	char *stored = NULL;
	bool same;

	if (vm_config_read(path, &stored, &stored_length, message, sizeof(message)))
		return false;
	same = stored_length == length && memcmp(stored, text, length) == 0;
	free(stored);
	return same;
}

static int write_all(int fd, const char *text, size_t length)
{
	while (length > 0) {
		ssize_t put = write(fd, text, length);

		if (put < 0 && errno != EINTR)
			return -errno;
		text += put > 0 ? put : 0;
		length -= put > 0 ? (size_t)put : 0;
	}
	return fsync(fd) < 0 ? -errno : 0;
}

static int sync_folder_of(char *path)
{
	int fd, rc;

	*strrchr(path, '/') = '\0';
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	rc = fd < 0 || fsync(fd) < 0 ? -errno : 0;
	if (fd >= 0)
		close(fd);
	return rc;
}

int vm_definition_store(const char *vm, const char *old, size_t old_length, const char *text,
			size_t length)
{
	char path[PATH_MAX], beside[PATH_MAX];
	int rc = vm_path(VM_PATH_DEFINITION, vm, path, sizeof(path));
	int fd;

	if (rc)
		return rc;
	if (!is_stored(path, old, old_length))
		return -ENOENT;
	/* The name of a VM does not begin with a dot. */
	if (snprintf(beside, sizeof(beside), "%s/vms/.changed-XXXXXX", vm_paths_state_dir()) >=
	    (int)sizeof(beside))
		return -ENAMETOOLONG;
	fd = mkostemp(beside, O_CLOEXEC);
	if (fd < 0)
		return -errno;
	rc = write_all(fd, text, length);
	close(fd);
	if (!rc && rename(beside, path) < 0)
		rc = -errno;
	if (rc) {
		unlink(beside);
		return rc;
	}
	return sync_folder_of(path);
}
