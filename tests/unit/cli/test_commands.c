/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lunar's commands with real files, real processes and a real API: this program is its own vmwp
 * (LUNAR_VMWP names it), which does as the FAKE_VMWP variable says. Verdicts come from exit codes,
 * from what is printed, and from the processes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <curl/curl.h>

#include "base/deadline.h"
#include "base/event_loop.h"
#include "base/fd_passing.h"
#include "base/log.h"
#include "cli/commands.h"
#include "cli/vm_process.h"
#include "cli/vm_store.h"
#include "hypervisor/api_server.h"
#include "hypervisor/vm_log.h"
#include "hypervisor/vm_paths.h"

/* ---- the fake vmwp ---- */

struct fake {
	struct event_loop *loop;
	struct vm_config *config;
	struct vm_status status;
	bool deaf; /* the guest ignores a graceful stop */
};

static void fake_get_status(void *ctx, struct vm_status *status)
{
	*status = ((struct fake *)ctx)->status;
}

static const struct vm_config *fake_get_config(void *ctx)
{
	return ((struct fake *)ctx)->config;
}

static void fake_end(void *ctx)
{
	event_loop_stop(((struct fake *)ctx)->loop);
}

static void fake_run(void *ctx)
{
	((struct fake *)ctx)->status.state = VM_STATE_RUNNING;
}

static int fake_stop(void *ctx, bool force, uint32_t timeout_ms)
{
	struct fake *fake = ctx;
	struct event_timer *timer;

	if (fake->status.state != VM_STATE_RUNNING)
		return -EINVAL;
	return event_loop_after_ms(fake->loop, !force && fake->deaf ? timeout_ms : 30, fake_end,
				   fake, &timer);
}

static void fake_rebooted(void *ctx)
{
	((struct fake *)ctx)->status.reboots++;
}

static int fake_reboot(void *ctx)
{
	struct fake *fake = ctx;
	struct event_timer *timer;

	return fake->deaf ? 0 : event_loop_after_ms(fake->loop, 100, fake_rebooted, fake, &timer);
}

static void capitals(char *text, ssize_t length)
{
	for (ssize_t i = 0; i < length; i++)
		text[i] = (char)toupper((unsigned char)text[i]);
}

/* The console answers what it is told, in capitals, to one visitor at a time. */
static void fake_console(void *ctx, int fd, uint32_t events)
{
	int visitor = accept(fd, NULL, NULL);
	char text[64];
	ssize_t n;

	(void)ctx;
	(void)events;
	while ((n = recv(visitor, text, sizeof(text), 0)) > 0) {
		capitals(text, n);
		if (send(visitor, text, (size_t)n, MSG_NOSIGNAL) != n)
			break;
	}
	close(visitor);
}

static const struct api_server_ops fake_ops = {
	.get_status = fake_get_status,
	.get_config = fake_get_config,
	.stop = fake_stop,
	.reboot = fake_reboot,
};

static int fake_serve(const char *definition, const char *kind)
{
	struct fake fake = {
		.status = {.engine = "fake", .pid = getpid(), .vmbus_version = 0x50003}};
	const char *slow_ms = getenv("FAKE_SLOW_MS");
	struct api_server *server = NULL;
	struct event_watch *console_watch;
	struct event_timer *timer;
	char message[512], path[256], console[256];
	int console_fd;

	fake.deaf = strcmp(kind, "deaf") == 0;
	if (vm_config_load(definition, &fake.config, message, sizeof(message)) < 0 ||
	    vm_path(VM_PATH_API, fake.config->name, path, sizeof(path)) < 0)
		return 1;
	fake.status.nic_count = fake.config->nic_count;
	if (strcmp(kind, "hang") == 0) {
		if (unix_socket_listen(path, SOCK_STREAM) < 0)
			return 1;
		for (;;)
			pause();
	}
	if (event_loop_create(&fake.loop) < 0 ||
	    api_server_create(fake.loop, path, &fake_ops, &fake, NULL, &server) < 0)
		return 1;
	if (vm_path(VM_PATH_CONSOLE, fake.config->name, console, sizeof(console)) < 0)
		return 1;
	console_fd = unix_socket_listen(console, SOCK_STREAM);
	if (event_loop_watch(fake.loop, console_fd, EPOLLIN, fake_console, NULL, &console_watch) <
	    0)
		return 1;
	fake.status.console_path = fake.config->console == VM_CONSOLE_SOCKET ? console : NULL;
	if (strcmp(kind, "slow") == 0)
		event_loop_after_ms(fake.loop, slow_ms ? (uint32_t)strtoul(slow_ms, NULL, 10) : 400,
				    fake_run, &fake, &timer);
	else
		fake_run(&fake);
	event_loop_run(fake.loop);
	api_server_destroy(server);
	event_loop_destroy(fake.loop);
	close(console_fd);
	vm_config_free(fake.config);
	return 0;
}

