/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lunar receive with a shell script for vmwp, and TCP clients on loopback. The script does what the
 * client says in a line; verdicts come from what it answers on the connection, from the log, and
 * from the processes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/deadline.h"
#include "base/event_loop.h"
#include "base/log.h"
#include "cli/commands.h"
#include "cli/receive_service.h"
#include "hypervisor/tls_files.h"

#define WAIT_MS 10000

/* Tells its arguments and fds on the connection, then obeys. */
static const char vmwp[] =
	"#!/bin/sh\n"
	"read -r order <&3\n"
	"fds=\n"
	"for n in 0 1 2 3 4 5 6 7 8 9; do\n"
	"[ -e /proc/$$/fd/$n ] && fds=\"$fds $n\"\n"
	"done\n"
	"echo \"$*$fds\" >&3\n"
	"case $order in\n"
	"name) echo vm0; exec >/dev/null; read -r more <&3; exit 0 ;;\n"
	"nonsense) echo '../../etc/passwd'; exec >/dev/null; read -r more <&3 ;;\n"
	"long) head -c 5000 /dev/zero | tr '\\0' x; read -r more <&3 ;;\n"
	"fail) echo 'vmwp: no good' >&2; exit 22 ;;\n"
	"ok) exit 0 ;;\n"
	"silent) read -r more <&3 ;;\n"
	"esac\n";

struct fixture {
	struct event_loop *loop;
	struct receive_service *service;
	char dir[64];
	char log[96];
	int errors;
	int saved_stderr;
	struct cli_error error;
};

static void serve(struct fixture *f, uint32_t max, uint32_t stranger_ms)
{
	const struct receive_options options = {
		.host = "127.0.0.1", .max = max, .stranger_ms = stranger_ms, .errors = f->errors};

	receive_service_destroy(f->service);
	f->service = NULL;
	assert_int_equal(receive_service_create(f->loop, &options, &f->service, &f->error),
			 EXIT_OK);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	char path[96];
	FILE *file;

	assert_non_null(f);
	snprintf(f->dir, sizeof(f->dir), "/tmp/test-receive-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(path, sizeof(path), "%s/vmwp", f->dir);
	file = fopen(path, "w");
	assert_non_null(file);
	fputs(vmwp, file);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(chmod(path, 0700), 0);
	setenv("LUNAR_VMWP", path, 1);
	/* The log, and what vmwp has to say, go to a file. */
	snprintf(f->log, sizeof(f->log), "%s/log", f->dir);
	f->errors = open(f->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	assert_true(f->errors >= 0);
	f->saved_stderr = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 10);
	dup2(f->errors, STDERR_FILENO);
	assert_int_equal(event_loop_create(&f->loop), 0);
	serve(f, 8, 60000);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	char command[128];

	receive_service_destroy(f->service);
	event_loop_destroy(f->loop);
	dup2(f->saved_stderr, STDERR_FILENO);
	close(f->saved_stderr);
	close(f->errors);
	while (waitpid(-1, NULL, WNOHANG) > 0)
		continue;
	snprintf(command, sizeof(command), "rm -r %s", f->dir);
	assert_int_equal(system(command), 0);
	free(f);
	return 0;
}

static int client_connect(struct fixture *f)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_port = htons(receive_service_port(f->service)),
				      .sin_addr = {htonl(INADDR_LOOPBACK)}};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

static void client_say(int fd, const char *order)
{
	char line[32];
	int length = snprintf(line, sizeof(line), "%s\n", order);

	assert_int_equal(send(fd, line, (size_t)length, MSG_NOSIGNAL), length);
}

/* What comes within ms: its length; 0: the end; -1: nothing. The loop runs meanwhile. */
static ssize_t client_read(struct fixture *f, int fd, char *text, size_t bytes, uint32_t ms)
{
	struct deadline deadline = deadline_in_ms(ms);
	ssize_t got;

	do {
		assert_int_equal(event_loop_run_once(f->loop, 10), 0);
		got = recv(fd, text, bytes - 1, MSG_DONTWAIT);
		if (got >= 0) {
			text[got] = '\0';
			return got;
		}
		if (errno == ECONNRESET)
			return 0;
	} while (!deadline_passed(deadline));
	return -1;
}

static int client_send_order(struct fixture *f, const char *order)
{
	char text[256];
	int fd = client_connect(f);

	client_say(fd, order);
	assert_true(client_read(f, fd, text, sizeof(text), WAIT_MS) > 0);
	return fd;
}

