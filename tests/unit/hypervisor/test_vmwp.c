/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Whole vmwp processes, on a fake engine whose guest verifies its memory: they start, hold their
 * names, move over loopback with TLS, are saved and restored, and are told to end while they do.
 * The test plays lunar on the API socket, and lunar receive. Two hosts are two run and state
 * folders.
 */
#include "tests/unit/test_main.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <jansson.h>

#include "base/bytes.h"
#include "base/deadline.h"
#include "base/exit_code.h"
#include "hypervisor/vm_lock.h"
#include "hypervisor/vmwp.h"
#include "tests/fake_vmwp/fake_engine.h"
#include "tests/fake_vmwp/fake_guest_program.h"
#include "tests/unit/hypervisor/tiny_kernel.h"
#include "tests/unit/hypervisor/tls_fixture.h"

#define WAIT_MS	    60000
#define ANSWER_SIZE 65536
#define PATH_SIZE   128

struct host {
	const char *name; /* "a", "b" */
	char run[64];
	char state[64];
	char tls[64];
	int listener;
	uint16_t port;
	pid_t vmwps[8]; /* that came to it */
	size_t vmwp_count;
};

static struct {
	char dir[32];
	char definition[96];
	char image[64]; /* the VM's disk, which both hosts see */
	struct host a;
	struct host b;
	pid_t vmwp;    /* started on a */
	int cpu_check; /* what b finds */
} bench;

/* ---- hosts ---- */

static void host_enter(const struct host *host)
{
	setenv("LUNAR_RUN_DIR", host->run, 1);
	setenv("LUNAR_STATE_DIR", host->state, 1);
	setenv("LUNAR_TLS_DIR", host->tls, 1);
	setenv("LUNAR_INCOMING_DIRS", bench.dir, 1);
}

static void listener_make(struct host *host)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	socklen_t length = sizeof(address);

	host->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(host->listener, (struct sockaddr *)&address, sizeof(address)) ||
	    listen(host->listener, 8) ||
	    getsockname(host->listener, (struct sockaddr *)&address, &length))
		abort();
	host->port = ntohs(address.sin_port);
}

static void host_make(struct host *host, const char *name)
{
	host->name = name;
	snprintf(host->run, sizeof(host->run), "%s/%s-run", bench.dir, name);
	snprintf(host->state, sizeof(host->state), "%s/%s-state", bench.dir, name);
	snprintf(host->tls, sizeof(host->tls), "%s", tls_fixture_path(name));
	listener_make(host);
}

/* In a process of its own, which logs to DIR/log. Returns its pid. */
static pid_t vmwp_spawn(const struct host *host, const char *option, const char *value)
{
	char *argv[] = {(char *)(uintptr_t) "vmwp", (char *)(uintptr_t)option,
			(char *)(uintptr_t)value, NULL};
	char log[PATH_SIZE];
	pid_t pid;
	int fd;

	fflush(NULL);
	pid = fork();
	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that dies leaves nothing running */
	snprintf(log, sizeof(log), "%s/log", bench.dir);
	fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
	dup2(fd, STDOUT_FILENO);
	dup2(fd, STDERR_FILENO);
	host_enter(host);
	fake_engine_set_program(fake_guest_program);
	fake_engine_faults.check_cpu = host == &bench.b ? bench.cpu_check : 0;
	/* not exit(): what the test does at its end is not for a child to do */
	_exit((int)vmwp_run(value ? 3 : 2, argv, &fake_engine));
}

/* lunar receive: for each connection a vmwp. */
static void host_receive(struct host *host)
{
	struct pollfd poll_fd = {.fd = host->listener, .events = POLLIN};
	char text[16];
	int fd;

	if (poll(&poll_fd, 1, 10) <= 0)
		return;
	fd = accept(host->listener, NULL, NULL);
	if (fd < 0 || host->vmwp_count == sizeof(host->vmwps) / sizeof(host->vmwps[0]))
		abort();
	snprintf(text, sizeof(text), "%d", fd);
	host->vmwps[host->vmwp_count++] = vmwp_spawn(host, "--incoming", text);
	close(fd);
}

static void step(void)
{
	host_receive(&bench.a);
	host_receive(&bench.b);
}