/* A file of a saved VM is here its definition. */
static int fake_take_name(const char *file)
{
	struct vm_config *config = NULL;
	char message[512];

	if (vm_config_load(file, &config, message, sizeof(message)) < 0 ||
	    vm_log_take(config->name) < 0)
		return -1;
	vm_config_free(config);
	return 0;
}

static int fake_main(int argc, char **argv)
{
	const char *kind = getenv("FAKE_VMWP");
	bool restored;

	/* Whatever becomes of the test, its VMs do not outlive it. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	log_set_level(LOG_LEVEL_ERROR);
	if (argc != 3 || !kind)
		return 1;
	restored = strcmp(argv[1], "--restore") == 0;
	if (!restored && strcmp(argv[1], "--config") != 0)
		return 1;
	if (getsid(0) != getpid() || fcntl(3, F_GETFD) >= 0)
		return 1; /* not detached, or given an fd that is not its business */
	if (strcmp(kind, "no-switch") == 0) {
		fputs("2026-01-01T00:00:00.000Z info vmwp: a line before it\n"
		      "vmwp: nic 0: no netvspd at /run/x; start it\n",
		      stderr);
		return EXIT_NO_SWITCH;
	}
	if (strcmp(kind, "bad-state") == 0) {
		fputs("vmwp: that is no saved VM\n", stderr);
		return EXIT_BAD_STATE;
	}
	if (strcmp(kind, "nameless") == 0)
		for (;;)
			pause();
	if (restored && fake_take_name(argv[2]) < 0)
		return 1;
	if (strcmp(kind, "bad-switch") == 0) {
		fputs("vmwp: nic 0: no netvspd\n", stderr);
		return EXIT_NO_SWITCH;
	}
	if (strcmp(kind, "wordless") == 0)
		return EXIT_NO_KVM;
	if (strcmp(kind, "short") == 0)
		return EXIT_OK;
	if (strcmp(kind, "crash") == 0) {
		setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
		raise(SIGKILL);
	}
	return fake_serve(argv[2], kind);
}

/* ---- the tests ---- */

struct fixture {
	char dir[64];
	char file[128]; /* a definition to create from */
	char *printed;
	char *noticed;
	struct cli_error error;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	char path[128];

	assert_non_null(f);
	snprintf(f->dir, sizeof(f->dir), "/tmp/test-lunar-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->file, sizeof(f->file), "%s/new.yaml", f->dir);
	snprintf(path, sizeof(path), "%s/run", f->dir);
	setenv("LUNAR_RUN_DIR", path, 1);
	snprintf(path, sizeof(path), "%s/state", f->dir);
	setenv("LUNAR_STATE_DIR", path, 1);
	setenv("FAKE_VMWP", "run", 1);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	char command[128];

	while (waitpid(-1, NULL, WNOHANG) > 0)
		continue;
	snprintf(command, sizeof(command), "rm -r %s", f->dir);
	assert_int_equal(system(command), 0);
	free(f->printed);
	free(f->noticed);
	free(f);
	return 0;
}

typedef enum exit_code (*command_fn)(const struct command_context *, struct cli_error *);

static enum exit_code run_with(struct fixture *f, command_fn command, const struct options *options)
{
	struct command_context context = {.options = options};
	size_t printed_length, noticed_length;
	enum exit_code code;