static bool log_holds(struct fixture *f, const char *words)
{
	char text[16384];
	int fd = open(f->log, O_RDONLY | O_CLOEXEC);
	ssize_t got = read(fd, text, sizeof(text) - 1);

	close(fd);
	assert_true(got >= 0);
	text[got] = '\0';
	return strstr(text, words) != NULL;
}

static void wait_log(struct fixture *f, const char *words)
{
	struct deadline deadline = deadline_in_ms(WAIT_MS);

	while (!log_holds(f, words)) {
		assert_false(deadline_passed(deadline));
		assert_int_equal(event_loop_run_once(f->loop, 10), 0);
	}
}

static void each_connection_gets_a_vmwp_with_nothing_but_its_socket(void **state)
{
	struct fixture *f = *state;
	char text[256];
	int fd = client_connect(f);

	client_say(fd, "ok");
	assert_true(client_read(f, fd, text, sizeof(text), WAIT_MS) > 0);
	/* Beyond 9 are the shell's own. */
	assert_string_equal(text, "--incoming 3 0 1 2 3\n");
	assert_int_equal(client_read(f, fd, text, sizeof(text), WAIT_MS), 0);
	wait_log(f, ": was answered");
	close(fd);
}

static void failure_of_a_vmwp_is_one_line(void **state)
{
	struct fixture *f = *state;
	int fd = client_send_order(f, "fail");

	wait_log(f, "info receive: 127.0.0.1:");
	wait_log(f, ": refused: other host not trusted\n");
	assert_true(log_holds(f, "vmwp: no good\n"));
	close(fd);
}

static void vm_that_came_is_named_and_outlives_the_service(void **state)
{
	struct fixture *f = *state;
	char text[256];
	int fd = client_send_order(f, "name");

	wait_log(f, ": for vm0 (process ");
	receive_service_destroy(f->service);
	f->service = NULL;
	assert_int_equal(client_read(f, fd, text, sizeof(text), 200), -1);
	client_say(fd, "end");
	assert_int_equal(client_read(f, fd, text, sizeof(text), WAIT_MS), 0);
	close(fd);
}

static void end_of_a_vm_is_told_by_its_name(void **state)
{
	struct fixture *f = *state;
	int fd = client_send_order(f, "name");

	wait_log(f, ": for vm0 (process ");
	client_say(fd, "end");
	wait_log(f, "vm0: process ");
	wait_log(f, " has ended: success");
	close(fd);
}

static void strangers_are_bounded_and_the_next_one_waits(void **state)
{
	struct fixture *f = *state;
	char text[256];
	int first, second;

	serve(f, 1, 60000);
	first = client_send_order(f, "silent");
	second = client_connect(f); /* the kernel takes it */
	client_say(second, "ok");
	assert_int_equal(client_read(f, second, text, sizeof(text), 300), -1);
	serve(f, 1, 60000); /* the same bound holds for a service that begins anew */
	close(first);
	close(second);
	first = client_send_order(f, "name");
	second = client_send_order(f, "ok"); /* one who has a name is no stranger */
	close(second);
	close(first);
}

static void place_of_a_stranger_is_free_at_its_end(void **state)
{
	struct fixture *f = *state;
	int fds[6];

	serve(f, 1, 60000);
	for (size_t i = 0; i < 6; i++) {
		fds[i] = client_send_order(f, i % 2 ? "fail" : "ok");
		close(fds[i]);
	}
}

static void one_address_cannot_have_every_place(void **state)
{
	struct fixture *f = *state;
	char text[256];
	int fds[3];

	serve(f, 3, 60000);
	fds[0] = client_send_order(f, "silent");
	fds[1] = client_send_order(f, "silent");
	fds[2] = client_connect(f);
	assert_int_equal(client_read(f, fds[2], text, sizeof(text), WAIT_MS), 0);
	wait_log(f, ": refused: 2 connections of 127.0.0.1 have not shown who they are");
	for (size_t i = 0; i < 3; i++)
		close(fds[i]);
}

static void stranger_who_takes_too_long_is_cut_off(void **state)
{
	static const char *const orders[] = {"silent", "nonsense", "long"};
	struct fixture *f = *state;
	char text[256];

	serve(f, 2, 300);
	for (size_t i = 0; i < 3; i++) {
		int fd = client_send_order(f, orders[i]);

		assert_int_equal(client_read(f, fd, text, sizeof(text), WAIT_MS), 0);
		wait_log(f, "has not shown within 0 s who it is");
		wait_log(f, "was ended by signal 9");
		assert_int_equal(truncate(f->log, 0), 0);
		close(fd);
	}
	assert_false(log_holds(f, "passwd"));
}

