/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where the parts of a VM lie on the host. LUNAR_RUN_DIR and LUNAR_STATE_DIR override /run/lunar
 * and /var/lib/lunar; vmwp and lunar agree on these names through this header alone. netvspd
 * listens on VSP_SOCKET_DEFAULT (wire/vsp.h) or where it is told to, whatever LUNAR_RUN_DIR says.
 */
#ifndef LUNAR_HYPERVISOR_VM_PATHS_H
#define LUNAR_HYPERVISOR_VM_PATHS_H

#include <stddef.h>

/* Never NULL; static or the environment's. */
const char *vm_paths_run_dir(void);
const char *vm_paths_state_dir(void);
/* Below it, consoles of VMs that come from other hosts may be; $LUNAR_CONSOLE_DIR. */
const char *vm_paths_console_dir(void);

enum vm_path {
	VM_PATH_RUN_DIR,    /* $LUNAR_RUN_DIR/vm/NAME */
	VM_PATH_API,	    /* .../api.sock */
	VM_PATH_CONSOLE,    /* .../console.sock */
	VM_PATH_LOG,	    /* .../vmwp.log */
	VM_PATH_LOCK,	    /* .../lock: see vm_lock.h */
	VM_PATH_DEFINITION, /* $LUNAR_STATE_DIR/vms/NAME.yaml */
	VM_PATH_MIGRATION,  /* $LUNAR_STATE_DIR/migrations/NAME.json: the record of the last move */
};

/* Writes the path. name: a valid VM name (vm_name_is_valid()). Returns 0, or -ENAMETOOLONG where it
 * does not fit in path, or (for the sockets) in a unix socket's address. */
int vm_path(enum vm_path which, const char *name, char *path, size_t path_bytes);

/* The switch's vsp socket where a VM's configuration names none: $LUNAR_RUN_DIR/netvspd.sock. Same
 * returns. */
int vm_paths_switch_socket(char *path, size_t path_bytes);

/* Creates a folder (mode 0700) and those above it that are missing (mode 0755). Returns 0 or
 * -errno. */
int vm_paths_make_dir(const char *path);

#endif