	free(f->printed);
	free(f->noticed);
	context.out = open_memstream(&f->printed, &printed_length);
	context.err = open_memstream(&f->noticed, &noticed_length);
	f->error.message[0] = '\0';
	code = command(&context, &f->error);
	fclose(context.out);
	fclose(context.err);
	if (code != EXIT_OK)
		assert_string_not_equal(f->error.message, "");
	assert_null(strchr(f->error.message, '\n'));
	return code;
}

static enum exit_code run(struct fixture *f, enum command_id id, const char *argument)
{
	static const command_fn functions[COMMAND_COUNT] = {
		[COMMAND_CREATE] = command_create,   [COMMAND_DELETE] = command_delete,
		[COMMAND_START] = command_start,     [COMMAND_STOP] = command_stop,
		[COMMAND_REBOOT] = command_reboot,   [COMMAND_LIST] = command_list,
		[COMMAND_SHOW] = command_show,	     [COMMAND_CONSOLE] = command_console,
		[COMMAND_RESTORE] = command_restore, [COMMAND_VERSION] = command_version,
	};
	struct options options = {.command = id, .argument = argument, .timeout_s = 30};

	return run_with(f, functions[id], &options);
}

static void write_file(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	fputs(text, file);
	assert_int_equal(fclose(file), 0);
}

static void create_vm(struct fixture *f, const char *name, const char *more)
{
	char text[512];

	snprintf(text, sizeof(text), "# mine\nname: %s\nmemory: 64M\nkernel: /k\n%s", name, more);
	write_file(f->file, text);
	assert_int_equal(run(f, COMMAND_CREATE, f->file), EXIT_OK);
}

static json_t *printed_json(struct fixture *f)
{
	json_t *json = json_loads(f->printed, JSON_REJECT_DUPLICATES, NULL);

	assert_non_null(json);
	return json;
}

/* The process of a VM, as its API's socket tells; 0: none. */
static pid_t show_pid(struct fixture *f, const char *name)
{
	const struct options options = {.command = COMMAND_SHOW, .argument = name, .json = true};
	json_t *json;
	pid_t pid;

	assert_int_equal(run_with(f, command_show, &options), EXIT_OK);
	json = printed_json(f);
	pid = (pid_t)json_integer_value(json_object_get(json, "pid"));
	json_decref(json);
	return pid;
}

static void create_keeps_the_text_and_refuses_a_second_of_the_name(void **state)
{
	struct fixture *f = *state;
	char path[128], text[128] = "";
	struct stat status;
	FILE *file;

	create_vm(f, "vm0", "");
	snprintf(path, sizeof(path), "%s/state/vms/vm0.yaml", f->dir);
	file = fopen(path, "r");
	assert_non_null(file);
	assert_true(fread(text, 1, sizeof(text) - 1, file) > 0);
	fclose(file);
	assert_string_equal(text, "# mine\nname: vm0\nmemory: 64M\nkernel: /k\n");
	assert_int_equal(stat(path, &status), 0);
	assert_int_equal(status.st_mode & 0777, 0600);
	assert_int_equal(run(f, COMMAND_CREATE, f->file), EXIT_EXISTS);
	assert_string_equal(f->error.message, "a VM named vm0 exists; lunar delete vm0 removes it");
	snprintf(path, sizeof(path), "test $(ls -A %s/state/vms | wc -l) = 1", f->dir);
	assert_int_equal(system(path), 0); /* no temporary file is left */
}

static void create_refuses_a_bad_file_with_its_line(void **state)
{
	struct fixture *f = *state;
	char expected[256];

	write_file(f->file, "name: vm0\nmemory: 64M\nkernel: /k\nvps: 0\n");
	assert_int_equal(run(f, COMMAND_CREATE, f->file), EXIT_CONFIG);
	snprintf(expected, sizeof(expected), "%s:4: vps: '0' is not a whole number from 1 to 64",
		 f->file);
	assert_string_equal(f->error.message, expected);
	assert_int_equal(run(f, COMMAND_CREATE, "/nonexistent"), EXIT_CONFIG);
	assert_int_equal(run(f, COMMAND_LIST, NULL), EXIT_OK);
	assert_string_equal(f->printed, "");
	assert_non_null(strstr(f->noticed, "No VM is defined"));
}

static void create_refuses_a_mac_that_another_vm_has(void **state)
{
	struct fixture *f = *state;
	const char nic[] = "nics:\n  - mac: \"02:00:00:00:00:01\"\n";

	create_vm(f, "vm0", nic);
	write_file(f->file,
		   "name: vm1\nmemory: 64M\nkernel: /k\nnics:\n  - mac: \"02:00:00:00:00:01\"\n");
	assert_int_equal(run(f, COMMAND_CREATE, f->file), EXIT_EXISTS);
	assert_string_equal(f->error.message,
			    "nics[0].mac: 02:00:00:00:00:01 is that of vm0; give each NIC its own");
	create_vm(f, "vm2", "nics:\n  - mac: \"02:00:00:00:00:01\"\n    switch: /other.sock\n");
}

static void start_show_reboot_stop_delete_go_their_way(void **state)
{
	struct fixture *f = *state;
	pid_t pid;

	create_vm(f, "vm0", "nics: [{}]\n");
	assert_int_equal(show_pid(f, "vm0"), 0);
	assert_int_equal(run(f, COMMAND_START, "vm0"), EXIT_OK);
	assert_string_equal(f->printed, "vm0: running\n");
	pid = show_pid(f, "vm0");
	assert_true(pid > 0);
	assert_int_equal(run(f, COMMAND_START, "vm0"), EXIT_STATE);
	assert_non_null(strstr(f->error.message, "running already"));
	assert_int_equal(run(f, COMMAND_SHOW, "vm0"), EXIT_OK);
	assert_non_null(strstr(f->printed, "vmbus        5.3, "));
	assert_int_equal(run(f, COMMAND_LIST, NULL), EXIT_OK);
	assert_non_null(strstr(f->printed, "vm0   running  1    64M     1     0s\n"));
	assert_int_equal(run(f, COMMAND_DELETE, "vm0"), EXIT_STATE);
	assert_int_equal(run(f, COMMAND_REBOOT, "vm0"), EXIT_OK);
	assert_string_equal(f->printed, "vm0: rebooted\n");
	assert_int_equal(run(f, COMMAND_STOP, "vm0"), EXIT_OK);
	assert_string_equal(f->printed, "vm0: stopped\n");
	assert_int_equal(waitpid(pid, NULL, WNOHANG), pid);
	assert_int_equal(run(f, COMMAND_STOP, "vm0"), EXIT_STATE);
	assert_int_equal(run(f, COMMAND_REBOOT, "vm0"), EXIT_STATE);
	assert_int_equal(run(f, COMMAND_CONSOLE, "vm0"), EXIT_STATE);
	assert_int_equal(run(f, COMMAND_DELETE, "vm0"), EXIT_OK);
	assert_int_equal(run(f, COMMAND_DELETE, "vm0"), EXIT_NOT_FOUND);
}

static void every_command_tells_an_unknown_vm(void **state)
{
	static const enum command_id ids[] = {COMMAND_DELETE, COMMAND_START, COMMAND_STOP,
					      COMMAND_REBOOT, COMMAND_SHOW,  COMMAND_CONSOLE};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
		assert_int_equal(run(f, ids[i], "nobody"), EXIT_NOT_FOUND);
		assert_non_null(strstr(f->error.message, "no VM is named nobody"));
		assert_int_equal(run(f, ids[i], "../../etc/passwd"), EXIT_USAGE);
		assert_string_equal(f->printed, "");
	}
}

