/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lunar vhd convert and merge: long work, with a bar.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/command_vhd.h"
#include "cli/new_file.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "storvsp/disk.h"
#include "storvsp/disk_copy.h"
#include "storvsp/disk_vhd.h"
#include "storvsp/vhd_create.h"
#include "storvsp/vhd_merge.h"

/* ---- convert ---- */

struct conversion {
	const struct command_context *context;
	struct progress progress;
	struct new_file file;
	struct disk *from, *to;
	int holes_fd; /* of a source whose holes the file system knows; -1 */
	enum vhd_cli_format format;
	struct disk_info info; /* of the source */
};

/* SEEK_DATA */
static bool next_in_file(void *ctx, uint64_t offset, uint64_t *begin, uint64_t *end)
{
	const struct conversion *conversion = ctx;
	off_t data = lseek(conversion->holes_fd, (off_t)offset, SEEK_DATA), hole;

	if (data < 0 && errno == ENXIO)
		return false;
	if (data < 0)
		data = (off_t)offset;
	hole = lseek(conversion->holes_fd, data, SEEK_HOLE);
	/* Whole sectors of it. */
	*begin = (uint64_t)data & ~UINT64_C(4095);
	*begin = *begin < offset ? offset : *begin;
	*end = hole < 0 ? UINT64_MAX : ((uint64_t)hole + 4095) & ~UINT64_C(4095);
	return true;
}

static bool next_in_vhd(void *ctx, uint64_t offset, uint64_t *begin, uint64_t *end)
{
	const struct conversion *conversion = ctx;

	return disk_vhd_next_data(conversion->from, offset, begin, end);
}

static bool step(void *ctx, uint64_t done, uint64_t total)
{
	struct conversion *conversion = ctx;

	return progress_step(&conversion->progress, done, total);
}

static bool ends_with(const char *name, const char *end)
{
	size_t length = strlen(name), end_length = strlen(end);

	return length > end_length && strcasecmp(name + length - end_length, end) == 0;
}

static enum exit_code open_source(struct conversion *conversion, struct cli_error *error)
{
	const struct options *options = conversion->context->options;
	const struct disk_options source = {
		.path = options->arguments[1],
		.format = options->vhd.from,
		.read_only = true,
	};
	char message[DISK_MESSAGE_BYTES];
	int rc = disk_open(&source, &conversion->from, message, sizeof(message));