/* The exit code, once it has ended; -1: not within the time. */
static int vmwp_await(pid_t *pid, uint32_t ms)
{
	struct deadline deadline = deadline_in_ms(ms);
	int status;

	while (waitpid(*pid, &status, WNOHANG) != *pid) {
		if (deadline_passed(deadline))
			return -1;
		step();
	}
	*pid = 0;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void vmwp_kill(pid_t *pid)
{
	if (!*pid)
		return;
	kill(*pid, SIGKILL);
	waitpid(*pid, NULL, 0);
	*pid = 0;
}

/* ---- the API ---- */

/* Returns the HTTP status, 0: nobody answers. body: the answer's, may be NULL. */
static int api_call(const struct host *host, const char *method, const char *url, const char *body,
		    char *answer)
{
	static char text[ANSWER_SIZE];
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct timeval patience = {.tv_sec = 20};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	size_t length = 0;
	ssize_t got;
	char *begin;

	snprintf(address.sun_path, sizeof(address.sun_path), "%s/vm/vm0/api.sock", host->run);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	if (connect(fd, (struct sockaddr *)&address, sizeof(address))) {
		close(fd);
		return 0;
	}
	dprintf(fd, "%s %s HTTP/1.1\r\nHost: vm\r\nContent-Length: %zu\r\n\r\n%s", method, url,
		strlen(body), body);
	while (length < sizeof(text) - 1 &&
	       (got = read(fd, text + length, sizeof(text) - 1 - length)) > 0)
		length += (size_t)got;
	close(fd);
	text[length] = '\0';
	begin = strstr(text, "\r\n\r\n");
	if (answer)
		snprintf(answer, ANSWER_SIZE, "%s", begin ? begin + 4 : "");
	return length > 12 ? (int)strtol(text + 9, NULL, 10) : 0;
}

/* A member of the answer to a GET; "": none. "a.b" is not understood. */
static const char *api_text(const struct host *host, const char *url, const char *member)
{
	static char answer[ANSWER_SIZE], text[1024];
	json_t *json;

	text[0] = '\0';
	if (api_call(host, "GET", url, "", answer) != 200)
		return text;
	json = json_loads(answer, 0, NULL);
	if (json_string_value(json_object_get(json, member)))
		snprintf(text, sizeof(text), "%s",
			 json_string_value(json_object_get(json, member)));
	json_decref(json);
	return text;
}

static const char *vm_state(const struct host *host)
{
	return api_text(host, "/api/v1/vm", "state");
}

static const char *move_phase(const struct host *host)
{
	return api_text(host, "/api/v1/vm/migration", "phase");
}

static void await_text(const struct host *host, const char *(*get)(const struct host *),
		       const char *expected)
{
	struct deadline deadline = deadline_in_ms(WAIT_MS);

	while (strcmp(get(host), expected) != 0) {
		if (deadline_passed(deadline))
			fail_msg("%s is \"%s\", not \"%s\"", host->name, get(host), expected);
		step();
	}
}

/* Begins a move from one to the other; more: further members of the body. */
static void migrate(const struct host *from, const struct host *to, const char *more)
{
	char body[256], answer[ANSWER_SIZE];

	snprintf(body, sizeof(body), "{\"host\":\"127.0.0.1\",\"port\":%u%s}", to->port, more);
	if (api_call(from, "PUT", "/api/v1/vm/migrate", body, answer) != 202)
		fail_msg("not begun: %s", answer);
}

#define SLOWLY ",\"bandwidth\":1048576"

/* ---- the guest ---- */

/* The last step that the guest told on its console, after an order to do so. */
static unsigned long long guest_step(const struct host *host)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	static char text[ANSWER_SIZE];
	struct deadline deadline = deadline_in_ms(WAIT_MS);
	unsigned long long found = 0;
	size_t length = 0;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s/vm/vm0/console.sock", host->run);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	while (!found && !deadline_passed(deadline)) {
		struct pollfd poll_fd = {.fd = fd, .events = POLLIN};

		(void)!write(fd, "s", 1);
		while (poll(&poll_fd, 1, 200) > 0 && length < sizeof(text) - 1) {
			ssize_t got = read(fd, text + length, sizeof(text) - 1 - length);

			if (got <= 0)
				break;
			length += (size_t)got;
		}
		text[length] = '\0';
		for (char *at = text; (at = strstr(at, "step ")); at += 5)
			if (strchr(at, '\n'))
				found = strtoull(at + 5, NULL, 10);
	}
	close(fd);
	return found;
}

