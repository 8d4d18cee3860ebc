/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The VMs that lunar knows: definitions in $LUNAR_STATE_DIR/vms, one YAML file each, and what runs
 * under $LUNAR_RUN_DIR/vm. There is no index and no daemon: the folders are the truth.
 */
#ifndef LUNAR_CLI_VM_STORE_H
#define LUNAR_CLI_VM_STORE_H

#include <stddef.h>

#include "cli/cli_error.h"
#include "hypervisor/vm_config.h"

/* Whether a name given by the user can be a VM's: EXIT_OK or EXIT_USAGE. Everything below takes
 * checked names. */
enum exit_code vm_store_check_name(const char *name, struct cli_error *error);

/*
 * Checks file and stores a copy of its bytes; all or nothing, also when the host crashes. name
 * receives the VM's name. EXIT_CONFIG, EXIT_EXISTS (the name, or a MAC that another definition
 * gives on the same switch), EXIT_PERMISSION.
 */
enum exit_code vm_store_create(const char *file, char name[VM_NAME_MAX + 1],
			       struct cli_error *error);

/* Removes the definition, and the VM's log. EXIT_NOT_FOUND, EXIT_PERMISSION. */
enum exit_code vm_store_delete(const char *name, struct cli_error *error);

/* Reads a definition; the caller frees it with vm_config_free(). EXIT_NOT_FOUND, EXIT_CONFIG,
 * EXIT_PERMISSION. */
enum exit_code vm_store_load(const char *name, struct vm_config **config, struct cli_error *error);

struct vm_names {
	char (*names)[VM_NAME_MAX + 1];
	size_t count;
};

/* All VMs defined, and (running_too) those that only have an API socket. Sorted, each once. */
enum exit_code vm_store_list(bool running_too, struct vm_names *names, struct cli_error *error);
void vm_names_free(struct vm_names *names);

#endif
