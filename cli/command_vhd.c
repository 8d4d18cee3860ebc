/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lunar vhd: create, snapshot and resize; the other verbs have files of their own.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "base/bytes.h"
#include "cli/command_vhd.h"
#include "cli/new_file.h"
#include "cli/option_values.h"
#include "cli/output.h"
#include "storvsp/vhd_create.h"
#include "storvsp/vhd_resize.h"

enum exit_code vhd_cli_error(int rc, const char *message, struct cli_error *error)
{
	enum exit_code code = EXIT_INTERNAL;

	switch (rc) {
	case 0:
		return EXIT_OK;
	case -ENOENT:
	case -ENOTDIR:
		code = EXIT_NOT_FOUND;
		break;
	case -EEXIST:
	case -EBUSY:
		code = EXIT_EXISTS;
		break;
	case -EACCES:
	case -EPERM:
	case -EROFS:
		code = EXIT_PERMISSION;
		break;
	case -ECANCELED:
		code = EXIT_CANCELLED;
		break;
	case -ETIMEDOUT:
		code = EXIT_TIMEOUT;
		break;
	case -EINVAL:
	case -EFBIG:
	case -ELOOP:
	case -ENXIO:
	case -ESTALE:
	case -EISDIR:
	case -EOPNOTSUPP:
	case -ENAMETOOLONG:
		code = EXIT_NO_DISK;
		break;
	default:
		break;
	}
	return cli_error_set(error, code, "%s", message);
}

void vhd_cli_id(const uint8_t id[VHD_ID_BYTES], char text[VHD_ID_TEXT_BYTES])
{
	size_t used = 0;

	for (unsigned int i = 0; i < VHD_ID_BYTES; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			text[used++] = '-';
		used += (size_t)snprintf(text + used, VHD_ID_TEXT_BYTES - used, "%02x", id[i]);
	}
}

/* ---- new images ---- */

static enum exit_code write_new(const char *path, const struct vhd_new *new,
				struct cli_error *error)
{
	const struct vhd_file_options options = {.write = true, .create = true};
	struct vhd_file *file;
	struct vhd_error inner;
	char message[sizeof(inner.message) + 256];
	int rc = vhd_file_open(path, &options, &file, &inner);

	if (rc)
		return vhd_cli_error(rc, inner.message, error);
	rc = vhd_write_new(file, new, &inner);
	vhd_file_close(file);
	if (rc == -EOPNOTSUPP)
		snprintf(message, sizeof(message),
			 "this file system cannot set space aside for a fixed image; "
			 "--format flex makes one that gets its space as it is written");
	else
		snprintf(message, sizeof(message), "cannot make it: %s", inner.message);
	return vhd_cli_error(rc, message, error);
}

static enum exit_code make(const struct new_file *file, const struct vhd_new *new,
			   struct cli_error *error)
{
	enum exit_code code = write_new(file->temp, new, error);

	if (code == EXIT_OK)
		code = new_file_publish(file, error);
	if (code != EXIT_OK)
		new_file_abandon(file);
	return code;
}

static enum exit_code print_made(const struct command_context *context, const char *path,
				 const struct vhd_new *new, struct cli_error *error)
{
	const char *type = new->flex ? "flex" : vhd_type_name(new->type);
	char size[OUTPUT_WORD_BYTES], id[VHD_ID_TEXT_BYTES];
	json_t *parent = new->parent_path ? json_string(new->parent_path) : json_null();

	vhd_cli_id(new->id, id);
	output_size(size, new->size_bytes);
	if (context->options->json)
		return command_print_json(context,
					  json_pack("{ss ss sI ss so}", "path", path, "type", type,
						    "size_bytes", (json_int_t) new->size_bytes,
						    "id", id, "parent", parent),
					  error);
	json_decref(parent);
	fprintf(context->out, "%s: %s, %s%s%s\n", path, size, type, new->parent_path ? ", on " : "",
		new->parent_path ? new->parent_path : "");
	return EXIT_OK;
}

static enum exit_code create(const struct command_context *context, struct cli_error *error)
{
	const struct options *options = context->options;
	struct vhd_new new = {
		.type = VHD_DYNAMIC,
		.block_bytes = options->vhd.block_bytes,
		.timestamp = vhd_time(time(NULL)),
	};
	struct new_file file;
	enum exit_code code;

