/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lunar disk. Of a VM that runs, its vmwp changes the disks, for the guest and in the definition;
 * of one that does not, the stored definition is changed. Either way the disk is the same after the
 * next start.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/deadline.h"
#include "cli/api_client.h"
#include "cli/commands.h"
#include "cli/option_values.h"
#include "cli/output.h"
#include "cli/output_disk.h"
#include "cli/vm_store.h"
#include "hypervisor/vm_config.h"
#include "hypervisor/vm_definition.h"
#include "hypervisor/vm_definition_disks.h"
#include "hypervisor/vm_paths.h"
#include "hypervisor/vm_report_disks.h"

#define ANSWER_MS      5000
#define CHANGE_MS      25000 /* vmwp gives it 20 s: a share or a target may be slow */
#define POLL_US	       20000
#define MAX_SIZE_BYTES (UINT64_C(1) << 50)
#define URL_SCHEME     "iscsi://"
#define ID_BYTES       16

/* One call of the command. */
struct disk_job {
	const struct command_context *context;
	const struct options *options;
	const char *name;
	uint32_t controller, lun;
	char id[ID_BYTES]; /* "0:1" */
	bool runs;
};

/* ---- arguments ---- */

/* "0:1", or "1" for "0:1". */
static enum exit_code place_read(struct disk_job *job, const char *text, struct cli_error *error)
{
	const char *colon = strchr(text, ':');
	char first[8] = "0";
	enum exit_code code = EXIT_OK;

	if (colon && (size_t)(colon - text) < sizeof(first)) {
		memcpy(first, text, (size_t)(colon - text));
		first[colon - text] = '\0';
	}
	code = option_read_number("disk: CONTROLLER", first, 0, VM_MAX_CONTROLLERS - 1, "",
				  &job->controller, error);
	if (code == EXIT_OK)
		code = option_read_number("disk: LUN", colon ? colon + 1 : text, 0, VM_MAX_LUNS - 1,
					  "", &job->lun, error);
	snprintf(job->id, sizeof(job->id), "%u:%u", job->controller, job->lun);
	return code;
}

/* What is no URL is a file of this shell's folder. */
static char *path_make(const char *text)
{
	char *folder, *path = NULL;

	if (*text == '/' || strncmp(text, URL_SCHEME, strlen(URL_SCHEME)) == 0)
		return strdup(text);
	folder = get_current_dir_name();
	if (folder && asprintf(&path, "%s/%s", folder, text) < 0)
		path = NULL;
	free(folder);
	return path;
}

/* The disk to add, with the keys of a definition; the place too where it was given. */
static enum exit_code disk_make(struct disk_job *job, json_t **disk, struct cli_error *error)
{
	const struct options *options = job->options;
	const char *image = options->argument_count > 2 ? options->arguments[2] : NULL;
	char *path = image ? path_make(image) : NULL;
	bool is_url = path && *path != '/';

	*disk = json_pack("{s:s*, s:s*, s:s*, s:s*, s:s*, s:s*, s:s*}", "path",
			  is_url ? NULL : path, "url", is_url ? path : NULL, "type",
			  options->disk.dvd ? "dvd" : NULL, "format", options->disk.format, "cache",
			  options->disk.cache, "initiator", options->disk.initiator, "secret",
			  options->disk.secret);
	free(path);
	if (!*disk)
		return cli_error_set(error, EXIT_USAGE, "disk add: a value is not UTF-8");
	if (options->disk.read_only)
		json_object_set_new(*disk, "read_only", json_true());
	if (options->disk.passthrough)
		json_object_set_new(*disk, "passthrough", json_true());
	if (!options->disk.lun)
		return EXIT_OK;
	if (place_read(job, options->disk.lun, error) != EXIT_OK) {
		json_decref(*disk);
		return EXIT_USAGE;
	}
	json_object_set_new(*disk, "controller", json_integer(job->controller));
	json_object_set_new(*disk, "lun", json_integer(job->lun));
	return EXIT_OK;
}

/* ---- what a VM has ---- */

static enum exit_code disks_of_definition(const struct disk_job *job, json_t **disks,
					  struct cli_error *error)
{
	const struct vm_status nothing = {.state = VM_STATE_CREATED};
	struct vm_config *config = NULL;
	enum exit_code code = vm_store_load(job->name, &config, error);

	if (code != EXIT_OK)
		return code;
	*disks = vm_report_disks_json(config, &nothing);
	vm_config_free(config);
	return *disks ? EXIT_OK : cli_error_set(error, EXIT_INTERNAL, "out of memory");
}

static enum exit_code disks_get(const struct disk_job *job, json_t **disks, struct cli_error *error)
{
	json_t *answer = NULL;
	enum exit_code code;

