/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * attach: checks what was asked, starts the daemon, and waits for its word. The daemon tells the
 * outcome over a pipe, as a struct attach_result: both ends are this program.
 */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/deadline.h"
#include "iscsi-initiator/commands.h"
#include "iscsi-initiator/control.h"
#include "iscsi-initiator/daemon.h"
#include "iscsi-initiator/login_setup.h"
#include "iscsi-session/disk_id.h"

#define LOG_COMPONENT "lunar-iscsi"
#include "base/log.h"

static void print_result(const struct options *options, const struct attach_result *result)
{
	if (result->code != EXIT_OK) {
		command_fail(options, result->code, result->message);
	} else if (options->json) {
		json_t *object = json_pack("{s:i, s:s, s:s}", "code", 0, "id", result->id, "device",
					   result->device);
		json_dumpf(object, stdout, JSON_COMPACT);
		putchar('\n');
		json_decref(object);
	} else {
		printf("%s\n", result->device);
	}
	fflush(stdout);
}

static void on_attached_foreground(void *ctx, const struct attach_result *result)
{
	print_result(ctx, result);
}

static void on_attached_daemon(void *ctx, const struct attach_result *result)
{
	int fd = *(int *)ctx;

	if (write(fd, result, sizeof(*result)) != (ssize_t)sizeof(*result))
		log_warn("nobody waits for the result of the attach");
	close(fd);
}

/* Standard input and output to /dev/null, errors to the disk's log. */
static void redirect_output(const struct options *options)
{
	char id[DISK_ID_LENGTH + 1], path[128];
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	int log;

	disk_id_make(options->address.target, options->address.lun, id);
	mkdir(control_run_dir(), 0700);
	control_path(id, ".log", path, sizeof(path));
	log = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (null >= 0) {
		dup2(null, STDIN_FILENO);
		dup2(null, STDOUT_FILENO);
	}
	if (log >= 0 || null >= 0)
		dup2(log >= 0 ? log : null, STDERR_FILENO);
	if (log >= 0)
		close(log);
	if (null >= 0)
		close(null);
}

static enum exit_code run_daemon(const struct daemon_config *config, int result_fd)
{
	setsid();
	if (chdir("/") < 0)
		log_warn("chdir: %m");
	redirect_output(config->options);
	return daemon_run(config, on_attached_daemon, &result_fd);
}

static enum exit_code wait_for_result(const struct options *options, int fd)
{
	struct attach_result result;
	struct deadline deadline =
		deadline_in_ms(options->timeouts.login_s * 1000 + DAEMON_ATTACH_MS);
	struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
	int ret;

	do {
		ret = poll(&poll_fd, 1, deadline_left_ms(deadline));
	} while (ret < 0 && errno == EINTR);
	if (ret == 0)
		return command_fail(options, EXIT_TIMEOUT, "the attach is not over yet; see show");
	if (read(fd, &result, sizeof(result)) != (ssize_t)sizeof(result))
		return command_fail(options, EXIT_INTERNAL,
				    "the daemon died; see its log in " CONTROL_RUN_DIR);
	print_result(options, &result);
	return result.code;
}

static enum exit_code start_daemon(const struct daemon_config *config)
{
	const struct options *options = config->options;
	enum exit_code code;
	int fds[2];
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return command_fail(options, EXIT_INTERNAL, strerror(errno));
	pid = fork();
	if (pid < 0) {
		close(fds[0]);
		close(fds[1]);
		return command_fail(options, EXIT_INTERNAL, strerror(errno));
	}
	if (pid == 0) {
		close(fds[0]);
		return run_daemon(config, fds[1]);
	}
	close(fds[1]);
	code = wait_for_result(options, fds[0]);
	close(fds[0]);
	return code;
}

enum exit_code command_attach(const struct options *options)
{
	struct login_setup setup;
	struct daemon_config config = {.options = options, .secrets = &setup.secrets};
	char message[400];
	enum exit_code code = login_setup(options, &setup, message, sizeof(message));

	if (code != EXIT_OK)
		return command_fail(options, code, message);
	memcpy(config.initiator_name, setup.initiator_name, sizeof(config.initiator_name));
	memcpy(config.portal, setup.portal, sizeof(config.portal));
	if (options->foreground)
		code = daemon_run(&config, on_attached_foreground, (void *)(uintptr_t)options);
	else
		code = start_daemon(&config);
	chap_secrets_clear(&setup.secrets);
	return code;
}