static void guest_order(const struct host *host, const char *order)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct pollfd poll_fd = {.fd = fd};

	snprintf(address.sun_path, sizeof(address.sun_path), "%s/vm/vm0/console.sock", host->run);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	(void)!write(fd, order, 1);
	poll(&poll_fd, 1, 100); /* until it was read */
	close(fd);
}

/* It goes on, and its walk over all of its memory finds nothing wrong. */
static void guest_is_well(const struct host *host)
{
	unsigned long long first = guest_step(host), now = first;
	struct deadline deadline = deadline_in_ms(WAIT_MS);

	assert_true(first > 0);
	while (now < first + 2100) { /* two walks of 1024 steps */
		assert_false(deadline_passed(deadline));
		now = guest_step(host);
	}
	assert_string_equal(vm_state(host), "running");
}

/* ---- fixture ---- */

static void definition_write(const char *path, bool disk)
{
	FILE *file = fopen(path, "we");

	assert_non_null(file);
	fprintf(file, "name: vm0\nvps: 2\nmemory: 64M\nkernel: %s/vmlinuz\n", bench.dir);
	if (disk)
		fprintf(file, "disks:\n  - path: %s\n", bench.image);
	fclose(file);
}

static int image_make(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	int rc = fd < 0 ? -1 : ftruncate(fd, 1 << 20);

	close(fd);
	return rc;
}

static int setup(void **state)
{
	char kernel[PATH_SIZE];

	(void)state;
	memset(&bench, 0, sizeof(bench));
	strcpy(bench.dir, "/tmp/lunar-vmwp-XXXXXX");
	if (!mkdtemp(bench.dir))
		return -1;
	tls_fixture_make();
	host_make(&bench.a, "a");
	host_make(&bench.b, "b");
	snprintf(kernel, sizeof(kernel), "%s/vmlinuz", bench.dir);
	tiny_kernel_write(kernel);
	snprintf(bench.definition, sizeof(bench.definition), "%s/a-state/vms/vm0.yaml", bench.dir);
	mkdir(bench.a.state, 0755);
	*strrchr(bench.definition, '/') = '\0';
	mkdir(bench.definition, 0755);
	bench.definition[strlen(bench.definition)] = '/';
	snprintf(bench.image, sizeof(bench.image), "%s/shared.img", bench.dir);
	if (image_make(bench.image))
		return -1;
	definition_write(bench.definition, true);
	setenv("FAKE_GUEST_PAGES", "4096", 1);
	setenv("LUNAR_INCOMING_DIRS", bench.dir, 1);
	bench.vmwp = vmwp_spawn(&bench.a, "--config", bench.definition);
	await_text(&bench.a, vm_state, "running");
	return guest_step(&bench.a) > 0 ? 0 : -1;
}

static int teardown(void **state)
{
	char command[64];

	(void)state;
	vmwp_kill(&bench.vmwp);
	for (size_t i = 0; i < bench.a.vmwp_count; i++)
		vmwp_kill(&bench.a.vmwps[i]);
	for (size_t i = 0; i < bench.b.vmwp_count; i++)
		vmwp_kill(&bench.b.vmwps[i]);
	close(bench.a.listener);
	close(bench.b.listener);
	tls_fixture_remove();
	snprintf(command, sizeof(command), "rm -rf %s", bench.dir);
	return system(command);
}

