/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reads the figures of the last move.
 */
#include "cli/last_move.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "cli/output.h"
#include "hypervisor/vm_paths.h"

#define MAX_BYTES ((size_t)256 * 1024)

/* jansson's source of text: stops a file that is too long. */
struct input {
	int fd;
	size_t left;
};

static size_t input_read(void *buffer, size_t bytes, void *ctx)
{
	struct input *input = ctx;
	ssize_t got = read(input->fd, buffer, bytes < input->left ? bytes : input->left);

	if (got < 0)
		return (size_t)-1;
	input->left -= (size_t)got;
	return (size_t)got;
}

json_t *last_move_read(const char *name)
{
	struct input input = {.left = MAX_BYTES};
	char path[PATH_MAX];
	json_t *move;

	if (vm_path(VM_PATH_MIGRATION, name, path, sizeof(path)) < 0)
		return NULL;
	input.fd = open(path, O_RDONLY | O_CLOEXEC);
	if (input.fd < 0)
		return NULL;
	move = json_load_callback(input_read, &input, JSON_REJECT_DUPLICATES, NULL);
	close(input.fd);
	if (json_is_object(move) && strcmp(output_get_text(move, "vm"), name) == 0)
		return move;
	json_decref(move);
	return NULL;
}

bool last_move_is_departure(const json_t *move)
{
	return strcmp(output_get_text(move, "phase"), "done") == 0 &&
	       !json_is_true(json_object_get(move, "incoming")) &&
	       *output_get_text(move, "peer") != '/'; /* a saved VM is still this host's */
}
