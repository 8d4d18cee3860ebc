/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Starts and watches vmwp.
 */
#include "cli/vm_process.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <jansson.h>

#include "cli/api_client.h"
#include "hypervisor/vm_config.h"
#include "hypervisor/vm_log.h"
#include "hypervisor/vm_paths.h"

#define POLL_MS		 20
#define API_ANSWER_MS	 2000
#define LOG_TAIL_BYTES	 4096
#define KILL_WAIT_MS	 5000
#define INCOMING_FD	 3 /* of vmwp: the connection */
#define INCOMING_FD_TEXT "3"
#define PROGRAM_MISSING                                                                            \
	"vmwp was not found beside lunar, in ../sbin, ../libexec/lunar or in PATH; set "           \
	"LUNAR_VMWP to it"

extern char **environ;

/* $PATH, entry by entry. An empty entry would be the current folder; it is left out. */
static bool find_in_path(char *path, size_t path_bytes)
{
	const char *entry = getenv("PATH");

	while (entry && *entry) {
		size_t length = strcspn(entry, ":");

		if (length > 0 && length < path_bytes &&
		    (size_t)snprintf(path, path_bytes, "%.*s/vmwp", (int)length, entry) <
			    path_bytes &&
		    access(path, X_OK) == 0)
			return true;
		entry += length;
		entry += *entry == ':';
	}
	return false;
}

enum exit_code vm_process_find_program(char *path, size_t path_bytes, struct cli_error *error)
{
	static const char *const places[] = {"vmwp", "../sbin/vmwp", "../libexec/lunar/vmwp"};
	const char *given = getenv("LUNAR_VMWP");
	char self[PATH_MAX];
	ssize_t length;

	if (given && *given) {
		if (access(given, X_OK) < 0 || strlen(given) >= path_bytes)
			return cli_error_set(error, EXIT_INTERNAL,
					     "LUNAR_VMWP is %s, which cannot be run: %s", given,
					     strerror(errno));
		snprintf(path, path_bytes, "%s", given);
		return EXIT_OK;
	}
	length = readlink("/proc/self/exe", self, sizeof(self) - 1);
	if (length > 0) {
		self[length] = '\0';
		*strrchr(self, '/') = '\0';
		for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++)
			if ((size_t)snprintf(path, path_bytes, "%s/%s", self, places[i]) <
				    path_bytes &&
			    access(path, X_OK) == 0)
				return EXIT_OK;
	}
	if (find_in_path(path, path_bytes))
		return EXIT_OK;
	return cli_error_set(error, EXIT_INTERNAL, PROGRAM_MISSING);
}

/* What a vmwp gets: its arguments after its name, and its standard streams. */
struct launch {
	const char *option;
	const char *value;
	int out;
	int errors;
	int connection; /* becomes fd 3; -1: none */
};

/* Returns 0 or an errno of posix_spawn() and its kin. */
static int launch_actions(const struct launch *launch, posix_spawn_file_actions_t *actions)
{
	bool connected = launch->connection >= 0;
	int rc = posix_spawn_file_actions_addopen(actions, 0, "/dev/null", O_RDONLY, 0);

	rc = rc ? rc : posix_spawn_file_actions_adddup2(actions, launch->out, 1);
	rc = rc ? rc : posix_spawn_file_actions_adddup2(actions, launch->errors, 2);
	if (!rc && connected)
		rc = posix_spawn_file_actions_adddup2(actions, launch->connection, INCOMING_FD);
	rc = rc ? rc
		: posix_spawn_file_actions_addclosefrom_np(actions,
							   INCOMING_FD + (connected ? 1 : 0));
	return rc ? rc : posix_spawn_file_actions_addchdir_np(actions, "/");
}

/* In a session of its own, with the default signals. Returns 0 or an errno. */
static int spawn_detached(const char *program, const struct launch *launch, pid_t *pid)
{
	char *const arguments[] = {(char *)"vmwp", (char *)launch->option, (char *)launch->value,
				   NULL};
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	sigset_t none, all;
	int rc;

	sigemptyset(&none);
	sigfillset(&all);
	rc = posix_spawn_file_actions_init(&actions);
	if (rc)
		return rc;
	rc = posix_spawnattr_init(&attributes);
	if (rc)
		goto out_actions;
	posix_spawnattr_setsigmask(&attributes, &none);
	posix_spawnattr_setsigdefault(&attributes, &all);
	rc = posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK |
							   POSIX_SPAWN_SETSIGDEF);
	rc = rc ? rc : launch_actions(launch, &actions);
	rc = rc ? rc : posix_spawn(pid, program, &actions, &attributes, arguments, environ);
	posix_spawnattr_destroy(&attributes);