/* Whether somebody would write the image. */
static bool image_is_held(void)
{
	struct flock lock = {.l_type = F_RDLCK};
	int fd = open(bench.image, O_RDWR | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(fcntl(fd, F_OFD_GETLK, &lock), 0);
	close(fd);
	return lock.l_type != F_UNLCK;
}

/* "" where there is no such disk. */
static const char *disk_text(const struct host *host, size_t index, const char *member)
{
	static char answer[ANSWER_SIZE], text[256];
	json_t *json;

	text[0] = '\0';
	if (api_call(host, "GET", "/api/v1/vm/disks", "", answer) != 200)
		return text;
	json = json_loads(answer, 0, NULL);
	snprintf(text, sizeof(text), "%s",
		 json_string_value(json_object_get(
			 json_array_get(json_object_get(json, "disks"), index), member))
			 ?: "");
	json_decref(json);
	return text;
}

static const char *first_disk_state(const struct host *host)
{
	return disk_text(host, 0, "state");
}

static bool lock_is_held(const struct host *host)
{
	host_enter(host);
	return vm_lock_is_held("vm0");
}

/* ---- */

static void a_vm_moves_and_its_memory_is_right(void **state)
{
	char definition[PATH_SIZE];
	unsigned long long before = guest_step(&bench.a);

	(void)state;
	migrate(&bench.a, &bench.b, "");
	assert_int_equal(vmwp_await(&bench.vmwp, WAIT_MS), EXIT_OK);
	assert_true(guest_step(&bench.b) > before);
	guest_is_well(&bench.b);
	assert_false(lock_is_held(&bench.a));
	assert_true(lock_is_held(&bench.b));
	assert_int_equal(access(bench.definition, F_OK), -1);
	snprintf(definition, sizeof(definition), "%s/vms/vm0.yaml", bench.b.state);
	assert_int_equal(access(definition, F_OK), 0);
	assert_string_equal(move_phase(&bench.b), "done");
	assert_string_equal(first_disk_state(&bench.b), "ready");
	assert_true(image_is_held());
}

static void a_vm_moves_there_and_back_at_once(void **state)
{
	(void)state;
	for (int i = 0; i < 2; i++) {
		migrate(&bench.a, &bench.b, "");
		await_text(&bench.b, vm_state, "running");
		migrate(&bench.b, &bench.a, "");
		await_text(&bench.b, vm_state, "");
		await_text(&bench.a, vm_state, "running");
	}
	guest_is_well(&bench.a);
}

static void a_saved_vm_goes_on_elsewhere(void **state)
{
	char path[PATH_SIZE], body[PATH_SIZE + 16];
	unsigned long long before = guest_step(&bench.a);

	(void)state;
	snprintf(path, sizeof(path), "%s/saved", bench.dir);
	snprintf(body, sizeof(body), "{\"path\":\"%s\"}", path);
	assert_int_equal(api_call(&bench.a, "PUT", "/api/v1/vm/save", body, NULL), 202);
	assert_int_equal(vmwp_await(&bench.vmwp, WAIT_MS), EXIT_OK);
	bench.vmwp = vmwp_spawn(&bench.b, "--restore", path);
	await_text(&bench.b, vm_state, "running");
	assert_true(guest_step(&bench.b) >= before);
	guest_is_well(&bench.b);
	assert_true(image_is_held());
}

static void a_name_is_held_once(void **state)
{
	pid_t second = vmwp_spawn(&bench.a, "--config", bench.definition);

	(void)state;
	assert_int_equal(vmwp_await(&second, WAIT_MS), EXIT_STATE);
	assert_string_equal(vm_state(&bench.a), "running");
	vmwp_kill(&bench.vmwp);
	assert_false(lock_is_held(&bench.a));
	bench.vmwp = vmwp_spawn(&bench.a, "--config", bench.definition);
	await_text(&bench.a, vm_state, "running");
}

static void a_host_that_runs_the_name_already_refuses_it(void **state)
{
	char plain[PATH_SIZE];
	pid_t other;

	(void)state;
	snprintf(plain, sizeof(plain), "%s/plain.yaml", bench.dir);
	definition_write(plain, false);
	other = vmwp_spawn(&bench.b, "--config", plain);
	await_text(&bench.b, vm_state, "running");
	migrate(&bench.a, &bench.b, "");
	await_text(&bench.a, move_phase, "failed");
	assert_string_equal(vm_state(&bench.a), "running");
	assert_string_equal(vm_state(&bench.b), "running");
	guest_is_well(&bench.a);
	vmwp_kill(&other);
	migrate(&bench.a, &bench.b, "");
	assert_int_equal(vmwp_await(&bench.vmwp, WAIT_MS), EXIT_OK);
}

static void a_host_without_the_processor_refuses_the_vm(void **state)
{
	char answer[ANSWER_SIZE];

	(void)state;
	bench.cpu_check = -EOPNOTSUPP;
	migrate(&bench.a, &bench.b, "");
	await_text(&bench.a, move_phase, "failed");
	assert_int_equal(api_call(&bench.a, "GET", "/api/v1/vm/migration", "", answer), 200);
	assert_non_null(strstr(answer, "avx2048"));
	assert_string_equal(vm_state(&bench.b), "");
	guest_is_well(&bench.a);
}

static void while_it_moves_a_vm_takes_no_other_order(void **state)
{
	char answer[ANSWER_SIZE];

	(void)state;
	migrate(&bench.a, &bench.b, SLOWLY);
	await_text(&bench.b, vm_state, "incoming");
	assert_int_equal(api_call(&bench.a, "PUT", "/api/v1/vm/stop", "", answer), 409);
	assert_int_equal(api_call(&bench.a, "PUT", "/api/v1/vm/reboot", "", answer), 409);
	assert_int_equal(
		api_call(&bench.a, "PUT", "/api/v1/vm/save", "{\"path\":\"/tmp/x\"}", answer), 409);
	assert_int_equal(
		api_call(&bench.a, "PUT", "/api/v1/vm/migrate", "{\"host\":\"x\"}", answer), 409);
	assert_non_null(strstr(answer, "already"));
	assert_int_equal(api_call(&bench.a, "PUT", "/api/v1/vm/migration/cancel", "", answer), 202);
	await_text(&bench.a, move_phase, "cancelled");
	await_text(&bench.b, vm_state, "");
	assert_int_equal(api_call(&bench.a, "PUT", "/api/v1/vm/migration/cancel", "", answer), 409);
	guest_is_well(&bench.a);
	migrate(&bench.a, &bench.b, "");
	assert_int_equal(vmwp_await(&bench.vmwp, WAIT_MS), EXIT_OK);
	guest_is_well(&bench.b);
}

static void a_stop_by_force_gives_the_move_up(void **state)
{
	(void)state;
	migrate(&bench.a, &bench.b, SLOWLY);
	await_text(&bench.b, vm_state, "incoming");
	assert_int_equal(api_call(&bench.a, "PUT", "/api/v1/vm/stop", "{\"force\":true}", NULL),
			 202);
	assert_int_equal(vmwp_await(&bench.vmwp, WAIT_MS), EXIT_OK);
	await_text(&bench.b, vm_state, "");
	assert_int_equal(access(bench.definition, F_OK), 0);
}

static void a_guest_that_ends_gives_the_move_up(void **state)
{
	static const struct {
		const char *order;
		int code;
	} ends[] = {{"p", EXIT_OK}, {"c", EXIT_GUEST_CRASHED}};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		migrate(&bench.a, &bench.b, SLOWLY);
		await_text(&bench.b, vm_state, "incoming");
		guest_order(&bench.a, ends[i].order);
		assert_int_equal(vmwp_await(&bench.vmwp, WAIT_MS), ends[i].code);
		await_text(&bench.b, vm_state, "");
		bench.vmwp = vmwp_spawn(&bench.a, "--config", bench.definition);
		await_text(&bench.a, vm_state, "running");
		guest_is_well(&bench.a);
	}
}