static void start_waits_for_a_slow_vm(void **state)
{
	struct fixture *f = *state;
	uint64_t begun_ns = monotonic_ns();

	setenv("FAKE_VMWP", "slow", 1);
	create_vm(f, "vm0", "");
	assert_int_equal(run(f, COMMAND_START, "vm0"), EXIT_OK);
	assert_true(monotonic_ns() - begun_ns >= 400 * NS_PER_MS);
	assert_int_equal(run(f, COMMAND_STOP, "vm0"), EXIT_OK);
}

static void start_passes_on_the_error_and_code_of_vmwp(void **state)
{
	struct fixture *f = *state;
	char log[128];

	create_vm(f, "vm0", "");
	setenv("FAKE_VMWP", "no-switch", 1);
	assert_int_equal(run(f, COMMAND_START, "vm0"), EXIT_NO_SWITCH);
	assert_string_equal(f->error.message, "nic 0: no netvspd at /run/x; start it");
	setenv("FAKE_VMWP", "wordless", 1);
	assert_int_equal(run(f, COMMAND_START, "vm0"), EXIT_NO_KVM);
	assert_non_null(strstr(f->error.message, "vmwp ended with exit code 6 and no word; see "));
	setenv("FAKE_VMWP", "crash", 1);
	assert_int_equal(run(f, COMMAND_START, "vm0"), EXIT_INTERNAL);
	assert_non_null(strstr(f->error.message, "vmwp was ended by signal 9"));
	snprintf(log, sizeof(log), "%s/run/vm/vm0/vmwp.log.1", f->dir);
	assert_int_equal(access(log, F_OK), 0);
}