	if (rc)
		return vhd_cli_error(rc, message, error);
	disk_get_info(conversion->from, &conversion->info);
	if (strcmp(conversion->info.kind, "raw") == 0 ||
	    strcmp(conversion->info.kind, "vhd-fixed") == 0 ||
	    strcmp(conversion->info.kind, "vhd-flex") == 0)
		conversion->holes_fd = open(source.path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	return EXIT_OK;
}

static int make_raw(const struct conversion *conversion, struct vhd_error *error)
{
	int rc = 0, fd = open(conversion->file.temp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (fd < 0 || ftruncate(fd, (off_t)conversion->info.size_bytes) < 0)
		rc = vhd_fail(error, -errno, "%s: %s", conversion->file.temp, strerror(errno));
	if (fd >= 0)
		close(fd);
	return rc;
}

static int make_vhd(const struct conversion *conversion, struct vhd_error *error)
{
	const struct vhd_file_options options = {.write = true, .create = true};
	struct vhd_new new = {
		.type = conversion->format == VHD_CLI_DYNAMIC ? VHD_DYNAMIC : VHD_FIXED,
		.flex = conversion->format == VHD_CLI_FLEX,
		.size_bytes = conversion->info.size_bytes,
		.block_bytes = conversion->context->options->vhd.block_bytes,
		.timestamp = vhd_time(time(NULL)),
	};
	struct vhd_file *file;
	int rc = vhd_new_id(new.id);

	if (rc)
		return vhd_fail(error, rc, "no random numbers");
	rc = vhd_file_open(conversion->file.temp, &options, &file, error);
	if (rc)
		return rc;
	rc = vhd_write_new(file, &new, error);
	vhd_file_close(file);
	return rc;
}

static enum exit_code open_target(struct conversion *conversion, struct cli_error *error)
{
	const struct options *options = conversion->context->options;
	bool raw = conversion->format == VHD_CLI_RAW;
	const struct disk_options target = {
		.path = conversion->file.temp,
		.format = raw ? DISK_FORMAT_RAW : DISK_FORMAT_VHD,
	};
	enum exit_code code = new_file_begin(options->arguments[2], &conversion->file, error);
	struct vhd_error inner;
	int rc;

	if (code != EXIT_OK)
		return code;
	rc = raw ? make_raw(conversion, &inner) : make_vhd(conversion, &inner);
	if (rc == 0)
		rc = disk_open(&target, &conversion->to, inner.message, sizeof(inner.message));
	return vhd_cli_error(rc, inner.message, error);
}

static enum exit_code copy(struct conversion *conversion, struct cli_error *error)
{
	struct disk_copy job = {
		.from = conversion->from,
		.to = conversion->to,
		.step = step,
		.ctx = conversion,
	};
	struct disk_caller *caller = NULL;
	int rc = disk_caller_create(&caller);

	if (conversion->holes_fd >= 0)
		job.next_data = next_in_file;
	else if (strncmp(conversion->info.kind, "vhd-", 4) == 0)
		job.next_data = next_in_vhd;
	if (rc == 0)
		rc = disk_copy_run(caller, &job);
	if (rc == 0)
		rc = disk_release(conversion->to);
	disk_caller_destroy(caller);
	return vhd_cli_error(rc, rc == -ECANCELED ? "cancelled; nothing was made" : strerror(-rc),
			     error);
}

static enum exit_code print_converted(const struct conversion *conversion, struct cli_error *error)
{
	static const char *const names[] = {"auto", "raw", "dynamic", "fixed", "flex"};
	char size[OUTPUT_WORD_BYTES];

	output_size(size, conversion->info.size_bytes);
	if (conversion->context->options->json)
		return command_print_json(conversion->context,
					  json_pack("{ss ss sI ss}", "path", conversion->file.path,
						    "format", names[conversion->format],
						    "size_bytes",
						    (json_int_t)conversion->info.size_bytes, "from",
						    conversion->info.kind),
					  error);
	fprintf(conversion->context->out, "%s: %s, %s, from %s\n", conversion->file.path, size,
		names[conversion->format], conversion->info.kind);
	return EXIT_OK;
}

enum exit_code command_vhd_convert(const struct command_context *context, struct cli_error *error)
{
	const struct options *options = context->options;
	struct conversion conversion = {
		.context = context,
		.holes_fd = -1,
		.format = options->vhd.format,
	};
	bool begun = false;
	enum exit_code code;

	if (conversion.format == VHD_CLI_AUTO)
		conversion.format = ends_with(options->arguments[2], ".vhd") ||
						    ends_with(options->arguments[2], ".avhd")
					    ? VHD_CLI_DYNAMIC
					    : VHD_CLI_RAW;
	progress_begin(&conversion.progress, context, options->arguments[2]);
	code = open_source(&conversion, error);
	if (code == EXIT_OK) {
		code = open_target(&conversion, error);
		begun = *conversion.file.temp && code != EXIT_EXISTS;
	}
	if (code == EXIT_OK)
		code = copy(&conversion, error);
	progress_end(&conversion.progress);
	disk_close(conversion.to);
	disk_close(conversion.from);
	if (conversion.holes_fd >= 0)
		close(conversion.holes_fd);
	if (code == EXIT_OK)
		code = new_file_publish(&conversion.file, error);
	if (code != EXIT_OK && begun)
		new_file_abandon(&conversion.file);
	return code == EXIT_OK ? print_converted(&conversion, error) : code;
}

/* ---- merge ---- */

static bool merge_step(void *ctx, const struct vhd_merge_progress *progress)
{
	return progress_step(ctx, progress->done_bytes, progress->total_bytes);
}

enum exit_code command_vhd_merge(const struct command_context *context, struct cli_error *error)
{
	const char *path = context->options->arguments[1];
	char parent[PATH_MAX];
	struct progress progress;
	struct vhd_error inner;
	int rc;

	progress_begin(&progress, context, path);
	rc = vhd_merge(path, merge_step, &progress, parent, sizeof(parent), &inner);
	progress_end(&progress);
	if (rc)
		return vhd_cli_error(rc, inner.message, error);
	if (unlink(path) < 0)
		return cli_error_system(error, EXIT_INTERNAL, -errno, "merged, but cannot remove",
					path);
	if (context->options->json)
		return command_print_json(
			context, json_pack("{ss ss}", "path", parent, "removed", path), error);
	fprintf(context->out, "%s: merged into %s and removed\n", path, parent);
	return EXIT_OK;
}