static void a_guest_that_resets_gives_the_move_up_and_starts_again(void **state)
{
	unsigned long long before = guest_step(&bench.a);
	char answer[ANSWER_SIZE];

	(void)state;
	while (before < 3000)
		before = guest_step(&bench.a);
	migrate(&bench.a, &bench.b, SLOWLY);
	await_text(&bench.b, vm_state, "incoming");
	guest_order(&bench.a, "r");
	await_text(&bench.a, move_phase, "failed");
	await_text(&bench.b, vm_state, "");
	assert_string_equal(vm_state(&bench.a), "running");
	assert_int_equal(api_call(&bench.a, "GET", "/api/v1/vm/migration", "", answer), 200);
	assert_non_null(strstr(answer, "the guest came to an end"));
	guest_is_well(&bench.a);
	migrate(&bench.a, &bench.b, "");
	assert_int_equal(vmwp_await(&bench.vmwp, WAIT_MS), EXIT_OK);
	guest_is_well(&bench.b);
}

static void a_signal_cancels_the_move_and_then_asks_the_guest(void **state)
{
	(void)state;
	migrate(&bench.a, &bench.b, SLOWLY);
	await_text(&bench.b, vm_state, "incoming");
	kill(bench.vmwp, SIGTERM);
	assert_int_equal(vmwp_await(&bench.vmwp, WAIT_MS), EXIT_OK);
	await_text(&bench.b, vm_state, "");
}

