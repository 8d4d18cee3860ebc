/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lunar migrate, save and show against a VM in a process of its own: a real API, behind which a
 * move goes as the test's script says. Verdicts come from exit codes, from what is printed, and
 * from what the VM was asked (it tells that as its peer's name).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <curl/curl.h>

#include "base/event_loop.h"
#include "base/log.h"
#include "cli/api_client.h"
#include "cli/commands.h"
#include "cli/migration_follow.h"
#include "hypervisor/api_server.h"
#include "hypervisor/migration/figures.h"
#include "hypervisor/migration/record.h"
#include "hypervisor/migration/report.h"
#include "hypervisor/vm_paths.h"

#define ID "0ee8dd1c-5a3e-4c8a-9a50-c7d1c1a8b001"

/* ---- the VM ---- */

enum script {
	SCRIPT_DONE,	  /* goes well, and the process stays a while */
	SCRIPT_VANISH,	  /* goes well, and the process is gone before anybody has asked */
	SCRIPT_ECHO,	  /* as DONE; peer is what was asked for */
	SCRIPT_KILLED,	  /* the process is killed, and leaves nothing */
	SCRIPT_RELEASED,  /* the same, but the VM may be there by then */
	SCRIPT_FAILED,	  /* the destination is short of memory */
	SCRIPT_STOPPED,	  /* the checks found what stops it */
	SCRIPT_CHECKED,	  /* --check, nothing stops it */
	SCRIPT_UNCHECKED, /* --check, something does */
	SCRIPT_REFUSED,	  /* it does not even begin */
	SCRIPT_LONG,	  /* takes until it is cancelled; the second poll brings Ctrl-C */
	SCRIPT_LATE,	  /* the same, but it cannot be cancelled any more */
	SCRIPT_STUBBORN,  /* the same, and Ctrl-C comes twice */
	SCRIPT_REPLACED,  /* another process takes the name meanwhile */
};

struct fake {
	struct event_loop *loop;
	enum script script;
	struct vm_config config;
	struct migration_status migration;
	struct migration_check check;
	unsigned int polls;
	bool cancelled;
};

static void fake_get_status(void *ctx, struct vm_status *status)
{
	(void)ctx;
	*status = (struct vm_status){.state = VM_STATE_RUNNING, .engine = "fake", .pid = getpid()};
}

static const struct vm_config *fake_get_config(void *ctx)
{
	return &((struct fake *)ctx)->config;
}

static void fake_begin(struct fake *fake, const char *peer)
{
	fake->migration = (struct migration_status){.phase = MIGRATION_CONNECTING,
						    .memory_bytes = UINT64_C(64) << 20,
						    .bytes_left = UINT64_C(48) << 20,
						    .bytes_sent = UINT64_C(8) << 20,
						    .rate = 1 << 20,
						    .rounds = 1,
						    .started_unix_ms = migration_follow_clock()};
	snprintf(fake->migration.peer, sizeof(fake->migration.peer), "%s", peer);
}

static int fake_migrate(void *ctx, const struct migration_options *o, struct vm_error *error)
{
	struct fake *fake = ctx;
	char echo[MIGRATION_HOST_BYTES];

	if (fake->script == SCRIPT_REFUSED)
		return vm_error_set(error, EXIT_NOT_TRUSTED, -EACCES, "no certificate here");
	snprintf(echo, sizeof(echo), "%.40s,%u,%u,%s,%llu,%u,%u,%d,%d,%d", o->host, o->port,
		 o->connections, migration_compression_name(o->compression),
		 (unsigned long long)o->bandwidth, o->downtime_ms, o->timeout_seconds,
		 o->late == MIGRATION_LATE_FORCE, o->no_throttle, o->check_only);
	fake_begin(fake, fake->script == SCRIPT_ECHO ? echo : o->host);
	return 0;
}

static int fake_save(void *ctx, const char *path, struct vm_error *error)
{
	(void)error;
	fake_begin(ctx, path);
	return 0;
}

static int fake_cancel(void *ctx, struct vm_error *error)
{
	struct fake *fake = ctx;

	if (fake->script == SCRIPT_LATE)
		return vm_error_set(error, EXIT_STATE, -EBUSY, "the move is committed");
	if (fake->migration.phase == MIGRATION_IDLE)
		return vm_error_set(error, EXIT_STATE, -EINVAL, "no move is under way");
	fake->cancelled = fake->script != SCRIPT_STUBBORN;
	return 0;
}

static int fake_resolve(void *ctx, bool there, struct vm_error *error)
{
	struct fake *fake = ctx;

	if (!there)
		return vm_error_set(error, EXIT_STATE, -EINVAL, "no move waits for that");
	event_loop_stop(fake->loop);
	return 0;
}

static void fake_finish(struct fake *fake)
{
	struct migration_status *m = &fake->migration;

	m->phase = MIGRATION_DONE;
	m->bytes_left = 0;
	m->total_ms = 1234;
	m->downtime_ms = 150;
	m->pause_ms = 20;
	m->last_ms = 50;
	m->restore_ms = 70;
}

static void find(struct fake *fake, enum migration_severity severity, const char *item,
		 const char *text)
{
	struct migration_finding *finding = &fake->check.findings[fake->check.count++];

	finding->severity = severity;
	snprintf(finding->item, sizeof(finding->item), "%s", item);
	snprintf(finding->text, sizeof(finding->text), "%s", text);
}

static void write_record(const char *peer)
{
	struct migration_record record = {.word = MIGRATION_WORD_RELEASED,
					  .id = ID,
					  .vm = "vm0",
					  .port = 49200,
					  .stored = true};

	snprintf(record.peer, sizeof(record.peer), "%s", peer);
	if (migration_record_write(MIGRATION_SIDE_OUT, &record, true))
		_exit(1);
}

/* The third poll or a later one: how it ends. */
static void fake_end(struct fake *fake)
{
	struct migration_status *m = &fake->migration;

	switch (fake->script) {
	case SCRIPT_DONE:
	case SCRIPT_ECHO:
		fake_finish(fake);
		break;
	case SCRIPT_VANISH:
		fake_finish(fake);
		_exit(migration_figures_write("vm0", m, NULL) ? 1 : 0);
	case SCRIPT_RELEASED:
		write_record(m->peer);
		_exit(1);
	case SCRIPT_KILLED:
		_exit(1);
	case SCRIPT_FAILED:
		m->phase = MIGRATION_FAILED;
		m->error = (struct vm_error){EXIT_NO_MEMORY, "vm0 needs 64 MiB more at host2"};
		break;
	case SCRIPT_STOPPED:
		find(fake, MIGRATION_STOPS, "cpu", "no AVX2 there");
		m->phase = MIGRATION_FAILED;
		m->error = (struct vm_error){EXIT_CANNOT_MOVE, "no AVX2 there"};
		break;
	case SCRIPT_UNCHECKED:
		find(fake, MIGRATION_STOPS, "cpu", "no AVX2 there");
		m->phase = MIGRATION_CHECKED;
		break;
	case SCRIPT_CHECKED:
		m->phase = MIGRATION_CHECKED;
		break;
	case SCRIPT_LATE:
		if (fake->polls > 4)
			fake_finish(fake);
		break;
	case SCRIPT_LONG:
	case SCRIPT_STUBBORN:
		if (!fake->cancelled)
			break;
		m->phase = MIGRATION_CANCELLED;
		m->error = (struct vm_error){EXIT_CANCELLED, "cancelled on request"};
		break;
	case SCRIPT_REPLACED:
		m->id[0] = '1';
		break;
	case SCRIPT_REFUSED:
		break;
	}
}

static void fake_interrupt(const struct fake *fake)
{
	bool once =
		fake->polls == 2 && (fake->script == SCRIPT_LONG || fake->script == SCRIPT_LATE);

	if (once || (fake->script == SCRIPT_STUBBORN && fake->polls >= 2))
		kill(getppid(), SIGINT);
}

static void fake_get_migration(void *ctx, struct migration_status *status,
			       const struct migration_check **check)
{
	struct fake *fake = ctx;
	struct migration_status *m = &fake->migration;

	if (m->phase == MIGRATION_CONNECTING || m->phase == MIGRATION_COPYING) {
		fake->polls++;
		fake_interrupt(fake);
		m->phase = fake->polls > 1 ? MIGRATION_COPYING : MIGRATION_CONNECTING;
		snprintf(m->id, sizeof(m->id), "%s", ID);
		if (fake->polls == 2)
			find(fake, MIGRATION_HARMS, "uplink", "no link there");
		if (fake->polls > 2)
			fake_end(fake);
	}
	*status = *m;
	*check = fake->polls > 1 ? &fake->check : NULL;
}

static const struct api_server_ops fake_ops = {
	.get_status = fake_get_status,
	.get_config = fake_get_config,
	.migrate = fake_migrate,
	.save = fake_save,
	.cancel_migration = fake_cancel,
	.resolve_migration = fake_resolve,
	.get_migration = fake_get_migration,
};

static int fake_main(enum script script, int ready)
{
	static char kernel[] = "/k", cmdline[] = "";
	struct fake fake = {.script = script, .config = {.name = "vm0", .vps = 1}};
	struct api_server *server = NULL;
	char path[256];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	log_set_level(LOG_LEVEL_ERROR);
	fake.config.kernel = kernel;
	fake.config.cmdline = cmdline;
	if (vm_path(VM_PATH_RUN_DIR, "vm0", path, sizeof(path)) < 0 || vm_paths_make_dir(path) ||
	    vm_path(VM_PATH_API, "vm0", path, sizeof(path)) < 0 ||
	    event_loop_create(&fake.loop) < 0 ||
	    api_server_create(fake.loop, path, &fake_ops, &fake, NULL, &server) < 0 ||
	    write(ready, "", 1) != 1)
		return 1;
	event_loop_run(fake.loop);
	api_server_destroy(server);
	event_loop_destroy(fake.loop);
	return 0;
}

/* ---- the tests ---- */

struct fixture {
	char dir[64];
	char *printed;
	char *noticed;
	struct cli_error error;
	pid_t vm;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	char path[128];

	assert_non_null(f);
	snprintf(f->dir, sizeof(f->dir), "/tmp/test-move-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(path, sizeof(path), "%s/run", f->dir);
	setenv("LUNAR_RUN_DIR", path, 1);
	snprintf(path, sizeof(path), "%s/state", f->dir);
	setenv("LUNAR_STATE_DIR", path, 1);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	char command[128];

	if (f->vm > 0) {
		kill(f->vm, SIGKILL);
		waitpid(f->vm, NULL, 0);
	}
	snprintf(command, sizeof(command), "rm -r %s", f->dir);
	assert_int_equal(system(command), 0);
	free(f->printed);
	free(f->noticed);
	free(f);
	return 0;
}

static void start_vm(struct fixture *f, enum script script)
{
	int ready[2];
	char byte;

	assert_int_equal(pipe(ready), 0);
	f->vm = fork();
	assert_true(f->vm >= 0);
	if (f->vm == 0)
		_exit(fake_main(script, ready[1]));
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	close(ready[1]);
}

static void write_text(struct fixture *f, const char *name, const char *text)
{
	char path[128], command[192];
	FILE *file;

	snprintf(command, sizeof(command), "mkdir -p %s/state/vms %s/state/migrations", f->dir,
		 f->dir);
	assert_int_equal(system(command), 0);
	snprintf(path, sizeof(path), "%s/%s", f->dir, name);
	file = fopen(path, "w");
	assert_non_null(file);
	fputs(text, file);
	assert_int_equal(fclose(file), 0);
}

typedef enum exit_code (*command_fn)(const struct command_context *, struct cli_error *);

static enum exit_code run_words(struct fixture *f, command_fn command, char **argv, int argc)
{
	struct options options;
	struct command_context context = {.options = &options};
	size_t printed_length, noticed_length;
	enum exit_code code;

	assert_int_equal(options_parse(argc, argv, &options, &f->error), EXIT_OK);
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

/* Runs a command line, without "lunar"; words are parted by blanks. */
static enum exit_code run(struct fixture *f, command_fn command, const char *words)
{
	char text[256], *argv[24] = {(char *)"lunar"};
	int argc = 1;

	snprintf(text, sizeof(text), "%s", words);
	for (char *word = strtok(text, " "); word; word = strtok(NULL, " "))
		argv[argc++] = word;
	return run_words(f, command, argv, argc);
}

/* The last line that was printed, as JSON. */
static json_t *last_event(struct fixture *f)
{
	size_t length = strlen(f->printed);
	const char *begin;
	json_t *event;

	assert_true(length > 1 && f->printed[length - 1] == '\n');
	f->printed[length - 1] = '\0';
	begin = strrchr(f->printed, '\n');
	event = json_loads(begin ? begin + 1 : f->printed, JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(event);
	return event;
}

static const char *text_of(const json_t *json, const char *key)
{
	const char *text = json_string_value(json_object_get(json, key));

	return text ? text : "";
}

static void move_is_told_in_lines_and_with_its_figures(void **state)
{
	struct fixture *f = *state;

	start_vm(f, SCRIPT_DONE);
	assert_int_equal(run(f, command_migrate, "migrate vm0 host2"), EXIT_OK);
	assert_string_equal(
		f->printed,
		"vm0 runs on host2 now.\n"
		"total        1.2s, 1 round, 8M sent for 64M of memory (0B of it zero)\n"
		"downtime     150ms: 20ms to rest and save, 50ms last pages, 70ms loading "
		"over there, 10ms on the way\n");
	assert_string_equal(
		f->noticed,
		"vm0: connecting to host2\n"
		"harms  uplink      no link there\n"
		"vm0: copying memory: 25%, 8M sent, 48M left, 1M/s, dirty 0B/s, round 2, "
		"~0ms\n");
}

static void every_option_reaches_the_vm(void **state)
{
	struct fixture *f = *state;
	json_t *event;

	start_vm(f, SCRIPT_ECHO);
	assert_int_equal(run(f, command_migrate,
			     "migrate vm0 10.0.0.2:49300 --bandwidth 1M --downtime 50ms --timeout "
			     "10m --late force --connections 4 --compression lz4 --no-throttle "
			     "--json"),
			 EXIT_OK);
	event = last_event(f);
	assert_string_equal(text_of(event, "peer"), "10.0.0.2,49300,4,lz4,1048576,50,600,1,1,0");
	json_decref(event);
	assert_int_equal(run(f, command_migrate, "migrate vm0 host2 --json"), EXIT_OK);
	event = last_event(f);
	assert_string_equal(text_of(event, "peer"), "host2,0,0,lz4,0,0,0,0,0,0");
	json_decref(event);
}

static void json_is_a_line_for_each_event(void **state)
{
	struct fixture *f = *state;
	unsigned int lines = 0;
	json_t *event;
	char *line;

	start_vm(f, SCRIPT_DONE);
	assert_int_equal(run(f, command_migrate, "migrate vm0 host2 --json"), EXIT_OK);
	assert_string_equal(f->noticed, "");
	for (line = strtok(f->printed, "\n"); line; line = strtok(NULL, "\n"), lines++) {
		event = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
		assert_non_null(event);
		assert_string_equal(text_of(event, "vm"), "vm0");
		if (strcmp(text_of(event, "event"), "progress") == 0) {
			assert_string_equal(text_of(event, "phase"),
					    lines == 0 ? "connecting" : "copying");
			assert_null(json_object_get(event, "exit_code"));
		} else {
			assert_string_equal(text_of(event, "event"), "end");
			assert_string_equal(text_of(event, "phase"), "done");
			assert_int_equal(json_integer_value(json_object_get(event, "downtime_ms")),
					 150);
			assert_int_equal(json_integer_value(json_object_get(event, "exit_code")),
					 0);
			assert_true(json_is_null(json_object_get(event, "error")));
			assert_true(json_is_object(json_object_get(event, "check")));
			assert_null(strtok(NULL, "\n"));
		}
		json_decref(event);
	}
	assert_true(lines >= 3);
}

static void move_whose_process_is_gone_is_told_from_what_it_left(void **state)
{
	struct fixture *f = *state;
	json_t *event;

	start_vm(f, SCRIPT_VANISH);
	assert_int_equal(run(f, command_migrate, "migrate vm0 host2 --json"), EXIT_OK);
	event = last_event(f);
	assert_string_equal(text_of(event, "phase"), "done");
	assert_int_equal(json_integer_value(json_object_get(event, "total_ms")), 1234);
	json_decref(event);
	/* And later: where it is now. */
	assert_int_equal(run(f, command_show, "show vm0"), EXIT_OK);
	assert_non_null(strstr(f->printed, "state        moved\nlast move    to host2, "));
	assert_non_null(strstr(f->printed, ": 1.2s, downtime 150ms\n"));
	assert_int_equal(run(f, command_start, "start vm0"), EXIT_NOT_FOUND);
	assert_string_equal(f->error.message, "vm0 is not here any more: it was moved to host2; "
					      "lunar show vm0 tells when");
	assert_int_equal(run(f, command_migrate, "migrate vm0 host2"), EXIT_NOT_FOUND);
	assert_int_equal(run(f, command_delete, "delete vm0"), EXIT_NOT_FOUND);
	assert_int_equal(run(f, command_list, "list"), EXIT_OK);
	assert_string_equal(f->printed, "");
}

static void process_that_leaves_nothing_is_a_failure(void **state)
{
	struct fixture *f = *state;

	/* What an earlier move left is not taken for this one's. */
	write_text(f, "state/migrations/vm0.json",
		   "{\"vm\": \"vm0\", \"phase\": \"done\", \"incoming\": false, \"id\": \"x\", "
		   "\"peer\": \"host3\", \"started_unix_ms\": 9999999999999}");
	start_vm(f, SCRIPT_KILLED);
	assert_int_equal(run(f, command_migrate, "migrate vm0 host2"), EXIT_INTERNAL);
	assert_non_null(strstr(f->error.message,
			       "vm0: vmwp ended during the move, and with it the VM; see "));
	assert_string_equal(f->printed, "");
}

static void process_that_had_let_go_leaves_it_open_and_says_so(void **state)
{
	struct fixture *f = *state;

	write_text(f, "state/vms/vm0.yaml", "name: vm0\nmemory: 64M\nkernel: /k\n");
	start_vm(f, SCRIPT_RELEASED);
	assert_int_equal(run(f, command_migrate, "migrate vm0 host2"), EXIT_INTERNAL);
	assert_non_null(strstr(f->error.message, "it is not known here whether host2 runs the VM"));
	/* Its definition may be the last one. */
	assert_int_equal(run(f, command_delete, "delete vm0"), EXIT_STATE);
	assert_non_null(strstr(f->error.message, "its move to host2 was never settled"));
	assert_int_equal(run(f, command_migrate, "migrate --resolve vm0 here"), EXIT_OK);
	assert_string_equal(f->printed, "vm0: it is this host's\n");
	assert_int_equal(run(f, command_delete, "delete vm0"), EXIT_OK);
}

static void operator_may_say_that_it_is_there(void **state)
{
	struct fixture *f = *state;

	write_text(f, "state/vms/vm0.yaml", "name: vm0\nmemory: 64M\nkernel: /k\n");
	start_vm(f, SCRIPT_RELEASED);
	assert_int_equal(run(f, command_migrate, "migrate vm0 host2"), EXIT_INTERNAL);
	assert_int_equal(run(f, command_migrate, "migrate --resolve vm0 there --json"), EXIT_OK);
	assert_int_equal(run(f, command_delete, "delete vm0"), EXIT_NOT_FOUND);
	assert_int_equal(run(f, command_migrate, "migrate --resolve vm0 there"), EXIT_STATE);
}

static void failure_passes_on_code_and_line(void **state)
{
	struct fixture *f = *state;
	json_t *event;

	start_vm(f, SCRIPT_FAILED);
	assert_int_equal(run(f, command_migrate, "migrate vm0 host2"), EXIT_NO_MEMORY);
	assert_string_equal(f->error.message, "vm0 needs 64 MiB more at host2");
	assert_string_equal(f->printed, "");
	assert_int_equal(run(f, command_migrate, "migrate vm0 host2 --json"), EXIT_NO_MEMORY);
	event = last_event(f);
	assert_string_equal(text_of(event, "event"), "end");
	assert_string_equal(text_of(event, "phase"), "failed");
	assert_int_equal(json_integer_value(json_object_get(event, "exit_code")), EXIT_NO_MEMORY);
	assert_string_equal(text_of(json_object_get(event, "error"), "message"),
			    "vm0 needs 64 MiB more at host2");
	json_decref(event);
}

static void move_that_is_stopped_by_the_checks_lists_them(void **state)
{
	struct fixture *f = *state;

	start_vm(f, SCRIPT_STOPPED);
	assert_int_equal(run(f, command_migrate, "migrate vm0 host2"), EXIT_CANNOT_MOVE);
	assert_non_null(strstr(f->noticed, "STOPS  cpu         no AVX2 there\n"));
}

static void check_lists_findings_and_succeeds_where_none_stops(void **state)
{
	struct fixture *f = *state;

	start_vm(f, SCRIPT_CHECKED);
	assert_int_equal(run(f, command_migrate, "migrate vm0 host2 --check"), EXIT_OK);
	assert_string_equal(f->printed, "harms  uplink      no link there\n"
					"vm0 can be moved to host2.\n");
}

static void check_fails_where_something_stops(void **state)
{
	struct fixture *f = *state;
	json_t *event;

	start_vm(f, SCRIPT_UNCHECKED);
	assert_int_equal(run(f, command_migrate, "migrate vm0 host2 --check"), EXIT_CANNOT_MOVE);
	assert_string_equal(f->printed, "STOPS  cpu         no AVX2 there\n"
					"harms  uplink      no link there\n");
	assert_string_equal(f->error.message, "vm0 cannot be moved to host2 as things are");
	assert_int_equal(run(f, command_migrate, "migrate vm0 host2 --check --json"),
			 EXIT_CANNOT_MOVE);
	event = last_event(f);
	assert_string_equal(text_of(event, "phase"), "checked");
	assert_true(json_array_size(json_object_get(json_object_get(event, "check"), "findings")) >=
		    2);
	assert_int_equal(json_integer_value(json_object_get(event, "exit_code")), EXIT_CANNOT_MOVE);
	json_decref(event);
}

static void refusal_passes_on_code_and_line(void **state)
{
	struct fixture *f = *state;
	json_t *event;

	start_vm(f, SCRIPT_REFUSED);
	assert_int_equal(run(f, command_migrate, "migrate vm0 host2"), EXIT_NOT_TRUSTED);
	assert_string_equal(f->error.message, "vm0: no certificate here");
	assert_int_equal(run(f, command_migrate, "migrate vm0 host2 --json"), EXIT_NOT_TRUSTED);
	event = last_event(f);
	assert_string_equal(text_of(event, "event"), "end");
	assert_int_equal(json_integer_value(json_object_get(event, "exit_code")), EXIT_NOT_TRUSTED);
	json_decref(event);
}

static void vm_that_does_not_run_cannot_be_moved_or_saved(void **state)
{
	struct fixture *f = *state;
	char words[128];

	assert_int_equal(run(f, command_migrate, "migrate vm0 host2"), EXIT_NOT_FOUND);
	write_text(f, "state/vms/vm0.yaml", "name: vm0\nmemory: 64M\nkernel: /k\n");
	assert_int_equal(run(f, command_migrate, "migrate vm0 host2"), EXIT_STATE);
	assert_string_equal(f->error.message, "vm0 is not running; lunar start vm0 runs it");
	assert_int_equal(run(f, command_migrate, "migrate --cancel vm0"), EXIT_STATE);
	assert_int_equal(run(f, command_migrate, "migrate ../x host2"), EXIT_USAGE);
	assert_int_equal(run(f, command_migrate, "migrate --resolve vm0 here"), EXIT_STATE);
	snprintf(words, sizeof(words), "save vm0 %s/saved", f->dir);
	assert_int_equal(run(f, command_save, words), EXIT_STATE);
}

static void ctrl_c_cancels_and_says_so(void **state)
{
	struct fixture *f = *state;

	start_vm(f, SCRIPT_LONG);
	assert_int_equal(run(f, command_migrate, "migrate vm0 host2"), EXIT_CANCELLED);
	assert_string_equal(f->error.message, "vm0: cancelled; the VM runs on here");
	assert_non_null(strstr(f->noticed, "vm0: cancelling; the VM runs on here\n"));
}

static void ctrl_c_that_comes_too_late_says_so_and_watches_on(void **state)
{
	struct fixture *f = *state;

	start_vm(f, SCRIPT_LATE);
	assert_int_equal(run(f, command_migrate, "migrate vm0 host2"), EXIT_OK);
	assert_non_null(strstr(f->noticed, "vm0: it cannot be cancelled any more\n"));
	assert_non_null(strstr(f->printed, "vm0 runs on host2 now.\n"));
}

static void second_ctrl_c_leaves_while_the_move_goes_on(void **state)
{
	struct fixture *f = *state;

	start_vm(f, SCRIPT_STUBBORN);
	assert_int_equal(run(f, command_migrate, "migrate vm0 host2"), EXIT_CANCELLED);
	assert_string_equal(f->error.message,
			    "vm0: left while the move goes on; lunar show vm0 tells how it ends");
	assert_int_equal(waitpid(f->vm, NULL, WNOHANG), 0);
}

static void name_that_another_process_took_is_not_followed(void **state)
{
	struct fixture *f = *state;

	start_vm(f, SCRIPT_REPLACED);
	assert_int_equal(run(f, command_migrate, "migrate vm0 host2"), EXIT_INTERNAL);
	assert_non_null(strstr(f->error.message, "vmwp ended during the move"));
}

static void cancel_waits_for_the_end(void **state)
{
	struct fixture *f = *state;
	json_t *body = json_pack("{ss}", "host", "host2"), *answer = NULL;

	start_vm(f, SCRIPT_STUBBORN);
	assert_int_equal(run(f, command_migrate, "migrate --cancel vm0"), EXIT_STATE);
	assert_string_equal(f->error.message, "vm0: no move is under way");
	kill(f->vm, SIGKILL);
	waitpid(f->vm, NULL, 0);
	start_vm(f, SCRIPT_LONG);
	signal(SIGINT, SIG_IGN);
	assert_int_equal(api_put("vm0", "/migrate", body, 5000, &answer, &f->error), EXIT_OK);
	assert_int_equal(run(f, command_migrate, "migrate --cancel vm0"), EXIT_OK);
	assert_string_equal(f->printed, "vm0: the move was cancelled; the VM runs on here\n");
	signal(SIGINT, SIG_DFL);
	json_decref(body);
	json_decref(answer);
}

static void resolve_reaches_the_process_that_waits(void **state)
{
	struct fixture *f = *state;

	start_vm(f, SCRIPT_DONE);
	assert_int_equal(run(f, command_migrate, "migrate --resolve vm0 here"), EXIT_STATE);
	assert_string_equal(f->error.message, "vm0: no move waits for that");
	assert_int_equal(run(f, command_migrate, "migrate --resolve vm0 there"), EXIT_OK);
	assert_string_equal(f->printed, "vm0: it is the other host's now, and gone from here\n");
	assert_int_equal(waitpid(f->vm, NULL, 0), f->vm);
	f->vm = 0;
}

static void save_goes_to_a_new_file_by_its_whole_path(void **state)
{
	struct fixture *f = *state;
	char words[128], expected[128], here[128];
	json_t *event;

	write_text(f, "taken", "");
	start_vm(f, SCRIPT_DONE);
	snprintf(words, sizeof(words), "save vm0 %s/taken", f->dir);
	assert_int_equal(run(f, command_save, words), EXIT_EXISTS);
	assert_non_null(getcwd(here, sizeof(here)));
	assert_int_equal(chdir(f->dir), 0);
	assert_int_equal(run(f, command_save, "save vm0 new --json"), EXIT_OK);
	event = last_event(f);
	snprintf(expected, sizeof(expected), "%s/new", f->dir);
	assert_string_equal(text_of(event, "peer"), expected);
	json_decref(event);
	assert_int_equal(run(f, command_save, "save vm0 new"), EXIT_OK);
	assert_non_null(strstr(f->printed, "vm0: saved to new; lunar restore new continues it\n"));
	assert_int_equal(chdir(here), 0);
}

static void show_tells_the_move_under_way(void **state)
{
	json_t *body = json_pack("{ss}", "host", "host2"), *answer = NULL;
	struct fixture *f = *state;

	start_vm(f, SCRIPT_LONG);
	signal(SIGINT, SIG_IGN);
	assert_int_equal(api_put("vm0", "/migrate", body, 5000, &answer, &f->error), EXIT_OK);
	assert_int_equal(run(f, command_show, "show vm0"), EXIT_OK);
	assert_non_null(strstr(f->printed, "\nmoving       to host2: connecting to host2\n"));
	assert_int_equal(run(f, command_show, "show vm0"), EXIT_OK);
	assert_non_null(strstr(f->printed, "\nmoving       to host2: copying memory: 25%, "));
	signal(SIGINT, SIG_DFL);
	json_decref(body);
	json_decref(answer);
}

static void show_tells_a_stopped_vm_where_it_came_from(void **state)
{
	struct fixture *f = *state;
	json_t *vm;

	write_text(f, "state/vms/vm0.yaml", "name: vm0\nmemory: 64M\nkernel: /k\n");
	write_text(f, "state/migrations/vm0.json",
		   "{\"vm\": \"vm0\", \"phase\": \"done\", \"incoming\": true, \"id\": \"x\", "
		   "\"peer\": \"host1\", \"started_unix_ms\": 1767225600000, \"total_ms\": 1000}");
	assert_int_equal(run(f, command_show, "show vm0"), EXIT_OK);
	assert_non_null(strstr(f->printed, "state        stopped\nlast move    from host1, "
					   "2026-01-01 00:00:01 UTC: 1.0s, downtime 0ms\n"));
	assert_int_equal(run(f, command_show, "show vm0 --json"), EXIT_OK);
	vm = json_loads(f->printed, 0, NULL);
	assert_string_equal(text_of(json_object_get(vm, "migration"), "peer"), "host1");
	json_decref(vm);
}

static void figures_that_are_malformed_are_as_none(void **state)
{
	static const char *const bad[] = {
		"", "{", "[]", "{\"vm\": \"vm1\", \"phase\": \"done\", \"peer\": \"h\"}", "7",
	};
	struct fixture *f = *state;
	char *long_text = malloc(300000);

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		write_text(f, "state/migrations/vm0.json", bad[i]);
		assert_int_equal(run(f, command_show, "show vm0"), EXIT_NOT_FOUND);
		assert_non_null(strstr(f->error.message, "no VM is named vm0"));
	}
	assert_non_null(long_text);
	memset(long_text, ' ', 299999);
	memcpy(long_text + 299960, "{\"vm\": \"vm0\", \"phase\": \"done\"}", 31);
	write_text(f, "state/migrations/vm0.json", long_text);
	assert_int_equal(run(f, command_show, "show vm0"), EXIT_NOT_FOUND);
	free(long_text);
}

int main(void)
{
#define move_test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		move_test(move_is_told_in_lines_and_with_its_figures),
		move_test(every_option_reaches_the_vm),
		move_test(json_is_a_line_for_each_event),
		move_test(move_whose_process_is_gone_is_told_from_what_it_left),
		move_test(process_that_leaves_nothing_is_a_failure),
		move_test(process_that_had_let_go_leaves_it_open_and_says_so),
		move_test(operator_may_say_that_it_is_there),
		move_test(failure_passes_on_code_and_line),
		move_test(move_that_is_stopped_by_the_checks_lists_them),
		move_test(check_lists_findings_and_succeeds_where_none_stops),
		move_test(check_fails_where_something_stops),
		move_test(refusal_passes_on_code_and_line),
		move_test(vm_that_does_not_run_cannot_be_moved_or_saved),
		move_test(ctrl_c_cancels_and_says_so),
		move_test(ctrl_c_that_comes_too_late_says_so_and_watches_on),
		move_test(second_ctrl_c_leaves_while_the_move_goes_on),
		move_test(name_that_another_process_took_is_not_followed),
		move_test(cancel_waits_for_the_end),
		move_test(resolve_reaches_the_process_that_waits),
		move_test(save_goes_to_a_new_file_by_its_whole_path),
		move_test(show_tells_the_move_under_way),
		move_test(show_tells_a_stopped_vm_where_it_came_from),
		move_test(figures_that_are_malformed_are_as_none),
	};
	int failed;

	log_set_level(LOG_LEVEL_ERROR);
	curl_global_init(CURL_GLOBAL_NOTHING);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	curl_global_cleanup();
	return failed;
}