out_actions:
	posix_spawn_file_actions_destroy(&actions);
	return rc;
}

static enum exit_code launch(const struct launch *launch, struct vm_process *process,
			     struct cli_error *error)
{
	char program[PATH_MAX];
	enum exit_code code = vm_process_find_program(program, sizeof(program), error);
	int rc;

	if (code != EXIT_OK)
		return code;
	rc = spawn_detached(program, launch, &process->pid);
	if (rc)
		return cli_error_system(error, EXIT_INTERNAL, -rc, "cannot run", program);
	process->pidfd = vm_process_open(process->pid);
	if (process->pidfd < 0) {
		kill(process->pid,
		     SIGKILL); /* our child, not waited for: the pid is still its own */
		waitpid(process->pid, NULL, 0);
		return cli_error_set(error, EXIT_INTERNAL, "cannot watch vmwp: %s",
				     strerror(-process->pidfd));
	}
	return EXIT_OK;
}

enum exit_code vm_process_spawn(const char *name, struct vm_process *process,
				struct cli_error *error)
{
	struct launch what = {.option = "--config", .connection = -1};
	char program[PATH_MAX], definition[PATH_MAX];
	enum exit_code code = vm_process_find_program(program, sizeof(program), error);
	int log;

	if (code != EXIT_OK) /* before the log of the run before is put aside */
		return code;
	if (vm_path(VM_PATH_DEFINITION, name, definition, sizeof(definition)) < 0)
		return cli_error_set(error, EXIT_CONFIG, "LUNAR_STATE_DIR is too long; shorten it");
	log = vm_log_open(name, process->log, sizeof(process->log));
	if (log == -ENAMETOOLONG)
		return cli_error_set(error, EXIT_CONFIG, "LUNAR_RUN_DIR is too long; shorten it");
	if (log < 0)
		return cli_error_system(error, EXIT_INTERNAL, log, "cannot make", process->log);
	what.value = definition;
	what.out = log;
	what.errors = log;
	code = launch(&what, process, error);
	close(log);
	return code;
}

/* As launch(), with a pipe for the name. */
static enum exit_code launch_nameless(struct launch *what, struct vm_process *process, int *told,
				      struct cli_error *error)
{
	enum exit_code code;
	int pipe_fds[2];

	process->log[0] = '\0';
	if (pipe2(pipe_fds, O_CLOEXEC) < 0)
		return cli_error_set(error, EXIT_INTERNAL, "cannot make a pipe: %s",
				     strerror(errno));
	what->out = pipe_fds[1];
	code = launch(what, process, error);
	close(pipe_fds[1]);
	if (code != EXIT_OK) {
		close(pipe_fds[0]);
		return code;
	}
	(void)fcntl(pipe_fds[0], F_SETFL, O_NONBLOCK);
	*told = pipe_fds[0];
	return code;
}

enum exit_code vm_process_spawn_restore(const char *file, int errors, struct vm_process *process,
					int *told, struct cli_error *error)
{
	struct launch what = {
		.option = "--restore", .value = file, .errors = errors, .connection = -1};

	return launch_nameless(&what, process, told, error);
}

enum exit_code vm_process_spawn_incoming(int connection, int errors, struct vm_process *process,
					 int *told, struct cli_error *error)
{
	struct launch what = {.option = "--incoming",
			      .value = INCOMING_FD_TEXT,
			      .errors = errors,
			      .connection = connection};

	return launch_nameless(&what, process, told, error);
}