	if (!job->runs)
		return disks_of_definition(job, disks, error);
	code = api_get(job->name, "/disks", ANSWER_MS, &answer, error);
	if (code != EXIT_OK)
		return code;
	*disks = json_incref(json_object_get(answer, "disks"));
	json_decref(answer);
	if (json_is_array(*disks))
		return EXIT_OK;
	json_decref(*disks);
	return cli_error_set(error, EXIT_INTERNAL, "%s: the API tells no disks", job->name);
}

/* NULL where there is none of that id; borrowed. */
static const json_t *disk_find(const json_t *disks, const char *id)
{
	const json_t *disk;
	size_t i;

	json_array_foreach(disks, i,
			   disk) if (strcmp(output_get_text(disk, "id"), id) == 0) return disk;
	return NULL;
}

static enum exit_code list(const struct disk_job *job, struct cli_error *error)
{
	json_t *disks = NULL;
	enum exit_code code = disks_get(job, &disks, error);

	if (code != EXIT_OK)
		return code;
	if (job->options->json)
		return command_print_json(job->context, disks, error);
	if (json_array_size(disks))
		output_disk_list(job->context->out, disks);
	else
		fprintf(job->context->err, "%s has no disk; lunar disk add %s FILE adds one.\n",
			job->name, job->name);
	json_decref(disks);
	return EXIT_OK;
}

/* ---- a VM that runs ---- */

/* Waits until the disk's state is none of those that pass. gone: until there is no such disk. */
static enum exit_code change_await(const struct disk_job *job, bool gone, struct cli_error *error)
{
	struct deadline deadline = deadline_in_ms(job->options->timeout_s * 1000);
	enum exit_code code;

	for (;;) {
		json_t *disks = NULL;
		const json_t *disk;
		bool pending;

		code = disks_get(job, &disks, error);
		if (code != EXIT_OK)
			return code;
		disk = disk_find(disks, job->id);
		pending = disk && (gone || strcmp(output_get_text(disk, "state"), "changing") == 0);
		json_decref(disks);
		if (!pending)
			return EXIT_OK;
		if (deadline_passed(deadline))
			return cli_error_set(error, EXIT_TIMEOUT,
					     "%s: what the guest has under way on disk %s has not "
					     "ended within %u s; the change follows when it has",
					     job->name, job->id, job->options->timeout_s);
		usleep(POLL_US);
	}
}

static enum exit_code running_add(struct disk_job *job, const json_t *disk, json_t **result,
				  struct cli_error *error)
{
	return api_put(job->name, "/disks", disk, CHANGE_MS, result, error);
}

static enum exit_code running_remove(const struct disk_job *job, json_t **result,
				     struct cli_error *error)
{
	char path[64];
	enum exit_code code;

	snprintf(path, sizeof(path), "/disks/%s", job->id);
	code = api_delete(job->name, path, CHANGE_MS, result, error);
	return code == EXIT_OK ? change_await(job, true, error) : code;
}

static enum exit_code running_medium(const struct disk_job *job, const char *image, json_t **result,
				     struct cli_error *error)
{
	json_t *body = image ? json_pack("{ss}", "path", image) : NULL;
	char path[64];
	enum exit_code code;

	snprintf(path, sizeof(path), "/disks/%s/medium", job->id);
	code = image ? api_put(job->name, path, body, CHANGE_MS, result, error)
		     : api_delete(job->name, path, CHANGE_MS, result, error);
	json_decref(body);
	return code == EXIT_OK ? change_await(job, false, error) : code;
}

/* A VHD gets larger once the guest's commands have ended. */
static enum exit_code size_await(const struct disk_job *job, uint64_t bytes, json_t *result,
				 struct cli_error *error)
{
	enum exit_code code = change_await(job, false, error);
	json_t *disks = NULL;
	uint64_t now;

	if (code == EXIT_OK)
		code = disks_get(job, &disks, error);
	if (code != EXIT_OK)
		return code;
	now = output_get_number(disk_find(disks, job->id), "size_bytes");
	json_decref(disks);
	if (now < bytes)
		return cli_error_set(error, EXIT_NO_DISK,
				     "%s: disk %s was not made larger; the VM's log says why",
				     job->name, job->id);
	json_object_set_new(result, "size_bytes", json_integer((json_int_t)now));
	return EXIT_OK;
}

static enum exit_code running_resize(const struct disk_job *job, uint64_t bytes, json_t **result,
				     struct cli_error *error)
{
	json_t *body = bytes ? json_pack("{sI}", "size_bytes", (json_int_t)bytes) : json_object();
	char path[64];
	enum exit_code code;

