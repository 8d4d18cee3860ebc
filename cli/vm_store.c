/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Definitions on disk. A new one is written beside its place and linked to its name, which fails
 * where the name is taken: two creates at once cannot both win, and a crash leaves no half of a
 * file under a name.
 */
#include "cli/vm_store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/last_move.h"
#include "cli/output.h"
#include "hypervisor/migration/record.h"
#include "hypervisor/vm_paths.h"
#include "hypervisor/vm_report.h"

enum exit_code vm_store_check_name(const char *name, struct cli_error *error)
{
	if (vm_name_is_valid(name))
		return EXIT_OK;
	return cli_error_set(
		error, EXIT_USAGE,
		"'%.40s' cannot be a VM's name: 1 to %d letters, digits, '-', '_', '.', "
		"beginning with a letter or digit",
		name, VM_NAME_MAX);
}

static enum exit_code definition_path(const char *name, char path[PATH_MAX],
				      struct cli_error *error)
{
	if (vm_path(VM_PATH_DEFINITION, name, path, PATH_MAX) < 0)
		return cli_error_set(error, EXIT_CONFIG, "LUNAR_STATE_DIR is too long; shorten it");
	return EXIT_OK;
}

/* No definition: it may never have been, or the VM may have moved away. */
static enum exit_code explain_unknown(const char *name, struct cli_error *error)
{
	json_t *move = last_move_read(name);
	char peer[MIGRATION_HOST_BYTES];

	if (last_move_is_departure(move)) {
		output_copy_printable(peer, sizeof(peer), output_get_text(move, "peer"));
		(void)cli_error_set(
			error, EXIT_NOT_FOUND,
			"%s is not here any more: it was moved to %s; lunar show %s tells "
			"when",
			name, peer, name);
	} else {
		(void)cli_error_set(
			error, EXIT_NOT_FOUND,
			"no VM is named %s; lunar list shows those there are, lunar create "
			"FILE adds one",
			name);
	}
	json_decref(move);
	return EXIT_NOT_FOUND;
}

enum exit_code vm_store_load(const char *name, struct vm_config **config, struct cli_error *error)
{
	char path[PATH_MAX];
	enum exit_code code = definition_path(name, path, error);
	int rc;

	if (code != EXIT_OK)
		return code;
	rc = vm_config_load(path, config, error->message, sizeof(error->message));
	if (rc == -ENOENT)
		return explain_unknown(name, error);
	if (rc == -EACCES)
		return cli_error_system(error, EXIT_PERMISSION, rc, "cannot read", path);
	if (rc < 0)
		return EXIT_CONFIG;
	if (strcmp((*config)->name, name) == 0)
		return EXIT_OK;
	(void)cli_error_set(error, EXIT_CONFIG,
			    "%s: names the VM %s; rename the file or correct the name", path,
			    (*config)->name);
	vm_config_free(*config);
	*config = NULL;
	return EXIT_CONFIG;
}

/* Whether two NICs would meet on one switch with one MAC. Tells the first such pair. */
static enum exit_code check_mac_unused(const struct vm_config *config,
				       const struct vm_config *other, struct cli_error *error)
{
	char mac[VM_REPORT_MAC_BYTES];

	for (size_t i = 0; i < config->nic_count; i++)
		for (size_t j = 0; j < other->nic_count; j++) {
			if (memcmp(config->nics[i].mac, other->nics[j].mac, 6) != 0 ||
			    strcmp(config->nics[i].vsp_socket, other->nics[j].vsp_socket) != 0)
				continue;
			vm_report_mac(config->nics[i].mac, mac);
			return cli_error_set(
				error, EXIT_EXISTS,
				"nics[%zu].mac: %s is that of %s; give each NIC its own", i, mac,
				other->name);
		}
	return EXIT_OK;
}

static enum exit_code check_macs_unused(const struct vm_config *config, struct cli_error *error)
{
	struct vm_names names = {0};
	enum exit_code code = vm_store_list(false, &names, error);

