/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lunar vlan: shows the VLAN modes of VMs' NICs, and changes one. A VM that runs does it itself; of
 * one that does not, the stored definition is changed.
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "cli/api_client.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/vm_store.h"
#include "hypervisor/vm_definition.h"
#include "hypervisor/vm_paths.h"

#define API_ANSWER_MS 5000
#define COLUMNS	      6

/* ---- show ---- */

struct vlan_row {
	char nic[OUTPUT_WORD_BYTES];
	char vlan[OUTPUT_VLAN_BYTES];
	char sent_dropped[OUTPUT_WORD_BYTES];
	char received_dropped[OUTPUT_WORD_BYTES];
};

static void fill_row(const json_t *nic, struct vlan_row *row, const char **cells)
{
	const json_t *stats = json_object_get(nic, "stats");

	snprintf(row->nic, sizeof(row->nic), "%llu",
		 (unsigned long long)output_get_number(nic, "nic"));
	output_vlan(row->vlan, json_object_get(nic, "vlan"));
	snprintf(row->sent_dropped, sizeof(row->sent_dropped), "%llu",
		 (unsigned long long)output_get_number(stats, "tx_vlan"));
	snprintf(row->received_dropped, sizeof(row->received_dropped), "%llu",
		 (unsigned long long)output_get_number(stats, "rx_vlan"));
	cells[0] = output_get_text(nic, "name");
	cells[1] = row->nic;
	cells[2] = output_get_text(nic, "mac");
	cells[3] = row->sent_dropped;
	cells[4] = row->received_dropped;
	cells[5] = row->vlan;
}

/* nics: an array of objects, as below. */
static void print_table(FILE *out, const json_t *nics)
{
	static const char *const heads[COLUMNS] = {"VM",	 "NIC",	       "MAC",
						   "SENT BADLY", "NOT FOR IT", "VLAN MODE"};
	size_t count = json_array_size(nics);
	const char **cells = calloc((count + 1) * COLUMNS, sizeof(*cells));
	struct vlan_row *rows = calloc(count + 1, sizeof(*rows));

	if (cells && rows) {
		memcpy(cells, heads, sizeof(heads));
		for (size_t i = 0; i < count; i++)
			fill_row(json_array_get(nics, i), &rows[i], cells + (i + 1) * COLUMNS);
		output_table(out, COLUMNS, cells, count + 1);
	}
	free(rows);
	free(cells);
}

/* The NICs of one VM as {"name", "nic", "mac", "vlan", "stats"}. */
static void add_nics(json_t *to, const char *name, const json_t *vm)
{
	const json_t *nics = json_object_get(vm, "nics");

	for (size_t i = 0; i < json_array_size(nics); i++) {
		const json_t *nic = json_array_get(nics, i);
		json_t *vlan = json_object_get(nic, "vlan");
		json_t *row =
			json_pack("{ss sI ss sO? so}", "name", name, "nic", (json_int_t)i, "mac",
				  output_get_text(nic, "mac"), "vlan", vlan, "stats",
				  json_pack("{sI sI}", "tx_vlan",
					    (json_int_t)output_get_number(
						    json_object_get(nic, "stats"), "tx_vlan"),
					    "rx_vlan",
					    (json_int_t)output_get_number(
						    json_object_get(nic, "stats"), "rx_vlan")));

		json_array_append_new(to, row);
	}
}

/* name: NULL for all VMs. */
static enum exit_code show(const struct command_context *context, const char *name,
			   struct cli_error *error)
{
	struct vm_names names = {0};
	json_t *nics = json_array(), *vm = NULL;
	enum exit_code code =
		name ? vm_store_check_name(name, error) : vm_store_list(true, &names, error);

	if (code == EXIT_OK && name) {
		code = command_look_at(name, &vm, error);
		add_nics(nics, name, vm);
		json_decref(vm);
	}
	for (size_t i = 0; code == EXIT_OK && i < names.count; i++) {
		vm = NULL;
		code = command_look_at(names.names[i], &vm, error);
		if (code == EXIT_NOT_FOUND) /* it has just gone */
			code = EXIT_OK;
		add_nics(nics, names.names[i], vm);
		json_decref(vm);
	}
	vm_names_free(&names);
	if (code == EXIT_OK && context->options->json)
		return command_print_json(context, nics, error);
	if (code == EXIT_OK)
		print_table(context->out, nics);
	json_decref(nics);
	return code;
}

/* ---- change ---- */

