/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lunar restore: a vmwp that makes its VM from a file, started in the background as lunar start
 * does. It tells the VM's name itself.
 */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/deadline.h"
#include "cli/commands.h"
#include "cli/vm_process.h"
#include "hypervisor/vm_paths.h"

#define KILL_WAIT_MS 5000

/* It ended, or hangs, and never said its name: what it wrote says why. */
static enum exit_code explain_nameless(const struct vm_process *process, int errors,
				       struct deadline deadline, struct cli_error *error)
{
	char line[512] = "";
	int status = 0;

	if (!vm_process_wait_end(process->pidfd, deadline)) {
		vm_process_kill(process->pidfd);
		if (vm_process_wait_end(process->pidfd, deadline_in_ms(KILL_WAIT_MS)))
			(void)waitpid(process->pid, NULL, 0);
		return cli_error_set(error, EXIT_TIMEOUT,
				     "the VM was not restored in time and was stopped; give a "
				     "longer --timeout");
	}
	if (waitpid(process->pid, &status, 0) != process->pid)
		return cli_error_set(error, EXIT_INTERNAL, "cannot wait for vmwp: %s",
				     strerror(errno));
	if (WIFSIGNALED(status))
		return cli_error_set(error, EXIT_INTERNAL, "vmwp was ended by signal %d (%s)",
				     WTERMSIG(status), strsignal(WTERMSIG(status)));
	vm_process_last_line(errors, line, sizeof(line));
	if (!*line)
		snprintf(line, sizeof(line), "vmwp ended with exit code %d and no word",
			 WEXITSTATUS(status));
	return cli_error_set(
		error, WEXITSTATUS(status) ? (enum exit_code)WEXITSTATUS(status) : EXIT_INTERNAL,
		"%s", line);
}

static enum exit_code wait_name(const struct vm_process *process, int told, int errors,
				struct deadline deadline, char name[VM_PROCESS_NAME_BYTES],
				struct cli_error *error)
{
	int rc = 0;

	name[0] = '\0';
	while (rc == 0) {
		struct pollfd poll_told = {.fd = told, .events = POLLIN};

		if (poll(&poll_told, 1, deadline_left_ms(deadline)) == 1)
			rc = vm_process_read_name(told, name);
		else if (deadline_passed(deadline))
			break;
	}
	return rc == 1 ? EXIT_OK : explain_nameless(process, errors, deadline, error);
}

static enum exit_code restore(const struct options *options, const char *file, json_t **result,
			      struct cli_error *error)
{
	struct deadline deadline = deadline_in_ms(options->timeout_s * 1000);
	struct vm_process process = {.pidfd = -1};
	char name[VM_PROCESS_NAME_BYTES];
	int errors, told = -1;
	enum exit_code code;
	bool ended = false;

	errors = memfd_create("vmwp-errors", MFD_CLOEXEC);
	if (errors < 0)
		return cli_error_set(error, EXIT_INTERNAL, "out of memory");
	code = vm_process_spawn_restore(file, errors, &process, &told, error);
	if (code == EXIT_OK) {
		code = wait_name(&process, told, errors, deadline, name, error);
		close(told);
		if (code == EXIT_OK)
			(void)vm_path(VM_PATH_LOG, name, process.log, sizeof(process.log));
		if (code == EXIT_OK)
			code = vm_process_wait_running(name, &process, deadline, &ended, error);
		vm_process_close(&process);
	}
	close(errors);
	if (code != EXIT_OK)
		return code;
	*result = json_pack("{ss ss so ss}", "name", name, "state", ended ? "stopped" : "running",
			    "pid", ended ? json_null() : json_integer(process.pid), "log",
			    process.log);
	return EXIT_OK;
}

enum exit_code command_restore(const struct command_context *context, struct cli_error *error)
{
	const char *given = context->options->argument;
	char file[PATH_MAX];
	json_t *result = NULL;
	enum exit_code code;

	if (!realpath(given, file)) /* vmwp runs in another folder */
		return cli_error_system(error, EXIT_NOT_FOUND, -errno, "cannot read", given);
	code = restore(context->options, file, &result, error);
	if (code != EXIT_OK)
		return code;
	if (!context->options->keep && unlink(file) < 0)
		fprintf(context->err,
			"lunar: cannot remove %s: %s; restored again, the VM would be two\n", given,
			strerror(errno));
	if (context->options->json)
		return command_print_json(context, result, error);
	fprintf(context->out, "%s: %s\n", json_string_value(json_object_get(result, "name")),
		json_string_value(json_object_get(result, "state")));
	json_decref(result);
	return EXIT_OK;
}