int vm_process_read_name(int told, char line[VM_PROCESS_NAME_BYTES])
{
	size_t used = strlen(line);
	ssize_t got = read(told, line + used, VM_PROCESS_NAME_BYTES - 1 - used);
	char *end;

	if (got < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -EPIPE;
	if (got == 0)
		return used + 1 < VM_PROCESS_NAME_BYTES ? -EPIPE : -EPROTO;
	line[used + (size_t)got] = '\0';
	end = strchr(line, '\n');
	if (!end)
		return strlen(line) + 1 < VM_PROCESS_NAME_BYTES ? 0 : -EPROTO;
	*end = '\0';
	return vm_name_is_valid(line) ? 1 : -EPROTO;
}

void vm_process_last_line(int log, char *line, size_t line_bytes)
{
	char tail[LOG_TAIL_BYTES + 1];
	struct stat status = {0};
	const char *begin;
	ssize_t length;

	(void)fstat(log, &status);
	length = pread(log, tail, LOG_TAIL_BYTES,
		       status.st_size > LOG_TAIL_BYTES ? status.st_size - LOG_TAIL_BYTES : 0);
	while (length > 0 && (tail[length - 1] == '\n' || tail[length - 1] == '\r'))
		length--;
	tail[length > 0 ? length : 0] = '\0';
	for (char *c = tail; *c; c++)
		if ((unsigned char)*c < 0x20 && *c != '\n')
			*c = '?';
	begin = strrchr(tail, '\n');
	begin = begin ? begin + 1 : tail;
	if (strncmp(begin, "vmwp: ", 6) == 0)
		begin += 6;
	snprintf(line, line_bytes, "%.*s", (int)line_bytes - 1, begin);
}

/* vmwp has ended; what does that mean? */
static enum exit_code explain_end(const struct vm_process *process, bool *ended,
				  struct cli_error *error)
{
	char line[512] = "";
	int status = 0, log;

	if (waitpid(process->pid, &status, 0) != process->pid)
		return cli_error_set(error, EXIT_INTERNAL, "cannot wait for vmwp: %s",
				     strerror(errno));
	if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_OK) {
		*ended = true;
		return EXIT_OK;
	}
	log = open(process->log, O_RDONLY | O_CLOEXEC);
	if (log >= 0) {
		vm_process_last_line(log, line, sizeof(line));
		close(log);
	}
	if (WIFSIGNALED(status))
		return cli_error_set(error, EXIT_INTERNAL,
				     "vmwp was ended by signal %d (%s); see %s", WTERMSIG(status),
				     strsignal(WTERMSIG(status)), process->log);
	if (!*line)
		snprintf(line, sizeof(line), "vmwp ended with exit code %d and no word; see %s",
			 WEXITSTATUS(status), process->log);
	return cli_error_set(error, (enum exit_code)WEXITSTATUS(status), "%s", line);
}

enum exit_code vm_process_wait_running(const char *name, struct vm_process *process,
				       struct deadline deadline, bool *ended,
				       struct cli_error *error)
{
	*ended = false;
	for (;;) {
		struct pollfd poll_end = {.fd = process->pidfd, .events = POLLIN};
		int left_ms = deadline_left_ms(deadline);
		struct cli_error ignored;
		json_t *vm = NULL;
		bool running;

		if (poll(&poll_end, 1, left_ms < POLL_MS ? left_ms : POLL_MS) == 1)
			return explain_end(process, ended, error);
		if (left_ms == 0)
			break;
		if (api_get(name, "", (uint32_t)(left_ms < API_ANSWER_MS ? left_ms : API_ANSWER_MS),
			    &vm, &ignored) != EXIT_OK)
			continue;
		running = json_integer_value(json_object_get(vm, "pid")) == process->pid &&
			  strcmp(json_string_value(json_object_get(vm, "state"))
					 ? json_string_value(json_object_get(vm, "state"))
					 : "",
				 "running") == 0;
		json_decref(vm);
		if (running)
			return EXIT_OK;
	}
	vm_process_kill(process->pidfd);
	if (vm_process_wait_end(process->pidfd, deadline_in_ms(KILL_WAIT_MS)))
		waitpid(process->pid, NULL, 0);
	return cli_error_set(
		error, EXIT_TIMEOUT,
		"%s did not start in time and was stopped; see %s, or give a longer --timeout",
		name, process->log);
}

void vm_process_close(struct vm_process *process)
{
	close(process->pidfd);
	process->pidfd = -1;
}

int vm_process_open(pid_t pid)
{
	int fd = pidfd_open(pid, 0);

	return fd < 0 ? -errno : fd;
}

bool vm_process_wait_end(int pidfd, struct deadline deadline)
{
	struct pollfd poll_end = {.fd = pidfd, .events = POLLIN};
	int rc;

	do {
		rc = poll(&poll_end, 1, deadline_left_ms(deadline));
	} while (rc < 0 && errno == EINTR && !deadline_passed(deadline));
	return rc == 1;
}

void vm_process_kill(int pidfd)
{
	(void)pidfd_send_signal(pidfd, SIGKILL, NULL, 0);
}