	for (size_t i = 0; code == EXIT_OK && i < names.count; i++) {
		struct vm_config *other = NULL;
		struct cli_error ignored;

		if (strcmp(names.names[i], config->name) == 0 ||
		    vm_store_load(names.names[i], &other, &ignored) != EXIT_OK)
			continue; /* a broken definition cannot start, so it is in nobody's way */
		code = check_mac_unused(config, other, error);
		vm_config_free(other);
	}
	vm_names_free(&names);
	return code;
}

static int write_all(int fd, const char *bytes, size_t length)
{
	while (length) {
		ssize_t put = write(fd, bytes, length);

		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return -errno;
		bytes += put;
		length -= (size_t)put;
	}
	return fsync(fd) < 0 ? -errno : 0;
}

static int sync_folder(const char *folder)
{
	int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int rc = fd < 0 || fsync(fd) < 0 ? -errno : 0;

	if (fd >= 0)
		close(fd);
	return rc;
}

/* Returns 0, -EEXIST, or another -errno. */
static int write_new_file(const char *folder, const char *path, const char *text, size_t length)
{
	char temporary[PATH_MAX];
	int fd, rc;

	if ((size_t)snprintf(temporary, sizeof(temporary), "%s/.new-XXXXXX", folder) >=
	    sizeof(temporary))
		return -ENAMETOOLONG;
	fd = mkostemp(temporary, O_CLOEXEC);
	if (fd < 0)
		return -errno;
	rc = write_all(fd, text, length);
	if (rc == 0 && link(temporary, path) < 0)
		rc = -errno;
	close(fd);
	unlink(temporary);
	return rc ? rc : sync_folder(folder);
}

static enum exit_code store_text(const struct vm_config *config, const char *text, size_t length,
				 struct cli_error *error)
{
	char path[PATH_MAX], folder[PATH_MAX];
	enum exit_code code = definition_path(config->name, path, error);
	int rc;

	if (code != EXIT_OK)
		return code;
	snprintf(folder, sizeof(folder), "%s", path);
	*strrchr(folder, '/') = '\0';
	rc = vm_paths_make_dir(folder);
	if (rc < 0)
		return cli_error_system(error, EXIT_INTERNAL, rc, "cannot make", folder);
	code = check_macs_unused(config, error);
	if (code != EXIT_OK)
		return code;
	rc = write_new_file(folder, path, text, length);
	if (rc == -EEXIST)
		return cli_error_set(error, EXIT_EXISTS,
				     "a VM named %s exists; lunar delete %s removes it",
				     config->name, config->name);
	if (rc < 0)
		return cli_error_system(error, EXIT_INTERNAL, rc, "cannot write", path);
	return EXIT_OK;
}

enum exit_code vm_store_create(const char *file, char name[VM_NAME_MAX + 1],
			       struct cli_error *error)
{
	struct vm_config *config = NULL;
	enum exit_code code;
	size_t length = 0;
	char *text = NULL;
	int rc;

	rc = vm_config_read(file, &text, &length, error->message, sizeof(error->message));
	if (rc < 0)
		return rc == -EACCES ? EXIT_PERMISSION : EXIT_CONFIG;
	rc = vm_config_parse(file, text, length, &config, error->message, sizeof(error->message));
	if (rc < 0) {
		free(text);
		return EXIT_CONFIG;
	}
	snprintf(name, VM_NAME_MAX + 1, "%s", config->name);
	code = store_text(config, text, length, error);
	vm_config_free(config);
	free(text);
	return code;
}

enum exit_code vm_store_delete(const char *name, struct cli_error *error)
{
	static const enum vm_path left[] = {VM_PATH_LOG, VM_PATH_API, VM_PATH_CONSOLE, VM_PATH_LOCK,
					    VM_PATH_MIGRATION};
	char path[PATH_MAX], old[PATH_MAX + 4];
	enum exit_code code = definition_path(name, path, error);
	struct migration_record record;

