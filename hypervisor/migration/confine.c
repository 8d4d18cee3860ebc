/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Folders by kind, and paths held against them. See confine.h.
 */
#include "hypervisor/migration/confine.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hypervisor/vm_paths.h"
#include "wire/vsp.h"

#define MAX_FOLDERS 16

struct folders {
	size_t count;
	char paths[MAX_FOLDERS][PATH_MAX];
};

/* One that is too long, relative, or one too many, is no folder. Slashes at its end do not count.
 */
static void folder_add(struct folders *folders, const char *path, size_t length)
{
	while (length > 0 && path[length - 1] == '/')
		length--;
	if (length == 0 || length >= PATH_MAX || path[0] != '/' || folders->count == MAX_FOLDERS)
		return;
	memcpy(folders->paths[folders->count], path, length);
	folders->paths[folders->count++][length] = '\0';
}

static void folder_add_below(struct folders *folders, const char *parent, const char *name)
{
	char path[PATH_MAX];
	int length = snprintf(path, sizeof(path), "%s/%s", parent, name);

	if (length > 0 && (size_t)length < sizeof(path))
		folder_add(folders, path, (size_t)length);
}

static void folders_add_variable(struct folders *folders)
{
	const char *next = getenv(CONFINE_DIRS_VARIABLE);

	while (next && *next) {
		size_t length = strcspn(next, ":");

		folder_add(folders, next, length);
		next += length + (next[length] == ':');
	}
}

static void folders_find(enum confine_kind kind, const char *vm_name, struct folders *folders)
{
	const char *state = vm_paths_state_dir(), *run = vm_paths_run_dir();
	const char *console = vm_paths_console_dir();
	char own[PATH_MAX];

	folders->count = 0;
	switch (kind) {
	case CONFINE_BOOT:
		folder_add(folders, "/boot", strlen("/boot"));
		folder_add_below(folders, state, "boot");
		break;
	case CONFINE_DISK:
	case CONFINE_PARENT:
		folder_add_below(folders, state, "disks");
		break;
	case CONFINE_SOCKET:
		folder_add(folders, run, strlen(run));
		folder_add(folders, VSP_SOCKET_DEFAULT,
			   strlen(VSP_SOCKET_DEFAULT) - strlen(strrchr(VSP_SOCKET_DEFAULT, '/')));
		break;
	case CONFINE_CONSOLE:
		folder_add(folders, console, strlen(console));
		if (!vm_path(VM_PATH_RUN_DIR, vm_name, own, sizeof(own)))
			folder_add(folders, own, strlen(own));
		return;
	}
	folders_add_variable(folders);
}

/* No component of a path is "." or "..". */
static bool path_is_plain(const char *path)
{
	while (*path) {
		size_t slashes = strspn(path, "/"), length = strcspn(path + slashes, "/");

		path += slashes;
		if ((length == 1 && path[0] == '.') ||
		    (length == 2 && path[0] == '.' && path[1] == '.'))
			return false;
		path += length;
	}
	return true;
}

/* direct: in the folder itself, not in one that is in it. */
static bool path_is_in(const char *path, const char *folder, bool direct)
{
	size_t length = strlen(folder);

	if (strncmp(path, folder, length) != 0 || path[length] != '/')
		return false;
	path += length + strspn(path + length, "/");
	return *path && !(direct && strchr(path, '/'));
}

static bool path_is_in_any(const char *path, const struct folders *folders, bool direct)
{
	for (size_t i = 0; i < folders->count; i++)
		if (path_is_in(path, folders->paths[i], direct))
			return true;
	return false;
}

/* The folders as they are without symbolic links; those that are not there are left as they are. */
static void folders_resolve(struct folders *folders)
{
	char path[PATH_MAX];

	for (size_t i = 0; i < folders->count; i++)
		if (realpath(folders->paths[i], path))
			memcpy(folders->paths[i], path, strlen(path) + 1);
}

bool confine_path_is_allowed(enum confine_kind kind, const char *vm_name, const char *path)
{
	/* VMs' own folders are in that of the sockets, and no switch is there. */
	bool direct = kind == CONFINE_SOCKET;
	struct folders *folders = malloc(sizeof(*folders));
	char resolved[PATH_MAX];
	bool allowed;

	if (!folders)
		return false;
	folders_find(kind, vm_name, folders);
	if (kind == CONFINE_PARENT)
		folders_resolve(folders);
	allowed = path_is_plain(path) && path_is_in_any(path, folders, direct);
	if (allowed && (kind == CONFINE_BOOT || kind == CONFINE_SOCKET) &&
	    realpath(path, resolved)) {
		folders_resolve(folders);
		allowed = path_is_in_any(resolved, folders, direct);
	}
	free(folders);
	return allowed;
}

bool confine_target_is_allowed(const char *url)
{
	const char *next = getenv(CONFINE_TARGETS_VARIABLE);

	if (!next)
		return true;
	while (*(next += strspn(next, " "))) {
		size_t length = strcspn(next, " ");

		/* whole parts alone: what follows a host's name could be another's */
		if (strncmp(url, next, length) == 0 &&
		    (next[length - 1] == '/' || url[length] == '/' || !url[length]))
			return true;
		next += length;
	}
	return false;
}

void confine_folders_list(enum confine_kind kind, const char *vm_name, char *text, size_t size)
{
	struct folders *folders = malloc(sizeof(*folders));
	size_t used = 0;

	if (size)
		text[0] = '\0';
	if (!folders)
		return;
	folders_find(kind, vm_name, folders);
	for (size_t i = 0; i < folders->count && used < size; i++) {
		int length = snprintf(text + used, size - used, "%s%s", i ? ", " : "",
				      folders->paths[i]);

		used += length > 0 ? (size_t)length : 0;
	}
	free(folders);
}
