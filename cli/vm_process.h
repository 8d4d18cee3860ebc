/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The vmwp process of a VM, from outside: finding the program, starting it in the background,
 * waiting for it to come up or to go. Processes are held by pidfd, so that a pid that was given to
 * another process is never signalled.
 */
#ifndef LUNAR_CLI_VM_PROCESS_H
#define LUNAR_CLI_VM_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/deadline.h"
#include "cli/cli_error.h"

/*
 * Where vmwp is: $LUNAR_VMWP; else beside lunar's own binary, in ../sbin or ../libexec/lunar from
 * there, or in PATH. EXIT_OK, or EXIT_INTERNAL.
 */
enum exit_code vm_process_find_program(char *path, size_t path_bytes, struct cli_error *error);

struct vm_process {
	pid_t pid;
	int pidfd;
	char log[256]; /* what it writes to its standard output and error */
};

/*
 * Starts vmwp for a defined VM in a session of its own, its output going to the VM's log (the one
 * of the run before is kept as vmwp.log.1). On EXIT_OK the caller ends with vm_process_close().
 */
enum exit_code vm_process_spawn(const char *name, struct vm_process *process,
				struct cli_error *error);

/*
 * Waits until the VM runs. EXIT_OK: it does (*ended false), or it ran and has ended well already
 * (*ended true). When vmwp failed: its exit code, and the last line that it wrote. EXIT_TIMEOUT: it
 * was killed, since it did neither.
 */
enum exit_code vm_process_wait_running(const char *name, struct vm_process *process,
				       struct deadline deadline, bool *ended,
				       struct cli_error *error);

/* Releases what is held; the process goes on. */
void vm_process_close(struct vm_process *process);

/* The pidfd of a process that is not our child, or -errno. -ESRCH: it has ended. */
int vm_process_open(pid_t pid);
/* Waits for a pidfd's process to end. True when it has. */
bool vm_process_wait_end(int pidfd, struct deadline deadline);
/* SIGKILL. */
void vm_process_kill(int pidfd);

#endif