/* Its VM is at rest then, and runs on for as long as it takes to power off. */
static void a_signal_while_the_vm_rests_ends_the_move_and_the_vm(void **state)
{
	(void)state;
	vmwp_kill(&bench.vmwp);
	setenv("LUNAR_MIGRATION_HOLD", "source-paused:20000", 1);
	bench.vmwp = vmwp_spawn(&bench.a, "--config", bench.definition);
	unsetenv("LUNAR_MIGRATION_HOLD");
	await_text(&bench.a, vm_state, "running");
	migrate(&bench.a, &bench.b, "");
	await_text(&bench.a, vm_state, "paused");
	kill(bench.vmwp, SIGTERM);
	assert_int_equal(vmwp_await(&bench.vmwp, WAIT_MS), EXIT_OK);
	await_text(&bench.b, vm_state, "");
}

static void a_signal_drops_what_is_on_its_way_here(void **state)
{
	(void)state;
	migrate(&bench.a, &bench.b, SLOWLY);
	await_text(&bench.b, vm_state, "incoming");
	kill(bench.b.vmwps[0], SIGTERM);
	await_text(&bench.a, move_phase, "failed");
	vmwp_await(&bench.b.vmwps[0], WAIT_MS);
	assert_string_equal(vm_state(&bench.b), "");
	guest_is_well(&bench.a);
}

/* ---- disks ---- */

static void an_image_is_held_by_the_vm_that_runs(void **state)
{
	pid_t second;

	(void)state;
	assert_true(image_is_held());
	second = vmwp_spawn(&bench.b, "--config", bench.definition);
	assert_int_equal(vmwp_await(&second, WAIT_MS), EXIT_EXISTS);
	assert_string_equal(vm_state(&bench.a), "running");
	assert_int_equal(api_call(&bench.a, "PUT", "/api/v1/vm/stop", "{\"force\":true}", NULL),
			 202);
	assert_int_equal(vmwp_await(&bench.vmwp, WAIT_MS), EXIT_OK);
	assert_false(image_is_held());
}

static void a_reboot_keeps_the_image(void **state)
{
	(void)state;
	guest_order(&bench.a, "r");
	guest_is_well(&bench.a);
	assert_true(image_is_held());
	assert_string_equal(first_disk_state(&bench.a), "ready");
}

/* The path is the same, the file is not: as without shared storage. */
static void a_host_with_another_image_refuses_the_vm(void **state)
{
	char answer[ANSWER_SIZE], away[PATH_SIZE];

	(void)state;
	snprintf(away, sizeof(away), "%s/away.img", bench.dir);
	assert_int_equal(rename(bench.image, away), 0);
	assert_int_equal(image_make(bench.image), 0);
	migrate(&bench.a, &bench.b, "");
	await_text(&bench.a, move_phase, "failed");
	assert_int_equal(api_call(&bench.a, "GET", "/api/v1/vm/migration", "", answer), 200);
	assert_non_null(strstr(answer, "is not locked by the source"));
	guest_is_well(&bench.a);
	assert_int_equal(unlink(bench.image), 0);
	migrate(&bench.a, &bench.b, ",\"check_only\":true");
	await_text(&bench.a, move_phase, "checked");
	assert_int_equal(api_call(&bench.a, "GET", "/api/v1/vm/migration", "", answer), 200);
	assert_non_null(strstr(answer, "\"disk\""));
	assert_int_equal(rename(away, bench.image), 0);
	migrate(&bench.a, &bench.b, "");
	assert_int_equal(vmwp_await(&bench.vmwp, WAIT_MS), EXIT_OK);
	assert_true(image_is_held());
}

/* The source has let go; the destination is killed before it has the VM. */
static void a_vm_that_comes_back_takes_its_image_back(void **state)
{
	(void)state;
	vmwp_kill(&bench.vmwp);
	setenv("LUNAR_MIGRATION_HOLD", "source-released:1500", 1);
	bench.vmwp = vmwp_spawn(&bench.a, "--config", bench.definition);
	unsetenv("LUNAR_MIGRATION_HOLD");
	await_text(&bench.a, vm_state, "running");
	migrate(&bench.a, &bench.b, "");
	await_text(&bench.a, first_disk_state, "released");
	assert_false(image_is_held());
	vmwp_kill(&bench.b.vmwps[0]);
	await_text(&bench.a, vm_state, "running");
	assert_string_equal(first_disk_state(&bench.a), "ready");
	assert_true(image_is_held());
	guest_is_well(&bench.a);
}