static void missing_vmwp_does_not_end_the_service(void **state)
{
	struct fixture *f = *state;
	const char *given = getenv("LUNAR_VMWP");
	char *good = strdup(given ? given : ""), text[64];
	int fd;

	setenv("LUNAR_VMWP", "/nonexistent", 1);
	fd = client_connect(f);
	assert_int_equal(client_read(f, fd, text, sizeof(text), WAIT_MS), 0);
	close(fd);
	wait_log(f, "error receive: 127.0.0.1:");
	setenv("LUNAR_VMWP", good, 1);
	free(good);
	close(client_send_order(f, "ok"));
}

static void address_in_use_and_addresses_of_others_are_told(void **state)
{
	struct fixture *f = *state;
	struct receive_options options = {.host = "127.0.0.1",
					  .port = receive_service_port(f->service),
					  .max = 1,
					  .stranger_ms = 1000,
					  .errors = f->errors};
	struct receive_service *service = NULL;

	assert_int_equal(receive_service_create(f->loop, &options, &service, &f->error),
			 EXIT_EXISTS);
	assert_non_null(strstr(f->error.message, "does lunar receive run already?"));
	options.host = "192.0.2.1";
	assert_int_equal(receive_service_create(f->loop, &options, &service, &f->error),
			 EXIT_USAGE);
	options.host = "no such host";
	assert_int_equal(receive_service_create(f->loop, &options, &service, &f->error),
			 EXIT_USAGE);
	assert_null(service);
}

static void every_address_takes_both_kinds(void **state)
{
	struct receive_options options = {.host = "", .max = 8, .stranger_ms = 1000};
	struct fixture *f = *state;

	options.errors = f->errors;
	receive_service_destroy(f->service);
	f->service = NULL;
	assert_int_equal(receive_service_create(f->loop, &options, &f->service, &f->error),
			 EXIT_OK);
	close(client_send_order(f, "ok"));
	wait_log(f, "info receive: 127.0.0.1:"); /* not as ::ffff:127.0.0.1 */
}

/* ---- the command ---- */

static enum exit_code receive(struct fixture *f)
{
	struct options options = {.command = COMMAND_RECEIVE, .receive_max = 8};
	const struct command_context context = {.options = &options, .out = stdout, .err = stderr};

	snprintf(options.listen_host, sizeof(options.listen_host), "127.0.0.1");
	return command_receive(&context, &f->error);
}

static void service_does_not_start_without_certificates(void **state)
{
	struct fixture *f = *state;

	setenv("LUNAR_TLS_DIR", f->dir, 1);
	assert_int_equal(receive(f), EXIT_NOT_TRUSTED);
	assert_non_null(strstr(f->error.message, "ca.crt"));
}

static void service_ends_at_a_signal(void **state)
{
	static const char *const names[] = {"host1"};
	struct fixture *f = *state;
	struct vm_error error;
	char path[96];
	pid_t child;
	int status;

	snprintf(path, sizeof(path), "%s/tls", f->dir);
	assert_int_equal(tls_files_make_ca(path, "test", 1, &error), 0);
	assert_int_equal(tls_files_make_host(path, path, names, 1, 1, &error), 0);
	setenv("LUNAR_TLS_DIR", path, 1);
	child = fork();
	if (child == 0)
		_exit((int)receive(f));
	wait_log(f, "listening on 127.0.0.1:");
	kill(child, SIGTERM);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), EXIT_OK);
}

int main(void)
{
#define receive_test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		receive_test(each_connection_gets_a_vmwp_with_nothing_but_its_socket),
		receive_test(failure_of_a_vmwp_is_one_line),
		receive_test(vm_that_came_is_named_and_outlives_the_service),
		receive_test(end_of_a_vm_is_told_by_its_name),
		receive_test(strangers_are_bounded_and_the_next_one_waits),
		receive_test(place_of_a_stranger_is_free_at_its_end),
		receive_test(one_address_cannot_have_every_place),
		receive_test(stranger_who_takes_too_long_is_cut_off),
		receive_test(missing_vmwp_does_not_end_the_service),
		receive_test(address_in_use_and_addresses_of_others_are_told),
		receive_test(every_address_takes_both_kinds),
		receive_test(service_does_not_start_without_certificates),
		receive_test(service_ends_at_a_signal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