	if (code != EXIT_OK)
		return code;
	/* Where nobody knows which host has it, this definition may be the last one there is. */
	if (migration_record_find_open(name, &record) == 0)
		return cli_error_set(
			error, EXIT_STATE,
			"%s: its move to %.255s was never settled; lunar start %s asks "
			"there, lunar migrate --resolve %s tells",
			name, record.peer, name, name);
	if (unlink(path) < 0) {
		if (errno == ENOENT)
			return explain_unknown(name, error);
		return cli_error_system(error, EXIT_INTERNAL, -errno, "cannot remove", path);
	}
	for (size_t i = 0; i < sizeof(left) / sizeof(left[0]); i++) {
		if (vm_path(left[i], name, path, sizeof(path)) < 0)
			continue;
		unlink(path);
		snprintf(old, sizeof(old), "%s.1", path);
		if (left[i] == VM_PATH_LOG)
			unlink(old);
	}
	if (vm_path(VM_PATH_RUN_DIR, name, path, sizeof(path)) == 0)
		rmdir(path); /* stays where somebody keeps something else in it */
	return EXIT_OK;
}

/* "vm0.yaml" → "vm0"; false for any other file. */
static bool name_of_file(const char *file, char name[VM_NAME_MAX + 1])
{
	size_t length = strlen(file);

	if (length <= 5 || length > VM_NAME_MAX + 5 || strcmp(file + length - 5, ".yaml") != 0)
		return false;
	memcpy(name, file, length - 5);
	name[length - 5] = '\0';
	return vm_name_is_valid(name);
}

static int names_add(struct vm_names *names, const char *name)
{
	void *grown = realloc(names->names, (names->count + 1) * sizeof(*names->names));

	if (!grown)
		return -ENOMEM;
	names->names = grown;
	snprintf(names->names[names->count++], VM_NAME_MAX + 1, "%s", name);
	return 0;
}

/* Adds what one folder holds. A folder that is not there holds nothing. Returns 0 or -errno. */
static int names_read(struct vm_names *names, const char *folder, bool definitions)
{
	char name[VM_NAME_MAX + 1], path[PATH_MAX];
	struct dirent *entry;
	int rc = 0;
	DIR *dir = opendir(folder);

	if (!dir)
		return errno == ENOENT ? 0 : -errno;
	while (rc == 0 && (entry = readdir(dir)) != NULL) {
		if (definitions && !name_of_file(entry->d_name, name))
			continue;
		if (!definitions) {
			if (!vm_name_is_valid(entry->d_name) ||
			    vm_path(VM_PATH_API, entry->d_name, path, sizeof(path)) < 0 ||
			    access(path, F_OK) < 0)
				continue;
			memcpy(name, entry->d_name, strlen(entry->d_name) + 1);
		}
		rc = names_add(names, name);
	}
	closedir(dir);
	return rc;
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(a, b);
}

enum exit_code vm_store_list(bool running_too, struct vm_names *names, struct cli_error *error)
{
	char folder[PATH_MAX];
	size_t kept = 0;
	int rc;

	*names = (struct vm_names){0};
	snprintf(folder, sizeof(folder), "%s/vms", vm_paths_state_dir());
	rc = names_read(names, folder, true);
	if (rc == 0 && running_too) {
		snprintf(folder, sizeof(folder), "%s/vm", vm_paths_run_dir());
		rc = names_read(names, folder, false);
	}
	if (rc < 0) {
		vm_names_free(names);
		return cli_error_system(error, EXIT_INTERNAL, rc, "cannot list", folder);
	}
	if (names->count)
		qsort(names->names, names->count, sizeof(*names->names), compare_names);
	for (size_t i = 0; i < names->count; i++)
		if (i == 0 || strcmp(names->names[i], names->names[kept - 1]) != 0)
			memmove(names->names[kept++], names->names[i], sizeof(*names->names));
	names->count = kept;
	return EXIT_OK;
}

void vm_names_free(struct vm_names *names)
{
	free(names->names);
	*names = (struct vm_names){0};
}