/* Somebody takes the image in the moment when nobody has it: neither host runs the VM without. */
static void a_vm_rests_until_its_image_is_free_again(void **state)
{
	struct flock lock = {.l_type = F_WRLCK};
	int fd = open(bench.image, O_RDWR | O_CLOEXEC);

	(void)state;
	vmwp_kill(&bench.vmwp);
	setenv("LUNAR_MIGRATION_HOLD", "source-released:1500", 1);
	bench.vmwp = vmwp_spawn(&bench.a, "--config", bench.definition);
	unsetenv("LUNAR_MIGRATION_HOLD");
	await_text(&bench.a, vm_state, "running");
	migrate(&bench.a, &bench.b, "");
	await_text(&bench.a, first_disk_state, "released");
	assert_int_equal(fcntl(fd, F_OFD_SETLK, &lock), 0);
	await_text(&bench.a, move_phase, "failed");
	assert_string_equal(vm_state(&bench.b), "");
	assert_string_equal(vm_state(&bench.a), "paused");
	lock.l_type = F_UNLCK; /* the hosts' processes have the file, too: they were forked */
	assert_int_equal(fcntl(fd, F_OFD_SETLK, &lock), 0);
	close(fd);
	await_text(&bench.a, vm_state, "running");
	assert_string_equal(first_disk_state(&bench.a), "ready");
	guest_is_well(&bench.a);
}

static void definition_has(const char *words, bool expected)
{
	char text[4096] = "";
	FILE *file = fopen(bench.definition, "re");

	assert_non_null(file);
	text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
	fclose(file);
	assert_int_equal(strstr(text, words) != NULL, expected);
}

static void disks_come_and_go_with_the_definition(void **state)
{
	char answer[ANSWER_SIZE], body[2 * PATH_SIZE], second[PATH_SIZE];

	(void)state;
	snprintf(second, sizeof(second), "%s/second.img", bench.dir);
	assert_int_equal(image_make(second), 0);
	snprintf(body, sizeof(body), "{\"path\":\"%s\",\"controller\":1}", second);
	assert_int_equal(api_call(&bench.a, "PUT", "/api/v1/vm/disks", body, answer), 200);
	assert_non_null(strstr(answer, "\"id\":\"1:0\""));
	assert_non_null(strstr(answer, "\"stored\":true"));
	definition_has("second.img", true);
	assert_int_equal(api_call(&bench.a, "PUT", "/api/v1/vm/disks", body, answer), 409);
	assert_non_null(strstr(answer, "both would write"));
	assert_int_equal(api_call(&bench.a, "PUT", "/api/v1/vm/disks/1:0/size",
				  "{\"size_bytes\":2097152}", answer),
			 200);
	assert_non_null(strstr(answer, "\"size_bytes\":2097152"));
	assert_int_equal(api_call(&bench.a, "PUT", "/api/v1/vm/disks/1:0/size",
				  "{\"size_bytes\":4096}", answer),
			 400);
	assert_int_equal(api_call(&bench.a, "DELETE", "/api/v1/vm/disks/1:0/medium", "", answer),
			 400);
	/* it moves with the VM, which can be told no more of it meanwhile */
	migrate(&bench.a, &bench.b, "");
	assert_int_equal(vmwp_await(&bench.vmwp, WAIT_MS), EXIT_OK);
	assert_string_equal(disk_text(&bench.b, 1, "path"), second);
	assert_int_equal(api_call(&bench.b, "DELETE", "/api/v1/vm/disks/1:0", "", answer), 202);
	while (*disk_text(&bench.b, 1, "path"))
		step();
	assert_int_equal(api_call(&bench.b, "DELETE", "/api/v1/vm/disks/1:0", "", answer), 409);
	snprintf(bench.definition, sizeof(bench.definition), "%s/vms/vm0.yaml", bench.b.state);
	definition_has("second.img", false);
	definition_has("shared.img", true);
	/* the controller stays, and moves too */
	migrate(&bench.b, &bench.a, "");
	await_text(&bench.a, vm_state, "running");
	guest_is_well(&bench.a);
}