static json_t *change_body(uint32_t nic, const struct vlan_config *vlan)
{
	const char *mode = vlan_mode_name(vlan->mode);
	json_t *body = json_pack("{sI ss}", "nic", (json_int_t)nic, "mode", mode);
	bool private = vlan->mode == VLAN_ISOLATED || vlan->mode == VLAN_COMMUNITY ||
		       vlan->mode == VLAN_PROMISCUOUS;
	char list[512];

	vlan_set_format(&vlan->list, list, sizeof(list));
	if (vlan->mode == VLAN_ACCESS)
		json_object_set_new(body, "id", json_integer(vlan->id));
	if (vlan->mode == VLAN_TRUNK) {
		json_object_set_new(body, "native", json_integer(vlan->id));
		json_object_set_new(body, "allowed", json_string(list));
	}
	if (private)
		json_object_set_new(body, "primary", json_integer(vlan->id));
	if (private)
		json_object_set_new(body, "secondary",
				    vlan->secondary ? json_integer(vlan->secondary)
						    : json_string(list));
	return body;
}

static enum exit_code change_running(const char *name, uint32_t nic, const struct vlan_config *vlan,
				     bool *stored, struct cli_error *error)
{
	json_t *body = change_body(nic, vlan), *answer = NULL;
	enum exit_code code = api_put(name, "/vlan", body, API_ANSWER_MS, &answer, error);

	json_decref(body);
	*stored = json_is_true(json_object_get(answer, "stored"));
	json_decref(answer);
	return code;
}

static enum exit_code change_text(const char *name, const char *text, size_t length, uint32_t nic,
				  const struct vlan_config *vlan, struct cli_error *error)
{
	char *changed = NULL;
	size_t changed_length = 0;
	int result = vm_definition_set_vlan(text, length, nic, vlan, &changed, &changed_length,
					    error->message, sizeof(error->message));

	if (result)
		return result == -ENOMEM ? EXIT_NO_MEMORY : EXIT_CONFIG;
	result = vm_definition_store(name, text, length, changed, changed_length);
	free(changed);
	if (result == -ENOENT)
		return cli_error_set(error, EXIT_STATE,
				     "%s: its definition was changed by somebody else just now; "
				     "try again",
				     name);
	if (result)
		return cli_error_set(
			error,
			result == -EACCES || result == -EPERM ? EXIT_PERMISSION : EXIT_INTERNAL,
			"%s: its definition cannot be written: %s", name, strerror(-result));
	return EXIT_OK;
}

static enum exit_code change_stopped(const char *name, uint32_t nic, const struct vlan_config *vlan,
				     struct cli_error *error)
{
	struct vm_config *config = NULL;
	enum exit_code code = vm_store_load(name, &config, error);
	bool exists = config && nic < config->nic_count;
	char path[PATH_MAX];
	size_t length = 0;
	char *text = NULL;

	vm_config_free(config);
	if (code != EXIT_OK)
		return code;
	if (!exists)
		return cli_error_set(error, EXIT_NOT_FOUND, "%s has no NIC %u", name, nic);
	if (vm_path(VM_PATH_DEFINITION, name, path, sizeof(path)) ||
	    vm_config_read(path, &text, &length, error->message, sizeof(error->message)))
		return EXIT_CONFIG;
	code = change_text(name, text, length, nic, vlan, error);
	free(text);
	return code;
}

static enum exit_code change(const struct command_context *context, const char *name,
			     struct cli_error *error)
{
	const struct options *options = context->options;
	enum exit_code code = vm_store_check_name(name, error);
	bool running = true, stored = true;
	char text[VLAN_TEXT_BYTES];
	pid_t pid;

	if (code == EXIT_OK)
		code = api_find_process(name, &pid, error);
	if (code == EXIT_STATE) {
		running = false;
		code = change_stopped(name, options->nic, &options->vlan, error);
	} else if (code == EXIT_OK) {
		code = change_running(name, options->nic, &options->vlan, &stored, error);
	}
	if (code != EXIT_OK)
		return code;
	vlan_config_format(&options->vlan, text);
	if (context->options->json)
		return command_print_json(context,
					  json_pack("{ss si ss sb sb}", "name", name, "nic",
						    (int)options->nic, "vlan", text, "running",
						    running, "stored", stored),
					  error);
	fprintf(context->out, "%s: nic %u: %s%s\n", name, options->nic, text,
		running ? "" : ", from its next start on");
	if (!stored)
		fprintf(context->err,
			"The stored definition is not this VM's, or cannot be written: it has "
			"not been changed.\n");
	return EXIT_OK;
}

enum exit_code command_vlan(const struct command_context *context, struct cli_error *error)
{
	const struct options *options = context->options;

	if (strcmp(options->argument, "show") == 0)
		return show(context, options->argument_count > 1 ? options->arguments[1] : NULL,
			    error);
	return options->has_vlan ? change(context, options->argument, error)
				 : show(context, options->argument, error);
}