	snprintf(path, sizeof(path), "/disks/%s/size", job->id);
	code = api_put(job->name, path, body, CHANGE_MS, result, error);
	json_decref(body);
	return code == EXIT_OK ? size_await(job, bytes, *result, error) : code;
}

/* ---- a VM that does not run: its definition ---- */

/* The stored text and what it says; both the caller's. */
struct definition {
	char *text;
	size_t length;
	struct vm_config *config;
};

static void definition_free(struct definition *definition)
{
	vm_config_free(definition->config);
	free(definition->text);
}

static enum exit_code definition_load(const struct disk_job *job, struct definition *definition,
				      struct cli_error *error)
{
	enum exit_code code = vm_store_load(job->name, &definition->config, error);
	char path[PATH_MAX];

	if (code != EXIT_OK)
		return code;
	if (vm_path(VM_PATH_DEFINITION, job->name, path, sizeof(path)) < 0 ||
	    vm_config_read(path, &definition->text, &definition->length, error->message,
			   sizeof(error->message)) < 0) {
		definition_free(definition);
		return EXIT_CONFIG;
	}
	return EXIT_OK;
}

static enum exit_code definition_save(const struct disk_job *job,
				      const struct definition *definition, struct cli_error *error)
{
	char *text = NULL;
	size_t length = 0;
	int rc = vm_definition_set_disks(definition->text, definition->length,
					 definition->config->disks, definition->config->disk_count,
					 &text, &length, error->message, sizeof(error->message));

	if (rc)
		return rc == -ENOMEM ? cli_error_set(error, EXIT_INTERNAL, "out of memory")
				     : EXIT_CONFIG;
	rc = vm_definition_store(job->name, definition->text, definition->length, text, length);
	free(text);
	if (rc == -ENOENT)
		return cli_error_set(error, EXIT_STATE, "the definition of %s was just changed",
				     job->name);
	return rc ? cli_error_system(error, EXIT_INTERNAL, rc, "cannot write the definition of",
				     job->name)
		  : EXIT_OK;
}

static struct vm_disk_config *config_find(struct vm_config *config, uint32_t controller,
					  uint32_t lun)
{
	for (size_t i = 0; i < config->disk_count; i++)
		if (config->disks[i].controller == controller && config->disks[i].lun == lun)
			return &config->disks[i];
	return NULL;
}

static enum exit_code stored_add(struct disk_job *job, const json_t *disk, struct vm_config *config,
				 struct cli_error *error)
{
	bool any_lun = !json_object_get(disk, "lun");
	struct vm_disk_config added;
	char *text = json_dumps(disk, JSON_COMPACT);
	int rc = text ? vm_disk_config_parse(text, &added, error->message, sizeof(error->message))
		      : -ENOMEM;

	free(text);
	if (rc)
		return rc == -ENOMEM ? cli_error_set(error, EXIT_INTERNAL, "out of memory")
				     : EXIT_USAGE;
	while (any_lun && added.lun < VM_MAX_LUNS &&
	       config_find(config, added.controller, added.lun))
		added.lun++;
	if (config->disk_count == VM_MAX_DISKS || added.lun == VM_MAX_LUNS) {
		vm_disk_config_fini(&added);
		return cli_error_set(error, EXIT_CONFIG, "%s has all the disks that it may have",
				     job->name);
	}
	job->controller = added.controller;
	job->lun = added.lun;
	snprintf(job->id, sizeof(job->id), "%u:%u", added.controller, added.lun);
	if (config_find(config, added.controller, added.lun)) {
		vm_disk_config_fini(&added);
		return cli_error_set(error, EXIT_EXISTS,
				     "%s is taken by another disk; choose another LUN, or leave "
				     "the choice to lunar",
				     job->id);
	}
	config->disks[config->disk_count++] = added;
	return EXIT_OK;
}

static enum exit_code stored_medium(const struct disk_job *job, const char *image,
				    struct vm_disk_config *disk, struct cli_error *error)
{
	if (!disk->dvd)
		return cli_error_set(error, EXIT_CONFIG, "disk %s is no DVD drive", job->id);
	free(disk->path);
	disk->path = image ? strdup(image) : NULL;
	return EXIT_OK;
}

/* Changes what was loaded. */
static enum exit_code stored_change(struct disk_job *job, const json_t *disk, const char *image,
				    struct vm_config *config, struct cli_error *error)
{
	struct vm_disk_config *found;

	if (job->options->disk.action == DISK_ADD)
		return stored_add(job, disk, config, error);
	found = config_find(config, job->controller, job->lun);
	if (!found)
		return cli_error_set(error, EXIT_NOT_FOUND,
				     "there is no disk %s; lunar disk list %s shows those there "
				     "are",
				     job->id, job->name);
	if (job->options->disk.action == DISK_REMOVE) {
		vm_disk_config_fini(found);
		memmove(found, found + 1,
			(size_t)(&config->disks[--config->disk_count] - found) * sizeof(*found));
		return EXIT_OK;
	}
	return stored_medium(job, image, found, error);
}

