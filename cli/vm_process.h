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
 * Starts vmwp for a VM whose name it will tell: --restore file, or --incoming for a TCP connection
 * that was accepted (stays the caller's). Its standard error goes to fd errors until it knows the
 * name (vm_log_take()). *told: the caller's, to read the name from (vm_process_read_name()); at its
 * end there is nothing more to come.
 */
enum exit_code vm_process_spawn_restore(const char *file, int errors, struct vm_process *process,
					int *told, struct cli_error *error);
enum exit_code vm_process_spawn_incoming(int connection, int errors, struct vm_process *process,
					 int *told, struct cli_error *error);

#define VM_PROCESS_NAME_BYTES 64

/*
 * Takes what has come on told, after what is in line (NUL-terminated, at first empty). Returns 1
 * when the line is there and a VM's name, which it then is; 0 when there is more to come; -EPIPE at
 * the end of the stream; -EPROTO where it is no name.
 */
int vm_process_read_name(int told, char line[VM_PROCESS_NAME_BYTES]);

/* The last line of a log (an fd that can be read from any place), less the name that vmwp puts
 * before it; empty where there is none. */
void vm_process_last_line(int log, char *line, size_t line_bytes);

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
