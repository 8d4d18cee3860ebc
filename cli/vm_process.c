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
#include <sys/wait.h>
#include <unistd.h>

#include <jansson.h>

#include "cli/api_client.h"
#include "hypervisor/vm_paths.h"

#define POLL_MS	       20
#define API_ANSWER_MS  2000
#define LOG_TAIL_BYTES 4096
#define KILL_WAIT_MS   5000
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

/* The VM's folder, and an empty log in it. */
static enum exit_code make_log(const char *name, char *log, size_t log_bytes,
			       struct cli_error *error)
{
	char folder[PATH_MAX], old[PATH_MAX];
	int rc, fd;

	rc = vm_path(VM_PATH_RUN_DIR, name, folder, sizeof(folder));
	rc = rc ? rc : vm_path(VM_PATH_LOG, name, log, log_bytes);
	if (rc < 0)
		return cli_error_set(error, EXIT_CONFIG, "LUNAR_RUN_DIR is too long; shorten it");
	rc = vm_paths_make_dir(folder);
	if (rc < 0)
		return cli_error_system(error, EXIT_INTERNAL, rc, "cannot make", folder);
	snprintf(old, sizeof(old), "%s.1", log);
	if (rename(log, old) < 0 && errno != ENOENT)
		return cli_error_system(error, EXIT_INTERNAL, -errno, "cannot rename", log);
	fd = open(log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return cli_error_system(error, EXIT_INTERNAL, -errno, "cannot write", log);
	close(fd);
	return EXIT_OK;
}

/* Returns 0 or an errno of posix_spawn() and its kin. */
static int spawn_detached(const char *program, const char *definition, const char *log, pid_t *pid)
{
	char *const arguments[] = {(char *)"vmwp", (char *)"--config", (char *)definition, NULL};
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
	rc = rc ? rc : posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	rc = rc ? rc : posix_spawn_file_actions_addopen(&actions, 1, log, O_WRONLY | O_APPEND, 0);
	rc = rc ? rc : posix_spawn_file_actions_adddup2(&actions, 1, 2);
	rc = rc ? rc : posix_spawn_file_actions_addclosefrom_np(&actions, 3);
	rc = rc ? rc : posix_spawn_file_actions_addchdir_np(&actions, "/");
	rc = rc ? rc : posix_spawn(pid, program, &actions, &attributes, arguments, environ);
	posix_spawnattr_destroy(&attributes);
out_actions:
	posix_spawn_file_actions_destroy(&actions);
	return rc;
}

enum exit_code vm_process_spawn(const char *name, struct vm_process *process,
				struct cli_error *error)
{
	char program[PATH_MAX], definition[PATH_MAX];
	enum exit_code code;
	int rc;

	code = vm_process_find_program(program, sizeof(program), error);
	if (code != EXIT_OK)
		return code;
	if (vm_path(VM_PATH_DEFINITION, name, definition, sizeof(definition)) < 0)
		return cli_error_set(error, EXIT_CONFIG, "LUNAR_STATE_DIR is too long; shorten it");
	code = make_log(name, process->log, sizeof(process->log), error);
	if (code != EXIT_OK)
		return code;
	rc = spawn_detached(program, definition, process->log, &process->pid);
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

/* The last line of the log, less the name that vmwp puts before it. */
static void read_last_line(const char *log, char *line, size_t line_bytes)
{
	char tail[LOG_TAIL_BYTES + 1];
	int fd = open(log, O_RDONLY | O_CLOEXEC);
	const char *begin;
	ssize_t length = 0;

	if (fd >= 0) {
		if (lseek(fd, -LOG_TAIL_BYTES, SEEK_END) < 0)
			lseek(fd, 0, SEEK_SET);
		length = read(fd, tail, LOG_TAIL_BYTES);
		close(fd);
	}
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
	int status = 0;

	if (waitpid(process->pid, &status, 0) != process->pid)
		return cli_error_set(error, EXIT_INTERNAL, "cannot wait for vmwp: %s",
				     strerror(errno));
	if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_OK) {
		*ended = true;
		return EXIT_OK;
	}
	read_last_line(process->log, line, sizeof(line));
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