static enum exit_code stored_run(struct disk_job *job, const json_t *disk, const char *image,
				 json_t **result, struct cli_error *error)
{
	struct definition definition = {0};
	enum exit_code code;

	if (job->options->disk.action == DISK_RESIZE)
		return cli_error_set(error, EXIT_STATE,
				     "%s is not running: make the image larger itself, with lunar "
				     "vhd resize or truncate",
				     job->name);
	code = definition_load(job, &definition, error);
	if (code != EXIT_OK)
		return code;
	code = stored_change(job, disk, image, definition.config, error);
	if (code == EXIT_OK)
		code = definition_save(job, &definition, error);
	definition_free(&definition);
	if (code == EXIT_OK)
		*result = json_pack("{ss si si so sb}", "id", job->id, "controller",
				    (int)job->controller, "lun", (int)job->lun, "size_bytes",
				    json_null(), "stored", true);
	return code;
}

/* ---- the command ---- */

static enum exit_code running_run(struct disk_job *job, const json_t *disk, const char *image,
				  uint64_t bytes, json_t **result, struct cli_error *error)
{
	switch (job->options->disk.action) {
	case DISK_ADD:
		return running_add(job, disk, result, error);
	case DISK_REMOVE:
		return running_remove(job, result, error);
	case DISK_RESIZE:
		return running_resize(job, bytes, result, error);
	default:
		return running_medium(job, image, result, error);
	}
}

static void outcome_print(const struct disk_job *job, const json_t *result)
{
	static const char *const did[] = {
		[DISK_ADD] = "added",	  [DISK_REMOVE] = "removed",
		[DISK_RESIZE] = "has",	  [DISK_INSERT] = "has its medium",
		[DISK_EJECT] = "ejected",
	};
	enum disk_action action = job->options->disk.action;
	uint64_t bytes = output_get_number(result, "size_bytes");
	char size[OUTPUT_WORD_BYTES] = "";
	char id[OUTPUT_WORD_BYTES];

	output_copy_printable(id, sizeof(id), output_get_text(result, "id"));
	if (bytes && (action == DISK_ADD || action == DISK_RESIZE))
		output_size(size, bytes);
	fprintf(job->context->out, "%s: disk %s %s%s%s\n", job->name, id, did[action],
		*size ? action == DISK_RESIZE ? " " : ", " : "", size);
	if (!json_is_true(json_object_get(result, "stored")))
		fprintf(job->context->err,
			"The definition of %s is another one since it started, or there is none: "
			"the change lasts until it stops.\n",
			job->name);
}

static enum exit_code change(struct disk_job *job, json_t **result, struct cli_error *error)
{
	const struct options *options = job->options;
	const char *third = options->argument_count > 3 ? options->arguments[3] : NULL;
	enum exit_code code = EXIT_OK;
	uint64_t bytes = 0;
	char *image = NULL;
	json_t *disk = NULL;

	if (options->disk.action == DISK_ADD)
		code = disk_make(job, &disk, error);
	else
		code = place_read(job, options->arguments[2], error);
	if (code == EXIT_OK && options->disk.action == DISK_RESIZE && third)
		code = option_read_size("disk resize: SIZE", third, MAX_SIZE_BYTES, &bytes, error);
	if (code == EXIT_OK && options->disk.action == DISK_INSERT) {
		image = path_make(third);
		if (!image)
			code = cli_error_set(error, EXIT_INTERNAL, "out of memory");
	}
	if (code == EXIT_OK)
		code = job->runs ? running_run(job, disk, image, bytes, result, error)
				 : stored_run(job, disk, image, result, error);
	json_decref(disk);
	free(image);
	return code;
}

enum exit_code command_disk(const struct command_context *context, struct cli_error *error)
{
	struct disk_job job = {
		.context = context,
		.options = context->options,
		.name = context->options->arguments[1],
	};
	enum exit_code code = vm_store_check_name(job.name, error);
	json_t *result = NULL;
	pid_t pid;

	if (code != EXIT_OK)
		return code;
	code = api_find_process(job.name, &pid, error);
	if (code != EXIT_OK && code != EXIT_STATE)
		return code;
	job.runs = code == EXIT_OK;
	if (context->options->disk.action == DISK_LIST)
		return list(&job, error);
	code = change(&job, &result, error);
	if (code != EXIT_OK) {
		json_decref(result);
		return code;
	}
	if (context->options->json)
		return command_print_json(context, result, error);
	outcome_print(&job, result);
	json_decref(result);
	return EXIT_OK;
}