static void start_of_a_vm_that_ends_at_once_is_a_success(void **state)
{
	struct fixture *f = *state;

	create_vm(f, "vm0", "");
	setenv("FAKE_VMWP", "short", 1);
	assert_int_equal(run(f, COMMAND_START, "vm0"), EXIT_OK);
	assert_string_equal(f->printed, "vm0: stopped\n");
}

static void start_gives_up_and_leaves_no_process(void **state)
{
	const struct options options = {
		.command = COMMAND_START, .argument = "vm0", .timeout_s = 1};
	struct fixture *f = *state;

	create_vm(f, "vm0", "");
	setenv("FAKE_VMWP", "hang", 1);
	assert_int_equal(run_with(f, command_start, &options), EXIT_TIMEOUT);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
}

static void start_tells_a_vmwp_that_cannot_be_run(void **state)
{
	struct fixture *f = *state;
	const char *given = getenv("LUNAR_VMWP");
	char *vmwp = strdup(given ? given : "");

	create_vm(f, "vm0", "");
	setenv("LUNAR_VMWP", "/nonexistent/vmwp", 1);
	assert_int_equal(run(f, COMMAND_START, "vm0"), EXIT_INTERNAL);
	assert_string_equal(f->error.message,
			    "LUNAR_VMWP is /nonexistent/vmwp, which cannot be run: No "
			    "such file or directory");
	setenv("LUNAR_VMWP", vmwp, 1);
	free(vmwp);
}

static void graceful_stop_of_a_deaf_guest_ends_by_force_and_says_so(void **state)
{
	const struct options options = {.command = COMMAND_STOP, .argument = "vm0", .timeout_s = 1};
	struct fixture *f = *state;

	setenv("FAKE_VMWP", "deaf", 1);
	create_vm(f, "vm0", "");
	assert_int_equal(run(f, COMMAND_START, "vm0"), EXIT_OK);
	assert_int_equal(run_with(f, command_stop, &options), EXIT_OK);
	assert_string_equal(
		f->printed,
		"vm0: stopped by force, since the guest did not shut down within 1 s\n");
	assert_int_equal(show_pid(f, "vm0"), 0);
}

static void reboot_that_does_not_happen_times_out(void **state)
{
	const struct options options = {
		.command = COMMAND_REBOOT, .argument = "vm0", .timeout_s = 1};
	struct fixture *f = *state;

	setenv("FAKE_VMWP", "deaf", 1);
	create_vm(f, "vm0", "");
	assert_int_equal(run(f, COMMAND_START, "vm0"), EXIT_OK);
	assert_int_equal(run_with(f, command_reboot, &options), EXIT_TIMEOUT);
	assert_int_equal(run(f, COMMAND_STOP, "vm0"), EXIT_OK);
}

