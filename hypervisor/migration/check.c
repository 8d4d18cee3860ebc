/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Findings, and the checks that need no VM.
 */
#include "hypervisor/migration/check.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "hypervisor/migration/confine.h"
#include "hypervisor/vm_config.h"
#include "hypervisor/vm_paths.h"

void migration_check_add(struct migration_check *check, enum migration_severity severity,
			 const char *item, const char *format, ...)
{
	struct migration_finding *finding;
	va_list args;

	if (check->count >= MIGRATION_MAX_CHECK_ITEMS - (severity == MIGRATION_STOPS ? 0u : 1u))
		return;
	finding = &check->findings[check->count++];
	finding->severity = severity;
	snprintf(finding->item, sizeof(finding->item), "%s", item);
	va_start(args, format);
	vsnprintf(finding->text, sizeof(finding->text), format, args);
	va_end(args);
}

const struct migration_finding *migration_check_stopper(const struct migration_check *check)
{
	for (uint32_t i = 0; i < check->count; i++)
		if (check->findings[i].severity == MIGRATION_STOPS)
			return &check->findings[i];
	return NULL;
}

static const char *item_of_error(enum exit_code code)
{
	switch (code) {
	case EXIT_CONFIG:
		return "definition";
	case EXIT_NO_KVM:
	case EXIT_NO_KERNEL_SUPPORT:
		return "kvm";
	case EXIT_NO_MEMORY:
		return "memory";
	case EXIT_NO_SWITCH:
		return "switch";
	case EXIT_NO_DISK:
		return "disk";
	case EXIT_EXISTS:
	case EXIT_STATE:
		return "name";
	case EXIT_PERMISSION:
		return "permission";
	default:
		return "vm";
	}
}

void migration_check_add_error(struct migration_check *check, const struct vm_error *error)
{
	migration_check_add(check, MIGRATION_STOPS, item_of_error(error->code), "%s",
			    *error->message ? error->message : "the VM cannot be made there");
}

/* Whether a process answers on the VM's API socket. */
static bool name_answers(const char *name)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	bool answers;
	int fd;

	if (vm_path(VM_PATH_API, name, address.sun_path, sizeof(address.sun_path)))
		return false;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return false;
	answers = connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0 || errno == EAGAIN;
	close(fd);
	return answers;
}

static void check_name(struct migration_check *check, const char *name)
{
	char path[PATH_MAX];

	if (name_answers(name))
		migration_check_add(check, MIGRATION_STOPS, "name",
				    "%s runs, or comes, on the destination already; stop that one, "
				    "or cancel its move, first",
				    name);
	else if (vm_path(VM_PATH_DEFINITION, name, path, sizeof(path)) == 0 &&
		 access(path, F_OK) == 0)
		migration_check_add(check, MIGRATION_STOPS, "name",
				    "a VM named %s is defined on the destination already; delete "
				    "or rename it there (lunar delete %s)",
				    name, name);
}

static void check_file(struct migration_check *check, const char *what, const char *path)
{
	if (path && access(path, R_OK) < 0)
		migration_check_add(check, MIGRATION_HARMS, what,
				    "the %s %s cannot be read on the destination (%s): the VM "
				    "could not reboot there; copy it",
				    what, path, strerror(errno));
}

/* A path that a VM of another host may not have here. Returns whether it may. */
static bool check_path(struct migration_check *check, const struct vm_config *config,
		       enum confine_kind kind, const char *item, const char *path)
{
	char folders[VM_MESSAGE_BYTES / 2];

	if (!path || confine_path_is_allowed(kind, config->name, path))
		return true;
	confine_folders_list(kind, config->name, folders, sizeof(folders));
	migration_check_add(check, MIGRATION_STOPS, item,
			    "the definition names %s; VMs of other hosts may have their %s in %s "
			    "alone there: move it, or set %s for lunar receive",
			    path, item, folders,
			    kind == CONFINE_CONSOLE ? "LUNAR_CONSOLE_DIR" : CONFINE_DIRS_VARIABLE);
	return false;
}

static bool check_target(struct migration_check *check, const char *url)
{
	if (confine_target_is_allowed(url))
		return true;
	migration_check_add(check, MIGRATION_STOPS, "disk",
			    "the definition names %s; VMs of other hosts may have disks of some "
			    "targets alone there: add it to %s for lunar receive",
			    url, CONFINE_TARGETS_VARIABLE);
	return false;
}

static bool check_disk(struct migration_check *check, const struct vm_config *config,
		       const struct vm_disk_config *disk)
{
	bool ok = disk->is_url ? check_target(check, disk->path)
			       : check_path(check, config, CONFINE_DISK, "disk", disk->path);

	return check_path(check, config, CONFINE_DISK, "secret", disk->secret) && ok;
}

/* The other host commands the guest: what the definition names here is the guest's to read, or to
 * write, and that must not be /etc/shadow. */
static bool check_paths(struct migration_check *check, const struct vm_config *config)
{
	bool ok = check_path(check, config, CONFINE_CONSOLE, "console", config->console_path);

	ok = check_path(check, config, CONFINE_BOOT, "kernel", config->kernel) && ok;
	ok = check_path(check, config, CONFINE_BOOT, "initrd", config->initrd) && ok;
	for (size_t i = 0; i < config->nic_count; i++)
		ok = check_path(check, config, CONFINE_SOCKET, "switch",
				config->nics[i].vsp_socket) &&
		     ok;
	for (size_t i = 0; i < config->disk_count; i++)
		ok = check_disk(check, config, &config->disks[i]) && ok;
	return ok;
}

bool migration_check_definition(struct migration_check *check, const char *vm_name,
				const char *definition, size_t length)
{
	char message[VM_MESSAGE_BYTES] = "";
	struct vm_config *config;
	bool may_make = true;

	check_name(check, vm_name);
	if (vm_config_parse("the definition", definition, length, &config, message,
			    sizeof(message))) {
		migration_check_add(check, MIGRATION_STOPS, "definition",
				    "the destination does not understand it: %s; use the same "
				    "version of Lunar on both hosts",
				    message);
		return false;
	}
	if (strcmp(config->name, vm_name) != 0) {
		migration_check_add(check, MIGRATION_STOPS, "definition",
				    "it is of %s, not of %s; give the VM its definition's name",
				    config->name, vm_name);
		may_make = false;
	}
	if (!check_paths(check, config)) {
		may_make = false;
	} else { /* what may not be named is not looked for either */
		check_file(check, "kernel", config->kernel);
		check_file(check, "initrd", config->initrd);
	}
	vm_config_free(config);
	return may_make;
}