static void bad_requests_about_disks_are_told(void **state)
{
	static const struct {
		const char *method, *url, *body;
		int status;
		const char *words;
	} bad[] = {
		{"PUT", "/api/v1/vm/disks", "", 400, "flat JSON object"},
		{"PUT", "/api/v1/vm/disks", "{\"path\":[]}", 400, "flat JSON object"},
		{"PUT", "/api/v1/vm/disks", "{\"path\":\"x\"}", 400,
		 "path: 'x' is not an absolute"},
		{"PUT", "/api/v1/vm/disks", "{\"path\":\"/nonexistent\"}", 409, "/nonexistent"},
		{"PUT", "/api/v1/vm/disks", "{\"path\":\"/x\",\"lun\":0}", 409, "0:0 is taken"},
		{"DELETE", "/api/v1/vm/disks", "", 405, "use the method GET, PUT"},
		{"DELETE", "/api/v1/vm/disks/x", "", 400, "CONTROLLER:LUN"},
		{"DELETE", "/api/v1/vm/disks/0:9", "", 409, "there is no disk 0:9"},
		{"PUT", "/api/v1/vm/disks/0:0/medium", "{\"path\":\"/x.iso\"}", 400,
		 "no DVD drive"},
		{"PUT", "/api/v1/vm/disks/0:0/size", "{\"size_bytes\":-1}", 400, "size_bytes"},
		{"PUT", "/api/v1/vm/disks/0:0/size", "{\"size_bytes\":5000000}", 400, "multiple"},
		{"PUT", "/api/v1/vm/disks/0:0/none", "{}", 404, "no such path"},
	};
	char answer[ANSWER_SIZE];

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(bad); i++) {
		assert_int_equal(api_call(&bench.a, bad[i].method, bad[i].url, bad[i].body, answer),
				 bad[i].status);
		if (!strstr(answer, bad[i].words))
			fail_msg("%s %s: %s", bad[i].url, bad[i].body, answer);
	}
	assert_true(image_is_held());
}

static void wrong_usage_is_told(void **state)
{
	pid_t pids[] = {
		vmwp_spawn(&bench.b, "--incoming", "0x"),
		vmwp_spawn(&bench.b, "--incoming", "0"), /* not a socket */
		vmwp_spawn(&bench.b, "--no-api", NULL),
		vmwp_spawn(&bench.b, "--restore", "/nonexistent"),
	};

	(void)state;
	assert_int_equal(vmwp_await(&pids[0], WAIT_MS), EXIT_USAGE);
	assert_int_equal(vmwp_await(&pids[1], WAIT_MS), EXIT_USAGE);
	assert_int_equal(vmwp_await(&pids[2], WAIT_MS), EXIT_USAGE);
	assert_int_not_equal(vmwp_await(&pids[3], WAIT_MS), EXIT_OK);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_vm_moves_and_its_memory_is_right),
		TEST(a_vm_moves_there_and_back_at_once),
		TEST(a_saved_vm_goes_on_elsewhere),
		TEST(a_name_is_held_once),
		TEST(a_host_that_runs_the_name_already_refuses_it),
		TEST(a_host_without_the_processor_refuses_the_vm),
		TEST(while_it_moves_a_vm_takes_no_other_order),
		TEST(a_stop_by_force_gives_the_move_up),
		TEST(a_guest_that_ends_gives_the_move_up),
		TEST(a_guest_that_resets_gives_the_move_up_and_starts_again),
		TEST(a_signal_cancels_the_move_and_then_asks_the_guest),
		TEST(a_signal_while_the_vm_rests_ends_the_move_and_the_vm),
		TEST(a_signal_drops_what_is_on_its_way_here),
		TEST(an_image_is_held_by_the_vm_that_runs),
		TEST(a_reboot_keeps_the_image),
		TEST(a_host_with_another_image_refuses_the_vm),
		TEST(a_vm_that_comes_back_takes_its_image_back),
		TEST(a_vm_rests_until_its_image_is_free_again),
		TEST(disks_come_and_go_with_the_definition),
		TEST(bad_requests_about_disks_are_told),
		TEST(wrong_usage_is_told),
	};

	signal(SIGPIPE, SIG_IGN); /* a vmwp that ends under a request gives no answer, no more */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