	if (options->vhd.format == VHD_CLI_RAW)
		return cli_error_set(
			error, EXIT_USAGE,
			"vhd create --format: dynamic, fixed or flex; for a raw image: "
			"truncate -s SIZE FILE");
	if (options->vhd.format == VHD_CLI_FIXED || options->vhd.format == VHD_CLI_FLEX)
		new.type = VHD_FIXED;
	new.flex = options->vhd.format == VHD_CLI_FLEX;
	code = option_read_size("vhd create", options->arguments[2], VHD_MAX_BYTES, &new.size_bytes,
				error);
	if (code == EXIT_OK)
		code = new_file_begin(options->arguments[1], &file, error);
	if (code == EXIT_OK && vhd_new_id(new.id) < 0)
		code = cli_error_set(error, EXIT_INTERNAL, "no random numbers");
	if (code == EXIT_OK)
		code = make(&file, &new, error);
	return code == EXIT_OK ? print_made(context, file.path, &new, error) : code;
}

static enum exit_code snapshot(const struct command_context *context, struct cli_error *error)
{
	const char *const *arguments = context->options->arguments;
	const struct vhd_chain_options options = {.alone = false};
	struct vhd_chain chain;
	struct vhd_error inner;
	struct vhd_new new;
	struct new_file file;
	enum exit_code code;
	int rc = vhd_chain_open(arguments[1], &options, &chain, &inner);

	if (rc)
		return vhd_cli_error(rc, inner.message, error);
	code = new_file_begin(arguments[2], &file, error);
	if (code == EXIT_OK && vhd_new_child(&chain.links[0], file.path, &new) < 0)
		code = cli_error_set(error, EXIT_INTERNAL, "%s: cannot be looked at", arguments[1]);
	if (code == EXIT_OK) {
		new.block_bytes = context->options->vhd.block_bytes;
		code = make(&file, &new, error);
	}
	if (code == EXIT_OK)
		code = print_made(context, file.path, &new, error);
	if (code == EXIT_OK && !context->options->json)
		fprintf(context->err,
			"From now on write to the new image only: a change of %s "
			"makes it useless.\n",
			chain.links[0].path);
	vhd_chain_fini(&chain);
	return code;
}

/* ---- another size ---- */

static enum exit_code resize_link(const struct command_context *context, struct vhd_link *link,
				  struct cli_error *error)
{
	const struct options *options = context->options;
	const char *text = options->arguments[2];
	uint64_t old = link->image.footer.size_bytes, size;
	char old_word[OUTPUT_WORD_BYTES], new_word[OUTPUT_WORD_BYTES];
	struct vhd_error inner;
	enum exit_code code;
	int rc;

	code = option_read_size("vhd resize", text + (*text == '+'), VHD_MAX_BYTES, &size, error);
	if (code != EXIT_OK)
		return code;
	if (*text == '+')
		size += old;
	rc = vhd_image_tidy(link->file, &link->image, &inner);
	if (rc == 0)
		rc = vhd_resize(link, size, options->vhd.shrink, &inner);
	if (rc)
		return cli_error_set(error, vhd_cli_error(rc, "", error), "%s: %s",
				     options->arguments[1], inner.message);
	if (options->json)
		return command_print_json(context,
					  json_pack("{ss sI sI}", "path", link->path, "size_bytes",
						    (json_int_t)size, "old_size_bytes",
						    (json_int_t)old),
					  error);
	output_size(old_word, old);
	output_size(new_word, size);
	fprintf(context->out, "%s: %s, was %s\n", options->arguments[1], new_word, old_word);
	return EXIT_OK;
}

static enum exit_code resize(const struct command_context *context, struct cli_error *error)
{
	const struct vhd_chain_options options = {.file = {.write = true}, .alone = true};
	struct vhd_chain chain;
	struct vhd_error inner;
	enum exit_code code;
	int rc = vhd_chain_open(context->options->arguments[1], &options, &chain, &inner);

	if (rc)
		return vhd_cli_error(rc, inner.message, error);
	code = resize_link(context, &chain.links[0], error);
	vhd_chain_fini(&chain);
	return code;
}

enum exit_code command_vhd(const struct command_context *context, struct cli_error *error)
{
	static const struct {
		const char *word;
		enum exit_code (*run)(const struct command_context *, struct cli_error *);
	} verbs[] = {
		{"create", create},	      {"info", command_vhd_info},
		{"check", command_vhd_check}, {"convert", command_vhd_convert},
		{"resize", resize},	      {"snapshot", snapshot},
		{"merge", command_vhd_merge},
	};

	for (size_t i = 0; i < ARRAY_LENGTH(verbs); i++)
		if (strcmp(context->options->argument, verbs[i].word) == 0)
			return verbs[i].run(context, error);
	return cli_error_set(error, EXIT_USAGE, "vhd: which verb? see lunar vhd --help");
}