static void hanging_vmwp_is_shown_and_only_force_ends_it(void **state)
{
	const struct options force = {.command = COMMAND_STOP,
				      .argument = "vm0",
				      .timeout_s = 1,
				      .force = true,
				      .json = true};
	struct vm_process process;
	struct fixture *f = *state;
	int status = 0;
	pid_t pid;

	create_vm(f, "vm0", "");
	setenv("FAKE_VMWP", "hang", 1);
	assert_int_equal(vm_process_spawn("vm0", &process, &f->error), EXIT_OK);
	pid = process.pid;
	vm_process_close(&process);
	for (int i = 0; i < 2000 && run(f, COMMAND_DELETE, "other") != EXIT_OK; i++) {
		char path[128];

		snprintf(path, sizeof(path), "%s/run/vm/vm0/api.sock", f->dir);
		if (access(path, F_OK) == 0)
			break;
		usleep(10000);
	}
	assert_int_equal(run(f, COMMAND_LIST, NULL), EXIT_OK);
	assert_non_null(strstr(f->printed, "vm0   unresponsive"));
	assert_int_equal(run(f, COMMAND_STOP, "vm0"), EXIT_TIMEOUT);
	assert_string_equal(f->error.message,
			    "vm0: vmwp does not answer; lunar stop --force vm0 ends it");
	assert_int_equal(waitpid(pid, &status, WNOHANG), 0);
	assert_int_equal(run_with(f, command_stop, &force), EXIT_OK);
	assert_int_equal(waitpid(pid, &status, WNOHANG), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void all_acts_on_each_and_tells_the_first_failure(void **state)
{
	struct options options = {
		.command = COMMAND_START, .all = true, .timeout_s = 30, .json = true};
	struct fixture *f = *state;
	char path[128];
	json_t *json;

	create_vm(f, "a", "");
	create_vm(f, "b", "");
	create_vm(f, "c", "");
	snprintf(path, sizeof(path), "%s/state/vms/b.yaml", f->dir);
	write_file(path, "name: b\n");
	assert_int_equal(run(f, COMMAND_START, "a"), EXIT_OK);
	assert_int_equal(run_with(f, command_start, &options), EXIT_CONFIG);
	json = printed_json(f); /* a ran already, b is broken, c is started */
	assert_int_equal(json_array_size(json), 2);
	assert_string_equal(json_string_value(json_object_get(json_array_get(json, 0), "name")),
			    "b");
	assert_int_equal(json_integer_value(json_object_get(
				 json_object_get(json_array_get(json, 0), "error"), "code")),
			 EXIT_CONFIG);
	assert_string_equal(json_string_value(json_object_get(json_array_get(json, 1), "name")),
			    "c");
	assert_string_equal(json_string_value(json_object_get(json_array_get(json, 1), "state")),
			    "running");
	json_decref(json);
	assert_int_equal(run(f, COMMAND_LIST, NULL), EXIT_OK);
	assert_string_equal(f->printed, "NAME  STATE    VPS  MEMORY  NICS  UPTIME\n"
					"a     running  1    64M     0     0s\n"
					"b     invalid  -    -       -     -\n"
					"c     running  1    64M     0     0s\n");
	options.command = COMMAND_STOP;
	assert_int_equal(run_with(f, command_stop, &options), EXIT_OK);
	assert_int_equal(show_pid(f, "a"), 0);
	assert_int_equal(show_pid(f, "c"), 0);
}

static void vm_without_a_definition_is_listed_while_it_runs(void **state)
{
	struct fixture *f = *state;
	char path[128];

	create_vm(f, "vm0", "");
	assert_int_equal(run(f, COMMAND_START, "vm0"), EXIT_OK);
	snprintf(path, sizeof(path), "%s/state/vms/vm0.yaml", f->dir);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(run(f, COMMAND_LIST, NULL), EXIT_OK);
	assert_non_null(strstr(f->printed, "vm0   running"));
	assert_int_equal(run(f, COMMAND_STOP, "vm0"), EXIT_OK);
	assert_int_equal(run(f, COMMAND_LIST, NULL), EXIT_OK);
	assert_null(strstr(f->printed, "vm0"));
}

static void console_that_is_no_socket_is_told(void **state)
{
	struct fixture *f = *state;

	create_vm(f, "vm0", "console: file\nconsole_path: /var/log/x\n");
	assert_int_equal(run(f, COMMAND_START, "vm0"), EXIT_OK);
	assert_int_equal(run(f, COMMAND_CONSOLE, "vm0"), EXIT_CONFIG);
	assert_string_equal(f->error.message,
			    "vm0: its console is file /var/log/x; 'console: socket' in its "
			    "definition is what lunar console needs");
	assert_int_equal(run(f, COMMAND_STOP, "vm0"), EXIT_OK);
}

static void console_carries_a_script_to_the_guest_and_back(void **state)
{
	struct fixture *f = *state;
	int in[2], out[2], status = -1;
	char text[64] = "";
	pid_t child;

	create_vm(f, "vm0", "");
	assert_int_equal(run(f, COMMAND_START, "vm0"), EXIT_OK);
	assert_int_equal(pipe(in), 0);
	assert_int_equal(pipe(out), 0);
	child = fork();
	if (child == 0) {
		const struct options options = {.command = COMMAND_CONSOLE, .argument = "vm0"};
		const struct command_context context = {
			.options = &options, .out = stdout, .err = stderr};

		dup2(in[0], STDIN_FILENO);
		dup2(out[1], STDOUT_FILENO);
		close(in[1]);
		_exit((int)command_console(&context, &f->error));
	}
	close(out[1]);
	assert_int_equal(write(in[1], "uptime\n", 7), 7);
	assert_int_equal(read(out[0], text, sizeof(text)), 7);
	assert_string_equal(text, "UPTIME\n");
	close(in[0]);
	close(in[1]);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	close(out[0]);
	assert_int_equal(run(f, COMMAND_STOP, "vm0"), EXIT_OK);
}

static void restore_runs_the_vm_and_takes_the_file_away(void **state)
{
	struct fixture *f = *state;
	char log[128];
	pid_t pid;

	write_file(f->file, "name: vm0\nmemory: 64M\nkernel: /k\n");
	assert_int_equal(run(f, COMMAND_RESTORE, f->file), EXIT_OK);
	assert_string_equal(f->printed, "vm0: running\n");
	assert_int_equal(access(f->file, F_OK), -1);
	snprintf(log, sizeof(log), "%s/run/vm/vm0/vmwp.log", f->dir);
	assert_int_equal(access(log, F_OK), 0);
	pid = show_pid(f, "vm0");
	assert_true(pid > 0);
	assert_int_equal(run(f, COMMAND_STOP, "vm0"), EXIT_OK);
	assert_int_equal(waitpid(pid, NULL, WNOHANG), pid);
}

static void restore_keeps_the_file_where_it_is_told_to(void **state)
{
	struct fixture *f = *state;
	const struct options options = {.command = COMMAND_RESTORE,
					.argument = f->file,
					.keep = true,
					.json = true,
					.timeout_s = 30};
	const char *name, *vm_state, *log;
	json_t *json;
	int pid;

	write_file(f->file, "name: vm0\nmemory: 64M\nkernel: /k\n");
	assert_int_equal(run_with(f, command_restore, &options), EXIT_OK);
	json = printed_json(f);
	assert_int_equal(json_unpack_ex(json, NULL, JSON_STRICT, "{ss ss si ss}", "name", &name,
					"state", &vm_state, "pid", &pid, "log", &log),
			 0);
	assert_string_equal(name, "vm0");
	json_decref(json);
	assert_int_equal(access(f->file, F_OK), 0);
	assert_int_equal(run(f, COMMAND_STOP, "vm0"), EXIT_OK);
}

static void restore_that_fails_tells_why_and_keeps_the_file(void **state)
{
	static const struct {
		const char *kind;
		enum exit_code code;
		const char *message;
	} cases[] = {
		{"bad-state", EXIT_BAD_STATE, "that is no saved VM"}, /* before it has a name */
		{"bad-switch", EXIT_NO_SWITCH, "nic 0: no netvspd"},  /* after: from its log */
		{"crash", EXIT_INTERNAL, "vmwp was ended by signal 9"},
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		write_file(f->file, "name: vm0\nmemory: 64M\nkernel: /k\n");
		setenv("FAKE_VMWP", cases[i].kind, 1);
		assert_int_equal(run(f, COMMAND_RESTORE, f->file), cases[i].code);
		assert_non_null(strstr(f->error.message, cases[i].message));
		assert_int_equal(access(f->file, F_OK), 0);
	}
	assert_int_equal(run(f, COMMAND_RESTORE, "/nonexistent"), EXIT_NOT_FOUND);
}

static void restore_that_says_nothing_is_given_up(void **state)
{
	struct fixture *f = *state;
	const struct options options = {
		.command = COMMAND_RESTORE, .argument = f->file, .timeout_s = 1};

	write_file(f->file, "name: vm0\nmemory: 64M\nkernel: /k\n");
	setenv("FAKE_VMWP", "nameless", 1);
	assert_int_equal(run_with(f, command_restore, &options), EXIT_TIMEOUT);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
	setenv("FAKE_VMWP", "slow", 1); /* it has a name, but does not run in time */
	setenv("FAKE_SLOW_MS", "60000", 1);
	assert_int_equal(run_with(f, command_restore, &options), EXIT_TIMEOUT);
	unsetenv("FAKE_SLOW_MS");
	assert_int_equal(access(f->file, F_OK), 0);
}

static void json_results_have_the_documented_members(void **state)
{
	struct options options = {.command = COMMAND_CREATE, .timeout_s = 30, .json = true};
	struct fixture *f = *state;
	const char *name, *vm_state, *log;
	struct cli_error error = {.message = "bad \xff bytes"};
	json_t *json;
	int pid, forced, code;

	write_file(f->file, "name: vm0\nmemory: 64M\nkernel: /k\n");
	options.argument = f->file;
	assert_int_equal(run_with(f, command_create, &options), EXIT_OK);
	json = printed_json(f);
	assert_int_equal(json_unpack_ex(json, NULL, JSON_STRICT, "{ss ss ss}", "name", &name,
					"state", &vm_state, "path", &log),
			 0);
	json_decref(json);
	options.argument = "vm0";
	assert_int_equal(run_with(f, command_start, &options), EXIT_OK);
	json = printed_json(f);
	assert_int_equal(json_unpack_ex(json, NULL, JSON_STRICT, "{ss ss si ss}", "name", &name,
					"state", &vm_state, "pid", &pid, "log", &log),
			 0);
	json_decref(json);
	assert_int_equal(run_with(f, command_stop, &options), EXIT_OK);
	json = printed_json(f);
	assert_int_equal(json_unpack_ex(json, NULL, JSON_STRICT, "{ss ss sb}", "name", &name,
					"state", &vm_state, "forced", &forced),
			 0);
	assert_false(forced);
	json_decref(json);
	assert_int_equal(run_with(f, command_list, &options), EXIT_OK);
	json = printed_json(f);
	assert_int_equal(json_array_size(json), 1);
	json_decref(json);
	json = command_error_json(EXIT_NOT_FOUND, &error);
	assert_int_equal(json_unpack_ex(json, NULL, JSON_STRICT, "{s{si ss ss}}", "error", "code",
					&code, "phrase", &name, "message", &log),
			 0);
	assert_int_equal(code, 14);
	assert_string_equal(name, "not found");
	json_decref(json);
}

int main(int argc, char **argv)
{
#define command_test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		command_test(create_keeps_the_text_and_refuses_a_second_of_the_name),
		command_test(create_refuses_a_bad_file_with_its_line),
		command_test(create_refuses_a_mac_that_another_vm_has),
		command_test(start_show_reboot_stop_delete_go_their_way),
		command_test(every_command_tells_an_unknown_vm),
		command_test(start_waits_for_a_slow_vm),
		command_test(start_passes_on_the_error_and_code_of_vmwp),
		command_test(start_of_a_vm_that_ends_at_once_is_a_success),
		command_test(start_gives_up_and_leaves_no_process),
		command_test(start_tells_a_vmwp_that_cannot_be_run),
		command_test(graceful_stop_of_a_deaf_guest_ends_by_force_and_says_so),
		command_test(reboot_that_does_not_happen_times_out),
		command_test(hanging_vmwp_is_shown_and_only_force_ends_it),
		command_test(all_acts_on_each_and_tells_the_first_failure),
		command_test(vm_without_a_definition_is_listed_while_it_runs),
		command_test(console_that_is_no_socket_is_told),
		command_test(console_carries_a_script_to_the_guest_and_back),
		command_test(restore_runs_the_vm_and_takes_the_file_away),
		command_test(restore_keeps_the_file_where_it_is_told_to),
		command_test(restore_that_fails_tells_why_and_keeps_the_file),
		command_test(restore_that_says_nothing_is_given_up),
		command_test(json_results_have_the_documented_members),
	};
	char self[PATH_MAX];
	ssize_t length;
	int failed;

	if (strcmp(argv[0], "vmwp") == 0)
		return fake_main(argc, argv);
	length = readlink("/proc/self/exe", self, sizeof(self) - 1);
	if (length < 0)
		return 1;
	self[length] = '\0';
	setenv("LUNAR_VMWP", self, 1);
	curl_global_init(CURL_GLOBAL_NOTHING);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	curl_global_cleanup();
	return failed;
}
